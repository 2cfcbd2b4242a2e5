/* The file beside a segment against any bytes: reading it ends, stays within the file and the segment, and what it
 * puts into the index rises. The checksums of blocks are made to fit, so that the fuzzer gets past them. */
#include "tests/fuzz/fuzz.h"

#include "raft-log/log/index_file.h"
#include "raft-log/log/little.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/heap.h"

#include <string.h>

#define SEGMENT_BYTES 65536u

struct input {
    const uint8_t *bytes;
    size_t n;
};

static int open_input(const struct rlog_disk *disk, const char *path, int flags, int mode)
{
    (void)disk;
    (void)path;
    (void)flags;
    (void)mode;
    return 3;
}

static int close_input(const struct rlog_disk *disk, int fd)
{
    (void)disk;
    (void)fd;
    return 0;
}

static ssize_t read_input(const struct rlog_disk *disk, int fd, void *to, size_t n, uint64_t at)
{
    const struct input *input = disk->data;

    (void)fd;
    n = at >= input->n ? 0 : n < input->n - at ? n : input->n - at;
    if (n != 0) {
        memcpy(to, input->bytes + at, n);
    }
    return (ssize_t)n;
}

/* What was loaded can be read back: it need not be walked. */
static int32_t read_back(void *data, const struct index_block *block, uint32_t *offsets, struct index_run *runs)
{
    int32_t n = index_file_read("/fuzz", data, block, offsets, runs);

    MQ_ASSERT(n >= 0);
    return n;
}

static void entry_of_input(void *data, uint64_t pos, uint64_t *term, uint32_t *bytes)
{
    (void)data;
    (void)pos;
    *term = *bytes = 0;
    MQ_ASSERT(!"only offsets are asked for");
}

/* Makes the first block's checksum fit if its length can be. */
static void fit(uint8_t *at, size_t n)
{
    uint64_t bytes;

    if (n < INDEX_BLOCK_HEADER_BYTES) {
        return;
    }
    bytes = INDEX_BLOCK_HEADER_BYTES + rlog_le32_load(at + 56) * (uint64_t)16 +
            (rlog_le32_load(at + 60) + (uint64_t)rlog_le32_load(at + 12)) * 4;
    bytes = (bytes + 7) & ~(uint64_t)7;
    if (bytes <= n) {
        rlog_le32_store(at + 4, mq_crc32c(0, at + 8, bytes - 8));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = mq_malloc(n + 1), *map = mq_calloc(1, SEGMENT_BYTES);
    struct input input = {copy, n};
    const struct rlog_disk disk = {.open = open_input, .close = close_input, .pread = read_input, .data = &input};
    struct segment segment = {.disk = &disk, .map = map, .bytes = SEGMENT_BYTES, .name = "log/fuzz"};
    const struct index_source source = {
        .segment_bytes = SEGMENT_BYTES, .data = &segment, .load = read_back, .entry = entry_of_input};
    struct entry_index index;
    struct index_mark mark = {0};
    uint64_t end = 0, term = 1;

    MQ_ASSERT(copy != NULL && map != NULL);
    if (n != 0) {
        memcpy(copy, bytes, n);
        fit(copy, n);
        /* The rest of the input, from its middle on, is the segment. */
        memcpy(map, bytes + n / 2, n - n / 2 < SEGMENT_BYTES ? n - n / 2 : SEGMENT_BYTES);
    }
    entry_index_init(&index, &source);
    MQ_ASSERT(index_file_load("/fuzz", &segment, UINT64_MAX, &index, &mark) == 0);
    MQ_ASSERT(index.last_index == mark.last_index);
    MQ_ASSERT(index_file_end("/fuzz", &segment) <= SEGMENT_BYTES);
    for (uint64_t i = 1; i <= index.last_index; i++) {
        MQ_ASSERT(i == 1 || entry_index_pos(&index, i) > end);
        end = entry_index_pos(&index, i);
        MQ_ASSERT(end < SEGMENT_BYTES && entry_index_term(&index, i) >= term);
        term = entry_index_term(&index, i);
    }
    entry_index_fini(&index);
    mq_free(map);
    mq_free(copy);
    return 0;
}
