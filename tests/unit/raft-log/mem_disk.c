#include "tests/unit/raft-log/mem_disk.h"

#include "remoting/base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512u
#define PAGE 4096u

static struct mem_disk *of(const struct rlog_disk *table)
{
    return table->data;
}

/* Takes the mutex. Returns 0, or the failure that is due. */
static int enter(struct mem_disk *disk)
{
    pthread_mutex_lock(&disk->lock);
    disk->calls++;
    return disk->calls == disk->fail_at ? disk->fail_rc : 0;
}

static int leave(struct mem_disk *disk, int rc)
{
    pthread_mutex_unlock(&disk->lock);
    return rc;
}

static struct mem_op *record(struct mem_disk *disk, enum mem_op_kind kind, int inode)
{
    if (disk->n_ops == disk->ops_cap) {
        disk->ops_cap = disk->ops_cap == 0 ? 256 : disk->ops_cap * 2;
        disk->ops = realloc(disk->ops, disk->ops_cap * sizeof(disk->ops[0]));
        MQ_ASSERT(disk->ops != NULL);
    }
    disk->ops[disk->n_ops] = (struct mem_op){.kind = kind, .inode = inode};
    return &disk->ops[disk->n_ops++];
}

static struct mem_name *find(struct mem_disk *disk, const char *name)
{
    for (int i = 0; i < MEM_FILES_MAX; i++) {
        if (disk->names[i].name != NULL && strcmp(disk->names[i].name, name) == 0) {
            return &disk->names[i];
        }
    }
    return NULL;
}

static int new_inode(struct mem_disk *disk)
{
    int inode = disk->n_inodes++;

    MQ_ASSERT(inode < MEM_FILES_MAX);
    disk->inodes[inode] = (struct mem_inode){.bytes = calloc(1, disk->file_bytes_max)};
    MQ_ASSERT(disk->inodes[inode].bytes != NULL);
    return inode;
}

static void set_name(struct mem_disk *disk, const char *name, int inode)
{
    struct mem_name *slot = find(disk, name);

    for (int i = 0; slot == NULL && i < MEM_FILES_MAX; i++) {
        if (disk->names[i].name == NULL) {
            slot = &disk->names[i];
        }
    }
    MQ_ASSERT(slot != NULL);
    if (slot->name == NULL) {
        slot->name = strdup(name);
    }
    slot->inode = inode;
}

static void drop_name(struct mem_name *slot)
{
    free(slot->name);
    *slot = (struct mem_name){0};
}

static bool is_dir(struct mem_disk *disk, const char *path)
{
    size_t n = strlen(path);

    for (int i = 0; i < MEM_FILES_MAX; i++) {
        if (disk->names[i].name != NULL && strncmp(disk->names[i].name, path, n) == 0 &&
            disk->names[i].name[n] == '/') {
            return true;
        }
    }
    return false;
}

static int mem_open(const struct rlog_disk *table, const char *path, int flags, int mode)
{
    struct mem_disk *disk = of(table);
    int rc = enter(disk);
    struct mem_name *name = find(disk, path);
    int inode, fd;

    (void)mode;
    if (rc != 0) {
        return leave(disk, rc);
    }
    if ((flags & O_DIRECTORY) != 0 ? !is_dir(disk, path) : name == NULL && (flags & O_CREAT) == 0) {
        return leave(disk, -ENOENT);
    }
    if (name == NULL && (flags & O_DIRECTORY) == 0) {
        inode = new_inode(disk);
        set_name(disk, path, inode);
        record(disk, MEM_CREATE, inode)->name = strdup(path);
    } else {
        inode = name != NULL ? name->inode : 0;
    }
    if ((flags & O_TRUNC) != 0) {
        memset(disk->inodes[inode].bytes, 0, disk->file_bytes_max);
        disk->inodes[inode].size = 0;
        record(disk, MEM_RESIZE, inode);
    }
    for (fd = 0; disk->fds[fd] >= 0; fd++) {
        MQ_ASSERT(fd + 1 < MEM_FDS_MAX);
    }
    disk->fds[fd] = inode;
    disk->direct[fd] = (flags & O_DIRECT) != 0;
    return leave(disk, fd);
}

