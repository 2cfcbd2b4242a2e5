/* The messages of a topic, one after the other, for commands that print them. */
#include "client/tools/tool.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/record.h"

#include <stdio.h>

#define PULL_COUNT 256
#define PULL_MS 5000
#define RETRIES 50 /* pulls without an answer */

struct place {
    char broker_name[128];
    int32_t queue_id;
};

struct topic_reader {
    struct tool *tool;
    const struct tool_range *range;
    struct place *places; /* owned */
    uint32_t n_places;
    int status;
    bool done, end;
    int64_t left;
    struct rmq_pull pull;
};

static void on_route(void *data, int status, const struct rmq_queue *queues, uint32_t n)
{
    struct topic_reader *reader = data;

    reader->done = true;
    reader->status = status;
    reader->places = status == 0 ? mq_calloc(n + 1, sizeof(*reader->places)) : NULL;
    if (status == 0 && reader->places == NULL) {
        reader->status = MQ_ENOMEM;
    }
    for (uint32_t i = 0; i < n && reader->places != NULL; i++) {
        struct place *place = &reader->places[reader->n_places++];

        snprintf(place->broker_name, sizeof(place->broker_name), "%s", queues[i].broker_name);
        place->queue_id = queues[i].queue_id;
    }
}

static void take_records(struct topic_reader *reader, const struct rmq_pull_result *result)
{
    uint32_t at = 0;

    while (at < result->records_bytes && reader->left > 0) {
        struct proto_record record;

        if (proto_record_decode(result->records + at, result->records_bytes - at, &record) != 0) {
            reader->status = MQ_EBADMSG;
            reader->end = true;
            return;
        }
        reader->range->take(reader->range->data, mq_str_of((const char *)reader->pull.broker_name), &record);
        at += record.record_bytes;
        reader->left--;
    }
}

static void on_pulled(struct rmq_pull *pull, const struct rmq_pull_result *result)
{
    struct topic_reader *reader = pull->data;

    reader->done = true;
    reader->status = result->status;
    if (result->status != 0) {
        return;
    }
    if (result->code == RESP_SUCCESS) {
        take_records(reader, result);
    } else if (result->code == RESP_PULL_NOT_FOUND ||
               (result->code == RESP_PULL_OFFSET_MOVED && result->next_offset <= pull->qoff)) {
        reader->end = true;
    } else if (result->code != RESP_PULL_RETRY_IMMEDIATELY && result->code != RESP_PULL_OFFSET_MOVED) {
        tool_fail(reader->range->command, "code %d " MQ_STR_FMT, result->code, MQ_STR_ARG(result->remark));
        reader->status = MQ_EUNSUPPORTED;
        return;
    }
    pull->qoff = result->next_offset;
}

static int read_queue(struct topic_reader *reader, const struct place *place)
{
    const bool never = false;
    int tries = 0;

    reader->left = reader->range->count;
    reader->end = false;
    reader->pull = (struct rmq_pull){.data = reader,
                                     .topic = mq_str_of(reader->range->topic),
                                     .group = MQ_STR("RAFTMQ_GET"),
                                     .broker_name = place->broker_name,
                                     .queue_id = place->queue_id,
                                     .qoff = reader->range->qoff,
                                     .count_max = PULL_COUNT};
    while (!reader->end && reader->left > 0 && tries < RETRIES) {
        int rc;

        reader->done = false;
        rc = rmq_pull_async(reader->tool->client, &reader->pull, on_pulled);
        if (rc != 0) {
            return rc;
        }
        while (!tool_wait(reader->tool, &reader->done, PULL_MS)) {
        }
        if (reader->status == MQ_EUNSUPPORTED || reader->status == MQ_EBADMSG) {
            return reader->status;
        }
        if (reader->status != 0) {
            tries++;
            tool_wait(reader->tool, &never, 20);
        }
    }
    return reader->status;
}

int tool_read_topic(struct tool *tool, const struct tool_range *range)
{
    struct topic_reader reader = {.tool = tool, .range = range};
    int rc = rmq_route(tool->client, mq_str_of(range->topic), false, false, on_route, &reader);

    if (rc != 0) {
        return rc;
    }
    while (!tool_wait(tool, &reader.done, PULL_MS)) {
    }
    rc = reader.status;
    for (uint32_t i = 0; i < reader.n_places && rc == 0; i++) {
        if (range->queue < 0 || reader.places[i].queue_id == range->queue) {
            rc = read_queue(&reader, &reader.places[i]);
        }
    }
    mq_free(reader.places);
    return rc;
}
