/*
 * utf8.c - a straight reading of the table "well-formed UTF-8 byte sequences" (Unicode 3.9, D92):
 * only the second byte's range depends on the first, so one check of it excludes overlong forms,
 * surrogates and what lies above U+10FFFF.
 */
#include "common/utf8.h"

#define ASCII_MASK UINT64_C(0x8080808080808080)

/* Length of the sequence, 0 when it is malformed or cut short. */
static size_t sequence_length(const uint8_t *p, size_t left)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t n;

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        n = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        n = 3;
        if (p[0] == 0xe0)
            low = 0xa0; /* below: overlong */
        else if (p[0] == 0xed)
            high = 0x9f; /* above: surrogates */
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        n = 4;
        if (p[0] == 0xf0)
            low = 0x90; /* below: overlong */
        else if (p[0] == 0xf4)
            high = 0x8f; /* above: past U+10FFFF */
    } else {
        return 0;
    }
    if (left < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool utf8_is_valid(const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len;) {
        uint64_t word;
        if (len - i >= sizeof(word)) { /* most text is ASCII: eight bytes at a time */
            memcpy(&word, p + i, sizeof(word));
            if (!(word & ASCII_MASK)) {
                i += sizeof(word);
                continue;
            }
        }
        size_t n = sequence_length(p + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

size_t utf8_length(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((uint8_t)*text & 0xc0) != 0x80; /* continuation bytes do not start a code point */
    return n;
}
