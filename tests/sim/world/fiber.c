/* Coroutines with stacks of their own. A fiber is only ever resumed by the scheduler and only ever gives way to it,
 * so the two know each other and nobody else. On x86-64 a switch saves what the calling convention asks for;
 * elsewhere ucontext does, at the price of two system calls. */
#include "tests/sim/world/inside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifndef WITH_ASAN
#define WITH_ASAN 0
#endif

#if WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define STACK_BYTES (1u << 20)
#else
#define STACK_BYTES (256u << 10)
#endif

#define GUARD_BYTES 4096u

/* At the upper end of its own memory. */
struct stack {
    struct stack *next;
    uint8_t *base; /* the guard; the stack lies above it */
};

#define STACK_USABLE ((size_t)STACK_BYTES - sizeof(struct stack))

struct fiber {
    struct process *process;
    const char *name;
    void *(*body)(void *data);
    void *data, *result;
    struct stack *stack;
    struct world_event wake;
    bool held; /* woken while the process was paused */
    bool done;
    void *context; /* stack pointer, or ucontext */
    void *fake;    /* the address sanitizer's */
};

static struct fiber *running;
static struct stack *spare;
static void *outside_context;

/* ---- what the address sanitizer wants to know of switches ---- */

#if WITH_ASAN

static void *outside_fake;
static const void *outside_stack;
static size_t outside_stack_bytes;

static void leave_outside(struct fiber *fiber)
{
    __sanitizer_start_switch_fiber(&outside_fake, fiber->stack->base + GUARD_BYTES, STACK_USABLE);
}

static void enter_outside(void)
{
    __sanitizer_finish_switch_fiber(outside_fake, NULL, NULL);
}

static void leave_fiber(struct fiber *fiber)
{
    __sanitizer_start_switch_fiber(fiber->done ? NULL : &fiber->fake, outside_stack, outside_stack_bytes);
}

static void enter_fiber(struct fiber *fiber)
{
    __sanitizer_finish_switch_fiber(fiber->fake, &outside_stack, &outside_stack_bytes);
}

#else

static void leave_outside(struct fiber *fiber)
{
    (void)fiber;
}

static void enter_outside(void)
{
}

static void leave_fiber(struct fiber *fiber)
{
    (void)fiber;
}

static void enter_fiber(struct fiber *fiber)
{
    (void)fiber;
}

#endif

/* ---- the switch ---- */

#if defined(__x86_64__) && !defined(SIM_UCONTEXT)

void sim_switch(void **from, void *to);
void sim_start(void);

__asm__(".text\n"
        ".globl sim_switch\n"
        ".type sim_switch,@function\n"
        "sim_switch:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size sim_switch,.-sim_switch\n"
        ".globl sim_start\n"
        ".type sim_start,@function\n"
        "sim_start:\n" /* the first return of a new fiber: r12 and r13 as make_context put them */
        "  movq %r12, %rdi\n"
        "  xorl %ebp, %ebp\n"
        "  callq *%r13\n"
        "  ud2\n"
        ".size sim_start,.-sim_start\n");

static void make_context(struct fiber *fiber, void (*entry)(struct fiber *fiber))
{
    uint64_t *top = (uint64_t *)(void *)fiber->stack - 2;

    *--top = (uint64_t)(uintptr_t)sim_start;
    *--top = 0; /* rbp */
    *--top = 0; /* rbx */
    *--top = (uint64_t)(uintptr_t)fiber;
    *--top = (uint64_t)(uintptr_t)entry;
    *--top = 0; /* r14 */
    *--top = 0; /* r15 */
    fiber->context = top;
}

static void free_context(struct fiber *fiber)
{
    (void)fiber;
}

static void switch_context(void **from, void **to)
{
    sim_switch(from, *to);
}

#else

#include <ucontext.h>

static void enter_context(unsigned high, unsigned low, unsigned entry_high, unsigned entry_low)
{
    struct fiber *fiber = (struct fiber *)(uintptr_t)(((uint64_t)high << 32) | low);
    void (*entry)(struct fiber *) = (void (*)(struct fiber *))(uintptr_t)(((uint64_t)entry_high << 32) | entry_low);

    entry(fiber);
}

