/* What makes consume queues outlive the process: together with each snapshot of the state they are synced, and the
 * file <store>/queues.checkpoint says of which snapshots that is so. A start whose snapshot stands there takes the
 * files up as they are, cut to that snapshot's ends; any other makes them again from the log.
 *
 *    0  u32  magic "RMQQ"
 *    4  u32  CRC-32C of bytes 8 to 63
 *    8  u32  format version (2)
 *   12  u32  units that a queue's file has room for (version 1: zero, which was 300,000)
 *   16  two stamps, the newer one first, zeros where there is none:
 *        0  u64  index of the snapshot
 *        8  u32  header CRC of the log's entry of that index: another group's or another life's differs
 *       12  u32  zero
 *       16  u64  first entry whose records are all in the queues
 *
 * Big-endian, as the queues. */
#ifndef BROKER_STORE_CHECKPOINT_H
#define BROKER_STORE_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue;

#define CHECKPOINT_BYTES 64u
#define CHECKPOINT_STAMPS 2u

struct checkpoint_stamp {
    uint64_t index; /* 0: none */
    uint32_t crc;
    uint64_t held_index;
};

void checkpoint_encode(uint32_t file_units, const struct checkpoint_stamp stamps[CHECKPOINT_STAMPS],
                       uint8_t bytes[CHECKPOINT_BYTES]);
/* Returns 0, MQ_ECORRUPT or MQ_EVERSION; @file_units and @stamps untouched on error. */
int checkpoint_decode(const uint8_t *bytes, size_t n, uint32_t *file_units,
                      struct checkpoint_stamp stamps[CHECKPOINT_STAMPS]);

/* Reads the file. Returns 0, also when there is none, a bad one, or one of queues whose files do not have
 * @file_units: then there are no stamps. Or -errno, MQ_ENOMEM. */
int checkpoint_read(const char *path, uint32_t file_units, struct checkpoint_stamp stamps[CHECKPOINT_STAMPS]);
/* Replaces it, durably. Returns 0 or a negative code. */
int checkpoint_write(const char *path, uint32_t file_units, const struct checkpoint_stamp stamps[CHECKPOINT_STAMPS]);

/* Files of queues that changed since the checkpoint before. */
struct checkpoint_files {
    const char *dir;     /* borrowed from the queue, which lives as long as the process */
    uint32_t first, end; /* numbers */
    uint32_t file_units;
    struct queue *queue; /* borrowed; the loop's, the pool does not look at it */
};

/* On a thread of the pool: syncs them, one by one, or the whole file system where they are many. A file that was
 * removed meanwhile is passed over. @root: their common directory. Returns 0 or a negative code. */
int checkpoint_sync_work(const struct checkpoint_files *files, size_t n, const char *root);

#endif
