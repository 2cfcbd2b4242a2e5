/* Cores wired together in memory, with logs that are arrays of terms and numbers, under a clock of their own. */
#include "raft-log/core/core.h"
#include "raft-log/core/member.h"
#include "raft-log/log/entry_codec.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NODES_MAX 5
#define LOG_MAX 20000
#define WIRE_MAX 4096
#define CHANGES_MAX 512
#define ELECTION_MS 300
#define HEARTBEAT_MS 50

struct slot {
    uint64_t term;
    uint64_t number;
    uint8_t type;
};

struct node {
    uint32_t id;
    struct core *core; /* NULL while it is down */
    struct slot *log;  /* from index 1 on; log[0] is not used, nor is what lies at or below the base */
    uint64_t base;     /* the last entry that is not held */
    uint64_t last, durable;
    uint64_t install; /* the snapshot that is being put in place of the log; 0: none */
    uint32_t fetch;   /* the leader that says to fetch one; 0: none */
    uint64_t fetch_term, fetch_base;
    uint64_t term; /* as on disk */
    uint32_t vote;
    uint64_t commit;  /* highest seen */
    uint64_t applied; /* as far as changes go */
};

struct letter {
    struct core_message message;
    struct core_entry entries[CORE_INFLIGHT_ENTRIES_MAX];
    struct slot slots[CORE_INFLIGHT_ENTRIES_MAX];
    uint32_t to;
};

struct world {
    uint32_t n;
    struct node nodes[NODES_MAX];
    uint64_t now;
    uint32_t random;
    struct mq_buf changes[CHANGES_MAX]; /* memberships; a CHANGE's number is its place here, entry 1 has 0 */
    uint32_t n_changes;
    uint8_t type; /* of what is being submitted */
    struct letter *wire;
    size_t n_wire;
    bool cut[NODES_MAX];    /* no message to or from it */
    struct slot *committed; /* what any node said is committed, by index */
    uint64_t committed_last;
    uint64_t next_number;
    uint64_t installs;
};

static uint32_t draw(struct world *w, uint32_t below)
{
    w->random = w->random * 1664525u + 1013904223u;
    return (w->random >> 8) % below;
}

static void encode_members(uint32_t n, struct mq_buf *out)
{
    struct membership m;

    assert_int_equal(membership_init(&m, "g"), 0);
    for (uint32_t i = 1; i <= n; i++) {
        assert_int_equal(membership_add(&m, i, "a", i), 0);
    }
    assert_int_equal(membership_encode(&m, out), 0);
}

/* Puts what an update says into the node's log and onto the wire, as the driver would. */
static void carry_out(struct world *w, struct node *node, const struct core_update *update, const struct letter *from,
                      uint64_t number)
{
    if (update->term_or_vote) {
        assert_true(update->term >= node->term);
        node->term = update->term;
        node->vote = update->vote;
    }
    for (uint32_t i = 0; i < update->n_entries; i++) {
        uint64_t index = update->entries_index + i;
        struct slot slot = {core_term(node->core), number, w->type};

        if (update->own_barrier) {
            slot = (struct slot){core_term(node->core), 0, RLOG_BARRIER};
        } else if (from != NULL) {
            slot = from->slots[index - from->message.append.prev_index - 1];
        }
        assert_true(index > node->commit && index > node->base && index < LOG_MAX && node->install == 0);
        node->log[index] = slot;
        node->last = index;
        node->durable = node->durable < index ? node->durable : index - 1;
    }
    if (update->fetch) {
        node->fetch = from->message.peer;
        node->fetch_term = from->message.term;
        node->fetch_base = from->message.install.base_index;
    }
    for (uint32_t i = 0; i < update->n_messages; i++) {
        const struct core_message *m = &update->messages[i];
        struct letter *letter;

        if (w->n_wire == WIRE_MAX || w->cut[m->peer - 1] || w->cut[node->id - 1]) {
            continue;
        }
        letter = &w->wire[w->n_wire++];
        letter->message = *m;
        letter->to = m->peer;
        letter->message.peer = node->id;
        for (uint32_t k = 0; m->type == CORE_APPEND && k < m->append.n; k++) {
            assert_true(m->append.prev_index >= node->base);
            letter->slots[k] = node->log[m->append.prev_index + 1 + k];
            letter->entries[k] = (struct core_entry){letter->slots[k].term, letter->slots[k].type, NULL, 0};
            if (letter->slots[k].type == RLOG_CHANGE) {
                letter->entries[k].change = w->changes[letter->slots[k].number].base;
                letter->entries[k].change_bytes = (uint32_t)w->changes[letter->slots[k].number].len;
            }
        }
    }
}

/* What a node holds durably and knows to be committed is the same everywhere, and stays. */
static void check(struct world *w, struct node *node)
{
    uint64_t commit = core_commit(node->core);
    uint64_t to = commit < node->last ? commit : node->last;

    assert_true(commit >= node->commit);
    if (node->install != 0) {
        return; /* its log counts no more */
    }
    assert_int_equal(core_base_index(node->core), node->base);
    assert_int_equal(core_last_index(node->core), node->last);
    for (uint64_t i = node->commit + 1; i <= to; i++) {
        if (i > w->committed_last) {
            w->committed[i] = node->log[i];
            w->committed_last = i;
        }
        assert_int_equal(w->committed[i].term, node->log[i].term);
        assert_int_equal(w->committed[i].number, node->log[i].number);
    }
    node->commit = to > node->commit ? to : node->commit;
}

static struct core_base base_at(const struct world *w, uint64_t index)
{
    uint64_t change = index;

    while (change > 0 && w->committed[change].type != RLOG_CHANGE) {
        change--;
    }
    return (struct core_base){index, w->committed[index].term, change, w->changes[w->committed[change].number].base,
                              (uint32_t)w->changes[w->committed[change].number].len};
}

/* Of the entries behind the base up to @index only the terms are told. @runs: room for each of them. */
static void settle(const struct world *w, const struct node *node, uint64_t index, struct core_run *runs,
                   struct core_log *log)
{
    log->runs = runs;
    for (uint64_t i = node->base + 1; i <= index; i++) {
        if (log->n_runs == 0 || runs[log->n_runs - 1].term != node->log[i].term) {
            runs[log->n_runs++] = (struct core_run){i, node->log[i].term};
        }
    }
    log->settled = base_at(w, index);
    log->commit = index;
}

static void start_node(struct world *w, struct node *node)
{
    struct core_options options = {node->id, ELECTION_MS, HEARTBEAT_MS, draw(w, 1u << 20)};
    struct core_entry *entries = calloc(node->last + 1, sizeof(entries[0]));
    struct core_run *runs = calloc(node->last + 1, sizeof(runs[0]));
    struct core_log log = {.term = node->term, .vote = node->vote, .base = base_at(w, node->base)};
    uint64_t known = node->commit < node->last ? node->commit : node->last, first = node->base + 1;
    struct core_update update;

    assert_non_null(entries);
    assert_non_null(runs);
    if (known > node->base && draw(w, 3) > 0) {
        known -= draw(w, (uint32_t)(known - node->base));
        settle(w, node, known, runs, &log);
        first = known + 1;
    }
    log.entries = entries;
    log.n = node->last + 1 - first;
    for (uint64_t i = 0; i < log.n; i++) {
        const struct slot *slot = &node->log[first + i];

        entries[i] = (struct core_entry){slot->term, slot->type, NULL, 0};
        if (slot->type == RLOG_CHANGE) {
            entries[i].change = w->changes[slot->number].base;
            entries[i].change_bytes = (uint32_t)w->changes[slot->number].len;
        }
    }
    node->commit = node->applied = first - 1;
    assert_int_equal(core_new(&options, &node->core), 0);
    assert_int_equal(core_start(node->core, w->now, &log, &update), 0);
    carry_out(w, node, &update, NULL, 0);
    check(w, node);
    free(entries);
    free(runs);
}

static void stop_node(struct node *node)
{
    core_free(node->core);
    node->core = NULL;
    node->last = node->durable; /* what was not on disk is gone */
    node->install = 0;          /* so is a snapshot that was not yet in its place */
    node->fetch = 0;
}

