/* Every request with every field malformed: an answer that names the field, and nothing written.
 *
 * For each request of the table (bad_requests.c) each field of its header is left out, emptied, made negative, too
 * large and of another type. What a decoder can refuse is refused with SYSTEM_ERROR, the field's name and its value,
 * as Java does. What it cannot, the processor takes or refuses; a refusal names the field or the value. A request
 * that was refused leaves the state's hash and the log's end as they were. */
#include "tests/unit/broker/bad_requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 32
#define LONG_BYTES 40000

static struct rig rig;
static struct peer peer;
static struct answer answer;
static char long_value[LONG_BYTES + 1];

static int setup(void **state)
{
    (void)state;
    memset(long_value, 'a', LONG_BYTES);
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, PROBE_TOPIC, "2"), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, PROBE_TOPIC, "0", "body", "", NULL), RESP_SUCCESS);
    assert_int_equal(rig_topic(&peer, WATCHED_TOPIC, "1"), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, WATCHED_TOPIC, "0", "body", "", NULL), RESP_SUCCESS);
    assert_int_equal(peer_code(&peer, REQ_UPDATE_AND_CREATE_TOPIC,
                               FIELDS({"topic", "Hidden"}, {"defaultTopic", "TBW102"}, {"readQueueNums", "1"},
                                      {"writeQueueNums", "1"}, {"perm", "2"}, {"topicFilterType", "SINGLE_TAG"},
                                      {"order", "false"}),
                               MQ_STR("")),
                     RESP_SUCCESS);
    /* A group comes to be with its first request, as in the original, also when that is refused. */
    assert_int_equal(rig_pull(&peer, PROBE_TOPIC, "0", "0", NULL, &answer), RESP_SUCCESS);
    /* Another one, whose offsets are set back: its next pull would be told so. */
    assert_int_equal(
        peer_code(&peer, REQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, NO_FIELDS, MQ_STR("{\"groupName\":\"RG\"}")),
        RESP_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    answer_free(&answer);
    peer_hang_up(&peer);
    rig_close(&rig);
    return 0;
}

/* --- what a refused request must not change --- */

struct mark {
    uint64_t hash, end_pos, last_index;
};

static bool is_quiet(void *data)
{
    struct rlog_status status;
    uint64_t waiting, waiting_max;

    (void)data;
    rlog_status_get(rig.ctx->log, &status);
    sequencer_waiting_get(rig.ctx->sequencer, &waiting, &waiting_max);
    return status.applied_index == status.last_index && waiting == 0;
}

static struct mark mark_now(void)
{
    struct rlog_status status;

    peer_sync(&peer);
    rig_wait(&rig, is_quiet, NULL);
    rlog_status_get(rig.ctx->log, &status);
    return (struct mark){state_hash(rig.ctx->state), status.end_pos, status.last_index};
}

/* --- requests made of a good one --- */

/* The key on the wire of field @i. */
static const char *wire_key(const struct request *request, const struct header *header, uint32_t i)
{
    static char letter[2];

    if (!request->letters) {
        return header->fields[i].key;
    }
    letter[0] = (char)('a' + i);
    return letter;
}

/* Asks for @request with @key changed to @value (NULL: left out). */
static int32_t ask_changed(const struct request *request, const char *key, const char *value)
{
    struct pair fields[FIELDS_MAX + 2];
    uint32_t n = 0;

    for (const struct pair *field = request->fields; field != NULL && field->key != NULL; field++) {
        assert_true(n < FIELDS_MAX);
        if (key == NULL || strcmp(field->key, key) != 0) {
            fields[n++] = *field;
        }
    }
    if (key != NULL && value != NULL) {
        fields[n++] = (struct pair){key, value};
    }
    fields[n] = (struct pair){NULL, NULL};
    return peer_ask(&peer, request->code, fields, mq_str_of(request->body != NULL ? request->body : ""), &answer);
}

static uint32_t faults;

static void fault(const struct request *request, const char *key, const char *value, const char *what)
{
    faults++;
    print_message("request %d, %s = \"%.60s\": %s; answer %d \"%.160s\"\n", request->code, key,
                  value != NULL ? value : "(missing)", what, answer.code, answer_remark(&answer));
}

static bool says(const char *part)
{
    char head[41];

    snprintf(head, sizeof(head), "%s", part);
    return strstr(answer_remark(&answer), head) != NULL;
}

/* The value, or one of the header's fields: what is wrong with a value may be that another one does not go with it.
 */
