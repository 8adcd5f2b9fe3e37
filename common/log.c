/*
 * log.c - a ring of finished lines and the thread that writes them.
 *
 * The caller makes the line on its own stack and holds the lock only to count the event and to put
 * a pointer into the ring. The writer polls before each write and writes at most PIPE_BUF bytes at
 * once, so that it notices log_stop() even while nobody reads stdout (then a plain write would hang
 * for ever).
 */
#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/sbuf.h"
#include "common/thread.h"

#define RING_LINES 4096
#define LINE_MOST PIPE_BUF /* one write, which no other process's lines can cut in two */
#define VALUE_MOST 1024
#define TAIL_ROOM 64 /* for the end of a line that was cut */
#define EVENT_MOST 64
#define EVENT_SLOTS 256
#define EVENTS_A_SECOND 10
#define STOP_US SECOND_US

/* How often an event came in the running second. */
struct event_count {
    char event[EVENT_MOST];
    int64_t since_us;
    uint32_t lines;
    uint32_t suppressed;
    enum log_level level; /* of the last suppressed line */
};

static atomic_int threshold = LOG_LEVEL_INFO;
static atomic_bool started;
static atomic_uint_least64_t dropped;
static atomic_int_least64_t stop_at_us; /* monotonic; 0 while running */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_lines;
static char *ring[RING_LINES]; /* lines with their newline; owned */
static size_t ring_first, ring_count;
static struct event_count events[EVENT_SLOTS];

static pthread_t writer;
static char service_name[32] = "daybook";
static char instance_name[96];
static bool readable; /* stdout is a terminal */

static struct metric dropped_total = {
    .name = "daybook_log_dropped_total",
    .type = METRIC_COUNTER,
    .help = "Log lines lost because standard output did not take them.",
};

static const char *const level_names[] = { "debug", "info", "warn", "error" };

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&threshold, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
    return atomic_load(&dropped);
}

static void count_dropped(void)
{
    atomic_fetch_add(&dropped, 1);
    metric_add(&dropped_total, 1, NULL);
}

/* --- one line
 * -------------------------------------------------------------------------------------- */

struct line {
    char mem[LINE_MOST];
    struct sbuf text;
    bool readable;
    bool cut; /* something was left out */
};

/* Always six digits, so that lines sort as text. */
static void add_time(struct sbuf *b, int64_t us)
{
    char buf[TIME_TEXT_MAX];
    int64_t fraction = us % SECOND_US;
    sbuf_add(b, time_format(us - fraction, buf), strlen("2026-01-02T03:04:05"));
    sbuf_addf(b, ".%06dZ", (int)fraction);
}

