/* A core's life, the events that are not messages, and what it answers. */
#include "raft-log/core/core_libraft.h"
#include "raft-log/core/member.h"
#include "raft-log/core/strict_heap.h"
#include "raft-log/log/entry_codec.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

#include <pthread.h>
#include <stdlib.h>

/* A leader says CORE_INSTALL again when so many election time-outs have passed. */
#define SNAPSHOT_AGAIN_ELECTIONS 4u

/* An id that no member has: the library takes itself for a stranger, which neither votes nor leads. */
#define STRANGER UINT64_MAX

/* ---- life ---- */

int core_new(const struct core_options *options, struct core **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct core *core = calloc(1, sizeof(*core));
    int rv;

    if (core == NULL) {
        return MQ_ENOMEM;
    }
    (void)pthread_once(&once, core_use_heap);
    core->options = *options;
    rv = raft_init(&core->raft, NULL, NULL, options->self, "");
    MQ_ASSERT(rv == 0);
    core->raft.tracer = NULL; /* the default one formats text in every step */
    raft_seed(&core->raft, options->seed);
    raft_set_election_timeout(&core->raft, options->election_ms);
    raft_set_heartbeat_timeout(&core->raft, options->heartbeat_ms);
    raft_set_pre_vote(&core->raft, true);
    raft_set_install_snapshot_timeout(&core->raft, options->election_ms * SNAPSHOT_AGAIN_ELECTIONS);
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
    raft_configuration_close(&core->snapshot.configuration);
    term_table_fini(&core->terms);
    free(core->messages);
    free(core->entries);
    free(core);
}

/* The newest membership that @log holds, if there is one. */
static int newest_configuration(const struct core *core, const struct core_log *log, struct raft_configuration *out)
{
    const uint8_t *change = core_stem(log)->change;
    uint32_t bytes = core_stem(log)->change_bytes;

    for (size_t i = log->n; i > 0; i--) {
        if (log->entries[i - 1].type == RLOG_CHANGE) {
            change = log->entries[i - 1].change;
            bytes = log->entries[i - 1].change_bytes;
            break;
        }
    }
    if (change == NULL) {
        raft_configuration_init(out);
        return 0;
    }
    return core_configuration(core, change, bytes, out);
}

static bool can_be_base(const struct core_base *base, uint64_t term)
{
    return base->term > 0 && base->term <= term && base->change_index > 0 && base->change_index <= base->index;
}

/* Whether the runs go from behind the base to what is settled, with terms that rise. */
static bool runs_fit(const struct core_log *log)
{
    uint64_t index = log->base.index + 1, term = log->base.index > 0 ? log->base.term : 1;

    for (size_t i = 0; i < log->n_runs; i++) {
        const struct core_run *run = &log->runs[i];

        if ((i == 0 ? run->first != index : run->first <= index) || run->first > log->settled.index ||
            (i == 0 ? run->term < term : run->term <= term)) {
            return false;
        }
        index = run->first;
        term = run->term;
    }
    return log->n_runs > 0 && term == log->settled.term;
}

static int check_log(const struct core_log *log)
{
    const struct core_base *base = &log->base, *stem = core_stem(log);

    if (log->n > UINT32_MAX || stem->index - base->index > UINT32_MAX - log->n ||
        log->commit > stem->index + log->n) {
        return MQ_EINVAL;
    }
    if (log->settled.index > 0) {
        return log->settled.index > base->index && log->commit >= log->settled.index &&
                       can_be_base(&log->settled, log->term) && runs_fit(log)
                   ? 0
                   : MQ_EINVAL;
    }
    if (base->index == 0) {
        return log->n == 0 || log->entries[0].type == RLOG_CHANGE ? 0 : MQ_EINVAL;
    }
    return can_be_base(base, log->term) ? 0 : MQ_EINVAL;
}

/* Fills @list and the table of terms. */
static int load_entries(struct core *core, const struct core_log *log, struct raft_entry *list)
{
    int rc = 0;

    term_table_reset(&core->terms, log->base.index, log->base.term);
    for (size_t i = 0; i < log->n_runs; i++) {
        term_table_append_run(&core->terms, i + 1 < log->n_runs ? log->runs[i + 1].first - 1 : log->settled.index,
                              log->runs[i].term);
    }
    for (size_t i = 0; i < log->n && rc == 0; i++) {
        rc = core_stand_in(core, &log->entries[i], &list[i]);
        term_table_append(&core->terms, log->entries[i].term);
    }
    return rc;
}

/* What the library is to begin behind; its configuration goes to the step. Returns 0 or MQ_EBADMSG. */
static int load_base(const struct core *core, const struct core_base *base, struct raft_snapshot_metadata *out)
{
    out->index = base->index;
    out->term = base->term;
    out->configuration_index = base->change_index;
    return core_configuration(core, base->change, base->change_bytes, &out->configuration);
}

