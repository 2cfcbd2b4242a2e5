/* raftmq group: status asks every member that the name servers know what it says of itself (30001); add, promote,
 * remove, replace and transfer ask the leader of a group for a change (30002 to 30006), and the next one when
 * leadership moves meanwhile; rescue is cmd_rescue.c. */
#include "client/tools/tool.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/json.h"
#include "remoting/protocol/codes.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <string.h>
#include <unistd.h>

#define STATUS_MS 1000
#define CHANGE_MS 15000   /* for one answer; a node that is not there costs 5 s */
#define AGAIN_US 200000   /* between questions while leadership moves or another change runs */
#define PATIENCE_MS 30000 /* for all questions together */

static const char usage_text[] =
    "usage: raftmq group status   [-n NAMESRV]\n"
    "       raftmq group add      [-n NAMESRV] [-b GROUP] -m MEMBER -a HOST:PORT [-l]\n"
    "       raftmq group promote  [-n NAMESRV] [-b GROUP] -m MEMBER\n"
    "       raftmq group remove   [-n NAMESRV] [-b GROUP] -m MEMBER\n"
    "       raftmq group replace  [-n NAMESRV] [-b GROUP] -m MEMBER [-a HOST:PORT]\n"
    "       raftmq group transfer [-n NAMESRV] [-b GROUP] [-m MEMBER]\n"
    "       raftmq group rescue   [--yes-i-lose-data PHRASE] DIR\n"
    "  status    one line for each member of each group: its name, the id that the name server has for it (0 "
    "leads),\n"
    "            its address, and what it answers. Exit status 1 when a member is silent.\n"
    "  add       takes in a new member, which runs with an empty directory and names all members in its "
    "dLegerPeers;\n"
    "            it gets the log, and votes once it has caught up (-l: it never does until it is promoted).\n"
    "  remove    also of a dead member. The leader hands over first.\n"
    "  replace   takes in the empty directory of a member that lost its own.\n"
    "  transfer  makes MEMBER (or who has most of the log) the leader.\n"
    "  rescue    when a majority of the group's disks is gone for ever: makes a group of one from a directory\n"
    "            (storePathRootDir/raftlog) whose node is stopped. Says what may be lost, and asks.\n"
    "  -n, --namesrv LIST  name servers, host:port;host:port (default 127.0.0.1:9876)\n"
    "  -b, --broker GROUP  the group's brokerName; needed where there is more than one\n"
    "  -m, --member nI     as in dLegerPeers: n0, n1, ...\n"
    "  -a, --address H:P   where its peers reach it\n"
    "  -l, --learner       without a vote\n";

struct arguments {
    const char *namesrv, *broker, *member, *address;
    bool learner;
};

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

/* ---- changes ---- */

/* The address of the leader of the group that is meant. Returns 0, or MQ_ENOTFOUND (no leader known, or no such
 * group), MQ_EINVAL (more than one group). */
static int find_leader(const struct tool_members *members, const char *broker, char *addr, size_t cap)
{
    const char *name = broker;
    int rc = MQ_ENOTFOUND;

    for (uint32_t i = 0; i < members->n; i++) {
        const struct rmq_member *member = &members->list[i];

        if (broker == NULL && name != NULL && strcmp(name, member->broker_name) != 0) {
            return MQ_EINVAL;
        }
        name = name != NULL ? name : member->broker_name;
        if (strcmp(name, member->broker_name) == 0 && member->broker_id == 0) {
            (void)snprintf(addr, cap, "%s", member->addr);
            rc = 0;
        }
    }
    return rc;
}

