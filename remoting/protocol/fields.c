#include "remoting/protocol/fields.h"

struct mq_str proto_fields_get(const struct proto_fields *fields, struct mq_str key)
{
    for (uint32_t i = fields->count; i-- > 0;) {
        if (mq_str_eq(fields->list[i].key, key)) {
            return fields->list[i].value;
        }
    }
    return (struct mq_str){0};
}
