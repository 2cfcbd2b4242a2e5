/* GET_BROKER_RUNTIME_INFO (28): what this process has done, as the table of texts that tools read. Its counters begin
 * at 0 with the process. Source: RocketMQ's AdminBrokerProcessor.prepareRuntimeInfo. */
#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/protocol/body_admin.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#define VERSION_TEXT "V5_3_3" /* the name of PROTO_VERSION */

/* --- sampling --- */

void runtime_sample(struct context *ctx)
{
    struct runtime *runtime = &ctx->runtime;
    struct runtime_sample now = {ctx->stats.puts, ctx->stats.gets, ctx->stats.get_found, ctx->stats.get_missed};
    time_t wall = time(NULL);
    struct tm local;

    runtime->samples[runtime->next] = now;
    runtime->next = (runtime->next + 1) % RUNTIME_SAMPLES;
    runtime->count += runtime->count < RUNTIME_SAMPLES;
    if (localtime_r(&wall, &local) == NULL) {
        return;
    }
    if (runtime->count > 1 && local.tm_yday != runtime->day) {
        runtime->yesterday_morning = runtime->this_morning;
        runtime->this_morning = now;
    }
    runtime->day = local.tm_yday;
}

/* The sample of @seconds ago, or the oldest there is; @span gets how long ago that really was. */
static struct runtime_sample sample_ago(const struct runtime *runtime, uint32_t seconds, uint32_t *span)
{
    *span = runtime->count > seconds ? seconds : runtime->count - 1;
    return runtime->samples[(runtime->next + RUNTIME_SAMPLES - 1 - *span) % RUNTIME_SAMPLES];
}

/* --- a list of keys and values with their text --- */

struct table {
    struct proto_kvs kvs;
    struct mq_buf text; /* values; offsets until the end, since it may move */
    int rc;
};

static void put(struct table *table, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void put(struct table *table, const char *key, const char *fmt, ...)
{
    char value[512];
    struct proto_kv *kv;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(value, sizeof(value), fmt, args);
    va_end(args);
    n = n < 0 ? 0 : n >= (int)sizeof(value) ? (int)sizeof(value) - 1 : n;
    kv = table->rc == 0 ? proto_kvs_add(&table->kvs) : NULL;
    if (kv == NULL || mq_buf_put(&table->text, value, (size_t)n) != 0) {
        table->rc = MQ_ENOMEM;
        return;
    }
    kv->key = mq_str_of(key);
    kv->value.len = (uint32_t)n;
}

/* Points the values at their text. */
static void settle(struct table *table)
{
    const char *at = (const char *)table->text.base;

    for (uint32_t i = 0; i < table->kvs.count; i++) {
        table->kvs.items[i].value.at = at;
        at += table->kvs.items[i].value.len;
    }
}

static void table_free(struct table *table)
{
    proto_kvs_free(&table->kvs);
    mq_buf_free(&table->text);
}

/* --- 28 --- */

enum rate { RATE_PUT, RATE_FOUND, RATE_MISSED, RATE_GET_ALL, RATE_TRANSFERRED };

static uint64_t rate_value(const struct runtime_sample *s, enum rate rate)
{
    switch (rate) {
    case RATE_PUT:
        return s->puts;
    case RATE_FOUND:
        return s->found;
    case RATE_MISSED:
        return s->missed;
    case RATE_GET_ALL:
        return s->found + s->missed;
    default:
        return s->gets;
    }
}

static void put_rate(struct table *table, const struct context *ctx, const char *key, enum rate rate)
{
    static const uint32_t windows[] = {10, 60, 600};
    double rates[3] = {0, 0, 0};

    for (size_t i = 0; i < ARRAY_SIZE(windows) && ctx->runtime.count > 1; i++) {
        uint32_t span, none;
        struct runtime_sample then = sample_ago(&ctx->runtime, windows[i], &span);
        struct runtime_sample now = sample_ago(&ctx->runtime, 0, &none);

        rates[i] = (double)(rate_value(&now, rate) - rate_value(&then, rate)) / span;
    }
    put(table, key, "%.2f %.2f %.2f", rates[0], rates[1], rates[2]);
}

static void put_disk(struct table *table, const char *dir)
{
    struct statvfs fs;
    double total, avail, ratio;

    if (statvfs(dir, &fs) != 0 || fs.f_blocks == 0) {
        memset(&fs, 0, sizeof(fs));
        fs.f_blocks = 1;
    }
    total = (double)fs.f_blocks * (double)fs.f_frsize / (1 << 30);
    avail = (double)fs.f_bavail * (double)fs.f_frsize / (1 << 30);
    ratio = 1.0 - (double)fs.f_bavail / (double)fs.f_blocks;
    put(table, "commitLogDirCapacity", "Total : %.1f GiB, Free : %.1f GiB.", total, avail);
    put(table, "commitLogDiskRatio", "%.4f", ratio);
    put(table, "consumeQueueDiskRatio", "%.4f", ratio);
}

static void put_counts(struct table *table, const struct context *ctx)
{
    const struct runtime *runtime = &ctx->runtime;
    uint64_t puts = ctx->stats.puts;

    put(table, "msgPutTotalTodayNow", "%" PRIu64, puts);
    put(table, "msgPutTotalTodayMorning", "%" PRIu64, runtime->this_morning.puts);
    put(table, "msgPutTotalYesterdayMorning", "%" PRIu64, runtime->yesterday_morning.puts);
    put(table, "msgGetTotalTodayNow", "%" PRIu64, ctx->stats.gets);
    put(table, "msgGetTotalTodayMorning", "%" PRIu64, runtime->this_morning.gets);
    put(table, "msgGetTotalYesterdayMorning", "%" PRIu64, runtime->yesterday_morning.gets);
    put(table, "putMessageTimesTotal", "%" PRIu64, puts);
    put(table, "putMessageSizeTotal", "%" PRIu64, ctx->stats.put_bytes);
    put(table, "putMessageFailedTimes", "%" PRIu64, ctx->stats.put_failed);
    put(table, "putMessageAverageSize", "%.2f", puts > 0 ? (double)ctx->stats.put_bytes / (double)puts : 0.0);
    put_rate(table, ctx, "putTps", RATE_PUT);
    put_rate(table, ctx, "getFoundTps", RATE_FOUND);
    put_rate(table, ctx, "getMissTps", RATE_MISSED);
    put_rate(table, ctx, "getTotalTps", RATE_GET_ALL);
    put_rate(table, ctx, "getTransferredTps", RATE_TRANSFERRED);
    put_rate(table, ctx, "getTransferedTps", RATE_TRANSFERRED); /* as 4.9 tools spell it */
}

/* Keys of the original's thread pools and buffers, which have no counterpart here: the exporter drops a broker that
 * lacks one. */
static void put_absent_parts(struct table *table)
{
    static const char *const zeros[] = {
        "sendThreadPoolQueueSize",
        "sendThreadPoolQueueHeadWaitTimeMills",
        "pullThreadPoolQueueSize",
        "pullThreadPoolQueueHeadWaitTimeMills",
        "queryThreadPoolQueueSize",
        "queryThreadPoolQueueHeadWaitTimeMills",
        "ackThreadPoolQueueSize",
        "ackThreadPoolQueueHeadWaitTimeMills",
        "litePullThreadPoolQueueSize",
        "litePullThreadPoolQueueHeadWaitTimeMills",
        "EndTransactionQueueSize",
        "pageCacheLockTimeMills",
        "putMessageEntireTimeMax",
        "getMessageEntireTimeMax",
        "dispatchMaxBuffer",
        "dispatchBehindBytes",
        "startAcceptSendRequestTimeStamp",
    };
    static const char *const capacities[] = {
        "sendThreadPoolQueueCapacity", "pullThreadPoolQueueCapacity",     "queryThreadPoolQueueCapacity",
        "ackThreadPoolQueueCapacity",  "litePullThreadPoolQueueCapacity", "EndTransactionThreadPoolQueueCapacity",
    };

    for (size_t i = 0; i < ARRAY_SIZE(zeros); i++) {
        put(table, zeros[i], "0");
    }
    for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
        put(table, capacities[i], "10000");
    }
    put(table, "remainTransientStoreBufferNumbs", "2147483647");
    put(table, "remainHowManyDataToFlush", "0 B");
    put(table, "putMessageDistributeTime", "null");
}

