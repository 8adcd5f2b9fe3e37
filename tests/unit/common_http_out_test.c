/*
 * Outgoing HTTP: addresses by table, and the conduct of a call against a server of a few lines on
 * loopback.
 */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/http_address.h"
#include "common/http_out.h"

/* --- addresses -------------------------------------------------------------------------------- */

static void urls_are_judged_before_a_call_F45(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        enum err want;
    } cases[] = {
        { "https://example.com/hook", ERR_OK },
        { "https://example.com:8443/hook?x=1", ERR_OK },
        { "https://93.184.216.34/", ERR_OK },
        { "https://[2606:2800:220:1:248:1893:25c8:1946]/", ERR_OK },
        { "http://example.com/", ERR_INVALID_ARGUMENT },
        { "ftp://example.com/", ERR_INVALID_ARGUMENT },
        { "file:///etc/passwd", ERR_INVALID_ARGUMENT },
        { "gopher://example.com/", ERR_INVALID_ARGUMENT },
        { "example.com", ERR_INVALID_ARGUMENT },
        { "", ERR_INVALID_ARGUMENT },
        { "https://", ERR_INVALID_ARGUMENT },
        { "https://user:pw@example.com/", ERR_INVALID_ARGUMENT },
        { "https://user@example.com/", ERR_INVALID_ARGUMENT },
        { "https://example.com/\r\nX: y", ERR_INVALID_ARGUMENT },
        { "https://example.com/a b", ERR_INVALID_ARGUMENT },
        { "https://localhost/", ERR_PERMISSION_DENIED },
        { "https://LOCALHOST./", ERR_PERMISSION_DENIED },
        { "https://a.localhost/", ERR_PERMISSION_DENIED },
        { "https://127.0.0.1/", ERR_PERMISSION_DENIED },
        { "https://127.1/", ERR_PERMISSION_DENIED },
        { "https://2130706433/", ERR_PERMISSION_DENIED },
        { "https://0x7f000001/", ERR_PERMISSION_DENIED },
        { "https://0177.0.0.1/", ERR_PERMISSION_DENIED },
        { "https://0/", ERR_PERMISSION_DENIED },
        { "https://10.1.2.3/", ERR_PERMISSION_DENIED },
        { "https://100.64.0.1/", ERR_PERMISSION_DENIED },
        { "https://169.254.169.254/latest/meta-data/", ERR_PERMISSION_DENIED },
        { "https://172.16.0.1/", ERR_PERMISSION_DENIED },
        { "https://172.31.255.255/", ERR_PERMISSION_DENIED },
        { "https://172.32.0.1/", ERR_OK },
        { "https://192.168.0.1/", ERR_PERMISSION_DENIED },
        { "https://198.19.0.1/", ERR_PERMISSION_DENIED },
        { "https://224.0.0.1/", ERR_PERMISSION_DENIED },
        { "https://255.255.255.255/", ERR_PERMISSION_DENIED },
        { "https://[::]/", ERR_PERMISSION_DENIED },
        { "https://[::1]/", ERR_PERMISSION_DENIED },
        { "https://[::ffff:127.0.0.1]/", ERR_PERMISSION_DENIED },
        { "https://[::ffff:7f00:1]/", ERR_PERMISSION_DENIED },
        { "https://[::ffff:8.8.8.8]/", ERR_PERMISSION_DENIED }, /* mapped: no honest use */
        { "https://[::127.0.0.1]/", ERR_PERMISSION_DENIED },
        { "https://[2002:7f00:1::1]/", ERR_PERMISSION_DENIED }, /* 6to4 */
        { "https://[2002:808:808::1]/", ERR_PERMISSION_DENIED },
        { "https://[2001:0:1::1]/", ERR_PERMISSION_DENIED }, /* Teredo */
        { "https://[64:ff9b::7f00:1]/", ERR_PERMISSION_DENIED },
        { "https://[64:ff9b::808:808]/", ERR_OK }, /* NAT64 of a public address */
        { "https://[fc00::1]/", ERR_PERMISSION_DENIED },
        { "https://[fd12:3456::1]/", ERR_PERMISSION_DENIED },
        { "https://[fe80::1]/", ERR_PERMISSION_DENIED },
        { "https://[ff02::1]/", ERR_PERMISSION_DENIED },
    };
    struct http_out *h = http_out_new(NULL, false);
    assert_non_null(h);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *reason = NULL;
        enum err e = http_out_check_url(h, cases[i].url, &reason);
        if (e != cases[i].want || (e != ERR_OK && !reason))
            fail_msg("'%s': %s", cases[i].url, err_name(e));
    }
    http_out_free(h);
}

