/*
 * Keys of people and programs: made, shown once, admitted, refused, listed.
 */
#include "tests/integration/directory_fixture.h"

/* --- tests: credentials ----------------------------------------------------------------------- */

static const char z85_one[] = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
static const char z85_two[] = "%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0";

static bool admits(const struct directory *d, struct id tenant, const void *z85)
{
    const struct dir_key *k = directory_key(d, z85);
    return k && id_equal(k->tenant, tenant);
}

static bool refuses(const struct directory *d, struct id tenant, const void *z85)
{
    return !admits(d, tenant, z85);
}

static void an_api_key_is_shown_once_and_kept_as_a_hash(void **state)
{
    (void)state;
    struct id t = small_company();
    static const char request[] = "{\"label\":\"ERP\",\"scopes\":[\"customers.read\"]}";
    struct reply first = say_again("key", system_of(t), CREDENTIAL, "CreateApiKey", request);
    const Daybook__Directory__V1__CreateApiKeyResponse *r = fine(first);
    char prefix[64], hash[65];
    int n = snprintf(prefix, sizeof(prefix), "dbk_%s_", r->credential->id);
    assert_memory_equal(r->api_key, prefix, (size_t)n);
    const char *secret = r->api_key + n;
    assert_int_equal(strlen(secret), 43); /* 32 bytes */
    assert_true(secret_hash_token(secret, hash));
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM directory.credential WHERE secret_hash = '%s'", hash),
        1);
    /* Nowhere else: not in the record of the command, not in the event. */
    assert_int_equal(number_of("SELECT count(*) AS n FROM directory.idempotency"
                               " WHERE position('%s'::bytea IN reply) > 0",
                               secret),
                     0);
    assert_int_equal(number_of("SELECT count(*) AS n FROM bus.outbox"
                               " WHERE position('%s'::bytea IN payload) > 0",
                               secret),
                     0);
    struct reply again = say_again("key", system_of(t), CREDENTIAL, "CreateApiKey", request);
    const Daybook__Directory__V1__CreateApiKeyResponse *empty = fine(again);
    assert_string_equal(empty->api_key, "");
    assert_string_equal(reply_metadata(&again, "idempotent-reply"), "withheld");
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM directory.credential WHERE tenant_id = '%s'",
                  text_of(t)),
        1);

    expect("by the method for CURVE keys",
           say(system_of(t), CREDENTIAL, "RevokeCurveKey", "{\"id\":\"%s\"}", r->credential->id),
           ERR_NOT_FOUND, NULL);
    const Daybook__Directory__V1__RevokeApiKeyResponse *revoked =
        fine(say(system_of(t), CREDENTIAL, "RevokeApiKey", "{\"id\":\"%s\"}", r->credential->id));
    assert_non_null(revoked->credential->revoked_at);
}

