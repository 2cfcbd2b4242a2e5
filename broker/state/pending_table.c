/* Buckets are added one at a time (linear hashing): each new row may split one chain in two, so that no row ever
 * waits for all others to be put into a larger table. */
#include "broker/state/pending_table.h"

#include "broker/state/fingerprint.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#define NONE UINT32_MAX
#define TAKEN (UINT32_MAX - 1) /* a place outside the heap */
#define WIDTH 4u               /* of the heap: four places are one line of the cache */
#define GROWTH_MIN 64u

_Static_assert(sizeof(struct pending_row) == 48 && sizeof(struct pending_place) == 16, "rows are meant to be small");

uint64_t pending_key_hash(struct mq_str topic, struct mq_str uniq_key)
{
    uint64_t h = fingerprint_bytes(fingerprint_u64(FINGERPRINT_START, topic.len), topic.at, topic.len);

    return fingerprint_end(fingerprint_bytes(fingerprint_u64(h, uniq_key.len), uniq_key.at, uniq_key.len));
}

static uint64_t row_hash(const struct pending_row *row)
{
    uint64_t h = fingerprint_u64(FINGERPRINT_START, row->pos);

    h = fingerprint_u64(h, (uint64_t)row->due_ms);
    h = fingerprint_u64(h, row->key_hash);
    h = fingerprint_u64(h, (uint64_t)row->crc << 32 | row->bytes);
    return fingerprint_end(fingerprint_u64(h, row->kind));
}

static struct pending_row *row_at(const struct pending_table *table, uint32_t n)
{
    return &table->pages[n / PENDING_PAGE_ROWS][n % PENDING_PAGE_ROWS];
}

/* --- the heap --- */

static bool is_before(const struct pending_table *table, struct pending_place a, struct pending_place b)
{
    return a.at_ms != b.at_ms ? a.at_ms < b.at_ms : row_at(table, a.row)->pos < row_at(table, b.row)->pos;
}

static void set_place(struct pending_table *table, uint32_t at, struct pending_place place)
{
    table->heap[at] = place;
    row_at(table, place.row)->place = at;
}

static void sift_up(struct pending_table *table, uint32_t at, struct pending_place place)
{
    while (at > 0 && is_before(table, place, table->heap[(at - 1) / WIDTH])) {
        set_place(table, at, table->heap[(at - 1) / WIDTH]);
        at = (at - 1) / WIDTH;
    }
    set_place(table, at, place);
}

static void sift_down(struct pending_table *table, uint32_t at, struct pending_place place)
{
    for (;;) {
        uint64_t first = (uint64_t)at * WIDTH + 1, end = first + WIDTH;
        uint32_t least;

        if (first >= table->heaped) {
            break;
        }
        least = (uint32_t)first;
        end = end < table->heaped ? end : table->heaped;
        for (uint32_t i = least + 1; i < end; i++) {
            least = is_before(table, table->heap[i], table->heap[least]) ? i : least;
        }
        if (!is_before(table, table->heap[least], place)) {
            break;
        }
        set_place(table, at, table->heap[least]);
        at = least;
    }
    set_place(table, at, place);
}

static void heap_add(struct pending_table *table, uint32_t n, int64_t at_ms)
{
    int64_t due_ms = row_at(table, n)->due_ms;

    sift_up(table, table->heaped++, (struct pending_place){at_ms > due_ms ? at_ms : due_ms, n});
}

static void heap_remove(struct pending_table *table, uint32_t n)
{
    uint32_t at = row_at(table, n)->place;
    struct pending_place last;

    if (at == TAKEN) {
        return;
    }
    last = table->heap[--table->heaped];
    row_at(table, n)->place = TAKEN;
    if (last.row == n) {
        return;
    }
    if (at > 0 && is_before(table, last, table->heap[(at - 1) / WIDTH])) {
        sift_up(table, at, last);
    } else {
        sift_down(table, at, last);
    }
}

/* --- chains --- */

/* The bucket of @hash when there are @buckets: those that were not split yet in this round take two halves. */
static uint32_t bucket_of(uint64_t hash, uint32_t buckets)
{
    uint32_t round = UINT32_C(1) << (31 - __builtin_clz(buckets));
    uint32_t bucket = (uint32_t)hash & (2 * round - 1);

    return bucket < buckets ? bucket : bucket - round;
}

static uint64_t pos_hash(uint64_t pos)
{
    return fingerprint_end(pos);
}

