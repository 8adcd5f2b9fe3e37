/*
 * calendar_text.h - visits as an iCalendar object (protocols E, Profile). Pure.
 *
 *     calendar_text_begin(&w, "Mx Li: visits");
 *     calendar_text_add(&w, site, entry);      any number of times
 *     calendar_text_end(&w, any);
 */
#ifndef DAYBOOK_GATEWAY_CALENDAR_TEXT_H
#define DAYBOOK_GATEWAY_CALENDAR_TEXT_H

#include "daybook/visits/v1/visits.pb-c.h"
#include "services/gateway/ics.h"

/* More than an entry can take: its texts are limited by the checks of visits. */
#define CALENDAR_ENTRY_BYTES_MAX (64 * KIB)

/* Where we are seen from outside. */
struct calendar_site {
    const char *url;  /* "https://daybook.example.com", without a slash at the end */
    const char *host; /* "daybook.example.com": of the UIDs, and so never to change */
};

void calendar_text_begin(struct ics *w, const char *name);
void calendar_text_add(struct ics *w, const struct calendar_site *site,
                       const Daybook__Visits__V1__CalendarEntry *entry);
/* any: whether there was an entry; a calendar without a component is none. */
void calendar_text_end(struct ics *w, bool any);

#endif
