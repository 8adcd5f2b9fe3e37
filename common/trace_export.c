/*
 * trace_export.c - the thread that posts spans to the collector, as OTLP over HTTP in JSON
 * (https://opentelemetry.io/docs/specs/otlp/): ids are hexadecimal, 64-bit numbers strings.
 *
 * The collector is the operator's, so its address may be any, unlike those of webhooks
 * (http_out.h). A batch that it does not take is dropped, and after that it is let rest for one
 * delay: what is asked of a collector in trouble is little, and the ring is the only buffer.
 */
#include <curl/curl.h>
#include <pthread.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/thread.h"
#include "common/trace_internal.h"

#define DELAY_US (5 * SECOND_US)
#define POST_MAX_US (5 * SECOND_US)
#define STOP_MAX_US (2 * SECOND_US)
#define STEP_MS 50 /* between two looks whether to stop */
#define BODY_MAX (4 * MIB)
#define TAKE_AT_ONCE 16 /* the ring is locked meanwhile */

static struct exporter {
    bool started;
    struct trace_config config;
    CURL *curl;
    CURLM *multi;
    struct curl_slist *headers;
    pthread_t thread;
    atomic_int_least64_t stop_at_us; /* monotonic; 0 while running */
    bool in_trouble;
    struct sbuf body;
} exporter;

/* --- JSON ------------------------------------------------------------------------------------- */

static void write_hex(struct sbuf *out, const char *name, const uint8_t *id, size_t len)
{
    char hex[2 * TRACE_ID_LEN + 1];

    sodium_bin2hex(hex, sizeof(hex), id, len);
    sbuf_addf(out, "\"%s\":\"%s\"", name, hex);
}

static void write_text_attribute(struct sbuf *out, const char *key, const char *value)
{
    sbuf_addf(out, "{\"key\":\"%s\",\"value\":{\"stringValue\":", key);
    sbuf_add_json(out, value);
    sbuf_add_text(out, "}}");
}

