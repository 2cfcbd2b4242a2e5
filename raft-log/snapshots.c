#include "raft-log/snapshots_inside.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_BYTES (256u << 20)
#define DEFAULT_MS (600u * 1000)
#define NAME_DIGITS 20

/* ---- names ---- */

void snapshots_path(const struct snapshots *s, uint64_t index, const char *suffix, char *path)
{
    /* open has seen to it that there is room */
    (void)snprintf(path, SNAPSHOT_PATH_MAX, "%.*s/%020" PRIu64 "%s", (int)(SNAPSHOT_PATH_MAX - 48), s->dir, index,
                   suffix);
}

void snapshots_part_path(const struct snapshots *snapshots, uint64_t index, char *path)
{
    snapshots_path(snapshots, index, ".part", path);
}

/* ---- finding what is there ---- */

struct listing {
    uint64_t indexes[64];
    uint32_t n;
    struct mq_buf leftovers; /* names with a NUL behind each */
    int rc;
};

static bool is_index(const char *name, uint64_t *index)
{
    char *end;

    if (strspn(name, "0123456789") < NAME_DIGITS) {
        return false;
    }
    *index = strtoull(name, &end, 10);
    return end == name + NAME_DIGITS;
}

static void on_name(void *data, const char *name)
{
    struct listing *list = data;
    uint64_t index;

    if (!is_index(name, &index)) {
        return;
    }
    if (name[NAME_DIGITS] == '\0' && list->n < ARRAY_SIZE(list->indexes)) {
        list->indexes[list->n++] = index;
    } else if (strcmp(name + NAME_DIGITS, ".new") == 0 && list->rc == 0) {
        list->rc = mq_buf_put(&list->leftovers, name, strlen(name) + 1);
    }
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

static void remove_leftovers(const struct snapshots *s, const struct listing *list)
{
    char path[2 * SNAPSHOT_PATH_MAX];

    for (size_t at = 0; at < list->leftovers.len; at += strlen((const char *)list->leftovers.base + at) + 1) {
        (void)snprintf(path, sizeof(path), "%s/%s", s->dir, (const char *)list->leftovers.base + at);
        (void)s->options.disk->unlink(s->options.disk, path);
    }
}

static void set_aside(struct snapshots *s, uint64_t index, const struct mq_buf *why)
{
    const struct rlog_disk *disk = s->options.disk;
    char path[SNAPSHOT_PATH_MAX], aside[SNAPSHOT_PATH_MAX];
    int rc;

    mq_log_warn("snapshot", "%.*s: set aside as .bad", (int)why->len, (const char *)why->base);
    snapshots_path(s, index, "", path);
    snapshots_path(s, index, ".bad", aside);
    rc = disk->rename(disk, path, aside);
    if (rc == 0) {
        rc = disk->sync_dir(disk, s->dir);
    }
    if (rc != 0) {
        mq_log_warn("snapshot", "%s is not renamed: %s", path, mq_strerror(rc));
    }
}

/* Takes file @index up if it is good. The first good one is read as a whole, of older ones the header. */
static int look_at(struct snapshots *s, uint64_t index, struct mq_buf *problem)
{
    struct kept *kept = &s->kept[s->n_kept];
    struct mq_buf why = {0};
    char path[SNAPSHOT_PATH_MAX];
    int rc;

    snapshots_path(s, index, "", path);
    if (s->n_kept == 0) {
        rc = snapshot_file_check(s->options.disk, path, &kept->info, &why);
        kept->read = true;
    } else {
        struct snapshot_reader reader;

        rc = snapshot_reader_open(&reader, s->options.disk, path, &kept->info, &why);
        snapshot_reader_close(&reader);
    }
    if (rc == 0 && kept->info.index != index) {
        rc = MQ_ECORRUPT;
        (void)mq_buf_printf(&why, "%s holds snapshot %" PRIu64, path, kept->info.index);
    }
    if (rc == 0) {
        s->n_kept++;
    } else if (rc == MQ_ECORRUPT) {
        set_aside(s, index, &why);
        rc = 0;
    } else {
        (void)mq_buf_put(problem, why.base, why.len);
    }
    mq_buf_free(&why);
    return rc;
}

static int find_all(struct snapshots *s, struct mq_buf *problem)
{
    const struct rlog_disk *disk = s->options.disk;
    struct listing list = {0};
    int rc = disk->make_dir(disk, s->dir);

    if (rc == 0) {
        rc = disk->list(disk, s->dir, on_name, &list);
    }
    rc = rc != 0 ? rc : list.rc;
    if (rc == 0) {
        /* A name whose sync failed or did not come is seen here and may not be on the disk; others go because of it.
         */
        rc = disk->sync_dir(disk, s->dir);
    }
    if (rc != 0) {
        (void)mq_buf_printf(problem, "%s: %s", s->dir, mq_strerror(rc));
    } else {
        remove_leftovers(s, &list);
        qsort(list.indexes, list.n, sizeof(list.indexes[0]), descending);
    }
    for (uint32_t i = 0; rc == 0 && i < list.n; i++) {
        char path[SNAPSHOT_PATH_MAX];

        if (s->n_kept < SNAPSHOTS_KEPT) {
            rc = look_at(s, list.indexes[i], problem);
        } else {
            snapshots_path(s, list.indexes[i], "", path);
            (void)disk->unlink(disk, path);
        }
    }
    mq_buf_free(&list.leftovers);
    return rc;
}

int snapshots_open(const struct snapshots_options *options, struct snapshots **out, struct mq_buf *problem)
{
    struct snapshots *s;
    int rc = 0;

    if (strlen(options->dir) > SNAPSHOT_PATH_MAX - 64) {
        (void)mq_buf_printf(problem, "%s: too long a path", options->dir);
        return MQ_ETOOBIG;
    }
    s = mq_calloc(1, sizeof(*s));
    if (s == NULL) {
        return MQ_ENOMEM;
    }
    s->options = *options;
    s->options.every_bytes = options->every_bytes != 0 ? options->every_bytes : DEFAULT_BYTES;
    s->options.every_ms = options->every_ms != 0 ? options->every_ms : DEFAULT_MS;
    s->options.slice_calls = options->slice_calls != 0 ? options->slice_calls : 64;
    s->options.dir = NULL; /* not ours beyond this call */
    s->full_end = &s->full;
    (void)snprintf(s->dir, sizeof(s->dir), "%.*s/snapshot", (int)(SNAPSHOT_PATH_MAX - 16), options->dir);
    rc = find_all(s, problem);
    if (rc != 0) {
        mq_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void snapshots_drop(struct snapshots *snapshots)
{
    MQ_ASSERT(!snapshots->has_timer);
    mq_free(snapshots);
}

const struct snapshot_info *snapshots_newest(const struct snapshots *snapshots)
{
    return snapshots->n_kept != 0 ? &snapshots->kept[0].info : NULL;
}

uint32_t snapshots_count(const struct snapshots *snapshots)
{
    return snapshots->n_kept;
}

const struct snapshot_info *snapshots_at(const struct snapshots *snapshots, uint32_t i)
{
    return i < snapshots->n_kept ? &snapshots->kept[i].info : NULL;
}

const struct snapshot_info *snapshots_oldest(const struct snapshots *snapshots)
{
    return snapshots->n_kept >= SNAPSHOTS_KEPT ? &snapshots->kept[snapshots->n_kept - 1].info : NULL;
}

/* ---- loading ---- */

void snapshots_forget(struct snapshots *s, uint32_t i)
{
    memmove(&s->kept[i], &s->kept[i + 1], (s->n_kept - i - 1) * sizeof(s->kept[0]));
    s->n_kept--;
}

int snapshots_verify(struct snapshots *snapshots, uint32_t i, struct mq_buf *problem)
{
    struct kept *kept = &snapshots->kept[i];
    uint64_t index = kept->info.index;
    struct mq_buf why = {0};
    char path[SNAPSHOT_PATH_MAX];
    int rc;

    MQ_ASSERT(i < snapshots->n_kept && !snapshots->started);
    if (kept->read) {
        return 0;
    }
    snapshots_path(snapshots, index, "", path);
    rc = snapshot_file_check(snapshots->options.disk, path, &kept->info, &why);
    kept->read = rc == 0;
    if (rc == MQ_ECORRUPT) {
        set_aside(snapshots, index, &why);
        snapshots_forget(snapshots, i);
    } else if (rc != 0) {
        (void)mq_buf_put(problem, why.base, why.len);
    }
    mq_buf_free(&why);
    return rc;
}

static int feed(struct rlog_fsm *fsm, struct snapshot_reader *reader)
{
    const struct snapshot_info *info = reader->info;
    struct rlog_entry entry = {
        .index = info->index, .term = info->term, .pos = info->end_pos, .store_ms = info->store_ms};
    struct snapshot_block block;
    int rc = fsm->restore_begin(fsm, &entry, info->crc, info->sections, info->n_sections, reader->problem);

    while (rc == 0) {
        rc = snapshot_reader_next(reader, &block);
        if (rc != 1) {
            return rc != 0 ? rc : fsm->restore_end(fsm, reader->problem);
        }
        rc = fsm->restore_rows(fsm, block.section, block.rows, block.n, reader->problem);
    }
    return rc;
}

/* What came out must be what went in. */
static int compare_hashes(struct rlog_fsm *fsm, const struct snapshot_info *info, struct mq_buf *problem)
{
    struct rlog_section now[RLOG_SECTIONS_MAX];
    uint32_t n = fsm->sections(fsm, now);

    for (uint32_t i = 0; i < info->n_sections; i++) {
        for (uint32_t k = 0; k < n; k++) {
            if (now[k].id == info->sections[i].id && now[k].version == info->sections[i].version &&
                now[k].hash != info->sections[i].hash) {
                (void)mq_buf_printf(problem,
                                    "%s: section %s: hash %016" PRIx64 " was written, %016" PRIx64 " came back",
                                    info->path, now[k].name, info->sections[i].hash, now[k].hash);
                return MQ_ECORRUPT;
            }
        }
    }
    return 0;
}

int snapshots_restore(struct snapshots *snapshots, const struct snapshot_info *info, struct mq_buf *problem)
{
    struct rlog_fsm *fsm = snapshots->options.fsm;
    struct snapshot_reader reader;
    struct snapshot_info *again;
    int rc;

    if (fsm->restore_begin == NULL) {
        (void)mq_buf_printf(problem, "%s: a snapshot, but nothing that it could be loaded into", info->path);
        return MQ_EVERSION;
    }
    again = mq_malloc(sizeof(*again));
    if (again == NULL) {
        return MQ_ENOMEM;
    }
    rc = snapshot_reader_open(&reader, snapshots->options.disk, info->path, again, problem);
    if (rc == 0) {
        rc = feed(fsm, &reader);
        snapshot_reader_close(&reader);
    }
    if (rc == 0) {
        rc = compare_hashes(fsm, again, problem);
    }
    mq_free(again);
    return rc;
}

void snapshots_keep(struct snapshots *s, const struct snapshot_info *info)
{
    MQ_ASSERT(s->n_kept < SNAPSHOTS_MAX);
    memmove(&s->kept[1], &s->kept[0], s->n_kept * sizeof(s->kept[0]));
    s->kept[0] = (struct kept){.info = *info, .read = true};
    s->n_kept++;
}

/* ---- lending, adopting ---- */

static struct kept *find(struct snapshots *s, uint64_t index)
{
    for (uint32_t i = 0; i < s->n_kept; i++) {
        if (s->kept[i].info.index == index) {
            return &s->kept[i];
        }
    }
    return NULL;
}

bool snapshots_acquire(struct snapshots *snapshots, uint64_t index)
{
    struct kept *kept = find(snapshots, index);

    if (kept != NULL) {
        kept->holds++;
    }
    return kept != NULL;
}

void snapshots_release(struct snapshots *snapshots, uint64_t index)
{
    struct kept *kept = find(snapshots, index);

    MQ_ASSERT(kept != NULL && kept->holds != 0);
    kept->holds--;
}

/* Where there is no room for one more: that between the newest and the two oldest, which the log goes on from. */
static bool is_superseded(const struct snapshots *s)
{
    return s->n_kept == SNAPSHOTS_MAX && s->kept[1].holds == 0;
}

int snapshots_adopt(struct snapshots *snapshots, const struct snapshot_info *info)
{
    const struct rlog_disk *disk = snapshots->options.disk;
    const struct snapshot_info *newest = snapshots_newest(snapshots);
    struct snapshot_info adopted = *info;
    int rc;

    if (newest != NULL && newest->index >= info->index) {
        return MQ_EEXIST;
    }
    if (snapshots->state != SNAPSHOTS_IDLE || (snapshots->n_kept == SNAPSHOTS_MAX && !is_superseded(snapshots))) {
        return MQ_EBUSY;
    }
    snapshots_path(snapshots, info->index, "", adopted.path);
    rc = disk->rename(disk, info->path, adopted.path);
    if (rc == 0) {
        rc = disk->sync_dir(disk, snapshots->dir);
    }
    if (rc == 0 && is_superseded(snapshots)) {
        (void)disk->unlink(disk, snapshots->kept[1].info.path); /* else the next start removes it */
        snapshots_forget(snapshots, 1);
    }
    if (rc == 0) {
        snapshots_keep(snapshots, &adopted);
        snapshots->alone = true;
    }
    return rc;
}

void snapshots_stats_get(const struct snapshots *snapshots, struct snapshots_stats *out)
{
    *out = snapshots->stats;
    out->running = snapshots->state != SNAPSHOTS_IDLE;
}
