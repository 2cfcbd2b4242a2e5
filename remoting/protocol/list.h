/* Growable lists of decoded items. Items hold slices borrowed from the decoded bytes; the list owns only its array,
 * which grows with items really seen and never beyond a maximum that the decoder names.
 *
 * PROTO_LIST(noun, item) makes struct proto_<noun>, whose zero value is an empty list, and
 *   item *proto_<noun>_add(struct proto_<noun> *list);   a zeroed item at the end, or NULL when memory is short
 *   void proto_<noun>_free(struct proto_<noun> *list);   leaves an empty list */
#ifndef MQ_PROTOCOL_LIST_H
#define MQ_PROTOCOL_LIST_H

#include "remoting/base/text.h"

#include <stddef.h>
#include <stdint.h>

/* What the macro's functions share. Returns the new item or NULL. */
void *proto_list_add(void **items, uint32_t *count, uint32_t *cap, size_t item_bytes);
void proto_list_free(void **items, uint32_t *count, uint32_t *cap);

#define PROTO_LIST(noun, item)                                                                                       \
    struct proto_##noun {                                                                                            \
        item *items; /* owned */                                                                                     \
        uint32_t count;                                                                                              \
        uint32_t cap;                                                                                                \
    };                                                                                                               \
    static inline item *proto_##noun##_add(struct proto_##noun *list)                                                \
    {                                                                                                                \
        void *items = list->items;                                                                                   \
        item *added = proto_list_add(&items, &list->count, &list->cap, sizeof(item));                                \
        list->items = items;                                                                                         \
        return added;                                                                                                \
    }                                                                                                                \
    static inline void proto_##noun##_free(struct proto_##noun *list)                                                \
    {                                                                                                                \
        void *items = list->items;                                                                                   \
        proto_list_free(&items, &list->count, &list->cap);                                                           \
        list->items = items;                                                                                         \
    }

PROTO_LIST(str_list, struct mq_str)

/* One message queue, as requests and tables name it. */
struct proto_queue_ref {
    struct mq_str topic;
    struct mq_str broker_name;
    int32_t queue_id;
};

PROTO_LIST(queue_refs, struct proto_queue_ref)

struct proto_kv {
    struct mq_str key;
    struct mq_str value;
};

PROTO_LIST(kvs, struct proto_kv)

#endif
