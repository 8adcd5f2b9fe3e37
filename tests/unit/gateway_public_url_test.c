/* What may stand for the gateway to the outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/gateway/public_url.h"

static void a_url_has_a_host_and_perhaps_a_port(void **state)
{
    static const struct {
        const char *text, *url, *host;
    } cases[] = {
        { "https://daybook.example.com", "https://daybook.example.com", "daybook.example.com" },
        { "https://daybook.example.com/", "https://daybook.example.com", "daybook.example.com" },
        { "http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1" },
        { "http://[::1]:8080/", "http://[::1]:8080", "[::1]" },
    };
    struct public_url got;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(public_url_parse(cases[i].text, &got));
        assert_string_equal(got.url, cases[i].url);
        assert_string_equal(got.host, cases[i].host);
    }
}

static void anything_else_is_none(void **state)
{
    static const char *const cases[] = {
        "",
        "daybook.example.com",
        "https://",
        "https:///",
        "ftp://a",
        "https://a/b",
        "https://a?b",
        "https://a:",
        "https://a:b",
        "https://a:123456",
        "https://a b",
        "https://user@a",
        "https://[::1",
        "https://[]",
        "https://a//",
        "https://ä",
        "https://a\r\nX: y",
        "https://a:1:2",
    };
    char longest[PUBLIC_URL_MAX + 1] = "https://";
    struct public_url got;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (public_url_parse(cases[i], &got))
            fail_msg("%s", cases[i]);
    memset(longest + 8, 'a', PUBLIC_URL_MAX - 8);
    assert_false(public_url_parse(longest, &got));
    longest[PUBLIC_URL_MAX - 1] = '\0';
    assert_true(public_url_parse(longest, &got));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_has_a_host_and_perhaps_a_port),
        cmocka_unit_test(anything_else_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
