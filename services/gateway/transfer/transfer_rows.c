/*
 * transfer_rows.c - see transfer_rows.h.
 */
#include "services/gateway/transfer/transfer_rows.h"

#include <errno.h>

#include "common/protojson.h"

#define BLOCK (64 * KIB)

struct transfer_rows {
    const struct import_kind *kind;
    const char *source;
    csv_read_fn *read;
    void *arg;
    /* CSV */
    struct csv *csv;
    struct import_map map;
    bool has_header;
    /* JSON Lines */
    char block[BLOCK];
    size_t block_len, block_at;
    char *text; /* TRANSFER_LINE_MAX */
    size_t text_len;
    size_t lines; /* that have begun */
    bool at_end, started;
    int failed; /* errno */
};

struct transfer_rows *transfer_rows_new(const struct import_kind *kind, bool jsonl,
                                        const char *source, csv_read_fn *read, void *arg)
{
    struct transfer_rows *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->kind = kind;
    r->source = source;
    r->read = read;
    r->arg = arg;
    if (jsonl)
        r->text = malloc(TRANSFER_LINE_MAX);
    else
        r->csv = csv_new(&csv_limits_default, read, arg);
    if (r->text || r->csv)
        return r;
    transfer_rows_free(r);
    return NULL;
}

void transfer_rows_free(struct transfer_rows *r)
{
    if (!r)
        return;
    csv_free(r->csv);
    free(r->text);
    free(r);
}

static enum transfer_rows_result fault(struct transfer_row *out, enum transfer_rows_result result,
                                       const char *field, const char *fmt, ...) PRINTF(4, 5);
static enum transfer_rows_result fault(struct transfer_row *out, enum transfer_rows_result result,
                                       const char *field, const char *fmt, ...)
{
    va_list ap;

    snprintf(out->field, sizeof(out->field), "%s", field);
    va_start(ap, fmt);
    vsnprintf(out->reason, sizeof(out->reason), fmt, ap);
    va_end(ap);
    return result;
}

/* --- CSV ---------------------------------------------------------------------------------------- */

static enum transfer_rows_result bad_csv(struct transfer_row *out, enum csv_result result,
                                         const struct csv_fault *f)
{
    out->line = f->row_line;
    return fault(out, result == CSV_BAD ? TRANSFER_BAD_ROW : TRANSFER_FAILED, "",
                 "line %zu, column %zu: %s", f->line, f->column, f->reason);
}

static enum transfer_rows_result read_header(struct transfer_rows *r, struct transfer_row *out)
{
    struct csv_row row;
    struct csv_fault f;

    enum csv_result result = csv_next(r->csv, &row, &f);
    if (result == CSV_END)
        return fault(out, TRANSFER_FAILED, "", "the file is empty: it needs a header");
    if (result != CSV_ROW) {
        (void)bad_csv(out, result, &f);
        return TRANSFER_FAILED;
    }
    r->has_header = true;
    return import_map_header(r->kind, &row, &r->map)
               ? TRANSFER_ROW
               : fault(out, TRANSFER_FAILED, "", "%s", r->map.why);
}

static enum transfer_rows_result next_csv(struct transfer_rows *r, struct arena *a,
                                          struct transfer_row *out)
{
    struct import_fault why;
    struct csv_row row;
    struct csv_fault f;

    if (!r->has_header) {
        enum transfer_rows_result header = read_header(r, out);
        if (header != TRANSFER_ROW)
            return header;
    }
    enum csv_result result = csv_next(r->csv, &row, &f);
    if (result == CSV_END)
        return TRANSFER_END;
    if (result != CSV_ROW)
        return bad_csv(out, result, &f);
    out->line = row.line;
    out->external_id = arena_strdup(a, import_cell(&r->map, &row, "external_id"));
    out->message = import_row(&r->map, &row, r->source, a, &why);
    if (!out->external_id || (!out->message && !why.message[0]))
        return TRANSFER_FULL;
    return out->message ? TRANSFER_ROW : fault(out, TRANSFER_BAD_ROW, why.field, "%s", why.message);
}

/* --- JSON Lines --------------------------------------------------------------------------------- */

