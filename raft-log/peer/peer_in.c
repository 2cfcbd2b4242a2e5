/* Receiving: the hello that tells who is there, and messages of members to the driver. */
#include "raft-log/peer/peers.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>

/* Whether it is a member as our own log has it: only then its votes and acknowledgements count. */
static bool counts(const struct peers *peers, const struct peer_conn *conn)
{
    return peers->membership != NULL && conn->peer != NULL &&
           membership_has(peers->membership, conn->peer->id, conn->incarnation);
}

bool peer_in_takes_part(const struct peers *peers, const struct peer_conn *conn)
{
    return counts(peers, conn) || (peers->heard != NULL && conn->peer != NULL &&
                                   membership_has(peers->heard, conn->peer->id, conn->incarnation));
}

static int refuse(struct peers *peers, const struct peer_conn *conn, uint64_t *count, const char *why,
                  const struct peer_hello *hello)
{
    const struct peers_options *o = &peers->options;

    ++*count;
    mq_log_limited(&peers->bad_limit, MQ_LOG_ERROR, "peer",
                   "refused %s: %s (it says: cluster %s, group %s, member %" PRIu32 ", calling member %" PRIu32
                   ", segments of %" PRIu64 " bytes; here: cluster %s, group %s, member %" PRIu32 ", %" PRIu64
                   " bytes)",
                   net_addr_text((const struct sockaddr *)&conn->conn.peer), why, hello->cluster, hello->group,
                   hello->from, hello->to, hello->segment_bytes, o->cluster, o->group, o->self, o->segment_bytes);
    return MQ_ECLOSED; /* the line is written */
}

/* Whether somebody else has the directory that @hello speaks of. */
static bool is_copy(struct peers *peers, const struct peer_hello *hello)
{
    if (hello->incarnation == peers->options.incarnation) {
        return true;
    }
    for (uint32_t i = 0; i < peers->n; i++) {
        const struct peer *other = &peers->list[i];

        if (other->id != 0 && other->id != hello->from && peer_incarnation(other) == hello->incarnation) {
            return true;
        }
    }
    return false;
}

static int check_hello(struct peers *peers, const struct peer_conn *conn, const struct peer_hello *hello)
{
    struct rlog_refusals *r = &peers->refusals;

    if (strcmp(hello->cluster, peers->options.cluster) != 0) {
        return refuse(peers, conn, &r->cluster, "another cluster", hello);
    }
    if (strcmp(hello->group, peers->options.group) != 0) {
        return refuse(peers, conn, &r->group, "another group", hello);
    }
    if (hello->to != peers->options.self || hello->from == peers->options.self ||
        peers_find(peers, hello->from) == NULL || (conn->dialled && hello->from != conn->peer->id)) {
        return refuse(peers, conn, &r->member, "no member that is known here", hello);
    }
    if (hello->segment_bytes != peers->options.segment_bytes) {
        return refuse(peers, conn, &r->segment_bytes, "another mappedFileSizeCommitLog", hello);
    }
    if (is_copy(peers, hello)) {
        return refuse(peers, conn, &r->copied, "its directory is a copy of another member's", hello);
    }
    return 0;
}

/* Somebody calls himself @peer. If another process is reached at that member's address, it may be gone: we look, and
 * listen to nobody else until we know. Returns 0, or a code that closes the connection. */
static int check_boot(struct peers *peers, const struct peer_conn *conn, struct peer *peer,
                      const struct peer_hello *hello)
{
    struct peer_conn *reached = &peer->out[PEER_CONTROL];
    struct rlog_refusals *r = &peers->refusals;

    if (reached->state != PEER_UP || reached->conn.closing || reached->boot == hello->boot || reached->boot == 0 ||
        hello->boot == 0) {
        return 0;
    }
    if (peer->doubted_boot != hello->boot) {
        peer->doubted_boot = hello->boot;
        peer_conn_close(reached, MQ_ECLOSED);
        return MQ_ECLOSED; /* it comes again */
    }
    return hello->incarnation == reached->incarnation
               ? refuse(peers, conn, &r->copied, "another node has this directory, too", hello)
               : refuse(peers, conn, &r->duplicate, "another node has this number, too", hello);
}

/* Who is reached at the member's address now; a stranger who spoke in its name before is not listened to any more. */
static void settle_doubt(struct peer *peer, uint64_t boot)
{
    if (peer->doubted_boot == boot) {
        peer->doubted_boot = 0;
    }
    for (int lane = 0; lane < PEER_LANES; lane++) {
        struct peer_conn *in = peer->in[lane];

        if (in != NULL && in->boot != boot && in->boot != 0 && boot != 0) {
            peer_conn_close(in, MQ_ECLOSED);
        }
    }
}

/* @conn has reached another process of the member than our other lanes have: those are dead, though nothing may ever
 * say so. Its end lost them with its power or behind a partition, and on a lane to a directory that is no member
 * nothing is sent that would bring a reset. */
