/*
 * reactions.h - what reminders hears and does (reactions.c).
 */
#ifndef DAYBOOK_REMINDERS_REACTIONS_H
#define DAYBOOK_REMINDERS_REACTIONS_H

#include "common/consumer.h"

extern const struct consumer_def reminders_consumer;

#endif