static int mem_close(const struct rlog_disk *table, int fd)
{
    struct mem_disk *disk = of(table);

    pthread_mutex_lock(&disk->lock);
    disk->inodes[disk->fds[fd]].locked = false;
    disk->fds[fd] = -1;
    return leave(disk, 0);
}

static ssize_t mem_pread(const struct rlog_disk *table, int fd, void *to, size_t n, uint64_t at)
{
    struct mem_disk *disk = of(table);
    int rc = enter(disk);
    struct mem_inode *inode = &disk->inodes[disk->fds[fd]];

    if (rc != 0) {
        return leave(disk, rc);
    }
    n = at >= inode->size ? 0 : n < inode->size - at ? n : inode->size - at;
    memcpy(to, inode->bytes + at, n);
    return leave(disk, (int)n);
}

static ssize_t mem_pwritev(const struct rlog_disk *table, int fd, const struct iovec *vec, int n, uint64_t at)
{
    struct mem_disk *disk = of(table);
    int rc = enter(disk);
    struct mem_inode *inode = &disk->inodes[disk->fds[fd]];
    struct mem_op *op;
    size_t bytes = 0;

    if (rc != 0) {
        return leave(disk, rc);
    }
    for (int i = 0; i < n; i++) {
        bytes += vec[i].iov_len;
    }
    bytes = disk->write_max != 0 && bytes > disk->write_max ? disk->write_max : bytes;
    MQ_ASSERT(at + bytes <= disk->file_bytes_max);
    if (disk->direct[fd]) {
        if (disk->no_direct) {
            return leave(disk, -EINVAL);
        }
        MQ_ASSERT(n == 1 && at % PAGE == 0 && bytes % PAGE == 0 && (uintptr_t)vec->iov_base % PAGE == 0);
        disk->direct_writes++;
    }
    op = record(disk, MEM_WRITE, disk->fds[fd]);
    op->at = at;
    op->n = bytes;
    op->bytes = malloc(bytes);
    for (size_t done = 0; done < bytes; vec++) {
        size_t piece = vec->iov_len < bytes - done ? vec->iov_len : bytes - done;

        memcpy(op->bytes + done, vec->iov_base, piece);
        done += piece;
    }
    memcpy(inode->bytes + at, op->bytes, bytes);
    inode->size = at + bytes > inode->size ? at + bytes : inode->size;
    return leave(disk, (int)bytes);
}

/* After a failed sync the pages look clean and are not on the disk. */
static void lose_unsynced(struct mem_disk *disk, int inode)
{
    for (size_t i = disk->n_ops; i-- != 0 && !(disk->ops[i].kind == MEM_SYNC && disk->ops[i].inode == inode);) {
        disk->ops[i].lost = disk->ops[i].lost || (disk->ops[i].kind == MEM_WRITE && disk->ops[i].inode == inode);
    }
}

static int mem_fdatasync(const struct rlog_disk *table, int fd)
{
    struct mem_disk *disk = of(table);
    int rc = enter(disk);

    if (rc != 0) {
        lose_unsynced(disk, disk->fds[fd]);
        return leave(disk, rc);
    }
    record(disk, MEM_SYNC, disk->fds[fd]);
    return leave(disk, 0);
}

static int mem_fallocate(const struct rlog_disk *table, int fd, uint64_t bytes)
{
    struct mem_disk *disk = of(table);
    int rc = enter(disk);

    if (rc != 0) {
        return leave(disk, rc);
    }
    if (disk->fallocate_rc != 0) {
        return leave(disk, disk->fallocate_rc);
    }
    MQ_ASSERT(bytes <= disk->file_bytes_max);
    disk->inodes[disk->fds[fd]].size = bytes;
    record(disk, MEM_RESIZE, disk->fds[fd])->at = bytes;
    return leave(disk, 0);
}

static int mem_rename(const struct rlog_disk *table, const char *from, const char *to)
{
    struct mem_disk *disk = of(table);
    int rc = enter(disk);
    struct mem_name *name = find(disk, from);
    struct mem_op *op;

    if (rc != 0 || name == NULL) {
        return leave(disk, rc != 0 ? rc : -ENOENT);
    }
    op = record(disk, MEM_RENAME, name->inode);
    op->name = strdup(from);
    op->other = strdup(to);
    set_name(disk, to, name->inode);
    drop_name(find(disk, from));
    return leave(disk, 0);
}

