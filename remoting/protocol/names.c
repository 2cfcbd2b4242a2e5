#include "remoting/protocol/names.h"

#include "remoting/base/assert.h"

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '%' || c == '|';
}

static bool is_blank(struct mq_str name)
{
    for (uint32_t i = 0; i < name.len; i++) {
        if ((uint8_t)name.at[i] > ' ') {
            return false;
        }
    }
    return true;
}

static enum proto_name_problem check(struct mq_str name, uint32_t max)
{
    if (is_blank(name)) {
        return PROTO_NAME_BLANK;
    }
    for (uint32_t i = 0; i < name.len; i++) {
        if (!is_name_character(name.at[i])) {
            return PROTO_NAME_CHARACTER;
        }
    }
    return name.len > max ? PROTO_NAME_LONG : PROTO_NAME_OK;
}

enum proto_name_problem proto_topic_check(struct mq_str topic)
{
    bool derived = mq_str_starts(topic, PROTO_RETRY_PREFIX) || mq_str_starts(topic, PROTO_DLQ_PREFIX);

    return check(topic, derived ? PROTO_RETRY_TOPIC_MAX : PROTO_TOPIC_MAX);
}

enum proto_name_problem proto_group_check(struct mq_str group)
{
    return check(group, PROTO_GROUP_MAX);
}

struct mq_str proto_group_topic(struct mq_str prefix, struct mq_str group, char out[PROTO_RETRY_TOPIC_MAX])
{
    if (group.len > PROTO_RETRY_TOPIC_MAX - prefix.len) {
        return (struct mq_str){0};
    }
    memcpy(out, prefix.at, prefix.len);
    if (group.len != 0) {
        memcpy(out + prefix.len, group.at, group.len);
    }
    return (struct mq_str){out, prefix.len + group.len};
}

const char *proto_name_problem_text(enum proto_name_problem problem, bool is_group)
{
    switch (problem) {
    case PROTO_NAME_OK:
        return "fine";
    case PROTO_NAME_BLANK:
        return "blank";
    case PROTO_NAME_LONG:
        return is_group ? "longer than 120 characters" : "longer than 127 characters (255 behind %RETRY% and %DLQ%)";
    case PROTO_NAME_CHARACTER:
        return "spelt with a character outside [%|a-zA-Z0-9_-]";
    }
    return "not checked";
}

struct system_topic {
    const char *name;
    uint8_t len;
    bool send_forbidden;
};

#define ROW(name, forbidden)                                                                                         \
    {                                                                                                                \
        name, sizeof(name) - 1, forbidden                                                                            \
    }

static const struct system_topic SYSTEM_TOPICS[] = {
    ROW("TBW102", false),
    ROW("BenchmarkTest", false),
    ROW("RMQ_SYS_TRACE_TOPIC", false),
    ROW("CHECKPOINT_TOPIC", false),
    ROW("SCHEDULE_TOPIC_XXXX", true),
    ROW("RMQ_SYS_TRANS_HALF_TOPIC", true),
    ROW("RMQ_SYS_TRANS_OP_HALF_TOPIC", true),
    ROW("TRANS_CHECK_MAX_TIME_TOPIC", true),
    ROW("SELF_TEST_TOPIC", true),
    ROW("OFFSET_MOVED_EVENT", true),
};

static const struct system_topic *find_system(struct mq_str topic)
{
    for (size_t i = 0; i < ARRAY_SIZE(SYSTEM_TOPICS); i++) {
        const struct system_topic *row = &SYSTEM_TOPICS[i];

        if (topic.len == row->len && memcmp(topic.at, row->name, row->len) == 0) {
            return row;
        }
    }
    return NULL;
}

bool proto_topic_is_system(struct mq_str topic)
{
    return find_system(topic) != NULL || mq_str_starts(topic, MQ_STR("rmq_sys_"));
}

bool proto_topic_send_forbidden(struct mq_str topic)
{
    const struct system_topic *found = find_system(topic);

    return found != NULL && found->send_forbidden;
}
