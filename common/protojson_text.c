/*
 * protojson_text.c - texts inside JSON values, by the rules of protocols C.1.
 */
#include "common/protojson_text.h"

#include <math.h>

#include "common/tz.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* --- numbers -------------------------------------------------------------------------------- */

static const char *digits_end(const char *p, const char *end)
{
    while (p < end && is_digit(*p))
        p++;
    return p;
}

size_t pj_number_length(const char *start, const char *end)
{
    const char *p = start;
    if (p < end && *p == '-')
        p++;
    const char *whole = p;
    p = digits_end(p, end);
    if (p == whole || (*whole == '0' && p - whole > 1))
        return 0;
    if (p < end && *p == '.') {
        const char *fraction = p + 1;
        p = digits_end(fraction, end);
        if (p == fraction)
            return 0;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        const char *exponent = p + 1;
        if (exponent < end && (*exponent == '+' || *exponent == '-'))
            exponent++;
        p = digits_end(exponent, end);
        if (p == exponent)
            return 0;
    }
    return (size_t)(p - start);
}

/* The exponent of a number by JSON's grammar; far beyond any text's length it stays where it is. */
static int64_t exponent_of(const char *p, const char *end)
{
    const int64_t most = INT64_C(1000000000);
    bool negative = p < end && *p == '-';
    int64_t e = 0;
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    for (; p < end && e < most; p++)
        e = e * 10 + (*p - '0');
    return negative ? -e : e;
}

static bool times_ten_plus(uint64_t *v, unsigned digit)
{
    return !__builtin_mul_overflow(*v, 10, v) && !__builtin_add_overflow(*v, digit, v);
}

/*
 * The digits without the point are a whole number times 10^scale. Zeros at its end move into the
 * scale, after which a negative scale means a fraction, and all else fits 64 bits or does not.
 */
enum pj_integer pj_integer_parse(const char *s, size_t n, bool *negative_out,
                                 uint64_t *magnitude_out)
{
    const char *end = s + n, *p = s;
    if (n == 0 || pj_number_length(s, end) != n)
        return PJ_INTEGER_SYNTAX;
    bool negative = *p == '-';
    const char *mantissa = p + negative, *point = digits_end(mantissa, end);
    const char *mantissa_end = point < end && *point == '.' ? digits_end(point + 1, end) : point;
    int64_t scale = mantissa_end < end ? exponent_of(mantissa_end + 1, end) : 0;
    if (mantissa_end > point)
        scale -= mantissa_end - point - 1;

    uint64_t v = 0, zeros = 0;
    bool fits = true;
    for (p = mantissa; p < mantissa_end; p++) {
        if (*p == '.')
            continue;
        if (*p == '0') {
            zeros++;
            continue;
        }
        for (; zeros > 0 && v > 0 && fits; zeros--)
            fits = times_ten_plus(&v, 0);
        zeros = 0;
        fits = fits && times_ten_plus(&v, (unsigned)(*p - '0'));
    }
    scale += (int64_t)zeros;
    if (fits && v == 0)
        scale = 0;
    if (scale < 0)
        return PJ_INTEGER_FRACTION;
    for (; scale > 0 && fits; scale--)
        fits = times_ten_plus(&v, 0);
    if (!fits)
        return PJ_INTEGER_RANGE;
    *negative_out = negative;
    *magnitude_out = v;
    return PJ_INTEGER_OK;
}

void pj_double_write(struct sbuf *out, double v)
{
    char text[40];
    if (fabs(v) < 1e15 && v == trunc(v) && !(v == 0 && signbit(v))) {
        sbuf_add_i64(out, (int64_t)v);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    sbuf_add_text(out, text);
}

void pj_float_write(struct sbuf *out, float v)
{
    char text[40];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v)
            break;
    }
    sbuf_add_text(out, text);
}

/* --- base64 --------------------------------------------------------------------------------- */

