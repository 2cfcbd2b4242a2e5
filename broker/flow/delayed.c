#include "broker/flow/delayed.h"

#include "broker/state/pending_table.h"
#include "remoting/base/err.h"
#include "remoting/protocol/names.h"
#include "remoting/protocol/properties.h"

#include <inttypes.h>
#include <stdio.h>

#define TIMER_PRECISION_MS 1000 /* RocketMQ's timerPrecisionMs */
#define LEVEL_QUEUES_MIN 18u    /* of RocketMQ's levels */
#define VALUE_SHOWN 40

/* The last of each, as Java's map of properties has it; absent when there is none. */
struct found {
    struct mq_str level, delay_s, delay_ms, deliver_ms, out_ms;
};

static void look_at(struct found *found, struct mq_str name, struct mq_str value)
{
    if (mq_str_eq(name, PROTO_PROP_TIMER_DELAY_SEC)) {
        found->delay_s = value;
    } else if (mq_str_eq(name, PROTO_PROP_TIMER_DELAY_MS)) {
        found->delay_ms = value;
    } else if (mq_str_eq(name, PROTO_PROP_TIMER_DELIVER_MS)) {
        found->deliver_ms = value;
    } else if (mq_str_eq(name, PROTO_PROP_TIMER_OUT_MS)) {
        found->out_ms = value;
    }
}

/* Returns whether there is any. */
static bool find(struct mq_str properties, struct found *found)
{
    struct mq_str name, value;

    *found = (struct found){0};
    while (proto_properties_next(&properties, &name, &value)) {
        if (name.at[0] == 'D' && mq_str_eq(name, PROTO_PROP_DELAY)) { /* most are told apart by one byte */
            found->level = value;
        } else if (name.at[0] == 'T') {
            look_at(found, name, value);
        }
    }
    return found->level.at != NULL || found->delay_s.at != NULL || found->delay_ms.at != NULL ||
           found->deliver_ms.at != NULL;
}

static int refuse(struct delayed_plan *plan, const char **why, int rc, struct mq_str name, struct mq_str value,
                  const char *text)
{
    int shown = value.len < VALUE_SHOWN ? (int)value.len : VALUE_SHOWN;

    snprintf(plan->why, sizeof(plan->why), "property " MQ_STR_FMT " \"%.*s\" %s", MQ_STR_ARG(name), shown, value.at,
             text);
    *why = plan->why;
    return rc;
}

/* As Java reads a number: a plus in front may be. */
static int number_of(struct mq_str text, int64_t *out)
{
    if (text.len > 1 && text.at[0] == '+' && text.at[1] != '-') {
        text = (struct mq_str){text.at + 1, text.len - 1};
    }
    return mq_str_to_i64(text, out);
}

/* The time itself is kept, and delivered at; what RocketMQ rounds it to is only told. */
static int64_t rounded(int64_t due_ms)
{
    int64_t rest = due_ms % TIMER_PRECISION_MS;

    return rest == 0 ? due_ms - TIMER_PRECISION_MS : due_ms - rest;
}

static int plan_timer(const struct delayed_rules *rules, const struct found *found, int64_t now_ms,
                      struct delayed_plan *plan, const char **why)
{
    bool in_s = found->delay_s.at != NULL, is_time = !in_s && found->delay_ms.at == NULL;
    struct mq_str value = in_s ? found->delay_s : is_time ? found->deliver_ms : found->delay_ms;
    struct mq_str name = in_s      ? PROTO_PROP_TIMER_DELAY_SEC
                         : is_time ? PROTO_PROP_TIMER_DELIVER_MS
                                   : PROTO_PROP_TIMER_DELAY_MS;
    int64_t number, ahead_ms;
    char limit[80];

    if (!rules->timers) {
        return refuse(plan, why, MQ_EUNSUPPORTED, name, value, "asks for a timer, and timerWheelEnable is false");
    }
    if (number_of(value, &number) != 0) {
        return refuse(plan, why, MQ_EINVAL, name, value, "is not a number");
    }
    if (number <= (is_time ? now_ms : 0)) {
        return 0; /* its time has come */
    }
    ahead_ms = is_time ? number - now_ms : in_s ? (number <= INT64_MAX / 1000 ? number * 1000 : INT64_MAX) : number;
    if (ahead_ms > rules->timer_max_ms) {
        snprintf(limit, sizeof(limit), "is further ahead than timerMaxDelaySec %" PRId64, rules->timer_max_ms / 1000);
        return refuse(plan, why, MQ_EINVAL, name, value, limit);
    }
    plan->due_ms = now_ms + ahead_ms;
    plan->timer_out_ms = rounded(plan->due_ms);
    return 0;
}

