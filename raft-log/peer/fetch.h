/* Asking another member for entries of its log, or for a snapshot piece by piece, on the range lane. Owned by the
 * loop's thread.
 *
 * fetch_entries -> question on our range connection -> the member reads and checks them on its pool (serve.c) ->
 * answer, checked here: codec, index, chain, payload -> cb. Failures, as cb's status:
 *
 *   MQ_ENOTFOUND   it does not hold them, or not as committed (@got tells where its log begins); no such snapshot
 *   MQ_ECORRUPT    its own copy is damaged, or cannot be read
 *   MQ_EVERSION    it does not count this directory as a member
 *   MQ_EBADMSG     the answer was not what was asked for, or changed on its way; the connection was closed
 *   MQ_EINVAL      it finds that the question makes no sense
 *   MQ_ETIMEDOUT   no answer for FETCH_TIMEOUT_MS; the connection was closed
 *   MQ_ECLOSED     the connection was lost */
#ifndef RLOG_FETCH_H
#define RLOG_FETCH_H

#include "raft-log/peer/range_codec.h"
#include "remoting/net/conn.h"

#define FETCH_OPEN_MAX 8u       /* questions to one member without an answer */
#define FETCH_TIMEOUT_MS 10000u /* for the oldest of them */

struct fetch;
struct peer;
struct peers;

struct fetched {
    uint64_t first; /* index of the first of @n entries, which lie one behind the other */
    uint32_t n;
    const uint8_t *raw;
    uint32_t bytes;
    struct net_ref *ref; /* keeps them alive beyond cb; borrowed; NULL on failure */
    uint64_t commit;     /* what the member knows to be committed */
    uint64_t held_first; /* where its log begins, as an index */
    uint64_t held_pos;   /* and as a position */
    struct peer_before before;
};

struct fetched_part {
    uint64_t index, term; /* of the last entry that the snapshot stands for */
    uint64_t file_bytes;
    uint64_t offset;
    const uint8_t *raw;
    uint32_t bytes;      /* fewer than asked for only at the end of the file */
    struct net_ref *ref; /* as above */
};

/* @got: borrowed; only commit and what is held count on MQ_ENOTFOUND, nothing on other failures. */
typedef void (*fetch_cb)(struct fetch *fetch, int status, const struct fetched *got);
typedef void (*fetch_part_cb)(struct fetch *fetch, int status, const struct fetched_part *got);

/* The caller's, until the callback. */
struct fetch {
    void *data; /* caller's, never read by us */
    union {
        fetch_cb entries;
        fetch_part_cb part;
    } cb;
    struct peer_ask ask;
    uint64_t deadline_ms;
    struct fetch *next;
};

/* What was asked of one member, oldest first. */
struct fetch_list {
    struct fetch *first, **end;
    uint32_t n;
    uint64_t last_id;
    uint64_t went_id, went_to; /* of the last answer with entries from behind: its question, and its first entry */
};

enum fetch_from { FETCH_FROM_FIRST, FETCH_FROM_LAST };

void fetch_list_init(struct fetch_list *list);

/* Asks member @peer for those of the entries @first ... @last that lie at the @from end, in one piece of up to
 * @bytes_max bytes (at most PEER_RANGE_BYTES), and at least one. Returns 0, and @cb comes exactly once, later; or
 * MQ_ENOTFOUND (no such member), MQ_ECLOSED (not connected to it), MQ_EBUSY (FETCH_OPEN_MAX), MQ_EINVAL, MQ_ENOMEM.
 */
int fetch_entries(struct peers *peers, uint32_t peer, struct fetch *fetch, uint64_t first, uint64_t last,
                  enum fetch_from from, uint32_t bytes_max, fetch_cb cb);

/* Asks for what lies in front of the entries that @before, which is still open at the same member and was the last
 * question to it, will bring from behind: so the member reads while it sends. As above; MQ_EINVAL: there is no such
 * question. cb's MQ_ENOTFOUND also: that one brought nothing, or nothing lies in front. */
int fetch_entries_before(struct peers *peers, uint32_t peer, struct fetch *fetch, const struct fetch *before,
                         uint32_t bytes_max, fetch_cb cb);

/* Asks member @peer for up to @bytes_max bytes at @offset of the file of snapshot @index (0: of its newest one). As
 * above. While parts of a snapshot are asked for at least every SERVE_SNAPSHOT_MS, on one connection, the member
 * keeps its file. */
int fetch_snapshot(struct peers *peers, uint32_t peer, struct fetch *fetch, uint64_t index, uint64_t offset,
                   uint32_t bytes_max, fetch_part_cb cb);

/* From peers. An answer: returns 0, or a negative code that closes the connection. */
int fetch_answered(struct peer *peer, const struct peer_frame *frame, struct net_ref *ref);
/* The connection is gone: everything open fails with @reason. */
void fetch_conn_closed(struct peer *peer, int reason);
/* Closes the connection when the oldest question has waited too long. */
void fetch_tick(struct peer *peer, uint64_t now_ms);

#endif
