/*
 * Who may do what: CURVE keys and their kinds, plain peers, forged principals (G.5, F56, F61).
 */
#include "tests/unit/bus_fixture.h"

#include "common/directory_build.h"
#include "services/bus/keyring.h"
#include "tests/support/folder.h"

/* --- identities ----------------------------------------------------------------------------- */

struct keypair {
    char public[41], secret[41];
};

static void write_key(const char *dir, const char *name, const struct keypair *k, const char *kind)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s.pub", dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fprintf(f, "# %s\n%s\nkind=%s\n", name, k->public, kind);
    fclose(f);
}

static void remove_key(const char *dir, const char *name)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s.pub", dir, name);
    assert_int_equal(unlink(path), 0);
}

struct guarded {
    struct bus bus;
    char dir[FOLDER_MAX], endpoint[100], plain[100];
    struct keypair server;
};

static void guarded_open(struct guarded *g, const struct identity_plain *plain)
{
    bus_prepare(&g->bus);
    folder_make(g->dir, "daybook-bus");
    snprintf(g->endpoint, sizeof(g->endpoint), "ipc://%s/curve", g->dir);
    snprintf(g->plain, sizeof(g->plain), "ipc://%s/plain", g->dir);
    zmq_curve_keypair(g->server.public, g->server.secret);
    g->bus.keyring = keyring_new(g->dir, plain);
    g->bus.zap = zap_start(g->bus.zmq, g->bus.keyring);
    assert_non_null(g->bus.zap);
    g->bus.config.listen = g->endpoint;
    g->bus.config.secret_key = g->server.secret;
    g->bus.config.plain = plain ? g->plain : NULL;
    bus_open(&g->bus);
}

static void guarded_close(struct guarded *g)
{
    bus_close(&g->bus);
    folder_remove(g->dir);
}

static void *curve(struct guarded *g, const struct keypair *k)
{
    void *s = peer(&g->bus, ZMQ_DEALER);
    zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, g->server.public, 41);
    zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, k->public, 41);
    zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, k->secret, 41);
    zmq_connect(s, g->endpoint);
    return s;
}

static PbCallContext *brought(PbPrincipal *p)
{
    static PbCallContext ctx;
    static char tenant[] = "01900000-0000-7000-8000-000000000001";
    static char actor[] = "01900000-0000-7000-8000-000000000002";
    daybook__common__v1__call_context__init(&ctx);
    daybook__common__v1__principal__init(p);
    p->tenant_id = tenant;
    p->actor_id = actor;
    p->kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE;
    ctx.principal = p;
    return &ctx;
}

