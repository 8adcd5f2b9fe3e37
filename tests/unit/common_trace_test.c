/* Traces: traceparent by the letter of W3C, samplers, spans and their JSON, and nothing when off. */
#include "common/base.h"

#include <jansson.h>
#include <setjmp.h>
#include <sodium.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/trace_internal.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"
#define GOOD "00-" TRACE "-" SPAN "-01"

static const struct trace_sampler all = { .by_parent = true, .ratio = 1 };

/* --- traceparent --- */

static void a_traceparent_is_taken_by_the_letter(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *want; /* NULL: it is none */
    } cases[] = {
        { GOOD, GOOD },
        { "00-" TRACE "-" SPAN "-00", "00-" TRACE "-" SPAN "-00" },
        { "00-" TRACE "-" SPAN "-03", "00-" TRACE "-" SPAN "-03" }, /* random, Level 2 */
        { "00-" TRACE "-" SPAN "-fd", "00-" TRACE "-" SPAN "-01" }, /* unknown flags */
        { "cc-" TRACE "-" SPAN "-01", GOOD },
        { "cc-" TRACE "-" SPAN "-01-what-the-future-brings", GOOD },
        { "cc-" TRACE "-" SPAN "-01.x", NULL },
        { GOOD "-more", NULL },
        { GOOD " ", NULL },
        { "ff-" TRACE "-" SPAN "-01", NULL },
        { "", NULL },
        { "00-" TRACE "-" SPAN "-0", NULL },
        { "00-" TRACE "-" SPAN "-0g", NULL },
        { "00-0AF7651916cd43dd8448eb211c80319c-" SPAN "-01", NULL },
        { "00-00000000000000000000000000000000-" SPAN "-01", NULL },
        { "00-" TRACE "-0000000000000000-01", NULL },
        { "00_" TRACE "-" SPAN "-01", NULL },
        { "00-" TRACE "_" SPAN "-01", NULL },
        { "00-" TRACE "-" SPAN "_01", NULL },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trace_context c;
        char text[TRACEPARENT_LEN + 1];
        bool is_one = trace_parse(cases[i].text, &c);
        if (is_one != (cases[i].want != NULL))
            fail_msg("%s: %d", cases[i].text, is_one);
        if (is_one)
            assert_string_equal(trace_format(&c, text), cases[i].want);
    }
}

/* --- samplers --- */

