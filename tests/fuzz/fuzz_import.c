/*
 * fuzz_import.c - any bytes as a file of customers or orders ('o' first); a first row names the
 * columns, the others are rows.
 *
 * A row is a message that can be sent, or a fault that says what is wrong.
 */
#include <assert.h>

#include "common/import_rows.h"
#include "common/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define ROW_ARENA MIB

struct input {
    const uint8_t *data;
    size_t len, at;
};

static ptrdiff_t read_input(void *arg, void *buf, size_t size)
{
    struct input *in = arg;
    size_t n = MIN(size, in->len - in->at);
    memcpy(buf, in->data + in->at, n);
    in->at += n;
    return (ptrdiff_t)n;
}

static bool next_row(struct csv *c, struct csv_row *row)
{
    struct csv_fault fault;
    enum csv_result r;
    while ((r = csv_next(c, row, &fault)) != CSV_END && r != CSV_FAILED)
        if (r == CSV_ROW)
            return true;
    return false;
}

static void read_rows(struct csv *c, const struct import_map *map)
{
    struct csv_row row;
    struct arena *a = arena_new(ROW_ARENA);
    assert(a);
    while (next_row(c, &row)) {
        struct import_fault fault = { .field = "" };
        ProtobufCMessage *m = import_row(map, &row, "fuzz", a, &fault);
        if (m)
            assert(m->descriptor == map->kind->row_type && protobuf_c_message_check(m));
        else
            assert(fault.message[0] || arena_used(a) > ROW_ARENA / 2);
        arena_reset(a);
    }
    arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct input in = { .data = data + 1, .len = len - 1 };
    struct csv *c = csv_new(&csv_limits_default, read_input, &in);
    struct csv_row header;
    struct import_map map;

    assert(c);
    if (next_row(c, &header)) {
        if (import_map_header(import_kind(data[0] == 'o' ? "orders" : "customers"), &header, &map))
            read_rows(c, &map);
        else
            assert(map.why[0]);
    }
    csv_free(c);
    return 0;
}
