/* Who sent what and what came back of it: the bookkeeping behind every claim of `raftmq try`.
 *
 * A message is known by its queue and its sequence number there, counted from 0 by the one producer. Each goes
 * through started -> acknowledged | refused | unknown, and may be consumed at any time after it was started. Events
 * are counted by a clock of the queue's own, which is enough to say which sends did not overlap: A was acknowledged
 * before B was started. */
#ifndef CLIENT_TOOLS_ACCOUNT_H
#define CLIENT_TOOLS_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#define ACCOUNT_BODY_MIN 32 /* bytes a body needs to carry its identity */

struct account;

struct account_verdict {
    uint64_t started, acknowledged, refused, unknown;
    uint64_t open;           /* started, and nothing was told about them yet */
    uint64_t consumed;       /* different messages that were read and had been started */
    uint64_t unknown_stored; /* of the unknown ones, those that were read */
    uint64_t lost;           /* acknowledged, never read */
    uint64_t duplicated;     /* further copies of messages that were read */
    uint64_t reordered;      /* read before a message that was acknowledged before they were started */
    uint64_t moved;          /* acknowledged with one queue offset, read only at others */
    uint64_t phantom;        /* read, but refused, never started, or damaged */
    uint64_t gaps;           /* places where a queue's offsets do not go on by one */
};

/* Returns NULL without memory. */
struct account *account_new(uint32_t queues);
void account_free(struct account *account);

/* Starts the next message of @queue. Returns its sequence number, or -1 without memory. */
int64_t account_start(struct account *account, uint32_t queue);

/* How it ended. */
void account_acknowledged(struct account *account, uint32_t queue, uint64_t seq, int64_t qoff);
void account_refused(struct account *account, uint32_t queue, uint64_t seq);
void account_unknown(struct account *account, uint32_t queue, uint64_t seq);

/* A record that was read at @qoff of @queue, in the order of reading. @body: what account_body wrote, if it is ours.
 */
void account_consumed(struct account *account, uint32_t queue, int64_t qoff, const void *body, uint32_t body_bytes);

/* Writes the identity of a message into @body, with a checksum over all @body_bytes (ACCOUNT_BODY_MIN at least). It
 * also tells this run's messages from those of another one. */
void account_body(const struct account *account, uint32_t queue, uint64_t seq, void *body, uint32_t body_bytes);

/* The offset that the next record of the queue must have. */
int64_t account_next_qoff(const struct account *account, uint32_t queue);

/* Counts up. Lost and moved are final only when everything was read. */
void account_verdict(const struct account *account, struct account_verdict *out);

/* True when nothing was lost, reordered, moved or made up, no gap was seen and nothing is open. */
bool account_passes(const struct account_verdict *verdict);

#endif
