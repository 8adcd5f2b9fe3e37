/*
 * transfer_http.c - see transfer_http.h.
 *
 * Who may see an import or export, and how it stands, is asked over the bus as everybody asks: the
 * rules stand in one place. Then its file is fetched by way of transfer_files.h.
 */
#include "services/gateway/transfer/transfer_http.h"

#include <sodium.h>

#include "common/clock.h"
#include "common/id.h"
#include "common/import_rows.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/num.h"
#include "common/protojson.h"
#include "services/gateway/connect/connect.h"
#include "services/gateway/http/http_value.h"
#include "services/gateway/connect/rpc.h"
#include "services/gateway/transfer/transfer_range.h"

#define IMPORTS "/imports/"
#define EXPORTS "/exports/"
#define SOURCE_DEFAULT "import"
#define DEADLINE_US (10 * SECOND_US)
#define JSON_MAX (64 * KIB)
#define SHA_TEXT 65

static struct metric requests_total = {
    .name = "daybook_gateway_transfer_requests_total",
    .type = METRIC_COUNTER,
    .help = "Requests for uploads, imports, exports and their files, by HTTP status.",
    .labels = { "status" },
};

struct transfers {
    struct upstream *upstream;
    struct identity *identity; /* the process's, all three */
    struct key_use *uses;
    struct transfer_port *port;
    struct passage *open; /* downloads */
};

enum wanted { UPLOAD, LOOK, FETCH };

/* One request under way; the exchange's. */
struct passage {
    struct transfers *all;
    struct http_exchange *x;
    enum wanted what;
    bool is_export;
    struct transfer_id id;
    struct proof proof;
    struct upstream_call *asked;
    char request_id[ID_TEXT_MAX]; /* under which it was asked for */
    struct transfer_file *file;
    bool held;    /* an upload that was told to wait */
    bool started; /* a download */
    bool full;    /* its client takes less than it gets */
    bool jsonl;
    struct sbuf bytes; /* of a download, on their way */
    bool listed;
    struct passage *next;
};

/* --- life --------------------------------------------------------------------------------------- */

struct transfers *transfers_new(struct upstream *upstream, struct identity *identity,
                                struct key_use *uses, struct transfer_files *files)
{
    struct transfers *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    *t = (struct transfers){ .upstream = upstream, .identity = identity, .uses = uses };
    t->port = transfer_port_new(files);
    if (t->port)
        return t;
    free(t);
    return NULL;
}

void transfers_free(struct transfers *t)
{
    if (!t)
        return;
    transfer_port_free(t->port);
    free(t);
}

void transfers_register_metrics(void)
{
    metric_register(&requests_total);
}

int transfers_fd(const struct transfers *t)
{
    return transfer_port_fd(t->port);
}

static bool is_ours(const struct http_exchange *x)
{
    return strncmp(http_path(x), IMPORTS, strlen(IMPORTS)) == 0 ||
           strncmp(http_path(x), EXPORTS, strlen(EXPORTS)) == 0;
}

static void unlist(struct passage *p)
{
    struct passage **at = &p->all->open;

    if (!p->listed)
        return;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    p->listed = false;
}

/* Nothing more comes of it. */
static void let_go(struct passage *p)
{
    unlist(p);
    if (p->asked)
        upstream_forget(p->all->upstream, p->asked);
    if (p->file)
        transfer_file_leave(p->file);
    sbuf_fini(&p->bytes);
    p->asked = NULL;
    p->file = NULL;
    http_set_data(p->x, NULL);
}

/* --- answers ------------------------------------------------------------------------------------ */

static void count(unsigned status)
{
    char text[8];
    const char *const labels[] = { text };

    snprintf(text, sizeof(text), "%u", status);
    metric_add(&requests_total, 1, labels);
}

static void answer(struct passage *p, unsigned status, const void *body, size_t len)
{
    struct http_exchange *x = p->x;

    count(status);
    http_add_header(x, "X-Content-Type-Options", "nosniff");
    if (len)
        http_add_header(x, "Content-Type", "application/json");
    http_answer(x, status, body, len);
    let_go(p);
}

