/*
 * daemon_wake.c - wakes: hints that something is due, between threads of this process and, over
 * the bus, between processes.
 *
 * A wake is never the truth: who is woken looks into the database, and looks there anyway after his
 * timeout. So wakes may be dropped (a full box, no bus), but never wait. A wake reaches the waiters
 * of this process directly; its echo from the bus is known by the origin in front of its bytes.
 */
#include <sodium.h>

#include "common/clock.h"
#include "common/daemon_internal.h"
#include "common/log.h"
#include "common/metrics.h"

#define WAIT_MAX_US (365 * DAY_US)

struct wake_note {
    struct mail mail;
    size_t len;
    uint8_t data[];
};

struct daemon_waiter {
    struct daemon *daemon;
    struct daemon_waiter *next;
    char channel[DAEMON_CHANNEL_MAX]; /* "" = none */
    struct mailbox box;
    struct wake_note *held; /* what the last wait handed out */
};

struct daemon_waker {
    struct daemon *daemon;
};

static struct metric wakes_dropped_total = {
    .name = "daybook_wakes_dropped_total",
    .type = METRIC_COUNTER,
    .help = "Wake messages dropped because their taker was behind or memory was short.",
};

bool daemon_wake_init(struct daemon *d)
{
    randombytes_buf(d->origin, sizeof d->origin);
    pthread_mutex_init(&d->waiters_lock, NULL);
    return mailbox_init(&d->to_loop);
}

void daemon_wake_fini(struct daemon *d)
{
    struct mail *m;
    while ((m = mailbox_take(&d->to_loop)))
        free(m);
    mailbox_fini(&d->to_loop);
    pthread_mutex_destroy(&d->waiters_lock);
}

static void drop(void)
{
    metric_add(&wakes_dropped_total, 1, NULL);
}

static void hand_to_waiter(struct daemon_waiter *w, const void *data, size_t len)
{
    struct wake_note *note = malloc(sizeof *note + len);
    if (!note) {
        drop();
        return;
    }
    note->len = len;
    if (len)
        memcpy(note->data, data, len);
    if (!mailbox_offer(&w->box, &note->mail, DAEMON_WAKES_MAX)) {
        free(note);
        drop();
    }
}

static void hand_to_waiters(struct daemon *d, const char *channel, size_t channel_len,
                            const void *data, size_t len)
{
    pthread_mutex_lock(&d->waiters_lock);
    for (struct daemon_waiter *w = d->waiters; w; w = w->next)
        if (channel_len && strlen(w->channel) == channel_len &&
            memcmp(w->channel, channel, channel_len) == 0)
            hand_to_waiter(w, data, len);
    pthread_mutex_unlock(&d->waiters_lock);
}

static struct wake_mail *new_mail(const char *channel, size_t len)
{
    size_t channel_len = strlen(channel);
    struct wake_mail *m = NULL;
    if (channel_len && channel_len < DAEMON_CHANNEL_MAX)
        m = calloc(1, sizeof *m + len);
    if (!m)
        return NULL;
    memcpy(m->channel, channel, channel_len);
    m->len = len;
    return m;
}

static void send_to_loop(struct daemon *d, struct wake_mail *m)
{
    if (!m) {
        drop();
    } else if (!mailbox_offer(&d->to_loop, &m->mail, DAEMON_WAKES_MAX)) {
        free(m);
        drop();
    }
}

void daemon_wake_publish(struct daemon *d, const char *channel, const void *data, size_t len)
{
    if (strcmp(channel, BUS_WAKE_RELAY) == 0) {
        if (!atomic_exchange(&d->relay_due, true))
            mailbox_ring(&d->to_loop);
        return;
    }
    hand_to_waiters(d, channel, strlen(channel), data, len);

    struct wake_mail *m = new_mail(channel, BUS_WAKE_ORIGIN_LEN + len);
    if (m) {
        memcpy(m->data, d->origin, BUS_WAKE_ORIGIN_LEN);
        if (len)
            memcpy(m->data + BUS_WAKE_ORIGIN_LEN, data, len);
    }
    send_to_loop(d, m);
}

void daemon_wake_heard(struct daemon *d, const char *channel, size_t channel_len, const void *bytes,
                       size_t len)
{
    if (len < BUS_WAKE_ORIGIN_LEN || memcmp(bytes, d->origin, BUS_WAKE_ORIGIN_LEN) == 0)
        return;
    hand_to_waiters(d, channel, channel_len, (const uint8_t *)bytes + BUS_WAKE_ORIGIN_LEN,
                    len - BUS_WAKE_ORIGIN_LEN);
}

void daemon_wake_all(struct daemon *d)
{
    pthread_mutex_lock(&d->waiters_lock);
    for (struct daemon_waiter *w = d->waiters; w; w = w->next)
        mailbox_ring(&w->box);
    pthread_mutex_unlock(&d->waiters_lock);
}

struct daemon_waiter *daemon_waiter_new(struct daemon *d, const char *channel)
{
    struct daemon_waiter *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->daemon = d;
    if (!mailbox_init(&w->box)) {
        free(w);
        return NULL;
    }
    if (channel) {
        snprintf(w->channel, sizeof w->channel, "%s", channel);
        struct wake_mail *m = new_mail(channel, 0);
        if (m)
            m->subscribe = true;
        send_to_loop(d, m);
    }
    pthread_mutex_lock(&d->waiters_lock);
    w->next = d->waiters;
    d->waiters = w;
    pthread_mutex_unlock(&d->waiters_lock);
    return w;
}

void daemon_waiter_free(struct daemon_waiter *w)
{
    if (!w)
        return;
    struct daemon *d = w->daemon;
    pthread_mutex_lock(&d->waiters_lock);
    struct daemon_waiter **p = &d->waiters;
    while (*p != w)
        p = &(*p)->next;
    *p = w->next;
    pthread_mutex_unlock(&d->waiters_lock);

    struct mail *m;
    while ((m = mailbox_take(&w->box)))
        free(m);
    mailbox_fini(&w->box);
    free(w->held);
    free(w);
}

bool daemon_waiter_wait(struct daemon_waiter *w, int64_t timeout_us, const void **data_out,
                        size_t *len_out)
{
    int64_t until_us = clock_monotonic_us() + MIN(timeout_us, WAIT_MAX_US);
    free(w->held);
    w->held = NULL;
    for (;;) {
        w->held = (struct wake_note *)mailbox_take(&w->box);
        if (w->held) {
            if (data_out)
                *data_out = w->held->data;
            if (len_out)
                *len_out = w->held->len;
            return true;
        }
        int64_t left_us = until_us - clock_monotonic_us();
        if (left_us <= 0 || daemon_stopping(w->daemon))
            return false;
        mailbox_wait(&w->box, left_us);
    }
}

struct daemon_waker *daemon_waker_new(struct daemon *d)
{
    struct daemon_waker *w = calloc(1, sizeof *w);
    if (w)
        w->daemon = d;
    return w;
}

void daemon_waker_free(struct daemon_waker *w)
{
    free(w);
}

void daemon_wake(struct daemon_waker *w, const char *channel, const void *data, size_t len)
{
    daemon_wake_publish(w->daemon, channel, data, len);
}
