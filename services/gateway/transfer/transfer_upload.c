/*
 * transfer_upload.c - an upload on its way into the database: unzipped, counted, hashed, cut into
 * pieces, and at its end made an import.
 *
 * A request that is repeated under its key is read to its end all the same, since only the hash of the
 * file tells whether it is the same request.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/protojson.h"
#include "services/gateway/http/gzip.h"
#include "services/gateway/transfer/transfer_files_internal.h"

#define BLOCK (64 * KIB)
#define TOUCH_US (20 * SECOND_US) /* a sixth of the time after which it is taken for dead */
#define JSON_MAX (64 * KIB)
/* What unzips to more than that many times its size is a bomb; small files are not looked at. */
#define BOMB_RATIO 200
#define BOMB_FROM (16 * (int64_t)MIB)

struct upload {
    PbImport import; /* what is wanted; texts in the arena */
    const PbPrincipal *principal;
    struct id credential;
    const char *key, *remote_address;
    bool gzip, opened, inflating;
    bool between; /* gzip: one member has ended, and no other begun */
    z_stream z;
    int64_t came, plain;
    crypto_hash_sha256_state hash;
    uint8_t *piece; /* TRANSFER_PIECE */
    size_t piece_len;
    int64_t written, touched_us;
    /* of an earlier request with this key */
    bool replays;
    struct transfer_uploaded before;
    char before_sha256[65];
    bool differs;
    char *json; /* of the answer */
};

static enum err refuse(struct transfer_uploaded *out, enum err code, const char *text)
{
    out->code = code;
    snprintf(out->text, sizeof(out->text), "%s", text);
    return code;
}

static char *keep(struct arena *a, const char *text)
{
    return arena_strdup(a, text ? text : "");
}

bool transfer_upload_init(struct transfer_file *x, const struct transfer_upload *what)
{
    struct upload *u = arena_alloc(x->arena, sizeof(*u));
    char text[ID_TEXT_MAX];

    if (!u)
        return false;
    x->upload = u;
    x->id.id = id_new();
    *u = (struct upload){ .credential = what->credential, .gzip = what->gzip };
    daybook__gateway__v1__import__init(&u->import);
    u->import.collection = keep(x->arena, what->collection);
    u->import.source = keep(x->arena, what->source);
    u->import.id = keep(x->arena, id_text(x->id.id, text));
    u->import.format = what->jsonl ? TRANSFER_FORMAT(JSONL) : TRANSFER_FORMAT(CSV);
    u->import.dry_run = what->dry_run;
    u->import.update_owner = what->update_owner;
    u->import.created_by = keep(x->arena, what->principal->actor_id);
    u->key = keep(x->arena, what->key);
    u->remote_address = keep(x->arena, what->remote_address);
    u->principal = wire_clone(&what->principal->base, x->arena);
    u->piece = malloc(TRANSFER_PIECE);
    crypto_hash_sha256_init(&u->hash);
    return u->import.collection && u->import.source && u->import.id && u->import.created_by &&
           u->key && u->remote_address && u->principal && u->piece &&
           id_parse(u->principal->tenant_id, &x->id.tenant) &&
           id_parse(u->principal->actor_id, &x->reader.actor);
}

void transfer_upload_fini(struct transfer_file *x)
{
    struct upload *u = x->upload;

    if (!u)
        return;
    if (u->inflating)
        (void)inflateEnd(&u->z);
    free(u->piece);
    free(u->json);
}

/* --- the answer --------------------------------------------------------------------------------- */

static enum err write_json(struct upload *u, const PbImport *import, struct transfer_uploaded *out)
{
    struct sbuf text;

    sbuf_init(&text, JSON_MAX);
    enum err e = protojson_write(&import->base, 0, &text);
    free(u->json);
    u->json = e ? NULL : sbuf_take(&text);
    sbuf_fini(&text);
    if (!u->json)
        return refuse(out, ERR_RESOURCE_EXHAUSTED, "out of memory; try again");
    out->json = u->json;
    snprintf(out->id, sizeof(out->id), "%s", import->id);
    return ERR_OK;
}

/* --- the beginning ------------------------------------------------------------------------------ */

static bool is_same_wish(const PbImport *a, const PbImport *b)
{
    return strcmp(a->collection, b->collection) == 0 && strcmp(a->source, b->source) == 0 &&
           a->format == b->format && a->dry_run == b->dry_run && a->update_owner == b->update_owner;
}

