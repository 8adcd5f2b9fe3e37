/* Tokens: the vectors of the RFCs, what is altered, what pretends, and what is genuine but not for us or not
 * now (operations 8, Identity). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "services/gateway/identity/jwks_source.h"
#include "services/gateway/identity/token_cache.h"
#include "tests/support/folder.h"
#include "tests/support/slack.h"
#include "tests/unit/gateway_tokens.h"

#define NOW_US (INT64_C(1800000000) * SECOND_US)

/* RFC 7515 A.2 and A.3, RFC 8037 A.2: the keys, given names. */
#define RSA_JWK                                                                                    \
    "{\"kid\":\"rsa\",\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_"   \
    "wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-"                 \
    "pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-"      \
    "KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-"         \
    "DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\"}"
#define EC_JWK                                                                                     \
    "{\"kid\":\"ec\",\"kty\":\"EC\",\"crv\":\"P-256\","                                            \
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","                                       \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"
#define ED_JWK                                                                                     \
    "{\"kid\":\"ed\",\"kty\":\"OKP\",\"crv\":\"Ed25519\","                                         \
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"
#define JOE                                                                                        \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ"

static const struct vector {
    const char *kid;
    enum jwk_alg alg;
    const char *signed_text, *signature;
} vectors[] = {
    { "rsa", JWK_RS256, "eyJhbGciOiJSUzI1NiJ9." JOE,
      "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5"
      "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb"
      "1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO"
      "YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw" },
    { "ec", JWK_ES256, "eyJhbGciOiJFUzI1NiJ9." JOE,
      "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q" },
    { "ed", JWK_EDDSA, "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
      "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg" },
};

static const struct jwt_rules rules = { .issuer = "https://idp.example",
                                        .audience = "daybook",
                                        .tenant_claim = "tenant",
                                        .subject_claim = "sub",
                                        .scope_claim = "scope" };

static struct arena *arena;
static struct issuer issuer;
static const struct jwks *keys; /* "me" and those of the RFCs */

static const struct jwks *read_keys(const char *json)
{
    const char *reason = NULL;
    const struct jwks *set = jwks_read(json, strlen(json), &reason);

    if (!set)
        fail_msg("%s", reason);
    return set;
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(16 * MIB);
    issuer_init(&issuer, arena);
    keys = read_keys(
        arena_printf(arena, "{\"keys\":[" RSA_JWK "," EC_JWK "," ED_JWK ",%s]}", issuer.jwk));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    jwks_release(keys);
    arena_free(arena);
    return 0;
}

static char *sign(const char *header, const char *claims)
{
    return issuer_sign(&issuer, arena, header, claims);
}

#define HEADER "{\"alg\":\"EdDSA\",\"kid\":\"me\"}"
#define CLAIMS                                                                                     \
    "\"iss\":\"https://idp.example\",\"aud\":\"daybook\",\"tenant\":\"t\",\"sub\":\"E006\""

static enum jwt_verdict prove(const char *token, int64_t now_us, struct jwt_claims *out,
                              const char **text_out)
{
    *text_out = NULL;
    return jwt_prove(token, keys, &rules, now_us, arena, out, text_out);
}

static void expect(const char *label, const char *token, int64_t now_us, enum jwt_verdict want)
{
    struct jwt_claims claims;
    const char *text;
    enum jwt_verdict got = prove(token, now_us, &claims, &text);

    if (got != want)
        fail_msg("%s: %d, %s", label, got, text ? text : "");
    if (got != JWT_GOOD && !text)
        fail_msg("%s: no words", label);
}

/* --- signatures ------------------------------------------------------------------------------- */

