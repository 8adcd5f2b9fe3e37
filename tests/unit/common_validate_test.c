/* Checks of requests: one field at a time, then paths through lists and absent messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/call_state.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "daybook/visits/v1/visits.pb-c.h"

#define UUID "01890a5d-ac96-774b-bcce-b302099a8057"

static struct arena *arena;
static struct call call;

static int set_up(void **state)
{
    (void)state;
    schema_init();
    arena = arena_new(8 * MIB);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    schema_fini();
    return 0;
}

static int fresh_call(void **state)
{
    (void)state;
    arena_reset(arena);
    call = (struct call){ 0 };
    return call_open(&call, arena) ? -1 : 0;
}

static enum err check_json(const char *type, const char *json, const struct check *checks)
{
    ProtobufCMessage *m;
    struct wire_fault fault;
    const struct schema_message *s = schema_find_message(type);

    assert_non_null(s);
    if (protojson_read(s->type, json, strlen(json), PROTOJSON_STRICT, arena, &m, &fault))
        fail_msg("%s: %s %s", json, fault.field, fault.reason);
    return validate(&call, m, checks);
}

/* "field=REASON field=REASON" of what was found. */
static const char *found(void)
{
    static char text[1024];
    struct sbuf b;

    sbuf_init_fixed(&b, text, sizeof text);
    for (const struct call_violation_item *v = call.state->violations; v; v = v->next)
        sbuf_addf(&b, "%s%s=%s", b.len ? " " : "", v->field, v->reason);
    return text;
}

static void judges_single_fields(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        struct check check;
        const char *want;
    } cases[] = {
        { "{}", { "goal", CHECK_REQUIRED, 0, 0 }, "goal=REQUIRED" },
        { "{\"goal\":\"x\"}", { "goal", CHECK_REQUIRED, 0, 0 }, "" },
        { "{}", { "starts_at", CHECK_REQUIRED | CHECK_TIME, 0, 0 }, "starts_at=REQUIRED" },
        { "{\"startsAt\":\"1970-01-01T00:00:00Z\"}", { "starts_at", CHECK_TIME, 0, 0 }, "" },
        { "{\"startsAt\":\"1969-12-31T23:59:59Z\"}",
          { "starts_at", CHECK_TIME, 0, 0 },
          "starts_at=OUT_OF_RANGE" },
        { "{\"startsAt\":\"2200-12-31T23:59:59Z\"}", { "starts_at", CHECK_TIME, 0, 0 }, "" },
        { "{\"startsAt\":\"2201-01-01T00:00:00Z\"}",
          { "starts_at", CHECK_TIME, 0, 0 },
          "starts_at=OUT_OF_RANGE" },
        { "{}", { "customer_id", CHECK_ID, 0, 0 }, "" },
        { "{\"customerId\":\"" UUID "\"}", { "customer_id", CHECK_ID, 0, 0 }, "" },
        { "{\"customerId\":\"7\"}", { "customer_id", CHECK_ID, 0, 0 }, "customer_id=MALFORMED" },
        { "{}", { "customer_id", CHECK_ID | CHECK_REQUIRED, 0, 0 }, "customer_id=REQUIRED" },
        { "{\"goal\":\"四个字啊\"}", { "goal", CHECK_LENGTH, 1, 4 }, "" },
        { "{\"goal\":\"四个字啊啊\"}", { "goal", CHECK_LENGTH, 1, 4 }, "goal=TOO_LONG" },
        { "{\"goal\":\"a\"}", { "goal", CHECK_LENGTH, 2, 4 }, "goal=TOO_SHORT" },
        { "{}", { "goal", CHECK_LENGTH, 2, 4 }, "" },
        { "{}", { "mode", CHECK_REQUIRED, 0, 0 }, "mode=REQUIRED" },
        { "{\"mode\":3}", { "mode", CHECK_REQUIRED | CHECK_ENUM, 0, 0 }, "" },
        { "{\"mode\":77}", { "mode", CHECK_ENUM, 0, 0 }, "mode=UNKNOWN_VALUE" },
        { "{}", { "purposes", CHECK_REQUIRED, 0, 0 }, "purposes=REQUIRED" },
        { "{}", { "purposes", CHECK_COUNT, 1, 3 }, "purposes=TOO_FEW" },
        { "{\"purposes\":[1,2]}", { "purposes", CHECK_COUNT, 1, 3 }, "" },
        { "{\"purposes\":[1,2,3,4]}", { "purposes", CHECK_COUNT, 1, 3 }, "purposes=TOO_MANY" },
        { "{\"purposes\":[1,99]}", { "purposes", CHECK_ENUM, 0, 0 }, "purposes[1]=UNKNOWN_VALUE" },
        { "{\"purposes\":[1,99]}",
          { "purposes[]", CHECK_ENUM, 0, 0 },
          "purposes[1]=UNKNOWN_VALUE" },
        { "{\"place\":\"2026-02-29\"}", { "place", CHECK_DATE, 0, 0 }, "place=MALFORMED" },
        { "{\"place\":\"2028-02-29\"}", { "place", CHECK_DATE, 0, 0 }, "" },
        { "{\"place\":\"A.b_c-9\"}", { "place", CHECK_CODE, 0, 0 }, "" },
        { "{\"place\":\"a b\"}", { "place", CHECK_CODE, 0, 0 }, "place=MALFORMED" },
        { "{\"place\":\"CNY\"}", { "place", CHECK_CURRENCY, 0, 0 }, "" },
        { "{\"place\":\"cny\"}", { "place", CHECK_CURRENCY, 0, 0 }, "place=MALFORMED" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct check checks[2] = { cases[i].check };
        call_forget(&call);
        enum err e = check_json("daybook.visits.v1.Visit", cases[i].json, checks);
        if (strcmp(found(), cases[i].want) != 0 ||
            e != (cases[i].want[0] ? ERR_INVALID_ARGUMENT : ERR_OK))
            fail_msg("%s %s: found %s, want %s", cases[i].json, cases[i].check.path, found(),
                     cases[i].want);
    }
}

