/*
 * gateway_client.h - a client that writes bytes, in the thread of the loop that answers it.
 */
#ifndef DAYBOOK_TESTS_UNIT_GATEWAY_CLIENT_H
#define DAYBOOK_TESTS_UNIT_GATEWAY_CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "services/gateway/http/http.h"
#include "tests/support/slack.h"

#define WEB_TEXT_MAX (512 * KIB)
#define WAIT_US slack(10 * SECOND_US)

struct web {
    struct http_loop *loop;
    void (*turn)(void *arg); /* of the loop, and of what is behind it */
    void *arg;
    char got[WEB_TEXT_MAX + 1]; /* since the last dial */
    size_t len;
};

static int web_dial(struct web *w)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(http_loop_port(w->loop)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    w->len = 0;
    w->got[0] = '\0';
    return fd;
}

/* What was taken of it, as by write(); but to a server that has ended the connection it is no signal. */
static ssize_t web_send(int fd, const void *bytes, size_t len)
{
    return send(fd, bytes, len, MSG_NOSIGNAL);
}

static void web_say_bytes(int fd, const void *bytes, size_t len)
{
    assert_int_equal(web_send(fd, bytes, len), len);
}

static void web_say(int fd, const char *text)
{
    web_say_bytes(fd, text, strlen(text));
}

/* Reads what there is. False: the other side has ended. */
static bool web_hear(struct web *w, int fd)
{
    ssize_t n = read(fd, w->got + w->len, WEB_TEXT_MAX - w->len);
    if (n > 0)
        w->len += (size_t)n;
    w->got[w->len] = '\0';
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static bool web_heard(const struct web *w, const char *text)
{
    return memmem(w->got, w->len, text, strlen(text)) != NULL;
}

/* Until that text was heard. */
static void web_until(struct web *w, int fd, const char *text)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    for (;;) {
        bool open = web_hear(w, fd);
        if (web_heard(w, text))
            return;
        if (!open || clock_monotonic_us() > until_us)
            fail_msg("wanted %s, heard: %s", text, w->got);
        w->turn(w->arg);
    }
}

#endif
