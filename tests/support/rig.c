/*
 * rig.c - see rig.h.
 */
#include "tests/support/rig.h"

#include <setjmp.h>
#include <cmocka.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/consumer_internal.h"
#include "common/directory_build.h"
#include "common/page.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "common/secret.h"
#include "tests/support/asking.h"
#include "tests/support/bus_schema.h"

#define LIMIT_US (20 * SECOND_US)

const struct id rig_tenant = { { 1, [6] = 0x70, [8] = 0x80, [15] = 0xa } };
const struct id rig_other_tenant = { { 1, [6] = 0x70, [8] = 0x80, [15] = 0xb } };

static const struct id unit_hq = { { 3, [6] = 0x70, [8] = 0x80, [15] = 1 } };
static const struct id unit_east = { { 3, [6] = 0x70, [8] = 0x80, [15] = 2 } };
static const struct id unit_other = { { 3, [6] = 0x70, [8] = 0x80, [15] = 3 } };

static const struct {
    const char *name, *roles, *superior;
    const struct id *tenant, *unit;
    bool inactive;
} people[] = {
    { "gm", "general_manager", NULL, &rig_tenant, &unit_hq, false },
    { "sup", "supervisor", "gm", &rig_tenant, &unit_east, false },
    { "lead", "team_lead", "sup", &rig_tenant, &unit_east, false },
    { "rep", "rep", "lead", &rig_tenant, &unit_east, false },
    { "rep2", "rep", "lead", &rig_tenant, &unit_east, false },
    { "other", "rep", NULL, &rig_other_tenant, &unit_other, false },
    { "gone", "rep", "lead", &rig_tenant, &unit_east, true },
};

static void must(enum err e, const char *what)
{
    if (e)
        fail_msg("%s: %s", what, err_name(e));
}

struct id rig_employee(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(people); i++)
        if (strcmp(people[i].name, name) == 0)
            return (struct id){ { 2, [6] = 0x70, [8] = 0x80, [15] = (uint8_t)(i + 1) } };
    return (struct id){ { 0 } };
}

const char *rig_employee_text(const char *name)
{
    static char texts[8][ID_TEXT_MAX];
    static unsigned next;

    return id_text(rig_employee(name), texts[next++ % ARRAY_LEN(texts)]);
}

#define POLICIES_MAX 16
static struct policy_setting policies[POLICIES_MAX];
static size_t npolicies;
static const struct id *moved_to[ARRAY_LEN(people)]; /* NULL: he is where he was */

static const struct id *unit_named(const char *name)
{
    return strcmp(name, "HQ") == 0 ? &unit_hq : &unit_east;
}

static void make_company(void)
{
    struct directory_builder *b = directory_builder_new();

    directory_builder_add_tenant(b, rig_tenant, "晨帆商贸", "Asia/Shanghai", "CNY");
    directory_builder_add_tenant(b, rig_other_tenant, "Other", "Asia/Shanghai", "CNY");
    directory_builder_add_unit(b, rig_tenant,
                               &(struct directory_unit_in){ unit_hq, { { 0 } }, "HQ", "HQ" });
    directory_builder_add_unit(b, rig_tenant,
                               &(struct directory_unit_in){ unit_east, unit_hq, "EAST", "East" });
    directory_builder_add_unit(b, rig_other_tenant,
                               &(struct directory_unit_in){ unit_other, { { 0 } }, "X", "X" });
    for (size_t i = 0; i < ARRAY_LEN(people); i++) {
        struct directory_employee_in in = {
            .id = rig_employee(people[i].name),
            .unit = moved_to[i] ? *moved_to[i] : *people[i].unit,
            .employee_no = people[i].name,
            .inactive = people[i].inactive,
            .name = people[i].name,
            .roles = people[i].roles,
        };
        if (people[i].superior)
            in.superior = rig_employee(people[i].superior);
        directory_builder_add_employee(b, *people[i].tenant, &in);
    }
    for (size_t i = 0; i < npolicies; i++)
        directory_builder_set_policy(b, rig_tenant, &policies[i]);
    directory_builder_set_revision(b, (int64_t)npolicies + 1);
    const struct directory *d = directory_builder_finish(b);
    assert_non_null(d);
    directory_set_for_tests(d);
}

