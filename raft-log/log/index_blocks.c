#include "raft-log/log/index_blocks.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <string.h>

#define CAP_MIN 16u

static uint64_t end_of(const struct index_block *block)
{
    return block->first_index + block->n;
}

/* ---- what is kept of them ---- */

static void forget_kept(struct index_blocks *blocks)
{
    for (size_t k = 0; k < INDEX_BLOCKS_KEPT; k++) {
        blocks->kept[k].n = 0;
    }
}

void index_blocks_clear(struct index_blocks *blocks)
{
    const struct index_source *source = blocks->source;

    for (size_t k = 0; k < INDEX_BLOCKS_KEPT; k++) {
        mq_free(blocks->kept[k].list);
        mq_free(blocks->kept[k].runs);
    }
    mq_free(blocks->places.list);
    mq_free(blocks->list);
    *blocks = (struct index_blocks){.source = source};
}

/* Where the entry @number of @block lies, by the headers before it. */
static uint64_t walk_to(const struct index_blocks *blocks, const struct index_block *block, uint64_t number)
{
    uint64_t pos = block->first_pos, term;
    uint32_t bytes;

    while (number-- != 0) {
        blocks->source->entry(blocks->source->data, pos, &term, &bytes);
        pos += bytes;
    }
    return pos;
}

/* As load of struct index_source, from the headers. */
static int32_t walk_all(const struct index_blocks *blocks, const struct index_block *block, uint32_t *offsets,
                        struct index_run *runs)
{
    uint64_t pos = block->first_pos, term;
    uint32_t bytes;
    int32_t n = 0;

    for (uint32_t k = 0; k < block->n; k++) {
        offsets[k] = (uint32_t)((pos - block->first_pos) / 8);
        blocks->source->entry(blocks->source->data, pos, &term, &bytes);
        if (runs != NULL && (n == 0 || runs[n - 1].term != term)) {
            runs[n++] = (struct index_run){k, term};
        }
        pos += bytes;
    }
    return n;
}

/* What is kept of the block that holds @i, or NULL. */
static struct index_kept *find_kept(struct index_blocks *blocks, uint64_t i)
{
    for (size_t k = 0; k < INDEX_BLOCKS_KEPT; k++) {
        if (i - blocks->kept[k].first_index < blocks->kept[k].n) {
            return &blocks->kept[k];
        }
    }
    return NULL;
}

static struct index_kept *longest_unused(struct index_blocks *blocks)
{
    struct index_kept *kept = &blocks->kept[0];

    for (size_t k = 1; k < INDEX_BLOCKS_KEPT; k++) {
        kept = blocks->kept[k].used < kept->used ? &blocks->kept[k] : kept;
    }
    return kept;
}

static bool make_room(struct index_kept *kept, uint32_t n)
{
    uint32_t *list;

    if (kept->cap < n) {
        list = mq_realloc(kept->list, n * sizeof(list[0]));
        if (list == NULL) {
            return false;
        }
        kept->list = list;
        kept->cap = n;
    }
    return true;
}

/* Reads @block in the place of what was asked for longest ago. Returns NULL without memory. */
static struct index_kept *keep(struct index_blocks *blocks, const struct index_block *block)
{
    const struct index_source *source = blocks->source;
    struct index_kept *kept = longest_unused(blocks);
    struct index_run *runs = NULL;
    int32_t n_runs = -1;

    kept->n = kept->n_runs = 0;
    mq_free(kept->runs);
    kept->runs = NULL;
    if (!make_room(kept, block->n)) {
        return NULL;
    }
    if (block->first_term != block->last_term) {
        runs = mq_malloc(block->n * sizeof(runs[0]));
    }
    if (block->file_at != INDEX_BLOCK_NO_FILE && source->load != NULL) {
        n_runs = source->load(source->data, block, kept->list, runs);
    }
    if (n_runs < 0) {
        n_runs = walk_all(blocks, block, kept->list, runs);
    }
    if (runs != NULL) {
        kept->runs = mq_realloc(runs, (size_t)n_runs * sizeof(runs[0]));
        kept->runs = kept->runs != NULL ? kept->runs : runs;
        kept->n_runs = (uint32_t)n_runs;
    }
    kept->first_index = block->first_index;
    kept->first_pos = block->first_pos;
    kept->n = block->n;
    return kept;
}

