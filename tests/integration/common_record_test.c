/* common/record through a real PostgreSQL: what is bound comes back as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/record.h"
#include "common/schema.h"
#include "common/wire.h"
#include "daybook/visits/v1/visits.pb-c.h"
#include "tests/support/servers.h"

typedef Daybook__Visits__V1__Visit Visit;
#define VISIT (&daybook__visits__v1__visit__descriptor)

static struct servers *servers;
static struct arena *arena;

static const char *const names[] = { "tenant_id",
                                     "id",
                                     "purposes",
                                     "state",
                                     "starts_at",
                                     "place",
                                     "check_in.at",
                                     "check_in.position.latitude",
                                     "check_in.far",
                                     "report",
                                     "reviewed_by",
                                     "checked_out_at",
                                     NULL };

/* The columns as tables have them: the casts decide what is NULL. */
static const struct db_stmt echo = {
    "record_echo",
    "SELECT $1::uuid AS _tenant_id, $2::uuid AS id, $3::text[] AS purposes, $4::text AS state,"
    " $5::timestamptz AS starts_at, $6::text AS place, $7::timestamptz AS \"check_in.at\","
    " $8::float8 AS \"check_in.position.latitude\", $9::boolean AS \"check_in.far\","
    " $10::jsonb AS report, $11::uuid AS reviewed_by, $12::timestamptz AS checked_out_at",
    12, names
};
static const struct db_stmt none = { "record_none", "SELECT 1 AS _x WHERE false", 0, NULL };
static const struct db_stmt two = { "record_two", "SELECT 'x' AS id FROM generate_series(1, 2)", 0,
                                    NULL };

static enum err round_trip(struct db *db, const Visit *in, Visit **out)
{
    struct record_extra extras[] = { { "tenant_id", "01900000-0000-7000-8000-00000000000a" } };
    const char *const *params = NULL;

    enum err e = record_bind(&echo, &in->base, extras, 1, arena, &params);
    return e ? e : record_find(db, &echo, params, VISIT, arena, out);
}

static void a_message_survives_the_database(void **state)
{
    struct db *db = *state;
    Visit *in = wire_new(VISIT, arena), *out = NULL;
    char *id = arena_strdup(arena, "01900000-0000-7000-8000-000000000001");
    Daybook__Visits__V1__VisitPurpose purposes[] = { 1, 2 };

    in->id = id;
    in->purposes = purposes;
    in->n_purposes = 2;
    in->state = 3;
    in->starts_at = wire_time(arena, INT64_C(1767225600123456));
    in->place = arena_strdup(arena, "北京 \"O'Hara\\\" {1,2}");
    in->check_in = wire_new(&daybook__visits__v1__check_in_facts__descriptor, arena);
    in->check_in->at = wire_time(arena, INT64_C(-1));
    in->check_in->position = wire_new(&daybook__common__v1__lat_lng__descriptor, arena);
    in->check_in->position->latitude = 39.9042123456789;
    in->check_in->far = 1;
    in->report = wire_new(&daybook__visits__v1__visit_report__descriptor, arena);

    assert_int_equal(round_trip(db, in, &out), ERR_OK);
    assert_true(wire_equal(&in->base, &out->base, arena));
    assert_non_null(out->report);
    assert_null(out->checked_out_at);
}

static void an_empty_message_survives_too(void **state)
{
    struct db *db = *state;
    Visit *in = wire_new(VISIT, arena), *out = NULL;

    assert_int_equal(round_trip(db, in, &out), ERR_OK);
    assert_null(out->starts_at);
    assert_null(out->report);
    assert_string_equal(out->id, "");
    assert_string_equal(out->reviewed_by, "");
}

static void finding_nothing_or_too_much_is_told(void **state)
{
    struct db *db = *state;
    Visit *out = NULL;

    assert_int_equal(record_find(db, &none, NULL, VISIT, arena, &out), ERR_NOT_FOUND);
    assert_int_equal(record_find(db, &two, NULL, VISIT, arena, &out), ERR_INTERNAL);
    assert_null(out);
}

static int start(void **state)
{
    schema_init();
    servers = servers_start_with(&(struct servers_options){ .durable = false });
    arena = arena_new(4 * MIB);
    *state = db_new(servers_conninfo(servers), "record_test");
    return *state && arena ? 0 : -1;
}

static int stop(void **state)
{
    db_free(*state);
    arena_free(arena);
    servers_stop(servers);
    schema_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_survives_the_database),
        cmocka_unit_test(an_empty_message_survives_too),
        cmocka_unit_test(finding_nothing_or_too_much_is_told),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
