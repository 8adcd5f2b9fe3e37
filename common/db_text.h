/*
 * db_text.h - PostgreSQL's texts of values, read; what db_row and record share. The session's
 * settings (db.h) are taken for granted.
 */
#ifndef DAYBOOK_COMMON_DB_TEXT_H
#define DAYBOOK_COMMON_DB_TEXT_H

#include "common/arena.h"
#include "common/base.h"

/* timestamptz; false: no such text, infinity, or a year past 9999. */
NODISCARD bool db_parse_time(const char *text, int64_t *us_out);
/* bytea in hex, into the arena. ERR_INTERNAL: no such text; ERR_RESOURCE_EXHAUSTED: the arena is full. */
NODISCARD enum err db_parse_bytes(const char *text, struct arena *a, uint8_t **data_out,
                                  size_t *len_out);

#endif
