/*
 * Notices posted to a receiver that takes them, refuses them, is slow, or wants no more (REM-11,
 * REM-12, F04, F44): signed, with the same id on every attempt, and all of it in the ledger.
 */
#include "tests/integration/reminders_fixture.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http_out.h"
#include "common/webhook_signature.h"
#include "services/reminders/delivery.h"

/* --- a receiver that answers by script -------------------------------------------------------- */

#define SEEN_MAX 16

static struct receiver {
    int listener, port;
    pthread_t thread;
    pthread_mutex_t lock;
    const char *answers[SEEN_MAX]; /* of the n-th request; past the end 204 */
    void (*meanwhile)(void);       /* before the first answer; then forgotten */
    size_t nseen;
    char seen[SEEN_MAX][4096];
} receiver = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool is_whole(const char *request)
{
    const char *body = strstr(request, "\r\n\r\n");
    const char *length = strcasestr(request, "\r\ncontent-length: ");

    return body && length && strlen(body + 4) >= strtoul(length + 18, NULL, 10);
}

static void serve(int fd)
{
    char request[4096] = "";
    size_t len = 0;
    ssize_t n;

    while (!is_whole(request) && len < sizeof(request) - 1 &&
           (n = recv(fd, request + len, sizeof(request) - 1 - len, 0)) > 0) {
        len += (size_t)n;
        request[len] = '\0';
    }
    pthread_mutex_lock(&receiver.lock);
    const char *answer = "HTTP/1.1 204 No Content\r\n\r\n";
    if (receiver.nseen < SEEN_MAX) {
        if (receiver.answers[receiver.nseen])
            answer = receiver.answers[receiver.nseen];
        memcpy(receiver.seen[receiver.nseen++], request, sizeof(request));
    }
    void (*meanwhile)(void) = receiver.meanwhile;
    receiver.meanwhile = NULL;
    pthread_mutex_unlock(&receiver.lock);
    if (meanwhile)
        meanwhile();
    (void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
}

static void *receive(void *arg)
{
    (void)arg;
    int fd;
    while ((fd = accept(receiver.listener, NULL, NULL)) >= 0) {
        serve(fd);
        close(fd);
    }
    return NULL;
}

static void receiver_start(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);

    receiver.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(receiver.listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(receiver.listener, 16), 0);
    assert_int_equal(getsockname(receiver.listener, (struct sockaddr *)&address, &len), 0);
    receiver.port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&receiver.thread, NULL, receive, NULL), 0);
}

static void receiver_stop(void)
{
    shutdown(receiver.listener, SHUT_RDWR);
    pthread_join(receiver.thread, NULL);
    close(receiver.listener);
}

/* A header of the n-th request, or its body for "". */
static const char *seen(size_t n, const char *header)
{
    static char texts[4][4096];
    static unsigned next;
    char *out = texts[next++ % 4], name[64];

    out[0] = '\0';
    pthread_mutex_lock(&receiver.lock);
    assert_true(n < receiver.nseen);
    if (!*header) {
        snprintf(out, 4096, "%s", strstr(receiver.seen[n], "\r\n\r\n") + 4);
    } else {
        snprintf(name, sizeof(name), "\r\n%s: ", header);
        const char *at = strcasestr(receiver.seen[n], name);
        if (at)
            snprintf(out, 4096, "%.*s", (int)strcspn(at + strlen(name), "\r"), at + strlen(name));
    }
    pthread_mutex_unlock(&receiver.lock);
    return out;
}

/* --- the sender, run by hand ------------------------------------------------------------------ */

static struct leases *leases;
static struct db *lease_db;
static struct delivery *senders[DELIVERY_THREADS];
static struct bell bells[DELIVERY_THREADS];
static struct runner engine;
static char secret[100];

static int start(void **state)
{
    (void)state;
    receiver_start();
    fixture_start_with(false);
    lease_db = db_new(conninfo, "test");
    return 0;
}

static int stop(void **state)
{
    db_free(lease_db);
    receiver_stop();
    return fixture_stop(state);
}

