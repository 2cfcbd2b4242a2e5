/* What a client is made of. All of it belongs to the loop's thread and lives until the client is closed: addresses,
 * broker groups and topics that were once learnt are kept, so that pointers to them stay good. */
#ifndef CLIENT_INSTANCE_H
#define CLIENT_INSTANCE_H

#include "client/broker_link.h"
#include "client/include/raftmq/raftmq.h"
#include "remoting/base/buf.h"
#include "remoting/net/client.h"
#include "remoting/protocol/body_route.h"
#include "remoting/protocol/message.h"

#include <sys/queue.h>

#define CLIENT_GROUPS_MAX 4096
#define CLIENT_TOPICS_MAX 4096

/* How often the timer looks at what waits, and how often the name servers are asked while a leader is searched for.
 */
#define CLIENT_SEARCH_TICK_MS 10
#define CLIENT_SEARCH_ROUTE_MIN_MS 50
#define CLIENT_SEARCH_ROUTE_MAX_MS 200
#define CLIENT_ROUTE_MS 30000 /* as stock clients */

struct topic;

/* The library's part of a rmq_send. */
struct send_own {
    struct net_call call;
    TAILQ_ENTRY(send_own) link; /* in the waiting list of its topic or group */
    uint64_t serial;            /* order of the starts */
    struct topic *topic;
    struct group *group;       /* chosen; NULL while the route is not known */
    struct broker_link *asked; /* where it is under way */
    uint64_t deadline_ms;      /* of the whole, by the loop's clock */
    int64_t born_ms;           /* wall clock, the same in all attempts */
    uint32_t attempts;
    int32_t queue_id;
    int32_t last_code; /* of the last refusal, -1 before */
    bool probe;        /* asked finds out with it whether it leads */
    char uniq_key[32];
};

/* The library's part of a rmq_pull. */
struct pull_own {
    struct net_call call;
    TAILQ_ENTRY(pull_own) link;
    struct group *group;
    uint64_t deadline_ms;
};

_Static_assert(sizeof(struct send_own) <= sizeof(((struct rmq_send *)0)->own), "rmq_send.own is too small");
_Static_assert(sizeof(struct pull_own) <= sizeof(((struct rmq_pull *)0)->own), "rmq_pull.own is too small");

static inline struct send_own *own_of_send(struct rmq_send *send)
{
    return (struct send_own *)(void *)send->own;
}

static inline struct pull_own *own_of_pull(struct rmq_pull *pull)
{
    return (struct pull_own *)(void *)pull->own;
}

TAILQ_HEAD(send_list, send_own);
TAILQ_HEAD(pull_list, pull_own);

struct member {
    int64_t id; /* 0: the leader, as the name server has it */
    struct broker_link *link;
};

/* One broker name: the members of a replicated group, one of which takes sends. */
struct group {
    struct group *next;
    struct rmq_client *client;
    char *name;          /* owned */
    struct topic *topic; /* whose route tells of it */
    struct member members[PROTO_BROKER_ADDRS_MAX];
    uint32_t n_members;
    struct broker_link *leader; /* NULL: it is searched for */
    struct send_list sends;     /* not under way: no leader, or it is not connected, or has too many calls open */
    struct pull_list pulls;     /* no member is connected */
    uint64_t pause_ms;          /* the leader is busy: nothing is sent before */
};

struct topic_queue {
    struct group *group;
    int32_t id;
};

struct topic {
    struct topic *next;
    struct rmq_client *client;
    char *name;                       /* owned */
    struct mq_str key;                /* name as a slice */
    struct topic_queue *write, *read; /* owned */
    uint32_t n_write, n_read;
    uint32_t turn;          /* of round robin */
    bool known;             /* a name server told of it */
    bool borrowed;          /* the route is TBW102's: the first send will create the topic */
    bool create;            /* somebody would send to it */
    bool wanted;            /* somebody needs the route: it is kept fresh */
    bool asking;            /* a request for its route is under way */
    bool asking_template;   /* it is for TBW102 */
    uint64_t refresh_ms;    /* when to ask again */
    struct send_list sends; /* waiting for the first route */
    struct route_wait *waits;
};

