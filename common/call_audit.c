/*
 * call_audit.c - what the audit trail is to know of a call beside its changes (SEC-10, F61, F70).
 *
 * A change is known by its event, which carries where it came from: that costs the change three
 * columns and no statement. What is no change of a record becomes an event of its own: a bulk read or
 * a replay in its own transaction, a refusal in one after it. The directory makes the trail from both.
 */
#include "common/call_state.h"

#include "common/clock.h"
#include "common/http_address.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pb_access.h"
#include "common/sbuf.h"
#include "daybook/directory/v1/events.pb-c.h"
#include "google/protobuf/field_mask.pb-c.h"

#define COLLECTION "accesses"
#define FIELDS_LIMIT (4 * KIB)
#define WRITE_US SECOND_US
#define A_SECOND 10 /* refusals that are written, of one caller */
#define SLOTS 256   /* a power of two */
#define PROBES 8    /* slots that a caller may have */

typedef Daybook__Directory__V1__AccessRecorded PbAccess;
#define OUTCOME_CHANGED DAYBOOK__DIRECTORY__V1__ACCESS_OUTCOME__ACCESS_OUTCOME_CHANGED
#define OUTCOME_READ DAYBOOK__DIRECTORY__V1__ACCESS_OUTCOME__ACCESS_OUTCOME_READ
#define OUTCOME_REFUSED DAYBOOK__DIRECTORY__V1__ACCESS_OUTCOME__ACCESS_OUTCOME_REFUSED

static struct metric refusals_total = {
    .name = "daybook_audit_refusals_total",
    .type = METRIC_COUNTER,
    .help = "Refused calls for the audit trail: written, limited (counted in the next), failed.",
    .labels = { "outcome" },
};

/* --- where a call comes from -------------------------------------------------------------------- */

static const char *address_of(const struct call *call)
{
    struct http_ip ip;
    const char *text = call->context ? call->context->remote_address : "";

    return http_ip_parse(text, &ip) ? text : NULL;
}

static const Google__Protobuf__FieldMask *mask_of(const ProtobufCMessage *request)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field_by_name(request->descriptor, "update_mask");

    if (!f || f->descriptor != &google__protobuf__field_mask__descriptor)
        return NULL;
    return (const void *)pb_message(pb_member(request, f));
}

/* *out stays NULL without a mask. The handler judges the names; until then they are any text. */
static enum err list_fields(struct call *call, const ProtobufCMessage *request, const char **out)
{
    const Google__Protobuf__FieldMask *mask = mask_of(request);
    struct sbuf b;

    if (!mask || mask->n_paths == 0)
        return ERR_OK;
    sbuf_init(&b, FIELDS_LIMIT);
    for (size_t i = 0; i < mask->n_paths; i++) {
        sbuf_add_char(&b, i ? ',' : '{');
        sbuf_add_pg_element(&b, mask->paths[i]);
    }
    sbuf_add_char(&b, '}');
    bool fits = !b.bad; /* else no method takes such a mask */
    *out = fits ? arena_strndup(call->arena, b.data, b.len) : NULL;
    sbuf_fini(&b);
    return fits && !*out ? ERR_RESOURCE_EXHAUSTED : ERR_OK;
}

enum err call_audit_origin(struct call *call, const struct method *method,
                           const ProtobufCMessage *request)
{
    struct call_state *s = call->state;

    s->method = arena_printf(call->arena, "%s/%s", method->service, method->name);
    if (!s->method)
        return ERR_RESOURCE_EXHAUSTED;
    s->origin = (struct outbox_origin){ .method = s->method, .remote_address = address_of(call) };
    return request ? list_fields(call, request, &s->origin.fields) : ERR_OK;
}

/* --- the event ---------------------------------------------------------------------------------- */

static void fill(const struct call *call, PbAccess *access)
{
    const struct outbox_origin *origin = &call->state->origin;

    daybook__directory__v1__access_recorded__init(access);
    access->method = pb_borrow(origin->method);
    access->remote_address = pb_borrow(origin->remote_address);
}

