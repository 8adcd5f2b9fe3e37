/* bus_request.c - see bus_request.h. */
#include "common/bus_request.h"

#include "common/mdp.h"
#include "common/wire.h"
#include "google/rpc/error_details.pb-c.h"

#define ANSWER_FRAMES 5

bool bus_request_pack(zmq_msg_t *frame, const ProtobufCMessage *message)
{
    if (zmq_msg_init_size(frame, protobuf_c_message_get_packed_size(message)) != 0)
        return false;
    protobuf_c_message_pack(message, zmq_msg_data(frame));
    return true;
}

bool bus_request_send(void *socket, const char *service, const char *method, zmq_msg_t *context,
                      zmq_msg_t *message)
{
    return bus_send(socket, MDP_CLIENT_02, MDP_HEADER_LEN, true) &&
           bus_send_byte(socket, MDP02_C_REQUEST, true) &&
           bus_send(socket, service, strlen(service), true) &&
           bus_send(socket, method, strlen(method), true) &&
           bus_send_frame(socket, context, true) && bus_send_frame(socket, message, false);
}

const PbCallResult *bus_request_result(struct bus_frames *f, struct arena *a)
{
    ProtobufCMessage *result = NULL;
    struct wire_fault fault;

    if (f->n != ANSWER_FRAMES || f->overflow ||
        !bus_frame_is(&f->frame[0], MDP_CLIENT_02, MDP_HEADER_LEN) ||
        !bus_frame_is_byte(&f->frame[1], MDP02_C_FINAL) ||
        wire_unpack(&daybook__common__v1__call_result__descriptor, zmq_msg_data(&f->frame[3]),
                    zmq_msg_size(&f->frame[3]), &wire_limits_internal, a, &result, &fault))
        return NULL;
    return (const PbCallResult *)result;
}

const ProtobufCMessage *bus_request_detail(const PbCallResult *result,
                                           const ProtobufCMessageDescriptor *type, struct arena *a)
{
    for (size_t i = 0; result && result->status && i < result->status->n_details; i++) {
        const Google__Protobuf__Any *any = result->status->details[i];
        const char *slash = strrchr(any->type_url, '/');
        ProtobufCMessage *m = NULL;
        struct wire_fault fault;
        if (slash && strcmp(slash + 1, type->name) == 0 &&
            wire_unpack(type, any->value.data, any->value.len, &wire_limits_internal, a, &m,
                        &fault) == ERR_OK)
            return m;
    }
    return NULL;
}

bool bus_request_met_drain(const PbCallResult *result, struct arena *a)
{
    if (!result->status || result->status->code != ERR_UNAVAILABLE)
        return false;
    const Google__Rpc__ErrorInfo *info =
        (const void *)bus_request_detail(result, &google__rpc__error_info__descriptor, a);
    return info && strcmp(info->reason, "DRAINING") == 0;
}
