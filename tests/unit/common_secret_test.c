/* Sealed fields, blind indexes, masks. */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/secret.h"

#define KEY_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_B "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static const struct id tenant_1 = { { 1 } }, tenant_2 = { { 2 } };
static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(8 * MIB);
    return arena && secret_init(KEY_A) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_freep(&arena);
    return 0;
}

/* Stands first: once there, a key stays. */
static void without_a_master_key_nothing_is_done(void **state)
{
    (void)state;
    struct arena *a = arena_new(64 * KIB);
    char index[BLIND_INDEX_TEXT], hash[65], *clear = NULL;
    assert_non_null(a);
    assert_false(secret_ready());
    assert_null(secret_seal(a, tenant_1, "contact.phone:1", "13800138000"));
    assert_int_equal(secret_open(a, tenant_1, "contact.phone:1", "v1:887cb919:Dt5w", &clear),
                     ERR_INTERNAL);
    assert_false(secret_blind_index(tenant_1, "phone", "13800138000", index));
    assert_false(secret_hash_token("secret part", hash));
    arena_free(a);
}

static void a_bad_master_key_is_refused(void **state)
{
    (void)state;
    assert_false(secret_init(NULL));
    assert_false(secret_init(""));
    assert_false(secret_init("00"));
    assert_false(secret_init(KEY_A "00"));
    assert_false(secret_init("zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"));
    assert_false(secret_init("00 102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"));
    assert_true(secret_ready()); /* the good one of setup() stays */
}

static void what_is_sealed_opens_again(void **state)
{
    (void)state;
    static const char *const texts[] = { "x", "13800138000", "王小明", "wx_id with \"quotes\"" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char *clear = NULL;
        char *sealed = secret_seal(arena, tenant_1, "contact.phone:1", texts[i]);
        assert_non_null(sealed);
        assert_int_equal(strncmp(sealed, "v1:", 3), 0);
        if (strlen(texts[i]) > 4) /* one letter may stand in any base64 */
            assert_null(strstr(sealed, texts[i]));
        assert_int_equal(secret_open(arena, tenant_1, "contact.phone:1", sealed, &clear), ERR_OK);
        assert_string_equal(clear, texts[i]);
        /* the same text is never sealed the same way twice */
        assert_string_not_equal(sealed, secret_seal(arena, tenant_1, "contact.phone:1", texts[i]));
    }
}

static void nothing_is_given_back_as_it_is(void **state)
{
    (void)state;
    char *clear = (char[]){ "unset" };
    assert_null(secret_seal(arena, tenant_1, "x", NULL));
    assert_string_equal(secret_seal(arena, tenant_1, "x", ""), "");
    assert_int_equal(secret_open(arena, tenant_1, "x", NULL, &clear), ERR_OK);
    assert_null(clear);
    assert_int_equal(secret_open(arena, tenant_1, "x", "", &clear), ERR_OK);
    assert_string_equal(clear, "");
}

static void a_sealed_value_cannot_be_moved_or_altered(void **state)
{
    (void)state;
    char *clear = NULL;
    char *sealed = secret_seal(arena, tenant_1, "contact.phone:1", "13800138000");
    assert_int_equal(secret_open(arena, tenant_1, "contact.phone:2", sealed, &clear),
                     ERR_DATA_LOSS);
    assert_int_equal(secret_open(arena, tenant_1, "contact.mobile:1", sealed, &clear),
                     ERR_DATA_LOSS);
    assert_int_equal(secret_open(arena, tenant_2, "contact.phone:1", sealed, &clear),
                     ERR_DATA_LOSS);
    for (size_t i = 0; sealed[i]; i++) {
        char *changed = arena_strdup(arena, sealed);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        if (secret_open(arena, tenant_1, "contact.phone:1", changed, &clear) != ERR_DATA_LOSS)
            fail_msg("a change of character %zu goes unseen", i);
        changed[i] = '\0';
        if (i > 0 &&
            secret_open(arena, tenant_1, "contact.phone:1", changed, &clear) != ERR_DATA_LOSS)
            fail_msg("a cut at character %zu goes unseen", i);
    }
    assert_null(clear);
    assert_int_equal(secret_open(arena, tenant_1, "contact.phone:1", "13800138000", &clear),
                     ERR_DATA_LOSS);
}

