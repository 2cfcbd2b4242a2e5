/* What many consumers, many parked pulls and many queues cost a broker, and how fast a filter passes over what nobody
 * wants.
 *
 *   bench_clients DIR filter [MESSAGES]        one queue, 1 % of its messages match: units passed over a second
 *   bench_clients DIR parked [PULLS [SECONDS]] memory of a parked pull; 1,000 sends a second, and how long after a
 *                                              send's own answer the pull that waited for it is answered
 *   bench_clients DIR queues [TOPICS]          8 queues each with a message in every one: memory, and a start
 *   bench_clients DIR noise [SECONDS]          pulls of a consumer while another client never reads what it pulls,
 *                                              a third has 10,000 subscriptions, a fourth filters by an expression
 *                                              that fails on every message
 *
 * A group of one in DIR (made, and left behind), in this process; its clients are connections of the same loop, so
 * that what is printed has their share in it. */
#include "broker/flow/pull_hold.h"
#include "broker/inside.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"
#include "remoting/base/stats.h"
#include "remoting/net/client.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/headers.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALL_MS 60000
#define CONNECTIONS 100u
#define QUEUES_EACH 8u
#define SNAPSHOT_WAIT_NS 12000000000u /* more than two periods: one of them holds all */

static struct net_loop loop;
static struct broker *broker;
static struct context *ctx;
static const char *dir;

/* --- the broker --- */

static void set_flag(void *data)
{
    *(bool *)data = true;
}

static void broker_up(void)
{
    const char *overrides[] = {"listenPort=0",
                               "bindAddress=127.0.0.1",
                               "brokerIP1=127.0.0.1",
                               "brokerName=bench",
                               "snapshotPeriodSeconds=5",
                               "mappedFileSizeCommitLog=134217728",
                               NULL,
                               NULL};
    struct mq_buf problem = {0}, warnings = {0};
    char store[512];

    snprintf(store, sizeof(store), "storePathRootDir=%s", dir);
    overrides[6] = store;
    if (broker_open(&loop, NULL, overrides, &broker, &problem, &warnings) != 0) {
        fprintf(stderr, "bench_clients: %.*s", (int)problem.len, (const char *)problem.base);
        exit(1);
    }
    mq_buf_free(&problem);
    mq_buf_free(&warnings);
    ctx = broker_context(broker);
    while (!broker_is_writable(broker)) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
}

static void broker_down(void)
{
    bool closed = false;

    broker_close(broker, set_flag, &closed);
    while (!closed) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
}

static uint64_t resident(uint64_t *anon)
{
    uint64_t all = 0;

    MQ_ASSERT(mq_process_memory((int)getpid(), anon, &all) == 0);
    return all;
}

/* --- clients --- */

struct peer {
    struct net_client client;
    bool connected, closed;
};

static void on_connected(struct net_client *client, int status)
{
    MQ_ASSERT(status == 0);
    container_of(client, struct peer, client)->connected = true;
}

static void on_closed(struct net_client *client, int reason)
{
    (void)client;
    (void)reason;
}

static const struct net_client_ops peer_ops = {.connected = on_connected, .closed = on_closed};

static void peer_dial(struct peer *peer)
{
    struct sockaddr_in addr;

    *peer = (struct peer){0};
    MQ_ASSERT(uv_ip4_addr("127.0.0.1", broker_port(broker), &addr) == 0);
    MQ_ASSERT(net_client_init(&peer->client, &loop, &peer_ops, NULL) == 0);
    MQ_ASSERT(net_client_connect(&peer->client, (struct sockaddr *)&addr) == 0);
    while (!peer->connected) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
    peer->client.encoding = PROTO_BINARY;
}

static void on_peer_gone(struct net_client *client)
{
    container_of(client, struct peer, client)->closed = true;
}

static void peer_close(struct peer *peer)
{
    net_client_close(&peer->client, on_peer_gone);
    while (!peer->closed) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
}

/* A request of ours, and what came of it. */
struct request {
    struct net_call call;
    uint32_t *waiting; /* counted down; may be NULL */
    int32_t code;
    int64_t next;
    uint32_t bytes;
};