static void only_registered_keys_are_admitted_and_rights_go_by_kind(void **state)
{
    (void)state;
    struct guarded g;
    struct message m;
    struct keypair daemon, edge, stranger;
    PbPrincipal p;
    zmq_curve_keypair(daemon.public, daemon.secret);
    zmq_curve_keypair(edge.public, edge.secret);
    zmq_curve_keypair(stranger.public, stranger.secret);
    guarded_open(&g, NULL);
    write_key(g.dir, "visits", &daemon, "daemon");
    write_key(g.dir, "gateway", &edge, "edge");
    keyring_refresh(g.bus.keyring);
    assert_int_equal(keyring_count(g.bus.keyring), 2);

    int64_t waited = stat_get(STAT_ZAP_WAITED);
    void *x = curve(&g, &stranger);
    say(x, "MDPC02|\1|mmi.service|x");
    wait_for_stat(STAT_ZAP_WAITED,
                  waited + 1); /* there is no directory here that could refuse it */
    expect_nothing(x);

    void *w = curve(&g, &daemon), *e = curve(&g, &edge);
    say(w, "MDPW02|\1|" OURS);
    wait_for_service(&g.bus, OURS);
    say(e, "MDPW02|\1|" OURS); /* an edge serves nothing */
    expect(e, "MDPW02|\6");

    /* F61: an edge brings people, not systems, and only well-formed ones */
    ask(e, "GetHead", brought(&p), "");
    hear(w, &m);
    PbCallContext *seen = context_of(&g.bus, &m, 5);
    assert_string_equal(seen->principal->tenant_id, p.tenant_id);
    assert_int_equal(seen->principal->kind, p.kind);
    answer(w, &m, FINAL02, "r|m");
    expect(e, "MDPC02|\3|" OURS "|r|m");
    PbCallContext *ctx = brought(&p);
    p.kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM;
    ask(e, "GetHead", ctx, "");
    expect_fault(&g.bus, e, 3, ERR_PERMISSION_DENIED, "PRINCIPAL_NOT_ALLOWED");
    ctx = brought(&p);
    char bad[] = "' or 1=1";
    p.tenant_id = bad;
    ask(e, "GetHead", ctx, "");
    expect_fault(&g.bus, e, 3, ERR_INVALID_ARGUMENT, "BAD_CONTEXT");

    /* revoked: refused with the next message, on the connection that stands (F56) */
    remove_key(g.dir, "gateway");
    keyring_refresh(g.bus.keyring);
    ask(e, "GetHead", brought(&p), "");
    expect_fault(&g.bus, e, 3, ERR_UNAUTHENTICATED, "KEY_NOT_ADMITTED");
    remove_key(g.dir, "visits");
    keyring_refresh(g.bus.keyring);
    expect(w, "MDPW02|\6"); /* without having said anything */

    zmq_close(x);
    zmq_close(w);
    zmq_close(e);
    guarded_close(&g);
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* A file that is being written, or was not readable at first. */
static void a_key_file_that_cannot_be_read_ends_no_key_F57(void **state)
{
    (void)state;
    char dir[FOLDER_MAX], good[100], half[30];
    struct keypair k, other;
    zmq_curve_keypair(k.public, k.secret);
    zmq_curve_keypair(other.public, other.secret);
    folder_make(dir, "daybook-keys");
    snprintf(good, sizeof(good), "%s\nkind=edge\n", k.public);
    snprintf(half, sizeof(half), "%.20s", k.public);
    put(dir, "gateway.pub", good);
    struct keyring *ring = keyring_new(dir, NULL);
    assert_int_equal(keyring_kind(ring, k.public), IDENTITY_EDGE);

    put(dir, "gateway.pub", half);
    keyring_refresh(ring);
    assert_int_equal(keyring_kind(ring, k.public), IDENTITY_EDGE);
    put(dir, "gateway.pub", "");
    put(dir, "other.pub", half); /* never was a key */
    keyring_refresh(ring);
    assert_int_equal(keyring_kind(ring, k.public), IDENTITY_EDGE);
    assert_int_equal(keyring_count(ring), 1);

    snprintf(good, sizeof(good), "%s\n", other.public); /* and now another one */
    put(dir, "gateway.pub", good);
    keyring_refresh(ring);
    assert_int_equal(keyring_kind(ring, k.public), IDENTITY_NONE);
    assert_int_equal(keyring_kind(ring, other.public), IDENTITY_DAEMON);
    remove_key(dir, "gateway");
    keyring_refresh(ring);
    assert_int_equal(keyring_count(ring), 0);
    keyring_free(ring);
    folder_remove(dir);
}

/* As root every file can be read, so that the change itself is looked at. */
static void a_key_file_that_is_made_readable_is_read(void **state)
{
    (void)state;
    char dir[FOLDER_MAX], good[100], path[100];
    struct keypair k;
    zmq_curve_keypair(k.public, k.secret);
    folder_make(dir, "daybook-keys");
    snprintf(good, sizeof(good), "%s\n", k.public);
    snprintf(path, sizeof(path), "%s/visits.pub", dir);
    put(dir, "visits.pub", good);
    assert_int_equal(chmod(path, 0), 0);
    struct keyring *ring = keyring_new(dir, NULL);
    uint64_t generation = keyring_generation(ring);
    keyring_refresh(ring);
    assert_int_equal(keyring_generation(ring), generation);
    assert_int_equal(chmod(path, 0644), 0);
    keyring_refresh(ring);
    assert_int_equal(keyring_generation(ring), generation + 1);
    assert_int_equal(keyring_kind(ring, k.public), IDENTITY_DAEMON);
    keyring_free(ring);
    folder_remove(dir);
}

static void plain_peers_act_as_the_one_actor_of_the_settings(void **state)
{
    (void)state;
    struct guarded g;
    struct message m;
    PbPrincipal p;
    struct identity_plain plain = { .offered = true, .scopes = "customers.read, events.read" };
    assert_true(id_parse("01900000-0000-7000-8000-00000000000a", &plain.tenant));
    assert_true(id_parse("01900000-0000-7000-8000-00000000000b", &plain.actor));
    guarded_open(&g, &plain);
    void *w = worker(&g.bus, "MDPW02|\1", OURS);
    void *c = peer(&g.bus, ZMQ_DEALER);
    zmq_connect(c, g.plain);
    ask(c, "GetHead", brought(&p), ""); /* what it brings is overwritten (F61) */
    hear(w, &m);
    PbCallContext *seen = context_of(&g.bus, &m, 5);
    assert_string_equal(seen->principal->tenant_id, "01900000-0000-7000-8000-00000000000a");
    assert_string_equal(seen->principal->actor_id, "01900000-0000-7000-8000-00000000000b");
    assert_int_equal(seen->principal->kind, DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE);
    assert_int_equal(seen->principal->n_scopes, 2);
    assert_string_equal(seen->principal->scopes[1], "events.read");
    say(c, "MDPC02|\1|" OURS "|GetHead+json|{\"principal\":{\"kind\":\"ACTOR_KIND_SYSTEM\"}}|{}");
    answer(w, &m, FINAL02, "r|m");
    hear(w, &m);
    assert_non_null(strstr(m.part[5], "01900000-0000-7000-8000-00000000000a"));
    assert_null(strstr(m.part[5], "SYSTEM"));

    say(c, "MDPW02|\1|" OURS);
    answer(w, &m, FINAL02, "r|m");
    int refusals = 0; /* two answers and the refusal to serve, in whatever order */
    for (int i = 0; i < 3; i++) {
        hear(c, &m);
        refusals += strcmp(m.part[0], "MDPW02") == 0;
    }
    assert_int_equal(refusals, 1);
    say(c, "MDPC02|\1|" BUS_SERVICE_NAME "|GetStats||");
    expect_fault(&g.bus, c, 3, ERR_PERMISSION_DENIED, "SCOPE_MISSING");

    /* a plain peer at the CURVE endpoint gets nowhere */
    void *x = peer(&g.bus, ZMQ_DEALER);
    zmq_connect(x, g.endpoint);
    say(x, "MDPC02|\1|mmi.service|x");
    expect_nothing(x);
    zmq_close(x);
    zmq_close(c);
    zmq_close(w);
    guarded_close(&g);
}

/* The rule of ReadEvents, for the same people. */
static void the_events_of_a_company_are_for_who_may_read_its_log(void **state)
{
    (void)state;
    static const struct {
        const char *label, *roles, *scopes; /* roles: NULL: a service account */
        bool want;
    } cases[] = {
        { "an account with the scope", NULL, "customers.read,events.read", true },
        { "an account without it", NULL, "tenant.all,customers.read", false },
        { "a general manager whose key says no more", "general_manager", "", true },
        { "a general manager whose key has the scope", "rep,general_manager", "events.read", true },
        { "a general manager whose key is for something else", "general_manager", "orders.read",
          false },
        { "a rep, whatever his key says", "rep", "events.read", false },
        { "a rep whose key says no more", "rep", "", false },
    };
    const char *z85 = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    struct dir_key key = { .expires_at_us = 0 };
    struct identity_cache cache;
    struct keyring *ring = keyring_new(NULL, NULL);
    assert_true(id_parse("01900000-0000-7000-8000-00000000000a", &key.tenant));
    assert_true(id_parse("01900000-0000-7000-8000-00000000000b", &key.actor));
    key.credential = key.actor;
    memcpy(key.public_key, z85, sizeof(key.public_key));
    assert_true(identity_cache_init(&cache, ring));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct directory_builder *b = directory_builder_new();
        directory_builder_set_revision(b, (int64_t)i + 1);
        directory_builder_add_tenant(b, key.tenant, "Shop", NULL, NULL);
        key.is_employee = cases[i].roles != NULL;
        if (key.is_employee)
            directory_builder_add_employee(b, key.tenant,
                                           &(struct directory_employee_in){
                                               .id = key.actor,
                                               .employee_no = "1",
                                               .name = "R",
                                               .roles = cases[i].roles,
                                           });
        directory_builder_add_key(b, &key, cases[i].scopes);
        directory_set_for_tests(directory_builder_finish(b));
        identity_cache_refresh(&cache);
        const struct identity *who = identity_of(&cache, z85);
        if (who->kind != IDENTITY_ACTOR || who->hears_own != cases[i].want)
            fail_msg("%s: want %d", cases[i].label, cases[i].want);
    }
    identity_cache_fini(&cache);
    directory_set_for_tests(NULL);
    keyring_free(ring);
}