/* False: no more. */
static bool fill(struct transfer_rows *r)
{
    ptrdiff_t n = r->at_end ? 0 : r->read(r->arg, r->block, sizeof(r->block));

    if (n < 0)
        r->failed = errno ? errno : EIO;
    r->at_end = n <= 0;
    r->block_len = n > 0 ? (size_t)n : 0;
    r->block_at = 0;
    return n > 0;
}

/* Keeps what fits; the rest of the line is read and dropped. */
static void keep(struct transfer_rows *r, const char *data, size_t len, bool *too_long)
{
    if (r->text_len + len > TRANSFER_LINE_MAX) {
        *too_long = true;
        return;
    }
    memcpy(r->text + r->text_len, data, len);
    r->text_len += len;
}

/* The next line, without its end. False: there is none. */
static bool read_line(struct transfer_rows *r, bool *too_long)
{
    bool any = false;

    r->text_len = 0;
    *too_long = false;
    while (r->block_at < r->block_len || fill(r)) {
        const char *from = r->block + r->block_at;
        size_t have = r->block_len - r->block_at;
        const char *end = memchr(from, '\n', have);
        size_t len = end ? (size_t)(end - from) : have;
        any = true;
        keep(r, from, len, too_long);
        r->block_at += len + (end != NULL);
        if (end)
            break;
    }
    r->lines += any;
    return any;
}

static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!strchr(" \t\r", text[i]) || !text[i])
            return false;
    return true;
}

/* False: the file is in another encoding. */
static bool take_mark(struct transfer_rows *r)
{
    if (r->started)
        return true;
    r->started = true;
    if (r->text_len >= 2 &&
        (memcmp(r->text, "\xff\xfe", 2) == 0 || memcmp(r->text, "\xfe\xff", 2) == 0))
        return false;
    if (r->text_len >= 3 && memcmp(r->text, "\xef\xbb\xbf", 3) == 0) {
        r->text_len -= 3;
        memmove(r->text, r->text + 3, r->text_len);
    }
    return true;
}

/* A reference without a source is one of the file's. False: no memory. */
static bool name_source(struct transfer_rows *r, struct arena *a, struct transfer_row *out)
{
    Daybook__Common__V1__ExternalRef **ref = r->kind->ref(out->message);

    if (!ref || !*ref)
        return true;
    out->external_id = (*ref)->id;
    if (*(*ref)->source)
        return true;
    (*ref)->source = arena_strdup(a, r->source);
    return (*ref)->source != NULL;
}

static enum transfer_rows_result read_row(struct transfer_rows *r, struct arena *a,
                                          struct transfer_row *out)
{
    struct wire_fault why;

    enum err e = protojson_read(r->kind->row_type, r->text, r->text_len,
                                PROTOJSON_STRICT | PROTOJSON_REQUEST, a, &out->message, &why);
    if (e == ERR_RESOURCE_EXHAUSTED)
        return TRANSFER_FULL;
    if (e) {
        out->message = NULL;
        return fault(out, TRANSFER_BAD_ROW, why.field, "%s", why.reason);
    }
    return name_source(r, a, out) ? TRANSFER_ROW : TRANSFER_FULL;
}

static enum transfer_rows_result next_json(struct transfer_rows *r, struct arena *a,
                                           struct transfer_row *out)
{
    bool too_long;

    do {
        if (!read_line(r, &too_long))
            return r->failed
                       ? fault(out, TRANSFER_FAILED, "", "cannot be read: %s", strerror(r->failed))
                       : TRANSFER_END;
        if (!take_mark(r))
            return fault(out, TRANSFER_FAILED, "", "the file is UTF-16; save it as UTF-8");
    } while (!too_long && is_blank(r->text, r->text_len));
    out->line = r->lines;
    if (too_long)
        return fault(out, TRANSFER_BAD_ROW, "", "the line is over %zu bytes",
                     (size_t)TRANSFER_LINE_MAX);
    return read_row(r, a, out);
}

enum transfer_rows_result transfer_rows_next(struct transfer_rows *r, struct arena *a,
                                             struct transfer_row *row_out)
{
    *row_out = (struct transfer_row){ .external_id = "" };
    return r->csv ? next_csv(r, a, row_out) : next_json(r, a, row_out);
}
