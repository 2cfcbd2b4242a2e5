/* The files of a key index in a row: ascending by where their parts of the log begin, none overlapping another. One
 * thread, the indexer's. */
#ifndef BROKER_STORE_KEY_FILES_H
#define BROKER_STORE_KEY_FILES_H

#include "broker/store/key_file.h"

struct key_files {
    char *dir;              /* owned */
    struct key_file *items; /* owned */
    uint32_t n, cap;
    uint32_t unchecked; /* those below this number were not compared with the log yet */
};

/* Reads the headers of the files below @dir, made where it is missing; what cannot be used is removed, unfinished
 * files too. All that is left is unchecked. Blocking. Returns 0, MQ_ENOMEM or -errno. */
int key_files_open(struct key_files *files, const char *dir);
void key_files_free(struct key_files *files);

/* The first file that begins at @pos or behind it. */
uint32_t key_files_place(const struct key_files *files, uint64_t pos);
/* Takes in a file that was written, in the place of one that begins there. Returns 0 or MQ_ENOMEM. */
int key_files_add(struct key_files *files, const struct key_file *file);
/* Removes file @at: nobody needs it any more. */
void key_files_remove(struct key_files *files, uint32_t at);
/* The same with a line in the log: nothing of it can be trusted, its part of the log is a gap from now on. */
void key_files_discard(struct key_files *files, uint32_t at, const char *why);
/* Removes what lies at @begin and is in no row. */
void key_files_unlink(const struct key_files *files, uint64_t begin);

#endif
