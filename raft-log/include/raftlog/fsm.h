/* What a raft log tells its owner. All calls come on the loop's thread, never from inside a call into the log. */
#ifndef RAFTLOG_FSM_H
#define RAFTLOG_FSM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mq_buf;

/* A committed entry. Pointers are valid until the call returns. */
struct rlog_entry {
    uint64_t index;
    uint64_t term;
    uint64_t pos;     /* commit log position of payload[0], the same on every replica */
    int64_t clock_ms; /* the leader's wall clock when it built the entry */
    int64_t store_ms; /* max(clock_ms, store_ms of the entry before): never falls */
    const uint8_t *payload;
    uint32_t payload_bytes; /* without padding */
    uint32_t payload_crc;   /* CRC-32C of the payload as it was proposed, for an owner who finds that it cannot be; 0:
                               not   known */
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

/* The owner's state in parts, each with a version of its own. */
#define RLOG_SECTIONS_MAX 32

struct rlog_section {
    uint16_t id;      /* 1 to 65535, the same for ever */
    uint16_t version; /* of the rows it is written in */
    uint32_t level;   /* feature level of the group from which on members read this version */
    uint64_t hash;    /* of what it holds: equal on all members at the same index */
    const char *name; /* for people; static, NULL where it came from a file */
};

/* Where a snapshot's rows go. Takes a copy of whole rows of a section, @n bytes of them, at most RLOG_ROWS_MAX.
 * Returns 0 or MQ_ENOMEM, after which the snapshot is given up (the owner hears of it by snapshot_end). */
struct rlog_sink;
#define RLOG_ROWS_MAX (4u << 20)
int rlog_sink_put(struct rlog_sink *sink, uint16_t section, const void *rows, size_t n);
/* The owner cannot put what it has to: the snapshot is given up with @status. */
void rlog_sink_fail(struct rlog_sink *sink, int status);

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

    /* Snapshots. An owner without state leaves all of the following NULL: none is taken then, and a directory that
     * has one is refused.
     *
     * Taking one: sections; snapshot_begin; snapshot_more again and again until it returns 0; checkpoint_work;
     * snapshot_end. Meanwhile entries go on being applied, but what the snapshot holds is the state as of
     * snapshot_begin: a row that is about to change and was not written yet is put first in its old form, also
     * from inside apply. @sink is borrowed until snapshot_end. */

    /* Fills @out, ascending by id, with the sections as they are now. In O(sections). Returns how many, at most
     * RLOG_SECTIONS_MAX. */
    uint32_t (*sections)(struct rlog_fsm *fsm, struct rlog_section *out);
    void (*snapshot_begin)(struct rlog_fsm *fsm, struct rlog_sink *sink);
    /* Puts some rows, not more than takes 100 us. Returns 1, or 0 when every row has been put. */
    int (*snapshot_more)(struct rlog_fsm *fsm);
    /* On a thread of the pool, between the last row and the snapshot's counting: makes durable what the owner keeps
     * beside the log and will not want to derive again from what lies below @index. May be NULL. Returns 0, or a
     * negative code: the snapshot is given up. @crc: of the header of entry @index. */
    int (*checkpoint_work)(struct rlog_fsm *fsm, uint64_t index, uint32_t crc);
    /* @status 0: the snapshot is on the disk and was read back. Else it was given up, at any point since the begin.
     */
    void (*snapshot_end)(struct rlog_fsm *fsm, int status);

    /* Loading one, in a piece: before rlog_replay applies the first entry, or later, when a leader has sent one:
     * then restore_begin drops everything that was applied. restore_rows gets what was put, in the same pieces or
     * joined ones. All return 0, or a negative code with a line in @problem: MQ_EVERSION for a section or a version
     * that this program does not know, naming the feature level that it needs; MQ_EBADMSG for rows that do not
     * decode. @entry: the last one that the snapshot stands for, without payload; its pos is the place behind it. */
    int (*restore_begin)(struct rlog_fsm *fsm, const struct rlog_entry *entry, uint32_t crc,
                         const struct rlog_section *sections, uint32_t n, struct mq_buf *problem);
    int (*restore_rows)(struct rlog_fsm *fsm, uint16_t section, const uint8_t *rows, size_t n,
                        struct mq_buf *problem);
    int (*restore_end)(struct rlog_fsm *fsm, struct mq_buf *problem);

    /* Entries below those that the owner has seen, each the one in front, newest first: a snapshot stood for them.
     * Changes no state; what is derived from records takes it in. Entries that are no commands come without payload.
     * held_from says which is the first that needs no seeing. Both or none. */
    void (*apply_before)(struct rlog_fsm *fsm, const struct rlog_entry *entry);
    uint64_t (*held_from)(struct rlog_fsm *fsm);
};

#endif
