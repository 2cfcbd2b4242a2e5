/* Every frame that was recorded from stock clients and servers (tests/golden) goes through the decoders that a server
 * or client of ours would use for it, and through our encoders and back. */
#include "wire.h"

#include "remoting/base/crc.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_admin.h"
#include "remoting/protocol/body_client.h"
#include "remoting/protocol/body_register.h"
#include "remoting/protocol/body_route.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/frame.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/message.h"
#include "remoting/protocol/names.h"
#include "remoting/protocol/properties.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define TOPIC "GoldenTopic"
#define BROKER "golden-a"
#define BROKER_ADDR "127.0.0.1:10911"

/* One recorded frame. */
struct golden {
    const char *name;
    struct mq_buf bytes;
    struct proto_command command;
};

static char *body_of(struct golden *g)
{
    return (char *)g->command.body;
}

static size_t body_bytes(const struct golden *g)
{
    return g->command.body_bytes;
}

#define DECODE(noun, header) assert_int_equal(proto_##noun##_header_decode(&g->command.fields, (header), NULL), 0)

static void check_sent(const struct proto_send_header *h)
{
    wire_assert_str(h->topic, TOPIC);
    wire_assert_str(h->producer_group, "golden_producer");
    wire_assert_str(h->default_topic, "TBW102");
    assert_int_equal(h->default_topic_queues, 4);
    assert_in_range(h->queue_id, 0, 1);
    assert_true(h->born_ms > 1700000000000);
    wire_assert_str(h->broker_name, BROKER);
    if (!h->batch) { /* 4.9 gives a batch no key of its own */
        assert_int_equal(proto_properties_get(h->properties, PROTO_PROP_UNIQ_KEY).len, 32);
    }
}

static void check_send_v1(struct golden *g)
{
    struct proto_send_header h;

    DECODE(send, &h);
    check_sent(&h);
    assert_false(h.batch);
    assert_int_equal(proto_tags_code(h.properties), mq_java_hash(MQ_STR("TagA")));
}

static void check_send_v2(struct golden *g)
{
    struct proto_send_header h;

    assert_int_equal(proto_send_header_v2_decode(&g->command.fields, &h, NULL), 0);
    check_sent(&h);
    assert_int_equal(h.batch, g->command.code == REQ_SEND_BATCH_MESSAGE);
    assert_true(body_bytes(g) != 0);
}

static void check_batch(struct golden *g)
{
    struct mq_str rest = {body_of(g), (uint32_t)body_bytes(g)};
    struct proto_batch_item item;
    struct mq_buf again = {0};

    check_send_v2(g);
    assert_int_equal(proto_batch_next(&rest, &item), 1);
    wire_assert_str(item.body, "batch one");
    wire_assert_str(proto_properties_get(item.properties, PROTO_PROP_TAGS), "TagA");
    assert_int_equal(proto_batch_put(&again, &item), 0);
    assert_int_equal(proto_batch_next(&rest, &item), 1);
    wire_assert_str(item.body, "batch two");
    assert_int_equal(proto_batch_put(&again, &item), 0);
    assert_int_equal(proto_batch_next(&rest, &item), 0);
    assert_int_equal(again.len, body_bytes(g));
    assert_memory_equal(again.base, body_of(g), again.len);
    mq_buf_free(&again);
}

static void check_sent_response(struct golden *g)
{
    struct proto_send_response_header h;
    struct proto_host host;
    struct mq_str first;
    int64_t pos;

    DECODE(send_response, &h);
    first = (struct mq_str){h.msg_id.at, h.msg_id.len < 32 ? h.msg_id.len : 32}; /* of a batch's list */
    assert_int_equal(proto_offset_msg_id_parse(first, &host, &pos), 0);
    assert_int_equal(host.port, 10911);
    assert_true(h.queue_id >= 0 && h.queue_offset >= 0);
    wire_assert_str(h.region, "DefaultRegion");
    wire_assert_str(h.trace_on, "true");
}

