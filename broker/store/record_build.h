/* Builds stored records from send requests straight into the entry: body and properties are copied once, from the
 * connection's buffer to where they will be written from. Queue offset and position stay holes (zero) for the
 * sequencer. */
#ifndef BROKER_STORE_RECORD_BUILD_H
#define BROKER_STORE_RECORD_BUILD_H

#include "broker/store/record_copy.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/record.h"

#include <stdbool.h>
#include <stdint.h>

struct record_source {
    struct mq_str topic;
    int32_t queue_id;
    int32_t flag, sys_flag;
    int64_t born_ms;
    struct proto_host born_host, store_host;
    int64_t store_ms;
    int32_t reconsume_times;
    struct mq_str body;
    struct mq_str properties; /* as the client sent them */
    /* Added by the broker to a single message (not to the parts of a batch): */
    struct mq_str region;   /* MSG_REGION */
    bool trace_on;          /* TRACE_ON */
    struct mq_str cluster;  /* CLUSTER */
    struct mq_str uniq_key; /* UNIQ_KEY to add when the client sent none; absent: do not add */
    /* What makes a message another one on its way (flow/delayed.h); borrowed: */
    int64_t prepared_pos;
    const struct mq_str *drop; /* names of properties that are left out */
    uint32_t n_drop;
    const struct record_property *put; /* behind the others; one of the same name that the client sent is left out */
    uint32_t n_put;
};

/* An upper bound of the record's size, for sequencer_reserve. */
uint32_t record_build_bound(const struct record_source *source);

/* The same of its properties alone, with the broker's own. */
uint32_t record_build_properties_bound(const struct record_source *source);

/* Writes one record at @at; returns its size, or MQ_ETOOBIG when the properties pass PROTO_PROPERTIES_MAX. POP_CK is
 * left out, the broker's own properties replace ones of the same name. @own: the three broker properties and UNIQ_KEY
 * are added. */
int32_t record_build(const struct record_source *source, bool own, uint8_t *at);

#endif
