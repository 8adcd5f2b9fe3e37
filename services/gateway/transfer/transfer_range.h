/*
 * transfer_range.h - which part of a file a request wants (RFC 9110, 14). Pure.
 */
#ifndef DAYBOOK_GATEWAY_TRANSFER_RANGE_H
#define DAYBOOK_GATEWAY_TRANSFER_RANGE_H

#include "common/base.h"

struct transfer_range {
    unsigned status; /* 200: all of it; 206: a part; 416: it ends before */
    int64_t from, len;
};

/* range, if_range: the headers' values; NULL: none. A range of several parts, or one that is
 * malformed, is as if there were none. */
struct transfer_range transfer_range_of(const char *range, const char *if_range, const char *etag,
                                        int64_t len);

#endif
