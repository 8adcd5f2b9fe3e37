/*
 * frames.c - one table of headers, one of worker commands, and a parser that walks the frames once.
 */
#include "services/bus/frames.h"

static const struct {
    const char *text;
    int version;
    bool worker;
} headers[] = {
    { MDP_CLIENT_02, 2, false },
    { MDP_WORKER_02, 2, true },
    { MDP_CLIENT_01, 1, false },
    { MDP_WORKER_01, 1, true },
};

/* What a worker's command byte means, by version: 03 to 05 differ (protocols A.1). */
static const struct {
    int version;
    uint8_t byte;
    enum mdp_kind kind;
} worker_commands[] = {
    { 1, MDP01_W_READY, MDP_READY },           { 1, MDP01_W_REPLY, MDP_FINAL },
    { 1, MDP01_W_HEARTBEAT, MDP_HEARTBEAT },   { 1, MDP01_W_DISCONNECT, MDP_DISCONNECT },
    { 2, MDP02_W_READY, MDP_READY },           { 2, MDP02_W_PARTIAL, MDP_PARTIAL },
    { 2, MDP02_W_FINAL, MDP_FINAL },           { 2, MDP02_W_HEARTBEAT, MDP_HEARTBEAT },
    { 2, MDP02_W_DISCONNECT, MDP_DISCONNECT }, { 2, MDP02_W_WAKE, MDP_WAKE },
};

static bool header_read(const struct mdp_frame *f, struct mdp_message *out)
{
    if (f->len != MDP_HEADER_LEN)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(headers); i++)
        if (memcmp(f->data, headers[i].text, MDP_HEADER_LEN) == 0) {
            out->version = headers[i].version;
            out->from_worker = headers[i].worker;
            return true;
        }
    return false;
}

static void bad(struct mdp_message *out, const char *why)
{
    out->kind = MDP_BAD;
    out->why = why;
}

