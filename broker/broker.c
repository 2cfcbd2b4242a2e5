/* The broker put together. Opening, downwards from what others stand on:
 *
 *   configuration -> log (recovers) -> store -> state -> snapshot and replay into both -> sequencer -> sessions ->
 * pull hold
 *   -> server -> log takes part -> registrar
 *
 * Closing goes the other way, one asynchronous step after the other; each step's callback starts the next:
 *
 *   unregister -> no more proposals (14) -> those under way are answered, DRAIN_MS at most -> connections -> reads on
 * the pool
 *   -> log -> the rest
 *
 * An open that fails half way closes what it has opened through the same steps and runs the loop until they are done.
 */
#include "broker/include/broker/broker.h"

#include "broker/dispatch.h"
#include "broker/flow/flows.h"
#include "broker/flow/pop_hold.h"
#include "broker/flow/quota.h"
#include "broker/inside.h"
#include "broker/processor/processors.h"
#include "broker/processor/pull.h"
#include "broker/processor/runtime.h"
#include "broker/processor/told.h"
#include "broker/registrar.h"
#include "broker/role.h"
#include "broker/session/consumer_table.h"
#include "broker/session/producer_table.h"
#include "broker/store/indexer.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"
#include "remoting/net/server.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/headers.h"

#include <inttypes.h>
#include <stdio.h>

#define SECOND_MS 1000
#define EXPIRE_EVERY_S 10
#define HOUR_MS (60 * 60 * 1000)
#define DRAIN_MS 1000
#define HAND_OVER_MS 500u /* for another member to take over before this one stops */
#define DRAIN_LOOK_MS 5
#define CLIENT_CALLS_MAX 16384u /* asked of all clients, and of one, without an answer yet */
#define CLIENT_CALLS_EACH_MAX 256u

struct broker {
    struct net_loop *loop;
    struct broker_config config;
    struct context ctx;
    struct rlog_fsm fsm;
    struct store store;
    struct state state;
    struct flows flows;
    struct net_server server;
    struct net_calls calls;
    struct registrar *registrar;
    struct net_turn turn;
    uv_timer_t second; /* while closing it looks whether all is answered */
    uint32_t seconds;
    uint64_t drain_until_ms; /* monotonic */
    bool config_open, store_open, state_open, flows_open, server_open, timer_open, calls_open;
    bool closing;
    bool handing_over; /* leadership, before the rest closes */
    struct rlog_transfer transfer;
    char ready[512];
    void (*closed)(void *data);
    void *closed_data;
};

/* --- the log's news --- */

static void on_apply(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    struct broker *broker = fsm->data;

    state_apply(&broker->state, entry);
}

static void on_role(struct rlog_fsm *fsm, const struct rlog_role *role)
{
    struct broker *broker = fsm->data;

    if (broker->closing) {
        broker->ctx.role = *role; /* whatever it is, nothing is proposed any more */
        return;
    }
    if (role_take(&broker->ctx, role) && broker->registrar != NULL) {
        registrar_now(broker->registrar);
    }
}

static void on_room(struct rlog_fsm *fsm)
{
    struct broker *broker = fsm->data;

    if (broker->ctx.sequencer != NULL) {
        sequencer_room(broker->ctx.sequencer);
    }
}

/* --- snapshots: the state's part, and the consume queues' --- */

static struct broker *broker_of(struct rlog_fsm *fsm)
{
    return fsm->data;
}

static uint32_t on_sections(struct rlog_fsm *fsm, struct rlog_section *out)
{
    return state_sections(&broker_of(fsm)->state, out);
}

static void on_snapshot_begin(struct rlog_fsm *fsm, struct rlog_sink *sink)
{
    int rc = store_checkpoint_begin(&broker_of(fsm)->store);

    if (rc != 0) {
        rlog_sink_fail(sink, rc);
    }
    state_snapshot_begin(&broker_of(fsm)->state, sink);
}

static int on_snapshot_more(struct rlog_fsm *fsm)
{
    return state_snapshot_more(&broker_of(fsm)->state);
}

