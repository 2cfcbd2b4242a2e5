#include "tests/sim/world/world.h"

#include "tests/sim/world/inside.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 8192u /* kept for printing */
#define TEXT_MAX 232u
#define TRACE_ALL_BYTES 512u /* hashed as a whole */
#define TRACE_WORDS 32u

struct line {
    uint64_t at_ns, event;
    uint32_t pid;
    const char *what; /* NULL: text */
    uint64_t a, b;
    char text[TEXT_MAX];
};

/* When an event fires, beside it: what is compared lies together. */
struct waiting {
    uint64_t at_ns, serial;
    struct world_event *event;
};

static struct {
    uint64_t seed, now_ns, serial, events;
    struct rng rng;
    struct waiting *heap; /* heap[1] is the first */
    size_t n, cap;
    bool failed;
    char failure[1024];
    uint64_t hash;
    struct line *lines;
    uint64_t n_lines;
} w;

static FILE *trace_to;

/* ---- random numbers: xoroshiro128+ seeded by splitmix64 ---- */

static uint64_t mix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

void rng_seed(struct rng *rng, uint64_t seed, uint64_t stream)
{
    uint64_t at = stream;
    uint64_t from = seed ^ mix(&at);

    rng->state[0] = mix(&from);
    rng->state[1] = mix(&from) | 1;
}

static uint64_t rotate(uint64_t x, unsigned k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t rng_next(struct rng *rng)
{
    uint64_t a = rng->state[0], b = rng->state[1];
    uint64_t result = a + b;

    b ^= a;
    rng->state[0] = rotate(a, 24) ^ b ^ (b << 16);
    rng->state[1] = rotate(b, 37);
    return result;
}

uint64_t rng_below(struct rng *rng, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)rng_next(rng) * n) >> 64);
}

uint64_t rng_between(struct rng *rng, uint64_t low, uint64_t high)
{
    return high > low ? low + rng_below(rng, high - low + 1) : low;
}

bool rng_chance(struct rng *rng, uint32_t ppm)
{
    return ppm != 0 && rng_below(rng, PPM) < ppm;
}

struct rng *world_rng(void)
{
    return &w.rng;
}

/* ---- events ---- */

static bool before(const struct waiting *a, const struct waiting *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->serial < b->serial);
}

static void place(struct waiting waiting, size_t slot)
{
    w.heap[slot] = waiting;
    waiting.event->slot = slot;
}

static void sift_up(struct waiting waiting, size_t slot)
{
    while (slot > 1 && before(&waiting, &w.heap[slot / 2])) {
        place(w.heap[slot / 2], slot);
        slot /= 2;
    }
    place(waiting, slot);
}

static void sift_down(struct waiting waiting, size_t slot)
{
    for (;;) {
        size_t child = slot * 2;

        if (child + 1 <= w.n && before(&w.heap[child + 1], &w.heap[child])) {
            child++;
        }
        if (child > w.n || !before(&w.heap[child], &waiting)) {
            break;
        }
        place(w.heap[child], slot);
        slot = child;
    }
    place(waiting, slot);
}

static void resift(struct waiting waiting, size_t slot)
{
    if (slot > 1 && before(&waiting, &w.heap[slot / 2])) {
        sift_up(waiting, slot);
    } else {
        sift_down(waiting, slot);
    }
}

void world_at(struct world_event *event, uint64_t at_ns, void (*cb)(struct world_event *event))
{
    struct waiting waiting = {at_ns > w.now_ns ? at_ns : w.now_ns, ++w.serial, event};

    event->at_ns = waiting.at_ns;
    event->serial = waiting.serial;
    event->cb = cb;
    if (event->slot != 0) {
        resift(waiting, event->slot);
        return;
    }
    if (w.n + 1 >= w.cap) {
        size_t cap = w.cap == 0 ? 256 : w.cap * 2;
        struct waiting *heap = world_alloc(cap * sizeof(heap[0]));

        if (w.heap != NULL) {
            memcpy(heap, w.heap, (w.n + 1) * sizeof(heap[0]));
        }
        free(w.heap);
        w.heap = heap;
        w.cap = cap;
    }
    sift_up(waiting, ++w.n);
}

void world_cancel(struct world_event *event)
{
    size_t slot = event->slot;
    struct waiting last;

    if (slot == 0) {
        return;
    }
    event->slot = 0;
    last = w.heap[w.n--];
    if (last.event != event) {
        resift(last, slot);
    }
}

bool world_step(void)
{
    struct world_event *event;

    if (w.n == 0 || w.failed) {
        return false;
    }
    event = w.heap[1].event;
    world_cancel(event);
    w.now_ns = event->at_ns;
    w.events++;
    event->cb(event);
    return !w.failed;
}

