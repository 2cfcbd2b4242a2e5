/* What consensus costs: a group of three raft logs, each in a process of its own, against three bare writers that do
 * the same pwritev + fdatasync pattern on the same disk and agree on nothing.
 *
 * Both take turns of a second or so in one run, so that what else the machine does meets both alike: the group's
 * turn, then that of the writers, all three at once, each writing as many entries of the same size for each fdatasync
 * as the leader's log did in its turn. A pair gives one ratio: bytes committed by the group over bytes that a bare
 * writer wrote and synced (the mean of the three), both by time. Printed is the middle one of all pairs.
 *
 * The same pattern means: a bare writer fills its entries as the group's proposer does, writes them one behind the
 * other into a file of a segment's size whose space was allocated before, and goes on in the next one, as the log
 * does. Over and over into the same place would be another pattern: the file system has nothing to note down then.
 *
 *   log_bench --dir DIR [--seconds N] [--rounds N] [--cell N] [--json]       DIR is made; its disk is what counts */
#include "raft-log/include/raftlog/raftlog.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "tests/lib/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NODES 3
#define SEGMENT_BYTES (64u << 20)
#define HEADER_BYTES 96u
#define DEPTH_MAX 256u
#define LEADER_MS 10000u
#define WARM_MS 200u
#define ROUNDS_MAX 100

static const struct cell {
    const char *name;
    uint32_t payload_bytes, depth; /* of an entry; entries in flight */
} cells[] = {
    {"1 KiB, 256 in flight", 1024, 256},
    {"16 KiB, 64 in flight", 16384, 64},
    {"256 KiB, 16 in flight", RLOG_GATHER_BYTES, 16},
};
#define CELLS (sizeof(cells) / sizeof(cells[0]))

enum turn { NOBODY, THE_GROUP, THE_WRITERS, THE_END };

/* What all processes see. */
struct shared {
    _Atomic int turn;
    _Atomic uint32_t cell;
    _Atomic bool leads; /* some member does, and may propose */
    _Atomic uint32_t in_flight;
    _Atomic uint64_t committed, entries, syncs; /* bytes; of the leader's own log */
    _Atomic uint32_t group;                     /* entries that a bare writer writes for each sync */
    _Atomic uint64_t written[NODES];            /* bytes, by the bare writers */
    _Atomic uint32_t ready;                     /* processes that are */
    _Atomic uint32_t cleaned;                   /* bare writers that removed what they wrote in the last turn */
};

struct options {
    const char *dir;
    uint32_t seconds, rounds, cell; /* cell 0: all */
    bool json;
};

_Noreturn static void fail(const char *what, int rc)
{
    fprintf(stderr, "log_bench: %s: %s\n", what, mq_strerror(rc));
    exit(1);
}

/* --- a member of the group --- */

struct member {
    struct shared *shared;
    struct net_loop loop;
    struct rlog *log;
    struct rlog_fsm fsm;
    uv_timer_t tick;
    struct slot {
        struct rlog_proposal proposal;
        struct member *member;
        uint32_t bytes;
        struct slot *next;
    } slots[DEPTH_MAX], *idle;
    uint32_t in_flight;
    bool leads;
};

static void propose(struct member *member);

static void on_applied(struct rlog_proposal *proposal, int status)
{
    struct slot *slot = container_of(proposal, struct slot, proposal);
    struct member *member = slot->member;

    slot->next = member->idle;
    member->idle = slot;
    member->in_flight--;
    if (status == 0) {
        member->shared->committed += slot->bytes;
    }
    member->shared->in_flight = member->in_flight;
    propose(member);
}