static uint32_t *chain_by_pos(const struct pending_table *table, uint64_t pos)
{
    return &table->by_pos[bucket_of(pos_hash(pos), table->buckets)];
}

static uint32_t *chain_by_key(const struct pending_table *table, uint64_t key_hash)
{
    return &table->by_key[bucket_of(key_hash, table->buckets)];
}

static void link_pos(struct pending_table *table, uint32_t n)
{
    uint32_t *first = chain_by_pos(table, row_at(table, n)->pos);

    row_at(table, n)->next_pos = *first;
    *first = n;
}

static void link_key(struct pending_table *table, uint32_t n)
{
    uint32_t *first = chain_by_key(table, row_at(table, n)->key_hash);

    row_at(table, n)->next_key = *first;
    *first = n;
}

static void unlink_pos(struct pending_table *table, uint32_t n)
{
    uint32_t *at = chain_by_pos(table, row_at(table, n)->pos);

    while (*at != n) {
        at = &row_at(table, *at)->next_pos;
    }
    *at = row_at(table, n)->next_pos;
}

static void unlink_key(struct pending_table *table, uint32_t n)
{
    uint32_t *at = chain_by_key(table, row_at(table, n)->key_hash);

    while (*at != n) {
        at = &row_at(table, *at)->next_key;
    }
    *at = row_at(table, n)->next_key;
}

/* One bucket more: the rows of the one it comes from are dealt out anew. */
static void split_bucket(struct pending_table *table)
{
    uint32_t from = bucket_of(table->buckets, table->buckets);
    uint32_t pos = table->by_pos[from], key = table->by_key[from], next;

    table->by_pos[from] = table->by_key[from] = NONE;
    table->by_pos[table->buckets] = table->by_key[table->buckets] = NONE;
    table->buckets++;
    for (; pos != NONE; pos = next) {
        next = row_at(table, pos)->next_pos;
        link_pos(table, pos);
    }
    for (; key != NONE; key = next) {
        next = row_at(table, key)->next_key;
        link_key(table, key);
    }
}

static uint32_t find_row(const struct pending_table *table, uint64_t pos)
{
    uint32_t n = table->count != 0 ? *chain_by_pos(table, pos) : NONE;

    while (n != NONE && row_at(table, n)->pos != pos) {
        n = row_at(table, n)->next_pos;
    }
    return n;
}

/* --- room --- */

/* @list of *@cap elements of @bytes each, for one more than @n. Returns 0 or MQ_ENOMEM. */
static int reserve(void **list, uint32_t *cap, uint32_t n, size_t bytes)
{
    uint32_t wanted = *cap < GROWTH_MIN ? GROWTH_MIN : *cap * 2;
    void *grown;

    if (n < *cap) {
        return 0;
    }
    grown = mq_realloc(*list, wanted * bytes);
    if (grown == NULL) {
        return MQ_ENOMEM;
    }
    *list = grown;
    *cap = wanted;
    return 0;
}

static int reserve_buckets(struct pending_table *table)
{
    uint32_t cap = table->cap_buckets;
    int rc = reserve((void **)&table->by_pos, &cap, table->buckets, sizeof(table->by_pos[0]));

    if (rc == 0) {
        cap = table->cap_buckets;
        rc = reserve((void **)&table->by_key, &cap, table->buckets, sizeof(table->by_key[0]));
    }
    if (rc != 0) {
        return rc;
    }
    table->cap_buckets = cap;
    if (table->buckets == 0) {
        table->by_pos[0] = table->by_key[0] = NONE;
        table->buckets = 1;
    }
    return 0;
}

static int reserve_page(struct pending_table *table)
{
    int rc;

    if (table->free != NONE || table->rows < table->n_pages * PENDING_PAGE_ROWS) {
        return 0;
    }
    rc = reserve((void **)&table->pages, &table->cap_pages, table->n_pages, sizeof(table->pages[0]));
    if (rc != 0) {
        return rc;
    }
    table->pages[table->n_pages] = mq_calloc(PENDING_PAGE_ROWS, sizeof(struct pending_row));
    if (table->pages[table->n_pages] == NULL) {
        return MQ_ENOMEM;
    }
    table->n_pages++;
    return 0;
}

