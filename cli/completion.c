/*
 * completion.c - scripts for shells, made from the command table and the schema, so that they are
 * never behind the program.
 *
 * One function, in what sh, bash and zsh have in common, looks at the words before the cursor and
 * says what may stand there; each shell has its few lines around it that offer it.
 */
#include "cli/cli.h"
#include "common/schema.h"

/* Words that a place takes, which are not of one kind of name. */
static const struct place {
    const char *command;
    const char
        *position;     /* a shell pattern of "NTH FIRST": how many words stand before, the first */
    const char *words; /* themselves, or one of the names below */
} places[] = {
    { "call", "0 ", "%methods" },
    { "call", "1 *", "%at-files" },
    { "import", "0 ", "customers orders" },
    { "import", "1 *", "%files" },
    { "events", "0 ", "tail read parked replay" },
    { "events", "1 parked", "%consumers" },
    { "events", "1 replay", "%consumers" },
    { "timers", "0 ", "parked replay" },
    { "webhook", "0 ", "listen" },
    { "migrate", "*", "%areas" },
    { "audit", "0 ", "verify" },
    { "rebuild", "0 ", "%builders" },
    { "keygen", "0 ", "%files" },
    { "clock", "0 ", "%files" },
    { "completion", "0 ", "bash zsh" },
    { "help", "0 ", "%commands" },
};

/* --- lists ------------------------------------------------------------------------------------ */

/* The last part of its name where that is enough. */
static const char *short_name(const struct schema_service *s)
{
    const char *dot = strrchr(s->name, '.');
    return dot && call_find_service(dot + 1) == s ? dot + 1 : s->name;
}

static void print_services(const char *ending)
{
    size_t n;
    const struct schema_service *s = schema_services(&n);
    for (size_t i = 0; i < n; i++)
        (void)printf(" %s%s", short_name(&s[i]), ending);
}

static void print_methods(void)
{
    size_t n;
    const struct schema_service *s = schema_services(&n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < s[i].nmethods; k++)
            (void)printf(" %s/%s", short_name(&s[i]), s[i].methods[k].name);
}

static void print_full_methods(void)
{
    size_t n;
    const struct schema_service *s = schema_services(&n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < s[i].nmethods; k++)
            (void)printf(" %s/%s", s[i].name, s[i].methods[k].name);
}

static bool is_any(const struct area *a)
{
    return a->name != NULL;
}

static bool is_consumer(const struct area *a)
{
    return a->consumes;
}

static bool is_builder(const struct area *a)
{
    return a->builds;
}

static void print_areas(bool (*is_meant)(const struct area *a))
{
    for (const struct area *a = areas; a->name; a++)
        if (is_meant(a))
            (void)printf(" %s", a->name);
}

static void print_commands(const char *more)
{
    for (const struct command *k = commands; k->name; k++)
        (void)printf(" %s", k->name);
    (void)printf("%s", more);
}

static void print_options(const struct option *o)
{
    for (; o && o->name; o++)
        (void)printf(" --%s", o->name);
}

/* --- values of options ------------------------------------------------------------------------ */

/* Those of a name that stands in several tables are of one kind. */
static void each_value_option(void (*fn)(const struct option *))
{
    for (const struct option *o = global_options; o->name; o++)
        if (o->value)
            fn(o);
    for (const struct command *k = commands; k->name; k++)
        for (const struct option *o = k->options; o && o->name; o++)
            if (o->value)
                fn(o);
}

static void print_pattern(const struct option *o)
{
    (void)printf("--%s|", o->name);
}

static void print_value(const struct option *o)
{
    if (strcmp(o->value, "FILE") == 0) {
        (void)printf("        --%s) daybook_files=1 ;;\n", o->name);
    } else if (strcmp(o->value, "@FILE") == 0) {
        (void)printf("        --%s) case $1 in @*) daybook_files=@ ;; esac ;;\n", o->name);
    } else if (strchr(o->value, '|')) {
        (void)printf("        --%s) daybook_words='", o->name);
        for (const char *p = o->value; *p; p++)
            (void)putchar(*p == '|' ? ' ' : *p);
        (void)printf("' ;;\n");
    }
}

/* --- the common part -------------------------------------------------------------------------- */

static void print_place(const struct place *p)
{
    size_t len = strcspn(p->position, "*");
    (void)printf("        '%s %.*s'%s) ", p->command, (int)len, p->position, p->position + len);
    if (strcmp(p->words, "%files") == 0) {
        (void)printf("daybook_files=1 ;;\n");
        return;
    }
    if (strcmp(p->words, "%at-files") == 0) {
        (void)printf("case $1 in @*) daybook_files=@ ;; esac ;;\n");
        return;
    }
    if (strcmp(p->words, "%methods") == 0) {
        (void)printf("_daybook_methods \"$1\" \"$list\" ;;\n");
        return;
    }
    (void)printf("daybook_words='");
    if (strcmp(p->words, "%areas") == 0)
        print_areas(is_any);
    else if (strcmp(p->words, "%consumers") == 0)
        print_areas(is_consumer);
    else if (strcmp(p->words, "%builders") == 0)
        print_areas(is_builder);
    else if (strcmp(p->words, "%commands") == 0)
        print_commands(" settings");
    else
        (void)printf("%s", p->words);
    (void)printf("' ;;\n");
}

