/* QUERY_ASSIGNMENT (400): which queues of a topic a consumer is to read, and how. Consumers with
 * clientRebalance=false ask for it in place of 38.
 *
 * Happy path: decode -> checks -> a name server is asked for the topic's route, as the queues may lie on several
 * groups of brokers -> the queues are divided among the members that are connected here -> the answer. Where that
 * comes to nothing (no name server answers, no such topic, a consumer or group that has not beaten here yet) the
 * answer has no list, and the consumer keeps what it has. Source: RocketMQ's QueryAssignmentProcessor. */
#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "broker/session/allocation.h"
#include "broker/session/consumer_table.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_assignment.h"
#include "remoting/protocol/body_client.h"
#include "remoting/protocol/body_route.h"
#include "remoting/protocol/names.h"

#define ROUTE_MS 800u       /* for the name server's answer: clients wait 1 s at first */
#define UNDER_WAY_MAX 4096u /* queries that wait for a route */

/* A query until its answer. */
struct assignment_job {
    struct context *ctx;
    struct reply_to to; /* with a reference to its channel */
    char *json;         /* owned; the query's names lie in it */
    struct proto_assignment_query query;
    enum allocation_strategy strategy;
    bool broadcasting;
    struct net_call call;
};

static void job_end(struct assignment_job *job)
{
    reply_to_release(&job->to);
    mq_free(job->json);
    mq_free(job);
}

/* As an administrator has said (401), or the configuration. */
static struct request_mode mode_of(const struct context *ctx, const struct proto_assignment_query *query)
{
    struct request_mode mode = {.pop = ctx->config->request_mode == 1 &&
                                       !mq_str_starts(query->topic, PROTO_RETRY_PREFIX),
                                .pop_share_queues = (int32_t)ctx->config->pop_share_queues};

    (void)mode_table_get(&ctx->state->modes, query->group, query->topic, &mode);
    return mode;
}

/* @queues: NULL: the consumer keeps what it has. */
static void answer(const struct assignment_job *job, const struct proto_queue_refs *queues, bool pop)
{
    struct mq_buf body = {0};
    int rc = proto_assignments_encode(&body, queues, pop);

    reply_built(&job->to, rc, &body);
}

/* @queues: all of the topic. */
static void divide(const struct assignment_job *job, struct proto_queue_refs *queues)
{
    const struct context *ctx = job->ctx;
    const struct proto_assignment_query *query = &job->query;
    struct request_mode mode = mode_of(ctx, query);
    struct proto_str_list members = {0};
    struct proto_queue_refs mine = {0};
    int rc = consumer_table_ids(ctx->consumers, query->group, &members);

    allocation_prepare(queues, &members);
    if (rc != 0) {
        reply_failed(&job->to, rc);
    } else if (job->broadcasting || !ctx->config->server_balances) {
        answer(job, queues, mode.pop);
    } else if (members.count == 0) {
        answer(job, NULL, false);
    } else {
        rc = mode.pop
                 ? allocation_pop(job->strategy, queues, &members, query->client_id, mode.pop_share_queues, &mine)
                 : allocation_pull(job->strategy, queues, &members, query->client_id, &mine);
        if (rc == 0 || rc == MQ_ENOTFOUND) {
            answer(job, rc == 0 ? &mine : NULL, mode.pop);
        } else {
            reply_failed(&job->to, rc);
        }
    }
    proto_queue_refs_free(&mine);
    proto_str_list_free(&members);
}

static int add_queues(struct proto_queue_refs *queues, struct mq_str topic, struct mq_str broker_name, int64_t n)
{
    for (int32_t i = 0; i < n; i++) {
        struct proto_queue_ref *queue = proto_queue_refs_add(queues);

        if (queue == NULL) {
            return MQ_ENOMEM;
        }
        *queue = (struct proto_queue_ref){topic, broker_name, i};
    }
    return 0;
}

/* The readable ones of a route. */
static int queues_of_route(const struct proto_route *route, struct mq_str topic, struct proto_queue_refs *out)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < route->queues.count; i++) {
        const struct proto_queue_data *data = &route->queues.items[i];

        if ((data->perm & (int32_t)TOPIC_PERM_READ) != 0 && data->read_queues <= (int32_t)TOPIC_QUEUES_MAX) {
            rc = add_queues(out, topic, data->broker_name, data->read_queues);
        }
    }
    return rc;
}