static void set_policy(struct id unit, const char *key, const char *value, const char *from)
{
    assert_true(npolicies < POLICIES_MAX);
    policies[npolicies] = (struct policy_setting){ .key = key, .unit = unit, .value = value };
    assert_true(time_parse(from, &policies[npolicies].effective_from_us));
    npolicies++;
    make_company();
}

void rig_set_policy(const char *key, const char *value, const char *from_rfc3339)
{
    set_policy((struct id){ { 0 } }, key, value, from_rfc3339);
}

void rig_set_unit_policy(const char *unit, const char *key, const char *value,
                         const char *from_rfc3339)
{
    set_policy(*unit_named(unit), key, value, from_rfc3339);
}

void rig_move(const char *employee, const char *unit)
{
    for (size_t i = 0; i < ARRAY_LEN(people); i++)
        if (strcmp(people[i].name, employee) == 0)
            moved_to[i] = unit_named(unit);
    make_company();
}

void rig_clear_policies(void)
{
    npolicies = 0;
    memset(moved_to, 0, sizeof(moved_to));
    make_company();
}

static const char *prepare_sql;

void rig_prepare(const char *sql)
{
    prepare_sql = sql;
}

static void make_tables(struct rig *r, const struct migration *migrations, size_t n)
{
    int applied;

    r->admin = db_new(servers_conninfo(r->servers), "rig-admin");
    bus_schema_make(r->admin);
    if (prepare_sql)
        must(db_script(r->admin, prepare_sql, clock_monotonic_us() + 10 * SECOND_US), "prepare");
    must(migrate_run(r->admin, r->schema, migrations, n, &applied), "migrate");
}

struct rig *rig_start(const char *schema, const struct migration *migrations, size_t nmigrations,
                      const struct method *methods, size_t nmethods)
{
    static const struct servers_options options = { .durable = false };

    return rig_start_with(&options, schema, migrations, nmigrations, methods, nmethods);
}

struct rig *rig_start_with(const struct servers_options *options, const char *schema,
                           const struct migration *migrations, size_t nmigrations,
                           const struct method *methods, size_t nmethods)
{
    struct rig *r = calloc(1, sizeof(*r));
    char role[64], spec[160];
    const char *reason = "";
    uint8_t key[32] = { 7 };

    assert_non_null(r);
    schema_init();
    assert_true(secret_init("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"));
    page_set_key(key);
    r->schema = schema;
    r->methods = methods;
    r->nmethods = nmethods;
    r->servers = servers_start_with(options);
    snprintf(r->clock_path, sizeof(r->clock_path), "%s/clock", servers_dir(r->servers));
    rig_time(r, "2026-11-16T01:00:00Z");
    snprintf(spec, sizeof(spec), "file:%s", r->clock_path);
    if (!clock_init(spec, &reason))
        fail_msg("clock: %s", reason);
    make_company();
    make_tables(r, migrations, nmigrations);
    snprintf(role, sizeof(role), "daybook_%s", schema);
    char *conninfo = servers_conninfo_of(r->servers, role);
    r->db = db_new(conninfo, "rig");
    free(conninfo);
    r->arena = arena_new(64 * MIB);
    return r;
}

void rig_stop(struct rig *r)
{
    db_free(r->db);
    db_free(r->admin);
    arena_free(r->arena);
    servers_stop(r->servers);
    directory_set_for_tests(NULL);
    unlink(r->clock_path);
    free(r);
}

void rig_time(struct rig *r, const char *rfc3339)
{
    int64_t us;

    assert_true(time_parse(rfc3339, &us));
    assert_true(clock_steer(r->clock_path, us, 0));
}

