/*
 * audit.c - the audit trail, made from the log (SEC-10).
 *
 * A change cannot be without its event, since both are one transaction; so what is made from events
 * holds every change, and costs no command anything. The consumer takes each event once and in order,
 * whatever crashes (consumer.h), and writes what it heard of a company by one statement a batch. The
 * next entry is chained to the last in the same transaction, under the lock of the consumer's cursor.
 * An event that cannot be taken at once is taken later and stands later in the chain.
 *
 * A rebuild replays the log, which is nothing to the trail: its entries are there.
 */
#include "services/directory/audit.h"

#include "common/columns.h"
#include "common/metrics.h"
#include "common/record.h"
#include "common/sbuf.h"
#include "common/wire.h"
#include "services/directory/sql.h"

#define FIELDS_LIMIT (4 * KIB)
#define COLUMNS 17
#define OUTCOMES 4

typedef Daybook__Directory__V1__AccessRecorded PbAccess;

#define OUTCOME_CHANGED DAYBOOK__DIRECTORY__V1__ACCESS_OUTCOME__ACCESS_OUTCOME_CHANGED
#define OUTCOME_READ DAYBOOK__DIRECTORY__V1__ACCESS_OUTCOME__ACCESS_OUTCOME_READ
#define OUTCOME_REFUSED DAYBOOK__DIRECTORY__V1__ACCESS_OUTCOME__ACCESS_OUTCOME_REFUSED

static const char access_type[] = "daybook.directory.v1.AccessRecorded";

static struct metric entries_total = {
    .name = "daybook_audit_entries_total",
    .type = METRIC_COUNTER,
    .help = "Entries of the audit trail: changed, read, refused.",
    .labels = { "outcome" },
};

struct item {
    PbAuditEntry entry;
    uint8_t hash[AUDIT_HASH_BYTES];
    struct item *next;
};

/* Of a company's entries, by outcome, to be counted once they are there. */
struct tally {
    int64_t n[OUTCOMES];
};

/* A run of one company's events. */
struct trail {
    struct audit_link last;
    struct item *items, **end;
    struct tally *tally;
};

/* --- the head ----------------------------------------------------------------------------------- */

enum err audit_read_head(struct db *db, struct arena *a, struct id tenant,
                         struct audit_link *head_out)
{
    const char *const params[] = { db_text_id(a, tenant) };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    uint8_t *hash = NULL;
    size_t len = 0;

    if (!params[0])
        return ERR_RESOURCE_EXHAUSTED;
    *head_out = (struct audit_link){ 0 };
    enum err e = db_exec(db, &sql_audit_head, params, &res);
    if (e || PQntuples(res) == 0)
        return e;
    struct db_row row = { .res = res };
    head_out->number = db_row_i64(&row, "number");
    e = db_row_bytes(&row, "hash", a, &hash, &len);
    if (e)
        return e;
    if (len != AUDIT_HASH_BYTES || row.bad)
        return ERR_INTERNAL;
    memcpy(head_out->hash, hash, len);
    return ERR_OK;
}

static enum err put_head(struct reaction *r, const struct trail *t)
{
    const char *params[] = { db_text_id(r->arena, r->tenant), db_text_i64(r->arena, t->last.number),
                             db_text_bytes(r->arena, t->last.hash, AUDIT_HASH_BYTES) };

    if (!params[0] || !params[1] || !params[2])
        return ERR_RESOURCE_EXHAUSTED;
    return db_queue(r->db, &sql_audit_head_put, params);
}

/* --- an entry ----------------------------------------------------------------------------------- */

/* Names of fields that are none would not come back from the table as they went in. */
static enum err take_fields(struct reaction *r, char *const *fields, size_t n, PbAuditEntry *entry)
{
    entry->fields = arena_array(r->arena, n + 1, sizeof(char *));
    if (!entry->fields)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < n; i++)
        if (audit_field_ok(fields[i]))
            entry->fields[entry->n_fields++] = fields[i];
    return ERR_OK;
}

/* A read, a replay or a refusal: its event says what it was; its aggregate is nothing but the event itself. */
static enum err take_access(struct reaction *r, const PbEvent *event, PbAuditEntry *entry)
{
    static char none[] = "";
    const ProtobufCBinaryData *data = &event->data->value;
    ProtobufCMessage *m;
    struct wire_fault fault;

    enum err e = wire_unpack(&daybook__directory__v1__access_recorded__descriptor, data->data,
                             data->len, &wire_limits_internal, r->arena, &m, &fault);
    if (e)
        return e;
    const PbAccess *access = (const PbAccess *)m;
    if (access->outcome != OUTCOME_CHANGED && access->outcome != OUTCOME_READ &&
        access->outcome != OUTCOME_REFUSED)
        return ERR_INTERNAL; /* of a newer program: parked until this one is newer too */
    entry->aggregate = none;
    entry->aggregate_version = 0;
    entry->outcome = access->outcome;
    entry->reason = access->reason;
    entry->rows = access->rows;
    entry->unwritten = access->unwritten;
    return take_fields(r, access->fields, access->n_fields, entry);
}

static enum err take_event(struct reaction *r, const PbEvent *event, PbAuditEntry *entry)
{
    daybook__directory__v1__audit_entry__init(entry);
    entry->seq = event->seq;
    entry->event_id = event->event_id;
    entry->occurred_at = event->occurred_at;
    entry->actor_id = event->actor_id;
    entry->request_id = event->request_id;
    entry->method = event->method;
    entry->remote_address = event->remote_address;
    entry->type = event->type;
    entry->aggregate = event->aggregate;
    entry->aggregate_version = event->aggregate_version;
    entry->outcome = OUTCOME_CHANGED;
    if (strcmp(event->type, access_type) == 0 && event->data)
        return take_access(r, event, entry);
    return take_fields(r, event->fields, event->n_fields, entry);
}

