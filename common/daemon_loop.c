/*
 * daemon_loop.c - the thread that owns the sockets to the bus, and the drain.
 *
 * Each turn: poll; signals; wakes to send; finished jobs; the bus. It never waits for anything
 * else, and turns at least once a second, which is what liveness looks at. Signals come by
 * signalfd, so that no handler runs anywhere.
 *
 * Drain (SIGTERM, SIGINT): not ready, DISCONNECT, then on with the loop until every request in work
 * is answered and every thread of the daemon has ended, or DRAIN_TIMEOUT is over. A second signal
 * ends the process at once.
 */
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/bus_frames.h"
#include "common/bus_peers.h"
#include "common/clock.h"
#include "common/daemon_internal.h"
#include "common/log.h"

#define TURN_MAX_US SECOND_US
#define BURST 256
#define RELAY_WAKE_GAP_US (2 * MSEC_US)
/* timeout(1) and some supervisors signal the process and then its group: that is one signal. */
#define SIGNAL_TWICE_US (200 * MSEC_US)

enum { ITEM_SIGNAL, ITEM_MAIL, ITEM_JOBS, ITEM_EVENTS, ITEMS_OWN };

struct loop {
    struct daemon *d;
    int signal_fd;
    void *events; /* SUB for wake channels; NULL until one is heard */
    struct bus_peers *events_peers;
    int events_fd;
    bool look_events; /* read them, whatever the poll says (bus_worker.c) */
    zmq_pollitem_t *items;
    bool serving; /* enlisted */
    bool draining;
    int64_t drain_at_us, drain_until_us;
    int64_t next_us;
    int64_t relay_wake_us; /* not before that */
    int64_t watchdog_us, watchdog_at_us;
    bool told_ready; /* systemd */
};