static void curve_keys_are_admitted_and_refused_at_once(void **state)
{
    (void)state;
    struct id t = small_company(), other = small_company();
#define REGISTER                                                                                   \
    "{\"employeeId\":\"%s\",\"label\":\"laptop\",\"scopes\":[\"%s\"],\"curvePublicKey\":\"%s\"}"
    const char *rep = text_of(person_of(REP));
    const Daybook__Directory__V1__RegisterCurveKeyResponse *r = fine(say(
        system_of(t), CREDENTIAL, "RegisterCurveKey", REGISTER, rep, "customers.read", z85_one));
    assert_string_equal(r->credential->actor_id, rep);
    assert_true(wait_for_snapshot(admits, t, z85_one) < slack(2 * SECOND_US));
    CLEANUP(directory_releasep) const struct directory *d = directory_acquire();
    const struct dir_key *key = directory_key(d, z85_one);
    assert_true(key->is_employee && id_equal(key->actor, person_of(REP)));
    assert_string_equal(key->scopes[0], "customers.read");

    expect("a second time, elsewhere",
           say(system_of(other), CREDENTIAL, "RegisterCurveKey", REGISTER, "", "customers.read",
               z85_one),
           ERR_ALREADY_EXISTS, NULL);
    expect("no key",
           say(system_of(t), CREDENTIAL, "RegisterCurveKey", REGISTER, "", "a.b", "short"),
           ERR_INVALID_ARGUMENT, "curve_public_key");
    expect("no scope",
           say(system_of(t), CREDENTIAL, "RegisterCurveKey", REGISTER, "", "All", z85_two),
           ERR_INVALID_ARGUMENT, "scopes[0]");
    expect("nobody",
           say(system_of(t), CREDENTIAL, "RegisterCurveKey", REGISTER, text_of(person_of(77)),
               "a.b", z85_two),
           ERR_NOT_FOUND, NULL);
    expect("expired",
           say(system_of(t), CREDENTIAL, "RegisterCurveKey",
               "{\"label\":\"x\",\"curvePublicKey\":\"%s\","
               "\"expiresAt\":\"2020-01-01T00:00:00Z\"}",
               z85_two),
           ERR_FAILED_PRECONDITION, NULL);
    static const char *const limited[] = { "credentials.write", "customers.read", NULL };
    expect("more than it has",
           say(service_of(t, limited), CREDENTIAL, "RegisterCurveKey", REGISTER, "", "tenant.all",
               z85_two),
           ERR_PERMISSION_DENIED, NULL);

    expect("a person's roles",
           say(service_of(t, limited), CREDENTIAL, "RegisterCurveKey",
               "{\"employeeId\":\"%s\",\"label\":\"x\",\"curvePublicKey\":\"%s\"}",
               text_of(person_of(1)), z85_two),
           ERR_PERMISSION_DENIED, NULL);
    expect("a person's sight, by scopes that it has",
           say(service_of(t, limited), CREDENTIAL, "RegisterCurveKey", REGISTER,
               text_of(person_of(GM)), "customers.read", z85_two),
           ERR_PERMISSION_DENIED, NULL);
    expect("the same by an API key",
           say(service_of(t, limited), CREDENTIAL, "CreateApiKey",
               "{\"employeeId\":\"%s\",\"label\":\"x\",\"scopes\":[\"customers.read\"]}",
               text_of(person_of(GM))),
           ERR_PERMISSION_DENIED, NULL);

    expect(
        "of another company",
        say(system_of(other), CREDENTIAL, "RevokeCurveKey", "{\"id\":\"%s\"}", r->credential->id),
        ERR_NOT_FOUND, NULL);
    expect("by the method for API keys",
           say(system_of(t), CREDENTIAL, "RevokeApiKey", "{\"id\":\"%s\"}", r->credential->id),
           ERR_NOT_FOUND, NULL);
    for (int i = 0; i < 2; i++) { /* ended once, told the same twice */
        const Daybook__Directory__V1__RevokeCurveKeyResponse *revoked = fine(
            say(system_of(t), CREDENTIAL, "RevokeCurveKey", "{\"id\":\"%s\"}", r->credential->id));
        assert_non_null(revoked->credential->revoked_at);
    }
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM bus.outbox WHERE aggregate = 'credentials/%s'",
                  r->credential->id),
        2);
    assert_true(wait_for_snapshot(refuses, t, z85_one) < slack(2 * SECOND_US));
    /* A key that was ended may be registered anew, here by another company. */
    fine(say(system_of(other), CREDENTIAL, "RegisterCurveKey", REGISTER, "", "customers.read",
             z85_one));
    assert_true(wait_for_snapshot(admits, other, z85_one) < slack(2 * SECOND_US));
    /* Who leaves is refused, whatever keys he has. */
    fine(say(system_of(t), CREDENTIAL, "RegisterCurveKey", REGISTER, rep, "customers.read",
             z85_two));
    wait_for_snapshot(admits, t, z85_two);
    fine(say(system_of(t), DIRECTORY, "UpdateEmployee",
             "{\"employee\":{\"id\":\"%s\"},\"updateMask\":\"active\"}", rep));
    assert_true(wait_for_snapshot(refuses, t, z85_two) < slack(2 * SECOND_US));
}