static void allowed_networks_open_what_they_name(void **state)
{
    (void)state;
    struct http_out *h = http_out_new("127.0.0.0/8, 10.1.0.0/16,fd00::/8,192.168.7.7", true);
    assert_non_null(h);
    static const struct {
        const char *url;
        enum err want;
    } cases[] = {
        { "http://localhost:8080/", ERR_OK },
        { "http://127.9.9.9/", ERR_OK },
        { "https://10.1.255.1/", ERR_OK },
        { "https://10.2.0.1/", ERR_PERMISSION_DENIED },
        { "https://192.168.7.7/", ERR_OK },
        { "https://192.168.7.8/", ERR_PERMISSION_DENIED },
        { "https://[fd12::1]/", ERR_OK },
        { "https://[::ffff:127.0.0.1]/", ERR_PERMISSION_DENIED },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *reason = NULL;
        if (http_out_check_url(h, cases[i].url, &reason) != cases[i].want)
            fail_msg("'%s'", cases[i].url);
    }
    http_out_free(h);
}

static void malformed_networks_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "127.0.0.1/33", "127.0.0.0/-1", "127.0.0.0/",   "/8",
                                       "nonsense",     "10.0.0.0/8,",  "10.0.0.0/8,,", ",",
                                       "::1/129",      "10.0.0/8" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (http_out_new(bad[i], false))
            fail_msg("'%s' was taken", bad[i]);
}

/* --- a server --------------------------------------------------------------------------------- */

struct server {
    int fd;
    char url[64];
    const char *answer;
    bool endless; /* goes on with the body for ever */
    bool silent;  /* answers nothing */
    bool bare;    /* waits for no body */
    pthread_t thread;
    atomic_bool stop;
    atomic_int requests;
    char request[16 * 1024];
};

static void answer_one(struct server *s, int fd)
{
    size_t len = 0;
    for (;;) { /* the header and five bytes of body */
        ssize_t n = read(fd, s->request + len, sizeof s->request - 1 - len);
        if (n <= 0)
            return;
        len += (size_t)n;
        s->request[len] = '\0';
        const char *end = strstr(s->request, "\r\n\r\n");
        if (end && strlen(end) >= (s->bare ? 4 : 4 + 5))
            break;
    }
    atomic_fetch_add(&s->requests, 1);
    if (s->silent) {
        while (!atomic_load(&s->stop) && poll(NULL, 0, 5) == 0)
            continue;
        return;
    }
    ssize_t n = write(fd, s->answer, strlen(s->answer));
    while (s->endless && n > 0 && !atomic_load(&s->stop)) {
        char block[4096];
        memset(block, 'x', sizeof block);
        n = send(fd, block, sizeof block, MSG_NOSIGNAL);
    }
}

static void *server_main(void *arg)
{
    struct server *s = arg;
    while (!atomic_load(&s->stop)) {
        struct pollfd p = { .fd = s->fd, .events = POLLIN };
        if (poll(&p, 1, 10) <= 0)
            continue;
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0)
            continue;
        answer_one(s, fd);
        close(fd);
    }
    return NULL;
}

