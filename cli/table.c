/*
 * table.c - see table.h.
 */
#include "cli/table.h"

#include "common/utf8.h"

struct row {
    struct row *next;
    const char *cells[TABLE_COLUMNS_MAX];
};

struct table {
    struct arena *arena;
    size_t n;
    bool right[TABLE_COLUMNS_MAX];
    size_t width[TABLE_COLUMNS_MAX];
    struct row header;
    struct row *last;
};

/* Ranges of characters that take two places (East Asian Width W and F, emoji). */
static const struct {
    uint32_t from, to;
} wide[] = {
    { 0x1100, 0x115f },   { 0x2e80, 0x303e }, { 0x3041, 0xa4cf },   { 0xa960, 0xa97f },
    { 0xac00, 0xd7a3 },   { 0xf900, 0xfaff }, { 0xfe10, 0xfe19 },   { 0xfe30, 0xfe6f },
    { 0xff00, 0xff60 },   { 0xffe0, 0xffe6 }, { 0x1f300, 0x1f64f }, { 0x1f900, 0x1f9ff },
    { 0x20000, 0x3fffd },
};

/* Takes none: combining marks, joiners. */
static const struct {
    uint32_t from, to;
} narrow[] = { { 0x300, 0x36f }, { 0x200b, 0x200f }, { 0xfe00, 0xfe0f } };

static size_t places(uint32_t c)
{
    for (size_t i = 0; i < ARRAY_LEN(wide); i++)
        if (c >= wide[i].from && c <= wide[i].to)
            return 2;
    for (size_t i = 0; i < ARRAY_LEN(narrow); i++)
        if (c >= narrow[i].from && c <= narrow[i].to)
            return 0;
    return 1;
}

/* The next code point of a valid text. */
static uint32_t next_point(const unsigned char **p)
{
    uint32_t c = *(*p)++;
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    if (more)
        c &= 0x3fu >> more;
    for (; more; more--)
        c = c << 6 | (*(*p)++ & 0x3fu);
    return c;
}

size_t text_width(const char *text)
{
    size_t len = strlen(text), n = 0;
    if (!utf8_is_valid(text, len))
        return len;
    for (const unsigned char *p = (const unsigned char *)text; *p;)
        n += places(next_point(&p));
    return n;
}

/* C0 and DEL, and C1, which is two bytes in UTF-8 and steers terminals as well. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

char *text_plain(struct arena *a, const char *text)
{
    size_t len = strlen(text), n = 0;
    char *out = arena_alloc(a, len + 1);
    if (!out)
        return NULL;
    bool valid = utf8_is_valid(text, len);
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        const unsigned char *start = p;
        uint32_t c = valid ? next_point(&p) : *p++;
        if (is_control(c) || (!valid && c >= 0x80)) {
            out[n++] = '?';
            continue;
        }
        memcpy(out + n, start, (size_t)(p - start));
        n += (size_t)(p - start);
    }
    out[n] = '\0';
    return out;
}

static bool fill(struct table *t, struct row *row, const char *const *cells)
{
    for (size_t i = 0; i < t->n; i++) {
        row->cells[i] = text_plain(t->arena, cells[i] ? cells[i] : "-");
        if (!row->cells[i])
            return false;
        t->width[i] = MAX(t->width[i], text_width(row->cells[i]));
    }
    return true;
}

struct table *table_new(struct arena *a, const char *const *headers)
{
    const char *names[TABLE_COLUMNS_MAX];
    struct table *t = arena_alloc(a, sizeof *t);
    if (!t)
        return NULL;
    t->arena = a;
    for (; headers[t->n] && t->n < TABLE_COLUMNS_MAX; t->n++) {
        t->right[t->n] = headers[t->n][0] == '>';
        names[t->n] = headers[t->n] + t->right[t->n];
    }
    t->last = &t->header;
    return fill(t, &t->header, names) ? t : NULL;
}

bool table_add(struct table *t, const char *const *cells)
{
    struct row *row = arena_alloc(t->arena, sizeof *row);
    if (!row || !fill(t, row, cells))
        return false;
    t->last->next = row;
    t->last = row;
    return true;
}

static void pad(FILE *out, size_t n)
{
    for (; n > 0; n--)
        (void)fputc(' ', out);
}

static void print_row(const struct table *t, const struct row *row, FILE *out)
{
    for (size_t i = 0; i < t->n; i++) {
        size_t blank = t->width[i] - text_width(row->cells[i]);
        if (i)
            (void)fputs("  ", out);
        if (t->right[i])
            pad(out, blank);
        (void)fputs(row->cells[i], out);
        if (!t->right[i] && i + 1 < t->n)
            pad(out, blank);
    }
    (void)fputc('\n', out);
}

void table_print(const struct table *t, FILE *out)
{
    for (const struct row *row = &t->header; row; row = row->next)
        print_row(t, row, out);
}
