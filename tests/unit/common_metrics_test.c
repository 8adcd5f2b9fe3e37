/* Counters, gauges, histograms and the page they make. */
#include "common/base.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/metrics.h"

static struct metric requests = {
    .name = "daybook_test_requests_total",
    .type = METRIC_COUNTER,
    .help = "Requests.\nBy \\ result.",
    .labels = { "method", "code" },
};
static struct metric quiet = { .name = "daybook_test_quiet_total",
                               .type = METRIC_COUNTER,
                               .help = "Never counted." };
static struct metric depth = { .name = "daybook_test_depth",
                               .type = METRIC_GAUGE,
                               .help = "Depth." };
static struct metric held = {
    .name = "daybook_test_held", .type = METRIC_GAUGE, .help = "Held.", .labels = { "state" }
};
static const double bounds[] = { .1, 1, 10, 0 };
static struct metric seconds = {
    .name = "daybook_test_seconds",
    .type = METRIC_HISTOGRAM,
    .help = "Seconds.",
    .labels = { "rule" },
    .buckets = bounds,
};

static int teardown(void **state)
{
    (void)state;
    metrics_stop();
    return 0;
}

static void assert_page_has(const char *line)
{
    struct sbuf page;
    char want[512];
    sbuf_init(&page, 16 * MIB);
    sbuf_add_char(&page, '\n');
    metrics_write(&page);
    assert_false(page.bad);
    (void)snprintf(want, sizeof(want), "\n%s\n", line);
    if (!strstr(page.data, want)) {
        print_error("no line %s in:%s", line, page.data);
        sbuf_fini(&page);
        fail();
    }
    sbuf_fini(&page);
}

static size_t count_on_page(const char *text)
{
    struct sbuf page;
    size_t n = 0;
    sbuf_init(&page, 16 * MIB);
    metrics_write(&page);
    for (const char *p = page.data; (p = strstr(p, text)) != NULL; p += strlen(text))
        n++;
    sbuf_fini(&page);
    return n;
}

static void counters_count_by_their_labels(void **state)
{
    (void)state;
    metric_add(&requests, 1, (const char *const[]){ "Get", "ok" });
    metric_add(&requests, 2, (const char *const[]){ "Get", "ok" });
    metric_add(&requests, 5, (const char *const[]){ "Get", "internal" });
    metric_add(&requests, 1, (const char *const[]){ "a\"b\\c\nd", NULL });
    assert_page_has("# HELP daybook_test_requests_total Requests.\\nBy \\\\ result.");
    assert_page_has("# TYPE daybook_test_requests_total counter");
    assert_page_has("daybook_test_requests_total{method=\"Get\",code=\"ok\"} 3");
    assert_page_has("daybook_test_requests_total{method=\"Get\",code=\"internal\"} 5");
    assert_page_has("daybook_test_requests_total{method=\"a\\\"b\\\\c\\nd\",code=\"\"} 1");
}

static void labels_do_not_run_into_each_other(void **state)
{
    (void)state;
    metric_add(&requests, 1, (const char *const[]){ "ab", "c" });
    metric_add(&requests, 1, (const char *const[]){ "a", "bc" });
    assert_page_has("daybook_test_requests_total{method=\"ab\",code=\"c\"} 1");
    assert_page_has("daybook_test_requests_total{method=\"a\",code=\"bc\"} 1");
}

static void a_registered_metric_is_shown_from_the_start(void **state)
{
    (void)state;
    metric_register(&quiet);
    metric_register(&quiet);
    metric_register(&requests);
    assert_page_has("daybook_test_quiet_total 0");
    assert_int_equal(count_on_page("# TYPE daybook_test_quiet_total"), 1);
    assert_int_equal(count_on_page("# TYPE daybook_test_requests_total"), 1);
}

