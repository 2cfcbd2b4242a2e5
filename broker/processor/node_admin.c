/* What a node tells about itself: UPDATE_BROKER_CONFIG (25, refused), GET_BROKER_CONFIG (26), and our own
 * GROUP_STATUS (30001). Source: RocketMQ's AdminBrokerProcessor.getBrokerConfig.
 * GROUP_STATUS has no fields; its body is one JSON object, whose members broker/README.md lists. */
#include "broker/flow/pull_hold.h"
#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "broker/store/indexer.h"
#include "remoting/base/err.h"
#include "remoting/base/json.h"
#include "remoting/base/stats.h"
#include "remoting/protocol/body_admin.h"
#include "remoting/protocol/headers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- 25, 26 --- */

void refuse_config_update(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);

    (void)ctx;
    reply_error(&to, RESP_NO_PERMISSION,
                "configuration cannot be changed while the broker runs: edit its file and restart it");
}

static int add_kv(struct proto_kvs *kvs, struct mq_str key, struct mq_str value)
{
    struct proto_kv *kv = proto_kvs_add(kvs);

    if (kv == NULL) {
        return MQ_ENOMEM;
    }
    *kv = (struct proto_kv){key, value};
    return 0;
}

static int compare_kv(const void *a, const void *b)
{
    const struct mq_str *left = &((const struct proto_kv *)a)->key, *right = &((const struct proto_kv *)b)->key;
    uint32_t n = left->len < right->len ? left->len : right->len;
    int order = memcmp(left->at, right->at, n);

    return order != 0 ? order : (int)left->len - (int)right->len;
}

/* Names of the original's that tools look for, with what is true here. @broker_id, @cpus: text that outlives @kvs. */
static int add_stock_keys(const struct context *ctx, struct mq_str broker_id, struct mq_str cpus,
                          struct proto_kvs *kvs)
{
    const struct proto_kv stock[] = {
        {MQ_STR("brokerId"), broker_id},
        {MQ_STR("brokerRole"), context_writable(ctx) ? MQ_STR("SYNC_MASTER") : MQ_STR("SLAVE")},
        {MQ_STR("clientCallbackExecutorThreads"), cpus}, /* exportMetrics shows it as the number of processors */
        {MQ_STR("enableDLegerCommitLog"), MQ_STR("true")},
        {MQ_STR("filterServerNums"), MQ_STR("0")},
        {MQ_STR("slaveReadEnable"), MQ_STR("true")},
        {MQ_STR("useTLS"), MQ_STR("false")},
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof(stock) / sizeof(stock[0]); i++) {
        rc = add_kv(kvs, stock[i].key, stock[i].value);
    }
    return rc;
}

/* Sorted lines, in the bytes that Java's Properties.load reads. */
static int put_config(const struct context *ctx, struct mq_buf *body)
{
    char broker_id[MQ_I64_TEXT_MAX], cpus[MQ_I64_TEXT_MAX];
    size_t n_id = mq_i64_to_text(context_writable(ctx) ? 0 : ctx->config->self, broker_id);
    size_t n_cpus = mq_i64_to_text(sysconf(_SC_NPROCESSORS_ONLN), cpus);
    struct mq_buf own = {0};
    struct proto_kvs kvs = {0};
    struct mq_str rest, key, value;
    int rc = mq_conf_print(broker_config_keys, ctx->config, &own);

    rest = mq_buf_str(&own);
    while (rc == 0 && proto_config_text_next(&rest, &key, &value)) {
        rc = add_kv(&kvs, key, value);
    }
    if (rc == 0) {
        rc = add_stock_keys(ctx, (struct mq_str){broker_id, (uint32_t)n_id}, (struct mq_str){cpus, (uint32_t)n_cpus},
                            &kvs);
    }
    if (rc == 0) {
        qsort(kvs.items, kvs.count, sizeof(kvs.items[0]), compare_kv);
        rc = proto_config_text_encode(body, &kvs);
    }
    proto_kvs_free(&kvs);
    mq_buf_free(&own);
    return rc;
}

