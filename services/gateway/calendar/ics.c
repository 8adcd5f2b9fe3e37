/*
 * ics.c - see ics.h.
 */
#include "services/gateway/calendar/ics.h"

#include "common/tz.h"
#include "common/utf8.h"

#define LINE_OCTETS 75 /* without the line end (RFC 5545, 3.1) */
#define REPLACEMENT "\xef\xbf\xbd"

/* --- folding ------------------------------------------------------------------------------------ */

/* One character, which is never parted. */
static void put(struct ics *w, const char *bytes, size_t n)
{
    if (w->column + n > LINE_OCTETS) {
        sbuf_add_text(w->out, "\r\n ");
        w->column = 1;
    }
    sbuf_add(w->out, bytes, n);
    w->column += n;
}

static void put_ascii(struct ics *w, const char *text)
{
    for (; *text; text++)
        put(w, text, 1);
}

static void end_line(struct ics *w)
{
    sbuf_add_text(w->out, "\r\n");
    w->column = 0;
}

/* --- characters --------------------------------------------------------------------------------- */

enum kind {
    PLAIN,
    LINE_END, /* also what other readers than RFC 5545's take for one: Python's splitlines() does */
    CONTROL,
    BROKEN, /* not UTF-8 */
};

struct character {
    const char *bytes;
    size_t len; /* to go on by */
    enum kind kind;
};

static size_t length_by_lead(unsigned char lead)
{
    return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

static enum kind kind_of(const unsigned char *p, size_t len)
{
    if (len == 1 && (*p == '\n' || *p == '\r' || *p == '\v' || *p == '\f'))
        return LINE_END;
    if (len == 1 && ((*p < 0x20 && *p != '\t') || *p == 0x7f))
        return CONTROL;
    if (len == 2 && p[0] == 0xc2 && p[1] < 0xa0) /* C1, and NEL among them */
        return p[1] == 0x85 ? LINE_END : CONTROL;
    if (len == 3 && memcmp(p, "\xe2\x80\xa8", 3) == 0) /* U+2028 and U+2029 */
        return LINE_END;
    return len == 3 && memcmp(p, "\xe2\x80\xa9", 3) == 0 ? LINE_END : PLAIN;
}

static struct character next(const char *text)
{
    size_t len = length_by_lead((unsigned char)*text);

    if (strnlen(text, len) < len || !utf8_is_valid(text, len))
        return (struct character){ text, 1, BROKEN };
    if (text[0] == '\r' && text[1] == '\n')
        return (struct character){ text, 2, LINE_END };
    return (struct character){ text, len, kind_of((const unsigned char *)text, len) };
}

/* `escape` has what stands for a character, NULL: itself; line_end for the end of a line. */
static void put_escaped(struct ics *w, const char *text, const char *(*escape)(char c),
                        const char *line_end)
{
    while (*text) {
        struct character c = next(text);
        const char *instead = c.len == 1 && c.kind == PLAIN ? escape(*text) : NULL;
        if (instead)
            put(w, instead, strlen(instead));
        else if (c.kind == PLAIN)
            put(w, c.bytes, c.len);
        else if (c.kind == BROKEN)
            put(w, REPLACEMENT, strlen(REPLACEMENT));
        else if (c.kind == LINE_END)
            put(w, line_end, strlen(line_end));
        text += c.len;
    }
}

static const char *escape_text(char c)
{
    return c == '\\' ? "\\\\" : c == ';' ? "\\;" : c == ',' ? "\\," : NULL;
}

static const char *escape_param(char c)
{
    return c == '"' ? "^'" : c == '^' ? "^^" : NULL;
}

static const char *escape_nothing(char c UNUSED)
{
    return NULL;
}

/* --- lines -------------------------------------------------------------------------------------- */

void ics_name(struct ics *w, const char *name)
{
    put_ascii(w, name);
}

void ics_param(struct ics *w, const char *name, const char *value)
{
    bool quoted = strpbrk(value, ":;,") != NULL;

    put_ascii(w, ";");
    put_ascii(w, name);
    put_ascii(w, quoted ? "=\"" : "=");
    put_escaped(w, value, escape_param, "^n");
    put_ascii(w, quoted ? "\"" : "");
}

void ics_value(struct ics *w, const char *value)
{
    put_ascii(w, ":");
    put_escaped(w, value, escape_nothing, "");
    end_line(w);
}

void ics_value_text(struct ics *w, const char *text)
{
    put_ascii(w, ":");
    put_escaped(w, text, escape_text, "\\n");
    end_line(w);
}

void ics_value_time(struct ics *w, int64_t us)
{
    const struct tz *utc = tz_find("UTC");
    struct date d = tz_date(utc, us);
    int minute = tz_minute_of_day(utc, us);
    int second = (int)((us - tz_instant(utc, d, minute)) / SECOND_US);
    char text[32];

    snprintf(text, sizeof(text), "%04d%02d%02dT%02d%02d%02dZ", d.year, d.month, d.day, minute / 60,
             minute % 60, second);
    ics_value(w, text);
}

void ics_line(struct ics *w, const char *name, const char *value)
{
    ics_name(w, name);
    ics_value(w, value);
}

void ics_text(struct ics *w, const char *name, const char *text)
{
    ics_name(w, name);
    ics_value_text(w, text);
}

void ics_time(struct ics *w, const char *name, int64_t us)
{
    ics_name(w, name);
    ics_value_time(w, us);
}

void ics_begin(struct ics *w, const char *component)
{
    ics_line(w, "BEGIN", component);
}

void ics_end(struct ics *w, const char *component)
{
    ics_line(w, "END", component);
}
