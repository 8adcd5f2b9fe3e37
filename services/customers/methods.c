/*
 * methods.c - which method is answered by whom, and what its request must look like. The fields of
 * customers and contacts are judged in customer_rules.c, since imports judge them row by row.
 */
#include "common/consumer_service.h"
#include "services/customers/customers.h"

#define END                                                                                        \
    {                                                                                              \
        NULL, 0, 0, 0                                                                              \
    }

static const struct check create_checks[] = {
    { "customer", CHECK_REQUIRED, 0, 0 },
    { "customer.owner_id", CHECK_ID, 0, 0 },
    { "customer.relation_type", CHECK_ENUM, 0, 0 },
    { "customer.source", CHECK_ENUM, 0, 0 },
    { "customer.company_size", CHECK_ENUM, 0, 0 },
    { "customer.status", CHECK_ENUM, 0, 0 },
    { "contacts", CHECK_COUNT, 0, 20 },
    END,
};
static const struct check update_checks[] = {
    { "customer", CHECK_REQUIRED, 0, 0 },    { "customer.id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "customer.owner_id", CHECK_ID, 0, 0 }, { "customer.relation_type", CHECK_ENUM, 0, 0 },
    { "customer.source", CHECK_ENUM, 0, 0 }, { "customer.company_size", CHECK_ENUM, 0, 0 },
    { "customer.status", CHECK_ENUM, 0, 0 }, END,
};
static const struct check get_checks[] = { { "id", CHECK_ID, 0, 0 }, END };
static const struct check list_checks[] = {
    { "owner_id", CHECK_ID, 0, 0 },
    { "tier", CHECK_ENUM, 0, 0 },
    END,
};
static const struct check find_duplicates_checks[] = {
    { "name", CHECK_LENGTH, 0, 200 },
    { "phone", CHECK_LENGTH, 0, 32 },
    END,
};
static const struct check import_checks[] = {
    { "rows", CHECK_REQUIRED | CHECK_COUNT, 1, 500 },
    { "rows[].contacts", CHECK_COUNT, 0, 20 },
    END,
};
static const struct check customer_id_checks[] = {
    { "customer_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    END,
};
static const struct check timeline_checks[] = {
    { "customer_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "kinds", CHECK_COUNT, 0, 16 },
    { "from", CHECK_TIME, 0, 0 },
    { "to", CHECK_TIME, 0, 0 },
    END,
};
static const struct check contact_checks[] = {
    { "contact", CHECK_REQUIRED, 0, 0 },
    { "contact.customer_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    END,
};
static const struct check ended_checks[] = {
    { "customer_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "employee_id", CHECK_ID, 0, 0 },
    { "channel", CHECK_REQUIRED | CHECK_ENUM, 0, 0 },
    { "direction", CHECK_ENUM, 0, 0 },
    { "ended_at", CHECK_TIME, 0, 0 },
    { "visit_id", CHECK_ID, 0, 0 },
    { "external_ref.source", CHECK_REQUIRED | CHECK_CODE | CHECK_LENGTH, 1, 32 },
    { "external_ref.id", CHECK_REQUIRED | CHECK_LENGTH, 1, 128 },
    END,
};
static const struct check record_checks[] = {
    { "interaction", CHECK_REQUIRED, 0, 0 },
    { "interaction.id", CHECK_ID, 0, 0 },
    { "interaction.customer_id", CHECK_ID, 0, 0 },
    { "interaction.contact_id", CHECK_ID, 0, 0 },
    { "interaction.employee_id", CHECK_ID, 0, 0 },
    { "interaction.visit_id", CHECK_ID, 0, 0 },
    { "interaction.channel", CHECK_ENUM, 0, 0 },
    { "interaction.direction", CHECK_ENUM, 0, 0 },
    { "interaction.ended_at", CHECK_TIME, 0, 0 },
    { "interaction.next_contact_at", CHECK_TIME, 0, 0 },
    { "interaction.content", CHECK_REQUIRED | CHECK_LENGTH, 1, 8000 },
    { "interaction.needs", CHECK_LENGTH, 0, 2000 },
    { "interaction.result", CHECK_LENGTH, 0, 2000 },
    { "interaction.next_step", CHECK_LENGTH, 0, 2000 },
    { "interaction.satisfaction", CHECK_RANGE, 0, 5 },
    { "interaction.external_ref.source", CHECK_REQUIRED | CHECK_CODE | CHECK_LENGTH, 1, 32 },
    { "interaction.external_ref.id", CHECK_REQUIRED | CHECK_LENGTH, 1, 128 },
    { "interaction.questions", CHECK_COUNT, 0, 50 },
    { "interaction.questions[].text", CHECK_REQUIRED | CHECK_LENGTH, 1, 2000 },
    { "interaction.questions[].assignee_id", CHECK_ID, 0, 0 },
    { "interaction.questions[].asked_at", CHECK_TIME, 0, 0 },
    END,
};
static const struct check answer_checks[] = {
    { "question_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "answer", CHECK_REQUIRED | CHECK_LENGTH, 1, 8000 },
    { "answered_at", CHECK_TIME, 0, 0 },
    { "final_promised_at", CHECK_TIME, 0, 0 },
    END,
};
static const struct check order_checks[] = {
    { "order", CHECK_REQUIRED, 0, 0 },
    { "order.customer_id", CHECK_ID, 0, 0 },
    { "order.ordered_at", CHECK_TIME, 0, 0 },
    { "order.cancels_order_id", CHECK_ID, 0, 0 },
    { "order.external_ref.source", CHECK_REQUIRED | CHECK_CODE | CHECK_LENGTH, 1, 32 },
    { "order.external_ref.id", CHECK_REQUIRED | CHECK_LENGTH, 1, 128 },
    END,
};
static const struct check orders_checks[] = {
    { "rows", CHECK_REQUIRED | CHECK_COUNT, 1, 1000 },
    END,
};
static const struct check payment_checks[] = {
    { "payment", CHECK_REQUIRED, 0, 0 },
    { "payment.customer_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "payment.order_id", CHECK_ID, 0, 0 },
    { "payment.amount", CHECK_REQUIRED, 0, 0 },
    { "payment.paid_at", CHECK_REQUIRED | CHECK_TIME, 0, 0 },
    { "payment.external_ref.source", CHECK_REQUIRED | CHECK_CODE | CHECK_LENGTH, 1, 32 },
    { "payment.external_ref.id", CHECK_REQUIRED | CHECK_LENGTH, 1, 128 },
    END,
};

#define READ "customers.read"
#define WRITE "customers.write"

const struct method customers_methods[] = {
    { CUSTOMER_SERVICE, "Create", customer_create, WRITE, create_checks, false },
    { CUSTOMER_SERVICE, "Get", customer_get, READ, get_checks, false },
    { CUSTOMER_SERVICE, "Update", customer_update, WRITE, update_checks, false },
    { CUSTOMER_SERVICE, "List", customer_list, READ, list_checks, METHOD_BULK_READ },
    { CUSTOMER_SERVICE, "FindDuplicates", customer_find_duplicates, READ, find_duplicates_checks,
      METHOD_BULK_READ },
    { CUSTOMER_SERVICE, "BatchImport", customer_batch_import, WRITE, import_checks, false },
    { CUSTOMER_SERVICE, "GetTimeline", timeline_get, READ, timeline_checks, METHOD_BULK_READ },
    { CONTACT_SERVICE, "Create", contact_create, WRITE, contact_checks, false },
    { CONTACT_SERVICE, "List", contact_list, READ, customer_id_checks, METHOD_BULK_READ },
    { INTERACTION_SERVICE, "RegisterEnded", interaction_register_ended, WRITE, ended_checks,
      false },
    { INTERACTION_SERVICE, "RecordInteraction", interaction_record, WRITE, record_checks, false },
    { INTERACTION_SERVICE, "AnswerQuestion", question_answer, WRITE, answer_checks, false },
    { INTERACTION_SERVICE, "List", interaction_list, READ, customer_id_checks, METHOD_BULK_READ },
    { DEAL_SERVICE, "RecordOrder", deal_record_order, WRITE, order_checks, false },
    { DEAL_SERVICE, "BatchRecordOrders", deal_batch_record_orders, WRITE, orders_checks, false },
    { DEAL_SERVICE, "RecordPayment", deal_record_payment, WRITE, payment_checks, false },
    CONSUMER_SERVICE_METHODS("daybook.customers.v1"),
};
const size_t customers_methods_len = ARRAY_LEN(customers_methods);
