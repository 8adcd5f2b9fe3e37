/*
 * cli.c - settings, connections and areas. Settings are those of daemons (operations 3), so that
 * the same environment file serves both; nothing is connected before a command asks for it.
 */
#include "cli/cli.h"

#include <errno.h>
#include <sodium.h>
#include <zmq.h>

#include "common/bus_settings.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/num.h"
#include "common/schema.h"
#include "services/bus/sql.h"
#include "services/customers/sql.h"
#include "services/directory/sql.h"
#include "services/gateway/sql.h"
#include "services/reminders/sql.h"
#include "services/scoring/sql.h"
#include "services/visits/sql.h"

#define ARENA_BYTES (256 * MIB)
#define TIMEOUT_DEFAULT_US (5 * SECOND_US)
#define TIMEOUT_MAX_US (30 * SECOND_US)
#define DB_TIMEOUT_US (5 * SECOND_US)
#define API_KEY_PREFIX "dbk_"

struct setting cli_settings[] = {
    BUS_SETTINGS,
    { .key = "TENANT",
      .type = SETTING_TEXT,
      .help = "Id (UUID) of the company to work for, as by --tenant; over HTTP the API key says "
              "it." },
    { .key = "AS",
      .type = SETTING_TEXT,
      .help = "Employee to act as, staff number or id, as by --as." },
    { .key = "URL",
      .type = SETTING_TEXT,
      .help = "Where the gateway is, as by --url: call, import, tasks, audit, events read and tail "
              "then go there over HTTP, not over the bus. The others go there by --url alone." },
    { .key = "API_KEY",
      .type = SETTING_TEXT,
      .secret = true,
      .help = "API key for that (dbk_...), as by --api-key." },
    { .key = "WEBHOOK_SECRET",
      .type = SETTING_TEXT,
      .secret = true,
      .help =
          "Secret by which webhook listen verifies, or two, parted by a blank, as by --secret." },
    { .key = "MIGRATE_URL",
      .type = SETTING_TEXT,
      .help =
          "Where PostgreSQL is (libpq), as the role that owns the schemas: for migrate, rebuild, "
          "status, timers, events parked and replay." },
    { .key = "DB_URL",
      .type = SETTING_TEXT,
      .help = "Stands in for DAYBOOK_MIGRATE_URL where that is not set." },
    { .key = "STATUS",
      .type = SETTING_TEXT,
      .help =
          "Admin listeners that status asks: \"bus=127.0.0.1:9601 directory=127.0.0.1:9602\"." },
    { .key = "MASTER_KEY",
      .type = SETTING_TEXT,
      .secret = true,
      .help = "Handed on to a daemon that rebuild runs; not used here." },
    { .key = "CLOCK", .type = SETTING_TEXT, .help = "The daemons' clock; not used here." },
    { .key = NULL },
};
static struct setting *const tables[] = { cli_settings };

const struct area areas[] = {
    { "bus", bus_migrations, &bus_migrations_len, false, false },
    { "directory", directory_migrations, &directory_migrations_len, true, false },
    { "customers", customers_migrations, &customers_migrations_len, true, true },
    { "visits", visits_migrations, &visits_migrations_len, true, true },
    { "reminders", reminders_migrations, &reminders_migrations_len, true, true },
    { "scoring", scoring_migrations, &scoring_migrations_len, true, true },
    { "gateway", gateway_migrations, &gateway_migrations_len, true, false },
    { .name = NULL },
};

const struct area *area_find(const char *name)
{
    for (const struct area *a = areas; a->name; a++)
        if (strcmp(a->name, name) == 0)
            return a;
    return NULL;
}

const char *cli_setting(const struct cli *c, const char *key)
{
    return config_get(c->settings, key)->text;
}

/* --- start and end ---------------------------------------------------------------------------- */

const char *cli_url(const struct cli *c)
{
    const char *url = args_value(&c->args, "url");
    if (!url)
        url = cli_setting(c, "URL");
    return url && *url ? url : NULL;
}

/* Whether it does without services, where it is not told otherwise. */
static bool is_local(const struct cli *c)
{
    const char *word = c->args.nwords ? c->args.words[0] : "", *p = c->command->local;
    size_t len = strlen(word);

    if (!p || !*p)
        return p != NULL;
    for (; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (n == len && memcmp(p, word, len) == 0)
            return true;
        p += n;
    }
    return false;
}

static bool refuse_http(const struct cli *c)
{
    if (c->command->installation)
        cli_usage(c,
                  "%s does not work over HTTP: it is for the installation as a whole, with the "
                  "rights of who owns its schemas and keys, and whether services run or not; leave "
                  "--url out, on a machine of the installation",
                  c->command->name);
    else
        cli_usage(c, "%s does not work over HTTP: it calls no service; leave --url out",
                  c->command->name);
    return false;
}

