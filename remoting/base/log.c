/* One line is formatted on the caller's stack and leaves in one write(2), so lines never mix. The mutex is there for
 * mq_log_open, which must not close the old file under a writer. */
#include "remoting/base/log.h"

#include "remoting/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 2048
#define LIMIT_PERIOD_MS 1000u

static const char *const LEVEL_NAMES[] = {"DEBUG", "INFO", "WARN", "ERROR"};

static atomic_int lowest_level = MQ_LOG_INFO;
static pthread_mutex_t file_lock = PTHREAD_MUTEX_INITIALIZER;
static int file_fd = STDERR_FILENO; /* under file_lock */

void mq_log_set_level(enum mq_log_level level)
{
    atomic_store_explicit(&lowest_level, (int)level, memory_order_relaxed);
}

int mq_log_open(const char *path)
{
    int fd, old;

    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) {
        return -errno;
    }
    pthread_mutex_lock(&file_lock);
    old = file_fd;
    file_fd = fd;
    pthread_mutex_unlock(&file_lock);
    if (old != STDERR_FILENO) {
        close(old);
    }
    return 0;
}

static size_t format_prefix(enum mq_log_level level, const char *area, char *out, size_t max)
{
    int64_t now_ms = mq_clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc = {0};
    size_t n;
    int more;

    gmtime_r(&seconds, &utc);
    n = strftime(out, max, "%Y-%m-%dT%H:%M:%S", &utc);
    more = snprintf(out + n, max - n, ".%03dZ %-5s %-6.16s ", (int)(now_ms % 1000), LEVEL_NAMES[level], area);
    return n + (more > 0 ? (size_t)more : 0);
}

/* A value from a peer may contain line ends; one event stays one line. */
static void blank_controls(char *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)at[i] < 0x20 || at[i] == 0x7F) {
            at[i] = '?';
        }
    }
}

static void write_line(const char *line, size_t n)
{
    ssize_t written;

    pthread_mutex_lock(&file_lock);
    do {
        written = write(file_fd, line, n);
    } while (written < 0 && errno == EINTR);
    pthread_mutex_unlock(&file_lock);
    /* Any other failure has no place left to be reported. */
}

/* @skipped: told at the end unless 0. */
static void log_text(enum mq_log_level level, const char *area, uint64_t skipped, const char *fmt, va_list args)
{
    static const char CUT[] = "...";
    char line[LINE_BYTES_MAX];
    char end[sizeof(" skipped=18446744073709551615")] = "";
    size_t end_bytes = skipped != 0 ? (size_t)snprintf(end, sizeof(end), " skipped=%" PRIu64, skipped) : 0;
    const size_t room = sizeof(line) - sizeof(CUT) - end_bytes; /* for the text: CUT and its NUL's place stay free */
    int saved_errno = errno;
    size_t prefix, text;
    int n;

    if ((int)level < atomic_load_explicit(&lowest_level, memory_order_relaxed)) {
        return;
    }
    prefix = format_prefix(level, area, line, room);
    n = vsnprintf(line + prefix, room - prefix, fmt, args);
    text = n > 0 ? (size_t)n : 0;
    if (text >= room - prefix) {
        text = room - prefix - 1;
        memcpy(line + prefix + text, CUT, sizeof(CUT) - 1);
        text += sizeof(CUT) - 1;
    }
    blank_controls(line + prefix, text);
    memcpy(line + prefix + text, end, end_bytes);
    text += end_bytes;
    line[prefix + text] = '\n';
    write_line(line, prefix + text + 1);
    errno = saved_errno;
}

void mq_log_line(enum mq_log_level level, const char *area, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    log_text(level, area, 0, fmt, args);
    va_end(args);
}

void mq_log_limited(struct mq_log_limit *limit, enum mq_log_level level, const char *area, const char *fmt, ...)
{
    uint64_t now_ms = mq_clock_mono_ms();
    va_list args;

    if (now_ms < limit->next_ms) {
        limit->skipped++;
        return;
    }
    va_start(args, fmt);
    log_text(level, area, limit->skipped, fmt, args);
    va_end(args);
    limit->next_ms = now_ms + LIMIT_PERIOD_MS;
    limit->skipped = 0;
}
