/*
 * main.c - the gateway: HTTP for everybody who does not speak to the bus himself. Settings, threads,
 * start and stop.
 */
#include <assert.h>

#include "common/consumer_service.h"
#include "common/daemon.h"
#include "common/http_address.h"
#include "common/log.h"
#include "common/schema.h"
#include "services/gateway/calendar/calendar_feed.h"
#include "services/gateway/front.h"
#include "services/gateway/http/http.h"
#include "services/gateway/pages/pages.h"
#include "services/gateway/connect/rpc.h"
#include "services/gateway/sql.h"
#include "services/gateway/transfer/transfer_http.h"
#include "services/gateway/transfer/transfer_threads.h"
#include "services/gateway/connect/upstream.h"
#include "services/gateway/webhooks/webhook.h"
#include "services/gateway/webhooks/webhook_threads.h"

#define METHODS_MAX 64

static struct setting settings[] = {
    { .key = "HTTP_LISTEN",
      .type = SETTING_TEXT,
      .default_value = "127.0.0.1:8080",
      .help =
          "Where HTTP is served, host:port. TLS and HTTP/2 are a proxy's task in front of it." },
    { .key = "HTTP_PUBLIC_URL",
      .type = SETTING_TEXT,
      .help = "How we are reached from outside, such as https://daybook.example.com; part of the "
              "source of webhooks, and its host of the UIDs of calendars, so set it before anybody "
              "subscribes. Unset: http:// and where HTTP is served." },
    { .key = "HTTP_CORS_ORIGINS",
      .type = SETTING_TEXT,
      .help = "Origins whose pages may call, parted by commas, or *; unset: none." },
    { .key = "HTTP_CONNECTIONS",
      .type = SETTING_INT,
      .default_value = "4096",
      .min = 10,
      .max = 1000000,
      .help =
          "Connections that stand at one time, half of them at each of two loops. For one more, "
          "one is let go that we wait for: idle ones first, then who has just come, last who "
          "sends a body or takes an answer. Those that wait for us stay; where all do, each "
          "loop takes up to 64 beyond." },
    { .key = "HTTP_ADDRESS_CONNECTIONS",
      .type = SETTING_INT,
      .default_value = "256",
      .max = 1000000,
      .help = "Of these, connections of one address (of IPv6: one /64) to each of the two loops; "
              "those of HTTP_TRUSTED_PROXIES do not count. 0: no limit." },
    { .key = "HTTP_BODY_TOTAL",
      .type = SETTING_SIZE,
      .default_value = "128MiB",
      .min = 4 * MIB, /* the largest one must be able to come */
      .max = 64 * 1024 * (int64_t)MIB,
      .help =
          "Bytes that the bodies of all requests hold at one time, until they are answered; more "
          "are refused and told to come again. Files that are uploaded do not count. Memory for "
          "them is up to twice as much." },
    { .key = "HTTP_RATE",
      .type = SETTING_INT,
      .default_value = "200",
      .max = 1000000,
      .help =
          "Requests a second of one API key or token holder to this gateway, with twice as many "
          "at once; 0: no limit." },
    { .key = "HTTP_AUTH_FAILURES",
      .type = SETTING_INT,
      .default_value = "10",
      .max = 1000000,
      .help = "Failed tries a minute to prove an identity, of one address (of IPv6: one /64); more "
              "are told to wait. 0: no limit." },
    { .key = "HTTP_TRUSTED_PROXIES",
      .type = SETTING_TEXT,
      .help = "Networks of the proxies in front (CIDR, parted by commas), whose X-Forwarded-For is "
              "believed; unset: none." },
    { .key = "JWT_JWKS",
      .type = SETTING_TEXT,
      .help = "Where the keys of tokens are (JWKS): a file, or an https address; unset: API keys "
              "only." },
    { .key = "JWT_JWKS_NETWORKS",
      .type = SETTING_TEXT,
      .default_value = "127.0.0.0/8,::1",
      .help = "Networks that JWT_JWKS may lie in besides the public ones (CIDR, parted by commas); "
              "only there by http too." },
    { .key = "JWT_JWKS_REFRESH",
      .type = SETTING_DURATION,
      .default_value = "5m",
      .min = SECOND_US,
      .max = DAY_US,
      .help =
          "From one look at an address of JWT_JWKS to the next: so long a key that was taken away "
          "there may still prove tokens. A file is looked at each second." },
    { .key = "JWT_ISSUER",
      .type = SETTING_TEXT,
      .help = "What a token's claim iss must be; needed with JWT_JWKS." },
    { .key = "JWT_AUDIENCE",
      .type = SETTING_TEXT,
      .help = "What a token's claim aud must be or hold; needed with JWT_JWKS." },
    { .key = "JWT_TENANT",
      .type = SETTING_TEXT,
      .help = "The company (UUID) of all tokens; unset: their tenant claim says it." },
    { .key = "JWT_TENANT_CLAIM",
      .type = SETTING_TEXT,
      .default_value = "tenant",
      .help = "Name of the claim that holds the company's UUID." },
    { .key = "JWT_SUBJECT_CLAIM",
      .type = SETTING_TEXT,
      .default_value = "sub",
      .help = "Name of the claim that holds the employee's id or staff number." },
    { .key = "JWT_SCOPE_CLAIM",
      .type = SETTING_TEXT,
      .default_value = "scope",
      .help =
          "Name of the claim that narrows a token to scopes, where it is there (words parted by "
          "spaces, or a list); empty: none does." },
    { .key = "DRAIN_DELAY",
      .type = SETTING_DURATION,
      .default_value = "5s",
      .max = MINUTE_US,
      .help = "How long new requests are still taken after a stop was asked for and readiness says "
              "no, since load balancers lag. Part of DRAIN_TIMEOUT." },
    { .key = "TRANSFER_PATIENCE",
      .type = SETTING_DURATION,
      .default_value = "30m",
      .min = SECOND_US,
      .max = DAY_US,
      .help =
          "How long one request of an import or export may be refused for a passing reason, such "
          "as a service that is away, before it fails. A bus that is away does not count." },
    { .key = "TRANSFER_TURN",
      .type = SETTING_DURATION,
      .default_value = "60s",
      .min = SECOND_US,
      .max = DAY_US,
      .help = "How long an import or export goes on while other companies wait for their turn." },
    { .key = "WEBHOOK_ALLOW",
      .type = SETTING_TEXT,
      .help = "Networks in CIDR form, parted by commas, to which webhooks may be posted although "
              "they are not public." },
    { .key = "WEBHOOK_ALLOW_PLAIN",
      .type = SETTING_BOOL,
      .default_value = "0",
      .help = "Whether webhooks may be posted to http addresses besides https." },
    { .key = "WEBHOOK_CA_FILE",
      .type = SETTING_TEXT,
      .help =
          "Certificate authorities (PEM) that receivers of webhooks may be certified by besides "
          "those of the system's /etc/ssl/certs; unset: those alone." },
    { 0 },
};

