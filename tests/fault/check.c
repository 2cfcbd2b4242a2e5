#include "tests/fault/check.h"

#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/record.h"
#include "tests/fault/commits.h"
#include "tests/fault/replica.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PAUSE_MS 15000u
#define LEVEL_MS 20000u
#define READ_MS 15000u
#define PULL_COUNT 1000u
#define LEADER_MS 10000u

static int broken(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Prints and counts one broken promise. */
static int broken(const char *fmt, ...)
{
    va_list args;

    fputs("  BROKEN ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return 1;
}

/* --- the group --- */

/* A node that ended by itself is a fault; it is started again so that the accounting can go on. */
static int revive(struct check *check)
{
    int faults = 0;

    for (uint32_t i = 0; i < check->cluster->n_nodes; i++) {
        struct process *process = &check->cluster->nodes[i].process;

        if (process_alive(process)) {
            continue;
        }
        faults += broken("n%" PRIu32 " has ended by itself with status %d, see %s", i, process_wait(process, 0),
                         process->log);
        if (cluster_start_node(check->cluster, i) < 0) {
            faults += broken("n%" PRIu32 " does not start again", i);
        }
    }
    return faults;
}

static int compare_status(const struct check *check, const struct wire_status *nodes)
{
    int faults = 0;

    for (uint32_t i = 1; i < check->cluster->n_nodes; i++) {
        if (strcmp(nodes[i].state_hash, nodes[0].state_hash) != 0) {
            faults += broken("state hash at entry %" PRIu64 ": n0 %s, n%" PRIu32 " %s", nodes[0].applied_index,
                             nodes[0].state_hash, i, nodes[i].state_hash);
        }
        if (nodes[i].applied_pos != nodes[0].applied_pos) {
            faults += broken("log of %" PRIu64 " entries: n0 ends at %" PRIu64 ", n%" PRIu32 " at %" PRIu64,
                             nodes[0].applied_index, nodes[0].applied_pos, i, nodes[i].applied_pos);
        }
    }
    return faults;
}

/* --- reading --- */

static int ask_ends(const struct check *check, int port, int64_t *ends)
{
    for (uint32_t i = 0; i < check->n_queues; i++) {
        int rc = wire_max_offset(port, check->queues[i].topic, check->queues[i].id, &ends[i]);

        if (rc != 0) {
            return broken("max offset of queue %d of %s: answer %d", (int)check->queues[i].id, check->queues[i].topic,
                          rc);
        }
    }
    return 0;
}

static int take_records(struct check *check, uint16_t number, const struct proto_command *answer, int64_t *next)
{
    struct account *account = load_lock(check->load);
    const uint8_t *at = answer->body;
    uint32_t left = answer->body_bytes;
    int rc = 0;

    while (left > 0 && rc == 0) {
        struct proto_record record;

        rc = proto_record_decode(at, left, &record);
        if (rc == 0 && record.qoff != *next) {
            account_fault(account, ACCOUNT_GAP,
                          "queue %u: read again, offset %" PRId64 " came where %" PRId64 " was due", number,
                          record.qoff, *next);
            rc = MQ_ECORRUPT;
        }
        if (rc == 0) {
            account_read_again(account, number, record.qoff, (const uint8_t *)record.body.at, record.body.len);
            (*next)++;
            at += record.record_bytes;
            left -= record.record_bytes;
        }
    }
    load_unlock(check->load);
    return rc;
}

/* Reads [from, to) of one queue from one node. */
static int read_again(struct check *check, struct wire *wire, uint32_t node, uint16_t number, int64_t from,
                      int64_t to)
{
    const struct load_queue *queue = &check->queues[number];

    while (from < to) {
        struct proto_command answer;
        int code = wire_pull(wire, queue->topic, queue->id, from, PULL_COUNT, &answer);
        int64_t before = from;

        if (code != RESP_SUCCESS || take_records(check, number, &answer, &from) != 0 || from == before) {
            return broken("n%" PRIu32 ": queue %d of %s cannot be read at %" PRId64 " of %" PRId64 ": answer %d",
                          node, (int)queue->id, queue->topic, before, to, code);
        }
    }
    return 0;
}

static int read_node(struct check *check, uint32_t node, const int64_t *from, const int64_t *to)
{
    struct wire wire;
    int faults = 0;

    if (wire_open(&wire, check->cluster->nodes[node].port) != 0) {
        return broken("n%" PRIu32 " takes no connection", node);
    }
    for (uint32_t i = 0; i < check->n_queues && faults == 0; i++) {
        faults += read_again(check, &wire, node, (uint16_t)i, from[i], to[i]);
    }
    wire_close(&wire);
    return faults;
}

/* --- files --- */

static int compare_queues(struct check *check, const struct replica *replicas, uint64_t end_pos, const int64_t *from,
                          const int64_t *to)
{
    int faults = 0;

    for (uint32_t i = 0; i < check->n_queues; i++) {
        uint32_t crcs[CLUSTER_NODES_MAX] = {0};

        for (uint32_t n = 0; n < check->cluster->n_nodes; n++) {
            struct account *account = load_lock(check->load);
            int rc = replica_check_queue(&replicas[n], end_pos, &check->queues[i], (uint16_t)i, (uint64_t)from[i],
                                         (uint64_t)to[i], account, &crcs[n]);

            load_unlock(check->load);
            faults += rc != 0 ? broken("n%" PRIu32 ": consume queue %d of %s", n, (int)check->queues[i].id,
                                       check->queues[i].topic)
                              : 0;
            if (crcs[n] != crcs[0]) {
                faults += broken("consume queue %d of %s: n0 and n%" PRIu32 " differ", (int)check->queues[i].id,
                                 check->queues[i].topic, n);
            }
        }
    }
    return faults;
}

static int compare_files(struct check *check, uint64_t from_pos, uint64_t end_pos, const int64_t *from,
                         const int64_t *to)
{
    struct replica replicas[CLUSTER_NODES_MAX];
    uint32_t n = check->cluster->n_nodes;
    uint32_t opened = 0;
    int faults = 0;

    while (opened < n && replica_open(&replicas[opened], check->cluster->nodes[opened].dir, end_pos) == 0) {
        opened++;
    }
    if (opened < n) {
        faults += broken("n%" PRIu32 ": its segments cannot be read", opened);
    }
    for (uint32_t i = 1; i < n && faults == 0; i++) {
        uint64_t at = replica_difference(&replicas[0], &replicas[i], from_pos, end_pos);

        if (at != end_pos) {
            faults += broken("logs of n0 and n%" PRIu32 " differ at position %" PRIu64, i, at);
        }
    }
    if (faults == 0) {
        faults += compare_queues(check, replicas, end_pos, from, to);
    }
    while (opened > 0) {
        replica_close(&replicas[--opened]);
    }
    return faults;
}

/* --- all of it --- */

static int report_account(struct check *check, bool all)
{
    struct account *account = load_lock(check->load);
    int faults = 0;

    account_settle(account, all || account_faults(account) > 0);
    for (uint32_t i = 0; i < ACCOUNT_FAULTS; i++) {
        if (account->faults[i] > 0) {
            faults += broken("%s: %" PRIu64 " times, first: %s", account_fault_name((enum account_fault)i),
                             account->faults[i], account->first[i]);
        }
    }
    load_unlock(check->load);
    return faults;
}

/* What the group of readers has committed in the first queue, of whoever leads by now: reading everything takes long.
 */
static int check_progress(struct check *check)
{
    uint64_t until_ms = mq_clock_mono_ms() + LEADER_MS;
    int64_t offset = 0;
    int leader, rc;

    do {
        leader = cluster_leader(check->cluster, LEADER_MS);
        if (leader < 0) {
            return broken("there is no leader");
        }
        rc = wire_committed(check->cluster->nodes[leader].port, COMMITS_GROUP, check->queues[0].topic,
                            check->queues[0].id, &offset);
    } while (rc == RESP_SERVICE_NOT_AVAILABLE && mq_clock_mono_ms() < until_ms);
    if (rc != 0 && rc != RESP_QUERY_NOT_FOUND) {
        return broken("the group's offset cannot be asked for: answer %d", rc);
    }
    load_check_commit(check->load, offset);
    return load_commits(check->load) > 0 ? 0 : broken("no offset commit was acknowledged at all");
}

/* What clients see, from the leader or from every node. */
static int check_reads(struct check *check, int leader, bool all, const int64_t *from, int64_t *to)
{
    int faults = ask_ends(check, check->cluster->nodes[leader].port, to);
    struct account *account;

    if (faults > 0) {
        return faults;
    }
    if (!load_wait_read(check->load, to, READ_MS)) {
        faults += broken("the readers do not come to the end of the queues within %u ms", READ_MS);
    }
    account = load_lock(check->load);
    for (uint32_t i = 0; i < check->n_queues; i++) {
        account_end_of_queue(account, (uint16_t)i, to[i]);
    }
    load_unlock(check->load);
    for (uint32_t n = 0; n < check->cluster->n_nodes && faults == 0; n++) {
        if (all || (int)n == leader) {
            faults += read_node(check, n, from, to);
        }
    }
    return faults;
}

int check_run(struct check *check, bool all)
{
    static const int64_t zeros[LOAD_QUEUES_MAX];
    const int64_t *from = all ? zeros : check->ends;
    struct wire_status nodes[CLUSTER_NODES_MAX];
    int64_t to[LOAD_QUEUES_MAX];
    int faults = revive(check);
    int leader, level;

    if (!load_pause(check->load, PAUSE_MS)) {
        faults += broken("sends are without an answer after %u ms", PAUSE_MS);
    }
    level = cluster_wait_level(check->cluster, LEVEL_MS, nodes);
    faults += revive(check);
    leader = cluster_leader(check->cluster, LEADER_MS);
    if (leader < 0) {
        return faults + broken("there is no leader");
    }
    faults += check_reads(check, leader, all, from, to);
    faults += check_progress(check);
    if (level != 0) {
        faults += broken("the nodes are not level after %u ms", LEVEL_MS);
    } else {
        faults += compare_status(check, nodes);
        faults += compare_files(check, all ? 0 : check->end_pos, nodes[0].applied_pos, from, to);
        check->end_pos = nodes[0].applied_pos;
        check->last_index = nodes[0].last_index;
    }
    memcpy(check->ends, to, sizeof(to[0]) * check->n_queues);
    return faults + report_account(check, all);
}
