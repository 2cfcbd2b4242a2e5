/* The consume queue of one (topic, queue): 20-byte big-endian units in files of 300,000 units, as RocketMQ's:
 *   i64 position of the record, i32 its size, i64 tag code
 * in files named by the byte offset of their first unit, 20 digits. Bytes behind the last unit are zero.
 *
 * Derived from committed entries only; thrown away and rebuilt when the process starts. Mapped, so that old parts can
 * leave memory. The first file of a queue takes disk in steps, 64 KiB and then doubling, so that a topic of many
 * quiet queues is cheap. Loop thread. */
#ifndef BROKER_STORE_CONSUME_QUEUE_H
#define BROKER_STORE_CONSUME_QUEUE_H

#include <stdint.h>

#define CONSUME_QUEUE_UNIT_BYTES 20u
#define CONSUME_QUEUE_FILE_UNITS 300000u

struct consume_unit {
    uint64_t pos;
    uint32_t bytes;
    int64_t tags_code;
};

struct consume_queue {
    char *dir;       /* owned: <store>/consumequeue/<topic>/<id> */
    uint8_t **files; /* owned maps, one per file, by number; NULL where dropped */
    uint32_t n_files;
    uint32_t tail_bytes; /* what the last file has on disk: it grows in steps */
    uint64_t min, max;   /* queue offsets held: [min, max) */
};

/* Copies @dir; nothing is made on disk before the first unit. Returns 0 or MQ_ENOMEM. */
int consume_queue_init(struct consume_queue *cq, const char *dir);
void consume_queue_fini(struct consume_queue *cq);

/* Appends unit number max. Returns 0, MQ_ENOMEM or -errno (no space for the next file: the caller stops the process).
 */
int consume_queue_append(struct consume_queue *cq, const struct consume_unit *unit);

/* @qoff in [min, max). */
void consume_queue_get(const struct consume_queue *cq, uint64_t qoff, struct consume_unit *out);

#endif
