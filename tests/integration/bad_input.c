/* What a broker and a name server do with what no client should send: the right code with a remark, or a closed
 * connection; never a crash, a stall of others, or memory without bound. Real processes, a group of one.
 *
 * Each case is sent to a connection of its own; after each the server must still answer an honest client at once. */
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/protocol/codes.h"
#include "tests/integration/bad_frames.h"
#include "tests/lib/cluster.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOPIC "BadInput"
#define QUEUES 4
#define ANSWER_MS 3000u
#define HONEST_MS 1000u /* an honest client waits no longer than this */
#define REPEATS 300u
#define GROWTH_MAX (24u << 20) /* memory over all cases */
#define UNREAD_GROWTH_MAX (96u << 20)
#define BODY_MAX (4u << 20)
#define LOG_LINES_MAX 60 /* some 350 bad connections, one line a second for them */

static struct cluster cluster;
static int passed, failed;

static void result(bool ok, const char *name, const char *what)
{
    passed += ok;
    failed += !ok;
    if (ok) {
        printf("PASS %s\n", name);
    } else {
        printf("FAIL %s: %s\n", name, what);
    }
    fflush(stdout);
}

/* --- an honest client --- */

static bool broker_serves(void)
{
    uint64_t begun_ms = mq_clock_mono_ms();
    struct proto_command answer;
    struct wire wire;
    int64_t qoff = -1;
    bool ok = wire_open(&wire, cluster.nodes[0].port) == 0;

    if (!ok) {
        return false;
    }
    ok = wire_send(&wire, TOPIC, 1, "honest", 6, &qoff, NULL) == 0 &&
         wire_pull(&wire, TOPIC, 1, qoff, 1, &answer) == 0 && answer.body_bytes > 0;
    wire_close(&wire);
    return ok && mq_clock_mono_ms() - begun_ms < HONEST_MS;
}

static bool namesrv_serves(void)
{
    const struct wire_field fields[] = {{"topic", TOPIC}};
    struct wire_request request = {REQ_GET_ROUTEINFO_BY_TOPIC, fields, 1, NULL, 0};
    struct proto_command answer;
    struct wire wire;
    bool ok;

    if (wire_open(&wire, cluster.namesrv_port) != 0) {
        return false;
    }
    ok = wire_ask(&wire, &request, HONEST_MS, &answer) == 0 && answer.code == 0;
    wire_close(&wire);
    return ok;
}

static bool serves(int port)
{
    return port == cluster.namesrv_port ? namesrv_serves() : broker_serves();
}

/* --- bytes that are no frame --- */

static void put_json(struct mq_buf *out, const char *json)
{
    uint32_t n = (uint32_t)strlen(json);

    mq_buf_put_be32(out, n + 4);
    mq_buf_put_be32(out, n);
    mq_buf_put(out, json, n);
}

/* True when the server did what is expected of it within the time. */
static bool behaves(int port, const struct bad_frame *frame)
{
    struct mq_buf bytes = {0};
    struct proto_command answer;
    struct wire wire;
    int rc = wire_open(&wire, port);

    if (rc != 0) {
        return false;
    }
    frame->build(&bytes);
    (void)wire_put(&wire, bytes.base, bytes.len); /* it may be closed while we still write */
    rc = wire_get(&wire, ANSWER_MS, &answer);
    mq_buf_free(&bytes);
    wire_close(&wire);
    switch (frame->fate) {
    case CLOSED:
        return rc == MQ_ECLOSED;
    case ANSWERED:
        return rc == 0;
    default:
        return rc == 0 || rc == MQ_ECLOSED;
    }
}

static void run_bad_frames(const char *server, int port)
{
    for (size_t i = 0; i < bad_frames_count; i++) {
        char name[160];
        bool ok = behaves(port, &bad_frames[i]);

        snprintf(name, sizeof(name), "%s: %s", server, bad_frames[i].name);
        result(ok && serves(port), name,
               ok ? "others are not served after it" : "neither closed nor answered as it should");
    }
}

/* Goes away in the middle of a frame, at each of its first bytes. */
static void run_cut_frames(const char *server, int port)
{
    struct mq_buf bytes = {0};
    char name[80];
    bool ok = true;

    put_json(&bytes, "{\"code\":105,\"opaque\":9,\"extFields\":{\"topic\":\"BadInput\"}}");
    for (size_t n = 1; n < bytes.len && ok; n++) {
        struct wire wire;

        ok = wire_open(&wire, port) == 0 && wire_put(&wire, bytes.base, n) == 0;
        wire_close(&wire);
    }
    snprintf(name, sizeof(name), "%s: connections that end in the middle of a frame", server);
    result(ok && serves(port), name, "others are not served after it");
    mq_buf_free(&bytes);
}

