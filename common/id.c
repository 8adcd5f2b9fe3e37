/*
 * id.c - UUIDv7 and name-based identifiers.
 *
 * Within a millisecond, or while the wall clock stands behind what was given out already, the
 * random part of the last id is raised by a random step instead of drawn anew (RFC 9562, 6.2,
 * method 2): ids rise strictly and still cannot be guessed. Random bytes are drawn in batches,
 * since a system call for each id would cost more than all the rest.
 */
#include "common/id.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <sys/random.h>

#include "common/clock.h"

/* The 74 random bits of a UUIDv7 as a number: 12 bits rand_a, 62 bits rand_b. */
struct tail {
    uint64_t a;
    uint64_t b;
};
#define TAIL_A_MAX ((UINT64_C(1) << 12) - 1)
#define TAIL_B_MAX ((UINT64_C(1) << 62) - 1)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_ms;
static struct tail last_tail;
static unsigned char pool[256]; /* random bytes not used yet, from pool_at on */
static size_t pool_at = sizeof(pool);

/* Called with the lock held. Without random bytes no id is safe to give out, so it aborts. */
static uint64_t random_u64(void)
{
    if (pool_at + sizeof(uint64_t) > sizeof(pool)) {
        ssize_t n;
        do
            n = getrandom(pool, sizeof(pool), 0);
        while (n < 0 && errno == EINTR);
        if (n != (ssize_t)sizeof(pool))
            abort();
        pool_at = 0;
    }
    uint64_t v;
    memcpy(&v, pool + pool_at, sizeof(v));
    pool_at += sizeof(v);
    return v;
}

/* False: the tail is used up. */
static bool raise_tail(struct tail *t)
{
    t->b += 1 + (random_u64() >> 32);
    if (t->b > TAIL_B_MAX) {
        t->b &= TAIL_B_MAX;
        t->a++;
    }
    return t->a <= TAIL_A_MAX;
}

static void next_position(uint64_t *ms_out, struct tail *tail_out)
{
    uint64_t ms = (uint64_t)(clock_wall_us() / MSEC_US);
    pthread_mutex_lock(&lock);
    if (ms > last_ms) {
        last_ms = ms;
        last_tail = (struct tail){ random_u64() & TAIL_A_MAX, random_u64() & TAIL_B_MAX };
    } else if (!raise_tail(&last_tail)) {
        last_ms++;
        last_tail = (struct tail){ 0, random_u64() & TAIL_B_MAX };
    }
    *ms_out = last_ms;
    *tail_out = last_tail;
    pthread_mutex_unlock(&lock);
}

struct id id_new(void)
{
    uint64_t ms;
    struct tail t;
    next_position(&ms, &t);

    struct id id;
    for (int i = 0; i < 6; i++)
        id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
    id.b[6] = (uint8_t)(0x70 | (t.a >> 8));
    id.b[7] = (uint8_t)t.a;
    uint64_t low = (UINT64_C(2) << 62) | t.b;
    for (int i = 0; i < 8; i++)
        id.b[8 + i] = (uint8_t)(low >> (56 - 8 * i));
    return id;
}

struct id id_derived(const char *part, ...)
{
    struct id id;
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, NULL, 0, sizeof(id.b));

    va_list ap;
    va_start(ap, part);
    for (; part; part = va_arg(ap, const char *)) {
        uint64_t len = strlen(part); /* in front, so that ("ab", "c") is not ("a", "bc") */
        unsigned char len_le[8];
        for (int i = 0; i < 8; i++)
            len_le[i] = (unsigned char)(len >> (8 * i));
        (void)crypto_generichash_update(&state, len_le, sizeof(len_le));
        (void)crypto_generichash_update(&state, (const unsigned char *)part, len);
    }
    va_end(ap);

    (void)crypto_generichash_final(&state, id.b, sizeof(id.b));
    id.b[6] = (uint8_t)(0x80 | (id.b[6] & 0x0f));
    id.b[8] = (uint8_t)(0x80 | (id.b[8] & 0x3f));
    return id;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool dash_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

bool id_parse(const char *text, struct id *out)
{
    struct id id;
    if (!text)
        return false;
    for (size_t i = 0; i < sizeof(id.b); i++) {
        if (dash_before(i) && *text++ != '-')
            return false;
        int high = hex_value(text[0]);
        int low = high < 0 ? -1 : hex_value(text[1]); /* not past the NUL */
        if (low < 0)
            return false;
        id.b[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (*text)
        return false;
    *out = id;
    return true;
}

char *id_text(struct id id, char buf[static ID_TEXT_MAX])
{
    static const char digit[] = "0123456789abcdef";
    char *p = buf;
    for (size_t i = 0; i < sizeof(id.b); i++) {
        if (dash_before(i))
            *p++ = '-';
        *p++ = digit[id.b[i] >> 4];
        *p++ = digit[id.b[i] & 15];
    }
    *p = '\0';
    return buf;
}

bool id_is_nil(struct id id)
{
    return id_equal(id, (struct id){ { 0 } });
}

bool id_equal(struct id a, struct id b)
{
    return memcmp(a.b, b.b, sizeof(a.b)) == 0;
}

int id_compare(struct id a, struct id b)
{
    return memcmp(a.b, b.b, sizeof(a.b));
}

uint64_t id_hash(struct id id)
{
    uint64_t high, low;
    memcpy(&high, id.b, 8);
    memcpy(&low, id.b + 8, 8);
    uint64_t x = high ^ (low * UINT64_C(0x9e3779b97f4a7c15)); /* then the finish of splitmix64 */
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

struct id id_at(int64_t us)
{
    uint64_t ms = (uint64_t)(us / MSEC_US);
    struct id id = { .b = { [6] = 0x70, [8] = 0x80 } };

    for (int i = 0; i < 6; i++)
        id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
    return id;
}

int64_t id_time_us(struct id id)
{
    int64_t ms = 0;

    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id.b[i];
    return ms * MSEC_US;
}
