/* raftmq group status: asks every member that the name servers know what it says of itself (30001). */
#include "client/tools/tool.h"
#include "remoting/base/err.h"
#include "remoting/base/json.h"
#include "remoting/protocol/codes.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define STATUS_MS 1000

static const char usage_text[] = "usage: raftmq group status -n NAMESRV\n"
                                 "  Prints one line for each member of each broker group: its name, the id that the "
                                 "name server has for it (0 leads), its\n"
                                 "  address, and what it answers: role, term, indexes and positions of its log. Exit "
                                 "status 1 when a member is silent.\n"
                                 "  -n, --namesrv LIST  name servers, host:port;host:port (default 127.0.0.1:9876)\n";

static bool print_member(struct tool *tool, const struct rmq_member *member)
{
    struct tool_answer answer;
    struct mq_str key, value;
    struct mq_json json;
    bool good;

    printf("%s id=%" PRId64 " addr=%s", member->broker_name, member->broker_id, member->addr);
    tool_ask(tool, member->addr, REQ_RAFTMQ_GROUP_STATUS, NULL, 0, STATUS_MS, &answer);
    good = answer.status == 0 && answer.code == RESP_SUCCESS;
    if (answer.status != 0) {
        printf(" unreachable=\"%s\"", mq_strerror(answer.status));
    } else if (!good) {
        printf(" code=%d remark=\"" MQ_STR_FMT "\"", answer.code, MQ_STR_ARG(mq_buf_str(&answer.remark)));
    } else {
        mq_json_init(&json, (char *)answer.body.base, answer.body.len);
        while (tool_json_next(&json, &key, &value)) {
            printf(" " MQ_STR_FMT "=" MQ_STR_FMT, MQ_STR_ARG(key), MQ_STR_ARG(value));
        }
    }
    putchar('\n');
    tool_answer_free(&answer);
    return good;
}

static int status(const char *namesrv)
{
    struct rmq_options options = {.namesrv = namesrv};
    struct tool_members members;
    struct tool tool;
    int rc = tool_open(&tool, &options);
    int result = EXIT_SUCCESS;

    if (rc != 0) {
        return tool_fail("group", "name servers \"%s\": %s", namesrv, mq_strerror(rc));
    }
    rc = tool_members(&tool, &members);
    if (rc != 0) {
        result = tool_fail("group", "no name server of \"%s\" answers: %s", namesrv, mq_strerror(rc));
    } else if (members.n == 0) {
        result = tool_fail("group", "no broker is registered");
    }
    for (uint32_t i = 0; i < members.n; i++) {
        if (!print_member(&tool, &members.list[i])) {
            result = EXIT_FAILURE;
        }
    }
    tool_members_free(&members);
    tool_close(&tool);
    return result;
}

int cmd_group(int argc, char **argv)
{
    static const struct option longs[] = {
        {"namesrv", required_argument, NULL, 'n'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *namesrv = "127.0.0.1:9876";
    int c;

    while ((c = getopt_long(argc, argv, "n:h", longs, NULL)) != -1) {
        if (c == 'n') {
            namesrv = optarg;
        } else {
            fputs(usage_text, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    if (optind != argc - 1 || strcmp(argv[optind], "status") != 0) {
        fputs(usage_text, stderr);
        return 2;
    }
    return status(namesrv);
}
