/* The one file that knows libraft. It is driven through raft_step alone; facts about it: version 0.22.1.
 *
 * What this file adds around a step, and why:
 * - The library gets memory from a heap of ours that ends the process when memory is out. Some of its error paths
 * leave a step half done, and a node that is not sure of its own state must not vote.
 * - Entries are stand-ins: term and type. The library frees the "batch" of received entries on some paths and leaves
 * it to the caller on others; ours is one static array that the heap above never frees, so there is no path to get
 * wrong and nothing is allocated for a message. Only CHANGE entries have bytes, which the library reads during the
 * step.
 * - A CHANGE entry must be the first and only new entry of a step, or the library records its index wrongly: received
 *   messages are cut there.
 * - A message's commit index is lowered to the last entry it covers. The library takes min(commit, covered) even when
 * that is below what it knew, so that a late message would make its commit index fall.
 * - The answer to an append of an older term leaves the library with an undefined last index, and would say "success"
 * if the append began at index 0; a leader of the answer's term might believe it. It is made a harmless rejection.
 * - Vote results are for candidates; the library looks at candidate fields before it looks at the role.
 * - A rejection at or below what a follower has acknowledged in this term is late, and is dropped.
 * - At a timeout of the leader, a follower heard within the last one and a half heartbeats counts as in contact. The
 * library asks whether it answered since the last timeout, and would stop pipelining to it when two followers'
 * heartbeats are out of step. */
#include "raft-log/core/core.h"
#include "raft-log/core/member.h"
#include "raft-log/core/strict_heap.h"
#include "raft-log/core/term_table.h"
#include "raft-log/log/entry_codec.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

#include <inttypes.h>
#include <pthread.h>
#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Message versions with which the library of this version expects its fields filled. */
#define VOTE_VERSION 2
#define VOTE_RESULT_VERSION 2
#define APPEND_VERSION 0
#define APPEND_RESULT_VERSION 2
#define TIMEOUT_NOW_VERSION 0

#define PEER_ADDRESS "peer" /* the library compares and copies addresses; we know peers by id */

struct contact {
    uint32_t peer;
    uint64_t at_ms;
};

struct core {
    struct raft raft;
    struct core_options options;
    struct term_table terms;       /* of all entries */
    uint64_t leader_term;          /* of the last append: the leader the library names is that of this term */
    struct core_message *messages; /* owned */
    uint32_t messages_cap;
    struct raft_entry *entries; /* owned; scratch for one received message */
    uint32_t entries_cap;
    struct contact contacts[RLOG_MEMBERS_MAX]; /* of this leadership */
    uint32_t n_contacts;
    /* As last reported, to see changes. */
    enum rlog_role_kind role;
    uint64_t role_term;
    uint32_t leader;
};

/* ---- heap ---- */

static struct raft_heap heap = {
    .malloc = strict_heap_malloc,
    .free = strict_heap_free,
    .calloc = strict_heap_calloc,
    .realloc = strict_heap_realloc,
    .aligned_alloc = strict_heap_aligned_alloc,
    .aligned_free = strict_heap_aligned_free,
};

static void set_heap(void)
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

/* Our encoded membership as the library's configuration (close with raft_configuration_close). All members vote. */
static int to_configuration(const uint8_t *change, uint32_t n, struct raft_configuration *out)
{
    struct membership membership;
    char address[16];
    int rc = membership_decode(change, n, &membership);

    raft_configuration_init(out);
    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < membership.n; i++) {
        /* The library wants addresses to differ and never uses them. */
        (void)snprintf(address, sizeof(address), "%" PRIu32, membership.members[i].id);
        rc = raft_configuration_add(out, membership.members[i].id, address, RAFT_VOTER);
        MQ_ASSERT(rc == 0);
    }
    return 0;
}

