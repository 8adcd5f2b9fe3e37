/*
 * transfer_range.c - see transfer_range.h.
 */
#include "services/gateway/transfer/transfer_range.h"

#include <strings.h>

#define DIGITS_MAX 18

/* Digits up to something else; false: there are none, or too many. */
static bool read_number(const char **at, int64_t *out)
{
    size_t n = strspn(*at, "0123456789");

    *out = 0;
    for (size_t i = 0; i < n && n <= DIGITS_MAX; i++)
        *out = *out * 10 + ((*at)[i] - '0');
    *at += n;
    return n > 0 && n <= DIGITS_MAX;
}

/* "bytes=2-5", "bytes=2-", "bytes=-3": first and last byte; -1 where it is not said. */
static bool read_range(const char *text, int64_t *first, int64_t *last)
{
    if (!text || strncasecmp(text, "bytes=", 6) != 0)
        return false;
    text += 6;
    *first = *last = -1;
    if (*text != '-' && !read_number(&text, first))
        return false;
    if (*text++ != '-')
        return false;
    if (*text && !read_number(&text, last))
        return false;
    return *text == '\0' && (*first >= 0 || *last >= 0) &&
           (*first < 0 || *last < 0 || *first <= *last);
}

struct transfer_range transfer_range_of(const char *range, const char *if_range, const char *etag,
                                        int64_t len)
{
    struct transfer_range all = { .status = 200, .len = len };
    int64_t first, last;

    if (!read_range(range, &first, &last) || (if_range && strcmp(if_range, etag) != 0))
        return all;
    if (first < 0) { /* the last so many */
        first = MAX(0, len - last);
        last = last ? len - 1 : -1;
    }
    if (last < 0 && first >= 0 && strchr(range, '-')[1] == '\0')
        last = len - 1;
    last = MIN(last, len - 1);
    if (first >= len || last < first)
        return (struct transfer_range){ .status = 416 };
    return (struct transfer_range){ .status = 206, .from = first, .len = last - first + 1 };
}