static void plain_endpoints_must_be_local(void **state)
{
    (void)state;
    assert_true(broker_endpoint_is_local("tcp://127.0.0.1:5555,ipc:///run/x"));
    assert_false(broker_endpoint_is_local("tcp://127.0.0.1:5555,tcp://0.0.0.0:5556"));
    assert_false(broker_endpoint_is_local("tcp://*:5555"));
    assert_false(broker_endpoint_is_local("tcp://eth0:5555"));
    assert_false(broker_endpoint_is_local(""));

    struct bus bus;
    const char *reason = NULL;
    bus_prepare(&bus);
    bus.config.plain = "tcp://0.0.0.0:0";
    bus.keyring = keyring_new(NULL, NULL);
    bus.config.keyring = bus.keyring;
    assert_null(broker_new(&bus.config, &reason));
    assert_non_null(strstr(reason, "loopback"));
    keyring_free(bus.keyring);
    zmq_ctx_term(bus.zmq);
    arena_free(bus.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_registered_keys_are_admitted_and_rights_go_by_kind),
        cmocka_unit_test(a_key_file_that_cannot_be_read_ends_no_key_F57),
        cmocka_unit_test(a_key_file_that_is_made_readable_is_read),
        cmocka_unit_test(plain_peers_act_as_the_one_actor_of_the_settings),
        cmocka_unit_test(the_events_of_a_company_are_for_who_may_read_its_log),
        cmocka_unit_test(plain_endpoints_must_be_local),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    schema_fini();
    metrics_stop();
    return failed;
}
