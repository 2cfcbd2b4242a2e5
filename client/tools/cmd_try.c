/* raftmq try: the whole promise in ten seconds, with real processes.
 *
 *   prepare -> name server -> three brokers, one leads -> topic -> send and read -> half way: kill -9 the leader ->
 * the next acknowledgement -> start it again -> all sent -> all read -> all members applied the same -> account ->
 * clean up
 *
 * Every step has a deadline; what does not come is the reason of FAIL. */
#include "client/tools/account.h"
#include "client/tools/try_group.h"
#include "client/tools/try_load.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/stats.h"
#include "remoting/protocol/codes.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLL_MS 10
#define ASK_MS 500
#define READY_MS 15000
#define TRAFFIC_MS 60000
#define CATCH_UP_MS 30000
#define PROGRESS_MS 100
#define TOPIC "RaftMqTry"

static const char usage_text[] =
    "usage: raftmq try [OPTION]...\n"
    "  Starts a name server and a group of three brokers on 127.0.0.1, sends and reads, kills the leader with -9 "
    "half way,\n"
    "  starts it again, and accounts for every message. The last line is PASS or FAIL; the exit status is 0 or 1.\n"
    "      --messages N   how many are sent (default 100000)\n"
    "      --dir DIR      where data and logs go (default ./raftmq-try); removed at the end unless something failed\n"
    "      --port-base N  port of the name server; brokers use N + 1035 and following (default 19876, 20911...)\n"
    "      --keep         leave the group running and say how to use it\n";

struct try_run {
    struct tool tool;
    struct try_group group;
    struct try_load load;
    int64_t messages;
    bool keep;
    uv_signal_t on_int, on_term;
    bool interrupted;
    char why[256]; /* of FAIL */
    uint64_t progress_ms;
    bool progress; /* a progress line is on the terminal */
    bool complete; /* all was sent and read: the account is final */
    int leader, killed;
};

static bool fail(struct try_run *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct try_run *run, const char *fmt, ...)
{
    va_list args;

    if (run->why[0] == '\0') {
        va_start(args, fmt);
        vsnprintf(run->why, sizeof(run->why), fmt, args);
        va_end(args);
    }
    return false;
}

static void clear_progress(struct try_run *run)
{
    if (run->progress) {
        fputs("\r\033[K", stderr);
        run->progress = false;
    }
}

static void show_progress(struct try_run *run)
{
    const struct try_load *l = &run->load;
    uint64_t now_ms = mq_clock_mono_ms();

    if (!isatty(STDERR_FILENO) || now_ms < run->progress_ms || l->wanted == 0) {
        return;
    }
    run->progress_ms = now_ms + PROGRESS_MS;
    run->progress = true;
    fprintf(stderr,
            "\r\033[Ksent %" PRIu64 " of %" PRIu64 "  acknowledged %" PRIu64 "  unknown %" PRIu64 "  read %" PRIu64,
            l->started, l->wanted, l->acknowledged, l->unknown, l->consumed);
}

