/* Each file is mapped in its full length when it is made, while its blocks are allocated in steps: pages behind the
 * end of the file are never touched, and a step needs no new map. A file descriptor is open only while a step is
 * taken. */
#include "broker/store/consume_queue.h"

#include "remoting/base/assert.h"
#include "remoting/base/buf.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"
#include "remoting/protocol/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_STEP_BYTES (64u << 10)

static uint32_t file_bytes(const struct consume_queue *cq)
{
    return cq->file_units * CONSUME_QUEUE_UNIT_BYTES;
}

static void unmap_file(struct consume_queue *cq, uint32_t number)
{
    munmap(cq->files[number], file_bytes(cq));
    cq->files[number] = NULL;
    atomic_fetch_sub_explicit(cq->maps, 1, memory_order_relaxed);
}

void consume_queue_init(struct consume_queue *cq, char *dir, uint32_t file_units, _Atomic uint32_t *maps)
{
    MQ_ASSERT(file_units != 0 && file_units <= CONSUME_QUEUE_FILE_UNITS_MAX);
    *cq = (struct consume_queue){.dir = dir, .file_units = file_units, .maps = maps};
}

void consume_queue_unmap(struct consume_queue *cq)
{
    for (uint32_t i = 0; i < cq->n_files; i++) {
        if (cq->files[i] != NULL) {
            unmap_file(cq, i);
        }
    }
    mq_free(cq->files);
    cq->files = NULL;
    cq->n_files = 0;
    cq->first_file = 0;
    cq->tail_bytes = 0;
    cq->min = cq->max = 0;
}

void consume_queue_fini(struct consume_queue *cq)
{
    consume_queue_unmap(cq);
    mq_free(cq->dir);
    *cq = (struct consume_queue){0};
}

int consume_queue_path(const char *dir, uint32_t number, uint32_t file_units, struct mq_buf *out)
{
    int rc = mq_buf_printf(out, "%s/%020" PRIu64, dir, (uint64_t)number * file_units * CONSUME_QUEUE_UNIT_BYTES);

    return rc != 0 ? rc : mq_buf_put_u8(out, 0);
}

/* Makes the queue's directory and its parents. Not synced, unlike mq_dir_make: nothing here has to outlive a crash.
 */
static int make_dir(char *dir)
{
    for (char *at = dir + 1;; at++) {
        char c = *at;

        if (c != '/' && c != '\0') {
            continue;
        }
        *at = '\0';
        if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
            int rc = -errno;

            *at = c;
            return rc;
        }
        *at = c;
        if (c == '\0') {
            return 0;
        }
    }
}

static int open_file(const struct consume_queue *cq, uint32_t number, int flags, int *fd_out)
{
    struct mq_buf path = {0};
    int rc = consume_queue_path(cq->dir, number, cq->file_units, &path);

    if (rc == 0) {
        *fd_out = open((const char *)path.base, O_RDWR | O_CLOEXEC | flags, 0644);
        rc = *fd_out < 0 ? -errno : 0;
    }
    mq_buf_free(&path);
    return rc;
}

/* Gives file @number @bytes on disk in all; @fd_out is open on success. */
static int allocate(const struct consume_queue *cq, uint32_t number, int flags, uint32_t bytes, int *fd_out)
{
    int rc = open_file(cq, number, flags, fd_out);

    if (rc != 0) {
        return rc;
    }
    rc = -posix_fallocate(*fd_out, 0, bytes);
    if (rc != 0) {
        close(*fd_out);
    }
    return rc;
}

