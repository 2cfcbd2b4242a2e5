#include "tests/unit/client/fake_cluster.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/protocol/body_route.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/properties.h"

#include <stdio.h>

static void answer(struct net_channel *ch, const struct proto_command *cmd, int32_t code, const char *remark,
                   const struct proto_send_response_header *header, const struct proto_pull_response_header *pull,
                   struct mq_str body)
{
    struct proto_head head = {.code = code,
                              .opaque = cmd->opaque,
                              .flag = PROTO_FLAG_RESPONSE,
                              .encoding = cmd->encoding,
                              .remark = mq_str_of(remark)};
    struct proto_writer w;

    proto_begin(&w, net_channel_out(ch), &head);
    if (header != NULL) {
        proto_send_response_header_encode(&w, header);
    }
    if (pull != NULL) {
        proto_pull_response_header_encode(&w, pull);
    }
    assert_int_equal(proto_end(&w, body.len), 0);
    assert_int_equal(mq_buf_put_str(w.out, body), 0);
    net_channel_out_done(ch);
}

static void plain(struct net_channel *ch, const struct proto_command *cmd, int32_t code, const char *remark)
{
    answer(ch, cmd, code, remark, NULL, NULL, (struct mq_str){0});
}

static void take(struct fake_member *m, struct net_channel *ch, const struct proto_command *cmd, bool placed)
{
    struct proto_send_response_header header = proto_send_response_header_defaults();

    header.msg_id = MQ_STR("7F00000100002A9F0000000000000000");
    header.queue_id = m->queue_id;
    header.queue_offset = placed ? m->cluster->next_qoff++ : -1;
    answer(ch, cmd, RESP_SUCCESS, NULL, &header, NULL, (struct mq_str){0});
}

static void note_channel(struct fake_member *m, struct net_channel *ch)
{
    for (uint32_t i = 0; i < m->n_channels; i++) {
        if (m->channels[i] == ch) {
            return;
        }
    }
    if (m->n_channels < ARRAY_SIZE(m->channels)) {
        m->channels[m->n_channels++] = ch;
    }
}

static void on_send(struct fake_member *m, struct net_channel *ch, struct proto_command *cmd)
{
    struct proto_send_header header;
    struct mq_str key;

    assert_int_equal(proto_send_header_v2_decode(&cmd->fields, &header, NULL), 0);
    key = proto_properties_get(header.properties, PROTO_PROP_UNIQ_KEY);
    assert_int_equal(key.len, sizeof(m->uniq_key));
    memcpy(m->uniq_key, key.at, key.len);
    m->sends++;
    m->queue_id = header.queue_id;
    snprintf(m->body, sizeof(m->body), "%.*s", (int)cmd->body_bytes, (const char *)cmd->body);
    note_channel(m, ch);
    switch (m->answer) {
    case FAKE_TAKE:
        take(m, ch, cmd, true);
        break;
    case FAKE_PLACELESS:
        take(m, ch, cmd, false);
        break;
    case FAKE_FOLLOW:
        plain(ch, cmd, RESP_SERVICE_NOT_AVAILABLE, "this node follows");
        break;
    case FAKE_BUSY:
        plain(ch, cmd, RESP_SYSTEM_BUSY, "[OVERLOAD]");
        break;
    case FAKE_UNSURE:
        plain(ch, cmd, RESP_SYSTEM_ERROR, "[UNKNOWN] leadership was lost");
        break;
    case FAKE_ILLEGAL:
        plain(ch, cmd, RESP_MESSAGE_ILLEGAL, "too long");
        break;
    case FAKE_DOUBTFUL:
        plain(ch, cmd, 10, "flush");
        break;
    case FAKE_SILENT:
        break;
    case FAKE_DROP:
        net_channel_close(ch, 0, false);
        break;
    }
}

static void on_pull(struct fake_member *m, struct net_channel *ch, struct proto_command *cmd)
{
    struct proto_pull_response_header reply = proto_pull_response_header_defaults();
    struct proto_pull_header header;

    assert_int_equal(proto_pull_header_decode(&cmd->fields, &header, NULL), 0);
    m->pulls++;
    m->queue_id = header.queue_id;
    m->sys_flag = header.sys_flag;
    reply.next_begin_offset = header.queue_offset + 1;
    reply.max_offset = 9;
    answer(ch, cmd, RESP_SUCCESS, NULL, NULL, &reply, MQ_STR("records"));
}

static void on_member_command(struct net_channel *ch, struct proto_command *cmd)
{
    struct fake_member *m = ((struct net_server *)ch->data)->data;

    if (cmd->code == REQ_SEND_MESSAGE_V2) {
        on_send(m, ch, cmd);
    } else if (cmd->code == REQ_PULL_MESSAGE) {
        on_pull(m, ch, cmd);
    } else {
        plain(ch, cmd, RESP_REQUEST_CODE_NOT_SUPPORTED, "fake");
    }
}

