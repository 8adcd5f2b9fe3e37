/*
 * fuzz_webhook.c - any bytes as a webhook: three lines are its headers (empty: missing), the rest is
 * its body.
 *
 * It is taken for genuine only where a header of it is what we would sign, at a time that is near;
 * and what we sign is genuine.
 */
#include <assert.h>

#include "common/base.h"
#include "common/num.h"
#include "common/webhook_signature.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define NOW_S 1614265330

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The next line; NULL: empty. */
static const char *take_line(struct arena *a, const uint8_t **data, size_t *len)
{
    const uint8_t *end = memchr(*data, '\n', *len);
    size_t n = end ? (size_t)(end - *data) : *len;
    const char *line = arena_strndup(a, (const char *)*data, n);

    assert(line);
    *data += n + (end != NULL);
    *len -= n + (end != NULL);
    return *line ? line : NULL;
}

static enum webhook_verdict judge(const struct webhook_message *m)
{
    const char *const secrets[] = { SECRET };
    const char *reason = NULL;
    enum webhook_verdict v = webhook_verify(secrets, 1, m, NOW_S, &reason);

    assert((v == WEBHOOK_GENUINE) == (reason == NULL));
    return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct arena *a = arena_new(MIB);
    assert(a);
    struct webhook_message m = { .id = take_line(a, &data, &len) };
    m.timestamp = take_line(a, &data, &len);
    m.signature = take_line(a, &data, &len);
    m.body = data;
    m.len = len;

    char *own = NULL;
    int64_t at_s;
    enum webhook_verdict got = judge(&m);
    bool plain = m.id && m.timestamp && num_i64(m.timestamp, 0, INT64_MAX, &at_s) &&
                 webhook_sign(SECRET, m.id, at_s, m.body, m.len, a, &own) == ERR_OK &&
                 (m.timestamp[0] != '0' || !m.timestamp[1]) && m.timestamp[0] != '-';
    if (got == WEBHOOK_GENUINE && plain)
        assert(strstr(m.signature, own));
    if (plain) {
        bool near = at_s >= NOW_S - WEBHOOK_TOLERANCE_S && at_s <= NOW_S + WEBHOOK_TOLERANCE_S;
        m.signature = own;
        assert(judge(&m) == (near ? WEBHOOK_GENUINE : WEBHOOK_STALE));
    }
    arena_free(a);
    return 0;
}