static int checkpoint_work(struct rlog_fsm *fsm, uint64_t index, uint32_t crc)
{
    return store_checkpoint_work(&broker_of(fsm)->store, index, crc);
}

static void on_snapshot_end(struct rlog_fsm *fsm, int status)
{
    state_snapshot_end(&broker_of(fsm)->state);
    store_checkpoint_end(&broker_of(fsm)->store, status);
}

static int on_restore_begin(struct rlog_fsm *fsm, const struct rlog_entry *entry, uint32_t crc,
                            const struct rlog_section *sections, uint32_t n, struct mq_buf *problem)
{
    return state_restore_begin(&broker_of(fsm)->state, entry, crc, sections, n, problem);
}

static int on_restore_rows(struct rlog_fsm *fsm, uint16_t section, const uint8_t *rows, size_t n,
                           struct mq_buf *problem)
{
    return state_restore_rows(&broker_of(fsm)->state, section, rows, n, problem);
}

static int on_restore_end(struct rlog_fsm *fsm, struct mq_buf *problem)
{
    int rc = state_restore_end(&broker_of(fsm)->state, problem);

    if (rc == 0 && broker_of(fsm)->flows_open) {
        flows_log_start_moved(&broker_of(fsm)->flows, broker_of(fsm)->state.log_start_pos);
    }
    return rc;
}

static void on_apply_before(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    state_apply_before(&broker_of(fsm)->state, entry);
}

static uint64_t on_held_from(struct rlog_fsm *fsm)
{
    return broker_of(fsm)->store.held_index;
}

/* --- news of the state --- */

static void on_topic_changed(void *data, struct topic *topic)
{
    struct broker *broker = data;

    (void)topic;
    if (broker->registrar != NULL && context_writable(&broker->ctx)) {
        registrar_soon(broker->registrar);
    }
}

static void on_topic_deleted(void *data, struct mq_str name)
{
    struct broker *broker = data;
    struct topic_queues *queues = queue_table_find(&broker->store.queues, name);

    if (queues != NULL && broker->ctx.pop_hold != NULL) {
        pop_hold_gone(broker->ctx.pop_hold, queues);
    }
    on_topic_changed(broker, NULL);
}

/* Who waits for messages of the queue is to ask again, and hears of it. */
static void on_offset_reset(void *data, struct mq_str topic, int32_t queue_id)
{
    struct broker *broker = data;
    struct topic_queues *queues = queue_table_find(&broker->store.queues, topic);
    struct queue *queue = queues != NULL ? topic_queues_find(queues, queue_id) : NULL;

    if (queue != NULL && broker->ctx.pull_hold != NULL) {
        pull_hold_wake(broker->ctx.pull_hold, queue);
    }
}

/* A queue that is popped in order has something for whoever waits. */
static void on_order_freed(void *data, struct mq_str group, struct mq_str topic, int32_t queue_id)
{
    struct broker *broker = data;
    struct topic_queues *queues = queue_table_find(&broker->store.queues, topic);

    if (queues != NULL && broker->ctx.pop_hold != NULL) {
        pop_hold_freed(broker->ctx.pop_hold, queues, group, queue_id);
    }
}

static void on_log_start_moved(void *data, uint64_t pos)
{
    flows_log_start_moved(&((struct broker *)data)->flows, pos);
}

/* --- clients --- */

static void on_command(struct net_channel *ch, struct proto_command *cmd)
{
    struct broker *broker = ((struct net_server *)ch->data)->data;

    dispatch(&broker->ctx, ch, cmd);
}

static void on_channel_closed(struct net_channel *ch, int reason)
{
    struct broker *broker = ((struct net_server *)ch->data)->data;

    (void)reason;
    net_calls_channel_closed(&broker->calls, ch);
    pull_hold_channel_closed(broker->ctx.pull_hold, ch);
    quota_channel_closed(broker->ctx.quota, ch);
    consumer_table_channel_closed(broker->ctx.consumers, ch);
    producer_table_channel_closed(broker->ctx.producers, ch);
    session_end(ch);
}

static const struct net_server_ops server_ops = {.command = on_command, .closed = on_channel_closed};

