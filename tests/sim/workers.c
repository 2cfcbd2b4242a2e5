/* Each worker has a pipe on which it writes a result for each of its seeds. A worker that ends early, or says nothing
 * for too long, has failed in the seed that comes next; another one takes over behind it. */
#include "tests/sim/workers.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS_MAX 64
#define PROGRESS_S 3
#define SEED_S_MAX 120 /* real time */

struct worker {
    pid_t pid; /* 0: none */
    int fd;
    uint64_t next, end, step; /* seeds it has still to report */
    time_t heard;
};

/* clock_gettime is the world's. */
static time_t now_s(void)
{
    struct timeval now;

    gettimeofday(&now, NULL);
    return now.tv_sec;
}

static void work(const struct worker *worker, const struct workers_options *options, int fd)
{
    for (uint64_t seed = worker->next; seed < worker->end; seed += worker->step) {
        struct run_result result;

        run_seed(seed, &result);
        if (write(fd, &result, sizeof(result)) != (ssize_t)sizeof(result) ||
            (options->stop_at_failure && !result.ok)) {
            break;
        }
    }
}

static int start(struct worker *worker, const struct workers_options *options)
{
    int ends[2];

    worker->pid = 0;
    if (worker->next >= worker->end) {
        return 0;
    }
    if (pipe(ends) != 0) {
        return -errno;
    }
    fflush(stdout);
    worker->pid = fork();
    if (worker->pid < 0) {
        return -errno;
    }
    if (worker->pid == 0) {
        close(ends[0]);
        if (options->prepare != NULL) {
            options->prepare(options->data);
        }
        work(worker, options, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    worker->fd = ends[0];
    worker->heard = now_s();
    return 0;
}

static bool read_result(int fd, struct run_result *out)
{
    size_t done = 0;

    while (done < sizeof(*out)) {
        ssize_t n = read(fd, (char *)out + done, sizeof(*out) - done);

        if (n <= 0) {
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

static void end(struct worker *worker, int *status)
{
    close(worker->fd);
    waitpid(worker->pid, status, 0);
    worker->pid = 0;
}

/* It has ended without a result, or was ended for saying nothing. */
static void died(struct worker *worker, const struct workers_options *options)
{
    struct run_result result = {.seed = worker->next};
    int status = 0;

    end(worker, &status);
    if (worker->next >= worker->end) {
        return; /* all done */
    }
    snprintf(result.failure, sizeof(result.failure), "crash: the simulator was ended by signal %d",
             WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    options->each(options->data, &result);
    worker->next += worker->step;
}

/* Returns whether all is to end. */
static bool hear(struct worker *worker, const struct workers_options *options)
{
    struct run_result result;

    if (!read_result(worker->fd, &result)) {
        uint64_t before = worker->next;

        died(worker, options);
        return worker->next != before && (options->stop_at_failure || start(worker, options) != 0);
    }
    worker->heard = now_s();
    worker->next += worker->step;
    options->each(options->data, &result);
    return options->stop_at_failure && !result.ok;
}

static void look_for_hangs(struct worker *workers, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (workers[i].pid != 0 && now_s() - workers[i].heard > SEED_S_MAX) {
            kill(workers[i].pid, SIGKILL); /* its pipe says so */
            workers[i].heard = now_s();
        }
    }
}

int workers_run(const struct workers_options *options)
{
    struct worker workers[JOBS_MAX];
    struct pollfd polls[JOBS_MAX];
    uint32_t jobs = options->jobs < JOBS_MAX ? options->jobs : JOBS_MAX;
    time_t told = now_s();
    bool stop = false;
    uint32_t alive;

    memset(workers, 0, sizeof(workers));
    for (uint32_t i = 0; i < jobs; i++) {
        int rc;

        workers[i] = (struct worker){.next = options->first + i, .end = options->first + options->n, .step = jobs};
        rc = start(&workers[i], options);
        if (rc != 0) {
            return rc;
        }
    }
    do {
        alive = 0;
        for (uint32_t i = 0; i < jobs; i++) {
            polls[i] = (struct pollfd){workers[i].pid != 0 ? workers[i].fd : -1, POLLIN, 0};
            alive += workers[i].pid != 0;
        }
        if (alive == 0) {
            break;
        }
        (void)poll(polls, jobs, 500);
        for (uint32_t i = 0; i < jobs && !stop; i++) {
            if (workers[i].pid != 0 && polls[i].revents != 0) {
                stop = hear(&workers[i], options);
            }
        }
        look_for_hangs(workers, jobs);
        if (options->progress != NULL && now_s() - told >= PROGRESS_S) {
            told = now_s();
            options->progress(options->data);
        }
    } while (!stop);
    for (uint32_t i = 0; i < jobs; i++) {
        if (workers[i].pid != 0) {
            int status;

            kill(workers[i].pid, SIGKILL);
            end(&workers[i], &status);
        }
    }
    return 0;
}