static unsigned status_of(const struct passage *p, enum err code)
{
    return code == ERR_OUT_OF_RANGE          ? p->what == UPLOAD ? 413 : 416
           : code == ERR_FAILED_PRECONDITION ? 409
                                             : connect_http_status(code);
}

static void say(struct passage *p, const PbStatus *status)
{
    enum err code = (enum err)status->code;
    int64_t seconds = connect_error_retry_s(http_arena(p->x), status);
    char text[24];
    struct sbuf b;

    if (code == ERR_UNAUTHENTICATED)
        http_add_header(p->x, "WWW-Authenticate", "Bearer realm=\"daybook\"");
    snprintf(text, sizeof(text), "%" PRId64, seconds);
    if (seconds >= 0)
        http_add_header(p->x, "Retry-After", text);
    sbuf_init(&b, JSON_MAX);
    connect_error_json(http_arena(p->x), status, &b);
    answer(p, status_of(p, code), b.data, b.bad ? 0 : b.len);
    sbuf_fini(&b);
}

static void fail_as(struct passage *p, const struct connect_failure *f)
{
    PbStatus status;

    connect_failure_status(http_arena(p->x), ERR_DOMAIN, f, &status);
    say(p, &status);
}

static void fail(struct passage *p, enum err code, const char *text)
{
    fail_as(p, &(struct connect_failure){ .code = code, .text = text });
}

/* What no service was asked for no service writes down: so it is told as refusals of keys are (F61). A
 * token's holder has no key to tell it of. reason: static. */
static void deny(struct passage *p, const char *reason, const char *text)
{
    struct id tenant;

    if (!id_is_nil(p->proof.credential) && id_parse(p->proof.principal->tenant_id, &tenant))
        key_use_refused(p->all->uses, tenant, p->proof.credential, clock_now_us(), reason,
                        p->proof.from);
    fail_as(p, &(struct connect_failure){
                   .code = ERR_PERMISSION_DENIED, .reason = reason, .text = text });
}

/* --- who asks, and for what --------------------------------------------------------------------- */

/* False: it was answered. */
static bool admit(struct passage *p)
{
    const struct asker who = identity_asker(p->all->identity, p->x);
    struct refusal refusal;

    enum err e = identity_admit(p->all->identity, &who, http_arena(p->x), &p->proof, &refusal);
    if (!e)
        return true;
    refusal_tell(&refusal, p->x);
    fail_as(p, &(struct connect_failure){ .code = e,
                                          .reason = refusal.reason,
                                          .text = refusal.text,
                                          .wait_us = refusal.wait_us });
    return false;
}

/* NULL: no memory; it was answered. */
static struct passage *open_passage(struct transfers *t, struct http_exchange *x)
{
    struct passage *p = arena_alloc(http_arena(x), sizeof(*p));

    if (!p) {
        http_answer(x, 503, NULL, 0);
        return NULL;
    }
    *p = (struct passage){ .all = t, .x = x };
    sbuf_init(&p->bytes, 4 * MIB);
    http_set_data(x, p);
    return p;
}

static bool has_scope(const PbPrincipal *who, const char *scope)
{
    for (size_t i = 0; i < who->n_scopes; i++)
        if (strcmp(who->scopes[i], scope) == 0)
            return true;
    return false;
}

static bool has_role(const PbPrincipal *who)
{
    for (size_t i = 0; i < who->n_roles; i++)
        for (size_t k = 0; import_roles[k]; k++)
            if (strcmp(who->roles[i], import_roles[k]) == 0)
                return true;
    return false;
}

/* What the service would say to the first batch is said before the file is sent. NULL: nothing. */
static const char *refusal_of(const PbPrincipal *who, const char **reason_out)
{
    bool is_person = who->kind == DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE;

    *reason_out = "SCOPE_REQUIRED";
    if ((!is_person || who->n_scopes) && !has_scope(who, "customers.write"))
        return "importing needs the scope customers.write";
    if (!is_person && !has_scope(who, "tenant.all"))
        return "importing needs the scope tenant.all";
    *reason_out = "ROLE_REQUIRED";
    if (is_person && !has_role(who))
        return "importing needs the role sales_manager, regional_manager or general_manager";
    return NULL;
}

/* --- uploads ------------------------------------------------------------------------------------ */

static bool take_flag(const char *text, bool *out)
{
    *out = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    return *out || strcmp(text, "false") == 0 || strcmp(text, "0") == 0;
}

