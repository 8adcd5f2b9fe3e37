/*
 * customers_test.c - the customers daemon's handlers on a real PostgreSQL: files and duplicates,
 * interactions with questions, orders, imports, who may see what, and how many round trips it
 * costs.
 */
#include "tests/integration/customers_fixture.h"

/* A new customer of "rep"; the id lives in a static buffer of its own. */
static const char *make_customer(const char *name)
{
    static char ids[4][ID_TEXT_MAX];
    static unsigned next;
    char *id = ids[next++ % ARRAY_LEN(ids)];
    json_t *reply = rig_ok(rig, "rep", CUSTOMER_SERVICE, "Create",
                           "{\"customer\":{\"name\":\"%s\",\"cityCode\":\"310100\"}}", name);

    snprintf(id, ID_TEXT_MAX, "%s", rig_text(reply, "customer.id"));
    json_decref(reply);
    return id;
}

static void a_file_is_made_read_and_changed_CUS_01(void **state)
{
    (void)state;
    (void)rig_events(rig);
    json_t *made = rig_ok(rig, "rep", CUSTOMER_SERVICE, "Create",
                          "{\"customer\":{\"name\":\"海棠路商贸有限公司\",\"cityCode\":\"310100\","
                          "\"externalRef\":{\"source\":\"erp\",\"id\":\"C-1\"}},"
                          "\"contacts\":[{\"name\":\"张若水\",\"phone\":\"19900000001\","
                          "\"email\":\"zhang@example.com\"}]}");
    assert_string_equal(rig_text(made, "customer.relationType"), "RELATION_TYPE_PROSPECT");
    assert_string_equal(rig_text(made, "customer.ownerId"), rig_employee_text("rep"));
    assert_string_equal(rig_text(made, "contacts.0.phone"), "199****0001");
    assert_string_equal(rig_events(rig), "CustomerCreated ContactCreated");
    char id[ID_TEXT_MAX];
    snprintf(id, sizeof(id), "%s", rig_text(made, "customer.id"));
    json_decref(made);

    json_t *got = rig_ok(rig, "lead", CUSTOMER_SERVICE, "Get",
                         "{\"externalRef\":{\"source\":\"erp\",\"id\":\"C-1\"}}");
    assert_string_equal(rig_text(got, "customer.id"), id);
    assert_string_equal(rig_text(got, "customer.etag"), "2"); /* the file and one contact */
    json_decref(got);

    json_t *changed =
        rig_ok(rig, "rep", CUSTOMER_SERVICE, "Update",
               "{\"customer\":{\"id\":\"%s\",\"industry\":\"grocery\",\"etag\":\"2\"}}", id);
    assert_string_equal(rig_text(changed, "customer.industry"), "grocery");
    assert_string_equal(rig_text(changed, "customer.etag"), "3");
    assert_string_equal(rig_events(rig), "CustomerUpdated");
    json_decref(changed);
    rig_fails(rig, "rep", CUSTOMER_SERVICE, "Update", ERR_ABORTED, "read it again",
              "{\"customer\":{\"id\":\"%s\",\"industry\":\"x\",\"etag\":\"1\"}}", id);
    rig_fails(rig, "rep", CUSTOMER_SERVICE, "Update", ERR_INVALID_ARGUMENT, "nonsense",
              "{\"customer\":{\"id\":\"%s\"},\"updateMask\":\"nonsense\"}", id);
    assert_string_equal(rig_events(rig), "");
}