static void say(struct try_run *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct try_run *run, const char *fmt, ...)
{
    va_list args;

    clear_progress(run);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

/* A process that ended by itself is the reason of everything that follows. */
static bool check_processes(struct try_run *run)
{
    for (int i = -1; i < TRY_BROKERS; i++) {
        struct process *p = i < 0 ? &run->group.namesrv : &run->group.brokers[i];
        int how = 0;

        if (p->pid != 0 && !process_running(p, &how)) {
            clear_progress(run);
            try_group_show_log(&run->group, p->name);
            return fail(run, "%s %s ended by itself (%s %d)", p->program, p->name,
                        WIFSIGNALED(how) ? "signal" : "status", WIFSIGNALED(how) ? WTERMSIG(how) : WEXITSTATUS(how));
        }
    }
    return !run->interrupted || fail(run, "interrupted");
}

/* Runs the loop a little; false when it is time to give up. */
static bool pause_for(struct try_run *run, uint64_t end_ms, const char *what)
{
    tool_wait(&run->tool, &run->interrupted, POLL_MS);
    show_progress(run);
    if (!check_processes(run)) {
        return false;
    }
    return mq_clock_mono_ms() < end_ms ||
           fail(run, "waited too long for %s%s%s", what, run->load.last_trouble[0] != '\0' ? "; last trouble: " : "",
                run->load.last_trouble);
}

static bool await_namesrv(struct try_run *run)
{
    uint64_t end_ms = mq_clock_mono_ms() + READY_MS;

    for (;;) {
        struct tool_members members;
        int rc = tool_members(&run->tool, &members);

        tool_members_free(&members);
        if (rc == 0) {
            break;
        }
        if (!pause_for(run, end_ms, "the name server")) {
            return false;
        }
    }
    say(run, "  %-8s %-9s %-16s pid %-7d ready after %4" PRIu64 " ms", run->group.namesrv.name,
        run->group.namesrv.program, run->group.namesrv.addr, run->group.namesrv.pid,
        mq_clock_mono_ms() - run->group.namesrv.started_ms);
    return true;
}

/* The address that the name server has for id 0, as the number of a broker, or -1. */
static int registered_leader(struct try_run *run)
{
    struct tool_members members;
    int found = -1;

    if (tool_members(&run->tool, &members) == 0) {
        for (uint32_t i = 0; i < members.n; i++) {
            for (int k = 0; k < TRY_BROKERS; k++) {
                if (members.list[i].broker_id == 0 && strcmp(members.list[i].addr, run->group.brokers[k].addr) == 0) {
                    found = k;
                }
            }
        }
    }
    tool_members_free(&members);
    return found;
}

static bool await_group(struct try_run *run)
{
    uint64_t end_ms = mq_clock_mono_ms() + READY_MS;
    uint64_t ready_ms[TRY_BROKERS] = {0};
    struct try_status status[TRY_BROKERS];
    int ready;

    do {
        ready = 0;
        run->leader = -1;
        for (int i = 0; i < TRY_BROKERS; i++) {
            try_group_ask(&run->group, &run->tool, i, ASK_MS, &status[i]);
            ready += status[i].answered;
            if (status[i].answered && ready_ms[i] == 0) {
                ready_ms[i] = mq_clock_mono_ms() - run->group.brokers[i].started_ms;
            }
            if (status[i].answered && strcmp(status[i].role, "leader") == 0) {
                run->leader = i;
            }
        }
        if (ready == TRY_BROKERS && run->leader >= 0 && registered_leader(run) == run->leader) {
            break;
        }
    } while (pause_for(run, end_ms, "a leader that the name server knows"));
    if (run->why[0] != '\0') {
        return false;
    }
    ready_ms[run->leader] = mq_clock_mono_ms() - run->group.brokers[run->leader].started_ms;
    for (int i = 0; i < TRY_BROKERS; i++) {
        const struct process *p = &run->group.brokers[i];

        say(run, "  %-8s %-9s %-16s pid %-7d ready after %4" PRIu64 " ms  %s", p->name, p->program, p->addr, p->pid,
            ready_ms[i], status[i].role);
    }
    return true;
}

static bool start_group(struct try_run *run)
{
    if (!try_group_start_namesrv(&run->group) || !await_namesrv(run)) {
        return fail(run, "the name server did not start");
    }
    for (int i = 0; i < TRY_BROKERS; i++) {
        if (!try_group_start_broker(&run->group, i)) {
            return fail(run, "broker n%d did not start", i);
        }
    }
    return await_group(run);
}

static void on_route(void *data, int status, const struct rmq_queue *queues, uint32_t n)
{
    struct try_load *load = data;

    if (status == 0 && n != 0) {
        snprintf(load->broker_name, sizeof(load->broker_name), "%s", queues[0].broker_name);
    }
    load->sent = true; /* the wait below is over */
}

static bool make_topic(struct try_run *run)
{
    struct try_load *load = &run->load;
    struct mq_buf remark = {0};
    uint32_t queues = 0;
    int rc = tool_topic_make(&run->tool, TOPIC, TRY_QUEUES, READY_MS, &remark, &queues);

    if (rc != 0 || queues != TRY_QUEUES) {
        fail(run, "topic " TOPIC ": %s, %u queues " MQ_STR_FMT, mq_strerror(rc), queues,
             MQ_STR_ARG(mq_buf_str(&remark)));
    } else if (rmq_route(run->tool.client, MQ_STR(TOPIC), false, false, on_route, load) == 0) {
        tool_wait(&run->tool, &load->sent, READY_MS);
    }
    load->sent = false;
    mq_buf_free(&remark);
    return run->why[0] == '\0' && (load->broker_name[0] != '\0' || fail(run, "topic " TOPIC " has no route"));
}

/* From within the traffic, so that as many sends as can be are under way. */
static void kill_leader(void *data)
{
    struct try_run *run = data;
    struct process *p = &run->group.brokers[run->leader];
    int pid = p->pid;

    run->killed = run->leader;
    try_load_killed(&run->load);
    process_signal(p, SIGKILL);
    process_wait(p, ASK_MS);
    say(run, "kill -9 %d: %s, the leader, after %" PRIu64 " messages", pid, p->name, run->load.started);
}

/* Sends and reads through the failure, until everything is sent and the node is up again. */
static bool run_traffic(struct try_run *run)
{
    struct try_load *load = &run->load;
    uint64_t end_ms = mq_clock_mono_ms() + TRAFFIC_MS;
    bool restarted = false;

    load->wanted = (uint64_t)run->messages;
    load->at_half = kill_leader;
    load->data = run;
    try_load_start(load);
    while (!load->sent || !restarted) {
        if (!pause_for(run, end_ms, "the sends to end")) {
            return false;
        }
        if (load->broken) {
            return fail(run, "no memory for the account");
        }
        if (load->recovered && !restarted) {
            say(run, "failover: %" PRIu64 " ms from the kill to the next acknowledged send",
                (load->recovered_ns - load->killed_ns) / 1000000);
            restarted = true;
            if (!try_group_start_broker(&run->group, run->killed)) {
                return fail(run, "broker n%d did not start again", run->killed);
            }
        }
        if (load->sent && !load->recovered) {
            return fail(run, "no send was acknowledged after the kill; last trouble: %s", load->last_trouble);
        }
    }
    return true;
}

/* The offset behind the last message of the queue, from the leader; -1 when it does not answer. */
static int64_t max_offset(struct try_run *run, int queue)
{
    char number[16];
    const struct rmq_field fields[] = {{"topic", TOPIC}, {"queueId", number}};
    struct tool_answer answer;
    int64_t offset = -1;

    snprintf(number, sizeof(number), "%d", queue);
    tool_ask_field(&run->tool, run->group.brokers[run->leader].addr, REQ_GET_MAX_OFFSET, fields, 2, ASK_MS, "offset",
                   &offset, &answer);
    tool_answer_free(&answer);
    return offset;
}

static bool find_leader(struct try_run *run)
{
    run->leader = -1;
    for (int i = 0; i < TRY_BROKERS; i++) {
        struct try_status status;

        try_group_ask(&run->group, &run->tool, i, ASK_MS, &status);
        if (status.answered && strcmp(status.role, "leader") == 0) {
            run->leader = i;
        }
    }
    return run->leader >= 0;
}

/* Until the readers stand where the leader says that the queues end. */
static bool read_rest(struct try_run *run)
{
    uint64_t end_ms = mq_clock_mono_ms() + CATCH_UP_MS;
    int queue = 0;

    while (queue < TRY_QUEUES) {
        int64_t end = find_leader(run) ? max_offset(run, queue) : -1;

        if (end >= 0 && account_next_qoff(run->load.account, (uint32_t)queue) >= end) {
            queue++;
        } else if (!pause_for(run, end_ms, "the readers to reach the end")) {
            return false;
        }
    }
    return true;
}

/* Until every member applied what the leader committed; then their states must be the same. */
static bool await_caught_up(struct try_run *run)
{
    struct process *p = &run->group.brokers[run->killed];
    uint64_t end_ms = mq_clock_mono_ms() + CATCH_UP_MS;
    struct try_status status[TRY_BROKERS];
    bool same;

    do {
        same = find_leader(run);
        for (int i = 0; i < TRY_BROKERS; i++) {
            try_group_ask(&run->group, &run->tool, i, ASK_MS, &status[i]);
            same = same && status[i].answered;
        }
        for (int i = 0; i < TRY_BROKERS && same; i++) {
            same = status[i].applied_index == status[run->leader].commit_index &&
                   status[i].applied_pos == status[run->leader].end_pos;
        }
    } while (!same && pause_for(run, end_ms, "the restarted node to catch up"));
    if (!same) {
        return false;
    }
    say(run,
        "%s is up again as %s and has applied the same %" PRIu64 " entries as the leader, %" PRIu64
        " ms after its start",
        p->name, status[run->killed].role, status[run->killed].applied_index, mq_clock_mono_ms() - p->started_ms);
    for (int i = 1; i < TRY_BROKERS; i++) {
        if (strcmp(status[i].state_hash, status[0].state_hash) != 0) {
            return fail(run, "the states of n0 and n%d differ after the same entries: %s and %s", i,
                        status[0].state_hash, status[i].state_hash);
        }
    }
    return true;
}

static void print_memory(struct try_run *run)
{
    say(run, "memory (its own, without the mapped log | all that is resident):");
    for (int i = -1; i < TRY_BROKERS; i++) {
        const struct process *p = i < 0 ? &run->group.namesrv : &run->group.brokers[i];
        uint64_t own, all;

        if (p->pid != 0 && mq_process_memory(p->pid, &own, &all) == 0) {
            say(run, "  %-8s %6.1f MiB | %6.1f MiB", p->name, (double)own / 1048576, (double)all / 1048576);
        }
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct try_run *run = handle->data;

    (void)number;
    run->interrupted = true;
}

static void watch_signals(struct try_run *run)
{
    uv_signal_init(&run->tool.loop.uv, &run->on_int);
    uv_signal_init(&run->tool.loop.uv, &run->on_term);
    run->on_int.data = run->on_term.data = run;
    uv_signal_start(&run->on_int, on_signal, SIGINT);
    uv_signal_start(&run->on_term, on_signal, SIGTERM);
}

static bool print_account(struct try_run *run, struct account_verdict *v)
{
    account_verdict(run->load.account, v);
    if (!run->complete) {
        return false; /* what was not read yet would count as lost */
    }
    say(run,
        "sent %" PRIu64 ": acknowledged %" PRIu64 ", refused %" PRIu64 ", unknown %" PRIu64
        " (of which stored %" PRIu64 ")\nconsumed %" PRIu64 ", lost %" PRIu64 ", duplicated %" PRIu64
        ", out of order %" PRIu64 ", at another offset than acknowledged %" PRIu64 ", never sent %" PRIu64
        ", gaps in queue offsets %" PRIu64,
        v->started, v->acknowledged, v->refused, v->unknown, v->unknown_stored, v->consumed, v->lost, v->duplicated,
        v->reordered, v->moved, v->phantom, v->gaps);
    return account_passes(v) || fail(run, "the account does not hold");
}

/* The whole story; false with the reason in why. */
static bool play(struct try_run *run, struct account_verdict *verdict)
{
    bool good;

    say(run, "starting in %s:", run->group.dir);
    if (!start_group(run) || !make_topic(run)) {
        return false;
    }
    say(run, "sending %" PRId64 " messages over %d queues and reading them", run->messages, TRY_QUEUES);
    run->complete = run_traffic(run) && read_rest(run);
    good = run->complete && await_caught_up(run);
    clear_progress(run);
    print_memory(run);
    try_load_stop(&run->load);
    return print_account(run, verdict) && good;
}

static void say_how_to_use(struct try_run *run)
{
    char pids[128] = "";

    for (int i = -1; i < TRY_BROKERS; i++) {
        const struct process *p = i < 0 ? &run->group.namesrv : &run->group.brokers[i];
        size_t n = strlen(pids);

        snprintf(pids + n, sizeof(pids) - n, " %d", p->pid);
    }
    say(run,
        "the group stays up: give any RocketMQ client the name server %s\n"
        "  raftmq group status -n %s\n  raftmq bench producer -n %s -y\n  end it with: kill%s   (data in %s)",
        run->group.namesrv.addr, run->group.namesrv.addr, run->group.namesrv.addr, pids, run->group.dir);
}

static int conclude(struct try_run *run, bool good, const struct account_verdict *v)
{
    uint64_t failover_ms = (run->load.recovered_ns - run->load.killed_ns) / 1000000;

    clear_progress(run);
    if (good && run->keep) {
        say_how_to_use(run);
    } else {
        try_group_stop(&run->group, !good && !run->interrupted);
        if (!good && !run->interrupted) {
            say(run, "data and logs are kept in %s", run->group.dir);
        }
    }
    if (!good && !run->complete) {
        printf("FAIL %s; the account is not complete: acknowledged=%" PRIu64 " consumed=%" PRIu64 "\n", run->why,
               v->acknowledged, v->consumed);
        return run->interrupted ? 130 : EXIT_FAILURE;
    }
    if (!good) {
        printf("FAIL %s; acknowledged=%" PRIu64 " consumed=%" PRIu64 " lost=%" PRIu64 " reordered=%" PRIu64 "\n",
               run->why, v->acknowledged, v->consumed, v->lost, v->reordered);
        return EXIT_FAILURE;
    }
    printf("PASS acknowledged=%" PRIu64 " consumed=%" PRIu64 " lost=%" PRIu64 " reordered=%" PRIu64
           " failover_ms=%" PRIu64 "\n",
           v->acknowledged, v->consumed, v->lost, v->reordered, failover_ms);
    return EXIT_SUCCESS;
}

static int run_try(struct try_run *run)
{
    char namesrv[32];
    struct rmq_options options = {.namesrv = namesrv, .group = "RAFTMQ_TRY"};
    struct account_verdict verdict = {0};
    bool good;
    int rc, result;

    snprintf(namesrv, sizeof(namesrv), "127.0.0.1:%d", run->group.port_base);
    if (!try_group_prepare(&run->group)) {
        puts("FAIL nothing was started");
        return EXIT_FAILURE;
    }
    rc = tool_open(&run->tool, &options);
    if (rc != 0) {
        return tool_fail("try", "%s", mq_strerror(rc));
    }
    run->load.tool = &run->tool;
    run->load.topic = TOPIC;
    run->load.account = account_new(TRY_QUEUES);
    watch_signals(run);
    good = run->load.account != NULL && play(run, &verdict);
    uv_close((uv_handle_t *)&run->on_int, NULL);
    uv_close((uv_handle_t *)&run->on_term, NULL);
    tool_close(&run->tool);
    result = conclude(run, good, &verdict);
    account_free(run->load.account);
    return result;
}

int cmd_try(int argc, char **argv)
{
    enum { OPT_MESSAGES = 256, OPT_DIR, OPT_PORT, OPT_KEEP };
    static const struct option longs[] = {{"messages", required_argument, NULL, OPT_MESSAGES},
                                          {"dir", required_argument, NULL, OPT_DIR},
                                          {"port-base", required_argument, NULL, OPT_PORT},
                                          {"keep", no_argument, NULL, OPT_KEEP},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    static struct try_run run = {.messages = 100000, .group = {.dir = "raftmq-try", .port_base = 19876}};
    int64_t port = run.group.port_base;
    bool good = true;
    int c;

    while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1 && good) {
        if (c == OPT_MESSAGES) {
            good = tool_number("try", "--messages", optarg, 1000, 100000000, &run.messages);
        } else if (c == OPT_PORT) {
            good = tool_number("try", "--port-base", optarg, 1024, 64000, &port);
        } else if (c == OPT_DIR) {
            run.group.dir = optarg;
        } else if (c == OPT_KEEP) {
            run.keep = run.group.leave = true;
        } else {
            fputs(usage_text, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    run.group.port_base = (int)port;
    if (!good || optind != argc) {
        fputs(usage_text, stderr);
        return 2;
    }
    return run_try(&run);
}