static bool says_why(const struct header *header, const char *value)
{
    for (uint32_t i = 0; i < header->n; i++) {
        if (says(header->fields[i].key)) {
            return true;
        }
    }
    return value[0] != '\0' && says(value);
}

/* One value that the decoder refuses. */
static void try_undecodable(const struct request *request, const struct header *header, uint32_t i, const char *value)
{
    const char *key = header->fields[i].key;
    struct mark before = mark_now(), after;

    (void)ask_changed(request, wire_key(request, header, i), value);
    after = mark_now();
    if (answer.code != RESP_SYSTEM_ERROR) {
        fault(request, key, value, "not refused with 1");
    } else if (!says(key) || !says(value != NULL ? value : "missing")) {
        fault(request, key, value, "the remark lacks the field or its value");
    }
    if (memcmp(&before, &after, sizeof(before)) != 0) {
        fault(request, key, value, "refused, and something was written");
    }
}

/* One value that decodes: taken, or refused for a reason that names it. */
static void try_decodable(const struct request *request, const struct header *header, uint32_t i, const char *value)
{
    const char *key = header->fields[i].key;
    struct mark before = mark_now(), after;

    (void)ask_changed(request, wire_key(request, header, i), value);
    after = mark_now();
    if (answer.code == RESP_SUCCESS || answer.code == RESP_POLLING_TIMEOUT || answer.code == request->good) {
        return;
    }
    if (answer.code != RESP_PULL_OFFSET_MOVED && answer.code != RESP_PULL_NOT_FOUND &&
        answer.code != RESP_PULL_RETRY_IMMEDIATELY && !says_why(header, value)) {
        fault(request, key, value, "refused, and the remark names neither a field nor the value");
    }
    if (memcmp(&before, &after, sizeof(before)) != 0) {
        fault(request, key, value, "refused, and something was written");
    }
}

static void try_field(const struct request *request, const struct header *header, uint32_t i)
{
    static const char *const no_numbers[] = {
        "", "ten", "1.5", "0x10", " 1", "99999999999999999999", "-99999999999999999999"};
    static const char *const numbers[] = {"-1", "-2147483648", "2147483647"};
    static const char *const texts[] = {"", "No Such \"Name\"", "NoSuchName", "../../x", long_value};
    const struct field *field = &header->fields[i];

    if (field->required) {
        try_undecodable(request, header, i, NULL);
    }
    if (field->type == FIELD_I32 || field->type == FIELD_I64) {
        for (size_t n = 0; n < ARRAY_SIZE(no_numbers); n++) {
            try_undecodable(request, header, i, no_numbers[n]);
        }
        for (size_t n = 0; n < ARRAY_SIZE(numbers); n++) {
            try_decodable(request, header, i, numbers[n]);
        }
    }
    if (field->type == FIELD_I32) {
        try_undecodable(request, header, i, "2147483648");
        try_undecodable(request, header, i, "-2147483649");
    } else if (field->type == FIELD_I64) {
        try_decodable(request, header, i, "9223372036854775807");
        try_decodable(request, header, i, "-9223372036854775808");
    } else if (field->type == FIELD_STR) {
        for (size_t n = 0; n < ARRAY_SIZE(texts); n++) {
            try_decodable(request, header, i, texts[n]);
        }
    } else if (field->type == FIELD_BOOL) {
        try_decodable(request, header, i, "perhaps");
    }
}

static void a_good_request_of_each_code_is_served(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < requests_count; i++) {
        int32_t code = ask_changed(&requests[i], NULL, NULL);

        if (code != requests[i].good) {
            fail_msg("request %d: answer %d \"%s\", not %d", requests[i].code, code, answer_remark(&answer),
                     requests[i].good);
        }
    }
}

static void each_malformed_field_is_refused_by_name_and_nothing_is_written(void **state)
{
    uint32_t tried = 0;

    (void)state;
    faults = 0;
    for (uint32_t i = 0; i < requests_count; i++) {
        const struct header *header = requests[i].noun != NULL ? header_find(requests[i].noun) : NULL;

        assert_true(requests[i].noun == NULL || header != NULL);
        for (uint32_t field = 0; header != NULL && field < header->n; field++) {
            try_field(&requests[i], header, field);
            tried++;
        }
    }
    print_message("%u fields of %u requests\n", tried, requests_count);
    assert_int_equal(faults, 0);
}

