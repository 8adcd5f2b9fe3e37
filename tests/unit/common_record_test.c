/* common/record without a server: results made by hand, parameters as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/record.h"
#include "common/schema.h"
#include "common/wire.h"
#include "testdata/testdata.pb-c.h"

typedef Daybook__Testdata__V1__Everything Everything;

#define TYPE (&daybook__testdata__v1__everything__descriptor)
#define T_BOOL 16
#define T_BYTEA 17
#define T_INT8 20
#define T_INT4 23
#define T_TEXT 25
#define T_JSON 114
#define T_TEXT_ARRAY 1009
#define T_TIMESTAMPTZ 1184
#define T_TIMESTAMPTZ_ARRAY 1185
#define T_JSONB 3802
#define COLUMNS_MAX 40

static struct arena *arena;

struct cell {
    const char *column;
    Oid type;
    const char *value; /* NULL = SQL NULL */
};

/* A result of one row. */
static PGresult *make_row(const struct cell *cells, size_t n)
{
    PGresAttDesc attributes[COLUMNS_MAX] = { 0 };
    PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

    assert_non_null(res);
    for (size_t i = 0; i < n; i++) {
        attributes[i].name = (char *)(uintptr_t)cells[i].column;
        attributes[i].typid = cells[i].type;
    }
    assert_true(PQsetResultAttrs(res, (int)n, attributes));
    for (size_t i = 0; i < n; i++)
        assert_true(PQsetvalue(res, 0, (int)i, (char *)(uintptr_t)cells[i].value,
                               cells[i].value ? (int)strlen(cells[i].value) : -1));
    return res;
}

static enum err read_cells(const struct cell *cells, size_t n, Everything **out)
{
    CLEANUP(db_result_clear) PGresult *res = make_row(cells, n);

    return record_read(res, 0, TYPE, arena, out);
}

static Everything *new_one(void)
{
    Everything *m = wire_new(TYPE, arena);

    assert_non_null(m);
    return m;
}

static char *text(const char *s)
{
    return arena_strdup(arena, s);
}

static int set_up(void **state)
{
    (void)state;
    schema_init();
    arena = arena_new(4 * MIB);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    schema_fini();
    return 0;
}

/* --- rows --- */

static void each_kind_of_column_fills_its_field(void **state)
{
    (void)state;
    static const struct cell cells[] = {
        { "int32_field", T_INT4, "-2147483648" },
        { "int64_field", T_INT8, "9223372036854775807" },
        { "uint64_field", T_INT8, "18446744073709551615" },
        { "double_field", 701, "1.5" },
        { "bool_field", T_BOOL, "t" },
        { "string_field", T_TEXT, "张三" },
        { "bytes_field", T_BYTEA, "\\x00ff10" },
        { "enum_field", T_TEXT, "red" },
        { "ts", T_TIMESTAMPTZ, "2026-01-02 03:04:05.000006+00" },
        { "dur", T_INT8, "1500000" },
        { "string_list", T_TEXT_ARRAY, "{a,\"b, \\\"c\\\\\",\"\",\"NULL\"}" },
        { "int32_list", 1007, "{1,-2,3}" },
        { "bool_list", 1000, "{t,f}" },
        { "enum_list", T_TEXT_ARRAY, "{red,negative}" },
        { "ts_list", T_TIMESTAMPTZ_ARRAY,
          "{\"2026-01-02 03:04:05+00\",\"1970-01-01 00:00:00+00\"}" },
        { "_own", T_TEXT, "the store's" },
    };
    Everything *m = NULL;

    assert_int_equal(read_cells(cells, ARRAY_LEN(cells), &m), ERR_OK);
    assert_int_equal(m->int32_field, INT32_MIN);
    assert_true(m->int64_field == INT64_MAX);
    assert_true(m->uint64_field == UINT64_MAX);
    assert_true(m->double_field == 1.5);
    assert_true(m->bool_field);
    assert_string_equal(m->string_field, "张三");
    assert_int_equal(m->bytes_field.len, 3);
    assert_memory_equal(m->bytes_field.data, "\0\xff\x10", 3);
    assert_int_equal(m->enum_field, DAYBOOK__TESTDATA__V1__COLOUR__COLOUR_RED);
    assert_int_equal(m->ts->seconds, 1767323045);
    assert_int_equal(m->ts->nanos, 6000);
    assert_int_equal(m->dur->seconds, 1);
    assert_int_equal(m->dur->nanos, 500000000);
    assert_int_equal(m->n_string_list, 4);
    assert_string_equal(m->string_list[0], "a");
    assert_string_equal(m->string_list[1], "b, \"c\\");
    assert_string_equal(m->string_list[2], "");
    assert_string_equal(m->string_list[3], "NULL");
    assert_int_equal(m->n_int32_list, 3);
    assert_int_equal(m->int32_list[1], -2);
    assert_int_equal(m->n_bool_list, 2);
    assert_true(m->bool_list[0] && !m->bool_list[1]);
    assert_int_equal(m->enum_list[1], -1);
    assert_int_equal(m->n_ts_list, 2);
    assert_int_equal(m->ts_list[1]->seconds, 0);
}

