/* Majordomo frames: what A.1 says, what programs in the field send (A.4), what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/bus/frames.h"

#define FRAMES 50

/* A message is written as frames separated by '|': "|MDPC01|echo|hi" begins with an empty frame;
 * \1 stands for the command byte 01 and so on. */
struct sample {
    char text[2048];
    struct mdp_frame frames[FRAMES];
    size_t n;
};

static void sample_make(struct sample *s, const char *text)
{
    size_t len = strlen(text), start = 0;
    assert_true(len < sizeof(s->text));
    memcpy(s->text, text, len + 1);
    s->n = 0;
    for (size_t i = 0; i <= len; i++)
        if (text[i] == '|' || text[i] == 0) {
            assert_true(s->n < FRAMES);
            s->frames[s->n++] = (struct mdp_frame){ s->text + start, i - start };
            start = i + 1;
        }
}

static struct mdp_message parse(struct sample *s, const char *text)
{
    struct mdp_message m;
    sample_make(s, text);
    mdp_parse(s->frames, s->n, &m);
    return m;
}

static void commands_mean_what_their_version_says(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum mdp_kind kind;
        int version;
        bool worker;
    } cases[] = {
        { "|MDPC01|echo|hi", MDP_REQUEST, 1, false },
        { "MDPC02|\1|echo|hi", MDP_REQUEST, 2, false },
        { "|MDPW01|\1|echo", MDP_READY, 1, true },
        { "MDPW02|\1|echo", MDP_READY, 2, true },
        { "|MDPW01|\3|addr||hi", MDP_FINAL, 1, true },
        { "MDPW02|\3|addr||hi", MDP_PARTIAL, 2, true },
        { "MDPW02|\4|addr||hi", MDP_FINAL, 2, true },
        { "|MDPW01|\4", MDP_HEARTBEAT, 1, true },
        { "MDPW02|\5", MDP_HEARTBEAT, 2, true },
        { "|MDPW01|\5", MDP_DISCONNECT, 1, true },
        { "MDPW02|\6", MDP_DISCONNECT, 2, true },
        { "MDPW02|\7|relay", MDP_WAKE, 2, true },
        { "MDPW02|\7|timers|bytes", MDP_WAKE, 2, true },
    };
    struct sample s;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct mdp_message m = parse(&s, cases[i].text);
        if (m.kind != cases[i].kind || m.version != cases[i].version ||
            m.from_worker != cases[i].worker)
            fail_msg("case %zu: kind %d version %d", i, m.kind, m.version);
    }
}

static void what_is_not_majordomo_is_bad_with_a_word(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {
        { "hello", "header" },
        { "|hello", "header" },
        { "id|x|MDPC01|echo|hi", "header" }, /* no delimiter */
        { "|", "header" },
        { "a|b|c|d|e|f|g|h|i||MDPC01|echo|hi", "header" }, /* nine in the stack */
        { "MDPC03|\1|echo|hi", "header" },                 /* OpenCMW */
        { "C|3|echo|hi", "header" },                       /* PIGATO */
        { "\xaa\xa4x|body", "header" },                    /* zeromq/majordomo master */
        { "MDPC02|\2|echo|hi", "command" },
        { "MDPC02|echo|hi", "command" },
        { "MDPC02|\1", "service_name" },
        { "MDPC02|\1||hi", "service_name" },
        { "MDPW02|\1", "service_name" },
        { "MDPW02|\1|a|", "service_name" },
        { "|MDPW01|\1|a|b", "service_name" }, /* several services are of 0.2 only */
        { "MDPW02|\x8", "command" },
        { "MDPW02|\2|addr||hi", "command" }, /* our own command */
        { "|MDPW01|\6", "command" },
        { "|MDPW01|\7|relay", "command" },
        { "MDPW02", "command" },
        { "MDPW02|\4|addr", "address" },
        { "MDPW02|\4|addr|hi", "address" },
        { "MDPW02|\4||", "address" },
        { "MDPW02|\7", "channel" },
        { "MDPW02|\7|a|b|c", "channel" },
        { "MDPC02|\1|s|1|2|3|4|5|6|7|8|9", "too_many_frames" },
        { "MDPW02|\4|addr||1|2|3|4|5|6|7|8|9", "too_many_frames" },
    };
    struct sample s;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct mdp_message m = parse(&s, cases[i].text);
        if (m.kind != MDP_BAD || strcmp(m.why, cases[i].why))
            fail_msg("case %zu: kind %d, %s", i, m.kind, m.why ? m.why : "");
    }
}

/* A.5 pitfall 1: REQ_CORRELATE and chained routers put ids before the empty frame. */
static void the_return_stack_is_kept_up_to_eight_frames(void **state)
{
    (void)state;
    struct sample s;
    struct mdp_message m = parse(&s, "1234||MDPC01|echo|hi");
    assert_int_equal(m.kind, MDP_REQUEST);
    assert_int_equal(m.nstack, 1);
    assert_true(m.delimiter);
    assert_int_equal(m.service, 3);
    assert_int_equal(m.body, 4);
    assert_int_equal(m.nbody, 1);

    m = parse(&s, "a|b|c|d|e|f|g|h||MDPC02|\1|echo|1|2|3");
    assert_int_equal(m.kind, MDP_REQUEST);
    assert_int_equal(m.nstack, 8);
    assert_int_equal(m.nbody, 3);

    m = parse(&s, "MDPC02|\1|echo");
    assert_int_equal(m.nstack, 0);
    assert_false(m.delimiter);
    assert_int_equal(m.nbody, 0);

    m = parse(&s, "|MDPC02|\1|echo|hi"); /* majortomo */
    assert_int_equal(m.kind, MDP_REQUEST);
    assert_int_equal(m.nstack, 0);
    assert_true(m.delimiter);
}

