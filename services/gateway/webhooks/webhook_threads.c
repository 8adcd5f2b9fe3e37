/*
 * webhook_threads.c - see webhook_threads.h.
 */
#include "services/gateway/webhooks/webhook_threads.h"

#include "common/log.h"
#include "common/http_address.h"
#include "common/http_out.h"
#include "common/mdp.h"

const struct webhook_config *webhook_config_of(const void *daemon_data)
{
    return &((const struct webhooks *)daemon_data)->config;
}

void webhook_tell(void *daemon_data, const struct webhook_hint *hints, size_t n)
{
    webhook_sender_tell(((struct webhooks *)daemon_data)->sender, hints, n);
}

bool webhooks_init(struct webhooks *w, struct daemon *d, const char *public_url)
{
    w->config = (struct webhook_config){
        .allow = daemon_setting(d, "WEBHOOK_ALLOW")->text,
        .allow_plain = daemon_setting(d, "WEBHOOK_ALLOW_PLAIN")->i64 != 0,
        .authorities = daemon_setting(d, "WEBHOOK_CA_FILE")->text,
        .public_url = public_url,
    };
    if (!http_networks_ok(w->config.allow))
        daemon_refuse_setting(d, "DAYBOOK_WEBHOOK_ALLOW: networks such as 10.1.0.0/16");
    else if (w->config.authorities && !http_out_authorities_ok(w->config.authorities))
        daemon_refuse_setting(
            d, "DAYBOOK_WEBHOOK_CA_FILE holds no certificate (PEM) that we may read");
    else
        w->sender = webhook_sender_new(&(struct webhook_sender_config){
            .conninfo = daemon_conninfo(d), .instance = daemon_instance(d), .http = &w->config });
    return w->sender != NULL;
}

void webhooks_fini(struct webhooks *w)
{
    webhook_sender_free(w->sender);
    w->sender = NULL;
}

/* --- threads ------------------------------------------------------------------------------------ */

/* What a thread lends to the sender. */
struct host {
    struct daemon *d;
    struct daemon_waker *waker;
    struct daemon_waiter *waiter;
};

static bool is_stopping(void *arg)
{
    return daemon_stopping(((const struct host *)arg)->d);
}

static void rest(void *arg, int64_t us)
{
    (void)daemon_waiter_wait(((const struct host *)arg)->waiter, us, NULL, NULL);
}

static void wake_relay(void *arg)
{
    daemon_wake(((const struct host *)arg)->waker, BUS_WAKE_RELAY, NULL, 0);
}

static void run(struct daemon *d, struct webhook_sender *s,
                void (*body)(struct webhook_sender *s, const struct webhook_host *host))
{
    struct host h = { .d = d, .waker = daemon_waker_new(d), .waiter = daemon_waiter_new(d, NULL) };
    const struct webhook_host host = {
        .stopping = is_stopping, .rest = rest, .emitted = wake_relay, .arg = &h
    };

    if (h.waker && h.waiter)
        body(s, &host);
    else
        log_error("webhook.no_start", "out of memory; nothing is posted", NULL);
    daemon_waiter_free(h.waiter);
    daemon_waker_free(h.waker);
}

void webhooks_run_sender(struct daemon *d, void *daemon_data)
{
    run(d, ((struct webhooks *)daemon_data)->sender, webhook_sender_run);
}

void webhooks_run_leases(struct daemon *d, void *daemon_data)
{
    run(d, ((struct webhooks *)daemon_data)->sender, webhook_sender_run_leases);
}

static void tell(struct webhook_sender *s, const char *bytes, size_t len)
{
    struct webhook_hint hint;

    for (; len >= sizeof(hint); bytes += sizeof(hint), len -= sizeof(hint)) {
        memcpy(&hint, bytes, sizeof(hint));
        webhook_sender_tell(s, &hint, 1);
    }
}

/* Hears what handlers, and consumers of other replicas, have to tell. */
void webhooks_run_listener(struct daemon *d, void *daemon_data)
{
    struct webhooks *w = daemon_data;
    struct daemon_waiter *waiter = daemon_waiter_new(d, WAKE_WEBHOOKS);
    const void *bytes;
    size_t len;

    while (waiter && !daemon_stopping(d)) {
        if (daemon_waiter_wait(waiter, SECOND_US, &bytes, &len))
            tell(w->sender, bytes, len);
        webhook_sender_chores(w->sender);
    }
    daemon_waiter_free(waiter);
}
