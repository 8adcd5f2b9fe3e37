/* Words and options of a command line. */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "cli/args.h"

static const struct option global[] = {
    { "tenant", "ID", "" },
    { "json", NULL, "" },
    { "help", NULL, "" },
    { .name = NULL },
};
static const struct option own[] = {
    { "limit", "N", "" },
    { .name = NULL },
};

#define ARGV_MAX 12

/* "a b c" as argv behind the program's name; text is cut up. */
static int split(char *text, char *argv[static ARGV_MAX])
{
    static char name[] = "daybook";
    int n = 0;
    argv[n++] = name;
    for (char *word; (word = strsep(&text, " "));)
        argv[n++] = word;
    return n;
}

static void the_command_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int want;
    } cases[] = {
        { "call", 1 },
        { "--json call x", 2 },
        { "--tenant T call x", 3 },
        { "--tenant=T call x", 2 },
        { "--json --help", 3 }, /* none: argc */
        { "--limit 3 call", -1 },
        { "-x call", -1 },
        { "-h", 2 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[100], *argv[ARGV_MAX];
        struct args a = { .nwords = 0 };
        snprintf(text, sizeof text, "%s", cases[i].line);
        int argc = split(text, argv);
        int got = args_command(argc, argv, global, &a);
        if (got != cases[i].want || (got < 0) != (a.fault[0] != '\0'))
            fail_msg("%s: %d, want %d (%s)", cases[i].line, got, cases[i].want, a.fault);
    }
}

static void options_stand_anywhere(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        bool good;
        const char *words; /* joined */
        const char *tenant, *limit;
        bool json;
    } cases[] = {
        { "call", true, "", NULL, NULL, false },
        { "call a b", true, "ab", NULL, NULL, false },
        { "call a --json b --limit 3", true, "ab", NULL, "3", true },
        { "call --limit=3 --tenant=x", true, "", "x", "3", false },
        { "call --limit 1 --limit 2", true, "", NULL, "2", false },
        { "call --limit= a", true, "a", NULL, "", false },
        { "call -", true, "-", NULL, NULL, false },
        { "call -- --json -x", true, "--json-x", NULL, NULL, false },
        { "call --limit", false, "", NULL, NULL, false },
        { "call --json=1", false, "", NULL, NULL, false },
        { "call --other", false, "", NULL, NULL, false },
        { "call -x", false, "", NULL, NULL, false },
        { "call --limi 3", false, "", NULL, NULL, false },
        { "call --limits 3", false, "", NULL, NULL, false },
        { "call a b c d e f g h i j", true, "abcdefghij", NULL, NULL, false },
    };
    static const struct option *const tables[] = { global, own, NULL };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[100], words[100] = "", *argv[ARGV_MAX];
        struct args a;
        snprintf(text, sizeof text, "%s", cases[i].line);
        int argc = split(text, argv);
        bool good = args_parse(argc, argv, 1, tables, ARRAY_LEN(tables), &a);
        if (good != cases[i].good || good == (a.fault[0] != '\0'))
            fail_msg("%s: %s", cases[i].line, a.fault);
        if (!good)
            continue;
        for (size_t w = 0, at = 0; w < a.nwords; w++)
            at += (size_t)snprintf(words + at, sizeof words - at, "%s", a.words[w]);
        assert_string_equal(words, cases[i].words);
        assert_int_equal(args_has(&a, "json"), cases[i].json);
        const char *values[][2] = { { args_value(&a, "tenant"), cases[i].tenant },
                                    { args_value(&a, "limit"), cases[i].limit } };
        for (size_t v = 0; v < ARRAY_LEN(values); v++)
            if (!values[v][0] != !values[v][1] ||
                (values[v][0] && strcmp(values[v][0], values[v][1]) != 0))
                fail_msg("%s: %s, want %s", cases[i].line, values[v][0], values[v][1]);
    }
}

static void too_much_is_refused(void **state)
{
    (void)state;
    static char word[] = "w", flag[] = "--json", name[] = "daybook";
    static const struct option *const tables[] = { global };
    char *argv[ARGS_WORDS_MAX + ARGS_OPTIONS_MAX + 2];
    struct args a;
    argv[0] = name;
    for (size_t i = 1; i < ARRAY_LEN(argv); i++)
        argv[i] = word;
    assert_true(args_parse(ARGS_WORDS_MAX + 1, argv, -1, tables, 1, &a));
    assert_false(args_parse(ARGS_WORDS_MAX + 2, argv, -1, tables, 1, &a));
    for (size_t i = 1; i < ARRAY_LEN(argv); i++)
        argv[i] = flag;
    assert_true(args_parse(ARGS_OPTIONS_MAX + 1, argv, -1, tables, 1, &a));
    assert_false(args_parse(ARGS_OPTIONS_MAX + 2, argv, -1, tables, 1, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_command_is_found),
        cmocka_unit_test(options_stand_anywhere),
        cmocka_unit_test(too_much_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