static void check_pull(struct golden *g)
{
    struct proto_pull_header h;
    struct proto_filter filter;

    DECODE(pull, &h);
    wire_assert_str(h.topic, TOPIC);
    wire_assert_str(h.broker_name, BROKER);
    assert_true(mq_str_starts(h.consumer_group, MQ_STR("golden_")));
    assert_true(h.max_msgs > 0);
    assert_int_equal(proto_filter_parse(h.subscription, &filter), 0);
}

/* Encodes the record again: the same bytes must come out, but for what a property's order decides. */
static void check_record(const uint8_t *bytes, const struct proto_record *rec)
{
    uint8_t *again = malloc(proto_record_bytes(rec));

    assert_non_null(again);
    assert_int_equal(proto_record_bytes(rec), rec->record_bytes);
    assert_int_equal(proto_record_encode(rec, again), rec->record_bytes);
    assert_memory_equal(again, bytes, rec->record_bytes);
    assert_int_equal(mq_crc32(0, rec->body.at, rec->body.len) & 0x7FFFFFFF, rec->body_crc);
    wire_assert_str(rec->topic, TOPIC);
    assert_int_equal(rec->store_host.port, 10911);
    free(again);
}

static void check_records(struct golden *g)
{
    const uint8_t *at = g->command.body;
    size_t left = g->command.body_bytes;

    while (left != 0) {
        struct proto_record rec;

        assert_int_equal(proto_record_decode(at, left, &rec), 0);
        check_record(at, &rec);
        at += rec.record_bytes;
        left -= rec.record_bytes;
    }
}

static void check_pull_response(struct golden *g)
{
    struct proto_pull_response_header h;

    if (g->command.code >= RESP_SUBSCRIPTION_PARSE_FAILED) {
        assert_true(g->command.remark.len != 0); /* refused before the store was asked */
        return;
    }
    DECODE(pull_response, &h);
    assert_true(h.min_offset == 0 && h.max_offset >= 0 && h.next_begin_offset >= 0);
    assert_int_equal(h.suggest_broker_id, 0);
    assert_int_equal(body_bytes(g) != 0, g->command.code == RESP_SUCCESS);
    check_records(g);
}

static void check_query_offset(struct golden *g)
{
    struct proto_query_offset_header h;

    DECODE(query_offset, &h);
    assert_true(mq_str_eq(h.topic, MQ_STR(TOPIC)) || mq_str_starts(h.topic, PROTO_RETRY_PREFIX));
}

static void check_update_offset(struct golden *g)
{
    struct proto_update_offset_header h;

    DECODE(update_offset, &h);
    assert_true(h.commit_offset >= 0);
}

static void check_offset_response(struct golden *g)
{
    struct proto_offset_response_header h;

    if (g->command.code == RESP_SUCCESS) {
        DECODE(offset_response, &h);
        assert_true(h.offset >= 0);
    }
}

static void check_create_topic(struct golden *g)
{
    struct proto_create_topic_header h;

    DECODE(create_topic, &h);
    assert_true(h.read_queues > 0 && h.write_queues == h.read_queues && h.perm == 6);
    wire_assert_str(h.filter_type, "SINGLE_TAG");
}

static void check_queue_time(struct golden *g)
{
    struct proto_queue_time_header h;

    DECODE(queue_time, &h);
    wire_assert_str(h.topic, TOPIC);
}

static void check_queue(struct golden *g)
{
    struct proto_queue_header h;

    DECODE(queue, &h);
    wire_assert_str(h.topic, TOPIC);
}

static void check_view(struct golden *g)
{
    struct proto_view_header h;

    DECODE(view, &h);
    assert_true(h.pos >= 0);
}

static void check_heartbeat(struct golden *g)
{
    struct proto_heartbeat hb;

    assert_int_equal(proto_heartbeat_decode(body_of(g), body_bytes(g), &hb), 0);
    assert_true(mq_str_starts(hb.client_id, MQ_STR("127.0.0.1@golden-")));
    assert_true(hb.producers.count != 0);
    for (uint32_t i = 0; i < hb.consumers.count; i++) {
        assert_true(mq_str_starts(hb.consumers.items[i].group, MQ_STR("golden_")));
    }
    proto_heartbeat_free(&hb);
}