static void null_leaves_a_field_unset(void **state)
{
    (void)state;
    static const struct cell cells[] = {
        { "int32_field", T_INT4, NULL },
        { "string_field", T_TEXT, NULL },
        { "ts", T_TIMESTAMPTZ, NULL },
        { "child.int32_field", T_INT4, NULL },
        { "child.child.string_field", T_TEXT, NULL },
        { "string_list", T_TEXT_ARRAY, NULL },
        { "opt_int32", T_INT4, NULL },
        { "choice_text", T_TEXT, NULL },
        { "enum_field", T_TEXT, NULL },
    };
    Everything *m = NULL;

    assert_int_equal(read_cells(cells, ARRAY_LEN(cells), &m), ERR_OK);
    assert_int_equal(m->int32_field, 0);
    assert_string_equal(m->string_field, "");
    assert_null(m->ts);
    assert_null(m->child);
    assert_int_equal(m->n_string_list, 0);
    assert_int_equal(m->_opt_int32_case, 0);
    assert_int_equal(m->choice_case, 0);
}

static void dots_lead_into_sub_messages(void **state)
{
    (void)state;
    static const struct cell cells[] = {
        { "child.int32_field", T_INT4, "5" },
        { "child.child.string_field", T_TEXT, "deep" },
        { "child.child.ts", T_TIMESTAMPTZ, "1970-01-01 00:00:01+00" },
        { "opt_int32", T_INT4, "0" },
        { "choice_text", T_TEXT, "" },
    };
    Everything *m = NULL;

    assert_int_equal(read_cells(cells, ARRAY_LEN(cells), &m), ERR_OK);
    assert_int_equal(m->child->int32_field, 5);
    assert_string_equal(m->child->child->string_field, "deep");
    assert_int_equal(m->child->child->ts->seconds, 1);
    assert_int_equal(m->_opt_int32_case, 58); /* zero, and there */
    assert_int_equal(m->choice_case, 52);
}

static void json_columns_fill_messages_lists_and_maps(void **state)
{
    (void)state;
    static const struct cell cells[] = {
        { "child", T_JSONB, "{\"int32Field\": 7, \"from_the_future\": 1}" },
        { "child_list", T_JSON, "[{\"stringField\": \"x\"}, {}]" },
        { "int64_map", T_JSONB, "{\"5\": \"five\"}" },
        { "string_list", T_JSONB, "[\"a\", \"b\"]" },
        { "ts", T_JSONB, "\"2026-01-02T03:04:05Z\"" },
    };
    Everything *m = NULL;

    assert_int_equal(read_cells(cells, ARRAY_LEN(cells), &m), ERR_OK);
    assert_int_equal(m->child->int32_field, 7);
    assert_int_equal(m->n_child_list, 2);
    assert_string_equal(m->child_list[0]->string_field, "x");
    assert_int_equal(m->n_int64_map, 1);
    assert_true(m->int64_map[0]->key == 5);
    assert_string_equal(m->int64_map[0]->value, "five");
    assert_int_equal(m->n_string_list, 2);
    assert_int_equal(m->ts->seconds, 1767323045);
}

