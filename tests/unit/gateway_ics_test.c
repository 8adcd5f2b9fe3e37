/* Lines of iCalendar: folded between characters, escaped, and closed to whatever a text holds; and
 * visits written as such (protocols E). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/pb_access.h"
#include "common/wire.h"
#include "services/gateway/calendar/calendar_text.h"

typedef Daybook__Visits__V1__CalendarEntry PbEntry;

static struct sbuf out;
static struct ics w;

static int start(void **state)
{
    (void)state;
    sbuf_init(&out, MIB);
    w = (struct ics){ .out = &out };
    return 0;
}

static int stop(void **state)
{
    (void)state;
    sbuf_fini(&out);
    return 0;
}

static const char *text_line(const char *text)
{
    sbuf_clear(&out);
    ics_text(&w, "N", text);
    return out.data;
}

static void texts_are_escaped_and_closed(void **state)
{
    static const struct {
        const char *label, *text, *want;
    } cases[] = {
        { "plain", "a: b\t\"c\"", "N:a: b\t\"c\"\r\n" },
        { "marks", "a\\b;c,d", "N:a\\\\b\\;c\\,d\r\n" },
        { "line ends", "a\nb\r\nc\rd", "N:a\\nb\\nc\\nd\r\n" },
        { "a property", "x\r\nATTENDEE:mailto:y", "N:x\\nATTENDEE:mailto:y\r\n" },
        { "a component", "\nEND:VEVENT\nBEGIN:VEVENT", "N:\\nEND:VEVENT\\nBEGIN:VEVENT\r\n" },
        { "a fold", "a\r\n b", "N:a\\n b\r\n" },
        { "what Python takes for line ends",
          "a\vb\fc\xc2\x85"
          "d\xe2\x80\xa8"
          "e\xe2\x80\xa9"
          "f",
          "N:a\\nb\\nc\\nd\\ne\\nf\r\n" },
        { "separators of files and groups",
          "a\x1c\x1d\x1e"
          "b",
          "N:ab\r\n" },
        { "controls",
          "a\x01\x08\x1b\x7f\xc2\x80\xc2\x9f"
          "b",
          "N:ab\r\n" },
        { "Chinese", "海棠路12号", "N:海棠路12号\r\n" },
        { "no UTF-8",
          "a\xff\xc0\xaf"
          "b\xe6\xb5",
          "N:a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
          "b\xef\xbf\xbd\xef\xbf\xbd\r\n" },
        { "a surrogate",
          "\xed\xa0\x80"
          "x",
          "N:\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (strcmp(text_line(cases[i].text), cases[i].want) != 0)
            fail_msg("%s: %s", cases[i].label, out.data);
}

static void params_are_quoted_and_use_rfc_6868(void **state)
{
    static const struct {
        const char *value, *want;
    } cases[] = {
        { "DATE-TIME", "N;P=DATE-TIME:v\r\n" },
        { "a:b;c,d", "N;P=\"a:b;c,d\":v\r\n" },
        { "George \"Babe\" Ruth", "N;P=George ^'Babe^' Ruth:v\r\n" },
        { "a^b\nc", "N;P=a^^b^nc:v\r\n" },
        { "x\r\nBEGIN:VEVENT", "N;P=\"x^nBEGIN:VEVENT\":v\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        sbuf_clear(&out);
        ics_name(&w, "N");
        ics_param(&w, "P", cases[i].value);
        ics_value(&w, "v");
        assert_string_equal(out.data, cases[i].want);
    }
}

static void other_values_hold_no_line_end(void **state)
{
    (void)state;
    ics_line(&w, "URL", "http://a/\r\nBEGIN:VEVENT");
    assert_string_equal(out.data, "URL:http://a/BEGIN:VEVENT\r\n");
    sbuf_clear(&out);
    ics_time(&w, "DTSTAMP", INT64_C(1767603661999999)); /* 2026-01-05T09:01:01.999999Z */
    assert_string_equal(out.data, "DTSTAMP:20260105T090101Z\r\n");
}

/* What a reader makes of it: folds taken out. */
static void unfold(char *text)
{
    char *to = text;

    for (const char *p = text; *p; p++)
        if (strncmp(p, "\r\n ", 3) == 0)
            p += 2;
        else
            *to++ = *p;
    *to = '\0';
}

