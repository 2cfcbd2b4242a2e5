/* PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361).
 *
 * Happy path: decode -> checks -> read the queue -> records go out as they lie in the log, by reference. Nothing
 * there yet and the client may wait: the request is parked until a message arrives or its time is up, and then run
 * again. Cold pages: read on the pool, then run again.
 *
 * A node that is not the writable leader serves what it has applied, parks the rest, and never answers
 * PULL_OFFSET_MOVED: that would make the client overwrite its committed offset with what a stale node believes. Nor
 * does a leader that has not applied all that is committed: its own disk may be the slowest of the group, and a
 * reader may come from a follower that has more.
 * Source: RocketMQ's PullMessageProcessor. */
#include "broker/processor/pull.h"

#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "broker/session/consumer_table.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/headers.h"

/* A pull that has passed its checks. */
struct pull {
    struct context *ctx;
    struct reply_to to;
    struct queue *queue;
    uint64_t qoff;
    uint32_t count_max;
    struct message_filter *filter; /* counted; NULL: everything */
    int32_t topic_sys_flag, group_sys_flag;
    uint32_t suspend_ms; /* 0: answer at once */
};

/* A pull that waits for the pool to read pages. */
struct cold_pull {
    struct cold_read read;
    struct pull pull;
};

static void pull_run(struct pull *pull);

/* --- answers --- */

/* The remark is the store's status, as the original names it. Returns false when nobody waits. */
static bool begin_answer(struct pull *pull, struct proto_writer *w, int32_t code, uint64_t next,
                         const struct reader_result *found)
{
    static const char *const remarks[] = {
        [READER_FOUND] = "FOUND",
        [READER_NO_MATCH] = "NO_MATCHED_MESSAGE",
        [READER_AT_END] = "OFFSET_OVERFLOW_ONE",
        [READER_BEYOND_END] = "OFFSET_OVERFLOW_BADLY",
        [READER_TOO_SMALL] = "OFFSET_TOO_SMALL",
        [READER_EMPTY] = "NO_MESSAGE_IN_QUEUE",
        [READER_RESET] = "OFFSET_RESET",
    };
    struct proto_pull_response_header header = {
        .next_begin_offset = (int64_t)next,
        .min_offset = (int64_t)found->min,
        .max_offset = (int64_t)found->max,
        .suggest_broker_id = 0,
        .topic_sys_flag = pull->topic_sys_flag,
        .group_sys_flag = pull->group_sys_flag,
    };

    if (!reply_begin(&pull->to, w, code, mq_str_of(remarks[found->status]))) {
        return false;
    }
    proto_pull_response_header_encode(w, &header);
    return true;
}

static void answer(struct pull *pull, int32_t code, uint64_t next, const struct reader_result *found)
{
    struct proto_writer w;

    if (begin_answer(pull, &w, code, next, found)) {
        reply_end(&pull->to, &w, NULL, 0);
    }
}

static void answer_found(struct pull *pull, struct reader_result *found)
{
    struct context *ctx = pull->ctx;
    struct proto_writer w;

    if (!begin_answer(pull, &w, RESP_SUCCESS, found->next, found)) {
        return;
    }
    reply_end_views(&pull->to, &w, found->views, found->n_views, found->bytes);
    ctx->stats.gets += found->records;
    ctx->stats.get_found++;
}

/* Parks the pull if it may wait; false when it must be answered now. */
static bool park(struct pull *pull)
{
    struct pull_parked request;

    if (pull->suspend_ms == 0) {
        return false;
    }
    request = (struct pull_parked){
        .ch = pull->to.ch,
        .opaque = pull->to.opaque,
        .encoding = (uint8_t)pull->to.encoding,
        .queue = pull->queue,
        .qoff = pull->qoff,
        .count_max = pull->count_max,
        .topic_sys_flag = pull->topic_sys_flag,
        .group_sys_flag = pull->group_sys_flag,
        .deadline_ms = mq_clock_mono_ms() + pull->suspend_ms,
        .filter = pull->filter,
    };
    return pull_hold_park(pull->ctx->pull_hold, &request) == 0;
}

