/*
 * identity.c - see identity.h.
 */
#include "services/gateway/identity/identity.h"

#include <sodium.h>
#include <stdatomic.h>
#include <strings.h>
#include <sys/socket.h>

#include "common/authority.h"
#include "common/clock.h"
#include "common/directory.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/sbuf.h"
#include "common/secret.h"
#include "services/gateway/identity/forwarded.h"
#include "services/gateway/identity/token_cache.h"

#define SCHEME "Bearer "
#define KEY_PREFIX "dbk_"
#define FORWARDED_MAX (64 * KIB) /* more than a header has */

struct identity {
    struct identity_config config;
    struct http_networks *proxies;
    struct token_cache *cache;
};

/* One proof under way. */
struct proving {
    struct identity *i;
    const struct asker *who;
    const struct directory *dir;
    struct arena *arena;
    struct proof *proof;
    const char *text; /* why not */
    int64_t wait_us;
    const struct limit *reached;    /* NULL: none */
    bool guessed;                   /* it counts against the address */
    char new_hash[TOKEN_HASH_TEXT]; /* of the key; "": it has it */
};

static struct metric proofs_total = {
    .name = "daybook_gateway_authentications_total",
    .type = METRIC_COUNTER,
    .help = "Proofs of identity, of calls and, each second, of streams, by what was sent (api_key, "
            "token, calendar, none) and what came of it.",
    .labels = { "kind", "code" },
};

struct identity *identity_new(const struct identity_config *config)
{
    struct identity *i = calloc(1, sizeof(*i));

    if (!i)
        return NULL;
    i->config = *config;
    i->proxies = http_networks_new(config->trusted_proxies);
    i->cache = token_cache_new();
    if (i->proxies && i->cache)
        return i;
    identity_free(i);
    return NULL;
}

void identity_free(struct identity *i)
{
    if (!i)
        return;
    token_cache_free(i->cache);
    http_networks_free(i->proxies);
    free(i);
}

void identity_register_metrics(void)
{
    metric_register(&proofs_total);
}

/* --- where from --------------------------------------------------------------------------------- */

static bool add_forwarded(void *arg, const char *name, const char *value)
{
    struct sbuf *list = arg;

    if (strcasecmp(name, "X-Forwarded-For") != 0)
        return true;
    if (list->len)
        sbuf_add_char(list, ',');
    sbuf_add_text(list, value);
    return true;
}

/* Behind a proxy that is not known as ours, all clients have one address, and one may lock out all. */
static void warn_of_proxy(struct http_exchange *x)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;

    if (http_header(x, "X-Forwarded-For") && !atomic_flag_test_and_set(&told))
        log_warn("gateway.forwarded",
                 "X-Forwarded-For of somebody who is not in HTTP_TRUSTED_PROXIES is not believed",
                 NULL);
}

struct asker identity_asker(const struct identity *i, struct http_exchange *x)
{
    struct asker who = { .authorization = http_header(x, "Authorization") };
    struct http_ip peer = forwarded_client(i->proxies, http_peer(x), NULL);
    CLEANUP(sbuf_fini) struct sbuf list = { 0 };

    who.from = peer;
    if (!http_networks_hold(i->proxies, &peer)) {
        warn_of_proxy(x);
        return who;
    }
    sbuf_init(&list, FORWARDED_MAX);
    http_each_header(x, add_forwarded, &list);
    who.from = (struct http_ip){ 0 };
    if (!list.bad)
        who.from = forwarded_client(i->proxies, http_peer(x), list.len ? list.data : NULL);
    return who;
}

/* By whom failures are counted: a site has a whole /64 of IPv6 to itself. */
static struct id address_of(const struct http_ip *ip)
{
    char text[40];

    sodium_bin2hex(text, sizeof(text), ip->bytes, ip->family == AF_INET6 ? 8 : 4);
    return id_derived("address", text, NULL);
}

/* --- the principal ------------------------------------------------------------------------------ */

static size_t copy_texts(struct arena *a, const char *const *list, size_t max, char ***out)
{
    size_t n = 0;

    while (list && n < max && list[n])
        n++;
    *out = arena_array(a, n + 1, sizeof(**out));
    for (size_t i = 0; *out && i < n; i++)
        (*out)[i] = arena_strdup(a, list[i]);
    return n;
}

static bool has_gaps(char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!list || !list[i])
            return true;
    return false;
}

