/* END_TRANSACTION (37), RESUME_CHECK_HALF_MESSAGE (323), and CHECK_TRANSACTION_STATE (39), which goes from here to a
 * producer.
 *
 * A commit: the row is marked -> the half record is fetched -> [copy to its real topic][HALF_END] in one entry. A
 * rollback: [HALF_END]. The mark keeps a second END out (state/half_table.h says why that is enough). Source:
 * RocketMQ's EndTransactionProcessor, Broker2Client. */
#include "broker/flow/flows.h"
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "broker/session/producer_table.h"
#include "broker/state/bundle.h"
#include "broker/state/ensure.h"
#include "broker/store/fetch.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/message.h"
#include "remoting/protocol/properties.h"

#include <inttypes.h>

enum { END_UNKNOWN = 0, END_COMMIT = 8, END_ROLLBACK = 12 };

#define SYS_COMMIT 8u

/* An END or a resumption until its entry is applied. */
struct end_job {
    struct context *ctx;
    struct reply_to to; /* with a reference to its channel */
    uint64_t pos;
    uint32_t leads; /* half_table's: the mark is of that leadership */
    struct store_fetch fetch;
    void (*go_on)(struct end_job *job, const struct reader_view *record);
};

/* --- the job --- */

static struct end_job *job_new(struct context *ctx, const struct reply_to *to, uint64_t pos)
{
    struct end_job *job = mq_calloc(1, sizeof(*job));

    if (job == NULL) {
        reply_failed(to, MQ_ENOMEM);
        return NULL;
    }
    job->ctx = ctx;
    job->to = *to;
    job->pos = pos;
    job->leads = ctx->state->halves.leads;
    reply_to_keep(&job->to);
    return job;
}

/* The transaction, if it is one, may be ended by another request again. */
static void job_end(struct end_job *job)
{
    struct half_table *halves = &job->ctx->state->halves;
    struct half *half = half_table_find(halves, job->pos);

    if (half != NULL && job->leads == halves->leads) {
        half_table_unmark(halves, half, HALF_MARK_ENDING);
    }
    reply_to_release(&job->to);
    mq_free(job);
}

static void on_ended(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct end_job *job = p->data;

    if (outcome->status != 0) {
        reply_failed(&job->to, outcome->status);
    } else {
        reply_code(&job->to, RESP_SUCCESS);
    }
    job_end(job);
}

static void propose(struct end_job *job, const struct bundle_part *parts, uint32_t n)
{
    const struct sequencer_pending pending = {.done = on_ended, .data = job};
    int rc = bundle_add(job->ctx->sequencer, job->ctx->store, parts, n, &pending, 0);

    if (rc != 0) {
        reply_failed(&job->to, rc);
        job_end(job);
    }
}

/* What is resumed has no row to be compared with. */
static bool is_whole(const struct end_job *job, const struct reader_view *record)
{
    const struct half *half = half_table_find(&job->ctx->state->halves, job->pos);

    return half == NULL || half_is_record(half, record->at, record->bytes);
}

static void on_fetched(struct store_fetch *fetch, int status, const struct reader_view *record)
{
    struct end_job *job = container_of(fetch, struct end_job, fetch);

    if (!context_writable(job->ctx) || job->leads != job->ctx->state->halves.leads) {
        reply_failed(&job->to, MQ_ENOTLEADER);
        job_end(job);
    } else if (status != 0 || !is_whole(job, record)) {
        rlog_suspect(job->ctx->log, fetch->pos);
        reply_error(&job->to, RESP_SYSTEM_ERROR, "the message at offset %" PRIu64 " cannot be read: %s", fetch->pos,
                    mq_strerror(status != 0 ? status : MQ_ECORRUPT));
        job_end(job);
    } else {
        job->go_on(job, record);
    }
}