/* For one row more, wherever it needs it. */
static int reserve_row(struct pending_table *table)
{
    int rc = table->count < PENDING_ROWS_MAX ? reserve_page(table) : MQ_ENOMEM;

    if (rc == 0) { /* every row has its place, also while it is taken */
        rc = reserve((void **)&table->heap, &table->cap_heap, table->count, sizeof(table->heap[0]));
    }
    return rc == 0 ? reserve_buckets(table) : rc;
}

static uint32_t take_row(struct pending_table *table)
{
    uint32_t n = table->free;

    if (n == NONE) {
        return table->rows++;
    }
    table->free = row_at(table, n)->next_pos;
    return n;
}

static void keep_pages(struct pending_table *table, uint32_t pages)
{
    while (table->n_pages > pages) {
        mq_free(table->pages[--table->n_pages]);
    }
}

/* What many rows took is given back when the last one ends. */
static void begin_again(struct pending_table *table)
{
    keep_pages(table, 1);
    for (uint32_t i = 0; i < table->buckets; i++) {
        MQ_ASSERT(table->by_pos[i] == NONE && table->by_key[i] == NONE);
    }
    if (table->cap_buckets > PENDING_PAGE_ROWS) {
        mq_free(table->heap);
        mq_free(table->by_pos);
        mq_free(table->by_key);
        table->heap = NULL;
        table->by_pos = table->by_key = NULL;
        table->cap_heap = table->cap_buckets = table->buckets = 0;
    }
    table->rows = 0;
    table->free = NONE;
}

/* --- life --- */

void pending_table_init(struct pending_table *table)
{
    *table = (struct pending_table){.free = NONE};
}

void pending_table_clear(struct pending_table *table)
{
    struct table_copy copy;

    table_copy_end(&table->copy);
    copy = table->copy; /* generations go on */
    keep_pages(table, 0);
    mq_free(table->pages);
    mq_free(table->heap);
    mq_free(table->by_pos);
    mq_free(table->by_key);
    *table = (struct pending_table){.free = NONE, .copy = copy};
}

void pending_table_fini(struct pending_table *table)
{
    pending_table_clear(table);
}

/* --- changes --- */

/* The row of a snapshot. */
static void put_row(struct pending_table *table, struct pending_row *row)
{
    Raftmq__PendingRow out = RAFTMQ__PENDING_ROW__INIT;

    out.pos = row->pos;
    out.bytes = row->bytes;
    out.due_ms = row->due_ms;
    out.key_hash = row->key_hash;
    out.kind = row->kind;
    out.crc = row->crc;
    row->generation = (uint32_t)table->copy.generation;
    table_copy_put(&table->copy, &out.base);
}

static void changing(struct pending_table *table, struct pending_row *row)
{
    if (table->copy.sink != NULL && row->generation != (uint32_t)table->copy.generation) {
        put_row(table, row);
    }
}

int pending_table_put(struct pending_table *table, const struct pending_row *row)
{
    struct pending_row *added;
    uint32_t n;
    int rc;

    MQ_ASSERT(row->kind != 0);
    if (find_row(table, row->pos) != NONE) {
        return MQ_EBADMSG;
    }
    rc = reserve_row(table);
    if (rc != 0) {
        return rc;
    }
    n = take_row(table);
    added = row_at(table, n);
    *added = *row;
    added->generation = (uint32_t)table->copy.generation; /* younger than the snapshot that is being taken */
    table->count++;
    table->sum += row_hash(added);
    link_pos(table, n);
    link_key(table, n);
    heap_add(table, n, PENDING_WHEN_DUE);
    if (table->buckets < table->count && table->buckets < table->cap_buckets) {
        split_bucket(table);
    }
    return 0;
}

bool pending_table_end(struct pending_table *table, uint64_t pos)
{
    uint32_t n = find_row(table, pos);
    struct pending_row *row;

    if (n == NONE) {
        return false;
    }
    row = row_at(table, n);
    changing(table, row);
    heap_remove(table, n);
    unlink_pos(table, n);
    unlink_key(table, n);
    table->sum -= row_hash(row);
    row->kind = 0;
    row->next_pos = table->free;
    table->free = n;
    if (--table->count == 0) {
        begin_again(table);
    }
    return true;
}

