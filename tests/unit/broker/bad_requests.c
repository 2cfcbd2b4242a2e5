#include "tests/unit/broker/bad_requests.h"

#include <string.h>

/* --- the headers, from the list that the decoders are made of --- */

#define REQUIRED true
#define OPTIONAL false

/* clang-format off */
#define HEADER(noun) static const struct field members_of_##noun[] = {
#define STR(member, key, need) {key, FIELD_STR, need},
#define I32(member, key, need, fallback) {key, FIELD_I32, need},
#define I64(member, key, need, fallback) {key, FIELD_I64, need},
#define BOOL(member, key, need, fallback) {key, FIELD_BOOL, need},
#define END(noun) };
#include "remoting/protocol/headers.def"
#undef HEADER
#undef STR
#undef I32
#undef I64
#undef BOOL
#undef END

static const struct header headers[] = {
#define HEADER(noun) {#noun, members_of_##noun, ARRAY_SIZE(members_of_##noun)},
#define STR(member, key, need)
#define I32(member, key, need, fallback)
#define I64(member, key, need, fallback)
#define BOOL(member, key, need, fallback)
#define END(noun)
#include "remoting/protocol/headers.def"
#undef HEADER
#undef STR
#undef I32
#undef I64
#undef BOOL
#undef END
};
/* clang-format on */

const struct header *header_find(const char *noun)
{
    for (uint32_t i = 0; i < ARRAY_SIZE(headers); i++) {
        if (strcmp(headers[i].noun, noun) == 0) {
            return &headers[i];
        }
    }
    return NULL;
}

/* --- a good request of each code --- */

#define END_OF_FIELDS                                                                                                \
    {                                                                                                                \
        NULL, NULL                                                                                                   \
    }

static const struct pair send_fields[] = {{"producerGroup", "PG"},
                                          {"topic", PROBE_TOPIC},
                                          {"defaultTopic", "TBW102"},
                                          {"defaultTopicQueueNums", "4"},
                                          {"queueId", "0"},
                                          {"sysFlag", "0"},
                                          {"bornTimestamp", "1700000000000"},
                                          {"flag", "0"},
                                          {"properties", ""},
                                          {"reconsumeTimes", "0"},
                                          {"unitMode", "false"},
                                          {"batch", "false"},
                                          END_OF_FIELDS};
static const struct pair send_letters[] = {{"a", "PG"},  {"b", PROBE_TOPIC}, {"c", "TBW102"},        {"d", "4"},
                                           {"e", "0"},   {"f", "0"},         {"g", "1700000000000"}, {"h", "0"},
                                           {"i", ""},    {"j", "0"},         {"k", "false"},         {"m", "false"},
                                           END_OF_FIELDS};
static const struct pair pull_fields[] = {
    {"consumerGroup", "CG"}, {"topic", PROBE_TOPIC}, {"queueId", "0"},      {"queueOffset", "0"},
    {"maxMsgNums", "1"},     {"sysFlag", "4"},       {"commitOffset", "0"}, {"suspendTimeoutMillis", "0"},
    {"subVersion", "0"},     {"subscription", "*"},  END_OF_FIELDS};
static const struct pair offset_fields[] = {
    {"consumerGroup", "CG"}, {"topic", PROBE_TOPIC}, {"queueId", "0"}, END_OF_FIELDS};
static const struct pair commit_fields[] = {
    {"consumerGroup", "CG"}, {"topic", PROBE_TOPIC}, {"queueId", "0"}, {"commitOffset", "1"}, END_OF_FIELDS};
static const struct pair create_fields[] = {
    {"topic", "Made"}, {"defaultTopic", "TBW102"},        {"readQueueNums", "2"}, {"writeQueueNums", "2"},
    {"perm", "6"},     {"topicFilterType", "SINGLE_TAG"}, {"order", "false"},     END_OF_FIELDS};
static const struct pair search_fields[] = {
    {"topic", PROBE_TOPIC}, {"queueId", "0"}, {"timestamp", "0"}, END_OF_FIELDS};
