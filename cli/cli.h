/*
 * cli.h - what the commands of `daybook` share: the command table, the settings, the connections,
 * and how a failure is told.
 *
 * A command is one function and one row of a table (main.c). It returns the exit status. Results go
 * to stdout, in tables for people or as one JSON document with --json (the log, which has no end:
 * one event a line); everything else goes to stderr. A failure is told once; with --json, in the
 * last line, by an object with `code` and `message`.
 *
 *   main.c       from argv to a command               commands.c  the table of commands and options
 *   args.c       words of the command line            help.c      help, made from the tables
 *   cli.c        settings, connections, time          fault.c     what went wrong, in words
 *   ask.c        calls, on behalf of whom             http_ask.c  calls through the gateway
 *   table.c      columns for people                   rows.c      rows as columns or as JSON
 */
#ifndef DAYBOOK_CLI_CLI_H
#define DAYBOOK_CLI_CLI_H

#include "cli/args.h"
#include "cli/http_ask.h"
#include "cli/table.h"
#include "common/arena.h"
#include "common/bus_client.h"
#include "common/config.h"
#include "common/db.h"
#include "common/migrate.h"

#define EXIT_USAGE 64
#define EXIT_SETTINGS 78
#define CLI_API_KEY_SIZE 256

struct cli;

struct command {
    const char *name;
    const char *usage;            /* what follows the name: "SERVICE/METHOD [JSON | - | @FILE]" */
    const char *summary;          /* one line */
    const char *help;             /* more of it, with examples; ends without a newline */
    const struct option *options; /* its own; NULL: none */
    size_t words_min, words_max;
    bool offline;      /* needs no settings */
    bool by_calls;     /* can do all by calling services, so it works over HTTP too */
    bool installation; /* is for the installation as a whole, never for one company */
    /* With these first words, parted by spaces, it does without services where it can, so it goes
     * over HTTP by --url alone and not by DAYBOOK_URL; "": always; NULL: never. */
    const char *local;
    int (*run)(struct cli *c);
};

extern const struct command commands[]; /* ended by a NULL name */
extern const struct option global_options[];
extern struct setting cli_settings[];                 /* ended by a NULL key */
const struct command *find_command(const char *name); /* NULL: there is none */

struct cli {
    const struct command *command;
    struct args args;
    bool json;
    struct arena *arena; /* until the end of the command, unless it resets it */
    struct setting *settings;
    int64_t timeout_us; /* of one call */
    char tenant[40];    /* "" : none */
    const char *key;    /* idempotency key of --key; NULL: each command gets a new one */
    /* private to cli.c and ask.c */
    bool over_http;                 /* what is called, is called through the gateway */
    char api_key[CLI_API_KEY_SIZE]; /* of --key; "" : none */
    void *zmq;
    struct bus_client *bus;
    struct http_ask *http;
    struct db *db;
    PbPrincipal *principal;
    bool principal_known;
};

/* --- cli.c ------------------------------------------------------------------------------------ */

/* False: said why; the exit status is in *status_out. */
NODISCARD bool cli_open(struct cli *c, int *status_out);
void cli_close(struct cli *c);

const char *cli_setting(const struct cli *c, const char *key); /* NULL: unset */
struct bus_address cli_bus_address(const struct cli *c);
/* The one ZeroMQ context; NULL: none to be had. */
void *cli_zmq(struct cli *c);
/* Connected as the owner of the schemas (MIGRATE_URL). NULL: said why, with the exit status. */
struct db *cli_db(struct cli *c, int *status_out);
bool cli_has_db(const struct cli *c);
/* The same where there is a setting for it, without a word; then c->db is connected. */
NODISCARD enum err cli_connect(struct cli *c);

/* Where the gateway is (--url, DAYBOOK_URL); NULL: services are asked over the bus. */
const char *cli_url(const struct cli *c);
/*
 * A secret of an option: the word itself, which others on the machine may see, or the first line of
 * a file as @FILE. False: said why; the secret is not in it.
 */
NODISCARD bool cli_secret(const struct cli *c, const char *option, const char *word, char *out,
                          size_t size);

/* A number of an option, or `otherwise`. False: said why. */
NODISCARD bool cli_number(const struct cli *c, const char *option, int64_t min, int64_t max,
                          int64_t otherwise, int64_t *out);

/* An area is a daemon with a schema, in the order in which they are migrated. */
struct area {
    const char *name; /* of daemon, schema and consumer */
    const struct migration *migrations;
    const size_t *nmigrations;
    bool consumes; /* hears events */
    bool builds;   /* makes tables from them that can be made anew */
};
extern const struct area areas[];               /* ended by a NULL name */
const struct area *area_find(const char *name); /* NULL: none; not said */

