/*
 * protojson_scan.c - tokens, strings and the skipping of what nobody wants.
 */
#include "common/protojson_scan.h"

#include "common/protojson.h"
#include "common/protojson_text.h"

#define SKIP_DEPTH 64 /* one bit each says whether it is an object */

/* --- faults and memory ---------------------------------------------------------------------- */

static size_t path_write(const struct pj_place *place, char *buf, size_t size)
{
    if (!place)
        return 0;
    size_t n = path_write(place->up, buf, size);
    if (n >= size)
        return n;
    int wrote = snprintf(buf + n, size - n, "%s%s", n ? "." : "", place->field);
    n += wrote > 0 ? (size_t)wrote : 0;
    if (place->indexed && n < size) {
        wrote = snprintf(buf + n, size - n, "[%zu]", place->index);
        n += wrote > 0 ? (size_t)wrote : 0;
    }
    return n;
}

enum err pj_fail(struct pj_reader *r, const char *fmt, ...)
{
    va_list ap;
    r->fault->field[0] = 0;
    path_write(r->place, r->fault->field, sizeof(r->fault->field));
    va_start(ap, fmt);
    vsnprintf(r->fault->reason, sizeof(r->fault->reason), fmt, ap);
    va_end(ap);
    return ERR_INVALID_ARGUMENT;
}

enum err pj_syntax(struct pj_reader *r, const char *what)
{
    return pj_fail(r, "not JSON at byte %zu: %s", (size_t)(r->p - r->start), what);
}

void *pj_take(struct pj_reader *r, size_t n, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(n, size, &total) || total > r->left)
        return NULL;
    void *p = arena_alloc(r->arena, total);
    if (p)
        r->left -= total;
    return p;
}

enum err pj_full(struct pj_reader *r)
{
    enum err e = pj_fail(r, "the message needs too much memory");
    return e ? ERR_RESOURCE_EXHAUSTED : ERR_INTERNAL;
}

/* --- tokens --------------------------------------------------------------------------------- */

char pj_peek(struct pj_reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t'))
        r->p++;
    return r->p < r->end ? *r->p : 0;
}

