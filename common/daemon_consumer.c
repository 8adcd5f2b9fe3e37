/* daemon_consumer.c - the thread that hears events, and what the daemon lends it. */
#include "common/consumer.h"
#include "common/daemon_internal.h"
#include "common/log.h"

static bool is_stopping(void *arg)
{
    const struct daemon *d = arg;
    return daemon_stopping(d);
}

static void wake(void *arg, const char *channel, const void *data, size_t len)
{
    daemon_wake_publish(arg, channel, data, len);
}

void daemon_consumer_run(struct daemon *d, void *arg)
{
    (void)arg;
    const struct consumer_env env = {
        .conninfo = daemon_conninfo(d),
        .application_name = d->application_name,
        .zmq_context = d->zmq,
        .bus = &d->address,
        .daemon_data = d->data,
        .no_directory = d->def->no_directory,
        .stopping = is_stopping,
        .wake = wake,
        .arg = d,
    };
    struct consumer *c = consumer_new(d->def->consumer, &env);
    if (!c) {
        log_error("daemon.no_memory", "the consumer could not start", NULL);
        return; /* counts as a lost thread */
    }
    consumer_run(c);
    consumer_free(c);
}
