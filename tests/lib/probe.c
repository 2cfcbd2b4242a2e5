/* One question to a program under test, for shell scripts: prints the answer in lines that are easy to compare.
 *
 * - probe ask PORT CODE [KEY=VALUE]... [-b BODY]: code=N remark=TEXT, a line for each field, body=TEXT
 * - probe send PORT TOPIC QUEUE FIRST COUNT: the messages m<FIRST> ...; acknowledged=N first=OFFSET last=OFFSET
 * - probe pull PORT TOPIC QUEUE FROM COUNT: reads COUNT messages; one line each: OFFSET BODY
 * - probe find PORT TOPIC KEY MAX: messages that have the key, as pull prints them
 * - probe view PORT POSITION: the message there, as pull prints it
 * - probe status PORT KEY...: the values of group status, one line
 * - probe topic PORT TOPIC QUEUES: creates a topic; code=N
 *
 * Exit status 0 when the answer was a success, 1 when it was another code (printed), 2 without an answer. */
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/record.h"
#include "tests/lib/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 5000
#define FIELDS_MAX 32
#define PULL_COUNT 256
#define BODY_MAX (4 << 20)
#define FILE_MAX (1 << 20)

static int no_answer(int port, int rc)
{
    fprintf(stderr, "probe: port %d: %s\n", port, mq_strerror(rc));
    return 2;
}

static int refused(int code, const struct proto_command *answer)
{
    printf("code=%d remark=" MQ_STR_FMT "\n", code, MQ_STR_ARG(answer->remark));
    return 1;
}

static int ask(int port, int argc, char **argv)
{
    struct wire_field fields[FIELDS_MAX];
    struct wire_request request = {.code = atoi(argv[0]), .fields = fields};
    struct proto_command answer;
    struct wire wire;
    int rc;

    for (int i = 1; i < argc && request.n_fields < FIELDS_MAX; i++) {
        char *eq = strchr(argv[i], '=');

        if (strcmp(argv[i], "-b") == 0 && i + 1 < argc) {
            request.body = argv[++i];
            request.body_bytes = (uint32_t)strlen(argv[i]);
            continue;
        }
        if (eq == NULL) {
            fprintf(stderr, "probe: %s: not of the form KEY=VALUE\n", argv[i]);
            return 2;
        }
        *eq = '\0';
        fields[request.n_fields++] = (struct wire_field){argv[i], eq + 1};
    }
    rc = wire_open(&wire, port);
    if (rc != 0) {
        return no_answer(port, rc);
    }
    rc = wire_ask(&wire, &request, TIMEOUT_MS, &answer);
    if (rc == 0) {
        printf("code=%" PRId32 " remark=" MQ_STR_FMT "\n", answer.code, MQ_STR_ARG(answer.remark));
        for (uint32_t i = 0; i < answer.fields.count; i++) {
            printf(MQ_STR_FMT "=" MQ_STR_FMT "\n", MQ_STR_ARG(answer.fields.list[i].key),
                   MQ_STR_ARG(answer.fields.list[i].value));
        }
        printf("body=%.*s\n", (int)answer.body_bytes, answer.body != NULL ? (const char *)answer.body : "");
    }
    wire_close(&wire);
    return rc != 0 ? no_answer(port, rc) : answer.code == RESP_SUCCESS ? 0 : 1;
}

/* "m<number>", with spaces behind it as asked for. Returns its length. */
static uint32_t make_body(char *body, int64_t number)
{
    const char *wish = getenv("PROBE_BODY_BYTES");
    long bytes = wish != NULL ? atol(wish) : 0;
    long n = snprintf(body, BODY_MAX, "m%" PRId64, number);

    for (; n < bytes && n < BODY_MAX; n++) {
        body[n] = ' ';
    }
    return (uint32_t)n;
}

