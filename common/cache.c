/*
 * cache.c - hiredis with a budget.
 *
 * What Redis does not do in 50 ms is not done: the connection is dropped, since its answer may
 * still come and would be taken for that of the next command, and for a second nobody asks again
 * (F27, F28). A key that holds something else than a value of ours counts as not found and is
 * deleted (F30).
 */
#include "common/cache.h"

#include <hiredis/hiredis.h>

#include "common/base.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/num.h"

#define BUDGET_US (50 * MSEC_US)
#define OPEN_US SECOND_US
#define VERSION_SIZE 8
#define PORT_DEFAULT 6379

struct cache {
    char *address;
    char *password;
    redisContext *redis;
    int64_t open_until_us; /* the circuit; monotonic */
    bool down;             /* told */
};

static struct metric ops_total = {
    .name = "daybook_cache_ops_total",
    .type = METRIC_COUNTER,
    .help = "Commands to Redis.",
    .labels = { "op", "outcome" },
};
static struct metric circuit = {
    .name = "daybook_cache_circuit",
    .type = METRIC_GAUGE,
    .help = "1 while Redis is not asked because it failed a moment ago.",
};

/*
 * Versions are compared byte by byte: Lua's numbers are doubles, and its comparison of texts goes
 * by the server's locale. 1: stored; 0: a newer one is there; 2: the same one is there.
 */
static const char set_script[] = "local old = redis.pcall('GET', KEYS[1])\n"
                                 "if type(old) == 'string' and #old >= 8 then\n"
                                 "  local order = 0\n"
                                 "  for i = 1, 8 do\n"
                                 "    local a, b = string.byte(old, i), string.byte(ARGV[1], i)\n"
                                 "    if a ~= b then order = a < b and -1 or 1 break end\n"
                                 "  end\n"
                                 "  if order > 0 then return 0 end\n"
                                 "  if order == 0 then return 2 end\n"
                                 "elseif old then\n"
                                 "  redis.call('DEL', KEYS[1])\n"
                                 "end\n"
                                 "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n"
                                 "return 1\n";

static void count(const char *op, const char *outcome)
{
    metric_add(&ops_total, 1, (const char *const[]){ op, outcome });
}

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

struct cache *cache_new(const char *address, const char *password)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->address = copy(address);
    c->password = copy(password);
    if (c->address && (c->password || !password))
        return c;
    cache_free(c);
    return NULL;
}

void cache_free(struct cache *c)
{
    if (!c)
        return;
    if (c->redis)
        redisFree(c->redis);
    free(c->address);
    if (c->password)
        explicit_bzero(c->password, strlen(c->password));
    free(c->password);
    free(c);
}

void cache_freep(struct cache **c)
{
    cache_free(*c);
    *c = NULL;
}

/* --- the connection and its circuit
 * ---------------------------------------------------------------- */

static void open_circuit(struct cache *c, const char *why)
{
    if (!c->down)
        log_warn("cache.down", "Redis is not asked for a while", "reason", why, NULL);
    c->down = true;
    c->open_until_us = clock_monotonic_us() + OPEN_US;
    metric_set(&circuit, 1, NULL);
    if (c->redis)
        redisFree(c->redis);
    c->redis = NULL;
}

static redisContext *dial(const char *address)
{
    const struct timeval budget = { .tv_usec = BUDGET_US };
    const char *colon = strrchr(address, ':');
    char host[256];
    int64_t port = PORT_DEFAULT;
    if (strncmp(address, "unix:", 5) == 0)
        return redisConnectUnixWithTimeout(address + 5, budget);
    size_t len = colon ? (size_t)(colon - address) : strlen(address);
    if (len >= sizeof host || (colon && !num_i64(colon + 1, 1, 65535, &port)))
        return NULL;
    memcpy(host, address, len);
    host[len] = '\0';
    return redisConnectWithTimeout(len ? host : "127.0.0.1", (int)port, budget);
}

static bool authenticate(struct cache *c)
{
    if (!c->password)
        return true;
    redisReply *r = redisCommand(c->redis, "AUTH %s", c->password);
    bool ok = r && r->type == REDIS_REPLY_STATUS;
    if (r)
        freeReplyObject(r);
    return ok;
}

static bool connected(struct cache *c)
{
    const struct timeval budget = { .tv_usec = BUDGET_US };
    if (c->redis)
        return true;
    if (clock_monotonic_us() < c->open_until_us)
        return false;
    c->redis = dial(c->address);
    if (!c->redis || c->redis->err) {
        open_circuit(c, c->redis ? c->redis->errstr : "malformed address");
        return false;
    }
    if (redisSetTimeout(c->redis, budget) != REDIS_OK || !authenticate(c)) {
        open_circuit(c, c->redis->err ? c->redis->errstr : "not authenticated");
        return false;
    }
    if (c->down)
        log_info("cache.up", "Redis is back", NULL);
    c->down = false;
    metric_set(&circuit, 0, NULL);
    return true;
}

static bool starts_with(const redisReply *r, const char *word)
{
    return r->type == REDIS_REPLY_ERROR && strncmp(r->str, word, strlen(word)) == 0;
}