/* --- bulk reads and replays --------------------------------------------------------------------- */

/* An answer's records are the elements of its lists. */
static int64_t count_rows(const ProtobufCMessage *reply)
{
    const ProtobufCMessageDescriptor *d = reply->descriptor;
    int64_t rows = 0;

    for (unsigned i = 0; i < d->n_fields; i++)
        if (d->fields[i].label == PROTOBUF_C_LABEL_REPEATED &&
            d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            rows += (int64_t)pb_count(reply, &d->fields[i]);
    return rows;
}

static bool is_given(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    static const uint8_t zeros[sizeof(ProtobufCBinaryData)];

    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return pb_count(m, f) > 0;
    if (pb_has_presence(f))
        return pb_is_set(m, f);
    if (f->type == PROTOBUF_C_TYPE_STRING)
        return *pb_text(pb_member(m, f)) != '\0';
    return memcmp(pb_member(m, f), zeros, pb_sizeof(f->type)) != 0;
}

/* What the records were chosen by; not the values, which may be somebody's phone number. */
static enum err name_filters(struct call *call, const ProtobufCMessage *request, PbAccess *access)
{
    const ProtobufCMessageDescriptor *d = request->descriptor;

    access->fields = arena_array(call->arena, d->n_fields + 1, sizeof(char *));
    if (!access->fields)
        return ERR_RESOURCE_EXHAUSTED;
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        if (is_given(request, f) && strncmp(f->name, "page_", 5) != 0)
            access->fields[access->n_fields++] = pb_borrow(f->name);
    }
    return ERR_OK;
}

static enum err emit_rows(struct call *call, const ProtobufCMessage *request,
                          Daybook__Directory__V1__AccessOutcome outcome, int64_t rows)
{
    PbAccess access;
    char id[ID_TEXT_MAX];

    fill(call, &access);
    access.outcome = outcome;
    access.rows = rows;
    enum err e = name_filters(call, request, &access);
    return e ? e : call_emit(call, COLLECTION, id_text(id_new(), id), 1, &access.base);
}

enum err call_audit_read(struct call *call, const ProtobufCMessage *request,
                         const ProtobufCMessage *reply)
{
    return emit_rows(call, request, OUTCOME_READ, count_rows(reply));
}

enum err call_emit_replay(struct call *call, const ProtobufCMessage *request, int64_t n)
{
    return n ? emit_rows(call, request, OUTCOME_CHANGED, n) : ERR_OK;
}

/* --- refusals ----------------------------------------------------------------------------------- */

struct call_refusals {
    struct slot {
        struct id tenant, actor;
        int64_t second; /* monotonic */
        int written;    /* in that second */
        int64_t unwritten;
    } slots[SLOTS];
};

struct call_refusals *call_refusals_new(void)
{
    return calloc(1, sizeof(struct call_refusals));
}

void call_refusals_free(struct call_refusals *r)
{
    free(r);
}

static bool is_of(const struct slot *s, const struct call *call)
{
    return id_equal(s->actor, call->actor) && id_equal(s->tenant, call->tenant);
}

/* The caller's slot, or the one of his neighbours that has rested longest. NULL: all of them were
 * refused within this second. */
static struct slot *slot_of(struct call_refusals *r, const struct call *call, int64_t second)
{
    uint64_t first = id_hash(call->actor);
    struct slot *oldest = NULL;

    for (size_t i = 0; i < PROBES; i++) {
        struct slot *s = &r->slots[(first + i) & (SLOTS - 1)];
        if (is_of(s, call))
            return s;
        if (s->second < second && (!oldest || s->second < oldest->second))
            oldest = s;
    }
    if (oldest && oldest->unwritten)
        log_warn("audit.unwritten", "refusals of a caller are in no entry; see the metric", NULL);
    if (oldest)
        *oldest = (struct slot){ .tenant = call->tenant, .actor = call->actor };
    return oldest;
}

