#include "broker/store/message_filter.h"

#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/record.h"

int message_filter_of_tags(const struct proto_filter *tags, struct message_filter **out)
{
    struct message_filter *filter;

    if (tags->all) {
        *out = NULL;
        return 0;
    }
    filter = mq_malloc(offsetof(struct message_filter, tags) + proto_filter_bytes(tags));
    if (filter == NULL) {
        return MQ_ENOMEM;
    }
    filter->refs = 1;
    filter->sql = NULL;
    memcpy(&filter->tags, tags, proto_filter_bytes(tags));
    *out = filter;
    return 0;
}

int message_filter_of_sql(struct mq_str expression, struct message_filter **out, struct mq_buf *problem)
{
    struct message_filter *filter = mq_malloc(offsetof(struct message_filter, tags));
    int rc;

    if (filter == NULL) {
        return MQ_ENOMEM;
    }
    rc = proto_sql_compile(expression, &filter->sql, problem);
    if (rc != 0) {
        mq_free(filter);
        return rc;
    }
    filter->refs = 1;
    *out = filter;
    return 0;
}

struct message_filter *message_filter_acquire(struct message_filter *filter)
{
    if (filter != NULL) {
        filter->refs++;
    }
    return filter;
}

void message_filter_release(struct message_filter *filter)
{
    if (filter != NULL && --filter->refs == 0) {
        proto_sql_free(filter->sql);
        mq_free(filter);
    }
}

bool message_filter_passes_record(const struct message_filter *filter, const uint8_t *record, uint32_t bytes)
{
    struct mq_str properties = proto_record_properties(record, bytes);

    return properties.at != NULL && proto_sql_match(filter->sql, properties);
}
