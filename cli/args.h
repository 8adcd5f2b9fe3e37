/*
 * args.h - the words of a command line, by tables. Pure.
 *
 * Options are long only: --name VALUE, --name=VALUE, or --name for a flag. They may stand anywhere
 * after the command; global ones also before it. "--" ends options, "-" is an ordinary word.
 */
#ifndef DAYBOOK_CLI_ARGS_H
#define DAYBOOK_CLI_ARGS_H

#include "common/base.h"

struct option {
    const char *name;  /* without the dashes */
    const char *value; /* what it takes, for the help: "FILE"; NULL: a flag */
    const char *help;  /* one sentence */
};

#define ARGS_WORDS_MAX 16
#define ARGS_OPTIONS_MAX 32

struct args {
    const char *words[ARGS_WORDS_MAX];
    size_t nwords;
    struct {
        const struct option *option;
        const char *value; /* "" for a flag */
    } set[ARGS_OPTIONS_MAX];
    size_t nset;
    char fault[160]; /* for the user */
};

/*
 * Where the command stands in argv: the first word that is no option and no option's value. argc
 * when there is none. -1: an option before it is not a global one (out->fault).
 */
int args_command(int argc, char *const *argv, const struct option *global, struct args *out);

/*
 * Reads argv without argv[0] and without argv[skip]. tables: each ended by a NULL name; a NULL
 * table is empty. False: out->fault says why. Texts are argv's own. Of an option given twice the
 * later counts.
 */
NODISCARD bool args_parse(int argc, char *const *argv, int skip, const struct option *const *tables,
                          size_t ntables, struct args *out);

bool args_has(const struct args *a, const char *name);
const char *args_value(const struct args *a, const char *name); /* NULL: not given */

#endif
