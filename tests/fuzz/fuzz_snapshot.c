/* A snapshot's file against any bytes: reading ends, stays within the file, and what is accepted is whole.
 *
 * The first byte of the input says whether checksums are made to fit, so that the fuzzer gets past them. */
#include "tests/fuzz/fuzz.h"

#include "raft-log/log/little.h"
#include "raft-log/log/snapshot_file.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <string.h>

struct bytes {
    uint8_t *at;
    size_t n;
};

static int any_open(const struct rlog_disk *disk, const char *path, int flags, int mode)
{
    (void)disk;
    (void)path;
    (void)flags;
    (void)mode;
    return 3;
}

static int any_close(const struct rlog_disk *disk, int fd)
{
    (void)disk;
    (void)fd;
    return 0;
}

static int any_forget(const struct rlog_disk *disk, int fd, uint64_t at, uint64_t bytes)
{
    (void)disk;
    (void)fd;
    (void)at;
    (void)bytes;
    return 0;
}

static ssize_t any_pread(const struct rlog_disk *disk, int fd, void *to, size_t n, uint64_t at)
{
    const struct bytes *file = disk->data;
    size_t left = at < file->n ? file->n - (size_t)at : 0;

    (void)fd;
    n = n < left ? n : left;
    if (n != 0) {
        memcpy(to, file->at + at, n);
    }
    return (ssize_t)n;
}

static void fit_checksums(struct bytes *file)
{
    size_t at = 64, n;
    uint32_t crc;

    if (file->n < 64) {
        return;
    }
    at += 16u * (rlog_le16_load(file->at + 10) % (RLOG_SECTIONS_MAX + 1)) + rlog_le32_load(file->at + 12) % 64;
    at = (at + 7) & ~(size_t)7;
    if (at > file->n) {
        return;
    }
    crc = mq_crc32c(0, file->at + 8, at - 8);
    rlog_le32_store(file->at + 4, crc);
    for (uint64_t number = 1; at + 24 <= file->n; at += 24 + n, number++) {
        n = rlog_le32_load(file->at + at + 12) % 256;
        if (n > file->n - at - 24) {
            return;
        }
        rlog_le32_store(file->at + at + 12, (uint32_t)n);
        rlog_le64_store(file->at + at + 16, number);
        crc = mq_crc32c(crc, file->at + at + 8, 16 + n);
        rlog_le32_store(file->at + at + 4, crc);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct bytes file = {mq_malloc(n + 1), n != 0 ? n - 1 : 0};
    const struct rlog_disk disk = {
        .open = any_open, .close = any_close, .pread = any_pread, .forget = any_forget, .data = &file};
    struct snapshot_info *info = mq_malloc(sizeof(*info));
    struct mq_buf problem = {0};
    int rc;

    MQ_ASSERT(file.at != NULL && info != NULL);
    if (file.n != 0) {
        memcpy(file.at, bytes + 1, file.n);
    }
    if (n != 0 && (bytes[0] & 1) != 0) {
        fit_checksums(&file);
    }
    rc = snapshot_file_check(&disk, "snapshot/fuzz", info, &problem);
    MQ_ASSERT(rc == 0 || rc == MQ_ECORRUPT || rc == MQ_EVERSION);
    MQ_ASSERT((rc == 0) == (problem.len == 0));
    MQ_ASSERT(rc != 0 || (info->bytes == file.n && info->index != 0));
    mq_buf_free(&problem);
    mq_free(info);
    mq_free(file.at);
    return 0;
}
