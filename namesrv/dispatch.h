/* The running name server as its parts see it, requests by code, and how they are answered. */
#ifndef NAMESRV_DISPATCH_H
#define NAMESRV_DISPATCH_H

#include "namesrv/include/namesrv/namesrv.h"
#include "namesrv/kv_table.h"
#include "namesrv/route_table.h"
#include "remoting/base/log.h"
#include "remoting/net/server.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/headers.h"

struct namesrv {
    struct net_loop *loop;
    const struct namesrv_config *config; /* borrowed until the end */
    struct net_server server;
    struct route_table *routes; /* owned */
    struct kv_table *kv;        /* owned */
    uv_timer_t scan;
    uint64_t started_ms;
    uint64_t last_conn;   /* number of the latest connection, for route_table */
    struct mq_buf unsent; /* where answers to one-way requests go */
    uint32_t open_parts;  /* scan and server, while closing */
    void (*closed)(void *data);
    void *closed_data;
};

/* One request under way; lives for the call that brought it. */
struct namesrv_request {
    struct namesrv *srv;
    struct net_channel *ch;
    struct proto_command *cmd;
    uint64_t now_ms; /* monotonic */
};

/* The number of the request's connection, see route_table.h. */
static inline uint64_t namesrv_conn(const struct net_channel *ch)
{
    return (uint64_t)(uintptr_t)ch->session;
}

/* Answers @cmd at once. */
void dispatch_command(struct namesrv *srv, struct net_channel *ch, struct proto_command *cmd);

/* Answers. A handler calls exactly one of them: dispatch_reply_ok, dispatch_reply_error, dispatch_reply_bad_header,
 * dispatch_reply_failed or dispatch_reply_body for the whole answer, or dispatch_reply_begin, header fields,
 * dispatch_reply_end. Nothing is sent to a one-way request. */
void dispatch_reply_begin(struct namesrv_request *rq, struct proto_writer *w, int32_t code);
void dispatch_reply_end(struct namesrv_request *rq, struct proto_writer *w,
                        const struct mq_buf *body); /* NULL: no body */

void dispatch_reply_ok(struct namesrv_request *rq);
void dispatch_reply_error(struct namesrv_request *rq, int32_t code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void dispatch_reply_bad_header(struct namesrv_request *rq, const struct proto_problem *why);
/* Our own failure @rc with what it was about. */
void dispatch_reply_failed(struct namesrv_request *rq, int rc, const char *what);
/* Success with @body, or our failure @rc to make it. Frees the body. */
void dispatch_reply_body(struct namesrv_request *rq, int rc, struct mq_buf *body);

#endif
