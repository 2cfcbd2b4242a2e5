#include "raft-log/log/cut.h"

#include "raft-log/log/little.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#define CUT_NAME "cut"
#define CUT_MAGIC 0x54514D52u /* "RMQT" */
#define CUT_VERSION 1
#define CUT_BYTES 64u
#define CUT_CRC_FROM 8u

/* Writes zeros over [from, to) in all segments there and syncs them. Returns 0 or -errno. */
static int zero(struct handover *h, uint64_t from, uint64_t to)
{
    while (from < to) {
        struct segment *segment = handover_segment_at(h, from);
        uint64_t end = segment_end(segment) < to ? segment_end(segment) : to;
        int rc = segment_zero(segment, from, end);

        if (rc == 0) {
            rc = segment_sync(segment);
        }
        if (rc < 0) {
            return rc;
        }
        from = end;
    }
    return 0;
}

static void encode(uint8_t *at, uint64_t from, uint64_t to)
{
    memset(at, 0, CUT_BYTES);
    rlog_le32_store(at, CUT_MAGIC);
    rlog_le16_store(at + 8, CUT_VERSION);
    rlog_le64_store(at + 16, from);
    rlog_le64_store(at + 24, to);
    rlog_le32_store(at + 4, mq_crc32c(0, at + CUT_CRC_FROM, CUT_BYTES - CUT_CRC_FROM));
}

/* Returns 0, MQ_ENOTFOUND (no record) or MQ_EVERSION. */
static int decode(const uint8_t *at, uint64_t *from, uint64_t *to)
{
    if (rlog_le32_load(at) != CUT_MAGIC ||
        rlog_le32_load(at + 4) != mq_crc32c(0, at + CUT_CRC_FROM, CUT_BYTES - CUT_CRC_FROM)) {
        return MQ_ENOTFOUND;
    }
    if (rlog_le16_load(at + 8) != CUT_VERSION) {
        return MQ_EVERSION;
    }
    *from = rlog_le64_load(at + 16);
    *to = rlog_le64_load(at + 24);
    return 0;
}

/* Opens <dir>/cut. Returns the descriptor, MQ_ENOMEM or -errno. */
static int open_file(struct handover *h, int flags)
{
    struct mq_buf path = {0};
    int fd = mq_buf_printf(&path, "%s/" CUT_NAME, h->dir);

    if (fd == 0) {
        fd = h->disk->open(h->disk, (const char *)path.base, flags, 0644);
    }
    mq_buf_free(&path);
    return fd;
}

static int write_record(struct handover *h, int fd, uint8_t *record)
{
    struct iovec vec = {record, CUT_BYTES};
    int rc = rlog_disk_write_all(h->disk, fd, &vec, 1, 0);

    if (rc == 0) {
        rc = h->disk->fdatasync(h->disk, fd);
    }
    return rc < 0 ? rc : 0;
}

/* Steps 2 and 3. */
static int carry_out(struct handover *h, int fd, uint64_t from, uint64_t to)
{
    uint8_t none[CUT_BYTES] = {0};
    int rc = zero(h, from, to);

    return rc != 0 ? rc : write_record(h, fd, none);
}

int cut_try(struct handover *h, uint64_t from, uint64_t to)
{
    uint8_t record[CUT_BYTES];
    int fd, rc;

    encode(record, from, to);
    fd = open_file(h, O_RDWR | O_CREAT);
    if (fd < 0) {
        return fd;
    }
    rc = write_record(h, fd, record);
    if (rc == 0) {
        rc = h->disk->sync_dir(h->disk, h->dir);
    }
    if (rc >= 0) {
        rc = carry_out(h, fd, from, to);
    }
    h->disk->close(h->disk, fd);
    return rc < 0 ? rc : 0;
}

void cut_log(struct handover *h, uint64_t from, uint64_t to)
{
    int rc = cut_try(h, from, to);

    if (rc != 0) {
        rlog_disk_failed("truncation", CUT_NAME, rc);
    }
}

static int finish(struct handover *h, int fd, struct mq_buf *problem)
{
    uint8_t record[CUT_BYTES] = {0};
    uint64_t from, to;
    ssize_t n;
    int rc;

    n = rlog_disk_read_all(h->disk, fd, record, sizeof(record), 0);
    if (n < 0) {
        mq_buf_printf(problem, "%s/" CUT_NAME ": %s", h->dir, mq_strerror((int)n));
        return (int)n;
    }
    rc = decode(record, &from, &to);
    if (rc == MQ_ENOTFOUND) {
        uint8_t none[CUT_BYTES] = {0};

        /* The disk may still have one: a process that ended between writing this and its sync leaves it in memory
         * alone, and a power cut would bring back a truncation of what has been appended since. */
        return write_record(h, fd, none);
    }
    if (rc != 0) {
        mq_buf_printf(problem, "%s/" CUT_NAME ": format version %u, this program knows %u", h->dir,
                      rlog_le16_load(record + 8), CUT_VERSION);
        return rc;
    }
    if (from >= to || handover_segment_at(h, from) == NULL || handover_segment_at(h, to - 1) == NULL) {
        mq_buf_printf(problem,
                      "%s/" CUT_NAME ": asks to cut %" PRIu64 " to %" PRIu64 ", which this log does not hold", h->dir,
                      from, to);
        return MQ_ECORRUPT;
    }
    mq_log_info("log", "finishing an interrupted truncation from=%" PRIu64 " to=%" PRIu64, from, to);
    rc = write_record(h, fd, record); /* a killed process may have left it in memory only */
    if (rc == 0) {
        rc = h->disk->sync_dir(h->disk, h->dir);
    }
    if (rc >= 0) {
        rc = carry_out(h, fd, from, to);
    }
    if (rc != 0) {
        mq_buf_printf(problem, "%s/" CUT_NAME ": truncation at %" PRIu64 ": %s", h->dir, from, mq_strerror(rc));
    }
    return rc;
}

int cut_finish(struct handover *h, struct mq_buf *problem)
{
    int fd, rc;

    fd = open_file(h, O_RDWR);
    if (fd == -ENOENT) {
        return 0;
    }
    if (fd < 0) {
        mq_buf_printf(problem, "%s/" CUT_NAME ": %s", h->dir, mq_strerror(fd));
        return fd;
    }
    rc = finish(h, fd, problem);
    h->disk->close(h->disk, fd);
    return rc;
}
