#include "tests/fault/load.h"

#include "client/include/raftmq/raftmq.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/message.h"
#include "remoting/protocol/record.h"
#include "tests/fault/commits.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PRODUCERS 4u
#define BATCH_PRODUCER PRODUCERS /* its number in the account */
#define BATCHES_OPEN_MAX 4u
#define BATCH_MESSAGES_MAX 16u
#define BATCH_SHARE 8u /* every 8th message goes out in a batch */
#define WINDOW_MIN 64u
#define WINDOW_MAX 256u
#define TICK_MS 2
#define SEND_TIMEOUT_MS 4000u
#define PULL_SUSPEND_MS 2000u
#define PULL_COUNT 256u
#define RETRY_MS 20u
#define NAP_NS 2000000 /* between two looks of the other thread */

struct slot {
    struct rmq_send send;
    struct producer *producer;
    struct slot *next; /* while free */
    uint8_t *body;     /* owned */
    uint32_t body_cap, seq;
    uint16_t queue;
    uint64_t begun_ns;
};

struct producer {
    struct load *load;
    struct rmq_client *client; /* its own: one connection keeps the order of its sends */
    uint16_t number;
    struct slot *slots; /* owned */
    uint32_t window;
    struct slot *idle;
    double due; /* messages that the rate allows now */
};

struct batch {
    struct load *load;
    uint32_t first_seq, n;
    uint16_t queue;
    bool open;
    uint64_t begun_ns;
};

struct reader {
    struct load *load;
    struct rmq_pull pull;
    uint16_t queue;
    int64_t next;
    bool open;
    uint64_t retry_ms;
};

struct load {
    struct load_options options;
    pthread_t thread;
    pthread_mutex_t lock; /* guards everything below against the thread that breaks things */
    pthread_cond_t news;
    struct account account;
    bool paused, stopping;
    uint64_t mark_ns, first_ack_ns;

    /* The loop's thread only. */
    struct net_loop loop;
    uv_timer_t tick;
    uint64_t tick_ns, random;
    struct producer producers[PRODUCERS];
    struct rmq_client *batch_client, *read_client;
    struct batch batches[BATCHES_OPEN_MAX];
    double batches_due;
    uint32_t batch_port;
    uint64_t batch_retry_ms;
    struct mq_buf batch_body;
    struct reader readers[LOAD_QUEUES_MAX];
    struct commits commits;
    uint32_t clients_open;
};

static uint64_t next_random(struct load *load)
{
    load->random ^= load->random << 13;
    load->random ^= load->random >> 7;
    load->random ^= load->random << 17;
    return load->random;
}

static uint32_t between(struct load *load, uint32_t low, uint32_t high)
{
    return low + (uint32_t)(next_random(load) % (high - low + 1));
}

/* Mostly small, some large, so that entries of all sizes are cut off by the kills. */
static uint32_t random_size(struct load *load, bool small)
{
    uint32_t dice = between(load, 0, 99);

    if (small || dice < 60) {
        return between(load, ACCOUNT_BODY_MIN, 256);
    }
    return dice < 90 ? between(load, 256, 2048) : dice < 99 ? between(load, 2048, 8192) : between(load, 8192, 65536);
}

/* Under the lock. */
static void note_ack(struct load *load, uint64_t begun_ns)
{
    if (load->mark_ns != 0 && load->first_ack_ns == 0 && begun_ns >= load->mark_ns) {
        load->first_ack_ns = mq_clock_mono_ns();
        pthread_cond_broadcast(&load->news);
    }
}

/* --- single sends --- */

static enum account_outcome outcome_of(const struct rmq_send_result *result)
{
    switch (result->outcome) {
    case RMQ_ACKNOWLEDGED:
        return ACCOUNT_ACKED;
    case RMQ_REFUSED:
        return ACCOUNT_REFUSED;
    default:
        return ACCOUNT_UNKNOWN;
    }
}

