/*
 * completion.c - scripts for shells, made from the command table and the schema, so that they are
 * never behind the program.
 */
#include "cli/cli.h"
#include "common/schema.h"

static void print_words(const struct option *o)
{
    for (; o && o->name; o++)
        (void)printf(" --%s", o->name);
}

static void print_methods(void)
{
    size_t n;
    const struct schema_service *s = schema_services(&n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < s[i].nmethods; k++)
            (void)printf(" %s/%s", s[i].name, s[i].methods[k].name);
}

static void print_areas(bool consumers_only)
{
    for (const struct area *a = areas; a->name; a++)
        if (!consumers_only || a->consumes)
            (void)printf(" %s", a->name);
}

/* What the first word after a command may be. */
static void print_first_words(void)
{
    (void)printf("        call) words=\"");
    print_methods();
    (void)printf("\" ;;\n        import) words=\"customers orders\" ;;\n"
                 "        events) words=\"tail read replay\" ;;\n"
                 "        completion) words=\"bash zsh\" ;;\n        migrate) words=\"");
    print_areas(false);
    (void)printf("\" ;;\n        rebuild) words=\"");
    print_areas(true);
    (void)printf("\" ;;\n        help) words=\"");
    for (const struct command *k = commands; k->name; k++)
        (void)printf(" %s", k->name);
    (void)printf("\" ;;\n");
}

static void print_option_words(void)
{
    for (const struct command *k = commands; k->name; k++) {
        (void)printf("        %s) options=\"", k->name);
        print_words(global_options);
        print_words(k->options);
        (void)printf("\" ;;\n");
    }
}

/* Options whose value is a file, or one of some words. */
static const char values[] = "    case $prev in\n"
                             "        --result) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
                             "        --kind) COMPREPLY=($(compgen -W 'daemon edge system' -- "
                             "\"$cur\")); return ;;\n"
                             "    esac\n";

static void print_bash(void)
{
    (void)printf("# bash completion of daybook; . <(daybook completion bash)\n"
                 "_daybook() {\n"
                 "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                 "    local command= words= options= i nth=0\n%s"
                 "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                 "        case ${COMP_WORDS[i]} in\n"
                 "            --tenant|--as|--timeout|--key) ((i++)) ;;\n"
                 "            -*) ;;\n"
                 "            *) [ -z \"$command\" ] && command=${COMP_WORDS[i]} || ((nth++)) ;;\n"
                 "        esac\n"
                 "    done\n"
                 "    case $command in\n        '') words=\"",
                 values);
    for (const struct command *k = commands; k->name; k++)
        (void)printf(" %s", k->name);
    (void)printf("\" ;;\n");
    print_first_words();
    (void)printf("    esac\n    case $command in\n        '') options=\"");
    print_words(global_options);
    (void)printf("\" ;;\n");
    print_option_words();
    (void)printf(
        "    esac\n"
        "    if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
        "    elif ((nth == 0)) && [ -n \"$words\" ]; then\n"
        "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
        "    else COMPREPLY=($(compgen -f -- \"$cur\")); fi\n"
        "}\n"
        "complete -o filenames -F _daybook daybook\n");
}

/* zsh speaks bash's completion well enough; one script is one to keep right. */
static void print_zsh(void)
{
    (void)printf("#compdef daybook\n"
                 "autoload -U +X bashcompinit && bashcompinit\n");
    print_bash();
}

int cmd_completion(struct cli *c)
{
    const char *shell = c->args.words[0];
    schema_init();
    if (strcmp(shell, "bash") == 0)
        print_bash();
    else if (strcmp(shell, "zsh") == 0)
        print_zsh();
    schema_fini();
    if (strcmp(shell, "bash") != 0 && strcmp(shell, "zsh") != 0)
        return cli_usage(c, "there is completion for bash and zsh, not %.40s", shell);
    return 0;
}
