/*
 * call_idem.c - the record of answered commands (protocols H.1).
 *
 * One plain INSERT carries key, fingerprint and answer at the end of the command, in its own
 * transaction. A twin that runs at the same time finds nothing, does the same work, and blocks on
 * the INSERT until the first is through: then its unique violation sends it back to find the stored
 * answer. So a command costs no statement before its own ones but a look-up that travels along.
 *
 * Times are those of the wall clock: a test that runs a month in a minute must not forget answers.
 */
#include "common/call_state.h"

#include <sodium.h>

#include "common/clock.h"
#include "common/sql.h"
#include "common/sql_schema.h"

#define REPLY_STORED_MAX (64 * KIB)
#define REPLY_TOO_LARGE "too_large" /* never a message's name: they have dots */
#define REPLY_WITHHELD "withheld"
#define KEEP_US (48 * HOUR_US)
#define SWEEP_BATCH 1000 /* as in the statement */
#define SWEEP_MARGIN_US (500 * MSEC_US)

enum { KEY_PARAMS = 4, INSERT_PARAMS = 8 };

static void key_params(struct call *call, const char *out[KEY_PARAMS])
{
    out[0] = call_tenant_text(call);
    out[1] = call_actor_text(call);
    out[2] = call->state->method;
    out[3] = call->state->key;
}

static enum err take_stored(struct call *call, const PGresult *res)
{
    struct call_stored *stored = &call->state->stored;

    call->state->looked_up = true;
    if (PQntuples(res) == 0)
        return ERR_OK;
    struct db_row row = { .res = res };
    const char *fingerprint = db_row_text(&row, "fingerprint");
    const char *type = db_row_text(&row, "reply_type");
    if (row.bad || fingerprint == NULL || type == NULL)
        return ERR_INTERNAL;
    stored->same = strcmp(fingerprint, call->state->fingerprint) == 0;
    stored->reply_type = arena_strdup(call->arena, type);
    if (stored->reply_type == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_row_bytes(&row, "reply", call->arena, &stored->reply, &stored->reply_len);
    stored->found = e == ERR_OK;
    return e;
}

static enum err check_lookup(void *ctx, const PGresult *res)
{
    struct call *call = ctx;

    enum err e = take_stored(call, res);
    return e == ERR_OK && call->state->stored.found ? ERR_REPLAYED : e;
}

enum err call_idem_queue_lookup(struct call *call, const char *schema)
{
    const char *params[KEY_PARAMS];

    key_params(call, params);
    return db_queue_check(call->db, sql_for_schema(&sql_idempotency_find, schema), params,
                          check_lookup, call);
}

enum err call_idem_queue_insert(struct call *call, const char *schema,
                                const ProtobufCMessage *reply)
{
    const char *params[INSERT_PARAMS];
    uint8_t *data = NULL;
    size_t len = 0;

    enum err e = reply ? wire_pack(reply, call->arena, &data, &len) : ERR_OK;
    if (e)
        return e;
    bool fits = len <= REPLY_STORED_MAX;
    key_params(call, params);
    params[4] = call->state->fingerprint;
    params[5] = !reply ? REPLY_WITHHELD : fits ? reply->descriptor->name : REPLY_TOO_LARGE;
    params[6] = db_text_bytes(call->arena, data, fits ? len : 0);
    params[7] = db_text_time(call->arena, clock_wall_us());
    if (params[6] == NULL || params[7] == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    return db_queue(call->db, sql_for_schema(&sql_idempotency_insert, schema), params);
}

enum err call_idem_look(struct call *call, const char *schema, bool settled, int64_t deadline_us)
{
    const char *params[KEY_PARAMS];
    CLEANUP(db_result_clear) PGresult *res = NULL;

    key_params(call, params);
    enum err e = db_begin(call->db, &call->tenant, deadline_us);
    if (e)
        return e;
    if (settled)
        e = db_queue(call->db, &sql_idempotency_settled, NULL);
    if (e == ERR_OK)
        e = db_exec(call->db, sql_for_schema(&sql_idempotency_find, schema), params, &res);
    if (e == ERR_OK && settled)
        e = db_commit(call->db);
    if (e == ERR_OK)
        e = take_stored(call, res);
    db_rollback(call->db);
    return e;
}

static bool is_insert(const struct db_error *e)
{
    return strcmp(e->statement, sql_idempotency_insert.name) == 0;
}

bool call_idem_lost_to_twin(const struct db_error *e)
{
    return is_insert(e) && strcmp(e->sqlstate, "23505") == 0;
}

bool call_idem_key_in_use(const struct db_error *e)
{
    return is_insert(e) && strcmp(e->sqlstate, "55P03") == 0;
}

/* --- sweeping --- */

/* One batch of one company; *n_out: how many rows went. */
static enum err sweep_batch(struct db *db, const char *schema, struct id tenant, const char *before,
                            int64_t deadline_us, int64_t *n_out)
{
    char tenant_text[ID_TEXT_MAX];
    const char *params[] = { id_text(tenant, tenant_text), before };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_begin(db, &tenant, deadline_us);
    if (e)
        return e;
    e = db_exec(db, sql_for_schema(&sql_idempotency_sweep, schema), params, &res);
    if (e == ERR_OK) {
        *n_out = PQntuples(res);
        e = *n_out ? db_commit(db) : ERR_OK;
    }
    db_rollback(db);
    return e;
}

static enum err sweep_tenant(struct db *db, const char *schema, struct id tenant,
                             const char *before, int64_t deadline_us, int64_t *deleted)
{
    for (;;) {
        int64_t n = 0;
        if (clock_monotonic_us() + SWEEP_MARGIN_US > deadline_us)
            return ERR_OK; /* the next turn goes on */
        enum err e = sweep_batch(db, schema, tenant, before, deadline_us, &n);
        if (e)
            return e;
        *deleted += n;
        if (n < SWEEP_BATCH)
            return ERR_OK;
    }
}

/* Row level security shows one company's rows at a time, so each has its turn; the nil one has the
 * system's own commands. */
enum err call_sweep_idempotency(struct db *db, const char *schema, int64_t deadline_us,
                                int64_t *deleted_out)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    const struct dir_tenant *const *tenants = NULL;
    size_t n = dir ? directory_tenants(dir, &tenants) : 0;
    char buf[TIME_TEXT_MAX];
    const char *before = time_format(clock_wall_us() - KEEP_US, buf);

    *deleted_out = 0;
    enum err e = sweep_tenant(db, schema, (struct id){ { 0 } }, before, deadline_us, deleted_out);
    size_t first = n ? randombytes_uniform((uint32_t)n) : 0; /* time may run out before the last */
    for (size_t i = 0; e == ERR_OK && i < n; i++)
        e = sweep_tenant(db, schema, tenants[(first + i) % n]->id, before, deadline_us,
                         deleted_out);
    return e;
}
