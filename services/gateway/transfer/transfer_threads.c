/*
 * transfer_threads.c - see transfer_threads.h.
 */
#include "services/gateway/transfer/transfer_threads.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mdp.h"
#include "services/gateway/transfer/transfer_work.h"

#define LOOK_US SECOND_US
#define CHORES_US MINUTE_US
/* Whoever takes it up and does not come on is let go of for the time of a claim, 15 s: five minutes. */
#define ATTEMPTS_MAX 20

static struct metric ends_total = {
    .name = "daybook_gateway_transfers_total",
    .type = METRIC_COUNTER,
    .help = "Imports and exports that this replica worked on to their end, or let go of.",
    .labels = { "kind", "result" },
};

void transfer_register_metrics(void)
{
    metric_register(&ends_total);
}

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
    int64_t until_us = clock_monotonic_us() + us;

    while (!is_stopping(arg) && clock_monotonic_us() < until_us)
        (void)daemon_waiter_wait(((const struct host *)arg)->waiter,
                                 until_us - clock_monotonic_us(), NULL, NULL);
}

static void wake_relay(void *arg)
{
    daemon_wake(((const struct host *)arg)->waker, BUS_WAKE_RELAY, NULL, 0);
}

/* A job that cannot go on now is somebody's again when its claim is over, or at once when we stop or
 * its turn is over. */
static void work_on(struct transfer_worker *w, const struct transfer_job *job)
{
    w->kept_us = clock_monotonic_us();
    w->turn_until_us = 0;
    w->turn_over = false;
    enum err e = job->attempts > ATTEMPTS_MAX ? transfer_give_up(w, job)
                 : job->is_export             ? transfer_export_run(w, job)
                                              : transfer_import_run(w, job);
    const char *const labels[] = { job->is_export ? "export" : "import", e ? "let_go" : "ended" };
    metric_add(&ends_total, 1, labels);
    if (e && (w->turn_over || is_stopping(w->arg)))
        e = transfer_store_give_back(&w->store, job);
    if (e && e != ERR_CANCELED)
        log_warn("transfer.trouble", "an import or export waits to be taken up again", "err",
                 err_name(e), NULL);
}

static void work(struct transfer_worker *w, struct host *h)
{
    while (!daemon_stopping(h->d)) {
        struct transfer_job job;
        enum err e = transfer_store_claim(&w->store, &job);
        if (!e) {
            work_on(w, &job);
            continue;
        }
        if (e != ERR_NOT_FOUND)
            log_warn("transfer.claim", "the database gives no work", "err", err_name(e), NULL);
        (void)daemon_waiter_wait(h->waiter, LOOK_US, NULL, NULL);
    }
}

void transfer_run_work(struct daemon *d)
{
    struct host h = { .d = d,
                      .waker = daemon_waker_new(d),
                      .waiter = daemon_waiter_new(d, WAKE_TRANSFERS) };
    struct transfer_worker w = {
        .patience_us = daemon_setting(d, "TRANSFER_PATIENCE")->i64,
        .turn_us = daemon_setting(d, "TRANSFER_TURN")->i64,
        .stopping = is_stopping,
        .emitted = wake_relay,
        .rest = rest,
        .arg = &h,
    };

    w.bus = bus_client_new(daemon_zmq_context(d), daemon_bus_address(d));
    if (h.waker && h.waiter && w.bus && transfer_store_init(&w.store, daemon_conninfo(d)))
        work(&w, &h);
    else
        log_error("transfer.no_start", "out of memory; no import or export is done", NULL);
    transfer_store_fini(&w.store);
    bus_client_free(w.bus);
    daemon_waiter_free(h.waiter);
    daemon_waker_free(h.waker);
}

/* Until nothing is left, or the process stops. */
static void clear(struct transfer_store *s, const struct daemon *d)
{
    bool more = true;

    while (more && !daemon_stopping(d)) {
        enum err e = transfer_store_clear(s, &more);
        if (e) {
            log_warn("transfer.clear", "pieces of files could not be deleted; trying again", "err",
                     err_name(e), NULL);
            return;
        }
    }
}

static void sweep(struct transfer_store *s)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    enum err e = dir ? transfer_store_sweep(s, dir) : ERR_OK;

    if (e)
        log_warn("transfer.sweep", "expired files could not be deleted; trying again", "err",
                 err_name(e), NULL);
}

void transfer_run_chores(struct daemon *d)
{
    struct daemon_waiter *waiter = daemon_waiter_new(d, NULL);
    struct transfer_store store = { 0 };
    int64_t sweep_us = 0;

    if (waiter && transfer_store_init(&store, daemon_conninfo(d)))
        while (!daemon_stopping(d)) {
            if (clock_is_steered() || clock_monotonic_us() >= sweep_us) {
                sweep(&store);
                sweep_us = clock_monotonic_us() + CHORES_US;
            }
            clear(&store, d);
            (void)daemon_waiter_wait(waiter, LOOK_US, NULL, NULL);
        }
    transfer_store_fini(&store);
    daemon_waiter_free(waiter);
}
