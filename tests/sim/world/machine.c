#include "tests/sim/world/machine.h"

#include "remoting/base/assert.h"
#include "tests/sim/world/threads.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WALL_AT_START_S INT64_C(1767225600) /* 2026-01-01 */
#define TURN_MIN_NS 1000u
#define TURN_MAX_NS 6000u

static struct machine *machines[MACHINES_MAX];
static uint32_t n_machines;
static struct process *processes, **last_process = &processes;
static uint32_t n_processes;
static struct process *ending; /* ended from inside, at its last switch */

/* ---- machines ---- */

/* A boot: the monotonic clock begins anew. */
static void boot(struct machine *machine)
{
    uint64_t mono = rng_between(world_rng(), 10 * NS_PER_S, 1000 * NS_PER_S);
    int64_t wall = machine->wall_offset_ns + (int64_t)machine_mono_ns(machine);

    machine->base_world_ns = world_now();
    machine->base_mono_ns = mono;
    machine->wall_offset_ns = wall - (int64_t)mono;
}

struct machine *machine_new(const char *name, const char *address)
{
    struct machine *machine = world_alloc(sizeof(*machine));
    struct in_addr in;

    MQ_ASSERT(n_machines < MACHINES_MAX && inet_pton(AF_INET, address, &in) == 1);
    machine->name = world_strdup(name);
    machine->address = world_strdup(address);
    machine->ip = ntohl(in.s_addr);
    machine->number = n_machines;
    machine->power = true;
    machine->disk = disk_new(name);
    machine->next_port = 32768;
    machine->wall_offset_ns = WALL_AT_START_S * (int64_t)NS_PER_S + (int64_t)world_now();
    boot(machine);
    machines[n_machines++] = machine;
    net_machine_new(machine);
    return machine;
}

struct machine *machine_by_ip(uint32_t ip)
{
    for (uint32_t i = 0; i < n_machines; i++) {
        if (machines[i]->ip == ip) {
            return machines[i];
        }
    }
    return NULL;
}

struct machine *machine_by_name(const char *name)
{
    for (uint32_t i = 0; i < n_machines; i++) {
        if (strcmp(machines[i]->name, name) == 0) {
            return machines[i];
        }
    }
    return NULL;
}

struct machine *machine_at(uint32_t number)
{
    return number < n_machines ? machines[number] : NULL;
}

const char *machine_name(const struct machine *machine)
{
    return machine->name;
}

const char *machine_address(const struct machine *machine)
{
    return machine->address;
}

uint32_t machine_number(const struct machine *machine)
{
    return machine->number;
}

struct disk *machine_disk(struct machine *machine)
{
    return machine->disk;
}

bool machine_has_power(const struct machine *machine)
{
    return machine->power;
}

void machine_on_end(struct machine *machine,
                    void (*cb)(void *data, struct process *process, enum process_end how, int code), void *data)
{
    machine->on_end = cb;
    machine->on_end_data = data;
}

/* ---- clocks ---- */

uint64_t machine_mono_ns(const struct machine *machine)
{
    uint64_t passed = world_now() - machine->base_world_ns;

    if (machine->drift_ppm != 0) {
        passed = (uint64_t)((unsigned __int128)passed * (uint64_t)((int64_t)PPM + machine->drift_ppm) / PPM);
    }
    return machine->base_mono_ns + passed;
}

uint64_t machine_world_ns(const struct machine *machine, uint64_t mono_ns)
{
    uint64_t rate = (uint64_t)((int64_t)PPM + machine->drift_ppm);
    uint64_t passed;

    if (mono_ns <= machine_mono_ns(machine)) {
        return world_now();
    }
    passed = mono_ns - machine->base_mono_ns;
    if (machine->drift_ppm != 0) {
        passed = (uint64_t)(((unsigned __int128)passed * PPM + rate - 1) / rate);
    }
    return machine->base_world_ns + passed;
}

int64_t machine_wall_ns(const struct machine *machine)
{
    return (int64_t)machine_mono_ns(machine) + machine->wall_offset_ns;
}

void machine_jump_wall(struct machine *machine, int64_t by_ns)
{
    machine->wall_offset_ns += by_ns;
    world_tracef("clock of %s jumps by %" PRId64 " ms", machine->name, by_ns / (int64_t)NS_PER_MS);
}

/* Loops of the machine look at their timers again: what they wait for comes at another time now. */
void machine_set_drift(struct machine *machine, int32_t ppm)
{
    uint64_t mono = machine_mono_ns(machine);

    MQ_ASSERT(ppm > -(int32_t)PPM);
    machine->base_world_ns = world_now();
    machine->base_mono_ns = mono;
    machine->drift_ppm = ppm;
    for (struct process *p = processes; p != NULL; p = p->next) {
        if (p->alive && p->machine == machine && p->loop != NULL && p->loop->waiting != NULL) {
            fiber_wake_soon(p->loop->waiting);
        }
    }
    world_tracef("clock of %s drifts by %" PRId32 " ppm", machine->name, ppm);
}

/* ---- the life of a process ---- */

static void *main_body(void *data)
{
    struct process *process = data;

    process->code = process->main_fn(process->data);
    process->how = PROCESS_RETURNED;
    ending = process;
    return NULL;
}

struct process *process_start(struct machine *machine, const char *name, int (*main_fn)(void *data), void *data)
{
    struct process *process = world_alloc(sizeof(*process));

