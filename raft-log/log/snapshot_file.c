#include "raft-log/log/snapshot_file.h"

#include "raft-log/log/little.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEADER_MAGIC 0x53514D52u /* "RMQS" */
#define BLOCK_MAGIC 0x43514D52u  /* "RMQC" */
#define FORMAT_VERSION 1
#define FIXED_BYTES 64u
#define SECTION_BYTES 16u
#define BLOCK_HEAD_BYTES 24u
#define HEADER_MAX (FIXED_BYTES + SECTION_BYTES * RLOG_SECTIONS_MAX + SNAPSHOT_MEMBERSHIP_MAX)

static uint32_t header_bytes(uint32_t n_sections, uint32_t membership_bytes)
{
    return (FIXED_BYTES + SECTION_BYTES * n_sections + membership_bytes + 7u) & ~7u;
}

static int copy_path(char to[SNAPSHOT_PATH_MAX], const char *path)
{
    size_t n = strlen(path);

    if (n >= SNAPSHOT_PATH_MAX) {
        return MQ_ETOOBIG;
    }
    memcpy(to, path, n + 1);
    return 0;
}

/* ---- writing ---- */

static bool can_be_written(const struct snapshot_info *info)
{
    bool ok = info->n_sections <= RLOG_SECTIONS_MAX && info->membership_bytes <= SNAPSHOT_MEMBERSHIP_MAX;

    for (uint32_t i = 0; ok && i < info->n_sections; i++) {
        ok = info->sections[i].id > (i != 0 ? info->sections[i - 1].id : 0);
    }
    return ok;
}

static uint32_t encode_header(const struct snapshot_info *info, uint8_t at[HEADER_MAX])
{
    uint32_t bytes = header_bytes(info->n_sections, info->membership_bytes);
    uint8_t *to = at + FIXED_BYTES;

    memset(at, 0, bytes);
    rlog_le32_store(at, HEADER_MAGIC);
    rlog_le16_store(at + 8, FORMAT_VERSION);
    rlog_le16_store(at + 10, (uint16_t)info->n_sections);
    rlog_le32_store(at + 12, info->membership_bytes);
    rlog_le64_store(at + 16, info->index);
    rlog_le64_store(at + 24, info->term);
    rlog_le64_store(at + 32, info->end_pos);
    rlog_le64_store(at + 40, (uint64_t)info->store_ms);
    rlog_le64_store(at + 48, info->change_index);
    rlog_le32_store(at + 56, info->crc);
    rlog_le32_store(at + 60, info->level);
    for (uint32_t i = 0; i < info->n_sections; i++, to += SECTION_BYTES) {
        rlog_le16_store(to, info->sections[i].id);
        rlog_le16_store(to + 2, info->sections[i].version);
        rlog_le32_store(to + 4, info->sections[i].level);
        rlog_le64_store(to + 8, info->sections[i].hash);
    }
    memcpy(to, info->membership, info->membership_bytes);
    rlog_le32_store(at + 4, mq_crc32c(0, at + 8, bytes - 8));
    return bytes;
}

int snapshot_writer_open(struct snapshot_writer *writer, const struct rlog_disk *disk, const char *path,
                         const struct snapshot_info *info)
{
    uint8_t header[HEADER_MAX];
    struct iovec vec = {header, 0};
    int rc;

    *writer = (struct snapshot_writer){.disk = disk, .fd = -1};
    rc = can_be_written(info) ? copy_path(writer->path, path) : MQ_EINVAL;
    if (rc != 0) {
        return rc;
    }
    vec.iov_len = encode_header(info, header);
    writer->at = vec.iov_len;
    writer->crc = rlog_le32_load(header + 4);
    rc = disk->open(disk, path, O_CREAT | O_TRUNC | O_RDWR, 0644);
    if (rc < 0) {
        return rc;
    }
    writer->fd = rc;
    rc = rlog_disk_write_all(disk, writer->fd, &vec, 1, 0);
    if (rc != 0) {
        snapshot_writer_abort(writer);
    }
    return rc;
}

static int write_block(struct snapshot_writer *writer, uint16_t section, const void *rows, uint32_t n)
{
    uint8_t head[BLOCK_HEAD_BYTES] = {0};
    struct iovec vec[2] = {{head, sizeof(head)}, {(void *)rows, n}};
    int rc;

    rlog_le32_store(head, BLOCK_MAGIC);
    rlog_le16_store(head + 8, section);
    rlog_le32_store(head + 12, n);
    rlog_le64_store(head + 16, ++writer->blocks);
    writer->crc = mq_crc32c(mq_crc32c(writer->crc, head + 8, sizeof(head) - 8), rows, n);
    rlog_le32_store(head + 4, writer->crc);
    rc = rlog_disk_write_all(writer->disk, writer->fd, vec, n != 0 ? 2 : 1, writer->at);
    writer->at += sizeof(head) + n;
    return rc;
}

