/* raftmq get: the messages of a topic, from the first one on, a line each. */
#include "client/tools/tool.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PULL_COUNT 256
#define PULL_MS 5000
#define RETRIES 50 /* pulls without an answer */

static const char usage_text[] =
    "usage: raftmq get [-n NAMESRV] [-q QUEUE] [-o OFFSET] [-c COUNT] TOPIC\n"
    "  Prints the messages of a topic, queue by queue, as they lie: queue, offset, message key and body.\n"
    "  -n, --namesrv LIST  name servers, host:port;host:port (default 127.0.0.1:9876)\n"
    "  -q, --queue ID      only this queue\n"
    "  -o, --offset N      from this offset of each queue on (default 0)\n"
    "  -c, --count N       at most so many of each queue (default: all)\n";

struct place {
    char broker_name[128];
    int32_t queue_id;
};

struct getter {
    struct tool tool;
    const char *topic;
    struct place *places; /* owned */
    uint32_t n_places;
    int status;
    bool done, end;
    int64_t left;
    struct rmq_pull pull;
};

static void on_route(void *data, int status, const struct rmq_queue *queues, uint32_t n)
{
    struct getter *g = data;

    g->done = true;
    g->status = status;
    g->places = status == 0 ? mq_calloc(n + 1, sizeof(*g->places)) : NULL;
    for (uint32_t i = 0; i < n && g->places != NULL; i++) {
        snprintf(g->places[i].broker_name, sizeof(g->places[i].broker_name), "%s", queues[i].broker_name);
        g->places[i].queue_id = queues[i].queue_id;
        g->n_places++;
    }
}

static void print_records(struct getter *g, const struct rmq_pull_result *result)
{
    uint32_t at = 0;

    while (at < result->records_bytes && g->left > 0) {
        struct proto_record r;
        struct mq_str key;

        if (proto_record_decode(result->records + at, result->records_bytes - at, &r) != 0) {
            g->status = MQ_EBADMSG;
            g->end = true;
            return;
        }
        key = proto_properties_get(r.properties, PROTO_PROP_UNIQ_KEY);
        printf("%s queue=%d offset=%" PRId64 " key=" MQ_STR_FMT " ", g->pull.broker_name, r.queue_id, r.qoff,
               MQ_STR_ARG(key));
        fwrite(r.body.at, 1, r.body.len, stdout);
        putchar('\n');
        at += r.record_bytes;
        g->left--;
    }
}

static void on_pulled(struct rmq_pull *pull, const struct rmq_pull_result *result)
{
    struct getter *g = pull->data;

    g->done = true;
    g->status = result->status;
    if (result->status != 0) {
        return;
    }
    if (result->code == RESP_SUCCESS) {
        print_records(g, result);
    } else if (result->code == RESP_PULL_NOT_FOUND ||
               (result->code == RESP_PULL_OFFSET_MOVED && result->next_offset <= pull->qoff)) {
        g->end = true;
    } else if (result->code != RESP_PULL_RETRY_IMMEDIATELY && result->code != RESP_PULL_OFFSET_MOVED) {
        tool_fail("get", "code %d " MQ_STR_FMT, result->code, MQ_STR_ARG(result->remark));
        g->status = MQ_EUNSUPPORTED;
        return;
    }
    pull->qoff = result->next_offset;
}

static int get_queue(struct getter *g, const struct place *place, int64_t offset, int64_t count)
{
    const bool never = false;
    int tries = 0;

    g->left = count;
    g->end = false;
    g->pull = (struct rmq_pull){.data = g,
                                .topic = mq_str_of(g->topic),
                                .group = MQ_STR("RAFTMQ_GET"),
                                .broker_name = place->broker_name,
                                .queue_id = place->queue_id,
                                .qoff = offset,
                                .count_max = PULL_COUNT};
    while (!g->end && g->left > 0 && tries < RETRIES) {
        int rc;

        g->done = false;
        rc = rmq_pull_async(g->tool.client, &g->pull, on_pulled);
        if (rc != 0) {
            return rc;
        }
        while (!tool_wait(&g->tool, &g->done, PULL_MS)) {
        }
        if (g->status == MQ_EUNSUPPORTED || g->status == MQ_EBADMSG) {
            return g->status;
        }
        if (g->status != 0) {
            tries++;
            tool_wait(&g->tool, &never, 20);
        }
    }
    return g->status;
}

static int get(struct getter *g, int64_t queue, int64_t offset, int64_t count)
{
    int rc = rmq_route(g->tool.client, mq_str_of(g->topic), false, false, on_route, g);

    if (rc != 0) {
        return rc;
    }
    while (!tool_wait(&g->tool, &g->done, PULL_MS)) {
    }
    rc = g->status;
    for (uint32_t i = 0; i < g->n_places && rc == 0; i++) {
        if (queue < 0 || g->places[i].queue_id == queue) {
            rc = get_queue(g, &g->places[i], offset, count);
        }
    }
    mq_free(g->places);
    return rc;
}

int cmd_get(int argc, char **argv)
{
    static const struct option longs[] = {
        {"namesrv", required_argument, NULL, 'n'}, {"queue", required_argument, NULL, 'q'},
        {"offset", required_argument, NULL, 'o'},  {"count", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},          {0}};
    struct rmq_options options = {.namesrv = "127.0.0.1:9876"};
    int64_t queue = -1, offset = 0, count = INT64_MAX;
    struct getter g = {0};
    bool good = true;
    int c, rc;

    while ((c = getopt_long(argc, argv, "n:q:o:c:h", longs, NULL)) != -1 && good) {
        switch (c) {
        case 'n':
            options.namesrv = optarg;
            break;
        case 'q':
            good = tool_number("get", "-q", optarg, 0, 65535, &queue);
            break;
        case 'o':
            good = tool_number("get", "-o", optarg, 0, INT64_MAX, &offset);
            break;
        case 'c':
            good = tool_number("get", "-c", optarg, 1, INT64_MAX, &count);
            break;
        default:
            fputs(usage_text, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    if (!good || optind != argc - 1) {
        fputs(usage_text, stderr);
        return 2;
    }
    rc = tool_open(&g.tool, &options);
    if (rc == 0) {
        g.topic = argv[optind];
        rc = get(&g, queue, offset, count);
        tool_close(&g.tool);
    }
    return rc == 0 ? EXIT_SUCCESS
                   : tool_fail("get", "topic %s at %s: %s", argv[optind], options.namesrv, mq_strerror(rc));
}
