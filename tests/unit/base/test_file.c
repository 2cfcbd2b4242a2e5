#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory of our own; paths in it are made by at(). */
static char root[64];

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/raftmq-file-XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return mq_dir_remove(root);
}

/* Valid until the third call from now. */
static const char *at(const char *name)
{
    static char paths[3][128];
    static unsigned next;
    char *path = paths[next++ % 3];

    snprintf(path, sizeof(paths[0]), "%s/%s", root, name);
    return path;
}

static void assert_content(const char *path, const char *want)
{
    struct mq_buf got = {0};

    assert_int_equal(mq_file_read(path, 1u << 20, &got), 0);
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.base, want, got.len);
    mq_buf_free(&got);
}

static void a_replaced_file_holds_the_new_bytes_and_leaves_nothing_beside_it(void **state)
{
    (void)state;
    assert_int_equal(mq_file_replace(at("a"), "first, longer", 13), 0);
    assert_content(at("a"), "first, longer");
    assert_int_equal(mq_file_replace(at("a"), "second", 6), 0);
    assert_content(at("a"), "second");
    assert_int_equal(mq_file_replace(at("a"), "", 0), 0);
    assert_content(at("a"), "");
    assert_false(mq_file_exists(at("a.tmp")));
}

static void a_file_left_half_written_by_a_crash_is_overwritten(void **state)
{
    (void)state;
    assert_int_equal(mq_file_replace(at("a.tmp"), "garbage that is longer", 22), 0);
    assert_int_equal(mq_file_replace(at("a"), "x", 1), 0);
    assert_content(at("a"), "x");
}

static void a_failed_replace_keeps_the_old_file(void **state)
{
    (void)state;
    assert_int_equal(mq_file_replace(at("none/a"), "x", 1), -ENOENT);
    assert_int_equal(mkdir(at("dir"), 0755), 0);
    assert_int_equal(mq_file_replace(at("dir"), "x", 1), -EISDIR); /* rename refuses */
    assert_false(mq_file_exists(at("dir.tmp")));
    assert_int_equal(mq_file_replace(at("a"), "old", 3), 0);
    assert_int_equal(mkdir(at("a.tmp"), 0755), 0);
    assert_int_equal(mq_file_replace(at("a"), "new", 3), -EISDIR); /* open refuses */
    assert_content(at("a"), "old");
}

static void a_name_without_a_directory_is_in_the_current_one(void **state)
{
    char *before = getcwd(NULL, 0);

    (void)state;
    assert_non_null(before);
    assert_int_equal(chdir(root), 0);
    assert_int_equal(mq_file_replace("b", "y", 1), 0);
    assert_int_equal(mq_dir_make("rel/sub"), 0);
    assert_int_equal(chdir(before), 0);
    free(before);
    assert_content(at("b"), "y");
    assert_true(mq_file_exists(at("rel/sub")));
}

static void reading_appends_and_respects_the_limit(void **state)
{
    struct mq_buf got = {0};

    (void)state;
    assert_int_equal(mq_file_replace(at("a"), "12345", 5), 0);
    assert_int_equal(mq_buf_put(&got, "<", 1), 0);
    assert_int_equal(mq_file_read(at("a"), 5, &got), 0);
    assert_true(mq_str_eq(mq_buf_str(&got), MQ_STR("<12345")));
    assert_int_equal(mq_file_read(at("a"), 4, &got), MQ_ETOOBIG);
    assert_int_equal(mq_file_read(at("b"), 4, &got), -ENOENT);
    assert_int_equal(mq_file_read(root, 4, &got), -EISDIR);
    assert_true(mq_str_eq(mq_buf_str(&got), MQ_STR("<12345")));
    mq_buf_free(&got);
}

static void a_file_of_many_pages_is_read_whole(void **state)
{
    size_t n = 300001;
    char *bytes = malloc(n);
    struct mq_buf got = {0};

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (char)(i * 7 + i / 251);
    }
    assert_int_equal(mq_file_replace(at("big"), bytes, n), 0);
    assert_int_equal(mq_file_read(at("big"), n, &got), 0);
    assert_int_equal(got.len, n);
    assert_memory_equal(got.base, bytes, n);
    mq_buf_free(&got);
    free(bytes);
}

static void a_file_that_claims_to_be_empty_is_read_whole(void **state)
{
    struct mq_buf got = {0};

    (void)state;
    assert_int_equal(mq_file_read("/proc/self/stat", 65536, &got), 0);
    assert_true(got.len > 10);
    mq_buf_free(&got);
}

