/* Batch bodies of any bytes: messages lie within the body and come back from what we write of them. The same bytes
 * also serve as properties, tag expression, message id and name. */
#include "tests/fuzz/exact.h"
#include "tests/fuzz/fuzz.h"

#include "remoting/base/buf.h"
#include "remoting/base/err.h"
#include "remoting/protocol/filter.h"
#include "remoting/protocol/message.h"
#include "remoting/protocol/names.h"
#include "remoting/protocol/properties.h"

static void check_item(const struct proto_batch_item *item)
{
    struct proto_batch_item again;
    struct mq_buf buf = {0};
    struct mq_str rest;

    MQ_ASSERT(proto_batch_put(&buf, item) == 0);
    rest = mq_buf_str(&buf);
    MQ_ASSERT(proto_batch_next(&rest, &again) == 1 && rest.len == 0);
    MQ_ASSERT(again.flag == item->flag && mq_str_eq(again.body, item->body) &&
              mq_str_eq(again.properties, item->properties));
    mq_buf_free(&buf);
}

static void check_text(struct mq_str text)
{
    struct mq_str rest = text, tag;
    struct proto_filter filter;
    struct proto_host host;
    char id[PROTO_MSG_ID_MAX];
    int64_t pos;

    if (proto_filter_parse(text, &filter) == 0) {
        MQ_ASSERT(filter.all || filter.count <= PROTO_FILTER_CODES_MAX);
        while (proto_tags_next(&rest, &tag)) {
            MQ_ASSERT(tag.len != 0 && exact_inside(tag, text.at, text.len));
            MQ_ASSERT(proto_filter_match(&filter, mq_java_hash(tag)));
        }
    }
    if (proto_offset_msg_id_parse(text, &host, &pos) == 0) {
        MQ_ASSERT(proto_offset_msg_id(&host, pos, id) == text.len);
        MQ_ASSERT(mq_str_eq_nocase((struct mq_str){id, text.len}, text));
    }
    (void)proto_topic_check(text);
    (void)proto_group_check(text);
    (void)proto_topic_is_system(text);
    (void)proto_tags_code(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *copy = exact_copy(bytes, n);
    struct mq_str rest = {copy, (uint32_t)n};
    struct proto_batch_item item;
    int rc;

    check_text(rest);
    while ((rc = proto_batch_next(&rest, &item)) == 1) {
        MQ_ASSERT(exact_inside(item.body, copy, n) && exact_inside(item.properties, copy, n));
        check_item(&item);
    }
    MQ_ASSERT(rc == MQ_EBADMSG || (rc == 0 && rest.len == 0));
    mq_free(copy);
    return 0;
}