/* Fills the library's stand-in for @from. A CHANGE entry's buffer is to be freed with raft_free after the step. */
static int to_raft_entry(const struct core_entry *from, struct raft_entry *to)
{
    struct raft_configuration conf;
    int rc;

    *to = (struct raft_entry){.term = from->term, .type = to_raft_type(from->type), .batch = strict_heap_static};
    if (from->type != RLOG_CHANGE) {
        return 0;
    }
    rc = to_configuration(from->change, from->change_bytes, &conf);
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
    default:
        MQ_ASSERT(from->type != RAFT_INSTALL_SNAPSHOT); /* we never tell the library of one */
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
        from_raft_message(&from->messages.batch[i], &core->messages[update->n_messages + i]);
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

static void note_role(struct core *core)
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

static int step(struct core *core, struct raft_event *event, struct core_update *update)
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
    MQ_ASSERT(!(flags & (RAFT_UPDATE_SNAPSHOT)));
    if (flags & ((RAFT_UPDATE_CURRENT_TERM) | (RAFT_UPDATE_VOTED_FOR))) {
        update->term_or_vote = true;
        update->term = raft_current_term(&core->raft);
        update->vote = (uint32_t)raft_voted_for(&core->raft);
    }
    if (flags & (RAFT_UPDATE_ENTRIES)) {
        add_entries(core, &got, commit, update);
    }
    if (flags & (RAFT_UPDATE_MESSAGES)) {
        add_messages(core, &got, update);
    }
    MQ_ASSERT(raft_commit_index(&core->raft) >= commit); /* I1 */
    update->timeout_changed |= (flags & ((RAFT_UPDATE_TIMEOUT) | (RAFT_UPDATE_STATE))) != 0;
    note_role(core);
    return 0;
}

static struct raft_event event_of(enum raft_event_type type, uint64_t now_ms)
{
    return (struct raft_event){.type = type, .time = now_ms};
}

static int step_receive(struct core *core, uint64_t now_ms, struct raft_message *message, struct core_update *update)
{
    struct raft_event event = event_of(RAFT_RECEIVE, now_ms);

    message->server_address = PEER_ADDRESS;
    event.receive.message = message;
    return step(core, &event, update);
}

/* ---- life ---- */

int core_new(const struct core_options *options, struct core **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct core *core = calloc(1, sizeof(*core));
    int rv;

    if (core == NULL) {
        return MQ_ENOMEM;
    }
    (void)pthread_once(&once, set_heap);
    core->options = *options;
    rv = raft_init(&core->raft, NULL, NULL, options->self, "");
    MQ_ASSERT(rv == 0);
    core->raft.tracer = NULL; /* the default one formats text in every step */
    raft_seed(&core->raft, options->seed);
    raft_set_election_timeout(&core->raft, options->election_ms);
    raft_set_heartbeat_timeout(&core->raft, options->heartbeat_ms);
    raft_set_pre_vote(&core->raft, true);
    raft_set_max_inflight_entries(&core->raft, CORE_INFLIGHT_ENTRIES_MAX);
    core->role = RLOG_FOLLOWER;
    *out = core;
    return 0;
}

void core_free(struct core *core)
{
    if (core == NULL) {
        return;
    }
    raft_close(&core->raft, NULL);
    term_table_fini(&core->terms);
    free(core->messages);
    free(core->entries);
    free(core);
}

int core_start(struct core *core, uint64_t now_ms, uint64_t term, uint32_t vote, const struct core_entry *entries,
               size_t n, struct core_update *update)
{
    struct raft_event event = event_of(RAFT_START, now_ms);
    struct raft_entry *list;
    int rc = 0;

    *update = (struct core_update){0};
    if (n == 0 || n > UINT32_MAX || entries[0].type != RLOG_CHANGE) {
        return MQ_EINVAL;
    }
    list = raft_calloc(n, sizeof(list[0]));
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = to_raft_entry(&entries[i], &list[i]);
        term_table_append(&core->terms, entries[i].term);
    }
    if (rc == 0) {
        event.start.term = term;
        event.start.voted_for = vote;
        event.start.start_index = 1;
        event.start.entries = list;
        event.start.n_entries = (unsigned)n;
        rc = step(core, &event, update);
        /* The only way for the library to fail here, which also frees the list, is a configuration that we did not
         * encode. */
        MQ_ASSERT(rc == 0);
        update->timeout_changed = true;
    }
    for (size_t i = 0; i < n; i++) {
        raft_free(list[i].buf.base);
    }
    raft_free(list);
    return rc;
}

/* ---- events ---- */

/* Terms never fall along a log, and no entry is younger than its leader; what breaks that is not from a member. */
static int check_entries(const struct core_message *message)
{
    uint64_t term = message->append.prev_term;

    if ((message->append.prev_index == 0) != (message->append.prev_term == 0)) {
        return MQ_EBADMSG;
    }
    for (uint32_t i = 0; i < message->append.n; i++) {
        const struct core_entry *entry = &message->append.entries[i];
        struct membership membership;

        if (entry->type == RLOG_CHANGE && membership_decode(entry->change, entry->change_bytes, &membership) != 0) {
            return MQ_EBADMSG;
        }
        if (entry->term < term || entry->term == 0 || entry->term > message->term || entry->type < RLOG_COMMAND ||
            entry->type > RLOG_CHANGE) {
            return MQ_EBADMSG;
        }
        term = entry->term;
    }
    return term > message->term ? MQ_EBADMSG : 0;
}

