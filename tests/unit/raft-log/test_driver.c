/* One driver on a real log in a directory of its own, with a world (time, sending) made of fields. */
#include "raft-log/driver.h"
#include "raft-log/log/disk.h"
#include "raft-log/rlog.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SENT_MAX 64
#define ENTRIES_MAX 64
#define SEGMENT_BYTES (1u << 20)

struct world {
    struct net_loop loop;
    char dir[64];
    struct rlog log; /* only the parts that proposing looks at */
    struct rlog_env env;
    uint64_t now_ms;
    uint64_t wake_ms;
    unsigned soons;
    unsigned needs; /* how often a snapshot was asked for, and how the last time */
    uint32_t need_leader;
    uint64_t need_term, need_index;
    unsigned loads;
    unsigned damages; /* and of which entry the last time */
    uint64_t damaged;
    struct core_message sent[SENT_MAX];
    uint64_t meta_term_at_send; /* what was durable when the last message went out */
    unsigned n_sent;
    struct rlog_fsm fsm;
    uint64_t applied[1024];
    unsigned n_applied;
    uint32_t apply_ms; /* what applying an entry costs */
    struct rlog_role role;
    unsigned n_rooms;
    int status; /* of the last proposal that ended */
    unsigned n_ended;
    enum rlog_role_kind role_at_end;
    /* The leader's side, when we play it: bytes as they would come from it. */
    uint64_t end_pos;
    uint32_t crc;
    uint64_t last, last_term;
};

struct buffer {
    struct net_ref ref;
    _Alignas(8) uint8_t bytes[65536];
};

static void free_buffer(struct net_ref *ref)
{
    free(container_of(ref, struct buffer, ref));
}

static struct world *world_of(struct rlog_env *env)
{
    return container_of(env, struct world, env);
}

static uint64_t env_now(struct rlog_env *env)
{
    return world_of(env)->now_ms;
}

static int64_t env_wall(struct rlog_env *env)
{
    return (int64_t)world_of(env)->now_ms + 1000000;
}

static void env_wake_at(struct rlog_env *env, uint64_t at_ms)
{
    world_of(env)->wake_ms = at_ms;
}

static void env_soon(struct rlog_env *env)
{
    world_of(env)->soons++;
}

static void env_send(struct rlog_env *env, const struct core_message *message)
{
    struct world *w = world_of(env);

    w->sent[w->n_sent++ % SENT_MAX] = *message;
    w->meta_term_at_send = w->log.meta.term;
}

static void env_members(struct rlog_env *env)
{
    (void)env;
}

static void env_need_snapshot(struct rlog_env *env, uint32_t leader, uint64_t term, uint64_t index)
{
    struct world *w = world_of(env);

    w->needs++;
    w->need_leader = leader;
    w->need_term = term;
    w->need_index = index;
}

static void env_damaged(struct rlog_env *env, uint64_t index)
{
    struct world *w = world_of(env);

    w->damages++;
    w->damaged = index;
}

static void on_apply(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    struct world *w = fsm->data;

    w->applied[w->n_applied++ % ARRAY_SIZE(w->applied)] = entry->index;
    w->now_ms += w->apply_ms;
}

static void on_role(struct rlog_fsm *fsm, const struct rlog_role *role)
{
    struct world *w = fsm->data;

    w->role = *role;
}

static void on_room(struct rlog_fsm *fsm)
{
    struct world *w = fsm->data;

    w->n_rooms++;
}

static void on_durable(void *data, uint64_t index, uint64_t term)
{
    struct world *w = data;

    driver_durable(&w->log.driver, index, term);
}

static struct core_message *last_sent(struct world *w)
{
    assert_true(w->n_sent > 0);
    return &w->sent[(w->n_sent - 1) % SENT_MAX];
}

/* Waits for the writer. */
static void settle_disk(struct world *w)
{
    while (commitlog_durable_index(w->log.commitlog) != commitlog_last_index(w->log.commitlog) ||
           w->log.driver.durable_index != 0) {
        (void)uv_run(&w->loop.uv, UV_RUN_ONCE);
    }
    (void)uv_run(&w->loop.uv, UV_RUN_NOWAIT);
}

static void put_founding(struct world *w, uint32_t n_members)
{
    struct rlog_header header = {.type = RLOG_CHANGE, .index = 1, .term = 1};
    struct mq_buf bytes = {0};
    struct membership m;
    struct rlog_blob *blob;

    assert_int_equal(membership_init(&m, "g"), 0);
    for (uint32_t i = 1; i <= n_members; i++) {
        assert_int_equal(membership_add(&m, i, "a", i == 1 ? w->log.meta.incarnation : i), 0);
    }
    assert_int_equal(membership_encode(&m, &bytes), 0);
    assert_int_equal(rlog_blob_new(&w->log, (uint32_t)bytes.len, &blob), 0);
    memcpy(rlog_blob_payload(blob), bytes.base, bytes.len);
    blob->payload_bytes = header.payload_bytes = (uint32_t)bytes.len;
    assert_int_equal(commitlog_append(w->log.commitlog, &header, blob), 0);
    commitlog_kick(w->log.commitlog);
    w->end_pos = rlog_entry_bytes(header.payload_bytes);
    w->crc = header.crc;
    w->last = w->last_term = 1;
    mq_buf_free(&bytes);
    meta_store(&w->log.meta, 1, 0);
}

