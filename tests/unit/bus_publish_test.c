/*
 * The fan-out: who hears what, and that a revoked key hears nothing more (protocols F, G.5; F33,
 * F56, F61).
 */
#include "tests/unit/bus_fixture.h"

#include "common/directory_build.h"
#include "services/bus/keyring.h"
#include "services/bus/publish.h"
#include "tests/support/folder.h"
#include "tests/support/waiting.h"

#define TENANT "01900000-0000-7000-8000-00000000000a"
#define OTHER "01900000-0000-7000-8000-00000000000b"
#define PARTNER "01900000-0000-7000-8000-00000000000c"
#define LOG_ID "0123456789abcdef"
#define SEQ "\1\1\1\1\1\1\1\1"

struct keypair {
    char public[41], secret[41];
};

struct station {
    void *zmq, *push;
    struct keyring *keyring;
    struct zap *zap;
    struct publisher *publisher;
    pthread_t thread;
    atomic_bool stop;
    char dir[FOLDER_MAX], curve[100], plain[100];
    int64_t revision;
    struct keypair server, daemon, partner;
};

static bool station_stopping(void *arg)
{
    struct station *s = arg;
    return atomic_load(&s->stop);
}

static void *publisher_main(void *arg)
{
    struct station *s = arg;
    publisher_run(s->publisher, station_stopping, s);
    return NULL;
}

/* The partner's key, as the directory has it. */
static void register_partner(struct station *s, const char *scopes)
{
    struct directory_builder *b = directory_builder_new();
    struct dir_key key = { .expires_at_us = 0 };
    assert_true(id_parse(TENANT, &key.tenant) && id_parse(PARTNER, &key.actor));
    key.credential = key.actor;
    memcpy(key.public_key, s->partner.public, sizeof(key.public_key));
    directory_builder_set_revision(b, ++s->revision);
    directory_builder_add_tenant(b, key.tenant, "Shop", NULL, NULL);
    directory_builder_add_key(b, &key, scopes);
    directory_set_for_tests(directory_builder_finish(b));
}

static void station_open(struct station *s)
{
    struct identity_plain plain = { .offered = true, .scopes = "events.read" };
    const char *reason = NULL;
    char path[100];
    memset(s, 0, sizeof(*s));
    folder_make(s->dir, "daybook-publish");
    snprintf(s->curve, sizeof(s->curve), "ipc://%s/curve", s->dir);
    snprintf(s->plain, sizeof(s->plain), "ipc://%s/plain", s->dir);
    zmq_curve_keypair(s->server.public, s->server.secret);
    zmq_curve_keypair(s->daemon.public, s->daemon.secret);
    zmq_curve_keypair(s->partner.public, s->partner.secret);
    snprintf(path, sizeof(path), "%s/daemon.pub", s->dir);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fprintf(f, "%s\nkind=daemon\n", s->daemon.public);
    fclose(f);
    assert_true(id_parse(TENANT, &plain.tenant));

    s->zmq = zmq_ctx_new();
    s->keyring = keyring_new(s->dir, &plain);
    s->zap = zap_start(s->zmq, s->keyring);
    s->publisher = publisher_new(&(struct publisher_config){ .zmq_context = s->zmq,
                                                             .listen = s->curve,
                                                             .secret_key = s->server.secret,
                                                             .plain = s->plain,
                                                             .keyring = s->keyring },
                                 &reason);
    if (!s->publisher)
        fail_msg("%s", reason);
    s->push = zmq_socket(s->zmq, ZMQ_PUSH);
    assert_int_equal(zmq_connect(s->push, BROKER_PUBLISH), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, publisher_main, s), 0);
}

static void station_close(struct station *s)
{
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
    publisher_free(s->publisher);
    zmq_close(s->push);
    zap_stop(s->zap);
    keyring_free(s->keyring);
    zmq_ctx_term(s->zmq);
    directory_set_for_tests(NULL);
    folder_remove(s->dir);
}

