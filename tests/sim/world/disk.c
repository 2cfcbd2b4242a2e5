/* Files twice: the page cache, which reads and maps see, and the platter, which a power failure leaves. What is
 * between them is told sector by sector: first_dirty says with which write a sector became different. A sync covers
 * the sectors that were so when it began; what was written meanwhile may or may not have come along.
 *
 * Names are treated likewise: every change is seen at once and counts for good after a sync of the directory. Until
 * then a power failure keeps some of the changes, in their order. */
#include "tests/sim/world/disk.h"

#include "remoting/base/assert.h"
#include "tests/sim/world/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *__real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t from);
int __real_munmap(void *at, size_t bytes);

#define SECTOR 512u
#define FILES_MAX 1024
#define FDS_MAX 512
#define FD_FIRST 20000 /* no other descriptor looks like one of a disk */
#define IMAGE_MIN (64u << 10)
#define HUNG_LOOK_NS (5 * NS_PER_MS)
#define RUN_MAX 16u /* sectors that a power failure treats alike */

struct file {
    struct node node;      /* in disk->files */
    uint8_t *cache, *plat; /* owned, cap bytes each; zeros behind size_max */
    uint32_t *first_dirty; /* owned, by sector: the write that made it differ from the platter; 0: none */
    size_t cap;
    uint64_t size, plat_size, size_max; /* size_max: the largest size so far; zeros behind it */
    uint32_t writes;                    /* so far */
    uint32_t dirty_lo, dirty_hi;        /* sectors outside [lo, hi) are clean */
    bool map_written;                   /* mapped for writing: what differs from the platter must be looked for */
    bool stale;                         /* clean sectors may differ from the platter: a sync failed or went astray */
    uint32_t maps, fds, names;          /* that keep it */
    struct process *mapped_by, *locked_by;
    int lock_fd;
};

struct name {
    char *path; /* owned */
    struct file *file;
};

struct names {
    struct name at[FILES_MAX];
    size_t n;
};

enum change_kind { CREATED, RENAMED, UNLINKED };

struct change {
    struct change *next;
    enum change_kind kind;
    char *path, *to; /* owned */
    struct file *file;
};

struct open_file {
    struct file *file;       /* NULL: a directory */
    struct process *process; /* NULL: free or of the world */
    bool used;
    bool foreign; /* opened by other means than the table */
    uint64_t pos; /* of read and write */
};

struct disk {
    struct rlog_disk table;
    char *name; /* owned */
    struct disk_manner manner;
    struct node files; /* all that someone keeps */
    struct names now, durable;
    struct change *changes, **last_change; /* unsynced, oldest first */
    char *dirs[FILES_MAX];                 /* owned */
    size_t n_dirs;
    struct open_file fds[FDS_MAX];
    uint64_t capacity;
    uint64_t calls[DISK_CALLS];
    struct {
        uint64_t at;
        int rc;
        bool has;
    } fail[DISK_CALLS];
    struct disk_stats stats;
};

static struct disk *of(const struct rlog_disk *table)
{
    return table->data;
}

/* ---- images ---- */

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

static void set_size(struct file *file, uint64_t bytes)
{
    file->size = bytes;
    file->size_max = bytes > file->size_max ? bytes : file->size_max;
}

/* Makes room for @bytes. */
static void grow(struct file *file, uint64_t bytes)
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

static struct file *new_file(struct disk *disk, uint64_t bytes)
{
    struct file *file = world_alloc(sizeof(*file));

    list_append(&disk->files, &file->node);
    grow(file, bytes);
    return file;
}

static void drop_file(struct file *file)
{
    if (file->names == 0 && file->fds == 0 && file->maps == 0) {
        list_remove(&file->node);
        free_images(file);
        free(file);
    }
}

static void mark_dirty(struct file *file, uint64_t at, uint64_t n)
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
static void look_for_dirty(struct file *file)
{
    uint32_t n = (uint32_t)((file->size + SECTOR - 1) / SECTOR);

    for (uint32_t s = 0; file->map_written && s < n; s++) {
        if (file->first_dirty[s] == 0 &&
            memcmp(file->cache + (size_t)s * SECTOR, file->plat + (size_t)s * SECTOR, SECTOR) != 0) {
            mark_dirty(file, (uint64_t)s * SECTOR, 1);
        }
    }
}

