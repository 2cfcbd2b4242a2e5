/* A broker in the test's own loop, and clients that talk to it over real connections. One thread. Waiting is for a
 * condition, with a deadline that fails the test. */
#ifndef TESTS_BROKER_RIG_H
#define TESTS_BROKER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/inside.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/net/channel.h"
#include "remoting/protocol/codes.h"

#define RIG_DEADLINE_MS 20000 /* for what takes milliseconds */

struct rig {
    char dir[64];
    struct net_loop loop;
    struct broker *broker;
    struct context *ctx;
    bool gone;
};

/* The loop and the directory of a rig, without a broker. */
void rig_loop(struct rig *rig);
/* A broker in it, until it takes sends. */
void rig_start(struct rig *rig, const char *const *overrides);

/* Both: opens a one-member broker in a new directory and waits until it takes sends. @overrides: "key=value",
 * NULL-terminated, added to those of the rig; may be NULL. */
void rig_open(struct rig *rig, const char *const *overrides);
/* Closes the broker and opens it again in the same directory. */
void rig_reopen(struct rig *rig, const char *const *overrides);
/* Closes the broker and waits until it is gone. */
void rig_stop(struct rig *rig);
/* Closes the loop and removes the directory, after rig_stop. */
void rig_end(struct rig *rig);
/* Both. */
void rig_close(struct rig *rig);

void rig_wait(struct rig *rig, bool (*is_so)(void *data), void *data);
void rig_wait_flag(struct rig *rig, const bool *flag);

struct answer;

/* A client's connection. */
struct peer {
    struct rig *rig;
    struct net_channel *ch;
    enum proto_encoding encoding;
    int32_t opaque;
    bool connected, closed;
    struct answer *waiting;
    uint32_t requests; /* that the broker pushed */
    int32_t last_request;
    char last_group[128];
    /* Called with each of them, inside the loop; may answer with peer_reply. NULL: they are counted only. */
    void (*on_request)(struct peer *peer, const struct proto_command *cmd);
    void *data;                            /* the test's */
    char last_pos[24], last_half_qoff[24]; /* commitLogOffset and tranStateTableOffset of a check */
};

void peer_dial(struct rig *rig, struct peer *peer, enum proto_encoding encoding);
void peer_dial_port(struct rig *rig, struct peer *peer, int port, enum proto_encoding encoding);
void peer_hang_up(struct peer *peer);

struct pair {
    const char *key, *value;
};

/* Fields of a request. */
#define FIELDS(...) ((const struct pair[]){__VA_ARGS__, {NULL, NULL}})
#define NO_FIELDS ((const struct pair[]){{NULL, NULL}})

struct answer {
    bool done;
    int32_t opaque;
    int32_t code;
    struct mq_buf text; /* owned: remark, then keys and values, each ended by a NUL */
    struct mq_buf body; /* owned; a NUL follows it */
    struct answer *next;
};

/* Starts a request; @answer (zeroed or used before) is filled later. NULL: one-way. */
void peer_start(struct peer *peer, int32_t code, const struct pair *fields, struct mq_str body,
                struct answer *answer);
/* Sends a recorded frame as it is; its opaque must not be one that waits. */
void peer_start_frame(struct peer *peer, const struct mq_buf *frame, struct answer *answer);
/* Starts and waits. Returns the code. */
int32_t peer_ask(struct peer *peer, int32_t code, const struct pair *fields, struct mq_str body,
                 struct answer *answer);
/* The same without an interest in more than the code. */
int32_t peer_code(struct peer *peer, int32_t code, const struct pair *fields, struct mq_str body);
/* Waits until everything sent before has been looked at: a request that is answered at once. */
void peer_sync(struct peer *peer);

/* Answers a request of the broker's. */
void peer_reply(struct peer *peer, int32_t opaque, int32_t code, const char *remark, struct mq_str body);

const char *answer_remark(const struct answer *answer);
/* NULL when the answer lacks it. */
const char *answer_field(const struct answer *answer, const char *key);
int64_t answer_number(const struct answer *answer, const char *key);
const char *answer_body(const struct answer *answer);
void answer_free(struct answer *answer);

/* --- what tests ask most --- */

/* 310 to @queue (as text). Returns the code; @answer may be NULL. */
int32_t rig_send(struct peer *peer, const char *topic, const char *queue, const char *body, const char *properties,
                 struct answer *answer);
/* 11 with the subscription in the request; @tags NULL: all; @suspend_ms 0: answered at once. */
void rig_pull_start(struct peer *peer, const char *topic, const char *queue, const char *qoff, const char *tags,
                    const char *suspend_ms, struct answer *answer);
int32_t rig_pull(struct peer *peer, const char *topic, const char *queue, const char *qoff, const char *tags,
                 struct answer *answer);
/* 17 with @queues read and write queues. Returns the code. */
int32_t rig_topic(struct peer *peer, const char *topic, const char *queues);

#endif
