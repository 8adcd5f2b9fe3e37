/*
 * cache.c - Redis with a budget.
 *
 * hiredis opens the socket, writes the protocol and parses it; sending and waiting is done here,
 * since its own time-outs are for each system call and not for a call as a whole. An answer that
 * does not come in time leaves the connection in an unknown state, so it is closed.
 *
 * A stored value is: version (8 bytes, big-endian), check sum (16 bytes) over key, version and
 * data, then the data. So a value that was cut, changed, or copied from another key (another
 * tenant's) is seen as such, deleted, and counts as not found (F30). Versions are compared on the
 * server, in one script: a slow writer never puts an old list over a newer one (F31).
 */
#include "common/cache.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/num.h"
#include "common/reread.h"
#include "common/resolve.h"

#define BUDGET_US (50 * MSEC_US)
#define CIRCUIT_US SECOND_US
#define VERSION_LEN 8
#define SUM_LEN 16
#define HEADER_LEN (VERSION_LEN + SUM_LEN)
#define SHA_LEN 40
#define HOST_MAX 256
#define ARGS_MAX 8

/* KEYS[1]; ARGV: value, milliseconds to live. 1: stored or there already; 0: a newer one is there.
 * Byte by byte, since Lua compares texts by the server's locale. */
static const char script[] =
    "local new = ARGV[1] "
    "local old = redis.pcall('GET', KEYS[1]) "
    "if type(old) == 'table' then redis.call('DEL', KEYS[1]) old = false end "
    "if old and #old >= 8 then "
    "  for i = 1, 8 do "
    "    local o, n = string.byte(old, i), string.byte(new, i) "
    "    if o > n then return 0 end "
    "    if o < n then break end "
    "    if i == 8 then return 1 end "
    "  end "
    "end "
    "redis.call('SET', KEYS[1], new, 'PX', ARGV[2]) "
    "return 1";

static struct metric ops_total = {
    .name = "daybook_cache_ops_total",
    .type = METRIC_COUNTER,
    .help = "Cache operations by outcome: hit, miss, ok, stale, bad, failed, open.",
    .labels = { "op", "outcome" },
};

static struct metric circuit_gauge = {
    .name = "daybook_cache_circuit",
    .type = METRIC_GAUGE,
    .help = "Connections to the cache whose circuit is open.",
};

static atomic_int open_circuits;

struct cache {
    char host[HOST_MAX];      /* or path */
    int port;                 /* 0: host is the path of a socket */
    struct resolve *name;     /* of host; NULL for a path */
    uint64_t name_generation; /* the address that is connected to */
    char *password;           /* NULL: none */
    struct reread_file *file; /* of the password; NULL: it holds as it is */
    redisContext *redis;      /* NULL: not connected */
    char sha[SHA_LEN + 1];    /* of the script, as the server told it; "" = not yet */
    int64_t closed_until_us;  /* the circuit is open until then */
    bool open;                /* counted in open_circuits */
    int64_t deadline_us;      /* of the present call */
};

/* --- life --- */

/* "host:port", "[::1]:port" or "unix:path". */
static bool take_address(struct cache *c, const char *address)
{
    int64_t port = 0;
    size_t len;

    if (strncmp(address, "unix:", 5) == 0) {
        address += 5;
        len = strlen(address);
    } else {
        const char *colon = strrchr(address, ':');
        if (colon == NULL || !num_i64(colon + 1, 1, 65535, &port))
            return false;
        len = (size_t)(colon - address);
        if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
            address++;
            len -= 2;
        }
    }
    if (len == 0 || len >= sizeof c->host)
        return false;
    memcpy(c->host, address, len);
    c->host[len] = '\0';
    c->port = (int)port;
    c->name = port ? resolve_acquire_host(c->host) : NULL;
    return !port || c->name;
}

struct cache *cache_new(const char *address, const char *password)
{
    struct cache *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    if (password && password[0]) {
        c->password = strdup(password);
        c->file = reread_of(password);
    }
    if (!take_address(c, address) || (password && password[0] && c->password == NULL)) {
        cache_free(c);
        return NULL;
    }
    metric_register(&circuit_gauge);
    return c;
}

static void set_open(struct cache *c, bool open)
{
    if (c->open == open)
        return;
    c->open = open;
    int n = atomic_fetch_add(&open_circuits, open ? 1 : -1) + (open ? 1 : -1);
    metric_set(&circuit_gauge, n, NULL);
}

