/* Starts a program and stands at the gate of its system calls, those that change, sync or read files below one
 * directory: counts them over all threads in the order in which they come, makes the n-th fail with EIO, or holds
 * every fdatasync once the file of --hold is there, so that the power can be cut while one is under way. One before
 * those is let through, but only after --delay, so that much is waiting for the next one.
 *
 *   call_gate --dir DIR --report FILE [--fail N] [--hold FILE] [--delay MS] [--boot FILE] -- PROGRAM ARGUMENT...
 *
 * With --boot the program reads that file where the kernel tells the id of this boot.
 * DIR is absolute. The program replaces this process, so that its id and its end are the program's; a child of it
 * looks after the calls (seccomp's user notification) and ends with it. The report gets a line for each event:
 *
 *   failed N CALL PATH MS     the n-th call got EIO; MS is the monotonic clock
 *   wrote PATH POS BYTES      of the thread that is held: what it wrote since its last fdatasync of that file
 *   held PATH                 an fdatasync that is never answered
 *   calls N                   how many there were, when the program has ended
 *
 * Linux; needs the right to install a filter (root, or no new privileges: the latter is set). */
#include "remoting/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "the number of this architecture's system calls is not known here"
#endif

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define THREADS_MAX 64
#define WRITES_MAX 4096
#define VECS_MAX 1024

enum names { BY_FD, BY_PATH };

/* The calls that pass the gate, and which argument names the file. */
static const struct call {
    int nr;
    const char *name;
    enum names names;
    int arg;
} calls[] = {
    {__NR_pwrite64, "pwrite64", BY_FD, 0},   {__NR_pwritev, "pwritev", BY_FD, 0},
    {__NR_pwritev2, "pwritev2", BY_FD, 0},   {__NR_fsync, "fsync", BY_FD, 0},
    {__NR_fdatasync, "fdatasync", BY_FD, 0}, {__NR_fallocate, "fallocate", BY_FD, 0},
    {__NR_ftruncate, "ftruncate", BY_FD, 0}, {__NR_pread64, "pread64", BY_FD, 0},
    {__NR_openat, "openat", BY_PATH, 1},     {__NR_renameat2, "renameat2", BY_PATH, 1},
    {__NR_unlinkat, "unlinkat", BY_PATH, 1}, {__NR_mkdirat, "mkdirat", BY_PATH, 1},
#ifdef __NR_rename
    {__NR_rename, "rename", BY_PATH, 0},     {__NR_unlink, "unlink", BY_PATH, 0},
    {__NR_mkdir, "mkdir", BY_PATH, 0},
#endif
};

/* What one thread wrote since its last fdatasync. */
struct thread {
    pid_t tid;
    struct {
        uint64_t pos, bytes;
        char path[128]; /* below the directory */
    } writes[WRITES_MAX];
    uint32_t n_writes;
};

struct gate {
    const char *dir, *hold, *boot;
    size_t dir_len;
    uint64_t fail, seen;
    uint32_t delay_ms;
    int report, listener;
    bool delayed, holding;
    struct thread *threads; /* owned; THREADS_MAX */
    uint32_t n_threads;
};

static void say(const struct gate *gate, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(const struct gate *gate, const char *fmt, ...)
{
    char line[PATH_MAX + 128];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (write(gate->report, line, (size_t)n) != n) {
        perror("call_gate: report");
    }
}

static const struct call *find_call(int nr)
{
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        if (calls[i].nr == nr) {
            return &calls[i];
        }
    }
    return NULL;
}

/* The file that a call is about. Returns false when that cannot be told. */
static bool path_of(const struct seccomp_notif *n, const struct call *call, char *path)
{
    uint64_t arg = n->data.args[call->arg];

    if (call->names == BY_FD) {
        char link[64];
        ssize_t len;

        snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)n->pid, (int)arg);
        len = readlink(link, path, PATH_MAX - 1);
        if (len < 0) {
            return false;
        }
        path[len] = '\0';
        return true;
    }
    /* A string that ends near the end of a mapped page is read page by page. */
    for (size_t at = 0; at < PATH_MAX - 1;) {
        size_t bytes = 4096 - (arg + at) % 4096;
        struct iovec to = {path + at, bytes < PATH_MAX - 1 - at ? bytes : PATH_MAX - 1 - at};
        struct iovec from = {(void *)(uintptr_t)(arg + at), to.iov_len};

        if (process_vm_readv((pid_t)n->pid, &to, 1, &from, 1, 0) != (ssize_t)to.iov_len) {
            return false;
        }
        if (memchr(path + at, '\0', to.iov_len) != NULL) {
            return true;
        }
        at += to.iov_len;
    }
    return false;
}

