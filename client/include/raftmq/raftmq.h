/* libraftmq, first slice: routes, pipelined sends, pulls, against any broker that speaks RocketMQ's remoting
 * protocol.
 *
 * One rmq_client belongs to one loop's thread; every call and callback happens there. Results come through callbacks,
 * once per successful start, never inside the start call. The blocking form and the consumer groups come with the
 * full library. */
#ifndef RAFTMQ_RAFTMQ_H
#define RAFTMQ_RAFTMQ_H

#include "remoting/base/text.h"
#include "remoting/net/loop.h"
#include "remoting/protocol/command.h"

#include <stdbool.h>
#include <stdint.h>

struct rmq_client;

#define RMQ_CONNECTIONS_MAX 1024 /* to one broker address */
#define RMQ_NAMESRVS_MAX 16

/* Zero or NULL means the default. Addresses may be names; those are resolved by a blocking call when first used. */
struct rmq_options {
    const char *namesrv;          /* "host:port;host:port" */
    const char *group;            /* producer group; default "RAFTMQ_PRODUCER" */
    uint32_t send_timeout_ms;     /* of one attempt; default 3000 */
    uint32_t connections;         /* to each broker address, used in turn; default 1 */
    enum proto_encoding encoding; /* of requests; default JSON, as stock clients */
    bool only_leader_routes;      /* do not try the other members when the leader is silent (as stock clients) */
};

/* How a send ended. The three are distinct: what is unknown may have been stored. An answer 1 is unknown even without
 * the mark [UNKNOWN], because stock brokers answer it also when only a replica's word is missing, and so are 10, 11
 * and 12, which tell that the message is stored but not as safely as it should be. */
enum rmq_outcome {
    RMQ_ACKNOWLEDGED, /* stored: offset and ids are valid */
    RMQ_REFUSED,      /* certainly not stored: code and remark say why */
    RMQ_UNKNOWN       /* the connection was lost, the time ran out, or the broker does not know either */
};

struct rmq_send_result {
    enum rmq_outcome outcome;
    int code;   /* wire code of the answer, or -1 without one */
    int status; /* 0, or the local error: MQ_ETIMEDOUT, MQ_ECLOSED, MQ_ENOTFOUND (no route), MQ_ENOMEM, MQ_ETOOBIG */
    int32_t queue_id;
    int64_t qoff;
    struct mq_str msg_id;      /* borrowed until the callback returns */
    struct mq_str remark;      /* borrowed */
    struct mq_str broker_name; /* borrowed */
    uint32_t attempts;         /* 1: no retry */
};

struct rmq_send;
typedef void (*rmq_send_cb)(struct rmq_send *send, const struct rmq_send_result *result);

/* One message to send. The caller's memory, with everything it points to, from a successful start until its callback.
 */
struct rmq_send {
    void *data; /* caller's */
    struct mq_str topic;
    struct mq_str body;
    struct mq_str tags, keys;
    struct mq_str properties; /* further ones: name 01 value 02 ...; may be absent */
    const char *broker_name;  /* NULL: chosen by round robin over the topic's queues */
    int32_t queue_id;         /* with broker_name NULL: -1 for round robin, else this queue of any broker */
    uint32_t lane; /* 0: any connection in turn; n: the n-th one while it is up, so that a caller has its own */
    uint32_t retries_max; /* further attempts after an answer 14 or 2, with which nothing was stored; unknown outcomes
                             are never sent again by the library. Waiting for a leader costs no attempt. */
    uint32_t timeout_ms;  /* whole time for all attempts; 0: send_timeout_ms of the options */
    /* the library's own: */
    rmq_send_cb cb;
    struct rmq_client *client;
    uint64_t own[24];
};

/* Makes a client on @loop. Options are copied. Returns 0, MQ_EINVAL (namesrv), MQ_ENOMEM. */
int rmq_client_new(struct net_loop *loop, const struct rmq_options *options, struct rmq_client **out);
/* Ends it: everything under way is answered (what was sent RMQ_UNKNOWN, what still waited RMQ_REFUSED with
 * MQ_ECLOSED), then @closed comes and it is gone. Nothing may be started from now on. */
