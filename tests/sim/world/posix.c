/* Files as production code reaches them without struct rlog_disk: the consume queues and the small files of
 * remoting/base/file.c. Inside, every path is one of the machine's disk; outside, the calls are the system's. */
#include "remoting/base/file.h"
#include "tests/sim/world/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

int __real_open(const char *path, int flags, ...);
int __real_close(int fd);
ssize_t __real_read(int fd, void *to, size_t n);
ssize_t __real_write(int fd, const void *from, size_t n);
ssize_t __real_pread(int fd, void *to, size_t n, off_t at);
ssize_t __real_pwrite(int fd, const void *from, size_t n, off_t at);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_syncfs(int fd);
int __real_mkdir(const char *path, mode_t mode);
int __real_rmdir(const char *path);
int __real_unlink(const char *path);
int __real_rename(const char *from, const char *to);
int __real_access(const char *path, int mode);
int __real_stat(const char *path, struct stat *out);
int __real_lstat(const char *path, struct stat *out);
int __real_fstat(int fd, struct stat *out);
int __real_posix_fallocate(int fd, off_t at, off_t bytes);
int __real_ftruncate(int fd, off_t bytes);
void *__real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t from);
int __real_munmap(void *at, size_t bytes);
int __real_msync(void *at, size_t bytes, int flags);
int __real_mq_dir_remove(const char *path);
int __real_mq_dir_each(const char *path, void (*each)(void *data, const char *name), void *data);
int __wrap_open(const char *path, int flags, ...);
int __wrap_close(int fd);
ssize_t __wrap_read(int fd, void *to, size_t n);
ssize_t __wrap_write(int fd, const void *from, size_t n);
ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t n, off_t at);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_syncfs(int fd);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_rmdir(const char *path);
int __wrap_unlink(const char *path);
int __wrap_rename(const char *from, const char *to);
int __wrap_access(const char *path, int mode);
int __wrap_stat(const char *path, struct stat *out);
int __wrap_lstat(const char *path, struct stat *out);
int __wrap_fstat(int fd, struct stat *out);
int __real_statvfs(const char *path, struct statvfs *out);
int __wrap_statvfs(const char *path, struct statvfs *out);
int __wrap_posix_fallocate(int fd, off_t at, off_t bytes);
int __wrap_ftruncate(int fd, off_t bytes);
void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t from);
int __wrap_munmap(void *at, size_t bytes);
int __wrap_msync(void *at, size_t bytes, int flags);
int __wrap_mq_dir_remove(const char *path);
int __wrap_mq_dir_each(const char *path, void (*each)(void *data, const char *name), void *data);

/* The disk of the process that runs; NULL outside. */
static struct disk *disk_now(void)
{
    const struct process *process = process_current();

    return process != NULL ? process->machine->disk : NULL;
}

/* The disk whose descriptor @fd is; NULL: it is none. */
static struct disk *disk_of_fd(int fd)
{
    return disk_owns_fd(fd) ? disk_now() : NULL;
}

static ssize_t answer(ssize_t rc)
{
    if (rc < 0) {
        errno = (int)-rc;
        return -1;
    }
    return rc;
}

/* ---- descriptors ---- */

int __wrap_open(const char *path, int flags, ...)
{
    struct disk *disk = disk_now();
    va_list args;
    int mode, fd;

    va_start(args, flags);
    mode = (flags & O_CREAT) != 0 ? va_arg(args, int) : 0;
    va_end(args);
    if (disk == NULL) {
        return __real_open(path, flags, mode);
    }
    fd = disk_table(disk)->open(disk_table(disk), path, flags & ~O_CLOEXEC, mode);
    if (fd >= 0) {
        disk_fd_set_foreign(disk, fd);
    }
    return (int)answer(fd);
}

