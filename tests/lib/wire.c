#include "tests/lib/wire.h"

#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/json.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PUT_TIMEOUT_MS 1000
#define ASK_TIMEOUT_MS 5000

int wire_open(struct wire *wire, int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *wire = (struct wire){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (wire->fd < 0) {
        return -errno;
    }
    if (connect(wire->fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        int rc = -errno;

        wire_close(wire);
        return rc;
    }
    setsockopt(wire->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return 0;
}

void wire_close(struct wire *wire)
{
    if (wire->fd >= 0) {
        close(wire->fd);
    }
    wire->fd = -1;
    mq_buf_free(&wire->in);
    mq_buf_free(&wire->out);
}

int wire_put(struct wire *wire, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;

    while (n > 0) {
        struct pollfd ready = {wire->fd, POLLOUT, 0};
        ssize_t done;

        if (poll(&ready, 1, PUT_TIMEOUT_MS) == 0) {
            return -EAGAIN;
        }
        done = send(wire->fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done < 0 && errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
        at += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
    return 0;
}

/* Reads until wire->in holds @want bytes. */
static int fill(struct wire *wire, size_t want, uint64_t until_ms)
{
    int rc = mq_buf_reserve(&wire->in, want);

    while (rc == 0 && wire->in.len < want) {
        uint64_t now_ms = mq_clock_mono_ms();
        struct pollfd ready = {wire->fd, POLLIN, 0};
        ssize_t n;

        if (now_ms >= until_ms || poll(&ready, 1, (int)(until_ms - now_ms)) == 0) {
            return MQ_ETIMEDOUT;
        }
        n = recv(wire->fd, wire->in.base + wire->in.len, want - wire->in.len, 0);
        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
            return MQ_ECLOSED;
        }
        wire->in.len += n > 0 ? (size_t)n : 0;
    }
    return rc;
}

int wire_get(struct wire *wire, uint32_t timeout_ms, struct proto_command *answer)
{
    uint64_t until_ms = mq_clock_mono_ms() + timeout_ms;
    uint32_t length;
    int rc;

    wire->in.len = 0;
    rc = fill(wire, 4, until_ms);
    if (rc == 0) {
        rc = proto_frame_length(wire->in.base, 4, &length);
    }
    if (rc == 0) {
        rc = fill(wire, length, until_ms);
    }
    return rc == 0 ? proto_command_decode(wire->in.base, length, answer) : rc;
}

int wire_encode(const struct wire *wire, const struct wire_request *request, int32_t opaque, struct mq_buf *out)
{
    struct proto_head head = {.code = request->code, .opaque = opaque, .encoding = wire->encoding};
    struct proto_writer w;
    int rc;

    proto_begin(&w, out, &head);
    for (uint32_t i = 0; i < request->n_fields; i++) {
        proto_put_str(&w, mq_str_of(request->fields[i].key), mq_str_of(request->fields[i].value));
    }
    rc = proto_end(&w, request->body_bytes);
    return rc == 0 ? mq_buf_put(out, request->body, request->body_bytes) : rc;
}

int wire_ask(struct wire *wire, const struct wire_request *request, uint32_t timeout_ms, struct proto_command *answer)
{
    int32_t opaque = ++wire->opaque;
    int rc;

    wire->out.len = 0;
    rc = wire_encode(wire, request, opaque, &wire->out);
    if (rc == 0 && wire_put(wire, wire->out.base, wire->out.len) != 0) {
        rc = MQ_ECLOSED;
    }
    do {
        rc = rc == 0 ? wire_get(wire, timeout_ms, answer) : rc;
    } while (rc == 0 && (answer->opaque != opaque || (answer->flag & PROTO_FLAG_RESPONSE) == 0));
    return rc;
}

/* --- group status --- */

static int32_t member_number(struct mq_str text)
{
    int32_t number;

    return text.len > 1 && mq_str_to_i32((struct mq_str){text.at + 1, text.len - 1}, &number) == 0 ? number : -1;
}

static void copy_text(char *to, size_t room, struct mq_str from)
{
    snprintf(to, room, MQ_STR_FMT, MQ_STR_ARG(from));
}

static void take_status(struct wire_status *out, struct mq_str key, struct mq_str value)
{
    const struct {
        struct mq_str key;
        uint64_t *to;
    } numbers[] = {
        {MQ_STR("term"), &out->term},
        {MQ_STR("lastIndex"), &out->last_index},
        {MQ_STR("durableIndex"), &out->durable_index},
        {MQ_STR("commitIndex"), &out->commit_index},
        {MQ_STR("appliedIndex"), &out->applied_index},
        {MQ_STR("endPos"), &out->end_pos},
        {MQ_STR("appliedPos"), &out->applied_pos},
        {MQ_STR("elections"), &out->elections},
        {MQ_STR("openMs"), &out->open_ms},
        {MQ_STR("replayedEntries"), &out->replayed},
        {MQ_STR("messages"), &out->messages},
        {MQ_STR("parkedPulls"), &out->parked_pulls},
        {MQ_STR("residentBytes"), &out->resident_bytes},
        {MQ_STR("anonBytes"), &out->anon_bytes},
    };
    int64_t number;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (mq_str_eq(key, numbers[i].key) && mq_str_to_i64(value, &number) == 0) {
            *numbers[i].to = (uint64_t)number;
        }
    }
    if (mq_str_eq(key, MQ_STR("role"))) {
        copy_text(out->role, sizeof(out->role), value);
    } else if (mq_str_eq(key, MQ_STR("stateHash"))) {
        copy_text(out->state_hash, sizeof(out->state_hash), value);
    } else if (mq_str_eq(key, MQ_STR("member"))) {
        out->member = member_number(value);
    } else if (mq_str_eq(key, MQ_STR("leader"))) {
        out->leader = member_number(value);
    }
}

static int parse_status(struct mq_buf *body, struct wire_status *out)
{
    struct mq_json json;
    struct mq_str value;

    *out = (struct wire_status){.member = -1, .leader = -1};
    mq_json_init(&json, (char *)body->base, body->len);
    if (mq_json_next(&json) != MQ_JSON_OBJECT_BEGIN) {
        return MQ_EBADMSG;
    }
    while (mq_json_next(&json) == MQ_JSON_KEY) {
        struct mq_str key = json.text;
        int rc = mq_json_scalar(&json, &value);

        if (rc != 0) {
            return rc;
        }
        take_status(out, key, value);
    }
    return json.kind == MQ_JSON_OBJECT_END ? 0 : MQ_EBADMSG;
}

int wire_status(int port, uint32_t timeout_ms, struct wire_status *out)
{
    struct wire_request request = {.code = REQ_RAFTMQ_GROUP_STATUS};
    struct proto_command answer;
    struct mq_buf body = {0};
    struct wire wire;
    int rc = wire_open(&wire, port);

    if (rc != 0) {
        return rc;
    }
    rc = wire_ask(&wire, &request, timeout_ms, &answer);
    if (rc == 0) {
        rc = answer.code == 0 ? mq_buf_put(&body, answer.body, answer.body_bytes) : MQ_EBADMSG;
    }
    if (rc == 0) {
        rc = parse_status(&body, out);
    }
    mq_buf_free(&body);
    wire_close(&wire);
    return rc;
}

/* --- single requests --- */

int wire_create_topic(int port, const char *topic, uint32_t queues)
{
    char number[16];
    const struct wire_field fields[] = {
        {"topic", topic}, {"defaultTopic", "TBW102"},        {"readQueueNums", number}, {"writeQueueNums", number},
        {"perm", "6"},    {"topicFilterType", "SINGLE_TAG"}, {"topicSysFlag", "0"},     {"order", "false"},
    };
    struct wire_request request = {REQ_UPDATE_AND_CREATE_TOPIC, fields, sizeof(fields) / sizeof(fields[0]), NULL, 0};
    struct proto_command answer;
    struct wire wire;
    int rc = wire_open(&wire, port);

    if (rc != 0) {
        return rc;
    }
    snprintf(number, sizeof(number), "%" PRIu32, queues);
    rc = wire_ask(&wire, &request, ASK_TIMEOUT_MS, &answer);
    rc = rc == 0 ? answer.code : rc;
    wire_close(&wire);
    return rc;
}

/* A question whose answer is the field "offset". */
static int ask_offset(int port, const struct wire_request *request, int64_t *out)
{
    struct proto_command answer;
    struct wire wire;
    int rc = wire_open(&wire, port);

    if (rc != 0) {
        return rc;
    }
    rc = wire_ask(&wire, request, ASK_TIMEOUT_MS, &answer);
    if (rc == 0 && answer.code == 0) {
        rc = mq_str_to_i64(proto_fields_get(&answer.fields, MQ_STR("offset")), out);
    } else if (rc == 0) {
        rc = answer.code;
    }
    wire_close(&wire);
    return rc;
}

int wire_max_offset(int port, const char *topic, int32_t queue, int64_t *out)
{
    char number[16];
    const struct wire_field fields[] = {{"topic", topic}, {"queueId", number}};
    struct wire_request request = {REQ_GET_MAX_OFFSET, fields, 2, NULL, 0};

    snprintf(number, sizeof(number), "%" PRId32, queue);
    return ask_offset(port, &request, out);
}

int wire_committed(int port, const char *group, const char *topic, int32_t queue, int64_t *out)
{
    char number[16];
    const struct wire_field fields[] = {
        {"consumerGroup", group}, {"topic", topic}, {"queueId", number}, {"setZeroIfNotFound", "false"}};
    struct wire_request request = {REQ_QUERY_CONSUMER_OFFSET, fields, 4, NULL, 0};

    snprintf(number, sizeof(number), "%" PRId32, queue);
    return ask_offset(port, &request, out);
}

int wire_send(struct wire *wire, const char *topic, int32_t queue, const void *body, uint32_t body_bytes,
              int64_t *qoff, struct proto_command *answer)
{
    char number[16], born[24];
    const struct wire_field fields[] = {
        {"a", "TEST_PRODUCER"},
        {"b", topic},
        {"c", "TBW102"},
        {"d", "8"},
        {"e", number},
        {"f", "0"},
        {"g", born},
        {"h", "0"},
        {"j", "0"},
        {"k", "false"},
        {"m", "false"},
    };
    struct wire_request request = {REQ_SEND_MESSAGE_V2, fields, sizeof(fields) / sizeof(fields[0]), body, body_bytes};
    struct proto_command own;
    int rc;

    answer = answer != NULL ? answer : &own;
    snprintf(number, sizeof(number), "%" PRId32, queue);
    snprintf(born, sizeof(born), "%" PRId64, mq_clock_wall_ms());
    rc = wire_ask(wire, &request, ASK_TIMEOUT_MS, answer);
    if (rc == 0 && answer->code == 0) {
        rc = mq_str_to_i64(proto_fields_get(&answer->fields, MQ_STR("queueOffset")), qoff);
    }
    return rc == 0 ? answer->code : rc;
}

int wire_pull(struct wire *wire, const char *topic, int32_t queue, int64_t qoff, uint32_t count,
              struct proto_command *answer)
{
    char numbers[3][24];
    const struct wire_field fields[] = {
        {"consumerGroup", "TEST_CONSUMER"},
        {"topic", topic},
        {"queueId", numbers[0]},
        {"queueOffset", numbers[1]},
        {"maxMsgNums", numbers[2]},
        {"sysFlag", "4"},
        {"commitOffset", "0"},
        {"suspendTimeoutMillis", "0"},
        {"subVersion", "0"},
        {"subscription", "*"},
        {"expressionType", "TAG"},
    };
    struct wire_request request = {REQ_PULL_MESSAGE, fields, sizeof(fields) / sizeof(fields[0]), NULL, 0};
    int rc;

    snprintf(numbers[0], sizeof(numbers[0]), "%" PRId32, queue);
    snprintf(numbers[1], sizeof(numbers[1]), "%" PRId64, qoff);
    snprintf(numbers[2], sizeof(numbers[2]), "%" PRIu32, count);
    rc = wire_ask(wire, &request, ASK_TIMEOUT_MS, answer);
    return rc == 0 ? answer->code : rc;
}
