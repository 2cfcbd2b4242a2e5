#include "broker/state/fsm.h"

#include "broker/state/command.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "tests/unit/broker/fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A payload in the making. */
struct payload {
    uint8_t bytes[8192];
    uint32_t n, records, items;
};

static void put_item(struct payload *p, enum command_type type, const ProtobufCMessage *message)
{
    MQ_ASSERT(p->n + command_bytes(message) <= sizeof(p->bytes));
    command_encode(type, message, p->bytes + p->n);
    p->n += command_bytes(message);
    p->items++;
}

static void put_record(struct payload *p, const struct fixture *f, const struct fixture_message *m)
{
    uint8_t *at = p->bytes + p->n;
    uint32_t bytes = fixture_record(m, at);

    fixture_set_pos(at, rlog_place(f->log, 0) + p->n);
    p->n += bytes;
    p->records++;
}

static void put_topic(struct payload *p, const char *name, uint32_t queues)
{
    Raftmq__TopicPut put = RAFTMQ__TOPIC_PUT__INIT;
    Raftmq__TopicConfigItem config = RAFTMQ__TOPIC_CONFIG_ITEM__INIT;

    config.name = (char *)name;
    config.read_queues = config.write_queues = queues;
    put.config = &config;
    put_item(p, COMMAND_TOPIC_PUT, &put.base);
}

static void put_group(struct payload *p, const char *name)
{
    Raftmq__GroupPut put;

    group_defaults(&put, (char *)name);
    put_item(p, COMMAND_GROUP_PUT, &put.base);
}

static void put_offset(struct payload *p, const char *group, int32_t queue_id, int64_t offset)
{
    Raftmq__OffsetCommit commit = RAFTMQ__OFFSET_COMMIT__INIT;

    commit.group = (char *)group;
    commit.topic = (char *)"Orders";
    commit.queue_id = queue_id;
    commit.offset = offset;
    put_item(p, COMMAND_OFFSET_COMMIT, &commit.base);
}

static void put_lock(struct payload *p, const char *client, bool release)
{
    Raftmq__LockedQueue queue = RAFTMQ__LOCKED_QUEUE__INIT;
    Raftmq__LockedQueue *queues[] = {&queue};
    Raftmq__LockGrant grant = RAFTMQ__LOCK_GRANT__INIT;
    Raftmq__LockRelease end = RAFTMQ__LOCK_RELEASE__INIT;

    queue.topic = (char *)"Orders";
    queue.broker_name = (char *)"a";
    grant.group = end.group = (char *)"G";
    grant.client_id = end.client_id = (char *)client;
    grant.queues = end.queues = queues;
    grant.n_queues = end.n_queues = 1;
    put_item(p, release ? COMMAND_LOCK_RELEASE : COMMAND_LOCK_GRANT, release ? &end.base : &grant.base);
}

static void append(struct fixture *f, const struct payload *p, int64_t store_ms)
{
    fake_log_append(f->log, p->bytes, p->n, p->records, p->items, store_ms);
}

static int news_topics, news_groups;

static void on_topic(void *data, struct topic *topic)
{
    (void)data;
    assert_non_null(topic);
    assert_false(topic->pending);
    news_topics++;
}

static void on_group(void *data, struct group *group)
{
    (void)data;
    assert_non_null(group);
    news_groups++;
}

