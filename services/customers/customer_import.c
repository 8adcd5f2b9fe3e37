/*
 * customer_import.c - many customers at once (CUS-31): each row is judged by itself and gets its
 * own result; good rows are written in one transaction, so that a repeated batch finds its own
 * work.
 *
 * The database is asked twice for the whole batch (known references, duplicates), not once a row.
 * Rows that duplicate each other within the batch are found here.
 */
#include "common/authority.h"
#include "common/import_rows.h"
#include "common/sbuf.h"
#include "common/secret.h"
#include "services/customers/customer_rules.h"
#include "services/customers/customer_store.h"

#define OUTCOME(name) DAYBOOK__CUSTOMERS__V1__IMPORT_OUTCOME__IMPORT_OUTCOME_##name
#define ARRAYS_LIMIT (4 * MIB)
#define CHANGED_MAX 16

typedef Daybook__Customers__V1__ImportCustomer PbRow;

struct row {
    const PbRow *in;
    PbCustomer *customer; /* a copy, filled */
    PbCustomer *known;    /* what is there under its reference, or NULL */
    char *name_key;
    uint64_t ref_hash, name_hash,
        credit_hash; /* rows are compared with each other by these first */
    PbImportResult *result;
    const char *changed[CHANGED_MAX];
    size_t nchanged;
};

struct import {
    struct row *rows;
    size_t n;
    PbCustomer **known; /* sorted by reference */
    size_t nknown;
};

static enum err refuse(struct call *call, struct row *row, int outcome, const char *field,
                       const char *message)
{
    row->result->outcome = (Daybook__Customers__V1__ImportOutcome)outcome;
    row->result->field = arena_strdup(call->arena, field);
    row->result->message = arena_strdup(call->arena, message);
    return row->result->field && row->result->message ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static bool is_open(const struct row *row)
{
    return row->result->outcome == OUTCOME(UNSPECIFIED);
}

static bool names_owner(const struct row *row)
{
    return *row->in->owner_no || *row->customer->owner_id;
}

/* Owner by staff number or id; true when he is somebody. */
static bool fill_owner(struct call *call, struct row *row)
{
    const struct dir_employee *e = NULL;
    struct id id;

    if (*row->in->owner_no)
        e = directory_employee_no(call->dir, call->tenant, row->in->owner_no);
    else if (id_parse(row->customer->owner_id, &id))
        e = directory_employee(call->dir, call->tenant, id);
    if (!e || !e->active || !authority_sees(call, e->id))
        return false;
    row->customer->owner_id = db_text_id(call->arena, e->id);
    return row->customer->owner_id != NULL;
}

static enum err check_row(struct call *call, struct row *row)
{
    struct customer_fault fault;
    char field[64];

    if (!row->in->customer)
        return refuse(call, row, OUTCOME(INVALID), "customer", "is missing");
    if (!row->customer->external_ref)
        return refuse(call, row, OUTCOME(INVALID), "customer.external_ref",
                      "is missing; an import is repeated by it");
    if (customer_rules_check(row->customer, &fault, 1)) {
        snprintf(field, sizeof(field), "customer.%s", fault.field);
        return refuse(call, row, OUTCOME(INVALID), field, fault.message);
    }
    for (size_t i = 0; i < row->in->n_contacts; i++) {
        if (!customer_rules_check_contact(row->in->contacts[i], &fault, 1))
            continue;
        snprintf(field, sizeof(field), "contacts[%zu].%s", i, fault.field);
        return refuse(call, row, OUTCOME(INVALID), field, fault.message);
    }
    return ERR_OK;
}

/* FNV-1a. */
static uint64_t hash_text(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * UINT64_C(1099511628211);
    return h;
}

static void hash_row(struct row *row)
{
    const uint64_t seed = UINT64_C(14695981039346656037);
    const PbCustomer *c = row->customer;

    row->ref_hash = hash_text(hash_text(seed, c->external_ref->source), c->external_ref->id);
    row->name_hash = hash_text(hash_text(seed, row->name_key), c->city_code);
    row->credit_hash = hash_text(seed, c->credit_code);
}

static enum err prepare(struct call *call, struct import *im,
                        const Daybook__Customers__V1__BatchImportCustomersRequest *req,
                        Daybook__Customers__V1__BatchImportCustomersResponse *reply)
{
    im->n = req->n_rows;
    im->rows = arena_array(call->arena, im->n, sizeof(*im->rows));
    reply->results = arena_array(call->arena, im->n, sizeof(*reply->results));
    if (!im->rows || !reply->results)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < im->n; i++) {
        struct row *row = &im->rows[i];
        row->in = req->rows[i];
        row->result = call_new(call, &daybook__customers__v1__import_result__descriptor);
        if (row->in->customer)
            row->customer = wire_clone(&row->in->customer->base, call->arena);
        if (!row->result || (row->in->customer && !row->customer))
            return ERR_RESOURCE_EXHAUSTED;
        row->result->index = (int32_t)i;
        reply->results[reply->n_results++] = row->result;
        enum err e = check_row(call, row);
        if (e)
            return e;
        if (!is_open(row))
            continue;
        row->name_key = customer_rules_name_key(call->arena, row->customer->name);
        if (!row->name_key)
            return ERR_RESOURCE_EXHAUSTED;
        hash_row(row);
    }
    return ERR_OK;
}

