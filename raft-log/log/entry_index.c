#include "raft-log/log/entry_index.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <string.h>

#define CHUNK_ENTRIES 4096u
#define CAP_MIN 16u

void entry_index_init(struct entry_index *index)
{
    *index = (struct entry_index){.first_index = 1};
}

void entry_index_fini(struct entry_index *index)
{
    for (size_t i = 0; i < index->n_chunks; i++) {
        mq_free(index->chunks[i]);
    }
    mq_free(index->chunks);
    mq_free(index->runs);
    mq_free(index->changes);
    entry_index_init(index);
}

void entry_index_begin(struct entry_index *index, uint64_t base)
{
    entry_index_fini(index);
    index->first_index = base + 1;
    index->last_index = base;
}

/* Makes room for element @n of an array that grows by doubling. */
static int grow(void **array, size_t *cap, size_t n, size_t bytes)
{
    size_t more = *cap == 0 ? CAP_MIN : *cap;
    void *moved;

    if (n < *cap) {
        return 0;
    }
    while (more <= n) {
        more *= 2;
    }
    moved = mq_realloc(*array, more * bytes);
    if (moved == NULL) {
        return MQ_ENOMEM;
    }
    *array = moved;
    *cap = more;
    return 0;
}

/* Room for a run and a change at the end, besides what was promised at the front. */
static int grow_lists(struct entry_index *index, size_t runs, size_t changes)
{
    int rc = grow((void **)&index->runs, &index->runs_cap, index->n_runs + runs, sizeof(index->runs[0]));

    return rc != 0 ? rc
                   : grow((void **)&index->changes, &index->changes_cap, index->n_changes + changes,
                          sizeof(index->changes[0]));
}

static bool has_chunk(const struct entry_index *index, uint64_t number)
{
    return number >= index->first_chunk && number - index->first_chunk < index->n_chunks;
}

/* Adds the chunk behind the last one, or the one before the first. */
static int add_chunk(struct entry_index *index, bool at_end)
{
    uint64_t *chunk;
    int rc = grow((void **)&index->chunks, &index->chunks_cap, index->n_chunks, sizeof(index->chunks[0]));

    if (rc != 0) {
        return rc;
    }
    chunk = mq_malloc(CHUNK_ENTRIES * sizeof(*chunk));
    if (chunk == NULL) {
        return MQ_ENOMEM;
    }
    if (at_end) {
        index->chunks[index->n_chunks] = chunk;
    } else {
        memmove(&index->chunks[1], &index->chunks[0], index->n_chunks * sizeof(index->chunks[0]));
        index->chunks[0] = chunk;
        index->first_chunk--;
    }
    index->n_chunks++;
    return 0;
}

int entry_index_reserve(struct entry_index *index)
{
    uint64_t number = (index->last_index + 1) / CHUNK_ENTRIES;
    int rc = grow_lists(index, index->runs_promised, index->changes_promised);

    if (rc != 0 || has_chunk(index, number)) {
        return rc;
    }
    if (index->n_chunks == 0) {
        index->first_chunk = number;
    }
    return add_chunk(index, true);
}

static uint64_t *slot_of(const struct entry_index *index, uint64_t i)
{
    MQ_ASSERT(has_chunk(index, i / CHUNK_ENTRIES));
    return &index->chunks[i / CHUNK_ENTRIES - index->first_chunk][i % CHUNK_ENTRIES];
}

void entry_index_append(struct entry_index *index, uint64_t pos, uint64_t term)
{
    uint64_t last_term = index->n_runs != 0 ? index->runs[index->n_runs - 1].term : 0;

    MQ_ASSERT(index->n_runs < index->runs_cap && term >= last_term);
    *slot_of(index, ++index->last_index) = pos;
    if (index->n_runs == 0 || term != last_term) {
        index->runs[index->n_runs++] = (struct entry_term_run){index->last_index, term};
    }
}

void entry_index_note_change(struct entry_index *index)
{
    MQ_ASSERT(index->n_changes < index->changes_cap);
    index->changes[index->n_changes++] = index->last_index;
}

int entry_index_promise(struct entry_index *index, uint64_t n, uint64_t terms)
{
    uint64_t lowest = (index->first_index - n) / CHUNK_ENTRIES;
    int rc;

    MQ_ASSERT(n >= 1 && n < index->first_index && index->runs_promised == 0);
    rc = grow_lists(index, (size_t)terms, ENTRY_INDEX_PREPEND_CHANGES_MAX);
    if (index->n_chunks == 0) {
        index->first_chunk = index->first_index / CHUNK_ENTRIES + 1;
    }
    while (rc == 0 && index->first_chunk > lowest) {
        rc = add_chunk(index, false);
    }
    if (rc == 0) {
        index->runs_promised = (size_t)terms;
        index->changes_promised = ENTRY_INDEX_PREPEND_CHANGES_MAX;
    }
    return rc;
}

