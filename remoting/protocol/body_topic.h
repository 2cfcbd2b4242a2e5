/* Topic configurations and the version that counts their changes, as JSON: alone in 351, as a table in 21, and inside
 * the body of 103. Source: RocketMQ's TopicConfig, DataVersion.
 *
 * All decoders here change their input in place and leave slices into it in what they fill. */
#ifndef MQ_PROTOCOL_BODY_TOPIC_H
#define MQ_PROTOCOL_BODY_TOPIC_H

#include "remoting/base/buf.h"
#include "remoting/protocol/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mq_json;

#define PROTO_TOPICS_MAX 65536 /* in one table */

enum proto_perm { PROTO_PERM_INHERIT = 1, PROTO_PERM_WRITE = 2, PROTO_PERM_READ = 4, PROTO_PERM_PRIORITY = 8 };

struct proto_topic_config {
    struct mq_str name;
    int32_t read_queues;
    int32_t write_queues;
    int32_t perm; /* bits of enum proto_perm */
    int32_t sys_flag;
    bool multi_tag; /* topicFilterType MULTI_TAG instead of SINGLE_TAG */
    bool order;
    struct mq_str attributes; /* "key=value,key=value"; absent or empty: none */
};

PROTO_LIST(topic_configs, struct proto_topic_config)

struct proto_data_version {
    int64_t state_version; /* the leader's term, so that an old leader's registration loses */
    int64_t timestamp_ms;
    int64_t counter;
};

struct proto_topic_table {
    struct proto_data_version version;
    struct proto_topic_configs topics;
};

/* What a topic is before anybody said anything: 16 queues, perm 6, SINGLE_TAG. */
struct proto_topic_config proto_topic_config_defaults(void);

/* Writers append one JSON object; 0 or MQ_ENOMEM. */
int proto_topic_config_encode(struct mq_buf *buf, const struct proto_topic_config *topic);
int proto_data_version_encode(struct mq_buf *buf, const struct proto_data_version *version);

/* The whole body of 21, which is also the topicConfigSerializeWrapper of 103: version, topics by name, and the two
 * empty mapping tables that 5.x writes. */
int proto_topic_table_encode(struct mq_buf *buf, const struct proto_topic_table *table);

/* Decode one whole body. Return 0, MQ_EBADMSG, MQ_ETOOBIG (over PROTO_TOPICS_MAX) or MQ_ENOMEM. Members that are
 * missing have their defaults. Free with proto_topic_table_free, also after an error. */
int proto_topic_config_decode(char *json, size_t n, struct proto_topic_config *out);
int proto_data_version_decode(char *json, size_t n, struct proto_data_version *out);
int proto_topic_table_decode(char *json, size_t n, struct proto_topic_table *out);
void proto_topic_table_free(struct proto_topic_table *table);

/* 18: {"topicConfigList":[...]}. Keys of attributes have their '+' or '-' still: see 17. */
int proto_topic_config_list_decode(char *json, size_t n, struct proto_topic_configs *out);

/* Read the value that is next, for bodies that contain one. */
int proto_topic_config_read(struct mq_json *json, struct proto_topic_config *out);
int proto_data_version_read(struct mq_json *json, struct proto_data_version *out);

/* Reads the value of member @key of a table into a struct proto_topic_table; unknown members are skipped. */
int proto_topic_table_member(struct mq_json *json, struct mq_str key, void *table);

/* Below 0, 0 or above 0: by state version, then counter, then timestamp. */
int proto_data_version_compare(const struct proto_data_version *a, const struct proto_data_version *b);

#endif