/* A request in single bytes is a request. */
static void run_single_bytes(const char *server, int port)
{
    struct mq_buf bytes = {0};
    struct proto_command answer;
    struct wire wire;
    char name[80];
    bool ok = wire_open(&wire, port) == 0;

    put_json(&bytes, "{\"code\":9999,\"opaque\":9}");
    for (size_t i = 0; i < bytes.len && ok; i++) {
        ok = wire_put(&wire, bytes.base + i, 1) == 0;
    }
    ok = ok && wire_get(&wire, ANSWER_MS, &answer) == 0 && answer.code == RESP_REQUEST_CODE_NOT_SUPPORTED &&
         answer.opaque == 9;
    wire_close(&wire);
    mq_buf_free(&bytes);
    snprintf(name, sizeof(name), "%s: a request in single bytes is answered", server);
    result(ok, name, "no answer, or the wrong one");
}

/* --- requests that are well-formed and wrong --- */

#define FIELDS_MAX 12

struct wrong {
    const char *name;
    int32_t code;
    struct wire_field fields[FIELDS_MAX]; /* up to the first without a key */
    const char *body;                     /* NULL: none */
    int32_t want;
    const char *remark; /* the remark must hold it; NULL: any */
};

#define NAME_50 "tttttttttttttttttttttttttttttttttttttttttttttttttt"
#define NAME_127 NAME_50 NAME_50 "ttttttttttttttttttttttttttt"
#define NAME_128 NAME_127 "t"
#define SEND(topic, queue)                                                                                           \
    {                                                                                                                \
        {"a", "P"}, {"b", topic}, {"c", "TBW102"}, {"d", "4"}, {"e", queue}, {"f", "0"}, {"g", "1"}, {"h", "0"},     \
            {"i", ""}, {"j", "0"}, {"m", "false"},                                                                   \
    }
#define SEND_WITH(properties, batch)                                                                                 \
    {                                                                                                                \
        {"a", "P"}, {"b", TOPIC}, {"c", "TBW102"}, {"d", "4"}, {"e", "0"}, {"f", "0"}, {"g", "1"}, {"h", "0"},       \
            {"i", properties}, {"j", "0"}, {"m", batch},                                                             \
    }
#define PULL(topic, queue, offset)                                                                                   \
    {                                                                                                                \
        {"consumerGroup", "G"}, {"topic", topic}, {"queueId", queue}, {"queueOffset", offset}, {"maxMsgNums", "32"}, \
            {"sysFlag", "4"}, {"commitOffset", "0"}, {"suspendTimeoutMillis", "0"}, {"subVersion", "0"},             \
            {"subscription", "*"},                                                                                   \
    }
#define CREATE(topic, queues)                                                                                        \
    {                                                                                                                \
        {"topic", topic}, {"defaultTopic", "TBW102"}, {"readQueueNums", queues}, {"writeQueueNums", queues},         \
            {"perm", "6"}, {"topicFilterType", "SINGLE_TAG"}, {"order", "false"},                                    \
    }

