/* keyring.h - what identity.c needs of the keyring beyond identity.h. */
#ifndef DAYBOOK_BUS_KEYRING_H
#define DAYBOOK_BUS_KEYRING_H

#include "services/bus/identity.h"

/* Rises with each change. */
uint64_t keyring_generation(struct keyring *k);
const struct identity_plain *keyring_plain(const struct keyring *k);
/* IDENTITY_NONE: not one of the operator's keys. */
bool keyring_is_banned(struct keyring *k, const char *z85);
enum identity_kind keyring_kind(struct keyring *k, const char *z85);

#endif
