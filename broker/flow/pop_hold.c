#include "broker/store/hash.h"

#include "broker/flow/pop_hold.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"

/* Those of one group and kind at one topic, the longest waiting first. Gone with the last. */
struct pop_group {
    struct topic_queues *topic; /* borrowed: queues live as long as the process */
    char *name;                 /* owned */
    uint32_t name_bytes;
    bool notices;
    struct pop_link *first, **end;
    uint32_t count;
    struct pop_group *next, **prev; /* of the same topic */
};

struct pop_hold {
    struct store *store;
    struct due_heap due;
    uint32_t count;
    struct pop_parked *ready, **ready_end;
};

/* --- groups --- */

static struct pop_group *find_group(const struct topic_queues *topic, struct mq_str name, bool notices)
{
    for (struct pop_group *group = topic->pops; group != NULL; group = group->next) {
        if (group->notices == notices && mq_str_eq((struct mq_str){group->name, group->name_bytes}, name)) {
            return group;
        }
    }
    return NULL;
}

static struct pop_group *get_group(struct topic_queues *topic, struct mq_str name, bool notices)
{
    struct pop_group *group = find_group(topic, name, notices);

    if (group != NULL) {
        return group;
    }
    group = mq_calloc(1, sizeof(*group));
    if (group == NULL) {
        return NULL;
    }
    group->name = mq_strndup(name.at, name.len);
    if (group->name == NULL) {
        mq_free(group);
        return NULL;
    }
    group->name_bytes = name.len;
    group->notices = notices;
    group->topic = topic;
    group->end = &group->first;
    group->prev = &topic->pops;
    group->next = topic->pops;
    if (group->next != NULL) {
        group->next->prev = &group->next;
    }
    topic->pops = group;
    return group;
}

static void drop_unused(struct pop_group *group)
{
    if (group->count != 0) {
        return;
    }
    *group->prev = group->next;
    if (group->next != NULL) {
        group->next->prev = group->prev;
    }
    mq_free(group->name);
    mq_free(group);
}

static void link_last(struct pop_link *link, struct pop_group *group)
{
    link->group = group;
    link->next = NULL;
    link->prev = group->end;
    *group->end = link;
    group->end = &link->next;
    group->count++;
}

static void unlink_it(struct pop_link *link)
{
    struct pop_group *group = link->group;

    if (group == NULL) {
        return;
    }
    *link->prev = link->next;
    if (link->next != NULL) {
        link->next->prev = link->prev;
    } else {
        group->end = link->prev;
    }
    link->group = NULL;
    group->count--;
    drop_unused(group);
}

/* --- parking and waking --- */

static void unpark(struct pop_hold *hold, struct pop_parked *parked)
{
    due_heap_remove(&hold->due, &parked->due);
    unlink_it(&parked->links[0]);
    unlink_it(&parked->links[1]);
    hold->count--;
}

static void make_ready(struct pop_hold *hold, struct pop_parked *parked)
{
    unpark(hold, parked);
    parked->next_ready = NULL;
    *hold->ready_end = parked;
    hold->ready_end = &parked->next_ready;
}

/* The one that has waited longest for queue @queue_id, if any does. */
static void wake_one(struct pop_hold *hold, struct pop_group *group, int32_t queue_id, int64_t tags_code)
{
    for (struct pop_link *link = group->first; link != NULL; link = link->next) {
        struct pop_parked *parked = link->parked;
        bool retry = parked->links[1].group == group; /* whatever queue was asked for may have what lies there */

        if ((retry || parked->queue_id < 0 || parked->queue_id == queue_id) &&
            message_filter_passes_unit(parked->filter, tags_code)) {
            make_ready(hold, parked); /* the group may be gone */
            return;
        }
    }
}

static void on_arrived(void *data, struct queue *queue, int64_t tags_code)
{
    struct pop_hold *hold = data;
    struct pop_group *group = queue->topic->pops, *next;

    for (; group != NULL; group = next) {
        next = group->next;
        wake_one(hold, group, queue->id, tags_code);
    }
}

int pop_hold_park(struct pop_hold *hold, struct pop_parked *parked, struct mq_str group,
                  struct topic_queues *const topics[2])
{
    struct pop_group *groups[2] = {NULL, NULL};

