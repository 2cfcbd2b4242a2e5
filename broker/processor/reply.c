#include "broker/processor/reply.h"

#include "broker/store/sequencer.h"
#include "broker/store/store.h"
#include "raft-log/include/raftlog/raftlog.h"
#include "remoting/base/err.h"
#include "remoting/protocol/headers.h"

#include <inttypes.h>
#include <stdio.h>

#define REMARK_BYTES_MAX 512
#define COPY_BYTES_MAX 1024 /* shorter views are copied: cheaper than an iovec entry and a reference */

bool reply_begin(const struct reply_to *to, struct proto_writer *w, int32_t code, struct mq_str remark)
{
    struct proto_head head = {
        .code = code,
        .opaque = to->opaque,
        .flag = PROTO_FLAG_RESPONSE,
        .encoding = to->encoding,
        .remark = remark,
    };

    if (to->ch == NULL) {
        return false;
    }
    proto_begin(w, net_channel_out(to->ch), &head);
    return true;
}

bool reply_begin_printed(const struct reply_to *to, struct proto_writer *w, int32_t code, const char *fmt,
                         va_list args)
{
    char text[REMARK_BYTES_MAX];
    int n;

    if (to->ch == NULL) {
        return false;
    }
    n = vsnprintf(text, sizeof(text), fmt, args);
    n = n < 0 ? 0 : n >= (int)sizeof(text) ? (int)sizeof(text) - 1 : n;
    return reply_begin(to, w, code, (struct mq_str){text, (uint32_t)n});
}

void reply_end(const struct reply_to *to, struct proto_writer *w, const void *body, size_t body_bytes)
{
    int rc = proto_end(w, body_bytes);

    if (rc == 0 && body_bytes > 0) {
        rc = mq_buf_put(w->out, body, body_bytes);
    }
    if (rc != 0) {
        net_channel_close(to->ch, rc, false);
        return;
    }
    net_channel_out_done(to->ch);
}

void reply_end_views(const struct reply_to *to, struct proto_writer *w, const struct reader_view *views, uint32_t n,
                     uint64_t bytes)
{
    int rc = proto_end(w, bytes);

    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        const struct reader_view *view = &views[i];

        rc = view->bytes <= COPY_BYTES_MAX ? mq_buf_put(net_channel_out(to->ch), view->at, view->bytes)
                                           : net_conn_out_view(&to->ch->conn, view->at, view->bytes, view->ref);
    }
    if (rc != 0) {
        net_channel_close(to->ch, rc, false);
        return;
    }
    net_channel_out_done(to->ch);
}

void reply_code(const struct reply_to *to, int32_t code)
{
    struct proto_writer w;

    if (reply_begin(to, &w, code, (struct mq_str){0})) {
        reply_end(to, &w, NULL, 0);
    }
}

void reply_body(const struct reply_to *to, const void *body, size_t body_bytes)
{
    struct proto_writer w;

    if (reply_begin(to, &w, RESP_SUCCESS, (struct mq_str){0})) {
        reply_end(to, &w, body, body_bytes);
    }
}

void reply_built(const struct reply_to *to, int rc, struct mq_buf *body)
{
    if (rc == 0) {
        reply_body(to, body->base, body->len);
    } else {
        reply_failed(to, rc);
    }
    mq_buf_free(body);
}

void reply_error(const struct reply_to *to, int32_t code, const char *fmt, ...)
{
    struct proto_writer w;
    va_list args;
    bool waits;

    va_start(args, fmt);
    waits = reply_begin_printed(to, &w, code, fmt, args);
    va_end(args);
    if (waits) {
        reply_end(to, &w, NULL, 0);
    }
}

void reply_offset(const struct reply_to *to, int64_t offset)
{
    struct proto_offset_response_header header = {.offset = offset};
    struct proto_writer w;

    if (reply_begin(to, &w, RESP_SUCCESS, (struct mq_str){0})) {
        proto_offset_response_header_encode(&w, &header);
        reply_end(to, &w, NULL, 0);
    }
}

void reply_no_topic(const struct reply_to *to, struct mq_str topic)
{
    reply_error(to, RESP_TOPIC_NOT_EXIST, "topic \"" MQ_STR_FMT "\" does not exist", REMARK_ARG(topic));
}