static void judges_numbers(void **state)
{
    (void)state;
    static const struct check checks[] = {
        { "position.latitude", CHECK_RANGE, -90, 90 },
        { "position.longitude", CHECK_RANGE, -180, 180 },
        { "accuracy_m", CHECK_RANGE, 0, 1e5 },
        { NULL, 0, 0, 0 },
    };

    assert_int_equal(check_json("daybook.visits.v1.CheckInRequest",
                                "{\"position\":{\"latitude\":-90,\"longitude\":180}}", checks),
                     ERR_OK);
    assert_int_equal(
        check_json("daybook.visits.v1.CheckInRequest",
                   "{\"position\":{\"latitude\":90.001,\"longitude\":\"NaN\"},\"accuracyM\":-1}",
                   checks),
        ERR_INVALID_ARGUMENT);
    assert_string_equal(found(), "position.latitude=OUT_OF_RANGE position.longitude=OUT_OF_RANGE "
                                 "accuracy_m=OUT_OF_RANGE");
}

static void names_every_faulty_element(void **state)
{
    (void)state;
    static const struct check checks[] = {
        { "visit_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
        { "report", CHECK_REQUIRED, 0, 0 },
        { "report.content", CHECK_REQUIRED, 0, 0 },
        { "report.participants[]", CHECK_ID, 0, 0 },
        { "commitments[].text", CHECK_REQUIRED, 0, 0 },
        { "commitments[].due_at", CHECK_REQUIRED | CHECK_TIME, 0, 0 },
        { NULL, 0, 0, 0 },
    };

    assert_int_equal(
        check_json("daybook.visits.v1.SubmitReportRequest",
                   "{\"visitId\":\"x\",\"report\":{\"participants\":[\"" UUID "\",\"y\"]},"
                   "\"commitments\":[{\"text\":\"a\",\"dueAt\":\"2026-01-01T00:00:00Z\"},{}]}",
                   checks),
        ERR_INVALID_ARGUMENT);
    assert_string_equal(found(), "visit_id=MALFORMED report.content=REQUIRED "
                                 "report.participants[1]=MALFORMED commitments[1].text=REQUIRED "
                                 "commitments[1].due_at=REQUIRED");
}

static void asks_nothing_below_an_absent_message(void **state)
{
    (void)state;
    static const struct check optional[] = {
        { "report.content", CHECK_REQUIRED, 0, 0 },
        { NULL, 0, 0, 0 },
    };
    static const struct check needed[] = {
        { "report", CHECK_REQUIRED, 0, 0 },
        { "report.content", CHECK_REQUIRED, 0, 0 },
        { NULL, 0, 0, 0 },
    };

    assert_int_equal(check_json("daybook.visits.v1.SubmitReportRequest", "{}", optional), ERR_OK);
    assert_int_equal(check_json("daybook.visits.v1.SubmitReportRequest", "{}", needed),
                     ERR_INVALID_ARGUMENT);
    assert_string_equal(found(), "report=REQUIRED");
}

static void bounds_the_number_of_faults(void **state)
{
    (void)state;
    static const struct check checks[] = {
        { "participants[]", CHECK_ID, 0, 0 },
        { NULL, 0, 0, 0 },
    };
    struct sbuf json;
    size_t n = 0;

    sbuf_init(&json, MIB);
    sbuf_add_text(&json, "{\"participants\":[\"x\"");
    for (int i = 1; i < 9000; i++)
        sbuf_add_text(&json, ",\"x\"");
    sbuf_add_text(&json, "]}");
    assert_int_equal(check_json("daybook.visits.v1.VisitReport", json.data, checks),
                     ERR_INVALID_ARGUMENT);
    sbuf_fini(&json);
    for (const struct call_violation_item *v = call.state->violations; v; v = v->next)
        n++;
    assert_int_equal(n, CALL_VIOLATIONS_MAX);
    assert_non_null(strstr(call.state->failure.message, "8999 more"));
}

/* They are compared as texts further on. */
static void ids_come_out_in_one_form(void **state)
{
    (void)state;
    static const struct check checks[] = { { "customer_id", CHECK_ID, 0, 0 }, { 0 } };
    ProtobufCMessage *m;
    struct wire_fault fault;
    const struct schema_message *s = schema_find_message("daybook.visits.v1.Visit");
    static const char json[] = "{\"customerId\":\"01890A5D-AC96-774B-bcce-B302099A8057\"}";

    assert_int_equal(
        protojson_read(s->type, json, strlen(json), PROTOJSON_STRICT, arena, &m, &fault), ERR_OK);
    assert_int_equal(validate(&call, m, checks), ERR_OK);
    assert_string_equal(((Daybook__Visits__V1__Visit *)m)->customer_id,
                        "01890a5d-ac96-774b-bcce-b302099a8057");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(judges_single_fields, fresh_call),
        cmocka_unit_test_setup(judges_numbers, fresh_call),
        cmocka_unit_test_setup(ids_come_out_in_one_form, fresh_call),
        cmocka_unit_test_setup(names_every_faulty_element, fresh_call),
        cmocka_unit_test_setup(asks_nothing_below_an_absent_message, fresh_call),
        cmocka_unit_test_setup(bounds_the_number_of_faults, fresh_call),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