/* --- threads ------------------------------------------------------------------------------------ */

static void run_files(struct daemon *d, void *daemon_data)
{
    transfer_files_run(((struct gateway *)daemon_data)->files, d);
}

static void run_transfers(struct daemon *d, void *daemon_data UNUSED)
{
    transfer_run_work(d);
}

static void run_chores(struct daemon *d, void *daemon_data UNUSED)
{
    transfer_run_chores(d);
}

static void run_keys(struct daemon *d, void *daemon_data)
{
    struct gateway *g = daemon_data;
    struct daemon_waiter *idle = g->keys ? NULL : daemon_waiter_new(d, NULL);

    while (!daemon_stopping(d) && (g->keys || idle))
        if (g->keys)
            jwks_source_turn(g->keys);
        else /* no tokens are taken; one that ends before the daemon does is taken for lost */
            (void)daemon_waiter_wait(idle, MINUTE_US, NULL, NULL);
    daemon_waiter_free(idle);
}

/* --- the daemon --------------------------------------------------------------------------------- */

static void stop(void *daemon_data)
{
    struct gateway *g = daemon_data;

    for (int i = 0; g && i < LOOPS; i++)
        front_close(&g->loops[i]);
    if (g) {
        identity_free(g->identity);
        jwks_source_free(g->keys);
        key_use_free(g->uses);
        http_budget_free(g->bodies);
        limit_free(g->failures);
        limit_free(g->requests);
        pages_free(g->pages);
        transfer_files_free(g->files);
        webhooks_fini(&g->webhooks);
    }
    free(g);
}