static void fetch(struct end_job *job, uint64_t record_pos)
{
    struct reader_view record;
    int rc = store_fetch(job->ctx->store, record_pos, &record);

    job->fetch.pos = record_pos;
    job->fetch.done = on_fetched;
    if (rc == 0) {
        on_fetched(&job->fetch, 0, &record);
        net_ref_release(record.ref);
        return;
    }
    if (rc == MQ_EAGAIN) {
        rc = store_fetch_start(job->ctx->store, &job->fetch);
    }
    if (rc != 0) {
        on_fetched(&job->fetch, rc, NULL);
    }
}

/* --- 37 --- */

static bool real_place(struct mq_str properties, struct mq_str *topic, int32_t *queue_id)
{
    *topic = proto_properties_get(properties, PROTO_PROP_REAL_TOPIC);
    return topic->len != 0 &&
           mq_str_to_i32(proto_properties_get(properties, PROTO_PROP_REAL_QUEUE_ID), queue_id) == 0;
}

static void commit(struct end_job *job, const struct reader_view *record)
{
    struct context *ctx = job->ctx;
    struct record_copy copy = {.record = record->at,
                               .bytes = record->bytes,
                               .sys_flag_clear = PROTO_SYS_TRANSACTION_MASK,
                               .sys_flag_set = SYS_COMMIT,
                               .reconsume_times = -1,
                               .prepared_pos = (int64_t)job->pos};
    Raftmq__HalfEnd item = RAFTMQ__HALF_END__INIT;
    struct bundle_part parts[2] = {{.kind = BUNDLE_COPY, .copy = &copy},
                                   {.kind = BUNDLE_ITEM, .type = COMMAND_HALF_END, .item = &item.base}};
    struct topic *topic = NULL;
    int rc;

    if (real_place(proto_record_properties(record->at, record->bytes), &copy.topic, &copy.queue_id)) {
        topic = topic_table_find_for_send(&ctx->state->topics, copy.topic);
    }
    if (topic == NULL) {
        reply_error(&job->to, RESP_SYSTEM_ERROR,
                    "topic \"" MQ_STR_FMT "\" of the transaction does not exist any more", REMARK_ARG(copy.topic));
        job_end(job);
        return;
    }
    rc = topic_queues_get(&ctx->store->queues, topic->queues, copy.queue_id, &parts[0].queue);
    if (rc != 0) {
        reply_failed(&job->to, rc);
        job_end(job);
        return;
    }
    item.pos = job->pos;
    item.cause = RAFTMQ__HALF_CAUSE__HALF_COMMITTED;
    propose(job, parts, 2);
}

static void roll_back(struct end_job *job)
{
    Raftmq__HalfEnd item = RAFTMQ__HALF_END__INIT;
    const struct bundle_part part = {.kind = BUNDLE_ITEM, .type = COMMAND_HALF_END, .item = &item.base};

    item.pos = job->pos;
    item.cause = RAFTMQ__HALF_CAUSE__HALF_ROLLED_BACK;
    propose(job, &part, 1);
}

/* A producer that asked to be left alone for longer than it took to answer is asked instead. */
static bool is_too_late(const struct context *ctx, const struct half *half)
{
    int64_t immune_ms = (int64_t)half->immunity_s * 1000;
    int64_t timeout_ms = ctx->flows->half.rules.timeout_ms;

    return half->immunity_s != 0 &&
           half->born_ms < mq_clock_wall_ms() - (immune_ms > timeout_ms ? immune_ms : timeout_ms);
}