static void personal_fields_are_sealed_in_the_database(void **state)
{
    (void)state;
    assert_string_equal(rig_value(rig, "SELECT count(*)::text FROM customers.contact WHERE "
                                       "phone_sealed LIKE '%19900000001%' OR email_sealed LIKE "
                                       "'%zhang@%'"),
                        "0");
    assert_string_equal(rig_value(rig, "SELECT (phone_sealed LIKE 'v1:%')::text FROM "
                                       "customers.contact LIMIT 1"),
                        "true");
    char id[ID_TEXT_MAX];
    snprintf(id, sizeof(id), "%s",
             rig_value(rig, "SELECT customer_id::text FROM customers.contact LIMIT 1"));
    json_t *mine = rig_ok(rig, "rep", CONTACT_SERVICE, "List", "{\"customerId\":\"%s\"}", id);
    assert_string_equal(rig_text(mine, "contacts.0.phone"), "19900000001");
    json_decref(mine);
    json_t *theirs = rig_ok(rig, "service", CONTACT_SERVICE, "List", "{\"customerId\":\"%s\"}", id);
    assert_string_equal(rig_text(theirs, "contacts.0.phone"), "199****0001");
    json_decref(theirs);
}

static void a_likely_duplicate_is_refused_and_named_CUS_07(void **state)
{
    (void)state;
    rig_fails(rig, "rep", CUSTOMER_SERVICE, "Create", ERR_ALREADY_EXISTS, "allow_duplicate",
              "{\"customer\":{\"name\":\"海棠路商贸\",\"cityCode\":\"310100\"}}");
    rig_fails(rig, "rep", CUSTOMER_SERVICE, "Create", ERR_ALREADY_EXISTS, "phone",
              "{\"customer\":{\"name\":\"完全不同\",\"cityCode\":\"310100\"},"
              "\"contacts\":[{\"name\":\"李\",\"phone\":\"+86 199 0000 0001\"}]}");
    json_decref(rig_ok(rig, "rep", CUSTOMER_SERVICE, "Create",
                       "{\"customer\":{\"name\":\"海棠路商贸\",\"cityCode\":\"310100\"},"
                       "\"allowDuplicate\":true}"));
    json_t *found = rig_ok(rig, "rep2", CUSTOMER_SERVICE, "FindDuplicates",
                           "{\"name\":\"海棠路商贸\",\"cityCode\":\"310100\"}");
    assert_string_equal(rig_text(found, "candidates.0.reason"), "DUPLICATE_REASON_NAME_AND_REGION");
    json_decref(found);
}

static void every_faulty_field_is_named_CUS_18(void **state)
{
    (void)state;
    rig_fails(rig, "rep", CUSTOMER_SERVICE, "Create", ERR_INVALID_ARGUMENT, "customer.city_code",
              "{\"customer\":{\"cityCode\":\"12\",\"potentialRating\":101}}");
    rig_fails(rig, "rep", CUSTOMER_SERVICE, "Create", ERR_INVALID_ARGUMENT,
              "customer.potential_rating",
              "{\"customer\":{\"cityCode\":\"12\",\"potentialRating\":101}}");
}

static void others_do_not_see_it_F61(void **state)
{
    const char *id = make_customer("只有我能看");

    (void)state;
    json_decref(rig_ok(rig, "gm", CUSTOMER_SERVICE, "Get", "{\"id\":\"%s\"}", id));
    rig_fails(rig, "rep2", CUSTOMER_SERVICE, "Get", ERR_NOT_FOUND, "no customer", "{\"id\":\"%s\"}",
              id);
    rig_fails(rig, "other", CUSTOMER_SERVICE, "Get", ERR_NOT_FOUND, "no customer",
              "{\"id\":\"%s\"}", id);
    json_t *list = rig_ok(rig, "rep2", CUSTOMER_SERVICE, "List", "{}");
    assert_null(json_object_get(list, "customers"));
    json_decref(list);
}

static void lists_go_page_by_page_without_hole_or_repeat(void **state)
{
    char token[4096] = "";
    size_t seen = 0;

    (void)state;
    for (int i = 0; i < 7; i++) {
        char name[32];
        snprintf(name, sizeof(name), "page %d", i);
        (void)make_customer(name);
    }
    size_t all = strtoul(rig_value(rig, "SELECT count(*)::text FROM customers.customer"), NULL, 10);
    do {
        json_t *page = rig_ok(rig, "rep", CUSTOMER_SERVICE, "List",
                              "{\"pageSize\":3,\"pageToken\":\"%s\"}", token);
        seen += json_array_size(json_object_get(page, "customers"));
        const json_t *next = json_object_get(page, "nextPageToken");
        snprintf(token, sizeof(token), "%s", next ? json_string_value(next) : "");
        json_decref(page);
    } while (*token);
    assert_int_equal(seen, all);
    rig_fails(rig, "rep", CUSTOMER_SERVICE, "List", ERR_INVALID_ARGUMENT, "page_token",
              "{\"pageToken\":\"nonsense\"}");
}

