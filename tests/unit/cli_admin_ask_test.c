/*
 * What `daybook status` and `top` read out of a page of metrics.
 */
#include "common/base.h"

#include <math.h>
#include <setjmp.h>
#include <cmocka.h>

#include "cli/admin_ask.h"

#define SERIES(name, a, b, c)                                                                      \
    "took_seconds_bucket{method=\"" name "\",le=\"0.1\"} " a "\n"                                  \
    "took_seconds_bucket{method=\"" name "\",le=\"0.2\"} " b "\n"                                  \
    "took_seconds_bucket{method=\"" name "\",le=\"+Inf\"} " c "\n"

static void assert_near(double is, double wanted)
{
    assert_true(fabs(is - wanted) < 1e-9);
}

static void a_family_is_summed_over_its_series(void **state)
{
    (void)state;
    const char *page = "# TYPE n counter\nn{code=\"ok\"} 5\nn{code=\"internal\"} 2\nn_other 9\n";
    double v = -1;
    assert_true(admin_metric(page, "n", NULL, &v));
    assert_near(v, 7);
    assert_true(admin_metric(page, "n", "code=\"internal\"", &v));
    assert_near(v, 2);
    assert_false(admin_metric(page, "nothing", NULL, &v));
}

static void a_quantile_lies_within_its_bucket(void **state)
{
    (void)state;
    double v = -1;
    assert_true(admin_quantile("", SERIES("a", "10", "20", "20"), "took_seconds", 0.5, &v));
    assert_near(v, 0.1);
    assert_true(admin_quantile("", SERIES("a", "10", "20", "20"), "took_seconds", 0.75, &v));
    assert_near(v, 0.15);
    /* Beyond the last bound nobody knows more than that. */
    assert_true(admin_quantile("", SERIES("a", "0", "1", "20"), "took_seconds", 0.99, &v));
    assert_near(v, 0.2);
}

static void series_are_added_and_the_page_before_is_taken_off(void **state)
{
    (void)state;
    const char *before = SERIES("a", "10", "10", "10");
    const char *page = SERIES("a", "10", "14", "14") SERIES("b", "4", "4", "4");
    double v = -1;
    assert_true(admin_quantile(before, page, "took_seconds", 0.5, &v));
    assert_near(v, 0.1);
    assert_true(admin_quantile(before, page, "took_seconds", 0.75, &v));
    assert_near(v, 0.15);
    assert_false(admin_quantile(before, before, "took_seconds", 0.5, &v));
    assert_false(admin_quantile("", "", "took_seconds", 0.5, &v));
}

static void what_is_no_sample_is_passed_over(void **state)
{
    (void)state;
    const char *page = "took_seconds_bucket{le=\"x\"} 3\ntook_seconds_bucket{} 3\n"
                       "took_seconds_bucket{le=\"1\"\ntook_seconds_bucket{le=\"1\"} y\n"
                       "took_seconds_bucket{le=\"1\"} 4 # {trace_id=\"} \"} 0.5 7\n"
                       "took_seconds_bucket{le=\"+Inf\"} 4\n";
    double v = -1;
    assert_true(admin_quantile("", page, "took_seconds", 0.5, &v));
    assert_near(v, 0.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_family_is_summed_over_its_series),
        cmocka_unit_test(a_quantile_lies_within_its_bucket),
        cmocka_unit_test(series_are_added_and_the_page_before_is_taken_off),
        cmocka_unit_test(what_is_no_sample_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
