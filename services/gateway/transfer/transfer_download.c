/*
 * transfer_download.c - a file on its way out of the database, piece by piece, zipped if wanted.
 */
#include "services/gateway/http/gzip.h"
#include "services/gateway/transfer/transfer_files_internal.h"

#define BLOCK (64 * KIB)

void transfer_download_fini(struct transfer_file *x)
{
    if (x->packing)
        (void)deflateEnd(&x->z);
}

enum err transfer_download_find(struct transfer_store *s, struct transfer_file *x)
{
    const char *sha256;

    enum err e = transfer_store_file(s, x->id, x->is_export, &x->len, &sha256);
    if (!e)
        snprintf(x->sha256, sizeof(x->sha256), "%s", sha256);
    return e;
}

/* Who fetches what is written down before he has any of it (SEC-01). */
static enum err begin(struct transfer_store *s, struct transfer_file *x, bool *emitted_out)
{
    if (x->gzip && !x->packing) {
        x->packing = deflateInit2(&x->z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
                                  Z_DEFAULT_STRATEGY) == Z_OK;
        if (!x->packing)
            return ERR_RESOURCE_EXHAUSTED;
    }
    if (!x->is_export || x->at != x->from)
        return ERR_OK;
    enum err e = transfer_store_downloaded(s, x->id, &x->reader, x->from, x->until - x->from);
    *emitted_out = !e;
    return e;
}

static enum err pack(struct transfer_file *x, const uint8_t *data, size_t len, bool last)
{
    uint8_t block[BLOCK];
    int code;

    x->z.next_in = (uint8_t *)(uintptr_t)data;
    x->z.avail_in = (uInt)len;
    do {
        x->z.next_out = block;
        x->z.avail_out = sizeof(block);
        code = deflate(&x->z, last ? Z_FINISH : Z_NO_FLUSH);
        sbuf_add(&x->taken, block, sizeof(block) - x->z.avail_out);
    } while (x->z.avail_out == 0);
    return code == Z_STREAM_ERROR || x->taken.bad ? ERR_RESOURCE_EXHAUSTED : ERR_OK;
}

enum err transfer_download_step(struct transfer_store *s, struct transfer_file *x, bool *over_out,
                                bool *emitted_out)
{
    struct transfer_piece piece = { .len = 0 };

    enum err e = begin(s, x, emitted_out);
    if (!e && x->at < x->until)
        e = transfer_store_read(s, x->id, x->is_export ? "file" : "result", x->at, &piece);
    if (!e && x->at < x->until && !piece.len)
        e = ERR_NOT_FOUND; /* it has expired meanwhile */
    if (e)
        return e;
    size_t len = (size_t)MIN((int64_t)piece.len, x->until - x->at);
    x->at += (int64_t)len;
    *over_out = x->at >= x->until;
    if (x->packing)
        return pack(x, piece.data, len, *over_out);
    sbuf_add(&x->taken, piece.data, len);
    return x->taken.bad ? ERR_RESOURCE_EXHAUSTED : ERR_OK;
}
