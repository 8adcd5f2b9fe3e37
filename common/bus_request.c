/* bus_request.c - see bus_request.h. */
#include "common/bus_request.h"

#include "common/mdp.h"
#include "common/wire.h"

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
