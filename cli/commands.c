/*
 * commands.c - the table of commands and their options, from which arguments are read and help and
 * completion are made.
 *
 * An option's value tells what it may be: FILE is a file, @FILE a file behind that sign, a|b|c one of these words, all else is
 * free. Help texts are laid out for 80 columns by hand.
 */
#include "cli/cli.h"

const struct option global_options[] = {
    { "tenant", "ID", "company to work for (or DAYBOOK_TENANT)" },
    { "as", "EMPLOYEE",
      "act as this person: staff number or id (or DAYBOOK_AS); without it, as the operator" },
    { "json", NULL, "answer for programs: JSON instead of tables, failures too" },
    { "url", "URL",
      "gateway to go to over HTTP instead of the bus (or DAYBOOK_URL): call, import, tasks, audit, "
      "events; by --url alone, since they else do without services: status, timers, events parked "
      "and replay" },
    { "api-key", "@FILE",
      "file with the API key for --url (or DAYBOOK_API_KEY_FILE); the key itself will do, but "
      "others "
      "on the machine can see it" },
    { "timeout", "DURATION", "limit of one call, 10ms to 30s (5s)" },
    { "key", "KEY",
      "idempotency key: a command repeated with it takes effect once; an API key (dbk_..., or a "
      "file "
      "with it behind @) is taken as by --api-key" },
    { "help", NULL, "help, also of one command" },
    { "version", NULL, "version and commit" },
    { .name = NULL },
};

static const struct option call_options[] = {
    { "list", NULL, "list the services, or the methods of the one that is named" },
    { "describe", NULL, "show a service, method, message or enum with its comments" },
    { "defaults", NULL, "show fields that have their default value too" },
    { .name = NULL },
};

static const struct option import_options[] = {
    { "dry-run", NULL, "judge every row, change nothing" },
    { "update-owner", NULL, "customers: give those who are there to the owners of the file" },
    { "result", "FILE", "write what became of each row to this CSV file" },
    { "source", "NAME", "name of the system the ids are from (import)" },
    { "batch", "N", "rows a batch (500 customers, 1000 orders)" },
    { "strict", NULL, "exit with 65 when a row was invalid or a duplicate" },
    { .name = NULL },
};

static const struct option tasks_options[] = {
    { "date", "DAY", "YYYY-MM-DD in the company's time zone (today)" },
    { .name = NULL },
};

static const struct option events_options[] = {
    { "types", "LIST", "read, tail: event types, or prefixes ending in \".\", parted by commas" },
    { "aggregate", "NAME", "read, tail: only what happened to this, e.g. visits/0190..." },
    { "after", "SEQ", "read, tail: begin after this position (read: 0, tail: the newest)" },
    { "limit", "N", "read: at most this many (100; 0 = all); tail: end after so many (never)" },
    { "seq", "N", "replay: only this event (all that are parked)" },
    { .name = NULL },
};

static const struct option webhook_options[] = {
    { "secret", "@FILE",
      "file with the secret (whsec_...), or itself, which others on the machine can see; twice "
      "while it is changed (or DAYBOOK_WEBHOOK_SECRET_FILE)" },
    { "listen", "HOST:PORT", "where to listen (127.0.0.1:9090); port 0: any" },
    { "count", "N", "end after so many good deliveries, repeated ones not counted (never)" },
    { "for", "DURATION", "end after that; with 1 when --count was not reached" },
    { "body", NULL, "show the body too" },
    { .name = NULL },
};

static const struct option status_options[] = {
    { "wait", "DURATION", "wait until settled, at most so long; 75 when it did not come to that" },
    { .name = NULL },
};

static const struct option top_options[] = {
    { "every", "DURATION", "time between two looks, 100ms to 1h (2s)" },
    { "count", "N", "end after so many looks (never)" },
    { .name = NULL },
};

static const struct option audit_options[] = {
    { "after", "NUMBER:HASH", "begin behind this entry, as an earlier run printed it" },
    { .name = NULL },
};

static const struct option doctor_options[] = {
    { "after-restore", NULL,
      "the database was restored: give the log a new id, outdate cached lists, bring back webhook "
      "endpoints that are ahead of the log, then look" },
    { .name = NULL },
};

