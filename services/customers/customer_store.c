/*
 * customer_store.c - see customer_store.h.
 */
#include "services/customers/customer_store.h"

#include "common/authority.h"
#include "common/num.h"
#include "common/reseal.h"
#include "common/sbuf.h"
#include "common/secret.h"
#include "services/customers/customer_rules.h"

#define EXTRAS_MAX 8
#define ARRAYS_LIMIT (4 * MIB)

static enum err bind(struct call *call, const struct db_stmt *stmt, const ProtobufCMessage *message,
                     const struct record_extra *extras, size_t n, const char *const **params_out)
{
    struct record_extra all[EXTRAS_MAX] = { { "tenant_id", call_tenant_text(call) } };

    if (n > EXTRAS_MAX - 1)
        return ERR_INTERNAL;
    for (size_t i = 0; i < n; i++)
        all[i + 1] = extras[i];
    return record_bind(stmt, message, all, n + 1, call->arena, params_out);
}

enum err store_queue(struct call *call, const struct db_stmt *stmt, const ProtobufCMessage *message,
                     const struct record_extra *extras, size_t nextras)
{
    const char *const *params;
    enum err e = bind(call, stmt, message, extras, nextras, &params);

    return e ? e : db_queue(call->db, stmt, params);
}

enum err store_exec(struct call *call, const struct db_stmt *stmt, const ProtobufCMessage *message,
                    const struct record_extra *extras, size_t nextras)
{
    const char *const *params;
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = bind(call, stmt, message, extras, nextras, &params);

    return e ? e : db_exec(call->db, stmt, params, &res);
}

static enum err not_found(struct call *call, const char *field, const char *id)
{
    return call_fail(call, ERR_NOT_FOUND, field, "there is no customer %s", id);
}

static enum err out_of_sight(struct call *call, const char *field, const char *id)
{
    call_out_of_sight(call);
    return not_found(call, field, id);
}

enum err customer_store_need(struct call *call, const char *id, const char *field)
{
    const char *params[] = { call_tenant_text(call), id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_customer_owner, params, &res);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return not_found(call, field, id);
    struct db_row row = { .res = res };
    struct id owner = db_row_id(&row, "owner_id");
    if (row.bad)
        return ERR_INTERNAL;
    return authority_sees(call, owner) ? ERR_OK : out_of_sight(call, field, id);
}

void customer_store_mark(const struct call *call, PbCustomer *customer)
{
    struct policy_value from = directory_policy(call->dir, call->tenant, (struct id){ 0 },
                                                "key_account_from_tier", call->now_us);
    int last = from.text[0] - 'A' + 1; /* "none" is beyond all tiers and marks nobody */

    customer->key_account_by_tier =
        customer->tier && strlen(from.text) == 1 && (int)customer->tier <= last;
}

enum err customer_store_load(struct call *call, const struct db_stmt *stmt, const char *id,
                             const char *field, PbCustomer **customer_out)
{
    const char *params[] = { call_tenant_text(call), id };
    PbCustomer *customer;
    struct id owner;

    enum err e = record_find(call->db, stmt, params, &daybook__customers__v1__customer__descriptor,
                             call->arena, &customer);
    if (e == ERR_NOT_FOUND)
        return not_found(call, field, id);
    if (e)
        return e;
    if (!id_parse(customer->owner_id, &owner))
        return ERR_INTERNAL;
    if (!authority_sees(call, owner))
        return out_of_sight(call, field, id);
    customer_store_mark(call, customer);
    *customer_out = customer;
    return ERR_OK;
}

enum err customer_store_insert(struct call *call, PbCustomer *customer, size_t ncontacts)
{
    char *etag = arena_printf(call->arena, "%zu", 1 + ncontacts);
    const struct record_extra extras[] = {
        { "name_key", customer_rules_name_key(call->arena, customer->name) },
        { "row_version", etag },
    };

    if (!etag)
        return ERR_RESOURCE_EXHAUSTED;
    customer->etag = etag;
    return store_queue(call, &sql_customer_insert, &customer->base, extras, ARRAY_LEN(extras));
}

int64_t customer_store_version(const PbCustomer *customer)
{
    int64_t version = 0;

    return num_i64(customer->etag, 1, INT64_MAX, &version) ? version : 0;
}

enum err customer_store_update(struct call *call, PbCustomer *customer)
{
    const struct record_extra extras[] = {
        { "name_key", customer_rules_name_key(call->arena, customer->name) },
    };
    char *etag = arena_printf(call->arena, "%" PRId64, customer_store_version(customer) + 1);

    if (!etag)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e =
        store_queue(call, &sql_customer_update, &customer->base, extras, ARRAY_LEN(extras));
    if (!e)
        customer->etag = etag;
    return e;
}

typedef bool index_fn(struct id tenant, const char *kind, const char *normalised,
                      char out[static BLIND_INDEX_TEXT]);

/* Blind index of a phone as text, "" for none. NULL: no memory. */
static char *phone_index(struct arena *a, struct id tenant, const char *phone, index_fn *make)
{
    char *normal = secret_normalise_phone(a, phone);
    char *index = normal ? arena_alloc(a, BLIND_INDEX_TEXT) : NULL;

    if (index && (!*normal || !make(tenant, "phone", normal, index)))
        *index = '\0';
    return index;
}

/* --- a change of the master key ----------------------------------------------------------------- */

