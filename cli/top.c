/*
 * top.c - `daybook top`: what happens now, from two looks at every daemon's metrics and at the bus.
 *
 * A rate is what was counted between two looks over the time between them; a daemon that was
 * started anew in between counts from its start. A daemon that does not answer shows as AWAY, and
 * the others all the same.
 */
#include <math.h>
#include <poll.h>
#include <unistd.h>

#include "cli/admin_ask.h"
#include "cli/top.h"
#include "common/clock.h"
#include "common/num.h"
#include "daybook/bus/v1/bus.pb-c.h"

#define ADMIN_TIMEOUT_MS 1000
#define PAGE_LIMIT (4 * MIB)
#define EVERY_US (2 * SECOND_US)
#define DAEMONS_MAX 64
#define BUS_SERVICE "daybook.bus.v1.BusService"

typedef Daybook__Bus__V1__ServiceState Service;

struct daemon {
    const char *name, *address;
    struct sbuf page[2]; /* of this look, and of the one before; by turns */
    bool answers, ready;
};

/* What the bus counted for a service at the look before. */
struct served {
    char name[96];
    int64_t requests;
};

struct top {
    struct cli *c;
    char *list; /* of DAYBOOK_STATUS, cut up: names and addresses */
    struct daemon daemons[DAEMONS_MAX];
    size_t n;
    int now; /* which page is of this look */
    int64_t at_us, before_us;
    const Daybook__Bus__V1__ListServicesResponse *services; /* NULL: the bus does not answer */
    struct served served[DAEMONS_MAX];
    size_t nserved;
};

/* --- looking ---------------------------------------------------------------------------------- */

static bool find_daemons(struct top *t)
{
    const char *list = cli_setting(t->c, "STATUS");

    t->list = strdup(list ? list : "");
    char *rest = t->list;

    for (char *one; rest && (one = strsep(&rest, " ,\n"));) {
        char *equals = strchr(one, '=');
        if (!*one)
            continue;
        if (!equals || t->n == DAEMONS_MAX)
            return false;
        *equals = '\0';
        struct daemon *d = &t->daemons[t->n++];
        *d = (struct daemon){ .name = one, .address = equals + 1 };
        sbuf_init(&d->page[0], PAGE_LIMIT);
        sbuf_init(&d->page[1], PAGE_LIMIT);
    }
    return t->n > 0;
}

static void forget_daemons(struct top *t)
{
    for (size_t i = 0; i < t->n; i++) {
        sbuf_fini(&t->daemons[i].page[0]);
        sbuf_fini(&t->daemons[i].page[1]);
    }
    free(t->list);
}

static void look(struct top *t)
{
    Daybook__Bus__V1__ListServicesRequest ask = DAYBOOK__BUS__V1__LIST_SERVICES_REQUEST__INIT;
    struct bus_answer answer;

    t->now = !t->now;
    t->before_us = t->at_us;
    for (size_t i = 0; i < t->n; i++) {
        struct daemon *d = &t->daemons[i];
        double ready = 0;
        sbuf_clear(&d->page[t->now]);
        d->answers = admin_ask(d->address, "/metrics", ADMIN_TIMEOUT_MS, &d->page[t->now]) == 200;
        if (!d->answers)
            sbuf_clear(&d->page[t->now]);
        d->ready = admin_metric(d->page[t->now].data, "daybook_ready", NULL, &ready) && ready > 0;
    }
    t->at_us = clock_monotonic_us();
    arena_reset(t->c->arena);
    t->services = NULL;
    if (t->c->bus && cli_ask(t->c, BUS_SERVICE, "ListServices", &ask.base, &answer) == ERR_OK)
        t->services = (const void *)answer.message;
}

/* --- reckoning -------------------------------------------------------------------------------- */

static double gauge(const struct top *t, const struct daemon *d, const char *name)
{
    double v = 0;
    return admin_metric(d->page[t->now].data, name, NULL, &v) ? v : 0;
}

/* A second of a counter; label as in admin_metric(). */
static double rate(const struct top *t, const struct daemon *d, const char *name, const char *label)
{
    double now = 0, before = 0;
    if (!t->before_us || !admin_metric(d->page[t->now].data, name, label, &now))
        return 0;
    (void)admin_metric(d->page[!t->now].data, name, label, &before);
    double counted = now >= before ? now - before : now;
    return counted * SECOND_US / (double)(t->at_us - t->before_us);
}

