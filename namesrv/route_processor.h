/* Requests about brokers and routes; each handler answers its request. Source: RocketMQ's RouteInfoManager,
 * DefaultRequestProcessor of the name server. */
#ifndef NAMESRV_ROUTE_PROCESSOR_H
#define NAMESRV_ROUTE_PROCESSOR_H

#include "namesrv/dispatch.h"

/* From brokers. */
void route_register(struct namesrv_request *rq);      /* 103 */
void route_unregister(struct namesrv_request *rq);    /* 104 */
void route_query_version(struct namesrv_request *rq); /* 322 */
void route_heartbeat(struct namesrv_request *rq);     /* 904 */
void route_member_group(struct namesrv_request *rq);  /* 901 */

/* From clients and tools. */
void route_get(struct namesrv_request *rq);            /* 105 */
void route_cluster_info(struct namesrv_request *rq);   /* 106 */
void route_topic_list(struct namesrv_request *rq);     /* 206 */
void route_cluster_topics(struct namesrv_request *rq); /* 224 */
void route_system_topics(struct namesrv_request *rq);  /* 304 */

/* From administrators. */
void route_wipe_writes(struct namesrv_request *rq);  /* 205 */
void route_allow_writes(struct namesrv_request *rq); /* 327 */
void route_delete_topic(struct namesrv_request *rq); /* 216 */
void route_put_topic(struct namesrv_request *rq);    /* 217 */

#endif
