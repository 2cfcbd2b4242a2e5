/* What the files of this folder know of each other. */
#ifndef SIM_INSIDE_H
#define SIM_INSIDE_H

#include "tests/sim/world/machine.h"

#include <uv.h>

/* ---- lists ---- */

struct node {
    struct node *next, *prev;
};

static inline void list_init(struct node *list)
{
    list->next = list->prev = list;
}

static inline bool list_empty(const struct node *list)
{
    return list->next == list;
}

static inline void list_append(struct node *list, struct node *node)
{
    node->prev = list->prev;
    node->next = list;
    node->prev->next = node;
    list->prev = node;
}

/* Also for one that is in no list but was initialised. */
static inline void list_remove(struct node *node)
{
    node->next->prev = node->prev;
    node->prev->next = node->next;
    list_init(node);
}

/* Everything of @from goes to the empty @to. */
static inline void list_move(struct node *from, struct node *to)
{
    list_init(to);
    if (!list_empty(from)) {
        *to = *from;
        to->next->prev = to;
        to->prev->next = to;
        list_init(from);
    }
}

/* ---- memory ---- */

struct heap {
    struct node blocks;
    size_t bytes;
};

void heap_init(struct heap *heap);
void heap_free_all(struct heap *heap);
/* Where allocations go from now on; returns where they went before. */
struct heap *heap_use(struct heap *heap);
struct heap *heap_of_world(void);
/* Zeroed memory of the world, whoever runs; freed with free. */
void *world_alloc(size_t bytes);
char *world_strdup(const char *text);

/* Frees what world.c holds. */
void world_end(void);

/* From now on a crash of the program prints the seed and the end of the trace. */
void crash_watch(void);

/* ---- fibers ---- */

struct fiber;

/* Runs @body(@data) when it is woken first. */
struct fiber *fiber_new(struct process *process, const char *name, void *(*body)(void *data), void *data);
struct fiber *fiber_current(void); /* NULL outside */
/* Waits until someone wakes this fiber; it may be woken without a reason. Inside only. */
void fiber_block(void);
/* Not later than @at_ns; an earlier wake-up that was set already stays. */
void fiber_wake(struct fiber *fiber, uint64_t at_ns);
/* Wakes @fiber at the next event, plus what waking costs its process. */
void fiber_wake_soon(struct fiber *fiber);
/* Sets the time of the next wake-up; UINT64_MAX: none. */
void fiber_set_alarm(struct fiber *fiber, uint64_t at_ns);
void fiber_free(struct fiber *fiber); /* outside; not the one that runs */
bool fiber_done(const struct fiber *fiber);
void *fiber_result(const struct fiber *fiber);
const char *fiber_name(const struct fiber *fiber);
struct process *fiber_process(const struct fiber *fiber);
/* Wakes that came while the process was paused. */
void fiber_release(struct fiber *fiber);
/* Gives back what stacks are kept for reuse. */
void fiber_pool_trim(void);

/* ---- processes ---- */

struct process {
    struct machine *machine;
    char *name;   /* owned */
    uint32_t pid; /* 1, 2, ... in the world */
    int (*main_fn)(void *data);
    void *data;
    bool alive, paused;
    enum process_end how;
    int code;
    uint32_t slowness;
    struct heap heap;
    struct node fibers; /* of fiber_threads.h: struct thread */
    struct node socks;  /* its open sockets */
    struct sim_loop *loop;
    struct node pool_queue; /* work for the pool */
    struct fiber *pool[4];  /* uv_queue_work */
    uint32_t pool_idle;     /* bit by worker */
    struct node calls;      /* process_call, not yet run */
    int next_fd;
    struct process *next; /* all of the world */
};

struct machine {
    char *name, *address; /* owned */
    uint32_t number;
    uint32_t ip; /* host byte order */
    bool power;
    struct disk *disk;
    struct link links[MACHINES_MAX]; /* to each machine */
    uint64_t link_busy_ns[MACHINES_MAX];
    uint32_t fail_accepts;
    int32_t drift_ppm;
    uint64_t base_world_ns, base_mono_ns; /* both clocks at the last change of drift */
    int64_t wall_offset_ns;               /* wall = mono + offset */
    uint16_t next_port;
    void (*on_end)(void *data, struct process *process, enum process_end how, int code);
    void *on_end_data;
};

struct machine *machine_by_ip(uint32_t ip);
struct machine *machine_by_name(const char *name);
struct machine *machine_at(uint32_t number); /* NULL: no such */
/* When the monotonic clock of @machine will show @mono_ns, or now. */
uint64_t machine_world_ns(const struct machine *machine, uint64_t mono_ns);
/* What a wake-up or a turn of a loop costs the process now. */
uint64_t process_turn_ns(struct process *process);
/* Ends the process of this fiber. */
_Noreturn void process_exit(int code);
/* Called when a fiber was switched out: carries out an exit. */
void process_after_switch(void);