/* Answer frames into one JSON value: the message, or the status. */
static json_t *to_json(const struct reply *reply)
{
    struct sbuf text;
    json_error_t error;
    const ProtobufCMessage *m = reply->code ? &reply->result->status->base : reply->message;

    sbuf_init(&text, 4 * MIB);
    must(protojson_write(m, 0, &text), "protojson_write");
    json_t *json = json_loads(text.data, JSON_DECODE_INT_AS_REAL, &error);
    if (!json)
        fail_msg("answer is not JSON: %s\n%s", error.text, text.data);
    sbuf_fini(&text);
    return json;
}

static json_t *vcall(struct rig *r, const char *actor, const char *service, const char *method,
                     const char *key, enum err *code_out, const char *fmt, va_list ap)
{
    static const char *const scopes[] = {
        "tenant.all",   "customers.read", "customers.write", "visits.read",     "visits.write",
        "scoring.read", "scoring.write",  "reminders.read",  "reminders.write", NULL
    };
    const struct schema_method *m = schema_find_method(service, method);
    ProtobufCMessage *message;
    struct wire_fault fault;

    assert_non_null(m);
    arena_reset(r->arena);
    char *text = arena_vprintf(r->arena, fmt, ap);
    assert_non_null(text);
    if (protojson_read(m->input, text, strlen(text), PROTOJSON_STRICT, r->arena, &message, &fault))
        fail_msg("request: %s %s\n%s", fault.field, fault.reason, text);
    struct question q = {
        .service = service,
        .method = method,
        .message = message,
        .tenant = strcmp(actor, "other") == 0 ? rig_other_tenant : rig_tenant,
        .key = key,
        .kind = strcmp(actor, "system") == 0 ? DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM
                : strcmp(actor, "service") == 0
                    ? DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE
                    : DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE,
        .scopes = strcmp(actor, "service") == 0 ? scopes : NULL,
        .actor = id_is_nil(rig_employee(actor)) ? unit_hq : rig_employee(actor),
    };
    struct call_env env = {
        .arena = r->arena,
        .db = r->db,
        .cache = r->cache,
        .daemon_data = r->daemon_data,
        .methods = r->methods,
        .nmethods = r->nmethods,
        .schema = r->schema,
    };
    uint64_t before = db_round_trips(r->db);
    struct reply reply = ask(&env, &q);
    r->round_trips = (int64_t)(db_round_trips(r->db) - before);
    *code_out = reply.code;
    return to_json(&reply);
}

json_t *rig_call(struct rig *r, const char *actor, const char *service, const char *method,
                 const char *key, const char *request_fmt, ...)
{
    enum err code;
    va_list ap;

    va_start(ap, request_fmt);
    json_t *json = vcall(r, actor, service, method, key, &code, request_fmt, ap);
    va_end(ap);
    return json;
}

json_t *rig_ok(struct rig *r, const char *actor, const char *service, const char *method,
               const char *request_fmt, ...)
{
    enum err code;
    va_list ap;

    va_start(ap, request_fmt);
    json_t *json = vcall(r, actor, service, method, NULL, &code, request_fmt, ap);
    va_end(ap);
    if (code)
        fail_msg("%s/%s as %s: %s: %s", service, method, actor, err_name(code),
                 rig_text(json, "message"));
    return json;
}

void rig_fails(struct rig *r, const char *actor, const char *service, const char *method,
               enum err code, const char *message_part, const char *request_fmt, ...)
{
    enum err got;
    va_list ap;

    va_start(ap, request_fmt);
    json_t *json = vcall(r, actor, service, method, NULL, &got, request_fmt, ap);
    va_end(ap);
    char *text = json_dumps(json, JSON_ENCODE_ANY);
    if (got != code || !strstr(text, message_part))
        fail_msg("%s as %s: wanted %s with '%s', got %s: %s", method, actor, err_name(code),
                 message_part, err_name(got), text);
    free(text);
    json_decref(json);
}

