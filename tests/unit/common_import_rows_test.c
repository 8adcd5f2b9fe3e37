/* From a row of a file to a message: headers, cells, and what is told of faulty ones (CUS-31). */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/import_rows.h"
#include "common/protojson.h"
#include "common/sbuf.h"
#include "common/schema.h"

static struct arena *arena;

struct text {
    const char *data;
    size_t at;
};

static ptrdiff_t read_text(void *arg, void *buf, size_t size)
{
    struct text *t = arg;
    size_t n = MIN(strlen(t->data + t->at), size);
    memcpy(buf, t->data + t->at, n);
    t->at += n;
    return (ptrdiff_t)n;
}

/* The row of a file of two lines as JSON, or "!<field>: <message>"; "#<why>" for its header. */
static char *convert(const char *kind, const char *file)
{
    struct text t = { .data = file };
    struct csv *csv = csv_new(&csv_limits_default, read_text, &t);
    struct csv_row row;
    struct csv_fault bad;
    struct import_map map;
    struct import_fault fault;
    struct sbuf out;
    sbuf_init(&out, MIB);
    assert_int_equal(csv_next(csv, &row, &bad), CSV_ROW);
    if (!import_map_header(import_kind(kind), &row, &map)) {
        sbuf_addf(&out, "#%s", map.why);
    } else {
        assert_int_equal(csv_next(csv, &row, &bad), CSV_ROW);
        ProtobufCMessage *m = import_row(&map, &row, "erp", arena, &fault);
        if (m) {
            assert_ptr_equal(m->descriptor, import_kind(kind)->row_type);
            assert_int_equal(protojson_write(m, 0, &out), ERR_OK);
        } else {
            sbuf_addf(&out, "!%s: %s", fault.field, fault.message);
        }
    }
    csv_free(csv);
    char *copy = arena_strdup(arena, out.data);
    sbuf_fini(&out);
    return copy;
}

static void check(const char *kind, const char *file, const char *want)
{
    const char *got = convert(kind, file);
    if (strcmp(got, want) != 0)
        fail_msg("%s\n%s\nwant:\n%s", file, got, want);
}

