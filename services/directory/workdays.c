/*
 * workdays.c - the working calendar (ORG-12): import of a year's exceptions, and questions to it.
 *
 * Questions are answered from the tables through a small snapshot of one company, made by the same
 * builder as everybody's: so whoever imported a year sees it at once, and no other code judges
 * days.
 */
#include "services/directory/service.h"

#include "common/directory_build.h"
#include "common/sbuf.h"
#include "services/directory/sql.h"
#include "services/directory/workdays_rules.h"

#define LIST_DAYS_MAX 400
#define ARRAY_LIMIT (1 * MIB)

/* --- reading the tables ----------------------------------------------------------------------- */

static enum err read_day(struct call *call, struct db_row *row, struct calendar_day *day_out)
{
    const char *date = db_row_text(row, "date");

    day_out->is_off_day = db_row_bool(row, "is_off_day");
    day_out->name = arena_strdup(call->arena, db_row_text(row, "name"));
    if (row->bad || !date || !date_parse(date, &day_out->date))
        return ERR_INTERNAL;
    return day_out->name ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err load_year(struct call *call, const char *year, struct calendar_day **days_out,
                          size_t *n_out)
{
    const char *params[] = { call_tenant_text(call), year };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_calendar_days, params, &res);
    if (e)
        return e;
    size_t n = (size_t)PQntuples(res);
    struct calendar_day *days = arena_array(call->arena, n, sizeof(*days));
    if (!days)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; !e && i < n; i++) {
        struct db_row row = { .res = res, .row = (int)i };
        e = read_day(call, &row, &days[i]);
    }
    *days_out = days;
    *n_out = n;
    return e;
}

static enum err is_loaded(struct call *call, const char *year, bool *loaded_out)
{
    const char *params[] = { call_tenant_text(call), year };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_calendar_year_find, params, &res);
    if (!e)
        *loaded_out = PQntuples(res) > 0;
    return e;
}

/* --- import ----------------------------------------------------------------------------------- */

struct import {
    const char *year; /* as text */
    int number;
    struct calendar_day *days; /* by date */
    size_t n;
    struct workdays_change change;
};

static enum err take_days(struct call *call, const Daybook__Directory__V1__ImportDaysRequest *req,
                          struct import *im)
{
    char text[DATE_TEXT_MAX];

    im->days = arena_array(call->arena, req->n_days, sizeof(*im->days));
    if (!im->days)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < req->n_days; i++) {
        const PbCalendarDay *day = req->days[i];
        struct calendar_day *d = &im->days[i];
        *d = (struct calendar_day){ .is_off_day = day->is_off_day, .name = day->name };
        if (!date_parse(day->date, &d->date) || !workdays_rules_belongs(d->date, req->year)) {
            char field[32];
            snprintf(field, sizeof(field), "days[%zu].date", i);
            call_violation(call, field, "must lie in %d or in the December before", req->year);
        }
    }
    enum err e = call_violations(call);
    if (e)
        return e;
    struct date again;
    im->n = req->n_days;
    if (!workdays_rules_sort(im->days, im->n, &again))
        return call_fail(call, ERR_INVALID_ARGUMENT, "days", "%s stands twice",
                         date_format(again, text));
    return ERR_OK;
}

static enum err compare_with_stored(struct call *call, struct import *im, bool *nothing_new)
{
    struct calendar_day *before;
    size_t nbefore = 0;
    bool loaded = false;

    enum err e = is_loaded(call, im->year, &loaded);
    if (!e)
        e = load_year(call, im->year, &before, &nbefore);
    if (e)
        return e;
    im->change.dates = arena_array(call->arena, nbefore + im->n, sizeof(*im->change.dates));
    if (!im->change.dates)
        return ERR_RESOURCE_EXHAUSTED;
    workdays_rules_diff(before, nbefore, im->days, im->n, &im->change);
    *nothing_new = loaded && im->change.n == 0;
    return ERR_OK;
}

static enum err queue_days(struct call *call, const struct import *im)
{
    struct sbuf columns[3];
    char text[DATE_TEXT_MAX];
    bool bad = false;

