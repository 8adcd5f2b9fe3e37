/*
 * main.c - the command table and the help made from it.
 */
#include "cli/cli.h"

#include <unistd.h>

#include "common/schema.h"
#include "common/version.h"

const struct option global_options[] = {
    { "tenant", "ID", "company to work for (or DAYBOOK_TENANT)" },
    { "as", "EMPLOYEE",
      "act as this person: staff number or id (or DAYBOOK_AS); without it, as the "
      "operator" },
    { "json", NULL, "answer for programs: JSON instead of tables" },
    { "timeout", "DURATION", "limit of one call, 10ms to 30s (5s)" },
    { "key", "KEY", "idempotency key: a command repeated with it takes effect once" },
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
    { "types", "LIST", "event types, or prefixes ending in \".\", parted by commas (all)" },
    { "aggregate", "NAME", "read: only what happened to this, e.g. visits/0190..." },
    { "after", "SEQ", "read, tail: begin after this position (read: 0, tail: the newest)" },
    { "limit", "N", "read: at most this many (100; 0 = all); tail: end after so many (never)" },
    { "seq", "N", "replay: only this event (all that are parked)" },
    { .name = NULL },
};

static const struct option status_options[] = {
    { "wait", "DURATION", "wait until settled, at most so long; 75 when it did not come to that" },
    { .name = NULL },
};

static const struct option rebuild_options[] = {
    { "no-wait", NULL, "start it and do not wait for its end" },
    { .name = NULL },
};

