/*
 * The life of a daemon, told by the echo daemon (tests/support/echo): the test is its bus.
 * Every wait is for a condition, with a limit.
 */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/admin.h"
#include "common/bus_client.h"
#include "common/clock.h"
#include "common/mdp.h"
#include "common/wire.h"
#include "tests/support/folder.h"
#include "tests/support/router.h"
#include "tests/support/servers.h"
#include "tests/support/slack.h"

#define WAIT_US (20 * SECOND_US)

struct stage {
    void *zmq;
    struct router router;
    void *events; /* XPUB */
    char events_endpoint[128];
    char dir[FOLDER_MAX];
    char admin[96];
    pid_t pid;
    struct arena *arena;
};

static const char *path_of(const char *program)
{
    static char path[512];
    const char *bin = getenv("DAYBOOK_BIN");
    assert_non_null(bin);
    snprintf(path, sizeof path, "%s/%s", bin, program);
    return path;
}

static void open_stage(struct stage *s)
{
    *s = (struct stage){ .zmq = zmq_ctx_new(), .pid = -1 };
    folder_make(s->dir, "daybook-daemon");
    snprintf(s->admin, sizeof s->admin, "unix:%s/admin", s->dir);
    router_open(&s->router, s->zmq, "tcp://127.0.0.1:*");
    s->events = zmq_socket(s->zmq, ZMQ_XPUB);
    int linger = 0;
    size_t size = sizeof s->events_endpoint;
    zmq_setsockopt(s->events, ZMQ_LINGER, &linger, sizeof linger);
    assert_int_equal(zmq_bind(s->events, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(s->events, ZMQ_LAST_ENDPOINT, s->events_endpoint, &size), 0);
    s->arena = arena_new(16 * MIB);
    assert_non_null(s->arena);
}

/* extra: "KEY=value" texts ended by NULL; argument: NULL = run. This process has other threads, and
 * what they hold when it forks is held in the child for ever (a sanitizer's heap, too): the child
 * allocates nothing, and env sets its variables. */
static void start_program(struct stage *s, const char *program, const char *argument,
                          const char *const *extra)
{
    char bus[160], events[160], admin[160];
    snprintf(bus, sizeof bus, "DAYBOOK_BUS_ENDPOINT=%s", s->router.endpoint);
    snprintf(events, sizeof events, "DAYBOOK_BUS_EVENTS=%s", s->events_endpoint);
    snprintf(admin, sizeof admin, "DAYBOOK_ADMIN_LISTEN=%s", s->admin);
    union { /* exec changes none of them */
        const char *text[16];
        char *exec[16];
    } argv = { .text = { "env", bus, events, admin, "DAYBOOK_WORKERS=1",
                         "DAYBOOK_INSECURE_ENV_SECRETS=1",
                         "DAYBOOK_DEBUG_DUMPABLE=1" /* the leak checker reads /proc */ } };
    size_t n = 7;
    for (size_t i = 0; extra && extra[i]; i++)
        argv.text[n++] = extra[i];
    assert_true(n + 3 <= ARRAY_LEN(argv.text));
    argv.text[n++] = path_of(program);
    argv.text[n++] = argument;

    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv("/usr/bin/env", argv.exec);
    _exit(127);
}

static void start_daemon(struct stage *s, const char *const *extra)
{
    start_program(s, "test-echo", NULL, extra);
}

/* Which program it is by now and what it waits for, since this is not seen twice. */
static NORETURN void does_not_end(pid_t pid)
{
    static const char *const files[] = { "cmdline", "status", "wchan" };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char path[64], text[2048];
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, files[i]);
        int fd = open(path, O_RDONLY);
        ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text);
        if (fd >= 0)
            close(fd);
        if (len > 0)
            print_error("%s: %.*s\n", path, (int)len, text);
    }
    fail_msg("the daemon does not end");
    abort();
}