static void on_sent(struct rmq_send *send, const struct rmq_send_result *result)
{
    struct slot *slot = send->data;
    struct producer *producer = slot->producer;
    struct load *load = producer->load;
    enum account_outcome outcome = outcome_of(result);

    pthread_mutex_lock(&load->lock);
    if (outcome == ACCOUNT_ACKED && result->queue_id != load->options.queues[slot->queue].id) {
        account_fault(&load->account, ACCOUNT_MOVED,
                      "message %u/%" PRIu32 " was sent to queue id %d, acknowledged in %d", producer->number,
                      slot->seq, (int)load->options.queues[slot->queue].id, (int)result->queue_id);
    }
    account_end(&load->account, producer->number, slot->seq, outcome, result->qoff);
    if (outcome == ACCOUNT_ACKED) {
        note_ack(load, slot->begun_ns);
    }
    pthread_mutex_unlock(&load->lock);
    slot->next = producer->idle;
    producer->idle = slot;
}

static void send_one(struct producer *producer)
{
    struct load *load = producer->load;
    struct slot *slot = producer->idle;
    uint32_t bytes = random_size(load, false);
    const struct load_queue *queue;
    int rc;

    if (bytes > slot->body_cap) {
        slot->body = mq_realloc(slot->body, bytes);
        MQ_ASSERT(slot->body != NULL);
        slot->body_cap = bytes;
    }
    producer->idle = slot->next;
    slot->queue = (uint16_t)between(load, 0, load->options.n_queues - 1);
    queue = &load->options.queues[slot->queue];
    slot->seq = account_begin(&load->account, producer->number, slot->queue, bytes);
    account_body(&load->account, producer->number, slot->seq, slot->body, bytes);
    slot->begun_ns = mq_clock_mono_ns();
    slot->send = (struct rmq_send){
        .data = slot,
        .topic = mq_str_of(queue->topic),
        .body = {(const char *)slot->body, bytes},
        .broker_name = load->options.broker_name,
        .queue_id = queue->id,
        .timeout_ms = SEND_TIMEOUT_MS,
    };
    rc = rmq_send_async(producer->client, &slot->send, on_sent);
    if (rc != 0) {
        account_end(&load->account, producer->number, slot->seq, ACCOUNT_REFUSED, -1);
        slot->next = producer->idle;
        producer->idle = slot;
    }
}

static void run_producer(struct producer *producer, double share)
{
    producer->due += share;
    if (producer->due > producer->window) {
        producer->due = producer->window;
    }
    while (producer->due >= 1 && producer->idle != NULL && !producer->load->paused) {
        producer->due -= 1;
        send_one(producer);
    }
}

/* --- batches: one request, one outcome for all its messages --- */

static bool is_refusal(int32_t code)
{
    switch (code) {
    case RESP_SYSTEM_BUSY:
    case RESP_MESSAGE_ILLEGAL:
    case RESP_SERVICE_NOT_AVAILABLE:
    case RESP_NO_PERMISSION:
    case RESP_TOPIC_NOT_EXIST:
    case RESP_SUBSCRIPTION_GROUP_NOT_EXIST:
    case RESP_INVALID_PARAMETER:
        return true;
    default:
        return false;
    }
}

static void on_batch_answer(void *data, int status, struct proto_command *answer)
{
    struct batch *batch = data;
    struct load *load = batch->load;
    enum account_outcome outcome = ACCOUNT_UNKNOWN;
    int64_t qoff = -1;

    pthread_mutex_lock(&load->lock);
    if (status == 0 && answer->code == RESP_SUCCESS) {
        outcome = mq_str_to_i64(proto_fields_get(&answer->fields, MQ_STR("queueOffset")), &qoff) == 0
                      ? ACCOUNT_ACKED
                      : ACCOUNT_UNKNOWN;
    } else if (status == 0 && is_refusal(answer->code)) {
        outcome = ACCOUNT_REFUSED;
    }
    for (uint32_t i = 0; i < batch->n; i++) {
        account_end(&load->account, BATCH_PRODUCER, batch->first_seq + i, outcome, qoff + i);
    }
    if (outcome == ACCOUNT_ACKED) {
        note_ack(load, batch->begun_ns);
    } else {
        load->batch_port++; /* perhaps another node leads */
        load->batch_retry_ms = mq_clock_mono_ms() + RETRY_MS;
    }
    batch->open = false;
    pthread_mutex_unlock(&load->lock);
}

