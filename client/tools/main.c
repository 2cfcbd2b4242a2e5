/* raftmq: the tool beside the broker. A table of commands, each in a file of its own. */
#include "client/tools/tool.h"
#include "remoting/base/assert.h"
#include "remoting/base/log.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"try", cmd_try, "start a group of three, kill its leader under load, account for every message"},
    {"bench", cmd_bench, "measure sends or pulls of any cluster that speaks RocketMQ's protocol"},
    {"group", cmd_group, "group status|add|promote|remove|replace|transfer|rescue: who belongs to a broker group"},
    {"log", cmd_log, "log dump|verify: the entries in a node's files, read without the node"},
    {"send", cmd_send, "send one message, or one for each line of standard input"},
    {"get", cmd_get, "print the messages of a topic"},
    {"transaction", cmd_transaction,
     "transaction open|discarded: half messages that wait for their producers, and given up"},
};

static void usage(FILE *out)
{
    fputs("usage: raftmq COMMAND [OPTION]...   (raftmq COMMAND --help tells more)\n\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].what);
    }
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    mq_log_set_level(MQ_LOG_ERROR);
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("raftmq " RAFTMQ_VERSION);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "raftmq: no command \"%s\"\n", argv[1]);
    usage(stderr);
    return 2;
}
