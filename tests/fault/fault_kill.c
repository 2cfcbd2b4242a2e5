/* Kills nodes of a group of three with SIGKILL under load and accounts for every message. A round:
 *
 *   kill a random node (the leader every second time, now and then two) -> it stays dead for a while -> restart ->
 * pause the load -> wait until all are level -> check (check.h) -> go on
 *
 * Now and then the leader is stopped before, for so long that another one is elected, and comes back as a leader of
 * the past; and now and then a node is killed again while it starts. In every fourth round both followers are stopped
 * with SIGSTOP, 100 ms later all three are killed; the followers come back first, and the old leader, which alone
 * holds what it wrote in those 100 ms, only after they have elected. */
#include "remoting/base/clock.h"
#include "remoting/base/file.h"
#include "tests/fault/stage.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUNDS_DEFAULT 20
#define ROUNDS_MAX 10000
#define RATE_DEFAULT 10000
#define ACK_MS 15000u
#define STOPPED_MS 100u
#define FOURTH 4

struct run {
    uint32_t rounds, rate;
    uint64_t seed, random;
    bool only_fourth, keep;
    char dir[PATH_MAX / 4];
    struct stage stage;
    int64_t *failovers; /* ms, of leaders killed alone */
    uint32_t n_failovers;
    int passed, failed;
};

static uint64_t next_random(struct run *run)
{
    run->random ^= run->random << 13;
    run->random ^= run->random >> 7;
    run->random ^= run->random << 17;
    return run->random;
}

static uint32_t between(struct run *run, uint32_t low, uint32_t high)
{
    return low + (uint32_t)(next_random(run) >> 11) % (high - low + 1);
}

/* --- rounds --- */

/* Text that tells what was done in a round. */
struct story {
    char text[256];
    size_t len;
};

static void tell(struct story *story, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void tell(struct story *story, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(story->text + story->len, sizeof(story->text) - story->len, fmt, args);
    va_end(args);
    story->len += n > 0 && (size_t)n < sizeof(story->text) - story->len ? (size_t)n : 0;
}

static bool wait_ack(struct run *run, struct story *story, const char *what)
{
    int64_t ms = load_wait_ack(run->stage.load, ACK_MS);

    if (ms < 0) {
        fprintf(stderr, "  BROKEN no send is acknowledged within %u ms\n", ACK_MS);
        return false;
    }
    tell(story, ", %s %" PRId64 " ms", what, ms);
    return true;
}

static int find_leader(struct run *run)
{
    int leader = cluster_leader(&run->stage.cluster, ACK_MS);

    if (leader < 0) {
        fprintf(stderr, "  BROKEN there is no leader\n");
    }
    return leader;
}

/* Stops the leader or both followers with SIGSTOP, and lets them go on later. A stopped leader becomes one of the
 * past without its knowledge. A leader whose followers are stopped gives up; what it has sent them lies in their
 * sockets, and is stored when they go on, after its senders were answered. */
static bool stop_some(struct run *run, struct story *story, bool followers)
{
    uint32_t ms = between(run, 300, 1200);
    int leader = find_leader(run);

    if (leader < 0) {
        return false;
    }
    tell(story, "stop %s n%d for %" PRIu32 " ms, ", followers ? "the followers of" : "leader", leader, ms);
    for (int i = 0; i < 3; i++) {
        if ((i == leader) != followers) {
            process_signal(&run->stage.cluster.nodes[i].process, SIGSTOP);
        }
    }
    test_sleep_ms(ms);
    for (int i = 0; i < 3; i++) {
        process_signal(&run->stage.cluster.nodes[i].process, SIGCONT);
    }
    return true;
}

/* Starts a node that was killed; now and then it dies once more while it starts. */
static bool start_again(struct run *run, struct story *story, uint32_t i)
{
    if (between(run, 0, 3) == 0) {
        uint32_t ms = between(run, 0, 80);

        if (cluster_launch_node(&run->stage.cluster, i) != 0) {
            return false;
        }
        test_sleep_ms(ms);
        process_kill(&run->stage.cluster.nodes[i].process);
        tell(story, ", n%" PRIu32 " again %" PRIu32 " ms after its start", i, ms);
    }
    return cluster_start_node(&run->stage.cluster, i) >= 0;
}

/* One node, or two. Returns how many, or 0 when there is no leader. */
static uint32_t choose(struct run *run, int leader, uint32_t down[2])
{
    uint32_t n = 1;

    if (leader < 0) {
        return 0;
    }
    down[0] = between(run, 0, 1) == 0 ? (uint32_t)leader : ((uint32_t)leader + between(run, 1, 2)) % 3;
    if (between(run, 0, 5) == 0) {
        down[n++] = (down[0] + between(run, 1, 2)) % 3;
    }
    return n;
}

/* Kills one node, or two, and starts them again. */
static bool kill_some(struct run *run, struct story *story)
{
    uint32_t dice = between(run, 0, 5);
    uint32_t rest_ms = between(run, 50, 600);
    uint32_t down[2], n;
    int leader;

    if (dice < 2 && !stop_some(run, story, dice == 0)) {
        return false;
    }
    leader = find_leader(run);
    n = choose(run, leader, down);
    load_mark(run->stage.load);
    for (uint32_t i = 0; i < n; i++) {
        process_kill(&run->stage.cluster.nodes[down[i]].process);
        tell(story, "%s n%" PRIu32 "%s", i > 0 ? " and" : "kill", down[i],
             down[i] == (uint32_t)leader ? " (leader)" : "");
    }
    if (n == 1) {
        bool led = down[0] == (uint32_t)leader;

        if (!wait_ack(run, story, led ? "failover" : "next ack")) {
            return false;
        }
        if (led) {
            run->failovers[run->n_failovers++] = load_wait_ack(run->stage.load, 0);
        }
    }
    test_sleep_ms(rest_ms);
    if (n > 1) {
        load_mark(run->stage.load); /* two of three were down: how long after the start do sends pass again? */
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!start_again(run, story, down[i])) {
            return false;
        }
    }
    return n == 1 || (n == 2 && wait_ack(run, story, "back after"));
}

