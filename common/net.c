/* net.c - sockets on addresses of our own. */
#include "common/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/num.h"

struct endpoint {
    struct sockaddr_storage addr;
    socklen_t len;
};

void net_closep(int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

static bool resolve_unix(const char *path, struct endpoint *out)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(un.sun_path))
        return false;
    memcpy(un.sun_path, path, len + 1);
    memcpy(&out->addr, &un, sizeof(un));
    out->len = sizeof(un);
    return true;
}

/* "host:port" or "[v6]:port" cut in two. */
static bool split(const char *address, char *host, size_t host_size, const char **port_out)
{
    const char *colon = strrchr(address, ':');
    int64_t port; /* judged here, because getaddrinfo() takes any number and cuts it to 16 bits */
    if (!colon || !num_i64(colon + 1, 0, 65535, &port))
        return false;
    const char *from = address;
    size_t n = (size_t)(colon - address);
    if (n >= 2 && from[0] == '[' && from[n - 1] == ']') {
        from++;
        n -= 2;
    } else if (memchr(from, ':', n)) {
        return false; /* an IPv6 address without brackets cannot be told from its port */
    }
    if (n >= host_size)
        return false;
    memcpy(host, from, n);
    host[n] = '\0';
    *port_out = colon + 1;
    return true;
}

/* False: errno says whether the address is wrong (EINVAL) or the time. */
static bool resolve(const char *address, struct endpoint *out)
{
    errno = EINVAL;
    char host[NET_ADDRESS_MAX];
    const char *port;
    if (strncmp(address, "unix:", 5) == 0)
        return resolve_unix(address + 5, out);
    if (!split(address, host, sizeof(host), &port))
        return false;

    const char *name = !*host ? "127.0.0.1" : strcmp(host, "*") == 0 ? "0.0.0.0" : host;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    int e = getaddrinfo(name, port, &hints, &found);
    if (e != 0 || !found) {
        if (e != EAI_SYSTEM)
            errno = e == EAI_MEMORY ? ENOMEM : e == EAI_AGAIN ? EAGAIN : EINVAL;
        return false;
    }
    memcpy(&out->addr, found->ai_addr, found->ai_addrlen);
    out->len = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static int new_socket(const struct endpoint *e)
{
    return socket(e->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* A daemon that was killed leaves its socket file behind; one that lives keeps it. */
static void remove_dead_socket(const char *path, const struct endpoint *e)
{
    struct stat st;
    if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    CLEANUP(net_closep) int fd = new_socket(e);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&e->addr, e->len) != 0 &&
        errno == ECONNREFUSED)
        (void)unlink(path); /* if that fails, bind says why */
}

static bool describe(int fd, const char *address, char out[static NET_ADDRESS_MAX])
{
    struct sockaddr_storage addr = { 0 };
    socklen_t len = sizeof(addr);
    char host[INET6_ADDRSTRLEN] = "";
    int n;
    if (strncmp(address, "unix:", 5) == 0) {
        n = snprintf(out, NET_ADDRESS_MAX, "%s", address);
        return n > 0 && n < NET_ADDRESS_MAX;
    }
    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        return false;
    if (addr.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, &addr, sizeof(in6));
        (void)inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
        n = snprintf(out, NET_ADDRESS_MAX, "[%s]:%u", host, ntohs(in6.sin6_port));
    } else {
        struct sockaddr_in in4;
        memcpy(&in4, &addr, sizeof(in4));
        (void)inet_ntop(AF_INET, &in4.sin_addr, host, sizeof(host));
        n = snprintf(out, NET_ADDRESS_MAX, "%s:%u", host, ntohs(in4.sin_port));
    }
    return n > 0 && n < NET_ADDRESS_MAX;
}

int net_listen(const char *address, int backlog, char actual_out[static NET_ADDRESS_MAX])
{
    struct endpoint e = { 0 };
    errno = EINVAL;
    if (!address || !resolve(address, &e))
        return -1;
    CLEANUP(net_closep) int fd = new_socket(&e);
    if (fd < 0)
        return -1;
    if (e.addr.ss_family == AF_UNIX) {
        remove_dead_socket(address + 5, &e);
    } else {
        int on = 1; /* a restart must not wait for connections of the run before */
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
            return -1;
    }
    if (bind(fd, (const struct sockaddr *)&e.addr, e.len) != 0 || listen(fd, backlog) != 0)
        return -1;
    if (!describe(fd, address, actual_out))
        return -1;
    int mine = fd;
    fd = -1;
    return mine;
}

static bool wait_connected(int fd, int timeout_ms)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    int n = poll(&p, 1, timeout_ms);
    if (n == 0)
        errno = ETIMEDOUT;
    if (n <= 0)
        return false;
    int failed = 0;
    socklen_t len = sizeof(failed);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0)
        return false;
    errno = failed;
    return failed == 0;
}

int net_connect(const char *address, int timeout_ms)
{
    struct endpoint e = { 0 };
    if (!address || !resolve(address, &e)) {
        errno = EINVAL;
        return -1;
    }
    CLEANUP(net_closep) int fd = new_socket(&e);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&e.addr, e.len) != 0 &&
        (errno != EINPROGRESS || !wait_connected(fd, timeout_ms)))
        return -1;
    int mine = fd;
    fd = -1;
    return mine;
}
