/* Key/value configuration (100, 101, 102, 219) and our own (319). */
#ifndef NAMESRV_KV_PROCESSOR_H
#define NAMESRV_KV_PROCESSOR_H

#include "namesrv/dispatch.h"

#define KV_ORDER_TOPICS MQ_STR("ORDER_TOPIC_CONFIG") /* the namespace of RocketMQ's KVConfigManager */

void kv_put(struct namesrv_request *rq);
void kv_get(struct namesrv_request *rq);
void kv_delete(struct namesrv_request *rq);
void kv_list(struct namesrv_request *rq);
void kv_own_config(struct namesrv_request *rq);

#endif