static void the_vectors_of_the_rfcs_hold_and_nothing_near_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        const struct vector *v = &vectors[i];
        uint8_t signature[512];
        size_t len;
        bool known;
        const struct jwk *key = jwks_find(keys, v->kid, v->alg, &known);
        assert_non_null(key);
        assert_int_equal(sodium_base642bin(signature, sizeof(signature), v->signature,
                                           strlen(v->signature), NULL, &len, NULL,
                                           sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                         0);
        char *text = arena_strdup(arena, v->signed_text);
        size_t text_len = strlen(text);
        if (!jwk_proves(key, signature, len, text, text_len))
            fail_msg("%s does not hold", v->kid);
        for (size_t at = 0; at < len; at++) {
            signature[at] ^= 1;
            if (jwk_proves(key, signature, len, text, text_len))
                fail_msg("%s holds with byte %zu altered", v->kid, at);
            signature[at] ^= 1;
        }
        for (size_t at = 0; at < text_len; at++) {
            text[at] ^= 1;
            if (jwk_proves(key, signature, len, text, text_len))
                fail_msg("%s holds with character %zu altered", v->kid, at);
            text[at] ^= 1;
        }
        assert_false(jwk_proves(key, signature, len - 1, text, text_len));
        assert_false(jwk_proves(key, signature, 0, text, text_len));
        assert_false(jwk_proves(key, signature, len, text, text_len - 1));
        for (size_t k = 0; k < ARRAY_LEN(vectors); k++) /* by another key */
            if (k != i)
                assert_false(jwk_proves(jwks_find(keys, vectors[k].kid, vectors[k].alg, &known),
                                        signature, len, text, text_len));
    }
}

static void each_part_of_a_token_counts(void **state)
{
    (void)state;
    char *token = sign(HEADER, "{" CLAIMS ",\"exp\":1800000000}");
    expect("as it is", token, NOW_US, JWT_GOOD);
    for (size_t i = 0; token[i]; i++) {
        char was = token[i];
        struct jwt_claims claims;
        const char *text;
        token[i] = was == 'A' ? 'B' : 'A';
        if (prove(token, NOW_US, &claims, &text) == JWT_GOOD)
            fail_msg("character %zu altered", i);
        token[i] = was;
    }
    expect("as it was", token, NOW_US, JWT_GOOD);

    size_t len = strlen(token);
    static const char *const tails[] = { "=", ".", "A", " ", "\n", ".A" };
    for (size_t i = 0; i < ARRAY_LEN(tails); i++)
        expect(tails[i], arena_printf(arena, "%s%s", token, tails[i]), NOW_US, JWT_FORGED);
    for (size_t cut = 0; cut < len; cut++)
        if (jwt_prove(arena_strndup(arena, token, cut), keys, &rules, NOW_US, arena,
                      &(struct jwt_claims){ 0 }, &(const char *){ NULL }) == JWT_GOOD)
            fail_msg("cut off at %zu", cut);
}