static void world_init(struct world *w, uint32_t n_members)
{
    struct commitlog_options log_options = {&rlog_disk_real, w->dir, SEGMENT_BYTES, on_durable, w};
    struct driver_options options = {0};
    struct mq_buf problem = {0};
    bool empty;

    memset(w, 0, sizeof(*w));
    strcpy(w->dir, "/tmp/raft-driver-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(net_loop_init(&w->loop), 0);
    assert_int_equal(meta_open(&w->log.meta, &rlog_disk_real, w->dir, "g", 1, &empty, &problem), 0);
    assert_int_equal(commitlog_open(&w->loop, &log_options, &w->log.commitlog, &problem), 0);
    w->log.room.log = &w->log;
    blob_pool_init(&w->log.blobs);
    w->now_ms = 1000;
    w->env = (struct rlog_env){
        .now_ms = env_now,
        .wall_ms = env_wall,
        .wake_at = env_wake_at,
        .soon = env_soon,
        .send = env_send,
        .members = env_members,
        .need_snapshot = env_need_snapshot,
        .damaged = env_damaged,
    };
    w->fsm = (struct rlog_fsm){w, on_apply, on_role, on_room};
    options = (struct driver_options){&w->env, w->log.commitlog, &w->log.meta, &w->log.blobs, &w->fsm, 1, 7, 300, 50,
                                      4,       1u << 20,         1u << 20};
    driver_init(&w->log.driver, &options);
    put_founding(w, n_members);
    settle_disk(w);
    assert_int_equal(driver_start(&w->log.driver), 0);
    driver_continue(&w->log.driver);
}

static void world_fini(struct world *w)
{
    driver_stop(&w->log.driver);
    commitlog_close(w->log.commitlog);
    meta_close(&w->log.meta);
    driver_fini(&w->log.driver);
    blob_pool_fini(&w->log.blobs);
    (void)uv_run(&w->loop.uv, UV_RUN_NOWAIT);
    net_loop_fini(&w->loop);
    assert_int_equal(mq_dir_remove(w->dir), 0);
}

/* Entries of node 2, leader in @term, behind what it sent before. */
static struct buffer *make_entries(struct world *w, uint64_t term, uint32_t n, uint32_t payload,
                                   struct commitlog_entry *out)
{
    struct buffer *buffer = calloc(1, sizeof(*buffer));
    uint8_t *at = buffer->bytes;

    buffer->ref = (struct net_ref){1, free_buffer};
    for (uint32_t i = 0; i < n; i++) {
        struct rlog_header header = {
            .type = RLOG_COMMAND,
            .payload_bytes = payload,
            .index = w->last + 1,
            .term = term,
            .pos = w->end_pos,
            .prev_crc = w->crc,
        };

        memset(at + RLOG_HEADER_BYTES, (int)i + 1, payload);
        header.payload_crc = mq_crc32c(0, at + RLOG_HEADER_BYTES, payload);
        rlog_header_encode(&header, at);
        out[i] = (struct commitlog_entry){header, at, rlog_entry_bytes(payload)};
        at += out[i].n;
        w->end_pos += out[i].n;
        w->crc = header.crc;
        w->last++;
        w->last_term = term;
    }
    return buffer;
}

/* Gives the driver @n entries behind (@prev, @prev_term). */
static int receive(struct world *w, uint64_t term, uint64_t prev, uint64_t prev_term, uint64_t commit,
                   struct commitlog_entry *entries, uint32_t n, struct buffer *buffer)
{
    struct core_message m = {.type = CORE_APPEND, .peer = 2, .term = term};

    m.append.prev_index = prev;
    m.append.prev_term = prev_term;
    m.append.commit = commit;
    m.append.n = n;
    return driver_receive(&w->log.driver, &m, entries, buffer != NULL ? &buffer->ref : NULL);
}

static void wake(struct world *w)
{
    w->now_ms = core_timeout_at(w->log.driver.core);
    driver_timeout(&w->log.driver);
}

/* Makes node 1 of three the leader, with node 2's votes. */
static void elect(struct world *w)
{
    struct core_message vote = {.type = CORE_VOTE_RESULT, .peer = 2};

    wake(w);
    vote.term = last_sent(w)->term;
    vote.vote_result.granted = vote.vote_result.pre_vote = true;
    assert_int_equal(driver_receive(&w->log.driver, &vote, NULL, NULL), 0);
    vote.vote_result.pre_vote = false;
    assert_int_equal(driver_receive(&w->log.driver, &vote, NULL, NULL), 0);
    assert_int_equal(w->role.kind, RLOG_LEADING);
}

static void acknowledge(struct world *w, uint64_t index)
{
    struct core_message result = {.type = CORE_APPEND_RESULT, .peer = 2, .term = core_term(w->log.driver.core)};

    result.append_result.last_index = index;
    assert_int_equal(driver_receive(&w->log.driver, &result, NULL, NULL), 0);
}

static void on_ended(struct rlog_proposal *proposal, int status)
{
    struct world *w = proposal->data;

    w->status = status;
    w->n_ended++;
    w->role_at_end = w->role.kind;
}

static int propose(struct world *w, struct rlog_proposal *proposal, uint32_t bytes)
{
    struct rlog_blob *blob;
    int rc;

    proposal->data = w;
    assert_int_equal(rlog_blob_new(&w->log, bytes, &blob), 0);
    memset(rlog_blob_payload(blob), 1, bytes);
    blob->payload_bytes = bytes;
    rc = rlog_propose(&w->log, blob, 5, 1, 0, proposal, on_ended);
    if (rc != 0) {
        net_ref_release(&blob->ref);
    }
    return rc;
}

/* ---- tests ---- */

static void a_vote_is_durable_before_it_is_told(void **state)
{
    struct core_message vote = {.type = CORE_VOTE, .peer = 2, .term = 8};
    struct world w;

    (void)state;
    world_init(&w, 3);
    vote.vote.last_index = vote.vote.last_term = 1;
    assert_int_equal(driver_receive(&w.log.driver, &vote, NULL, NULL), 0);
    assert_int_equal(last_sent(&w)->type, CORE_VOTE_RESULT);
    assert_true(last_sent(&w)->vote_result.granted);
    assert_int_equal(w.meta_term_at_send, 8);
    assert_int_equal(w.log.meta.vote, 2);
    world_fini(&w);
}

static void entries_are_acknowledged_and_applied_when_durable(void **state)
{
    struct commitlog_entry entries[ENTRIES_MAX];
    struct buffer *buffer;
    struct world w;

    (void)state;
    world_init(&w, 3);
    buffer = make_entries(&w, 3, 3, 100, entries);
    assert_int_equal(receive(&w, 3, 1, 1, 3, entries, 3, buffer), 0);
    assert_int_equal(w.n_applied, 0); /* committed, but not on this disk yet */
    assert_int_equal(w.n_sent, 0);
    assert_true(buffer->ref.count > 1); /* used where it lies */
    settle_disk(&w);
    assert_int_equal(last_sent(&w)->type, CORE_APPEND_RESULT);
    assert_int_equal(last_sent(&w)->append_result.last_index, 4);
    assert_int_equal(w.n_applied, 2);
    assert_int_equal(w.applied[1], 3);
    assert_int_equal(receive(&w, 3, 4, 3, 4, NULL, 0, NULL), 0);
    assert_int_equal(w.n_applied, 3);
    assert_int_equal(buffer->ref.count, 1);
    net_ref_release(&buffer->ref);
    assert_int_equal(w.role.leader, 2);
    world_fini(&w);
}

/* A log that has just begun may get several changes before the first of them is durable. */
static void a_membership_counts_as_applied_when_its_entry_is(void **state)
{
    static const struct {
        uint64_t former, current, applied, want;
    } cases[] = {{0, 0, 0, 0}, {0, 1, 0, 0}, {0, 1, 1, 1}, {1, 5, 0, 0}, {1, 5, 1, 1}, {1, 5, 4, 1}, {1, 5, 5, 5}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct driver driver = {.former_index = cases[i].former,
                                .current_index = cases[i].current,
                                .applied = cases[i].applied,
                                .former.n = cases[i].former != 0,
                                .current.n = cases[i].current != 0};
        uint64_t index = 77;
        const struct membership *m = driver_applied_membership(&driver, &index);

        assert_int_equal(index, cases[i].want);
        assert_int_equal(m->n, cases[i].want != 0);
    }
}

static void damaged_entries_change_nothing(void **state)
{
    static const char *const cases[] = {"payload", "padding", "chain", "index", "position", "size", "commit"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct commitlog_entry entries[ENTRIES_MAX];
        struct buffer *buffer;
        struct world w;
        int want = i == 3 ? MQ_EBADMSG : MQ_ECORRUPT;

        print_message("%s\n", cases[i]);
        world_init(&w, 3);
        buffer = make_entries(&w, 3, 2, 99, entries);
        switch (i) {
        case 0:
            ((uint8_t *)entries[1].bytes)[RLOG_HEADER_BYTES + 7] ^= 1;
            break;
        case 1:
            ((uint8_t *)entries[1].bytes)[entries[1].n - 1] = 1;
            break;
        case 2:
            entries[0].header.prev_crc ^= 1;
            break;
        case 3:
            entries[1].header.index++;
            break;
        case 4:
            entries[1].header.pos += 8;
            break;
        case 5:
            entries[1].header.payload_bytes = SEGMENT_BYTES; /* no room for the header */
            entries[1].header.pos = SEGMENT_BYTES;
            break;
        default:
            entries[1].header.commit = 3; /* its own index */
            break;
        }
        assert_int_equal(receive(&w, 3, 1, 1, 1, entries, 2, buffer), want);
        assert_int_equal(core_term(w.log.driver.core), 1);
        assert_int_equal(commitlog_last_index(w.log.commitlog), 1);
        assert_int_equal(buffer->ref.count, 1);
        net_ref_release(&buffer->ref);
        world_fini(&w);
    }
}

static void an_entry_that_is_here_with_other_bytes_is_not_built_upon(void **state)
{
    struct commitlog_entry entries[ENTRIES_MAX];
    struct buffer *buffer;
    struct world w;

    (void)state;
    world_init(&w, 3);
    buffer = make_entries(&w, 3, 3, 100, entries);
    assert_int_equal(receive(&w, 3, 1, 1, 1, entries, 2, buffer), 0);
    entries[1].header.crc ^= 1;
    entries[2].header.prev_crc ^= 1;
    assert_int_equal(receive(&w, 3, 1, 1, 1, entries, 3, buffer), MQ_ECORRUPT);
    assert_int_equal(commitlog_last_index(w.log.commitlog), 3);
    settle_disk(&w);
    net_ref_release(&buffer->ref);
    world_fini(&w);
}

/* The second one has the index and the term of ours, but behind a first one that has not: it is new all the same. */
static void everything_behind_a_replaced_entry_is_checked(void **state)
{
    struct commitlog_entry entries[ENTRIES_MAX];
    struct buffer *old, *new;
    struct world w;
    uint64_t pos;
    uint32_t crc;

    (void)state;
    world_init(&w, 3);
    pos = w.end_pos;
    crc = w.crc;
    old = make_entries(&w, 3, 1, 100, entries);
    assert_int_equal(receive(&w, 3, 1, 1, 1, entries, 1, old), 0);
    net_ref_release(&old->ref);
    old = make_entries(&w, 4, 1, 100, entries);
    assert_int_equal(receive(&w, 4, 2, 3, 1, entries, 1, old), 0);
    w.last = 1;
    w.end_pos = pos;
    w.crc = crc;
    new = make_entries(&w, 4, 2, 40, entries);
    ((uint8_t *)entries[1].bytes)[RLOG_HEADER_BYTES] ^= 1;
    assert_int_equal(receive(&w, 4, 1, 1, 1, entries, 2, new), MQ_ECORRUPT);
    assert_int_equal(commitlog_term_of(w.log.commitlog, 2), 3);
    settle_disk(&w);
    net_ref_release(&old->ref);
    net_ref_release(&new->ref);
    world_fini(&w);
}

static void a_new_leaders_entries_replace_what_was_not_committed(void **state)
{
    struct commitlog_entry entries[ENTRIES_MAX];
    struct buffer *old, *new;
    struct world w;
    uint64_t pos;
    uint32_t crc;

    (void)state;
    world_init(&w, 3);
    pos = w.end_pos;
    crc = w.crc;
    old = make_entries(&w, 3, 3, 100, entries);
    assert_int_equal(receive(&w, 3, 1, 1, 1, entries, 3, old), 0);
    settle_disk(&w);
    w.last = 1;
    w.end_pos = pos;
    w.crc = crc;
    new = make_entries(&w, 4, 1, 40, entries);
    assert_int_equal(receive(&w, 4, 1, 1, 2, entries, 1, new), 0);
    assert_int_equal(commitlog_last_index(w.log.commitlog), 2);
    settle_disk(&w);
    assert_int_equal(commitlog_term_of(w.log.commitlog, 2), 4);
    assert_int_equal(w.n_applied, 1);
    net_ref_release(&old->ref);
    net_ref_release(&new->ref);
    world_fini(&w);
}

static void flip(const struct world *w, uint64_t at)
{
    char path[128];
    uint8_t byte;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/log/%020d", w->dir, 0);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

static void applying_waits_for_an_entry_that_is_bad(void **state)
{
    struct commitlog_entry entries[ENTRIES_MAX];
    struct buffer *buffer;
    struct world w;

    (void)state;
    world_init(&w, 3);
    buffer = make_entries(&w, 3, 6, 100, entries);
    assert_int_equal(receive(&w, 3, 1, 1, 1, entries, 6, buffer), 0);
    settle_disk(&w);
    flip(&w, entries[2].header.pos + 30);
    assert_int_equal(receive(&w, 3, 7, 3, 7, NULL, 0, NULL), 0); /* all are committed */
    assert_int_equal(w.n_applied, 2);
    assert_true(w.damages > 0);
    assert_int_equal(w.damaged, 4);
    driver_continue(&w.log.driver);
    assert_int_equal(w.n_applied, 2);
    flip(&w, entries[2].header.pos + 30);
    driver_continue(&w.log.driver);
    assert_int_equal(w.n_applied, 6);
    net_ref_release(&buffer->ref);
    world_fini(&w);
}

static void a_long_catch_up_gives_the_loop_back(void **state)
{
    struct commitlog_entry entries[ENTRIES_MAX];
    struct buffer *buffer;
    struct world w;
    unsigned rounds = 0;

    (void)state;
    world_init(&w, 3);
    w.apply_ms = 1;
    buffer = make_entries(&w, 3, 40, 100, entries);
    assert_int_equal(receive(&w, 3, 1, 1, 1, entries, 40, buffer), 0);
    settle_disk(&w);
    w.soons = 0;
    assert_int_equal(receive(&w, 3, 41, 3, 41, NULL, 0, NULL), 0);
    assert_int_equal(w.n_applied, 5); /* five milliseconds' worth */
    for (; w.n_applied < 40; rounds++) {
        assert_int_equal(w.soons, rounds + 1);
        driver_continue(&w.log.driver);
    }
    assert_int_equal(rounds, 7);
    net_ref_release(&buffer->ref);
    world_fini(&w);
}

static void many_messages_in_one_turn_do_not_apply_more_than_one(void **state)
{
    struct commitlog_entry entries[ENTRIES_MAX];
    struct buffer *buffer;
    struct world w;

    (void)state;
    world_init(&w, 3);
    w.apply_ms = 1;
    buffer = make_entries(&w, 3, 40, 100, entries);
    assert_int_equal(receive(&w, 3, 1, 1, 1, entries, 40, buffer), 0);
    settle_disk(&w);
    w.soons = 0;
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(receive(&w, 3, 41, 3, 41, NULL, 0, NULL), 0);
    }
    assert_int_equal(w.n_applied, 5);
    assert_int_equal(w.soons, 1);
    driver_continue(&w.log.driver);
    assert_int_equal(w.n_applied, 10);
    net_ref_release(&buffer->ref);
    world_fini(&w);
}

static void a_leader_is_writable_after_its_own_barrier(void **state)
{
    struct rlog_proposal proposal;
    struct world w;
    uint64_t barrier;

    (void)state;
    world_init(&w, 3);
    elect(&w);
    barrier = commitlog_last_index(w.log.commitlog);
    assert_int_equal(barrier, 2); /* ours: everything before was committed */
    assert_int_equal(propose(&w, &proposal, 10), MQ_ENOTLEADER);
    settle_disk(&w);
    assert_int_equal(w.role.kind, RLOG_LEADING);
    acknowledge(&w, barrier);
    assert_int_equal(w.role.kind, RLOG_WRITABLE);
    assert_int_equal(w.n_applied, 0); /* a barrier is not a command */
    assert_int_equal(propose(&w, &proposal, 10), 0);
    assert_int_equal(proposal.index, 3);
    acknowledge(&w, 3);
    assert_int_equal(w.n_ended, 0); /* committed by the others, not yet on this disk */
    settle_disk(&w);
    acknowledge(&w, 3);
    assert_int_equal(w.n_ended, 1);
    assert_int_equal(w.status, 0);
    world_fini(&w);
}

static void lost_proposals_are_answered_before_the_role_is_told(void **state)
{
    struct core_message higher = {.type = CORE_APPEND_RESULT, .peer = 3, .term = 50};
    struct rlog_proposal proposals[2];
    struct world w;

    (void)state;
    world_init(&w, 3);
    elect(&w);
    settle_disk(&w);
    acknowledge(&w, 2);
    assert_int_equal(propose(&w, &proposals[0], 10), 0);
    assert_int_equal(propose(&w, &proposals[1], 10), 0);
    assert_int_equal(driver_receive(&w.log.driver, &higher, NULL, NULL), 0);
    assert_int_equal(w.n_ended, 2);
    assert_int_equal(w.status, MQ_EUNSURE);
    assert_int_equal(w.role_at_end, RLOG_WRITABLE);
    assert_int_equal(w.role.kind, RLOG_FOLLOWER);
    assert_int_equal(w.role.term, 50);
    assert_int_equal(propose(&w, &proposals[0], 10), MQ_ENOTLEADER);
    settle_disk(&w);
    world_fini(&w);
}

static void positions_and_store_time_are_known_before_the_proposal(void **state)
{
    struct rlog_proposal proposal;
    struct commitlog_entry entry;
    struct world w;
    uint64_t pos;

    (void)state;
    world_init(&w, 1);
    settle_disk(&w);
    assert_int_equal(w.role.kind, RLOG_WRITABLE);
    pos = rlog_place(&w.log, 100);
    assert_int_equal(rlog_store_ms(&w.log, 5), env_wall(&w.env)); /* the barrier's: never falls */
    assert_int_equal(propose(&w, &proposal, 100), 0);
    assert_int_equal(commitlog_get(w.log.commitlog, proposal.index, &entry), 0);
    assert_int_equal(entry.header.pos + RLOG_HEADER_BYTES, pos);
    assert_int_equal(entry.header.clock_ms, 5);
    assert_int_equal(entry.header.store_ms, env_wall(&w.env));
    assert_int_equal(propose(&w, &proposal, 2u << 20), MQ_ETOOBIG); /* over a segment */
    settle_disk(&w);
    world_fini(&w);
}

static void what_is_in_flight_is_bounded(void **state)
{
    struct rlog_proposal proposals[5];
    struct world w;
    unsigned rooms;

    (void)state;
    world_init(&w, 1);
    settle_disk(&w);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(propose(&w, &proposals[i], 10), 0);
    }
    assert_int_equal(propose(&w, &proposals[4], 10), MQ_EBUSY);
    rooms = w.n_rooms;
    settle_disk(&w);
    assert_int_equal(w.n_ended, 4);
    assert_true(w.n_rooms > rooms);
    assert_int_equal(propose(&w, &proposals[4], 10), 0);
    settle_disk(&w);
    world_fini(&w);
}

