/*
 * err.c - names and exit statuses of the canonical codes.
 *
 * The exit statuses are those of sysexits.h where one fits, so that a script can tell "ask again
 * later" (75) from "correct the request" (64, 65) and "report a bug" (70).
 */
#include "common/err.h"

#include "common/base.h"

static const struct {
    enum err code;
    const char *name;
    int exit_code;
} codes[] = {
    { ERR_OK, "ok", 0 },
    { ERR_CANCELED, "canceled", 1 },
    { ERR_UNKNOWN, "unknown", 70 },
    { ERR_INVALID_ARGUMENT, "invalid_argument", 64 },
    { ERR_DEADLINE_EXCEEDED, "deadline_exceeded", 75 },
    { ERR_NOT_FOUND, "not_found", 66 },
    { ERR_ALREADY_EXISTS, "already_exists", 73 },
    { ERR_PERMISSION_DENIED, "permission_denied", 77 },
    { ERR_RESOURCE_EXHAUSTED, "resource_exhausted", 75 },
    { ERR_FAILED_PRECONDITION, "failed_precondition", 65 },
    { ERR_ABORTED, "aborted", 75 },
    { ERR_OUT_OF_RANGE, "out_of_range", 64 },
    { ERR_UNIMPLEMENTED, "unimplemented", 69 },
    { ERR_INTERNAL, "internal", 70 },
    { ERR_UNAVAILABLE, "unavailable", 75 },
    { ERR_DATA_LOSS, "data_loss", 70 },
    { ERR_UNAUTHENTICATED, "unauthenticated", 77 },
    { ERR_REPLAYED, "replayed", 0 },
};

const char *err_name(enum err e)
{
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (codes[i].code == e)
            return codes[i].name;
    return "unknown";
}

int err_exit_code(enum err e)
{
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (codes[i].code == e)
            return codes[i].exit_code;
    return 70;
}