static const struct pair queue_fields[] = {{"topic", PROBE_TOPIC}, {"queueId", "0"}, END_OF_FIELDS};
static const struct pair view_fields[] = {{"offset", "5"}, END_OF_FIELDS};
static const struct pair client_fields[] = {{"clientID", "c1"}, {"producerGroup", "PG"}, END_OF_FIELDS};
static const struct pair group_fields[] = {{"consumerGroup", "CG"}, END_OF_FIELDS};
static const struct pair topic_fields[] = {{"topic", PROBE_TOPIC}, END_OF_FIELDS};
static const struct pair producers_fields[] = {{"producerGroup", "PG"}, END_OF_FIELDS};
static const struct pair status_fields[] = {{"topic", PROBE_TOPIC}, {"group", "NG"}, END_OF_FIELDS};
static const struct pair running_fields[] = {{"consumerGroup", "NG"}, {"clientId", "c9"}, END_OF_FIELDS};
static const struct pair directly_fields[] = {
    {"consumerGroup", "NG"}, {"clientId", "c9"}, {"msgId", "7F00000100002A9F0000000000000000"}, END_OF_FIELDS};
static const struct pair decision_fields[] = {{"producerGroup", "PG"},  {"tranStateTableOffset", "0"},
                                              {"commitLogOffset", "5"}, {"commitOrRollback", "8"},
                                              {"msgId", "m"},           END_OF_FIELDS};
static const struct pair open_fields[] = {{"from", "0"}, {"max", "8"}, {"producerGroup", "PG"}, END_OF_FIELDS};
static const struct pair resume_fields[] = {{"msgId", "7F00000100002A9F0000000000000005"}, END_OF_FIELDS};
static const struct pair back_fields[] = {{"offset", "5"}, {"group", "CG"}, {"delayLevel", "1"}, END_OF_FIELDS};
static const struct pair key_fields[] = {
    {"topic", PROBE_TOPIC}, {"key", "k"}, {"maxNum", "4"}, {"beginTimestamp", "0"}, {"endTimestamp", "9000000000000"},
    END_OF_FIELDS};
static const struct pair items_fields[] = {
    {"topic", PROBE_TOPIC}, {"queueId", "0"}, {"index", "0"}, {"count", "1"}, END_OF_FIELDS};
static const struct pair recall_fields[] = {
    {"producerGroup", "PG"}, {"topic", PROBE_TOPIC}, {"recallHandle", "none"}, END_OF_FIELDS};
/* What is popped comes again long after the test: that would be written. */
static const struct pair pop_fields[] = {{"consumerGroup", "CG"}, {"topic", PROBE_TOPIC},      {"queueId", "-1"},
                                         {"maxMsgNums", "1"},     {"invisibleTime", "300000"}, {"pollTime", "0"},
                                         {"bornTime", "0"},       {"initMode", "0"},           END_OF_FIELDS};
static const struct pair peek_fields[] = {
    {"consumerGroup", "CG"}, {"topic", PROBE_TOPIC}, {"queueId", "-1"}, {"maxMsgNums", "1"}, END_OF_FIELDS};
static const struct pair notification_fields[] = {{"consumerGroup", "CG"}, {"topic", WATCHED_TOPIC},
                                                  {"queueId", "-1"},       {"pollTime", "0"},
                                                  {"bornTime", "0"},       END_OF_FIELDS};
static const struct pair polling_info_fields[] = {
    {"consumerGroup", "CG"}, {"topic", PROBE_TOPIC}, {"queueId", "-1"}, END_OF_FIELDS};
static const struct pair pop_ack_fields[] = {
    {"consumerGroup", "CG"}, {"topic", PROBE_TOPIC},    {"queueId", "0"}, {"extraInfo", "none"},
    {"offset", "0"},         {"invisibleTime", "1000"}, END_OF_FIELDS};