/* Node 2 answers whatever it is sent with @index, for @ms. */
static void go_on(struct world *w, uint64_t ms, uint64_t index)
{
    uint64_t until_ms = w->now_ms + ms;

    while (w->now_ms < until_ms && w->role.kind == RLOG_WRITABLE) {
        unsigned before = w->n_sent;

        wake(w);
        if (w->n_sent != before) {
            acknowledge(w, index);
        }
    }
}

/* The disk "hangs" as long as the loop does not hear of it. */
static void a_leader_whose_disk_hangs_makes_way_for_another(void **state)
{
    struct rlog_proposal proposal;
    struct world w;

    (void)state;
    world_init(&w, 3);
    elect(&w);
    settle_disk(&w);
    acknowledge(&w, 2);
    assert_int_equal(propose(&w, &proposal, 10), 0);
    go_on(&w, 2000, 3); /* a stall, not yet a reason */
    assert_int_equal(w.role.kind, RLOG_WRITABLE);
    go_on(&w, 2000, 3);
    assert_int_equal(w.role.kind, RLOG_FOLLOWER);
    assert_int_equal(w.n_ended, 1);
    assert_int_equal(w.status, MQ_EUNSURE);
    settle_disk(&w);
    world_fini(&w);
}

static void a_trim_takes_nothing_that_is_not_applied(void **state)
{
    struct rlog_proposal proposals[2];
    struct world w;

    (void)state;
    world_init(&w, 3);
    elect(&w);
    settle_disk(&w);
    acknowledge(&w, commitlog_last_index(w.log.commitlog));
    for (unsigned i = 0; i < 2; i++) { /* each fills most of a segment, and nobody acknowledges it */
        assert_int_equal(propose(&w, &proposals[i], 700000), 0);
        settle_disk(&w);
    }
    assert_int_equal(driver_trim(&w.log.driver, UINT64_MAX), 0);
    assert_int_equal(commitlog_start_pos(w.log.commitlog), 0);
    acknowledge(&w, commitlog_last_index(w.log.commitlog));
    assert_int_equal(driver_trim(&w.log.driver, UINT64_MAX), 0);
    assert_true(commitlog_start_pos(w.log.commitlog) > 0);
    world_fini(&w);
}