int snapshot_writer_put(struct snapshot_writer *writer, uint16_t section, const void *rows, uint32_t n)
{
    MQ_ASSERT(section != 0 && n != 0 && n <= SNAPSHOT_BLOCK_MAX);
    return write_block(writer, section, rows, n);
}

int snapshot_writer_finish(struct snapshot_writer *writer, uint64_t *bytes)
{
    int rc = write_block(writer, 0, "", 0);
    int close_rc;

    if (rc == 0) {
        rc = RAFTMQ_DEFECT(SNAPSHOT_NOT_SYNCED) ? 0 : writer->disk->fdatasync(writer->disk, writer->fd);
    }
    close_rc = writer->disk->close(writer->disk, writer->fd);
    writer->fd = -1;
    rc = rc != 0 ? rc : close_rc;
    if (rc == 0) {
        *bytes = writer->at;
    }
    return rc;
}

void snapshot_writer_abort(struct snapshot_writer *writer)
{
    if (writer->fd >= 0) {
        (void)writer->disk->close(writer->disk, writer->fd);
        writer->fd = -1;
    }
    (void)writer->disk->unlink(writer->disk, writer->path);
}

/* ---- reading ---- */

static int bad(const struct snapshot_reader *reader, int rc, const char *what)
{
    (void)mq_buf_printf(reader->problem, "%s: at byte %" PRIu64 ": %s", reader->info->path, reader->at, what);
    return rc;
}

/* @n bytes at the reader's place go to buf at @to. */
static int read_to(struct snapshot_reader *reader, size_t to, size_t n)
{
    ssize_t got;

    reader->buf.len = to;
    if (mq_buf_reserve(&reader->buf, n) != 0) {
        return bad(reader, MQ_ENOMEM, mq_strerror(MQ_ENOMEM));
    }
    got = rlog_disk_read_all(reader->disk, reader->fd, reader->buf.base + to, n, reader->at + to);
    if (got < 0) {
        return bad(reader, (int)got, mq_strerror((int)got));
    }
    return (size_t)got == n ? 0 : bad(reader, MQ_ECORRUPT, "the file ends in the middle");
}

static bool decode_sections(struct snapshot_info *info, const uint8_t *at)
{
    for (uint32_t i = 0; i < info->n_sections; i++, at += SECTION_BYTES) {
        info->sections[i] = (struct rlog_section){.id = rlog_le16_load(at),
                                                  .version = rlog_le16_load(at + 2),
                                                  .level = rlog_le32_load(at + 4),
                                                  .hash = rlog_le64_load(at + 8)};
        if (info->sections[i].id <= (i != 0 ? info->sections[i - 1].id : 0)) {
            return false;
        }
    }
    return true;
}

static int decode_header(struct snapshot_reader *reader, const uint8_t *at, uint32_t bytes)
{
    struct snapshot_info *info = reader->info;

    reader->crc = rlog_le32_load(at + 4);
    if (mq_crc32c(0, at + 8, bytes - 8) != reader->crc) {
        return bad(reader, MQ_ECORRUPT, "bad checksum of the header");
    }
    if (rlog_le16_load(at + 8) != FORMAT_VERSION) {
        (void)mq_buf_printf(reader->problem, "%s: format version %" PRIu16 ", this program knows %d", info->path,
                            rlog_le16_load(at + 8), FORMAT_VERSION);
        return MQ_EVERSION;
    }
    info->index = rlog_le64_load(at + 16);
    info->term = rlog_le64_load(at + 24);
    info->end_pos = rlog_le64_load(at + 32);
    info->store_ms = (int64_t)rlog_le64_load(at + 40);
    info->change_index = rlog_le64_load(at + 48);
    info->crc = rlog_le32_load(at + 56);
    info->level = rlog_le32_load(at + 60);
    if (info->index == 0 || info->term == 0 || info->change_index > info->index || !decode_sections(info, at + 64)) {
        return bad(reader, MQ_ECORRUPT, "a header that cannot be");
    }
    memcpy(info->membership, at + FIXED_BYTES + SECTION_BYTES * info->n_sections, info->membership_bytes);
    return 0;
}

/* The sizes come from the disk, too: they are bounded before the checksum can vouch for them. A version counts only
 * with a good checksum, else a flipped bit would take a file for a later program's and keep the member from starting:
 * so every version keeps checksum, version and the counts that give the header's size where they are. */
