/* Consumer groups for administrators: UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200), a list of them (225),
 * GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201), DELETE_SUBSCRIPTIONGROUP (207), GET_SUBSCRIPTIONGROUP_CONFIG (352),
 * UPDATE_AND_GET_GROUP_FORBIDDEN (353), SET_MESSAGE_REQUEST_MODE (401). Source: RocketMQ's AdminBrokerProcessor,
 * SubscriptionGroupManager, QueryAssignmentProcessor. */
#include "broker/processor/processors.h"
#include "broker/processor/topic_put.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_group.h"
#include "remoting/protocol/body_offset.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/names.h"

#define RETRY_QUEUES_MAX 65535
#define EXPRESSION_MAX 65535

static bool check_name(const struct reply_to *to, const char *field, struct mq_str group)
{
    enum proto_name_problem problem = proto_group_check(group);

    if (problem != PROTO_NAME_OK) {
        reply_error(to, RESP_INVALID_PARAMETER, "%s \"" MQ_STR_FMT "\" is %s", field, REMARK_ARG(group),
                    proto_name_problem_text(problem, true));
    }
    return problem == PROTO_NAME_OK;
}

static void reply_no_group(const struct reply_to *to, struct mq_str group)
{
    reply_error(to, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "group \"" MQ_STR_FMT "\" does not exist", REMARK_ARG(group));
}

/* --- 200, 225 --- */

static bool check_policy(const struct reply_to *to, const struct proto_retry_policy *policy)
{
    if (policy->has_exponential && (policy->initial_ms < 0 || policy->max_ms < 0 || policy->multiplier < 1)) {
        reply_error(to, RESP_INVALID_PARAMETER,
                    "exponentialRetryPolicy initial %lld, max %lld, multiplier %lld: none may be negative, the "
                    "multiplier at least 1",
                    (long long)policy->initial_ms, (long long)policy->max_ms, (long long)policy->multiplier);
        return false;
    }
    for (uint32_t i = 0; policy->has_customized && i < policy->n_next; i++) {
        if (policy->next_ms[i] < 0) {
            reply_error(to, RESP_INVALID_PARAMETER, "customizedRetryPolicy next %lld: must not be negative",
                        (long long)policy->next_ms[i]);
            return false;
        }
    }
    return true;
}

static bool check_subs(const struct reply_to *to, const struct proto_static_subs *subs)
{
    for (uint32_t i = 0; i < subs->count; i++) {
        const struct proto_static_sub *sub = &subs->items[i];

        if (proto_topic_check(sub->topic) != PROTO_NAME_OK) {
            reply_bad_topic(to, sub->topic, proto_topic_check(sub->topic));
            return false;
        }
        if (sub->expression.len > EXPRESSION_MAX || sub->expression_type.len >= NAME_TEXT_MAX) {
            reply_error(to, RESP_INVALID_PARAMETER,
                        "subscriptionDataSet: expression of %u bytes, at most %d are allowed", sub->expression.len,
                        EXPRESSION_MAX);
            return false;
        }
    }
    return true;
}

/* Returns false after an answer. */
static bool check_group(const struct reply_to *to, const struct proto_group_config *group)
{
    if (!check_name(to, "groupName", group->name)) {
        return false;
    }
    if (group->attribute.at != NULL) {
        reply_error(to, RESP_SYSTEM_ERROR, "attributes: unknown key \"" MQ_STR_FMT "\"",
                    REMARK_ARG(group->attribute));
        return false;
    }
    if (group->retry_queues > RETRY_QUEUES_MAX) {
        reply_error(to, RESP_INVALID_PARAMETER, "retryQueueNums %d: at most %d are allowed", group->retry_queues,
                    RETRY_QUEUES_MAX);
        return false;
    }
    return check_policy(to, &group->policy) && check_subs(to, &group->subs);
}

/* Memory for the parts of one item. */
struct group_item {
    char name[NAME_TEXT_MAX];
    Raftmq__GroupPut put;
    Raftmq__GroupDetails details;
    Raftmq__RetryPolicy policy;
    Raftmq__ExponentialRetry exponential;
    Raftmq__CustomizedRetry customized;
    struct mq_buf texts;                  /* owned: of subscriptions */
    Raftmq__GroupSubscription *subs;      /* owned */
    Raftmq__GroupSubscription **sub_list; /* owned */
};

