/* Delay levels, timers and recall at a one-member broker: what waits, when it comes, that it comes once. */
#include "tests/unit/broker/rig.h"

#include "broker/flow/flows.h"
#include "broker/state/bundle.h"
#include "broker/state/ensure.h"
#include "remoting/base/clock.h"
#include "remoting/protocol/message.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/recall_handle.h"

#include <inttypes.h>
#include <stdio.h>

/* Level 1 is due at once, level 2 never in a test. */
static const char *const levels[] = {"messageDelayLevel=0s 1h", NULL};

static struct rig rig;
static struct peer peer;
static struct answer answer, pulled;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, levels);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
    answer_free(&pulled);
    return 0;
}

static struct queue *queue_of(const char *topic, int32_t id)
{
    struct queue *queue;

    assert_int_equal(topic_queues_get(&rig.ctx->store->queues,
                                      queue_table_topic(&rig.ctx->store->queues, mq_str_of(topic)), id, &queue),
                     0);
    return queue;
}

struct wanted {
    const char *topic;
    int32_t queue;
    uint64_t end;
};

static bool has_come(void *data)
{
    const struct wanted *wanted = data;

    return queue_of(wanted->topic, wanted->queue)->cq.max >= wanted->end;
}

static void wait_for(const char *topic, int32_t queue, uint64_t end)
{
    rig_wait(&rig, has_come, &(struct wanted){topic, queue, end});
}

static bool waits_none(void *data)
{
    (void)data;
    return rig.ctx->state->pending.count == 0;
}

static const struct pending *flow(void)
{
    return &rig.ctx->flows->pending;
}

static const struct pending_row *first_row(void)
{
    int64_t at_ms;

    return pending_table_first(&rig.ctx->state->pending, &at_ms);
}

/* The record with @qoff in the queue. */
static struct proto_record record_at(const char *topic, const char *queue, const char *qoff)
{
    struct proto_record rec;

    assert_int_equal(rig_pull(&peer, topic, queue, qoff, NULL, &pulled), RESP_SUCCESS);
    assert_int_equal(proto_record_decode(pulled.body.base, pulled.body.len, &rec), 0);
    return rec;
}

static int64_t number_in(struct mq_str properties, struct mq_str name)
{
    int64_t value;

    assert_int_equal(mq_str_to_i64(proto_properties_get(properties, name), &value), 0);
    return value;
}

static bool has(struct mq_str properties, struct mq_str name, const char *value)
{
    return mq_str_eq(proto_properties_get(properties, name), mq_str_of(value));
}

/* The stored record that the last answer's msgId names. */
static struct proto_record stored(void)
{
    static struct reader_view view;
    struct proto_record rec;
    struct proto_host host;
    int64_t pos;

    assert_int_equal(proto_offset_msg_id_parse(mq_str_of(answer_field(&answer, "msgId")), &host, &pos), 0);
    assert_int_equal(store_record_at(rig.ctx->store, (uint64_t)pos, &view), 0);
    assert_int_equal(proto_record_decode(view.at, view.bytes, &rec), 0);
    net_ref_release(view.ref);
    return rec;
}

static void a_message_of_a_level_waits_in_the_queue_of_its_level(void **state)
{
    const struct pending_row *row;
    struct consume_unit unit;
    struct proto_record rec;
    int64_t before_ms = mq_clock_wall_ms();

    (void)state;
    assert_int_equal(
        rig_send(&peer, "Orders", "3", "later", "DELAY\0019\002TIMER_DELAY_SEC\0015\002TAGS\001t\002", &answer),
        RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "queueId"), 3);
    assert_int_equal(answer_number(&answer, "queueOffset"), 0);
    assert_null(answer_field(&answer, "recallHandle"));
    assert_int_equal(rig.ctx->state->pending.count, 1);
    row = first_row();
    assert_true(row->due_ms >= before_ms + 3600000 && row->due_ms <= mq_clock_wall_ms() + 3600000);
    rec = stored();
    assert_true(mq_str_eq(rec.topic, MQ_STR("SCHEDULE_TOPIC_XXXX")));
    assert_int_equal(rec.queue_id, 1);
    assert_int_equal(rec.pos, row->pos);
    assert_true(has(rec.properties, PROTO_PROP_DELAY, "2")); /* there is no level 9 */
    assert_true(has(rec.properties, PROTO_PROP_REAL_TOPIC, "Orders"));
    assert_true(has(rec.properties, PROTO_PROP_REAL_QUEUE_ID, "3"));
    assert_null(proto_properties_get(rec.properties, PROTO_PROP_TIMER_DELAY_SEC).at);
    consume_queue_get(&queue_of("SCHEDULE_TOPIC_XXXX", 1)->cq, 0, &unit);
    assert_int_equal(unit.tags_code, row->due_ms);
    assert_int_equal(queue_of("Orders", 3)->cq.max, 0);
}