static void propose(struct member *member)
{
    struct shared *shared = member->shared;
    const struct cell *cell = &cells[shared->cell];

    while (shared->turn == THE_GROUP && member->in_flight < cell->depth && rlog_can_propose(member->log) == 0) {
        struct slot *slot = member->idle;
        struct rlog_blob *blob;
        int rc = rlog_blob_new(member->log, cell->payload_bytes, &blob);

        MQ_ASSERT(rc == 0);
        memset(rlog_blob_payload(blob), 'x', cell->payload_bytes);
        blob->payload_bytes = cell->payload_bytes;
        slot->bytes = HEADER_BYTES + cell->payload_bytes;
        member->idle = slot->next;
        rc = rlog_propose(member->log, blob, mq_clock_wall_ms(), 1, 0, &slot->proposal, on_applied);
        if (rc != 0) {
            fail("a proposal is refused", rc);
        }
        shared->in_flight = ++member->in_flight;
    }
}

static void on_apply(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    (void)fsm;
    (void)entry;
}

static void on_role(struct rlog_fsm *fsm, const struct rlog_role *role)
{
    struct member *member = fsm->data;

    if (member->leads != (role->kind == RLOG_WRITABLE)) {
        member->leads = !member->leads;
        member->shared->leads = member->leads;
    }
}

static void on_room(struct rlog_fsm *fsm)
{
    propose(fsm->data);
}

static void on_tick(uv_timer_t *timer)
{
    struct member *member = timer->data;
    struct rlog_status status;

    if (member->shared->turn == THE_END) {
        _exit(0);
    }
    if (member->leads) {
        rlog_status_get(member->log, &status);
        member->shared->entries = status.entries_written;
        member->shared->syncs = status.syncs;
        propose(member);
    }
}

_Noreturn static void run_member(struct shared *shared, const char *dir, uint32_t number,
                                 const struct rlog_member *members)
{
    static struct member member;
    char path[PATH_MAX];
    struct mq_buf problem = {0};
    struct rlog_options options = {
        .dir = path,
        .group = "bench",
        .self = number + 1,
        .members = members,
        .n_members = NODES,
        .segment_bytes = SEGMENT_BYTES,
    };
    int rc;

    snprintf(path, sizeof(path), "%s/member-%" PRIu32, dir, number);
    member.shared = shared;
    member.fsm = (struct rlog_fsm){&member, on_apply, on_role, on_room};
    for (uint32_t i = 0; i < DEPTH_MAX; i++) {
        member.slots[i].member = &member;
        member.slots[i].next = member.idle;
        member.idle = &member.slots[i];
    }
    rc = net_loop_init(&member.loop);
    rc = rc == 0 ? rlog_open(&member.loop, &options, &member.fsm, &member.log, &problem) : rc;
    rc = rc == 0 ? rlog_replay(member.log, &problem) : rc;
    if (rc == 0) {
        rc = rlog_start(member.log, &problem);
    }
    if (rc != 0) {
        fail(problem.len > 0 ? (const char *)problem.base : path, rc);
    }
    uv_timer_init(&member.loop.uv, &member.tick);
    member.tick.data = &member;
    uv_timer_start(&member.tick, on_tick, 1, 1);
    shared->ready++;
    net_loop_run(&member.loop);
    _exit(0);
}

/* --- a bare writer --- */

struct writer {
    const char *dir;
    uint32_t number;
    uint64_t first, next; /* files that exist: first ... next - 1, the last one open */
    uint64_t at;
    int fd;
    uint8_t *entries; /* SEGMENT_BYTES: more than is ever in flight */
};

static void file_path(const struct writer *w, uint64_t k, char *path)
{
    snprintf(path, PATH_MAX, "%s/bare-%" PRIu32 "-%" PRIu64, w->dir, w->number, k);
}

static void open_next(struct writer *w)
{
    char path[PATH_MAX];

    file_path(w, w->next, path);
    if (w->fd >= 0) {
        close(w->fd);
    }
    w->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (w->fd < 0 || fallocate(w->fd, 0, 0, SEGMENT_BYTES) != 0 || fsync(w->fd) != 0) {
        fail(path, -errno);
    }
    w->next++;
    w->at = 0;
}

static void remove_before(struct writer *w, uint64_t end)
{
    char path[PATH_MAX];

    for (; w->first < end; w->first++) {
        file_path(w, w->first, path);
        (void)unlink(path);
    }
}

