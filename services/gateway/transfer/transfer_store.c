/*
 * transfer_store.c - see transfer_store.h.
 */
#include "services/gateway/transfer/transfer_store.h"

#include "common/clock.h"
#include "common/outbox.h"
#include "services/gateway/sql.h"

#define DB_LIMIT_US (10 * SECOND_US)
#define FILE_METHOD "GET /exports/{id}/file" /* is no method of a service */
#define STORE_ARENA (4 * MIB)

bool transfer_store_init(struct transfer_store *s, const char *conninfo)
{
    s->arena = arena_new(STORE_ARENA);
    s->db = db_new(conninfo, "daybook-gateway/transfers");
    return s->arena && s->db;
}

void transfer_store_fini(struct transfer_store *s)
{
    db_free(s->db);
    arena_free(s->arena);
    *s = (struct transfer_store){ 0 };
}

const char *transfer_gone(const PbPrincipal *who, struct id credential)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    bool is_person = who->kind == DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE;
    struct id tenant, actor;

    if (!dir || !id_parse(who->tenant_id, &tenant) || !id_parse(who->actor_id, &actor))
        return NULL;
    const struct dir_key *key = id_is_nil(credential) ? NULL : directory_api_key(dir, credential);
    if (!id_is_nil(credential) &&
        (!key || (key->expires_at_us && key->expires_at_us <= clock_wall_us())))
        return "the API key that it was begun with was ended, or has expired";
    const struct dir_employee *e = directory_employee(dir, tenant, actor);
    if (is_person && (!e || !e->active))
        return "the employee who began it has left";
    return NULL;
}

static enum err begin(struct transfer_store *s, const struct id *tenant)
{
    arena_reset(s->arena);
    return db_begin(s->db, tenant, clock_monotonic_us() + DB_LIMIT_US);
}

static enum err end(struct transfer_store *s, enum err e)
{
    if (!e)
        e = db_commit(s->db);
    if (e)
        db_rollback(s->db);
    return e;
}

/* Tenant and id as the first two parameters. False: no memory. */
static bool name(struct transfer_store *s, struct transfer_id t, const char *params[static 2])
{
    params[0] = db_text_id(s->arena, t.tenant);
    params[1] = db_text_id(s->arena, t.id);
    return params[0] && params[1];
}

/* A statement whose missing row means `none`. */
static enum err need_row(struct transfer_store *s, const struct db_stmt *stmt,
                         const char *const *params, enum err none)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_exec(s->db, stmt, params, &res);

    return e ? e : PQntuples(res) ? ERR_OK : none;
}

static enum err queue_chunk(struct transfer_store *s, struct transfer_id t, const char *kind,
                            int64_t at, const void *data, size_t len)
{
    const char *names[2];
    bool named = name(s, t, names);
    const struct db_param params[] = {
        { .value = names[0] },
        { .value = names[1] },
        { .value = kind },
        { .value = db_text_i64(s->arena, at) },
        { .value = data, .len = (int)len, .binary = true },
    };

    return named && params[3].value ? db_queue_params(s->db, &sql_chunk_put, params, NULL, NULL)
                                    : ERR_RESOURCE_EXHAUSTED;
}

enum err transfer_store_read(struct transfer_store *s, struct transfer_id t, const char *kind,
                             int64_t at, struct transfer_piece *piece_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    uint8_t *data = NULL;
    const char *params[4];
    size_t len = 0;

    *piece_out = (struct transfer_piece){ .at = at };
    enum err e = begin(s, &t.tenant);
    bool named = name(s, t, params);
    params[2] = kind;
    params[3] = db_text_i64(s->arena, at);
    if (!e)
        e = named && params[3] ? db_exec(s->db, &sql_chunk_read, params, &res)
                               : ERR_RESOURCE_EXHAUSTED;
    e = end(s, e);
    if (e || !PQntuples(res))
        return e;
    struct db_row row = { .res = res };
    int64_t first = db_row_i64(&row, "at");
    e = db_row_bytes(&row, "bytes", s->arena, &data, &len);
    if (e)
        return e;
    if (row.bad || first > at)
        return ERR_INTERNAL;
    size_t skip = (size_t)MIN(at - first, (int64_t)len);
    piece_out->data = data + skip;
    piece_out->len = len - skip;
    return ERR_OK;
}

/* --- uploads ------------------------------------------------------------------------------------ */

enum err transfer_store_open(struct transfer_store *s, struct transfer_id t)
{
    const char *params[4];

