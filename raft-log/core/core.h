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

/* What lies before the first entry of a log: the last entry that is not held any more, which is committed, and the
 * membership as of it. To the core that is all a snapshot is; what state belongs to it is the driver's business. */
struct core_base {
    uint64_t index; /* 0: the log begins with entry 1, and nothing else here counts */
    uint64_t term;
    uint64_t change_index; /* of the last CHANGE entry at or below index */
    const uint8_t *change; /* borrowed: its membership, encoded; may be left out where something is settled */
    uint32_t change_bytes;
};

enum core_message_type {
    CORE_APPEND = 1,
    CORE_APPEND_RESULT,
    CORE_VOTE,
    CORE_VOTE_RESULT,
    CORE_TIMEOUT_NOW,
    CORE_INSTALL /* what you need next is no entry of mine any more: fetch a snapshot */
};

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
            bool passive; /* the sender stands for no election now: leadership is not to be handed to it */
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
        struct {
            uint64_t base_index, base_term; /* the sender's: a snapshot below it is of no use */
        } install;
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
    bool fetch;   /* a CORE_INSTALL of the leader: get a snapshot at or above its base, then core_install. Said again
                     every now and then while it is so */
    bool install; /* answer to core_install: reset the log behind that base, load its state, then core_installed */
    struct core_message *messages;
    uint32_t n_messages;
    bool timeout_changed;
};

struct core_options {
    uint32_t self;
    uint32_t election_ms, heartbeat_ms;
    uint32_t seed;        /* of the election timeouts */
    uint64_t incarnation; /* of our directory: where a membership names another one, this node has no say; 0: any */
};

/* Makes a core. Returns 0 or MQ_ENOMEM. */
int core_new(const struct core_options *options, struct core **out);
void core_free(struct core *core);

/* Entries of one term, up to where the next run begins. */
struct core_run {
    uint64_t first; /* index */
    uint64_t term;
};

/* What is on disk when a core starts. Without base and entries: a new member, who learns everything from a leader and
 * has no say until then. Of what is settled only the terms are told, so a start costs nothing for each entry. */
struct core_log {
    uint64_t term;
    uint32_t vote;
    uint64_t commit; /* known to be committed; 0 where nothing is */
    struct core_base base;
    struct core_base settled;    /* index 0: none. A committed entry behind the base, and the membership as of it */
    const struct core_run *runs; /* borrowed for the call: of all entries from base.index + 1 to settled.index */
    size_t n_runs;
    const struct core_entry *entries; /* borrowed for the call: all entries behind settled, or else the base */
    size_t n;                         /* without either the first one is a CHANGE */
};

/* First event. Returns 0, or MQ_EINVAL (a membership cannot be read). A lone voter leads when it returns, in a new
 * term.
 */
int core_start(struct core *core, uint64_t now_ms, const struct core_log *log, struct core_update *update);

/* This node's disk lost entries that it may have acknowledged, up to (@term, @index). Until what it holds durably has
 * reached that, it grants no vote to a candidate whose log ends before, and does not stand for election: it votes as
 * if it still had them. Index 0: no claim. Given before core_start, which then also takes the node into a new term,
 * because a leader of the old one counts the lost entries as acknowledged. Lowered at any time later. */
void core_set_claim(struct core *core, uint64_t term, uint64_t index);
bool core_claim_open(const struct core *core);

/* A passive node votes and acknowledges, but does not stand for election and takes no leadership that is handed to
 * it: it lacks what others would ask it for. Does not end a leadership. Before or after core_start. */
void core_set_passive(struct core *core, bool passive);

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
/* The same for a node that the group goes on without: it knows that it is no member any more. */
void core_set_outside(struct core *core, bool outside);

/* The log begins behind a higher base now, which is committed and applied here. Returns 0, or MQ_EINVAL (not above
 * the present base, not below the commit index, another term than the entry has). */
int core_trimmed(struct core *core, uint64_t now_ms, const struct core_base *base, struct core_update *update);

/* A snapshot that ends with @snapshot is here as a whole and was checked, because @leader, in @term, had said
 * CORE_INSTALL. If update.install comes back, the core has let go of everything it knew of the log: the driver resets
 * it behind @snapshot, loads the state, and then says core_installed; meanwhile entries are not taken and no vote is
 * granted. If not, this node has it all already. Returns 0; MQ_EAGAIN (another term by now: the leader of that one
 * will ask again, the snapshot is still good), MQ_EBUSY (one is being installed), MQ_EBADMSG (no membership),
 * MQ_ECORRUPT (it contradicts what is committed here). */
int core_install(struct core *core, uint64_t now_ms, uint32_t leader, uint64_t term, const struct core_base *snapshot,
                 struct core_update *update);
int core_installed(struct core *core, uint64_t now_ms, struct core_update *update);
bool core_installing(const struct core *core);

/* Whether a CHANGE entry may be submitted: one at a time, by a leader. */
bool core_can_change(const struct core *core);

/* Starts to hand leadership to @peer (0: the most up to date). */
int core_transfer(struct core *core, uint64_t now_ms, uint32_t peer, struct core_update *update);

enum rlog_role_kind core_role(const struct core *core); /* never RLOG_WRITABLE: the driver knows that */
bool core_can_submit(const struct core *core);          /* leader, and not handing leadership over */
uint64_t core_term(const struct core *core);
uint64_t core_commit(const struct core *core);
uint64_t core_last_index(const struct core *core);
uint64_t core_base_index(const struct core *core);           /* 0: the log begins with entry 1 */
size_t core_terms(const struct core *core);                  /* changes of term that it knows of, behind the base */
uint64_t core_timeout_at(const struct core *core);           /* monotonic ms of the next core_timeout */
uint32_t core_leader(const struct core *core);               /* 0 unknown */
uint64_t core_match(const struct core *core, uint32_t peer); /* leader only, else 0 */
/* When @peer last answered this leadership; 0: it has not. Leader only, else 0. */
uint64_t core_heard_ms(const struct core *core, uint32_t peer);

#endif