static void what_does_not_fit_is_an_error(void **state)
{
    (void)state;
    static const struct cell cases[] = {
        { "no_such_field", T_TEXT, "x" },
        { "child.no_such_field", T_TEXT, "x" },
        { "string_field.deeper", T_TEXT, "x" },
        { "child_list.int32_field", T_INT4, "1" },
        { "int32_field", T_INT8, "2147483648" },
        { "int32_field", T_TEXT, "1x" },
        { "uint32_field", T_INT4, "-1" },
        { "bool_field", T_TEXT, "true" },
        { "bytes_field", T_BYTEA, "\\x0" },
        { "bytes_field", T_TEXT, "abc" },
        { "enum_field", T_TEXT, "mauve" },
        { "enum_field", T_INT4, "77" },
        { "double_field", 701, "NaN" },
        { "ts", T_TIMESTAMPTZ, "infinity" },
        { "ts", T_TEXT, "2026-01-02T03:04:05Z" },
        { "dur", T_TEXT, "1" },
        { "child", T_TEXT, "{}" },
        { "child", T_JSONB, "[1]" },
        { "int32_list", 1007, "{1,NULL}" },
        { "int32_list", 1007, "{{1},{2}}" },
        { "int32_list", 1007, "[0:1]={1,2}" },
        { "string_list", T_TEXT_ARRAY, "{\"a" },
        { "string_list", T_TEXT_ARRAY, "{a" },
        { "string_list", T_TEXT, "" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Everything *m = NULL;
        if (read_cells(&cases[i], 1, &m) != ERR_INTERNAL || m)
            fail_msg("%s = %s was taken", cases[i].column, cases[i].value);
    }
}

static void a_full_arena_is_said_so(void **state)
{
    (void)state;
    static const struct cell cells[] = { { "string_field", T_TEXT, "x" } };
    Everything *m = NULL;

    CLEANUP(db_result_clear) PGresult *res = make_row(cells, 1);
    arena_set_budget(arena, arena_used(arena));
    assert_int_equal(record_read(res, 0, TYPE, arena, &m), ERR_RESOURCE_EXHAUSTED);
}

static void all_rows_become_a_repeated_field(void **state)
{
    (void)state;
    static const struct cell cells[] = { { "int32_field", T_INT4, "1" } };
    CLEANUP(db_result_clear) PGresult *res = make_row(cells, 1);
    Everything **list = NULL;
    size_t n = 0;

    assert_true(PQsetvalue(res, 1, 0, (char *)(uintptr_t) "2", 1));
    assert_int_equal(record_read_all(res, TYPE, arena, &n, &list), ERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(list[1]->int32_field, 2);
}

/* --- enums --- */

static void enums_have_short_names(void **state)
{
    (void)state;
    const ProtobufCEnumDescriptor *type = &daybook__testdata__v1__colour__descriptor;

    assert_string_equal(record_enum_text(type, 1, arena), "red");
    assert_string_equal(record_enum_text(type, -1, arena), "negative");
    assert_string_equal(record_enum_text(type, 0, arena), "");
    assert_null(record_enum_text(type, 5, arena));
}

/* --- parameters --- */

static void fields_become_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *name, *cast, *want; /* NULL: SQL NULL */
    } cases[] = {
        { "int32_field", "::int", "-5" },
        { "uint64_field", "::numeric", "18446744073709551615" },
        { "double_field", "::float8", "0.10000000000000001" },
        { "bool_field", "::boolean", "t" },
        { "string_field", "::text", "it's" },
        { "named_otherwise", "::text", "" }, /* unset text is the empty text... */
        { "named_otherwise", "", "" },
        { "named_otherwise", "::uuid", NULL }, /* ...but no uuid, */
        { "named_otherwise", "::timestamptz", NULL },
        { "named_otherwise", "::date", NULL },
        { "named_otherwise", "::jsonb", NULL },
        { "bytes_field", "::bytea", "\\x00ff" },
        { "child.bytes_field", "::bytea", "\\x" },
        { "enum_field", "::text", "red" },
        { "enum_field", "::smallint", "1" },
        { "child.enum_field", "::text", NULL },
        { "ts", "::timestamptz", "1970-01-01T00:00:01.000002Z" },
        { "child.ts", "::timestamptz", NULL },
        { "child.child.int32_field", "::int", NULL }, /* of an absent message */
        { "dur", "::bigint", "1500000" },
        { "opt_int32", "::int", NULL },
        { "choice_number", "::int", NULL }, /* another member of its oneof is set */
        { "choice_flag", "::boolean", "f" },
        { "string_list", "::text[]", "{\"a\",\"b\\\"c\"}" },
        { "int32_list", "::int[]", "{\"1\",\"2\"}" },
        { "enum_list", "::text[]", "{\"red\",\"negative\"}" },
        { "uint64_list", "::bigint[]", "{}" },
        { "string_list", "::jsonb", "[\"a\",\"b\\\"c\"]" },
        { "child", "::jsonb", "{\"int32Field\":7}" },
        { "child_list", "::jsonb", "[{\"stringField\":\"x:{}\"},{}]" },
        { "child.child_list", "::jsonb", "[]" },
        { "int64_map", "::jsonb", "{}" },
    };
    Everything *m = new_one(), *list[] = { new_one(), new_one() };
    char *strings[] = { text("a"), text("b\"c") };
    int32_t ints[] = { 1, 2 };
    Daybook__Testdata__V1__Colour colours[] = { 1, -1 };

    list[0]->string_field = text("x:{}");
    m->ts = wire_new(&google__protobuf__timestamp__descriptor, arena);
    m->ts->seconds = 1;
    m->ts->nanos = 2999;
    m->dur = wire_new(&google__protobuf__duration__descriptor, arena);
    m->dur->seconds = 1;
    m->dur->nanos = 500000000;
    m->child = new_one();
    m->child->int32_field = 7;
    m->int32_field = -5;
    m->uint64_field = UINT64_MAX;
    m->double_field = 0.1;
    m->bool_field = 1;
    m->string_field = text("it's");
    m->bytes_field = (ProtobufCBinaryData){ 2, (uint8_t[]){ 0, 255 } };
    m->enum_field = 1;
    m->child_list = list;
    m->n_child_list = 2;
    m->string_list = strings;
    m->n_string_list = 2;
    m->int32_list = ints;
    m->n_int32_list = 2;
    m->enum_list = colours;
    m->n_enum_list = 2;
    m->choice_case = DAYBOOK__TESTDATA__V1__EVERYTHING__CHOICE_CHOICE_FLAG;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char sql[64];
        const char *names[] = { cases[i].name, NULL }, *const *params = NULL;
        snprintf(sql, sizeof sql, "SELECT $12::int, $1%s", cases[i].cast);
        struct db_stmt stmt = { "bind_test", sql, 1, names };
        assert_int_equal(record_bind(&stmt, &m->base, NULL, 0, arena, &params), ERR_OK);
        if ((params[0] == NULL) != (cases[i].want == NULL) ||
            (params[0] && strcmp(params[0], cases[i].want) != 0))
            fail_msg("%s%s: %s", cases[i].name, cases[i].cast, params[0] ? params[0] : "NULL");
    }
}

