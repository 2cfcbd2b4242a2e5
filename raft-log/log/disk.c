/* The production table: the system's own calls, with EINTR hidden. */
#include "raft-log/log/disk.h"

#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int real_open(const struct rlog_disk *disk, const char *path, int flags, int mode)
{
    int fd;

    (void)disk;
    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static int real_close(const struct rlog_disk *disk, int fd)
{
    (void)disk;
    return close(fd) != 0 ? -errno : 0;
}

static ssize_t real_pread(const struct rlog_disk *disk, int fd, void *to, size_t n, uint64_t at)
{
    ssize_t got;

    (void)disk;
    do {
        got = pread(fd, to, n, (off_t)at);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

static ssize_t real_pwritev(const struct rlog_disk *disk, int fd, const struct iovec *vec, int n, uint64_t at)
{
    ssize_t written;

    (void)disk;
    do {
        written = pwritev(fd, vec, n, (off_t)at);
    } while (written < 0 && errno == EINTR);
    return written < 0 ? -errno : written;
}

static int real_fdatasync(const struct rlog_disk *disk, int fd)
{
    (void)disk;
    return fdatasync(fd) != 0 ? -errno : 0; /* never repeated: after a failure a later success means nothing */
}

/* A file system without fallocate gets a file with a hole: slower to write, and its space is not reserved. */
static int real_fallocate(const struct rlog_disk *disk, int fd, uint64_t bytes)
{
    int rc;

    (void)disk;
    do {
        rc = fallocate(fd, 0, 0, (off_t)bytes);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0 && errno == EOPNOTSUPP) {
        rc = ftruncate(fd, (off_t)bytes);
    }
    return rc != 0 ? -errno : 0;
}

static int real_rename(const struct rlog_disk *disk, const char *from, const char *to)
{
    (void)disk;
    return rename(from, to) != 0 ? -errno : 0;
}

static int real_unlink(const struct rlog_disk *disk, const char *path)
{
    (void)disk;
    return unlink(path) != 0 ? -errno : 0;
}

static int real_sync_dir(const struct rlog_disk *disk, const char *path)
{
    (void)disk;
    return mq_dir_sync(path);
}

static int real_map(const struct rlog_disk *disk, int fd, size_t bytes, const uint8_t **out)
{
    void *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);

    (void)disk;
    if (at == MAP_FAILED) {
        return -errno;
    }
    *out = at;
    return 0;
}

static int real_unmap(const struct rlog_disk *disk, const uint8_t *at, size_t bytes)
{
    (void)disk;
    return munmap((void *)at, bytes) != 0 ? -errno : 0;
}

static int real_make_dir(const struct rlog_disk *disk, const char *path)
{
    (void)disk;
    return mq_dir_make(path);
}

static int real_list(const struct rlog_disk *disk, const char *path, void (*each)(void *data, const char *name),
                     void *data)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int rc;

    (void)disk;
    if (dir == NULL) {
        return -errno;
    }
    for (;;) {
        errno = 0;
        entry = readdir(dir);
        if (entry == NULL) {
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            each(data, entry->d_name);
        }
    }
    rc = -errno;
    closedir(dir);
    return rc;
}

static int real_lock(const struct rlog_disk *disk, int fd)
{
    (void)disk;
    return flock(fd, LOCK_EX | LOCK_NB) != 0 ? -errno : 0;
}

static int64_t real_next_data(const struct rlog_disk *disk, int fd, uint64_t at, uint64_t *end)
{
    off_t data = lseek(fd, (off_t)at, SEEK_DATA);
    off_t hole;

    (void)disk;
    if (data < 0 && errno == ENXIO) {
        return -ENXIO;
    }
    hole = data >= 0 ? lseek(fd, data, SEEK_HOLE) : -1;
    *end = hole >= 0 ? (uint64_t)hole : UINT64_MAX;
    return data >= 0 ? data : (int64_t)at;
}

static int real_forget(const struct rlog_disk *disk, int fd, uint64_t at, uint64_t bytes)
{
    (void)disk;
    return -posix_fadvise(fd, (off_t)at, (off_t)bytes, POSIX_FADV_DONTNEED);
}

static int real_advise(const struct rlog_disk *disk, const uint8_t *at, size_t bytes, int advice)
{
    (void)disk;
    return madvise((void *)at, bytes, advice) != 0 ? -errno : 0;
}

static int real_zero_file(const struct rlog_disk *disk, int fd, uint64_t bytes)
{
    int rc;

    (void)disk;
    do {
        rc = fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, (off_t)bytes);
    } while (rc != 0 && errno == EINTR);
    return rc != 0 ? -errno : 0;
}

static int real_space(const struct rlog_disk *disk, const char *path, uint64_t *total, uint64_t *free)
{
    struct statvfs fs;

    (void)disk;
    if (statvfs(path, &fs) != 0) {
        return -errno;
    }
    *total = (uint64_t)fs.f_blocks * fs.f_frsize;
    *free = (uint64_t)fs.f_bavail * fs.f_frsize;
    return 0;
}

static int real_boot_id(const struct rlog_disk *disk, char *out, size_t max)
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    int rc = file != NULL && fgets(out, (int)max, file) != NULL ? 0 : -EIO;

    (void)disk;
    if (file != NULL) {
        fclose(file);
    }
    if (rc == 0) {
        out[strcspn(out, "\n")] = '\0';
    }
    return rc;
}

const struct rlog_disk rlog_disk_real = {
    .open = real_open,
    .close = real_close,
    .pread = real_pread,
    .pwritev = real_pwritev,
    .fdatasync = real_fdatasync,
    .fallocate = real_fallocate,
    .rename = real_rename,
    .unlink = real_unlink,
    .sync_dir = real_sync_dir,
    .map = real_map,
    .unmap = real_unmap,
    .make_dir = real_make_dir,
    .list = real_list,
    .lock = real_lock,
    .next_data = real_next_data,
    .forget = real_forget,
    .advise = real_advise,
    .boot_id = real_boot_id,
    .zero_file = real_zero_file,
    .space = real_space,
};

int rlog_disk_write_all(const struct rlog_disk *disk, int fd, struct iovec *vec, int n, uint64_t at)
{
    while (n > 0) {
        ssize_t written = disk->pwritev(disk, fd, vec, n, at);

        if (written < 0) {
            return (int)written;
        }
        if (written == 0) {
            return -EIO; /* a disk that takes nothing and says nothing */
        }
        at += (uint64_t)written;
        while (n > 0 && (size_t)written >= vec->iov_len) {
            written -= (ssize_t)vec->iov_len;
            vec++;
            n--;
        }
        if (n > 0) {
            vec->iov_base = (uint8_t *)vec->iov_base + written;
            vec->iov_len -= (size_t)written;
        }
    }
    return 0;
}

ssize_t rlog_disk_read_all(const struct rlog_disk *disk, int fd, void *to, size_t n, uint64_t at)
{
    size_t done = 0;

    while (done < n) {
        ssize_t got = disk->pread(disk, fd, (uint8_t *)to + done, n - done, at + done);

        if (got < 0) {
            return got;
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    return (ssize_t)done;
}

void rlog_disk_failed(const char *call, const char *name, int rc)
{
    mq_log_error("log", "%s failed for %s: %s; the node stops", call, name, mq_strerror(rc));
    _exit(1);
}
