/*
 * calendar_feed.c - see calendar_feed.h.
 *
 * ETag is over the bytes; so nothing in them may change by itself, and a poll that finds nothing new
 * is answered by 304. Last-Modified is told but not asked for: a visit that leaves the window changes
 * the feed and no visit.
 */
#include "services/gateway/calendar/calendar_feed.h"

#include <sodium.h>

#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/tz.h"
#include "common/wire.h"
#include "daybook/visits/v1/visits.pb-c.h"
#include "services/gateway/calendar/calendar_text.h"
#include "services/gateway/http/gzip.h"
#include "services/gateway/http/http_value.h"

#define PREFIX "/calendars/"
#define SUFFIX ".ics"
#define TOKEN_MAX 128
#define BACK_US (30 * DAY_US)
#define AHEAD_US (180 * DAY_US)
#define EVENTS_MAX 2000
#define PAGE 200                  /* of at most some 5 KiB each: a page fits into a message */
#define FEED_BYTES_MAX (11 * MIB) /* twice that, for gzip, fits into an exchange's arena */
#define PAGE_BUDGET (16 * MIB)
#define DEADLINE_US (15 * SECOND_US) /* all pages */
#define RETRY_AFTER "5"

typedef Daybook__Visits__V1__ListCalendarRequest PbRequest;
typedef Daybook__Visits__V1__ListCalendarResponse PbPage;

static struct metric feeds_total = {
    .name = "daybook_gateway_calendar_feeds_total",
    .type = METRIC_COUNTER,
    .help = "Requests for calendar feeds, by HTTP status.",
    .labels = { "status" },
};

struct calendar_feeds {
    struct upstream *upstream;
    struct identity *identity; /* the process's, both */
    struct public_url url;
};

/* One request under way; the exchange's. */
struct feed {
    struct calendar_feeds *all;
    struct http_exchange *x;
    struct upstream_call *asked; /* NULL: not, or answered */
    struct proof proof;
    struct sbuf text; /* on the heap, until the answer */
    struct ics ics;
    size_t nevents;
    int64_t from_us, to_us;
    int64_t changed_us;  /* the latest change of its visits */
    int64_t deadline_us; /* monotonic */
};

/* --- life --------------------------------------------------------------------------------------- */

struct calendar_feeds *calendar_feeds_new(struct upstream *upstream, struct identity *identity,
                                          const struct public_url *url)
{
    struct calendar_feeds *c = calloc(1, sizeof(*c));

    if (c)
        *c = (struct calendar_feeds){ .upstream = upstream, .identity = identity, .url = *url };
    return c;
}

void calendar_feeds_free(struct calendar_feeds *c)
{
    free(c);
}

void calendar_feeds_register_metrics(void)
{
    metric_register(&feeds_total);
}

/* --- the answer --------------------------------------------------------------------------------- */

static void answer(struct feed *f, unsigned status, const void *body, size_t len)
{
    char text[8];
    const char *const labels[] = { text };

    snprintf(text, sizeof(text), "%u", status);
    metric_add(&feeds_total, 1, labels);
    http_set_data(f->x, NULL);
    http_add_header(f->x, "X-Content-Type-Options", "nosniff");
    http_answer(f->x, status, body, len);
    sbuf_fini(&f->text);
}

static void fail(struct feed *f, unsigned status, const char *text)
{
    http_add_header(f->x, "Cache-Control", "no-store");
    http_add_header(f->x, "Content-Type", "text/plain; charset=utf-8");
    if (status == 503)
        http_add_header(f->x, "Retry-After", RETRY_AFTER);
    answer(f, status, text, strlen(text));
}

/* "Mon, 02 Mar 2026 00:00:00 GMT" (RFC 9110, 5.6.7) */
static void add_last_modified(struct feed *f)
{
    static const char weekdays[] = "MonTueWedThuFriSatSun";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const struct tz *utc = tz_find("UTC");
    struct date d = tz_date(utc, f->changed_us);
    int minute = tz_minute_of_day(utc, f->changed_us);
    int second = (int)((f->changed_us - tz_instant(utc, d, minute)) / SECOND_US);
    char text[64];

    if (f->nevents == 0)
        return;
    snprintf(text, sizeof(text), "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
             &weekdays[3 * (date_weekday(d) - 1)], d.day, &months[3 * (d.month - 1)], d.year,
             minute / 60, minute % 60, second);
    http_add_header(f->x, "Last-Modified", text);
}

