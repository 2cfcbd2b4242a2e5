/* One file of the log, <dir>/log/<first position, 20 digits>, mapped for reading. All segments of a log have the same
 * size.
 *
 * A segment is made under the name "<first position>.new": allocated, synced, renamed, and the directory synced. So a
 * file with a segment's name always has its full size, and a crash leaves at most a .new file, which the next start
 * removes.
 *
 * A segment that the log no longer needs is made into the next one: renamed to "<its next position>.new", its space
 * kept but read as zeros from then on, synced, renamed. Only when nobody looks at it any more.
 *
 * The struct does not change after it was made, so any thread may use it; its count belongs to the loop's thread, but
 * for a segment that was given to the spare. */
#ifndef RLOG_LOG_SEGMENT_H
#define RLOG_LOG_SEGMENT_H

#include "raft-log/log/disk.h"
#include "remoting/base/buf.h"
#include "remoting/net/conn.h"

#define SEGMENT_DIR "log"
#define SEGMENT_DIGITS 20
#define SEGMENT_NEW_SUFFIX ".new"
#define SEGMENT_ALIGN 4096u /* sizes are multiples of it */

struct segment {
    struct net_ref ref;           /* the log holds one, every view one more */
    const struct rlog_disk *disk; /* borrowed; outlives every view */
    int fd;                       /* owned */
    const uint8_t *map;           /* owned; the whole file */
    uint64_t first_pos;           /* position of map[0] in the commit log */
    uint64_t bytes;
    struct segment *next; /* in a list of segments that the log gave up */
    char name[32];        /* "log/00000000000000000000", for people */
};

static inline uint64_t segment_end(const struct segment *segment)
{
    return segment->first_pos + segment->bytes;
}

static inline const uint8_t *segment_at(const struct segment *segment, uint64_t pos)
{
    return segment->map + (pos - segment->first_pos);
}

static inline void segment_push(struct segment **list, struct segment *segment)
{
    segment->next = *list;
    *list = segment;
}

/* @list: not empty. */
static inline struct segment *segment_pop(struct segment **list)
{
    struct segment *segment = *list;

    *list = segment->next;
    return segment;
}

/* Where an entry lies that follows one that ends at @end: an entry never crosses a segment. */
static inline uint64_t segment_place(uint64_t segment_bytes, uint64_t end, uint32_t entry_bytes)
{
    uint64_t used = end % segment_bytes;

    return segment_bytes - used >= entry_bytes ? end : end - used + segment_bytes;
}

/* Makes a file of zeros, durable with its name. @dir: the member's. Returns 0 with one reference in @out, MQ_ENOMEM
 * or -errno. */
int segment_make(const struct rlog_disk *disk, const char *dir, uint64_t first_pos, uint64_t bytes,
                 struct segment **out);

/* The same out of @old, taken in any case, which nobody else holds. Returns also -EOPNOTSUPP. After a failure the
 * file of
 * @old is gone. */
int segment_recycle(const char *dir, struct segment *old, uint64_t first_pos, struct segment **out);

/* Removes the file of @old, taken, which nobody else holds. Returns 0, MQ_ENOMEM or -errno. */
int segment_remove(const char *dir, struct segment *old);

/* Opens one that exists. Returns 0 with one reference in @out; MQ_EVERSION (another size), MQ_ENOMEM or -errno with
 * one line in @problem. */
int segment_open(const struct rlog_disk *disk, const char *dir, uint64_t first_pos, uint64_t bytes,
                 struct segment **out, struct mq_buf *problem);

/* Writes zeros over [from, to) without a sync. Returns 0 or -errno. */
int segment_zero(const struct segment *segment, uint64_t from, uint64_t to);
int segment_sync(const struct segment *segment);

/* The first stretch of bytes from @pos on that may hold anything but zeros. It is empty at the segment's end if there
 * is none. */
struct segment_data {
    uint64_t from, to;
};
struct segment_data segment_next_data(const struct segment *segment, uint64_t pos);

/* Advice to the kernel about [from, to) of the map, widened to whole pages; it may be ignored. */
void segment_advise(const struct segment *segment, uint64_t from, uint64_t to, int advice);

/* Parses a segment's file name. Returns 0 or MQ_EINVAL. */
int segment_name_parse(const char *name, uint64_t *first_pos);

#endif