static void disconnect(struct cache *c)
{
    if (c->redis)
        redisFree(c->redis);
    c->redis = NULL;
}

void cache_free(struct cache *c)
{
    if (c == NULL)
        return;
    disconnect(c);
    resolve_release(c->name);
    set_open(c, false);
    if (c->password)
        sodium_memzero(c->password, strlen(c->password));
    free(c->password);
    free(c);
}

static enum err trip(struct cache *c, const char *why)
{
    if (!c->open)
        log_warn("cache.circuit_open", "the cache does not answer; doing without", "reason", why,
                 NULL);
    disconnect(c);
    set_open(c, true);
    c->closed_until_us = clock_monotonic_us() + CIRCUIT_US;
    return ERR_UNAVAILABLE;
}

/* --- bytes --- */

static bool wait_for(struct cache *c, short events)
{
    for (;;) {
        int64_t left_us = c->deadline_us - clock_monotonic_us();
        struct pollfd p = { .fd = c->redis->fd, .events = events };
        if (left_us <= 0)
            return false;
        int n = poll(&p, 1, (int)((left_us + MSEC_US - 1) / MSEC_US));
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
    }
}

static bool send_all(struct cache *c, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(c->redis->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        } else if (!wait_for(c, POLLOUT)) {
            return false;
        }
    }
    return true;
}