static void an_interaction_opens_its_questions_in_two_round_trips_INT_04(void **state)
{
    const char *id = make_customer("提问的客户");

    (void)state;
    (void)rig_events(rig);
    json_t *reply =
        rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction",
               "{\"interaction\":{\"customerId\":\"%s\",\"channel\":\"CHANNEL_PHONE\","
               "\"content\":\"asked\",\"questions\":[{\"text\":\"one?\"},{\"text\":\"two?\"}]}}",
               id);
    reply = (json_decref(reply),
             rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction",
                    "{\"interaction\":{\"customerId\":\"%s\",\"channel\":\"CHANNEL_PHONE\","
                    "\"content\":\"asked\",\"questions\":[{\"text\":\"three?\"}]}}",
                    id));
    assert_true(rig->round_trips <= 2);
    assert_string_equal(rig_text(reply, "interaction.questions.0.state"), "QUESTION_STATE_OPEN");
    assert_string_equal(rig_text(reply, "interaction.questions.0.askedAt"), "2026-11-16T01:00:00Z");
    json_decref(reply);
    assert_string_equal(rig_events(rig), "InteractionRecorded QuestionOpened QuestionOpened "
                                         "InteractionRecorded QuestionOpened");
    json_t *customer = rig_ok(rig, "rep", CUSTOMER_SERVICE, "Get", "{\"id\":\"%s\"}", id);
    assert_string_equal(rig_text(customer, "customer.openQuestions"), "3");
    assert_string_equal(rig_text(customer, "customer.lastContactAt"), "2026-11-16T01:00:00Z");
    json_decref(customer);
}

/* REM-18: he is the one who is reminded of it then. */
static void the_new_owner_of_a_customer_may_answer_his_questions(void **state)
{
    char id[ID_TEXT_MAX], question[ID_TEXT_MAX];

    (void)state;
    snprintf(id, sizeof(id), "%s", make_customer("换人的客户"));
    json_t *reply = rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction",
                           "{\"interaction\":{\"customerId\":\"%s\",\"channel\":\"CHANNEL_PHONE\","
                           "\"content\":\"asked\",\"questions\":[{\"text\":\"one?\"}]}}",
                           id);
    snprintf(question, sizeof(question), "%s", rig_text(reply, "interaction.questions.0.id"));
    json_decref(reply);
    rig_fails(rig, "rep2", INTERACTION_SERVICE, "AnswerQuestion", ERR_NOT_FOUND, "",
              "{\"questionId\":\"%s\",\"answer\":\"a\"}", question);
    json_decref(rig_ok(rig, "lead", CUSTOMER_SERVICE, "Update",
                       "{\"customer\":{\"id\":\"%s\",\"ownerId\":\"%s\"},\"updateMask\":"
                       "\"ownerId\"}",
                       id, rig_employee_text("rep2")));
    json_decref(rig_ok(rig, "rep2", INTERACTION_SERVICE, "AnswerQuestion",
                       "{\"questionId\":\"%s\",\"answer\":\"a\",\"final\":true}", question));
}