static void on_answer(struct net_call *call, int status, struct proto_command *answer)
{
    struct request *request = container_of(call, struct request, call);
    struct mq_str next;

    if (status != 0) {
        request->code = status; /* the end */
        return;
    }
    request->code = answer->code;
    request->bytes = answer->body_bytes;
    next = proto_fields_get(&answer->fields, MQ_STR("nextBeginOffset"));
    if (next.at != NULL) {
        MQ_ASSERT(mq_str_to_i64(next, &request->next) == 0);
    }
    if (request->waiting != NULL) {
        (*request->waiting)--;
    }
}

static void wait_for(const uint32_t *waiting)
{
    while (*waiting != 0) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
}

static void start_topic(struct peer *peer, const char *topic, struct request *request)
{
    struct proto_create_topic_header header = proto_create_topic_header_defaults();
    struct proto_writer w;

    header.topic = mq_str_of(topic);
    header.default_topic = MQ_STR("TBW102");
    header.read_queues = header.write_queues = QUEUES_EACH;
    header.perm = 6;
    header.filter_type = MQ_STR("SINGLE_TAG");
    MQ_ASSERT(net_client_begin(&peer->client, &w, REQ_UPDATE_AND_CREATE_TOPIC, false) == 0);
    proto_create_topic_header_encode(&w, &header);
    MQ_ASSERT(net_client_call(&peer->client, &w, NULL, 0, &request->call, CALL_MS, on_answer) == 0);
}

static void start_send(struct peer *peer, const char *topic, uint32_t queue, struct mq_str properties, bool batch,
                       struct mq_str body, struct request *request, net_call_cb cb)
{
    struct proto_send_header header = proto_send_header_defaults();
    struct proto_writer w;

    header.producer_group = MQ_STR("bench");
    header.topic = mq_str_of(topic);
    header.default_topic = MQ_STR("TBW102");
    header.default_topic_queues = QUEUES_EACH;
    header.queue_id = (int32_t)queue;
    header.born_ms = mq_clock_wall_ms();
    header.properties = properties;
    header.batch = batch;
    MQ_ASSERT(net_client_begin(&peer->client, &w, batch ? REQ_SEND_BATCH_MESSAGE : REQ_SEND_MESSAGE_V2, false) == 0);
    proto_send_header_v2_encode(&w, &header);
    MQ_ASSERT(net_client_call(&peer->client, &w, body.at, body.len, &request->call, CALL_MS, cb) == 0);
}

static void start_pull(struct peer *peer, const char *topic, uint32_t queue, int64_t from, const char *type,
                       const char *expression, uint32_t suspend_ms, struct request *request, net_call_cb cb)
{
    struct proto_pull_header header = proto_pull_header_defaults();
    struct proto_writer w;

    header.consumer_group = MQ_STR("bench");
    header.topic = mq_str_of(topic);
    header.queue_id = (int32_t)queue;
    header.queue_offset = from;
    header.max_msgs = 32;
    header.sys_flag = PROTO_PULL_SUBSCRIPTION | (suspend_ms != 0 ? PROTO_PULL_SUSPEND : 0);
    header.suspend_ms = suspend_ms;
    header.subscription = mq_str_of(expression);
    header.expression_type = mq_str_of(type);
    MQ_ASSERT(net_client_begin(&peer->client, &w, REQ_PULL_MESSAGE, false) == 0);
    proto_pull_header_encode(&w, &header);
    MQ_ASSERT(net_client_call(&peer->client, &w, NULL, 0, &request->call, CALL_MS, cb) == 0);
}

static void make_topics(struct peer *peer, uint32_t topics)
{
    struct request *requests = mq_calloc(256, sizeof(*requests));
    uint32_t waiting = 0;

    for (uint32_t i = 0; i < topics; i++) {
        char topic[32];

        if (i % 256 == 0) {
            wait_for(&waiting);
        }
        snprintf(topic, sizeof(topic), "topic-%u", i);
        requests[i % 256].waiting = &waiting;
        waiting++;
        start_topic(peer, topic, &requests[i % 256]);
    }
    wait_for(&waiting);
    mq_free(requests);
}

/* --- filter --- */

/* One message of a batch body. */
static void put_item(struct mq_buf *out, const char *properties)
{
    uint32_t bytes = (uint32_t)strlen(properties);
    uint32_t total = 4 + 4 + 4 + 4 + 4 + 16 + 2 + bytes;

    MQ_ASSERT(mq_buf_put_be32(out, total) == 0 && mq_buf_put_be32(out, 0) == 0 && mq_buf_put_be32(out, 0) == 0 &&
              mq_buf_put_be32(out, 0) == 0 && mq_buf_put_be32(out, 16) == 0 &&
              mq_buf_put(out, "0123456789abcdef", 16) == 0 && mq_buf_put_u8(out, (uint8_t)(bytes >> 8)) == 0 &&
              mq_buf_put_u8(out, (uint8_t)bytes) == 0 && mq_buf_put(out, properties, bytes) == 0);
}