static void another_master_key_opens_nothing(void **state)
{
    (void)state;
    char *clear = NULL;
    char index_a[BLIND_INDEX_TEXT], index_b[BLIND_INDEX_TEXT];
    char *sealed = secret_seal(arena, tenant_1, "x", "text");
    assert_true(secret_blind_index(tenant_1, "phone", "1", index_a));
    assert_true(secret_init(KEY_B));
    assert_int_equal(secret_open(arena, tenant_1, "x", sealed, &clear), ERR_DATA_LOSS);
    assert_true(secret_blind_index(tenant_1, "phone", "1", index_b));
    assert_string_not_equal(index_a, index_b);
    assert_true(secret_init(KEY_A));
    assert_int_equal(secret_open(arena, tenant_1, "x", sealed, &clear), ERR_OK);
}

/* The last one: the other key stays. */
static void another_key_opens_and_finds_and_proves_too_F56(void **state)
{
    (void)state;
    char *clear = NULL;
    char index[BLIND_INDEX_TEXT], index_before[BLIND_INDEX_TEXT];
    char token[TOKEN_HASH_TEXT], token_before[TOKEN_HASH_TEXT];
    uint8_t derived[32], derived_before[32];

    assert_false(secret_other_blind_index(tenant_1, "phone", "1", index));
    assert_false(secret_other_hash_token("secret part", token));
    assert_false(secret_derive_other("page", derived));
    char *before = secret_seal(arena, tenant_1, "x", "text");
    assert_true(secret_blind_index(tenant_1, "phone", "1", index_before));
    assert_true(secret_hash_token("secret part", token_before));
    secret_derive("page", derived_before);

    assert_false(secret_init_other("00", true));
    assert_true(secret_init(KEY_B));
    assert_false(secret_init_other(KEY_B, true)); /* no other one */
    assert_true(secret_init_other(KEY_A, true));
    assert_true(secret_is_old(before));
    assert_int_equal(secret_open(arena, tenant_1, "x", before, &clear), ERR_OK);
    assert_string_equal(clear, "text");
    assert_int_equal(secret_open(arena, tenant_2, "x", before, &clear), ERR_DATA_LOSS);
    assert_memory_equal(before + 3, secret_old_key_id(), 8);
    char *after = secret_seal(arena, tenant_1, "x", "text");
    assert_memory_equal(after + 3, secret_key_id(), 8);
    assert_string_not_equal(secret_key_id(), secret_old_key_id());
    assert_int_equal(secret_open(arena, tenant_1, "x", after, &clear), ERR_OK);
    assert_false(secret_is_old(after));
    assert_false(secret_is_old(""));
    assert_false(secret_is_old(NULL));

    assert_true(secret_other_blind_index(tenant_1, "phone", "1", index));
    assert_string_equal(index, index_before);
    assert_true(secret_other_hash_token("secret part", token));
    assert_string_equal(token, token_before);
    assert_true(secret_derive_other("page", derived));
    assert_memory_equal(derived, derived_before, 32);

    assert_true(secret_init_other(KEY_A, false));
    assert_string_equal(secret_old_key_id(), ""); /* the next one: nothing is changed for it */
    assert_false(secret_is_old(before));
}

static void without_memory_it_fails_cleanly(void **state)
{
    (void)state;
    char *clear = NULL;
    char *sealed = secret_seal(arena, tenant_1, "x", "text");
    CLEANUP(arena_freep) struct arena *none = arena_new(0);
    assert_null(secret_seal(none, tenant_1, "x", "text"));
    assert_int_equal(secret_open(none, tenant_1, "x", sealed, &clear), ERR_RESOURCE_EXHAUSTED);
    assert_null(secret_mask_phone(none, "13800138000"));
    assert_null(secret_random_text(none, 32));
}

static void a_blind_index_tells_equal_from_unequal(void **state)
{
    (void)state;
    char a[BLIND_INDEX_TEXT], b[BLIND_INDEX_TEXT];
    assert_true(secret_blind_index(tenant_1, "phone", "13800138000", a));
    assert_int_equal(strlen(a), 32);
    assert_int_equal(strspn(a, "0123456789abcdef"), 32);
    assert_true(secret_blind_index(tenant_1, "phone", "13800138000", b));
    assert_string_equal(a, b);
    assert_true(secret_blind_index(tenant_1, "phone", "13800138001", b));
    assert_string_not_equal(a, b);
    assert_true(secret_blind_index(tenant_1, "email", "13800138000", b));
    assert_string_not_equal(a, b);
    assert_true(secret_blind_index(tenant_2, "phone", "13800138000", b));
    assert_string_not_equal(a, b);
    assert_true(secret_blind_index(tenant_1, "phon", "e13800138000", b));
    assert_string_not_equal(a, b);
}

