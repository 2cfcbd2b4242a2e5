#include "broker/config.h"

#include "broker/store/consume_queue.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/base/text.h"
#include "remoting/protocol/names.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#define DELAY_MS_MAX (INT64_C(36600) * 86400000)
#define REPLY_SUFFIX_BYTES 12 /* <cluster>_REPLY_TOPIC is a topic too */

static int set_text(char **field, const char *text)
{
    char *copy = mq_strdup(text);

    if (copy == NULL) {
        return MQ_ENOMEM;
    }
    mq_free(*field);
    *field = copy;
    return 0;
}

/* The first IPv4 address that is up and not loopback; 127.0.0.1 on a machine without one. */
static int find_own_address(char **field)
{
    char text[INET_ADDRSTRLEN] = "127.0.0.1";
    struct ifaddrs *list, *at;

    if (getifaddrs(&list) == 0) {
        for (at = list; at != NULL; at = at->ifa_next) {
            if (at->ifa_addr != NULL && at->ifa_addr->sa_family == AF_INET && (at->ifa_flags & IFF_UP) != 0 &&
                (at->ifa_flags & IFF_LOOPBACK) == 0) {
                inet_ntop(AF_INET, &((struct sockaddr_in *)at->ifa_addr)->sin_addr, text, sizeof(text));
                break;
            }
        }
        freeifaddrs(list);
    }
    return set_text(field, text);
}

/* "n7" -> 8, the member's number in the group; 0 when it is not of that form. */
static uint32_t member_id_of(struct mq_str name)
{
    int32_t number;

    if (name.len < 2 || name.at[0] != 'n' ||
        mq_str_to_i32((struct mq_str){name.at + 1, name.len - 1}, &number) != 0 || number < 0 ||
        number > INT32_MAX - 1) {
        return 0;
    }
    return (uint32_t)number + 1;
}

/* Whether @address is of the form host:port. */
static bool has_port(struct mq_str address)
{
    const char *colon = memrchr(address.at, ':', address.len);
    int32_t port;

    return colon != NULL && colon != address.at &&
           mq_str_to_i32((struct mq_str){colon + 1, (uint32_t)(address.at + address.len - colon - 1)}, &port) == 0 &&
           port > 0 && port <= UINT16_MAX;
}

/* One "n0-host:port" of dLegerPeers; the host may have dashes, so the name ends at the first one. */
static int add_member(struct broker_config *config, struct mq_str item, struct mq_buf *problem)
{
    const char *dash = memchr(item.at, '-', item.len);
    struct mq_str name = {item.at, dash != NULL ? (uint32_t)(dash - item.at) : item.len};
    uint32_t id = member_id_of(name);
    char *address;

    if (dash == NULL || id == 0 || !has_port((struct mq_str){dash + 1, item.len - name.len - 1})) {
        (void)mq_buf_printf(problem, "dLegerPeers: \"" MQ_STR_FMT "\" is not of the form n0-host:port\n",
                            MQ_STR_ARG(item));
        return MQ_EINVAL;
    }
    if (config->n_members == RLOG_MEMBERS_MAX) {
        (void)mq_buf_printf(problem, "dLegerPeers: more than %d members\n", RLOG_MEMBERS_MAX);
        return MQ_EINVAL;
    }
    for (uint32_t i = 0; i < config->n_members; i++) {
        if (config->members[i].id == id) {
            (void)mq_buf_printf(problem, "dLegerPeers: " MQ_STR_FMT " is there twice\n", MQ_STR_ARG(name));
            return MQ_EINVAL;
        }
    }
    address = mq_strndup(dash + 1, item.len - name.len - 1);
    if (address == NULL) {
        return MQ_ENOMEM;
    }
    config->members[config->n_members++] = (struct rlog_member){.id = id, .address = address};
    return 0;
}

static int parse_members(struct broker_config *config, struct mq_buf *problem)
{
    const char *at = config->peers;

    while (*at != '\0') {
        size_t n = strcspn(at, ";");
        int rc = n > 0 ? add_member(config, (struct mq_str){at, (uint32_t)n}, problem) : 0;

        if (rc != 0) {
            return rc;
        }
        at += n + (at[n] == ';');
    }
    config->self = member_id_of(mq_str_of(config->self_id));
    for (uint32_t i = 0; i < config->n_members; i++) {
        if (config->members[i].id == config->self) {
            return 0;
        }
    }
    (void)mq_buf_printf(problem, "dLegerSelfId: \"%s\" is not one of dLegerPeers \"%s\"\n", config->self_id,
                        config->peers);
    return MQ_EINVAL;
}

