#include "tests/lib/process.h"

#include "remoting/base/clock.h"
#include "remoting/base/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 2
#define TEXT_BYTES_MAX 65536

void test_sleep_ms(uint32_t ms)
{
    struct timespec left = {ms / 1000, (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

_Noreturn static void run_child(pid_t parent, const char *log, char *const argv[])
{
    int in = open("/dev/null", O_RDONLY);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || in < 0 || out < 0) {
        _exit(127);
    }
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    close(in);
    close(out);
    execv(argv[0], argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

int process_start(struct process *process, const char *log, char *const argv[])
{
    struct stat st;
    pid_t parent = getpid();
    pid_t pid;

    *process = (struct process){.log_from = stat(log, &st) == 0 ? st.st_size : 0};
    snprintf(process->log, sizeof(process->log), "%s", log);
    process->started_ms = mq_clock_mono_ms();
    pid = fork();
    if (pid < 0) {
        return -errno;
    }
    if (pid == 0) {
        run_child(parent, log, argv);
    }
    process->pid = pid;
    return 0;
}

bool process_alive(struct process *process)
{
    if (process->pid != 0 && waitpid(process->pid, &process->status, WNOHANG) == process->pid) {
        process->pid = 0;
    }
    return process->pid != 0;
}

static bool log_holds(const struct process *process, const char *text)
{
    static __thread char bytes[TEXT_BYTES_MAX + 1];
    int fd = open(process->log, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, bytes, TEXT_BYTES_MAX, process->log_from);

    if (fd >= 0) {
        close(fd);
    }
    if (n <= 0) {
        return false;
    }
    bytes[n] = '\0';
    return strstr(bytes, text) != NULL;
}

int64_t process_wait_text(struct process *process, const char *text, uint32_t timeout_ms)
{
    uint64_t until_ms = mq_clock_mono_ms() + timeout_ms;

    while (!log_holds(process, text)) {
        if (!process_alive(process) || mq_clock_mono_ms() >= until_ms) {
            return -1;
        }
        test_sleep_ms(POLL_MS);
    }
    return (int64_t)(mq_clock_mono_ms() - process->started_ms);
}

int process_signal(struct process *process, int signal)
{
    if (!process_alive(process)) {
        return -ESRCH;
    }
    return kill(process->pid, signal) == 0 ? 0 : -errno;
}

int process_wait(struct process *process, uint32_t timeout_ms)
{
    uint64_t until_ms = mq_clock_mono_ms() + timeout_ms;

    while (process_alive(process)) {
        if (mq_clock_mono_ms() >= until_ms) {
            return -1;
        }
        test_sleep_ms(POLL_MS);
    }
    return WIFEXITED(process->status) ? WEXITSTATUS(process->status) : 128 + WTERMSIG(process->status);
}

void process_kill(struct process *process)
{
    if (process_signal(process, SIGKILL) == 0) {
        while (waitpid(process->pid, &process->status, 0) < 0 && errno == EINTR) {
        }
        process->pid = 0;
    }
}

int process_memory(const struct process *process, uint64_t *anon_bytes, uint64_t *resident_bytes)
{
    return mq_process_memory(process->pid, anon_bytes, resident_bytes);
}
