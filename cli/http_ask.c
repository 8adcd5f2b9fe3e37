/*
 * http_ask.c - see http_ask.h (protocols B.1 to B.4).
 *
 * A server that is not a gateway answers in its own way. What it says then is no Connect answer, and
 * the reader is told what came instead: the usual cause is a wrong --url.
 */
#include "cli/http_ask.h"

#include <curl/curl.h>
#include <sodium.h>
#include <strings.h>

#include "cli/connect_error.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/pb_access.h"
#include "common/sbuf.h"
#include "common/schema.h"
#include "common/version.h"
#include "common/wire.h"
#include "google/rpc/error_details.pb-c.h"

#define ANSWER_MAX (16 * MIB)
#define URL_MAX 2048
#define CONNECT_MAX_MS 3000
#define TIMEOUT_MIN_US (5 * MSEC_US) /* as over the bus */
#define TIMEOUT_MAX_US (30 * SECOND_US)
/* The gateway says itself when time is up; that needs a moment to get here. */
#define GRACE_MS 500
#define STOP_LOOK_MS 250
#define ENVELOPE_BYTES 5
#define ENVELOPE_GZIP 0x01
#define ENVELOPE_END 0x02
#define REASON_MAX 400

/* A stream that is being read. */
struct reading {
    const struct http_listener *listener;
    struct arena *arena;
    int64_t heard_us; /* monotonic; the last byte */
    bool enough;      /* the listener's */
    bool ended;       /* its last envelope has come */
    bool bad;         /* what came is no stream of this method */
    PbStatus *end;    /* its error; NULL: none */
};

/* One request; kept for the next one when it is over. */
struct flight {
    struct http_ask *h;
    struct flight *next_all, *next_free;
    CURL *curl;
    const struct schema_method *method;
    char request_id[ID_TEXT_MAX];
    struct curl_slist *headers;
    uint8_t *request;
    size_t len;
    struct sbuf answer;
    struct reading *reading; /* NULL: a unary call */
    bool running;
    char error[CURL_ERROR_SIZE];
};

struct http_ask {
    CURLM *multi;
    char *url; /* no slash at its end */
    char *authorization;
    struct flight *all, *free;
    char reason[REASON_MAX];
};

/* --- begin and end ---------------------------------------------------------------------------- */