static void add_headers(struct feed *f, const char *etag)
{
    http_add_header(f->x, "Cache-Control", "private, max-age=900");
    http_add_header(f->x, "Vary", "Accept-Encoding");
    http_add_header(f->x, "ETag", etag);
    add_last_modified(f);
}

static void send_feed(struct feed *f)
{
    bool zip = http_names_gzip(http_header(f->x, "Accept-Encoding"));
    const void *body = f->text.data;
    size_t len = f->text.len;
    uint8_t *zipped;
    char etag[HTTP_ETAG_MAX];

    http_etag(f->text.data, f->text.len, zip, etag);
    if (http_etag_matches(http_header(f->x, "If-None-Match"), etag)) {
        add_headers(f, etag);
        answer(f, 304, NULL, 0);
        return;
    }
    if (zip && gzip_deflate(http_arena(f->x), f->text.data, f->text.len, &zipped, &len) == ERR_OK) {
        http_add_header(f->x, "Content-Encoding", "gzip");
        body = zipped;
    } else {
        len = f->text.len;
        http_etag(body, len, false, etag);
    }
    add_headers(f, etag);
    http_add_header(f->x, "Content-Type", "text/calendar; charset=utf-8");
    answer(f, 200, body, len);
}

static void end(struct feed *f)
{
    calendar_text_end(&f->ics, f->nevents > 0);
    if (f->text.bad) {
        log_error("gateway.calendar", "a calendar cannot be written", NULL);
        fail(f, 500, "the calendar cannot be written: a bug; tell us\n");
        return;
    }
    send_feed(f);
}

/* --- the pages ---------------------------------------------------------------------------------- */

static void ask(struct feed *f, const char *page_token);

/* Of more than fit the earliest are shown. */
static bool is_full(const struct feed *f)
{
    return f->nevents >= EVENTS_MAX || f->text.len + CALENDAR_ENTRY_BYTES_MAX > FEED_BYTES_MAX;
}

static void take_page(struct feed *f, const PbPage *page)
{
    for (size_t i = 0; i < page->n_entries && !is_full(f); i++) {
        calendar_text_add(&f->ics, &f->all->url, page->entries[i]);
        f->changed_us = MAX(f->changed_us, wire_time_us(page->entries[i]->changed_at));
        f->nevents++;
    }
    if (*page->next_page_token && !is_full(f))
        ask(f, page->next_page_token);
    else
        end(f);
}

static void refuse(struct feed *f, enum err code)
{
    if (code == ERR_NOT_FOUND) { /* he has left just now */
        fail(f, 404, "there is no such calendar\n");
        return;
    }
    log_warn("gateway.calendar", "visits cannot be read", "code", err_name(code), NULL);
    fail(f, 503, "the visits cannot be read now; ask again\n");
}

static void on_page(void *arg, const struct upstream_answer *got)
{
    struct feed *f = arg;
    CLEANUP(arena_freep) struct arena *a = arena_new(PAGE_BUDGET);
    ProtobufCMessage *page = NULL;
    struct wire_fault fault;
    enum err e = got->code;

    f->asked = NULL;
    if (!e && got->result->status)
        e = (enum err)got->result->status->code;
    if (!e && !a)
        e = ERR_RESOURCE_EXHAUSTED;
    if (!e && wire_unpack(&daybook__visits__v1__list_calendar_response__descriptor, got->message,
                          got->len, &wire_limits_internal, a, &page, &fault))
        e = ERR_INTERNAL;
    if (e)
        refuse(f, e);
    else
        take_page(f, (const PbPage *)page);
}