static int compare_refs(const Daybook__Common__V1__ExternalRef *a,
                        const Daybook__Common__V1__ExternalRef *b)
{
    int c = strcmp(a->source, b->source);

    return c ? c : strcmp(a->id, b->id);
}

static int compare_known(const void *x, const void *y)
{
    const PbCustomer *const *a = x, *const *b = y;

    return compare_refs((*a)->external_ref, (*b)->external_ref);
}

static enum err load_known(struct call *call, struct import *im)
{
    struct sbuf sources, ids;
    CLEANUP(db_result_clear) PGresult *res = NULL;
    bool first = true;

    sbuf_init(&sources, ARRAYS_LIMIT);
    sbuf_init(&ids, ARRAYS_LIMIT);
    for (size_t i = 0; i < im->n; i++) {
        if (!is_open(&im->rows[i]))
            continue;
        sbuf_add_char(&sources, first ? '{' : ',');
        sbuf_add_char(&ids, first ? '{' : ',');
        sbuf_add_pg_element(&sources, im->rows[i].customer->external_ref->source);
        sbuf_add_pg_element(&ids, im->rows[i].customer->external_ref->id);
        first = false;
    }
    sbuf_add_text(&sources, first ? "{}" : "}");
    sbuf_add_text(&ids, first ? "{}" : "}");
    const char *params[] = { call_tenant_text(call), sources.data, ids.data };
    enum err e = sources.bad || ids.bad ? ERR_RESOURCE_EXHAUSTED
                                        : db_exec(call->db, &sql_customers_by_refs, params, &res);
    sbuf_fini(&sources);
    sbuf_fini(&ids);
    if (!e)
        e = record_read_all(res, &daybook__customers__v1__customer__descriptor, call->arena,
                            &im->nknown, &im->known);
    if (!e)
        qsort(im->known, im->nknown, sizeof(*im->known), compare_known);
    return e;
}

/* A row whose reference stands in the batch before; the first counts. */
static bool repeats(const struct import *im, size_t index)
{
    for (size_t k = 0; k < index; k++)
        if (im->rows[k].ref_hash == im->rows[index].ref_hash &&
            im->rows[k].result->outcome != OUTCOME(INVALID) && im->rows[k].customer &&
            compare_refs(im->rows[k].customer->external_ref,
                         im->rows[index].customer->external_ref) == 0)
            return true;
    return false;
}

