/*
 * daemon_args.c - the command line, the settings that every daemon has, and --migrate.
 */
#include <sodium.h>

#include "common/bus_settings.h"
#include "common/clock.h"
#include "common/daemon_internal.h"
#include "common/db.h"
#include "common/log.h"
#include "common/page.h"
#include "common/reread.h"
#include "common/secret.h"
#include "common/version.h"

static const struct {
    const char *word;
    enum daemon_action action;
    const char *help;
} arguments[] = {
    { "--migrate", DAEMON_ACTION_MIGRATE, "bring the schema up to date and end" },
    { "--rebuild", DAEMON_ACTION_REBUILD, "empty what is made from events and have it made anew" },
    { "--health", DAEMON_ACTION_HEALTH, "ask a running daemon; 0 when it is ready" },
    { "--check-config", DAEMON_ACTION_CHECK_CONFIG, "judge the settings and print them" },
    { "--help-settings", DAEMON_ACTION_HELP_SETTINGS, "list the settings" },
    { "--version", DAEMON_ACTION_VERSION, "print version and commit" },
    { "--help", DAEMON_ACTION_HELP, "this text" },
};

static const struct setting common_settings[] = {
    { .key = "DB_URL",
      .type = SETTING_TEXT,
      .required = true,
      .help = "PostgreSQL of the daemon's role, a libpq conninfo or URL." },
    { .key = "DB_PREPARE",
      .type = SETTING_TEXT,
      .default_value = "auto",
      .help = "auto, or off behind a pooler that loses prepared statements." },
    { .key = "MIGRATE_URL",
      .type = SETTING_TEXT,
      .help = "PostgreSQL of the role that owns the schemas, for --migrate; DB_URL when unset." },
    BUS_SETTINGS,
    { .key = "REDIS_URL",
      .type = SETTING_TEXT,
      .help = "Redis as host:port or unix:path; unset means no cache." },
    { .key = "REDIS_PASSWORD", .type = SETTING_TEXT, .secret = true, .help = "Password of Redis." },
    { .key = "MASTER_KEY",
      .type = SETTING_TEXT,
      .secret = true,
      .help = "64 hex digits from which the keys of sealed fields and page tokens are derived." },
    { .key = "MASTER_KEY_NEXT",
      .type = SETTING_TEXT,
      .secret = true,
      .help = "Will take the place of MASTER_KEY; what others seal under it is opened, too." },
    { .key = "MASTER_KEY_OLD",
      .type = SETTING_TEXT,
      .secret = true,
      .help = "The master key before; what is sealed under it is opened, and sealed anew." },
    { .key = "ADMIN_LISTEN",
      .type = SETTING_TEXT,
      .default_value = "127.0.0.1:0",
      .help = "Address of health and metrics, host:port or unix:path; port 0 takes a free one." },
    { .key = "WORKERS",
      .type = SETTING_INT,
      .default_value = "8",
      .min = 1,
      .max = DAEMON_WORKERS_MAX,
      .help = "Worker threads, each with a PostgreSQL connection." },
    { .key = "LOG_LEVEL",
      .type = SETTING_TEXT,
      .default_value = "info",
      .help = "debug, info, warn or error." },
    { .key = "CLOCK",
      .type = SETTING_TEXT,
      .default_value = "real",
      .help = "Domain time: real, or offset:, scaled:, file: for demos and tests." },
    { .key = "DRAIN_TIMEOUT",
      .type = SETTING_DURATION,
      .default_value = "25s",
      .min = 0,
      .max = 600 * SECOND_US,
      .help = "How long requests in work may take after SIGTERM." },
    { .key = "ARENA_BYTES",
      .type = SETTING_SIZE,
      .default_value = "8MiB",
      .min = 1 << 20,
      .max = 256 << 20,
      .help = "Memory that one request may use." },
    DAEMON_TRACE_SETTINGS,
    { .key = "DEBUG_DUMPABLE",
      .type = SETTING_BOOL,
      .default_value = "0",
      .help = "1 allows core dumps and debuggers, which see secrets." },
    { .key = NULL },
};

enum daemon_action daemon_parse_args(int argc, char **argv)
{
    if (argc <= 1)
        return DAEMON_ACTION_RUN;
    for (size_t i = 0; argc == 2 && i < ARRAY_LEN(arguments); i++)
        if (strcmp(argv[1], arguments[i].word) == 0)
            return arguments[i].action;
    (void)fprintf(stderr, "%s: not understood: %s; try --help\n", argv[0], argv[argc - 1]);
    return DAEMON_ACTION_USAGE;
}

