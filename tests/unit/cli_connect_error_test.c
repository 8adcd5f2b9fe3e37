/*
 * Errors of the Connect protocol as the tool reads them, and what is none.
 */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "cli/connect_error.h"
#include "common/err.h"

static struct arena *arena;

static PbStatus *read_text(const char *text, const char *member)
{
    return connect_error_read(text, strlen(text), member, arena);
}

static void code_message_and_details_are_read(void **state)
{
    (void)state;
    PbStatus *s =
        read_text("{\"code\":\"already_exists\",\"message\":\"is there\",\"details\":["
                  "{\"type\":\"a.B\",\"value\":\"AQID\",\"debug\":{}},"
                  "{\"type\":\"a.C\",\"value\":\"AQ\"},{\"type\":\"a.D\",\"value\":\"\"}]}",
                  NULL);
    assert_non_null(s);
    assert_int_equal(s->code, ERR_ALREADY_EXISTS);
    assert_string_equal(s->message, "is there");
    assert_int_equal(s->n_details, 3);
    assert_string_equal(s->details[0]->type_url, "type.googleapis.com/a.B");
    assert_int_equal(s->details[0]->value.len, 3);
    assert_memory_equal(s->details[0]->value.data, "\1\2\3", 3);
    assert_int_equal(s->details[1]->value.len, 1);
    assert_int_equal(s->details[2]->value.len, 0);
}

static void every_code_has_its_number(void **state)
{
    (void)state;
    for (int code = ERR_CANCELED; code <= ERR_UNAUTHENTICATED; code++) {
        char text[64];
        snprintf(text, sizeof text, "{\"code\":\"%s\"}", err_name((enum err)code));
        PbStatus *s = read_text(text, NULL);
        if (!s || s->code != code || *s->message)
            fail_msg("%s", text);
    }
    assert_int_equal(read_text("{\"code\":\"of_another_version\"}", NULL)->code, ERR_UNKNOWN);
}

static void a_streams_error_is_a_member(void **state)
{
    (void)state;
    assert_int_equal(read_text("{\"error\":{\"code\":\"aborted\"},\"metadata\":{}}", "error")->code,
                     ERR_ABORTED);
    assert_null(read_text("{\"metadata\":{}}", "error"));
    assert_null(read_text("{\"code\":\"aborted\"}", "error"));
}

static void details_that_cannot_be_read_are_left_out(void **state)
{
    (void)state;
    static const char *const details[] = {
        "null",
        "{}",
        "[{}]",
        "[1, null, \"x\"]",
        "[{\"type\":\"a.B\"}]",
        "[{\"value\":\"AQID\"}]",
        "[{\"type\":\"a.B\",\"value\":\"A\"}]",
        "[{\"type\":\"a.B\",\"value\":\"!!\"}]",
        "[{\"type\":7,\"value\":\"AQID\"}]",
    };
    for (size_t i = 0; i < ARRAY_LEN(details); i++) {
        char text[160];
        snprintf(text, sizeof text, "{\"code\":\"internal\",\"details\":%s}", details[i]);
        PbStatus *s = read_text(text, NULL);
        if (!s || s->code != ERR_INTERNAL || s->n_details != 0)
            fail_msg("%s", text);
    }
}

static void what_is_no_error_is_not_taken_for_one(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "7",
        "{}",
        "<html>",
        "{\"code\":14}",
        "{\"error\":\"unavailable\"}",
        "{\"code\":\"internal\"} trailing",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (read_text(texts[i], NULL))
            fail_msg("'%s' was taken", texts[i]);
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(MIB);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_message_and_details_are_read),
        cmocka_unit_test(every_code_has_its_number),
        cmocka_unit_test(a_streams_error_is_a_member),
        cmocka_unit_test(details_that_cannot_be_read_are_left_out),
        cmocka_unit_test(what_is_no_error_is_not_taken_for_one),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
