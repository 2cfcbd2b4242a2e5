/* broker.conf: what a migrating file may hold, what follows from it, and how mistakes are named. */
#include "broker/config.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct loaded {
    struct broker_config config;
    struct mq_buf problem, warnings;
    int rc;
};

/* Loads @text as a file, with @override (NULL: none) over it. */
static void load(struct loaded *l, const char *text, const char *override)
{
    char path[] = "/tmp/raftmq-conf-XXXXXX";
    const char *const overrides[] = {override, NULL};
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    l->problem = (struct mq_buf){0};
    l->warnings = (struct mq_buf){0};
    l->rc = broker_config_load(&l->config, path, overrides, &l->problem, &l->warnings);
    assert_int_equal(mq_buf_put_u8(&l->problem, 0), 0);
    assert_int_equal(mq_buf_put_u8(&l->warnings, 0), 0);
    unlink(path);
}

static void unload(struct loaded *l)
{
    broker_config_free(&l->config);
    mq_buf_free(&l->problem);
    mq_buf_free(&l->warnings);
}

static void sizes_of_queue_files_are_rounded_to_units(void **state)
{
    static const struct {
        const char *line;
        int64_t bytes;
    } cases[] = {{"mappedFileSizeConsumeQueue=1048576", 1048580},
                 {"mappedFileSizeConsumeQueue=30000", 30000},
                 {"mappedFileSizeConsumeQueue=1073741824", 1073741820}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct loaded l;

        load(&l, "brokerName=alone\nbrokerIP1=127.0.0.1\n", cases[i].line);
        assert_int_equal(l.rc, 0);
        assert_int_equal(l.config.queue_file_bytes, cases[i].bytes);
        unload(&l);
    }
}

static void a_dledger_configuration_starts(void **state)
{
    static const char text[] = "# from the original's examples\n"
                               "brokerClusterName = RaftCluster\n"
                               "brokerName=RaftNode00\n"
                               "brokerIP1=192.0.2.7\n"
                               "listenPort=30911\n"
                               "namesrvAddr=127.0.0.1:9876;127.0.0.1:9877\n"
                               "storePathRootDir=/tmp/rmqstore/node00\n"
                               "storePathCommitLog=/tmp/rmqstore/node00/commitlog\n"
                               "enableDLegerCommitLog=true\n"
                               "dLegerGroup=RaftNode00\n"
                               "dLegerPeers=n0-broker-0.example:40911;n1-192.0.2.8:40912;n7-192.0.2.9:40913;\n"
                               "dLegerSelfId=n1\n"
                               "sendMessageThreadPoolNums=16\n";
    struct loaded l;

    (void)state;
    load(&l, text, NULL);
    if (l.rc != 0) {
        fail_msg("%s", (char *)l.problem.base);
    }
    assert_string_equal(l.config.cluster, "RaftCluster");
    assert_string_equal(l.config.broker_name, "RaftNode00");
    assert_int_equal(l.config.n_members, 3);
    assert_int_equal(l.config.self, 2); /* number + 1 */
    assert_int_equal(l.config.members[0].id, 1);
    assert_string_equal(l.config.members[0].address, "broker-0.example:40911"); /* names may have dashes */
    assert_int_equal(l.config.members[2].id, 8);
    assert_memory_equal(l.config.ip_bytes, "\xC0\x00\x02\x07", 4);
    assert_int_equal(l.config.segment_bytes, 1 << 30);
    assert_int_equal(l.config.queue_file_bytes, 6000000);
    assert_int_equal(l.config.election_ms, 300);
    assert_int_equal(l.config.heartbeat_ms, 50);
    /* One line for each key without meaning here. */
    assert_non_null(strstr((char *)l.warnings.base, "storePathCommitLog"));
    assert_non_null(strstr((char *)l.warnings.base, "enableDLegerCommitLog"));
    assert_non_null(strstr((char *)l.warnings.base, ":13: sendMessageThreadPoolNums"));
    unload(&l);
}

static void a_file_without_a_group_makes_a_member_by_itself(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "brokerName=alone\nbrokerIP1=127.0.0.1\n", NULL);
    assert_int_equal(l.rc, 0);
    assert_string_equal(l.config.group, "alone");
    assert_string_equal(l.config.self_id, "n0");
    assert_int_equal(l.config.n_members, 1);
    assert_int_equal(l.config.self, 1);
    unload(&l);
    load(&l, "", "listenPort=0");
    assert_int_equal(l.rc, 0);
    assert_string_equal(l.config.broker_name, "broker-a");
    assert_true(l.config.ip[0] != '\0' && l.config.store_dir[0] != '\0');
    assert_int_equal(l.config.listen_port, 0);
    unload(&l);
}

static void entries_are_flushed_late_where_that_is_asked_for(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "flushDiskType=ASYNC_FLUSH\n", NULL);
    assert_int_equal(l.rc, 0);
    assert_int_equal(l.config.flush, 1);
    assert_int_equal(l.config.flush_ms, 5);
    unload(&l);
}