/* NOTIFY_CONSUMER_IDS_CHANGED (40) to one member: it rebalances at once. */
static void notify_member(void *data, struct net_channel *member, struct mq_str group)
{
    struct proto_group_header header = {.consumer_group = group};
    struct proto_head head = {.code = REQ_NOTIFY_CONSUMER_IDS_CHANGED, .flag = PROTO_FLAG_ONEWAY};
    struct proto_writer w;

    (void)data;
    proto_begin(&w, net_channel_out(member), &head);
    proto_group_header_encode(&w, &header);
    if (proto_end(&w, 0) == 0) {
        net_channel_out_done(member);
    }
}

/* The loop turns at least every 100 ms (pull_hold's timer), so that a group which may not be told yet is not
 * forgotten. */
static void on_turn(struct net_turn *turn)
{
    struct broker *broker = turn->data;

    consumer_table_tell(broker->ctx.consumers, broker->loop->now_ms);
    flows_turn(&broker->flows);
    if (broker->ctx.indexer != NULL) {
        indexer_turn(broker->ctx.indexer, broker->state.log_start_pos);
    }
    pop_hold_turn(broker->ctx.pop_hold, &broker->flows.env);
    told_turn(broker->ctx.told, broker->loop->now_ms);
}

static void on_second(uv_timer_t *timer)
{
    struct broker *broker = timer->data;
    uint64_t now_ms = mq_clock_mono_ms();

    runtime_sample(&broker->ctx);
    if (context_writable(&broker->ctx)) {
        lock_expire(&broker->ctx, now_ms);
    }
    if (++broker->seconds % EXPIRE_EVERY_S == 0) {
        uint64_t expired_ms = (uint64_t)broker->config.channel_expired_ms;

        consumer_table_expire(broker->ctx.consumers, now_ms, expired_ms);
        producer_table_expire(broker->ctx.producers, now_ms, expired_ms);
        flows_look_at_retention(&broker->flows);
    }
}

static int on_ask_route(void *data, struct mq_str topic, struct net_call *call, uint32_t timeout_ms, net_call_cb cb)
{
    struct broker *broker = data;

    return broker->registrar != NULL ? registrar_ask_route(broker->registrar, topic, call, timeout_ms, cb)
                                     : MQ_ECLOSED;
}

/* --- opening --- */

/* A migrating broker.conf may name the directory of a RocketMQ broker, which has these two. Ours would be empty
 * beside it, and the consume queues that are made again at each start have the same place. */
static int refuse_foreign_store(const char *dir, struct mq_buf *problem)
{
    static const char *const names[] = {"checkpoint", "commitlog"};
    bool found = false;

    for (size_t i = 0; i < ARRAY_SIZE(names) && !found; i++) {
        char *path = mq_path_join(dir, names[i]);

        if (path == NULL) {
            return MQ_ENOMEM;
        }
        found = mq_file_exists(path);
        if (found) {
            (void)mq_buf_printf(problem,
                                "storePathRootDir %s holds the store of a RocketMQ broker (%s): it is not "
                                "read here and would be damaged, name another directory\n",
                                dir, names[i]);
        }
        mq_free(path);
    }
    return found ? MQ_EVERSION : 0;
}

static int open_dir(const char *dir, struct mq_buf *problem)
{
    int rc = mq_dir_make(dir);

    if (rc != 0) {
        (void)mq_buf_printf(problem, "storePathRootDir %s: %s\n", dir, mq_strerror(rc));
        return rc;
    }
    return refuse_foreign_store(dir, problem);
}

static int open_store(struct broker *broker, struct mq_buf *problem)
{
    const char *dir = broker->config.store_dir;
    /* What an earlier process left of the consume queues is of use together with a snapshot only. */
    int rc =
        rlog_has_snapshot(broker->ctx.log) ? store_init_kept(&broker->store, dir) : store_init(&broker->store, dir);

    if (rc != 0) {
        (void)mq_buf_printf(problem, "storePathRootDir %s: %s\n", broker->config.store_dir, mq_strerror(rc));
        return rc;
    }
    broker->store_open = true;
    broker->store.log = broker->ctx.log;
    broker->store.queues.file_units = (uint32_t)broker->config.queue_file_bytes / CONSUME_QUEUE_UNIT_BYTES;
    rc = state_init(&broker->state, &broker->store);
    broker->state_open = rc == 0;
    return rc;
}