static int end_of_daemon(struct stage *s)
{
    int status = 0;
    int64_t until_us = clock_monotonic_us() + slack(WAIT_US);
    while (waitpid(s->pid, &status, WNOHANG) == 0) {
        if (clock_monotonic_us() > until_us)
            does_not_end(s->pid);
        usleep(1000);
    }
    s->pid = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void close_stage(struct stage *s)
{
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    router_close(&s->router);
    zmq_close(s->events);
    zmq_ctx_term(s->zmq);
    arena_free(s->arena);
    folder_remove(s->dir);
}

/* The next command of a worker other than HEARTBEAT; a daemon's consumer asks for the log meanwhile, as a client. */
static uint8_t next_command(struct stage *s, struct bus_frames *out)
{
    for (;;) {
        if (!router_receive(&s->router, (int)(WAIT_US / 1000), out))
            fail_msg("nothing from the daemon");
        assert_true(out->n >= 3);
        uint8_t command = *(uint8_t *)zmq_msg_data(&out->frame[2]);
        bool is_worker = bus_frame_is(&out->frame[1], MDP_WORKER_02, MDP_HEADER_LEN);
        if (is_worker && command != MDP02_W_HEARTBEAT)
            return command;
        bus_frames_close(out);
    }
}

static void expect(struct stage *s, uint8_t command, struct bus_frames *out)
{
    uint8_t got = next_command(s, out);
    if (got != command)
        fail_msg("command %d instead of %d", got, command);
}

static void drop(struct stage *s, uint8_t command)
{
    struct bus_frames f;
    expect(s, command, &f);
    bus_frames_close(&f);
}

static void request(struct stage *s, struct bus_frames *ready, const char *method,
                    const char *message)
{
    PbCallContext context;
    uint8_t packed[256];
    char id[] = "req-1";
    daybook__common__v1__call_context__init(&context);
    context.request_id = id;
    context.deadline_ms = 30000;
    size_t len = protobuf_c_message_pack(&context.base, packed);
    const struct router_frame frames[] = { ROUTER_TEXT(MDP_WORKER_02), ROUTER_BYTE(MDP02_W_REQUEST),
                                           ROUTER_TEXT("token"),       ROUTER_NONE,
                                           ROUTER_TEXT(method),        { packed, len },
                                           ROUTER_TEXT(message) };
    router_send(&s->router, &ready->frame[0], frames, ARRAY_LEN(frames));
}

static void expect_answer(struct stage *s, const char *reply)
{
    struct bus_frames f;
    expect(s, MDP02_W_FINAL, &f);
    assert_int_equal(f.n, 7);
    assert_true(bus_frame_is(&f.frame[3], "token", 5));
    if (!bus_frame_is(&f.frame[6], reply, strlen(reply)))
        fail_msg("answer is '%.*s'", (int)zmq_msg_size(&f.frame[6]),
                 (const char *)zmq_msg_data(&f.frame[6]));
    ProtobufCMessage *result;
    struct wire_fault fault;
    assert_int_equal(wire_unpack(&daybook__common__v1__call_result__descriptor,
                                 zmq_msg_data(&f.frame[5]), zmq_msg_size(&f.frame[5]),
                                 &wire_limits_internal, s->arena, &result, &fault),
                     ERR_OK);
    assert_string_equal(((PbCallResult *)result)->request_id, "req-1");
    bus_frames_close(&f);
}

static void until_ready(struct stage *s, int want)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (admin_health(s->admin) != want) {
        if (clock_monotonic_us() > until_us)
            fail_msg("readiness does not become %d", want);
        usleep(10000);
    }
}

