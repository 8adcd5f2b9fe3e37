/*
 * notice.c - see notice.h.
 */
#include "services/reminders/notice.h"

#include "common/clock.h"
#include "services/reminders/sql.h"

#define COLUMNS 10
#define COLUMNS_POSTS 2
#define PARAMS_BEFORE 2 /* the company and the moment */

void notices_init(struct notices *n, bool posts)
{
    n->posts = posts;
    columns_init_binary(&n->k, COLUMNS + (posts ? COLUMNS_POSTS : 0));
}

void notices_fini(struct notices *n)
{
    columns_fini(&n->k);
}

void notices_add(struct notices *n, const struct notice *notice)
{
    const struct duty *duty = notice->duty;
    struct columns *k = &n->k;

    columns_id(k,
               notification_id(duty->id, duty->round, notice->step, notice->recipient, "in_app"));
    columns_id(k, duty->id);
    columns_text(k, duty->pb->rule);
    columns_text(k, notice->kind);
    columns_i64(k, notice->step);
    columns_id(k, notice->recipient);
    columns_time(k, notice->due_us);
    columns_bool(k, notice->late);
    columns_text(k, notice->skipped ? "skipped" : "delivered");
    columns_text(k, notice->text);
    if (!n->posts)
        return;
    columns_id(k, notification_id(duty->id, duty->round, notice->step, notice->recipient, "http"));
    columns_i64(k, delivery_lane(notice->recipient));
}

enum err notices_queue(struct notices *n, struct db *db, struct id tenant, int64_t told_us)
{
    char company[ID_TEXT_MAX], told[TIME_TEXT_MAX];
    struct db_param params[PARAMS_BEFORE + COLUMNS + COLUMNS_POSTS] = {
        { .value = id_text(tenant, company) },
        { .value = time_format(told_us, told) },
    };
    const struct db_stmt *stmt = n->posts ? &sql_notices_insert : &sql_notices_insert_in_app;

    if (!n->k.rows)
        return ERR_OK;
    enum err e = columns_binary_params(&n->k, &params[PARAMS_BEFORE]);
    return e ? e : db_queue_params(db, stmt, params, NULL, NULL);
}