/* What was read of the block that holds @i, read now if need be, or NULL. */
static struct index_kept *kept_of(const struct index_blocks *blocks, const struct index_block *block, uint64_t i)
{
    struct index_blocks *self = (struct index_blocks *)blocks;
    struct index_kept *kept = find_kept(self, i);

    kept = kept != NULL ? kept : keep(self, block);
    if (kept != NULL) {
        kept->used = ++self->uses;
    }
    return kept;
}

/* ---- places of what was prepended ---- */

static void forget_places(struct index_places *places)
{
    mq_free(places->list);
    *places = (struct index_places){0};
}

/* Without memory for it the headers will be read. */
static void add_place(struct index_places *places, uint64_t index, uint32_t place)
{
    size_t cap = places->cap != 0 ? places->cap * 2 : CAP_MIN;
    uint32_t *list;

    if (index + 1 != places->end - places->n || places->n == INDEX_PLACES_MAX) {
        places->n = places->from = 0;
    }
    if (places->from + places->n == places->cap && places->from != 0 && places->from >= places->n) {
        memmove(places->list, places->list + places->from, places->n * sizeof(list[0]));
        places->from = 0;
    }
    if (places->from + places->n == places->cap) {
        list = mq_realloc(places->list, cap * sizeof(list[0]));
        if (list == NULL) {
            places->n = 0;
            return;
        }
        places->list = list;
        places->cap = cap;
    }
    places->end = places->n != 0 ? places->end : index + 1;
    places->list[places->from + places->n++] = place;
}

/* Entries from @i on need none any more. */
static void end_places(struct index_places *places, uint64_t i)
{
    uint64_t gone = places->end > i ? places->end - i : 0;

    if (gone >= places->n) {
        forget_places(places);
    } else {
        places->from += gone;
        places->n -= gone;
        places->end -= gone;
    }
}

/* Whether entry @i, of @block, has one. */
static bool has_place(const struct index_places *places, uint64_t i)
{
    return i < places->end && places->end - i <= places->n;
}

static uint64_t place_in(const struct index_blocks *blocks, const struct index_block *block, uint64_t i)
{
    uint64_t segment_bytes = blocks->source->segment_bytes;

    return block->first_pos / segment_bytes * segment_bytes +
           blocks->places.list[blocks->places.from + (blocks->places.end - 1 - i)] * (uint64_t)8;
}

uint64_t index_blocks_pos(const struct index_blocks *blocks, uint64_t i)
{
    const struct index_block *block = index_blocks_find(blocks, i);
    const struct index_kept *kept;

    MQ_ASSERT(block != NULL);
    if (i == block->first_index) {
        return block->first_pos;
    }
    if (has_place(&blocks->places, i)) {
        return place_in(blocks, block, i);
    }
    kept = kept_of(blocks, block, i);
    return kept != NULL ? kept->first_pos + (uint64_t)kept->list[i - kept->first_index] * 8
                        : walk_to(blocks, block, i - block->first_index);
}

/* ---- questions ---- */