/* An earlier request with that key. */
static enum err find_before(struct transfer_store *s, struct transfer_file *x,
                            struct transfer_uploaded *out)
{
    struct upload *u = x->upload;
    PbImport *import;
    const char *sha256;

    if (!*u->key)
        return ERR_NOT_FOUND;
    enum err e =
        transfer_store_find_key(s, x->id.tenant, u->import.created_by, u->key, &import, &sha256);
    if (e)
        return e;
    u->replays = true;
    u->differs = !is_same_wish(&u->import, import);
    snprintf(u->before_sha256, sizeof(u->before_sha256), "%s", sha256);
    u->before = (struct transfer_uploaded){ .replayed = true };
    e = write_json(u, import, &u->before);
    return e ? refuse(out, e, u->before.text) : ERR_OK;
}

static enum err database_trouble(struct transfer_uploaded *out, enum err e)
{
    log_warn("upload.trouble", "an upload cannot be written", "err", err_name(e), NULL);
    return refuse(out, e == ERR_ABORTED ? e : ERR_UNAVAILABLE,
                  "the file cannot be stored now; send it again");
}

static enum err open_upload(struct transfer_store *s, struct transfer_file *x,
                            struct transfer_uploaded *out)
{
    struct upload *u = x->upload;

    if (u->opened || u->replays)
        return ERR_OK;
    if (u->gzip && !u->inflating) {
        u->inflating = inflateInit2(&u->z, GZIP_WINDOW) == Z_OK;
        if (!u->inflating)
            return refuse(out, ERR_RESOURCE_EXHAUSTED, "out of memory; try again");
    }
    enum err e = find_before(s, x, out);
    if (e == ERR_NOT_FOUND) {
        e = transfer_store_open(s, x->id);
        u->opened = !e;
        u->touched_us = clock_monotonic_us();
    }
    if (e == ERR_RESOURCE_EXHAUSTED)
        return refuse(out, e, "too many imports of the company wait already: try again later");
    return e ? database_trouble(out, e) : ERR_OK;
}

/* --- bytes -------------------------------------------------------------------------------------- */

static enum err flush_piece(struct transfer_store *s, struct transfer_file *x,
                            struct transfer_uploaded *out)
{
    struct upload *u = x->upload;
    enum err e = ERR_OK;

    if (u->piece_len && !u->replays)
        e = transfer_store_put(s, x->id, u->written, u->piece, u->piece_len);
    u->touched_us = clock_monotonic_us();
    u->written += (int64_t)u->piece_len;
    u->piece_len = 0;
    return e ? database_trouble(out, e) : ERR_OK;
}

static enum err take_plain(struct transfer_store *s, struct transfer_file *x, const uint8_t *data,
                           size_t len, struct transfer_uploaded *out)
{
    struct upload *u = x->upload;

    u->plain += (int64_t)len;
    if (u->plain > TRANSFER_FILE_MAX)
        return refuse(out, ERR_OUT_OF_RANGE, "the file is over 2 GiB: send it in parts");
    if (u->gzip && u->plain > BOMB_FROM && u->plain / BOMB_RATIO > u->came)
        return refuse(out, ERR_OUT_OF_RANGE,
                      "the file unzips to more than 200 times its size: send it unzipped");
    crypto_hash_sha256_update(&u->hash, data, len);
    while (len) {
        size_t n = MIN(len, TRANSFER_PIECE - u->piece_len);
        memcpy(u->piece + u->piece_len, data, n);
        u->piece_len += n;
        data += n;
        len -= n;
        if (u->piece_len == TRANSFER_PIECE) {
            enum err e = flush_piece(s, x, out);
            if (e)
                return e;
        }
    }
    return ERR_OK;
}

/* Members may follow each other (RFC 1952, 2.2). */
static enum err take_zipped(struct transfer_store *s, struct transfer_file *x,
                            struct transfer_uploaded *out)
{
    struct upload *u = x->upload;
    uint8_t block[BLOCK];
    enum err e = ERR_OK;

