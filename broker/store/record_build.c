/* The record is written by protocol/record.c without properties; they are appended here, so that they too are copied
 * once.
 *
 * A single message gets the broker's own properties behind the client's. Java's clients let the last of two
 * win, Go's and C++'s do not say, so a property of the same name that the client sent is left out. A part of
 * a batch keeps its properties as they came. POP_CK is the broker's to write and never taken from a client.
 * Source: RocketMQ's MessageDecoder.messageProperties2String, MessageDecoder.encodeMessages. */
#include "broker/store/record_build.h"

#include "remoting/base/buf.h"
#include "remoting/base/err.h"
#include "remoting/protocol/properties.h"

#define NAME_END '\x01'
#define PROPERTY_END '\x02'

/* What a walk over the client's properties found. */
struct findings {
    bool drops;    /* one must be left out */
    bool uniq_key; /* there is one already */
};

static struct proto_record head_of(const struct record_source *source)
{
    return (struct proto_record){
        .queue_id = source->queue_id,
        .flag = source->flag,
        .sys_flag = source->sys_flag,
        .born_ms = source->born_ms,
        .born_host = source->born_host,
        .store_ms = source->store_ms,
        .store_host = source->store_host,
        .reconsume_times = source->reconsume_times,
        .prepared_pos = source->prepared_pos,
        .body = source->body,
        .topic = source->topic,
    };
}

/* Bytes of name 01 value 02. */
static uint32_t property_bytes(struct mq_str name, struct mq_str value)
{
    return name.len + value.len + 2;
}

uint32_t record_build_properties_bound(const struct record_source *source)
{
    uint32_t put_bytes = 0;

    for (uint32_t i = 0; i < source->n_put; i++) {
        put_bytes += property_bytes(source->put[i].name, source->put[i].value);
    }
    return source->properties.len + 1 + put_bytes + property_bytes(PROTO_PROP_MSG_REGION, source->region) +
           property_bytes(PROTO_PROP_TRACE_ON, MQ_STR("false")) +
           property_bytes(PROTO_PROP_CLUSTER, source->cluster) +
           property_bytes(PROTO_PROP_UNIQ_KEY, source->uniq_key);
}

uint32_t record_build_bound(const struct record_source *source)
{
    struct proto_record rec = head_of(source);

    return (uint32_t)proto_record_bytes(&rec) + record_build_properties_bound(source);
}

static bool is_named(struct mq_str property, struct mq_str name)
{
    return property.len > name.len && property.at[name.len] == NAME_END &&
           memcmp(property.at, name.at, name.len) == 0;
}

/* Takes one property, with its end if it has one, from the front of @rest. */
static struct mq_str take_property(struct mq_str *rest)
{
    const char *stop = memchr(rest->at, PROPERTY_END, rest->len);
    struct mq_str property = {rest->at, stop != NULL ? (uint32_t)(stop + 1 - rest->at) : rest->len};

    rest->at += property.len;
    rest->len -= property.len;
    return property;
}

/* By what the source says. */
static bool is_replaced(const struct record_source *source, struct mq_str property)
{
    for (uint32_t i = 0; i < source->n_drop; i++) {
        if (is_named(property, source->drop[i])) {
            return true;
        }
    }
    for (uint32_t i = 0; i < source->n_put; i++) {
        if (is_named(property, source->put[i].name)) {
            return true;
        }
    }
    return false;
}

static bool is_dropped(const struct record_source *source, struct mq_str property, bool own)
{
    if (source->n_drop + source->n_put != 0 && is_replaced(source, property)) {
        return true;
    }
    switch (property.at[0]) { /* most properties are told apart by one byte */
    case 'P':
        return is_named(property, PROTO_PROP_POP_CK);
    case 'M':
        return own && is_named(property, PROTO_PROP_MSG_REGION);
    case 'T':
        return own && is_named(property, PROTO_PROP_TRACE_ON);
    case 'C':
        return own && is_named(property, PROTO_PROP_CLUSTER);
    default:
        return false;
    }
}

static bool is_uniq_key(struct mq_str property)
{
    uint32_t value_at = PROTO_PROP_UNIQ_KEY.len + 1;

    return property.at[0] == 'U' && is_named(property, PROTO_PROP_UNIQ_KEY) && property.len > value_at &&
           property.at[value_at] != PROPERTY_END;
}

static struct findings examine(const struct record_source *source, bool own)
{
    struct mq_str properties = source->properties;
    struct findings found = {0};

    while (properties.len != 0) {
        struct mq_str property = take_property(&properties);

        found.drops |= is_dropped(source, property, own);
        found.uniq_key |= is_uniq_key(property);
    }
    return found;
}

static uint8_t *put_str(uint8_t *at, struct mq_str s)
{
    if (s.len != 0) {
        memcpy(at, s.at, s.len);
    }
    return at + s.len;
}

static uint8_t *put_property(uint8_t *at, struct mq_str name, struct mq_str value)
{
    if (value.len == 0) {
        return at; /* no client would see it */
    }
    at = put_str(at, name);
    *at++ = NAME_END;
    at = put_str(at, value);
    *at++ = PROPERTY_END;
    return at;
}

static uint8_t *put_clients(uint8_t *at, const struct record_source *source, const struct findings *found, bool own)
{
    struct mq_str properties = source->properties;

    if (!found->drops) {
        return put_str(at, properties);
    }
    while (properties.len != 0) {
        struct mq_str property = take_property(&properties);

        if (!is_dropped(source, property, own)) {
            at = put_str(at, property);
        }
    }
    return at;
}

static uint8_t *put_own(uint8_t *at, const struct record_source *source, bool uniq_key)
{
    at = put_property(at, PROTO_PROP_MSG_REGION, source->region);
    at = put_property(at, PROTO_PROP_TRACE_ON, source->trace_on ? MQ_STR("true") : MQ_STR("false"));
    at = put_property(at, PROTO_PROP_CLUSTER, source->cluster);
    return uniq_key ? put_property(at, PROTO_PROP_UNIQ_KEY, source->uniq_key) : at;
}

static uint8_t *put_added(uint8_t *at, const struct record_source *source)
{
    for (uint32_t i = 0; i < source->n_put; i++) {
        at = put_property(at, source->put[i].name, source->put[i].value);
    }
    return at;
}

int32_t record_build(const struct record_source *source, bool own, uint8_t *at)
{
    struct proto_record rec = head_of(source);
    struct findings found = examine(source, own);
    size_t head_bytes = proto_record_encode(&rec, at);
    uint8_t *start = at + head_bytes;
    uint8_t *end = put_clients(start, source, &found, own);

    if ((own || source->n_put != 0) && end != start && end[-1] != PROPERTY_END) {
        *end++ = PROPERTY_END;
    }
    if (own) {
        end = put_own(end, source, !found.uniq_key);
    }
    end = put_added(end, source);
    if (end - start > PROTO_PROPERTIES_MAX) {
        return MQ_ETOOBIG;
    }
    mq_be16_store(start - 2, (uint16_t)(end - start));
    mq_be32_store(at + PROTO_RECORD_SIZE_AT, (uint32_t)(end - at));
    return (int32_t)(end - at);
}
