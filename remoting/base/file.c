/* Small files and directories. Nothing here is for the log itself, whose files have their own code.
 *
 * mq_file_replace, step by step: write "<path>.tmp", fsync it, rename it over <path>, fsync the directory. A crash
 * leaves the old file or the new one, and perhaps a .tmp that the next replace overwrites. One path is replaced by
 * one thread of one process at a time. */
#include "remoting/base/file.h"

#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP 4096
#define WALK_FDS 16

/* Reads to the end. The size is not asked for first: files of /proc claim to be empty. */
static int read_all(int fd, size_t max_bytes, struct mq_buf *out)
{
    size_t first = out->len;

    for (;;) {
        ssize_t n;
        int rc = mq_buf_reserve(out, READ_STEP);

        if (rc != 0) {
            return rc;
        }
        n = read(fd, out->base + out->len, out->cap - out->len);
        if (n == 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        out->len += n > 0 ? (size_t)n : 0;
        if (out->len - first > max_bytes) {
            return MQ_ETOOBIG;
        }
    }
}

int mq_file_read(const char *path, size_t max_bytes, struct mq_buf *out)
{
    size_t first = out->len;
    int fd, rc;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    rc = read_all(fd, max_bytes, out);
    close(fd);
    if (rc != 0) {
        out->len = first;
    }
    return rc;
}

static int write_all(int fd, const uint8_t *bytes, size_t n)
{
    while (n != 0) {
        ssize_t written = write(fd, bytes, n);

        if (written < 0 && errno != EINTR) {
            return -errno;
        }
        if (written > 0) {
            bytes += written;
            n -= (size_t)written;
        }
    }
    return 0;
}

/* Creates @path with the bytes on disk; on error there is no such file. */
static int write_synced(const char *path, const void *bytes, size_t n)
{
    int fd, rc;

    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return -errno;
    }
    rc = write_all(fd, bytes, n);
    if (rc == 0 && fsync(fd) != 0) {
        rc = -errno;
    }
    if (close(fd) != 0 && rc == 0) {
        rc = -errno;
    }
    if (rc != 0) {
        unlink(path);
    }
    return rc;
}

/* Syncs the directory that holds @path. */
static int sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir;
    int rc;

    if (slash == NULL) {
        return mq_dir_sync(".");
    }
    dir = mq_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (dir == NULL) {
        return MQ_ENOMEM;
    }
    rc = mq_dir_sync(dir);
    mq_free(dir);
    return rc;
}

int mq_file_replace(const char *path, const void *bytes, size_t n)
{
    struct mq_buf name = {0};
    const char *tmp;
    int rc;

    rc = mq_buf_printf(&name, "%s.tmp", path);
    if (rc != 0) {
        return rc;
    }
    tmp = (const char *)name.base;
    rc = write_synced(tmp, bytes, n);
    if (rc == 0 && rename(tmp, path) != 0) {
        rc = -errno;
        unlink(tmp);
    }
    mq_buf_free(&name);
    return rc != 0 ? rc : sync_parent(path);
}

/* Makes one directory whose parent exists. */
static int make_one(const char *path)
{
    struct stat st;

    if (mkdir(path, 0755) == 0) {
        return sync_parent(path);
    }
    if (errno != EEXIST) {
        return -errno;
    }
    if (stat(path, &st) != 0) {
        return -errno;
    }
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int mq_dir_make(const char *path)
{
    size_t len = strlen(path);
    char *part;
    int rc = 0;

    while (len > 1 && path[len - 1] == '/') {
        len--; /* sync_parent looks for the last slash */
    }
    part = mq_strndup(path, len);
    if (part == NULL) {
        return MQ_ENOMEM;
    }
    for (size_t i = 1; i < len && rc == 0; i++) {
        if (part[i] == '/' && part[i - 1] != '/') {
            part[i] = '\0';
            rc = make_one(part);
            part[i] = '/';
        }
    }
    if (rc == 0) {
        rc = make_one(part);
    }
    mq_free(part);
    return rc;
}

int mq_dir_sync(const char *path)
{
    int fd, rc;

    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    rc = fsync(fd) != 0 ? -errno : 0;
    close(fd);
    return rc;
}

bool mq_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

char *mq_path_join(const char *dir, const char *name)
{
    size_t dir_len = strlen(dir);
    size_t name_len = strlen(name);
    char *path = mq_malloc(dir_len + name_len + 2);

    if (path != NULL) {
        memcpy(path, dir, dir_len);
        path[dir_len] = '/';
        memcpy(path + dir_len + 1, name, name_len + 1);
    }
    return path;
}

int mq_dir_each(const char *path, void (*each)(void *data, const char *name), void *data)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;

    if (dir == NULL) {
        return -errno;
    }
    while ((entry = readdir(dir)) != NULL) {
        each(data, entry->d_name);
    }
    closedir(dir);
    return 0;
}

static int on_walked(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path) != 0 ? -errno : 0;
}

int mq_dir_remove(const char *path)
{
    struct stat st;
    int rc;

    if (lstat(path, &st) != 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISDIR(st.st_mode)) {
        return -ENOTDIR;
    }
    rc = nftw(path, on_walked, WALK_FDS, FTW_DEPTH | FTW_PHYS);
    return rc == -1 ? -errno : rc;
}
