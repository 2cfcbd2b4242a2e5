/* The threads of a process: fibers behind the names of pthread. */
#ifndef SIM_THREADS_H
#define SIM_THREADS_H

#include "tests/sim/world/inside.h"

struct thread {
    struct node node; /* in process->fibers */
    struct fiber *fiber;
    struct fiber *joiner;
    bool detached;
};

/* A fiber of @process that goes when the process does. */
struct thread *thread_new(struct process *process, const char *name, void *(*body)(void *data), void *data);

#endif
