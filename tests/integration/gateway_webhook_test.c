/*
 * gateway_webhook_test.c - senders of two replicas on one database: each delivery is posted, those
 * about one thing in order, whatever replica dies (protocols D, F05, F44).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/http_out.h"
#include "common/sbuf.h"
#include "services/gateway/http/http.h"
#include "services/gateway/sql.h"
#include "services/gateway/webhooks/webhook_sender.h"
#include "services/gateway/webhooks/webhook_store.h"
#include "tests/support/rig.h"
#include "tests/support/waiting.h"

#define WAIT_US (30 * SECOND_US)
#define KEYS 8
#define EVENTS 400
#define SECRET "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"

static struct rig *rig;
static char conninfo[512];

/* --- the receiver ------------------------------------------------------------------------------- */

/* What it was sent: the body is the number of the event. */
static struct receiver {
    pthread_t thread;
    atomic_bool stopping;
    struct http_loop *loop;
    atomic_int posts, status;  /* status: of all answers */
    int64_t taken[4 * EVENTS]; /* numbers that were answered by 2xx, in order */
    atomic_size_t ntaken;
    atomic_bool holding;            /* answers nothing... */
    struct http_exchange *held[16]; /* ...of these; of its thread */
    atomic_int let_go;              /* so many of them all the same */
} receiver;

static void answer(struct receiver *r, struct http_exchange *x)
{
    size_t len;
    const char *body = http_body(x, &len);
    int status = atomic_load(&r->status);

    size_t n = atomic_load(&r->ntaken);
    if (status < 300 && n < ARRAY_LEN(r->taken)) {
        r->taken[n] = strtoll(body, NULL, 10);
        atomic_store(&r->ntaken, n + 1);
    }
    http_answer(x, (unsigned)status, "", 0);
}

static void handle(void *arg, struct http_exchange *x)
{
    struct receiver *r = arg;

    atomic_fetch_add(&r->posts, 1);
    for (size_t i = 0; i < ARRAY_LEN(r->held) && atomic_load(&r->holding); i++)
        if (!r->held[i]) {
            r->held[i] = x;
            return;
        }
    answer(r, x);
}

static void forget(void *arg, struct http_exchange *x)
{
    struct receiver *r = arg;

    for (size_t i = 0; i < ARRAY_LEN(r->held); i++)
        if (r->held[i] == x)
            r->held[i] = NULL;
}

static void let_go(struct receiver *r)
{
    for (size_t i = 0; i < ARRAY_LEN(r->held); i++) {
        struct http_exchange *x = r->held[i];
        if (!x || (atomic_load(&r->holding) && !atomic_load(&r->let_go)))
            continue;
        r->held[i] = NULL;
        answer(r, x);
        if (atomic_load(&r->let_go))
            atomic_fetch_sub(&r->let_go, 1);
    }
}

static void nothing(void *arg, struct http_exchange *x)
{
    (void)arg;
    (void)x;
}

static void *receive(void *arg)
{
    struct receiver *r = arg;

    while (!atomic_load(&r->stopping)) {
        struct pollfd fd = { .fd = http_loop_fd(r->loop), .events = POLLIN };
        (void)poll(&fd, 1, (int)MIN(http_loop_wait_us(r->loop) / MSEC_US, 20));
        http_loop_run(r->loop);
        let_go(r);
    }
    return NULL;
}

/* --- replicas ----------------------------------------------------------------------------------- */

static struct replica {
    struct webhook_sender *sender;
    atomic_bool stopping;
    pthread_t threads[2];
} replicas[2];
static const struct webhook_config config = { .allow = "127.0.0.0/8",
                                              .allow_plain = true,
                                              .public_url = "https://daybook.example.com" };

static bool is_stopping(void *arg)
{
    return atomic_load((atomic_bool *)arg);
}

static void rest(void *arg, int64_t us)
{
    for (int64_t until_us = clock_monotonic_us() + us; clock_monotonic_us() < until_us;)
        if (is_stopping(arg) || poll(NULL, 0, 5))
            return;
}

static struct webhook_host host_of(struct replica *r)
{
    return (struct webhook_host){ .stopping = is_stopping, .rest = rest, .arg = &r->stopping };
}

