/*
 * Signatures of Standard Webhooks: made and judged by the vector of the reference libraries, and
 * every way in which a delivery is not genuine.
 */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/webhook_signature.h"

/* The vector of the Standard Webhooks reference libraries. */
#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define ID "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define STAMP "1614265330"
#define STAMP_S 1614265330
#define BODY "{\"test\": 2432232314}"
#define SIGNATURE "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define OTHER_SECRET "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
/* As long and of the same form. */
#define FORGED "v1,AAAA9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

static void signs_as_the_reference_does(void **state)
{
    (void)state;
    struct arena *a = arena_new(MIB);
    char *text = NULL;
    assert_int_equal(webhook_sign(SECRET, ID, STAMP_S, BODY, strlen(BODY), a, &text), ERR_OK);
    assert_string_equal(text, SIGNATURE);
    arena_free(a);
}

static void refuses_malformed_secrets(void **state)
{
    (void)state;
    static const char *const secrets[] = {
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",       /* no prefix */
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",  /* cut */
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_", /* the other alphabet */
        "whsec_c2hvcnQ=",                         /* 5 bytes */
        "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    };
    struct arena *a = arena_new(MIB);
    assert_true(webhook_secret_is_valid(SECRET));
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        char *text = NULL;
        if (webhook_secret_is_valid(secrets[i]) ||
            webhook_sign(secrets[i], "id", 1, "x", 1, a, &text) != ERR_INVALID_ARGUMENT)
            fail_msg("'%s' was taken", secrets[i]);
    }
    arena_free(a);
}

static void an_id_that_moves_its_end_is_not_signed(void **state)
{
    (void)state;
    struct arena *a = arena_new(MIB);
    char *text = NULL;
    assert_int_equal(webhook_sign(SECRET, "a.1", 1, "x", 1, a, &text), ERR_INVALID_ARGUMENT);
    assert_int_equal(webhook_sign(SECRET, "", 1, "x", 1, a, &text), ERR_INVALID_ARGUMENT);
    arena_free(a);
}

static void judges_each_delivery(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        const char *id, *timestamp, *signature, *body;
        int64_t now_s;
        enum webhook_verdict want;
    } cases[] = {
        { "as sent", ID, STAMP, SIGNATURE, BODY, STAMP_S, WEBHOOK_GENUINE },
        { "second of a list", ID, STAMP, FORGED " " SIGNATURE, BODY, STAMP_S, WEBHOOK_GENUINE },
        { "beside a version that we do not know", ID, STAMP, "v1a,xyz  " SIGNATURE " v2,", BODY,
          STAMP_S, WEBHOOK_GENUINE },
        { "5 minutes old", ID, STAMP, SIGNATURE, BODY, STAMP_S + 300, WEBHOOK_GENUINE },
        { "5 minutes ahead", ID, STAMP, SIGNATURE, BODY, STAMP_S - 300, WEBHOOK_GENUINE },
        { "older", ID, STAMP, SIGNATURE, BODY, STAMP_S + 301, WEBHOOK_STALE },
        { "further ahead", ID, STAMP, SIGNATURE, BODY, STAMP_S - 301, WEBHOOK_STALE },
        { "another body", ID, STAMP, SIGNATURE, BODY " ", STAMP_S, WEBHOOK_FORGED },
        { "no body", ID, STAMP, SIGNATURE, "", STAMP_S, WEBHOOK_FORGED },
        { "another id", "msg_other", STAMP, SIGNATURE, BODY, STAMP_S, WEBHOOK_FORGED },
        { "another time", ID, "1614265331", SIGNATURE, BODY, STAMP_S, WEBHOOK_FORGED },
        { "one character off", ID, STAMP, FORGED, BODY, STAMP_S, WEBHOOK_FORGED },
        { "cut", ID, STAMP, "v1,g0hM9SsE", BODY, STAMP_S, WEBHOOK_FORGED },
        { "without its version", ID, STAMP, SIGNATURE + 3, BODY, STAMP_S, WEBHOOK_FORGED },
        { "of another version", ID, STAMP, "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", BODY,
          STAMP_S, WEBHOOK_FORGED },
        { "only spaces", ID, STAMP, "  ", BODY, STAMP_S, WEBHOOK_FORGED },
        { "no id", NULL, STAMP, SIGNATURE, BODY, STAMP_S, WEBHOOK_INCOMPLETE },
        { "empty id", "", STAMP, SIGNATURE, BODY, STAMP_S, WEBHOOK_INCOMPLETE },
        { "id with a full stop", "a.b", STAMP, SIGNATURE, BODY, STAMP_S, WEBHOOK_INCOMPLETE },
        { "no time", ID, NULL, SIGNATURE, BODY, STAMP_S, WEBHOOK_INCOMPLETE },
        { "time in words", ID, "today", SIGNATURE, BODY, STAMP_S, WEBHOOK_INCOMPLETE },
        { "time before 1970", ID, "-1", SIGNATURE, BODY, STAMP_S, WEBHOOK_INCOMPLETE },
        { "endless time", ID, "99999999999999999999", SIGNATURE, BODY, STAMP_S,
          WEBHOOK_INCOMPLETE },
        { "last time there is", ID, "9223372036854775807", SIGNATURE, BODY, STAMP_S,
          WEBHOOK_FORGED },
        { "no signature", ID, STAMP, NULL, BODY, STAMP_S, WEBHOOK_INCOMPLETE },
        { "empty signature", ID, STAMP, "", BODY, STAMP_S, WEBHOOK_INCOMPLETE },
    };
    const char *const secrets[] = { SECRET };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct webhook_message m = { .id = cases[i].id,
                                     .timestamp = cases[i].timestamp,
                                     .signature = cases[i].signature,
                                     .body = cases[i].body,
                                     .len = strlen(cases[i].body) };
        const char *reason = NULL;
        enum webhook_verdict got = webhook_verify(secrets, 1, &m, cases[i].now_s, &reason);
        if (got != cases[i].want)
            fail_msg("%s: %d, want %d", cases[i].label, got, cases[i].want);
        if ((reason != NULL) != (got != WEBHOOK_GENUINE))
            fail_msg("%s: '%s'", cases[i].label, reason ? reason : "(no reason)");
    }
}