static const struct option rebuild_options[] = {
    { "no-wait", NULL, "start it and do not wait for its end" },
    { .name = NULL },
};

static const struct option keygen_options[] = {
    { "kind", "partner|daemon|edge|system", "what the key is for (partner)" },
    { "public", NULL, "only PREFIX.pub is missing: make it from PREFIX.key, of the --kind it was" },
    { .name = NULL },
};

static const struct option clock_options[] = {
    { "rate", "R", "how fast it runs: 1 as real time, 0 stands still (1)" },
    { .name = NULL },
};

const struct command commands[] = {
    { .name = "call",
      .usage = "SERVICE/METHOD [JSON | @FILE | -]",
      .summary = "call any method",
      .help = "The request is JSON by the proto3 mapping ({} when left out), from a file with\n"
              "@, from stdin with -. The answer is JSON on stdout; an error tells code, faulty\n"
              "fields and request id on stderr. A short service name will do where it is the\n"
              "only one.\n"
              "\n"
              "  daybook call --list\n"
              "  daybook call --list CustomerService\n"
              "  daybook call --describe CustomerService/Create\n"
              "  daybook call EventService/GetHead\n"
              "  daybook call CustomerService/List '{\"pageSize\":5}' --tenant ID --as E006",
      .options = call_options,
      .words_max = 2,
      .by_calls = true,
      .run = cmd_call },
    { .name = "import",
      .usage = "customers | orders FILE",
      .summary = "take in a CSV file",
      .help = "FILE is CSV in UTF-8 with a header row, - is stdin. Columns, in any order (*\n"
              "must be there):\n"
              "  customers  external_id* name* industry company_size address city_code lat\n"
              "             lon source relation_type owner_no owner_id key_account credit_code\n"
              "             potential_rating contact_name contact_position contact_role\n"
              "             contact_phone contact_email contact_birthday\n"
              "  orders     external_id* customer_external_id* ordered_at* amount_minor*\n"
              "             currency* kind cancels_external_id (of a cancellation: its order)\n"
              "Others are named and left out. Rows are recognised by external_id, so running\n"
              "it again, also after an interruption, adds nothing twice. Faulty rows are left\n"
              "out and told, the others are taken. A new customer needs owner_no or owner_id;\n"
              "one who is there keeps his owner unless --update-owner is given.\n"
              "\n"
              "  daybook import customers shops.csv --tenant ID --dry-run --result report.csv\n"
              "  daybook import orders orders.csv --tenant ID --json\n"
              "  zcat orders.csv.gz | daybook import orders - --tenant ID",
      .options = import_options,
      .words_min = 2,
      .words_max = 2,
      .by_calls = true,
      .run = cmd_import },
    { .name = "tasks",
      .usage = "EMPLOYEE",
      .summary = "a person's list of the day",
      .help = "EMPLOYEE is a staff number or id. Times are those of the company's time zone.\n"
              "Says whether the list came from the cache.\n"
              "\n"
              "  daybook tasks E006 --tenant ID\n"
              "  daybook tasks E006 --tenant ID --date 2026-11-17",
      .options = tasks_options,
      .words_min = 1,
      .words_max = 1,
      .by_calls = true,
      .run = cmd_tasks },
    { .name = "events",
      .usage = "tail | read | parked [CONSUMER] | replay CONSUMER",
      .summary = "what happened, from the log, and what could not be taken from it",
      .help = "tail    shows events as they happen, without a gap, until it is interrupted\n"
              "read    shows a piece of the log\n"
              "parked  shows the events that consumers could not take, and why\n"
              "replay  gives those of a consumer another try, in their order\n"
              "With --json, tail and read give one event a line. With --tenant: of that\n"
              "company only. parked and replay ask the database of DAYBOOK_MIGRATE_URL; with\n"
              "--url the daemons, of the company of the key (general_manager, or the scopes\n"
              "consumers.read and consumers.write).\n"
              "\n"
              "  daybook events tail --types daybook.visits.v1.\n"
              "  daybook events read --after 0 --limit 5\n"
              "  daybook events read --aggregate customers/0190... --json\n"
              "  daybook events parked\n"
              "  daybook events replay reminders --seq 4711",
      .options = events_options,
      .words_min = 1,
      .words_max = 2,
      .by_calls = true,
      .local = "parked replay",
      .run = cmd_events },
    { .name = "webhook",
      .usage = "listen",
      .summary = "take in webhooks, verify and show them",
      .help = "For the first test of a receiver: a small server that judges what is sent to it\n"
              "as Standard Webhooks has it (webhook-id, webhook-timestamp within 5 minutes,\n"
              "webhook-signature by one of the secrets). Answers 204 to what is good and 401 to\n"
              "what is not, shows each with the time, and marks an id that has come before\n"
              "(again). Without a secret it verifies nothing, says so and takes everything.\n"
              "With --json: one delivery a line, after a line that says where it listens.\n"
              "\n"
              "  daybook webhook listen --secret @var/keys/hook.secret\n"
              "  daybook webhook listen --secret @new --secret @old --count 1 --for 1m --body",
      .options = webhook_options,
      .words_min = 1,
      .words_max = 1,
      .run = cmd_webhook },
    { .name = "timers",
      .usage = "parked | replay [DUTY...]",
      .summary = "timers that could not be fired",
      .help = "parked  shows the timers that were put aside, and why; WAITS: the duty is open\n"
              "        and nothing will remind of it until the timer is armed again\n"
              "replay  arms the named ones, or all, once the cause is mended: what the duty\n"
              "        waits for now is fired, late if need be. Timers of duties that wait for\n"
              "        nothing any more are only taken off the list (ARMED: no).\n"
              "With --tenant: of that company only. With --url: of the company of the key\n"
              "(general_manager, or the scopes timers.read and timers.write).\n"
              "\n"
              "  daybook timers parked\n"
              "  daybook timers replay\n"
              "  daybook timers replay 8d1f4a52-0c5e-5f0e-9a53-6f0a4f1f7c11 --json",
      .words_min = 1,
      .words_max = ARGS_WORDS_MAX,
      .by_calls = true,
      .local = "",
      .run = cmd_timers },
    { .name = "status",
      .usage = "",
      .summary = "daemons, services, log, consumers, what is parked",
      .help = "Asks the admin listeners of DAYBOOK_STATUS (\"name=host:port ...\"), the bus, and\n"
              "the database of DAYBOOK_MIGRATE_URL. Settled means: all ready, every event\n"
              "published and taken by every consumer, every daily list refreshed. Exits with 0\n"
              "when all daemons are ready, else with 75.\n"
              "\n"
              "With --url it asks services: those of the bus (scope bus.read), the log's head\n"
              "(events.read), each consumer (consumers.read) and parked timers (timers.read);\n"
              "parked ones of the company of the key alone. It does not show the daemons\n"
              "themselves (readiness, version, memory, address) nor daily lists that wait;\n"
              "settled then means: all consumers answer and have come to the log's head, and\n"
              "nothing is on its way there.\n"
              "\n"
              "  daybook status\n"
              "  daybook status --wait 30s --json\n"
              "  daybook status --url https://daybook.example.com --api-key @key",
      .options = status_options,
      .by_calls = true,
      .local = "",
      .run = cmd_status },
    { .name = "top",
      .usage = "",
      .summary = "live: load, queues, lag, lateness and faults",
      .help = "Looks at the metrics of the admin listeners of DAYBOOK_STATUS and at the bus,\n"
              "and again every two seconds, until it is interrupted. Rates and times are of\n"
              "what happened between two looks; FAULTS are answers by which the system is at\n"
              "fault (internal, unknown, unavailable, data_loss, deadline_exceeded,\n"
              "resource_exhausted). Of the services those are shown that wait, or are asked\n"
              "most. With --json one look a line.\n"
              "\n"
              "  daybook top\n"
              "  daybook top --every 10s --count 6 --json",
      .options = top_options,
      .run = cmd_top },
    { .name = "migrate",
      .usage = "[AREA...]",
      .summary = "bring the schemas up to date",
      .help = "Applies what is missing in the database of DAYBOOK_MIGRATE_URL: bus and\n"
              "directory first. Safe to run twice, at once, and after it was killed. Exits\n"
              "with 75 when the database is away.\n"
              "\n"
              "  daybook migrate\n"
              "  daybook migrate customers",
      .words_max = ARGS_WORDS_MAX,
      .installation = true,
      .run = cmd_migrate },
    { .name = "audit",
      .usage = "verify",
      .summary = "is a company's audit trail as it was written?",
      .help = "Recomputes the hashes that chain the entries to each other and says where they\n"
              "break, with status 70. Prints the newest entry as NUMBER:HASH: kept elsewhere\n"
              "and given to a later run by --after, it shows changes even by who can write the\n"
              "whole database. AuditService/ListEntries lists the entries themselves.\n"
              "\n"
              "  daybook audit verify --tenant ID",
      .options = audit_options,
      .words_min = 1,
      .words_max = 1,
      .by_calls = true,
      .run = cmd_audit },
    { .name = "doctor",
      .usage = "",
      .summary = "is the database fit, and does all in it fit together?",
      .help = "Looks at the server of DAYBOOK_MIGRATE_URL (settings, connections, archive of\n"
              "the WAL, indexes, roles, clock), the schemas' versions, the log, each consumer's\n"
              "place in it, webhook endpoints, the outbox, and what is parked. Says what to do\n"
              "about each fault; exits with 65 when there is one, with 0 when there are only\n"
              "warnings. Changes nothing without --after-restore, which is for a restored\n"
              "database: before the daemons start or while they run.\n"
              "\n"
              "  daybook doctor\n"
              "  daybook doctor --after-restore --json",
      .options = doctor_options,
      .run = cmd_doctor },
    { .name = "rebuild",
      .usage = "DAEMON",
      .summary = "make a daemon's read model anew from the log",
      .help = "Runs daybook-DAEMON --rebuild, found beside this program, as the owner of the\n"
              "schemas; the running daemon then takes the log from its beginning. Waits for\n"
              "that.\n"
              "\n"
              "  daybook rebuild scoring",
      .options = rebuild_options,
      .words_min = 1,
      .words_max = 1,
      .installation = true,
      .run = cmd_rebuild },
    { .name = "keygen",
      .usage = "PREFIX",
      .summary = "make a CURVE key pair",
      .help = "Writes PREFIX.key (secret, only for the owner) and PREFIX.pub. Never overwrites.\n"
              "A partner is a person or system of one company: its key is registered with the\n"
              "directory, by the call that is printed. The other kinds belong to the\n"
              "installation; their .pub goes into the bus's DAYBOOK_BUS_KEYS: a daemon serves,\n"
              "an edge speaks for those it has proven, system is an operator's tool such as\n"
              "this. The bus takes no .pub of a partner there.\n"
              "\n"
              "  daybook keygen erp\n"
              "  daybook keygen keys/visits --kind daemon\n"
              "  daybook keygen keys/operator --kind system",
      .options = keygen_options,
      .words_min = 1,
      .words_max = 1,
      .offline = true,
      .installation = true,
      .run = cmd_keygen },
    { .name = "clock",
      .usage = "FILE TIME",
      .summary = "turn the clock of daemons that have DAYBOOK_CLOCK=file:FILE",
      .help = "For demos and tests. TIME is RFC 3339.\n"
              "\n"
              "  daybook clock var/clock 2026-11-16T01:00:00Z --rate 0",
      .options = clock_options,
      .words_min = 2,
      .words_max = 2,
      .offline = true,
      .installation = true,
      .run = cmd_clock },
    { .name = "completion",
      .usage = "bash | zsh",
      .summary = "a script that completes commands, options and methods",
      .help = "For zsh the folder must be in fpath before compinit runs.\n"
              "\n"
              "  . <(daybook completion bash)\n"
              "  daybook completion zsh > ~/.zsh/completions/_daybook",
      .words_min = 1,
      .words_max = 1,
      .offline = true,
      .run = cmd_completion },
    { .name = "version",
      .usage = "",
      .summary = "version and commit",
      .help = "  daybook version --json",
      .offline = true,
      .run = cmd_version },
    { .name = "help",
      .usage = "[COMMAND | settings]",
      .summary = "this text, the help of a command, or the settings",
      .help = "  daybook help import\n"
              "  daybook help settings",
      .words_max = 1,
      .offline = true,
      .run = cmd_help },
    { .name = NULL },
};

const struct command *find_command(const char *name)
{
    for (const struct command *k = commands; k->name; k++)
        if (strcmp(k->name, name) == 0)
            return k;
    return NULL;
}