static int mem_unlink(const struct rlog_disk *table, const char *path)
{
    struct mem_disk *disk = of(table);
    int rc = enter(disk);
    struct mem_name *name = find(disk, path);

    if (rc != 0 || name == NULL) {
        return leave(disk, rc != 0 ? rc : -ENOENT);
    }
    record(disk, MEM_UNLINK, name->inode)->name = strdup(path);
    drop_name(name);
    return leave(disk, 0);
}

static int mem_sync_dir(const struct rlog_disk *table, const char *path)
{
    struct mem_disk *disk = of(table);
    int rc = enter(disk);

    if (rc == 0) {
        record(disk, MEM_SYNC_DIR, -1)->name = strdup(path);
    }
    return leave(disk, rc);
}

static int mem_map(const struct rlog_disk *table, int fd, size_t bytes, const uint8_t **out)
{
    struct mem_disk *disk = of(table);
    int rc = enter(disk);

    if (rc == 0) {
        MQ_ASSERT(bytes <= disk->file_bytes_max);
        *out = disk->inodes[disk->fds[fd]].bytes;
    }
    return leave(disk, rc);
}

static int mem_unmap(const struct rlog_disk *table, const uint8_t *at, size_t bytes)
{
    (void)table;
    (void)at;
    (void)bytes;
    return 0;
}

static int mem_make_dir(const struct rlog_disk *table, const char *path)
{
    (void)path; /* directories are there as far as names need them */
    return leave(of(table), enter(of(table)));
}

static int mem_list(const struct rlog_disk *table, const char *path, void (*each)(void *data, const char *name),
                    void *data)
{
    struct mem_disk *disk = of(table);
    size_t n = strlen(path);
    int rc = enter(disk);

    for (int i = 0; rc == 0 && i < MEM_FILES_MAX; i++) {
        const char *name = disk->names[i].name;

        if (name != NULL && strncmp(name, path, n) == 0 && name[n] == '/' && strchr(name + n + 1, '/') == NULL) {
            each(data, name + n + 1);
        }
    }
    return leave(disk, rc);
}

static int mem_lock(const struct rlog_disk *table, int fd)
{
    struct mem_disk *disk = of(table);
    int rc = enter(disk);

    if (rc == 0) {
        rc = disk->inodes[disk->fds[fd]].locked ? -EWOULDBLOCK : 0;
        disk->inodes[disk->fds[fd]].locked = true;
    }
    return leave(disk, rc);
}

static int64_t mem_next_data(const struct rlog_disk *table, int fd, uint64_t at, uint64_t *end)
{
    struct mem_disk *disk = of(table);
    struct mem_inode *inode;

    pthread_mutex_lock(&disk->lock);
    inode = &disk->inodes[disk->fds[fd]];
    while (at < inode->size && inode->bytes[at] == 0) {
        at++;
    }
    *end = at + SECTOR - at % SECTOR;
    return at < inode->size ? leave(disk, (int)at) : leave(disk, -ENXIO);
}

/* What the disk has at a byte whose newest write was lost. */
static uint8_t byte_below(const struct mem_disk *disk, int inode, uint64_t at)
{
    for (size_t i = disk->n_ops; i-- != 0;) {
        const struct mem_op *op = &disk->ops[i];

        if (op->kind == MEM_WRITE && op->inode == inode && !op->lost && at >= op->at && at < op->at + op->n) {
            return op->bytes[at - op->at];
        }
    }
    return 0;
}

static int mem_forget(const struct rlog_disk *table, int fd, uint64_t at, uint64_t bytes)
{
    struct mem_disk *disk = of(table);
    int inode;

    pthread_mutex_lock(&disk->lock);
    inode = disk->fds[fd];
    for (size_t i = 0; i < disk->n_ops; i++) {
        const struct mem_op *op = &disk->ops[i];

        for (uint64_t k = op->at; op->lost && op->inode == inode && k < op->at + op->n; k++) {
            if (k >= at && k < at + bytes) {
                disk->inodes[inode].bytes[k] = byte_below(disk, inode, k);
            }
        }
    }
    return leave(disk, 0);
}

static int mem_advise(const struct rlog_disk *table, const uint8_t *at, size_t bytes, int advice)
{
    (void)table;
    (void)at;
    (void)bytes;
    (void)advice;
    return 0;
}

