/*
 * calendar_text.c - see calendar_text.h.
 *
 * No METHOD: with PUBLISH the rules of RFC 5546 hold, which ask for an ORGANIZER. DTSTAMP is the
 * change of the visit and not now, or else each poll would look like a change. Times are UTC, so no
 * zone is needed.
 */
#include "services/gateway/calendar/calendar_text.h"

#include "common/wire.h"

typedef Daybook__Visits__V1__CalendarEntry PbEntry;
#define STATE(name) DAYBOOK__VISITS__V1__VISIT_STATE__VISIT_STATE_##name
#define MODE(name) DAYBOOK__VISITS__V1__VISIT_MODE__VISIT_MODE_##name
#define TEXT_MAX (16 * KIB)

/* Shown states and their meaning to a calendar; a rejected visit will not be, as a cancelled one. */
static const struct {
    int state;
    const char *status, *words;
} states[] = {
    { STATE(REQUESTED), "TENTATIVE", "requested, not approved yet" },
    { STATE(APPROVED), "CONFIRMED", "approved" },
    { STATE(REJECTED), "CANCELLED", "rejected" },
    { STATE(CANCELLED), "CANCELLED", "cancelled" },
    { STATE(CHECKED_IN), "CONFIRMED", "checked in" },
    { STATE(ENDED), "CONFIRMED", "ended, report missing" },
    { STATE(REPORTED), "CONFIRMED", "reported" },
    { STATE(RETURNED), "CONFIRMED", "report returned" },
    { STATE(CLOSED), "CONFIRMED", "closed" },
};

/* A state that a newer service has is shown as what it surely is: a visit. */
static size_t state_of(const PbEntry *e)
{
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        if (states[i].state == (int)e->state)
            return i;
    return 1;
}

/* --- texts -------------------------------------------------------------------------------------- */

static void summary_of(const PbEntry *e, struct sbuf *b)
{
    sbuf_add_text(b, *e->customer_name ? e->customer_name : "Visit");
    if (e->mode == MODE(PHONE))
        sbuf_add_text(b, " (by phone)");
    if (e->mode == MODE(VIDEO))
        sbuf_add_text(b, " (by video)");
}

static void description_of(const PbEntry *e, struct sbuf *b)
{
    bool has_both = *e->contact_position && *e->contact_phone;

    if (*e->goal)
        sbuf_addf(b, "Goal: %s\n", e->goal);
    if (*e->contact_position || *e->contact_phone)
        sbuf_addf(b, "Contact: %s%s%s\n", e->contact_position, has_both ? ", " : "",
                  e->contact_phone);
    sbuf_addf(b, "State: %s", states[state_of(e)].words);
}

static void add_text(struct ics *w, const char *name, const PbEntry *e,
                     void (*text_of)(const PbEntry *e, struct sbuf *b))
{
    char mem[TEXT_MAX];
    struct sbuf b;

    sbuf_init_fixed(&b, mem, sizeof(mem));
    text_of(e, &b);
    w->out->bad |= b.bad;
    ics_text(w, name, b.data);
}

/* --- parts of an event -------------------------------------------------------------------------- */

/* Place and point on the map, from which programs find the way (VIS-30). */
static void add_place(struct ics *w, const PbEntry *e)
{
    char text[64];

    if (*e->place)
        ics_text(w, "LOCATION", e->place);
    if (!e->location)
        return;
    snprintf(text, sizeof(text), "%.6f;%.6f", e->location->latitude, e->location->longitude);
    ics_line(w, "GEO", text);
    snprintf(text, sizeof(text), "geo:%.6f,%.6f", e->location->latitude, e->location->longitude);
    ics_name(w, "X-APPLE-STRUCTURED-LOCATION");
    ics_param(w, "VALUE", "URI");
    ics_param(w, "X-TITLE", e->place);
    ics_value(w, text);
}

