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
    const char *name, *reason;
    int exit_code;
} codes[] = {
    { ERR_OK, "ok", "OK", 0 },
    { ERR_CANCELED, "canceled", "CANCELED", 1 },
    { ERR_UNKNOWN, "unknown", "UNKNOWN", 70 },
    { ERR_INVALID_ARGUMENT, "invalid_argument", "INVALID_ARGUMENT", 64 },
    { ERR_DEADLINE_EXCEEDED, "deadline_exceeded", "DEADLINE_EXCEEDED", 75 },
    { ERR_NOT_FOUND, "not_found", "NOT_FOUND", 66 },
    { ERR_ALREADY_EXISTS, "already_exists", "ALREADY_EXISTS", 73 },
    { ERR_PERMISSION_DENIED, "permission_denied", "PERMISSION_DENIED", 77 },
    { ERR_RESOURCE_EXHAUSTED, "resource_exhausted", "RESOURCE_EXHAUSTED", 75 },
    { ERR_FAILED_PRECONDITION, "failed_precondition", "FAILED_PRECONDITION", 65 },
    { ERR_ABORTED, "aborted", "ABORTED", 75 },
    { ERR_OUT_OF_RANGE, "out_of_range", "OUT_OF_RANGE", 64 },
    { ERR_UNIMPLEMENTED, "unimplemented", "UNIMPLEMENTED", 69 },
    { ERR_INTERNAL, "internal", "INTERNAL", 70 },
    { ERR_UNAVAILABLE, "unavailable", "UNAVAILABLE", 75 },
    { ERR_DATA_LOSS, "data_loss", "DATA_LOSS", 70 },
    { ERR_UNAUTHENTICATED, "unauthenticated", "UNAUTHENTICATED", 77 },
    { ERR_REPLAYED, "replayed", "REPLAYED", 0 },
};

const char *err_name(enum err e)
{
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (codes[i].code == e)
            return codes[i].name;
    return "unknown";
}

const char *err_reason(enum err e)
{
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (codes[i].code == e)
            return codes[i].reason;
    return "UNKNOWN";
}

int err_exit_code(enum err e)
{
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (codes[i].code == e)
            return codes[i].exit_code;
    return 70;
}