static int mem_zero_file(const struct rlog_disk *table, int fd, uint64_t bytes)
{
    struct mem_disk *disk = of(table);
    int rc = enter(disk);
    struct mem_op *op;

    if (rc != 0) {
        return leave(disk, rc);
    }
    op = record(disk, MEM_WRITE, disk->fds[fd]);
    op->n = bytes;
    op->bytes = calloc(1, bytes);
    MQ_ASSERT(op->bytes != NULL && bytes <= disk->file_bytes_max);
    memset(disk->inodes[disk->fds[fd]].bytes, 0, bytes);
    return leave(disk, 0);
}

static int mem_space(const struct rlog_disk *table, const char *path, uint64_t *total, uint64_t *free)
{
    struct mem_disk *disk = of(table);

    (void)path;
    pthread_mutex_lock(&disk->lock);
    *total = 2 * (uint64_t)disk->file_bytes_max * MEM_FILES_MAX;
    *free = disk->space_free;
    return leave(disk, *free != 0 ? 0 : -EOPNOTSUPP);
}

void mem_disk_set_space(struct mem_disk *disk, uint64_t free, int fallocate_rc)
{
    pthread_mutex_lock(&disk->lock);
    disk->space_free = free;
    disk->fallocate_rc = fallocate_rc;
    pthread_mutex_unlock(&disk->lock);
}

struct mem_disk *mem_disk_new(size_t file_bytes_max)
{
    struct mem_disk *disk = calloc(1, sizeof(*disk));

    MQ_ASSERT(disk != NULL);
    disk->table = (struct rlog_disk){
        .open = mem_open,
        .close = mem_close,
        .pread = mem_pread,
        .pwritev = mem_pwritev,
        .fdatasync = mem_fdatasync,
        .fallocate = mem_fallocate,
        .rename = mem_rename,
        .unlink = mem_unlink,
        .sync_dir = mem_sync_dir,
        .map = mem_map,
        .unmap = mem_unmap,
        .make_dir = mem_make_dir,
        .list = mem_list,
        .lock = mem_lock,
        .next_data = mem_next_data,
        .forget = mem_forget,
        .advise = mem_advise,
        .zero_file = mem_zero_file,
        .space = mem_space,
        .data = disk,
    };
    pthread_mutex_init(&disk->lock, NULL);
    disk->file_bytes_max = file_bytes_max;
    memset(disk->fds, -1, sizeof(disk->fds));
    return disk;
}

void mem_disk_free(struct mem_disk *disk)
{
    for (int i = 0; i < disk->n_inodes; i++) {
        free(disk->inodes[i].bytes);
    }
    for (int i = 0; i < MEM_FILES_MAX; i++) {
        free(disk->names[i].name);
    }
    for (size_t i = 0; i < disk->n_ops; i++) {
        free(disk->ops[i].name);
        free(disk->ops[i].other);
        free(disk->ops[i].bytes);
    }
    free(disk->ops);
    pthread_mutex_destroy(&disk->lock);
    free(disk);
}

void mem_disk_fail_in(struct mem_disk *disk, unsigned nth, int rc)
{
    pthread_mutex_lock(&disk->lock);
    disk->fail_at = nth != 0 ? disk->calls + nth : 0;
    disk->fail_rc = rc;
    pthread_mutex_unlock(&disk->lock);
}

bool mem_disk_has_failed(struct mem_disk *disk)
{
    bool failed;

    pthread_mutex_lock(&disk->lock);
    failed = disk->fail_at != 0 && disk->calls >= disk->fail_at;
    pthread_mutex_unlock(&disk->lock);
    return failed;
}

size_t mem_disk_now(struct mem_disk *disk)
{
    size_t now;

    pthread_mutex_lock(&disk->lock);
    now = disk->n_ops;
    pthread_mutex_unlock(&disk->lock);
    return now;
}

/* Whether @dir is the directory of @name. */
static bool holds(const char *dir, const char *name)
{
    const char *slash = strrchr(name, '/');

    return slash != NULL && strlen(dir) == (size_t)(slash - name) && strncmp(dir, name, strlen(dir)) == 0;
}

