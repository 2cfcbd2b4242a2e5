/* Messages by key, by position, and units of queues, asked of a whole broker. */
#include "tests/unit/broker/rig.h"

#include "broker/store/indexer.h"
#include "remoting/base/file.h"
#include "remoting/protocol/record.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYS(text) "KEYS\x01" text "\x02"
#define ALL_TIME "0", "9223372036854775807"

static struct answer answer;

/* Returns the code of 12. */
static int32_t query(struct peer *peer, const char *topic, const char *key, const char *max, const char *begin,
                     const char *end)
{
    return peer_ask(
        peer, REQ_QUERY_MESSAGE,
        FIELDS({"topic", topic}, {"key", key}, {"maxNum", max}, {"beginTimestamp", begin}, {"endTimestamp", end}),
        MQ_STR(""), &answer);
}

/* How many records the last answer has; their positions must ascend, and their bodies begin with @body. */
static uint32_t records_of(const char *body)
{
    const uint8_t *at = answer.body.base;
    size_t left = answer.body.len;
    int64_t last = -1;
    uint32_t n = 0;

    while (left != 0) {
        struct proto_record record;

        assert_int_equal(proto_record_decode(at, left, &record), 0);
        assert_true(record.pos > last);
        assert_true(record.body.len >= strlen(body) && memcmp(record.body.at, body, strlen(body)) == 0);
        last = record.pos;
        at += record.record_bytes;
        left -= record.record_bytes;
        n++;
    }
    return n;
}

static void a_message_is_found_by_each_key_as_soon_as_it_is_acknowledged(void **state)
{
    static const char *const keys[] = {"0A0000010000000000000000000000AA", "left", "right"};
    struct rig rig;
    struct peer peer;

    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Orders", "1", "one",
                              "UNIQ_KEY\x01"
                              "0A0000010000000000000000000000AA\x02" KEYS(" left  right "),
                              NULL),
                     RESP_SUCCESS);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        print_message("%s\n", keys[i]);
        assert_int_equal(query(&peer, "Orders", keys[i], "32", ALL_TIME), RESP_SUCCESS);
        assert_int_equal(records_of("one"), 1);
        assert_true(answer_number(&answer, "indexLastUpdateTimestamp") > 0);
        assert_true(answer_number(&answer, "indexLastUpdatePhyoffset") > 0);
    }
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

static void what_does_not_match_is_not_found(void **state)
{
    static const struct {
        const char *why, *topic, *key, *max, *begin, *end;
    } cases[] = {
        {"another topic", "Bills", "left", "32", ALL_TIME},
        {"a topic that nobody made", "Nothing", "left", "32", ALL_TIME},
        {"a part of a key", "Orders", "lef", "32", ALL_TIME},
        {"two keys", "Orders", "left right", "32", ALL_TIME},
        {"an empty key", "Orders", "", "32", ALL_TIME},
        {"none wanted", "Orders", "left", "0", ALL_TIME},
        {"fewer than none wanted", "Orders", "left", "-1", ALL_TIME},
        {"before it was stored", "Orders", "left", "32", "0", "1000"},
        {"after it was stored", "Orders", "left", "32", "9000000000000", "9223372036854775807"},
        {"a range that ends before it begins", "Orders", "left", "32", "9223372036854775807", "0"},
    };
    struct rig rig;
    struct peer peer;

    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    assert_int_equal(rig_topic(&peer, "Bills", "4"), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Orders", "0", "one", KEYS("left right"), NULL), RESP_SUCCESS);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(query(&peer, cases[i].topic, cases[i].key, cases[i].max, cases[i].begin, cases[i].end),
                         RESP_QUERY_NOT_FOUND);
        assert_non_null(answer_field(&answer, "indexLastUpdateTimestamp"));
        assert_non_null(answer_field(&answer, "indexLastUpdatePhyoffset"));
        assert_int_equal(answer.body.len, 0);
    }
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