static void the_first_answer_decides_whether_it_was_late_TMR_01(void **state)
{
    char late[ID_TEXT_MAX], kept[ID_TEXT_MAX];
    const char *id = make_customer("等答复的客户");

    (void)state;
    rig_time(rig, "2026-11-16T01:00:00Z");
    json_t *reply =
        rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction",
               "{\"interaction\":{\"customerId\":\"%s\",\"channel\":\"CHANNEL_PHONE\","
               "\"content\":\"asked\",\"questions\":[{\"text\":\"a?\"},{\"text\":\"b?\"}]}}",
               id);
    snprintf(late, sizeof(late), "%s", rig_text(reply, "interaction.questions.0.id"));
    snprintf(kept, sizeof(kept), "%s", rig_text(reply, "interaction.questions.1.id"));
    json_decref(reply);

    /* What was said is entered within 24 hours (INT-03); later nobody can have been in time. */
    rig_time(rig, "2026-11-17T02:00:00Z");
    rig_fails(
        rig, "rep", INTERACTION_SERVICE, "AnswerQuestion", ERR_INVALID_ARGUMENT, "further back",
        "{\"questionId\":\"%s\",\"answer\":\"yes\",\"answeredAt\":\"2026-11-16T01:59:59Z\"}", kept);
    rig_time(rig, "2026-11-17T01:00:00Z"); /* 24 hours to the second: in time (REM-03) */
    reply = rig_ok(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion",
                   "{\"questionId\":\"%s\",\"answer\":\"yes\","
                   "\"finalPromisedAt\":\"2026-11-18T01:00:00Z\"}",
                   kept);
    assert_string_equal(rig_text(reply, "question.state"), "QUESTION_STATE_PRELIMINARY_ANSWERED");
    assert_string_equal(rig_text(reply, "question.late"), "");
    json_decref(reply);
    rig_time(rig, "2026-11-17T01:00:01Z");
    reply = rig_ok(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion",
                   "{\"questionId\":\"%s\",\"answer\":\"no\",\"final\":true}", late);
    assert_string_equal(rig_text(reply, "question.late"), "true");
    json_decref(reply);
    rig_time(rig, "2026-11-19T01:00:00Z"); /* a final answer long after a timely one is not late */
    reply = rig_ok(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion",
                   "{\"questionId\":\"%s\",\"answer\":\"really\",\"final\":true}", kept);
    assert_string_equal(rig_text(reply, "question.late"), "");
    assert_string_equal(rig_text(reply, "question.answer"),
                        "really"); /* beside the first (INT-04) */
    assert_string_equal(rig_text(reply, "question.preliminaryAnswer"), "yes");
    assert_string_equal(rig_text(reply, "question.finalPromisedAt"), "2026-11-18T01:00:00Z");
    json_decref(reply);
    reply = rig_ok(rig, "rep", INTERACTION_SERVICE, "List", "{\"customerId\":\"%s\"}", id);
    assert_string_equal(rig_text(reply, "interactions.0.questions.1.preliminaryAnswer"), "yes");
    assert_string_equal(rig_text(reply, "interactions.0.questions.1.finalPromisedAt"),
                        "2026-11-18T01:00:00Z");
    json_decref(reply);
    rig_fails(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion", ERR_FAILED_PRECONDITION,
              "answered already", "{\"questionId\":\"%s\",\"answer\":\"again\"}", kept);
    rig_fails(rig, "rep2", INTERACTION_SERVICE, "AnswerQuestion", ERR_NOT_FOUND, "",
              "{\"questionId\":\"%s\",\"answer\":\"x\"}", late);
}

/* The file says nothing of status and relation: what the reps made of them stands (CUS-11). */
static void an_import_repeated_later_undoes_nobodys_work_CUS_31(void **state)
{
    static const char row[] = "{\"rows\":[{\"customer\":{\"name\":\"老客户商店\",\"externalRef\":"
                              "{\"source\":\"erp\",\"id\":\"again-1\"}},\"ownerNo\":\"rep\"}]}";
    char id[ID_TEXT_MAX];

    (void)state;
    json_t *reply = rig_ok(rig, "gm", CUSTOMER_SERVICE, "BatchImport", "%s", row);
    assert_string_equal(rig_text(reply, "results.0.outcome"), "IMPORT_OUTCOME_INSERTED");
    snprintf(id, sizeof(id), "%s", rig_text(reply, "results.0.id"));
    json_decref(reply);
    json_decref(rig_ok(rig, "gm", CUSTOMER_SERVICE, "Update",
                       "{\"customer\":{\"id\":\"%s\",\"status\":\"CUSTOMER_STATUS_NEGOTIATING\"},"
                       "\"updateMask\":\"status\"}",
                       id));
    reply = rig_ok(rig, "gm", CUSTOMER_SERVICE, "BatchImport", "%s", row);
    assert_string_equal(rig_text(reply, "results.0.outcome"), "IMPORT_OUTCOME_UNCHANGED");
    json_decref(reply);
    reply = rig_ok(rig, "gm", CUSTOMER_SERVICE, "Get", "{\"id\":\"%s\"}", id);
    assert_string_equal(rig_text(reply, "customer.status"), "CUSTOMER_STATUS_NEGOTIATING");
    json_decref(reply);
}

