/* raftmq transaction: what is open, as the leaders say (30010), and what was given up, which lies in a topic. */
#include "client/tools/tool.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/json.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/message.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 5000
#define DISCARD_TOPIC "TRANS_CHECK_MAX_TIME_TOPIC"

static const char usage_text[] =
    "usage: raftmq transaction open      [-n NAMESRV] [-b GROUP] [-g PRODUCERS]\n"
    "       raftmq transaction discarded [-n NAMESRV] [-c COUNT]\n"
    "  open       half messages that are neither committed nor rolled back, oldest first, one line each: the id of\n"
    "             the message (mqadmin queryMsgById -i shows it), how old it is, how often its producers were "
    "asked.\n"
    "  discarded  those that were asked about transactionCheckMax times without an answer: they have ended, and\n"
    "             nobody gets them. mqadmin resumeCheckHalfMessage -i ID makes one a half message again.\n"
    "  -n, --namesrv LIST     name servers, host:port;host:port (default 127.0.0.1:9876)\n"
    "  -b, --broker GROUP     only this broker group (its brokerName)\n"
    "  -g, --group PRODUCERS  only of this producer group\n"
    "  -c, --count N          at most so many of each broker group (default: all)\n";

struct arguments {
    const char *namesrv, *broker, *group;
    int64_t count;
};

/* ---- open ---- */

static void print_value(struct mq_str key, struct mq_str value)
{
    int64_t number;

    if (mq_str_eq(key, MQ_STR("bornTimestamp")) && mq_str_to_i64(value, &number) == 0) {
        printf(" ageSeconds=%" PRId64, (mq_clock_wall_ms() - number) / 1000);
    } else if (mq_str_eq(key, MQ_STR("nextCheck")) && mq_str_to_i64(value, &number) == 0) {
        number -= mq_clock_wall_ms();
        printf(" nextCheckSeconds=%" PRId64, number > 0 ? number / 1000 : 0);
    } else {
        printf(" " MQ_STR_FMT "=" MQ_STR_FMT, MQ_STR_ARG(key), MQ_STR_ARG(value));
    }
}

static int print_transaction(struct mq_json *json, const char *broker_name)
{
    printf("%s", broker_name);
    while (mq_json_next(json) == MQ_JSON_KEY) {
        struct mq_str key = json->text, value;

        if (mq_json_scalar(json, &value) != 0) {
            break;
        }
        print_value(key, value);
    }
    putchar('\n');
    return json->kind == MQ_JSON_OBJECT_END ? 0 : MQ_EBADMSG;
}

static int print_transactions(struct mq_json *json, const char *broker_name)
{
    int rc = mq_json_next(json) == MQ_JSON_ARRAY_BEGIN ? 0 : MQ_EBADMSG;

    while (rc == 0 && mq_json_next(json) == MQ_JSON_OBJECT_BEGIN) {
        rc = print_transaction(json, broker_name);
    }
    return rc == 0 && json->kind == MQ_JSON_ARRAY_END ? 0 : MQ_EBADMSG;
}

/* A page. @next: where the one behind it begins, -1: nowhere. */
static int print_page(const struct tool_answer *answer, const char *broker_name, int64_t *next)
{
    struct mq_json json;
    struct mq_str value;
    int rc;

    *next = -1;
    mq_json_init(&json, (char *)answer->body.base, answer->body.len);
    rc = mq_json_next(&json) == MQ_JSON_OBJECT_BEGIN ? 0 : MQ_EBADMSG;
    while (rc == 0 && mq_json_next(&json) == MQ_JSON_KEY) {
        if (mq_str_eq(json.text, MQ_STR("transactions"))) {
            rc = print_transactions(&json, broker_name);
        } else if (mq_str_eq(json.text, MQ_STR("next"))) {
            rc = mq_json_scalar(&json, &value);
            rc = rc == 0 ? mq_str_to_i64(value, next) : rc;
        } else {
            rc = mq_json_skip(&json);
        }
    }
    return rc == 0 && json.kind == MQ_JSON_OBJECT_END ? 0 : MQ_EBADMSG;
}