static void check_lines(const char *text)
{
    while (*text) {
        const char *end = strstr(text, "\r\n");
        assert_non_null(end);
        assert_in_range(end - text, 0, 75);
        assert_null(memchr(text, '\n', (size_t)(end - text)));
        assert_true(((unsigned char)*text & 0xc0) != 0x80); /* no character is parted */
        if (*text == ' ')
            assert_true(((unsigned char)text[1] & 0xc0) != 0x80);
        text = end + 2;
    }
}

/* Each character at each place of the line. */
static void lines_fold_between_characters(void **state)
{
    static const char *const characters[] = { "a", "é", "海", "🏠", ";", "\\" };

    (void)state;
    for (size_t c = 0; c < ARRAY_LEN(characters); c++)
        for (int lead = 0; lead < 80; lead++) {
            char text[1024], want[2048] = "N:";
            size_t len = strlen(characters[c]);
            bool escaped = characters[c][0] == ';' || characters[c][0] == '\\';
            snprintf(
                text, sizeof(text), "%.*s", lead,
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
            snprintf(want + 2, sizeof(want) - 2, "%s", text);
            for (int i = 0; i < 100; i++) {
                memcpy(text + strlen(text), characters[c], len + 1);
                size_t at = strlen(want);
                snprintf(want + at, sizeof(want) - at, "%s%s", escaped ? "\\" : "", characters[c]);
            }
            (void)text_line(text);
            check_lines(out.data);
            unfold(out.data);
            memcpy(want + strlen(want), "\r\n", 3);
            assert_string_equal(out.data, want);
        }
    assert_string_equal(
        text_line("0123456789012345678901234567890123456789012345678901234567890123456789123456"),
        "N:0123456789012345678901234567890123456789012345678901234567890123456789123\r\n 456\r\n");
}

/* --- visits ------------------------------------------------------------------------------------- */

#define T0 INT64_C(1774404000000000) /* 2026-03-25T02:00:00Z */

static PbEntry *entry(struct arena *a)
{
    PbEntry *e = wire_new(&daybook__visits__v1__calendar_entry__descriptor, a);

    assert_non_null(e);
    e->visit_id = pb_borrow("05000000-0000-7000-8000-000000000001");
    e->state = DAYBOOK__VISITS__V1__VISIT_STATE__VISIT_STATE_APPROVED;
    e->mode = DAYBOOK__VISITS__V1__VISIT_MODE__VISIT_MODE_IN_PERSON;
    e->starts_at = wire_time(a, T0);
    e->ends_at = wire_time(a, T0 + HOUR_US);
    e->changed_at = wire_time(a, T0 - 2 * DAY_US);
    e->sequence = 3;
    e->customer_name = pb_borrow("海棠路商行");
    e->place = pb_borrow("海棠路12号, 2楼");
    e->goal = pb_borrow("Agree on a trial.");
    e->contact_position = pb_borrow("Owner");
    e->contact_phone = pb_borrow("138****1234");
    e->remind_at = wire_time(a, T0 - DAY_US);
    e->departure_minutes = 30;
    return e;
}

static const struct public_url site = { "https://daybook.example.com", "daybook.example.com" };

static const char *written(const PbEntry *e)
{
    sbuf_clear(&out);
    calendar_text_begin(&w, "Mx Li: visits");
    if (e)
        calendar_text_add(&w, &site, e);
    calendar_text_end(&w, e != NULL);
    assert_false(out.bad);
    check_lines(out.data);
    unfold(out.data);
    return out.data;
}

static void an_approved_visit_VIS_30_EXT_03(void **state)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);

    (void)state;
    PbEntry *e = entry(a);
    e->location = wire_new(&daybook__common__v1__lat_lng__descriptor, a);
    e->location->latitude = 31.23;
    e->location->longitude = 121.47;
    assert_string_equal(
        written(e),
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Daybook//Visits//EN\r\n"
        "NAME:Mx Li: visits\r\nX-WR-CALNAME:Mx Li: visits\r\n"
        "REFRESH-INTERVAL;VALUE=DURATION:PT1H\r\nX-PUBLISHED-TTL:PT1H\r\n"
        "BEGIN:VEVENT\r\nUID:visit-05000000-0000-7000-8000-000000000001@daybook.example.com\r\n"
        "DTSTAMP:20260323T020000Z\r\nLAST-MODIFIED:20260323T020000Z\r\nSEQUENCE:3\r\n"
        "DTSTART:20260325T020000Z\r\nDTEND:20260325T030000Z\r\nSTATUS:CONFIRMED\r\n"
        "TRANSP:OPAQUE\r\nSUMMARY:海棠路商行\r\n"
        "DESCRIPTION:Goal: Agree on a trial.\\nContact: Owner\\, 138****1234\\nState: approved\r\n"
        "LOCATION:海棠路12号\\, 2楼\r\nGEO:31.230000;121.470000\r\n"
        "X-APPLE-STRUCTURED-LOCATION;VALUE=URI;X-TITLE=\"海棠路12号, "
        "2楼\":geo:31.230000,121.470000\r\n"
        "URL:https://daybook.example.com/daybook.visits.v1.VisitService/"
        "Get?connect=v1&encoding=json"
        "&message=%7B%22id%22%3A%2205000000-0000-7000-8000-000000000001%22%7D\r\n"
        "BEGIN:VALARM\r\nACTION:DISPLAY\r\nDESCRIPTION:海棠路商行: leave 30 minutes early\r\n"
        "TRIGGER:-P1D\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n");
}