/* e: NULL, a service account. scopes: ended by NULL. */
static enum err make_principal(struct proving *p, struct id tenant, struct id actor,
                               const struct dir_employee *e, const char *const *scopes)
{
    PbPrincipal *out = wire_new(&daybook__common__v1__principal__descriptor, p->arena);
    char text[ID_TEXT_MAX];

    p->text = "out of memory; try again";
    if (!out)
        return ERR_RESOURCE_EXHAUSTED;
    out->kind = e ? DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE
                  : DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE;
    out->tenant_id = arena_strdup(p->arena, id_text(tenant, text));
    out->actor_id = arena_strdup(p->arena, id_text(actor, text));
    out->n_scopes = copy_texts(p->arena, scopes, SIZE_MAX, &out->scopes);
    if (e)
        out->n_roles = copy_texts(p->arena, e->roles, DIR_ROLES_MAX, &out->roles);
    if (!out->tenant_id || !out->actor_id || has_gaps(out->scopes, out->n_scopes) ||
        has_gaps(out->roles, out->n_roles))
        return ERR_RESOURCE_EXHAUSTED;
    p->proof->principal = out;
    return ERR_OK;
}

static enum err refuse(struct proving *p, enum err code, const char *text)
{
    p->text = text;
    return code;
}

/* --- API keys ----------------------------------------------------------------------------------- */

typedef const struct dir_key *find_fn(const struct directory *d, struct id credential);

/* Cuts "<id>_<secret>" up. */
static bool cut(const char *token, struct id *id_out, const char **secret_out)
{
    char text[ID_TEXT_MAX];
    size_t len = sizeof(text) - 1;

    if (strnlen(token, len + 2) < len + 2 || token[len] != '_')
        return false;
    memcpy(text, token, len);
    text[len] = '\0';
    *secret_out = token + len + 1;
    return id_parse(text, id_out);
}

/* The hash is made even where there is no such key, so that time does not tell which there are. new_hash_out: "",
 * or what the hash is under the master key that is to stay. */
static const struct dir_key *find_key(const struct directory *dir, const char *token, find_fn *find,
                                      char new_hash_out[static TOKEN_HASH_TEXT])
{
    static const char nobody[TOKEN_HASH_TEXT] = "";
    char hash[TOKEN_HASH_TEXT], other[TOKEN_HASH_TEXT];
    const char *secret;
    struct id id;

    *new_hash_out = '\0';
    if (!cut(token, &id, &secret) || !secret_hash_token(secret, hash))
        return NULL;
    bool has_other = secret_other_hash_token(secret, other);
    const struct dir_key *key = find(dir, id);
    const char *want =
        key && strlen(key->secret_hash) == TOKEN_HASH_TEXT - 1 ? key->secret_hash : nobody;
    bool is = sodium_memcmp(hash, want, TOKEN_HASH_TEXT) == 0;
    bool is_other = has_other && sodium_memcmp(other, want, TOKEN_HASH_TEXT) == 0;
    if (is_other && !is && *secret_old_key_id())
        memcpy(new_hash_out, hash, TOKEN_HASH_TEXT);
    return is || is_other ? key : NULL;
}

static bool has_expired(const struct dir_key *key)
{
    return key->expires_at_us && key->expires_at_us <= clock_wall_us();
}

static void note_use(struct proving *p, const struct dir_key *key)
{
    p->proof->holder = p->proof->credential = key->credential;
    if (p->i->config.uses)
        key_use_note(p->i->config.uses, key->tenant, key->credential, clock_now_us(), p->new_hash);
}

/* Somebody has the secret, and uses it where or when he may not: that is for the audit trail (F61). */
static void note_refused(const struct proving *p, const struct dir_key *key, const char *reason)
{
    char address[INET6_ADDRSTRLEN];

    if (p->i->config.uses)
        key_use_refused(p->i->config.uses, key->tenant, key->credential, clock_now_us(), reason,
                        http_ip_text(&p->who->from, address));
}

static enum err prove_key(struct proving *p, const char *token)
{
    bool is_key = strncmp(token, KEY_PREFIX, strlen(KEY_PREFIX)) == 0;
    const struct dir_key *key =
        is_key ? find_key(p->dir, token + strlen(KEY_PREFIX), directory_api_key, p->new_hash)
               : NULL;
    const struct dir_employee *e = NULL;

    p->guessed = !key;
    if (!key)
        return refuse(p, ERR_UNAUTHENTICATED, "this API key is not known, or was ended");
    if (has_expired(key)) {
        note_refused(p, key, "KEY_EXPIRED");
        return refuse(p, ERR_UNAUTHENTICATED, "this API key has expired");
    }
    if (key->networks && *key->networks &&
        !http_networks_text_holds(key->networks, &p->who->from)) {
        note_refused(p, key, "KEY_OUTSIDE_NETWORKS");
        return refuse(p, ERR_PERMISSION_DENIED,
                      "this API key may not be used from your address (allowed_networks)");
    }
    if (key->is_employee) {
        e = directory_employee(p->dir, key->tenant, key->actor);
        if (!e || !e->active)
            return refuse(p, ERR_UNAUTHENTICATED, "the employee of this API key has left");
    }
    note_use(p, key);
    return make_principal(p, key->tenant, key->actor, e, key->scopes);
}

