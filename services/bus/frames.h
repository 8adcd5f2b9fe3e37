/*
 * frames.h - Majordomo frames: what a peer's message says, and the heads of what we say.
 *
 * Pure: no sockets, no memory of its own, total on any input. Views point into the caller's frames.
 * A message is taken apart after its routing id: return stack, delimiter, header, command, the rest
 * (protocols A.1, A profile).
 */
#ifndef DAYBOOK_BUS_FRAMES_H
#define DAYBOOK_BUS_FRAMES_H

#include "common/base.h"
#include "common/mdp.h"

#define MDP_STACK_MAX 8         /* frames before the delimiter */
#define MDP_STACK_FRAME_MAX 255 /* bytes of each: the longest routing id */
#define MDP_BODY_MAX 8          /* body frames of one message */
#define MDP_SERVICES_MAX 32     /* services of one READY */
#define MDP_SERVICE_NAME_MAX 255
/* Most frames that a legal message has after its routing id. */
#define MDP_FRAMES_MAX (MDP_STACK_MAX + 1 + 2 + MDP_SERVICES_MAX)

struct mdp_frame {
    const void *data;
    size_t len;
};

enum mdp_kind {
    MDP_PROBE, /* the empty message of PROBE_ROUTER: to be ignored */
    MDP_BAD,   /* to be dropped and counted; `why` says what is wrong */
    MDP_REQUEST,
    MDP_READY,
    MDP_PARTIAL,
    MDP_FINAL, /* also REPLY of 0.1 */
    MDP_HEARTBEAT,
    MDP_DISCONNECT,
    MDP_WAKE,
};

/* A message taken apart; positions count from the frame after the routing id. */
struct mdp_message {
    enum mdp_kind kind;
    const char *why;  /* MDP_BAD: a word for the metric */
    int version;      /* 1: MDP/0.1, 2: MDP/0.2 */
    bool from_worker; /* by its header */
    size_t nstack;    /* frames 0 .. nstack-1 are the return stack */
    bool delimiter;   /* an empty frame follows the stack */
    size_t service;   /* MDP_REQUEST, MDP_READY: first service name; MDP_WAKE: the channel */
    size_t nservices;
    size_t address; /* MDP_PARTIAL, MDP_FINAL */
    size_t body;
    size_t nbody;
};

/* nframes may exceed MDP_FRAMES_MAX: the caller then passes what it kept, and the message is bad.
 */
void mdp_parse(const struct mdp_frame *frames, size_t nframes, struct mdp_message *out);

/* 1 to 255 printable ASCII characters. */
bool mdp_service_name_ok(const void *name, size_t len);
/* Names beginning with "mmi." are the broker's own (RFC 8). */
bool mdp_is_management(const void *name, size_t len);

/* Header and command, as the frames that follow stack and delimiter. */
struct mdp_head {
    struct mdp_frame frames[2];
    size_t n; /* a 0.1 client's answer has no command frame */
};

/* Of an answer to a client. `final`: the only or last one; 0.1 has no other. */
struct mdp_head mdp_client_head(int version, bool final);
/* Of a command to a worker. */
enum mdp_worker_command {
    MDP_TO_WORKER_REQUEST,
    MDP_TO_WORKER_HEARTBEAT,
    MDP_TO_WORKER_DISCONNECT
};
struct mdp_head mdp_worker_head(int version, enum mdp_worker_command command);

#endif
