/*
 * bus_fixture.h - a broker in a thread of the test, and peers that speak raw Majordomo frames to
 * it. For the tests of the bus; each includes it once.
 */
#ifndef DAYBOOK_TESTS_UNIT_BUS_FIXTURE_H
#define DAYBOOK_TESTS_UNIT_BUS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "common/call.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "services/bus/broker.h"
#include "services/bus/frames.h"
#include "services/bus/stats.h"
#include "services/bus/zap.h"
#include "daybook/bus/v1/bus.pb-c.h"

#define OURS "daybook.bus.v1.EventService" /* a service of the contract, for our own frames */
#define WAIT_MS 5000
#define PARTS 32

/* --- the bus under test --------------------------------------------------------------------- */

struct bus {
    void *zmq;
    struct keyring *keyring;
    struct zap *zap;
    struct broker *broker;
    pthread_t thread;
    atomic_bool stop;
    atomic_bool hold, held; /* it shall stand still as a process does that is stopped; it does */
    struct broker_config config;
    struct arena *arena;
};

static bool stopping(void *arg)
{
    struct bus *bus = arg;
    while (atomic_load(&bus->hold)) {
        atomic_store(&bus->held, true);
        usleep(1000);
    }
    return atomic_load(&bus->stop);
}

static void *broker_main(void *arg)
{
    struct bus *bus = arg;
    broker_run(bus->broker, stopping, bus);
    return NULL;
}

/* Defaults with which no test has to wait long; a test changes them before bus_open(). */
UNUSED static void bus_prepare(struct bus *bus)
{
    memset(bus, 0, sizeof(*bus));
    broker_config_defaults(&bus->config);
    bus->config.inproc = "inproc://bus";
    bus->config.stranger_wait_us = 100 * MSEC_US;
    bus->config.drain_timeout_us = SECOND_US;
    bus->zmq = zmq_ctx_new();
    bus->config.zmq_context = bus->zmq;
    bus->arena = arena_new(4 * MIB);
    schema_init();
}

UNUSED static void bus_open(struct bus *bus)
{
    const char *reason = NULL;
    if (!bus->keyring)
        bus->keyring = keyring_new(NULL, NULL);
    bus->config.keyring = bus->keyring;
    bus->broker = broker_new(&bus->config, &reason);
    if (!bus->broker)
        fail_msg("%s", reason);
    assert_int_equal(pthread_create(&bus->thread, NULL, broker_main, bus), 0);
}

UNUSED static void bus_stop(struct bus *bus)
{
    atomic_store(&bus->stop, true);
    pthread_join(bus->thread, NULL);
}

UNUSED static void bus_close(struct bus *bus)
{
    if (!atomic_load(&bus->stop))
        bus_stop(bus);
    broker_free(bus->broker);
    zap_stop(bus->zap);
    keyring_free(bus->keyring);
    zmq_ctx_term(bus->zmq);
    arena_free(bus->arena);
}

/* --- peers ---------------------------------------------------------------------------------- */

struct message {
    char part[PARTS][512]; /* cut */
    size_t len[PARTS];     /* true length */
    size_t n;
};

UNUSED static void *peer(struct bus *bus, int type)
{
    void *s = zmq_socket(bus->zmq, type);
    int linger = 0, wait = WAIT_MS;
    assert_non_null(s);
    zmq_setsockopt(s, ZMQ_LINGER, &linger, sizeof(linger));
    zmq_setsockopt(s, ZMQ_RCVTIMEO, &wait, sizeof(wait));
    zmq_setsockopt(s, ZMQ_SNDTIMEO, &wait, sizeof(wait));
    return s;
}

UNUSED static void *dealer(struct bus *bus)
{
    void *s = peer(bus, ZMQ_DEALER);
    assert_int_equal(zmq_connect(s, "inproc://bus"), 0);
    return s;
}

/* Frames parted by '|'; \1 is a command byte. */
UNUSED static void say(void *s, const char *text)
{
    for (const char *p = text;; p++) {
        size_t len = strcspn(p, "|");
        bool more = p[len] == '|';
        assert_int_equal(zmq_send(s, p, len, more ? ZMQ_SNDMORE : 0), len);
        p += len;
        if (!more)
            return;
    }
}