static void start_server(struct server *s)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(s->fd >= 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&address, &size), 0);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%u/hook", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void stop_server(struct server *s)
{
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

static const char *const headers[] = { "Content-Type: application/json", "webhook-id: 42", NULL };

/* One POST from beginning to end. */
static enum err post(struct http_out *h, const char *url, const char *const *lines,
                     const void *body, size_t len, int64_t timeout_us, struct arena *a,
                     struct http_answer *answer_out, const char **reason_out)
{
    const struct http_request request = { .url = url,
                                          .headers = lines,
                                          .body = body,
                                          .len = len,
                                          .timeout_us = timeout_us,
                                          .arena = a,
                                          .owner = answer_out };
    struct http_done done;

    enum err e = http_out_start(h, &request, reason_out);
    if (e)
        return e;
    assert_int_equal(http_out_running(h), 1);
    while (!http_out_next(h, SECOND_US, &done))
        ; /* it has a time limit of its own */
    assert_int_equal(http_out_running(h), 0);
    assert_ptr_equal(done.owner, answer_out);
    *reason_out = done.reason;
    if (!done.result)
        *answer_out = done.answer;
    return done.result;
}

static void a_post_carries_headers_and_body(void **state)
{
    (void)state;
    struct server s = { .answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" };
    struct arena *a = arena_new(MIB);
    struct http_out *h = http_out_new("127.0.0.0/8", true);
    struct http_answer answer;
    const char *reason = NULL;
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* must not be asked */
    start_server(&s);
    assert_int_equal(post(h, s.url, headers, "12345", 5, 5 * SECOND_US, a, &answer, &reason),
                     ERR_OK);
    unsetenv("http_proxy");
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.retry_after_us, -1);
    assert_string_equal(answer.body, "ok");
    stop_server(&s);
    assert_non_null(strstr(s.request, "POST /hook HTTP/1.1\r\n"));
    assert_non_null(strstr(s.request, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(s.request, "webhook-id: 42\r\n"));
    assert_non_null(strstr(s.request, "\r\n\r\n12345"));
    assert_null(strstr(s.request, "Expect:"));
    http_out_free(h);
    arena_free(a);
}

static void a_get_has_no_body_and_a_bound_of_its_own(void **state)
{
    (void)state;
    struct server s = { .answer = "HTTP/1.1 200 OK\r\n\r\n", .endless = true, .bare = true };
    struct arena *a = arena_new(MIB);
    struct http_out *h = http_out_new("127.0.0.0/8", true);
    const char *reason = NULL;
    struct http_done done;

    start_server(&s);
    const struct http_request request = { .url = s.url,
                                          .get = true,
                                          .inside = true,
                                          .answer_max = 64 * KIB,
                                          .timeout_us = MINUTE_US,
                                          .arena = a };
    assert_int_equal(http_out_start(h, &request, &reason), ERR_OK);
    while (!http_out_next(h, SECOND_US, &done))
        ;
    assert_int_equal(done.result, ERR_OK);
    assert_int_equal(done.answer.body_len, 64 * KIB);
    assert_true(done.answer.cut);
    stop_server(&s);
    assert_memory_equal(s.request, "GET /hook HTTP/1.1\r\n", 20);
    assert_null(strstr(s.request, "Content-Length"));
    http_out_free(h);
    arena_free(a);
}

/* Whoever may be called only within the allowed networks is not called outside, public or not. */
static void inside_means_that(void **state)
{
    (void)state;
    struct arena *a = arena_new(MIB);
    struct http_out *h = http_out_new("10.0.0.0/8", true);
    const struct http_request request = { .url = "http://93.184.216.34/keys",
                                          .get = true,
                                          .inside = true,
                                          .timeout_us = MINUTE_US,
                                          .arena = a };
    const char *reason = NULL;
    struct http_done done;

    assert_int_equal(http_out_start(h, &request, &reason), ERR_OK);
    while (!http_out_next(h, SECOND_US, &done))
        ;
    assert_int_equal(done.result, ERR_PERMISSION_DENIED);
    http_out_free(h);
    arena_free(a);
}

static void an_address_is_in_a_network_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *networks, *address;
        bool want;
    } cases[] = {
        { "10.1.0.0/16,192.0.2.7", "10.1.255.255", true },
        { "10.1.0.0/16,192.0.2.7", "10.2.0.0", false },
        { "10.1.0.0/16,192.0.2.7", "192.0.2.7", true },
        { "10.1.0.0/16", "::ffff:10.1.2.3", true }, /* of a listener for both */
        { "::/0", "10.1.2.3", false },
        { "0.0.0.0/0", "2001:db8::1", false },
        { "2001:db8::/32", "2001:db8:ffff::1", true },
        { "2001:db8::/32", "2001:db9::1", false },
        { "", "10.1.2.3", false },
        { "nonsense", "10.1.2.3", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_ip ip;
        assert_true(http_ip_parse(cases[i].address, &ip));
        if (http_networks_text_holds(cases[i].networks, &ip) != cases[i].want)
            fail_msg("%s in %s", cases[i].address, cases[i].networks);
    }
    static const char *const bad[] = { "",          "10.1.2",       "10.1.2.3:80",
                                       "[::1]",     "fe80::1%eth0", "010.1.2.3",
                                       "10.1.2.3 ", " 10.1.2.3",    "::g",
                                       "0x7f000001" };
    struct http_ip ip;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (http_ip_parse(bad[i], &ip))
            fail_msg("'%s' was taken", bad[i]);
    assert_false(http_networks_text_holds("0.0.0.0/0,::/0", &(struct http_ip){ 0 }));
}

static void odd_answers_are_told_as_they_are_F44(void **state)
{
    (void)state;
    static const struct {
        const char *label, *answer;
        bool endless;
        int status;
        int64_t retry_us;
        size_t body_len;
    } cases[] = {
        { "redirect, not followed",
          "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", false,
          302, -1, 0 },
        { "too many", "HTTP/1.1 429 Slow\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n", false,
          429, 17 * SECOND_US, 0 },
        { "gone", "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", false, 410, -1, 0 },
        { "no length", "HTTP/1.1 500 Oops\r\n\r\nsorry", false, 500, -1, 5 },
        { "endless body", "HTTP/1.1 200 OK\r\n\r\n", true, 200, -1, 4096 },
        { "a long body promised", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", true, 200,
          -1, 4096 },
    };
    struct arena *a = arena_new(MIB);
    struct http_out *h = http_out_new("127.0.0.0/8", true);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct server s = { .answer = cases[i].answer, .endless = cases[i].endless };
        struct http_answer answer;
        const char *reason = "";
        start_server(&s);
        enum err e = post(h, s.url, headers, "12345", 5, 5 * SECOND_US, a, &answer, &reason);
        if (e)
            fail_msg("%s: %s, %s", cases[i].label, err_name(e), reason);
        if (answer.status != cases[i].status || answer.retry_after_us != cases[i].retry_us ||
            strlen(answer.body) != cases[i].body_len)
            fail_msg("%s: %d, %" PRId64 ", %zu bytes", cases[i].label, answer.status,
                     answer.retry_after_us, strlen(answer.body));
        assert_int_equal(atomic_load(&s.requests), 1);
        stop_server(&s);
    }
    http_out_free(h);
    arena_free(a);
}

