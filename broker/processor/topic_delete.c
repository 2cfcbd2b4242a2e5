/* DELETE_TOPIC_IN_BROKER (215). The deletion is an item: behind it the topic, its queues, offsets and resets are gone
 * on every member, and a topic that comes later under the name begins at 0. The topics for the retries of its pops go
 * with it. Its messages stay in the log as long as others.
 *
 * Source: RocketMQ's AdminBrokerProcessor, KeyBuilder. */
#include "broker/processor/processors.h"
#include "broker/processor/topic_put.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/names.h"

#include <stdio.h>

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

/* A group's retries of pops from T are in %RETRY%group_T or, of newer brokers, in %RETRY%group+T. The first may as
 * well be what a group called group_T sends back: its messages stay. */
static void add_retry_topics(void *data, const char *group)
{
    static const char marks[] = {'_', '+'};
    struct deletion *deletion = data;
    struct group_table *groups = &deletion->ctx->state->groups;
    char name[2 * NAME_TEXT_MAX];

    for (size_t i = 0; i < sizeof(marks); i++) {
        int n =
            snprintf(name, sizeof(name), "%%RETRY%%%s%c" MQ_STR_FMT, group, marks[i], MQ_STR_ARG(deletion->topic));

        if (n > 0 && n < NAME_TEXT_MAX &&
            group_table_find(groups, mq_str_of(name + PROTO_RETRY_PREFIX.len)) == NULL &&
            topic_table_find(&deletion->ctx->state->topics, mq_str_of(name)) != NULL) {
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
    static const struct reply_to nobody = {0};
    const char *at = (const char *)deletion->names.base, *end = at + deletion->names.len;

    for (int rc = 0; rc == 0 && at < end; at += strlen(at) + 1) {
        bool is_last = at + strlen(at) + 1 == end;

        struct sequencer_pending pending = pending_for_topics(is_last ? to : &nobody, deletion->ctx);

        rc = add_deletion(deletion->ctx, at, &pending);
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

/* Nothing is done here. The stock tool that asks followers, deleteSubGroup, asks every member of the group, in any
 * order, and gives up at the first that refuses; it would delete nothing then. */
static void leave_to_leader(const struct context *ctx, const struct reply_to *to)
{
    if (ctx->role.leader == 0) {
        reply_error(to, RESP_SERVICE_NOT_AVAILABLE, "group %s has no leader known here (term %llu): try again",
                    ctx->config->group, (unsigned long long)ctx->role.term);
    } else {
        reply_error(to, RESP_SUCCESS, "this node follows and does nothing: n%u leads group %s, ask it",
                    ctx->role.leader - 1, ctx->config->group);
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
    } else {
        leave_to_leader(ctx, &to);
    }
}
