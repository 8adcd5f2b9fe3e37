/*
 * folder.c - see folder.h.
 */
#include "tests/support/folder.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>

#define ROOT_MAX 40

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

const char *folder_root(void)
{
    const char *dir = getenv("TMPDIR");

    return dir && dir[0] == '/' && strlen(dir) < ROOT_MAX ? dir : "/tmp";
}

void folder_make(char path_out[static FOLDER_MAX], const char *name)
{
    int len = snprintf(path_out, FOLDER_MAX, "%s/%s-XXXXXX", folder_root(), name);

    if (len >= FOLDER_MAX || !mkdtemp(path_out)) {
        (void)fprintf(stderr, "folder: cannot make %s: %s\n", path_out, strerror(errno));
        abort();
    }
}

void folder_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
