/*
 * secret.h - keys, sealed fields, blind indexes, masks (libsodium).
 *
 * Personal fields are sealed with XChaCha20-Poly1305 under a key of the tenant, derived from the
 * master key by BLAKE2b; the record's identity is associated data, so a sealed value cannot be
 * moved to another record. A sealed value is "v1:<key id>:<base64>". Search is by blind index:
 * keyed BLAKE2b of the normalised value under another derived key, 16 bytes. Thread-safe after
 * secret_init() and secret_init_other(). Without a master key these fail and log it.
 *
 * While one master key takes the place of another there are two (F56): our own, which seals, and the
 * other, under which something may have been sealed, indexed or hashed, too: that which comes next,
 * while some daemons have it already, or the old one, until nothing is left of it.
 */
#ifndef DAYBOOK_COMMON_SECRET_H
#define DAYBOOK_COMMON_SECRET_H

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"
#include "common/id.h"

/* master_hex: 64 hex digits (32 bytes). False: malformed, or libsodium does not start. */
NODISCARD bool secret_init(const char *master_hex);
/* False also for the own one once more. */
NODISCARD bool secret_init_other(const char *master_hex, bool is_old);
bool secret_ready(void);
/* 8 hex digits, as in sealed values; "" without such a key. */
const char *secret_key_id(void);
const char *secret_old_key_id(void);
/* Sealed under the old key, and to be sealed anew. */
bool secret_is_old(const char *sealed);

/* NULL or "" is given back as it is. NULL when out of memory or
 * without a master key. what: e.g. "contact.phone:<id>". */
NODISCARD char *secret_seal(struct arena *a, struct id tenant, const char *what, const char *clear);
/* ERR_DATA_LOSS: not sealed by us, for another record, or altered; ERR_INTERNAL: no master key. */
NODISCARD enum err secret_open(struct arena *a, struct id tenant, const char *what,
                               const char *sealed, char **clear_out);

#define BLIND_INDEX_TEXT 33 /* 32 hex digits and a NUL */
NODISCARD bool secret_blind_index(struct id tenant, const char *kind, const char *normalised,
                                  char out[static BLIND_INDEX_TEXT]);
/* Under the other key; false: there is none. */
bool secret_other_blind_index(struct id tenant, const char *kind, const char *normalised,
                              char out[static BLIND_INDEX_TEXT]);

/* "138****1234", "a***@example.com"; never NULL for a non-NULL text. */
NODISCARD char *secret_mask_phone(struct arena *a, const char *phone);
NODISCARD char *secret_mask_email(struct arena *a, const char *email);
/* Digits only, country prefix 86 and leading + or 00 dropped; for the blind index. */
NODISCARD char *secret_normalise_phone(struct arena *a, const char *phone);

#define TOKEN_HASH_TEXT 65 /* 64 hex digits and a NUL */
/* Keyed BLAKE2b, hex, of an API key's secret part, for storage. */
NODISCARD bool secret_hash_token(const char *token, char out_hex[static TOKEN_HASH_TEXT]);
/* Under the other key; false: there is none. */
bool secret_other_hash_token(const char *token, char out_hex[static TOKEN_HASH_TEXT]);
/* A key of the installation for another purpose ("page"), derived from the master key. Without a
 * master key it is random and holds for this process only. */
void secret_derive(const char *purpose, uint8_t out[static 32]);
/* Of the other master key; false: there is none. */
bool secret_derive_other(const char *purpose, uint8_t out[static 32]);
/* n random bytes as URL-safe base64 without padding. */
NODISCARD char *secret_random_text(struct arena *a, size_t nbytes);

#endif