static int send_some(int port, char **argv)
{
    static char body[BODY_MAX];
    int64_t number = atoll(argv[2]), count = atoll(argv[3]), acknowledged = 0;
    int64_t first = -1, last = -1;
    struct proto_command answer;
    struct wire wire;
    int code = wire_open(&wire, port);

    while (code == 0 && acknowledged < count) {
        uint32_t n = make_body(body, number + acknowledged);

        code = wire_send(&wire, argv[0], atoi(argv[1]), body, n, &last, &answer);
        first = first < 0 ? last : first;
        acknowledged += code == 0;
    }
    printf("acknowledged=%" PRId64 " first=%" PRId64 " last=%" PRId64 "\n", acknowledged, first, last);
    if (code < 0) {
        return no_answer(port, code);
    }
    code = code == 0 ? 0 : refused(code, &answer);
    wire_close(&wire);
    return code;
}

static int64_t print_records(const struct proto_command *answer, int64_t left)
{
    const uint8_t *at = answer->body;
    uint32_t bytes = answer->body_bytes;
    int64_t printed = 0;

    while (bytes > 0 && printed < left) {
        struct proto_record record;

        if (proto_record_decode(at, bytes, &record) != 0) {
            printf("a record that does not decode\n");
            return printed;
        }
        while (record.body.len > 0 && record.body.at[record.body.len - 1] == ' ') {
            record.body.len--;
        }
        printf("%" PRId64 " " MQ_STR_FMT "\n", record.qoff, MQ_STR_ARG(record.body));
        at += record.record_bytes;
        bytes -= record.record_bytes;
        printed++;
    }
    return printed;
}

static int pull_some(int port, char **argv)
{
    int64_t from = atoll(argv[2]), left = atoll(argv[3]);
    struct proto_command answer;
    struct wire wire;
    int code = wire_open(&wire, port);

    while (code == 0 && left > 0) {
        code =
            wire_pull(&wire, argv[0], atoi(argv[1]), from, left < PULL_COUNT ? (uint32_t)left : PULL_COUNT, &answer);
        if (code == 0) {
            int64_t n = print_records(&answer, left);

            from += n;
            left -= n;
            code = n > 0 ? 0 : MQ_EBADMSG;
        }
    }
    if (code < 0) {
        return no_answer(port, code);
    }
    code = code == 0 ? 0 : refused(code, &answer);
    wire_close(&wire);
    return code;
}

/* Asks for records and prints them. */
static int print_answer(int port, const struct wire_request *request)
{
    struct proto_command answer;
    struct wire wire;
    int rc = wire_open(&wire, port);

    if (rc == 0) {
        rc = wire_ask(&wire, request, TIMEOUT_MS, &answer);
    }
    if (rc != 0) {
        return no_answer(port, rc);
    }
    rc = answer.code == RESP_SUCCESS ? 0 : refused(answer.code, &answer);
    if (rc == 0) {
        (void)print_records(&answer, INT64_MAX);
    }
    wire_close(&wire);
    return rc;
}

static int find(int port, char **argv)
{
    const struct wire_field fields[] = {{"topic", argv[0]},
                                        {"key", argv[1]},
                                        {"maxNum", argv[2]},
                                        {"beginTimestamp", "0"},
                                        {"endTimestamp", "9223372036854775807"}};
    const struct wire_request request = {
        .code = REQ_QUERY_MESSAGE, .fields = fields, .n_fields = sizeof(fields) / sizeof(fields[0])};

    return print_answer(port, &request);
}

static int view(int port, char **argv)
{
    const struct wire_field field = {"offset", argv[0]};
    const struct wire_request request = {.code = REQ_VIEW_MESSAGE_BY_ID, .fields = &field, .n_fields = 1};

    return print_answer(port, &request);
}

