/*
 * jwt.c - see jwt.h.
 */
#include "services/gateway/identity/jwt.h"

#include <math.h>
#include <sodium.h>
#include <strings.h>

#define SECONDS_MAX INT64_C(253402300799) /* the year 9999 */

/* A part of the token, decoded. */
struct part {
    uint8_t *data;
    size_t len;
};

/* Strict base64url: no padding, no bits left over. */
static bool decode(const char *text, size_t len, struct arena *a, struct part *out)
{
    out->data = arena_alloc(a, len + 1);
    return out->data && len > 0 &&
           sodium_base642bin(out->data, len, text, len, NULL, &out->len, NULL,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0;
}

/* --- the header --------------------------------------------------------------------------------- */

static enum jwk_alg alg_of(const json_t *header)
{
    static const struct {
        const char *name;
        enum jwk_alg alg;
    } algs[] = { { "RS256", JWK_RS256 },
                 { "ES256", JWK_ES256 },
                 { "EdDSA", JWK_EDDSA },
                 { "Ed25519", JWK_EDDSA } };
    const char *name = json_string_value(json_object_get(header, "alg"));

    for (size_t i = 0; name && i < ARRAY_LEN(algs); i++)
        if (strcmp(name, algs[i].name) == 0)
            return algs[i].alg;
    return JWK_NONE;
}

/* Tokens of other kinds by the same issuer (logout, DPoP proofs) say so here. */
static bool is_access_token(const json_t *header)
{
    const json_t *typ = json_object_get(header, "typ");
    const char *text = json_string_value(typ);

    if (!typ)
        return true;
    if (text && strncasecmp(text, "application/", 12) == 0)
        text += 12;
    return text && (strcasecmp(text, "JWT") == 0 || strcasecmp(text, "at+jwt") == 0);
}

static enum jwt_verdict choose_key(const struct part *part, const struct jwks *keys,
                                   const struct jwk **key_out, const char **text_out)
{
    CLEANUP(json_freep) json_t *header = jwks_json((const char *)part->data, part->len);
    const char *kid = json_string_value(json_object_get(header, "kid"));
    bool known = false;

    *text_out = "the token's header is malformed";
    if (!header)
        return JWT_FORGED;
    *text_out = "the token must be signed by RS256, ES256 or EdDSA";
    enum jwk_alg alg = alg_of(header);
    if (!alg)
        return JWT_FORGED;
    *text_out = "the token asks for what is not understood here (crit)";
    if (json_object_get(header, "crit"))
        return JWT_FORGED;
    *text_out = "this is another kind of token (typ)";
    if (!is_access_token(header))
        return JWT_FORGED;
    *text_out = "the token must name its key (kid)";
    if (!kid || !*kid)
        return JWT_FORGED;
    *key_out = jwks_find(keys, kid, alg, &known);
    *text_out = known ? "the token's key (kid) is for another algorithm"
                      : "the token's key (kid) is none of its issuer's";
    if (*key_out)
        return JWT_GOOD;
    return known ? JWT_FORGED : JWT_UNKNOWN_KEY;
}

/* --- the claims --------------------------------------------------------------------------------- */

/* Seconds since 1970, with decimals if need be. */
static bool time_of(const json_t *claims, const char *name, int64_t *us_out)
{
    const json_t *value = json_object_get(claims, name);
    double seconds = json_number_value(value);

    if (!json_is_number(value) || !isfinite(seconds) || seconds < 0 ||
        seconds > (double)SECONDS_MAX)
        return false;
    *us_out = (int64_t)(seconds * (double)SECOND_US);
    return true;
}

static bool is_text(const json_t *value, const char *want)
{
    const char *text = json_string_value(value);
    return text && strcmp(text, want) == 0;
}

static bool is_for(const json_t *audience, const char *want)
{
    const json_t *one;
    size_t i;

    json_array_foreach(audience, i, one) if (is_text(one, want)) return true;
    return is_text(audience, want);
}

/* False: it is there and no text of that size, or there is no memory. */
static bool copy_claim(const json_t *claims, const char *name, struct arena *a, const char **out)
{
    const json_t *value = json_object_get(claims, name);
    const char *text = json_string_value(value);

    *out = "";
    if (!value)
        return true;
    if (!text || strlen(text) > JWT_CLAIM_MAX)
        return false;
    *out = arena_strdup(a, text);
    return *out != NULL;
}

static bool add_scope(struct jwt_claims *c, const char **list, struct arena *a, const char *text,
                      size_t len)
{
    if (len == 0)
        return true;
    if (c->nscopes == JWT_SCOPES_MAX)
        return false;
    list[c->nscopes] = arena_strndup(a, text, len);
    return list[c->nscopes++] != NULL;
}

/* Words parted by spaces (RFC 8693), or a list of texts. */
static bool read_scopes(const json_t *value, struct arena *a, struct jwt_claims *c)
{
    const char **list = arena_array(a, JWT_SCOPES_MAX, sizeof(*list));
    const char *text = json_string_value(value);
    const json_t *one;
    size_t i;

    c->scopes = list;
    c->scoped = value != NULL;
    if (!list || (value && !text && !json_is_array(value)))
        return false;
    for (const char *p = text ? text : ""; *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        if (!add_scope(c, list, a, p, len))
            return false;
        p += len;
    }
    json_array_foreach(value, i, one) if (!json_is_string(one) ||
                                          !add_scope(c, list, a, json_string_value(one),
                                                     json_string_length(one))) return false;
    return true;
}

static bool read_times(const json_t *claims, struct jwt_claims *c)
{
    if (!time_of(claims, "exp", &c->until_us))
        return false;
    c->until_us += JWT_LEEWAY_US;
    if (!json_object_get(claims, "nbf"))
        return true;
    if (!time_of(claims, "nbf", &c->from_us))
        return false;
    c->from_us -= JWT_LEEWAY_US;
    return true;
}

enum jwt_verdict jwt_read_claims(const char *json, size_t len, const struct jwt_rules *rules,
                                 int64_t wall_us, struct arena *a, struct jwt_claims *claims_out,
                                 const char **text_out)
{
    CLEANUP(json_freep) json_t *claims = jwks_json(json, len);
    struct jwt_claims c = { .from_us = INT64_MIN };

    *text_out = "the token's claims are malformed";
    if (!claims)
        return JWT_REFUSED;
    *text_out = "the token is by another issuer (iss)";
    if (!is_text(json_object_get(claims, "iss"), rules->issuer))
        return JWT_REFUSED;
    *text_out = "the token is for another audience (aud)";
    if (!is_for(json_object_get(claims, "aud"), rules->audience))
        return JWT_REFUSED;
    *text_out = "the token must say when it ends (exp, nbf: seconds since 1970)";
    if (!read_times(claims, &c))
        return JWT_REFUSED;
    *text_out = "the token has expired";
    if (wall_us >= c.until_us)
        return JWT_REFUSED;
    *text_out = "the token does not hold yet (nbf)";
    if (wall_us < c.from_us)
        return JWT_REFUSED;
    *text_out = "the token's company, subject or scope is malformed";
    if (!copy_claim(claims, rules->tenant_claim, a, &c.tenant) ||
        !copy_claim(claims, rules->subject_claim, a, &c.subject) ||
        !read_scopes(*rules->scope_claim ? json_object_get(claims, rules->scope_claim) : NULL, a,
                     &c))
        return JWT_REFUSED;
    *claims_out = c;
    return JWT_GOOD;
}

/* --- the whole ---------------------------------------------------------------------------------- */

enum jwt_verdict jwt_prove(const char *token, const struct jwks *keys,
                           const struct jwt_rules *rules, int64_t wall_us, struct arena *a,
                           struct jwt_claims *claims_out, const char **text_out)
{
    struct part header, claims, signature;
    const struct jwk *key = NULL;
    size_t len = strnlen(token, JWT_BYTES_MAX + 1);
    const char *dot = memchr(token, '.', len);
    const char *last = dot ? memchr(dot + 1, '.', len - (size_t)(dot + 1 - token)) : NULL;

    *text_out = "the token is longer than 8 KiB";
    if (len > JWT_BYTES_MAX)
        return JWT_FORGED;
    *text_out = "the token must be three parts of base64url";
    if (!last || memchr(last + 1, '.', len - (size_t)(last + 1 - token)) ||
        !decode(token, (size_t)(dot - token), a, &header) ||
        !decode(dot + 1, (size_t)(last - dot - 1), a, &claims) ||
        !decode(last + 1, len - (size_t)(last + 1 - token), a, &signature))
        return JWT_FORGED;
    enum jwt_verdict v = choose_key(&header, keys, &key, text_out);
    if (v)
        return v;
    *text_out = "the token's signature is not its key's";
    if (!jwk_proves(key, signature.data, signature.len, token, (size_t)(last - token)))
        return JWT_FORGED;
    return jwt_read_claims((const char *)claims.data, claims.len, rules, wall_us, a, claims_out,
                           text_out);
}
