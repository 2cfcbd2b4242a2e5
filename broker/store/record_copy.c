/* Head and body by protocol/record.c without properties; those that stay are copied behind it one by one, then the
 * new ones. */
#include "broker/store/record_copy.h"

#include "remoting/base/buf.h"
#include "remoting/base/err.h"
#include "remoting/protocol/properties.h"

#define NAME_END '\x01'
#define PROPERTY_END '\x02'

uint32_t record_copy_bound(const struct record_copy *copy)
{
    struct proto_record rec;
    uint32_t bytes;

    if (proto_record_decode(copy->record, copy->bytes, &rec) != 0) {
        return 0;
    }
    bytes = copy->bytes + copy->topic.len + 2 * 12 + 2; /* addresses may grow to 16 bytes, the topic's length to 2 */
    for (uint32_t i = 0; i < copy->n_put; i++) {
        bytes += copy->put[i].name.len + copy->put[i].value.len + 2;
    }
    return bytes;
}

static bool stays(const struct record_copy *copy, struct mq_str name)
{
    for (uint32_t i = 0; i < copy->n_drop; i++) {
        if (mq_str_eq(copy->drop[i], name)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < copy->n_put; i++) {
        if (mq_str_eq(copy->put[i].name, name)) {
            return false;
        }
    }
    return true;
}

static uint8_t *put_property(uint8_t *at, struct mq_str name, struct mq_str value)
{
    memcpy(at, name.at, name.len);
    at += name.len;
    *at++ = NAME_END;
    memcpy(at, value.at, value.len);
    at += value.len;
    *at++ = PROPERTY_END;
    return at;
}

static uint8_t *put_properties(const struct record_copy *copy, struct mq_str properties, uint8_t *at)
{
    struct mq_str name, value;

    while (proto_properties_next(&properties, &name, &value)) {
        if (stays(copy, name)) {
            at = put_property(at, name, value);
        }
    }
    for (uint32_t i = 0; i < copy->n_put; i++) {
        if (copy->put[i].value.len != 0) {
            at = put_property(at, copy->put[i].name, copy->put[i].value);
        }
    }
    return at;
}

static void change_head(const struct record_copy *copy, struct proto_record *rec)
{
    rec->sys_flag = (int32_t)(((uint32_t)rec->sys_flag & ~copy->sys_flag_clear) | copy->sys_flag_set);
    rec->topic = copy->topic.at != NULL ? copy->topic : rec->topic;
    rec->queue_id = copy->queue_id;
    rec->reconsume_times = copy->reconsume_times >= 0 ? copy->reconsume_times : rec->reconsume_times;
    rec->prepared_pos = copy->prepared_pos;
    rec->store_ms = copy->store_ms;
    rec->born_host = copy->born_host != NULL ? *copy->born_host : rec->born_host;
    rec->store_host = copy->store_host != NULL ? *copy->store_host : rec->store_host;
    rec->qoff = 0;
    rec->pos = 0;
}

int32_t record_copy_write(const struct record_copy *copy, uint8_t *at)
{
    struct proto_record rec;
    struct mq_str properties;
    uint8_t *start, *end;

    if (proto_record_decode(copy->record, copy->bytes, &rec) != 0) {
        return MQ_EBADMSG;
    }
    if (!proto_record_body_is_whole(&rec)) {
        return MQ_ECORRUPT;
    }
    properties = rec.properties;
    change_head(copy, &rec);
    rec.properties = (struct mq_str){0};
    start = at + proto_record_encode(&rec, at);
    end = put_properties(copy, properties, start);
    if (end - start > PROTO_PROPERTIES_MAX) {
        return MQ_ETOOBIG;
    }
    mq_be16_store(start - 2, (uint16_t)(end - start));
    mq_be32_store(at + PROTO_RECORD_SIZE_AT, (uint32_t)(end - at));
    return (int32_t)(end - at);
}
