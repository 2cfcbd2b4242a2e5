/* One row for each (group, connection). A row hangs in three lists: of its group, which takes turns; of its client
 * id, where the one that beat last is in front; and of its connection, so that the end of one costs no walk over
 * everybody else's. Groups and client ids without rows are gone. */
#include "broker/store/hash.h"

#include "broker/session/producer_table.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <sys/queue.h>

#define NAME_BYTES_MAX 504

TAILQ_HEAD(producer_list, producer);

/* A group's or a client id's rows, by name. */
struct producer_name {
    char *text; /* owned; key */
    uint32_t bytes;
    struct producer_list rows;
    UT_hash_handle hh;
};

struct producer_key {
    struct producer_name *group;
    struct net_channel *ch;
};

struct producer {
    struct producer_key key; /* the channel is counted, so that its address stays its own */
    struct producer_name *client;
    uint64_t beat_ms;
    TAILQ_ENTRY(producer) in_group, in_client;
    struct producer *next, **prev; /* of the same connection */
    UT_hash_handle hh;
};

struct producer_table {
    struct producer *by_key;
    struct producer_name *groups, *clients;
};

/* --- names --- */

static struct producer_name *name_find(struct producer_name *names, struct mq_str text)
{
    struct producer_name *name;

    HASH_FIND(hh, names, text.at, text.len, name);
    return name;
}

static struct producer_name *name_get(struct producer_name **names, struct mq_str text)
{
    struct producer_name *name = name_find(*names, text);

    if (name != NULL) {
        return name;
    }
    name = mq_calloc(1, sizeof(*name));
    if (name == NULL) {
        return NULL;
    }
    TAILQ_INIT(&name->rows);
    name->bytes = text.len;
    name->text = mq_strndup(text.at, text.len);
    if (name->text != NULL) {
        HASH_ADD_KEYPTR(hh, *names, name->text, name->bytes, name);
    }
    if (name->hh.tbl == NULL) {
        mq_free(name->text);
        mq_free(name);
        return NULL;
    }
    return name;
}

static void name_drop_unused(struct producer_name **names, struct producer_name *name)
{
    if (name != NULL && TAILQ_EMPTY(&name->rows)) {
        HASH_DEL(*names, name);
        mq_free(name->text);
        mq_free(name);
    }
}

/* --- rows --- */

static struct producer *find(const struct producer_table *table, struct producer_name *group, struct net_channel *ch)
{
    const struct producer_key key = {group, ch};
    struct producer *p;

    HASH_FIND(hh, table->by_key, &key, sizeof(key), p);
    return p;
}

static void remove_producer(struct producer_table *table, struct producer *p)
{
    HASH_DEL(table->by_key, p);
    *p->prev = p->next;
    if (p->next != NULL) {
        p->next->prev = p->prev;
    }
    TAILQ_REMOVE(&p->key.group->rows, p, in_group);
    TAILQ_REMOVE(&p->client->rows, p, in_client);
    name_drop_unused(&table->groups, p->key.group);
    name_drop_unused(&table->clients, p->client);
    net_channel_release(p->key.ch);
    mq_free(p);
}

int producer_table_new(struct producer_table **out)
{
    struct producer_table *table = mq_calloc(1, sizeof(*table));

    if (table == NULL) {
        return MQ_ENOMEM;
    }
    *out = table;
    return 0;
}

void producer_table_free(struct producer_table *table)
{
    struct producer *p, *tmp;

    HASH_ITER (hh, table->by_key, p, tmp) {
        remove_producer(table, p);
    }
    MQ_ASSERT(table->groups == NULL && table->clients == NULL);
    mq_free(table);
}

static int add(struct producer_table *table, struct net_channel *ch, struct producer_name *group,
               struct producer_name *client, struct producer **out)
{
    struct session *session = session_get(ch);
    struct producer *p;

    if (HASH_COUNT(table->by_key) >= PRODUCERS_MAX) {
        return MQ_ETOOBIG;
    }
    p = session != NULL ? mq_calloc(1, sizeof(*p)) : NULL;
    if (p == NULL) {
        return MQ_ENOMEM;
    }
    p->key.group = group;
    p->key.ch = ch;
    HASH_ADD(hh, table->by_key, key, sizeof(p->key), p);
    if (p->hh.tbl == NULL) {
        mq_free(p);
        return MQ_ENOMEM;
    }
    net_channel_acquire(ch);
    p->client = client;
    TAILQ_INSERT_TAIL(&group->rows, p, in_group);
    TAILQ_INSERT_HEAD(&client->rows, p, in_client);
    p->prev = &session->producers;
    p->next = session->producers;
    if (p->next != NULL) {
        p->next->prev = &p->next;
    }
    session->producers = p;
    *out = p;
    return 0;
}

