/* The rows of an import's file, wherever it is cut into pieces; ranges; the columns of an export. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/pb_access.h"
#include "common/sbuf.h"
#include "common/schema.h"
#include "common/wire.h"
#include "services/gateway/transfer/transfer_columns.h"
#include "services/gateway/transfer/transfer_range.h"
#include "services/gateway/transfer/transfer_rows.h"

/* --- rows --------------------------------------------------------------------------------------- */

struct input {
    const char *data;
    size_t len, at, step;
};

static ptrdiff_t read_input(void *arg, void *buf, size_t size)
{
    struct input *in = arg;
    size_t n = MIN(MIN(size, in->step), in->len - in->at);

    memcpy(buf, in->data + in->at, n);
    in->at += n;
    return (ptrdiff_t)n;
}

static ptrdiff_t read_nothing(void *arg UNUSED, void *buf UNUSED, size_t size UNUSED)
{
    errno = EIO;
    return -1;
}

/* All that is said of a file, one line a row. */
static void tell(const char *data, size_t len, size_t step, bool jsonl, struct sbuf *out)
{
    struct input in = { .data = data, .len = len, .step = step };
    struct transfer_rows *r =
        transfer_rows_new(import_kind("customers"), jsonl, "erp", read_input, &in);
    struct arena *a = arena_new(4 * MIB);
    struct transfer_row row;
    enum transfer_rows_result result;

    assert_non_null(r);
    assert_non_null(a);
    sbuf_clear(out);
    do {
        arena_reset(a);
        result = transfer_rows_next(r, a, &row);
        sbuf_addf(out, "%d", result);
        if (result == TRANSFER_ROW)
            sbuf_addf(out, " %zu %s %s", row.line, row.external_id,
                      ((Daybook__Customers__V1__ImportCustomer *)row.message)
                          ->customer->external_ref->source);
        else if (result != TRANSFER_END)
            sbuf_addf(out, " %zu [%s] %s", row.line, row.field, row.reason);
        sbuf_add_char(out, '\n');
    } while (result == TRANSFER_ROW || result == TRANSFER_BAD_ROW);
    arena_free(a);
    transfer_rows_free(r);
}

static const char csv_file[] = "\xef\xbb\xbf"
                               "external_id,name\r\n"
                               "a,\"quoted, with \"\"marks\"\"\r\nand a line\"\r\n"
                               "b,\xe4\xb8\x8a\xe6\xb5\xb7\n"
                               "\r\n"
                               "c,\xff\n"
                               "d\n"
                               "e,last";
static const char csv_told[] = "0 2 a erp\n0 4 b erp\n"
                               "1 6 [] line 6, column 3: not UTF-8; save the file as UTF-8\n"
                               "1 7 [] has 1 fields, but the header has 2\n"
                               "0 8 e erp\n2\n";

static const char json_file[] =
    "\xef\xbb\xbf"
    "{\"customer\":{\"externalRef\":{\"id\":\"a\"},\"name\":\"\xe4\xb8\x8a\"}}\r\n"
    " \t\r\n"
    "{\"customer\":{\"externalRef\":{\"id\":\"b\",\"source\":\"crm\"}}}\n"
    "{\"customer\":{\"externalRef\":{\"id\":\"b\"}}\n"
    "{\"customer\":{\"externalRef\":{\"id\":\"c\"}}}";

static void a_file_says_the_same_wherever_it_is_cut(void **state)
{
    struct sbuf got;

    (void)state;
    sbuf_init(&got, MIB);
    for (size_t step = 1; step < sizeof(csv_file) + 1; step++) {
        tell(csv_file, sizeof(csv_file) - 1, step, false, &got);
        assert_string_equal(got.data, csv_told);
    }
    for (size_t step = 1; step < sizeof(json_file) + 1; step++) {
        tell(json_file, sizeof(json_file) - 1, step, true, &got);
        assert_non_null(strstr(got.data, "0 1 a erp\n0 3 b crm\n1 4 ["));
        assert_non_null(strstr(got.data, "\n0 5 c erp\n2\n"));
    }
    sbuf_fini(&got);
}

static void what_is_no_such_file_says_why(void **state)
{
    static const struct {
        const char *data;
        size_t len;
        bool jsonl;
        const char *want;
    } cases[] = {
        { "", 0, false, "the file is empty: it needs a header" },
        { "id;name\n", 8, false, "the header has no column external_id" },
        { "\xff\xfe"
          "e\0",
          4, false, "UTF-16" },
        { "\xff\xfe{\0}\0", 6, true, "UTF-16" },
    };
    struct sbuf got;

    (void)state;
    sbuf_init(&got, MIB);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        tell(cases[i].data, cases[i].len, 3, cases[i].jsonl, &got);
        assert_int_equal(got.data[0], '0' + TRANSFER_FAILED);
        assert_non_null(strstr(got.data, cases[i].want));
    }
    tell("", 0, 1, true, &got);
    assert_string_equal(got.data, "2\n");
    sbuf_fini(&got);
}

static void a_line_that_is_too_long_is_passed_over(void **state)
{
    struct sbuf file, got;

    (void)state;
    sbuf_init(&file, MIB);
    sbuf_init(&got, MIB);
    for (size_t i = 0; i <= TRANSFER_LINE_MAX; i++)
        sbuf_add_char(&file, ' ');
    sbuf_add_text(&file, "\n{\"customer\":{\"externalRef\":{\"id\":\"x\"}}}\n");
    tell(file.data, file.len, 1000, true, &got);
    assert_string_equal(got.data, "1 1 [] the line is over 262144 bytes\n0 2 x erp\n2\n");
    sbuf_fini(&file);
    sbuf_fini(&got);
}

