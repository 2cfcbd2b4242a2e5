/* Three real raft-log nodes in the world: they found a group, elect, commit, and survive a kill -9, a power failure
 * and a partition. Prints the hash of the trace: the same for the same seed, in every build.
 *
 *   sim_smoke [seed [seconds]] [--trace] */
#include "raft-log/include/raftlog/raftlog.h"
#include "remoting/base/assert.h"
#include "remoting/base/buf.h"
#include "tests/sim/world/machine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NODES 3
#define SEGMENT_BYTES (128u << 10)
#define PROPOSE_MS 50
#define NUMBERS_MAX 1000000u

int __real_clock_gettime(clockid_t id, struct timespec *out);

struct node {
    struct machine *machine;
    struct process *process;
    char address[32];
    uint32_t id;
    /* Of the running process: */
    struct net_loop loop;
    struct rlog *log;
    struct rlog_fsm fsm;
    struct rlog_role role;
    uv_timer_t timer;
    uint64_t applied; /* commands so far */
};

static struct node nodes[NODES];
static struct rlog_member members[NODES];
/* What was applied first anywhere, by command number; and how far each number was acknowledged. */
static uint64_t *agreed;
static uint64_t n_agreed, next_number, acknowledged;

struct attempt {
    struct rlog_proposal proposal;
    uint64_t number;
};

static void on_proposed(struct rlog_proposal *proposal, int status)
{
    struct attempt *attempt = container_of(proposal, struct attempt, proposal);

    acknowledged += status == 0;
    free(attempt);
}

static void on_apply(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    struct node *node = fsm->data;
    uint64_t number;

    memcpy(&number, entry->payload, sizeof(number));
    if (node->applied == n_agreed) {
        MQ_ASSERT(n_agreed < NUMBERS_MAX);
        agreed[n_agreed++] = number;
    } else if (agreed[node->applied] != number) {
        world_fail("node %" PRIu32 " applies %" PRIu64 " as command %" PRIu64 ", another one %" PRIu64, node->id,
                   number, node->applied, agreed[node->applied]);
    }
    node->applied++;
}

static void on_role(struct rlog_fsm *fsm, const struct rlog_role *role)
{
    ((struct node *)fsm->data)->role = *role;
}

static void on_room(struct rlog_fsm *fsm)
{
    (void)fsm;
}

static void propose(struct node *node)
{
    uint64_t number = ++next_number;
    struct rlog_blob *blob;
    struct attempt *attempt;

    if (rlog_can_propose(node->log) != 0 || rlog_blob_new(node->log, 200, &blob) != 0) {
        return;
    }
    attempt = calloc(1, sizeof(*attempt));
    attempt->number = number;
    memset(rlog_blob_payload(blob), (int)number, 200);
    memcpy(rlog_blob_payload(blob), &number, sizeof(number));
    blob->payload_bytes = 200;
    if (rlog_propose(node->log, blob, (int64_t)(world_now() / NS_PER_MS), 1, 0, &attempt->proposal, on_proposed) !=
        0) {
        net_ref_release(&blob->ref);
        free(attempt);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct node *node = container_of(timer, struct node, timer);

    if (node->role.kind == RLOG_WRITABLE) {
        propose(node);
    }
}

static int node_main(void *data)
{
    struct node *node = data;
    struct mq_buf problem = {0};
    struct rlog_options options = {
        .dir = "/data",
        .group = "g",
        .self = node->id,
        .members = members,
        .n_members = NODES,
        .segment_bytes = SEGMENT_BYTES,
        .disk = disk_table(machine_disk(node->machine)),
    };

    node->applied = 0;
    node->role = (struct rlog_role){0};
    node->fsm = (struct rlog_fsm){node, on_apply, on_role, on_room};
    if (net_loop_init(&node->loop) != 0) {
        return 2;
    }
    if (rlog_open(&node->loop, &options, &node->fsm, &node->log, &problem) != 0) {
        world_fail("node %" PRIu32 " does not open: %.*s", node->id, (int)problem.len, (const char *)problem.base);
    }
    if (rlog_replay(node->log, &problem) != 0 || rlog_start(node->log, &problem) != 0) {
        world_fail("node %" PRIu32 " does not start: %.*s", node->id, (int)problem.len, (const char *)problem.base);
    }
    uv_timer_init(&node->loop.uv, &node->timer);
    uv_timer_start(&node->timer, on_timer, PROPOSE_MS, PROPOSE_MS);
    net_loop_run(&node->loop);
    return 0;
}

static void start(struct node *node)
{
    node->process = process_start(node->machine, machine_name(node->machine), node_main, node);
}

static struct node *leader(void)
{
    for (int i = 0; i < NODES; i++) {
        if (process_alive(nodes[i].process) && nodes[i].role.kind == RLOG_WRITABLE) {
            return &nodes[i];
        }
    }
    return &nodes[0];
}

static void set_up(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        struct node *node = &nodes[i];
        char name[8], ip[16];

        snprintf(name, sizeof(name), "n%u", i + 1);
        snprintf(ip, sizeof(ip), "10.0.0.%u", i + 1);
        snprintf(node->address, sizeof(node->address), "%s:10911", ip);
        node->id = i + 1;
        members[i] = (struct rlog_member){node->id, node->address};
        node->machine = machine_new(name, ip);
        *disk_manner(machine_disk(node->machine)) = (struct disk_manner){
            .write_min_ns = 2 * NS_PER_US,
            .write_max_ns = 20 * NS_PER_US,
            .sync_min_ns = 100 * NS_PER_US,
            .sync_max_ns = 2 * NS_PER_MS,
            .stall_ppm = 2000,
            .stall_max_ns = 100 * NS_PER_MS,
            .writeback_ppm = 50000,
        };
    }
    for (int i = 0; i < NODES; i++) {
        start(&nodes[i]);
    }
}