static const char *judge_parts(CURLU *parts)
{
    char *scheme = NULL, *user = NULL, *password = NULL, *query = NULL, *fragment = NULL;
    const char *fault = NULL;

    if (curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
        fault = "must begin with https:// or http://";
    else if (curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_OK ||
             curl_url_get(parts, CURLUPART_PASSWORD, &password, 0) == CURLUE_OK)
        fault = "must not hold a user or password; the API key says who asks";
    else if (curl_url_get(parts, CURLUPART_QUERY, &query, 0) == CURLUE_OK ||
             curl_url_get(parts, CURLUPART_FRAGMENT, &fragment, 0) == CURLUE_OK)
        fault = "must end before ? and #";
    curl_free(scheme);
    curl_free(user);
    curl_free(password);
    curl_free(query);
    curl_free(fragment);
    return fault;
}

const char *http_ask_fault_of(const char *url)
{
    CURLU *parts = curl_url();
    const char *fault = "is no address such as https://daybook.example.com";

    if (strlen(url) > URL_MAX)
        fault = "is too long";
    else if (parts && strstr(url, "://") && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK)
        fault = judge_parts(parts);
    curl_url_cleanup(parts);
    return fault;
}

struct http_ask *http_ask_new(const char *url, const char *api_key)
{
    struct http_ask *h = calloc(1, sizeof *h);
    size_t len = strlen(url);

    if (!h)
        return NULL;
    while (len && url[len - 1] == '/')
        len--;
    h->url = strndup(url, len);
    h->multi = curl_multi_init();
    if (asprintf(&h->authorization, "Authorization: Bearer %s", api_key) < 0)
        h->authorization = NULL;
    if (h->url && h->multi && h->authorization)
        return h;
    http_ask_free(h);
    return NULL;
}

/* Out of libcurl's hands; its connection stays for the next one. */
static void release(struct flight *f)
{
    struct http_ask *h = f->h;

    if (f->running)
        curl_multi_remove_handle(h->multi, f->curl);
    f->running = false;
    curl_easy_reset(f->curl);
    curl_slist_free_all(f->headers);
    f->headers = NULL;
    free(f->request);
    f->request = NULL;
    sbuf_fini(&f->answer);
    f->reading = NULL;
    f->next_free = h->free;
    h->free = f;
}

void http_ask_free(struct http_ask *h)
{
    if (!h)
        return;
    for (struct flight *f = h->all, *next; f; f = next) {
        next = f->next_all;
        if (f->running)
            release(f);
        curl_easy_cleanup(f->curl);
        free(f);
    }
    curl_multi_cleanup(h->multi);
    if (h->authorization)
        sodium_memzero(h->authorization, strlen(h->authorization));
    free(h->authorization);
    free(h->url);
    free(h);
}

const char *http_ask_reason(const struct http_ask *h)
{
    return h->reason;
}

static struct flight *take_flight(struct http_ask *h)
{
    struct flight *f = h->free;

    if (f) {
        h->free = f->next_free;
    } else {
        f = calloc(1, sizeof *f);
        if (!f)
            return NULL;
        f->h = h;
        f->curl = curl_easy_init();
        if (!f->curl) {
            free(f);
            return NULL;
        }
        f->next_all = h->all;
        h->all = f;
    }
    sbuf_init(&f->answer, ANSWER_MAX);
    f->error[0] = '\0';
    return f;
}

/* --- the request ------------------------------------------------------------------------------ */

/* True: the list has one more. */
static bool add_header(struct curl_slist **list, const char *fmt, ...) PRINTF(2, 3);
static bool add_header(struct curl_slist **list, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct curl_slist *longer = n >= 0 && (size_t)n < sizeof text && !strpbrk(text, "\r\n")
                                    ? curl_slist_append(*list, text)
                                    : NULL;
    if (longer)
        *list = longer;
    return longer != NULL;
}

static bool make_headers(struct flight *f, const struct bus_request *r)
{
    struct curl_slist **list = &f->headers;
    bool stream = f->reading != NULL;

    return add_header(list, "Expect:") && /* no 100-continue */
           add_header(list, "%s", f->h->authorization) &&
           add_header(list, "Content-Type: application/%sproto", stream ? "connect+" : "") &&
           add_header(list, "Connect-Protocol-Version: 1") &&
           (stream || add_header(list, "Connect-Timeout-Ms: %" PRId64, r->timeout_us / MSEC_US)) &&
           (!r->traceparent || add_header(list, "Traceparent: %s", r->traceparent)) &&
           (!r->idempotency_key || add_header(list, "Idempotency-Key: %s", r->idempotency_key));
}

/* A stream's request stands in an envelope. */
static bool make_body(struct flight *f, const struct bus_request *r)
{
    size_t head = f->reading ? ENVELOPE_BYTES : 0;
    size_t len = protobuf_c_message_get_packed_size(r->message);
    const uint8_t envelope[ENVELOPE_BYTES] = { 0, (uint8_t)(len >> 24), (uint8_t)(len >> 16),
                                               (uint8_t)(len >> 8), (uint8_t)len };

    f->request = malloc(head + len + 1);
    if (!f->request)
        return false;
    memcpy(f->request, envelope, head);
    f->len = head + protobuf_c_message_pack(r->message, f->request + head);
    return true;
}

static size_t take_stream(struct flight *f);

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
    struct flight *f = arg;

    sbuf_add(&f->answer, data, size * n);
    if (f->answer.bad || (f->reading && !take_stream(f)))
        return 0; /* ends the transfer */
    return size * n;
}