static void a_sampler_has_its_opentelemetry_name(void **state)
{
    (void)state;
    static const struct {
        const char *name, *arg;
        bool ok, of_arg, by_parent;
        double ratio;
    } cases[] = {
        { "always_on", NULL, true, false, false, 1 },
        { "always_off", "", true, false, false, 0 },
        { "traceidratio", "0.25", true, false, false, .25 },
        { "traceidratio", "", true, false, false, 1 },
        { "parentbased_always_on", "rubbish, but not asked for", true, false, true, 1 },
        { "parentbased_always_off", NULL, true, false, true, 0 },
        { "parentbased_traceidratio", "0", true, false, true, 0 },
        { "traceidratio", "1.1", false, true, false, 0 },
        { "traceidratio", "-0.1", false, true, false, 0 },
        { "traceidratio", "half", false, true, false, 0 },
        { "jaeger_remote", NULL, false, false, false, 0 },
        { "parentbased_", NULL, false, false, false, 0 },
        { "", NULL, false, false, false, 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trace_sampler s;
        const char *reason = NULL;
        bool of_arg = false;
        bool ok = trace_sampler_parse(cases[i].name, cases[i].arg, &s, &of_arg, &reason);
        if (ok != cases[i].ok || (!ok && (!reason || of_arg != cases[i].of_arg)))
            fail_msg("%s %s", cases[i].name, cases[i].arg ? cases[i].arg : "");
        if (ok && (s.by_parent != cases[i].by_parent || s.ratio != cases[i].ratio))
            fail_msg("%s: %d %g", cases[i].name, s.by_parent, s.ratio);
    }
}

static void a_ratio_is_of_trace_ids_and_a_parent_goes_first(void **state)
{
    (void)state;
    static const uint8_t low[TRACE_ID_LEN] = { 0xff, [8] = 0x3f, [9] = 0xff };
    static const uint8_t high[TRACE_ID_LEN] = { 0x00, [8] = 0x40, [15] = 1 };
    struct trace_sampler quarter = { .ratio = .25 };
    struct trace_context parent = { .flags = TRACE_SAMPLED };

    assert_true(trace_sampler_takes(&quarter, NULL, low));
    assert_false(trace_sampler_takes(&quarter, NULL, high));
    assert_false(trace_sampler_takes(&quarter, &parent, high));
    quarter.by_parent = true;
    assert_true(trace_sampler_takes(&quarter, &parent, high));
    parent.flags = 0;
    assert_false(trace_sampler_takes(&quarter, &parent, low));
    assert_false(trace_sampler_takes(&(struct trace_sampler){ .ratio = 0 }, NULL, low));
    assert_true(trace_sampler_takes(&(struct trace_sampler){ .ratio = 1 }, NULL, high));
}

/* --- spans --- */

static void off_there_is_nothing_and_what_came_is_passed_on(void **state)
{
    (void)state;
    struct span s, part;

    span_begin(&s, SPAN_SERVER, "x", GOOD);
    assert_int_equal(s.state, SPAN_OFF);
    span_begin_part(&part, &s, "y");
    assert_int_equal(part.state, SPAN_OFF);
    assert_string_equal(span_traceparent(&s, GOOD), GOOD);
    span_text(&s, "k", "v");
    span_number(&s, "k", 1);
    span_fail(&s, "no");
    span_end_call(&s, ERR_INTERNAL);
    assert_null(trace_of_chores());
}

static int open_ring(void **state)
{
    (void)state;
    return trace_ring_open(&all) ? 0 : -1;
}

static int close_ring(void **state)
{
    (void)state;
    trace_ring_close();
    return 0;
}

static void a_span_goes_on_with_its_parents_trace(void **state)
{
    (void)state;
    struct span server, part, got[3];
    struct trace_context c, before;

    assert_true(trace_parse(GOOD, &before));
    span_begin(&server, SPAN_SERVER, "x", GOOD);
    assert_true(trace_parse(span_traceparent(&server, ""), &c));
    assert_memory_equal(c.trace, before.trace, TRACE_ID_LEN);
    assert_memory_not_equal(c.span, before.span, SPAN_ID_LEN);
    assert_int_equal(c.flags, TRACE_SAMPLED);
    span_begin_part(&part, &server, "y");
    span_end(&part);
    span_end(&server);
    span_end(&server); /* once is enough */

    assert_int_equal(trace_ring_take(got, 3), 2);
    assert_memory_equal(got[0].parent, got[1].own.span, SPAN_ID_LEN);
    assert_memory_equal(got[1].parent, before.span, SPAN_ID_LEN);
    assert_memory_equal(got[0].own.trace, before.trace, TRACE_ID_LEN);
}

static void what_is_not_sampled_has_ids_all_the_same(void **state)
{
    (void)state;
    struct span s, part, got[2];
    struct trace_context c;

    span_begin(&s, SPAN_SERVER, "x", "00-" TRACE "-" SPAN "-00");
    assert_false(span_recorded(&s));
    assert_true(trace_parse(span_traceparent(&s, ""), &c));
    assert_int_equal(c.flags, 0);
    assert_memory_not_equal(span_traceparent(&s, "") + 36, SPAN, 16);
    span_begin_part(&part, &s, "y");
    assert_int_equal(part.state, SPAN_OFF);
    span_end(&s);
    span_begin_linked(&s, SPAN_CONSUMER, "z", "00-" TRACE "-" SPAN "-00");
    assert_int_equal(s.state, SPAN_OFF);
    span_begin(&s, SPAN_SERVER, "x", trace_of_chores());
    span_end(&s);
    assert_int_equal(trace_ring_take(got, 2), 0);
}

static void without_a_parent_a_trace_begins(void **state)
{
    (void)state;
    static const char *const none[] = { NULL, "", "00-rubbish" };

    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        struct span s, got;
        span_begin(&s, SPAN_SERVER, "x", none[i]);
        span_end(&s);
        assert_int_equal(trace_ring_take(&got, 1), 1);
        assert_true(sodium_is_zero(got.parent, SPAN_ID_LEN));
        assert_false(sodium_is_zero(got.own.trace, TRACE_ID_LEN));
    }
}

static void a_link_is_no_parent(void **state)
{
    (void)state;
    struct span s, got;
    struct trace_context before;

    assert_true(trace_parse(GOOD, &before));
    span_begin_linked(&s, SPAN_CONSUMER, "reaction", GOOD);
    span_end(&s);
    assert_int_equal(trace_ring_take(&got, 1), 1);
    assert_true(got.linked && sodium_is_zero(got.parent, SPAN_ID_LEN));
    assert_memory_equal(got.link.span, before.span, SPAN_ID_LEN);
    assert_memory_not_equal(got.own.trace, before.trace, TRACE_ID_LEN);
}

