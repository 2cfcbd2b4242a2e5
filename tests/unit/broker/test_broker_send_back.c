/* CONSUMER_SEND_MSG_BACK (36): what becomes of the message, and every refusal. */
#include "tests/unit/broker/rig.h"

#include "broker/flow/retention.h"
#include "broker/processor/propose.h"
#include "broker/processor/retry.h"
#include "broker/state/pending_table.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/message.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define SCHEDULE "SCHEDULE_TOPIC_XXXX"
#define COOL_BYTES (1u << 20)
#define BORN "1700000000000"

static struct rig rig;
static struct peer peer;
static struct answer answer, pulled;

static void open_with(const char *const *overrides)
{
    rig_open(&rig, overrides);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
}

static void close_all(void)
{
    answer_free(&answer);
    answer_free(&pulled);
    answer = pulled = (struct answer){0};
    peer_hang_up(&peer);
    rig_close(&rig);
}

static int setup(void **state)
{
    (void)state;
    open_with(NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_all();
    return 0;
}

/* Sends a message that failed @times times before. Returns the code; its place in @pos (when stored). */
static int32_t send_failed(const char *topic, const char *properties, const char *times, char pos[24])
{
    int32_t code =
        peer_ask(&peer, REQ_SEND_MESSAGE,
                 FIELDS({"producerGroup", "PG"}, {"topic", topic}, {"defaultTopic", "TBW102"},
                        {"defaultTopicQueueNums", "4"}, {"queueId", "1"}, {"sysFlag", "0"}, {"bornTimestamp", BORN},
                        {"flag", "7"}, {"properties", properties}, {"reconsumeTimes", times}),
                 MQ_STR("body"), &answer);
    struct proto_host host;
    int64_t at;

    if (code == RESP_SUCCESS) {
        assert_int_equal(proto_offset_msg_id_parse(mq_str_of(answer_field(&answer, "msgId")), &host, &at), 0);
        snprintf(pos, 24, "%lld", (long long)at);
    }
    return code;
}

static int32_t back(const char *pos, const char *group, const char *level)
{
    return peer_ask(&peer, REQ_CONSUMER_SEND_MSG_BACK,
                    FIELDS({"offset", pos}, {"group", group}, {"delayLevel", level}, {"originTopic", "Orders"}),
                    MQ_STR(""), &answer);
}

/* The last record of a queue. */
static struct proto_record last_of(const char *topic, int queue)
{
    char id[12], at[24];
    struct proto_record rec;

    snprintf(id, sizeof(id), "%d", queue);
    assert_int_equal(
        peer_ask(&peer, REQ_GET_MAX_OFFSET, FIELDS({"topic", topic}, {"queueId", id}), MQ_STR(""), &pulled), 0);
    assert_true(answer_number(&pulled, "offset") > 0);
    snprintf(at, sizeof(at), "%lld", (long long)answer_number(&pulled, "offset") - 1);
    assert_int_equal(rig_pull(&peer, topic, id, at, NULL, &pulled), RESP_SUCCESS);
    assert_int_equal(proto_record_decode(pulled.body.base, pulled.body.len, &rec), 0);
    return rec;
}

static void check_property(const struct proto_record *rec, const char *name, const char *want)
{
    struct mq_str got = proto_properties_get(rec->properties, mq_str_of(name));

    if (!mq_str_eq(got, mq_str_of(want))) {
        fail_msg("property %s is \"" MQ_STR_FMT "\", not \"%s\"", name, MQ_STR_ARG(got), want);
    }
}

static uint32_t waiting(void)
{
    return rig.ctx->state->pending.count;
}

static int64_t max_of(const char *topic, const char *queue)
{
    assert_int_equal(
        peer_ask(&peer, REQ_GET_MAX_OFFSET, FIELDS({"topic", topic}, {"queueId", queue}), MQ_STR(""), &pulled), 0);
    return answer_number(&pulled, "offset");
}

static void a_message_waits_for_its_next_attempt(void **state)
{
    static const char sent[] = "KEYS\001k\002TAGS\001red\002TIMER_DELIVER_MS\0011\002DELAY\0010\002mine\001yes\002";
    uint32_t before = waiting();
    struct proto_record rec;
    char pos[24], id[64], uniq[64], real[24];

    (void)state;
    assert_int_equal(send_failed("Orders", sent, "0", pos), RESP_SUCCESS);
    snprintf(id, sizeof(id), "%s", answer_field(&answer, "msgId"));
    snprintf(uniq, sizeof(uniq), "%s", answer_field(&answer, "transactionId"));
    assert_int_equal(back(pos, "CG", "0"), RESP_SUCCESS);
    assert_int_equal(waiting(), before + 1);

    rec = last_of(SCHEDULE, 2);
    assert_true(mq_str_eq(rec.body, MQ_STR("body")));
    assert_int_equal(rec.flag, 7);
    assert_int_equal(rec.born_ms, 1700000000000);
    assert_int_equal(rec.reconsume_times, 1);
    assert_int_equal(rec.store_host.port, broker_port(rig.broker));
    check_property(&rec, "RETRY_TOPIC", "Orders");
    check_property(&rec, "ORIGIN_MESSAGE_ID", id);
    check_property(&rec, "WAIT", "false");
    check_property(&rec, "DELAY", "3");
    check_property(&rec, "REAL_TOPIC", "%RETRY%CG");
    check_property(&rec, "REAL_QID", "0");
    check_property(&rec, "UNIQ_KEY", uniq);
    check_property(&rec, "KEYS", "k");
    check_property(&rec, "TAGS", "red");
    check_property(&rec, "mine", "yes");
    assert_null(proto_properties_get(rec.properties, MQ_STR("TIMER_DELIVER_MS")).at);

    /* Its copy fails, too: what it says of its origin stays. */
    snprintf(real, sizeof(real), "%lld", (long long)rec.pos);
    assert_int_equal(back(real, "CG", "0"), RESP_SUCCESS);
    rec = last_of(SCHEDULE, 3);
    assert_int_equal(rec.reconsume_times, 2);
    check_property(&rec, "RETRY_TOPIC", "Orders");
    check_property(&rec, "ORIGIN_MESSAGE_ID", id);
    check_property(&rec, "DELAY", "4");

    /* Asked twice, it comes twice, as with the original. */
    assert_int_equal(back(pos, "CG", "0"), RESP_SUCCESS);
    assert_int_equal(waiting(), before + 3);
}

static void the_level_grows_with_the_failures_or_is_what_the_consumer_wants(void **state)
{
    static const struct {
        const char *times, *level;
        int want;       /* level; 0: a dead letter */
        int reconsumed; /* of the copy */
    } cases[] = {
        {"0", "0", 3, 1},           {"1", "0", 4, 2},
        {"15", "0", 18, 16},        {"16", "0", 0, 17},
        {"17", "0", 0, 18},         {"0", "1", 1, 1},
        {"0", "18", 18, 1},         {"0", "19", 18, 1},
        {"0", "-1", 0, 1},          {"9", "-5", 0, 10},
        {"15", "2", 2, 16},         {"16", "2", 0, 17},
        {"-3", "0", 3, 1},          {"2147483647", "1", 0, 2147483647},
        {"0", "2147483647", 18, 1},
    };
    char pos[24];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct proto_record rec;
        char level[12];

        print_message("%s failures, level %s\n", cases[i].times, cases[i].level);
        assert_int_equal(send_failed("Orders", "", cases[i].times, pos), RESP_SUCCESS);
        assert_int_equal(back(pos, "Levels", cases[i].level), RESP_SUCCESS);
        rec = cases[i].want != 0 ? last_of(SCHEDULE, cases[i].want - 1) : last_of("%DLQ%Levels", 0);
        assert_int_equal(rec.reconsume_times, cases[i].reconsumed);
        snprintf(level, sizeof(level), "%d", cases[i].want);
        check_property(&rec, "DELAY", level);
        check_property(&rec, "RETRY_TOPIC", "Orders");
    }
}

