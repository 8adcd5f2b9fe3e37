/*
 * args.c - see args.h.
 */
#include "cli/args.h"

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] != '\0';
}

static const struct option *find(const struct option *table, const char *name, size_t len)
{
    for (; table && table->name; table++)
        if (strlen(table->name) == len && memcmp(table->name, name, len) == 0)
            return table;
    return NULL;
}

/* "-h" is what everybody tries first. */
static const char *name_of(const char *word, size_t *len_out)
{
    const char *name = strcmp(word, "-h") == 0       ? "help"
                       : strncmp(word, "--", 2) == 0 ? word + 2
                                                     : "";
    *len_out = strcspn(name, "=");
    return name;
}

int args_command(int argc, char *const *argv, const struct option *global, struct args *out)
{
    for (int i = 1; i < argc; i++) {
        if (!is_option(argv[i]))
            return i;
        size_t len;
        const char *name = name_of(argv[i], &len);
        const struct option *o = find(global, name, len);
        if (!o) {
            snprintf(out->fault, sizeof out->fault, "%.60s is not an option before a command",
                     argv[i]);
            return -1;
        }
        if (o->value && name[len] == '\0')
            i++;
    }
    return argc;
}

static bool set_option(struct args *out, const struct option *o, const char *value)
{
    if (out->nset == ARGS_OPTIONS_MAX) {
        snprintf(out->fault, sizeof out->fault, "too many options");
        return false;
    }
    out->set[out->nset].option = o;
    out->set[out->nset++].value = value;
    return true;
}

/* How many words it took; 0: a fault. */
static int take_option(int left, char *const *argv, const struct option *const *tables,
                       size_t ntables, struct args *out)
{
    size_t len;
    const char *name = name_of(argv[0], &len);
    const struct option *o = NULL;

    for (size_t t = 0; t < ntables && !o; t++)
        o = find(tables[t], name, len);
    bool joined = name[len] == '=';
    if (!o)
        snprintf(out->fault, sizeof out->fault, "unknown option %.80s", argv[0]);
    else if (!o->value && joined)
        snprintf(out->fault, sizeof out->fault, "--%s takes no value", o->name);
    else if (!o->value)
        return set_option(out, o, "") ? 1 : 0;
    else if (joined)
        return set_option(out, o, name + len + 1) ? 1 : 0;
    else if (left < 2)
        snprintf(out->fault, sizeof out->fault, "--%s needs a value: %s", o->name, o->value);
    else
        return set_option(out, o, argv[1]) ? 2 : 0;
    return 0;
}

bool args_parse(int argc, char *const *argv, int skip, const struct option *const *tables,
                size_t ntables, struct args *out)
{
    bool words_only = false;
    *out = (struct args){ .nwords = 0 };

    for (int i = 1; i < argc;) {
        if (i == skip) {
            i++;
        } else if (!words_only && strcmp(argv[i], "--") == 0) {
            words_only = true;
            i++;
        } else if (!words_only && is_option(argv[i])) {
            int taken = take_option(argc - i, argv + i, tables, ntables, out);
            if (taken == 0)
                return false;
            i += taken;
        } else if (out->nwords == ARGS_WORDS_MAX) {
            snprintf(out->fault, sizeof out->fault, "too many words");
            return false;
        } else {
            out->words[out->nwords++] = argv[i++];
        }
    }
    return true;
}

const char *args_value(const struct args *a, const char *name)
{
    for (size_t i = a->nset; i-- > 0;)
        if (strcmp(a->set[i].option->name, name) == 0)
            return a->set[i].value;
    return NULL;
}

bool args_has(const struct args *a, const char *name)
{
    return args_value(a, name) != NULL;
}