    enum err e = begin(s, &t.tenant);
    bool named = name(s, t, params);
    params[2] = "upload";
    params[3] = TRANSFER_WAITING_MAX;
    if (!e)
        e = named ? need_row(s, &sql_work_insert, params, ERR_RESOURCE_EXHAUSTED)
                  : ERR_RESOURCE_EXHAUSTED;
    return end(s, e);
}

enum err transfer_store_touch(struct transfer_store *s, struct transfer_id t)
{
    const char *params[2];

    enum err e = begin(s, &t.tenant);
    bool named = name(s, t, params);
    if (!e)
        e = named ? need_row(s, &sql_work_touch, params, ERR_ABORTED) : ERR_RESOURCE_EXHAUSTED;
    return end(s, e);
}

/* Pieces need not be on disk one by one: transfer_store_begin() waits for all, and misses what is
 * not there. */
enum err transfer_store_put(struct transfer_store *s, struct transfer_id t, int64_t at,
                            const void *data, size_t len)
{
    const char *params[2];

    db_set_relaxed(s->db, true);
    enum err e = begin(s, &t.tenant);
    bool named = name(s, t, params);
    if (!e)
        e = named ? queue_chunk(s, t, "upload", at, data, len) : ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = need_row(s, &sql_work_touch, params, ERR_ABORTED);
    e = end(s, e);
    db_set_relaxed(s->db, false);
    return e;
}

enum err transfer_store_drop(struct transfer_store *s, struct transfer_id t)
{
    const char *params[2];

    enum err e = begin(s, &t.tenant);
    bool named = name(s, t, params);
    if (!e)
        e = named ? db_queue(s->db, &sql_work_drop, params) : ERR_RESOURCE_EXHAUSTED;
    return end(s, e);
}

enum err transfer_store_find_key(struct transfer_store *s, struct id tenant, const char *created_by,
                                 const char *key, PbImport **import_out, const char **sha256_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = begin(s, &tenant);
    const char *const params[] = { db_text_id(s->arena, tenant), created_by, key };
    if (!e)
        e = params[0] ? db_exec(s->db, &sql_import_by_key, params, &res) : ERR_RESOURCE_EXHAUSTED;
    e = end(s, e);
    if (e)
        return e;
    if (!PQntuples(res))
        return ERR_NOT_FOUND;
    struct db_row row = { .res = res };
    *sha256_out = arena_strdup(s->arena, db_row_text(&row, "_file_sha256"));
    if (!*sha256_out)
        return ERR_RESOURCE_EXHAUSTED;
    return record_read(res, 0, &daybook__gateway__v1__import__descriptor, s->arena, import_out);
}

static enum err insert_import(struct transfer_store *s, struct transfer_id t,
                              const struct transfer_begin *b, PbImport **import_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *const *params;
    uint8_t *principal = NULL;
    size_t len = 0;
    int64_t now_us = clock_now_us();

    enum err e = wire_pack(&b->principal->base, s->arena, &principal, &len);
    if (e)
        return e;
    const struct record_extra extras[] = {
        { "tenant_id", db_text_id(s->arena, t.tenant) },
        { "id", db_text_id(s->arena, t.id) },
        { "file_sha256", b->file_sha256 },
        { "principal", db_text_bytes(s->arena, principal, len) },
        { "credential_id", id_is_nil(b->credential) ? NULL : db_text_id(s->arena, b->credential) },
        { "idempotency_key", b->key },
        { "created_at", db_text_time(s->arena, now_us) },
        { "expires_at", db_text_time(s->arena, now_us + TRANSFER_KEEP_US) },
        { "remote_address", b->remote_address },
    };
    e = record_bind(&sql_import_insert, &b->import->base, extras, ARRAY_LEN(extras), s->arena,
                    &params);
    if (!e)
        e = db_exec(s->db, &sql_import_insert, params, &res);
    if (e)
        return e;
    if (!PQntuples(res))
        return ERR_ALREADY_EXISTS;
    return record_read(res, 0, &daybook__gateway__v1__import__descriptor, s->arena, import_out);
}