int __wrap_close(int fd)
{
    struct disk *disk = disk_of_fd(fd);
    struct sock *sock = sock_by_fd(fd);

    if (disk != NULL) {
        return (int)answer(disk_table(disk)->close(disk_table(disk), fd));
    }
    if (sock != NULL) {
        sock_close(sock);
        return 0;
    }
    return process_current() == NULL ? __real_close(fd) : (int)answer(-EBADF);
}

ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at)
{
    struct disk *disk = disk_of_fd(fd);

    return disk != NULL ? answer(disk_table(disk)->pread(disk_table(disk), fd, to, n, (uint64_t)at))
                        : __real_pread(fd, to, n, at);
}

ssize_t __wrap_pwrite(int fd, const void *from, size_t n, off_t at)
{
    struct disk *disk = disk_of_fd(fd);
    struct iovec vec = {(void *)from, n};

    return disk != NULL ? answer(disk_table(disk)->pwritev(disk_table(disk), fd, &vec, 1, (uint64_t)at))
                        : __real_pwrite(fd, from, n, at);
}

ssize_t __wrap_read(int fd, void *to, size_t n)
{
    struct disk *disk = disk_of_fd(fd);
    ssize_t got;

    if (disk == NULL) {
        return __real_read(fd, to, n);
    }
    got = __wrap_pread(fd, to, n, (off_t)*disk_fd_pos(disk, fd));
    *disk_fd_pos(disk, fd) += got > 0 ? (uint64_t)got : 0;
    return got;
}

ssize_t __wrap_write(int fd, const void *from, size_t n)
{
    struct disk *disk = disk_of_fd(fd);
    ssize_t put;

    if (disk == NULL) {
        return __real_write(fd, from, n);
    }
    put = __wrap_pwrite(fd, from, n, (off_t)*disk_fd_pos(disk, fd));
    *disk_fd_pos(disk, fd) += put > 0 ? (uint64_t)put : 0;
    return put;
}

/* A directory's descriptor does not say which one it is, so that all names become durable. */
static int sync_fd(struct disk *disk, int fd)
{
    uint64_t bytes;

    if (disk_fd_size(disk, fd, &bytes) == -EISDIR) {
        return disk_settle_names(disk);
    }
    return disk_table(disk)->fdatasync(disk_table(disk), fd);
}

int __wrap_fsync(int fd)
{
    struct disk *disk = disk_of_fd(fd);

    return disk != NULL ? (int)answer(sync_fd(disk, fd)) : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
    struct disk *disk = disk_of_fd(fd);

    return disk != NULL ? (int)answer(sync_fd(disk, fd)) : __real_fdatasync(fd);
}

int __wrap_syncfs(int fd)
{
    struct disk *disk = disk_of_fd(fd);

    return disk != NULL ? (int)answer(disk_sync_all(disk)) : __real_syncfs(fd);
}

int __wrap_posix_fallocate(int fd, off_t at, off_t bytes)
{
    struct disk *disk = disk_of_fd(fd);

    if (disk == NULL || bytes <= 0) {
        return disk == NULL ? __real_posix_fallocate(fd, at, bytes) : EINVAL;
    }
    return -disk_table(disk)->fallocate(disk_table(disk), fd, (uint64_t)(at + bytes));
}

int __wrap_ftruncate(int fd, off_t bytes)
{
    struct disk *disk = disk_of_fd(fd);

    return disk != NULL ? (int)answer(disk_fd_resize(disk, fd, (uint64_t)bytes)) : __real_ftruncate(fd, bytes);
}

/* ---- paths ---- */

int __wrap_mkdir(const char *path, mode_t mode)
{
    struct disk *disk = disk_now();
    uint64_t bytes;

    if (disk == NULL) {
        return __real_mkdir(path, mode);
    }
    if (disk_stat(disk, path, &bytes) != -ENOENT) {
        return (int)answer(-EEXIST);
    }
    return (int)answer(disk_table(disk)->make_dir(disk_table(disk), path));
}