/* Service by service first; a word that ends in "/" is not the end of it. */
static void print_method_function(void)
{
    (void)printf("_daybook_methods() {\n    case $2$1 in\n        list*) daybook_words='");
    print_services("");
    (void)printf("' ;;\n        daybook.*) daybook_words='");
    print_full_methods();
    (void)printf("' ;;\n        */*) daybook_words='");
    print_methods();
    (void)printf("' ;;\n        *) daybook_words='");
    print_services("/");
    (void)printf("' daybook_open=1 ;;\n    esac\n}\n");
}

static void print_what_function(void)
{
    (void)printf(
        "# The words up to the cursor -> daybook_words, daybook_files (@: behind that sign),\n"
        "# daybook_open (no space after the word).\n"
        "_daybook_what() {\n"
        "    local command= first= nth=0 option= list=\n"
        "    daybook_words= daybook_files= daybook_open=\n"
        "    shift\n"
        "    while [ $# -gt 1 ]; do\n"
        "        case $1 in\n"
        "            --list) list=list; shift ;;\n"
        "            ");
    each_value_option(print_pattern);
    (void)printf("--=)\n"
                 "                option=$1; shift\n"
                 "                [ $# -gt 1 ] && [ \"$1\" = = ] && shift\n"
                 "                [ $# -gt 1 ] && { option=; shift; } ;;\n"
                 "            --*) shift ;;\n"
                 "            *)\n"
                 "                if [ -z \"$command\" ]; then command=$1\n"
                 "                else [ $nth -gt 0 ] || first=$1; nth=$((nth + 1)); fi\n"
                 "                shift ;;\n"
                 "        esac\n"
                 "    done\n"
                 "    case $option in\n");
    each_value_option(print_value);
    (void)printf("    esac\n    [ -z \"$option\" ] || return 0\n    case $1 in -*)\n"
                 "        daybook_words='");
    print_options(global_options);
    (void)printf("'\n        case $command in\n");
    for (const struct command *k = commands; k->name; k++) {
        if (!k->options)
            continue;
        (void)printf("            %s) daybook_words=\"$daybook_words", k->name);
        print_options(k->options);
        (void)printf("\" ;;\n");
    }
    (void)printf("        esac\n        return 0 ;;\n    esac\n"
                 "    case \"$command $nth $first\" in\n        ' 0 ') daybook_words='");
    print_commands("");
    (void)printf("' ;;\n");
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        print_place(&places[i]);
    (void)printf("    esac\n    return 0\n}\n");
}

/* --- shells ----------------------------------------------------------------------------------- */

static void print_bash(void)
{
    (void)printf("# bash completion of daybook; . <(daybook completion bash)\n");
    print_method_function();
    print_what_function();
    (void)printf(
        "_daybook() {\n"
        "    local cur=${COMP_WORDS[COMP_CWORD]} daybook_words daybook_files daybook_open\n"
        "    _daybook_what \"${COMP_WORDS[@]:0:COMP_CWORD+1}\"\n"
        "    [ \"$cur\" != = ] || cur=\n"
        "    COMPREPLY=($(compgen -W \"$daybook_words\" -- \"$cur\"))\n"
        "    [ -z \"$daybook_open\" ] || compopt -o nospace 2>/dev/null\n"
        "    case $daybook_files in\n"
        "        1) compopt -o filenames 2>/dev/null\n"
        "           COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
        "        @) compopt -o nospace 2>/dev/null\n"
        "           COMPREPLY=($(compgen -P @ -f -- \"${cur#@}\")) ;;\n"
        "    esac\n"
        "}\n"
        "complete -F _daybook daybook\n");
}

/* The file is the body of the function _daybook, which compinit loads at the first TAB. */
static void print_zsh(void)
{
    (void)printf("#compdef daybook\n");
    print_method_function();
    print_what_function();
    (void)printf("local daybook_words daybook_files daybook_open\n"
                 "_daybook_what \"${(@)words[1,CURRENT]}\"\n"
                 "if [[ -n $daybook_open ]]; then compadd -S '' -- ${=daybook_words}\n"
                 "elif [[ $daybook_files = @ ]]; then compset -P @; _files\n"
                 "elif [[ -n $daybook_files ]]; then _files\n"
                 "elif [[ -n $daybook_words ]]; then compadd -- ${=daybook_words}\n"
                 "fi\n");
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