static void world_init_with(struct world *w, uint32_t n, uint32_t voters, uint32_t seed)
{
    memset(w, 0, sizeof(*w));
    w->n = n;
    w->now = 1000;
    w->random = seed;
    w->next_number = 1;
    w->wire = malloc(WIRE_MAX * sizeof(w->wire[0]));
    w->committed = calloc(LOG_MAX, sizeof(w->committed[0]));
    assert_non_null(w->wire);
    assert_non_null(w->committed);
    encode_members(voters, &w->changes[0]);
    w->n_changes = 1;
    w->type = RLOG_COMMAND;
    for (uint32_t i = 0; i < n; i++) {
        struct node *node = &w->nodes[i];

        node->id = i + 1;
        node->log = calloc(LOG_MAX, sizeof(node->log[0]));
        assert_non_null(node->log);
        node->log[1] = (struct slot){1, 0, RLOG_CHANGE};
        node->last = node->durable = 1;
        node->term = 1;
        start_node(w, node);
    }
}

static void world_init(struct world *w, uint32_t n, uint32_t seed)
{
    world_init_with(w, n, n, seed);
}

static void world_fini(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        core_free(w->nodes[i].core);
        free(w->nodes[i].log);
    }
    for (uint32_t i = 0; i < w->n_changes; i++) {
        mq_buf_free(&w->changes[i]);
    }
    free(w->wire);
    free(w->committed);
}

/* Tells the core of changes that are committed and on this disk. */
static void apply(struct world *w, struct node *node)
{
    while (node->core != NULL && node->install == 0 && node->applied < node->commit &&
           node->applied < node->durable) {
        const struct slot *slot = &node->log[++node->applied];
        struct core_update update;

        if (slot->type == RLOG_CHANGE && node->applied > node->base) {
            assert_int_equal(core_change_applied(node->core, w->now, node->applied, w->changes[slot->number].base,
                                                 (uint32_t)w->changes[slot->number].len, &update),
                             0);
            carry_out(w, node, &update, NULL, 0);
            check(w, node);
        }
    }
}

static void persist(struct world *w, struct node *node)
{
    struct core_update update;

    if (node->core == NULL || node->install != 0 || node->durable == node->last) {
        return;
    }
    node->durable = node->last;
    assert_int_equal(core_persisted(node->core, w->now, node->durable, node->log[node->durable].term, &update), 0);
    carry_out(w, node, &update, NULL, 0);
    check(w, node);
    apply(w, node);
}

static void deliver(struct world *w, size_t at)
{
    struct letter letter = w->wire[at];
    struct node *node = &w->nodes[letter.to - 1];
    struct core_update update;

    memmove(&w->wire[at], &w->wire[at + 1], (w->n_wire - at - 1) * sizeof(w->wire[0]));
    w->n_wire--;
    if (node->core == NULL || w->cut[letter.to - 1]) {
        return;
    }
    if (letter.message.type == CORE_APPEND) {
        letter.message.append.entries = letter.entries;
    }
    assert_int_equal(core_receive(node->core, w->now, &letter.message, &update), 0);
    carry_out(w, node, &update, &letter, 0);
    check(w, node);
    apply(w, node);
}

static void time_out(struct world *w, struct node *node)
{
    struct core_update update;

    if (node->core == NULL || w->now < core_timeout_at(node->core)) {
        return;
    }
    assert_int_equal(core_timeout(node->core, w->now, &update), 0);
    carry_out(w, node, &update, NULL, 0);
    check(w, node);
}

/* Lets go of what lies at or below @index. */
static int trim(struct world *w, struct node *node, uint64_t index)
{
    struct core_base base = base_at(w, index);
    struct core_update update;
    int rc = core_trimmed(node->core, w->now, &base, &update);

    if (rc == 0) {
        node->base = index;
        carry_out(w, node, &update, NULL, 0);
        check(w, node);
    }
    return rc;
}

/* The snapshot that the leader spoke of is here: some index that is not below its base. */
static int install(struct world *w, struct node *node)
{
    uint64_t index = node->fetch_base + draw(w, (uint32_t)(w->committed_last - node->fetch_base) + 1);
    struct core_base base = base_at(w, index);
    struct core_update update;
    int rc = core_install(node->core, w->now, node->fetch, node->fetch_term, &base, &update);

    node->fetch = 0;
    if (rc == 0) {
        node->install = update.install ? index : 0;
        carry_out(w, node, &update, NULL, 0);
    }
    return rc;
}

static void end_install(struct world *w, struct node *node)
{
    struct core_update update;

    node->base = node->last = node->durable = node->install;
    node->install = 0;
    node->commit = node->applied = node->base;
    assert_int_equal(core_installed(node->core, w->now, &update), 0);
    w->installs++;
    carry_out(w, node, &update, NULL, 0);
    check(w, node);
}

static void install_at_once(struct world *w, struct node *node)
{
    if (node->core != NULL && node->fetch != 0 && node->install == 0) {
        (void)install(w, node);
    }
    if (node->core != NULL && node->install != 0) {
        end_install(w, node);
    }
}

static int submit(struct world *w, struct node *node)
{
    struct core_entry entry = {core_term(node->core), RLOG_COMMAND, NULL, 0};
    struct core_update update;
    int rc = core_submit(node->core, w->now, &entry, &update);

    if (rc == 0) {
        carry_out(w, node, &update, NULL, w->next_number++);
        check(w, node);
    }
    return rc;
}

/* The last membership in the node's log, or before it. */
static void members_of(struct world *w, const struct node *node, struct membership *out)
{
    uint64_t at = node->last;
    struct core_base base;

    while (at > node->base && node->log[at].type != RLOG_CHANGE) {
        at--;
    }
    if (at > node->base) {
        base.change = w->changes[node->log[at].number].base;
        base.change_bytes = (uint32_t)w->changes[node->log[at].number].len;
    } else {
        base = base_at(w, node->base);
    }
    assert_int_equal(membership_decode(base.change, base.change_bytes, out), 0);
}

/* As a writable leader would: one member comes, goes, or gets or loses its vote. */
static void submit_change(struct world *w, struct node *node)
{
    uint32_t id = 1 + draw(w, w->n);
    struct core_entry entry = {core_term(node->core), RLOG_CHANGE, NULL, 0};
    struct core_update update;
    struct membership m;
    struct member *member;

    if (!core_can_change(node->core) || id == node->id || w->n_changes == CHANGES_MAX || node->commit == 0 ||
        w->committed[node->commit].term != core_term(node->core)) {
        return;
    }
    members_of(w, node, &m);
    member = (struct member *)membership_find(&m, id);
    if (member == NULL) {
        struct member learner = {.id = id, .incarnation = id, .role = MEMBER_LEARNER, .added = true, .address = "a"};

        assert_int_equal(membership_put(&m, &learner), 0);
    } else if (member->role == MEMBER_LEARNER && draw(w, 3) > 0) {
        if (core_match(node->core, id) + 5 < node->last) {
            return; /* it has not caught up */
        }
        member->role = MEMBER_VOTER;
    } else {
        assert_int_equal(membership_remove(&m, id), 0);
    }
    assert_int_equal(membership_encode(&m, &w->changes[w->n_changes]), 0);
    entry.change = w->changes[w->n_changes].base;
    entry.change_bytes = (uint32_t)w->changes[w->n_changes].len;
    assert_int_equal(core_submit(node->core, w->now, &entry, &update), 0);
    w->type = RLOG_CHANGE;
    carry_out(w, node, &update, NULL, w->n_changes++);
    w->type = RLOG_COMMAND;
    check(w, node);
}

static struct node *leader(struct world *w)
{
    struct node *found = NULL;

    for (uint32_t i = 0; i < w->n; i++) {
        struct node *node = &w->nodes[i];

        if (node->core != NULL && core_role(node->core) == RLOG_LEADING &&
            (found == NULL || core_term(node->core) > core_term(found->core))) {
            found = node;
        }
    }
    return found;
}