static void the_newest_are_given_and_not_more_than_asked_for(void **state)
{
    static const struct {
        const char *max;
        uint32_t want;
    } cases[] = {{"1", 1}, {"10", 10}, {"64", 64}, {"65", 64}, {"2147483647", 64}};
    struct rig rig;
    struct peer peer;
    char body[16];

    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    for (int i = 0; i < 100; i++) {
        snprintf(body, sizeof(body), "%s%d", i < 36 ? "old" : "new", i);
        assert_int_equal(rig_send(&peer, "Orders", "0", body, KEYS("same same"), NULL), RESP_SUCCESS);
    }
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(query(&peer, "Orders", "same", cases[i].max, ALL_TIME), RESP_SUCCESS);
        assert_int_equal(records_of("new"), cases[i].want);
    }
    assert_int_equal(peer_ask(&peer, REQ_QUERY_MESSAGE,
                              FIELDS({"topic", "Orders"}, {"key", "same"}, {"maxNum", "1"}, {"beginTimestamp", "0"},
                                     {"endTimestamp", "9223372036854775807"}, {"_UNIQUE_KEY_QUERY", "true"}),
                              MQ_STR(""), &answer),
                     RESP_SUCCESS);
    assert_int_equal(records_of("new"), 32);
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

static void a_query_with_bad_fields_names_them(void **state)
{
    static const struct {
        const char *why, *named;
        struct pair fields[6];
    } cases[] = {
        {"no topic", "topic", {{"key", "k"}, {"maxNum", "1"}, {"beginTimestamp", "0"}, {"endTimestamp", "1"}}},
        {"no key", "key", {{"topic", "T"}, {"maxNum", "1"}, {"beginTimestamp", "0"}, {"endTimestamp", "1"}}},
        {"no number", "maxNum", {{"topic", "T"}, {"key", "k"}, {"beginTimestamp", "0"}, {"endTimestamp", "1"}}},
        {"no begin", "beginTimestamp", {{"topic", "T"}, {"key", "k"}, {"maxNum", "1"}, {"endTimestamp", "1"}}},
        {"no end", "endTimestamp", {{"topic", "T"}, {"key", "k"}, {"maxNum", "1"}, {"beginTimestamp", "0"}}},
        {"a number too large",
         "maxNum",
         {{"topic", "T"}, {"key", "k"}, {"maxNum", "2147483648"}, {"beginTimestamp", "0"}, {"endTimestamp", "1"}}},
        {"a time that is none",
         "beginTimestamp",
         {{"topic", "T"}, {"key", "k"}, {"maxNum", "1"}, {"beginTimestamp", "now"}, {"endTimestamp", "1"}}},
    };
    struct rig rig;
    struct peer peer;

    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(peer_ask(&peer, REQ_QUERY_MESSAGE, cases[i].fields, MQ_STR(""), &answer), RESP_SYSTEM_ERROR);
        assert_non_null(strstr(answer_remark(&answer), cases[i].named));
    }
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

/* More of them than the index gives at a time: what is behind them is found all the same. */
static void messages_of_a_deleted_topic_are_hidden(void **state)
{
    struct rig rig;
    struct peer peer;

    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "1"), RESP_SUCCESS);
    for (int i = 0; i < 150; i++) {
        assert_int_equal(rig_send(&peer, "Orders", "0", "old", KEYS("k"), NULL), RESP_SUCCESS);
    }
    assert_int_equal(query(&peer, "Orders", "k", "64", ALL_TIME), RESP_SUCCESS);
    assert_int_equal(records_of("old"), 64);
    assert_int_equal(peer_code(&peer, REQ_DELETE_TOPIC_IN_BROKER, FIELDS({"topic", "Orders"}), MQ_STR("")),
                     RESP_SUCCESS);
    assert_int_equal(query(&peer, "Orders", "k", "64", ALL_TIME), RESP_QUERY_NOT_FOUND);

    assert_int_equal(rig_topic(&peer, "Orders", "1"), RESP_SUCCESS); /* under the same offsets again */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig_send(&peer, "Orders", "0", "new", KEYS("k"), NULL), RESP_SUCCESS);
    }
    assert_int_equal(query(&peer, "Orders", "k", "64", ALL_TIME), RESP_SUCCESS);
    assert_int_equal(records_of("new"), 3);
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

/* --- over the end of a process --- */

static void each_index_file(struct rig *rig, void (*each)(const char *path), int *count)
{
    char *dir = mq_path_join(rig->dir, "index");
    struct dirent *entry;
    DIR *names = opendir(dir);

    *count = 0;
    assert_non_null(names);
    while ((entry = readdir(names)) != NULL) {
        if (entry->d_name[0] != '.') {
            char *path = mq_path_join(dir, entry->d_name);

            each(path);
            free(path);
            (*count)++;
        }
    }
    closedir(names);
    free(dir);
}

