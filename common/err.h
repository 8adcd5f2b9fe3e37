/*
 * err.h - the canonical codes, which every function that can fail returns, and their names.
 *
 * The numbers are those of google.rpc.Code, so a code goes into a Status as it is.
 */
#ifndef DAYBOOK_COMMON_ERR_H
#define DAYBOOK_COMMON_ERR_H

enum err {
    ERR_OK = 0,
    ERR_CANCELED = 1,
    ERR_UNKNOWN = 2,
    ERR_INVALID_ARGUMENT = 3,  /* wrong whatever the state: correct it */
    ERR_DEADLINE_EXCEEDED = 4, /* time is up; may have been done: same key again */
    ERR_NOT_FOUND = 5,         /* is not there, or may not be seen */
    ERR_ALREADY_EXISTS = 6,
    ERR_PERMISSION_DENIED = 7, /* may be seen but not done */
    ERR_RESOURCE_EXHAUSTED = 8,
    ERR_FAILED_PRECONDITION = 9, /* wrong in this state */
    ERR_ABORTED = 10,            /* lost a race: read again */
    ERR_OUT_OF_RANGE = 11,
    ERR_UNIMPLEMENTED = 12,
    ERR_INTERNAL = 13,    /* our bug */
    ERR_UNAVAILABLE = 14, /* a dependency is away: same key again */
    ERR_DATA_LOSS = 15,
    ERR_UNAUTHENTICATED = 16,
    /*
     * Not an error and never on the wire: an earlier run of this command was found, and its answer
     * is in the call. Handlers pass it up like any error.
     */
    ERR_REPLAYED = 64,
};

/* "invalid_argument" and so on, as in Connect and in logs; "unknown" for other numbers. */
const char *err_name(enum err e);

#define ERR_DOMAIN "daybook" /* ErrorInfo.domain of all that Daybook says */

/* "INVALID_ARGUMENT" and so on: ErrorInfo.reason of an error that has no reason of its own. */
const char *err_reason(enum err e);

/* Exit status of a command-line tool for a code; see the table in README. 0 for ERR_OK. */
int err_exit_code(enum err e);

#endif