static void room_is_told_when_the_others_make_it(void **state)
{
    struct rlog_proposal proposals[4];
    struct world w;
    unsigned rooms;

    (void)state;
    world_init(&w, 3);
    elect(&w);
    settle_disk(&w);
    acknowledge(&w, 2);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(propose(&w, &proposals[i], 10), 0);
    }
    settle_disk(&w);
    assert_int_equal(rlog_can_propose(&w.log), MQ_EBUSY); /* asking is enough */
    rooms = w.n_rooms;
    acknowledge(&w, 3);
    assert_int_equal(w.n_ended, 1);
    assert_int_equal(w.n_rooms, rooms + 1);
    acknowledge(&w, 6);
    assert_int_equal(w.n_rooms, rooms + 1);
    world_fini(&w);
}

static int propose_one(struct world *w, struct rlog_proposal *proposal, uint32_t records, bool from_reserve)
{
    struct rlog_blob *blob;
    int rc;

    assert_int_equal(rlog_blob_new(&w->log, 100, &blob), 0);
    blob->payload_bytes = 100;
    memset(rlog_blob_payload(blob), 'r', 100);
    *proposal = (struct rlog_proposal){.data = w, .from_reserve = from_reserve};
    rc = rlog_propose(&w->log, blob, 0, records, 1 - records, proposal, on_ended);
    if (rc != 0) {
        net_ref_release(&blob->ref);
    }
    return rc;
}