/* False: too many. */
static bool admit(struct call_refusals *r, const struct call *call, int64_t *unwritten_out)
{
    int64_t second = clock_monotonic_us() / SECOND_US;

    *unwritten_out = 0;
    if (!r)
        return true;
    struct slot *s = slot_of(r, call, second);
    if (!s)
        return false;
    if (s->second != second) {
        s->second = second;
        s->written = 0;
    }
    if (s->written >= A_SECOND) {
        s->unwritten++;
        return false;
    }
    s->written++;
    *unwritten_out = s->unwritten;
    s->unwritten = 0;
    return true;
}

static bool is_refusal(const struct call *call, enum err code)
{
    return code == ERR_PERMISSION_DENIED || code == ERR_UNAUTHENTICATED ||
           (code == ERR_NOT_FOUND && call->state->out_of_sight);
}

static const char *reason_of(const struct call *call, enum err code)
{
    return code == ERR_NOT_FOUND ? "OUT_OF_SIGHT" : call_failure_reason(call, code);
}

static enum err pack(struct call *call, enum err code, int64_t unwritten, struct outbox_row *row)
{
    PbAccess access;
    char id[ID_TEXT_MAX];

    fill(call, &access);
    access.outcome = OUTCOME_REFUSED;
    access.reason = pb_borrow(reason_of(call, code));
    access.unwritten = unwritten;
    return outbox_pack(&(struct outbox_event){ .tenant = call->tenant,
                                               .collection = COLLECTION,
                                               .aggregate_id = id_text(id_new(), id),
                                               .version = 1,
                                               .occurred_at_us = call->now_us,
                                               .actor = call->actor,
                                               .request_id = call->context->request_id,
                                               .traceparent = call->context->traceparent,
                                               .origin = call->state->origin,
                                               .message = &access.base },
                       call->arena, row);
}

static enum err write(struct call *call, const struct outbox_row *row)
{
    enum err e = db_begin(call->db, &call->tenant, clock_monotonic_us() + WRITE_US);

    if (!e)
        e = outbox_queue_rows(call->db, row, 1, call->arena);
    if (!e)
        e = db_commit(call->db);
    db_rollback(call->db);
    return e;
}

enum err call_emit_refusal(struct call *call, struct id actor, const char *remote_address,
                           const char *reason, int64_t unwritten)
{
    const struct outbox_origin origin = call->state->origin;
    struct id teller = call->actor;
    PbAccess access;
    char id[ID_TEXT_MAX];

    call->actor = actor;
    call->state->origin = (struct outbox_origin){ .remote_address = remote_address };
    fill(call, &access);
    access.outcome = OUTCOME_REFUSED;
    access.reason = pb_borrow(reason);
    access.unwritten = unwritten;
    enum err e = call_emit(call, COLLECTION, id_text(id_new(), id), 1, &access.base);
    call->actor = teller;
    call->state->origin = origin;
    return e;
}

static void count(const char *outcome)
{
    metric_add(&refusals_total, 1, (const char *const[]){ outcome });
}

bool call_audit_refused(struct call *call, const struct method *method, enum err code,
                        struct call_refusals *limit)
{
    struct outbox_row row;
    int64_t unwritten;

    if (!method || !call->db || !call->context || id_is_nil(call->tenant) ||
        !is_refusal(call, code))
        return false;
    if (!admit(limit, call, &unwritten)) {
        count("limited");
        return false;
    }
    enum err e = call->state->method ? ERR_OK : call_audit_origin(call, method, NULL);
    if (!e)
        e = pack(call, code, unwritten, &row);
    if (!e)
        e = write(call, &row);
    count(e ? "failed" : "written");
    if (e)
        log_error("audit.not_written", "a refused call is missing in the audit trail", "req",
                  call->context->request_id, "method", method->name, "code", err_name(e), NULL);
    return e == ERR_OK;
}
