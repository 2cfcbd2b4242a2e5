#include "namesrv/config.h"

#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <getopt.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIELD(member) offsetof(struct namesrv_config, member)
#define IGNORED(key)                                                                                                 \
    {                                                                                                                \
        .name = (key), .type = MQ_CONF_IGNORED                                                                       \
    }
#define MINUTE_MS 60000
#define DAY_SECONDS 86400

static const char *const LOG_LEVELS[] = {"DEBUG", "INFO", "WARN", "ERROR", NULL}; /* as enum mq_log_level */

const struct mq_conf_key namesrv_config_keys[] = {
    {"bindAddress", MQ_CONF_STR, FIELD(bind_address), .preset = "0.0.0.0"},
    {"listenPort", MQ_CONF_I64, FIELD(listen_port), 0, 65535, .preset = "9876"},
    {"kvConfigPath", MQ_CONF_STR, FIELD(kv_config_path)},
    {"logFile", MQ_CONF_STR, FIELD(log_file)},
    {"logLevel", MQ_CONF_ENUM, FIELD(log_level), .names = LOG_LEVELS, .preset = "INFO"},
    {"orderMessageEnable", MQ_CONF_BOOL, FIELD(order_message), .preset = "false"},
    {"returnOrderTopicConfigToBroker", MQ_CONF_BOOL, FIELD(return_order_conf), .preset = "true"},
    {"enableAllTopicList", MQ_CONF_BOOL, FIELD(topic_list), .preset = "true"},
    {"deleteTopicWithBrokerRegistration", MQ_CONF_BOOL, FIELD(whole_tables), .preset = "false"},
    {"needWaitForService", MQ_CONF_BOOL, FIELD(wait_for_service), .preset = "false"},
    {"waitSecondsForService", MQ_CONF_I64, FIELD(wait_seconds), 0, 3600, .preset = "45"},
    {"scanNotActiveBrokerInterval", MQ_CONF_I64, FIELD(scan_ms), 10, MINUTE_MS, .preset = "1000"},
    {"brokerTimeoutMillis", MQ_CONF_I64, FIELD(broker_timeout_ms), 1000, 60 * MINUTE_MS, .preset = "120000"},
    {"masterGraceMillis", MQ_CONF_I64, FIELD(master_grace_ms), 0, MINUTE_MS, .preset = "5000"},
    {"serverChannelMaxIdleTimeSeconds", MQ_CONF_I64, FIELD(idle_seconds), 1, DAY_SECONDS, .preset = "120"},
    /* RocketMQ's own, which concern threads, a JVM's sockets, or a controller that we do not have. */
    IGNORED("rocketmqHome"),
    IGNORED("configStorePath"),
    IGNORED("configBlackList"),
    IGNORED("productEnvName"),
    IGNORED("clusterTest"),
    IGNORED("clientRequestThreadPoolNums"),
    IGNORED("defaultThreadPoolNums"),
    IGNORED("clientRequestThreadPoolQueueCapacity"),
    IGNORED("defaultThreadPoolQueueCapacity"),
    IGNORED("unRegisterBrokerQueueCapacity"),
    IGNORED("supportActingMaster"),
    IGNORED("notifyMinBrokerIdChanged"),
    IGNORED("enableControllerInNamesrv"),
    IGNORED("serverWorkerThreads"),
    IGNORED("serverCallbackExecutorThreads"),
    IGNORED("serverSelectorThreads"),
    IGNORED("serverOnewaySemaphoreValue"),
    IGNORED("serverAsyncSemaphoreValue"),
    IGNORED("serverSocketSndBufSize"),
    IGNORED("serverSocketRcvBufSize"),
    IGNORED("serverSocketBacklog"),
    IGNORED("serverPooledByteBufAllocatorEnable"),
    IGNORED("serverNettyWorkerGroupEnable"),
    IGNORED("writeBufferHighWaterMark"),
    IGNORED("writeBufferLowWaterMark"),
    IGNORED("enableShutdownGracefully"),
    IGNORED("shutdownWaitTimeSeconds"),
    IGNORED("useEpollNativeSelector"),
    {0},
};

const char namesrv_usage[] = "usage: mqnamesrv [-c FILE] [-o KEY=VALUE]... [-p]\n"
                             "  -c FILE       read the configuration, one key=value a line\n"
                             "  -o KEY=VALUE  set one key, over what the file says\n"
                             "  -p            print the configuration and exit\n"
                             "  -n ADDRESS    accepted and ignored, as name servers do not know each other\n"
                             "  -v            print the version and exit\n"
                             "  -h            print this and exit\n";

