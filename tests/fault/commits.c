#include "tests/fault/commits.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/protocol/codes.h"

#include <inttypes.h>
#include <stdio.h>

#define TIMEOUT_MS 4000u
#define PAUSE_MS 5u /* between two commits */
#define RETRY_MS 20u

static bool is_refusal(int32_t code)
{
    return code == RESP_SYSTEM_BUSY || code == RESP_SERVICE_NOT_AVAILABLE || code == RESP_TOPIC_NOT_EXIST ||
           code == RESP_SUBSCRIPTION_GROUP_NOT_EXIST || code == RESP_INVALID_PARAMETER;
}

static void on_answer(void *data, int status, struct proto_command *answer)
{
    struct commits *commits = data;

    pthread_mutex_lock(commits->lock);
    commits->open = false;
    commits->retry_ms = mq_clock_mono_ms() + PAUSE_MS;
    if (status == 0 && answer->code == RESP_SUCCESS) {
        commits->last_acked = commits->last_sent;
        commits->n_unknown = 0;
        commits->acked++;
    } else {
        commits->turn++; /* perhaps another node leads */
        commits->retry_ms += RETRY_MS;
        if (status != 0 || !is_refusal(answer->code)) {
            MQ_ASSERT(commits->n_unknown < COMMITS_UNKNOWN_MAX);
            commits->unknown[commits->n_unknown++] = commits->last_sent;
        }
    }
    pthread_mutex_unlock(commits->lock);
}

void commits_run(struct commits *commits, uint64_t now_ms)
{
    char addr[32], offset[24];
    const struct rmq_field fields[] = {
        {"consumerGroup", COMMITS_GROUP}, {"topic", commits->topic}, {"queueId", "0"}, {"commitOffset", offset}};

    if (commits->open || now_ms < commits->retry_ms) {
        return;
    }
    commits->last_sent++;
    snprintf(addr, sizeof(addr), "127.0.0.1:%d", commits->ports[commits->turn % commits->n_ports]);
    snprintf(offset, sizeof(offset), "%" PRId64, commits->last_sent);
    commits->open = rmq_ask(commits->client, addr, REQ_UPDATE_CONSUMER_OFFSET, fields, 4, NULL, 0, TIMEOUT_MS,
                            on_answer, commits) == 0;
}

bool commits_allow(const struct commits *commits, int64_t offset)
{
    if (offset == commits->last_acked) {
        return true;
    }
    for (uint32_t i = 0; i < commits->n_unknown; i++) {
        if (commits->unknown[i] == offset) {
            return true;
        }
    }
    return false;
}