/* A good network: everything is delivered and durable within a millisecond. */
static void run(struct world *w, uint64_t ms)
{
    for (uint64_t end = w->now + ms; w->now < end; w->now++) {
        for (uint32_t i = 0; i < w->n; i++) {
            time_out(w, &w->nodes[i]);
        }
        while (w->n_wire > 0) {
            deliver(w, 0);
            for (uint32_t i = 0; i < w->n; i++) {
                persist(w, &w->nodes[i]);
            }
        }
        for (uint32_t i = 0; i < w->n; i++) {
            persist(w, &w->nodes[i]);
            install_at_once(w, &w->nodes[i]);
        }
    }
}

static struct node *elect(struct world *w)
{
    for (unsigned i = 0; i < 100 && leader(w) == NULL; i++) {
        run(w, 100);
    }
    run(w, 100);
    assert_non_null(leader(w));
    return leader(w);
}

/* ---- tests ---- */

static void a_lone_voter_leads_from_the_start(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 1, 1);
    assert_int_equal(core_role(w.nodes[0].core), RLOG_LEADING);
    assert_int_equal(core_leader(w.nodes[0].core), 1);
    assert_int_equal(submit(&w, &w.nodes[0]), 0);
    assert_int_equal(core_commit(w.nodes[0].core), 1); /* not before it is durable */
    persist(&w, &w.nodes[0]);
    assert_int_equal(core_commit(w.nodes[0].core), 2);
    world_fini(&w);
}

static void one_of_three_is_elected_and_all_know_it(void **state)
{
    struct world w;
    struct node *l;

    (void)state;
    world_init(&w, 3, 2);
    l = elect(&w);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(core_leader(w.nodes[i].core), l->id);
        assert_int_equal(core_term(w.nodes[i].core), core_term(l->core));
        assert_int_equal(core_role(w.nodes[i].core), &w.nodes[i] == l ? RLOG_LEADING : RLOG_FOLLOWER);
    }
    world_fini(&w);
}

static void an_entry_is_committed_by_a_majority_of_disks(void **state)
{
    struct world w;
    struct node *l;
    uint64_t before;

    (void)state;
    world_init(&w, 3, 3);
    l = elect(&w);
    before = core_commit(l->core);
    assert_int_equal(submit(&w, l), 0);
    persist(&w, l); /* its own disk alone */
    assert_true(core_commit(l->core) == before);
    while (w.n_wire > 0) {
        deliver(&w, 0); /* received by the others, durable at none */
    }
    assert_true(core_commit(l->core) == before);
    persist(&w, &w.nodes[l->id % 3]);
    while (w.n_wire > 0) {
        deliver(&w, 0);
    }
    assert_int_equal(core_commit(l->core), before + 1);
    world_fini(&w);
}

static void two_followers_commit_without_the_leaders_disk(void **state)
{
    struct world w;
    struct node *l;
    uint64_t before;

    (void)state;
    world_init(&w, 3, 4);
    l = elect(&w);
    before = core_commit(l->core);
    assert_int_equal(submit(&w, l), 0);
    while (w.n_wire > 0) {
        deliver(&w, 0);
        persist(&w, &w.nodes[l->id % 3]);
        persist(&w, &w.nodes[(l->id + 1) % 3]);
    }
    assert_int_equal(core_commit(l->core), before + 1);
    world_fini(&w);
}

/* A follower of its own: node 1 of three, fed by hand as if node 2 led in term 5. */
struct follower {
    struct core *core;
    struct core_update update;
    struct mq_buf change;
};

static void follower_init(struct follower *f)
{
    struct core_options options = {1, ELECTION_MS, HEARTBEAT_MS, 1};
    struct core_entry first = {.term = 1, .type = RLOG_CHANGE};
    struct core_log log = {.term = 1, .entries = &first, .n = 1};

    memset(f, 0, sizeof(*f));
    encode_members(3, &f->change);
    first.change = f->change.base;
    first.change_bytes = (uint32_t)f->change.len;
    assert_int_equal(core_new(&options, &f->core), 0);
    assert_int_equal(core_start(f->core, 1000, &log, &f->update), 0);
}

static void follower_fini(struct follower *f)
{
    core_free(f->core);
    mq_buf_free(&f->change);
}

static int append(struct follower *f, uint64_t term, uint64_t prev, uint64_t prev_term, uint64_t commit,
                  const struct core_entry *entries, uint32_t n)
{
    struct core_message m = {.type = CORE_APPEND, .peer = 2, .term = term};

    m.append.prev_index = prev;
    m.append.prev_term = prev_term;
    m.append.commit = commit;
    m.append.n = n;
    m.append.entries = entries;
    return core_receive(f->core, 1001, &m, &f->update);
}

static const struct core_entry COMMANDS[4] = {
    {.term = 5, .type = RLOG_COMMAND},
    {.term = 5, .type = RLOG_COMMAND},
    {.term = 5, .type = RLOG_COMMAND},
    {.term = 5, .type = RLOG_COMMAND},
};

static void a_notice_for_replaced_entries_is_dropped(void **state)
{
    static const struct core_entry other = {.term = 6, .type = RLOG_COMMAND};
    struct follower f;

    (void)state;
    follower_init(&f);
    assert_int_equal(append(&f, 5, 1, 1, 1, COMMANDS, 3), 0);
    assert_int_equal(f.update.entries_index, 2);
    assert_int_equal(f.update.n_entries, 3);
    assert_int_equal(append(&f, 6, 2, 5, 1, &other, 1), 0); /* replaces 3 and 4 */
    assert_int_equal(f.update.entries_index, 3);
    assert_int_equal(core_last_index(f.core), 3);

    assert_int_equal(core_persisted(f.core, 1002, 4, 5, &f.update), 0); /* no such entry any more */
    assert_int_equal(f.update.n_messages, 0);
    assert_int_equal(core_persisted(f.core, 1002, 3, 5, &f.update), 0); /* another one lies there */
    assert_int_equal(f.update.n_messages, 0);
    assert_int_equal(core_persisted(f.core, 1002, 3, 6, &f.update), 0);
    assert_int_equal(f.update.n_messages, 1);
    assert_int_equal(f.update.messages[0].append_result.last_index, 3);
    assert_int_equal(core_persisted(f.core, 1002, 3, 6, &f.update), 0); /* a second time */
    assert_int_equal(f.update.n_messages, 0);
    follower_fini(&f);
}

static void a_change_inside_a_message_is_a_step_of_its_own(void **state)
{
    struct core_message vote = {.type = CORE_VOTE_RESULT, .peer = 2, .term = 6};
    struct core_entry entries[3] = {COMMANDS[0], {.term = 5, .type = RLOG_CHANGE}, COMMANDS[1]};
    struct core_entry again = {.type = RLOG_CHANGE};
    struct follower f;

    (void)state;
    follower_init(&f);
    again.change = entries[1].change = f.change.base;
    again.change_bytes = entries[1].change_bytes = (uint32_t)f.change.len;
    assert_int_equal(append(&f, 5, 1, 1, 4, entries, 3), 0);
    assert_int_equal(f.update.entries_index, 2);
    assert_int_equal(f.update.n_entries, 3);
    assert_int_equal(core_commit(f.core), 4);
    assert_int_equal(core_persisted(f.core, 1002, 4, 5, &f.update), 0);
    assert_int_equal(core_change_applied(f.core, 1002, 3, f.change.base, (uint32_t)f.change.len, &f.update), 0);

    /* Had the library noted another index for it, it would count as uncommitted for ever and allow no further change.
     */
    assert_int_equal(core_timeout(f.core, 5000, &f.update), 0);
    vote.vote_result.granted = vote.vote_result.pre_vote = true;
    assert_int_equal(core_receive(f.core, 5001, &vote, &f.update), 0);
    vote.vote_result.pre_vote = false;
    assert_int_equal(core_receive(f.core, 5002, &vote, &f.update), 0);
    assert_int_equal(core_role(f.core), RLOG_LEADING);
    again.term = core_term(f.core);
    assert_int_equal(core_submit(f.core, 5003, &again, &f.update), 0);
    again.term = core_term(f.core);
    assert_int_equal(core_submit(f.core, 5003, &again, &f.update), MQ_EBUSY); /* one at a time */
    follower_fini(&f);
}

