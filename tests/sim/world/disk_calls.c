/* What production code calls: the table, and what posix.c needs beyond it. */
#include "tests/sim/world/disk_parts.h"

#include "remoting/base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define UNLIMITED_BYTES (UINT64_C(1) << 40) /* size of a disk without a limit */
#define FD_FIRST 20000                      /* no other descriptor looks like one of a disk */
#define HUNG_LOOK_NS (5 * NS_PER_MS)

static struct disk *of(const struct rlog_disk *table)
{
    return table->data;
}

/* ---- latencies and failures ---- */

static void take_time(uint64_t low, uint64_t high)
{
    if (fiber_current() != NULL && high != 0) {
        process_sleep(rng_between(world_rng(), low, high));
    }
}

/* Whether faults that are ordered pass this file by. */
static bool is_spared(const struct disk *disk, const struct open_file *open)
{
    return open->foreign && !disk->manner.all_files;
}

static int due_failure(struct disk *disk, const struct open_file *open, enum disk_call call)
{
    if (open != NULL && is_spared(disk, open)) {
        return 0;
    }
    if (++disk->calls[call] != disk->fail[call].at) {
        return 0;
    }
    disk->fail[call].has = true;
    world_trace("disk fails call of kind", call, (uint64_t)-disk->fail[call].rc);
    return disk->fail[call].rc;
}

static void sync_time(struct disk *disk)
{
    const struct disk_manner *manner = &disk->manner;

    take_time(manner->sync_min_ns, manner->sync_max_ns);
    if (fiber_current() != NULL && rng_chance(world_rng(), manner->stall_ppm)) {
        process_sleep(rng_below(world_rng(), manner->stall_max_ns + 1));
    }
    while (fiber_current() != NULL && disk->manner.hung) {
        process_sleep(HUNG_LOOK_NS);
    }
}

static bool has_room(const struct disk *disk, uint64_t more)
{
    return disk->capacity == 0 || more == 0 || disk_used(disk) + more <= disk->capacity;
}

/* ---- the table ---- */

static struct open_file *fd_at(struct disk *disk, int fd)
{
    MQ_ASSERT(fd >= FD_FIRST && fd < FD_FIRST + FDS_MAX && disk->fds[fd - FD_FIRST].used);
    return &disk->fds[fd - FD_FIRST];
}

static int new_fd(struct disk *disk, struct file *file)
{
    for (int i = 0; i < FDS_MAX; i++) {
        if (!disk->fds[i].used) {
            disk->fds[i] = (struct open_file){.file = file, .process = process_current(), .used = true};
            if (file != NULL) {
                file->fds++;
            }
            return FD_FIRST + i;
        }
    }
    return -EMFILE;
}

void disk_close_fd(struct disk *disk, int i)
{
    struct file *file = disk->fds[i].file;

    disk->fds[i] = (struct open_file){0};
    if (file != NULL) {
        if (file->locked_by != NULL && file->lock_fd == i) {
            file->locked_by = NULL;
        }
        file->fds--;
        file_drop(file);
    }
}

static void resize(struct file *file, uint64_t bytes)
{
    file_grow(file, bytes);
    if (bytes < file->size) {
        memset(file->cache + bytes, 0, file->size - bytes);
        file_mark_dirty(file, bytes, file->size - bytes);
    }
    file_set_size(file, bytes);
}

static int sim_open(const struct rlog_disk *table, const char *path, int flags, int mode)
{
    struct disk *disk = of(table);
    struct name *name = names_find(&disk->now, path);

    (void)mode;
    take_time(disk->manner.write_min_ns, disk->manner.write_max_ns);
    if (disk_is_dir(disk, path)) {
        return new_fd(disk, NULL);
    }
    if ((flags & O_DIRECTORY) != 0 || (name == NULL && (flags & O_CREAT) == 0)) {
        return name != NULL ? -ENOTDIR : -ENOENT;
    }
    if (name == NULL) {
        struct file *file = file_new(disk, 1);

        disk_add_change(disk, CREATED, path, NULL, file);
        name = names_find(&disk->now, path);
    } else if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
        return -EEXIST;
    } else if ((flags & O_TRUNC) != 0) {
        resize(name->file, 0);
    }
    return new_fd(disk, name->file);
}

static int sim_close(const struct rlog_disk *table, int fd)
{
    struct disk *disk = of(table);

    fd_at(disk, fd);
    disk_close_fd(disk, fd - FD_FIRST);
    return 0;
}

static ssize_t sim_pread(const struct rlog_disk *table, int fd, void *to, size_t n, uint64_t at)
{
    struct disk *disk = of(table);
    const struct file *file = fd_at(disk, fd)->file;
    int rc = due_failure(disk, fd_at(disk, fd), DISK_READ);

    if (rc != 0 || file == NULL) {
        return rc != 0 ? rc : -EISDIR;
    }
    n = at >= file->size ? 0 : n < file->size - at ? n : file->size - at;
    memcpy(to, file->cache + at, n);
    return (ssize_t)n;
}

