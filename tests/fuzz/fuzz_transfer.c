/*
 * fuzz_transfer.c - any bytes as an import's file. The first byte says what it is ('j' in its lowest
 * bits: JSON Lines), how it is cut into pieces, and whether it holds orders.
 *
 * A row is a message that can be sent, or a fault that says what is wrong; the file says the same
 * wherever it is cut.
 */
#include <assert.h>

#include "common/schema.h"
#include "services/gateway/transfer/transfer_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define ROW_ARENA (8 * MIB)

struct input {
    const uint8_t *data;
    size_t len, at, step;
};

static ptrdiff_t read_input(void *arg, void *buf, size_t size)
{
    struct input *in = arg;
    size_t n = MIN(MIN(size, in->step), in->len - in->at);
    memcpy(buf, in->data + in->at, n);
    in->at += n;
    return (ptrdiff_t)n;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    return (h ^ v) * UINT64_C(1099511628211);
}

/* A number that stands for all that was said. */
static uint64_t read_rows(struct input in, uint8_t what, struct arena *a)
{
    const struct import_kind *kind = import_kind(what & 2 ? "orders" : "customers");
    struct transfer_rows *r = transfer_rows_new(kind, what & 1, "fuzz", read_input, &in);
    enum transfer_rows_result result;
    struct transfer_row row;
    uint64_t h = 0;

    assert(r);
    do {
        arena_reset(a);
        result = transfer_rows_next(r, a, &row);
        h = mix(mix(h, (uint64_t)result), row.line);
        if (result == TRANSFER_ROW) {
            assert(row.message->descriptor == kind->row_type);
            assert(protobuf_c_message_check(row.message) && row.external_id);
            h = mix(h, protobuf_c_message_get_packed_size(row.message));
        } else if (result != TRANSFER_END && result != TRANSFER_FULL) {
            assert(row.reason[0]);
        }
    } while (result == TRANSFER_ROW || result == TRANSFER_BAD_ROW);
    transfer_rows_free(r);
    return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct arena *a = arena_new(ROW_ARENA);
    assert(a);
    schema_init(); /* once, however often it is called */
    struct input in = { .data = data + 1, .len = len - 1, .step = 1 + (data[0] >> 2) };
    uint64_t in_pieces = read_rows(in, data[0], a);
    in.step = SIZE_MAX;
    assert(read_rows(in, data[0], a) == in_pieces);
    arena_free(a);
    return 0;
}