static void a_late_message_does_not_lower_the_commit_index(void **state)
{
    struct follower f;

    (void)state;
    follower_init(&f);
    assert_int_equal(append(&f, 5, 1, 1, 4, COMMANDS, 4), 0);
    assert_int_equal(core_commit(f.core), 4);
    assert_int_equal(append(&f, 5, 2, 5, 5, NULL, 0), 0); /* covers only 2, but says 5 */
    assert_int_equal(core_commit(f.core), 4);
    follower_fini(&f);
}

static void the_answer_to_an_old_leader_is_no_success(void **state)
{
    static const struct {
        uint64_t prev, prev_term, rejected, last;
    } cases[] = {{0, 0, 1, 0}, {1, 1, 1, 0}, {7, 1, 7, 6}};
    struct follower f;

    (void)state;
    follower_init(&f);
    assert_int_equal(append(&f, 5, 1, 1, 1, COMMANDS, 1), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(append(&f, 2, cases[i].prev, cases[i].prev_term, 1, NULL, 0), 0);
        assert_int_equal(f.update.n_messages, 1);
        assert_int_equal(f.update.messages[0].term, 5);
        assert_int_equal(f.update.messages[0].append_result.rejected, cases[i].rejected);
        assert_int_equal(f.update.messages[0].append_result.last_index, cases[i].last);
    }
    follower_fini(&f);
}

static void a_vote_that_comes_late_changes_nothing(void **state)
{
    struct core_message late = {.type = CORE_VOTE_RESULT, .peer = 3, .term = 9};
    struct follower f;

    (void)state;
    follower_init(&f);
    assert_int_equal(append(&f, 5, 1, 1, 1, NULL, 0), 0);
    late.vote_result.pre_vote = true;
    assert_int_equal(core_receive(f.core, 1002, &late, &f.update), 0);
    assert_int_equal(core_term(f.core), 5);
    assert_int_equal(core_role(f.core), RLOG_FOLLOWER);
    follower_fini(&f);
}

static void messages_that_break_the_rules_are_refused(void **state)
{
    static const struct core_entry falling[2] = {{.term = 5, .type = RLOG_COMMAND},
                                                 {.term = 4, .type = RLOG_COMMAND}};
    static const struct core_entry younger = {.term = 6, .type = RLOG_COMMAND};
    static const struct core_entry typeless = {.term = 5, .type = 9};
    static const struct core_entry empty_change = {.term = 5, .type = RLOG_CHANGE};
    struct core_message from_self = {.type = CORE_VOTE, .peer = 1, .term = 9};
    struct follower f;

    (void)state;
    follower_init(&f);
    assert_int_equal(append(&f, 5, 1, 1, 1, falling, 2), MQ_EBADMSG);
    assert_int_equal(append(&f, 5, 1, 1, 1, &younger, 1), MQ_EBADMSG);
    assert_int_equal(append(&f, 5, 1, 1, 1, &typeless, 1), MQ_EBADMSG);
    assert_int_equal(append(&f, 5, 1, 1, 1, &empty_change, 1), MQ_EBADMSG);
    assert_int_equal(append(&f, 5, 1, 0, 1, COMMANDS, 1), MQ_EBADMSG);
    assert_int_equal(append(&f, 5, 0, 1, 1, COMMANDS, 1), MQ_EBADMSG);
    assert_int_equal(append(&f, 0, 1, 1, 1, NULL, 0), MQ_EBADMSG);
    assert_int_equal(core_receive(f.core, 1001, &from_self, &f.update), MQ_EBADMSG);
    assert_int_equal(core_term(f.core), 1);
    assert_int_equal(core_last_index(f.core), 1);
    follower_fini(&f);
}

static void a_contradiction_of_what_is_committed_is_reported(void **state)
{
    static const struct core_entry other = {.term = 6, .type = RLOG_COMMAND};
    struct follower f;

    (void)state;
    follower_init(&f);
    assert_int_equal(append(&f, 5, 1, 1, 3, COMMANDS, 2), 0);
    assert_int_equal(append(&f, 6, 1, 1, 3, &other, 1), MQ_ECORRUPT);
    follower_fini(&f);
}

static void leadership_can_be_handed_over(void **state)
{
    struct world w;
    struct core_update update;
    struct node *l;
    uint32_t to;

    (void)state;
    world_init(&w, 3, 5);
    l = elect(&w);
    to = l->id % 3 + 1;
    assert_int_equal(core_transfer(l->core, w.now, 77, &update), MQ_ENOTFOUND);
    assert_int_equal(core_transfer(l->core, w.now, to, &update), 0);
    carry_out(&w, l, &update, NULL, 0);
    assert_false(core_can_submit(l->core));
    assert_int_equal(submit(&w, l), MQ_ENOTLEADER);
    run(&w, 20); /* far less than an election without it */
    assert_non_null(leader(&w));
    assert_int_equal(leader(&w)->id, to);
    world_fini(&w);
}

static void sparse_submissions_do_not_wait_for_heartbeats(void **state)
{
    struct world w;
    struct node *l;
    uint64_t slowest = 0;

    (void)state;
    world_init(&w, 3, 6);
    l = elect(&w);
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t start, want;

        if (i % 40 == 0) { /* one follower is away for a while, which puts the heartbeats of the two out of step */
            uint32_t away = (l->id + draw(&w, 2)) % 3;

            w.cut[away] = true;
            run(&w, 60 + draw(&w, 300));
            w.cut[away] = false;
        }
        run(&w, 1 + draw(&w, 130));
        start = w.now;
        assert_int_equal(submit(&w, l), 0);
        want = l->last;
        while (core_commit(l->core) < want) {
            run(&w, 1);
        }
        slowest = w.now - start > slowest ? w.now - start : slowest;
    }
    print_message("slowest commit: %" PRIu64 " ms of virtual time\n", slowest);
    assert_true(slowest <= 2);
    world_fini(&w);
}

/* ---- where a log begins ---- */

static struct node *other_than(struct world *w, const struct node *node, uint32_t by)
{
    return &w->nodes[(node->id - 1 + by) % w->n];
}

static void submit_some(struct world *w, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(submit(w, leader(w)), 0);
        run(w, 1);
    }
}

static void all_are_level(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        assert_int_equal(w->nodes[i].last, w->nodes[0].last);
        assert_int_equal(w->nodes[i].commit, w->nodes[0].last);
    }
}

