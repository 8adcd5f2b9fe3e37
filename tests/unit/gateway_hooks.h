/*
 * gateway_hooks.h - a loop of HTTP whose exchanges all are those of one connect, as services/gateway/front.c has it.
 */
#ifndef DAYBOOK_TESTS_UNIT_GATEWAY_HOOKS_H
#define DAYBOOK_TESTS_UNIT_GATEWAY_HOOKS_H

#include "services/gateway/connect/connect.h"
#include "services/gateway/http/http.h"

static void hook_begin(void *connect, struct http_exchange *x)
{
    connect_open(connect, x);
}

static void hook_handle(void *connect, struct http_exchange *x)
{
    connect_handle(connect, x);
}

static void hook_gone(void *connect, struct http_exchange *x)
{
    connect_gone(connect, x);
}

static void hook_drained(void *connect, struct http_exchange *x)
{
    connect_drained(connect, x);
}

/* connect must live for as long as the loop. NULL: as of http_loop_new(). */
static struct http_loop *loop_of(struct connect *connect, const struct http_limits *limits)
{
    return http_loop_new("127.0.0.1:0", limits,
                         &(struct http_handler){ .begin = hook_begin,
                                                 .handle = hook_handle,
                                                 .gone = hook_gone,
                                                 .drained = hook_drained,
                                                 .arg = connect });
}

#endif
