/*
 * validate.h - what a request must look like, as a table a message; one small engine.
 *
 * Faults are collected, all of them, as field violations of the call.
 */
#ifndef DAYBOOK_COMMON_VALIDATE_H
#define DAYBOOK_COMMON_VALIDATE_H

#include <protobuf-c/protobuf-c.h>

#include "common/base.h"
#include "common/err.h"

enum check_kind {
    CHECK_REQUIRED = 1,   /* message set, text not empty, enum not unspecified, list not empty */
    CHECK_ID = 2,         /* UUID text when not empty */
    CHECK_LENGTH = 4,     /* min..max characters (code points) when not empty */
    CHECK_RANGE = 8,      /* min..max of a number */
    CHECK_COUNT = 16,     /* min..max elements of a list */
    CHECK_ENUM = 32,      /* a known value (unspecified is known) */
    CHECK_DATE = 64,      /* YYYY-MM-DD when not empty */
    CHECK_TIME = 128,     /* Timestamp within years 1970 to 2200 when set */
    CHECK_CURRENCY = 256, /* three capital letters when not empty */
    CHECK_CODE = 512,     /* [A-Za-z0-9._-]+ when not empty */
};

/* path: "visit.goal", "questions[].text" (each element). Nothing is asked below an absent
 * sub-message unless that is required itself. */
struct check {
    const char *path;
    int kinds; /* of enum check_kind, or-ed */
    double min, max;
};

struct call;
/* checks ended by a NULL path. Ids are put into our form, lower case, within the message.
 * ERR_INVALID_ARGUMENT: violations were added to the call. */
NODISCARD enum err validate(struct call *call, const ProtobufCMessage *message,
                            const struct check *checks);

#endif
