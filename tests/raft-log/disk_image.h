/* A disk of its own for a node: an ext4 file system in a file, mounted through a loop device, whose power can be cut.
 *
 * The cut is the file system's own shutdown without a flush of its journal (the call that file system developers
 * cut the power of their tests with): from that instant on nothing reaches the image any more but what was on its way
 * to the disk, and every call fails. What had been synced is there when the image is mounted again, and what only the
 * page cache held is not. Mounted with commit=60, so that the journal is not written by itself meanwhile.
 *
 * Needs root. The caller unmounts; the loop device goes with the mount. */
#ifndef TESTS_RAFTLOG_DISK_IMAGE_H
#define TESTS_RAFTLOG_DISK_IMAGE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct disk_image {
    char image[PATH_MAX], dir[PATH_MAX];
    bool mounted;
};

/* Makes <dir>.img with @bytes (sparse) and the directory to mount it on. Each returns 0, or -1 with the reason on
 * standard error. */
int disk_image_make(struct disk_image *disk, const char *dir, uint64_t bytes);
int disk_image_mount(struct disk_image *disk);
int disk_image_unmount(struct disk_image *disk);
int disk_image_cut(struct disk_image *disk);

#endif