void trace_write_head(struct sbuf *out, const struct trace_config *config)
{
    sbuf_add_text(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    write_text_attribute(out, "service.name", config->service);
    sbuf_add_char(out, ',');
    write_text_attribute(out, "service.version", config->version);
    sbuf_add_char(out, ',');
    write_text_attribute(out, "service.instance.id", config->instance);
    sbuf_add_text(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"daybook\"},\"spans\":[");
}

void trace_write_tail(struct sbuf *out)
{
    sbuf_add_text(out, "]}]}]}");
}

static void write_attributes(struct sbuf *out, const struct span *s)
{
    sbuf_add_text(out, ",\"attributes\":[");
    if (s->method) {
        write_text_attribute(out, "rpc.service", s->name);
        sbuf_add_char(out, ',');
        write_text_attribute(out, "rpc.method", s->method);
    }
    for (size_t i = 0; i < s->nattributes; i++) {
        const struct span_attribute *a = &s->attributes[i];
        if (i > 0 || s->method)
            sbuf_add_char(out, ',');
        if (a->text_at >= 0)
            write_text_attribute(out, a->key, s->text + a->text_at);
        else
            sbuf_addf(out, "{\"key\":\"%s\",\"value\":{\"intValue\":\"%" PRId64 "\"}}", a->key,
                      a->number);
    }
    sbuf_add_char(out, ']');
    if (s->ndropped)
        sbuf_addf(out, ",\"droppedAttributesCount\":%u", s->ndropped);
}

static void write_link(struct sbuf *out, const struct trace_context *link)
{
    sbuf_add_text(out, ",\"links\":[{");
    write_hex(out, "traceId", link->trace, TRACE_ID_LEN);
    sbuf_add_char(out, ',');
    write_hex(out, "spanId", link->span, SPAN_ID_LEN);
    sbuf_add_text(out, "}]");
}

/* Codes of OTLP: 0 unset, 2 error; 1 is for applications that are sure. */
static void write_failure(struct sbuf *out, const char *failure)
{
    sbuf_add_text(out, ",\"status\":{\"code\":2");
    if (failure) {
        sbuf_add_text(out, ",\"message\":");
        sbuf_add_json(out, failure);
    }
    sbuf_add_char(out, '}');
}

void trace_write_span(struct sbuf *out, const struct span *s)
{
    sbuf_add_char(out, '{');
    write_hex(out, "traceId", s->own.trace, TRACE_ID_LEN);
    sbuf_add_char(out, ',');
    write_hex(out, "spanId", s->own.span, SPAN_ID_LEN);
    if (!sodium_is_zero(s->parent, SPAN_ID_LEN)) {
        sbuf_add_char(out, ',');
        write_hex(out, "parentSpanId", s->parent, SPAN_ID_LEN);
    }
    /* Names are ours: nothing in them needs escapes. */
    sbuf_addf(out, ",\"name\":\"%s%s%s\",\"kind\":%d", s->name, s->method ? "/" : "",
              s->method ? s->method : "", (int)s->kind);
    sbuf_addf(out,
              ",\"startTimeUnixNano\":\"%" PRId64 "000\",\"endTimeUnixNano\":\"%" PRId64 "000\"",
              s->began_us, s->began_us + s->took_us);
    write_attributes(out, s);
    if (s->linked)
        write_link(out, &s->link);
    if (s->failed)
        write_failure(out, s->failure);
    sbuf_add_char(out, '}');
}

/* --- a post ----------------------------------------------------------------------------------- */

static bool must_stop(const struct exporter *x)
{
    int64_t at_us = atomic_load(&x->stop_at_us);
    return at_us != 0 && clock_monotonic_us() >= at_us;
}

/* The answer is read, so that the connection can serve again, and not kept. */
static size_t ignore(char *data, size_t size, size_t n, void *arg)
{
    (void)data;
    (void)arg;
    return size * n;
}

static bool prepare(struct exporter *x)
{
    CURL *c = x->curl;

    return curl_easy_setopt(c, CURLOPT_URL, x->config.url) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK && /* none from the environment */
           curl_easy_setopt(c, CURLOPT_HTTPHEADER, x->headers) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, ignore) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(POST_MAX_US / MSEC_US)) == CURLE_OK;
}

/* By the multi interface, which hears of the end at once. */
static CURLcode run_transfer(struct exporter *x)
{
    int running = 1;

    while (running) {
        if (curl_multi_perform(x->multi, &running) != CURLM_OK)
            return CURLE_FAILED_INIT;
        if (running && must_stop(x))
            return CURLE_OPERATION_TIMEDOUT;
        if (running)
            (void)curl_multi_poll(x->multi, NULL, 0, STEP_MS, NULL);
    }
    int left;
    const CURLMsg *m = curl_multi_info_read(x->multi, &left);
    return m && m->msg == CURLMSG_DONE ? m->data.result : CURLE_FAILED_INIT;
}

/* NULL: it was taken. Else why not, static or in buf. */
static const char *post(struct exporter *x, char buf[static 32])
{
    long status = 0;

    if (curl_easy_setopt(x->curl, CURLOPT_POSTFIELDS, x->body.data) != CURLE_OK ||
        curl_easy_setopt(x->curl, CURLOPT_POSTFIELDSIZE, (long)x->body.len) != CURLE_OK ||
        curl_multi_add_handle(x->multi, x->curl) != CURLM_OK)
        return "out of memory";
    CURLcode code = run_transfer(x);
    if (code == CURLE_OK)
        (void)curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(x->multi, x->curl);
    if (code != CURLE_OK)
        return curl_easy_strerror(code);
    if (status / 100 == 2)
        return NULL;
    snprintf(buf, 32, "status %ld", status);
    return buf;
}

/* --- the thread ------------------------------------------------------------------------------- */

