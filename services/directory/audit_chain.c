/* audit_chain.c - see audit_chain.h. */
#include "services/directory/audit_chain.h"

#include <sodium.h>

#define FIELD_MAX 100

/* What protobuf-c packs goes into the hash at once. */
struct sink {
    ProtobufCBuffer base; /* first */
    crypto_generichash_state hash;
};

static void append(ProtobufCBuffer *buffer, size_t len, const uint8_t *data)
{
    struct sink *s = (struct sink *)(void *)buffer;
    crypto_generichash_update(&s->hash, data, len);
}

/* protobuf-c packs fields in the order of their numbers and leaves out those that are not set. */
static void hash_of(const uint8_t previous[static AUDIT_HASH_BYTES], const PbAuditEntry *entry,
                    uint8_t out[static AUDIT_HASH_BYTES])
{
    struct sink s = { .base = { .append = append } };
    PbAuditEntry bare = *entry;

    bare.hash = (ProtobufCBinaryData){ 0 };
    crypto_generichash_init(&s.hash, NULL, 0, AUDIT_HASH_BYTES);
    crypto_generichash_update(&s.hash, previous, AUDIT_HASH_BYTES);
    protobuf_c_message_pack_to_buffer(&bare.base, &s.base);
    crypto_generichash_final(&s.hash, out, AUDIT_HASH_BYTES);
}

void audit_chain_add(struct audit_link *last, PbAuditEntry *entry)
{
    uint8_t hash[AUDIT_HASH_BYTES];

    entry->number = ++last->number;
    hash_of(last->hash, entry, hash);
    memcpy(last->hash, hash, sizeof(hash));
}

const char *audit_chain_check(struct audit_link *last, const PbAuditEntry *entry)
{
    uint8_t hash[AUDIT_HASH_BYTES];

    if (entry->number != last->number + 1)
        return "an entry is missing";
    hash_of(last->hash, entry, hash);
    if (entry->hash.len != sizeof(hash) || memcmp(entry->hash.data, hash, sizeof(hash)) != 0)
        return "the entry, or one before it, is not as it was written";
    last->number = entry->number;
    memcpy(last->hash, hash, sizeof(hash));
    return NULL;
}

bool audit_field_ok(const char *text)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
    size_t len = strlen(text);

    return len > 0 && len <= FIELD_MAX && strspn(text, letters) == len;
}
