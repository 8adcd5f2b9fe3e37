/*
 * csv.c - see csv.h. A state machine over bytes; the fields of a row stand one after another in one
 * buffer, each with its NUL, so a row costs no allocation.
 */
#include "common/csv.h"

#include <errno.h>

#include "common/utf8.h"

#define CHUNK (64 * KIB)

const struct csv_limits csv_limits_default = { .row_bytes = 256 * KIB, .fields = 256 };

enum state {
    FIELD_START,
    UNQUOTED,
    QUOTED,
    QUOTE_SEEN, /* in a quoted field: its end, or the first of two */
    CR_SEEN,
    SKIP, /* the rest of a bad row */
};

struct field {
    size_t at; /* in text */
    size_t line, column;
};

struct csv {
    struct csv_limits limits;
    csv_read_fn *read;
    void *arg;
    uint8_t chunk[CHUNK];
    size_t chunk_len, chunk_at;
    uint64_t bytes;
    bool started, at_end;
    bool gave_up;   /* fault stays */
    int read_errno; /* 0: no error */

    size_t line, column; /* of the next byte */

    /* the row under way */
    enum state state;
    char *text; /* limits.row_bytes + limits.fields */
    size_t text_len;
    struct field *fields;
    const char **pointers;
    size_t n;
    size_t row_line, row_bytes;
    size_t quote_line, quote_column; /* of the quote that opened the field */
    bool bad;
    struct csv_fault fault;
};

struct csv *csv_new(const struct csv_limits *limits, csv_read_fn *read, void *arg)
{
    struct csv *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->limits = *limits;
    c->read = read;
    c->arg = arg;
    c->line = c->column = c->row_line = 1;
    c->text = malloc(limits->row_bytes + limits->fields + 1);
    c->fields = calloc(limits->fields, sizeof *c->fields);
    c->pointers = calloc(limits->fields, sizeof *c->pointers);
    if (c->text && c->fields && c->pointers)
        return c;
    csv_free(c);
    return NULL;
}

void csv_free(struct csv *c)
{
    if (!c)
        return;
    free(c->text);
    free(c->fields);
    free(c->pointers);
    free(c);
}