static void make_context(struct fiber *fiber, void (*entry)(struct fiber *fiber))
{
    ucontext_t *context = world_alloc(sizeof(*context));
    uint64_t at = (uint64_t)(uintptr_t)fiber, to = (uint64_t)(uintptr_t)entry;

    getcontext(context);
    context->uc_stack.ss_sp = fiber->stack->base + GUARD_BYTES;
    context->uc_stack.ss_size = STACK_USABLE;
    makecontext(context, (void (*)(void))enter_context, 4, (unsigned)(at >> 32), (unsigned)at, (unsigned)(to >> 32),
                (unsigned)to);
    fiber->context = context;
}

static void free_context(struct fiber *fiber)
{
    free(fiber->context);
}

static void switch_context(void **from, void **to)
{
    static ucontext_t outside;

    if (*from == NULL) {
        *from = &outside;
    }
    swapcontext(*from, *to);
}

#endif

static void resume(struct fiber *fiber)
{
    struct heap *before = heap_use(&fiber->process->heap);

    running = fiber;
    leave_outside(fiber);
    switch_context(&outside_context, &fiber->context);
    enter_outside();
    running = NULL;
    heap_use(before);
    process_after_switch();
}

static void give_way(struct fiber *fiber)
{
    leave_fiber(fiber);
    switch_context(&fiber->context, &outside_context);
    enter_fiber(fiber);
}

static void first_entry(struct fiber *fiber)
{
    enter_fiber(fiber);
    fiber->result = fiber->body(fiber->data);
    fiber->done = true;
    for (;;) {
        give_way(fiber);
    }
}

/* ---- stacks ---- */

static struct stack *take_stack(void)
{
    struct stack *stack = spare;
    uint8_t *base;

    if (stack != NULL) {
        spare = stack->next;
        return stack;
    }
    base = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
    if (base == MAP_FAILED || mprotect(base, GUARD_BYTES, PROT_NONE) != 0) {
        fprintf(stderr, "sim: no memory for a stack\n");
        abort();
    }
    stack = (struct stack *)(void *)(base + GUARD_BYTES + STACK_USABLE);
    stack->base = base;
    return stack;
}

static void give_stack(struct stack *stack)
{
#if WITH_ASAN
    __asan_unpoison_memory_region(stack->base + GUARD_BYTES, STACK_USABLE);
#endif
    stack->next = spare;
    spare = stack;
}

void fiber_pool_trim(void)
{
    while (spare != NULL) {
        struct stack *stack = spare;

        spare = stack->next;
        munmap(stack->base, GUARD_BYTES + STACK_BYTES);
    }
}

/* ---- life ---- */

struct fiber *fiber_new(struct process *process, const char *name, void *(*body)(void *data), void *data)
{
    struct fiber *fiber = world_alloc(sizeof(*fiber));

    fiber->process = process;
    fiber->name = name;
    fiber->body = body;
    fiber->data = data;
    fiber->stack = take_stack();
    make_context(fiber, first_entry);
    return fiber;
}

void fiber_free(struct fiber *fiber)
{
    world_cancel(&fiber->wake);
    free_context(fiber);
    give_stack(fiber->stack);
    free(fiber);
}

struct fiber *fiber_current(void)
{
    return running;
}

bool fiber_done(const struct fiber *fiber)
{
    return fiber->done;
}

void *fiber_result(const struct fiber *fiber)
{
    return fiber->result;
}

const char *fiber_name(const struct fiber *fiber)
{
    return fiber->name;
}

struct process *fiber_process(const struct fiber *fiber)
{
    return fiber->process;
}

/* ---- waiting ---- */

static void on_wake(struct world_event *event)
{
    struct fiber *fiber = (struct fiber *)((uint8_t *)event - offsetof(struct fiber, wake));

    if (fiber->process->paused) {
        fiber->held = true;
        return;
    }
    resume(fiber);
}

void fiber_block(void)
{
    give_way(running);
}

void fiber_wake(struct fiber *fiber, uint64_t at_ns)
{
    if (!fiber->done && (fiber->wake.slot == 0 || fiber->wake.at_ns > at_ns)) {
        world_at(&fiber->wake, at_ns, on_wake);
    }
}

void fiber_wake_soon(struct fiber *fiber)
{
    fiber_wake(fiber, world_now() + process_turn_ns(fiber->process));
}

void fiber_set_alarm(struct fiber *fiber, uint64_t at_ns)
{
    if (at_ns == UINT64_MAX) {
        world_cancel(&fiber->wake);
    } else {
        world_at(&fiber->wake, at_ns, on_wake);
    }
}

void fiber_release(struct fiber *fiber)
{
    if (fiber->held) {
        fiber->held = false;
        fiber_wake_soon(fiber);
    }
}
