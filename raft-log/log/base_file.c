#include "raft-log/log/base_file.h"

#include "raft-log/log/base.pb-c.h"
#include "raft-log/log/little.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#define BASE_MAGIC 0x42514D52u /* "RMQB" */
#define BASE_VERSION 1
#define CRC_FROM 8u

static const char *const COPIES[2] = {"base-0", "base-1"};

void base_keep(struct base_kept *to, const struct rlog_base *base)
{
    MQ_ASSERT(base->change_bytes <= RLOG_BASE_CHANGE_MAX);
    if (base->change_bytes != 0) {
        memmove(to->change, base->change, base->change_bytes);
    }
    to->base = *base;
    to->base.change = to->change;
}

/* --- format ------------------------------------------------------------------------------------------------- */

uint32_t base_file_encode(const struct rlog_base *base, bool reset, uint64_t sequence, uint8_t *out)
{
    Rlog__Base body = RLOG__BASE__INIT;
    uint32_t n;

    MQ_ASSERT(base->change_bytes <= RLOG_BASE_CHANGE_MAX);
    body.index = base->index;
    body.term = base->term;
    body.crc = base->crc;
    body.end_pos = base->end_pos;
    body.store_ms = base->store_ms;
    body.change_index = base->change_index;
    body.change = (ProtobufCBinaryData){base->change_bytes, (uint8_t *)base->change};
    body.reset = reset;
    n = (uint32_t)rlog__base__get_packed_size(&body);
    MQ_ASSERT(n <= BASE_FILE_BYTES_MAX - BASE_FILE_HEADER_BYTES);
    memset(out, 0, BASE_FILE_HEADER_BYTES);
    rlog_le32_store(out, BASE_MAGIC);
    rlog_le16_store(out + 8, BASE_VERSION);
    rlog_le32_store(out + 12, n);
    rlog_le64_store(out + 16, sequence);
    rlog__base__pack(&body, out + BASE_FILE_HEADER_BYTES);
    n += BASE_FILE_HEADER_BYTES;
    rlog_le32_store(out + 4, mq_crc32c(0, out + CRC_FROM, n - CRC_FROM));
    return n;
}

/* Whether a body that checks can be what a log wrote. */
static bool is_plausible(const Rlog__Base *body)
{
    bool nothing = body->index == 0 && body->term == 0 && body->crc == 0 && body->end_pos == 0 && body->store_ms == 0;

    return (body->index == 0 ? nothing : body->term != 0 && body->end_pos != 0) && body->end_pos % 8 == 0 &&
           body->change.len <= RLOG_BASE_CHANGE_MAX;
}

int base_file_decode(const uint8_t *at, size_t n, struct base_kept *out, bool *reset, uint64_t *sequence)
{
    struct rlog_base base;
    Rlog__Base *body;
    uint32_t bytes;
    int rc = MQ_ECORRUPT;

    if (n < BASE_FILE_HEADER_BYTES || rlog_le32_load(at) != BASE_MAGIC) {
        return MQ_ECORRUPT;
    }
    bytes = rlog_le32_load(at + 12);
    if (bytes > n - BASE_FILE_HEADER_BYTES ||
        rlog_le32_load(at + 4) != mq_crc32c(0, at + CRC_FROM, BASE_FILE_HEADER_BYTES - CRC_FROM + bytes)) {
        return MQ_ECORRUPT;
    }
    if (rlog_le16_load(at + 8) != BASE_VERSION) {
        return MQ_EVERSION;
    }
    body = rlog__base__unpack(NULL, bytes, at + BASE_FILE_HEADER_BYTES);
    if (body == NULL) {
        return MQ_ECORRUPT;
    }
    if (is_plausible(body)) {
        base = (struct rlog_base){.index = body->index,
                                  .term = body->term,
                                  .crc = body->crc,
                                  .end_pos = body->end_pos,
                                  .store_ms = body->store_ms,
                                  .change_index = body->change_index,
                                  .change = body->change.data,
                                  .change_bytes = (uint32_t)body->change.len};
        base_keep(out, &base);
        *reset = body->reset;
        *sequence = rlog_le64_load(at + 16);
        rc = 0;
    }
    rlog__base__free_unpacked(body, NULL);
    return rc;
}

/* --- files -------------------------------------------------------------------------------------------------- */

/* Opens copy @k. Returns the descriptor, MQ_ENOMEM or -errno. */
static int open_copy(const struct base_file *file, int k, int flags)
{
    struct mq_buf path = {0};
    int fd = mq_buf_printf(&path, "%s/%s", file->dir, COPIES[k]);

    if (fd == 0) {
        fd = file->disk->open(file->disk, (const char *)path.base, flags, 0644);
    }
    mq_buf_free(&path);
    return fd;
}

/* Writes copy @k and makes it durable; its name too when it is @fresh. */
static int write_copy(const struct base_file *file, int k, uint8_t *bytes, uint32_t n, bool fresh)
{
    struct iovec vec = {bytes, n};
    int fd = open_copy(file, k, O_RDWR | O_CREAT);
    int rc;

    if (fd < 0) {
        return fd;
    }
    rc = rlog_disk_write_all(file->disk, fd, &vec, 1, 0);
    if (rc == 0) {
        rc = file->disk->fdatasync(file->disk, fd);
    }
    file->disk->close(file->disk, fd);
    if (rc >= 0 && fresh) {
        rc = file->disk->sync_dir(file->disk, file->dir);
    }
    return rc < 0 ? rc : 0;
}