/* Asks the leader once. Returns whether that was the last word; @exit_status: then. */
static bool ask_leader(struct tool *tool, int32_t code, const struct arguments *args, int *exit_status)
{
    struct rmq_field fields[3];
    uint32_t n = 0;
    struct tool_members members;
    struct tool_answer answer;
    char addr[128];
    int rc = tool_members(tool, &members);
    bool last = true;

    if (rc == 0) {
        rc = find_leader(&members, args->broker, addr, sizeof(addr));
    }
    tool_members_free(&members);
    if (rc == MQ_EINVAL) {
        *exit_status = tool_fail("group", "there is more than one group: name it with -b");
        return true;
    }
    if (rc != 0) {
        *exit_status = tool_fail("group", "no leader of %s is registered: %s",
                                 args->broker != NULL ? args->broker : "a group", mq_strerror(rc));
        return false;
    }
    if (args->member != NULL) {
        fields[n++] = (struct rmq_field){"member", args->member};
    }
    if (args->address != NULL) {
        fields[n++] = (struct rmq_field){"address", args->address};
    }
    if (args->learner) {
        fields[n++] = (struct rmq_field){"learner", "true"};
    }
    tool_ask(tool, addr, code, fields, n, CHANGE_MS, &answer);
    if (answer.status == 0 && answer.code == RESP_SUCCESS) {
        printf(MQ_STR_FMT "\n", MQ_STR_ARG(mq_buf_str(&answer.remark)));
        *exit_status = EXIT_SUCCESS;
    } else if (answer.status != 0) {
        *exit_status = tool_fail("group", "%s: %s", addr, mq_strerror(answer.status));
        last = false;
    } else {
        *exit_status = tool_fail("group", "%s: " MQ_STR_FMT, addr, MQ_STR_ARG(mq_buf_str(&answer.remark)));
        last = answer.code != RESP_SERVICE_NOT_AVAILABLE && answer.code != RESP_SYSTEM_BUSY;
    }
    tool_answer_free(&answer);
    return last;
}

static int change(int32_t code, const struct arguments *args)
{
    struct rmq_options options = {.namesrv = args->namesrv};
    uint64_t end_ms = mq_clock_mono_ms() + PATIENCE_MS;
    int exit_status = EXIT_FAILURE;
    struct tool tool;
    int rc = tool_open(&tool, &options);

    if (rc != 0) {
        return tool_fail("group", "name servers \"%s\": %s", args->namesrv, mq_strerror(rc));
    }
    while (!ask_leader(&tool, code, args, &exit_status) && mq_clock_mono_ms() < end_ms) {
        (void)usleep(AGAIN_US);
    }
    tool_close(&tool);
    return exit_status;
}

static const struct verb {
    const char *name;
    int32_t code;
    bool needs_member, needs_address;
} verbs[] = {
    {"status", REQ_RAFTMQ_GROUP_STATUS, false, false},   {"add", REQ_RAFTMQ_MEMBER_ADD, true, true},
    {"promote", REQ_RAFTMQ_MEMBER_PROMOTE, true, false}, {"remove", REQ_RAFTMQ_MEMBER_REMOVE, true, false},
    {"replace", REQ_RAFTMQ_MEMBER_REPLACE, true, false}, {"transfer", REQ_RAFTMQ_TRANSFER, false, false},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

static int wrong_usage(void)
{
    fputs(usage_text, stderr);
    return 2;
}

int cmd_group(int argc, char **argv)
{
    static const struct option longs[] = {{"namesrv", required_argument, NULL, 'n'},
                                          {"broker", required_argument, NULL, 'b'},
                                          {"member", required_argument, NULL, 'm'},
                                          {"address", required_argument, NULL, 'a'},
                                          {"learner", no_argument, NULL, 'l'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"yes-i-lose-data", required_argument, NULL, 'y'},
                                          {0}};
    struct arguments args = {.namesrv = "127.0.0.1:9876"};
    const char *phrase = NULL;
    const struct verb *verb;
    int c;

    while ((c = getopt_long(argc, argv, "n:b:m:a:lh", longs, NULL)) != -1) {
        switch (c) {
        case 'n':
            args.namesrv = optarg;
            break;
        case 'b':
            args.broker = optarg;
            break;
        case 'm':
            args.member = optarg;
            break;
        case 'a':
            args.address = optarg;
            break;
        case 'l':
            args.learner = true;
            break;
        case 'y':
            phrase = optarg;
            break;
        case 'h':
            fputs(usage_text, stdout);
            return 0;
        default:
            return wrong_usage();
        }
    }
    if (optind == argc - 2 && strcmp(argv[optind], "rescue") == 0) {
        return group_rescue(argv[optind + 1], phrase);
    }
    verb = optind == argc - 1 ? find_verb(argv[optind]) : NULL;
    if (verb == NULL || (verb->needs_member && args.member == NULL) ||
        (verb->needs_address && args.address == NULL)) {
        return wrong_usage();
    }
    return verb->code == REQ_RAFTMQ_GROUP_STATUS ? status(args.namesrv) : change(verb->code, &args);
}