static void directories_are_made_with_their_parents(void **state)
{
    static const char *const NAMES[] = {"d", "d/e/f", "d/e/f", "g//h///i/", "j/"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
        struct stat st;

        assert_int_equal(mq_dir_make(at(NAMES[i])), 0);
        assert_int_equal(stat(at(NAMES[i]), &st), 0);
        assert_true(S_ISDIR(st.st_mode));
    }
    assert_int_equal(mq_dir_make("/"), 0);
    assert_int_equal(mq_dir_make(""), -ENOENT);
}

static void a_directory_where_a_file_stands_is_refused(void **state)
{
    (void)state;
    assert_int_equal(mq_file_replace(at("a"), "x", 1), 0);
    assert_int_equal(mq_dir_make(at("a")), -ENOTDIR);
    assert_int_equal(mq_dir_make(at("a/b")), -ENOTDIR);
    assert_int_equal(mq_dir_sync(at("a")), -ENOTDIR);
    assert_int_equal(mq_dir_sync(at("b")), -ENOENT);
    assert_int_equal(mq_dir_sync(root), 0);
}

static void a_tree_is_removed_but_not_what_its_links_point_to(void **state)
{
    (void)state;
    assert_int_equal(mq_dir_make(at("keep")), 0);
    assert_int_equal(mq_file_replace(at("keep/a"), "x", 1), 0);
    assert_int_equal(mq_dir_make(at("tree/sub/deep")), 0);
    assert_int_equal(mq_file_replace(at("tree/sub/a"), "x", 1), 0);
    assert_int_equal(symlink(at("keep"), at("tree/link")), 0);
    assert_int_equal(mq_dir_remove(at("tree")), 0);
    assert_false(mq_file_exists(at("tree")));
    assert_content(at("keep/a"), "x");
    assert_int_equal(mq_dir_remove(at("tree")), 0);
}

static void only_a_directory_is_removed(void **state)
{
    (void)state;
    assert_int_equal(mq_file_replace(at("a"), "x", 1), 0);
    assert_int_equal(mq_dir_remove(at("a")), -ENOTDIR);
    assert_int_equal(symlink(root, at("link")), 0);
    assert_int_equal(mq_dir_remove(at("link")), -ENOTDIR);
    assert_true(mq_file_exists(at("a")));
}

static void a_path_is_joined_with_one_slash(void **state)
{
    char *path = mq_path_join("/a/b", "c");

    (void)state;
    assert_string_equal(path, "/a/b/c");
    mq_free(path);
    mq_heap_fail_at(1);
    path = mq_path_join("a", "b");
    mq_heap_fail_at(0);
    assert_null(path);
}

static void a_failed_allocation_is_reported_and_the_old_file_stays(void **state)
{
    struct mq_buf got = {0};
    int rc = MQ_ENOMEM;
    unsigned nth;

    (void)state;
    assert_int_equal(mq_file_replace(at("a"), "old", 3), 0);
    mq_heap_fail_at(1);
    assert_int_equal(mq_file_replace(at("a"), "new", 3), MQ_ENOMEM);
    mq_heap_fail_at(1);
    assert_int_equal(mq_file_read(at("a"), 10, &got), MQ_ENOMEM);
    mq_heap_fail_at(0);
    assert_content(at("a"), "old");
    for (nth = 1; rc == MQ_ENOMEM; nth++) {
        mq_heap_fail_at(nth);
        rc = mq_dir_make(at("m/n"));
        mq_heap_fail_at(0);
    }
    assert_int_equal(rc, 0);
    assert_true(nth > 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_replaced_file_holds_the_new_bytes_and_leaves_nothing_beside_it),
        TEST(a_file_left_half_written_by_a_crash_is_overwritten),
        TEST(a_failed_replace_keeps_the_old_file),
        TEST(a_name_without_a_directory_is_in_the_current_one),
        TEST(reading_appends_and_respects_the_limit),
        TEST(a_file_of_many_pages_is_read_whole),
        TEST(a_file_that_claims_to_be_empty_is_read_whole),
        TEST(directories_are_made_with_their_parents),
        TEST(a_directory_where_a_file_stands_is_refused),
        TEST(a_tree_is_removed_but_not_what_its_links_point_to),
        TEST(only_a_directory_is_removed),
        TEST(a_path_is_joined_with_one_slash),
        TEST(a_failed_allocation_is_reported_and_the_old_file_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
