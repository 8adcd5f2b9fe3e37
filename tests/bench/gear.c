/*
 * gear.c - see gear.h.
 */
#include "tests/bench/gear.h"

#include <zmq.h>

#include "common/bus_peers.h"
#include "common/num.h"

#define CONNECT_MS 5000

void die(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("bench: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

static const char *secret_from_file(const char *path)
{
    static char key[64];
    FILE *f = fopen(path, "r");
    if (!f || !fgets(key, sizeof key, f))
        die("cannot read the key %s", path);
    fclose(f);
    key[strcspn(key, "\r\n")] = '\0';
    return key;
}

struct bus_address gear_address(void)
{
    struct bus_address a = {
        .endpoint = env("DAYBOOK_BUS_ENDPOINT"),
        .events = env("DAYBOOK_BUS_EVENTS"),
        .server_key = env("DAYBOOK_BUS_SERVER_KEY"),
        .public_key = env("DAYBOOK_BUS_PUBLIC_KEY"),
        .secret_key = "",
    };
    if (*a.server_key)
        a.secret_key = secret_from_file(env("DAYBOOK_BUS_SECRET_KEY_FILE"));
    return a;
}

void *gear_connect(void *zmq_context, int type, const struct bus_address *address,
                   const char *endpoint)
{
    void *s = zmq_socket(zmq_context, type);
    if (!s || !bus_socket_prepare(s, address) || !bus_peers_connect(s, endpoint))
        die("cannot connect to '%s': %s", endpoint, zmq_strerror(zmq_errno()));
    zmq_pollitem_t item = { .socket = s, .events = ZMQ_POLLOUT };
    if (type == ZMQ_DEALER && zmq_poll(&item, 1, CONNECT_MS) != 1)
        die("nobody answers at '%s', or he refuses the key", endpoint);
    return s;
}

int gear_fd(void *socket)
{
    int fd = -1;
    size_t size = sizeof fd;
    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) != 0)
        die("no descriptor: %s", zmq_strerror(zmq_errno()));
    return fd;
}

bool gear_readable(void *socket)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN);
}

static struct gear_option *find(const struct gear_option *options, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(options[i].name, name) == 0)
            return (struct gear_option *)(uintptr_t)&options[i];
    die("no option '%s'", name);
}

void gear_options(struct gear_option *options, size_t n, int argc, char **argv)
{
    for (int i = 0; i < argc; i += 2) {
        if (strncmp(argv[i], "--", 2) != 0 || i + 1 >= argc)
            die("options are --name value; not '%s'", argv[i]);
        find(options, n, argv[i] + 2)->value = argv[i + 1];
    }
}

const char *gear_text(const struct gear_option *options, size_t n, const char *name)
{
    return find(options, n, name)->value;
}

double gear_number(const struct gear_option *options, size_t n, const char *name)
{
    double v;
    if (!num_double(find(options, n, name)->value, &v) || v < 0)
        die("--%s wants a number", name);
    return v;
}