static void gauges_are_raised_and_lowered(void **state)
{
    (void)state;
    metric_shift(&held, 1, (const char *const[]){ "busy" });
    metric_shift(&held, 1, (const char *const[]){ "busy" });
    metric_shift(&held, 1, (const char *const[]){ "idle" });
    metric_shift(&held, -1, (const char *const[]){ "idle" });
    assert_page_has("daybook_test_held{state=\"busy\"} 2");
    assert_page_has("daybook_test_held{state=\"idle\"} 0");
    metric_shift(&held, -2, (const char *const[]){ "busy" });
    assert_page_has("daybook_test_held{state=\"busy\"} 0");
}

static void gauges_show_the_last_value(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *line;
    } cases[] = {
        { 0, "daybook_test_depth 0" },        { -2.5, "daybook_test_depth -2.5" },
        { 1e15, "daybook_test_depth 1e+15" }, { 0.1, "daybook_test_depth 0.1" },
        { NAN, "daybook_test_depth NaN" },    { INFINITY, "daybook_test_depth +Inf" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        metric_set(&depth, cases[i].value, NULL);
        assert_page_has(cases[i].line);
    }
    metric_set(&depth, 1.0 / 3, NULL); /* as many digits as it takes to tell it exactly */
    assert_page_has("daybook_test_depth 0.33333333333333331");
}

static void buckets_are_cumulative_and_bounds_belong_to_them(void **state)
{
    (void)state;
    static const double values[] = { 0, 0.1, 0.100001, 1, 9.5, 10.5, 1e9, -1 };
    const char *const labels[] = { "REM-01" };
    double sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        metric_observe(&seconds, values[i], labels);
        sum += values[i];
    }
    metric_observe(&seconds, NAN, labels); /* is not counted: it would spoil the sum for ever */
    assert_page_has("# TYPE daybook_test_seconds histogram");
    assert_page_has("daybook_test_seconds_bucket{rule=\"REM-01\",le=\"0.1\"} 3");
    assert_page_has("daybook_test_seconds_bucket{rule=\"REM-01\",le=\"1\"} 5");
    assert_page_has("daybook_test_seconds_bucket{rule=\"REM-01\",le=\"10\"} 6");
    assert_page_has("daybook_test_seconds_bucket{rule=\"REM-01\",le=\"+Inf\"} 8");
    assert_page_has("daybook_test_seconds_count{rule=\"REM-01\"} 8");
    char line[100];
    (void)snprintf(line, sizeof(line), "daybook_test_seconds_sum{rule=\"REM-01\"} %.17g", sum);
    assert_page_has(line);
}

static void the_standard_bounds_are_complete(void **state)
{
    (void)state;
    size_t n = 0;
    while (metric_rpc_buckets[n] > 0)
        n++;
    assert_int_equal(n, 13);
    n = 0;
    while (metric_lateness_buckets[n] > 0)
        n++;
    assert_int_equal(n, 14);
}

static void past_2000_series_the_rest_is_other(void **state)
{
    (void)state;
    char method[32];
    for (int i = 0; i < 2500; i++) {
        (void)snprintf(method, sizeof(method), "m%d", i);
        metric_add(&requests, 1, (const char *const[]){ method, "ok" });
    }
    metric_add(&requests, 7, (const char *const[]){ "m1", "ok" }); /* one that exists goes on */
    assert_page_has("daybook_test_requests_total{method=\"other\",code=\"other\"} 500");
    assert_page_has("daybook_test_requests_total{method=\"m1\",code=\"ok\"} 8");
    assert_int_equal(count_on_page("\ndaybook_test_requests_total{"), 2001);
    metric_set(&depth, 4, NULL); /* a metric without labels has no other */
    assert_page_has("daybook_test_depth 4");
}

static void each_bucket_counts_and_histograms_leave_room(void **state)
{
    (void)state;
    char rule[16];
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(rule, sizeof(rule), "r%d", i);
        metric_observe(&seconds, 0.5, (const char *const[]){ rule });
    }
    size_t a_set = count_on_page("{rule=\"r1\""), lines = count_on_page("\ndaybook_test_seconds_");
    assert_true(a_set > 3);
    assert_int_equal(count_on_page("{rule=\"other\""), a_set);
    assert_in_range(lines, 1500, 1500 + a_set); /* "other" comes on top */
    metric_add(&requests, 1, (const char *const[]){ "m1", "internal" });
    assert_page_has("daybook_test_requests_total{method=\"m1\",code=\"internal\"} 1");
}

