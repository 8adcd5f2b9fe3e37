/*
 * clock.c - domain time and its texts.
 *
 * The steered clock's file has two slots and a version; the version's lowest bit names the slot
 * that holds. A writer fills the other slot and then raises the version, so a writer killed half
 * way (F07) leaves the old time standing, and a reader never waits: it reads again only when the
 * version moved meanwhile. Slots count from the monotonic clock, which starts anew with the
 * machine; the file therefore names its boot, and a file of an earlier boot is refused.
 */
#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/civil.h"
#include "common/id.h"
#include "common/num.h"

#define RATE_MAX 1e7
#define FILE_MAGIC UINT64_C(0xdb0c10c0) /* in the upper half; the lower half names the boot */

enum mode { MODE_REAL, MODE_OFFSET, MODE_SCALED, MODE_FILE };

struct slot {
    _Atomic int64_t domain_us;
    _Atomic int64_t monotonic_us;
    _Atomic uint64_t rate_bits; /* a double */
};

struct clock_file {
    _Atomic uint64_t mark;
    _Atomic uint64_t version;
    struct slot slots[2];
};
_Static_assert(sizeof(struct clock_file) == 64, "one cache line, one file format");

/* A moment of a base clock, the domain time then, and how fast domain time runs from there. */
struct origin {
    int64_t base_us;
    int64_t domain_us;
    double rate;
};

/* Set by clock_init() before threads start, constant afterwards. */
static enum mode mode = MODE_REAL;
static struct origin fixed; /* MODE_OFFSET uses domain_us as the offset; MODE_SCALED all of it */
static struct clock_file *steered;

static int64_t read_clock(clockid_t which)
{
    struct timespec ts;
    (void)clock_gettime(which, &ts); /* cannot fail for these clocks */
    return (int64_t)ts.tv_sec * SECOND_US + ts.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t clock_monotonic_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_left_us(int64_t until_us)
{
    int64_t left_us = until_us - clock_monotonic_us();
    return MAX(0, left_us);
}

int64_t clock_boottime_us(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

bool clock_is_steered(void)
{
    return mode == MODE_FILE;
}

/* --- origins ---------------------------------------------------------------------------------- */

static double double_of(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof(d));
    return d;
}

static uint64_t bits_of(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof(bits));
    return bits;
}

/* A double as microseconds, held within what an instant may be. */
static int64_t saturate(double us)
{
    if (us >= 9.2e18)
        return INT64_MAX;
    if (us <= -9.2e18)
        return INT64_MIN;
    return (int64_t)us;
}

static int64_t add_saturated(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return a < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

static int64_t domain_at(const struct origin *o, int64_t base_now_us)
{
    int64_t elapsed_us = base_now_us - o->base_us;
    if (o->rate == 1.0)
        return add_saturated(o->domain_us, elapsed_us);
    return add_saturated(o->domain_us, saturate((double)elapsed_us * o->rate));
}

static struct origin read_file(struct clock_file *f)
{
    for (;;) {
        uint64_t version = atomic_load_explicit(&f->version, memory_order_acquire);
        struct slot *s = &f->slots[version & 1];
        struct origin o = {
            .base_us = atomic_load_explicit(&s->monotonic_us, memory_order_acquire),
            .domain_us = atomic_load_explicit(&s->domain_us, memory_order_acquire),
            .rate = double_of(atomic_load_explicit(&s->rate_bits, memory_order_acquire)),
        };
        /* The acquire loads above keep this one below them. */
        if (atomic_load_explicit(&f->version, memory_order_relaxed) == version)
            return o;
    }
}

/* The origin that holds now and what its base clock shows. */
static struct origin current_origin(int64_t *base_now_out)
{
    if (mode == MODE_FILE) {
        struct origin o = read_file(steered);
        *base_now_out = clock_monotonic_us();
        return o;
    }
    *base_now_out = clock_wall_us();
    if (mode == MODE_SCALED)
        return fixed;
    return (struct origin){ .domain_us = mode == MODE_OFFSET ? fixed.domain_us : 0, .rate = 1.0 };
}

int64_t clock_now_us(void)
{
    if (mode == MODE_REAL)
        return clock_wall_us();
    int64_t base_now;
    struct origin o = current_origin(&base_now);
    return domain_at(&o, base_now);
}

int64_t clock_until_us(int64_t domain_us)
{
    int64_t base_now;
    struct origin o = current_origin(&base_now);
    int64_t now_us = domain_at(&o, base_now);
    if (now_us >= domain_us)
        return 0;
    int64_t left_us;
    if (__builtin_sub_overflow(domain_us, now_us, &left_us) || !(o.rate > 0))
        return INT64_MAX;
    if (o.rate == 1.0)
        return left_us;
    return saturate(ceil((double)left_us / o.rate));
}

/* --- the steered clock's file
 * ---------------------------------------------------------------------- */

static uint64_t file_mark(void)
{
    char text[ID_TEXT_MAX] = { 0 };
    struct id boot = { { 0 } };
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, text, sizeof(text) - 1) < 0 || !id_parse(text, &boot))
            boot = (struct id){ { 0 } }; /* no /proc: then boots cannot be told apart */
        close(fd);
    }
    return FILE_MAGIC << 32 | (id_hash(boot) & UINT32_MAX);
}

