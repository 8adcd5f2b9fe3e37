/*
 * resolve.c - a table of names, each with a thread.
 *
 * One lock guards the table and all names. Lookups run outside of it, and whoever only asks whether
 * something changed reads an atomic. The thread of a name that nobody uses any more is joined, unless
 * it is inside getaddrinfo(), which nothing can end: then it is let go and frees the name itself. It
 * logs and counts under the lock and for users only, so nothing is touched after the last of them.
 */
#include "common/resolve.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/num.h"
#include "common/thread.h"

#define LOOK_US (5 * SECOND_US)
#define LOOK_UNKNOWN_US SECOND_US
#define LOOK_ASKED_US SECOND_US
#define HOST_MAX 253
#define ADDRESS_MAX 80 /* IPv6 and a zone */
#define STACK_BYTES (512 * KIB)

struct name {
    struct name *next;
    char host[HOST_MAX + 1];
    unsigned users;
    bool is_looking, is_orphan;
    bool asked;   /* look again soon */
    bool failing; /* was said */
    pthread_t thread;
    pthread_cond_t changed;
    _Atomic uint64_t generation;
    char address[ADDRESS_MAX]; /* "" = not known; written by the thread only, under the lock */
};

struct resolve {
    struct name *name; /* NULL: text is what to give out */
    size_t host_at, host_len;
    bool brackets; /* round an IPv6 address */
    char text[];
};

static struct metric lookups_total = {
    .name = "daybook_dns_lookups_total",
    .type = METRIC_COUNTER,
    .help = "Names of the bus and of Redis that were looked up, by outcome: ok, failed.",
    .labels = { "outcome" },
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct name *names;
static size_t nnames;

/* --- one lookup ------------------------------------------------------------------------------- */

static bool address_text(const struct addrinfo *a, char out[static ADDRESS_MAX])
{
    return getnameinfo(a->ai_addr, a->ai_addrlen, out, ADDRESS_MAX, NULL, 0, NI_NUMERICHOST) == 0;
}

static bool choose(const struct addrinfo *list, const char *held, char out[static ADDRESS_MAX])
{
    char text[ADDRESS_MAX] = "";
    int family = AF_UNSPEC;

    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) || !address_text(a, text))
            continue;
        bool better = family == AF_UNSPEC || (family == AF_INET6 && a->ai_family == AF_INET);
        bool same = strcmp(text, held) == 0;
        if (same || better) {
            memcpy(out, text, sizeof text);
            family = a->ai_family;
        }
        if (same)
            return true;
    }
    return family != AF_UNSPEC;
}

/* 0, or an error of getaddrinfo(). */
static int look_up(const struct name *n, char out[static ADDRESS_MAX])
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;

    int e = getaddrinfo(n->host, NULL, &hints, &list);
    if (e)
        return e;
    bool found = choose(list, n->address, out);
    freeaddrinfo(list);
    return found ? 0 : EAI_NONAME;
}

/* --- the thread of a name --------------------------------------------------------------------- */

static void note_failure(struct name *n, int error)
{
    metric_add(&lookups_total, 1, (const char *const[]){ "failed" });
    if (!n->failing)
        log_warn("dns.failed",
                 n->address[0] ? "a name is not found; its last address holds"
                               : "a name is not found",
                 "name", n->host, "reason", gai_strerror(error), NULL);
    n->failing = true;
}

static void note_address(struct name *n, const char address[static ADDRESS_MAX])
{
    metric_add(&lookups_total, 1, (const char *const[]){ "ok" });
    if (n->failing)
        log_info("dns.found", "the name is found again", "name", n->host, "address", address, NULL);
    n->failing = false;
    if (strcmp(n->address, address) == 0)
        return;
    if (n->address[0])
        log_info("dns.changed", "the name has another address", "name", n->host, "address", address,
                 "before", n->address, NULL);
    memcpy(n->address, address, sizeof n->address);
    atomic_fetch_add(&n->generation, 1);
    pthread_cond_broadcast(&n->changed);
}