static void loop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void daemon_block_signals(void)
{
    sigset_t set;
    loop_signals(&set);
    sigaddset(&set, SIGPIPE); /* writing to a closed connection is EPIPE */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void daemon_unblock_signals(void)
{
    sigset_t set;
    loop_signals(&set);
    sigdelset(&set, SIGHUP);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* --- signals and drain ------------------------------------------------------------------------ */

static void begin_drain(struct loop *l, int64_t now_us)
{
    struct daemon *d = l->d;
    log_info("daemon.drain", "stopping: no new requests", NULL);
    daemon_notify("STOPPING=1");
    l->draining = true;
    l->drain_at_us = now_us;
    l->drain_until_us = now_us + daemon_setting(d, "DRAIN_TIMEOUT")->i64;
    atomic_store(&d->stopping, true);
    daemon_wake_all(d);
    if (d->bus)
        bus_worker_withdraw(d->bus, now_us);
    l->serving = false;
}

static void read_signals(struct loop *l, int64_t now_us)
{
    struct signalfd_siginfo info;
    while (read(l->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            daemon_reload(l->d);
        } else if (l->draining && now_us - l->drain_at_us < SIGNAL_TWICE_US) {
            continue;
        } else if (l->draining) {
            log_warn("daemon.killed", "second signal: ending at once", NULL);
            log_stop();
            _exit(128 + (int)info.ssi_signo);
        } else {
            begin_drain(l, now_us);
        }
    }
}

static bool is_drained(const struct loop *l)
{
    return l->draining && (!l->d->bus || bus_worker_idle(l->d->bus)) &&
           atomic_load(&l->d->threads_left) == 0;
}

/* --- wakes ------------------------------------------------------------------------------------ */

static void close_events(struct loop *l)
{
    if (l->events)
        zmq_close(l->events);
    bus_peers_free(l->events_peers);
    l->events = NULL;
    l->events_peers = NULL;
}

static void open_events(struct loop *l)
{
    struct daemon *d = l->d;
    size_t size = sizeof l->events_fd;
    l->events = zmq_socket(d->zmq, ZMQ_SUB);
    if (l->events && bus_socket_prepare(l->events, &d->address))
        l->events_peers = bus_peers_new(l->events, d->address.events);
    if (l->events_peers && zmq_getsockopt(l->events, ZMQ_FD, &l->events_fd, &size) == 0)
        return;
    log_error("daemon.no_events", "cannot hear wakes from the bus", "address", d->address.events,
              NULL);
    close_events(l);
}

static void subscribe(struct loop *l, const char *channel)
{
    char topic[sizeof BUS_TOPIC_WAKE + DAEMON_CHANNEL_MAX];
    if (!l->events)
        open_events(l);
    snprintf(topic, sizeof topic, "%s%s", BUS_TOPIC_WAKE, channel);
    l->look_events = l->events != NULL;
    if (l->events && zmq_setsockopt(l->events, ZMQ_SUBSCRIBE, topic, strlen(topic)) != 0)
        log_error("daemon.no_events", "cannot subscribe to a wake channel", "channel", channel,
                  NULL);
}

static void read_mail(struct loop *l)
{
    struct wake_mail *m;
    for (int i = 0; i < BURST && (m = (struct wake_mail *)mailbox_take(&l->d->to_loop)); i++) {
        if (m->subscribe)
            subscribe(l, m->channel);
        else if (l->d->bus && !bus_worker_wake(l->d->bus, m->channel, m->data, m->len))
            log_debug("daemon.wake_lost", "no bus to send a wake by", "channel", m->channel, NULL);
        free(m);
    }
}

/* The first wake goes out at once; those of the next moment go together, since each costs this
 * process and the bus about what the relay saves by it. The relay looks by itself every 100 ms, so
 * a wake that finds no bus is no loss. */
static void wake_relay(struct loop *l, int64_t now_us)
{
    if (now_us < l->relay_wake_us || !atomic_exchange(&l->d->relay_due, false))
        return;
    l->relay_wake_us = now_us + RELAY_WAKE_GAP_US;
    if (l->d->bus && !bus_worker_wake(l->d->bus, BUS_WAKE_RELAY, NULL, 0))
        log_debug("daemon.wake_lost", "no bus to wake the relay by", NULL);
}

static void read_events(struct loop *l)
{
    size_t prefix = strlen(BUS_TOPIC_WAKE);
    struct bus_frames f;
    for (int i = 0; i < BURST && l->look_events; i++) {
        l->look_events = bus_frames_receive(l->events, &f);
        if (!l->look_events)
            break;
        const char *topic = zmq_msg_data(&f.frame[0]);
        size_t len = zmq_msg_size(&f.frame[0]);
        if (f.n == 2 && len > prefix && memcmp(topic, BUS_TOPIC_WAKE, prefix) == 0)
            daemon_wake_heard(l->d, topic + prefix, len - prefix, zmq_msg_data(&f.frame[1]),
                              zmq_msg_size(&f.frame[1]));
        bus_frames_close(&f);
    }
}

/* --- the bus ---------------------------------------------------------------------------------- */

static void take_done(struct loop *l, int64_t now_us)
{
    struct pool_job *job;
    while (l->d->pool && (job = pool_take_done(l->d->pool))) {
        if (job->wake_relay)
            atomic_store(&l->d->relay_due, true);
        bus_worker_finish(l->d->bus, job, now_us);
    }
}

static void obey_readiness(struct loop *l, int64_t now_us)
{
    bool may = atomic_load(&l->d->health.may_serve) && !l->draining;
    if (may && !l->told_ready) {
        l->told_ready = true;
        daemon_notify("READY=1");
    }
    if (!l->d->bus || may == l->serving)
        return;
    l->serving = may;
    if (may)
        bus_worker_enlist(l->d->bus, now_us);
    else
        bus_worker_withdraw(l->d->bus, now_us);
    log_info(may ? "daemon.enlist" : "daemon.withdraw",
             may ? "registering at the bus" : "not ready: taken back from the bus", NULL);
}

static void serve_bus(struct loop *l, int64_t now_us)
{
    struct daemon_health *h = &l->d->health;
    l->next_us = now_us + TURN_MAX_US;
    if (l->events) {
        l->look_events |= bus_peers_follow(l->events_peers);
        l->next_us = MIN(l->next_us, now_us + bus_peers_wait_us(l->events_peers));
    }
    if (l->draining)
        l->next_us = MIN(l->next_us, l->drain_until_us);
    if (!l->d->bus)
        return;
    l->next_us = MIN(l->next_us, bus_worker_serve(l->d->bus, now_us));
    bool registered = bus_worker_registered(l->d->bus);
    if (registered != atomic_load(&h->registered)) {
        atomic_store(&h->registered, registered);
        log_info("daemon.registered", registered ? "registered at the bus" : "at no bus", NULL);
    }
}

/* --- the loop --------------------------------------------------------------------------------- */

static void tick(struct loop *l, int64_t now_us)
{
    atomic_store(&l->d->health.ticked_us, now_us);
    if (l->watchdog_us && now_us >= l->watchdog_at_us) {
        daemon_notify("WATCHDOG=1");
        l->watchdog_at_us = now_us + l->watchdog_us;
    }
}

static void poll_all(struct loop *l)
{
    struct daemon *d = l->d;
    zmq_pollitem_t *items = l->items;
    size_t n = 0;
    items[n++] = (zmq_pollitem_t){ .fd = l->signal_fd, .events = ZMQ_POLLIN };
    items[n++] = (zmq_pollitem_t){ .fd = d->to_loop.fd, .events = ZMQ_POLLIN };
    if (d->pool)
        items[n++] = (zmq_pollitem_t){ .fd = pool_done_fd(d->pool), .events = ZMQ_POLLIN };
    zmq_pollitem_t *events = NULL;
    if (l->events) {
        events = &items[n++];
        *events = (zmq_pollitem_t){ .fd = l->events_fd, .events = ZMQ_POLLIN };
    }
    if (d->bus)
        n += bus_worker_items(d->bus, items + n);

    int64_t until_us = atomic_load(&d->relay_due) ? MIN(l->next_us, l->relay_wake_us) : l->next_us;
    int64_t left_us = l->look_events ? 0 : until_us - clock_monotonic_us();
    long ms = left_us <= 0 ? 0 : (long)((left_us + MSEC_US - 1) / MSEC_US);
    if (zmq_poll(items, (int)n, ms) < 0 && errno != EINTR)
        log_error("daemon.poll_failed", zmq_strerror(errno), NULL);
    l->look_events = events && (l->look_events || events->revents);
}

static void turn(struct loop *l)
{
    poll_all(l);
    int64_t now_us = clock_monotonic_us();
    tick(l, now_us);
    read_signals(l, now_us);
    take_done(l, now_us); /* answers first */
    read_mail(l);
    wake_relay(l, now_us);
    read_events(l);
    obey_readiness(l, now_us);
    serve_bus(l, now_us);
}

static bool loop_init(struct loop *l, struct daemon *d)
{
    sigset_t set;
    loop_signals(&set);
    *l = (struct loop){ .d = d, .watchdog_us = daemon_notify_watchdog_us() };
    l->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    l->items = calloc(ITEMS_OWN + (d->bus ? bus_worker_items_max(d->bus) : 0), sizeof *l->items);
    return l->signal_fd >= 0 && l->items;
}

static void loop_fini(struct loop *l)
{
    if (l->signal_fd >= 0)
        close(l->signal_fd);
    close_events(l);
    free(l->items);
}

int daemon_loop(struct daemon *d)
{
    struct loop l;
    int status = DAEMON_EXIT_OK;
    if (!loop_init(&l, d)) {
        log_error("daemon.start_failed", "the loop could not start", NULL);
        status = DAEMON_EXIT_BUG;
    }
    while (status == DAEMON_EXIT_OK && !is_drained(&l)) {
        turn(&l);
        if (l.draining && clock_monotonic_us() >= l.drain_until_us && !is_drained(&l)) {
            log_warn("daemon.drain_timeout", "work is left behind", NULL);
            status = DAEMON_EXIT_AGAIN;
        }
    }
    loop_fini(&l);
    return status;
}