static const char *text_of(const struct daemon *d, const char *key)
{
    const char *text = daemon_setting(d, key)->text;
    return text ? text : "";
}

/* Tokens are taken where there are keys for them. False: logged. */
static bool take_tokens(struct gateway *g, struct daemon *d, struct identity_config *c)
{
    const char *place = text_of(d, "JWT_JWKS"), *tenant = text_of(d, "JWT_TENANT"), *reason = NULL;

    c->rules = (struct jwt_rules){ .issuer = text_of(d, "JWT_ISSUER"),
                                   .audience = text_of(d, "JWT_AUDIENCE"),
                                   .tenant_claim = text_of(d, "JWT_TENANT_CLAIM"),
                                   .subject_claim = text_of(d, "JWT_SUBJECT_CLAIM"),
                                   .scope_claim = text_of(d, "JWT_SCOPE_CLAIM") };
    if (!*place && !*c->rules.issuer && !*c->rules.audience && !*tenant)
        return true;
    if (!*place || !*c->rules.issuer || !*c->rules.audience)
        reason = "JWT_JWKS, JWT_ISSUER and JWT_AUDIENCE go together: set all or none";
    else if (*tenant && !id_parse(tenant, &c->tenant))
        reason = "JWT_TENANT must be a UUID";
    else
        g->keys = c->keys = jwks_source_new(place, text_of(d, "JWT_JWKS_NETWORKS"),
                                            daemon_setting(d, "JWT_JWKS_REFRESH")->i64, &reason);
    if (!g->keys && reason)
        daemon_refuse_setting(d, reason);
    return g->keys != NULL;
}

/* False: logged, or no memory. */
static bool make_identity(struct gateway *g, struct daemon *d)
{
    struct identity_config c = { .trusted_proxies = text_of(d, "HTTP_TRUSTED_PROXIES") };
    int64_t failures = daemon_setting(d, "HTTP_AUTH_FAILURES")->i64;
    int64_t rate = daemon_setting(d, "HTTP_RATE")->i64;

    identity_register_metrics();
    g->failures = c.failures = limit_new(failures, MINUTE_US, failures);
    g->requests = c.requests = limit_new(rate, SECOND_US, 2 * rate);
    g->uses = c.uses = key_use_new();
    if (!g->failures || !g->requests || !g->uses || !take_tokens(g, d, &c))
        return false;
    if (!http_networks_ok(c.trusted_proxies)) {
        daemon_refuse_setting(d, "DAYBOOK_HTTP_TRUSTED_PROXIES: networks such as 10.1.0.0/16");
        return false;
    }
    g->identity = identity_new(&c);
    return g->identity != NULL;
}

/* How we are seen from outside; unless set, where the loops listen. False: logged. */
static bool find_public_url(struct daemon *d, const char *listening, struct public_url *out)
{
    const char *set = daemon_setting(d, "HTTP_PUBLIC_URL")->text;
    char text[PUBLIC_URL_MAX];

    snprintf(text, sizeof(text), "http://%s", listening);
    if (set && *set ? public_url_parse(set, out)
                    : public_url_parse(text, out) || public_url_parse("http://localhost", out))
        return true;
    daemon_refuse_setting(
        d, "DAYBOOK_HTTP_PUBLIC_URL: http:// or https://, a host, and perhaps a port");
    return false;
}

/* False: no memory. */
static bool add_routes(struct gateway *g)
{
    for (int i = 0; i < LOOPS; i++) {
        struct loop *l = &g->loops[i];
        l->feeds = calendar_feeds_new(l->upstream, g->identity, &g->public_url);
        l->transfers = transfers_new(l->upstream, g->identity, g->uses, g->files);
        if (!l->feeds || !l->transfers)
            return false;
    }
    return true;
}

