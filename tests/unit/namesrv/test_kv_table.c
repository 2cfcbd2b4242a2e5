#include "namesrv/kv_table.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char dir[64];
    char path[128];
};

static int make_place(void **state)
{
    static struct place place;

    snprintf(place.dir, sizeof(place.dir), "/tmp/test_kv_table.XXXXXX");
    if (mkdtemp(place.dir) == NULL) {
        return -1;
    }
    snprintf(place.path, sizeof(place.path), "%s/sub/kvConfig.json", place.dir);
    *state = &place;
    return 0;
}

static int remove_place(void **state)
{
    return mq_dir_remove(((struct place *)*state)->dir);
}

static struct kv_table *open_table(const char *path)
{
    struct mq_buf problem = {0};
    struct kv_table *table;

    assert_int_equal(kv_table_open(path, &table, &problem), 0);
    assert_int_equal(problem.len, 0);
    return table;
}

static int put(struct kv_table *table, const char *space, const char *key, const char *value)
{
    return kv_table_put(table, mq_str_of(space), mq_str_of(key), mq_str_of(value));
}

static void assert_value(const struct kv_table *table, const char *space, const char *key, const char *want)
{
    struct mq_str got = kv_table_get(table, mq_str_of(space), mq_str_of(key));

    if (want == NULL) {
        assert_null(got.at);
    } else {
        assert_true(got.at != NULL && mq_str_eq(got, mq_str_of(want)));
    }
}

static void what_was_put_is_there_after_a_restart(void **state)
{
    struct place *place = *state;
    struct kv_table *table = open_table(place->path);
    struct mq_buf text = {0};

    assert_false(mq_file_exists(place->path));
    assert_int_equal(put(table, "B", "k2", "v2"), 0);
    assert_int_equal(put(table, "A", "k", "a \"quoted\" \n value"), 0);
    assert_int_equal(put(table, "B", "k1", ""), 0);
    assert_int_equal(put(table, "B", "k2", "v3"), 0);
    assert_int_equal(put(table, "C", "gone", "x"), 0);
    assert_int_equal(kv_table_delete(table, MQ_STR("C"), MQ_STR("gone")), 0);
    kv_table_free(table);

    assert_int_equal(mq_file_read(place->path, 4096, &text), 0);
    assert_true(mq_str_eq(mq_buf_str(&text), MQ_STR("{\"configTable\":{\"A\":{\"k\":\"a \\\"quoted\\\" \\n value\"},"
                                                    "\"B\":{\"k1\":\"\",\"k2\":\"v3\"}}}")));
    mq_buf_free(&text);

    table = open_table(place->path);
    assert_value(table, "A", "k", "a \"quoted\" \n value");
    assert_value(table, "B", "k1", "");
    assert_value(table, "B", "k2", "v3");
    assert_value(table, "C", "gone", NULL);
    kv_table_free(table);
}

static void a_namespace_is_listed_in_order_and_alone(void **state)
{
    struct kv_table *table = open_table(NULL);
    struct proto_kvs kvs = {0};

    (void)state;
    assert_int_equal(kv_table_list(table, MQ_STR("N"), &kvs), MQ_ENOTFOUND);
    put(table, "N", "b", "2");
    put(table, "N", "a", "1");
    put(table, "NN", "c", "3");
    put(table, "M", "d", "4");
    assert_int_equal(kv_table_list(table, MQ_STR("N"), &kvs), 0);
    assert_int_equal(kvs.count, 2);
    assert_true(mq_str_eq(kvs.items[0].key, MQ_STR("a")));
    assert_true(mq_str_eq(kvs.items[1].value, MQ_STR("2")));
    proto_kvs_free(&kvs);
    kv_table_free(table);
}

static void a_broken_file_is_refused_by_name(void **state)
{
    static const struct {
        const char *why, *text;
    } cases[] = {
        {"empty", ""},
        {"not JSON", "configTable"},
        {"cut", "{\"configTable\":{\"N\":{\"k\":\"v\""},
        {"something behind it", "{\"configTable\":{}} x"},
        {"no table", "{}"},
        {"a table of another shape", "{\"configTable\":[]}"},
        {"a namespace of another shape", "{\"configTable\":{\"N\":7}}"},
        {"an array", "[]"},
    };
    struct place *place = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf problem = {0};
        struct kv_table *table = NULL;
        char path[160];

        print_message("  %s\n", cases[i].why);
        snprintf(path, sizeof(path), "%s/broken.json", place->dir);
        assert_int_equal(mq_file_replace(path, cases[i].text, strlen(cases[i].text)), 0);
        assert_int_equal(kv_table_open(path, &table, &problem), MQ_EBADMSG);
        assert_null(table);
        assert_true(mq_str_starts(mq_buf_str(&problem), mq_str_of(path)));
        mq_buf_free(&problem);
    }
}

