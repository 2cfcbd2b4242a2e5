/* What processors reach: the parts of the broker below them, put together by broker.c. Loop thread. */
#ifndef BROKER_PROCESSOR_CONTEXT_H
#define BROKER_PROCESSOR_CONTEXT_H

#include "broker/config.h"
#include "broker/flow/cold_reads.h"
#include "broker/flow/delayed.h"
#include "broker/processor/runtime.h"
#include "broker/state/fsm.h"
#include "broker/store/sequencer.h"
#include "broker/store/store.h"
#include "raft-log/include/raftlog/raftlog.h"
#include "remoting/net/calls.h"
#include "remoting/protocol/command.h"
#include "remoting/protocol/message.h"
#include "remoting/protocol/record.h"

#define CLIENT_ID_MAX 255 /* bytes; clients make "address@pid#nanoseconds" */

struct pop_hold;
struct pull_hold;
struct producer_table;
struct consumer_table;
struct quota;
struct flows;
struct indexer;
struct told;

/* A name server is asked for the route of a topic (105): set at assembly. Returns 0, after which @cb comes once and
 * never inside; MQ_ENOTFOUND: there is none to ask; MQ_ECLOSED: none is connected; MQ_EBUSY, MQ_ENOMEM. */
struct ask_route {
    void *data;
    int (*start)(void *data, struct mq_str topic, struct net_call *call, uint32_t timeout_ms, net_call_cb cb);
};

struct context {
    struct net_loop *loop;
    const struct broker_config *config;
    struct rlog *log;
    struct rlog_role role; /* as fsm.role said last */
    struct store *store;
    struct state *state;
    struct sequencer *sequencer;
    struct pull_hold *pull_hold;
    struct pop_hold *pop_hold;
    uint32_t pops; /* counted, to take turns */
    struct cold_reads cold_reads;
    struct delayed_rules delayed;
    struct recall *recalls_first; /* those under way: recall.c */
    uint32_t recalls;
    struct flows *flows;     /* NULL until they are open */
    struct indexer *indexer; /* NULL: messageIndexEnable is false */
    uint32_t key_queries;    /* under way: query_message.c */
    uint32_t views;          /* records being read for 33: query.c */
    struct ask_route ask_route;
    uint32_t assignments; /* that wait for a route: assignment.c */
    struct producer_table *producers;
    struct consumer_table *consumers;
    struct quota *quota;          /* NULL: nobody is limited */
    struct net_calls *calls;      /* what this node asks its clients */
    struct told *told;            /* answers that wait for name servers */
    struct proto_host store_host; /* brokerIP1:listenPort, what records and message ids carry */
    struct proto_uniq_key uniq_key;
    int64_t boot_ms;         /* wall clock */
    uint32_t next_any_queue; /* for sends that leave the queue to us */
    uint32_t backs_cold;     /* send_back's: requests whose record is on its way from the disk */
    struct runtime runtime;
    struct {
        uint64_t puts, put_bytes, put_failed; /* messages acknowledged; refused or lost requests */
        uint64_t gets, get_found, get_missed; /* messages delivered; pulls that found and did not */
    } stats;
};

static inline bool context_writable(const struct context *ctx)
{
    return ctx->role.kind == RLOG_WRITABLE;
}

/* Handles one request; answers it now or later exactly once, unless it is one-way. @cmd and its slices are gone when
 * it returns. */
typedef void (*processor_fn)(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

#endif