static void failures_have_a_code_and_words_F44(void **state)
{
    (void)state;
    static const struct {
        const char *label, *answer;
        bool silent;
        int64_t timeout_us;
        enum err want;
    } cases[] = {
        { "closes", "", false, 5 * SECOND_US, ERR_UNAVAILABLE },
        { "not HTTP", "SMTP ready\r\n\r\n", false, 5 * SECOND_US, ERR_UNAVAILABLE },
        { "says nothing", NULL, true, 200 * MSEC_US, ERR_DEADLINE_EXCEEDED },
        { "no time", NULL, true, 0, ERR_DEADLINE_EXCEEDED },
    };
    struct arena *a = arena_new(MIB);
    struct http_out *h = http_out_new("127.0.0.0/8", true);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct server s = { .answer = cases[i].answer, .silent = cases[i].silent };
        struct http_answer answer;
        const char *reason = NULL;
        start_server(&s);
        enum err e = post(h, s.url, headers, "12345", 5, cases[i].timeout_us, a, &answer, &reason);
        stop_server(&s);
        if (e != cases[i].want || !reason || !*reason)
            fail_msg("%s: %s", cases[i].label, err_name(e));
    }
    http_out_free(h);
    arena_free(a);
}

static void endless_headers_are_cut(void **state)
{
    (void)state;
    static char many[64 * 1024];
    size_t len = (size_t)snprintf(many, sizeof many, "HTTP/1.1 200 OK\r\n");
    while (len + 64 < sizeof many)
        len += (size_t)snprintf(many + len, sizeof many - len, "X-%zu: %040d\r\n", len, 0);
    struct server s = { .answer = many };
    struct arena *a = arena_new(MIB);
    struct http_out *h = http_out_new("127.0.0.0/8", true);
    struct http_answer answer;
    const char *reason = NULL;
    start_server(&s);
    assert_int_equal(post(h, s.url, headers, "12345", 5, 5 * SECOND_US, a, &answer, &reason),
                     ERR_UNAVAILABLE);
    stop_server(&s);
    http_out_free(h);
    arena_free(a);
}

static void sockets_are_judged_by_their_address_F45(void **state)
{
    (void)state;
    struct http_networks *none = http_networks_new(NULL);
    struct http_networks *loopback = http_networks_new("127.0.0.0/8");
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct sockaddr other = { .sa_family = AF_UNIX };
    assert_false(http_address_allowed(none, (struct sockaddr *)&in));
    assert_true(http_address_allowed(loopback, (struct sockaddr *)&in));
    assert_false(http_address_allowed(loopback, (struct sockaddr *)&in6));
    assert_false(http_address_allowed(loopback, &other));
    http_networks_free(none);
    http_networks_free(loopback);
}

