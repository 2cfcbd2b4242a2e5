/* TRANSACTION_LIST (30010), our own request: open transactions of this group, oldest first, a page at a time. The
 * stock tools have no question for them: the original would have to read its half topic.
 * The body is one JSON object; broker/README.md lists its members. */
#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "remoting/base/json.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/message.h"

#include <inttypes.h>

#define PAGE_MAX 256      /* transactions in an answer */
#define PAGE_WALKED 10000 /* looked at for an answer; with a group's name most may be others' */

struct page {
    const struct half *next; /* where the next page begins; NULL: that was the last */
    uint32_t n;
};

static int put_row(struct mq_buf *body, const struct context *ctx, const struct half *half, bool first)
{
    char id[PROTO_MSG_ID_MAX];
    size_t n = proto_offset_msg_id(&ctx->store_host, (int64_t)half->record_pos, id);
    int rc = mq_buf_put_str(body, first ? MQ_STR("{\"producerGroup\":") : MQ_STR(",{\"producerGroup\":"));

    rc = rc == 0 ? mq_json_put_string(body, mq_str_of(half->group->name)) : rc;
    return rc == 0 ? mq_buf_printf(body,
                                   ",\"offsetMsgId\":\"%.*s\",\"commitLogOffset\":%" PRIu64
                                   ",\"tranStateTableOffset\":%" PRIu64 ",\"bornTimestamp\":%" PRId64
                                   ",\"checks\":%" PRIu32 ",\"nextCheck\":%" PRId64 "}",
                                   (int)n, id, half->pos, half->qoff, half->born_ms, half->times, half->next_ms)
                   : rc;
}

static int put_page(struct mq_buf *body, const struct context *ctx,
                    const struct proto_transaction_list_header *header, struct page *page)
{
    const struct half *half = half_table_from(&ctx->state->halves, (uint64_t)header->from);
    uint32_t walked = 0;
    int rc = 0;

    for (; rc == 0 && half != NULL && page->n < (uint32_t)header->max && walked < PAGE_WALKED; walked++) {
        if (header->producer_group.len == 0 || mq_str_eq(header->producer_group, mq_str_of(half->group->name))) {
            rc = put_row(body, ctx, half, page->n == 0);
            page->n++;
        }
        half = half->hh.next;
    }
    page->next = half;
    return rc;
}

void list_transactions(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_transaction_list_header header;
    struct proto_problem why;
    struct page page = {0};
    struct mq_buf body = {0};
    int rc;

    if (proto_transaction_list_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (header.from < 0 || header.max < 1 || header.max > PAGE_MAX) {
        reply_error(&to, RESP_INVALID_PARAMETER, "from %" PRId64 ", max %d: wanted 0 or more, and 1 to %d",
                    header.from, header.max, PAGE_MAX);
        return;
    }
    rc = mq_buf_printf(&body, "{\"open\":%" PRIu32 ",\"transactions\":[", ctx->state->halves.count);
    rc = rc == 0 ? put_page(&body, ctx, &header, &page) : rc;
    rc = rc == 0 ? mq_buf_printf(&body, "],\"next\":%" PRId64 "}", page.next != NULL ? (int64_t)page.next->pos : -1)
                 : rc;
    reply_built(&to, rc, &body);
}