/* keys: NULL: a plain peer. */
static void *connected(struct station *s, int type, const struct keypair *keys)
{
    void *sub = zmq_socket(s->zmq, type);
    int linger = 0, wait = WAIT_MS;
    zmq_setsockopt(sub, ZMQ_LINGER, &linger, sizeof(linger));
    zmq_setsockopt(sub, ZMQ_RCVTIMEO, &wait, sizeof(wait));
    if (keys) {
        zmq_setsockopt(sub, ZMQ_CURVE_SERVERKEY, s->server.public, 41);
        zmq_setsockopt(sub, ZMQ_CURVE_PUBLICKEY, keys->public, 41);
        zmq_setsockopt(sub, ZMQ_CURVE_SECRETKEY, keys->secret, 41);
    }
    assert_int_equal(zmq_connect(sub, keys ? s->curve : s->plain), 0);
    return sub;
}

static void *subscriber(struct station *s, bool curve)
{
    return connected(s, ZMQ_SUB, curve ? &s->daemon : NULL);
}

static void subscribe(void *sub, const char *topic)
{
    int64_t before = stat_get(STAT_SUBSCRIPTIONS) + stat_get(STAT_SUBSCRIPTIONS_REFUSED);
    zmq_setsockopt(sub, ZMQ_SUBSCRIBE, topic, strlen(topic));
    WAIT_UNTIL(stat_get(STAT_SUBSCRIPTIONS) + stat_get(STAT_SUBSCRIPTIONS_REFUSED) != before,
               WAIT_MS * MSEC_US);
}

static void publish(struct station *s, const char *topic, const char *event)
{
    zmq_send(s->push, topic, strlen(topic), ZMQ_SNDMORE);
    zmq_send(s->push, LOG_ID, 16, ZMQ_SNDMORE);
    zmq_send(s->push, SEQ, 8, ZMQ_SNDMORE);
    zmq_send(s->push, event, strlen(event), 0);
}

static void expect_topic(void *sub, const char *topic, size_t frames)
{
    struct message m;
    hear_any(sub, &m);
    assert_string_equal(m.part[0], topic);
    assert_int_equal(m.n, frames);
}

static void a_tenant_hears_its_own_events_and_heads(void **state)
{
    (void)state;
    struct station s;
    station_open(&s);
    void *sub = subscriber(&s, false);
    int64_t refused = stat_get(STAT_SUBSCRIPTIONS_REFUSED);
    static const char *const forbidden[] = { OTHER "/",      "",      "0", TENANT, "~",
                                             "~wake/timers", "~headx" };
    for (size_t i = 0; i < ARRAY_LEN(forbidden); i++)
        subscribe(sub, forbidden[i]);
    assert_int_equal(stat_get(STAT_SUBSCRIPTIONS_REFUSED), refused + 7);
    subscribe(sub, TENANT "/daybook.visits.");
    subscribe(sub, BUS_TOPIC_HEAD);
    publish(&s, OTHER "/daybook.visits.v1.X", "not his");
    publish(&s, TENANT "/daybook.customers.v1.X", "not asked for");
    publish(&s, TENANT "/daybook.visits.v1.X", "his");
    publish(&s, BUS_TOPIC_HEAD, "");
    struct message m;
    bool event = false;
    for (int heads = 0; heads < 1;) { /* a newcomer may be greeted by a head of his own */
        hear_any(sub, &m);
        assert_int_equal(m.n, 4);
        if (strcmp(m.part[0], BUS_TOPIC_HEAD)) {
            assert_string_equal(m.part[0], TENANT "/daybook.visits.v1.X");
            assert_string_equal(m.part[3], "his");
            event = true;
        } else {
            heads += event;
        }
    }
    zmq_close(sub);
    station_close(&s);
}

static void a_daemon_hears_everything(void **state)
{
    (void)state;
    struct station s;
    station_open(&s);
    void *sub = subscriber(&s, true);
    subscribe(sub, OTHER "/");
    subscribe(sub, "~wake/timers");
    publish(&s, TENANT "/x", "no");
    publish(&s, OTHER "/x", "yes");
    zmq_send(s.push, "~wake/timers", 12, ZMQ_SNDMORE);
    zmq_send(s.push, "now", 3, 0);
    expect_topic(sub, OTHER "/x", 4);
    expect_topic(sub, "~wake/timers", 2);
    zmq_close(sub);
    station_close(&s);
}

/* A newcomer learns where the log stands without waiting for the next head. */
static void who_asks_for_heads_is_told_at_once(void **state)
{
    (void)state;
    struct station s;
    station_open(&s);
    publish(&s, OTHER "/x", "event");
    void *sub = subscriber(&s, false);
    subscribe(sub, BUS_TOPIC_HEAD);
    expect_topic(sub, BUS_TOPIC_HEAD, 4);
    zmq_close(sub);
    station_close(&s);
}

