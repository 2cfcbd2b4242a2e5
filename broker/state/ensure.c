/* A proposed topic is pending until its entry is applied. When the entry is lost, so is the belief in it: records of
 * a topic that no member knows could not be read. Other topics that are on their way stay believed in. */
#include "broker/state/ensure.h"

#include "broker/state/bundle.h"
#include "broker/state/command.pb-c.h"
#include "remoting/base/err.h"

#include <string.h>

#define NAME_MAX_BYTES 255u
#define SINGLE_TAG "SINGLE_TAG"

static void on_put(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    if (outcome->status != 0) {
        topic_table_forget(&((struct state *)p->data)->topics, (uint32_t)p->queue_id);
    }
}

static int propose(struct state *state, struct sequencer *seq, Raftmq__TopicConfigItem *config)
{
    const struct sequencer_pending pending = {
        .done = on_put, .data = state, .queue_id = (int32_t)topic_table_ticket(&state->topics)};
    Raftmq__TopicPut put = RAFTMQ__TOPIC_PUT__INIT;
    const struct bundle_part part = {.kind = BUNDLE_ITEM, .type = COMMAND_TOPIC_PUT, .item = &put.base};
    int rc;

    put.config = config;
    rc = bundle_add(seq, state->store, &part, 1, &pending, 0);
    return rc != 0 ? rc : topic_table_put_pending(&state->topics, config);
}

int ensure_topic(struct state *state, struct sequencer *seq, struct mq_str name, uint32_t queues, uint32_t perm,
                 struct topic **out)
{
    Raftmq__TopicConfigItem config = RAFTMQ__TOPIC_CONFIG_ITEM__INIT;
    char text[NAME_MAX_BYTES + 1];
    int rc;

    *out = topic_table_find_for_send(&state->topics, name);
    if (*out != NULL) {
        return 0;
    }
    if (name.len == 0 || name.len > NAME_MAX_BYTES || memchr(name.at, '\0', name.len) != NULL) {
        return MQ_EINVAL;
    }
    if (HASH_COUNT(state->topics.by_name) >= TOPICS_MAX) { /* with the pending ones */
        return MQ_ENOMEM;
    }
    memcpy(text, name.at, name.len);
    text[name.len] = '\0';
    config.name = text;
    config.read_queues = queues;
    config.write_queues = queues;
    config.perm = perm;
    config.filter_type = (char *)SINGLE_TAG;
    rc = propose(state, seq, &config);
    if (rc != 0) {
        return rc;
    }
    *out = topic_table_find_for_send(&state->topics, name);
    return *out != NULL ? 0 : MQ_ENOMEM;
}

int ensure_queue(struct state *state, struct sequencer *seq, struct mq_str name, uint32_t queues, uint32_t perm,
                 int32_t queue_id, struct queue **out)
{
    struct topic *topic;
    int rc = ensure_topic(state, seq, name, queues, perm, &topic);

    return rc != 0 ? rc : topic_queues_get(&state->store->queues, topic->queues, queue_id, out);
}