int pending_table_move(struct pending_table *table, uint64_t pos, uint64_t to, uint32_t bytes, uint32_t crc)
{
    uint32_t n = find_row(table, pos);
    struct pending_row *row;
    bool taken;

    if (n == NONE) {
        return 0;
    }
    if (find_row(table, to) != NONE) {
        return MQ_EBADMSG;
    }
    row = row_at(table, n);
    changing(table, row);
    taken = row->place == TAKEN;
    heap_remove(table, n);
    unlink_pos(table, n);
    table->sum -= row_hash(row);
    row->pos = to;
    row->bytes = bytes & PENDING_RECORD_MAX;
    row->crc = crc;
    table->sum += row_hash(row);
    link_pos(table, n);
    if (!taken) {
        heap_add(table, n, PENDING_WHEN_DUE);
    }
    return 0;
}

/* --- looking --- */

const struct pending_row *pending_table_find(const struct pending_table *table, uint64_t pos)
{
    uint32_t n = find_row(table, pos);

    return n != NONE ? row_at(table, n) : NULL;
}

uint32_t pending_table_by_key(const struct pending_table *table, uint64_t key_hash, uint64_t *out, uint32_t max)
{
    uint32_t n = table->count != 0 ? *chain_by_key(table, key_hash) : NONE;
    uint32_t found = 0;

    for (; n != NONE && found < max; n = row_at(table, n)->next_key) {
        if (row_at(table, n)->key_hash == key_hash) {
            out[found++] = row_at(table, n)->pos;
        }
    }
    return found;
}

const struct pending_row *pending_table_at(const struct pending_table *table, uint32_t n)
{
    return row_at(table, n)->kind != 0 ? row_at(table, n) : NULL;
}

const struct pending_row *pending_table_first(const struct pending_table *table, int64_t *at_ms)
{
    if (table->heaped == 0) {
        return NULL;
    }
    *at_ms = table->heap[0].at_ms;
    return row_at(table, table->heap[0].row);
}

bool pending_table_take(struct pending_table *table, uint64_t pos)
{
    uint32_t n = find_row(table, pos);

    if (n == NONE || row_at(table, n)->place == TAKEN) {
        return false;
    }
    heap_remove(table, n);
    return true;
}

void pending_table_give_back(struct pending_table *table, uint64_t pos, int64_t at_ms)
{
    uint32_t n = find_row(table, pos);

    if (n != NONE && row_at(table, n)->place == TAKEN) {
        heap_add(table, n, at_ms);
    }
}

/* --- the state's --- */

uint64_t pending_table_hash(const struct pending_table *table)
{
    return table->sum;
}

uint64_t pending_table_recount(const struct pending_table *table)
{
    uint64_t sum = 0;

    for (uint32_t n = 0; n < table->rows; n++) {
        sum += row_at(table, n)->kind != 0 ? row_hash(row_at(table, n)) : 0;
    }
    return sum;
}

void pending_table_copy_begin(struct pending_table *table, uint16_t section, struct rlog_sink *sink)
{
    const Raftmq__PendingRows head = RAFTMQ__PENDING_ROWS__INIT;

    table_copy_begin(&table->copy, section, sink, &head.base, NULL);
    table->copy_next = 0;
}

bool pending_table_copy_step(struct pending_table *table)
{
    for (uint32_t i = 0; table->copy_next < table->rows && i < TABLE_COPY_ROWS; i++) {
        struct pending_row *row = row_at(table, table->copy_next++);

        if (row->kind != 0) {
            changing(table, row);
        }
    }
    return table->copy_next < table->rows;
}

int pending_table_restore(struct pending_table *table, const Raftmq__PendingRows *rows)
{
    for (size_t i = 0; i < rows->n_rows; i++) {
        const Raftmq__PendingRow *from = rows->rows[i];
        const struct pending_row row = {.pos = from->pos,
                                        .due_ms = from->due_ms,
                                        .key_hash = from->key_hash,
                                        .bytes = from->bytes & PENDING_RECORD_MAX,
                                        .crc = from->crc,
                                        .kind = from->kind & 3u};
        bool is_row =
            from->bytes <= PENDING_RECORD_MAX && (from->kind == PENDING_LEVEL || from->kind == PENDING_TIMER);
        int rc = is_row ? pending_table_put(table, &row) : MQ_EBADMSG;

        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

uint64_t pending_table_memory(const struct pending_table *table)
{
    return (uint64_t)table->n_pages * PENDING_PAGE_ROWS * sizeof(struct pending_row) +
           (uint64_t)table->cap_pages * sizeof(table->pages[0]) + (uint64_t)table->cap_heap * sizeof(table->heap[0]) +
           (uint64_t)table->cap_buckets * (sizeof(table->by_pos[0]) + sizeof(table->by_key[0]));
}