static void a_revoked_key_hears_nothing_more_and_others_go_on(void **state)
{
    (void)state;
    struct station s;
    struct message m;
    char path[100];
    station_open(&s);
    void *gone = subscriber(&s, true), *stays = subscriber(&s, false);
    subscribe(gone, "");
    subscribe(stays, TENANT "/");
    publish(&s, TENANT "/1", "both");
    do /* who hears everything is also greeted by a head */
        hear_any(gone, &m);
    while (strcmp(m.part[0], TENANT "/1"));
    expect_topic(stays, TENANT "/1", 4);

    int64_t resets = stat_get(STAT_ZAP_WAITED);
    snprintf(path, sizeof(path), "%s/daemon.pub", s.dir);
    assert_int_equal(unlink(path), 0);
    keyring_refresh(s.keyring);
    wait_for_stat(STAT_ZAP_WAITED, resets + 1); /* it was put out and tried to come back */
    int soon = 20;
    int64_t until = clock_monotonic_us() + WAIT_MS * MSEC_US;
    zmq_setsockopt(gone, ZMQ_RCVTIMEO, &soon, sizeof(soon));
    zmq_setsockopt(stays, ZMQ_RCVTIMEO, &soon, sizeof(soon));
    do { /* a subscriber says again what it wants when it is next read from */
        assert_true(clock_monotonic_us() < until);
        publish(&s, TENANT "/2", "one");
    } while (!hear_or_not(stays, &m));
    assert_string_equal(m.part[0], TENANT "/2");
    while (hear_or_not(gone, &m)) /* only what was on its way before */
        assert_string_not_equal(m.part[0], TENANT "/2");
    zmq_close(gone);
    zmq_close(stays);
    station_close(&s);
}

/* What one may not read in the log one does not hear either. */
static void only_who_may_read_the_log_hears_it(void **state)
{
    (void)state;
    struct station s;
    struct message m;
    station_open(&s);
    register_partner(&s, "customers.read");
    void *sub = connected(&s, ZMQ_SUB, &s.partner);
    int64_t refused = stat_get(STAT_SUBSCRIPTIONS_REFUSED);
    subscribe(sub, TENANT "/");
    assert_int_equal(stat_get(STAT_SUBSCRIPTIONS_REFUSED), refused + 1);
    subscribe(sub, BUS_TOPIC_HEAD);
    assert_int_equal(stat_get(STAT_SUBSCRIPTIONS_REFUSED), refused + 1);
    publish(&s, TENANT "/x", "not his");
    expect_topic(sub, BUS_TOPIC_HEAD, 4);

    int soon = 20;
    int64_t until = clock_monotonic_us() + WAIT_MS * MSEC_US;
    zmq_setsockopt(sub, ZMQ_RCVTIMEO, &soon, sizeof(soon));
    register_partner(&s, "customers.read,events.read");
    do { /* put out, it comes back and asks again for both */
        assert_true(clock_monotonic_us() < until);
        publish(&s, TENANT "/x", "his");
    } while (!hear_or_not(sub, &m) || strcmp(m.part[0], TENANT "/x"));
    zmq_close(sub);
    station_close(&s);
}

static void who_may_read_the_log_no_more_hears_no_more(void **state)
{
    (void)state;
    struct station s;
    struct message m;
    station_open(&s);
    register_partner(&s, "events.read");
    void *sub = connected(&s, ZMQ_SUB, &s.partner);
    subscribe(sub, TENANT "/");
    publish(&s, TENANT "/x", "his");
    expect_topic(sub, TENANT "/x", 4);

    int soon = 20;
    int64_t refused = stat_get(STAT_SUBSCRIPTIONS_REFUSED);
    int64_t until = clock_monotonic_us() + WAIT_MS * MSEC_US;
    zmq_setsockopt(sub, ZMQ_RCVTIMEO, &soon, sizeof(soon));
    register_partner(&s, "customers.read");
    do { /* put out, it comes back and asks again */
        assert_true(clock_monotonic_us() < until);
        assert_false(hear_or_not(sub, &m));
    } while (stat_get(STAT_SUBSCRIPTIONS_REFUSED) == refused);
    publish(&s, TENANT "/x", "not his any more");
    assert_false(hear_or_not(sub, &m));
    zmq_close(sub);
    station_close(&s);
}