static void item_free(struct group_item *item)
{
    mq_buf_free(&item->texts);
    mq_free(item->subs);
    mq_free(item->sub_list);
}

static void describe_policy(const struct proto_retry_policy *policy, struct group_item *item)
{
    raftmq__retry_policy__init(&item->policy);
    item->policy.exponential = policy->exponential;
    if (policy->has_exponential) {
        raftmq__exponential_retry__init(&item->exponential);
        item->exponential.initial_ms = policy->initial_ms;
        item->exponential.max_ms = policy->max_ms;
        item->exponential.multiplier = policy->multiplier;
        item->policy.exponential_retry = &item->exponential;
    }
    if (policy->has_customized) {
        raftmq__customized_retry__init(&item->customized);
        item->customized.next_ms = (int64_t *)policy->next_ms;
        item->customized.n_next_ms = policy->n_next;
        item->policy.customized_retry = &item->customized;
    }
    if (policy->exponential || policy->has_exponential || policy->has_customized) {
        item->details.retry_policy = &item->policy;
    }
}

/* As text with its NUL in @texts, which has the room. */
static char *put_text(struct mq_buf *texts, struct mq_str text)
{
    char *at = (char *)texts->base + texts->len;

    if (text.len != 0) {
        memcpy(at, text.at, text.len);
    }
    at[text.len] = '\0';
    texts->len += text.len + 1;
    return at;
}

static int describe_subs(const struct proto_static_subs *subs, struct group_item *item)
{
    size_t bytes = 1;

    for (uint32_t i = 0; i < subs->count; i++) {
        bytes +=
            (size_t)subs->items[i].topic.len + subs->items[i].expression_type.len + subs->items[i].expression.len + 3;
    }
    item->subs = mq_calloc(subs->count + 1, sizeof(item->subs[0]));
    item->sub_list = mq_calloc(subs->count + 1, sizeof(item->sub_list[0]));
    if (item->subs == NULL || item->sub_list == NULL || mq_buf_reserve(&item->texts, bytes) != 0) {
        return MQ_ENOMEM;
    }
    for (uint32_t i = 0; i < subs->count; i++) {
        raftmq__group_subscription__init(&item->subs[i]);
        item->subs[i].topic = put_text(&item->texts, subs->items[i].topic);
        item->subs[i].expression_type = put_text(&item->texts, subs->items[i].expression_type);
        item->subs[i].expression = put_text(&item->texts, subs->items[i].expression);
        item->subs[i].version = subs->items[i].version;
        item->sub_list[i] = &item->subs[i];
    }
    item->details.subscriptions = item->sub_list;
    item->details.n_subscriptions = subs->count;
    return 0;
}

/* A checked group as an item; item_free also after an error. Returns 0, MQ_EINVAL or MQ_ENOMEM. */
static int describe_item(const struct proto_group_config *group, struct group_item *item)
{
    memset(item, 0, sizeof(*item));
    if (!name_text(group->name, item->name)) {
        return MQ_EINVAL;
    }
    raftmq__group_put__init(&item->put);
    item->put.name = item->name;
    item->put.consume_enable = group->consume_enable;
    item->put.consume_from_min_enable = group->consume_from_min;
    item->put.consume_broadcast_enable = group->consume_broadcast;
    item->put.consume_message_orderly = group->consume_orderly;
    item->put.retry_queues = group->retry_queues > 0 ? (uint32_t)group->retry_queues : 0;
    item->put.retry_max_times = group->retry_max_times;
    item->put.broker_id = group->broker_id;
    item->put.which_broker_when_slow = group->which_when_slow;
    item->put.notify_consumer_ids_changed = group->notify_changed;
    item->put.sys_flag = (uint32_t)group->sys_flag;
    item->put.consume_timeout_minutes = (uint32_t)group->consume_timeout_minutes;
    raftmq__group_details__init(&item->details);
    describe_policy(&group->policy, item);
    if (item->details.retry_policy != NULL || group->subs.count != 0) {
        item->put.details = &item->details;
    }
    return group->subs.count != 0 ? describe_subs(&group->subs, item) : 0;
}

