/* A libuv loop with an end to each turn: what arrived in one turn is gathered first, then carried out, then written,
 * so that a turn costs one system call per connection and one log entry, however many requests it brought. */
#ifndef MQ_NET_LOOP_H
#define MQ_NET_LOOP_H

#include "remoting/base/log.h"
#include "remoting/net/chunk.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define NET_READ_BYTES (1u << 20) /* the loop's shared read buffer */

struct net_conn;

enum net_phase {
    NET_PHASE_WORK, /* close gathered entries, wake what waits; may produce output */
    NET_PHASE_LAST  /* after all of WORK, before connections flush */
};

/* A hook that runs at the end of every turn (after I/O, and again after timers). Embed it; unlink with
 * net_turn_remove. */
struct net_turn {
    void *data; /* caller's */
    void (*cb)(struct net_turn *turn);
    struct net_turn *next, **prev; /* the loop's own */
};

struct net_loop {
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t again; /* active while the end of a turn left work for another turn */
    struct net_turn *turns[2];
    struct net_conn *dirty; /* connections with output to flush at the end of this turn */
    uint8_t *read_buffer;   /* owned, NET_READ_BYTES; content lives only within one read callback */
    uint64_t now_ms;        /* monotonic, taken at the start of the end-of-turn work */
    uint64_t turn;          /* counts turns: a connection reads once in each */
    bool resumed;           /* the running flush let a paused connection go on: hooks have work again */
    struct net_chunk_pool chunks;
    struct mq_log_limit bad_log, slow_log; /* for lines that peers provoke */
};

/* Returns 0 or a negative code. net_loop_fini asserts that no handle is left. */
int net_loop_init(struct net_loop *loop);
void net_loop_fini(struct net_loop *loop);

/* Runs until no active handle is left (hooks do not count) or net_loop_stop. */
int net_loop_run(struct net_loop *loop);
void net_loop_stop(struct net_loop *loop);

void net_turn_add(struct net_loop *loop, struct net_turn *turn, enum net_phase phase, void (*cb)(struct net_turn *));
void net_turn_remove(struct net_turn *turn);

#endif