static void it_serves_and_stops_in_order(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    open_stage(&s);
    start_daemon(&s, NULL);
    expect(&s, MDP02_W_READY, &ready);
    assert_int_equal(ready.n, 5);
    assert_true(bus_frame_is(&ready.frame[3], "test.EchoService", 16));
    assert_true(bus_frame_is(&ready.frame[4], "test.HearService", 16));
    until_ready(&s, 0);
    for (int i = 0; i < 100; i++) {
        request(&s, &ready, "Echo", "hello");
        expect_answer(&s, "hello");
    }
    kill(s.pid, SIGTERM);
    drop(&s, MDP02_W_DISCONNECT);
    assert_int_equal(end_of_daemon(&s), 0);
    bus_frames_close(&ready);
    close_stage(&s);
}

static void sigterm_lets_the_request_in_work_finish_F09(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    char go[128];
    open_stage(&s);
    start_daemon(&s, NULL);
    expect(&s, MDP02_W_READY, &ready);
    snprintf(go, sizeof go, "%s/go", s.dir);
    request(&s, &ready, "Hold", go);
    until_ready(&s, 0);
    kill(s.pid, SIGTERM);
    drop(&s, MDP02_W_DISCONNECT);
    until_ready(&s, 1); /* says so while it drains */
    assert_int_equal(waitpid(s.pid, NULL, WNOHANG), 0);
    int fd = open(go, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    expect_answer(&s, go);
    assert_int_equal(end_of_daemon(&s), 0);
    bus_frames_close(&ready);
    close_stage(&s);
}

static void a_drain_that_takes_too_long_ends_with_75(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    open_stage(&s);
    start_daemon(&s, (const char *const[]){ "DAYBOOK_DRAIN_TIMEOUT=300ms", NULL });
    expect(&s, MDP02_W_READY, &ready);
    request(&s, &ready, "Hold", "/nowhere/at/all");
    until_ready(&s, 0);
    kill(s.pid, SIGTERM);
    assert_int_equal(end_of_daemon(&s), 75);
    bus_frames_close(&ready);
    close_stage(&s);
}

static void a_second_signal_ends_it_at_once(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    /* To end at once is to wait for no thread, which the thread sanitizer calls a leak. */
    const char *options = getenv("TSAN_OPTIONS");
    char no_leaks[400];
    snprintf(no_leaks, sizeof no_leaks, "TSAN_OPTIONS=%s report_thread_leaks=0",
             options ? options : "");
    open_stage(&s);
    start_daemon(&s, (const char *const[]){ no_leaks, NULL });
    expect(&s, MDP02_W_READY, &ready);
    request(&s, &ready, "Hold", "/nowhere/at/all");
    until_ready(&s, 0);
    kill(s.pid, SIGINT);
    drop(&s, MDP02_W_DISCONNECT);
    /* The first 200 ms count as the same signal; so send until it obeys. */
    int status = 0;
    int64_t until_us = clock_monotonic_us() + 5 * SECOND_US;
    while (waitpid(s.pid, &status, WNOHANG) == 0 && clock_monotonic_us() < until_us) {
        kill(s.pid, SIGTERM);
        usleep(10000);
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + SIGTERM);
    s.pid = -1;
    bus_frames_close(&ready);
    close_stage(&s);
}

static void wakes_are_heard_once_and_leave_for_the_bus(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready, own, f;
    open_stage(&s);
    start_daemon(&s, NULL);
    expect(&s, MDP02_W_READY, &ready);
    zmq_pollitem_t item = { .socket = s.events, .events = ZMQ_POLLIN };
    assert_int_equal(zmq_poll(&item, 1, (long)(WAIT_US / 1000)), 1);
    assert_true(bus_frames_receive(s.events, &f)); /* its subscription */
    assert_true(bus_frame_is(&f.frame[0], "\1~wake/echo.wakes", 17));
    bus_frames_close(&f);

    request(&s, &ready, "Wake", "mine");
    uint8_t order[3];
    for (int i = 0; i < 3; i++) { /* the answer, WAKE echo.wakes, WAKE relay */
        order[i] = next_command(&s, &f);
        if (order[i] == MDP02_W_WAKE && bus_frame_is(&f.frame[3], "echo.wakes", 10))
            own = f;
        else
            bus_frames_close(&f);
    }
    assert_int_equal(order[0] + order[1] + order[2], MDP02_W_FINAL + 2 * MDP02_W_WAKE);
    assert_int_equal(zmq_msg_size(&own.frame[4]), BUS_WAKE_ORIGIN_LEN + 4);

    /* what the bus does with it: the echo, then another process's wake */
    static const char theirs[] = "0123456789abcdefTHEIRS";
    assert_true(bus_send(s.events, "~wake/echo.wakes", 16, true));
    assert_true(bus_send_frame(s.events, &own.frame[4], false));
    assert_true(bus_send(s.events, "~wake/echo.wakes", 16, true));
    assert_true(bus_send(s.events, theirs, sizeof theirs - 1, false));
    bus_frames_close(&own);

    int64_t until_us = clock_monotonic_us() + WAIT_US;
    for (bool both = false; !both;) {
        request(&s, &ready, "Heard", "");
        expect(&s, MDP02_W_FINAL, &f);
        both = bus_frame_is(&f.frame[6], "mine\nTHEIRS\n", 12);
        assert_true(zmq_msg_size(&f.frame[6]) <= 12);
        bus_frames_close(&f);
        assert_true(clock_monotonic_us() < until_us);
    }
    kill(s.pid, SIGTERM);
    assert_int_equal(end_of_daemon(&s), 0);
    bus_frames_close(&ready);
    close_stage(&s);
}

/* F10, F11: no order of starts; registered only while PostgreSQL answers. */
static void it_registers_when_postgresql_answers_F10(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    char url[512];
    struct servers *servers = servers_start(false);
    open_stage(&s);
    servers_stop_postgres(servers, SERVERS_FAST);
    snprintf(url, sizeof url, "DAYBOOK_DB_URL=%s", servers_conninfo(servers));
    start_daemon(&s, (const char *const[]){ "ECHO_DB=1", url, NULL });
    until_ready(&s, 1);
    assert_false(router_receive(&s.router, 1500, &ready)); /* more than one probe */
    assert_int_equal(waitpid(s.pid, NULL, WNOHANG), 0);

    servers_start_postgres(servers);
    expect(&s, MDP02_W_READY, &ready);
    until_ready(&s, 0);
    servers_stop_postgres(servers, SERVERS_KILL);
    drop(&s, MDP02_W_DISCONNECT);
    bus_frames_close(&ready);
    servers_start_postgres(servers);
    expect(&s, MDP02_W_READY, &ready);
    kill(s.pid, SIGTERM);
    drop(&s, MDP02_W_DISCONNECT);
    assert_int_equal(end_of_daemon(&s), 0);
    bus_frames_close(&ready);
    close_stage(&s);
    servers_stop(servers);
}

static void wrong_settings_end_it_with_78(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "DAYBOOK_WORKERS=0",
        "DAYBOOK_WORKERS=65",
        "DAYBOOK_DRAIN_TIMEOUT=soon",
        "DAYBOOK_LOG_LEVEL=loud",
        "DAYBOOK_DB_PREPARE=on",
        "DAYBOOK_CLOCK=sundial",
        "DAYBOOK_BUS_SERVER_KEY=short",
        "DAYBOOK_ADMIN_LISTEN=:::",
        "DAYBOOK_ARENA_BYTES=1",
        "ECHO_DB=1",
        "DAYBOOK_BUS_ENDPOINT=5555",
        "DAYBOOK_BUS_EVENTS=tcp://x:1,",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct stage s;
        open_stage(&s);
        start_daemon(&s, (const char *const[]){ wrong[i], NULL });
        int status = end_of_daemon(&s);
        if (status != 78)
            fail_msg("%s: exit %d", wrong[i], status);
        close_stage(&s);
    }
}