static void build_batch(struct load *load, struct batch *batch)
{
    uint8_t body[256];

    load->batch_body.len = 0;
    batch->n = between(load, 1, BATCH_MESSAGES_MAX);
    batch->queue = (uint16_t)between(load, 0, load->options.n_queues - 1);
    for (uint32_t i = 0; i < batch->n; i++) {
        uint32_t bytes = random_size(load, true);
        struct proto_batch_item item = {.body = {(const char *)body, bytes}};
        uint32_t seq = account_begin(&load->account, BATCH_PRODUCER, batch->queue, bytes);
        int rc;

        batch->first_seq = i == 0 ? seq : batch->first_seq;
        account_body(&load->account, BATCH_PRODUCER, seq, body, bytes);
        rc = proto_batch_put(&load->batch_body, &item);
        MQ_ASSERT(rc == 0);
    }
}

static void send_batch(struct load *load, struct batch *batch)
{
    char addr[32], queue_id[16], born[24];
    int port = load->options.ports[load->batch_port % load->options.n_ports];
    const struct rmq_field fields[] = {
        {"a", "FAULT_BATCH"}, {"b", NULL}, {"c", "TBW102"}, {"d", "8"},     {"e", queue_id}, {"f", "0"},
        {"g", born},          {"h", "0"},  {"j", "0"},      {"k", "false"}, {"m", "true"},
    };
    struct rmq_field own[sizeof(fields) / sizeof(fields[0])];
    int rc;

    build_batch(load, batch);
    memcpy(own, fields, sizeof(fields));
    own[1].value = load->options.queues[batch->queue].topic;
    snprintf(addr, sizeof(addr), "127.0.0.1:%d", port);
    snprintf(queue_id, sizeof(queue_id), "%" PRId32, load->options.queues[batch->queue].id);
    snprintf(born, sizeof(born), "%" PRId64, mq_clock_wall_ms());
    batch->load = load;
    batch->open = true;
    batch->begun_ns = mq_clock_mono_ns();
    rc = rmq_ask(load->batch_client, addr, REQ_SEND_BATCH_MESSAGE, own, sizeof(own) / sizeof(own[0]),
                 load->batch_body.base, load->batch_body.len, SEND_TIMEOUT_MS, on_batch_answer, batch);
    for (uint32_t i = 0; rc != 0 && i < batch->n; i++) {
        account_end(&load->account, BATCH_PRODUCER, batch->first_seq + i, ACCOUNT_REFUSED, -1);
        batch->open = false;
    }
}

static void run_batches(struct load *load, double share)
{
    load->batches_due += share;
    if (load->batches_due > BATCHES_OPEN_MAX * BATCH_MESSAGES_MAX) {
        load->batches_due = BATCHES_OPEN_MAX * BATCH_MESSAGES_MAX;
    }
    for (uint32_t i = 0; i < BATCHES_OPEN_MAX; i++) {
        struct batch *batch = &load->batches[i];

        if (load->paused || batch->open || load->batches_due < BATCH_MESSAGES_MAX ||
            mq_clock_mono_ms() < load->batch_retry_ms) {
            continue;
        }
        send_batch(load, batch);
        load->batches_due -= batch->n;
    }
}

/* --- readers --- */

