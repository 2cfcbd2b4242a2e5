#include "tests/recovery/history.h"

#include "remoting/base/assert.h"

#include <string.h>

#define GROUPS 10u        /* of entries that are written together */
#define GROUP_ENTRIES 5u  /* at most */
#define TRUNCATE_EVERY 4u /* groups, about */

#define SPARSE_EVERY 600u /* a few bytes, then zeros: more than a sector of them */
#define SPARSE_BYTES 4u

enum content { RANDOM, TEXT, ZEROS, SPARSE, CONTENTS };

static uint32_t choose(struct history *h, uint32_t n)
{
    return log_random(&h->random) % n;
}

static uint32_t payload_bytes(struct history *h)
{
    switch (choose(h, 4)) {
    case 0:
        return choose(h, 40);
    case 1:
        return 40 + choose(h, 400);
    case 2:
        return 400 + choose(h, 1200);
    default:
        return 1600 + choose(h, 3000);
    }
}

static void fill(struct history *h, uint8_t *to, uint32_t n)
{
    enum content content = (enum content)choose(h, CONTENTS);

    memset(to, content == TEXT ? 'x' : 0, n);
    for (uint32_t i = 0; i < n; i++) {
        if (content == RANDOM || (content == SPARSE && i % SPARSE_EVERY < SPARSE_BYTES)) {
            to[i] = (uint8_t)log_random(&h->random);
        }
    }
}

static struct truth *now(struct history *h)
{
    return &h->truths[h->n_truths - 1];
}

/* A new truth, which begins as the last one was. */
static struct truth *turn(struct history *h)
{
    MQ_ASSERT(h->n_truths < HISTORY_TRUTHS_MAX);
    h->truths[h->n_truths] = h->truths[h->n_truths - 1];
    h->n_truths++;
    now(h)->change = mem_disk_now(h->disk);
    now(h)->n_written = h->n_written;
    return now(h);
}

static void append(struct history *h)
{
    uint64_t last = commitlog_last_index(h->f.log);
    struct rlog_header header = {.type = RLOG_COMMAND, .index = last + 1, .term = now(h)->term, .records = 1};
    struct rlog_blob *blob;
    uint32_t n = payload_bytes(h);
    int rc = blob_pool_take(&h->f.pool, NULL, n, &blob);

    MQ_ASSERT(rc == 0 && h->n_written < HISTORY_ENTRIES_MAX);
    /* What a leader knows to be committed is on its own disk, too, or was acknowledged by others. */
    header.commit =
        h->follower ? now(h)->committed + choose(h, (uint32_t)(last + 1 - now(h)->committed)) : now(h)->committed;
    fill(h, rlog_blob_payload(blob), n);
    blob->payload_bytes = n;
    rc = commitlog_append(h->f.log, &header, blob);
    MQ_ASSERT(rc == 0);
    h->written[h->n_written++] = (struct written){header.index, header.term, header.crc};
}

/* The latest entry written with @index. */
static struct written latest(const struct history *h, uint64_t index)
{
    for (size_t i = h->n_written; i-- > 0;) {
        if (h->written[i].index == index) {
            return h->written[i];
        }
    }
    return (struct written){0};
}

static void write_group(struct history *h)
{
    uint32_t n = 1 + choose(h, GROUP_ENTRIES);

    for (uint32_t i = 0; i < n; i++) {
        append(h);
    }
    turn(h); /* from here on they may be on the disk */
    log_fixture_settle(&h->f);
    turn(h)->acknowledged = latest(h, commitlog_last_index(h->f.log));
}

/* Committed is never more than what a follower's headers have said, nor falls. */
static void commit_some(struct history *h)
{
    uint64_t proven = commitlog_proven_commit(h->f.log);
    uint64_t last = commitlog_last_index(h->f.log);
    uint64_t from = proven > now(h)->committed ? proven : now(h)->committed;

    turn(h)->committed = from + choose(h, (uint32_t)(last + 1 - from));
}

/* A new leader replaces what was not committed. */
static void truncate_some(struct history *h)
{
    uint64_t last = commitlog_last_index(h->f.log);
    uint64_t proven = commitlog_proven_commit(h->f.log);
    uint64_t keep = proven > now(h)->committed ? proven : now(h)->committed;

    if (keep < last) {
        uint64_t index = keep + 1 + choose(h, (uint32_t)(last - keep));

        turn(h)->acknowledged = latest(h, index - 1);
        now(h)->term++;
        commitlog_truncate(h->f.log, index);
        h->f.durable_index = index - 1;
        turn(h);
    }
}

void history_record(struct history *h, uint64_t seed)
{
    memset(h, 0, sizeof(*h));
    h->random = seed;
    h->follower = (seed & 1) != 0;
    h->disk = mem_disk_new(HISTORY_SEGMENT);
    log_fixture_init(&h->f, &h->disk->table, HISTORY_DIR, HISTORY_SEGMENT);
    log_fixture_open(&h->f);
    h->first_change = mem_disk_now(h->disk);
    h->n_truths = 1;
    h->truths[0] = (struct truth){.term = 1};
    for (unsigned i = 0; i < GROUPS; i++) {
        write_group(h);
        commit_some(h);
        if (choose(h, TRUNCATE_EVERY) == 0) {
            truncate_some(h);
        }
    }
    log_fixture_close(&h->f);
}

void history_free(struct history *h)
{
    log_fixture_fini(&h->f);
    mem_disk_free(h->disk);
}

const struct truth *history_truth(const struct history *h, size_t until)
{
    size_t k = h->n_truths;

    while (k > 1 && h->truths[k - 1].change > until) {
        k--;
    }
    return &h->truths[k - 1];
}

bool history_knows(const struct history *h, const struct truth *truth, const struct rlog_header *header)
{
    for (size_t i = truth->n_written; i-- > 0;) {
        const struct written *w = &h->written[i];

        if (w->index != header->index) {
            continue;
        }
        if (w->term == header->term && w->crc == header->crc) {
            return true;
        }
        if (w->index <= truth->acknowledged.index) {
            return false; /* the latest is the one */
        }
    }
    return false;
}
