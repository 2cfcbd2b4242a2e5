/* DELETE_TOPIC_IN_BROKER (215). The deletion is an item: behind it the topic, its queues, offsets and resets are gone
 * on every member, and a topic that comes later under the name begins at 0. The topics for the retries of its pops go
 * with it. Its messages stay in the log as long as others.
 *
 * Tools of 5.x ask every member, the leader first. One that does not lead answers when it has applied the deletion.
 * Source: RocketMQ's AdminBrokerProcessor, KeyBuilder. */
#include "broker/processor/topic_delete.h"

#include "broker/processor/processors.h"
#include "broker/processor/topic_put.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/names.h"

#include <stdio.h>

#define WAIT_MS 2000 /* tools wait 5 s */
#define WAITS_MAX 1024

struct topic_wait {
    struct topic_wait *next;
    struct reply_to to; /* with a reference to its channel */
    uint64_t until_ms;
    char name[NAME_TEXT_MAX];
};

/* --- the leader --- */

/* The topics that go: the one asked for, and those of its pops. */
struct deletion {
    struct context *ctx;
    struct mq_str topic;
    struct mq_buf names; /* owned; with a NUL behind each */
    int rc;
};

static void add_name(struct deletion *deletion, const char *name)
{
    if (deletion->rc == 0) {
        deletion->rc = mq_buf_put(&deletion->names, name, strlen(name) + 1);
    }
}

/* A group's retries of pops from T are in %RETRY%group_T or, of newer brokers, in %RETRY%group+T. */
static void add_retry_topics(void *data, const char *group)
{
    static const char marks[] = {'_', '+'};
    struct deletion *deletion = data;
    char name[2 * NAME_TEXT_MAX];

    for (size_t i = 0; i < sizeof(marks); i++) {
        int n =
            snprintf(name, sizeof(name), "%%RETRY%%%s%c" MQ_STR_FMT, group, marks[i], MQ_STR_ARG(deletion->topic));

        if (n > 0 && n < NAME_TEXT_MAX && topic_table_find(&deletion->ctx->state->topics, mq_str_of(name)) != NULL) {
            add_name(deletion, name);
        }
    }
}

/* One item. Returns 0, or why it was not added. */
static int add_deletion(struct context *ctx, const char *name, const struct sequencer_pending *p)
{
    struct topic_queues *queues = queue_table_topic(&ctx->state->store->queues, mq_str_of(name));
    Raftmq__TopicDelete item = RAFTMQ__TOPIC_DELETE__INIT;
    uint32_t bytes;
    uint8_t *at;
    int rc;

    if (queues == NULL) {
        return MQ_ENOMEM;
    }
    item.name = (char *)name;
    bytes = command_bytes(&item.base);
    rc = sequencer_reserve(ctx->sequencer, bytes, &at);
    rc = rc == 0 ? sequencer_restart(ctx->sequencer, queues) : rc;
    if (rc == 0) {
        command_encode(COMMAND_TOPIC_DELETE, &item.base, at);
        sequencer_add(ctx->sequencer, bytes, NULL, 0, 1, p);
        topic_table_note_deletion(&ctx->state->topics, mq_str_of(name));
    }
    return rc;
}

/* The last one is answered for: it is behind the others in the log. What the log did not take of them is no harm, the
 * deletion may be asked for again. */
static void propose(struct deletion *deletion, const struct reply_to *to)
{
    static const struct sequencer_pending nobody = {0};
    struct sequencer_pending pending = pending_for(to, names_done, deletion->ctx);
    const char *at = (const char *)deletion->names.base, *end = at + deletion->names.len;

    for (int rc = 0; rc == 0 && at < end; at += strlen(at) + 1) {
        bool is_last = at + strlen(at) + 1 == end;

        rc = add_deletion(deletion->ctx, at, is_last ? &pending : &nobody);
        if (rc != 0) {
            reply_failed(to, rc);
        }
    }
}

