#include "tests/sim/marks.h"

#include "remoting/base/assert.h"
#include "tests/sim/world/world.h"

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

/* How a log line of production code begins, and what it says about the run. */
static const struct {
    const char *start;
    enum mark mark;
} told[] = {
    {"finishing an interrupted truncation", MARK_CUT_FINISHED},
    {"cut a torn tail", MARK_TORN_CUT},
    {"a write has not ended", MARK_SILENT},
    {"%s/%s is bad or missing and is written anew", MARK_META_COPY_BAD},
};

static void on_line(const char *fmt)
{
    for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
        if (strncmp(fmt, told[i].start, strlen(told[i].start)) == 0) {
            mark(told[i].mark);
        }
    }
}

void marks_reset(void)
{
    world_on_line(on_line);
    memset(counts, 0, sizeof(counts));
}