void get_broker_config(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_config_response_header header = {
        .version = MQ_STR("{\"counter\":0,\"stateVersion\":0,\"timestamp\":0}")}; /* it never changes while we run */
    struct proto_writer w;
    struct mq_buf body = {0};
    int rc = put_config(ctx, &body);

    if (rc != 0) {
        reply_failed(&to, rc);
    } else if (reply_begin(&to, &w, RESP_SUCCESS, (struct mq_str){0})) {
        proto_config_response_header_encode(&w, &header);
        reply_end(&to, &w, body.base, body.len);
    }
    mq_buf_free(&body);
}

/* --- 30001 --- */

static const char *role_text(enum rlog_role_kind kind)
{
    static const char *const texts[] = {"follower", "candidate", "leading", "leader"};

    return texts[kind];
}

static const char *member_role_text(enum rlog_member_role role)
{
    static const char *const texts[] = {"voter", "learner", "joining", "none"};

    return texts[role];
}

/* How this node stands to its group. */
static int put_membership(struct mq_buf *body, const struct rlog_status *status)
{
    int rc =
        mq_buf_printf(body, ",\"membership\":\"%s\",\"outside\":%s,\"changeIndex\":%" PRIu64 ",\"change\":",
                      member_role_text(status->own_role), status->outside ? "true" : "false", status->change_index);

    return rc == 0 ? mq_json_put_string(body, mq_str_of(status->change_running != NULL ? status->change_running : ""))
                   : rc;
}

static int put_peers(struct mq_buf *body, const struct rlog_status *status)
{
    int rc = mq_buf_put_str(body, MQ_STR(",\"peers\":["));

    for (uint32_t i = 0; rc == 0 && i < status->n_peers; i++) {
        const struct rlog_peer_status *peer = &status->peers[i];

        rc = mq_buf_printf(body, "%s{\"member\":\"n%u\",\"address\":", i > 0 ? "," : "", peer->id - 1);
        rc = rc == 0 ? mq_json_put_string(body, mq_str_of(peer->address)) : rc;
        rc = rc == 0
                 ? mq_buf_printf(body, ",\"connected\":%s,\"matchIndex\":%" PRIu64 ",\"membership\":\"%s\"}",
                                 peer->connected ? "true" : "false", peer->match_index, member_role_text(peer->role))
                 : rc;
    }
    return rc == 0 ? mq_buf_put_str(body, MQ_STR("]}")) : rc;
}

static int put_catchup(struct mq_buf *body, const struct rlog_catchup_status *catchup)
{
    static const char *const phases[] = {"none", "snapshot", "backfill"};

    return mq_buf_printf(
        body,
        ",\"catchup\":\"%s\",\"catchupPassive\":%s,\"catchupFrom\":\"n%d\",\"catchupBytes\":%" PRIu64
        ",\"catchupBytesLeft\":%" PRIu64 ",\"catchupBytesPerSecond\":%" PRIu64 ",\"catchupLimit\":%" PRIu64
        ",\"catchupMsLeft\":%" PRIu64 ",\"catchupSnapshots\":%" PRIu64 ",\"catchupCause\":\"%s\"",
        phases[catchup->phase], catchup->passive ? "true" : "false", (int)catchup->from - 1, catchup->bytes_done,
        catchup->bytes_left, catchup->bytes_per_s, catchup->limit_bytes_per_s, catchup->ms_left,
        catchup->snapshots_installed, catchup->cause != NULL ? catchup->cause : "nothing");
}

static int put_scrub(struct mq_buf *body, const struct rlog_scrub_status *scrub)
{
    return mq_buf_printf(body,
                         ",\"scrubBytesPerSecond\":%" PRIu64 ",\"scrubPos\":%" PRIu64 ",\"scrubPassStarted\":%" PRId64
                         ",\"scrubPasses\":%" PRIu64 ",\"scrubBytes\":%" PRIu64 ",\"scrubBad\":%" PRIu64
                         ",\"scrubRepaired\":%" PRIu64 ",\"scrubOpen\":%" PRIu32,
                         scrub->bytes_per_s, scrub->pos, scrub->pass_started_ms, scrub->passes, scrub->bytes,
                         scrub->bad, scrub->repaired, scrub->open);
}

