#include "client/tools/try_group.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/base/json.h"
#include "remoting/protocol/codes.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BROKER_PORT 1035 /* above the name server's: 20911 when that is 19876 */
#define PORT_STEP 10
#define STOP_MS 3000
#define PIDS_FILE "raftmq-try.pids" /* a line for each process: pid, birth, name */
#define LOG_SHOWN 2000              /* bytes */

static int broker_port(const struct try_group *group, int i)
{
    return group->port_base + BROKER_PORT + PORT_STEP * i;
}

static void path_of(const struct try_group *group, const char *name, char *path, size_t bytes)
{
    snprintf(path, bytes, "%s/%s", group->dir, name);
}

/* Whether the port can be bound now. */
static bool check_port(int port, const char *what)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    bool good;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    good = fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 1) == 0;
    if (!good) {
        tool_fail("try", "port %d (%s) cannot be used: %s; choose others with --port-base", port, what,
                  strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return good;
}

static bool check_ports(const struct try_group *group)
{
    char what[64];

    if (!check_port(group->port_base, "name server")) {
        return false;
    }
    for (int i = 0; i < TRY_BROKERS; i++) {
        snprintf(what, sizeof(what), "broker n%d, clients", i);
        if (!check_port(broker_port(group, i), what)) {
            return false;
        }
        snprintf(what, sizeof(what), "broker n%d, its peers", i);
        if (!check_port(broker_port(group, i) + 1, what)) {
            return false;
        }
    }
    return true;
}

static bool is_empty(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    bool empty = true;

    while (d != NULL && empty && (entry = readdir(d)) != NULL) {
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    }
    if (d != NULL) {
        closedir(d);
    }
    return empty;
}

/* Reads who an earlier run started. Returns false, and says so, when one of them still lives. */
static bool check_leftover(const struct try_group *group, const char *pids_path)
{
    FILE *f = fopen(pids_path, "re");
    char name[16], alive[512] = "", pids[256] = "";
    uint64_t birth;
    int pid;

    while (f != NULL && fscanf(f, "%d %" SCNu64 " %15s", &pid, &birth, name) == 3) {
        if (birth != 0 && process_birth(pid) == birth) {
            size_t a = strlen(alive), p = strlen(pids);

            snprintf(alive + a, sizeof(alive) - a, " %s (pid %d)", name, pid);
            snprintf(pids + p, sizeof(pids) - p, " %d", pid);
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    if (alive[0] != '\0') {
        tool_fail("try",
                  "%s belongs to a group that is still running:%s\n  end it with: kill%s\n  or use another place: "
                  "--dir DIR --port-base PORT",
                  group->dir, alive, pids);
        return false;
    }
    return true;
}

/* Makes sure that nothing of ours is in the way. */
static bool clear_dir(struct try_group *group)
{
    char pids_path[4096];
    int rc;

    path_of(group, PIDS_FILE, pids_path, sizeof(pids_path));
    if (mq_file_exists(pids_path)) {
        if (!check_leftover(group, pids_path)) {
            return false;
        }
        printf("%s holds what an earlier run left behind (none of its processes lives): removed\n", group->dir);
        rc = mq_dir_remove(group->dir);
        if (rc != 0) {
            tool_fail("try", "cannot remove %s: %s", group->dir, mq_strerror(rc));
            return false;
        }
    } else if (!is_empty(group->dir)) {
        tool_fail("try", "%s exists and is not from an earlier try: move it away or use --dir", group->dir);
        return false;
    }
    return true;
}

static bool make_dir(const struct try_group *group)
{
    int rc = mq_dir_make(group->dir);

    if (rc != 0) {
        tool_fail("try", "cannot make %s: %s", group->dir, mq_strerror(rc));
    }
    return rc == 0;
}

static bool check_program(const char *path)
{
    if (access(path, X_OK) == 0) {
        return true;
    }
    tool_fail("try", "%s: %s (it belongs beside raftmq)", path, strerror(errno));
    return false;
}

static void name_processes(struct try_group *group)
{
    group->namesrv.program = "mqnamesrv";
    snprintf(group->namesrv.name, sizeof(group->namesrv.name), "namesrv");
    snprintf(group->namesrv.addr, sizeof(group->namesrv.addr), "127.0.0.1:%d", group->port_base);
    for (int i = 0; i < TRY_BROKERS; i++) {
        struct process *p = &group->brokers[i];

        p->program = "mqbroker";
        snprintf(p->name, sizeof(p->name), "n%d", i);
        snprintf(p->addr, sizeof(p->addr), "127.0.0.1:%d", broker_port(group, i));
    }
}

bool try_group_prepare(struct try_group *group)
{
    process_beside("mqnamesrv", group->namesrv_path, sizeof(group->namesrv_path));
    process_beside("mqbroker", group->broker_path, sizeof(group->broker_path));
    name_processes(group);
    return check_program(group->namesrv_path) && check_program(group->broker_path) && clear_dir(group) &&
           check_ports(group) && make_dir(group);
}

/* Who lives, for a later run that finds our directory. */
static void write_pids(const struct try_group *group)
{
    char path[4096];
    FILE *f;

    path_of(group, PIDS_FILE, path, sizeof(path));
    f = fopen(path, "we");
    if (f == NULL) {
        return; /* the next run will not know the directory and leave it alone */
    }
    for (int i = -1; i < TRY_BROKERS; i++) {
        const struct process *p = i < 0 ? &group->namesrv : &group->brokers[i];

        if (p->pid != 0) {
            fprintf(f, "%d %" PRIu64 " %s\n", p->pid, process_birth(p->pid), p->name);
        }
    }
    fclose(f);
}

static bool start(struct try_group *group, struct process *process, char *const argv[])
{
    char log[4096], name[32];
    int rc;

    snprintf(name, sizeof(name), "%s.log", process->name);
    path_of(group, name, log, sizeof(log));
    rc = process_start(process, argv, log, group->leave);
    if (rc != 0) {
        tool_fail("try", "cannot start %s: %s", argv[0], mq_strerror(rc));
        return false;
    }
    write_pids(group);
    return true;
}

bool try_group_start_namesrv(struct try_group *group)
{
    char port[32], kv[4200];
    char *argv[] = {group->namesrv_path,
                    (char *)(uintptr_t) "-o",
                    (char *)(uintptr_t) "bindAddress=127.0.0.1",
                    (char *)(uintptr_t) "-o",
                    port,
                    (char *)(uintptr_t) "-o",
                    kv,
                    NULL};

    snprintf(port, sizeof(port), "listenPort=%d", group->port_base);
    snprintf(kv, sizeof(kv), "kvConfigPath=%s/kvConfig.json", group->dir);
    return start(group, &group->namesrv, argv);
}

/* A configuration like a user's, so that it can be read and used again. */
static bool write_config(const struct try_group *group, int i, const char *path)
{
    FILE *f = fopen(path, "we");
    int n = 0;

    if (f == NULL) {
        tool_fail("try", "%s: %s", path, strerror(errno));
        return false;
    }
    fprintf(f, "brokerClusterName=TryCluster\ndLegerGroup=try\ndLegerSelfId=n%d\ndLegerPeers=", i);
    for (int k = 0; k < TRY_BROKERS; k++) {
        fprintf(f, "%sn%d-127.0.0.1:%d", k > 0 ? ";" : "", k, broker_port(group, k) + 1);
    }
    n = fprintf(
        f,
        "\nbrokerIP1=127.0.0.1\nbindAddress=127.0.0.1\nlistenPort=%d\nnamesrvAddr=%s\nstorePathRootDir=%s/n%d\n"
        "mappedFileSizeCommitLog=16777216\n",
        broker_port(group, i), group->namesrv.addr, group->dir, i);
    return fclose(f) == 0 && n > 0;
}

bool try_group_start_broker(struct try_group *group, int i)
{
    char config[4096], name[32];
    char *argv[] = {group->broker_path, (char *)(uintptr_t) "-c", config, NULL};

    snprintf(name, sizeof(name), "n%d.conf", i);
    path_of(group, name, config, sizeof(config));
    return write_config(group, i, config) && start(group, &group->brokers[i], argv);
}

void try_group_stop(struct try_group *group, bool keep_files)
{
    int rc;

    for (int i = 0; i < TRY_BROKERS; i++) {
        process_signal(&group->brokers[i], SIGTERM);
    }
    for (int i = 0; i < TRY_BROKERS; i++) {
        if (!process_wait(&group->brokers[i], STOP_MS)) {
            tool_fail("try", "%s did not stop in %d ms: killed", group->brokers[i].name, STOP_MS);
            process_signal(&group->brokers[i], SIGKILL);
            process_wait(&group->brokers[i], STOP_MS);
        }
    }
    process_signal(&group->namesrv, SIGTERM);
    if (!process_wait(&group->namesrv, STOP_MS)) {
        process_signal(&group->namesrv, SIGKILL);
        process_wait(&group->namesrv, STOP_MS);
    }
    write_pids(group); /* nobody: what stays is known as ours */
    if (keep_files) {
        return;
    }
    rc = mq_dir_remove(group->dir);
    if (rc != 0) {
        tool_fail("try", "cannot remove %s: %s", group->dir, mq_strerror(rc));
    }
}

static void copy(char *to, size_t bytes, struct mq_str text)
{
    snprintf(to, bytes, MQ_STR_FMT, MQ_STR_ARG(text));
}

static void read_status(char *body, size_t n, struct try_status *out)
{
    struct mq_str key, value;
    struct mq_json json;

    mq_json_init(&json, body, n);
    while (tool_json_next(&json, &key, &value)) {
        const struct {
            struct mq_str key;
            uint64_t *to;
        } numbers[] = {{MQ_STR("term"), &out->term},
                       {MQ_STR("commitIndex"), &out->commit_index},
                       {MQ_STR("appliedIndex"), &out->applied_index},
                       {MQ_STR("endPos"), &out->end_pos},
                       {MQ_STR("appliedPos"), &out->applied_pos}};
        int64_t number;

        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
            if (mq_str_eq(key, numbers[i].key) && mq_str_to_i64(value, &number) == 0) {
                *numbers[i].to = (uint64_t)number;
            }
        }
        if (mq_str_eq(key, MQ_STR("role"))) {
            copy(out->role, sizeof(out->role), value);
        } else if (mq_str_eq(key, MQ_STR("stateHash"))) {
            copy(out->state_hash, sizeof(out->state_hash), value);
        }
    }
}

void try_group_ask(struct try_group *group, struct tool *tool, int i, uint32_t timeout_ms, struct try_status *out)
{
    struct tool_answer answer;

    *out = (struct try_status){0};
    tool_ask(tool, group->brokers[i].addr, REQ_RAFTMQ_GROUP_STATUS, NULL, 0, timeout_ms, &answer);
    if (answer.status == 0 && answer.code == RESP_SUCCESS) {
        out->answered = true;
        read_status((char *)answer.body.base, answer.body.len, out);
    }
    tool_answer_free(&answer);
}

void try_group_show_log(const struct try_group *group, const char *name)
{
    char path[4096], text[LOG_SHOWN + 1];
    size_t n;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s.log", group->dir, name);
    f = fopen(path, "re");
    if (f == NULL) {
        return;
    }
    if (fseek(f, -LOG_SHOWN, SEEK_END) != 0) {
        rewind(f);
    }
    n = fread(text, 1, LOG_SHOWN, f);
    fclose(f);
    fprintf(stderr, "--- end of %s\n%.*s---\n", path, (int)n, text);
}
