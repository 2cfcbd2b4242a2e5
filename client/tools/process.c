#include "client/tools/process.h"

#include "remoting/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_STEP_NS 2000000

/* In the child: never returns. */
_Noreturn static void become(char *const argv[], int log_fd, bool leave, int parent)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0); /* Ctrl-C is for us: we end it in order */
    if (!leave) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(EXIT_FAILURE); /* the parent went before prctl */
        }
    }
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    execv(argv[0], argv);
    dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

int process_start(struct process *process, char *const argv[], const char *log_path, bool leave)
{
    int parent = (int)getpid();
    int fd, pid;

    if (access(argv[0], X_OK) != 0) {
        return -errno;
    }
    fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) {
        return -errno;
    }
    pid = fork();
    if (pid == 0) {
        become(argv, fd, leave, parent);
    }
    close(fd);
    if (pid < 0) {
        return -errno;
    }
    process->pid = pid;
    process->started_ms = mq_clock_mono_ms();
    return 0;
}

bool process_running(struct process *process, int *how)
{
    int status;

    if (process->pid == 0) {
        return false;
    }
    if (waitpid(process->pid, &status, WNOHANG) == 0) {
        return true;
    }
    process->pid = 0;
    if (how != NULL) {
        *how = status;
    }
    return false;
}

void process_signal(struct process *process, int number)
{
    if (process_running(process, NULL)) {
        kill(process->pid, number);
    }
}

bool process_wait(struct process *process, uint32_t timeout_ms)
{
    uint64_t end_ms = mq_clock_mono_ms() + timeout_ms;
    const struct timespec step = {.tv_nsec = WAIT_STEP_NS};

    while (process_running(process, NULL)) {
        if (mq_clock_mono_ms() >= end_ms) {
            return false;
        }
        nanosleep(&step, NULL);
    }
    return true;
}

uint64_t process_birth(int pid)
{
    char path[64], line[1024];
    uint64_t birth = 0;
    const char *at;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    f = fopen(path, "re");
    if (f == NULL) {
        return 0;
    }
    at = fgets(line, sizeof(line), f) != NULL ? strrchr(line, ')') : NULL;
    /* Behind the name in brackets: the state (Z has ended), then 18 numbers, then the time of the start. */
    if (at != NULL && (strncmp(at, ") Z", 3) == 0 || strncmp(at, ") X", 3) == 0)) {
        at = NULL;
    }
    for (int field = 0; at != NULL && field < 20; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at != NULL && sscanf(at, "%" SCNu64, &birth) != 1) {
        birth = 0;
    }
    fclose(f);
    return birth;
}

void process_beside(const char *program, char *path, unsigned bytes)
{
    char self[4000];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    self[n > 0 ? n : 0] = '\0';
    slash = strrchr(self, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    snprintf(path, bytes, "%s/%s", self, program);
}