static void what_pretends_is_refused(void **state)
{
    (void)state;
    const char *claims = "{" CLAIMS ",\"exp\":1800000000}";
    static const struct {
        const char *header;
        enum jwt_verdict want;
    } cases[] = {
        { "{\"alg\":\"none\",\"kid\":\"me\"}", JWT_FORGED },
        { "{\"alg\":\"None\",\"kid\":\"me\"}", JWT_FORGED },
        { "{\"alg\":\"\",\"kid\":\"me\"}", JWT_FORGED },
        { "{\"kid\":\"me\"}", JWT_FORGED },
        { "{\"alg\":[\"EdDSA\"],\"kid\":\"me\"}", JWT_FORGED },
        { "{\"alg\":\"HS256\",\"kid\":\"me\"}", JWT_FORGED },
        { "{\"alg\":\"HS256\",\"kid\":\"rsa\"}", JWT_FORGED },
        { "{\"alg\":\"RS256\",\"kid\":\"me\"}",
          JWT_FORGED }, /* the key's algorithm, not the token's */
        { "{\"alg\":\"ES256\",\"kid\":\"me\"}", JWT_FORGED },
        { "{\"alg\":\"EdDSA\",\"kid\":\"rsa\"}", JWT_FORGED },
        { "{\"alg\":\"EdDSA\",\"kid\":\"ed\"}", JWT_FORGED }, /* somebody else's key */
        { "{\"alg\":\"PS256\",\"kid\":\"rsa\"}", JWT_FORGED },
        { "{\"alg\":\"RS512\",\"kid\":\"rsa\"}", JWT_FORGED },
        { "{\"alg\":\"eddsa\",\"kid\":\"me\"}", JWT_FORGED },
        { "{\"alg\":\"EdDSA\"}", JWT_FORGED },
        { "{\"alg\":\"EdDSA\",\"kid\":\"\"}", JWT_FORGED },
        { "{\"alg\":\"EdDSA\",\"kid\":7}", JWT_FORGED },
        { "{\"alg\":\"EdDSA\",\"kid\":\"../me\"}", JWT_UNKNOWN_KEY },
        { "{\"alg\":\"EdDSA\",\"kid\":\"new\"}", JWT_UNKNOWN_KEY },
        { "{\"alg\":\"EdDSA\",\"kid\":\"me\",\"crit\":[\"b64\"],\"b64\":false}", JWT_FORGED },
        { "{\"alg\":\"EdDSA\",\"kid\":\"me\",\"crit\":null}", JWT_FORGED },
        { "{\"alg\":\"EdDSA\",\"kid\":\"me\",\"typ\":\"dpop+jwt\"}", JWT_FORGED },
        { "{\"alg\":\"EdDSA\",\"kid\":\"me\",\"typ\":5}", JWT_FORGED },
        { "{\"alg\":\"EdDSA\",\"kid\":\"me\",\"alg\":\"EdDSA\"}", JWT_FORGED }, /* twice */
        { "[]", JWT_FORGED },
        { "{\"alg\":\"EdDSA\",\"kid\":\"me\"", JWT_FORGED },
        { "{\"alg\":\"EdDSA\",\"kid\":\"me\",\"x\":[[[[[[[[[]]]]]]]]]}", JWT_FORGED },
        { "{\"alg\":\"Ed25519\",\"kid\":\"me\"}", JWT_GOOD },
        { "{\"alg\":\"Ed25519\",\"kid\":\"ec\"}", JWT_FORGED },
        { "{\"alg\":\"Ed448\",\"kid\":\"me\"}", JWT_FORGED },
        { "{\"alg\":\"EdDSA\",\"kid\":\"me\",\"typ\":\"JWT\"}", JWT_GOOD },
        { "{\"alg\":\"EdDSA\",\"kid\":\"me\",\"typ\":\"application/at+JWT\"}", JWT_GOOD },
        { "{\"alg\":\"EdDSA\",\"kid\":\"me\",\"jku\":\"https://evil.example\"}", JWT_GOOD },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect(cases[i].header, sign(cases[i].header, claims), NOW_US, cases[i].want);
    expect("nothing", "", NOW_US, JWT_FORGED);
    expect("dots", "..", NOW_US, JWT_FORGED);
    expect("no signature",
           arena_printf(arena, "%s.%s.", base64url(arena, HEADER, strlen(HEADER)),
                        base64url(arena, "{}", 2)),
           NOW_US, JWT_FORGED);
    char *long_one = arena_alloc(arena, JWT_BYTES_MAX + 2);
    memset(long_one, 'A', JWT_BYTES_MAX + 1);
    expect("too long", long_one, NOW_US, JWT_FORGED);
}

/* --- claims ----------------------------------------------------------------------------------- */

static void a_genuine_token_must_be_for_us_and_now(void **state)
{
    (void)state;
#define ISS "\"iss\":\"https://idp.example\""
#define AUD "\"aud\":\"daybook\""
#define EXP "\"exp\":1800000000"
    static const struct {
        const char *label, *claims;
        enum jwt_verdict want;
    } cases[] = {
        { "all there", "{" ISS "," AUD "," EXP "}", JWT_GOOD },
        { "one of several", "{" ISS ",\"aud\":[\"a\",\"daybook\"]," EXP "}", JWT_GOOD },
        { "decimals", "{" ISS "," AUD ",\"exp\":1800000000.5}", JWT_GOOD },
        { "no issuer", "{" AUD "," EXP "}", JWT_REFUSED },
        { "other issuer", "{\"iss\":\"https://idp.example/\"," AUD "," EXP "}", JWT_REFUSED },
        { "a list of issuers", "{\"iss\":[\"https://idp.example\"]," AUD "," EXP "}", JWT_REFUSED },
        { "no audience", "{" ISS "," EXP "}", JWT_REFUSED },
        { "other audience", "{" ISS ",\"aud\":\"daybook2\"," EXP "}", JWT_REFUSED },
        { "an empty list", "{" ISS ",\"aud\":[]," EXP "}", JWT_REFUSED },
        { "numbers", "{" ISS ",\"aud\":[1,null]," EXP "}", JWT_REFUSED },
        { "without end", "{" ISS "," AUD "}", JWT_REFUSED },
        { "a text", "{" ISS "," AUD ",\"exp\":\"1800000000\"}", JWT_REFUSED },
        { "before 1970", "{" ISS "," AUD ",\"exp\":-1}", JWT_REFUSED },
        { "huge", "{" ISS "," AUD ",\"exp\":1e300}", JWT_REFUSED },
        { "a false begin", "{" ISS "," AUD "," EXP ",\"nbf\":\"x\"}", JWT_REFUSED },
        { "issuer twice", "{" ISS "," ISS "," AUD "," EXP "}", JWT_REFUSED },
        { "end twice", "{" ISS "," AUD "," EXP ",\"exp\":1900000000}", JWT_REFUSED },
        { "deep",
          "{" ISS "," AUD "," EXP
          ",\"x\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}",
          JWT_REFUSED },
        { "a NUL", "{" ISS "," AUD "," EXP ",\"sub\":\"E006\\u0000x\"}", JWT_REFUSED },
        { "a number as subject", "{" ISS "," AUD "," EXP ",\"sub\":6}", JWT_REFUSED },
        { "a number as company", "{" ISS "," AUD "," EXP ",\"tenant\":6}", JWT_REFUSED },
        { "a number as scope", "{" ISS "," AUD "," EXP ",\"scope\":6}", JWT_REFUSED },
        { "null as scope", "{" ISS "," AUD "," EXP ",\"scope\":null}", JWT_REFUSED },
        { "no object", "[]", JWT_REFUSED },
        { "no JSON", "x", JWT_REFUSED },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect(cases[i].label, sign(HEADER, cases[i].claims), NOW_US, cases[i].want);
}

static void times_have_a_minute_of_leeway(void **state)
{
    (void)state;
    const char *token = sign(HEADER, "{" CLAIMS ",\"exp\":1800000000,\"nbf\":1799990000}");
    int64_t exp_us = NOW_US, nbf_us = NOW_US - 10000 * SECOND_US;

    expect("at its end", token, exp_us, JWT_GOOD);
    expect("within the leeway", token, exp_us + JWT_LEEWAY_US - 1, JWT_GOOD);
    expect("after it", token, exp_us + JWT_LEEWAY_US, JWT_REFUSED);
    expect("at its begin", token, nbf_us, JWT_GOOD);
    expect("before it, within the leeway", token, nbf_us - JWT_LEEWAY_US, JWT_GOOD);
    expect("before that", token, nbf_us - JWT_LEEWAY_US - 1, JWT_REFUSED);
}

static void claims_are_read_as_they_are(void **state)
{
    (void)state;
    struct jwt_claims c;
    const char *text;

    assert_int_equal(prove(sign(HEADER, "{" CLAIMS ",\"exp\":1800000000,"
                                        "\"scope\":\"openid  customers.read events.read \"}"),
                           NOW_US, &c, &text),
                     JWT_GOOD);
    assert_string_equal(c.tenant, "t");
    assert_string_equal(c.subject, "E006");
    assert_int_equal(c.nscopes, 3);
    assert_string_equal(c.scopes[2], "events.read");
    assert_true(c.scoped);
    assert_int_equal(prove(sign(HEADER, "{" CLAIMS ",\"exp\":1800000000,\"scope\":[\"a.b\"]}"),
                           NOW_US, &c, &text),
                     JWT_GOOD);
    assert_int_equal(c.nscopes, 1);
    assert_string_equal(c.scopes[0], "a.b");
    assert_int_equal(
        prove(sign(HEADER, "{" CLAIMS ",\"exp\":1800000000,\"scope\":\"\"}"), NOW_US, &c, &text),
        JWT_GOOD);
    assert_true(c.scoped && c.nscopes == 0);
    assert_int_equal(prove(sign(HEADER, "{" ISS "," AUD ",\"exp\":1800000000}"), NOW_US, &c, &text),
                     JWT_GOOD);
    assert_true(!c.scoped && c.nscopes == 0 && !*c.tenant && !*c.subject);
}

/* --- sets of keys ------------------------------------------------------------------------------- */

static void a_set_has_what_may_prove_and_nothing_else(void **state)
{
    (void)state;
    static const char *const others[] = {
        "{\"kid\":\"a\",\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ\"}",
        "{\"kid\":\"a\",\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"11qYAYKxCrfVS_"
        "7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kid\":\"a\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_"
        "7TyWQHOg7hcvPapiMlrwIaaPcHUQ\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_"
        "7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kid\":\"a\",\"use\":\"enc\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_"
        "7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kid\":\"a\",\"alg\":\"ES256\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
        "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kid\":\"a\",\"key_ops\":[\"sign\"],\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
        "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kid\":\"a\",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\",\"kty\":\"OKP\","
        "\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        /* not on the curve */
        "{\"kid\":\"a\",\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
        "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_"
        "tue659LNpXW6pCyStikYjKIWI5a4\"}",
        "{\"kid\":\"a\",\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":"
        "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_"
        "tue659LNpXW6pCyStikYjKIWI5a0\"}",
        /* RSA of 264 bits */
        "{\"kid\":\"a\",\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_"
        "wWJcyQoTbj\"}",
        "7",
        "null",
        "{}",
    };
    const char *reason = NULL;

    assert_int_equal(jwks_count(keys), 4);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        const char *json = arena_printf(arena, "{\"keys\":[%s," ED_JWK "]}", others[i]);
        const struct jwks *set = read_keys(json);
        if (jwks_count(set) != 1)
            fail_msg("%s was taken", others[i]);
        jwks_release(set);
        json = arena_printf(arena, "{\"keys\":[%s]}", others[i]);
        assert_null(jwks_read(json, strlen(json), &reason)); /* a set without keys is none */
        assert_non_null(reason);
    }
    static const char *const bad[] = {
        "", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[" ED_JWK
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_null(jwks_read(bad[i], strlen(bad[i]), &reason));
    /* The same name for another algorithm is another key; twice the same is the first. */
    const struct jwks *set = read_keys("{\"keys\":[" ED_JWK "," ED_JWK
                                       ",{\"kid\":\"ed\",\"kty\":\"EC\",\"crv\":\"P-256\","
                                       "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                                       "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}");
    assert_int_equal(jwks_count(set), 2);
    jwks_release(set);
}

/* --- remembering -------------------------------------------------------------------------------- */

static void a_proven_token_is_remembered_for_its_keys_and_time(void **state)
{
    (void)state;
    struct token_cache *cache = token_cache_new();
    const struct jwks *other = read_keys("{\"keys\":[" ED_JWK "]}");
    char *token =
        sign(HEADER, "{" CLAIMS ",\"exp\":1800000000,\"scope\":\"customers.read events.read\"}");
    struct jwt_rules others = rules;
    const struct jwt_rules *asked = &others;
    struct jwt_claims c;
    const char *text;

    others.issuer = "https://another.example"; /* not this token's */
#define ASK(set, now_us) token_cache_prove(cache, token, set, asked, now_us, arena, &c, &text)
    assert_int_equal(ASK(keys, NOW_US), JWT_REFUSED);
    asked = &rules;
    for (int i = 0; i < 3; i++) {
        c = (struct jwt_claims){ 0 };
        assert_int_equal(ASK(keys, NOW_US), JWT_GOOD);
        asked = &others; /* by which it would be refused again, were it looked at */
        assert_string_equal(c.tenant, "t");
        assert_string_equal(c.subject, "E006");
        assert_true(c.scoped && c.nscopes == 2);
        assert_string_equal(c.scopes[1], "events.read");
    }
    asked = &rules;
    assert_int_equal(ASK(keys, NOW_US + JWT_LEEWAY_US), JWT_REFUSED); /* it has expired since */
    assert_int_equal(ASK(other, NOW_US), JWT_UNKNOWN_KEY);            /* its key was taken away */
    token[strlen(token) - 5] ^= 1;
    assert_int_not_equal(ASK(keys, NOW_US), JWT_GOOD);
    jwks_release(other);
    token_cache_free(cache);
}

/* --- a file of keys ----------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
    char *fresh = arena_printf(arena, "%s.new", path);
    FILE *f = fopen(fresh, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
    assert_int_equal(rename(fresh, path), 0);
}

static bool has_key(struct jwks_source *s, const char *kid)
{
    CLEANUP(jwks_releasep) const struct jwks *set = jwks_source_acquire(s);
    bool known;

    return set && jwks_find(set, kid, JWK_EDDSA, &known);
}

static void turn_until_key(struct jwks_source *s, const char *kid)
{
    int64_t until_us = clock_monotonic_us() + slack(10 * SECOND_US);

    while (!has_key(s, kid) && clock_monotonic_us() < until_us)
        jwks_source_turn(s);
    assert_true(has_key(s, kid));
}

static void a_file_that_changes_is_seen_and_a_bad_one_changes_nothing(void **state)
{
    (void)state;
    char folder[FOLDER_MAX];
    const char *reason = NULL;

    folder_make(folder, "daybook-jwks-");
    char *path = arena_printf(arena, "%s/keys.json", folder);
    struct jwks_source *s = jwks_source_new(path, "", MINUTE_US, &reason);
    assert_non_null(s); /* it may come later */
    assert_null(jwks_source_acquire(s));
    write_file(path, "{\"keys\":[" ED_JWK "]}");
    turn_until_key(s, "ed");
    jwks_source_free(s);

    s = jwks_source_new(path, "", MINUTE_US, &reason);
    assert_true(has_key(s, "ed")); /* at once */
    write_file(path, "{\"keys\":[");
    for (int i = 0; i < 6; i++) /* each a quarter of a second at most */
        jwks_source_turn(s);
    assert_true(has_key(s, "ed"));
    write_file(path, "{\"keys\":[{\"kid\":\"two\",\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                     "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}");
    turn_until_key(s, "two");
    assert_false(has_key(s, "ed"));
    jwks_source_free(s);
    folder_remove(folder);
}

static void a_missed_key_is_looked_for_once_a_minute(void **state)
{
    (void)state;
    const char *reason = NULL;
    struct jwks_source *s = jwks_source_new("/nowhere/keys.json", "", MINUTE_US, &reason);

    assert_non_null(s);
    assert_true(jwks_source_miss(s));
    assert_true(jwks_source_miss(s)); /* still being looked for */
    jwks_source_turn(s);
    assert_false(jwks_source_miss(s)); /* was looked for, and not found */
    jwks_source_free(s);
}

static void a_place_that_can_never_be_asked_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *place, *networks;
        bool want;
    } cases[] = {
        { "https://idp.example/keys", "", true },
        { "http://127.0.0.1:8080/keys", "127.0.0.0/8", true },
        { "http://10.0.0.1/keys", "127.0.0.0/8", false },
        { "https://10.0.0.1/keys", "127.0.0.0/8", false },
        { "https://10.0.0.1/keys", "10.0.0.0/8", true },
        { "ftp://idp.example/keys", "", false },
        { "https://user:pw@idp.example/keys", "", false },
        { "https://idp.example/keys", "nonsense", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *reason = NULL;
        struct jwks_source *s =
            jwks_source_new(cases[i].place, cases[i].networks, MINUTE_US, &reason);
        if ((s != NULL) != cases[i].want)
            fail_msg("%s: %s", cases[i].place, reason);
        jwks_source_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_the_rfcs_hold_and_nothing_near_them),
        cmocka_unit_test(each_part_of_a_token_counts),
        cmocka_unit_test(what_pretends_is_refused),
        cmocka_unit_test(a_genuine_token_must_be_for_us_and_now),
        cmocka_unit_test(times_have_a_minute_of_leeway),
        cmocka_unit_test(claims_are_read_as_they_are),
        cmocka_unit_test(a_set_has_what_may_prove_and_nothing_else),
        cmocka_unit_test(a_proven_token_is_remembered_for_its_keys_and_time),
        cmocka_unit_test(a_file_that_changes_is_seen_and_a_bad_one_changes_nothing),
        cmocka_unit_test(a_missed_key_is_looked_for_once_a_minute),
        cmocka_unit_test(a_place_that_can_never_be_asked_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
