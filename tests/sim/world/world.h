/* A simulated world: a clock that moves only from event to event, one generator, machines with disks, clocks and
 * links, and processes on them whose threads are coroutines. The production code that runs in it is the real one;
 * what it calls of the operating system (threads, sockets, libuv, clocks, random bytes, memory, exit) is linked
 * against this folder instead.
 *
 * There is one world at a time. Everything here is single-threaded. "Outside" means the scheduler's own context:
 * event callbacks of this file, and whoever calls world_step; "inside" means code that runs on a fiber of a process.
 * Unless said otherwise a function may be called from both. Same seed, same run, bit for bit: nothing may depend on
 * addresses, on the real clock or on how the program was built. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define PPM 1000000u /* probabilities are parts per million */

/* ---- random numbers ---- */

struct rng {
    uint64_t state[2];
};

/* Streams of one seed are independent of each other; the world itself uses stream 0. */
void rng_seed(struct rng *rng, uint64_t seed, uint64_t stream);
uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t n);                    /* 0 to @n - 1; @n > 0 */
uint64_t rng_between(struct rng *rng, uint64_t low, uint64_t high); /* both included */
bool rng_chance(struct rng *rng, uint32_t ppm);
/* The world's own stream: latencies, faults that strike by chance, crash states, getrandom. */
struct rng *world_rng(void);

/* ---- life ---- */

/* Starts a world at time 0. Machines, processes and events of the one before must be gone (world_close). */
void world_open(uint64_t seed);
/* Kills every process and frees everything. */
void world_close(void);
uint64_t world_seed(void);
uint64_t world_now(void); /* ns since world_open */

/* ---- events ---- */

/* Embedded by its owner, zero-initialised. Fires outside. */
struct world_event {
    uint64_t at_ns, serial;
    void (*cb)(struct world_event *event);
    size_t slot; /* in the heap, counted from 1; 0: not waiting */
};

/* Fires @cb once at @at_ns (not before now). Events of one instant fire in the order in which they were set. Set
 * again while it waits, an event moves. */
void world_at(struct world_event *event, uint64_t at_ns, void (*cb)(struct world_event *event));
void world_cancel(struct world_event *event); /* also for one that does not wait */

/* Outside only. One event; false: none is left, or the run has failed. */
bool world_step(void);
/* All events up to @at_ns, then the clock stands at @at_ns. False: the run has failed. */
bool world_run_until(uint64_t at_ns);
uint64_t world_events(void); /* fired so far */

/* ---- failure ---- */

/* The run has failed: the first reason is kept, world_step and world_run_until return false from now on. Inside, it
 * does not return: the fiber stops where it is. An abort or a failed MQ_ASSERT inside ends here, too. */
void world_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const char *world_failure(void); /* NULL: none */

struct process;
/* Asked when production code calls abort: true and the process ends with code 134, instead of the run. NULL: never.
 * Stays over world_open. */
void world_on_abort(bool (*cb)(const struct process *process));

/* ---- trace ---- */

/* One thing that happened, with the time and the process. @what is a literal. Goes into the hash, the ring and, with
 * world_trace_to, to a stream. */
void world_trace(const char *what, uint64_t a, uint64_t b);
/* The same for rare things; the text goes into the hash, so it must not hold an address. */
void world_tracef(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
uint64_t world_trace_hash(void);
/* Mixes @n bytes into the hash without a line. */
void world_trace_bytes(const void *bytes, size_t n);
/* Prints the last lines, at most @lines, oldest first. */
void world_trace_print(FILE *to, size_t lines);
/* Every line is printed as it comes; NULL: none. Stays over world_open. */
void world_trace_to(FILE *to);

/* Called with the format of every log line of production code; NULL: nobody. Stays over world_open. */
void world_on_line(void (*cb)(const char *fmt));

/* ---- memory ----
 * malloc & co. inside belong to the process and go with it. What must outlive it (a record of what was acknowledged)
 * is allocated between these two; free works everywhere. Outside, everything is the world's. */
struct process;
struct process *world_outside_begin(void);
void world_outside_end(struct process *before);

#endif
