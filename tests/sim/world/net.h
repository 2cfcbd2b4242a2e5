/* The network between machines: directed links, and TCP streams over them.
 *
 * A stream loses, repeats and reorders nothing while it lives; what a network does to it is delay, a window that
 * fills, a reset, a peer that has forgotten it. Bytes that the kernel took are still delivered after the process that
 * sent them ended, also after it has made a new connection: that is how old messages come late, twice (sent again on
 * the new connection) and out of order.
 *
 * A cut link carries nothing. What was sent over it waits in the sender's kernel and goes on its way some time after
 * the link is healed, unless the stream's TCP_USER_TIMEOUT ended it first. With only the way back cut, bytes arrive
 * but no acknowledgement does: the sender gives up, the receiver does not know. */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "tests/sim/world/world.h"

struct machine;

/* One direction. All fields may be changed at any time; they count for what is sent from then on. */
struct link {
    uint64_t latency_min_ns, latency_max_ns; /* of each write */
    uint32_t stall_ppm;                      /* chance that a write is late by up to stall_max_ns (a lost packet) */
    uint64_t stall_max_ns;
    uint64_t bytes_per_s; /* 0: unlimited */
    uint32_t corrupt_ppm; /* chance that one bit of a write arrives changed */
    bool cut;             /* read only: link_cut, link_heal */
};

/* The link that carries what @from sends to @to. Loopback is a link, too. */
struct link *net_link(struct machine *from, struct machine *to);
void link_cut(struct link *link);
void link_heal(struct link *link);

/* Ends every connection between the two: both ends get ECONNRESET, bytes under way are lost. */
void net_reset(struct machine *a, struct machine *b);

/* The next @n connections that @machine would accept fail (UV_EMFILE); their other ends are reset. */
void net_fail_accepts(struct machine *machine, uint32_t n);

/* Kernel buffers of each stream of this world, in bytes; set before streams are made. 0: the default, 512 KiB. */
void net_set_buffers(size_t send_bytes, size_t receive_bytes);

struct net_stats {
    uint64_t connects, refused, accepted, writes, bytes, delivered, held, resets, user_timeouts, late_after_close;
};

const struct net_stats *net_stats(void);

#endif