/* Whether the request speaks of this transaction and may end it now. False after an answer. */
static bool check(struct context *ctx, const struct reply_to *to, const struct proto_end_transaction_header *header,
                  const struct half *half)
{
    if (half == NULL) {
        reply_error(to, RESP_SYSTEM_ERROR,
                    "commitLogOffset %" PRId64 ": no open transaction: it has ended, or there was none", header->pos);
        return false;
    }
    if (!header->from_check && is_too_late(ctx, half)) {
        reply_error(to, RESP_ILLEGAL_OPERATION,
                    "commitLogOffset %" PRId64 ": CHECK_IMMUNITY_TIME_IN_SECONDS of %" PRIu32
                    " is over: the producer is going to be asked",
                    header->pos, half->immunity_s);
        return false;
    }
    if (!mq_str_eq(header->producer_group, mq_str_of(half->group->name))) {
        reply_error(to, RESP_SYSTEM_ERROR,
                    "producerGroup \"" MQ_STR_FMT "\": the transaction at %" PRId64 " is of group \"%s\"",
                    REMARK_ARG(header->producer_group), header->pos, half->group->name);
        return false;
    }
    if (header->half_qoff != (int64_t)half->qoff) {
        reply_error(to, RESP_SYSTEM_ERROR,
                    "tranStateTableOffset %" PRId64 ": the transaction at %" PRId64 " has %" PRIu64,
                    header->half_qoff, header->pos, half->qoff);
        return false;
    }
    if ((half->marks & HALF_MARK_ENDING) != 0) {
        reply_error(to, RESP_SYSTEM_ERROR, "commitLogOffset %" PRId64 ": the transaction is just being ended",
                    header->pos);
        return false;
    }
    return true;
}

