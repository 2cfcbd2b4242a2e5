/* One event, one line on stderr or in a file:
 *   2026-01-31T12:00:00.123Z INFO  role   leader term=3 index=77 ready_ms=41
 * Callable from every thread. */
#ifndef MQ_BASE_LOG_H
#define MQ_BASE_LOG_H

#include <stdint.h>

enum mq_log_level { MQ_LOG_DEBUG, MQ_LOG_INFO, MQ_LOG_WARN, MQ_LOG_ERROR };

/* Lines below @level are dropped. Default MQ_LOG_INFO. */
void mq_log_set_level(enum mq_log_level level);

/* Lines go to @path (appended; created) from now on. Returns 0 or -errno and stays where it was. */
int mq_log_open(const char *path);

void mq_log_line(enum mq_log_level level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define mq_log_debug(area, ...) mq_log_line(MQ_LOG_DEBUG, area, __VA_ARGS__)
#define mq_log_info(area, ...) mq_log_line(MQ_LOG_INFO, area, __VA_ARGS__)
#define mq_log_warn(area, ...) mq_log_line(MQ_LOG_WARN, area, __VA_ARGS__)
#define mq_log_error(area, ...) mq_log_line(MQ_LOG_ERROR, area, __VA_ARGS__)

/* For lines that a peer can provoke. One thread. */
struct mq_log_limit {
    uint64_t next_ms; /* monotonic; zero-initialise */
    uint64_t skipped; /* held back since the last line */
};

/* At most one line a second; how many were held back before it stands at its end, " skipped=3", if any were. */
void mq_log_limited(struct mq_log_limit *limit, enum mq_log_level level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
