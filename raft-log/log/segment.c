#include "raft-log/log/segment.h"

#include "raft-log/log/index_file.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define ZEROS_BYTES (64u << 10)
#define ZEROS_VECS 16 /* so one call writes up to 1 MiB */

static const uint8_t ZEROS[ZEROS_BYTES];

static void on_unused(struct net_ref *ref)
{
    struct segment *segment = container_of(ref, struct segment, ref);

    segment->disk->unmap(segment->disk, segment->map, segment->bytes);
    segment->disk->close(segment->disk, segment->fd);
    mq_free(segment);
}

static int path_of(const char *dir, uint64_t first_pos, const char *suffix, struct mq_buf *out)
{
    return mq_buf_printf(out, "%s/" SEGMENT_DIR "/%0*" PRIu64 "%s", dir, SEGMENT_DIGITS, first_pos, suffix);
}

static void name_it(struct segment *segment, uint64_t first_pos)
{
    segment->first_pos = first_pos;
    segment->next = NULL;
    snprintf(segment->name, sizeof(segment->name), SEGMENT_DIR "/%0*" PRIu64, SEGMENT_DIGITS, first_pos);
}

/* Maps @fd and wraps both. @fd: taken on success. */
static int wrap(const struct rlog_disk *disk, int fd, uint64_t first_pos, uint64_t bytes, struct segment **out)
{
    struct segment *segment = mq_malloc(sizeof(*segment));
    int rc;

    if (segment == NULL) {
        return MQ_ENOMEM;
    }
    *segment = (struct segment){.ref = {1, on_unused}, .disk = disk, .fd = fd, .bytes = bytes};
    name_it(segment, first_pos);
    rc = disk->map(disk, fd, bytes, &segment->map);
    if (rc < 0) {
        mq_free(segment);
        return rc;
    }
    *out = segment;
    return 0;
}

/* Gives the allocated file its name for good. */
static int publish(const struct rlog_disk *disk, const char *dir, int fd, const char *from, const char *to)
{
    struct mq_buf log_dir = {0};
    int rc;

    rc = disk->fdatasync(disk, fd);
    if (rc < 0) {
        return rc;
    }
    rc = mq_buf_printf(&log_dir, "%s/" SEGMENT_DIR, dir);
    if (rc == 0) {
        rc = disk->rename(disk, from, to);
    }
    if (rc >= 0 && !RAFTMQ_DEFECT(NAME_NOT_SYNCED)) {
        rc = disk->sync_dir(disk, (const char *)log_dir.base);
    }
    mq_buf_free(&log_dir);
    return rc < 0 ? rc : 0;
}

static int make_at(const struct rlog_disk *disk, const char *dir, const char *tmp, const char *path,
                   uint64_t first_pos, uint64_t bytes, struct segment **out)
{
    struct segment *segment = NULL;
    int fd, rc;

    fd = disk->open(disk, tmp, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) {
        return fd;
    }
    rc = disk->fallocate(disk, fd, bytes);
    if (rc < 0) {
        goto err_after_open;
    }
    rc = wrap(disk, fd, first_pos, bytes, &segment);
    if (rc < 0) {
        goto err_after_open;
    }
    rc = publish(disk, dir, fd, tmp, path);
    if (rc < 0) {
        net_ref_release(&segment->ref); /* closes fd */
        goto err_after_close;
    }
    *out = segment;
    return 0;

err_after_open:
    disk->close(disk, fd);
err_after_close:
    disk->unlink(disk, tmp);
    return rc;
}

int segment_make(const struct rlog_disk *disk, const char *dir, uint64_t first_pos, uint64_t bytes,
                 struct segment **out)
{
    struct mq_buf path = {0}, tmp = {0};
    int rc;

    rc = path_of(dir, first_pos, "", &path);
    if (rc == 0) {
        rc = path_of(dir, first_pos, SEGMENT_NEW_SUFFIX, &tmp);
    }
    if (rc == 0) {
        rc = make_at(disk, dir, (const char *)tmp.base, (const char *)path.base, first_pos, bytes, out);
    }
    mq_buf_free(&path);
    mq_buf_free(&tmp);
    return rc;
}

/* Gives @old, whose file is at @path, the name @tmp, zeros it and publishes it as @to. */
static int renew(const char *dir, struct segment *old, const char *path, const char *tmp, const char *to)
{
    const struct rlog_disk *disk = old->disk;
    int rc = disk->zero_file != NULL ? disk->rename(disk, path, tmp) : -EOPNOTSUPP;

    if (rc < 0) {
        disk->unlink(disk, path);
        return rc;
    }
    rc = disk->zero_file(disk, old->fd, old->bytes);
    if (rc >= 0) {
        rc = publish(disk, dir, old->fd, tmp, to);
    }
    if (rc < 0) {
        disk->unlink(disk, tmp);
    }
    return rc < 0 ? rc : 0;
}

