/* Reads segments through a window of memory with pread, so that a bad sector is an error and not a signal.
 *
 * good header at its own position           an entry: judged, and held back until the next good header shows that it
 *                                           is not the tail
 * none, a good one behind it                a bad stretch; zeros before the first entry of a log are none
 * none, nothing good behind it              the tail: the log ends before it */
#include "raft-log/include/raftlog/dump.h"

#include "raft-log/log/disk.h"
#include "raft-log/log/entry_codec.h"
#include "raft-log/log/little.h"
#include "raft-log/log/segment.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define WINDOW_BYTES (1u << 20)

struct walk {
    const struct rlog_disk *disk;
    rlog_dump_cb each;
    void *data;
    struct rlog_dump_summary *sum;
    struct mq_buf *problem;
    bool enough;
    bool any; /* an entry was seen */

    int fd;
    const char *name;                  /* of the segment */
    uint64_t first_pos, bytes;         /* of the segment */
    uint8_t *window;                   /* owned; capacity window_cap */
    uint64_t window_pos, window_bytes; /* what of the segment is in it */
    size_t window_cap;

    bool chained; /* last is the entry right before */
    struct rlog_header last;
    struct rlog_dump_item held; /* bytes 0: none. Not yet told: it may be the tail */
    char held_file[32];
    uint64_t garbage_pos, garbage_end; /* bytes that are no entry, not yet told: they may be the tail */
    char garbage_file[32];
};

/* The bytes [pos, pos + n) of the segment. NULL: they cannot be read, with @rc set. */
static const uint8_t *window_at(struct walk *w, uint64_t pos, uint64_t n, int *rc)
{
    uint64_t want = n > WINDOW_BYTES ? n : WINDOW_BYTES;
    uint64_t left = w->first_pos + w->bytes - pos;
    ssize_t got;

    if (pos >= w->window_pos && pos + n <= w->window_pos + w->window_bytes) {
        return w->window + (pos - w->window_pos);
    }
    want = want < left ? want : left;
    if (want > w->window_cap) {
        uint8_t *more = mq_realloc(w->window, want);

        if (more == NULL) {
            *rc = MQ_ENOMEM;
            return NULL;
        }
        w->window = more;
        w->window_cap = want;
    }
    got = rlog_disk_read_all(w->disk, w->fd, w->window, want, pos - w->first_pos);
    if (got < (ssize_t)n) {
        *rc = got < 0 ? (int)got : MQ_ECORRUPT; /* the file became shorter */
        w->window_bytes = 0;
        return NULL;
    }
    w->window_pos = pos;
    w->window_bytes = (uint64_t)got;
    return w->window;
}

/* ---- telling ---- */

static void tell(struct walk *w, const struct rlog_dump_item *item)
{
    w->sum->bad += item->problem != NULL;
    if (w->each != NULL && !w->enough) {
        w->enough = !w->each(w->data, item);
    }
}

/* What was held back is part of the log, as a good header lies behind it. */
static void release_held(struct walk *w)
{
    struct rlog_dump_item item = w->held;

    if (item.bytes != 0) {
        item.file = w->held_file;
        w->sum->start_pos = w->sum->entries == 0 ? item.pos : w->sum->start_pos;
        w->sum->first_index = w->sum->entries == 0 ? item.index : w->sum->first_index;
        w->sum->last_index = item.index;
        w->sum->last_term = item.term;
        w->sum->end_pos = item.pos + item.bytes;
        w->sum->entries++;
        tell(w, &item);
        w->held = (struct rlog_dump_item){.bytes = 0};
    }
    if (w->garbage_end > w->garbage_pos) {
        item = (struct rlog_dump_item){.file = w->garbage_file,
                                       .problem = "no entry can be read here",
                                       .pos = w->garbage_pos,
                                       .bytes = w->garbage_end - w->garbage_pos};
        tell(w, &item);
        w->chained = false;
    }
    w->garbage_pos = w->garbage_end = 0;
}

static void add_garbage(struct walk *w, uint64_t from, uint64_t to)
{
    if (w->garbage_end == 0) {
        w->garbage_pos = from;
        snprintf(w->garbage_file, sizeof(w->garbage_file), "%s", w->name);
    }
    w->garbage_end = to;
}

/* ---- one entry ---- */

static const char *type_name(uint8_t type)
{
    return type == RLOG_COMMAND ? "command" : type == RLOG_BARRIER ? "barrier" : "change";
}

/* Which check fails, or NULL. @at: the whole entry. */
static const char *judge(const struct walk *w, const struct rlog_header *h, const uint8_t *at)
{
    if (w->chained) {
        if (h->index != w->last.index + 1) {
            return "index does not follow";
        }
        if (h->prev_crc != w->last.crc) {
            return "chain to the entry before";
        }
        if (h->term < w->last.term) {
            return "term below that of the entry before";
        }
    }
    return rlog_entry_is_sound(h, at) ? NULL : "payload checksum or padding";
}