static void fill_queue(struct peer *peer, uint32_t messages)
{
    struct mq_buf body = {0};

    for (uint32_t i = 0; i < messages; i += 500) {
        uint32_t waiting = 1;
        struct request request = {.waiting = &waiting};

        body.len = 0;
        for (uint32_t k = 0; k < 500; k++) {
            put_item(&body, (i + k) % 100 == 0 ? "TAGS\001hit\002n\0011\002" : "TAGS\001other\002n\0010\002");
        }
        start_send(peer, "topic-0", 0, MQ_STR(""), true, mq_buf_str(&body), &request, on_answer);
        wait_for(&waiting);
        MQ_ASSERT(request.code == RESP_SUCCESS);
    }
    mq_buf_free(&body);
}

static void pass_over(struct peer *peer, const char *type, const char *expression, uint32_t messages)
{
    uint64_t start_ns = mq_clock_mono_ns();
    uint64_t bytes = 0;
    uint32_t pulls = 0;
    int64_t at = 0;
    double seconds;

    while (at < messages) {
        uint32_t waiting = 1;
        struct request request = {.waiting = &waiting, .next = at};

        start_pull(peer, "topic-0", 0, at, type, expression, 0, &request, on_answer);
        wait_for(&waiting);
        MQ_ASSERT(request.next > at);
        at = request.next;
        bytes += request.bytes;
        pulls++;
    }
    seconds = (double)(mq_clock_mono_ns() - start_ns) / 1e9;
    printf("%-5s %-12s %u units, %u pulls, %.1f MiB received: %.0f units/s\n", type, expression, messages, pulls,
           (double)bytes / 1048576, messages / seconds);
}

static void bench_filter(uint32_t messages)
{
    struct peer peer;

    broker_up();
    peer_dial(&peer);
    make_topics(&peer, 1);
    fill_queue(&peer, messages);
    for (int round = 0; round < 3; round++) {
        pass_over(&peer, "TAG", "hit", messages);
    }
    pass_over(&peer, "SQL92", "n = 1", messages);
    pass_over(&peer, "TAG", "nothing", messages);
    peer_close(&peer);
    broker_down();
}

/* --- parked --- */

struct parked {
    struct request request;
    struct parked_bench *bench;
    struct peer *peer;
    char topic[32];
    uint32_t queue;
    uint64_t sent_ns, stored_ns; /* of the send it waits for; 0: none */
    struct request send;
};

struct parked_bench {
    struct peer peers[CONNECTIONS];
    struct peer producer;
    struct parked *pulls;
    uint32_t n, sending, woken;
    struct mq_histogram *after_answer, *after_send;
    uint64_t next_ns, end_ns;
    uv_timer_t timer;
};

static void on_woken(struct net_call *call, int status, struct proto_command *answer)
{
    struct parked *p = container_of(call, struct parked, request.call);
    uint64_t now_ns = mq_clock_mono_ns();

    if (status != 0) {
        return; /* the end */
    }
    on_answer(call, status, answer);
    if (p->request.code == RESP_SUCCESS && p->sent_ns != 0) {
        mq_histogram_add(p->bench->after_send, (now_ns - p->sent_ns) / 1000);
        if (p->stored_ns != 0) {
            mq_histogram_add(p->bench->after_answer, (now_ns - p->stored_ns) / 1000);
        } else {
            mq_histogram_add(p->bench->after_answer, 0); /* it came before the send's own answer */
        }
        p->bench->woken++;
    }
    p->sent_ns = 0;
    start_pull(p->peer, p->topic, p->queue, p->request.next, "TAG", "*", 120000, &p->request, on_woken);
}

static void on_sent(struct net_call *call, int status, struct proto_command *answer)
{
    struct parked *p = container_of(call, struct parked, send.call);

    MQ_ASSERT(status == 0 && answer->code == RESP_SUCCESS);
    p->stored_ns = p->sent_ns != 0 ? mq_clock_mono_ns() : 0;
    p->bench->sending--;
}

