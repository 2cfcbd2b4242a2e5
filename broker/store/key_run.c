#include "broker/store/key_run.h"

#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#define FIRST_CAP 4096u

void key_run_begin(struct key_run *run, uint64_t begin)
{
    run->range = (struct key_range){.begin = begin, .end = begin};
    run->entry_end = begin;
}

void key_run_free(struct key_run *run)
{
    mq_free(run->hashes);
    mq_free(run->offsets);
    mq_free(run->marks);
    *run = (struct key_run){0};
}

bool key_run_has_room(const struct key_run *run, uint64_t end, int64_t store_ms)
{
    const struct key_range *range = &run->range;

    return range->keys < KEY_RUN_KEYS && end - range->begin <= UINT32_MAX &&
           (range->first_ms == 0 || store_ms - range->first_ms <= UINT32_MAX);
}

void key_run_enter(struct key_run *run, uint64_t entry, uint32_t prev_crc, int64_t store_ms)
{
    struct key_range *range = &run->range;

    if (range->entries == 0) {
        range->prev_crc = prev_crc;
    }
    if (store_ms != 0) {
        range->first_ms = range->first_ms != 0 ? range->first_ms : store_ms;
        range->last_ms = store_ms;
    }
    range->last_entry = entry;
}

static int grow_keys(struct key_run *run)
{
    uint32_t cap = run->keys_cap != 0 ? run->keys_cap * 2 : FIRST_CAP;
    uint32_t *hashes = mq_realloc(run->hashes, cap * sizeof(*hashes));
    uint32_t *offsets;

    if (hashes == NULL) {
        return MQ_ENOMEM;
    }
    run->hashes = hashes;
    offsets = mq_realloc(run->offsets, cap * sizeof(*offsets));
    if (offsets == NULL) {
        return MQ_ENOMEM;
    }
    run->offsets = offsets;
    run->keys_cap = cap;
    return 0;
}

static int add_mark(struct key_run *run, uint32_t offset)
{
    struct key_range *range = &run->range;

    if (range->marks == run->marks_cap) {
        uint32_t cap = run->marks_cap != 0 ? run->marks_cap * 2 : FIRST_CAP / KEY_MARK_KEYS;
        struct key_mark *marks = mq_realloc(run->marks, cap * sizeof(*marks));

        if (marks == NULL) {
            return MQ_ENOMEM;
        }
        run->marks = marks;
        run->marks_cap = cap;
    }
    run->marks[range->marks++] = (struct key_mark){offset, (uint32_t)(range->last_ms - range->first_ms)};
    return 0;
}

int key_run_add(struct key_run *run, uint32_t hash, uint64_t pos)
{
    struct key_range *range = &run->range;
    uint32_t offset = (uint32_t)(pos - range->begin);
    int rc = 0;

    if (range->keys == run->keys_cap) {
        rc = grow_keys(run);
    }
    if (rc == 0 && range->keys % KEY_MARK_KEYS == 0) {
        rc = add_mark(run, offset);
    }
    if (rc != 0) {
        return rc;
    }
    run->hashes[range->keys] = hash;
    run->offsets[range->keys] = offset;
    range->keys++;
    range->last_record = pos;
    range->last_record_ms = range->last_ms;
    return 0;
}

void key_run_leave(struct key_run *run, uint64_t end, uint32_t crc)
{
    run->range.entries++;
    run->range.end = run->entry_end = end;
    run->range.last_crc = crc;
}

void key_run_give_up(struct key_run *run, const struct key_range *before)
{
    run->range = *before;
}

/* --- finding --- */

bool key_found_add(struct key_found *found, uint64_t pos)
{
    if (found->n != 0 && found->pos[found->n - 1] == pos) {
        return true; /* a record that has a key twice */
    }
    if (found->n == KEY_FOUND_MAX) {
        return false;
    }
    found->pos[found->n++] = pos;
    return true;
}

bool key_range_meets(const struct key_range *range, const struct key_want *want)
{
    return range->keys != 0 && range->begin < want->below && range->first_ms <= want->end_ms &&
           range->last_ms >= want->begin_ms;
}

void key_marks_clip(const struct key_range *range, const struct key_mark *marks, const struct key_want *want,
                    uint32_t *low, uint32_t *high)
{
    uint64_t end = range->end - range->begin;

    *low = 0;
    *high = end < UINT32_MAX ? (uint32_t)end : UINT32_MAX;
    if (want->below < range->end) {
        *high = (uint32_t)(want->below - range->begin);
    }
    for (uint32_t i = 0; i < range->marks; i++) {
        int64_t ms = range->first_ms + marks[i].ms;

        if (ms < want->begin_ms) {
            *low = marks[i].offset;
        } else if (ms > want->end_ms) {
            *high = marks[i].offset < *high ? marks[i].offset : *high;
            return;
        }
    }
}

bool key_run_find(const struct key_run *run, const struct key_want *want, struct key_found *found)
{
    const struct key_range *range = &run->range;
    uint32_t low, high;

    if (!key_range_meets(range, want)) {
        return true;
    }
    key_marks_clip(range, run->marks, want, &low, &high);
    /* Not stopped by an offset below @low: those of a run that was loaded are in order for each hash alone. */
    for (uint32_t i = range->keys; i-- != 0;) {
        if (run->hashes[i] == want->hash && run->offsets[i] >= low && run->offsets[i] < high &&
            !key_found_add(found, range->begin + run->offsets[i])) {
            return false;
        }
    }
    return true;
}