static void take_entry(struct walk *w, const struct rlog_header *h, const uint8_t *at)
{
    release_held(w);
    w->any = true;
    w->held = (struct rlog_dump_item){
        .problem = judge(w, h, at),
        .readable = true,
        .pos = h->pos,
        .bytes = rlog_entry_bytes(h->payload_bytes),
        .index = h->index,
        .term = h->term,
        .commit = h->commit,
        .clock_ms = h->clock_ms,
        .store_ms = h->store_ms,
        .type = type_name(h->type),
        .payload_bytes = h->payload_bytes,
        .records = h->records,
        .items = h->items,
        .crc = h->crc,
        .prev_crc = h->prev_crc,
        .payload_crc = h->payload_crc,
    };
    snprintf(w->held_file, sizeof(w->held_file), "%s", w->name);
    w->last = *h;
    w->chained = true;
}

/* Whether a good header lies at @pos that says so itself, with its whole entry in the segment. */
static bool header_at(struct walk *w, uint64_t pos, struct rlog_header *h, int *rc)
{
    uint64_t left = w->first_pos + w->bytes - pos;
    const uint8_t *at = left >= RLOG_HEADER_BYTES ? window_at(w, pos, RLOG_HEADER_BYTES, rc) : NULL;

    return at != NULL && rlog_header_decode(at, RLOG_HEADER_BYTES, h) == 0 && h->pos == pos &&
           rlog_entry_bytes(h->payload_bytes) <= left;
}

/* ---- one segment ---- */

/* Where the file has data at or above @pos; the segment's end if nowhere. */
static uint64_t next_data(const struct walk *w, uint64_t pos)
{
    uint64_t end;
    int64_t at = w->disk->next_data(w->disk, w->fd, pos - w->first_pos, &end);

    if (at == -ENXIO) {
        return w->first_pos + w->bytes;
    }
    return at > (int64_t)(pos - w->first_pos) ? (w->first_pos + (uint64_t)at) & ~(uint64_t)7 : pos;
}

/* Searches a good header behind @pos. Returns its position or the segment's end. @dirty_end: behind the last bytes
 * before it that are not zero; @pos if there are none. */
static uint64_t search(struct walk *w, uint64_t pos, uint64_t *dirty_end, int *rc)
{
    uint64_t end = w->first_pos + w->bytes;
    struct rlog_header h;

    *dirty_end = pos;
    while (*rc == 0 && pos + 8 <= end) {
        const uint8_t *at;

        if ((pos - w->first_pos) % SEGMENT_ALIGN == 0) {
            pos = next_data(w, pos);
        }
        at = pos + 8 <= end ? window_at(w, pos, 8, rc) : NULL;
        if (at == NULL) {
            break;
        }
        if (rlog_le32_load(at) == RLOG_ENTRY_MAGIC && header_at(w, pos, &h, rc)) {
            return pos;
        }
        at = window_at(w, pos, 8, rc);
        if (at != NULL && rlog_le64_load(at) != 0) {
            *dirty_end = pos + 8;
        }
        pos += 8;
    }
    return end;
}

static int walk_segment(struct walk *w)
{
    uint64_t end = w->first_pos + w->bytes;
    uint64_t pos = w->first_pos, next, dirty_end;
    struct rlog_header h;
    int rc = 0;

    w->window_bytes = 0;
    while (rc == 0 && pos < end && !w->enough) {
        if (header_at(w, pos, &h, &rc)) {
            uint32_t n = rlog_entry_bytes(h.payload_bytes);
            const uint8_t *at = window_at(w, pos, n, &rc);

            if (at != NULL) {
                take_entry(w, &h, at);
            }
            pos += n;
            continue;
        }
        if (rc != 0) {
            break;
        }
        next = search(w, pos, &dirty_end, &rc);
        if (dirty_end > pos) {
            add_garbage(w, pos, dirty_end);
        } else if (next < end && w->any) {
            add_garbage(w, pos, next); /* zeros between entries of one segment */
        }
        pos = next;
    }
    if (rc != 0) {
        mq_buf_printf(w->problem, "%s: reading near position %" PRIu64 ": %s", w->name, pos, mq_strerror(rc));
    }
    return rc;
}

