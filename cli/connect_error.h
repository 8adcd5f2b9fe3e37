/*
 * connect_error.h - errors of the Connect protocol as the Status that they were (protocols B.3).
 *
 * A pure function of its input; any thread.
 */
#ifndef DAYBOOK_CLI_CONNECT_ERROR_H
#define DAYBOOK_CLI_CONNECT_ERROR_H

#include "common/arena.h"
#include "google/rpc/status.pb-c.h"

typedef Google__Rpc__Status PbStatus;

/*
 * {"code", "message", "details": [{"type", "value"}]}, or the member of that name in such text (the
 * end of a stream); NULL: it is none, or no memory. A code that is not known counts as unknown;
 * details that cannot be read are left out. Room is left in details for one more.
 */
PbStatus *connect_error_read(const char *text, size_t len, const char *member, struct arena *a);

#endif