const char *rig_text(const json_t *json, const char *path)
{
    static char texts[8][512];
    static unsigned next;
    char key[64], *out = texts[next++ % ARRAY_LEN(texts)];

    while (json && *path) {
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof(key), "%.*s", (int)n, path);
        path += n + (path[n] == '.');
        json = json_is_array(json) ? json_array_get(json, (size_t)strtoul(key, NULL, 10))
                                   : json_object_get(json, key);
    }
    out[0] = '\0';
    if (json_is_string(json))
        snprintf(out, sizeof(texts[0]), "%s", json_string_value(json));
    else if (json_is_number(json))
        snprintf(out, sizeof(texts[0]), "%.15g", json_number_value(json));
    else if (json_is_boolean(json))
        snprintf(out, sizeof(texts[0]), "%s", json_is_true(json) ? "true" : "false");
    return out;
}

const char *rig_value(struct rig *r, const char *sql)
{
    static char value[4096];
    struct db_stmt stmt = { "rig_value", sql, 0, NULL };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    must(db_begin(r->admin, NULL, clock_monotonic_us() + LIMIT_US), "begin");
    must(db_exec(r->admin, &stmt, NULL, &res), sql);
    must(db_commit(r->admin), "commit");
    snprintf(value, sizeof(value), "%s", PQntuples(res) ? PQgetvalue(res, 0, 0) : "");
    return value;
}

const char *rig_events(struct rig *r)
{
    static char types[4096];

    snprintf(types, sizeof(types), "%s",
             rig_value(r, "SELECT string_agg(regexp_replace(type, '.*\\.', ''), ' ' ORDER BY id) "
                          "FROM bus.outbox"));
    must(db_script(r->admin, "DELETE FROM bus.outbox", clock_monotonic_us() + LIMIT_US), "empty");
    return types;
}

void rig_hear(struct rig *r, const struct consumer_def *def, bool replaying, const char *type,
              const char *occurred_at, const char *data_fmt, ...)
{
    const struct schema_message *m = schema_find_message(type);
    struct consumer c = {
        .def = def, .db = r->db, .work = arena_new(64 * MIB), .env.daemon_data = r->daemon_data
    };
    struct arena *feed = arena_new(16 * MIB);
    struct reaction reaction;
    struct reaction_state state;
    struct wire_fault fault;
    ProtobufCMessage *data;
    PbEvent event = DAYBOOK__BUS__V1__EVENT__INIT;
    char id[ID_TEXT_MAX], tenant[ID_TEXT_MAX];
    int64_t at;
    va_list ap;

    va_start(ap, data_fmt);
    const char *text = arena_vprintf(feed, data_fmt, ap);
    va_end(ap);
    assert_true(m && text && time_parse(occurred_at, &at));
    if (protojson_read(m->type, text, strlen(text), PROTOJSON_STRICT, feed, &data, &fault))
        fail_msg("event: %s %s", fault.field, fault.reason);
    event.event_id = id_text(id_new(), id);
    event.tenant_id = id_text(rig_tenant, tenant);
    event.type = (char *)(uintptr_t)type;
    event.occurred_at = wire_time(feed, at);
    event.data = wire_any(feed, data);
    struct consumer_item item = { .event = &event, .tenant = rig_tenant };
    struct consumer_item *items[] = { &item };
    for (size_t i = 0; i < def->nreactions; i++)
        if (strcmp(def->reactions[i].type, type) == 0)
            item.def = &def->reactions[i];
    assert_non_null(item.def);
    consumer_react_open(&c, &reaction, &state, replaying);
    must(db_begin(r->db, NULL, clock_monotonic_us() + LIMIT_US), "begin");
    must(consumer_react_tenant(&c, &reaction, items, 1), type);
    must(db_commit(r->db), "commit");
    consumer_react_tell(&c, &reaction);
    consumer_react_close(&reaction);
    arena_free(c.work);
    arena_free(feed);
}
