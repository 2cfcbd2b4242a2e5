/* The speed of light for a broker on this machine: the same frames in and out and the same bytes to three disks as a
 * real group, but no consensus and no broker. `raftmq bench` drives it like any cluster, so that both are measured by
 * the same load generator; this process is its own name server.
 *
 *   send 310 -> record built into the open entry -> entry closed when the previous write is done -> written and
 * synced here and by two followers -> on a majority: answers of all its sends in one write pull 11  -> records
 * straight from the mapped file */
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/net/server.h"
#include "remoting/protocol/body_route.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/message.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"
#include "tests/bench/limit_log.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define QUEUES 8               /* of every topic */
#define TOPICS 16              /* made when they are first sent to */
#define PENDING_MAX (1u << 17) /* a power of two */
#define PLACES_MAX (1u << 22)  /* of one queue; a ring too */
#define PULL_BYTES_MAX (256u << 10)
#define VIEW_BYTES_MIN 512 /* smaller records are cheaper to copy */

struct place {
    uint64_t file_at;
    uint32_t bytes;
};

struct queue {
    struct place *places; /* owned; of the qoffs below count */
    uint64_t count, visible;
    uint64_t min; /* qoffs below it were overwritten */
};

struct topic {
    char name[128];
    struct queue queues[QUEUES];
};

struct pending {
    struct net_channel *ch; /* counted */
    struct queue *queue;
    uint64_t end, pos;
    uint64_t qoff;
    int32_t opaque;
    uint8_t queue_id, encoding;
    char uniq_key[32];
};

struct limit {
    struct net_loop loop;
    struct net_server server;
    struct limit_log log;
    struct topic topics[TOPICS];
    uint32_t n_topics;
    struct pending *pending; /* owned; ring */
    uint32_t first, last;
    struct net_ref map_ref; /* of the mapped file, which stays */
    struct proto_host host;
    uint64_t last_file_at;
    char addr[32];
    uv_signal_t on_term, on_int;
};

static struct limit limit;

/* The queue, made if need be; all topics over TOPICS share the last one. */
static struct queue *find_queue(struct mq_str topic, int32_t queue_id)
{
    uint32_t i = 0;

    while (i < limit.n_topics && !mq_str_eq(mq_str_of(limit.topics[i].name), topic)) {
        i++;
    }
    if (i == limit.n_topics && i < TOPICS) {
        struct topic *made = &limit.topics[limit.n_topics++];

        snprintf(made->name, sizeof(made->name), MQ_STR_FMT, MQ_STR_ARG(topic));
        for (int k = 0; k < QUEUES; k++) {
            made->queues[k].places = mq_calloc(PLACES_MAX, sizeof(struct place));
            MQ_ASSERT(made->queues[k].places != NULL);
        }
    }
    return &limit.topics[i < TOPICS ? i : TOPICS - 1].queues[(uint32_t)queue_id % QUEUES];
}

static void begin_answer(struct net_channel *ch, struct proto_writer *w, int32_t opaque, enum proto_encoding encoding,
                         int32_t code)
{
    struct proto_head head = {.code = code, .opaque = opaque, .flag = PROTO_FLAG_RESPONSE, .encoding = encoding};

    proto_begin(w, net_channel_out(ch), &head);
}

static void end_answer(struct net_channel *ch, struct proto_writer *w, const void *body, size_t body_bytes)
{
    if (proto_end(w, body_bytes) == 0 && mq_buf_put(w->out, body, body_bytes) == 0) {
        net_channel_out_done(ch);
    }
}

static void answer_send(const struct pending *p)
{
    struct proto_writer w;
    char msg_id[PROTO_MSG_ID_MAX];
    size_t n = proto_offset_msg_id(&limit.host, (int64_t)p->pos, msg_id);

    begin_answer(p->ch, &w, p->opaque, (enum proto_encoding)p->encoding, RESP_SUCCESS);
    proto_put_str(&w, MQ_STR("msgId"), (struct mq_str){msg_id, (uint32_t)n});
    proto_put_i64(&w, MQ_STR("queueId"), p->queue_id);
    proto_put_i64(&w, MQ_STR("queueOffset"), (int64_t)p->qoff);
    proto_put_str(&w, MQ_STR("transactionId"), (struct mq_str){p->uniq_key, sizeof(p->uniq_key)});
    proto_put_str(&w, MQ_STR("MSG_REGION"), MQ_STR("DefaultRegion"));
    proto_put_str(&w, MQ_STR("TRACE_ON"), MQ_STR("true"));
    end_answer(p->ch, &w, NULL, 0);
}

static void on_committed(struct limit_log *log, uint64_t pos)
{
    (void)log;
    while (limit.first != limit.last && limit.pending[limit.first % PENDING_MAX].end <= pos) {
        struct pending *p = &limit.pending[limit.first++ % PENDING_MAX];

        p->queue->visible = p->qoff + 1;
        answer_send(p);
        net_channel_release(p->ch);
    }
}