uint64_t csv_bytes(const struct csv *c)
{
    return c->bytes - (c->chunk_len - c->chunk_at);
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* Reads more behind what is in the chunk. */
static bool read_more(struct csv *c)
{
    if (c->at_end)
        return false;
    ptrdiff_t n = c->read(c->arg, c->chunk + c->chunk_len, sizeof c->chunk - c->chunk_len);
    if (n < 0)
        c->read_errno = errno ? errno : EIO;
    c->at_end = n <= 0;
    c->chunk_len += n > 0 ? (size_t)n : 0;
    c->bytes += n > 0 ? (uint64_t)n : 0;
    return n > 0;
}

/* -1: no more. */
static int next_byte(struct csv *c)
{
    if (c->chunk_at == c->chunk_len) {
        c->chunk_at = c->chunk_len = 0;
        if (!read_more(c))
            return -1;
    }
    return c->chunk[c->chunk_at++];
}

/* The position of what follows the byte. */
static void move_on(struct csv *c, int byte)
{
    if (byte == '\n') {
        c->line++;
        c->column = 1;
    } else if ((byte & 0xc0) != 0x80) { /* not the continuation of a character */
        c->column++;
    }
}

/* --- rows ------------------------------------------------------------------------------------- */

static void note(struct csv *c, size_t line, size_t column, const char *reason)
{
    if (c->bad)
        return; /* the first fault counts */
    c->bad = true;
    c->fault = (struct csv_fault){ .row_line = c->row_line, .line = line, .column = column };
    snprintf(c->fault.reason, sizeof c->fault.reason, "%s", reason);
}

static void spoil(struct csv *c, const char *reason)
{
    note(c, c->line, c->column, reason);
    c->state = SKIP;
}

static void begin_field(struct csv *c, size_t column)
{
    if (c->n == c->limits.fields) {
        spoil(c, "too many fields");
        return;
    }
    c->fields[c->n++] = (struct field){ .at = c->text_len, .line = c->line, .column = column };
    c->state = FIELD_START;
}

static void begin_row(struct csv *c)
{
    c->text_len = c->n = c->row_bytes = 0;
    c->bad = false;
    c->row_line = c->line;
    begin_field(c, c->column);
}

static void add(struct csv *c, int byte)
{
    c->text[c->text_len++] = (char)byte;
}

/* At a separator. */
static void end_field(struct csv *c)
{
    add(c, '\0');
    begin_field(c, c->column + 1);
}

static void start_quote(struct csv *c)
{
    c->quote_line = c->line;
    c->quote_column = c->column;
    c->state = QUOTED;
}

static void plain(struct csv *c, int byte)
{
    if (byte == ',')
        end_field(c);
    else if (byte == '"')
        spoil(c, "a quote inside a field that does not begin with one");
    else if (byte == '\r')
        c->state = CR_SEEN;
    else if (byte == '\0')
        spoil(c, "a NUL byte");
    else {
        add(c, byte);
        c->state = UNQUOTED;
    }
}

/* One byte that does not end the row. */
static void step(struct csv *c, int byte)
{
    switch (c->state) {
    case FIELD_START:
        if (byte == '"')
            start_quote(c);
        else
            plain(c, byte);
        break;
    case UNQUOTED:
        plain(c, byte);
        break;
    case QUOTED:
        if (byte == '"')
            c->state = QUOTE_SEEN;
        else if (byte == '\0')
            spoil(c, "a NUL byte");
        else
            add(c, byte);
        break;
    case QUOTE_SEEN:
        if (byte == '"') {
            add(c, byte);
            c->state = QUOTED;
        } else if (byte == ',') {
            end_field(c);
        } else if (byte == '\r') {
            c->state = CR_SEEN;
        } else {
            spoil(c, "text after a closing quote");
        }
        break;
    case CR_SEEN:
        spoil(c, "a carriage return that does not end a line");
        break;
    case SKIP:
        break;
    }
}

static void check_text(struct csv *c)
{
    for (size_t i = 0; i < c->n && !c->bad; i++)
        if (!utf8_is_valid(c->pointers[i], strlen(c->pointers[i])))
            note(c, c->fields[i].line, c->fields[i].column, "not UTF-8; save the file as UTF-8");
}

/* The row is complete; false: it was an empty line. */
static bool end_row(struct csv *c, bool *bad_out)
{
    add(c, '\0');
    for (size_t i = 0; i < c->n; i++)
        c->pointers[i] = c->text + c->fields[i].at;
    bool was_quoted = c->state == QUOTE_SEEN;
    if (!c->bad && c->n == 1 && c->pointers[0][0] == '\0' && !was_quoted)
        return false;
    if (!c->bad)
        check_text(c);
    *bad_out = c->bad;
    return true;
}

/* --- the file --------------------------------------------------------------------------------- */

static enum csv_result give_up(struct csv *c, size_t line, size_t column, const char *reason,
                               struct csv_fault *fault_out)
{
    c->bad = false;
    note(c, line, column, reason);
    c->gave_up = true;
    *fault_out = c->fault;
    return CSV_FAILED;
}

/* False: the file is in another encoding. */
static bool take_mark(struct csv *c)
{
    if (c->started)
        return true;
    c->started = true;
    while (c->chunk_len < 3 && read_more(c)) {
    }
    if (c->chunk_len >= 2 &&
        (memcmp(c->chunk, "\xff\xfe", 2) == 0 || memcmp(c->chunk, "\xfe\xff", 2) == 0))
        return false;
    if (c->chunk_len >= 3 && memcmp(c->chunk, "\xef\xbb\xbf", 3) == 0)
        c->chunk_at = 3;
    return true;
}

static enum csv_result at_file_end(struct csv *c, struct csv_fault *fault_out)
{
    if (c->read_errno) {
        char reason[96];
        snprintf(reason, sizeof reason, "cannot be read: %s", strerror(c->read_errno));
        return give_up(c, c->line, c->column, reason, fault_out);
    }
    if (c->row_bytes == 0)
        return CSV_END;
    if (c->state == QUOTED)
        note(c, c->quote_line, c->quote_column, "a quote that is never closed");
    if (c->state == CR_SEEN)
        note(c, c->line, c->column, "a carriage return that does not end a line");
    return CSV_ROW;
}

static bool row_is_full(const struct csv *c)
{
    return c->row_bytes >= c->limits.row_bytes;
}

static enum csv_result too_long(struct csv *c, struct csv_fault *fault_out)
{
    char reason[120];
    if (c->state == QUOTED) {
        snprintf(reason, sizeof reason, "the row is over %zu bytes: is this quote never closed?",
                 c->limits.row_bytes);
        return give_up(c, c->quote_line, c->quote_column, reason, fault_out);
    }
    snprintf(reason, sizeof reason, "the row is over %zu bytes", c->limits.row_bytes);
    return give_up(c, c->line, c->column, reason, fault_out);
}

enum csv_result csv_next(struct csv *c, struct csv_row *row_out, struct csv_fault *fault_out)
{
    if (c->gave_up) {
        *fault_out = c->fault;
        return CSV_FAILED;
    }
    if (!take_mark(c))
        return give_up(c, 1, 1, "the file is UTF-16; save it as UTF-8", fault_out);

    for (begin_row(c);;) {
        bool bad = false;
        int byte = next_byte(c);
        if (byte < 0) {
            enum csv_result r = at_file_end(c, fault_out);
            if (r != CSV_ROW || !end_row(c, &bad))
                return r == CSV_ROW ? CSV_END : r;
        } else if (row_is_full(c)) {
            return too_long(c, fault_out);
        } else if (byte == '\n' && c->state != QUOTED) {
            move_on(c, byte);
            if (!end_row(c, &bad)) {
                begin_row(c);
                continue;
            }
        } else {
            c->row_bytes++;
            step(c, byte);
            move_on(c, byte);
            continue;
        }
        *fault_out = c->fault;
        *row_out = (struct csv_row){ .line = c->row_line, .n = c->n, .fields = c->pointers };
        return bad ? CSV_BAD : CSV_ROW;
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

void csv_write_cell(FILE *out, const char *text)
{
    bool formula = *text && strchr("=+-@\t\r", *text);
    bool quoted = strpbrk(text, ",\"\r\n") != NULL;
    if (quoted)
        (void)fputc('"', out);
    if (formula)
        (void)fputc('\'', out);
    for (const char *p = text; *p; p++) {
        if (*p == '"')
            (void)fputc('"', out);
        (void)fputc(*p, out);
    }
    if (quoted)
        (void)fputc('"', out);
}
