#include "tests/unit/broker/fixture.h"

#include "broker/state/command.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/properties.h"

#include <stdlib.h>

void fixture_dir_make(char dir[64])
{
    memcpy(dir, "/tmp/raftmq-store-XXXXXX", sizeof("/tmp/raftmq-store-XXXXXX"));
    MQ_ASSERT(mkdtemp(dir) != NULL);
}

void fixture_dir_remove(const char *dir)
{
    MQ_ASSERT(mq_dir_remove(dir) == 0);
}

static void on_apply(void *data, const struct rlog_entry *entry)
{
    state_apply(&((struct fixture *)data)->state, entry);
}

static void on_arrived(void *data, struct queue *queue, int64_t tags_code, const uint8_t *record, uint32_t bytes)
{
    struct fixture *f = data;

    MQ_ASSERT(queue->cq.max != 0 && proto_record_properties(record, bytes).at != NULL);
    f->arrivals++;
    f->last_tags_code = tags_code;
}

void fixture_open(struct fixture *f, uint64_t log_bytes)
{
    memset(f, 0, sizeof(*f));
    fixture_dir_make(f->dir);
    MQ_ASSERT(uv_loop_init(&f->loop.uv) == 0);
    MQ_ASSERT(store_init(&f->store, f->dir) == 0);
    MQ_ASSERT(state_init(&f->state, &f->store) == 0);
    f->log = fake_log_new(log_bytes);
    f->log->apply = on_apply;
    f->log->apply_data = f;
    f->store.log = f->log;
    f->store.loop = &f->loop;
    f->store.arrived = on_arrived;
    f->store.arrived_data = f;
}

void fixture_topic(struct fixture *f, const char *name)
{
    Raftmq__TopicConfigItem config = RAFTMQ__TOPIC_CONFIG_ITEM__INIT;

    config.name = (char *)name;
    config.read_queues = config.write_queues = 4;
    config.perm = TOPIC_PERM_READ | TOPIC_PERM_WRITE;
    config.filter_type = (char *)"SINGLE_TAG";
    MQ_ASSERT(topic_table_put(&f->state.topics, &config, 1) == 0);
}

void fixture_close(struct fixture *f)
{
    uv_run(&f->loop.uv, UV_RUN_DEFAULT); /* what the store has on the pool */
    MQ_ASSERT(uv_loop_close(&f->loop.uv) == 0);
    state_fini(&f->state);
    store_fini(&f->store);
    fake_log_free(f->log);
    fixture_dir_remove(f->dir);
}

uint32_t fixture_record(const struct fixture_message *m, uint8_t *at)
{
    struct mq_buf properties = {0};
    char *body = mq_calloc(1, m->body_bytes + 1);
    struct record_source source = {
        .topic = m->topic.at != NULL ? m->topic : FIXTURE_TOPIC,
        .queue_id = m->queue_id,
        .born_host = {.ip_bytes = m->born_v6 ? 16 : 4},
        .store_host = {.ip_bytes = 4},
        .store_ms = m->store_ms,
        .body = {body, m->body_bytes},
    };
    int32_t bytes;

    MQ_ASSERT(body != NULL);
    if (m->tags != NULL) {
        MQ_ASSERT(proto_properties_put(&properties, 0, PROTO_PROP_TAGS, mq_str_of(m->tags)) == 0);
    }
    source.properties = mq_buf_str(&properties);
    bytes = record_build(&source, false, at);
    MQ_ASSERT(bytes > 0);
    mq_be64_store(at + PROTO_RECORD_QOFF_AT, m->qoff);
    mq_buf_free(&properties);
    mq_free(body);
    return (uint32_t)bytes;
}

void fixture_set_pos(uint8_t *record, uint64_t pos)
{
    mq_be64_store(record + PROTO_RECORD_POS_AT, pos);
}

/* The next offset of the message's queue, counting those of the same entry. */
static uint64_t next_qoff(struct fixture *f, const struct fixture_message *m, uint32_t i)
{
    struct queue *queue = fixture_queue(f, m[i].queue_id);
    uint64_t qoff = queue->cq.max;

    for (uint32_t k = 0; k < i; k++) {
        qoff += m[k].queue_id == m[i].queue_id;
    }
    return qoff;
}

uint64_t fixture_put(struct fixture *f, const struct fixture_message *m, uint32_t n)
{
    uint32_t room = 0, used = 0;
    uint8_t *payload;
    uint64_t pos;

    for (uint32_t i = 0; i < n; i++) {
        room += m[i].body_bytes + 1024;
    }
    payload = mq_malloc(room);
    MQ_ASSERT(payload != NULL);
    pos = rlog_place(f->log, 0);
    for (uint32_t i = 0; i < n; i++) {
        struct fixture_message one = m[i];
        uint32_t at = used;

        one.qoff = next_qoff(f, m, i);
        used += fixture_record(&one, payload + at);
        fixture_set_pos(payload + at, pos + at);
    }
    fake_log_append(f->log, payload, used, n, 0, m[n - 1].store_ms);
    mq_free(payload);
    return pos;
}

struct queue *fixture_queue(struct fixture *f, int32_t id)
{
    struct queue *queue;

    MQ_ASSERT(topic_queues_get(&f->store.queues, queue_table_topic(&f->store.queues, FIXTURE_TOPIC), id, &queue) ==
              0);
    return queue;
}