static int open_log(struct broker *broker, struct mq_buf *problem)
{
    const struct broker_config *config = &broker->config;
    struct rlog_options options = {
        .cluster = config->cluster,
        .group = config->group,
        .self = config->self,
        .members = config->members,
        .n_members = config->n_members,
        .segment_bytes = (uint64_t)config->segment_bytes,
        .election_ms = (uint32_t)config->election_ms,
        .heartbeat_ms = (uint32_t)config->heartbeat_ms,
        .backfill_bytes_per_s = (uint64_t)config->backfill_bytes_per_s,
        .scrub_bytes_per_s = config->scrub_bytes_per_s < 0 ? RLOG_SCRUB_AUTO : (uint64_t)config->scrub_bytes_per_s,
        .inflight_entries_max = 256,
        .inflight_bytes_max = (uint64_t)config->inflight_bytes_max,
        .unsynced_bytes_max = (uint64_t)config->unsynced_bytes_max,
        .far_bytes = (uint64_t)config->far_bytes,
        .snapshot_bytes = (uint64_t)config->snapshot_bytes,
        .snapshot_ms = (uint64_t)config->snapshot_s * 1000,
        .flush_ms = config->flush != 0 ? (uint32_t)config->flush_ms : 0,
    };
    char *dir = mq_path_join(config->store_dir, "raftlog");
    int rc;

    if (dir == NULL) {
        return MQ_ENOMEM;
    }
    options.dir = dir;
    broker->fsm = (struct rlog_fsm){.data = broker,
                                    .apply = on_apply,
                                    .role = on_role,
                                    .room = on_room,
                                    .sections = on_sections,
                                    .snapshot_begin = on_snapshot_begin,
                                    .snapshot_more = on_snapshot_more,
                                    .checkpoint_work = checkpoint_work,
                                    .snapshot_end = on_snapshot_end,
                                    .restore_begin = on_restore_begin,
                                    .restore_rows = on_restore_rows,
                                    .restore_end = on_restore_end,
                                    .apply_before = on_apply_before,
                                    .held_from = on_held_from};
    rc = rlog_open(broker->loop, &options, &broker->fsm, &broker->ctx.log, problem);
    mq_free(dir);
    return rc;
}

static int init_flows(struct broker *broker)
{
    const struct broker_config *config = &broker->config;
    const struct flow_rules rules = {
        .retention = {.reserved_ms = config->reserved_hours * HOUR_MS,
                      .bytes_max = (uint64_t)config->log_bytes_max,
                      .hours = config->delete_hours,
                      .max_percent = (int)config->disk_max_percent,
                      .forced_percent = (int)config->disk_forced_percent,
                      .forced = config->clean_forcibly,
                      .segments_max = (uint32_t)config->delete_batch},
        .dir = config->store_dir,
        .half = {.timeout_ms = config->transaction_timeout_ms,
                 .interval_ms = config->transaction_interval_ms,
                 .times_max = (uint32_t)config->transaction_checks_max},
    };
    int rc = flows_init(&broker->flows, broker->loop, &broker->state, broker->ctx.sequencer, &rules);

    broker->flows_open = rc == 0;
    broker->ctx.flows = rc == 0 ? &broker->flows : NULL;
    broker->flows.half.ask = transaction_ask;
    broker->flows.half.ask_data = &broker->ctx;
    broker->flows.order_wake.freed = on_order_freed;
    broker->flows.order_wake.freed_data = broker;
    return rc;
}

static struct delayed_rules delayed_rules(const struct broker_config *config)
{
    return (struct delayed_rules){.level_ms = config->delay_ms,
                                  .levels = config->n_delays,
                                  .timers = config->timers,
                                  .timer_max_ms = config->timer_max_s * SECOND_MS};
}