/* False: the value does not fit, or there is no such parameter. */
static bool take_parameter(struct transfer_upload *u, const char *name, const char *value)
{
    if (strcmp(name, "format") == 0) {
        u->jsonl = strcmp(value, "jsonl") == 0;
        return u->jsonl || strcmp(value, "csv") == 0;
    }
    if (strcmp(name, "dry_run") == 0)
        return take_flag(value, &u->dry_run);
    if (strcmp(name, "update_owner") == 0)
        return take_flag(value, &u->update_owner);
    u->source = value;
    return strcmp(name, "source") == 0 && import_is_source(value);
}

/* NULL: good; else what is wrong, in the arena. No value needs percent signs. */
static const char *read_query(struct passage *p, struct transfer_upload *u)
{
    struct arena *a = http_arena(p->x);
    char *text = arena_strdup(a, http_query(p->x)), *rest = text;

    while (rest && *rest) {
        char *name = strsep(&rest, "&");
        char *value = strchr(name, '=');
        if (value)
            *value++ = '\0';
        if (*name && !take_parameter(u, name, value ? value : "true"))
            return arena_printf(a,
                                "%.32s: the parameters are format (csv, jsonl), source (up to 32 "
                                "of a-z, 0-9, _ and -), dry_run and update_owner (true, false)",
                                name);
    }
    return text ? NULL : "out of memory";
}

static const char *read_headers(struct passage *p, struct transfer_upload *u)
{
    const char *coding = http_header(p->x, "Content-Encoding");

    u->gzip = coding && strcasecmp(coding, "gzip") == 0;
    if (coding && !u->gzip && strcasecmp(coding, "identity") != 0)
        return "Content-Encoding: gzip, or none";
    u->key = rpc_idempotency_key(p->x);
    return u->key ? NULL : "Idempotency-Key: 1 to 255 printable ASCII characters";
}

/* Whoever asks before he sends (Expect) need not send what would be refused. */
static bool is_too_large(const struct http_exchange *x)
{
    const char *length = http_header(x, "Content-Length");
    int64_t n;

    return length && num_i64(length, 0, INT64_MAX, &n) && n > TRANSFER_FILE_MAX;
}

static void open_upload(struct passage *p)
{
    const char *collection = http_path(p->x) + strlen(IMPORTS);
    struct transfer_upload u = { .collection = collection,
                                 .source = SOURCE_DEFAULT,
                                 .credential = p->proof.credential,
                                 .remote_address = p->proof.from,
                                 .principal = p->proof.principal };
    const char *reason, *refused = refusal_of(p->proof.principal, &reason);
    const char *fault = read_query(p, &u);

    if (!fault)
        fault = read_headers(p, &u);
    if (refused) {
        deny(p, reason, refused);
        return;
    }
    if (fault) {
        fail(p, ERR_INVALID_ARGUMENT, fault);
        return;
    }
    if (is_too_large(p->x)) {
        fail(p, ERR_OUT_OF_RANGE, "the file is over 2 GiB: send it in parts");
        return;
    }
    p->file = transfer_upload_open(p->all->port, &u, p);
    if (p->file)
        http_take_pieces(p->x);
    else
        fail(p, ERR_UNAVAILABLE, "too many files are under way; send it again");
}

static bool is_upload(const struct http_exchange *x)
{
    const char *rest = http_path(x) + strlen(IMPORTS);

    return http_method(x) == HTTP_POST && strncmp(http_path(x), IMPORTS, strlen(IMPORTS)) == 0 &&
           import_kind(rest);
}

bool transfers_begin(struct transfers *t, struct http_exchange *x)
{
    if (!is_ours(x))
        return false;
    if (!is_upload(x)) {
        http_drop_body(x); /* it is a matter of transfers_handle(), and of no body */
        return true;
    }
    struct passage *p = open_passage(t, x);
    if (p && admit(p))
        open_upload(p);
    return true;
}

