/* Things that have to happen in some seed. Counted in the run, added up by the runner. */
#ifndef SIM_MARKS_H
#define SIM_MARKS_H

#include <stdint.h>

enum mark {
#define MARK(constant, text) MARK_##constant,
#include "tests/sim/marks.def"
#undef MARK
    MARKS
};

const char *mark_text(enum mark mark);

/* It happened in this run. */
void mark(enum mark mark);
/* How often in this run. */
uint64_t mark_count(enum mark mark);
/* A run begins. */
void marks_reset(void);

#endif