static void credentials_are_listed_without_secrets(void **state)
{
    (void)state;
    struct id t = small_company();
    unsigned last = REP2;
    for (int i = 0; i < 3; i++)
        fine(say(system_of(t), CREDENTIAL, "CreateApiKey",
                 "{\"label\":\"k%d\",\"employeeId\":\"%s\"}", i,
                 i == 1 ? text_of(person_of(REP)) : ""));
    wait_for_snapshot(knows_rep, t, &last);
    const Daybook__Directory__V1__ListCredentialsResponse *list =
        fine(say(system_of(t), CREDENTIAL, "List", "{\"pageSize\":2}"));
    assert_int_equal(list->n_credentials, 2);
    assert_string_equal(list->credentials[0]->label, "k0");
    assert_int_equal(list->credentials[0]->kind,
                     DAYBOOK__DIRECTORY__V1__CREDENTIAL_KIND__CREDENTIAL_KIND_API_KEY);
    list = fine(say(system_of(t), CREDENTIAL, "List", "{\"pageSize\":2,\"pageToken\":\"%s\"}",
                    list->next_page_token));
    assert_int_equal(list->n_credentials, 1);
    assert_string_equal(list->credentials[0]->label, "k2");
    assert_string_equal(list->next_page_token, "");
    /* A rep sees his own. */
    list = fine(say(employee_of(t, person_of(REP)), CREDENTIAL, "List", "{}"));
    assert_int_equal(list->n_credentials, 1);
    assert_string_equal(list->credentials[0]->label, "k1");
    list = fine(say(employee_of(t, person_of(GM)), CREDENTIAL, "List", "{}"));
    assert_int_equal(list->n_credentials, 3);
    expect("a manager makes keys",
           say(employee_of(t, person_of(MANAGER)), CREDENTIAL, "CreateApiKey", "{\"label\":\"x\"}"),
           ERR_PERMISSION_DENIED, NULL);
}

#define FEED "{\"employeeId\":\"%s\",\"label\":\"phone\"}"

static const Daybook__Directory__V1__CreateCalendarFeedResponse *new_feed(struct who who,
                                                                          const char *employee)
{
    return fine(say(who, CREDENTIAL, "CreateCalendarFeed", FEED, employee));
}

static void a_feed_is_shown_once_and_replaces_the_one_before_EXT_03(void **state)
{
    (void)state;
    struct id t = small_company();
    const char *rep = text_of(person_of(REP));
    char prefix[64], hash[65], first[ID_TEXT_MAX];
    unsigned last = REP2;

    wait_for_snapshot(knows_rep, t, &last);
    struct reply made = say_again("feed", employee_of(t, person_of(REP)), CREDENTIAL,
                                  "CreateCalendarFeed", "{\"label\":\"phone\"}");
    const Daybook__Directory__V1__CreateCalendarFeedResponse *r = fine(made);
    assert_string_equal(r->credential->actor_id, rep);
    assert_int_equal(r->credential->kind,
                     DAYBOOK__DIRECTORY__V1__CREDENTIAL_KIND__CREDENTIAL_KIND_CALENDAR);
    assert_int_equal(r->credential->n_scopes, 1);
    assert_string_equal(r->credential->scopes[0], "visits.read");
    assert_null(r->replaced);
    snprintf(first, sizeof(first), "%s", r->credential->id);
    int n = snprintf(prefix, sizeof(prefix), "/calendars/%s_", first);
    assert_memory_equal(r->path, prefix, (size_t)n);
    char secret[64];
    snprintf(secret, sizeof(secret), "%.43s", r->path + n); /* 32 bytes */
    assert_string_equal(r->path + n + 43, ".ics");
    assert_true(secret_hash_token(secret, hash));
    assert_int_equal(number_of("SELECT count(*) AS n FROM directory_api.calendar_feed"
                               " WHERE secret_hash = '%s'",
                               hash),
                     1);
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM directory_api.api_key WHERE credential_id = '%s'",
                  first),
        0);
    assert_int_equal(number_of("SELECT count(*) AS n FROM directory.idempotency"
                               " WHERE position('%s'::bytea IN reply) > 0",
                               secret),
                     0);
    assert_int_equal(number_of("SELECT count(*) AS n FROM bus.outbox"
                               " WHERE position('%s'::bytea IN payload) > 0",
                               secret),
                     0);
    struct reply again = say_again("feed", employee_of(t, person_of(REP)), CREDENTIAL,
                                   "CreateCalendarFeed", "{\"label\":\"phone\"}");
    const Daybook__Directory__V1__CreateCalendarFeedResponse *empty = fine(again);
    assert_string_equal(empty->path, "");

    r = new_feed(system_of(t), rep);
    assert_string_equal(r->replaced->id, first);
    assert_non_null(r->replaced->revoked_at);
    assert_int_equal(number_of("SELECT count(*) AS n FROM directory_api.calendar_feed"
                               " WHERE actor_id = '%s'",
                               rep),
                     1);
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM bus.outbox WHERE aggregate = 'credentials/%s'", first),
        2);
    fine(say(system_of(t), DIRECTORY, "UpdateEmployee",
             "{\"employee\":{\"id\":\"%s\"},\"updateMask\":\"active\"}", rep));
    assert_int_equal(number_of("SELECT count(*) AS n FROM directory_api.calendar_feed"
                               " WHERE actor_id = '%s'",
                               rep),
                     0);
    expect("who has left", say(system_of(t), CREDENTIAL, "CreateCalendarFeed", FEED, rep),
           ERR_FAILED_PRECONDITION, "");
}

