/* Names and exit statuses of the canonical codes. */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/err.h"

static void every_code_has_its_own_name(void **state)
{
    (void)state;
    for (int a = 0; a <= 16; a++) {
        if (a != ERR_UNKNOWN && strcmp(err_name((enum err)a), "unknown") == 0)
            fail_msg("code %d has no name", a);
        for (int b = 0; b < a; b++)
            assert_string_not_equal(err_name((enum err)a), err_name((enum err)b));
    }
}

static void names_are_those_of_connect(void **state)
{
    (void)state;
    assert_string_equal(err_name(ERR_OK), "ok");
    assert_string_equal(err_name(ERR_CANCELED), "canceled");
    assert_string_equal(err_name(ERR_INVALID_ARGUMENT), "invalid_argument");
    assert_string_equal(err_name(ERR_UNAUTHENTICATED), "unauthenticated");
    assert_string_equal(err_name((enum err)17), "unknown");
}

static void exit_statuses_tell_what_to_do_next(void **state)
{
    (void)state;
    assert_int_equal(err_exit_code(ERR_OK), 0);
    assert_int_equal(err_exit_code(ERR_INVALID_ARGUMENT), 64);
    assert_int_equal(err_exit_code(ERR_UNAVAILABLE), 75);
    assert_int_equal(err_exit_code(ERR_INTERNAL), 70);
    for (int e = 1; e <= 16; e++)
        if (err_exit_code((enum err)e) == 0)
            fail_msg("%s would look like success", err_name((enum err)e));
    assert_int_equal(err_exit_code((enum err)99), 70);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_own_name),
        cmocka_unit_test(names_are_those_of_connect),
        cmocka_unit_test(exit_statuses_tell_what_to_do_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
