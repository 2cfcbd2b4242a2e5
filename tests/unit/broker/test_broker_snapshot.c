/* A broker that starts from a snapshot: what it knows, what it need not read again, and what it makes again. */
#include "tests/unit/broker/rig.h"

#include "broker/flow/retention.h"
#include "broker/processor/context.h"
#include "remoting/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct answer answer;

static void commit(struct peer *peer, const char *offset)
{
    assert_int_equal(
        peer_code(peer, REQ_UPDATE_CONSUMER_OFFSET,
                  FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "0"}, {"commitOffset", offset}),
                  MQ_STR("")),
        RESP_SUCCESS);
}

static void fill(struct rig *rig, struct peer *peer, int messages)
{
    peer_dial(rig, peer, PROTO_JSON);
    assert_int_equal(rig_topic(peer, "Orders", "4"), RESP_SUCCESS);
    for (int i = 0; i < messages; i++) {
        assert_int_equal(rig_send(peer, "Orders", i % 2 == 0 ? "0" : "1", "body", "", &answer), RESP_SUCCESS);
    }
    assert_int_equal(rig_pull(peer, "Orders", "0", "0", NULL, &answer), RESP_SUCCESS); /* makes the group */
    commit(peer, "7");
}

static struct rlog_status status_of(struct rig *rig)
{
    struct rlog_status status;

    rlog_status_get(rig->ctx->log, &status);
    return status;
}

static bool no_snapshot_runs(void *data)
{
    struct rlog_status status = status_of(data);

    return status.snapshots_taken + status.snapshots_failed != 0;
}

static void take(struct rig *rig)
{
    assert_int_equal(rlog_snapshot(rig->ctx->log), 0);
    rig_wait(rig, no_snapshot_runs, rig);
    assert_int_equal(status_of(rig).snapshots_taken, 1);
}

static void check(struct rig *rig, struct peer *peer, int messages, const char *offset)
{
    char last[16];

    peer_dial(rig, peer, PROTO_JSON);
    assert_int_equal(peer_ask(peer, REQ_QUERY_CONSUMER_OFFSET,
                              FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "0"}), MQ_STR(""),
                              &answer),
                     RESP_SUCCESS);
    assert_string_equal(answer_field(&answer, "offset"), offset);
    snprintf(last, sizeof(last), "%d", messages / 2 - 1);
    assert_int_equal(rig_pull(peer, "Orders", "1", last, NULL, &answer), RESP_SUCCESS);
    assert_int_equal(rig_pull(peer, "Orders", "0", "0", NULL, &answer), RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "minOffset"), 0);
    assert_int_equal(answer_number(&answer, "maxOffset"), messages / 2);
}

static void a_start_loads_the_snapshot_and_applies_what_lies_behind_it(void **state)
{
    struct rig rig;
    struct peer peer;
    uint64_t hash, index;

    (void)state;
    rig_open(&rig, NULL);
    fill(&rig, &peer, 40);
    take(&rig);
    index = status_of(&rig).snapshot_index;
    assert_int_equal(rig_send(&peer, "Orders", "0", "behind", "", &answer), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Orders", "1", "behind", "", &answer), RESP_SUCCESS);
    commit(&peer, "9");
    hash = rig.ctx->state->offsets.sum;
    peer_hang_up(&peer);

    rig_reopen(&rig, NULL);
    assert_int_equal(status_of(&rig).snapshot_index, index);
    assert_true(status_of(&rig).replayed_entries < 8);
    assert_int_equal(rig.ctx->store->held_index, 1); /* the queues were taken up as they were */
    assert_int_equal(rig.ctx->state->offsets.sum, hash);
    assert_int_equal(state_hash(rig.ctx->state), state_recount(rig.ctx->state));
    check(&rig, &peer, 42, "9");
    assert_int_equal(rig_send(&peer, "Orders", "1", "body", "", &answer), RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "queueOffset"), 21);
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

static void queues_that_were_lost_are_made_again_from_the_log(void **state)
{
    static const char *const files[] = {"consumequeue/Orders/1/00000000000000000000", "queues.checkpoint"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        struct rig rig;
        struct peer peer;
        char path[160];

        rig_open(&rig, NULL);
        fill(&rig, &peer, 30);
        take(&rig);
        peer_hang_up(&peer);
        rig_stop(&rig);
        snprintf(path, sizeof(path), "%s/%s", rig.dir, files[i]);
        assert_int_equal(unlink(path), 0);
        rig_start(&rig, NULL);
        assert_int_equal(rig.ctx->store->held_index, 1);
        check(&rig, &peer, 30, "7");
        peer_hang_up(&peer);

        /* And once more, without a snapshot since: nothing vouches for what was made again, so it is made again. */
        rig_reopen(&rig, NULL);
        check(&rig, &peer, 30, "7");
        peer_hang_up(&peer);
        rig_close(&rig);
    }
    answer_free(&answer);
}

static void a_damaged_snapshot_is_no_reason_to_stop(void **state)
{
    struct rig rig;
    struct peer peer;
    char path[160];
    FILE *file;

    (void)state;
    rig_open(&rig, NULL);
    fill(&rig, &peer, 20);
    take(&rig);
    snprintf(path, sizeof(path), "%s/raftlog/snapshot/%020llu", rig.dir,
             (unsigned long long)status_of(&rig).snapshot_index);
    peer_hang_up(&peer);
    rig_stop(&rig);
    file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 300, SEEK_SET), 0);
    assert_int_equal(fputc('!', file), '!');
    fclose(file);
    rig_start(&rig, NULL);
    assert_int_equal(status_of(&rig).snapshot_index, 0);
    check(&rig, &peer, 20, "7");
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