static void on_route(struct net_call *call, int status, struct proto_command *reply)
{
    struct assignment_job *job = call->data;
    struct proto_queue_refs queues = {0};
    struct proto_route route = {0};
    char *json = NULL;
    int rc = status != 0 || reply->code != RESP_SUCCESS ? MQ_ENOTFOUND : 0;

    job->ctx->assignments--;
    if (rc == 0) {
        json = mq_strndup((const char *)reply->body, reply->body_bytes);
        rc = json != NULL ? proto_route_decode(json, reply->body_bytes, &route) : MQ_ENOMEM;
    }
    rc = rc == 0 ? queues_of_route(&route, job->query.topic, &queues) : rc;
    if (rc == MQ_ENOMEM) {
        reply_failed(&job->to, rc);
    } else if (rc != 0) {
        answer(job, NULL, false);
    } else {
        divide(job, &queues);
    }
    proto_route_free(&route);
    mq_free(json);
    proto_queue_refs_free(&queues);
    job_end(job);
}

/* There is no name server: the queues are ours alone. */
static void divide_own(const struct assignment_job *job)
{
    const struct topic *topic = topic_table_find(&job->ctx->state->topics, job->query.topic);
    struct proto_queue_refs queues = {0};
    int rc = 0;

    if (topic == NULL) {
        answer(job, NULL, false);
        return;
    }
    if ((topic->perm & TOPIC_PERM_READ) != 0) {
        rc = add_queues(&queues, job->query.topic, mq_str_of(job->ctx->config->broker_name), topic->read_queues);
    }
    if (rc == 0) {
        divide(job, &queues);
    } else {
        reply_failed(&job->to, rc);
    }
    proto_queue_refs_free(&queues);
}

/* @job: taken. */
static void ask_route(struct assignment_job *job)
{
    struct context *ctx = job->ctx;
    int rc = ctx->assignments < UNDER_WAY_MAX && ctx->ask_route.start != NULL ? 0 : MQ_EBUSY;

    job->call.data = job;
    if (rc == 0) {
        rc = ctx->ask_route.start(ctx->ask_route.data, job->query.topic, &job->call, ROUTE_MS, on_route);
    }
    if (rc == 0) {
        ctx->assignments++;
        return;
    }
    if (rc == MQ_ENOTFOUND) {
        divide_own(job);
    } else if (rc == MQ_ENOMEM) {
        reply_failed(&job->to, rc);
    } else {
        answer(job, NULL, false);
    }
    job_end(job);
}

/* False after an answer. */
static bool check_query(struct assignment_job *job)
{
    static const char *const keys[] = {"topic", "consumerGroup", "clientId"};
    const struct proto_assignment_query *query = &job->query;
    const struct mq_str values[] = {query->topic, query->group, query->client_id};

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (values[i].len == 0) {
            reply_error(&job->to, RESP_SYSTEM_ERROR, "%s is missing in the body", keys[i]);
            return false;
        }
    }
    job->broadcasting = mq_str_eq(query->model, MQ_STR("BROADCASTING"));
    if (!job->broadcasting && !mq_str_eq(query->model, MQ_STR("CLUSTERING"))) {
        reply_error(&job->to, RESP_SYSTEM_ERROR,
                    "messageModel \"" MQ_STR_FMT "\": must be CLUSTERING or BROADCASTING", REMARK_ARG(query->model));
        return false;
    }
    if (!allocation_strategy_of(query->strategy, &job->strategy) && !job->broadcasting &&
        job->ctx->config->server_balances) {
        answer(job, NULL, false); /* one that only the client knows */
        return false;
    }
    return true;
}

void query_assignment(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct assignment_job *job = mq_calloc(1, sizeof(*job));
    int rc;

    if (job == NULL) {
        reply_failed(&to, MQ_ENOMEM);
        return;
    }
    job->ctx = ctx;
    job->to = to;
    reply_to_keep(&to);
    job->json = mq_strndup((const char *)cmd->body, cmd->body_bytes);
    rc = job->json != NULL ? proto_assignment_query_decode(job->json, cmd->body_bytes, &job->query) : MQ_ENOMEM;
    if (rc != 0) {
        reply_bad_body(&to, cmd, rc);
        job_end(job);
    } else if (check_query(job)) {
        ask_route(job);
    } else {
        job_end(job);
    }
}
