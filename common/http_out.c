/*
 * http_out.c - requests by libcurl's multi interface.
 *
 * The address is judged when libcurl asks for a socket to it, so a name that resolves otherwise at
 * the second look gains nothing (F45). Redirects are answers like any other. An answer is read up
 * to its bounds and then cut off: what is wanted of it has been said by then (F44).
 */
#include "common/http_out.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/http_address.h"
#include "common/sbuf.h"
#include "common/version.h"

#define BODY_MAX ((size_t)4 * KIB)
#define HEADERS_MAX ((size_t)32 * KIB)
#define CONNECT_MAX_MS 3000
#define URL_MAX 2048

/* One request; kept for the next one when it is over. */
struct http_call {
    struct http_out *h;
    struct http_call *next_all, *next_free;
    CURL *curl;
    struct http_request request;
    struct curl_slist *headers;
    int64_t started_us;
    long timeout_ms;
    bool running;
    bool refused;
    bool cut; /* by us, at a bound of the answer */
    size_t header_bytes;
    struct sbuf body;
    char error[CURL_ERROR_SIZE];
};

struct http_out {
    CURLM *multi;
    struct http_networks *allowed;
    bool allow_plain;
    const char *authorities; /* file; NULL: those of the system alone */
    struct http_call *all, *free;
    size_t running;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_started;

static void start_curl(void)
{
    curl_started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct http_out *http_out_new(const char *allow, bool allow_plain)
{
    pthread_once(&curl_once, start_curl);
    struct http_out *h = curl_started == CURLE_OK ? calloc(1, sizeof *h) : NULL;
    if (!h)
        return NULL;
    h->allow_plain = allow_plain;
    h->allowed = http_networks_new(allow);
    h->multi = curl_multi_init();
    if (h->allowed && h->multi)
        return h;
    http_out_free(h);
    return NULL;
}

/* Takes the call out of libcurl's hands; its connection stays for the next one. */
static void release(struct http_call *c)
{
    struct http_out *h = c->h;

    if (c->running)
        curl_multi_remove_handle(h->multi, c->curl);
    h->running -= c->running;
    c->running = false;
    curl_easy_reset(c->curl); /* lets go of the list and the body */
    curl_slist_free_all(c->headers);
    c->headers = NULL;
    c->next_free = h->free;
    h->free = c;
}

void http_out_free(struct http_out *h)
{
    if (!h)
        return;
    for (struct http_call *c = h->all, *next; c; c = next) {
        next = c->next_all;
        release(c);
        sbuf_fini(&c->body);
        curl_easy_cleanup(c->curl);
        free(c);
    }
    if (h->multi)
        curl_multi_cleanup(h->multi);
    http_networks_free(h->allowed);
    free(h);
}

bool http_out_authorities_ok(const char *file)
{
    FILE *f = fopen(file, "re");
    char line[256];
    bool has_some = false;

    while (f && !has_some && fgets(line, sizeof line, f))
        has_some = strncmp(line, "-----BEGIN CERTIFICATE-----", 27) == 0;
    if (f)
        (void)fclose(f);
    return has_some;
}

bool http_out_trust(struct http_out *h, const char *file)
{
    if (!http_out_authorities_ok(file))
        return false;
    h->authorities = file;
    return true;
}

size_t http_out_running(const struct http_out *h)
{
    return h->running;
}

/* --- the address ------------------------------------------------------------------------------ */

static enum err judge_scheme(const struct http_out *h, const char *scheme, const char **reason_out)
{
    if (strcmp(scheme, "https") == 0 || (h->allow_plain && strcmp(scheme, "http") == 0))
        return ERR_OK;
    *reason_out = h->allow_plain ? "the address must begin with https:// or http://"
                                 : "the address must begin with https://";
    return ERR_INVALID_ARGUMENT;
}

static bool is_local_name(const char *host)
{
    static const char name[] = "localhost";
    size_t len = strlen(host), want = sizeof name - 1;
    while (len && host[len - 1] == '.')
        len--;
    return len >= want && strncasecmp(host + len - want, name, want) == 0 &&
           (len == want || host[len - want - 1] == '.');
}

static enum err judge_host(const struct http_out *h, const char *host, const char **reason_out)
{
    bool is_address;
    bool ok = http_host_allowed(h->allowed, is_local_name(host) ? "127.0.0.1" : host, &is_address);
    if (!ok)
        *reason_out = "the address lies in a network that is not called";
    return ok ? ERR_OK : ERR_PERMISSION_DENIED;
}

/* The parts as libcurl will use them: it turns 0x7f.1 and 2130706433 into 127.0.0.1. */
static enum err judge_parts(const struct http_out *h, CURLU *parts, const char **reason_out)
{
    char *scheme = NULL, *host = NULL, *user = NULL;
    enum err e = ERR_INVALID_ARGUMENT;
    if (curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK || !*host)
        *reason_out = "the address is malformed";
    else if (curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_OK)
        *reason_out = "the address must not hold a user or password";
    else
        e = judge_scheme(h, scheme, reason_out);
    if (e == ERR_OK)
        e = judge_host(h, host, reason_out);
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    return e;
}

enum err http_out_check_url(struct http_out *h, const char *url, const char **reason_out)
{
    if (strlen(url) > URL_MAX) {
        *reason_out = "the address is too long";
        return ERR_INVALID_ARGUMENT;
    }
    for (const char *p = url; *p; p++)
        if (*p <= 0x20 || *p == 0x7f) {
            *reason_out = "the address holds a space or control character";
            return ERR_INVALID_ARGUMENT;
        }
    CURLU *parts = curl_url();
    enum err e = ERR_INVALID_ARGUMENT;
    if (!parts) {
        *reason_out = "out of memory";
        return ERR_RESOURCE_EXHAUSTED;
    }
    if (curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK)
        e = judge_parts(h, parts, reason_out);
    else
        *reason_out = "the address is malformed";
    curl_url_cleanup(parts);
    return e;
}

/* --- what libcurl calls ----------------------------------------------------------------------- */

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_call *c = arg;
    (void)purpose;
    if (!(c->request.inside ? http_address_inside : http_address_allowed)(c->h->allowed,
                                                                          &address->addr)) {
        c->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
    struct http_call *c = arg;
    size_t len = size * n, fits = MIN(len, c->body.limit - c->body.len);
    sbuf_add(&c->body, data, fits);
    c->cut = fits < len;
    return c->body.bad ? 0 : fits; /* less than len ends the transfer */
}

static size_t take_header(char *data, size_t size, size_t n, void *arg)
{
    struct http_call *c = arg;
    (void)data;
    c->header_bytes += size * n;
    return c->header_bytes <= HEADERS_MAX ? size * n : 0;
}

/* --- the call --------------------------------------------------------------------------------- */

static struct curl_slist *add_header(struct curl_slist *list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(list, text);
    if (!longer)
        curl_slist_free_all(list);
    return longer;
}

/* NULL: no memory, or a header with a line break (*bad_out). */
static struct curl_slist *make_headers(const char *const *headers, bool *bad_out)
{
    *bad_out = false;
    struct curl_slist *list = add_header(NULL, "Expect:"); /* no 100-continue */
    for (size_t i = 0; list && headers && headers[i]; i++) {
        if (strpbrk(headers[i], "\r\n")) {
            *bad_out = true;
            curl_slist_free_all(list);
            return NULL;
        }
        list = add_header(list, headers[i]);
    }
    return list;
}

static CURLcode set_up(struct http_call *c)
{
    const struct http_request *r = &c->request;
    char agent[64];
    CURLcode rc = CURLE_OK;
    snprintf(agent, sizeof agent, "daybook/%s", daybook_version());
#define SET(option, value)                                                                         \
    do {                                                                                           \
        CURLcode set_rc = curl_easy_setopt(c->curl, option, value);                                \
        if (rc == CURLE_OK)                                                                        \
            rc = set_rc;                                                                           \
    } while (0)
    SET(CURLOPT_URL, r->url);
    SET(CURLOPT_PROTOCOLS_STR, c->h->allow_plain ? "http,https" : "https");
    SET(CURLOPT_PROXY, ""); /* none from the environment either */
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    SET(CURLOPT_QUICK_EXIT, 1L); /* else all wait for a name server that does not answer one */
#endif
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (c->h->authorities) /* in place of the file of the system's; its folder of them stays */
        SET(CURLOPT_CAINFO, c->h->authorities);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, c);
    SET(CURLOPT_CONNECTTIMEOUT_MS, MIN(c->timeout_ms, (long)CONNECT_MAX_MS));
    SET(CURLOPT_TIMEOUT_MS, c->timeout_ms);
    SET(CURLOPT_USERAGENT, agent);
    SET(CURLOPT_HTTPHEADER, c->headers);
    if (r->get) {
        SET(CURLOPT_HTTPGET, 1L);
    } else {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDS, r->body ? r->body : "");
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->len);
    }
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, c);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, c);
    SET(CURLOPT_ERRORBUFFER, c->error);
    SET(CURLOPT_PRIVATE, c);
