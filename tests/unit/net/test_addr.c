#include "fixture.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <string.h>

static void an_address_is_parsed_and_printed_the_same(void **state)
{
    static const char *const cases[] = {"127.0.0.1:10911", "0.0.0.0:0", "192.0.2.7:65535", "[::1]:9876"};
    struct sockaddr_storage addr;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(net_addr_parse(cases[i], &addr), 0);
        assert_string_equal(net_addr_text((struct sockaddr *)&addr), cases[i]);
    }
}

static void a_name_is_resolved(void **state)
{
    struct sockaddr_storage addr;

    (void)state;
    assert_int_equal(net_addr_parse("localhost:9876", &addr), 0);
    assert_non_null(strstr(net_addr_text((struct sockaddr *)&addr), ":9876"));
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const cases[] = {
        "", ":", "127.0.0.1", ":10911", "127.0.0.1:", "127.0.0.1:-1", "127.0.0.1:65536", "127.0.0.1:1x", "[]:1",
    };
    struct sockaddr_storage addr = {.ss_family = 77};
    char text[400];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("\"%s\"\n", cases[i]);
        assert_int_equal(net_addr_parse(cases[i], &addr), MQ_EINVAL);
    }
    memset(text, 'a', sizeof(text));
    memcpy(text + 300, ":1", 3);
    assert_int_equal(net_addr_parse(text, &addr), MQ_EINVAL);
    assert_int_equal(addr.ss_family, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_parsed_and_printed_the_same),
        cmocka_unit_test(a_name_is_resolved),
        cmocka_unit_test(what_is_no_address_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
