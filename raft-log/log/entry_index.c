#include "raft-log/log/entry_index.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#define CHUNK_ENTRIES 4096u
#define CAP_MIN 16u

void entry_index_init(struct entry_index *index)
{
    *index = (struct entry_index){0};
}

void entry_index_fini(struct entry_index *index)
{
    for (size_t i = 0; i < index->n_chunks; i++) {
        mq_free(index->chunks[i]);
    }
    mq_free(index->chunks);
    mq_free(index->runs);
    *index = (struct entry_index){0};
}

/* Makes room for element @n of an array that grows by doubling. */
static int grow(void **array, size_t *cap, size_t n, size_t bytes)
{
    size_t more = *cap == 0 ? CAP_MIN : *cap * 2;
    void *moved;

    if (n < *cap) {
        return 0;
    }
    moved = mq_realloc(*array, more * bytes);
    if (moved == NULL) {
        return MQ_ENOMEM;
    }
    *array = moved;
    *cap = more;
    return 0;
}

int entry_index_reserve(struct entry_index *index)
{
    uint64_t *chunk;
    int rc;

    rc = grow((void **)&index->runs, &index->runs_cap, index->n_runs, sizeof(index->runs[0]));
    if (rc != 0 || index->last_index / CHUNK_ENTRIES < index->n_chunks) {
        return rc;
    }
    rc = grow((void **)&index->chunks, &index->chunks_cap, index->n_chunks, sizeof(index->chunks[0]));
    if (rc != 0) {
        return rc;
    }
    chunk = mq_malloc(CHUNK_ENTRIES * sizeof(*chunk));
    if (chunk == NULL) {
        return MQ_ENOMEM;
    }
    index->chunks[index->n_chunks++] = chunk;
    return 0;
}

void entry_index_append(struct entry_index *index, uint64_t pos, uint64_t term)
{
    uint64_t slot = index->last_index; /* entry 1 has slot 0 */
    uint64_t last_term = index->n_runs != 0 ? index->runs[index->n_runs - 1].term : 0;

    MQ_ASSERT(slot / CHUNK_ENTRIES < index->n_chunks && index->n_runs < index->runs_cap);
    MQ_ASSERT(term >= last_term);
    index->chunks[slot / CHUNK_ENTRIES][slot % CHUNK_ENTRIES] = pos;
    index->last_index++;
    if (index->n_runs == 0 || term != last_term) {
        index->runs[index->n_runs++] = (struct entry_term_run){index->last_index, term};
    }
}

uint64_t entry_index_pos(const struct entry_index *index, uint64_t i)
{
    MQ_ASSERT(i >= 1 && i <= index->last_index);
    return index->chunks[(i - 1) / CHUNK_ENTRIES][(i - 1) % CHUNK_ENTRIES];
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
    MQ_ASSERT(i >= 1 && i <= index->last_index);
    return index->runs[runs_up_to(index, i) - 1].term;
}

void entry_index_truncate(struct entry_index *index, uint64_t i)
{
    MQ_ASSERT(i >= 1);
    if (i <= index->last_index) {
        index->n_runs = runs_up_to(index, i - 1);
        index->last_index = i - 1;
    }
}
