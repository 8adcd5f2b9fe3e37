/*
 * main.c - the reminders daemon, as data, and its threads.
 */
#include <time.h>

#include "common/clock.h"
#include "common/daemon.h"
#include "common/log.h"
#include "services/reminders/chores.h"
#include "services/reminders/delivery.h"
#include "services/reminders/engine.h"
#include "services/reminders/methods.h"
#include "services/reminders/reactions.h"
#include "services/reminders/sql.h"
#include "services/reminders/task_list.h"

/* At most so many lists are built ahead in each period: 200 a second. */
#define REFRESH_LISTS 50
#define REFRESH_PERIOD_US (250 * MSEC_US)
#define OFFERS_A_MESSAGE 4096

static struct setting settings[] = {
    { .key = "HTTP_ALLOW",
      .type = SETTING_TEXT,
      .help =
          "Networks in CIDR form, parted by commas, to which notices may be posted although they "
          "are not public." },
    { .key = "HTTP_ALLOW_PLAIN",
      .type = SETTING_BOOL,
      .default_value = "0",
      .help = "Whether notices may be posted to http addresses besides https." },
    { .key = NULL },
};

/* --- what threads of the engine need of the process ------------------------------------------ */

struct host {
    struct daemon *d;
    struct reminders *self;
    struct daemon_waker *waker;
};

static bool is_stopping(void *arg)
{
    return daemon_stopping(((const struct host *)arg)->d);
}

static void wake(void *arg, const char *channel, const void *data, size_t len)
{
    daemon_wake(((const struct host *)arg)->waker, channel, data, len);
}

static bool is_trusted(void *arg)
{
    return daemon_clock_trusted(arg);
}

static bool has_heard(void *arg, int64_t *seq_out, int64_t *head_out)
{
    return daemon_heard(arg, seq_out, head_out);
}

static void ring_posts(struct reminders *self)
{
    for (int i = 0; i < DELIVERY_THREADS; i++)
        bell_ring(&self->posts[i]);
}

static void tell_posted(void *arg)
{
    ring_posts(((const struct host *)arg)->self);
}

static struct engine_host host_open(struct host *h, struct daemon *d, struct reminders *self)
{
    *h = (struct host){ .d = d, .self = self, .waker = daemon_waker_new(d) };
    return (struct engine_host){
        .stopping = is_stopping, .wake = h->waker ? wake : NULL, .posted = tell_posted, .arg = h
    };
}

static void host_close(struct host *h)
{
    daemon_waker_free(h->waker);
}

/* --- threads --------------------------------------------------------------------------------- */

static void run_timers(struct daemon *d, struct reminders *self, int index)
{
    struct host h;
    struct engine_host host = host_open(&h, d, self);

    engine_run(self->engine, index, &host);
    host_close(&h);
}

static void run_timers_0(struct daemon *d, void *data)
{
    run_timers(d, data, 0);
}

static void run_timers_1(struct daemon *d, void *data)
{
    run_timers(d, data, 1);
}

static void run_reader(struct daemon *d, void *data)
{
    struct host h;
    struct engine_host host = host_open(&h, d, data);

    engine_run_reader(((struct reminders *)data)->engine, &host);
    host_close(&h);
}

static void run_leases(struct daemon *d, void *data)
{
    struct host h;
    struct engine_host host = host_open(&h, d, data);

    engine_run_leases(((struct reminders *)data)->engine, &host);
    host_close(&h);
}

/* Takes the timers that other processes armed. */
static void run_listener(struct daemon *d, void *data)
{
    struct reminders *self = data;
    struct daemon_waiter *waiter = daemon_waiter_new(d, WAKE_TIMERS);
    struct timer *timers = calloc(OFFERS_A_MESSAGE, sizeof(*timers));
    const void *bytes;
    size_t len;

    while (waiter && timers && !daemon_stopping(d))
        if (daemon_waiter_wait(waiter, SECOND_US, &bytes, &len))
            engine_offer(self->engine, timers, engine_unpack(bytes, len, timers, OFFERS_A_MESSAGE));
    engine_ring(self->engine); /* so that all threads see the end at once */
    chores_ring(self->chores);
    ring_posts(self);
    free(timers);
    daemon_waiter_free(waiter);
}

static void run_chores(struct daemon *d, void *data)
{
    struct host h;
    struct engine_host host = host_open(&h, d, data);

    chores_run(((struct reminders *)data)->chores, &host);
    host_close(&h);
}