static int open_quota(struct broker *broker)
{
    const struct broker_config *config = &broker->config;
    const struct quota_rules rules = {
        .group = {config->group_messages_per_s, config->group_bytes_per_s},
        .connection = {config->connection_messages_per_s, config->connection_bytes_per_s},
    };

    return quota_new(&rules, &broker->ctx.quota);
}

static int open_flows(struct broker *broker)
{
    struct context *ctx = &broker->ctx;
    int rc = sequencer_new(broker->loop, &broker->store, &ctx->sequencer);

    ctx->delayed = delayed_rules(&broker->config);
    if (rc == 0) {
        sequencer_set_waiting_max(ctx->sequencer, (uint64_t)broker->config.waiting_bytes_max);
    }
    if (rc == 0) {
        rc = producer_table_new(&ctx->producers);
    }
    if (rc == 0) {
        rc = consumer_table_new(notify_member, broker, &ctx->consumers);
    }
    if (rc == 0) {
        rc = open_quota(broker);
    }
    if (rc == 0) {
        rc = told_new(&ctx->told);
    }
    if (rc == 0) {
        rc = pull_hold_new(broker->loop, &broker->store, pull_wake, ctx, &ctx->pull_hold);
    }
    if (rc == 0) {
        rc = pop_hold_new(&broker->store, &ctx->pop_hold);
    }
    if (rc == 0) {
        rc = init_flows(broker);
    }
    if (rc == 0) {
        cold_reads_init(&ctx->cold_reads, &broker->store);
        broker->turn.data = broker;
        net_turn_add(broker->loop, &broker->turn, NET_PHASE_WORK, on_turn);
        uv_timer_init(&broker->loop->uv, &broker->second);
        broker->second.data = broker;
        uv_timer_start(&broker->second, on_second, SECOND_MS, SECOND_MS);
        broker->timer_open = true;
    }
    return rc;
}

static int open_indexer(struct broker *broker)
{
    const struct broker_config *config = &broker->config;
    char *dir;
    int rc;

    if (!config->message_index) {
        return 0; /* what is there stays, and is read on when it is switched on again */
    }
    dir = mq_path_join(config->store_dir, "index");
    rc = dir != NULL
             ? indexer_new(broker->loop, &broker->store, dir, (uint64_t)config->segment_bytes, &broker->ctx.indexer)
             : MQ_ENOMEM;
    mq_free(dir);
    return rc;
}

static int open_server(struct broker *broker, struct mq_buf *problem)
{
    const struct broker_config *config = &broker->config;
    struct net_conn_limits limits = net_server_default_limits;
    int rc;

    limits.idle_ms = (uint32_t)config->idle_s * 1000;
    net_calls_init(&broker->calls, broker->loop, CLIENT_CALLS_MAX, CLIENT_CALLS_EACH_MAX);
    broker->calls_open = true;
    broker->ctx.calls = &broker->calls;
    broker->server.data = broker;
    rc = net_server_open(&broker->server, broker->loop, config->bind_address, (int)config->listen_port, &server_ops,
                         &limits);
    if (rc != 0) {
        (void)mq_buf_printf(problem, "listenPort %" PRId64 " on %s: %s\n", config->listen_port, config->bind_address,
                            mq_strerror(rc));
        return rc;
    }
    broker->server_open = true;
    broker->ctx.store_host = (struct proto_host){.ip_bytes = 4, .port = (uint16_t)broker->server.port};
    memcpy(broker->ctx.store_host.ip, config->ip_bytes, sizeof(config->ip_bytes));
    proto_uniq_key_init(&broker->ctx.uniq_key, broker->ctx.store_host.ip, mq_clock_wall_ms());
    return 0;
}

static int open_all(struct broker *broker, const char *conf_path, const char *const *overrides,
                    struct mq_buf *problem, struct mq_buf *warnings)
{
    struct context *ctx = &broker->ctx;
    int rc;

