/* What a raft log tells its owner. All calls come on the loop's thread, never from inside a call into the log. */
#ifndef RAFTLOG_FSM_H
#define RAFTLOG_FSM_H

#include <stdbool.h>
#include <stdint.h>

/* A committed entry. Pointers are valid until the call returns. */
struct rlog_entry {
    uint64_t index;
    uint64_t term;
    uint64_t pos;     /* commit log position of payload[0], the same on every replica */
    int64_t clock_ms; /* the leader's wall clock when it built the entry */
    int64_t store_ms; /* max(clock_ms, store_ms of the entry before): never falls */
    const uint8_t *payload;
    uint32_t payload_bytes; /* without padding */
    uint32_t records;       /* the proposer's two counts */
    uint32_t items;
};

enum rlog_role_kind {
    RLOG_FOLLOWER, /* also while no leader is known */
    RLOG_CANDIDATE,
    RLOG_LEADING, /* elected, own-term barrier not yet applied: may not propose */
    RLOG_WRITABLE /* leader whose state holds everything committed before its term */
};

struct rlog_role {
    enum rlog_role_kind kind;
    uint64_t term;
    uint32_t leader; /* member id, 0 when unknown; self when leading */
};

struct rlog_fsm {
    void *data; /* owner's */
    /* Every command entry once, in index order, after it is committed and durable here; at start also all those
     * whose commitment the log itself proves. Must not fail. */
    void (*apply)(struct rlog_fsm *fsm, const struct rlog_entry *entry);
    /* The role, the term or the known leader changed. Outstanding proposals have been answered when it says that
     * leadership is gone. */
    void (*role)(struct rlog_fsm *fsm, const struct rlog_role *role);
    /* This node's disk finished a write, or a bound on work in flight opened again: a good moment to propose. */
    void (*room)(struct rlog_fsm *fsm);
};

#endif