static int base64_value(char c)
{
    if (is_upper(c))
        return c - 'A';
    if (is_lower(c))
        return c - 'a' + 26;
    if (is_digit(c))
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

bool pj_base64_parse(const char *s, size_t n, uint8_t *out, size_t *len_out)
{
    size_t padding = 0, len = 0;
    while (padding < 2 && n > 0 && s[n - 1] == '=') {
        padding++;
        n--;
    }
    if (n % 4 == 1 || (padding > 0 && (n + padding) % 4 != 0))
        return false;
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        int v = base64_value(s[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        if (i % 4 != 0) /* the second to fourth character each complete a byte */
            out[len++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    *len_out = len;
    return true;
}

void pj_base64_write(struct sbuf *out, const uint8_t *data, size_t n)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = (uint32_t)data[i] << 16;
        bits |= i + 1 < n ? (uint32_t)data[i + 1] << 8 : 0;
        bits |= i + 2 < n ? (uint32_t)data[i + 2] : 0;
        char text[4] = { alphabet[bits >> 18], alphabet[bits >> 12 & 63],
                         i + 1 < n ? alphabet[bits >> 6 & 63] : '=',
                         i + 2 < n ? alphabet[bits & 63] : '=' };
        sbuf_add(out, text, sizeof(text));
    }
}

/* --- times ---------------------------------------------------------------------------------- */

/* A text that is eaten from the front. */
struct eater {
    const char *p, *end;
};

static bool eat(struct eater *t, char c)
{
    if (t->p >= t->end || *t->p != c)
        return false;
    t->p++;
    return true;
}

/* Exactly n digits, at most 9. */
static bool eat_digits(struct eater *t, int n, int32_t max, int32_t *out)
{
    int32_t v = 0;
    for (; n > 0; n--) {
        if (t->p >= t->end || !is_digit(*t->p))
            return false;
        v = v * 10 + (*t->p++ - '0');
    }
    *out = v;
    return v <= max;
}

/* ".5" to nanoseconds; nothing there is 0. One to nine digits. */
static bool eat_fraction(struct eater *t, int32_t *nanos_out)
{
    int32_t v = 0;
    int n = 0;
    if (eat(t, '.')) {
        for (; t->p < t->end && is_digit(*t->p); n++) {
            if (n == 9)
                return false;
            v = v * 10 + (*t->p++ - '0');
        }
        if (n == 0)
            return false;
    }
    for (; n > 0 && n < 9; n++)
        v *= 10;
    *nanos_out = v;
    return true;
}

/* "Z", "+05:30", to the seconds by which local time is ahead. */
static bool eat_offset(struct eater *t, int32_t *seconds_out)
{
    int32_t hours, minutes;
    bool west = t->p < t->end && *t->p == '-';
    *seconds_out = 0;
    if (eat(t, 'Z'))
        return true;
    if (!eat(t, '-') && !eat(t, '+'))
        return false;
    if (!eat_digits(t, 2, 23, &hours) || !eat(t, ':') || !eat_digits(t, 2, 59, &minutes))
        return false;
    *seconds_out = (hours * 60 + minutes) * (west ? -60 : 60);
    return true;
}

static bool eat_date(struct eater *t, int32_t *day_number_out)
{
    char text[DATE_TEXT_MAX] = "";
    struct date date;
    const size_t len = sizeof("2026-01-02") - 1;
    if ((size_t)(t->end - t->p) < len)
        return false;
    memcpy(text, t->p, len);
    t->p += len;
    if (!date_parse(text, &date))
        return false;
    *day_number_out = date_number(date);
    return true;
}

bool pj_timestamp_parse(const char *s, size_t n, int64_t *seconds_out, int32_t *nanos_out)
{
    struct eater t = { s, s + n };
    int32_t day, hour, minute, second, nanos, offset;
    if (!eat_date(&t, &day) || !eat(&t, 'T') || !eat_digits(&t, 2, 23, &hour) || !eat(&t, ':') ||
        !eat_digits(&t, 2, 59, &minute) || !eat(&t, ':') || !eat_digits(&t, 2, 59, &second) ||
        !eat_fraction(&t, &nanos) || !eat_offset(&t, &offset) || t.p != t.end)
        return false;
    int64_t seconds = (int64_t)day * 86400 + hour * 3600 + minute * 60 + second - offset;
    if (seconds < PJ_SECONDS_MIN || seconds > PJ_SECONDS_MAX)
        return false;
    *seconds_out = seconds;
    *nanos_out = nanos;
    return true;
}

/* Not by printf(): answers consist of times to a large part. */
static void add_digits(struct sbuf *out, int64_t v, int n)
{
    char digits[9];

    for (int i = n; i-- > 0; v /= 10)
        digits[i] = (char)('0' + v % 10);
    sbuf_add(out, digits, (size_t)n);
}

/* 0, 3, 6 or 9 digits, as many as are needed. */
static void write_fraction(struct sbuf *out, int32_t nanos)
{
    if (nanos == 0)
        return;
    sbuf_add_char(out, '.');
    if (nanos % 1000000 == 0)
        add_digits(out, nanos / 1000000, 3);
    else if (nanos % 1000 == 0)
        add_digits(out, nanos / 1000, 6);
    else
        add_digits(out, nanos, 9);
}

bool pj_timestamp_write(struct sbuf *out, int64_t seconds, int32_t nanos)
{
    char day_text[DATE_TEXT_MAX];
    if (seconds < PJ_SECONDS_MIN || seconds > PJ_SECONDS_MAX || nanos < 0 || nanos > 999999999)
        return false;
    int64_t rest = seconds % 86400, day = seconds / 86400;
    if (rest < 0) {
        rest += 86400;
        day--;
    }
    date_format(date_from_number((int32_t)day), day_text);
    sbuf_add_text(out, day_text);
    sbuf_add_char(out, 'T');
    add_digits(out, rest / 3600, 2);
    sbuf_add_char(out, ':');
    add_digits(out, rest / 60 % 60, 2);
    sbuf_add_char(out, ':');
    add_digits(out, rest % 60, 2);
    write_fraction(out, nanos);
    sbuf_add_char(out, 'Z');
    return true;
}

bool pj_duration_parse(const char *s, size_t n, int64_t *seconds_out, int32_t *nanos_out)
{
    struct eater t = { s, s + n };
    bool negative = eat(&t, '-');
    const char *digits = t.p;
    int64_t seconds = 0;
    int32_t nanos;
    for (; t.p < t.end && is_digit(*t.p) && seconds <= PJ_DURATION_MAX; t.p++)
        seconds = seconds * 10 + (*t.p - '0');
    if (t.p == digits || seconds > PJ_DURATION_MAX || !eat_fraction(&t, &nanos) || !eat(&t, 's') ||
        t.p != t.end)
        return false;
    *seconds_out = negative ? -seconds : seconds;
    *nanos_out = negative ? -nanos : nanos;
    return true;
}

bool pj_duration_write(struct sbuf *out, int64_t seconds, int32_t nanos)
{
    if (seconds < -PJ_DURATION_MAX || seconds > PJ_DURATION_MAX || nanos < -999999999 ||
        nanos > 999999999 || (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0))
        return false;
    if (seconds < 0 || nanos < 0)
        sbuf_add_char(out, '-');
    sbuf_add_i64(out, seconds < 0 ? -seconds : seconds);
    write_fraction(out, nanos < 0 ? -nanos : nanos);
    sbuf_add_char(out, 's');
    return true;
}

/* --- field masks ---------------------------------------------------------------------------- */

bool pj_path_parse(const char *s, size_t n, char *out)
{
    size_t len = 0;
    if (n == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '_')
            return false; /* not camelCase */
        if (is_upper(s[i])) {
            out[len++] = '_';
            out[len++] = (char)(s[i] - 'A' + 'a');
        } else {
            out[len++] = s[i];
        }
    }
    out[len] = 0;
    return true;
}

bool pj_path_write(struct sbuf *out, const char *path)
{
    if (!*path)
        return false;
    for (const char *p = path; *p; p++) {
        if (is_upper(*p) || *p == ',')
            return false;
        if (*p != '_') {
            sbuf_add_char(out, *p);
        } else {
            if (!is_lower(p[1]))
                return false;
            sbuf_add_char(out, (char)(*++p - 'a' + 'A'));
        }
    }
    return true;
}