static void low_disks_take_what_the_reserve_gave_and_it_gives_little_at_a_time(void **state)
{
    struct rlog_proposal proposals[4];
    struct world w;
    uint32_t max;

    (void)state;
    world_init(&w, 3);
    elect(&w);
    settle_disk(&w);
    acknowledge(&w, 2);
    max = (uint32_t)(commitlog_last_bytes(w.log.commitlog) / 12);
    assert_int_equal(rlog_reserve_take(&w.log, 100 * max), 0); /* nothing is taken from it yet */
    assert_int_equal(w.log.room.given, 0);
    w.log.room.others = RLOG_SPACE_LOW;
    assert_int_equal(propose_one(&w, &proposals[0], 1, false), MQ_EFULL);
    assert_int_equal(propose_one(&w, &proposals[0], 1, true), 0);
    assert_int_equal(rlog_reserve_take(&w.log, 2 * max + 1), MQ_EFULL);
    assert_int_equal(rlog_reserve_take(&w.log, 2 * max), 0); /* large ones must be movable */
    assert_int_equal(rlog_reserve_take(&w.log, 1), MQ_EFULL);
    w.log.room.given = max - 100; /* ticks later */
    assert_int_equal(rlog_reserve_take(&w.log, 101), MQ_EFULL);
    assert_int_equal(rlog_reserve_take(&w.log, 100), 0);
    w.log.room.given = 0;
    w.log.room.others = RLOG_SPACE_SCARCE;
    assert_int_equal(rlog_reserve_take(&w.log, 1), MQ_EFULL);
    assert_int_equal(propose_one(&w, &proposals[1], 1, true), MQ_EFULL);
    assert_int_equal(propose_one(&w, &proposals[1], 0, false), 0);
    w.log.room.others = RLOG_SPACE_FULL;
    assert_int_equal(propose_one(&w, &proposals[2], 0, false), MQ_EFULL);
    w.log.room.others = RLOG_SPACE_ENOUGH;
    world_fini(&w);
}