void rmq_client_close(struct rmq_client *client, void (*closed)(void *data), void *data);

/* Queues of a topic as last learnt. */
struct rmq_queue {
    const char *broker_name; /* borrowed from the client, which keeps it until it is closed */
    int32_t queue_id;
};

/* Asks the name servers for the topic's route (TBW102's when the topic is unknown and @create), then calls back with
 * 0 and the queues for reading (@write false) or writing, or MQ_ENOTFOUND, MQ_ETIMEDOUT. */
typedef void (*rmq_route_cb)(void *data, int status, const struct rmq_queue *queues, uint32_t n);
int rmq_route(struct rmq_client *client, struct mq_str topic, bool write, bool create, rmq_route_cb cb, void *data);

/* Sends. Returns 0, MQ_EINVAL (no topic, no body), MQ_ENOTFOUND (the topic has no such queue), MQ_ETOOBIG, MQ_ENOMEM
 * or MQ_ECLOSED. A leader that is gone is noticed by its connection or by the answer: the other members are asked at
 * once, with short back-off, until one takes the message or the time is up. */
int rmq_send_async(struct rmq_client *client, struct rmq_send *send, rmq_send_cb cb);

struct rmq_pull;
struct rmq_pull_result {
    int status; /* 0, or no answer: MQ_ETIMEDOUT, MQ_ECLOSED, MQ_ENOTFOUND */
    int code;   /* 0 found, 19, 20, 21, or an error */
    int64_t next_offset, min_offset, max_offset;
    const uint8_t *records; /* stored records one behind the other; borrowed until the callback returns */
    uint32_t records_bytes;
    struct mq_str remark;
};
typedef void (*rmq_pull_cb)(struct rmq_pull *pull, const struct rmq_pull_result *result);

struct rmq_pull {
    void *data;
    struct mq_str topic, group;
    const char *broker_name;
    int32_t queue_id;
    int64_t qoff;
    uint32_t count_max;
    uint32_t lane;            /* as in rmq_send */
    uint32_t suspend_ms;      /* 0: answer at once */
    struct mq_str expression; /* tags; absent: all */
    /* the library's own: */
    rmq_pull_cb cb;
    struct rmq_client *client;
    uint64_t own[24];
};

/* Pulls with the subscription in the request, so that no heartbeat is needed. Asks the leader; while it is not
 * reachable any other member, which serves what it holds; waits at most suspend_ms and the send time-out of the
 * options. Returns 0, MQ_EINVAL (no topic, group or broker name), MQ_ENOMEM or MQ_ECLOSED. */
int rmq_pull_async(struct rmq_client *client, struct rmq_pull *pull, rmq_pull_cb cb);

/* One request with only string fields to one address, for tools: "host:port". */
struct rmq_field {
    const char *key, *value;
};
/* @status: 0, MQ_ETIMEDOUT, MQ_ECLOSED (connection lost or refused), MQ_EINVAL (not an address), MQ_ENOMEM,
 * MQ_ETOOBIG.
 * @answer: borrowed until the callback returns; NULL unless @status is 0. */
typedef void (*rmq_answer_cb)(void *data, int status, struct proto_command *answer);
int rmq_ask(struct rmq_client *client, const char *addr, int32_t code, const struct rmq_field *fields, uint32_t n,
            const void *body, size_t body_bytes, uint32_t timeout_ms, rmq_answer_cb cb, void *data);

/* Addresses of the members of every broker name the name servers know: calls back with a decoded cluster table. */
struct rmq_member {
    const char *cluster, *broker_name, *addr;
    int64_t broker_id;
};
typedef void (*rmq_members_cb)(void *data, int status, const struct rmq_member *members, uint32_t n);
int rmq_members(struct rmq_client *client, rmq_members_cb cb, void *data);

#endif
