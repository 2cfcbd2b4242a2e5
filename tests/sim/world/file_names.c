/* Names and directories. */
#include "tests/sim/world/disk_parts.h"

#include "remoting/base/assert.h"

#include <stdlib.h>
#include <string.h>

struct name *names_find(struct names *names, const char *path)
{
    for (size_t i = 0; i < names->n; i++) {
        if (strcmp(names->at[i].path, path) == 0) {
            return &names->at[i];
        }
    }
    return NULL;
}

void names_forget(struct names *names, struct name *name)
{
    struct file *file = name->file;

    free(name->path);
    *name = names->at[--names->n];
    file->names--;
    file_drop(file);
}

void names_set(struct names *names, const char *path, struct file *file)
{
    struct name *name = names_find(names, path);

    file->names++;
    if (name != NULL) {
        name->file->names--;
        file_drop(name->file);
        name->file = file;
        return;
    }
    MQ_ASSERT(names->n < FILES_MAX);
    names->at[names->n++] = (struct name){world_strdup(path), file};
}

static void apply_change(struct names *names, const struct change *change)
{
    struct name *name = names_find(names, change->path);

    switch (change->kind) {
    case CREATED:
        names_set(names, change->path, change->file);
        break;
    case RENAMED:
        names_set(names, change->to, change->file);
        name = names_find(names, change->path);
        if (name != NULL && name->file == change->file) {
            names_forget(names, name);
        }
        break;
    case UNLINKED:
        if (name != NULL && name->file == change->file) {
            names_forget(names, name);
        }
        break;
    }
}

static void free_change(struct change *change)
{
    change->file->names--;
    file_drop(change->file);
    free(change->path);
    free(change->to);
    free(change);
}

void disk_add_change(struct disk *disk, enum change_kind kind, const char *path, const char *to, struct file *file)
{
    struct change *change = world_alloc(sizeof(*change));

    change->kind = kind;
    change->path = world_strdup(path);
    change->to = to != NULL ? world_strdup(to) : NULL;
    change->file = file;
    file->names++; /* kept until the change is settled */
    *disk->last_change = change;
    disk->last_change = &change->next;
    apply_change(&disk->now, change);
}

bool path_is_in(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && path[n] == '/' && strchr(path + n + 1, '/') == NULL;
}

/* Settles the changes of @dir (NULL: of all); @keep says whether they are applied for good. */
void disk_settle(struct disk *disk, const char *dir, bool (*keep)(void *data), void *data)
{
    struct change *change = disk->changes, *next;

    disk->changes = NULL;
    disk->last_change = &disk->changes;
    for (; change != NULL; change = next) {
        next = change->next;
        change->next = NULL;
        if (dir != NULL && !path_is_in(change->path, dir)) {
            *disk->last_change = change;
            disk->last_change = &change->next;
            continue;
        }
        if (keep == NULL || keep(data)) {
            apply_change(&disk->durable, change);
        } else {
            disk->stats.names_lost++;
        }
        free_change(change);
    }
}

bool disk_is_dir(const struct disk *disk, const char *path)
{
    if (strcmp(path, "/") == 0 || strcmp(path, ".") == 0) {
        return true;
    }
    for (size_t i = 0; i < disk->n_dirs; i++) {
        if (strcmp(disk->dirs[i], path) == 0) {
            return true;
        }
    }
    return false;
}

/* @path with @from, a directory above it, replaced by @to; the caller frees it. */
static char *moved_path(const char *path, const char *from, const char *to)
{
    size_t n = strlen(from), m = strlen(to);
    char *moved = world_alloc(m + strlen(path) - n + 1);

    memcpy(moved, to, m);
    memcpy(moved + m, path + n, strlen(path) - n + 1);
    return moved;
}

bool path_is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* File by file, so that a power failure may find some moved and some not: less than a journal promises. */
int disk_rename_dir(struct disk *disk, const char *from, const char *to)
{
    for (size_t i = 0; i < disk->n_dirs; i++) {
        if (path_is_below(disk->dirs[i], from)) {
            char *moved = moved_path(disk->dirs[i], from, to);

            free(disk->dirs[i]);
            disk->dirs[i] = moved;
        }
    }
    for (size_t i = 0; i < disk->now.n;) {
        const struct name *name = &disk->now.at[i];
        char *moved;

        if (!path_is_below(name->path, from)) {
            i++;
            continue;
        }
        moved = moved_path(name->path, from, to);
        disk_add_change(disk, RENAMED, name->path, moved, name->file); /* another name takes this place */
        free(moved);
    }
    return 0;
}

void disk_add_dir(struct disk *disk, const char *path, size_t n)
{
    char *dir = world_alloc(n + 1);

    memcpy(dir, path, n);
    if (disk_is_dir(disk, dir)) {
        free(dir);
        return;
    }
    MQ_ASSERT(disk->n_dirs < FILES_MAX);
    disk->dirs[disk->n_dirs++] = dir;
}

void names_clear(struct names *names)
{
    while (names->n > 0) {
        names_forget(names, &names->at[names->n - 1]);
    }
}
