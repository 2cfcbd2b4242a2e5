#include "client/ask.h"

#include "client/instance.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/codes.h"

struct link_ask {
    struct net_call call;
    TAILQ_ENTRY(link_ask) link;
    struct broker_link *to;
    int32_t code;
    uint32_t n_fields;
    struct mq_buf fields; /* key NUL value NUL ... */
    struct mq_buf body;
    uint64_t deadline_ms;
    rmq_answer_cb cb;
    void *data;
};

static void finish(struct link_ask *ask, int status, struct proto_command *answer)
{
    rmq_answer_cb cb = ask->cb;
    void *data = ask->data;

    mq_buf_free(&ask->fields);
    mq_buf_free(&ask->body);
    mq_free(ask);
    cb(data, status, answer);
}

static void on_answer(struct net_call *call, int status, struct proto_command *answer)
{
    finish(container_of(call, struct link_ask, call), status, answer);
}

static int write_ask(struct link_ask *ask, struct net_client *net)
{
    const char *at = (const char *)ask->fields.base;
    uint64_t now_ms = client_now_ms(ask->to->client);
    struct proto_writer w;
    int rc = net_client_begin(net, &w, ask->code, false);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < ask->n_fields; i++) {
        struct mq_str key = mq_str_of(at);
        struct mq_str value = mq_str_of(at + key.len + 1);

        proto_put_str(&w, key, value);
        at = value.at + value.len + 1;
    }
    return net_client_call(net, &w, ask->body.base, ask->body.len, &ask->call,
                           ask->deadline_ms > now_ms ? (uint32_t)(ask->deadline_ms - now_ms) : 1, on_answer);
}

void ask_flush(struct broker_link *link)
{
    struct link_ask *ask;

    while ((ask = TAILQ_FIRST(&link->asks)) != NULL) {
        struct net_client *net = broker_link_net(link, 0);
        int rc = net != NULL ? write_ask(ask, net) : MQ_ECLOSED;

        if (rc == MQ_ECLOSED || rc == MQ_EBUSY) {
            return; /* the timer or the end of the connection comes back to it */
        }
        TAILQ_REMOVE(&link->asks, ask, link);
        if (rc != 0) {
            finish(ask, rc, NULL);
        }
    }
}

void ask_fail_all(struct broker_link *link, int status)
{
    struct link_ask_list gone = TAILQ_HEAD_INITIALIZER(gone);
    struct link_ask *ask;

    TAILQ_CONCAT(&gone, &link->asks, link); /* callbacks may ask again */
    while ((ask = TAILQ_FIRST(&gone)) != NULL) {
        TAILQ_REMOVE(&gone, ask, link);
        finish(ask, status, NULL);
    }
}

bool ask_tick(struct broker_link *link)
{
    uint64_t now_ms = client_now_ms(link->client);
    struct link_ask *ask, *next;

    if (TAILQ_EMPTY(&link->asks)) {
        return false;
    }
    if (link->up != 0) {
        ask_flush(link);
    } else {
        broker_link_want(link);
    }
    for (ask = TAILQ_FIRST(&link->asks); ask != NULL; ask = next) {
        next = TAILQ_NEXT(ask, link);
        if (ask->deadline_ms <= now_ms) {
            TAILQ_REMOVE(&link->asks, ask, link);
            finish(ask, MQ_ETIMEDOUT, NULL);
        }
    }
    return !TAILQ_EMPTY(&link->asks);
}

static int copy_fields(struct link_ask *ask, const struct rmq_field *fields, uint32_t n)
{
    int rc = 0;

    for (uint32_t i = 0; i < n && rc == 0; i++) {
        rc = mq_buf_put(&ask->fields, fields[i].key, strlen(fields[i].key) + 1);
        if (rc == 0) {
            rc = mq_buf_put(&ask->fields, fields[i].value, strlen(fields[i].value) + 1);
        }
    }
    ask->n_fields = n;
    return rc;
}