static void *send_all(void *arg)
{
    struct replica *r = arg;
    const struct webhook_host host = host_of(r);

    webhook_sender_run(r->sender, &host);
    return NULL;
}

static void *keep_leases(void *arg)
{
    struct replica *r = arg;
    const struct webhook_host host = host_of(r);

    webhook_sender_run_leases(r->sender, &host);
    return NULL;
}

static void open_replica(struct replica *r, const char *name)
{
    *r = (struct replica){ .sender = webhook_sender_new(&(struct webhook_sender_config){
                               .conninfo = conninfo, .instance = name, .http = &config }) };
    assert_non_null(r->sender);
    assert_int_equal(pthread_create(&r->threads[0], NULL, keep_leases, r), 0);
    assert_int_equal(pthread_create(&r->threads[1], NULL, send_all, r), 0);
}

static void close_replica(struct replica *r)
{
    atomic_store(&r->stopping, true);
    for (size_t i = 0; i < ARRAY_LEN(r->threads); i++)
        pthread_join(r->threads[i], NULL);
    webhook_sender_free(r->sender);
}

/* --- what is owed ------------------------------------------------------------------------------- */

static int64_t count(const char *what)
{
    return strtoll(rig_value(rig, what), NULL, 10);
}

#define PENDING "select count(*) from gateway.outgoing"

