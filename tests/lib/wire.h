/* A blocking client of the remoting protocol that sends whatever it is told, well-formed or not, so that tests do not
 * depend on the client library they may be testing. One thread each. */
#ifndef TESTS_LIB_WIRE_H
#define TESTS_LIB_WIRE_H

#include "remoting/base/buf.h"
#include "remoting/protocol/command.h"

struct wire {
    int fd; /* -1: closed */
    int32_t opaque;
    enum proto_encoding encoding;
    struct mq_buf in, out; /* owned; in holds the frame answered last */
};

struct wire_field {
    const char *key, *value;
};

struct wire_request {
    int32_t code;
    const struct wire_field *fields;
    uint32_t n_fields;
    const void *body;
    uint32_t body_bytes;
};

/* Connects to 127.0.0.1:@port. Returns 0 or -errno. */
int wire_open(struct wire *wire, int port);
void wire_close(struct wire *wire);

/* Bytes as they are. Returns 0 or -errno (the peer closed, or takes nothing for a second). */
int wire_put(struct wire *wire, const void *bytes, size_t n);

/* The next frame, decoded into @answer, which stays valid until the next call. Returns 0, MQ_ETIMEDOUT, MQ_ECLOSED
 * (end or reset) or MQ_EBADMSG. */
int wire_get(struct wire *wire, uint32_t timeout_ms, struct proto_command *answer);

/* One request and its answer; frames with another opaque are passed over. */
int wire_ask(struct wire *wire, const struct wire_request *request, uint32_t timeout_ms,
             struct proto_command *answer);

/* Writes the request into @out without sending it. */
int wire_encode(const struct wire *wire, const struct wire_request *request, int32_t opaque, struct mq_buf *out);

/* --- what tests ask most --- */

struct wire_status {
    char role[16];
    int32_t member, leader; /* the number in "n0"; leader -1: none known */
    uint64_t term, last_index, durable_index, commit_index, applied_index;
    uint64_t end_pos, applied_pos;
    uint64_t elections, open_ms, replayed, messages, parked_pulls, resident_bytes, anon_bytes;
    char state_hash[20];
};

/* Group status (30001) of the node at @port, over a connection of its own. */
int wire_status(int port, uint32_t timeout_ms, struct wire_status *out);

/* Creates or changes a topic (17). Returns the answer's code, or a negative code without one. */
int wire_create_topic(int port, const char *topic, uint32_t queues);

/* The queue's max offset (30): the answer's code, or a negative code. */
int wire_max_offset(int port, const char *topic, int32_t queue, int64_t *out);

/* What a group has committed (14): the answer's code, or a negative code. */
int wire_committed(int port, const char *group, const char *topic, int32_t queue, int64_t *out);

/* Sends one message (310). Returns the answer's code with @qoff set on 0, or a negative code without an answer.
 * @answer may be NULL. */
int wire_send(struct wire *wire, const char *topic, int32_t queue, const void *body, uint32_t body_bytes,
              int64_t *qoff, struct proto_command *answer);

/* Pulls (11) without waiting for new messages. Returns the answer's code, or a negative code. */
int wire_pull(struct wire *wire, const char *topic, int32_t queue, int64_t qoff, uint32_t count,
              struct proto_command *answer);

#endif