int rmq_ask(struct rmq_client *client, const char *addr, int32_t code, const struct rmq_field *fields, uint32_t n,
            const void *body, size_t body_bytes, uint32_t timeout_ms, rmq_answer_cb cb, void *data)
{
    struct broker_link *link;
    struct link_ask *ask;
    int rc = client->closing ? MQ_ECLOSED : broker_link_get(client, addr, &link);

    if (rc != 0) {
        return rc;
    }
    ask = mq_calloc(1, sizeof(*ask));
    if (ask == NULL) {
        return MQ_ENOMEM;
    }
    ask->to = link;
    ask->code = code;
    ask->cb = cb;
    ask->data = data;
    ask->deadline_ms = client_now_ms(client) + timeout_ms;
    rc = copy_fields(ask, fields, n);
    if (rc == 0) {
        rc = mq_buf_put(&ask->body, body, body_bytes);
    }
    if (rc != 0) {
        mq_buf_free(&ask->fields);
        mq_buf_free(&ask->body);
        mq_free(ask);
        return rc;
    }
    TAILQ_INSERT_TAIL(&link->asks, ask, link);
    broker_link_want(link);
    client_pace(client, link->up != 0 ? 0 : CLIENT_SEARCH_TICK_MS);
    return 0;
}

/* Members: one request to a name server, the next one when it does not answer. */
struct members_ask {
    struct rmq_client *client;
    uint32_t tries;
    rmq_members_cb cb;
    void *data;
};

#define MEMBERS_MAX 4096
#define MEMBERS_TIMEOUT_MS 3000

/* The strings live in @text, one behind the other. */
static int collect(const struct proto_brokers *brokers, struct rmq_member *list, uint32_t *n, struct mq_buf *text)
{
    size_t at[3];
    int rc = mq_buf_reserve(text, 1u << 20); /* pointers into it stay good */

    for (uint32_t i = 0; i < brokers->count && rc == 0; i++) {
        const struct proto_broker_data *b = &brokers->items[i];

        for (uint32_t k = 0; k < b->addr_count && rc == 0; k++) {
            const struct mq_str parts[3] = {b->cluster, b->name, b->addrs[k].addr};

            if (*n == MEMBERS_MAX || text->len + parts[0].len + parts[1].len + parts[2].len + 3 > text->cap) {
                return MQ_ETOOBIG;
            }
            for (int p = 0; p < 3 && rc == 0; p++) {
                at[p] = text->len;
                rc = mq_buf_put_str(text, parts[p]);
                rc = rc == 0 ? mq_buf_put_u8(text, 0) : rc;
            }
            list[(*n)++] = (struct rmq_member){(char *)text->base + at[0], (char *)text->base + at[1],
                                               (char *)text->base + at[2], b->addrs[k].id};
        }
    }
    return rc;
}

static void tell_members(struct members_ask *m, struct proto_command *answer)
{
    struct proto_brokers brokers = {0};
    struct rmq_member *list = mq_calloc(MEMBERS_MAX, sizeof(*list));
    struct mq_buf text = {0};
    uint32_t n = 0;
    int rc = list == NULL ? MQ_ENOMEM
                          : proto_cluster_decode((char *)(uintptr_t)answer->body, answer->body_bytes, &brokers);

    if (rc == 0) {
        rc = collect(&brokers, list, &n, &text);
    }
    proto_brokers_free(&brokers);
    m->cb(m->data, rc, list, rc == 0 ? n : 0);
    mq_buf_free(&text);
    mq_free(list);
    mq_free(m);
}

static int ask_members(struct members_ask *m);

static void on_members(void *data, int status, struct proto_command *answer)
{
    struct members_ask *m = data;

    if (status == 0 && answer->code == RESP_SUCCESS) {
        tell_members(m, answer);
        return;
    }
    if (m->tries < m->client->n_namesrv && ask_members(m) == 0) {
        return;
    }
    m->cb(m->data, status != 0 ? status : MQ_EBADMSG, NULL, 0);
    mq_free(m);
}

static int ask_members(struct members_ask *m)
{
    struct rmq_client *client = m->client;
    const char *addr = client->namesrv[client->namesrv_turn++ % client->n_namesrv];

    m->tries++;
    return rmq_ask(client, addr, REQ_GET_BROKER_CLUSTER_INFO, NULL, 0, NULL, 0, MEMBERS_TIMEOUT_MS, on_members, m);
}

int rmq_members(struct rmq_client *client, rmq_members_cb cb, void *data)
{
    struct members_ask *m = mq_calloc(1, sizeof(*m));
    int rc;

    if (m == NULL) {
        return MQ_ENOMEM;
    }
    *m = (struct members_ask){.client = client, .cb = cb, .data = data};
    rc = ask_members(m);
    if (rc != 0) {
        mq_free(m);
    }
    return rc;
}
