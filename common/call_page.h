/*
 * call_page.h - a page of a list, for handlers: page.h's rules with words for the caller.
 *
 *     struct call_page page = { .filter = arena_printf(call->arena, "visits/%s", ...) };
 *     enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
 *     ... run the statement with page.keys[...] and page.limit (one row more than the page) ...
 *     n = call_page_rows(&page, n);
 *     if (page.more) e = call_page_end(call, &page, keys_of_last_row, &reply->next_page_token);
 */
#ifndef DAYBOOK_COMMON_CALL_PAGE_H
#define DAYBOOK_COMMON_CALL_PAGE_H

#include "common/call.h"
#include "common/page.h"

struct call_page {
    const char *filter; /* in: stands for all other parameters; NULL = the arena is full */
    int32_t size;
    const char *limit;               /* size + 1, as a parameter */
    const char *keys[PAGE_KEYS_MAX]; /* of the row before the page; NULL on the first */
    bool more;
};

/* ERR_INVALID_ARGUMENT with words: page_size or page_token is wrong. */
NODISCARD enum err call_page_begin(struct call *call, int32_t wanted_size, const char *token,
                                   struct call_page *page);
/* Rows to show of n that came; sets page->more. */
size_t call_page_rows(struct call_page *page, size_t n);
/* The token that follows; keys as for page_token_write(). */
NODISCARD enum err call_page_end(struct call *call, const struct call_page *page,
                                 const char *const *keys, char **token_out);

#endif