UNUSED static bool hear_or_not(void *s, struct message *m)
{
    int more = 1;
    size_t size = sizeof(more);
    m->n = 0;
    while (more) {
        int n = zmq_recv(s, m->part[m->n % PARTS], sizeof(m->part[0]) - 1, 0);
        if (n < 0)
            return false;
        size_t cut = MIN((size_t)n, sizeof(m->part[0]) - 1);
        m->part[m->n % PARTS][cut] = 0;
        m->len[m->n % PARTS] = (size_t)n;
        m->n++;
        zmq_getsockopt(s, ZMQ_RCVMORE, &more, &size);
    }
    return true;
}

UNUSED static void hear_any(void *s, struct message *m)
{
    if (!hear_or_not(s, m))
        fail_msg("nothing came");
}

/* Heartbeats of both versions are left out: they may come at any time. */
UNUSED static void hear(void *s, struct message *m)
{
    for (;;) {
        hear_any(s, m);
        size_t at = m->n && m->len[0] == 0 ? 1 : 0;
        bool beat =
            m->n == at + 2 && ((!strcmp(m->part[at], "MDPW01") && m->part[at + 1][0] == 4) ||
                               (!strcmp(m->part[at], "MDPW02") && m->part[at + 1][0] == 5));
        if (!beat)
            return;
    }
}

UNUSED static void expect(void *s, const char *text)
{
    struct message m;
    hear(s, &m);
    char got[4096] = "";
    size_t n = 0;
    for (size_t i = 0; i < m.n; i++)
        n += (size_t)snprintf(got + n, sizeof(got) - n, "%s%s", i ? "|" : "", m.part[i]);
    if (strcmp(got, text))
        fail_msg("want %s, got %s", text, got);
}

UNUSED static void expect_nothing(void *s)
{
    struct message m;
    int wait = 100, usual = WAIT_MS;
    zmq_setsockopt(s, ZMQ_RCVTIMEO, &wait, sizeof(wait));
    assert_false(hear_or_not(s, &m));
    zmq_setsockopt(s, ZMQ_RCVTIMEO, &usual, sizeof(usual));
}

/* A worker's answer to the request it holds: header and command, then token and body. */
UNUSED static void answer(void *s, const struct message *request, const char *head,
                          const char *body)
{
    size_t token = request->len[0] == 0 ? 3 : 2;
    for (const char *p = head;; p++) {
        size_t len = strcspn(p, "|");
        zmq_send(s, p, len, ZMQ_SNDMORE);
        p += len;
        if (!*p)
            break;
    }
    assert_true(request->len[token] == MDP_TOKEN_SIZE || request->len[token] == MDP_ADDRESS_SIZE);
    zmq_send(s, request->part[token], request->len[token], ZMQ_SNDMORE);
    zmq_send(s, "", 0, ZMQ_SNDMORE);
    say(s, body);
}

#define FINAL02 "MDPW02|\4"
#define PARTIAL02 "MDPW02|\3"
#define REPLY01 "|MDPW01|\3"

UNUSED static void wait_for_code(struct bus *bus, const char *name, const char *code)
{
    char text[200];
    void *c = dealer(bus);
    struct message m;
    int64_t until = clock_monotonic_us() + WAIT_MS * MSEC_US;
    do {
        if (clock_monotonic_us() > until)
            fail_msg("mmi.service %s does not become %s", name, code);
        snprintf(text, sizeof(text), "MDPC02|\1|mmi.service|%s", name);
        say(c, text);
        hear(c, &m);
    } while (strcmp(m.part[3], code));
    zmq_close(c);
}

UNUSED static void wait_for_service(struct bus *bus, const char *name)
{
    wait_for_code(bus, name, "200");
}

UNUSED static void *worker(struct bus *bus, const char *ready, const char *service)
{
    void *w = dealer(bus);
    char text[300];
    snprintf(text, sizeof(text), "%s|%s", ready, service);
    say(w, text);
    wait_for_service(bus, service);
    return w;
}

UNUSED static void wait_for_stat(enum bus_stat s, int64_t at_least)
{
    int64_t until = clock_monotonic_us() + WAIT_MS * MSEC_US;
    while (stat_get(s) < at_least && clock_monotonic_us() < until)
        usleep(1000);
    assert_true(stat_get(s) >= at_least);
}

/* --- results of the bus --------------------------------------------------------------------- */

