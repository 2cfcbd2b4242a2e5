/* The smaller bodies, each decoder with the same bytes: lists, statistics, tables, locks, configuration text. */
#include "tests/fuzz/exact.h"
#include "tests/fuzz/fuzz.h"

#include "remoting/base/err.h"
#include "remoting/protocol/body_admin.h"
#include "remoting/protocol/body_assignment.h"
#include "remoting/protocol/body_client.h"
#include "remoting/protocol/body_group.h"
#include "remoting/protocol/body_offset.h"
#include "remoting/protocol/body_topic.h"

static void check_code(int rc)
{
    MQ_ASSERT(rc == 0 || rc == MQ_EBADMSG || rc == MQ_ETOOBIG);
}

static void check_strings(const struct proto_str_list *list, const char *json, size_t n)
{
    for (uint32_t i = 0; i < list->count; i++) {
        MQ_ASSERT(list->items[i].at != NULL && exact_inside(list->items[i], json, n));
    }
}

static void check_queues(const struct proto_queue_refs *queues, const char *json, size_t n)
{
    MQ_ASSERT(queues->count <= PROTO_LOCK_QUEUES_MAX);
    for (uint32_t i = 0; i < queues->count; i++) {
        MQ_ASSERT(exact_inside(queues->items[i].topic, json, n));
        MQ_ASSERT(exact_inside(queues->items[i].broker_name, json, n));
    }
}

static void run_topic_list(char *json, size_t n)
{
    struct proto_str_list topics;
    struct mq_str addr;

    check_code(proto_topic_list_decode(json, n, &topics, &addr));
    check_strings(&topics, json, n);
    MQ_ASSERT(exact_inside(addr, json, n));
    proto_str_list_free(&topics);
}

static void run_consumer_ids(char *json, size_t n)
{
    struct proto_str_list ids;

    check_code(proto_consumer_ids_decode(json, n, &ids));
    check_strings(&ids, json, n);
    proto_str_list_free(&ids);
}

static void run_stats(char *json, size_t n)
{
    struct proto_topic_stats stats, again;
    struct mq_buf buf = {0};
    int rc = proto_topic_stats_decode(json, n, &stats);

    check_code(rc);
    for (uint32_t i = 0; i < stats.count; i++) {
        MQ_ASSERT(exact_inside(stats.items[i].queue.topic, json, n));
    }
    if (rc == 0) {
        MQ_ASSERT(proto_topic_stats_encode(&buf, &stats, 1.5) == 0);
        MQ_ASSERT(proto_topic_stats_decode((char *)buf.base, buf.len, &again) == 0);
        MQ_ASSERT(again.count == stats.count);
        proto_topic_stats_free(&again);
        mq_buf_free(&buf);
    }
    proto_topic_stats_free(&stats);
}

static void run_kvs(char *json, size_t n)
{
    struct proto_kvs kvs;
    struct mq_buf buf = {0};

    check_code(proto_kv_table_decode(json, n, &kvs));
    for (uint32_t i = 0; i < kvs.count; i++) {
        MQ_ASSERT(exact_inside(kvs.items[i].key, json, n) && exact_inside(kvs.items[i].value, json, n));
    }
    MQ_ASSERT(proto_config_text_encode(&buf, &kvs) == 0);
    mq_buf_free(&buf);
    proto_kvs_free(&kvs);
}

static void run_lock(char *json, size_t n)
{
    struct proto_lock_batch batch;

    check_code(proto_lock_batch_decode(json, n, &batch));
    check_queues(&batch.queues, json, n);
    MQ_ASSERT(exact_inside(batch.group, json, n) && exact_inside(batch.client_id, json, n));
    proto_lock_batch_free(&batch);
}

static void run_locked(char *json, size_t n)
{
    struct proto_queue_refs queues;

    check_code(proto_locked_decode(json, n, &queues));
    check_queues(&queues, json, n);
    proto_queue_refs_free(&queues);
}

static void check_group(const struct proto_group_config *group, const char *json, size_t n)
{
    MQ_ASSERT(exact_inside(group->name, json, n) && exact_inside(group->attribute, json, n));
    MQ_ASSERT(group->policy.n_next <= PROTO_RETRY_DELAYS_MAX && group->subs.count <= PROTO_STATIC_SUBS_MAX);
    for (uint32_t i = 0; i < group->subs.count; i++) {
        MQ_ASSERT(exact_inside(group->subs.items[i].topic, json, n));
        MQ_ASSERT(exact_inside(group->subs.items[i].expression, json, n));
    }
}