/* Older than what this node has, which others have: the answer names the leader, and to wait here would not help. */
static bool is_elsewhere(const struct context *ctx, const struct reader_result *found)
{
    return found->status == READER_TOO_SMALL && !rlog_is_whole(ctx->log) && ctx->role.leader != 0 &&
           ctx->role.leader != (uint32_t)ctx->config->self;
}

/* Nothing at the offset asked for. A node that lacks older messages does not say that there are none. */
static void answer_nothing(struct pull *pull, const struct reader_result *found)
{
    const struct rlog *log = pull->ctx->log;
    bool knows =
        context_writable(pull->ctx) && (found->status == READER_TOO_SMALL ? rlog_is_whole(log) : rlog_is_level(log));
    bool may_come = found->status == READER_AT_END || (found->status == READER_EMPTY && pull->qoff == 0);
    bool waits = (may_come || (!knows && found->status != READER_NO_MATCH)) && !is_elsewhere(pull->ctx, found);

    if (waits && park(pull)) {
        return;
    }
    pull->ctx->stats.get_missed++;
    if (found->status == READER_NO_MATCH) {
        answer(pull, RESP_PULL_RETRY_IMMEDIATELY, found->next, found);
    } else if (may_come || !knows) {
        answer(pull, RESP_PULL_NOT_FOUND, pull->qoff, found);
    } else {
        answer(pull, RESP_PULL_OFFSET_MOVED, found->next, found);
    }
}

/* --- reading --- */

/* The topic may have been deleted while the pull waited. */
static void run_again(struct pull *pull)
{
    const struct topic_queues *queues = pull->queue->topic;
    struct mq_str topic = {queues->topic, queues->topic_bytes};

    if (topic_table_find(&pull->ctx->state->topics, topic) == NULL) {
        reply_no_topic(&pull->to, topic);
    } else {
        pull_run(pull);
    }
}

static void on_cold_done(struct cold_read *read, int status)
{
    struct cold_pull *cold = container_of(read, struct cold_pull, read);

    if (status == 0) {
        run_again(&cold->pull);
    } else if (status != MQ_ECLOSED) {
        reply_failed(&cold->pull.to, status);
    }
    message_filter_release(cold->pull.filter);
    net_channel_release(read->ch);
    mq_free(cold);
}

static void run_when_warm(struct pull *pull, const struct reader_request *request)
{
    struct cold_pull *cold = mq_malloc(sizeof(*cold));
    int rc;

    if (cold == NULL) {
        reply_failed(&pull->to, MQ_ENOMEM);
        return;
    }
    cold->pull = *pull;
    message_filter_acquire(pull->filter);
    cold->read.ch = net_channel_acquire(pull->to.ch);
    cold->read.request = *request;
    cold->read.done = on_cold_done;
    rc = cold_reads_start(&pull->ctx->cold_reads, &cold->read);
    if (rc == 0) {
        return;
    }
    message_filter_release(pull->filter);
    net_channel_release(pull->to.ch);
    mq_free(cold);
    if (rc == MQ_EBUSY) {
        reply_error(&pull->to, RESP_SYSTEM_BUSY, "[OVERLOAD] %d pulls wait for the disk", COLD_READS_WAITING_MAX);
    } else {
        reply_failed(&pull->to, rc);
    }
}

static void pull_run(struct pull *pull)
{
    struct context *ctx = pull->ctx;
    struct reader_request request = {
        .queue = pull->queue,
        .qoff = pull->qoff,
        .count_max = pull->count_max,
        .bytes_max = (uint32_t)ctx->config->pull_bytes_max,
        .filter = pull->filter,
    };
    struct reader_result found;
    int rc;

    rc = store_read(ctx->store, &request, &found);
    if (rc == MQ_EAGAIN) {
        run_when_warm(pull, &request);
    } else if (rc != 0) {
        reply_failed(&pull->to, rc);
    } else if (found.status != READER_FOUND) {
        answer_nothing(pull, &found);
    } else {
        answer_found(pull, &found);
        for (uint32_t i = 0; i < found.n_views; i++) {
            net_ref_release(found.views[i].ref);
        }
    }
}