/* False: the time is up. */
static bool wait_on(struct name *n, int64_t until_us)
{
    struct timespec until = { .tv_sec = until_us / SECOND_US,
                              .tv_nsec = until_us % SECOND_US * 1000 };
    return pthread_cond_timedwait(&n->changed, &lock, &until) == 0;
}

static void wait_for_turn(struct name *n)
{
    int64_t now_us = clock_monotonic_us();
    int64_t asked_us = now_us + LOOK_ASKED_US;
    int64_t turn_us = n->address[0] ? now_us + LOOK_US : now_us + LOOK_UNKNOWN_US;

    for (; n->users && now_us < turn_us; now_us = clock_monotonic_us()) {
        if (n->asked)
            turn_us = MIN(turn_us, asked_us);
        (void)wait_on(n, turn_us);
    }
    n->asked = false;
}

static void free_name(struct name *n)
{
    pthread_cond_destroy(&n->changed);
    free(n);
}

static void *run(void *arg)
{
    struct name *n = arg;
    char address[ADDRESS_MAX] = "";

    pthread_mutex_lock(&lock);
    while (n->users) {
        n->is_looking = true;
        pthread_mutex_unlock(&lock);
        int error = look_up(n, address);
        pthread_mutex_lock(&lock);
        n->is_looking = false;
        if (n->users && error)
            note_failure(n, error);
        else if (n->users)
            note_address(n, address);
        wait_for_turn(n);
    }
    bool is_orphan = n->is_orphan;
    pthread_mutex_unlock(&lock);
    if (is_orphan)
        free_name(n);
    return NULL;
}

/* --- the table -------------------------------------------------------------------------------- */

static bool init_condition(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool ok =
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 && pthread_cond_init(c, &attr) == 0;
    pthread_condattr_destroy(&attr);
    return ok;
}

static struct name *new_name(const char *host, size_t len)
{
    struct name *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    memcpy(n->host, host, len);
    n->users = 1;
    if (!init_condition(&n->changed)) {
        free(n);
        return NULL;
    }
    if (thread_start_small(&n->thread, "resolve", run, n, STACK_BYTES))
        return n;
    free_name(n);
    return NULL;
}

static struct name *acquire_name(const char *host, size_t len)
{
    struct name *n;

    pthread_mutex_lock(&lock);
    for (n = names; n && (strncmp(n->host, host, len) != 0 || n->host[len]); n = n->next)
        ;
    if (n) {
        n->users++;
    } else if (nnames < RESOLVE_NAMES_MAX && (n = new_name(host, len))) {
        n->next = names;
        names = n;
        nnames++;
    }
    pthread_mutex_unlock(&lock);
    return n;
}

static void release_name(struct name *n)
{
    struct name **at = &names;

    pthread_mutex_lock(&lock);
    if (--n->users > 0) {
        pthread_mutex_unlock(&lock);
        return;
    }
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    nnames--;
    pthread_t thread = n->thread;
    bool is_orphan = n->is_orphan = n->is_looking;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&lock);
    if (is_orphan) { /* n may be gone already */
        pthread_detach(thread);
        return;
    }
    pthread_join(thread, NULL);
    free_name(n);
}

/* --- endpoints -------------------------------------------------------------------------------- */

/* "::1" or "[::1]", with a zone or without. */
static bool is_v6(const char *host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr in6;
    bool brackets = host[0] == '[';
    size_t len = strlen(host);

    if (brackets && (len < 2 || host[len - 1] != ']'))
        return false;
    size_t n = strcspn(host + brackets, brackets ? "%]" : "%");
    if (n >= sizeof text)
        return false;
    memcpy(text, host + brackets, n);
    text[n] = '\0';
    return inet_pton(AF_INET6, text, &in6) == 1;
}