bool mdp_service_name_ok(const void *name, size_t len)
{
    const uint8_t *p = name;
    if (len == 0 || len > MDP_SERVICE_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (p[i] < 0x20 || p[i] > 0x7e)
            return false;
    return true;
}

bool mdp_is_management(const void *name, size_t len)
{
    return len >= 4 && memcmp(name, "mmi.", 4) == 0;
}

/* The index of the header frame, or nframes when there is none where one may stand. */
static size_t header_find(const struct mdp_frame *frames, size_t nframes, struct mdp_message *out)
{
    if (header_read(&frames[0], out))
        return 0;
    for (size_t i = 0; i < nframes && i <= MDP_STACK_MAX; i++) {
        if (frames[i].len > MDP_STACK_FRAME_MAX) { /* it would come back with every answer */
            out->why = "return_stack";
            return nframes;
        }
        if (frames[i].len > 0)
            continue;
        out->nstack = i;
        out->delimiter = true;
        return i + 1 < nframes && header_read(&frames[i + 1], out) ? i + 1 : nframes;
    }
    return nframes;
}

static void parse_body(size_t at, size_t nframes, struct mdp_message *out)
{
    out->body = at;
    out->nbody = nframes - at;
    if (out->nbody > MDP_BODY_MAX)
        bad(out, "too_many_frames");
}

static void parse_client(const struct mdp_frame *frames, size_t nframes, size_t at,
                         struct mdp_message *out)
{
    if (out->version == 2) {
        if (at >= nframes || frames[at].len != 1 ||
            *(const uint8_t *)frames[at].data != MDP02_C_REQUEST) {
            bad(out, "command");
            return;
        }
        at++;
    }
    if (at >= nframes || frames[at].len == 0 || frames[at].len > MDP_SERVICE_NAME_MAX) {
        bad(out, "service_name");
        return;
    }
    out->kind = MDP_REQUEST;
    out->service = at;
    out->nservices = 1;
    parse_body(at + 1, nframes, out);
}

static enum mdp_kind worker_kind(int version, const struct mdp_frame *f)
{
    if (f->len != 1)
        return MDP_BAD;
    for (size_t i = 0; i < ARRAY_LEN(worker_commands); i++)
        if (worker_commands[i].version == version &&
            worker_commands[i].byte == *(const uint8_t *)f->data)
            return worker_commands[i].kind;
    return MDP_BAD;
}

static void parse_ready(const struct mdp_frame *frames, size_t nframes, size_t at,
                        struct mdp_message *out)
{
    out->service = at;
    out->nservices = nframes - at;
    /* Several services are our extension of 0.2. */
    if (out->nservices < 1 || out->nservices > (out->version == 2 ? MDP_SERVICES_MAX : 1)) {
        bad(out, "service_name");
        return;
    }
    for (size_t i = at; i < nframes; i++)
        if (!mdp_service_name_ok(frames[i].data, frames[i].len))
            bad(out, "service_name");
}

static void parse_answer(const struct mdp_frame *frames, size_t nframes, size_t at,
                         struct mdp_message *out)
{
    if (at + 1 >= nframes || frames[at].len == 0 || frames[at + 1].len != 0) {
        bad(out, "address");
        return;
    }
    out->address = at;
    parse_body(at + 2, nframes, out);
}

static void parse_wake(const struct mdp_frame *frames, size_t nframes, size_t at,
                       struct mdp_message *out)
{
    if (at >= nframes || nframes - at > 2 ||
        !mdp_service_name_ok(frames[at].data, frames[at].len)) {
        bad(out, "channel");
        return;
    }
    out->service = at;
    out->nservices = 1;
    out->body = at + 1;
    out->nbody = nframes - at - 1;
}

static void parse_worker(const struct mdp_frame *frames, size_t nframes, size_t at,
                         struct mdp_message *out)
{
    out->kind = at < nframes ? worker_kind(out->version, &frames[at]) : MDP_BAD;
    switch (out->kind) {
    case MDP_READY:
        parse_ready(frames, nframes, at + 1, out);
        break;
    case MDP_PARTIAL:
    case MDP_FINAL:
        parse_answer(frames, nframes, at + 1, out);
        break;
    case MDP_WAKE:
        parse_wake(frames, nframes, at + 1, out);
        break;
    case MDP_HEARTBEAT: /* what may follow these two is nobody's business */
    case MDP_DISCONNECT:
        break;
    case MDP_PROBE:
    case MDP_REQUEST:
    case MDP_BAD:
        bad(out, "command");
        break;
    }
}

void mdp_parse(const struct mdp_frame *frames, size_t nframes, struct mdp_message *out)
{
    *out = (struct mdp_message){ .kind = MDP_BAD, .why = "header" };
    if (nframes == 0 || (nframes == 1 && frames[0].len == 0)) {
        out->kind = MDP_PROBE;
        return;
    }
    if (nframes > MDP_FRAMES_MAX) {
        bad(out, "too_many_frames");
        return;
    }
    size_t header = header_find(frames, nframes, out);
    if (header >= nframes)
        return;
    if (out->from_worker)
        parse_worker(frames, nframes, header + 1, out);
    else
        parse_client(frames, nframes, header + 1, out);
}

struct mdp_head mdp_client_head(int version, bool final)
{
    static const uint8_t commands[] = { MDP02_C_PARTIAL, MDP02_C_FINAL };
    if (version == 1)
        return (struct mdp_head){ .frames = { { MDP_CLIENT_01, MDP_HEADER_LEN } }, .n = 1 };
    return (struct mdp_head){
        .frames = { { MDP_CLIENT_02, MDP_HEADER_LEN }, { &commands[final], 1 } },
        .n = 2,
    };
}

struct mdp_head mdp_worker_head(int version, enum mdp_worker_command command)
{
    static const uint8_t commands[2][3] = {
        { MDP01_W_REQUEST, MDP01_W_HEARTBEAT, MDP01_W_DISCONNECT },
        { MDP02_W_REQUEST, MDP02_W_HEARTBEAT, MDP02_W_DISCONNECT },
    };
    bool v2 = version == 2;
    return (struct mdp_head){
        .frames = { { v2 ? MDP_WORKER_02 : MDP_WORKER_01, MDP_HEADER_LEN },
                    { &commands[v2][command], 1 } },
        .n = 2,
    };
}
