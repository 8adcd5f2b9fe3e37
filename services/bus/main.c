/*
 * main.c - the bus: broker, relay and fan-out as threads of one daemon, whose workers answer
 * EventService through their own broker.
 */
#include <zmq.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/daemon.h"
#include "common/directory.h"
#include "common/log.h"
#include "services/bus/broker.h"
#include "services/bus/event_service.h"
#include "services/bus/publish.h"
#include "services/bus/relay.h"
#include "services/bus/sql.h"
#include "services/bus/zap.h"

#define OWN_ENDPOINT "inproc://daybook.bus"
#define DIRECTORY_WAIT_US (5 * SECOND_US)

static struct setting settings[] = {
    { .key = "BUS_LISTEN",
      .type = SETTING_TEXT,
      .help = "CURVE endpoints to bind for clients and workers, comma-separated; unset = "
              "BUS_ENDPOINT." },
    { .key = "BUS_EVENTS_LISTEN",
      .type = SETTING_TEXT,
      .help = "CURVE endpoints to bind for subscribers of events; unset = BUS_EVENTS." },
    { .key = "BUS_KEYS",
      .type = SETTING_TEXT,
      .help = "Directory of admitted public keys: <name>.pub holds a Z85 key and a line "
              "kind=daemon, edge or system." },
    { .key = "BUS_PLAIN_ENDPOINT",
      .type = SETTING_TEXT,
      .help = "Endpoint without proof of identity, on loopback or ipc only; unset = none." },
    { .key = "BUS_PLAIN_EVENTS",
      .type = SETTING_TEXT,
      .help = "The same for subscribers of events." },
    { .key = "BUS_PLAIN_TENANT",
      .type = SETTING_TEXT,
      .help = "Tenant (UUID) that plain peers act for." },
    { .key = "BUS_PLAIN_ACTOR",
      .type = SETTING_TEXT,
      .help = "Employee or service account (UUID) that plain peers act as." },
    { .key = "BUS_PLAIN_SCOPES",
      .type = SETTING_TEXT,
      .help = "Scopes of plain peers, comma-separated." },
    { .key = "BUS_PLAIN_WORKERS",
      .type = SETTING_BOOL,
      .default_value = "0",
      .help = "Plain peers may register workers and speak for others: for tests only." },
    { .key = "DB_DIRECT_URL",
      .type = SETTING_TEXT,
      .secret = false,
      .help = "PostgreSQL without a transaction pooler, for the relay's lock; unset = DB_URL." },
    { .key = "BUS_QUEUE_COUNT",
      .type = SETTING_INT,
      .default_value = "10000",
      .min = 1,
      .max = 1000000,
      .help = "Requests that may wait for one service; one company may have as many as it leaves "
              "free." },
    { .key = "BUS_QUEUE_BYTES",
      .type = SETTING_SIZE,
      .default_value = "64MiB",
      .min = 1024,
      .max = INT64_C(1) << 32,
      .help =
          "Bytes that may wait for one service; one company may have as many as it leaves free." },
    { .key = "BUS_TOTAL_BYTES",
      .type = SETTING_SIZE,
      .default_value = "192MiB",
      .min = 1024,
      .max = INT64_C(1) << 34,
      .help = "Bytes that may wait in all queues." },
    { .key = "BUS_CLIENT_INFLIGHT",
      .type = SETTING_INT,
      .default_value = "256",
      .min = 1,
      .max = 100000,
      .help = "Unanswered requests of one client." },
    { .key = "BUS_FRAME_MAX",
      .type = SETTING_SIZE,
      .default_value = "1MiB",
      .min = 1024,
      .max = 8 << 20,
      .help = "Largest frame of a request." },
    { .key = "BUS_DEADLINE_DEFAULT",
      .type = SETTING_DURATION,
      .default_value = "5s",
      .min = 10 * MSEC_US,
      .max = 10 * MINUTE_US,
      .help = "Deadline of a request that names none." },
    { .key = "BUS_DEADLINE_MAX",
      .type = SETTING_DURATION,
      .default_value = "30s",
      .min = 10 * MSEC_US,
      .max = 10 * MINUTE_US,
      .help = "Longest deadline; longer ones are cut to it." },
    { .key = "BUS_DEADLINE_FOREIGN",
      .type = SETTING_DURATION,
      .default_value = "30s",
      .min = 10 * MSEC_US,
      .max = 10 * MINUTE_US,
      .help = "Deadline of requests to services that are not Daybook's." },
    { .key = "BUS_STRANGER_WAIT",
      .type = SETTING_DURATION,
      .default_value = "1s",
      .min = 0,
      .max = MINUTE_US,
      .help = "How long a request waits for a service that nobody ever served." },
    { 0 },
};