/* A plain broker.conf without a group: one member by itself, whose peer port nobody will call. */
static int single_member(struct broker_config *config)
{
    char *address = mq_strdup("127.0.0.1:0");

    if (address == NULL) {
        return MQ_ENOMEM;
    }
    config->self = 1;
    config->n_members = 1;
    config->members[0] = (struct rlog_member){.id = 1, .address = address};
    return set_text(&config->self_id, "n0");
}

static int default_store_dir(struct broker_config *config)
{
    const char *home = getenv("HOME");
    char *dir = mq_path_join(home != NULL ? home : ".", "store");

    if (dir == NULL) {
        return MQ_ENOMEM;
    }
    mq_free(config->store_dir);
    config->store_dir = dir;
    return 0;
}

/* A group is one broker to clients: brokerName and dLegerGroup are two names of one thing. */
static int settle_names(struct broker_config *config, struct mq_buf *problem)
{
    const char *group = config->group[0] != '\0'         ? config->group
                        : config->broker_name[0] != '\0' ? config->broker_name
                                                         : "broker-a";
    int rc = 0;

    if (config->group[0] == '\0' && config->peers[0] != '\0') {
        (void)mq_buf_printf(problem, "dLegerPeers is set, dLegerGroup is not: a group needs a name\n");
        return MQ_EINVAL;
    }
    if (config->peers[0] == '\0' && config->self_id[0] != '\0') {
        (void)mq_buf_printf(problem, "dLegerSelfId \"%s\" is set, dLegerPeers is not: who are its peers?\n",
                            config->self_id);
        return MQ_EINVAL;
    }
    if (config->group[0] == '\0') {
        rc = set_text(&config->group, group);
    }
    if (rc == 0 && config->broker_name[0] == '\0') {
        rc = set_text(&config->broker_name, group);
    }
    if (rc == 0 && strcmp(config->broker_name, config->group) != 0) {
        (void)mq_buf_printf(problem,
                            "brokerName \"%s\" and dLegerGroup \"%s\" must be the same: all members share one name\n",
                            config->broker_name, config->group);
        return MQ_EINVAL;
    }
    return rc;
}

/* There are topics of these names. */
static int check_name(const char *key, const char *name, uint32_t bytes_max, struct mq_buf *problem)
{
    enum proto_name_problem fault = proto_topic_check(mq_str_of(name));

    if (fault != PROTO_NAME_OK || strlen(name) > bytes_max) {
        (void)mq_buf_printf(problem, "%s \"%s\" is %s; it names a topic, and has at most %u characters\n", key, name,
                            fault != PROTO_NAME_OK ? proto_name_problem_text(fault, false) : "too long", bytes_max);
        return MQ_EINVAL;
    }
    return 0;
}

/* deleteWhen: hours of the day. */
static int check_hours(struct broker_config *config, struct mq_buf *problem)
{
    const char *at = config->delete_when;

    while (*at != '\0') {
        size_t n = strcspn(at, ";");
        int32_t hour;

        if (mq_str_to_i32((struct mq_str){at, (uint32_t)n}, &hour) != 0 || hour < 0 || hour > 23) {
            (void)mq_buf_printf(problem, "deleteWhen \"%s\" is not of the form 04 or 04;16: hours are 0 to 23\n",
                                config->delete_when);
            return MQ_EINVAL;
        }
        config->delete_hours |= 1u << hour;
        at += n + (at[n] == ';');
    }
    return 0;
}

/* "5s" in milliseconds; -1: not of that form. */
static int64_t delay_of(struct mq_str text)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    int64_t number = 0;

    for (size_t i = 0; text.len > 1 && i < ARRAY_SIZE(units); i++) {
        if (text.at[text.len - 1] == units[i].unit &&
            mq_str_to_i64((struct mq_str){text.at, text.len - 1}, &number) == 0 && number >= 0 &&
            number <= DELAY_MS_MAX / units[i].ms) {
            return number * units[i].ms;
        }
    }
    return -1;
}

/* messageDelayLevel: how long levels 1, 2, ... wait. */
static int check_delays(struct broker_config *config, struct mq_buf *problem)
{
    const char *at = config->delay_levels;

    while (*at != '\0') {
        size_t n = strcspn(at, " ");
        int64_t ms = n != 0 ? delay_of((struct mq_str){at, (uint32_t)n}) : 0;

        if (ms < 0 || (n != 0 && config->n_delays == DELAY_LEVELS_MAX)) {
            (void)mq_buf_printf(
                problem,
                "messageDelayLevel \"%s\" is not of the form 1s 5m 2h 1d: at most %u times, each of at "
                "most 36600 days\n",
                config->delay_levels, DELAY_LEVELS_MAX);
            return MQ_EINVAL;
        }
        if (n != 0) {
            config->delay_ms[config->n_delays++] = ms;
        }
        at += n + (at[n] == ' ');
    }
    return 0;
}

