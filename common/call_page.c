/*
 * call_page.c - see call_page.h.
 */
#include "common/call_page.h"

enum err call_page_begin(struct call *call, int32_t wanted_size, const char *token,
                         struct call_page *page)
{
    if (!page->filter)
        return ERR_RESOURCE_EXHAUSTED;
    if (page_size(wanted_size, &page->size))
        return call_fail(call, ERR_INVALID_ARGUMENT, "page_size", "must not be negative");
    if (page_token_read(token, page->filter, call->arena, page->keys))
        return call_fail(call, ERR_INVALID_ARGUMENT, "page_token",
                         "is not a token of this list, or too old; start again without one");
    page->limit = db_text_i64(call->arena, (int64_t)page->size + 1);
    return page->limit ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

size_t call_page_rows(struct call_page *page, size_t n)
{
    page->more = n > (size_t)page->size;
    return page->more ? (size_t)page->size : n;
}

enum err call_page_end(struct call *call, const struct call_page *page, const char *const *keys,
                       char **token_out)
{
    return page_token_write(page->filter, keys, call->arena, token_out);
}
