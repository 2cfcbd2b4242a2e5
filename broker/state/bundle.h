/* Records and items that go into one entry side by side: all of them reach the log, or none does. Loop thread.
 *
 * Items behind a record may speak of it (state/apply.h), so what happens together is written together: a delayed
 * message's delivery and the end of its delay, a half message's commit and the end of its transaction. */
#ifndef BROKER_STATE_BUNDLE_H
#define BROKER_STATE_BUNDLE_H

#include "broker/state/command.h"
#include "broker/store/record_build.h"
#include "broker/store/record_copy.h"
#include "broker/store/sequencer.h"

#define BUNDLE_PARTS_MAX 64u

enum bundle_kind { BUNDLE_NEW, BUNDLE_COPY, BUNDLE_ITEM };

/* All borrowed during bundle_add. The store time of records is set by it. */
struct bundle_part {
    enum bundle_kind kind;
    struct queue *queue; /* of a record: where it goes; topic and queue id of the record must say the same */
    union {
        struct record_source *source; /* BUNDLE_NEW */
        struct record_copy *copy;     /* BUNDLE_COPY */
        const ProtobufCMessage *item; /* BUNDLE_ITEM */
    };
    bool own;               /* of a new record: the broker's own properties are added (record_build) */
    enum command_type type; /* of an item */
};

/* Gathers the parts into the next entry, in this order. @p: copied; told when the entry is applied or lost, its at,
 * bytes and qoff are those of part @answers; NULL: nobody waits. Returns 0; or, and nothing was done, what
 * sequencer_reserve says, MQ_EFULL (a record, and the disk is low), MQ_EBADMSG, MQ_ECORRUPT or MQ_ETOOBIG of a
 * record, or a negative code of a queue that cannot grow. */
int bundle_add(struct sequencer *seq, struct store *store, const struct bundle_part *parts, uint32_t n,
               const struct sequencer_pending *p, uint32_t answers);

/* The same for records that are appended again so that retention can drop the segment that holds them: while the disk
 * is low they get room from its reserve, or MQ_EFULL when it has given out enough for now. */
int bundle_add_again(struct sequencer *seq, struct store *store, const struct bundle_part *parts, uint32_t n,
                     const struct sequencer_pending *p, uint32_t answers);

#endif