static int check_address(struct broker_config *config, struct mq_buf *problem)
{
    if (inet_pton(AF_INET, config->ip, config->ip_bytes) != 1) {
        (void)mq_buf_printf(
            problem, "brokerIP1 \"%s\": must be an IPv4 address in digits, it is part of message ids\n", config->ip);
        return MQ_EINVAL;
    }
    return 0;
}

static int check_times(const struct broker_config *config, struct mq_buf *problem)
{
    if (config->heartbeat_ms * 3 > config->election_ms) {
        (void)mq_buf_printf(problem, "raftHeartbeatMs %lld: must be at most a third of raftElectionTimeoutMs %lld\n",
                            (long long)config->heartbeat_ms, (long long)config->election_ms);
        return MQ_EINVAL;
    }
    return 0;
}

/* Whole units, as RocketMQ's MessageStoreConfig.getMappedFileSizeConsumeQueue makes them of any number. */
static void round_sizes(struct broker_config *config)
{
    int64_t units = (config->queue_file_bytes + CONSUME_QUEUE_UNIT_BYTES - 1) / CONSUME_QUEUE_UNIT_BYTES;

    units = units < CONSUME_QUEUE_FILE_UNITS_MAX ? units : CONSUME_QUEUE_FILE_UNITS_MAX;
    config->queue_file_bytes = units * CONSUME_QUEUE_UNIT_BYTES;
}

/* What follows from other keys, and what only holds for all of them together. */
static int finish(struct broker_config *config, struct mq_buf *problem)
{
    int rc = settle_names(config, problem);

    round_sizes(config);
    if (rc == 0) {
        rc = check_name("dLegerGroup", config->group, PROTO_TOPIC_MAX, problem);
    }
    if (rc == 0) {
        rc = check_name("brokerClusterName", config->cluster, PROTO_TOPIC_MAX - REPLY_SUFFIX_BYTES, problem);
    }
    if (rc == 0) {
        rc = check_name("msgTraceTopicName", config->trace_topic_name, PROTO_TOPIC_MAX, problem);
    }
    if (rc == 0 && config->ip[0] == '\0') {
        rc = find_own_address(&config->ip);
    }
    if (rc == 0) {
        rc = check_address(config, problem);
    }
    if (rc == 0) {
        rc = check_hours(config, problem);
    }
    if (rc == 0) {
        rc = check_delays(config, problem);
    }
    if (rc == 0 && config->store_dir[0] == '\0') {
        rc = default_store_dir(config);
    }
    if (rc == 0) {
        rc = check_times(config, problem);
    }
    if (rc != 0) {
        return rc;
    }
    return config->peers[0] != '\0' ? parse_members(config, problem) : single_member(config);
}

int broker_config_load(struct broker_config *config, const char *path, const char *const *overrides,
                       struct mq_buf *problem, struct mq_buf *warnings)
{
    int rc;

    memset(config, 0, sizeof(*config));
    rc = mq_conf_defaults(broker_config_keys, config);
    if (rc == 0 && path != NULL) {
        rc = mq_conf_read(path, broker_config_keys, config, problem, warnings);
        if (rc != 0 && problem->len == 0) {
            (void)mq_buf_printf(problem, "%s: %s\n", path, mq_strerror(rc));
        }
    }
    for (; rc == 0 && overrides != NULL && *overrides != NULL; overrides++) {
        const char *eq = strchr(*overrides, '=');

        if (eq == NULL) {
            (void)mq_buf_printf(problem, "-o %s: not of the form key=value\n", *overrides);
            return MQ_EINVAL;
        }
        rc = mq_conf_set("-o", 0, (struct mq_str){*overrides, (uint32_t)(eq - *overrides)}, mq_str_of(eq + 1),
                         broker_config_keys, config, problem, warnings);
    }
    if (rc == 0) {
        rc = finish(config, problem);
    }
    return rc;
}

void broker_config_free(struct broker_config *config)
{
    for (uint32_t i = 0; i < config->n_members; i++) {
        mq_free((char *)config->members[i].address);
    }
    config->n_members = 0;
    mq_conf_free(broker_config_keys, config);
}
