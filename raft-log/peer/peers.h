/* The other members of a group, as this node reaches them. Owned by the loop's thread.
 *
 * Each node dials each other node three times. CONTROL carries what must never wait: votes, results, heartbeats. BULK
 * carries entries. RANGE carries questions about what another log holds, and their answers (fetch.h, serve.h).
 * Messages go out on the connections we dialled; those that others dialled are only read, but for answers. A hello in
 * both directions makes sure of cluster, group, member, protocol and segment size; a directory (incarnation) that is
 * not a member's may connect and learn that, and nothing else.
 *
 * Who a member is, is said by who answers at its address. If another process (boot) calls itself that member, it is
 * not listened to until it is the one that answers: two nodes with one number, or with copies of one directory, would
 * both acknowledge. What is refused is named in a line and counted in struct rlog_refusals. */
#ifndef RLOG_PEERS_H
#define RLOG_PEERS_H

#include "raft-log/log/commitlog.h"
#include "raft-log/peer/fetch.h"
#include "raft-log/peer/peer_conn.h"
#include "raft-log/peer/peer_out.h"
#include "remoting/base/log.h"

#define PEERS_MAX (2u * RLOG_MEMBERS_MAX) /* members, and those that come or go */
#define PEERS_ACCEPTED_MAX 64u            /* connections others may have open here; a member needs three */

/* Upwards. */
struct peers_ops {
    /* A message of a member. As driver_receive, whose codes it returns. */
    int (*message)(void *data, struct core_message *message, const struct commitlog_entry *entries,
                   struct net_ref *ref);
    /* What a configured peer says about the founding, with the incarnation and the address it has. */
    void (*founding)(void *data, struct peer *peer, uint64_t incarnation, const struct peer_founding *founding);
    /* Our control connection to @peer can be written to, or it changed its directory. */
    void (*reached)(void *data, struct peer *peer);
    /* Of the leadership in @term: the commit index, and what @peer has acknowledged; false when we do not lead in it.
     */
    bool (*leads)(void *data, uint64_t term, uint32_t peer, uint64_t *commit, uint64_t *match);
    /* The highest index that is known to be committed: others may ask for entries up to it. */
    uint64_t (*committed)(void *data);
    /* What a member's directory holds. */
    void (*claim)(void *data, struct peer *peer, uint64_t incarnation, const struct peer_claim *claim);
    /* How much room a member's disk has. */
    void (*space)(void *data, struct peer *peer, uint64_t incarnation, const struct peer_space *space);
    /* What a member's state comes to. */
    void (*state_hash)(void *data, struct peer *peer, const struct state_hashes *hashes);
    /* Whether a peer that lacks entry @first and all behind is better off with a snapshot, whose end is given then.
     */
    bool (*is_far)(void *data, uint64_t first, uint64_t *index, uint64_t *term);
    /* Entry @index of this log, which another member is to get, is bad: not again before peers_mended. */
    void (*damaged)(void *data, uint64_t index);
};

struct peers_options {
    struct net_loop *loop;
    struct commitlog *log;
    const struct peers_ops *ops;
    void *data; /* for the ops */
    const char *cluster, *group;
    uint32_t self;
    uint64_t incarnation;
    uint64_t boot; /* a number of this process alone */
    uint64_t segment_bytes;
    uint32_t heartbeat_ms;
    uint32_t seed;                           /* of the jitter */
    const struct serve_snapshots *snapshots; /* borrowed; NULL: there are none */
    const struct rlog_member *members;       /* borrowed for the life of peers; self included */
    uint32_t n_members;
};

struct peer {
    struct peers *peers;
    uint32_t id;                       /* 0: nobody, or one that we let go */
    char address[MEMBER_TEXT_MAX + 1]; /* where it is dialled */
    struct peer_conn out[PEER_LANES];  /* dialled by us */
    struct peer_conn *in[PEER_LANES];  /* dialled by it; NULL */
    uint64_t last_heard_ms;            /* monotonic; 0: never */
    bool passive;                      /* it said so with its last acknowledgement */
    bool told_up;                      /* the last line about it said so */
    uint64_t doubted_boot;             /* a process that calls itself this member, but is not the one we reach */
    struct peer_out sent;
    struct fetch_list fetches;
    struct mq_log_limit up_limit, refused_limit;
};