/* Of the gateway its own calls, of the others those that they answer. */
static const char *calls_of(const struct daemon *d, bool seconds)
{
    bool gateway = strcmp(d->name, "gateway") == 0;
    if (seconds)
        return gateway ? "daybook_gateway_request_duration_seconds"
                       : "daybook_rpc_server_duration_seconds";
    return gateway ? "daybook_gateway_requests_total" : "daybook_rpc_server_handled_total";
}

/* Milliseconds; NAN: nothing was called. */
static double quantile_ms(const struct top *t, const struct daemon *d, const char *name, double q)
{
    double v;
    const char *before = t->before_us ? d->page[!t->now].data : "";
    return admin_quantile(before, d->page[t->now].data, name, q, &v) ? v * 1000 : NAN;
}

/* Codes by which the system is at fault, not the caller. */
static double faults_rate(const struct top *t, const struct daemon *d)
{
    static const char *const codes[] = {
        "code=\"internal\"",  "code=\"unknown\"",           "code=\"unavailable\"",
        "code=\"data_loss\"", "code=\"deadline_exceeded\"", "code=\"resource_exhausted\""
    };
    double sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        sum += rate(t, d, calls_of(d, false), codes[i]);
    return sum;
}

static int64_t requests_before(const struct top *t, const char *service)
{
    for (size_t i = 0; i < t->nserved; i++)
        if (strcmp(t->served[i].name, service) == 0)
            return t->served[i].requests;
    return -1;
}

static double service_rate(const struct top *t, const Service *s)
{
    int64_t before = requests_before(t, s->name);
    if (!t->before_us || before < 0)
        return 0;
    return (double)MAX(s->requests - before, 0) * SECOND_US / (double)(t->at_us - t->before_us);
}

static void remember_services(struct top *t)
{
    t->nserved = 0;
    for (size_t i = 0; t->services && i < t->services->n_services && i < DAEMONS_MAX; i++) {
        struct served *s = &t->served[t->nserved++];
        snprintf(s->name, sizeof(s->name), "%s", t->services->services[i]->name);
        s->requests = t->services->services[i]->requests;
    }
}

/* --- a frame as JSON -------------------------------------------------------------------------- */

static json_t *real_or_null(double v)
{
    return isnan(v) ? json_null() : json_real(v);
}

static json_t *daemon_json(const struct top *t, const struct daemon *d)
{
    return json_pack("{s:s,s:b,s:b,s:f,s:f,s:f,s:f,s:o,s:o,s:f,s:f}", "name", d->name, "answers",
                     d->answers, "ready", d->ready, "cpu",
                     rate(t, d, "process_cpu_seconds_total", NULL), "memoryBytes",
                     gauge(t, d, "process_resident_memory_bytes"), "callsPerSecond",
                     rate(t, d, calls_of(d, false), NULL), "faultsPerSecond", faults_rate(t, d),
                     "p50Ms", real_or_null(quantile_ms(t, d, calls_of(d, true), 0.5)), "p99Ms",
                     real_or_null(quantile_ms(t, d, calls_of(d, true), 0.99)), "consumerLag",
                     gauge(t, d, "daybook_consumer_lag_events"), "consumerLagSeconds",
                     gauge(t, d, "daybook_consumer_lag_seconds"));
}

/* Sum and maximum over the daemons of one kind; there may be several of each. */
static double sum_of(const struct top *t, const char *name)
{
    double v = 0;
    for (size_t i = 0; i < t->n; i++)
        v += gauge(t, &t->daemons[i], name);
    return v;
}

static double most_of(const struct top *t, const char *name)
{
    double v = 0;
    for (size_t i = 0; i < t->n; i++)
        v = fmax(v, gauge(t, &t->daemons[i], name));
    return v;
}

static double rate_of(const struct top *t, const char *name, const char *label)
{
    double v = 0;
    for (size_t i = 0; i < t->n; i++)
        v += rate(t, &t->daemons[i], name, label);
    return v;
}

/* NAN: none was fired. */
static double worst_lateness(const struct top *t)
{
    double v = NAN;
    for (size_t i = 0; i < t->n; i++)
        v = fmax(v, quantile_ms(t, &t->daemons[i], "daybook_timer_lateness_seconds", 0.99));
    return v;
}

