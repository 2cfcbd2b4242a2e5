/* A store with its state over a log in memory, in a directory of its own. */
#ifndef TESTS_BROKER_FIXTURE_H
#define TESTS_BROKER_FIXTURE_H

#include "broker/state/command.h"
#include "broker/state/fsm.h"
#include "broker/store/record_build.h"
#include "broker/store/store.h"
#include "tests/unit/broker/fake_log.h"

#define FIXTURE_TOPIC MQ_STR("Orders")

struct fixture {
    char dir[64];
    struct net_loop loop; /* only uv is there */
    struct rlog *log;
    struct store store;
    struct state state;
    uint64_t arrivals;
    int64_t last_tags_code;
};

/* @log_bytes: how large the log may become. */
void fixture_open(struct fixture *f, uint64_t log_bytes);
void fixture_close(struct fixture *f);

struct fixture_message {
    struct mq_str topic; /* absent: FIXTURE_TOPIC */
    int32_t queue_id;
    uint64_t qoff;
    const char *tags; /* NULL: none */
    uint32_t body_bytes;
    int64_t store_ms;
    bool born_v6;
};

/* A record with position zero at @at. Returns its size. */
uint32_t fixture_record(const struct fixture_message *m, uint8_t *at);
void fixture_set_pos(uint8_t *record, uint64_t pos);

/* Appends @n messages to the log as one entry, with the next offsets of their queues, and applies it. Returns the
 * position of the first. */
uint64_t fixture_put(struct fixture *f, const struct fixture_message *m, uint32_t n);

struct queue *fixture_queue(struct fixture *f, int32_t id);

/* A topic as it is when its item was applied. */
void fixture_topic(struct fixture *f, const char *name);

/* A directory that did not exist, and its removal. */
void fixture_dir_make(char dir[64]);
void fixture_dir_remove(const char *dir);

#endif
