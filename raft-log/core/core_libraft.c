/* One step of libraft, the library that decides. Only the core_*.c files know it. It is driven through raft_step
 * alone; facts about it: version 0.22.1.
 *
 * What these files add around a step, and why:
 * - The library gets memory from a heap of ours that ends the process when memory is out. Some of its error paths
 * leave a step half done, and a node that is not sure of its own state must not vote.
 * - Entries are stand-ins: term and type. The library frees the "batch" of received entries on some paths and leaves
 * it to the caller on others; ours is one static array that the heap above never frees, so there is no path to get
 * wrong and nothing is allocated for a message. Only CHANGE entries have bytes, which the library reads during the
 * step.
 * - A CHANGE entry must be the first and only new entry of a step, or the library records its index wrongly: received
 *   messages are cut there.
 * - A CHANGE entry that follows another makes the library forget that one, which it may not have been told is
 * applied, and with it what to go back to: it is told first.
 * - A message's commit index is lowered to the last entry it covers. The library takes min(commit, covered) even when
 * that is below what it knew, so that a late message would make its commit index fall.
 * - The answer to an append of an older term leaves the library with an undefined last index, and would say "success"
 * if the append began at index 0; a leader of the answer's term might believe it. It is made a harmless rejection.
 * - Vote results are for candidates; the library looks at candidate fields before it looks at the role.
 * - A rejection at or below what a follower has acknowledged in this term is late, and is dropped.
 * - At a timeout of the leader, a follower heard within the last one and a half heartbeats counts as in contact. The
 * library asks whether it answered since the last timeout, and would stop pipelining to it when two followers'
 * heartbeats are out of step.
 * - A follower that does not stand for election when its time is up (no voter, passive, still writing) forgets its
 * leader. The library keeps it, and refuses its vote to everybody for as long as it believes to have a leader.
 * - A node that is no voter as far as it knows votes all the same when a candidate asks it: it may not have heard
 * that it was made one, and a group of two could never elect again if that entry did not reach it. The library
 * refuses.
 * - A pre-vote is denied with the term that it asked for, so a candidate never learns of a higher one. The node that
 * has it need not stand for election (a claim, passive): then nobody would ever lead. The denial gets the real term.
 * - A lone voter becomes leader in a new term. The library lets it lead in the term that it is in, in which another
 * node, removed since, may have led and written.
 *
 * And about a log that begins late. To the library our base is the last snapshot, so the two always have the same
 * index:
 * - An append that begins below the base is cut there. The library would reject it, and the leader takes a rejection
 * at or below what the follower has acknowledged for a late one. What lies below is committed, so the leader has it
 * too.
 * - The library answers an install of an old term with "success", and with an undefined last index: such an install
 * is dropped. It would let a leader take one of its own term, into fields that are another role's: refused.
 * - It is told to install when the snapshot is here and checked. In between, the leader's heartbeats are answered as
 * ever, and the leader repeats its CORE_INSTALL when SNAPSHOT_AGAIN_ELECTIONS have passed: the library's own default
 * would leave a follower alone for half a minute if the message is lost.
 * - Everything the library does with an install that it needs no more answers with the index asked for. Where our
 * base is higher it is asked for our base, or the leader would go on below what we can compare.
 * - A snapshot event must be for a higher index than the last one, with an entry there.
 * - It wants every entry at its start, one by one. It is started behind the last entry that is known to be committed,
 * as behind a snapshot with nothing left before it, and its runs of terms are then lengthened down to our base: the
 * state that it has itself when it kept entries before a snapshot. */
#include "raft-log/core/core_libraft.h"

#include "raft-log/core/member.h"
#include "raft-log/core/strict_heap.h"
#include "raft-log/log/entry_codec.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

#include <inttypes.h>
#include <stdio.h>

#define PEER_ADDRESS "peer" /* the library compares and copies addresses; we know peers by id */

/* ---- heap ---- */

static struct raft_heap heap = {
    .malloc = strict_heap_malloc,
    .free = strict_heap_free,
    .calloc = strict_heap_calloc,
    .realloc = strict_heap_realloc,
    .aligned_alloc = strict_heap_aligned_alloc,
    .aligned_free = strict_heap_aligned_free,
};

void core_use_heap(void)
{
    raft_heap_set(&heap);
}

/* ---- translation ---- */