    for (size_t c = 0; c < ARRAY_LEN(columns); c++) {
        sbuf_init(&columns[c], ARRAY_LIMIT);
        sbuf_add_char(&columns[c], '{');
    }
    for (size_t i = 0; i < im->n; i++) {
        const char *values[] = { date_format(im->days[i].date, text), im->days[i].name,
                                 im->days[i].is_off_day ? "t" : "f" };
        for (size_t c = 0; c < ARRAY_LEN(columns); c++) {
            if (i)
                sbuf_add_char(&columns[c], ',');
            sbuf_add_pg_element(&columns[c], values[c]);
        }
    }
    for (size_t c = 0; c < ARRAY_LEN(columns); c++) {
        sbuf_add_char(&columns[c], '}');
        bad |= columns[c].bad;
    }
    const char *params[] = { call_tenant_text(call), im->year, columns[0].data, columns[1].data,
                             columns[2].data };
    enum err e =
        bad ? ERR_RESOURCE_EXHAUSTED : db_queue(call->db, &sql_calendar_days_insert, params);
    for (size_t c = 0; c < ARRAY_LEN(columns); c++)
        sbuf_fini(&columns[c]);
    return e;
}

static enum err raise_year(struct call *call, const struct import *im, int64_t *version_out)
{
    const char *params[] = { call_tenant_text(call), im->year };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_calendar_year_raise, params, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    *version_out = db_row_i64(&row, "version");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err emit_imported(struct call *call, const struct import *im, int64_t version)
{
    Daybook__Directory__V1__CalendarImported event =
        DAYBOOK__DIRECTORY__V1__CALENDAR_IMPORTED__INIT;
    char text[DATE_TEXT_MAX];

    event.year = im->number;
    event.changed_dates = arena_array(call->arena, im->change.n, sizeof(char *));
    if (!event.changed_dates)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < im->change.n; i++) {
        char *date = arena_strdup(call->arena, date_format(im->change.dates[i], text));
        if (!date)
            return ERR_RESOURCE_EXHAUSTED;
        event.changed_dates[event.n_changed_dates++] = date;
    }
    return call_emit(call, "calendars", im->year, version, &event.base);
}

static enum err replace_year(struct call *call, const struct import *im)
{
    const char *params[] = { call_tenant_text(call), im->year };
    int64_t version = 0;

    enum err e = raise_year(call, im, &version);
    if (!e)
        e = db_queue(call->db, &sql_calendar_days_delete, params);
    if (!e)
        e = queue_days(call, im);
    if (!e)
        e = emit_imported(call, im, version);
    return e ? e : directory_changed(call);
}

enum err workdays_import(struct call *call, const ProtobufCMessage *request,
                         ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__ImportDaysRequest *req = (const void *)request;
    Daybook__Directory__V1__ImportDaysResponse *reply =
        call_new(call, &daybook__directory__v1__import_days_response__descriptor);
    struct import im = { .number = req->year, .year = db_text_i64(call->arena, req->year) };
    bool nothing_new = false;

    enum err e = directory_need_right(call, RIGHT_CALENDAR);
    if (e)
        return e;
    if (!reply || !im.year)
        return ERR_RESOURCE_EXHAUSTED;
    e = take_days(call, req, &im);
    if (!e)
        e = directory_lock(call);
    if (!e)
        e = compare_with_stored(call, &im, &nothing_new);
    if (!e && !nothing_new)
        e = replace_year(call, &im);
    if (e)
        return e;
    reply->stored = (int32_t)im.n;
    reply->changed = (int32_t)im.change.stored_changed;
    *reply_out = &reply->base;
    return ERR_OK;
}

/* --- questions -------------------------------------------------------------------------------- */

static enum err add_policies(struct call *call, struct directory_builder *b)
{
    const char *params[] = { call_tenant_text(call), NULL, NULL,
                             db_text_time(call->arena, call->now_us) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!params[3])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_exec(call->db, &sql_policy_in_force, params, &res);
    for (int i = 0; !e && i < PQntuples(res); i++) {
        struct db_row row = { .res = res, .row = i };
        struct policy_setting s = { .key = db_row_text(&row, "key"),
                                    .value = db_row_text(&row, "value"),
                                    .effective_from_us = INT64_MIN };
        directory_builder_set_policy(b, call->tenant, &s);
    }
    return e;
}

static enum err add_years(struct call *call, struct directory_builder *b)
{
    const char *params[] = { call_tenant_text(call) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_calendar_years, params, &res);
    for (int i = 0; !e && i < PQntuples(res); i++) {
        struct db_row row = { .res = res, .row = i };
        directory_builder_add_days(b, call->tenant, (int16_t)db_row_i32(&row, "year"), NULL, 0);
    }
    return e;
}

