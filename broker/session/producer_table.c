/* One row for each (group, connection). The rows of one connection form a list, so that its end costs no walk over
 * everybody else's. */
#include "broker/store/hash.h"

#include "broker/session/producer_table.h"

#include "remoting/base/err.h"

/* The key: the channel's address, which cannot be another channel's while we hold a reference, then the group's name.
 */
#define KEY_BYTES_MAX 512

struct producer {
    char *key; /* owned */
    uint32_t key_bytes;
    struct net_channel *ch; /* counted */
    char *client_id;        /* owned */
    uint64_t beat_ms;
    struct producer *next, **prev; /* of the same connection */
    UT_hash_handle hh;
};

struct producer_table {
    struct producer *by_key;
};

/* Builds the key in @out. Returns its length, or 0 when the group's name is longer than any legal one. */
static uint32_t key_of(struct net_channel *ch, struct mq_str group, char out[KEY_BYTES_MAX])
{
    if (group.len == 0 || group.len + sizeof(ch) > KEY_BYTES_MAX) {
        return 0;
    }
    memcpy(out, &ch, sizeof(ch));
    memcpy(out + sizeof(ch), group.at, group.len);
    return (uint32_t)sizeof(ch) + group.len;
}

static struct producer *find(const struct producer_table *table, const char *key, uint32_t n)
{
    struct producer *p;

    HASH_FIND(hh, table->by_key, key, n, p);
    return p;
}

static void producer_free(struct producer *p)
{
    mq_free(p->client_id);
    mq_free(p->key);
    mq_free(p);
}

static void remove_producer(struct producer_table *table, struct producer *p)
{
    HASH_DEL(table->by_key, p);
    *p->prev = p->next;
    if (p->next != NULL) {
        p->next->prev = p->prev;
    }
    net_channel_release(p->ch);
    producer_free(p);
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
    mq_free(table);
}

static int add(struct producer_table *table, const char *key, uint32_t n, struct net_channel *ch,
               struct mq_str client_id, struct producer **out)
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
    p->key = mq_strndup(key, n);
    p->key_bytes = n;
    p->client_id = mq_strndup(client_id.at, client_id.len);
    if (p->key != NULL && p->client_id != NULL) {
        HASH_ADD_KEYPTR(hh, table->by_key, p->key, p->key_bytes, p);
    }
    if (p->hh.tbl == NULL) {
        producer_free(p);
        return MQ_ENOMEM;
    }
    p->ch = net_channel_acquire(ch);
    p->prev = &session->producers;
    p->next = session->producers;
    if (p->next != NULL) {
        p->next->prev = &p->next;
    }
    session->producers = p;
    *out = p;
    return 0;
}

int producer_table_beat(struct producer_table *table, struct net_channel *ch, struct mq_str client_id,
                        struct mq_str group, uint64_t now_ms)
{
    char key[KEY_BYTES_MAX];
    uint32_t n = key_of(ch, group, key);
    struct producer *p;
    int rc;

    if (n == 0) {
        return MQ_ETOOBIG;
    }
    p = find(table, key, n);
    rc = p == NULL ? add(table, key, n, ch, client_id, &p) : 0;
    if (rc == 0) {
        p->beat_ms = now_ms;
    }
    return rc;
}

void producer_table_leave(struct producer_table *table, struct net_channel *ch, struct mq_str group)
{
    char key[KEY_BYTES_MAX];
    uint32_t n = key_of(ch, group, key);
    struct producer *p = n != 0 ? find(table, key, n) : NULL;

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