/* The key speaks for itself, so that nothing else may seem to say who asks. */
static bool open_http(struct cli *c)
{
    const char *url = cli_url(c), *as = cli_setting(c, "AS"), *fault;
    bool told = args_has(&c->args, "url");

    if (told && url && !c->command->by_calls)
        return refuse_http(c);
    if (!url && args_has(&c->args, "api-key")) {
        cli_usage(c, "--api-key goes with --url (or DAYBOOK_URL): the bus knows us by CURVE keys");
        return false;
    }
    told = told || args_has(&c->args, "api-key");
    c->over_http = url && c->command->by_calls && (told || !is_local(c));
    if (!c->over_http)
        return true;
    fault = http_ask_fault_of(url);
    if (fault)
        cli_usage(c, "--url (or DAYBOOK_URL): %.200s %s", url, fault);
    else if (args_has(&c->args, "as") || (as && *as))
        cli_usage(c, "--as (or DAYBOOK_AS) does not go over HTTP: the API key says who asks; use "
                     "one of that employee (CredentialService/CreateApiKey with employeeId)");
    else if (args_has(&c->args, "tenant"))
        cli_usage(c, "--tenant does not go over HTTP: an API key is of one company; leave it out");
    else
        return true;
    return false;
}

/* --key with an API key in it, itself or as @FILE, whose first line is read once: it may be a pipe.
 * An idempotency key never looks so. */
static bool take_api_key(struct cli *c, const char *word)
{
    FILE *f = *word == '@' ? fopen(word + 1, "re") : NULL;

    if (!f)
        snprintf(c->api_key, sizeof c->api_key, "%s", word);
    else if (!fgets(c->api_key, sizeof c->api_key, f))
        c->api_key[0] = '\0';
    if (f)
        (void)fclose(f);
    c->api_key[strcspn(c->api_key, "\r\n")] = '\0';
    if (strncmp(c->api_key, API_KEY_PREFIX, strlen(API_KEY_PREFIX)) == 0)
        return true;
    sodium_memzero(c->api_key, sizeof c->api_key);
    return false;
}

static bool open_key(struct cli *c)
{
    const char *word = args_value(&c->args, "key");

    if (!word || !take_api_key(c, word)) {
        c->key = word;
        return true;
    }
    if (!c->over_http)
        cli_usage(c, "--key is the idempotency key, which is stored; an API key goes by --api-key "
                     "@FILE, with --url");
    else if (args_has(&c->args, "api-key"))
        cli_usage(c, "--key holds an API key, and --api-key is given too: leave one of them out");
    else
        return true;
    return false;
}

static bool open_options(struct cli *c)
{
    const char *timeout = args_value(&c->args, "timeout");
    const char *tenant = args_value(&c->args, "tenant");
    struct id id;

    if (!open_http(c) || !open_key(c))
        return false;

    c->timeout_us = TIMEOUT_DEFAULT_US;
    if (timeout && (!num_duration_us(timeout, &c->timeout_us) || c->timeout_us < 10 * MSEC_US ||
                    c->timeout_us > TIMEOUT_MAX_US)) {
        cli_usage(c, "--timeout is from 10ms to 30s, not %.40s", timeout);
        return false;
    }
    if (!tenant && !c->over_http)
        tenant = cli_setting(c, "TENANT");
    if (tenant && *tenant) {
        if (!id_parse(tenant, &id)) {
            cli_usage(c, "--tenant is the UUID of a company, not %.60s", tenant);
            return false;
        }
        id_text(id, c->tenant);
    }
    return true;
}

/* The faults of all settings make one failure; as text they keep a line each. */
static bool load_settings(const struct cli *c)
{
    char *text = NULL;
    size_t len = 0;
    FILE *faults = open_memstream(&text, &len);
    bool ok = config_load_into(tables, ARRAY_LEN(tables), faults ? faults : stderr);
    if (!faults)
        return ok;
    (void)fclose(faults);
    for (size_t i = 0; c->json && i + 1 < len; i++)
        text[i] = text[i] == '\n' ? ';' : text[i];
    if (!c->json)
        (void)fprintf(stderr, "%s", text);
    else if (!ok)
        (void)cli_unset(c, "%.*s", (int)strcspn(text, "\n"), text);
    free(text);
    return ok;
}

bool cli_open(struct cli *c, int *status_out)
{
    c->arena = arena_new(ARENA_BYTES);
    if (!c->arena) {
        *status_out = cli_fail(c, ERR_RESOURCE_EXHAUSTED, "out of memory");
        return false;
    }
    log_set_level(LOG_LEVEL_ERROR);
    *status_out = EXIT_USAGE;
    if (c->command->offline)
        return !(c->command->installation && args_has(&c->args, "url")) || refuse_http(c);

    c->settings = cli_settings;
    if (!load_settings(c)) {
        *status_out = EXIT_SETTINGS;
        return false;
    }
    schema_init();
    *status_out = EXIT_USAGE;
    return open_options(c);
}

void cli_close(struct cli *c)
{
    bus_client_free(c->bus);
    http_ask_free(c->http);
    db_free(c->db);
    if (c->zmq)
        zmq_ctx_term(c->zmq);
    if (c->settings) {
        config_free(tables, ARRAY_LEN(tables));
        schema_fini();
    }
    arena_free(c->arena);
    sodium_memzero(c->api_key, sizeof c->api_key);
}