static enum err add_days(struct call *call, struct directory_builder *b)
{
    const char *params[] = { call_tenant_text(call), NULL };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_calendar_days, params, &res);
    for (int i = 0; !e && i < PQntuples(res); i++) {
        struct db_row row = { .res = res, .row = i };
        struct calendar_day day;
        e = read_day(call, &row, &day);
        if (!e)
            directory_builder_add_days(b, call->tenant, (int16_t)db_row_i32(&row, "_year"), &day,
                                       1);
    }
    return e;
}

/* The company's calendar as it is committed; the caller releases *own_out. */
static enum err load_calendar(struct call *call, const struct directory **own_out,
                              const struct calendar **calendar_out)
{
    struct directory_builder *b = directory_builder_new();
    if (!b)
        return ERR_RESOURCE_EXHAUSTED;
    directory_builder_add_tenant(b, call->tenant, "", NULL, NULL);
    enum err e = add_policies(call, b);
    if (!e)
        e = add_years(call, b);
    if (!e)
        e = add_days(call, b);
    if (e) {
        directory_builder_free(b);
        return e;
    }
    *own_out = directory_builder_finish(b);
    if (!*own_out)
        return ERR_RESOURCE_EXHAUSTED;
    *calendar_out = directory_tenant(*own_out, call->tenant)->calendar;
    return ERR_OK;
}

/* A verdict for each day from first to last, both included. */
static enum err judge(struct call *call, const struct calendar *c, struct date first,
                      struct date last, size_t *n_out, PbDayVerdict ***list_out)
{
    int32_t n = date_number(last) - date_number(first) + 1;
    PbDayVerdict **list = arena_array(call->arena, (size_t)MAX(n, 0), sizeof(*list));
    char text[DATE_TEXT_MAX];

    if (!list)
        return ERR_RESOURCE_EXHAUSTED;
    for (int32_t i = 0; i < n; i++) {
        struct date d = date_add(first, i);
        PbDayVerdict *v = call_new(call, &daybook__directory__v1__day_verdict__descriptor);
        if (!v)
            return ERR_RESOURCE_EXHAUSTED;
        v->date = arena_strdup(call->arena, date_format(d, text));
        v->is_working_day = calendar_is_working(c, d);
        v->reason = arena_strdup(call->arena, calendar_reason(c, d, call->arena));
        if (!v->date || !v->reason)
            return ERR_RESOURCE_EXHAUSTED;
        list[i] = v;
    }
    *n_out = (size_t)MAX(n, 0);
    *list_out = list;
    return ERR_OK;
}

enum err workdays_add(struct call *call, const ProtobufCMessage *request,
                      ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__AddWorkingDaysRequest *req = (const void *)request;
    Daybook__Directory__V1__AddWorkingDaysResponse *reply =
        call_new(call, &daybook__directory__v1__add_working_days_response__descriptor);
    CLEANUP(directory_releasep) const struct directory *own = NULL;
    const struct calendar *c;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = load_calendar(call, &own, &c);
    if (e)
        return e;
    int64_t from_us = wire_time_us(req->from);
    int64_t due_us = calendar_add_workdays(c, from_us, req->workdays, NULL);
    reply->due_at = wire_time(call->arena, due_us);
    if (!reply->due_at)
        return ERR_RESOURCE_EXHAUSTED;
    e = judge(call, c, date_add(tz_date(c->tz, from_us), 1), tz_date(c->tz, due_us),
              &reply->n_explanation, &reply->explanation);
    *reply_out = &reply->base;
    return e;
}

enum err workdays_list(struct call *call, const ProtobufCMessage *request,
                       ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__ListDaysRequest *req = (const void *)request;
    Daybook__Directory__V1__ListDaysResponse *reply =
        call_new(call, &daybook__directory__v1__list_days_response__descriptor);
    CLEANUP(directory_releasep) const struct directory *own = NULL;
    const struct calendar *c;
    struct date from, to;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    if (!date_parse(req->from, &from) || !date_parse(req->to, &to))
        return call_fail(call, ERR_INVALID_ARGUMENT, "from", "days are written YYYY-MM-DD");
    int32_t apart = date_number(to) - date_number(from);
    if (apart < 0 || apart > LIST_DAYS_MAX)
        return call_fail(call, ERR_INVALID_ARGUMENT, "to", "0 to %d days after from",
                         LIST_DAYS_MAX);
    enum err e = load_calendar(call, &own, &c);
    if (!e)
        e = judge(call, c, from, to, &reply->n_days, &reply->days);
    *reply_out = &reply->base;
    return e;
}
