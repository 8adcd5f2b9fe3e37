/*
 * seen.h - which texts were there before: a set of 128-bit hashes, 32 bytes a text, so that a file
 * of any length can be watched for ids that stand in it twice.
 */
#ifndef DAYBOOK_CLI_SEEN_H
#define DAYBOOK_CLI_SEEN_H

#include "common/base.h"

struct seen;

struct seen *seen_new(void); /* NULL: no memory */
void seen_free(struct seen *s);
/* Whether text is new; adds it. False also when memory ran out: *full_out. */
bool seen_add(struct seen *s, const char *text, bool *full_out);

#endif
