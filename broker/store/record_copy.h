/* A stored record once more, with changes: a delayed message that is delivered, a half message that is committed, a
 * message that failed and is to be tried again. Queue offset and position stay holes (zero) for the sequencer. */
#ifndef BROKER_STORE_RECORD_COPY_H
#define BROKER_STORE_RECORD_COPY_H

#include "remoting/protocol/record.h"

#include <stdint.h>

struct record_property {
    struct mq_str name, value;
};

/* What is borrowed lives as long as the copy is being made. */
struct record_copy {
    const uint8_t *record; /* borrowed; a whole stored record */
    uint32_t bytes;
    struct mq_str topic; /* absent: as it is */
    int32_t queue_id;
    uint32_t sys_flag_clear, sys_flag_set; /* bits; the two of addresses follow from the hosts */
    int32_t reconsume_times;               /* below 0: as it is */
    int64_t prepared_pos;
    int64_t store_ms;
    const struct proto_host *born_host, *store_host; /* NULL: as they are */
    const struct mq_str *drop;                       /* names of properties that are left out */
    uint32_t n_drop;
    const struct record_property *put; /* behind the others; one of the same name is replaced, one with an empty value
                                          only left out */
    uint32_t n_put;
};

/* An upper bound of the copy's size, for sequencer_reserve; 0 when the record does not decode. */
uint32_t record_copy_bound(const struct record_copy *copy);

/* Writes the copy at @at (record_copy_bound of room). Returns its size; MQ_EBADMSG when the record does not decode;
 * MQ_ECORRUPT when its body is not what was stored (this disk lies: another member has it, and a scrub repairs it),
 * so that no damage is copied under a new checksum; MQ_ETOOBIG when the properties pass PROTO_PROPERTIES_MAX. */
int32_t record_copy_write(const struct record_copy *copy, uint8_t *at);

#endif
