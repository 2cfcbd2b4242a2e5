/* Files twice: the page cache, which reads and maps see, and the platter, which a power failure leaves. What is
 * between them is told sector by sector: first_dirty says with which write a sector became different. A sync covers
 * the sectors that were so when it began; what was written meanwhile may or may not have come along.
 *
 * Names are treated likewise: every change is seen at once and counts for good after a sync of the directory. Until
 * then a power failure keeps some of the changes, in their order. */
#ifndef SIM_DISK_PARTS_H
#define SIM_DISK_PARTS_H

#include "tests/sim/world/disk.h"
#include "tests/sim/world/inside.h"

#define SECTOR 512u
#define FILES_MAX 1024
#define FDS_MAX 512
#define NAME_BUCKETS 512u

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
    char *path;        /* owned */
    struct file *file; /* NULL: a directory */
    uint32_t hash;
    uint16_t next; /* place of another name in the bucket, plus one; 0 */
};

struct names {
    struct name at[FILES_MAX];
    size_t n;
    uint16_t buckets[NAME_BUCKETS]; /* by hash: place of the first, plus one; 0 */
};

/* Of a name. */
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
    struct names now, durable, dirs;
    struct change *changes, **last_change; /* unsynced, oldest first */
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

/* ---- file_image.c ---- */

struct file *file_new(struct disk *disk, uint64_t bytes);
/* Makes room for @bytes; a mapped file must have it already. */
void file_grow(struct file *file, uint64_t bytes);
void file_set_size(struct file *file, uint64_t bytes);
/* Frees a file that nobody keeps any more. */
void file_drop(struct file *file);
/* The cache was written there. */
void file_mark_dirty(struct file *file, uint64_t at, uint64_t n);
/* Finds what was written through a map. */
void file_look_for_dirty(struct file *file);
/* Narrows the dirty range after sectors in it became clean. */
void file_narrow(struct file *file);
void file_to_platter(struct file *file, uint32_t from_sector, uint32_t to_sector);
/* Sector @s becomes clean, unless the disk puts it elsewhere. */
void file_write_sector(struct disk *disk, struct file *file, uint32_t s);
/* The kernel writes some of what is dirty of its own accord. */
void file_write_back(struct disk *disk, struct file *file);

/* ---- file_names.c ---- */

struct name *names_find(const struct names *names, const char *path); /* NULL */
/* @file: NULL for a directory. */
void names_set(struct names *names, const char *path, struct file *file);
void names_forget(struct names *names, struct name *name);
void names_clear(struct names *names);
bool path_is_in(const char *path, const char *dir);    /* directly */
bool path_is_below(const char *path, const char *dir); /* anywhere, or @dir itself */
bool disk_is_dir(const struct disk *disk, const char *path);
/* Directories are durable at once. */
void disk_add_dir(struct disk *disk, const char *path);
int disk_rename_dir(struct disk *disk, const char *from, const char *to);
/* Seen at once, durable when settled. */
void disk_add_change(struct disk *disk, enum change_kind kind, const char *path, const char *to, struct file *file);
/* Settles the changes of @dir (NULL: of all); @keep (NULL: always) says whether each counts for good. */
void disk_settle(struct disk *disk, const char *dir, bool (*keep)(void *data), void *data);

/* ---- disk_calls.c ---- */

extern const struct rlog_disk disk_calls_table; /* without data */
void disk_close_fd(struct disk *disk, int i);

#endif
