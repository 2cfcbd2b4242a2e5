/* Cuts the power of nodes of a group of three under load and accounts for every message. Each node's store lies on a
 * disk image of its own (disk_image.h). A round:
 *
 *   load -> stop the processes at one instant -> cut the power of their disks -> SIGKILL -> mount what reached the
 *   disks -> start -> pause the load -> wait until all are level -> check (tests/fault/check.h) -> go on
 *
 * Every node in most rounds, one or two of them in the others. The processes are stopped first so that none can
 * acknowledge between two cuts what the first one took. In three of four rounds each node stands in the middle of an
 * fdatasync then (call_gate.c), and of what it had written for it only some sectors are on its disk afterwards
 * (torn.h). With --async entries are acknowledged before they are synced, and each round cuts one node, which comes
 * back with another boot id. A file that was written and never synced lies on each of the disks: where it survives a
 * cut, the cut was none, and the round fails. */
#include "remoting/base/clock.h"
#include "remoting/base/file.h"
#include "tests/fault/stage.h"
#include "tests/raft-log/disk_image.h"
#include "tests/raft-log/torn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODES 3u
#define ROUNDS_DEFAULT 6
#define ROUNDS_MAX 10000
#define PARTLY 3 /* after so many cuts of all, one of some */
#define RATE_DEFAULT 2500
#define IMAGE_BYTES (8ull << 30) /* sparse */
#define ACK_MS 20000u
#define STOP_MS 2000u
#define HOLD_MS 500u   /* for a node to come to its next fdatasync */
#define DELAY_MS "250" /* and this long it waits in the one before */
#define PLAIN 4        /* every so many rounds the cut is not in the middle of a sync */
#define CONTROL_BYTES 65536

struct node {
    struct disk_image disk;
    char log_dir[PATH_MAX], report[PATH_MAX], hold[PATH_MAX], boot[PATH_MAX];
    const char *through[CLUSTER_THROUGH_MAX];
    struct torn_write *unsynced; /* owned */
};

struct run {
    uint32_t rounds, rate;
    uint64_t seed, random;
    bool keep, async;
    uint32_t boots;
    char dir[PATH_MAX / 4];
    char gate[PATH_MAX];
    struct node nodes[NODES];
    struct stage stage;
    uint64_t torn, cuts;     /* torn tails that nodes cut off; power cuts of single nodes */
    uint64_t sectors, given; /* unsynced ones at the cuts; those of them that were on the disk afterwards */
    int passed, failed;
};

static uint32_t between(struct run *run, uint32_t low, uint32_t high)
{
    run->random ^= run->random << 13;
    run->random ^= run->random >> 7;
    run->random ^= run->random << 17;
    return low + (uint32_t)(run->random >> 11) % (high - low + 1);
}

/* --- the control: a program that does not sync --- */

static int control_open(const struct run *run, uint32_t i, const char *name, int flags)
{
    char path[PATH_MAX + 16];

    snprintf(path, sizeof(path), "%s/%s", run->nodes[i].disk.dir, name);
    return open(path, flags | O_CLOEXEC, 0644);
}

static bool control_remove(const struct run *run, uint32_t i, const char *name)
{
    char path[PATH_MAX + 16];

    snprintf(path, sizeof(path), "%s/%s", run->nodes[i].disk.dir, name);
    return unlink(path) == 0 || errno == ENOENT;
}

