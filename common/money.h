/*
 * money.h - an amount as text, by the digits that ISO 4217 gives its currency: yen have none after
 * the point, dinars three. Pure.
 */
#ifndef DAYBOOK_COMMON_MONEY_H
#define DAYBOOK_COMMON_MONEY_H

#include "common/arena.h"

/* Digits after the point: 0, 2, 3 or 4; 2 of a code that is in no table. */
int money_digits(const char *currency_code);

/* "CNY 1234.50", "JPY -500"; NULL when the arena is full. */
char *money_text(struct arena *a, const char *currency_code, int64_t minor_units);

#endif
