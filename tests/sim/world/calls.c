/* The rest of what production code calls of the system: clocks, random bytes, the end of a process, log lines. */
#include "remoting/base/assert.h"
#include "remoting/base/log.h"
#include "tests/sim/world/inside.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

int __real_clock_gettime(clockid_t id, struct timespec *out);
_Noreturn void __real_exit(int code);
_Noreturn void __real__exit(int code);
_Noreturn void __real_abort(void);
pid_t __real_getpid(void);
int __real_mincore(void *at, size_t bytes, unsigned char *out);
int __wrap_clock_gettime(clockid_t id, struct timespec *out);
ssize_t __wrap_getrandom(void *to, size_t n, unsigned flags);
void __wrap_exit(int code);
void __wrap__exit(int code);
void __wrap_abort(void);
void __wrap_mq_assert_failed(const char *file, int line, const char *condition);
pid_t __wrap_getpid(void);
int __wrap_mincore(void *at, size_t bytes, unsigned char *out);
int __wrap_usleep(useconds_t us);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);

/* ---- time and chance ---- */

int __wrap_clock_gettime(clockid_t id, struct timespec *out)
{
    const struct process *process = process_current();
    int64_t ns;

    if (process == NULL) {
        ns = (int64_t)world_now();
    } else if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) {
        ns = machine_wall_ns(process->machine);
    } else {
        ns = (int64_t)machine_mono_ns(process->machine);
    }
    *out = (struct timespec){ns / (int64_t)NS_PER_S, ns % (int64_t)NS_PER_S};
    return 0;
}

ssize_t __wrap_getrandom(void *to, size_t n, unsigned flags)
{
    uint8_t *at = to;

    (void)flags;
    for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
        uint64_t word = rng_next(world_rng());

        memcpy(at + i, &word, n - i < sizeof(word) ? n - i : sizeof(word));
    }
    return (ssize_t)n;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)left;
    process_sleep((uint64_t)time->tv_sec * NS_PER_S + (uint64_t)time->tv_nsec);
    return 0;
}

int __wrap_usleep(useconds_t us)
{
    process_sleep((uint64_t)us * NS_PER_US);
    return 0;
}

pid_t __wrap_getpid(void)
{
    const struct process *process = process_current();

    return process != NULL ? (pid_t)(1000 + process->pid) : __real_getpid();
}

/* Everything is in memory: whether it really is must not decide anything. */
int __wrap_mincore(void *at, size_t bytes, unsigned char *out)
{
    if (process_current() == NULL) {
        return __real_mincore(at, bytes, out);
    }
    memset(out, 1, (bytes + 4095) / 4096);
    return 0;
}

/* ---- the end ---- */

void __wrap_exit(int code)
{
    if (process_current() == NULL) {
        __real_exit(code);
    }
    process_exit(code);
}

void __wrap__exit(int code)
{
    if (process_current() == NULL) {
        __real__exit(code);
    }
    process_exit(code);
}

#define ABORT_CODE 134 /* as a shell tells it */

/* What is said before the end of a process. */
static char last_error[200];
static bool (*may_abort)(const struct process *process);

void world_on_abort(bool (*cb)(const struct process *process))
{
    may_abort = cb;
}

void __wrap_abort(void)
{
    if (process_current() == NULL) {
        __real_abort();
    }
    if (may_abort != NULL && may_abort(process_current())) {
        process_exit(ABORT_CODE);
    }
    world_fail("abort in %s: %s", process_name(process_current()), last_error);
    __real_abort(); /* not reached */
}

void __wrap_mq_assert_failed(const char *file, int line, const char *condition)
{
    if (process_current() != NULL) {
        world_fail("%s: %s:%d: assertion failed: %s", process_name(process_current()), file, line, condition);
    }
    fprintf(stderr, "%s:%d: assertion failed outside: %s\n", file, line, condition);
    fprintf(stderr, "seed %" PRIu64 "\n", world_seed());
    __real_abort();
}

/* ---- log lines go into the trace; this replaces remoting/base/log.c ---- */

#define LIMIT_PERIOD_MS 1000u

static enum mq_log_level lowest_level = MQ_LOG_INFO;
static void (*on_line)(const char *fmt);

void world_on_line(void (*cb)(const char *fmt))
{
    on_line = cb;
}

static void __attribute__((format(printf, 3, 0)))
put_line(enum mq_log_level level, const char *area, const char *fmt, va_list args)
{
    static const char letters[] = "DIWE";
    const struct process *process = process_current();
    char text[512];

    if (level < lowest_level) {
        return;
    }
    if (on_line != NULL) {
        on_line(fmt);
    }
    vsnprintf(text, sizeof(text), fmt, args);
    if (level == MQ_LOG_ERROR) {
        snprintf(last_error, sizeof(last_error), "%.190s", text);
    }
    world_tracef("%s %c %s: %s", process != NULL ? process_name(process) : "-", letters[level], area, text);
}

void mq_log_set_level(enum mq_log_level level)
{
    lowest_level = level;
}

int mq_log_open(const char *path)
{
    (void)path;
    return 0;
}

void mq_log_line(enum mq_log_level level, const char *area, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    put_line(level, area, fmt, args);
    va_end(args);
}

void mq_log_limited(struct mq_log_limit *limit, enum mq_log_level level, const char *area, const char *fmt, ...)
{
    struct timespec now;
    uint64_t now_ms;
    va_list args;

    __wrap_clock_gettime(CLOCK_MONOTONIC, &now);
    now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    if (now_ms < limit->next_ms) {
        limit->skipped++;
        return;
    }
    va_start(args, fmt);
    put_line(level, area, fmt, args);
    va_end(args);
    limit->next_ms = now_ms + LIMIT_PERIOD_MS;
    limit->skipped = 0;
}
