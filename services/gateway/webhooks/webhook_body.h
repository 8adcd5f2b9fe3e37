/*
 * webhook_body.h - an event as a CloudEvent 1.0 in structured JSON (protocols D.2). Pure; any
 * thread.
 */
#ifndef DAYBOOK_GATEWAY_WEBHOOK_BODY_H
#define DAYBOOK_GATEWAY_WEBHOOK_BODY_H

#include "common/consumer.h"
#include "common/sbuf.h"
#include "common/trace.h"

#define WEBHOOK_CONTENT_TYPE "application/cloudevents+json; charset=utf-8"

/* Appends the body. public_url: without a slash at its end. Errors as protojson_write(). */
NODISCARD enum err webhook_body(const char *public_url, const PbEvent *event,
                                const ProtobufCMessage *data, struct sbuf *out);

/* The event's traceparent out of a body that webhook_body() made. False: it has none. */
NODISCARD bool webhook_body_traceparent(const void *body, size_t len,
                                        char out[static TRACEPARENT_LEN + 1]);

#endif