/* All connect again at most once in so many seconds: meanwhile a key may be given more, and ask for
 * it on the connection that it has. */
static void what_a_key_was_given_later_is_taken_from_it_too(void **state)
{
    (void)state;
    struct station s;
    struct message m;
    int soon = 20;
    station_open(&s);
    register_partner(&s, "events.read");
    void *first = connected(&s, ZMQ_SUB, &s.partner);
    subscribe(first, TENANT "/");
    zmq_setsockopt(first, ZMQ_RCVTIMEO, &soon, sizeof(soon));
    int64_t refused = stat_get(STAT_SUBSCRIPTIONS_REFUSED);
    int64_t until = clock_monotonic_us() + WAIT_MS * MSEC_US;
    register_partner(&s, "customers.read");
    do /* put out, it comes back */
        assert_true(clock_monotonic_us() < until);
    while (!hear_or_not(first, &m) && stat_get(STAT_SUBSCRIPTIONS_REFUSED) == refused);
    zmq_close(first);

    void *sub = connected(&s, ZMQ_SUB, &s.partner);
    subscribe(sub, BUS_TOPIC_HEAD);
    register_partner(&s, "customers.read,events.read");
    subscribe(sub, TENANT "/");
    publish(&s, TENANT "/x", "his");
    do
        hear_any(sub, &m);
    while (strcmp(m.part[0], TENANT "/x"));

    zmq_setsockopt(sub, ZMQ_RCVTIMEO, &soon, sizeof(soon));
    refused = stat_get(STAT_SUBSCRIPTIONS_REFUSED);
    until = clock_monotonic_us() + 20 * SECOND_US;
    register_partner(&s, "customers.read");
    do {
        assert_true(clock_monotonic_us() < until);
        (void)hear_or_not(sub, &m);
    } while (stat_get(STAT_SUBSCRIPTIONS_REFUSED) == refused);
    publish(&s, TENANT "/y", "not his any more");
    while (hear_or_not(sub, &m))
        assert_string_not_equal(m.part[0], TENANT "/y");
    zmq_close(sub);
    station_close(&s);
}

/* libzmq would give the admission of the next subscription to another peer (publish.h). */
static void a_key_that_sends_messages_of_its_own_is_banned_and_others_go_on_F61(void **state)
{
    (void)state;
    struct station s;
    struct message m;
    station_open(&s);
    void *stays = subscriber(&s, false);
    subscribe(stays, TENANT "/");
    void *rogue = connected(&s, ZMQ_XSUB, &s.daemon);
    int soon = 20;
    zmq_setsockopt(rogue, ZMQ_RCVTIMEO, &soon, sizeof(soon));

    int64_t refused = stat_get(STAT_ZAP_REFUSED) + stat_get(STAT_ZAP_WAITED);
    zmq_send(rogue, "\5mine", 5, 0);
    zmq_send(rogue, "\1", 1, 0); /* everything */
    WAIT_UNTIL(stat_get(STAT_ZAP_REFUSED) + stat_get(STAT_ZAP_WAITED) != refused,
               WAIT_MS * MSEC_US);
    int64_t until = clock_monotonic_us() + WAIT_MS * MSEC_US;
    assert_true(keyring_is_banned(s.keyring, s.daemon.public));
    zmq_setsockopt(stays, ZMQ_RCVTIMEO, &soon, sizeof(soon));
    do {
        assert_true(clock_monotonic_us() < until);
        publish(&s, TENANT "/x", "his");
    } while (!hear_or_not(stays, &m));
    assert_string_equal(m.part[0], TENANT "/x");
    while (hear_or_not(rogue, &m)) /* at most what came before its message was read */
        assert_string_not_equal(m.part[0], TENANT "/x");
    zmq_close(rogue);
    zmq_close(stays);
    station_close(&s);
}