    broker->config_open = true;
    rc = broker_config_load(&broker->config, conf_path, overrides, problem, warnings);
    if (rc == 0) {
        rc = open_dir(broker->config.store_dir, problem);
    }
    if (rc == 0) {
        rc = open_log(broker, problem); /* before anything in the directory is touched: it may be another process's */
    }
    if (rc == 0) {
        rc = open_store(broker, problem);
    }
    if (rc == 0) {
        rc = rlog_replay(ctx->log, problem);
    }
    if (rc == 0) {
        rc = open_flows(broker);
    }
    if (rc == 0) {
        rc = open_indexer(broker);
    }
    if (rc == 0) {
        rc = open_server(broker, problem);
    }
    if (rc == 0) {
        broker->state.news = (struct state_news){
            .data = broker,
            .topic_changed = on_topic_changed,
            .log_start_moved = on_log_start_moved,
            .topic_deleted = on_topic_deleted,
            .offset_reset = on_offset_reset,
            .order_freed = on_order_freed,
        };
        rc = rlog_start(ctx->log, problem);
    }
    if (rc == 0) {
        flows_log_start_moved(&broker->flows, broker->state.log_start_pos);
    }
    if (rc == 0) {
        rc = registrar_new(ctx, broker->server.port, &broker->registrar, problem);
    }
    if (rc == 0) {
        snprintf(broker->ready, sizeof(broker->ready), "broker=%s id=%s listen=%s:%d dir=%s",
                 broker->config.broker_name, broker->config.self_id, broker->config.ip, broker->server.port,
                 broker->config.store_dir);
    }
    return rc;
}

static void on_failed_open_closed(void *data)
{
    *(bool *)data = true;
}

int broker_open(struct net_loop *loop, const char *conf_path, const char *const *overrides, struct broker **out,
                struct mq_buf *problem, struct mq_buf *warnings)
{
    struct broker *broker = mq_calloc(1, sizeof(*broker));
    bool gone = false;
    int rc;

    if (broker == NULL) {
        return MQ_ENOMEM;
    }
    broker->loop = loop;
    broker->ctx = (struct context){
        .loop = loop,
        .config = &broker->config,
        .store = &broker->store,
        .state = &broker->state,
        .boot_ms = mq_clock_wall_ms(),
        .ask_route = {broker, on_ask_route},
    };
    rc = open_all(broker, conf_path, overrides, problem, warnings);
    if (rc == 0) {
        *out = broker;
        return 0;
    }
    if (problem->len == 0) {
        (void)mq_buf_printf(problem, "the broker cannot start: %s", mq_strerror(rc));
    }
    if (problem->len != 0 && problem->base[problem->len - 1] != '\n') {
        (void)mq_buf_printf(problem, "\n"); /* the log's lines come without */
    }
    broker_close(broker, on_failed_open_closed, &gone);
    while (!gone) {
        uv_run(&loop->uv, UV_RUN_ONCE);
    }
    return rc;
}

const char *broker_ready_text(const struct broker *broker)
{
    return broker->ready;
}

struct context *broker_context(struct broker *broker)
{
    return &broker->ctx;
}

struct retention *broker_retention(struct broker *broker)
{
    return &broker->flows.retention;
}

void broker_register_now(struct broker *broker)
{
    registrar_now(broker->registrar);
}

int broker_port(const struct broker *broker)
{
    return broker->server.port;
}

bool broker_is_writable(const struct broker *broker)
{
    return !broker->closing && context_writable(&broker->ctx);
}

/* --- closing --- */

static void close_rest(void *data)
{
    struct broker *broker = data;
    void (*closed)(void *) = broker->closed;
    void *closed_data = broker->closed_data;

    /* The log's last snapshot may have given the store something to do. */
    if (broker->store_open && !store_drain(&broker->store, close_rest, broker)) {
        return;
    }
    if (broker->ctx.sequencer != NULL) {
        sequencer_free(broker->ctx.sequencer);
    }
    if (broker->ctx.consumers != NULL) {
        consumer_table_free(broker->ctx.consumers);
    }
    quota_free(broker->ctx.quota);
    if (broker->ctx.told != NULL) {
        told_free(broker->ctx.told);
    }
    if (broker->ctx.producers != NULL) {
        producer_table_free(broker->ctx.producers);
    }
    if (broker->state_open) {
        state_fini(&broker->state);
    }
    if (broker->store_open) {
        store_fini(&broker->store);
    }
    if (broker->config_open) {
        broker_config_free(&broker->config);
    }
    mq_free(broker);
    closed(closed_data);
}