static void a_message_of_a_level_comes_as_it_was_sent(void **state)
{
    struct proto_record was, rec;

    (void)state;
    assert_int_equal(rig_send(&peer, "Orders", "1", "now", "DELAY\0011\002TAGS\001t\002KEYS\001k\002", &answer),
                     RESP_SUCCESS);
    was = stored();
    wait_for("Orders", 1, 1);
    rig_wait(&rig, waits_none, NULL);
    rec = record_at("Orders", "1", "0");
    assert_true(mq_str_eq(rec.body, MQ_STR("now")));
    assert_true(mq_str_eq(rec.properties, was.properties)); /* DELAY and REAL_* as well */
    assert_int_equal(rec.born_ms, was.born_ms);
    assert_int_equal(rec.born_host.port, was.born_host.port);
    assert_int_equal(rec.store_host.port, was.store_host.port);
    assert_int_equal(rec.prepared_pos, 0);
    assert_true(rec.store_ms >= was.prepared_pos);
    assert_int_equal(rig_pull(&peer, "Orders", "1", "0", "t", &pulled), RESP_SUCCESS); /* its tag finds it */
    assert_int_equal(flow()->stats.delivered, 1);
}

static void a_timer_comes_never_before_its_time_and_tells_when_it_was_looked_at(void **state)
{
    char properties[64];
    int64_t due_ms = mq_clock_wall_ms() + 30;
    struct proto_record rec;

    (void)state;
    snprintf(properties, sizeof(properties), "TIMER_DELIVER_MS%c%" PRId64 "%c", 1, due_ms, 2);
    assert_int_equal(rig_send(&peer, "Orders", "2", "at last", properties, &answer), RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "queueId"), 2);
    assert_non_null(answer_field(&answer, "recallHandle"));
    wait_for("Orders", 2, 1);
    assert_true(mq_clock_wall_ms() >= due_ms);
    rec = record_at("Orders", "2", "0");
    assert_true(rec.store_ms >= due_ms);
    assert_int_equal(number_in(rec.properties, PROTO_PROP_TIMER_DELIVER_MS), due_ms);
    assert_int_equal(number_in(rec.properties, PROTO_PROP_TIMER_OUT_MS),
                     due_ms % 1000 == 0 ? due_ms - 1000 : due_ms - due_ms % 1000);
    assert_true(number_in(rec.properties, PROTO_PROP_TIMER_DEQUEUE_MS) >= due_ms);
    assert_true(number_in(rec.properties, PROTO_PROP_TIMER_ENQUEUE_MS) <= due_ms);
    assert_true(has(rec.properties, PROTO_PROP_REAL_TOPIC, "Orders"));
}

static void a_time_that_has_come_is_no_reason_to_wait(void **state)
{
    (void)state;
    assert_int_equal(rig_send(&peer, "Orders", "0", "b", "TIMER_DELIVER_MS\0011\002", &answer), RESP_SUCCESS);
    assert_null(answer_field(&answer, "recallHandle"));
    assert_int_equal(queue_of("Orders", 0)->cq.max, 1);
    assert_int_equal(rig.ctx->state->pending.count, 0);
}

static void those_of_one_time_come_in_the_order_they_were_sent(void **state)
{
    enum { MESSAGES = 300 };
    static struct answer answers[MESSAGES];
    char body[16], properties[64], qoff[16];

    (void)state;
    snprintf(properties, sizeof(properties), "TIMER_DELIVER_MS%c%" PRId64 "%c", 1, mq_clock_wall_ms() + 100, 2);
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(body, sizeof(body), "%d", i);
        peer_start(&peer, REQ_SEND_MESSAGE_V2,
                   FIELDS({"a", "PG"}, {"b", "Orders"}, {"c", "TBW102"}, {"d", "4"}, {"e", "0"}, {"f", "0"},
                          {"g", "1"}, {"h", "0"}, {"i", properties}),
                   mq_str_of(body), &answers[i]);
    }
    wait_for("Orders", 0, MESSAGES);
    rig_wait(&rig, waits_none, NULL);
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(body, sizeof(body), "%d", i);
        snprintf(qoff, sizeof(qoff), "%d", i);
        assert_true(mq_str_eq(record_at("Orders", "0", qoff).body, mq_str_of(body)));
        rig_wait_flag(&rig, &answers[i].done);
        answer_free(&answers[i]);
    }
    assert_int_equal(queue_of("Orders", 0)->cq.max, MESSAGES);
}

