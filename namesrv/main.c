/* mqnamesrv: reads its configuration, serves until SIGTERM or SIGINT, exits with 0 then and with 1 when it could not
 * start. One line on standard output tells that it is ready. */
#include "namesrv/config.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct program {
    struct net_loop loop;
    struct namesrv_config config;
    struct namesrv *server;
    uv_signal_t on_term, on_int;
    bool stopping;
};

static int fail(const struct mq_buf *problem, int rc)
{
    if (problem->len != 0) {
        fprintf(stderr, "mqnamesrv: " MQ_STR_FMT, MQ_STR_ARG(mq_buf_str(problem)));
    } else {
        fprintf(stderr, "mqnamesrv: %s\n", mq_strerror(rc));
    }
    return EXIT_FAILURE;
}

static void on_stopped(void *data)
{
    (void)data;
    mq_log_info("main", "stopped");
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct program *p = handle->data;

    if (p->stopping) {
        return;
    }
    p->stopping = true;
    mq_log_info("main", "stopping signal=%d", number);
    namesrv_close(p->server, on_stopped, p);
    uv_close((uv_handle_t *)&p->on_term, NULL);
    uv_close((uv_handle_t *)&p->on_int, NULL);
}

static void watch_signal(struct program *p, uv_signal_t *handle, int number)
{
    uv_signal_init(&p->loop.uv, handle);
    handle->data = p;
    uv_signal_start(handle, on_signal, number);
}

static int serve(struct program *p, uint64_t started_ms)
{
    struct mq_buf problem = {0};
    int rc = net_loop_init(&p->loop);

    if (rc != 0) {
        return fail(&problem, rc);
    }
    rc = namesrv_open(&p->loop, &p->config, &p->server, &problem);
    if (rc == 0) {
        watch_signal(p, &p->on_term, SIGTERM);
        watch_signal(p, &p->on_int, SIGINT);
        printf("mqnamesrv ready listen=%s:%d pid=%d ready_ms=%" PRIu64 "\n", p->config.bind_address,
               namesrv_port(p->server), (int)getpid(), mq_clock_mono_ms() - started_ms);
        fflush(stdout);
        rc = net_loop_run(&p->loop);
    } else {
        fail(&problem, rc);
    }
    net_loop_fini(&p->loop);
    mq_buf_free(&problem);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int print_config(const struct namesrv_config *config)
{
    struct mq_buf text = {0};
    int rc = mq_conf_print(namesrv_config_keys, config, &text);

    if (rc == 0) {
        fwrite(text.base, 1, text.len, stdout);
    }
    mq_buf_free(&text);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(struct program *p, int argc, char **argv, uint64_t started_ms)
{
    struct namesrv_command_line line = {0};
    struct mq_buf problem = {0}, warnings = {0};
    int rc = namesrv_config_parse(argc, argv, &p->config, &line, &problem, &warnings);
    int status;

    if (warnings.len != 0) {
        fprintf(stderr, MQ_STR_FMT, MQ_STR_ARG(mq_buf_str(&warnings)));
    }
    if (line.help || line.version) {
        fputs(line.help ? namesrv_usage : "mqnamesrv " NAMESRV_VERSION "\n", stdout);
        status = EXIT_SUCCESS;
    } else if (rc != 0) {
        status = fail(&problem, rc);
    } else if (line.print) {
        status = print_config(&p->config);
    } else if (p->config.log_file != NULL && p->config.log_file[0] != '\0' &&
               (rc = mq_log_open(p->config.log_file)) != 0) {
        fprintf(stderr, "mqnamesrv: logFile %s: %s\n", p->config.log_file, mq_strerror(rc));
        status = EXIT_FAILURE;
    } else {
        mq_log_set_level((enum mq_log_level)p->config.log_level);
        status = serve(p, started_ms);
    }
    mq_buf_free(&problem);
    mq_buf_free(&warnings);
    return status;
}

int main(int argc, char **argv)
{
    uint64_t started_ms = mq_clock_mono_ms();
    struct program p = {0};
    int status;

    signal(SIGPIPE, SIG_IGN);
    if (namesrv_config_init(&p.config) != 0) {
        return fail(&(struct mq_buf){0}, MQ_ENOMEM);
    }
    status = run(&p, argc, argv, started_ms);
    namesrv_config_fini(&p.config);
    return status;
}