static void cut_off(struct node *node, bool cut)
{
    for (int i = 0; i < NODES; i++) {
        if (&nodes[i] != node) {
            (cut ? link_cut : link_heal)(net_link(node->machine, nodes[i].machine));
            (cut ? link_cut : link_heal)(net_link(nodes[i].machine, node->machine));
        }
    }
}

/* One round of faults, @step of twelve seconds. */
static void fault(int step)
{
    static struct node *hit;

    switch (step % 6) {
    case 0:
        hit = leader();
        process_kill(hit->process);
        break;
    case 1:
        start(hit);
        break;
    case 2:
        hit = leader();
        machine_power_off(hit->machine);
        break;
    case 3:
        machine_power_on(hit->machine);
        start(hit);
        break;
    case 4:
        hit = leader();
        cut_off(hit, true);
        break;
    default:
        cut_off(hit, false);
        break;
    }
}

static uint64_t real_ns(void)
{
    struct timespec now;

    __real_clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static bool run(uint64_t seconds)
{
    set_up();
    for (uint64_t s = 2, step = 0; s <= seconds; s += 2, step++) {
        if (!world_run_until(s * NS_PER_S)) {
            return false;
        }
        if (s >= 4 && s + 8 <= seconds) {
            fault((int)(step - 1));
        } else if (s + 8 > seconds && s + 6 <= seconds) {
            cut_off(&nodes[0], false);
            cut_off(&nodes[1], false);
            cut_off(&nodes[2], false);
            for (int i = 0; i < NODES; i++) {
                machine_power_on(nodes[i].machine);
                if (!process_alive(nodes[i].process)) {
                    start(&nodes[i]);
                }
            }
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t seconds = argc > 2 ? strtoull(argv[2], NULL, 10) : 120;
    uint64_t begun = real_ns(), took;
    bool ok;

    if (argc > 3 && strcmp(argv[3], "--trace") == 0) {
        world_trace_to(stderr);
    }
    agreed = calloc(NUMBERS_MAX, sizeof(agreed[0]));
    world_open(seed);
    ok = run(seconds);
    took = real_ns() - begun;
    for (int i = 0; i < NODES && ok; i++) {
        if (nodes[i].applied != n_agreed) {
            printf("node %d applied %" PRIu64 " of %" PRIu64 "\n", i + 1, nodes[i].applied, n_agreed);
        }
    }
    if (!ok) {
        world_trace_print(stdout, 60);
        printf("seed %" PRIu64 ": %s\n", seed, world_failure());
    }
    printf("seed %" PRIu64 " hash %016" PRIx64 " events %" PRIu64 " applied %" PRIu64 " acknowledged %" PRIu64 "\n",
           seed, world_trace_hash(), world_events(), n_agreed, acknowledged);
    fprintf(stderr, "cpu %.3f s, %.0f times real time\n", (double)took / 1e9, (double)seconds * 1e9 / (double)took);
    free(agreed);
    world_close();
    return ok ? 0 : 1;
}