static void delete_here(struct context *ctx, const struct reply_to *to, struct mq_str topic, const char *name)
{
    struct deletion deletion = {.ctx = ctx, .topic = topic};

    if (row_table_count(&ctx->state->deleted.rows) >= DELETED_TOPICS_MAX) {
        reply_error(to, RESP_SYSTEM_ERROR,
                    "%u topics were deleted since the log's beginning, the most allowed: wait until old messages go",
                    DELETED_TOPICS_MAX);
        return;
    }
    if (ctx->config->clear_retry_topics) {
        offset_table_groups_of(&ctx->state->offsets, topic, add_retry_topics, &deletion);
    }
    add_name(&deletion, name);
    if (deletion.rc != 0) {
        reply_failed(to, deletion.rc);
    } else {
        propose(&deletion, to);
    }
    mq_buf_free(&deletion.names);
}

/* --- others --- */

static void end_wait(struct context *ctx, struct topic_wait *wait)
{
    ctx->n_topic_waits--;
    if (wait->to.ch != NULL) {
        net_channel_release(wait->to.ch);
    }
    mq_free(wait);
}

static void refuse(struct context *ctx, const struct reply_to *to, const char *name)
{
    reply_error(to, RESP_SERVICE_NOT_AVAILABLE,
                "this node follows and has not seen topic \"%s\" deleted: n%lld leads group %s", name,
                (long long)ctx->role.leader - 1, ctx->config->group);
}

static void wait_for_deletion(struct context *ctx, const struct reply_to *to, const char *name)
{
    struct topic_wait *wait = ctx->n_topic_waits < WAITS_MAX ? mq_calloc(1, sizeof(*wait)) : NULL;

    if (wait == NULL || to->ch == NULL) {
        mq_free(wait);
        refuse(ctx, to, name);
        return;
    }
    wait->to = *to;
    (void)net_channel_acquire(to->ch);
    wait->until_ms = mq_clock_mono_ms() + WAIT_MS;
    memcpy(wait->name, name, strlen(name) + 1);
    wait->next = ctx->topic_waits;
    ctx->topic_waits = wait;
    ctx->n_topic_waits++;
}

/* Ends the waits of which @is_over says so. */
static void end_waits(struct context *ctx, bool (*is_over)(const struct topic_wait *wait, const void *data),
                      const void *data, bool applied)
{
    struct topic_wait **at = &ctx->topic_waits;

    while (*at != NULL) {
        struct topic_wait *wait = *at;

        if (!is_over(wait, data)) {
            at = &wait->next;
            continue;
        }
        *at = wait->next;
        if (applied) {
            reply_code(&wait->to, RESP_SUCCESS);
        } else {
            refuse(ctx, &wait->to, wait->name);
        }
        end_wait(ctx, wait);
    }
}

static bool is_named(const struct topic_wait *wait, const void *name)
{
    return mq_str_eq(mq_str_of(wait->name), *(const struct mq_str *)name);
}

void topic_delete_applied(struct context *ctx, struct mq_str topic)
{
    end_waits(ctx, is_named, &topic, true);
}

static bool is_late(const struct topic_wait *wait, const void *now_ms)
{
    return wait->until_ms <= *(const uint64_t *)now_ms;
}

void topic_delete_expire(struct context *ctx, uint64_t now_ms)
{
    end_waits(ctx, is_late, &now_ms, false);
}

void topic_delete_forget(struct context *ctx)
{
    while (ctx->topic_waits != NULL) {
        struct topic_wait *wait = ctx->topic_waits;

        ctx->topic_waits = wait->next;
        end_wait(ctx, wait);
    }
}

void delete_topic(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_topic_header header;
    struct proto_problem why;
    char name[NAME_TEXT_MAX];

    if (proto_topic_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    /* Names that nobody may create any more, or that only the broker creates, may still be there. */
    if (proto_topic_check(header.topic) == PROTO_NAME_BLANK || !name_text(header.topic, name) ||
        strchr(name, '/') != NULL) {
        reply_bad_topic(&to, header.topic, proto_topic_check(header.topic));
    } else if (topic_is_system(ctx, header.topic)) {
        reply_error(&to, RESP_INVALID_PARAMETER, "topic \"" MQ_STR_FMT "\" is a system topic",
                    REMARK_ARG(header.topic));
    } else if (context_writable(ctx)) {
        delete_here(ctx, &to, header.topic, name);
    } else if (topic_table_find(&ctx->state->topics, header.topic) == NULL) {
        reply_code(&to, RESP_SUCCESS);
    } else {
        wait_for_deletion(ctx, &to, name);
    }
}
