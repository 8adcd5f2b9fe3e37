/*
 * page.h - page sizes and opaque page tokens (AIP-158).
 *
 * A token holds the last row's key values and a hash of the list's other parameters, authenticated
 * with a key of the installation, valid 3 days. Changing page_size between pages is allowed,
 * changing anything else is an invalid token.
 */
#ifndef DAYBOOK_COMMON_PAGE_H
#define DAYBOOK_COMMON_PAGE_H

#include "common/arena.h"
#include "common/err.h"

#define PAGE_DEFAULT 50
#define PAGE_MAX 1000
#define PAGE_KEYS_MAX 4

/* 0 gives the default, above the maximum gives the maximum, negative is ERR_INVALID_ARGUMENT. */
NODISCARD enum err page_size(int32_t wanted, int32_t *size_out);

/* Key of tokens: 32 bytes, derived from the master secret; call once at start. */
void page_set_key(const uint8_t key[static 32]);
/* Tokens made with this one are accepted, too; call at start. */
void page_set_other_key(const uint8_t key[static 32]);

/* filter: any text that stands for the other parameters (method, tenant, actor, filters).
 * keys: values of the last row, ended by NULL, at most PAGE_KEYS_MAX. */
NODISCARD enum err page_token_write(const char *filter, const char *const *keys, struct arena *a,
                                    char **token_out);

/* keys_out: PAGE_KEYS_MAX texts, NULL-filled; all NULL for an empty token (first page).
 * ERR_INVALID_ARGUMENT: not a token of ours for this list, or older than 3 days. */
NODISCARD enum err page_token_read(const char *token, const char *filter, struct arena *a,
                                   const char *keys_out[static PAGE_KEYS_MAX]);

#endif
