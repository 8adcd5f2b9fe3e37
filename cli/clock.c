/*
 * clock.c - turns the clock that daemons of a demo or a test share (common/clock.h, file:).
 */
#include <errno.h>

#include "cli/rows.h"
#include "common/clock.h"
#include "common/num.h"

#define RATE_MAX 1e6

int cmd_clock(struct cli *c)
{
    const char *path = c->args.words[0], *rate_text = args_value(&c->args, "rate");
    double rate = 1;
    int64_t us;
    char text[TIME_TEXT_MAX];

    if (!time_parse(c->args.words[1], &us))
        return cli_usage(c, "%.60s is not a time; write 2026-11-16T09:00:00+08:00",
                         c->args.words[1]);
    if (rate_text && (!num_double(rate_text, &rate) || rate < 0 || rate > RATE_MAX))
        return cli_usage(c, "--rate is from 0 to 1000000, not %.40s", rate_text);
    if (!clock_steer(path, us, rate))
        return cli_fail(c, ERR_FAILED_PRECONDITION, "%s: %s", path, strerror(errno));
    if (c->json)
        return rows_print_json(c, json_pack("{s:s,s:s,s:f}", "file", path, "time",
                                            time_format(us, text), "rate", rate));
    (void)printf("%s, rate %g\n", time_format(us, text), rate);
    return 0;
}