static void a_log_may_begin_late_on_every_node(void **state)
{
    struct world w;
    struct node *l;

    (void)state;
    world_init(&w, 3, 7);
    l = elect(&w);
    submit_some(&w, 20);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(trim(&w, &w.nodes[i], 5 + i), 0);
        assert_int_equal(trim(&w, &w.nodes[i], 5 + i), MQ_EINVAL); /* not again */
        assert_int_equal(trim(&w, &w.nodes[i], 3), MQ_EINVAL);
        assert_int_equal(trim(&w, &w.nodes[i], w.nodes[i].last + 1), MQ_EINVAL);
    }
    submit_some(&w, 20);
    for (uint32_t i = 0; i < 3; i++) {
        stop_node(&w.nodes[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        start_node(&w, &w.nodes[i]);
    }
    l = elect(&w);
    submit_some(&w, 5);
    run(&w, 200);
    all_are_level(&w);
    assert_int_equal(w.installs, 0);           /* nobody lacked anything */
    assert_int_equal(trim(&w, l, l->last), 0); /* nothing is left */
    submit_some(&w, 5);
    run(&w, 200);
    all_are_level(&w);
    stop_node(l);
    l->last = l->durable = l->base; /* a log without entries */
    start_node(&w, l);
    run(&w, 3000);
    (void)elect(&w);
    submit_some(&w, 1);
    run(&w, 200);
    all_are_level(&w);
    world_fini(&w);
}

static void a_follower_far_behind_gets_a_snapshot(void **state)
{
    struct world w;
    struct node *l, *behind;

    (void)state;
    world_init(&w, 3, 8);
    l = elect(&w);
    behind = other_than(&w, l, 1);
    submit_some(&w, 5);
    stop_node(behind);
    submit_some(&w, 500);
    assert_int_equal(trim(&w, l, l->commit - 10), 0);
    start_node(&w, behind);
    run(&w, 1000);
    assert_int_equal(w.installs, 1);
    submit_some(&w, 5);
    run(&w, 200);
    all_are_level(&w);
    assert_true(behind->base >= l->base);
    stop_node(behind); /* and it starts again from there */
    start_node(&w, behind);
    submit_some(&w, 5);
    run(&w, 400);
    all_are_level(&w);
    assert_int_equal(w.installs, 1);
    world_fini(&w);
}

static void a_lost_word_about_a_snapshot_is_said_again(void **state)
{
    struct world w;
    struct node *l, *behind;

    (void)state;
    world_init(&w, 3, 9);
    l = elect(&w);
    behind = other_than(&w, l, 1);
    stop_node(behind);
    submit_some(&w, 100);
    assert_int_equal(trim(&w, l, l->commit), 0);
    start_node(&w, behind);
    for (unsigned i = 0; i < 3000 && behind->fetch == 0; i++) { /* the first word, and all that follow at once */
        time_out(&w, l);
        while (w.n_wire > 0) {
            deliver(&w, 0);
            persist(&w, l);
        }
        w.now++;
    }
    assert_int_equal(behind->fetch, l->id);
    behind->fetch = 0;
    assert_int_equal(trim(&w, l, l->commit), MQ_EINVAL);
    submit_some(&w, 2); /* as it goes on, its base is another one than it spoke of */
    assert_int_equal(trim(&w, l, l->commit), 0);
    run(&w, 8 * ELECTION_MS);
    assert_int_equal(w.installs, 1);
    all_are_level(&w);
    world_fini(&w);
}

static void the_acknowledgement_of_a_snapshot_may_be_lost(void **state)
{
    struct world w;
    struct node *l, *behind;

    (void)state;
    world_init(&w, 3, 10);
    l = elect(&w);
    behind = other_than(&w, l, 1);
    submit_some(&w, 5); /* the leader knows how far it was */
    w.cut[behind->id - 1] = true;
    submit_some(&w, 50);
    assert_int_equal(trim(&w, l, l->commit - 20), 0);
    w.cut[behind->id - 1] = false;
    for (unsigned i = 0; i < 5000 && behind->install == 0; i++) {
        time_out(&w, l);
        time_out(&w, other_than(&w, l, 2));
        while (w.n_wire > 0) {
            deliver(&w, 0);
            persist(&w, other_than(&w, l, 2));
            persist(&w, l);
        }
        if (behind->fetch != 0) {
            behind->fetch_base = l->commit - 3; /* a newer one than asked for */
            (void)install(&w, behind);
        }
        w.now++;
    }
    assert_true(behind->install != 0);
    w.cut[behind->id - 1] = true;
    end_install(&w, behind);
    run(&w, 10);
    w.cut[behind->id - 1] = false;
    run(&w, 8 * ELECTION_MS);
    submit_some(&w, 1);
    run(&w, 200);
    all_are_level(&w);
    assert_int_equal(w.installs, 1);
    world_fini(&w);
}

static void an_append_that_begins_below_the_base_is_cut_there(void **state)
{
    struct core_base base = {.index = 4, .term = 5, .change_index = 1};
    struct core_entry older[4] = {COMMANDS[0], COMMANDS[1], COMMANDS[2], COMMANDS[3]};
    struct follower f;

    (void)state;
    follower_init(&f);
    base.change = f.change.base;
    base.change_bytes = (uint32_t)f.change.len;
    assert_int_equal(append(&f, 5, 1, 1, 4, COMMANDS, 4), 0);
    assert_int_equal(core_persisted(f.core, 1002, 5, 5, &f.update), 0);
    assert_int_equal(core_trimmed(f.core, 1002, &base, &f.update), 0);
    assert_int_equal(core_base_index(f.core), 4);
    assert_int_equal(core_last_index(f.core), 5);

    assert_int_equal(append(&f, 5, 2, 5, 4, NULL, 0), 0);
    assert_int_equal(f.update.n_messages, 1);
    assert_int_equal(f.update.messages[0].append_result.rejected, 0);
    assert_int_equal(f.update.messages[0].append_result.last_index, 4);
    assert_int_equal(append(&f, 5, 2, 5, 4, COMMANDS, 4), 0); /* 3 to 6 */
    assert_int_equal(f.update.entries_index, 6);
    assert_int_equal(f.update.n_entries, 1);
    assert_int_equal(core_last_index(f.core), 6);
    older[0].term = older[1].term = 4; /* another entry where our base is */
    assert_int_equal(append(&f, 5, 2, 4, 4, older, 4), MQ_ECORRUPT);
    follower_fini(&f);
}

static void words_about_snapshots_that_break_the_rules_are_refused(void **state)
{
    struct core_base base = {.index = 9, .term = 4, .change_index = 1};
    struct core_message m = {.type = CORE_INSTALL, .peer = 2, .term = 5, .install = {9, 4}};
    struct follower f;

    (void)state;
    follower_init(&f);
    base.change = f.change.base;
    base.change_bytes = (uint32_t)f.change.len;
    assert_int_equal(append(&f, 5, 1, 1, 3, COMMANDS, 3), 0);
    m.install.base_index = 0;
    assert_int_equal(core_receive(f.core, 1001, &m, &f.update), MQ_EBADMSG);
    m.install.base_index = 9;
    m.install.base_term = 6;
    assert_int_equal(core_receive(f.core, 1001, &m, &f.update), MQ_EBADMSG);
    m.install.base_index = 3; /* is committed here, in another term */
    m.install.base_term = 4;
    assert_int_equal(core_receive(f.core, 1001, &m, &f.update), MQ_ECORRUPT);
    m.term = 4; /* late: nobody answers it */
    assert_int_equal(core_receive(f.core, 1001, &m, &f.update), 0);
    assert_int_equal(f.update.n_messages, 0);
    assert_false(f.update.fetch);
    m.term = 5;
    m.install.base_index = 2; /* is here, but not yet durable */
    m.install.base_term = 5;
    assert_int_equal(core_receive(f.core, 1001, &m, &f.update), 0);
    assert_false(f.update.fetch);
    assert_int_equal(f.update.n_messages, 1);
    assert_int_equal(f.update.messages[0].append_result.last_index, 1);

    assert_int_equal(core_install(f.core, 1001, 2, 4, &base, &f.update), MQ_EAGAIN);
    base.change_bytes = 1;
    assert_int_equal(core_install(f.core, 1001, 2, 5, &base, &f.update), MQ_EBADMSG);
    base.change_bytes = (uint32_t)f.change.len;
    assert_int_equal(core_install(f.core, 1001, 2, 5, &base, &f.update), 0);
    assert_true(f.update.install);
    assert_int_equal(core_install(f.core, 1001, 2, 5, &base, &f.update), MQ_EBUSY);
    assert_int_equal(append(&f, 5, 9, 4, 9, COMMANDS, 2), 0); /* not taken */
    assert_int_equal(f.update.n_entries, 0);
    assert_int_equal(core_persisted(f.core, 1002, 4, 5, &f.update), 0); /* late, of what was dropped */
    assert_int_equal(f.update.n_messages, 0);
    assert_int_equal(core_installed(f.core, 1003, &f.update), 0);
    assert_int_equal(f.update.n_messages, 1);
    assert_int_equal(f.update.messages[0].append_result.last_index, 9);
    assert_int_equal(append(&f, 5, 9, 4, 9, COMMANDS, 2), 0);
    assert_int_equal(f.update.entries_index, 10);
    follower_fini(&f);
}

/* A follower with a long log, of which it is told the terms: 20 million entries in four of them. */
static void follower_init_settled(struct follower *f, uint64_t settled)
{
    static const struct core_run RUNS[] = {{11, 2}, {1000, 3}, {1001, 4}, {15000000, 5}};
    struct core_options options = {1, ELECTION_MS, HEARTBEAT_MS, 1};
    struct core_entry behind[2] = {{5, RLOG_COMMAND, NULL, 0}, {6, RLOG_COMMAND, NULL, 0}};
    struct core_log log = {.term = 6, .commit = settled, .entries = behind, .n = 2};

    memset(f, 0, sizeof(*f));
    encode_members(3, &f->change);
    log.base = (struct core_base){.index = 10, .term = 2}; /* as of which nobody knows the membership */
    log.settled = (struct core_base){settled, 5, 7, f->change.base, (uint32_t)f->change.len};
    log.runs = RUNS;
    log.n_runs = 4;
    assert_int_equal(core_new(&options, &f->core), 0);
    assert_int_equal(core_start(f->core, 1000, &log, &f->update), 0);
}

static void what_is_settled_is_known_by_its_terms(void **state)
{
    static const struct {
        uint64_t prev, term;
        bool there;
    } cases[] = {{20000002, 6, true}, {20000002, 5, false}, {20000001, 5, true}, {20000000, 5, true},
                 {15000000, 5, true}, {14999999, 4, true},  {1001, 4, true},     {1000, 3, true},
                 {999, 2, true},      {11, 2, true},        {10, 2, true},       {20000003, 6, false}};
    struct follower f;

    (void)state;
    follower_init_settled(&f, 20000000);
    assert_int_equal(core_base_index(f.core), 10);
    assert_int_equal(core_last_index(f.core), 20000002);
    assert_int_equal(core_commit(f.core), 20000000);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(append(&f, 6, cases[i].prev, cases[i].term, 0, NULL, 0), 0);
        assert_int_equal(f.update.n_messages, 1);
        assert_int_equal(f.update.messages[0].append_result.rejected == 0, cases[i].there);
    }
    assert_int_equal(append(&f, 6, 20000000, 5, 0, (struct core_entry[]){{6, RLOG_COMMAND, NULL, 0}}, 1), 0);
    assert_int_equal(f.update.entries_index, 20000001); /* the two are replaced */
    assert_int_equal(core_last_index(f.core), 20000001);
    follower_fini(&f);
}

