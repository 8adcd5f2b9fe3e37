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

static void lend(struct daemon *d, struct consumer *c)
{
    pthread_mutex_lock(&d->consumer_lock);
    d->consumer = c;
    pthread_mutex_unlock(&d->consumer_lock);
}

/* Both figures move while they are read; a head that never was would be waited for in vain. */
static bool read_place(const struct consumer *c, int64_t *seq_out, int64_t *head_out)
{
    const char *reason;

    if (!consumer_ready(c, &reason))
        return false;
    int64_t seq = consumer_seq(c), lag = consumer_lag(c);
    *seq_out = seq;
    *head_out = seq + lag;
    return lag >= 0 && consumer_seq(c) == seq;
}

bool daemon_heard(struct daemon *d, int64_t *seq_out, int64_t *head_out)
{
    pthread_mutex_lock(&d->consumer_lock);
    bool is_known = d->consumer && read_place(d->consumer, seq_out, head_out);
    pthread_mutex_unlock(&d->consumer_lock);
    return is_known;
}

/* What the other rows of /readyz do not tell already. */
static const struct {
    const char *reason, *text;
} troubles[] = {
    { "log_rewound", "stopped: the log is another one at the cursor" },
    { "log_truncated", "stopped: the log no longer has what follows the cursor; rebuild" },
    { "events", "nothing comes by BUS_EVENTS; the log is read instead, more slowly" },
};

const char *daemon_consumer_trouble(struct daemon *d)
{
    const char *reason = "", *text = NULL;

    pthread_mutex_lock(&d->consumer_lock);
    bool trouble = d->consumer && !consumer_ready(d->consumer, &reason);
    for (size_t i = 0; trouble && i < ARRAY_LEN(troubles); i++)
        if (strcmp(troubles[i].reason, reason) == 0)
            text = troubles[i].text;
    pthread_mutex_unlock(&d->consumer_lock);
    return text;
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
    lend(d, c);
    consumer_run(c);
    lend(d, NULL);
    consumer_free(c);
}