static void customers(void **state)
{
    (void)state;
    static const struct {
        const char *file, *want;
    } cases[] = {
        { "external_id,name\nS-1,嘉兴\n", "{\"customer\":{\"externalRef\":{\"source\":\"erp\","
                                          "\"id\":\"S-1\"},\"name\":\"嘉兴\"}}" },
        { "Name , EXTERNAL_ID,other\nA,S-1,x\n", /* any order, case, spaces; unknown ones left out
                                                  */
          "{\"customer\":{\"externalRef\":{\"source\":\"erp\",\"id\":\"S-1\"},\"name\":\"A\"}}" },
        { "external_id,name,owner_no,company_size,source,relation_type,lat,lon,potential_rating,"
          "key_account,contact_name,contact_phone\n"
          "S-1,A,E010,medium,market_research,existing,30.34,120.5,94,yes,张,199\n",
          "{\"customer\":{\"externalRef\":{\"source\":\"erp\",\"id\":\"S-1\"},\"name\":\"A\","
          "\"relationType\":\"RELATION_TYPE_EXISTING\",\"keyAccount\":true,"
          "\"source\":\"CUSTOMER_SOURCE_MARKET_RESEARCH\",\"companySize\":\"COMPANY_SIZE_MEDIUM\","
          "\"location\":{\"latitude\":30.34,\"longitude\":120.5},\"potentialRating\":94},"
          "\"contacts\":[{\"name\":\"张\",\"phone\":\"199\"}],\"ownerNo\":\"E010\"}" },
        { "external_id,name,lat,lon,contact_name\nS-1,A,,,\n",
          "{\"customer\":{\"externalRef\":{\"source\":\"erp\",\"id\":\"S-1\"},\"name\":\"A\"}}" },
        { "external_id,name\nS-1,\n", "!name: is empty" },
        { "external_id,name\n,A\n", "!external_id: is empty" },
        { "external_id,name\nS-1\n", "!: has 1 fields, but the header has 2" },
        { "external_id,name,company_size\nS-1,A,huge\n",
          "!company_size: must be one of small, medium, large" },
        { "external_id,name,company_size\nS-1,A,unspecified\n",
          "!company_size: must be one of small, medium, large" },
        { "external_id,name,lat,lon\nS-1,A,30.1,\n",
          "!lat: lat and lon belong together: give both or none" },
        { "external_id,name,lat,lon\nS-1,A,\"30,1\",2\n", "!lat: must be a number such as 31.23" },
        { "external_id,name,potential_rating\nS-1,A,9.5\n",
          "!potential_rating: must be a whole number" },
        { "external_id,name,potential_rating\nS-1,A,99999999999\n",
          "!potential_rating: must be a whole number" },
        { "external_id,name,key_account\nS-1,A,maybe\n", "!key_account: must be true or false" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check("customers", cases[i].file, cases[i].want);
}

static void orders(void **state)
{
    (void)state;
#define HEAD "external_id,customer_external_id,ordered_at,amount_minor,currency,kind\n"
    static const struct {
        const char *file, *want;
    } cases[] = {
        { HEAD "O-1,S-1,2024-11-17T09:16:31+08:00,1908720,CNY,order\n",
          "{\"order\":{\"externalRef\":{\"source\":\"erp\",\"id\":\"O-1\"},\"kind\":"
          "\"ORDER_KIND_ORDER\",\"orderedAt\":\"2024-11-17T01:16:31Z\",\"amount\":"
          "{\"currencyCode\":\"CNY\",\"minorUnits\":\"1908720\"}},\"customerExternalRef\":"
          "{\"source\":\"erp\",\"id\":\"S-1\"}}" },
        { HEAD "O-1,S-1,2024-11-17T01:16:31Z,-5,CNY,cancellation\n",
          "{\"order\":{\"externalRef\":{\"source\":\"erp\",\"id\":\"O-1\"},\"kind\":"
          "\"ORDER_KIND_CANCELLATION\",\"orderedAt\":\"2024-11-17T01:16:31Z\",\"amount\":"
          "{\"currencyCode\":\"CNY\",\"minorUnits\":\"-5\"}},\"customerExternalRef\":"
          "{\"source\":\"erp\",\"id\":\"S-1\"}}" },
        { "external_id,customer_external_id,ordered_at,amount_minor,currency,kind,"
          "cancels_external_id\nO-2,S-1,2024-11-17T01:16:31Z,-5,CNY,cancellation,O-1\n",
          "{\"order\":{\"externalRef\":{\"source\":\"erp\",\"id\":\"O-2\"},\"kind\":"
          "\"ORDER_KIND_CANCELLATION\",\"orderedAt\":\"2024-11-17T01:16:31Z\",\"amount\":"
          "{\"currencyCode\":\"CNY\",\"minorUnits\":\"-5\"}},\"customerExternalRef\":"
          "{\"source\":\"erp\",\"id\":\"S-1\"},\"cancelsExternalRef\":"
          "{\"source\":\"erp\",\"id\":\"O-1\"}}" },
        { HEAD "O-1,S-1,2024-11-17 09:16,1,CNY,order\n",
          "!ordered_at: must be a time with zone such as 2026-11-16T09:00:00+08:00" },
        { HEAD "O-1,S-1,2024-11-17T01:16:31Z,12.50,CNY,order\n",
          "!amount_minor: must be a whole number of the smallest unit, e.g. 1250 for 12.50" },
        { HEAD "O-1,S-1,2024-11-17T01:16:31Z,1,CNY,gift\n",
          "!kind: must be one of order, cancellation" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check("orders", cases[i].file, cases[i].want);
}

static void headers_that_will_not_do(void **state)
{
    (void)state;
    check("customers", "external_id\n1\n", "#the header has no column name");
    check("customers", "name,address\n1,2\n", "#the header has no column external_id");
    check("customers", "external_id;name\n1;2\n",
          "#the header has no column external_id; fields must be parted by commas");
    check("customers", "external_id,name,Name\n1,2,3\n",
          "#the column name stands in the header twice");
    check("orders", "external_id,customer_external_id,ordered_at,currency\n1,2,3,4\n",
          "#the header has no column amount_minor");
    assert_null(import_kind("payments"));
}

static void what_is_wished_for_goes_into_the_request(void **state)
{
    (void)state;
    const Daybook__Customers__V1__BatchImportCustomersRequest *r =
        (const void *)import_kind("customers")
            ->request(arena, NULL, 0, (struct import_wish){ .update_owner = true });
    assert_true(r->update_owner && !r->dry_run);
    r = (const void *)import_kind("customers")
            ->request(arena, NULL, 0, (struct import_wish){ .dry_run = true });
    assert_true(!r->update_owner && r->dry_run);
}

static int set_up(void **state)
{
    (void)state;
    schema_init();
    arena = arena_new(16 * MIB);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    schema_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(customers),
        cmocka_unit_test(orders),
        cmocka_unit_test(headers_that_will_not_do),
        cmocka_unit_test(what_is_wished_for_goes_into_the_request),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
