/*
 * help.c - help, made from the tables of commands, options and settings, in 80 columns; as JSON it
 * is those tables themselves.
 */
#include "cli/rows.h"

#include "common/err.h"

#define COLUMNS 80
#define OPTION_INDENT 24
#define SETTING_INDENT 6

static const char begin_here[] =
    "Begin here:\n"
    "  . <(deploy/local/stack env)   settings of the local stack; see help settings\n"
    "  daybook status                what runs, what waits, what is parked\n"
    "  daybook call --list           all that can be asked for\n"
    "  daybook help COMMAND          one command, with its options and examples\n";

static const struct {
    int status;
    const char *means;
} exit_codes[] = {
    { 0, "done" },
    { 1, "canceled; webhook listen: --count not reached in time" },
    { 64, "usage, invalid_argument, out_of_range" },
    { 65, "failed_precondition; import --strict: faulty rows" },
    { 66, "not_found" },
    { 69, "unimplemented" },
    { 70, "internal, data_loss, unknown: a bug" },
    { 73, "already_exists" },
    { 75, "try again later: unavailable, aborted, deadline_exceeded, resource_exhausted; status: "
          "not all ready, or not settled in time" },
    { 77, "permission_denied, unauthenticated" },
    { 78, "settings" },
};

/* Text that goes on at an indent; `at` is where the line is already. */
static void print_wrapped(size_t at, size_t indent, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, " ");
        if (at > indent && at + 1 + len > COLUMNS) {
            (void)printf("\n");
            at = 0;
        }
        size_t blank = at < indent ? indent - at : 1;
        if (at == indent)
            blank = 0;
        (void)printf("%*s%.*s", (int)blank, "", (int)len, text);
        at += blank + len;
        text += len;
        text += *text == ' ';
    }
    (void)printf("\n");
}

static void print_options(const struct option *o)
{
    for (; o && o->name; o++) {
        int at = printf("  --%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        if (at + 2 > OPTION_INDENT)
            at = printf("\n") - 1;
        print_wrapped((size_t)at, OPTION_INDENT, o->help);
    }
}

static void print_exit_codes(void)
{
    (void)printf("Exit status:\n");
    for (size_t i = 0; i < ARRAY_LEN(exit_codes); i++) {
        int at = printf("  %2d", exit_codes[i].status);
        print_wrapped((size_t)at, 6, exit_codes[i].means);
    }
    (void)printf(
        "With --json the last line on stderr tells a failure: {\"code\":...,\"message\":...}\n");
}

/* --- settings --------------------------------------------------------------------------------- */

static void print_settings(void)
{
    (void)printf(
        "Settings of this command. They come from the environment, as for the daemons, so\n"
        "that one file serves both; a value may also stand in a file that NAME_FILE\n"
        "names, and secrets must. The local stack prints its own:\n"
        "  . <(deploy/local/stack env)\n");
    for (const struct setting *s = cli_settings; s->key; s++) {
        (void)printf("\n  DAYBOOK_%s%s", s->key, s->secret ? "_FILE" : "");
        if (s->default_value)
            (void)printf(" (%s)", s->default_value);
        (void)printf("\n");
        print_wrapped(0, SETTING_INDENT, s->help);
    }
    (void)printf("\nThose of a daemon: daybook-NAME --help-settings\n");
}

/* --- JSON ------------------------------------------------------------------------------------- */

static json_t *options_json(const struct option *o)
{
    json_t *list = json_array();
    for (; o && o->name; o++)
        json_array_append_new(
            list, json_pack("{s:s,s:s?,s:s}", "name", o->name, "value", o->value, "help", o->help));
    return list;
}

static json_t *command_json(const struct command *k)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:o}", "name", k->name, "usage", k->usage, "summary",
                     k->summary, "help", k->help, "options", options_json(k->options));
}

static json_t *settings_json(void)
{
    json_t *list = json_array();
    for (const struct setting *s = cli_settings; s->key; s++) {
        char name[80];
        snprintf(name, sizeof name, "DAYBOOK_%s%s", s->key, s->secret ? "_FILE" : "");
        json_array_append_new(list, json_pack("{s:s,s:s?,s:s}", "name", name, "default",
                                              s->default_value, "help", s->help));
    }
    return list;
}

static json_t *all_json(void)
{
    json_t *list = json_array(), *exits = json_array();
    for (const struct command *k = commands; k->name; k++)
        json_array_append_new(list, command_json(k));
    for (size_t i = 0; i < ARRAY_LEN(exit_codes); i++)
        json_array_append_new(exits, json_pack("{s:i,s:s}", "status", exit_codes[i].status, "means",
                                               exit_codes[i].means));
    return json_pack("{s:o,s:o,s:o,s:o}", "commands", list, "options", options_json(global_options),
                     "settings", settings_json(), "exitCodes", exits);
}

/* --- public ----------------------------------------------------------------------------------- */

int help_all(const struct cli *c)
{
    if (c->json)
        return rows_print_json(c, all_json());
    (void)printf("daybook - operate and use a Daybook installation\n\n"
                 "  daybook [OPTION...] COMMAND [WORD...] [OPTION...]\n\n%s\nCommands:\n",
                 begin_here);
    for (const struct command *k = commands; k->name; k++)
        (void)printf("  %-10s  %s\n", k->name, k->summary);
    (void)printf("\nOptions of all commands:\n");
    print_options(global_options);
    (void)printf("\n");
    print_exit_codes();
    return 0;
}

int help_command(const struct cli *c, const struct command *k)
{
    if (c->json)
        return rows_print_json(c, command_json(k));
    (void)printf("daybook %s%s%s\n    %s\n\n%s\n", k->name, *k->usage ? " " : "", k->usage,
                 k->summary, k->help);
    if (k->options) {
        (void)printf("\nOptions:\n");
        print_options(k->options);
    }
    (void)printf("\nOptions of all commands:\n");
    print_options(global_options);
    (void)printf("\n");
    print_exit_codes();
    return 0;
}

int cmd_help(struct cli *c)
{
    const char *topic = c->args.nwords ? c->args.words[0] : NULL;
    const struct command *k = topic ? find_command(topic) : NULL;
    if (!topic)
        return help_all(c);
    if (k)
        return help_command(c, k);
    if (strcmp(topic, "settings") != 0)
        return cli_usage(c, "there is no command %.60s", topic);
    if (c->json)
        return rows_print_json(c, json_pack("{s:o}", "settings", settings_json()));
    print_settings();
    return 0;
}
