/* raftmq get: the messages of a topic, from the first one on, a line each. */
#include "client/tools/tool.h"
#include "remoting/base/err.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage_text[] =
    "usage: raftmq get [-n NAMESRV] [-q QUEUE] [-o OFFSET] [-c COUNT] TOPIC\n"
    "  Prints the messages of a topic, queue by queue, as they lie: queue, offset, message key and body.\n"
    "  -n, --namesrv LIST  name servers, host:port;host:port (default 127.0.0.1:9876)\n"
    "  -q, --queue ID      only this queue\n"
    "  -o, --offset N      from this offset of each queue on (default 0)\n"
    "  -c, --count N       at most so many of each queue (default: all)\n";

static void print_message(void *data, struct mq_str broker_name, const struct proto_record *record)
{
    struct mq_str key = proto_properties_get(record->properties, PROTO_PROP_UNIQ_KEY);

    (void)data;
    printf(MQ_STR_FMT " queue=%d offset=%" PRId64 " key=" MQ_STR_FMT " ", MQ_STR_ARG(broker_name), record->queue_id,
           record->qoff, MQ_STR_ARG(key));
    fwrite(record->body.at, 1, record->body.len, stdout);
    putchar('\n');
}

int cmd_get(int argc, char **argv)
{
    static const struct option longs[] = {
        {"namesrv", required_argument, NULL, 'n'}, {"queue", required_argument, NULL, 'q'},
        {"offset", required_argument, NULL, 'o'},  {"count", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},          {0}};
    struct rmq_options options = {.namesrv = "127.0.0.1:9876"};
    struct tool_range range = {.command = "get", .queue = -1, .count = INT64_MAX, .take = print_message};
    struct tool tool;
    bool good = true;
    int c, rc;

    while ((c = getopt_long(argc, argv, "n:q:o:c:h", longs, NULL)) != -1 && good) {
        switch (c) {
        case 'n':
            options.namesrv = optarg;
            break;
        case 'q':
            good = tool_number("get", "-q", optarg, 0, 65535, &range.queue);
            break;
        case 'o':
            good = tool_number("get", "-o", optarg, 0, INT64_MAX, &range.qoff);
            break;
        case 'c':
            good = tool_number("get", "-c", optarg, 1, INT64_MAX, &range.count);
            break;
        default:
            fputs(usage_text, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    if (!good || optind != argc - 1) {
        fputs(usage_text, stderr);
        return 2;
    }
    rc = tool_open(&tool, &options);
    if (rc == 0) {
        range.topic = argv[optind];
        rc = tool_read_topic(&tool, &range);
        tool_close(&tool);
    }
    return rc == 0 ? EXIT_SUCCESS
                   : tool_fail("get", "topic %s at %s: %s", argv[optind], options.namesrv, mq_strerror(rc));
}
