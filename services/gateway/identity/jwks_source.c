/*
 * jwks_source.c - see jwks_source.h.
 */
#include "services/gateway/identity/jwks_source.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/http_address.h"
#include "common/http_out.h"
#include "common/log.h"
#include "common/metrics.h"

#define TURN_US (250 * MSEC_US)
#define FILE_EVERY_US SECOND_US
#define AGAIN_US (30 * SECOND_US)     /* after a failure */
#define AGAIN_BARE_US (2 * SECOND_US) /* the same while there is no set at all */
#define MISS_EVERY_US MINUTE_US
#define FETCH_TIMEOUT_US (10 * SECOND_US)

struct jwks_source {
    char *place;
    struct http_out *http; /* NULL: a file */
    bool is_plain;
    int64_t refresh_us;
    /* the thread's */
    struct arena *arena; /* of the answer that is awaited */
    bool fetching;
    int64_t next_us;  /* monotonic: the next look */
    struct stat seen; /* of the file that was read last */
    bool failing;     /* and that was logged */
    /* everybody's */
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    const struct jwks *set;
    bool wish;       /* somebody missed a key, and the look for it is not over */
    bool serving;    /* the look under way began after that */
    int64_t miss_us; /* monotonic: when that may be the next time */
};

static struct metric looks_total = {
    .name = "daybook_gateway_jwks_looks_total",
    .type = METRIC_COUNTER,
    .help = "Looks for the keys that tokens are signed with, by result.",
    .labels = { "result" },
};

/* --- what came of a look ------------------------------------------------------------------------ */

static void adopt(struct jwks_source *s, const struct jwks *set)
{
    char count[24];

    pthread_mutex_lock(&s->lock);
    const struct jwks *old = s->set;
    s->set = set;
    pthread_mutex_unlock(&s->lock);
    jwks_release(old);
    snprintf(count, sizeof(count), "%zu", jwks_count(set));
    log_info("gateway.jwks", "the keys of tokens were read", "from", s->place, "keys", count, NULL);
}

/* The keys at hand stay. Told once, until it goes well again. */
static void fail(struct jwks_source *s, const char *reason)
{
    if (!s->failing)
        log_warn("gateway.jwks", "the keys of tokens cannot be read; those at hand stay", "from",
                 s->place, "reason", reason, NULL);
    s->failing = true;
}

static bool take(struct jwks_source *s, const char *json, size_t len)
{
    const char *reason = NULL;
    const struct jwks *set = jwks_read(json, len, &reason);

    if (!set) {
        fail(s, reason);
        return false;
    }
    s->failing = false;
    adopt(s, set);
    return true;
}

static void conclude(struct jwks_source *s, bool ok, int64_t every_us)
{
    const char *const labels[] = { ok ? "ok" : "failed" };

    metric_add(&looks_total, 1, labels);
    pthread_mutex_lock(&s->lock);
    int64_t wait_us = ok ? every_us : MIN(every_us, s->set ? AGAIN_US : AGAIN_BARE_US);
    s->wish = s->wish && !s->serving; /* what was missed meanwhile is looked for again */
    s->serving = false;
    pthread_mutex_unlock(&s->lock);
    s->next_us = clock_monotonic_us() + wait_us;
}

/* --- a file ------------------------------------------------------------------------------------- */

