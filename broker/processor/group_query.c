/* What administrators ask about consumer groups: GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201), GET_SUBSCRIPTIONGROUP_CONFIG
 * (352). Source: RocketMQ's AdminBrokerProcessor, SubscriptionGroupManager. */
#include "broker/processor/processors.h"
#include "broker/processor/topic_put.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_group.h"
#include "remoting/protocol/headers.h"

#include <stdlib.h>

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