static const struct wrong broker_wrongs[] = {
    {"a request code nobody knows", 9999, {{0}}, NULL, RESP_REQUEST_CODE_NOT_SUPPORTED, "9999"},
    {"request code -1", -1, {{0}}, NULL, RESP_REQUEST_CODE_NOT_SUPPORTED, NULL},
    {"a send to ../x", 310, SEND("../x", "0"), "body", RESP_INVALID_PARAMETER, "topic"},
    {"a send to a name of 128 characters", 310, SEND(NAME_128, "0"), "body", RESP_INVALID_PARAMETER, "127"},
    {"a send to a name of 127 characters is good", 310, SEND(NAME_127, "0"), "body", RESP_SUCCESS, NULL},
    {"a send to a name with a control character", 310, SEND("a\tb", "0"), "body", RESP_INVALID_PARAMETER, "topic"},
    {"a send to an empty name", 310, SEND("", "0"), "body", RESP_INVALID_PARAMETER, "topic"},
    {"a send to a name with a line feed", 310, SEND("a\nb", "0"), "body", RESP_INVALID_PARAMETER, "topic"},
    {"a send to a name with a slash", 310, SEND("a/b", "0"), "body", RESP_INVALID_PARAMETER, "topic"},
    {"a send to a system topic", 310, SEND("SCHEDULE_TOPIC_XXXX", "0"), "body", RESP_NO_PERMISSION, NULL},
    {"a send to queue 99", 310, SEND(TOPIC, "99"), "body", RESP_INVALID_PARAMETER, "99"},
    {"a send to queue 2147483647", 310, SEND(TOPIC, "2147483647"), "body", RESP_INVALID_PARAMETER, "2147483647"},
    {"a send to queue -1 takes any queue", 310, SEND(TOPIC, "-1"), "body", RESP_SUCCESS, NULL},
    {"a send to queue ten", 310, SEND(TOPIC, "ten"), "body", RESP_SYSTEM_ERROR, "ten"},
    {"a send without a body", 310, SEND(TOPIC, "0"), NULL, RESP_MESSAGE_ILLEGAL, "body"},
    {"a send without a topic", 310, {{"a", "P"}, {"e", "0"}}, "body", RESP_SYSTEM_ERROR, "missing"},
    {"a send with a bad delay", 310, SEND_WITH("DELAY\001x\002", "false"), "body", RESP_MESSAGE_ILLEGAL, "DELAY"},
    {"a half message of nobody", 310, SEND_WITH("TRAN_MSG\001true\002", "false"), "body", RESP_MESSAGE_ILLEGAL,
     "PGROUP"},
    {"a batch that does not decode", 320, SEND_WITH("", "true"), "this is not a batch", RESP_MESSAGE_ILLEGAL,
     "batch"},
    {"a batch of nothing", 320, SEND_WITH("", "true"), NULL, RESP_MESSAGE_ILLEGAL, "body"},
    {"a message sent back that is none",
     36,
     {{"offset", "0"}, {"group", "G"}, {"delayLevel", "1"}},
     NULL,
     RESP_SYSTEM_ERROR,
     "offset 0"},
    {"a pull at offset -1", 11, PULL(TOPIC, "0", "-1"), NULL, RESP_PULL_OFFSET_MOVED, NULL},
    {"a pull far behind the end", 11, PULL(TOPIC, "0", "9223372036854775807"), NULL, RESP_PULL_OFFSET_MOVED, NULL},
    {"a pull of queue 99", 11, PULL(TOPIC, "99", "0"), NULL, RESP_INVALID_PARAMETER, "99"},
    {"a pull of queue -7", 11, PULL(TOPIC, "-7", "0"), NULL, RESP_INVALID_PARAMETER, "-7"},
    {"a pull of a topic that is not there", 11, PULL("NoSuchTopic", "0", "0"), NULL, RESP_TOPIC_NOT_EXIST,
     "NoSuchTopic"},
    {"a pull of ../x", 11, PULL("../../x", "0", "0"), NULL, RESP_TOPIC_NOT_EXIST, NULL},
    {"a pull at an offset over 64 bits", 11, PULL(TOPIC, "0", "99999999999999999999"), NULL, RESP_SYSTEM_ERROR,
     "queueOffset"},
    {"a pull without fields", 11, {{0}}, NULL, RESP_SYSTEM_ERROR, "missing"},
    {"a topic ../x created", 17, CREATE("../x", "4"), NULL, RESP_INVALID_PARAMETER, "topic"},
    {"a topic of 128 characters created", 17, CREATE(NAME_128, "4"), NULL, RESP_INVALID_PARAMETER, "127"},
    {"a topic with -1 queues", 17, CREATE("Minus", "-1"), NULL, RESP_INVALID_PARAMETER, "-1"},
    {"a topic with a million queues", 17, CREATE("Million", "1000000"), NULL, RESP_INVALID_PARAMETER, "1000000"},
    {"the configuration changed over the wire", 25, {{0}}, "maxMessageSize=1", RESP_NO_PERMISSION, NULL},
    {"max offset without a topic", 30, {{"queueId", "0"}}, NULL, RESP_SYSTEM_ERROR, "missing"},
    {"a message at position -5", 33, {{"offset", "-5"}}, NULL, RESP_SYSTEM_ERROR, "-5"},
    {"a message in the middle of another", 33, {{"offset", "131"}}, NULL, RESP_SYSTEM_ERROR, "131"},
    {"a commit of offset -3",
     15,
     {{"consumerGroup", "G"}, {"topic", TOPIC}, {"queueId", "0"}, {"commitOffset", "-3"}},
     NULL,
     RESP_INVALID_PARAMETER,
     "-3"},
    {"a heartbeat that is no JSON", 34, {{0}}, "\x01\x02garbage", RESP_SYSTEM_ERROR, "heartbeat"},
    {"a heartbeat without a body", 34, {{0}}, NULL, RESP_SYSTEM_ERROR, NULL},
    {"a lock request that is no JSON", 41, {{0}}, "[[[", RESP_SYSTEM_ERROR, NULL},
    {"a lock request without a body", 41, {{0}}, NULL, RESP_SYSTEM_ERROR, NULL},
    {"an unlock request that is no JSON", 42, {{0}}, "{\"mqSet\":5", RESP_SYSTEM_ERROR, NULL},
};