static void a_dead_letter_is_readable_at_once(void **state)
{
    const struct topic *topic;
    struct proto_record rec;
    uint32_t before = waiting();
    char pos[24];

    (void)state;
    assert_null(topic_table_find(&rig.ctx->state->topics, MQ_STR("%DLQ%Dead")));
    assert_int_equal(send_failed("Orders", "TIMER_DELIVER_MS\0011\002", "3", pos), RESP_SUCCESS);
    assert_int_equal(
        peer_code(&peer, REQ_CONSUMER_SEND_MSG_BACK,
                  FIELDS({"offset", pos}, {"group", "Dead"}, {"delayLevel", "0"}, {"maxReconsumeTimes", "3"}),
                  MQ_STR("")),
        RESP_SUCCESS);
    topic = topic_table_find(&rig.ctx->state->topics, MQ_STR("%DLQ%Dead"));
    assert_non_null(topic);
    assert_int_equal(topic->perm, TOPIC_PERM_READ | TOPIC_PERM_WRITE);
    assert_int_equal(topic->read_queues, 1);
    assert_non_null(topic_table_find(&rig.ctx->state->topics, MQ_STR("%RETRY%Dead")));
    rec = last_of("%DLQ%Dead", 0);
    assert_int_equal(rec.reconsume_times, 4);
    check_property(&rec, "DELAY", "0");
    assert_null(proto_properties_get(rec.properties, MQ_STR("REAL_TOPIC")).at);
    assert_int_equal(waiting(), before);
}