static struct thread *thread_of(struct gate *gate, pid_t tid)
{
    for (uint32_t i = 0; i < gate->n_threads; i++) {
        if (gate->threads[i].tid == tid) {
            return &gate->threads[i];
        }
    }
    if (gate->n_threads == THREADS_MAX) {
        return NULL;
    }
    gate->threads[gate->n_threads].tid = tid;
    return &gate->threads[gate->n_threads++];
}

static uint64_t vec_bytes(const struct seccomp_notif *n)
{
    struct iovec vecs[VECS_MAX];
    size_t count = n->data.args[2] < VECS_MAX ? n->data.args[2] : VECS_MAX;
    struct iovec to = {vecs, count * sizeof(vecs[0])};
    struct iovec from = {(void *)(uintptr_t)n->data.args[1], to.iov_len};
    uint64_t bytes = 0;

    if (process_vm_readv((pid_t)n->pid, &to, 1, &from, 1, 0) != (ssize_t)to.iov_len) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        bytes += vecs[i].iov_len;
    }
    return bytes;
}

static void note_write(struct gate *gate, const struct seccomp_notif *n, const char *path)
{
    struct thread *thread = thread_of(gate, (pid_t)n->pid);

    if (thread == NULL || thread->n_writes == WRITES_MAX) {
        return;
    }
    thread->writes[thread->n_writes].pos = n->data.args[3];
    thread->writes[thread->n_writes].bytes = n->data.nr == __NR_pwrite64 ? n->data.args[2] : vec_bytes(n);
    snprintf(thread->writes[thread->n_writes].path, sizeof(thread->writes[0].path), "%s", path);
    thread->n_writes++;
}

/* An fdatasync. Returns whether it is held. */
static bool sync_is_held(struct gate *gate, const struct seccomp_notif *n, const char *path)
{
    struct thread *thread = thread_of(gate, (pid_t)n->pid);

    if (!gate->holding && gate->hold != NULL && access(gate->hold, F_OK) == 0) {
        if (gate->delay_ms > 0 && !gate->delayed) {
            usleep(gate->delay_ms * 1000);
            gate->delayed = true;
        } else {
            gate->holding = true;
        }
    }
    if (gate->holding) {
        for (uint32_t i = 0; thread != NULL && i < thread->n_writes; i++) {
            say(gate, "wrote %s %" PRIu64 " %" PRIu64 "\n", thread->writes[i].path, thread->writes[i].pos,
                thread->writes[i].bytes);
        }
        say(gate, "held %s\n", path);
    }
    if (thread != NULL) {
        thread->n_writes = 0;
    }
    return gate->holding;
}

