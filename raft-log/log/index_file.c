#include "raft-log/log/index_file.h"

#include "raft-log/log/entry_codec.h"
#include "raft-log/log/little.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#define BLOCK_MAGIC 0x58514D52u /* "RMQX" */
#define BLOCK_VERSION 1
#define CRC_FROM 8u
#define RUN_BYTES 16u

/* One block that checks, inside the bytes of its file. */
struct block {
    const uint8_t *at;
    uint32_t bytes, n, n_runs, n_changes;
    uint64_t first_index;
    uint32_t prev_crc;
    struct index_mark end;
};

static const uint8_t *runs_of(const struct block *block)
{
    return block->at + INDEX_BLOCK_HEADER_BYTES;
}

static const uint8_t *changes_of(const struct block *block)
{
    return runs_of(block) + (size_t)block->n_runs * RUN_BYTES;
}

static const uint8_t *offsets_of(const struct block *block)
{
    return changes_of(block) + (size_t)block->n_changes * 4;
}

static uint64_t block_bytes(uint64_t n, uint64_t runs, uint64_t changes)
{
    return (INDEX_BLOCK_HEADER_BYTES + runs * RUN_BYTES + (changes + n) * 4 + 7) & ~(uint64_t)7;
}

/* ---- writing ---- */

static int put_u32(struct mq_buf *out, uint32_t v)
{
    uint8_t bytes[4];

    rlog_le32_store(bytes, v);
    return mq_buf_put(out, bytes, sizeof(bytes));
}

static int put_runs(const struct entry_index *index, uint64_t first, uint64_t last, struct mq_buf *out, uint32_t *n)
{
    int rc = 0;

    for (uint64_t i = first; i <= last && rc == 0; i = entry_index_term_end(index, i) + 1) {
        uint8_t run[RUN_BYTES] = {0};

        rlog_le64_store(run, entry_index_term(index, i));
        rlog_le32_store(run + 8, (uint32_t)(i - first));
        rc = mq_buf_put(out, run, sizeof(run));
        (*n)++;
    }
    return rc;
}

static int put_changes(const struct entry_index *index, uint64_t first, uint64_t last, struct mq_buf *out,
                       uint32_t *n)
{
    int rc = 0;

    for (size_t k = 0; k < index->n_changes && rc == 0; k++) {
        if (index->changes[k] >= first && index->changes[k] <= last) {
            rc = put_u32(out, (uint32_t)(index->changes[k] - first));
            (*n)++;
        }
    }
    return rc;
}

static int put_offsets(const struct entry_index *index, const struct segment *segment, uint64_t first, uint64_t last,
                       struct mq_buf *out)
{
    static const uint8_t PADDING[8];
    size_t bytes = (size_t)(last - first + 1) * 4;
    int rc = mq_buf_reserve(out, bytes + sizeof(PADDING));

    if (rc != 0) {
        return rc;
    }
    for (uint64_t i = first; i <= last; i++) {
        rlog_le32_store(out->base + out->len + (i - first) * 4,
                        (uint32_t)((entry_index_pos(index, i) - segment->first_pos) / 8));
    }
    out->len += bytes;
    return mq_buf_put(out, PADDING, -out->len & 7);
}

static int header_of(const struct entry_index *index, const struct segment *segment, uint64_t i,
                     struct rlog_header *out)
{
    uint64_t pos = entry_index_pos(index, i);
    int rc = rlog_header_decode(segment_at(segment, pos), RLOG_HEADER_BYTES, out);

    return rc == 0 && out->index == i && out->pos == pos ? 0 : MQ_ECORRUPT;
}

int index_block_encode(const struct entry_index *index, const struct segment *segment, uint64_t first, uint64_t last,
                       struct mq_buf *out)
{
    struct rlog_header a, z;
    uint32_t n_runs = 0, n_changes = 0;
    uint8_t head[INDEX_BLOCK_HEADER_BYTES] = {0};
    int rc = header_of(index, segment, first, &a);