/* NULL: counts as away. Errors that mean 'ask another server' close the connection too. */
static redisReply *command(struct cache *c, const char *op, int argc, const char **argv,
                           const size_t *lens)
{
    static const char *const away[] = { "READONLY", "LOADING", "MASTERDOWN", "NOAUTH",
                                        "CLUSTERDOWN" };
    if (!connected(c)) {
        count(op, "away");
        return NULL;
    }
    redisReply *r = redisCommandArgv(c->redis, argc, argv, lens);
    bool lost = r == NULL;
    for (size_t i = 0; r && i < ARRAY_LEN(away); i++)
        lost |= starts_with(r, away[i]);
    if (!lost)
        return r;
    open_circuit(c, r ? r->str : c->redis->errstr);
    if (r)
        freeReplyObject(r);
    count(op, "failed");
    return NULL;
}

/* --- commands
 * -------------------------------------------------------------------------------------- */

static enum err do_delete(struct cache *c, const char *op, const char *key)
{
    const char *argv[] = { "DEL", key };
    const size_t lens[] = { 3, strlen(key) };
    redisReply *r = command(c, op, 2, argv, lens);
    if (!r)
        return ERR_UNAVAILABLE;
    enum err e = r->type == REDIS_REPLY_INTEGER ? ERR_OK : ERR_UNAVAILABLE;
    freeReplyObject(r);
    count(op, e ? "failed" : "ok");
    return e;
}

enum err cache_delete(struct cache *c, const char *key)
{
    return do_delete(c, "delete", key);
}

/* What is under the key is not ours: away with it. */
static enum err discard(struct cache *c, const char *key)
{
    count("get", "bad");
    enum err e = do_delete(c, "discard", key);
    return e ? e : ERR_NOT_FOUND;
}

static enum err keep(const redisReply *r, size_t skip, struct arena *a, uint8_t **data_out,
                     size_t *len_out)
{
    uint8_t *data = arena_memdup(a, r->str + skip, r->len - skip);
    if (!data)
        return ERR_RESOURCE_EXHAUSTED;
    *data_out = data;
    *len_out = r->len - skip;
    return ERR_OK;
}

/* The reply is the caller's on ERR_OK, and a string of at least `min` bytes. */
static enum err fetch(struct cache *c, const char *key, size_t min, redisReply **reply_out)
{
    const char *argv[] = { "GET", key };
    const size_t lens[] = { 3, strlen(key) };
    redisReply *r = command(c, "get", 2, argv, lens);
    if (!r)
        return ERR_UNAVAILABLE;
    if (r->type == REDIS_REPLY_STRING && r->len >= min) {
        count("get", "hit");
        *reply_out = r;
        return ERR_OK;
    }
    bool bad = r->type == REDIS_REPLY_STRING || starts_with(r, "WRONGTYPE");
    enum err e = r->type == REDIS_REPLY_NIL ? ERR_NOT_FOUND : ERR_UNAVAILABLE;
    freeReplyObject(r);
    if (bad)
        return discard(c, key);
    count("get", e == ERR_NOT_FOUND ? "miss" : "failed");
    return e;
}

enum err cache_get(struct cache *c, const char *key, struct arena *a, uint8_t **data_out,
                   size_t *len_out)
{
    redisReply *r;
    enum err e = fetch(c, key, 0, &r);
    if (e)
        return e;
    e = keep(r, 0, a, data_out, len_out);
    freeReplyObject(r);
    return e;
}

enum err cache_get_versioned(struct cache *c, const char *key, struct arena *a,
                             int64_t *version_out, uint8_t **data_out, size_t *len_out)
{
    redisReply *r;
    uint64_t version = 0;
    enum err e = fetch(c, key, VERSION_SIZE, &r);
    if (e)
        return e;
    for (size_t i = 0; i < VERSION_SIZE; i++)
        version = version << 8 | (uint8_t)r->str[i];
    e = keep(r, VERSION_SIZE, a, data_out, len_out);
    if (e == ERR_OK)
        *version_out = (int64_t)version;
    freeReplyObject(r);
    return e;
}

enum err cache_set_versioned(struct cache *c, const char *key, int64_t version, const void *data,
                             size_t len, int64_t ttl_ms)
{
    char ttl[24];
    int ttl_len = snprintf(ttl, sizeof ttl, "%" PRId64, ttl_ms);
    char *value = malloc(VERSION_SIZE + len);
    if (!value)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < VERSION_SIZE; i++)
        value[i] = (char)((uint64_t)version >> (56 - 8 * i));
    if (len)
        memcpy(value + VERSION_SIZE, data, len);

    const char *argv[] = { "EVAL", set_script, "1", key, value, ttl };
    const size_t lens[] = { 4,           sizeof set_script - 1, 1,
                            strlen(key), VERSION_SIZE + len,    (size_t)ttl_len };
    redisReply *r = command(c, "set", ARRAY_LEN(argv), argv, lens);
    free(value);
    if (!r)
        return ERR_UNAVAILABLE;
    enum err e = ERR_UNAVAILABLE; /* out of memory, not allowed to: an ordinary failure (F29) */
    if (r->type == REDIS_REPLY_INTEGER)
        e = r->integer == 0 ? ERR_ABORTED : ERR_OK;
    count("set", e == ERR_OK ? "ok" : e == ERR_ABORTED ? "older" : "failed");
    freeReplyObject(r);
    return e;
}
