/* What is in flight is bounded, and who is held back is told by which bound. */
#include "raft_cluster.h"

#include "raft-log/rlog.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define PAYLOAD 904u /* entries of 1000 bytes */

static void the_bound_that_holds_back_is_named(void **state)
{
    static const struct {
        const char *what;
        uint32_t entries;
        uint64_t bytes, unsynced, used; /* used: when it is reached */
    } cases[] = {
        {"entries in flight", 4, 1 << 20, 1 << 20, 4},
        {"bytes in flight", 100, 3000, 1 << 20, 3000},
        {"unsynced bytes", 100, 1 << 20, 5000, 5000},
    };

    (void)state;
    mq_log_set_level(MQ_LOG_ERROR);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cluster c;
        struct cluster_node *node;
        struct rlog_bound bound;
        uint64_t number = 1;

        print_message("%s\n", cases[i].what);
        cluster_init(&c, 1);
        cluster_start_all(&c);
        node = cluster_await_writable(&c);
        node->log->driver.options.inflight_entries_max = cases[i].entries;
        node->log->driver.options.inflight_bytes_max = cases[i].bytes;
        node->log->driver.options.unsynced_bytes_max = cases[i].unsynced;
        rlog_bound_get(node->log, &bound);
        assert_null(bound.what);
        /* The loop does not run meanwhile, so nothing gets done. */
        while (cluster_propose(node, number, PAYLOAD) == 0) {
            number++;
        }
        assert_int_equal(cluster_propose(node, number, PAYLOAD), MQ_EBUSY);
        rlog_bound_get(node->log, &bound);
        assert_string_equal(bound.what, cases[i].what);
        assert_int_equal(bound.used, cases[i].used);
        cluster_await_level(&c);
        assert_int_equal(rlog_can_propose(node->log), 0);
        cluster_fini(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_bound_that_holds_back_is_named)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