static void print_value(const struct wire_status *s, const char *key)
{
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {
        {"term", s->term},
        {"last", s->last_index},
        {"commit", s->commit_index},
        {"applied", s->applied_index},
        {"end_pos", s->end_pos},
        {"applied_pos", s->applied_pos},
        {"elections", s->elections},
        {"open_ms", s->open_ms},
        {"replayed", s->replayed},
        {"messages", s->messages},
        {"resident_bytes", s->resident_bytes},
        {"anon_bytes", s->anon_bytes},
        {"parked", s->parked_pulls},
    };

    if (strcmp(key, "role") == 0 || strcmp(key, "hash") == 0) {
        printf("%s", key[0] == 'r' ? s->role : s->state_hash);
    } else if (strcmp(key, "leader") == 0) {
        printf("%" PRId32, s->leader);
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(key, numbers[i].key) == 0) {
            printf("%" PRIu64, numbers[i].value);
        }
    }
}

static int status(int port, int argc, char **argv)
{
    struct wire_status s;
    int rc = wire_status(port, TIMEOUT_MS, &s);

    if (rc != 0) {
        return no_answer(port, rc);
    }
    for (int i = 0; i < argc; i++) {
        print_value(&s, argv[i]);
        putchar(i + 1 < argc ? ' ' : '\n');
    }
    return 0;
}

static int topic(int port, char **argv)
{
    int code = wire_create_topic(port, argv[0], (uint32_t)atoi(argv[1]));

    if (code < 0) {
        return no_answer(port, code);
    }
    printf("code=%d\n", code);
    return code == 0 ? 0 : 1;
}

static int reseal(char **argv)
{
    static uint8_t bytes[FILE_MAX];
    FILE *file = fopen(argv[0], "r+");
    size_t n = file != NULL ? fread(bytes, 1, sizeof(bytes), file) : 0;
    size_t sealed = (size_t)atol(argv[1]);
    uint16_t version = (uint16_t)atoi(argv[2]);
    uint32_t crc;

    sealed = sealed == 0 ? n : sealed;
    if (file == NULL || n < sealed || sealed < 16) {
        fprintf(stderr, "probe: %s cannot be read, or is too short\n", argv[0]);
        return 2;
    }
    memcpy(bytes + 8, &version, sizeof(version));
    crc = mq_crc32c(0, bytes + 8, sealed - 8);
    memcpy(bytes + 4, &crc, sizeof(crc));
    rewind(file);
    n = fwrite(bytes, 1, sealed, file);
    return fclose(file) == 0 && n == sealed ? 0 : 2;
}

int main(int argc, char **argv)
{
    int port = argc > 2 ? atoi(argv[2]) : 0;

    if (argc >= 4 && strcmp(argv[1], "ask") == 0) {
        return ask(port, argc - 3, argv + 3);
    }
    if (argc == 7 && strcmp(argv[1], "send") == 0) {
        return send_some(port, argv + 3);
    }
    if (argc == 7 && strcmp(argv[1], "pull") == 0) {
        return pull_some(port, argv + 3);
    }
    if (argc == 6 && strcmp(argv[1], "find") == 0) {
        return find(port, argv + 3);
    }
    if (argc == 4 && strcmp(argv[1], "view") == 0) {
        return view(port, argv + 3);
    }
    if (argc >= 4 && strcmp(argv[1], "status") == 0) {
        return status(port, argc - 3, argv + 3);
    }
    if (argc == 5 && strcmp(argv[1], "topic") == 0) {
        return topic(port, argv + 3);
    }
    if (argc == 5 && strcmp(argv[1], "reseal") == 0) {
        return reseal(argv + 2);
    }
    fprintf(stderr, "usage: probe ask PORT CODE [KEY=VALUE]... [-b BODY] | send PORT TOPIC QUEUE FIRST COUNT | "
                    "pull PORT TOPIC QUEUE FROM COUNT | find PORT TOPIC KEY MAX | view PORT POSITION | status PORT "
                    "KEY... | topic PORT "
                    "TOPIC QUEUES | reseal FILE "
                    "BYTES VERSION\n");
    return 2;
}
