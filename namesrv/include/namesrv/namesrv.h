/* A name server inside a loop of the caller's: the program mqnamesrv is this, and so is the one that a development
 * broker or a test embeds. Everything runs on the loop's thread.
 *
 *   struct namesrv_config config;
 *   namesrv_config_init(&config);                 (then change what should differ)
 *   namesrv_open(&loop, &config, &server, &problem);
 *   ... namesrv_port(server) ...
 *   namesrv_close(server, on_closed, data);       (on_closed comes when nothing of it is left)
 *   namesrv_config_fini(&config); */
#ifndef NAMESRV_NAMESRV_H
#define NAMESRV_NAMESRV_H

#include "remoting/base/buf.h"
#include "remoting/net/loop.h"

#include <stdbool.h>
#include <stdint.h>

/* The fields are named after RocketMQ's keys where there is one; see README.md. Strings are owned. */
struct namesrv_config {
    char *bind_address;
    int64_t listen_port;    /* 0: a free one, see namesrv_port */
    char *kv_config_path;   /* NULL or empty: KV configuration is kept in memory only */
    char *log_file;         /* NULL or empty: standard error */
    int log_level;          /* enum mq_log_level */
    bool order_message;     /* orderTopicConf in routes */
    bool return_order_conf; /* the order topics in answers to registrations */
    bool topic_list;        /* 206 is answered */
    bool whole_tables;      /* deleteTopicWithBrokerRegistration */
    bool wait_for_service;  /* answer 105 with "not ready" for the first seconds */
    int64_t wait_seconds;
    int64_t scan_ms;           /* how often liveness is looked at */
    int64_t broker_timeout_ms; /* of brokers that do not name their own */
    int64_t master_grace_ms;   /* how long id 0 stays listed after its connection closed */
    int64_t idle_seconds;      /* a connection without traffic is closed after this */
};

/* Defaults, with KV configuration in memory. Returns 0 or MQ_ENOMEM. */
int namesrv_config_init(struct namesrv_config *config);
void namesrv_config_fini(struct namesrv_config *config);

struct namesrv;

/* Reads the KV file and listens. @config is borrowed until namesrv_close has called back. Returns 0 and @out, or a
 * negative code with one line in @problem (a broken KV file, a port in use); then nothing is open. */
int namesrv_open(struct net_loop *loop, const struct namesrv_config *config, struct namesrv **out,
                 struct mq_buf *problem);

int namesrv_port(const struct namesrv *server); /* the one bound */

/* Stops listening, closes all connections in order and frees @server; then @closed is called, once, never inside. */
void namesrv_close(struct namesrv *server, void (*closed)(void *data), void *data);

#endif