/* As the table of settings reads it, and not as one word. */
static void core_dumps_are_forbidden_unless_the_setting_allows_them(void **state)
{
    (void)state;
    static const struct {
        const char *setting, *want;
    } cases[] = {
        { "DAYBOOK_DEBUG_DUMPABLE=true", "1" },
        { "DAYBOOK_DEBUG_DUMPABLE=on", "1" },
        { "DAYBOOK_DEBUG_DUMPABLE=0", "0" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct stage s;
        struct bus_frames ready;
        open_stage(&s);
        start_daemon(&s, (const char *const[]){ cases[i].setting, NULL });
        expect(&s, MDP02_W_READY, &ready);
        request(&s, &ready, "Dumps", "");
        expect_answer(&s, cases[i].want);
        bus_frames_close(&ready);
        close_stage(&s);
    }
}

#define MASTER_KEY                                                                                 \
    "DAYBOOK_MASTER_KEY=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* Sealed fields and the tokens of pages: found out at the start and not at the first phone number.
 */
static void a_daemon_that_needs_the_master_key_asks_for_it(void **state)
{
    (void)state;
    static const char *const programs[] = { "daybook-customers", "daybook-directory",
                                            "daybook-reminders", "daybook-scoring",
                                            "daybook-visits" };
    struct stage s;
    open_stage(&s);
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        start_program(&s, programs[i], "--check-config",
                      (const char *const[]){ "DAYBOOK_DB_URL=host=x", MASTER_KEY, NULL });
        assert_int_equal(end_of_daemon(&s), 0);
        start_program(&s, programs[i], NULL,
                      (const char *const[]){ "DAYBOOK_DB_URL=host=x", NULL });
        int status = end_of_daemon(&s);
        if (status != 78)
            fail_msg("%s: exit %d", programs[i], status);
    }
    close_stage(&s);
}