static const struct pair delete_group_fields[] = {{"groupName", "NG"}, {"removeOffset", "true"}, END_OF_FIELDS};
static const struct pair delete_topic_fields[] = {{"topic", "NoSuchTopic"}, END_OF_FIELDS};
static const struct pair stats_fields[] = {{"consumerGroup", "CG"}, {"topic", PROBE_TOPIC}, END_OF_FIELDS};
static const struct pair reset_fields[] = {
    {"topic", PROBE_TOPIC}, {"group", "RG"}, {"timestamp", "0"}, {"isForce", "true"}, END_OF_FIELDS};
static const struct pair clone_fields[] = {
    {"srcGroup", "CG"}, {"destGroup", "DG"}, {"topic", PROBE_TOPIC}, {"offline", "true"}, END_OF_FIELDS};
static const struct pair group_name_fields[] = {{"group", "CG"}, END_OF_FIELDS};
static const struct pair forbidden_fields[] = {
    {"group", "CG"}, {"topic", PROBE_TOPIC}, {"readable", "true"}, END_OF_FIELDS};
static const struct pair no_fields[] = {END_OF_FIELDS};
static const struct pair member_fields[] = {{"member", "n8"}, END_OF_FIELDS};

#define HEARTBEAT "{\"clientID\":\"c1\",\"consumerDataSet\":[],\"producerDataSet\":[{\"groupName\":\"PG\"}]}"
#define LOCK                                                                                                         \
    "{\"clientId\":\"c1\",\"consumerGroup\":\"CG\",\"mqSet\":[{\"brokerName\":\"golden-a\",\"queueId\":0,"           \
    "\"topic\":\"" PROBE_TOPIC "\"}]}"
#define CHECK                                                                                                        \
    "{\"clientId\":\"c1\",\"group\":\"CG\",\"subscriptionData\":{\"expressionType\":\"TAG\",\"subString\":\"*\","    \
    "\"topic\":\"" PROBE_TOPIC "\"}}"

#define TOPIC_LIST                                                                                                   \
    "{\"topicConfigList\":[{\"topicName\":\"Listed\",\"readQueueNums\":1,\"writeQueueNums\":1,\"perm\":6,"           \
    "\"topicFilterType\":\"SINGLE_TAG\",\"order\":false,\"topicSysFlag\":0,\"attributes\":{}}]}"
#define GROUP_CONFIG "{\"groupName\":\"Made\",\"consumeEnable\":true,\"retryQueueNums\":1,\"retryMaxTimes\":16}"
#define MODE "{\"topic\":\"" PROBE_TOPIC "\",\"consumerGroup\":\"CG\",\"mode\":\"PULL\",\"popShareQueueNum\":0}"

#define ASSIGNMENT                                                                                                   \
    "{\"clientId\":\"c1\",\"consumerGroup\":\"CG\",\"messageModel\":\"CLUSTERING\",\"strategyName\":\"AVG\","        \
    "\"topic\":\"" PROBE_TOPIC "\"}"

#define ANY_NODE false
#define LEADER true

