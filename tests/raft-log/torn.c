#include "tests/raft-log/torn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512u
#define PAGE 4096u

/* Ways in which a disk that lost its power may have treated what it was given. */
enum pattern { NOTHING, EVERYTHING, THE_FIRST, THE_LAST, SOME_SECTORS, SOME_PAGES, ALL_BUT_ONE, PATTERNS };

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random >> 11;
}

static int open_in(const char *dir, const char *name, int flags)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return open(path, flags | O_CLOEXEC);
}

/* The bytes of one write, widened to whole sectors. NULL: there are none. */
static struct torn_write *take_one(const char *dir, const char *name, uint64_t pos, uint64_t bytes)
{
    uint64_t from = pos - pos % SECTOR;
    uint64_t to = (pos + bytes + SECTOR - 1) / SECTOR * SECTOR;
    struct torn_write *write = calloc(1, sizeof(*write) + (to - from));
    int fd = open_in(dir, name, O_RDONLY);
    ssize_t n = write != NULL && fd >= 0 ? pread(fd, write->data, to - from, (off_t)from) : -1;

    if (fd >= 0) {
        close(fd);
    }
    if (n <= 0) {
        free(write);
        return NULL;
    }
    snprintf(write->path, sizeof(write->path), "%s", name);
    write->pos = from;
    write->bytes = (uint32_t)n;
    return write;
}

struct torn_write *torn_take(const char *report, const char *dir)
{
    struct torn_write *list = NULL, **end = &list;
    FILE *file = fopen(report, "r");
    char line[512], name[192];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        uint64_t pos, bytes;

        if (sscanf(line, "wrote %191s %" SCNu64 " %" SCNu64, name, &pos, &bytes) == 3 && bytes > 0) {
            *end = take_one(dir, name, pos, bytes);
            end = *end != NULL ? &(*end)->next : end;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return list;
}

/* Whether sector @at of @n survives. @one: a sector chosen for the whole list. */
static bool survives(enum pattern pattern, uint64_t at, uint64_t pos, uint64_t one, uint64_t salt)
{
    uint64_t dice = (pattern == SOME_PAGES ? pos / PAGE : pos / SECTOR) * 0x9E3779B97F4A7C15u ^ salt;

    switch (pattern) {
    case EVERYTHING:
        return true;
    case THE_FIRST:
        return at < one;
    case THE_LAST:
        return at >= one;
    case SOME_SECTORS:
    case SOME_PAGES:
        return (next_random(&dice) & 1) != 0;
    case ALL_BUT_ONE:
        return at != one;
    case NOTHING:
    case PATTERNS:
        break;
    }
    return false;
}

static uint64_t count_sectors(const struct torn_write *list)
{
    uint64_t n = 0;

    for (; list != NULL; list = list->next) {
        n += (list->bytes + SECTOR - 1) / SECTOR;
    }
    return n;
}

/* A file that is not there, or shorter, was made and never synced: it stays so. */
static int64_t give_one(const struct torn_write *write, const char *dir, enum pattern pattern, uint64_t at,
                        uint64_t one, uint64_t salt)
{
    int fd = open_in(dir, write->path, O_RDWR);
    struct stat st;
    int64_t given = 0;
    int rc = 0;

    if (fd < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    rc = fstat(fd, &st);
    for (uint32_t k = 0; rc == 0 && k < write->bytes; k += SECTOR, at++) {
        uint64_t pos = write->pos + k;
        uint32_t n = write->bytes - k < SECTOR ? write->bytes - k : SECTOR;

        if (pos + n <= (uint64_t)st.st_size && survives(pattern, at, pos, one, salt)) {
            rc = pwrite(fd, write->data + k, n, (off_t)pos) == (ssize_t)n ? 0 : -1;
            given++;
        }
    }
    rc = rc == 0 ? fsync(fd) : rc;
    rc = rc == 0 ? 0 : -errno;
    close(fd);
    return rc != 0 ? rc : given;
}

int64_t torn_give(struct torn_write *list, const char *dir, uint64_t random, uint64_t *sectors)
{
    enum pattern pattern = (enum pattern)(next_random(&random) % PATTERNS);
    uint64_t n = count_sectors(list);
    uint64_t one = n > 0 ? next_random(&random) % n : 0;
    uint64_t at = 0;
    int64_t given = 0;

    *sectors = n;
    while (list != NULL) {
        struct torn_write *next = list->next;
        int64_t rc = given >= 0 ? give_one(list, dir, pattern, at, one, random) : 0;

        given = rc < 0 ? rc : given + rc;
        at += (list->bytes + SECTOR - 1) / SECTOR;
        free(list);
        list = next;
    }
    return given;
}
