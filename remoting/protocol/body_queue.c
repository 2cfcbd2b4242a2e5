#include "remoting/protocol/body_queue.h"

#include "remoting/protocol/body_json.h"

static void put_unit(struct proto_out *out, const struct proto_queue_unit *unit)
{
    PROTO_OUT(out, "{\"eval\":false,\"physicOffset\":");
    proto_out_i64(out, unit->pos);
    PROTO_OUT(out, ",\"physicSize\":");
    proto_out_i64(out, unit->bytes);
    PROTO_OUT(out, ",\"tagsCode\":");
    proto_out_i64(out, unit->tags_code);
    PROTO_OUT(out, "}");
}

int proto_queue_page_encode(struct mq_buf *buf, const struct proto_queue_page *page)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{");
    if (page->filter_data.at != NULL) {
        PROTO_OUT(&out, "\"filterData\":");
        proto_out_string(&out, page->filter_data);
        PROTO_OUT(&out, ",");
    }
    PROTO_OUT(&out, "\"maxQueueIndex\":");
    proto_out_i64(&out, page->max);
    PROTO_OUT(&out, ",\"minQueueIndex\":");
    proto_out_i64(&out, page->min);
    PROTO_OUT(&out, ",\"queueData\":[");
    for (uint32_t i = 0; i < page->n; i++) {
        proto_out_comma(&out, i);
        put_unit(&out, &page->units[i]);
    }
    PROTO_OUT(&out, "]");
    if (page->subscription != NULL) {
        PROTO_OUT(&out, ",\"subscriptionData\":");
        proto_out_subscription(&out, page->subscription);
    }
    PROTO_OUT(&out, "}");
    return proto_out_end(&out);
}