/* inet_aton() lets anything follow a space. */
static bool is_numeric(const char *host)
{
    struct in_addr in4;
    return is_v6(host) || (!strpbrk(host, " \t\n\v\f\r") && inet_aton(host, &in4));
}

static bool is_name(const char *host, size_t len)
{
    if (len == 0 || len > HOST_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)host[i]) && !strchr("-._", host[i]))
            return false;
    return true;
}

/* text[at], len characters of it, is the host. */
static struct resolve *acquire(const char *text, size_t at, size_t len, bool brackets)
{
    char host[HOST_MAX + 1] = "";
    struct resolve *r = calloc(1, sizeof *r + strlen(text) + 1);

    if (!r)
        return NULL;
    memcpy(r->text, text, strlen(text));
    r->host_at = at;
    r->host_len = len;
    r->brackets = brackets;
    if (len <= HOST_MAX)
        memcpy(host, text + at, len);
    if (len == 0 || is_numeric(host))
        return r;
    r->name = is_name(host, len) ? acquire_name(host, len) : NULL;
    if (r->name)
        return r;
    free(r);
    return NULL;
}

struct resolve *resolve_acquire_endpoint(const char *endpoint)
{
    const char tcp[] = "tcp://";
    int64_t port;

    if (strlen(endpoint) + ADDRESS_MAX >= RESOLVE_TEXT_MAX)
        return NULL;
    if (strncmp(endpoint, tcp, strlen(tcp)) != 0)
        return acquire(endpoint, 0, 0, false);
    const char *source = strchr(endpoint, ';'); /* from where; libzmq asks nobody about that */
    const char *host = source ? source + 1 : endpoint + strlen(tcp);
    const char *colon = strrchr(host, ':');
    if (!colon || colon == host || !num_i64(colon + 1, 1, UINT16_MAX, &port))
        return NULL;
    return acquire(endpoint, (size_t)(host - endpoint), (size_t)(colon - host), true);
}

struct resolve *resolve_acquire_host(const char *host)
{
    if (!*host || strlen(host) + ADDRESS_MAX >= RESOLVE_TEXT_MAX)
        return NULL;
    return acquire(host, 0, strlen(host), false);
}

void resolve_release(struct resolve *r)
{
    if (!r)
        return;
    if (r->name)
        release_name(r->name);
    free(r);
}

uint64_t resolve_generation(const struct resolve *r)
{
    return r->name ? atomic_load(&r->name->generation) : 1;
}

bool resolve_get(const struct resolve *r, char out[static RESOLVE_TEXT_MAX],
                 uint64_t *generation_out)
{
    char address[ADDRESS_MAX];
    uint64_t generation;

    if (!r->name) {
        snprintf(out, RESOLVE_TEXT_MAX, "%s", r->text);
        *generation_out = 1;
        return true;
    }
    pthread_mutex_lock(&lock);
    memcpy(address, r->name->address, sizeof address);
    generation = atomic_load(&r->name->generation);
    pthread_mutex_unlock(&lock);
    if (!address[0])
        return false;
    bool brackets = r->brackets && strchr(address, ':');
    snprintf(out, RESOLVE_TEXT_MAX, "%.*s%s%s%s%s", (int)r->host_at, r->text, brackets ? "[" : "",
             address, brackets ? "]" : "", r->text + r->host_at + r->host_len);
    *generation_out = generation;
    return true;
}

bool resolve_wait(const struct resolve *r, int64_t until_us)
{
    if (resolve_generation(r) != 0)
        return true;
    pthread_mutex_lock(&lock);
    while (atomic_load(&r->name->generation) == 0 && wait_on(r->name, until_us))
        ;
    pthread_mutex_unlock(&lock);
    return resolve_generation(r) != 0;
}

void resolve_again(const struct resolve *r)
{
    if (!r->name)
        return;
    pthread_mutex_lock(&lock);
    r->name->asked = true;
    pthread_cond_broadcast(&r->name->changed);
    pthread_mutex_unlock(&lock);
}
