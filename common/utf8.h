/*
 * utf8.h - strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef DAYBOOK_COMMON_UTF8_H
#define DAYBOOK_COMMON_UTF8_H

#include "common/base.h"

bool utf8_is_valid(const void *data, size_t len);
/* Code points of a valid text. */
size_t utf8_length(const char *text);

#endif