static const struct wrong namesrv_wrongs[] = {
    {"a request code nobody knows", 9999, {{0}}, NULL, RESP_REQUEST_CODE_NOT_SUPPORTED, "9999"},
    {"a route without a topic", 105, {{0}}, NULL, RESP_SYSTEM_ERROR, NULL},
    {"a route of a topic that is not there",
     105,
     {{"topic", "NoSuchTopic"}},
     NULL,
     RESP_TOPIC_NOT_EXIST,
     "NoSuchTopic"},
    {"a route of ../x", 105, {{"topic", "../x"}}, NULL, RESP_TOPIC_NOT_EXIST, NULL},
    {"a registration without fields", 103, {{0}}, "{}", RESP_SYSTEM_ERROR, NULL},
    {"a registration whose body is no JSON",
     103,
     {{"brokerName", "b"},
      {"brokerAddr", "127.0.0.1:1"},
      {"clusterName", "c"},
      {"haServerAddr", ""},
      {"brokerId", "0"}},
     "\x01garbage",
     RESP_SYSTEM_ERROR,
     NULL},
    {"a value without a namespace", 100, {{"key", "k"}, {"value", "v"}}, NULL, RESP_SYSTEM_ERROR, NULL},
    {"a value that is not there", 101, {{"namespace", "n"}, {"key", "k"}}, NULL, RESP_QUERY_NOT_FOUND, NULL},
};

static bool holds(struct mq_str text, const char *part)
{
    return part == NULL || (text.at != NULL && memmem(text.at, text.len, part, strlen(part)) != NULL);
}

static void run_wrong(const char *server, int port, const struct wrong *wrong, enum proto_encoding encoding)
{
    struct wire_request request = {.code = wrong->code, .fields = wrong->fields, .body = wrong->body};
    struct proto_command answer = {0};
    char name[200], what[320];
    struct wire wire;
    int rc = wire_open(&wire, port);
    bool ok;

    while (request.n_fields < FIELDS_MAX && wrong->fields[request.n_fields].key != NULL) {
        request.n_fields++;
    }
    request.body_bytes = wrong->body != NULL ? (uint32_t)strlen(wrong->body) : 0;
    wire.encoding = encoding;
    rc = rc == 0 ? wire_ask(&wire, &request, ANSWER_MS, &answer) : rc;
    ok = rc == 0 && answer.code == wrong->want && holds(answer.remark, wrong->remark) && answer.encoding == encoding;
    snprintf(name, sizeof(name), "%s: %s%s", server, wrong->name, encoding == PROTO_BINARY ? " (binary header)" : "");
    if (rc != 0) {
        snprintf(what, sizeof(what), "%s, wanted code %d", mq_strerror(rc), (int)wrong->want);
    } else {
        snprintf(what, sizeof(what), "code %d \"%.*s\", wanted %d with \"%s\"", (int)answer.code,
                 (int)(answer.remark.len < 160 ? answer.remark.len : 160),
                 answer.remark.at != NULL ? answer.remark.at : "", (int)wrong->want,
                 wrong->remark != NULL ? wrong->remark : "");
    }
    if (ok && !serves(port)) {
        ok = false;
        snprintf(what, sizeof(what), "others are not served after it");
    }
    result(ok, name, what);
    if (rc == 0 || wire.fd >= 0) {
        wire_close(&wire);
    }
}

static void run_wrongs(void)
{
    for (size_t i = 0; i < sizeof(broker_wrongs) / sizeof(broker_wrongs[0]); i++) {
        run_wrong("broker", cluster.nodes[0].port, &broker_wrongs[i], i % 3 == 2 ? PROTO_BINARY : PROTO_JSON);
    }
    for (size_t i = 0; i < sizeof(namesrv_wrongs) / sizeof(namesrv_wrongs[0]); i++) {
        run_wrong("name server", cluster.namesrv_port, &namesrv_wrongs[i], i % 3 == 2 ? PROTO_BINARY : PROTO_JSON);
    }
}

