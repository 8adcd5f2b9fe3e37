/*
 * tz.c - TZif files (RFC 9636) and the calendar.
 *
 * Of a file only its 64-bit block and its footer are used; every system writes both since 2014.
 * The footer is a POSIX TZ rule and holds after the last transition; a "slim" file leaves all of
 * today's summer times to it. Loaded zones form a list that only grows, so a look-up takes no
 * lock; loading does.
 */
#include "common/tz.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/civil.h"

#define NAME_MAX_LEN 64
#define FILE_MAX (256 * KIB)
#define DAY_S 86400
#define OFFSET_MOST_S (26 * 3600) /* RFC 9636: -25 h < offset < 26 h */

/* When a part of the year begins: the footer's ",M3.2.0/2" */
struct rule_day {
    enum { DAY_JULIAN, DAY_ZERO_BASED, DAY_OF_WEEK } kind;
    int month, week; /* DAY_OF_WEEK */
    int day;         /* day of the week (0 Sunday), or of the year */
    int32_t time_s;  /* local, may be negative or beyond a day */
};

struct rule {
    bool present;
    bool has_dst;
    int32_t std_s, dst_s; /* offsets */
    struct rule_day dst_from, dst_to;
};

struct tz {
    struct tz *next;
    char name[NAME_MAX_LEN + 1];
    int32_t first_s; /* before the first transition */
    size_t n;
    int64_t *at_s;     /* transitions, rising */
    int32_t *offset_s; /* from the transition on */
    struct rule rule;
};

static struct tz utc = { .name = "UTC" };
static _Atomic(struct tz *) zones = &utc;
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

/* --- the footer
 * ------------------------------------------------------------------------------------ */