static CURLcode set_up(struct flight *f, const char *url, const struct bus_request *r)
{
    char agent[64];
    CURLcode rc = CURLE_OK;
    long timeout_ms = (long)(r->timeout_us / MSEC_US) + GRACE_MS;

    snprintf(agent, sizeof agent, "daybook-cli/%s", daybook_version());
#define SET(option, value)                                                                         \
    do {                                                                                           \
        CURLcode set_rc = curl_easy_setopt(f->curl, option, value);                                \
        if (rc == CURLE_OK)                                                                        \
            rc = set_rc;                                                                           \
    } while (0)
    SET(CURLOPT_URL, url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_CONNECTTIMEOUT_MS, MIN(timeout_ms, (long)CONNECT_MAX_MS));
    if (!f->reading) {
        SET(CURLOPT_TIMEOUT_MS, timeout_ms);
        SET(CURLOPT_ACCEPT_ENCODING, "gzip");
    }
    SET(CURLOPT_USERAGENT, agent);
    SET(CURLOPT_HTTPHEADER, f->headers);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDS, f->request);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->len);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, f);
    SET(CURLOPT_ERRORBUFFER, f->error);
    SET(CURLOPT_PRIVATE, f);
#undef SET
    return rc;
}

/* The address of a method; bounded, since that of the gateway and all names are. */
static void url_of(const struct flight *f, char *out, size_t size)
{
    snprintf(out, size, "%s/%s/%s", f->h->url, f->method->service, f->method->name);
}

static enum err begin(struct http_ask *h, const struct bus_request *request,
                      struct reading *reading, struct flight **flight_out)
{
    char url[URL_MAX + 512];
    struct bus_request r = *request;
    const struct schema_method *m = schema_find_method(r.service, r.method);

    h->reason[0] = '\0';
    if (!m || m->client_stream || m->server_stream != (reading != NULL)) {
        snprintf(h->reason, sizeof h->reason, "%s/%s %s", r.service, r.method,
                 m ? "is a stream of messages, no call" : "is not known here");
        return ERR_UNIMPLEMENTED;
    }
    r.timeout_us = MIN(r.timeout_us, TIMEOUT_MAX_US);
    if (r.timeout_us < TIMEOUT_MIN_US)
        return ERR_DEADLINE_EXCEEDED;
    struct flight *f = take_flight(h);
    if (!f)
        return ERR_RESOURCE_EXHAUSTED;
    f->method = m;
    f->reading = reading;
    snprintf(f->request_id, sizeof f->request_id, "%s", r.request_id ? r.request_id : "");
    url_of(f, url, sizeof url);
    if (!make_body(f, &r) || !make_headers(f, &r) || set_up(f, url, &r) != CURLE_OK ||
        curl_multi_add_handle(h->multi, f->curl) != CURLM_OK) {
        release(f);
        return ERR_RESOURCE_EXHAUSTED;
    }
    f->running = true;
    *flight_out = f;
    return ERR_OK;
}

enum err http_ask_send(struct http_ask *h, const struct bus_request *r)
{
    struct flight *f;
    return begin(h, r, NULL, &f);
}

/* --- errors ----------------------------------------------------------------------------------- */

/* What the gateway says itself, such as of its rate, says Retry-After in the header only. */
static void add_retry_info(struct flight *f, PbStatus *status, struct arena *a)
{
    curl_off_t seconds = 0;
    Google__Rpc__RetryInfo *info = wire_new(&google__rpc__retry_info__descriptor, a);
    Google__Protobuf__Duration *delay = wire_new(&google__protobuf__duration__descriptor, a);

    curl_easy_getinfo(f->curl, CURLINFO_RETRY_AFTER, &seconds);
    for (size_t i = 0; i < status->n_details; i++)
        if (strstr(status->details[i]->type_url, "/google.rpc.RetryInfo"))
            return;
    if (seconds <= 0 || !info || !delay)
        return;
    delay->seconds = seconds;
    info->retry_delay = delay;
    Google__Protobuf__Any *any = wire_any(a, &info->base);
    if (any)
        status->details[status->n_details++] = any;
}

