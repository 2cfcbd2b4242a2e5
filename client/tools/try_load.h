/* The traffic of `raftmq try`: sends spread over the queues, many under way at once, and one reader for each queue.
 * Every message's fate goes into an account. */
#ifndef CLIENT_TOOLS_TRY_LOAD_H
#define CLIENT_TOOLS_TRY_LOAD_H

#include "client/tools/account.h"
#include "client/tools/tool.h"

#define TRY_QUEUES 8
#define TRY_WINDOW 256 /* sends under way */
#define TRY_BODY_BYTES 128

struct try_slot {
    struct rmq_send send;
    struct try_load *load;
    uint32_t queue;
    int64_t seq;
    uint64_t started_ns;
    uint8_t body[TRY_BODY_BYTES];
};

struct try_reader {
    struct rmq_pull pull;
    struct try_load *load;
    bool idle; /* waits for the next tick after an error */
};

struct try_load {
    struct tool *tool;
    struct account *account;
    const char *topic;
    char broker_name[64];
    void (*at_half)(void *data); /* called once, when half of the messages were started */
    void *data;
    uint64_t wanted, started, acknowledged, unknown, refused, consumed;
    uint32_t sends_open, pulls_open;
    struct try_slot slots[TRY_WINDOW];
    struct try_reader readers[TRY_QUEUES];
    uv_timer_t tick;
    bool sent;     /* all are answered */
    bool stopping; /* readers do not go on */
    bool broken;   /* no memory: the account is not complete */
    /* The failover: from the kill to the acknowledgement of a send that was started after it. */
    uint64_t killed_ns, recovered_ns;
    bool recovered;
    char last_trouble[160];
};

/* Starts reading and sending. */
void try_load_start(struct try_load *load);
/* Tells that the leader was killed now. */
void try_load_killed(struct try_load *load);
/* Stops the readers and waits for what is under way. */
void try_load_stop(struct try_load *load);

#endif
