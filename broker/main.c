/* mqbroker: one member of a broker group. */
#include "broker/config.h"
#include "broker/include/broker/broker.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OVERRIDES_MAX 64

struct program {
    struct net_loop loop;
    struct broker *broker;
    uv_signal_t terminate, interrupt;
    bool stopping;
};

struct arguments {
    const char *conf;
    const char *overrides[OVERRIDES_MAX + 1];
    size_t n_overrides;
    bool print;
};

static void usage(FILE *to)
{
    fputs("usage: mqbroker [-c FILE] [-n NAMESRV] [-o KEY=VALUE]... [-p]\n"
          "  -c FILE       configuration, RocketMQ's keys (broker/README.md lists them)\n"
          "  -n NAMESRV    name servers, \"host:port;host:port\"; as -o namesrvAddr=...\n"
          "  -o KEY=VALUE  sets one key over the file\n"
          "  -p, -m        prints the configuration it would run with and exits\n"
          "  -h            this text\n"
          "  --version     the version\n",
          to);
}

static void on_broker_closed(void *data)
{
    struct program *program = data;

    program->broker = NULL;
    net_loop_stop(&program->loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct program *program = handle->data;

    if (program->stopping) {
        _exit(128 + number);
    }
    program->stopping = true;
    mq_log_info("broker", "signal %d: stopping; a second one ends the process at once", number);
    broker_close(program->broker, on_broker_closed, program);
}

static void add_override(struct arguments *args, const char *text)
{
    if (args->n_overrides == OVERRIDES_MAX) {
        fprintf(stderr, "mqbroker: more than %d -o\n", OVERRIDES_MAX);
        exit(1);
    }
    args->overrides[args->n_overrides++] = text;
}

static void parse(int argc, char **argv, struct arguments *args)
{
    static const struct option longs[] = {{"version", no_argument, NULL, 'V'}, {"help", no_argument, NULL, 'h'}, {0}};
    static char namesrv[1024];
    int c;

    while ((c = getopt_long(argc, argv, "c:n:o:phm", longs, NULL)) != -1) {
        switch (c) {
        case 'c':
            args->conf = optarg;
            break;
        case 'n':
            snprintf(namesrv, sizeof(namesrv), "namesrvAddr=%s", optarg);
            add_override(args, namesrv);
            break;
        case 'o':
            add_override(args, optarg);
            break;
        case 'p':
        case 'm': /* the original prints its important keys only; there are few enough here */
            args->print = true;
            break;
        case 'V':
            puts("mqbroker " RAFTMQ_VERSION);
            exit(0);
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(1);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "mqbroker: unexpected argument \"%s\"\n", argv[optind]);
        usage(stderr);
        exit(1);
    }
}

static int print_config(const struct arguments *args)
{
    struct broker_config config;
    struct mq_buf problem = {0}, out = {0};
    int rc = broker_config_load(&config, args->conf, args->overrides, &problem, &out);

    if (rc == 0) {
        out.len = 0;
        rc = mq_conf_print(broker_config_keys, &config, &out);
        fwrite(out.base, 1, out.len, stdout);
    } else {
        fprintf(stderr, "mqbroker: %.*s", (int)problem.len, (const char *)problem.base);
    }
    broker_config_free(&config);
    mq_buf_free(&problem);
    mq_buf_free(&out);
    return rc == 0 ? 0 : 1;
}

static void log_lines(struct mq_buf *lines)
{
    char *at = (char *)lines->base;
    char *end = at + lines->len;

    while (at < end) {
        char *eol = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((eol != NULL ? eol : end) - at);

        mq_log_warn("config", "%.*s", (int)n, at);
        at += n + 1;
    }
}

/* Before the broker opens, so that its recovery is in the log too. */
static int open_log_file(const struct arguments *args)
{
    struct broker_config config;
    struct mq_buf problem = {0}, warnings = {0};
    int rc = broker_config_load(&config, args->conf, args->overrides, &problem, &warnings);

    if (rc == 0 && config.log_file[0] != '\0') {
        rc = mq_log_open(config.log_file);
        if (rc != 0) {
            (void)mq_buf_printf(&problem, "logFile %s: %s\n", config.log_file, mq_strerror(rc));
        }
    }
    if (rc != 0) {
        fprintf(stderr, "mqbroker: %.*s", (int)problem.len, (const char *)problem.base);
    }
    broker_config_free(&config);
    mq_buf_free(&problem);
    mq_buf_free(&warnings);
    return rc;
}

/* Until a signal has stopped it. */
static void serve(struct program *program)
{
    uv_signal_init(&program->loop.uv, &program->terminate);
    uv_signal_init(&program->loop.uv, &program->interrupt);
    program->terminate.data = program;
    program->interrupt.data = program;
    uv_signal_start(&program->terminate, on_signal, SIGTERM);
    uv_signal_start(&program->interrupt, on_signal, SIGINT);
    printf("mqbroker ready %s\n", broker_ready_text(program->broker));
    fflush(stdout);
    net_loop_run(&program->loop);
    uv_close((uv_handle_t *)&program->terminate, NULL);
    uv_close((uv_handle_t *)&program->interrupt, NULL);
    uv_run(&program->loop.uv, UV_RUN_DEFAULT);
    mq_log_info("broker", "stopped");
}

static int run(const struct arguments *args)
{
    struct program program = {0};
    struct mq_buf problem = {0}, warnings = {0};
    int rc = net_loop_init(&program.loop);

    if (rc != 0) {
        fprintf(stderr, "mqbroker: %s\n", mq_strerror(rc));
        return 1;
    }
    rc = broker_open(&program.loop, args->conf, args->overrides, &program.broker, &problem, &warnings);
    log_lines(&warnings);
    if (rc == 0) {
        serve(&program);
    } else {
        fprintf(stderr, "mqbroker: %.*s", (int)problem.len, (const char *)problem.base);
    }
    net_loop_fini(&program.loop);
    mq_buf_free(&problem);
    mq_buf_free(&warnings);
    return rc == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct arguments args = {0};

    parse(argc, argv, &args);
    if (args.print) {
        return print_config(&args);
    }
    if (open_log_file(&args) != 0) {
        return 1;
    }
    return run(&args);
}