/* --- the answer ------------------------------------------------------------------------------- */

static const char *header_of(struct flight *f, const char *name)
{
    struct curl_header *h;
    return curl_easy_header(f->curl, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK ? h->value : "";
}

static bool is_type(struct flight *f, const char *type)
{
    const char *value = header_of(f, "Content-Type");
    size_t len = strlen(type);
    return strncasecmp(value, type, len) == 0 && (value[len] == '\0' || strchr("; ", value[len]));
}

/* The headers of the answer, among which are the facts about it (call.proto). */
static bool add_metadata(struct flight *f, PbCallResult *result, struct arena *a)
{
    size_t n = 0;

    for (struct curl_header *h = NULL;
         (h = curl_easy_nextheader(f->curl, CURLH_HEADER, -1, h)) != NULL;)
        n++;
    result->metadata = arena_array(a, n + 1, sizeof *result->metadata);
    for (struct curl_header *h = NULL;
         result->metadata && (h = curl_easy_nextheader(f->curl, CURLH_HEADER, -1, h)) != NULL;) {
        Daybook__Common__V1__CallResult__MetadataEntry *entry =
            wire_new(&daybook__common__v1__call_result__metadata_entry__descriptor, a);
        if (!entry)
            return false;
        entry->key = arena_strdup(a, h->name);
        entry->value = arena_strdup(a, h->value);
        for (char *p = entry->key; p && *p; p++)
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        if (!entry->key || !entry->value)
            return false;
        result->metadata[result->n_metadata++] = entry;
    }
    return result->metadata != NULL;
}

/* NULL: no memory. */
static const PbCallResult *make_result(struct flight *f, PbStatus *status, struct arena *a)
{
    PbCallResult *result = wire_new(&daybook__common__v1__call_result__descriptor, a);

    if (!result || !add_metadata(f, result, a))
        return NULL;
    result->request_id = arena_strdup(a, header_of(f, "X-Request-Id"));
    result->status = status;
    if (status)
        add_retry_info(f, status, a);
    return result->request_id ? result : NULL;
}

static void give_reason(struct flight *f, const char *fmt, ...) PRINTF(2, 3);
static void give_reason(struct flight *f, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(f->h->reason, sizeof f->h->reason, fmt, ap);
    va_end(ap);
    for (char *p = f->h->reason; *p; p++) /* some of it is a stranger's */
        *p = *p > 0 && (*p < ' ' || *p == 0x7f) ? '?' : *p;
}

/* By the status alone, as the protocol has it for what is no error of Connect; but what tells of a
 * wrong address is said so. */
static enum err stranger(struct flight *f, long status)
{
    const char *type = header_of(f, "Content-Type");

    if (status >= 300 && status < 400) {
        give_reason(f, "answers %ld, moved to %.200s: give that as --url if it is the gateway",
                    status, header_of(f, "Location"));
        return ERR_FAILED_PRECONDITION;
    }
    if (status == 401 || status == 403) {
        give_reason(f, "answers %ld, but not as a gateway does; is a proxy before it?", status);
        return status == 401 ? ERR_UNAUTHENTICATED : ERR_PERMISSION_DENIED;
    }
    if (status == 429 || (status >= 502 && status <= 504)) {
        give_reason(f, "answers %ld, but not as a gateway does; try again when it is back", status);
        return ERR_UNAVAILABLE;
    }
    give_reason(f, "answers %ld%s%.100s: no gateway is there, or one of another version", status,
                *type ? " with " : "", type);
    return ERR_UNIMPLEMENTED;
}

static enum err no_answer(struct flight *f, CURLcode rc)
{
    const char *words = f->error[0] ? f->error : curl_easy_strerror(rc);

    if (f->answer.bad) {
        give_reason(f, "the answer is larger than 16 MiB");
        return ERR_RESOURCE_EXHAUSTED;
    }
    switch (rc) {
    case CURLE_OUT_OF_MEMORY:
        give_reason(f, "out of memory");
        return ERR_RESOURCE_EXHAUSTED;
    case CURLE_OPERATION_TIMEDOUT: {
        double connected_s = 0;
        curl_easy_getinfo(f->curl, CURLINFO_PRETRANSFER_TIME, &connected_s);
        give_reason(f, "%s", words);
        return connected_s > 0 && !f->reading ? ERR_DEADLINE_EXCEEDED : ERR_UNAVAILABLE;
    }
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        give_reason(f,
                    "the connection broke before the answer (%s); it may have been done: ask "
                    "again with the same --key",
                    words);
        return ERR_UNAVAILABLE;
    default:
        give_reason(f, "no gateway answers there (%s); is it running?", words);
        return ERR_UNAVAILABLE;
    }
}

static enum err read_message(struct flight *f, struct arena *a, ProtobufCMessage **message_out)
{
    struct wire_fault fault;
    enum err e = wire_unpack(f->method->output, f->answer.data, f->answer.len,
                             &wire_limits_internal, a, message_out, &fault);
    return e == ERR_INVALID_ARGUMENT ? ERR_INTERNAL : e; /* the answer is broken */
}

/* What a request that is over has come to. */
static enum err conclude(struct flight *f, CURLcode rc, struct arena *a, struct bus_answer *out)
{
    long status = 0;
    struct bus_answer answer = { .result = NULL };
    PbStatus *error = NULL;
    bool well;
    enum err e = ERR_OK;

    f->h->reason[0] = '\0';
    if (rc != CURLE_OK)
        return no_answer(f, rc);
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    if (f->reading)
        well = f->reading->ended;
    else
        well = status == 200 && is_type(f, "application/proto");
    if (f->reading && well)
        error = f->reading->end;
    else if (!well && status != 200 && is_type(f, "application/json"))
        error = connect_error_read(f->answer.data, f->answer.len, NULL, a);
    if (!well && !error)
        return stranger(f, status);
    answer.result = make_result(f, error, a);
    if (!answer.result)
        return ERR_RESOURCE_EXHAUSTED;
    if (error)
        e = (enum err)error->code;
    else if (!f->reading)
        e = read_message(f, a, &answer.message);
    *out = answer;
    return e;
}

/* One that is over, if there is one. */
static struct flight *next_over(struct http_ask *h, CURLcode *rc_out)
{
    const CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
        struct flight *f = NULL;
        if (m->msg != CURLMSG_DONE ||
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &f) != CURLE_OK || !f)
            continue;
        *rc_out = m->data.result;
        return f;
    }
    return NULL;
}