static void a_log_that_cannot_be_is_not_started_with(void **state)
{
    struct core_entry entry = {.term = 5, .type = RLOG_COMMAND};
    struct core_options options = {1, ELECTION_MS, HEARTBEAT_MS, 1};
    struct mq_buf change = {0};
    const struct core_base base = {.index = 10, .term = 2};
    struct {
        const char *why;
        struct core_run runs[3];
        size_t n;
        struct core_base settled;
        uint64_t commit;
    } cases[] = {
        {"it begins too late", {{12, 2}, {15, 3}}, 2, {20, 3, 1}, 20},
        {"it begins too early", {{10, 2}, {15, 3}}, 2, {20, 3, 1}, 20},
        {"a term falls", {{11, 3}, {15, 2}}, 2, {20, 2, 1}, 20},
        {"a term comes twice", {{11, 3}, {15, 3}}, 2, {20, 3, 1}, 20},
        {"a term below the base's", {{11, 1}, {15, 3}}, 2, {20, 3, 1}, 20},
        {"indexes fall", {{11, 2}, {15, 3}, {14, 4}}, 3, {20, 4, 1}, 20},
        {"a run behind the end", {{11, 2}, {21, 3}}, 2, {20, 3, 1}, 20},
        {"another term at the end", {{11, 2}, {15, 3}}, 2, {20, 4, 1}, 20},
        {"no runs", {{0}}, 0, {20, 2, 1}, 20},
        {"settled below the base", {{11, 2}}, 1, {9, 2, 1}, 20},
        {"settled and not committed", {{11, 2}, {15, 3}}, 2, {20, 3, 1}, 19},
        {"no membership", {{11, 2}, {15, 3}}, 2, {20, 3, 0}, 20},
        {"a membership of later", {{11, 2}, {15, 3}}, 2, {20, 3, 21}, 20},
        {"younger than the member", {{11, 2}, {15, 6}}, 2, {20, 6, 1}, 20},
        {"committed behind its end", {{11, 2}, {15, 3}}, 2, {20, 3, 1}, 22},
    };

    (void)state;
    encode_members(3, &change);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct core_log log = {.term = 5, .base = base, .entries = &entry, .n = 1};
        struct core_update update;
        struct core *core;

        print_message("%s\n", cases[i].why);
        log.commit = cases[i].commit;
        log.settled = cases[i].settled;
        log.settled.change = change.base;
        log.settled.change_bytes = (uint32_t)change.len;
        log.runs = cases[i].runs;
        log.n_runs = cases[i].n;
        assert_int_equal(core_new(&options, &core), 0);
        assert_int_equal(core_start(core, 1000, &log, &update), MQ_EINVAL);
        core_free(core);
    }
    mq_buf_free(&change);
}

/* ---- who may stand ---- */

static bool asks(struct follower *f, uint64_t term, uint64_t last_term, uint64_t last_index, bool pre_vote)
{
    struct core_message vote = {.type = CORE_VOTE, .peer = 3, .term = term};

    vote.vote.last_term = last_term;
    vote.vote.last_index = last_index;
    vote.vote.pre_vote = pre_vote;
    assert_int_equal(core_receive(f->core, 1001, &vote, &f->update), 0);
    assert_int_equal(f->update.n_messages, 1);
    return f->update.messages[0].vote_result.granted;
}

static void a_claim_votes_as_if_the_lost_entries_were_here(void **state)
{
    struct core_entry first = {.term = 1, .type = RLOG_CHANGE};
    struct core_options options = {1, ELECTION_MS, HEARTBEAT_MS, 1};
    struct core_log log = {.term = 5, .vote = 2, .entries = &first, .n = 1};
    struct follower f = {0};

    (void)state;
    encode_members(3, &f.change);
    first.change = f.change.base;
    first.change_bytes = (uint32_t)f.change.len;
    assert_int_equal(core_new(&options, &f.core), 0);
    core_set_claim(f.core, 5, 3);
    assert_int_equal(core_start(f.core, 1000, &log, &f.update), 0);
    assert_true(core_claim_open(f.core));
    assert_true(f.update.term_or_vote); /* who leads in term 5 counts on what is lost */
    assert_int_equal(f.update.term, 6);
    assert_int_equal(f.update.vote, 0);

    assert_false(asks(&f, 7, 5, 2, true));
    assert_false(asks(&f, 7, 4, 9, true));
    assert_true(asks(&f, 7, 5, 3, true));
    assert_true(asks(&f, 7, 6, 2, true));
    assert_false(asks(&f, 7, 5, 2, false));
    assert_int_equal(core_term(f.core), 7); /* it heard of the term all the same */
    for (uint64_t now = 2000; now < 9000; now += 50) {
        if (now >= core_timeout_at(f.core)) {
            assert_int_equal(core_timeout(f.core, now, &f.update), 0);
        }
        assert_int_equal(core_role(f.core), RLOG_FOLLOWER);
    }
    assert_int_equal(append(&f, 8, 1, 1, 1, COMMANDS, 2), 0);
    assert_int_equal(core_persisted(f.core, 1002, 3, 5, &f.update), 0);
    assert_false(core_claim_open(f.core));
    assert_int_equal(core_timeout(f.core, 20000, &f.update), 0);
    assert_int_equal(core_role(f.core), RLOG_CANDIDATE);
    follower_fini(&f);
}

static void a_claim_can_be_lowered(void **state)
{
    struct follower f;

    (void)state;
    follower_init(&f);
    assert_int_equal(append(&f, 5, 1, 1, 1, COMMANDS, 2), 0);
    assert_int_equal(core_persisted(f.core, 1002, 3, 5, &f.update), 0);
    core_set_claim(f.core, 5, 4);
    assert_true(core_claim_open(f.core));
    core_set_claim(f.core, 5, 3);
    assert_false(core_claim_open(f.core));
    follower_fini(&f);
}

