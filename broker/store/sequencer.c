/* Happy path: sequencer_reserve opens a draft -> records are built in it -> sequencer_add numbers them -> end of the
 * turn: the draft is stamped with its position and proposed -> applied -> on_proposed answers everybody in it.
 *
 * Failures:
 *   too much waits                         sequencer_reserve says MQ_EBUSY, nothing was taken
 *   too much in flight (rlog MQ_EBUSY)     drafts wait for room
 *   leadership ended before the proposal,
 *   or is being handed over                all drafts are answered with MQ_ENOTLEADER
 *   an entry the log does not take         it is answered with MQ_ETOOBIG, the records behind it are numbered anew
 *   leadership ended after it              on_proposed gets MQ_EUNSURE and passes it on */
#include "broker/store/sequencer.h"

#include "broker/store/draft.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

struct sequencer {
    struct store *store; /* borrowed; gives the log too */
    struct net_turn turn;
    struct draft *first, *last; /* not proposed yet, oldest first; only the last one takes more */
    uint64_t waiting_bytes;     /* in them */
    uint64_t waiting_max;
    uint32_t in_flight; /* proposed, not answered */
    uint64_t drafts;    /* opened so far */
    uint64_t answered;  /* the number of the last one whose proposal has ended */
    bool writable;
    struct draft_pool pool;
    struct sequencer_stats stats;
    struct mq_log_limit refused_log; /* a client's large messages can provoke the line */
};

static void on_turn(struct net_turn *turn);

int sequencer_new(struct net_loop *loop, struct store *store, struct sequencer **out)
{
    struct sequencer *seq = mq_calloc(1, sizeof(*seq));

    if (seq == NULL) {
        return MQ_ENOMEM;
    }
    seq->store = store;
    seq->waiting_max = SEQUENCER_WAITING_BYTES_MAX;
    seq->turn.data = seq;
    store->loop = loop;
    net_turn_add(loop, &seq->turn, NET_PHASE_WORK, on_turn);
    *out = seq;
    return 0;
}

/* The drafts not proposed yet; there are none afterwards. */
static struct draft *take_waiting(struct sequencer *seq)
{
    struct draft *drafts = seq->first;

    seq->first = NULL;
    seq->last = NULL;
    seq->waiting_bytes = 0;
    return drafts;
}

/* @drafts: given. */
static void answer_all(struct sequencer *seq, struct draft *drafts, int status)
{
    while (drafts != NULL) {
        struct draft *draft = drafts;

        drafts = draft->next;
        draft_answer(draft, status);
        draft_recycle(&seq->pool, draft);
    }
}

void sequencer_free(struct sequencer *seq)
{
    if (seq == NULL) {
        return;
    }
    MQ_ASSERT(seq->in_flight == 0);
    seq->writable = false;
    answer_all(seq, take_waiting(seq), MQ_ENOTLEADER);
    net_turn_remove(&seq->turn);
    draft_pool_fini(&seq->pool);
    mq_free(seq);
}

void sequencer_set_writable(struct sequencer *seq, bool writable)
{
    struct draft *drafts = take_waiting(seq);

    /* First the state, then the answers: whoever is answered may call us. */
    seq->writable = writable;
    seq->answered = seq->drafts;
    if (!RAFTMQ_DEFECT(QOFF_NOT_RESET)) {
        queue_table_reset_next(&seq->store->queues);
    }
    answer_all(seq, drafts, MQ_ENOTLEADER);
}

static void on_proposed(struct rlog_proposal *proposal, int status)
{
    struct draft *draft = proposal->data;
    struct sequencer *seq = draft->owner;

    seq->in_flight--;
    seq->answered = draft->number;
    draft_answer(draft, status);
    draft_recycle(&seq->pool, draft);
}

/* Returns 0, or what the log says; the draft is the caller's until then. */
static int propose(struct sequencer *seq, struct draft *draft)
{
    struct rlog *log = seq->store->log;
    int rc = rlog_can_propose(log);

    if (rc != 0) {
        return rc;
    }
    draft_stamp(draft, log);
    draft->owner = seq;
    draft->proposal = (struct rlog_proposal){.data = draft, .from_reserve = draft->records == draft->from_reserve};
    net_ref_acquire(&draft->blob->ref); /* the log takes one; answers are made from ours */
    rc = rlog_propose(log, draft->blob, draft->wall_ms, draft->records, draft->items, &draft->proposal, on_proposed);
    if (rc != 0) {
        net_ref_release(&draft->blob->ref);
        return rc;
    }
    seq->in_flight++;
    seq->stats.entries++;
    return 0;
}

