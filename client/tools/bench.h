/* What the two halves of `raftmq bench` share: options, counters, and how they are printed. */
#ifndef CLIENT_TOOLS_BENCH_H
#define CLIENT_TOOLS_BENCH_H

#include "client/tools/tool.h"
#include "remoting/base/stats.h"

#define BENCH_ERROR_KINDS_MAX 16

struct bench_options {
    const char *namesrv, *topic;
    uint32_t callers; /* each with a connection of its own */
    uint32_t window;  /* under way for each caller at a time */
    uint32_t body_bytes;
    uint32_t seconds, warmup_seconds;
    uint32_t rate; /* messages a second, all callers together; 0: as fast as answers come */
    uint32_t queues;
    uint32_t batch; /* messages asked for in one pull */
    bool json, binary, repeat;
};

struct bench_error {
    char what[96];
    uint64_t count;
};

struct bench {
    struct tool tool;
    const struct bench_options *options;
    uint64_t start_ns, end_ns;      /* monotonic; of the measured time */
    uint64_t done;                  /* messages, in the measured time */
    uint64_t bytes;                 /* of bodies */
    uint64_t last_done, last_bytes; /* at the last line */
    uint64_t cpu_start_us;
    struct mq_histogram latency_us; /* of sends or pulls */
    struct bench_error errors[BENCH_ERROR_KINDS_MAX];
    uint32_t n_errors;
    uint64_t n_failed;
    bool measuring, over, interrupted;
    uv_timer_t second;
    uint32_t seconds_seen;
    uv_signal_t on_int;
    uint32_t handles_open;
};

/* Opens loop and client and the topic (created when @create). Returns an exit status. */
int bench_open(struct bench *bench, const struct bench_options *options, bool create);
void bench_close(struct bench *bench);

/* Starts the clock: a line a second; @over is set when the time is up or Ctrl-C was pressed. */
void bench_start(struct bench *bench);

/* One failed message. @remark: borrowed, may be absent. */
void bench_error(struct bench *bench, const char *kind, int code, int status, struct mq_str remark);

/* Prints the summary and returns the exit status: 0 when at least one message went through. */
int bench_report(struct bench *bench, const char *what);

int bench_producer(const struct bench_options *options);
int bench_consumer(const struct bench_options *options);

#endif
