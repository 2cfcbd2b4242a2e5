/* Makes each of the first system calls on the log's directory fail with EIO, one after the other, each on a node of
 * its own: a group of one that starts in an empty directory and takes sends until it dies. A node must
 *
 *   end by itself, with one line that says why, within a second of the failure; and when it is started again, start
 *   cleanly, lead, and hold every message that was acknowledged, and nothing that was never sent
 *
 * It may go on only where what failed was not yet part of the log: a segment that was to be made ahead is made
 * later; a warning says so. Failures and holding of calls: call_gate.c. */
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/record.h"
#include "tests/lib/cluster.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOPIC "IoError"
#define LEADER_MS 5000u
#define LEADER_STEP_MS 20u
#define END_MS 1000u
#define SENDS_MAX 400
#define BODY_BYTES 100000 /* so that a segment is made ahead among the first calls */
#define PULL_COUNT 256u

struct run {
    char dir[PATH_MAX / 8], gate[PATH_MAX / 4], log_dir[PATH_MAX / 4], report[PATH_MAX / 4], number[16];
    const char *through[CLUSTER_THROUGH_MAX];
    struct cluster cluster;
    uint32_t ended, went_on, unreached, failed;
};

struct failure {
    uint64_t at_ms; /* 0: the call was never made */
    char call[32], path[128];
};

static void read_report(const struct run *run, struct failure *out)
{
    FILE *file = fopen(run->report, "r");
    char line[512];

    *out = (struct failure){0};
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        (void)sscanf(line, "failed %*u %31s %127s %" SCNu64, out->call, out->path, &out->at_ms);
    }
    if (file != NULL) {
        fclose(file);
    }
}

/* Lines of the log since the process started that hold @text. */
static uint32_t count_lines(const struct process *process, const char *text)
{
    FILE *file = fopen(process->log, "r");
    char line[1024];
    uint32_t n = 0;

    if (file == NULL || fseek(file, process->log_from, SEEK_SET) != 0) {
        return 0;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        n += strstr(line, text) != NULL;
    }
    fclose(file);
    return n;
}

static void make_body(char *body, int64_t number)
{
    memset(body, '.', BODY_BYTES);
    snprintf(body, BODY_BYTES, "m%" PRId64, number);
}

/* Whether it leads, asked only while it lives. */
static bool comes_to_lead(struct run *run)
{
    uint64_t until_ms = mq_clock_mono_ms() + LEADER_MS;

    while (process_alive(&run->cluster.nodes[0].process) && mq_clock_mono_ms() < until_ms) {
        if (cluster_leader(&run->cluster, LEADER_STEP_MS) >= 0) {
            return true;
        }
    }
    return false;
}

/* Sends one at a time until the node takes no more. Returns how many were acknowledged. */
static int64_t send_until_the_end(struct run *run)
{
    static char body[BODY_BYTES];
    struct wire wire;
    int64_t acked = 0, qoff;

    if (wire_create_topic(run->cluster.nodes[0].port, TOPIC, 1) != 0 ||
        wire_open(&wire, run->cluster.nodes[0].port) != 0) {
        return 0;
    }
    while (acked < SENDS_MAX) {
        make_body(body, acked);
        if (wire_send(&wire, TOPIC, 0, body, BODY_BYTES, &qoff, NULL) != 0) {
            break;
        }
        acked++;
    }
    wire_close(&wire);
    return acked;
}

/* The queue holds the acknowledged messages in order, and at most the one that was under way behind them. */
static bool holds(struct run *run, int64_t acked)
{
    struct proto_command answer;
    static char want[BODY_BYTES];
    struct wire wire;
    int64_t next = 0;
    bool ok = wire_open(&wire, run->cluster.nodes[0].port) == 0;

    while (ok && next < acked) {
        int code = wire_pull(&wire, TOPIC, 0, next, PULL_COUNT, &answer);
        const uint8_t *at = answer.body;
        uint32_t left = answer.body_bytes;

        ok = code == RESP_SUCCESS && left > 0;
        while (ok && left > 0) {
            struct proto_record record;

            make_body(want, next);
            ok = proto_record_decode(at, left, &record) == 0 && record.qoff == next && next <= acked &&
                 record.body.len == BODY_BYTES && memcmp(record.body.at, want, BODY_BYTES) == 0;
            at += ok ? record.record_bytes : 0;
            left -= ok ? record.record_bytes : 0;
            next += ok;
        }
    }
    wire_close(&wire);
    if (!ok) {
        fprintf(stderr, "  of %" PRId64 " acknowledged messages %" PRId64 " are there\n", acked, next);
    }
    return ok;
}

