/*
 * fuzz_csv.c - any bytes as a CSV file; the first byte chooses the limits and how many bytes come
 * at once.
 *
 * Reading ends; positions rise; a good row is valid UTF-8 within the limits; and what was read,
 * written as CSV and read again is the same.
 */
#include <assert.h>

#include "common/base.h"
#include "common/csv.h"
#include "common/sbuf.h"
#include "common/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct input {
    const uint8_t *data;
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

static void write_row(FILE *out, const struct csv_row *row)
{
    for (size_t i = 0; i < row->n; i++) {
        if (i)
            (void)fputc(',', out);
        if (row->n == 1 && row->fields[0][0] == '\0')
            (void)fputs("\"\"", out); /* else it is an empty line */
        csv_write_cell(out, row->fields[i]);
    }
    (void)fputc('\n', out);
}

static bool is_formula(const char *text)
{
    return *text && strchr("=+-@\t\r", *text);
}

static void is_row(const struct csv_row *row, const char *text, size_t len)
{
    struct input in = { .data = (const uint8_t *)text, .len = len, .step = len };
    struct csv *c = csv_new(&csv_limits_default, read_input, &in);
    struct csv_row again;
    struct csv_fault fault;
    assert(c);
    enum csv_result r = csv_next(c, &again, &fault);
    assert(r == CSV_ROW && again.n == row->n);
    for (size_t i = 0; i < row->n; i++)
        assert(strcmp(again.fields[i] + is_formula(row->fields[i]), row->fields[i]) == 0);
    assert(csv_next(c, &again, &fault) == CSV_END);
    csv_free(c);
}

static void survives_writing(const struct csv_row *row)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert(out);
    write_row(out, row);
    (void)fclose(out);
    /* a byte order mark that is content would be taken for one */
    if (len < 3 || memcmp(text, "\xef\xbb\xbf", 3) != 0)
        is_row(row, text, len);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct csv_limits limits = { .row_bytes = data[0] & 1 ? 64 : 4096,
                                 .fields = data[0] & 2 ? 3 : 64 };
    struct input in = { .data = data + 1, .len = len - 1, .step = (size_t)(data[0] >> 2) + 1 };
    struct csv *c = csv_new(&limits, read_input, &in);
    struct csv_row row;
    struct csv_fault fault;
    size_t line = 0;

    assert(c);
    for (enum csv_result r; (r = csv_next(c, &row, &fault)) != CSV_END;) {
        if (r != CSV_ROW) {
            assert(fault.reason[0] && fault.line >= fault.row_line && fault.column >= 1);
            assert(fault.row_line >= line);
            line = fault.row_line;
            if (r == CSV_FAILED)
                break;
            continue;
        }
        assert(row.line > line && row.n >= 1 && row.n <= limits.fields);
        line = row.line;
        for (size_t i = 0; i < row.n; i++)
            assert(utf8_is_valid(row.fields[i], strlen(row.fields[i])));
        survives_writing(&row);
    }
    assert(csv_bytes(c) <= len);
    csv_free(c);
    return 0;
}
