#include "remoting/protocol/list.h"

#include "remoting/base/heap.h"

#define CAP_MIN 8u

void *proto_list_add(void **items, uint32_t *count, uint32_t *cap, size_t item_bytes)
{
    uint8_t *item;

    if (*count == *cap) {
        uint32_t grown = *cap < CAP_MIN ? CAP_MIN : *cap * 2;
        void *moved;

        if (grown <= *cap || grown > SIZE_MAX / item_bytes) {
            return NULL;
        }
        moved = mq_realloc(*items, grown * item_bytes);
        if (moved == NULL) {
            return NULL;
        }
        *items = moved;
        *cap = grown;
    }
    item = (uint8_t *)*items + *count * item_bytes;
    memset(item, 0, item_bytes);
    (*count)++;
    return item;
}

void proto_list_free(void **items, uint32_t *count, uint32_t *cap)
{
    mq_free(*items);
    *items = NULL;
    *count = 0;
    *cap = 0;
}
