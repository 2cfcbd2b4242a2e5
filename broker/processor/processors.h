/* All processors, as dispatch.c's table names them. */
#ifndef BROKER_PROCESSOR_PROCESSORS_H
#define BROKER_PROCESSOR_PROCESSORS_H

#include "broker/processor/context.h"

/* send.c: 10, 310, 320 */
void send_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* recall.c: 370 */
void recall_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
/* Leadership has ended: what recalls under way had taken is given back. */
void recalls_rest(struct context *ctx);

/* pull.c: 11, 361 */
void pull_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* assignment.c: 400 */
void query_assignment(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* query_message.c: 12 */
void query_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* query_queue.c: 321 */
void query_consume_queue(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* query.c: 29, 30, 31, 32, 33 */
void search_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void get_max_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void get_min_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void get_earliest_store_time(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void view_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* transaction.c: 37, 323 */
void end_transaction(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void resume_check(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
/* half_flow's ask; @data: the context. */
void transaction_ask(void *data, const struct half *half, const struct reader_view *record);

/* transaction_list.c: 30010 */
void list_transactions(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* pop.c: 200050, 200052 */
void pop_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void peek_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* pop_notify.c: 200054, 200055 */
void notify_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void polling_info(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* pop_ack.c: 200051, 200053, 200151 */
void pop_ack(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void pop_change(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void pop_batch_ack(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* offset.c: 14, 15 */
void query_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void update_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
/* Proposes a commit that nobody waits for (a pull's COMMIT_OFFSET). */
void offset_commit(struct context *ctx, struct mq_str group, struct mq_str topic, int32_t queue_id, int64_t offset);

/* send_back.c: 36 */
void send_back(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* request_reply.c: 324, 325 */
void send_reply(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* client.c: 34, 35, 38 */
void client_heartbeat(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void check_client(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void client_unregister(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void consumer_list(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* connection.c: 203, 204 */
void consumer_connections(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void producer_connections(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* consumer_ask.c: 307, 309; 223 */
void ask_running_info(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void ask_to_consume(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void ask_consumer_status(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
struct proto_reset_client_header;
/* Tells every member of the group that is connected here to go on where @body says (220): the way in which offsets
 * were reset before brokers did it themselves. @body: proto_queue_offsets, or the list that C++ clients read. Nobody
 * answers a 220: members drop what they have, commit the offsets and start there. Returns how many were told. */
uint32_t tell_consumers_to_reset(struct context *ctx, const struct proto_reset_client_header *header,
                                 struct mq_str body);

/* lock.c: 41, 42 */
void lock_queues(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void unlock_queues(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
/* Leader, once a second: proposes the release of leases that ran out. */
void lock_expire(struct context *ctx, uint64_t now_ms);

/* Leader: what was proposed just now changes offsets of @group in @topic. */
void offset_note_change(struct context *ctx, struct mq_str group, struct mq_str topic);

/* offset_admin.c: 208, 314 */
void get_consume_stats(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void clone_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* offset_reset.c: 222 */
void reset_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
/* Leader: a consumer was told of the group's reset, which is over now. */
void reset_taken(struct context *ctx, struct mq_str group, struct mq_str topic, int32_t queue_id, int64_t offset);

/* topic_change.c: 17, 18 */
void create_topic(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void create_topics(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* topic_delete.c: 215 */
void delete_topic(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* group_put.c: 200, 225; group_query.c: 201, 352; group_change.c: 207, 353, 401 */
void put_group(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void get_all_groups(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void delete_group(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void put_group_list(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void get_group(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void forbid_group(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void set_request_mode(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* topic_admin.c: 21, 202, 351 */
void get_all_topics(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void get_topic_stats(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void get_topic(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* topic_create.c: the topic for a send, created from @default_topic when that is allowed (TBW102 rules): 0 with @out,
 * or MQ_ENOTFOUND, MQ_ENOMEM (also TOPICS_MAX), or what the sequencer said. */
int topic_for_send(struct context *ctx, struct mq_str topic, struct mq_str default_topic, int32_t queues,
                   bool unit_mode, struct topic **out);
/* The topic @name, made with the rest when there is none; likewise. Returns also MQ_EINVAL for a name that is none.
 */
int topic_make(struct context *ctx, struct mq_str name, uint32_t queues, uint32_t perm, uint32_t sys_flag,
               struct topic **out);
/* Proposes a topic if it is unknown, for nobody in particular (retry topics, system topics). */
int topic_propose(struct context *ctx, struct mq_str topic, uint32_t queues, uint32_t perm);
/* A group that may be used: known, or made on first use (then proposed here when this node leads). */
bool group_usable(struct context *ctx, struct mq_str group);
/* A new leader proposes the topics and groups every broker has and that the state lacks. */
void propose_system_topics(struct context *ctx);

/* node_admin.c: 25, 26, 30001; runtime_info.c: 28 */
void refuse_config_update(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void get_broker_config(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void get_runtime_info(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void group_status(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

/* group_admin.c: 30002 to 30005; 30006 */
void change_group(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);
void transfer_leadership(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

#endif