/* The step itself. All that could fail has been decoded before. */
static void start(struct core *core, uint64_t now_ms, const struct core_log *log, struct raft_event *event, bool lone,
                  struct core_update *update)
{
    bool leads = lone && core_may_stand(core);
    int rc;

    event->time = now_ms;
    event->start.term = log->term;
    event->start.voted_for = log->vote;
    if (leads || core_claim_open(core)) {
        event->start.term++;
        event->start.voted_for = leads ? core->options.self : 0;
        update->term_or_vote = true;
    }
    event->start.start_index = core_stem(log)->index + 1;
    core->raft.id = lone && !leads ? STRANGER : core->options.self;
    rc = core_step(core, event, update);
    MQ_ASSERT(rc == 0);
    core_lengthen_trail(core, log);
    core->raft.id = core->options.self;
    if (core->raft.commit_index < log->commit) {
        core->raft.commit_index = log->commit;
    }
    update->term = core_term(core);
    update->vote = (uint32_t)raft_voted_for(&core->raft);
    update->timeout_changed = true;
}

int core_start(struct core *core, uint64_t now_ms, const struct core_log *log, struct core_update *update)
{
    struct raft_event event = core_event(RAFT_START, now_ms);
    struct raft_snapshot_metadata metadata = {0};
    struct raft_configuration newest;
    int rc = check_log(log);

    MQ_ASSERT(core->terms.last_index == 0); /* the first event */
    *update = (struct core_update){0};
    if (rc != 0 || newest_configuration(core, log, &newest) != 0) {
        return MQ_EINVAL;
    }
    event.start.n_entries = (unsigned)log->n;
    event.start.entries = raft_calloc(log->n, sizeof(event.start.entries[0]));
    rc = load_entries(core, log, event.start.entries);
    if (rc == 0 && core_stem(log)->index > 0) {
        rc = load_base(core, core_stem(log), &metadata);
        event.start.metadata = &metadata;
    }
    if (rc == 0) {
        core_look_at_claim(core, core->terms.last_index);
        start(core, now_ms, log, &event, core_is_lone_in(core, &newest), update);
    }
    for (size_t i = 0; i < log->n; i++) {
        raft_free(event.start.entries[i].buf.base);
    }
    raft_free(event.start.entries);
    raft_configuration_close(&newest);
    return rc == 0 ? 0 : MQ_EINVAL;
}

/* ---- standing for election ---- */

bool core_is_lone_in(const struct core *core, const struct raft_configuration *conf)
{
    bool self = false;

    for (unsigned i = 0; i < conf->n; i++) {
        if (conf->servers[i].role == RAFT_VOTER && conf->servers[i].id != core->options.self) {
            return false;
        }
        self |= conf->servers[i].role == RAFT_VOTER;
    }
    return self;
}

bool core_is_lone(const struct core *core)
{
    return core_is_lone_in(core, &core->raft.configuration);
}

bool core_may_stand(const struct core *core)
{
    return !core->passive && !core->outside && !core_claim_open(core);
}

void core_set_passive(struct core *core, bool passive)
{
    core->passive = passive;
}

void core_set_outside(struct core *core, bool outside)
{
    core->outside = outside;
}

bool core_claim_open(const struct core *core)
{
    return core->claim_index != 0;
}

void core_look_at_claim(struct core *core, uint64_t durable)
{
    uint64_t term = term_table_get(&core->terms, durable);

    if (term > core->claim_term || (term == core->claim_term && durable >= core->claim_index)) {
        core->claim_term = core->claim_index = 0;
    }
}

void core_set_claim(struct core *core, uint64_t term, uint64_t index)
{
    core->claim_term = RAFTMQ_DEFECT(CLAIM_IGNORED) ? 0 : term;
    core->claim_index = RAFTMQ_DEFECT(CLAIM_IGNORED) ? 0 : index;
    if (core->terms.last_index != 0) {
        core_look_at_claim(core, core->raft.last_stored);
    }
}

/* ---- events ---- */

int core_submit(struct core *core, uint64_t now_ms, const struct core_entry *entry, struct core_update *update)
{
    struct raft_event event = core_event(RAFT_SUBMIT, now_ms);
    struct raft_entry raft;
    int rc;

    *update = (struct core_update){0};
    MQ_ASSERT(entry->term == core_term(core));
    rc = core_stand_in(core, entry, &raft);
    if (rc != 0) {
        return rc;
    }
    event.submit.entries = &raft;
    event.submit.n = 1;
    rc = core_step(core, &event, update);
    raft_free(raft.buf.base);
    return rc;
}