static const struct option keygen_options[] = {
    { "kind", "KIND", "daemon, edge or system (daemon)" },
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
      .help =
          "The request is JSON by the proto3 mapping ({} when left out), from a file with @, from\n"
          "stdin with -. The answer is JSON on stdout; an error tells code, faulty fields and\n"
          "request id on stderr. A short service name will do where it is the only one.\n"
          "\n"
          "  daybook call --list\n"
          "  daybook call --list CustomerService\n"
          "  daybook call --describe CustomerService/Create\n"
          "  daybook call EventService/GetHead\n"
          "  daybook call CustomerService/List '{\"pageSize\":5}' --tenant ID --as E006",
      .options = call_options,
      .words_max = 2,
      .run = cmd_call },
    { .name = "import",
      .usage = "customers | orders FILE",
      .summary = "take in a CSV file",
      .help =
          "FILE is CSV in UTF-8 with a header row, - is stdin. Columns, in any order (* must be "
          "there):\n"
          "  customers  external_id* name* industry company_size address city_code lat lon source\n"
          "             relation_type owner_no owner_id key_account credit_code potential_rating\n"
          "             contact_name contact_position contact_role contact_phone contact_email\n"
          "             contact_birthday\n"
          "  orders     external_id* customer_external_id* ordered_at* amount_minor* currency* "
          "kind\n"
          "Others are named and left out. Rows are recognised by external_id, so running it "
          "again,\n"
          "also after an interruption, adds nothing twice. Faulty rows are left out and told, the\n"
          "others are taken.\n"
          "\n"
          "  daybook import customers shops.csv --tenant ID --dry-run --result report.csv\n"
          "  daybook import orders orders.csv --tenant ID --json",
      .options = import_options,
      .words_min = 2,
      .words_max = 2,
      .run = cmd_import },
    { .name = "tasks",
      .usage = "EMPLOYEE",
      .summary = "a person's list of the day",
      .help = "EMPLOYEE is a staff number or id. Says whether the list came from the cache.\n"
              "\n"
              "  daybook tasks E006 --tenant ID\n"
              "  daybook tasks E006 --tenant ID --date 2026-11-17",
      .options = tasks_options,
      .words_min = 1,
      .words_max = 1,
      .run = cmd_tasks },
    { .name = "events",
      .usage = "tail | read | replay CONSUMER",
      .summary = "what happened, from the log",
      .help = "tail    shows events as they happen, without a gap, until it is interrupted\n"
              "read    shows a piece of the log\n"
              "replay  gives events that a consumer could not take (parked) another try\n"
              "With --json: one event a line. With --tenant: of that company only.\n"
              "\n"
              "  daybook events tail --types daybook.visits.v1.\n"
              "  daybook events read --after 0 --limit 5\n"
              "  daybook events read --aggregate customers/0190... --json\n"
              "  daybook events replay reminders --seq 4711",
      .options = events_options,
      .words_min = 1,
      .words_max = 2,
      .run = cmd_events },
    { .name = "status",
      .usage = "",
      .summary = "daemons, services, log and consumers",
      .help =
          "Asks the admin listeners of DAYBOOK_STATUS (\"name=host:port ...\"), the bus, and the\n"
          "database of DAYBOOK_MIGRATE_URL. Settled means: all ready, every event published and\n"
          "taken by every consumer, every daily list refreshed. Exits with 0 when all daemons are\n"
          "ready, else with 75.\n"
          "\n"
          "  daybook status\n"
          "  daybook status --wait 30s --json",
      .options = status_options,
      .run = cmd_status },
    { .name = "migrate",
      .usage = "[AREA...]",
      .summary = "bring the schemas up to date",
      .help = "Applies what is missing in the database of DAYBOOK_MIGRATE_URL: bus and directory "
              "first.\n"
              "Safe to run twice, at once, and after it was killed. Exits with 75 when the "
              "database is\n"
              "away.\n"
              "\n"
              "  daybook migrate\n"
              "  daybook migrate customers",
      .words_max = ARGS_WORDS_MAX,
      .run = cmd_migrate },
    { .name = "rebuild",
      .usage = "DAEMON",
      .summary = "make a daemon's read model anew from the log",
      .help =
          "Runs daybook-DAEMON --rebuild, found beside this program, as the owner of the schemas;\n"
          "the running daemon then takes the log from its beginning. Waits for that.\n"
          "\n"
          "  daybook rebuild scoring",
      .options = rebuild_options,
      .words_min = 1,
      .words_max = 1,
      .run = cmd_rebuild },
    { .name = "keygen",
      .usage = "PREFIX",
      .summary = "make a CURVE key pair",
      .help =
          "Writes PREFIX.key (secret, only for the owner) and PREFIX.pub (for the directory of "
          "keys\n"
          "that the bus admits, DAYBOOK_BUS_KEYS). Never overwrites. Kinds: a daemon serves, an\n"
          "edge speaks for those it has proven, system is an operator's tool such as this.\n"
          "\n"
          "  daybook keygen keys/operator --kind system",
      .options = keygen_options,
      .words_min = 1,
      .words_max = 1,
      .offline = true,
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
      .run = cmd_clock },
    { .name = "completion",
      .usage = "bash | zsh",
      .summary = "a script that completes commands, options and methods",
      .help = "  . <(daybook completion bash)\n"
              "  daybook completion zsh > ~/.zsh/completions/_daybook",
      .words_min = 1,
      .words_max = 1,
      .offline = true,
      .run = cmd_completion },
    { .name = "version",
      .usage = "",
      .summary = "version and commit",
      .help = "",
      .offline = true,
      .run = cmd_version },
    { .name = "help",
      .usage = "[COMMAND]",
      .summary = "this text, or the help of a command",
      .help = "",
      .words_max = 1,
      .offline = true,
      .run = cmd_help },
    { .name = NULL },
};

static const char exit_codes[] =
    "Exit status:\n"
    "   0  done                          70  a bug: internal, data_loss, unknown\n"
    "  64  usage, or invalid_argument    73  already_exists\n"
    "  65  failed_precondition           75  try again later: unavailable, aborted,\n"
    "  66  not_found                         deadline_exceeded, resource_exhausted\n"
    "  69  unimplemented                 77  permission_denied, unauthenticated\n"
    "   1  canceled                      78  settings\n";

