/*
 * calendar_text.h - visits as an iCalendar object (protocols E, Profile). Pure.
 *
 *     calendar_text_begin(&w, "Mx Li: visits");
 *     calendar_text_add(&w, at, entry);      any number of times
 *     calendar_text_end(&w, any);
 */
#ifndef DAYBOOK_GATEWAY_CALENDAR_TEXT_H
#define DAYBOOK_GATEWAY_CALENDAR_TEXT_H

#include "daybook/visits/v1/visits.pb-c.h"
#include "services/gateway/calendar/ics.h"
#include "services/gateway/public_url.h"

/* More than an entry can take: its texts are limited by the checks of visits. */
#define CALENDAR_ENTRY_BYTES_MAX (64 * KIB)

void calendar_text_begin(struct ics *w, const char *name);
/* at: its host is part of the UIDs, which may never change. */
void calendar_text_add(struct ics *w, const struct public_url *at,
                       const Daybook__Visits__V1__CalendarEntry *entry);
/* any: whether there was an entry; a calendar without a component is none. */
void calendar_text_end(struct ics *w, bool any);

#endif
