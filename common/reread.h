/*
 * reread.h - values of settings whose files are read again whenever they are needed: a password that is changed
 * holds from the next connection on, without a restart (F56). A file that is gone, empty or unfit meanwhile changes
 * nothing: what was good last holds, and the log says so once (F57).
 */
#ifndef DAYBOOK_COMMON_REREAD_H
#define DAYBOOK_COMMON_REREAD_H

#include "common/base.h"

#define REREAD_MAX 8
#define REREAD_TEXT_MAX 4096 /* bytes with the NUL; longer ones are not watched, or unfit */

struct reread_file;

/* What was loaded as `text` for the setting stands in that file. All three are borrowed for the life of the
 * process. Before threads start; more than REREAD_MAX, and no path, are ignored. */
void reread_watch(const char *setting, const char *text, const char *path);

/* The file of the setting whose text stands at this address; another setting may have an equal one. NULL: none is
 * watched for it. Any thread. */
struct reread_file *reread_of(const char *text);

typedef bool reread_good_fn(const char *text);

/*
 * What stands now in the file; `text` where that is NULL. good: NULL, or whether a new one can be used at all. A
 * copy, for reread_free(); NULL: out of memory. Any thread.
 */
NODISCARD char *reread(struct reread_file *file, const char *text, reread_good_fn *good);
void reread_free(char *copy);   /* wipes it; NULL is allowed */
void reread_freep(char **copy); /* for CLEANUP */

/* Forgets all: for tests, and before the process ends. No other thread may be in here. */
void reread_stop(void);

#endif