static bool leads_home(const char *name)
{
    struct addrinfo *list = NULL;
    struct http_networks *none = http_networks_new(NULL);
    bool home = getaddrinfo(name, NULL, NULL, &list) == 0;
    for (struct addrinfo *i = list; i; i = i->ai_next)
        home &= !http_address_allowed(none, i->ai_addr);
    if (list)
        freeaddrinfo(list);
    http_networks_free(none);
    return home;
}

/* --- a resolver of our own -------------------------------------------------------------------- */

#define CHANGING_NAME "changes.example.com"
#define HANGING_NAME "hangs.example.com"     /* of a name server that does not answer */
static const char *_Atomic changing_address; /* where CHANGING_NAME leads at this time */
static atomic_bool hanging;
static atomic_int hanged; /* how many have been let go */

/* In place of the C library's, for libcurl too. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **list_out)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strcmp(node, CHANGING_NAME) == 0)
        node = changing_address;
    if (node && strcmp(node, HANGING_NAME) == 0) {
        for (int i = 0; i < 2000 && atomic_load(&hanging); i++) /* 20 s at most */
            (void)poll(NULL, 0, 10);
        atomic_fetch_add(&hanged, 1);
        return EAI_AGAIN;
    }
    return real(node, service, hints, list_out);
}

/* Good at the first look, our own machine or a metadata service at the second. */
static void a_name_that_changes_its_address_is_refused_at_the_socket_F45(void **state)
{
    (void)state;
    static const char *const inside[] = { "127.0.0.1", "10.0.0.1", "169.254.169.254", "::1" };
    struct server s = { .answer = "HTTP/1.1 204 No Content\r\n\r\n" };
    struct arena *a = arena_new(MIB);
    struct http_answer answer;
    const char *reason = NULL;
    char url[128];

    start_server(&s);
    snprintf(url, sizeof url, "http://" CHANGING_NAME "%s", strrchr(s.url, ':'));
    changing_address = "127.0.0.1";
    struct http_out *open = http_out_new("127.0.0.0/8", true);
    assert_int_equal(post(open, url, headers, "hello", 5, 10 * SECOND_US, a, &answer, &reason),
                     ERR_OK);
    assert_int_equal(atomic_load(&s.requests), 1);
    http_out_free(open);
    for (size_t i = 0; i < ARRAY_LEN(inside); i++) {
        struct http_out *h = http_out_new(NULL, true);
        changing_address = "93.184.216.34";
        assert_int_equal(http_out_check_url(h, url, &reason), ERR_OK);
        changing_address = inside[i];
        assert_int_equal(post(h, url, headers, "hello", 5, 10 * SECOND_US, a, &answer, &reason),
                         ERR_PERMISSION_DENIED);
        assert_non_null(strstr(reason, "the name leads to an address"));
        http_out_free(h);
    }
    assert_int_equal(atomic_load(&s.requests), 1);
    stop_server(&s);
    arena_free(a);
}

/* Its request is over in time, and nobody else waits for it (F44). */
static void a_name_server_that_hangs_delays_nobody_F44(void **state)
{
    (void)state;
    struct arena *a = arena_new(MIB);
    struct http_out *h = http_out_new("127.0.0.0/8", true);
    struct http_answer answer;
    const char *reason = NULL;

    atomic_store(&hanging, true);
    assert_int_not_equal(post(h, "http://" HANGING_NAME "/", headers, "hello", 5, 200 * MSEC_US, a,
                              &answer, &reason),
                         ERR_OK);
    assert_int_equal(atomic_load(&hanged), 0); /* it still asks for the name */
    http_out_free(h);
    assert_int_equal(atomic_load(&hanged), 0);
    atomic_store(&hanging, false);
    while (atomic_load(&hanged) == 0)
        (void)poll(NULL, 0, 1);
    arena_free(a);
}

static void authorities_are_read_from_a_file(void **state)
{
    (void)state;
    char name[] = "/tmp/daybook-ca-XXXXXX";
    struct http_out *h = http_out_new(NULL, false);
    int fd = mkstemp(name);

    assert_true(fd >= 0);
    assert_false(http_out_trust(h, "/nonexistent/ca.pem"));
    assert_false(http_out_trust(h, name)); /* empty */
    assert_true(dprintf(fd, "# ours\n-----BEGIN CERTIFICATE-----\n") > 0);
    assert_true(http_out_trust(h, name));
    close(fd);
    unlink(name);
    http_out_free(h);
}

