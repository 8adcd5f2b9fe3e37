/*
 * visit_store.c - see visit_store.h; the statements stand in sql/.
 */
#include "services/visits/visit_store.h"

#include "common/num.h"
#include "services/visits/sql.h"

static enum err find_visit(struct call *call, const struct db_stmt *stmt, const char *id,
                           PbVisit **visit_out, struct visit_aside *aside_out)
{
    const char *params[] = { call_tenant_text(call), id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, stmt, params, &res);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return ERR_NOT_FOUND;
    struct db_row row = { .res = res };
    *aside_out = (struct visit_aside){ .customer_owner = db_row_id_or_nil(&row, "_customer_owner"),
                                       .unit = db_row_id_or_nil(&row, "_unit_id") };
    if (row.bad)
        return ERR_INTERNAL;
    return record_read(res, 0, &daybook__visits__v1__visit__descriptor, call->arena, visit_out);
}

enum err visit_store_find(struct call *call, const char *id, PbVisit **visit_out,
                          struct visit_aside *aside_out)
{
    return find_visit(call, &sql_visit_load, id, visit_out, aside_out);
}

enum err visit_store_lock(struct call *call, const char *id, PbVisit **visit_out,
                          struct visit_aside *aside_out)
{
    return find_visit(call, &sql_visit_lock, id, visit_out, aside_out);
}

enum err visit_store_find_customer(struct call *call, const char *id, const char *contact_id,
                                   struct visit_customer *customer_out)
{
    const char *params[] = { call_tenant_text(call), id, *contact_id ? contact_id : NULL };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_customer_load, params, &res);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return ERR_NOT_FOUND;

    struct db_row row = { .res = res };
    struct visit_customer c = { .name = arena_strdup(call->arena, db_row_text(&row, "name")) };
    c.owner = db_row_id_or_nil(&row, "owner_id");
    c.has_contact = db_row_bool(&row, "has_contact");
    const char *address = db_row_text(&row, "address");
    c.address = arena_strdup(call->arena, address ? address : "");
    c.has_place = !db_row_is_null(&row, "latitude") && !db_row_is_null(&row, "longitude");
    if (c.has_place) {
        c.latitude = db_row_double(&row, "latitude");
        c.longitude = db_row_double(&row, "longitude");
    }
    if (row.bad)
        return ERR_INTERNAL;
    if (!c.name || !c.address)
        return ERR_RESOURCE_EXHAUSTED;
    *customer_out = c;
    return ERR_OK;
}

enum err visit_store_of_today(struct call *call, const PbVisit *outing, const struct visit_day *day,
                              PbVisit **visit_out)
{
    const char *lock[] = { call_tenant_text(call), outing->visitor_id };
    const char *params[] = {
        call_tenant_text(call),
        outing->visitor_id,
        outing->customer_id,
        db_text_time(call->arena, day->start_us),
        db_text_time(call->arena, day->end_us),
        db_text_time(call->arena, day->opens_us),
        db_text_time(call->arena, day->now_us),
    };
    enum err e = db_queue(call->db, &sql_check_in_lock, lock);

    if (e)
        return e;
    e = record_find(call->db, &sql_visit_of_today, params, &daybook__visits__v1__visit__descriptor,
                    call->arena, visit_out);
    if (e != ERR_NOT_FOUND)
        return e;
    *visit_out = NULL;
    return ERR_OK;
}

/* unit: NULL or "" = SQL NULL. */
static enum err bind(struct call *call, const struct db_stmt *stmt, const ProtobufCMessage *message,
                     const char *unit, const char *const **params_out)
{
    const struct record_extra extras[] = { { "tenant_id", call_tenant_text(call) },
                                           { "unit_id", unit && *unit ? unit : NULL },
                                           { "changed_at",
                                             db_text_time(call->arena, call->now_us) } };

    return record_bind(stmt, message, extras, ARRAY_LEN(extras), call->arena, params_out);
}

static enum err queue(struct call *call, const struct db_stmt *stmt,
                      const ProtobufCMessage *message, const char *unit)
{
    const char *const *params;
    enum err e = bind(call, stmt, message, unit, &params);

    return e ? e : db_queue(call->db, stmt, params);
}

enum err visit_store_insert(struct call *call, const PbVisit *visit)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *const *params;
    enum err e = bind(call, &sql_visit_insert, &visit->base, NULL, &params);

    return e ? e : db_exec(call->db, &sql_visit_insert, params, &res);
}

int64_t visit_store_version(const PbVisit *visit)
{
    int64_t version = 0;

    return num_i64(visit->etag, 1, INT64_MAX, &version) ? version : 0;
}

enum err visit_store_update(struct call *call, PbVisit *visit, const char *unit)
{
    char *etag = arena_printf(call->arena, "%" PRId64, visit_store_version(visit) + 1);

    if (!etag)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = queue(call, &sql_visit_update, &visit->base, unit);
    if (!e)
        visit->etag = etag;
    return e;
}

enum err commitment_store_lock(struct call *call, const char *id, struct commitment_row *row_out)
{
    const char *params[] = { call_tenant_text(call), id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_commitment_lock, params, &res);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return ERR_NOT_FOUND;
    struct db_row row = { .res = res };
    *row_out =
        (struct commitment_row){ .version = db_row_i64(&row, "_row_version"),
                                 .unit = db_row_id_or_nil(&row, "_unit_id"),
                                 .customer_owner = db_row_id_or_nil(&row, "_customer_owner_id") };
    if (row.bad)
        return ERR_INTERNAL;
    return record_read(res, 0, &daybook__visits__v1__commitment__descriptor, call->arena,
                       &row_out->commitment);
}

enum err commitment_store_insert(struct call *call, const PbCommitment *commitment,
                                 const char *unit)
{
    return queue(call, &sql_commitment_insert, &commitment->base, unit);
}

enum err commitment_store_update(struct call *call, const PbCommitment *commitment)
{
    return queue(call, &sql_commitment_update, &commitment->base, NULL);
}