struct disk *disk_new(const char *name);
void disk_free(struct disk *disk);
void disk_power_off(struct disk *disk);
void disk_process_gone(struct disk *disk, struct process *process);

/* What posix.c needs beyond the table. All return 0 or more, or -errno. */
bool disk_owns_fd(int fd);
void disk_fd_set_foreign(struct disk *disk, int fd); /* opened by other means than the table */
uint64_t *disk_fd_pos(struct disk *disk, int fd);
int disk_fd_size(struct disk *disk, int fd, uint64_t *bytes); /* -EISDIR */
int disk_fd_resize(struct disk *disk, int fd, uint64_t bytes);
void *disk_fd_map(struct disk *disk, int fd, size_t bytes); /* for writing, too */
void disk_space(const struct disk *disk, uint64_t *total, uint64_t *free);
int disk_stat(const struct disk *disk, const char *path, uint64_t *bytes); /* -EISDIR for a directory, -ENOENT */
void disk_remove_dir(struct disk *disk, const char *path);
int disk_settle_names(struct disk *disk);
int disk_sync_all(struct disk *disk);

void net_open(void);
void net_close(void);
void net_machine_new(struct machine *machine);
void net_machine_off(struct machine *machine);
void net_process_gone(struct process *process);

/* ---- loops ---- */

/* Something that makes a loop turn. */
struct ready {
    struct node node; /* in the loop's list, or alone */
    void (*run)(struct ready *ready);
};

struct sim_loop {
    uv_loop_t *uv;
    struct process *process;
    struct fiber *waiting; /* in poll */
    struct node ready;
    struct node timers; /* by time and order of start */
    struct node idle, prepare, check, async, pending;
    uv_handle_t *closing;
    uint64_t time_ms, timer_serial;
    struct ready async_ready, call_ready, work_ready;
    struct node work_done;
};

/* work.c: tells the loop of work that is done. */
void work_run_done(struct ready *ready);

struct sim_loop *loop_of(const uv_loop_t *uv);
void loop_make_ready(struct sim_loop *loop, struct ready *ready);
/* Handles: the same words as libuv's own. */
void handle_init(uv_loop_t *uv, uv_handle_t *handle, uv_handle_type type);
void handle_start(uv_handle_t *handle);
void handle_stop(uv_handle_t *handle);
#define HANDLE_CLOSING 1u
#define HANDLE_CLOSED 2u
#define HANDLE_ACTIVE 4u
#define HANDLE_REF 8u
#define HANDLE_READING 16u
/* tcp.c: what closing does to a stream, now and when its turn has come. */
void tcp_close(uv_tcp_t *tcp);
void tcp_finish_close(uv_tcp_t *tcp);
/* Runs @req's callback with the pending ones of the next turn. */
struct pending {
    struct node node;
    void (*run)(struct pending *pending);
};

/* ---- sockets (net.c), as tcp.c and the socket calls see them ---- */

struct sock;

struct sock *sock_new(struct process *process);
int sock_fd(const struct sock *sock);
struct sock *sock_by_fd(int fd); /* of the current process; NULL */
int sock_bind(struct sock *sock, uint32_t ip, uint16_t port);
int sock_listen(struct sock *sock);
int sock_connect(struct sock *sock, uint32_t ip, uint16_t port); /* 0: under way */
/* An established connection, 0 and NULL: none, or a negative code (it failed). */
int sock_accept(struct sock *listener, struct sock **out);
/* Bytes taken, -EAGAIN, -EPIPE, -ECONNRESET, ... */
ssize_t sock_send(struct sock *sock, const struct iovec *vec, int n);
/* Bytes read, 0: end of stream, -EAGAIN, or what broke the connection. */
ssize_t sock_recv(struct sock *sock, void *to, size_t n);
void sock_shutdown(struct sock *sock);
void sock_close(struct sock *sock);
void sock_set_linger0(struct sock *sock, bool on);
void sock_set_user_timeout(struct sock *sock, unsigned ms);
/* Who hears of it when something becomes possible; NULL: nobody. */
void sock_watch(struct sock *sock, void (*changed)(void *data), void *data);
bool sock_readable(const struct sock *sock); /* a recv or accept would not wait */
bool sock_writable(const struct sock *sock); /* connected or failed, and a send would take something */
bool sock_connecting(const struct sock *sock);
int sock_error(const struct sock *sock);
int sock_name(const struct sock *sock, bool peer, uint32_t *ip, uint16_t *port);

#endif
