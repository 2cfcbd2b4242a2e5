#include "raft-log/log/put_stage.h"

#include "raft-log/log/writer.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* Whole pages of one segment on their way. */
struct pages {
    const struct rlog_disk *disk;
    int fd;
    uint8_t *bytes;
    uint32_t n;
    uint64_t at; /* in the file */
};

struct put_stage_writer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t to_thread, to_owner;
    bool stop, busy;    /* all below under the lock */
    struct pages pages; /* the thread's while busy */
    int rc;             /* of the last write */
};

/* ---- the thread ---- */

static int write_pages(const struct pages *pages)
{
    struct iovec vec = {pages->bytes, pages->n};

    return rlog_disk_write_all(pages->disk, pages->fd, &vec, 1, pages->at);
}

static void *writer_body(void *data)
{
    struct put_stage_writer *writer = data;

    pthread_mutex_lock(&writer->lock);
    for (;;) {
        struct pages pages;
        int rc;

        while (!writer->busy && !writer->stop) {
            pthread_cond_wait(&writer->to_thread, &writer->lock);
        }
        if (!writer->busy) {
            break;
        }
        pages = writer->pages;
        pthread_mutex_unlock(&writer->lock);
        rc = write_pages(&pages);
        pthread_mutex_lock(&writer->lock);
        writer->rc = rc;
        writer->busy = false;
        pthread_cond_signal(&writer->to_owner);
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

static void free_writer(struct put_stage_writer *writer)
{
    pthread_cond_destroy(&writer->to_owner);
    pthread_cond_destroy(&writer->to_thread);
    pthread_mutex_destroy(&writer->lock);
    mq_free(writer);
}

static struct put_stage_writer *new_writer(void)
{
    struct put_stage_writer *writer = mq_calloc(1, sizeof(*writer));

    if (writer == NULL) {
        return NULL;
    }
    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->to_thread, NULL);
    pthread_cond_init(&writer->to_owner, NULL);
    if (log_thread_start(&writer->thread, "log-put", writer_body, writer) != 0) {
        free_writer(writer);
        return NULL;
    }
    return writer;
}

static void stop_writer(struct put_stage_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    writer->stop = true;
    pthread_cond_signal(&writer->to_thread);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    free_writer(writer);
}

/* ---- open and close ---- */

int put_stage_open(struct put_stage *stage)
{
    if (stage->memory != NULL) {
        return 0;
    }
    stage->memory = mq_malloc(2 * PUT_STAGE_BYTES + PUT_STAGE_PAGE);
    stage->writer = stage->memory != NULL ? new_writer() : NULL;
    if (stage->writer == NULL) {
        mq_free(stage->memory);
        stage->memory = NULL;
        return MQ_ENOMEM;
    }
    return 0;
}

void put_stage_fini(struct put_stage *stage)
{
    put_stage_forget(stage);
    if (stage->memory != NULL) {
        stop_writer(stage->writer);
        mq_free(stage->memory);
    }
    *stage = (struct put_stage){0};
}

/* ---- gathering ---- */

/* Where the memory has the page that the first byte gathered lies in. */
static uint8_t *first_page(const struct put_stage *stage)
{
    uintptr_t at = (uintptr_t)stage->memory;

    return stage->memory + (-at & (PUT_STAGE_PAGE - 1)) + (size_t)stage->half * PUT_STAGE_BYTES;
}

uint32_t put_stage_add(struct put_stage *stage, uint64_t pos, const uint8_t *bytes, uint32_t n)
{
    uint32_t used;

    MQ_ASSERT(stage->n == 0 || pos == stage->pos + stage->n);
    if (stage->n == 0) {
        stage->pos = pos;
    }
    used = (uint32_t)(stage->pos % PUT_STAGE_PAGE) + stage->n;
    n = n < PUT_STAGE_BYTES - used ? n : PUT_STAGE_BYTES - used;
    memcpy(first_page(stage) + used, bytes, n);
    stage->n += n;
    return n;
}

/* ---- writing ---- */

static void close_direct(struct put_stage *stage)
{
    if (stage->direct) {
        (void)stage->disk->close(stage->disk, stage->fd);
    }
    stage->direct = false;
}

/* The segment's file once more, past the cache, if the file system can do that. */
static void begin_segment(struct put_stage *stage, const char *dir, struct segment *segment)
{
    const struct rlog_disk *disk = segment->disk;
    struct mq_buf path = {0};
    int fd = mq_buf_printf(&path, "%s/%s", dir, segment->name);

    if (fd == 0) {
        fd = disk->open(disk, (const char *)path.base, O_RDWR | O_DIRECT, 0);
    }
    mq_buf_free(&path);
    stage->segment = segment;
    stage->direct = fd >= 0;
    stage->fd = fd;
    stage->disk = disk;
}

static void must(const struct put_stage *stage, int rc)
{
    if (rc != 0) {
        rlog_disk_failed("pwritev", stage->segment->name, rc);
    }
}

void put_stage_await(struct put_stage *stage)
{
    struct put_stage_writer *writer = stage->writer;
    int rc;

    if (writer == NULL) {
        return;
    }
    pthread_mutex_lock(&writer->lock);
    while (writer->busy) {
        pthread_cond_wait(&writer->to_owner, &writer->lock);
    }
    rc = writer->rc;
    writer->rc = 0;
    pthread_mutex_unlock(&writer->lock);
    if (rc == -EINVAL) { /* some file systems find out only now that they cannot */
        close_direct(stage);
        writer->pages.fd = stage->segment->fd;
        rc = write_pages(&writer->pages);
    }
    must(stage, rc);
}

/* Positions [@from, @to) of what is gathered. */
static struct pages part_of(const struct put_stage *stage, int fd, uint64_t from, uint64_t to)
{
    const struct segment *segment = stage->segment;

    return (struct pages){.disk = segment->disk,
                          .fd = fd,
                          .bytes = first_page(stage) + stage->pos % PUT_STAGE_PAGE + (from - stage->pos),
                          .n = (uint32_t)(to - from),
                          .at = from - segment->first_pos};
}

static void write_cached(struct put_stage *stage, uint64_t from, uint64_t to)
{
    const struct pages part = part_of(stage, stage->segment->fd, from, to);

    if (from < to) {
        must(stage, write_pages(&part));
    }
}

/* The other half is written. */
static void start_writing(struct put_stage *stage, uint64_t from, uint64_t to)
{
    struct put_stage_writer *writer = stage->writer;

    pthread_mutex_lock(&writer->lock);
    writer->pages = part_of(stage, stage->fd, from, to);
    writer->busy = true;
    pthread_cond_signal(&writer->to_thread);
    pthread_mutex_unlock(&writer->lock);
    stage->half = 1 - stage->half;
}

void put_stage_write(struct put_stage *stage, const char *dir, struct segment *segment)
{
    uint64_t end = stage->pos + stage->n;
    uint64_t from = (stage->pos + PUT_STAGE_PAGE - 1) & ~(uint64_t)(PUT_STAGE_PAGE - 1);
    uint64_t to = end & ~(uint64_t)(PUT_STAGE_PAGE - 1);

    MQ_ASSERT(stage->n != 0 && (stage->segment == NULL || stage->segment == segment));
    put_stage_await(stage); /* which may find that it is not direct */
    if (stage->segment == NULL) {
        begin_segment(stage, dir, segment);
    }
    if (stage->direct && from < to) {
        write_cached(stage, stage->pos, from);
        write_cached(stage, to, end);
        start_writing(stage, from, to);
    } else {
        write_cached(stage, stage->pos, end);
    }
    stage->n = 0;
}

static void let_go(struct put_stage *stage)
{
    close_direct(stage);
    stage->segment = NULL;
}

void put_stage_sync(struct put_stage *stage)
{
    int rc;

    put_stage_await(stage);
    rc = segment_sync(stage->segment);
    if (rc < 0) {
        rlog_disk_failed("fdatasync", stage->segment->name, rc);
    }
    let_go(stage);
}

void put_stage_forget(struct put_stage *stage)
{
    let_go(stage);
    stage->n = 0;
}