static int to_error(int rv)
{
    switch (rv) {
    case 0:
        return 0;
    case RAFT_NOMEM:
        return MQ_ENOMEM;
    case RAFT_NOTLEADER:
        return MQ_ENOTLEADER; /* nothing was appended: safe to send elsewhere */
    case RAFT_LEADERSHIPLOST:
        return MQ_EUNSURE; /* the next leader may still commit it */
    case RAFT_MALFORMED:
        return MQ_EBADMSG;
    case RAFT_BADID:
    case RAFT_NOTFOUND:
        return MQ_ENOTFOUND;
    case RAFT_CANTCHANGE:
    case RAFT_BUSY:
    case RAFT_NOSPACE:
        return MQ_EBUSY;
    case RAFT_SHUTDOWN: /* a peer's log contradicts what is committed here */
    case RAFT_CORRUPT:
        return MQ_ECORRUPT;
    default:
        return MQ_EINVAL;
    }
}

static enum raft_entry_type to_raft_type(uint8_t type)
{
    return type == RLOG_CHANGE ? RAFT_CHANGE : type == RLOG_BARRIER ? RAFT_BARRIER : RAFT_COMMAND;
}

/* Where the membership names another directory in our place, we have no say. */
static int to_raft_role(const struct core *core, const struct member *member)
{
    if (member->id == core->options.self && core->options.incarnation != 0 &&
        member->incarnation != core->options.incarnation) {
        return RAFT_STANDBY;
    }
    return member->role == MEMBER_VOTER || RAFTMQ_DEFECT(LEARNER_VOTES) ? RAFT_VOTER : RAFT_STANDBY;
}

int core_configuration(const struct core *core, const uint8_t *change, uint32_t n, struct raft_configuration *out)
{
    struct membership membership;
    char address[16];
    int rc = membership_decode(change, n, &membership);

    raft_configuration_init(out);
    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < membership.n; i++) {
        const struct member *member = &membership.members[i];

        /* The library wants addresses to differ and never uses them. */
        (void)snprintf(address, sizeof(address), "%" PRIu32, member->id);
        rc = raft_configuration_add(out, member->id, address, to_raft_role(core, member));
        MQ_ASSERT(rc == 0);
    }
    return 0;
}

int core_stand_in(const struct core *core, const struct core_entry *from, struct raft_entry *to)
{
    struct raft_configuration conf;
    int rc;

    *to = (struct raft_entry){.term = from->term, .type = to_raft_type(from->type), .batch = strict_heap_static};
    if (from->type != RLOG_CHANGE) {
        return 0;
    }
    rc = core_configuration(core, from->change, from->change_bytes, &conf);
    if (rc != 0) {
        return rc;
    }
    rc = raft_configuration_encode(&conf, &to->buf);
    MQ_ASSERT(rc == 0);
    raft_configuration_close(&conf);
    return 0;
}

static void from_raft_message(const struct raft_message *from, struct core_message *to)
{
    to->peer = (uint32_t)from->server_id;
    switch (from->type) {
    case RAFT_APPEND_ENTRIES:
        to->type = CORE_APPEND;
        to->term = from->append_entries.term;
        to->append.prev_index = from->append_entries.prev_log_index;
        to->append.prev_term = from->append_entries.prev_log_term;
        to->append.commit = from->append_entries.leader_commit;
        to->append.n = from->append_entries.n_entries;
        to->append.entries = NULL;
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        to->type = CORE_APPEND_RESULT;
        to->term = from->append_entries_result.term;
        to->append_result.rejected = from->append_entries_result.rejected;
        to->append_result.last_index = from->append_entries_result.last_log_index;
        break;
    case RAFT_REQUEST_VOTE:
        to->type = CORE_VOTE;
        to->term = from->request_vote.term;
        to->vote.last_index = from->request_vote.last_log_index;
        to->vote.last_term = from->request_vote.last_log_term;
        to->vote.disrupt_leader = from->request_vote.disrupt_leader;
        to->vote.pre_vote = from->request_vote.pre_vote;
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        to->type = CORE_VOTE_RESULT;
        to->term = from->request_vote_result.term;
        to->vote_result.granted = from->request_vote_result.vote_granted;
        to->vote_result.pre_vote = from->request_vote_result.pre_vote;
        break;
    case RAFT_TIMEOUT_NOW:
        to->type = CORE_TIMEOUT_NOW;
        to->term = from->timeout_now.term;
        to->timeout_now.last_index = from->timeout_now.last_log_index;
        to->timeout_now.last_term = from->timeout_now.last_log_term;
        break;
    case RAFT_INSTALL_SNAPSHOT:
        to->type = CORE_INSTALL;
        to->term = from->install_snapshot.term;
        to->install.base_index = from->install_snapshot.last_index;
        to->install.base_term = from->install_snapshot.last_term;
        break;
    default:
        MQ_ASSERT(!"a message type that this version of the library does not send");
    }
}

