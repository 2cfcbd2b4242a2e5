#include "broker/store/checkpoint.h"

#include "broker/store/consume_queue.h"
#include "remoting/base/buf.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define MAGIC 0x524D5151u /* "RMQQ" */
#define VERSION 2u
#define VERSION_OF_ONE_SIZE 1u /* had no file_units */
#define STAMPS_AT 16u
#define STAMP_BYTES 24u
#define SYNC_ALL_FROM 1024u /* so many files cost more than all that is dirty on the file system */

void checkpoint_encode(uint32_t file_units, const struct checkpoint_stamp stamps[CHECKPOINT_STAMPS],
                       uint8_t bytes[CHECKPOINT_BYTES])
{
    memset(bytes, 0, CHECKPOINT_BYTES);
    mq_be32_store(bytes, MAGIC);
    mq_be32_store(bytes + 8, VERSION);
    mq_be32_store(bytes + 12, file_units);
    for (uint32_t i = 0; i < CHECKPOINT_STAMPS; i++) {
        uint8_t *at = bytes + STAMPS_AT + i * STAMP_BYTES;

        mq_be64_store(at, stamps[i].index);
        mq_be32_store(at + 8, stamps[i].crc);
        mq_be64_store(at + 16, stamps[i].held_index);
    }
    mq_be32_store(bytes + 4, mq_crc32c(0, bytes + 8, CHECKPOINT_BYTES - 8));
}

int checkpoint_decode(const uint8_t *bytes, size_t n, uint32_t *file_units,
                      struct checkpoint_stamp stamps[CHECKPOINT_STAMPS])
{
    uint32_t version;

    if (n != CHECKPOINT_BYTES || mq_be32_load(bytes) != MAGIC ||
        mq_be32_load(bytes + 4) != mq_crc32c(0, bytes + 8, CHECKPOINT_BYTES - 8)) {
        return MQ_ECORRUPT;
    }
    version = mq_be32_load(bytes + 8);
    if (version != VERSION && version != VERSION_OF_ONE_SIZE) {
        return MQ_EVERSION;
    }
    *file_units = version == VERSION ? mq_be32_load(bytes + 12) : CONSUME_QUEUE_FILE_UNITS;
    for (uint32_t i = 0; i < CHECKPOINT_STAMPS; i++) {
        const uint8_t *at = bytes + STAMPS_AT + i * STAMP_BYTES;

        stamps[i] = (struct checkpoint_stamp){mq_be64_load(at), mq_be32_load(at + 8), mq_be64_load(at + 16)};
    }
    return 0;
}

int checkpoint_read(const char *path, uint32_t file_units, struct checkpoint_stamp stamps[CHECKPOINT_STAMPS])
{
    struct mq_buf file = {0};
    uint32_t was = file_units;
    int rc = mq_file_read(path, 4096, &file);

    memset(stamps, 0, CHECKPOINT_STAMPS * sizeof(stamps[0]));
    if (rc == 0) {
        int bad = checkpoint_decode(file.base, file.len, &was, stamps);

        if (bad != 0) {
            mq_log_warn("store", "%s: %s: the consume queues are made again", path, mq_strerror(bad));
        }
        if (was != file_units) {
            mq_log_warn("store",
                        "%s: the files of the consume queues have %" PRIu64
                        " bytes, mappedFileSizeConsumeQueue is %" PRIu64 " now: they are made again",
                        path, (uint64_t)was * CONSUME_QUEUE_UNIT_BYTES,
                        (uint64_t)file_units * CONSUME_QUEUE_UNIT_BYTES);
            memset(stamps, 0, CHECKPOINT_STAMPS * sizeof(stamps[0]));
        }
    }
    mq_buf_free(&file);
    return rc == -ENOENT || rc == MQ_ETOOBIG ? 0 : rc;
}

int checkpoint_write(const char *path, uint32_t file_units, const struct checkpoint_stamp stamps[CHECKPOINT_STAMPS])
{
    uint8_t bytes[CHECKPOINT_BYTES];

    checkpoint_encode(file_units, stamps, bytes);
    return mq_file_replace(path, bytes, sizeof(bytes));
}

static int sync_one(const struct checkpoint_files *files, uint32_t number)
{
    struct mq_buf path = {0};
    int rc = consume_queue_path(files->dir, number, files->file_units, &path);
    int fd;

    if (rc != 0) {
        return rc;
    }
    fd = open((const char *)path.base, O_RDONLY | O_CLOEXEC);
    mq_buf_free(&path);
    if (fd < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    rc = fsync(fd) != 0 ? -errno : 0;
    close(fd);
    return rc;
}

static int sync_all(const char *root)
{
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || syncfs(fd) != 0 ? -errno : 0;

    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

int checkpoint_sync_work(const struct checkpoint_files *files, size_t n, const char *root)
{
    int rc = 0;

    if (n > SYNC_ALL_FROM) {
        return sync_all(root);
    }
    for (size_t i = 0; i < n; i++) {
        for (uint32_t number = files[i].first; rc == 0 && number < files[i].end; number++) {
            rc = sync_one(&files[i], number);
        }
    }
    return rc;
}
