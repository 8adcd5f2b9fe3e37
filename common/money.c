/*
 * money.c - see money.h.
 */
#include "common/money.h"

#include <inttypes.h>
#include <string.h>

/* ISO 4217, the currencies that do not have two digits. */
static const struct {
    char code[4];
    int digits;
} others[] = {
    { "BHD", 3 }, { "BIF", 0 }, { "CLF", 4 }, { "CLP", 0 }, { "DJF", 0 }, { "GNF", 0 },
    { "IQD", 3 }, { "ISK", 0 }, { "JOD", 3 }, { "JPY", 0 }, { "KMF", 0 }, { "KRW", 0 },
    { "KWD", 3 }, { "LYD", 3 }, { "OMR", 3 }, { "PYG", 0 }, { "RWF", 0 }, { "TND", 3 },
    { "UGX", 0 }, { "UYI", 0 }, { "UYW", 4 }, { "VND", 0 }, { "VUV", 0 }, { "XAF", 0 },
    { "XOF", 0 }, { "XPF", 0 },
};

int money_digits(const char *currency_code)
{
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (strcmp(others[i].code, currency_code) == 0)
            return others[i].digits;
    return 2;
}

char *money_text(struct arena *a, const char *currency_code, int64_t minor_units)
{
    int digits = money_digits(currency_code);
    uint64_t minor = minor_units < 0 ? -(uint64_t)minor_units : (uint64_t)minor_units, unit = 1;
    const char *sign = minor_units < 0 ? "-" : "";

    for (int i = 0; i < digits; i++)
        unit *= 10;
    if (digits == 0)
        return arena_printf(a, "%s %s%" PRIu64, currency_code, sign, minor);
    return arena_printf(a, "%s %s%" PRIu64 ".%0*" PRIu64, currency_code, sign, minor / unit, digits,
                        minor % unit);
}