/* The old leader must not bring back, nor have acknowledged, what it wrote while it was alone. */
static bool kill_all(struct run *run, struct story *story)
{
    struct cluster_node *nodes = run->stage.cluster.nodes;
    int leader = find_leader(run);

    if (leader < 0) {
        return false;
    }
    for (int i = 0; i < 3; i++) {
        if (i != leader) {
            process_signal(&nodes[i].process, SIGSTOP);
        }
    }
    test_sleep_ms(STOPPED_MS);
    for (int i = 0; i < 3; i++) {
        process_kill(&nodes[i].process);
    }
    tell(story, "stop followers, kill all, n%d (leader) last", leader);
    for (int i = 0; i < 3; i++) {
        if (i != leader && cluster_start_node(&run->stage.cluster, (uint32_t)i) < 0) {
            return false;
        }
    }
    load_mark(run->stage.load);
    if (cluster_leader(&run->stage.cluster, ACK_MS) < 0) {
        fprintf(stderr, "  BROKEN the two followers elect nobody\n");
        return false;
    }
    return wait_ack(run, story, "back after") && cluster_start_node(&run->stage.cluster, (uint32_t)leader) >= 0;
}

static void print_counts(struct run *run)
{
    struct account *account = load_lock(run->stage.load);

    printf("; %" PRIu64 " acknowledged, %" PRIu64 " unknown, %" PRIu64 " refused; level at entry %" PRIu64,
           account->acked, account->unknown, account->refused, run->stage.check.last_index);
    load_unlock(run->stage.load);
}

static bool run_round(struct run *run, uint32_t number)
{
    bool fourth = run->only_fourth || number % FOURTH == 0;
    uint64_t begun_ms = mq_clock_mono_ms();
    struct story story = {.len = 0};
    bool ok;

    load_resume(run->stage.load);
    test_sleep_ms(between(run, 200, 900));
    ok = fourth ? kill_all(run, &story) : kill_some(run, &story);
    if (ok) {
        test_sleep_ms(between(run, 0, 400)); /* the load goes on while who was dead catches up */
    }
    ok = check_run(&run->stage.check, false) == 0 && ok;
    printf("%s round %2" PRIu32 "/%" PRIu32 " %s", ok ? "PASS" : "FAIL", number, run->rounds, story.text);
    print_counts(run);
    printf("; %.1f s\n", (double)(mq_clock_mono_ms() - begun_ms) / 1000);
    fflush(stdout);
    return ok;
}

/* --- the end --- */

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static int64_t percentile(struct run *run, uint32_t percent)
{
    uint32_t at = run->n_failovers * percent / 100;

    qsort(run->failovers, run->n_failovers, sizeof(run->failovers[0]), by_value);
    return run->n_failovers == 0 ? -1 : run->failovers[at < run->n_failovers ? at : run->n_failovers - 1];
}

static void print_summary(struct run *run)
{
    struct account *account = load_lock(run->stage.load);

    printf("messages sent=%" PRIu64 " acknowledged=%" PRIu64 " refused=%" PRIu64 " unknown=%" PRIu64
           " (stored %" PRIu64 ") read=%" PRIu64 " lost=%" PRIu64 "\n",
           account->sent, account->acked, account->refused, account->unknown, account->unknown_seen, account->seen,
           account->faults[ACCOUNT_LOST] + account->faults[ACCOUNT_MOVED]);
    load_unlock(run->stage.load);
    printf("failover of %" PRIu32 " killed leaders in ms: p50=%" PRId64 " p95=%" PRId64 " max=%" PRId64
           "; offset commits %" PRIu64 "; log of %" PRIu64 " MiB\n",
           run->n_failovers, percentile(run, 50), percentile(run, 95), percentile(run, 100),
           load_commits(run->stage.load), run->stage.check.end_pos >> 20);
}

