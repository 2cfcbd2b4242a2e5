/* What a reader wants of a queue: tags, or an SQL92 expression over properties. Counted, because a subscription, a
 * parked pull and a pull that waits for the disk share one; it does not change. Wherever one may be given, NULL lets
 * everything pass. Loop thread. */
#ifndef BROKER_STORE_MESSAGE_FILTER_H
#define BROKER_STORE_MESSAGE_FILTER_H

#include "remoting/base/buf.h"
#include "remoting/protocol/filter.h"
#include "remoting/protocol/filter_sql.h"

struct message_filter {
    uint32_t refs;
    struct proto_sql *sql;    /* owned; NULL: by tags */
    struct proto_filter tags; /* the last member: allocated as far as it is used */
};

/* Makes one with one reference; @out is NULL where everything passes. Returns 0 or MQ_ENOMEM. */
int message_filter_of_tags(const struct proto_filter *tags, struct message_filter **out);
/* The same of an SQL92 expression. Returns 0, or a code of proto_sql_compile with its line in @problem. */
int message_filter_of_sql(struct mq_str expression, struct message_filter **out, struct mq_buf *problem);

/* Both take NULL. */
struct message_filter *message_filter_acquire(struct message_filter *filter);
void message_filter_release(struct message_filter *filter);

/* Whether the unit of the queue is not enough to tell. */
static inline bool message_filter_reads_records(const struct message_filter *filter)
{
    return filter != NULL && filter->sql != NULL;
}

/* As far as the unit tells. */
static inline bool message_filter_passes_unit(const struct message_filter *filter, int64_t tags_code)
{
    return filter == NULL || filter->sql != NULL || proto_filter_match(&filter->tags, tags_code);
}

/* Where the record is looked at: whether it passes. Bytes that are no record do not. */
bool message_filter_passes_record(const struct message_filter *filter, const uint8_t *record, uint32_t bytes);

#endif
