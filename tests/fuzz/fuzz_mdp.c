/*
 * fuzz_mdp.c - a message of a peer, as frames, through the parser of the bus, and its frames as a
 * CallContext through the stamping.
 *
 * Input: frames as length byte and bytes; 255 takes all that is left. Whatever comes, positions
 * stay within the message, and a context that is let through can be read by the worker and says
 * what the bus put into it: who calls, for which service, within what time.
 */
#include <assert.h>

#include "common/arena.h"
#include "common/call.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "services/bus/context.h"
#include "services/bus/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define FRAMES (MDP_FRAMES_MAX + 4)
#define SERVICE "daybook.bus.v1.EventService"
#define REMAINING_MS 4321

/* Field 2: {kind: SERVICE}. */
static const uint8_t service_principal[] = { 0x12, 0x02, 0x18, 0x02 };

static const struct identity actor = {
    .kind = IDENTITY_ACTOR,
    .expires_at_us = INT64_MAX,
    .principal = service_principal,
    .principal_len = sizeof(service_principal),
};
static const struct identity edge = {
    .kind = IDENTITY_EDGE,
    .brings = true,
    .expires_at_us = INT64_MAX,
    .principal = service_principal,
    .principal_len = sizeof(service_principal),
};

static size_t split(const uint8_t *data, size_t len, struct mdp_frame *frames)
{
    size_t n = 0;
    while (len > 0 && n < FRAMES) {
        size_t want = data[0], left = len - 1;
        size_t take = want == 255 || want > left ? left : want;
        frames[n++] = (struct mdp_frame){ data + 1, take };
        data += 1 + take;
        len = left - take;
    }
    return n;
}

static void check_message(const struct mdp_message *m, size_t n)
{
    if (m->kind == MDP_BAD) {
        assert(m->why);
        return;
    }
    if (m->kind == MDP_PROBE)
        return;
    assert(m->version == 1 || m->version == 2);
    assert(m->nstack <= MDP_STACK_MAX && m->nstack < n);
    switch (m->kind) {
    case MDP_REQUEST:
        assert(!m->from_worker && m->service < n && m->body + m->nbody == n);
        assert(m->nbody <= MDP_BODY_MAX);
        break;
    case MDP_READY:
        assert(m->nservices >= 1 && m->service + m->nservices == n);
        break;
    case MDP_PARTIAL:
    case MDP_FINAL:
        assert(m->address + 1 < n && m->body + m->nbody == n && m->nbody <= MDP_BODY_MAX);
        break;
    case MDP_WAKE:
        assert(m->service < n && m->nbody <= 1 && m->body + m->nbody == n);
        break;
    default:
        break;
    }
}

static const PbCallContext *read_back(const uint8_t *frame, size_t len, bool json, struct arena *a)
{
    ProtobufCMessage *m = NULL;
    struct wire_fault f;
    enum err e = json ? protojson_read(&daybook__common__v1__call_context__descriptor,
                                       (const char *)frame, len, PROTOJSON_STRICT, a, &m, &f)
                      : wire_unpack(&daybook__common__v1__call_context__descriptor, frame, len,
                                    &wire_limits_internal, a, &m, &f);
    assert(e == ERR_OK);
    return (const void *)m;
}

static void check_context(const struct mdp_frame *frame, bool json, const struct identity *who,
                          struct arena *a)
{
    struct context c;
    struct wire_fault f;
    const struct context_stamp stamp = {
        .who = who, .service = SERVICE, .service_len = strlen(SERVICE), .received_at_us = SECOND_US
    };
    if (context_take(frame->data, frame->len, json, &stamp, a, &c, &f))
        return;
    uint8_t *out = malloc(context_size_max(&c));
    assert(out);
    size_t len = context_finish(&c, REMAINING_MS, out);
    assert(len <= context_size_max(&c));
    const PbCallContext *m = read_back(out, len, json, a);
    assert(strcmp(m->service, SERVICE) == 0);
    assert(m->deadline_ms == REMAINING_MS);
    assert(m->request_id[0] && strcmp(m->request_id, c.request_id) == 0);
    assert(m->received_at && wire_time_us(m->received_at) == SECOND_US);
    assert(m->principal &&
           m->principal->kind != DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM);
    if (!who->brings)
        assert(m->principal->kind == DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE &&
               m->principal->tenant_id[0] == 0 && m->principal->n_scopes == 0);
    free(out);
    context_fini(&c);
    arena_reset(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mdp_frame frames[FRAMES];
    struct mdp_message m;
    size_t n = split(data, len, frames);
    schema_init();
    mdp_parse(frames, n, &m);
    check_message(&m, n);

    struct arena *a = arena_new(8 * MIB);
    if (!a)
        return 0;
    for (size_t i = 0; i < n; i++) {
        check_context(&frames[i], false, &actor, a);
        check_context(&frames[i], false, &edge, a);
        check_context(&frames[i], true, &actor, a);
        check_context(&frames[i], true, &edge, a);
    }
    arena_free(a);
    return 0;
}
