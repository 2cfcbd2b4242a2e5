/* What the core_*.c files share: the core itself, one step of the library, translation. Nobody else includes this. */
#ifndef RLOG_CORE_CORE_LIBRAFT_H
#define RLOG_CORE_CORE_LIBRAFT_H

#include "raft-log/core/core.h"
#include "raft-log/core/term_table.h"

#include <raft.h>

#define APPEND_RESULT_VERSION 2 /* of the message: with it the library of this version expects its fields filled */

struct contact {
    uint32_t peer;
    uint64_t at_ms;
};

struct core {
    struct raft raft;
    struct core_options options;
    struct term_table terms;       /* of all entries */
    uint64_t leader_term;          /* of the last append: the leader the library names is that of this term */
    struct core_message *messages; /* owned */
    uint32_t messages_cap;
    struct raft_entry *entries; /* owned; scratch for one received message */
    uint32_t entries_cap;
    struct contact contacts[RLOG_MEMBERS_MAX]; /* of this leadership */
    uint32_t n_contacts;
    struct raft_snapshot_metadata snapshot; /* being installed; owns its configuration */
    uint64_t claim_term, claim_index;       /* 0: none */
    bool passive, outside;
    /* As last reported, to see changes. */
    enum rlog_role_kind role;
    uint64_t role_term;
    uint32_t leader;
};

/* Tells the library of our heap. Once. */
void core_use_heap(void);

/* One event. Its update is added to what @update holds already. Returns 0 or one of our codes. */
int core_step(struct core *core, struct raft_event *event, struct core_update *update);
int core_step_message(struct core *core, uint64_t now_ms, struct raft_message *message, struct core_update *update);

static inline struct raft_event core_event(enum raft_event_type type, uint64_t now_ms)
{
    return (struct raft_event){.type = type, .time = now_ms};
}

/* Our encoded membership as the library's configuration, to be closed with raft_configuration_close. Returns 0 or
 * MQ_EBADMSG. */
int core_configuration(const struct core *core, const uint8_t *change, uint32_t n, struct raft_configuration *out);

/* The library's stand-in for @from. A CHANGE entry's buffer is to be freed with raft_free after the step. Returns 0
 * or MQ_EBADMSG. */
int core_stand_in(const struct core *core, const struct core_entry *from, struct raft_entry *to);

/* What the library is started behind: what is settled, or else the base. */
static inline const struct core_base *core_stem(const struct core_log *log)
{
    return log->settled.index > 0 ? &log->settled : &log->base;
}

/* Behind a start: makes the library know the terms of what is settled, too. */
void core_lengthen_trail(struct core *core, const struct core_log *log);

/* Whether this node may stand for election, as far as we have a say. */
bool core_may_stand(const struct core *core);
/* Whether this node is the only voter that its log knows of. */
bool core_is_lone(const struct core *core);
bool core_is_lone_in(const struct core *core, const struct raft_configuration *conf);
/* Lets a claim go that the log, durable up to @durable, has reached. */
void core_look_at_claim(struct core *core, uint64_t durable);
/* Looks whether role, term or leader changed. */
void core_note_role(struct core *core);

#endif
