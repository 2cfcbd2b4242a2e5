/* Power failures, and what the world does with a disk. */
#include "tests/sim/world/disk_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RUN_MAX 16u /* sectors that a power failure treats alike */

/* ---- power ---- */

struct fate {
    unsigned kind; /* of this failure: 0 all lost, 1 all kept, 2 by chance, 3 the first ones */
    bool broken;   /* of kind 3: it has lost one */
};

static struct fate draw_fate(void)
{
    return (struct fate){(unsigned)rng_below(world_rng(), 4), false};
}

static bool is_kept(void *data)
{
    struct fate *fate = data;

    switch (fate->kind) {
    case 0:
        return false;
    case 1:
        return true;
    case 2:
        return rng_chance(world_rng(), PPM / 2);
    default:
        fate->broken = fate->broken || rng_chance(world_rng(), PPM / 4);
        return !fate->broken;
    }
}

static void file_power_off(struct disk *disk, struct file *file)
{
    struct fate fate = draw_fate();
    uint64_t old_size = file->size;
    uint32_t s;

    file_look_for_dirty(file);
    if (file->dirty_lo == file->dirty_hi && file->size == file->plat_size && !file->stale) {
        return; /* cache and platter are the same */
    }
    s = file->dirty_lo;
    while (s < file->dirty_hi) {
        uint32_t run = (uint32_t)rng_between(world_rng(), 1, RUN_MAX);
        bool kept = is_kept(&fate);

        for (; run > 0 && s < file->dirty_hi; run--, s++) {
            if (file->first_dirty[s] == 0) {
                continue;
            }
            if (kept) {
                file_write_sector(disk, file, s);
                disk->stats.sectors_kept++;
            } else {
                disk->stats.sectors_lost++;
            }
            file->first_dirty[s] = 0;
        }
    }
    file->dirty_lo = file->dirty_hi = 0;
    if (file->size != file->plat_size) {
        if (is_kept(&fate)) {
            file->plat_size = file->size;
        } else {
            disk->stats.sizes_lost++;
            if (file->plat_size < old_size) {
                memset(file->plat + file->plat_size, 0, old_size - file->plat_size);
            }
        }
    }
    file->size = file->plat_size;
    memcpy(file->cache, file->plat, file->size > old_size ? file->size : old_size);
    file->stale = false;
}

void disk_power_off(struct disk *disk)
{
    struct fate fate = draw_fate();

    disk->stats.crashes++;
    disk_settle(disk, NULL, is_kept, &fate);
    names_clear(&disk->now);
    for (size_t i = 0; i < disk->durable.n; i++) {
        names_set(&disk->now, disk->durable.at[i].path, disk->durable.at[i].file);
    }
    for (size_t i = 0; i < disk->now.n; i++) {
        file_power_off(disk, disk->now.at[i].file);
    }
}

/* Its maps and descriptors are gone; locks with them. */
void disk_process_gone(struct disk *disk, struct process *process)
{
    for (int i = 0; i < FDS_MAX; i++) {
        if (disk->fds[i].used && disk->fds[i].process == process) {
            disk_close_fd(disk, i);
        }
    }
    for (struct node *node = disk->files.next, *next; node != &disk->files; node = next) {
        struct file *file = (struct file *)node;

        next = node->next;
        if (file->mapped_by == process) {
            file->maps = 0;
            file->mapped_by = NULL;
            file_drop(file);
        }
    }
}

/* ---- the world's side ---- */

uint64_t disk_used(const struct disk *disk)
{
    uint64_t used = 0;

    for (size_t i = 0; i < disk->now.n; i++) {
        used += disk->now.at[i].file->size;
    }
    return used;
}

struct disk *disk_new(const char *name)
{
    struct disk *disk = world_alloc(sizeof(*disk));

    disk->table = disk_calls_table;
    disk->table.data = disk;
    disk->name = world_strdup(name);
    disk->last_change = &disk->changes;
    list_init(&disk->files);
    return disk;
}

void disk_wipe(struct disk *disk)
{
    disk_settle(disk, NULL, NULL, NULL);
    names_clear(&disk->now);
    names_clear(&disk->durable);
    names_clear(&disk->dirs);
}

void disk_free(struct disk *disk)
{
    for (int i = 0; i < FDS_MAX; i++) {
        if (disk->fds[i].used) {
            disk_close_fd(disk, i);
        }
    }
    disk_wipe(disk);
    free(disk->name);
    free(disk);
}

void disk_copy(struct disk *to, struct disk *from)
{
    disk_wipe(to);
    for (size_t i = 0; i < from->dirs.n; i++) {
        disk_add_dir(to, from->dirs.at[i].path);
    }
    for (size_t i = 0; i < from->now.n; i++) {
        const struct file *original = from->now.at[i].file;
        struct file *file = file_new(to, original->size + 1);

        memcpy(file->cache, original->cache, original->size);
        memcpy(file->plat, original->cache, original->size);
        file_set_size(file, original->size);
        file->plat_size = original->size;
        names_set(&to->now, from->now.at[i].path, file);
        names_set(&to->durable, from->now.at[i].path, file);
    }
}

const struct rlog_disk *disk_table(struct disk *disk)
{
    return &disk->table;
}

struct disk_manner *disk_manner(struct disk *disk)
{
    return &disk->manner;
}

void disk_set_capacity(struct disk *disk, uint64_t bytes)
{
    disk->capacity = bytes;
}

void disk_fail_in(struct disk *disk, enum disk_call call, uint32_t nth, int rc)
{
    disk->fail[call].at = nth != 0 ? disk->calls[call] + nth : 0;
    disk->fail[call].rc = rc;
    disk->fail[call].has = false;
}

bool disk_has_failed(const struct disk *disk, enum disk_call call)
{
    return disk->fail[call].has;
}

uint64_t disk_calls(const struct disk *disk, enum disk_call call)
{
    return disk->calls[call];
}

int disk_flip(struct disk *disk, const char *path, uint64_t at, uint8_t mask)
{
    struct name *name = names_find(&disk->now, path);

    if (name == NULL) {
        return -ENOENT;
    }
    if (at >= name->file->size) {
        return -ERANGE;
    }
    name->file->cache[at] ^= mask;
    name->file->plat[at] ^= mask;
    world_tracef("bits flipped in %s of %s at %llu", path, disk->name, (unsigned long long)at);
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp((*(struct name *const *)a)->path, (*(struct name *const *)b)->path);
}

void disk_each(struct disk *disk, void (*each)(void *data, const char *path, uint64_t bytes), void *data)
{
    struct name *sorted[FILES_MAX];
    size_t n = disk->now.n;

    for (size_t i = 0; i < n; i++) {
        sorted[i] = &disk->now.at[i];
    }
    qsort(sorted, n, sizeof(sorted[0]), by_path);
    for (size_t i = 0; i < n; i++) {
        each(data, sorted[i]->path, sorted[i]->file->size);
    }
}

const uint8_t *disk_file(struct disk *disk, const char *path, uint64_t *bytes)
{
    struct name *name = names_find(&disk->now, path);

    if (name == NULL) {
        return NULL;
    }
    *bytes = name->file->size;
    return name->file->cache;
}

const uint8_t *disk_platter(struct disk *disk, const char *path, uint64_t *bytes)
{
    struct name *name = names_find(&disk->durable, path);

    if (name == NULL) {
        return NULL;
    }
    *bytes = name->file->plat_size;
    return name->file->plat;
}

const struct disk_stats *disk_stats(const struct disk *disk)
{
    return &disk->stats;
}
