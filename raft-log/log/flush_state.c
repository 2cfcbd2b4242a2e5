#include "raft-log/log/flush_state.h"

#include "raft-log/log/disk.h"
#include "raft-log/log/little.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define NAME "flush"
#define MAGIC 0x46514D52u /* "RMQF" */
#define VERSION 1
#define RECORD_BYTES 64u /* in one sector, so a write of it is whole or absent */
#define CRC_FROM 8u
#define LATE 1u
#define IN_ORDER 2u

struct record {
    bool late, in_order;
    char boot[FLUSH_BOOT_ID_BYTES];
    uint64_t incarnation;
};

static void encode(const struct record *record, uint8_t *at)
{
    memset(at, 0, RECORD_BYTES);
    rlog_le32_store(at, MAGIC);
    rlog_le16_store(at + 8, VERSION);
    rlog_le16_store(at + 10, (uint16_t)((record->late ? LATE : 0) | (record->in_order ? IN_ORDER : 0)));
    memcpy(at + 16, record->boot, FLUSH_BOOT_ID_BYTES);
    rlog_le64_store(at + 56, record->incarnation);
    rlog_le32_store(at + 4, mq_crc32c(0, at + CRC_FROM, RECORD_BYTES - CRC_FROM));
}

static int decode(const uint8_t *at, ssize_t n, struct record *out)
{
    if (n != RECORD_BYTES || rlog_le32_load(at) != MAGIC ||
        rlog_le32_load(at + 4) != mq_crc32c(0, at + CRC_FROM, RECORD_BYTES - CRC_FROM)) {
        return MQ_ECORRUPT;
    }
    if (rlog_le16_load(at + 8) != VERSION) {
        return MQ_EVERSION;
    }
    *out = (struct record){.late = (rlog_le16_load(at + 10) & LATE) != 0,
                           .in_order = (rlog_le16_load(at + 10) & IN_ORDER) != 0,
                           .incarnation = rlog_le64_load(at + 56)};
    memcpy(out->boot, at + 16, FLUSH_BOOT_ID_BYTES);
    return 0;
}

static int open_file(const struct flush_state *state, int flags)
{
    struct mq_buf path = {0};
    int fd = mq_buf_printf(&path, "%s/" NAME, state->dir);

    if (fd == 0) {
        fd = state->disk->open(state->disk, (const char *)path.base, flags, 0644);
    }
    mq_buf_free(&path);
    return fd;
}

static int store(struct flush_state *state, bool in_order)
{
    struct record record = {.late = state->late, .in_order = in_order, .incarnation = state->incarnation};
    uint8_t bytes[RECORD_BYTES];
    struct iovec vec = {bytes, sizeof(bytes)};
    int fd = open_file(state, O_RDWR | O_CREAT);
    int rc;

    if (fd < 0) {
        return fd;
    }
    memcpy(record.boot, state->boot, sizeof(record.boot));
    encode(&record, bytes);
    rc = rlog_disk_write_all(state->disk, fd, &vec, 1, 0);
    if (rc == 0) {
        rc = state->disk->fdatasync(state->disk, fd);
    }
    state->disk->close(state->disk, fd);
    if (rc >= 0 && !state->stored) {
        rc = state->disk->sync_dir(state->disk, state->dir);
    }
    state->stored = state->stored || rc >= 0;
    return rc < 0 ? rc : 0;
}

/* Whether what @record says of the last use allows for a missing end. */
static bool is_lost(const struct flush_state *state, const struct record *record)
{
    bool same_boot = state->boot[0] != '\0' && memcmp(state->boot, record->boot, sizeof(state->boot)) == 0;

    return record->incarnation != state->incarnation || (record->late && !record->in_order && !same_boot);
}

int flush_state_open(struct flush_state *state, const struct rlog_disk *disk, const char *dir, uint64_t incarnation,
                     bool late, struct mq_buf *problem)
{
    uint8_t bytes[RECORD_BYTES + 1];
    struct record record = {0};
    ssize_t n = 0;
    int fd, rc = 0;

    *state = (struct flush_state){.disk = disk, .dir = dir, .incarnation = incarnation, .late = late};
    if (disk->boot_id == NULL || disk->boot_id(disk, state->boot, sizeof(state->boot) - 1) != 0) {
        memset(state->boot, 0, sizeof(state->boot)); /* then every start may be the first of a boot */
    }
    fd = open_file(state, O_RDONLY);
    if (fd == -ENOENT) {
        return 0;
    }
    rc = fd < 0 ? fd : 0;
    if (rc == 0) {
        n = rlog_disk_read_all(disk, fd, bytes, sizeof(bytes), 0);
        disk->close(disk, fd);
        rc = n < 0 ? (int)n : decode(bytes, n, &record);
    }
    if (rc == MQ_ECORRUPT) {
        mq_log_warn("log", "%s/" NAME " is damaged: what was acknowledged last may be missing", dir);
    } else if (rc != 0) {
        mq_buf_printf(problem, "%s/" NAME ": %s", dir,
                      rc == MQ_EVERSION ? "written by a newer version of this program" : mq_strerror(rc));
        return rc;
    }
    state->stored = true;
    state->was_late = record.late && !record.in_order;
    state->lost = rc == MQ_ECORRUPT || is_lost(state, &record);
    return 0;
}

int flush_state_begin(struct flush_state *state, struct mq_buf *problem)
{
    int rc = state->late || state->stored ? store(state, false) : 0;

    if (rc != 0) {
        mq_buf_printf(problem, "%s/" NAME ": %s", state->dir, mq_strerror(rc));
    }
    return rc;
}

void flush_state_end(struct flush_state *state)
{
    int rc = state->late ? store(state, true) : 0;

    if (rc != 0) {
        mq_log_warn("log", "%s/" NAME ": %s: the next start may hold back its vote", state->dir, mq_strerror(rc));
    }
}