/* ---- snapshots ---- */

static struct mq_buf membership_bytes(uint32_t n_members)
{
    struct mq_buf bytes = {0};
    struct membership m;

    assert_int_equal(membership_init(&m, "g"), 0);
    for (uint32_t i = 1; i <= n_members; i++) {
        assert_int_equal(membership_add(&m, i, "a", i), 0);
    }
    assert_int_equal(membership_encode(&m, &bytes), 0);
    return bytes;
}

/* What a snapshot of node 2's at @index would say. */
static struct rlog_base snapshot_at(uint64_t index, uint64_t term, const struct mq_buf *change)
{
    return (struct rlog_base){
        .index = index,
        .term = term,
        .crc = 4711,
        .end_pos = 8192,
        .store_ms = 77,
        .change_index = 1,
        .change = change->base,
        .change_bytes = (uint32_t)change->len,
    };
}

static void on_load(void *data)
{
    struct world *w = data;

    assert_int_equal(commitlog_first_index(w->log.commitlog), commitlog_last_index(w->log.commitlog) + 1);
    w->loads++;
}

/* Node 2 leads in @term. */
static void follow(struct world *w, uint64_t term)
{
    struct core_message m = {.type = CORE_APPEND, .peer = 2, .term = term};

    m.append.prev_index = w->last;
    m.append.prev_term = w->last_term;
    assert_int_equal(driver_receive(&w->log.driver, &m, NULL, NULL), 0);
}