/* One append to the library: @n entries of @message behind the first @skip. */
static int receive_part(struct core *core, uint64_t now_ms, const struct core_message *message, uint32_t skip,
                        uint32_t n, struct core_update *update)
{
    struct raft_message raft = {.type = RAFT_APPEND_ENTRIES, .server_id = message->peer};
    struct raft_append_entries *append = &raft.append_entries;
    uint64_t last = message->append.prev_index + skip + n;
    int rc = 0;

    append->version = APPEND_VERSION;
    append->term = message->term;
    append->prev_log_index = message->append.prev_index + skip;
    append->prev_log_term = skip > 0 ? message->append.entries[skip - 1].term : message->append.prev_term;
    if (RAFTMQ_DEFECT(PREV_NOT_CHECKED) && append->prev_log_index != 0 &&
        append->prev_log_index <= core->terms.last_index) {
        append->prev_log_term = term_table_get(&core->terms, append->prev_log_index);
    }
    append->leader_commit = message->append.commit < last ? message->append.commit : last;
    append->n_entries = n;
    append->entries = n > 0 ? core->entries : NULL;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        rc = to_raft_entry(&message->append.entries[skip + i], &core->entries[i]);
    }
    if (rc == 0) {
        rc = step_receive(core, now_ms, &raft, update);
    }
    if (n == 1) { /* only a part of one entry can be a CHANGE and have bytes */
        raft_free(core->entries[0].buf.base);
    }
    return rc;
}

/* Entries from @at on that go into one step: all up to a CHANGE, or that alone. */
static uint32_t part_length(const struct core_message *message, uint32_t at)
{
    uint32_t end = at;

    while (end < message->append.n && message->append.entries[end].type != RLOG_CHANGE) {
        end++;
    }
    return end > at || end == message->append.n ? end - at : 1;
}

static int receive_append(struct core *core, uint64_t now_ms, const struct core_message *message,
                          struct core_update *update)
{
    bool stale = message->term < core_term(core);
    uint32_t at = 0;
    int rc = check_entries(message);

    if (rc != 0) {
        return rc;
    }
    if (!stale && message->term == core_term(core) && core_role(core) == RLOG_LEADING) {
        return MQ_EBADMSG; /* a second leader of our term: a copied directory, or bytes that are not a member's */
    }
    if (message->append.n > core->entries_cap) {
        core->entries_cap = message->append.n;
        core->entries = strict_heap_realloc(NULL, core->entries, core->entries_cap * sizeof(core->entries[0]));
    }
    do {
        uint32_t n = part_length(message, at);

        if (!stale) {
            core->leader_term = message->term; /* before the step, which notes the leader */
        }
        rc = receive_part(core, now_ms, message, at, n, update);
        if (rc != 0) {
            return rc;
        }
        at += n;
        /* Go on only where the library took what came before. */
    } while (at < message->append.n &&
             term_table_get(&core->terms, message->append.prev_index + at) == message->append.entries[at - 1].term &&
             !stale);
    if (stale) {
        for (uint32_t i = 0; i < update->n_messages; i++) {
            uint64_t rejected = message->append.prev_index > 0 ? message->append.prev_index : 1;

            update->messages[i].append_result.rejected = rejected;
            update->messages[i].append_result.last_index = rejected - 1;
        }
    }
    return 0;
}

static void note_contact(struct core *core, uint64_t now_ms, uint32_t peer)
{
    uint32_t i;

    for (i = 0; i < core->n_contacts && core->contacts[i].peer != peer; i++) {
    }
    if (i == RLOG_MEMBERS_MAX) {
        return;
    }
    core->contacts[i] = (struct contact){peer, now_ms};
    core->n_contacts = i < core->n_contacts ? core->n_contacts : i + 1;
}

/* Wrong on purpose (remoting/base/defect.h). */
static void commit_by_counting(struct core *core)
{
    uint64_t commit = core->raft.commit_index;

    for (uint64_t index = commit + 1; index <= core->raft.last_stored; index++) {
        uint32_t holders = 1;

        for (unsigned i = 0; i < core->raft.configuration.n; i++) {
            uint32_t peer = (uint32_t)core->raft.configuration.servers[i].id;

            holders += peer != core->options.self && core_match(core, peer) >= index;
        }
        if (holders <= core->raft.configuration.n / 2) {
            break;
        }
        core->raft.commit_index = index;
    }
}