static void mistakes_are_named_in_one_line(void **state)
{
    static const struct {
        const char *text, *override, *problem;
    } cases[] = {
        {"brokerNmae=a\n", NULL, ":1: brokerNmae: unknown key, did you mean brokerName?"},
        {"\nlistenPort=70000\n", NULL, ":2: listenPort: \"70000\" is outside 0..65535"},
        {"listenPort\n", NULL, "not of the form key=value"},
        {"autoCreateTopicEnable=yes\n", NULL, "neither true nor false"},
        {"flushDiskType=SYNC\n", NULL, "SYNC_FLUSH"},
        {"", "listenPort", "-o listenPort: not of the form key=value"},
        {"", "listenPort=x", "-o: listenPort"},
        {"dLegerPeers=n0-127.0.0.1:1\ndLegerSelfId=n0\n", NULL, "dLegerGroup is not"},
        {"dLegerSelfId=n0\n", NULL, "dLegerPeers is not"},
        {"dLegerGroup=g\ndLegerPeers=n0-127.0.0.1:1\ndLegerSelfId=n1\n", NULL, "\"n1\" is not one of dLegerPeers"},
        {"dLegerGroup=g\ndLegerPeers=n0-127.0.0.1:1\n", NULL, "\"\" is not one of dLegerPeers"},
        {"dLegerGroup=g\ndLegerPeers=127.0.0.1:1\ndLegerSelfId=n0\n", NULL, "n0-host:port"},
        {"dLegerGroup=g\ndLegerPeers=n0-127.0.0.1\ndLegerSelfId=n0\n", NULL, "n0-host:port"},
        {"dLegerGroup=g\ndLegerPeers=n0-127.0.0.1:0\ndLegerSelfId=n0\n", NULL, "n0-host:port"},
        {"dLegerGroup=g\ndLegerPeers=n0-:99\ndLegerSelfId=n0\n", NULL, "n0-host:port"},
        {"dLegerGroup=g\ndLegerPeers=n2147483647-a:99\ndLegerSelfId=n0\n", NULL, "n0-host:port"},
        {"dLegerGroup=g\ndLegerPeers=n0-a:1;n0-b:2\ndLegerSelfId=n0\n", NULL, "n0 is there twice"},
        {"dLegerGroup=g\ndLegerPeers=n0-a:1;n1-a:1;n2-a:1;n3-a:1;n4-a:1;n5-a:1;n6-a:1;n7-a:1;n8-a:1;n9-a:1\n"
         "dLegerSelfId=n0\n",
         NULL, "more than 9 members"},
        {"dLegerGroup=g\nbrokerName=h\n", NULL, "must be the same"},
        {"brokerName=../x\n", NULL, "dLegerGroup \"../x\""},
        {"brokerClusterName=a b\n", NULL, "brokerClusterName \"a b\""},
        {"brokerIP1=localhost\n", NULL, "brokerIP1 \"localhost\""},
        {"raftHeartbeatMs=200\n", NULL, "raftHeartbeatMs 200"},
        {"mappedFileSizeConsumeQueue=19980\n", NULL, "\"19980\" is outside 20000..1073741824"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct loaded l;
        char *newline;

        print_message("%s%s\n", cases[i].text, cases[i].override != NULL ? cases[i].override : "");
        load(&l, cases[i].text, cases[i].override);
        assert_int_equal(l.rc, MQ_EINVAL);
        if (strstr((char *)l.problem.base, cases[i].problem) == NULL) {
            fail_msg("%s", (char *)l.problem.base);
        }
        newline = strchr((char *)l.problem.base, '\n');
        assert_non_null(newline);
        assert_int_equal(newline[1], '\0');
        unload(&l);
    }
}

static void a_cluster_name_leaves_room_for_the_reply_topic(void **state)
{
    char text[160];
    struct loaded l;

    (void)state;
    snprintf(text, sizeof(text), "brokerClusterName=%0115d\n", 0);
    load(&l, text, NULL);
    assert_int_equal(l.rc, 0);
    unload(&l);
    snprintf(text, sizeof(text), "brokerClusterName=%0116d\n", 0);
    load(&l, text, NULL);
    assert_int_equal(l.rc, MQ_EINVAL);
    unload(&l);
}

static void no_key_is_there_twice(void **state)
{
    (void)state;
    for (const struct mq_conf_key *a = broker_config_keys; a->name != NULL; a++) {
        for (const struct mq_conf_key *b = a + 1; b->name != NULL; b++) {
            assert_string_not_equal(a->name, b->name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dledger_configuration_starts),
        cmocka_unit_test(sizes_of_queue_files_are_rounded_to_units),
        cmocka_unit_test(a_file_without_a_group_makes_a_member_by_itself),
        cmocka_unit_test(entries_are_flushed_late_where_that_is_asked_for),
        cmocka_unit_test(mistakes_are_named_in_one_line),
        cmocka_unit_test(a_cluster_name_leaves_room_for_the_reply_topic),
        cmocka_unit_test(no_key_is_there_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
