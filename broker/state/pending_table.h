/* Messages that wait for their time: delay levels and timers. Replicated; a row begins with the record it stands for
 * and ends with an item. There may be millions, so rows are small and nothing here takes long at once: rows lie in
 * pages and never move, are found by position and by key through chains whose buckets are added one at a time, and
 * stand in a heap by when they are due.
 *
 *   a row 48 bytes, its place in the heap 16 to 32, its share of the buckets 8 to 16
 *
 * Who delivers takes rows out of the heap meanwhile, and gives them back when nothing came of it. That is the
 * leader's own: taken or not, a row counts and is in snapshots. */
#ifndef BROKER_STATE_PENDING_TABLE_H
#define BROKER_STATE_PENDING_TABLE_H

#include "broker/state/table_copy.h"
#include "remoting/base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct Raftmq__PendingRows;

enum pending_kind { PENDING_LEVEL = 1, PENDING_TIMER = 2 };

#define PENDING_PAGE_ROWS 4096u
#define PENDING_RECORD_MAX ((UINT32_C(1) << 29) - 1)
#define PENDING_ROWS_MAX (UINT32_C(1) << 31)

struct pending_row {
    uint64_t pos; /* of the stored record */
    int64_t due_ms;
    uint64_t key_hash;
    uint32_t crc;                /* CRC-32C of the stored record: it may be read years later */
    uint32_t kind : 3;           /* enum pending_kind; 0: free */
    uint32_t bytes : 29;         /* of the stored record */
    uint32_t next_pos, next_key; /* chains: number of the next row; next_pos of a free row: of the next free one */
    uint32_t place;              /* in the heap */
    uint32_t generation;         /* table_copy's, low half */
};

struct pending_place {
    int64_t at_ms; /* when it is due, or later: when it is to be looked at again */
    uint32_t row;
};

struct pending_table {
    struct pending_row **pages; /* owned, each owned */
    uint32_t n_pages, cap_pages;
    uint32_t rows; /* used once: those from here on never were */
    uint32_t free; /* first free row */
    uint32_t count;
    struct pending_place *heap; /* owned; four below each */
    uint32_t heaped, cap_heap;
    uint32_t *by_pos, *by_key; /* owned: first rows of chains */
    uint32_t buckets, cap_buckets;
    uint64_t sum; /* of the fingerprints */
    struct table_copy copy;
    uint32_t copy_next; /* the row that the walk looks at next */
};

void pending_table_init(struct pending_table *table);
void pending_table_fini(struct pending_table *table);

/* Equal topics and unique keys, equal hashes on all members for ever. */
uint64_t pending_key_hash(struct mq_str topic, struct mq_str uniq_key);

/* --- changes, by apply --- */

/* Returns 0, MQ_ENOMEM, or MQ_EBADMSG: there is one for @pos. */
int pending_table_put(struct pending_table *table, const struct pending_row *row);
/* False: there is none. */
bool pending_table_end(struct pending_table *table, uint64_t pos);
/* The record of the row at @pos lies at @to now. Returns 0, also when there is no such row; MQ_EBADMSG: there is one
 * for @to. */
int pending_table_move(struct pending_table *table, uint64_t pos, uint64_t to, uint32_t bytes, uint32_t crc);

/* --- looking; rows are valid until the next change --- */

const struct pending_row *pending_table_find(const struct pending_table *table, uint64_t pos);
/* Positions of rows with this hash, @max of them at most. Returns how many. */
uint32_t pending_table_by_key(const struct pending_table *table, uint64_t key_hash, uint64_t *out, uint32_t max);
/* Row number @n, of table->rows; NULL: free. */
const struct pending_row *pending_table_at(const struct pending_table *table, uint32_t n);

/* --- the leader's --- */

/* The earliest by (due, position) of those that nobody has taken, or NULL. @at_ms: when it is to be looked at, which
 * is when it is due, unless it was given back for later. */
const struct pending_row *pending_table_first(const struct pending_table *table, int64_t *at_ms);
/* Out of the heap. False: not there, or taken before. */
bool pending_table_take(struct pending_table *table, uint64_t pos);
/* Into it again, if the row is still there; not to be looked at before @at_ms. */
void pending_table_give_back(struct pending_table *table, uint64_t pos, int64_t at_ms);
#define PENDING_WHEN_DUE INT64_MIN

/* --- the state's, as of every table --- */

uint64_t pending_table_hash(const struct pending_table *table);
uint64_t pending_table_recount(const struct pending_table *table);
void pending_table_copy_begin(struct pending_table *table, uint16_t section, struct rlog_sink *sink);
bool pending_table_copy_step(struct pending_table *table);
void pending_table_clear(struct pending_table *table);
int pending_table_restore(struct pending_table *table, const struct Raftmq__PendingRows *rows);
/* Bytes that it has allocated. */
uint64_t pending_table_memory(const struct pending_table *table);

#endif
