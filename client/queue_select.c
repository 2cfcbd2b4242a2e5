/* Which queue a message goes to. */
#include "client/instance.h"
#include "remoting/base/err.h"

static bool fits(const struct rmq_send *send, const struct topic_queue *queue)
{
    return (send->queue_id < 0 || send->queue_id == queue->id) &&
           (send->broker_name == NULL || strcmp(send->broker_name, queue->group->name) == 0);
}

int queue_select(struct send_own *own)
{
    const struct rmq_send *send = send_of_own(own);
    struct topic *topic = own->topic;

    for (uint32_t n = 0; n < topic->n_write; n++) {
        const struct topic_queue *queue;

        topic->turn = topic->turn + 1 < topic->n_write ? topic->turn + 1 : 0;
        queue = &topic->write[topic->turn];
        if (fits(send, queue)) {
            own->group = queue->group;
            own->queue_id = queue->id;
            return 0;
        }
    }
    return MQ_ENOTFOUND;
}
