/* raftmq send: one message from the command line, or one for each line of standard input. */
#include "client/tools/tool.h"
#include "remoting/base/err.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LINE_MAX_BYTES (4u << 20) /* as maxMessageSize */
#define SEND_MS 10000

static const char usage_text[] =
    "usage: raftmq send [-n NAMESRV] [--tags TAGS] [--keys KEYS] TOPIC [TEXT]\n"
    "  Sends TEXT, or without it each line of standard input, and prints queue, offset and message id of each.\n"
    "  A send whose answer is missing is reported as unknown and not sent again. Exit status 1 unless all were "
    "acknowledged.\n"
    "  -n, --namesrv LIST  name servers, host:port;host:port (default 127.0.0.1:9876)\n";

struct sender {
    struct tool tool;
    struct rmq_send send;
    bool done, good;
};

static void on_sent(struct rmq_send *send, const struct rmq_send_result *result)
{
    struct sender *s = send->data;

    s->done = true;
    s->good = result->outcome == RMQ_ACKNOWLEDGED;
    if (s->good) {
        printf(MQ_STR_FMT " queue=%d offset=%" PRId64 " id=" MQ_STR_FMT "\n", MQ_STR_ARG(result->broker_name),
               result->queue_id, result->qoff, MQ_STR_ARG(result->msg_id));
        return;
    }
    tool_fail(
        "send", "%s: %s code=%d " MQ_STR_FMT, result->outcome == RMQ_UNKNOWN ? "unknown, may be stored" : "refused",
        result->status != 0 ? mq_strerror(result->status) : "answered", result->code, MQ_STR_ARG(result->remark));
}

static bool send_one(struct sender *s, const char *text, size_t n)
{
    int rc;

    if (n == 0) {
        return true; /* an empty body is not a message */
    }
    s->send.data = s;
    s->send.body = (struct mq_str){text, (uint32_t)n};
    s->send.queue_id = -1;
    s->send.retries_max = UINT32_MAX;
    s->send.timeout_ms = SEND_MS;
    s->done = false;
    rc = rmq_send_async(s->tool.client, &s->send, on_sent);
    if (rc != 0) {
        tool_fail("send", "%s", mq_strerror(rc));
        return false;
    }
    while (!tool_wait(&s->tool, &s->done, SEND_MS)) {
    }
    return s->good;
}

static bool send_lines(struct sender *s)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    bool good = true;

    while ((n = getline(&line, &cap, stdin)) > 0) {
        n -= line[n - 1] == '\n';
        if ((size_t)n > LINE_MAX_BYTES) {
            tool_fail("send", "a line of %zd bytes: the limit is %u", n, LINE_MAX_BYTES);
            good = false;
        } else {
            good = send_one(s, line, (size_t)n) && good;
        }
    }
    free(line);
    return good;
}

int cmd_send(int argc, char **argv)
{
    static const struct option longs[] = {{"namesrv", required_argument, NULL, 'n'},
                                          {"tags", required_argument, NULL, 'T'},
                                          {"keys", required_argument, NULL, 'K'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct rmq_options options = {.namesrv = "127.0.0.1:9876"};
    struct sender s = {0};
    bool good;
    int c, rc;

    while ((c = getopt_long(argc, argv, "n:h", longs, NULL)) != -1) {
        if (c == 'n') {
            options.namesrv = optarg;
        } else if (c == 'T') {
            s.send.tags = mq_str_of(optarg);
        } else if (c == 'K') {
            s.send.keys = mq_str_of(optarg);
        } else {
            fputs(usage_text, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    if (argc - optind < 1 || argc - optind > 2) {
        fputs(usage_text, stderr);
        return 2;
    }
    rc = tool_open(&s.tool, &options);
    if (rc != 0) {
        return tool_fail("send", "name servers \"%s\": %s", options.namesrv, mq_strerror(rc));
    }
    s.send.topic = mq_str_of(argv[optind]);
    good = argc - optind == 2 ? send_one(&s, argv[optind + 1], strlen(argv[optind + 1])) : send_lines(&s);
    tool_close(&s.tool);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
