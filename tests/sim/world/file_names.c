/* Names and directories. */
#include "tests/sim/world/disk_parts.h"

#include "remoting/base/assert.h"

#include <stdlib.h>
#include <string.h>

/* Eight bytes at a time. */
static uint32_t hash_of(const char *path)
{
    size_t n = strlen(path);
    uint64_t hash = n, word;

    for (; n > 0; path += sizeof(word)) {
        size_t piece = n < sizeof(word) ? n : sizeof(word);

        word = 0;
        memcpy(&word, path, piece);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 32;
        n -= piece;
    }
    return (uint32_t)hash;
}

static uint16_t *bucket_of(struct names *names, uint32_t hash)
{
    return &names->buckets[hash % NAME_BUCKETS];
}

static void link_name(struct names *names, size_t place)
{
    struct name *name = &names->at[place];
    uint16_t *bucket = bucket_of(names, name->hash);

    name->next = *bucket;
    *bucket = (uint16_t)(place + 1);
}

static void unlink_name(struct names *names, size_t place)
{
    const struct name *name = &names->at[place];
    uint16_t *link = bucket_of(names, name->hash);

    while (*link != place + 1) {
        link = &names->at[*link - 1].next;
    }
    *link = name->next;
}

struct name *names_find(const struct names *names, const char *path)
{
    uint32_t hash = hash_of(path);
    uint16_t next = names->buckets[hash % NAME_BUCKETS];

    while (next != 0) {
        const struct name *name = &names->at[next - 1];

        if (name->hash == hash && strcmp(name->path, path) == 0) {
            return (struct name *)name;
        }
        next = name->next;
    }
    return NULL;
}

static void keep_file(struct file *file)
{
    if (file != NULL) {
        file->names++;
    }
}

static void let_go_of_file(struct file *file)
{
    if (file != NULL) {
        file->names--;
        file_drop(file);
    }
}

/* The last one takes its place. */
void names_forget(struct names *names, struct name *name)
{
    size_t place = (size_t)(name - names->at), last = names->n - 1;
    struct file *file = name->file;

    unlink_name(names, place);
    free(name->path);
    if (place != last) {
        unlink_name(names, last);
        *name = names->at[last];
        link_name(names, place);
    }
    names->n--;
    let_go_of_file(file);
}

void names_set(struct names *names, const char *path, struct file *file)
{
    struct name *name = names_find(names, path);
    struct file *former;

    keep_file(file);
    if (name != NULL) {
        former = name->file;
        name->file = file;
        let_go_of_file(former);
        return;
    }
    MQ_ASSERT(names->n < FILES_MAX);
    names->at[names->n] = (struct name){.path = world_strdup(path), .file = file, .hash = hash_of(path)};
    link_name(names, names->n++);
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
    return strcmp(path, "/") == 0 || strcmp(path, ".") == 0 || names_find(&disk->dirs, path) != NULL;
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
    for (size_t i = 0; i < disk->dirs.n;) {
        struct name *dir = &disk->dirs.at[i];
        char *moved;

        if (!path_is_below(dir->path, from)) {
            i++;
            continue;
        }
        moved = moved_path(dir->path, from, to);
        names_forget(&disk->dirs, dir); /* another takes this place */
        names_set(&disk->dirs, moved, NULL);
        free(moved);
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

void disk_add_dir(struct disk *disk, const char *path)
{
    if (!disk_is_dir(disk, path)) {
        names_set(&disk->dirs, path, NULL);
    }
}

void names_clear(struct names *names)
{
    while (names->n > 0) {
        names_forget(names, &names->at[names->n - 1]);
    }
}