/* Run once more and answered now, whether a message came or the time is up. */
void pull_wake(void *data, struct pull_parked *parked)
{
    struct pull pull = {
        .ctx = data,
        .to = {parked->ch, parked->opaque, (enum proto_encoding)parked->encoding},
        .queue = parked->queue,
        .qoff = parked->qoff,
        .count_max = parked->count_max,
        .filter = parked->filter,
        .topic_sys_flag = parked->topic_sys_flag,
        .group_sys_flag = parked->group_sys_flag,
    };

    run_again(&pull);
}

/* --- checks --- */

/* @type: of RocketMQ's PullMessageResponseHeader. */
static void refuse_permission(const struct reply_to *to, int32_t type, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void refuse_permission(const struct reply_to *to, int32_t type, const char *fmt, ...)
{
    struct proto_pull_refused_header header = {.forbidden_type = type};
    struct proto_writer w;
    va_list args;
    bool waits;

    va_start(args, fmt);
    waits = reply_begin_printed(to, &w, RESP_NO_PERMISSION, fmt, args);
    va_end(args);
    if (waits) {
        proto_pull_refused_header_encode(&w, &header);
        reply_end(to, &w, NULL, 0);
    }
}

static bool refuse_property_filter(const struct context *ctx, const struct reply_to *to)
{
    if (ctx->config->property_filter) {
        return false;
    }
    reply_error(to, RESP_SYSTEM_ERROR, "enablePropertyFilter is false: only tags can be subscribed to");
    return true;
}

static bool parse_sql(struct context *ctx, const struct reply_to *to, const struct proto_pull_header *header,
                      struct message_filter **out)
{
    struct mq_buf problem = {0};
    int rc;

    if (refuse_property_filter(ctx, to)) {
        return false;
    }
    rc = message_filter_of_sql(header->subscription, out, &problem);
    if (rc == MQ_ENOMEM) {
        reply_failed(to, rc);
    } else if (rc != 0) {
        reply_error(to, RESP_SUBSCRIPTION_PARSE_FAILED, "the subscription is no SQL92: %.*s", (int)problem.len,
                    (const char *)problem.base);
    }
    mq_buf_free(&problem);
    return rc == 0;
}

/* The subscription that the request brings along: one reference in @out. Returns false after an answer. The original
 * lets everything pass where SQL92 does not compile; a consumer that gets what it did not ask for is not helped. */
static bool parse_filter(struct context *ctx, const struct reply_to *to, const struct proto_pull_header *header,
                         struct message_filter **out)
{
    enum proto_expression type = proto_expression_of(header->expression_type);
    struct proto_filter tags;
    int rc;

    if (type == PROTO_EXPRESSION_SQL92) {
        return parse_sql(ctx, to, header, out);
    }
    if (type != PROTO_EXPRESSION_TAG || proto_filter_parse(header->subscription, &tags) != 0) {
        reply_error(to, RESP_SUBSCRIPTION_PARSE_FAILED,
                    "subscription \"" MQ_STR_FMT "\" of expressionType \"" MQ_STR_FMT
                    "\": a tag is needed, or expressionType SQL92",
                    REMARK_ARG(header->subscription), REMARK_ARG(header->expression_type));
        return false;
    }
    rc = message_filter_of_tags(&tags, out);
    if (rc != 0) {
        reply_failed(to, rc);
    }
    return rc == 0;
}

static bool forbids_broadcast(struct context *ctx, struct mq_str name)
{
    const struct group *group = group_table_find(&ctx->state->groups, name);

    return group != NULL && !group->consume_broadcast_enable && consumer_table_is_broadcasting(ctx->consumers, name);
}

/* What the group's heartbeats said: one reference in @out. Returns false after an answer. */
static bool find_subscription(struct context *ctx, const struct reply_to *to, const struct proto_pull_header *header,
                              struct message_filter **out)
{
    struct mq_str group = header->consumer_group;
    const struct consumer_subscription *sub;

    if (!consumer_table_has_group(ctx->consumers, group)) {
        reply_error(to, RESP_SUBSCRIPTION_NOT_EXIST,
                    "consumerGroup \"" MQ_STR_FMT "\" has no member known here: send a heartbeat", REMARK_ARG(group));
        return false;
    }
    if (forbids_broadcast(ctx, group)) {
        refuse_permission(to, 4, "consumerGroup \"" MQ_STR_FMT "\" has consumeBroadcastEnable false and broadcasts",
                          REMARK_ARG(group));
        return false;
    }
    sub = consumer_table_subscription(ctx->consumers, group, header->topic);
    if (sub == NULL) {
        reply_error(to, RESP_SUBSCRIPTION_NOT_EXIST,
                    "consumerGroup \"" MQ_STR_FMT "\" does not subscribe to topic \"" MQ_STR_FMT "\"",
                    REMARK_ARG(group), REMARK_ARG(header->topic));
        return false;
    }
    if (sub->version < header->sub_version) {
        reply_error(to, RESP_SUBSCRIPTION_NOT_LATEST,
                    "subVersion %lld: consumerGroup \"" MQ_STR_FMT "\" is known with %lld",
                    (long long)header->sub_version, REMARK_ARG(group), (long long)sub->version);
        return false;
    }
    if (sub->type != PROTO_EXPRESSION_TAG && refuse_property_filter(ctx, to)) {
        return false;
    }
    if (!sub->usable) {
        reply_error(to, RESP_FILTER_DATA_NOT_EXIST,
                    "consumerGroup \"" MQ_STR_FMT "\" subscribes to topic \"" MQ_STR_FMT
                    "\" by an expression that does not compile",
                    REMARK_ARG(group), REMARK_ARG(header->topic));
        return false;
    }
    *out = message_filter_acquire(sub->filter);
    return true;
}

static bool check_group(struct pull *pull, const struct proto_pull_header *header)
{
    struct group *group;

    if (!group_usable(pull->ctx, header->consumer_group)) {
        reply_error(&pull->to, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "consumerGroup \"" MQ_STR_FMT "\" does not exist",
                    REMARK_ARG(header->consumer_group));
        return false;
    }
    group = group_table_find(&pull->ctx->state->groups, header->consumer_group);
    if (group != NULL && !group->consume_enable) {
        refuse_permission(&pull->to, 2, "consumerGroup \"" MQ_STR_FMT "\" may not consume",
                          REMARK_ARG(header->consumer_group));
        return false;
    }
    if (forbidden_table_has(&pull->ctx->state->forbidden, header->consumer_group, header->topic)) {
        refuse_permission(&pull->to, 5, "consumerGroup \"" MQ_STR_FMT "\" may not read topic \"" MQ_STR_FMT "\"",
                          REMARK_ARG(header->consumer_group), REMARK_ARG(header->topic));
        return false;
    }
    pull->group_sys_flag = group != NULL ? (int32_t)group->sys_flag : 0;
    return true;
}

static bool check_queue(struct pull *pull, const struct proto_pull_header *header)
{
    struct context *ctx = pull->ctx;
    struct topic *topic = topic_table_find(&ctx->state->topics, header->topic);
    int rc;

    if (topic == NULL) {
        reply_no_topic(&pull->to, header->topic);
        return false;
    }
    if ((topic->perm & TOPIC_PERM_READ) == 0) {
        refuse_permission(&pull->to, 3, "topic \"" MQ_STR_FMT "\" has perm %u: it may not be read",
                          REMARK_ARG(header->topic), topic->perm);
        return false;
    }
    if (header->queue_id < 0 || (uint32_t)header->queue_id >= topic->read_queues) {
        reply_error(&pull->to, RESP_INVALID_PARAMETER,
                    "queueId %d: topic \"" MQ_STR_FMT "\" has %u read queues, counted from 0", header->queue_id,
                    REMARK_ARG(header->topic), topic->read_queues);
        return false;
    }
    rc = topic_queues_get(&ctx->store->queues, topic->queues, header->queue_id, &pull->queue);
    if (rc != 0) {
        reply_failed(&pull->to, rc);
        return false;
    }
    pull->topic_sys_flag = (int32_t)topic->sys_flag;
    return true;
}

/* Checks in RocketMQ's order; fills queue and flags of @pull. Returns false after an answer. */
static bool check_request(struct pull *pull, const struct proto_pull_header *header, bool lite)
{
    const struct broker_config *config = pull->ctx->config;

    if ((config->permission & TOPIC_PERM_READ) == 0) {
        refuse_permission(&pull->to, 1, "brokerPermission is %lld: this broker is not read from",
                          (long long)config->permission);
        return false;
    }
    if (lite && !config->lite_pull) {
        refuse_permission(&pull->to, 1, "litePullMessageEnable is false");
        return false;
    }
    return check_group(pull, header) && check_queue(pull, header);
}

static uint32_t suspend_ms_of(const struct context *ctx, const struct proto_pull_header *header)
{
    int64_t ms = ctx->config->long_polling ? header->suspend_ms : ctx->config->short_polling_ms;

    if ((header->sys_flag & PROTO_PULL_SUSPEND) == 0 || ms <= 0) {
        return 0;
    }
    return ms > PULL_HOLD_MS_MAX ? PULL_HOLD_MS_MAX : (uint32_t)ms;
}

static uint32_t count_max_of(const struct context *ctx, const struct proto_pull_header *header)
{
    int64_t most = ctx->config->pull_count_max;

    if (header->max_msgs <= 0) {
        return 1;
    }
    return (uint32_t)(header->max_msgs < most ? header->max_msgs : most);
}

/* The group was reset and this is the first pull of the queue that hears of it. A node that does not lead sends the
 * consumer to the one that does. Returns false when there is no reset. */
static bool answer_reset(struct pull *pull, const struct proto_pull_header *header)
{
    int64_t offset =
        reset_table_untold(&pull->ctx->state->resets, header->consumer_group, header->topic, header->queue_id);
    struct reader_result reset; /* large: only what an answer reads is set */

    if (offset < 0 || pull->to.ch == NULL) {
        return false;
    }
    reset.status = READER_RESET;
    reset.min = pull->queue->cq.min;
    reset.max = pull->queue->cq.max;
    reset.next = (uint64_t)offset;
    if (!context_writable(pull->ctx)) {
        answer(pull, RESP_PULL_NOT_FOUND, (uint64_t)header->queue_offset, &reset);
        return true;
    }
    answer(pull, RESP_PULL_OFFSET_MOVED, reset.next, &reset);
    reset_taken(pull->ctx, header->consumer_group, header->topic, header->queue_id, offset);
    return true;
}

/* A pull that has passed its checks. */
static void pull_begin(struct pull *pull, const struct proto_pull_header *header)
{
    struct context *ctx = pull->ctx;

    if (answer_reset(pull, header)) {
        return;
    }
    pull->count_max = count_max_of(ctx, header);
    pull->suspend_ms = suspend_ms_of(ctx, header);
    if ((header->sys_flag & PROTO_PULL_COMMIT_OFFSET) != 0 && context_writable(ctx) && header->commit_offset >= 0) {
        offset_commit(ctx, header->consumer_group, header->topic, header->queue_id, header->commit_offset);
    }
    if (pull->to.ch == NULL) {
        return; /* a one-way pull asks for nothing more */
    }
    if (header->queue_offset < 0) {
        /* Below every queue's beginning, also an empty one's: corrected like any offset that is too small. */
        struct reader_result none = {.status = READER_TOO_SMALL,
                                     .min = pull->queue->cq.min,
                                     .max = pull->queue->cq.max,
                                     .next = pull->queue->cq.min};

        pull->suspend_ms = 0;
        answer_nothing(pull, &none);
        return;
    }
    pull->qoff = (uint64_t)header->queue_offset;
    pull_run(pull);
}

void pull_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct pull pull = {.ctx = ctx, .to = reply_to_of(ch, cmd)};
    struct proto_pull_header header;
    struct proto_problem why;
    bool found;

    if (proto_pull_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&pull.to, &why);
        return;
    }
    if (!check_request(&pull, &header, cmd->code == REQ_LITE_PULL_MESSAGE)) {
        return;
    }
    found = (header.sys_flag & PROTO_PULL_SUBSCRIPTION) != 0
                ? parse_filter(ctx, &pull.to, &header, &pull.filter)
                : find_subscription(ctx, &pull.to, &header, &pull.filter);
    if (found) {
        pull_begin(&pull, &header);
        message_filter_release(pull.filter);
    }
}
