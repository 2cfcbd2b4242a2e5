/* Every state of the disk that a power failure can leave (or a sample of them), and bytes that the disk spoils: what
 * does the next start make of it? Histories of a real log are recorded with every write and sync. Of a history,
 * states are built at every instant: each unsynced sector of 512 bytes there or absent; in some classes a sector, a
 * byte or a bit of the log is spoilt, too. Each is opened by the real log, and its verdict compared with what was
 * true then.
 *
 * Usage: recovery_states [--states N] [--seed S] [--defect NAME]
 * A failure prints the seed of its history and the state's. The threads of the log make histories of the same seed
 * differ a little. --defect: in a build with -DRAFTMQ_DEFECTS=ON, a mistake that must be noticed. */
#include "tests/recovery/history.h"

#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATES 25000u
#define STATES_OF_HISTORY 200u
#define FAILURES_SHOWN 5u
#define SECTOR 512u
#define GO_ON_EVERY 8u /* states: the log is written to and opened once more */

enum class { KILLED, POWER, POWER_FOLLOWER, POWER_SPOILT, SPOILT, ZEROED, CLASSES };

static const char *const CLASS_NAMES[CLASSES] = {
    [KILLED] = "process killed",
    [POWER] = "power cut, leader",
    [POWER_FOLLOWER] = "power cut, follower",
    [POWER_SPOILT] = "power cut and spoilt",
    [SPOILT] = "spoilt",
    [ZEROED] = "end lost",
};

enum outcome { WHOLE, TORN, ROTTEN, AMBIGUOUS, OUTCOMES };

enum promise {
    OPENS,      /* no state stops the node */
    KEEPS,      /* nothing acknowledged is missing that the disk did not spoil */
    EVIDENCE,   /* nothing that a snapshot or the mark stands for is missing without a claim on it */
    CLAIMS,     /* nothing acknowledged is missing without a claim on it */
    TRUE_BYTES, /* what is there was written */
    GOES_ON,    /* the log takes more, and the next start finds it */
    TELLS,      /* power cuts alone leave torn tails */
    PROMISES
};

static const char *const PROMISE_NAMES[PROMISES] = {
    [OPENS] = "every state opens",
    [KEEPS] = "what was acknowledged survives every power cut",
    [EVIDENCE] = "what a snapshot or the mark stands for is never cut without a claim",
    [CLAIMS] = "what the disk spoilt after it was acknowledged is never cut without a claim",
    [TRUE_BYTES] = "no entry is there that was never written",
    [GOES_ON] = "every log goes on, and the next start finds it whole",
    [TELLS] = "what a power cut leaves is called torn in 99 of 100 cases",
};

struct state {
    struct history *h;
    uint64_t seed; /* of the history */
    uint64_t salt; /* of the state */
    size_t until;
    enum class class;
    uint32_t present_of_8; /* chance of an unsynced sector to be there */
};

static uint64_t counts[CLASSES][OUTCOMES];
static uint64_t failures[PROMISES];
static uint64_t claimed_losses, vain_claims[CLASSES];

static void broken(enum promise promise, const struct state *s, const char *why)
{
    if (failures[promise]++ < FAILURES_SHOWN) {
        printf("  %s, history %" PRIu64 " change %zu of %zu state %" PRIu64 ": %s\n", CLASS_NAMES[s->class], s->seed,
               s->until, s->h->disk->n_ops, s->salt, why);
    }
}

/* --- building a state --------------------------------------------------------------------------------------- */

static bool is_there(void *data, size_t change, size_t sector)
{
    const struct state *s = data;
    uint64_t random = s->salt + change * 7919 + sector * 104729;

    log_random(&random);
    return s->class == KILLED || s->class == SPOILT || s->class == ZEROED ||
           log_random(&random) % 8 < s->present_of_8;
}

/* Spoils one sector, byte or bit where the log has entries, or just behind. */
static void spoil(struct mem_disk *disk, const struct state *s)
{
    uint64_t random = s->salt ^ 0x5DEECE66D;
    char name[64];
    uint8_t *bytes = NULL;
    uint64_t size, at;
    uint32_t how = log_random(&random) % 3;

    for (unsigned tries = 0; tries < 16; tries++) {
        uint64_t first = log_random(&random) % 8 * HISTORY_SEGMENT;

        (void)snprintf(name, sizeof(name), HISTORY_DIR "/log/%020" PRIu64, first);
        bytes = mem_disk_file(disk, name, &size);
        at = log_random(&random) % HISTORY_SEGMENT;
        if (bytes != NULL && size == HISTORY_SEGMENT && (bytes[at] != 0 || tries > 8)) {
            break;
        }
        bytes = NULL;
    }
    if (bytes == NULL) {
        return;
    }
    if (how == 0) {
        bytes[at] ^= (uint8_t)(1u << log_random(&random) % 8);
    } else if (how == 1) {
        bytes[at] = (uint8_t)(bytes[at] + 1 + log_random(&random) % 255);
    } else {
        for (at -= at % SECTOR, size = at + SECTOR; at < size; at++) {
            bytes[at] = (uint8_t)log_random(&random);
        }
    }
}