static void leave(const char *path)
{
    (void)path;
}

static void lose(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

static void flip_at(const char *path, off_t at)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void flip_header(const char *path)
{
    flip_at(path, 20);
}

static void flip_key(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    flip_at(path, st.st_size - 3);
}

static void cut(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 1), 0);
}

static void empty(const char *path)
{
    assert_int_equal(truncate(path, 0), 0);
}

/* Of the only file of the index; 0 without one. */
static ino_t index_inode(struct rig *rig)
{
    ino_t found = 0;
    char *dir = mq_path_join(rig->dir, "index");
    struct dirent *entry;
    DIR *names = opendir(dir);

    assert_non_null(names);
    while ((entry = readdir(names)) != NULL) {
        found = entry->d_name[0] != '.' ? entry->d_ino : found;
    }
    closedir(names);
    free(dir);
    return found;
}

static void everything_is_found_again_whatever_became_of_the_files(void **state)
{
    static const struct {
        const char *why;
        void (*harm)(const char *path);
    } cases[] = {
        {"nothing", leave},           {"they are lost", lose},           {"a bit of the header", flip_header},
        {"a bit of a key", flip_key}, {"the last byte is missing", cut}, {"a crash left an empty one", empty},
    };
    struct rig rig;
    struct peer peer;

    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        ino_t before;
        int files;

        print_message("%s\n", cases[i].why);
        for (int k = 0; k < 5; k++) {
            assert_int_equal(rig_send(&peer, "Orders", "0", "kept", KEYS("kept"), NULL), RESP_SUCCESS);
        }
        assert_int_equal(query(&peer, "Orders", "kept", "1", ALL_TIME), RESP_SUCCESS);
        peer_hang_up(&peer);
        rig_stop(&rig);
        each_index_file(&rig, cases[i].harm, &files);
        assert_int_equal(files, 1);
        before = index_inode(&rig);
        rig_start(&rig, NULL);
        peer_dial(&rig, &peer, PROTO_JSON);
        assert_int_equal(query(&peer, "Orders", "kept", "64", ALL_TIME), RESP_SUCCESS);
        assert_int_equal(records_of("kept"), 5 * (i + 1));
        /* A good file is taken up. */
        assert_int_equal(before != 0 && index_inode(&rig) == before, cases[i].harm == leave);
    }
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

static void an_index_of_another_log_is_not_believed(void **state)
{
    char command[512];
    struct rig rig, other;
    struct peer peer;

    (void)state;
    rig_open(&other, NULL);
    peer_dial(&other, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Orders", "0", "other", KEYS("other"), NULL), RESP_SUCCESS);
    peer_hang_up(&peer);
    rig_stop(&other);

    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Orders", "0", "mine", KEYS("mine"), NULL), RESP_SUCCESS);
    peer_hang_up(&peer);
    rig_stop(&rig);

    snprintf(command, sizeof(command), "rm -r %s/index && cp -r %s/index %s/index", rig.dir, other.dir, rig.dir);
    assert_int_equal(system(command), 0);
    rig_start(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(query(&peer, "Orders", "mine", "64", ALL_TIME), RESP_SUCCESS);
    assert_int_equal(records_of("mine"), 1);
    assert_int_equal(query(&peer, "Orders", "other", "64", ALL_TIME), RESP_QUERY_NOT_FOUND);
    peer_hang_up(&peer);
    rig_close(&rig);
    rig_end(&other);
    answer_free(&answer);
}

static void without_an_index_the_answer_says_so(void **state)
{
    static const char *const off[] = {"messageIndexEnable=false", NULL};
    struct rig rig;
    struct peer peer;

    (void)state;
    rig_open(&rig, off);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Orders", "0", "one", KEYS("k"), NULL), RESP_SUCCESS);
    assert_int_equal(query(&peer, "Orders", "k", "64", ALL_TIME), RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), "messageIndexEnable"));
    peer_hang_up(&peer);

    rig_reopen(&rig, NULL); /* switched on later: what came meanwhile is found, too */
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(query(&peer, "Orders", "k", "64", ALL_TIME), RESP_SUCCESS);
    assert_int_equal(records_of("one"), 1);
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

static void queries_under_way_end_with_the_broker(void **state)
{
    struct answer answers[8] = {0};
    struct rig rig;
    struct peer peer;

    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        peer_start(&peer, REQ_QUERY_MESSAGE,
                   FIELDS({"topic", "Orders"}, {"key", "k"}, {"maxNum", "1"}, {"beginTimestamp", "0"},
                          {"endTimestamp", "1"}),
                   MQ_STR(""), &answers[i]);
    }
    peer_hang_up(&peer);
    rig_close(&rig);
}

