/* version.c - the only object that knows the commit, so that a commit does not rebuild the house.
 */
#include "common/version.h"

#ifndef DAYBOOK_VERSION
#define DAYBOOK_VERSION "0.0.0"
#endif
#ifndef DAYBOOK_COMMIT
#define DAYBOOK_COMMIT "unknown"
#endif

const char *daybook_version(void)
{
    return DAYBOOK_VERSION;
}

const char *daybook_commit(void)
{
    return DAYBOOK_COMMIT;
}