static void put_log(struct table *table, const struct context *ctx)
{
    static const char *const phases[] = {"none", "snapshot", "backfill"};
    struct rlog_status status;

    rlog_status_get(ctx->log, &status);
    put(table, "commitLogMinOffset", "%" PRIu64, status.start_pos);
    put(table, "commitLogMaxOffset", "%" PRIu64, status.applied_pos);
    put(table, "raftRole", "%d", (int)status.role.kind);
    put(table, "raftTerm", "%" PRIu64, status.role.term);
    put(table, "raftLeader", "n%d", (int)status.role.leader - 1);
    put(table, "raftCommitIndex", "%" PRIu64, status.commit_index);
    put(table, "raftAppliedIndex", "%" PRIu64, status.applied_index);
    put(table, "raftCatchup", "%s, %" PRIu64 " bytes left, %" PRIu64 " B/s, %" PRIu64 " s left: %s",
        phases[status.catchup.phase], status.catchup.bytes_left, status.catchup.bytes_per_s,
        status.catchup.ms_left / 1000, status.catchup.cause != NULL ? status.catchup.cause : "nothing");
}

void get_runtime_info(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    int64_t now_ms = mq_clock_wall_ms();
    int64_t up_s = (now_ms - ctx->boot_ms) / 1000;
    struct table table = {0};
    struct mq_buf body = {0};
    int rc;

    put(&table, "brokerVersionDesc", "%s", VERSION_TEXT);
    put(&table, "brokerVersion", "%d", PROTO_VERSION);
    put(&table, "brokerActive", "%s", context_writable(ctx) ? "true" : "false");
    put(&table, "bootTimestamp", "%" PRId64, ctx->boot_ms);
    put(&table, "runtime", "[ %" PRId64 " days, %d hours, %d minutes, %d seconds ]", up_s / 86400,
        (int)(up_s / 3600 % 24), (int)(up_s / 60 % 60), (int)(up_s % 60));
    put_counts(&table, ctx);
    put_disk(&table, ctx->config->store_dir);
    put_log(&table, ctx);
    /* Tools show its age: none without a message. */
    put(&table, "earliestMessageTimeStamp", "%" PRId64,
        ctx->state->first_store_ms != 0 ? ctx->state->first_store_ms : now_ms);
    put_absent_parts(&table);
    settle(&table);
    rc = table.rc == 0 ? proto_kv_table_encode(&body, &table.kvs) : table.rc;
    reply_built(&to, rc, &body);
    table_free(&table);
}
