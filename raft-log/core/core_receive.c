/* Messages of the other members, made fit for the library (see core_libraft.c for why). */
#include "raft-log/core/core_libraft.h"
#include "raft-log/core/member.h"
#include "raft-log/core/strict_heap.h"
#include "raft-log/log/entry_codec.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

/* Message versions with which the library of this version expects its fields filled. */
#define VOTE_VERSION 2
#define VOTE_RESULT_VERSION 2
#define APPEND_VERSION 0
#define TIMEOUT_NOW_VERSION 0
#define INSTALL_VERSION 0

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
        rc = core_stand_in(core, &message->append.entries[skip + i], &core->entries[i]);
    }
    if (rc == 0) {
        rc = core_step_message(core, now_ms, &raft, update);
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

/* Takes off what lies at or below our base. Returns 0, or MQ_ECORRUPT when the base is another entry there. */
static int cut_at_base(const struct core *core, const struct core_message *message, struct core_message *out)
{
    uint64_t base = core->terms.base_index;
    uint64_t covered;

    *out = *message;
    if (message->append.prev_index >= base) {
        return 0;
    }
    covered = base - message->append.prev_index;
    out->append.prev_index = base;
    out->append.prev_term = core->terms.base_term;
    if (covered > message->append.n) {
        out->append.n = 0;
        out->append.entries = NULL;
        return 0;
    }
    out->append.n -= (uint32_t)covered;
    out->append.entries += covered;
    return message->append.entries[covered - 1].term == core->terms.base_term ? 0 : MQ_ECORRUPT;
}

/* Nobody else leads in our own term: a copied directory, or bytes that are not a member's. */
static bool is_impostor(const struct core *core, const struct core_message *message)
{
    return message->term == core_term(core) && core_role(core) == RLOG_LEADING;
}

/* A leader proposes a change only when the one before is committed. So where a new one follows, the former is
 * committed, though it may not be applied here yet. The library would forget it, and fall back to the one before that
 * if the new one is replaced. */
static void settle_former_change(struct core *core, uint64_t now_ms, uint64_t prev_index, uint64_t prev_term,
                                 const struct core_entry *entry, struct core_update *update)
{
    const struct raft_configuration *conf = &core->raft.configuration;
    struct raft_event event = core_event(RAFT_CONFIGURATION, now_ms);
    uint64_t former = core->raft.configuration_uncommitted_index;
    int rc = 0;

    if (entry->type != RLOG_CHANGE || former == 0 || prev_index < former ||
        term_table_get(&core->terms, prev_index) != prev_term ||
        term_table_get(&core->terms, prev_index + 1) == entry->term) {
        return;
    }
    raft_configuration_init(&event.configuration.conf); /* taken by the step */
    for (unsigned i = 0; i < conf->n && rc == 0; i++) {
        rc = raft_configuration_add(&event.configuration.conf, conf->servers[i].id, conf->servers[i].address,
                                    conf->servers[i].role);
    }
    event.configuration.index = former;
    rc = rc == 0 ? core_step(core, &event, update) : rc;
    MQ_ASSERT(rc == 0);
}

/* The parts of @message, one behind the other, as far as the library takes them. */
static int receive_parts(struct core *core, uint64_t now_ms, const struct core_message *message, bool stale,
                         struct core_update *update)
{
    uint32_t at = 0;

    if (message->append.n > core->entries_cap) {
        core->entries_cap = message->append.n;
        core->entries = strict_heap_realloc(NULL, core->entries, core->entries_cap * sizeof(core->entries[0]));
    }
    do {
        uint32_t n = part_length(message, at);
        int rc;

        if (!stale) {
            core->leader_term = message->term; /* before the step, which notes the leader */
        }
        if (!stale && n == 1) {
            settle_former_change(core, now_ms, message->append.prev_index + at,
                                 at > 0 ? message->append.entries[at - 1].term : message->append.prev_term,
                                 &message->append.entries[at], update);
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
    return 0;
}

static int receive_append(struct core *core, uint64_t now_ms, const struct core_message *message,
                          struct core_update *update)
{
    bool stale = message->term < core_term(core);
    struct core_message rest;
    int rc = check_entries(message);

    if (rc == 0 && is_impostor(core, message)) {
        rc = MQ_EBADMSG;
    }
    if (rc == 0 && stale) {
        rest = *message;
    } else if (rc == 0) {
        rc = cut_at_base(core, message, &rest);
    }
    if (rc == 0) {
        rc = receive_parts(core, now_ms, &rest, stale, update);
    }
    if (rc != 0) {
        return rc;
    }
    if (stale) {
        for (uint32_t i = 0; i < update->n_messages; i++) {
            uint64_t rejected = message->append.prev_index > 0 ? message->append.prev_index : 1;

            update->messages[i].append_result.rejected = rejected;
            update->messages[i].append_result.last_index = rejected - 1;
        }
    }
    return 0;
}

static struct raft_server *configuration_has(struct core *core, uint32_t id)
{
    struct raft_configuration *conf = &core->raft.configuration;

    for (unsigned i = 0; i < conf->n; i++) {
        if (conf->servers[i].id == id) {
            return &conf->servers[i];
        }
    }
    return NULL;
}

static void note_contact(struct core *core, uint64_t now_ms, uint32_t peer)
{
    uint32_t i;

    for (i = 0; i < core->n_contacts && core->contacts[i].peer != peer; i++) {
    }
    for (uint32_t k = 0; i == RLOG_MEMBERS_MAX && k < core->n_contacts; k++) {
        if (configuration_has(core, core->contacts[k].peer) == NULL) {
            i = k; /* it was removed */
        }
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
        int rc = core_step_message(core, now_ms, &raft, update);

        if (core_role(core) == RLOG_LEADING && message->append_result.rejected == 0) {
            commit_by_counting(core);
        }
        return rc;
    }
    return core_step_message(core, now_ms, &raft, update);
}

/* Whether the candidate's log ends before what this node claims to have held. */
static bool is_below_claim(const struct core *core, const struct core_message *message)
{
    return core_claim_open(core) &&
           (message->vote.last_term < core->claim_term ||
            (message->vote.last_term == core->claim_term && message->vote.last_index < core->claim_index));
}

/* Our own line in the configuration, where we do not vote. */
static struct raft_server *standing_by(struct core *core)
{
    struct raft_server *own = configuration_has(core, core->options.self);

    return own != NULL && own->role == RAFT_STANDBY ? own : NULL;
}

static int receive_vote(struct core *core, uint64_t now_ms, const struct core_message *message,
                        struct core_update *update)
{
    struct raft_message raft = {.type = RAFT_REQUEST_VOTE, .server_id = message->peer};
    struct raft_server *own = standing_by(core);
    int rc;

    raft.request_vote = (struct raft_request_vote){
        .version = VOTE_VERSION,
        .term = message->term,
        .candidate_id = message->peer,
        .last_log_index = message->vote.last_index,
        .last_log_term = message->vote.last_term,
        .disrupt_leader = message->vote.disrupt_leader,
        .pre_vote = message->vote.pre_vote,
    };
    if (is_below_claim(core, message)) { /* the library denies it as it would if we had those entries */
        raft.request_vote.last_log_index = raft.request_vote.last_log_term = 0;
    }
    if (own != NULL) {
        own->role = RAFT_VOTER; /* for this step */
    }
    rc = core_step_message(core, now_ms, &raft, update);
    if (own != NULL) {
        own->role = RAFT_STANDBY;
    }
    for (uint32_t i = 0; i < update->n_messages && message->vote.pre_vote && message->term < core_term(core); i++) {
        update->messages[i].term = core_term(core);
    }
    return rc;
}

static int receive_vote_result(struct core *core, uint64_t now_ms, const struct core_message *message,
                               struct core_update *update)
{
    struct raft_message raft = {.type = RAFT_REQUEST_VOTE_RESULT, .server_id = message->peer};

    if (core_role(core) != RLOG_CANDIDATE || !core_may_stand(core)) {
        return 0;
    }
    raft.request_vote_result = (struct raft_request_vote_result){
        .version = VOTE_RESULT_VERSION,
        .term = message->term,
        .vote_granted = message->vote_result.granted,
        .pre_vote = message->vote_result.pre_vote,
    };
    return core_step_message(core, now_ms, &raft, update);
}

static int receive_timeout_now(struct core *core, uint64_t now_ms, const struct core_message *message,
                               struct core_update *update)
{
    struct raft_message raft = {.type = RAFT_TIMEOUT_NOW, .server_id = message->peer};

    if (!core_may_stand(core) || core_is_lone(core)) {
        return 0; /* a lone voter needs a new term for it: its own time-out brings that */
    }
    raft.timeout_now = (struct raft_timeout_now){
        .version = TIMEOUT_NOW_VERSION,
        .term = message->term,
        .last_log_index = message->timeout_now.last_index,
        .last_log_term = message->timeout_now.last_term,
    };
    return core_step_message(core, now_ms, &raft, update);
}

/* The leader says that we need a snapshot. It is told what we have if that is enough; if not, the snapshot has to be
 * here first. */
static int receive_install(struct core *core, uint64_t now_ms, const struct core_message *message,
                           struct core_update *update)
{
    struct raft_message raft = {.type = RAFT_INSTALL_SNAPSHOT, .server_id = message->peer};
    uint64_t base = message->install.base_index;
    uint64_t base_term = message->install.base_term;

    if (base == 0 || base_term == 0 || base_term > message->term || is_impostor(core, message)) {
        return MQ_EBADMSG;
    }
    if (message->term < core_term(core) || core_installing(core)) {
        return 0;
    }
    if (base <= core->terms.base_index) {
        base = core->terms.base_index;
        base_term = core->terms.base_term;
    } else if (term_table_get(&core->terms, base) != base_term) {
        update->fetch = true;
        return base <= core_commit(core) ? MQ_ECORRUPT : 0;
    }
    core->leader_term = message->term;
    raft.install_snapshot.version = INSTALL_VERSION;
    raft.install_snapshot.term = message->term;
    raft.install_snapshot.last_index = base;
    raft.install_snapshot.last_term = base_term;
    return core_step_message(core, now_ms, &raft, update);
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
    case CORE_INSTALL:
        return receive_install(core, now_ms, message, update);
    }
    return MQ_EBADMSG;
}