    if (hold->count >= POP_HOLD_MAX) {
        return MQ_EBUSY;
    }
    for (int i = 0; i < 2; i++) {
        groups[i] = topics[i] != NULL ? get_group(topics[i], group, parked->notice) : NULL;
        if (topics[i] != NULL && groups[i] == NULL) {
            goto no_memory;
        }
    }
    if (groups[0]->count >= POP_HOLD_QUEUE_MAX) {
        if (groups[1] != NULL) {
            drop_unused(groups[1]);
        }
        return MQ_EBUSY;
    }
    parked->due = (struct due){.at_ms = (int64_t)parked->deadline_ms};
    if (due_heap_put(&hold->due, &parked->due) != 0) {
        goto no_memory;
    }
    for (int i = 0; i < 2; i++) {
        parked->links[i] = (struct pop_link){.parked = parked};
        if (groups[i] != NULL) {
            link_last(&parked->links[i], groups[i]);
        }
    }
    hold->count++;
    return 0;
no_memory:
    for (int i = 0; i < 2; i++) {
        if (groups[i] != NULL) {
            drop_unused(groups[i]);
        }
    }
    return MQ_ENOMEM;
}

void pop_hold_more(struct pop_hold *hold, struct topic_queues *topic, struct mq_str name)
{
    struct pop_group *group = find_group(topic, name, false);

    if (group != NULL) {
        make_ready(hold, group->first->parked);
    }
}

/* The first pop of the topic itself, which others may wait at for their retries. */
static struct pop_parked *find_own(const struct topic_queues *topic)
{
    for (struct pop_group *group = topic->pops; group != NULL; group = group->next) {
        for (struct pop_link *link = group->first; link != NULL; link = link->next) {
            if (link == &link->parked->links[0]) {
                return link->parked;
            }
        }
    }
    return NULL;
}

void pop_hold_gone(struct pop_hold *hold, struct topic_queues *topic)
{
    struct pop_parked *parked;

    while ((parked = find_own(topic)) != NULL) {
        make_ready(hold, parked);
    }
}

void pop_hold_freed(struct pop_hold *hold, struct topic_queues *topic, struct mq_str name, int32_t queue_id)
{
    for (int notices = 0; notices < 2; notices++) {
        struct pop_group *group = find_group(topic, name, notices != 0);
        struct pop_link *link = group != NULL ? group->first : NULL;

        while (link != NULL && link->parked->queue_id >= 0 && link->parked->queue_id != queue_id) {
            link = link->next;
        }
        if (link != NULL) {
            make_ready(hold, link->parked);
        }
    }
}

uint32_t pop_hold_count(const struct pop_hold *hold, const struct topic_queues *topic, struct mq_str name,
                        int32_t queue_id)
{
    struct pop_group *group = find_group(topic, name, false);
    uint32_t n = 0;

    (void)hold;
    for (struct pop_link *link = group != NULL ? group->first : NULL; link != NULL; link = link->next) {
        n += link->parked->queue_id == queue_id;
    }
    return n;
}

void pop_hold_wake_all(struct pop_hold *hold)
{
    struct due *first;

    while ((first = due_heap_first(&hold->due)) != NULL) {
        make_ready(hold, container_of(first, struct pop_parked, due));
    }
}

void pop_hold_turn(struct pop_hold *hold, const struct flow_env *env)
{
    uint64_t now_ms = mq_clock_mono_ms();
    struct pop_parked *ready = hold->ready;
    struct due *first;

    hold->ready = NULL;
    hold->ready_end = &hold->ready;
    while (ready != NULL) {
        struct pop_parked *parked = ready;

        ready = parked->next_ready;
        parked->wake(parked, parked->deadline_ms > now_ms);
    }
    while ((first = due_heap_first(&hold->due)) != NULL && first->at_ms <= (int64_t)now_ms) {
        struct pop_parked *parked = container_of(first, struct pop_parked, due);

        unpark(hold, parked);
        parked->wake(parked, false);
    }
    if (hold->ready != NULL) {
        flow_wake_at(env, now_ms);
    } else if (first != NULL) {
        flow_wake_at(env, (uint64_t)first->at_ms);
    }
}

/* --- life --- */

int pop_hold_new(struct store *store, struct pop_hold **out)
{
    struct pop_hold *hold = mq_calloc(1, sizeof(*hold));

    if (hold == NULL) {
        return MQ_ENOMEM;
    }
    hold->store = store;
    hold->ready_end = &hold->ready;
    store->popped = on_arrived;
    store->popped_data = hold;
    *out = hold;
    return 0;
}

void pop_hold_free(struct pop_hold *hold)
{
    if (hold == NULL) {
        return;
    }
    hold->store->popped = NULL;
    pop_hold_wake_all(hold);
    while (hold->ready != NULL) {
        struct pop_parked *parked = hold->ready;

        hold->ready = parked->next_ready;
        parked->wake(parked, false);
    }
    due_heap_fini(&hold->due);
    mq_free(hold);
}