/*
 * A customer who is there: changed or the same. His owner stays unless the request says otherwise:
 * the file may be older than a handing over, and its owner may have left (CUS-14, CUS-31). That
 * importers may change the owner of a key account too is what customers_need_importer() judged.
 */
static enum err match_row(struct call *call, struct row *row, PbCustomer *known, bool update_owner)
{
    struct id owner;

    if (!id_parse(known->owner_id, &owner) || !authority_sees(call, owner))
        return refuse(call, row, OUTCOME(INVALID), "customer.external_ref",
                      "belongs to a customer that you may not change");
    if (!update_owner || !names_owner(row))
        row->customer->owner_id = known->owner_id;
    else if (!fill_owner(call, row))
        return refuse(call, row, OUTCOME(INVALID), "owner_no", "there is no such active employee");
    row->known = known;
    row->result->id = known->id;
    (void)customer_rules_apply(known, row->customer, NULL, 0, row->changed, CHANGED_MAX,
                               &row->nchanged); /* without paths nothing can be unknown */
    row->result->outcome = row->nchanged ? OUTCOME(UPDATED) : OUTCOME(UNCHANGED);
    return ERR_OK;
}

/* Which rows are known, and whose the others are to be. */
static enum err match_known(struct call *call, struct import *im, bool update_owner)
{
    for (size_t i = 0; i < im->n; i++) {
        struct row *row = &im->rows[i];
        enum err e = ERR_OK;
        if (!is_open(row))
            continue;
        const PbCustomer *key = row->customer;
        PbCustomer **hit =
            im->nknown ? bsearch(&key, im->known, im->nknown, sizeof(*im->known), compare_known)
                       : NULL;
        if (repeats(im, i))
            e = refuse(call, row, OUTCOME(INVALID), "customer.external_ref",
                       "stands in this batch twice; the first row counts");
        else if (hit)
            e = match_row(call, row, *hit, update_owner);
        else if (!fill_owner(call, row))
            e = refuse(call, row, OUTCOME(INVALID), "owner_no", "there is no such active employee");
        if (e)
            return e;
    }
    return ERR_OK;
}

static bool same_file(const struct row *a, const struct row *b)
{
    if (a->credit_hash == b->credit_hash && *a->customer->credit_code &&
        strcmp(a->customer->credit_code, b->customer->credit_code) == 0)
        return true;
    return a->name_hash == b->name_hash && *a->name_key && strcmp(a->name_key, b->name_key) == 0 &&
           strcmp(a->customer->city_code, b->customer->city_code) == 0;
}

static enum err mark_duplicate(struct call *call, struct row *row, const char *other_id)
{
    row->result->id = (char *)(uintptr_t)other_id;
    return refuse(call, row, OUTCOME(DUPLICATE), "customer",
                  "looks the same as an existing customer (CUS-07)");
}

/* A contact's number in a new row; numbers that are the same share a group. */
struct phone {
    const char *digits;
    size_t row, group;
};

static int compare_digits(const void *x, const void *y)
{
    const struct phone *a = x, *b = y;

    return strcmp(a->digits, b->digits);
}

static int compare_rows(const void *x, const void *y)
{
    const struct phone *a = x, *b = y;

    return (a->row > b->row) - (a->row < b->row);
}

/* The numbers of all open rows, in the order of the rows. */
static enum err list_phones(struct call *call, const struct import *im, struct phone **phones_out,
                            size_t *n_out)
{
    size_t n = 0, max = 0;

    for (size_t i = 0; i < im->n; i++)
        max += im->rows[i].in->n_contacts;
    struct phone *phones = arena_array(call->arena, max, sizeof(*phones));
    if (!phones)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < im->n; i++)
        for (size_t k = 0; is_open(&im->rows[i]) && k < im->rows[i].in->n_contacts; k++) {
            char *digits = secret_normalise_phone(call->arena, im->rows[i].in->contacts[k]->phone);
            if (!digits)
                return ERR_RESOURCE_EXHAUSTED;
            if (*digits)
                phones[n++] = (struct phone){ .digits = digits, .row = i };
        }
    qsort(phones, n, sizeof(*phones), compare_digits);
    for (size_t i = 1; i < n; i++)
        phones[i].group =
            phones[i - 1].group + (strcmp(phones[i - 1].digits, phones[i].digits) != 0);
    qsort(phones, n, sizeof(*phones), compare_rows);
    *phones_out = phones;
    *n_out = n;
    return ERR_OK;
}

