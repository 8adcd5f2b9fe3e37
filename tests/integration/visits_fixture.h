/*
 * visits_fixture.h - what the tests of visits share: the rig with one customer and one contact, and
 * a visit to them.
 */
#ifndef DAYBOOK_TESTS_VISITS_FIXTURE_H
#define DAYBOOK_TESTS_VISITS_FIXTURE_H

#include "services/visits/sql.h"
#include "services/visits/visits.h"
#include "tests/support/rig.h"

#include <setjmp.h>
#include <cmocka.h>

#define CUSTOMER "05000000-0000-7000-8000-000000000001"
#define CONTACT "06000000-0000-7000-8000-000000000001"
#define OBJECT "\"customerId\":\"" CUSTOMER "\",\"contactId\":\"" CONTACT "\""
#define REPORT                                                                                     \
    "\"report\":{\"participants\":[\"owner\"],\"content\":\"c\",\"needs\":\"n\",\"feedback\":"     \
    "\"f\","                                                                                       \
    "\"outcome\":\"GOAL_OUTCOME_MET\",\"contactName\":\"Li\",\"contactPosition\":\"owner\","       \
    "\"salesOutcome\":\"SALES_OUTCOME_NONE\","                                                     \
    "\"nextSteps\":[{\"text\":\"s\",\"date\":\"2027-12-31\"}]%s}"

static struct rig *rig;

UNUSED static int start(void **state)
{
    (void)state;
    rig = rig_start("visits", visits_migrations, visits_migrations_len, visits_methods,
                    visits_methods_len);
    (void)rig_value(rig, "INSERT INTO visits.customer (tenant_id, id, name, owner_id, address, "
                         "latitude, longitude) VALUES ('01000000-0000-7000-8000-00000000000a', "
                         "'" CUSTOMER "', '海棠路商行', '02000000-0000-7000-8000-000000000004', "
                         "'月季路90号', 31.2, 121.4) RETURNING 'x'");
    rig_hear(rig, &visits_consumer, false, "daybook.customers.v1.ContactCreated",
             "2026-11-15T00:00:00Z",
             "{\"contact\":{\"id\":\"" CONTACT "\",\"customerId\":\"" CUSTOMER "\"}}");
    return 0;
}

UNUSED static int stop(void **state)
{
    (void)state;
    rig_stop(rig);
    return 0;
}

/* A visit of "rep" on that day at 14:00 local; the id lives in a static buffer. */
UNUSED static const char *request(const char *day)
{
    static char ids[4][ID_TEXT_MAX];
    static unsigned next;
    char *id = ids[next++ % ARRAY_LEN(ids)];
    json_t *reply =
        rig_ok(rig, "rep", VISIT_SERVICE, "Request",
               "{\"visit\":{" OBJECT ",\"purposes\":[\"VISIT_PURPOSE_NEEDS_SURVEY\"],"
               "\"startsAt\":\"%sT06:00:00Z\",\"endsAt\":\"%sT07:00:00Z\",\"goal\":\"g\"}}",
               day, day);

    snprintf(id, ID_TEXT_MAX, "%s", rig_text(reply, "visit.id"));
    json_decref(reply);
    return id;
}

/* A visit of "rep" that ended on Friday at 16:00 local. */
UNUSED static const char *ended_on_friday(void)
{
    rig_time(rig, "2026-11-26T01:00:00Z");
    const char *id = request("2026-11-27");
    rig_time(rig, "2026-11-27T06:00:00Z");
    json_decref(rig_ok(rig, "rep", VISIT_SERVICE, "CheckIn", "{\"visitId\":\"%s\"}", id));
    rig_time(rig, "2026-11-27T08:00:00Z");
    json_decref(rig_ok(rig, "rep", VISIT_SERVICE, "CheckOut", "{\"visitId\":\"%s\"}", id));
    return id;
}

/* The report of that visit. */
UNUSED static json_t *report(const char *id, const char *submitted_at)
{
    rig_time(rig, submitted_at);
    return rig_ok(rig, "rep", VISIT_SERVICE, "SubmitReport", "{\"visitId\":\"%s\"," REPORT "}", id,
                  ",\"noCommitments\":true");
}

#endif