static void a_stop_while_one_is_being_taken_leaves_nothing_half_done(void **state)
{
    struct rig rig;
    struct peer peer;

    (void)state;
    rig_open(&rig, NULL);
    fill(&rig, &peer, 20);
    assert_int_equal(rlog_snapshot(rig.ctx->log), 0);
    assert_int_equal(rlog_snapshot(rig.ctx->log), MQ_EBUSY);
    peer_hang_up(&peer);
    rig_reopen(&rig, NULL);
    check(&rig, &peer, 20, "7");
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

static bool is_swept(void *data)
{
    const struct rig *rig = data;

    return rig->ctx->state->log_start_pos != 0 &&
           broker_retention(rig->broker)->swept_pos == rig->ctx->state->log_start_pos;
}

static void take_another(struct rig *rig, struct peer *peer, const char *offset)
{
    uint64_t taken = status_of(rig).snapshots_taken;

    commit(peer, offset);
    assert_int_equal(rlog_snapshot(rig->ctx->log), 0);
    while (status_of(rig).snapshots_taken == taken) {
        uv_run(&rig->loop.uv, UV_RUN_ONCE);
    }
}

static int64_t min_of(struct peer *peer)
{
    assert_int_equal(
        peer_ask(peer, REQ_GET_MIN_OFFSET, FIELDS({"topic", "Orders"}, {"queueId", "0"}), MQ_STR(""), &answer),
        RESP_SUCCESS);
    return answer_number(&answer, "offset");
}

/* What is left of the last segment that went, behind its last entry, holds nothing and may count as held. */
static void check_start(struct rig *rig)
{
    uint64_t start_pos = status_of(rig).start_pos, want = rig->ctx->state->log_start_pos;

    assert_true(start_pos <= want && start_pos + (1 << 20) > want);
}

static void old_segments_go_and_the_log_begins_later(void **state)
{
    static const char *const overrides[] = {
        "mappedFileSizeCommitLog=1048576", "fileReservedTime=0",
        "deleteWhen=0;1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19;20;21;22;23", NULL};
    static char body[100001];
    struct rig rig;
    struct peer peer;
    int64_t min;
    char first[24];

    (void)state;
    memset(body, 'b', sizeof(body) - 1);
    rig_open(&rig, overrides);
    fill(&rig, &peer, 10);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(rig_send(&peer, "Orders", "0", body, "", &answer), RESP_SUCCESS);
    }
    retention_tick(broker_retention(rig.broker));
    rig_wait(&rig, is_swept, &rig);
    min = min_of(&peer);
    assert_true(min > 10 && min < 45);
    assert_int_equal(status_of(&rig).start_pos, 0); /* nothing stands for it yet */
    take_another(&rig, &peer, "11");
    assert_int_equal(status_of(&rig).start_pos, 0);
    take_another(&rig, &peer, "12");
    check_start(&rig);
    assert_int_equal(rig_pull(&peer, "Orders", "0", "0", NULL, &answer), RESP_PULL_OFFSET_MOVED);
    peer_hang_up(&peer);

    rig_reopen(&rig, overrides);
    rig_wait(&rig, is_swept, &rig);
    peer_dial(&rig, &peer, PROTO_JSON);
    check_start(&rig);
    assert_int_equal(min_of(&peer), min);
    snprintf(first, sizeof(first), "%lld", (long long)min);
    assert_int_equal(rig_pull(&peer, "Orders", "0", first, NULL, &answer), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Orders", "0", "more", "", &answer), RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "queueOffset"), 45);
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_loads_the_snapshot_and_applies_what_lies_behind_it),
        cmocka_unit_test(queues_that_were_lost_are_made_again_from_the_log),
        cmocka_unit_test(a_damaged_snapshot_is_no_reason_to_stop),
        cmocka_unit_test(old_segments_go_and_the_log_begins_later),
        cmocka_unit_test(a_stop_while_one_is_being_taken_leaves_nothing_half_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