/* How many spans were written into the body. */
static size_t fill(struct exporter *x)
{
    struct span spans[TAKE_AT_ONCE];
    size_t total = 0, n;

    sbuf_clear(&x->body);
    trace_write_head(&x->body, &x->config);
    while (total < TRACE_BATCH_SPANS && (n = trace_ring_take(spans, ARRAY_LEN(spans))) > 0)
        for (size_t i = 0; i < n; i++) {
            if (total++ > 0)
                sbuf_add_char(&x->body, ',');
            trace_write_span(&x->body, &spans[i]);
        }
    trace_write_tail(&x->body);
    return total;
}

/* Told when it begins and when it ends. */
static void tell(struct exporter *x, const char *reason)
{
    if (reason && !x->in_trouble)
        log_warn("trace.not_taken", "the collector does not take spans; they are dropped", "reason",
                 reason, NULL);
    else if (!reason && x->in_trouble)
        log_info("trace.taken", "the collector takes spans again", NULL);
    x->in_trouble = reason != NULL;
}

/* True: a whole batch was posted, so there may be more. */
static bool export_batch(struct exporter *x)
{
    char buf[32];
    size_t n = fill(x);

    if (n == 0)
        return false;
    const char *reason = x->body.bad ? "out of memory" : post(x, buf);
    if (reason)
        trace_count_dropped(n);
    tell(x, reason);
    return !reason && n >= TRACE_BATCH_SPANS;
}

static void rest(const struct exporter *x, int64_t until_us)
{
    struct timespec step = { .tv_nsec = STEP_MS * 1000000L };

    while (x->in_trouble && !atomic_load(&x->stop_at_us) && clock_monotonic_us() < until_us)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
}

static void *run(void *arg)
{
    struct exporter *x = arg;

    while (!atomic_load(&x->stop_at_us)) {
        int64_t until_us = clock_monotonic_us() + DELAY_US;
        trace_ring_wait(until_us);
        while (export_batch(x) && !must_stop(x))
            ;
        rest(x, until_us);
    }
    while (!must_stop(x) && export_batch(x))
        ;
    return NULL;
}

static void fini(struct exporter *x)
{
    curl_easy_cleanup(x->curl);
    curl_multi_cleanup(x->multi);
    curl_slist_free_all(x->headers);
    sbuf_fini(&x->body);
    curl_global_cleanup();
    memset(x, 0, sizeof(*x));
}

static struct curl_slist *make_headers(void)
{
    struct curl_slist *one = curl_slist_append(NULL, "Content-Type: application/json");
    struct curl_slist *both = one ? curl_slist_append(one, "Expect:") : NULL; /* no 100-continue */

    if (!both)
        curl_slist_free_all(one);
    return both;
}

bool trace_start(const struct trace_config *config)
{
    struct exporter *x = &exporter;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return false;
    x->config = *config;
    sbuf_init(&x->body, BODY_MAX);
    x->curl = curl_easy_init();
    x->multi = curl_multi_init();
    x->headers = make_headers();
    if (x->curl && x->multi && x->headers && prepare(x) && trace_ring_open(&config->sampler)) {
        x->started = thread_start(&x->thread, "traces", run, x);
        if (x->started)
            return true;
        trace_ring_close();
    }
    fini(x);
    return false;
}

void trace_stop(void)
{
    struct exporter *x = &exporter;
    struct timespec until;

    if (!x->started)
        return;
    x->started = false;
    atomic_store(&x->stop_at_us, clock_monotonic_us() + STOP_MAX_US);
    trace_ring_wake();
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 2 + 1; /* it ends by itself; a name that does not resolve may hold it longer */
    if (pthread_timedjoin_np(x->thread, NULL, &until) == 0) {
        trace_ring_close();
        fini(x);
    } else {
        (void)pthread_detach(x->thread); /* the process's end takes it along */
    }
}
