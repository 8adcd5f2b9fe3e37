/*
 * echo_main.c - the smallest daemon, for tests of daemon_run() and for measuring the way there and
 * back without a database: test.EchoService with
 *
 *   Echo   answers its message
 *   Hold   the same, once the file exists that the message names: a request in work
 *   Wake   publishes its message on the channel "echo.wakes"
 *   Dumps  answers whether the process may dump core: "1" or "0"
 *   Heard  answers what the daemon's thread heard on that channel so far, parted by newlines
 *
 * ECHO_DB=1 makes it wait for PostgreSQL as other daemons do.
 */
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/daemon.h"
#include "common/sbuf.h"

#define CHANNEL "echo.wakes"
#define HOLD_MAX_US (20 * SECOND_US)

struct echo {
    pthread_mutex_t lock;
    struct sbuf heard;
};

typedef void echo_fn(struct call_env *env, const struct call_frames *in, uint8_t **out,
                     size_t *len_out);

static void echo(struct call_env *env, const struct call_frames *in, uint8_t **out, size_t *len_out)
{
    *out = arena_memdup(env->arena, in->message, in->message_len);
    *len_out = *out ? in->message_len : 0;
}

static void hold(struct call_env *env, const struct call_frames *in, uint8_t **out, size_t *len_out)
{
    const char *path = arena_strndup(env->arena, in->message, in->message_len);
    int64_t until_us = clock_monotonic_us() + HOLD_MAX_US;
    while (path && access(path, F_OK) != 0 && clock_monotonic_us() < until_us)
        usleep(1000);
    echo(env, in, out, len_out);
}

static void dumps(struct call_env *env, const struct call_frames *in, uint8_t **out,
                  size_t *len_out)
{
    (void)in;
    *out = arena_memdup(env->arena, prctl(PR_GET_DUMPABLE) ? "1" : "0", 1);
    *len_out = *out ? 1 : 0;
}

static void wake(struct call_env *env, const struct call_frames *in, uint8_t **out, size_t *len_out)
{
    struct call_wake_item *item = arena_alloc(env->arena, sizeof *item);
    echo(env, in, out, len_out);
    if (!item || !*out)
        return;
    *item = (struct call_wake_item){ .channel = CHANNEL, .data = *out, .len = *len_out };
    env->wakes = item;
    env->wake_relay = true;
}

static void heard(struct call_env *env, const struct call_frames *in, uint8_t **out,
                  size_t *len_out)
{
    (void)in;
    struct echo *e = env->daemon_data;
    pthread_mutex_lock(&e->lock);
    *out = arena_memdup(env->arena, e->heard.data, e->heard.len);
    *len_out = *out ? e->heard.len : 0;
    pthread_mutex_unlock(&e->lock);
}

static const struct {
    const char *method;
    echo_fn *fn;
} table[] = {
    { "Echo", echo }, { "Hold", hold }, { "Dumps", dumps }, { "Wake", wake }, { "Heard", heard }
};

static void answer(struct call_env *env, const struct call_frames *in, uint8_t **result_out,
                   size_t *result_len_out, uint8_t **reply_out, size_t *reply_len_out)
{
    ProtobufCMessage *context = NULL;
    struct wire_fault fault;
    PbCallResult result;
    Google__Rpc__Status status;
    daybook__common__v1__call_result__init(&result);
    google__rpc__status__init(&status);

    if (wire_unpack(&daybook__common__v1__call_context__descriptor, in->context, in->context_len,
                    &wire_limits_default, env->arena, &context, &fault) == ERR_OK)
        result.request_id = ((PbCallContext *)context)->request_id;
    status.code = ERR_UNIMPLEMENTED;
    result.status = &status;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (strlen(table[i].method) == in->method_len &&
            memcmp(table[i].method, in->method, in->method_len) == 0) {
            table[i].fn(env, in, reply_out, reply_len_out);
            result.status = NULL;
        }
    if (wire_pack(&result.base, env->arena, result_out, result_len_out))
        *result_len_out = 0;
}

static void listen_main(struct daemon *d, void *daemon_data)
{
    struct echo *e = daemon_data;
    struct daemon_waiter *w = daemon_waiter_new(d, CHANNEL);
    const void *data;
    size_t len;
    while (w && !daemon_stopping(d))
        if (daemon_waiter_wait(w, SECOND_US, &data, &len)) {
            pthread_mutex_lock(&e->lock);
            sbuf_add(&e->heard, data, len);
            sbuf_add_char(&e->heard, '\n');
            pthread_mutex_unlock(&e->lock);
        }
    daemon_waiter_free(w);
}

static void *start(struct daemon *d, bool *ok_out)
{
    (void)d;
    struct echo *e = calloc(1, sizeof *e);
    *ok_out = e != NULL;
    if (e) {
        pthread_mutex_init(&e->lock, NULL);
        sbuf_init(&e->heard, MIB);
    }
    return e;
}

static void stop(void *daemon_data)
{
    struct echo *e = daemon_data;
    sbuf_fini(&e->heard);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

int main(int argc, char **argv)
{
    static const struct method methods[] = {
        { .service = "test.EchoService", .name = "Echo" },
        { .service = "test.EchoService", .name = "Hold" },
        { .service = "test.EchoService", .name = "Dumps" },
        { .service = "test.HearService", .name = "Wake" },
        { .service = "test.HearService", .name = "Heard" },
    };
    static const struct daemon_thread threads[] = { { .name = "listen", .run = listen_main } };
    const struct daemon_def def = {
        .name = "echo",
        .methods = methods,
        .nmethods = ARRAY_LEN(methods),
        .threads = threads,
        .nthreads = ARRAY_LEN(threads),
        .no_directory = true,
        .no_database = getenv("ECHO_DB") == NULL,
        .start = start,
        .stop = stop,
        .answer = answer,
    };
    return daemon_run(&def, argc, argv);
}
