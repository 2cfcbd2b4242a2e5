/* Each file is mapped in its full length when it is made, while its blocks are allocated in steps: pages behind the
 * end of the file are never touched, and a step needs no new map. A file descriptor is open only while a step is
 * taken. */
#include "broker/store/consume_queue.h"

#include "remoting/base/assert.h"
#include "remoting/base/buf.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES (CONSUME_QUEUE_FILE_UNITS * CONSUME_QUEUE_UNIT_BYTES)
#define FIRST_STEP_BYTES (64u << 10)

int consume_queue_init(struct consume_queue *cq, const char *dir)
{
    *cq = (struct consume_queue){.dir = mq_strdup(dir)};
    return cq->dir != NULL ? 0 : MQ_ENOMEM;
}

void consume_queue_fini(struct consume_queue *cq)
{
    for (uint32_t i = 0; i < cq->n_files; i++) {
        if (cq->files[i] != NULL) {
            munmap(cq->files[i], FILE_BYTES);
        }
    }
    mq_free(cq->files);
    mq_free(cq->dir);
    *cq = (struct consume_queue){0};
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

/* Gives file @number @bytes on disk in all; @fd_out is open on success. */
static int allocate(const struct consume_queue *cq, uint32_t number, int flags, uint32_t bytes, int *fd_out)
{
    struct mq_buf path = {0};
    int fd, rc;

    rc = mq_buf_printf(&path, "%s/%020" PRIu64, cq->dir, (uint64_t)number * FILE_BYTES);
    if (rc != 0) {
        return rc;
    }
    fd = open((const char *)path.base, O_RDWR | O_CLOEXEC | flags, 0644);
    rc = fd < 0 ? -errno : -posix_fallocate(fd, 0, bytes);
    mq_buf_free(&path);
    if (rc != 0) {
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    *fd_out = fd;
    return 0;
}

static int add_file(struct consume_queue *cq)
{
    /* A queue that has filled one file will fill the next. */
    uint32_t bytes = cq->n_files == 0 ? FIRST_STEP_BYTES : FILE_BYTES;
    uint8_t **files = mq_realloc(cq->files, (cq->n_files + 1) * sizeof(*files));
    void *map;
    int fd, rc;

    if (files == NULL) {
        return MQ_ENOMEM;
    }
    cq->files = files;
    rc = cq->n_files == 0 ? make_dir(cq->dir) : 0;
    if (rc == 0) {
        rc = allocate(cq, cq->n_files, O_CREAT | O_TRUNC, bytes, &fd);
    }
    if (rc != 0) {
        return rc;
    }
    map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rc = map == MAP_FAILED ? -errno : 0;
    close(fd);
    if (rc != 0) {
        return rc;
    }
    cq->files[cq->n_files++] = map;
    cq->tail_bytes = bytes;
    return 0;
}

static int grow_tail(struct consume_queue *cq)
{
    uint32_t bytes = cq->tail_bytes * 2 < FILE_BYTES ? cq->tail_bytes * 2 : FILE_BYTES;
    int fd, rc;

    rc = allocate(cq, cq->n_files - 1, 0, bytes, &fd);
    if (rc == 0) {
        close(fd);
        cq->tail_bytes = bytes;
    }
    return rc;
}

int consume_queue_append(struct consume_queue *cq, const struct consume_unit *unit)
{
    uint64_t number = cq->max / CONSUME_QUEUE_FILE_UNITS;
    uint32_t in_file = (uint32_t)(cq->max % CONSUME_QUEUE_FILE_UNITS) * CONSUME_QUEUE_UNIT_BYTES;
    uint8_t *at;
    int rc = 0;

    if (number == cq->n_files) {
        rc = add_file(cq);
    } else if (in_file + CONSUME_QUEUE_UNIT_BYTES > cq->tail_bytes) {
        rc = grow_tail(cq);
    }
    if (rc != 0) {
        return rc;
    }
    at = cq->files[number] + in_file;
    mq_be64_store(at, unit->pos);
    mq_be32_store(at + 8, unit->bytes);
    mq_be64_store(at + 12, (uint64_t)unit->tags_code);
    cq->max++;
    return 0;
}

void consume_queue_get(const struct consume_queue *cq, uint64_t qoff, struct consume_unit *out)
{
    const uint8_t *at;

    MQ_ASSERT(qoff >= cq->min && qoff < cq->max);
    at = cq->files[qoff / CONSUME_QUEUE_FILE_UNITS];
    at += (qoff % CONSUME_QUEUE_FILE_UNITS) * CONSUME_QUEUE_UNIT_BYTES;
    out->pos = mq_be64_load(at);
    out->bytes = mq_be32_load(at + 8);
    out->tags_code = (int64_t)mq_be64_load(at + 12);
}