static bool has_taken(const struct phone *phones, size_t n, const bool *taken)
{
    for (size_t i = 0; i < n; i++)
        if (taken[phones[i].group])
            return true;
    return false;
}

/* New rows that look the same as an earlier one that is taken: by file or by a contact's number. */
static enum err find_twins(struct call *call, struct import *im)
{
    struct phone *phones;
    size_t nphones, at = 0;

    enum err e = list_phones(call, im, &phones, &nphones);
    if (e)
        return e;
    bool *taken = arena_array(call->arena, nphones, sizeof(*taken)); /* by group */
    if (!taken)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < im->n; i++) {
        struct row *row = &im->rows[i];
        size_t n = 0;
        while (at + n < nphones && phones[at + n].row == i)
            n++;
        bool twin = is_open(row) && has_taken(phones + at, n, taken);
        for (size_t k = 0; !twin && is_open(row) && k < i; k++)
            twin = is_open(&im->rows[k]) && same_file(&im->rows[k], row);
        e = twin ? mark_duplicate(call, row, "") : ERR_OK;
        if (e)
            return e;
        for (size_t k = at; is_open(row) && k < at + n; k++)
            taken[phones[k].group] = true;
        at += n;
    }
    return ERR_OK;
}

/* Duplicates among new rows: against the database in one query, then against each other. */
static enum err find_duplicates(struct call *call, struct import *im)
{
    size_t n = 0, max = im->n;

    for (size_t i = 0; i < im->n; i++)
        max += im->rows[i].in->n_contacts;
    struct duplicate_query *queries = arena_array(call->arena, max, sizeof(*queries));
    struct duplicate_hit *hits = arena_array(call->arena, max, sizeof(*hits));
    size_t *rows = arena_array(call->arena, max, sizeof(*rows));
    if (!queries || !hits || !rows)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < im->n; i++) {
        struct row *row = &im->rows[i];
        if (!is_open(row))
            continue;
        rows[n] = i;
        queries[n++] = (struct duplicate_query){ row->name_key, row->customer->city_code,
                                                 row->customer->credit_code, "", NULL };
        for (size_t k = 0; k < row->in->n_contacts; k++) {
            if (!*row->in->contacts[k]->phone)
                continue;
            rows[n] = i;
            queries[n++] =
                (struct duplicate_query){ "", "", "", row->in->contacts[k]->phone, NULL };
        }
    }
    enum err e = customer_store_duplicates(call, queries, n, hits);
    for (size_t i = 0; !e && i < n; i++) {
        struct row *row = &im->rows[rows[i]];
        if (hits[i].id && is_open(row))
            e = mark_duplicate(call, row, hits[i].id);
    }
    return e ? e : find_twins(call, im);
}

/* After the event of the customer himself, each with the next version of his. */
static enum err write_contacts(struct call *call, struct row *row)
{
    for (size_t i = 0; i < row->in->n_contacts; i++) {
        PbContact contact = *row->in->contacts[i]; /* masked below; the request stays as it came */
        contact.id = customers_new_id(call);
        contact.customer_id = row->customer->id;
        if (!contact.id)
            return ERR_RESOURCE_EXHAUSTED;
        enum err e = contact_store_insert(call, &contact);
        if (!e)
            e = contact_emit_created(call, &contact, 2 + (int64_t)i);
        if (e)
            return e;
    }
    return ERR_OK;
}