static int append_item(struct mq_buf *items, const struct proto_group_config *group)
{
    struct group_item item;
    int rc = describe_item(group, &item);
    uint32_t bytes = rc == 0 ? command_bytes(&item.put.base) : 0;

    rc = rc == 0 ? mq_buf_reserve(items, bytes) : rc;
    if (rc == 0) {
        command_encode(COMMAND_GROUP_PUT, &item.put.base, items->base + items->len);
        items->len += bytes;
    }
    item_free(&item);
    return rc;
}

/* All groups go into one entry. */
static void put_groups(struct context *ctx, const struct reply_to *to, const struct proto_group_config *groups,
                       uint32_t n)
{
    struct sequencer_pending pending = pending_for(to, names_done, ctx);
    struct mq_buf items = {0};
    uint8_t *at;
    int rc = 0;

    if (group_table_size(&ctx->state->groups) + n > GROUPS_MAX) {
        reply_error(to, RESP_SYSTEM_ERROR, "%u groups: there are %u, at most %d are allowed", n,
                    group_table_size(&ctx->state->groups), GROUPS_MAX);
        return;
    }
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        rc = append_item(&items, &groups[i]);
    }
    rc = rc == 0 && items.len > RLOG_ENTRY_BYTES_MAX ? MQ_ETOOBIG : rc;
    rc = rc == 0 ? sequencer_reserve(ctx->sequencer, (uint32_t)items.len, &at) : rc;
    if (rc == 0) {
        memcpy(at, items.base, items.len);
        sequencer_add(ctx->sequencer, (uint32_t)items.len, NULL, 0, n, &pending);
    } else {
        reply_failed(to, rc);
    }
    mq_buf_free(&items);
}

static void reply_bad_body(const struct reply_to *to, const struct proto_command *cmd, int rc)
{
    reply_error(to, RESP_SYSTEM_ERROR, "body of %u bytes: %s", cmd->body_bytes, mq_strerror(rc));
}

void put_group(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_group_config group = {0};
    char *json = mq_strndup((const char *)cmd->body, cmd->body_bytes); /* decoding changes it */
    int rc = json != NULL ? proto_group_config_decode(json, cmd->body_bytes, &group) : MQ_ENOMEM;

    if (rc != 0) {
        reply_bad_body(&to, cmd, rc);
    } else if (check_group(&to, &group)) {
        put_groups(ctx, &to, &group, 1);
    }
    proto_group_config_free(&group);
    mq_free(json);
}

void put_group_list(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_group_configs groups = {0};
    char *json = mq_strndup((const char *)cmd->body, cmd->body_bytes);
    int rc = json != NULL ? proto_group_list_decode(json, cmd->body_bytes, &groups) : MQ_ENOMEM;
    bool ok = rc == 0;

    if (rc != 0) {
        reply_bad_body(&to, cmd, rc);
    } else if (groups.count == 0) {
        reply_error(&to, RESP_INVALID_PARAMETER, "groupConfigList is missing or empty");
        ok = false;
    }
    for (uint32_t i = 0; ok && i < groups.count; i++) {
        ok = check_group(&to, &groups.items[i]);
    }
    if (ok) {
        put_groups(ctx, &to, groups.items, groups.count);
    }
    proto_group_list_free(&groups);
    mq_free(json);
}

/* --- 352, 201 --- */

static void describe_retry(const Raftmq__RetryPolicy *from, struct proto_retry_policy *to)
{
    to->exponential = from->exponential;
    if (from->exponential_retry != NULL) {
        to->has_exponential = true;
        to->initial_ms = from->exponential_retry->initial_ms;
        to->max_ms = from->exponential_retry->max_ms;
        to->multiplier = from->exponential_retry->multiplier;
    }
    if (from->customized_retry != NULL) {
        to->has_customized = true;
        for (size_t i = 0; i < from->customized_retry->n_next_ms && i < PROTO_RETRY_DELAYS_MAX; i++) {
            to->next_ms[to->n_next++] = from->customized_retry->next_ms[i];
        }
    }
}

