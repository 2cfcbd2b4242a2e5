#include "raft-log/log/entry_index.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <string.h>

#define CHUNK_ENTRIES 4096u
#define CAP_MIN 16u

void entry_index_init(struct entry_index *index, const struct index_source *source)
{
    *index = (struct entry_index){.blocks.source = source, .first_index = 1, .own_index = 1};
}

static void free_chunks(struct entry_index *index, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mq_free(index->chunks[i]);
    }
}

void entry_index_fini(struct entry_index *index)
{
    free_chunks(index, index->n_chunks);
    mq_free(index->chunks);
    mq_free(index->runs);
    mq_free(index->changes);
    index_blocks_clear(&index->blocks);
    entry_index_init(index, index->blocks.source);
}

void entry_index_begin(struct entry_index *index, uint64_t base)
{
    entry_index_fini(index);
    index->first_index = index->own_index = base + 1;
    index->last_index = base;
}

/* ---- room ---- */

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

/* Room for @n more CHANGE entries, besides those that were promised. */
static int grow_changes(struct entry_index *index, size_t n)
{
    return grow((void **)&index->changes, &index->changes_cap, index->n_changes + index->changes_promised + n,
                sizeof(index->changes[0]));
}

static bool has_chunk(const struct entry_index *index, uint64_t number)
{
    return number >= index->first_chunk && number - index->first_chunk < index->n_chunks;
}

/* Adds the chunk behind the last one. */
static int add_chunk(struct entry_index *index)
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
    index->chunks[index->n_chunks++] = chunk;
    return 0;
}

int entry_index_reserve(struct entry_index *index)
{
    uint64_t number = (index->last_index + 1) / CHUNK_ENTRIES;
    int rc = grow((void **)&index->runs, &index->runs_cap, index->n_runs, sizeof(index->runs[0]));

    if (rc == 0) {
        rc = grow_changes(index, 1);
    }
    if (rc != 0 || has_chunk(index, number)) {
        return rc;
    }
    if (index->n_chunks == 0) {
        index->first_chunk = number;
    }
    return add_chunk(index);
}

int entry_index_reserve_block(struct entry_index *index)
{
    return index_blocks_reserve(&index->blocks, 1);
}

int entry_index_promise(struct entry_index *index, uint64_t n, uint64_t bytes)
{
    uint64_t blocks = n / INDEX_BLOCK_WALKED_MAX + bytes / index->blocks.source->segment_bytes + 3;
    size_t terms = n < ENTRY_INDEX_PREPEND_TERMS ? (size_t)n : ENTRY_INDEX_PREPEND_TERMS;
    int rc;

    MQ_ASSERT(n >= 1 && n < index->first_index && index->changes_promised == 0);
    blocks = blocks < n ? blocks : n;
    blocks += terms;
    rc = index_blocks_reserve(&index->blocks, (size_t)blocks);
    if (rc == 0) {
        rc = grow_changes(index, ENTRY_INDEX_PREPEND_CHANGES_MAX);
    }
    if (rc == 0) {
        index->blocks.promised = (size_t)blocks;
        index->blocks.terms_to_come = terms;
        index->changes_promised = ENTRY_INDEX_PREPEND_CHANGES_MAX;
    }
    return rc;
}

void entry_index_promise_end(struct entry_index *index)
{
    index->blocks.promised = index->blocks.terms_to_come = index->changes_promised = 0;
}

/* ---- questions ---- */

static uint64_t *slot_of(const struct entry_index *index, uint64_t i)
{
    MQ_ASSERT(has_chunk(index, i / CHUNK_ENTRIES));
    return &index->chunks[i / CHUNK_ENTRIES - index->first_chunk][i % CHUNK_ENTRIES];
}

