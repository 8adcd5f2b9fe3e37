/*
 * main.c - from argv to a command.
 */
#include "cli/cli.h"

#include "common/version.h"

int cmd_version(struct cli *c)
{
    if (c->json)
        (void)printf("{\"version\":\"%s\",\"commit\":\"%s\"}\n", daybook_version(),
                     daybook_commit());
    else
        (void)printf("daybook %s (%s)\n", daybook_version(), daybook_commit());
    return 0;
}

/* Known before argv is understood, so that a failure to understand it is told as JSON too. */
static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
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
        return help_all(c);
    return cli_usage(c, "which command? Try daybook --help");
}

static int with_command(struct cli *c, int argc, char **argv, int at)
{
    c->command = find_command(argv[at]);
    if (!c->command)
        return cli_usage(c, "there is no command %.60s; try daybook --help", argv[at]);

    const struct option *const tables[] = { global_options, c->command->options };
    if (!args_parse(argc, argv, at, tables, ARRAY_LEN(tables), &c->args))
        return cli_usage(c, "%s; see daybook help %s", c->args.fault, c->command->name);
    c->json = args_has(&c->args, "json");
    return args_has(&c->args, "help") ? help_command(c, c->command) : run(c);
}

int main(int argc, char **argv)
{
    struct cli c = { .json = wants_json(argc, argv) };
    int at = args_command(argc, argv, global_options, &c.args);
    int status = at < 0       ? cli_usage(&c, "%s", c.args.fault)
                 : at == argc ? without_command(&c, argc, argv)
                              : with_command(&c, argc, argv, at);
    /* A full disk or a closed pipe must not look like success. */
    if (fflush(stdout) != 0 && status == 0)
        status = cli_fail(&c, ERR_UNAVAILABLE, "the output cannot be written");
    return status;
}