/* Bytes read, up to max; -1: errno. */
static ssize_t read_all(int fd, char *out, size_t max)
{
    size_t len = 0;
    ssize_t n = 1;

    while (len < max && n > 0) {
        n = read(fd, out + len, max - len);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            len += (size_t)n;
    }
    return n < 0 ? -1 : (ssize_t)len;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The state that is compared is that of before reading: what changes meanwhile is read again. */
static void read_file(struct jwks_source *s, int fd)
{
    char json[JWKS_BYTES_MAX + 1];
    struct stat now;

    if (fstat(fd, &now) == 0 && is_same(&now, &s->seen)) {
        s->next_us = clock_monotonic_us() + FILE_EVERY_US;
        pthread_mutex_lock(&s->lock);
        s->wish = false; /* it is what it was */
        pthread_mutex_unlock(&s->lock);
        return;
    }
    ssize_t len = read_all(fd, json, sizeof(json));
    if (len < 0)
        fail(s, strerror(errno));
    bool ok = len >= 0 && take(s, json, (size_t)len);
    if (ok)
        s->seen = now;
    conclude(s, ok, FILE_EVERY_US);
}

static void look_at_file(struct jwks_source *s)
{
    int fd = open(s->place, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        fail(s, strerror(errno));
        conclude(s, false, FILE_EVERY_US);
        return;
    }
    read_file(s, fd);
    close(fd);
}

/* --- an address --------------------------------------------------------------------------------- */

static void begin_fetch(struct jwks_source *s)
{
    static const char *const headers[] = { "Accept: application/jwk-set+json, application/json",
                                           NULL };
    const char *reason = NULL;

    arena_reset(s->arena);
    enum err e = http_out_start(s->http,
                                &(struct http_request){ .url = s->place,
                                                        .headers = headers,
                                                        .get = true,
                                                        .inside = s->is_plain,
                                                        .answer_max = JWKS_BYTES_MAX,
                                                        .timeout_us = FETCH_TIMEOUT_US,
                                                        .arena = s->arena },
                                &reason);
    s->fetching = !e;
    if (e) {
        fail(s, reason);
        conclude(s, false, s->refresh_us);
    }
}

static void end_fetch(struct jwks_source *s, const struct http_done *done)
{
    bool ok = false;

    s->fetching = false;
    if (done->result)
        fail(s, done->reason);
    else if (done->answer.status != 200)
        fail(s, "the answer was not 200 OK");
    else if (done->answer.cut)
        fail(s, "the answer is longer than 64 KiB");
    else
        ok = take(s, done->answer.body, done->answer.body_len);
    conclude(s, ok, s->refresh_us);
}

/* --- the thread --------------------------------------------------------------------------------- */

static bool wait_until_due(struct jwks_source *s)
{
    int64_t until_us = MIN(s->next_us, clock_monotonic_us() + TURN_US);
    struct timespec until = { .tv_sec = until_us / SECOND_US,
                              .tv_nsec = until_us % SECOND_US * 1000 };

    pthread_mutex_lock(&s->lock);
    while (!s->wish && clock_monotonic_us() < until_us)
        (void)pthread_cond_timedwait(&s->wanted, &s->lock, &until);
    bool wish = s->serving = s->wish;
    pthread_mutex_unlock(&s->lock);
    return wish || clock_monotonic_us() >= s->next_us;
}

void jwks_source_turn(struct jwks_source *s)
{
    struct http_done done;

    if (s->fetching) {
        if (http_out_next(s->http, TURN_US, &done))
            end_fetch(s, &done);
    } else if (wait_until_due(s)) {
        if (s->http)
            begin_fetch(s);
        else
            look_at_file(s);
    }
}

/* --- life --------------------------------------------------------------------------------------- */

static bool make_condition(struct jwks_source *s)
{
    pthread_condattr_t attr;

    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&s->wanted, &attr) == 0;
    pthread_condattr_destroy(&attr);
    return ok;
}

/* The address may be wrong in ways that no time mends. */
static bool prepare_http(struct jwks_source *s, const char *networks, const char **reason_out)
{
    s->is_plain = strncmp(s->place, "http://", 7) == 0;
    s->http = http_out_new(networks, s->is_plain);
    s->arena = arena_new(MIB);
    if (!http_networks_ok(networks)) {
        *reason_out = "DAYBOOK_JWT_JWKS_NETWORKS: networks such as 10.1.0.0/16";
        return false;
    }
    enum err e = s->http && s->arena ? http_out_check_url(s->http, s->place, reason_out)
                                     : ERR_RESOURCE_EXHAUSTED;
    if (e == ERR_RESOURCE_EXHAUSTED)
        *reason_out = NULL;
    return e == ERR_OK;
}

struct jwks_source *jwks_source_new(const char *place, const char *networks, int64_t refresh_us,
                                    const char **reason_out)
{
    struct jwks_source *s = calloc(1, sizeof(*s));

    *reason_out = NULL;
    metric_register(&looks_total);
    if (!s || !make_condition(s)) {
        free(s);
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    s->refresh_us = refresh_us;
    s->place = strdup(place);
    if (!s->place || (strstr(place, "://") && !prepare_http(s, networks, reason_out))) {
        jwks_source_free(s);
        return NULL;
    }
    if (!s->http)
        look_at_file(s);
    return s;
}

void jwks_source_free(struct jwks_source *s)
{
    if (!s)
        return;
    http_out_free(s->http);
    arena_free(s->arena);
    jwks_release(s->set);
    pthread_cond_destroy(&s->wanted);
    pthread_mutex_destroy(&s->lock);
    free(s->place);
    free(s);
}

const struct jwks *jwks_source_acquire(struct jwks_source *s)
{
    pthread_mutex_lock(&s->lock);
    const struct jwks *set = jwks_share(s->set);
    pthread_mutex_unlock(&s->lock);
    return set;
}

bool jwks_source_miss(struct jwks_source *s)
{
    int64_t now_us = clock_monotonic_us();

    pthread_mutex_lock(&s->lock);
    if (!s->wish && now_us >= s->miss_us) {
        s->wish = true;
        s->miss_us = now_us + MISS_EVERY_US;
        pthread_cond_signal(&s->wanted);
    }
    bool pending = s->wish;
    pthread_mutex_unlock(&s->lock);
    return pending;
}
