/* Who asks: keys, tokens, people who have left, companies that are not theirs, addresses, failures (F56, F61,
 * operations 8 and 5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/directory_build.h"
#include "common/secret.h"
#include "services/gateway/identity/forwarded.h"
#include "services/gateway/identity/identity.h"
#include "tests/support/folder.h"
#include "tests/unit/gateway_tokens.h"

#define MASTER "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define OFFICE "10.1.2.3"

enum {
    COMPANY = 1,
    OTHER,
    HQ,
    GM,
    REP,
    LEAVER,
    ERP,
    KEY_ERP,
    KEY_REP,
    KEY_LEAVER,
    KEY_OLD,
    KEY_OFFICE
};

struct fixture {
    struct arena *arena;
    struct issuer issuer;
    char folder[FOLDER_MAX];
    struct jwks_source *keys;
    struct limit *failures;
    struct identity_config config;
    struct identity *identity;
};

static struct id id_of(unsigned n)
{
    return (struct id){ { 1, [6] = 0x70, [8] = 0x80, [15] = (uint8_t)n } };
}

static const char *text_of(struct fixture *f, unsigned n)
{
    char *text = arena_alloc(f->arena, ID_TEXT_MAX);
    return id_text(id_of(n), text);
}

/* --- the directory ------------------------------------------------------------------------------ */

static void add_person(struct directory_builder *b, unsigned company, unsigned who,
                       const char *number, const char *roles, bool left)
{
    directory_builder_add_employee(b, id_of(company),
                                   &(struct directory_employee_in){ .id = id_of(who),
                                                                    .unit = id_of(HQ),
                                                                    .employee_no = number,
                                                                    .name = number,
                                                                    .roles = roles,
                                                                    .inactive = left });
}

static void add_key(struct directory_builder *b, unsigned key, unsigned actor, bool is_employee,
                    const char *scopes, const char *networks, int64_t expires_at_us)
{
    char hash[65];

    assert_true(secret_hash_token("secret", hash));
    directory_builder_add_key(b,
                              &(struct dir_key){ .credential = id_of(key),
                                                 .tenant = id_of(COMPANY),
                                                 .actor = id_of(actor),
                                                 .is_employee = is_employee,
                                                 .secret_hash = hash,
                                                 .networks = networks,
                                                 .expires_at_us = expires_at_us },
                              scopes);
}

static void publish(const char *roles_of_gm)
{
    struct directory_builder *b = directory_builder_new();

    assert_non_null(b);
    for (unsigned company = COMPANY; company <= OTHER; company++) {
        directory_builder_add_tenant(b, id_of(company), "Company", "Asia/Shanghai", "CNY");
        directory_builder_add_unit(
            b, id_of(company),
            &(struct directory_unit_in){ .id = id_of(HQ), .code = "HQ", .name = "HQ" });
    }
    add_person(b, COMPANY, GM, "E001", roles_of_gm, false);
    add_person(b, COMPANY, REP, "E006", "rep", false);
    add_person(b, COMPANY, LEAVER, "E007", "rep", true);
    add_person(b, OTHER, ERP, "X001", "rep", false);
    add_key(b, KEY_ERP, ERP, false, "customers.read,events.read", "", 0);
    add_key(b, KEY_REP, REP, true, "", NULL, 0);
    add_key(b, KEY_LEAVER, LEAVER, true, "", NULL, 0);
    add_key(b, KEY_OLD, ERP, false, "customers.read", NULL, clock_wall_us() - 1);
    add_key(b, KEY_OFFICE, ERP, false, "customers.read", "10.1.0.0/16,2001:db8::/32", 0);
    const struct directory *d = directory_builder_finish(b);
    assert_non_null(d);
    directory_set_for_tests(d);
}