UNUSED static PbCallResult *result_of(struct bus *bus, const char *frame, size_t len)
{
    ProtobufCMessage *m = NULL;
    struct wire_fault f;
    assert_int_equal(wire_unpack(&daybook__common__v1__call_result__descriptor, frame, len,
                                 &wire_limits_internal, bus->arena, &m, &f),
                     ERR_OK);
    return (PbCallResult *)(void *)m;
}

UNUSED static const char *reason_of(struct bus *bus, const PbCallResult *r)
{
    assert_non_null(r->status);
    assert_true(r->status->n_details >= 1);
    assert_string_equal(r->status->details[0]->type_url,
                        "type.googleapis.com/google.rpc.ErrorInfo");
    ProtobufCMessage *m = NULL;
    struct wire_fault f;
    assert_int_equal(
        wire_unpack(&google__rpc__error_info__descriptor, r->status->details[0]->value.data,
                    r->status->details[0]->value.len, &wire_limits_internal, bus->arena, &m, &f),
        ERR_OK);
    return ((Google__Rpc__ErrorInfo *)(void *)m)->reason;
}

/* Body frame `at` is a CallResult with that code and reason, and an empty message follows. */
UNUSED static PbCallResult *expect_fault(struct bus *bus, void *s, size_t at, enum err code,
                                         const char *reason)
{
    struct message m;
    hear(s, &m);
    assert_int_equal(m.n, at + 2);
    assert_int_equal(m.len[at + 1], 0);
    PbCallResult *r = result_of(bus, m.part[at], m.len[at]);
    const char *got = reason_of(bus, r);
    if (strcmp(got, reason) || r->status->code != (int)code)
        fail_msg("want %s, got %s (%d)", reason, got, r->status->code);
    return r;
}

UNUSED static void send_context(void *s, PbCallContext *c, bool more)
{
    uint8_t buf[1024];
    size_t n = daybook__common__v1__call_context__pack(c, buf);
    assert_true(n <= sizeof(buf));
    zmq_send(s, buf, n, more ? ZMQ_SNDMORE : 0);
}

UNUSED static void ask(void *s, const char *method, PbCallContext *c, const char *message)
{
    zmq_send(s, "MDPC02", 6, ZMQ_SNDMORE);
    zmq_send(s, "\1", 1, ZMQ_SNDMORE);
    zmq_send(s, OURS, strlen(OURS), ZMQ_SNDMORE);
    zmq_send(s, method, strlen(method), ZMQ_SNDMORE);
    send_context(s, c, true);
    zmq_send(s, message, strlen(message), 0);
}

UNUSED static PbCallContext *context_of(struct bus *bus, const struct message *m, size_t at)
{
    ProtobufCMessage *c = NULL;
    struct wire_fault f;
    assert_true(m->len[at] < sizeof(m->part[0]));
    if (wire_unpack(&daybook__common__v1__call_context__descriptor, m->part[at], m->len[at],
                    &wire_limits_internal, bus->arena, &c, &f))
        fail_msg("%s: %s", f.field, f.reason);
    return (PbCallContext *)(void *)c;
}

UNUSED static void bus_open_beating(struct bus *bus, int64_t heartbeat_us)
{
    bus_prepare(bus);
    bus->config.heartbeat_us = heartbeat_us;
    bus_open(bus);
}

UNUSED static void take_and_answer(void *w, const char *body)
{
    struct message m;
    int64_t until = clock_monotonic_us() + WAIT_MS * MSEC_US;
    do {
        hear_any(w, &m);
        say(w, "MDPW02|\5");
    } while (m.part[1][0] == 5 && clock_monotonic_us() < until);
    answer(w, &m, FINAL02, body); /* fails if it was a heartbeat */
}

/* Heartbeats of the bus, each answered by one. */
UNUSED static void beat(void *w, int times)
{
    struct message m;
    for (int i = 0; i < times; i++) {
        hear_any(w, &m);
        say(w, "MDPW02|\5");
    }
}

/* As the request at hand has it: messages of the worker. */
UNUSED static int heard_by_then(const struct message *m)
{
    assert_int_equal(m->len[2], MDP_ADDRESS_SIZE);
    return (uint8_t)m->part[2][MDP_ADDRESS_SIZE - 1];
}

#endif