static void trouble_with_reading_is_no_end(void **state)
{
    struct transfer_row row;

    (void)state;
    for (int jsonl = 0; jsonl < 2; jsonl++) {
        struct transfer_rows *r =
            transfer_rows_new(import_kind("customers"), jsonl, "erp", read_nothing, NULL);
        struct arena *a = arena_new(MIB);
        assert_int_equal(transfer_rows_next(r, a, &row), TRANSFER_FAILED);
        assert_non_null(strstr(row.reason, "cannot be read"));
        arena_free(a);
        transfer_rows_free(r);
    }
}

/* --- ranges ------------------------------------------------------------------------------------- */

static void a_range_is_one_part_of_the_file(void **state)
{
    static const struct {
        const char *range, *if_range;
        int64_t len;
        struct transfer_range want;
    } cases[] = {
        { NULL, NULL, 10, { 200, 0, 10 } },
        { "bytes=0-", NULL, 10, { 206, 0, 10 } },
        { "bytes=2-5", NULL, 10, { 206, 2, 4 } },
        { "bytes=2-99", NULL, 10, { 206, 2, 8 } },
        { "bytes=9-9", NULL, 10, { 206, 9, 1 } },
        { "bytes=-3", NULL, 10, { 206, 7, 3 } },
        { "bytes=-30", NULL, 10, { 206, 0, 10 } },
        { "bytes=-0", NULL, 10, { 416, 0, 0 } },
        { "bytes=10-", NULL, 10, { 416, 0, 0 } },
        { "bytes=0-", NULL, 0, { 416, 0, 0 } },
        { "bytes=5-2", NULL, 10, { 200, 0, 10 } },
        { "bytes=1-2,4-5", NULL, 10, { 200, 0, 10 } },
        { "bytes=", NULL, 10, { 200, 0, 10 } },
        { "bytes=-", NULL, 10, { 200, 0, 10 } },
        { "lines=1-2", NULL, 10, { 200, 0, 10 } },
        { "bytes=99999999999999999999-", NULL, 10, { 200, 0, 10 } },
        { "bytes=2-5", "\"tag\"", 10, { 206, 2, 4 } },
        { "bytes=2-5", "\"other\"", 10, { 200, 0, 10 } },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct transfer_range got =
            transfer_range_of(cases[i].range, cases[i].if_range, "\"tag\"", cases[i].len);
        if (got.status != cases[i].want.status || got.from != cases[i].want.from ||
            got.len != cases[i].want.len)
            fail_msg("%s of %" PRId64 ": %u %" PRId64 " %" PRId64, cases[i].range, cases[i].len,
                     got.status, got.from, got.len);
    }
}

/* --- columns ------------------------------------------------------------------------------------ */

static Daybook__Customers__V1__Customer *sample(struct arena *a)
{
    Daybook__Customers__V1__Customer *c =
        wire_new(&daybook__customers__v1__customer__descriptor, a);

    c->id = pb_borrow("id-1");
    c->name = pb_borrow("=SUM(A1)");
    c->external_ref = wire_new(&daybook__common__v1__external_ref__descriptor, a);
    c->external_ref->id = pb_borrow("E,1");
    c->key_account = true;
    c->tier = DAYBOOK__CUSTOMERS__V1__TIER__TIER_A;
    return c;
}

/* What one row becomes. */
static char *write_row(const struct transfer_columns *k, bool json, struct arena *a)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    Daybook__Customers__V1__Customer *c = sample(a);

    assert_int_equal(json ? transfer_columns_write_json(k, &c->base, "x-1", out)
                          : transfer_columns_write_csv(k, &c->base, "x-1", a, out),
                     ERR_OK);
    fclose(out);
    return text;
}

static void a_row_has_the_columns_that_were_chosen(void **state)
{
    static const char *const names[] = { "name", "external_id", "key_account", "tier", "lat" };
    struct arena *a = arena_new(MIB);
    struct transfer_columns k;
    size_t bad = 99;

    (void)state;
    assert_true(transfer_columns_choose(names, ARRAY_LEN(names), &k, &bad));
    char *text = write_row(&k, false, a);
    assert_string_equal(text, "'=SUM(A1),\"E,1\",true,a,,x-1\r\n");
    free(text);
    text = write_row(&k, true, a);
    assert_string_equal(text, "{\"externalRef\":{\"id\":\"E,1\"},\"name\":\"=SUM(A1)\","
                              "\"tier\":\"TIER_A\",\"keyAccount\":true,\"exportId\":\"x-1\"}\n");
    free(text);
    arena_free(a);
}

static void columns_that_do_not_exist_are_refused(void **state)
{
    static const char *const unknown[] = { "name", "secret" }, *const twice[] = { "id", "id" };
    struct transfer_columns k;
    size_t bad = 99;

    (void)state;
    assert_false(transfer_columns_choose(unknown, 2, &k, &bad));
    assert_int_equal(bad, 1);
    assert_false(transfer_columns_choose(twice, 2, &k, &bad));
    assert_true(transfer_columns_choose(NULL, 0, &k, &bad));
    assert_int_equal(k.n, 22);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_says_the_same_wherever_it_is_cut),
        cmocka_unit_test(what_is_no_such_file_says_why),
        cmocka_unit_test(a_line_that_is_too_long_is_passed_over),
        cmocka_unit_test(trouble_with_reading_is_no_end),
        cmocka_unit_test(a_range_is_one_part_of_the_file),
        cmocka_unit_test(a_row_has_the_columns_that_were_chosen),
        cmocka_unit_test(columns_that_do_not_exist_are_refused),
    };
    schema_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