static void a_feed_is_made_and_ended_by_whom_it_shows_or_the_office(void **state)
{
    (void)state;
    struct id t = small_company(), other = small_company();
    static const char *const keys_only[] = { "credentials.write", "tenant.all", NULL };
    static const char *const reader[] = { "credentials.write", "tenant.all", "visits.read", NULL };
    const char *rep = text_of(person_of(REP)), *rep2 = text_of(person_of(REP2));
    struct who him = employee_of(t, person_of(REP));
    unsigned last = REP2;

    wait_for_snapshot(knows_rep, t, &last);
    expect("of a colleague", say(him, CREDENTIAL, "CreateCalendarFeed", FEED, rep2),
           ERR_PERMISSION_DENIED, NULL);
    expect("by his manager",
           say(employee_of(t, person_of(MANAGER)), CREDENTIAL, "CreateCalendarFeed", FEED, rep),
           ERR_PERMISSION_DENIED, NULL);
    expect("of nobody", say(system_of(t), CREDENTIAL, "CreateCalendarFeed", FEED, ""),
           ERR_INVALID_ARGUMENT, "employee_id");
    expect("of a stranger",
           say(system_of(t), CREDENTIAL, "CreateCalendarFeed", FEED, text_of(person_of(77))),
           ERR_NOT_FOUND, NULL);
    expect("without sight of visits",
           say(service_of(t, keys_only), CREDENTIAL, "CreateCalendarFeed", FEED, rep),
           ERR_PERMISSION_DENIED, NULL);
    expect("expired",
           say(him, CREDENTIAL, "CreateCalendarFeed",
               "{\"label\":\"x\",\"expiresAt\":\"2020-01-01T00:00:00Z\"}"),
           ERR_FAILED_PRECONDITION, NULL);
    expect("without a label", say(him, CREDENTIAL, "CreateCalendarFeed", "{}"),
           ERR_INVALID_ARGUMENT, "label");
    (void)new_feed(service_of(t, reader), rep2);
    char id[ID_TEXT_MAX];
    snprintf(id, sizeof(id), "%s", new_feed(him, rep)->credential->id);

#define END_FEED CREDENTIAL, "RevokeCalendarFeed", "{\"id\":\"%s\"}", id
    expect("by a colleague", say(employee_of(t, person_of(REP2)), END_FEED), ERR_NOT_FOUND, NULL);
    expect("elsewhere", say(system_of(other), END_FEED), ERR_NOT_FOUND, NULL);
    expect("by the method for API keys",
           say(system_of(t), CREDENTIAL, "RevokeApiKey", "{\"id\":\"%s\"}", id), ERR_NOT_FOUND,
           NULL);
    const Daybook__Directory__V1__ListCredentialsResponse *list =
        fine(say(him, CREDENTIAL, "List", "{}"));
    assert_int_equal(list->n_credentials, 1);
    assert_string_equal(list->credentials[0]->id, id);
    for (int i = 0; i < 2; i++) {
        const Daybook__Directory__V1__RevokeCalendarFeedResponse *revoked =
            fine(i == 0 ? say(him, END_FEED) : say(employee_of(t, person_of(GM)), END_FEED));
        assert_non_null(revoked->credential->revoked_at);
    }
    assert_null(new_feed(him, rep)->replaced);
}

