#include "broker/store/key_files.h"

#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

uint32_t key_files_place(const struct key_files *files, uint64_t pos)
{
    uint32_t low = 0, high = files->n;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (files->items[middle].range.begin < pos) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

int key_files_add(struct key_files *files, const struct key_file *file)
{
    uint32_t at = key_files_place(files, file->range.begin);

    if (at < files->n && files->items[at].range.begin == file->range.begin) {
        files->items[at] = *file; /* the one that the run had been loaded from */
        return 0;
    }
    if (files->n == files->cap) {
        uint32_t cap = files->cap != 0 ? files->cap * 2 : 16;
        struct key_file *items = mq_realloc(files->items, cap * sizeof(*items));

        if (items == NULL) {
            return MQ_ENOMEM;
        }
        files->items = items;
        files->cap = cap;
    }
    memmove(files->items + at + 1, files->items + at, (files->n - at) * sizeof(files->items[0]));
    files->items[at] = *file;
    files->n++;
    files->unchecked += at < files->unchecked;
    return 0;
}

static void forget_file(struct key_files *files, uint32_t at)
{
    memmove(files->items + at, files->items + at + 1, (files->n - at - 1) * sizeof(files->items[0]));
    files->n--;
    files->unchecked -= at < files->unchecked;
}

void key_files_unlink(const struct key_files *files, uint64_t begin)
{
    char *path = key_file_path(files->dir, begin, "");

    if (path != NULL) {
        (void)unlink(path);
    }
    mq_free(path);
}

void key_files_remove(struct key_files *files, uint32_t at)
{
    key_files_unlink(files, files->items[at].range.begin);
    forget_file(files, at);
}

void key_files_discard(struct key_files *files, uint32_t at, const char *why)
{
    uint64_t begin = files->items[at].range.begin;

    mq_log_warn("index", "%s/%0*" PRIu64 ": %s: it is made again from the log", files->dir, KEY_FILE_DIGITS, begin,
                why);
    key_files_unlink(files, begin);
    forget_file(files, at);
}

/* One name in the directory. What is no file of the index stays, but for unfinished ones. */
static int take_name(struct key_files *files, const char *name)
{
    struct key_file file;
    uint64_t begin;
    size_t len = strlen(name);
    int rc;

    if (len == KEY_FILE_DIGITS + 4 && strcmp(name + KEY_FILE_DIGITS, ".new") == 0) {
        char *path = mq_path_join(files->dir, name);

        if (path != NULL) {
            (void)unlink(path);
        }
        mq_free(path);
        return 0;
    }
    if (len != KEY_FILE_DIGITS || key_file_name_parse(name, &begin) != 0) {
        return 0;
    }
    rc = key_file_open(files->dir, begin, &file);
    if (rc == MQ_ECORRUPT || rc == MQ_EVERSION) {
        mq_log_warn("index", "%s/%s: %s: it is made again from the log", files->dir, name, mq_strerror(rc));
        key_files_unlink(files, begin);
        return 0;
    }
    return rc != 0 ? rc : key_files_add(files, &file);
}

/* Files that overlap, or join and do not fit together, cannot both be of this log; the later one is compared with the
 * log itself. */
static void drop_misfits(struct key_files *files)
{
    for (uint32_t i = files->n; i-- > 1;) {
        const struct key_range *low = &files->items[i - 1].range, *high = &files->items[i].range;

        if (low->end > high->begin || (low->end == high->begin && low->last_crc != high->prev_crc)) {
            key_files_discard(files, i - 1, "it does not join the file behind it");
        }
    }
}

int key_files_open(struct key_files *files, const char *dir)
{
    struct dirent *entry;
    DIR *names;
    int rc;

    *files = (struct key_files){.dir = mq_strdup(dir)};
    rc = files->dir != NULL ? mq_dir_make(dir) : MQ_ENOMEM;
    names = rc == 0 ? opendir(dir) : NULL;
    if (rc == 0 && names == NULL) {
        rc = -errno;
    }
    while (rc == 0 && (entry = readdir(names)) != NULL) {
        rc = take_name(files, entry->d_name);
    }
    if (names != NULL) {
        closedir(names);
    }
    if (rc != 0) {
        key_files_free(files);
        return rc;
    }
    drop_misfits(files);
    files->unchecked = files->n;
    return 0;
}

void key_files_free(struct key_files *files)
{
    mq_free(files->items);
    mq_free(files->dir);
    *files = (struct key_files){0};
}