static void to_platter(struct file *file, uint32_t from_sector, uint32_t to_sector)
{
    memcpy(file->plat + (size_t)to_sector * SECTOR, file->cache + (size_t)from_sector * SECTOR, SECTOR);
}

/* Narrows the range after sectors in it became clean. */
static void narrow(struct file *file)
{
    while (file->dirty_lo < file->dirty_hi && file->first_dirty[file->dirty_lo] == 0) {
        file->dirty_lo++;
    }
    while (file->dirty_hi > file->dirty_lo && file->first_dirty[file->dirty_hi - 1] == 0) {
        file->dirty_hi--;
    }
}

static void write_sector(struct disk *disk, struct file *file, uint32_t s)
{
    if (rng_chance(world_rng(), disk->manner.misdirect_ppm)) {
        uint32_t other = (uint32_t)rng_below(world_rng(), (file->size + SECTOR - 1) / SECTOR);

        to_platter(file, s, other);
        file->stale = true;
        disk->stats.misdirected++;
        world_trace("disk misdirected", s, other);
    } else {
        to_platter(file, s, s);
    }
    file->first_dirty[s] = 0;
}

/* The kernel writes some of what is dirty of its own accord. */
static void write_back(struct disk *disk, struct file *file)
{
    for (uint32_t s = file->dirty_lo; s < file->dirty_hi; s++) {
        if (file->first_dirty[s] != 0 && rng_chance(world_rng(), PPM / 2)) {
            write_sector(disk, file, s);
            disk->stats.writebacks++;
        }
    }
    narrow(file);
}

/* ---- names ---- */

static struct name *find(struct names *names, const char *path)
{
    for (size_t i = 0; i < names->n; i++) {
        if (strcmp(names->at[i].path, path) == 0) {
            return &names->at[i];
        }
    }
    return NULL;
}

static void forget_name(struct names *names, struct name *name)
{
    struct file *file = name->file;

    free(name->path);
    *name = names->at[--names->n];
    file->names--;
    drop_file(file);
}

static void set_name(struct names *names, const char *path, struct file *file)
{
    struct name *name = find(names, path);

    file->names++;
    if (name != NULL) {
        name->file->names--;
        drop_file(name->file);
        name->file = file;
        return;
    }
    MQ_ASSERT(names->n < FILES_MAX);
    names->at[names->n++] = (struct name){world_strdup(path), file};
}

static void apply_change(struct names *names, const struct change *change)
{
    struct name *name = find(names, change->path);

    switch (change->kind) {
    case CREATED:
        set_name(names, change->path, change->file);
        break;
    case RENAMED:
        set_name(names, change->to, change->file);
        name = find(names, change->path);
        if (name != NULL && name->file == change->file) {
            forget_name(names, name);
        }
        break;
    case UNLINKED:
        if (name != NULL && name->file == change->file) {
            forget_name(names, name);
        }
        break;
    }
}

static void free_change(struct change *change)
{
    change->file->names--;
    drop_file(change->file);
    free(change->path);
    free(change->to);
    free(change);
}

static void add_change(struct disk *disk, enum change_kind kind, const char *path, const char *to, struct file *file)
{
    struct change *change = world_alloc(sizeof(*change));

    change->kind = kind;
    change->path = world_strdup(path);
    change->to = to != NULL ? world_strdup(to) : NULL;
    change->file = file;
    file->names++; /* kept until the change is settled */
    *disk->last_change = change;
    disk->last_change = &change->next;
    apply_change(&disk->now, change);
}

static bool is_in_dir(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && path[n] == '/' && strchr(path + n + 1, '/') == NULL;
}

/* Settles the changes of @dir (NULL: of all); @keep says whether they are applied for good. */
static void settle(struct disk *disk, const char *dir, bool (*keep)(void *data), void *data)
{
    struct change *change = disk->changes, *next;

    disk->changes = NULL;
    disk->last_change = &disk->changes;
    for (; change != NULL; change = next) {
        next = change->next;
        change->next = NULL;
        if (dir != NULL && !is_in_dir(change->path, dir)) {
            *disk->last_change = change;
            disk->last_change = &change->next;
            continue;
        }
        if (keep == NULL || keep(data)) {
            apply_change(&disk->durable, change);
        } else {
            disk->stats.names_lost++;
        }
        free_change(change);
    }
}