enum err transfer_store_begin(struct transfer_store *s, struct transfer_id t,
                              const struct transfer_begin *b, PbImport **import_out)
{
    const char *params[4];

    enum err e = begin(s, &t.tenant);
    bool named = name(s, t, params);
    params[2] = db_text_i64(s->arena, TRANSFER_PIECE);
    params[3] = db_text_i64(s->arena, b->import->file_bytes);
    if (!e)
        e = named && params[2] && params[3] ? insert_import(s, t, b, import_out)
                                            : ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = need_row(s, &sql_work_uploaded, params, ERR_ABORTED);
    return end(s, e);
}

/* --- downloads ---------------------------------------------------------------------------------- */

enum err transfer_store_file(struct transfer_store *s, struct transfer_id t, bool is_export,
                             int64_t *len_out, const char **sha256_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *params[2];

    enum err e = begin(s, &t.tenant);
    bool named = name(s, t, params);
    if (!e)
        e = named ? db_exec(s->db, is_export ? &sql_export_find : &sql_import_find, params, &res)
                  : ERR_RESOURCE_EXHAUSTED;
    e = end(s, e);
    if (e)
        return e;
    if (!PQntuples(res))
        return ERR_NOT_FOUND;
    struct db_row row = { .res = res };
    *len_out = db_row_i64(&row, is_export ? "file_bytes" : "result_bytes");
    *sha256_out =
        arena_strdup(s->arena, db_row_text(&row, is_export ? "_file_sha256" : "_result_sha256"));
    return row.bad ? ERR_INTERNAL : *sha256_out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* who: NULL, the daemon's own doing. */
static enum err emit(struct transfer_store *s, struct transfer_id t, const char *collection,
                     const char *etag, const struct transfer_reader *who,
                     const ProtobufCMessage *event)
{
    struct outbox_row row;
    struct outbox_event out = {
        .tenant = t.tenant,
        .collection = collection,
        .aggregate_id = db_text_id(s->arena, t.id),
        .version = strtoll(etag, NULL, 10),
        .occurred_at_us = clock_now_us(),
        .message = event,
    };
    if (who) {
        out.actor = who->actor;
        out.request_id = who->request_id;
        out.origin =
            (struct outbox_origin){ .method = FILE_METHOD, .remote_address = who->remote_address };
    }

    if (!out.aggregate_id)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = outbox_pack(&out, s->arena, &row);
    return e ? e : outbox_queue_rows(s->db, &row, 1, s->arena);
}

enum err transfer_store_downloaded(struct transfer_store *s, struct transfer_id t,
                                   const struct transfer_reader *who, int64_t from, int64_t len)
{
    Daybook__Gateway__V1__ExportDownloaded event = DAYBOOK__GATEWAY__V1__EXPORT_DOWNLOADED__INIT;
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *params[2];

    enum err e = begin(s, &t.tenant);
    bool named = name(s, t, params);
    if (!e)
        e = named ? db_exec(s->db, &sql_export_touch, params, &res) : ERR_RESOURCE_EXHAUSTED;
    if (!e && !PQntuples(res))
        e = ERR_NOT_FOUND;
    if (!e) {
        struct db_row row = { .res = res };
        event.export_id = db_text_id(s->arena, t.id);
        event.from_byte = from;
        event.bytes = len;
        e = event.export_id ? emit(s, t, "exports", db_row_text(&row, "etag"), who, &event.base)
                            : ERR_RESOURCE_EXHAUSTED;
    }
    return end(s, e);
}

/* --- claims ------------------------------------------------------------------------------------- */

static enum err claim_row(struct transfer_store *s, struct transfer_job *job)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *params[2];

    enum err e = begin(s, &job->who.tenant);
    bool named = name(s, job->who, params);
    if (!e)
        e = named ? db_exec(s->db, &sql_work_claim, params, &res) : ERR_RESOURCE_EXHAUSTED;
    e = end(s, e);
    if (e)
        return e;
    struct db_row row = { .res = res };
    if (!PQntuples(res))
        return ERR_NOT_FOUND;
    job->version = db_row_i64(&row, "version");
    job->attempts = db_row_i64(&row, "attempts");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

/* Other companies come first now. */
static enum err note_served(struct transfer_store *s, struct id tenant)
{
    enum err e = begin(s, &tenant);
    const char *const params[] = { db_text_id(s->arena, tenant) };

    if (!e)
        e = params[0] ? db_queue(s->db, &sql_work_served, params) : ERR_RESOURCE_EXHAUSTED;
    return end(s, e);
}

/* An upload whose replica has gone is nobody's to go on with: the client has seen the break. */
static enum err claim_or_drop(struct transfer_store *s, struct transfer_job *job, bool is_upload)
{
    enum err e = claim_row(s, job);

    if (e)
        return e;
    if (!is_upload)
        return note_served(s, job->who.tenant);
    e = transfer_store_drop(s, job->who);
    return e ? e : ERR_NOT_FOUND;
}

enum err transfer_store_claim(struct transfer_store *s, struct transfer_job *job_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = begin(s, NULL);
    if (!e)
        e = db_exec(s->db, &sql_work_find, NULL, &res);
    e = end(s, e);
    struct db_row row = { .res = res };
    for (; !e && row.row < PQntuples(res); row.row++) {
        const char *kind = db_row_text(&row, "kind");
        struct transfer_job job = { .who = { db_row_id(&row, "tenant_id"),
                                             db_row_id(&row, "transfer_id") },
                                    .is_export = strcmp(kind, "export") == 0 };
        if (row.bad)
            return ERR_INTERNAL;
        e = claim_or_drop(s, &job, strcmp(kind, "upload") == 0);
        if (!e) {
            *job_out = job;
            return ERR_OK;
        }
        if (e == ERR_NOT_FOUND)
            e = ERR_OK; /* somebody else was faster */
    }
    return e ? e : ERR_NOT_FOUND;
}

/* Tenant, id and version. */
static bool name_job(struct transfer_store *s, const struct transfer_job *job,
                     const char *params[static 3])
{
    params[2] = db_text_i64(s->arena, job->version);
    return name(s, job->who, params) && params[2];
}

enum err transfer_store_keep(struct transfer_store *s, const struct transfer_job *job,
                             bool *cancel_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *params[3];

    enum err e = begin(s, &job->who.tenant);
    bool named = name_job(s, job, params);
    if (!e)
        e = named ? db_exec(s->db, &sql_work_keep, params, &res) : ERR_RESOURCE_EXHAUSTED;
    if (!e && !PQntuples(res))
        e = ERR_CANCELED;
    e = end(s, e);
    if (e)
        return e;
    struct db_row row = { .res = res };
    *cancel_out = db_row_bool(&row, "cancel_requested");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

enum err transfer_store_others(struct transfer_store *s, struct id tenant, bool *others_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = begin(s, NULL);
    const char *const params[] = { db_text_id(s->arena, tenant) };
    if (!e)
        e = params[0] ? db_exec(s->db, &sql_work_others, params, &res) : ERR_RESOURCE_EXHAUSTED;
    e = end(s, e);
    if (e)
        return e;
    struct db_row row = { .res = res };
    *others_out = db_row_bool(&row, "others_wait");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

/* First all rows of the company in their order, then this one: two replicas do not wait for each other. */
enum err transfer_store_give_back(struct transfer_store *s, const struct transfer_job *job)
{
    const char *params[3];

    enum err e = begin(s, &job->who.tenant);
    bool named = name_job(s, job, params);
    if (!e)
        e = named ? db_queue(s->db, &sql_work_served, params) : ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = db_queue(s->db, &sql_work_give_back, params);
    return end(s, e);
}

/* --- what is under way -------------------------------------------------------------------------- */

static enum err read_principal(struct transfer_store *s, struct db_row *row,
                               const PbPrincipal **out)
{
    ProtobufCMessage *m = NULL;
    struct wire_fault fault;
    uint8_t *data = NULL;
    size_t len = 0;

    enum err e = db_row_bytes(row, "_principal", s->arena, &data, &len);
    if (e)
        return e;
    e = wire_unpack(&daybook__common__v1__principal__descriptor, data, len, &wire_limits_internal,
                    s->arena, &m, &fault);
    *out = (const PbPrincipal *)m;
    return e;
}

/* The one row of a job. */
static enum err load(struct transfer_store *s, const struct transfer_job *job, PGresult **res_out)
{
    const char *params[2];

    enum err e = begin(s, &job->who.tenant);
    bool named = name(s, job->who, params);
    if (!e)
        e = named ? db_exec(s->db, job->is_export ? &sql_export_find : &sql_import_find, params,
                            res_out)
                  : ERR_RESOURCE_EXHAUSTED;
    e = end(s, e);
    return e ? e : PQntuples(*res_out) ? ERR_OK : ERR_NOT_FOUND;
}

enum err transfer_store_load_import(struct transfer_store *s, const struct transfer_job *job,
                                    struct transfer_import_state *out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = load(s, job, &res);
    struct db_row row = { .res = res };
    if (!e)
        e = record_read(res, 0, &daybook__gateway__v1__import__descriptor, s->arena, &out->import);
    if (!e)
        e = read_principal(s, &row, &out->principal);
    if (e)
        return e;
    out->batches = db_row_i64(&row, "_batches");
    out->remote_address = arena_strdup(s->arena, db_row_text(&row, "_remote_address"));
    out->credential = db_row_id_or_nil(&row, "_credential_id");
    return row.bad ? ERR_INTERNAL : out->remote_address ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

enum err transfer_store_load_export(struct transfer_store *s, const struct transfer_job *job,
                                    struct transfer_export_state *out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = load(s, job, &res);
    struct db_row row = { .res = res };
    if (!e)
        e = record_read(res, 0, &daybook__gateway__v1__export__descriptor, s->arena, &out->export);
    if (!e)
        e = read_principal(s, &row, &out->principal);
    if (e)
        return e;
    out->pages = db_row_i64(&row, "_pages");
    out->page_token = arena_strdup(s->arena, db_row_text(&row, "_page_token"));
    out->remote_address = arena_strdup(s->arena, db_row_text(&row, "_remote_address"));
    if (row.bad)
        return ERR_INTERNAL;
    return out->page_token && out->remote_address ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* The statement that moves a job on, with the piece of its file that goes with it. */
static enum err progress(struct transfer_store *s, const struct transfer_job *job,
                         const struct db_stmt *stmt, const char *const *params, int64_t file_bytes,
                         const void *piece, size_t len, bool *cancel_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *kind = job->is_export ? "file" : "result";

    enum err e = db_exec(s->db, stmt, params, &res);
    if (!e && !PQntuples(res))
        e = ERR_CANCELED;
    if (!e && len)
        e = queue_chunk(s, job->who, kind, file_bytes - (int64_t)len, piece, len);
    e = end(s, e);
    if (e)
        return e;
    struct db_row row = { .res = res };
    *cancel_out = db_row_bool(&row, "cancel_requested");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static bool all_there(const char *const *params, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!params[i])
            return false;
    return true;
}

enum err transfer_store_import_progress(struct transfer_store *s, const struct transfer_job *job,
                                        const PbImport *import, int64_t batches, const void *piece,
                                        size_t len, bool *cancel_out)
{
    const char *params[11];
    const int64_t numbers[] = { batches,         import->rows,        import->inserted,
                                import->updated, import->unchanged,   import->duplicates,
                                import->invalid, import->result_bytes };

    enum err e = begin(s, &job->who.tenant);
    (void)name_job(s, job, params);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        params[3 + i] = db_text_i64(s->arena, numbers[i]);
    if (!e && !all_there(params, ARRAY_LEN(params)))
        e = ERR_RESOURCE_EXHAUSTED;
    return e ? end(s, e)
             : progress(s, job, &sql_import_progress, params, import->result_bytes, piece, len,
                        cancel_out);
}

enum err transfer_store_export_progress(struct transfer_store *s, const struct transfer_job *job,
                                        const PbExport *export, int64_t pages,
                                        const char *page_token, const void *piece, size_t len,
                                        bool *cancel_out)
{
    const char *params[7];

    enum err e = begin(s, &job->who.tenant);
    (void)name_job(s, job, params);
    params[3] = db_text_i64(s->arena, pages);
    params[4] = page_token;
    params[5] = db_text_i64(s->arena, export->rows);
    params[6] = db_text_i64(s->arena, export->file_bytes);
    if (!e && !all_there(params, ARRAY_LEN(params)))
        e = ERR_RESOURCE_EXHAUSTED;
    return e ? end(s, e)
             : progress(s, job, &sql_export_progress, params, export->file_bytes, piece, len,
                        cancel_out);
}

static enum err emit_end(struct transfer_store *s, const struct transfer_job *job,
                         const PGresult *res)
{
    Daybook__Gateway__V1__ImportFinished imported = DAYBOOK__GATEWAY__V1__IMPORT_FINISHED__INIT;
    Daybook__Gateway__V1__ExportFinished exported = DAYBOOK__GATEWAY__V1__EXPORT_FINISHED__INIT;
    enum err e;

    if (job->is_export) {
        e = record_read(res, 0, &daybook__gateway__v1__export__descriptor, s->arena,
                        &exported.export);
        return e ? e : emit(s, job->who, "exports", exported.export->etag, NULL, &exported.base);
    }
    e = record_read(res, 0, &daybook__gateway__v1__import__descriptor, s->arena, &imported.import);
    return e ? e : emit(s, job->who, "imports", imported.import->etag, NULL, &imported.base);
}

enum err transfer_store_finish(struct transfer_store *s, const struct transfer_job *job,
                               const struct transfer_end *how)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *params[8];

    enum err e = begin(s, &job->who.tenant);
    (void)name_job(s, job, params);
    params[3] =
        record_enum_text(&daybook__gateway__v1__transfer_state__descriptor, how->state, s->arena);
    params[4] = how->sha256;
    params[5] = db_text_time(s->arena, clock_now_us());
    params[6] = how->code ? db_text_i64(s->arena, how->code) : NULL;
    params[7] = how->code ? how->message : NULL;
    if (!e && (!all_there(params, 6) || (how->code && !params[6])))
        e = ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = db_exec(s->db, job->is_export ? &sql_export_finish : &sql_import_finish, params, &res);
    if (!e && !PQntuples(res))
        e = ERR_CANCELED;
    if (!e)
        e = emit_end(s, job, res);
    return end(s, e);
}

/* --- chores ------------------------------------------------------------------------------------- */

static enum err emit_lapse(struct transfer_store *s, struct id tenant, PbExport *export)
{
    Daybook__Gateway__V1__ExportFinished event = DAYBOOK__GATEWAY__V1__EXPORT_FINISHED__INIT;
    struct transfer_id t = { .tenant = tenant };

    if (!id_parse(export->id, &t.id))
        return ERR_INTERNAL;
    event.export = export;
    return emit(s, t, "exports", export->etag, NULL, &event.base);
}

/* What nobody has approved in time ends, and the log tells. */
static enum err lapse(struct transfer_store *s, struct id tenant, const char *const *params)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    PbExport **ended = NULL;
    size_t n = 0;

    enum err e = db_exec(s->db, &sql_export_lapse, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__gateway__v1__export__descriptor, s->arena, &n, &ended);
    for (size_t i = 0; i < n && !e; i++)
        e = emit_lapse(s, tenant, ended[i]);
    return e;
}

static enum err sweep_company(struct transfer_store *s, struct id tenant, bool *more_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = begin(s, &tenant);
    const char *const params[] = { db_text_id(s->arena, tenant),
                                   db_text_time(s->arena, clock_now_us()) };
    if (!e)
        e = params[0] && params[1] ? lapse(s, tenant, params) : ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = db_exec(s->db, &sql_transfer_sweep, params, &res);
    *more_out = !e && PQntuples(res) > 0;
    return end(s, e);
}

/* Nothing when another replica is at it. more_out: set when there may be others. */
static enum err clear_some(struct transfer_store *s, const struct transfer_job *job, bool *more_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *params[3];
    enum err e = begin(s, &job->who.tenant);

    if (!e)
        e = name_job(s, job, params) ? need_row(s, &sql_work_dead_lock, params, ERR_NOT_FOUND)
                                     : ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = db_exec(s->db, &sql_chunk_drop, params, &res);
    bool more = !e && PQntuples(res) > 0;
    if (!e && !more)
        e = db_queue(s->db, &sql_work_dead_end, params);
    e = end(s, e);
    *more_out = *more_out || (!e && more);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err transfer_store_clear(struct transfer_store *s, bool *more_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = begin(s, NULL), first = ERR_OK;

    *more_out = false;
    if (!e)
        e = db_exec(s->db, &sql_work_dead, NULL, &res);
    e = end(s, e);
    if (e)
        return e;
    for (struct db_row row = { .res = res }; row.row < PQntuples(res); row.row++) {
        struct transfer_job job = { .who = { db_row_id(&row, "tenant_id"),
                                             db_row_id(&row, "transfer_id") },
                                    .version = db_row_i64(&row, "version") };
        e = row.bad ? ERR_INTERNAL : clear_some(s, &job, more_out);
        first = first ? first : e;
    }
    return first;
}

enum err transfer_store_sweep(struct transfer_store *s, const struct directory *dir)
{
    const struct dir_tenant *const *tenants;
    size_t n = directory_tenants(dir, &tenants);
    enum err first = ERR_OK;

    for (size_t i = 0; i < n; i++) {
        enum err e = ERR_OK;
        for (bool more = true; more && !e;)
            e = sweep_company(s, tenants[i]->id, &more);
        first = first ? first : e;
    }
    return first;
}
