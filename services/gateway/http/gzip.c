/*
 * gzip.c - see gzip.h.
 */
#include "services/gateway/http/gzip.h"

#include <zlib.h>

#include "common/sbuf.h"

#define BLOCK (16 * KIB)

static voidpf allocate(voidpf arena, uInt n, uInt size)
{
    return arena_array(arena, n, size);
}

static void release(voidpf arena UNUSED, voidpf p UNUSED)
{
}

static enum err keep(struct arena *a, struct sbuf *b, uint8_t **out, size_t *len_out)
{
    *len_out = b->len;
    *out = arena_memdup(a, b->data, b->len);
    return *out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err inflate_all(z_stream *z, struct sbuf *b)
{
    uint8_t block[BLOCK];
    int code;

    do {
        z->next_out = block;
        z->avail_out = sizeof(block);
        code = inflate(z, Z_NO_FLUSH);
        sbuf_add(b, block, sizeof(block) - z->avail_out);
        if (b->bad || code == Z_MEM_ERROR)
            return ERR_RESOURCE_EXHAUSTED;
    } while (code == Z_OK);
    return code == Z_STREAM_END && z->avail_in == 0 ? ERR_OK : ERR_INVALID_ARGUMENT;
}

enum err gzip_inflate(struct arena *a, const void *data, size_t len, size_t max, uint8_t **out,
                      size_t *len_out)
{
    uint8_t *copy = arena_memdup(a, data, len); /* zlib's input is not const everywhere */
    z_stream z = { .zalloc = allocate, .zfree = release, .opaque = a };
    struct sbuf b;

    if (!copy || len > UINT32_MAX)
        return ERR_RESOURCE_EXHAUSTED;
    z.next_in = copy;
    z.avail_in = (uInt)len;
    if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
        return ERR_RESOURCE_EXHAUSTED;
    sbuf_init(&b, max);
    enum err e = inflate_all(&z, &b);
    if (!e)
        e = keep(a, &b, out, len_out);
    (void)inflateEnd(&z);
    sbuf_fini(&b);
    return e;
}

enum err gzip_deflate(struct arena *a, const void *data, size_t len, uint8_t **out, size_t *len_out)
{
    z_stream z = { .zalloc = allocate, .zfree = release, .opaque = a };
    uint8_t *copy = arena_memdup(a, data, len);

    if (!copy || len > UINT32_MAX ||
        deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) !=
            Z_OK)
        return ERR_RESOURCE_EXHAUSTED;
    uLong bound = deflateBound(&z, (uLong)len);
    *out = arena_alloc(a, bound);
    z.next_in = copy;
    z.avail_in = (uInt)len;
    z.next_out = *out;
    z.avail_out = (uInt)bound;
    int code = *out ? deflate(&z, Z_FINISH) : Z_MEM_ERROR;
    *len_out = z.total_out;
    (void)deflateEnd(&z);
    return code == Z_STREAM_END ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}
