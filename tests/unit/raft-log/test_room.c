/* What the room on several disks comes to. */
#include "raft-log/room.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ENOUGH RLOG_SPACE_ENOUGH
#define LOW RLOG_SPACE_LOW
#define SCARCE RLOG_SPACE_SCARCE
#define FULL RLOG_SPACE_FULL

static void a_majority_needs_room(void **state)
{
    static const struct {
        const char *why;
        enum rlog_space_level levels[5];
        uint32_t n;
        enum rlog_space_level want;
    } cases[] = {
        {"nobody votes", {FULL}, 0, ENOUGH},
        {"a group of one", {LOW}, 1, LOW},
        {"one of three may be full", {ENOUGH, FULL, ENOUGH}, 3, ENOUGH},
        {"two of three are low", {ENOUGH, LOW, LOW}, 3, LOW},
        {"the better one of two counts", {ENOUGH, FULL, LOW}, 3, LOW},
        {"two of three are full", {ENOUGH, FULL, FULL}, 3, FULL},
        {"retention may go on where two of three are low", {LOW, SCARCE, LOW}, 3, LOW},
        {"and not where two are scarce", {LOW, SCARCE, FULL}, 3, SCARCE},
        {"half of four is no majority", {ENOUGH, ENOUGH, LOW, FULL}, 4, LOW},
        {"three of five have room", {ENOUGH, FULL, ENOUGH, FULL, ENOUGH}, 5, ENOUGH},
        {"two of five have room", {ENOUGH, FULL, LOW, FULL, ENOUGH}, 5, LOW},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(room_of_majority(cases[i].levels, cases[i].n), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_majority_needs_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
