#include "tests/raft-log/disk_image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FS_SHUTDOWN _IOR('X', 125, __u32) /* EXT4_IOC_SHUTDOWN */
#define FS_SHUTDOWN_NO_LOG_FLUSH 2u

extern char **environ;

static int run(const char *const argv[])
{
    int status = 0;
    pid_t pid;
    int rc = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ);

    if (rc != 0) {
        fprintf(stderr, "%s: %s\n", argv[0], strerror(rc));
        return -1;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int failed(const char *call, const char *path)
{
    fprintf(stderr, "%s %s: %s\n", call, path, strerror(errno));
    return -1;
}

int disk_image_make(struct disk_image *disk, const char *dir, uint64_t bytes)
{
    const char *const argv[] = {"mkfs.ext4", "-q", "-F", "-m", "0", disk->image, NULL};
    int fd;

    *disk = (struct disk_image){.mounted = false};
    snprintf(disk->dir, sizeof(disk->dir), "%s", dir);
    snprintf(disk->image, sizeof(disk->image), "%.4000s.img", dir);
    fd = open(disk->image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) {
        return failed("making", disk->image);
    }
    close(fd);
    if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
        return failed("mkdir", dir);
    }
    return run(argv);
}

int disk_image_mount(struct disk_image *disk)
{
    const char *const argv[] = {"mount",     "-t",      "ext4", "-o", "loop,commit=60,noinit_itable",
                                disk->image, disk->dir, NULL};

    if (run(argv) != 0) {
        return -1;
    }
    disk->mounted = true;
    return 0;
}

int disk_image_unmount(struct disk_image *disk)
{
    const char *const argv[] = {"umount", disk->dir, NULL};

    if (disk->mounted && run(argv) != 0) {
        return -1;
    }
    disk->mounted = false;
    return 0;
}

int disk_image_cut(struct disk_image *disk)
{
    __u32 how = FS_SHUTDOWN_NO_LOG_FLUSH;
    int fd = open(disk->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : ioctl(fd, FS_SHUTDOWN, &how);

    if (rc != 0) {
        rc = failed("cutting the power of", disk->dir);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}
