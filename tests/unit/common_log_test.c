/* The log: whole JSON lines, never a stalled caller, floods told in a number. */
#include "common/base.h"

#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"

/* fd shows into a pipe from capture() to release(); what came is read after that. */
struct capture {
    int fd, saved, read_end;
};

static struct capture capture(int fd)
{
    int ends[2];
    (void)fflush(NULL);
    struct capture c = { .fd = fd, .saved = dup(fd) };
    if (c.saved < 0 || pipe(ends) != 0 || dup2(ends[1], fd) < 0)
        abort();
    close(ends[1]);
    c.read_end = ends[0];
    return c;
}

/* Gives the descriptor back and the text that went to it; the caller frees. */
static char *release(struct capture *c)
{
    size_t len = 0, cap = 1 << 20;
    char *text = malloc(cap);
    if (!text || dup2(c->saved, c->fd) < 0)
        abort();
    close(c->saved);
    for (ssize_t n; len + 1 < cap && (n = read(c->read_end, text + len, cap - 1 - len)) > 0;)
        len += (size_t)n;
    text[len] = '\0';
    close(c->read_end);
    return text;
}

/* The lines as JSON; fails when one is not. */
static json_t *parse_lines(char *text)
{
    json_t *lines = json_array();
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_error_t wrong;
        json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, &wrong);
        if (!o)
            fail_msg("%s: %s", wrong.text, line);
        json_array_append_new(lines, o);
    }
    return lines;
}

static const char *field(json_t *lines, size_t i, const char *name)
{
    const char *text = json_string_value(json_object_get(json_array_get(lines, i), name));
    return text ? text : "";
}

static void a_line_is_json_with_its_fields(void **state)
{
    (void)state;
    struct capture c = capture(STDOUT_FILENO);
    log_start("visits");
    log_warn("consumer.parked", "gave up \"after\"\n5 tries", "consumer", "reminders", "absent",
             NULL, "reason", "bad \x01 byte \xff", NULL);
    log_debug("off", "by default", NULL);
    log_stop();
    char *text = release(&c);
    json_t *lines = parse_lines(text);
    assert_int_equal(json_array_size(lines), 1);
    assert_string_equal(field(lines, 0, "level"), "warn");
    assert_string_equal(field(lines, 0, "svc"), "visits");
    assert_string_equal(field(lines, 0, "event"), "consumer.parked");
    assert_string_equal(field(lines, 0, "msg"), "gave up \"after\"\n5 tries");
    assert_string_equal(field(lines, 0, "consumer"), "reminders");
    assert_string_equal(field(lines, 0, "reason"), "bad \x01 byte \xef\xbf\xbd");
    assert_true(field(lines, 0, "inst")[0] != '\0');
    int64_t us;
    assert_true(time_parse(field(lines, 0, "ts"), &us));
    assert_int_equal(strlen(field(lines, 0, "ts")), strlen("2026-01-02T03:04:05.000000Z"));
    assert_in_range(us, clock_wall_us() - MINUTE_US, clock_wall_us());
    assert_null(json_object_get(json_array_get(lines, 0), "absent"));
    json_decref(lines);
    free(text);
}

static void levels_let_pass_what_they_should(void **state)
{
    (void)state;
    struct capture c = capture(STDOUT_FILENO);
    log_start("visits");
    log_set_level(LOG_LEVEL_DEBUG);
    assert_true(log_enabled(LOG_LEVEL_DEBUG));
    log_debug("a", NULL, NULL);
    log_set_level(LOG_LEVEL_ERROR);
    assert_false(log_enabled(LOG_LEVEL_WARN));
    log_warn("b", "no", NULL);
    log_error("c", "yes", NULL);
    log_set_level(LOG_LEVEL_INFO);
    log_stop();
    char *text = release(&c);
    json_t *lines = parse_lines(text);
    assert_int_equal(json_array_size(lines), 2);
    assert_string_equal(field(lines, 0, "event"), "a");
    assert_string_equal(field(lines, 1, "event"), "c");
    json_decref(lines);
    free(text);
}

static void a_flood_is_told_in_a_number(void **state)
{
    (void)state;
    struct capture c = capture(STDOUT_FILENO);
    log_start("visits");
    int64_t start_us = clock_monotonic_us();
    for (int i = 0; i < 1000; i++)
        log_error("flood", "again", NULL);
    bool within_a_second = clock_monotonic_us() - start_us < SECOND_US;
    log_stop();
    char *text = release(&c);
    json_t *lines = parse_lines(text);
    json_int_t told = 0, plain = 0;
    for (size_t i = 0; i < json_array_size(lines); i++) {
        json_t *n = json_object_get(json_array_get(lines, i), "suppressed");
        told += json_integer_value(n);
        plain += strcmp(field(lines, i, "msg"), "again") == 0;
    }
    assert_int_equal(told + plain, 1000); /* none is lost without a word */
    if (within_a_second)
        assert_int_equal(json_array_size(lines), 11);
    json_decref(lines);
    free(text);
}