static void check_heartbeat_response(struct golden *g)
{
    struct proto_heartbeat_response_header h;

    DECODE(heartbeat_response, &h);
    assert_true(h.heartbeat_v2);
}

static void check_unregister_client(struct golden *g)
{
    struct proto_unregister_client_header h;

    DECODE(unregister_client, &h);
    assert_true(h.producer_group.len != 0 || h.consumer_group.len != 0);
}

static void check_group(struct golden *g)
{
    struct proto_group_header h;

    DECODE(group, &h);
    assert_true(mq_str_starts(h.consumer_group, MQ_STR("golden_")));
}

static void check_consumer_ids(struct golden *g)
{
    struct proto_str_list ids;

    if (g->command.code == RESP_SUCCESS) {
        assert_int_equal(proto_consumer_ids_decode(body_of(g), body_bytes(g), &ids), 0);
        assert_int_equal(ids.count, 1);
        proto_str_list_free(&ids);
    }
}

static void check_lock(struct golden *g)
{
    struct proto_lock_batch batch;

    assert_int_equal(proto_lock_batch_decode(body_of(g), body_bytes(g), &batch), 0);
    wire_assert_str(batch.group, "golden_orderly");
    assert_true(batch.queues.count != 0);
    wire_assert_str(batch.queues.items[0].broker_name, BROKER);
    proto_lock_batch_free(&batch);
}

static void check_locked(struct golden *g)
{
    struct proto_queue_refs queues;

    assert_int_equal(proto_locked_decode(body_of(g), body_bytes(g), &queues), 0);
    assert_int_equal(queues.count, 1);
    wire_assert_str(queues.items[0].topic, TOPIC);
    proto_queue_refs_free(&queues);
}

static void check_kv(struct golden *g)
{
    struct proto_kv_header h;

    DECODE(kv, &h);
    wire_assert_str(h.space, "GOLDEN");
    wire_assert_str(h.key, "key");
    wire_assert_str(h.value, g->command.code == REQ_PUT_KV_CONFIG ? "value" : NULL);
}

static void check_order_conf(struct golden *g)
{
    struct proto_kv_header h;

    DECODE(kv, &h);
    wire_assert_str(h.space, "ORDER_TOPIC_CONFIG");
    wire_assert_str(h.key, "OrderTopic");
    wire_assert_str(h.value, NULL);
}

static void check_order_conf_response(struct golden *g)
{
    struct proto_kv_response_header h;
    bool found = g->command.code == RESP_SUCCESS;

    DECODE(kv_response, &h);
    wire_assert_str(h.value, found ? BROKER ":2" : NULL);
    if (!found) {
        assert_int_equal(g->command.code, RESP_QUERY_NOT_FOUND);
        assert_true(g->command.remark.len != 0);
    }
}

static void check_register(struct golden *g)
{
    struct proto_register_broker_header h;
    struct proto_register reg;

    DECODE(register_broker, &h);
    wire_assert_str(h.broker_name, BROKER);
    wire_assert_str(h.broker_addr, BROKER_ADDR);
    /* Only a broker whose slaves may act as master says when it is to be held for dead. */
    wire_assert_str(h.acting_master, h.heartbeat_timeout_ms != 0 ? "true" : "false");
    assert_int_equal(h.heartbeat_timeout_ms, strstr(g->name, "request-2") != NULL ? 10000 : 0);
    assert_int_equal(h.broker_id, 0);
    assert_int_equal((uint32_t)h.body_crc32, mq_crc32(0, body_of(g), body_bytes(g)) & 0x7FFFFFFF);
    assert_int_equal(proto_register_decode(body_of(g), body_bytes(g), h.compressed, &reg), 0);
    assert_true(reg.table.topics.count > 5);
    assert_true(reg.table.version.timestamp_ms > 1700000000000);
    proto_register_free(&reg);
}

static void check_unregister_broker(struct golden *g)
{
    struct proto_unregister_broker_header h;

    DECODE(unregister_broker, &h);
    wire_assert_str(h.broker_name, BROKER);
}

