/* Machines and the processes on them.
 *
 * A process has a main function on a fiber of its own; pthread_create makes more of them. A fiber runs until it
 * waits: in uv_run, on a condition variable or mutex, in a call to the disk. Running takes no simulated time but what
 * cpu_turn_ns says for each turn of a loop. Functions that end, pause or start processes are called outside. */
#ifndef SIM_MACHINE_H
#define SIM_MACHINE_H

#include "tests/sim/world/disk.h"
#include "tests/sim/world/net.h"
#include "tests/sim/world/world.h"

#define MACHINES_MAX 16

struct machine;
struct process;

enum process_end {
    PROCESS_RETURNED, /* main returned; its value is the code */
    PROCESS_EXITED,   /* exit or _exit, with its code */
    PROCESS_KILLED,   /* kill -9 */
    PROCESS_LOST      /* power */
};

/* ---- machines ---- */

/* A machine of its own; @name is a host name, @address its IPv4 address as text ("10.0.0.1"); both are copied. It has
 * power, an empty disk and links with the default latencies to all other machines. Freed by world_close. */
struct machine *machine_new(const char *name, const char *address);
const char *machine_name(const struct machine *machine);
const char *machine_address(const struct machine *machine);
uint32_t machine_number(const struct machine *machine); /* 0, 1, ... in the order in which they were made */
struct disk *machine_disk(struct machine *machine);
bool machine_has_power(const struct machine *machine);

/* The power goes: all processes end at once, unsynced disk content is kept, lost or torn by chance, and every
 * connection is forgotten here while its other end knows nothing. */
void machine_power_off(struct machine *machine);
/* It is back: whoever still sends on an old connection gets a reset. Processes are started by the caller. */
void machine_power_on(struct machine *machine);

/* The wall clock jumps by @by_ns; the monotonic clock does not. */
void machine_jump_wall(struct machine *machine, int64_t by_ns);
/* Both clocks and all timers of the machine run by so many parts per million too fast (negative: too slow). */
void machine_set_drift(struct machine *machine, int32_t ppm);
uint64_t machine_mono_ns(const struct machine *machine);
int64_t machine_wall_ns(const struct machine *machine);

/* Called outside, once, after a process of @machine has ended, whatever ended it. NULL: nobody. */
void machine_on_end(struct machine *machine,
                    void (*cb)(void *data, struct process *process, enum process_end how, int code), void *data);

/* ---- processes ---- */

/* Starts @main_fn(@data) on a fiber, at the next event. @name is for the trace; copied. The struct lives until
 * world_close, whatever becomes of the process. */
struct process *process_start(struct machine *machine, const char *name, int (*main_fn)(void *data), void *data);
bool process_alive(const struct process *process);
const char *process_name(const struct process *process);
struct machine *process_machine(const struct process *process);
void *process_data(const struct process *process); /* as given to process_start */

/* kill -9: fibers and memory are gone, what it wrote stays in the page cache, the kernel still delivers what was
 * sent, and then resets or ends the connections. */
void process_kill(struct process *process);
/* SIGSTOP and SIGCONT: the kernel goes on receiving and acknowledging for it. */
void process_pause(struct process *process);
void process_resume(struct process *process);
bool process_paused(const struct process *process);
/* A slow processor: each turn of a loop and each wake-up takes so much longer (1: normal). */
void process_set_slowness(struct process *process, uint32_t factor);

/* Runs @cb(@data) on the process's first uv loop, as if by uv_async_send. Dropped with the process; false: it is not
 * alive or has no loop yet. */
bool process_call(struct process *process, void (*cb)(void *data), void *data);

/* Which process runs: NULL outside. */
struct process *process_current(void);
size_t process_heap_bytes(const struct process *process); /* allocated now */

/* Lets @ns of simulated time pass on this fiber. Inside only. */
void process_sleep(uint64_t ns);

#endif
