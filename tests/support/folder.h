/*
 * folder.h - folders of a test's own, below $TMPDIR or /tmp. What goes wrong aborts the test.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_FOLDER_H
#define DAYBOOK_TESTS_SUPPORT_FOLDER_H

#include "common/base.h"

/* Room for any path that folder_make() makes; short enough for sockets within. */
#define FOLDER_MAX 80

/* $TMPDIR, or /tmp when that is not set, or too long for the paths of sockets below it. */
const char *folder_root(void);
/* A new folder whose name begins with that, of at most 20 characters. */
void folder_make(char path_out[static FOLDER_MAX], const char *name);
/* With all that is in it; what is gone already is fine. */
void folder_remove(const char *path);

#endif