static void a_passive_node_votes_but_does_not_stand(void **state)
{
    struct core_message now_you = {.type = CORE_TIMEOUT_NOW, .peer = 2, .term = 5};
    struct follower f;

    (void)state;
    follower_init(&f);
    core_set_passive(f.core, true);
    assert_int_equal(append(&f, 5, 1, 1, 1, NULL, 0), 0);
    assert_false(asks(&f, 6, 9, 9, true)); /* it has a leader */
    now_you.timeout_now.last_index = 1;
    now_you.timeout_now.last_term = 1;
    assert_int_equal(core_receive(f.core, 1001, &now_you, &f.update), 0);
    assert_int_equal(core_role(f.core), RLOG_FOLLOWER);
    assert_int_equal(core_timeout(f.core, core_timeout_at(f.core), &f.update), 0);
    assert_int_equal(core_role(f.core), RLOG_FOLLOWER);
    assert_int_equal(core_leader(f.core), 0);
    assert_true(core_timeout_at(f.core) > 1000 + 2 * ELECTION_MS);
    assert_true(asks(&f, 6, 9, 9, true)); /* it has none any more */
    core_set_passive(f.core, false);
    assert_int_equal(core_timeout(f.core, core_timeout_at(f.core), &f.update), 0);
    assert_int_equal(core_role(f.core), RLOG_CANDIDATE);
    follower_fini(&f);
}

/* A member that was told to lead stands without asking first, and cannot win; the one who can asks all the same. */
static void a_follower_whose_term_rose_has_no_leader_for_whose_sake_it_denies(void **state)
{
    struct core_message vote = {.type = CORE_VOTE, .peer = 3, .term = 6};
    struct follower f;

    (void)state;
    follower_init(&f);
    assert_int_equal(append(&f, 5, 1, 1, 1, NULL, 0), 0);
    assert_false(asks(&f, 6, 9, 9, true)); /* it has a leader */
    vote.vote.disrupt_leader = true;
    vote.vote.last_index = vote.vote.last_term = 1;
    assert_int_equal(core_receive(f.core, 1001, &vote, &f.update), 0);
    assert_true(f.update.messages[0].vote_result.granted);
    assert_int_equal(core_term(f.core), 6);
    assert_int_equal(core_leader(f.core), 0);
    assert_true(asks(&f, 7, 9, 9, true));
    follower_fini(&f);
}

/* Nobody but a candidate spreads a term. One that is never elected does not raise its own. */
static void a_node_that_does_not_stand_tells_its_term_to_candidates(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2, 3);
    stop_node(&w.nodes[0]);
    w.nodes[0].term = 9;
    start_node(&w, &w.nodes[0]);
    core_set_passive(w.nodes[0].core, true);
    assert_int_equal(elect(&w)->id, 2);
    assert_true(core_term(w.nodes[1].core) > 9);
    world_fini(&w);
}

static void a_lone_voter_leads_in_a_term_of_its_own(void **state)
{
    struct core_options options = {1, ELECTION_MS, HEARTBEAT_MS, 1};
    struct core_entry first = {.term = 1, .type = RLOG_CHANGE};
    struct core_log log = {.term = 4, .vote = 2, .entries = &first, .n = 1};
    struct follower f = {0};

    (void)state;
    encode_members(1, &f.change);
    first.change = f.change.base;
    first.change_bytes = (uint32_t)f.change.len;
    for (unsigned passive = 0; passive < 2; passive++) {
        assert_int_equal(core_new(&options, &f.core), 0);
        core_set_passive(f.core, passive == 1);
        assert_int_equal(core_start(f.core, 1000, &log, &f.update), 0);
        if (passive == 1) {
            assert_int_equal(core_role(f.core), RLOG_FOLLOWER);
            assert_int_equal(core_term(f.core), 4);
            core_set_passive(f.core, false);
            assert_int_equal(core_timeout(f.core, core_timeout_at(f.core), &f.update), 0);
        }
        assert_int_equal(core_role(f.core), RLOG_LEADING);
        assert_true(f.update.term_or_vote);
        assert_int_equal(f.update.term, 5);
        assert_int_equal(f.update.vote, 1);
        core_free(f.core);
    }
    f.core = NULL;
    follower_fini(&f);
}

/* ---- members ---- */

/* @voters: 1 to so many vote; @learner: another member, 0: none. */
static void encode_with(uint32_t voters, uint32_t learner, struct mq_buf *out)
{
    struct member extra = {.id = learner, .incarnation = learner, .role = MEMBER_LEARNER, .address = "a"};
    struct membership m;

    assert_int_equal(membership_init(&m, "g"), 0);
    for (uint32_t i = 1; i <= voters; i++) {
        assert_int_equal(membership_add(&m, i, "a", i), 0);
    }
    if (learner != 0) {
        assert_int_equal(membership_put(&m, &extra), 0);
    }
    assert_int_equal(membership_encode(&m, out), 0);
}

static struct core *start_alone(uint32_t self, uint64_t incarnation, const struct mq_buf *first, uint64_t term)
{
    struct core_options options = {self, ELECTION_MS, HEARTBEAT_MS, 1, incarnation};
    struct core_entry entry = {1, RLOG_CHANGE, first->base, (uint32_t)first->len};
    struct core_log log = {.term = term, .entries = &entry, .n = first->len > 0};
    struct core_update update;
    struct core *core;

    assert_int_equal(core_new(&options, &core), 0);
    assert_int_equal(core_start(core, 1000, &log, &update), 0);
    return core;
}

static void a_learner_votes_when_a_candidate_asks_it(void **state)
{
    struct follower f = {0};

    (void)state;
    encode_with(1, 3, &f.change);
    f.core = start_alone(3, 0, &f.change, 1);
    f.change.len = 0; /* the core has what it needs */
    assert_int_equal(core_timeout(f.core, 9000, &f.update), 0);
    assert_int_equal(core_role(f.core), RLOG_FOLLOWER); /* of its own accord it does not stand */
    {
        struct core_message vote = {.type = CORE_VOTE, .peer = 1, .term = 2, .vote = {2, 2, false, false}};

        assert_int_equal(core_receive(f.core, 9001, &vote, &f.update), 0);
    }
    assert_true(f.update.messages[0].vote_result.granted);
    assert_int_equal(f.update.vote, 1);
    assert_int_equal(core_timeout(f.core, 20000, &f.update), 0);
    assert_int_equal(core_role(f.core), RLOG_FOLLOWER); /* and it is a learner still */
    follower_fini(&f);
}

static void a_change_that_is_replaced_gives_way_to_the_one_before_it(void **state)
{
    static const struct core_entry other = {.term = 6, .type = RLOG_COMMAND};
    struct core_entry changes[2] = {{.term = 5, .type = RLOG_CHANGE}, {.term = 5, .type = RLOG_CHANGE}};
    struct mq_buf four = {0}, five = {0};
    struct follower f;

    (void)state;
    follower_init(&f);
    encode_with(4, 0, &four);
    encode_with(5, 0, &five);
    changes[0].change = four.base;
    changes[0].change_bytes = (uint32_t)four.len;
    changes[1].change = five.base;
    changes[1].change_bytes = (uint32_t)five.len;
    assert_int_equal(append(&f, 5, 1, 1, 1, changes, 2), 0); /* neither is known to be committed here */
    assert_int_equal(append(&f, 6, 2, 5, 1, &other, 1), 0);  /* the second is not */
    assert_int_equal(core_persisted(f.core, 1002, 3, 6, &f.update), 0);
    assert_int_equal(core_timeout(f.core, 9000, &f.update), 0);
    assert_int_equal(core_role(f.core), RLOG_CANDIDATE);
    assert_int_equal(f.update.n_messages, 3); /* four voters: the first change holds */
    mq_buf_free(&four);
    mq_buf_free(&five);
    follower_fini(&f);
}

static void another_directory_of_the_same_number_has_no_say(void **state)
{
    struct follower f = {0};

    (void)state;
    encode_with(3, 0, &f.change);
    f.core = start_alone(1, 77, &f.change, 1);
    assert_int_equal(core_timeout(f.core, 9000, &f.update), 0);
    assert_int_equal(core_role(f.core), RLOG_FOLLOWER);
    core_free(f.core);
    f.core = start_alone(1, 1, &f.change, 1);
    assert_int_equal(core_timeout(f.core, 9000, &f.update), 0);
    assert_int_equal(core_role(f.core), RLOG_CANDIDATE);
    follower_fini(&f);
}