    if (rc == 0) {
        rc = header_of(index, segment, last, &z);
    }
    if (rc == 0) {
        rc = mq_buf_put(out, head, sizeof(head));
    }
    if (rc == 0) {
        rc = put_runs(index, first, last, out, &n_runs);
    }
    if (rc == 0) {
        rc = put_changes(index, first, last, out, &n_changes);
    }
    if (rc == 0) {
        rc = put_offsets(index, segment, first, last, out);
    }
    if (rc != 0) {
        return rc;
    }
    rlog_le32_store(out->base, BLOCK_MAGIC);
    rlog_le16_store(out->base + 8, BLOCK_VERSION);
    rlog_le32_store(out->base + 12, (uint32_t)(last - first + 1));
    rlog_le64_store(out->base + 16, first);
    rlog_le64_store(out->base + 24, z.pos + rlog_entry_bytes(z.payload_bytes));
    rlog_le64_store(out->base + 32, z.commit);
    rlog_le64_store(out->base + 40, (uint64_t)z.store_ms);
    rlog_le32_store(out->base + 48, a.prev_crc);
    rlog_le32_store(out->base + 52, z.crc);
    rlog_le32_store(out->base + 56, n_runs);
    rlog_le32_store(out->base + 60, n_changes);
    rlog_le32_store(out->base + 4, mq_crc32c(0, out->base + CRC_FROM, out->len - CRC_FROM));
    return 0;
}

/* Opens the file. Returns the descriptor, MQ_ENOMEM or -errno. */
static int open_file(const struct rlog_disk *disk, const char *dir, uint64_t first_pos, int flags)
{
    struct mq_buf path = {0};
    int fd = mq_buf_printf(&path, "%s/" SEGMENT_DIR "/%0*" PRIu64 INDEX_FILE_SUFFIX, dir, SEGMENT_DIGITS, first_pos);

    if (fd == 0) {
        fd = disk->open(disk, (const char *)path.base, flags, 0644);
    }
    mq_buf_free(&path);
    return fd;
}

int index_file_write(const struct rlog_disk *disk, const char *dir, uint64_t first_pos, const struct mq_buf *block,
                     uint64_t at)
{
    struct iovec vec = {block->base, block->len};
    int fd = open_file(disk, dir, first_pos, O_RDWR | O_CREAT);
    int rc;

    if (fd < 0) {
        return fd;
    }
    rc = rlog_disk_write_all(disk, fd, &vec, 1, at);
    if (rc == 0) {
        rc = disk->fdatasync(disk, fd);
    }
    disk->close(disk, fd);
    return rc < 0 ? rc : 0;
}

void index_file_remove(const struct rlog_disk *disk, const char *dir, uint64_t first_pos)
{
    struct mq_buf path = {0};

    if (mq_buf_printf(&path, "%s/" SEGMENT_DIR "/%0*" PRIu64 INDEX_FILE_SUFFIX, dir, SEGMENT_DIGITS, first_pos) ==
        0) {
        disk->unlink(disk, (const char *)path.base); /* a stale one does no harm: the log must have its last entry */
    }
    mq_buf_free(&path);
}

/* ---- reading ---- */

/* Decodes the block at @at, of at most @n bytes. */
static bool block_decode(const uint8_t *at, uint64_t n, const struct segment *segment, struct block *out)
{
    if (n < INDEX_BLOCK_HEADER_BYTES || rlog_le32_load(at) != BLOCK_MAGIC ||
        rlog_le16_load(at + 8) != BLOCK_VERSION) {
        return false;
    }
    *out = (struct block){.at = at,
                          .n = rlog_le32_load(at + 12),
                          .n_runs = rlog_le32_load(at + 56),
                          .n_changes = rlog_le32_load(at + 60),
                          .first_index = rlog_le64_load(at + 16),
                          .prev_crc = rlog_le32_load(at + 48)};
    if (out->n == 0 || out->n > INDEX_BLOCK_ENTRIES_MAX || out->n_runs == 0 || out->n_runs > out->n ||
        out->n_changes > out->n || block_bytes(out->n, out->n_runs, out->n_changes) > n) {
        return false;
    }
    out->bytes = (uint32_t)block_bytes(out->n, out->n_runs, out->n_changes);
    out->end = (struct index_mark){.last_index = out->first_index + out->n - 1,
                                   .last_term = rlog_le64_load(changes_of(out) - RUN_BYTES),
                                   .end_pos = rlog_le64_load(at + 24),
                                   .last_crc = rlog_le32_load(at + 52),
                                   .store_ms = (int64_t)rlog_le64_load(at + 40),
                                   .commit = rlog_le64_load(at + 32)};
    return rlog_le32_load(at + 4) == mq_crc32c(0, at + CRC_FROM, out->bytes - CRC_FROM) &&
           out->end.end_pos > segment->first_pos && out->end.end_pos <= segment_end(segment);
}

