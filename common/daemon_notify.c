/* daemon_notify.c - see daemon_internal.h. */
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/daemon_internal.h"
#include "common/num.h"

void daemon_notify(const char *words)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* abstract */

    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    /* Nobody to tell when it fails; the watchdog would. */
    ssize_t n = sendto(fd, words, strlen(words), MSG_NOSIGNAL | MSG_DONTWAIT,
                       (const struct sockaddr *)&address, size);
    (void)n;
    close(fd);
}

int64_t daemon_notify_watchdog_us(void)
{
    const char *text = getenv("WATCHDOG_USEC");
    int64_t us = 0;
    if (!text || !num_i64(text, 1, DAY_US, &us))
        return 0;
    return us / 2;
}