static void set_channel(const char *actor, const char *employee)
{
    json_t *got = rig_ok(rig, actor, CHANNELS, "Set",
                         "{\"employeeId\":\"%s\",\"url\":\"http://127.0.0.1:%d/hook\"}", employee,
                         receiver.port);
    snprintf(secret, sizeof(secret), "%s", rig_text(got, "secret"));
    assert_memory_equal(secret, "whsec_", 6);
    json_decref(got);
}

/* Fires one due duty of the rep, and starts senders that own all lanes. */
static void begin(const char *now)
{
    fresh(now);
    pthread_mutex_lock(&receiver.lock);
    receiver.nseen = 0;
    memset(receiver.answers, 0, sizeof(receiver.answers));
    pthread_mutex_unlock(&receiver.lock);
}

static void fire(int n, const char *asked_at, const char *known_at, const char *notices)
{
    runner_start(&engine, "engine");
    runner_adopt(&engine);
    ask_question(n, asked_at, known_at);
    wait_for("SELECT count(*) FROM reminders.notification", notices);
    runner_leave();
    runner_stop(&engine);
}

static void open_senders(void)
{
    leases = leases_new(&reminders_lease_plan, "sender", NULL);
    assert_int_equal(leases_tick(leases, lease_db, clock_monotonic_us() + WAIT_US), ERR_OK);
    for (int i = 0; i < DELIVERY_THREADS; i++) {
        bell_init(&bells[i]);
        const struct delivery_config config = { .conninfo = conninfo,
                                                .leases = leases,
                                                .bell = &bells[i],
                                                .allow = "127.0.0.0/8",
                                                .allow_plain = true };
        assert_non_null(senders[i] = delivery_new(&config, i));
    }
}

static void close_senders(void)
{
    for (int i = 0; i < DELIVERY_THREADS; i++) {
        delivery_free(senders[i]);
        bell_fini(&bells[i]);
    }
    leases_leave(leases, lease_db);
    leases_free(leases);
}

static size_t turn(void)
{
    size_t sum = 0;
    for (int i = 0; i < DELIVERY_THREADS; i++) {
        size_t n;
        assert_int_equal(delivery_turn(senders[i], &n), ERR_OK);
        sum += n;
    }
    return sum;
}

static void admin(const char *sql)
{
    assert_int_equal(db_script(rig->admin, sql, clock_monotonic_us() + WAIT_US), ERR_OK);
}

/* The next attempt is due now. */
static void hurry(void)
{
    admin("UPDATE reminders.outgoing SET next_try_at = clock_timestamp()");
}

static const char *posted(void)
{
    return rig_value(rig,
                     "SELECT string_agg(right(recipient_id::text, 1) || ' ' || state || ' ' || "
                     "attempts, '; ' ORDER BY recipient_id) FROM reminders.notification "
                     "WHERE channel = 'http'");
}

/* --- tests ------------------------------------------------------------------------------------ */

static void a_notice_is_posted_signed_and_noted(void **state)
{
    (void)state;
    begin("2026-11-17T05:00:00Z");
    set_channel("rep", REP);
    fire(1, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z", "3"); /* two in-app, one to post */
    open_senders();
    assert_int_equal(turn(), 1);
    assert_string_equal(posted(), "4 delivered 1");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.outgoing"), "0");
    assert_string_equal(rig_value(rig,
                                  "SELECT last_result FROM reminders.notification WHERE channel = "
                                  "'http'"),
                        "HTTP 204 ");
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);
    const char *body = seen(0, "");
    char *signature;
    assert_int_equal(webhook_sign(secret, seen(0, "webhook-id"),
                                  strtoll(seen(0, "webhook-timestamp"), NULL, 10), body,
                                  strlen(body), a, &signature),
                     ERR_OK);
    assert_string_equal(seen(0, "webhook-signature"), signature);
    json_t *json = json_loads(body, 0, NULL);
    assert_non_null(json);
    assert_string_equal(rig_text(json, "type"), "daybook.reminders.v1.Delivery");
    assert_string_equal(rig_text(json, "data.id"), seen(0, "webhook-id"));
    assert_string_equal(rig_text(json, "data.rule"), "TMR-01");
    assert_string_equal(rig_text(json, "data.recipientId"), REP);
    assert_string_equal(rig_text(json, "data.stepKind"), "STEP_KIND_DUE");
    json_decref(json);
    assert_int_equal(turn(), 0);
    close_senders();
}