static void send_due(struct parked_bench *b)
{
    uint64_t now_ns = mq_clock_mono_ns();

    for (; b->next_ns <= now_ns && b->next_ns < b->end_ns; b->next_ns += 1000000) {
        struct parked *p = &b->pulls[(uint64_t)rand() % b->n];

        if (p->sent_ns != 0 || p->send.call.data == p) {
            continue; /* its last send is still under way */
        }
        p->sent_ns = now_ns;
        p->stored_ns = 0;
        b->sending++;
        start_send(&b->producer, p->topic, p->queue, MQ_STR(""), false, MQ_STR("a message"), &p->send, on_sent);
    }
}

static void on_tick(uv_timer_t *timer)
{
    send_due(timer->data);
}

static void park_all(struct parked_bench *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        struct parked *p = &b->pulls[i];

        p->bench = b;
        p->peer = &b->peers[i % CONNECTIONS];
        snprintf(p->topic, sizeof(p->topic), "topic-%u", i / QUEUES_EACH);
        p->queue = i % QUEUES_EACH;
        start_pull(p->peer, p->topic, p->queue, 0, "TAG", "*", 120000, &p->request, on_woken);
    }
    while (pull_hold_count(ctx->pull_hold) != b->n) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
}

static void bench_parked(uint32_t n, uint32_t seconds)
{
    struct parked_bench *b = mq_calloc(1, sizeof(*b));
    struct mallinfo2 before, after;

    broker_up();
    b->n = n;
    b->pulls = mq_calloc(n, sizeof(*b->pulls));
    b->after_answer = mq_calloc(1, sizeof(*b->after_answer));
    b->after_send = mq_calloc(1, sizeof(*b->after_send));
    mq_histogram_init(b->after_answer);
    mq_histogram_init(b->after_send);
    peer_dial(&b->producer);
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        peer_dial(&b->peers[i]);
    }
    make_topics(&b->producer, (n + QUEUES_EACH - 1) / QUEUES_EACH);
    before = mallinfo2();
    park_all(b);
    after = mallinfo2();
    printf("%u parked pulls: %.0f bytes each (with the clients' own call tables and the queues they made)\n", n,
           ((double)after.uordblks - (double)before.uordblks) / n);
    uv_timer_init(&loop.uv, &b->timer);
    b->timer.data = b;
    b->next_ns = mq_clock_mono_ns();
    b->end_ns = b->next_ns + (uint64_t)seconds * 1000000000;
    uv_timer_start(&b->timer, on_tick, 1, 1);
    while (mq_clock_mono_ns() < b->end_ns || b->sending != 0) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&b->timer, NULL);
    printf("%u woken in %u s\n", b->woken, seconds);
    printf("answered after the send's own answer: p50 %.2f p99 %.2f max %.2f ms\n",
           (double)mq_histogram_at(b->after_answer, 0.5) / 1000,
           (double)mq_histogram_at(b->after_answer, 0.99) / 1000, (double)b->after_answer->max / 1000);
    printf("answered after the send began (with its sync): p50 %.2f p99 %.2f max %.2f ms\n",
           (double)mq_histogram_at(b->after_send, 0.5) / 1000, (double)mq_histogram_at(b->after_send, 0.99) / 1000,
           (double)b->after_send->max / 1000);
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        peer_close(&b->peers[i]);
    }
    peer_close(&b->producer);
    broker_down();
    mq_free(b->pulls);
    mq_free(b->after_answer);
    mq_free(b->after_send);
    mq_free(b);
}

/* --- queues --- */

static void fill_topics(struct peer *peer, uint32_t topics)
{
    struct request *requests = mq_calloc(1024, sizeof(*requests));
    uint32_t waiting = 0;

    for (uint32_t i = 0; i < topics * QUEUES_EACH; i++) {
        char topic[32];

        if (i % 1024 == 0) {
            wait_for(&waiting);
        }
        snprintf(topic, sizeof(topic), "topic-%u", i / QUEUES_EACH);
        requests[i % 1024].waiting = &waiting;
        waiting++;
        start_send(peer, topic, i % QUEUES_EACH, MQ_STR(""), false, MQ_STR("a message"), &requests[i % 1024],
                   on_answer);
    }
    wait_for(&waiting);
    MQ_ASSERT(requests[0].code == RESP_SUCCESS);
    mq_free(requests);
}