static void a_registered_call_is_completed_by_its_record_TMR_02(void **state)
{
    const char *id = make_customer("打电话的客户");

    (void)state;
    rig_time(rig, "2026-11-16T01:00:00Z");
    (void)rig_events(rig);
    json_t *ended =
        rig_ok(rig, "service", INTERACTION_SERVICE, "RegisterEnded",
               "{\"customerId\":\"%s\",\"employeeId\":\"%s\",\"channel\":\"CHANNEL_PHONE\","
               "\"externalRef\":{\"source\":\"pbx\",\"id\":\"42\"}}",
               id, rig_employee_text("rep"));
    assert_string_equal(rig_text(ended, "interaction.state"), "INTERACTION_STATE_ENDED");
    json_decref(ended);
    rig_time(rig, "2026-11-17T02:00:00Z");
    json_t *done = rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction",
                          "{\"interaction\":{\"externalRef\":{\"source\":\"pbx\",\"id\":\"42\"},"
                          "\"content\":\"talked\"}}");
    assert_string_equal(rig_text(done, "interaction.state"), "INTERACTION_STATE_RECORDED");
    assert_string_equal(rig_text(done, "interaction.late"), "true");
    assert_string_equal(rig_text(done, "interaction.endedAt"), "2026-11-16T01:00:00Z");
    json_decref(done);
    assert_string_equal(rig_events(rig), "InteractionEnded InteractionRecorded");
    rig_fails(
        rig, "rep", INTERACTION_SERVICE, "RecordInteraction", ERR_FAILED_PRECONDITION,
        "complete already",
        "{\"interaction\":{\"externalRef\":{\"source\":\"pbx\",\"id\":\"42\"},\"content\":\"x\"}}");
}

static void an_order_comes_twice_and_counts_once(void **state)
{
    const char *id = make_customer("下订单的客户");
    char order[ID_TEXT_MAX];

    (void)state;
    (void)rig_events(rig);
    for (int i = 0; i < 2; i++) {
        json_t *reply = rig_ok(rig, "service", DEAL_SERVICE, "RecordOrder",
                               "{\"order\":{\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_ORDER\","
                               "\"orderedAt\":\"2026-11-10T00:00:00Z\","
                               "\"externalRef\":{\"source\":\"erp\",\"id\":\"O-1\"},"
                               "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"100\"}}}",
                               id);
        if (i == 0)
            snprintf(order, sizeof(order), "%s", rig_text(reply, "order.id"));
        assert_string_equal(rig_text(reply, "order.id"), order);
        json_decref(reply);
    }
    assert_string_equal(rig_events(rig), "OrderRecorded");
    rig_fails(rig, "service", DEAL_SERVICE, "RecordOrder", ERR_INVALID_ARGUMENT, "negative",
              "{\"order\":{\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_CANCELLATION\","
              "\"orderedAt\":\"2026-11-10T00:00:00Z\","
              "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"100\"}}}",
              id);
    rig_fails(rig, "service", DEAL_SERVICE, "RecordOrder", ERR_INVALID_ARGUMENT, "currency",
              "{\"order\":{\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_ORDER\","
              "\"orderedAt\":\"2026-11-10T00:00:00Z\","
              "\"amount\":{\"currencyCode\":\"EUR\",\"minorUnits\":\"100\"}}}",
              id);
    json_decref(
        rig_ok(rig, "service", DEAL_SERVICE, "RecordPayment",
               "{\"payment\":{\"customerId\":\"%s\",\"paidAt\":\"2026-11-11T00:00:00Z\","
               "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"100\"},\"orderId\":\"%s\"}}",
               id, order));
    rig_fails(rig, "service", DEAL_SERVICE, "RecordPayment", ERR_NOT_FOUND, "order",
              "{\"payment\":{\"customerId\":\"%s\",\"paidAt\":\"2026-11-11T00:00:00Z\","
              "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"100\"},\"orderId\":\"%s\"}}",
              id, id);
}

