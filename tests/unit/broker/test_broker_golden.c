/* Requests as stock clients sent them, byte by byte, and the code of a stock broker's answer or the difference that
 * is meant. tests/golden/README.md says how they were recorded. */
#include "tests/unit/broker/rig.h"

#include "remoting/base/file.h"

#include <stdio.h>

static struct rig rig;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

#define ONE_WAY (-1)

/* In an order in which each finds what it needs. Not here: 103 to 106 and the like, which name servers get. */
static const struct {
    const char *file;
    int32_t code; /* our answer's; the stock broker's too, unless @why says what is different */
    const char *why;
} rows[] = {
    {"17-request.bin", RESP_SUCCESS, NULL},
    {"310-request.bin", RESP_SUCCESS, NULL},
    {"310-request-2.bin", ONE_WAY, NULL},
    {"10-request.bin", RESP_SUCCESS, NULL},
    {"10-request-2.bin", ONE_WAY, NULL},
    {"320-request.bin", RESP_SUCCESS, NULL},
    {"34-request.bin", RESP_SUCCESS, NULL},
    {"34-request-2.bin", RESP_SUCCESS, NULL},
    {"31-request.bin", RESP_SUCCESS, NULL},
    {"30-request.bin", RESP_SUCCESS, NULL},
    {"29-request.bin", RESP_SUCCESS, NULL},
    {"11-request.bin", RESP_SUCCESS, NULL},
    {"361-request.bin", RESP_SUCCESS, NULL},
    {"15-request.bin", ONE_WAY, NULL},
    {"14-request.bin", RESP_SUCCESS, NULL},
    {"33-request.bin", RESP_SYSTEM_ERROR, "its position is one of the stock broker's log"},
    {"11-request-2.bin", RESP_SUBSCRIPTION_NOT_EXIST, "its group's heartbeat was not recorded for every client"},
    {"15-request-2.bin", ONE_WAY, NULL},
    {"14-request-2.bin", RESP_SUCCESS, NULL},
    {"38-request.bin", RESP_SYSTEM_ERROR, NULL}, /* nobody of the group beats here */
    {"38-request-2.bin", RESP_SYSTEM_ERROR, NULL},
    {"41-request.bin", RESP_SUCCESS, NULL},
    {"42-request.bin", RESP_SUCCESS, NULL},
    {"35-request.bin", RESP_SUCCESS, NULL},
    {"35-request-2.bin", RESP_SUCCESS, NULL},
    {"35-request-3.bin", RESP_SUCCESS, NULL},
    {"35-request-4.bin", RESP_SUCCESS, NULL},
    {"36-request.bin", RESP_SYSTEM_ERROR, "its position is one of the stock broker's log"},
    {"28-request.bin", RESP_SUCCESS, NULL},
    {"202-request.bin", RESP_SUCCESS, NULL},
    {"351-request.bin", RESP_SUCCESS, NULL},
    {"26-request.bin", RESP_SUCCESS, NULL},
    {"25-request.bin", RESP_NO_PERMISSION, "configuration cannot be changed while the broker runs"},
    {"21-request.bin", RESP_SUCCESS, NULL},
    {"300-request.bin", RESP_REQUEST_CODE_NOT_SUPPORTED, "not supported yet"},
    {"305-request.bin", RESP_REQUEST_CODE_NOT_SUPPORTED, "not supported yet"},
};

/* One recorded request over a connection of its own, as many connections have the same opaque numbers. */
static void replay(const char *folder, const char *file, enum proto_encoding encoding, int32_t want)
{
    char path[128];
    struct mq_buf frame = {0};
    struct answer answer = {0};
    struct peer peer;

    snprintf(path, sizeof(path), "tests/golden/%s/%s", folder, file);
    if (!mq_file_exists(path)) {
        return; /* this client has no such request, or the same frame as another */
    }
    print_message("%s\n", path);
    assert_int_equal(mq_file_read(path, 1u << 20, &frame), 0);
    peer_dial(&rig, &peer, encoding);
    peer_start_frame(&peer, &frame, &answer);
    if (want == ONE_WAY) {
        peer_sync(&peer);
    } else {
        rig_wait_flag(&rig, &answer.done);
        if (answer.code != want) {
            fail_msg("code %d instead of %d, remark: %s", answer.code, want, answer_remark(&answer));
        }
    }
    answer_free(&answer);
    peer_hang_up(&peer);
    mq_buf_free(&frame);
}

static void requests_of_stock_clients_are_understood(void **state)
{
    static const struct {
        const char *name;
        enum proto_encoding encoding;
    } folders[] = {{"stock-5.4.0", PROTO_JSON},
                   {"stock-5.4.0-binary", PROTO_BINARY},
                   {"stock-4.9.8", PROTO_JSON},
                   {"stock-4.9.8-binary", PROTO_BINARY}};

    (void)state;
    for (size_t f = 0; f < ARRAY_SIZE(folders); f++) {
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
            replay(folders[f].name, rows[i].file, folders[f].encoding, rows[i].code);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(requests_of_stock_clients_are_understood)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