static void ask(struct feed *f, const char *page_token)
{
    struct arena *a = http_arena(f->x);
    PbRequest list = DAYBOOK__VISITS__V1__LIST_CALENDAR_REQUEST__INIT;
    struct upstream_request request = {
        .service = "daybook.visits.v1.VisitService",
        .method = "ListCalendar",
        .principal = f->proof.principal,
        .request_id = id_new(),
        .remote_address = f->proof.from,
        .deadline_us = f->deadline_us,
    };
    uint8_t *data = NULL;

    list.page_size = PAGE;
    list.page_token = arena_strdup(a, page_token);
    list.employee_id = f->proof.principal->actor_id;
    list.from = wire_time(a, f->from_us);
    list.to = wire_time(a, f->to_us);
    if (list.page_token && list.from && list.to && !wire_pack(&list.base, a, &data, &request.len)) {
        request.message = data;
        f->asked = upstream_ask(f->all->upstream, &request, on_page, f);
    }
    if (!f->asked)
        refuse(f, ERR_RESOURCE_EXHAUSTED);
}

/* --- the request -------------------------------------------------------------------------------- */

/* "<id>_<secret>" of the path; false: it cannot be one. */
static bool token_of(const char *path, char token[static TOKEN_MAX])
{
    size_t len = strlen(path);

    path += strlen(PREFIX);
    if (len < strlen(PREFIX SUFFIX) || len - strlen(PREFIX SUFFIX) >= TOKEN_MAX)
        return false;
    len -= strlen(PREFIX SUFFIX);
    memcpy(token, path, len);
    token[len] = '\0';
    return strcmp(path + len, SUFFIX) == 0;
}

/* text: without a line end. */
static void fail_after(struct feed *f, unsigned status, const char *text, int64_t wait_us)
{
    char seconds[24], line[160];

    snprintf(seconds, sizeof(seconds), "%" PRId64, (wait_us + SECOND_US - 1) / SECOND_US);
    if (status == 429)
        http_add_header(f->x, "Retry-After", seconds);
    snprintf(line, sizeof(line), "%s\n", text);
    fail(f, status, line);
}

/* False: it was answered. */
static bool prove(struct feed *f)
{
    const struct asker who = identity_asker(f->all->identity, f->x);
    struct refusal refusal = { .text = "there is no such calendar" };
    char token[TOKEN_MAX];
    enum err e = ERR_NOT_FOUND;

    if (token_of(http_path(f->x), token))
        e = identity_admit_feed(f->all->identity, &who, token, http_arena(f->x), &f->proof,
                                &refusal);
    sodium_memzero(token, sizeof(token));
    if (!e)
        return true;
    refusal_tell(&refusal, f->x);
    fail_after(f,
               e == ERR_NOT_FOUND                        ? 404
               : refusal.wait_us && e != ERR_UNAVAILABLE ? 429
                                                         : 503,
               refusal.text, refusal.wait_us);
    return false;
}

static void begin(struct feed *f)
{
    int64_t now_us = clock_now_us();
    char name[512];

    f->from_us = now_us - BACK_US;
    f->to_us = now_us + AHEAD_US;
    f->deadline_us = clock_monotonic_us() + DEADLINE_US;
    sbuf_init(&f->text, FEED_BYTES_MAX + CALENDAR_ENTRY_BYTES_MAX);
    f->ics = (struct ics){ .out = &f->text };
    snprintf(name, sizeof(name), "%s: visits", f->proof.name);
    calendar_text_begin(&f->ics, name);
    http_set_data(f->x, f);
    ask(f, "");
}

static bool is_ours(const struct http_exchange *x)
{
    return strncmp(http_path(x), PREFIX, strlen(PREFIX)) == 0;
}

bool calendar_feeds_serve(struct calendar_feeds *c, struct http_exchange *x)
{
    enum http_method m = http_method(x);

    if (http_fault(x) || m == HTTP_OPTIONS || !is_ours(x))
        return false;
    struct feed *f = arena_alloc(http_arena(x), sizeof(*f));
    if (!f) {
        http_answer(x, 503, NULL, 0);
        return true;
    }
    *f = (struct feed){ .all = c, .x = x };
    if (m != HTTP_GET && m != HTTP_HEAD) {
        http_add_header(x, "Allow", "GET, HEAD");
        fail(f, 405, "");
    } else if (prove(f)) {
        begin(f);
    }
    return true;
}

bool calendar_feeds_gone(struct calendar_feeds *c, struct http_exchange *x)
{
    struct feed *f = http_data(x);

    if (!is_ours(x))
        return false;
    if (!f)
        return true;
    if (f->asked)
        upstream_forget(c->upstream, f->asked);
    sbuf_fini(&f->text);
    http_set_data(x, NULL);
    return true;
}
