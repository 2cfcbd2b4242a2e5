/* The file calls of the log as a table, so that a test can make each fail at its n-th use and a simulator can put its
 * own disk there. The production table is rlog_disk_real. All return a value >= 0 or -errno. */
#ifndef RLOG_LOG_DISK_H
#define RLOG_LOG_DISK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct rlog_disk {
    int (*open)(const struct rlog_disk *disk, const char *path, int flags, int mode);
    int (*close)(const struct rlog_disk *disk, int fd);
    ssize_t (*pread)(const struct rlog_disk *disk, int fd, void *to, size_t n, uint64_t at);
    ssize_t (*pwritev)(const struct rlog_disk *disk, int fd, const struct iovec *vec, int n, uint64_t at);
    int (*fdatasync)(const struct rlog_disk *disk, int fd);
    int (*fallocate)(const struct rlog_disk *disk, int fd, uint64_t bytes);
    int (*rename)(const struct rlog_disk *disk, const char *from, const char *to);
    int (*unlink)(const struct rlog_disk *disk, const char *path);
    int (*sync_dir)(const struct rlog_disk *disk, const char *path);
    /* Maps @bytes of @fd for reading, shared; what pwritev wrote is seen at once. */
    int (*map)(const struct rlog_disk *disk, int fd, size_t bytes, const uint8_t **out);
    int (*unmap)(const struct rlog_disk *disk, const uint8_t *at, size_t bytes);
    /* Makes the directory and its parents where missing, and makes that durable. */
    int (*make_dir)(const struct rlog_disk *disk, const char *path);
    /* Calls @each with the name of every entry of the directory but "." and "..", in no order. */
    int (*list)(const struct rlog_disk *disk, const char *path, void (*each)(void *data, const char *name),
                void *data);
    /* Takes the file for this process until it is closed; -EWOULDBLOCK: another one has it. */
    int (*lock)(const struct rlog_disk *disk, int fd);
    /* The first position at or after @at that may hold anything but zeros, and in @end where that stretch ends;
     * -ENXIO: none. A disk that does not know answers @at and UINT64_MAX. */
    int64_t (*next_data)(const struct rlog_disk *disk, int fd, uint64_t at, uint64_t *end);
    /* Drops what memory holds of the range, so that the next read comes from the disk. Synced data only; may do
     * nothing. */
    int (*forget)(const struct rlog_disk *disk, int fd, uint64_t at, uint64_t bytes);
    /* madvise for mapped memory, @advice as there; may do nothing. */
    int (*advise)(const struct rlog_disk *disk, const uint8_t *at, size_t bytes, int advice);
    /* Makes the first @bytes of the file read as zeros and keeps its space allocated, without writing them. NULL or
     * -EOPNOTSUPP: cannot. */
    int (*zero_file)(const struct rlog_disk *disk, int fd, uint64_t bytes);
    /* Size of the file system that holds @path, and what is free for us; bytes. NULL: not known. */
    int (*space)(const struct rlog_disk *disk, const char *path, uint64_t *total, uint64_t *free);
    /* The id of this boot of the machine, as text of less than @max bytes. NULL or a negative code: not known. */
    int (*boot_id)(const struct rlog_disk *disk, char *out, size_t max);
    void *data;
};

extern const struct rlog_disk rlog_disk_real;

/* Writes all of @vec, going on after short counts. @vec: its content is used up. Returns 0 or -errno. */
int rlog_disk_write_all(const struct rlog_disk *disk, int fd, struct iovec *vec, int n, uint64_t at);

/* Reads @n bytes or up to the end of the file. Returns how many, or -errno. */
ssize_t rlog_disk_read_all(const struct rlog_disk *disk, int fd, void *to, size_t n, uint64_t at);

/* One log line, and the end of the process: a node that cannot trust its disk must not vote or acknowledge. Any
 * thread. */
_Noreturn void rlog_disk_failed(const char *call, const char *name, int rc);

#endif
