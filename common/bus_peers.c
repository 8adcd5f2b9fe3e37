/*
 * bus_peers.c - see bus_peers.h. Names that lead to one address share the connection, since
 * zmq_disconnect() ends all that go there.
 */
#include "common/bus_peers.h"

#include <zmq.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/resolve.h"

/* A name that is found at all is found soon; afterwards nobody is woken for it that often. */
#define SOON_US (2 * SECOND_US)
#define UNKNOWN_SOON_US (20 * MSEC_US)
#define UNKNOWN_US (250 * MSEC_US)
#define KNOWN_US SECOND_US

struct peer {
    struct resolve *name;
    uint64_t generation; /* of `at`; 0: not connected */
    char at[RESOLVE_TEXT_MAX];
};

struct bus_peers {
    void *socket;
    int64_t begun_us;
    size_t n;
    struct peer peers[BUS_PEERS_MAX];
};

bool bus_peers_connect(void *zmq_socket, const char *address)
{
    int v6 = strchr(address, '[') != NULL; /* on, it would open IPv6 sockets for all */
    return zmq_setsockopt(zmq_socket, ZMQ_IPV6, &v6, sizeof v6) == 0 &&
           zmq_connect(zmq_socket, address) == 0;
}

static bool is_among_first(const struct bus_peers *p, size_t n, const char *address)
{
    for (size_t i = 0; i < n; i++)
        if (p->peers[i].generation && strcmp(p->peers[i].at, address) == 0)
            return true;
    return false;
}

static bool is_connected(const struct bus_peers *p, const char *address)
{
    return is_among_first(p, p->n, address);
}

/* False: not known yet, or libzmq does not take it. */
static bool move(struct bus_peers *p, struct peer *peer)
{
    char to[RESOLVE_TEXT_MAX];
    bool leaves = peer->generation != 0;
    uint64_t generation;

    if (!resolve_get(peer->name, to, &generation))
        return false;
    peer->generation = 0;
    if (leaves && strcmp(peer->at, to) != 0 && !is_connected(p, peer->at))
        (void)zmq_disconnect(p->socket, peer->at);
    bool stands = is_connected(p, to) || (leaves && strcmp(peer->at, to) == 0);
    if (!stands && !bus_peers_connect(p->socket, to)) {
        log_error("bus.no_connection", zmq_strerror(zmq_errno()), "bus", to, NULL);
        return false;
    }
    memcpy(peer->at, to, sizeof peer->at);
    peer->generation = generation;
    return true;
}

static bool add(struct bus_peers *p, const char *endpoint, size_t len)
{
    char text[RESOLVE_TEXT_MAX] = "";

    if (p->n == BUS_PEERS_MAX || len == 0 || len >= sizeof text)
        return false;
    memcpy(text, endpoint, len);
    struct peer *peer = &p->peers[p->n];
    peer->name = resolve_acquire_endpoint(text);
    if (!peer->name)
        return false;
    p->n++;
    return resolve_generation(peer->name) == 0 || move(p, peer);
}

struct bus_peers *bus_peers_new(void *zmq_socket, const char *endpoints)
{
    struct bus_peers *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->socket = zmq_socket;
    p->begun_us = clock_monotonic_us();
    for (const char *from = endpoints;; from++) {
        size_t len = strcspn(from, ",");
        if (!add(p, from, len))
            break;
        from += len;
        if (!*from)
            return p;
    }
    bus_peers_free(p);
    return NULL;
}

void bus_peers_free(struct bus_peers *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        resolve_release(p->peers[i].name);
    free(p);
}

bool bus_peers_follow(struct bus_peers *p)
{
    bool changed = false;
    for (size_t i = 0; i < p->n; i++)
        if (p->peers[i].generation != resolve_generation(p->peers[i].name))
            changed |= move(p, &p->peers[i]);
    return changed;
}

bool bus_peers_reconnect(struct bus_peers *p)
{
    bool ok = true;
    for (size_t i = 0; i < p->n; i++) {
        const char *at = p->peers[i].at;
        if (!p->peers[i].generation || is_among_first(p, i, at))
            continue;
        (void)zmq_disconnect(p->socket, at);
        if (!bus_peers_connect(p->socket, at)) {
            p->peers[i].generation = 0; /* following tries again */
            ok = false;
        }
    }
    return ok;
}

bool bus_peers_has_moved(const struct bus_peers *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->peers[i].generation &&
            p->peers[i].generation != resolve_generation(p->peers[i].name))
            return true;
    return false;
}

int64_t bus_peers_wait_us(const struct bus_peers *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->peers[i].generation == 0)
            return clock_monotonic_us() - p->begun_us < SOON_US ? UNKNOWN_SOON_US : UNKNOWN_US;
    return KNOWN_US;
}