static void an_api_key_may_be_bound_to_networks(void **state)
{
    (void)state;
    struct id t = small_company();
    const Daybook__Directory__V1__CreateApiKeyResponse *made =
        fine(say(system_of(t), CREDENTIAL, "CreateApiKey",
                 "{\"label\":\"erp\",\"scopes\":[\"a.b\"],"
                 "\"allowedNetworks\":[\"10.1.0.0/16\",\"2001:db8::/32\",\"192.0.2.7\"]}"));
    assert_int_equal(made->credential->n_allowed_networks, 3);
    const Daybook__Directory__V1__ListCredentialsResponse *list =
        fine(say(system_of(t), CREDENTIAL, "List", "{}"));
    assert_int_equal(list->credentials[0]->n_allowed_networks, 3);
    assert_string_equal(list->credentials[0]->allowed_networks[1], "2001:db8::/32");
    assert_null(list->credentials[0]->last_used_at);
    assert_int_equal(number_of("SELECT count(*) AS n FROM directory_api.api_key"
                               " WHERE credential_id = '%s' AND '192.0.2.7' = allowed_networks[3]",
                               made->credential->id),
                     1);

    static const char *const bad[] = { "10.1.0.0/33", "erp.example.com", "10.1.0.0/16,10.2.0.0/16",
                                       "10.1.0.0/",   "fe80::1%eth0",    "",
                                       "10.1" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect(bad[i],
               say(system_of(t), CREDENTIAL, "CreateApiKey",
                   "{\"label\":\"x\",\"allowedNetworks\":[\"10.0.0.1\",\"%s\"]}", bad[i]),
               ERR_INVALID_ARGUMENT, "allowed_networks[1]");
    expect("seventeen",
           say(system_of(t), CREDENTIAL, "CreateApiKey",
               "{\"label\":\"x\",\"allowedNetworks\":[\"::1\",\"::1\",\"::1\",\"::1\",\"::1\","
               "\"::1\",\"::1\",\"::1\",\"::1\",\"::1\",\"::1\",\"::1\",\"::1\",\"::1\","
               "\"::1\",\"::1\",\"::1\"]}"),
           ERR_INVALID_ARGUMENT, "allowed_networks");
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM directory.credential WHERE tenant_id = '%s'",
                  text_of(t)),
        1);
}

static const char *last_use(struct id tenant)
{
    const Daybook__Directory__V1__ListCredentialsResponse *list =
        fine(say(system_of(tenant), CREDENTIAL, "List", "{}"));
    char text[TIME_TEXT_MAX];
    const Google__Protobuf__Timestamp *at = list->credentials[0]->last_used_at;
    return at ? arena_strdup(env.arena, time_format(wire_time_us(at), text)) : "never";
}

static void uses_of_a_key_are_taken_down_and_no_revision_is_made(void **state)
{
    (void)state;
    struct id t = small_company(), other = small_company();
    unsigned last = REP2;
    const Daybook__Directory__V1__CreateApiKeyResponse *made =
        fine(say(system_of(t), CREDENTIAL, "CreateApiKey", "{\"label\":\"erp\"}"));
    const char *id = arena_strdup(env.arena, made->credential->id);
    wait_for_snapshot(knows_rep, t, &last);
    int64_t revision = number_of("SELECT revision AS n FROM directory.revision");
#define USE "{\"uses\":[{\"credentialId\":\"%s\",\"usedAt\":\"%s\"}]}"
    static const char *const edge[] = { "edge", NULL };
    static const char *const strong[] = { "tenant.all", "credentials.write", NULL };

    fine(say(service_of(t, edge), CREDENTIAL, "NoteUse", USE, id, "2026-03-02T08:00:00Z"));
    assert_string_equal(last_use(t), "2026-03-02T08:00:00Z");
    fine(say(system_of(t), CREDENTIAL, "NoteUse", USE, id, "2026-03-02T07:59:59Z"));
    assert_string_equal(last_use(t), "2026-03-02T08:00:00Z"); /* an earlier one tells nothing new */
    fine(say(service_of(other, edge), CREDENTIAL, "NoteUse", USE, id, "2026-03-03T08:00:00Z"));
    assert_string_equal(last_use(t), "2026-03-02T08:00:00Z"); /* F61: no key of that company */
    expect("by a strong key",
           say(service_of(t, strong), CREDENTIAL, "NoteUse", USE, id, "2026-03-03T08:00:00Z"),
           ERR_PERMISSION_DENIED, NULL);
    expect(
        "by the general manager",
        say(employee_of(t, person_of(GM)), CREDENTIAL, "NoteUse", USE, id, "2026-03-03T08:00:00Z"),
        ERR_PERMISSION_DENIED, NULL);
    expect("a key with that scope",
           say(system_of(t), CREDENTIAL, "CreateApiKey", "{\"label\":\"x\",\"scopes\":[\"edge\"]}"),
           ERR_INVALID_ARGUMENT, "scopes[0]");
    expect("nothing", say(system_of(t), CREDENTIAL, "NoteUse", "{}"), ERR_INVALID_ARGUMENT, "uses");
    expect("no moment",
           say(system_of(t), CREDENTIAL, "NoteUse", "{\"uses\":[{\"credentialId\":\"%s\"}]}", id),
           ERR_INVALID_ARGUMENT, "uses[0].used_at");
    assert_string_equal(last_use(t), "2026-03-02T08:00:00Z");
    assert_int_equal(number_of("SELECT revision AS n FROM directory.revision"), revision);
}

