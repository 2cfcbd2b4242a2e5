/* A replicated commit log: entries go in at the leader, come out of every member in the same order at the same
 * positions, and stay readable where they lie. It knows entries and bytes, nothing of messages.
 *
 * Owned by one loop's thread. Happy path of a proposal:
 *   rlog_blob_new, fill payload -> rlog_place (positions are fixed) -> rlog_propose -> core -> writer thread and
 * peers at once -> a majority is durable -> fsm.apply -> proposal callback. Failures: not leader (MQ_ENOTLEADER,
 * nothing happened), too much in flight (MQ_EBUSY, nothing happened), leadership lost after the proposal (callback
 * with MQ_EUNSURE), a failed write or sync (one log line, the process ends). */
#ifndef RAFTLOG_RAFTLOG_H
#define RAFTLOG_RAFTLOG_H

#include "raft-log/include/raftlog/fsm.h"
#include "remoting/base/buf.h"
#include "remoting/net/conn.h"
#include "remoting/net/loop.h"

struct rlog;
struct rlog_disk;

#define RLOG_MEMBERS_MAX 9
#define RLOG_ENTRY_BYTES_MAX (16u << 20) /* header and payload of one entry */
#define RLOG_GATHER_BYTES                                                                                            \
    (256u << 10) /* proposers stop gathering here: peers begin to receive while the rest is gathered */

#define RLOG_SCRUB_AUTO UINT64_MAX

struct rlog_member {
    uint32_t id;         /* 1 to 2^31; the number in dLegerSelfId + 1 */
    const char *address; /* "host:port" where its peers reach it */
};

struct rlog_options {
    const char *dir;     /* made if missing; holds identity, meta and segments */
    const char *group;   /* dLegerGroup */
    const char *cluster; /* brokerClusterName; NULL as "" */
    uint32_t self;
    const struct rlog_member *members; /* self included; 1 to RLOG_MEMBERS_MAX */
    uint32_t n_members;
    uint64_t segment_bytes; /* mappedFileSizeCommitLog; at least 1 MiB + RLOG_ENTRY_BYTES_MAX is NOT required: an
                               entry above it is refused with MQ_ETOOBIG */
    uint32_t election_ms;   /* 300 */
    uint32_t heartbeat_ms;  /* 50 */
    uint32_t inflight_entries_max; /* 256 */
    uint64_t inflight_bytes_max;   /* 64 MiB */
    uint64_t unsynced_bytes_max;   /* appended and not on this node's disk; 64 MiB */
    const struct rlog_disk *disk;  /* borrowed; the file calls. NULL: the system's own */
    /* Bytes a second of older entries that a node which lacks them fetches. 0: as fast as it goes while there is
     * little else to write, 32 MiB otherwise. */
    uint64_t backfill_bytes_per_s;
    uint64_t far_bytes;      /* a member that lacks more than this and half of the log gets a snapshot first, and what
                                lies before it as older entries; 256 MiB */
    uint64_t snapshot_bytes; /* of log behind the last snapshot, then the next is taken; 256 MiB */
    uint64_t snapshot_ms;    /* or after so long; 10 minutes */
    /* 0: an entry counts as held here when it is synced. Else when it is written, and it is synced within so many
     * milliseconds: nothing that was acknowledged is lost when any one member loses its power, as that member's vote
     * is held back until it has caught up; nor when processes die. */
    uint32_t flush_ms;
    /* Bytes a second of sealed segments that are read again and checked, so that what the disk loses is found and
     * repaired from another member. 0: none. RLOG_SCRUB_AUTO: all in about a week, at least 1 MiB. */
    uint64_t scrub_bytes_per_s;
};

/* Opens the directory, checks that it belongs to this member of this group and that no other process has it, and
 * recovers the log. Blocking; nothing is applied yet. Returns 0; or a negative code with one line in @problem:
 * MQ_EVERSION (another node, group or format), MQ_ECORRUPT (a bad entry with good ones behind it, both copies of meta
 * bad), -errno. All @options are copied. */
int rlog_open(struct net_loop *loop, const struct rlog_options *options, struct rlog_fsm *fsm, struct rlog **out,
              struct mq_buf *problem);

