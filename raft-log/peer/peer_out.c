/* Sending. The core says "append entries prev+1 ... prev+n to this peer", and repeats itself when it is unsure; this
 * file decides what of that to put on the wire.
 *
 * Entries. The core's wish only raises a mark, `wanted`; entries are taken from the log when the bulk connection has
 * room, so that nothing is queued but what the kernel takes soon, and nothing is dropped. Entries first ... next-1
 * were written on the live connection in this term, in order and without a gap: as the connection neither loses nor
 * reorders, they need not be written again unless the peer rejects (then the core asks again and we begin anew) or
 * the connection breaks. When the core asks for them again for lack of an answer, an empty append anchored at next-1
 * goes out on the same connection behind them, at most one a heartbeat: its answer is either the acknowledgement that
 * was lost, or a rejection. So bytes are never sent twice without a reason, and never withheld for ever.
 *
 * Far behind. What a peer lacks may be so much that a snapshot brings it to where it can acknowledge new entries
 * sooner: then, instead of the entries, it gets CORE_INSTALL, as the core says it to a peer that needs entries which
 * are gone, again every INSTALL_AGAIN_HEARTBEATS until the core asks for something else. To the core that peer is one
 * that answers heartbeats and takes no entries; when it has the snapshot it acknowledges its end, as it would
 * entries.
 *
 * Frames. A wish is cut into frames of bounded bytes and count, each with its own anchor. The commit index of
 * each is lowered to its last entry, as the receiver commits up to it. A CHANGE entry has a frame of its own: the
 * receiver's core must see it as the first and only new entry of a step.
 *
 * Heartbeats. They go on the control connection and overtake bulk. The core anchors an empty append at the last entry
 * it has sent, which the peer may not have yet, so it would be rejected, and the core would take its pipeline back.
 * So it is anchored anew at match, the highest entry that the peer has acknowledged in this term, with commit =
 * min(commit, match). Why that is right:
 *  - Follower: it holds entry `match` durably with our term's content, since it said so in this term, and cannot have
 * lost it to another leader without a higher term, in which it rejects us anyhow. So the log matching test passes,
 * its election timer restarts, and its commit index rises at most to match, all of which is the same as ours. Its
 * answer is "success, last = min(match, stored)" = match.
 *  - Leader: that answer renews the contact, does not raise match, and leaves next and the mode alone
 *    (progress is only updated by a higher match).
 *  - What gets lost is the question inside the core's heartbeat: do you have all that I sent? It is asked separately:
 * while the core's anchor is above match and the bulk connection was quiet for a heartbeat, the core's own empty
 * append goes out there, behind all entries. If they were lost with a former connection it is rejected, and the core
 * sends them again. While entries are held back the question is about those that were written: if only answers were
 * lost, nothing else would bring them back.
 *  - match is 0 until the first answer of a term, and may lie below the beginning of a log that was trimmed: then the
 * core's own anchor is used. A heartbeat is dropped if one of our appends is younger than half an interval and there
 * is no news of a commit index for a peer that is otherwise up to date: at its in-flight limit the core makes one
 * with every submission. */
#include "raft-log/peer/peer_out.h"

#include "raft-log/peer/peers.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"

#define INSTALL_AGAIN_HEARTBEATS 10u
#define CONTROL_QUEUE_BYTES (512u << 10) /* more than that unread: what is for control is dropped */

struct leadership {
    uint64_t commit, match;
};