static void a_failed_attempt_is_repeated_with_the_same_id_and_body_F04(void **state)
{
    (void)state;
    begin("2026-11-17T05:00:00Z");
    receiver.answers[0] = "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\ndown";
    receiver.answers[1] = "HTTP/1.1 429 Slow\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n";
    receiver.answers[2] =
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    set_channel("rep", REP);
    fire(2, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z", "3");
    open_senders();
    assert_int_equal(turn(), 1);
    assert_string_equal(posted(), "4 pending 1");
    assert_string_equal(rig_value(rig,
                                  "SELECT last_result FROM reminders.notification WHERE channel = "
                                  "'http'"),
                        "HTTP 500 down");
    assert_int_equal(turn(), 0); /* not before its time */
    hurry();
    assert_int_equal(turn(), 1);
    assert_string_equal(
        rig_value(rig, "SELECT (next_try_at > clock_timestamp() + interval '59 min')::text "
                       "FROM reminders.outgoing"),
        "true");
    hurry();
    assert_int_equal(turn(), 1); /* a redirect is a failure, and not followed */
    assert_string_equal(posted(), "4 pending 3");
    hurry();
    assert_int_equal(turn(), 1);
    assert_string_equal(posted(), "4 delivered 4");
    for (size_t i = 1; i < 4; i++) {
        assert_string_equal(seen(i, "webhook-id"), seen(0, "webhook-id"));
        assert_string_equal(seen(i, ""), seen(0, ""));
    }
    close_senders();
}

/* By the receiver's thread, while the sender's waits for its answer. */
static void steal_lanes(void)
{
    admin("UPDATE reminders.shard_lease SET version = version + 1, owner = 'thief' "
          "WHERE shard >= 64");
}

static enum err turn_result(void)
{
    enum err first = ERR_OK;
    for (int i = 0; i < DELIVERY_THREADS; i++) {
        size_t n;
        enum err e = delivery_turn(senders[i], &n);
        first = first ? first : e;
    }
    return first;
}

/* The lane changed hands while the answer was on its way: what came of it is not written, and the
 * new owner posts it again under the same id. */
static void a_sender_that_lost_its_lane_writes_nothing_F08(void **state)
{
    (void)state;
    begin("2026-11-17T05:00:00Z");
    set_channel("rep", REP);
    fire(3, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z", "3");
    open_senders();
    receiver.meanwhile = steal_lanes;
    assert_int_equal(turn_result(), ERR_CANCELED);
    assert_string_equal(posted(), "4 pending 0");
    assert_int_equal(receiver.nseen, 1);
    assert_int_equal(turn_result(), ERR_CANCELED); /* and does not even begin */
    assert_int_equal(receiver.nseen, 1);
    close_senders();
    admin("UPDATE reminders.shard_lease SET owner = NULL, expires_at = '-infinity'");
    open_senders();
    assert_int_equal(turn(), 1);
    assert_string_equal(posted(), "4 delivered 1");
    assert_string_equal(seen(1, "webhook-id"), seen(0, "webhook-id"));
    close_senders();
}

static void a_receiver_that_is_gone_is_not_asked_again(void **state)
{
    (void)state;
    begin("2026-11-17T05:00:00Z");
    receiver.answers[0] = "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n";
    set_channel("rep", REP);
    fire(4, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z", "3");
    open_senders();
    assert_int_equal(turn(), 1);
    assert_string_equal(posted(), "4 failed 1");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.channel"), "0");
    close_senders();
}

static void quiet_hours_hold_messages_back_never_the_clock_REM_12(void **state)
{
    (void)state;
    begin("2026-11-17T14:00:00Z"); /* 22:00 local */
    set_channel("rep", REP);
    fire(5, "2026-11-16T13:00:00Z", "2026-11-17T14:00:00Z", "3"); /* in-app at once */
    open_senders();
    assert_int_equal(turn(), 1);
    assert_string_equal(posted(), "4 pending 0");
    assert_int_equal(receiver.nseen, 0);
    rig_time(rig, "2026-11-18T00:00:00Z"); /* 08:00 */
    hurry();
    assert_int_equal(turn(), 1);
    assert_string_equal(posted(), "4 delivered 1");
    close_senders();
}

/* Whoever is told has the quiet hours of his own unit, wherever the duty is: rep's is in EAST. */
static void quiet_hours_are_those_of_who_is_told_REM_12(void **state)
{
    static const struct {
        const char *quiet, *unit, *want;
    } cases[] = {
        { "EAST", "HQ", "4 delivered 1" },
        { "EAST", "EAST", "4 pending 0" },
        { "HQ", "HQ", "4 pending 0" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin("2026-11-17T05:00:00Z"); /* 13:00 local */
        rig_set_unit_policy("EAST", "quiet_hours", "21:00-08:00", "2026-11-16T00:00:00Z");
        rig_set_unit_policy(cases[i].quiet, "quiet_hours", "12:00-14:00", "2026-11-16T00:00:01Z");
        rig_move("rep", cases[i].unit);
        set_channel("rep", REP);
        fire(5, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z", "3");
        open_senders();
        assert_int_equal(turn(), 1);
        print_message("quiet in %s, told in %s\n", cases[i].quiet, cases[i].unit);
        assert_string_equal(posted(), cases[i].want);
        close_senders();
        rig_clear_policies();
    }
}

static void what_has_become_pointless_is_noted_and_not_sent(void **state)
{
    (void)state;
    begin("2026-11-17T05:00:00Z");
    set_channel("rep", REP);
    fire(6, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z", "3");
    answer_question(6, "2026-11-17T05:00:01Z");
    open_senders();
    assert_int_equal(turn(), 1);
    assert_string_equal(posted(), "4 skipped 0");
    assert_int_equal(receiver.nseen, 0);
    close_senders();
}

static void the_companys_channel_serves_those_without_their_own(void **state)
{
    (void)state;
    begin("2026-11-17T05:00:00Z");
    rig_fails(rig, "rep", CHANNELS, "Set", ERR_PERMISSION_DENIED, "",
              "{\"url\":\"http://127.0.0.1:%d/\"}", receiver.port);
    rig_fails(rig, "rep2", CHANNELS, "Set", ERR_NOT_FOUND, "",
              "{\"employeeId\":\"" REP "\",\"url\":\"http://127.0.0.1:%d/\"}", receiver.port);
    rig_fails(rig, "rep", CHANNELS, "Set", ERR_INVALID_ARGUMENT, "url",
              "{\"employeeId\":\"" REP "\",\"url\":\"http://10.0.0.1/\"}");
    rig_fails(rig, "rep", CHANNELS, "Set", ERR_INVALID_ARGUMENT, "url",
              "{\"employeeId\":\"" REP "\",\"url\":\"ftp://example.org/\"}");
    set_channel("gm", "");
    set_channel("rep", REP);
    fire(7, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z", "4"); /* rep and lead, both ways */
    open_senders();
    assert_int_equal(turn(), 2);
    assert_string_equal(posted(), "3 delivered 1; 4 delivered 1");
    close_senders();
    json_decref(rig_ok(rig, "rep", CHANNELS, "Set", "{\"employeeId\":\"" REP "\"}"));
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.channel"), "1");
    assert_string_equal(
        rig_value(rig, "SELECT count(*) FROM reminders.channel WHERE secret LIKE 'whsec%'"),
        "0"); /* sealed */
}

static void a_wish_for_later_is_heeded_for_a_day(void **state)
{
    (void)state;
    begin("2026-11-17T05:00:00Z");
    receiver.answers[0] = "HTTP/1.1 503 Away\r\nRetry-After: 31536000\r\nContent-Length: 0\r\n\r\n";
    set_channel("rep", REP);
    fire(8, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z", "3");
    open_senders();
    assert_int_equal(turn(), 1);
    assert_string_equal(
        rig_value(rig, "SELECT (next_try_at - clock_timestamp() BETWEEN interval '23:59' AND "
                       "interval '24:01')::text FROM reminders.outgoing"),
        "true");
    close_senders();
}

/* --- the secret ------------------------------------------------------------------------------- */

static char *signature_of_first(const char *by, struct arena *a)
{
    const char *body = seen(0, "");
    char *signature;

    assert_int_equal(webhook_sign(by, seen(0, "webhook-id"),
                                  strtoll(seen(0, "webhook-timestamp"), NULL, 10), body,
                                  strlen(body), a, &signature),
                     ERR_OK);
    return signature;
}

static void both_secrets_sign_for_a_day(void **state)
{
    (void)state;
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);
    char old[100], both[256];

    for (int day = 0; day < 2; day++) {
        begin("2026-11-17T05:00:00Z");
        set_channel("rep", REP);
        snprintf(old, sizeof(old), "%s", secret);
        set_channel("rep", REP);
        assert_string_not_equal(old, secret);
        if (day)
            admin("UPDATE reminders.channel SET old_until = clock_timestamp()");
        fire(10 + day, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z", "3");
        open_senders();
        assert_int_equal(turn(), 1);
        snprintf(both, sizeof(both), day ? "%s" : "%s %s", signature_of_first(secret, a),
                 signature_of_first(old, a));
        assert_string_equal(seen(0, "webhook-signature"), both);
        close_senders();
    }
}

static void the_record_of_the_command_does_not_hold_the_secret(void **state)
{
    (void)state;
    char request[160];

    begin("2026-11-17T05:00:00Z");
    snprintf(request, sizeof(request),
             "{\"employeeId\":\"" REP "\",\"url\":\"http://127.0.0.1:%d/\"}", receiver.port);
    json_t *first = rig_call(rig, "rep", CHANNELS, "Set", "set-once", "%s", request);
    json_t *again = rig_call(rig, "rep", CHANNELS, "Set", "set-once", "%s", request);
    assert_memory_equal(rig_text(first, "secret"), "whsec_", 6);
    assert_string_equal(rig_text(again, "secret"), "");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.idempotency WHERE "
                                       "position('\\x77687365635f'::bytea IN reply) > 0"),
                        "0");
    json_decref(first);
    json_decref(again);
}

/* --- a handover meanwhile (REM-18) ------------------------------------------------------------ */

static struct withdrawal {
    pthread_t thread;
    char tenant[ID_TEXT_MAX], duty[64], notice[64];
    enum err result;
} withdrawal;

static void *withdraw(void *arg)
{
    struct withdrawal *w = arg;
    const char *const params[] = { w->tenant, w->duty, "{" REP "}", w->notice, w->notice };
    CLEANUP(db_freep) struct db *db = db_new(conninfo, "withdrawal");

    w->result = db_begin(db, &rig_tenant, clock_monotonic_us() + WAIT_US);
    if (!w->result)
        w->result = db_queue(db, &sql_notices_withdraw, params);
    if (!w->result)
        w->result = db_commit(db);
    return NULL;
}

/* The sender has the row that says what to post, and is to write into the ledger. */
static void a_duty_is_handed_over_while_its_notice_is_settled(void **state)
{
    (void)state;
    static const struct db_stmt hold = { .name = "hold",
                                         .text = "SELECT 1 FROM reminders.outgoing FOR UPDATE" };
    CLEANUP(db_freep) struct db *sender = db_new(conninfo, "sender");
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct withdrawal *w = &withdrawal;

    begin("2026-11-17T05:00:00Z");
    set_channel("rep", REP);
    fire(1, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z", "3");
    id_text(rig_tenant, w->tenant);
    const char *pending = rig_value(rig, "SELECT delivery_id FROM reminders.outgoing");
    snprintf(w->notice, sizeof(w->notice), "{%s}", pending);
    snprintf(w->duty, sizeof(w->duty), "{%s}",
             rig_value(rig, "SELECT id FROM reminders.obligation"));

    assert_int_equal(db_begin(sender, &rig_tenant, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_int_equal(db_exec(sender, &hold, NULL, &res), ERR_OK);
    assert_int_equal(PQntuples(res), 1);
    assert_int_equal(pthread_create(&w->thread, NULL, withdraw, w), 0);
    wait_for("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'withdrawal' "
             "AND wait_event_type = 'Lock'",
             "1");
    char notice[ID_TEXT_MAX];
    snprintf(notice, sizeof(notice), "%.36s", w->notice + 1);
    const char *const params[] = { w->tenant, notice, "delivered", NULL, "1", "HTTP 204" };
    assert_int_equal(db_queue(sender, &sql_outgoing_settle, params), ERR_OK);
    assert_int_equal(db_commit(sender), ERR_OK);
    pthread_join(w->thread, NULL);
    assert_int_equal(w->result, ERR_OK);
    assert_string_equal(posted(), "4 delivered 1");
}

/* --- many at once ----------------------------------------------------------------------------- */

static int dead_port; /* takes connections and never says a word */

/* A channel of nobody in particular, in either company. */
static void make_channel(struct id tenant, struct id owner, int port)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);
    char t[ID_TEXT_MAX], o[ID_TEXT_MAX];

    admin(arena_printf(a,
                       "INSERT INTO reminders.channel (tenant_id, owner_id, url, secret, "
                       "updated_at) VALUES ('%s', '%s', 'http://127.0.0.1:%d/', '%s', now())",
                       id_text(tenant, t), id_text(owner, o), port,
                       delivery_seal_secret(a, tenant, owner, webhook_new_secret(a))));
}

/* n notices of the one duty there is, for that channel, in that lane, due at that second of 1970.
 */
static void make_notices(struct id tenant, struct id owner, int lane, int n, int due_s)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);
    char t[ID_TEXT_MAX], o[ID_TEXT_MAX];

    admin(arena_printf(
        a,
        "WITH duty AS (INSERT INTO reminders.obligation SELECT (o).* FROM (SELECT "
        "jsonb_populate_record(o, jsonb_build_object('tenant_id', '%s')) AS o FROM "
        "reminders.obligation o LIMIT 1) AS copy ON CONFLICT DO NOTHING), told AS (INSERT INTO "
        "reminders.notification (tenant_id, id, obligation_id, rule, step_kind, step, "
        "recipient_id, channel, due_at, fired_at, late, state, text) SELECT '%s', "
        "gen_random_uuid(), o.id, 'TMR-01', 'due', 0, '%s', 'http', now(), now(), false, "
        "'pending', i::text FROM reminders.obligation o, generate_series(1, %d) AS i LIMIT %d "
        "RETURNING id) INSERT INTO reminders.outgoing (tenant_id, delivery_id, lane, owner_id, "
        "next_try_at) SELECT '%s', id, %d, '%s', to_timestamp(%d) FROM told",
        id_text(tenant, t), t, id_text(owner, o), n, n, t, lane, o, due_s));
}

static struct id nobody(int n)
{
    struct id id = { .b = { 0x77, (uint8_t)(n >> 8), (uint8_t)n, 1 } };
    return id;
}

static void *run_sender(void *arg)
{
    struct runner_thread *t = arg;
    const struct engine_host host = { .stopping = runner_is_stopping, .arg = t->runner };

    delivery_run(senders[t->index], &host);
    return NULL;
}

static void start_senders(struct runner *r)
{
    open_senders();
    atomic_store(&r->stopping, false);
    for (int i = 0; i < DELIVERY_THREADS; i++) {
        r->args[i] = (struct runner_thread){ r, i };
        assert_int_equal(pthread_create(&r->threads[i], NULL, run_sender, &r->args[i]), 0);
    }
}

static void stop_senders(struct runner *r)
{
    atomic_store(&r->stopping, true);
    for (int i = 0; i < DELIVERY_THREADS; i++)
        pthread_join(r->threads[i], NULL);
    close_senders();
}

static int listen_in_silence(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 128), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    dead_port = ntohs(address.sin_port);
    return fd;
}

/* F44: ten receivers a lane that take the connection and never answer; one by one, they would hold
 * up what comes after them for minutes. */
static void receivers_that_do_not_answer_hold_up_no_other(void **state)
{
    (void)state;
    static struct runner r;
    int fd = listen_in_silence();

    begin("2026-11-17T05:00:00Z");
    ask_question(20, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z");
    make_channel(rig_tenant, nobody(0), receiver.port);
    for (int lane = SHARDS; lane < LEASES; lane++) {
        make_notices(rig_tenant, nobody(0), lane, 1, 1000);
        for (int i = 1; i <= 3; i++)
            make_notices(rig_tenant, nobody(i), lane, 5, i);
    }
    for (int i = 1; i <= 3; i++)
        make_channel(rig_tenant, nobody(i), dead_port);
    int64_t from_us = clock_monotonic_us();
    start_senders(&r);
    wait_for("SELECT count(*) FROM reminders.notification WHERE state = 'delivered'", "8");
    assert_true(clock_monotonic_us() - from_us < 5 * SECOND_US);
    stop_senders(&r);
    close(fd);
}

/* F52: hundreds of notices of one company are older than the one of another. */
static void a_flood_of_one_company_does_not_delay_another(void **state)
{
    (void)state;
    static const struct id company;
    int others = 0;

    begin("2026-11-17T05:00:00Z");
    ask_question(21, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z");
    make_channel(rig_tenant, company, receiver.port);
    make_channel(rig_other_tenant, company, receiver.port);
    make_notices(rig_tenant, company, SHARDS, 300, 1);
    make_notices(rig_other_tenant, company, SHARDS, 1, 1000);
    open_senders();
    (void)turn();
    const char *id = rig_value(rig, "SELECT id FROM reminders.notification WHERE "
                                    "state = 'delivered' AND right(tenant_id::text, 1) = 'b'");
    for (size_t i = 0; i < 4; i++)
        others += strcmp(seen(i, "webhook-id"), id) == 0;
    assert_int_equal(others, 1);
    close_senders();
}

/* The channel rests, not its rows. */
static void notices_for_a_receiver_that_is_away_wait_untouched(void **state)
{
    (void)state;
    begin("2026-11-17T05:00:00Z");
    ask_question(22, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z");
    make_channel(rig_tenant, nobody(1), 1); /* nobody listens there */
    make_notices(rig_tenant, nobody(1), SHARDS, 5, 1);
    open_senders();
    assert_int_equal(turn(), 1);
    assert_int_equal(turn(), 0);
    assert_string_equal(rig_value(rig,
                                  "SELECT count(*) || ' ' || count(*) FILTER (WHERE next_try_at = "
                                  "to_timestamp(1)) FROM reminders.outgoing"),
                        "5 4");
    assert_string_equal(rig_value(rig, "SELECT sum(attempts) FROM reminders.notification"), "1");
    close_senders();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_notice_is_posted_signed_and_noted),
        cmocka_unit_test(a_failed_attempt_is_repeated_with_the_same_id_and_body_F04),
        cmocka_unit_test(a_sender_that_lost_its_lane_writes_nothing_F08),
        cmocka_unit_test(a_receiver_that_is_gone_is_not_asked_again),
        cmocka_unit_test(quiet_hours_hold_messages_back_never_the_clock_REM_12),
        cmocka_unit_test(quiet_hours_are_those_of_who_is_told_REM_12),
        cmocka_unit_test(what_has_become_pointless_is_noted_and_not_sent),
        cmocka_unit_test(the_companys_channel_serves_those_without_their_own),
        cmocka_unit_test(a_wish_for_later_is_heeded_for_a_day),
        cmocka_unit_test(both_secrets_sign_for_a_day),
        cmocka_unit_test(the_record_of_the_command_does_not_hold_the_secret),
        cmocka_unit_test(a_duty_is_handed_over_while_its_notice_is_settled),
        cmocka_unit_test(receivers_that_do_not_answer_hold_up_no_other),
        cmocka_unit_test(a_flood_of_one_company_does_not_delay_another),
        cmocka_unit_test(notices_for_a_receiver_that_is_away_wait_untouched),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, start, stop);
}