static void put_group(const char *name, uint32_t queues, int32_t times)
{
    Raftmq__GroupPut put;

    group_defaults(&put, (char *)name);
    put.retry_queues = queues;
    put.retry_max_times = times;
    assert_int_equal(propose_item(rig.ctx, COMMAND_GROUP_PUT, &put.base, NULL), 0);
    rig_topic(&peer, "Sync", "1"); /* an entry behind it is applied */
}

static void the_group_says_how_often_and_into_how_many_queues(void **state)
{
    struct proto_record rec;
    char pos[24];

    (void)state;
    put_group("Numbers", 3, 1);
    assert_int_equal(send_failed("Orders", "", "0", pos), RESP_SUCCESS);
    for (int i = 0, seen = 0; i < 6; i++) {
        static const char *const ids[] = {"0", "1", "2"};
        struct mq_str id;

        assert_int_equal(back(pos, "Numbers", "5"), RESP_SUCCESS);
        rec = last_of(SCHEDULE, 4);
        id = proto_properties_get(rec.properties, MQ_STR("REAL_QID"));
        for (int q = 0; q < 3; q++) {
            seen |= mq_str_eq(id, mq_str_of(ids[q])) ? 1 << q : 0;
        }
        assert_true(i < 5 || seen == 7);
    }
    assert_int_equal(topic_table_find(&rig.ctx->state->topics, MQ_STR("%RETRY%Numbers"))->read_queues, 3);
    assert_int_equal(send_failed("Orders", "", "1", pos), RESP_SUCCESS);
    assert_int_equal(back(pos, "Numbers", "0"), RESP_SUCCESS);
    assert_int_equal(max_of("%DLQ%Numbers", "0"), 1);

    /* More queues than the topic has: those that nobody reads are left out. */
    put_group("Numbers", 9, 16);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(back(pos, "Numbers", "6"), RESP_SUCCESS);
        rec = last_of(SCHEDULE, 5);
        assert_true(proto_properties_get(rec.properties, MQ_STR("REAL_QID")).at[0] < '3');
    }
}

