/* Route and cluster bodies of any bytes: what decodes lies within the body, and what we write of it reads back. */
#include "tests/fuzz/exact.h"
#include "tests/fuzz/fuzz.h"

#include "remoting/base/err.h"
#include "remoting/protocol/body_route.h"

static void check_brokers(const struct proto_brokers *brokers, const char *json, size_t n)
{
    MQ_ASSERT(brokers->count <= PROTO_ROUTE_BROKERS_MAX);
    for (uint32_t i = 0; i < brokers->count; i++) {
        const struct proto_broker_data *broker = &brokers->items[i];

        MQ_ASSERT(exact_inside(broker->name, json, n) && exact_inside(broker->cluster, json, n));
        MQ_ASSERT(exact_inside(broker->zone, json, n) && broker->addr_count <= PROTO_BROKER_ADDRS_MAX);
        for (uint32_t k = 0; k < broker->addr_count; k++) {
            MQ_ASSERT(broker->addrs[k].addr.at != NULL && exact_inside(broker->addrs[k].addr, json, n));
        }
    }
}

static void check_same_brokers(const struct proto_brokers *a, const struct proto_brokers *b)
{
    MQ_ASSERT(a->count == b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        MQ_ASSERT(mq_str_eq(a->items[i].name, b->items[i].name));
        MQ_ASSERT(mq_str_eq(a->items[i].cluster, b->items[i].cluster));
        MQ_ASSERT(a->items[i].addr_count == b->items[i].addr_count);
    }
}

static void run_route(const uint8_t *bytes, size_t n)
{
    char *json = exact_copy(bytes, n);
    struct proto_route route, again;
    struct mq_buf buf = {0};
    int rc = proto_route_decode(json, n, &route);

    MQ_ASSERT(rc == 0 || rc == MQ_EBADMSG || rc == MQ_ETOOBIG);
    MQ_ASSERT(route.queues.count <= PROTO_ROUTE_QUEUES_MAX);
    check_brokers(&route.brokers, json, n);
    if (rc == 0) {
        MQ_ASSERT(proto_route_encode(&buf, &route) == 0);
        MQ_ASSERT(proto_route_decode((char *)buf.base, buf.len, &again) == 0);
        check_same_brokers(&route.brokers, &again.brokers);
        MQ_ASSERT(route.queues.count == again.queues.count);
        proto_route_free(&again);
        mq_buf_free(&buf);
    }
    proto_route_free(&route);
    mq_free(json);
}

static void run_cluster(const uint8_t *bytes, size_t n)
{
    char *json = exact_copy(bytes, n);
    struct proto_brokers brokers, again;
    struct mq_buf buf = {0};
    int rc = proto_cluster_decode(json, n, &brokers);

    MQ_ASSERT(rc == 0 || rc == MQ_EBADMSG || rc == MQ_ETOOBIG);
    check_brokers(&brokers, json, n);
    if (rc == 0) {
        MQ_ASSERT(proto_cluster_encode(&buf, &brokers) == 0);
        MQ_ASSERT(proto_cluster_decode((char *)buf.base, buf.len, &again) == 0);
        check_same_brokers(&brokers, &again);
        proto_brokers_free(&again);
        mq_buf_free(&buf);
    }
    proto_brokers_free(&brokers);
    mq_free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    run_route(bytes, n);
    run_cluster(bytes, n);
    return 0;
}
