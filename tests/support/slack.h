/*
 * slack.h - a bound on waiting, longer for programs that run several times slower:
 * DAYBOOK_TEST_SLACK (1 when not set) is what tests/run-all.sh sets.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_SLACK_H
#define DAYBOOK_TESTS_SUPPORT_SLACK_H

#include <stdlib.h>

#include "common/base.h"

UNUSED static int64_t slack(int64_t us)
{
    const char *text = getenv("DAYBOOK_TEST_SLACK");
    long factor = text ? strtol(text, NULL, 10) : 1;
    return us * MAX(factor, 1);
}

#endif