static void run_all(struct run *run)
{
    for (uint32_t i = 1; i <= run->rounds && run->failed == 0; i++) {
        bool ok = run_round(run, i);

        run->passed += ok;
        run->failed += !ok;
    }
    if (run->failed == 0) {
        bool ok = check_run(&run->stage.check, true) == 0;

        printf("%s everything once more from the beginning, on every node\n", ok ? "PASS" : "FAIL");
        run->passed += ok;
        run->failed += !ok;
    }
    print_summary(run);
}

static void usage(FILE *to)
{
    fputs("usage: fault_kill [--rounds N] [--seed N] [--rate N] [--dir DIR] [--only-fourth] [--keep]\n"
          "  --rounds N     kills; default 20, or $RAFTMQ_FAULT_ROUNDS\n"
          "  --seed N       repeats the choices of an earlier run\n"
          "  --rate N       messages a second; default 10000\n"
          "  --dir DIR      where all files go; default beside the programs in $RAFTMQ_BIN\n"
          "  --only-fourth  every round stops the followers and kills all three\n"
          "  --keep         keeps the files also when all is well\n",
          to);
}

static uint64_t number_of(const char *text, uint64_t max)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);

    if (*text == '\0' || *end != '\0' || n == 0 || n > max) {
        fprintf(stderr, "fault_kill: \"%s\" is not a number from 1 to %" PRIu64 "\n", text, max);
        exit(2);
    }
    return n;
}

static void parse(int argc, char **argv, struct run *run)
{
    static const struct option longs[] = {
        {"rounds", required_argument, NULL, 'r'}, {"seed", required_argument, NULL, 's'},
        {"rate", required_argument, NULL, 'm'},   {"dir", required_argument, NULL, 'd'},
        {"only-fourth", no_argument, NULL, 'f'},  {"keep", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},         {0},
    };
    const char *rounds = getenv("RAFTMQ_FAULT_ROUNDS");
    int c;

    run->rounds = rounds != NULL && *rounds != '\0' ? (uint32_t)number_of(rounds, ROUNDS_MAX) : ROUNDS_DEFAULT;
    run->rate = RATE_DEFAULT;
    run->seed = mq_clock_mono_ns() % 1000000 + 1;
    snprintf(run->dir, sizeof(run->dir), "%.900s/../fault-%d", cluster_bin_dir(), (int)getpid());
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'r':
            run->rounds = (uint32_t)number_of(optarg, ROUNDS_MAX);
            break;
        case 's':
            run->seed = number_of(optarg, UINT64_MAX);
            break;
        case 'm':
            run->rate = (uint32_t)number_of(optarg, 1000000);
            break;
        case 'd':
            snprintf(run->dir, sizeof(run->dir), "%s", optarg);
            break;
        case 'f':
            run->only_fourth = true;
            break;
        case 'k':
            run->keep = true;
            break;
        default:
            usage(c == 'h' ? stdout : stderr);
            exit(c == 'h' ? 0 : 2);
        }
    }
}

int main(int argc, char **argv)
{
    static struct run run;

    parse(argc, argv, &run);
    run.random = run.seed * 0x9E3779B97F4A7C15u | 1;
    run.failovers = calloc(run.rounds, sizeof(run.failovers[0]));
    if (run.failovers == NULL || (mkdir(run.dir, 0755) != 0 && errno != EEXIST)) {
        fprintf(stderr, "fault_kill: %s: %s\n", run.dir, strerror(errno));
        return 2;
    }
    printf("fault_kill --rounds %" PRIu32 " --seed %" PRIu64 " --rate %" PRIu32 "%s repeats this run\n", run.rounds,
           run.seed, run.rate, run.only_fourth ? " --only-fourth" : "");
    fflush(stdout);
    if (stage_init(&run.stage, run.dir, "fault") == 0 && stage_start(&run.stage, run.rate, run.seed)) {
        run_all(&run);
    } else {
        run.failed++;
    }
    stage_stop(&run.stage);
    if (run.failed > 0 || run.keep) {
        printf("files of this run are kept in %s\n", run.dir);
    } else {
        mq_dir_remove(run.dir);
    }
    free(run.failovers);
    printf("fault_kill: %d passed, %d failed\n", run.passed, run.failed);
    return run.failed == 0 ? 0 : 1;
}