/* Ascending by code, like the broker's own table. */
const struct request requests[] = {
    {REQ_SEND_MESSAGE, "send", send_fields, "body", RESP_SUCCESS, LEADER, false, false},
    {REQ_PULL_MESSAGE, "pull", pull_fields, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_QUERY_MESSAGE, "query_message", key_fields, NULL, RESP_QUERY_NOT_FOUND, ANY_NODE, false, false},
    {REQ_QUERY_CONSUMER_OFFSET, "query_offset", offset_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_UPDATE_CONSUMER_OFFSET, "update_offset", commit_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_UPDATE_AND_CREATE_TOPIC, "create_topic", create_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_UPDATE_AND_CREATE_TOPIC_LIST, NULL, NULL, TOPIC_LIST, RESP_SUCCESS, LEADER, true, false},
    {REQ_GET_ALL_TOPIC_CONFIG, NULL, NULL, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_UPDATE_BROKER_CONFIG, NULL, NULL, "maxMessageSize=1", RESP_NO_PERMISSION, ANY_NODE, false, false},
    {REQ_GET_BROKER_CONFIG, NULL, NULL, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_GET_BROKER_RUNTIME_INFO, NULL, NULL, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_SEARCH_OFFSET_BY_TIMESTAMP, "queue_time", search_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_GET_MAX_OFFSET, "queue", queue_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_GET_MIN_OFFSET, "queue", queue_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_GET_EARLIEST_MSG_STORETIME, "queue", queue_fields, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_VIEW_MESSAGE_BY_ID, "view", view_fields, NULL, RESP_SYSTEM_ERROR, ANY_NODE, false, false},
    {REQ_HEART_BEAT, NULL, NULL, HEARTBEAT, RESP_SUCCESS, ANY_NODE, true, false},
    {REQ_UNREGISTER_CLIENT, "unregister_client", client_fields, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_CONSUMER_SEND_MSG_BACK, "send_back", back_fields, NULL, RESP_SYSTEM_ERROR, LEADER, false, false},
    {REQ_END_TRANSACTION, "end_transaction", decision_fields, NULL, RESP_SYSTEM_ERROR, LEADER, false, false},
    {REQ_GET_CONSUMER_LIST_BY_GROUP, "group", group_fields, NULL, RESP_SYSTEM_ERROR, ANY_NODE, false, false},
    {REQ_LOCK_BATCH_MQ, NULL, NULL, LOCK, RESP_SUCCESS, LEADER, true, false},
    {REQ_UNLOCK_BATCH_MQ, NULL, NULL, LOCK, RESP_SUCCESS, LEADER, true, false},
    {REQ_CHECK_CLIENT_CONFIG, NULL, NULL, CHECK, RESP_SUCCESS, ANY_NODE, true, false},
    {REQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, NULL, NULL, GROUP_CONFIG, RESP_SUCCESS, LEADER, true, false},
    {REQ_GET_ALL_SUBSCRIPTIONGROUP_CONFIG, "all_groups", no_fields, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_DELETE_SUBSCRIPTIONGROUP, "delete_group", delete_group_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_GET_CONSUME_STATS, "consume_stats", stats_fields, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_DELETE_TOPIC_IN_BROKER, "topic", delete_topic_fields, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_INVOKE_BROKER_TO_RESET_OFFSET, "reset_offset", reset_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, NULL, NULL, "{\"groupConfigList\":[" GROUP_CONFIG "]}",
     RESP_SUCCESS, LEADER, true, false},
    {REQ_CLONE_GROUP_OFFSET, "clone_offset", clone_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_GET_SUBSCRIPTIONGROUP_CONFIG, "group_name", group_name_fields, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_UPDATE_AND_GET_GROUP_FORBIDDEN, "group_forbidden", forbidden_fields, NULL, RESP_SUCCESS, LEADER, false,
     false},
    {REQ_QUERY_ASSIGNMENT, NULL, NULL, ASSIGNMENT, RESP_SUCCESS, ANY_NODE, true, false},
    {REQ_SET_MESSAGE_REQUEST_MODE, NULL, NULL, MODE, RESP_SUCCESS, LEADER, true, false},
    {REQ_GET_TOPIC_STATS_INFO, "topic", topic_fields, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_GET_CONSUMER_CONNECTION_LIST, "group", group_fields, NULL, RESP_CONSUMER_NOT_ONLINE, ANY_NODE, false, false},
    {REQ_GET_PRODUCER_CONNECTION_LIST, "producer_group", producers_fields, NULL, RESP_SYSTEM_ERROR, LEADER, false,
     false},
    {REQ_INVOKE_BROKER_TO_GET_CONSUMER_STATUS, "consumer_status", status_fields, NULL, RESP_SYSTEM_ERROR, ANY_NODE,
     false, false},
    {REQ_GET_CONSUMER_RUNNING_INFO, "running_info", running_fields, NULL, RESP_SYSTEM_ERROR, ANY_NODE, false, false},
    {REQ_CONSUME_MESSAGE_DIRECTLY, "consume_directly", directly_fields, NULL, RESP_SYSTEM_ERROR, ANY_NODE, false,
     false},
    {REQ_SEND_MESSAGE_V2, "send", send_letters, "body", RESP_SUCCESS, LEADER, false, true},
    {REQ_SEND_BATCH_MESSAGE, "send", send_letters, "body", RESP_SUCCESS, LEADER, false, true},
    {REQ_QUERY_CONSUME_QUEUE, "query_queue", items_fields, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_SEND_REPLY_MESSAGE, "send", send_fields, "body", RESP_SYSTEM_ERROR, LEADER, false, false},
    {REQ_SEND_REPLY_MESSAGE_V2, "send", send_letters, "body", RESP_SYSTEM_ERROR, LEADER, false, true},
    {REQ_RESUME_CHECK_HALF_MESSAGE, "resume_check", resume_fields, NULL, RESP_SYSTEM_ERROR, LEADER, false, false},
    {REQ_GET_TOPIC_CONFIG, "topic", topic_fields, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_LITE_PULL_MESSAGE, "pull", pull_fields, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_RECALL_MESSAGE, "recall", recall_fields, NULL, RESP_ILLEGAL_OPERATION, LEADER, false, false},
    {REQ_RAFTMQ_GROUP_STATUS, NULL, NULL, NULL, RESP_SUCCESS, ANY_NODE, false, false},
    {REQ_RAFTMQ_MEMBER_ADD, "group_change", member_fields, NULL, RESP_INVALID_PARAMETER, LEADER, false, false},
    {REQ_RAFTMQ_MEMBER_PROMOTE, "group_change", member_fields, NULL, RESP_INVALID_PARAMETER, LEADER, false, false},
    {REQ_RAFTMQ_MEMBER_REMOVE, "group_change", member_fields, NULL, RESP_INVALID_PARAMETER, LEADER, false, false},
    {REQ_RAFTMQ_MEMBER_REPLACE, "group_change", member_fields, NULL, RESP_INVALID_PARAMETER, LEADER, false, false},
    {REQ_RAFTMQ_TRANSFER, "group_change", member_fields, NULL, RESP_INVALID_PARAMETER, LEADER, false, false},
    {REQ_RAFTMQ_TRANSACTION_LIST, "transaction_list", open_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_POP_MESSAGE, "pop", pop_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_ACK_MESSAGE, "pop_ack", pop_ack_fields, NULL, RESP_SYSTEM_ERROR, LEADER, false, false},
    {REQ_PEEK_MESSAGE, "peek", peek_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_CHANGE_MESSAGE_INVISIBLETIME, "pop_ack", pop_ack_fields, NULL, RESP_SYSTEM_ERROR, LEADER, false, false},
    {REQ_NOTIFICATION, "notification", notification_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_POLLING_INFO, "polling_info", polling_info_fields, NULL, RESP_SUCCESS, LEADER, false, false},
    {REQ_BATCH_ACK_MESSAGE, NULL, NULL, "{\"consumerGroup\":\"CG\",\"acks\":[]}", RESP_NO_MESSAGE, LEADER, true,
     false},
};