/* Heard within the last one and a half heartbeats is in contact: tells the library once more what it knows. */
static void renew_contacts(struct core *core, uint64_t now_ms, struct core_update *update)
{
    for (uint32_t i = 0; i < core->n_contacts; i++) {
        struct raft_message again = {.type = RAFT_APPEND_ENTRIES_RESULT, .server_id = core->contacts[i].peer};
        int rc;

        if (now_ms - core->contacts[i].at_ms > core->options.heartbeat_ms * 3 / 2) {
            continue;
        }
        again.append_entries_result = (struct raft_append_entries_result){
            .version = APPEND_RESULT_VERSION,
            .term = core_term(core),
            .last_log_index = core_match(core, core->contacts[i].peer), /* known already: changes nothing else */
        };
        rc = core_step_message(core, now_ms, &again, update);
        MQ_ASSERT(rc == 0);
    }
}

/* A time-out that the library may not see: nothing but a new try later follows from it. */
static void sit_out(struct core *core, uint64_t now_ms, struct core_update *update)
{
    core->raft.election_timer_start = now_ms;
    update->timeout_changed = true;
}

/* See core_libraft.c: who believes to have a leader votes for nobody. */
static void forget_leader(struct core *core)
{
    raft_free(core->raft.follower_state.current_leader.address);
    core->raft.follower_state.current_leader.address = NULL;
    core->raft.follower_state.current_leader.id = 0;
    core_note_role(core);
}

/* A lone voter will lead when this time-out is over: in a term of its own. */
static void raise_term(struct core *core, struct core_update *update)
{
    core->raft.current_term++;
    core->raft.voted_for = core->options.self;
    core->raft.follower_state.match = 0;
    update->term_or_vote = true;
    update->term = core_term(core);
    update->vote = core->options.self;
}

int core_timeout(struct core *core, uint64_t now_ms, struct core_update *update)
{
    struct raft_event event = core_event(RAFT_TIMEOUT, now_ms);
    bool leading = core_role(core) == RLOG_LEADING;
    bool due = now_ms >= core_timeout_at(core);
    int rc = 0;

    *update = (struct core_update){0};
    if (leading) {
        renew_contacts(core, now_ms, update);
    }
    if (!leading && due && !core_may_stand(core)) {
        sit_out(core, now_ms, update);
    } else {
        if (!leading && due && core_is_lone(core) && !core_installing(core) &&
            core->raft.last_stored == core->terms.last_index) {
            raise_term(core, update);
        }
        rc = core_step(core, &event, update);
    }
    if (!leading && due && core_role(core) == RLOG_FOLLOWER) {
        forget_leader(core);
    }
    return rc;
}

int core_persisted(struct core *core, uint64_t now_ms, uint64_t index, uint64_t term, struct core_update *update)
{
    struct raft_event event = core_event(RAFT_PERSISTED_ENTRIES, now_ms);
    int rc;

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
    rc = core_step(core, &event, update);
    if (RAFTMQ_DEFECT(OWN_COUNTED_TWICE) && rc == 0 && core_role(core) == RLOG_LEADING && core->n_contacts != 0) {
        struct raft_message again = {.type = RAFT_APPEND_ENTRIES_RESULT, .server_id = core->contacts[0].peer};

        again.append_entries_result = (struct raft_append_entries_result){
            .version = APPEND_RESULT_VERSION, .term = core_term(core), .last_log_index = index};
        rc = core_step_message(core, now_ms, &again, update);
    }
    core_look_at_claim(core, core->raft.last_stored);
    return rc;
}

int core_change_applied(struct core *core, uint64_t now_ms, uint64_t index, const uint8_t *change,
                        uint32_t change_bytes, struct core_update *update)
{
    struct raft_event event = core_event(RAFT_CONFIGURATION, now_ms);
    int rc;

    *update = (struct core_update){0};
    rc = core_configuration(core, change, change_bytes, &event.configuration.conf); /* taken by the step */
    if (rc != 0) {
        return rc;
    }
    event.configuration.index = index;
    return core_step(core, &event, update);
}

int core_transfer(struct core *core, uint64_t now_ms, uint32_t peer, struct core_update *update)
{
    struct raft_event event = core_event(RAFT_TRANSFER, now_ms);

    *update = (struct core_update){0};
    event.transfer.server_id = peer;
    return core_step(core, &event, update);
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

uint64_t core_base_index(const struct core *core)
{
    return core->terms.base_index;
}

size_t core_terms(const struct core *core)
{
    return core->terms.n;
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

uint64_t core_heard_ms(const struct core *core, uint32_t peer)
{
    for (uint32_t i = 0; i < core->n_contacts && core_role(core) == RLOG_LEADING; i++) {
        if (core->contacts[i].peer == peer) {
            return core->contacts[i].at_ms;
        }
    }
    return 0;
}

bool core_can_change(const struct core *core)
{
    return core_can_submit(core) && core->raft.configuration_uncommitted_index == 0;
}

uint64_t core_match(const struct core *core, uint32_t peer)
{
    raft_index index;

    return raft_match_index(&core->raft, peer, &index) == 0 ? index : 0;
}