bool pj_word(struct pj_reader *r, const char *word)
{
    size_t n = strlen(word);
    if (pj_peek(r) != *word || (size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
        return false;
    r->p += n;
    return true;
}

enum err pj_number(struct pj_reader *r, struct pj_text *out)
{
    (void)pj_peek(r);
    size_t n = pj_number_length(r->p, r->end);
    if (n == 0)
        return pj_syntax(r, "a number was expected");
    *out = (struct pj_text){ r->p, n, false };
    r->p += n;
    return ERR_OK;
}

/* Four hexadecimal digits; -1 when there are none. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        v = v * 16 + digit;
    }
    return v;
}

/* The code point of \uXXXX, or of two such that are a surrogate pair; p is behind the u. */
static enum err unicode_escape(struct pj_reader *r, const char **p, uint32_t *out)
{
    int32_t high = hex4(*p, r->end);
    if (high < 0)
        return pj_syntax(r, "four hexadecimal digits must follow \\u");
    *p += 4;
    if (high == 0 && !(r->flags & PROTOJSON_KEEP_NUL))
        return pj_fail(r, "holds a NUL character");
    *out = (uint32_t)high;
    if (high < 0xd800 || high > 0xdfff)
        return ERR_OK;
    if (high > 0xdbff || r->end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
        return pj_fail(r, "holds an unpaired surrogate");
    int32_t low = hex4(*p + 2, r->end);
    if (low < 0xdc00 || low > 0xdfff)
        return pj_fail(r, "holds an unpaired surrogate");
    *p += 6;
    *out = 0x10000 + (((uint32_t)high - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
    return ERR_OK;
}

/* 0 in two bytes: a NUL inside a text (wire_nul.h). */
static size_t utf8_encode(uint32_t c, char *out)
{
    if (c < 0x80 && c != 0) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* One escape behind its backslash; writes at most four bytes, never more than it eats. */
static enum err escape(struct pj_reader *r, const char **p, char *out, size_t *n_out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = *p < r->end ? *(*p)++ : 0;
    const char *at = c ? strchr(from, c) : NULL;
    if (at) {
        *out = to[at - from];
        *n_out = 1;
        return ERR_OK;
    }
    uint32_t code = 0;
    if (c != 'u')
        return pj_syntax(r, "no such escape");
    enum err e = unicode_escape(r, p, &code);
    if (e)
        return e;
    *n_out = utf8_encode(code, out);
    return ERR_OK;
}

/* Finds the closing quote of the string at p; escapes are only stepped over. */
static enum err string_end(struct pj_reader *r, const char *p, const char **end_out,
                           bool *escapes_out)
{
    bool escapes = false;
    for (; p < r->end; p++) {
        if (*p == '"') {
            *end_out = p;
            *escapes_out = escapes;
            return ERR_OK;
        }
        if ((unsigned char)*p < 0x20) {
            r->p = p;
            return pj_syntax(r, "a control character in a string");
        }
        if (*p == '\\') {
            escapes = true;
            p++;
        }
    }
    return pj_syntax(r, "a string that does not end");
}

static enum err unescape(struct pj_reader *r, const char *p, const char *end, struct pj_text *out)
{
    char *text = pj_take(r, (size_t)(end - p) + 1, 1);
    size_t n = 0, wrote;
    if (!text)
        return pj_full(r);
    while (p < end) {
        if (*p != '\\') {
            text[n++] = *p++;
            continue;
        }
        p++;
        enum err e = escape(r, &p, text + n, &wrote);
        if (e)
            return e;
        n += wrote;
    }
    text[n] = 0;
    *out = (struct pj_text){ text, n, true };
    return ERR_OK;
}

enum err pj_string(struct pj_reader *r, struct pj_text *out)
{
    const char *end;
    bool escapes;
    if (pj_peek(r) != '"')
        return pj_fail(r, "must be a string");
    const char *content = r->p + 1;
    enum err e = string_end(r, content, &end, &escapes);
    if (e)
        return e;
    if (escapes)
        e = unescape(r, content, end, out);
    else
        *out = (struct pj_text){ content, (size_t)(end - content), false };
    if (e)
        return e;
    r->p = end + 1;
    return ERR_OK;
}

/* --- objects and arrays --------------------------------------------------------------------- */

enum err pj_open(struct pj_reader *r, char bracket, const char *what)
{
    if (pj_peek(r) != bracket)
        return pj_fail(r, "must be %s", what);
    r->p++;
    return ERR_OK;
}

/* Eats the bracket or the comma. */
static enum err next_or_close(struct pj_reader *r, char bracket, bool *started, bool *more_out)
{
    char c = pj_peek(r);
    if (c == bracket) {
        r->p++;
        *more_out = false;
        return ERR_OK;
    }
    if (*started && c != ',')
        return pj_syntax(r, bracket == '}' ? "a comma or } was expected"
                                           : "a comma or ] was expected");
    if (*started)
        r->p++;
    *started = true;
    *more_out = true;
    return ERR_OK;
}

enum err pj_object_next(struct pj_reader *r, bool *started, struct pj_text *key_out, bool *more_out)
{
    enum err e = next_or_close(r, '}', started, more_out);
    if (e || !*more_out)
        return e;
    if (pj_peek(r) != '"')
        return pj_syntax(r, "a key was expected");
    e = pj_string(r, key_out);
    if (e)
        return e;
    if (pj_peek(r) != ':')
        return pj_syntax(r, "a colon was expected");
    r->p++;
    return ERR_OK;
}

enum err pj_array_next(struct pj_reader *r, bool *started, bool *more_out)
{
    return next_or_close(r, ']', started, more_out);
}

static enum err skip_string(struct pj_reader *r)
{
    /* The escapes are checked, but what they stand for is not kept. */
    const char *end;
    bool escapes;
    enum err e = string_end(r, r->p + 1, &end, &escapes);
    if (e)
        return e;
    for (const char *p = r->p + 1; escapes && p < end;) {
        char ignored[4];
        size_t n;
        if (*p++ == '\\' && (e = escape(r, &p, ignored, &n)))
            return e;
    }
    r->p = end + 1;
    return ERR_OK;
}

static enum err skip_key(struct pj_reader *r)
{
    if (pj_peek(r) != '"')
        return pj_syntax(r, "a key was expected");
    enum err e = skip_string(r);
    if (e)
        return e;
    if (pj_peek(r) != ':')
        return pj_syntax(r, "a colon was expected");
    r->p++;
    return ERR_OK;
}

static enum err skip_scalar(struct pj_reader *r)
{
    struct pj_text number;
    char c = pj_peek(r);
    if (c == '"')
        return skip_string(r);
    if (c == '-' || (c >= '0' && c <= '9'))
        return pj_number(r, &number);
    if (pj_word(r, "null") || pj_word(r, "true") || pj_word(r, "false"))
        return ERR_OK;
    return pj_syntax(r, "a value was expected");
}

/* Without recursion: what is open is a bit each, innermost lowest, 1 for an object. */
enum err pj_skip(struct pj_reader *r)
{
    uint64_t objects = 0;
    int open = 0;
    do {
        enum err e = ERR_OK;
        bool more = true, started;
        char c = pj_peek(r);
        if (c == '{' || c == '[') {
            if (open + r->depth >= SKIP_DEPTH)
                return pj_fail(r, "nested more than %d deep", SKIP_DEPTH);
            r->p++;
            open++;
            objects = objects << 1 | (c == '{');
            started = false;
        } else {
            e = skip_scalar(r);
            started = true;
        }
        while (!e && open > 0) { /* close what ends here */
            e = next_or_close(r, objects & 1 ? '}' : ']', &started, &more);
            if (e || more)
                break;
            objects >>= 1;
            open--;
            started = true;
        }
        if (!e && open > 0 && (objects & 1))
            e = skip_key(r);
        if (e)
            return e;
    } while (open > 0);
    return ERR_OK;
}