void daemon_print_help(const struct daemon *d)
{
    printf("daybook-%s [", d->def->name);
    for (size_t i = 0; i < ARRAY_LEN(arguments); i++)
        printf("%s%s", i ? " | " : "", arguments[i].word);
    printf("]\n\nWithout an argument it runs until SIGTERM.\n\n");
    for (size_t i = 0; i < ARRAY_LEN(arguments); i++)
        printf("  %-16s  %s\n", arguments[i].word, arguments[i].help);
    printf(
        "\nExit status: 0 stopped in order, 64 usage, 78 settings, 75 try again later, 70 a bug,\n"
        "or no room for threads, memory or descriptors: its log says which.\n"
        "Settings come from the environment:\n\n");
    config_print_help(d->tables, d->ntables, stdout);
}

void daemon_print_version(const struct daemon *d)
{
    printf("daybook-%s %s (%s)\n", d->def->name, daybook_version(), daybook_commit());
}

static struct setting *common_setting(struct daemon *d, const char *key)
{
    struct setting *s = d->common;
    while (strcmp(s->key, key) != 0)
        s++;
    return s;
}

bool daemon_make_settings(struct daemon *d, enum daemon_action action)
{
    d->common = calloc(ARRAY_LEN(common_settings), sizeof *d->common);
    if (!d->common)
        return false;
    memcpy(d->common, common_settings, sizeof common_settings);
    if (d->def->admin_listen)
        common_setting(d, "ADMIN_LISTEN")->default_value = d->def->admin_listen;
    if (d->def->no_database)
        common_setting(d, "DB_URL")->required = false;
    common_setting(d, "MASTER_KEY")->required = d->def->needs_master_key;

    d->tables[d->ntables++] = d->common;
    if (d->def->settings)
        d->tables[d->ntables++] = d->def->settings;
    /* A one-shot command needs only what it uses. */
    if (action == DAEMON_ACTION_MIGRATE || action == DAEMON_ACTION_REBUILD ||
        action == DAEMON_ACTION_HEALTH)
        for (size_t t = 0; t < d->ntables; t++)
            for (struct setting *s = d->tables[t]; s->key; s++)
                s->required = false;
    return true;
}

/* --- what a table cannot say ------------------------------------------------------------------ */

static bool fault(const char *key, const char *why)
{
    (void)fprintf(stderr, "setting DAYBOOK_%s: %s\n", key, why);
    return false;
}

static const struct {
    const char *name;
    enum log_level level;
} levels[] = {
    { "debug", LOG_LEVEL_DEBUG },
    { "info", LOG_LEVEL_INFO },
    { "warn", LOG_LEVEL_WARN },
    { "error", LOG_LEVEL_ERROR },
};

static const enum log_level *level_of(const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (strcmp(levels[i].name, text) == 0)
            return &levels[i].level;
    return NULL;
}

static bool is_level(const char *text)
{
    return level_of(text) != NULL;
}

static bool apply_log_level(const struct daemon *d)
{
    const enum log_level *level = level_of(daemon_setting(d, "LOG_LEVEL")->text);
    if (!level)
        return fault("LOG_LEVEL", "must be debug, info, warn or error");
    log_set_level(*level);
    return true;
}

void daemon_reload(const struct daemon *d)
{
    const struct setting *setting = daemon_setting(d, "LOG_LEVEL");
    CLEANUP(reread_freep) char *text = reread(reread_of(setting->text), setting->text, is_level);
    const enum log_level *level = text ? level_of(text) : NULL;
    if (level)
        log_set_level(*level);
    log_info("daemon.reload", "what is not in a file holds until the next start", "log_level",
             text ? text : "", NULL);
}

void daemon_watch_files(const struct daemon *d)
{
    static const char *const keys[] = { "DB_URL", "DB_DIRECT_URL", "REDIS_PASSWORD", "LOG_LEVEL" };
    for (size_t t = 0; t < d->ntables; t++)
        for (const struct setting *s = d->tables[t]; s->key; s++)
            for (size_t i = 0; i < ARRAY_LEN(keys); i++)
                if (strcmp(s->key, keys[i]) == 0)
                    reread_watch(s->key, s->text, config_path(s));
}

bool daemon_apply_prepare(const struct daemon *d)
{
    const char *text = daemon_setting(d, "DB_PREPARE")->text;
    bool off = strcmp(text, "off") == 0;
    db_set_prepare(!off);
    return off || strcmp(text, "auto") == 0 || fault("DB_PREPARE", "must be auto or off");
}

static bool apply_clock(struct daemon *d)
{
    const char *reason = NULL;
    return clock_init(daemon_setting(d, "CLOCK")->text, &reason) || fault("CLOCK", reason);
}