static int read_header(struct snapshot_reader *reader)
{
    struct snapshot_info *info = reader->info;
    uint32_t bytes;
    int rc = read_to(reader, 0, FIXED_BYTES);

    if (rc != 0) {
        return rc;
    }
    if (rlog_le32_load(reader->buf.base) != HEADER_MAGIC) {
        return bad(reader, MQ_ECORRUPT, "not a snapshot");
    }
    info->n_sections = rlog_le16_load(reader->buf.base + 10);
    info->membership_bytes = rlog_le32_load(reader->buf.base + 12);
    if (info->n_sections > RLOG_SECTIONS_MAX || info->membership_bytes > SNAPSHOT_MEMBERSHIP_MAX) {
        return bad(reader, MQ_ECORRUPT, "a header that cannot be");
    }
    bytes = header_bytes(info->n_sections, info->membership_bytes);
    rc = read_to(reader, FIXED_BYTES, bytes - FIXED_BYTES);
    if (rc == 0) {
        rc = decode_header(reader, reader->buf.base, bytes);
    }
    reader->at = bytes;
    return rc;
}

int snapshot_reader_open(struct snapshot_reader *reader, const struct rlog_disk *disk, const char *path,
                         struct snapshot_info *info, struct mq_buf *problem)
{
    int rc;

    *info = (struct snapshot_info){0};
    *reader = (struct snapshot_reader){.disk = disk, .fd = -1, .info = info, .problem = problem};
    rc = copy_path(info->path, path);
    if (rc != 0) {
        (void)mq_buf_printf(problem, "%s: too long a path", path);
        return rc;
    }
    rc = disk->open(disk, path, O_RDONLY, 0);
    if (rc < 0) {
        (void)mq_buf_printf(problem, "%s: %s", path, mq_strerror(rc));
        return rc;
    }
    reader->fd = rc;
    rc = read_header(reader);
    if (rc != 0) {
        snapshot_reader_close(reader);
    }
    return rc;
}

static bool has_section(const struct snapshot_info *info, uint16_t id)
{
    for (uint32_t i = 0; i < info->n_sections; i++) {
        if (info->sections[i].id == id) {
            return true;
        }
    }
    return false;
}

/* The last block was read: nothing may follow. */
static int end_here(struct snapshot_reader *reader)
{
    uint8_t more;
    ssize_t got = rlog_disk_read_all(reader->disk, reader->fd, &more, 1, reader->at);

    if (got != 0) {
        return got < 0 ? bad(reader, (int)got, mq_strerror((int)got))
                       : bad(reader, MQ_ECORRUPT, "bytes behind the last block");
    }
    reader->info->bytes = reader->at;
    return 0;
}

int snapshot_reader_next(struct snapshot_reader *reader, struct snapshot_block *out)
{
    const uint8_t *at;
    uint16_t section;
    uint32_t n;
    int rc = read_to(reader, 0, BLOCK_HEAD_BYTES);

    if (rc != 0) {
        return rc;
    }
    section = rlog_le16_load(reader->buf.base + 8);
    n = rlog_le32_load(reader->buf.base + 12);
    if (rlog_le32_load(reader->buf.base) != BLOCK_MAGIC || n > SNAPSHOT_BLOCK_MAX || (section == 0) != (n == 0)) {
        return bad(reader, MQ_ECORRUPT, "no block here");
    }
    rc = read_to(reader, BLOCK_HEAD_BYTES, n);
    if (rc != 0) {
        return rc;
    }
    at = reader->buf.base; /* it may have moved */
    reader->crc = mq_crc32c(reader->crc, at + 8, BLOCK_HEAD_BYTES - 8 + n);
    if (rlog_le32_load(at + 4) != reader->crc) {
        return bad(reader, MQ_ECORRUPT, "bad checksum");
    }
    if (rlog_le64_load(at + 16) != ++reader->blocks || rlog_le16_load(at + 10) != 0 ||
        (section != 0 && !has_section(reader->info, section))) {
        return bad(reader, MQ_ECORRUPT, "a block that cannot be");
    }
    reader->at += BLOCK_HEAD_BYTES + n;
    if (section == 0) {
        return end_here(reader);
    }
    *out = (struct snapshot_block){section, at + BLOCK_HEAD_BYTES, n};
    return 1;
}

void snapshot_reader_close(struct snapshot_reader *reader)
{
    if (reader->fd >= 0) {
        (void)reader->disk->close(reader->disk, reader->fd);
        reader->fd = -1;
    }
    mq_buf_free(&reader->buf);
}

int snapshot_file_check(const struct rlog_disk *disk, const char *path, struct snapshot_info *info,
                        struct mq_buf *problem)
{
    struct snapshot_reader reader;
    struct snapshot_block block;
    int fd = disk->open(disk, path, O_RDONLY, 0);
    int rc;

    if (fd >= 0) {
        (void)disk->forget(disk, fd, 0, INT64_MAX);
        (void)disk->close(disk, fd);
    }
    rc = snapshot_reader_open(&reader, disk, path, info, problem);
    if (rc != 0) {
        return rc;
    }
    while ((rc = snapshot_reader_next(&reader, &block)) == 1) {
    }
    snapshot_reader_close(&reader);
    return rc;
}