/* NULL: none in time, or not the protocol. */
static redisReply *receive(struct cache *c)
{
    char chunk[16 * 1024];
    void *reply = NULL;

    for (;;) {
        if (redisReaderGetReply(c->redis->reader, &reply) != REDIS_OK)
            return NULL;
        if (reply)
            return reply;
        if (!wait_for(c, POLLIN))
            return NULL;
        ssize_t n = recv(c->redis->fd, chunk, sizeof chunk, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return NULL;
        if (n > 0 && redisReaderFeed(c->redis->reader, chunk, (size_t)n) != REDIS_OK)
            return NULL;
    }
}

struct arg {
    const void *data;
    size_t len;
};

static struct arg text_arg(const char *s)
{
    return (struct arg){ s, strlen(s) };
}

static redisReply *command(struct cache *c, const struct arg *args, int n)
{
    const char *argv[ARGS_MAX];
    size_t lens[ARGS_MAX];
    char *bytes = NULL;

    for (int i = 0; i < n; i++) {
        argv[i] = args[i].data;
        lens[i] = args[i].len;
    }
    int len = (int)redisFormatCommandArgv(&bytes, n, argv, lens);
    if (len < 0)
        return NULL;
    bool sent = send_all(c, bytes, (size_t)len);
    free(bytes);
    return sent ? receive(c) : NULL;
}

static void free_reply(redisReply **reply)
{
    if (*reply)
        freeReplyObject(*reply);
    *reply = NULL;
}

/* --- connecting --- */

static bool connected_in_time(struct cache *c)
{
    int error = 0;
    socklen_t len = sizeof error;

    return c->redis && !c->redis->err && wait_for(c, POLLOUT) &&
           getsockopt(c->redis->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

static bool authenticate(struct cache *c)
{
    if (c->password == NULL)
        return true;
    CLEANUP(reread_freep) char *password = reread(c->file, c->password, NULL);
    if (!password)
        return false;
    const struct arg args[] = { text_arg("AUTH"), text_arg(password) };
    CLEANUP(free_reply) redisReply *reply = command(c, args, 2);
    return reply && reply->type == REDIS_REPLY_STATUS;
}

/* Nothing is due between calls: what can be read then is the end of the connection. */
static bool ended_meanwhile(const struct cache *c)
{
    struct pollfd p = { .fd = c->redis->fd, .events = POLLIN };
    return poll(&p, 1, 0) != 0;
}

static bool moved_meanwhile(const struct cache *c)
{
    return c->name && resolve_generation(c->name) != c->name_generation;
}

/* hiredis would look a name up by itself, for as long as that takes. */
static bool connect_to(struct cache *c)
{
    char address[RESOLVE_TEXT_MAX];

    if (!c->name)
        c->redis = redisConnectUnixNonBlock(c->host);
    else if (resolve_wait(c->name, c->deadline_us) &&
             resolve_get(c->name, address, &c->name_generation))
        c->redis = redisConnectNonBlock(address, c->port);
    return connected_in_time(c);
}

static enum err ensure_connected(struct cache *c)
{
    if (c->redis && (ended_meanwhile(c) || moved_meanwhile(c)))
        disconnect(c);
    if (c->redis)
        return ERR_OK;
    if (!connect_to(c))
        return trip(c, "cannot connect");
    if (!authenticate(c))
        return trip(c, "cannot authenticate");
    return ERR_OK;
}

/* --- calls --- */

static void count(const char *op, const char *outcome)
{
    metric_add(&ops_total, 1, (const char *const[]){ op, outcome });
}

static enum err begin(struct cache *c, const char *op)
{
    int64_t now_us = clock_monotonic_us();

    if (c->open && now_us < c->closed_until_us) {
        count(op, "open");
        return ERR_UNAVAILABLE;
    }
    c->deadline_us = now_us + BUDGET_US;
    enum err e = ensure_connected(c);
    if (e)
        count(op, "failed");
    return e;
}

static bool is_error(const redisReply *reply, const char *prefix)
{
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, prefix, strlen(prefix)) == 0;
}

/* What Redis says instead of an answer. A full memory or a wrong type concerns this key; all else
 * the whole server: loading, a replica, no password. */
static enum err refused(struct cache *c, const redisReply *reply)
{
    char word[32];

    if (is_error(reply, "OOM") || is_error(reply, "WRONGTYPE") || is_error(reply, "NOSCRIPT"))
        return ERR_UNAVAILABLE;
    snprintf(word, sizeof word, "%.*s", (int)strcspn(reply->str, " "), reply->str);
    return trip(c, word);
}

/* A reply, or an error that is not of the kinds the caller expects. */
static enum err run(struct cache *c, const struct arg *args, int n, redisReply **reply_out)
{
    redisReply *reply = command(c, args, n);

    if (reply == NULL)
        return trip(c, "no answer in time");
    *reply_out = reply;
    if (c->open)
        log_info("cache.circuit_closed", "the cache answers again", NULL);
    set_open(c, false);
    return reply->type == REDIS_REPLY_ERROR ? refused(c, reply) : ERR_OK;
}

static enum err delete_key(struct cache *c, const char *key)
{
    const struct arg args[] = { text_arg("DEL"), text_arg(key) };
    CLEANUP(free_reply) redisReply *reply = NULL;
    return run(c, args, 2, &reply);
}

enum err cache_delete(struct cache *c, const char *key)
{
    enum err e = begin(c, "delete");
    if (e)
        return e;
    e = delete_key(c, key);
    count("delete", e ? "failed" : "ok");
    return e;
}

/* --- values --- */

static void put_version(uint8_t out[VERSION_LEN], int64_t version)
{
    for (int i = 0; i < VERSION_LEN; i++)
        out[i] = (uint8_t)((uint64_t)version >> (56 - 8 * i));
}

static int64_t get_version(const uint8_t *p)
{
    uint64_t n = 0;
    for (int i = 0; i < VERSION_LEN; i++)
        n = n << 8 | p[i];
    return (int64_t)n;
}

static void check_sum(const char *key, const uint8_t version[VERSION_LEN], const void *data,
                      size_t len, uint8_t out[SUM_LEN])
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, SUM_LEN);
    crypto_generichash_update(&state, (const uint8_t *)key, strlen(key) + 1);
    crypto_generichash_update(&state, version, VERSION_LEN);
    crypto_generichash_update(&state, data, len);
    crypto_generichash_final(&state, out, SUM_LEN);
}

static bool is_sound(const char *key, const redisReply *reply)
{
    uint8_t sum[SUM_LEN];
    const uint8_t *value = (const uint8_t *)reply->str;

    if (reply->type != REDIS_REPLY_STRING || reply->len < HEADER_LEN)
        return false;
    check_sum(key, value, value + HEADER_LEN, reply->len - HEADER_LEN, sum);
    return memcmp(sum, value + VERSION_LEN, SUM_LEN) == 0;
}

