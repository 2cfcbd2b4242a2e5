#include "client/tools/bench.h"

#include "remoting/base/clock.h"
#include "remoting/base/err.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#define TOPIC_MS 10000 /* to create the topic and see it in a route */

static uint64_t cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

int bench_open(struct bench *bench, const struct bench_options *options, bool create)
{
    struct rmq_options client = {.namesrv = options->namesrv,
                                 .group = "RAFTMQ_BENCH",
                                 .connections = options->callers,
                                 .encoding = options->binary ? PROTO_BINARY : PROTO_JSON};
    struct mq_buf remark = {0};
    uint32_t queues;
    int rc;

    bench->options = options;
    mq_histogram_init(&bench->latency_us);
    rc = tool_open(&bench->tool, &client);
    if (rc != 0) {
        return tool_fail("bench", "name servers \"%s\": %s", options->namesrv, mq_strerror(rc));
    }
    rc = create ? tool_topic_make(&bench->tool, options->topic, options->queues, TOPIC_MS, &remark, &queues) : 0;
    if (rc != 0) {
        tool_fail("bench", "topic %s at %s: %s%s" MQ_STR_FMT, options->topic, options->namesrv, mq_strerror(rc),
                  remark.len != 0 ? ": " : "", MQ_STR_ARG(mq_buf_str(&remark)));
        tool_close(&bench->tool);
    }
    mq_buf_free(&remark);
    return rc == 0 ? 0 : 1;
}

static void begin_measuring(struct bench *bench)
{
    bench->measuring = true;
    bench->start_ns = mq_clock_mono_ns();
    bench->cpu_start_us = cpu_us();
    bench->last_done = bench->done = 0;
    bench->last_bytes = bench->bytes = 0;
    bench->n_errors = 0;
    bench->n_failed = 0;
    mq_histogram_init(&bench->latency_us);
}

static void on_second(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    FILE *out = bench->options->json ? stderr : stdout;

    bench->seconds_seen++;
    if (!bench->measuring) {
        if (bench->seconds_seen >= bench->options->warmup_seconds) {
            begin_measuring(bench);
            bench->seconds_seen = 0;
        }
        return;
    }
    fprintf(out, "%4u s  %9" PRIu64 " msg/s  %8.1f MB/s  failed %" PRIu64 "\n", bench->seconds_seen,
            bench->done - bench->last_done, (double)(bench->bytes - bench->last_bytes) / 1e6, bench->n_failed);
    fflush(out);
    bench->last_done = bench->done;
    bench->last_bytes = bench->bytes;
    if (bench->seconds_seen >= bench->options->seconds) {
        bench->over = true;
    }
}

static void on_interrupt(uv_signal_t *handle, int number)
{
    struct bench *bench = handle->data;

    (void)number;
    bench->over = bench->interrupted = true;
}

