/* The two clocks. Durations use the monotonic one; only what leaves the process or is stored uses the wall. */
#ifndef MQ_BASE_CLOCK_H
#define MQ_BASE_CLOCK_H

#include <stdint.h>

uint64_t mq_clock_mono_ns(void);
uint64_t mq_clock_mono_ms(void);
int64_t mq_clock_wall_ms(void); /* since 1970 */

#endif