static bool is_full(const struct sequencer *seq, const struct draft *draft)
{
    return draft != seq->last || draft_bytes(draft) >= RLOG_GATHER_BYTES;
}

static void unlink_first(struct sequencer *seq)
{
    struct draft *draft = seq->first;

    seq->first = draft->next;
    seq->last = seq->first != NULL ? seq->last : NULL;
    seq->waiting_bytes -= draft_bytes(draft);
}

/* Proposes drafts from the oldest on: full ones, and when @all the gathering one too if the disk has nothing else to
 * do. Returns 0, or why the first one left was not taken. */
static int propose_waiting(struct sequencer *seq, bool all)
{
    while (seq->first != NULL) {
        struct draft *draft = seq->first;
        int rc;

        if (!is_full(seq, draft) && (!all || rlog_writing(seq->store->log))) {
            return 0;
        }
        if (draft_bytes(draft) == 0) { /* reserved, then thought better of: only the last one can be so */
            unlink_first(seq);
            draft_recycle(&seq->pool, draft);
            return 0;
        }
        rc = propose(seq, draft);
        if (rc != 0) {
            return rc;
        }
        unlink_first(seq);
    }
    return 0;
}

/* The log will never take the oldest draft: it is answered with @why, and the records behind it get its numbers. */
static void give_up(struct sequencer *seq, int why)
{
    struct queue_table *queues = &seq->store->queues;
    struct draft *refused = seq->first;

    mq_log_limited(&seq->refused_log, MQ_LOG_ERROR, "sequencer", "entry of %u bytes is refused: %s",
                   draft_bytes(refused), mq_strerror(why));
    queues->undo_round++;
    for (struct draft *draft = refused; draft != NULL; draft = draft->next) {
        draft_take_back(draft, queues);
    }
    unlink_first(seq);
    for (struct draft *draft = seq->first; draft != NULL; draft = draft->next) {
        draft_renumber(draft, queues);
    }
    draft_answer(refused, why);
    draft_recycle(&seq->pool, refused);
}

/* Nothing is proposed now. Leadership is gone, and the role will say so; or it is being handed over, and may stay
 * after all; or the disk is low, and the oldest draft has records. What lies behind that would be taken, but it was
 * made in the belief that it comes after it: an offset that has passed what a refused pop was to get, a copy for a
 * topic that was to be made. What is in flight keeps its numbers. */
static void refuse_waiting(struct sequencer *seq, int why)
{
    struct draft *drafts = take_waiting(seq);

    seq->store->queues.undo_round++;
    for (struct draft *draft = drafts; draft != NULL; draft = draft->next) {
        draft_take_back(draft, &seq->store->queues);
    }
    answer_all(seq, drafts, why);
}

static void on_turn(struct net_turn *turn)
{
    struct sequencer *seq = turn->data;

    for (;;) {
        int rc = propose_waiting(seq, true);

        switch (rc) {
        case 0:
        case MQ_EBUSY:  /* room comes */
        case MQ_ENOMEM: /* perhaps the next turn has some */
            return;
        case MQ_ENOTLEADER:
        case MQ_EFULL:
            refuse_waiting(seq, rc);
            return;
        default:
            give_up(seq, rc);
        }
    }
}

void sequencer_room(struct sequencer *seq)
{
    propose_waiting(seq, false); /* what it is refused for, the end of the turn meets again */
}

/* A draft at the end of the list, behind the full ones, which may go now. */
static int open_draft(struct sequencer *seq, uint32_t bytes)
{
    struct draft *draft;
    int rc;

    rc = draft_new(&seq->pool, seq->store->log, bytes, &draft);
    if (rc != 0) {
        return rc;
    }
    if (seq->last != NULL) {
        seq->last->next = draft;
    } else {
        seq->first = draft;
    }
    seq->last = draft;
    draft->number = ++seq->drafts;
    propose_waiting(seq, false);
    return 0;
}

