/*
 * bus_request.h - the frames of a request to the bus and of its answer, as a client sees them
 * (mdp.h): what those that wait for an answer (bus_client.h) and those that do not share.
 *
 * The socket's owner calls; nothing here waits.
 */
#ifndef DAYBOOK_COMMON_BUS_REQUEST_H
#define DAYBOOK_COMMON_BUS_REQUEST_H

#include "common/arena.h"
#include "common/bus_frames.h"
#include "common/call.h"

/* Packs into a frame, which the caller closes. False: no memory. */
NODISCARD bool bus_request_pack(zmq_msg_t *frame, const ProtobufCMessage *message);
/* Moves the frames out on success. False: not taken. */
NODISCARD bool bus_request_send(void *socket, const char *service, const char *method,
                                zmq_msg_t *context, zmq_msg_t *message);
/* The result of a final answer, in the arena, whose message is frame 4; NULL: it is none. */
const PbCallResult *bus_request_result(struct bus_frames *f, struct arena *a);
/* A detail of its failure; NULL: there is none. */
const ProtobufCMessage *bus_request_detail(const PbCallResult *result,
                                           const ProtobufCMessageDescriptor *type, struct arena *a);
/* Refused by a bus or a replica that stops: nothing was done, and another one takes it (F09). */
bool bus_request_met_drain(const PbCallResult *result, struct arena *a);
/* So often one request is sent, if that is all that is in its way. */
#define BUS_REQUEST_TRIES 3

#endif