/* Readable lines carry no escapes from outside to the terminal either. */
static void add_plain(struct sbuf *b, const char *s)
{
    for (; *s; s++)
        sbuf_add_char(b, (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

/* A field as a whole or, when it does not fit, not at all. */
static void add_field(struct line *l, const char *name, const char *value)
{
    char clipped[VALUE_MOST + 1];
    struct sbuf *b = &l->text;
    size_t before = b->len;
    if (!value)
        return;
    if (strnlen(value, VALUE_MOST + 1) > VALUE_MOST) {
        memcpy(clipped, value, VALUE_MOST);
        clipped[VALUE_MOST] = '\0';
        value = clipped;
        l->cut = true;
    }
    if (l->readable) {
        sbuf_addf(b, " %s=", name);
        add_plain(b, value);
    } else {
        sbuf_add_char(b, ',');
        sbuf_add_json(b, name);
        sbuf_add_char(b, ':');
        sbuf_add_json(b, value);
    }
    if (b->bad) {
        b->len = before;
        b->data[before] = '\0';
        b->bad = false;
        l->cut = true;
    }
}

static void begin_line(struct line *l, enum log_level level, const char *event, const char *msg)
{
    l->cut = false;
    sbuf_init_fixed(&l->text, l->mem, sizeof(l->mem) - TAIL_ROOM);
    struct sbuf *b = &l->text;
    if (l->readable) {
        add_time(b, clock_wall_us());
        sbuf_addf(b, " %-5s %s ", level_names[level], service_name);
        add_plain(b, event);
        if (msg)
            add_field(l, "msg", msg);
        return;
    }
    sbuf_add_text(b, "{\"ts\":\"");
    add_time(b, clock_wall_us());
    sbuf_addf(b, "\",\"level\":\"%s\"", level_names[level]);
    add_field(l, "svc", service_name);
    add_field(l, "inst", instance_name[0] ? instance_name : NULL);
    add_field(l, "event", event);
    add_field(l, "msg", msg);
}

static void end_line(struct line *l, uint32_t suppressed)
{
    struct sbuf *b = &l->text;
    b->limit = sizeof(l->mem) - 1; /* now the room kept for the end */
    b->cap = sizeof(l->mem);
    if (suppressed > 0)
        sbuf_addf(b, l->readable ? " suppressed=%u" : ",\"suppressed\":%u", suppressed);
    if (l->cut)
        sbuf_add_text(b, l->readable ? " cut=true" : ",\"cut\":true");
    sbuf_add_text(b, l->readable ? "\n" : "}\n");
}

/* --- how often
 * ------------------------------------------------------------------------------------- */

/* The event's slot; NULL when the table is full of others. Called with the lock held. */
static struct event_count *find_event(const char *event)
{
    uint32_t hash = 2166136261U;
    for (const char *p = event; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619U;
    for (uint32_t i = 0; i < EVENT_SLOTS; i++) {
        struct event_count *e = &events[(hash + i) % EVENT_SLOTS];
        if (strcmp(e->event, event) == 0)
            return e;
        if (!e->event[0] && strlen(event) < EVENT_MOST) {
            memcpy(e->event, event, strlen(event) + 1);
            return e;
        }
    }
    return NULL;
}

/* False: too often, leave the line out. suppressed_out: lines left out that this one must tell. */
static bool count_event(const char *event, enum log_level level, uint32_t *suppressed_out)
{
    int64_t now_us = clock_monotonic_us();
    bool wanted = true;
    *suppressed_out = 0;
    pthread_mutex_lock(&lock);
    struct event_count *e = find_event(event);
    if (e && now_us - e->since_us >= SECOND_US) {
        *suppressed_out = e->suppressed;
        e->since_us = now_us;
        e->lines = 0;
        e->suppressed = 0;
    }
    if (e && ++e->lines > EVENTS_A_SECOND) {
        e->lines = EVENTS_A_SECOND;
        e->suppressed++;
        e->level = level;
        wanted = false;
    }
    pthread_mutex_unlock(&lock);
    return wanted;
}

/* --- the writer
 * ------------------------------------------------------------------------------------ */

static bool must_give_up(void)
{
    int64_t at_us = atomic_load(&stop_at_us);
    return at_us != 0 && clock_monotonic_us() >= at_us;
}

/* Writes all of it to stdout, waiting as long as it takes or until log_stop() has no more time. */
static bool write_out(const char *text, size_t len)
{
    size_t done = 0;
    while (done < len) {
        struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };
        if (poll(&p, 1, 50) <= 0 || !(p.revents & (POLLOUT | POLLERR | POLLHUP | POLLNVAL))) {
            if (must_give_up())
                return false;
            continue;
        }
        ssize_t n = write(STDOUT_FILENO, text + done, len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno != EINTR && errno != EAGAIN)
            return false;
    }
    return true;
}

/* Tells of suppressed lines whose event has been quiet since, or of all at the end. */
static void write_suppressed(bool all)
{
    for (size_t i = 0; i < EVENT_SLOTS; i++) {
        pthread_mutex_lock(&lock);
        struct event_count e = events[i];
        bool due = e.suppressed > 0 && (all || clock_monotonic_us() - e.since_us >= SECOND_US);
        if (due)
            events[i].suppressed = 0;
        pthread_mutex_unlock(&lock);
        if (!due)
            continue;
        struct line l = { .readable = readable };
        begin_line(&l, e.level, e.event, "the same event came too often");
        end_line(&l, e.suppressed);
        if (!write_out(l.text.data, l.text.len))
            count_dropped();
    }
}

/* The next line, or NULL when a second passed without one or the end is asked for. */
static char *wait_for_line(void)
{
    char *text = NULL;
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    pthread_mutex_lock(&lock);
    while (ring_count == 0 && atomic_load(&stop_at_us) == 0)
        if (pthread_cond_timedwait(&has_lines, &lock, &until) == ETIMEDOUT)
            break;
    if (ring_count > 0) {
        text = ring[ring_first];
        ring[ring_first] = NULL;
        ring_first = (ring_first + 1) % RING_LINES;
        ring_count--;
    }
    pthread_mutex_unlock(&lock);
    return text;
}

static void *write_lines(void *unused)
{
    (void)unused;
    int64_t looked_us = clock_monotonic_us();
    for (;;) {
        char *text = wait_for_line();
        if (text && !write_out(text, strlen(text)))
            count_dropped();
        free(text);
        bool stopping = atomic_load(&stop_at_us) != 0;
        if (stopping && (!text || must_give_up()))
            break;
        if (clock_monotonic_us() - looked_us >= SECOND_US) {
            write_suppressed(false);
            looked_us = clock_monotonic_us();
        }
    }
    write_suppressed(true);
    return NULL;
}

static void push(const struct line *l)
{
    char *copy = malloc(l->text.len + 1);
    bool taken = false;
    if (copy) {
        memcpy(copy, l->text.data, l->text.len + 1);
        pthread_mutex_lock(&lock);
        if (ring_count < RING_LINES) {
            ring[(ring_first + ring_count++) % RING_LINES] = copy;
            taken = true;
            pthread_cond_signal(&has_lines);
        }
        pthread_mutex_unlock(&lock);
    }
    if (!taken) {
        free(copy);
        count_dropped();
    }
}

/* --- the interface
 * --------------------------------------------------------------------------------- */

static void name_instance(void)
{
    const char *given = getenv("DAYBOOK_INSTANCE"); /* before threads start */
    char host[64] = "";
    if (given && *given) {
        (void)snprintf(instance_name, sizeof(instance_name), "%s", given);
        return;
    }
    if (gethostname(host, sizeof(host) - 1) != 0)
        host[0] = '\0';
    (void)snprintf(instance_name, sizeof(instance_name), "%s/%ld", host, (long)getpid());
}

static bool start_writer(void)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&has_lines, &attr);
    (void)pthread_condattr_destroy(&attr);
    /* SIGPIPE, which it does not hear either, comes back as EPIPE */
    return thread_start(&writer, "log", write_lines, NULL);
}

bool log_start(const char *service)
{
    if (atomic_load(&started))
        return true;
    (void)snprintf(service_name, sizeof(service_name), "%s", service);
    name_instance();
    readable = isatty(STDOUT_FILENO) == 1;
    metric_register(&dropped_total);
    atomic_store(&stop_at_us, 0);
    atomic_store(&started, start_writer());
    return atomic_load(&started);
}

/* What a writer that had to give up has left; counted, never silently gone. */
static void drop_rest(void)
{
    pthread_mutex_lock(&lock);
    size_t n = ring_count;
    for (; ring_count > 0; ring_count--) {
        free(ring[ring_first]);
        ring[ring_first] = NULL;
        ring_first = (ring_first + 1) % RING_LINES;
    }
    memset(events, 0, sizeof(events));
    pthread_mutex_unlock(&lock);
    while (n-- > 0)
        count_dropped();
}

void log_stop(void)
{
    if (!atomic_exchange(&started, false))
        return;
    atomic_store(&stop_at_us, clock_monotonic_us() + STOP_US);
    pthread_mutex_lock(&lock);
    pthread_cond_signal(&has_lines);
    pthread_mutex_unlock(&lock);

    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 2;
    if (pthread_timedjoin_np(writer, NULL, &until) == 0) {
        drop_rest();
        (void)pthread_cond_destroy(&has_lines);
    } else {
        (void)pthread_detach(writer); /* hangs in a write; the process's end takes it along */
    }
}

static void write_directly(const struct line *l)
{
    size_t done = 0;
    while (done < l->text.len) {
        ssize_t n = write(STDERR_FILENO, l->text.data + done, l->text.len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno != EINTR) {
            count_dropped();
            return;
        }
    }
}

void log_line(enum log_level level, const char *event, const char *msg, ...)
{
    uint32_t suppressed;
    if (!log_enabled(level) || !count_event(event, level, &suppressed))
        return;

    bool queued = atomic_load(&started);
    struct line l = { .readable = queued ? readable : isatty(STDERR_FILENO) == 1 };
    begin_line(&l, level, event, msg);
    va_list ap;
    va_start(ap, msg);
    for (const char *name; (name = va_arg(ap, const char *)) != NULL;)
        add_field(&l, name, va_arg(ap, const char *));
    va_end(ap);
    end_line(&l, suppressed);

    if (queued)
        push(&l);
    else
        write_directly(&l);
}