/* Whether change @i was synced before change @until. */
static bool is_synced(const struct mem_disk *disk, size_t i, size_t until)
{
    const struct mem_op *op = &disk->ops[i];

    for (size_t k = i + 1; k < until && !op->lost; k++) {
        const struct mem_op *later = &disk->ops[k];

        if (op->kind == MEM_WRITE || op->kind == MEM_RESIZE
                ? later->kind == MEM_SYNC && later->inode == op->inode
                : later->kind == MEM_SYNC_DIR && holds(later->name, op->name)) {
            return true;
        }
    }
    return false;
}

static bool is_change(const struct mem_op *op)
{
    return op->kind != MEM_SYNC && op->kind != MEM_SYNC_DIR;
}

size_t mem_disk_unsynced(struct mem_disk *disk, size_t until, size_t *out, size_t max)
{
    size_t n = 0;

    pthread_mutex_lock(&disk->lock);
    for (size_t i = 0; i < until; i++) {
        if (is_change(&disk->ops[i]) && !is_synced(disk, i, until)) {
            if (n < max) {
                out[n] = i;
            }
            n++;
        }
    }
    pthread_mutex_unlock(&disk->lock);
    return n;
}

static bool has_name(const struct mem_disk *disk, int inode)
{
    for (int i = 0; i < MEM_FILES_MAX; i++) {
        if (disk->names[i].name != NULL && disk->names[i].inode == inode) {
            return true;
        }
    }
    return false;
}

/* Carries one remembered change out on @to, whose inodes have the same numbers. */
static void repeat(struct mem_disk *to, const struct mem_op *op, size_t change, bool synced,
                   bool (*present)(void *data, size_t change, size_t sector), void *data)
{
    struct mem_inode *inode = op->inode >= 0 ? &to->inodes[op->inode] : NULL;
    struct mem_name *name;

    if (op->kind == MEM_WRITE) {
        for (uint64_t at = op->at; at < op->at + op->n; at++) {
            uint64_t sector = at / SECTOR;

            if (synced || present(data, change, sector)) {
                inode->bytes[at] = op->bytes[at - op->at];
                inode->size = at + 1 > inode->size ? at + 1 : inode->size;
            }
        }
        return;
    }
    if (!synced && !present(data, change, 0)) {
        return;
    }
    name = op->name != NULL ? find(to, op->name) : NULL;
    if (op->kind == MEM_CREATE) {
        set_name(to, op->name, op->inode);
    } else if (op->kind == MEM_UNLINK && name != NULL) {
        drop_name(name);
    } else if (op->kind == MEM_RENAME && (name != NULL || !has_name(to, op->inode))) {
        set_name(to, op->other, op->inode);
        if (name != NULL) {
            drop_name(name);
        }
    } else if (op->kind == MEM_RESIZE) {
        inode->size = op->at;
    }
}

struct mem_disk *mem_disk_crash(struct mem_disk *disk, size_t until,
                                bool (*present)(void *data, size_t change, size_t sector), void *data)
{
    struct mem_disk *to = mem_disk_new(disk->file_bytes_max);

    pthread_mutex_lock(&disk->lock);
    for (int i = 0; i < disk->n_inodes; i++) {
        new_inode(to);
    }
    for (size_t i = 0; i < until; i++) {
        if (is_change(&disk->ops[i])) {
            repeat(to, &disk->ops[i], i, is_synced(disk, i, until), present, data);
        }
    }
    pthread_mutex_unlock(&disk->lock);
    return to;
}

uint8_t *mem_disk_file(struct mem_disk *disk, const char *name, uint64_t *size)
{
    struct mem_name *found;
    uint8_t *bytes = NULL;

    pthread_mutex_lock(&disk->lock);
    found = find(disk, name);
    if (found != NULL) {
        *size = disk->inodes[found->inode].size;
        bytes = disk->inodes[found->inode].bytes;
    }
    pthread_mutex_unlock(&disk->lock);
    return bytes;
}

size_t mem_disk_count(struct mem_disk *disk, const char *prefix, bool with_suffix)
{
    size_t n = 0;

    pthread_mutex_lock(&disk->lock);
    for (int i = 0; i < MEM_FILES_MAX; i++) {
        const char *name = disk->names[i].name;

        n += name != NULL && strncmp(name, prefix, strlen(prefix)) == 0 &&
             (with_suffix || strchr(name + strlen(prefix), '.') == NULL);
    }
    pthread_mutex_unlock(&disk->lock);
    return n;
}