/* Takes the records of one answer. Under the lock. */
static void take_records(struct reader *reader, const struct rmq_pull_result *result)
{
    struct load *load = reader->load;
    const struct load_queue *queue = &load->options.queues[reader->queue];
    const uint8_t *at = result->records;
    uint32_t left = result->records_bytes;

    while (left > 0) {
        struct proto_record record;

        if (proto_record_decode(at, left, &record) != 0) {
            account_fault(&load->account, ACCOUNT_BODY, "queue %u offset %" PRId64 ": a record that does not decode",
                          reader->queue, reader->next);
            return;
        }
        if (record.queue_id != queue->id || !mq_str_eq(record.topic, mq_str_of(queue->topic))) {
            account_fault(&load->account, ACCOUNT_PHANTOM,
                          "queue %u offset %" PRId64 ": a record of queue %d of " MQ_STR_FMT, reader->queue,
                          reader->next, (int)record.queue_id, MQ_STR_ARG(record.topic));
        }
        account_read(&load->account, reader->queue, record.qoff, (const uint8_t *)record.body.at, record.body.len);
        reader->next = record.qoff + 1;
        at += record.record_bytes;
        left -= record.record_bytes;
    }
}

static void pull_next(struct reader *reader);

static void on_pulled(struct rmq_pull *pull, const struct rmq_pull_result *result)
{
    struct reader *reader = pull->data;
    struct load *load = reader->load;
    bool again = false;

    pthread_mutex_lock(&load->lock);
    reader->open = false;
    if (result->status == 0 && result->code == RESP_SUCCESS) {
        take_records(reader, result);
        again = true;
    } else if (result->status == 0 && result->code == RESP_PULL_NOT_FOUND) {
        again = true;
    } else if (result->status == 0 && result->code == RESP_PULL_OFFSET_MOVED) {
        account_fault(&load->account, ACCOUNT_SHRUNK, "queue %u: asked for offset %" PRId64 ", was moved to %" PRId64,
                      reader->queue, reader->next, result->next_offset);
    }
    again = again && !load->stopping;
    pthread_mutex_unlock(&load->lock);
    if (again) {
        pull_next(reader);
    } else {
        reader->retry_ms = mq_clock_mono_ms() + RETRY_MS;
    }
}

static void pull_next(struct reader *reader)
{
    struct load *load = reader->load;
    const struct load_queue *queue = &load->options.queues[reader->queue];

    reader->pull = (struct rmq_pull){
        .data = reader,
        .topic = mq_str_of(queue->topic),
        .group = MQ_STR(COMMITS_GROUP),
        .broker_name = load->options.broker_name,
        .queue_id = queue->id,
        .qoff = reader->next,
        .count_max = PULL_COUNT,
        .suspend_ms = PULL_SUSPEND_MS,
    };
    reader->open = rmq_pull_async(load->read_client, &reader->pull, on_pulled) == 0;
    if (!reader->open) {
        reader->retry_ms = mq_clock_mono_ms() + RETRY_MS;
    }
}

/* --- the loop --- */

static void on_client_closed(void *data)
{
    struct load *load = data;

    if (--load->clients_open == 0) {
        uv_close((uv_handle_t *)&load->tick, NULL);
    }
}

static void close_all(struct load *load)
{
    uv_timer_stop(&load->tick);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        rmq_client_close(load->producers[i].client, on_client_closed, load);
    }
    rmq_client_close(load->batch_client, on_client_closed, load);
    rmq_client_close(load->read_client, on_client_closed, load);
}

static void on_tick(uv_timer_t *timer)
{
    struct load *load = timer->data;
    uint64_t now_ns = mq_clock_mono_ns();
    double due = (double)load->options.rate * (double)(now_ns - load->tick_ns) / 1e9;
    bool stopping;

    load->tick_ns = now_ns;
    for (uint32_t i = 0; i < load->options.n_queues; i++) {
        struct reader *reader = &load->readers[i];

        if (!reader->open && now_ns / 1000000 >= reader->retry_ms) {
            pull_next(reader);
        }
    }
    pthread_mutex_lock(&load->lock);
    stopping = load->stopping;
    if (!load->paused && !stopping) {
        for (uint32_t i = 0; i < PRODUCERS; i++) {
            run_producer(&load->producers[i], due * (BATCH_SHARE - 1) / BATCH_SHARE / PRODUCERS);
        }
        run_batches(load, due / BATCH_SHARE);
        commits_run(&load->commits, now_ns / 1000000);
    }
    pthread_mutex_unlock(&load->lock);
    if (stopping) {
        close_all(load);
    }
}