/* The version of the stock broker's topics: it was never a slave and has not counted a change. */
static void check_version(struct golden *g)
{
    struct proto_data_version version;
    struct mq_buf buf = {0}, again = {0};

    assert_int_equal(mq_buf_put(&buf, body_of(g), body_bytes(g)), 0);
    assert_int_equal(proto_data_version_decode((char *)buf.base, buf.len, &version), 0);
    assert_int_equal(version.state_version, 0);
    assert_true(version.counter >= 0);
    assert_true(version.timestamp_ms > 1700000000000);
    assert_int_equal(proto_data_version_encode(&again, &version), 0);
    assert_int_equal(again.len, body_bytes(g));
    assert_memory_equal(again.base, body_of(g), again.len);
    mq_buf_free(&again);
    mq_buf_free(&buf);
}

static void check_data_version(struct golden *g)
{
    struct proto_data_version_header h;

    DECODE(data_version, &h);
    wire_assert_str(h.cluster_name, "DefaultCluster");
    wire_assert_str(h.broker_name, BROKER);
    wire_assert_str(h.broker_addr, BROKER_ADDR);
    assert_int_equal(h.broker_id, 0);
    check_version(g);
}

static void check_data_version_response(struct golden *g)
{
    struct proto_data_version_response_header h;

    DECODE(data_version_response, &h);
    assert_int_equal(h.changed, body_bytes(g) == 0); /* the name server knew nothing of the broker */
    if (!h.changed) {
        check_version(g);
    }
}

static void check_broker_heartbeat(struct golden *g)
{
    struct proto_broker_heartbeat_header h;

    DECODE(broker_heartbeat, &h);
    assert_int_equal(g->command.flag, PROTO_FLAG_ONEWAY);
    wire_assert_str(h.cluster_name, "DefaultCluster");
    wire_assert_str(h.broker_name, BROKER);
    wire_assert_str(h.broker_addr, BROKER_ADDR);
    assert_int_equal(h.broker_id, -1); /* what a broker sends to controllers alone */
    assert_int_equal(h.epoch, -1);
    assert_int_equal(h.max_offset, -1);
    assert_int_equal(h.confirm_offset, -1);
    assert_int_equal(body_bytes(g), 0);
}

static void check_member_group(struct golden *g)
{
    struct proto_member_group_header h;

    DECODE(member_group, &h);
    wire_assert_str(h.cluster_name, "DefaultCluster");
    wire_assert_str(h.broker_name, BROKER);
}

static void check_topic(struct golden *g)
{
    struct proto_topic_header h;

    DECODE(topic, &h);
    assert_true(h.topic.len != 0);
}

static void check_route(struct golden *g)
{
    struct proto_route route;

    if (g->command.code != RESP_SUCCESS) {
        return;
    }
    assert_int_equal(proto_route_decode(body_of(g), body_bytes(g), &route), 0);
    assert_int_equal(route.brokers.count, 1);
    assert_int_equal(route.queues.count, 1);
    wire_assert_str(proto_broker_addr_of(&route.brokers.items[0], 0), BROKER_ADDR);
    wire_assert_str(route.queues.items[0].broker_name, BROKER);
    proto_route_free(&route);
}

static void check_cluster(struct golden *g)
{
    struct proto_brokers brokers;

    assert_int_equal(proto_cluster_decode(body_of(g), body_bytes(g), &brokers), 0);
    assert_int_equal(brokers.count, 1);
    wire_assert_str(brokers.items[0].cluster, "DefaultCluster");
    wire_assert_str(proto_broker_addr_of(&brokers.items[0], 0), BROKER_ADDR);
    proto_brokers_free(&brokers);
}

static void check_stats(struct golden *g)
{
    struct proto_topic_stats stats;

    assert_int_equal(proto_topic_stats_decode(body_of(g), body_bytes(g), &stats), 0);
    assert_int_equal(stats.count, 2);
    wire_assert_str(stats.items[0].queue.topic, TOPIC);
    assert_true(stats.items[0].max_offset > 0);
    proto_topic_stats_free(&stats);
}

