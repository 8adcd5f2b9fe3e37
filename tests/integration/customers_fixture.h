/*
 * customers_fixture.h - what the tests of customers share: the rig with their tables.
 */
#ifndef DAYBOOK_TESTS_CUSTOMERS_FIXTURE_H
#define DAYBOOK_TESTS_CUSTOMERS_FIXTURE_H

#include "services/customers/customers.h"
#include "services/customers/sql.h"
#include "common/sbuf.h"
#include "tests/support/rig.h"

#include <setjmp.h>
#include <cmocka.h>

static struct rig *rig;

UNUSED static int start(void **state)
{
    (void)state;
    rig = rig_start("customers", customers_migrations, customers_migrations_len, customers_methods,
                    customers_methods_len);
    return 0;
}

UNUSED static int stop(void **state)
{
    (void)state;
    rig_stop(rig);
    return 0;
}

UNUSED static const char *customer_of(const char *owner, const char *name)
{
    static char ids[8][ID_TEXT_MAX];
    static unsigned next;
    char *id = ids[next++ % ARRAY_LEN(ids)];
    json_t *reply = rig_ok(
        rig, owner, CUSTOMER_SERVICE, "Create",
        "{\"customer\":{\"name\":\"%s\",\"externalRef\":{\"source\":\"erp\",\"id\":\"%s\"}}}", name,
        name);

    snprintf(id, ID_TEXT_MAX, "%s", rig_text(reply, "customer.id"));
    json_decref(reply);
    return id;
}

#endif
