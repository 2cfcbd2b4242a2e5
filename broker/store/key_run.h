/* Keys of a stretch of the log in memory, in the order of the log: what is not yet in a file of the index. A key is
 * its hash and where its record lies; store times are noted once for every KEY_MARK_KEYS keys, because in the log
 * they never fall. 8 bytes a key. Belongs to one thread, the indexer's. */
#ifndef BROKER_STORE_KEY_RUN_H
#define BROKER_STORE_KEY_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_RUN_KEYS (1u << 20) /* as many make a file */
#define KEY_MARK_KEYS 1024u

/* Which part of the log, and what is known of it. */
struct key_range {
    uint64_t begin, end;       /* positions; every key of every record there is in */
    int64_t first_ms, last_ms; /* store times of its first and last entry with records; 0 while there is none */
    uint64_t entries;
    uint64_t last_entry;         /* position of the last entry's header */
    uint32_t prev_crc, last_crc; /* header of the entry in front of the first one, and of the last one */
    uint64_t last_record;        /* position of the last record with a key, and its store time; 0: none */
    int64_t last_record_ms;
    uint32_t keys, marks;
};

/* From @offset behind the range's begin on nothing was stored before @ms behind its first_ms. */
struct key_mark {
    uint32_t offset, ms;
};

struct key_run {
    struct key_range range;
    uint64_t entry_end;         /* of the last entry that was left; range.end may lie behind it, where nothing is */
    uint32_t *hashes, *offsets; /* owned; of range.keys keys, offsets from range.begin */
    uint32_t keys_cap;
    struct key_mark *marks; /* owned */
    uint32_t marks_cap;
};

/* What is looked for: records between two positions and two store times. */
struct key_want {
    uint32_t hash;
    int64_t begin_ms, end_ms;
    uint64_t below; /* positions below it only */
};

/* Positions that were found, descending, each once. */
#define KEY_FOUND_MAX 64u
struct key_found {
    uint64_t pos[KEY_FOUND_MAX];
    uint32_t n;
};

/* An empty run that begins at @begin. Memory of an earlier use is kept for the next one; free gives it back. */
void key_run_begin(struct key_run *run, uint64_t begin);
void key_run_free(struct key_run *run);

/* Whether an entry that ends at @end still belongs to the run; if not it has to be sealed. @store_ms: of its records,
 * 0 when it has none. */
bool key_run_has_room(const struct key_run *run, uint64_t end, int64_t store_ms);
/* The entry whose keys follow; @entry: where its header lies. */
void key_run_enter(struct key_run *run, uint64_t entry, uint32_t prev_crc, int64_t store_ms);
/* A key of the record at @pos. Returns 0 or MQ_ENOMEM. */
int key_run_add(struct key_run *run, uint32_t hash, uint64_t pos);
/* The entry ends at @end, and its header has @crc. */
void key_run_leave(struct key_run *run, uint64_t end, uint32_t crc);
/* Takes back the keys of an entry that was entered and not left. @before: the range as it was then. */
void key_run_give_up(struct key_run *run, const struct key_range *before);

/* Appends to @found what the run has, newest first, until it is full. Returns true when nothing is left. */
bool key_run_find(const struct key_run *run, const struct key_want *want, struct key_found *found);

/* The offsets, counted from the range's begin, that @want may have: [*low, *high). */
void key_marks_clip(const struct key_range *range, const struct key_mark *marks, const struct key_want *want,
                    uint32_t *low, uint32_t *high);
/* Whether anything of the range can be meant at all. */
bool key_range_meets(const struct key_range *range, const struct key_want *want);
/* Adds a position unless it is the one that was added last. False when there is no place for it. */
bool key_found_add(struct key_found *found, uint64_t pos);

#endif