static bool has_hash(const char *id, const char *hash)
{
    return number_of("SELECT count(*) AS n FROM directory.credential WHERE id = '%s'"
                     " AND secret_hash = '%s'",
                     id, hash) == 1;
}

/* The last one: the old master key stays. */
static void a_hash_is_taken_while_the_master_key_changes_and_never_else_F56(void **state)
{
    (void)state;
    struct id t = small_company();
    static const char *const edge[] = { "edge", NULL };
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define USE_HASH                                                                                   \
    "{\"uses\":[{\"credentialId\":\"%s\",\"usedAt\":\"2026-03-02T08:00:00Z\",\"secretHash\":\"%"   \
    "s\"}]}"
    const Daybook__Directory__V1__CreateApiKeyResponse *made =
        fine(say(system_of(t), CREDENTIAL, "CreateApiKey", "{\"label\":\"erp\"}"));
    const char *id = arena_strdup(env.arena, made->credential->id);

    fine(say(service_of(t, edge), CREDENTIAL, "NoteUse", USE_HASH, id, HASH));
    assert_false(has_hash(id, HASH));

    assert_true(secret_init_other(
        "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f", true));
    fine(say(service_of(t, edge), CREDENTIAL, "NoteUse", USE_HASH, id, "0123"));
    assert_false(has_hash(id, "0123"));
    int64_t revision = number_of("SELECT revision AS n FROM directory.revision");
    fine(say(service_of(t, edge), CREDENTIAL, "NoteUse", USE_HASH, id, HASH));
    assert_true(has_hash(id, HASH));
    assert_true(number_of("SELECT revision AS n FROM directory.revision") > revision);

    made = fine(say(system_of(t), CREDENTIAL, "CreateApiKey", "{\"label\":\"old\"}"));
    id = arena_strdup(env.arena, made->credential->id);
    fine(say(system_of(t), CREDENTIAL, "RevokeApiKey", "{\"id\":\"%s\"}", id));
    fine(say(service_of(t, edge), CREDENTIAL, "NoteUse", USE_HASH, id, HASH));
    assert_false(has_hash(id, HASH));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_api_key_is_shown_once_and_kept_as_a_hash, before_each),
        cmocka_unit_test_setup(curve_keys_are_admitted_and_refused_at_once, before_each),
        cmocka_unit_test_setup(credentials_are_listed_without_secrets, before_each),
        cmocka_unit_test_setup(a_feed_is_shown_once_and_replaces_the_one_before_EXT_03,
                               before_each),
        cmocka_unit_test_setup(a_feed_is_made_and_ended_by_whom_it_shows_or_the_office,
                               before_each),
        cmocka_unit_test_setup(an_api_key_may_be_bound_to_networks, before_each),
        cmocka_unit_test_setup(uses_of_a_key_are_taken_down_and_no_revision_is_made, before_each),
        cmocka_unit_test_setup(a_hash_is_taken_while_the_master_key_changes_and_never_else_F56,
                               before_each),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