const uint32_t requests_count = ARRAY_SIZE(requests);

/* --- values that decode, and what they are answered with --- */

#define TOPIC_128                                                                                                    \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aa"                                                                                                             \
    "aaaaaaaaaaaaaaaa"

const struct probe probes[] = {
    {REQ_SEND_MESSAGE, "topic", "No Such Topic", RESP_INVALID_PARAMETER, "No Such Topic"},
    {REQ_SEND_MESSAGE, "topic", "", RESP_INVALID_PARAMETER, "topic"},
    {REQ_SEND_MESSAGE, "topic", TOPIC_128, RESP_INVALID_PARAMETER, "127"},
    {REQ_SEND_MESSAGE, "topic", "SCHEDULE_TOPIC_XXXX", RESP_NO_PERMISSION, "SCHEDULE_TOPIC_XXXX"},
    {REQ_SEND_MESSAGE, "queueId", "2", RESP_INVALID_PARAMETER, "queueId 2"},
    {REQ_SEND_MESSAGE, "queueId", "2147483647", RESP_INVALID_PARAMETER, "2147483647"},
    {REQ_SEND_MESSAGE, "queueId", "-1", RESP_SUCCESS, NULL},
    {REQ_SEND_MESSAGE_V2, "topic", "../x", RESP_INVALID_PARAMETER, "../x"},
    {REQ_SEND_MESSAGE_V2, "queueId", "2", RESP_INVALID_PARAMETER, "queueId 2"},
    {REQ_PULL_MESSAGE, "topic", "NoSuchTopic", RESP_TOPIC_NOT_EXIST, "NoSuchTopic"},
    {REQ_PULL_MESSAGE, "topic", "Hidden", RESP_NO_PERMISSION, "Hidden"},
    {REQ_PULL_MESSAGE, "queueId", "2", RESP_INVALID_PARAMETER, "2"},
    {REQ_PULL_MESSAGE, "queueId", "-1", RESP_INVALID_PARAMETER, "-1"},
    {REQ_PULL_MESSAGE, "queueOffset", "-1", RESP_PULL_OFFSET_MOVED, NULL},
    {REQ_PULL_MESSAGE, "queueOffset", "9223372036854775807", RESP_PULL_OFFSET_MOVED, NULL},
    {REQ_LITE_PULL_MESSAGE, "topic", "NoSuchTopic", RESP_TOPIC_NOT_EXIST, "NoSuchTopic"},
    {REQ_UPDATE_CONSUMER_OFFSET, "commitOffset", "-3", RESP_INVALID_PARAMETER, "commitOffset -3"},
    {REQ_UPDATE_CONSUMER_OFFSET, "queueId", "-1", RESP_INVALID_PARAMETER, "-1"},
    {REQ_UPDATE_AND_CREATE_TOPIC, "topic", "../x", RESP_INVALID_PARAMETER, "../x"},
    {REQ_UPDATE_AND_CREATE_TOPIC, "topic", TOPIC_128, RESP_INVALID_PARAMETER, "127"},
    {REQ_UPDATE_AND_CREATE_TOPIC, "readQueueNums", "-1", RESP_INVALID_PARAMETER, "readQueueNums -1"},
    {REQ_UPDATE_AND_CREATE_TOPIC, "writeQueueNums", "65536", RESP_INVALID_PARAMETER, "65535"},
    {REQ_UPDATE_AND_CREATE_TOPIC, "perm", "8", RESP_INVALID_PARAMETER, "perm 8"},
    {REQ_UPDATE_AND_CREATE_TOPIC, "perm", "-1", RESP_INVALID_PARAMETER, "perm -1"},
    {REQ_UPDATE_AND_CREATE_TOPIC, "topicFilterType", "TAGS", RESP_SYSTEM_ERROR, "TAGS"},
    {REQ_UPDATE_AND_CREATE_TOPIC, "attributes", "+colour=red", RESP_SYSTEM_ERROR, "colour"},
    {REQ_GET_MAX_OFFSET, "topic", "NoSuchTopic", RESP_SUCCESS, NULL},
    {REQ_VIEW_MESSAGE_BY_ID, "offset", "-5", RESP_SYSTEM_ERROR, "-5"},
    {REQ_GET_TOPIC_STATS_INFO, "topic", "NoSuchTopic", RESP_TOPIC_NOT_EXIST, "NoSuchTopic"},
    {REQ_GET_TOPIC_CONFIG, "topic", "NoSuchTopic", RESP_TOPIC_NOT_EXIST, "NoSuchTopic"},
    {REQ_RAFTMQ_TRANSACTION_LIST, "from", "-1", RESP_INVALID_PARAMETER, "from -1"},
    {REQ_RAFTMQ_TRANSACTION_LIST, "max", "257", RESP_INVALID_PARAMETER, "max 257"},
    {REQ_RAFTMQ_TRANSACTION_LIST, "max", "0", RESP_INVALID_PARAMETER, "max 0"},
};

const uint32_t probes_count = ARRAY_SIZE(probes);