/* A cancellation names its order, one by one and in a batch, which may bring the order itself. */
static void a_cancellation_names_the_order_that_it_takes_back(void **state)
{
    const char *id = make_customer("退货的客户"), *other = make_customer("别人");
    char order[ID_TEXT_MAX];

    (void)state;
#define CANCEL                                                                                     \
    "{\"order\":{\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_CANCELLATION\",\"orderedAt\":"        \
    "\"2026-11-10T00:00:00Z\",\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"-40\"}%s%s%s}" \
    "%s}"
#define BOUGHT                                                                                     \
    "{\"order\":{\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_ORDER\",\"orderedAt\":"               \
    "\"2026-11-01T00:00:00Z\",\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"100\"},"       \
    "\"externalRef\":{\"source\":\"erp\",\"id\":\"%s\"}}}"
    json_t *reply = rig_ok(rig, "rep", DEAL_SERVICE, "RecordOrder", BOUGHT, id, "back-1");
    snprintf(order, sizeof(order), "%s", rig_text(reply, "order.id"));
    json_decref(reply);
    reply = rig_ok(rig, "rep", DEAL_SERVICE, "RecordOrder", CANCEL, id, "", "", "",
                   ",\"cancelsExternalRef\":{\"source\":\"erp\",\"id\":\"back-1\"}");
    assert_string_equal(rig_text(reply, "order.cancelsOrderId"), order);
    json_decref(reply);
    json_decref(rig_ok(rig, "rep", DEAL_SERVICE, "RecordOrder", CANCEL, id,
                       ",\"cancelsOrderId\":\"", order, "\"", ""));
    rig_fails(rig, "rep", DEAL_SERVICE, "RecordOrder", ERR_NOT_FOUND, "no such order", CANCEL,
              other, ",\"cancelsOrderId\":\"", order, "\"", "");
    rig_fails(rig, "rep", DEAL_SERVICE, "RecordOrder", ERR_NOT_FOUND, "no such order", CANCEL, id,
              "", "", "", ",\"cancelsExternalRef\":{\"source\":\"erp\",\"id\":\"none\"}");
    reply = rig_ok(rig, "gm", DEAL_SERVICE, "BatchRecordOrders",
                   "{\"rows\":[" BOUGHT "," CANCEL "," CANCEL "," CANCEL "]}", id, "back-2", id, "",
                   "", "", ",\"cancelsExternalRef\":{\"source\":\"erp\",\"id\":\"back-2\"}", id,
                   ",\"cancelsOrderId\":\"", order, "\"", "", other, "", "", "",
                   ",\"cancelsExternalRef\":{\"source\":\"erp\",\"id\":\"back-1\"}");
    for (int i = 0; i < 3; i++) {
        char path[32];
        snprintf(path, sizeof(path), "results.%d.outcome", i);
        assert_string_equal(rig_text(reply, path), "IMPORT_OUTCOME_INSERTED");
    }
    assert_string_equal(rig_text(reply, "results.3.outcome"), "IMPORT_OUTCOME_INVALID");
    json_decref(reply);
    assert_string_equal(rig_value(rig, "SELECT string_agg(o.ref_id || ' ' || n, ', ' ORDER BY "
                                       "o.ref_id) FROM (SELECT cancels_order_id, count(*) AS n "
                                       "FROM customers.sales_order WHERE cancels_order_id IS NOT "
                                       "NULL GROUP BY 1) c JOIN customers.sales_order o ON o.id = "
                                       "c.cancels_order_id"),
                        "back-1 3, back-2 1");
}

