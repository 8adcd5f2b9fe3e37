/*
 * ask.c - calls, over the bus or over HTTP, on behalf of a company or one of its people.
 *
 * Over the bus an operator's key (kind=system) may say for whom it asks; the bus ignores that from
 * any other key, which speaks for itself, as every API key does. Repeats are safe: whatever is asked
 * has an idempotency key.
 */
#include "cli/cli.h"

#include <poll.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "daybook/directory/v1/directory.pb-c.h"

#define TRIES_MAX 4
#define RETRY_BASE_US (50 * MSEC_US)
#define RETRY_CAP_US (5 * SECOND_US)
#define JSON_LIMIT (64 * MIB)

#define DIRECTORY_SERVICE "daybook.directory.v1.DirectoryService"

/* --- one call --------------------------------------------------------------------------------- */

static bool is_again(enum err e, const struct bus_answer *answer)
{
    /* Without a result there is no bus, and asking again would only double the wait. */
    return answer->result && (e == ERR_UNAVAILABLE || e == ERR_ABORTED);
}

/* Full jitter, but never before the service said. */
static int64_t delay_us(struct cli *c, const struct bus_answer *answer, int tries)
{
    int64_t most = MIN(RETRY_CAP_US, RETRY_BASE_US << tries);
    int64_t us = (int64_t)randombytes_uniform((uint32_t)most);
    return MAX(us, fault_retry_us(c->arena, answer->result));
}

static enum err ask_once(struct cli *c, const struct bus_request *r, struct bus_answer *answer_out)
{
    return c->over_http ? http_ask_call(c->http, r, c->arena, answer_out)
                        : bus_client_call(c->bus, r, c->arena, answer_out);
}

static enum err ask_as(struct cli *c, struct bus_request *r, struct bus_answer *answer_out)
{
    int64_t until_us = clock_monotonic_us() + c->timeout_us;
    for (int tries = 0;; tries++) {
        *answer_out = (struct bus_answer){ .result = NULL };
        r->timeout_us = until_us - clock_monotonic_us();
        enum err e = ask_once(c, r, answer_out);
        if (!is_again(e, answer_out) || tries + 1 == TRIES_MAX)
            return e;
        int64_t wait_us = delay_us(c, answer_out, tries);
        if (clock_monotonic_us() + wait_us >= until_us)
            return e;
        (void)poll(NULL, 0, (int)(wait_us / 1000));
    }
}

/* --- on whose behalf -------------------------------------------------------------------------- */

static PbPrincipal *new_principal(struct cli *c, int kind)
{
    PbPrincipal *p = wire_new(&daybook__common__v1__principal__descriptor, c->arena);
    if (p) {
        p->tenant_id = c->tenant;
        p->kind = kind;
    }
    return p;
}

static bool look_up(struct cli *c, const char *who, PbPrincipal *p, int *status_out)
{
    struct bus_answer answer;
    struct id id;
    bool by_id = id_parse(who, &id);
    PbPrincipal *system = new_principal(c, DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM);
    Daybook__Directory__V1__GetEmployeeRequest *ask =
        wire_new(&daybook__directory__v1__get_employee_request__descriptor, c->arena);
    if (!system || !ask)
        return false;
    *(by_id ? &ask->id : &ask->employee_no) = arena_strdup(c->arena, who);

    struct bus_request r = {
        .service = DIRECTORY_SERVICE,
        .method = "GetEmployee",
        .message = &ask->base,
        .principal = system,
    };
    enum err e = ask_as(c, &r, &answer);
    if (e) {
        const char *what = arena_printf(c->arena, "--as %s: GetEmployee", who);
        *status_out = cli_call_failed(c, what ? what : "--as", e, &answer);
        return false;
    }
    const Daybook__Directory__V1__Employee *employee =
        ((const Daybook__Directory__V1__GetEmployeeResponse *)(const void *)answer.message)
            ->employee;
    if (!employee || !employee->active) {
        *status_out = cli_fail(c, ERR_FAILED_PRECONDITION, "--as %s: has left the company", who);
        return false;
    }
    p->actor_id = employee->id;
    p->roles = employee->roles;
    p->n_roles = employee->n_roles;
    return true;
}