void entry_index_promise_end(struct entry_index *index)
{
    index->runs_promised = index->changes_promised = 0;
}

void entry_index_prepend(struct entry_index *index, uint64_t pos, uint64_t term, bool change)
{
    *slot_of(index, --index->first_index) = pos;
    MQ_ASSERT(index->n_runs == 0 || term <= index->runs[0].term);
    if (index->n_runs != 0 && index->runs[0].term == term) {
        index->runs[0].first_index = index->first_index;
    } else {
        MQ_ASSERT(index->n_runs < index->runs_cap);
        memmove(&index->runs[1], &index->runs[0], index->n_runs * sizeof(index->runs[0]));
        index->runs[0] = (struct entry_term_run){index->first_index, term};
        index->n_runs++;
    }
    if (change) {
        MQ_ASSERT(index->n_changes < index->changes_cap);
        memmove(&index->changes[1], &index->changes[0], index->n_changes * sizeof(index->changes[0]));
        index->changes[0] = index->first_index;
        index->n_changes++;
    }
}

uint64_t entry_index_pos(const struct entry_index *index, uint64_t i)
{
    MQ_ASSERT(i >= index->first_index && i <= index->last_index);
    return *slot_of(index, i);
}

/* Number of runs that begin at or before @i. Most questions are about the newest entries: those are answered first.
 */
static size_t runs_up_to(const struct entry_index *index, uint64_t i)
{
    size_t low = 0, high = index->n_runs;

    if (high != 0 && index->runs[high - 1].first_index <= i) {
        return high;
    }
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (index->runs[mid].first_index <= i) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

uint64_t entry_index_term(const struct entry_index *index, uint64_t i)
{
    MQ_ASSERT(i >= index->first_index && i <= index->last_index);
    return index->runs[runs_up_to(index, i) - 1].term;
}

uint64_t entry_index_term_end(const struct entry_index *index, uint64_t i)
{
    size_t n;

    MQ_ASSERT(i >= index->first_index && i <= index->last_index);
    n = runs_up_to(index, i);
    return n < index->n_runs ? index->runs[n].first_index - 1 : index->last_index;
}

uint64_t entry_index_from_pos(const struct entry_index *index, uint64_t pos)
{
    uint64_t low = index->first_index, high = index->last_index + 1;

    while (low < high) {
        uint64_t mid = low + (high - low) / 2;

        if (entry_index_pos(index, mid) < pos) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

uint64_t entry_index_change_before(const struct entry_index *index, uint64_t i)
{
    size_t n = index->n_changes;

    while (n != 0 && index->changes[n - 1] > i) {
        n--;
    }
    return n != 0 ? index->changes[n - 1] : 0;
}

void entry_index_truncate(struct entry_index *index, uint64_t i)
{
    MQ_ASSERT(i >= index->first_index);
    if (i > index->last_index) {
        return;
    }
    index->n_runs = runs_up_to(index, i - 1);
    while (index->n_changes != 0 && index->changes[index->n_changes - 1] >= i) {
        index->n_changes--;
    }
    index->last_index = i - 1;
}

/* Removes the first @drop of @n elements. */
static void drop_front(void *array, size_t *n, size_t drop, size_t bytes)
{
    if (drop != 0) {
        memmove(array, (uint8_t *)array + drop * bytes, (*n - drop) * bytes);
        *n -= drop;
    }
}

void entry_index_trim(struct entry_index *index, uint64_t i)
{
    size_t chunks = 0, runs, changes = 0;

    MQ_ASSERT(i >= index->first_index && i <= index->last_index + 1);
    while (chunks < index->n_chunks && index->first_chunk + chunks < i / CHUNK_ENTRIES) {
        mq_free(index->chunks[chunks++]);
    }
    drop_front(index->chunks, &index->n_chunks, chunks, sizeof(index->chunks[0]));
    index->first_chunk += chunks;
    runs = i > index->last_index ? index->n_runs : runs_up_to(index, i);
    runs -= i > index->last_index || runs == 0 ? 0 : 1; /* the run that holds @i goes on from there */
    drop_front(index->runs, &index->n_runs, runs, sizeof(index->runs[0]));
    if (index->n_runs != 0 && index->runs[0].first_index < i) {
        index->runs[0].first_index = i;
    }
    while (changes < index->n_changes && index->changes[changes] < i) {
        changes++;
    }
    drop_front(index->changes, &index->n_changes, changes, sizeof(index->changes[0]));
    index->first_index = i;
}