static void write_group(struct writer *w, uint32_t entry_bytes, uint32_t n)
{
    struct iovec vec[DEPTH_MAX];
    uint64_t bytes = (uint64_t)entry_bytes * n;

    for (uint32_t i = 0; i < n; i++) {
        uint8_t *entry = w->entries + (uint64_t)i * entry_bytes;

        memset(entry, 'x', entry_bytes);
        vec[i] = (struct iovec){entry, entry_bytes};
    }
    if (w->at + bytes > SEGMENT_BYTES) {
        open_next(w);
    }
    if (pwritev(w->fd, vec, (int)n, (off_t)w->at) != (ssize_t)bytes || fdatasync(w->fd) != 0) {
        fail("pwritev and fdatasync", -errno);
    }
    w->at += bytes;
}

_Noreturn static void run_writer(struct shared *shared, const char *dir, uint32_t number)
{
    struct writer w = {.dir = dir, .number = number, .fd = -1, .entries = malloc(SEGMENT_BYTES)};
    bool clean = true;

    MQ_ASSERT(w.entries != NULL);
    open_next(&w);
    shared->ready++;
    while (shared->turn != THE_END) {
        uint32_t entry_bytes = HEADER_BYTES + cells[shared->cell].payload_bytes;
        uint32_t n = shared->group;

        if (shared->turn == THE_WRITERS) {
            write_group(&w, entry_bytes, n);
            shared->written[number] += (uint64_t)entry_bytes * n;
            clean = false;
        } else if (!clean) {
            remove_before(&w, w.next - 1);
            shared->cleaned++;
            clean = true;
        } else {
            test_sleep_ms(1);
        }
    }
    remove_before(&w, w.next);
    _exit(0);
}

/* --- turns --- */

static void start_processes(struct shared *shared, const char *dir)
{
    static char addresses[NODES][32];
    struct rlog_member members[NODES];
    pid_t parent = getpid();

    for (uint32_t i = 0; i < NODES; i++) {
        snprintf(addresses[i], sizeof(addresses[i]), "127.0.0.1:%d", cluster_free_port());
        members[i] = (struct rlog_member){i + 1, addresses[i]};
    }
    fflush(NULL);
    for (uint32_t i = 0; i < 2 * NODES; i++) {
        pid_t pid = fork();

        if (pid < 0) {
            fail("fork", -errno);
        }
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent) {
                _exit(1);
            }
            if (i < NODES) {
                run_member(shared, dir, i, members);
            }
            run_writer(shared, dir, i - NODES);
        }
    }
}

static void wait_until_ready(const struct shared *shared)
{
    uint64_t until_ms = mq_clock_mono_ms() + 3 * LEADER_MS;

    while (shared->ready < 2 * NODES || !shared->leads) {
        if (waitpid(-1, NULL, WNOHANG) > 0 || mq_clock_mono_ms() > until_ms) {
            fprintf(stderr, "log_bench: the group does not come to a leader\n");
            exit(1);
        }
        test_sleep_ms(5);
    }
}

