#include "raft-log/log/aside.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define PREFIX "aside-"
#define PIECE_BYTES (8u << 20) /* written at a time */

/* Writes [from, to) of @segment to an open file and syncs it. */
static int copy(const struct segment *segment, int fd, uint64_t from, uint64_t to)
{
    int rc = 0;

    for (uint64_t at = from; at < to && rc == 0;) {
        uint64_t n = to - at < PIECE_BYTES ? to - at : PIECE_BYTES;
        struct iovec vec = {(void *)segment_at(segment, at), n};

        rc = rlog_disk_write_all(segment->disk, fd, &vec, 1, at - from);
        at += n;
    }
    return rc == 0 ? segment->disk->fdatasync(segment->disk, fd) : rc;
}

static int keep_piece(struct handover *h, uint64_t from, uint64_t to)
{
    struct mq_buf path = {0};
    int rc = mq_buf_printf(&path, "%s/" PREFIX "%020" PRIu64, h->dir, from);
    int fd;

    if (rc == 0) {
        rc = fd = h->disk->open(h->disk, (const char *)path.base, O_RDWR | O_CREAT | O_TRUNC, 0644);
        if (fd >= 0) {
            rc = copy(handover_segment_at(h, from), fd, from, to);
            h->disk->close(h->disk, fd);
            if (rc < 0) { /* of no use, and perhaps what the disk is full of */
                (void)h->disk->unlink(h->disk, (const char *)path.base);
            }
        }
    }
    mq_buf_free(&path);
    return rc < 0 ? rc : 0;
}

int aside_keep(struct handover *h, uint64_t from, uint64_t to)
{
    while (from < to) {
        uint64_t end = segment_end(handover_segment_at(h, from));
        int rc = keep_piece(h, from, end < to ? end : to);

        if (rc != 0) {
            return rc;
        }
        from = end;
    }
    return h->disk->sync_dir(h->disk, h->dir);
}

struct names {
    struct mq_buf text; /* each with its final zero */
    int rc;
};

static void on_name(void *data, const char *name)
{
    struct names *names = data;

    if (strncmp(name, PREFIX, strlen(PREFIX)) == 0 && names->rc == 0) {
        names->rc = mq_buf_put(&names->text, name, strlen(name) + 1);
    }
}

int aside_remove(const struct rlog_disk *disk, const char *dir)
{
    struct names names = {0};
    struct mq_buf path = {0};
    int rc = disk->list(disk, dir, on_name, &names);

    rc = rc < 0 ? rc : names.rc;
    for (size_t at = 0; at < names.text.len && rc >= 0;) {
        const char *name = (const char *)names.text.base + at;

        path.len = 0;
        rc = mq_buf_printf(&path, "%s/%s", dir, name);
        if (rc == 0) {
            rc = disk->unlink(disk, (const char *)path.base);
        }
        at += strlen(name) + 1;
    }
    mq_buf_free(&path);
    mq_buf_free(&names.text);
    return rc < 0 ? rc : 0;
}