static void drop_dead_lanes(struct peer *peer, const struct peer_conn *conn)
{
    for (int lane = 0; lane < PEER_LANES; lane++) {
        struct peer_conn *out = &peer->out[lane];

        if (out != conn && out->state == PEER_UP && !out->conn.closing && conn->boot != 0 &&
            out->boot != conn->boot) {
            peer_conn_close(out, MQ_ECLOSED); /* it is dialled again */
        }
    }
}

static void warn_of_other_directory(const struct peers *peers, struct peer_conn *conn)
{
    if (peers->membership != NULL && !peer_in_takes_part(peers, conn) && conn->lane == PEER_CONTROL) {
        mq_log_limited(&conn->peer->refused_limit, MQ_LOG_WARN, "peer",
                       "member %" PRIu32 " at %s has a directory that is no member of this group: it may not vote or "
                       "acknowledge",
                       conn->peer->id, conn->peer->address);
    }
}

int peer_in_hello(struct peers *peers, struct peer_conn *conn, const struct peer_frame *frame)
{
    struct peer_hello hello;
    struct peer_conn *former;
    int rc = peer_hello_decode(frame, &hello);

    if (rc == 0) {
        rc = check_hello(peers, conn, &hello);
    }
    if (rc != 0) {
        return rc;
    }
    if (!conn->dialled) {
        rc = check_boot(peers, conn, peers_find(peers, hello.from), &hello);
    }
    if (rc != 0) {
        return rc;
    }
    conn->incarnation = hello.incarnation;
    conn->boot = hello.boot;
    if (conn->dialled) {
        peer_conn_set_state(conn, PEER_UP);
        settle_doubt(conn->peer, hello.boot);
        drop_dead_lanes(conn->peer, conn);
        return 0;
    }
    conn->peer = peers_find(peers, hello.from);
    peer_conn_set_lane(conn, hello.lane);
    /* What the former connection still holds must not come after what this one brings. */
    former = conn->peer->in[conn->lane];
    if (former != NULL) {
        peer_conn_close(former, MQ_ECLOSED);
    }
    conn->peer->in[conn->lane] = conn;
    peer_conn_set_state(conn, PEER_UP);
    warn_of_other_directory(peers, conn);
    return peer_conn_say_hello(conn);
}

int peer_in_message(struct peers *peers, struct peer_conn *conn, const struct peer_frame *frame)
{
    const struct peers_options *o = &peers->options;
    struct core_message message;
    int rc = peer_message_decode(frame, conn->peer->id, &message);

    if (rc != 0) {
        return rc;
    }
    if (!peer_in_takes_part(peers, conn)) {
        return 0; /* not founded yet, or a directory that has no say: said once, when it connected */
    }
    if ((message.type == CORE_VOTE_RESULT || message.type == CORE_APPEND_RESULT) && !counts(peers, conn)) {
        return 0; /* its place in our log is another directory's */
    }
    if (message.type == CORE_APPEND) {
        rc = peer_entries_decode(frame, message.append.n, peers->entries);
        if (rc != 0) {
            return rc;
        }
    }
    if (message.type == CORE_APPEND_RESULT) {
        conn->peer->passive = message.append_result.passive;
    }
    if (message.type == CORE_APPEND_RESULT && message.append_result.rejected > 0) {
        peer_out_rejected(conn->peer, message.term, message.append_result.rejected);
    }
    rc = o->ops->message(o->data, &message, peers->entries, peer_conn_chunk_ref(conn));
    if (rc == 0 && message.type == CORE_APPEND_RESULT) {
        peer_out_pump(conn->peer); /* an acknowledgement made room */
    }
    return rc;
}

int peer_in_state_hash(struct peers *peers, struct peer_conn *conn, const struct peer_frame *frame)
{
    struct state_hashes hashes;
    int rc = peer_state_hash_decode(frame, &hashes);

    if (rc == 0 && peer_in_takes_part(peers, conn)) {
        peers->options.ops->state_hash(peers->options.data, conn->peer, &hashes);
    }
    return rc;
}

int peer_in_space(struct peers *peers, struct peer_conn *conn, const struct peer_frame *frame)
{
    struct peer_space space;
    int rc = peer_space_decode(frame, &space);

    if (rc == 0 && counts(peers, conn)) {
        peers->options.ops->space(peers->options.data, conn->peer, conn->incarnation, &space);
    }
    return rc;
}

int peer_in_claim(struct peers *peers, struct peer_conn *conn, const struct peer_frame *frame)
{
    struct peer_claim claim;
    int rc = peer_claim_decode(frame, &claim);

    if (rc == 0 && peer_in_takes_part(peers, conn)) {
        peers->options.ops->claim(peers->options.data, conn->peer, conn->incarnation, &claim);
    }
    return rc;
}