/* Lets @who work for a while. Returns bytes a second behind the warm-up. */
static double take_turn(struct shared *shared, enum turn who, uint32_t seconds)
{
    uint64_t begun_ns, before = 0, after = 0;
    double rate;

    shared->cleaned = 0;
    shared->turn = (int)who;
    test_sleep_ms(WARM_MS);
    begun_ns = mq_clock_mono_ns();
    for (uint32_t i = 0; i < NODES; i++) {
        before += shared->written[i];
    }
    before = who == THE_GROUP ? shared->committed : before;
    test_sleep_ms(seconds * 1000);
    for (uint32_t i = 0; i < NODES; i++) {
        after += shared->written[i];
    }
    after = who == THE_GROUP ? shared->committed : after;
    rate = (double)(after - before) * 1e9 / (double)(mq_clock_mono_ns() - begun_ns);
    shared->turn = NOBODY;
    while (shared->in_flight > 0 || (who == THE_WRITERS && shared->cleaned < NODES)) {
        test_sleep_ms(1);
    }
    test_sleep_ms(20); /* the followers end their last sync */
    return who == THE_GROUP ? rate : rate / NODES;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double middle(double *list, uint32_t n)
{
    qsort(list, n, sizeof(list[0]), by_value);
    return list[n / 2];
}

static void run_cell(struct shared *shared, const struct options *o, size_t k)
{
    double ratios[ROUNDS_MAX], groups[ROUNDS_MAX], bare[ROUNDS_MAX];
    uint32_t per_sync = 1;

    shared->cell = (uint32_t)k;
    for (uint32_t i = 0; i < o->rounds; i++) {
        uint64_t entries = shared->entries, syncs = shared->syncs;

        groups[i] = take_turn(shared, THE_GROUP, o->seconds);
        per_sync = (uint32_t)((shared->entries - entries) / (shared->syncs - syncs > 0 ? shared->syncs - syncs : 1));
        per_sync = per_sync < 1 ? 1 : per_sync < DEPTH_MAX ? per_sync : DEPTH_MAX;
        shared->group = per_sync;
        bare[i] = take_turn(shared, THE_WRITERS, o->seconds);
        ratios[i] = groups[i] / bare[i];
    }
    if (o->json) {
        printf("%s\"%s\":{\"groupBytesPerSecond\":%.0f,\"bareBytesPerSecond\":%.0f,\"entriesPerSync\":%" PRIu32
               ",\"ratio\":%.3f}",
               k > 0 && o->cell == 0 ? "," : "", cells[k].name, middle(groups, o->rounds), middle(bare, o->rounds),
               per_sync, middle(ratios, o->rounds));
    } else {
        printf("%-24s %10.1f %10.1f %14" PRIu32 " %8.2f\n", cells[k].name, middle(groups, o->rounds) / 1e6,
               middle(bare, o->rounds) / 1e6, per_sync, middle(ratios, o->rounds));
    }
    fflush(stdout);
}

static void parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"dir", required_argument, NULL, 'd'},    {"seconds", required_argument, NULL, 's'},
        {"rounds", required_argument, NULL, 'r'}, {"cell", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},         {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'd':
            o->dir = optarg;
            break;
        case 's':
            o->seconds = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'r':
            o->rounds = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            o->cell = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'j':
            o->json = true;
            break;
        default:
            o->dir = NULL;
            optind = argc;
        }
    }
    if (o->dir == NULL || o->seconds == 0 || o->rounds == 0 || o->rounds > ROUNDS_MAX || o->cell > CELLS) {
        fputs("usage: log_bench --dir DIR [--seconds N] [--rounds N] [--cell N] [--json]\n"
              "  --seconds N  of each turn (default 1)\n"
              "  --rounds N   pairs of turns for each size of entry, at most 100 (default 3)\n"
              "  --cell N     only that size, 1 to 3\n",
              stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct options o = {.seconds = 1, .rounds = 3};
    struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    parse(argc, argv, &o);
    if (shared == MAP_FAILED || (mkdir(o.dir, 0755) != 0 && errno != EEXIST)) {
        fail(o.dir, -errno);
    }
    shared->group = 1;
    start_processes(shared, o.dir);
    wait_until_ready(shared);
    if (o.json) {
        printf("{");
    } else {
        printf("%-24s %10s %10s %14s %8s\n", "entries", "group MB/s", "bare MB/s", "entries a sync", "ratio");
    }
    for (size_t k = 0; k < CELLS; k++) {
        if (o.cell == 0 || o.cell == k + 1) {
            run_cell(shared, &o, k);
        }
    }
    printf("%s", o.json ? "}\n" : "");
    shared->turn = THE_END;
    while (wait(NULL) > 0) {
    }
    return mq_dir_remove(o.dir) == 0 ? 0 : 1;
}
