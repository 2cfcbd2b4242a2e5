#include "client/tools/try_load.h"

#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/record.h"

#include <stdio.h>

#define TICK_MS 20
#define SEND_MS 15000 /* a send waits for a leader that long */
#define SUSPEND_MS 500
#define PULL_COUNT 256
#define STOP_MS 5000

static void start_send(struct try_slot *slot);

static void on_sent(struct rmq_send *send, const struct rmq_send_result *result)
{
    struct try_slot *slot = (struct try_slot *)send->data;
    struct try_load *load = slot->load;

    load->sends_open--;
    switch (result->outcome) {
    case RMQ_ACKNOWLEDGED:
        load->acknowledged++;
        account_acknowledged(load->account, slot->queue, (uint64_t)slot->seq, result->qoff);
        if (load->killed_ns != 0 && !load->recovered && slot->started_ns > load->killed_ns) {
            load->recovered = true;
            load->recovered_ns = mq_clock_mono_ns();
        }
        break;
    case RMQ_REFUSED:
        load->refused++;
        account_refused(load->account, slot->queue, (uint64_t)slot->seq);
        snprintf(load->last_trouble, sizeof(load->last_trouble), "send refused: code %d %s " MQ_STR_FMT, result->code,
                 result->status != 0 ? mq_strerror(result->status) : "", MQ_STR_ARG(result->remark));
        break;
    case RMQ_UNKNOWN:
        load->unknown++;
        account_unknown(load->account, slot->queue, (uint64_t)slot->seq);
        break;
    }
    start_send(slot);
}

static void start_send(struct try_slot *slot)
{
    struct try_load *load = slot->load;

    if (load->started == load->wanted || load->stopping) {
        load->sent = load->sends_open == 0;
        return;
    }
    slot->queue = (uint32_t)(load->started % TRY_QUEUES);
    slot->seq = account_start(load->account, slot->queue);
    if (slot->seq < 0) {
        load->broken = true;
        return;
    }
    load->started++;
    account_body(load->account, slot->queue, (uint64_t)slot->seq, slot->body, sizeof(slot->body));
    slot->send = (struct rmq_send){.data = slot,
                                   .topic = mq_str_of(load->topic),
                                   .body = {(const char *)slot->body, sizeof(slot->body)},
                                   .queue_id = (int32_t)slot->queue,
                                   .retries_max = UINT32_MAX,
                                   .timeout_ms = SEND_MS};
    slot->started_ns = mq_clock_mono_ns();
    if (rmq_send_async(load->tool->client, &slot->send, on_sent) != 0) {
        account_refused(load->account, slot->queue, (uint64_t)slot->seq);
        load->refused++;
        load->broken = true;
        return;
    }
    load->sends_open++;
    if (load->started == load->wanted / 2) {
        load->at_half(load->data);
    }
}

static void start_pull(struct try_reader *reader);

/* Returns the offset behind the last record, or -1 when the bytes are not records. */
static int64_t take_records(struct try_reader *reader, const struct rmq_pull_result *result)
{
    struct try_load *load = reader->load;
    uint32_t queue = (uint32_t)reader->pull.queue_id;
    uint32_t at = 0;
    int64_t next = reader->pull.qoff;

    while (at < result->records_bytes) {
        struct proto_record record;

        if (proto_record_decode(result->records + at, result->records_bytes - at, &record) != 0) {
            return -1;
        }
        account_consumed(load->account, queue, record.qoff, record.body.at, record.body.len);
        load->consumed++;
        next = record.qoff + 1;
        at += record.record_bytes;
    }
    return next;
}

static void on_pulled(struct rmq_pull *pull, const struct rmq_pull_result *result)
{
    struct try_reader *reader = (struct try_reader *)pull->data;
    struct try_load *load = reader->load;
    int64_t next = -1;

    load->pulls_open--;
    if (result->status == 0 && result->code == RESP_SUCCESS) {
        next = take_records(reader, result);
    } else if (result->status == 0 && result->code == RESP_PULL_NOT_FOUND) {
        next = pull->qoff;
    }
    if (next < 0) {
        /* Whatever else it says, the offset stays: a member that is behind must not move a reader. */
        reader->idle = true;
        snprintf(load->last_trouble, sizeof(load->last_trouble), "pull of queue %d at %lld: code %d %s " MQ_STR_FMT,
                 pull->queue_id, (long long)pull->qoff, result->code,
                 result->status != 0 ? mq_strerror(result->status) : "", MQ_STR_ARG(result->remark));
        return;
    }
    reader->pull.qoff = next;
    start_pull(reader);
}

static void start_pull(struct try_reader *reader)
{
    struct try_load *load = reader->load;

    if (load->stopping) {
        return;
    }
    reader->idle = false;
    if (rmq_pull_async(load->tool->client, &reader->pull, on_pulled) != 0) {
        reader->idle = true;
        return;
    }
    load->pulls_open++;
}

static void on_tick(uv_timer_t *timer)
{
    struct try_load *load = timer->data;

    for (int i = 0; i < TRY_QUEUES; i++) {
        if (load->readers[i].idle) {
            start_pull(&load->readers[i]);
        }
    }
}

void try_load_start(struct try_load *load)
{
    for (int i = 0; i < TRY_QUEUES; i++) {
        struct try_reader *reader = &load->readers[i];

        reader->load = load;
        reader->pull = (struct rmq_pull){.data = reader,
                                         .topic = mq_str_of(load->topic),
                                         .group = MQ_STR("RAFTMQ_TRY"),
                                         .broker_name = load->broker_name,
                                         .queue_id = i,
                                         .count_max = PULL_COUNT,
                                         .suspend_ms = SUSPEND_MS};
        start_pull(reader);
    }
    uv_timer_init(&load->tool->loop.uv, &load->tick);
    load->tick.data = load;
    uv_timer_start(&load->tick, on_tick, TICK_MS, TICK_MS);
    for (int i = 0; i < TRY_WINDOW; i++) {
        load->slots[i].load = load;
        start_send(&load->slots[i]);
    }
}

void try_load_killed(struct try_load *load)
{
    load->killed_ns = mq_clock_mono_ns();
}

static void on_tick_closed(uv_handle_t *handle)
{
    *(bool *)handle->data = true;
}

void try_load_stop(struct try_load *load)
{
    uint64_t end_ms = mq_clock_mono_ms() + STOP_MS;
    const bool never = false;
    bool closed = false;

    load->stopping = true;
    load->tick.data = &closed;
    uv_close((uv_handle_t *)&load->tick, on_tick_closed);
    tool_wait(load->tool, &closed, STOP_MS);
    while ((load->pulls_open != 0 || load->sends_open != 0) && mq_clock_mono_ms() < end_ms) {
        tool_wait(load->tool, &never, 1);
    }
}
