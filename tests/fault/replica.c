#include "tests/fault/replica.h"

#include "broker/store/consume_queue.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int map_segment(const char *dir, uint64_t pos, const uint8_t **out)
{
    char path[PATH_MAX];
    void *map;
    int fd;

    snprintf(path, sizeof(path), "%s/raftlog/log/%020" PRIu64, dir, pos);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    map = fd < 0 ? MAP_FAILED : mmap(NULL, CLUSTER_SEGMENT_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0) {
        close(fd);
    }
    if (map == MAP_FAILED) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -errno;
    }
    *out = map;
    return 0;
}

int replica_open(struct replica *replica, const char *dir, uint64_t end)
{
    uint32_t n = (uint32_t)((end + CLUSTER_SEGMENT_BYTES - 1) / CLUSTER_SEGMENT_BYTES);

    *replica = (struct replica){.segments = mq_calloc(n, sizeof(*replica->segments)), .dir = dir};
    for (uint32_t i = 0; i < n; i++) {
        int rc = map_segment(dir, (uint64_t)i * CLUSTER_SEGMENT_BYTES, &replica->segments[i]);

        if (rc != 0) {
            replica_close(replica);
            return rc;
        }
        replica->n_segments++;
    }
    return 0;
}

void replica_close(struct replica *replica)
{
    for (uint32_t i = 0; i < replica->n_segments; i++) {
        munmap((void *)(uintptr_t)replica->segments[i], CLUSTER_SEGMENT_BYTES);
    }
    mq_free(replica->segments);
    *replica = (struct replica){0};
}

uint64_t replica_difference(const struct replica *a, const struct replica *b, uint64_t from, uint64_t to)
{
    while (from < to) {
        uint64_t k = from / CLUSTER_SEGMENT_BYTES, at = from % CLUSTER_SEGMENT_BYTES;
        uint64_t n = CLUSTER_SEGMENT_BYTES - at < to - from ? CLUSTER_SEGMENT_BYTES - at : to - from;

        if (memcmp(a->segments[k] + at, b->segments[k] + at, n) != 0) {
            while (a->segments[k][at] == b->segments[k][at]) {
                at++;
            }
            return k * CLUSTER_SEGMENT_BYTES + at;
        }
        from += n;
    }
    return to;
}

/* Reads the units [from, to) of a queue, file by file. */
static int read_units(const struct replica *replica, const struct load_queue *queue, uint64_t from, uint64_t to,
                      uint8_t *units)
{
    char path[PATH_MAX];

    while (from < to) {
        uint64_t file = from / CONSUME_QUEUE_FILE_UNITS, first = from % CONSUME_QUEUE_FILE_UNITS;
        uint64_t room = CONSUME_QUEUE_FILE_UNITS - first;
        size_t n = (size_t)(room < to - from ? room : to - from) * CONSUME_QUEUE_UNIT_BYTES;
        ssize_t got;
        int fd;

        snprintf(path, sizeof(path), "%s/consumequeue/%s/%" PRId32 "/%020" PRIu64, replica->dir, queue->topic,
                 queue->id, file * CONSUME_QUEUE_FILE_UNITS * CONSUME_QUEUE_UNIT_BYTES);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        got = fd < 0 ? -1 : pread(fd, units, n, (off_t)(first * CONSUME_QUEUE_UNIT_BYTES));
        if (fd >= 0) {
            close(fd);
        }
        if (got != (ssize_t)n) {
            fprintf(stderr, "%s: units from %" PRIu64 " cannot be read: %s\n", path, from,
                    got < 0 ? strerror(errno) : "too short");
            return MQ_ECORRUPT;
        }
        units += n;
        from += n / CONSUME_QUEUE_UNIT_BYTES;
    }
    return 0;
}

/* The record that a unit points to; 0 when it is that of message @qoff. */
static int find_record(const struct replica *replica, uint64_t end_pos, const struct load_queue *queue, uint64_t qoff,
                       uint64_t pos, uint32_t bytes, struct proto_record *record)
{
    uint64_t at = pos % CLUSTER_SEGMENT_BYTES;

    if (pos > end_pos || bytes > end_pos - pos || bytes > CLUSTER_SEGMENT_BYTES - at ||
        proto_record_decode(replica->segments[pos / CLUSTER_SEGMENT_BYTES] + at, bytes, record) != 0) {
        return MQ_ECORRUPT;
    }
    return record->record_bytes == bytes && record->qoff == (int64_t)qoff && record->pos == (int64_t)pos &&
                   record->queue_id == queue->id && mq_str_eq(record->topic, mq_str_of(queue->topic))
               ? 0
               : MQ_ECORRUPT;
}

int replica_check_queue(const struct replica *replica, uint64_t end_pos, const struct load_queue *queue,
                        uint16_t queue_number, uint64_t from, uint64_t to, struct account *account, uint32_t *units)
{
    size_t bytes = (size_t)(to - from) * CONSUME_QUEUE_UNIT_BYTES;
    uint8_t *list = mq_malloc(bytes + 1);
    uint64_t last = 0;
    int rc = read_units(replica, queue, from, to, list);

    for (uint64_t qoff = from; rc == 0 && qoff < to; qoff++) {
        const uint8_t *unit = list + (qoff - from) * CONSUME_QUEUE_UNIT_BYTES;
        uint64_t pos = mq_be64_load(unit);
        struct proto_record record;

        rc = pos < last ? MQ_ECORRUPT
                        : find_record(replica, end_pos, queue, qoff, pos, mq_be32_load(unit + 8), &record);
        if (rc != 0) {
            fprintf(stderr,
                    "%s: unit %" PRIu64 " of queue %d of %s points to position %" PRIu64
                    ", where its record is not\n",
                    replica->dir, qoff, (int)queue->id, queue->topic, pos);
            break;
        }
        last = pos;
        account_read_again(account, queue_number, (int64_t)qoff, (const uint8_t *)record.body.at, record.body.len);
    }
    *units = rc == 0 ? mq_crc32c(0, list, bytes) : 0;
    mq_free(list);
    return rc;
}