static int set_up(void **state)
{
    static struct fixture f;
    const char *reason = NULL;

    memset(&f, 0, sizeof(f));
    f.arena = arena_new(16 * MIB);
    assert_true(secret_init(MASTER));
    issuer_init(&f.issuer, f.arena);
    folder_make(f.folder, "daybook-identity-");
    char *path = arena_printf(f.arena, "%s/keys.json", f.folder);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fprintf(out, "{\"keys\":[%s]}", f.issuer.jwk);
    assert_int_equal(fclose(out), 0);
    f.keys = jwks_source_new(path, "", MINUTE_US, &reason);
    assert_non_null(f.keys);
    publish("general_manager");
    f.config = (struct identity_config){ .keys = f.keys,
                                         .rules = { .issuer = "https://idp.example",
                                                    .audience = "daybook",
                                                    .tenant_claim = "tenant",
                                                    .subject_claim = "sub",
                                                    .scope_claim = "scope" } };
    f.identity = identity_new(&f.config);
    *state = &f;
    return f.identity ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    identity_free(f->identity);
    limit_free(f->failures);
    jwks_source_free(f->keys);
    directory_set_for_tests(NULL);
    folder_remove(f->folder);
    arena_free(f->arena);
    return 0;
}

/* Another identity with what the test has changed in its configuration. */
static void configure(struct fixture *f)
{
    identity_free(f->identity);
    f->identity = identity_new(&f->config);
    assert_non_null(f->identity);
}

/* --- asking ------------------------------------------------------------------------------------- */

static enum err ask_from(struct fixture *f, const char *address, const char *authorization,
                         struct proof *out, struct refusal *refusal)
{
    struct asker who = { .authorization = authorization };

    assert_true(http_ip_parse(address, &who.from));
    *out = (struct proof){ 0 };
    enum err e = identity_prove(f->identity, &who, f->arena, out, refusal);
    if ((e == ERR_OK) != (out->principal != NULL) || (e && !refusal->text))
        fail_msg("%s: %d", authorization, e);
    return e;
}

static enum err ask(struct fixture *f, const char *authorization, struct proof *out)
{
    struct refusal refusal;
    return ask_from(f, OFFICE, authorization, out, &refusal);
}

static const char *key_text(struct fixture *f, unsigned key)
{
    return arena_printf(f->arena, "Bearer dbk_%s_secret", text_of(f, key));
}

/* more: further claims, beginning with a comma. */
static const char *token_of(struct fixture *f, const char *tenant, const char *subject,
                            const char *more)
{
    char *claims =
        arena_printf(f->arena,
                     "{\"iss\":\"https://idp.example\",\"aud\":\"daybook\",\"exp\":%" PRId64
                     ",\"tenant\":\"%s\",\"sub\":\"%s\"%s}",
                     clock_wall_us() / SECOND_US + 300, tenant, subject, more);
    return arena_printf(f->arena, "Bearer %s",
                        issuer_sign(&f->issuer, f->arena,
                                    "{\"alg\":\"EdDSA\",\"kid\":\"" ISSUER_KID "\"}", claims));
}

/* --- tests: keys -------------------------------------------------------------------------------- */