/* --- fault.c ---------------------------------------------------------------------------------- */

/* "daybook: ..." on stderr, and the status of a usage error. */
int cli_usage(const struct cli *c, const char *fmt, ...) PRINTF(2, 3);
/* The same for a setting that is missing or wrong. */
int cli_unset(const struct cli *c, const char *fmt, ...) PRINTF(2, 3);
/* "daybook: ..." on stderr, and the status of that code. */
int cli_fail(const struct cli *c, enum err e, const char *fmt, ...) PRINTF(3, 4);
/* A failed call: code, words, faulty fields and what to do, on stderr; as JSON with --json.
 * answer: may hold no result, when the bus or the way there is at fault. */
int cli_call_failed(const struct cli *c, const char *what, enum err e,
                    const struct bus_answer *answer);
/* How long the service asks us to wait; 0: it does not say. */
int64_t fault_retry_us(struct arena *a, const PbCallResult *result);
bool result_has(const PbCallResult *result, const char *key, const char *value);

/* --- ask.c ------------------------------------------------------------------------------------ */

/* The client; NULL: said why, with the exit status. For what is the bus's own; others ask by
 * whichever way there is. */
struct bus_client *cli_bus(struct cli *c, int *status_out);
/* The way to the services: the bus, or HTTP. False: said why. */
NODISCARD bool cli_way(struct cli *c, int *status_out);
/*
 * On whose behalf calls are made (--tenant, --as): asks the directory for a staff number once.
 * False: said why. The principal is NULL when the key speaks for itself, as over HTTP always.
 */
NODISCARD bool cli_principal(struct cli *c, const PbPrincipal **out, int *status_out);
/*
 * Calls, and again while a service says `unavailable` or `aborted`, with the same idempotency key
 * (the global --key, else a new one), within the timeout. answer_out is always set.
 * Says nothing about a failure: cli_call_failed() does.
 */
NODISCARD enum err cli_ask(struct cli *c, const char *service, const char *method,
                           const ProtobufCMessage *request, struct bus_answer *answer_out);
/* Many at a time, when the way stands: bus_client_send(), and whichever is over next. whose_out:
 * the request id that was sent with it, also where there is no answer (no result); NULL: none was
 * over in that time. */
NODISCARD enum err cli_send(struct cli *c, const struct bus_request *r);
NODISCARD enum err cli_receive(struct cli *c, int64_t timeout_us,
                               const ProtobufCMessageDescriptor *(*type_of)(void *arg,
                                                                            const char *request_id),
                               void *arg, struct bus_answer *answer_out, const char **whose_out);
/* Before another call that belongs to the same --key: a key of its own, the same for the same call. */
void cli_next_key(struct cli *c);
/* Full name of the service of an area's consumer, in the arena; "" when that is full. */
const char *cli_consumer_service(struct cli *c, const char *area);
/* The same for commands that can only give up: says why, and gives NULL and the exit status. */
const ProtobufCMessage *cli_must_ask(struct cli *c, const char *service, const char *method,
                                     const ProtobufCMessage *request, int *status_out);

/* Prints a message as JSON with a newline: on one line with --json, else indented. */
int cli_print_message(const struct cli *c, const ProtobufCMessage *m, int flags);

/* --- commands --------------------------------------------------------------------------------- */

int cmd_audit(struct cli *c);
int cmd_doctor(struct cli *c);
int cmd_call(struct cli *c);
int cmd_clock(struct cli *c);
int cmd_completion(struct cli *c);
int cmd_events(struct cli *c);
int cmd_help(struct cli *c);
int cmd_import(struct cli *c);
int cmd_keygen(struct cli *c);
int cmd_migrate(struct cli *c);
int cmd_rebuild(struct cli *c);
int cmd_status(struct cli *c);
int cmd_top(struct cli *c);
int cmd_tasks(struct cli *c);
int cmd_timers(struct cli *c);
int cmd_version(struct cli *c);
int cmd_webhook(struct cli *c);

/* help.c */
int help_all(const struct cli *c);
int help_command(const struct cli *c, const struct command *k);

/* parked.c */
int events_parked(struct cli *c);
int events_replay(struct cli *c);

/* call_list.c */
int call_list(struct cli *c, const char *service);
int call_describe(struct cli *c, const char *name);
/* The service of that full name, or the only one that ends in it; NULL: none or several. */
const struct schema_service *call_find_service(const char *name);

#endif
