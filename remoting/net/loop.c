#include "remoting/net/loop.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/net/conn_out.h"

#include <signal.h>

/* How often the end of one turn starts over because a flush let paused connections go on. What is left then waits for
 * the next turn, which comes without waiting for I/O. */
#define ROUNDS_MAX 4

static void link_turn(struct net_turn *turn, struct net_turn **at)
{
    turn->prev = at;
    turn->next = *at;
    if (turn->next != NULL) {
        turn->next->prev = &turn->next;
    }
    *at = turn;
}

void net_turn_add(struct net_loop *loop, struct net_turn *turn, enum net_phase phase, void (*cb)(struct net_turn *))
{
    struct net_turn **at = &loop->turns[phase];

    while (*at != NULL) {
        at = &(*at)->next;
    }
    turn->cb = cb;
    link_turn(turn, at);
}

void net_turn_remove(struct net_turn *turn)
{
    *turn->prev = turn->next;
    if (turn->next != NULL) {
        turn->next->prev = turn->prev;
    }
    turn->prev = NULL;
    turn->next = NULL;
}

/* A hook may remove itself and any other: our own mark behind it keeps the place. */
static void run_hooks(struct net_turn **list)
{
    struct net_turn *turn = *list;
    struct net_turn mark;

    while (turn != NULL) {
        link_turn(&mark, &turn->next);
        turn->cb(turn);
        turn = mark.next;
        net_turn_remove(&mark);
    }
}

static void flush_dirty(struct net_loop *loop)
{
    struct net_conn *conn = loop->dirty;
    struct net_conn *next;

    loop->dirty = NULL;
    for (; conn != NULL; conn = next) {
        next = conn->next_dirty;
        conn->next_dirty = NULL;
        conn->dirty = false;
        net_conn_end_turn(conn);
    }
}

static void on_again(uv_idle_t *again)
{
    (void)again; /* being active is all it does: the loop does not wait for I/O */
}

static void end_turn(struct net_loop *loop)
{
    loop->now_ms = mq_clock_mono_ms();
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        loop->resumed = false;
        run_hooks(&loop->turns[NET_PHASE_WORK]);
        run_hooks(&loop->turns[NET_PHASE_LAST]);
        flush_dirty(loop);
        if (loop->dirty == NULL && !loop->resumed) {
            uv_idle_stop(&loop->again);
            return;
        }
    }
    uv_idle_start(&loop->again, on_again);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct net_loop *loop = container_of(prepare, struct net_loop, prepare);

    loop->turn++;
    end_turn(loop);
}

static void on_check(uv_check_t *check)
{
    end_turn(container_of(check, struct net_loop, check));
}

int net_loop_init(struct net_loop *loop)
{
    int rc;

    *loop = (struct net_loop){0};
    loop->read_buffer = mq_malloc(NET_READ_BYTES);
    if (loop->read_buffer == NULL) {
        return MQ_ENOMEM;
    }
    rc = uv_loop_init(&loop->uv);
    if (rc != 0) {
        mq_free(loop->read_buffer);
        return rc;
    }
    /* A peer that goes away while we write is an error of that write, not the end of the process. */
    signal(SIGPIPE, SIG_IGN);

    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_idle_init(&loop->uv, &loop->again);
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
    uv_unref((uv_handle_t *)&loop->again);
    loop->now_ms = mq_clock_mono_ms();
    return 0;
}

void net_loop_fini(struct net_loop *loop)
{
    int rc;

    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->again, NULL);
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    rc = uv_loop_close(&loop->uv);
    MQ_ASSERT(rc == 0); /* a handle was left open */
    net_chunk_pool_fini(&loop->chunks);
    mq_free(loop->read_buffer);
    loop->read_buffer = NULL;
}

int net_loop_run(struct net_loop *loop)
{
    return uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void net_loop_stop(struct net_loop *loop)
{
    uv_stop(&loop->uv);
}