static void *run(void *data)
{
    struct load *load = data;

    net_loop_run(&load->loop);
    return NULL;
}

/* --- the other thread --- */

static int open_producer(struct load *load, uint32_t number)
{
    struct producer *producer = &load->producers[number];
    struct rmq_options options = {.namesrv = load->options.namesrv, .group = "FAULT_PRODUCERS", .connections = 1};

    /* Both encodings are used, as both have to work. */
    options.encoding = number % 2 == 0 ? PROTO_JSON : PROTO_BINARY;
    *producer = (struct producer){.load = load, .number = (uint16_t)number};
    producer->window = WINDOW_MIN + (WINDOW_MAX - WINDOW_MIN) * number / (PRODUCERS - 1);
    producer->slots = mq_calloc(producer->window, sizeof(*producer->slots));
    if (producer->slots == NULL) {
        return MQ_ENOMEM;
    }
    for (uint32_t i = 0; i < producer->window; i++) {
        producer->slots[i].producer = producer;
        producer->slots[i].next = producer->idle;
        producer->idle = &producer->slots[i];
    }
    return rmq_client_new(&load->loop, &options, &producer->client);
}

static int open_clients(struct load *load)
{
    struct rmq_options options = {.namesrv = load->options.namesrv, .connections = 1};
    int rc = 0;

    for (uint32_t i = 0; i < PRODUCERS && rc == 0; i++) {
        rc = open_producer(load, i);
    }
    rc = rc == 0 ? rmq_client_new(&load->loop, &options, &load->batch_client) : rc;
    rc = rc == 0 ? rmq_client_new(&load->loop, &options, &load->read_client) : rc;
    load->clients_open = PRODUCERS + 2;
    load->commits = (struct commits){
        .client = load->batch_client,
        .lock = &load->lock,
        .topic = load->options.queues[0].topic,
        .ports = load->options.ports,
        .n_ports = load->options.n_ports,
    };
    for (uint32_t i = 0; i < load->options.n_queues; i++) {
        load->readers[i] = (struct reader){.load = load, .queue = (uint16_t)i};
    }
    return rc;
}

int load_start(const struct load_options *options, struct load **out)
{
    struct load *load = mq_calloc(1, sizeof(*load));
    pthread_condattr_t attr;
    int rc;

    MQ_ASSERT(load != NULL && options->n_queues <= LOAD_QUEUES_MAX);
    load->options = *options;
    load->paused = true;
    load->random = options->seed * 0x9E3779B97F4A7C15u | 1;
    load->tick_ns = mq_clock_mono_ns();
    pthread_mutex_init(&load->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&load->news, &attr);
    rc = account_init(&load->account, options->tag, options->n_queues);
    rc = rc == 0 ? net_loop_init(&load->loop) : rc;
    rc = rc == 0 ? open_clients(load) : rc;
    if (rc != 0) {
        return rc; /* the test ends */
    }
    uv_timer_init(&load->loop.uv, &load->tick);
    load->tick.data = load;
    uv_timer_start(&load->tick, on_tick, TICK_MS, TICK_MS);
    rc = -pthread_create(&load->thread, NULL, run, load);
    *out = load;
    return rc;
}

void load_stop(struct load *load)
{
    pthread_mutex_lock(&load->lock);
    load->stopping = true;
    pthread_mutex_unlock(&load->lock);
    pthread_join(load->thread, NULL);
    net_loop_fini(&load->loop);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        for (uint32_t k = 0; k < load->producers[i].window; k++) {
            mq_free(load->producers[i].slots[k].body);
        }
        mq_free(load->producers[i].slots);
    }
    mq_buf_free(&load->batch_body);
    account_fini(&load->account);
    pthread_cond_destroy(&load->news);
    pthread_mutex_destroy(&load->lock);
    mq_free(load);
}

