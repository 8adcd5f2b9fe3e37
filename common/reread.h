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

/* What was loaded as `text` for the setting stands in that file. All three are borrowed for the life of the
 * process. Before threads start; more than REREAD_MAX, and no path, are ignored. */
void reread_watch(const char *setting, const char *text, const char *path);

typedef bool reread_good_fn(const char *text);

/*
 * What stands now in the file of the value that was loaded as `text`; `text` itself when no file is watched
 * for it. good: NULL, or whether a new one can be used at all. A copy, for reread_free(); NULL: out of memory.
 * Any thread.
 */
NODISCARD char *reread(const char *text, reread_good_fn *good);
void reread_free(char *copy);   /* wipes it; NULL is allowed */
void reread_freep(char **copy); /* for CLEANUP */

/* Forgets all: for tests, and before the process ends. No other thread may be in here. */
void reread_stop(void);

#endif