    u->z.next_in = (uint8_t *)x->taken.data;
    u->z.avail_in = (uInt)x->taken.len;
    while (!e && (u->z.avail_in || u->z.avail_out == 0)) {
        if (u->between && !u->z.avail_in)
            break;
        u->between = false;
        u->z.next_out = block;
        u->z.avail_out = sizeof(block);
        int code = inflate(&u->z, Z_NO_FLUSH);
        if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
            return refuse(out, ERR_INVALID_ARGUMENT,
                          "the body is not gzip, as its Content-Encoding says");
        e = take_plain(s, x, block, sizeof(block) - u->z.avail_out, out);
        u->between = code == Z_STREAM_END;
        if (u->between && inflateReset(&u->z) != Z_OK)
            return refuse(out, ERR_INTERNAL, "the body cannot be unzipped");
        if (code == Z_BUF_ERROR)
            break;
    }
    return e;
}

static enum err take(struct transfer_store *s, struct transfer_file *x,
                     struct transfer_uploaded *out)
{
    struct upload *u = x->upload;

    u->came += (int64_t)x->taken.len;
    if (x->taken.bad)
        return refuse(out, ERR_RESOURCE_EXHAUSTED, "out of memory; try again");
    if (u->came > TRANSFER_FILE_MAX)
        return refuse(out, ERR_OUT_OF_RANGE, "the file is over 2 GiB: send it in parts");
    return u->gzip ? take_zipped(s, x, out)
                   : take_plain(s, x, (const uint8_t *)x->taken.data, x->taken.len, out);
}

/* --- the end ------------------------------------------------------------------------------------ */

static enum err answer_again(struct upload *u, const char *sha256, struct transfer_uploaded *out)
{
    if (u->differs || strcmp(u->before_sha256, sha256) != 0)
        return refuse(out, ERR_INVALID_ARGUMENT,
                      "Idempotency-Key: was used for another file or other parameters");
    *out = u->before;
    return ERR_OK;
}

static enum err conclude(struct transfer_store *s, struct transfer_file *x,
                         struct transfer_uploaded *out)
{
    struct upload *u = x->upload;
    char sha256[65];
    uint8_t hash[crypto_hash_sha256_BYTES];
    PbImport *import;

    const char *gone = transfer_gone(u->principal, u->credential);
    if (gone) /* while he sent it, which may take days */
        return refuse(out, ERR_UNAUTHENTICATED, gone);
    if (u->gzip && !u->between)
        return refuse(out, ERR_INVALID_ARGUMENT, "the zipped body is cut short");
    crypto_hash_sha256_final(&u->hash, hash);
    sodium_bin2hex(sha256, sizeof(sha256), hash, sizeof(hash));
    enum err e = flush_piece(s, x, out);
    if (e)
        return e;
    if (u->replays)
        return answer_again(u, sha256, out);
    u->import.file_bytes = u->plain;
    e = transfer_store_begin(s, x->id,
                             &(struct transfer_begin){ .import = &u->import,
                                                       .file_sha256 = sha256,
                                                       .principal = u->principal,
                                                       .credential = u->credential,
                                                       .remote_address = u->remote_address,
                                                       .key = u->key },
                             &import);
    if (e == ERR_ALREADY_EXISTS) /* a twin was faster */
        return find_before(s, x, out) == ERR_OK ? answer_again(u, sha256, out)
                                                : database_trouble(out, ERR_ABORTED);
    return e ? database_trouble(out, e) : write_json(u, import, out);
}

/* One that comes slowly must not be taken for dead before its next piece is full. */
static enum err stay_alive(struct transfer_store *s, struct transfer_file *x,
                           struct transfer_uploaded *out)
{
    struct upload *u = x->upload;

    if (!u->opened || clock_monotonic_us() < u->touched_us + TOUCH_US)
        return ERR_OK;
    enum err e = transfer_store_touch(s, x->id);
    u->touched_us = clock_monotonic_us();
    return e ? database_trouble(out, e) : ERR_OK;
}

bool transfer_upload_step(struct transfer_store *s, struct transfer_file *x, bool ended,
                          struct transfer_uploaded *result_out)
{
    enum err e = open_upload(s, x, result_out);

    if (!e && x->taken.len)
        e = take(s, x, result_out);
    if (!e)
        e = stay_alive(s, x, result_out);
    if (!e && ended)
        e = conclude(s, x, result_out);
    return e || ended;
}

void transfer_upload_bury(struct transfer_store *s, struct transfer_file *x)
{
    if (!x->upload || !x->upload->opened)
        return;
    enum err e = transfer_store_drop(s, x->id); /* nothing, once it has become an import */
    if (e)
        log_warn("upload.drop", "a broken upload is removed later", "err", err_name(e), NULL);
}
