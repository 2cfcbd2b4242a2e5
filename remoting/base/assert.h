/* Assertions about our own mistakes. They stay on in release builds: a broker that has lost track of its own
 * state must not acknowledge. Bytes from a socket or a disk are checked and answered, never asserted. */
#ifndef MQ_BASE_ASSERT_H
#define MQ_BASE_ASSERT_H

#include <stddef.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Prints file, line and the condition on stderr and aborts. */
_Noreturn void mq_assert_failed(const char *file, int line, const char *condition);

#define MQ_ASSERT(cond)                                                                                              \
    do {                                                                                                             \
        if (__builtin_expect(!(cond), 0)) {                                                                          \
            mq_assert_failed(__FILE__, __LINE__, #cond);                                                             \
        }                                                                                                            \
    } while (0)

#endif