/* Copies @n bytes of @vec, from its byte @skip on, to @to. */
static void copy_vec(uint8_t *to, const struct iovec *vec, size_t skip, size_t n)
{
    for (; n > 0; vec++) {
        size_t piece = vec->iov_len;

        if (skip >= piece) {
            skip -= piece;
            continue;
        }
        piece -= skip;
        piece = piece < n ? piece : n;
        memcpy(to, (const uint8_t *)vec->iov_base + skip, piece);
        world_trace_bytes(to, piece);
        skip = 0;
        to += piece;
        n -= piece;
    }
}

/* What a long write has copied when its process is killed is in the cache, the rest is not. */
static ssize_t sim_pwritev(const struct rlog_disk *table, int fd, const struct iovec *vec, int n, uint64_t at)
{
    struct disk *disk = of(table);
    struct file *file = fd_at(disk, fd)->file;
    int rc = due_failure(disk, fd_at(disk, fd), DISK_WRITE);
    size_t bytes = 0, first;

    for (int i = 0; i < n; i++) {
        bytes += vec[i].iov_len;
    }
    world_trace("write", at, bytes);
    if (rc == 0 && !is_spared(disk, fd_at(disk, fd)) &&
        !has_room(disk, at + bytes > file->size ? at + bytes - file->size : 0)) {
        rc = -ENOSPC;
    }
    if (rc != 0 || bytes == 0) {
        return rc;
    }
    if (file->dirty_lo != file->dirty_hi && rng_chance(world_rng(), disk->manner.writeback_ppm)) {
        file_write_back(disk, file);
    }
    file_grow(file, at + bytes);
    file_set_size(file, at + bytes > file->size ? at + bytes : file->size);
    first = bytes > 4096 ? (size_t)rng_below(world_rng(), bytes / 4096 + 1) * 4096 : bytes;
    copy_vec(file->cache + at, vec, 0, first);
    file_mark_dirty(file, at, first);
    take_time(disk->manner.write_min_ns, disk->manner.write_max_ns);
    if (first < bytes) {
        copy_vec(file->cache + at + first, vec, first, bytes - first);
        file_mark_dirty(file, at + first, bytes - first);
    }
    return (ssize_t)bytes;
}

/* The kernel takes what it could not write for clean. */
static void lose_dirty(struct disk *disk, struct file *file)
{
    for (uint32_t s = file->dirty_lo; s < file->dirty_hi; s++) {
        if (file->first_dirty[s] != 0) {
            if (rng_chance(world_rng(), PPM / 2)) {
                file_to_platter(file, s, s);
            }
            file->first_dirty[s] = 0;
            file->stale = true;
        }
    }
    file->dirty_lo = file->dirty_hi = 0;
    disk->stats.failed_syncs++;
}

static int sim_fdatasync(const struct rlog_disk *table, int fd)
{
    struct disk *disk = of(table);
    struct file *file = fd_at(disk, fd)->file;
    uint64_t size = file->size;
    uint32_t until;
    int rc;

    file_look_for_dirty(file);
    until = file->writes;
    world_trace("sync", (uint64_t)fd, file->dirty_hi - file->dirty_lo);
    sync_time(disk);
    rc = due_failure(disk, fd_at(disk, fd), DISK_SYNC);
    if (rc != 0) {
        lose_dirty(disk, file);
        return rc;
    }
    for (uint32_t s = file->dirty_lo; s < file->dirty_hi; s++) {
        if (file->first_dirty[s] != 0 && file->first_dirty[s] <= until) {
            file_write_sector(disk, file, s);
        }
    }
    file_narrow(file);
    file->plat_size = size < file->size ? size : file->size;
    return 0;
}

static int sim_fallocate(const struct rlog_disk *table, int fd, uint64_t bytes)
{
    struct disk *disk = of(table);
    struct file *file = fd_at(disk, fd)->file;
    int rc = due_failure(disk, fd_at(disk, fd), DISK_WRITE);

    take_time(disk->manner.write_min_ns, disk->manner.write_max_ns);
    if (rc == 0 && !is_spared(disk, fd_at(disk, fd)) &&
        !has_room(disk, bytes > file->size ? bytes - file->size : 0)) {
        rc = -ENOSPC;
    }
    if (rc == 0 && bytes > file->size) {
        file_grow(file, bytes);
        file_set_size(file, bytes);
    }
    return rc;
}