static const char *null_if_empty(const char *text)
{
    return *text ? text : NULL;
}

static enum err join_fields(struct arena *a, const PbAuditEntry *entry, const char **out)
{
    struct sbuf b;

    *out = NULL;
    if (entry->n_fields == 0)
        return ERR_OK;
    sbuf_init(&b, FIELDS_LIMIT);
    for (size_t i = 0; i < entry->n_fields; i++)
        sbuf_addf(&b, "%s%s", i ? "," : "", entry->fields[i]);
    *out = b.bad ? NULL : arena_strndup(a, b.data, b.len);
    sbuf_fini(&b);
    return *out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static void put_id(struct columns *k, const char *text)
{
    struct id id = { { 0 } };

    if (!id_parse(text, &id))
        id = (struct id){
            { 0 }
        }; /* NULL to the table: nobody, or refused where there must be one */
    columns_id(k, id);
}

static const char *outcome_text(struct arena *a, int outcome)
{
    return record_enum_text(&daybook__directory__v1__access_outcome__descriptor, outcome, a);
}

static enum err put_entry(struct reaction *r, const struct item *item, struct columns *k)
{
    const PbAuditEntry *entry = &item->entry;
    const char *fields, *outcome = outcome_text(r->arena, (int)entry->outcome);

    enum err e = outcome ? join_fields(r->arena, entry, &fields) : ERR_INTERNAL;
    if (e)
        return e;
    columns_i64(k, entry->number);
    columns_i64(k, entry->seq);
    put_id(k, entry->event_id);
    columns_time(k, wire_time_us(entry->occurred_at));
    put_id(k, entry->actor_id);
    columns_text(k, null_if_empty(entry->request_id));
    columns_text(k, null_if_empty(entry->method));
    columns_text(k, null_if_empty(entry->remote_address));
    columns_text(k, entry->type);
    columns_text(k, null_if_empty(entry->aggregate));
    columns_i64(k, entry->aggregate_version);
    columns_text(k, outcome);
    columns_text(k, null_if_empty(entry->reason));
    columns_i64(k, entry->rows);
    columns_text(k, fields);
    columns_i64(k, entry->unwritten);
    columns_bytes(k, item->hash, AUDIT_HASH_BYTES);
    return ERR_OK;
}

/* --- a batch ------------------------------------------------------------------------------------ */

static enum err batch_begin(struct reaction *r)
{
    struct trail *t = arena_alloc(r->arena, sizeof(*t));

    if (!t)
        return ERR_RESOURCE_EXHAUSTED;
    *t = (struct trail){ .end = &t->items, .tally = arena_alloc(r->arena, sizeof(struct tally)) };
    r->batch = t;
    return t->tally ? audit_read_head(r->db, r->arena, r->tenant, &t->last)
                    : ERR_RESOURCE_EXHAUSTED;
}

static enum err on_event(struct reaction *r, const PbEvent *event, const ProtobufCMessage *data)
{
    struct trail *t = r->batch;
    struct item *item = arena_alloc(r->arena, sizeof(*item));

    (void)data; /* sealed */
    enum err e = item ? take_event(r, event, &item->entry) : ERR_RESOURCE_EXHAUSTED;
    if (e)
        return e;
    audit_chain_add(&t->last, &item->entry);
    memcpy(item->hash, t->last.hash, AUDIT_HASH_BYTES);
    item->next = NULL;
    *t->end = item;
    t->end = &item->next;
    t->tally->n[item->entry.outcome]++;
    return ERR_OK;
}

static enum err write_entries(struct reaction *r, const struct trail *t)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    struct db_param params[1 + COLUMNS] = { { .value = db_text_id(r->arena, r->tenant) } };
    enum err e = params[0].value ? ERR_OK : ERR_RESOURCE_EXHAUSTED;

    columns_init_binary(&k, COLUMNS);
    for (const struct item *item = t->items; item && !e; item = item->next)
        e = put_entry(r, item, &k);
    if (!e)
        e = columns_binary_params(&k, params + 1);
    return e ? e : db_queue_params(r->db, &sql_audit_insert, params, NULL, NULL);
}

static void count(void *daemon_data, void *arg)
{
    static const char *const names[OUTCOMES] = { NULL, "changed", "read", "refused" };
    const struct tally *tally = arg;

    (void)daemon_data;
    for (size_t i = 1; i < OUTCOMES; i++)
        if (tally->n[i])
            metric_add(&entries_total, tally->n[i], &names[i]);
}

static enum err batch_end(struct reaction *r)
{
    const struct trail *t = r->batch;

    if (!t || !t->items)
        return ERR_OK;
    enum err e = write_entries(r, t);
    if (!e)
        e = put_head(r, t);
    if (!e)
        reaction_after_commit(r, count, t->tally);
    return e;
}

/* --- the definition ----------------------------------------------------------------------------- */

static const struct reaction_def reactions[] = {
    { REACTION_EVERY_TYPE, on_event, REACTION_LIVE | REACTION_ENVELOPE },
};

const struct consumer_def directory_consumer = {
    .name = "directory",
    .schema = "directory",
    .reactions = reactions,
    .nreactions = ARRAY_LEN(reactions),
    .batch_begin = batch_begin,
    .batch_end = batch_end,
};