int segment_recycle(const char *dir, struct segment *old, uint64_t first_pos, struct segment **out)
{
    struct mq_buf path = {0}, tmp = {0}, to = {0};
    int rc;

    MQ_ASSERT(old->ref.count == 1);
    index_file_remove(old->disk, dir, old->first_pos);
    rc = path_of(dir, old->first_pos, "", &path);
    if (rc == 0) {
        rc = path_of(dir, first_pos, SEGMENT_NEW_SUFFIX, &tmp);
    }
    if (rc == 0) {
        rc = path_of(dir, first_pos, "", &to);
    }
    if (rc == 0) {
        rc = renew(dir, old, (const char *)path.base, (const char *)tmp.base, (const char *)to.base);
    }
    if (rc == 0) {
        name_it(old, first_pos);
        *out = old;
    } else {
        net_ref_release(&old->ref);
    }
    mq_buf_free(&path);
    mq_buf_free(&tmp);
    mq_buf_free(&to);
    return rc;
}

int segment_remove(const char *dir, struct segment *old)
{
    struct mq_buf path = {0};
    int rc;

    MQ_ASSERT(old->ref.count == 1);
    index_file_remove(old->disk, dir, old->first_pos);
    rc = path_of(dir, old->first_pos, "", &path);
    if (rc == 0) {
        rc = old->disk->unlink(old->disk, (const char *)path.base);
    }
    mq_buf_free(&path);
    net_ref_release(&old->ref);
    return rc < 0 ? rc : 0;
}

/* 0 if the file has exactly @bytes bytes, MQ_EVERSION if not. */
static int check_size(const struct rlog_disk *disk, int fd, uint64_t bytes)
{
    uint8_t byte;
    ssize_t last, behind;

    last = disk->pread(disk, fd, &byte, 1, bytes - 1);
    if (last < 0) {
        return (int)last;
    }
    behind = disk->pread(disk, fd, &byte, 1, bytes);
    if (behind < 0) {
        return (int)behind;
    }
    return last == 1 && behind == 0 ? 0 : MQ_EVERSION;
}

int segment_open(const struct rlog_disk *disk, const char *dir, uint64_t first_pos, uint64_t bytes,
                 struct segment **out, struct mq_buf *problem)
{
    struct mq_buf path = {0};
    int fd, rc;

    rc = path_of(dir, first_pos, "", &path);
    if (rc != 0) {
        goto out;
    }
    fd = disk->open(disk, (const char *)path.base, O_RDWR, 0);
    if (fd < 0) {
        rc = fd;
        goto out;
    }
    rc = check_size(disk, fd, bytes);
    if (rc == 0) {
        rc = wrap(disk, fd, first_pos, bytes, out);
    }
    if (rc != 0) {
        disk->close(disk, fd);
    }
out:
    if (rc == MQ_EVERSION) {
        mq_buf_printf(problem,
                      "%s: the file does not have the %" PRIu64 " bytes that a segment of this node is set to",
                      (const char *)path.base, bytes);
    } else if (rc != 0) {
        mq_buf_printf(problem, "%s: %s", path.base != NULL ? (const char *)path.base : dir, mq_strerror(rc));
    }
    mq_buf_free(&path);
    return rc;
}

int segment_zero(const struct segment *segment, uint64_t from, uint64_t to)
{
    MQ_ASSERT(from >= segment->first_pos && to <= segment_end(segment));
    while (from < to) {
        struct iovec vec[ZEROS_VECS];
        uint64_t start = from;
        int n = 0, rc;

        while (n < ZEROS_VECS && from < to) {
            uint64_t piece = to - from < ZEROS_BYTES ? to - from : ZEROS_BYTES;

            vec[n++] = (struct iovec){(void *)ZEROS, piece};
            from += piece;
        }
        rc = rlog_disk_write_all(segment->disk, segment->fd, vec, n, start - segment->first_pos);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int segment_sync(const struct segment *segment)
{
    return segment->disk->fdatasync(segment->disk, segment->fd);
}

struct segment_data segment_next_data(const struct segment *segment, uint64_t pos)
{
    uint64_t end = UINT64_MAX;
    int64_t at = segment->disk->next_data(segment->disk, segment->fd, pos - segment->first_pos, &end);

    if (at == -ENXIO || at >= (int64_t)segment->bytes) {
        return (struct segment_data){segment_end(segment), segment_end(segment)};
    }
    if (at < 0) {
        return (struct segment_data){pos, segment_end(segment)}; /* it does not know: then everything is data */
    }
    end = end < segment->bytes ? end : segment->bytes;
    return (struct segment_data){segment->first_pos + (uint64_t)at, segment->first_pos + end};
}

void segment_advise(const struct segment *segment, uint64_t from, uint64_t to, int advice)
{
    from -= (from - segment->first_pos) % SEGMENT_ALIGN;
    segment->disk->advise(segment->disk, segment_at(segment, from), to - from, advice);
}

int segment_name_parse(const char *name, uint64_t *first_pos)
{
    uint64_t pos = 0;

    if (strlen(name) != SEGMENT_DIGITS) {
        return MQ_EINVAL;
    }
    for (const char *at = name; *at != '\0'; at++) {
        unsigned digit = (unsigned)(*at - '0');

        if (digit > 9 || pos > (UINT64_MAX - digit) / 10) {
            return MQ_EINVAL;
        }
        pos = pos * 10 + digit;
    }
    *first_pos = pos;
    return 0;
}