#define IMPORT_ROWS                                                                                  \
    "{\"rows\":["                                                                                    \
    "{\"customer\":{\"externalRef\":{\"source\":\"import\",\"id\":\"1\"},\"name\":\"一号店\","    \
    "\"cityCode\":\"310100\"},\"ownerNo\":\"rep\"},"                                                 \
    "{\"customer\":{\"externalRef\":{\"source\":\"import\",\"id\":\"1\"},\"name\":\"又是一号\"," \
    "\"cityCode\":\"310100\"},\"ownerNo\":\"rep\"},"                                                 \
    "{\"customer\":{\"externalRef\":{\"source\":\"import\",\"id\":\"2\"},\"name\":\"一号店\","    \
    "\"cityCode\":\"310100\"},\"ownerNo\":\"rep\"},"                                                 \
    "{\"customer\":{\"externalRef\":{\"source\":\"import\",\"id\":\"3\"},\"name\":\"三号店\","    \
    "\"cityCode\":\"31\"},\"ownerNo\":\"rep\"},"                                                     \
    "{\"customer\":{\"externalRef\":{\"source\":\"import\",\"id\":\"4\"},\"name\":\"四号店\"},"   \
    "\"ownerNo\":\"nobody\"},"                                                                       \
    "{\"customer\":{\"externalRef\":{\"source\":\"import\",\"id\":\"5\"},\"name\":\"%s\"},"          \
    "\"ownerNo\":\"rep\"}]%s}"

static void an_import_judges_each_row_and_can_be_repeated_CUS_31(void **state)
{
    static const char *const first[] = { "INSERTED", "INVALID", "DUPLICATE",
                                         "INVALID",  "INVALID", "INSERTED" };
    static const char *const again[] = { "UNCHANGED", "INVALID", "DUPLICATE",
                                         "INVALID",   "INVALID", "UPDATED" };
    char path[32], want[48];

    (void)state;
    (void)rig_events(rig);
    rig_fails(rig, "rep", CUSTOMER_SERVICE, "BatchImport", ERR_PERMISSION_DENIED, "", IMPORT_ROWS,
              "五号店", "");
    assert_string_equal(rig_events(rig),
                        "AccessRecorded"); /* the refusal, for the audit trail (F61) */
    json_t *dry = rig_ok(rig, "gm", CUSTOMER_SERVICE, "BatchImport", IMPORT_ROWS, "五号店",
                         ",\"dryRun\":true");
    assert_string_equal(rig_text(dry, "results.0.outcome"), "IMPORT_OUTCOME_INSERTED");
    json_decref(dry);
    assert_string_equal(rig_events(rig), "");
    for (int run = 0; run < 2; run++) {
        json_t *reply = rig_ok(rig, "gm", CUSTOMER_SERVICE, "BatchImport", IMPORT_ROWS,
                               run ? "五号新店" : "五号店", "");
        for (size_t i = 0; i < 6; i++) {
            snprintf(path, sizeof(path), "results.%zu.outcome", i);
            snprintf(want, sizeof(want), "IMPORT_OUTCOME_%s", run ? again[i] : first[i]);
            assert_string_equal(rig_text(reply, path), want);
        }
        json_decref(reply);
        assert_string_equal(rig_events(rig),
                            run ? "CustomerUpdated" : "CustomerCreated CustomerCreated");
    }
}