/* An answer may be there long before the body's end. */
static void hear_upload(struct passage *p)
{
    struct transfer_uploaded result;
    char location[sizeof(IMPORTS) + ID_TEXT_MAX];

    if (!transfer_upload_result(p->file, &result)) {
        if (p->held && transfer_upload_wants(p->file)) {
            p->held = false;
            http_more_pieces(p->x);
        }
        return;
    }
    if (result.code) {
        fail(p, result.code, result.text);
        return;
    }
    snprintf(location, sizeof(location), IMPORTS "%s", result.id);
    http_add_header(p->x, "Location", location);
    if (result.replayed)
        http_add_header(p->x, "Idempotent-Replayed", "true");
    answer(p, 202, result.json, strlen(result.json));
}

bool transfers_piece(struct transfers *t UNUSED, struct http_exchange *x, const void *data,
                     size_t len)
{
    struct passage *p = http_data(x);

    if (!p || !p->file)
        return true;
    p->held = !transfer_upload_add(p->file, data, len);
    return !p->held;
}

/* --- what is known of one ----------------------------------------------------------------------- */

static void fetch(struct passage *p, bool has_ended)
{
    struct transfer_reader who = { .remote_address = p->proof.from, .request_id = p->request_id };

    if (!has_ended) {
        fail_as(p, &(struct connect_failure){ .code = ERR_FAILED_PRECONDITION,
                                              .reason = "NOT_ENDED",
                                              .text = "it has not ended yet: ask again",
                                              .wait_us = SECOND_US });
        return;
    }
    if (id_parse(p->proof.principal->actor_id, &who.actor))
        p->file = transfer_download_open(p->all->port, p->id, p->is_export, &who, p);
    if (!p->file)
        fail(p, ERR_UNAVAILABLE, "too many files are under way; ask again");
}

static bool is_end(int state)
{
    return state == TRANSFER_STATE(DONE) || state == TRANSFER_STATE(FAILED) ||
           state == TRANSFER_STATE(CANCELLED);
}

static void show(struct passage *p, const ProtobufCMessage *message)
{
    struct sbuf text;

    sbuf_init(&text, JSON_MAX);
    if (protojson_write(message, 0, &text) == ERR_OK) {
        http_add_header(p->x, "Cache-Control", "no-store");
        answer(p, 200, text.data, text.len);
    } else {
        fail(p, ERR_INTERNAL, "it cannot be shown: a bug; tell us");
    }
    sbuf_fini(&text);
}

static void take_state(struct passage *p, const ProtobufCMessage *reply)
{
    const ProtobufCMessage *message;
    int state;
    bool has_file = true, is_his = true;

    if (p->is_export) {
        const PbExport *e = ((const Daybook__Gateway__V1__GetExportResponse *)reply)->export;
        message = &e->base;
        state = (int)e->state;
        p->jsonl = e->format == TRANSFER_FORMAT(JSONL);
        has_file = state == TRANSFER_STATE(DONE);
        is_his = strcmp(((const PbExport *)message)->created_by, p->proof.principal->actor_id) == 0;
    } else {
        const PbImport *i = ((const Daybook__Gateway__V1__GetImportResponse *)reply)->import;
        message = &i->base;
        state = (int)i->state;
    }
    if (p->what == LOOK)
        show(p, message);
    else if (!is_his) /* what was approved was approved for him (SEC-01) */
        deny(p, "NOT_REQUESTER",
             "the file is for whoever asked for the export: ask for one of your own");
    else if (is_end(state) && !has_file)
        fail(p, ERR_NOT_FOUND, "the export has failed or was cancelled: there is no file");
    else
        fetch(p, is_end(state));
}

static void on_state(void *arg, const struct upstream_answer *got)
{
    struct passage *p = arg;
    const ProtobufCMessageDescriptor *type =
        p->is_export ? &daybook__gateway__v1__get_export_response__descriptor
                     : &daybook__gateway__v1__get_import_response__descriptor;
    ProtobufCMessage *reply = NULL;
    struct wire_fault fault;

    p->asked = NULL;
    if (got->code || !id_parse(p->proof.principal->tenant_id, &p->id.tenant)) {
        fail(p, got->code ? got->code : ERR_INTERNAL, "nobody answers; ask again");
        return;
    }
    const PbStatus *status = got->result->status;
    if (status)
        say(p, status);
    else if (wire_unpack(type, got->message, got->len, &wire_limits_internal, http_arena(p->x),
                         &reply, &fault))
        fail(p, ERR_INTERNAL, "the answer cannot be read");
    else
        take_state(p, reply);
}