#undef SET
    return rc;
}

static enum err code_of(const struct http_call *c, CURLcode rc, long status)
{
    double total_s = 0;
    switch (rc) {
    case CURLE_OK:
        return ERR_OK;
    case CURLE_WRITE_ERROR: /* cut off by take_body(), or by take_header() */
        return c->cut && status ? ERR_OK : ERR_UNAVAILABLE;
    case CURLE_OPERATION_TIMEDOUT:
        curl_easy_getinfo(c->curl, CURLINFO_TOTAL_TIME, &total_s);
        return total_s * 1000 >= (double)c->timeout_ms - 1 ? ERR_DEADLINE_EXCEEDED
                                                           : ERR_UNAVAILABLE;
    case CURLE_OUT_OF_MEMORY:
        return ERR_RESOURCE_EXHAUSTED;
    case CURLE_URL_MALFORMAT:
        return ERR_INVALID_ARGUMENT;
    default:
        return c->refused ? ERR_PERMISSION_DENIED : ERR_UNAVAILABLE;
    }
}

static const char *words(const struct http_call *c, CURLcode rc)
{
    const char *text = c->refused && rc != CURLE_OPERATION_TIMEDOUT
                           ? "the name leads to an address in a network that is not called"
                       : c->error[0] ? c->error
                                     : curl_easy_strerror(rc);
    const char *copy = arena_strdup(c->request.arena, text);
    return copy ? copy : "out of memory";
}