/* ---- one step ---- */

static void add_messages(struct core *core, const struct raft_update *from, struct core_update *update)
{
    uint32_t n = update->n_messages + from->messages.n;

    if (n > core->messages_cap) {
        core->messages_cap = n * 2;
        core->messages = strict_heap_realloc(NULL, core->messages, core->messages_cap * sizeof(core->messages[0]));
    }
    for (unsigned i = 0; i < from->messages.n; i++) {
        struct core_message *to = &core->messages[update->n_messages + i];

        from_raft_message(&from->messages.batch[i], to);
        if (to->type == CORE_APPEND_RESULT) {
            to->append_result.passive = !core_may_stand(core);
        }
    }
    update->n_messages = n;
    update->messages = core->messages;
}

/* @commit: as it was before the step. */
static void add_entries(struct core *core, const struct raft_update *from, uint64_t commit,
                        struct core_update *update)
{
    if (update->entries_index == 0) {
        update->entries_index = from->entries.index;
    }
    MQ_ASSERT(from->entries.index == update->entries_index + update->n_entries);
    update->n_entries += from->entries.n;
    if (from->entries.index <= core->terms.last_index) {
        MQ_ASSERT(from->entries.index > commit); /* I1 */
        term_table_truncate(&core->terms, from->entries.index);
    }
    for (unsigned i = 0; i < from->entries.n; i++) {
        term_table_append(&core->terms, from->entries.batch[i].term);
    }
    if (from->entries.batch == &core->raft.barrier) {
        update->own_barrier = true;
        raft_free(core->raft.barrier.batch);
    }
}

void core_note_role(struct core *core)
{
    enum rlog_role_kind role = core_role(core);
    uint64_t term = core_term(core);
    uint32_t leader = core_leader(core);

    if (role == core->role && term == core->role_term && leader == core->leader) {
        return;
    }
    if (role == RLOG_LEADING && (core->role != RLOG_LEADING || core->role_term != term)) {
        core->n_contacts = 0;
    }
    core->role = role;
    core->role_term = term;
    core->leader = leader;
}

int core_step(struct core *core, struct raft_event *event, struct core_update *update)
{
    struct raft_update got = {0};
    uint64_t commit = raft_commit_index(&core->raft);
    unsigned flags;
    int rv;

    rv = raft_step(&core->raft, event, &got);
    if (rv != 0) {
        return to_error(rv);
    }
    flags = got.flags;
    if (flags & ((RAFT_UPDATE_CURRENT_TERM) | (RAFT_UPDATE_VOTED_FOR))) {
        update->term_or_vote = true;
        update->term = raft_current_term(&core->raft);
        update->vote = (uint32_t)raft_voted_for(&core->raft);
    }
    if (flags & (RAFT_UPDATE_ENTRIES)) {
        add_entries(core, &got, commit, update);
    }
    if (flags & (RAFT_UPDATE_SNAPSHOT)) {
        core->snapshot = got.snapshot.metadata; /* with the configuration that we gave it */
        term_table_reset(&core->terms, core->snapshot.index, core->snapshot.term);
        update->install = true;
    }
    if (flags & (RAFT_UPDATE_MESSAGES)) {
        add_messages(core, &got, update);
    }
    MQ_ASSERT(raft_commit_index(&core->raft) >= commit); /* I1 */
    update->timeout_changed |= (flags & ((RAFT_UPDATE_TIMEOUT) | (RAFT_UPDATE_STATE))) != 0;
    core_note_role(core);
    return 0;
}

/* A follower whose term rises has no leader until one says so in that term. The library keeps the one of the term
 * before, and goes on denying pre-votes for its sake. */
static void forget_leader(struct raft *raft)
{
    raft_free(raft->follower_state.current_leader.address);
    raft->follower_state.current_leader.address = NULL;
    raft->follower_state.current_leader.id = 0;
}

int core_step_message(struct core *core, uint64_t now_ms, struct raft_message *message, struct core_update *update)
{
    struct raft_event event = core_event(RAFT_RECEIVE, now_ms);
    uint64_t term = core_term(core);
    int rc;

    message->server_address = PEER_ADDRESS;
    event.receive.message = message;
    rc = core_step(core, &event, update);
    if (rc == 0 && core_term(core) > term && core->raft.state == RAFT_FOLLOWER &&
        message->type != RAFT_APPEND_ENTRIES && message->type != RAFT_INSTALL_SNAPSHOT) {
        forget_leader(&core->raft);
    }
    return rc;
}