/* --- connections ------------------------------------------------------------------------------ */

struct bus_address cli_bus_address(const struct cli *c)
{
    return bus_settings_address(c->settings);
}

void *cli_zmq(struct cli *c)
{
    if (!c->zmq)
        c->zmq = zmq_ctx_new();
    return c->zmq;
}

struct bus_client *cli_bus(struct cli *c, int *status_out)
{
    struct bus_address address = cli_bus_address(c);
    if (!c->bus && cli_zmq(c))
        c->bus = bus_client_new(c->zmq, &address);
    if (!c->bus) {
        *status_out =
            cli_unset(c,
                      "cannot use DAYBOOK_BUS_ENDPOINT (%s): the address is malformed, or "
                      "DAYBOOK_BUS_SERVER_KEY, _PUBLIC_KEY and _SECRET_KEY[_FILE] are not all keys "
                      "of 40 characters",
                      address.endpoint);
    }
    return c->bus;
}

bool cli_secret(const struct cli *c, const char *option, const char *word, char *out, size_t size)
{
    bool by_file = *word == '@';
    FILE *f = by_file ? fopen(word + 1, "re") : NULL;

    if (by_file && !f) {
        (void)cli_usage(c, "--%s: %s: %s", option, word + 1, strerror(errno));
        return false;
    }
    bool ok = by_file ? fgets(out, (int)size, f) != NULL : strlen(word) < size;
    if (f)
        (void)fclose(f);
    else if (ok)
        memcpy(out, word, strlen(word) + 1);
    ok = ok && strlen(out) < size - 1;
    if (ok)
        out[strcspn(out, "\r\n")] = '\0';
    if (!ok || !*out)
        (void)cli_usage(c, "--%s: %s%s", option, by_file ? word + 1 : "it",
                        ok ? " is empty" : " is empty or too long");
    return ok && *out;
}

static bool is_api_key(const char *key)
{
    size_t prefix = strlen(API_KEY_PREFIX), len = strlen(key);
    return strncmp(key, API_KEY_PREFIX, prefix) == 0 && len > prefix &&
           strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == len;
}

static bool open_http_client(struct cli *c, int *status_out)
{
    char read[CLI_API_KEY_SIZE] = "";
    const char *word = args_value(&c->args, "api-key"), *key = cli_setting(c, "API_KEY");

    *status_out = EXIT_USAGE;
    if (word && !cli_secret(c, "api-key", word, read, sizeof read))
        return false;
    if (word || *c->api_key)
        key = word ? read : c->api_key;
    if (!key || !*key)
        *status_out = cli_unset(c, "over HTTP an API key says who asks: --api-key @FILE or "
                                   "DAYBOOK_API_KEY_FILE");
    else if (!is_api_key(key))
        *status_out = cli_usage(c, "--api-key (or DAYBOOK_API_KEY_FILE) holds no API key, which "
                                   "begins with dbk_");
    else
        c->http = http_ask_new(cli_url(c), key);
    if (!c->http && key && is_api_key(key))
        *status_out = cli_fail(c, ERR_RESOURCE_EXHAUSTED, "out of memory");
    sodium_memzero(read, sizeof read);
    return c->http != NULL;
}

bool cli_way(struct cli *c, int *status_out)
{
    if (!c->over_http)
        return cli_bus(c, status_out) != NULL;
    return c->http || open_http_client(c, status_out);
}

static const char *db_url(const struct cli *c)
{
    const char *url = cli_setting(c, "MIGRATE_URL");
    if (!url || !*url)
        url = cli_setting(c, "DB_URL");
    return url && *url ? url : NULL;
}

bool cli_has_db(const struct cli *c)
{
    return db_url(c) != NULL;
}

enum err cli_connect(struct cli *c)
{
    if (!c->db)
        c->db = db_new(db_url(c), "daybook");
    return c->db ? db_ping(c->db, clock_monotonic_us() + DB_TIMEOUT_US) : ERR_RESOURCE_EXHAUSTED;
}

struct db *cli_db(struct cli *c, int *status_out)
{
    if (!cli_has_db(c)) {
        *status_out = cli_unset(c,
                                "DAYBOOK_MIGRATE_URL is not set: it names the database as the "
                                "role that owns the schemas%s",
                                c->command->by_calls ? "; with --url services are asked" : "");
        return NULL;
    }
    enum err e = cli_connect(c);
    if (e) {
        *status_out = cli_fail(c, e,
                               "the database of DAYBOOK_MIGRATE_URL does not answer; try again "
                               "when it does");
        return NULL;
    }
    return c->db;
}

bool cli_number(const struct cli *c, const char *option, int64_t min, int64_t max,
                int64_t otherwise, int64_t *out)
{
    const char *text = args_value(&c->args, option);
    *out = otherwise;
    if (!text || num_i64(text, min, max, out))
        return true;
    (void)cli_usage(c, "--%s is a number from %" PRId64 " to %" PRId64 ", not %.40s", option, min,
                    max, text);
    return false;
}