/* Waits for one until then (monotonic); NULL: none was over, or libcurl fails. */
static struct flight *wait_over(struct http_ask *h, int64_t until_us, CURLcode *rc_out)
{
    for (;;) {
        int going;
        if (curl_multi_perform(h->multi, &going) != CURLM_OK)
            return NULL;
        struct flight *f = next_over(h, rc_out);
        if (f)
            return f;
        int64_t left_us = until_us - clock_monotonic_us();
        if (left_us <= 0)
            return NULL;
        int ms = (int)MIN((left_us + MSEC_US - 1) / MSEC_US, INT32_MAX);
        if (curl_multi_poll(h->multi, NULL, 0, ms, NULL) != CURLM_OK)
            return NULL;
    }
}

enum err http_ask_receive(struct http_ask *h, int64_t timeout_us, struct arena *a,
                          struct bus_answer *answer_out, const char **whose_out)
{
    CURLcode rc = CURLE_OK;
    struct flight *f = wait_over(h, clock_monotonic_us() + timeout_us, &rc);

    *whose_out = NULL;
    if (!f)
        return ERR_DEADLINE_EXCEEDED;
    *answer_out = (struct bus_answer){ .result = NULL };
    enum err e = conclude(f, rc, a, answer_out);
    *whose_out = arena_strdup(a, f->request_id);
    release(f);
    return e;
}