/* @path: the file's. @name: its name, which says its position; of another name the first header says it. */
static int walk_file(struct walk *w, const char *path, const char *name)
{
    uint8_t bytes[RLOG_HEADER_BYTES];
    struct rlog_header h;
    struct stat st;
    int rc = 0;

    w->fd = w->disk->open(w->disk, path, O_RDONLY, 0);
    if (w->fd < 0 || fstat(w->fd, &st) != 0) {
        rc = w->fd < 0 ? w->fd : -errno;
        mq_buf_printf(w->problem, "%s: %s", path, mq_strerror(rc));
        goto out;
    }
    w->name = name;
    w->bytes = (uint64_t)st.st_size;
    if (segment_name_parse(name, &w->first_pos) != 0) {
        if (rlog_disk_read_all(w->disk, w->fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes) ||
            rlog_header_decode(bytes, sizeof(bytes), &h) != 0) {
            mq_buf_printf(w->problem, "%s: neither its name nor its first entry says its place in the log", path);
            rc = MQ_EINVAL;
            goto out;
        }
        w->first_pos = h.pos;
    }
    w->sum->files++;
    rc = walk_segment(w);
out:
    if (w->fd >= 0) {
        w->disk->close(w->disk, w->fd);
    }
    return rc;
}

/* ---- a directory ---- */

struct listing {
    struct mq_buf positions; /* uint64_t each */
    int rc;
};

static void on_name(void *data, const char *name)
{
    struct listing *listing = data;
    uint64_t pos;

    if (segment_name_parse(name, &pos) == 0 && mq_buf_put(&listing->positions, &pos, sizeof(pos)) != 0) {
        listing->rc = MQ_ENOMEM;
    }
}

static int by_position(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static int walk_listed(struct walk *w, const char *dir, const struct listing *listing)
{
    size_t n = listing->positions.len / sizeof(uint64_t);
    uint64_t expected = 0;
    int rc = 0;

    qsort(listing->positions.base, n, sizeof(uint64_t), by_position);
    for (size_t k = 0; k < n && rc == 0 && !w->enough; k++) {
        struct mq_buf path = {0};
        char name[SEGMENT_DIGITS + 1];
        uint64_t pos;

        memcpy(&pos, listing->positions.base + k * sizeof(pos), sizeof(pos));
        snprintf(name, sizeof(name), "%0*" PRIu64, SEGMENT_DIGITS, pos);
        if (k > 0 && pos > expected) {
            w->name = "(missing)";
            add_garbage(w, expected, pos);
        }
        rc = mq_buf_printf(&path, "%s/%s", dir, name);
        rc = rc == 0 ? walk_file(w, (const char *)path.base, name) : rc;
        expected = pos + w->bytes;
        mq_buf_free(&path);
    }
    return rc;
}

/* Tries @dir with what may lie between it and the segments. */
static int walk_dir(struct walk *w, const char *dir)
{
    static const char *const below[] = {"", "/" SEGMENT_DIR, "/raftlog/" SEGMENT_DIR};

    for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
        struct listing listing = {.rc = 0};
        struct mq_buf path = {0};
        int rc = mq_buf_printf(&path, "%s%s", dir, below[i]);

        if (rc == 0 && w->disk->list(w->disk, (const char *)path.base, on_name, &listing) == 0) {
            rc = listing.rc;
        }
        if (rc != 0 || listing.positions.len > 0) {
            rc = rc == 0 ? walk_listed(w, (const char *)path.base, &listing) : rc;
            mq_buf_free(&listing.positions);
            mq_buf_free(&path);
            return rc;
        }
        mq_buf_free(&listing.positions);
        mq_buf_free(&path);
    }
    mq_buf_printf(w->problem, "%s: no segment of a log in it, in log or in raftlog/log", dir);
    return MQ_ENOTFOUND;
}

/* What is still held back has nothing good behind it: sound, it is the last entry; else it is the tail. */
static void settle_end(struct walk *w)
{
    uint64_t tail_pos = w->garbage_pos, tail_end = w->garbage_end;

    w->garbage_pos = w->garbage_end = 0;
    if (w->held.bytes != 0 && w->held.problem != NULL && strncmp(w->held.problem, "payload", 7) == 0) {
        tail_end = tail_end > 0 ? tail_end : w->held.pos + w->held.bytes;
        tail_pos = w->held.pos;
        w->held.bytes = 0;
    }
    release_held(w);
    w->sum->tail_bytes = tail_end - tail_pos;
}

int rlog_dump(const char *path, rlog_dump_cb each, void *data, struct rlog_dump_summary *out, struct mq_buf *problem)
{
    struct walk w = {.disk = &rlog_disk_real, .each = each, .data = data, .sum = out, .problem = problem, .fd = -1};
    const char *name = strrchr(path, '/');
    struct stat st;
    int rc;

    *out = (struct rlog_dump_summary){0};
    if (stat(path, &st) != 0) {
        rc = -errno;
        mq_buf_printf(problem, "%s: %s", path, mq_strerror(rc));
        return rc;
    }
    rc = S_ISDIR(st.st_mode) ? walk_dir(&w, path) : walk_file(&w, path, name != NULL ? name + 1 : path);
    if (rc == 0) {
        settle_end(&w);
    }
    mq_free(w.window);
    return rc;
}