static void a_partner_may_come_again_for_what_it_has_as_often_as_it_likes_F33(void **state)
{
    (void)state;
    struct station s;
    char topic[100];
    station_open(&s);
    register_partner(&s, "events.read");
    int64_t refused = stat_get(STAT_SUBSCRIPTIONS_REFUSED);
    for (int i = 0; i < 70; i++) { /* more than it may have different ones */
        void *passing = connected(&s, ZMQ_SUB, &s.partner);
        subscribe(passing, TENANT "/0");
        zmq_close(passing);
    }
    void *sub = connected(&s, ZMQ_SUB, &s.partner), *again = connected(&s, ZMQ_SUB, &s.partner);
    for (int i = 0; i < 64; i++) {
        snprintf(topic, sizeof(topic), TENANT "/%d.", i);
        subscribe(sub, i == 0 ? TENANT "/0" : topic);
    }
    assert_int_equal(stat_get(STAT_SUBSCRIPTIONS_REFUSED), refused);
    subscribe(sub, TENANT "/64.");
    assert_int_equal(stat_get(STAT_SUBSCRIPTIONS_REFUSED), refused + 1);
    subscribe(again, TENANT "/63.");
    publish(&s, TENANT "/64.x", "one too many");
    publish(&s, TENANT "/63.x", "both");
    expect_topic(sub, TENANT "/63.x", 4);
    expect_topic(again, TENANT "/63.x", 4);
    zmq_close(sub);
    zmq_close(again);
    station_close(&s);
}

/* libzmq keeps every one of them (publish.h). */
static void a_key_with_too_many_refused_subscriptions_is_banned_F61(void **state)
{
    (void)state;
    struct station s;
    struct message m;
    char topic[100];
    station_open(&s);
    register_partner(&s, "events.read");
    void *stays = subscriber(&s, true), *rogue = connected(&s, ZMQ_XSUB, &s.partner);
    subscribe(stays, TENANT "/");
    int64_t refused = stat_get(STAT_ZAP_REFUSED);
    for (int i = 0; i < 300; i++) {
        int len = snprintf(topic, sizeof(topic), "\1" OTHER "/%d", i);
        zmq_send(rogue, topic, (size_t)len, 0);
    }
    wait_for_stat(STAT_ZAP_REFUSED, refused + 1); /* it was put out and tried to come back */
    assert_true(keyring_is_banned(s.keyring, s.partner.public));
    assert_false(keyring_is_banned(s.keyring, s.daemon.public));
    int soon = 20;
    int64_t until = clock_monotonic_us() + WAIT_MS * MSEC_US;
    zmq_setsockopt(stays, ZMQ_RCVTIMEO, &soon, sizeof(soon));
    do {
        assert_true(clock_monotonic_us() < until);
        publish(&s, TENANT "/x", "his");
    } while (!hear_or_not(stays, &m));
    assert_string_equal(m.part[0], TENANT "/x");
    zmq_close(rogue);
    zmq_close(stays);
    station_close(&s);
}

/* Under valgrind or the address sanitizer a peer that was gone before it was admitted shows. */
static void subscribers_that_come_and_go_leave_nothing_behind_F33(void **state)
{
    (void)state;
    struct station s;
    station_open(&s);
    void *stays = subscriber(&s, false);
    subscribe(stays, TENANT "/");
    for (int i = 0; i < 40; i++) {
        void *passing = subscriber(&s, i % 2 == 0);
        zmq_setsockopt(passing, ZMQ_SUBSCRIBE, TENANT "/", strlen(TENANT) + 1);
        publish(&s, TENANT "/x", "for all");
        zmq_close(passing);
    }
    for (int i = 0; i < 40; i++)
        expect_topic(stays, TENANT "/x", 4);
    zmq_close(stays);
    station_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tenant_hears_its_own_events_and_heads),
        cmocka_unit_test(a_daemon_hears_everything),
        cmocka_unit_test(who_asks_for_heads_is_told_at_once),
        cmocka_unit_test(a_revoked_key_hears_nothing_more_and_others_go_on),
        cmocka_unit_test(only_who_may_read_the_log_hears_it),
        cmocka_unit_test(who_may_read_the_log_no_more_hears_no_more),
        cmocka_unit_test(what_a_key_was_given_later_is_taken_from_it_too),
        cmocka_unit_test(a_key_that_sends_messages_of_its_own_is_banned_and_others_go_on_F61),
        cmocka_unit_test(a_partner_may_come_again_for_what_it_has_as_often_as_it_likes_F33),
        cmocka_unit_test(a_key_with_too_many_refused_subscriptions_is_banned_F61),
        cmocka_unit_test(subscribers_that_come_and_go_leave_nothing_behind_F33),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    metrics_stop();
    return failed;
}