static void ask(struct passage *p)
{
    Daybook__Gateway__V1__GetImportRequest get = DAYBOOK__GATEWAY__V1__GET_IMPORT_REQUEST__INIT;
    char text[ID_TEXT_MAX];
    uint8_t *data = NULL;
    struct upstream_request request = {
        .service =
            p->is_export ? "daybook.gateway.v1.ExportService" : "daybook.gateway.v1.ImportService",
        .method = p->is_export ? "GetExport" : "GetImport",
        .principal = p->proof.principal,
        .remote_address = p->proof.from,
        .request_id = id_new(),
        .deadline_us = clock_monotonic_us() + DEADLINE_US,
    };

    id_text(request.request_id, p->request_id);
    get.id = id_text(p->id.id, text); /* both requests have the same form */
    if (!wire_pack(&get.base, http_arena(p->x), &data, &request.len)) {
        request.message = data;
        p->asked = upstream_ask(p->all->upstream, &request, on_state, p);
    }
    if (!p->asked)
        fail(p, ERR_RESOURCE_EXHAUSTED, "out of memory; try again");
}

/* --- downloads ---------------------------------------------------------------------------------- */

/* "sha-256=:<base64>:" (RFC 9530) */
static void add_digest(struct passage *p, const char *name, const char *sha256)
{
    uint8_t bytes[crypto_hash_sha256_BYTES];
    char base64[64], text[96];
    size_t len;

    if (sodium_hex2bin(bytes, sizeof(bytes), sha256, strlen(sha256), NULL, &len, NULL) ||
        len != sizeof(bytes))
        return;
    sodium_bin2base64(base64, sizeof(base64), bytes, len, sodium_base64_VARIANT_ORIGINAL);
    snprintf(text, sizeof(text), "sha-256=:%s:", base64);
    http_add_header(p->x, name, text);
}

static void add_file_headers(struct passage *p)
{
    char id[ID_TEXT_MAX], text[128];
    const char *kind = p->is_export ? "export" : "import";

    id_text(p->id.id, id);
    snprintf(text, sizeof(text), "attachment; filename=\"%s-%s.%s\"", kind, id,
             p->jsonl ? "jsonl" : "csv");
    http_add_header(p->x, "Content-Disposition", text);
    http_add_header(p->x, "Content-Type",
                    p->jsonl ? "application/jsonl" : "text/csv; charset=utf-8");
    if (p->is_export)
        http_add_header(p->x, "X-Daybook-Export", id);
    http_add_header(p->x, "X-Content-Type-Options", "nosniff");
}

static void begin_stream(struct passage *p, const struct transfer_range *r, bool gzip)
{
    p->started = true;
    count(r->status);
    http_stream_hasten(p->x);
    if (gzip)
        http_stream_begin(p->x, r->status);
    else
        http_stream_begin_sized(p->x, r->status, (uint64_t)r->len);
    if (r->len == 0 || http_method(p->x) == HTTP_HEAD) {
        http_stream_end(p->x);
        let_go(p);
        return;
    }
    p->next = p->all->open;
    p->all->open = p;
    p->listed = true;
    transfer_download_start(p->file, r->from, r->len, gzip);
}

static void begin_download(struct passage *p, int64_t len, const char *sha256)
{
    struct http_exchange *x = p->x;
    bool gzip =
        !http_header(x, "Range") && len > 0 && http_names_gzip(http_header(x, "Accept-Encoding"));
    char etag[HTTP_ETAG_MAX], text[80];

    snprintf(etag, sizeof(etag), "\"%.32s%s\"", sha256, gzip ? "-gz" : "");
    http_add_header(x, "ETag", etag);
    http_add_header(x, "Vary", "Accept-Encoding");
    http_add_header(x, "Cache-Control", "private, no-cache");
    http_add_header(x, "Accept-Ranges", "bytes");
    if (http_etag_matches(http_header(x, "If-None-Match"), etag)) {
        answer(p, 304, NULL, 0);
        return;
    }
    struct transfer_range r =
        transfer_range_of(http_header(x, "Range"), http_header(x, "If-Range"), etag, len);
    if (r.status == 416) {
        snprintf(text, sizeof(text), "bytes */%" PRId64, len);
        http_add_header(x, "Content-Range", text);
        fail(p, ERR_OUT_OF_RANGE, "Range: the file ends before");
        return;
    }
    add_file_headers(p);
    if (gzip)
        http_add_header(x, "Content-Encoding", "gzip");
    else
        add_digest(p, r.status == 206 ? "Repr-Digest" : "Content-Digest", sha256);
    if (r.status == 206) {
        snprintf(text, sizeof(text), "bytes %" PRId64 "-%" PRId64 "/%" PRId64, r.from,
                 r.from + r.len - 1, len);
        http_add_header(x, "Content-Range", text);
    }
    begin_stream(p, &r, gzip);
}