    MQ_ASSERT(machine->power && fiber_current() == NULL);
    process->machine = machine;
    process->name = world_strdup(name);
    process->pid = ++n_processes;
    process->main_fn = main_fn;
    process->data = data;
    process->alive = true;
    process->slowness = 1;
    process->next_fd = 3;
    heap_init(&process->heap);
    list_init(&process->fibers);
    list_init(&process->socks);
    list_init(&process->pool_queue);
    list_init(&process->calls);
    *last_process = process;
    last_process = &process->next;
    world_tracef("start %s as p%" PRIu32, name, process->pid);
    fiber_wake_soon(thread_new(process, "main", main_body, process)->fiber);
    return process;
}

static void drop_calls(struct process *process)
{
    while (!list_empty(&process->calls)) {
        struct node *call = process->calls.next;

        list_remove(call);
        free(call);
    }
}

static void end_process(struct process *process, enum process_end how, int code)
{
    static const char *const words[] = {"returned", "exited", "killed", "lost power"};
    struct machine *machine = process->machine;

    process->alive = false;
    process->how = how;
    process->code = code;
    world_tracef("end of %s (p%" PRIu32 "): %s, code %d", process->name, process->pid, words[how], code);
    while (!list_empty(&process->fibers)) {
        struct thread *thread = (struct thread *)process->fibers.next;

        list_remove(&thread->node);
        fiber_free(thread->fiber);
        free(thread);
    }
    process->loop = NULL;
    net_process_gone(process);
    disk_process_gone(machine->disk, process);
    drop_calls(process);
    heap_free_all(&process->heap);
    if (machine->on_end != NULL) {
        machine->on_end(machine->on_end_data, process, how, code);
    }
}

void process_after_switch(void)
{
    struct process *process = ending;

    ending = NULL;
    if (process != NULL && process->alive) {
        end_process(process, process->how, process->code);
    }
}

void process_exit(int code)
{
    struct process *process = process_current();

    process->how = PROCESS_EXITED;
    process->code = code;
    ending = process;
    for (;;) {
        fiber_block();
    }
}

void process_kill(struct process *process)
{
    MQ_ASSERT(fiber_current() == NULL);
    if (process->alive) {
        end_process(process, PROCESS_KILLED, -1);
    }
}

bool process_alive(const struct process *process)
{
    return process->alive;
}

const char *process_name(const struct process *process)
{
    return process->name;
}

struct machine *process_machine(const struct process *process)
{
    return process->machine;
}

void *process_data(const struct process *process)
{
    return process->data;
}

struct process *process_current(void)
{
    struct fiber *fiber = fiber_current();

    return fiber != NULL ? fiber_process(fiber) : NULL;
}

size_t process_heap_bytes(const struct process *process)
{
    return process->heap.bytes;
}

/* ---- pauses and slowness ---- */

void process_pause(struct process *process)
{
    MQ_ASSERT(fiber_current() == NULL);
    if (process->alive && !process->paused) {
        process->paused = true;
        world_tracef("pause %s", process->name);
    }
}

void process_resume(struct process *process)
{
    MQ_ASSERT(fiber_current() == NULL);
    if (!process->paused) {
        return;
    }
    process->paused = false;
    world_tracef("resume %s", process->name);
    for (struct node *node = process->fibers.next; process->alive && node != &process->fibers; node = node->next) {
        fiber_release(((struct thread *)node)->fiber);
    }
}

bool process_paused(const struct process *process)
{
    return process->paused;
}

void process_set_slowness(struct process *process, uint32_t factor)
{
    process->slowness = factor != 0 ? factor : 1;
}

uint64_t process_turn_ns(struct process *process)
{
    return rng_between(world_rng(), TURN_MIN_NS, TURN_MAX_NS) * process->slowness;
}

void process_sleep(uint64_t ns)
{
    uint64_t until = world_now() + ns;

    MQ_ASSERT(fiber_current() != NULL);
    do {
        fiber_wake(fiber_current(), until);
        fiber_block();
    } while (world_now() < until);
}

/* ---- power ---- */

void machine_power_off(struct machine *machine)
{
    MQ_ASSERT(fiber_current() == NULL);
    if (!machine->power) {
        return;
    }
    world_tracef("power of %s off", machine->name);
    machine->power = false;
    net_machine_off(machine);
    for (struct process *p = processes; p != NULL; p = p->next) {
        if (p->alive && p->machine == machine) {
            end_process(p, PROCESS_LOST, -1);
        }
    }
    disk_power_off(machine->disk);
}

void machine_power_on(struct machine *machine)
{
    if (!machine->power) {
        machine->power = true;
        boot(machine);
        world_tracef("power of %s on", machine->name);
    }
}

/* ---- the end of the world ---- */

void world_close(void)
{
    MQ_ASSERT(fiber_current() == NULL);
    for (struct process *p = processes; p != NULL; p = p->next) {
        p->machine->on_end = NULL;
        if (p->alive) {
            end_process(p, PROCESS_KILLED, -1);
        }
    }
    net_close();
    while (processes != NULL) {
        struct process *p = processes;

        processes = p->next;
        free(p->name);
        free(p);
    }
    last_process = &processes;
    n_processes = 0;
    while (n_machines > 0) {
        struct machine *machine = machines[--n_machines];

        disk_free(machine->disk);
        free(machine->name);
        free(machine->address);
        free(machine);
    }
    world_end();
}

struct process *world_outside_begin(void)
{
    heap_use(heap_of_world());
    return process_current();
}

void world_outside_end(struct process *before)
{
    heap_use(before != NULL ? &before->heap : heap_of_world());
}