/* A name that looks like any other and resolves to this machine: only the check on the socket can
 * stop it. */
static void a_name_that_leads_home_is_refused_at_the_socket_F45(void **state)
{
    (void)state;
    char host[256] = "";
    const char *names[] = { "ip6-localhost", "ip6-loopback", host };
    int tried = 0;
    struct arena *a = arena_new(MIB);
    struct http_out *h = http_out_new(NULL, false);
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char url[300];
        struct http_answer answer;
        const char *reason = NULL;
        if (!leads_home(names[i]))
            continue;
        snprintf(url, sizeof url, "https://%s/", names[i]);
        assert_int_equal(http_out_check_url(h, url, &reason), ERR_OK);
        assert_int_equal(post(h, url, headers, "", 0, 3 * SECOND_US, a, &answer, &reason),
                         ERR_PERMISSION_DENIED);
        tried++;
    }
    http_out_free(h);
    arena_free(a);
    if (!tried)
        skip();
}

static void a_header_with_a_line_break_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "X: y\r\nEvil: 1", NULL };
    struct arena *a = arena_new(MIB);
    struct http_out *h = http_out_new("127.0.0.0/8", true);
    struct http_answer answer;
    const char *reason = NULL;
    assert_int_equal(post(h, "http://127.0.0.1:1/", bad, "", 0, SECOND_US, a, &answer, &reason),
                     ERR_INVALID_ARGUMENT);
    http_out_free(h);
    arena_free(a);
}

/* One that does not answer holds up no other, and is cut off with its handle. */
static void several_are_under_way_at_once(void **state)
{
    (void)state;
    struct server slow = { .silent = true };
    struct server quick = { .answer = "HTTP/1.1 204 No Content\r\n\r\n" };
    struct arena *a = arena_new(MIB);
    struct http_out *h = http_out_new("127.0.0.0/8", true);
    const char *reason = NULL;
    struct http_done done;

    start_server(&slow);
    start_server(&quick);
    const struct http_request requests[] = {
        { .url = slow.url,
          .headers = headers,
          .body = "12345",
          .len = 5,
          .timeout_us = MINUTE_US,
          .arena = a,
          .owner = &slow },
        { .url = quick.url,
          .headers = headers,
          .body = "12345",
          .len = 5,
          .timeout_us = MINUTE_US,
          .arena = a,
          .owner = &quick },
    };
    assert_int_equal(http_out_start(h, &requests[0], &reason), ERR_OK);
    assert_int_equal(http_out_start(h, &requests[1], &reason), ERR_OK);
    assert_int_equal(http_out_running(h), 2);
    assert_true(http_out_next(h, 30 * SECOND_US, &done));
    assert_ptr_equal(done.owner, &quick);
    assert_int_equal(done.answer.status, 204);
    assert_int_equal(http_out_running(h), 1);
    assert_false(http_out_next(h, 0, &done));
    http_out_free(h);
    stop_server(&slow);
    stop_server(&quick);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_judged_before_a_call_F45),
        cmocka_unit_test(allowed_networks_open_what_they_name),
        cmocka_unit_test(malformed_networks_are_refused),
        cmocka_unit_test(a_post_carries_headers_and_body),
        cmocka_unit_test(a_get_has_no_body_and_a_bound_of_its_own),
        cmocka_unit_test(inside_means_that),
        cmocka_unit_test(an_address_is_in_a_network_or_not),
        cmocka_unit_test(odd_answers_are_told_as_they_are_F44),
        cmocka_unit_test(failures_have_a_code_and_words_F44),
        cmocka_unit_test(endless_headers_are_cut),
        cmocka_unit_test(sockets_are_judged_by_their_address_F45),
        cmocka_unit_test(a_name_that_leads_home_is_refused_at_the_socket_F45),
        cmocka_unit_test(a_name_that_changes_its_address_is_refused_at_the_socket_F45),
        cmocka_unit_test(a_name_server_that_hangs_delays_nobody_F44),
        cmocka_unit_test(authorities_are_read_from_a_file),
        cmocka_unit_test(a_header_with_a_line_break_is_refused),
        cmocka_unit_test(several_are_under_way_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
