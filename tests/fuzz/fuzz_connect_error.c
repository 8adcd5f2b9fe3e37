/*
 * fuzz_connect_error.c - any bytes as an error of the Connect protocol, or as the end of a stream; the
 * first byte says which.
 *
 * What is read has a code of ours, a message, and details that are whole.
 */
#include <assert.h>

#include "cli/connect_error.h"
#include "common/base.h"
#include "common/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct arena *a = arena_new(MIB);
    assert(a);
    const PbStatus *s =
        connect_error_read((const char *)data + 1, len - 1, data[0] == 's' ? "error" : NULL, a);
    if (s) {
        assert(s->code >= ERR_CANCELED && s->code <= ERR_UNAUTHENTICATED && s->message);
        for (size_t i = 0; i < s->n_details; i++)
            assert(strrchr(s->details[i]->type_url, '/') && s->details[i]->value.data);
    }
    arena_free(a);
    return 0;
}