static void old_clients_do_not_say_how_often(void **state)
{
    (void)state;
    put_group("Versions", 2, 5);
    assert_int_equal(retry_limits_of(rig.ctx, MQ_STR("Versions"), 121, 3).max_times, 3);
    assert_int_equal(retry_limits_of(rig.ctx, MQ_STR("Versions"), 120, 3).max_times, 5);
    assert_int_equal(retry_limits_of(rig.ctx, MQ_STR("Versions"), 121, -1).max_times, -1);
    assert_int_equal(retry_limits_of(rig.ctx, MQ_STR("Versions"), 121, RETRY_TIMES_NOT_SENT).max_times, 5);
    assert_int_equal(retry_limits_of(rig.ctx, MQ_STR("Versions"), 121, RETRY_TIMES_NOT_SENT).queues, 2);
    assert_int_equal(retry_limits_of(rig.ctx, MQ_STR("nobody"), 121, RETRY_TIMES_NOT_SENT).max_times, 16);
}

static void a_group_without_retries_gives_its_messages_up(void **state)
{
    uint64_t before;
    char pos[24];

    (void)state;
    put_group("None", 0, 16);
    assert_int_equal(send_failed("Orders", "", "0", pos), RESP_SUCCESS);
    before = rig.ctx->store->messages;
    assert_int_equal(back(pos, "None", "0"), RESP_SUCCESS);
    assert_int_equal(back("-1", "None", "-1"), RESP_SUCCESS);
    assert_int_equal(rig.ctx->store->messages, before);
    assert_null(topic_table_find(&rig.ctx->state->topics, MQ_STR("%RETRY%None")));
}

static void a_retry_topic_that_follows_unit_mode_says_so(void **state)
{
    char pos[24];

    (void)state;
    assert_int_equal(send_failed("Orders", "", "0", pos), RESP_SUCCESS);
    assert_int_equal(peer_code(&peer, REQ_CONSUMER_SEND_MSG_BACK,
                               FIELDS({"offset", pos}, {"group", "Unit"}, {"delayLevel", "0"}, {"unitMode", "true"}),
                               MQ_STR("")),
                     RESP_SUCCESS);
    assert_int_equal(topic_table_find(&rig.ctx->state->topics, MQ_STR("%RETRY%Unit"))->sys_flag,
                     TOPIC_SYS_FLAG_UNIT_SUB);
}