static void imported_orders_find_their_customers_and_count_once(void **state)
{
    static const char rows[] =
        "{\"rows\":[{\"order\":{\"kind\":\"ORDER_KIND_ORDER\",\"orderedAt\":\"2026-01-01T00:00:"
        "00Z\","
        "\"externalRef\":{\"source\":\"import\",\"id\":\"A\"},\"amount\":{\"currencyCode\":\"CNY\","
        "\"minorUnits\":\"5\"}},"
        "\"customerExternalRef\":{\"source\":\"import\",\"id\":\"1\"}},"
        "{\"order\":{\"kind\":\"ORDER_KIND_ORDER\",\"orderedAt\":\"2026-01-01T00:00:00Z\","
        "\"externalRef\":{\"source\":\"import\",\"id\":\"B\"},\"amount\":{\"currencyCode\":\"CNY\","
        "\"minorUnits\":\"5\"}},"
        "\"customerExternalRef\":{\"source\":\"import\",\"id\":\"unknown\"}}]}";

    (void)state;
    (void)rig_events(rig);
    for (int run = 0; run < 2; run++) {
        json_t *reply = rig_ok(rig, "gm", DEAL_SERVICE, "BatchRecordOrders", "%s", rows);
        assert_string_equal(rig_text(reply, "results.0.outcome"),
                            run ? "IMPORT_OUTCOME_UNCHANGED" : "IMPORT_OUTCOME_INSERTED");
        assert_string_equal(rig_text(reply, "results.1.outcome"), "IMPORT_OUTCOME_INVALID");
        json_decref(reply);
        assert_string_equal(rig_events(rig), run ? "" : "OrdersImported");
    }
}

static void the_timeline_is_whole_and_in_order_INT_22(void **state)
{
    char id[ID_TEXT_MAX], token[4096] = "", last[64] = "9999";
    size_t seen = 0;

    (void)state;
    snprintf(id, sizeof(id), "%s",
             rig_value(rig, "SELECT id::text FROM customers.customer WHERE name = '等答复的客户'"));
    do {
        json_t *page =
            rig_ok(rig, "rep", CUSTOMER_SERVICE, "GetTimeline",
                   "{\"customerId\":\"%s\",\"pageSize\":2,\"pageToken\":\"%s\"}", id, token);
        const json_t *entry;
        size_t i;
        json_array_foreach(json_object_get(page, "entries"), i, entry)
        {
            const char *at = json_string_value(json_object_get(entry, "happenedAt"));
            assert_true(strcmp(at, last) <= 0);
            snprintf(last, sizeof(last), "%s", at);
            seen++;
        }
        const json_t *next = json_object_get(page, "nextPageToken");
        snprintf(token, sizeof(token), "%s", next ? json_string_value(next) : "");
        json_decref(page);
    } while (*token);
    assert_int_equal(seen, 6); /* file, interaction, two questions, two answers */
    json_t *list = rig_ok(rig, "rep", INTERACTION_SERVICE, "List", "{\"customerId\":\"%s\"}", id);
    assert_string_equal(rig_text(list, "interactions.0.questions.0.text"), "a?");
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_made_read_and_changed_CUS_01),
        cmocka_unit_test(personal_fields_are_sealed_in_the_database),
        cmocka_unit_test(a_likely_duplicate_is_refused_and_named_CUS_07),
        cmocka_unit_test(every_faulty_field_is_named_CUS_18),
        cmocka_unit_test(others_do_not_see_it_F61),
        cmocka_unit_test(lists_go_page_by_page_without_hole_or_repeat),
        cmocka_unit_test(an_interaction_opens_its_questions_in_two_round_trips_INT_04),
        cmocka_unit_test(the_new_owner_of_a_customer_may_answer_his_questions),
        cmocka_unit_test(the_first_answer_decides_whether_it_was_late_TMR_01),
        cmocka_unit_test(an_import_repeated_later_undoes_nobodys_work_CUS_31),
        cmocka_unit_test(a_registered_call_is_completed_by_its_record_TMR_02),
        cmocka_unit_test(an_order_comes_twice_and_counts_once),
        cmocka_unit_test(a_cancellation_names_the_order_that_it_takes_back),
        cmocka_unit_test(an_import_judges_each_row_and_can_be_repeated_CUS_31),
        cmocka_unit_test(imported_orders_find_their_customers_and_count_once),
        cmocka_unit_test(the_timeline_is_whole_and_in_order_INT_22),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