static void what_waits_survives_a_restart_and_comes_once(void **state)
{
    char properties[64];

    (void)state;
    snprintf(properties, sizeof(properties), "TIMER_DELIVER_MS%c%" PRId64 "%c", 1, mq_clock_wall_ms() + 200, 2);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(rig_send(&peer, "Orders", "0", "b", properties, &answer), RESP_SUCCESS);
        assert_int_equal(rig_send(&peer, "Orders", "1", "b", "DELAY\0012\002", &answer), RESP_SUCCESS);
        assert_int_equal(rig_send(&peer, "Orders", "2", "b", "DELAY\0011\002", &answer), RESP_SUCCESS);
    }
    peer_hang_up(&peer);
    rig_reopen(&rig, levels);
    peer_dial(&rig, &peer, PROTO_JSON);
    wait_for("Orders", 0, 20);
    wait_for("Orders", 2, 20);
    assert_int_equal(rig.ctx->state->pending.count, 20);
    assert_int_equal(state_hash(rig.ctx->state), state_recount(rig.ctx->state));
    peer_hang_up(&peer);
    rig_reopen(&rig, levels);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_send(&peer, "Orders", "3", "b", "", &answer), RESP_SUCCESS);
    assert_int_equal(queue_of("Orders", 0)->cq.max, 20);
    assert_int_equal(queue_of("Orders", 2)->cq.max, 20);
}

static int32_t recall(const char *topic, const char *handle)
{
    return peer_ask(&peer, REQ_RECALL_MESSAGE,
                    FIELDS({"producerGroup", "PG"}, {"topic", topic}, {"recallHandle", handle}), MQ_STR(""), &answer);
}

static void a_recalled_message_does_not_come(void **state)
{
    char handle[PROTO_RECALL_HANDLE_MAX], properties[96];

    (void)state;
    /* Twice with one key, as a producer that sends again does; another message; another one of the same key. */
    snprintf(properties, sizeof(properties), "UNIQ_KEY%cU1%cTIMER_DELIVER_MS%c%" PRId64 "%c", 1, 2, 1,
             mq_clock_wall_ms() + 3600000, 2);
    assert_int_equal(rig_send(&peer, "Orders", "0", "b", properties, NULL), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Orders", "1", "b", properties, &answer), RESP_SUCCESS);
    snprintf(handle, sizeof(handle), "%s", answer_field(&answer, "recallHandle"));
    assert_int_equal(rig_send(&peer, "Orders", "0", "b", "TIMER_DELAY_SEC\0013600\002UNIQ_KEY\001U2\002", NULL),
                     RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Orders", "0", "b", "DELAY\0012\002UNIQ_KEY\001U1\002", NULL), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Orders", "0", "b", "TIMER_DELAY_SEC\0017200\002UNIQ_KEY\001U1\002", NULL),
                     RESP_SUCCESS);
    assert_int_equal(rig.ctx->state->pending.count, 5);
    assert_int_equal(recall("Orders", handle), RESP_SUCCESS);
    assert_string_equal(answer_field(&answer, "msgId"), "U1");
    assert_int_equal(rig.ctx->state->pending.count, 3);
    assert_int_equal(recall("Orders", handle), RESP_ILLEGAL_OPERATION);
    assert_non_null(strstr(answer_remark(&answer), "no message with this handle waits"));
    assert_int_equal(queue_of("Orders", 0)->cq.max, 0);
    assert_int_equal(rig.ctx->recalls, 0);
}

/* It may be the one: nobody may be told that no such message waits. */
static void a_recall_whose_record_is_bad_says_so_and_may_be_tried_again(void **state)
{
    struct pending_row *row;
    char handle[PROTO_RECALL_HANDLE_MAX];

    (void)state;
    assert_int_equal(rig_send(&peer, "Orders", "0", "b", "TIMER_DELAY_SEC\0013600\002UNIQ_KEY\001U1\002", &answer),
                     RESP_SUCCESS);
    snprintf(handle, sizeof(handle), "%s", answer_field(&answer, "recallHandle"));
    row = (struct pending_row *)(uintptr_t)pending_table_at(&rig.ctx->state->pending, 0);
    row->crc ^= 1;
    assert_int_equal(recall("Orders", handle), RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), "cannot be read"));
    assert_int_equal(rig.ctx->recalls, 0);
    assert_int_equal(rig.ctx->state->pending.count, 1);
    row->crc ^= 1;
    assert_int_equal(recall("Orders", handle), RESP_SUCCESS);
    assert_int_equal(rig.ctx->state->pending.count, 0);
}