/* Once, between open and start: loads the newest snapshot into the owner, then applies what the log itself proves to
 * be committed behind it. Blocking. A step of its own, so that the owner touches what it has derived from a log only
 * when that log is known to be its own. Returns 0; or a negative code with one line in @problem, after which only
 * rlog_close may follow: MQ_EVERSION (the snapshot needs a newer program) or what reading it said. */
int rlog_replay(struct rlog *log, struct mq_buf *problem);

/* Whether rlog_replay will load a snapshot: what the owner has kept beside it may be of use. */
bool rlog_has_snapshot(const struct rlog *log);
/* Begins to take a snapshot now. Returns 0; MQ_EBUSY (one is being taken), MQ_ENOTFOUND (nothing was applied since
 * the last one), MQ_EUNSUPPORTED (the owner has no state), MQ_ECLOSED or MQ_ENOMEM. fsm.snapshot_end tells how it
 * went. */
int rlog_snapshot(struct rlog *log);
/* Where the segment that holds position @pos ends, and the store time of the last entry in it, for an owner who
 * decides what to drop. The same on all members. Returns 0; or MQ_ENOTFOUND: not all of the segment is applied, or it
 * is not held. */
int rlog_segment_end(const struct rlog *log, uint64_t pos, uint64_t *end_pos, int64_t *store_ms);
/* The owner needs nothing below @pos any more: whole segments below it go as soon as two snapshots stand for them. */
void rlog_trim(struct rlog *log, uint64_t pos);

/* Listens for peers and takes part. Returns 0 or a negative code with a line in @problem (the port is taken). */
int rlog_start(struct rlog *log, struct mq_buf *problem);

/* Stops: outstanding proposals get MQ_EUNSURE, the writer finishes, peers are closed; @closed comes later on the loop
 * and the log is gone after it. */
void rlog_close(struct rlog *log, void (*closed)(void *data), void *data);

/* Memory for one entry: room for the header, then the payload. Counted; one owner thread. */
struct rlog_blob {
    struct net_ref ref;
    uint8_t *base;          /* owned; RLOG_HEADER_BYTES of header room come first */
    uint32_t payload_bytes; /* in use */
    uint32_t cap;           /* of the payload; header and padding have their own room */
    struct rlog *log;
};

/* An empty blob with at least @payload_cap bytes of room, from a small pool where possible. One reference, the
 * caller's. Returns 0 or MQ_ENOMEM. */
int rlog_blob_new(struct rlog *log, uint32_t payload_cap, struct rlog_blob **out);
/* Makes room for @extra more payload bytes; may move base. Returns 0, MQ_ENOMEM or MQ_ETOOBIG. */
int rlog_blob_reserve(struct rlog_blob *blob, uint32_t extra);
uint8_t *rlog_blob_payload(struct rlog_blob *blob);

struct rlog_proposal;
/* @status 0: applied. MQ_EUNSURE: leadership was lost, or the log is closing; it may still commit. */
typedef void (*rlog_proposal_cb)(struct rlog_proposal *proposal, int status);

struct rlog_proposal {
    void *data; /* caller's */
    rlog_proposal_cb cb;
    bool from_reserve; /* caller's: its records were given room by rlog_reserve_take */
    uint64_t index;    /* set by a successful rlog_propose */
    struct rlog_proposal *next;
};

/* How much room the disk has. A reserve is kept beside the segment that is in use: entries that were taken can always
 * be written, and what their application writes too. */
enum rlog_space_level {
    RLOG_SPACE_ENOUGH,
    RLOG_SPACE_LOW,    /* proposals with records are refused, unless these free what they take (rlog_reserve_take);
                          small ones (offsets, retention) are taken from the reserve */
    RLOG_SPACE_SCARCE, /* only small ones are taken */
    RLOG_SPACE_FULL    /* all are refused */
};

struct rlog_space {
    enum rlog_space_level level;
    uint64_t total, free; /* of the file system, as asked every second; UINT64_MAX: not known */
    uint64_t ahead;       /* allocated in segments behind the end of the log */
    uint64_t needed;      /* of free and ahead together, so that the level is ENOUGH */
    const char *path;     /* the log's directory, and whose it is if not this node's; for this turn of the loop */
    uint32_t member;      /* whose disk it is */
};