static void extras_come_before_fields(void **state)
{
    (void)state;
    static const char *const names[] = { "tenant_id", "string_field", "int32_field", NULL };
    struct db_stmt stmt = { "extras_test", "SELECT $1::uuid, $2::text, $3::int", 3, names };
    struct record_extra extras[] = { { "string_field", NULL }, { "tenant_id", "t" } };
    Everything *m = new_one();
    const char *const *params = NULL;

    m->string_field = text("hidden");
    assert_int_equal(record_bind(&stmt, &m->base, extras, 2, arena, &params), ERR_OK);
    assert_string_equal(params[0], "t");
    assert_null(params[1]);
    assert_string_equal(params[2], "0");
    assert_int_equal(record_bind(&stmt, &m->base, extras, 1, arena, &params), ERR_INTERNAL);
    stmt.nparams = 1;
    assert_int_equal(record_bind(&stmt, NULL, extras, 2, arena, &params), ERR_OK);
}

static void an_unknown_enum_is_not_stored(void **state)
{
    (void)state;
    static const char *const names[] = { "enum_field", NULL };
    struct db_stmt stmt = { "enum_test", "SELECT $1::text", 1, names };
    Everything *m = new_one();
    const char *const *params = NULL;

    m->enum_field = 55;
    assert_int_equal(record_bind(&stmt, &m->base, NULL, 0, arena, &params), ERR_INTERNAL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(each_kind_of_column_fills_its_field),
        T(null_leaves_a_field_unset),
        T(dots_lead_into_sub_messages),
        T(json_columns_fill_messages_lists_and_maps),
        T(what_does_not_fit_is_an_error),
        T(a_full_arena_is_said_so),
        T(all_rows_become_a_repeated_field),
        T(enums_have_short_names),
        T(fields_become_parameters),
        T(extras_come_before_fields),
        T(an_unknown_enum_is_not_stored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
