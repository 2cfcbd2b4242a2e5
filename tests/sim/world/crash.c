/* When the program itself dies (a segment fault in production code, a sanitizer's finding), the seed and the last
 * lines of the trace still come out. On a stack of its own: the fault may be that a fiber's is full. */
#include "tests/sim/world/inside.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#define LAST_LINES 60
#define STACK_BYTES (64u << 10)

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

static void print_last(void)
{
    const struct process *process = process_current();

    fprintf(stderr, "the simulation crashed: seed %" PRIu64 ", at %" PRIu64 " ns, event %" PRIu64 ", in %s\n",
            world_seed(), world_now(), world_events(), process != NULL ? process_name(process) : "the world");
    world_trace_print(stderr, LAST_LINES);
}

#ifdef WITH_ASAN

#include <sanitizer/common_interface_defs.h>

void crash_watch(void)
{
    __sanitizer_set_death_callback(print_last);
}

#else

static void on_signal(int number)
{
    print_last();
    raise(number); /* as the first time: the handler was for one */
}

void crash_watch(void)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    static uint8_t stack[STACK_BYTES];
    stack_t alternative = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | (int)SA_RESETHAND | SA_NODEFER};

    sigaltstack(&alternative, NULL);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        sigaction(numbers[i], &action, NULL);
    }
}

#endif
