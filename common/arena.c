/*
 * arena.c - chunks in a list, the newest in front; an allocation is a bump in the newest.
 *
 * A block that does not fit the newest chunk opens a chunk of twice the size, so a request of any
 * size costs few calls of malloc. Blocks are zeroed when they are handed out, because a chunk that
 * survived a reset holds the last request's data. The budget counts what was handed out; the
 * memory behind it is at most about twice that.
 */
#include "common/arena.h"

#include <assert.h>

#define CHUNK_FIRST (16 * KIB)
#define CHUNK_MOST (1 * MIB)
#define ALIGNMENT alignof(max_align_t)

struct chunk {
    struct chunk *next; /* older */
    size_t size;        /* bytes of data[] */
    size_t used;
    alignas(max_align_t) unsigned char data[];
};

struct arena {
    struct chunk *newest;
    size_t budget;
    size_t used;
    ProtobufCAllocator protobuf;
};

static void *protobuf_alloc(void *data, size_t size)
{
    return arena_alloc(data, size);
}

static void protobuf_free(void *data, void *p)
{
    (void)data;
    (void)p;
}

struct arena *arena_new(size_t budget_bytes)
{
    struct arena *a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    a->budget = budget_bytes;
    a->protobuf = (ProtobufCAllocator){ protobuf_alloc, protobuf_free, a };
    return a;
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    while (a->newest) {
        struct chunk *c = a->newest;
        a->newest = c->next;
        free(c);
    }
    free(a);
}

void arena_freep(struct arena **a)
{
    arena_free(*a);
    *a = NULL;
}

void arena_reset(struct arena *a)
{
    while (a->newest && a->newest->next) {
        struct chunk *c = a->newest;
        a->newest = c->next;
        free(c);
    }
    if (a->newest && a->newest->size > CHUNK_MOST) { /* a huge first block is not worth keeping */
        free(a->newest);
        a->newest = NULL;
    }
    if (a->newest)
        a->newest->used = 0;
    a->used = 0;
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}

void arena_discount(struct arena *a, size_t mark)
{
    a->used = MIN(a->used, mark);
}

void arena_set_budget(struct arena *a, size_t budget_bytes)
{
    a->budget = MAX(budget_bytes, a->used);
}

static bool open_chunk(struct arena *a, size_t at_least)
{
    size_t size = a->newest ? MIN(a->newest->size * 2, CHUNK_MOST) : CHUNK_FIRST;
    size = MAX(size, at_least);
    struct chunk *c = malloc(sizeof(*c) + size);
    if (!c)
        return false;
    c->next = a->newest;
    c->size = size;
    c->used = 0;
    a->newest = c;
    return true;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > a->budget) /* also keeps the rounding below from overflowing */
        return NULL;
    if (size > SIZE_MAX / 4)
        return NULL;
    size_t want = size ? (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    if (want > a->budget - MIN(a->used, a->budget))
        return NULL;
    if (!a->newest || a->newest->size - a->newest->used < want)
        if (!open_chunk(a, want))
            return NULL;

    void *p = a->newest->data + a->newest->used;
    a->newest->used += want;
    a->used += want;
    return memset(p, 0, want);
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(n, size, &total))
        return NULL;
    return arena_alloc(a, total);
}

char *arena_strdup(struct arena *a, const char *s)
{
    return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    if (!s)
        return NULL;
    size_t len = strnlen(s, n);
    char *copy = arena_alloc(a, len + 1);
    return copy ? memcpy(copy, s, len) : NULL;
}

void *arena_memdup(struct arena *a, const void *p, size_t n)
{
    void *copy = arena_alloc(a, n);
    if (copy && n > 0)
        memcpy(copy, p, n);
    return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return text;
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    char *text = NULL;
    int len = vsnprintf(NULL, 0, fmt, ap);
    if (len >= 0)
        text = arena_alloc(a, (size_t)len + 1);
    if (text) {
        int written = vsnprintf(text, (size_t)len + 1, fmt, again);
        assert(written == len);
        (void)written;
    }
    va_end(again);
    return text;
}

ProtobufCAllocator *arena_protobuf(struct arena *a)
{
    return &a->protobuf;
}