/* Texts are borrowed from @item. Returns 0 or MQ_ENOMEM. */
static int describe_wire(const Raftmq__GroupPut *item, struct proto_group_config *out)
{
    *out = (struct proto_group_config){
        .name = mq_str_of(item->name),
        .consume_enable = item->consume_enable,
        .consume_from_min = item->consume_from_min_enable,
        .consume_broadcast = item->consume_broadcast_enable,
        .consume_orderly = item->consume_message_orderly,
        .retry_queues = (int32_t)item->retry_queues,
        .retry_max_times = item->retry_max_times,
        .broker_id = item->broker_id,
        .which_when_slow = item->which_broker_when_slow,
        .notify_changed = item->notify_consumer_ids_changed,
        .sys_flag = (int32_t)item->sys_flag,
        .consume_timeout_minutes = (int32_t)item->consume_timeout_minutes,
    };
    if (item->details != NULL && item->details->retry_policy != NULL) {
        describe_retry(item->details->retry_policy, &out->policy);
    }
    for (size_t i = 0; item->details != NULL && i < item->details->n_subscriptions; i++) {
        const Raftmq__GroupSubscription *from = item->details->subscriptions[i];
        struct proto_static_sub *sub = proto_static_subs_add(&out->subs);

        if (sub == NULL) {
            return MQ_ENOMEM;
        }
        *sub = (struct proto_static_sub){mq_str_of(from->topic), mq_str_of(from->expression_type),
                                         mq_str_of(from->expression), from->version};
    }
    return 0;
}