static void an_entry_is_applied_block_by_block(void **state)
{
    struct fixture f;
    struct payload p = {0};

    (void)state;
    fixture_open(&f, 1 << 20);
    f.state.news = (struct state_news){NULL, on_topic, on_group};
    news_topics = news_groups = 0;
    put_topic(&p, "Orders", 8);
    put_record(&p, &f, &(struct fixture_message){.queue_id = 5, .qoff = 0});
    put_group(&p, "G");
    put_offset(&p, "G", 5, 40);
    put_offset(&p, "G", 5, 1);
    put_record(&p, &f, &(struct fixture_message){.queue_id = 5, .qoff = 1});
    put_lock(&p, "client-1", false);
    append(&f, &p, 12345);

    assert_int_equal(f.state.applied_index, 1);
    assert_int_equal(f.state.records_applied, 2);
    assert_int_equal(f.state.items_applied, 5);
    assert_int_equal(topic_table_find(&f.state.topics, MQ_STR("Orders"))->read_queues, 8);
    assert_int_equal(f.state.topics.changed_ms, 12345);
    assert_non_null(group_table_find(&f.state.groups, MQ_STR("G")));
    assert_int_equal(f.state.groups.changed_ms, 12345);
    assert_int_equal(offset_table_get(&f.state.offsets, MQ_STR("G"), MQ_STR("Orders"), 5), 1);
    assert_int_equal(fixture_queue(&f, 5)->cq.max, 2);
    assert_int_equal(f.state.locks.count, 1);
    assert_int_equal(news_topics, 1);
    assert_int_equal(news_groups, 1);

    p = (struct payload){0};
    put_lock(&p, "client-2", true);
    append(&f, &p, 12346);
    assert_int_equal(f.state.locks.count, 1);
    p = (struct payload){0};
    put_lock(&p, "client-1", true);
    append(&f, &p, 12347);
    assert_int_equal(f.state.locks.count, 0);
    fixture_close(&f);
}

static void records_of_several_topics_find_their_own_queues(void **state)
{
    static const char *const names[] = {"a", "b", "a", "ab", "a", "b"};
    struct fixture f;
    struct payload p = {0};
    struct queue *queue;

    (void)state;
    fixture_open(&f, 1 << 20);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        static const uint64_t qoffs[] = {0, 0, 1, 0, 2, 1};

        put_record(&p, &f, &(struct fixture_message){.topic = mq_str_of(names[i]), .qoff = qoffs[i]});
    }
    append(&f, &p, 1);
    queue = topic_queues_find(queue_table_topic(&f.store.queues, MQ_STR("a")), 0);
    assert_int_equal(queue->cq.max, 3);
    fixture_close(&f);
}

static void names_longer_than_any_client_may_use_change_nothing(void **state)
{
    struct fixture f;
    struct payload p = {0};
    char name[1200];

    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    fixture_open(&f, 1 << 20);
    put_offset(&p, name, 0, 5);
    append(&f, &p, 1);
    assert_int_equal(f.state.offsets.commits, 0);
    assert_int_equal(f.state.applied_index, 1);
    fixture_close(&f);
}

/* Applies the same content to two members, in a different order where that makes no difference. */
static void the_state_hash_is_equal_where_the_state_is(void **state)
{
    struct fixture one, two;
    struct payload p = {0};
    uint64_t hash;

    (void)state;
    fixture_open(&one, 1 << 20);
    fixture_open(&two, 1 << 20);
    assert_int_equal(state_hash(&one.state), state_hash(&two.state));
    put_record(&p, &one, &(struct fixture_message){.queue_id = 2});
    put_offset(&p, "A", 0, 5);
    put_offset(&p, "B", 0, 6);
    put_lock(&p, "c", false);
    append(&one, &p, 1);
    p = (struct payload){0};
    put_record(&p, &two, &(struct fixture_message){.queue_id = 2});
    put_lock(&p, "c", false);
    put_offset(&p, "B", 0, 6);
    put_offset(&p, "A", 0, 5);
    append(&two, &p, 1);
    fixture_queue(&two, 9); /* made by a request, empty */
    hash = state_hash(&one.state);
    assert_int_equal(hash, state_hash(&two.state));
    queue_table_changing(&two.store.queues, fixture_queue(&two, 2));
    fixture_queue(&two, 2)->cq.max++;
    assert_int_not_equal(hash, state_hash(&two.state));
    queue_table_changing(&two.store.queues, fixture_queue(&two, 2));
    fixture_queue(&two, 2)->cq.max--;
    two.state
        .applied_index++; /* a start from a snapshot of a barrier is as far as one that applied what lies before */
    assert_int_equal(hash, state_hash(&two.state));
    fixture_close(&one);
    fixture_close(&two);
}

