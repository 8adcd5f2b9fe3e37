/*
 * status_http.c - what `daybook status` finds out over HTTP: by calls alone, of the key's company.
 *
 * Calls are no snapshot. So consumers are asked first and then, in one moment of the database, the
 * head of the log and what is on its way there: where all had come to a head that stands still and
 * nothing is on its way, nothing that they did on the way is missing.
 */
#include "cli/status.h"
#include "daybook/common/v1/consumer.pb-c.h"
#include "daybook/reminders/v1/reminders.pb-c.h"

#define BUS_SERVICE "daybook.bus.v1.BusService"
#define EVENT_SERVICE "daybook.bus.v1.EventService"
#define TIMER_SERVICE "daybook.reminders.v1.TimerService"

typedef Daybook__Common__V1__GetConsumerResponse Consumer;
typedef Daybook__Bus__V1__GetHeadResponse Head;
typedef Daybook__Reminders__V1__ListParkedTimersResponse Timers;

static const char *fault_of(struct cli *c, const struct bus_answer *answer)
{
    const char *said = answer->result && answer->result->status ? answer->result->status->message
                                                                : "does not answer";
    const char *text = text_plain(c->arena, said);
    return text ? text : "";
}

/* Nobody takes calls at all; each would cost the time to find that out once more. */
static bool is_away(const struct status *s)
{
    return s->failed && !s->failed_answer.result;
}

/* "": answered, else why not, which is kept unless something else failed before. */
static const char *ask(struct cli *c, struct status *s, const char *service, const char *method,
                       const ProtobufCMessage *request, const ProtobufCMessage **message_out)
{
    struct bus_answer answer;

    *message_out = NULL;
    if (is_away(s))
        return "does not answer";
    enum err e = cli_ask(c, service, method, request, &answer);
    if (!e) {
        *message_out = answer.message;
        return "";
    }
    if (!s->failed) {
        const char *what = arena_printf(c->arena, "%s/%s", service, method);
        s->failed = e;
        s->may_pass = e == ERR_UNAVAILABLE || e == ERR_DEADLINE_EXCEEDED || e == ERR_ABORTED ||
                      e == ERR_RESOURCE_EXHAUSTED;
        s->failed_what = what ? what : method;
        s->failed_answer = answer;
    }
    return fault_of(c, &answer);
}

static void ask_consumer(struct cli *c, struct status *s, const char *area)
{
    Daybook__Common__V1__GetConsumerRequest request =
        DAYBOOK__COMMON__V1__GET_CONSUMER_REQUEST__INIT;
    struct consumer_state *k = &s->consumers[s->nconsumers++];
    const ProtobufCMessage *m;

    *k = (struct consumer_state){ .name = area };
    k->fault = ask(c, s, cli_consumer_service(c, area), "Get", &request.base, &m);
    if (!m)
        return;
    const Daybook__Common__V1__ConsumerState *state = ((const Consumer *)(const void *)m)->consumer;
    if (!state)
        return;
    k->started = state->started;
    k->seq = state->seq;
    k->replay_until = state->replay_until_seq;
    k->parked = state->parked;
}

static void ask_head(struct cli *c, struct status *s)
{
    Daybook__Bus__V1__GetHeadRequest request = DAYBOOK__BUS__V1__GET_HEAD_REQUEST__INIT;
    const ProtobufCMessage *m;

    s->log_fault = ask(c, s, EVENT_SERVICE, "GetHead", &request.base, &m);
    if (!m)
        return;
    const Head *head = (const void *)m;
    s->has_log = true;
    s->head_seq = head->head_seq;
    s->outbox = head->unpublished;
}

static void ask_timers(struct cli *c, struct status *s)
{
    Daybook__Reminders__V1__ListParkedTimersRequest request =
        DAYBOOK__REMINDERS__V1__LIST_PARKED_TIMERS_REQUEST__INIT;
    const ProtobufCMessage *m;

    request.page_size = 1;
    s->timers_fault = ask(c, s, TIMER_SERVICE, "ListParked", &request.base, &m);
    if (m)
        s->timers_waiting = ((const Timers *)(const void *)m)->waiting;
}

/* A company may well not be told about the bus, which is everybody's (scope bus.read): that is no
 * failure. */
static void ask_bus(struct cli *c, struct status *s)
{
    Daybook__Bus__V1__ListServicesRequest request = DAYBOOK__BUS__V1__LIST_SERVICES_REQUEST__INIT;
    bool failed_before = s->failed != ERR_OK;
    const ProtobufCMessage *m;

    s->bus_fault = ask(c, s, BUS_SERVICE, "ListServices", &request.base, &m);
    s->services = (const void *)m;
    if (!failed_before && s->failed == ERR_PERMISSION_DENIED)
        s->failed = ERR_OK;
}

void status_ask_services(struct cli *c, struct status *s)
{
    s->log_fault = s->timers_fault = "";
    for (const struct area *a = areas; a->name; a++)
        if (a->consumes)
            ask_consumer(c, s, a->name);
    ask_head(c, s);
    ask_timers(c, s);
    ask_bus(c, s);
}