static void put_route(struct fake_cluster *c, struct mq_buf *body, bool cluster)
{
    struct proto_route route = {0};
    struct proto_broker_data *broker = proto_brokers_add(&route.brokers);
    struct proto_queue_data *queues = proto_queues_add(&route.queues);

    broker->cluster = MQ_STR("fakes");
    broker->name = MQ_STR("fake");
    for (int i = 0; i < FAKE_MEMBERS; i++) {
        if (c->members[i].up) {
            proto_broker_add_addr(broker, i == c->leader ? 0 : i + 1, mq_str_of(c->members[i].addr));
        }
    }
    *queues = (struct proto_queue_data){.broker_name = MQ_STR("fake"),
                                        .read_queues = (int32_t)c->write_queues,
                                        .write_queues = (int32_t)c->write_queues,
                                        .perm = 6};
    if (cluster) {
        assert_int_equal(proto_cluster_encode(body, &route.brokers), 0);
    } else {
        assert_int_equal(proto_route_encode(body, &route), 0);
    }
    proto_route_free(&route);
}

static void on_namesrv_command(struct net_channel *ch, struct proto_command *cmd)
{
    struct fake_cluster *c = ((struct net_server *)ch->data)->data;
    struct mq_str topic = proto_fields_get(&cmd->fields, MQ_STR("topic"));
    bool known = mq_str_eq(topic, MQ_STR("TBW102")) ? c->template_known : c->topic_known;
    struct mq_buf body = {0};

    if (cmd->code == REQ_GET_ROUTEINFO_BY_TOPIC) {
        c->route_asks++;
    }
    if (cmd->code == REQ_GET_ROUTEINFO_BY_TOPIC && !known) {
        plain(ch, cmd, RESP_TOPIC_NOT_EXIST, "no route");
        return;
    }
    put_route(c, &body, cmd->code == REQ_GET_BROKER_CLUSTER_INFO);
    answer(ch, cmd, RESP_SUCCESS, NULL, NULL, NULL, mq_buf_str(&body));
    mq_buf_free(&body);
}

static const struct net_server_ops member_ops = {.command = on_member_command};
static const struct net_server_ops namesrv_ops = {.command = on_namesrv_command};

void fake_open(struct fake_cluster *c, struct fixture *f)
{
    *c = (struct fake_cluster){
        .f = f, .leader = 0, .topic_known = true, .template_known = true, .write_queues = 4, .next_qoff = 100};
    for (int i = 0; i < FAKE_MEMBERS; i++) {
        struct fake_member *m = &c->members[i];

        m->cluster = c;
        m->server.data = m;
        m->answer = i == 0 ? FAKE_TAKE : FAKE_FOLLOW;
        assert_int_equal(
            net_server_open(&m->server, &f->loop, "127.0.0.1", 0, &member_ops, &net_server_default_limits), 0);
        snprintf(m->addr, sizeof(m->addr), "127.0.0.1:%d", m->server.port);
        m->up = true;
    }
    c->namesrv.data = c;
    assert_int_equal(net_server_open(&c->namesrv, &f->loop, "127.0.0.1", 0, &namesrv_ops, &net_server_default_limits),
                     0);
    snprintf(c->namesrv_addr, sizeof(c->namesrv_addr), "127.0.0.1:%d", c->namesrv.port);
}

static void on_member_down(struct net_server *server)
{
    ((struct fake_member *)server->data)->down = true;
}

static void on_namesrv_down(struct net_server *server)
{
    ((struct fake_cluster *)server->data)->down = true;
}

void fake_kill(struct fake_member *member)
{
    if (member->up) {
        member->up = false;
        net_server_close(&member->server, false, on_member_down);
    }
}

void fake_close(struct fake_cluster *c)
{
    for (int i = 0; i < FAKE_MEMBERS; i++) {
        fake_kill(&c->members[i]);
        RUN_UNTIL(c->f, c->members[i].down);
    }
    net_server_close(&c->namesrv, false, on_namesrv_down);
    RUN_UNTIL(c->f, c->down);
}

struct rmq_client *fake_client(struct fake_cluster *cluster, struct rmq_options options)
{
    struct rmq_client *client;

    options.namesrv = cluster->namesrv_addr;
    assert_int_equal(rmq_client_new(&cluster->f->loop, &options, &client), 0);
    return client;
}

static void on_client_closed(void *data)
{
    *(bool *)data = true;
}

void fake_client_close(struct fake_cluster *cluster, struct rmq_client *client)
{
    bool closed = false;

    rmq_client_close(client, on_client_closed, &closed);
    assert_false(closed);
    RUN_UNTIL(cluster->f, closed);
}