static int migrate(struct stage *s, const char *const *extra)
{
    start_program(s, "daybook-directory", "--migrate", extra);
    return end_of_daemon(s);
}

/* F10, F55: a daemon may be there before its schema is. */
static void it_waits_for_its_schema_F55(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    char run_url[512], migrate_url[512];
    struct servers *servers = servers_start(false);
    open_stage(&s);
    snprintf(run_url, sizeof run_url, "DAYBOOK_DB_URL=%s", servers_conninfo(servers));
    snprintf(migrate_url, sizeof migrate_url, "DAYBOOK_MIGRATE_URL=%s", servers_conninfo(servers));
    const char *const env[] = { run_url, migrate_url, MASTER_KEY, NULL };

    assert_int_equal(migrate(&s, NULL), 78); /* no address */
    start_program(&s, "daybook-directory", NULL, env);
    until_ready(&s, 1);
    assert_false(router_receive(&s.router, 1500, &ready));
    pid_t daemon = s.pid;
    assert_int_equal(migrate(&s, env), 0);
    assert_int_equal(migrate(&s, env), 0); /* nothing left to do */
    s.pid = daemon;
    expect(&s, MDP02_W_READY, &ready);
    until_ready(&s, 0);
    kill(s.pid, SIGTERM);
    drop(&s, MDP02_W_DISCONNECT);
    assert_int_equal(end_of_daemon(&s), 0);
    bus_frames_close(&ready);
    close_stage(&s);
    servers_stop(servers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_serves_and_stops_in_order),
        cmocka_unit_test(sigterm_lets_the_request_in_work_finish_F09),
        cmocka_unit_test(a_drain_that_takes_too_long_ends_with_75),
        cmocka_unit_test(a_second_signal_ends_it_at_once),
        cmocka_unit_test(wakes_are_heard_once_and_leave_for_the_bus),
        cmocka_unit_test(it_registers_when_postgresql_answers_F10),
        cmocka_unit_test(a_daemon_that_needs_the_master_key_asks_for_it),
        cmocka_unit_test(core_dumps_are_forbidden_unless_the_setting_allows_them),
        cmocka_unit_test(it_waits_for_its_schema_F55),
        cmocka_unit_test(wrong_settings_end_it_with_78),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
