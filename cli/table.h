/*
 * table.h - columns for people: aligned by what a terminal shows, where a Chinese character takes
 * two places. Control characters become "?", so that no record can steer the reader's terminal
 * (F62).
 */
#ifndef DAYBOOK_CLI_TABLE_H
#define DAYBOOK_CLI_TABLE_H

#include "common/arena.h"

struct table;

#define TABLE_COLUMNS_MAX 12

/* headers: ended by NULL; one that begins with '>' makes its column flush right. Texts of headers
 * and cells are copied. NULL: the arena is full. */
struct table *table_new(struct arena *a, const char *const *headers);
/* cells: one a column; NULL shows as "-". False: the arena is full. */
NODISCARD bool table_add(struct table *t, const char *const *cells);
void table_print(const struct table *t, FILE *out);

/* Places that a text takes on a terminal; malformed bytes take one each. */
size_t text_width(const char *text);
/* The text with control characters replaced; in the arena. */
NODISCARD char *text_plain(struct arena *a, const char *text);

#endif