static bool starts_again(struct run *run, int64_t acked)
{
    run->cluster.nodes[0].through = NULL;
    if (cluster_start_node(&run->cluster, 0) < 0 || !comes_to_lead(run)) {
        fprintf(stderr, "  it does not start again and lead\n");
        return false;
    }
    return acked == 0 || holds(run, acked);
}

/* It died of the failure, quickly, and said so once. @end: how, as for a shell. */
static bool died_well(struct process *process, const struct failure *failure, int end, uint64_t now_ms)
{
    uint32_t errors = count_lines(process, " ERROR ");
    uint32_t refusals = count_lines(process, "mqbroker: ");

    if (end != 1 || errors + refusals != 1) {
        fprintf(stderr, "  it ended with status %d and %" PRIu32 " lines that say why\n", end, errors + refusals);
        return false;
    }
    if (now_ms > failure->at_ms + END_MS) {
        fprintf(stderr, "  it ended %" PRIu64 " ms after the failure\n", now_ms - failure->at_ms);
        return false;
    }
    return true;
}

/* Call @number fails. */
static bool try_one(struct run *run, uint32_t number)
{
    struct process *process = &run->cluster.nodes[0].process;
    struct failure failure;
    int64_t acked = 0;
    uint64_t now_ms;
    int end;
    bool ok;

    mq_dir_remove(run->cluster.nodes[0].dir);
    unlink(run->report);
    unlink(process->log);
    snprintf(run->number, sizeof(run->number), "%" PRIu32, number);
    run->cluster.nodes[0].through = run->through;
    if (cluster_launch_node(&run->cluster, 0) == 0 && process_wait_text(process, "mqbroker ready", LEADER_MS) >= 0 &&
        comes_to_lead(run)) {
        acked = send_until_the_end(run);
    }
    end = process_wait(process, acked < SENDS_MAX ? END_MS : 0);
    now_ms = mq_clock_mono_ms();
    read_report(run, &failure);
    if (failure.at_ms == 0) {
        run->unreached++;
        process_kill(process);
        return true;
    }
    if (end >= 0) {
        run->ended++;
        ok = died_well(process, &failure, end, now_ms);
    } else {
        run->went_on++;
        ok = count_lines(process, "made ahead: ") + count_lines(process, "the index of ") > 0;
        fputs(ok ? "" : "  it went on, and said nothing of it\n", stderr);
    }
    process_kill(process);
    ok = ok && starts_again(run, acked);
    process_kill(process);
    if (!ok) {
        printf("FAIL call %" PRIu32 ": EIO of %s %s after %" PRId64 " acknowledged messages\n", number, failure.call,
               failure.path, acked);
    }
    return ok;
}

static void set_up(struct run *run)
{
    const char *const words[] = {run->gate,   "--dir",  run->log_dir, "--report",
                                 run->report, "--fail", run->number,  "--"};

    snprintf(run->gate, sizeof(run->gate), "%.900s/../test-bin/call_gate", cluster_bin_dir());
    snprintf(run->log_dir, sizeof(run->log_dir), "%s/n0/raftlog", run->dir);
    snprintf(run->report, sizeof(run->report), "%s/report", run->dir);
    memcpy(run->through, words, sizeof(words));
}

int main(int argc, char **argv)
{
    static struct run run;
    uint32_t last = argc > 3 ? (uint32_t)atoi(argv[3]) : 0;
    uint32_t step = argc > 4 ? (uint32_t)atoi(argv[4]) : 1;

    if (argc < 4 || last == 0 || step == 0) {
        fputs("usage: io_error DIR FIRST LAST [STEP]     which calls fail, each once\n", stderr);
        return 2;
    }
    if ((mkdir(argv[1], 0755) != 0 && errno != EEXIST) || realpath(argv[1], run.dir) == NULL ||
        cluster_init(&run.cluster, cluster_bin_dir(), run.dir, "io", 1) != 0) {
        fprintf(stderr, "io_error: %s: %s\n", argv[1], strerror(errno));
        return 2;
    }
    set_up(&run);
    for (uint32_t i = (uint32_t)atoi(argv[2]); i <= last; i += step) {
        run.failed += !try_one(&run, i);
    }
    printf("%" PRIu32 " nodes ended at once, %" PRIu32
           " went on without a segment made ahead or an index file, %" PRIu32 " never made the call\n",
           run.ended, run.went_on, run.unreached);
    if (run.failed == 0 && run.unreached == 0 && run.ended > 0) {
        printf("PASS each of the calls %s, %s+%" PRIu32 " ... %" PRIu32 " failed once\n", argv[2], argv[2], step,
               last);
        mq_dir_remove(run.dir);
        return 0;
    }
    if (run.failed == 0) {
        printf("FAIL too few calls were made\n");
    }
    return 1;
}
