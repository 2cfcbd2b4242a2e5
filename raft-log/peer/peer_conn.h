/* A connection between two members as frames, at either end. The dialling side sends; the other side sends nothing
 * but the answer to the hello and, on the range lane, answers to what it is asked.
 *
 * Received bytes land in counted buffers (chunks), several frames in one where they are small; a frame never
 * straddles two: what is there of one that does not fit moves to the next chunk, which is made large enough for it.
 * So entries are used where they arrived. Memory for a large frame is asked for at once, but its pages come into
 * being only as bytes arrive.
 *
 * Life of a dialled one: IDLE -> RESOLVING (only names) -> CONNECTING -> GREETING -> UP -> CLOSING -> IDLE, again and
 * again with back-off. An accepted one: GREETING -> UP -> CLOSING, then freed. */
#ifndef RLOG_PEER_CONN_H
#define RLOG_PEER_CONN_H

#include "raft-log/peer/peer_codec.h"
#include "raft-log/peer/serve.h"
#include "remoting/net/conn.h"

#include <stdbool.h>

/* Of a connection on which entries come: four of the largest that are gathered, so that few of them are moved on to
 * the next chunk because they lie across its end. */
#define PEER_CHUNK_BYTES (1u << 20)
#define PEER_CONTROL_CHUNK_BYTES (16u << 10) /* of any other, and of any before its hello */
#define PEER_CONNECT_MS 1000u                /* to connect, and to be greeted */
#define PEER_BACKOFF_MIN_MS 20u
#define PEER_BACKOFF_MAX_MS 500u

struct peer;
struct peers;
struct peer_chunk;

enum peer_conn_state { PEER_IDLE, PEER_RESOLVING, PEER_CONNECTING, PEER_GREETING, PEER_UP, PEER_CLOSING };

struct peer_conn {
    struct net_conn conn;
    struct peers *peers;
    struct peer *peer; /* NULL: accepted, and not greeted yet */
    enum peer_lane lane;
    bool dialled;
    enum peer_conn_state state;
    uint64_t since_ms;        /* when the state began */
    uint64_t incarnation;     /* the other side's, from its hello */
    uint64_t boot;            /* the same */
    struct peer_chunk *chunk; /* counted: one reference is ours */
    size_t from, to;          /* unread bytes in it */
    /* dialled */
    uint32_t failures; /* since it was up */
    uint64_t redial_ms;
    uv_getaddrinfo_t resolve;
    /* accepted */
    struct peer_conn *next, **prev;
    struct serve serve; /* range lane */
};

/* Prepares the dialled connection of @peer. */
void peer_conn_init(struct peer_conn *conn, struct peers *peers, struct peer *peer, enum peer_lane lane);

/* IDLE: connects, says hello when connected. The outcome comes as peers_greeted or peers_conn_closed. */
void peer_conn_dial(struct peer_conn *conn);

/* Takes a pending connection of @listener. Returns it, or NULL when it is gone already or memory is out (then the
 * pending connection was taken and closed, if that was possible). */
struct peer_conn *peer_conn_accept(struct peers *peers, uv_stream_t *listener);

/* A state that began now. */
void peer_conn_set_state(struct peer_conn *conn, enum peer_conn_state state);
/* Starts to close; may be called in any state and again. */
void peer_conn_close(struct peer_conn *conn, int reason);

/* An accepted connection was greeted: its lane is known. */
void peer_conn_set_lane(struct peer_conn *conn, enum peer_lane lane);

/* Appends our hello. Returns 0 or MQ_ENOMEM. */
int peer_conn_say_hello(struct peer_conn *conn);

/* The counted buffer that holds the frame which is being handled. */
struct net_ref *peer_conn_chunk_ref(struct peer_conn *conn);

#endif