static bool control_write(const struct run *run, uint32_t i, const char *name, bool sync)
{
    static const char bytes[CONTROL_BYTES] = {1};
    /* Never a file that was there before: the file system writes back at once what replaces something. */
    int fd = control_remove(run, i, name) ? control_open(run, i, name, O_RDWR | O_CREAT | O_EXCL) : -1;
    bool ok = fd >= 0 && write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) && (!sync || fsync(fd) == 0);

    if (!ok) {
        fprintf(stderr, "%s/%s: %s\n", run->nodes[i].disk.dir, name, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static int64_t control_bytes(const struct run *run, uint32_t i, const char *name)
{
    int fd = control_open(run, i, name, O_RDONLY);
    struct stat st = {0};

    if (fd >= 0) {
        fstat(fd, &st);
        close(fd);
    }
    return st.st_size;
}

/* What was synced is there, what was not is gone. */
static bool control_check(const struct run *run, uint32_t i)
{
    int64_t kept = control_bytes(run, i, "synced"), lost = control_bytes(run, i, "unsynced");

    if (kept != CONTROL_BYTES || lost != 0) {
        fprintf(stderr,
                "  BROKEN the power of n%" PRIu32 " was not cut: of %d synced bytes %" PRId64
                " are there, of as many unsynced ones %" PRId64 "\n",
                i, CONTROL_BYTES, kept, lost);
        return false;
    }
    return true;
}

/* --- one round --- */

/* Whether every thread of the process stands still: stopped, or waiting for the disk. */
static bool stands_still(pid_t pid)
{
    char path[64], text[512];
    struct dirent *entry;
    bool still = true;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    dir = opendir(path);
    while (dir != NULL && still && (entry = readdir(dir)) != NULL) {
        const char *state = NULL;
        FILE *file;

        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/stat", (int)pid, entry->d_name);
        file = fopen(path, "r");
        if (file != NULL) {
            state = fgets(text, sizeof(text), file) != NULL ? strrchr(text, ')') : NULL;
            fclose(file);
        }
        still = state == NULL || strchr("TDZ", state[2]) != NULL;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return still;
}

static bool stop(struct run *run, const bool *chosen)
{
    uint64_t until_ms = mq_clock_mono_ms() + STOP_MS;

    for (uint32_t i = 0; i < NODES; i++) {
        if (chosen[i] && process_signal(&run->stage.cluster.nodes[i].process, SIGSTOP) != 0) {
            fprintf(stderr, "  BROKEN n%" PRIu32 " has ended by itself\n", i);
            return false;
        }
    }
    for (uint32_t i = 0; i < NODES; i++) {
        while (chosen[i] && !stands_still(run->stage.cluster.nodes[i].process.pid)) {
            if (mq_clock_mono_ms() >= until_ms) {
                fprintf(stderr, "  BROKEN n%" PRIu32 " cannot be stopped\n", i);
                return false;
            }
            usleep(100);
        }
    }
    return true;
}

static bool file_make(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    return fd >= 0 && close(fd) == 0;
}

static bool is_held(const struct node *node)
{
    FILE *file = fopen(node->report, "r");
    char line[512];
    bool held = false;

    while (file != NULL && !held && fgets(line, sizeof(line), file) != NULL) {
        held = strncmp(line, "held log/", 9) == 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return held;
}

/* From now on the nodes' syncs do not end. A node that has nothing to sync is not waited for long. */
static void hold_syncs(struct run *run, const bool *chosen)
{
    uint64_t until_ms = mq_clock_mono_ms() + HOLD_MS;

    for (uint32_t i = 0; i < NODES; i++) {
        if (chosen[i]) {
            file_make(run->nodes[i].hold);
        }
    }
    for (uint32_t i = 0; i < NODES; i++) {
        while (chosen[i] && !is_held(&run->nodes[i]) && mq_clock_mono_ms() < until_ms) {
            test_sleep_ms(1);
        }
    }
}

static bool cut_power(struct run *run, const bool *chosen, bool in_sync)
{
    bool ok = true;

    for (uint32_t i = 0; i < NODES; i++) {
        ok = (!chosen[i] || control_write(run, i, "unsynced", false)) && ok;
    }
    if (ok && in_sync) {
        hold_syncs(run, chosen);
    }
    ok = ok && stop(run, chosen);
    for (uint32_t i = 0; i < NODES && ok && in_sync; i++) {
        run->nodes[i].unsynced = chosen[i] ? torn_take(run->nodes[i].report, run->nodes[i].log_dir) : NULL;
    }
    for (uint32_t i = 0; i < NODES && ok; i++) {
        ok = !chosen[i] || disk_image_cut(&run->nodes[i].disk) == 0;
    }
    for (uint32_t i = 0; i < NODES; i++) {
        if (chosen[i]) {
            process_kill(&run->stage.cluster.nodes[i].process);
        }
    }
    return ok;
}

/* The id of the boot that the node is in from its next start on. */
static void write_boot(struct run *run, uint32_t i)
{
    FILE *file = fopen(run->nodes[i].boot, "w");

    if (file != NULL) {
        fprintf(file, "00000000-0000-0000-0000-%012" PRIu32 "\n", ++run->boots);
        fclose(file);
    }
}

/* Puts back what the disk had taken of an unfinished sync. */
static bool tear(struct run *run, struct node *node)
{
    uint64_t sectors;
    int64_t given = torn_give(node->unsynced, node->log_dir, (uint64_t)between(run, 1, UINT32_MAX - 1), &sectors);

    node->unsynced = NULL;
    if (given < 0) {
        fprintf(stderr, "%s: %s\n", node->log_dir, strerror((int)-given));
        return false;
    }
    run->sectors += sectors;
    run->given += (uint64_t)given;
    return true;
}

static bool power_on(struct run *run, const bool *chosen)
{
    bool ok = true;

    for (uint32_t i = 0; i < NODES; i++) {
        if (!chosen[i]) {
            continue;
        }
        ok = disk_image_unmount(&run->nodes[i].disk) == 0 && disk_image_mount(&run->nodes[i].disk) == 0 &&
             control_check(run, i) && tear(run, &run->nodes[i]) && control_write(run, i, "synced", true) && ok;
        unlink(run->nodes[i].hold);
        unlink(run->nodes[i].report);
        write_boot(run, i);
        run->cuts++;
    }
    return ok;
}

static bool start(struct run *run, const bool *chosen)
{
    bool ok = true;

    for (uint32_t i = 0; i < NODES; i++) {
        struct process *process = &run->stage.cluster.nodes[i].process;

        if (chosen[i] && cluster_start_node(&run->stage.cluster, i) < 0) {
            fprintf(stderr, "  BROKEN n%" PRIu32 " does not start: see the end of %s\n", i, process->log);
            ok = false;
        } else if (chosen[i] && process_wait_text(process, "torn tail", 0) >= 0) {
            run->torn++;
        }
    }
    return ok;
}

/* Who is cut: all, or one, or two. */
static void choose(struct run *run, bool all, bool *chosen)
{
    uint32_t first = between(run, 0, NODES - 1);
    uint32_t n = run->async ? 1 : all ? NODES : between(run, 1, 2);

    for (uint32_t k = 0; k < NODES; k++) {
        chosen[(first + k) % NODES] = k < n;
    }
}

static bool run_round(struct run *run, bool all, uint32_t number)
{
    uint64_t begun_ms = mq_clock_mono_ms();
    bool chosen[NODES], ok;
    struct account *account;
    int64_t back_ms = -1;

    load_resume(run->stage.load);
    test_sleep_ms(between(run, 50, 1500));
    choose(run, all, chosen);
    ok = cut_power(run, chosen, number % PLAIN != 0) && power_on(run, chosen);
    load_mark(run->stage.load);
    ok = ok && start(run, chosen);
    if (ok) {
        back_ms = load_wait_ack(run->stage.load, ACK_MS);
        ok = back_ms >= 0;
        fputs(ok ? "" : "  BROKEN no send is acknowledged after the power came back\n", stderr);
    }
    ok = ok && check_run(&run->stage.check, false) == 0;
    account = load_lock(run->stage.load);
    printf("%s round %2" PRIu32 " power cut of%s%s%s, back after %" PRId64 " ms; %" PRIu64 " acknowledged, %" PRIu64
           " unknown, %" PRIu64 " torn tails so far; %.1f s\n",
           ok ? "PASS" : "FAIL", number, chosen[0] ? " n0" : "", chosen[1] ? " n1" : "", chosen[2] ? " n2" : "",
           back_ms, account->acked, account->unknown, run->torn, (double)(mq_clock_mono_ms() - begun_ms) / 1000);
    load_unlock(run->stage.load);
    fflush(stdout);
    return ok;
}

static void run_all(struct run *run)
{
    uint32_t number = 0;
    bool ok = true;

    for (uint32_t i = 1; i <= run->rounds && ok; i++) {
        ok = run_round(run, true, ++number);
        run->passed += ok;
        if (ok && i % PARTLY == 0) {
            ok = run_round(run, false, ++number);
            run->passed += ok;
        }
    }
    if (ok) {
        ok = check_run(&run->stage.check, true) == 0;
        printf("%s everything once more from the beginning, on every node\n", ok ? "PASS" : "FAIL");
        run->passed += ok;
    }
    run->failed += !ok;
    printf("%" PRIu64 " times a node lost its power, and what was not synced with it; %" PRIu64
           " of its logs had a torn tail; %" PRIu64 " of %" PRIu64 " unsynced sectors had reached the disk\n",
           run->cuts, run->torn, run->given, run->sectors);
}

/* --- set-up --- */

/* Each node starts through the gate. */
static void make_gate(struct run *run, uint32_t i)
{
    struct node *node = &run->nodes[i];
    const char *const words[] = {run->gate,  "--dir",   node->log_dir, "--report", node->report, "--hold",
                                 node->hold, "--delay", DELAY_MS,      "--boot",   node->boot,   "--"};

    snprintf(run->gate, sizeof(run->gate), "%s/../test-bin/call_gate", run->stage.cluster.bin);
    snprintf(node->log_dir, sizeof(node->log_dir), "%.4000s/raftlog", run->stage.cluster.nodes[i].dir);
    snprintf(node->report, sizeof(node->report), "%s/n%" PRIu32 ".calls", run->dir, i);
    snprintf(node->hold, sizeof(node->hold), "%s/n%" PRIu32 ".hold", run->dir, i);
    snprintf(node->boot, sizeof(node->boot), "%s/n%" PRIu32 ".boot", run->dir, i);
    write_boot(run, i);
    memcpy(node->through, words, sizeof(words));
    run->stage.cluster.nodes[i].through = node->through;
}

static bool set_async(const struct run *run, uint32_t i)
{
    char path[PATH_MAX];
    FILE *file;

    snprintf(path, sizeof(path), "%s/n%" PRIu32 ".conf", run->dir, i);
    file = fopen(path, "a");
    return file != NULL && fputs("flushDiskType=ASYNC_FLUSH\n", file) >= 0 && fclose(file) == 0;
}

static bool make_disks(struct run *run)
{
    for (uint32_t i = 0; i < NODES; i++) {
        make_gate(run, i);
        if (run->async && !set_async(run, i)) {
            return false;
        }
        if (disk_image_make(&run->nodes[i].disk, run->stage.cluster.nodes[i].dir, IMAGE_BYTES) != 0 ||
            disk_image_mount(&run->nodes[i].disk) != 0 || !control_write(run, i, "synced", true)) {
            return false;
        }
    }
    return true;
}

static uint64_t number_of(const char *text, uint64_t max)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);

    if (*text == '\0' || *end != '\0' || n == 0 || n > max) {
        fprintf(stderr, "power_cut: \"%s\" is not a number from 1 to %" PRIu64 "\n", text, max);
        exit(2);
    }
    return n;
}

static void usage(FILE *to)
{
    fputs("usage: power_cut --dir DIR [--rounds N] [--seed N] [--rate N] [--keep]\n"
          "  --dir DIR   where images, mounts and logs go; removed when all is well\n"
          "  --rounds N  power cuts of all nodes; default 6. After every third one one or two nodes are cut\n"
          "  --seed N    repeats the choices of an earlier run\n"
          "  --rate N    messages a second; default 2500\n"
          "  --async     flushDiskType=ASYNC_FLUSH, and one node at a time\n"
          "  --keep      keeps the files also when all is well\n",
          to);
}

static void parse(int argc, char **argv, struct run *run)
{
    static const struct option longs[] = {
        {"rounds", required_argument, NULL, 'r'}, {"seed", required_argument, NULL, 's'},
        {"rate", required_argument, NULL, 'm'},   {"dir", required_argument, NULL, 'd'},
        {"keep", no_argument, NULL, 'k'},         {"async", no_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'h'},         {0},
    };
    int c;

    run->rounds = ROUNDS_DEFAULT;
    run->rate = RATE_DEFAULT;
    run->seed = mq_clock_mono_ns() % 1000000 + 1;
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
        case 'a':
            run->async = true;
            break;
        case 'k':
            run->keep = true;
            break;
        default:
            usage(c == 'h' ? stdout : stderr);
            exit(c == 'h' ? 0 : 2);
        }
    }
    if (run->dir[0] == '\0' || optind != argc) {
        usage(stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static struct run run;
    char *absolute;

    parse(argc, argv, &run);
    run.random = run.seed * 0x9E3779B97F4A7C15u | 1;
    if (geteuid() != 0) {
        fputs("power_cut: needs root: it mounts disk images\n", stderr);
        return 2;
    }
    if ((mkdir(run.dir, 0755) != 0 && errno != EEXIST) || (absolute = realpath(run.dir, NULL)) == NULL) {
        fprintf(stderr, "power_cut: %s: %s\n", run.dir, strerror(errno));
        return 2;
    }
    snprintf(run.dir, sizeof(run.dir), "%s", absolute);
    free(absolute);
    printf("power_cut --rounds %" PRIu32 " --seed %" PRIu64 " --rate %" PRIu32 " repeats this run's choices\n",
           run.rounds, run.seed, run.rate);
    fflush(stdout);
    if (stage_init(&run.stage, run.dir, "power") == 0 && make_disks(&run) &&
        stage_start(&run.stage, run.rate, run.seed)) {
        run_all(&run);
    } else {
        run.failed++;
    }
    stage_stop(&run.stage);
    for (uint32_t i = 0; i < NODES; i++) {
        disk_image_unmount(&run.nodes[i].disk);
    }
    if (run.failed > 0 || run.keep) {
        printf("images and logs of this run are kept in %s\n", run.dir);
    } else {
        mq_dir_remove(run.dir);
    }
    printf("power_cut: %d passed, %d failed\n", run.passed, run.failed);
    return run.failed == 0 ? 0 : 1;
}
