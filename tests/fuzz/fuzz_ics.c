/*
 * fuzz_ics.c - any bytes as the texts of a visit, parted by NUL: customer, place, goal, position and
 * phone of the contact.
 *
 * Whatever they are, the calendar is one event with one alarm, with the properties that these texts
 * have, in lines of 75 octets at most that hold nothing but UTF-8 without line ends and controls.
 */
#include <assert.h>

#include "common/arena.h"
#include "common/utf8.h"
#include "common/wire.h"
#include "services/gateway/calendar/calendar_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

typedef Daybook__Visits__V1__CalendarEntry PbEntry;
#define TEXTS 5
#define LINE_OCTETS 75
/* The largest text that a visit can have; longer ones are refused when they come. */
#define TEXT_BYTES 4000

/* --- the event ---------------------------------------------------------------------------------- */

static char *next_text(struct arena *a, const uint8_t **p, const uint8_t *end)
{
    const uint8_t *nul = memchr(*p, '\0', (size_t)(end - *p));
    const uint8_t *stop = nul ? nul : end;
    char *text = arena_strndup(a, (const char *)*p, MIN((size_t)(stop - *p), TEXT_BYTES));

    assert(text);
    *p = nul ? nul + 1 : end;
    return text;
}

static PbEntry *entry_of(struct arena *a, const uint8_t *data, size_t len)
{
    PbEntry *e = wire_new(&daybook__visits__v1__calendar_entry__descriptor, a);
    const uint8_t *end = data + len;

    assert(e);
    char **texts[TEXTS] = { &e->customer_name, &e->place, &e->goal, &e->contact_position,
                            &e->contact_phone };
    for (size_t i = 0; i < TEXTS; i++)
        *texts[i] = next_text(a, &data, end);
    e->visit_id = arena_strdup(a, "05000000-0000-7000-8000-000000000001");
    e->state = (Daybook__Visits__V1__VisitState)(len % 11);
    e->mode = (Daybook__Visits__V1__VisitMode)(len % 4);
    e->starts_at = wire_time(a, (int64_t)len * HOUR_US);
    e->ends_at = wire_time(a, (int64_t)len * HOUR_US + HOUR_US);
    e->remind_at = wire_time(a, 0);
    e->departure_minutes = (int32_t)(len % 3);
    e->location = wire_new(&daybook__common__v1__lat_lng__descriptor, a);
    assert(e->visit_id && e->starts_at && e->ends_at && e->remind_at && e->location);
    return e;
}

/* --- the reader --------------------------------------------------------------------------------- */

/* Nothing that any reader takes for the end of a line, and no control. */
static void check_characters(const char *line, size_t len)
{
    assert(utf8_is_valid(line, len));
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)line[i];
        assert((c >= 0x20 || c == '\t') && c != 0x7f);
        assert(len - i < 2 || !(c == 0xc2 && (unsigned char)line[i + 1] < 0xa0));
        assert(len - i < 3 || (memcmp(line + i, "\xe2\x80\xa8", 3) != 0 &&
                               memcmp(line + i, "\xe2\x80\xa9", 3) != 0));
    }
}

/* Takes the folds out; each piece is judged as it stands, so no character is parted. */
static void unfold(const struct sbuf *b, struct sbuf *out)
{
    for (const char *p = b->data; *p;) {
        const char *end = strstr(p, "\r\n");
        assert(end && end - p <= LINE_OCTETS);
        check_characters(p, (size_t)(end - p));
        bool folded = strncmp(end, "\r\n ", 3) == 0;
        sbuf_add(out, p, (size_t)(end - p));
        if (!folded)
            sbuf_add_char(out, '\n');
        p = end + (folded ? 3 : 2);
    }
    assert(!out->bad);
}

static bool is_named(const char *line, const char *name)
{
    size_t len = strlen(name);
    return strncmp(line, name, len) == 0 && (line[len] == ':' || line[len] == ';');
}

/* The lines have these names in this order; NULL: not there. */
static void check_names(const char *text, const PbEntry *e)
{
    const char *const names[] = {
        "BEGIN:VCALENDAR\n",
        "VERSION",
        "PRODID",
        "NAME",
        "X-WR-CALNAME",
        "REFRESH-INTERVAL",
        "X-PUBLISHED-TTL",
        "BEGIN:VEVENT\n",
        "UID",
        "DTSTAMP",
        "LAST-MODIFIED",
        "SEQUENCE",
        "DTSTART",
        "DTEND",
        "STATUS",
        "TRANSP",
        "SUMMARY",
        "DESCRIPTION",
        *e->place ? "LOCATION" : NULL,
        "GEO",
        "X-APPLE-STRUCTURED-LOCATION",
        "URL",
        "BEGIN:VALARM\n",
        "ACTION",
        "DESCRIPTION",
        "TRIGGER",
        "END:VALARM\n",
        "END:VEVENT\n",
        "END:VCALENDAR\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!names[i])
            continue;
        bool whole = strchr(names[i], '\n') != NULL;
        assert(whole ? strncmp(text, names[i], strlen(names[i])) == 0 : is_named(text, names[i]));
        text = strchr(text, '\n') + 1;
    }
    assert(!*text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct public_url site = { "https://daybook.example.com", "daybook.example.com" };
    struct arena *a = arena_new(MIB);
    struct sbuf out, plain;
    struct ics w = { .out = &out };

    assert(a);
    sbuf_init(&out, MIB);
    sbuf_init(&plain, MIB);
    PbEntry *e = entry_of(a, data, len);
    calendar_text_begin(&w, e->customer_name);
    calendar_text_add(&w, &site, e);
    calendar_text_end(&w, true);
    assert(!out.bad && out.len < CALENDAR_ENTRY_BYTES_MAX + KIB);
    unfold(&out, &plain);
    check_names(plain.data, e);
    sbuf_fini(&plain);
    sbuf_fini(&out);
    arena_free(a);
    return 0;
}