struct bus {
    int64_t started_us;
    struct keyring *keyring;
    struct zap *zap;
    struct broker *broker;
    struct publisher *publisher;
    struct relay *relay;
    bool directory;
};

/* --- settings ------------------------------------------------------------------------------- */

static const char *text_of(struct daemon *d, const char *key)
{
    const char *text = daemon_setting(d, key)->text;
    return text && text[0] ? text : NULL;
}

NORETURN static void bad_setting(const char *key, const char *why)
{
    fprintf(stderr, "DAYBOOK_%s: %s\n", key, why);
    log_stop();
    _Exit(DAEMON_EXIT_SETTINGS);
}

/* Where to bind: what others are told, unless that is not an address of this machine. */
static const char *listen_of(struct daemon *d, const char *own, const char *told)
{
    return text_of(d, own) ? text_of(d, own) : text_of(d, told);
}

static struct id id_setting(struct daemon *d, const char *key)
{
    struct id id = { 0 };
    const char *text = text_of(d, key);
    if (text && !id_parse(text, &id))
        bad_setting(key, "must be a UUID");
    return id;
}

static struct identity_plain plain_of(struct daemon *d)
{
    const char *endpoint = text_of(d, "BUS_PLAIN_ENDPOINT");
    const char *events = text_of(d, "BUS_PLAIN_EVENTS");
    if (endpoint && !broker_endpoint_is_local(endpoint))
        bad_setting("BUS_PLAIN_ENDPOINT", "must be a loopback, ipc or inproc address");
    if (events && !broker_endpoint_is_local(events))
        bad_setting("BUS_PLAIN_EVENTS", "must be a loopback, ipc or inproc address");
    struct identity_plain plain = {
        .offered = endpoint || events,
        .serves = daemon_setting(d, "BUS_PLAIN_WORKERS")->i64 != 0,
        .tenant = id_setting(d, "BUS_PLAIN_TENANT"),
        .actor = id_setting(d, "BUS_PLAIN_ACTOR"),
        .scopes = text_of(d, "BUS_PLAIN_SCOPES"),
    };
    if (plain.offered && !plain.serves && id_is_nil(plain.tenant))
        bad_setting("BUS_PLAIN_TENANT", "plain peers need a tenant to act for");
    return plain;
}

static const char *secret_key_of(struct daemon *d)
{
    uint8_t raw[32];
    const char *key = text_of(d, "BUS_SECRET_KEY");
    if (key && (strlen(key) != IDENTITY_KEY_LEN || !zmq_z85_decode(raw, key)))
        bad_setting("BUS_SECRET_KEY", "must be 40 characters of Z85");
    if (!key && !text_of(d, "BUS_PLAIN_ENDPOINT"))
        bad_setting("BUS_SECRET_KEY", "without it nobody can connect; see `daybook keygen`");
    return key;
}

static struct broker_config broker_config_of(struct daemon *d, struct bus *bus)
{
    struct broker_config c;
    const char *key = secret_key_of(d);
    broker_config_defaults(&c);
    c.zmq_context = daemon_zmq_context(d);
    c.listen = key ? listen_of(d, "BUS_LISTEN", "BUS_ENDPOINT") : NULL;
    c.secret_key = key;
    c.plain = text_of(d, "BUS_PLAIN_ENDPOINT");
    c.inproc = OWN_ENDPOINT;
    c.keyring = bus->keyring;
    c.queue_count = (size_t)daemon_setting(d, "BUS_QUEUE_COUNT")->i64;
    c.queue_bytes = (size_t)daemon_setting(d, "BUS_QUEUE_BYTES")->i64;
    c.total_bytes = (size_t)daemon_setting(d, "BUS_TOTAL_BYTES")->i64;
    c.client_inflight = (int)daemon_setting(d, "BUS_CLIENT_INFLIGHT")->i64;
    c.frame_max = (size_t)daemon_setting(d, "BUS_FRAME_MAX")->i64;
    c.deadline_default_us = daemon_setting(d, "BUS_DEADLINE_DEFAULT")->i64;
    c.deadline_max_us = daemon_setting(d, "BUS_DEADLINE_MAX")->i64;
    c.deadline_foreign_us = daemon_setting(d, "BUS_DEADLINE_FOREIGN")->i64;
    c.stranger_wait_us = daemon_setting(d, "BUS_STRANGER_WAIT")->i64;
    c.drain_timeout_us = daemon_setting(d, "DRAIN_TIMEOUT")->i64 * 9 / 10;
    return c;
}

