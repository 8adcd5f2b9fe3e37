/*
 * refuse.c - what the broker says on its own to the message at hand: refusals, mmi.*, BusService.
 */
#include "services/bus/broker_internal.h"

#include "common/clock.h"

#define JSON_SUFFIX "+json"

struct envelope incoming_envelope(struct incoming *in)
{
    return (struct envelope){
        .id = &in->frames[0],
        .stack = &in->frames[1],
        .nstack = in->m.nstack,
        .delimiter = in->m.delimiter,
    };
}

static bool has_json_suffix(const void *method, size_t len)
{
    size_t n = strlen(JSON_SUFFIX);
    return len > n && memcmp((const char *)method + len - n, JSON_SUFFIX, n) == 0;
}

bool body_read(struct incoming *in, struct body *out)
{
    *out = (struct body){ 0 };
    if (in->m.nbody == 0)
        return false;
    out->method = incoming_frame(in, in->m.body);
    out->method_len = zmq_msg_size(out->method);
    out->json = has_json_suffix(zmq_msg_data(out->method), out->method_len);
    if (out->json)
        out->method_len -= strlen(JSON_SUFFIX);
    if (in->m.nbody != 2 && in->m.nbody != 3)
        return false;
    /* method and message: a client that has nothing to say about the call may leave the context out
     */
    out->context = in->m.nbody == 3 ? incoming_frame(in, in->m.body + 1) : NULL;
    out->message = incoming_frame(in, in->m.body + in->m.nbody - 1);
    return out->method_len > 0;
}

/* The one answer to the message at hand; frames are moved. */
static void reply(struct broker *b, zmq_msg_t *body, size_t nbody)
{
    struct envelope e = incoming_envelope(&b->in);
    struct mdp_head head = mdp_client_head(b->in.m.version, true);
    enum sent s = send_start(b, &e, &head, true);
    send_count(s);
    if (s == SENT)
        send_copy(b, incoming_frame(&b->in, b->in.m.service), true);
    for (size_t i = 0; i < nbody; i++) {
        if (s == SENT)
            send_move(b, &body[i], i + 1 < nbody);
        zmq_msg_close(&body[i]);
    }
}

void refuse(struct broker *b, enum fault fault, const char *request_id, const char *detail,
            struct service *s)
{
    struct body body;
    char own_id[CONTEXT_REQUEST_ID_MAX + 1];
    zmq_msg_t frames[2];
    bool shaped = body_read(&b->in, &body);
    stats_count_rejected(s, fault_reason(fault));
    if (shaped && body.context && !request_id[0]) { /* the client knows the answer by it */
        context_request_id(zmq_msg_data(body.context), zmq_msg_size(body.context), body.json,
                           b->scratch, own_id);
        request_id = own_id;
    }
    if (!answer_pack(&(struct answer){ .fault = fault,
                                       .request_id = request_id,
                                       .service = s ? s->name : NULL,
                                       .detail = detail,
                                       .json = body.json },
                     b->scratch, &frames[0]))
        return; /* without memory for these few bytes there is nothing left to say it with */
    zmq_msg_init(&frames[1]);
    reply(b, frames, 2);
}

void refuse_context(struct broker *b, enum err why, const struct wire_fault *fault,
                    struct service *s)
{
    char detail[sizeof(fault->field) + sizeof(fault->reason) + 2];

    if (why == ERR_INVALID_ARGUMENT) {
        snprintf(detail, sizeof(detail), "%s%s%s", fault->field, fault->field[0] ? ": " : "",
                 fault->reason);
        refuse(b, FAULT_BAD_CONTEXT, "", detail, s);
    } else {
        refuse(b, why == ERR_PERMISSION_DENIED ? FAULT_PRINCIPAL : FAULT_MEMORY, "", NULL, s);
    }
}

static bool is_served(struct broker *b, zmq_msg_t *name)
{
    const struct service *s =
        registry_service(&b->registry, zmq_msg_data(name), zmq_msg_size(name));
    bool own = zmq_msg_size(name) == strlen(BUS_SERVICE_NAME) &&
               memcmp(zmq_msg_data(name), BUS_SERVICE_NAME, strlen(BUS_SERVICE_NAME)) == 0;
    return own || (s && s->workers > 0);
}

void manage(struct broker *b)
{
    static const char service_query[] = "mmi.service";
    struct incoming *in = &b->in;
    zmq_msg_t *name = incoming_frame(in, in->m.service), code;
    const char *text = "501";
    if (zmq_msg_size(name) == strlen(service_query) &&
        memcmp(zmq_msg_data(name), service_query, strlen(service_query)) == 0)
        text = in->m.nbody > 0 && is_served(b, incoming_frame(in, in->m.body)) ? "200" : "404";
    zmq_msg_init_size(&code, 3); /* held within the message itself: cannot fail */
    memcpy(zmq_msg_data(&code), text, 3);
    reply(b, &code, 1);
}

static void answer_bus_service(struct broker *b, const struct body *body,
                               const struct context *context)
{
    zmq_msg_t frames[2];
    bool known;
    ProtobufCMessage *m = stats_answer(&b->registry, zmq_msg_data(body->method), body->method_len,
                                       b->scratch, &known);
    bool packed = m && answer_pack_message(m, body->json, &frames[1]);
    arena_reset(b->scratch);
    if (!packed) {
        refuse(b, known ? FAULT_MEMORY : FAULT_UNKNOWN_METHOD, context->request_id, NULL, NULL);
        return;
    }
    if (!answer_pack_ok(context->request_id, body->json, b->scratch, &frames[0])) {
        zmq_msg_close(&frames[1]);
        return;
    }
    stat_add(STAT_ANSWERS, 1);
    reply(b, frames, 2);
}

void bus_service(struct broker *b, const struct identity *who)
{
    struct body body;
    struct context context;
    struct wire_fault fault;
    if (!body_read(&b->in, &body)) {
        refuse(b, FAULT_BAD_REQUEST, "", NULL, NULL);
        return;
    }
    const struct context_stamp stamp = { .who = who,
                                         .service = BUS_SERVICE_NAME,
                                         .service_len = strlen(BUS_SERVICE_NAME),
                                         .received_at_us = clock_wall_us() };
    enum err e = context_take(body.context ? zmq_msg_data(body.context) : NULL,
                              body.context ? zmq_msg_size(body.context) : 0, body.json, &stamp,
                              b->scratch, &context, &fault);
    if (e) {
        refuse_context(b, e, &fault, NULL);
        return;
    }
    if (id_is_nil(context.tenant) || who->brings_system || context.reads_bus)
        answer_bus_service(b, &body, &context);
    else
        refuse(b, FAULT_PERMISSION, context.request_id, NULL, NULL);
    context_fini(&context);
}