/* A change of metadata on a real disk; here the sectors become zeros one by one until the file is synced. */
static int sim_zero_file(const struct rlog_disk *table, int fd, uint64_t bytes)
{
    struct disk *disk = of(table);
    struct file *file = fd_at(disk, fd)->file;
    int rc = due_failure(disk, fd_at(disk, fd), DISK_WRITE);

    take_time(disk->manner.write_min_ns, disk->manner.write_max_ns);
    if (rc == 0) {
        bytes = bytes < file->size ? bytes : file->size;
        memset(file->cache, 0, bytes);
        file_mark_dirty(file, 0, bytes);
        world_trace("zero", (uint64_t)fd, bytes);
        disk->stats.zeroed++;
    }
    return rc;
}

static int sim_rename(const struct rlog_disk *table, const char *from, const char *to)
{
    struct disk *disk = of(table);
    struct name *name = names_find(&disk->now, from);

    take_time(disk->manner.write_min_ns, disk->manner.write_max_ns);
    if (disk_is_dir(disk, from)) {
        return disk_rename_dir(disk, from, to);
    }
    if (name == NULL) {
        return -ENOENT;
    }
    disk_add_change(disk, RENAMED, from, to, name->file);
    return 0;
}

static int sim_unlink(const struct rlog_disk *table, const char *path)
{
    struct disk *disk = of(table);
    struct name *name = names_find(&disk->now, path);

    take_time(disk->manner.write_min_ns, disk->manner.write_max_ns);
    if (name == NULL) {
        return -ENOENT;
    }
    disk_add_change(disk, UNLINKED, path, NULL, name->file);
    return 0;
}

static int sim_sync_dir(const struct rlog_disk *table, const char *path)
{
    struct disk *disk = of(table);
    int rc;

    if (!disk_is_dir(disk, path)) {
        return -ENOENT;
    }
    sync_time(disk);
    rc = due_failure(disk, NULL, DISK_SYNC);
    if (rc == 0) {
        disk_settle(disk, path, NULL, NULL);
    }
    return rc;
}

static int sim_map(const struct rlog_disk *table, int fd, size_t bytes, const uint8_t **out)
{
    struct file *file = fd_at(of(table), fd)->file;

    file_grow(file, bytes);
    file->maps++;
    file->mapped_by = process_current();
    *out = file->cache;
    return 0;
}

static int sim_unmap(const struct rlog_disk *table, const uint8_t *at, size_t bytes)
{
    struct disk *disk = of(table);

    (void)bytes;
    for (struct node *node = disk->files.next; node != &disk->files; node = node->next) {
        struct file *file = (struct file *)node;

        if (file->cache == at && file->maps > 0) {
            file->maps--;
            file_drop(file);
            return 0;
        }
    }
    return -EINVAL;
}