static void sleep_until(int64_t us)
{
    int64_t left_us = us - clock_monotonic_us();
    const struct timespec t = { .tv_sec = left_us / SECOND_US,
                                .tv_nsec = left_us % SECOND_US * 1000 };
    if (left_us > 0)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* Builds the lists that changed, into Redis. The first after a rest is built at once. */
static void run_lists(struct daemon *d, void *data)
{
    struct reminders *self = data;
    const char *address = daemon_cache_address(d);
    struct db *db = db_new(daemon_conninfo(d), "daybook-reminders/lists");
    struct cache *cache = address ? cache_new(address, daemon_cache_password(d)) : NULL;
    int64_t next_us = 0;

    while (!daemon_stopping(d)) {
        sleep_until(next_us);
        const struct directory *dir = directory_acquire();
        next_us = clock_monotonic_us() + REFRESH_PERIOD_US;
        if (db && cache && dir)
            (void)lists_refresh(self->lists, db, cache, dir, REFRESH_LISTS);
        directory_release(dir);
        task_lists_wait(self->lists, REFRESH_PERIOD_US);
    }
    cache_free(cache);
    db_free(db);
}

static void run_delivery(struct daemon *d, struct reminders *self, int index)
{
    struct host h;
    struct engine_host host = host_open(&h, d, self);
    const struct delivery_config config = {
        .conninfo = daemon_conninfo(d),
        .leases = engine_leases(self->engine),
        .bell = &self->posts[index],
        .allow = self->post_allow,
        .allow_plain = self->post_plain,
    };
    struct delivery *delivery = delivery_new(&config, index);

    if (delivery)
        delivery_run(delivery, &host);
    else
        log_error("delivery.no_start", "HTTP_ALLOW is not a list of networks, or no memory", NULL);
    delivery_free(delivery);
    host_close(&h);
}

static void run_delivery_0(struct daemon *d, void *data)
{
    run_delivery(d, data, 0);
}

static void run_delivery_1(struct daemon *d, void *data)
{
    run_delivery(d, data, 1);
}

static const struct daemon_thread threads[] = {
    { "timers-0", run_timers_0, true },     { "timers-1", run_timers_1, true },
    { "reader", run_reader, true },         { "leases", run_leases, true },
    { "listener", run_listener, true },     { "chores", run_chores, true },
    { "lists", run_lists, true },           { "delivery-0", run_delivery_0, true },
    { "delivery-1", run_delivery_1, true },
};

/* --- life ------------------------------------------------------------------------------------ */

static void stop(void *data)
{
    struct reminders *self = data;

    if (!self)
        return;
    chores_free(self->chores);
    engine_free(self->engine);
    task_lists_free(self->lists);
    for (int i = 0; i < DELIVERY_THREADS; i++)
        bell_fini(&self->posts[i]);
    free(self);
}

static void *start(struct daemon *d, bool *ok_out)
{
    struct reminders *self = calloc(1, sizeof(*self));

    *ok_out = false;
    if (!self)
        return NULL;
    for (int i = 0; i < DELIVERY_THREADS; i++)
        bell_init(&self->posts[i]);
    self->post_allow = daemon_setting(d, "HTTP_ALLOW")->text;
    self->post_plain = daemon_setting(d, "HTTP_ALLOW_PLAIN")->i64 != 0;
    self->lists = task_lists_new(daemon_cache_address(d) != NULL);
    const struct engine_config config = {
        .conninfo = daemon_conninfo(d),
        .instance = daemon_instance(d),
        .trusted = is_trusted,
        .heard = has_heard,
        .arg = d,
    };
    self->engine = self->lists ? engine_new(&config) : NULL;
    self->chores = self->engine ? chores_new(self->engine, self->lists, daemon_conninfo(d)) : NULL;
    if (!self->chores) {
        stop(self);
        return NULL;
    }
    *ok_out = true;
    return self;
}

int main(int argc, char **argv)
{
    const struct daemon_def def = {
        .name = "reminders",
        .schema = "reminders",
        .admin_listen = "127.0.0.1:9605",
        .methods = reminders_methods,
        .nmethods = reminders_methods_len,
        .consumer = &reminders_consumer,
        .settings = settings,
        .migrations = reminders_migrations,
        .nmigrations = reminders_migrations_len,
        .needs_master_key = true,
        .sealed = &channel_sealed,
        .nsealed = 1,
        .threads = threads,
        .nthreads = ARRAY_LEN(threads),
        .uses_cache = true,
        .start = start,
        .stop = stop,
    };
    return daemon_run(&def, argc, argv);
}
