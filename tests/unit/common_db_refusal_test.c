/* What libpq 15 says of connections that fail, read: the SQLSTATE, and the text for the log (F18). */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/db_refusal.h"

#define AT "connection to server at \"db\" (10.0.0.7), port 5432 failed: "
#define FULL "sorry, too many clients already"
#define PLACE "LOCATION:  InitProcess, proc.c:359\n"

static void the_code_behind_a_severity_counts_and_the_rest_is_for_the_log(void **state)
{
    (void)state;
    static const struct {
        const char *verbose, *sqlstate, *plain;
    } cases[] = {
        { AT "FATAL:  53300: " FULL "\n" PLACE, "53300", AT "FATAL:  " FULL },
        { "FATAL:  28P01: no\n" PLACE, "28P01", "FATAL:  no" },
        { AT "致命错误:  53300: 已经有太多客户\nLOCATION:  InitProcess, proc.c:359\n", "53300",
          AT "致命错误:  已经有太多客户" },
        { AT "FATAL:  53300: " FULL "\nDETAIL:  of it\n" PLACE, "53300",
          AT "FATAL:  " FULL "\nDETAIL:  of it" },
        /* of several: the last, but class 53 whatever comes after it */
        { AT "FATAL:  57P03: starting\n" PLACE AT "FATAL:  28000: no\n" PLACE, "28000",
          AT "FATAL:  starting\n" AT "FATAL:  no" },
        { AT "FATAL:  53300: " FULL "\n" PLACE AT "FATAL:  28000: no\n" PLACE, "53300",
          AT "FATAL:  " FULL "\n" AT "FATAL:  no" },
        { AT "Connection refused\n" AT "FATAL:  53300: " FULL "\n" PLACE, "53300",
          AT "Connection refused\n" AT "FATAL:  " FULL },
        /* no code */
        { AT "Connection refused\n", "08001", AT "Connection refused" },
        { "not connected in time", "08001", "not connected in time" },
        { "", "08001", "" },
        { "\n\n", "08001", "" },
        { AT "FATAL:  5330: short\n", "08001", AT "FATAL:  5330: short" },
        { AT "FATAL:  533000: long\n", "08001", AT "FATAL:  533000: long" },
        { AT "FATAL:  53x00: small letters\n", "08001", AT "FATAL:  53x00: small letters" },
        { AT "FATAL: 53300: one space\n", "08001", AT "FATAL: 53300: one space" },
        { ":  53300: no severity\n", "08001", ":  53300: no severity" },
        { AT "FATAL:  53300", "08001", AT "FATAL:  53300" },
        { AT "FATAL:  53300:", "08001", AT "FATAL:  53300:" },
        { AT "FATAL:  ", "08001", AT "FATAL:  " },
        { AT "FATAL:", "08001", AT "FATAL:" },
        { "FATAL:  \n53300: on the next line", "08001", "FATAL:  \n53300: on the next line" },
        /* a name that was made for it */
        { AT "FATAL:  3D000: database \"X:  53300: \" does not exist\n", "3D000",
          AT "FATAL:  database \"X:  53300: \" does not exist" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char sqlstate[DB_SQLSTATE_SIZE];
        db_refusal_sqlstate(cases[i].verbose, sqlstate);
        assert_string_equal(sqlstate, cases[i].sqlstate);
        char *plain = db_refusal_plain(cases[i].verbose);
        assert_string_equal(plain, cases[i].plain);
        free(plain);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_code_behind_a_severity_counts_and_the_rest_is_for_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