/* Number of the first block that ends behind @i; n if there is none. */
static size_t number_of(const struct index_blocks *blocks, uint64_t i)
{
    size_t low = 0, high = blocks->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (end_of(&blocks->list[mid]) <= i) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

const struct index_block *index_blocks_find(const struct index_blocks *blocks, uint64_t i)
{
    size_t k = number_of(blocks, i);

    return k < blocks->n && blocks->list[k].first_index <= i ? &blocks->list[k] : NULL;
}

static uint64_t run_of(const struct index_kept *kept, uint32_t number)
{
    uint32_t low = 0, high = kept->n_runs - 1; /* the first run begins with 0 */

    while (low < high) {
        uint32_t mid = low + (high - low + 1) / 2;

        if (kept->runs[mid].number <= number) {
            low = mid;
        } else {
            high = mid - 1;
        }
    }
    return kept->runs[low].term;
}

static uint64_t term_in(const struct index_blocks *blocks, const struct index_block *block, uint64_t i)
{
    const struct index_kept *kept;
    uint64_t term;
    uint32_t bytes;

    if (block->first_term == block->last_term || i == block->first_index) {
        return block->first_term;
    }
    kept = kept_of(blocks, block, i);
    if (kept != NULL && kept->n_runs != 0) {
        return run_of(kept, (uint32_t)(i - kept->first_index));
    }
    blocks->source->entry(blocks->source->data, index_blocks_pos(blocks, i), &term, &bytes);
    return term;
}

uint64_t index_blocks_term(const struct index_blocks *blocks, uint64_t i)
{
    const struct index_block *block = index_blocks_find(blocks, i);

    MQ_ASSERT(block != NULL);
    return term_in(blocks, block, i);
}

/* The last entry of @block from @i on, which has @term, that has it too. */
static uint64_t term_end_in(const struct index_blocks *blocks, const struct index_block *block, uint64_t i,
                            uint64_t term)
{
    uint64_t low = i, high = end_of(block) - 1; /* low has it */

    if (block->last_term == term) {
        return high;
    }
    while (low < high) {
        uint64_t mid = low + (high - low + 1) / 2;

        if (term_in(blocks, block, mid) == term) {
            low = mid;
        } else {
            high = mid - 1;
        }
    }
    return low;
}

uint64_t index_blocks_term_end(const struct index_blocks *blocks, uint64_t i)
{
    uint64_t term = index_blocks_term(blocks, i), end = i;

    for (size_t k = number_of(blocks, i); k < blocks->n; k++) {
        const struct index_block *block = &blocks->list[k];

        if (block->first_index > i && block->first_term != term) {
            break;
        }
        end = term_end_in(blocks, block, block->first_index > i ? block->first_index : i, term);
        if (end + 1 != end_of(block)) {
            break;
        }
    }
    return end;
}

bool index_blocks_from_pos(const struct index_blocks *blocks, uint64_t pos, uint64_t *out)
{
    size_t low = 0, high = blocks->n; /* the first block that begins at or above @pos is in [low, high] */
    uint64_t first, last;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (blocks->list[mid].first_pos < pos) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low == 0) {
        *out = blocks->n != 0 ? blocks->list[0].first_index : 0;
        return blocks->n != 0;
    }
    first = blocks->list[low - 1].first_index + 1; /* it may be in the block before, but is not its first entry */
    last = end_of(&blocks->list[low - 1]);
    while (first < last) {
        uint64_t mid = first + (last - first) / 2;

        if (index_blocks_pos(blocks, mid) < pos) {
            first = mid + 1;
        } else {
            last = mid;
        }
    }
    *out = first;
    return first != end_of(&blocks->list[blocks->n - 1]);
}

/* ---- changes ---- */

int index_blocks_reserve(struct index_blocks *blocks, size_t n)
{
    size_t want = blocks->n + blocks->promised + n;
    size_t cap = blocks->cap == 0 ? CAP_MIN : blocks->cap;
    struct index_block *list;

    if (want <= blocks->cap) {
        return 0;
    }
    while (cap < want) {
        cap *= 2;
    }
    list = mq_realloc(blocks->list, cap * sizeof(list[0]));
    if (list == NULL) {
        return MQ_ENOMEM;
    }
    blocks->list = list;
    blocks->cap = cap;
    return 0;
}

static void insert(struct index_blocks *blocks, size_t k, const struct index_block *block)
{
    MQ_ASSERT(blocks->n < blocks->cap);
    memmove(&blocks->list[k + 1], &blocks->list[k], (blocks->n - k) * sizeof(blocks->list[0]));
    blocks->list[k] = *block;
    blocks->n++;
}

/* Takes out blocks [@from, @to). */
static void take_out(struct index_blocks *blocks, size_t from, size_t to)
{
    if (from != to) {
        memmove(&blocks->list[from], &blocks->list[to], (blocks->n - to) * sizeof(blocks->list[0]));
        blocks->n -= to - from;
    }
}

void index_blocks_append(struct index_blocks *blocks, const struct index_block *block)
{
    MQ_ASSERT(blocks->n == 0 || end_of(&blocks->list[blocks->n - 1]) == block->first_index);
    insert(blocks, blocks->n, block);
}

