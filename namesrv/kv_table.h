/* Key/value configuration in namespaces, kept in a file that is replaced whole and durably with every change:
 *   {"configTable":{"ORDER_TOPIC_CONFIG":{"orders":"broker-a:8"}}}
 * the form of RocketMQ's kvConfig.json, so that a file can be taken over from there. */
#ifndef NAMESRV_KV_TABLE_H
#define NAMESRV_KV_TABLE_H

#include "remoting/base/buf.h"
#include "remoting/protocol/list.h"

#define KV_ENTRIES_MAX 65536
#define KV_NAME_MAX 255         /* bytes of a namespace or a key */
#define KV_VALUE_MAX 65536      /* bytes */
#define KV_BYTES_MAX (4u << 20) /* of all names and values, and of the file */

struct kv_table;

/* Reads @path (borrowed until the call returns); a file that is absent is an empty table, and NULL keeps everything
 * in memory. Returns 0 and @out (free with kv_table_free), or MQ_EBADMSG, MQ_ETOOBIG, -errno or MQ_ENOMEM with one
 * line naming the file in @problem. */
int kv_table_open(const char *path, struct kv_table **out, struct mq_buf *problem);
void kv_table_free(struct kv_table *table);

/* The value, borrowed until the table changes; absent when there is none. */
struct mq_str kv_table_get(const struct kv_table *table, struct mq_str space, struct mq_str key);

/* Both return when the change is on disk: 0, or MQ_EINVAL (a name is empty), MQ_ETOOBIG (a maximum above),
 * MQ_ENOMEM or -errno of the file with the table as it was. Setting what is set and deleting what is absent is 0.
 * They block for the file's sync: administrators only. */
int kv_table_put(struct kv_table *table, struct mq_str space, struct mq_str key, struct mq_str value);
int kv_table_delete(struct kv_table *table, struct mq_str space, struct mq_str key);

/* Appends the entries of a namespace in ascending order of key, borrowed until the table changes. Returns 0,
 * MQ_ENOTFOUND (there are none) or MQ_ENOMEM. */
int kv_table_list(const struct kv_table *table, struct mq_str space, struct proto_kvs *out);

#endif
