/*
 * webhook_signature.h - signatures of Standard Webhooks 1.0, symmetric (v1): made by a sender,
 * judged by a receiver (protocols D.1). Pure; any thread.
 *
 * What is signed is "<id>.<timestamp>.<body>", the body exactly as sent. A secret is "whsec_" and
 * the base64 of 24 to 64 bytes. While it is changed, both are live: the header then has a signature
 * by each, parted by a space, and a receiver may know either or both.
 */
#ifndef DAYBOOK_COMMON_WEBHOOK_SIGNATURE_H
#define DAYBOOK_COMMON_WEBHOOK_SIGNATURE_H

#include "common/arena.h"
#include "common/err.h"

/* How far the clocks of sender and receiver may be apart, either way; older is a replay. */
#define WEBHOOK_TOLERANCE_S 300

/* False: malformed. */
NODISCARD bool webhook_secret_is_valid(const char *secret);

/* A new one, of 32 random bytes; NULL when the arena is full. */
NODISCARD char *webhook_new_secret(struct arena *a);

/* "v1,<base64 HMAC-SHA256>". id: without a full stop, which would move its end.
 * ERR_INVALID_ARGUMENT: malformed secret or id; ERR_RESOURCE_EXHAUSTED: the arena is full. */
NODISCARD enum err webhook_sign(const char *secret, const char *id, int64_t timestamp_s,
                                const void *body, size_t len, struct arena *a, char **out);

/* What came, as its headers say it; NULL: the header is missing. */
struct webhook_message {
    const char *id;        /* webhook-id */
    const char *timestamp; /* webhook-timestamp: Unix seconds of the attempt, digits */
    const char *signature; /* webhook-signature: "version,signature ..." */
    const void *body;
    size_t len;
};

enum webhook_verdict {
    WEBHOOK_GENUINE,
    WEBHOOK_INCOMPLETE, /* a header is missing, empty or malformed */
    WEBHOOK_STALE,      /* the timestamp is too far off */
    WEBHOOK_FORGED,     /* no signature of the list is by one of the secrets */
};

/*
 * Judges a delivery. secrets: as many as nsecrets, well-formed; a malformed one matches nothing.
 * now_s: Unix seconds. Versions that are not known are passed over. A message that is genuine may
 * still be a repetition: receivers remember the ids that they have handled. reason_out: what is
 * wrong, for people; static; set unless genuine.
 */
NODISCARD enum webhook_verdict webhook_verify(const char *const *secrets, size_t nsecrets,
                                              const struct webhook_message *m, int64_t now_s,
                                              const char **reason_out);

#endif
