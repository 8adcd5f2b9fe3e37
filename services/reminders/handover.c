/*
 * handover.c - see handover.h.
 */
#include "services/reminders/handover.h"

#include "services/reminders/fire.h"
#include "services/reminders/sql.h"

void handover_init(struct handover *h, const struct directory *dir, struct id tenant,
                   int64_t now_us)
{
    *h = (struct handover){ .dir = dir, .tenant = tenant, .now_us = now_us };
    columns_init(&h->moved, 11);
    notices_init(&h->told, true);
    columns_init(&h->withdrawn, 4);
}

void handover_fini(struct handover *h)
{
    columns_fini(&h->moved);
    notices_fini(&h->told);
    columns_fini(&h->withdrawn);
}

/* --- rows ------------------------------------------------------------------------------------ */

static enum err add_row(struct handover *h, const struct duty *duty, struct arena *a)
{
    struct columns *k = &h->moved;
    bool is_new_plan = duty->pb->n_policies > 0; /* else it was read without them */
    char *plan = duty_plan_text(duty, a);
    char *policies = is_new_plan ? duty_policies_text(duty->pb, a) : NULL;
    char *explanation = is_new_plan ? duty_explanation_text(duty->pb, a) : NULL;

    if (!plan || (is_new_plan && (!policies || !explanation)))
        return ERR_RESOURCE_EXHAUSTED;
    columns_id(k, duty->id);
    columns_id(k, duty->assignee);
    columns_time(k, duty->due_us);
    columns_text(k, plan);
    columns_text(k, duty->tells);
    columns_i64(k, duty->round);
    columns_i64_or_null(k, duty->next_step, duty->next_step < 0);
    columns_i64_or_null(k, duty->next_us, duty->next_step < 0);
    columns_text(k, policies);
    columns_text(k, explanation);
    columns_i64(k, duty->version);
    return ERR_OK;
}

/* The words for people, in the company's language. */
static char *told_text(const struct handover *h, const struct duty *duty, struct arena *a)
{
    const struct dir_tenant *tenant = directory_tenant(h->dir, h->tenant);
    bool is_late = h->now_us >= duty->due_us;
    int64_t minutes = (is_late ? h->now_us - duty->due_us : duty->due_us - h->now_us) / MINUTE_US;
    char due[FIRE_LOCAL_MAX];

    fire_local_text(tenant ? tenant->calendar->tz : tz_find("UTC"), duty->due_us, due);
    return arena_printf(a, "转交给您：%s，期限 %s，%s %d 小时 %d 分", duty->pb->title, due,
                        is_late ? "已逾期" : "还剩", (int)(minutes / 60), (int)(minutes % 60));
}

static enum err add_notice(struct handover *h, const struct duty *duty, struct arena *a)
{
    struct id recipients[PLAN_RECIPIENTS_MAX];
    size_t n = plan_recipients("owner", duty->assignee,
                               directory_employee(h->dir, h->tenant, duty->assignee), recipients);
    char *text = told_text(h, duty, a);

    if (!text)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < n; i++)
        notices_add(&h->told, &(struct notice){ .duty = duty,
                                                .step = NOTICE_NO_STEP,
                                                .kind = "handover",
                                                .recipient = recipients[i],
                                                .due_us = h->now_us,
                                                .text = text });
    return ERR_OK;
}

static void add_withdrawal(struct handover *h, const struct duty *duty, struct id from)
{
    struct columns *k = &h->withdrawn;
    struct id first, last;

    notification_range(duty->id, &first, &last);
    columns_id(k, duty->id);
    columns_id(k, from);
    columns_id(k, first);
    columns_id(k, last);
}

enum err handover_add(struct handover *h, struct duty *duty, const struct rule *rule, struct id to,
                      struct arena *a)
{
    struct id from = duty->assignee;

    enum err e = duty_hand_over(duty, rule, h->dir, h->tenant, to, h->now_us, a);
    if (!e)
        e = add_row(h, duty, a);
    if (!e)
        e = add_notice(h, duty, a);
    if (!e)
        add_withdrawal(h, duty, from);
    return e;
}

/* --- writing --------------------------------------------------------------------------------- */

static enum err queue(struct handover *h, struct db *db, const struct db_stmt *stmt,
                      struct columns *k)
{
    char tenant[ID_TEXT_MAX];
    const char *params[COLUMNS_MAX + 1] = { id_text(h->tenant, tenant) };

    if (!k->rows)
        return ERR_OK;
    enum err e = columns_params(k, &params[1]);
    return e ? e : db_queue(db, stmt, params);
}

enum err handover_queue(struct handover *h, struct db *db)
{
    enum err e = queue(h, db, &sql_duties_hand_over, &h->moved);

    if (!e)
        e = queue(h, db, &sql_notices_withdraw, &h->withdrawn);
    return e ? e : notices_queue(&h->told, db, h->tenant, h->now_us);
}
