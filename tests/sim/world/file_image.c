/* One file's cache and platter. */
#include "tests/sim/world/disk_parts.h"

#include "remoting/base/assert.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *__real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t from);

#define IMAGE_MIN (64u << 10)

/* Images are kept for the next file: making one of fresh pages costs more than most of what is done with it. */
static void *spare_images[64]; /* by the logarithm of their size; all zeros but the link at the front */

static uint8_t *new_image(size_t cap)
{
    void **spare = &spare_images[__builtin_ctzl(cap)];
    void *at = *spare;

    if (at != NULL) {
        *spare = *(void **)at;
        memset(at, 0, sizeof(void *));
        return at;
    }
    at = __real_mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MQ_ASSERT(at != MAP_FAILED);
    return at;
}

/* Bytes from @used on were never touched. */
static void free_image(void *image, size_t cap, size_t used)
{
    void **spare = &spare_images[__builtin_ctzl(cap)];

    memset(image, 0, used);
    *(void **)image = *spare;
    *spare = image;
}

static size_t dirty_cap(size_t cap)
{
    return cap / SECTOR * sizeof(uint32_t);
}

static void free_images(struct file *file)
{
    free_image(file->cache, file->cap, file->size_max);
    free_image(file->plat, file->cap, file->size_max);
    free_image(file->first_dirty, dirty_cap(file->cap), (file->size_max / SECTOR + 1) * sizeof(uint32_t));
}

void file_set_size(struct file *file, uint64_t bytes)
{
    file->size = bytes;
    file->size_max = bytes > file->size_max ? bytes : file->size_max;
}

/* Makes room for @bytes. */
void file_grow(struct file *file, uint64_t bytes)
{
    struct file old = *file;

    file->cap = old.cap != 0 ? old.cap : IMAGE_MIN;
    while (file->cap < bytes) {
        file->cap *= 2;
    }
    if (file->cap == old.cap) {
        return;
    }
    MQ_ASSERT(file->maps == 0); /* a mapped file has its full length */
    file->cache = new_image(file->cap);
    file->plat = new_image(file->cap);
    file->first_dirty = (uint32_t *)(void *)new_image(dirty_cap(file->cap));
    if (old.cap != 0) {
        memcpy(file->cache, old.cache, old.size_max);
        memcpy(file->plat, old.plat, old.size_max);
        memcpy(file->first_dirty, old.first_dirty, (old.size_max + SECTOR - 1) / SECTOR * sizeof(uint32_t));
        free_images(&old);
    }
}

struct file *file_new(struct disk *disk, uint64_t bytes)
{
    struct file *file = world_alloc(sizeof(*file));

    list_append(&disk->files, &file->node);
    file_grow(file, bytes);
    return file;
}

void file_drop(struct file *file)
{
    if (file->names == 0 && file->fds == 0 && file->maps == 0) {
        list_remove(&file->node);
        free_images(file);
        free(file);
    }
}

void file_mark_dirty(struct file *file, uint64_t at, uint64_t n)
{
    uint32_t from = (uint32_t)(at / SECTOR), to = (uint32_t)((at + n + SECTOR - 1) / SECTOR);

    file->writes++;
    for (uint32_t s = from; s < to; s++) {
        if (file->first_dirty[s] == 0) {
            file->first_dirty[s] = file->writes;
        }
    }
    if (file->dirty_lo == file->dirty_hi) {
        file->dirty_lo = from;
        file->dirty_hi = to;
    } else {
        file->dirty_lo = from < file->dirty_lo ? from : file->dirty_lo;
        file->dirty_hi = to > file->dirty_hi ? to : file->dirty_hi;
    }
}

/* Finds what was written through a map. */
void file_look_for_dirty(struct file *file)
{
    uint32_t n = (uint32_t)((file->size + SECTOR - 1) / SECTOR);

    for (uint32_t s = 0; file->map_written && s < n; s++) {
        if (file->first_dirty[s] == 0 &&
            memcmp(file->cache + (size_t)s * SECTOR, file->plat + (size_t)s * SECTOR, SECTOR) != 0) {
            file_mark_dirty(file, (uint64_t)s * SECTOR, 1);
        }
    }
}

void file_to_platter(struct file *file, uint32_t from_sector, uint32_t to_sector)
{
    memcpy(file->plat + (size_t)to_sector * SECTOR, file->cache + (size_t)from_sector * SECTOR, SECTOR);
}

/* Narrows the range after sectors in it became clean. */
void file_narrow(struct file *file)
{
    while (file->dirty_lo < file->dirty_hi && file->first_dirty[file->dirty_lo] == 0) {
        file->dirty_lo++;
    }
    while (file->dirty_hi > file->dirty_lo && file->first_dirty[file->dirty_hi - 1] == 0) {
        file->dirty_hi--;
    }
}

void file_write_sector(struct disk *disk, struct file *file, uint32_t s)
{
    if (rng_chance(world_rng(), disk->manner.misdirect_ppm)) {
        uint32_t other = (uint32_t)rng_below(world_rng(), (file->size + SECTOR - 1) / SECTOR);

        file_to_platter(file, s, other);
        file->stale = true;
        disk->stats.misdirected++;
        world_trace("disk misdirected", s, other);
    } else {
        file_to_platter(file, s, s);
    }
    file->first_dirty[s] = 0;
}

/* The kernel writes some of what is dirty of its own accord. */
void file_write_back(struct disk *disk, struct file *file)
{
    for (uint32_t s = file->dirty_lo; s < file->dirty_hi; s++) {
        if (file->first_dirty[s] != 0 && rng_chance(world_rng(), PPM / 2)) {
            file_write_sector(disk, file, s);
            disk->stats.writebacks++;
        }
    }
    file_narrow(file);
}