static void a_call_fails_by_whose_fault_it_was(void **state)
{
    (void)state;
    static const struct {
        enum span_kind kind;
        enum err code;
        bool failed;
    } cases[] = {
        { SPAN_SERVER, ERR_OK, false },       { SPAN_SERVER, ERR_NOT_FOUND, false },
        { SPAN_SERVER, ERR_INTERNAL, true },  { SPAN_SERVER, ERR_UNAVAILABLE, true },
        { SPAN_CLIENT, ERR_NOT_FOUND, true }, { SPAN_CLIENT, ERR_OK, false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span s, got;
        span_begin(&s, cases[i].kind, "x", NULL);
        span_end_call(&s, cases[i].code);
        assert_int_equal(trace_ring_take(&got, 1), 1);
        assert_int_equal(got.failed, cases[i].failed);
        assert_int_equal(got.nattributes, cases[i].code ? 1 : 0);
    }
}

static void what_is_too_much_is_counted(void **state)
{
    (void)state;
    struct span s, got;
    char large[SPAN_TEXT_MAX + 1];

    memset(large, 'x', SPAN_TEXT_MAX);
    large[SPAN_TEXT_MAX] = '\0';
    span_begin(&s, SPAN_SERVER, "x", NULL);
    span_text(&s, "large", large);
    span_text(&s, "none", NULL);
    for (int i = 0; i < SPAN_ATTRIBUTES_MAX + 2; i++)
        span_number(&s, "n", i);
    span_end(&s);
    assert_int_equal(trace_ring_take(&got, 1), 1);
    assert_int_equal(got.nattributes, SPAN_ATTRIBUTES_MAX);
    assert_int_equal(got.ndropped, 3);
}

static void a_full_ring_loses_spans_and_counts_them(void **state)
{
    (void)state;
    struct sbuf page;
    struct span s;

    for (int i = 0; i < TRACE_RING_SPANS + 7; i++) {
        span_begin(&s, SPAN_SERVER, "x", NULL);
        span_end(&s);
    }
    sbuf_init(&page, MIB);
    metrics_write(&page);
    assert_non_null(strstr(page.data, "\ndaybook_trace_dropped_total 7\n"));
    sbuf_fini(&page);
    trace_ring_wait(INT64_MAX / 2); /* a whole batch is there: it does not wait */
}

/* --- JSON --- */

static void the_json_is_that_of_otlp(void **state)
{
    (void)state;
    const struct trace_config config = { .service = "daybook-\"x\"",
                                         .version = "1",
                                         .instance = "host:1" };
    struct sbuf text;
    struct span s, got;
    json_error_t wrong;
    const char *trace, *span, *parent, *name, *began, *ended, *key, *value;
    int kind, code;
    json_t *attributes;

    span_begin(&s, SPAN_SERVER, "x", GOOD);
    span_name_method(&s, "daybook.x.v1.X", "Get");
    span_text(&s, "k\n", "a \"quoted\" text\n");
    span_began_at(&s, clock_monotonic_us() - SECOND_US);
    span_fail(&s, "why");
    span_end(&s);
    assert_int_equal(trace_ring_take(&got, 1), 1);
    got.attributes[0].key = "k";
    sbuf_init(&text, MIB);
    trace_write_head(&text, &config);
    trace_write_span(&text, &got);
    trace_write_tail(&text);
    json_t *o = json_loads(text.data, JSON_REJECT_DUPLICATES, &wrong);
    if (!o)
        fail_msg("%s: %s", wrong.text, text.data);
    assert_int_equal(json_unpack_ex(o, &wrong, JSON_VALIDATE_ONLY,
                                    "{s:[{s:{s:[o,o,o]},s:[{s:{s:s},s:[o]}]}]}", "resourceSpans",
                                    "resource", "attributes", "scopeSpans", "scope", "name",
                                    "spans"),
                     0);
    json_t *one = NULL;
    assert_int_equal(
        json_unpack(o, "{s:[{s:[{s:[o]}]}]}", "resourceSpans", "scopeSpans", "spans", &one), 0);
    assert_int_equal(
        json_unpack_ex(one, &wrong, JSON_STRICT, "{s:s,s:s,s:s,s:s,s:i,s:s,s:s,s:o,s:{s:i,s:s}}",
                       "traceId", &trace, "spanId", &span, "parentSpanId", &parent, "name", &name,
                       "kind", &kind, "startTimeUnixNano", &began, "endTimeUnixNano", &ended,
                       "attributes", &attributes, "status", "code", &code, "message", &value),
        0);
    assert_string_equal(trace, TRACE);
    assert_string_equal(parent, SPAN);
    assert_int_equal(strlen(span), 16);
    assert_string_equal(name, "daybook.x.v1.X/Get");
    assert_int_equal(kind, 2);
    assert_int_equal(code, 2);
    assert_true(strtoll(ended, NULL, 10) - strtoll(began, NULL, 10) >= 1000000000);
    assert_int_equal(json_unpack(attributes, "[o,o,{s:s,s:{s:s}}]", &one, &one, "key", &key,
                                 "value", "stringValue", &value),
                     0);
    assert_string_equal(value, "a \"quoted\" text\n");
    json_decref(o);
    sbuf_fini(&text);
}

/* --- the exporter --- */

#define MAKERS 4
#define SPANS_EACH 1000

/* A collector of a few lines: one connection after the other, one post after the other. */
struct collector {
    int fd;
    uint16_t port;
    int status;
    size_t spans;
};

static bool read_post(int fd, struct sbuf *in)
{
    char buf[64 * 1024];
    size_t want = 0;

    sbuf_clear(in);
    while (want == 0 || in->len < want) {
        ssize_t n = read(fd, buf, sizeof(buf));
        if (n <= 0)
            return false;
        sbuf_add(in, buf, (size_t)n);
        const char *end = strstr(in->data, "\r\n\r\n");
        const char *length = strstr(in->data, "Content-Length: ");
        if (!want && end && length)
            want = (size_t)(end + 4 - in->data) + strtoul(length + 16, NULL, 10);
    }
    return true;
}

static void *collect(void *arg)
{
    struct collector *c = arg;
    struct sbuf in;
    char out[64];

    sbuf_init(&in, 16 * MIB);
    for (int fd; (fd = accept(c->fd, NULL, NULL)) >= 0; close(fd))
        while (read_post(fd, &in)) {
            for (const char *p = in.data; (p = strstr(p, "\"spanId\"")); p++)
                c->spans++;
            int n =
                snprintf(out, sizeof(out), "HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n", c->status);
            (void)!write(fd, out, (size_t)n);
        }
    sbuf_fini(&in);
    return NULL;
}

static void *make_spans(void *unused)
{
    (void)unused;
    for (int i = 0; i < SPANS_EACH; i++) {
        struct span s;
        span_begin(&s, SPAN_SERVER, "x", NULL);
        span_number(&s, "i", i);
        span_end(&s);
    }
    return NULL;
}

static void open_collector(struct collector *c, pthread_t *thread)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(at);

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0 && bind(c->fd, (struct sockaddr *)&at, size) == 0 &&
                listen(c->fd, 4) == 0 && getsockname(c->fd, (struct sockaddr *)&at, &size) == 0);
    c->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(thread, NULL, collect, c), 0);
}