/* Answers an openat with a descriptor of our own file. */
static void give_boot(const struct gate *gate, const struct seccomp_notif *n)
{
    struct seccomp_notif_addfd give = {.id = n->id, .flags = SECCOMP_ADDFD_FLAG_SEND, .newfd_flags = O_CLOEXEC};
    int fd = open(gate->boot, O_RDONLY | O_CLOEXEC);

    give.srcfd = (uint32_t)fd;
    if (fd < 0 || ioctl(gate->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &give) < 0) {
        perror("call_gate: another boot id");
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* Decides on one call. Returns false when it is not answered. */
static bool decide(struct gate *gate, const struct seccomp_notif *n, struct seccomp_notif_resp *answer)
{
    const struct call *call = find_call(n->data.nr);
    char path[PATH_MAX];
    const char *name;

    *answer = (struct seccomp_notif_resp){.id = n->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    if (call == NULL || !path_of(n, call, path)) {
        return true;
    }
    if (call->nr == __NR_openat && gate->boot != NULL && strcmp(path, BOOT_ID) == 0) {
        give_boot(gate, n);
        return false;
    }
    if (strncmp(path, gate->dir, gate->dir_len) != 0 || (path[gate->dir_len] != '/' && path[gate->dir_len] != '\0')) {
        return true;
    }
    name = path + gate->dir_len + (path[gate->dir_len] == '/');
    if (++gate->seen == gate->fail) {
        say(gate, "failed %" PRIu64 " %s %s %" PRIu64 "\n", gate->seen, call->name, *name != '\0' ? name : ".",
            mq_clock_mono_ms());
        answer->flags = 0;
        answer->error = -EIO;
        return true;
    }
    if (call->nr == __NR_pwrite64 || call->nr == __NR_pwritev || call->nr == __NR_pwritev2) {
        note_write(gate, n, name);
    }
    return call->nr != __NR_fdatasync || !sync_is_held(gate, n, name);
}

_Noreturn static void watch(struct gate *gate)
{
    struct seccomp_notif n;
    struct seccomp_notif_resp answer;
    struct pollfd fd = {gate->listener, POLLIN, 0};

    /* What ends the program's process group is for the program, which still needs its answers. */
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    gate->threads = calloc(THREADS_MAX, sizeof(*gate->threads));
    while (gate->threads != NULL && (poll(&fd, 1, -1) > 0 || errno == EINTR) && (fd.revents & POLLHUP) == 0) {
        memset(&n, 0, sizeof(n));
        if (ioctl(gate->listener, SECCOMP_IOCTL_NOTIF_RECV, &n) == 0 && decide(gate, &n, &answer)) {
            (void)ioctl(gate->listener, SECCOMP_IOCTL_NOTIF_SEND,
                        &answer); /* it fails when the caller died meanwhile */
        }
    }
    say(gate, "calls %" PRIu64 "\n", gate->seen);
    _exit(0);
}

/* Lets the calls of the table wait for an answer. Returns the listener, or -1. */
static int install_filter(void)
{
    enum { HEAD = 4, N = ARRAY_SIZE(calls) };
    struct sock_filter code[HEAD + N + 2] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    struct sock_fprog program = {ARRAY_SIZE(code), code};

    for (int i = 0; i < N; i++) {
        code[HEAD + i] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i].nr, (uint8_t)(N - i), 0);
    }
    code[HEAD + N] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[HEAD + N + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return -1;
    }
    return (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static int send_fd(int socket, int fd)
{
    char byte = 0, space[CMSG_SPACE(sizeof(fd))] = {0};
    struct iovec vec = {&byte, 1};
    struct msghdr msg = {.msg_iov = &vec, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(head), &fd, sizeof(fd));
    return sendmsg(socket, &msg, 0) == 1 ? 0 : -1;
}

static int receive_fd(int socket)
{
    char byte, space[CMSG_SPACE(sizeof(int))];
    struct iovec vec = {&byte, 1};
    struct msghdr msg = {.msg_iov = &vec, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
    int fd = -1;

    if (recvmsg(socket, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg) != NULL) {
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
    }
    return fd;
}

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "call_gate: %s: %s\n", what, strerror(errno));
    exit(125);
}

static void parse(int argc, char **argv, struct gate *gate)
{
    static const struct option longs[] = {
        {"dir", required_argument, NULL, 'd'},
        {"report", required_argument, NULL, 'r'},
        {"fail", required_argument, NULL, 'f'},
        {"hold", required_argument, NULL, 'h'},
        {"delay", required_argument, NULL, 'm'},
        {"boot", required_argument, NULL, 'b'},
        {0},
    };
    const char *report = NULL;
    int c;

    while ((c = getopt_long(argc, argv, "+", longs, NULL)) != -1) {
        switch (c) {
        case 'd':
            gate->dir = optarg;
            break;
        case 'r':
            report = optarg;
            break;
        case 'f':
            gate->fail = strtoull(optarg, NULL, 10);
            break;
        case 'h':
            gate->hold = optarg;
            break;
        case 'b':
            gate->boot = optarg;
            break;
        case 'm':
            gate->delay_ms = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        default:
            optind = argc;
        }
    }
    if (gate->dir == NULL || report == NULL || optind >= argc) {
        fputs("usage: call_gate --dir DIR --report FILE [--fail N] [--hold FILE] [--delay MS] [--boot FILE] -- "
              "PROGRAM ARGUMENT...\n",
              stderr);
        exit(125);
    }
    gate->dir_len = strlen(gate->dir);
    gate->report = open(report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (gate->report < 0) {
        fail(report);
    }
}

int main(int argc, char **argv)
{
    struct gate gate = {.listener = -1};
    int sockets[2];
    pid_t pid;

    parse(argc, argv, &gate);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
        fail("socketpair");
    }
    pid = fork();
    if (pid < 0) {
        fail("fork");
    }
    if (pid == 0) {
        close(sockets[0]);
        gate.listener = receive_fd(sockets[1]);
        if (gate.listener < 0) {
            _exit(125);
        }
        watch(&gate);
    }
    gate.listener = install_filter();
    if (gate.listener < 0 || send_fd(sockets[0], gate.listener) != 0) {
        fail("seccomp");
    }
    close(gate.listener);
    execv(argv[optind], argv + optind);
    fail(argv[optind]);
}