static bool take_char(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

static bool take_number(const char **p, int max, int *out)
{
    int v = 0;
    const char *start = *p;
    for (; **p >= '0' && **p <= '9'; (*p)++) {
        v = v * 10 + (**p - '0');
        if (v > max)
            return false;
    }
    if (*p == start)
        return false;
    *out = v;
    return true;
}

/* "CST", "<+0330>" */
static bool take_zone_name(const char **p)
{
    size_t n;
    if (take_char(p, '<')) {
        n = strcspn(*p, ">");
        *p += n;
        return n >= 1 && take_char(p, '>');
    }
    n = strspn(*p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    *p += n;
    return n >= 3;
}

/* [+-]h[h][:mm[:ss]] */
static bool take_time(const char **p, int max_hours, int32_t *out)
{
    int sign = **p == '-' ? -1 : 1;
    if (**p == '-' || **p == '+')
        (*p)++;
    int h, m = 0, s = 0;
    if (!take_number(p, max_hours, &h))
        return false;
    if (take_char(p, ':')) {
        if (!take_number(p, 59, &m))
            return false;
        if (take_char(p, ':') && !take_number(p, 59, &s))
            return false;
    }
    *out = sign * (h * 3600 + m * 60 + s);
    return true;
}

static bool take_rule_day(const char **p, struct rule_day *out)
{
    struct rule_day d = { .time_s = 2 * 3600 };
    if (take_char(p, 'M')) {
        d.kind = DAY_OF_WEEK;
        if (!take_number(p, 12, &d.month) || d.month < 1 || !take_char(p, '.') ||
            !take_number(p, 5, &d.week) || d.week < 1 || !take_char(p, '.') ||
            !take_number(p, 6, &d.day))
            return false;
    } else if (take_char(p, 'J')) {
        d.kind = DAY_JULIAN;
        if (!take_number(p, 365, &d.day) || d.day < 1)
            return false;
    } else {
        d.kind = DAY_ZERO_BASED;
        if (!take_number(p, 365, &d.day))
            return false;
    }
    if (take_char(p, '/') && !take_time(p, 167, &d.time_s))
        return false;
    *out = d;
    return true;
}

/* A POSIX TZ text. Its offsets count westward, ours eastward. */
static bool parse_rule(const char *text, struct rule *out)
{
    struct rule r = { .present = true };
    const char *p = text;
    int32_t west;
    if (!take_zone_name(&p) || !take_time(&p, 24, &west))
        return false;
    r.std_s = -west;
    if (*p) {
        r.has_dst = true;
        r.dst_s = r.std_s + 3600;
        if (!take_zone_name(&p))
            return false;
        if (*p && *p != ',') {
            if (!take_time(&p, 24, &west))
                return false;
            r.dst_s = -west;
        }
        if (!take_char(&p, ',') || !take_rule_day(&p, &r.dst_from) || !take_char(&p, ',') ||
            !take_rule_day(&p, &r.dst_to))
            return false;
    }
    if (*p)
        return false;
    *out = r;
    return true;
}

/* Local seconds since 1970 at which the part of that year begins. */
static int64_t rule_day_s(const struct rule_day *d, int64_t year)
{
    int64_t days = 0;
    switch (d->kind) {
    case DAY_OF_WEEK: {
        int64_t first = civil_to_days(year, d->month, 1);
        int first_weekday = (int)((first + 4) - civil_floor_div(first + 4, 7) * 7); /* 0 Sunday */
        int day = (d->day - first_weekday + 7) % 7 + (d->week - 1) * 7;
        while (day >= civil_month_days(year, d->month)) /* week 5 means the last one */
            day -= 7;
        days = first + day;
        break;
    }
    case DAY_JULIAN: /* 29 February is never counted */
        days = civil_to_days(year, 1, 1) + d->day - 1 + (civil_is_leap(year) && d->day >= 60);
        break;
    case DAY_ZERO_BASED:
        days = civil_to_days(year, 1, 1) + d->day;
        break;
    }
    return days * DAY_S + d->time_s;
}

/* The latest change of the years around decides, which is right for both hemispheres. */
static int32_t rule_offset_s(const struct rule *r, int64_t s)
{
    if (!r->has_dst)
        return r->std_s;
    int64_t year, best = INT64_MIN;
    int month, day;
    int32_t offset = r->std_s;
    civil_from_days(civil_floor_div(s + r->std_s, DAY_S), &year, &month, &day);
    for (int64_t y = year - 1; y <= year + 1; y++) {
        int64_t to = rule_day_s(&r->dst_to, y) - r->dst_s;
        int64_t from = rule_day_s(&r->dst_from, y) - r->std_s;
        if (to <= s && to > best) {
            best = to;
            offset = r->std_s;
        }
        if (from <= s && from >= best) { /* summer time all year: its start wins over its end */
            best = from;
            offset = r->dst_s;
        }
    }
    return offset;
}

/* --- the file
 * -------------------------------------------------------------------------------------- */

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t be64(const unsigned char *p)
{
    return (uint64_t)be32(p) << 32 | be32(p + 4);
}

#define HEADER_SIZE 44
struct header {
    uint32_t isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt;
};

/* The header at p, and the size of the block behind it whose times have time_size bytes. */
static bool read_header(const unsigned char *p, size_t left, size_t time_size, struct header *h,
                        size_t *block_out)
{
    if (left < HEADER_SIZE || memcmp(p, "TZif", 4) != 0 || p[4] < '2')
        return false;
    *h = (struct header){ be32(p + 20), be32(p + 24), be32(p + 28),
                          be32(p + 32), be32(p + 36), be32(p + 40) };
    if (h->timecnt > FILE_MAX || h->leapcnt > FILE_MAX || h->typecnt > 256 ||
        h->charcnt > FILE_MAX || h->isstdcnt > 256 || h->isutcnt > 256)
        return false;
    *block_out = (size_t)h->timecnt * (time_size + 1) + (size_t)h->typecnt * 6 + h->charcnt +
                 (size_t)h->leapcnt * (time_size + 4) + h->isstdcnt + h->isutcnt;
    return *block_out <= left - HEADER_SIZE;
}

static bool read_type(const unsigned char *types, const struct header *h, unsigned index,
                      int32_t *offset_out)
{
    if (index >= h->typecnt)
        return false;
    int32_t offset = (int32_t)be32(types + (size_t)index * 6);
    if (offset <= -OFFSET_MOST_S || offset >= OFFSET_MOST_S)
        return false;
    *offset_out = offset;
    return true;
}

static bool read_transitions(struct tz *tz, const unsigned char *p, const struct header *h)
{
    const unsigned char *index = p + (size_t)h->timecnt * 8;
    const unsigned char *types = index + h->timecnt;
    if (!read_type(types, h, 0, &tz->first_s))
        return false;
    tz->at_s = calloc((size_t)h->timecnt + 1, sizeof(*tz->at_s));
    tz->offset_s = calloc((size_t)h->timecnt + 1, sizeof(*tz->offset_s));
    if (!tz->at_s || !tz->offset_s)
        return false;
    for (size_t i = 0; i < h->timecnt; i++) {
        tz->at_s[i] = (int64_t)be64(p + i * 8);
        if (i > 0 && tz->at_s[i] <= tz->at_s[i - 1])
            return false;
        if (!read_type(types, h, index[i], &tz->offset_s[i]))
            return false;
    }
    tz->n = h->timecnt;
    return true;
}

/* "\n<rule>\n" at the end; an empty rule means that none is known. */
static bool read_footer(struct tz *tz, const unsigned char *p, size_t left)
{
    char text[128];
    if (left < 2 || p[0] != '\n')
        return false;
    const unsigned char *end = memchr(p + 1, '\n', left - 1);
    size_t len = end ? (size_t)(end - p - 1) : sizeof(text);
    if (len >= sizeof(text))
        return false;
    memcpy(text, p + 1, len);
    text[len] = '\0';
    return len == 0 || parse_rule(text, &tz->rule);
}

static bool parse_file(struct tz *tz, const unsigned char *data, size_t size)
{
    struct header h;
    size_t block;
    if (!read_header(data, size, 4, &h, &block)) /* the 32-bit block is only stepped over */
        return false;
    const unsigned char *second = data + HEADER_SIZE + block;
    size_t left = size - HEADER_SIZE - block;
    if (!read_header(second, left, 8, &h, &block))
        return false;
    if (h.leapcnt > 0) /* "right/..." zones count leap seconds; our instants do not */
        return false;
    return read_transitions(tz, second + HEADER_SIZE, &h) &&
           read_footer(tz, second + HEADER_SIZE + block, left - HEADER_SIZE - block);
}

/* The whole file, malloc()ed; NULL when it cannot be read or is too big to be a zone. */
static unsigned char *read_zone_file(const char *name, size_t *size_out)
{
    char path[512];
    const char *dir = getenv("TZDIR"); /* as for the C library; nobody changes it in a daemon */
    int n = snprintf(path, sizeof(path), "%s/%s", dir && *dir ? dir : "/usr/share/zoneinfo", name);
    if (n < 0 || (size_t)n >= sizeof(path))
        return NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    unsigned char *data = fd >= 0 ? malloc(FILE_MAX) : NULL;
    size_t size = 0;
    ssize_t got = -1;
    while (data && size < FILE_MAX && (got = read(fd, data + size, FILE_MAX - size)) > 0)
        size += (size_t)got;
    if (fd >= 0)
        close(fd);
    if (!data || got != 0) {
        free(data);
        return NULL;
    }
    *size_out = size;
    return data;
}

static void free_zone(struct tz *tz)
{
    if (!tz)
        return;
    free(tz->at_s);
    free(tz->offset_s);
    free(tz);
}

static struct tz *load_zone(const char *name)
{
    size_t size;
    unsigned char *data = read_zone_file(name, &size);
    struct tz *tz = data ? calloc(1, sizeof(*tz)) : NULL;
    if (tz) {
        memcpy(tz->name, name, strlen(name)); /* the length is checked, the rest is zero */
        if (!parse_file(tz, data, size)) {
            free_zone(tz);
            tz = NULL;
        }
    }
    free(data);
    return tz;
}

/* Keeps a name from leading out of the folder of zones. */
static bool name_is_good(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789_+-/";
    size_t len = strlen(name);
    return len > 0 && len <= NAME_MAX_LEN && name[0] != '/' && strspn(name, allowed) == len;
}

static const struct tz *find_loaded(const char *name)
{
    const struct tz *tz = atomic_load_explicit(&zones, memory_order_acquire);
    while (tz && strcmp(tz->name, name) != 0)
        tz = tz->next;
    return tz;
}

const struct tz *tz_find(const char *name)
{
    if (!name || !name_is_good(name))
        return NULL;
    const struct tz *found = find_loaded(name);
    if (found)
        return found;

    pthread_mutex_lock(&loading);
    found = find_loaded(name); /* somebody may have loaded it meanwhile */
    if (!found) {
        struct tz *tz = load_zone(name);
        if (tz) {
            tz->next = atomic_load_explicit(&zones, memory_order_relaxed);
            atomic_store_explicit(&zones, tz, memory_order_release);
        }
        found = tz;
    }
    pthread_mutex_unlock(&loading);
    return found;
}

/* --- instants and days
 * ------------------------------------------------------------------------------ */

static int32_t offset_at_s(const struct tz *tz, int64_t s)
{
    if (tz->n == 0 || s < tz->at_s[0])
        return tz->n == 0 && tz->rule.present ? rule_offset_s(&tz->rule, s) : tz->first_s;
    if (s >= tz->at_s[tz->n - 1])
        return tz->rule.present ? rule_offset_s(&tz->rule, s) : tz->offset_s[tz->n - 1];
    size_t low = 0, high = tz->n - 1; /* at_s[low] <= s < at_s[high] */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (tz->at_s[middle] <= s)
            low = middle;
        else
            high = middle;
    }
    return tz->offset_s[low];
}

int32_t tz_offset_s(const struct tz *tz, int64_t us)
{
    return offset_at_s(tz, civil_floor_div(us, SECOND_US));
}

static int64_t local_s(const struct tz *tz, int64_t us)
{
    int64_t s = civil_floor_div(us, SECOND_US);
    return s + offset_at_s(tz, s);
}

struct date tz_date(const struct tz *tz, int64_t us)
{
    return date_from_number((int32_t)civil_floor_div(local_s(tz, us), DAY_S));
}

int tz_minute_of_day(const struct tz *tz, int64_t us)
{
    int64_t s = local_s(tz, us);
    return (int)((s - civil_floor_div(s, DAY_S) * DAY_S) / 60);
}

int64_t tz_instant(const struct tz *tz, struct date d, int minute)
{
    int64_t local = (int64_t)date_number(d) * DAY_S + (int64_t)minute * 60;
    /* The offsets that hold a day before and a day after; a change lies between when they differ.
     */
    int32_t before = offset_at_s(tz, local - DAY_S);
    int32_t after = offset_at_s(tz, local + DAY_S);
    int64_t with_before = local - before;
    int64_t with_after = local - after;
    /* `before` first: of a time that occurs twice it gives the first, and of one that does not
     * exist the one a gap later. */
    if (before != after && offset_at_s(tz, with_before) != before &&
        offset_at_s(tz, with_after) == after)
        return with_after * SECOND_US;
    return with_before * SECOND_US;
}

int32_t date_number(struct date d)
{
    return (int32_t)civil_to_days(d.year, d.month, d.day);
}

struct date date_from_number(int32_t n)
{
    int64_t year;
    int month, day;
    civil_from_days(n, &year, &month, &day);
    if (year > INT16_MAX)
        return (struct date){ INT16_MAX, 12, 31 };
    if (year < INT16_MIN)
        return (struct date){ INT16_MIN, 1, 1 };
    return (struct date){ (int16_t)year, (int8_t)month, (int8_t)day };
}

struct date date_add(struct date d, int32_t days)
{
    int32_t n;
    if (__builtin_add_overflow(date_number(d), days, &n))
        n = days < 0 ? INT32_MIN : INT32_MAX;
    return date_from_number(n);
}

int date_weekday(struct date d)
{
    int64_t n = (int64_t)date_number(d) + 3; /* 1970-01-01 was a Thursday */
    return (int)(n - civil_floor_div(n, 7) * 7) + 1;
}

char *date_format(struct date d, char buf[static DATE_TEXT_MAX])
{
    int year = MAX(MIN((int)d.year, 9999), 0); /* what YYYY can say */
    unsigned month = (unsigned)d.month % 100, day = (unsigned)d.day % 100;
    (void)snprintf(buf, DATE_TEXT_MAX, "%04u-%02u-%02u", (unsigned)year % 10000, month, day);
    return buf;
}

static bool take_fixed(const char **p, int digits, int *out)
{
    int v = 0;
    for (int i = 0; i < digits; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return false;
        v = v * 10 + (**p - '0');
    }
    *out = v;
    return true;
}

bool date_parse(const char *text, struct date *out)
{
    const char *p = text;
    int year, month, day;
    if (!text || !take_fixed(&p, 4, &year) || !take_char(&p, '-') || !take_fixed(&p, 2, &month) ||
        !take_char(&p, '-') || !take_fixed(&p, 2, &day) || *p)
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > civil_month_days(year, month))
        return false;
    *out = (struct date){ (int16_t)year, (int8_t)month, (int8_t)day };
    return true;
}