static void a_key_is_its_account_or_its_employee(void **state)
{
    struct fixture *f = *state;
    struct proof proof;

    assert_int_equal(ask(f, key_text(f, KEY_ERP), &proof), ERR_OK);
    assert_int_equal(proof.principal->kind, DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE);
    assert_string_equal(proof.principal->tenant_id, text_of(f, COMPANY));
    assert_string_equal(proof.principal->actor_id, text_of(f, ERP));
    assert_int_equal(proof.principal->n_scopes, 2);
    assert_int_equal(proof.principal->n_roles, 0);
    assert_true(id_equal(proof.holder, id_of(KEY_ERP)));

    assert_int_equal(ask(f, key_text(f, KEY_REP), &proof), ERR_OK);
    assert_int_equal(proof.principal->kind, DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE);
    assert_string_equal(proof.principal->roles[0], "rep");
    assert_int_equal(proof.principal->n_scopes, 0);

    assert_int_equal(ask(f, key_text(f, KEY_LEAVER), &proof), ERR_UNAUTHENTICATED);
    assert_int_equal(ask(f, key_text(f, KEY_OLD), &proof), ERR_UNAUTHENTICATED);
    assert_int_equal(ask(f, key_text(f, 99), &proof), ERR_UNAUTHENTICATED);
    static const char *const bad[] = {
        "",    "Bearer",      "Bearer ",  "Basic dXNlcjpwdw==",
        "dbk", "Bearer dbk_", "Bearer x", "Bearer dbk_00000000-0000"
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(ask(f, bad[i], &proof), ERR_UNAUTHENTICATED);
    assert_int_equal(ask(f, arena_printf(f->arena, "%sx", key_text(f, KEY_ERP)), &proof),
                     ERR_UNAUTHENTICATED);
    directory_set_for_tests(NULL);
    assert_int_equal(ask(f, key_text(f, KEY_ERP), &proof), ERR_UNAVAILABLE);
}

static void a_key_with_networks_is_taken_from_there_only(void **state)
{
    struct fixture *f = *state;
    struct proof proof;
    struct refusal refusal;
    static const struct {
        const char *from;
        enum err want;
    } cases[] = { { "10.1.255.1", ERR_OK },
                  { "::ffff:10.1.255.1", ERR_OK },
                  { "2001:db8:1::1", ERR_OK },
                  { "10.2.0.1", ERR_PERMISSION_DENIED },
                  { "2001:db9::1", ERR_PERMISSION_DENIED },
                  { "127.0.0.1", ERR_PERMISSION_DENIED } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (ask_from(f, cases[i].from, key_text(f, KEY_OFFICE), &proof, &refusal) != cases[i].want)
            fail_msg("%s", cases[i].from);
    struct asker nowhere = { .authorization = key_text(f, KEY_OFFICE) };
    assert_int_equal(identity_prove(f->identity, &nowhere, f->arena, &proof, &refusal),
                     ERR_PERMISSION_DENIED);
}

/* --- tests: tokens ------------------------------------------------------------------------------ */

static void a_token_is_an_employee_with_the_roles_of_the_directory_F61(void **state)
{
    struct fixture *f = *state;
    const char *company = text_of(f, COMPANY), *other = text_of(f, OTHER);
    struct proof proof;

    assert_int_equal(
        ask(f, token_of(f, company, "E006", ",\"roles\":[\"general_manager\"]"), &proof), ERR_OK);
    assert_int_equal(proof.principal->kind, DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE);
    assert_string_equal(proof.principal->tenant_id, company);
    assert_string_equal(proof.principal->actor_id, text_of(f, REP));
    assert_int_equal(proof.principal->n_roles, 1);
    assert_string_equal(proof.principal->roles[0], "rep");
    assert_int_equal(proof.principal->n_scopes, 0);
    struct id holder = proof.holder;
    assert_int_equal(ask(f, token_of(f, company, text_of(f, REP), ""), &proof), ERR_OK);
    assert_string_equal(proof.principal->actor_id, text_of(f, REP));
    assert_true(id_equal(proof.holder, holder)); /* one limit, however he is called */

    /* Of another company there is no such person; nor is there such a company. */
    assert_int_equal(ask(f, token_of(f, other, "E006", ""), &proof), ERR_UNAUTHENTICATED);
    assert_int_equal(ask(f, token_of(f, other, text_of(f, REP), ""), &proof), ERR_UNAUTHENTICATED);
    assert_int_equal(ask(f, token_of(f, text_of(f, 77), "E006", ""), &proof), ERR_UNAUTHENTICATED);
    assert_int_equal(ask(f, token_of(f, "", "E006", ""), &proof), ERR_UNAUTHENTICATED);
    assert_int_equal(ask(f, token_of(f, "x", "E006", ""), &proof), ERR_UNAUTHENTICATED);
    assert_int_equal(ask(f, token_of(f, company, "E007", ""), &proof),
                     ERR_UNAUTHENTICATED); /* has left */
    assert_int_equal(ask(f, token_of(f, company, "", ""), &proof), ERR_UNAUTHENTICATED);
    assert_int_equal(ask(f, token_of(f, company, text_of(f, ERP), ""), &proof),
                     ERR_UNAUTHENTICATED);

    assert_int_equal(ask(f, token_of(f, company, "E001", ""), &proof), ERR_OK);
    assert_string_equal(proof.principal->roles[0], "general_manager");
    publish("rep"); /* the same token from now on */
    assert_int_equal(ask(f, token_of(f, company, "E001", ""), &proof), ERR_OK);
    assert_string_equal(proof.principal->roles[0], "rep");
}

static void scopes_of_a_token_narrow_it(void **state)
{
    struct fixture *f = *state;
    const char *company = text_of(f, COMPANY);
    struct proof proof;

    assert_int_equal(
        ask(f, token_of(f, company, "E006", ",\"scope\":\"openid customers.read edge\""), &proof),
        ERR_OK);
    assert_int_equal(proof.principal->n_scopes, 1); /* "edge" is nobody's to give */
    assert_string_equal(proof.principal->scopes[0], "customers.read");
    /* Nothing of ours must not come to mean everything. */
    assert_int_equal(ask(f, token_of(f, company, "E006", ",\"scope\":\"openid edge\""), &proof),
                     ERR_PERMISSION_DENIED);
    assert_int_equal(ask(f, token_of(f, company, "E006", ",\"scope\":\"\""), &proof),
                     ERR_PERMISSION_DENIED);
    f->config.rules.scope_claim = "";
    configure(f);
    assert_int_equal(ask(f, token_of(f, company, "E006", ",\"scope\":\"openid\""), &proof), ERR_OK);
    assert_int_equal(proof.principal->n_scopes, 0);
}

static void tokens_may_all_be_of_one_company_F61(void **state)
{
    struct fixture *f = *state;
    struct proof proof;

    f->config.tenant = id_of(COMPANY);
    configure(f);
    assert_int_equal(ask(f, token_of(f, "", "E006", ""), &proof), ERR_OK);
    assert_string_equal(proof.principal->tenant_id, text_of(f, COMPANY));
    assert_int_equal(ask(f, token_of(f, text_of(f, COMPANY), "E006", ""), &proof), ERR_OK);
    assert_int_equal(ask(f, token_of(f, text_of(f, OTHER), "X001", ""), &proof),
                     ERR_UNAUTHENTICATED);
}

static void without_keys_no_token_is_taken(void **state)
{
    struct fixture *f = *state;
    struct proof proof;
    struct refusal refusal;
    const char *token = token_of(f, text_of(f, COMPANY), "E006", "");

    f->config.keys = NULL;
    configure(f);
    assert_int_equal(ask(f, token, &proof), ERR_UNAUTHENTICATED);
    assert_int_equal(ask(f, key_text(f, KEY_ERP), &proof), ERR_OK);

    const char *reason = NULL;
    struct jwks_source *none = jwks_source_new("/nowhere/keys.json", "", MINUTE_US, &reason);
    f->config.keys = none;
    configure(f);
    assert_int_equal(ask_from(f, OFFICE, token, &proof, &refusal), ERR_UNAVAILABLE);
    assert_true(refusal.wait_us > 0);
    jwks_source_free(none);
}

/* --- tests: failures ---------------------------------------------------------------------------- */

static void an_address_that_guesses_is_told_to_wait(void **state)
{
    struct fixture *f = *state;
    struct proof proof;
    struct refusal refusal;
    char *guess = arena_printf(f->arena, "%sx", key_text(f, KEY_ERP));
    char *expired = arena_strdup(f->arena, key_text(f, KEY_OLD));

    f->config.failures = f->failures = limit_new(10, MINUTE_US, 10);
    configure(f);
    for (int i = 0; i < 50; i++) { /* a success does not count, nor what is genuine */
        assert_int_equal(ask(f, key_text(f, KEY_ERP), &proof), ERR_OK);
        assert_int_equal(ask(f, expired, &proof), ERR_UNAUTHENTICATED);
        assert_int_equal(ask(f, NULL, &proof), ERR_UNAUTHENTICATED);
    }
    char *unknown = arena_printf(
        f->arena, "Bearer %s",
        issuer_sign(&f->issuer, f->arena, "{\"alg\":\"EdDSA\",\"kid\":\"new\"}", "{}"));
    assert_int_equal(ask(f, unknown, &proof), ERR_UNAVAILABLE); /* is being looked for */
    jwks_source_turn(f->keys);
    for (int i = 0; i < 50; i++)
        assert_int_equal(ask(f, unknown, &proof), ERR_UNAUTHENTICATED);
    for (int i = 0; i < 10; i++)
        assert_int_equal(ask_from(f, OFFICE, guess, &proof, &refusal), ERR_UNAUTHENTICATED);
    assert_int_equal(ask_from(f, OFFICE, guess, &proof, &refusal), ERR_RESOURCE_EXHAUSTED);
    assert_true(refusal.wait_us > 0 && refusal.wait_us <= 6 * SECOND_US);
    assert_int_equal(ask(f, key_text(f, KEY_ERP), &proof), ERR_OK); /* his neighbours are let in */
    assert_int_equal(ask_from(f, "10.1.2.4", key_text(f, KEY_ERP), &proof, &refusal), ERR_OK);

    char *forged = arena_strdup(f->arena, token_of(f, text_of(f, COMPANY), "E006", ""));
    forged[strlen(forged) - 9] ^= 1;
    for (int i = 0; i < 10; i++) /* of IPv6 the site counts, not which of its addresses */
        assert_int_equal(
            ask_from(f, arena_printf(f->arena, "2001:db8::%x", i + 1), forged, &proof, &refusal),
            ERR_UNAUTHENTICATED);
    assert_int_equal(ask_from(f, "2001:db8::ffff", forged, &proof, &refusal),
                     ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(ask_from(f, "2001:db8:0:1::1", forged, &proof, &refusal), ERR_UNAUTHENTICATED);
}

/* --- tests: addresses --------------------------------------------------------------------------- */

static void the_client_is_whom_our_last_proxy_heard(void **state)
{
    static const struct {
        const char *trusted, *peer, *list, *want; /* want NULL: not known */
    } cases[] = {
        { "", "192.0.2.1", NULL, "192.0.2.1" },
        { "", "192.0.2.1", "10.0.0.1", "192.0.2.1" }, /* nobody who is believed */
        { "10.0.0.0/8", "10.0.0.9", NULL, "10.0.0.9" },
        { "10.0.0.0/8", "10.0.0.9", "192.0.2.1", "192.0.2.1" },
        { "10.0.0.0/8", "10.0.0.9", "203.0.113.7, 192.0.2.1",
          "192.0.2.1" }, /* said by the client */
        { "10.0.0.0/8", "10.0.0.9", "192.0.2.1,10.0.0.8", "192.0.2.1" },
        { "10.0.0.0/8", "10.0.0.9", "10.0.0.7,10.0.0.8", "10.0.0.7" },
        { "10.0.0.0/8", "10.0.0.9", "nonsense, 192.0.2.1", "192.0.2.1" },
        { "10.0.0.0/8", "10.0.0.9", "192.0.2.1, nonsense", NULL },
        { "10.0.0.0/8", "10.0.0.9", "192.0.2.1,", NULL },
        { "10.0.0.0/8", "10.0.0.9", ",", NULL },
        { "10.0.0.0/8", "10.0.0.9", "192.0.2.1:443", NULL },
        { "10.0.0.0/8", "10.0.0.9", "unknown", NULL },
        { "10.0.0.0/8", "10.0.0.9", "\t192.0.2.1 ", "192.0.2.1" },
        { "10.0.0.0/8", "::ffff:10.0.0.9", "192.0.2.1", "192.0.2.1" },
        { "fe80::/10", "fe80::1%eth0", "2001:db8::1", "2001:db8::1" },
        { "127.0.0.1", "127.0.0.1", "::ffff:192.0.2.1", "192.0.2.1" },
        { "127.0.0.1", "", "192.0.2.1", NULL },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_networks *trusted = http_networks_new(cases[i].trusted);
        struct http_ip got = forwarded_client(trusted, cases[i].peer, cases[i].list), want = { 0 };
        if (cases[i].want)
            assert_true(http_ip_parse(cases[i].want, &want));
        if (got.family != want.family || memcmp(got.bytes, want.bytes, 16) != 0)
            fail_msg("%s by %s", cases[i].list, cases[i].peer);
        http_networks_free(trusted);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_key_is_its_account_or_its_employee),
        T(a_key_with_networks_is_taken_from_there_only),
        T(a_token_is_an_employee_with_the_roles_of_the_directory_F61),
        T(scopes_of_a_token_narrow_it),
        T(tokens_may_all_be_of_one_company_F61),
        T(without_keys_no_token_is_taken),
        T(an_address_that_guesses_is_told_to_wait),
        cmocka_unit_test(the_client_is_whom_our_last_proxy_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
