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
    struct slot *log;  /* from index 1 on; log[0] is not used */
    uint64_t last, durable;
    uint64_t term; /* as on disk */
    uint32_t vote;
    uint64_t commit; /* highest seen */
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
    struct mq_buf change; /* entry 1 */
    struct letter *wire;
    size_t n_wire;
    bool cut[NODES_MAX];    /* no message to or from it */
    struct slot *committed; /* what any node said is committed, by index */
    uint64_t committed_last;
    uint64_t next_number;
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
        struct slot slot = {core_term(node->core), number, RLOG_COMMAND};

        if (update->own_barrier) {
            slot = (struct slot){core_term(node->core), 0, RLOG_BARRIER};
        } else if (from != NULL) {
            slot = from->slots[index - from->message.append.prev_index - 1];
        }
        assert_true(index > node->commit && index < LOG_MAX);
        node->log[index] = slot;
        node->last = index;
        node->durable = node->durable < index ? node->durable : index - 1;
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
            letter->slots[k] = node->log[m->append.prev_index + 1 + k];
            letter->entries[k] = (struct core_entry){letter->slots[k].term, letter->slots[k].type, NULL, 0};
            if (letter->slots[k].type == RLOG_CHANGE) {
                letter->entries[k].change = w->change.base;
                letter->entries[k].change_bytes = (uint32_t)w->change.len;
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

static void start_node(struct world *w, struct node *node)
{
    struct core_options options = {node->id, ELECTION_MS, HEARTBEAT_MS, draw(w, 1u << 20)};
    struct core_entry *entries = calloc(node->last, sizeof(entries[0]));
    struct core_update update;

    assert_non_null(entries);
    for (uint64_t i = 0; i < node->last; i++) {
        entries[i] = (struct core_entry){node->log[i + 1].term, node->log[i + 1].type, NULL, 0};
    }
    entries[0].change = w->change.base;
    entries[0].change_bytes = (uint32_t)w->change.len;
    node->commit = 0;
    assert_int_equal(core_new(&options, &node->core), 0);
    assert_int_equal(core_start(node->core, w->now, node->term, node->vote, entries, node->last, &update), 0);
    carry_out(w, node, &update, NULL, 0);
    check(w, node);
    free(entries);
}

static void stop_node(struct node *node)
{
    core_free(node->core);
    node->core = NULL;
    node->last = node->durable; /* what was not on disk is gone */
}

static void world_init(struct world *w, uint32_t n, uint32_t seed)
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
    encode_members(n, &w->change);
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

static void world_fini(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        core_free(w->nodes[i].core);
        free(w->nodes[i].log);
    }
    mq_buf_free(&w->change);
    free(w->wire);
    free(w->committed);
}

static void persist(struct world *w, struct node *node)
{
    struct core_update update;

    if (node->core == NULL || node->durable == node->last) {
        return;
    }
    node->durable = node->last;
    assert_int_equal(core_persisted(node->core, w->now, node->durable, node->log[node->durable].term, &update), 0);
    carry_out(w, node, &update, NULL, 0);
    check(w, node);
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

    memset(f, 0, sizeof(*f));
    encode_members(3, &f->change);
    first.change = f->change.base;
    first.change_bytes = (uint32_t)f->change.len;
    assert_int_equal(core_new(&options, &f->core), 0);
    assert_int_equal(core_start(f->core, 1000, 1, 0, &first, 1, &f->update), 0);
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

static uint32_t running_seed; /* told when a test fails */

static int tell_seed(void **state)
{
    (void)state;
    print_message("last seed %" PRIu32 "\n", running_seed);
    return 0;
}

/* Messages lost, doubled by retries, late and out of order; nodes cut off, killed with what was not on disk,
 * restarted. */
static uint64_t random_run(uint32_t seed)
{
    uint64_t committed;
    struct world w;

    world_init(&w, 3 + 2 * (seed % 2), seed);
    for (unsigned i = 0; i < 30000 && w.committed_last < LOG_MAX - 2000; i++) {
        struct node *node = &w.nodes[draw(&w, w.n)];
        uint32_t what = draw(&w, 1000);

        if (what < 600) {
            for (unsigned k = 0; k < 8 && w.n_wire > 0; k++) {
                deliver(&w, draw(&w, 20) == 0 ? draw(&w, (uint32_t)w.n_wire) : 0);
            }
        } else if (what < 610 && w.n_wire > 0) {
            w.n_wire--; /* lost */
        } else if (what < 800) {
            persist(&w, node);
        } else if (what < 900) {
            w.now += draw(&w, 6);
            time_out(&w, node);
        } else if (what < 990) {
            if (node->core != NULL) {
                (void)submit(&w, node);
            }
        } else if (what < 992) {
            w.cut[node->id - 1] = draw(&w, 4) == 0;
        } else if (what < 994 && node->core != NULL) {
            stop_node(node);
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
    for (uint32_t i = 1; i < w.n; i++) { /* they agree again */
        assert_int_equal(w.nodes[i].last, w.nodes[0].last);
        assert_int_equal(w.nodes[i].commit, w.nodes[0].commit);
    }
    assert_int_equal(w.nodes[0].commit, w.nodes[0].last);
    committed = w.committed_last;
    world_fini(&w);
    return committed;
}

static void random_runs_agree_on_what_is_committed(void **state)
{
    uint64_t committed = 0;

    (void)state;
    for (running_seed = 1; running_seed <= 300; running_seed++) {
        committed += random_run(running_seed);
    }
    print_message("%" PRIu64 " entries were committed\n", committed);
    assert_true(committed > 50000);
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
        cmocka_unit_test_teardown(random_runs_agree_on_what_is_committed, tell_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