static bool is_dir(const struct disk *disk, const char *path)
{
    if (strcmp(path, "/") == 0 || strcmp(path, ".") == 0) {
        return true;
    }
    for (size_t i = 0; i < disk->n_dirs; i++) {
        if (strcmp(disk->dirs[i], path) == 0) {
            return true;
        }
    }
    return false;
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

uint64_t disk_used(const struct disk *disk)
{
    uint64_t used = 0;

    for (size_t i = 0; i < disk->now.n; i++) {
        used += disk->now.at[i].file->size;
    }
    return used;
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

static void close_fd(struct disk *disk, int i)
{
    struct file *file = disk->fds[i].file;

    disk->fds[i] = (struct open_file){0};
    if (file != NULL) {
        if (file->locked_by != NULL && file->lock_fd == i) {
            file->locked_by = NULL;
        }
        file->fds--;
        drop_file(file);
    }
}

static void resize(struct file *file, uint64_t bytes)
{
    grow(file, bytes);
    if (bytes < file->size) {
        memset(file->cache + bytes, 0, file->size - bytes);
        mark_dirty(file, bytes, file->size - bytes);
    }
    set_size(file, bytes);
}

static int sim_open(const struct rlog_disk *table, const char *path, int flags, int mode)
{
    struct disk *disk = of(table);
    struct name *name = find(&disk->now, path);

    (void)mode;
    take_time(disk->manner.write_min_ns, disk->manner.write_max_ns);
    if (is_dir(disk, path)) {
        return new_fd(disk, NULL);
    }
    if ((flags & O_DIRECTORY) != 0 || (name == NULL && (flags & O_CREAT) == 0)) {
        return name != NULL ? -ENOTDIR : -ENOENT;
    }
    if (name == NULL) {
        struct file *file = new_file(disk, 1);

        add_change(disk, CREATED, path, NULL, file);
        name = find(&disk->now, path);
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
    close_fd(disk, fd - FD_FIRST);
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
        write_back(disk, file);
    }
    grow(file, at + bytes);
    set_size(file, at + bytes > file->size ? at + bytes : file->size);
    first = bytes > 4096 ? (size_t)rng_below(world_rng(), bytes / 4096 + 1) * 4096 : bytes;
    copy_vec(file->cache + at, vec, 0, first);
    mark_dirty(file, at, first);
    take_time(disk->manner.write_min_ns, disk->manner.write_max_ns);
    if (first < bytes) {
        copy_vec(file->cache + at + first, vec, first, bytes - first);
        mark_dirty(file, at + first, bytes - first);
    }
    return (ssize_t)bytes;
}

/* The kernel takes what it could not write for clean. */
static void lose_dirty(struct disk *disk, struct file *file)
{
    for (uint32_t s = file->dirty_lo; s < file->dirty_hi; s++) {
        if (file->first_dirty[s] != 0) {
            if (rng_chance(world_rng(), PPM / 2)) {
                to_platter(file, s, s);
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

    look_for_dirty(file);
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
            write_sector(disk, file, s);
        }
    }
    narrow(file);
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
        grow(file, bytes);
        set_size(file, bytes);
    }
    return rc;
}

/* @path with @from, a directory above it, replaced by @to; the caller frees it. */
static char *moved_path(const char *path, const char *from, const char *to)
{
    size_t n = strlen(from), m = strlen(to);
    char *moved = world_alloc(m + strlen(path) - n + 1);

    memcpy(moved, to, m);
    memcpy(moved + m, path + n, strlen(path) - n + 1);
    return moved;
}

static bool is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* File by file, so that a power failure may find some moved and some not: less than a journal promises. */
static int rename_dir(struct disk *disk, const char *from, const char *to)
{
    for (size_t i = 0; i < disk->n_dirs; i++) {
        if (is_below(disk->dirs[i], from)) {
            char *moved = moved_path(disk->dirs[i], from, to);

            free(disk->dirs[i]);
            disk->dirs[i] = moved;
        }
    }
    for (size_t i = 0; i < disk->now.n;) {
        const struct name *name = &disk->now.at[i];
        char *moved;

        if (!is_below(name->path, from)) {
            i++;
            continue;
        }
        moved = moved_path(name->path, from, to);
        add_change(disk, RENAMED, name->path, moved, name->file); /* another name takes this place */
        free(moved);
    }
    return 0;
}

static int sim_rename(const struct rlog_disk *table, const char *from, const char *to)
{
    struct disk *disk = of(table);
    struct name *name = find(&disk->now, from);

    take_time(disk->manner.write_min_ns, disk->manner.write_max_ns);
    if (is_dir(disk, from)) {
        return rename_dir(disk, from, to);
    }
    if (name == NULL) {
        return -ENOENT;
    }
    add_change(disk, RENAMED, from, to, name->file);
    return 0;
}

static int sim_unlink(const struct rlog_disk *table, const char *path)
{
    struct disk *disk = of(table);
    struct name *name = find(&disk->now, path);

    take_time(disk->manner.write_min_ns, disk->manner.write_max_ns);
    if (name == NULL) {
        return -ENOENT;
    }
    add_change(disk, UNLINKED, path, NULL, name->file);
    return 0;
}

static int sim_sync_dir(const struct rlog_disk *table, const char *path)
{
    struct disk *disk = of(table);
    int rc;

    if (!is_dir(disk, path)) {
        return -ENOENT;
    }
    sync_time(disk);
    rc = due_failure(disk, NULL, DISK_SYNC);
    if (rc == 0) {
        settle(disk, path, NULL, NULL);
    }
    return rc;
}

static int sim_map(const struct rlog_disk *table, int fd, size_t bytes, const uint8_t **out)
{
    struct file *file = fd_at(of(table), fd)->file;

    grow(file, bytes);
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
            drop_file(file);
            return 0;
        }
    }
    return -EINVAL;
}