static int put_refusals(struct mq_buf *body, const struct rlog_refusals *r)
{
    return mq_buf_printf(body,
                         ",\"refused\":{\"version\":%" PRIu64 ",\"cluster\":%" PRIu64 ",\"group\":%" PRIu64
                         ",\"member\":%" PRIu64 ",\"segmentSize\":%" PRIu64 ",\"duplicate\":%" PRIu64
                         ",\"copied\":%" PRIu64 ",\"corrupt\":%" PRIu64 ",\"malformed\":%" PRIu64 "}",
                         r->version, r->cluster, r->group, r->member, r->segment_bytes, r->duplicate, r->copied,
                         r->corrupt, r->malformed);
}

static int put_status(struct mq_buf *body, const struct context *ctx, const struct rlog_status *status)
{
    uint64_t anon = 0, resident = 0;
    int rc = mq_buf_put_str(body, MQ_STR("{\"brokerName\":"));

    (void)mq_process_memory(getpid(), &anon, &resident);
    rc = rc == 0 ? mq_json_put_string(body, mq_str_of(ctx->config->broker_name)) : rc;
    rc = rc == 0 ? mq_buf_printf(body,
                                 ",\"member\":\"n%u\",\"role\":\"%s\",\"term\":%" PRIu64 ",\"leader\":\"n%d\""
                                 ",\"lastIndex\":%" PRIu64 ",\"durableIndex\":%" PRIu64 ",\"commitIndex\":%" PRIu64
                                 ",\"appliedIndex\":%" PRIu64,
                                 ctx->config->self - 1, role_text(status->role.kind), status->role.term,
                                 (int)status->role.leader - 1, status->last_index, status->durable_index,
                                 status->commit_index, status->applied_index)
                 : rc;
    rc = rc == 0 ? mq_buf_printf(body,
                                 ",\"startPos\":%" PRIu64 ",\"endPos\":%" PRIu64 ",\"appliedPos\":%" PRIu64
                                 ",\"stateHash\":\"%016" PRIx64 "\",\"elections\":%" PRIu64 ",\"openMs\":%" PRIu64
                                 ",\"replayedEntries\":%" PRIu64,
                                 status->start_pos, status->end_pos, status->applied_pos, state_hash(ctx->state),
                                 status->elections, status->opened_ms, status->replayed_entries)
                 : rc;
    rc = rc == 0 ? mq_buf_printf(body,
                                 ",\"syncs\":%" PRIu64 ",\"syncNs\":%" PRIu64 ",\"entriesWritten\":%" PRIu64
                                 ",\"bytesWritten\":%" PRIu64 ",\"messages\":%" PRIu64 ",\"parkedPulls\":%u"
                                 ",\"residentBytes\":%" PRIu64 ",\"anonBytes\":%" PRIu64 ",\"mappedBytes\":%" PRIu64,
                                 status->syncs, status->sync_ns_total, status->entries_written, status->bytes_written,
                                 ctx->store->messages, pull_hold_count(ctx->pull_hold), resident, anon,
                                 status->mapped_bytes)
                 : rc;
    rc = rc == 0
             ? mq_buf_printf(body, ",\"indexedPos\":%" PRIu64, ctx->indexer != NULL ? indexer_pos(ctx->indexer) : 0)
             : rc;
    rc = rc == 0 ? put_scrub(body, &status->scrub) : rc;
    rc = rc == 0 ? put_membership(body, status) : rc;
    rc = rc == 0 ? put_catchup(body, &status->catchup) : rc;
    rc = rc == 0 ? put_refusals(body, &status->refusals) : rc;
    return rc == 0 ? put_peers(body, status) : rc;
}

void group_status(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct rlog_status status;
    struct mq_buf body = {0};
    int rc;

    rlog_status_get(ctx->log, &status);
    rc = put_status(&body, ctx, &status);
    reply_built(&to, rc, &body);
}
