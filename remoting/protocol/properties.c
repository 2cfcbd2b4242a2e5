#include "remoting/protocol/properties.h"

#define NAME_END '\x01'
#define PROPERTY_END '\x02'

static struct mq_str head(struct mq_str s, const char *stop)
{
    return (struct mq_str){s.at, (uint32_t)(stop - s.at)};
}

static struct mq_str tail(struct mq_str s, const char *from)
{
    return (struct mq_str){from, (uint32_t)(s.at + s.len - from)};
}

bool proto_properties_next(struct mq_str *rest, struct mq_str *name, struct mq_str *value)
{
    while (rest->len != 0) {
        const char *stop = memchr(rest->at, PROPERTY_END, rest->len);
        struct mq_str item = stop != NULL ? head(*rest, stop) : *rest;
        const char *split = item.len != 0 ? memchr(item.at, NAME_END, item.len) : NULL;

        *rest = tail(*rest, stop != NULL ? stop + 1 : rest->at + rest->len);
        if (split != NULL && split != item.at && split + 1 != item.at + item.len) {
            *name = head(item, split);
            *value = tail(item, split + 1);
            return true;
        }
    }
    return false;
}

/* Looked at for every message: a property is not taken to pieces to see that it has another name. */
struct mq_str proto_properties_get(struct mq_str properties, struct mq_str name)
{
    struct mq_str found = {0};

    while (properties.len != 0) {
        const char *stop = memchr(properties.at, PROPERTY_END, properties.len);
        struct mq_str item = stop != NULL ? head(properties, stop) : properties;

        if (item.len > name.len + 1 && item.at[name.len] == NAME_END && memcmp(item.at, name.at, name.len) == 0) {
            found = tail(item, item.at + name.len + 1);
        }
        properties = stop != NULL ? tail(properties, stop + 1) : (struct mq_str){0};
    }
    return found;
}

int proto_properties_put(struct mq_buf *buf, size_t start, struct mq_str name, struct mq_str value)
{
    int rc = mq_buf_reserve(buf, (size_t)name.len + value.len + 3);
    uint8_t *at;

    if (rc != 0) {
        return rc;
    }
    at = buf->base + buf->len;
    if (buf->len > start && at[-1] != PROPERTY_END) {
        *at++ = PROPERTY_END;
    }
    memcpy(at, name.at, name.len);
    at += name.len;
    *at++ = NAME_END;
    if (value.len != 0) {
        memcpy(at, value.at, value.len);
        at += value.len;
    }
    *at++ = PROPERTY_END;
    buf->len = (size_t)(at - buf->base);
    return 0;
}

int64_t proto_tags_code(struct mq_str properties)
{
    struct mq_str tags = proto_properties_get(properties, PROTO_PROP_TAGS);

    return tags.len != 0 ? mq_java_hash(tags) : 0;
}
