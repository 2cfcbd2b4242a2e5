#include "client/tools/tool.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/json.h"
#include "remoting/protocol/codes.h"

#include <stdarg.h>
#include <stdio.h>

#define ASK_MS 3000
#define POLL_MS 20 /* between two looks at something that is being made */

int tool_fail(const char *command, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fprintf(stderr, "raftmq %s: ", command);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    return 1;
}

int tool_open(struct tool *tool, const struct rmq_options *options)
{
    int rc = net_loop_init(&tool->loop);

    if (rc != 0) {
        return rc;
    }
    rc = rmq_client_new(&tool->loop, options, &tool->client);
    if (rc != 0) {
        net_loop_fini(&tool->loop);
    }
    return rc;
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

void tool_close(struct tool *tool)
{
    bool closed = false;

    rmq_client_close(tool->client, on_closed, &closed);
    while (!closed) {
        uv_run(&tool->loop.uv, UV_RUN_ONCE);
    }
    net_loop_run(&tool->loop); /* what is left are handles that close */
    net_loop_fini(&tool->loop);
}

static void on_late(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void on_handle_closed(uv_handle_t *handle)
{
    *(bool *)handle->data = true;
}

bool tool_wait(struct tool *tool, const bool *done, uint32_t timeout_ms)
{
    bool late = false, gone = false;
    uv_timer_t timer;

    if (*done) {
        return true;
    }
    uv_timer_init(&tool->loop.uv, &timer);
    timer.data = &late;
    uv_update_time(&tool->loop.uv);
    uv_timer_start(&timer, on_late, timeout_ms, 0);
    while (!*done && !late) {
        uv_run(&tool->loop.uv, UV_RUN_ONCE);
    }
    timer.data = &gone;
    uv_close((uv_handle_t *)&timer, on_handle_closed);
    while (!gone) {
        uv_run(&tool->loop.uv, UV_RUN_ONCE);
    }
    return *done;
}

struct pending_ask {
    struct tool_answer *out;
    const char *key; /* of the wanted field, or NULL */
    int64_t *number;
    bool done;
};

static void on_answer(void *data, int status, struct proto_command *answer)
{
    struct pending_ask *ask = data;

    ask->done = true;
    ask->out->status = status;
    if (status != 0) {
        return;
    }
    ask->out->code = answer->code;
    if (mq_buf_put_str(&ask->out->remark, answer->remark) != 0 ||
        mq_buf_put(&ask->out->body, answer->body, answer->body_bytes) != 0) {
        ask->out->status = MQ_ENOMEM;
    }
    if (ask->key != NULL && answer->code == RESP_SUCCESS) {
        mq_str_to_i64(proto_fields_get(&answer->fields, mq_str_of(ask->key)), ask->number);
    }
}

void tool_ask_field(struct tool *tool, const char *addr, int32_t code, const struct rmq_field *fields, uint32_t n,
                    uint32_t timeout_ms, const char *key, int64_t *number, struct tool_answer *out)
{
    struct pending_ask ask = {.out = out, .key = key, .number = number};
    int rc;

    *out = (struct tool_answer){.code = -1};
    rc = rmq_ask(tool->client, addr, code, fields, n, NULL, 0, timeout_ms, on_answer, &ask);
    if (rc != 0) {
        out->status = rc;
        return;
    }
    while (!tool_wait(tool, &ask.done, timeout_ms + 1000)) {
    } /* the client has the deadline */
}

void tool_ask(struct tool *tool, const char *addr, int32_t code, const struct rmq_field *fields, uint32_t n,
              uint32_t timeout_ms, struct tool_answer *out)
{
    tool_ask_field(tool, addr, code, fields, n, timeout_ms, NULL, NULL, out);
}

void tool_answer_free(struct tool_answer *answer)
{
    mq_buf_free(&answer->remark);
    mq_buf_free(&answer->body);
}

struct pending_members {
    struct tool_members *out;
    int status;
    bool done;
};

static char *copy_text(char **at, const char *text)
{
    char *copy = *at;
    size_t n = strlen(text) + 1;

    memcpy(copy, text, n);
    *at += n;
    return copy;
}

static int copy_members(struct tool_members *out, const struct rmq_member *members, uint32_t n)
{
    size_t bytes = 1;
    char *at;

    for (uint32_t i = 0; i < n; i++) {
        bytes += strlen(members[i].cluster) + strlen(members[i].broker_name) + strlen(members[i].addr) + 3;
    }
    out->list = mq_calloc(n + 1, sizeof(*out->list));
    out->text = mq_malloc(bytes);
    if (out->list == NULL || out->text == NULL) {
        return MQ_ENOMEM;
    }
    at = out->text;
    for (uint32_t i = 0; i < n; i++) {
        out->list[i].cluster = copy_text(&at, members[i].cluster);
        out->list[i].broker_name = copy_text(&at, members[i].broker_name);
        out->list[i].addr = copy_text(&at, members[i].addr);
        out->list[i].broker_id = members[i].broker_id;
    }
    out->n = n;
    return 0;
}

static void on_members(void *data, int status, const struct rmq_member *members, uint32_t n)
{
    struct pending_members *pending = data;

    pending->done = true;
    pending->status = status == 0 ? copy_members(pending->out, members, n) : status;
}

int tool_members(struct tool *tool, struct tool_members *out)
{
    struct pending_members pending = {.out = out};
    int rc;

    *out = (struct tool_members){0};
    rc = rmq_members(tool->client, on_members, &pending);
    if (rc != 0) {
        return rc;
    }
    while (!tool_wait(tool, &pending.done, ASK_MS)) {
    }
    return pending.status;
}

void tool_members_free(struct tool_members *members)
{
    mq_free(members->list);
    mq_free(members->text);
    *members = (struct tool_members){0};
}

struct pending_route {
    int status;
    uint32_t queues;
    bool done;
};

static void on_route(void *data, int status, const struct rmq_queue *queues, uint32_t n)
{
    struct pending_route *pending = data;

    (void)queues;
    pending->done = true;
    pending->status = status;
    pending->queues = n;
}

static int find_route(struct tool *tool, const char *topic, uint32_t *queues)
{
    struct pending_route pending = {0};
    int rc = rmq_route(tool->client, mq_str_of(topic), true, false, on_route, &pending);

    if (rc != 0) {
        return rc;
    }
    while (!tool_wait(tool, &pending.done, ASK_MS)) {
    }
    *queues = pending.queues;
    return pending.status == 0 && pending.queues == 0 ? MQ_ENOTFOUND : pending.status;
}

/* Asks every leader to create the topic. Returns 0 when at least one did. */
static int create_topic(struct tool *tool, const char *topic, uint32_t queues, struct mq_buf *remark)
{
    char number[16];
    const struct rmq_field fields[] = {
        {"topic", topic}, {"defaultTopic", "TBW102"},        {"readQueueNums", number}, {"writeQueueNums", number},
        {"perm", "6"},    {"topicFilterType", "SINGLE_TAG"}, {"topicSysFlag", "0"},     {"order", "false"}};
    struct tool_members members;
    int rc = tool_members(tool, &members);
    int result = rc != 0 ? rc : MQ_ENOTFOUND;

    snprintf(number, sizeof(number), "%u", queues);
    for (uint32_t i = 0; i < members.n && rc == 0; i++) {
        struct tool_answer answer;

        if (members.list[i].broker_id != 0) {
            continue;
        }
        tool_ask(tool, members.list[i].addr, REQ_UPDATE_AND_CREATE_TOPIC, fields, ARRAY_SIZE(fields), ASK_MS,
                 &answer);
        if (answer.status == 0 && answer.code == RESP_SUCCESS) {
            result = 0;
        } else if (answer.status == 0 && answer.code != RESP_SERVICE_NOT_AVAILABLE && result != 0) {
            result = MQ_EUNSUPPORTED;
            if (remark != NULL) {
                remark->len = 0;
                mq_buf_put_str(remark, mq_buf_str(&answer.remark));
            }
        }
        tool_answer_free(&answer);
    }
    tool_members_free(&members);
    return result;
}

int tool_topic_make(struct tool *tool, const char *topic, uint32_t queues, uint32_t timeout_ms, struct mq_buf *remark,
                    uint32_t *queues_out)
{
    uint64_t end_ms = mq_clock_mono_ms() + timeout_ms;
    const bool never = false;
    bool created = false;
    int rc;

    for (;;) {
        rc = find_route(tool, topic, queues_out);
        if (rc == 0 || (rc != MQ_ENOTFOUND && !created) || mq_clock_mono_ms() >= end_ms) {
            return rc == MQ_ENOTFOUND && created ? MQ_ETIMEDOUT : rc;
        }
        if (rc == MQ_ENOTFOUND && !created) {
            rc = create_topic(tool, topic, queues, remark);
            if (rc == MQ_EUNSUPPORTED) {
                return rc;
            }
            created = rc == 0;
        }
        tool_wait(tool, &never, POLL_MS);
    }
}

bool tool_number(const char *command, const char *what, const char *text, int64_t min, int64_t max, int64_t *out)
{
    int64_t value;

    if (mq_str_to_i64(mq_str_of(text), &value) != 0 || value < min || value > max) {
        tool_fail(command, "%s: \"%s\" is not a number from %lld to %lld", what, text, (long long)min,
                  (long long)max);
        return false;
    }
    *out = value;
    return true;
}

bool tool_json_next(struct mq_json *json, struct mq_str *key, struct mq_str *value)
{
    enum mq_json_kind kind = mq_json_next(json);

    if (kind == MQ_JSON_OBJECT_BEGIN && json->depth == 1) {
        kind = mq_json_next(json);
    }
    while (kind == MQ_JSON_KEY) {
        *key = json->text;
        if (mq_json_scalar(json, value) != 0) {
            return false;
        }
        if (value->at != NULL) {
            return true;
        }
        kind = mq_json_next(json);
    }
    return false;
}