static bool make_principal(struct cli *c, int *status_out)
{
    const char *who = args_value(&c->args, "as");
    if (!who)
        who = cli_setting(c, "AS");
    bool person = who && *who;
    if (person && !*c->tenant) {
        *status_out = cli_usage(c, "--as needs the company too: --tenant ID or DAYBOOK_TENANT");
        return false;
    }
    if (!*c->tenant)
        return true;
    PbPrincipal *p = new_principal(c, person ? DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE
                                             : DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM);
    if (!p || !cli_bus(c, status_out) || (person && !look_up(c, who, p, status_out)))
        return false;
    c->principal = p;
    return true;
}

bool cli_principal(struct cli *c, const PbPrincipal **out, int *status_out)
{
    int status = err_exit_code(ERR_RESOURCE_EXHAUSTED);
    if (!c->principal_known && !c->over_http && !make_principal(c, &status)) {
        *status_out = status;
        return false;
    }
    c->principal_known = true;
    *out = c->principal;
    return true;
}

/* --- public ----------------------------------------------------------------------------------- */

enum err cli_send(struct cli *c, const struct bus_request *r)
{
    return c->over_http ? http_ask_send(c->http, r) : bus_client_send(c->bus, r, c->arena);
}

enum err cli_receive(struct cli *c, int64_t timeout_us,
                     const ProtobufCMessageDescriptor *(*type_of)(void *arg,
                                                                  const char *request_id),
                     void *arg, struct bus_answer *answer_out, const char **whose_out)
{
    if (c->over_http)
        return http_ask_receive(c->http, timeout_us, c->arena, answer_out, whose_out);
    *answer_out = (struct bus_answer){ .result = NULL };
    enum err e = bus_client_receive(c->bus, timeout_us, c->arena, type_of, arg, answer_out);
    *whose_out = answer_out->result ? answer_out->result->request_id : NULL;
    return e;
}

enum err cli_ask(struct cli *c, const char *service, const char *method,
                 const ProtobufCMessage *request, struct bus_answer *answer_out)
{
    char key[ID_TEXT_MAX];
    struct bus_request r = {
        .service = service,
        .method = method,
        .message = request,
        .idempotency_key = c->key ? c->key : id_text(id_new(), key),
        .principal = c->principal,
    };
    return ask_as(c, &r, answer_out);
}

void cli_next_key(struct cli *c)
{
    if (c->key)
        c->key = arena_printf(c->arena, "%s+", c->key);
}

const char *cli_consumer_service(struct cli *c, const char *area)
{
    const char *name = arena_printf(c->arena, "daybook.%s.v1.ConsumerService", area);
    return name ? name : "";
}

const ProtobufCMessage *cli_must_ask(struct cli *c, const char *service, const char *method,
                                     const ProtobufCMessage *request, int *status_out)
{
    const PbPrincipal *who;
    struct bus_answer answer;
    if (!cli_way(c, status_out) || !cli_principal(c, &who, status_out))
        return NULL;
    enum err e = cli_ask(c, service, method, request, &answer);
    if (!e)
        return answer.message;
    const char *what = arena_printf(c->arena, "%s/%s", service, method);
    *status_out = cli_call_failed(c, what ? what : method, e, &answer);
    return NULL;
}

int cli_print_message(const struct cli *c, const ProtobufCMessage *m, int flags)
{
    struct sbuf out;
    sbuf_init(&out, JSON_LIMIT);
    enum err e = protojson_write(m, flags | (c->json ? 0 : PROTOJSON_PRETTY), &out);
    if (!e && !out.bad)
        (void)printf("%s\n", out.data);
    sbuf_fini(&out);
    return e ? cli_fail(c, e, "the answer cannot be shown as JSON") : 0;
}