static void check_wipe_response(struct golden *g)
{
    struct proto_wipe_response_header h;

    DECODE(wipe_response, &h);
    assert_true(h.topics > 0);
}

static void check_topic_list(struct golden *g)
{
    struct proto_str_list topics;
    struct mq_str addr;

    assert_int_equal(proto_topic_list_decode(body_of(g), body_bytes(g), &topics, &addr), 0);
    assert_true(topics.count > 5);
    proto_str_list_free(&topics);
}

static void check_topic_table(struct golden *g)
{
    struct proto_topic_table table, again;
    struct mq_buf buf = {0};

    assert_int_equal(proto_topic_table_decode(body_of(g), body_bytes(g), &table), 0);
    assert_true(table.topics.count > 5);
    assert_int_equal(proto_topic_table_encode(&buf, &table), 0);
    assert_int_equal(proto_topic_table_decode((char *)buf.base, buf.len, &again), 0);
    assert_int_equal(again.topics.count, table.topics.count);
    proto_topic_table_free(&again);
    proto_topic_table_free(&table);
    mq_buf_free(&buf);
}

static void check_topic_config(struct golden *g)
{
    struct proto_topic_config topic;
    struct mq_buf buf = {0};

    assert_int_equal(mq_buf_put(&buf, body_of(g), body_bytes(g)), 0);
    assert_int_equal(proto_topic_config_decode((char *)buf.base, buf.len, &topic), 0);
    assert_true(topic.name.len != 0);
    mq_buf_free(&buf);
}

static void check_runtime(struct golden *g)
{
    struct proto_kvs kvs;

    assert_int_equal(proto_kv_table_decode(body_of(g), body_bytes(g), &kvs), 0);
    assert_true(kvs.count > 40);
    proto_kvs_free(&kvs);
}

static void check_config(struct golden *g)
{
    struct mq_str rest = {body_of(g), (uint32_t)body_bytes(g)}, key, value;
    struct proto_config_response_header h;
    struct proto_data_version version;
    bool named = false;

    DECODE(config_response, &h);
    assert_int_equal(proto_data_version_decode((char *)h.version.at, h.version.len, &version), 0);
    while (proto_config_text_next(&rest, &key, &value)) {
        named = named || (mq_str_eq(key, MQ_STR("brokerName")) && mq_str_eq(value, MQ_STR(BROKER)));
    }
    assert_true(named);
}

struct row {
    const char *file; /* up to the kind */
    void (*request)(struct golden *g);
    void (*response)(struct golden *g);
};

static const struct row ROWS[] = {
    {"10", check_send_v1, check_sent_response},
    {"11", check_pull, check_pull_response},
    {"14", check_query_offset, check_offset_response},
    {"15", check_update_offset, NULL},
    {"17", check_create_topic, NULL},
    {"21", NULL, check_topic_table},
    {"26", NULL, check_config},
    {"28", NULL, check_runtime},
    {"29", check_queue_time, check_offset_response},
    {"30", check_queue, check_offset_response},
    {"31", check_queue, check_offset_response},
    {"33", check_view, check_records},
    {"34", check_heartbeat, check_heartbeat_response},
    {"35", check_unregister_client, NULL},
    {"38", check_group, check_consumer_ids},
    {"40", check_group, NULL},
    {"41", check_lock, check_locked},
    {"42", check_lock, NULL},
    {"100", check_kv, NULL},
    {"101", check_order_conf, check_order_conf_response},
    {"102", check_kv, NULL},
    {"103", check_register, NULL},
    {"104", check_unregister_broker, NULL},
    {"105", check_topic, check_route},
    {"106", NULL, check_cluster},
    {"202", check_topic, check_stats},
    {"205", NULL, check_wipe_response},
    {"206", NULL, check_topic_list},
    {"305", NULL, check_topic_list},
    {"310", check_send_v2, check_sent_response},
    {"320", check_batch, check_sent_response},
    {"322", check_data_version, check_data_version_response},
    {"351", check_topic, check_topic_config},
    {"361", check_pull, check_pull_response},
    {"901", check_member_group, NULL},
    {"904", check_broker_heartbeat, NULL},
};