/* What of proposals is taken: the worse of what this node's disk has room for and, where it leads, what the disks of
 * a majority have; and of the disk that makes it so. Loop thread; costs a few loads. */
enum rlog_space_level rlog_space_level(struct rlog *log);
void rlog_space_get(const struct rlog *log, struct rlog_space *out);

/* Room for @bytes of records that are appended again so that the segment which holds them can go: at RLOG_SPACE_LOW
 * from the reserve, so much at a time that nobody's runs out before that is known here (room.h). To be asked before
 * they go into a proposal; what is not proposed after all comes back by itself. Returns 0, or MQ_EFULL: later, or not
 * before there is room. */
int rlog_reserve_take(struct rlog *log, uint32_t bytes);

/* Whether a proposal would be taken now: 0, MQ_ENOTLEADER, MQ_EBUSY, or MQ_EFULL. */
int rlog_can_propose(const struct rlog *log);

/* Which bound on what is in flight holds proposals back, and by how much it is used. */
struct rlog_bound {
    const char *what; /* static: "entries in flight", "bytes in flight", "unsynced bytes"; NULL: none does */
    uint64_t used, max;
};
void rlog_bound_get(const struct rlog *log, struct rlog_bound *out);

/* True while this node's own disk is writing: a self-clocking gatherer waits for fsm.room. */
bool rlog_writing(const struct rlog *log);

/* Where payload[0] of the next entry will lie if it has @payload_bytes, and the store time it will carry if the wall
 * clock says @wall_ms. Both hold until the next rlog_propose. */
uint64_t rlog_place(const struct rlog *log, uint32_t payload_bytes);
int64_t rlog_store_ms(const struct rlog *log, int64_t wall_ms);

/* Proposes the blob as one entry. @blob: taken on success. @wall_ms: the same as given to rlog_store_ms. The callback
 * comes exactly once after a return of 0, never inside. Returns MQ_ENOTLEADER, MQ_EBUSY, MQ_EFULL, MQ_ETOOBIG (entry
 * over a segment or RLOG_ENTRY_BYTES_MAX) or MQ_ENOMEM with nothing done. */
int rlog_propose(struct rlog *log, struct rlog_blob *blob, int64_t wall_ms, uint32_t records, uint32_t items,
                 struct rlog_proposal *proposal, rlog_proposal_cb cb);

/* Handing over leadership. */
struct rlog_transfer;
/* @status 0: transfer->target leads. MQ_EUNSURE: another one does (transfer->leader). MQ_ETIMEDOUT: no other leader
 * is known yet, or this node leads still. MQ_ECLOSED: the log is closing. */
typedef void (*rlog_transfer_cb)(struct rlog_transfer *transfer, int status);

struct rlog_transfer {
    void *data; /* caller's */
    rlog_transfer_cb cb;
    uint32_t target; /* set by a successful rlog_transfer */
    uint32_t leader; /* when it ended: as known here; 0: nobody */
};

#define RLOG_TRANSFER_MS 200u /* what a hand-over takes at most where all is well */

/* Hands leadership to @target (0: the voter who has most) within @within_ms. Proposals are refused with MQ_ENOTLEADER
 * until it is over; those in flight are finished first if they can be. Returns 0, or MQ_ENOTLEADER, MQ_EBUSY (one is
 * running), MQ_ENOTFOUND (@target is no voter that answers and has everything, or there is none). */
int rlog_transfer(struct rlog *log, uint32_t target, uint32_t within_ms, struct rlog_transfer *transfer,
                  rlog_transfer_cb cb);

/* Changes of the membership: one at a time, each an entry of the log. Asynchronous; asked of the leader. */
struct rlog_change;
/* @status 0: done. MQ_ETIMEDOUT: the new directory was not reached. MQ_EUNSURE: leadership was lost; ask the next
 * leader, what was done already stays done. MQ_ENOTLEADER: the member to remove led; leadership went elsewhere, ask
 * there. MQ_ECLOSED: the log is closing. change->text says it in words. */
typedef void (*rlog_change_cb)(struct rlog_change *change, int status);

#define RLOG_CHANGE_TEXT_MAX 256u