/* An address that was once right, and is asked for again and again, is no guess; but nobody can tell. */
static enum err prove_feed(struct proving *p, const char *token)
{
    static const char none[] = "there is no such calendar";

    if (!p->dir) {
        p->wait_us = SECOND_US;
        return refuse(p, ERR_UNAVAILABLE, "the directory is not loaded yet; try again");
    }
    const struct dir_key *key = find_key(p->dir, token, directory_calendar_feed, p->new_hash);
    p->guessed = !key;
    if (!key || has_expired(key))
        return refuse(p, ERR_NOT_FOUND, none);
    const struct dir_employee *e = directory_employee(p->dir, key->tenant, key->actor);
    if (!e || !e->active)
        return refuse(p, ERR_NOT_FOUND, none);
    note_use(p, key);
    p->proof->name = arena_strdup(p->arena, e->name);
    if (!p->proof->name)
        return refuse(p, ERR_RESOURCE_EXHAUSTED, "out of memory; try again");
    return make_principal(p, key->tenant, key->actor, e, key->scopes);
}

/* --- tokens ------------------------------------------------------------------------------------- */

static enum err read_token(struct proving *p, const char *token, struct jwt_claims *out)
{
    struct jwks_source *source = p->i->config.keys;
    CLEANUP(jwks_releasep) const struct jwks *keys = jwks_source_acquire(source);

    p->wait_us = SECOND_US;
    if (!keys)
        return refuse(p, ERR_UNAVAILABLE, "the keys of tokens are not there yet; try again");
    p->wait_us = 0;
    switch (token_cache_prove(p->i->cache, token, keys, &p->i->config.rules, clock_wall_us(),
                              p->arena, out, &p->text)) {
    case JWT_GOOD:
        return ERR_OK;
    case JWT_REFUSED:
        return ERR_UNAUTHENTICATED;
    case JWT_UNKNOWN_KEY: /* may be a new one that is not known yet: it does not count */
        if (!jwks_source_miss(source))
            return ERR_UNAUTHENTICATED;
        p->wait_us = SECOND_US;
        return refuse(p, ERR_UNAVAILABLE, "the token's key is being looked for; try again");
    case JWT_FORGED:
        break;
    }
    p->guessed = true;
    return ERR_UNAUTHENTICATED;
}

/* The company that the token says, which may be said for it. */
static bool find_tenant(const struct proving *p, const char *claim, struct id *out)
{
    struct id fixed = p->i->config.tenant, said;

    if (*claim && !id_parse(claim, &said))
        return false;
    if (!*claim && id_is_nil(fixed))
        return false;
    *out = *claim ? said : fixed;
    return (id_is_nil(fixed) || id_equal(*out, fixed)) && directory_tenant(p->dir, *out);
}

/* Scopes of ours; those of others who use the same issuer say nothing here. */
static size_t pick_scopes(const struct jwt_claims *claims, const char *out[JWT_SCOPES_MAX + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < claims->nscopes; i++)
        if (authority_scope_ok(claims->scopes[i]))
            out[n++] = claims->scopes[i];
    out[n] = NULL;
    return n;
}

static enum err prove_token(struct proving *p, const char *token)
{
    const char *scopes[JWT_SCOPES_MAX + 1];
    struct jwt_claims claims;
    struct id tenant, id;
    char company[ID_TEXT_MAX], person[ID_TEXT_MAX];

    if (!p->i->config.keys) {
        p->guessed = true;
        return refuse(p, ERR_UNAUTHENTICATED, "tokens are not taken here; send an API key");
    }
    enum err e = read_token(p, token, &claims);
    if (e)
        return e;
    if (!find_tenant(p, claims.tenant, &tenant))
        return refuse(p, ERR_UNAUTHENTICATED, "the token names no company of this installation");
    const struct dir_employee *who = id_parse(claims.subject, &id)
                                         ? directory_employee(p->dir, tenant, id)
                                         : directory_employee_no(p->dir, tenant, claims.subject);
    if (!who)
        return refuse(p, ERR_UNAUTHENTICATED, "the token's subject is no employee of the company");
    if (!who->active)
        return refuse(p, ERR_UNAUTHENTICATED, "the token's employee has left");
    if (pick_scopes(&claims, scopes) == 0 && claims.scoped)
        return refuse(p, ERR_PERMISSION_DENIED,
                      "the token's scope names nothing of Daybook; ask for scopes such as "
                      "customers.read");
    p->proof->holder =
        id_derived("token", id_text(tenant, company), id_text(who->id, person), NULL);
    return make_principal(p, tenant, who->id, who, scopes);
}