void sequencer_set_waiting_max(struct sequencer *seq, uint64_t bytes)
{
    seq->waiting_max = bytes;
}

void sequencer_waiting_get(const struct sequencer *seq, uint64_t *bytes, uint64_t *max)
{
    *bytes = seq->waiting_bytes;
    *max = seq->waiting_max;
}

int64_t sequencer_waiting_ms(const struct sequencer *seq, int64_t now_ms)
{
    return seq->first != NULL && now_ms > seq->first->wall_ms ? now_ms - seq->first->wall_ms : 0;
}

/* So much is gathered into one entry, as far as it consists of more than one part. */
static uint32_t gather_max(const struct sequencer *seq)
{
    uint32_t most = rlog_payload_max(seq->store->log);

    return most < RLOG_GATHER_BYTES ? most : RLOG_GATHER_BYTES;
}

int sequencer_reserve(struct sequencer *seq, uint32_t bytes, uint8_t **at)
{
    struct draft *last = seq->last;
    int rc = 0;

    if (!seq->writable) {
        return MQ_ENOTLEADER;
    }
    if (bytes > RLOG_ENTRY_BYTES_MAX) {
        return MQ_ETOOBIG;
    }
    if (seq->waiting_bytes + bytes > seq->waiting_max) {
        seq->stats.busy++;
        return MQ_EBUSY;
    }
    if (last == NULL || (draft_bytes(last) != 0 && draft_bytes(last) + bytes > gather_max(seq))) {
        rc = open_draft(seq, bytes);
    }
    if (rc == 0) {
        rc = draft_reserve(seq->last, bytes);
    }
    if (rc != 0) {
        return rc;
    }
    *at = rlog_blob_payload(seq->last->blob) + draft_bytes(seq->last);
    return 0;
}

int64_t sequencer_store_ms(struct sequencer *seq)
{
    if (seq->last == NULL) {
        return rlog_store_ms(seq->store->log, mq_clock_wall_ms());
    }
    return seq->last->store_ms;
}

void sequencer_add(struct sequencer *seq, uint32_t bytes, struct queue *queue, uint32_t records, uint32_t items,
                   const struct sequencer_pending *p)
{
    struct draft *draft = seq->last;
    struct rlog_blob *blob;
    uint64_t qoff = 0;

    MQ_ASSERT(draft != NULL && bytes != 0 && (queue != NULL) == (records != 0));
    blob = draft->blob;
    MQ_ASSERT(bytes <= blob->cap - blob->payload_bytes);
    if (queue != NULL) {
        qoff = RAFTMQ_DEFECT(QOFF_FROM_APPLIED) ? queue->cq.max : queue->next;
        draft_number(rlog_blob_payload(blob) + blob->payload_bytes, bytes, records, qoff);
        queue->next += records;
    }
    if (p->done != NULL) {
        struct sequencer_pending *copy = &draft->pendings[draft->n_pendings++];

        *copy = *p;
        copy->at = blob->payload_bytes;
        copy->bytes = bytes;
        copy->qoff = qoff;
        if (copy->ch != NULL) {
            net_channel_acquire(copy->ch);
        }
    }
    blob->payload_bytes += bytes;
    draft->records += records;
    draft->items += items;
    seq->waiting_bytes += bytes;
    seq->stats.records += records;
    seq->stats.items += items;
}

void sequencer_from_reserve(struct sequencer *seq, uint32_t records)
{
    seq->last->from_reserve += records;
}

void sequencer_drafts_get(const struct sequencer *seq, uint64_t *last, uint64_t *answered)
{
    *last = seq->drafts;
    *answered = seq->in_flight == 0 && seq->first == NULL ? seq->drafts : seq->answered;
}

int sequencer_restart(struct sequencer *seq, struct topic_queues *topic)
{
    MQ_ASSERT(seq->last != NULL);
    return RAFTMQ_DEFECT(DELETED_NUMBERED_ON) ? 0 : draft_restart(seq->last, topic);
}

void sequencer_stats_get(const struct sequencer *seq, struct sequencer_stats *out)
{
    *out = seq->stats;
    out->waiting_bytes = seq->waiting_bytes;
}