struct rlog_change {
    void *data; /* caller's */
    rlog_change_cb cb;
    char text[RLOG_CHANGE_TEXT_MAX]; /* one sentence for people: what was done, or why not */
    /* members.c */
    int kind, stage;
    uint32_t id;
    char address[256];
    uint64_t incarnation, index, end_ms;
    struct rlog_transfer transfer;
};

/* Each returns 0, or a negative code with change->text filled and nothing done: MQ_ENOTLEADER, MQ_EBUSY (another
 * change or a transfer runs, or this leader is not ready), MQ_EEXIST, MQ_ENOTFOUND, MQ_ETOOBIG, MQ_EINVAL (would
 * leave a group without a majority that answers, or cannot be).
 *
 * Add: @member, whose empty directory answers at its address, gets every entry; unless @learner it becomes a voter on
 * its own once it has caught up, whoever leads by then. Promote: makes a learner a voter that has caught up. Remove:
 * also of a dead member. The leader cannot be removed: it hands over, and the next one is to be asked. Replace: the
 * member's new directory, at @address (NULL: where it was), takes the place of its former one: removed, added, made a
 * voter. All can be asked again after a failure; steps that are done already are passed over. */
int rlog_member_add(struct rlog *log, const struct rlog_member *member, bool learner, struct rlog_change *change,
                    rlog_change_cb cb);
int rlog_member_promote(struct rlog *log, uint32_t id, struct rlog_change *change, rlog_change_cb cb);
int rlog_member_remove(struct rlog *log, uint32_t id, struct rlog_change *change, rlog_change_cb cb);
int rlog_member_replace(struct rlog *log, uint32_t id, const char *address, struct rlog_change *change,
                        rlog_change_cb cb);

/* Bytes below the applied end, where they lie in a mapped segment. A range never crosses an entry's payload. @ref:
 * acquired for the caller, who releases it. Returns 0 or MQ_ENOTFOUND (outside what this node holds and has applied).
 */
int rlog_view(struct rlog *log, uint64_t pos, uint32_t bytes, const uint8_t **at, struct net_ref **ref);

/* Whole entries as they lie in one mapped segment, for somebody who reads the log in order, on a thread of his own.
 */
struct rlog_stretch {
    uint64_t pos; /* of at[0] */
    const uint8_t *at;
    uint64_t n;
    bool ends_segment;   /* zeros may follow the last entry */
    struct net_ref *ref; /* acquired; to be released on the loop's thread */
};

/* All that is applied from @pos, where an entry or a segment begins or ends, to the end of the segment. Returns 0 or
 * MQ_ENOTFOUND (outside what this node holds and has applied). */
int rlog_stretch_get(struct rlog *log, uint64_t pos, struct rlog_stretch *out);

/* The way through a stretch. Belongs to whoever made it; may be used on any thread while the stretch is held. */
struct rlog_walk {
    uint64_t pos; /* of at[0] */
    const uint8_t *at;
    uint64_t left;
    bool ends_segment;
    bool chained;      /* crc is set: the next entry must follow one with that header */
    uint32_t crc;      /* of the header of the last entry, */
    uint32_t prev_crc; /* and of the one in front of it, as the last one says */
    bool payloads;     /* their checksums are looked at, too */
};

/* The next entry; one that is no command comes without payload. Returns 1; 0 behind the last one; or MQ_ECORRUPT,
 * with the walk where it was: the bytes are not what was written there, or do not follow what was read before. */
int rlog_walk_next(struct rlog_walk *walk, struct rlog_entry *out);

/* Whether this node's log begins where the group's does. If not, it fetches what it lacks (rlog_status.catchup), and
 * others have what is not found here. */
bool rlog_is_whole(const struct rlog *log);

/* Whether all that is known here to be committed is applied. A leader whose own disk is the slowest one is behind its
 * followers for a while. */
bool rlog_is_level(const struct rlog *log);

/* Bytes that the payload of an entry may have at most: with its header it lies in one segment. */
uint32_t rlog_payload_max(const struct rlog *log);

/* The file that holds position @pos, for people. Cut at @cap bytes. */
void rlog_segment_path(const struct rlog *log, uint64_t pos, char *out, size_t cap);

/* The owner found that what lies at @pos is not what was applied: the entry around it is read from the disk again,
 * and got from another member if it is bad. Nothing happens where nothing is held. */
void rlog_suspect(struct rlog *log, uint64_t pos);