static void phones_are_normalised(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "13800138000", "13800138000" },
        { "+8613800138000", "13800138000" },
        { "+86 138-0013-8000", "13800138000" },
        { "(0086) 138 0013 8000", "13800138000" },
        { "8613800138000", "13800138000" },
        { "＋８６１３８００１３８０００", "13800138000" },
        { "010-8888 6666", "01088886666" },
        { "86001234", "86001234" }, /* a local number that begins with 86 */
        { "+1 (415) 555-0100", "14155550100" },
        { "0044 20 7946 0000", "442079460000" },
        { "", "" },
        { "no digits", "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(secret_normalise_phone(arena, cases[i][0]), cases[i][1]);
    assert_null(secret_normalise_phone(arena, NULL));
}

static void masks_show_the_ends_only(void **state)
{
    (void)state;
    static const char *const phones[][2] = {
        { "13800131234", "138****1234" },
        { "+86 138 0013 1234", "138****1234" },
        { "88886666", "88****66" },
        { "1234567", "****" },
        { "1", "****" },
        { "", "****" },
    };
    static const char *const emails[][2] = {
        { "anna@example.com", "a***@example.com" },
        { "a@example.com", "a***@example.com" },
        { "王小明@example.com", "王***@example.com" },
        { "@example.com", "***@example.com" },
        { "a@b@example.com", "a***@example.com" },
        { "nobody", "***" },
        { "", "***" },
    };
    for (size_t i = 0; i < ARRAY_LEN(phones); i++)
        assert_string_equal(secret_mask_phone(arena, phones[i][0]), phones[i][1]);
    for (size_t i = 0; i < ARRAY_LEN(emails); i++)
        assert_string_equal(secret_mask_email(arena, emails[i][0]), emails[i][1]);
    assert_null(secret_mask_phone(arena, NULL));
    assert_null(secret_mask_email(arena, NULL));
}

static void tokens_hash_the_same_way_each_time(void **state)
{
    (void)state;
    char a[65], b[65];
    assert_true(secret_hash_token("secret part", a));
    assert_true(secret_hash_token("secret part", b));
    assert_string_equal(a, b);
    assert_int_equal(strlen(a), 64);
    assert_true(secret_hash_token("secret parT", b));
    assert_string_not_equal(a, b);
}

static void random_texts_fit_into_urls(void **state)
{
    (void)state;
    char *a = secret_random_text(arena, 32);
    assert_int_equal(strlen(a), 43);
    assert_int_equal(strspn(a, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                     43);
    assert_string_not_equal(a, secret_random_text(arena, 32));
}

/* What is in the database must open after an upgrade: the derivation never changes. */
static void a_value_of_an_earlier_release_opens(void **state)
{
    (void)state;
    char *clear = NULL;
    char index[BLIND_INDEX_TEXT];
    assert_int_equal(
        secret_open(
            arena, tenant_1, "contact.phone:1",
            "v1:887cb919:Dt5w0ivAYmfCIOhSC2nqq5VdUqlUBXdqOew3TGSuxZJm_2zTDgvLNp6gvlTWBGiOFXxI",
            &clear),
        ERR_OK);
    assert_string_equal(clear, "13800138000");
    assert_true(secret_blind_index(tenant_1, "phone", "13800138000", index));
    assert_string_equal(index, "0a815fdb7ea6dd9b74b9ddfbd0182881");
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_master_key_nothing_is_done),
        CASE(a_bad_master_key_is_refused),
        CASE(what_is_sealed_opens_again),
        CASE(nothing_is_given_back_as_it_is),
        CASE(a_sealed_value_cannot_be_moved_or_altered),
        CASE(another_master_key_opens_nothing),
        CASE(without_memory_it_fails_cleanly),
        CASE(a_blind_index_tells_equal_from_unequal),
        CASE(phones_are_normalised),
        CASE(masks_show_the_ends_only),
        CASE(tokens_hash_the_same_way_each_time),
        CASE(random_texts_fit_into_urls),
        CASE(a_value_of_an_earlier_release_opens),
        CASE(another_key_opens_and_finds_and_proves_too_F56),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