static void make_handle(const char *topic, const char *broker, int64_t out_ms, char *text)
{
    const struct proto_recall_handle handle = {mq_str_of(topic), mq_str_of(broker), MQ_STR("U1"), out_ms};

    text[proto_recall_handle_encode(&handle, text)] = '\0';
}

static void a_recall_is_refused_with_the_code_of_the_original(void **state)
{
    static const char *const off[] = {"recallMessageEnable=false", NULL};
    char text[PROTO_RECALL_HANDLE_MAX + 1];
    int64_t soon_ms = mq_clock_wall_ms() + 60000;

    (void)state;
    make_handle("Orders", "golden-a", soon_ms, text);
    assert_int_equal(peer_code(&peer, REQ_RECALL_MESSAGE, FIELDS({"topic", "Orders"}), MQ_STR("")),
                     RESP_SYSTEM_ERROR);
    assert_int_equal(peer_code(&peer, REQ_RECALL_MESSAGE, FIELDS({"recallHandle", text}), MQ_STR("")),
                     RESP_SYSTEM_ERROR);
    assert_int_equal(recall("Unknown", text), RESP_TOPIC_NOT_EXIST);
    assert_non_null(strstr(answer_remark(&answer), "Unknown"));
    assert_int_equal(recall("Orders", "!"), RESP_ILLEGAL_OPERATION);
    assert_int_equal(recall("Orders", ""), RESP_ILLEGAL_OPERATION);
    assert_int_equal(recall("Orders", text), RESP_ILLEGAL_OPERATION);
    make_handle("TBW102", "golden-a", soon_ms, text);
    assert_int_equal(recall("Orders", text), RESP_ILLEGAL_OPERATION);
    assert_non_null(strstr(answer_remark(&answer), "TBW102"));
    make_handle("Orders", "golden-b", soon_ms, text);
    assert_int_equal(recall("Orders", text), RESP_ILLEGAL_OPERATION);
    assert_non_null(strstr(answer_remark(&answer), "golden-b"));
    make_handle("Orders", "golden-a", soon_ms - 60001, text);
    assert_int_equal(recall("Orders", text), RESP_ILLEGAL_OPERATION);
    make_handle("Orders", "golden-a", soon_ms + 259200000, text);
    assert_int_equal(recall("Orders", text), RESP_ILLEGAL_OPERATION);
    assert_non_null(strstr(answer_remark(&answer), "timerMaxDelaySec 259200"));
    peer_hang_up(&peer);
    rig_reopen(&rig, off);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(recall("Orders", text), RESP_NO_PERMISSION);
}

/* A message that waits for @due_ms to go to @topic, whatever that is. */
static void inject(const char *topic, const char *body)
{
    struct delayed_plan plan = {.due_ms = mq_clock_wall_ms(), .level = 1};
    struct record_source source = {
        .body = mq_str_of(body), .born_host = {.ip_bytes = 4}, .store_host = {.ip_bytes = 4}};
    struct bundle_part parts[] = {{.kind = BUNDLE_NEW, .source = &source},
                                  {.kind = BUNDLE_ITEM, .type = COMMAND_PENDING_PUT}};
    struct delayed_store store;

    delayed_store_make(&store, &rig.ctx->delayed, &plan, mq_str_of(topic), 0, MQ_STR("U"));
    source.topic = store.topic;
    source.put = store.put;
    source.n_put = store.n_put;
    parts[1].item = &store.item.base;
    parts[0].queue = queue_of("SCHEDULE_TOPIC_XXXX", 0);
    assert_int_equal(bundle_add(rig.ctx->sequencer, rig.ctx->store, parts, 2, NULL, 0), 0);
}

static bool is_dropped(void *data)
{
    return flow()->stats.dropped == *(uint64_t *)data && rig.ctx->state->pending.count == 0;
}

static void a_message_that_has_nowhere_to_go_is_dropped_and_holds_up_nobody(void **state)
{
    uint64_t two = 2;

    (void)state;
    inject("Gone", "a");
    inject("RMQ_SYS_TRANS_HALF_TOPIC", "b");
    inject("Orders", "c");
    wait_for("Orders", 0, 1);
    rig_wait(&rig, is_dropped, &two);
    assert_int_equal(queue_of("RMQ_SYS_TRANS_HALF_TOPIC", 0)->cq.max, 0);
}

