/*
 * ics.h - lines of iCalendar (RFC 5545, RFC 6868): folded, escaped, and nothing else in them.
 *
 * Whatever a text holds, it stays within its value: control characters are left out, and whatever any
 * reader might take for the end of a line becomes \n. Bytes that are not UTF-8 become U+FFFD. Pure;
 * what does not fit sets out->bad.
 *
 *     ics_name(&w, "TRIGGER"); ics_param(&w, "VALUE", "DATE-TIME"); ics_value(&w, "...");
 */
#ifndef DAYBOOK_GATEWAY_ICS_H
#define DAYBOOK_GATEWAY_ICS_H

#include "common/sbuf.h"

struct ics {
    struct sbuf *out; /* the caller's */
    size_t column;    /* octets of the line so far */
};

void ics_begin(struct ics *w, const char *component);
void ics_end(struct ics *w, const char *component);

/* A line: its name, any parameters, and one value, which ends it. */
void ics_name(struct ics *w, const char *name); /* ours: written as it is */
void ics_param(struct ics *w, const char *name, const char *value);
void ics_value(struct ics *w, const char *value); /* no TEXT: a number, time, URI */
void ics_value_text(struct ics *w, const char *text);
void ics_value_time(struct ics *w, int64_t us); /* UTC, whole seconds */

/* Whole lines without parameters. */
void ics_line(struct ics *w, const char *name, const char *value);
void ics_text(struct ics *w, const char *name, const char *text);
void ics_time(struct ics *w, const char *name, int64_t us);

#endif