static void what_is_refused_stores_nothing(void **state)
{
    char pos[24], inside[24], behind[24], name_121[122];
    int64_t at;
    const struct {
        const char *why, *offset, *group, *level;
        int32_t code;
        const char *remark; /* part of it */
    } cases[] = {
        {"no offset", NULL, "CG", "0", RESP_SYSTEM_ERROR, "offset"},
        {"no group", pos, NULL, "0", RESP_SYSTEM_ERROR, "group"},
        {"no level", pos, "CG", NULL, RESP_SYSTEM_ERROR, "delayLevel"},
        {"an offset that is no number", "twelve", "CG", "0", RESP_SYSTEM_ERROR, "\"twelve\""},
        {"an empty offset", "", "CG", "0", RESP_SYSTEM_ERROR, "offset"},
        {"an offset beyond 64 bits", "99999999999999999999", "CG", "0", RESP_SYSTEM_ERROR, "offset"},
        {"a level that is no number", pos, "CG", "1.5", RESP_SYSTEM_ERROR, "delayLevel"},
        {"a level beyond 32 bits", pos, "CG", "4294967296", RESP_SYSTEM_ERROR, "delayLevel"},
        {"an empty group", pos, "", "0", RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "\"\""},
        {"a group with a slash", pos, "../CG", "0", RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "../CG"},
        {"a group that is too long", pos, name_121, "0", RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "does not exist"},
        {"inside a record", inside, "CG", "0", RESP_SYSTEM_ERROR, "no message"},
        {"behind the log", behind, "CG", "0", RESP_SYSTEM_ERROR, "no message"},
        {"far behind the log", "9223372036854775807", "CG", "0", RESP_SYSTEM_ERROR, "no message"},
        {"in front of the log", "-1", "CG", "0", RESP_SYSTEM_ERROR, "no message"},
        {"the furthest in front", "-9223372036854775808", "Fresh", "-1", RESP_SYSTEM_ERROR, "no message"},
        {"a retry topic that may not be written to", pos, "ReadOnly", "0", RESP_NO_PERMISSION, "%RETRY%ReadOnly"},
        {"not even for a dead letter", pos, "ReadOnly", "-1", RESP_NO_PERMISSION, "%RETRY%ReadOnly"},
    };
    uint64_t before;

    (void)state;
    memset(name_121, 'g', sizeof(name_121) - 1);
    name_121[121] = '\0';
    assert_int_equal(peer_code(&peer, REQ_UPDATE_AND_CREATE_TOPIC,
                               FIELDS({"topic", "%RETRY%ReadOnly"}, {"defaultTopic", "TBW102"},
                                      {"readQueueNums", "1"}, {"writeQueueNums", "1"}, {"perm", "4"},
                                      {"topicFilterType", "SINGLE_TAG"}, {"order", "false"}),
                               MQ_STR("")),
                     RESP_SUCCESS);
    assert_int_equal(send_failed("Orders", "", "0", pos), RESP_SUCCESS);
    assert_int_equal(mq_str_to_i64(mq_str_of(pos), &at), 0);
    snprintf(inside, sizeof(inside), "%lld", (long long)at + 1);
    snprintf(behind, sizeof(behind), "%lld", (long long)at + 100000000);
    before = rig.ctx->store->messages;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct pair fields[4] = {{NULL, NULL}};
        size_t n = 0;

        print_message("%s\n", cases[i].why);
        if (cases[i].offset != NULL) {
            fields[n++] = (struct pair){"offset", cases[i].offset};
        }
        if (cases[i].group != NULL) {
            fields[n++] = (struct pair){"group", cases[i].group};
        }
        if (cases[i].level != NULL) {
            fields[n++] = (struct pair){"delayLevel", cases[i].level};
        }
        assert_int_equal(peer_ask(&peer, REQ_CONSUMER_SEND_MSG_BACK, fields, MQ_STR(""), &answer), cases[i].code);
        if (strstr(answer_remark(&answer), cases[i].remark) == NULL) {
            fail_msg("remark: %s", answer_remark(&answer));
        }
    }
    assert_int_equal(rig.ctx->store->messages, before);
    assert_null(topic_table_find(&rig.ctx->state->topics, MQ_STR("%RETRY%Fresh")));
    assert_int_equal(back(pos, "CG", "0"), RESP_SUCCESS);
}

/* The places where a message may not grow any more. */
static void a_message_whose_properties_are_full_is_not_copied(void **state)
{
    char *properties = mq_malloc(33000);
    char pos[24];
    uint64_t before;
    int n = snprintf(properties, 33000, "big\001");

    (void)state;
    memset(properties + n, 'x', 32590);
    memcpy(properties + n + 32590, "\002", 2);
    assert_int_equal(send_failed("Orders", properties, "0", pos), RESP_SUCCESS);
    before = rig.ctx->store->messages;
    assert_int_equal(back(pos, "CG", "0"), RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), "32767"));
    assert_non_null(strstr(answer_remark(&answer), "nothing was stored"));
    assert_int_equal(rig.ctx->store->messages, before);
    mq_free(properties);
}

static void the_broker_may_refuse_all_groups_and_all_sends(void **state)
{
    static const char *const no_groups[] = {"autoCreateSubscriptionGroup=false", NULL};
    static const char *const no_sends[] = {"brokerPermission=4", NULL};
    char pos[24];

    (void)state;
    open_with(no_groups);
    assert_int_equal(send_failed("Orders", "", "0", pos), RESP_SUCCESS);
    assert_int_equal(back(pos, "CG", "0"), RESP_SUBSCRIPTION_GROUP_NOT_EXIST);
    assert_int_equal(back(pos, "TOOLS_CONSUMER", "0"), RESP_SUCCESS);
    close_all();
    open_with(no_sends);
    assert_int_equal(send_failed("Orders", "", "0", pos), RESP_SUCCESS); /* stock producers look at the route */
    assert_int_equal(back(pos, "CG", "0"), RESP_NO_PERMISSION);
    assert_non_null(strstr(answer_remark(&answer), "brokerPermission is 4"));
    close_all();
}

