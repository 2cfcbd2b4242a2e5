/* A machine's disk behind struct rlog_disk: files as the page cache shows them and as the platter has them.
 *
 * A write is seen at once by reads and maps. It reaches the platter with a sync of its file or, any time before, by
 * chance, sector by sector (512 bytes). kill -9 keeps the cache. When the power goes, each sector that was not synced
 * is there or not, in runs; sizes and names that were not synced may be gone, too. A failed sync loses what it should
 * have written: the cache goes on showing it, as a clean page. */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "raft-log/log/disk.h"
#include "tests/sim/world/world.h"

struct disk;

/* The table to hand to production code (rlog_options.disk). */
const struct rlog_disk *disk_table(struct disk *disk);

/* How the disk behaves from now on. Zero-initialised parts are quick and without faults. */
struct disk_manner {
    uint64_t write_min_ns, write_max_ns; /* a write into the page cache */
    uint64_t sync_min_ns, sync_max_ns;   /* a sync of a file or directory */
    uint32_t stall_ppm;                  /* chance that a sync takes up to stall_max_ns */
    uint64_t stall_max_ns;
    uint32_t writeback_ppm; /* chance that a write makes the kernel write earlier unsynced sectors of the file */
    uint32_t misdirect_ppm; /* chance that one sector of a sync goes to another place of the file */
    bool hung;              /* syncs do not end until this is false again */
    bool all_files;         /* disk_fail_in and the capacity count for files outside the log, too */
};

struct disk_manner *disk_manner(struct disk *disk);

/* Bytes that files may have in all; beyond it writes and allocations fail with ENOSPC. 0: no limit. */
void disk_set_capacity(struct disk *disk, uint64_t bytes);
uint64_t disk_used(const struct disk *disk);

enum disk_call { DISK_WRITE, DISK_SYNC, DISK_READ, DISK_CALLS };

/* The @nth call of that kind from now on (1: the next) fails with @rc (-EIO, -ENOSPC); only that one. 0: none. */
void disk_fail_in(struct disk *disk, enum disk_call call, uint32_t nth, int rc);
/* Whether it has come to that since disk_fail_in. */
bool disk_has_failed(const struct disk *disk, enum disk_call call);

/* Calls of each kind so far. */
uint64_t disk_calls(const struct disk *disk, enum disk_call call);

/* Changes the bits @mask of one byte at rest: on the platter and, as if it had been read again, in the cache. Returns
 * 0, -ENOENT, or -ERANGE behind the file's end. */
int disk_flip(struct disk *disk, const char *path, uint64_t at, uint8_t mask);
/* Calls @each for every file, in the order of their names. */
void disk_each(struct disk *disk, void (*each)(void *data, const char *path, uint64_t bytes), void *data);
/* What the cache shows of a file; borrowed until the next call on the disk. NULL: no such file. */
const uint8_t *disk_file(struct disk *disk, const char *path, uint64_t *bytes);
/* What of a file would be there for sure if the power went now: found by the name that a power failure leaves,
 * without what was not synced. Borrowed until the next call on the disk. NULL: no such file. */
const uint8_t *disk_platter(struct disk *disk, const char *path, uint64_t *bytes);
/* Removes everything: the node comes back with an empty disk. No process of the machine may run. */
void disk_wipe(struct disk *disk);
/* Makes @to hold what @from holds (a directory copied from another node). No process of either may run. */
void disk_copy(struct disk *to, struct disk *from);

struct disk_stats {
    uint64_t sectors_lost, sectors_kept, names_lost, sizes_lost, crashes, writebacks, misdirected, failed_syncs,
        zeroed;
};

const struct disk_stats *disk_stats(const struct disk *disk);

#endif