static void stock_files_are_read(void **state)
{
    static const char text[] =
        "{\n\t\"configTable\" : { \"ORDER_TOPIC_CONFIG\" : {\"t\":\"b:8\", \"n\":5, \"z\":null},\n"
        "\t\t\"E\":{} }, \"other\":[1,{}] }\n";
    struct place *place = *state;
    struct kv_table *table;
    char path[160];

    snprintf(path, sizeof(path), "%s/stock.json", place->dir);
    assert_int_equal(mq_file_replace(path, text, sizeof(text) - 1), 0);
    table = open_table(path);
    assert_value(table, "ORDER_TOPIC_CONFIG", "t", "b:8");
    assert_value(table, "ORDER_TOPIC_CONFIG", "n", "5");
    assert_value(table, "ORDER_TOPIC_CONFIG", "z", NULL);
    kv_table_free(table);
}

static void a_change_that_cannot_be_kept_is_not_made(void **state)
{
    struct place *place = *state;
    struct kv_table *table;
    char path[160];

    snprintf(path, sizeof(path), "%s/plain", place->dir);
    assert_int_equal(mq_file_replace(path, "x", 1), 0);
    snprintf(path, sizeof(path), "%s/plain/kv.json", place->dir); /* below a file: nothing can be written there */
    table = open_table(path);
    assert_true(put(table, "N", "k", "v") < 0);
    assert_value(table, "N", "k", NULL);
    kv_table_free(table);

    snprintf(path, sizeof(path), "%s/dir/kv.json", place->dir);
    table = open_table(path);
    assert_int_equal(put(table, "N", "k", "v"), 0);
    snprintf(path, sizeof(path), "%s/dir", place->dir);
    assert_int_equal(mq_dir_remove(path), 0);
    assert_int_equal(mq_file_replace(path, "x", 1), 0);
    assert_true(put(table, "N", "k", "w") < 0);
    assert_value(table, "N", "k", "v");
    assert_true(kv_table_delete(table, MQ_STR("N"), MQ_STR("k")) < 0);
    assert_value(table, "N", "k", "v");
    kv_table_free(table);
}

static void names_values_and_the_whole_have_limits(void **state)
{
    static char name[KV_NAME_MAX + 2], value[KV_VALUE_MAX + 2];
    struct kv_table *table = open_table(NULL);
    unsigned puts = 0;
    int rc;

    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    memset(value, 'v', sizeof(value) - 1);
    assert_int_equal(put(table, name, "k", "v"), MQ_ETOOBIG);
    assert_int_equal(put(table, "N", name, "v"), MQ_ETOOBIG);
    assert_int_equal(put(table, "N", "k", value), MQ_ETOOBIG);
    assert_int_equal(put(table, "", "k", "v"), MQ_EINVAL);
    assert_int_equal(put(table, "N", "", "v"), MQ_EINVAL);
    value[KV_VALUE_MAX] = '\0';
    do {
        char key[16];

        snprintf(key, sizeof(key), "%u", puts);
        rc = put(table, "N", key, value);
    } while (rc == 0 && ++puts < 1000);
    assert_int_equal(rc, MQ_ETOOBIG);
    assert_int_equal(puts, KV_BYTES_MAX / KV_VALUE_MAX - 1);
    kv_table_free(table);
}

static void a_failed_allocation_keeps_the_old_value(void **state)
{
    struct place *place = *state;
    char path[160];

    snprintf(path, sizeof(path), "%s/alloc.json", place->dir);
    for (unsigned nth = 1;; nth++) {
        struct kv_table *table;
        int rc;

        unlink(path);
        table = open_table(path);
        assert_int_equal(put(table, "N", "k", "old"), 0);
        mq_heap_fail_at(nth);
        rc = put(table, "N", "k", "new");
        mq_heap_fail_at(0);
        assert_value(table, "N", "k", rc == 0 ? "new" : "old");
        kv_table_free(table);
        if (rc == 0) {
            assert_true(nth > 2);
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_there_after_a_restart),
        cmocka_unit_test(a_namespace_is_listed_in_order_and_alone),
        cmocka_unit_test(a_broken_file_is_refused_by_name),
        cmocka_unit_test(stock_files_are_read),
        cmocka_unit_test(a_change_that_cannot_be_kept_is_not_made),
        cmocka_unit_test(names_values_and_the_whole_have_limits),
        cmocka_unit_test(a_failed_allocation_keeps_the_old_value),
    };

    return cmocka_run_group_tests(tests, make_place, remove_place);
}