static void a_new_member_begins_with_nothing(void **state)
{
    struct core_message install = {.type = CORE_INSTALL, .peer = 2, .term = 5, .install = {9, 4}};
    struct core_entry first = {.term = 1, .type = RLOG_CHANGE};
    struct mq_buf nothing = {0};
    struct follower f = {0};

    (void)state;
    encode_with(3, 0, &f.change);
    first.change = f.change.base;
    first.change_bytes = (uint32_t)f.change.len;
    f.core = start_alone(1, 0, &nothing, 0);
    assert_int_equal(core_timeout(f.core, 9000, &f.update), 0);
    assert_int_equal(core_role(f.core), RLOG_FOLLOWER);
    assert_false(asks(&f, 3, 9, 9, false)); /* it does not know whether it may */
    assert_int_equal(core_receive(f.core, 9001, &install, &f.update), 0);
    assert_true(f.update.fetch);
    assert_int_equal(append(&f, 5, 0, 0, 1, &first, 1), 0);
    assert_int_equal(core_persisted(f.core, 1002, 1, 1, &f.update), 0);
    assert_int_equal(f.update.messages[0].append_result.last_index, 1);
    assert_int_equal(core_change_applied(f.core, 1003, 1, first.change, first.change_bytes, &f.update), 0);
    assert_true(asks(&f, 6, 9, 9, false) || core_leader(f.core) != 0);
    follower_fini(&f);
}

static uint32_t running_seed; /* told when a test fails */

static int tell_seed(void **state)
{
    (void)state;
    print_message("last seed %" PRIu32 "\n", running_seed);
    return 0;
}

/* Messages lost, doubled by retries, late and out of order; nodes cut off, killed with what was not on disk,
 * restarted. */
static uint64_t random_run(uint32_t seed, bool changing, uint64_t *installs, uint64_t *changes)
{
    uint64_t committed;
    struct membership m;
    struct world w;

    world_init_with(&w, changing ? 5 : 3 + 2 * (seed % 2), changing ? 1 + seed % 5 : 3 + 2 * (seed % 2), seed);
    for (unsigned i = 0; i < 30000 && w.committed_last < LOG_MAX - 2000; i++) {
        struct node *node = &w.nodes[draw(&w, w.n)];
        uint32_t what = draw(&w, 1000);

        if (what < 600) {
            for (unsigned k = 0; k < 8 && w.n_wire > 0; k++) {
                deliver(&w, draw(&w, 20) == 0 ? draw(&w, (uint32_t)w.n_wire) : 0);
            }
        } else if (what < 610 && w.n_wire > 0) {
            w.n_wire--; /* lost */
        } else if (what < 630 && node->core != NULL && node->install != 0) {
            end_install(&w, node);
        } else if (what < 650 && node->core != NULL && node->fetch != 0 && node->install == 0) {
            assert_true(install(&w, node) != MQ_ECORRUPT);
        } else if (what < 800) {
            persist(&w, node);
        } else if (what < 900) {
            w.now += draw(&w, 6);
            time_out(&w, node);
        } else if (what < 990) {
            if (node->core != NULL && changing && draw(&w, 8) == 0) {
                submit_change(&w, node);
            } else if (node->core != NULL) {
                (void)submit(&w, node);
            }
        } else if (what < 992) {
            w.cut[node->id - 1] = draw(&w, 4) == 0;
        } else if (what < 993 && node->core != NULL) {
            stop_node(node);
        } else if (what < 997 && node->core != NULL && node->install == 0 && node->applied > node->base) {
            (void)trim(&w, node, node->base + 1 + draw(&w, (uint32_t)(node->applied - node->base)));
        } else if (node->core == NULL) {
            start_node(&w, node);
        }
    }
    memset(w.cut, 0, sizeof(w.cut));
    for (uint32_t i = 0; i < w.n; i++) {
        if (w.nodes[i].core == NULL) {
            start_node(&w, &w.nodes[i]);
        }
    }
    run(&w, 3000);
    (void)elect(&w);
    (void)submit(&w, leader(&w));
    run(&w, 1000);
    members_of(&w, leader(&w), &m);
    for (uint32_t i = 0; i < m.n; i++) { /* they agree again */
        const struct node *member = &w.nodes[m.members[i].id - 1];

        assert_int_equal(member->last, leader(&w)->last);
        assert_int_equal(member->commit, leader(&w)->last);
    }
    committed = w.committed_last;
    *changes += w.n_changes - 1;
    *installs += w.installs;
    world_fini(&w);
    return committed;
}

static void random_runs_agree_on_what_is_committed(void **state)
{
    uint64_t committed = 0;
    uint64_t installs = 0;
    uint64_t changes = 0;

    (void)state;
    for (running_seed = 1; running_seed <= 300; running_seed++) {
        committed += random_run(running_seed, false, &installs, &changes);
    }
    print_message("%" PRIu64 " entries were committed, %" PRIu64 " snapshots put in place\n", committed, installs);
    assert_true(committed > 50000);
    assert_true(installs > 300);
}

static void random_runs_with_changing_members_agree_on_what_is_committed(void **state)
{
    uint64_t committed = 0;
    uint64_t installs = 0;
    uint64_t changes = 0;

    (void)state;
    for (running_seed = 1; running_seed <= 300; running_seed++) {
        committed += random_run(running_seed, true, &installs, &changes);
    }
    print_message("%" PRIu64 " entries were committed, %" PRIu64 " changes proposed, %" PRIu64
                  " snapshots put in place\n",
                  committed, changes, installs);
    assert_true(committed > 20000);
    assert_true(changes > 2000);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_voter_leads_from_the_start),
        cmocka_unit_test(one_of_three_is_elected_and_all_know_it),
        cmocka_unit_test(an_entry_is_committed_by_a_majority_of_disks),
        cmocka_unit_test(two_followers_commit_without_the_leaders_disk),
        cmocka_unit_test(a_notice_for_replaced_entries_is_dropped),
        cmocka_unit_test(a_change_inside_a_message_is_a_step_of_its_own),
        cmocka_unit_test(a_late_message_does_not_lower_the_commit_index),
        cmocka_unit_test(the_answer_to_an_old_leader_is_no_success),
        cmocka_unit_test(a_vote_that_comes_late_changes_nothing),
        cmocka_unit_test(messages_that_break_the_rules_are_refused),
        cmocka_unit_test(a_contradiction_of_what_is_committed_is_reported),
        cmocka_unit_test(leadership_can_be_handed_over),
        cmocka_unit_test(sparse_submissions_do_not_wait_for_heartbeats),
        cmocka_unit_test(a_log_may_begin_late_on_every_node),
        cmocka_unit_test(a_follower_far_behind_gets_a_snapshot),
        cmocka_unit_test(a_lost_word_about_a_snapshot_is_said_again),
        cmocka_unit_test(the_acknowledgement_of_a_snapshot_may_be_lost),
        cmocka_unit_test(an_append_that_begins_below_the_base_is_cut_there),
        cmocka_unit_test(words_about_snapshots_that_break_the_rules_are_refused),
        cmocka_unit_test(a_claim_votes_as_if_the_lost_entries_were_here),
        cmocka_unit_test(a_claim_can_be_lowered),
        cmocka_unit_test(a_passive_node_votes_but_does_not_stand),
        cmocka_unit_test(a_follower_whose_term_rose_has_no_leader_for_whose_sake_it_denies),
        cmocka_unit_test(a_node_that_does_not_stand_tells_its_term_to_candidates),
        cmocka_unit_test(a_lone_voter_leads_in_a_term_of_its_own),
        cmocka_unit_test(a_learner_votes_when_a_candidate_asks_it),
        cmocka_unit_test(a_change_that_is_replaced_gives_way_to_the_one_before_it),
        cmocka_unit_test(another_directory_of_the_same_number_has_no_say),
        cmocka_unit_test(a_new_member_begins_with_nothing),
        cmocka_unit_test(what_is_settled_is_known_by_its_terms),
        cmocka_unit_test(a_log_that_cannot_be_is_not_started_with),
        cmocka_unit_test_teardown(random_runs_agree_on_what_is_committed, tell_seed),
        cmocka_unit_test_teardown(random_runs_with_changing_members_agree_on_what_is_committed, tell_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
