/* `daybook events` against a bus that needs several calls to look through its log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <zmq.h>

#include "common/base.h"
#include "common/schema.h"
#include "daybook/visits/v1/events.pb-c.h"
#include "tests/support/fake_bus.h"

#define WANTED "daybook.visits.v1.VisitCancelled"

static void *zmq;
static struct fake_bus *bus;

static void add(const ProtobufCMessage *event)
{
    static const struct id tenant = { .b = { 1, [6] = 0x70, [8] = 0x80, [15] = 0xa0 } };
    (void)fake_bus_add(bus, tenant, "visits/1", 1, event);
}

static void add_others(int n)
{
    Daybook__Visits__V1__VisitApproved m = DAYBOOK__VISITS__V1__VISIT_APPROVED__INIT;
    for (int i = 0; i < n; i++)
        add(&m.base);
}

static void add_wanted(void)
{
    Daybook__Visits__V1__VisitCancelled m = DAYBOOK__VISITS__V1__VISIT_CANCELLED__INIT;
    add(&m.base);
}

/* The seqs that the command shows, parted by blanks. */
static void expect(const char *command, const char *want)
{
    const struct bus_address *a = fake_bus_address(bus);
    char line[1024], seqs[256] = "";
    size_t n = 0;
    int len = snprintf(line, sizeof line,
                       "env -u DAYBOOK_BUS_SERVER_KEY DAYBOOK_BUS_ENDPOINT=%s DAYBOOK_BUS_EVENTS=%s"
                       " timeout 30 %s/daybook %s",
                       a->endpoint, a->events, getenv("DAYBOOK_BIN"), command);
    assert_true(len > 0 && (size_t)len < sizeof line);
    FILE *f = popen(line, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        n += (size_t)snprintf(seqs + n, sizeof seqs - n, "%s%ld", n ? " " : "",
                              strtol(line, NULL, 10));
    assert_int_equal(pclose(f), 0);
    if (strcmp(seqs, want) != 0)
        fail_msg("%s: want %s, got %s", command, want, seqs);
}

static void what_matches_rarely_is_found_all_the_same(void **state)
{
    (void)state;
    bus = fake_bus_start(zmq);
    fake_bus_search(bus, 10);
    add_others(35); /* several empty pages, then short ones */
    add_wanted();
    add_others(30);
    add_wanted();
    add_others(25);
    expect("events read --types " WANTED " --after 0", "36 67");
    expect("events read --types " WANTED " --after 0 --limit 1", "36");
    expect("events read --types " WANTED " --after 67", "");
    expect("events tail --types " WANTED " --after 0 --limit 2", "36 67");
    fake_bus_stop(bus);
}

static void full_pages_are_followed_by_the_next(void **state)
{
    (void)state;
    bus = fake_bus_start(zmq);
    add_others(2500);
    add_wanted();
    expect("events tail --after 2499 --limit 2", "2500 2501");
    expect("events read --after 0 --limit 0 | tail -n 2", "2500 2501");
    expect("events tail --after 0 --limit 2501 | tail -n 2", "2500 2501");
    fake_bus_search(bus, 1000); /* who asks outlives a page too */
    expect("events read --tenant 01000000-0000-7000-8000-0000000000a0 --limit 0 | tail -n 2",
           "2500 2501");
    fake_bus_stop(bus);
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(getenv("DAYBOOK_BIN"));
    schema_init();
    zmq = zmq_ctx_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    zmq_ctx_term(zmq);
    schema_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_matches_rarely_is_found_all_the_same),
        cmocka_unit_test(full_pages_are_followed_by_the_next),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