static void run_large_body(uint32_t bytes, int want)
{
    uint8_t *body = calloc(1, bytes);
    struct proto_command answer;
    struct wire wire;
    char name[80], what[80];
    int64_t qoff;
    int code = wire_open(&wire, cluster.nodes[0].port);

    code = code == 0 ? wire_send(&wire, TOPIC, 0, body, bytes, &qoff, &answer) : code;
    snprintf(name, sizeof(name), "broker: a body of %u bytes", bytes);
    snprintf(what, sizeof(what), "answer %d, wanted %d", code, want);
    result(code == want && (want == 0 || holds(answer.remark, "4194304")) && broker_serves(), name, what);
    wire_close(&wire);
    free(body);
}

/* --- memory --- */

static uint64_t memory_of(const struct process *process)
{
    uint64_t anon = 0, resident;

    (void)process_memory(process, &anon, &resident);
    return anon;
}

static void report_growth(const char *name, uint64_t before, uint64_t after, uint64_t limit)
{
    char what[120];

    snprintf(what, sizeof(what), "memory grew from %" PRIu64 " to %" PRIu64 " KiB", before >> 10, after >> 10);
    printf("     %s: %s\n", name, what);
    result(after < before + limit, name, what);
}

static void run_repeats(void)
{
    const struct {
        const char *server;
        struct process *process;
        int port;
    } servers[] = {{"broker", &cluster.nodes[0].process, cluster.nodes[0].port},
                   {"name server", &cluster.namesrv, cluster.namesrv_port}};

    for (size_t s = 0; s < 2; s++) {
        uint64_t before = memory_of(servers[s].process);
        bool ok = true;
        char name[120];

        for (uint32_t i = 0; i < REPEATS && ok; i++) {
            const struct bad_frame *frame = &bad_frames[i % bad_frames_count];

            ok = behaves(servers[s].port, frame);
        }
        snprintf(name, sizeof(name), "%s: %u bad connections leave no memory behind", servers[s].server, REPEATS);
        result(ok && serves(servers[s].port), name, "one of them was treated differently, or others are not served");
        report_growth(name, before, memory_of(servers[s].process), GROWTH_MAX);
    }
}

/* Connections that announce 16 MiB, bring one, and stop. */
static void run_stalled_frames(void)
{
    enum { STALLED = 16 };
    struct wire wires[STALLED];
    uint64_t before = memory_of(&cluster.nodes[0].process), held;
    uint8_t *part = calloc(1, 1u << 20);
    bool ok = part != NULL;

    mq_be32_store(part, (16u << 20) - 4);
    mq_be32_store(part + 4, 100);
    for (int i = 0; i < STALLED; i++) {
        ok = wire_open(&wires[i], cluster.nodes[0].port) == 0 && wire_put(&wires[i], part, 1u << 20) == 0 && ok;
    }
    ok = broker_serves() && ok;
    held = memory_of(&cluster.nodes[0].process);
    for (int i = 0; i < STALLED; i++) {
        wire_close(&wires[i]);
    }
    free(part);
    result(ok && broker_serves(), "broker: 16 frames of 16 MiB that never end", "others are not served");
    report_growth("broker: announced frames take what has arrived, not what was announced", before, held,
                  (uint64_t)STALLED * (5u << 19));
}

/* One message of 256 KiB so that pulls bring much. */
static bool fill_queue(void)
{
    uint8_t *body = calloc(1, 256u << 10);
    struct wire wire;
    int64_t qoff;
    bool ok = wire_open(&wire, cluster.nodes[0].port) == 0;

    for (int i = 0; i < 4 && ok; i++) {
        ok = wire_send(&wire, TOPIC, 2, body, 256u << 10, &qoff, NULL) == 0;
    }
    wire_close(&wire);
    free(body);
    return ok;
}

