/*
 * fuzz_token.c - what comes of an identity provider and of whoever pretends to: 't' a token, 'c' the
 * claims of one whose signature was proven, 'k' a set of keys.
 *
 * No token made here is proven: its keys' private halves are nowhere. What is taken of claims is
 * within its bounds and holds now.
 */
#include <assert.h>

#include "services/gateway/identity/jwt.h"

#define NOW_US (INT64_C(1800000000) * SECOND_US)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char keys[] = "{\"keys\":[{\"kid\":\"ec\",\"kty\":\"EC\",\"crv\":\"P-256\","
                           "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                           "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
                           "{\"kid\":\"ed\",\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                           "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

static const struct jwt_rules rules = { .issuer = "https://idp.example",
                                        .audience = "daybook",
                                        .tenant_claim = "tenant",
                                        .subject_claim = "sub",
                                        .scope_claim = "scope" };

static void check_token(const char *text, size_t len, struct arena *a)
{
    static const struct jwks *set;
    const char *words = NULL, *reason, *token = arena_strndup(a, text, len);
    struct jwt_claims claims;

    if (!set)
        set = jwks_read(keys, sizeof(keys) - 1, &reason);
    assert(set && token);
    assert(jwt_prove(token, set, &rules, NOW_US, a, &claims, &words) != JWT_GOOD);
    assert(words);
}

static void check_claims(const char *text, size_t len, struct arena *a)
{
    const char *words = NULL;
    struct jwt_claims c = { 0 };
    enum jwt_verdict v = jwt_read_claims(text, len, &rules, NOW_US, a, &c, &words);

    assert(v == JWT_GOOD || v == JWT_REFUSED);
    if (v != JWT_GOOD)
        return;
    assert(c.from_us <= NOW_US && NOW_US < c.until_us);
    assert(strlen(c.tenant) <= JWT_CLAIM_MAX && strlen(c.subject) <= JWT_CLAIM_MAX);
    assert(c.nscopes <= JWT_SCOPES_MAX && (c.scoped || c.nscopes == 0));
    for (size_t i = 0; i < c.nscopes; i++)
        assert(*c.scopes[i]);
}

static void check_keys(const char *text, size_t len)
{
    const char *reason = NULL;
    const struct jwks *set = jwks_read(text, len, &reason);

    assert(set ? jwks_count(set) > 0 && jwks_count(set) <= JWKS_KEYS_MAX : reason != NULL);
    jwks_release(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct arena *a;

    if (!a)
        a = arena_new(8 * MIB);
    arena_reset(a);
    if (len == 0)
        return 0;
    const char *text = (const char *)data + 1;
    if (data[0] == 't')
        check_token(text, len - 1, a);
    else if (data[0] == 'c')
        check_claims(text, len - 1, a);
    else if (data[0] == 'k')
        check_keys(text, len - 1);
    return 0;
}
