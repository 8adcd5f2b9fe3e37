/* version.h - which Daybook this is, for /version, daybook_build_info and --version. */
#ifndef DAYBOOK_COMMON_VERSION_H
#define DAYBOOK_COMMON_VERSION_H

const char *daybook_version(void); /* "0.1.0" */
const char *daybook_commit(void);  /* abbreviated hash; "unknown" outside a repository */

#endif