/* The file started again at its front: what it held is gone. */
static void note_file_at(uint64_t file_at)
{
    if (file_at < limit.last_file_at) {
        for (uint32_t i = 0; i < limit.n_topics * QUEUES; i++) {
            struct queue *q = &limit.topics[i / QUEUES].queues[i % QUEUES];

            q->min = q->count;
        }
    }
    limit.last_file_at = file_at;
}

static void add_record(struct net_channel *ch, const struct proto_command *cmd,
                       const struct proto_send_header *header)
{
    struct queue *q = find_queue(header->topic, header->queue_id);
    struct mq_str uniq_key = proto_properties_get(header->properties, PROTO_PROP_UNIQ_KEY);
    struct proto_record record = {.queue_id = (int32_t)((uint32_t)header->queue_id % QUEUES),
                                  .flag = header->flag,
                                  .qoff = (int64_t)q->count,
                                  .sys_flag = header->sys_flag,
                                  .born_ms = header->born_ms,
                                  .born_host = limit.host,
                                  .store_ms = (int64_t)limit.loop.now_ms,
                                  .store_host = limit.host,
                                  .body = {(const char *)cmd->body, cmd->body_bytes},
                                  .topic = header->topic,
                                  .properties = header->properties};
    uint32_t bytes = (uint32_t)proto_record_bytes(&record);
    struct pending *p = &limit.pending[limit.last % PENDING_MAX];
    uint64_t pos, file_at;
    uint8_t *at = limit_log_reserve(&limit.log, bytes, &pos, &file_at);

    MQ_ASSERT(at != NULL && limit.last - limit.first < PENDING_MAX);
    record.pos = (int64_t)pos;
    proto_record_encode(&record, at);
    limit_log_add(&limit.log, bytes);
    note_file_at(file_at);
    q->places[q->count % PLACES_MAX] = (struct place){file_at, bytes};
    *p = (struct pending){.ch = net_channel_acquire(ch),
                          .queue = q,
                          .end = pos + bytes,
                          .pos = pos,
                          .qoff = q->count++,
                          .opaque = cmd->opaque,
                          .queue_id = (uint8_t)record.queue_id,
                          .encoding = (uint8_t)cmd->encoding};
    memcpy(p->uniq_key, uniq_key.at, uniq_key.len < sizeof(p->uniq_key) ? uniq_key.len : sizeof(p->uniq_key));
    limit.last++;
}

static void send_message(struct net_channel *ch, struct proto_command *cmd)
{
    struct proto_send_header header;

    if (proto_send_header_v2_decode(&cmd->fields, &header, NULL) != 0) {
        net_channel_close(ch, MQ_EBADMSG, false);
        return;
    }
    add_record(ch, cmd, &header);
}

/* How many records from @from on fit into one answer, and their bytes. */
static uint64_t measure(const struct queue *q, uint64_t from, uint32_t max, uint32_t *bytes)
{
    uint64_t n = 0;

    *bytes = 0;
    while (from + n < q->visible && n < max && *bytes + q->places[(from + n) % PLACES_MAX].bytes <= PULL_BYTES_MAX) {
        *bytes += q->places[(from + n++) % PLACES_MAX].bytes;
    }
    return n;
}

static void put_records(struct net_channel *ch, const struct queue *q, uint64_t from, uint64_t n)
{
    for (uint64_t i = from; i < from + n; i++) {
        const struct place *place = &q->places[i % PLACES_MAX];
        const uint8_t *at = limit.log.map + place->file_at;

        if (place->bytes < VIEW_BYTES_MIN) {
            mq_buf_put(net_channel_out(ch), at, place->bytes);
            net_channel_out_done(ch);
        } else {
            net_conn_out_view(&ch->conn, at, place->bytes, &limit.map_ref);
        }
    }
}

static void pull_message(struct net_channel *ch, struct proto_command *cmd)
{
    struct proto_pull_response_header answer = proto_pull_response_header_defaults();
    struct proto_pull_header header;
    const struct queue *q;
    struct proto_writer w;
    uint64_t from, n = 0;
    uint32_t bytes = 0;

    if (proto_pull_header_decode(&cmd->fields, &header, NULL) != 0) {
        net_channel_close(ch, MQ_EBADMSG, false);
        return;
    }
    q = find_queue(header.topic, header.queue_id);
    from = header.queue_offset < 0 ? 0 : (uint64_t)header.queue_offset;
    if (q->count - q->min > PLACES_MAX) {
        from = from < q->count - PLACES_MAX ? q->count - PLACES_MAX : from;
    }
    if (from >= q->min) {
        n = measure(q, from, (uint32_t)header.max_msgs, &bytes);
    }
    answer.next_begin_offset = (int64_t)(from < q->min ? q->min : from + n);
    answer.min_offset = (int64_t)q->min;
    answer.max_offset = (int64_t)q->visible;
    begin_answer(ch, &w, cmd->opaque, cmd->encoding, n != 0 ? RESP_SUCCESS : RESP_PULL_OFFSET_MOVED);
    proto_pull_response_header_encode(&w, &answer);
    if (proto_end(&w, bytes) == 0) {
        net_channel_out_done(ch);
        put_records(ch, q, from, n);
    }
}

