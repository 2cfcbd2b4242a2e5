/* Changes of the broker group: MEMBER_ADD (30002), MEMBER_PROMOTE (30003), MEMBER_REMOVE (30004), MEMBER_REPLACE
 * (30005) and TRANSFER (30006), our own requests, answered by the leader when the change is done. The remark says in
 * words what was done or why not. A member is named as in dLegerPeers: n0, n1, ... */
#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/headers.h"

#include <string.h>

#define ADDRESS_MAX 255u

/* A request until its change has ended. */
struct group_job {
    struct reply_to to; /* with a reference to its channel */
    union {
        struct rlog_change change;
        struct rlog_transfer transfer;
    };
};

/* "n3" as member 4; 0 when it is none. */
static uint32_t member_of(struct mq_str text)
{
    uint32_t number = 0;

    if (text.len < 2 || text.len > 9 || text.at[0] != 'n') {
        return 0;
    }
    for (size_t i = 1; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return 0;
        }
        number = number * 10 + (uint32_t)(text.at[i] - '0');
    }
    return number + 1;
}

static struct group_job *job_new(const struct reply_to *to)
{
    struct group_job *job = mq_calloc(1, sizeof(*job));

    if (job == NULL) {
        reply_failed(to, MQ_ENOMEM);
        return NULL;
    }
    job->to = *to;
    reply_to_keep(&job->to);
    return job;
}

static void job_end(struct group_job *job)
{
    reply_to_release(&job->to);
    mq_free(job);
}

/* 14 and 2 mean that asking again may help: elsewhere, or later. */
static int32_t code_of(int status)
{
    switch (status) {
    case 0:
        return RESP_SUCCESS;
    case MQ_ENOTLEADER:
    case MQ_EUNSURE:
    case MQ_ECLOSED:
        return RESP_SERVICE_NOT_AVAILABLE;
    case MQ_EBUSY:
        return RESP_SYSTEM_BUSY;
    case MQ_ENOMEM:
    case MQ_ETIMEDOUT:
        return RESP_SYSTEM_ERROR;
    default:
        return RESP_INVALID_PARAMETER;
    }
}

static void on_changed(struct rlog_change *change, int status)
{
    struct group_job *job = container_of(change, struct group_job, change);

    reply_error(&job->to, code_of(status), "%s", change->text);
    job_end(job);
}

static int begin_change(struct context *ctx, int32_t code, uint32_t id, const char *address, bool learner,
                        struct rlog_change *change)
{
    const struct rlog_member member = {.id = id, .address = address};

    switch (code) {
    case REQ_RAFTMQ_MEMBER_ADD:
        return rlog_member_add(ctx->log, &member, learner, change, on_changed);
    case REQ_RAFTMQ_MEMBER_PROMOTE:
        return rlog_member_promote(ctx->log, id, change, on_changed);
    case REQ_RAFTMQ_MEMBER_REMOVE:
        return rlog_member_remove(ctx->log, id, change, on_changed);
    default:
        return rlog_member_replace(ctx->log, id, address[0] != '\0' ? address : NULL, change, on_changed);
    }
}

void change_group(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_group_change_header header;
    struct proto_problem why;
    char address[ADDRESS_MAX + 1] = "";
    struct group_job *job;
    int rc;

    if (proto_group_change_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (member_of(header.member) == 0 || header.address.len > ADDRESS_MAX) {
        reply_error(&to, RESP_INVALID_PARAMETER, "member must be n0, n1, ..., and address host:port");
        return;
    }
    if (header.address.len > 0) {
        memcpy(address, header.address.at, header.address.len);
    }
    job = job_new(&to);
    if (job == NULL) {
        return;
    }
    rc = begin_change(ctx, cmd->code, member_of(header.member), address, header.learner, &job->change);
    if (rc != 0) {
        reply_error(&to, code_of(rc), "%s", job->change.text);
        job_end(job);
    }
}

static void on_handed_over(struct rlog_transfer *transfer, int status)
{
    struct group_job *job = container_of(transfer, struct group_job, transfer);

    if (status == 0) {
        reply_error(&job->to, RESP_SUCCESS, "n%u leads now", transfer->leader - 1);
    } else if (transfer->leader != 0) {
        reply_error(&job->to, RESP_SYSTEM_ERROR, "n%u did not take over; n%u leads", transfer->target - 1,
                    transfer->leader - 1);
    } else {
        reply_error(&job->to, RESP_SYSTEM_ERROR, "n%u was asked to take over, and nobody is known to lead yet",
                    transfer->target - 1);
    }
    job_end(job);
}

void transfer_leadership(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_group_change_header header;
    struct proto_problem why;
    struct group_job *job;
    uint32_t target;
    int rc;

    if (proto_group_change_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    target = member_of(header.member);
    if (target == 0 && header.member.len > 0) {
        reply_error(&to, RESP_INVALID_PARAMETER, "member must be n0, n1, ...");
        return;
    }
    if (target == ctx->config->self) {
        reply_error(&to, RESP_SUCCESS, "n%u leads already", target - 1);
        return;
    }
    job = job_new(&to);
    if (job == NULL) {
        return;
    }
    rc = rlog_transfer(ctx->log, target, 5 * RLOG_TRANSFER_MS, &job->transfer, on_handed_over);
    if (rc != 0) {
        reply_error(&to, code_of(rc), "%s",
                    rc == MQ_ENOTFOUND ? "refused: no such voter answers that could take over"
                    : rc == MQ_EBUSY   ? "leadership is being handed over already"
                                       : "this node does not lead the group");
        job_end(job);
    }
}