static void run_group(char *json, size_t n)
{
    struct proto_group_config group, again;
    struct mq_buf buf = {0};
    int rc = proto_group_config_decode(json, n, &group);

    check_code(rc);
    check_group(&group, json, n);
    if (rc == 0) {
        MQ_ASSERT(proto_group_config_encode(&buf, &group) == 0);
        MQ_ASSERT(proto_group_config_decode((char *)buf.base, buf.len, &again) == 0);
        MQ_ASSERT(again.retry_max_times == group.retry_max_times && again.subs.count == group.subs.count);
        proto_group_config_free(&again);
        mq_buf_free(&buf);
    }
    proto_group_config_free(&group);
}

static void run_groups(char *json, size_t n)
{
    struct proto_group_configs groups;

    check_code(proto_group_list_decode(json, n, &groups));
    for (uint32_t i = 0; i < groups.count; i++) {
        check_group(&groups.items[i], json, n);
    }
    proto_group_list_free(&groups);
}

static void run_topics(char *json, size_t n)
{
    struct proto_topic_configs topics;

    check_code(proto_topic_config_list_decode(json, n, &topics));
    for (uint32_t i = 0; i < topics.count; i++) {
        MQ_ASSERT(exact_inside(topics.items[i].name, json, n) && exact_inside(topics.items[i].attributes, json, n));
    }
    proto_topic_configs_free(&topics);
}

static void run_consume_stats(char *json, size_t n)
{
    struct proto_consume_stats stats;

    check_code(proto_consume_stats_decode(json, n, &stats));
    for (uint32_t i = 0; i < stats.count; i++) {
        MQ_ASSERT(exact_inside(stats.items[i].queue.topic, json, n));
    }
    proto_consume_stats_free(&stats);
}

static void run_queue_offsets(char *json, size_t n)
{
    struct proto_queue_offsets offsets;

    check_code(proto_queue_offsets_decode(json, n, &offsets));
    for (uint32_t i = 0; i < offsets.count; i++) {
        MQ_ASSERT(exact_inside(offsets.items[i].queue.topic, json, n));
    }
    proto_queue_offsets_free(&offsets);
}

static void run_positions(char *json, size_t n)
{
    struct proto_queue_offsets offsets;

    check_code(proto_positions_decode(json, n, &offsets));
    for (uint32_t i = 0; i < offsets.count; i++) {
        MQ_ASSERT(exact_inside(offsets.items[i].queue.topic, json, n));
    }
    proto_queue_offsets_free(&offsets);
}

static void run_request_mode(char *json, size_t n)
{
    struct proto_request_mode mode;

    check_code(proto_request_mode_decode(json, n, &mode));
    MQ_ASSERT(exact_inside(mode.topic, json, n) && exact_inside(mode.group, json, n) &&
              exact_inside(mode.mode, json, n));
}

static void run_assignment(char *json, size_t n)
{
    struct proto_assignment_query query;

    check_code(proto_assignment_query_decode(json, n, &query));
    MQ_ASSERT(exact_inside(query.topic, json, n) && exact_inside(query.group, json, n) &&
              exact_inside(query.client_id, json, n) && exact_inside(query.strategy, json, n) &&
              exact_inside(query.model, json, n));
}

static void run_config_text(char *text, size_t n)
{
    struct mq_str rest = {text, (uint32_t)n}, key, value;

    while (proto_config_text_next(&rest, &key, &value)) {
        MQ_ASSERT(exact_inside(key, text, n) && exact_inside(value, text, n));
    }
    MQ_ASSERT(rest.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static void (*const RUNS[])(char *, size_t) = {
        run_topic_list,    run_consumer_ids,  run_stats,        run_kvs,       run_lock,
        run_locked,        run_config_text,   run_group,        run_groups,    run_topics,
        run_consume_stats, run_queue_offsets, run_request_mode, run_positions, run_assignment};

    for (size_t i = 0; i < ARRAY_SIZE(RUNS); i++) {
        char *copy = exact_copy(bytes, n);

        RUNS[i](copy, n);
        mq_free(copy);
    }
    return 0;
}