static int say_install(struct world *w, uint64_t term, uint64_t index)
{
    struct core_message m = {.type = CORE_INSTALL, .peer = 2, .term = term};

    m.install.base_index = index;
    m.install.base_term = 3;
    return driver_receive(&w->log.driver, &m, NULL, NULL);
}

static void a_snapshot_takes_the_place_of_a_log_that_is_too_old(void **state)
{
    struct commitlog_entry entries[ENTRIES_MAX];
    struct mq_buf change = membership_bytes(3);
    struct rlog_base base = snapshot_at(50, 3, &change);
    struct buffer *buffer;
    struct world w;

    (void)state;
    world_init(&w, 3);
    buffer = make_entries(&w, 3, 4, 100, entries);
    assert_int_equal(receive(&w, 3, 1, 1, 2, entries, 4, buffer), 0);
    follow(&w, 4);
    assert_int_equal(say_install(&w, 4, 40), 0);
    assert_int_equal(w.needs, 1);
    assert_int_equal(w.need_leader, 2);
    assert_int_equal(w.need_term, 4);
    assert_int_equal(w.need_index, 40);
    assert_int_equal(driver_install(&w.log.driver, 2, 4, &base, on_load, &w), 0);
    assert_int_equal(w.loads, 1);
    assert_int_equal(w.log.driver.applied, 50);
    assert_int_equal(w.log.driver.applied_pos, 8192);
    assert_int_equal(w.log.driver.commit, 50);
    assert_int_equal(commitlog_first_index(w.log.commitlog), 51);
    settle_disk(&w); /* nothing of the former log is reported */

    /* And new entries are acknowledged behind it. */
    w.last = 50;
    w.end_pos = 8192;
    w.crc = 4711;
    net_ref_release(&buffer->ref);
    buffer = make_entries(&w, 4, 2, 100, entries);
    w.n_applied = 0;
    assert_int_equal(receive(&w, 4, 50, 3, 52, entries, 2, buffer), 0);
    settle_disk(&w);
    assert_int_equal(last_sent(&w)->type, CORE_APPEND_RESULT);
    assert_int_equal(last_sent(&w)->append_result.rejected, 0);
    assert_int_equal(last_sent(&w)->append_result.last_index, 52);
    driver_continue(&w.log.driver);
    assert_int_equal(w.n_applied, 2);
    assert_int_equal(w.applied[1], 52);
    net_ref_release(&buffer->ref);
    mq_buf_free(&change);
    world_fini(&w);
}

static void a_snapshot_that_does_not_fit_the_moment_changes_nothing(void **state)
{
    struct mq_buf change = membership_bytes(3);
    struct rlog_base base = snapshot_at(50, 3, &change);
    struct core_message newer = {.type = CORE_APPEND, .peer = 3, .term = 6};
    struct world w;

    (void)state;
    world_init(&w, 3);
    newer.append.prev_index = newer.append.prev_term = 1;
    follow(&w, 4);
    assert_int_equal(say_install(&w, 4, 40), 0);
    base.term = 5; /* of a leader that we have not heard of */
    assert_int_equal(driver_install(&w.log.driver, 2, 4, &base, on_load, &w), MQ_EAGAIN);
    base.term = 3;
    base.change_bytes = 1;
    assert_int_equal(driver_install(&w.log.driver, 2, 4, &base, on_load, &w), MQ_EBADMSG);
    base.change_bytes = (uint32_t)change.len;
    assert_int_equal(driver_receive(&w.log.driver, &newer, NULL, NULL), 0); /* meanwhile another one leads */
    assert_int_equal(driver_install(&w.log.driver, 2, 4, &base, on_load, &w), MQ_EAGAIN);
    assert_int_equal(w.loads, 0);
    assert_int_equal(w.log.driver.applied, 1);
    assert_int_equal(commitlog_first_index(w.log.commitlog), 1);
    mq_buf_free(&change);
    world_fini(&w);
}

static void a_passive_node_waits_for_others_to_stand(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 3);
    driver_set_passive(&w.log.driver, true);
    for (unsigned i = 0; i < 20; i++) {
        wake(&w);
        assert_int_equal(w.n_sent, 0);
    }
    assert_true(driver_leaderless_ms(&w.log.driver) > 1000);
    driver_set_passive(&w.log.driver, false);
    wake(&w);
    assert_int_equal(last_sent(&w)->type, CORE_VOTE);
    world_fini(&w);
}