static json_t *service_json(const struct top *t, const Service *s)
{
    return json_pack("{s:s,s:i,s:i,s:i,s:f,s:I}", "name", s->name, "workers", s->workers, "busy",
                     s->workers - s->idle_workers, "queued", s->queued, "callsPerSecond",
                     service_rate(t, s), "refused", (json_int_t)s->rejected);
}

static json_t *frame_json(const struct top *t)
{
    json_t *daemons = json_array(), *services = json_array();
    for (size_t i = 0; i < t->n; i++)
        (void)json_array_append_new(daemons, daemon_json(t, &t->daemons[i]));
    for (size_t i = 0; t->services && i < t->services->n_services; i++)
        (void)json_array_append_new(services, service_json(t, t->services->services[i]));
    return json_pack("{s:b,s:o,s:o,s:{s:f,s:f,s:f,s:f},s:{s:f,s:f,s:o},s:{s:f,s:f,s:f,s:f}}",
                     "busAnswers", t->services != NULL, "daemons", daemons, "services", services,
                     "log", "headSeq", most_of(t, "daybook_log_head_seq"), "eventsPerSecond",
                     rate_of(t, "daybook_bus_events_total", "event=\"published\""), "outboxRows",
                     most_of(t, "daybook_outbox_rows"), "outboxOldestSeconds",
                     most_of(t, "daybook_outbox_oldest_seconds"), "timers", "due",
                     sum_of(t, "daybook_timers_due"), "firedPerSecond",
                     rate_of(t, "daybook_timers_fired_total", NULL), "latenessP99Ms",
                     real_or_null(worst_lateness(t)), "webhooks", "pending",
                     sum_of(t, "daybook_webhook_pending"), "oldestSeconds",
                     most_of(t, "daybook_webhook_oldest_seconds"), "deliveredPerSecond",
                     rate_of(t, "daybook_webhook_attempts_total", "outcome=\"delivered\""),
                     "failedPerSecond",
                     rate_of(t, "daybook_webhook_attempts_total", "outcome=\"retry\"") +
                         rate_of(t, "daybook_webhook_attempts_total", "outcome=\"parked\""));
}

/* --- the command ------------------------------------------------------------------------------ */

static int show(struct top *t, bool terminal)
{
    struct cli *c = t->c;
    json_t *frame = frame_json(t);
    bool ok = frame != NULL;

    if (ok && c->json)
        ok = json_dumpf(frame, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF;
    else if (ok)
        ok = top_show(c, frame, terminal, !t->before_us);
    (void)fflush(stdout);
    json_decref(frame);
    return ok ? 0 : cli_fail(c, ERR_RESOURCE_EXHAUSTED, "the answer cannot be shown");
}

static int run(struct top *t, int64_t every_us, int64_t count)
{
    bool terminal = isatty(STDOUT_FILENO) && !t->c->json;
    int status = 0;
    for (int64_t i = 0; status == 0 && (count == 0 || i < count); i++) {
        if (i)
            (void)poll(NULL, 0, (int)(every_us / MSEC_US));
        look(t);
        if (i && !terminal && !t->c->json)
            (void)printf("\n");
        status = show(t, terminal);
        remember_services(t);
    }
    return status;
}

int cmd_top(struct cli *c)
{
    const char *every = args_value(&c->args, "every");
    static struct top t; /* too large for some stacks */
    int64_t every_us = EVERY_US, count = 0;
    int status = 0;

    if (every && (!num_duration_us(every, &every_us) || every_us < 100 * MSEC_US ||
                  every_us > 3600 * SECOND_US))
        return cli_usage(c, "--every is from 100ms to 1h, not %.40s", every);
    if (!cli_number(c, "count", 1, INT64_MAX, 0, &count))
        return EXIT_USAGE;
    t = (struct top){ .c = c };
    if (!find_daemons(&t)) {
        forget_daemons(&t);
        return cli_unset(c, "DAYBOOK_STATUS is not set, or not NAME=HOST:PORT of each daemon's "
                            "admin listener, parted by spaces");
    }
    if (!cli_bus(c, &status)) /* said once, and the rest is shown */
        status = 0;
    status = run(&t, every_us, count);
    forget_daemons(&t);
    return status;
}
