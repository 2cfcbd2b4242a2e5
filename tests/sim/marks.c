#include "tests/sim/marks.h"

#include <string.h>

static uint64_t counts[MARKS];

const char *mark_text(enum mark mark)
{
    static const char *const texts[] = {
#define MARK(constant, text) text,
#include "tests/sim/marks.def"
#undef MARK
    };

    return texts[mark];
}

void mark(enum mark mark)
{
    counts[mark]++;
}

uint64_t mark_count(enum mark mark)
{
    return counts[mark];
}

void marks_reset(void)
{
    memset(counts, 0, sizeof(counts));
}
