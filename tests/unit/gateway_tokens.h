/*
 * gateway_tokens.h - an issuer for tests: one Ed25519 key, signed with by libsodium, which shares no
 * code with what proves it.
 */
#ifndef DAYBOOK_TESTS_UNIT_GATEWAY_TOKENS_H
#define DAYBOOK_TESTS_UNIT_GATEWAY_TOKENS_H

#include <sodium.h>

#include "common/arena.h"

#define ISSUER_KID "me"

struct issuer {
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    char jwk[200];
};

static char *base64url(struct arena *a, const void *data, size_t len)
{
    size_t size = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *text = arena_alloc(a, size);

    assert_non_null(text);
    return sodium_bin2base64(text, size, data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static void issuer_init(struct issuer *i, struct arena *a)
{
    static const uint8_t seed[crypto_sign_SEEDBYTES] = { 7 };
    uint8_t public[crypto_sign_PUBLICKEYBYTES];

    assert_int_not_equal(sodium_init(), -1);
    crypto_sign_seed_keypair(public, i->secret, seed);
    snprintf(i->jwk, sizeof(i->jwk),
             "{\"kid\":\"" ISSUER_KID "\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"}",
             base64url(a, public, sizeof(public)));
}

/* A token signed by that key, whatever its header says. */
static char *issuer_sign(const struct issuer *i, struct arena *a, const char *header,
                         const char *claims)
{
    uint8_t signature[crypto_sign_BYTES];
    char *text = arena_printf(a, "%s.%s", base64url(a, header, strlen(header)),
                              base64url(a, claims, strlen(claims)));

    crypto_sign_detached(signature, NULL, (const uint8_t *)text, strlen(text), i->secret);
    return arena_printf(a, "%s.%s", text, base64url(a, signature, sizeof(signature)));
}

#endif