/* Whether its numbers can be: offsets and terms rise, within the segment. */
static bool is_plausible(const struct block *block, const struct segment *segment, uint64_t from, uint64_t term)
{
    const uint8_t *offsets = offsets_of(block), *runs = runs_of(block), *changes = changes_of(block);
    uint64_t end = from;

    for (uint32_t i = 0; i < block->n; i++) {
        uint64_t pos = segment->first_pos + (uint64_t)rlog_le32_load(offsets + (size_t)i * 4) * 8;

        if (pos < end || pos + RLOG_HEADER_BYTES > block->end.end_pos) {
            return false;
        }
        end = pos + RLOG_HEADER_BYTES;
    }
    for (uint32_t k = 0; k < block->n_runs; k++) {
        uint32_t number = rlog_le32_load(runs + (size_t)k * RUN_BYTES + 8);
        uint64_t next = rlog_le64_load(runs + (size_t)k * RUN_BYTES);
        uint32_t least = k == 0 ? 0 : rlog_le32_load(runs + (size_t)(k - 1) * RUN_BYTES + 8) + 1;

        if ((k == 0 && number != 0) || number < least || number >= block->n || next < term || next == 0) {
            return false;
        }
        term = next;
    }
    for (uint32_t k = 0; k < block->n_changes; k++) {
        uint32_t least = k == 0 ? 0 : rlog_le32_load(changes + (size_t)(k - 1) * 4) + 1;

        if (rlog_le32_load(changes + (size_t)k * 4) < least || rlog_le32_load(changes + (size_t)k * 4) >= block->n) {
            return false;
        }
    }
    return true;
}

/* Whether the log has the block's last entry. */
static bool log_has_end(const struct block *block, const struct segment *segment)
{
    uint64_t pos = segment->first_pos + (uint64_t)rlog_le32_load(offsets_of(block) + (size_t)(block->n - 1) * 4) * 8;
    struct rlog_header header;

    return rlog_header_decode(segment_at(segment, pos), segment_end(segment) - pos, &header) == 0 &&
           header.pos == pos && header.index == block->end.last_index && header.crc == block->end.last_crc &&
           header.term == block->end.last_term && pos + rlog_entry_bytes(header.payload_bytes) == block->end.end_pos;
}

/* @at: of the block in its file. */
static int take_in(const struct block *block, const struct segment *segment, uint64_t at, struct entry_index *index)
{
    const struct index_block add = {
        .first_index = block->first_index,
        .first_pos = segment->first_pos + (uint64_t)rlog_le32_load(offsets_of(block)) * 8,
        .first_term = rlog_le64_load(runs_of(block)),
        .last_term = block->end.last_term,
        .n = block->n,
        .file_at = (uint32_t)at,
        .file_bytes = block->bytes,
    };
    uint64_t *changes = mq_malloc((block->n_changes + 1) * sizeof(changes[0]));
    int rc;

    if (changes == NULL) {
        return MQ_ENOMEM;
    }
    for (uint32_t k = 0; k < block->n_changes; k++) {
        changes[k] = block->first_index + rlog_le32_load(changes_of(block) + (size_t)k * 4);
    }
    rc = entry_index_append_block(index, &add, changes, block->n_changes);
    mq_free(changes);
    return rc;
}

/* The blocks of @file that follow @mark and each other, to @out (struct block each). A block that begins lower takes
 * the place of those it overlaps. Returns 0 or MQ_ENOMEM. */
static int collect(const struct mq_buf *file, const struct segment *segment, const struct index_mark *mark,
                   struct mq_buf *out)
{
    struct block block;
    uint64_t at = 0;

    while (block_decode(file->base + at, file->len - at, segment, &block)) {
        const struct block *blocks = (const struct block *)(void *)out->base;
        size_t n = out->len / sizeof(block);
        const struct index_mark *before;

        while (n != 0 && blocks[n - 1].first_index >= block.first_index) {
            n--;
        }
        before = n != 0 ? &blocks[n - 1].end : mark;
        out->len = n * sizeof(block);
        at += block.bytes;
        if (block.first_index != before->last_index + 1 || block.prev_crc != before->last_crc ||
            !is_plausible(&block, segment, n != 0 ? before->end_pos : segment->first_pos, before->last_term)) {
            continue; /* of entries that a truncation took away, or not ours: what comes may fit again */
        }
        if (mq_buf_put(out, &block, sizeof(block)) != 0) {
            return MQ_ENOMEM;
        }
    }
    return 0;
}

