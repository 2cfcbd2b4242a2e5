#include "raft-log/log/commit_mark.h"

#include "raft-log/log/disk.h"
#include "raft-log/log/little.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <fcntl.h>
#include <inttypes.h>

#define NAME "commit-mark"
#define MAGIC 0x43514D52u /* "RMQC" */
#define VERSION 1
#define RECORD_BYTES 64u
#define RECORDS_APART 4096u
#define CRC_FROM 8u
#define STORE_MS 1000u

static void encode(const struct commit_mark *mark, uint8_t *at)
{
    memset(at, 0, RECORD_BYTES);
    rlog_le32_store(at, MAGIC);
    rlog_le16_store(at + 8, VERSION);
    rlog_le64_store(at + 16, mark->sequence);
    rlog_le64_store(at + 24, mark->incarnation);
    rlog_le64_store(at + 32, mark->index);
    rlog_le32_store(at + 4, mq_crc32c(0, at + CRC_FROM, RECORD_BYTES - CRC_FROM));
}

/* Takes the record if it is good, ours, and newer than what was read before. Returns 0, MQ_ECORRUPT or MQ_EVERSION.
 */
static int decode(struct commit_mark *mark, const uint8_t *at, ssize_t n)
{
    if (n != RECORD_BYTES || rlog_le32_load(at) != MAGIC ||
        rlog_le32_load(at + 4) != mq_crc32c(0, at + CRC_FROM, RECORD_BYTES - CRC_FROM)) {
        return MQ_ECORRUPT;
    }
    if (rlog_le16_load(at + 8) != VERSION) {
        return MQ_EVERSION;
    }
    if (rlog_le64_load(at + 24) != mark->incarnation) {
        return MQ_ECORRUPT;
    }
    if (rlog_le64_load(at + 16) > mark->sequence) {
        mark->sequence = rlog_le64_load(at + 16);
        mark->index = rlog_le64_load(at + 32);
    }
    return 0;
}

static int read_records(struct commit_mark *mark)
{
    uint8_t record[RECORD_BYTES];

    for (uint64_t k = 0; k < 2; k++) {
        ssize_t n = rlog_disk_read_all(mark->disk, mark->fd, record, sizeof(record), k * RECORDS_APART);

        if (n < 0) {
            return (int)n;
        }
        if (decode(mark, record, n) == MQ_EVERSION) {
            return MQ_EVERSION;
        }
    }
    return 0;
}

int commit_mark_open(struct commit_mark *mark, const struct rlog_disk *disk, const char *dir, uint64_t incarnation,
                     struct mq_buf *problem)
{
    struct mq_buf path = {0};
    int rc = mq_buf_printf(&path, "%s/" NAME, dir);

    *mark = (struct commit_mark){.disk = disk, .fd = -1, .incarnation = incarnation};
    if (rc == 0) {
        rc = mark->fd = disk->open(disk, (const char *)path.base, O_RDWR | O_CREAT, 0644);
    }
    mq_buf_free(&path);
    if (rc >= 0) {
        rc = read_records(mark);
    }
    if (rc < 0) {
        mq_buf_printf(problem, "%s/" NAME ": %s", dir,
                      rc == MQ_EVERSION ? "written by a newer version of this program" : mq_strerror(rc));
        commit_mark_drop(mark);
    }
    return rc < 0 ? rc : 0;
}

void commit_mark_drop(struct commit_mark *mark)
{
    if (mark->fd >= 0) {
        mark->disk->close(mark->disk, mark->fd);
        mark->fd = -1;
    }
}

/* Any thread; nothing else touches the mark meanwhile. */
static int store(const struct commit_mark *mark)
{
    uint8_t record[RECORD_BYTES];
    struct iovec vec = {record, sizeof(record)};
    int rc;

    encode(mark, record);
    rc = rlog_disk_write_all(mark->disk, mark->fd, &vec, 1, (mark->sequence & 1) * RECORDS_APART);
    return rc == 0 ? mark->disk->fdatasync(mark->disk, mark->fd) : rc;
}

/* The next record, if there is something to say. */
static bool move_on(struct commit_mark *mark)
{
    uint64_t index = mark->committed(mark->data);

    if (index <= mark->index) {
        return false;
    }
    mark->index = index;
    mark->sequence++;
    return true;
}

static void note(struct commit_mark *mark, int rc)
{
    if (rc < 0 && !mark->told) {
        mq_log_warn("log", NAME " cannot be stored: %s; a start after a power failure may know less",
                    mq_strerror(rc));
    }
    mark->told = rc < 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct commit_mark *mark = container_of((uv_timer_t *)handle, struct commit_mark, timer);

    mark->closed(mark->closed_data);
}

static void finish(struct commit_mark *mark)
{
    if (move_on(mark)) {
        note(mark, store(mark));
    }
    commit_mark_drop(mark);
    uv_close((uv_handle_t *)&mark->timer, on_closed);
}

static void store_work(uv_work_t *work)
{
    struct commit_mark *mark = container_of(work, struct commit_mark, work);

    mark->rc = store(mark);
}

static void store_done(uv_work_t *work, int status)
{
    struct commit_mark *mark = container_of(work, struct commit_mark, work);

    (void)status; /* nobody cancels it */
    mark->busy = false;
    note(mark, mark->rc);
    if (mark->closing) {
        finish(mark);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct commit_mark *mark = container_of(timer, struct commit_mark, timer);

    if (!mark->busy && move_on(mark)) {
        mark->busy = uv_queue_work(timer->loop, &mark->work, store_work, store_done) == 0;
    }
}

void commit_mark_start(struct commit_mark *mark, uv_loop_t *loop, uint64_t (*committed)(void *data), void *data)
{
    mark->committed = committed;
    mark->data = data;
    uv_timer_init(loop, &mark->timer);
    uv_timer_start(&mark->timer, on_timer, STORE_MS, STORE_MS);
}

void commit_mark_close(struct commit_mark *mark, void (*closed)(void *data), void *data)
{
    MQ_ASSERT(!mark->closing);
    mark->closing = true;
    mark->closed = closed;
    mark->closed_data = data;
    uv_timer_stop(&mark->timer);
    if (!mark->busy) {
        finish(mark);
    }
}