static void two_secrets_are_live_while_one_is_changed(void **state)
{
    (void)state;
    static const struct {
        const char *secrets[2];
        size_t n;
        enum webhook_verdict want;
    } cases[] = {
        { { OTHER_SECRET, SECRET }, 2, WEBHOOK_GENUINE },
        { { SECRET, OTHER_SECRET }, 2, WEBHOOK_GENUINE },
        { { OTHER_SECRET }, 1, WEBHOOK_FORGED },
        { { "whsec_malformed" }, 1, WEBHOOK_FORGED },
        { { NULL }, 0, WEBHOOK_FORGED },
    };
    struct webhook_message m = {
        .id = ID, .timestamp = STAMP, .signature = SIGNATURE, .body = BODY, .len = strlen(BODY)
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *reason;
        assert_int_equal(webhook_verify(cases[i].secrets, cases[i].n, &m, STAMP_S, &reason),
                         cases[i].want);
    }
}

/* What is far ahead of time by a secret that we know: no overflow on the way to stale. */
static void the_last_time_there_is_is_stale(void **state)
{
    (void)state;
    struct arena *a = arena_new(MIB);
    char *text = NULL;
    const char *const secrets[] = { SECRET };
    const char *reason;
    assert_int_equal(webhook_sign(SECRET, ID, INT64_MAX, BODY, strlen(BODY), a, &text), ERR_OK);
    struct webhook_message m = { .id = ID,
                                 .timestamp = "9223372036854775807",
                                 .signature = text,
                                 .body = BODY,
                                 .len = strlen(BODY) };
    assert_int_equal(webhook_verify(secrets, 1, &m, STAMP_S, &reason), WEBHOOK_STALE);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_as_the_reference_does),
        cmocka_unit_test(refuses_malformed_secrets),
        cmocka_unit_test(an_id_that_moves_its_end_is_not_signed),
        cmocka_unit_test(judges_each_delivery),
        cmocka_unit_test(two_secrets_are_live_while_one_is_changed),
        cmocka_unit_test(the_last_time_there_is_is_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
