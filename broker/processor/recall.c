/* RECALL_MESSAGE (370): a message with a time of its own is not to be delivered.
 *
 *   checks -> the rows with its key are taken, so that nobody delivers them meanwhile -> each record is read, and
 * kept when it is the message of the handle -> their rows end, in one entry -> answer
 *
 * RocketMQ stores a mark and answers success whatever becomes of it. Here success says that the message will not
 * come; what waits no longer is answered like a time that has passed. Source of the checks: RocketMQ's
 * RecallMessageProcessor. */
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "broker/state/bundle.h"
#include "broker/store/fetch.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/recall_handle.h"

#include <stdarg.h>

#define RECALLS_MAX 1024u /* under way: those whose records come from the disk */
#define ROWS_MAX 16u      /* of one key: a producer that sends again stores a message twice */

struct recall {
    struct context *ctx;
    struct reply_to to; /* ch counted, or NULL */
    char bytes[PROTO_RECALL_BYTES_MAX];
    struct proto_recall_handle handle;   /* slices of bytes */
    uint64_t rows[ROWS_MAX];             /* positions; taken */
    uint32_t n_rows, looked_at, n_found; /* the first n_found of those looked at are the message */
    bool stale;                          /* this node has stopped leading since: no row is ours any more */
    struct recall *next, **prev;         /* in the context's list */
    bool unread;                         /* one of the records could not be read */
    struct store_fetch fetch;
};

/* --- answers --- */

