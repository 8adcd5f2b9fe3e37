/* RFC 4180 to the letter, faults told with line and column, and the fixtures of tests/data/csv. */
#include "common/base.h"

#include <errno.h>

#include <setjmp.h>
#include <cmocka.h>

#include "common/csv.h"
#include "common/sbuf.h"

#define FIXTURES "tests/data/csv/"

struct text {
    const char *data;
    size_t len, at;
    size_t step; /* bytes given at once */
    bool fails;  /* at the end */
};

static ptrdiff_t read_text(void *arg, void *buf, size_t size)
{
    struct text *t = arg;
    size_t n = MIN(MIN(size, t->step), t->len - t->at);
    if (n == 0 && t->fails) {
        errno = EIO;
        return -1;
    }
    memcpy(buf, t->data + t->at, n);
    t->at += n;
    return (ptrdiff_t)n;
}

/* The whole text as "<line>:field|field\n", bad rows as "<row line>!<line>:<column> <reason>\n". */
static void render(struct text *t, const struct csv_limits *limits, struct sbuf *out)
{
    struct csv *c = csv_new(limits, read_text, t);
    struct csv_row row;
    struct csv_fault f;
    assert_non_null(c);
    for (;;) {
        enum csv_result r = csv_next(c, &row, &f);
        if (r == CSV_END)
            break;
        if (r == CSV_ROW) {
            sbuf_addf(out, "%zu:", row.line);
            for (size_t i = 0; i < row.n; i++)
                sbuf_addf(out, "%s%s", i ? "|" : "", row.fields[i]);
            sbuf_add_char(out, '\n');
            continue;
        }
        sbuf_addf(out, "%zu%s%zu:%zu %s\n", f.row_line, r == CSV_BAD ? "!" : "#", f.line, f.column,
                  f.reason);
        if (r == CSV_FAILED) {
            assert_int_equal(csv_next(c, &row, &f), CSV_FAILED); /* and stays so */
            break;
        }
    }
    csv_free(c);
}

static void check(const char *label, const char *data, size_t len, const struct csv_limits *limits,
                  const char *want)
{
    static const size_t steps[] = { 1, 2, 7, 100000 }; /* however the bytes arrive */
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct sbuf out;
        struct text t = { .data = data, .len = len, .step = steps[i] };
        sbuf_init(&out, MIB);
        render(&t, limits, &out);
        if (strcmp(out.data, want) != 0)
            fail_msg("%s, %zu bytes at once:\n%s\nwant:\n%s", label, steps[i], out.data, want);
        sbuf_fini(&out);
    }
}

#define TEXT(s) s, sizeof(s) - 1

