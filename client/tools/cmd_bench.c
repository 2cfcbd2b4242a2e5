/* raftmq bench: the switches of `producer` and `consumer`. */
#include "client/tools/bench.h"
#include "remoting/base/assert.h"

#include <getopt.h>
#include <stdio.h>

static const char usage_text[] =
    "usage: raftmq bench producer|consumer [OPTION]...\n"
    "  Drives any cluster that speaks RocketMQ's remoting protocol. Callers are not threads: one loop drives them "
    "all, each\n"
    "  on a connection of its own and independent of the others. Prints a line a second, then rate, latencies and "
    "errors.\n"
    "  -n, --namesrv LIST    name servers, host:port;host:port (default 127.0.0.1:9876)\n"
    "  -t, --topic TOPIC     default raftmq-bench; producer creates it when it does not exist\n"
    "  -w, --threads N       callers (default 1)\n"
    "      --seconds N       how long to measure (default 10)\n"
    "      --warmup N        seconds before that, not counted (default 0)\n"
    "      --binary          ROCKETMQ binary headers instead of JSON\n"
    "      --json            the summary as one line of JSON on standard output, the rest on standard error\n"
    "producer:\n"
    "  -s, --size BYTES      of a body (default 128)\n"
    "  -y, --async           each caller keeps --window messages under way instead of one\n"
    "      --window N        default 1024 with -y\n"
    "      --rate N          messages a second, all callers together; latency counts from when a message was due\n"
    "      --queues N        of a topic that is created (default 8)\n"
    "consumer: drains all queues from offset 0 and ends there\n"
    "      --batch N         messages asked for in one pull (default 256; brokers have limits of their own)\n"
    "      --repeat          start again at the end, until --seconds are over\n";

enum { OPT_SECONDS = 256, OPT_WARMUP, OPT_BINARY, OPT_JSON, OPT_WINDOW, OPT_RATE, OPT_QUEUES, OPT_BATCH, OPT_REPEAT };

static const struct option longs[] = {{"namesrv", required_argument, NULL, 'n'},
                                      {"topic", required_argument, NULL, 't'},
                                      {"threads", required_argument, NULL, 'w'},
                                      {"size", required_argument, NULL, 's'},
                                      {"async", no_argument, NULL, 'y'},
                                      {"seconds", required_argument, NULL, OPT_SECONDS},
                                      {"warmup", required_argument, NULL, OPT_WARMUP},
                                      {"binary", no_argument, NULL, OPT_BINARY},
                                      {"json", no_argument, NULL, OPT_JSON},
                                      {"window", required_argument, NULL, OPT_WINDOW},
                                      {"rate", required_argument, NULL, OPT_RATE},
                                      {"queues", required_argument, NULL, OPT_QUEUES},
                                      {"batch", required_argument, NULL, OPT_BATCH},
                                      {"repeat", no_argument, NULL, OPT_REPEAT},
                                      {"help", no_argument, NULL, 'h'},
                                      {0}};

#define SLOTS_MAX 60000 /* messages under way: one connection takes no more calls than 65536 */

/* The switches that take a number. */
static bool take_number(int c, const char *text, struct bench_options *o, int64_t *window)
{
    struct {
        int option;
        const char *name;
        int64_t min, max;
        uint32_t *to;
    } numbers[] = {
        {'w', "-w", 1, RMQ_CONNECTIONS_MAX, &o->callers},  {'s', "-s", 1, 4 << 20, &o->body_bytes},
        {OPT_SECONDS, "--seconds", 1, 86400, &o->seconds}, {OPT_WARMUP, "--warmup", 0, 3600, &o->warmup_seconds},
        {OPT_RATE, "--rate", 1, 100000000, &o->rate},      {OPT_QUEUES, "--queues", 1, 1024, &o->queues},
        {OPT_BATCH, "--batch", 1, 65535, &o->batch}};
    int64_t value;

    if (c == OPT_WINDOW) {
        return tool_number("bench", "--window", text, 1, SLOTS_MAX, window);
    }
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (numbers[i].option == c) {
            if (!tool_number("bench", numbers[i].name, text, numbers[i].min, numbers[i].max, &value)) {
                return false;
            }
            *numbers[i].to = (uint32_t)value;
        }
    }
    return true;
}

/* Returns -1 to go on, or an exit status. */
static int parse(int argc, char **argv, struct bench_options *o)
{
    int64_t window = 0;
    bool async = false;
    int c;

    while ((c = getopt_long(argc, argv, "n:t:w:s:yh", longs, NULL)) != -1) {
        switch (c) {
        case 'n':
            o->namesrv = optarg;
            break;
        case 't':
            o->topic = optarg;
            break;
        case 'y':
            async = true;
            break;
        case OPT_BINARY:
            o->binary = true;
            break;
        case OPT_JSON:
            o->json = true;
            break;
        case OPT_REPEAT:
            o->repeat = true;
            break;
        case 'h':
            fputs(usage_text, stdout);
            return 0;
        case '?':
            return 2;
        default:
            if (!take_number(c, optarg, o, &window)) {
                return 2;
            }
            break;
        }
    }
    o->window = window != 0 ? (uint32_t)window : async ? 1024 : 1;
    if ((uint64_t)o->window * o->callers > SLOTS_MAX) {
        tool_fail("bench", "-w %u times --window %u: more than %d messages under way", o->callers, o->window,
                  SLOTS_MAX);
        return 2;
    }
    return -1;
}

int cmd_bench(int argc, char **argv)
{
    struct bench_options options = {.namesrv = "127.0.0.1:9876",
                                    .topic = "raftmq-bench",
                                    .callers = 1,
                                    .body_bytes = 128,
                                    .seconds = 10,
                                    .queues = 8,
                                    .batch = 256};
    int status = parse(argc, argv, &options);

    if (status >= 0) {
        return status;
    }
    if (optind == argc - 1 && strcmp(argv[optind], "producer") == 0) {
        return bench_producer(&options);
    }
    if (optind == argc - 1 && strcmp(argv[optind], "consumer") == 0) {
        options.warmup_seconds = options.repeat ? options.warmup_seconds : 0; /* it may be over before */
        return bench_consumer(&options);
    }
    fputs(usage_text, stderr);
    return 2;
}
