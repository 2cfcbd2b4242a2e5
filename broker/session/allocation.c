#include "broker/session/allocation.h"

#include "remoting/base/err.h"

#include <stdlib.h>

#define ANY_QUEUE (-1)

bool allocation_strategy_of(struct mq_str name, enum allocation_strategy *out)
{
    if (mq_str_eq(name, MQ_STR("AVG"))) {
        *out = ALLOCATE_AVG;
        return true;
    }
    if (mq_str_eq(name, MQ_STR("AVG_BY_CIRCLE"))) {
        *out = ALLOCATE_BY_CIRCLE;
        return true;
    }
    return false;
}

static int compare_text(struct mq_str a, struct mq_str b)
{
    uint32_t n = a.len < b.len ? a.len : b.len;
    int order = n != 0 ? memcmp(a.at, b.at, n) : 0;

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_members(const void *a, const void *b)
{
    return compare_text(*(const struct mq_str *)a, *(const struct mq_str *)b);
}

static int compare_queues(const void *a, const void *b)
{
    const struct proto_queue_ref *x = a, *y = b;
    int order = compare_text(x->topic, y->topic);

    order = order != 0 ? order : compare_text(x->broker_name, y->broker_name);
    return order != 0 ? order : (x->queue_id > y->queue_id) - (x->queue_id < y->queue_id);
}

void allocation_prepare(struct proto_queue_refs *queues, struct proto_str_list *members)
{
    uint32_t n = 0;

    if (queues->count != 0) {
        qsort(queues->items, queues->count, sizeof(queues->items[0]), compare_queues);
    }
    if (members->count != 0) {
        qsort(members->items, members->count, sizeof(members->items[0]), compare_members);
    }
    for (uint32_t i = 0; i < members->count; i++) {
        if (n == 0 || !mq_str_eq(members->items[i], members->items[n - 1])) {
            members->items[n++] = members->items[i];
        }
    }
    members->count = n;
}

static int find_member(const struct proto_str_list *members, struct mq_str who, uint32_t *out)
{
    for (uint32_t i = 0; i < members->count; i++) {
        if (mq_str_eq(members->items[i], who)) {
            *out = i;
            return 0;
        }
    }
    return MQ_ENOTFOUND;
}

static int add(struct proto_queue_refs *out, const struct proto_queue_ref *queue)
{
    struct proto_queue_ref *added = proto_queue_refs_add(out);

    if (added == NULL) {
        return MQ_ENOMEM;
    }
    *added = *queue;
    return 0;
}

/* Of member @index. */
static int allocate(enum allocation_strategy strategy, const struct proto_queue_refs *queues, uint32_t members,
                    uint32_t index, struct proto_queue_refs *out)
{
    uint32_t each = queues->count / members, more = queues->count % members;
    uint32_t first = index * each + (index < more ? index : more);
    uint32_t n = each + (index < more), step = 1;
    int rc = 0;

    if (strategy == ALLOCATE_BY_CIRCLE) {
        first = index;
        step = members;
    }
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        rc = add(out, &queues->items[first + i * step]);
    }
    return rc;
}

int allocation_pull(enum allocation_strategy strategy, const struct proto_queue_refs *queues,
                    const struct proto_str_list *members, struct mq_str who, struct proto_queue_refs *out)
{
    uint32_t index;
    int rc = find_member(members, who, &index);

    return rc != 0 ? rc : allocate(strategy, queues, members->count, index, out);
}

/* Any queue of each broker. */
static int allocate_any(const struct proto_queue_refs *queues, struct proto_queue_refs *out)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < queues->count; i++) {
        struct proto_queue_ref any = queues->items[i];

        if (i == 0 || !mq_str_eq(any.broker_name, queues->items[i - 1].broker_name)) {
            any.queue_id = ANY_QUEUE;
            rc = add(out, &any);
        }
    }
    return rc;
}

int allocation_pop(enum allocation_strategy strategy, const struct proto_queue_refs *queues,
                   const struct proto_str_list *members, struct mq_str who, int32_t share,
                   struct proto_queue_refs *out)
{
    uint32_t n = members->count, index;
    int rc;

    if (share <= 0 || (int64_t)share >= (int64_t)n - 1) {
        return allocate_any(queues, out);
    }
    rc = find_member(members, who, &index);
    if (rc != 0) {
        return rc;
    }
    if (n > queues->count) {
        return queues->count != 0 ? add(out, &queues->items[index % queues->count]) : 0;
    }
    for (uint32_t i = 0; rc == 0 && i <= (uint32_t)share; i++) {
        rc = allocate(strategy, queues, n, (index + i) % n, out);
    }
    return rc;
}