static void answer(struct context *ctx, const struct reply_to *to, int32_t code, struct mq_str msg_id,
                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void answer(struct context *ctx, const struct reply_to *to, int32_t code, struct mq_str msg_id,
                   const char *fmt, ...)
{
    struct proto_writer w;
    va_list args;
    bool waits;

    va_start(args, fmt);
    waits = reply_begin_printed(to, &w, code, fmt, args);
    va_end(args);
    if (waits) {
        if (msg_id.at != NULL) {
            proto_put_str(&w, MQ_STR("msgId"), msg_id);
        }
        proto_put_str(&w, MQ_STR("MSG_REGION"), mq_str_of(ctx->config->region));
        reply_end(to, &w, NULL, 0);
    }
}

#define REFUSE(ctx, to, code, ...) answer(ctx, to, code, (struct mq_str){0}, __VA_ARGS__)

/* --- the life of one --- */

static void give_back(struct recall *recall, uint32_t first)
{
    for (uint32_t i = first; i < recall->n_rows && !recall->stale; i++) {
        pending_table_give_back(&recall->ctx->state->pending, recall->rows[i], PENDING_WHEN_DUE);
    }
}

void recalls_rest(struct context *ctx)
{
    for (struct recall *recall = ctx->recalls_first; recall != NULL; recall = recall->next) {
        give_back(recall, 0);
        recall->stale = true;
    }
}

/* Those from @first on wait again; then the recall is gone. */
static void end_recall(struct recall *recall, uint32_t first)
{
    give_back(recall, first);
    *recall->prev = recall->next;
    if (recall->next != NULL) {
        recall->next->prev = recall->prev;
    }
    reply_to_release(&recall->to);
    recall->ctx->recalls--;
    mq_free(recall);
}

static void on_ended(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct recall *recall = p->data;

    if (outcome->status == 0) {
        answer(recall->ctx, &recall->to, RESP_SUCCESS, recall->handle.uniq_key, "%s", "");
    } else {
        reply_failed(&recall->to, outcome->status);
    }
    end_recall(recall, outcome->status == 0 ? recall->n_found : 0);
}

/* All rows were looked at. */
static void finish(struct recall *recall)
{
    struct context *ctx = recall->ctx;
    const struct sequencer_pending done = {.done = on_ended, .data = recall};
    Raftmq__PendingEnd items[ROWS_MAX];
    struct bundle_part parts[ROWS_MAX];
    int rc;

    if (recall->stale) {
        reply_failed(&recall->to, MQ_ENOTLEADER);
        end_recall(recall, 0);
        return;
    }
    if (recall->n_found == 0 && recall->unread) {
        REFUSE(
            ctx, &recall->to, RESP_SYSTEM_ERROR,
            "recall failed for now: a waiting message with this handle's key cannot be read on this member's disk; "
            "nothing was recalled, try again");
        end_recall(recall, 0);
        return;
    }
    if (recall->n_found == 0) {
        REFUSE(ctx, &recall->to, RESP_ILLEGAL_OPERATION,
               "recall failed, no message with this handle waits: it was recalled before, or is being delivered");
        end_recall(recall, 0);
        return;
    }
    for (uint32_t i = 0; i < recall->n_found; i++) {
        raftmq__pending_end__init(&items[i]);
        items[i].pos = recall->rows[i];
        parts[i] = (struct bundle_part){.kind = BUNDLE_ITEM, .type = COMMAND_PENDING_END, .item = &items[i].base};
    }
    rc = bundle_add(ctx->sequencer, ctx->store, parts, recall->n_found, &done, 0);
    if (rc != 0) {
        reply_failed(&recall->to, rc);
        end_recall(recall, 0);
    }
}

/* Whether the record is as it was written. A row that is gone was ended in another leadership. */
static bool is_whole(const struct recall *recall, const struct reader_view *view)
{
    const struct pending_row *row = pending_table_find(&recall->ctx->state->pending, recall->rows[recall->looked_at]);

    return row == NULL || (view->bytes == row->bytes && mq_crc32c(0, view->at, view->bytes) == row->crc);
}

/* Whether the record is the message that the handle speaks of. */
static bool is_meant(const struct recall *recall, const struct reader_view *view)
{
    struct mq_str properties = proto_record_properties(view->at, view->bytes);
    int64_t out_ms;

    return mq_str_eq(proto_properties_get(properties, PROTO_PROP_REAL_TOPIC), recall->handle.topic) &&
           mq_str_eq(proto_properties_get(properties, PROTO_PROP_UNIQ_KEY), recall->handle.uniq_key) &&
           mq_str_to_i64(proto_properties_get(properties, PROTO_PROP_TIMER_OUT_MS), &out_ms) == 0 &&
           out_ms == recall->handle.out_ms - 1;
}

/* @view NULL: it cannot be read. It waits, so it is held somewhere: what is missing here is being fetched, what is
 * bad is being repaired. */
static void look(struct recall *recall, const struct reader_view *view)
{
    uint64_t pos = recall->rows[recall->looked_at];

    if (view == NULL || !is_whole(recall, view)) {
        recall->unread = true;
        rlog_suspect(recall->ctx->store->log, pos);
    } else if (is_meant(recall, view)) {
        recall->rows[recall->looked_at] = recall->rows[recall->n_found];
        recall->rows[recall->n_found++] = pos;
    }
    recall->looked_at++;
}

static void go_on(struct recall *recall);

static void on_read(struct store_fetch *fetch, int status, const struct reader_view *view)
{
    struct recall *recall = container_of(fetch, struct recall, fetch);

    look(recall, status == 0 ? view : NULL);
    go_on(recall);
}

static void go_on(struct recall *recall)
{
    struct store *store = recall->ctx->store;

    while (recall->looked_at < recall->n_rows) {
        struct reader_view view;
        int rc;

        recall->fetch.pos = recall->rows[recall->looked_at];
        recall->fetch.done = on_read;
        rc = store_fetch(store, recall->fetch.pos, &view);
        if (rc == MQ_EAGAIN && store_fetch_start(store, &recall->fetch) == 0) {
            return;
        }
        look(recall, rc == 0 ? &view : NULL);
        if (rc == 0) {
            net_ref_release(view.ref);
        }
    }
    finish(recall);
}

/* --- the request --- */

/* False after an answer. */
static bool check(struct context *ctx, const struct reply_to *to, const struct proto_recall_header *header,
                  struct proto_recall_handle *handle, char *bytes)
{
    int64_t left_ms;

    if (!ctx->config->recall) {
        REFUSE(ctx, to, RESP_NO_PERMISSION, "recall failed, recallMessageEnable is false");
        return false;
    }
    if (topic_table_find(&ctx->state->topics, header->topic) == NULL) {
        REFUSE(ctx, to, RESP_TOPIC_NOT_EXIST, "recall failed, topic \"" MQ_STR_FMT "\" does not exist",
               REMARK_ARG(header->topic));
        return false;
    }
    if (proto_recall_handle_decode(header->recall_handle, bytes, handle) != 0) {
        REFUSE(ctx, to, RESP_ILLEGAL_OPERATION, "recallHandle \"" MQ_STR_FMT "\" of %u bytes is none",
               REMARK_ARG(header->recall_handle), header->recall_handle.len);
        return false;
    }
    if (!mq_str_eq(handle->topic, header->topic)) {
        REFUSE(ctx, to, RESP_ILLEGAL_OPERATION, "recall failed, the handle is of topic \"" MQ_STR_FMT "\"",
               REMARK_ARG(handle->topic));
        return false;
    }
    if (!mq_str_eq(handle->broker_name, mq_str_of(ctx->config->broker_name))) {
        REFUSE(ctx, to, RESP_ILLEGAL_OPERATION, "recall failed, the handle is of broker \"" MQ_STR_FMT "\"",
               REMARK_ARG(handle->broker_name));
        return false;
    }
    left_ms = handle->out_ms < 0 ? 0 : handle->out_ms - mq_clock_wall_ms();
    if (left_ms <= 0 || left_ms >= ctx->delayed.timer_max_ms) {
        REFUSE(ctx, to, RESP_ILLEGAL_OPERATION,
               "recall failed, the handle's time %lld is past or further ahead than timerMaxDelaySec %lld",
               (long long)handle->out_ms, (long long)ctx->config->timer_max_s);
        return false;
    }
    return true;
}

/* Takes what may be the message. */
static void take_rows(struct recall *recall)
{
    struct pending_table *table = &recall->ctx->state->pending;
    uint64_t found[ROWS_MAX];
    uint32_t n =
        pending_table_by_key(table, pending_key_hash(recall->handle.topic, recall->handle.uniq_key), found, ROWS_MAX);

    for (uint32_t i = 0; i < n; i++) {
        if (pending_table_find(table, found[i])->kind == PENDING_TIMER && pending_table_take(table, found[i])) {
            recall->rows[recall->n_rows++] = found[i];
        }
    }
}

void recall_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_recall_handle handle;
    struct proto_recall_header header;
    char bytes[PROTO_RECALL_BYTES_MAX];
    struct proto_problem why;
    struct recall *recall;

    if (proto_recall_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (!check(ctx, &to, &header, &handle, bytes)) {
        return;
    }
    recall = ctx->recalls < RECALLS_MAX ? mq_calloc(1, sizeof(*recall)) : NULL;
    if (recall == NULL) {
        REFUSE(ctx, &to, RESP_SYSTEM_BUSY, "%u recalls are under way, the limit is %u", ctx->recalls, RECALLS_MAX);
        return;
    }
    ctx->recalls++;
    recall->ctx = ctx;
    recall->next = ctx->recalls_first;
    recall->prev = &ctx->recalls_first;
    if (recall->next != NULL) {
        recall->next->prev = &recall->next;
    }
    ctx->recalls_first = recall;
    recall->to = to;
    reply_to_keep(&to);
    (void)proto_recall_handle_decode(header.recall_handle, recall->bytes, &recall->handle);
    take_rows(recall);
    go_on(recall);
}