/* Called with the file locked. */
static void publish(struct clock_file *f, int64_t domain_us, double rate)
{
    uint64_t next = atomic_load_explicit(&f->version, memory_order_relaxed) + 1;
    struct slot *s = &f->slots[next & 1];
    atomic_store_explicit(&s->domain_us, domain_us, memory_order_release);
    atomic_store_explicit(&s->monotonic_us, clock_monotonic_us(), memory_order_release);
    atomic_store_explicit(&s->rate_bits, bits_of(rate), memory_order_release);
    atomic_store_explicit(&f->version, next, memory_order_release);
    atomic_store_explicit(&f->mark, file_mark(), memory_order_release);
}

static struct clock_file *map_file(int fd, int protection)
{
    struct clock_file *f = mmap(NULL, sizeof(*f), protection, MAP_SHARED, fd, 0);
    return f == MAP_FAILED ? NULL : f;
}

/* Publishes; or only when the file is new (made_only), so that a late starter changes nothing. */
static bool write_file(const char *path, bool made_only, int64_t domain_us, double rate)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0664);
    if (fd < 0)
        return false;
    bool ok = false;
    struct stat st;
    struct clock_file *f = NULL;
    if (flock(fd, LOCK_EX) != 0 || fstat(fd, &st) != 0)
        goto out;
    bool is_new = st.st_size < (off_t)sizeof(*f);
    if (is_new && ftruncate(fd, (off_t)sizeof(*f)) != 0)
        goto out;
    f = map_file(fd, PROT_READ | PROT_WRITE);
    if (!f)
        goto out;
    if (is_new || !made_only || atomic_load(&f->mark) == 0)
        publish(f, domain_us, rate);
    ok = true;
out:;
    int saved = errno;
    if (f)
        munmap(f, sizeof(*f));
    close(fd); /* also gives the lock back */
    errno = saved;
    return ok;
}

bool clock_steer(const char *path, int64_t domain_us, double rate)
{
    if (!(rate >= 0 && rate <= RATE_MAX)) {
        errno = EINVAL;
        return false;
    }
    return write_file(path, false, domain_us, rate);
}

/* --- settings
 * -------------------------------------------------------------------------------------- */

static const char *init_offset(const char *spec)
{
    bool negative = spec[0] == '-';
    int64_t us;
    if (!num_duration_us(spec + (negative ? 1 : 0), &us))
        return "offset: needs a duration such as 36h or -2d";
    fixed = (struct origin){ .domain_us = negative ? -us : us };
    mode = MODE_OFFSET;
    return NULL;
}

static const char *init_scaled(const char *spec)
{
    static const char *const form = "scaled: needs <domain RFC 3339>@<real RFC 3339>x<factor>";
    char domain[TIME_TEXT_MAX + 8], real[TIME_TEXT_MAX + 8];
    const char *at = strchr(spec, '@');
    const char *x = strrchr(spec, 'x');
    if (!at || !x || x < at || (size_t)(at - spec) >= sizeof(domain) ||
        (size_t)(x - at - 1) >= sizeof(real))
        return form;
    memcpy(domain, spec, (size_t)(at - spec));
    domain[at - spec] = '\0';
    memcpy(real, at + 1, (size_t)(x - at - 1));
    real[x - at - 1] = '\0';

    struct origin o;
    if (!time_parse(domain, &o.domain_us) || !time_parse(real, &o.base_us) ||
        !num_double(x + 1, &o.rate))
        return form;
    if (!(o.rate >= 0 && o.rate <= RATE_MAX))
        return "scaled: the factor must be 0 to 10000000";
    fixed = o;
    mode = MODE_SCALED;
    return NULL;
}

static const char *init_file(const char *path)
{
    /* Whoever comes first makes the file; a daemon that may only read it needs it made. */
    if (!write_file(path, true, clock_wall_us(), 1.0) && errno != EACCES && errno != EROFS)
        return "file: the clock file cannot be made";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return "file: the clock file cannot be read";
    struct stat st;
    struct clock_file *f = NULL;
    if (fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(*f))
        f = map_file(fd, PROT_READ);
    close(fd);
    if (!f)
        return "file: the clock file is too short or cannot be mapped";
    if (atomic_load(&f->mark) != file_mark()) {
        munmap(f, sizeof(*f));
        return "file: not a clock file of this boot; steer or remove it";
    }
    steered = f;
    mode = MODE_FILE;
    return NULL;
}