static const char environment[] =
    "Settings come from the environment, as for daemons: DAYBOOK_BUS_ENDPOINT, _BUS_EVENTS,\n"
    "_BUS_SERVER_KEY, _BUS_PUBLIC_KEY, _BUS_SECRET_KEY_FILE, _MIGRATE_URL, _STATUS, _TENANT, _AS.\n"
    "The local stack prints its own: . <(deploy/local/stack env)\n";

static void print_options(const struct option *o)
{
    for (; o && o->name; o++) {
        char left[40];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        (void)printf("  %-18s  %s\n", left, o->help);
    }
}

static int help_all(void)
{
    (void)printf("daybook - operate and use a Daybook installation\n\n"
                 "  daybook [OPTION...] COMMAND [WORD...] [OPTION...]\n\nCommands:\n");
    for (const struct command *k = commands; k->name; k++)
        (void)printf("  %-10s  %s\n", k->name, k->summary);
    (void)printf("\nOptions of all commands:\n");
    print_options(global_options);
    (void)printf("\n%s\n%s\nMore of a command: daybook help COMMAND\n", environment, exit_codes);
    return 0;
}

static int help_command(const struct command *k)
{
    (void)printf("daybook %s%s%s - %s\n", k->name, *k->usage ? " " : "", k->usage, k->summary);
    if (*k->help)
        (void)printf("\n%s\n", k->help);
    if (k->options) {
        (void)printf("\nOptions:\n");
        print_options(k->options);
    }
    (void)printf("\nOptions of all commands:\n");
    print_options(global_options);
    (void)printf("\n%s", exit_codes);
    return 0;
}

static const struct command *find_command(const char *name)
{
    for (const struct command *k = commands; k->name; k++)
        if (strcmp(k->name, name) == 0)
            return k;
    return NULL;
}

int cmd_help(struct cli *c)
{
    if (c->args.nwords == 0)
        return help_all();
    const struct command *k = find_command(c->args.words[0]);
    return k ? help_command(k) : cli_usage(c, "there is no command %.60s", c->args.words[0]);
}

int cmd_version(struct cli *c)
{
    if (c->json)
        (void)printf("{\"version\":\"%s\",\"commit\":\"%s\"}\n", daybook_version(),
                     daybook_commit());
    else
        (void)printf("daybook %s (%s)\n", daybook_version(), daybook_commit());
    return 0;
}

static int run(struct cli *c)
{
    int status = 0;
    if (c->args.nwords < c->command->words_min || c->args.nwords > c->command->words_max)
        return cli_usage(c, "usage: daybook %s %s; more by daybook help %s", c->command->name,
                         c->command->usage, c->command->name);
    if (cli_open(c, &status))
        status = c->command->run(c);
    cli_close(c);
    /* A full disk or a closed pipe must not look like success. */
    if (fflush(stdout) != 0 && status == 0)
        status = cli_fail(c, ERR_UNAVAILABLE, "the output cannot be written");
    return status;
}

static int without_command(struct cli *c, int argc, char **argv)
{
    const struct option *const tables[] = { global_options };
    if (!args_parse(argc, argv, argc, tables, ARRAY_LEN(tables), &c->args))
        return cli_usage(c, "%s", c->args.fault);
    if (args_has(&c->args, "version"))
        return cmd_version(c);
    if (args_has(&c->args, "help"))
        return help_all();
    return cli_usage(c, "which command? Try daybook --help");
}

int main(int argc, char **argv)
{
    struct cli c = { .command = NULL };
    int at = args_command(argc, argv, global_options, &c.args);
    if (at < 0)
        return cli_usage(&c, "%s", c.args.fault);
    if (at == argc)
        return without_command(&c, argc, argv);
    c.command = find_command(argv[at]);
    if (!c.command)
        return cli_usage(&c, "there is no command %.60s; try daybook --help", argv[at]);

    const struct option *const tables[] = { global_options, c.command->options };
    if (!args_parse(argc, argv, at, tables, ARRAY_LEN(tables), &c.args))
        return cli_usage(&c, "%s; see daybook help %s", c.args.fault, c.command->name);
    if (args_has(&c.args, "help"))
        return help_command(c.command);
    return run(&c);
}