static int receive_append_result(struct core *core, uint64_t now_ms, const struct core_message *message,
                                 struct core_update *update)
{
    struct raft_message raft = {.type = RAFT_APPEND_ENTRIES_RESULT, .server_id = message->peer};
    bool current = core_role(core) == RLOG_LEADING && message->term == core_term(core);

    if (current) {
        note_contact(core, now_ms, message->peer);
        if (message->append_result.rejected > 0 &&
            message->append_result.rejected <= core_match(core, message->peer)) {
            return 0;
        }
    }
    raft.append_entries_result = (struct raft_append_entries_result){
        .version = APPEND_RESULT_VERSION,
        .term = message->term,
        .rejected = message->append_result.rejected,
        .last_log_index = message->append_result.last_index,
    };
    if (current && RAFTMQ_DEFECT(OLD_TERM_COMMITTED)) {
        int rc = step_receive(core, now_ms, &raft, update);

        if (core_role(core) == RLOG_LEADING && message->append_result.rejected == 0) {
            commit_by_counting(core);
        }
        return rc;
    }
    return step_receive(core, now_ms, &raft, update);
}

static int receive_vote(struct core *core, uint64_t now_ms, const struct core_message *message,
                        struct core_update *update)
{
    struct raft_message raft = {.type = RAFT_REQUEST_VOTE, .server_id = message->peer};

    raft.request_vote = (struct raft_request_vote){
        .version = VOTE_VERSION,
        .term = message->term,
        .candidate_id = message->peer,
        .last_log_index = message->vote.last_index,
        .last_log_term = message->vote.last_term,
        .disrupt_leader = message->vote.disrupt_leader,
        .pre_vote = message->vote.pre_vote,
    };
    return step_receive(core, now_ms, &raft, update);
}

static int receive_vote_result(struct core *core, uint64_t now_ms, const struct core_message *message,
                               struct core_update *update)
{
    struct raft_message raft = {.type = RAFT_REQUEST_VOTE_RESULT, .server_id = message->peer};

    if (core_role(core) != RLOG_CANDIDATE) {
        return 0;
    }
    raft.request_vote_result = (struct raft_request_vote_result){
        .version = VOTE_RESULT_VERSION,
        .term = message->term,
        .vote_granted = message->vote_result.granted,
        .pre_vote = message->vote_result.pre_vote,
    };
    return step_receive(core, now_ms, &raft, update);
}

static int receive_timeout_now(struct core *core, uint64_t now_ms, const struct core_message *message,
                               struct core_update *update)
{
    struct raft_message raft = {.type = RAFT_TIMEOUT_NOW, .server_id = message->peer};

    raft.timeout_now = (struct raft_timeout_now){
        .version = TIMEOUT_NOW_VERSION,
        .term = message->term,
        .last_log_index = message->timeout_now.last_index,
        .last_log_term = message->timeout_now.last_term,
    };
    return step_receive(core, now_ms, &raft, update);
}

int core_receive(struct core *core, uint64_t now_ms, const struct core_message *message, struct core_update *update)
{
    *update = (struct core_update){0};
    if (message->peer == 0 || message->peer == core->options.self || message->term == 0) {
        return MQ_EBADMSG;
    }
    switch (message->type) {
    case CORE_APPEND:
        return receive_append(core, now_ms, message, update);
    case CORE_APPEND_RESULT:
        return receive_append_result(core, now_ms, message, update);
    case CORE_VOTE:
        return receive_vote(core, now_ms, message, update);
    case CORE_VOTE_RESULT:
        return receive_vote_result(core, now_ms, message, update);
    case CORE_TIMEOUT_NOW:
        return receive_timeout_now(core, now_ms, message, update);
    }
    return MQ_EBADMSG;
}

int core_submit(struct core *core, uint64_t now_ms, const struct core_entry *entry, struct core_update *update)
{
    struct raft_event event = event_of(RAFT_SUBMIT, now_ms);
    struct raft_entry raft;
    int rc;

    *update = (struct core_update){0};
    MQ_ASSERT(entry->term == core_term(core));
    rc = to_raft_entry(entry, &raft);
    if (rc != 0) {
        return rc;
    }
    event.submit.entries = &raft;
    event.submit.n = 1;
    rc = step(core, &event, update);
    raft_free(raft.buf.base);
    return rc;
}