static void a_retry_comes_when_its_time_has_come(void **state)
{
    static const char *const overrides[] = {"messageDelayLevel=1s", NULL};
    struct proto_record rec;
    char pos[24];

    (void)state;
    open_with(overrides);
    assert_int_equal(send_failed("Orders", "TAGS\001red\002", "9", pos), RESP_SUCCESS);
    assert_int_equal(back(pos, "CG", "0"), RESP_SUCCESS);
    assert_int_equal(max_of("%RETRY%CG", "0"), 0);
    rig_pull_start(&peer, "%RETRY%CG", "0", "0", NULL, "15000", &pulled);
    rig_wait_flag(&rig, &pulled.done);
    assert_int_equal(pulled.code, RESP_SUCCESS);
    assert_int_equal(proto_record_decode(pulled.body.base, pulled.body.len, &rec), 0);
    assert_true(mq_str_eq(rec.topic, MQ_STR("%RETRY%CG")));
    assert_int_equal(rec.reconsume_times, 10);
    check_property(&rec, "RETRY_TOPIC", "Orders");
    check_property(&rec, "DELAY", "1");
    assert_int_equal(waiting(), 0);
    close_all();
}

static bool is_swept(void *data)
{
    const struct rig *r = data;

    return r->ctx->state->log_start_pos != 0 &&
           broker_retention(r->broker)->swept_pos == r->ctx->state->log_start_pos;
}

static void a_message_that_retention_dropped_is_none(void **state)
{
    static const char *const overrides[] = {
        "mappedFileSizeCommitLog=1048576", "fileReservedTime=0",
        "deleteWhen=0;1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19;20;21;22;23", NULL};
    static char body[100001];
    uint64_t before;
    char pos[24];

    (void)state;
    memset(body, 'b', sizeof(body) - 1);
    open_with(overrides);
    assert_int_equal(send_failed("Orders", "", "0", pos), RESP_SUCCESS);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(rig_send(&peer, "Orders", "0", body, "", NULL), RESP_SUCCESS);
    }
    retention_tick(broker_retention(rig.broker));
    rig_wait(&rig, is_swept, &rig);
    before = rig.ctx->store->messages;
    assert_int_equal(back(pos, "CG", "0"), RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), "no longer"));
    assert_int_equal(rig.ctx->store->messages, before);
    close_all();
}

/* The log around @pos leaves the memory, first this process's map, then the kernel's cache. */
static void cool_down(uint64_t pos)
{
    char pattern[128];
    const uint8_t *at;
    struct net_ref *ref;
    glob_t found;

    assert_int_equal(rlog_view(rig.ctx->log, pos, PROTO_RECORD_MIN_BYTES, &at, &ref), 0);
    assert_int_equal(
        madvise((void *)((uintptr_t)(at - COOL_BYTES) & ~(uintptr_t)4095), 2 * COOL_BYTES, MADV_DONTNEED), 0);
    net_ref_release(ref);
    snprintf(pattern, sizeof(pattern), "%s/raftlog/log/*[0-9]", rig.dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        int fd = open(found.gl_pathv[i], O_RDONLY);

        assert_true(fd >= 0);
        assert_int_equal(fsync(fd), 0);
        assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
        close(fd);
    }
    globfree(&found);
}

/* The request of the test was taken: it waits for the disk, or is answered. */
static bool is_taken(void *data)
{
    return rig.ctx->backs_cold != 0 || ((const struct answer *)data)->done;
}

static bool has_both_copies(void *data)
{
    (void)data;
    return max_of(SCHEDULE, "2") == 1 && max_of(SCHEDULE, "3") == 1;
}