void bench_start(struct bench *bench)
{
    uv_timer_init(&bench->tool.loop.uv, &bench->second);
    uv_signal_init(&bench->tool.loop.uv, &bench->on_int);
    bench->second.data = bench->on_int.data = bench;
    bench->handles_open = 2;
    uv_update_time(&bench->tool.loop.uv);
    uv_timer_start(&bench->second, on_second, 1000, 1000);
    uv_signal_start(&bench->on_int, on_interrupt, SIGINT);
    if (bench->options->warmup_seconds == 0) {
        begin_measuring(bench);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    ((struct bench *)handle->data)->handles_open--;
}

void bench_close(struct bench *bench)
{
    if (bench->handles_open != 0) {
        uv_close((uv_handle_t *)&bench->second, on_handle_closed);
        uv_close((uv_handle_t *)&bench->on_int, on_handle_closed);
    }
    tool_close(&bench->tool);
}

void bench_error(struct bench *bench, const char *kind, int code, int status, struct mq_str remark)
{
    char what[sizeof(bench->errors[0].what)];
    uint32_t i;

    bench->n_failed++;
    if (status != 0) {
        snprintf(what, sizeof(what), "%s: %s", kind, mq_strerror(status));
    } else {
        snprintf(what, sizeof(what), "%s: code %d %.*s", kind, code, (int)(remark.len > 60 ? 60 : remark.len),
                 remark.at != NULL ? remark.at : "");
    }
    for (i = 0; i < bench->n_errors && strcmp(bench->errors[i].what, what) != 0; i++) {
    }
    if (i == BENCH_ERROR_KINDS_MAX) {
        i--; /* the last kind stands for all others */
        snprintf(bench->errors[i].what, sizeof(what), "others");
    } else if (i == bench->n_errors) {
        bench->n_errors++;
        memcpy(bench->errors[i].what, what, sizeof(what));
        bench->errors[i].count = 0;
    }
    bench->errors[i].count++;
}

static void report_json(const struct bench *bench, const char *what, double seconds, double cpu)
{
    const struct bench_options *o = bench->options;
    const struct mq_histogram *h = &bench->latency_us;

    printf("{\"bench\":\"%s\",\"callers\":%u,\"window\":%u,\"bodyBytes\":%u,\"rateAsked\":%u,\"encoding\":\"%s\","
           "\"seconds\":%.3f,\"messages\":%" PRIu64 ",\"perSecond\":%.0f,\"megabytesPerSecond\":%.2f,"
           "\"latencyMicros\":{\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"p999\":%" PRIu64 ",\"max\":%" PRIu64 "},"
           "\"cpuMicrosPerMessage\":%.3f,\"failed\":%" PRIu64 ",\"errors\":{",
           what, o->callers, o->window, o->body_bytes, o->rate, o->binary ? "binary" : "json", seconds, bench->done,
           (double)bench->done / seconds, (double)bench->bytes / 1e6 / seconds, mq_histogram_at(h, 0.5),
           mq_histogram_at(h, 0.99), mq_histogram_at(h, 0.999), h->max, cpu, bench->n_failed);
    for (uint32_t i = 0; i < bench->n_errors; i++) {
        struct mq_buf text = {0};

        if (mq_buf_printf(&text, "%s", bench->errors[i].what) == 0) {
            for (size_t k = 0; k < text.len; k++) { /* plain enough to be quoted */
                text.base[k] =
                    text.base[k] < ' ' || text.base[k] == '"' || text.base[k] == '\\' ? '\'' : text.base[k];
            }
            printf("%s\"" MQ_STR_FMT "\":%" PRIu64, i > 0 ? "," : "", MQ_STR_ARG(mq_buf_str(&text)),
                   bench->errors[i].count);
        }
        mq_buf_free(&text);
    }
    printf("}}\n");
}

int bench_report(struct bench *bench, const char *what)
{
    const struct mq_histogram *h = &bench->latency_us;
    double seconds, cpu;

    bench->end_ns = mq_clock_mono_ns();
    seconds = bench->measuring ? (double)(bench->end_ns - bench->start_ns) / 1e9 : 1e-9;
    cpu = bench->done != 0 ? (double)(cpu_us() - bench->cpu_start_us) / (double)bench->done : 0;
    if (bench->options->json) {
        report_json(bench, what, seconds, cpu);
    } else {
        printf("%s: %" PRIu64 " messages in %.2f s, %.0f msg/s, %.1f MB/s\n", what, bench->done, seconds,
               (double)bench->done / seconds, (double)bench->bytes / 1e6 / seconds);
        printf("latency of a %s: p50 %.3f ms, p99 %.3f ms, p99.9 %.3f ms, max %.3f ms\n",
               strcmp(what, "producer") == 0 ? "send" : "pull", (double)mq_histogram_at(h, 0.5) / 1e3,
               (double)mq_histogram_at(h, 0.99) / 1e3, (double)mq_histogram_at(h, 0.999) / 1e3, (double)h->max / 1e3);
        printf("this load generator used %.3f us of CPU a message\n", cpu);
        printf("failed: %" PRIu64 "\n", bench->n_failed);
        for (uint32_t i = 0; i < bench->n_errors; i++) {
            printf("  %9" PRIu64 "  %s\n", bench->errors[i].count, bench->errors[i].what);
        }
    }
    return bench->done != 0 ? 0 : 1;
}