static enum err copy_value(const redisReply *reply, struct arena *a, int64_t *version_out,
                           uint8_t **data_out, size_t *len_out)
{
    const uint8_t *value = (const uint8_t *)reply->str;
    size_t len = reply->len - HEADER_LEN;
    uint8_t *copy = arena_memdup(a, value + HEADER_LEN, len);

    if (copy == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    *version_out = get_version(value);
    *data_out = copy;
    *len_out = len;
    return ERR_OK;
}

enum err cache_get_versioned(struct cache *c, const char *key, struct arena *a,
                             int64_t *version_out, uint8_t **data_out, size_t *len_out)
{
    const struct arg args[] = { text_arg("GET"), text_arg(key) };
    CLEANUP(free_reply) redisReply *reply = NULL;

    enum err e = begin(c, "get");
    if (e)
        return e;
    e = run(c, args, 2, &reply);
    bool wrong_type = e && reply && is_error(reply, "WRONGTYPE");
    if (e && !wrong_type) {
        count("get", "failed");
        return e;
    }
    if (reply->type == REDIS_REPLY_NIL) {
        count("get", "miss");
        return ERR_NOT_FOUND;
    }
    if (wrong_type || !is_sound(key, reply)) {
        count("get", "bad");
        log_warn("cache.bad_value", "a value that we did not write was deleted", NULL);
        e = delete_key(c, key);
        return e ? e : ERR_NOT_FOUND;
    }
    count("get", "hit");
    return copy_value(reply, a, version_out, data_out, len_out);
}

enum err cache_get(struct cache *c, const char *key, struct arena *a, uint8_t **data_out,
                   size_t *len_out)
{
    int64_t version;
    return cache_get_versioned(c, key, a, &version, data_out, len_out);
}

/* Learns the script's name, once a process and server; a flushed server is told again by EVAL. */
static enum err load_script(struct cache *c)
{
    const struct arg args[] = { text_arg("SCRIPT"), text_arg("LOAD"), text_arg(script) };
    CLEANUP(free_reply) redisReply *reply = NULL;

    if (c->sha[0])
        return ERR_OK;
    enum err e = run(c, args, 3, &reply);
    if (e)
        return e;
    if (reply->type != REDIS_REPLY_STRING || reply->len != SHA_LEN)
        return trip(c, "odd answer to SCRIPT LOAD");
    memcpy(c->sha, reply->str, SHA_LEN);
    return ERR_OK;
}

static enum err run_script(struct cache *c, const char *key, const uint8_t *value, size_t len,
                           const char *ttl_ms, redisReply **reply_out)
{
    struct arg args[] = { text_arg("EVALSHA"), text_arg(c->sha), text_arg("1"),
                          text_arg(key),       { value, len },   text_arg(ttl_ms) };

    enum err e = run(c, args, ARRAY_LEN(args), reply_out);
    if (e == ERR_OK || *reply_out == NULL || !is_error(*reply_out, "NOSCRIPT"))
        return e;
    free_reply(reply_out);
    args[0] = text_arg("EVAL");
    args[1] = text_arg(script);
    return run(c, args, ARRAY_LEN(args), reply_out);
}

static enum err store(struct cache *c, const char *key, const uint8_t *value, size_t len,
                      const char *ttl_ms)
{
    CLEANUP(free_reply) redisReply *reply = NULL;

    enum err e = load_script(c);
    if (e == ERR_OK)
        e = run_script(c, key, value, len, ttl_ms, &reply);
    if (e)
        return e;
    if (reply->type != REDIS_REPLY_INTEGER)
        return trip(c, "odd answer to the script");
    return reply->integer ? ERR_OK : ERR_ABORTED;
}

enum err cache_set_versioned(struct cache *c, const char *key, int64_t version, const void *data,
                             size_t len, int64_t ttl_ms)
{
    char ttl[24];

    assert(version >= 0 && ttl_ms > 0);
    enum err e = begin(c, "set");
    if (e)
        return e;
    uint8_t *value = malloc(HEADER_LEN + len);
    if (value == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    put_version(value, version);
    check_sum(key, value, data, len, value + VERSION_LEN);
    if (len)
        memcpy(value + HEADER_LEN, data, len);
    snprintf(ttl, sizeof ttl, "%" PRId64, ttl_ms);
    e = store(c, key, value, HEADER_LEN + len, ttl);
    free(value);
    count("set", e == ERR_OK ? "ok" : e == ERR_ABORTED ? "stale" : "failed");
    return e;
}