static void pass_on(struct passage *p)
{
    bool end, ok = transfer_download_take(p->file, !p->full, &p->bytes, &end);

    if (p->bytes.len && !http_stream_send(p->x, p->bytes.data, p->bytes.len))
        p->full = true;
    if (ok && !end)
        return;
    if (ok)
        http_stream_end(p->x);
    else
        http_cut(p->x);
    let_go(p);
}

static void hear_download(struct passage *p)
{
    char sha256[SHA_TEXT];
    int64_t len;
    enum err e;

    if (p->started) {
        pass_on(p);
        return;
    }
    if (!transfer_download_found(p->file, &e, &len, sha256))
        return;
    if (e)
        fail(p, e == ERR_NOT_FOUND ? e : ERR_UNAVAILABLE, "the file cannot be read now; ask again");
    else
        begin_download(p, len, sha256);
}

bool transfers_drained(struct transfers *t UNUSED, struct http_exchange *x)
{
    struct passage *p = http_data(x);

    if (!is_ours(x))
        return false;
    if (p && p->file && p->full) {
        p->full = false;
        pass_on(p);
    }
    return true;
}

/* --- the loop's --------------------------------------------------------------------------------- */

/* "<id>", "<id>/result" or "<id>/file". False: it is none of these. */
static bool read_path(struct passage *p)
{
    const char *path = http_path(p->x);
    char id[ID_TEXT_MAX];

    p->is_export = path[1] == 'e';
    path += strlen(IMPORTS); /* both are as long */
    size_t len = strcspn(path, "/");
    if (len != sizeof(id) - 1)
        return false;
    memcpy(id, path, len);
    id[len] = '\0';
    p->what = path[len] ? FETCH : LOOK;
    return id_parse(id, &p->id.id) &&
           (!path[len] || strcmp(path + len, p->is_export ? "/file" : "/result") == 0);
}

static void handle(struct passage *p)
{
    enum http_method m = http_method(p->x);

    if (m == HTTP_POST && !strchr(http_path(p->x) + strlen(IMPORTS), '-')) {
        fail(p, ERR_NOT_FOUND, "what is imported is /imports/customers or /imports/orders");
    } else if (m != HTTP_GET && m != HTTP_HEAD) {
        http_add_header(p->x, "Allow", "GET, HEAD");
        answer(p, 405, NULL, 0);
    } else if (!read_path(p)) {
        fail(p, ERR_NOT_FOUND, "there is nothing here: see /docs");
    } else if (admit(p)) {
        ask(p);
    }
}

bool transfers_handle(struct transfers *t, struct http_exchange *x)
{
    struct passage *p = http_data(x);

    if (!is_ours(x) || http_fault(x))
        return false;
    if (p) {
        transfer_upload_end(p->file);
        return true;
    }
    p = open_passage(t, x);
    if (p)
        handle(p);
    return true;
}

bool transfers_gone(struct transfers *t UNUSED, struct http_exchange *x)
{
    struct passage *p = http_data(x);

    if (!is_ours(x))
        return false;
    if (p)
        let_go(p);
    return true;
}

void transfers_run(struct transfers *t)
{
    void *owner;

    while (transfer_port_next(t->port, &owner)) {
        struct passage *p = owner;
        if (p->what == UPLOAD)
            hear_upload(p);
        else
            hear_download(p);
    }
}

void transfers_hurry(struct transfers *t)
{
    while (t->open) {
        struct passage *p = t->open;
        http_cut(p->x);
        let_go(p);
    }
}