/* The disk has zeros where the end of the log was, from some sector on: nothing but what the member knows besides can
 * tell that from entries that were never written. */
static void lose_end(struct mem_disk *disk, const struct state *s)
{
    uint64_t random = s->salt ^ 0x2545F491;
    uint64_t from = log_random(&random) % (8 * HISTORY_SEGMENT) / SECTOR * SECTOR;

    for (uint64_t first = from - from % HISTORY_SEGMENT; first < 16 * HISTORY_SEGMENT; first += HISTORY_SEGMENT) {
        char name[64];
        uint64_t size, at = from > first ? from - first : 0;
        uint8_t *bytes;

        (void)snprintf(name, sizeof(name), HISTORY_DIR "/log/%020" PRIu64, first);
        bytes = mem_disk_file(disk, name, &size);
        if (bytes != NULL && at < size) {
            memset(bytes + at, 0, size - at);
        }
    }
}

/* --- judging it --------------------------------------------------------------------------------------------- */

static enum outcome outcome_of(struct log_fixture *f)
{
    struct commitlog_stats stats;

    commitlog_stats_get(f->log, &stats);
    if (f->claim.index == 0) {
        return stats.cut_bytes == 0 ? WHOLE : TORN;
    }
    return f->claim.committed > commitlog_last_index(f->log) ? ROTTEN : AMBIGUOUS;
}

static void check_entries(struct log_fixture *f, const struct state *s, const struct truth *truth)
{
    for (uint64_t i = 1; i <= commitlog_last_index(f->log); i++) {
        struct commitlog_entry entry;
        int rc = commitlog_get(f->log, i, &entry);

        if (rc != 0 || !rlog_entry_is_sound(&entry.header, entry.bytes) ||
            !history_knows(s->h, truth, &entry.header)) {
            broken(TRUE_BYTES, s, "an entry is there that was never written");
            return;
        }
    }
}

static void check_acknowledged(struct log_fixture *f, const struct state *s, const struct truth *truth)
{
    const struct written *last = &truth->acknowledged;
    bool lost = commitlog_last_index(f->log) < last->index;
    bool spoilt = s->class == SPOILT || s->class == POWER_SPOILT;

    if (s->class == ZEROED) {
        if (commitlog_last_index(f->log) < f->committed && f->claim.index < f->committed) {
            broken(EVIDENCE, s, "entries known to be committed are gone, and nobody is told");
        }
    } else if (lost && !spoilt) {
        broken(KEEPS, s, "an acknowledged entry is gone");
    } else if (lost && rlog_is_behind(f->claim.term, f->claim.index, last->term, last->index)) {
        broken(CLAIMS, s, f->claim.index == 0 ? "an acknowledged entry was cut as torn" : "the claim is too low");
    }
    claimed_losses += lost;
    vain_claims[s->class] += !lost && f->claim.index != 0;
}

static void check_goes_on(struct log_fixture *f, const struct state *s)
{
    uint64_t last = commitlog_last_index(f->log);
    int rc = log_fixture_append(f, f->term + 1, 77);

    MQ_ASSERT(rc == 0);
    log_fixture_settle(f);
    log_fixture_close(f);
    f->committed = f->committed < last ? f->committed : last; /* the rest is claimed, and said once */
    if (log_fixture_try_open(f) != 0 || commitlog_last_index(f->log) != last + 1 || f->claim.index != 0 ||
        outcome_of(f) != WHOLE) {
        broken(GOES_ON, s, "the next start does not find the log whole");
    }
}