static void close_hold(void *data)
{
    struct broker *broker = data;

    if (broker->ctx.pull_hold != NULL) {
        pull_hold_free(broker->ctx.pull_hold, close_rest, broker);
    } else {
        close_rest(broker);
    }
}

static void close_log(void *data)
{
    struct broker *broker = data;

    if (broker->ctx.log != NULL) {
        rlog_close(broker->ctx.log, close_hold, broker);
    } else {
        close_hold(broker);
    }
}

/* Reads on the pool hold parts of the log. */
static void close_reads(struct broker *broker)
{
    if (!broker->store_open || store_drain(&broker->store, close_log, broker)) {
        close_log(broker);
    }
}

static void on_indexer_closed(void *data)
{
    struct broker *broker = data;

    broker->ctx.indexer = NULL;
    close_reads(broker);
}

/* It holds a part of the log, too. */
static void close_indexer(struct broker *broker)
{
    if (broker->ctx.indexer != NULL) {
        indexer_close(broker->ctx.indexer, on_indexer_closed, broker);
    } else {
        close_reads(broker);
    }
}

static void on_calls_closed(struct net_calls *calls)
{
    close_indexer(container_of(calls, struct broker, calls));
}

static void close_calls(struct broker *broker)
{
    if (broker->calls_open) {
        net_calls_close(&broker->calls, on_calls_closed);
    } else {
        close_indexer(broker);
    }
}

static void on_server_closed(struct net_server *server)
{
    close_calls(server->data);
}

static void close_server(struct broker *broker)
{
    if (broker->server_open) {
        net_server_close(&broker->server, true, on_server_closed);
    } else {
        close_calls(broker);
    }
}

static void on_flows_closed(void *data)
{
    close_server(data);
}

static void close_flows(struct broker *broker)
{
    if (broker->flows_open) {
        flows_close(&broker->flows, on_flows_closed, broker);
    } else {
        close_server(broker);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct broker *broker = handle->data;

    net_turn_remove(&broker->turn);
    pop_hold_free(broker->ctx.pop_hold);
    broker->ctx.pop_hold = NULL;
    close_flows(broker);
}

/* Answers that this turn produced leave with the orderly close of their connections. */
static void on_drain(uv_timer_t *timer)
{
    struct broker *broker = timer->data;
    struct rlog_status status;

    rlog_status_get(broker->ctx.log, &status);
    if ((status.inflight_entries == 0 && !broker->handing_over) || mq_clock_mono_ms() >= broker->drain_until_ms) {
        uv_close((uv_handle_t *)timer, on_timer_closed);
    }
}

static void on_handed_over(struct rlog_transfer *transfer, int status)
{
    struct broker *broker = transfer->data;

    (void)status; /* who takes over, or that nobody does, is in the log's lines */
    broker->handing_over = false;
}

static void on_registrar_closed(void *data)
{
    struct broker *broker = data;

    if (!broker->timer_open) {
        close_flows(broker);
        return;
    }
    flows_rest(&broker->flows);
    sequencer_set_writable(broker->ctx.sequencer, false);
    broker->transfer.data = broker;
    broker->handing_over = rlog_transfer(broker->ctx.log, 0, HAND_OVER_MS, &broker->transfer, on_handed_over) == 0;
    broker->drain_until_ms = mq_clock_mono_ms() + DRAIN_MS;
    uv_timer_start(&broker->second, on_drain, 0, DRAIN_LOOK_MS);
}

void broker_close(struct broker *broker, void (*closed)(void *data), void *data)
{
    struct registrar *registrar = broker->registrar;

    MQ_ASSERT(!broker->closing);
    broker->closing = true;
    broker->closed = closed;
    broker->closed_data = data;
    broker->registrar = NULL;
    if (broker->ctx.told != NULL) {
        told_end(broker->ctx.told);
    }
    if (registrar != NULL) {
        registrar_free(registrar, on_registrar_closed, broker);
    } else {
        on_registrar_closed(broker);
    }
}