/* The record, for a program with an API key. */
static void add_url(struct ics *w, const struct public_url *at, const PbEntry *e)
{
    char url[PUBLIC_URL_MAX + 200];
    struct sbuf b;

    sbuf_init_fixed(&b, url, sizeof(url));
    sbuf_addf(&b,
              "%s/daybook.visits.v1.VisitService/Get?connect=v1&encoding=json"
              "&message=%%7B%%22id%%22%%3A%%22%s%%22%%7D",
              at->url, e->visit_id);
    w->out->bad |= b.bad;
    ics_line(w, "URL", url);
}

static void alarm_text_of(const PbEntry *e, struct sbuf *b)
{
    summary_of(e, b);
    if (e->departure_minutes > 0)
        sbuf_addf(b, ": leave %" PRId32 " minutes early", e->departure_minutes);
}

/* Counted back from the start, since some programs know no other way. */
static void add_alarm(struct ics *w, const PbEntry *e)
{
    char trigger[40];

    if (!e->remind_at)
        return;
    int64_t lead_us = MAX(0, wire_time_us(e->starts_at) - wire_time_us(e->remind_at));
    if (lead_us > 0 && lead_us % DAY_US == 0)
        snprintf(trigger, sizeof(trigger), "-P%" PRId64 "D", lead_us / DAY_US);
    else
        snprintf(trigger, sizeof(trigger), "-PT%" PRId64 "M", lead_us / MINUTE_US);
    ics_begin(w, "VALARM");
    ics_line(w, "ACTION", "DISPLAY");
    add_text(w, "DESCRIPTION", e, alarm_text_of);
    ics_line(w, "TRIGGER", trigger);
    ics_end(w, "VALARM");
}

/* --- the object --------------------------------------------------------------------------------- */

void calendar_text_begin(struct ics *w, const char *name)
{
    ics_begin(w, "VCALENDAR");
    ics_line(w, "VERSION", "2.0");
    ics_line(w, "PRODID", "-//Daybook//Visits//EN");
    ics_text(w, "NAME", name);
    ics_text(w, "X-WR-CALNAME", name);
    ics_name(w, "REFRESH-INTERVAL");
    ics_param(w, "VALUE", "DURATION");
    ics_value(w, "PT1H");
    ics_line(w, "X-PUBLISHED-TTL", "PT1H");
}

void calendar_text_add(struct ics *w, const struct public_url *at, const PbEntry *e)
{
    char text[PUBLIC_URL_MAX + 64];
    struct sbuf uid;

    sbuf_init_fixed(&uid, text, sizeof(text));
    sbuf_addf(&uid, "visit-%s@%s", e->visit_id, at->host);
    w->out->bad |= uid.bad;
    ics_begin(w, "VEVENT");
    ics_text(w, "UID", uid.data);
    ics_time(w, "DTSTAMP", wire_time_us(e->changed_at));
    ics_time(w, "LAST-MODIFIED", wire_time_us(e->changed_at));
    snprintf(text, sizeof(text), "%" PRId64, e->sequence);
    ics_line(w, "SEQUENCE", text);
    ics_time(w, "DTSTART", wire_time_us(e->starts_at));
    ics_time(w, "DTEND", wire_time_us(e->ends_at));
    ics_line(w, "STATUS", states[state_of(e)].status);
    ics_line(w, "TRANSP", "OPAQUE");
    add_text(w, "SUMMARY", e, summary_of);
    add_text(w, "DESCRIPTION", e, description_of);
    add_place(w, e);
    add_url(w, at, e);
    add_alarm(w, e);
    ics_end(w, "VEVENT");
}

/* A zone that nothing refers to is a component, and the only one that shows nothing. */
static void add_zone(struct ics *w)
{
    ics_begin(w, "VTIMEZONE");
    ics_line(w, "TZID", "Etc/UTC");
    ics_begin(w, "STANDARD");
    ics_line(w, "DTSTART", "19700101T000000");
    ics_line(w, "TZOFFSETFROM", "+0000");
    ics_line(w, "TZOFFSETTO", "+0000");
    ics_line(w, "TZNAME", "UTC");
    ics_end(w, "STANDARD");
    ics_end(w, "VTIMEZONE");
}

void calendar_text_end(struct ics *w, bool any)
{
    if (!any)
        add_zone(w);
    ics_end(w, "VCALENDAR");
}
