#include "remoting/protocol/body_register.h"

#include "remoting/base/compress.h"
#include "remoting/base/cursor.h"
#include "remoting/base/err.h"
#include "remoting/protocol/body_json.h"

/* Brokers below version 37 send the table alone, so its members may also be the outermost ones. */
static int read_member(struct mq_json *json, struct mq_str key, void *out)
{
    if (mq_str_eq(key, MQ_STR("topicConfigSerializeWrapper"))) {
        return proto_json_object(json, proto_topic_table_member, out);
    }
    return proto_topic_table_member(json, key, out);
}

/* An i32 length and that many bytes; empty when they are not all there, which the cursor remembers. */
static struct mq_str take_counted(struct mq_cursor *c)
{
    return mq_cursor_str(c, mq_cursor_be32(c));
}

/* Takes the text before the next blank from the front of @rest. */
static struct mq_str take_word(struct mq_str *rest)
{
    const char *blank = rest->len != 0 ? memchr(rest->at, ' ', rest->len) : NULL;
    uint32_t len = blank != NULL ? (uint32_t)(blank - rest->at) : rest->len;
    struct mq_str word = {rest->at, len};

    rest->at += len + (blank != NULL);
    rest->len -= len + (blank != NULL);
    return word;
}

/* "name read write perm filterType {attributes}". What is not needed in a route, the attributes, is not read. */
static int parse_topic_line(struct mq_str line, struct proto_topic_config *out)
{
    *out = proto_topic_config_defaults();
    out->name = take_word(&line);
    if (mq_str_to_i32(take_word(&line), &out->read_queues) != 0 ||
        mq_str_to_i32(take_word(&line), &out->write_queues) != 0 ||
        mq_str_to_i32(take_word(&line), &out->perm) != 0) {
        return MQ_EBADMSG;
    }
    out->multi_tag = mq_str_eq(take_word(&line), MQ_STR("MULTI_TAG"));
    return out->name.len != 0 ? 0 : MQ_EBADMSG;
}

static int decode_topic_lines(struct mq_cursor *c, struct proto_topic_configs *topics)
{
    uint32_t lines = mq_cursor_be32(c);

    for (uint32_t i = 0; i < lines && !c->bad; i++) {
        struct mq_str line = take_counted(c);
        struct proto_topic_config *topic;
        int rc;

        if (c->bad || topics->count == PROTO_TOPICS_MAX) {
            return c->bad ? MQ_EBADMSG : MQ_ETOOBIG;
        }
        topic = proto_topic_configs_add(topics);
        if (topic == NULL) {
            return MQ_ENOMEM;
        }
        rc = parse_topic_line(line, topic);
        if (rc != 0) {
            return rc;
        }
    }
    return c->bad ? MQ_EBADMSG : 0;
}

/* What is behind the topics, filter servers and queue mappings, is left unread. */
static int decode_inflated(struct proto_register *out)
{
    struct mq_cursor c = mq_cursor_of(out->inflated.base, out->inflated.len);
    struct mq_str version = take_counted(&c);
    int rc;

    if (c.bad) {
        return MQ_EBADMSG;
    }
    rc = proto_data_version_decode((char *)version.at, version.len, &out->table.version);
    return rc == 0 ? decode_topic_lines(&c, &out->table.topics) : rc;
}

int proto_register_decode(char *body, size_t n, bool compressed, struct proto_register *out)
{
    int rc;

    *out = (struct proto_register){0};
    if (n == 0) {
        return 0;
    }
    if (!compressed) {
        return proto_json_body(body, n, read_member, &out->table);
    }
    rc = mq_inflate(body, n, PROTO_REGISTER_INFLATED_MAX, &out->inflated);
    return rc == 0 ? decode_inflated(out) : rc;
}

void proto_register_free(struct proto_register *reg)
{
    proto_topic_table_free(&reg->table);
    mq_buf_free(&reg->inflated);
}

int proto_register_encode(struct mq_buf *buf, const struct proto_topic_table *table)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{\"filterServerList\":[],\"topicConfigSerializeWrapper\":");
    if (out.rc == 0) {
        out.rc = proto_topic_table_encode(buf, table);
    }
    PROTO_OUT(&out, "}");
    return proto_out_end(&out);
}