/* Sends requests and never reads an answer: the broker stops reading or closes, and stays small. */
static void run_unread(const char *name, const struct wire_request *request, uint32_t n)
{
    uint64_t before = memory_of(&cluster.nodes[0].process), most = before;
    struct mq_buf bytes = {0};
    struct wire wire;
    uint32_t sent = 0;
    bool ok = wire_open(&wire, cluster.nodes[0].port) == 0;
    int small = 4096;

    setsockopt(wire.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    wire_encode(&wire, request, 1, &bytes);
    while (ok && sent < n && wire_put(&wire, bytes.base, bytes.len) == 0) {
        uint64_t now = ++sent % 1000 == 0 ? memory_of(&cluster.nodes[0].process) : 0;

        most = now > most ? now : most;
    }
    printf("     %u requests were taken before the broker stopped reading or closed\n", sent);
    result(ok && broker_serves(), name, "others are not served meanwhile");
    most = memory_of(&cluster.nodes[0].process) > most ? memory_of(&cluster.nodes[0].process) : most;
    report_growth(name, before, most, UNREAD_GROWTH_MAX);
    wire_close(&wire);
    mq_buf_free(&bytes);
}

static void run_unread_all(void)
{
    static const struct wire_field pull[] = PULL(TOPIC, "2", "0");
    static const struct wire_field parked[] = {
        {"consumerGroup", "G"}, {"topic", TOPIC},     {"queueId", "3"},
        {"queueOffset", "0"},   {"maxMsgNums", "32"}, {"sysFlag", "6"},
        {"commitOffset", "0"},  {"subVersion", "0"},  {"suspendTimeoutMillis", "30000"},
        {"subscription", "*"},
    };
    const struct wire_request requests[] = {
        {11, pull, 10, NULL, 0}, {11, parked, 10, NULL, 0}, {28, NULL, 0, NULL, 0}};

    result(fill_queue(), "broker: four messages of 256 KiB", "not taken");
    run_unread("broker: 20,000 pulls of 256 KiB whose answers nobody reads", &requests[0], 20000);
    run_unread("broker: 50,000 long polls of one client", &requests[1], 50000);
    run_unread("broker: 50,000 questions whose answers nobody reads", &requests[2], 50000);
}

/* --- the logs --- */

static long lines_of(const char *path)
{
    FILE *file = fopen(path, "r");
    long lines = 0;
    int c;

    while (file != NULL && (c = fgetc(file)) != EOF) {
        lines += c == '\n';
    }
    if (file != NULL) {
        fclose(file);
    }
    return lines;
}

static void run_logs(void)
{
    const struct process *processes[] = {&cluster.nodes[0].process, &cluster.namesrv};

    for (int i = 0; i < 2; i++) {
        long lines = lines_of(processes[i]->log);
        char name[80], what[80];

        snprintf(name, sizeof(name), "%s: its log stays short (%ld lines)", i == 0 ? "broker" : "name server", lines);
        snprintf(what, sizeof(what), "more than %d lines", LOG_LINES_MAX);
        result(lines < LOG_LINES_MAX, name, what);
    }
}

static void run_all(void)
{
    run_bad_frames("broker", cluster.nodes[0].port);
    run_bad_frames("name server", cluster.namesrv_port);
    run_cut_frames("broker", cluster.nodes[0].port);
    run_cut_frames("name server", cluster.namesrv_port);
    run_single_bytes("broker", cluster.nodes[0].port);
    run_single_bytes("name server", cluster.namesrv_port);
    run_wrongs();
    run_large_body(BODY_MAX, RESP_SUCCESS);
    run_large_body(BODY_MAX + 1, RESP_MESSAGE_ILLEGAL);
    run_repeats();
    run_stalled_frames();
    run_unread_all();
    run_logs();
    result(process_alive(&cluster.nodes[0].process) && process_alive(&cluster.namesrv),
           "both processes are still those "
           "that were started",
           "one has ended");
}

static bool wait_for_route(void)
{
    uint64_t until_ms = mq_clock_mono_ms() + ANSWER_MS;

    while (!namesrv_serves()) {
        if (mq_clock_mono_ms() > until_ms) {
            return false;
        }
        test_sleep_ms(10);
    }
    return true;
}

int main(void)
{
    char dir[PATH_MAX / 4];

    snprintf(dir, sizeof(dir), "%.900s/../bad-input-%d", cluster_bin_dir(), (int)getpid());
    if (mkdir(dir, 0755) != 0 || cluster_init(&cluster, cluster_bin_dir(), dir, "badinput", 1) != 0) {
        fprintf(stderr, "bad_input: %s: %s\n", dir, strerror(errno));
        return 2;
    }
    if (cluster_start(&cluster) == 0 && wire_create_topic(cluster.nodes[0].port, TOPIC, QUEUES) == 0 &&
        wait_for_route()) {
        run_all();
    } else {
        result(false, "a group of one starts", "it does not");
    }
    cluster_fini(&cluster);
    if (failed == 0) {
        mq_dir_remove(dir);
    } else {
        printf("files of this run are kept in %s\n", dir);
    }
    printf("bad-input: %d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