static void a_queue_that_a_shrink_has_left_behind_still_gets_its_messages(void **state)
{
    (void)state;
    assert_int_equal(rig_send(&peer, "Orders", "3", "b", "TIMER_DELAY_MS\00150\002", NULL), RESP_SUCCESS);
    assert_int_equal(rig_topic(&peer, "Orders", "1"), RESP_SUCCESS);
    wait_for("Orders", 3, 1);
}

static void a_batch_cannot_wait(void **state)
{
    (void)state;
    assert_int_equal(peer_ask(&peer, REQ_SEND_BATCH_MESSAGE,
                              FIELDS({"a", "PG"}, {"b", "Orders"}, {"c", "TBW102"}, {"d", "4"}, {"e", "0"},
                                     {"f", "0"}, {"g", "1"}, {"h", "0"}, {"i", "DELAY\0012\002"}, {"m", "true"}),
                              MQ_STR("x"), &answer),
                     RESP_MESSAGE_ILLEGAL);
    assert_non_null(strstr(answer_remark(&answer), "batch"));
}

static void properties_leave_room_for_those_of_the_delivery(void **state)
{
    static char properties[32767];
    int n = snprintf(properties, sizeof(properties), "TIMER_DELAY_MS%c60%ck%c", 1, 2, 1);

    (void)state;
    memset(properties + n, 'x', sizeof(properties) - 1 - (size_t)n);
    assert_int_equal(rig_send(&peer, "Orders", "0", "b", properties, &answer), RESP_MESSAGE_ILLEGAL);
    assert_non_null(strstr(answer_remark(&answer), "32767"));
    properties[sizeof(properties) - 420] = '\0';
    assert_int_equal(rig_send(&peer, "Orders", "0", "b", properties, &answer), RESP_SUCCESS);
    wait_for("Orders", 0, 1);
    assert_int_equal(flow()->stats.dropped, 0);
}

static bool has_moved(void *data)
{
    const struct rlog *log = rig.ctx->log;

    (void)log;
    if (rig.ctx->state->log_start_pos <= *(uint64_t *)data) {
        retention_tick(broker_retention(rig.broker));
    }
    return rig.ctx->state->log_start_pos > *(uint64_t *)data;
}

static void what_waits_outlives_the_log_it_lay_in(void **state)
{
    static const char *const small[] = {"mappedFileSizeCommitLog=1048576", "commitLogBytesMax=2097152", NULL};
    static char body[60000];
    char handle[PROTO_RECALL_HANDLE_MAX];
    const struct pending_row *row;
    uint64_t pos;

    (void)state;
    peer_hang_up(&peer);
    rig_close(&rig);
    rig_open(&rig, small);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Orders", "0", "b", "TIMER_DELAY_SEC\0013600\002TAGS\001t\002", &answer),
                     RESP_SUCCESS);
    snprintf(handle, sizeof(handle), "%s", answer_field(&answer, "recallHandle"));
    pos = first_row()->pos;
    memset(body, 'x', sizeof(body) - 1);
    for (int i = 0; i < 80; i++) {
        assert_int_equal(rig_send(&peer, "Orders", "1", body, "", NULL), RESP_SUCCESS);
    }
    rig_wait(&rig, has_moved, &pos);
    row = first_row();
    assert_true(row->pos >= rig.ctx->state->log_start_pos);
    assert_true(row->pos > pos);
    assert_int_equal(rig.ctx->state->pending.count, 1);
    assert_int_equal(flow()->stats.moved, 1);
    assert_int_equal(queue_of("rmq_sys_wheel_timer", 0)->cq.max, 2);
    assert_int_equal(recall("Orders", handle), RESP_SUCCESS); /* its record is read */
    assert_int_equal(rig.ctx->state->pending.count, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_message_of_a_level_waits_in_the_queue_of_its_level),
        CASE(a_message_of_a_level_comes_as_it_was_sent),
        CASE(a_timer_comes_never_before_its_time_and_tells_when_it_was_looked_at),
        CASE(a_time_that_has_come_is_no_reason_to_wait),
        CASE(those_of_one_time_come_in_the_order_they_were_sent),
        CASE(what_waits_survives_a_restart_and_comes_once),
        CASE(a_recalled_message_does_not_come),
        CASE(a_recall_whose_record_is_bad_says_so_and_may_be_tried_again),
        CASE(a_recall_is_refused_with_the_code_of_the_original),
        CASE(a_message_that_has_nowhere_to_go_is_dropped_and_holds_up_nobody),
        CASE(a_queue_that_a_shrink_has_left_behind_still_gets_its_messages),
        CASE(a_batch_cannot_wait),
        CASE(properties_leave_room_for_those_of_the_delivery),
        CASE(what_waits_outlives_the_log_it_lay_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
