/*
 * admin_db.c - see admin_db.h.
 */
#include "tests/support/admin_db.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/clock.h"
#include "tests/support/slack.h"

#define LIMIT_US slack(20 * SECOND_US)

struct db *admin;

void must(enum err e)
{
    if (e)
        fail_msg("unexpected %s", err_name(e));
}

void admin_open(const char *conninfo)
{
    admin = db_new(conninfo, "test_admin");
    assert_non_null(admin);
}

void admin_close(void)
{
    db_free(admin);
    admin = NULL;
}

void script(const char *sql)
{
    must(db_script(admin, sql, clock_monotonic_us() + LIMIT_US));
}

int64_t number(const char *sql)
{
    return number_in(admin, sql);
}

int64_t number_in(struct db *db, const char *sql)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct db_stmt stmt = { "number", sql, 0, NULL };

    must(db_exec(db, &stmt, NULL, &res));
    struct db_row row = { .res = res };
    int64_t n = PQntuples(res) ? db_row_i64(&row, "n") : -1;
    assert_false(row.bad);
    return n;
}

void wait_for(const char *sql)
{
    int64_t until_us = clock_monotonic_us() + LIMIT_US;

    while (number(sql) == 0)
        if (clock_monotonic_us() > until_us)
            fail_msg("never true: %s", sql);
}

void wait_for_number(const char *sql, int64_t want)
{
    int64_t until_us = clock_monotonic_us() + LIMIT_US, is;

    while ((is = number(sql)) != want)
        if (clock_monotonic_us() > until_us)
            fail_msg("%s is %" PRId64 ", want %" PRId64, sql, is, want);
}