void get_group(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_group_name_header header;
    struct proto_group_config config;
    struct proto_problem why;
    struct mq_buf body = {0};
    char name[NAME_TEXT_MAX];
    const struct group *group;
    Raftmq__GroupPut item;
    int rc;

    if (proto_group_name_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    group = group_table_find(&ctx->state->groups, header.group);
    if (group != NULL) {
        group_describe(group, &item);
    } else if (group_usable(ctx, header.group) && name_text(header.group, name)) {
        group_defaults(&item, name); /* proposed just now */
    } else {
        reply_no_group(&to, header.group);
        return;
    }
    rc = describe_wire(&item, &config);
    rc = rc == 0 ? proto_group_config_encode(&body, &config) : rc;
    reply_built(&to, rc, &body);
    proto_group_config_free(&config);
}

#define PAGE_GROUPS_MAX 2000u

/* What 201 answers: groups from number @first on in the order of the table, at most @most. */
struct group_page {
    struct proto_data_version version;
    uint32_t first, most;
    struct proto_group_configs groups;
    struct proto_forbiddens forbidden;
};

static void page_free(struct group_page *page)
{
    proto_group_list_free(&page->groups);
    proto_forbiddens_free(&page->forbidden);
}

static int add_groups(const struct context *ctx, struct group_page *page)
{
    uint32_t at = 0;

    for (const struct group *group = ctx->state->groups.by_name; group != NULL; group = group->hh.next, at++) {
        struct proto_group_config *config;
        Raftmq__GroupPut item;

        if (at < page->first || at - page->first >= page->most) {
            continue;
        }
        config = proto_group_configs_add(&page->groups);
        group_describe(group, &item);
        if (config == NULL || describe_wire(&item, config) != 0) {
            return MQ_ENOMEM;
        }
    }
    return 0;
}

static int compare_forbidden(const void *a, const void *b)
{
    const struct proto_forbidden *one = a, *two = b;
    uint32_t n = one->group.len < two->group.len ? one->group.len : two->group.len;
    int order = memcmp(one->group.at, two->group.at, n);

    return order != 0 ? order : (one->group.len > two->group.len) - (one->group.len < two->group.len);
}

static int add_forbidden(const struct context *ctx, struct group_page *page)
{
    for (const struct table_row *row = ctx->state->forbidden.rows.rows; row != NULL; row = row->hh.next) {
        struct proto_forbidden *forbidden = proto_forbiddens_add(&page->forbidden);

        if (forbidden == NULL) {
            return MQ_ENOMEM;
        }
        forbidden->group = mq_str_of(row_first_name(row));
        forbidden->topic = mq_str_of(row_next_name(row_first_name(row)));
    }
    if (page->forbidden.count != 0) {
        qsort(page->forbidden.items, page->forbidden.count, sizeof(page->forbidden.items[0]), compare_forbidden);
    }
    return 0;
}

/* A page is asked for by its first number and the version of the page before; when that is no longer the table's, the
 * pages begin anew. Old tools ask for all. */
static int choose_page(const struct proto_all_groups_header *header, struct group_page *page)
{
    struct proto_data_version asked;
    char *json;
    int rc;

    page->most = UINT32_MAX;
    if (header->seq < 0) {
        return 0;
    }
    page->most = header->max > 0 && header->max < (int32_t)PAGE_GROUPS_MAX ? (uint32_t)header->max : PAGE_GROUPS_MAX;
    if (header->version.len == 0) {
        page->first = (uint32_t)header->seq;
        return 0;
    }
    json = mq_strndup(header->version.at, header->version.len);
    rc = json != NULL ? proto_data_version_decode(json, header->version.len, &asked) : MQ_ENOMEM;
    mq_free(json);
    if (rc == 0 && proto_data_version_compare(&asked, &page->version) == 0) {
        page->first = (uint32_t)header->seq;
    }
    return rc == MQ_ENOMEM ? rc : 0;
}

static void answer_page(const struct reply_to *to, const struct group_page *page, uint32_t total)
{
    struct proto_all_groups_response_header header = {.total = (int32_t)total};
    struct mq_buf body = {0};
    struct proto_writer w;
    int rc = proto_group_table_encode(&body, &page->version, &page->groups, &page->forbidden);

    if (rc != 0) {
        reply_failed(to, rc);
    } else if (reply_begin(to, &w, RESP_SUCCESS, (struct mq_str){0})) {
        proto_all_groups_response_header_encode(&w, &header);
        reply_end(to, &w, body.base, body.len);
    }
    mq_buf_free(&body);
}

void get_all_groups(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    const struct group_table *groups = &ctx->state->groups;
    struct group_page page = {
        .version = {.state_version = 0, .timestamp_ms = groups->changed_ms, .counter = (int64_t)groups->counter}};
    struct proto_all_groups_header header;
    struct proto_problem why;
    int rc;

    if (proto_all_groups_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    rc = choose_page(&header, &page);
    rc = rc == 0 ? add_groups(ctx, &page) : rc;
    rc = rc == 0 ? add_forbidden(ctx, &page) : rc;
    if (rc != 0) {
        reply_failed(&to, rc);
    } else {
        answer_page(&to, &page, groups->count);
    }
    page_free(&page);
}

/* --- 207, 353, 401 --- */

static bool is_anything_left(const struct context *ctx, struct mq_str group)
{
    return group_table_find(&ctx->state->groups, group) != NULL ||
           group_table_is_proposed(&ctx->state->groups, group);
}

void delete_group(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct sequencer_pending pending = pending_for(&to, names_done, ctx);
    Raftmq__GroupDelete item = RAFTMQ__GROUP_DELETE__INIT;
    struct proto_delete_group_header header;
    struct proto_problem why;
    char name[NAME_TEXT_MAX];
    int rc;

    if (proto_delete_group_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (!check_name(&to, "groupName", header.group)) {
        return;
    }
    item.clean_offsets = header.clean_offset || header.remove_offset;
    if (!item.clean_offsets && !is_anything_left(ctx, header.group)) {
        reply_code(&to, RESP_SUCCESS);
        return;
    }
    rc = name_text(header.group, name) ? 0 : MQ_EINVAL;
    item.name = name;
    rc = rc == 0 ? propose_item(ctx, COMMAND_GROUP_DELETE, &item.base, &pending) : rc;
    if (rc != 0) {
        reply_failed(&to, rc);
        return;
    }
    group_table_note_deletion(&ctx->state->groups, header.group);
}

/* The request of 353 until its entry is applied: the answer says what is so then. */
struct forbidden_job {
    struct context *ctx;
    char group[NAME_TEXT_MAX], topic[NAME_TEXT_MAX];
};

static void answer_forbidden(const struct context *ctx, const struct reply_to *to, struct mq_str group,
                             struct mq_str topic)
{
    const struct proto_forbidden answer = {group, topic, !forbidden_table_has(&ctx->state->forbidden, group, topic)};
    struct mq_buf body = {0};
    int rc = proto_forbidden_encode(&body, &answer);

    reply_built(to, rc, &body);
}

static void on_forbidden(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct reply_to to = reply_to_of_pending(p);
    struct forbidden_job *job = p->data;

    if (outcome->status == 0) {
        answer_forbidden(job->ctx, &to, mq_str_of(job->group), mq_str_of(job->topic));
    } else {
        reply_failed(&to, outcome->status);
    }
    mq_free(job);
}

static int propose_forbidden(struct context *ctx, const struct reply_to *to,
                             const struct proto_group_forbidden_header *header)
{
    struct sequencer_pending pending = pending_for(to, on_forbidden, NULL);
    Raftmq__GroupForbidden item = RAFTMQ__GROUP_FORBIDDEN__INIT;
    struct forbidden_job *job = mq_calloc(1, sizeof(*job));
    int rc;

    if (job == NULL) {
        return MQ_ENOMEM;
    }
    job->ctx = ctx;
    pending.data = job;
    rc = name_text(header->group, job->group) && name_text(header->topic, job->topic) ? 0 : MQ_EINVAL;
    item.group = job->group;
    item.topic = job->topic;
    item.read_forbidden = !mq_str_to_bool(header->readable);
    rc = rc == 0 ? propose_item(ctx, COMMAND_GROUP_FORBIDDEN, &item.base, &pending) : rc;
    if (rc != 0) {
        mq_free(job);
    }
    return rc;
}

void forbid_group(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_group_forbidden_header header;
    struct proto_problem why;
    int rc;

    if (proto_group_forbidden_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (!check_name(&to, "group", header.group)) {
        return;
    }
    if (proto_topic_check(header.topic) != PROTO_NAME_OK) {
        reply_bad_topic(&to, header.topic, proto_topic_check(header.topic));
        return;
    }
    if (header.readable.at == NULL) {
        answer_forbidden(ctx, &to, header.group, header.topic);
        return;
    }
    if (row_table_count(&ctx->state->forbidden.rows) >= FORBIDDEN_MAX && !mq_str_to_bool(header.readable)) {
        reply_error(&to, RESP_SYSTEM_ERROR, "%u topics are forbidden to groups, the most allowed", FORBIDDEN_MAX);
        return;
    }
    rc = propose_forbidden(ctx, &to, &header);
    if (rc != 0) {
        reply_failed(&to, rc);
    }
}

/* Returns false after an answer. */
static bool check_mode(struct context *ctx, const struct reply_to *to, const struct proto_request_mode *mode)
{
    if (mq_str_starts(mode->topic, PROTO_RETRY_PREFIX)) {
        reply_error(to, RESP_NO_PERMISSION, "topic \"" MQ_STR_FMT "\" is a retry topic: it is always pulled",
                    REMARK_ARG(mode->topic));
        return false;
    }
    if (topic_table_find(&ctx->state->topics, mode->topic) == NULL) {
        reply_no_topic(to, mode->topic);
        return false;
    }
    if (!is_anything_left(ctx, mode->group)) {
        reply_no_group(to, mode->group);
        return false;
    }
    if (!mq_str_eq(mode->mode, MQ_STR("POP")) && !mq_str_eq(mode->mode, MQ_STR("PULL"))) {
        reply_error(to, RESP_INVALID_PARAMETER, "mode \"" MQ_STR_FMT "\": must be PULL or POP",
                    REMARK_ARG(mode->mode));
        return false;
    }
    if (row_table_count(&ctx->state->modes.rows) >= REQUEST_MODES_MAX) {
        reply_error(to, RESP_SYSTEM_ERROR, "there are %u request modes, the most allowed", REQUEST_MODES_MAX);
        return false;
    }
    return true;
}

void set_request_mode(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct sequencer_pending pending = pending_for(&to, answer_done, NULL);
    Raftmq__RequestModePut item = RAFTMQ__REQUEST_MODE_PUT__INIT;
    struct proto_request_mode mode = {0};
    char topic[NAME_TEXT_MAX], group[NAME_TEXT_MAX];
    char *json = mq_strndup((const char *)cmd->body, cmd->body_bytes);
    int rc = json != NULL ? proto_request_mode_decode(json, cmd->body_bytes, &mode) : MQ_ENOMEM;

    if (rc != 0) {
        reply_bad_body(&to, cmd, rc);
    } else if (check_mode(ctx, &to, &mode)) {
        rc = name_text(mode.topic, topic) && name_text(mode.group, group) ? 0 : MQ_EINVAL;
        item.topic = topic;
        item.group = group;
        item.pop = mq_str_eq(mode.mode, MQ_STR("POP"));
        item.pop_share_queues = mode.pop_share_queues;
        rc = rc == 0 ? propose_item(ctx, COMMAND_REQUEST_MODE_PUT, &item.base, &pending) : rc;
        if (rc != 0) {
            reply_failed(&to, rc);
        }
    }
    mq_free(json);
}