int namesrv_config_init(struct namesrv_config *config)
{
    return mq_conf_defaults(namesrv_config_keys, config);
}

void namesrv_config_fini(struct namesrv_config *config)
{
    mq_conf_free(namesrv_config_keys, config);
}

/* RocketMQ's default, so that a name server that replaces one finds its file. */
static int default_kv_path(struct namesrv_config *config)
{
    const char *home = getenv("HOME");
    char path[PATH_MAX];

    if (config->kv_config_path != NULL) {
        return 0;
    }
    if (snprintf(path, sizeof(path), "%s/namesrv/kvConfig.json", home != NULL ? home : ".") >= (int)sizeof(path)) {
        return MQ_EINVAL;
    }
    config->kv_config_path = mq_strdup(path);
    return config->kv_config_path != NULL ? 0 : MQ_ENOMEM;
}

static int set_option(const char *text, struct namesrv_config *config, struct mq_buf *problem,
                      struct mq_buf *warnings)
{
    struct mq_str whole = mq_str_of(text);
    const char *equals = memchr(whole.at, '=', whole.len);
    struct mq_str key, value;
    int rc;

    if (equals == NULL || equals == text) {
        rc = mq_buf_printf(problem, "command line: -o %s: is not of the form key=value\n", text);
        return rc != 0 ? rc : MQ_EINVAL;
    }
    key = (struct mq_str){text, (uint32_t)(equals - text)};
    value = (struct mq_str){equals + 1, whole.len - key.len - 1};
    return mq_conf_set("command line", 0, key, value, namesrv_config_keys, config, problem, warnings);
}

static int read_file(const char *path, struct namesrv_config *config, struct mq_buf *problem, struct mq_buf *warnings)
{
    int rc = mq_conf_read(path, namesrv_config_keys, config, problem, warnings);

    if (rc != 0 && problem->len == 0) {
        int put_rc = mq_buf_printf(problem, "%s: %s\n", path, mq_strerror(rc));

        rc = put_rc != 0 ? put_rc : rc;
    }
    return rc;
}

/* One pass over the arguments. The file is read in the first and -o set in the second, whatever their order. */
static int pass(int argc, char **argv, bool files, struct namesrv_config *config, struct namesrv_command_line *line,
                struct mq_buf *problem, struct mq_buf *warnings)
{
    static const struct option longs[] = {{"version", no_argument, NULL, 'v'}, {"help", no_argument, NULL, 'h'}, {0}};
    int option;
    int rc = 0;

    optind = 1;
    opterr = 0;
    while (rc == 0 && (option = getopt_long(argc, argv, ":c:o:n:pvh", longs, NULL)) != -1) {
        switch (option) {
        case 'c':
            rc = files ? read_file(optarg, config, problem, warnings) : 0;
            break;
        case 'o':
            rc = files ? 0 : set_option(optarg, config, problem, warnings);
            break;
        case 'n':
            rc = files ? mq_buf_printf(warnings, "command line: -n %s: has no meaning here, ignored\n", optarg) : 0;
            break;
        case 'p':
            line->print = true;
            break;
        case 'v':
            line->version = true;
            break;
        case 'h':
            line->help = true;
            break;
        default:
            rc = mq_buf_printf(problem, "command line: %s: %s\n", argv[optind - 1],
                               option == ':' ? "needs a value" : "unknown switch, -h lists all");
            rc = rc != 0 ? rc : MQ_EINVAL;
        }
    }
    if (rc == 0 && optind < argc) {
        rc = mq_buf_printf(problem, "command line: %s: unexpected argument, -h lists all\n", argv[optind]);
        rc = rc != 0 ? rc : MQ_EINVAL;
    }
    return rc;
}

int namesrv_config_parse(int argc, char **argv, struct namesrv_config *config, struct namesrv_command_line *line,
                         struct mq_buf *problem, struct mq_buf *warnings)
{
    int rc = pass(argc, argv, true, config, line, problem, warnings);

    if (rc == 0) {
        rc = pass(argc, argv, false, config, line, problem, warnings);
    }
    return rc != 0 ? rc : default_kv_path(config);
}
