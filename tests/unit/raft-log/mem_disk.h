/* A disk in memory for tests of the log. It remembers every call that changes it, so that a test can build what a
 * power failure at any instant could have left: synced changes are there, each unsynced one is there or not, as the
 * test chooses. Calls can be made to fail. Threads may use it together. */
#ifndef TESTS_MEM_DISK_H
#define TESTS_MEM_DISK_H

#include "raft-log/log/disk.h"

#include <pthread.h>
#include <stdbool.h>

#define MEM_FILES_MAX 64
#define MEM_FDS_MAX 64

enum mem_op_kind {
    MEM_CREATE,  /* of name for inode, in the directory */
    MEM_RENAME,  /* name to other */
    MEM_UNLINK,  /* name */
    MEM_RESIZE,  /* inode to at bytes */
    MEM_WRITE,   /* n bytes at at */
    MEM_SYNC,    /* of inode */
    MEM_SYNC_DIR /* of name */
};

struct mem_op {
    enum mem_op_kind kind;
    int inode;
    char *name, *other; /* owned */
    uint64_t at;
    uint8_t *bytes; /* owned */
    size_t n;
    bool lost; /* a sync of it failed: it will never be on the disk */
};

struct mem_inode {
    uint8_t *bytes; /* owned, file_bytes_max of them; maps point here */
    uint64_t size;
    bool locked;
};

struct mem_name {
    char *name; /* owned; NULL: free */
    int inode;
};

struct mem_disk {
    struct rlog_disk table; /* what is given to the code under test */
    pthread_mutex_t lock;
    size_t file_bytes_max;
    struct mem_inode inodes[MEM_FILES_MAX];
    int n_inodes;
    struct mem_name names[MEM_FILES_MAX];
    int fds[MEM_FDS_MAX];     /* inode, -1: free */
    bool direct[MEM_FDS_MAX]; /* opened with O_DIRECT: takes whole pages only */
    unsigned direct_writes;
    bool no_direct;     /* such a write fails, as on some file systems */
    struct mem_op *ops; /* owned */
    size_t n_ops, ops_cap;
    unsigned calls;   /* that can fail, so far */
    unsigned fail_at; /* this one does, with fail_rc; 0: none */
    int fail_rc;
    int fallocate_rc; /* not 0: no file can be allocated */
    uint64_t
        space_free;   /* what the file system says is free, of twice file_bytes_max * MEM_FILES_MAX; 0: not known */
    size_t write_max; /* a pwritev takes at most this much; 0: all; set before threads run */
};

struct mem_disk *mem_disk_new(size_t file_bytes_max);
void mem_disk_free(struct mem_disk *disk);

/* From now on the @nth call that can fail returns @rc; only that one. 0: none. */
void mem_disk_fail_in(struct mem_disk *disk, unsigned nth, int rc);
/* Whether it has come to that. */
bool mem_disk_has_failed(struct mem_disk *disk);

/* What is free from now on (0: not known), and what allocating a file says (0: as it should). */
void mem_disk_set_space(struct mem_disk *disk, uint64_t free, int fallocate_rc);

/* Number of changes so far. */
size_t mem_disk_now(struct mem_disk *disk);

/* Unsynced changes just before change @until: their numbers go to @out (up to @max); returns how many there are. */
size_t mem_disk_unsynced(struct mem_disk *disk, size_t until, size_t *out, size_t max);

/* The disk after a power failure just before change @until. @present(data, change, sector): whether an unsynced
 * change is there; a write is asked for each sector of 512 bytes, everything else for sector 0. */
struct mem_disk *mem_disk_crash(struct mem_disk *disk, size_t until,
                                bool (*present)(void *data, size_t change, size_t sector), void *data);

/* The content of a file, borrowed, or NULL. */
uint8_t *mem_disk_file(struct mem_disk *disk, const char *name, uint64_t *size);

/* How many files have a name that begins with @prefix; @with_suffix: those with a dot behind it, too. */
size_t mem_disk_count(struct mem_disk *disk, const char *prefix, bool with_suffix);

#endif
