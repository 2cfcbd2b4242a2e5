/* Every message that a run sends, what was answered, and where it was seen: decides what was lost, moved, doubled or
 * made up. Knows nothing of connections; the caller tells what happened.
 *
 * A message is (producer, seq); producers count from 0. Its body says who it is, so that a reader believes only
 * bytes: 0 u16 run tag, 2 u16 producer, 4 u32 seq, 8 u32 length, 12 u32 CRC-32C of everything else, 16 filler.
 * Little-endian. A queue is a number that the caller keeps a name for.
 *
 * One thread at a time; the caller locks. */
#ifndef TESTS_FAULT_ACCOUNT_H
#define TESTS_FAULT_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACCOUNT_BODY_MIN 16u
#define ACCOUNT_PRODUCERS_MAX 16u
#define ACCOUNT_TEXT_MAX 240

enum account_outcome {
    ACCOUNT_OPEN,    /* under way */
    ACCOUNT_ACKED,   /* stored at the offset told */
    ACCOUNT_REFUSED, /* certainly not stored */
    ACCOUNT_UNKNOWN  /* may be stored, at most once */
};

/* Ways to break the promise. */
enum account_fault {
    ACCOUNT_LOST,     /* acknowledged, and nowhere */
    ACCOUNT_MOVED,    /* acknowledged at one offset, read at another */
    ACCOUNT_DOUBLED,  /* stored twice, though sent once */
    ACCOUNT_RAISED,   /* stored, though refused */
    ACCOUNT_PHANTOM,  /* never sent, or sent to another queue */
    ACCOUNT_BODY,     /* bytes that are not those sent */
    ACCOUNT_GAP,      /* queue offsets with a hole, or a step back */
    ACCOUNT_CHANGED,  /* an offset gives another message than before */
    ACCOUNT_SHRUNK,   /* the end of a queue moved back */
    ACCOUNT_ORDER,    /* acknowledged before another began, but stored behind it */
    ACCOUNT_PROGRESS, /* a group's offset is not the one committed last */
    ACCOUNT_FAULTS
};

struct account_sent {
    int64_t floor;      /* highest offset acknowledged in the queue when this send began */
    int64_t acked_qoff; /* -1: not acknowledged */
    int64_t seen_qoff;  /* -1: not seen */
    uint32_t body_bytes;
    uint16_t queue;
    uint8_t outcome;
};

struct account_producer {
    struct account_sent *sent; /* owned; by seq */
    uint32_t n, cap;
    uint32_t settled; /* everything below has been judged */
};

struct account_seen {
    uint16_t producer;
    uint32_t seq;
};

struct account_queue {
    struct account_seen *seen; /* owned; by offset */
    uint64_t n, cap;
    int64_t acked_max;
    int64_t last_acked[ACCOUNT_PRODUCERS_MAX]; /* offset of the producer's last acknowledged message here */
    int64_t last_seq[ACCOUNT_PRODUCERS_MAX];
};

struct account {
    uint16_t tag; /* of this run */
    struct account_producer producers[ACCOUNT_PRODUCERS_MAX];
    struct account_queue *queues; /* owned */
    uint32_t n_queues;
    uint64_t sent, acked, refused, unknown, unknown_seen, seen;
    uint64_t faults[ACCOUNT_FAULTS];
    char first[ACCOUNT_FAULTS][ACCOUNT_TEXT_MAX]; /* what the first of each kind was */
};

/* Returns 0 or MQ_ENOMEM. */
int account_init(struct account *account, uint16_t tag, uint32_t n_queues);
void account_fini(struct account *account);

/* A send begins: gives its seq. Call before the first byte leaves. */
uint32_t account_begin(struct account *account, uint16_t producer, uint16_t queue, uint32_t body_bytes);
/* It ended. @qoff counts with ACCOUNT_ACKED only. */
void account_end(struct account *account, uint16_t producer, uint32_t seq, enum account_outcome outcome,
                 int64_t qoff);

/* Writes the body of a message. @bytes is at least ACCOUNT_BODY_MIN. */
void account_body(const struct account *account, uint16_t producer, uint32_t seq, uint8_t *at, uint32_t bytes);

/* The reader that goes along read @body at @qoff of @queue: must be the queue's next offset. */
void account_read(struct account *account, uint16_t queue, int64_t qoff, const uint8_t *body, uint32_t bytes);
/* Somebody read it again, or on another node, or found it in a file: must be what was read before. What it replaces
 * counts as not seen from now on, so that it is lost if it was acknowledged. */
void account_read_again(struct account *account, uint16_t queue, int64_t qoff, const uint8_t *body, uint32_t bytes);
/* The broker says that @queue ends at @end: everything below must have been read, and nothing above; what was, counts
 * as not seen from now on. */
void account_end_of_queue(struct account *account, uint16_t queue, int64_t end);

/* Judges messages with a known end. All queues must have been read to their ends. @all: also those judged before. */
void account_settle(struct account *account, bool all);

uint64_t account_open_sends(const struct account *account);
uint64_t account_faults(const struct account *account);
/* Counts from outside, for what only the caller can see. */
void account_fault(struct account *account, enum account_fault fault, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
const char *account_fault_name(enum account_fault fault);

#endif
