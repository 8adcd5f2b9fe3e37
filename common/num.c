/*
 * num.c - strict parsing; digits are read by hand, so that neither locale nor leading space nor a
 * sign where none belongs can slip in.
 */
#include "common/num.h"

#include <locale.h>
#include <math.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads the digits at text; their count, or 0 when there is none or they pass UINT64_MAX. */
static size_t read_digits(const char *text, size_t len, uint64_t *out)
{
    uint64_t value = 0;
    size_t n = 0;
    for (; n < len && is_digit(text[n]); n++) {
        if (__builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[n] - '0'), &value))
            return 0;
    }
    *out = value;
    return n;
}

bool num_i64(const char *text, int64_t min, int64_t max, int64_t *out)
{
    return text && num_i64_n(text, strlen(text), min, max, out);
}

bool num_i64_n(const char *text, size_t len, int64_t min, int64_t max, int64_t *out)
{
    bool negative = len > 0 && text[0] == '-';
    size_t sign = negative ? 1 : 0;
    uint64_t magnitude;
    if (len == sign || read_digits(text + sign, len - sign, &magnitude) != len - sign)
        return false;
    if (magnitude > (uint64_t)INT64_MAX + sign)
        return false;
    int64_t value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    if (value < min || value > max)
        return false;
    *out = value;
    return true;
}

bool num_u64(const char *text, uint64_t max, uint64_t *out)
{
    if (!text)
        return false;
    size_t len = strlen(text);
    uint64_t value;
    if (len == 0 || read_digits(text, len, &value) != len || value > max)
        return false;
    *out = value;
    return true;
}

static const char *skip_digits(const char *p)
{
    while (is_digit(*p))
        p++;
    return p;
}

/* [-] digits [. digits] [e [+-] digits], which leaves out hex, inf and nan. */
static bool is_decimal(const char *p)
{
    if (*p == '-')
        p++;
    const char *after = skip_digits(p);
    if (after == p)
        return false;
    p = after;
    if (*p == '.') {
        after = skip_digits(++p);
        if (after == p)
            return false;
        p = after;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-')
            p++;
        after = skip_digits(p);
        if (after == p)
            return false;
        p = after;
    }
    return *p == '\0';
}

bool num_double(const char *text, double *out)
{
    if (!text || !is_decimal(text))
        return false;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc: a constant, no allocation */
    if (!c)
        return false;
    double value = strtod_l(text, NULL, c);
    freelocale(c);
    if (!isfinite(value))
        return false;
    *out = value;
    return true;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* digits and one unit of the table, the product at most max. */
static bool parse_with_unit(const char *text, const struct unit *units, size_t nunits, uint64_t max,
                            uint64_t *out)
{
    uint64_t value;
    size_t n = text ? read_digits(text, strlen(text), &value) : 0;
    if (n == 0)
        return false;
    for (size_t i = 0; i < nunits; i++) {
        if (strcmp(text + n, units[i].name) != 0)
            continue;
        if (__builtin_mul_overflow(value, units[i].factor, &value) || value > max)
            return false;
        *out = value;
        return true;
    }
    return false;
}

bool num_duration_us(const char *text, int64_t *us_out)
{
    static const struct unit units[] = {
        { "ms", (uint64_t)MSEC_US }, { "s", (uint64_t)SECOND_US }, { "m", (uint64_t)MINUTE_US },
        { "h", (uint64_t)HOUR_US },  { "d", (uint64_t)DAY_US },
    };
    if (text && strcmp(text, "0") == 0) {
        *us_out = 0;
        return true;
    }
    uint64_t us;
    if (!parse_with_unit(text, units, ARRAY_LEN(units), (uint64_t)INT64_MAX, &us))
        return false;
    *us_out = (int64_t)us;
    return true;
}

bool num_size(const char *text, uint64_t *bytes_out)
{
    static const struct unit units[] = {
        { "", 1 },
        { "KiB", UINT64_C(1) << 10 },
        { "MiB", UINT64_C(1) << 20 },
        { "GiB", UINT64_C(1) << 30 },
    };
    return parse_with_unit(text, units, ARRAY_LEN(units), UINT64_MAX, bytes_out);
}