static void print_memory(const char *when)
{
    uint64_t anon, all = resident(&anon);

    printf("%s: %.0f MiB resident, %.0f MiB of it without files; %u maps of consume queues\n", when,
           (double)all / 1048576, (double)anon / 1048576, (unsigned)ctx->store->queues.maps);
}

static void bench_queues(uint32_t topics)
{
    struct peer peer;
    uint64_t start_ns;

    broker_up();
    peer_dial(&peer);
    start_ns = mq_clock_mono_ns();
    make_topics(&peer, topics);
    printf("%u topics made in %.1f s\n", topics, (double)(mq_clock_mono_ns() - start_ns) / 1e9);
    print_memory("without a message");
    start_ns = mq_clock_mono_ns();
    fill_topics(&peer, topics);
    printf("%u queues filled in %.1f s\n", topics * QUEUES_EACH, (double)(mq_clock_mono_ns() - start_ns) / 1e9);
    print_memory("a message in each");
    start_ns = mq_clock_mono_ns();
    while (mq_clock_mono_ns() - start_ns < SNAPSHOT_WAIT_NS) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
    peer_close(&peer);
    broker_down();
    for (int round = 0; round < 2; round++) {
        start_ns = mq_clock_mono_ns();
        broker_up();
        printf("start %d: %.2f s until sends are taken\n", round + 1, (double)(mq_clock_mono_ns() - start_ns) / 1e9);
        print_memory("after the start");
        broker_down();
    }
}

/* --- noise --- */

#define WIDE_SUBSCRIPTIONS 10000u
#define WIDE_EVERY_NS 100000000u /* stock clients beat every 30 s */
#define POISON "missing IN ('a', 'b') AND n CONTAINS 'q' OR missing > 5 AND n NOT BETWEEN 3 AND 4"

struct noise {
    struct peer deaf, poison, wide;
    struct request pulls[64], poisoned, beat;
    uint32_t poisoning, beating;
    struct mq_buf wide_body; /* with a place for the version in each subscription */
    uint64_t beat_ns, beats;
    uint64_t poisons;
    int64_t version;
};

/* A heartbeat in which every subscription is newer than in the one before. */
static void beat_wide(struct noise *noise)
{
    struct proto_writer w;
    char *at = (char *)noise->wide_body.base;
    char version[21];

    snprintf(version, sizeof(version), "%020" PRId64, ++noise->version);
    while ((at = strstr(at, "\"subVersion\":")) != NULL) {
        at += strlen("\"subVersion\":");
        memcpy(at + 1, version, 20);
    }
    MQ_ASSERT(net_client_begin(&noise->wide.client, &w, REQ_HEART_BEAT, false) == 0);
    noise->beat.waiting = &noise->beating;
    noise->beating = 1;
    noise->beat_ns = mq_clock_mono_ns();
    MQ_ASSERT(net_client_call(&noise->wide.client, &w, noise->wide_body.base, noise->wide_body.len - 1,
                              &noise->beat.call, CALL_MS, on_answer) == 0);
}

static void make_wide_body(struct noise *noise)
{
    struct mq_buf *body = &noise->wide_body;

    MQ_ASSERT(mq_buf_printf(body, "{\"clientID\":\"wide\",\"consumerDataSet\":[{\"groupName\":\"wide\","
                                  "\"subscriptionDataSet\":[") == 0);
    for (uint32_t i = 0; i < WIDE_SUBSCRIPTIONS; i++) {
        MQ_ASSERT(mq_buf_printf(body,
                                "%s{\"topic\":\"wide-topic-%u\",\"subString\":\"a || b\",\"tagsSet\":[\"a\",\"b\"],"
                                "\"codeSet\":[97,98],\"subVersion\":\"%020d\"}",
                                i != 0 ? "," : "", i, 0) == 0);
    }
    MQ_ASSERT(mq_buf_printf(body, "]}]}") == 0 && mq_buf_put_u8(body, 0) == 0);
}

/* What is answered goes on at once, heartbeats every 100 ms. */
static void make_noise(struct noise *noise)
{
    uint64_t now_ns = mq_clock_mono_ns();

    if (noise->beating == 0 && now_ns - noise->beat_ns >= WIDE_EVERY_NS) {
        noise->beats++;
        beat_wide(noise);
    }
    if (noise->poisoning == 0) {
        noise->poisoning = 1;
        noise->poisons++;
        noise->poisoned.waiting = &noise->poisoning;
        noise->poisoned.next = noise->poisoned.next < 99000 ? noise->poisoned.next : 0;
        start_pull(&noise->poison, "topic-0", 0, noise->poisoned.next, "SQL92", POISON, 0, &noise->poisoned,
                   on_answer);
    }
}