uint64_t entry_index_pos(const struct entry_index *index, uint64_t i)
{
    MQ_ASSERT(i >= index->first_index && i <= index->last_index);
    return i >= index->own_index ? *slot_of(index, i) : index_blocks_pos(&index->blocks, i);
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
    return i >= index->own_index ? index->runs[runs_up_to(index, i) - 1].term : index_blocks_term(&index->blocks, i);
}

/* The end of the run before run @n. */
static uint64_t run_end(const struct entry_index *index, size_t n)
{
    return n < index->n_runs ? index->runs[n].first_index - 1 : index->last_index;
}

uint64_t entry_index_term_end(const struct entry_index *index, uint64_t i)
{
    uint64_t end;

    MQ_ASSERT(i >= index->first_index && i <= index->last_index);
    if (i >= index->own_index) {
        return run_end(index, runs_up_to(index, i));
    }
    end = index_blocks_term_end(&index->blocks, i);
    return end + 1 == index->own_index && index->n_runs != 0 && index->runs[0].term == entry_index_term(index, i)
               ? run_end(index, 1)
               : end;
}

uint64_t entry_index_from_pos(const struct entry_index *index, uint64_t pos)
{
    uint64_t low = index->own_index, high = index->last_index + 1;

    if (index_blocks_from_pos(&index->blocks, pos, &low)) {
        return low;
    }
    low = index->own_index;
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

const struct index_block *entry_index_block(const struct entry_index *index, uint64_t i)
{
    return index_blocks_find(&index->blocks, i);
}

uint64_t entry_index_unfiled(const struct entry_index *index, uint64_t i)
{
    const struct index_block *end = index->blocks.list + index->blocks.n;

    for (const struct index_block *block = index_blocks_find(&index->blocks, i); block != NULL && block < end;
         block++) {
        if (block->file_at == INDEX_BLOCK_NO_FILE) {
            return i > block->first_index ? i : block->first_index;
        }
    }
    return i > index->own_index ? i : index->own_index;
}

/* ---- changes at the end ---- */

static uint64_t last_term_of(const struct entry_index *index)
{
    const struct index_blocks *blocks = &index->blocks;

    return index->n_runs != 0 ? index->runs[index->n_runs - 1].term
           : blocks->n != 0   ? blocks->list[blocks->n - 1].last_term
                              : 0;
}

void entry_index_append(struct entry_index *index, uint64_t pos, uint64_t term)
{
    uint64_t last_term = last_term_of(index);

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

/* Removes the first @drop of @n elements. */
static void drop_front(void *array, size_t *n, size_t drop, size_t bytes)
{
    if (drop != 0) {
        memmove(array, (uint8_t *)array + drop * bytes, (*n - drop) * bytes);
        *n -= drop;
    }
}

/* Entries below @i, which is at most last_index + 1, are not known by themselves any more. */
static void drop_own(struct entry_index *index, uint64_t i)
{
    uint64_t keep = i > index->last_index ? UINT64_MAX : i / CHUNK_ENTRIES;
    size_t chunks = 0, runs;

    if (i <= index->own_index) {
        return;
    }
    while (chunks < index->n_chunks && index->first_chunk + chunks < keep) {
        chunks++;
    }
    free_chunks(index, chunks);
    drop_front(index->chunks, &index->n_chunks, chunks, sizeof(index->chunks[0]));
    index->first_chunk += chunks;
    runs = i > index->last_index ? index->n_runs : runs_up_to(index, i);
    runs -= i > index->last_index || runs == 0 ? 0 : 1; /* the run that holds @i goes on from there */
    drop_front(index->runs, &index->n_runs, runs, sizeof(index->runs[0]));
    if (index->n_runs != 0 && index->runs[0].first_index < i) {
        index->runs[0].first_index = i;
    }
    index->own_index = i;
}

/* The block of entries @first to @last. */
static struct index_block block_of(const struct entry_index *index, uint64_t first, uint64_t last)
{
    return (struct index_block){.first_index = first,
                                .first_pos = entry_index_pos(index, first),
                                .first_term = entry_index_term(index, first),
                                .last_term = entry_index_term(index, last),
                                .n = (uint32_t)(last - first + 1),
                                .file_at = INDEX_BLOCK_NO_FILE};
}

/* All entries that are known by themselves become blocks without a file. */
static int seal_all(struct entry_index *index)
{
    uint64_t segment_bytes = index->blocks.source->segment_bytes;

    while (index->own_index <= index->last_index) {
        uint64_t first = index->own_index, last = first + INDEX_BLOCK_WALKED_MAX - 1;
        uint64_t segment = entry_index_pos(index, first) / segment_bytes;
        struct index_block block;

        last = last < index->last_index ? last : index->last_index;
        if (entry_index_pos(index, last) / segment_bytes != segment) {
            last = entry_index_from_pos(index, (segment + 1) * segment_bytes) - 1;
        }
        if (index_blocks_reserve(&index->blocks, 1) != 0) {
            return MQ_ENOMEM;
        }
        block = block_of(index, first, last);
        index_blocks_append(&index->blocks, &block);
        drop_own(index, last + 1);
    }
    return 0;
}

int entry_index_append_block(struct entry_index *index, const struct index_block *block, const uint64_t *changes,
                             size_t n)
{
    int rc = seal_all(index);

    MQ_ASSERT(block->first_index == index->last_index + 1 && block->first_term >= last_term_of(index));
    if (rc == 0) {
        rc = index_blocks_reserve(&index->blocks, 1);
    }
    if (rc == 0) {
        rc = grow_changes(index, n);
    }
    if (rc != 0) {
        return rc;
    }
    index_blocks_append(&index->blocks, block);
    memcpy(index->changes + index->n_changes, changes, n * sizeof(changes[0]));
    index->n_changes += n;
    index->last_index += block->n;
    index->own_index = index->last_index + 1;
    return 0;
}

void entry_index_seal(struct entry_index *index, uint64_t first, uint64_t last, uint32_t file_at, uint32_t file_bytes)
{
    struct index_block block;

    if (first < index->first_index || last > index->last_index || last < first) {
        return;
    }
    MQ_ASSERT(first <= index->own_index);
    block = block_of(index, first, last);
    block.file_at = file_at;
    block.file_bytes = file_bytes;
    index_blocks_replace(&index->blocks, &block);
    drop_own(index, last + 1);
}

void entry_index_truncate(struct entry_index *index, uint64_t i)
{
    MQ_ASSERT(i >= index->first_index);
    if (i > index->last_index) {
        return;
    }
    while (index->n_changes != 0 && index->changes[index->n_changes - 1] >= i) {
        index->n_changes--;
    }
    if (i < index->own_index) {
        index_blocks_truncate(&index->blocks, i);
        free_chunks(index, index->n_chunks);
        index->n_chunks = 0;
        index->own_index = i;
    }
    index->n_runs = i > index->own_index ? runs_up_to(index, i - 1) : 0;
    index->last_index = i - 1;
}

/* ---- changes at the beginning ---- */

void entry_index_prepend(struct entry_index *index, uint64_t pos, uint64_t term, bool change)
{
    index_blocks_prepend(&index->blocks, --index->first_index, pos, term);
    if (change) {
        MQ_ASSERT(index->n_changes < index->changes_cap);
        memmove(&index->changes[1], &index->changes[0], index->n_changes * sizeof(index->changes[0]));
        index->changes[0] = index->first_index;
        index->n_changes++;
    }
}

void entry_index_trim(struct entry_index *index, uint64_t i)
{
    size_t changes = 0;

    MQ_ASSERT(i >= index->first_index && i <= index->last_index + 1);
    index_blocks_trim(&index->blocks, i);
    drop_own(index, i);
    while (changes < index->n_changes && index->changes[changes] < i) {
        changes++;
    }
    drop_front(index->changes, &index->n_changes, changes, sizeof(index->changes[0]));
    index->first_index = i;
}