/* How applying @p ends a process; its stderr goes to @log. */
static int end_of(struct fixture *f, const struct payload *p, const char *log)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (freopen(log, "w", stderr) != NULL) {
            append(f, p, 1);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* Whether applying @p ends the process by SIGABRT. */
static bool stops(struct fixture *f, const struct payload *p)
{
    int status = end_of(f, p, "/dev/null");

    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* A disk that is full is no fault of the entry: the next start applies it. */
static void a_queue_that_cannot_grow_ends_the_process_with_its_path(void **state)
{
    struct payload p = {0};
    struct mq_buf said = {0};
    char blocker[256], log[256];
    struct fixture f;
    FILE *file;
    int status;

    (void)state;
    fixture_open(&f, 1 << 20);
    put_record(&p, &f, &(struct fixture_message){.queue_id = 1});
    snprintf(log, sizeof(log), "%s/stderr", f.dir);
    snprintf(blocker, sizeof(blocker), "%s/Orders", f.store.queue_dir);
    (void)mkdir(f.store.queue_dir, 0755);
    file = fopen(blocker, "w"); /* where the topic's directory is to be */
    assert_non_null(file);
    fclose(file);
    status = end_of(&f, &p, log);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_int_equal(mq_file_read(log, 4096, &said), 0);
    assert_int_equal(mq_buf_put_u8(&said, 0), 0);
    assert_non_null(strstr((const char *)said.base, f.store.queue_dir));
    assert_non_null(strstr((const char *)said.base, mq_strerror(-ENOTDIR)));
    assert_int_equal(unlink(blocker), 0);
    assert_false(stops(&f, &p));
    append(&f, &p, 1);
    mq_buf_free(&said);
    fixture_close(&f);
}

/* This member's copy went bad behind its back: it ends as it does for a disk that fails, and says where to look. */
static void damaged_bytes_end_the_process_with_their_file_and_command(void **state)
{
    struct payload good = {0};
    struct mq_buf said = {0};
    char log[256];
    struct fixture f;
    struct rlog_entry entry;
    int status;
    pid_t pid;

    (void)state;
    fixture_open(&f, 1 << 20);
    put_group(&good, "G");
    snprintf(log, sizeof(log), "%s/stderr", f.dir);
    entry = (struct rlog_entry){.index = 1,
                                .term = 1,
                                .pos = 5000,
                                .payload = good.bytes,
                                .payload_bytes = good.n,
                                .payload_crc = mq_crc32c(0, good.bytes, good.n),
                                .items = 1};
    good.bytes[COMMAND_HEAD_BYTES] = 0xFF; /* no field begins so */
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (freopen(log, "w", stderr) != NULL) {
            state_apply(&f.state, &entry);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_int_equal(mq_file_read(log, 4096, &said), 0);
    assert_int_equal(mq_buf_put_u8(&said, 0), 0);
    assert_non_null(strstr((const char *)said.base, "/fake/00000000000000004096"));
    assert_non_null(strstr((const char *)said.base, "item of type 2"));
    assert_non_null(strstr((const char *)said.base, "5000"));
    mq_buf_free(&said);
    fixture_close(&f);
}

static void what_cannot_be_stops_the_member(void **state)
{
    struct fixture f;
    struct payload good = {0}, p;

    (void)state;
    fixture_open(&f, 1 << 20);
    put_record(&good, &f, &(struct fixture_message){.queue_id = 1});
    put_group(&good, "G");
    assert_false(stops(&f, &good));

    p = good; /* a hole in the queue */
    mq_be64_store(p.bytes + PROTO_RECORD_QOFF_AT, 1);
    assert_true(stops(&f, &p));
    p = good; /* another position */
    fixture_set_pos(p.bytes, 5);
    assert_true(stops(&f, &p));
    p = good; /* a record that does not decode */
    p.bytes[PROTO_RECORD_SYS_FLAG_AT + 3] ^= PROTO_SYS_BORNHOST_V6;
    assert_true(stops(&f, &p));
    p = good; /* neither record nor item */
    p.bytes[PROTO_RECORD_MAGIC_AT] = 0;
    assert_true(stops(&f, &p));
    p = good; /* a type of a later version */
    p.bytes[mq_be32_load(p.bytes) + 9] = 77;
    assert_true(stops(&f, &p));
    p.bytes[mq_be32_load(p.bytes) + 9] = 0;
    assert_true(stops(&f, &p));
    p = good; /* a type that is known, in a later form */
    p.bytes[mq_be32_load(p.bytes) + 11] = 1;
    assert_true(stops(&f, &p));
    p = good; /* an item of another type than its bytes */
    p.bytes[mq_be32_load(p.bytes) + 9] = COMMAND_TOPIC_PUT;
    assert_true(stops(&f, &p));
    p = good; /* a count too many */
    p.records++;
    assert_true(stops(&f, &p));
    p = good;
    p.items--;
    assert_true(stops(&f, &p));
    p = good; /* bytes that are left over */
    p.n += 3;
    assert_true(stops(&f, &p));
    append(&f, &good, 1);
    f.log->index = 0; /* the same entry again */
    assert_true(stops(&f, &good));
    fixture_close(&f);
}

/* Adds an item whose protobuf is @body. */
static void put_raw_item(struct payload *p, enum command_type type, const uint8_t *body, uint32_t n)
{
    uint8_t *at = p->bytes + p->n;

    mq_be32_store(at, COMMAND_HEAD_BYTES + n);
    mq_be32_store(at + 4, COMMAND_MAGIC);
    mq_be16_store(at + 8, (uint16_t)type);
    mq_be16_store(at + 10, 0);
    memcpy(at + COMMAND_HEAD_BYTES, body, n);
    p->n += COMMAND_HEAD_BYTES + n;
    p->items++;
}

static void a_field_of_a_later_version_stops_the_member(void **state)
{
    static const struct {
        const char *why;
        enum command_type type;
        bool want;
        uint8_t body[16];
        uint32_t n;
    } cases[] = {
        {"known fields only", COMMAND_GROUP_PUT, false, {0x0A, 1, 'g'}, 3},
        {"field 99 of a group", COMMAND_GROUP_PUT, true, {0x0A, 1, 'g', 0x98, 6, 1}, 6},
        {"known fields of a topic", COMMAND_TOPIC_PUT, false, {0x0A, 3, 0x0A, 1, 't'}, 5},
        {"field 99 inside a topic", COMMAND_TOPIC_PUT, true, {0x0A, 6, 0x0A, 1, 't', 0x98, 6, 1}, 8},
        {"field 99 of an attribute", COMMAND_TOPIC_PUT, true, {0x0A, 8, 0x0A, 1, 't', 0x42, 3, 0x98, 6, 1}, 10},
        {"a topic without a configuration", COMMAND_TOPIC_PUT, true, {0}, 0},
        {"bytes that are no protobuf", COMMAND_OFFSET_COMMIT, true, {0xFF, 0xFF}, 2},
    };
    struct fixture f;

    (void)state;
    fixture_open(&f, 1 << 20);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct payload p = {0};

        print_message("%s\n", cases[i].why);
        put_raw_item(&p, cases[i].type, cases[i].body, cases[i].n);
        assert_int_equal(stops(&f, &p), cases[i].want);
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_applied_block_by_block),
        cmocka_unit_test(records_of_several_topics_find_their_own_queues),
        cmocka_unit_test(names_longer_than_any_client_may_use_change_nothing),
        cmocka_unit_test(the_state_hash_is_equal_where_the_state_is),
        cmocka_unit_test(a_queue_that_cannot_grow_ends_the_process_with_its_path),
        cmocka_unit_test(damaged_bytes_end_the_process_with_their_file_and_command),
        cmocka_unit_test(what_cannot_be_stops_the_member),
        cmocka_unit_test(a_field_of_a_later_version_stops_the_member),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