static char *index_of(struct arena *a, struct id tenant, const char *phone)
{
    return phone_index(a, tenant, phone, secret_blind_index);
}

const struct reseal_table contact_sealed = { .name = "contact",
                                             .next = &sql_contact_sealed_next,
                                             .put = &sql_contact_sealed_put,
                                             .first = "contact.phone",
                                             .second = "contact.email",
                                             .index_of = index_of };

enum err contact_store_insert(struct call *call, PbContact *contact)
{
    char *what_phone = arena_printf(call->arena, "contact.phone:%s", contact->id);
    char *what_email = arena_printf(call->arena, "contact.email:%s", contact->id);
    char *index = index_of(call->arena, call->tenant, contact->phone);

    if (!what_phone || !what_email || !index)
        return ERR_RESOURCE_EXHAUSTED;
    const struct record_extra extras[] = {
        { "phone_sealed", secret_seal(call->arena, call->tenant, what_phone, contact->phone) },
        { "email_sealed", secret_seal(call->arena, call->tenant, what_email, contact->email) },
        { "phone_index", *index ? index : NULL },
    };
    if (*contact->phone) /* no stars for what is not there */
        contact->phone = secret_mask_phone(call->arena, contact->phone);
    if (*contact->email)
        contact->email = secret_mask_email(call->arena, contact->email);
    if (!extras[0].value || !extras[1].value || !contact->phone || !contact->email)
        return ERR_RESOURCE_EXHAUSTED;
    return store_queue(call, &sql_contact_insert, &contact->base, extras, ARRAY_LEN(extras));
}

static int reason_of(const char *text)
{
    if (strcmp(text, "credit_code") == 0)
        return DAYBOOK__CUSTOMERS__V1__DUPLICATE_REASON__DUPLICATE_REASON_CREDIT_CODE;
    if (strcmp(text, "name_and_region") == 0)
        return DAYBOOK__CUSTOMERS__V1__DUPLICATE_REASON__DUPLICATE_REASON_NAME_AND_REGION;
    return DAYBOOK__CUSTOMERS__V1__DUPLICATE_REASON__DUPLICATE_REASON_CONTACT_PHONE;
}

enum { DUP_ROW, DUP_NAME, DUP_CITY, DUP_CREDIT, DUP_PHONE, DUP_EXCEPT, DUP_COLUMNS };

static void add_row(struct sbuf *columns, const char *const values[static DUP_COLUMNS])
{
    for (int c = 0; c < DUP_COLUMNS; c++) {
        sbuf_add_char(&columns[c], columns[c].len ? ',' : '{');
        sbuf_add_pg_element(&columns[c], values[c]);
    }
}

/* A phone may have been indexed under either master key. */
static enum err fill_columns(struct call *call, const struct duplicate_query *queries, size_t n,
                             struct sbuf *columns)
{
    char number[24];

    for (size_t i = 0; i < n; i++) {
        const struct duplicate_query *q = &queries[i];
        char *index = index_of(call->arena, call->tenant, q->phone);
        char *other = phone_index(call->arena, call->tenant, q->phone, secret_other_blind_index);
        if (!index || !other)
            return ERR_RESOURCE_EXHAUSTED;
        snprintf(number, sizeof(number), "%zu", i);
        add_row(columns, (const char *[]){ number, q->name_key, q->city_code, q->credit_code, index,
                                           q->except_id });
        if (*other)
            add_row(columns, (const char *[]){ number, "", "", "", other, q->except_id });
    }
    return ERR_OK;
}

static enum err read_hits(struct call *call, const PGresult *res, size_t n,
                          struct duplicate_hit *hits_out)
{
    for (int i = 0; i < PQntuples(res); i++) {
        struct db_row row = { .res = res, .row = i };
        int64_t at = db_row_i64(&row, "row");
        const char *id = db_row_text(&row, "id"), *reason = db_row_text(&row, "reason");
        if (row.bad || at < 0 || (size_t)at >= n || !id || !reason)
            return ERR_INTERNAL;
        hits_out[at].id = arena_strdup(call->arena, id);
        hits_out[at].reason = reason_of(reason);
        if (!hits_out[at].id)
            return ERR_RESOURCE_EXHAUSTED;
    }
    return ERR_OK;
}

enum err customer_store_duplicates(struct call *call, const struct duplicate_query *queries,
                                   size_t n, struct duplicate_hit *hits_out)
{
    struct sbuf columns[DUP_COLUMNS];
    const char *params[DUP_COLUMNS + 1] = { call_tenant_text(call) };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    bool bad = false;

    memset(hits_out, 0, n * sizeof(*hits_out));
    if (n == 0)
        return ERR_OK;
    for (int c = 0; c < DUP_COLUMNS; c++)
        sbuf_init(&columns[c], ARRAYS_LIMIT);
    enum err e = fill_columns(call, queries, n, columns);
    for (int c = 0; c < DUP_COLUMNS; c++) {
        sbuf_add_char(&columns[c], '}');
        bad = bad || columns[c].bad;
        params[c + 1] = columns[c].data;
    }
    if (!e && bad)
        e = ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = db_exec(call->db, &sql_duplicates, params, &res);
    if (!e)
        e = read_hits(call, res, n, hits_out);
    for (int c = 0; c < DUP_COLUMNS; c++)
        sbuf_fini(&columns[c]);
    return e;
}