static struct timespec deadline_of(uint32_t timeout_ms)
{
    uint64_t at_ns = mq_clock_mono_ns() + (uint64_t)timeout_ms * 1000000;

    return (struct timespec){(time_t)(at_ns / 1000000000), (long)(at_ns % 1000000000)};
}

void load_resume(struct load *load)
{
    pthread_mutex_lock(&load->lock);
    load->paused = false;
    pthread_mutex_unlock(&load->lock);
}

static bool is_idle(const struct load *load)
{
    return account_open_sends(&load->account) == 0 && !load->commits.open;
}

bool load_pause(struct load *load, uint32_t timeout_ms)
{
    uint64_t until_ms = mq_clock_mono_ms() + timeout_ms;
    const struct timespec nap = {0, NAP_NS};
    bool idle;

    pthread_mutex_lock(&load->lock);
    load->paused = true;
    while (!(idle = is_idle(load)) && mq_clock_mono_ms() < until_ms) {
        pthread_mutex_unlock(&load->lock);
        nanosleep(&nap, NULL);
        pthread_mutex_lock(&load->lock);
    }
    pthread_mutex_unlock(&load->lock);
    return idle;
}

void load_check_commit(struct load *load, int64_t offset)
{
    pthread_mutex_lock(&load->lock);
    if (!commits_allow(&load->commits, offset)) {
        account_fault(&load->account, ACCOUNT_PROGRESS,
                      "offset %" PRId64 " is committed, %" PRId64 " was acknowledged last, %" PRIu32
                      " are unknown since",
                      offset, load->commits.last_acked, load->commits.n_unknown);
    }
    pthread_mutex_unlock(&load->lock);
}

uint64_t load_commits(struct load *load)
{
    uint64_t n;

    pthread_mutex_lock(&load->lock);
    n = load->commits.acked;
    pthread_mutex_unlock(&load->lock);
    return n;
}

static bool has_read(struct load *load, const int64_t *ends)
{
    bool all = true;

    pthread_mutex_lock(&load->lock);
    for (uint32_t i = 0; i < load->options.n_queues; i++) {
        all = all && (int64_t)load->account.queues[i].n >= ends[i];
    }
    pthread_mutex_unlock(&load->lock);
    return all;
}

bool load_wait_read(struct load *load, const int64_t *ends, uint32_t timeout_ms)
{
    uint64_t until_ms = mq_clock_mono_ms() + timeout_ms;
    const struct timespec nap = {0, NAP_NS};

    while (!has_read(load, ends)) {
        if (mq_clock_mono_ms() >= until_ms) {
            return false;
        }
        nanosleep(&nap, NULL);
    }
    return true;
}

void load_mark(struct load *load)
{
    pthread_mutex_lock(&load->lock);
    load->mark_ns = mq_clock_mono_ns();
    load->first_ack_ns = 0;
    pthread_mutex_unlock(&load->lock);
}

int64_t load_wait_ack(struct load *load, uint32_t timeout_ms)
{
    struct timespec until = deadline_of(timeout_ms);
    int64_t ms = -1;

    pthread_mutex_lock(&load->lock);
    while (load->first_ack_ns == 0 && pthread_cond_timedwait(&load->news, &load->lock, &until) == 0) {
    }
    if (load->first_ack_ns != 0) {
        ms = (int64_t)((load->first_ack_ns - load->mark_ns) / 1000000);
    }
    pthread_mutex_unlock(&load->lock);
    return ms;
}

struct account *load_lock(struct load *load)
{
    pthread_mutex_lock(&load->lock);
    return &load->account;
}

void load_unlock(struct load *load)
{
    pthread_mutex_unlock(&load->lock);
}