void end_transaction(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_end_transaction_header header;
    struct proto_problem why;
    struct half *half;
    struct end_job *job;

    if (proto_end_transaction_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (header.how != END_COMMIT && header.how != END_ROLLBACK && header.how != END_UNKNOWN) {
        reply_error(&to, RESP_SYSTEM_ERROR, "commitOrRollback %d: 8 commits, 12 rolls back, 0 is not known yet",
                    header.how);
        return;
    }
    if (header.how == END_UNKNOWN) {
        reply_code(&to, RESP_SUCCESS); /* the producer will be asked again; the original does not even answer */
        return;
    }
    half = header.pos >= 0 ? half_table_find(&ctx->state->halves, (uint64_t)header.pos) : NULL;
    if (!check(ctx, &to, &header, half)) {
        return;
    }
    job = job_new(ctx, &to, half->pos);
    if (job == NULL) {
        return;
    }
    half_table_mark(&ctx->state->halves, half, HALF_MARK_ENDING);
    if (header.how == END_ROLLBACK) {
        roll_back(job);
    } else {
        job->go_on = commit;
        fetch(job, half->record_pos);
    }
}

/* --- 323 --- */

/* The copy in the topic of the discarded becomes a half message once more. */
static void resume(struct end_job *job, const struct reader_view *record)
{
    struct context *ctx = job->ctx;
    struct mq_str properties = proto_record_properties(record->at, record->bytes);
    struct record_copy copy = {
        .record = record->at, .bytes = record->bytes, .topic = HALF_TOPIC, .reconsume_times = -1};
    Raftmq__HalfPut item = RAFTMQ__HALF_PUT__INIT;
    struct bundle_part parts[2] = {{.kind = BUNDLE_COPY, .copy = &copy},
                                   {.kind = BUNDLE_ITEM, .type = COMMAND_HALF_PUT, .item = &item.base}};
    char group[NAME_TEXT_MAX];
    int64_t now_ms = mq_clock_wall_ms();
    int rc;

    if (!mq_str_eq(proto_record_topic(record->at, record->bytes), HALF_DISCARD_TOPIC) ||
        !name_text(proto_properties_get(properties, PROTO_PROP_PRODUCER_GROUP), group)) {
        reply_error(&job->to, RESP_SYSTEM_ERROR, "offset %" PRIu64 ": not a message of %.*s", job->fetch.pos,
                    (int)HALF_DISCARD_TOPIC.len, HALF_DISCARD_TOPIC.at);
        job_end(job);
        return;
    }
    rc = ensure_queue(ctx->state, ctx->sequencer, HALF_TOPIC, 1, TOPIC_PERM_READ | TOPIC_PERM_WRITE, 0,
                      &parts[0].queue);
    if (rc != 0) {
        reply_failed(&job->to, rc);
        job_end(job);
        return;
    }
    item.producer_group = group;
    item.born_ms = now_ms;
    item.check_ms = half_first_check(&ctx->flows->half.rules, 0, now_ms);
    propose(job, parts, 2);
}

void resume_check(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_resume_check_header header;
    struct proto_problem why;
    struct proto_host host;
    struct end_job *job;
    int64_t pos;

    if (proto_resume_check_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (proto_offset_msg_id_parse(header.msg_id, &host, &pos) != 0 || pos < 0) {
        reply_error(&to, RESP_SYSTEM_ERROR, "msgId \"" MQ_STR_FMT "\" is no offset message id",
                    REMARK_ARG(header.msg_id));
        return;
    }
    job = job_new(ctx, &to, UINT64_MAX); /* of no transaction */
    if (job != NULL) {
        job->go_on = resume;
        fetch(job, (uint64_t)pos);
    }
}

/* --- 39 --- */

/* The stored record as the producer's listener is to see it: of its real topic and queue. */
static int32_t real_record(const struct reader_view *record, struct mq_buf *out)
{
    struct record_copy copy = {.record = record->at, .bytes = record->bytes, .reconsume_times = -1};
    struct proto_record rec;
    int32_t bytes;

    if (!real_place(proto_record_properties(record->at, record->bytes), &copy.topic, &copy.queue_id) ||
        proto_record_decode(record->at, record->bytes, &rec) != 0) {
        return MQ_EBADMSG;
    }
    copy.store_ms = rec.store_ms;
    if (mq_buf_reserve(out, record_copy_bound(&copy)) != 0) {
        return MQ_ENOMEM;
    }
    bytes = record_copy_write(&copy, out->base);
    if (bytes > 0) {
        mq_be64_store(out->base + PROTO_RECORD_QOFF_AT, (uint64_t)rec.qoff);
        mq_be64_store(out->base + PROTO_RECORD_POS_AT, (uint64_t)rec.pos);
        out->len = (size_t)bytes;
    }
    return bytes;
}

void transaction_ask(void *data, const struct half *half, const struct reader_view *record)
{
    struct context *ctx = data;
    struct net_channel *producer = producer_table_pick(ctx->producers, mq_str_of(half->group->name));
    struct proto_head head = {.code = REQ_CHECK_TRANSACTION_STATE, .flag = PROTO_FLAG_ONEWAY};
    struct proto_check_transaction_header header = {.topic = HALF_TOPIC,
                                                    .half_qoff = (int64_t)half->qoff,
                                                    .pos = (int64_t)half->pos,
                                                    .broker_name = mq_str_of(ctx->config->broker_name)};
    struct mq_buf body = {0};
    char offset_id[PROTO_MSG_ID_MAX];
    struct proto_writer w;

    if (producer == NULL || real_record(record, &body) < 0) {
        mq_buf_free(&body);
        return; /* it counts as asked: the next time comes */
    }
    header.offset_msg_id.at = offset_id;
    header.offset_msg_id.len = (uint32_t)proto_offset_msg_id(&ctx->store_host, (int64_t)half->pos, offset_id);
    header.msg_id = header.transaction_id =
        proto_properties_get(proto_record_properties(record->at, record->bytes), PROTO_PROP_UNIQ_KEY);
    proto_begin(&w, net_channel_out(producer), &head);
    proto_check_transaction_header_encode(&w, &header);
    if (proto_end(&w, body.len) == 0 && mq_buf_put(net_channel_out(producer), body.base, body.len) == 0) {
        net_channel_out_done(producer);
    } else {
        net_channel_close(producer, MQ_ENOMEM, false); /* half a frame cannot be taken back */
    }
    mq_buf_free(&body);
}
