/* The bare log of bench_limit: bytes gathered into entries, written and synced here and by two follower processes
 * over loopback TCP, done when a majority has them on disk. No terms, no elections, no checks: the least that any
 * replicated commit log has to do. */
#ifndef TESTS_BENCH_LIMIT_LOG_H
#define TESTS_BENCH_LIMIT_LOG_H

#include "remoting/base/buf.h"
#include "remoting/net/loop.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define LIMIT_FOLLOWERS 2
#define LIMIT_ENTRY_BYTES (1u << 20) /* an entry closes above it */
#define LIMIT_ENTRY_HEADER 64

struct limit_log;

/* Everything below stream position @pos is on the disks of a majority. */
typedef void (*limit_committed_cb)(struct limit_log *log, uint64_t pos);

struct limit_entry {
    struct limit_entry *next;
    struct mq_buf bytes;
    uint64_t end; /* stream position behind it */
    uint64_t file_at;
    uint32_t refs; /* our writer, and the sockets that still send it */
    uv_write_t writes[LIMIT_FOLLOWERS];
};

struct limit_follower {
    struct limit_log *log;
    uv_tcp_t tcp;
    uint64_t synced;
    uint8_t ack[8];
    uint32_t ack_bytes;
    int pid;
};

struct limit_log {
    struct net_loop *loop;
    limit_committed_cb committed;
    void *data;
    uint64_t file_bytes;
    const uint8_t *map; /* of our file */
    int fd;
    struct limit_entry *open; /* gathers */
    struct limit_entry *spare;
    uint64_t open_at, open_file_at; /* where the open one starts: in the stream, in the file */
    uint64_t synced, commit;
    struct limit_follower followers[LIMIT_FOLLOWERS];
    struct net_turn turn;
    uv_async_t done;
    pthread_t writer;
    pthread_mutex_t mutex; /* guards the next four */
    pthread_cond_t wake;
    struct limit_entry *job, *finished;
    bool stop;
    bool writing; /* loop's own */
};

/* Forks the followers, which keep their files in @dir too, and opens ours. Before the loop is made, because of the
 * fork. Returns 0 or -errno. */
int limit_log_fork(struct limit_log *log, const char *dir, uint64_t file_bytes, int sockets[LIMIT_FOLLOWERS]);
int limit_log_open(struct limit_log *log, struct net_loop *loop, const int sockets[LIMIT_FOLLOWERS],
                   limit_committed_cb committed, void *data);

/* Room for @bytes in the open entry; tells where they will lie in the stream and in the file. NULL without memory. */
uint8_t *limit_log_reserve(struct limit_log *log, uint32_t bytes, uint64_t *pos, uint64_t *file_at);
void limit_log_add(struct limit_log *log, uint32_t bytes);

/* Ends the followers and the writer. */
void limit_log_close(struct limit_log *log);

#endif