static void add_dir(struct disk *disk, const char *path, size_t n)
{
    char *dir = world_alloc(n + 1);

    memcpy(dir, path, n);
    if (is_dir(disk, dir)) {
        free(dir);
        return;
    }
    MQ_ASSERT(disk->n_dirs < FILES_MAX);
    disk->dirs[disk->n_dirs++] = dir;
}

static int sim_make_dir(const struct rlog_disk *table, const char *path)
{
    struct disk *disk = of(table);

    for (size_t n = 1; path[n - 1] != '\0'; n++) {
        if (path[n] == '/' || path[n] == '\0') {
            add_dir(disk, path, n);
        }
        if (path[n] == '\0') {
            break;
        }
    }
    return 0;
}

static int sim_list(const struct rlog_disk *table, const char *path, void (*each)(void *data, const char *name),
                    void *data)
{
    struct disk *disk = of(table);
    size_t n = strlen(path);

    if (!is_dir(disk, path)) {
        return -ENOENT;
    }
    for (size_t i = 0; i < disk->now.n; i++) {
        if (is_in_dir(disk->now.at[i].path, path)) {
            each(data, disk->now.at[i].path + n + 1);
        }
    }
    for (size_t i = 0; i < disk->n_dirs; i++) {
        if (is_in_dir(disk->dirs[i], path)) {
            each(data, disk->dirs[i] + n + 1);
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

/* ---- for posix.c ---- */

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
    const struct name *name = find((struct names *)&disk->now, path);

    if (name != NULL) {
        *bytes = name->file->size;
        return 0;
    }
    return is_dir(disk, path) ? -EISDIR : -ENOENT;
}

void disk_remove_dir(struct disk *disk, const char *path)
{
    for (size_t i = 0; i < disk->n_dirs;) {
        if (is_below(disk->dirs[i], path)) {
            free(disk->dirs[i]);
            disk->dirs[i] = disk->dirs[--disk->n_dirs];
        } else {
            i++;
        }
    }
    for (size_t i = 0; i < disk->now.n;) {
        const struct name *name = &disk->now.at[i];

        if (is_below(name->path, path)) {
            add_change(disk, UNLINKED, name->path, NULL, name->file);
        } else {
            i++;
        }
    }
}

int disk_settle_names(struct disk *disk)
{
    sync_time(disk);
    settle(disk, NULL, NULL, NULL);
    return 0;
}

int disk_sync_all(struct disk *disk)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < disk->now.n; i++) {
        int fd = new_fd(disk, disk->now.at[i].file);

        rc = fd < 0 ? fd : sim_fdatasync(&disk->table, fd);
        if (fd >= 0) {
            close_fd(disk, fd - FD_FIRST);
        }
    }
    if (rc == 0) {
        settle(disk, NULL, NULL, NULL);
    }
    return rc;
}

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

    look_for_dirty(file);
    s = file->dirty_lo;
    while (s < file->dirty_hi) {
        uint32_t run = (uint32_t)rng_between(world_rng(), 1, RUN_MAX);
        bool kept = is_kept(&fate);

        for (; run > 0 && s < file->dirty_hi; run--, s++) {
            if (file->first_dirty[s] == 0) {
                continue;
            }
            if (kept) {
                write_sector(disk, file, s);
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

static void clear_names(struct names *names)
{
    while (names->n > 0) {
        forget_name(names, &names->at[names->n - 1]);
    }
}

void disk_power_off(struct disk *disk)
{
    struct fate fate = draw_fate();

    disk->stats.crashes++;
    settle(disk, NULL, is_kept, &fate);
    clear_names(&disk->now);
    for (size_t i = 0; i < disk->durable.n; i++) {
        set_name(&disk->now, disk->durable.at[i].path, disk->durable.at[i].file);
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
            close_fd(disk, i);
        }
    }
    for (struct node *node = disk->files.next, *next; node != &disk->files; node = next) {
        struct file *file = (struct file *)node;

        next = node->next;
        if (file->mapped_by == process) {
            file->maps = 0;
            file->mapped_by = NULL;
            drop_file(file);
        }
    }
}

/* ---- the world's side ---- */

struct disk *disk_new(const char *name)
{
    struct disk *disk = world_alloc(sizeof(*disk));

    disk->table = (struct rlog_disk){
        .open = sim_open,
        .close = sim_close,
        .pread = sim_pread,
        .pwritev = sim_pwritev,
        .fdatasync = sim_fdatasync,
        .fallocate = sim_fallocate,
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
        .data = disk,
    };
    disk->name = world_strdup(name);
    disk->last_change = &disk->changes;
    list_init(&disk->files);
    return disk;
}

void disk_wipe(struct disk *disk)
{
    settle(disk, NULL, NULL, NULL);
    clear_names(&disk->now);
    clear_names(&disk->durable);
    while (disk->n_dirs > 0) {
        free(disk->dirs[--disk->n_dirs]);
    }
}

void disk_free(struct disk *disk)
{
    for (int i = 0; i < FDS_MAX; i++) {
        if (disk->fds[i].used) {
            close_fd(disk, i);
        }
    }
    disk_wipe(disk);
    free(disk->name);
    free(disk);
}

void disk_copy(struct disk *to, struct disk *from)
{
    disk_wipe(to);
    for (size_t i = 0; i < from->n_dirs; i++) {
        add_dir(to, from->dirs[i], strlen(from->dirs[i]));
    }
    for (size_t i = 0; i < from->now.n; i++) {
        const struct file *original = from->now.at[i].file;
        struct file *file = new_file(to, original->size + 1);

        memcpy(file->cache, original->cache, original->size);
        memcpy(file->plat, original->cache, original->size);
        set_size(file, original->size);
        file->plat_size = original->size;
        set_name(&to->now, from->now.at[i].path, file);
        set_name(&to->durable, from->now.at[i].path, file);
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
    struct name *name = find(&disk->now, path);

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
    struct name *name = find(&disk->now, path);

    if (name == NULL) {
        return NULL;
    }
    *bytes = name->file->size;
    return name->file->cache;
}

const uint8_t *disk_platter(struct disk *disk, const char *path, uint64_t *bytes)
{
    struct name *name = find(&disk->durable, path);

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
