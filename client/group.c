/* A broker group as a client sees it, and how it finds the leader again.
 *
 * Normal: the route's id 0 is the leader -> sends go straight to it.
 * Lost (its connections are gone, it answers 14 or [UNKNOWN], or a send timed out): sends wait here -> on every tick
 * each member that is connected gets one of them, which costs nothing, because a follower answers 14 at once and
 * stores nothing -> the one that takes it is the leader, and all that waited goes there. Meanwhile the name servers
 * are asked every 50 to 200 ms, for members that are not known yet. So a lost leader costs the election and one tick.
 */
#include "client/instance.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#define SEARCH_IDLE_MS CLIENT_SEARCH_ROUTE_MAX_MS /* nothing waits, but the leader is not known */
#define GROUP_IDLE_MS 1000

struct group *group_get(struct rmq_client *client, struct mq_str name, struct topic *topic)
{
    struct group *group;

    for (group = client->groups; group != NULL; group = group->next) {
        if (mq_str_eq(mq_str_of(group->name), name)) {
            return group;
        }
    }
    group = client->n_groups < CLIENT_GROUPS_MAX ? mq_calloc(1, sizeof(*group)) : NULL;
    if (group == NULL) {
        return NULL;
    }
    group->name = mq_strndup(name.at, name.len);
    if (group->name == NULL) {
        mq_free(group);
        return NULL;
    }
    group->client = client;
    group->topic = topic;
    TAILQ_INIT(&group->sends);
    TAILQ_INIT(&group->pulls);
    group->next = client->groups;
    client->groups = group;
    client->n_groups++;
    return group;
}

void group_free(struct group *group)
{
    mq_free(group->name);
    mq_free(group);
}

void group_learn(struct group *group, const struct proto_broker_data *data)
{
    struct rmq_client *client = group->client;
    struct broker_link *registered = NULL;
    char addr[LINK_ADDR_MAX + 1];

    group->n_members = 0;
    for (uint32_t i = 0; i < data->addr_count; i++) {
        struct mq_str text = data->addrs[i].addr;
        struct broker_link *link;

        if (text.len == 0 || text.len > LINK_ADDR_MAX) {
            continue;
        }
        memcpy(addr, text.at, text.len);
        addr[text.len] = '\0';
        if (broker_link_get(client, addr, &link) != 0) {
            continue; /* not an address; the others are as good */
        }
        group->members[group->n_members++] = (struct member){data->addrs[i].id, link};
        if (data->addrs[i].id == 0) {
            registered = link;
        }
    }
    /* While sends wait they find out themselves; the name server may still show the leader that was lost. */
    if (group->leader == NULL && registered != NULL && (TAILQ_EMPTY(&group->sends) || client->only_leader_routes)) {
        group_found(group, registered);
    }
    client_pace(client, 0);
}

void group_found(struct group *group, struct broker_link *link)
{
    if (group->leader != NULL) {
        return;
    }
    group->leader = link;
    broker_link_want(link);
    group_flush(group);
}

void group_lost(struct group *group, const struct broker_link *link)
{
    uint64_t due_ms;

    if (group->leader != link) {
        return;
    }
    group->leader = NULL;
    due_ms = client_now_ms(group->client) +
             client_jitter(group->client, CLIENT_SEARCH_ROUTE_MIN_MS, CLIENT_SEARCH_ROUTE_MAX_MS);
    if (group->topic->refresh_ms > due_ms) {
        group->topic->refresh_ms = due_ms;
    }
    client_pace(group->client, 0);
}

/* What comes back refused is older than what came since, so the place is near the end of those that came back. */
void group_wait(struct group *group, struct send_own *own)
{
    struct send_own *before = TAILQ_LAST(&group->sends, send_list);

    while (before != NULL && before->serial > own->serial) {
        before = TAILQ_PREV(before, send_list, link);
    }
    if (before == NULL) {
        TAILQ_INSERT_HEAD(&group->sends, own, link);
    } else {
        TAILQ_INSERT_AFTER(&group->sends, before, own, link);
    }
    if (group->leader != NULL) {
        broker_link_want(group->leader);
    }
    client_pace(group->client, group->leader != NULL ? CLIENT_SEARCH_TICK_MS : 0);
}

/* Takes the first waiting send off the list and writes it. Returns false when it is back, to be tried again later. */
static bool write_first(struct group *group, struct broker_link *link, bool probe)
{
    struct send_own *own = TAILQ_FIRST(&group->sends);
    int rc;

    TAILQ_REMOVE(&group->sends, own, link);
    rc = send_write(own, link);
    if (rc == MQ_ECLOSED || rc == MQ_EBUSY) {
        TAILQ_INSERT_HEAD(&group->sends, own, link);
        return false;
    }
    if (rc != 0) {
        send_fail(own, rc);
        return true;
    }
    own->probe = probe;
    link->probing = link->probing || probe;
    return true;
}