/* Maps file @number of those there are; @fd is closed either way. */
static int map_file(const struct consume_queue *cq, uint32_t number, int fd)
{
    void *map = mmap(NULL, file_bytes(cq), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int rc = map == MAP_FAILED ? -errno : 0;

    close(fd);
    if (rc == 0) {
        cq->files[number] = map;
        atomic_fetch_add_explicit(cq->maps, 1, memory_order_relaxed);
    }
    return rc;
}

static int reserve_files(struct consume_queue *cq, uint32_t n)
{
    uint8_t **files = mq_realloc(cq->files, (n + 1) * sizeof(*files));

    if (files == NULL) {
        return MQ_ENOMEM;
    }
    memset(files + cq->n_files, 0, (n + 1 - cq->n_files) * sizeof(*files));
    cq->files = files;
    return 0;
}

/* The file behind the last one. */
static int add_file(struct consume_queue *cq)
{
    /* A queue that has filled one file will fill the next. */
    uint32_t bytes = cq->n_files == 0 && file_bytes(cq) > FIRST_STEP_BYTES ? FIRST_STEP_BYTES : file_bytes(cq);
    int rc = reserve_files(cq, cq->n_files);
    int fd;

    if (rc == 0) {
        rc = make_dir(cq->dir);
    }
    if (rc == 0) {
        rc = allocate(cq, cq->n_files, O_CREAT | O_TRUNC, bytes, &fd);
    }
    if (rc == 0) {
        rc = map_file(cq, cq->n_files, fd);
    }
    if (rc == 0) {
        cq->n_files++;
        cq->tail_bytes = bytes;
    }
    return rc;
}

static int grow_tail(struct consume_queue *cq)
{
    uint32_t bytes = cq->tail_bytes * 2 < file_bytes(cq) ? cq->tail_bytes * 2 : file_bytes(cq);
    int fd, rc;

    MQ_ASSERT(bytes > cq->tail_bytes);
    rc = allocate(cq, cq->n_files - 1, 0, bytes, &fd);
    if (rc == 0) {
        close(fd);
        cq->tail_bytes = bytes;
    }
    return rc;
}

static uint32_t file_of(const struct consume_queue *cq, uint64_t qoff)
{
    return (uint32_t)(qoff / cq->file_units);
}

static uint32_t place_of(const struct consume_queue *cq, uint64_t qoff)
{
    return (uint32_t)(qoff % cq->file_units) * CONSUME_QUEUE_UNIT_BYTES;
}

/* A file in front of those that are there: whole, as the first of several is. It is the last one where the queue
 * began empty at the end of a file. */
static int add_earlier_file(struct consume_queue *cq, uint32_t number)
{
    int fd, rc = make_dir(cq->dir);

    if (rc == 0) {
        rc = allocate(cq, number, O_CREAT, file_bytes(cq), &fd);
    }
    if (rc == 0) {
        rc = map_file(cq, number, fd);
    }
    if (rc == 0) {
        cq->first_file = number < cq->first_file ? number : cq->first_file;
        cq->tail_bytes = number + 1 == cq->n_files ? file_bytes(cq) : cq->tail_bytes;
    }
    return rc;
}

/* Makes unit @qoff writable. */
static int make_place(struct consume_queue *cq, uint64_t qoff)
{
    uint32_t number = file_of(cq, qoff);
    int fd, rc = 0;

    if (number == cq->n_files) {
        rc = add_file(cq);
    } else if (cq->files[number] == NULL && number < cq->first_file) {
        rc = add_earlier_file(cq, number);
    } else if (cq->files[number] == NULL) {
        rc = open_file(cq, number, 0, &fd);
        rc = rc == 0 ? map_file(cq, number, fd) : rc;
    }
    while (rc == 0 && number + 1 == cq->n_files && place_of(cq, qoff) + CONSUME_QUEUE_UNIT_BYTES > cq->tail_bytes) {
        rc = grow_tail(cq);
    }
    return rc;
}

static void write_unit(struct consume_queue *cq, uint64_t qoff, const struct consume_unit *unit)
{
    uint8_t *at = cq->files[file_of(cq, qoff)] + place_of(cq, qoff);

    mq_be64_store(at, unit->pos);
    mq_be32_store(at + 8, unit->bytes);
    mq_be64_store(at + 12, (uint64_t)unit->tags_code);
}

/* Whether unit @qoff, not below max, can be written as things are. */
static bool has_place(const struct consume_queue *cq, uint64_t qoff)
{
    uint64_t number = qoff / cq->file_units;

    return number < cq->n_files && cq->files[number] != NULL &&
           (number + 1 < cq->n_files || place_of(cq, qoff) + CONSUME_QUEUE_UNIT_BYTES <= cq->tail_bytes);
}

int consume_queue_reserve(struct consume_queue *cq, uint64_t end)
{
    uint64_t next = cq->max;
    int rc = 0;

    if (end <= next || has_place(cq, end - 1)) {
        return 0;
    }
    while (rc == 0 && next < end) { /* file by file: each is whole before the next is made */
        next = (next / cq->file_units + 1) * cq->file_units;
        next = next < end ? next : end;
        rc = has_place(cq, next - 1) ? 0 : make_place(cq, next - 1);
    }
    return rc;
}

int consume_queue_append(struct consume_queue *cq, const struct consume_unit *unit)
{
    int rc = has_place(cq, cq->max) ? 0 : make_place(cq, cq->max);

    if (rc == 0) {
        write_unit(cq, cq->max, unit);
        cq->max++;
    }
    return rc;
}

int consume_queue_prepend(struct consume_queue *cq, const struct consume_unit *unit)
{
    int rc;

    MQ_ASSERT(cq->min != 0);
    rc = make_place(cq, cq->min - 1);
    if (rc == 0) {
        cq->min--;
        write_unit(cq, cq->min, unit);
    }
    return rc;
}

/* A file of an earlier process is looked at for the first time. */
static const uint8_t *map_again(const struct consume_queue *cq, uint32_t number)
{
    int fd, rc = open_file(cq, number, 0, &fd);

    if (rc == 0) {
        rc = map_file(cq, number, fd);
    }
    if (rc != 0) {
        mq_log_error("store", "%s: file %" PRIu32 " cannot be mapped: %s; the node stops", cq->dir, number,
                     mq_strerror(rc));
        _exit(1);
    }
    return cq->files[number];
}

uint32_t consume_queue_let_go(struct consume_queue *cq)
{
    uint32_t n = 0;

    for (uint32_t i = cq->first_file; i < cq->n_files; i++) {
        if (cq->files[i] != NULL) {
            unmap_file(cq, i);
            n++;
        }
    }
    return n;
}

static void decode(const uint8_t *at, struct consume_unit *out)
{
    out->pos = mq_be64_load(at);
    out->bytes = mq_be32_load(at + 8);
    out->tags_code = (int64_t)mq_be64_load(at + 12);
}

void consume_queue_get(const struct consume_queue *cq, uint64_t qoff, struct consume_unit *out)
{
    const uint8_t *at;

    MQ_ASSERT(qoff >= cq->min && qoff < cq->max);
    at = cq->files[file_of(cq, qoff)];
    if (__builtin_expect(at == NULL, 0)) {
        at = map_again(cq, file_of(cq, qoff));
    }
    decode(at + place_of(cq, qoff), out);
}

/* --- beyond the life of a process --- */

int consume_queue_reset(struct consume_queue *cq, uint64_t end)
{
    uint32_t n = file_of(cq, end);
    int rc;

    consume_queue_unmap(cq);
    rc = n != 0 ? reserve_files(cq, n) : 0;
    if (rc != 0) {
        return rc;
    }
    cq->n_files = cq->first_file = n;
    cq->min = cq->max = end;
    return 0;
}

static bool is_sound(const struct consume_queue *cq, int fd, uint64_t qoff, uint64_t end_pos)
{
    uint8_t bytes[CONSUME_QUEUE_UNIT_BYTES];
    struct consume_unit unit;

    if (pread(fd, bytes, sizeof(bytes), place_of(cq, qoff)) != (ssize_t)sizeof(bytes)) {
        return false;
    }
    decode(bytes, &unit);
    return unit.bytes >= PROTO_RECORD_MIN_BYTES && unit.pos < end_pos && unit.bytes <= end_pos - unit.pos;
}

/* Whether file @number is there as it must be; @bytes: how long it is. */
static int look_at(const struct consume_queue *cq, uint32_t number, uint64_t min, uint64_t max, uint64_t end_pos,
                   uint32_t *bytes)
{
    uint64_t first = (uint64_t)number * cq->file_units;
    bool is_last = number == file_of(cq, max - 1), is_only = is_last && number == 0;
    struct stat st;
    int fd, rc = open_file(cq, number, 0, &fd);

    if (rc != 0) {
        return rc == -ENOENT ? MQ_ECORRUPT : rc;
    }
    if (fstat(fd, &st) != 0 || st.st_size > file_bytes(cq) ||
        (is_only ? (uint64_t)st.st_size < max * CONSUME_QUEUE_UNIT_BYTES : st.st_size != file_bytes(cq)) ||
        (number == file_of(cq, min) && !is_sound(cq, fd, min, end_pos)) ||
        (is_last && !is_sound(cq, fd, max - 1, end_pos)) || (first > min && !is_sound(cq, fd, first, end_pos))) {
        rc = MQ_ECORRUPT;
    }
    close(fd);
    *bytes = (uint32_t)st.st_size;
    return rc;
}

int consume_queue_restore(struct consume_queue *cq, uint64_t min, uint64_t max, uint64_t end_pos)
{
    uint32_t bytes = 0;
    int rc = 0;

    MQ_ASSERT(min < max);
    for (uint32_t i = file_of(cq, min); rc == 0 && i <= file_of(cq, max - 1); i++) {
        rc = look_at(cq, i, min, max, end_pos, &bytes);
    }
    if (rc == 0) {
        rc = consume_queue_reset(cq, ((uint64_t)file_of(cq, max - 1) + 1) * cq->file_units);
    }
    if (rc == 0) {
        cq->first_file = file_of(cq, min);
        cq->tail_bytes = bytes;
        cq->min = min;
        cq->max = max;
    }
    return rc;
}

void consume_queue_raise(struct consume_queue *cq, uint64_t pos)
{
    uint64_t low = cq->min, high = cq->max;
    struct consume_unit unit;

    while (low < high) {
        uint64_t middle = low == cq->min ? low : low + (high - low) / 2; /* mostly the first one stays */

        consume_queue_get(cq, middle, &unit);
        if (unit.pos < pos) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    cq->min = low;
}

void consume_queue_drop(struct consume_queue *cq, uint64_t qoff, uint32_t *first, uint32_t *end)
{
    uint32_t keep = file_of(cq, qoff) < cq->n_files ? file_of(cq, qoff) : cq->n_files;

    MQ_ASSERT(qoff <= cq->min);
    *first = cq->first_file;
    *end = keep > *first ? keep : *first;
    for (uint32_t i = *first; i < *end; i++) {
        if (cq->files[i] != NULL) {
            unmap_file(cq, i);
        }
    }
    cq->first_file = *end;
}