static enum err write_new(struct call *call, struct row *row)
{
    PbCustomer *c = row->customer;

    customer_rules_fill(c); /* not before: to a known customer it would be news */
    c->id = customers_new_id(call);
    c->created_at = wire_time(call->arena, call->now_us);
    if (!c->id || !c->created_at)
        return ERR_RESOURCE_EXHAUSTED;
    c->tier = DAYBOOK__CUSTOMERS__V1__TIER__TIER_UNSPECIFIED;
    c->key_account_by_tier = false;
    c->last_contact_at = NULL;
    c->open_questions = 0;
    row->result->id = c->id;
    row->result->outcome = OUTCOME(INSERTED);
    enum err e = customer_store_insert(call, c, row->in->n_contacts);
    if (e)
        return e;
    Daybook__Customers__V1__CustomerCreated event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__customers__v1__customer_created__descriptor),
        .customer = c,
    };
    e = call_emit(call, "customers", c->id, 1, &event.base);
    return e ? e : write_contacts(call, row);
}

static enum err write_changed(struct call *call, struct row *row)
{
    enum err e = customer_store_update(call, row->known);

    if (e)
        return e;
    customer_store_mark(call, row->known);
    Daybook__Customers__V1__CustomerUpdated event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__customers__v1__customer_updated__descriptor),
        .customer = row->known,
        .n_changed_fields = row->nchanged,
        .changed_fields = (char **)(uintptr_t)row->changed,
    };
    return call_emit(call, "customers", row->known->id, customer_store_version(row->known),
                     &event.base);
}

static enum err finish(struct call *call, struct import *im, bool dry_run)
{
    for (size_t i = 0; i < im->n; i++) {
        struct row *row = &im->rows[i];
        enum err e = ERR_OK;
        if (is_open(row) && dry_run)
            row->result->outcome = OUTCOME(INSERTED);
        else if (is_open(row))
            e = write_new(call, row);
        else if (row->result->outcome == OUTCOME(UPDATED) && !dry_run)
            e = write_changed(call, row);
        if (e)
            return e;
    }
    enum err e = db_flush(call->db);
    return e == ERR_ALREADY_EXISTS ? ERR_ABORTED : e; /* another import was faster: judge anew */
}

enum err customers_need_importer(struct call *call, const char *what)
{
    if (!call->dir)
        return call_fail(call, ERR_UNAVAILABLE, "", "the directory is not loaded yet; try again");
    return authority_need_role(call, import_roles, what);
}

/* What 500 rows may have each is more than a request has memory and time for. */
static enum err bound_contacts(struct call *call,
                               const Daybook__Customers__V1__BatchImportCustomersRequest *req)
{
    size_t n = 0;

    for (size_t i = 0; i < req->n_rows; i++)
        n += req->rows[i]->n_contacts;
    if (n <= IMPORT_CONTACTS_MAX)
        return ERR_OK;
    return call_fail(call, ERR_INVALID_ARGUMENT, "rows",
                     "have %zu contacts, of at most %d in a batch; send fewer rows at once", n,
                     IMPORT_CONTACTS_MAX);
}

enum err customer_batch_import(struct call *call, const ProtobufCMessage *in,
                               ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__BatchImportCustomersRequest *req = (const void *)in;
    Daybook__Customers__V1__BatchImportCustomersResponse *reply =
        call_new(call, &daybook__customers__v1__batch_import_customers_response__descriptor);
    struct import im = { 0 };

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    enum err e = customers_need_importer(call, "import customers");
    if (!e)
        e = bound_contacts(call, req);
    if (!e)
        e = prepare(call, &im, req, reply);
    if (!e)
        e = load_known(call, &im);
    if (!e)
        e = match_known(call, &im, req->update_owner);
    if (!e)
        e = find_duplicates(call, &im);
    return e ? e : finish(call, &im, req->dry_run);
}