int delayed_plan(const struct delayed_rules *rules, struct mq_str properties, int64_t now_ms,
                 struct delayed_plan *plan, const char **why)
{
    struct found found;
    int64_t level = 0;

    plan->due_ms = plan->timer_out_ms = 0;
    plan->level = 0;
    if (!find(properties, &found)) {
        return 0;
    }
    if (found.level.at != NULL && (number_of(found.level, &level) != 0 || level > INT32_MAX || level < INT32_MIN)) {
        return refuse(plan, why, MQ_EINVAL, PROTO_PROP_DELAY, found.level, "is not a number");
    }
    if (level > 0) {
        delayed_plan_level(rules, (int32_t)level, now_ms, plan);
        return 0;
    }
    if (found.out_ms.at != NULL ||
        (found.delay_s.at == NULL && found.delay_ms.at == NULL && found.deliver_ms.at == NULL)) {
        return 0; /* it has waited before */
    }
    return plan_timer(rules, &found, now_ms, plan, why);
}

bool delayed_is_asked(struct mq_str properties)
{
    struct found found;
    int64_t level = 1;

    if (!find(properties, &found)) {
        return false;
    }
    if (found.level.at != NULL && (number_of(found.level, &level) != 0 || level > 0)) {
        return true;
    }
    return found.delay_s.at != NULL || found.delay_ms.at != NULL || found.deliver_ms.at != NULL;
}

void delayed_plan_level(const struct delayed_rules *rules, int32_t level, int64_t now_ms, struct delayed_plan *plan)
{
    uint32_t taken = level <= 0 ? 0 : (uint32_t)level < rules->levels ? (uint32_t)level : rules->levels;

    plan->due_ms = taken != 0 ? now_ms + rules->level_ms[taken - 1] : 0;
    plan->level = taken;
    plan->timer_out_ms = 0;
}

uint32_t delayed_level_queues(const struct delayed_rules *rules)
{
    return rules->levels > LEVEL_QUEUES_MIN ? rules->levels : LEVEL_QUEUES_MIN;
}

static void put(struct delayed_store *out, struct mq_str name, struct mq_str value)
{
    out->put[out->n_put++] = (struct record_property){name, value};
}

static void put_number(struct delayed_store *out, struct mq_str name, int64_t value, char *text)
{
    put(out, name, (struct mq_str){text, (uint32_t)mq_i64_to_text(value, text)});
}

void delayed_store_make(struct delayed_store *out, const struct delayed_rules *rules, const struct delayed_plan *plan,
                        struct mq_str topic, int32_t queue_id, struct mq_str uniq_key)
{
    *out = (struct delayed_store){.due_ms = plan->due_ms};
    put(out, PROTO_PROP_REAL_TOPIC, topic);
    put_number(out, PROTO_PROP_REAL_QUEUE_ID, queue_id, out->numbers[0]);
    if (plan->level != 0) {
        out->topic = PROTO_TOPIC_SCHEDULE;
        out->queue_id = (int32_t)plan->level - 1;
        out->queues = delayed_level_queues(rules);
        put_number(out, PROTO_PROP_DELAY, plan->level, out->numbers[1]);
        out->drop[0] = PROTO_PROP_TIMER_DELAY_SEC;
        out->drop[1] = PROTO_PROP_TIMER_DELAY_MS;
        out->drop[2] = PROTO_PROP_TIMER_DELIVER_MS;
        out->n_drop = 3;
    } else {
        out->topic = PROTO_TOPIC_TIMER;
        out->queues = 1;
        put_number(out, PROTO_PROP_TIMER_OUT_MS, plan->timer_out_ms, out->numbers[1]);
    }
    raftmq__pending_put__init(&out->item);
    out->item.due_ms = plan->due_ms;
    out->item.key_hash = pending_key_hash(topic, uniq_key);
    out->item.kind = plan->level != 0 ? PENDING_LEVEL : PENDING_TIMER;
}