static bool lead(const struct peer *peer, uint64_t term, struct leadership *out)
{
    const struct peers_options *o = &peer->peers->options;

    return term != 0 && o->ops->leads(o->data, term, peer->id, &out->commit, &out->match);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- writing ---- */

static bool write_frame_front(struct peer_conn *conn, const struct core_message *message, uint32_t raw_bytes)
{
    struct mq_buf *out = net_conn_out(&conn->conn);

    if (peer_message_encode(message, raw_bytes, out) != 0) {
        return false;
    }
    net_conn_out_done(&conn->conn);
    return !conn->conn.closing;
}

/* What is small and may be lost: on control, or on bulk while that is down. */
static void write_small(struct peer *peer, const struct core_message *message)
{
    enum peer_lane lane = peer_is_up(peer, PEER_CONTROL) ? PEER_CONTROL : PEER_BULK;

    if (peer_is_up(peer, lane) && peer->out[lane].conn.out_bytes < CONTROL_QUEUE_BYTES) {
        (void)write_frame_front(&peer->out[lane], message, 0);
    }
}

static struct core_message empty_append(const struct peer *peer, uint64_t prev, uint64_t prev_term, uint64_t commit)
{
    struct core_message message = {.type = CORE_APPEND, .peer = peer->id, .term = peer->sent.term};

    message.append.prev_index = prev;
    message.append.prev_term = prev_term;
    message.append.commit = least(commit, prev);
    return message;
}

static uint64_t term_of(const struct peer *peer, uint64_t index)
{
    return index == 0 ? 0 : commitlog_term_of(peer->peers->options.log, index);
}

/* Whether an append can begin behind @index: the log may have been trimmed since the peer was there. */
static bool is_anchor(const struct peer *peer, uint64_t index)
{
    return index + 1 >= commitlog_first_index(peer->peers->options.log);
}

/* Asks on the bulk connection, behind everything written there, whether the peer has what ends at @prev. */
static void write_check(struct peer *peer, uint64_t prev, uint64_t commit, uint64_t now)
{
    struct core_message message = empty_append(peer, prev, term_of(peer, prev), commit);

    if (is_anchor(peer, prev) && peer_is_up(peer, PEER_BULK) &&
        write_frame_front(&peer->out[PEER_BULK], &message, 0)) {
        peer->sent.bulk_ms = now;
    }
}

static void write_heartbeat(struct peer *peer, const struct leadership *l, const struct core_message *wish,
                            uint64_t now)
{
    bool at_match = l->match > 0 && is_anchor(peer, l->match);
    uint64_t prev = at_match ? l->match : wish->append.prev_index;
    uint64_t prev_term = at_match ? term_of(peer, l->match) : wish->append.prev_term;
    struct core_message message = empty_append(peer, prev, prev_term, l->commit);

    write_small(peer, &message);
    peer->sent.control_ms = now;
    peer->sent.told_commit =
        message.append.commit > peer->sent.told_commit ? message.append.commit : peer->sent.told_commit;
}

/* ---- entries ---- */

/* Reads an entry that is held. Returns whether it is good, as far as there is a reason to look. */
static bool read_good(const struct peer *peer, uint64_t index, struct commitlog_entry *out)
{
    int rc = commitlog_read(peer->peers->options.log, index, out);

    MQ_ASSERT(rc == 0 || rc == MQ_ECORRUPT);
    return rc == 0 && (index > peer->sent.doubted || rlog_entry_is_sound(&out->header, out->bytes));
}

/* How many entries from @first on make one frame; 0: the first one is bad. @bytes: theirs. */
static uint32_t measure(const struct peer *peer, uint64_t first, uint64_t last, uint32_t *bytes)
{
    struct commitlog_entry entry;
    uint32_t n = 0;
    uint32_t total = 0;

    for (uint64_t i = first; i <= last && n < PEER_FRAME_ENTRIES_MAX && read_good(peer, i, &entry); i++) {
        bool change = entry.header.type == RLOG_CHANGE;

        if (n > 0 && (change || total + entry.n > PEER_FRAME_RAW_BYTES)) {
            break;
        }
        total += entry.n;
        n++;
        if (change) {
            break;
        }
    }
    *bytes = total;
    return n;
}

/* Appends the bytes of @n entries as views, neighbours in one segment as one. */
static int write_entries(struct peer *peer, uint64_t first, uint32_t n)
{
    struct commitlog *log = peer->peers->options.log;
    struct net_conn *conn = &peer->out[PEER_BULK].conn;
    struct net_ref *run_ref = NULL;
    const uint8_t *run = NULL;
    size_t run_bytes = 0;
    int rc = 0;

    for (uint64_t i = first; i < first + n && rc == 0; i++) {
        struct commitlog_entry entry;
        struct net_ref *ref;

        rc = commitlog_get(log, i, &entry);
        ref = commitlog_hold(log, i);
        MQ_ASSERT(rc == 0 && ref != NULL);
        if (ref == run_ref && entry.bytes == run + run_bytes) {
            run_bytes += entry.n;
            net_ref_release(ref);
            continue;
        }
        if (run_ref != NULL) {
            rc = net_conn_out_view(conn, run, run_bytes, run_ref);
            net_ref_release(run_ref);
        }
        run = entry.bytes;
        run_bytes = entry.n;
        run_ref = ref;
    }
    if (rc == 0) {
        rc = net_conn_out_view(conn, run, run_bytes, run_ref);
    }
    net_ref_release(run_ref);
    return rc;
}

static bool write_append(struct peer *peer, const struct leadership *l, uint64_t now)
{
    struct peer_out *sent = &peer->sent;
    struct core_message message = {.type = CORE_APPEND, .peer = peer->id, .term = sent->term};
    uint32_t bytes;
    uint32_t n = measure(peer, sent->next, sent->wanted, &bytes);
    uint64_t last = sent->next + n - 1;

    if (n == 0) {
        sent->damaged = sent->next;
        peer->peers->options.ops->damaged(peer->peers->options.data, sent->next);
        return false;
    }
    message.append.prev_index = sent->next - 1;
    message.append.prev_term = term_of(peer, sent->next - 1);
    message.append.commit = least(l->commit, last);
    message.append.n = n;
    if (!write_frame_front(&peer->out[PEER_BULK], &message, bytes) || write_entries(peer, sent->next, n) != 0) {
        peer_conn_close(&peer->out[PEER_BULK], MQ_ENOMEM); /* half a frame may be there */
        return false;
    }
    sent->next = last + 1;
    sent->bulk_ms = now;
    sent->told_commit = message.append.commit > sent->told_commit ? message.append.commit : sent->told_commit;
    return true;
}

/* 0: not held any more. */
static uint64_t pos_of(const struct peer *peer, uint64_t index)
{
    const struct commitlog *log = peer->peers->options.log;

    return index >= commitlog_first_index(log) && index <= commitlog_last_index(log) ? commitlog_pos_of(log, index)
                                                                                     : 0;
}

/* Bytes that are on their way: written, not acknowledged. */
static uint64_t unacked_bytes(const struct peer *peer, uint64_t match)
{
    const struct peer_out *sent = &peer->sent;
    uint64_t from = match + 1 > sent->first ? match + 1 : sent->first;

    return from < sent->next ? pos_of(peer, sent->next - 1) - pos_of(peer, from) : 0;
}

void peer_out_pump(struct peer *peer)
{
    struct peer_out *sent = &peer->sent;
    struct leadership l;
    uint64_t now;

    if (sent->next == 0 || sent->next > sent->wanted || sent->damaged != 0 || !lead(peer, sent->term, &l)) {
        return;
    }
    now = mq_clock_mono_ms();
    if (l.match >= sent->next) {
        sent->next = l.match + 1; /* it has more than we thought */
    }
    if (!is_anchor(peer, sent->next - 1)) {
        peer_out_reset(peer); /* the core says what it needs now */
        return;
    }
    while (sent->next <= sent->wanted && peer_is_up(peer, PEER_BULK) &&
           peer->out[PEER_BULK].conn.out_bytes <= PEER_OUT_QUEUE_BYTES && /* drained comes if it is more */
           unacked_bytes(peer, l.match) < PEER_OUT_UNACKED_BYTES) {
        if (!write_append(peer, &l, now)) {
            return;
        }
    }
}

static void begin_at(struct peer_out *sent, uint64_t first, uint64_t last)
{
    sent->first = sent->next = first;
    sent->wanted = last;
}

/* Tells a peer that lacks very much to fetch a snapshot. Returns whether it is so. */
static bool want_snapshot(struct peer *peer, uint64_t first, uint64_t now)
{
    const struct peers_options *o = &peer->peers->options;
    struct core_message message = {.type = CORE_INSTALL, .peer = peer->id, .term = peer->sent.term};

    if (!o->ops->is_far(o->data, first, &message.install.base_index, &message.install.base_term)) {
        return false;
    }
    if (peer->sent.install_ms == 0 || now - peer->sent.install_ms >= INSTALL_AGAIN_HEARTBEATS * o->heartbeat_ms) {
        peer->sent.install_ms = now;
        write_small(peer, &message);
    }
    return true;
}

static void want_entries(struct peer *peer, const struct core_message *message, const struct leadership *l,
                         uint64_t now)
{
    struct peer_out *sent = &peer->sent;
    uint64_t first = message->append.prev_index + 1;
    uint64_t last = message->append.prev_index + message->append.n;

    if (!peer_is_up(peer, PEER_BULK)) {
        sent->next = 0; /* the core asks again */
    } else if (sent->next == 0 || first > sent->wanted + 1 || first < sent->first) {
        if (want_snapshot(peer, first, now)) {
            sent->next = 0;
        } else {
            begin_at(sent, first, last);
        }
    } else {
        if (first < sent->next && now - sent->bulk_ms >= peer->peers->options.heartbeat_ms) {
            write_check(peer, sent->next - 1, l->commit, now);
        }
        sent->wanted = last > sent->wanted ? last : sent->wanted;
    }
    peer_out_pump(peer);
    if (now - sent->control_ms >= peer->peers->options.heartbeat_ms) {
        write_heartbeat(peer, l, message, now); /* bulk may take its time: the peer shall know that we live */
    }
}

static void want_heartbeat(struct peer *peer, const struct core_message *message, const struct leadership *l,
                           uint64_t now)
{
    struct peer_out *sent = &peer->sent;
    bool held_back = sent->next != 0 && sent->next <= sent->wanted;
    uint64_t asked = held_back ? sent->next - 1 : message->append.prev_index;
    uint64_t last_ms = sent->bulk_ms > sent->control_ms ? sent->bulk_ms : sent->control_ms;
    bool level = sent->next == 0 || l->match + 1 >= sent->next;
    bool news = level && least(l->commit, l->match) > sent->told_commit;

    if (asked > l->match && l->match > 0 && now - sent->bulk_ms >= peer->peers->options.heartbeat_ms) {
        write_check(peer, asked, l->commit, now);
    }
    if (news || now - last_ms >= peer->peers->options.heartbeat_ms / 2) {
        write_heartbeat(peer, l, message, now);
    }
}

static void send_append(struct peer *peer, const struct core_message *message)
{
    uint64_t now = mq_clock_mono_ms();
    struct leadership l;

    if (!lead(peer, message->term, &l)) {
        return;
    }
    if (peer->sent.term != message->term) {
        peer->sent = (struct peer_out){.term = message->term, .resends = peer->sent.resends};
    }
    if (message->append.n > 0) {
        want_entries(peer, message, &l, now);
    } else {
        want_heartbeat(peer, message, &l, now);
    }
}

void peer_out_send(struct peer *peer, const struct core_message *message)
{
    if (message->type == CORE_APPEND) {
        send_append(peer, message);
    } else {
        write_small(peer, message);
    }
}

/* What was written on a connection that is lost now may have been refused. */
static void doubt_unacked(struct peer_out *sent)
{
    uint64_t last = sent->next != 0 ? sent->next - 1 : 0;

    sent->doubted = last > sent->doubted ? last : sent->doubted;
}

void peer_out_mended(struct peer *peer)
{
    if (peer->sent.damaged != 0) {
        peer->sent.damaged = 0;
        peer_out_pump(peer);
    }
}

void peer_out_reset(struct peer *peer)
{
    doubt_unacked(&peer->sent);
    peer->sent.damaged = 0;
    peer->sent.first = peer->sent.next = 0;
    peer->sent.wanted = 0;
    peer->sent.bulk_ms = 0;
}

void peer_out_rejected(struct peer *peer, uint64_t term, uint64_t index)
{
    struct leadership l;

    if (peer->sent.term == term && lead(peer, term, &l) && index > l.match) {
        peer->sent.resends += peer->sent.next != 0;
        peer_out_reset(peer);
    }
}