enum err http_ask_call(struct http_ask *h, const struct bus_request *r, struct arena *a,
                       struct bus_answer *answer_out)
{
    struct flight *f;
    CURLcode rc = CURLE_OPERATION_TIMEDOUT; /* unless libcurl, which has our limit, says other */

    *answer_out = (struct bus_answer){ .result = NULL };
    enum err e = begin(h, r, NULL, &f);
    if (e)
        return e;
    (void)wait_over(h, clock_monotonic_us() + TIMEOUT_MAX_US + SECOND_US, &rc);
    e = conclude(f, rc, a, answer_out);
    release(f);
    return e;
}

/* --- streams ---------------------------------------------------------------------------------- */

/* One envelope. False: the transfer is to end. */
static bool take_envelope(struct flight *f, uint8_t flags, const uint8_t *data, size_t len)
{
    struct reading *r = f->reading;
    ProtobufCMessage *message = NULL;
    struct wire_fault fault;

    r->bad = r->ended || flags & ENVELOPE_GZIP;
    if (r->bad)
        return false;
    arena_reset(r->arena);
    if (flags & ENVELOPE_END) {
        r->ended = true;
        r->end = connect_error_read((const char *)data, len, "error", r->arena);
        return true;
    }
    r->bad = wire_unpack(f->method->output, data, len, &wire_limits_internal, r->arena, &message,
                         &fault) != ERR_OK;
    r->enough = !r->bad && !r->listener->take(r->listener->arg, message);
    return !r->bad && !r->enough;
}

/* Takes the envelopes that are whole. 0: the transfer is to end. */
static size_t take_stream(struct flight *f)
{
    struct sbuf *b = &f->answer;
    size_t at = 0;
    bool more = true;
    long status = 0;

    f->reading->heard_us = clock_monotonic_us();
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 || !is_type(f, "application/connect+proto"))
        return 1; /* collected: it may be an error */
    while (more && b->len - at >= ENVELOPE_BYTES) {
        const uint8_t *p = (const uint8_t *)b->data + at;
        size_t len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
        if (b->len - at - ENVELOPE_BYTES < len)
            break;
        more = take_envelope(f, p[0], p + ENVELOPE_BYTES, len);
        at += ENVELOPE_BYTES + len;
    }
    memmove(b->data, b->data + at, b->len - at + 1);
    b->len -= at;
    return more;
}

static bool is_quiet(const struct reading *r)
{
    return clock_monotonic_us() - r->heard_us > r->listener->quiet_us;
}

static enum err conclude_stream(struct flight *f, bool over, CURLcode rc, struct arena *a,
                                struct bus_answer *end_out)
{
    const struct reading *r = f->reading;

    f->h->reason[0] = '\0';
    if (r->enough)
        return ERR_OK;
    if (r->bad) {
        give_reason(f, "what comes is no stream of this method; is it of another version?");
        return ERR_INTERNAL;
    }
    if (!over || (rc == CURLE_OK && !r->ended && is_type(f, "application/connect+proto"))) {
        give_reason(f, "the stream %s", over ? "broke off" : "went silent");
        return ERR_UNAVAILABLE;
    }
    return conclude(f, rc, a, end_out);
}

enum err http_ask_stream(struct http_ask *h, const struct bus_request *r, struct arena *a,
                         const struct http_listener *listener, struct bus_answer *end_out)
{
    struct reading reading = { .listener = listener, .arena = a, .heard_us = clock_monotonic_us() };
    struct flight *f = NULL, *over = NULL;
    CURLcode rc = CURLE_OK;

    *end_out = (struct bus_answer){ .result = NULL };
    enum err e = begin(h, r, &reading, &f);
    if (e)
        return e;
    while (!over && !reading.enough && !is_quiet(&reading)) {
        over = wait_over(h, clock_monotonic_us() + STOP_LOOK_MS * MSEC_US, &rc);
        reading.enough |= !over && listener->stopped(listener->arg);
    }
    e = conclude_stream(f, over != NULL, rc, a, end_out);
    release(f);
    return e;
}