static void a_message_on_the_disk_is_read_before_it_is_copied(void **state)
{
    static char body[(4 << 20) + 1];
    struct answer second = {0};
    struct peer other;
    char pos[24];
    int64_t at;

    (void)state;
    memset(body, 'b', sizeof(body) - 1);
    open_with(NULL);
    assert_int_equal(rig_send(&peer, "Orders", "0", body, "", NULL), RESP_SUCCESS);
    assert_int_equal(send_failed("Orders", "", "0", pos), RESP_SUCCESS);
    assert_int_equal(mq_str_to_i64(mq_str_of(pos), &at), 0);
    for (int i = 0; i < 20; i++) { /* what lies within 64 MiB of the end counts as in memory */
        assert_int_equal(rig_send(&peer, "Orders", "0", body, "", NULL), RESP_SUCCESS);
    }
    peer_dial(&rig, &other, PROTO_BINARY);
    cool_down((uint64_t)at);
    print_message("%s\n", rlog_is_cold(rig.ctx->log, (uint64_t)at, 91) ? "from the disk" : "from memory: not tested");

    /* A second one asks and goes away; its copy is made all the same. */
    peer_start(&other, REQ_CONSUMER_SEND_MSG_BACK, FIELDS({"offset", pos}, {"group", "CG"}, {"delayLevel", "4"}),
               MQ_STR(""), &second);
    rig_wait(&rig, is_taken, &second);
    peer_hang_up(&other);
    assert_int_equal(back(pos, "CG", "3"), RESP_SUCCESS); /* perhaps before the copy of who has gone */
    rig_wait(&rig, has_both_copies, NULL);
    answer_free(&second);
    close_all();
}

static void what_is_sent_back_counts_for_the_quota(void **state)
{
    static const char *const limits[] = {"raftmqGroupMessagesPerSecond=2", NULL};
    struct answer got = {0};
    struct rig other;
    struct peer from;
    int32_t code = RESP_SYSTEM_ERROR;

    (void)state;
    rig_open(&other, limits);
    peer_dial(&other, &from, PROTO_JSON);
    for (int i = 0; i < 100 && code != RESP_SYSTEM_BUSY; i++) {
        code = peer_ask(&from, REQ_CONSUMER_SEND_MSG_BACK,
                        FIELDS({"offset", "77"}, {"group", "CG"}, {"delayLevel", "0"}, {"originMsgId", ""},
                               {"originTopic", "T"}, {"unitMode", "false"}),
                        MQ_STR(""), &got);
    }
    assert_int_equal(code, RESP_SYSTEM_BUSY);
    assert_non_null(strstr(answer_remark(&got), "[QUOTA]"));
    assert_non_null(strstr(answer_remark(&got), "2 messages a second"));
    answer_free(&got);
    peer_hang_up(&from);
    rig_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_waits_for_its_next_attempt),
        cmocka_unit_test(the_level_grows_with_the_failures_or_is_what_the_consumer_wants),
        cmocka_unit_test(a_dead_letter_is_readable_at_once),
        cmocka_unit_test(the_group_says_how_often_and_into_how_many_queues),
        cmocka_unit_test(old_clients_do_not_say_how_often),
        cmocka_unit_test(a_group_without_retries_gives_its_messages_up),
        cmocka_unit_test(a_retry_topic_that_follows_unit_mode_says_so),
        cmocka_unit_test(what_is_refused_stores_nothing),
        cmocka_unit_test(a_message_whose_properties_are_full_is_not_copied),
    };
    const struct CMUnitTest own[] = {
        cmocka_unit_test(the_broker_may_refuse_all_groups_and_all_sends),
        cmocka_unit_test(a_retry_comes_when_its_time_has_come),
        cmocka_unit_test(a_message_that_retention_dropped_is_none),
        cmocka_unit_test(what_is_sent_back_counts_for_the_quota),
        cmocka_unit_test(a_message_on_the_disk_is_read_before_it_is_copied),
    };
    int failed = cmocka_run_group_tests(tests, setup, teardown);

    return failed + cmocka_run_group_tests(own, NULL, NULL);
}