/* --- start and stop ------------------------------------------------------------------------- */

static bool open_all(struct daemon *d, struct bus *bus)
{
    const struct identity_plain plain = plain_of(d);
    const char *reason = "no memory or no thread is left";
    const char *direct = text_of(d, "DB_DIRECT_URL");
    bus->keyring = keyring_new(text_of(d, "BUS_KEYS"), &plain);
    if (!bus->keyring)
        return false;
    const struct broker_config broker = broker_config_of(d, bus);
    const struct publisher_config publisher = {
        .zmq_context = broker.zmq_context,
        .listen = broker.secret_key ? listen_of(d, "BUS_EVENTS_LISTEN", "BUS_EVENTS") : NULL,
        .secret_key = broker.secret_key,
        .plain = text_of(d, "BUS_PLAIN_EVENTS"),
        .keyring = bus->keyring,
    };
    const struct relay_config relay = {
        .conninfo = direct ? direct : daemon_conninfo(d),
        .application_name = "daybook-bus-relay",
        .zmq_context = broker.zmq_context,
    };
    bus->directory = directory_start(daemon_conninfo(d), false) == ERR_OK;
    bus->zap = zap_start(broker.zmq_context, bus->keyring);
    bus->publisher = bus->zap ? publisher_new(&publisher, &reason) : NULL;
    bus->broker = bus->publisher ? broker_new(&broker, &reason) : NULL;
    bus->relay = bus->broker ? relay_new(&relay) : NULL;
    if (!bus->directory || !bus->relay)
        log_error("bus.start_failed", reason, NULL);
    return bus->directory && bus->relay;
}

static void stop(void *data)
{
    struct bus *bus = data;
    relay_free(bus->relay);
    broker_free(bus->broker);
    publisher_free(bus->publisher);
    zap_stop(bus->zap);
    keyring_free(bus->keyring);
    if (bus->directory)
        directory_stop();
    free(bus);
}

static void *start(struct daemon *d, bool *ok_out)
{
    struct bus *bus = calloc(1, sizeof(*bus));
    if (bus)
        bus->started_us = clock_monotonic_us();
    *ok_out = bus && open_all(d, bus);
    if (*ok_out)
        return bus;
    if (bus)
        stop(bus);
    return NULL;
}

/* At first EventService waits a little for the directory, without which it refuses people: one that is
 * started anew beside another bus would do so to some of them (F09). */
static bool ready(void *data, const char **reason_out)
{
    const struct bus *bus = data;
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();

    if (dir || clock_monotonic_us() - bus->started_us > DIRECTORY_WAIT_US)
        return true;
    *reason_out = "waits for the directory, 5 s at most";
    return false;
}

/* --- threads -------------------------------------------------------------------------------- */

static bool stopping(void *arg)
{
    return daemon_stopping(arg);
}

static void run_broker(struct daemon *d, void *data)
{
    struct bus *bus = data;
    broker_run(bus->broker, stopping, d);
}

static void run_publisher(struct daemon *d, void *data)
{
    struct bus *bus = data;
    publisher_run(bus->publisher, stopping, d);
}

static void run_relay(struct daemon *d, void *data)
{
    struct bus *bus = data;
    relay_run(bus->relay, stopping, d);
}

static const struct daemon_thread threads[] = {
    { "broker", run_broker, false },
    { "publish", run_publisher, false },
    { "relay", run_relay, true },
};

int main(int argc, char **argv)
{
    const struct daemon_def def = {
        .name = "bus",
        .schema = "bus",
        .admin_listen = "127.0.0.1:9601",
        .methods = event_service_methods,
        .nmethods = event_service_methods_len,
        .settings = settings,
        .migrations = bus_migrations,
        .nmigrations = bus_migrations_len,
        .threads = threads,
        .nthreads = ARRAY_LEN(threads),
        /* The directory is looked at for keys, but EventService must not wait for it for ever:
         * consumers of the directory's own events need the bus first. */
        .no_directory = true,
        .start = start,
        .ready = ready,
        .stop = stop,
        .bus_endpoint = OWN_ENDPOINT,
    };
    return daemon_run(&def, argc, argv);
}