static void a_long_line_is_cut_and_says_so(void **state)
{
    (void)state;
    char long_text[20000];
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    char worst[1500];
    memset(worst, 1, sizeof(worst) - 1); /* six characters each once escaped */
    worst[sizeof(worst) - 1] = '\0';

    struct capture c = capture(STDOUT_FILENO);
    log_start("visits");
    log_error("long", long_text, "a", long_text, "b", long_text, "c", long_text, "d", "short", "e",
              worst, NULL);
    log_stop();
    char *text = release(&c);
    assert_true(strlen(text) <= 4096);
    json_t *lines = parse_lines(text);
    assert_int_equal(json_array_size(lines), 1);
    assert_true(json_is_true(json_object_get(json_array_get(lines, 0), "cut")));
    assert_string_equal(field(lines, 0, "d"), "short");
    json_decref(lines);
    free(text);
}

static void a_blocked_stdout_drops_and_counts(void **state)
{
    (void)state;
    enum { LINES = 8000 };
    uint64_t dropped_before = log_dropped();
    struct capture c = capture(STDOUT_FILENO); /* nobody reads, so the pipe fills up */
    log_start("visits");
    for (int i = 0; i < LINES; i++) {
        char event[32]; /* all different, so that nothing is suppressed */
        (void)snprintf(event, sizeof(event), "event.%d", i);
        log_error(event, "some words to fill the pipe", NULL);
    }
    int64_t start_us = clock_monotonic_us();
    log_stop();
    int64_t took_us = clock_monotonic_us() - start_us;
    char *text = release(&c);
    size_t written = 0;
    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
        written++;
    free(text);
    uint64_t dropped = log_dropped() - dropped_before;
    assert_true(dropped > 0);
    assert_int_equal(written + dropped, LINES);
    assert_true(took_us < 10 * SECOND_US);

    struct sbuf page;
    sbuf_init(&page, MIB);
    metrics_write(&page);
    char want[80];
    (void)snprintf(want, sizeof(want), "\ndaybook_log_dropped_total %" PRIu64 "\n", log_dropped());
    assert_non_null(strstr(page.data, want));
    sbuf_fini(&page);
}

static void without_a_writer_lines_go_to_stderr(void **state)
{
    (void)state;
    struct capture c = capture(STDERR_FILENO);
    log_error("early", "before the start", "k", "v", NULL);
    char *text = release(&c);
    json_t *lines = parse_lines(text);
    assert_int_equal(json_array_size(lines), 1);
    assert_string_equal(field(lines, 0, "event"), "early");
    json_decref(lines);
    free(text);
}

static void *write_many(void *arg)
{
    for (int i = 0; i < 500; i++) {
        char event[32];
        (void)snprintf(event, sizeof(event), "t%s.%d", (const char *)arg, i);
        log_info(event, "from a thread", "thread", (const char *)arg, NULL);
    }
    return NULL;
}

static void *read_all(void *arg)
{
    struct capture *c = arg;
    size_t lines = 0;
    char buf[4096];
    for (ssize_t n; (n = read(c->read_end, buf, sizeof(buf))) > 0;)
        for (ssize_t i = 0; i < n; i++)
            lines += buf[i] == '\n';
    return (void *)lines;
}

static void threads_lose_no_line_while_there_is_a_reader(void **state)
{
    (void)state;
    static char names[4][2] = { "0", "1", "2", "3" };
    uint64_t dropped_before = log_dropped();
    struct capture c = capture(STDOUT_FILENO);
    pthread_t reader, writers[4];
    log_start("visits");
    if (pthread_create(&reader, NULL, read_all, &c) != 0)
        abort();
    for (size_t i = 0; i < 4; i++)
        if (pthread_create(&writers[i], NULL, write_many, names[i]) != 0)
            abort();
    for (size_t i = 0; i < 4; i++)
        pthread_join(writers[i], NULL);
    log_stop();
    void *lines = NULL;
    dup2(c.saved, c.fd); /* the last writing end is closed: the reader comes to an end */
    pthread_join(reader, &lines);
    close(c.saved);
    close(c.read_end);
    assert_int_equal((size_t)lines + (log_dropped() - dropped_before), 2000);
}

static int teardown(void **state)
{
    (void)state;
    metrics_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_writer_lines_go_to_stderr),
        cmocka_unit_test(a_line_is_json_with_its_fields),
        cmocka_unit_test(levels_let_pass_what_they_should),
        cmocka_unit_test(a_flood_is_told_in_a_number),
        cmocka_unit_test(a_long_line_is_cut_and_says_so),
        cmocka_unit_test(a_blocked_stdout_drops_and_counts),
        cmocka_unit_test(threads_lose_no_line_while_there_is_a_reader),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