static void check_state(const struct state *s)
{
    struct mem_disk *disk = mem_disk_crash(s->h->disk, s->until, is_there, (void *)s);
    const struct truth *truth = history_truth(s->h, s->until);
    uint64_t random = s->salt * 31;
    struct log_fixture f;

    if (s->class == SPOILT || s->class == POWER_SPOILT) {
        spoil(disk, s);
    } else if (s->class == ZEROED) {
        lose_end(disk, s);
    }
    log_fixture_init(&f, &disk->table, HISTORY_DIR, HISTORY_SEGMENT);
    f.term = truth->term;
    /* The mark is stored and a snapshot taken now and then: they know something between nothing and all. */
    f.committed = log_random(&random) % 2 == 0 ? 0 : log_random(&random) % (truth->committed + 1);
    if (log_fixture_try_open(&f) != 0) {
        broken(OPENS, s, (const char *)f.problem.base);
    } else {
        counts[s->class][outcome_of(&f)]++;
        check_entries(&f, s, truth);
        check_acknowledged(&f, s, truth);
        if (s->salt % GO_ON_EVERY == 0) {
            check_goes_on(&f, s);
        }
    }
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

/* --- all of it ---------------------------------------------------------------------------------------------- */

static enum class choose_class(const struct history *h, uint64_t *random) {
    uint32_t n = log_random(random) % 11;

    return n == 10  ? ZEROED
           : n == 0 ? KILLED
           : n < 6  ? (h->follower ? POWER_FOLLOWER : POWER)
           : n < 8  ? POWER_SPOILT
                    : SPOILT;
}

/* Any instant, but more often one just before a sync: then most is at stake. */
static size_t choose_instant(const struct history *h, uint64_t *random)
{
    size_t n = h->disk->n_ops - h->first_change;
    size_t at = h->first_change + log_random(random) % (n + 1);

    if (log_random(random) % 4 != 0) {
        for (size_t i = 0; i < n && (at >= h->disk->n_ops || h->disk->ops[at].kind != MEM_SYNC); i++) {
            at = at + 1 < h->disk->n_ops ? at + 1 : h->first_change;
        }
    }
    return at;
}

static void run(uint64_t states, uint64_t seed)
{
    for (uint64_t done = 0; done < states; seed++) {
        struct history h;
        uint64_t random = seed ^ 0xA5A5A5A5;

        history_record(&h, seed);
        for (unsigned i = 0; i < STATES_OF_HISTORY && done < states; i++, done++) {
            struct state s = {.h = &h, .seed = seed, .salt = log_random(&random)};

            s.class = choose_class(&h, &random);
            s.until = choose_instant(&h, &random);
            s.present_of_8 = 1 + log_random(&random) % 7;
            check_state(&s);
        }
        history_free(&h);
    }
}

static double percent(uint64_t part, uint64_t all)
{
    return all == 0 ? 0 : 100.0 * (double)part / (double)all;
}

static void print_table(void)
{
    printf("\n%-22s %8s %8s %8s %8s %9s %12s\n", "", "states", "whole", "torn", "rotten", "ambiguous", "vain claims");
    for (int c = 0; c < CLASSES; c++) {
        uint64_t n = 0;

        for (int o = 0; o < OUTCOMES; o++) {
            n += counts[c][o];
        }
        printf("%-22s %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %9" PRIu64 " %12" PRIu64 "\n",
               CLASS_NAMES[c], n, counts[c][WHOLE], counts[c][TORN], counts[c][ROTTEN], counts[c][AMBIGUOUS],
               vain_claims[c]);
    }
    for (int c = POWER; c <= POWER_FOLLOWER; c++) {
        uint64_t bad = counts[c][TORN] + counts[c][ROTTEN] + counts[c][AMBIGUOUS];

        printf("%s: of %" PRIu64 " bad ends %.2f %% torn, %.2f %% rotten (a later header says committed), %.2f %% "
               "ambiguous\n",
               CLASS_NAMES[c], bad, percent(counts[c][TORN], bad), percent(counts[c][ROTTEN], bad),
               percent(counts[c][AMBIGUOUS], bad));
    }
    printf("acknowledged entries that were spoilt and claimed: %" PRIu64 " states\n\n", claimed_losses);
}

/* A leader's power cut must be told from rot; a follower's entries may prove each other committed, which is kept. */
static void check_verdicts(void)
{
    for (int c = KILLED; c <= POWER_FOLLOWER; c++) {
        uint64_t bad = counts[c][TORN] + counts[c][ROTTEN] + counts[c][AMBIGUOUS];
        uint64_t kept = counts[c][AMBIGUOUS] + (c == POWER_FOLLOWER ? 0 : counts[c][ROTTEN]);

        if (kept * 100 > bad) {
            failures[TELLS]++;
            printf("  %s: %" PRIu64 " of %" PRIu64 " bad ends were not called torn\n", CLASS_NAMES[c], kept, bad);
        }
    }
}

static void set_defect(const char *name)
{
#ifdef RAFTMQ_DEFECTS
    mq_defect = mq_defect_find(name);
    if (mq_defect != MQ_DEFECT_NONE) {
        return;
    }
#endif
    fprintf(stderr, "recovery_states: no defect %s in this build\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    uint64_t states = STATES, seed = 1;
    int rc = 0;

    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--states") == 0) {
            states = strtoull(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--defect") == 0) {
            set_defect(argv[++i]);
        } else {
            fprintf(stderr, "usage: recovery_states [--states N] [--seed S] [--defect NAME]\n");
            return 2;
        }
    }
    (void)freopen("/dev/null", "w", stderr); /* the log says what it cuts, thousands of times */
    run(states, seed);
    print_table();
    check_verdicts();
    for (int p = 0; p < PROMISES; p++) {
        if (failures[p] == 0) {
            printf("PASS %s\n", PROMISE_NAMES[p]);
        } else {
            printf("FAIL %s: %" PRIu64 " times\n", PROMISE_NAMES[p], failures[p]);
            rc = 1;
        }
    }
    return rc;
}