/* --- all of it ---------------------------------------------------------------------------------- */

static enum err prove(struct proving *p, const char **kind_out)
{
    const char *authorization = p->who->authorization;

    *kind_out = "none";
    if (!authorization || strncasecmp(authorization, SCHEME, strlen(SCHEME)) != 0)
        return refuse(p, ERR_UNAUTHENTICATED,
                      p->i->config.keys ? "send an API key or a token: Authorization: Bearer ..."
                                        : "send an API key: Authorization: Bearer dbk_...");
    if (!p->dir) {
        p->wait_us = SECOND_US;
        return refuse(p, ERR_UNAVAILABLE, "the directory is not loaded yet; try again");
    }
    const char *token = authorization + strlen(SCHEME);
    token += strspn(token, " ");
    bool is_token = strncmp(token, KEY_PREFIX, strlen(KEY_PREFIX)) != 0 && strchr(token, '.');
    *kind_out = is_token ? "token" : "api_key";
    return is_token ? prove_token(p, token) : prove_key(p, token);
}

static bool shows_something(const struct asker *who)
{
    return who->authorization && *who->authorization;
}

/* Where from, for the audit trail (SEC-10). */
static enum err note_address(struct proving *p)
{
    char text[INET6_ADDRSTRLEN];

    p->proof->from = arena_strdup(p->arena, http_ip_text(&p->who->from, text));
    return p->proof->from ? ERR_OK : refuse(p, ERR_RESOURCE_EXHAUSTED, "out of memory; try again");
}

static enum err count_request(struct proving *p)
{
    struct limit *requests = p->i->config.requests;

    p->wait_us = requests ? limit_take(requests, p->proof->holder, clock_monotonic_us()) : 0;
    if (!p->wait_us)
        return ERR_OK;
    p->reached = requests;
    return refuse(
        p, ERR_RESOURCE_EXHAUSTED,
        "more requests than this key, token or calendar may send; wait for the seconds of "
        "Retry-After");
}

/*
 * Whoever proves himself is let in, whatever his neighbours at the same address try: it is guessing
 * that has a limit. Then requests of one have theirs. token: of a feed; NULL: what the header has.
 */
static enum err prove_within_limits(struct proving *p, const char *token, bool counts,
                                    struct refusal *refusal_out)
{
    struct limit *failures = p->i->config.failures;
    struct id address = address_of(&p->who->from);
    const char *kind = token ? "calendar" : "none";
    enum err e = ERR_OK;

    e = token ? prove_feed(p, token) : prove(p, &kind);
    if (e && p->guessed && failures && (token || shows_something(p->who))) {
        p->wait_us = limit_take(failures, address, clock_monotonic_us());
        if (p->wait_us) {
            p->reached = failures;
            e = refuse(
                p, ERR_RESOURCE_EXHAUSTED,
                "too many failed tries from your address; wait for the seconds of Retry-After");
        }
    }
    if (!e && counts)
        e = count_request(p);
    if (!e)
        e = note_address(p);
    const char *const labels[] = { kind, e ? err_name(e) : "ok" };
    metric_add(&proofs_total, 1, labels);
    *refusal_out = (struct refusal){ .text = p->text,
                                     .reason = p->reached ? "RATE_LIMITED" : NULL,
                                     .wait_us = p->wait_us,
                                     .limit = p->reached };
    return e;
}

enum err identity_prove(struct identity *i, const struct asker *who, struct arena *a,
                        struct proof *proof_out, struct refusal *refusal_out)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    struct proving p = { .i = i, .who = who, .dir = dir, .arena = a, .proof = proof_out };

    return prove_within_limits(&p, NULL, false, refusal_out);
}

enum err identity_admit(struct identity *i, const struct asker *who, struct arena *a,
                        struct proof *proof_out, struct refusal *refusal_out)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    struct proving p = { .i = i, .who = who, .dir = dir, .arena = a, .proof = proof_out };

    return prove_within_limits(&p, NULL, true, refusal_out);
}

enum err identity_admit_feed(struct identity *i, const struct asker *who, const char *token,
                             struct arena *a, struct proof *proof_out, struct refusal *refusal_out)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    struct proving p = { .i = i, .who = who, .dir = dir, .arena = a, .proof = proof_out };

    return prove_within_limits(&p, token, true, refusal_out);
}

void refusal_tell(const struct refusal *r, struct http_exchange *x)
{
    char policy[LIMIT_TEXT_MAX], state[LIMIT_TEXT_MAX];

    if (!r->limit)
        return;
    limit_tell(r->limit, r->wait_us, policy, state);
    http_add_header(x, "RateLimit-Policy", policy);
    http_add_header(x, "RateLimit", state);
}

const struct http_networks *identity_proxies(const struct identity *i)
{
    return i->proxies;
}