/* What the collector got and what is counted as dropped, after threads have made their spans. */
static void export_all(int status, size_t *got_out, size_t *dropped_out)
{
    struct collector c = { .status = status };
    pthread_t server, makers[MAKERS];
    struct sbuf page;
    char url[64];

    metrics_stop(); /* counts from nothing */
    open_collector(&c, &server);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1/traces", c.port);
    assert_true(trace_start(&(struct trace_config){
        .url = url, .service = "x", .version = "1", .instance = "i", .sampler = all }));
    for (size_t i = 0; i < MAKERS; i++)
        assert_int_equal(pthread_create(&makers[i], NULL, make_spans, NULL), 0);
    for (size_t i = 0; i < MAKERS; i++)
        pthread_join(makers[i], NULL);
    trace_stop();
    assert_false(trace_on());
    shutdown(c.fd, SHUT_RDWR);
    pthread_join(server, NULL);
    close(c.fd);
    sbuf_init(&page, MIB);
    metrics_write(&page);
    const char *at = strstr(page.data, "\ndaybook_trace_dropped_total ");
    assert_non_null(at);
    *dropped_out = strtoul(at + strlen("\ndaybook_trace_dropped_total "), NULL, 10);
    sbuf_fini(&page);
    *got_out = c.spans;
}

static void each_span_is_posted_or_counted(void **state)
{
    (void)state;
    size_t got, dropped;

    export_all(200, &got, &dropped);
    assert_int_equal(got + dropped, MAKERS * SPANS_EACH);
    assert_true(got > 0);
    export_all(503, &got, &dropped);
    assert_true(got > 0);
    assert_int_equal(dropped, MAKERS * SPANS_EACH);
}

#define WITH_RING(test) cmocka_unit_test_setup_teardown(test, open_ring, close_ring)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_traceparent_is_taken_by_the_letter),
        cmocka_unit_test(a_sampler_has_its_opentelemetry_name),
        cmocka_unit_test(a_ratio_is_of_trace_ids_and_a_parent_goes_first),
        cmocka_unit_test(off_there_is_nothing_and_what_came_is_passed_on),
        WITH_RING(a_span_goes_on_with_its_parents_trace),
        WITH_RING(what_is_not_sampled_has_ids_all_the_same),
        WITH_RING(without_a_parent_a_trace_begins),
        WITH_RING(a_link_is_no_parent),
        WITH_RING(a_call_fails_by_whose_fault_it_was),
        WITH_RING(what_is_too_much_is_counted),
        WITH_RING(a_full_ring_loses_spans_and_counts_them),
        WITH_RING(the_json_is_that_of_otlp),
        cmocka_unit_test(each_span_is_posted_or_counted),
    };
    if (sodium_init() < 0 || !clock_init("real", &(const char *){ NULL }))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    metrics_stop();
    return failed;
}