/* Whether reading the range would wait for the disk (a page of it is not in memory). A system call. */
bool rlog_is_cold(struct rlog *log, uint64_t pos, uint32_t bytes);

enum rlog_member_role { RLOG_VOTER, RLOG_LEARNER, RLOG_JOINING, RLOG_STRANGER /* is reached, and no member */ };

struct rlog_peer_status {
    uint32_t id;
    enum rlog_member_role role;
    const char *address; /* until the next turn of the loop */
    bool connected;
    uint64_t match_index;   /* leader only */
    uint64_t last_heard_ms; /* monotonic; 0 never */
};

enum rlog_catchup_phase { RLOG_CATCHUP_NONE, RLOG_CATCHUP_SNAPSHOT, RLOG_CATCHUP_BACKFILL };

/* What this node fetches from others because it lacks it. */
struct rlog_catchup_status {
    enum rlog_catchup_phase phase;
    bool passive;               /* stands for no election meanwhile */
    uint32_t from;              /* the member that is asked */
    uint64_t bytes_done;        /* of this phase */
    uint64_t bytes_left;        /* as far as is known */
    uint64_t bytes_per_s;       /* since the phase began */
    uint64_t limit_bytes_per_s; /* 0: none */
    uint64_t ms_left;           /* at this speed; 0: cannot be told */
    uint64_t snapshots_installed;
    const char *cause; /* what it does or waits for; static */
};

/* Reading sealed segments again. Bad entries are also found by those who need them. */
struct rlog_scrub_status {
    uint64_t bytes_per_s;    /* the rate; 0: off */
    uint64_t pos;            /* what is read next; 0: between two passes */
    int64_t pass_started_ms; /* wall clock, of this pass or the last one; 0: there was none */
    uint64_t passes;         /* that came to the end, since the start, like all below */
    uint64_t bytes;          /* read */
    uint64_t bad, repaired;  /* entries */
    uint32_t open;           /* stretches that are suspected or known to be bad */
};

/* Connections of peers that were refused or closed, by cause. */
struct rlog_refusals {
    uint64_t version;       /* another version of the protocol */
    uint64_t cluster;       /* a node of another cluster */
    uint64_t group;         /* of another group */
    uint64_t member;        /* that is, or calls, no member known here */
    uint64_t segment_bytes; /* with another mappedFileSizeCommitLog */
    uint64_t duplicate;     /* a second node with a member's number */
    uint64_t copied;        /* a second node with a directory that another one has */
    uint64_t corrupt;       /* bytes that changed on their way, or over there */
    uint64_t malformed;     /* bytes that make no sense */
};

struct rlog_status {
    struct rlog_role role;
    uint64_t last_index, durable_index, commit_index, applied_index;
    uint64_t start_pos;   /* first byte held */
    uint64_t end_pos;     /* end of the last entry */
    uint64_t applied_pos; /* end of the last applied entry: everything below is visible */
    int64_t last_store_ms;
    uint64_t claim_index; /* the disk lost what may have been acknowledged up to here; 0: nothing is missing */
    uint64_t elections;   /* times this process became candidate */
    uint64_t leaderships; /* times it became leader */
    uint64_t entries_written, bytes_written, syncs, sync_ns_total;
    uint64_t inflight_entries, inflight_bytes;
    uint64_t segments;
    uint64_t mapped_bytes;
    struct rlog_space space;
    uint64_t snapshot_index, snapshots_taken, snapshots_failed;
    uint64_t snapshot_took_ms, snapshot_slice_ns_max; /* the last one; the longest slice of the loop's time */
    uint64_t opened_ms, replayed_entries; /* how long rlog_open and rlog_replay took, and what was applied */
    struct rlog_peer_status peers[2 * RLOG_MEMBERS_MAX];
    uint32_t n_peers;
    enum rlog_member_role own_role; /* as our log has it */
    bool outside;                   /* the group goes on without this directory, as a member says */
    uint64_t change_index;          /* of the entry that made the membership what it is; 0: none yet */
    const char *change_running;     /* what a running change does, or NULL */
    struct rlog_catchup_status catchup;
    struct rlog_scrub_status scrub;
    struct rlog_refusals refusals;
};

void rlog_status_get(const struct rlog *log, struct rlog_status *out);

#endif
