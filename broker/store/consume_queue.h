/* The consume queue of one (topic, queue): 20-byte big-endian units in files of 300,000 units, unless the broker is
 * set to another number, as RocketMQ's:
 *   i64 position of the record, i32 its size, i64 tag code
 * in files named by the byte offset of their first unit, 20 digits. Bytes behind the last unit are zero.
 *
 * Derived from committed entries only. Mapped, so that old parts can leave memory; a file of an earlier process is
 * mapped when it is first looked at. The first file of a queue takes disk in steps, 64 KiB and then doubling, so that
 * a topic of many quiet queues is cheap. Units are written once and never differ from member to member, so what lies
 * behind max after a restart is nothing or what will be written there again. Loop thread. */
#ifndef BROKER_STORE_CONSUME_QUEUE_H
#define BROKER_STORE_CONSUME_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#define CONSUME_QUEUE_UNIT_BYTES 20u
#define CONSUME_QUEUE_FILE_UNITS 300000u       /* mappedFileSizeConsumeQueue, unless it is set */
#define CONSUME_QUEUE_FILE_UNITS_MIN 1000u     /* a queue has not too many files, ... */
#define CONSUME_QUEUE_FILE_UNITS_MAX 53687091u /* ... and none of them more than 1 GiB */

struct consume_unit {
    uint64_t pos;
    uint32_t bytes;
    int64_t tags_code;
};

struct consume_queue {
    char *dir;           /* owned: queue_table_queue_dir */
    uint32_t file_units; /* of each file but those that still grow */
    uint8_t **files;     /* owned maps, one per file, by number; NULL where not mapped yet or not there */
    uint32_t n_files;
    uint32_t first_file;    /* those below are not on the disk */
    uint32_t tail_bytes;    /* what the last file has on disk: it grows in steps */
    uint64_t min, max;      /* queue offsets held: [min, max) */
    _Atomic uint32_t *maps; /* borrowed: how many files are mapped, of all queues that count there; any thread */
};

/* @dir: given. @file_units: 1 to CONSUME_QUEUE_FILE_UNITS_MAX. @maps: borrowed; the kernel allows a process only so
 * many. Nothing is made on disk before the first unit. */
void consume_queue_init(struct consume_queue *cq, char *dir, uint32_t file_units, _Atomic uint32_t *maps);
void consume_queue_fini(struct consume_queue *cq);
/* Lets go of the maps, on whatever thread @cq belongs to; dir stays. */
void consume_queue_unmap(struct consume_queue *cq);

/* Takes the disk that units up to @end - 1 need, so that appending them takes none. Units that are there already
 * stay. Returns 0; MQ_ENOMEM or -errno: it may be tried again. */
int consume_queue_reserve(struct consume_queue *cq, uint64_t end);

/* Appends unit number max. Returns 0, MQ_ENOMEM or -errno (no space for the next file: the caller stops the process).
 */
int consume_queue_append(struct consume_queue *cq, const struct consume_unit *unit);

/* Puts unit number min - 1 in front, min not 0. Returns as append. */
int consume_queue_prepend(struct consume_queue *cq, const struct consume_unit *unit);

/* @qoff in [min, max). A file that an earlier process left and that cannot be mapped stops the process: the next
 * start finds it damaged and makes it again. */
void consume_queue_get(const struct consume_queue *cq, uint64_t qoff, struct consume_unit *out);

/* Unmaps the files, which stay on the disk as they are and are mapped again when someone looks. Returns how many. */
uint32_t consume_queue_let_go(struct consume_queue *cq);

/* Lets go of everything held; nothing on the disk is touched. The queue is then empty and ends at @end. Returns 0 or
 * MQ_ENOMEM. */
int consume_queue_reset(struct consume_queue *cq, uint64_t end);

/* Takes up what an earlier process left: [@min, @max), @min < @max. Looks whether the files are there and long enough
 * and whether the first and the last unit point below @end_pos. The queue is empty before. Returns 0; MQ_ECORRUPT
 * (not as it should be: nothing changed), MQ_ENOMEM or -errno. */
int consume_queue_restore(struct consume_queue *cq, uint64_t min, uint64_t max, uint64_t end_pos);

/* Raises min to the first unit that points to @pos or behind it. */
void consume_queue_raise(struct consume_queue *cq, uint64_t pos);
/* Unmaps the files that hold only units below @qoff, and says which are to be removed: numbers [@first, @end). Their
 * names come from consume_queue_path. */
void consume_queue_drop(struct consume_queue *cq, uint64_t qoff, uint32_t *first, uint32_t *end);

struct mq_buf;
/* "<dir>/<number of the first byte, 20 digits>" and a NUL, at the end of @out. Returns 0 or MQ_ENOMEM. */
int consume_queue_path(const char *dir, uint32_t number, uint32_t file_units, struct mq_buf *out);

#endif
