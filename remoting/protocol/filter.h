/* Tag expressions: `*`, or tags joined by `||`. A broker compares hashes only; clients compare the text again.
 * Source: RocketMQ's FilterAPI. */
#ifndef MQ_PROTOCOL_FILTER_H
#define MQ_PROTOCOL_FILTER_H

#include "remoting/base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tags in one expression. Java has no limit; an expression with more passes everything here, which costs bytes on the
 * wire and nothing else, because clients filter again. */
#define PROTO_FILTER_CODES_MAX 128

struct proto_filter {
    bool all;                              /* everything passes, codes are not looked at */
    uint16_t count;                        /* 0 without all: nothing passes */
    int32_t codes[PROTO_FILTER_CODES_MAX]; /* Java hashes of the tags, no order, no duplicates */
};

/* Bytes of @filter that are in use: a copy may be that short. */
static inline size_t proto_filter_bytes(const struct proto_filter *filter)
{
    return offsetof(struct proto_filter, codes) + filter->count * sizeof(filter->codes[0]);
}

/* Makes the filter of @expression; absent, "" and "*" pass everything. Returns 0, or MQ_EINVAL (nothing but `||`)
 * with @out untouched. */
int proto_filter_parse(struct mq_str expression, struct proto_filter *out);

/* Adds one code unless it is there; one too many turns the filter into one that passes everything. */
void proto_filter_add(struct proto_filter *filter, int32_t code);

/* @tags_code: of a consume queue unit (proto_tags_code); its low 32 bits are the hash, 0 without tags. */
static inline bool proto_filter_match(const struct proto_filter *filter, int64_t tags_code)
{
    if (filter->all) {
        return true;
    }
    for (uint16_t i = 0; i < filter->count; i++) {
        if (filter->codes[i] == (int32_t)tags_code) {
            return true;
        }
    }
    return false;
}

/* Takes the next trimmed, non-empty tag from the front of @rest (at first the whole expression); false at the end. */
bool proto_tags_next(struct mq_str *rest, struct mq_str *tag);

#endif
