/* A short life of a commit log on a disk in memory, with what was true at every instant of it: which entries the log
 * had reported durable, and so may have been acknowledged, and what may be known of their commitment. */
#ifndef TESTS_RECOVERY_HISTORY_H
#define TESTS_RECOVERY_HISTORY_H

#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#define HISTORY_SEGMENT 8192u
#define HISTORY_DIR "/m"
#define HISTORY_ENTRIES_MAX 160u
#define HISTORY_TRUTHS_MAX 128u

/* An entry that was written, perhaps in place of another of the same index. */
struct written {
    uint64_t index, term;
    uint32_t crc; /* of its header, which tells all of it */
};

/* Holds from change @change of the disk on. */
struct truth {
    size_t change;
    struct written acknowledged; /* the last entry that was reported durable; index 0: none */
    uint64_t committed;          /* what the member may know */
    uint64_t term;               /* of the member */
    size_t n_written;            /* so many of the written entries were begun */
};

struct history {
    struct mem_disk *disk;
    struct log_fixture f;
    uint64_t random;
    bool follower; /* learns of commitment from a leader: an entry may say that one of the same write is committed */
    struct written written[HISTORY_ENTRIES_MAX];
    size_t n_written;
    struct truth truths[HISTORY_TRUTHS_MAX];
    size_t n_truths;
    size_t first_change; /* the log was open before it */
};

/* Lives through it. @seed decides everything but the timing of the log's threads. */
void history_record(struct history *h, uint64_t seed);
void history_free(struct history *h);

/* What was true just before change @until. */
const struct truth *history_truth(const struct history *h, size_t until);

/* Whether this entry was ever written before @truth ended; if it was acknowledged then, it must be the one. */
bool history_knows(const struct history *h, const struct truth *truth, const struct rlog_header *header);

#endif
