/* What a run is made of: everything that its seed draws before it begins. */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#define NODES_MAX 7

struct plan {
    uint64_t seed;
    uint32_t nodes;  /* at the founding: 3 or 5, rarely 4 */
    uint32_t spares; /* machines that may become members; 0: the group stays as it is */
    uint32_t election_ms, heartbeat_ms;
    uint64_t segment_bytes;
    uint32_t queue_file_units; /* of a file of a consume queue */
    uint32_t inflight_entries_max;
    uint64_t snapshot_bytes, snapshot_ms; /* 0: as the log has it, which is seldom */
    uint64_t inflight_bytes_max;
    uint64_t scrub_bytes_per_s; /* 0: off */
    uint32_t flush_ms;          /* 0: entries count when they are synced */
    uint32_t lost_last;       /* so many members, or all, lose their power at once in the end: only where entries are
                                 flushed late */
    uint64_t log_bytes_max;   /* above it segments go; 0: none */
    uint32_t retention_s;     /* how often that is looked at */
    uint32_t retention_batch; /* segments that go at once, at most */
    /* disks and links, on a good day */
    uint64_t sync_min_ns, sync_max_ns;
    uint32_t disk_stall_ppm;
    uint64_t disk_stall_max_ns;
    uint32_t writeback_ppm;
    uint64_t link_min_ns, link_max_ns;
    uint32_t link_stall_ppm;
    uint64_t link_stall_max_ns;
    /* clients */
    uint32_t clients;
    uint32_t depth;    /* operations that a client has under way at most */
    uint32_t think_ms; /* mean, between an outcome and the next operation */
    uint32_t body_max; /* bytes of a message */
    uint32_t batch_max;
    uint32_t waiting_percent; /* of single messages: delayed, or for a time */
    uint32_t half_percent;    /* of the others: halves of transactions, or ends of them */
    uint32_t back_percent;    /* of the others: a message that was sent comes back instead */
    uint32_t pop_percent;     /* of the rest: pops instead, and what becomes of them */
    uint32_t order_percent;   /* of what is left: pops in order */
    /* faults */
    bool faults[64]; /* by enum fault_kind: those that this seed uses */
    uint32_t fault_gap_ms;
    uint64_t faults_until_ns; /* a run goes on with faults until then, and until there were ... */
    uint32_t faults_min;
    uint64_t commits_min; /* a run goes on without faults until there are so many */
};

/* Draws everything from the seed. */
void plan_draw(struct plan *plan, uint64_t seed);
void plan_print(const struct plan *plan);

#endif