bool world_run_until(uint64_t at_ns)
{
    while (!w.failed && w.n > 0 && w.heap[1].at_ns <= at_ns) {
        world_step();
    }
    if (!w.failed && w.now_ns < at_ns) {
        w.now_ns = at_ns;
    }
    return !w.failed;
}

uint64_t world_events(void)
{
    return w.events;
}

/* ---- life ---- */

void world_open(uint64_t seed)
{
    struct line *lines = w.lines;

    memset(&w, 0, sizeof(w));
    w.seed = seed;
    w.hash = seed;
    w.lines = lines != NULL ? lines : world_alloc(LINES_MAX * sizeof(lines[0]));
    rng_seed(&w.rng, seed, 0);
    net_open();
    crash_watch();
}

void world_end(void)
{
    free(w.heap);
    w.heap = NULL;
    w.n = w.cap = 0;
}

uint64_t world_seed(void)
{
    return w.seed;
}

uint64_t world_now(void)
{
    return w.now_ns;
}

/* ---- trace ---- */

static void mix_in(uint64_t x)
{
    w.hash = (rotate(w.hash, 27) ^ x) * UINT64_C(0x9E3779B97F4A7C15);
}

/* Of much, some: what differs anywhere will differ here soon. */
void world_trace_bytes(const void *bytes, size_t n)
{
    size_t step = n > TRACE_ALL_BYTES ? n / TRACE_WORDS : sizeof(uint64_t);
    const uint8_t *at = bytes;
    const size_t all = n;
    uint64_t word;

    for (size_t left = n; left >= sizeof(word); left -= step < left ? step : left, at += step) {
        memcpy(&word, at, sizeof(word));
        mix_in(word);
    }
    word = 0;
    n = n < sizeof(word) ? n : sizeof(word);
    memcpy(&word, (const uint8_t *)bytes + all - n, n); /* the end */
    mix_in(word);
    mix_in(all);
}

static void print_line(FILE *to, const struct line *line)
{
    fprintf(to, "%12.6f #%-8" PRIu64 " p%-3" PRIu32 " ", (double)line->at_ns / 1e9, line->event, line->pid);
    if (line->what != NULL) {
        fprintf(to, "%s %" PRIu64 " %" PRIu64 "\n", line->what, line->a, line->b);
    } else {
        fprintf(to, "%s\n", line->text);
    }
}

static struct line *next_line(void)
{
    struct line *line = &w.lines[w.n_lines++ % LINES_MAX];
    const struct process *process = process_current();

    line->at_ns = w.now_ns;
    line->event = w.events;
    line->pid = process != NULL ? process->pid : 0;
    line->what = NULL;
    mix_in(w.now_ns ^ ((uint64_t)line->pid << 48));
    return line;
}

void world_trace(const char *what, uint64_t a, uint64_t b)
{
    struct line *line = next_line();

    line->what = what;
    line->a = a;
    line->b = b;
    world_trace_bytes(what, strlen(what));
    mix_in(a);
    mix_in(b);
    if (trace_to != NULL) {
        print_line(trace_to, line);
    }
}

void world_tracef(const char *fmt, ...)
{
    struct line *line = next_line();
    va_list args;

    va_start(args, fmt);
    vsnprintf(line->text, sizeof(line->text), fmt, args);
    va_end(args);
    world_trace_bytes(line->text, strlen(line->text));
    if (trace_to != NULL) {
        print_line(trace_to, line);
    }
}

uint64_t world_trace_hash(void)
{
    return w.hash;
}

void world_trace_print(FILE *to, size_t lines)
{
    uint64_t kept = w.n_lines < LINES_MAX ? w.n_lines : LINES_MAX;
    uint64_t first = w.n_lines - (lines < kept ? lines : kept);

    for (uint64_t i = first; i < w.n_lines; i++) {
        print_line(to, &w.lines[i % LINES_MAX]);
    }
}

void world_trace_to(FILE *to)
{
    trace_to = to;
}

/* ---- failure ---- */

void world_fail(const char *fmt, ...)
{
    va_list args;

    if (!w.failed) {
        va_start(args, fmt);
        vsnprintf(w.failure, sizeof(w.failure), fmt, args);
        va_end(args);
        w.failed = true;
        world_tracef("FAILED: %s", w.failure);
    }
    while (fiber_current() != NULL) {
        fiber_block(); /* the scheduler does not come back */
    }
}

const char *world_failure(void)
{
    return w.failed ? w.failure : NULL;
}