static void *start(struct daemon *d, bool *ok_out)
{
    const char *address = daemon_setting(d, "HTTP_LISTEN")->text;
    struct gateway *g = calloc(1, sizeof(*g));
    char shared[128];

    rpc_register_metrics();
    size_t body_max = (size_t)daemon_setting(d, "HTTP_BODY_TOTAL")->i64;
    front_register_metrics(body_max);
    if (g)
        g->drain_delay_us = daemon_setting(d, "DRAIN_DELAY")->i64;
    calendar_feeds_register_metrics();
    transfers_register_metrics();
    transfer_register_metrics();
    if (g) {
        g->bodies = http_budget_new(body_max);
        g->pages = pages_new();
        g->files = transfer_files_new(daemon_conninfo(d));
    }
    *ok_out = g && g->bodies && g->pages && g->files && make_identity(g, d) &&
              front_open(&g->loops[0], d, g, address);
    if (*ok_out) { /* the others listen where the first does, whatever port it got */
        const char *colon = strrchr(address, ':');
        snprintf(shared, sizeof(shared), "%.*s:%u", (int)(colon - address), address,
                 http_loop_port(g->loops[0].http));
        log_info("gateway.listen", "HTTP is served", "address", shared, NULL);
    }
    for (int i = 1; i < LOOPS && *ok_out; i++)
        *ok_out = front_open(&g->loops[i], d, g, shared);
    *ok_out = *ok_out && find_public_url(d, shared, &g->public_url) && add_routes(g) &&
              webhooks_init(&g->webhooks, d, g->public_url.url);
    if (!*ok_out) {
        stop(g);
        return NULL;
    }
    return g;
}

static bool ready(void *daemon_data, const char **reason_out)
{
    struct gateway *g = daemon_data;

    for (int i = 0; i < LOOPS; i++)
        if (!atomic_load(&g->connected[i])) {
            *reason_out = "no bus takes requests";
            return false;
        }
    return true;
}

/* The tables of all services as one. */
static size_t collect_methods(struct method *out)
{
    static const struct method consumer_methods[] = {
        CONSUMER_SERVICE_METHODS("daybook.gateway.v1"),
    };
    const struct {
        const struct method *list;
        size_t n;
    } tables[] = { { webhook_methods, webhook_methods_len },
                   { import_methods, import_methods_len },
                   { export_methods, export_methods_len },
                   { consumer_methods, ARRAY_LEN(consumer_methods) } };
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        for (size_t k = 0; k < tables[i].n; k++) {
            assert(n < METHODS_MAX);
            out[n++] = tables[i].list[k];
        }
    return n;
}

int main(int argc, char **argv)
{
    static struct method methods[METHODS_MAX];
    size_t nmethods = collect_methods(methods);
    static const struct daemon_thread threads[] = {
        { "http-0", front_run, false },
        { "http-1", front_run, false },
        { "token-keys", run_keys, false },
        { "webhooks", webhooks_run_sender, true },
        { "webhook-leases", webhooks_run_leases, true },
        { "webhook-listener", webhooks_run_listener, true },
        { "files", run_files, true },
        { "transfers-0", run_transfers, true },
        { "transfers-1", run_transfers, true },
        { "transfer-chores", run_chores, true },
    };

    schema_init(); /* the consumer hears all events of it */
    const struct daemon_def def = {
        .name = "gateway",
        .schema = "gateway",
        .admin_listen = "127.0.0.1:9607",
        .methods = methods,
        .nmethods = nmethods,
        .consumer = webhook_consumer(),
        .settings = settings,
        .migrations = gateway_migrations,
        .nmigrations = gateway_migrations_len,
        .threads = threads,
        .nthreads = ARRAY_LEN(threads),
        .proves_api_keys = true,
        .needs_master_key = true,
        .sealed = &endpoint_sealed,
        .nsealed = 1,
        .start = start,
        .stop = stop,
        .ready = ready,
    };

    return daemon_run(&def, argc, argv);
}