static int sim_make_dir(const struct rlog_disk *table, const char *path)
{
    struct disk *disk = of(table);

    char *dir = world_strdup(path);

    for (char *at = strchr(dir + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        disk_add_dir(disk, dir);
        *at = '/';
    }
    disk_add_dir(disk, dir);
    free(dir);
    return 0;
}

static int sim_list(const struct rlog_disk *table, const char *path, void (*each)(void *data, const char *name),
                    void *data)
{
    struct disk *disk = of(table);
    size_t n = strlen(path);

    if (!disk_is_dir(disk, path)) {
        return -ENOENT;
    }
    for (size_t i = 0; i < disk->now.n; i++) {
        if (path_is_in(disk->now.at[i].path, path)) {
            each(data, disk->now.at[i].path + n + 1);
        }
    }
    for (size_t i = 0; i < disk->dirs.n; i++) {
        if (path_is_in(disk->dirs.at[i].path, path)) {
            each(data, disk->dirs.at[i].path + n + 1);
        }
    }
    return 0;
}

static int sim_lock(const struct rlog_disk *table, int fd)
{
    struct disk *disk = of(table);
    struct file *file = fd_at(disk, fd)->file;

    if (file->locked_by != NULL) {
        return -EWOULDBLOCK;
    }
    file->locked_by = process_current();
    file->lock_fd = fd - FD_FIRST;
    return 0;
}

static bool sector_is_zero(const struct file *file, uint64_t s)
{
    const uint8_t *at = file->cache + s * SECTOR;

    return at[0] == 0 && memcmp(at, at + 1, SECTOR - 1) == 0;
}

static int64_t sim_next_data(const struct rlog_disk *table, int fd, uint64_t at, uint64_t *end)
{
    const struct file *file = fd_at(of(table), fd)->file;
    uint64_t s = at / SECTOR, n = (file->size + SECTOR - 1) / SECTOR;

    while (s < n && sector_is_zero(file, s)) {
        s++;
    }
    if (s >= n) {
        return -ENXIO;
    }
    at = s * SECTOR > at ? s * SECTOR : at;
    while (s < n && !sector_is_zero(file, s)) {
        s++;
    }
    *end = s * SECTOR < file->size ? s * SECTOR : file->size;
    return (int64_t)at;
}

static int sim_forget(const struct rlog_disk *table, int fd, uint64_t at, uint64_t bytes)
{
    struct file *file = fd_at(of(table), fd)->file;
    uint64_t n = (file->size + SECTOR - 1) / SECTOR;

    for (uint64_t s = at / SECTOR; file->stale && s < n && s * SECTOR < at + bytes; s++) {
        if (file->first_dirty[s] == 0) {
            memcpy(file->cache + s * SECTOR, file->plat + s * SECTOR, SECTOR);
        }
    }
    return 0;
}

static int sim_advise(const struct rlog_disk *table, const uint8_t *at, size_t bytes, int advice)
{
    (void)table;
    (void)at;
    (void)bytes;
    (void)advice;
    return 0;
}

static int sim_space(const struct rlog_disk *table, const char *path, uint64_t *total, uint64_t *free)
{
    (void)path;
    disk_space(of(table), total, free);
    return 0;
}

/* A machine boots once behind every loss of its power. */
static int sim_boot_id(const struct rlog_disk *table, char *out, size_t max)
{
    const struct disk *disk = of(table);
    int n = snprintf(out, max, "%s-%llu", disk->name, (unsigned long long)disk->stats.crashes);

    return n > 0 && (size_t)n < max ? 0 : -ERANGE;
}

const struct rlog_disk disk_calls_table = {
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .pwritev = sim_pwritev,
    .fdatasync = sim_fdatasync,
    .fallocate = sim_fallocate,
    .zero_file = sim_zero_file,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .sync_dir = sim_sync_dir,
    .map = sim_map,
    .unmap = sim_unmap,
    .make_dir = sim_make_dir,
    .list = sim_list,
    .lock = sim_lock,
    .next_data = sim_next_data,
    .forget = sim_forget,
    .advise = sim_advise,
    .space = sim_space,
    .boot_id = sim_boot_id,
};

/* ---- for posix.c ---- */

void disk_space(const struct disk *disk, uint64_t *total, uint64_t *free)
{
    uint64_t used = disk_used(disk);

    *total = disk->capacity != 0 ? disk->capacity : UNLIMITED_BYTES;
    *free = *total > used ? *total - used : 0;
}

bool disk_owns_fd(int fd)
{
    return fd >= FD_FIRST && fd < FD_FIRST + FDS_MAX;
}

void disk_fd_set_foreign(struct disk *disk, int fd)
{
    fd_at(disk, fd)->foreign = true;
}

uint64_t *disk_fd_pos(struct disk *disk, int fd)
{
    return &fd_at(disk, fd)->pos;
}

int disk_fd_size(struct disk *disk, int fd, uint64_t *bytes)
{
    const struct file *file = fd_at(disk, fd)->file;

    *bytes = file != NULL ? file->size : 0;
    return file != NULL ? 0 : -EISDIR;
}

int disk_fd_resize(struct disk *disk, int fd, uint64_t bytes)
{
    resize(fd_at(disk, fd)->file, bytes);
    return 0;
}

void *disk_fd_map(struct disk *disk, int fd, size_t bytes)
{
    struct file *file = fd_at(disk, fd)->file;
    const uint8_t *at;

    sim_map(&disk->table, fd, bytes, &at);
    file->map_written = true;
    return file->cache;
}

int disk_stat(const struct disk *disk, const char *path, uint64_t *bytes)
{
    const struct name *name = names_find(&disk->now, path);

    if (name != NULL) {
        *bytes = name->file->size;
        return 0;
    }
    return disk_is_dir(disk, path) ? -EISDIR : -ENOENT;
}

void disk_remove_dir(struct disk *disk, const char *path)
{
    for (size_t i = 0; i < disk->dirs.n;) {
        if (path_is_below(disk->dirs.at[i].path, path)) {
            names_forget(&disk->dirs, &disk->dirs.at[i]);
        } else {
            i++;
        }
    }
    for (size_t i = 0; i < disk->now.n;) {
        const struct name *name = &disk->now.at[i];

        if (path_is_below(name->path, path)) {
            disk_add_change(disk, UNLINKED, name->path, NULL, name->file);
        } else {
            i++;
        }
    }
}

int disk_settle_names(struct disk *disk)
{
    sync_time(disk);
    disk_settle(disk, NULL, NULL, NULL);
    return 0;
}

int disk_sync_all(struct disk *disk)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < disk->now.n; i++) {
        int fd = new_fd(disk, disk->now.at[i].file);

        rc = fd < 0 ? fd : sim_fdatasync(&disk->table, fd);
        if (fd >= 0) {
            disk_close_fd(disk, fd - FD_FIRST);
        }
    }
    if (rc == 0) {
        disk_settle(disk, NULL, NULL, NULL);
    }
    return rc;
}