/* --- 321 --- */

static void units_of_a_queue_follow_the_table_of_cases(void **state)
{
    static const struct {
        const char *why, *topic, *queue, *index, *count;
        int32_t code;
        const char *remark, *body; /* what they contain; NULL: nothing */
    } cases[] = {
        {"the first two", "Orders", "0", "0", "2", RESP_SUCCESS, NULL, "\"maxQueueIndex\":3,\"minQueueIndex\":0"},
        {"a tag's hash", "Orders", "0", "2", "10", RESP_SUCCESS, NULL, "\"tagsCode\":2598919}]"},
        {"none", "Orders", "0", "1", "0", RESP_SUCCESS, NULL, "\"queueData\":[]"},
        {"fewer than none", "Orders", "0", "1", "-5", RESP_SUCCESS, NULL, "\"queueData\":[]"},
        {"behind the end", "Orders", "0", "3", "1", RESP_SUCCESS, "Index 3 of 0@Orders", NULL},
        {"before the beginning", "Orders", "0", "-1", "1", RESP_SUCCESS, "Index -1 of 0@Orders", NULL},
        {"a queue never used", "Orders", "3", "0", "1", RESP_SYSTEM_ERROR, "queueId 3", NULL},
        {"no such queue", "Orders", "-1", "0", "1", RESP_SYSTEM_ERROR, "queueId -1", NULL},
        {"no such topic", "Nothing", "0", "0", "1", RESP_SYSTEM_ERROR, "\"Nothing\"", NULL},
        {"an index that is no number", "Orders", "0", "x", "1", RESP_SYSTEM_ERROR, "index", NULL},
        {"a count that is too large", "Orders", "0", "0", "2147483648", RESP_SYSTEM_ERROR, "count", NULL},
    };
    struct rig rig;
    struct peer peer;

    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig_send(&peer, "Orders", "0", "one", "TAGS\x01TagA\x02", NULL), RESP_SUCCESS);
    }
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(peer_ask(&peer, REQ_QUERY_CONSUME_QUEUE,
                                  FIELDS({"topic", cases[i].topic}, {"queueId", cases[i].queue},
                                         {"index", cases[i].index}, {"count", cases[i].count}),
                                  MQ_STR(""), &answer),
                         cases[i].code);
        if (cases[i].remark != NULL) {
            assert_non_null(strstr(answer_remark(&answer), cases[i].remark));
        }
        if (cases[i].body != NULL) {
            assert_non_null(strstr(answer_body(&answer), cases[i].body));
        } else {
            assert_int_equal(answer.body.len, 0);
        }
    }
    assert_int_equal(peer_ask(&peer, REQ_QUERY_CONSUME_QUEUE, NO_FIELDS, MQ_STR(""), &answer), RESP_SYSTEM_ERROR);
    assert_int_equal(peer_ask(&peer, REQ_QUERY_CONSUME_QUEUE,
                              FIELDS({"topic", "Orders"}, {"queueId", "0"}, {"index", "0"}, {"count", "1"},
                                     {"consumerGroup", "Nobody"}),
                              MQ_STR(""), &answer),
                     RESP_SUCCESS);
    assert_non_null(strstr(answer_body(&answer), "\"filterData\":\"Nobody@Orders is not online!\""));
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_found_by_each_key_as_soon_as_it_is_acknowledged),
        cmocka_unit_test(what_does_not_match_is_not_found),
        cmocka_unit_test(the_newest_are_given_and_not_more_than_asked_for),
        cmocka_unit_test(a_query_with_bad_fields_names_them),
        cmocka_unit_test(messages_of_a_deleted_topic_are_hidden),
        cmocka_unit_test(everything_is_found_again_whatever_became_of_the_files),
        cmocka_unit_test(an_index_of_another_log_is_not_believed),
        cmocka_unit_test(without_an_index_the_answer_says_so),
        cmocka_unit_test(queries_under_way_end_with_the_broker),
        cmocka_unit_test(units_of_a_queue_follow_the_table_of_cases),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