int core_timeout(struct core *core, uint64_t now_ms, struct core_update *update)
{
    struct raft_event event = event_of(RAFT_TIMEOUT, now_ms);
    int rc;

    *update = (struct core_update){0};
    if (core_role(core) == RLOG_LEADING) {
        for (uint32_t i = 0; i < core->n_contacts; i++) {
            struct raft_message again = {.type = RAFT_APPEND_ENTRIES_RESULT, .server_id = core->contacts[i].peer};

            if (now_ms - core->contacts[i].at_ms > core->options.heartbeat_ms * 3 / 2) {
                continue;
            }
            again.append_entries_result = (struct raft_append_entries_result){
                .version = APPEND_RESULT_VERSION,
                .term = core_term(core),
                .last_log_index = core_match(core, core->contacts[i].peer), /* known already: changes nothing else */
            };
            rc = step_receive(core, now_ms, &again, update);
            MQ_ASSERT(rc == 0);
        }
    }
    return step(core, &event, update);
}

int core_persisted(struct core *core, uint64_t now_ms, uint64_t index, uint64_t term, struct core_update *update)
{
    struct raft_event event = event_of(RAFT_PERSISTED_ENTRIES, now_ms);

    *update = (struct core_update){0};
    /* A notice for an entry that was replaced may be dropped as a whole: a truncation always brings new entries,
     * whose own notice covers everything before them. */
    if (RAFTMQ_DEFECT(STALE_NOTICE) && index > core->terms.last_index) {
        index = core->terms.last_index;
        term = term_table_get(&core->terms, index);
    }
    if (index <= core->raft.last_stored ||
        (term_table_get(&core->terms, index) != term && !RAFTMQ_DEFECT(STALE_NOTICE))) {
        return 0;
    }
    event.persisted_entries.index = index;
    if (RAFTMQ_DEFECT(OWN_COUNTED_TWICE) && core_role(core) == RLOG_LEADING && core->n_contacts != 0) {
        struct raft_message again = {.type = RAFT_APPEND_ENTRIES_RESULT, .server_id = core->contacts[0].peer};
        int rc = step(core, &event, update);

        again.append_entries_result = (struct raft_append_entries_result){
            .version = APPEND_RESULT_VERSION, .term = core_term(core), .last_log_index = index};
        return rc != 0 ? rc : step_receive(core, now_ms, &again, update);
    }
    return step(core, &event, update);
}

int core_change_applied(struct core *core, uint64_t now_ms, uint64_t index, const uint8_t *change,
                        uint32_t change_bytes, struct core_update *update)
{
    struct raft_event event = event_of(RAFT_CONFIGURATION, now_ms);
    int rc;

    *update = (struct core_update){0};
    rc = to_configuration(change, change_bytes, &event.configuration.conf); /* taken by the step */
    if (rc != 0) {
        return rc;
    }
    event.configuration.index = index;
    return step(core, &event, update);
}

int core_transfer(struct core *core, uint64_t now_ms, uint32_t peer, struct core_update *update)
{
    struct raft_event event = event_of(RAFT_TRANSFER, now_ms);

    *update = (struct core_update){0};
    event.transfer.server_id = peer;
    return step(core, &event, update);
}

/* ---- questions ---- */

enum rlog_role_kind core_role(const struct core *core)
{
    switch (core->raft.state) {
    case RAFT_LEADER:
        return RLOG_LEADING;
    case RAFT_CANDIDATE:
        return RLOG_CANDIDATE;
    default:
        return RLOG_FOLLOWER;
    }
}

bool core_can_submit(const struct core *core)
{
    return core->raft.state == RAFT_LEADER && raft_transferee(&core->raft) == 0;
}

uint64_t core_term(const struct core *core)
{
    return raft_current_term(&core->raft);
}

uint64_t core_commit(const struct core *core)
{
    return raft_commit_index(&core->raft);
}

uint64_t core_last_index(const struct core *core)
{
    return core->terms.last_index;
}

uint64_t core_timeout_at(const struct core *core)
{
    return raft_timeout(&core->raft);
}

uint32_t core_leader(const struct core *core)
{
    if (core->raft.state == RAFT_LEADER) {
        return core->options.self;
    }
    if (core->raft.state == RAFT_FOLLOWER && core->leader_term == core_term(core)) {
        return (uint32_t)core->raft.follower_state.current_leader.id;
    }
    return 0;
}

uint64_t core_match(const struct core *core, uint32_t peer)
{
    raft_index index;

    return raft_match_index(&core->raft, peer, &index) == 0 ? index : 0;
}
