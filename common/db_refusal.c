/*
 * db_refusal.c - see db_refusal.h.
 */
#include "common/db_refusal.h"

#include <ctype.h>

#define CODE_LEN (DB_SQLSTATE_SIZE - 1)
#define CODE_CHARS "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define BEHIND_SEVERITY ":  " /* libpq's, in every language */
#define BEHIND_CODE ": "
#define PLACE "LOCATION:  "

static const char *end_of_line(const char *line)
{
    return strchrnul(line, '\n');
}

/* The first one of the line, as what follows may quote anything. NULL: none. */
static const char *code_in(const char *line)
{
    const char *end = end_of_line(line), *at = line;

    while ((at = memmem(at, (size_t)(end - at), BEHIND_SEVERITY, strlen(BEHIND_SEVERITY)))) {
        const char *code = at + strlen(BEHIND_SEVERITY);
        bool severity = at > line && !isspace((unsigned char)at[-1]) && at[-1] != ':';
        if (severity && strspn(code, CODE_CHARS) == CODE_LEN &&
            strncmp(code + CODE_LEN, BEHIND_CODE, strlen(BEHIND_CODE)) == 0)
            return code;
        at = code;
    }
    return NULL;
}

/* The last address decides, but for class 53, which an operator must hear of: a try without TLS may
 * follow one that found no connection left, and fail for another reason. */
void db_refusal_sqlstate(const char *verbose, char sqlstate_out[static DB_SQLSTATE_SIZE])
{
    const char *found = NULL;

    for (const char *line = verbose; *line; line = end_of_line(line), line += *line == '\n') {
        const char *code = code_in(line);
        if (code && (!found || strncmp(found, "53", 2) != 0))
            found = code;
    }
    snprintf(sqlstate_out, DB_SQLSTATE_SIZE, "%s", found ? found : "08001");
}

char *db_refusal_plain(const char *verbose)
{
    char *plain = malloc(strlen(verbose) + 1), *out = plain;

    if (!plain)
        return NULL;
    for (const char *line = verbose; *line;) {
        const char *end = end_of_line(line), *code = code_in(line), *rest = line;
        end += *end == '\n';
        if (code) {
            out = mempcpy(out, line, (size_t)(code - line));
            rest = code + CODE_LEN + strlen(BEHIND_CODE);
        }
        if (strncmp(line, PLACE, strlen(PLACE)) != 0)
            out = mempcpy(out, rest, (size_t)(end - rest));
        line = end;
    }
    while (out > plain && out[-1] == '\n')
        out--;
    *out = '\0';
    return plain;
}