/* All pages of one leader. */
static int list_open(struct tool *tool, const struct rmq_member *leader, const struct arguments *args)
{
    int64_t next = 0;
    bool good = true;

    while (good && next >= 0) {
        char from[32];
        struct rmq_field fields[2] = {{"from", from}, {"producerGroup", args->group}};
        struct tool_answer answer;

        snprintf(from, sizeof(from), "%" PRId64, next);
        tool_ask(tool, leader->addr, REQ_RAFTMQ_TRANSACTION_LIST, fields, args->group != NULL ? 2 : 1, ANSWER_MS,
                 &answer);
        good = answer.status == 0 && answer.code == RESP_SUCCESS;
        if (answer.status != 0) {
            tool_fail("transaction", "%s: %s", leader->addr, mq_strerror(answer.status));
        } else if (!good) {
            tool_fail("transaction", "%s: code %d " MQ_STR_FMT, leader->addr, answer.code,
                      MQ_STR_ARG(mq_buf_str(&answer.remark)));
        } else if (print_page(&answer, leader->broker_name, &next) != 0) {
            tool_fail("transaction", "%s: the answer cannot be read", leader->addr);
            good = false;
        }
        tool_answer_free(&answer);
    }
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int print_open(struct tool *tool, const struct arguments *args)
{
    struct tool_members members;
    int result = EXIT_SUCCESS;
    uint32_t leaders = 0;
    int rc = tool_members(tool, &members);

    for (uint32_t i = 0; rc == 0 && i < members.n; i++) {
        const struct rmq_member *member = &members.list[i];

        if (member->broker_id == 0 && (args->broker == NULL || strcmp(args->broker, member->broker_name) == 0)) {
            leaders++;
            result = list_open(tool, member, args) == EXIT_SUCCESS ? result : EXIT_FAILURE;
        }
    }
    tool_members_free(&members);
    if (rc != 0) {
        return tool_fail("transaction", "no name server of \"%s\" answers: %s", args->namesrv, mq_strerror(rc));
    }
    return leaders > 0 ? result
                       : tool_fail("transaction", "no leader of %s is registered",
                                   args->broker != NULL ? args->broker : "a group");
}

/* ---- discarded ---- */

struct discarded {
    const char *broker; /* NULL: all */
};

static void print_discarded(void *data, struct mq_str broker_name, const struct proto_record *record)
{
    const struct discarded *wanted = data;
    char id[PROTO_MSG_ID_MAX];
    size_t n = proto_offset_msg_id(&record->store_host, record->pos, id);

    if (wanted->broker != NULL && !mq_str_eq(broker_name, mq_str_of(wanted->broker))) {
        return;
    }
    printf(MQ_STR_FMT " producerGroup=" MQ_STR_FMT " offsetMsgId=%.*s topic=" MQ_STR_FMT " msgId=" MQ_STR_FMT
                      " ageSeconds=%" PRId64 "\n",
           MQ_STR_ARG(broker_name), MQ_STR_ARG(proto_properties_get(record->properties, PROTO_PROP_PRODUCER_GROUP)),
           (int)n, id, MQ_STR_ARG(proto_properties_get(record->properties, PROTO_PROP_REAL_TOPIC)),
           MQ_STR_ARG(proto_properties_get(record->properties, PROTO_PROP_UNIQ_KEY)),
           (mq_clock_wall_ms() - record->born_ms) / 1000);
}

/* The topic comes to be with the first that is discarded: without a route there is none. */
static int list_discarded(struct tool *tool, const struct arguments *args)
{
    struct discarded wanted = {args->broker};
    const struct tool_range range = {.command = "transaction",
                                     .topic = DISCARD_TOPIC,
                                     .queue = -1,
                                     .count = args->count,
                                     .take = print_discarded,
                                     .data = &wanted};
    int rc = tool_read_topic(tool, &range);

    return rc == 0 || rc == MQ_ENOTFOUND
               ? EXIT_SUCCESS
               : tool_fail("transaction", "topic %s at %s: %s", DISCARD_TOPIC, args->namesrv, mq_strerror(rc));
}

/* ---- the command ---- */

static int wrong_usage(void)
{
    fputs(usage_text, stderr);
    return 2;
}

static int run(const char *verb, const struct arguments *args)
{
    struct rmq_options options = {.namesrv = args->namesrv};
    bool is_open = strcmp(verb, "open") == 0;
    struct tool tool;
    int result, rc;

    if (!is_open && strcmp(verb, "discarded") != 0) {
        return wrong_usage();
    }
    rc = tool_open(&tool, &options);
    if (rc != 0) {
        return tool_fail("transaction", "name servers \"%s\": %s", args->namesrv, mq_strerror(rc));
    }
    result = is_open ? print_open(&tool, args) : list_discarded(&tool, args);
    tool_close(&tool);
    return result;
}

int cmd_transaction(int argc, char **argv)
{
    static const struct option longs[] = {
        {"namesrv", required_argument, NULL, 'n'}, {"broker", required_argument, NULL, 'b'},
        {"group", required_argument, NULL, 'g'},   {"count", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},          {0}};
    struct arguments args = {.namesrv = "127.0.0.1:9876", .count = INT64_MAX};
    int c;

    while ((c = getopt_long(argc, argv, "n:b:g:c:h", longs, NULL)) != -1) {
        switch (c) {
        case 'n':
            args.namesrv = optarg;
            break;
        case 'b':
            args.broker = optarg;
            break;
        case 'g':
            args.group = optarg;
            break;
        case 'c':
            if (!tool_number("transaction", "-c", optarg, 1, INT64_MAX, &args.count)) {
                return 2;
            }
            break;
        case 'h':
            fputs(usage_text, stdout);
            return 0;
        default:
            return wrong_usage();
        }
    }
    return optind == argc - 1 ? run(argv[optind], &args) : wrong_usage();
}
