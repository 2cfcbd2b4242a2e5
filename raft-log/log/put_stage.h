/* Bytes of old entries on their way to their place in a segment: gathered, and written in large pieces past the page
 * cache, where nobody would look for them soon and from where they would push what is read now. A thread of its own
 * writes one piece while the next is gathered. What shares a page with other entries goes by way of the cache, so
 * that no page is written in both ways. A file system that cannot do without the cache gets everything through it.
 *
 * Belongs to the spare, or to the loop when that is gone; its thread sees nothing but the piece that it writes. A
 * failed write or sync ends the process. */
#ifndef RLOG_LOG_PUT_STAGE_H
#define RLOG_LOG_PUT_STAGE_H

#include "raft-log/log/segment.h"

#include <stdbool.h>

#define PUT_STAGE_BYTES (4u << 20) /* of one write at most, and of each half of the memory */
#define PUT_STAGE_PAGE 4096u       /* what writes past the cache are aligned to, in memory and in the file */

struct put_stage_writer;

/* All zero is an empty one. */
struct put_stage {
    struct segment *segment; /* borrowed; the only one with written bytes that are not synced; NULL: none */
    bool direct;
    int fd;                          /* if direct: owned; its file, past the cache */
    const struct rlog_disk *disk;    /* of fd: the segment may be gone when it is void */
    uint64_t pos;                    /* of the first byte that is gathered */
    uint32_t n;                      /* that are gathered */
    uint32_t half;                   /* of the memory, for what is gathered; the other one is perhaps being written */
    uint8_t *memory;                 /* owned; NULL: not open */
    struct put_stage_writer *writer; /* owned; the thread */
};

/* Has memory and a thread from now on until put_stage_fini. Returns 0 or MQ_ENOMEM. */
int put_stage_open(struct put_stage *stage);
/* What was gathered and written is void; gives up file, memory and thread. */
void put_stage_fini(struct put_stage *stage);

/* Gathers up to @n bytes that belong at @pos, where those that are gathered end if there are any. Returns how many
 * it took; 0: it is full. */
uint32_t put_stage_add(struct put_stage *stage, uint64_t pos, const uint8_t *bytes, uint32_t n);
/* Begins to write what is gathered, all of it in @segment of the log in @dir. No other segment has unsynced bytes. */
void put_stage_write(struct put_stage *stage, const char *dir, struct segment *segment);
/* What was written can be read on return. */
void put_stage_await(struct put_stage *stage);
/* What was written is on the disk on return. No segment has unsynced bytes any more. */
void put_stage_sync(struct put_stage *stage);
/* What is gathered and what was written is void. */
void put_stage_forget(struct put_stage *stage);

#endif