static void pull_for(struct peer *peer, struct noise *noise, uint32_t seconds, const char *name)
{
    struct mq_histogram *h = mq_calloc(1, sizeof(*h));
    uint64_t end_ns = mq_clock_mono_ns() + (uint64_t)seconds * 1000000000;

    mq_histogram_init(h);
    while (mq_clock_mono_ns() < end_ns) {
        uint32_t waiting = 1;
        struct request request = {.waiting = &waiting};
        uint64_t start_ns;

        if (noise != NULL) {
            make_noise(noise);
        }
        start_ns = mq_clock_mono_ns();
        start_pull(peer, "topic-0", 0, 0, "TAG", "hit", 0, &request, on_answer);
        wait_for(&waiting);
        mq_histogram_add(h, (mq_clock_mono_ns() - start_ns) / 1000);
    }
    printf("%-14s %" PRIu64 " pulls, p50 %.3f p99 %.3f p99.9 %.3f max %.3f ms\n", name, h->total,
           (double)mq_histogram_at(h, 0.5) / 1000, (double)mq_histogram_at(h, 0.99) / 1000,
           (double)mq_histogram_at(h, 0.999) / 1000, (double)h->max / 1000);
    mq_free(h);
}

static void bench_noise(uint32_t seconds)
{
    struct noise *noise = mq_calloc(1, sizeof(*noise));
    struct peer peer;
    uint64_t start_ns;

    broker_up();
    peer_dial(&peer);
    peer_dial(&noise->deaf);
    peer_dial(&noise->poison);
    peer_dial(&noise->wide);
    make_topics(&peer, 1);
    make_wide_body(noise);
    fill_queue(&peer, 100000);
    for (int i = 0; i < 2; i++) {
        start_ns = mq_clock_mono_ns();
        beat_wide(noise);
        noise->version -= i == 0; /* the second one says nothing new */
        wait_for(&noise->beating);
        printf("heartbeat of %u subscriptions, %s: code %d, %.1f ms with its client's part\n", WIDE_SUBSCRIPTIONS,
               i == 0 ? "all new" : "nothing new", noise->beat.code, (double)(mq_clock_mono_ns() - start_ns) / 1e6);
    }
    pull_for(&peer, NULL, seconds, "alone");
    uv_read_stop((uv_stream_t *)&noise->deaf.client.channel->conn.tcp);
    for (size_t i = 0; i < ARRAY_SIZE(noise->pulls); i++) {
        start_pull(&noise->deaf, "topic-0", 0, 0, "TAG", "*", 0, &noise->pulls[i], on_answer);
    }
    pull_for(&peer, noise, seconds, "with the noise");
    wait_for(&noise->poisoning);
    wait_for(&noise->beating);
    printf("noise: %" PRIu64 " heartbeats, %" PRIu64 " pulls whose filter matches nothing (code %d)\n", noise->beats,
           noise->poisons, noise->poisoned.code);
    peer_close(&noise->deaf);
    peer_close(&peer);
    peer_close(&noise->poison);
    peer_close(&noise->wide);
    broker_down();
    mq_buf_free(&noise->wide_body);
    mq_free(noise);
}

int main(int argc, char **argv)
{
    uint32_t first = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
    uint32_t second = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0;

    if (argc < 3) {
        fprintf(stderr, "usage: bench_clients DIR filter|parked|queues|noise [N [N]]\n");
        return 2;
    }
    dir = argv[1];
    mq_log_set_level(MQ_LOG_ERROR);
    MQ_ASSERT(net_loop_init(&loop) == 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(argv[2], "filter") == 0) {
        bench_filter(first != 0 ? first : 500000);
    } else if (strcmp(argv[2], "parked") == 0) {
        bench_parked(first != 0 ? first : 10000, second != 0 ? second : 10);
    } else if (strcmp(argv[2], "queues") == 0) {
        bench_queues(first != 0 ? first : 12500);
    } else if (strcmp(argv[2], "noise") == 0) {
        bench_noise(first != 0 ? first : 5);
    } else {
        fprintf(stderr, "bench_clients: no mode \"%s\"\n", argv[2]);
        return 2;
    }
    return 0;
}