static void good_rows(void **state)
{
    (void)state;
    static const struct {
        const char *label, *data;
        size_t len;
        const char *want;
    } cases[] = {
        { "nothing", TEXT(""), "" },
        { "a mark alone", TEXT("\xef\xbb\xbf"), "" },
        { "one field", TEXT("a"), "1:a\n" },
        { "LF", TEXT("a,b\nc,d\n"), "1:a|b\n2:c|d\n" },
        { "CRLF", TEXT("a,b\r\nc,d\r\n"), "1:a|b\n2:c|d\n" },
        { "no line end at the end", TEXT("a,b\nc,d"), "1:a|b\n2:c|d\n" },
        { "a byte order mark",
          TEXT("\xef\xbb\xbf"
               "a,b\n"),
          "1:a|b\n" },
        { "a mark and a quote", TEXT("\xef\xbb\xbf\"a\",b\n"), "1:a|b\n" },
        { "empty fields", TEXT(",,\n"), "1:||\n" },
        { "a comma at the end", TEXT("a,\n"), "1:a|\n" },
        { "empty lines are passed over", TEXT("\n\r\na\n\nb\n\n"), "3:a\n5:b\n" },
        { "an empty quoted field is a row", TEXT("\"\"\n"), "1:\n" },
        { "the same at the end", TEXT("\"\""), "1:\n" },
        { "quotes, commas, line ends", TEXT("\"a,\"\"b\"\"\",\"x\ny\r\nz\"\nlast,1\n"),
          "1:a,\"b\"|x\ny\r\nz\n4:last|1\n" },
        { "spaces stay", TEXT(" a , b \n"), "1: a | b \n" },
        { "Chinese", TEXT("嘉兴,月季路\n"), "1:嘉兴|月季路\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(cases[i].label, cases[i].data, cases[i].len, &csv_limits_default, cases[i].want);
}

static void bad_rows_are_told_and_skipped(void **state)
{
    (void)state;
    static const struct {
        const char *label, *data;
        size_t len;
        const char *want;
    } cases[] = {
        { "a quote inside", TEXT("a,b\"c,d\ne\n"),
          "1!1:4 a quote inside a field that does not begin with one\n2:e\n" },
        { "the column counts characters", TEXT("海棠,海\"棠\ne\n"),
          "1!1:5 a quote inside a field that does not begin with one\n2:e\n" },
        { "text after a quote", TEXT("\"a\"b\ne\n"), "1!1:4 text after a closing quote\n2:e\n" },
        { "a space after a quote", TEXT("\"a\" ,b\ne\n"),
          "1!1:4 text after a closing quote\n2:e\n" },
        { "never closed", TEXT("a\nb,\"c\nd\n"), "1:a\n2!2:3 a quote that is never closed\n" },
        { "a bare CR", TEXT("a\rb\nc\n"),
          "1!1:3 a carriage return that does not end a line\n2:c\n" },
        { "a bare CR at the end", TEXT("a\r"),
          "1!1:3 a carriage return that does not end a line\n" },
        { "NUL", TEXT("a\0b\nc\n"), "1!1:2 a NUL byte\n2:c\n" },
        { "NUL in quotes", TEXT("\"a\0b\"\nc\n"), "1!1:3 a NUL byte\n2:c\n" },
        { "ISO 8859-1", TEXT("ok,M\xfcller\nc\n"),
          "1!1:4 not UTF-8; save the file as UTF-8\n2:c\n" },
        { "the field on its own line", TEXT("\"a\nb\",\xff\nc\n"),
          "1!2:4 not UTF-8; save the file as UTF-8\n3:c\n" },
        { "UTF-16",
          TEXT("\xff\xfe"
               "a\0,\0"),
          "1#1:1 the file is UTF-16; save it as UTF-8\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(cases[i].label, cases[i].data, cases[i].len, &csv_limits_default, cases[i].want);
}

/* F63: nothing in a file makes the reader use more than its limits. */
static void limits_hold(void **state)
{
    (void)state;
    static const struct csv_limits small = { .row_bytes = 10, .fields = 3 };
    check("as many as there may be", TEXT("a,b,c\n"), &small, "1:a|b|c\n");
    check("one too many", TEXT("a,b,c,d\ne\n"), &small, "1!1:6 too many fields\n2:e\n");
    check("a long row", TEXT("a\n0123456789x\nb\n"), &small,
          "1:a\n2#2:11 the row is over 10 bytes\n");
    check("a quote that swallows the file", TEXT("a\n1,\"2\n3\n4\n5\n6\n7\n8\n"), &small,
          "1:a\n2#2:3 the row is over 10 bytes: is this quote never closed?\n");
}

static void a_read_error_is_no_end(void **state)
{
    (void)state;
    struct text t = { TEXT("a,b\nc"), .step = 100, .fails = true };
    struct sbuf out;
    sbuf_init(&out, KIB);
    render(&t, &csv_limits_default, &out);
    assert_non_null(strstr(out.data, "1:a|b\n2#2:2 cannot be read: "));
    sbuf_fini(&out);
}

/* --- fixtures --------------------------------------------------------------------------------- */

static ptrdiff_t read_file(void *arg, void *buf, size_t size)
{
    size_t n = fread(buf, 1, size, arg);
    return n == 0 && ferror((FILE *)arg) ? -1 : (ptrdiff_t)n;
}

static void fixtures(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        const char *rows; /* '.' good, '!' bad; the header is the first */
        size_t bad_line[3], bad_column[3];
    } cases[] = {
        { "bom.csv", "....", { 0 }, { 0 } },
        { "crlf.csv", "....", { 0 }, { 0 } },
        { "missing_column.csv", "....", { 0 }, { 0 } },
        { "bad_quotes.csv", "..!!.!", { 3, 4, 6 }, { 0 } },
        { "latin1.csv", ".!!", { 2, 3 }, { 10, 10 } },
        { "duplicate_rows.csv", ".......", { 0 }, { 0 } },
        { "formula.csv", NULL, { 0 }, { 0 } },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char path[200];
        snprintf(path, sizeof path, FIXTURES "%s", cases[i].file);
        FILE *f = fopen(path, "rb");
        if (!f)
            fail_msg("%s: %s", path, strerror(errno));
        struct csv *c = csv_new(&csv_limits_default, read_file, f);
        struct csv_row row;
        struct csv_fault fault;
        char rows[32] = "";
        size_t n = 0, nbad = 0, width = 0;
        for (enum csv_result r; (r = csv_next(c, &row, &fault)) != CSV_END && n < 31; n++) {
            rows[n] = r == CSV_ROW ? '.' : '!';
            if (r == CSV_ROW && n == 0)
                width = row.n;
            else if (r == CSV_ROW && row.n != width)
                fail_msg("%s, line %zu: %zu fields, the header has %zu", path, row.line, row.n,
                         width);
            if (r == CSV_BAD && cases[i].bad_line[nbad] != fault.row_line)
                fail_msg("%s: a bad row on line %zu: %s", path, fault.row_line, fault.reason);
            if (r == CSV_BAD && cases[i].bad_column[nbad] &&
                cases[i].bad_column[nbad] != fault.column)
                fail_msg("%s: line %zu, column %zu: %s", path, fault.line, fault.column,
                         fault.reason);
            nbad += r == CSV_BAD;
        }
        if (cases[i].rows && strcmp(rows, cases[i].rows) != 0)
            fail_msg("%s: %s, want %s", path, rows, cases[i].rows);
        if (!cases[i].rows && (nbad || n < 2))
            fail_msg("%s: %s", path, rows);
        csv_free(c);
        (void)fclose(f);
    }
}

/* F62 */
static void cells_are_written_for_spreadsheets(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "", "" },
        { "plain", "plain" },
        { "a,b", "\"a,b\"" },
        { "say \"hi\"", "\"say \"\"hi\"\"\"" },
        { "two\nlines", "\"two\nlines\"" },
        { "=1+1", "'=1+1" },
        { "+86", "'+86" },
        { "-5", "'-5" },
        { "@x", "'@x" },
        { "\tx", "'\tx" },
        { "\r", "\"'\r\"" },
        { "=A1,B1", "\"'=A1,B1\"" },
        { "a=b", "a=b" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *got = NULL;
        size_t len = 0;
        FILE *f = open_memstream(&got, &len);
        csv_write_cell(f, cases[i].text);
        (void)fclose(f);
        assert_string_equal(got, cases[i].want);
        free(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_rows),   cmocka_unit_test(bad_rows_are_told_and_skipped),
        cmocka_unit_test(limits_hold), cmocka_unit_test(a_read_error_is_no_end),
        cmocka_unit_test(fixtures),    cmocka_unit_test(cells_are_written_for_spreadsheets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