static void states_have_a_status(void **state)
{
    static const char *const want[] = { [1] = "TENTATIVE", "CONFIRMED", "CANCELLED",
                                        "CANCELLED",       "CONFIRMED", "CONFIRMED",
                                        "CONFIRMED",       "CONFIRMED", "CONFIRMED" };
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);
    char line[40];

    (void)state;
    PbEntry *e = entry(a);
    for (int i = 1; i < (int)ARRAY_LEN(want); i++) {
        e->state = (Daybook__Visits__V1__VisitState)i;
        snprintf(line, sizeof(line), "\r\nSTATUS:%s\r\n", want[i]);
        assert_non_null(strstr(written(e), line));
    }
}

static void reminders_are_counted_back_TMR_08(void **state)
{
    static const struct {
        int64_t before_us;
        const char *want;
    } cases[] = {
        { 3 * DAY_US, "\r\nTRIGGER:-P3D\r\n" },
        { 30 * MINUTE_US, "\r\nTRIGGER:-PT30M\r\n" },
        { DAY_US - HOUR_US, "\r\nTRIGGER:-PT1380M\r\n" }, /* over the change to summer time */
        { 0, "\r\nTRIGGER:-PT0M\r\n" },
    };
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);

    (void)state;
    PbEntry *e = entry(a);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        e->remind_at = wire_time(a, T0 - cases[i].before_us);
        assert_non_null(strstr(written(e), cases[i].want));
    }
    e->remind_at = NULL;
    assert_null(strstr(written(e), "VALARM"));
}

static void what_is_not_known_is_left_out(void **state)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);

    (void)state;
    PbEntry *e = entry(a);
    e->customer_name = e->place = e->goal = e->contact_position = e->contact_phone = pb_borrow("");
    e->mode = DAYBOOK__VISITS__V1__VISIT_MODE__VISIT_MODE_PHONE;
    e->departure_minutes = 0;
    const char *text = written(e);
    assert_non_null(
        strstr(text, "\r\nSUMMARY:Visit (by phone)\r\nDESCRIPTION:State: approved\r\nURL:"));
    assert_non_null(strstr(text, "\r\nDESCRIPTION:Visit (by phone)\r\n"));
}

static void without_visits_there_is_a_zone(void **state)
{
    (void)state;
    const char *text = written(NULL);
    assert_non_null(strstr(text, "PT1H\r\nBEGIN:VTIMEZONE\r\nTZID:Etc/UTC\r\nBEGIN:STANDARD\r\n"
                                 "DTSTART:19700101T000000\r\nTZOFFSETFROM:+0000\r\n"
                                 "TZOFFSETTO:+0000\r\nTZNAME:UTC\r\nEND:STANDARD\r\n"
                                 "END:VTIMEZONE\r\nEND:VCALENDAR\r\n"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(texts_are_escaped_and_closed),      TEST(params_are_quoted_and_use_rfc_6868),
        TEST(other_values_hold_no_line_end),     TEST(lines_fold_between_characters),
        TEST(an_approved_visit_VIS_30_EXT_03),   TEST(states_have_a_status),
        TEST(reminders_are_counted_back_TMR_08), TEST(what_is_not_known_is_left_out),
        TEST(without_visits_there_is_a_zone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