/* What a start knows without reading, it need not read for the core. */
static void an_entry_that_rotted_unnoticed_does_not_end_the_start(void **state)
{
    struct commitlog_entry entries[ENTRIES_MAX];
    struct buffer *buffer;
    char path[128];
    struct world w;
    FILE *file;

    (void)state;
    world_init(&w, 3);
    buffer = make_entries(&w, 3, 3, 100, entries);
    assert_int_equal(receive(&w, 3, 1, 1, 3, entries, 3, buffer), 0);
    settle_disk(&w);
    assert_int_equal(w.n_applied, 2);
    net_ref_release(&buffer->ref);
    driver_fini(&w.log.driver);
    (void)snprintf(path, sizeof(path), "%s/log/%020u", w.dir, 0u);
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)commitlog_pos_of(w.log.commitlog, 2) + 20, SEEK_SET), 0);
    assert_int_not_equal(fputc('!', file), EOF);
    fclose(file);
    assert_int_equal(driver_start(&w.log.driver), 0);
    assert_int_equal(core_last_index(w.log.driver.core), 4);
    world_fini(&w);
}

#define TERMS 1200u

/* Node 2 led in many terms, of each of which there is one entry. */
static void receive_terms(struct world *w)
{
    struct commitlog_entry *entries = calloc(TERMS, sizeof(entries[0]));
    struct buffer **buffers = calloc(TERMS, sizeof(struct buffer *));

    assert_non_null(entries);
    assert_non_null(buffers);
    for (uint32_t i = 0; i < TERMS; i++) {
        buffers[i] = make_entries(w, 3 + i, 1, 8, &entries[i]);
    }
    assert_int_equal(receive(w, 2 + TERMS, 1, 1, TERMS - 5, entries, TERMS, buffers[0]), 0);
    settle_disk(w);
    for (uint32_t i = 0; i < TERMS; i++) {
        net_ref_release(&buffers[i]->ref);
    }
    free(buffers);
    free(entries);
}

static void terms_that_a_snapshot_stands_for_are_forgotten_when_there_are_many(void **state)
{
    struct mq_buf change = membership_bytes(3);
    struct rlog_base base;
    struct world w;

    (void)state;
    world_init(&w, 3);
    receive_terms(&w);
    while (w.log.driver.applied < TERMS - 5) {
        driver_continue(&w.log.driver);
    }
    assert_int_equal(core_terms(w.log.driver.core), TERMS + 1);
    assert_int_equal(commitlog_before(w.log.commitlog, 1001, &base), 0);
    base.change_index = 1;
    base.change = change.base;
    base.change_bytes = (uint32_t)change.len;
    driver_forget_terms(&w.log.driver, &base);
    assert_int_equal(core_base_index(w.log.driver.core), 1000);
    assert_int_equal(core_terms(w.log.driver.core), TERMS + 1 - 1000);
    assert_int_equal(commitlog_first_index(w.log.commitlog), 1); /* and the log is what it was */
    assert_int_equal(commitlog_before(w.log.commitlog, 1101, &base), 0);
    base.change_index = 1;
    base.change = change.base;
    base.change_bytes = (uint32_t)change.len;
    driver_forget_terms(&w.log.driver, &base);
    assert_int_equal(core_base_index(w.log.driver.core), 1000); /* those that are left are few */
    mq_buf_free(&change);
    world_fini(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vote_is_durable_before_it_is_told),
        cmocka_unit_test(entries_are_acknowledged_and_applied_when_durable),
        cmocka_unit_test(a_membership_counts_as_applied_when_its_entry_is),
        cmocka_unit_test(damaged_entries_change_nothing),
        cmocka_unit_test(an_entry_that_is_here_with_other_bytes_is_not_built_upon),
        cmocka_unit_test(everything_behind_a_replaced_entry_is_checked),
        cmocka_unit_test(a_new_leaders_entries_replace_what_was_not_committed),
        cmocka_unit_test(applying_waits_for_an_entry_that_is_bad),
        cmocka_unit_test(a_long_catch_up_gives_the_loop_back),
        cmocka_unit_test(many_messages_in_one_turn_do_not_apply_more_than_one),
        cmocka_unit_test(a_leader_is_writable_after_its_own_barrier),
        cmocka_unit_test(lost_proposals_are_answered_before_the_role_is_told),
        cmocka_unit_test(positions_and_store_time_are_known_before_the_proposal),
        cmocka_unit_test(what_is_in_flight_is_bounded),
        cmocka_unit_test(a_trim_takes_nothing_that_is_not_applied),
        cmocka_unit_test(low_disks_take_what_the_reserve_gave_and_it_gives_little_at_a_time),
        cmocka_unit_test(room_is_told_when_the_others_make_it),
        cmocka_unit_test(a_leader_whose_disk_hangs_makes_way_for_another),
        cmocka_unit_test(a_snapshot_takes_the_place_of_a_log_that_is_too_old),
        cmocka_unit_test(a_snapshot_that_does_not_fit_the_moment_changes_nothing),
        cmocka_unit_test(a_passive_node_waits_for_others_to_stand),
        cmocka_unit_test(an_entry_that_rotted_unnoticed_does_not_end_the_start),
        cmocka_unit_test(terms_that_a_snapshot_stands_for_are_forgotten_when_there_are_many),
    };

    mq_log_set_level(MQ_LOG_WARN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