void reply_bad_topic(const struct reply_to *to, struct mq_str topic, enum proto_name_problem problem)
{
    reply_error(to, RESP_INVALID_PARAMETER, "topic \"" MQ_STR_FMT "\" is %s", REMARK_ARG(topic),
                proto_name_problem_text(problem, false));
}

void reply_no_group(const struct reply_to *to, struct mq_str group)
{
    reply_error(to, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "group \"" MQ_STR_FMT "\" does not exist", REMARK_ARG(group));
}

bool reply_checked_group(const struct reply_to *to, const char *field, struct mq_str group)
{
    enum proto_name_problem problem = proto_group_check(group);

    if (problem != PROTO_NAME_OK) {
        reply_error(to, RESP_INVALID_PARAMETER, "%s \"" MQ_STR_FMT "\" is %s", field, REMARK_ARG(group),
                    proto_name_problem_text(problem, true));
    }
    return problem == PROTO_NAME_OK;
}

void reply_bad_body(const struct reply_to *to, const struct proto_command *cmd, int rc)
{
    reply_error(to, RESP_SYSTEM_ERROR, "body of %u bytes: %s", cmd->body_bytes, mq_strerror(rc));
}

void reply_problem(const struct reply_to *to, const struct proto_problem *why)
{
    if (why->missing) {
        reply_error(to, RESP_SYSTEM_ERROR, "field %s is missing", why->field);
        return;
    }
    reply_error(to, RESP_SYSTEM_ERROR, "field %s: \"" MQ_STR_FMT "\" is not a number, or too large for one",
                why->field, REMARK_ARG(why->value));
}

void reply_full(const struct reply_to *to, const struct rlog_space *space)
{
    bool known = space->total != UINT64_MAX && space->total != 0;

    if (known) {
        reply_error(
            to, RESP_SERVICE_NOT_AVAILABLE,
            "the disk that holds %s is %.1f%% full: %llu MiB are free or allocated ahead, %llu MiB are needed; "
            "nothing was stored",
            space->path, 100.0 * (double)(space->total - space->free) / (double)space->total,
            (unsigned long long)((space->free + space->ahead) >> 20), (unsigned long long)(space->needed >> 20));
    } else {
        reply_error(to, RESP_SERVICE_NOT_AVAILABLE,
                    "the disk that holds %s has no room for the next segment of the log; nothing was stored",
                    space->path);
    }
}

void reply_busy(const struct reply_to *to, const struct reply_waiting *waiting, const struct rlog_bound *bound)
{
    if (bound->what != NULL) {
        reply_error(to, RESP_SYSTEM_BUSY,
                    "[OVERLOAD] %" PRIu64 " of at most %" PRIu64 " bytes wait to be proposed, the oldest for %" PRId64
                    " ms, as the bound on %s is reached: %" PRIu64 " of %" PRIu64 "; nothing was stored",
                    waiting->bytes, waiting->bytes_max, waiting->ms, bound->what, bound->used, bound->max);
    } else {
        reply_error(to, RESP_SYSTEM_BUSY,
                    "[OVERLOAD] %" PRIu64 " of at most %" PRIu64 " bytes wait to be proposed, the oldest for %" PRId64
                    " ms; nothing was stored",
                    waiting->bytes, waiting->bytes_max, waiting->ms);
    }
}

void reply_failed(const struct reply_to *to, int rc)
{
    switch (rc) {
    case MQ_ENOTLEADER:
        reply_error(to, RESP_SERVICE_NOT_AVAILABLE, "this node does not lead its group; nothing was stored");
        break;
    case MQ_EBUSY:
        reply_error(to, RESP_SYSTEM_BUSY,
                    "[OVERLOAD] more than %u MiB wait for the disks of a majority; nothing was stored",
                    SEQUENCER_WAITING_BYTES_MAX >> 20);
        break;
    case MQ_EFULL:
        reply_error(to, RESP_SERVICE_NOT_AVAILABLE, "the disk of this node has no room to spare; nothing was stored");
        break;
    case MQ_EUNSURE:
        reply_error(to, RESP_SYSTEM_ERROR,
                    "[UNKNOWN] leadership was lost before a majority answered; it may still be stored");
        break;
    case MQ_ETOOBIG:
        reply_error(to, RESP_MESSAGE_ILLEGAL,
                    "does not fit into one entry of the log (mappedFileSizeCommitLog); nothing was stored");
        break;
    default:
        reply_error(to, RESP_SYSTEM_ERROR, "%s; nothing was stored", mq_strerror(rc));
        break;
    }
}