int __wrap_rmdir(const char *path)
{
    struct disk *disk = disk_now();

    if (disk == NULL) {
        return __real_rmdir(path);
    }
    disk_remove_dir(disk, path);
    return 0;
}

int __wrap_mq_dir_remove(const char *path)
{
    return disk_now() == NULL ? __real_mq_dir_remove(path) : __wrap_rmdir(path);
}

int __wrap_mq_dir_each(const char *path, void (*each)(void *data, const char *name), void *data)
{
    struct disk *disk = disk_now();

    return disk != NULL ? disk_table(disk)->list(disk_table(disk), path, each, data)
                        : __real_mq_dir_each(path, each, data);
}

int __wrap_unlink(const char *path)
{
    struct disk *disk = disk_now();

    return disk != NULL ? (int)answer(disk_table(disk)->unlink(disk_table(disk), path)) : __real_unlink(path);
}

int __wrap_rename(const char *from, const char *to)
{
    struct disk *disk = disk_now();

    return disk != NULL ? (int)answer(disk_table(disk)->rename(disk_table(disk), from, to)) : __real_rename(from, to);
}

int __wrap_access(const char *path, int mode)
{
    struct disk *disk = disk_now();
    uint64_t bytes;

    if (disk == NULL) {
        return __real_access(path, mode);
    }
    return disk_stat(disk, path, &bytes) == -ENOENT ? (int)answer(-ENOENT) : 0;
}

static int put_stat(int rc, uint64_t bytes, struct stat *out)
{
    if (rc != 0 && rc != -EISDIR) {
        return (int)answer(rc);
    }
    *out = (struct stat){.st_mode = rc == -EISDIR ? S_IFDIR | 0755 : S_IFREG | 0644, .st_size = (off_t)bytes};
    return 0;
}

int __wrap_stat(const char *path, struct stat *out)
{
    struct disk *disk = disk_now();
    uint64_t bytes = 0;

    int rc;

    if (disk == NULL) {
        return __real_stat(path, out);
    }
    rc = disk_stat(disk, path, &bytes);
    return put_stat(rc, bytes, out);
}

int __wrap_lstat(const char *path, struct stat *out)
{
    return disk_now() != NULL ? __wrap_stat(path, out) : __real_lstat(path, out);
}

int __wrap_fstat(int fd, struct stat *out)
{
    struct disk *disk = disk_of_fd(fd);
    uint64_t bytes = 0;
    int rc;

    if (disk == NULL) {
        return __real_fstat(fd, out);
    }
    rc = disk_fd_size(disk, fd, &bytes);
    return put_stat(rc, bytes, out);
}

int __wrap_statvfs(const char *path, struct statvfs *out)
{
    struct disk *disk = disk_now();
    uint64_t total, free;

    if (disk == NULL) {
        return __real_statvfs(path, out);
    }
    disk_space(disk, &total, &free);
    *out = (struct statvfs){
        .f_bsize = 4096, .f_frsize = 4096, .f_blocks = total / 4096, .f_bfree = free / 4096, .f_bavail = free / 4096};
    return 0;
}

/* ---- maps ---- */

void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t from)
{
    struct disk *disk = disk_of_fd(fd);

    if (disk == NULL) {
        return __real_mmap(at, bytes, prot, flags, fd, from);
    }
    return disk_fd_map(disk, fd, bytes);
}

int __wrap_munmap(void *at, size_t bytes)
{
    struct disk *disk = disk_now();

    return disk != NULL ? (int)answer(disk_table(disk)->unmap(disk_table(disk), at, bytes))
                        : __real_munmap(at, bytes);
}

/* A map's file is synced as a whole when it is synced at all. */
int __wrap_msync(void *at, size_t bytes, int flags)
{
    struct disk *disk = disk_now();

    return disk != NULL ? (int)answer(disk_sync_all(disk)) : __real_msync(at, bytes, flags);
}