bool clock_init(const char *spec, const char **reason_out)
{
    static const struct {
        const char *prefix;
        const char *(*init)(const char *rest); /* NULL, or the reason */
    } forms[] = { { "offset:", init_offset }, { "scaled:", init_scaled }, { "file:", init_file } };

    if (steered)
        munmap(steered, sizeof(*steered));
    steered = NULL;
    mode = MODE_REAL;
    if (!spec || !*spec || strcmp(spec, "real") == 0)
        return true;
    const char *reason = "must be real, offset:, scaled: or file:";
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        size_t n = strlen(forms[i].prefix);
        if (strncmp(spec, forms[i].prefix, n) == 0)
            reason = forms[i].init(spec + n);
    }
    if (reason && reason_out)
        *reason_out = reason;
    return !reason;
}

/* --- texts
 * ----------------------------------------------------------------------------------------- */

/* Appends v with at least `width` digits. */
static char *put_number(char *p, int64_t v, int width)
{
    char digits[20];
    int n = 0;
    if (v < 0) {
        *p++ = '-';
        v = -v;
    }
    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    while (n < width)
        digits[n++] = '0';
    while (n > 0)
        *p++ = digits[--n];
    return p;
}

char *time_format(int64_t us, char buf[static TIME_TEXT_MAX])
{
    int64_t days = civil_floor_div(us, DAY_US);
    int64_t rest = us - days * DAY_US;
    int64_t year;
    int month, day;
    civil_from_days(days, &year, &month, &day);

    char *p = put_number(buf, year, 4);
    *p++ = '-';
    p = put_number(p, month, 2);
    *p++ = '-';
    p = put_number(p, day, 2);
    *p++ = 'T';
    p = put_number(p, rest / HOUR_US, 2);
    *p++ = ':';
    p = put_number(p, rest / MINUTE_US % 60, 2);
    *p++ = ':';
    p = put_number(p, rest / SECOND_US % 60, 2);
    int64_t fraction = rest % SECOND_US;
    if (fraction) {
        *p++ = '.';
        bool whole_ms = fraction % 1000 == 0;
        p = put_number(p, whole_ms ? fraction / 1000 : fraction, whole_ms ? 3 : 6);
    }
    *p++ = 'Z';
    *p = '\0';
    return buf;
}

/* Exactly n digits at *p, which moves past them; within min and max. */
static bool take_number(const char **p, size_t n, int64_t min, int64_t max, int64_t *out)
{
    if (strnlen(*p, n) < n || **p == '-' || !num_i64_n(*p, n, min, max, out))
        return false;
    *p += n;
    return true;
}

static bool take_char(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

/* The digits after the point, as microseconds; what is finer is dropped. */
static bool take_fraction(const char **p, int64_t *us_out)
{
    int64_t us = 0;
    size_t n = 0;
    for (; **p >= '0' && **p <= '9'; (*p)++, n++)
        if (n < 6)
            us = us * 10 + (**p - '0');
    if (n < 1 || n > 9)
        return false;
    for (; n < 6; n++)
        us *= 10;
    *us_out = us;
    return true;
}

static bool take_zone(const char **p, int64_t *offset_us_out)
{
    *offset_us_out = 0;
    if (take_char(p, 'Z') || take_char(p, 'z'))
        return true;
    int64_t sign = **p == '-' ? -1 : 1;
    int64_t hours, minutes;
    if (!take_char(p, '+') && !take_char(p, '-'))
        return false;
    if (!take_number(p, 2, 0, 23, &hours) || !take_char(p, ':') ||
        !take_number(p, 2, 0, 59, &minutes))
        return false;
    *offset_us_out = sign * (hours * HOUR_US + minutes * MINUTE_US);
    return true;
}

bool time_parse(const char *text, int64_t *us_out)
{
    const char *p = text;
    int64_t year, month, day, hour, minute, second, fraction_us = 0, offset_us;
    if (!text || !take_number(&p, 4, 1, 9999, &year) || !take_char(&p, '-') ||
        !take_number(&p, 2, 1, 12, &month) || !take_char(&p, '-') ||
        !take_number(&p, 2, 1, civil_month_days(year, (int)month), &day))
        return false;
    if (!take_char(&p, 'T') && !take_char(&p, 't'))
        return false;
    if (!take_number(&p, 2, 0, 23, &hour) || !take_char(&p, ':') ||
        !take_number(&p, 2, 0, 59, &minute) || !take_char(&p, ':') ||
        !take_number(&p, 2, 0, 59, &second))
        return false;
    if (take_char(&p, '.') && !take_fraction(&p, &fraction_us))
        return false;
    if (!take_zone(&p, &offset_us) || *p)
        return false;

    int64_t us = civil_to_days(year, (int)month, (int)day) * DAY_US + hour * HOUR_US +
                 minute * MINUTE_US + second * SECOND_US + fraction_us - offset_us;
    /* An offset can carry the edges out of the years that a Timestamp may have. */
    if (us < civil_to_days(1, 1, 1) * DAY_US || us >= civil_to_days(10000, 1, 1) * DAY_US)
        return false;
    *us_out = us;
    return true;
}