static int read_file(const char *dir, const struct segment *segment, struct mq_buf *out)
{
    /* Entries have at least RLOG_HEADER_BYTES; truncations may have left some blocks twice. */
    uint64_t most = 4 * block_bytes(segment->bytes / RLOG_HEADER_BYTES, 0, 0) + (1u << 20);
    const struct rlog_disk *disk = segment->disk;
    int fd = open_file(disk, dir, segment->first_pos, O_RDONLY);
    ssize_t got = 1;
    int rc = 0;

    if (fd == MQ_ENOMEM || fd == -ENOENT) {
        return fd == MQ_ENOMEM ? fd : 0;
    }
    while (fd >= 0 && rc == 0 && got > 0 && out->len < most) {
        rc = mq_buf_reserve(out, 256u << 10);
        if (rc == 0) {
            got = disk->pread(disk, fd, out->base + out->len, 256u << 10, out->len);
            out->len += got > 0 ? (size_t)got : 0;
        }
    }
    if (fd >= 0) {
        disk->close(disk, fd);
    }
    if (fd < 0 || got < 0) {
        mq_log_warn("log", "the index of %s in %s cannot be read: %s; the segment is", segment->name, dir,
                    mq_strerror(fd < 0 ? fd : (int)got));
    }
    return rc;
}

uint64_t index_file_end(const char *dir, const struct segment *segment)
{
    struct mq_buf file = {0};
    struct block block;
    uint64_t end = 0;

    if (read_file(dir, segment, &file) == 0) {
        for (uint64_t at = 0; block_decode(file.base + at, file.len - at, segment, &block); at += block.bytes) {
            end = block.end.end_pos > end ? block.end.end_pos : end;
        }
    }
    mq_buf_free(&file);
    return end;
}

int index_file_load(const char *dir, const struct segment *segment, uint64_t limit, struct entry_index *index,
                    struct index_mark *mark)
{
    struct mq_buf file = {0}, found = {0};
    int rc = read_file(dir, segment, &file);
    const struct block *blocks;
    size_t n;

    if (rc == 0) {
        rc = collect(&file, segment, mark, &found);
    }
    blocks = (const struct block *)(void *)found.base;
    n = found.len / sizeof(blocks[0]);
    while (n != 0 && !log_has_end(&blocks[n - 1], segment)) {
        n--;
    }
    while (n != 0 && blocks[n - 1].end.end_pos > limit) {
        n--;
    }
    for (size_t k = 0; k < n && rc == 0; k++) {
        uint64_t commit = mark->commit > blocks[k].end.commit ? mark->commit : blocks[k].end.commit;

        rc = take_in(&blocks[k], segment, (uint64_t)(blocks[k].at - file.base), index);
        *mark = blocks[k].end;
        mark->commit = commit;
    }
    mq_buf_free(&found);
    mq_buf_free(&file);
    return rc;
}

/* Reads @n bytes of the file beside @segment. */
static int read_part(const char *dir, const struct segment *segment, uint64_t at, uint32_t n, struct mq_buf *out)
{
    const struct rlog_disk *disk = segment->disk;
    int fd = open_file(disk, dir, segment->first_pos, O_RDONLY);
    int rc;

    if (fd < 0) {
        return fd;
    }
    rc = mq_buf_reserve(out, n);
    for (ssize_t got = 1; rc == 0 && got > 0 && out->len < n;) {
        got = disk->pread(disk, fd, out->base + out->len, n - out->len, at + out->len);
        out->len += got > 0 ? (size_t)got : 0;
    }
    disk->close(disk, fd);
    return rc;
}

/* The runs of the first @n entries. */
static int32_t read_runs(const struct block *block, uint32_t n, struct index_run *out)
{
    int32_t k = 0;

    while (out != NULL && (uint32_t)k < block->n_runs) {
        const uint8_t *run = runs_of(block) + (size_t)k * RUN_BYTES;

        if (rlog_le32_load(run + 8) >= n) {
            break;
        }
        out[k++] = (struct index_run){rlog_le32_load(run + 8), rlog_le64_load(run)};
    }
    return k;
}

int32_t index_file_read(const char *dir, const struct segment *segment, const struct index_block *block,
                        uint32_t *offsets, struct index_run *runs)
{
    struct mq_buf bytes = {0};
    struct block found;
    int32_t n_runs = -1;

    if (read_part(dir, segment, block->file_at, block->file_bytes, &bytes) == 0 &&
        block_decode(bytes.base, bytes.len, segment, &found) && found.first_index == block->first_index &&
        found.n >= block->n && is_plausible(&found, segment, segment->first_pos, 0) &&
        segment->first_pos + (uint64_t)rlog_le32_load(offsets_of(&found)) * 8 == block->first_pos) {
        for (uint32_t k = 0; k < block->n; k++) {
            offsets[k] = rlog_le32_load(offsets_of(&found) + (size_t)k * 4) - rlog_le32_load(offsets_of(&found));
        }
        n_runs = read_runs(&found, block->n, runs);
    }
    mq_buf_free(&bytes);
    return n_runs;
}