int base_file_store(struct base_file *file, const struct rlog_base *base, bool reset)
{
    uint8_t *bytes;
    uint32_t n;
    int rc = 0;

    if (base->change_bytes > RLOG_BASE_CHANGE_MAX) {
        return MQ_ETOOBIG;
    }
    bytes = mq_malloc(BASE_FILE_BYTES_MAX);
    if (bytes == NULL) {
        return MQ_ENOMEM;
    }
    n = base_file_encode(base, reset, file->sequence + 1, bytes);
    for (int k = 0; k < 2 && rc == 0; k++) {
        rc = write_copy(file, k, bytes, n, file->sequence == 0);
    }
    mq_free(bytes);
    if (rc == 0) {
        file->sequence++;
    }
    return rc;
}

struct copy {
    struct base_kept base;
    uint64_t sequence;
    bool reset;
    bool absent;
    int rc;
};

/* Fills copy->rc: 0, MQ_ECORRUPT (also absent), or what makes the start impossible. */
static void read_copy(const struct base_file *file, int k, struct copy *copy, struct mq_buf *problem)
{
    uint8_t bytes[BASE_FILE_BYTES_MAX];
    ssize_t n;
    int fd = open_copy(file, k, O_RDONLY);

    *copy = (struct copy){.absent = fd == -ENOENT, .rc = MQ_ECORRUPT};
    if (copy->absent) {
        return;
    }
    n = fd;
    if (fd >= 0) {
        n = rlog_disk_read_all(file->disk, fd, bytes, sizeof(bytes), 0);
        file->disk->close(file->disk, fd);
    }
    copy->rc = n < 0 ? (int)n : base_file_decode(bytes, (size_t)n, &copy->base, &copy->reset, &copy->sequence);
    if (copy->rc == MQ_EVERSION) {
        mq_buf_printf(problem, "%s/%s: format version %u, this program knows %d", file->dir, COPIES[k],
                      rlog_le16_load(bytes + 8), BASE_VERSION);
    } else if (copy->rc != 0 && copy->rc != MQ_ECORRUPT) {
        mq_buf_printf(problem, "%s/%s: %s", file->dir, COPIES[k], mq_strerror(copy->rc));
    }
}

/* Takes the newer good copy and makes the other one equal to it. */
static int choose(struct base_file *file, const struct copy *copies, struct base_kept *out, bool *reset,
                  struct mq_buf *problem)
{
    const struct copy *a = &copies[0], *b = &copies[1];
    const struct copy *best = a->rc != 0 || (b->rc == 0 && b->sequence > a->sequence) ? b : a;
    const struct copy *other = best == a ? b : a;
    int rc;

    if (best->rc != 0) {
        if (b->absent) {
            return 0; /* base-1 is made after base-0 is durable: nothing was ever stored */
        }
        mq_buf_printf(problem,
                      "%s: base-0 and base-1 are both bad: it is not known where this log begins; see README \"When "
                      "a node refuses to start\"",
                      file->dir);
        return MQ_ECORRUPT;
    }
    base_keep(out, &best->base.base);
    *reset = best->reset;
    file->sequence = best->sequence;
    if (other->rc == 0 && other->sequence == best->sequence) {
        return 0;
    }
    if (other->rc != 0) {
        mq_log_warn("log", "%s/%s is bad or missing and is written anew", file->dir, COPIES[other - copies]);
    }
    rc = base_file_store(file, &out->base, *reset);
    if (rc == 0 && other->absent) {
        rc = file->disk->sync_dir(file->disk, file->dir);
    }
    if (rc < 0) {
        mq_buf_printf(problem, "%s/%s: %s", file->dir, COPIES[other - copies], mq_strerror(rc));
    }
    return rc < 0 ? rc : 0;
}

int base_file_open(struct base_file *file, const struct rlog_disk *disk, const char *dir, struct base_kept *out,
                   bool *reset, struct mq_buf *problem)
{
    struct copy *copies = mq_calloc(2, sizeof(copies[0]));
    int rc = 0;

    *file = (struct base_file){.disk = disk, .dir = mq_strdup(dir)};
    base_keep(out, &(struct rlog_base){0});
    *reset = false;
    if (copies == NULL || file->dir == NULL) {
        mq_buf_printf(problem, "%s: %s", dir, mq_strerror(MQ_ENOMEM));
        rc = MQ_ENOMEM;
    }
    for (int k = 0; k < 2 && rc == 0; k++) {
        read_copy(file, k, &copies[k], problem);
        rc = copies[k].rc != MQ_ECORRUPT ? copies[k].rc : 0;
    }
    if (rc == 0) {
        rc = choose(file, copies, out, reset, problem);
    }
    mq_free(copies);
    if (rc != 0) {
        base_file_close(file);
    }
    return rc;
}

void base_file_close(struct base_file *file)
{
    mq_free(file->dir);
    *file = (struct base_file){0};
}