static struct http_call *take_call(struct http_out *h)
{
    struct http_call *c = h->free;

    if (c) {
        h->free = c->next_free;
    } else {
        c = calloc(1, sizeof *c);
        if (!c)
            return NULL;
        c->h = h;
        c->curl = curl_easy_init();
        if (!c->curl) {
            free(c);
            return NULL;
        }
        c->next_all = h->all;
        h->all = c;
    }
    c->refused = c->cut = false;
    c->header_bytes = 0;
    c->error[0] = '\0';
    c->started_us = clock_monotonic_us();
    return c;
}

static enum err begin(struct http_call *c, const char **reason_out)
{
    bool bad;

    c->headers = make_headers(c->request.headers, &bad);
    if (!c->headers) {
        *reason_out = bad ? "a header holds a line break" : "out of memory";
        return bad ? ERR_INVALID_ARGUMENT : ERR_RESOURCE_EXHAUSTED;
    }
    CURLcode rc = set_up(c);
    if (rc == CURLE_OK && curl_multi_add_handle(c->h->multi, c->curl) != CURLM_OK)
        rc = CURLE_OUT_OF_MEMORY;
    if (rc != CURLE_OK) {
        *reason_out = words(c, rc);
        return ERR_INTERNAL;
    }
    c->running = true;
    c->h->running++;
    return ERR_OK;
}

enum err http_out_start(struct http_out *h, const struct http_request *r, const char **reason_out)
{
    enum err e = http_out_check_url(h, r->url, reason_out);
    if (e)
        return e;
    if (r->timeout_us < MSEC_US) {
        *reason_out = "no time is left";
        return ERR_DEADLINE_EXCEEDED;
    }
    struct http_call *c = take_call(h);
    if (!c) {
        *reason_out = "out of memory";
        return ERR_RESOURCE_EXHAUSTED;
    }
    c->request = *r;
    sbuf_fini(&c->body); /* of the request before */
    sbuf_init(&c->body, r->answer_max ? r->answer_max : BODY_MAX);
    c->timeout_ms = (long)(r->timeout_us / MSEC_US);
    e = begin(c, reason_out);
    if (e)
        release(c);
    return e;
}

static void conclude(struct http_call *c, CURLcode rc, struct http_done *out)
{
    long status = 0;
    curl_off_t retry_s = 0;

    *out = (struct http_done){ .owner = c->request.owner,
                               .took_us = clock_monotonic_us() - c->started_us };
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(c->curl, CURLINFO_RETRY_AFTER, &retry_s);
    out->result = code_of(c, rc, status);
    if (out->result) {
        out->reason = words(c, rc);
        return;
    }
    out->answer = (struct http_answer){
        .status = (int)status,
        .retry_after_us = retry_s > 0 ? MIN(retry_s, INT32_MAX) * SECOND_US : -1,
        .body = arena_strndup(c->request.arena, c->body.data, c->body.len),
        .body_len = c->body.len,
        .cut = c->cut,
    };
    if (!out->answer.body) {
        out->reason = "out of memory";
        out->result = ERR_RESOURCE_EXHAUSTED;
    }
}

/* One that is over, if there is one. */
static bool take_done(struct http_out *h, struct http_done *out)
{
    const CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
        struct http_call *c = NULL;
        if (m->msg != CURLMSG_DONE ||
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c) != CURLE_OK || !c)
            continue;
        conclude(c, m->data.result, out);
        release(c);
        return true;
    }
    return false;
}

bool http_out_next(struct http_out *h, int64_t wait_us, struct http_done *out)
{
    int64_t until_us = clock_monotonic_us() + wait_us;
    int going;

    for (;;) {
        if (take_done(h, out)) /* each performance looks at all of them */
            return true;
        if (curl_multi_perform(h->multi, &going) != CURLM_OK)
            return false;
        if (take_done(h, out))
            return true;
        int64_t left_us = until_us - clock_monotonic_us();
        if (left_us <= 0 || !h->running)
            return false;
        int ms = (int)MIN((left_us + MSEC_US - 1) / MSEC_US, INT32_MAX);
        if (curl_multi_poll(h->multi, NULL, 0, ms, NULL) != CURLM_OK)
            return false;
    }
}

void http_out_rest(struct http_out *h, int64_t wait_us)
{
    int64_t ms = wait_us > 0 ? MIN((wait_us + MSEC_US - 1) / MSEC_US, INT32_MAX) : 0;

    (void)curl_multi_poll(h->multi, NULL, 0, (int)ms, NULL);
}

void http_out_wake(struct http_out *h)
{
    (void)curl_multi_wakeup(h->multi);
}