void index_blocks_prepend(struct index_blocks *blocks, uint64_t index, uint64_t pos, uint64_t term)
{
    struct index_block *first = &blocks->list[0];
    bool goes_on = blocks->n != 0 && blocks->prepended == index + 1;

    MQ_ASSERT(blocks->n == 0 || first->first_index == index + 1);
    add_place(&blocks->places, index, (uint32_t)(pos % blocks->source->segment_bytes / 8));
    blocks->prepended = index;
    if (goes_on && first->first_term != term && blocks->terms_to_come != 0) {
        blocks->terms_to_come--;
        goes_on = false;
    }
    if (goes_on && first->file_at == INDEX_BLOCK_NO_FILE && first->n < INDEX_BLOCK_WALKED_MAX &&
        first->first_pos / blocks->source->segment_bytes == pos / blocks->source->segment_bytes) {
        first->first_index = index;
        first->first_pos = pos;
        first->first_term = term;
        first->n++;
        return;
    }
    insert(blocks, 0,
           &(struct index_block){.first_index = index,
                                 .first_pos = pos,
                                 .first_term = term,
                                 .last_term = term,
                                 .n = 1,
                                 .file_at = INDEX_BLOCK_NO_FILE});
}

/* The block begins with @i from now on; what its file says begins elsewhere. */
static void cut_front(struct index_blocks *blocks, struct index_block *block, uint64_t i)
{
    uint64_t pos = index_blocks_pos(blocks, i), term = index_blocks_term(blocks, i);

    block->n -= (uint32_t)(i - block->first_index);
    block->first_index = i;
    block->first_pos = pos;
    block->first_term = term;
    block->file_at = INDEX_BLOCK_NO_FILE;
}

static void cut_end(struct index_blocks *blocks, struct index_block *block, uint64_t i)
{
    uint64_t term = index_blocks_term(blocks, i - 1);

    block->last_term = term;
    block->n = (uint32_t)(i - block->first_index);
}

void index_blocks_truncate(struct index_blocks *blocks, uint64_t i)
{
    size_t k = number_of(blocks, i);

    if (k < blocks->n && blocks->list[k].first_index < i) {
        cut_end(blocks, &blocks->list[k], i);
        k++;
    }
    blocks->n = k;
    end_places(&blocks->places, i);
    forget_kept(blocks);
}

void index_blocks_trim(struct index_blocks *blocks, uint64_t i)
{
    size_t k = number_of(blocks, i);

    if (k < blocks->n && blocks->list[k].first_index < i) {
        cut_front(blocks, &blocks->list[k], i);
    }
    take_out(blocks, 0, k);
    forget_places(&blocks->places); /* it does not end below @i any more */
    blocks->prepended = 0;
    forget_kept(blocks);
}

/* In a file each block follows the one before. Those of the same segment that block @k does not leave where they
 * were have none any more. */
static void forget_displaced(struct index_blocks *blocks, size_t k)
{
    uint64_t segment = blocks->list[k].first_pos / blocks->source->segment_bytes;
    uint32_t end = blocks->list[k].file_at + blocks->list[k].file_bytes;
    bool displaced = false;

    while (++k < blocks->n && blocks->list[k].first_pos / blocks->source->segment_bytes == segment) {
        displaced = displaced || blocks->list[k].file_at != end;
        end += blocks->list[k].file_bytes;
        blocks->list[k].file_at = displaced ? INDEX_BLOCK_NO_FILE : blocks->list[k].file_at;
    }
}

/* The files of a segment are written from its beginning, so what is at the end is told last. */
static void forget_filed_places(struct index_blocks *blocks)
{
    while (blocks->places.n != 0) {
        const struct index_block *block = index_blocks_find(blocks, blocks->places.end - 1);

        if (block == NULL || block->file_at == INDEX_BLOCK_NO_FILE) {
            break;
        }
        end_places(&blocks->places, block->first_index);
    }
}

void index_blocks_replace(struct index_blocks *blocks, const struct index_block *block)
{
    uint64_t end = end_of(block);
    size_t from = number_of(blocks, block->first_index), to = number_of(blocks, end);

    MQ_ASSERT(from == blocks->n || blocks->list[from].first_index == block->first_index);
    if (to < blocks->n && blocks->list[to].first_index < end) {
        cut_front(blocks, &blocks->list[to], end);
    }
    take_out(blocks, from, to);
    insert(blocks, from, block);
    forget_displaced(blocks, from);
    forget_filed_places(blocks);
    forget_kept(blocks);
}