static bool apply_master_key(struct daemon *d)
{
    const char *hex = daemon_setting(d, "MASTER_KEY")->text;
    const char *next = daemon_setting(d, "MASTER_KEY_NEXT")->text;
    const char *old = daemon_setting(d, "MASTER_KEY_OLD")->text;
    uint8_t page_key[32];

    if (hex && !secret_init(hex))
        return fault("MASTER_KEY", "must be 64 hex digits");
    if (next && old)
        return fault("MASTER_KEY_NEXT", "goes with MASTER_KEY_OLD in no daemon: one or the other");
    if (next && (!hex || !secret_init_other(next, false)))
        return fault("MASTER_KEY_NEXT",
                     "must be 64 hex digits, another key than MASTER_KEY, and goes with it");
    if (old && (!hex || !secret_init_other(old, true)))
        return fault("MASTER_KEY_OLD",
                     "must be 64 hex digits, another key than MASTER_KEY, and goes with it");
    secret_derive("page", page_key);
    page_set_key(page_key);
    if (secret_derive_other("page", page_key))
        page_set_other_key(page_key);
    return true;
}

/* By form only: connecting is for the threads that use it. */
static bool is_endpoint_list(const char *text)
{
    size_t n = 0;
    for (;;) {
        size_t len = strcspn(text, ",");
        bool tcp = strncmp(text, "tcp://", 6) == 0 && len > 8;
        bool local = (strncmp(text, "ipc://", 6) == 0 && len > 6) ||
                     (strncmp(text, "inproc://", 9) == 0 && len > 9);
        if ((!tcp && !local) || (tcp && !memchr(text + 6, ':', len - 6)) ||
            ++n > BUS_WORKER_BUSES_MAX)
            return false;
        if (text[len] == '\0')
            return true;
        text += len + 1;
    }
}

static bool apply_endpoints(struct daemon *d)
{
    static const char why[] = "must be tcp://host:port or ipc://path, at most 4 parted by commas";
    bool ok = is_endpoint_list(d->address.endpoint) || fault("BUS_ENDPOINT", why);
    return (is_endpoint_list(d->address.events) || fault("BUS_EVENTS", why)) && ok;
}

static bool apply_bus(struct daemon *d)
{
    d->address = bus_settings_address(d->common);
    if (d->def->bus_endpoint)
        d->address.endpoint = d->def->bus_endpoint;
    if (d->def->bus_events)
        d->address.events = d->def->bus_events;
    if (strncmp(d->address.endpoint, "inproc:", 7) == 0)
        d->address.server_key = NULL; /* nothing to encrypt, and CURVE is not spoken there */
    void *probe = zmq_socket(d->zmq, ZMQ_DEALER);
    bool ok = probe && bus_socket_prepare(probe, &d->address);
    if (probe)
        zmq_close(probe);
    if (!apply_endpoints(d))
        return false;
    return ok ||
           fault("BUS_SERVER_KEY", "BUS_SERVER_KEY, BUS_PUBLIC_KEY and BUS_SECRET_KEY must "
                                   "all be Z85 keys of 40 characters, or BUS_SERVER_KEY unset");
}

bool daemon_apply_settings(struct daemon *d)
{
    bool ok = apply_log_level(d);
    ok &= apply_clock(d);
    ok &= apply_master_key(d);
    ok &= apply_bus(d);
    ok &= daemon_apply_traces(d);
    return ok;
}

/* --- --migrate -------------------------------------------------------------------------------- */

int daemon_exit_of(enum err e)
{
    switch (e) {
    case ERR_OK:
        return DAEMON_EXIT_OK;
    case ERR_UNAVAILABLE:
    case ERR_DEADLINE_EXCEEDED:
    case ERR_ABORTED:
        return DAEMON_EXIT_AGAIN;
    default:
        return DAEMON_EXIT_BUG;
    }
}

int daemon_migrate(struct daemon *d)
{
    const char *url = daemon_setting(d, "MIGRATE_URL")->text;
    if (!url)
        url = daemon_setting(d, "DB_URL")->text;
    if (!url) {
        fault("MIGRATE_URL", "is required for --migrate, or DB_URL");
        return DAEMON_EXIT_SETTINGS;
    }
    if (!d->def->schema)
        return DAEMON_EXIT_OK;

    struct db *db = db_new(url, "daybook-migrate");
    if (!db)
        return DAEMON_EXIT_BUG;
    int applied = 0;
    enum err e = migrate_run(db, d->def->schema, d->def->migrations, d->def->nmigrations, &applied);
    db_free(db);
    if (e)
        (void)fprintf(stderr, "daybook-%s: migration of schema %s failed: %s\n", d->def->name,
                      d->def->schema, err_name(e));
    else
        printf("schema %s: %d migrations applied\n", d->def->schema, applied);
    return daemon_exit_of(e);
}