static void check_row(struct golden *g)
{
    size_t digits = strcspn(g->name, "-");
    bool request = strncmp(g->name + digits, "-request", 8) == 0;

    assert_int_equal((g->command.flag & PROTO_FLAG_RESPONSE) != 0, !request);
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        if (strlen(ROWS[i].file) == digits && strncmp(ROWS[i].file, g->name, digits) == 0) {
            void (*check)(struct golden *) = request ? ROWS[i].request : ROWS[i].response;

            if (request) {
                assert_int_equal(g->command.code, atoi(ROWS[i].file));
            }
            if (check != NULL) {
                check(g);
            }
        }
    }
}

/* Writes the command again, and reads it back. */
static void check_rewritten(const struct golden *g)
{
    struct proto_head head = {g->command.code, g->command.opaque, g->command.flag, g->command.encoding,
                              g->command.remark};
    struct proto_command *again = malloc(sizeof(*again));
    struct mq_buf frame = {0};
    struct proto_writer w;

    assert_non_null(again);
    proto_begin(&w, &frame, &head);
    for (uint32_t i = 0; i < g->command.fields.count; i++) {
        proto_put_str(&w, g->command.fields.list[i].key, g->command.fields.list[i].value);
    }
    assert_int_equal(proto_end(&w, g->command.body_bytes), 0);
    assert_int_equal(mq_buf_put(&frame, g->command.body, g->command.body_bytes), 0);
    assert_int_equal(proto_command_decode(frame.base, frame.len, again), 0);
    assert_int_equal(again->code, g->command.code);
    assert_int_equal(again->opaque, g->command.opaque);
    assert_int_equal(again->flag, g->command.flag);
    assert_true(mq_str_eq(again->remark, g->command.remark));
    assert_int_equal(again->body_bytes, g->command.body_bytes);
    for (uint32_t i = 0; i < g->command.fields.count; i++) {
        const struct proto_field *field = &g->command.fields.list[i];

        assert_true(mq_str_eq(proto_fields_get(&again->fields, field->key), field->value));
    }
    mq_buf_free(&frame);
    free(again);
}

static void check_file(const char *dir, const char *name, enum proto_encoding encoding)
{
    struct golden *g = calloc(1, sizeof(*g));
    char *path = mq_path_join(dir, name);
    uint32_t length;

    assert_non_null(g);
    print_message("%s/%s\n", dir, name);
    g->name = name;
    assert_int_equal(mq_file_read(path, PROTO_FRAME_MAX, &g->bytes), 0);
    assert_int_equal(proto_frame_length(g->bytes.base, g->bytes.len, &length), 0);
    assert_int_equal(length, g->bytes.len);
    assert_int_equal(proto_command_decode(g->bytes.base, g->bytes.len, &g->command), 0);
    assert_int_equal(g->command.encoding, encoding);
    assert_int_equal(g->command.language, 0);
    check_rewritten(g);
    check_row(g);
    mq_buf_free(&g->bytes);
    mq_free(path);
    free(g);
}

static void check_folder(const char *dir, enum proto_encoding encoding)
{
    DIR *entries = opendir(dir);
    struct dirent *entry;
    int files = 0;

    assert_non_null(entries);
    while ((entry = readdir(entries)) != NULL) {
        if (strstr(entry->d_name, ".bin") != NULL) {
            check_file(dir, entry->d_name, encoding);
            files++;
        }
    }
    closedir(entries);
    assert_true(files > 50);
}

static void frames_of_5_4_0_decode(void **state)
{
    (void)state;
    check_folder("tests/golden/stock-5.4.0", PROTO_JSON);
    check_folder("tests/golden/stock-5.4.0-binary", PROTO_BINARY);
}

static void frames_of_4_9_8_decode(void **state)
{
    (void)state;
    check_folder("tests/golden/stock-4.9.8", PROTO_JSON);
    check_folder("tests/golden/stock-4.9.8-binary", PROTO_BINARY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_5_4_0_decode),
        cmocka_unit_test(frames_of_4_9_8_decode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
