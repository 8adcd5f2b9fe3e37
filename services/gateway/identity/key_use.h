/*
 * key_use.h - when API keys were last used, and when they were refused, for CredentialService/NoteUse
 * of the directory and the audit trail (F61).
 *
 * Uses are kept in memory and told in batches: a key's first one within a second or so, then at most
 * one a minute; refusals once a second, of a key the last for each reason and address with their number. What
 * is not told when the gateway dies is lost; what the directory does not take is told again. Up to 8,192 keys wait at a time; more than that are told of at a later use.
 */
#ifndef DAYBOOK_GATEWAY_KEY_USE_H
#define DAYBOOK_GATEWAY_KEY_USE_H

#include "services/gateway/connect/upstream.h"

struct key_use;

struct key_use *key_use_new(void);    /* NULL: no memory */
void key_use_free(struct key_use *u); /* after the upstream that it used */

/* Thread-safe. used_us: domain time. new_hash: of the key's secret, which the directory shall keep from
 * now on (F56); "": none. */
void key_use_note(struct key_use *u, struct id tenant, struct id credential, int64_t used_us,
                  const char *new_hash);
/* The key is genuine, and was refused. reason: static; address: "" = not known. */
void key_use_refused(struct key_use *u, struct id tenant, struct id credential, int64_t at_us,
                     const char *reason, const char *address);
/* Tells what is due; by one thread, that of the upstream, once a turn. all: whatever is not told
 * yet, due or not. */
void key_use_send(struct key_use *u, struct upstream *upstream, int64_t monotonic_us, bool all);
/* A batch is under way, or not begun. The same thread. */
bool key_use_is_busy(struct key_use *u);

#endif