static void values_out_of_range_get_the_code_and_the_limit(void **state)
{
    (void)state;
    faults = 0;
    for (uint32_t i = 0; i < probes_count; i++) {
        const struct probe *probe = &probes[i];
        const struct request *request = requests;
        const struct header *header;
        struct mark before, after;
        uint32_t field = 0;

        while (request->code != probe->code) {
            request++;
            assert_true(request < requests + requests_count);
        }
        header = header_find(request->noun);
        while (strcmp(header->fields[field].key, probe->key) != 0) {
            field++;
            assert_true(field < header->n);
        }
        before = mark_now();
        (void)ask_changed(request, wire_key(request, header, field), probe->value);
        after = mark_now();
        if (answer.code != probe->want) {
            fault(request, probe->key, probe->value, "another code");
        } else if (probe->remark != NULL && !says(probe->remark)) {
            fault(request, probe->key, probe->value, "the remark lacks the value or the limit");
        } else if (answer.code != RESP_SUCCESS && memcmp(&before, &after, sizeof(before)) != 0) {
            fault(request, probe->key, probe->value, "refused, and something was written");
        }
    }
    assert_int_equal(faults, 0);
}

static void bodies_that_are_no_json_are_refused(void **state)
{
    static const char *const bodies[] = {"", "garbage", "[[[", "{\"a\":", "5", "\x01\x02\x03"};

    (void)state;
    faults = 0;
    for (uint32_t i = 0; i < requests_count; i++) {
        struct request request = requests[i];
        size_t whole = request.body != NULL ? strlen(request.body) : 0;

        for (size_t n = 0; request.json && n < ARRAY_SIZE(bodies) + whole - 1; n++) {
            struct mark before = mark_now(), after;
            char cut[1024];

            if (n < ARRAY_SIZE(bodies)) {
                request.body = bodies[n];
            } else {
                snprintf(cut, sizeof(cut), "%.*s", (int)(n - ARRAY_SIZE(bodies) + 1), requests[i].body);
                request.body = cut;
            }
            (void)ask_changed(&request, NULL, NULL);
            after = mark_now();
            if (answer.code == RESP_SUCCESS || answer_remark(&answer)[0] == '\0') {
                fault(&request, "body", request.body, "not refused, or without a reason");
            } else if (memcmp(&before, &after, sizeof(before)) != 0) {
                fault(&request, "body", request.body, "refused, and something was written");
            }
        }
    }
    assert_int_equal(faults, 0);
}

static void who_does_not_lead_refuses_what_only_a_leader_may_serve(void **state)
{
    struct rlog_role role = rig.ctx->role;

    (void)state;
    faults = 0;
    for (uint32_t i = 0; i < requests_count; i++) {
        struct mark before = mark_now(), after;
        int32_t code;

        rig.ctx->role = (struct rlog_role){.kind = RLOG_FOLLOWER, .term = role.term, .leader = 2};
        code = ask_changed(&requests[i], NULL, NULL);
        rig.ctx->role = role;
        after = mark_now();
        if (requests[i].leader != (code == RESP_SERVICE_NOT_AVAILABLE)) {
            fault(&requests[i], "role", "follower", requests[i].leader ? "served" : "not served");
        } else if (requests[i].leader && (!says("lead") || memcmp(&before, &after, sizeof(before)) != 0)) {
            fault(&requests[i], "role", "follower", "the reason is not named, or something was written");
        }
    }
    assert_int_equal(faults, 0);
}

/* What the broker serves has a row in the table: a new request cannot be forgotten. */
static void every_request_the_broker_serves_is_in_the_table(void **state)
{
    static const struct {
        int32_t from, to;
    } ranges[] = {{1, 1000}, {30000, 30099}, {200000, 200200}};
    uint32_t forgotten = 0;

    (void)state;
    for (size_t r = 0; r < ARRAY_SIZE(ranges); r++) {
        for (int32_t code = ranges[r].from; code <= ranges[r].to; code++) {
            bool listed = false;
            bool served = peer_ask(&peer, code, NO_FIELDS, MQ_STR(""), &answer) != RESP_REQUEST_CODE_NOT_SUPPORTED;

            for (uint32_t i = 0; i < requests_count; i++) {
                listed = listed || requests[i].code == code;
            }
            if (listed != served) {
                print_message("request %d is %s\n", code,
                              served ? "served and not in the table" : "in the table and not served");
                forgotten++;
            }
        }
    }
    assert_int_equal(forgotten, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_good_request_of_each_code_is_served, setup, teardown),
        cmocka_unit_test_setup_teardown(each_malformed_field_is_refused_by_name_and_nothing_is_written, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(values_out_of_range_get_the_code_and_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(bodies_that_are_no_json_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(who_does_not_lead_refuses_what_only_a_leader_may_serve, setup, teardown),
        cmocka_unit_test_setup_teardown(every_request_the_broker_serves_is_in_the_table, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