static void add_endpoint(struct id id)
{
    char text[ID_TEXT_MAX], url[64], at[] = "2026-01-05T00:00:00Z";
    struct arena *a = arena_new(64 * KIB);

    snprintf(url, sizeof(url), "http://127.0.0.1:%u/hook", http_loop_port(receiver.loop));
    const char *const params[] = {
        db_text_id(a, rig_tenant),
        id_text(id, text),
        url,
        "{}",
        "",
        webhook_seal_secret(a, rig_tenant, id, SECRET),
        at,
    };
    assert_int_equal(db_begin(rig->db, &rig_tenant, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_int_equal(db_queue(rig->db, &sql_endpoint_insert, params), ERR_OK);
    assert_int_equal(db_commit(rig->db), ERR_OK);
    arena_free(a);
}

/* Of the nth event. */
static uint64_t key_of(int n)
{
    return webhook_key((char[]){ (char)('a' + n % KEYS), '\0' });
}

/* Events first to first + n - 1, of KEYS things in turn, as the consumer writes them. */
static void owe(struct id endpoint, int first, int n)
{
    char tenant[ID_TEXT_MAX], id[ID_TEXT_MAX];
    struct sbuf rows, text;

    sbuf_init(&rows, MIB);
    for (int i = first; i < first + n; i++) {
        uint64_t key = key_of(i);
        sbuf_addf(&rows, "%s(%d, %d, %" PRId64 ")", i == first ? "" : ",", i,
                  webhook_lane(endpoint, key), (int64_t)key);
    }
    id_text(rig_tenant, tenant);
    id_text(endpoint, id);
    sbuf_init(&text, 2 * MIB);
    sbuf_addf(
        &text,
        "begin; create temp table w (n bigint, lane int, key bigint) on commit drop; insert into w "
        "values ");
    sbuf_add_text(&text, rows.data);
    sbuf_addf(
        &text,
        "; insert into gateway.message select '%s', ('00000000-0000-7000-8000-' || lpad(n::text, "
        "12, "
        "'0'))::uuid, 't', 's', now(), n::text from w on conflict do nothing;"
        "insert into gateway.delivery (tenant_id, endpoint_id, event_id, seq, lane, key, state) "
        "select '%s', '%s', ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, n, lane, "
        "key, "
        "'pending' from w;"
        "insert into gateway.outgoing (tenant_id, endpoint_id, lane, seq, event_id, key) select "
        "'%s', '%s', lane, n, ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, key "
        "from w;"
        "commit",
        tenant, tenant, id, tenant, id);
    assert_int_equal(db_script(rig->admin, text.data, clock_monotonic_us() + WAIT_US), ERR_OK);
    sbuf_fini(&text);
    sbuf_fini(&rows);
    const struct webhook_hint hint = { .tenant = rig_tenant,
                                       .endpoint = endpoint,
                                       .lanes = WEBHOOK_ALL_LANES };
    for (size_t i = 0; i < ARRAY_LEN(replicas); i++)
        if (replicas[i].sender && !atomic_load(&replicas[i].stopping))
            webhook_sender_tell(replicas[i].sender, &hint, 1);
}

/* Every number from 1 to n was taken; the first time, those of a key in order. */
static void assert_all_taken(int n)
{
    int64_t last[KEYS] = { 0 };
    bool seen[EVENTS + 1] = { false };
    size_t ntaken = atomic_load(&receiver.ntaken);

    for (size_t i = 0; i < ntaken; i++) {
        int64_t number = receiver.taken[i];
        assert_in_range(number, 1, n);
        if (seen[number])
            continue; /* after a crash, under the same id */
        seen[number] = true;
        assert_true(number > last[number % KEYS]);
        last[number % KEYS] = number;
    }
    for (int i = 1; i <= n; i++)
        assert_true(seen[i]);
}

/* --- life --------------------------------------------------------------------------------------- */

static int start(void **state)
{
    (void)state;
    rig_prepare("create schema directory_api; create view directory_api.api_key as select 1 as x;"
                "create view directory_api.calendar_feed as select 1 as x");
    rig = rig_start("gateway", gateway_migrations, gateway_migrations_len, webhook_methods,
                    webhook_methods_len);
    char *text = servers_conninfo_of(rig->servers, "daybook_gateway");
    snprintf(conninfo, sizeof(conninfo), "%s", text);
    free(text);
    atomic_store(&receiver.status, 204);
    receiver.loop =
        http_loop_new("127.0.0.1:0", &http_limits_default,
                      &(struct http_handler){
                          .handle = handle, .gone = forget, .drained = nothing, .arg = &receiver });
    assert_non_null(receiver.loop);
    assert_int_equal(pthread_create(&receiver.thread, NULL, receive, &receiver), 0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    atomic_store(&receiver.stopping, true);
    pthread_join(receiver.thread, NULL);
    http_loop_free(receiver.loop);
    rig_stop(rig);
    return 0;
}

static struct id fresh(void)
{
    struct id endpoint = id_new();

    assert_int_equal(db_script(rig->admin,
                               "truncate gateway.endpoint, gateway.message, gateway.delivery, "
                               "gateway.outgoing, gateway.attempt",
                               clock_monotonic_us() + WAIT_US),
                     ERR_OK);
    atomic_store(&receiver.status, 204);
    atomic_store(&receiver.holding, false);
    atomic_store(&receiver.let_go, 0);
    atomic_store(&receiver.posts, 0);
    atomic_store(&receiver.ntaken, 0);
    add_endpoint(endpoint);
    return endpoint;
}

/* --- tests -------------------------------------------------------------------------------------- */

static void replicas_share_the_work(void **state)
{
    (void)state;
    struct id endpoint = fresh();
    open_replica(&replicas[0], "one:1");
    open_replica(&replicas[1], "two:2");
    WAIT_UNTIL(
        count("select count(distinct owner) from gateway.shard_lease where owner is not null "
              "and expires_at > now()") == 2 &&
            count("select count(*) from gateway.shard_lease where expires_at > now()") ==
                WEBHOOK_LANES,
        WAIT_US);
    for (int i = 0; i < EVENTS; i += 50)
        owe(endpoint, i + 1, 50);
    WAIT_UNTIL(count(PENDING) == 0, WAIT_US);
    assert_int_equal(atomic_load(&receiver.posts), EVENTS); /* nothing died: once each */
    assert_all_taken(EVENTS);
    assert_int_equal(count("select count(*) from gateway.delivery where state = 'delivered' and "
                           "attempts = 1 and last_status = 204"),
                     EVENTS);
    close_replica(&replicas[0]);
    close_replica(&replicas[1]);
}

static void another_replica_takes_over(void **state)
{
    (void)state;
    struct id endpoint = fresh();
    open_replica(&replicas[0], "one:1");
    owe(endpoint, 1, EVENTS / 2);
    WAIT_UNTIL(atomic_load(&receiver.posts) > EVENTS / 8, WAIT_US);
    atomic_store(&replicas[0].stopping, true); /* in the midst */
    open_replica(&replicas[1], "two:2");
    owe(endpoint, EVENTS / 2 + 1, EVENTS / 2);
    close_replica(&replicas[0]);
    WAIT_UNTIL(count(PENDING) == 0, WAIT_US);
    assert_all_taken(EVENTS);
    close_replica(&replicas[1]);
}

/* Its rows are written down under a lease that is another's by then: it drops them. */
static void who_lost_his_lanes_writes_nothing(void **state)
{
    (void)state;
    struct id endpoint = fresh();
    open_replica(&replicas[0], "one:1");
    WAIT_UNTIL(count("select count(*) from gateway.shard_lease where expires_at > now()") ==
                   WEBHOOK_LANES,
               WAIT_US);
    assert_int_equal(
        db_script(rig->admin,
                  "update gateway.shard_lease set owner = 'thief', version = version + 1, "
                  "expires_at = now() + interval '3 seconds'",
                  clock_monotonic_us() + WAIT_US),
        ERR_OK);
    owe(endpoint, 1, KEYS);
    WAIT_UNTIL(count(PENDING) == 0, WAIT_US); /* when the thief's leases are over */
    assert_all_taken(KEYS);
    assert_int_equal(count("select count(*) from gateway.shard_lease where owner = 'thief'"), 0);
    close_replica(&replicas[0]);
}

static void change(const char *sql)
{
    assert_int_equal(db_script(rig->admin, sql, clock_monotonic_us() + WAIT_US), ERR_OK);
}

static void let_one_go(void)
{
    atomic_fetch_add(&receiver.let_go, 1);
    WAIT_UNTIL(atomic_load(&receiver.let_go) == 0, WAIT_US);
}

#define ALL_ARE_OURS                                                                               \
    (count("select count(*) from gateway.shard_lease where owner = 'one:1' and expires_at > "      \
           "now()") == WEBHOOK_LANES)

/* Lost and ours again while a post was under way: what it came to is nobody's any more, since the
 * owner in between has tried that event, too. */
static void what_was_posted_under_an_older_lease_is_not_written_down(void **state)
{
    (void)state;
    struct id endpoint = fresh();
    atomic_store(&receiver.holding, true);
    open_replica(&replicas[0], "one:1");
    owe(endpoint, 1, 1);
    WAIT_UNTIL(atomic_load(&receiver.posts) == 1, WAIT_US);
    change("update gateway.shard_lease set owner = 'thief', version = version + 1, "
           "expires_at = now() + interval '2 seconds'");
    change("update gateway.outgoing set attempts = 5, first_failed_us = 1790000000000000, "
           "tried_us = 1790000000000000, next_us = 9000000000000000");
    WAIT_UNTIL(ALL_ARE_OURS, WAIT_US);
    atomic_store(&receiver.status, 503);
    let_one_go();
    atomic_store(&receiver.status, 204);
    atomic_store(&receiver.holding, false);
    owe(endpoint, 2, 1); /* which is posted after that answer has come: it was slow */
    WAIT_UNTIL(count("select count(*) from gateway.delivery where state = 'delivered'") == 1,
               WAIT_US);
    assert_int_equal(count("select attempts from gateway.outgoing"), 5);
    assert_int_equal(count("select count(*) from gateway.attempt"), 0);
    assert_int_equal(atomic_load(&receiver.posts), 2);
    close_replica(&replicas[0]);
}

static void run_in(struct db *db, const char *sql)
{
    const struct db_stmt stmt = { sql, sql, 0, NULL };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    assert_int_equal(db_exec(db, &stmt, NULL, &res), ERR_OK);
}

#define SENDER_WAITS                                                                               \
    "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name "   \
    "like '%/sender@one:1'"

/* The sender waits for the table while its lanes are another's, who delivers, and are ours again:
 * what it still has in memory is not owed any more. */
static void lanes_that_come_back_are_read_anew(void **state)
{
    (void)state;
    struct id endpoint = fresh();
    CLEANUP(db_freep) struct db *other = db_new(servers_conninfo(rig->servers), "other");
    atomic_store(&receiver.holding, true);
    owe(endpoint, KEYS, 1);
    owe(endpoint, 2 * KEYS, 1);
    open_replica(&replicas[0], "one:1");
    WAIT_UNTIL(atomic_load(&receiver.posts) == 1, WAIT_US);
    assert_int_equal(db_begin(other, NULL, clock_monotonic_us() + WAIT_US), ERR_OK);
    run_in(other, "lock gateway.outgoing");
    run_in(other, "delete from gateway.outgoing");
    WAIT_UNTIL(count(SENDER_WAITS) == 1, WAIT_US);
    change("update gateway.shard_lease set owner = 'thief', version = version + 1, "
           "expires_at = now() + interval '1 second'");
    WAIT_UNTIL(ALL_ARE_OURS, WAIT_US);
    assert_int_equal(db_commit(other), ERR_OK);
    let_one_go();
    atomic_store(&receiver.holding, false);
    owe(endpoint, 1, 1);
    WAIT_UNTIL(count("select count(*) from gateway.delivery where state = 'delivered'") == 1,
               WAIT_US);
    assert_int_equal(atomic_load(&receiver.posts), 2);
    close_replica(&replicas[0]);
}

/* Three about one thing. What the first has come to cannot be written down; the second is under way
 * when the leases are over: the third is another's to post. */
static void who_lost_database_and_lanes_posts_nothing_more(void **state)
{
    (void)state;
    struct id endpoint = fresh();
    atomic_store(&receiver.holding, true);
    for (int i = 1; i <= 3; i++)
        owe(endpoint, i * KEYS, 1);
    open_replica(&replicas[0], "one:1");
    WAIT_UNTIL(atomic_load(&receiver.posts) == 1, WAIT_US);
    change("alter role daybook_gateway nologin; select pg_terminate_backend(pid) from "
           "pg_stat_activity where application_name like '%@one:1'");
    let_one_go();
    WAIT_UNTIL(atomic_load(&receiver.posts) == 2, WAIT_US);
    WAIT_UNTIL(count("select count(*) from gateway.shard_lease where expires_at > now() - "
                     "interval '2 seconds'") == 0,
               WAIT_US);
    let_one_go();
    change("alter role daybook_gateway login");
    WAIT_UNTIL(atomic_load(&receiver.posts) == 3, WAIT_US);
    atomic_store(&receiver.holding, false);
    WAIT_UNTIL(count(PENDING) == 0, WAIT_US);
    assert_int_equal(atomic_load(&receiver.posts), 5);
    static const int64_t want[] = { KEYS, 2 * KEYS, KEYS, 2 * KEYS, 3 * KEYS };
    assert_memory_equal(receiver.taken, want, sizeof(want));
    close_replica(&replicas[0]);
}

#define LATEST_END                                                                                 \
    "select (extract(epoch from max(expires_at)) * 1e6)::bigint from gateway.shard_lease"

static void who_stops_keeps_his_lanes_until_his_posts_are_written_down(void **state)
{
    (void)state;
    struct id endpoint = fresh();
    atomic_store(&receiver.holding, true);
    owe(endpoint, 1, 1);
    open_replica(&replicas[0], "one:1");
    WAIT_UNTIL(atomic_load(&receiver.posts) == 1, WAIT_US);
    int64_t end_us = count(LATEST_END);
    atomic_store(&replicas[0].stopping, true);
    WAIT_UNTIL(count(LATEST_END) > end_us, 2 * SECOND_US);
    assert_true(ALL_ARE_OURS);
    atomic_store(&receiver.holding, false);
    close_replica(&replicas[0]);
    assert_int_equal(count(PENDING), 0);
    assert_int_equal(atomic_load(&receiver.posts), 1);
}

/* Of two posts that are under way when it stops one is in a lane that another takes away: it posts that
 * one again, and only that. */
static void a_lane_that_is_lost_while_stopping_takes_no_other_along(void **state)
{
    (void)state;
    struct id endpoint = fresh();
    char text[256];
    atomic_store(&receiver.holding, true);
    owe(endpoint, 1, 1);
    int other = 2; /* the first that is in another lane */
    while (webhook_lane(endpoint, key_of(other)) == webhook_lane(endpoint, key_of(1)))
        other++;
    owe(endpoint, other, 1);
    open_replica(&replicas[0], "one:1");
    WAIT_UNTIL(atomic_load(&receiver.posts) == 2, WAIT_US);
    atomic_store(&replicas[0].stopping, true);
    snprintf(text, sizeof(text),
             "update gateway.shard_lease set owner = 'thief', version = version + 1, expires_at = "
             "now() + interval '3 seconds' where shard = %d",
             webhook_lane(endpoint, key_of(1)));
    change(text);
    atomic_store(&receiver.holding, false);
    close_replica(&replicas[0]);
    assert_int_equal(count("select seq from gateway.outgoing"), 1);
    assert_int_equal(count(PENDING), 1);
    open_replica(&replicas[0], "two:2");
    WAIT_UNTIL(count(PENDING) == 0, WAIT_US);
    assert_int_equal(atomic_load(&receiver.posts), 3);
    assert_int_equal(receiver.taken[2], 1);
    close_replica(&replicas[0]);
}

/* The database is away for a moment when what was posted is to be written down. */
static void who_stops_tries_more_than_once_to_write_down(void **state)
{
    (void)state;
    struct id endpoint = fresh();
    CLEANUP(db_freep) struct db *other = db_new(servers_conninfo(rig->servers), "other");
    atomic_store(&receiver.holding, true);
    owe(endpoint, 1, 1);
    open_replica(&replicas[0], "one:1");
    WAIT_UNTIL(atomic_load(&receiver.posts) == 1, WAIT_US);
    atomic_store(&replicas[0].stopping, true);
    assert_int_equal(db_begin(other, NULL, clock_monotonic_us() + WAIT_US), ERR_OK);
    run_in(other, "lock gateway.outgoing");
    atomic_store(&receiver.holding, false);
    WAIT_UNTIL(count(SENDER_WAITS) == 1, WAIT_US);
    change("select pg_terminate_backend(pid) from pg_stat_activity where application_name like "
           "'%/sender@one:1'");
    assert_int_equal(db_commit(other), ERR_OK);
    close_replica(&replicas[0]);
    assert_int_equal(count(PENDING), 0);
    assert_int_equal(atomic_load(&receiver.posts), 1);
}

/* One turn of a sender whose clock is ours. The rows that were read. */
static size_t read_at(const struct webhook_store *s, struct webhook_now now)
{
    size_t all = 0, rows;
    bool more;

    webhook_queue_tick(s->queue, now);
    assert_int_equal(webhook_store_find(s, WEBHOOK_ALL_LANES), ERR_OK);
    assert_int_equal(webhook_store_know(s), ERR_OK);
    assert_int_equal(webhook_store_look_back(s, now), ERR_OK);
    do {
        assert_int_equal(webhook_store_read(s, now, &rows, &more), ERR_OK);
        all += rows;
    } while (more);
    return all;
}

/* All have been refused and are due in hours; then one is to be sent again, and nobody told us. */
static void looking_back_reads_only_what_is_due(void **state)
{
    (void)state;
    struct id endpoint = fresh();
    struct webhook_now now = { .wall_us = clock_wall_us(), .monotonic_us = clock_monotonic_us() };
    CLEANUP(db_freep) struct db *db = db_new(conninfo, "daybook-gateway/look");
    struct webhook_store s = { .db = db,
                               .arena = arena_new(8 * MIB),
                               .queue = webhook_queue_new() };
    webhook_queue_lanes(s.queue, WEBHOOK_ALL_LANES);
    owe(endpoint, 1, EVENTS);
    change("update gateway.outgoing set attempts = 5, first_failed_us = u - 9000000000, "
           "tried_us = u - 1000000, next_us = u + 9000000000 from (select (extract(epoch from "
           "now()) * 1000000)::bigint as u) as n");
    assert_int_equal(read_at(&s, now), EVENTS);
    assert_null(webhook_queue_pick(s.queue, now));
    now.wall_us += MINUTE_US;
    now.monotonic_us += MINUTE_US;
    assert_int_equal(read_at(&s, now), 0);
    change("update gateway.outgoing set attempts = 0, first_failed_us = 0, tried_us = 0, "
           "next_us = 0 where seq = 77");
    now.wall_us += MINUTE_US;
    now.monotonic_us += MINUTE_US;
    assert_int_equal(read_at(&s, now), 1);
    struct webhook_row *row = webhook_queue_pick(s.queue, now);
    assert_non_null(row);
    assert_string_equal(row->body, "77");
    (void)webhook_queue_done(s.queue, row, 204, -1, now);
    webhook_queue_free(s.queue);
    arena_free(s.arena);
}

static void one_that_was_down_gets_all(void **state)
{
    (void)state;
    struct id endpoint = fresh();
    atomic_store(&receiver.status, 503);
    open_replica(&replicas[0], "one:1");
    owe(endpoint, 1, EVENTS);
    WAIT_UNTIL(count("select count(*) from gateway.endpoint where failing_since is not null") == 1,
               WAIT_US);
    assert_true(atomic_load(&receiver.posts) < 20); /* it is left alone */
    assert_true(count("select count(*) from gateway.attempt") > 0);
    atomic_store(&receiver.status, 204);
    WAIT_UNTIL(count(PENDING) == 0, WAIT_US);
    assert_all_taken(EVENTS);
    assert_int_equal(count("select count(*) from gateway.endpoint where failing_since is null"), 1);
    close_replica(&replicas[0]);
}

static void set_failing(const char *since)
{
    char text[128];

    snprintf(text, sizeof(text), "update gateway.endpoint set failing_since = %s", since);
    assert_int_equal(db_script(rig->admin, text, clock_monotonic_us() + WAIT_US), ERR_OK);
}

#define STATE_IS(what) (count("select count(*) from gateway.endpoint where " what) == 1)

/* Each time two posts are under way and fail, with the table's word of since when it fails changed
 * meanwhile. */
static void the_table_says_when_it_is_over(void **state)
{
    (void)state;
    struct id endpoint = fresh();
    set_failing("now() - interval '76 hours'");
    atomic_store(&receiver.status, 503);
    atomic_store(&receiver.holding, true);
    open_replica(&replicas[0], "one:1");
    owe(endpoint, 1, KEYS);
    WAIT_UNTIL(atomic_load(&receiver.posts) == 2, WAIT_US);
    set_failing("now() - interval '74 hours'"); /* it has answered another one */
    atomic_store(&receiver.holding, false);
    WAIT_UNTIL(count("select count(*) from gateway.attempt") >= 2, WAIT_US);
    assert_true(STATE_IS("state = 'active' and failing_since < now() - interval '74 hours'"));
    set_failing("now() - interval '76 hours'"); /* not so */
    WAIT_UNTIL(STATE_IS("state = 'disabled' and disabled_reason like '%75 hours'"), WAIT_US);
    assert_int_equal(count(PENDING), KEYS);
    close_replica(&replicas[0]);
}

static void the_first_failure_is_written_and_any_success_takes_it_away(void **state)
{
    (void)state;
    struct id endpoint = fresh();
    open_replica(&replicas[0], "one:1");
    atomic_store(&receiver.status, 503);
    owe(endpoint, 1, 1);
    WAIT_UNTIL(STATE_IS("failing_since is not null"), WAIT_US);
    atomic_store(&receiver.status, 204);
    WAIT_UNTIL(STATE_IS("failing_since is null"), WAIT_US);
    atomic_store(&receiver.holding, true);
    owe(endpoint, 2, 1);
    WAIT_UNTIL(atomic_load(&receiver.posts) == 3, WAIT_US);
    set_failing("now()"); /* another's failure, which this one has not read yet */
    atomic_store(&receiver.holding, false);
    WAIT_UNTIL(count(PENDING) == 0, WAIT_US);
    assert_true(STATE_IS("failing_since is null"));
    close_replica(&replicas[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicas_share_the_work),
        cmocka_unit_test(another_replica_takes_over),
        cmocka_unit_test(who_lost_his_lanes_writes_nothing),
        cmocka_unit_test(what_was_posted_under_an_older_lease_is_not_written_down),
        cmocka_unit_test(lanes_that_come_back_are_read_anew),
        cmocka_unit_test(who_lost_database_and_lanes_posts_nothing_more),
        cmocka_unit_test(who_stops_keeps_his_lanes_until_his_posts_are_written_down),
        cmocka_unit_test(a_lane_that_is_lost_while_stopping_takes_no_other_along),
        cmocka_unit_test(who_stops_tries_more_than_once_to_write_down),
        cmocka_unit_test(looking_back_reads_only_what_is_due),
        cmocka_unit_test(one_that_was_down_gets_all),
        cmocka_unit_test(the_table_says_when_it_is_over),
        cmocka_unit_test(the_first_failure_is_written_and_any_success_takes_it_away),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
