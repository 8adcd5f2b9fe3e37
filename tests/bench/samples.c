/*
 * samples.c - see samples.h.
 */
#include "tests/bench/samples.h"

#include "daybook/customers/v1/customers.pb-c.h"
#include "daybook/directory/v1/directory.pb-c.h"
#include "daybook/reminders/v1/reminders.pb-c.h"
#include "tests/bench/gear.h"

static char *text(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
static char *text(struct arena *a, const char *fmt, ...)
{
    char buf[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(buf, sizeof buf, fmt, args);
    va_end(args);
    char *t = arena_strdup(a, buf);
    if (!t)
        die("out of memory");
    return t;
}

static char *employee_id(struct arena *a, size_t n)
{
    return text(a, "00000000-0000-7000-8000-%012zu", n);
}

static char *customer_id(struct arena *a, size_t n)
{
    return text(a, "00000000-0000-0000-0000-%012zu", n);
}

static char *letters(struct arena *a, size_t n)
{
    char *t = arena_alloc(a, n + 1);
    if (!t)
        die("out of memory");
    for (size_t i = 0; i < n; i++)
        t[i] = (char)(i % 8 == 7 ? ' ' : 'a' + (char)(i * 7 % 26));
    t[n] = '\0';
    return t;
}

static void *message_new(struct arena *a, const ProtobufCMessageDescriptor *type)
{
    void *m = wire_new(type, a);
    if (!m)
        die("out of memory");
    return m;
}

static void pack(struct arena *a, const ProtobufCMessage *m, const uint8_t **out, size_t *len_out)
{
    uint8_t *data;
    if (wire_pack(m, a, &data, len_out) != ERR_OK)
        die("out of memory");
    *out = data;
}

/* The principal, where there is one, is an employee: what most callers are. */
static void pack_context(const struct samples_def *def, char *actor, struct arena *a,
                         struct sample *out)
{
    PbCallContext *c = message_new(a, &daybook__common__v1__call_context__descriptor);
    c->request_id = text(a, "%0*d", REQUEST_ID_LEN, 0);
    c->deadline_ms = def->deadline_ms;
    if (actor) {
        c->principal = message_new(a, &daybook__common__v1__principal__descriptor);
        c->principal->tenant_id = text(a, "%s", def->tenant);
        c->principal->actor_id = actor;
        c->principal->kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE;
    }
    pack(a, &c->base, &out->context, &out->context_len);
}

/* --- kinds ------------------------------------------------------------------------------------ */

static void make_echo(const struct samples_def *def, size_t n, struct arena *a, struct sample *out)
{
    (void)n;
    pack_context(def, NULL, a, out);
    out->message = (const uint8_t *)letters(a, def->bytes);
    out->message_len = def->bytes;
}

static void make_record(const struct samples_def *def, size_t n, struct arena *a,
                        struct sample *out)
{
    Daybook__Customers__V1__RecordInteractionRequest *r =
        message_new(a, &daybook__customers__v1__record_interaction_request__descriptor);
    Daybook__Customers__V1__Interaction *it =
        message_new(a, &daybook__customers__v1__interaction__descriptor);
    r->interaction = it;
    it->customer_id = customer_id(a, n + 1);
    it->channel = DAYBOOK__CUSTOMERS__V1__CHANNEL__CHANNEL_PHONE;
    it->direction = DAYBOOK__CUSTOMERS__V1__DIRECTION__DIRECTION_OUTBOUND;
    it->content = letters(a, def->bytes);
    it->needs = text(a, "more of the same");
    it->result = text(a, "will order next week");
    if (strcmp(def->kind, "question") == 0) {
        Daybook__Customers__V1__Question *q =
            message_new(a, &daybook__customers__v1__question__descriptor);
        q->text = text(a, "Can it be had in blue?");
        it->questions = arena_alloc(a, sizeof(*it->questions));
        if (!it->questions)
            die("out of memory");
        it->questions[0] = q;
        it->n_questions = 1;
    }
    pack_context(def, employee_id(a, (n + 1) % def->employees + 1), a, out);
    pack(a, &r->base, &out->message, &out->message_len);
}

static void make_list(const struct samples_def *def, size_t n, struct arena *a, struct sample *out)
{
    Daybook__Reminders__V1__GetDailyTasksRequest *r =
        message_new(a, &daybook__reminders__v1__get_daily_tasks_request__descriptor);
    r->employee = employee_id(a, n % def->employees + 1);
    pack_context(def, r->employee, a, out);
    pack(a, &r->base, &out->message, &out->message_len);
}

static const struct {
    const char *name, *service, *method;
    void (*make)(const struct samples_def *def, size_t n, struct arena *a, struct sample *out);
    bool per_customer, per_employee;
} kinds[] = {
    { "echo", NULL, "Echo", make_echo, false, false },
    { "record", "daybook.customers.v1.InteractionService", "RecordInteraction", make_record, true,
      false },
    { "question", "daybook.customers.v1.InteractionService", "RecordInteraction", make_record, true,
      false },
    { "list", "daybook.reminders.v1.TaskService", "GetDailyTasks", make_list, false, true },
};

struct samples samples_make(const struct samples_def *def, struct arena *a)
{
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        if (strcmp(kinds[k].name, def->kind) != 0)
            continue;
        struct samples s = { .service = kinds[k].service ? kinds[k].service : def->service,
                             .method = kinds[k].method };
        s.n = kinds[k].per_customer ? def->customers : kinds[k].per_employee ? def->employees : 1;
        s.item = arena_alloc(a, s.n * sizeof(*s.item));
        if (!s.item)
            die("out of memory");
        for (size_t i = 0; i < s.n; i++)
            kinds[k].make(def, i, a, &s.item[i]);
        return s;
    }
    die("no requests of kind '%s'", def->kind);
}

/* --- the company ------------------------------------------------------------------------------ */

#define DIRECTORY "daybook.directory.v1.DirectoryService"

/* As a system caller; what an earlier run made is as good. */
static void ask(struct bus_client *c, const char *tenant, const char *method,
                const ProtobufCMessage *message, struct arena *a)
{
    PbPrincipal *p = message_new(a, &daybook__common__v1__principal__descriptor);
    p->tenant_id = text(a, "%s", tenant);
    p->kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM;
    struct bus_request r = { .service = DIRECTORY,
                             .method = method,
                             .message = message,
                             .principal = p,
                             .timeout_us = 10 * SECOND_US };
    struct bus_answer answer = { 0 };
    enum err e = bus_client_call(c, &r, a, &answer);
    if (e && e != ERR_ALREADY_EXISTS)
        die("%s: %s %s", method, err_name(e),
            answer.result && answer.result->status ? answer.result->status->message : "");
}

static void make_employee(struct bus_client *c, const char *tenant, size_t n, struct arena *a)
{
    static char *lead[] = { (char *)(uintptr_t) "general_manager" };
    static char *rep[] = { (char *)(uintptr_t) "rep" };
    Daybook__Directory__V1__CreateEmployeeRequest *r =
        message_new(a, &daybook__directory__v1__create_employee_request__descriptor);
    r->employee = message_new(a, &daybook__directory__v1__employee__descriptor);
    r->employee->id = employee_id(a, n);
    r->employee->employee_no = text(a, "B%04zu", n);
    r->employee->name = text(a, "Employee %zu", n);
    r->employee->unit_id = text(a, BENCH_UNIT);
    r->employee->roles = n ? rep : lead;
    r->employee->n_roles = 1;
    if (n)
        r->employee->superior_id = employee_id(a, 0);
    ask(c, tenant, "CreateEmployee", &r->base, a);
}

void samples_found_company(struct bus_client *c, const char *tenant, size_t employees,
                           struct arena *a)
{
    Daybook__Directory__V1__CreateTenantRequest *t =
        message_new(a, &daybook__directory__v1__create_tenant_request__descriptor);
    t->tenant = message_new(a, &daybook__directory__v1__tenant__descriptor);
    t->tenant->id = text(a, "%s", tenant);
    t->tenant->name = text(a, "Bench");
    t->tenant->time_zone = text(a, "Asia/Shanghai");
    t->tenant->currency_code = text(a, "CNY");
    ask(c, tenant, "CreateTenant", &t->base, a);

    Daybook__Directory__V1__CreateUnitRequest *u =
        message_new(a, &daybook__directory__v1__create_unit_request__descriptor);
    u->unit = message_new(a, &daybook__directory__v1__unit__descriptor);
    u->unit->id = text(a, BENCH_UNIT);
    u->unit->code = text(a, "BENCH");
    u->unit->name = text(a, "Bench");
    ask(c, tenant, "CreateUnit", &u->base, a);
    for (size_t n = 0; n <= employees; n++)
        make_employee(c, tenant, n, a);
}