/* Every answer brings the stack back, so it may hold routing ids and nothing larger (F52). */
static void a_frame_of_the_return_stack_is_no_longer_than_a_routing_id(void **state)
{
    (void)state;
    static const char *const headers[] = { "|MDPC02|\1|echo|hi", "|MDPC01|mmi.service",
                                           "|MDPW01|\1|echo" };
    char text[300];
    struct sample s;
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        snprintf(text, sizeof(text), "%0*d|%s", MDP_STACK_FRAME_MAX, 1, headers[i]);
        assert_int_not_equal(parse(&s, text).kind, MDP_BAD);
        snprintf(text, sizeof(text), "%0*d|%s", MDP_STACK_FRAME_MAX + 1, 1, headers[i]);
        struct mdp_message m = parse(&s, text);
        assert_int_equal(m.kind, MDP_BAD);
        assert_string_equal(m.why, "return_stack");
    }
}

/* A.5 pitfall 2. */
static void the_empty_message_of_probe_router_is_a_probe(void **state)
{
    (void)state;
    struct sample s;
    assert_int_equal(parse(&s, "").kind, MDP_PROBE);
}

static void ready_may_name_up_to_thirty_two_services(void **state)
{
    (void)state;
    struct sample s;
    struct mdp_message m = parse(&s, "MDPW02|\1|a.v1.A|a.v1.B|a.v1.C");
    assert_int_equal(m.kind, MDP_READY);
    assert_int_equal(m.service, 2);
    assert_int_equal(m.nservices, 3);

    char text[256] = "MDPW02|\1";
    for (size_t i = 0, n = strlen(text); i < MDP_SERVICES_MAX; i++, n += 2)
        memcpy(text + n, "|s", 3);
    assert_int_equal(parse(&s, text).nservices, MDP_SERVICES_MAX);
    memcpy(text + strlen(text), "|s", 3);
    assert_int_equal(parse(&s, text).kind, MDP_BAD);
}

static void service_names_are_printable_and_bounded(void **state)
{
    (void)state;
    char name[300];
    memset(name, 'a', sizeof(name));
    assert_true(mdp_service_name_ok(name, 255));
    assert_false(mdp_service_name_ok(name, 256));
    assert_false(mdp_service_name_ok(name, 0));
    assert_true(mdp_service_name_ok("my echo", 7));
    assert_false(mdp_service_name_ok("a\0b", 3));
    assert_false(mdp_service_name_ok("a\xc3\xa4", 3));
    assert_true(mdp_is_management("mmi.service", 11));
    assert_false(mdp_is_management("mm", 2));
}

static void heads_are_those_of_the_version(void **state)
{
    (void)state;
    struct mdp_head h = mdp_client_head(1, true);
    assert_int_equal(h.n, 1);
    assert_memory_equal(h.frames[0].data, "MDPC01", 6);
    h = mdp_client_head(2, true);
    assert_int_equal(h.n, 2);
    assert_memory_equal(h.frames[1].data, "\3", 1);
    h = mdp_client_head(2, false);
    assert_memory_equal(h.frames[1].data, "\2", 1);

    static const struct {
        int version;
        enum mdp_worker_command command;
        const char *header;
        uint8_t byte;
    } cases[] = {
        { 1, MDP_TO_WORKER_REQUEST, "MDPW01", 2 },    { 2, MDP_TO_WORKER_REQUEST, "MDPW02", 2 },
        { 1, MDP_TO_WORKER_HEARTBEAT, "MDPW01", 4 },  { 2, MDP_TO_WORKER_HEARTBEAT, "MDPW02", 5 },
        { 1, MDP_TO_WORKER_DISCONNECT, "MDPW01", 5 }, { 2, MDP_TO_WORKER_DISCONNECT, "MDPW02", 6 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        h = mdp_worker_head(cases[i].version, cases[i].command);
        assert_memory_equal(h.frames[0].data, cases[i].header, 6);
        assert_int_equal(*(const uint8_t *)h.frames[1].data, cases[i].byte);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_mean_what_their_version_says),
        cmocka_unit_test(what_is_not_majordomo_is_bad_with_a_word),
        cmocka_unit_test(the_return_stack_is_kept_up_to_eight_frames),
        cmocka_unit_test(a_frame_of_the_return_stack_is_no_longer_than_a_routing_id),
        cmocka_unit_test(the_empty_message_of_probe_router_is_a_probe),
        cmocka_unit_test(ready_may_name_up_to_thirty_two_services),
        cmocka_unit_test(service_names_are_printable_and_bounded),
        cmocka_unit_test(heads_are_those_of_the_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
