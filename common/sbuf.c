/*
 * sbuf.c - text that grows up to a bound.
 *
 * `bad` sticks: after the first piece that did not fit nothing more is appended, so that the
 * content is always a clean beginning and never has a hole.
 */
#include "common/sbuf.h"

#include <assert.h>

#define FIRST_CAP 64

/* What data points at before the first append, so that it is a text without an allocation. */
static char empty[1] = "";

void sbuf_init(struct sbuf *b, size_t limit)
{
    assert(limit < SIZE_MAX / 4);
    *b = (struct sbuf){ .data = empty, .limit = limit };
}

void sbuf_init_fixed(struct sbuf *b, char *mem, size_t size)
{
    assert(size > 0);
    *b = (struct sbuf){ .data = mem, .cap = size, .limit = size - 1, .fixed = true };
    mem[0] = '\0';
}

void sbuf_fini(struct sbuf *b)
{
    if (!b->fixed && b->cap > 0)
        free(b->data);
    *b = (struct sbuf){ .data = empty };
}

/* Cuts the content back to len; `empty` is shared between threads and never written. */
static void cut(struct sbuf *b, size_t len)
{
    b->len = len;
    if (b->cap > 0)
        b->data[len] = '\0';
}

void sbuf_clear(struct sbuf *b)
{
    cut(b, 0);
    b->bad = false;
}

char *sbuf_take(struct sbuf *b)
{
    char *text = NULL;
    if (!b->bad) {
        if (b->fixed || b->cap == 0) {
            text = malloc(b->len + 1);
            if (text)
                memcpy(text, b->data, b->len + 1);
        } else {
            text = b->data;
            b->data = empty;
            b->cap = 0;
        }
    }
    cut(b, 0);
    return text;
}

/* Room for n more bytes and the NUL. */
static bool reserve(struct sbuf *b, size_t n)
{
    if (b->bad)
        return false;
    if (n > b->limit - b->len) {
        b->bad = true;
        return false;
    }
    size_t need = b->len + n + 1;
    if (need <= b->cap)
        return true;

    size_t cap = MAX(MAX(b->cap * 2, need), (size_t)FIRST_CAP);
    cap = MIN(cap, b->limit + 1);
    char *grown = realloc(b->cap > 0 ? b->data : NULL, cap);
    if (!grown) {
        b->bad = true;
        return false;
    }
    b->data = grown;
    b->cap = cap;
    return true;
}

void sbuf_add(struct sbuf *b, const void *p, size_t n)
{
    if (n == 0 || !reserve(b, n))
        return;
    memcpy(b->data + b->len, p, n);
    cut(b, b->len + n);
}

void sbuf_add_text(struct sbuf *b, const char *s)
{
    sbuf_add(b, s, strlen(s));
}

void sbuf_add_char(struct sbuf *b, char c)
{
    sbuf_add(b, &c, 1);
}

void sbuf_addf(struct sbuf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    sbuf_vaddf(b, fmt, ap);
    va_end(ap);
}

void sbuf_vaddf(struct sbuf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0) {
        b->bad = true;
    } else if (n > 0 && reserve(b, (size_t)n)) {
        int written = vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        assert(written == n);
        (void)written;
        b->len += (size_t)n;
    }
    va_end(again);
}

void sbuf_add_i64(struct sbuf *b, int64_t v)
{
    char digits[24];
    size_t at = sizeof(digits);
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do
        digits[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (v < 0)
        digits[--at] = '-';
    sbuf_add(b, digits + at, sizeof(digits) - at);
}

/* Bytes of the well-formed UTF-8 character at s; 0 when it is not one (RFC 3629). */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    size_t n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

static void add_json_escape(struct sbuf *b, unsigned char c)
{
    static const char short_form[256] = {
        ['"'] = '"',  ['\\'] = '\\', ['\n'] = 'n', ['\r'] = 'r',
        ['\t'] = 't', ['\b'] = 'b',  ['\f'] = 'f',
    };
    if (short_form[c]) {
        char pair[2] = { '\\', short_form[c] };
        sbuf_add(b, pair, 2);
    } else {
        sbuf_addf(b, "\\u%04x", c);
    }
}

static inline void add_json(struct sbuf *b, const char *s, bool nul)
{
    size_t start = b->len;
    if (!s) {
        sbuf_add_text(b, "null");
        return;
    }
    sbuf_add_char(b, '"');
    const unsigned char *plain = (const unsigned char *)s; /* start of what needs no escape */
    const unsigned char *at = plain;
    while (*at) {
        while (*at >= 0x20 && *at < 0x7f && *at != '"' && *at != '\\') /* most are */
            at++;
        if (!*at)
            break;
        size_t n = utf8_length(at);
        if (n > 0 && *at >= 0x20 && *at != '"' && *at != '\\' && *at != 0x7f) {
            at += n;
            continue;
        }
        sbuf_add(b, plain, (size_t)(at - plain));
        bool is_nul = nul && at[0] == 0xc0 && at[1] == 0x80;
        if (is_nul)
            add_json_escape(b, 0);
        else if (n == 0)
            sbuf_add_text(b, "\xef\xbf\xbd"); /* U+FFFD: a JSON text must be UTF-8 */
        else
            add_json_escape(b, *at);
        at += is_nul ? 2 : 1;
        plain = at;
    }
    sbuf_add(b, plain, (size_t)(at - plain));
    sbuf_add_char(b, '"');
    if (b->bad)
        cut(b, start);
}

void sbuf_add_json(struct sbuf *b, const char *s)
{
    add_json(b, s, false);
}

void sbuf_add_json_nul(struct sbuf *b, const char *s)
{
    add_json(b, s, true);
}

void sbuf_add_pg_element(struct sbuf *b, const char *s)
{
    size_t start = b->len;
    if (!s) {
        sbuf_add_text(b, "NULL");
        return;
    }
    sbuf_add_char(b, '"');
    while (*s) {
        size_t n = strcspn(s, "\"\\");
        sbuf_add(b, s, n);
        s += n;
        if (*s) {
            char pair[2] = { '\\', *s++ };
            sbuf_add(b, pair, 2);
        }
    }
    sbuf_add_char(b, '"');
    if (b->bad)
        cut(b, start);
}