/* The row beat under @client, which may be another id than before. */
static void move_in_front(struct producer_table *table, struct producer *p, struct producer_name *client)
{
    struct producer_name *old = p->client;

    TAILQ_REMOVE(&old->rows, p, in_client);
    TAILQ_INSERT_HEAD(&client->rows, p, in_client);
    p->client = client;
    name_drop_unused(&table->clients, old);
}

int producer_table_beat(struct producer_table *table, struct net_channel *ch, struct mq_str client_id,
                        struct mq_str group_name, uint64_t now_ms)
{
    struct producer_name *group, *client;
    struct producer *p = NULL;
    int rc = MQ_ENOMEM;

    if (group_name.len == 0 || group_name.len > NAME_BYTES_MAX || client_id.len > NAME_BYTES_MAX) {
        return MQ_ETOOBIG;
    }
    group = name_get(&table->groups, group_name);
    client = name_get(&table->clients, client_id);
    if (group != NULL && client != NULL) {
        p = find(table, group, ch);
        rc = p == NULL ? add(table, ch, group, client, &p) : 0;
    }
    if (rc != 0) {
        name_drop_unused(&table->groups, group);
        name_drop_unused(&table->clients, client);
        return rc;
    }
    p->beat_ms = now_ms;
    move_in_front(table, p, client);
    return 0;
}

void producer_table_leave(struct producer_table *table, struct net_channel *ch, struct mq_str group_name)
{
    struct producer_name *group = name_find(table->groups, group_name);
    struct producer *p = group != NULL ? find(table, group, ch) : NULL;

    if (p != NULL) {
        remove_producer(table, p);
    }
}

void producer_table_channel_closed(struct producer_table *table, struct net_channel *ch)
{
    struct session *session = session_find(ch);

    while (session != NULL && session->producers != NULL) {
        remove_producer(table, session->producers);
    }
}

void producer_table_expire(struct producer_table *table, uint64_t now_ms, uint64_t expired_ms)
{
    struct producer *p, *tmp;

    HASH_ITER (hh, table->by_key, p, tmp) {
        if (now_ms - p->beat_ms > expired_ms) {
            remove_producer(table, p);
        }
    }
}

uint32_t producer_table_count(const struct producer_table *table)
{
    return HASH_COUNT(table->by_key);
}

/* --- who can be asked --- */

struct net_channel *producer_table_pick(struct producer_table *table, struct mq_str group_name)
{
    struct producer_name *group = name_find(table->groups, group_name);
    struct producer *p = group != NULL ? TAILQ_FIRST(&group->rows) : NULL;
    struct producer *next;

    for (struct producer *last = group != NULL ? TAILQ_LAST(&group->rows, producer_list) : NULL; p != NULL;
         p = next) {
        next = p != last ? TAILQ_NEXT(p, in_group) : NULL;
        TAILQ_REMOVE(&group->rows, p, in_group);
        TAILQ_INSERT_TAIL(&group->rows, p, in_group);
        if (!p->key.ch->conn.closing) {
            return p->key.ch;
        }
    }
    return NULL;
}

struct net_channel *producer_table_of_client(const struct producer_table *table, struct mq_str client_id)
{
    const struct producer_name *client = name_find(table->clients, client_id);
    const struct producer *p = client != NULL ? TAILQ_FIRST(&client->rows) : NULL;

    while (p != NULL && p->key.ch->conn.closing) {
        p = TAILQ_NEXT(p, in_client);
    }
    return p != NULL ? p->key.ch : NULL;
}

bool producer_table_has_group(const struct producer_table *table, struct mq_str group)
{
    return name_find(table->groups, group) != NULL;
}

int producer_table_connections(const struct producer_table *table, struct mq_str group_name,
                               struct proto_connections *out)
{
    const struct producer_name *group = name_find(table->groups, group_name);
    const struct producer *p = group != NULL ? TAILQ_FIRST(&group->rows) : NULL;
    int rc = 0;

    for (; rc == 0 && p != NULL; p = TAILQ_NEXT(p, in_group)) {
        rc = session_describe(p->key.ch, (struct mq_str){p->client->text, p->client->bytes}, out);
    }
    return rc;
}
