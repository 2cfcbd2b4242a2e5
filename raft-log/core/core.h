/* Consensus as a machine without I/O: an event goes in; term and vote, entries, messages, commit index come out. The
 * core knows indexes, terms and types, never payloads. It is the only place that knows libraft (core_libraft.c).
 *
 * The driver carries an update out in this order: term and vote durable, truncation, entries to the log, messages to
 * peers, then role, commit index, timer. Errors of libraft become ours here. */
#ifndef RLOG_CORE_CORE_H
#define RLOG_CORE_CORE_H

#include "raft-log/include/raftlog/fsm.h"
#include "raft-log/include/raftlog/raftlog.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct core;

#define CORE_INFLIGHT_ENTRIES_MAX 256

/* A stand-in for an entry. CHANGE entries carry their configuration. */
struct core_entry {
    uint64_t term;
    uint8_t type;          /* enum rlog_entry_type */
    const uint8_t *change; /* borrowed; CHANGE only: encoded membership (member.h) */
    uint32_t change_bytes;
};

enum core_message_type { CORE_APPEND = 1, CORE_APPEND_RESULT, CORE_VOTE, CORE_VOTE_RESULT, CORE_TIMEOUT_NOW };

struct core_message {
    enum core_message_type type;
    uint32_t peer; /* sender of a received message, receiver of one to send */
    uint64_t term;
    union {
        struct {
            uint64_t prev_index, prev_term, commit;
            uint32_t n; /* entries prev_index + 1 ... prev_index + n */
            const struct core_entry
                *entries; /* received: n of them, borrowed. To send: NULL, read them from the log */
        } append;
        struct {
            uint64_t rejected; /* 0: success */
            uint64_t last_index;
        } append_result;
        struct {
            uint64_t last_index, last_term;
            bool disrupt_leader, pre_vote;
        } vote;
        struct {
            bool granted, pre_vote;
        } vote_result;
        struct {
            uint64_t last_index, last_term;
        } timeout_now;
    };
};

/* What has to be carried out. Arrays are the core's and valid until the next call. */
struct core_update {
    bool term_or_vote; /* both are to be made durable before anything else */
    uint64_t term;
    uint32_t vote;
    uint64_t entries_index; /* 0: none. New entries from here on; everything at or above is replaced */
    uint32_t n_entries;
    bool own_barrier; /* the new entry is a barrier that the core itself made: the driver writes it */
    struct core_message *messages;
    uint32_t n_messages;
    bool timeout_changed;
};

struct core_options {
    uint32_t self;
    uint32_t election_ms, heartbeat_ms;
    uint32_t seed; /* of the election timeouts */
};

/* Makes a core. Returns 0 or MQ_ENOMEM. */
int core_new(const struct core_options *options, struct core **out);
void core_free(struct core *core);

/* First event: what is on disk. @entries: all of them from index 1 on, borrowed for the call (the first is a CHANGE).
 */
int core_start(struct core *core, uint64_t now_ms, uint64_t term, uint32_t vote, const struct core_entry *entries,
               size_t n, struct core_update *update);

/* Returns 0, or a negative code with nothing changed. @now_ms is monotonic. */
int core_receive(struct core *core, uint64_t now_ms, const struct core_message *message, struct core_update *update);
int core_submit(struct core *core, uint64_t now_ms, const struct core_entry *entry, struct core_update *update);
int core_timeout(struct core *core, uint64_t now_ms, struct core_update *update);
/* Everything up to @index is durable; @term is the one with which it was written: a notice for an entry that was
 * replaced meanwhile is dropped here. */
int core_persisted(struct core *core, uint64_t now_ms, uint64_t index, uint64_t term, struct core_update *update);
/* A committed CHANGE entry is being applied. */
int core_change_applied(struct core *core, uint64_t now_ms, uint64_t index, const uint8_t *change,
                        uint32_t change_bytes, struct core_update *update);
/* Starts to hand leadership to @peer (0: the most up to date). */
int core_transfer(struct core *core, uint64_t now_ms, uint32_t peer, struct core_update *update);

enum rlog_role_kind core_role(const struct core *core); /* never RLOG_WRITABLE: the driver knows that */
bool core_can_submit(const struct core *core);          /* leader, and not handing leadership over */
uint64_t core_term(const struct core *core);
uint64_t core_commit(const struct core *core);
uint64_t core_last_index(const struct core *core);
uint64_t core_timeout_at(const struct core *core);           /* monotonic ms of the next core_timeout */
uint32_t core_leader(const struct core *core);               /* 0 unknown */
uint64_t core_match(const struct core *core, uint32_t peer); /* leader only, else 0 */

#endif
