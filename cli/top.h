/*
 * top.h - a frame of `daybook top`, of whose JSON object (top.c) the tables are made.
 */
#ifndef DAYBOOK_CLI_TOP_H
#define DAYBOOK_CLI_TOP_H

#include <jansson.h>

#include "cli/cli.h"

/* To stdout. terminal: over what is on the screen; first: there is no look before, so no rates. False: the arena is full. */
NODISCARD bool top_show(struct cli *c, const json_t *frame, bool terminal, bool first);

#endif