struct peers {
    struct peers_options options;
    const struct membership *membership; /* borrowed; NULL until the group is founded */
    const struct membership *heard;      /* borrowed; a newer one that a member told us of; NULL */
    struct peer list[PEERS_MAX];
    uint32_t n; /* places of the list that were ever used */
    struct peer_conn *accepted;
    uint32_t n_accepted;
    uv_tcp_t listener;
    uv_timer_t tick;
    uint32_t open; /* connections and handles that are not closed yet */
    bool listening, closing;
    void (*closed)(void *data);
    uint32_t random;
    struct mq_log_limit bad_limit, damaged_limit;
    struct rlog_refusals refusals;
    struct commitlog_entry entries[PEER_FRAME_ENTRIES_MAX]; /* scratch of the frame being read */
};

/* Returns 0 or MQ_ENOMEM. */
int peers_new(const struct peers_options *options, struct peers **out);
/* Listens on our own address and starts to dial. Returns 0, or a negative code with a line in @problem. */
int peers_start(struct peers *peers, struct mq_buf *problem);
/* Closes everything; peers is gone when @closed is called. Also for one that was not started. */
void peers_close(struct peers *peers, void (*closed)(void *data));

/* The group is founded: from now on messages pass between members with these incarnations. @membership: as our log
 * has it; votes and acknowledgements of others do not count. @heard: a newer one, whose members are listened to as
 * well, or NULL. Both are borrowed until the next call. */
void peers_set_membership(struct peers *peers, const struct membership *membership, const struct membership *heard);

/* Whom to reach, and where: connections to others are closed. @list: borrowed for the call; self is passed over. */
void peers_reach(struct peers *peers, const struct rlog_member *list, uint32_t n);

struct peer *peers_find(struct peers *peers, uint32_t id); /* NULL */
/* The directory at the other end of our connections with @peer; 0: not known. */
uint64_t peer_incarnation(const struct peer *peer);
/* Whether our connection reaches the directory that takes part. */
bool peer_is_up(const struct peer *peer, enum peer_lane lane);
/* How many are reached so. */
uint32_t peers_up(const struct peers *peers, enum peer_lane lane);
/* One of them: the next behind @after, itself if there is no other. Returns its id, or 0: there is none. */
uint32_t peers_next_up(const struct peers *peers, enum peer_lane lane, uint32_t after);

/* Entries that were bad are good now: those who could not be sent them are. */
void peers_mended(struct peers *peers);

/* Sends on the control connection, or drops. */
void peers_send_founding(struct peer *peer, const struct peer_founding *founding);

/* The same, to a member. */
void peers_send_claim(struct peer *peer, const struct peer_claim *claim);
void peers_send_space(struct peer *peer, const struct peer_space *space);
void peers_send_state_hash(struct peer *peer, const struct state_hashes *hashes);

/* From peer_conn. A frame: returns 0 or a negative code that closes the connection. */
int peers_frame(struct peers *peers, struct peer_conn *conn, const struct peer_frame *frame);
void peers_bad_frame(struct peers *peers, struct peer_conn *conn, int rc);
void peers_conn_born(struct peers *peers);
/* @conn will not be used again until it is dialled; then, as the last call, gone. */
void peers_conn_closed(struct peers *peers, struct peer_conn *conn, int reason);
void peers_conn_gone(struct peers *peers);

/* peer_in.c: greeting and dispatch. */
int peer_in_hello(struct peers *peers, struct peer_conn *conn, const struct peer_frame *frame);
int peer_in_message(struct peers *peers, struct peer_conn *conn, const struct peer_frame *frame);
int peer_in_claim(struct peers *peers, struct peer_conn *conn, const struct peer_frame *frame);
int peer_in_space(struct peers *peers, struct peer_conn *conn, const struct peer_frame *frame);
int peer_in_state_hash(struct peers *peers, struct peer_conn *conn, const struct peer_frame *frame);
/* Whether the other end of @conn is the directory of a member, as our log or a newer membership has it. */
bool peer_in_takes_part(const struct peers *peers, const struct peer_conn *conn);

#endif
