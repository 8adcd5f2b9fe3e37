/*
 * config.h - settings of a daemon, from the environment, through one typed table.
 *
 * Setting KEY is read from DAYBOOK_KEY, or from the file named by DAYBOOK_KEY_FILE (one trailing
 * newline dropped); both set is an error. Secrets come by _FILE only, unless
 * DAYBOOK_INSECURE_ENV_SECRETS=1, and print as "***". Foreign settings keep their own names. Values
 * are loaded once at start; faults are all listed on stderr, and the daemon exits with 78.
 */
#ifndef DAYBOOK_COMMON_CONFIG_H
#define DAYBOOK_COMMON_CONFIG_H

#include "common/base.h"

enum setting_type {
    SETTING_TEXT,
    SETTING_INT,
    SETTING_BOOL,     /* 1/0, true/false, yes/no, on/off */
    SETTING_DURATION, /* microseconds in .i64 */
    SETTING_SIZE,     /* bytes in .i64 */
};

struct setting {
    const char *key; /* without DAYBOOK_, unless foreign */
    enum setting_type type;
    const char *default_value; /* NULL: none, the setting may stay unset (text NULL) */
    int64_t min, max;          /* numbers, durations, sizes; both 0 = no bound */
    bool required;
    bool secret;
    bool foreign; /* key is the whole name of the variable: another project's, such as OTEL_... */
    const char *help; /* one sentence */
    /* filled by config_load(): */
    const char *text; /* owned here */
    int64_t i64;
};

/* Reads the environment into the tables (each ended by a NULL key). False: faults were printed. */
NODISCARD bool config_load(struct setting *const *tables, size_t ntables);
/* The same, with faults and warnings to a stream. */
NODISCARD bool config_load_into(struct setting *const *tables, size_t ntables, FILE *faults);
void config_free(struct setting *const *tables, size_t ntables); /* wipes secrets */
/* --help-settings and --check-config. */
void config_print_help(struct setting *const *tables, size_t ntables, FILE *out);
void config_print_effective(struct setting *const *tables, size_t ntables, FILE *out);

#define CONFIG_FILE_VALUE_MAX (64 * KIB)
/* The file that the value comes from; NULL: it does not come from one. Belongs to the environment. */
const char *config_path(const struct setting *s);
/* Reads such a file, of at most size - 1 bytes without a NUL, but its last newline. NULL, or what is wrong. */
NODISCARD const char *config_read_file(const char *path, char *buf, size_t size);

/* The setting with that key; aborts when there is none, since that is our bug. */
const struct setting *config_get(struct setting *table, const char *key);

#endif