void group_flush(struct group *group)
{
    while (!TAILQ_EMPTY(&group->sends) && group->leader != NULL && client_now_ms(group->client) >= group->pause_ms) {
        if (!write_first(group, group->leader, false)) {
            break;
        }
    }
}

static void probe_members(struct group *group, uint64_t now_ms)
{
    for (uint32_t i = 0; i < group->n_members && group->leader == NULL; i++) {
        struct broker_link *link = group->members[i].link;

        if (link->up == 0) {
            broker_link_want(link);
        } else if (!link->probing && now_ms >= link->probe_ms && !TAILQ_EMPTY(&group->sends)) {
            link->probe_ms = now_ms + CLIENT_SEARCH_TICK_MS;
            write_first(group, link, true);
        }
    }
}

/* The leader if it can be reached, else any member that can; starts connecting if none is up. */
static struct broker_link *pick_reader(struct group *group)
{
    if (group->leader != NULL && group->leader->up != 0) {
        return group->leader;
    }
    for (uint32_t i = 0; i < group->n_members; i++) {
        if (group->members[i].link->up != 0) {
            return group->members[i].link;
        }
    }
    for (uint32_t i = 0; i < group->n_members; i++) {
        broker_link_want(group->members[i].link);
    }
    return NULL;
}

int group_pull(struct group *group, struct pull_own *own)
{
    struct broker_link *link = TAILQ_EMPTY(&group->pulls) ? pick_reader(group) : NULL;
    int rc = link != NULL ? pull_write(own, link) : MQ_ECLOSED;

    if (rc == MQ_ECLOSED || rc == MQ_EBUSY) {
        TAILQ_INSERT_TAIL(&group->pulls, own, link);
        client_pace(group->client, 0);
        return 0;
    }
    return rc;
}

static void flush_pulls(struct group *group)
{
    struct pull_own *own;

    while ((own = TAILQ_FIRST(&group->pulls)) != NULL) {
        struct broker_link *link = pick_reader(group);
        int rc = link != NULL ? pull_write(own, link) : MQ_ECLOSED;

        if (rc == MQ_ECLOSED || rc == MQ_EBUSY) {
            return;
        }
        TAILQ_REMOVE(&group->pulls, own, link);
        if (rc != 0) {
            pull_fail(own, rc);
        }
    }
}

static void expire(struct group *group, uint64_t now_ms)
{
    struct send_own *own, *next;
    struct pull_own *pull, *next_pull;

    for (own = TAILQ_FIRST(&group->sends); own != NULL; own = next) {
        next = TAILQ_NEXT(own, link);
        if (own->deadline_ms <= now_ms) {
            TAILQ_REMOVE(&group->sends, own, link);
            send_fail(own, MQ_ETIMEDOUT);
        }
    }
    for (pull = TAILQ_FIRST(&group->pulls); pull != NULL; pull = next_pull) {
        next_pull = TAILQ_NEXT(pull, link);
        if (pull->deadline_ms <= now_ms) {
            TAILQ_REMOVE(&group->pulls, pull, link);
            pull_fail(pull, MQ_ETIMEDOUT);
        }
    }
}

static void search(struct group *group, uint64_t now_ms)
{
    struct rmq_client *client = group->client;
    uint64_t latest_ms = now_ms + CLIENT_SEARCH_ROUTE_MAX_MS;

    if (group->topic->refresh_ms > latest_ms) {
        group->topic->refresh_ms =
            now_ms + client_jitter(client, CLIENT_SEARCH_ROUTE_MIN_MS, CLIENT_SEARCH_ROUTE_MAX_MS);
    }
    if (!TAILQ_EMPTY(&group->sends) && !client->only_leader_routes) {
        probe_members(group, now_ms);
    }
}

uint64_t group_tick(struct group *group)
{
    uint64_t now_ms = client_now_ms(group->client);
    bool waiting;

    expire(group, now_ms);
    if (group->leader == NULL) {
        search(group, now_ms);
    } else if (!TAILQ_EMPTY(&group->sends)) {
        broker_link_want(group->leader);
        group_flush(group);
    }
    flush_pulls(group);
    waiting = !TAILQ_EMPTY(&group->sends) || !TAILQ_EMPTY(&group->pulls);
    if (waiting) {
        return CLIENT_SEARCH_TICK_MS + client_jitter(group->client, 0, 3);
    }
    return group->leader == NULL && group->topic->wanted ? SEARCH_IDLE_MS : GROUP_IDLE_MS;
}

void group_closed(struct group *group)
{
    struct send_own *own;
    struct pull_own *pull;

    while ((own = TAILQ_FIRST(&group->sends)) != NULL) {
        TAILQ_REMOVE(&group->sends, own, link);
        send_fail(own, MQ_ECLOSED);
    }
    while ((pull = TAILQ_FIRST(&group->pulls)) != NULL) {
        TAILQ_REMOVE(&group->pulls, pull, link);
        pull_fail(pull, MQ_ECLOSED);
    }
}
