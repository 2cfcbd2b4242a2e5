/* The keys under which a stored record can be found: the value of its property UNIQ_KEY, then every part of KEYS that
 * a blank ends. Any thread. Source: RocketMQ's IndexService.buildIndex. */
#ifndef BROKER_STORE_RECORD_KEYS_H
#define BROKER_STORE_RECORD_KEYS_H

#include "remoting/base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct record_keys {
    struct mq_str uniq; /* borrowed, like rest; given out first */
    struct mq_str rest; /* of KEYS */
};

/* @properties: of a record, borrowed as long as keys are taken. Where a name stands twice the last one counts. */
void record_keys_begin(struct record_keys *keys, struct mq_str properties);
/* The next key, which is never empty; false behind the last one. */
bool record_keys_next(struct record_keys *keys, struct mq_str *key);

/* Whether the whole record at @record is of @topic and has @key; false also when it does not decode. */
bool record_has_key(const uint8_t *record, uint32_t bytes, struct mq_str topic, struct mq_str key);

/* A half message that was rolled back is found under no key. @sys_flag: of the record. */
bool record_is_found_by_key(uint32_t sys_flag);

/* What the index remembers of a key: the same on every machine and for ever, as it stands in files. @topic_hash: of
 * the topic that the key belongs to. */
uint64_t record_topic_hash(struct mq_str topic);
uint32_t record_key_hash(uint64_t topic_hash, struct mq_str key);

#endif
