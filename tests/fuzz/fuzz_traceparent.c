/*
 * fuzz_traceparent.c - the header by which strangers name their traces. What is taken says the same
 * when it is written and read again, and never has ids of zeros.
 */
#include <assert.h>
#include <sodium.h>

#include "common/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = strndup((const char *)data, len), again[TRACEPARENT_LEN + 1];
    struct trace_context c, d;

    if (text && trace_parse(text, &c)) {
        assert(!sodium_is_zero(c.trace, TRACE_ID_LEN) && !sodium_is_zero(c.span, SPAN_ID_LEN));
        assert(strlen(trace_format(&c, again)) == TRACEPARENT_LEN);
        assert(trace_parse(again, &d) && memcmp(&c, &d, sizeof(c)) == 0);
        assert(memcmp(again + 3, text + 3, TRACEPARENT_LEN - 5) == 0);
    }
    free(text);
    return 0;
}
