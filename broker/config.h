/* The broker's configuration: RocketMQ's keys (broker.conf) and a few of our own. */
#ifndef BROKER_CONFIG_H
#define BROKER_CONFIG_H

#include "broker/flow/delayed.h"
#include "raft-log/include/raftlog/raftlog.h"
#include "remoting/base/buf.h"
#include "remoting/base/conf.h"

#include <stdbool.h>
#include <stdint.h>

struct broker_config {
    /* As in the file; strings owned. */
    char *cluster;                     /* brokerClusterName, DefaultCluster */
    char *broker_name;                 /* brokerName; empty: dLegerGroup */
    char *group;                       /* dLegerGroup */
    char *peers;                       /* dLegerPeers, "n0-host:port;n1-host:port" */
    char *self_id;                     /* dLegerSelfId, "n0" */
    char *ip;                          /* brokerIP1: the address clients use */
    char *bind_address;                /* bindAddress, 0.0.0.0 */
    int64_t listen_port;               /* listenPort, 10911 */
    char *namesrv;                     /* namesrvAddr, "a:9876;b:9876" */
    char *store_dir;                   /* storePathRootDir */
    char *region;                      /* regionId, DefaultRegion */
    bool trace_on;                     /* traceOn, true */
    int64_t permission;                /* brokerPermission, 6 */
    bool auto_create_topic;            /* autoCreateTopicEnable, true */
    bool auto_create_group;            /* autoCreateSubscriptionGroup, true */
    int64_t topic_queues;              /* defaultTopicQueueNums, 8 */
    bool cluster_topic, broker_topic;  /* clusterTopicEnable, brokerTopicEnable, true */
    int64_t body_bytes_max;            /* maxMessageSize, 4 MiB */
    int64_t pull_count_max;            /* maxTransferCountOnMessageInMemory, 32 */
    int64_t pull_bytes_max;            /* maxTransferBytesOnMessageInMemory, 262144 */
    bool clear_retry_topics;           /* clearRetryTopicWhenDeleteTopic, true */
    bool server_side_reset;            /* useServerSideResetOffset, true */
    bool property_filter;              /* enablePropertyFilter, true */
    bool long_polling;                 /* longPollingEnable, true */
    int64_t short_polling_ms;          /* shortPollingTimeMills, 1000 */
    bool lite_pull;                    /* litePullMessageEnable, true */
    bool notify_consumers;             /* notifyConsumerIdsChangedEnable, true */
    bool store_replies;                /* storeReplyMessageEnable, true */
    int64_t channel_expired_ms;        /* channelExpiredTimeout, 120000 */
    int64_t idle_s;                    /* serverChannelMaxIdleTimeSeconds, 120 */
    int64_t register_ms;               /* registerNameServerPeriod, 30000, 10 s to 60 s */
    int64_t segment_bytes;             /* mappedFileSizeCommitLog, 1 GiB */
    int64_t queue_file_bytes;          /* mappedFileSizeConsumeQueue, 300,000 units */
    int64_t inflight_bytes_max;        /* raftInflightBytesMax, 64 MiB */
    int64_t unsynced_bytes_max;        /* raftUnsyncedBytesMax, 64 MiB */
    int64_t waiting_bytes_max;         /* raftWaitingBytesMax, 32 MiB */
    int64_t flush_ms;                  /* flushIntervalCommitLog, with ASYNC_FLUSH */
    int flush;                         /* flushDiskType: 0 SYNC_FLUSH, 1 ASYNC_FLUSH */
    int64_t election_ms, heartbeat_ms; /* raftElectionTimeoutMs 300, raftHeartbeatMs 50 (ours) */
    int64_t far_bytes;                 /* raftFarBehindBytes (ours), 256 MiB */
    int64_t scrub_bytes_per_s;         /* raftmqScrubBytesPerSecond, -1: all in a week; 0: off (ours) */
    int64_t backfill_bytes_per_s;      /* raftBackfillBytesPerSecond, 0: as it goes (ours) */
    int64_t reserved_hours;            /* fileReservedTime, 72 */
    char *delete_when;                 /* deleteWhen, "04" */
    int64_t disk_max_percent;          /* diskMaxUsedSpaceRatio, 75 */
    int64_t disk_forced_percent;       /* diskSpaceCleanForciblyRatio, 85 */
    bool clean_forcibly;               /* cleanFileForciblyEnable, true */
    int64_t delete_batch;              /* deleteFileBatchMax, 10 */
    int64_t log_bytes_max;             /* commitLogBytesMax (ours): 0: no bound */
    int64_t snapshot_bytes;            /* snapshotLogBytes (ours), 256 MiB */
    int64_t snapshot_s;                /* snapshotPeriodSeconds (ours), 600 */
    int64_t transaction_timeout_ms;    /* transactionTimeOut, 6000 */
    int64_t transaction_interval_ms;   /* transactionCheckInterval, 30000 */
    int64_t transaction_checks_max;    /* transactionCheckMax, 15 */
    bool reject_transactions;          /* rejectTransactionMessage */
    char *delay_levels;                /* messageDelayLevel, "1s 5s 10s ... 2h" */
    bool timers;                       /* timerWheelEnable, true */
    int64_t timer_max_s;               /* timerMaxDelaySec, 259200; up to a hundred years */
    bool recall;                       /* recallMessageEnable, true (the original's is false) */
    int64_t group_messages_per_s;      /* raftmqGroupMessagesPerSecond (ours), 0: any number */
    int64_t group_bytes_per_s;         /* raftmqGroupBytesPerSecond (ours) */
    int64_t connection_messages_per_s; /* raftmqConnectionMessagesPerSecond (ours) */
    int64_t pop_checks_max;            /* raftmqPopCheckPointsMax (ours), 1,000,000 */
    int64_t connection_bytes_per_s;    /* raftmqConnectionBytesPerSecond (ours) */
    bool message_index;                /* messageIndexEnable, true */
    bool trace_topic;                  /* traceTopicEnable, false */
    char *trace_topic_name;            /* msgTraceTopicName, RMQ_SYS_TRACE_TOPIC */
    int request_mode;                  /* defaultMessageRequestMode: 0 PULL, 1 POP */
    int64_t pop_share_queues;          /* defaultPopShareQueueNum, -1 */
    bool server_balances;              /* serverLoadBalancerEnable, true */
    char *log_file;                    /* logFile (ours): empty: stderr */

    /* Made from the above. */
    uint8_t ip_bytes[4]; /* brokerIP1 in network order */
    struct rlog_member members[RLOG_MEMBERS_MAX];
    uint32_t n_members;
    int64_t delay_ms[DELAY_LEVELS_MAX]; /* of delay_levels */
    uint32_t n_delays;
    uint32_t delete_hours; /* bit h: hour h is in deleteWhen */
    uint32_t self;         /* number in dLegerSelfId + 1: raft member id, and broker id of a follower */
};

extern const struct mq_conf_key broker_config_keys[]; /* config_keys.c */

/* Reads @path (NULL: defaults only), then @overrides ("key=value", NULL-terminated list, may be NULL), and checks the
 * whole. Returns 0 or a negative code with one line in @problem; @warnings gets a line for each RocketMQ key without
 * meaning here. Free @config either way. */
int broker_config_load(struct broker_config *config, const char *path, const char *const *overrides,
                       struct mq_buf *problem, struct mq_buf *warnings);
void broker_config_free(struct broker_config *config);

#endif