struct rmq_client {
    struct net_loop *loop;
    char *group_name; /* owned */
    uint32_t send_timeout_ms, connections;
    enum proto_encoding encoding;
    bool only_leader_routes, closing, finishing;
    char *namesrv[RMQ_NAMESRVS_MAX]; /* owned */
    uint32_t n_namesrv, namesrv_turn;
    struct broker_link *links;
    uint32_t links_open;
    struct group *groups;
    uint32_t n_groups;
    struct topic *topics;
    uint32_t n_topics;
    struct topic *last_topic; /* of the last send: most callers use one */
    struct proto_uniq_key uniq_key;
    int64_t wall_ms; /* wall clock, as of loop time wall_at_ms */
    uint64_t wall_at_ms;
    uint64_t serial;          /* of the last send */
    struct mq_buf properties; /* of the message being written */
    uv_timer_t pace;
    uint64_t pace_at_ms; /* what it is set to; 0: not running */
    uint32_t jitter;
    void (*closed)(void *data);
    void *closed_data;
};

static inline uint64_t client_now_ms(const struct rmq_client *client)
{
    return uv_now(&client->loop->uv);
}

/* Has the timer look within @in_ms. */
void client_pace(struct rmq_client *client, uint64_t in_ms);

/* A pseudo-random number in [@min, @max]. */
uint32_t client_jitter(struct rmq_client *client, uint32_t min, uint32_t max);

/* broker_link.c: an address came up, or the last attempt or connection to it is gone. */
void client_link_up(struct rmq_client *client, struct broker_link *link);
void client_link_down(struct rmq_client *client, struct broker_link *link);

/* route_cache.c. Get finds or makes; NULL without memory or over the maximum. */
struct topic *topic_get(struct rmq_client *client, struct mq_str name);
void topic_free(struct topic *topic);
/* Asks for the route unless that is under way. */
void topic_refresh(struct topic *topic);
/* Looks at what is due; returns in how many ms to look again. */
uint64_t topic_tick(struct topic *topic);
void topic_closed(struct topic *topic);

/* group.c */
struct group *group_get(struct rmq_client *client, struct mq_str name, struct topic *topic);
void group_free(struct group *group);
/* Takes the members over from a route. */
void group_learn(struct group *group, const struct proto_broker_data *data);
/* @link does not lead (any more), or is silent: search, unless another one was found already. */
void group_lost(struct group *group, const struct broker_link *link);
void group_found(struct group *group, struct broker_link *link);
/* Has the send wait for the leader, in the order of the starts. */
void group_wait(struct group *group, struct send_own *own);
/* Sends what waits, as far as possible. */
void group_flush(struct group *group);
/* Pulls from the leader or, when it is not up, from another member; waits when none is up. 0, or a code of
 * pull_write. */
int group_pull(struct group *group, struct pull_own *own);
uint64_t group_tick(struct group *group);
void group_closed(struct group *group);

/* producer.c */
/* Chooses the queue if the route allows it and starts the send, or has it wait. Returns 0, or a negative code when it
 * can never be sent. */
int send_start(struct send_own *own);
/* Writes it to @link. Returns 0 (the answer will come), MQ_ECLOSED or MQ_EBUSY (not now), or another code (never). */
int send_write(struct send_own *own, struct broker_link *link);
/* Ends a send that is not under way, with its outcome RMQ_REFUSED. */
void send_fail(struct send_own *own, int status);

/* pull_consumer.c */
int pull_write(struct pull_own *own, struct broker_link *link);
void pull_fail(struct pull_own *own, int status);

/* queue_select.c: sets group and queue_id of the send from its topic's route. Returns 0 or MQ_ENOTFOUND (no such
 * queue). */
int queue_select(struct send_own *own);

static inline struct rmq_send *send_of_own(struct send_own *own)
{
    return (struct rmq_send *)(void *)((char *)own - offsetof(struct rmq_send, own));
}

static inline struct rmq_pull *pull_of_own(struct pull_own *own)
{
    return (struct rmq_pull *)(void *)((char *)own - offsetof(struct rmq_pull, own));
}

#endif
