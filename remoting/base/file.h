/* Small files as a whole, and directories, with the syncs that make them last. */
#ifndef MQ_BASE_FILE_H
#define MQ_BASE_FILE_H

#include "remoting/base/buf.h"

#include <stdbool.h>

/* Appends the whole file to @out. Returns 0, -errno, or MQ_ETOOBIG when it is larger than @max_bytes. */
int mq_file_read(const char *path, size_t max_bytes, struct mq_buf *out);

/* Replaces @path atomically and durably: temporary file beside it, fsync, rename, fsync of the directory. */
int mq_file_replace(const char *path, const void *bytes, size_t n);

/* Creates the directory and its parents (0755) where missing, and syncs the parent of each made. */
int mq_dir_make(const char *path);
int mq_dir_sync(const char *path);
bool mq_file_exists(const char *path);

/* "<dir>/<name>" in an allocated string, or NULL. Free with mq_free. */
char *mq_path_join(const char *dir, const char *name);

/* Calls @each for every name in the directory, "." and ".." too. Returns 0 or -errno. */
int mq_dir_each(const char *path, void (*each)(void *data, const char *name), void *data);

/* Removes the directory and everything below it; 0 also when it is absent. Does not follow symbolic links. */
int mq_dir_remove(const char *path);

#endif