static void route(struct net_channel *ch, struct proto_command *cmd)
{
    struct proto_route table = {0};
    struct proto_broker_data *broker = proto_brokers_add(&table.brokers);
    struct proto_queue_data *queues = proto_queues_add(&table.queues);
    struct mq_buf body = {0};
    struct proto_writer w;

    MQ_ASSERT(broker != NULL && queues != NULL);
    broker->cluster = broker->name = MQ_STR("limit");
    proto_broker_add_addr(broker, 0, mq_str_of(limit.addr));
    *queues = (struct proto_queue_data){
        .broker_name = MQ_STR("limit"), .read_queues = QUEUES, .write_queues = QUEUES, .perm = 6};
    if (cmd->code == REQ_GET_ROUTEINFO_BY_TOPIC) {
        proto_route_encode(&body, &table);
    } else {
        proto_cluster_encode(&body, &table.brokers);
    }
    begin_answer(ch, &w, cmd->opaque, cmd->encoding, RESP_SUCCESS);
    end_answer(ch, &w, body.base, body.len);
    mq_buf_free(&body);
    proto_route_free(&table);
}

static void on_command(struct net_channel *ch, struct proto_command *cmd)
{
    struct proto_writer w;

    switch (cmd->code) {
    case REQ_SEND_MESSAGE_V2:
        send_message(ch, cmd);
        break;
    case REQ_PULL_MESSAGE:
        pull_message(ch, cmd);
        break;
    case REQ_GET_ROUTEINFO_BY_TOPIC:
    case REQ_GET_BROKER_CLUSTER_INFO:
        route(ch, cmd);
        break;
    default:
        begin_answer(ch, &w, cmd->opaque, cmd->encoding, RESP_REQUEST_CODE_NOT_SUPPORTED);
        end_answer(ch, &w, NULL, 0);
        break;
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    (void)handle;
    limit_log_close(&limit.log);
    exit(EXIT_SUCCESS);
}

static void watch(uv_signal_t *handle, int number)
{
    uv_signal_init(&limit.loop.uv, handle);
    uv_signal_start(handle, on_signal, number);
}

static void on_map_unused(struct net_ref *ref)
{
    ref->count = 1; /* the map stays as long as the process */
}

static int serve(const char *dir, int port, uint64_t file_bytes)
{
    static const struct net_server_ops ops = {.command = on_command};
    int sockets[LIMIT_FOLLOWERS];
    int rc = limit_log_fork(&limit.log, dir, file_bytes, sockets);

    rc = rc == 0 ? net_loop_init(&limit.loop) : rc;
    rc = rc == 0 ? limit_log_open(&limit.log, &limit.loop, sockets, on_committed, NULL) : rc;
    rc = rc == 0 ? net_server_open(&limit.server, &limit.loop, "127.0.0.1", port, &ops, &net_server_default_limits)
                 : rc;
    if (rc != 0) {
        fprintf(stderr, "bench_limit: %s\n", mq_strerror(rc));
        return EXIT_FAILURE;
    }
    limit.map_ref = (struct net_ref){.count = 1, .free = on_map_unused};
    limit.host = (struct proto_host){.ip = {127, 0, 0, 1}, .ip_bytes = 4, .port = (uint16_t)limit.server.port};
    snprintf(limit.addr, sizeof(limit.addr), "127.0.0.1:%d", limit.server.port);
    watch(&limit.on_term, SIGTERM);
    watch(&limit.on_int, SIGINT);
    printf("bench_limit ready listen=%s\n", limit.addr);
    fflush(stdout);
    return net_loop_run(&limit.loop) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    const char *dir = ".";
    int64_t mib = 512, port = 0;
    int c;

    while ((c = getopt(argc, argv, "d:p:m:")) != -1) {
        if (c == 'd') {
            dir = optarg;
        } else if ((c != 'p' || mq_str_to_i64(mq_str_of(optarg), &port) != 0 || port < 0 || port > 65535) &&
                   (c != 'm' || mq_str_to_i64(mq_str_of(optarg), &mib) != 0 || mib < 128)) {
            fputs("usage: bench_limit [-d DIR] [-p PORT] [-m MIB]   (MIB: of each log file, 128 or more)\n", stderr);
            return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    limit.pending = mq_calloc(PENDING_MAX, sizeof(*limit.pending));
    MQ_ASSERT(limit.pending != NULL);
    return serve(dir, (int)port, (uint64_t)mib << 20);
}