static void *update_many(void *arg)
{
    (void)arg;
    char method[16];
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(method, sizeof(method), "m%d", i % 50);
        metric_add(&requests, 1, (const char *const[]){ method, "ok" });
        metric_observe(&seconds, 0.5, (const char *const[]){ "r" });
    }
    return NULL;
}

static void threads_lose_no_update(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, update_many, NULL), 0);
    for (int i = 0; i < 20; i++) /* scrapes meanwhile */
        (void)count_on_page("x");
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_page_has("daybook_test_requests_total{method=\"m49\",code=\"ok\"} 1600");
    assert_page_has("daybook_test_seconds_count{rule=\"r\"} 80000");
    assert_page_has("daybook_test_seconds_sum{rule=\"r\"} 40000");
    assert_int_equal(count_on_page("\ndaybook_test_requests_total{"), 50);
}

static void openmetrics_names_families_and_shows_traces(void **state)
{
    (void)state;
    static const char traceparent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    static const char *const wanted[] = {
        "# TYPE daybook_test_requests counter\n",
        "\ndaybook_test_requests_total{method=\"Get\",code=\"ok\"} 1\n",
        "_bucket{rule=\"r\",le=\"1.0\"} 2 # {trace_id=\"0af7651916cd43dd8448eb211c80319c\","
        "span_id=\"b7ad6b7169203331\"} 0.75 ",
        "_bucket{rule=\"r\",le=\"+Inf\"} 2\n", /* no trace was that slow */
    };
    struct sbuf page;

    metric_add(&requests, 1, (const char *const[]){ "Get", "ok" });
    metric_observe_traced(&seconds, 0.75, (const char *const[]){ "r" }, traceparent);
    metric_observe_traced(&seconds, 0.75, (const char *const[]){ "r" }, "");
    sbuf_init(&page, MIB);
    metrics_write_open(&page);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (!strstr(page.data, wanted[i]))
            fail_msg("no %s in %s", wanted[i], page.data);
    sbuf_fini(&page);
    assert_int_equal(count_on_page("trace_id"), 0);
}

static void the_process_is_shown(void **state)
{
    (void)state;
    static const char *const names[] = {
        "process_cpu_seconds_total",     "process_start_time_seconds",   "process_open_fds",
        "process_resident_memory_bytes", "process_virtual_memory_bytes",
    };
    struct sbuf page;
    sbuf_init(&page, MIB);
    metrics_write_process(&page);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char start[64];
        (void)snprintf(start, sizeof(start), "\n%s ", names[i]);
        const char *at = strstr(page.data, start);
        if (!at)
            fail_msg("no %s", names[i]);
        assert_true(strtod(at + strlen(start), NULL) >= 0);
    }
    const char *at = strstr(page.data, "\nprocess_start_time_seconds ");
    double started = strtod(at + strlen("\nprocess_start_time_seconds "), NULL);
    double now = (double)time(NULL);
    assert_true(started > now - 600 && started < now + 2);
    sbuf_fini(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(counters_count_by_their_labels, teardown),
        cmocka_unit_test_teardown(labels_do_not_run_into_each_other, teardown),
        cmocka_unit_test_teardown(a_registered_metric_is_shown_from_the_start, teardown),
        cmocka_unit_test_teardown(gauges_show_the_last_value, teardown),
        cmocka_unit_test_teardown(gauges_are_raised_and_lowered, teardown),
        cmocka_unit_test_teardown(buckets_are_cumulative_and_bounds_belong_to_them, teardown),
        cmocka_unit_test(the_standard_bounds_are_complete),
        cmocka_unit_test_teardown(past_2000_series_the_rest_is_other, teardown),
        cmocka_unit_test_teardown(each_bucket_counts_and_histograms_leave_room, teardown),
        cmocka_unit_test_teardown(threads_lose_no_update, teardown),
        cmocka_unit_test_teardown(openmetrics_names_families_and_shows_traces, teardown),
        cmocka_unit_test(the_process_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
