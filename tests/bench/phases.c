/*
 * phases.c - see phases.h.
 */
#include "tests/bench/phases.h"

#include "common/num.h"
#include "tests/bench/gear.h"
#include "tests/bench/hist.h"

#define PHASES_MAX 8
#define SECONDS_MAX 512

struct phase {
    double rate;
    int64_t begin_ns, end_ns;
    /* by when they were due */
    uint64_t sent, ok, late, refused;
    struct hist latency, refusal; /* of OK answers; of refusals */
    uint64_t good_came;           /* good ones, by when they came */
};

/* One second of the whole, by when requests were due. */
struct second {
    uint64_t sent, good;
    struct hist latency;
};

struct phases {
    struct phase phase[PHASES_MAX];
    size_t n;
    int64_t deadline_ns, begin_ns, due_ns;
    struct second second[SECONDS_MAX];
};

static double number_before(const char **text, char end)
{
    char one[32];
    double v;
    size_t len = strcspn(*text, ":,");
    if (len >= sizeof one || ((*text)[len] && (*text)[len] != end))
        die("phases are rate:seconds,... and not '%s'", *text);
    memcpy(one, *text, len);
    one[len] = '\0';
    if (!num_double(one, &v) || v < 0)
        die("'%s' is no rate and no time", one);
    *text += len + ((*text)[len] != '\0');
    return v;
}

struct phases *phases_new(const char *text, int64_t deadline_us)
{
    struct phases *p = calloc(1, sizeof *p);
    int64_t at_ns = 0;
    if (!p)
        die("out of memory");
    p->deadline_ns = deadline_us * 1000;
    while (*text) {
        if (p->n == PHASES_MAX)
            die("at most %d phases", PHASES_MAX);
        struct phase *f = &p->phase[p->n++];
        f->rate = number_before(&text, ':');
        f->begin_ns = at_ns;
        f->end_ns = at_ns += (int64_t)(number_before(&text, ',') * 1e9);
    }
    if (p->n == 0 || at_ns > INT64_C(1000000000) * SECONDS_MAX)
        die("phases take up to %d s", SECONDS_MAX);
    return p;
}

void phases_free(struct phases *p)
{
    free(p);
}

void phases_begin(struct phases *p, int64_t now_ns)
{
    p->begin_ns = p->due_ns = now_ns;
    for (size_t i = 0; i < p->n; i++) {
        p->phase[i].begin_ns += now_ns;
        p->phase[i].end_ns += now_ns;
    }
}

int64_t phases_end_ns(const struct phases *p)
{
    return p->phase[p->n - 1].end_ns;
}

/* The phase of that moment; the last one after its end. */
static size_t phase_at(const struct phases *p, int64_t at_ns)
{
    size_t i = 0;
    while (i + 1 < p->n && at_ns >= p->phase[i].end_ns)
        i++;
    return i;
}

int64_t phases_due_ns(const struct phases *p, int64_t now_ns)
{
    int64_t due_ns = p->phase[phase_at(p, now_ns)].rate > 0 ? p->due_ns : MAX(p->due_ns, now_ns);
    return due_ns < phases_end_ns(p) ? due_ns : INT64_MAX;
}

int64_t phases_send(struct phases *p, int64_t now_ns)
{
    int64_t due_ns = phases_due_ns(p, now_ns);
    struct phase *f = &p->phase[phase_at(p, due_ns)];
    f->sent++;
    p->second[(due_ns - p->begin_ns) / 1000000000].sent++;
    p->due_ns = f->rate > 0 ? due_ns + (int64_t)(1e9 / f->rate) : due_ns;
    return due_ns;
}

static bool is_refusal(enum err code)
{
    return code == ERR_RESOURCE_EXHAUSTED || code == ERR_UNAVAILABLE;
}

void phases_answer(struct phases *p, int64_t due_ns, int64_t now_ns, enum err code)
{
    struct phase *f = &p->phase[phase_at(p, due_ns)], *came = &p->phase[phase_at(p, now_ns)];
    struct second *s = &p->second[(due_ns - p->begin_ns) / 1000000000];
    int64_t took_ns = now_ns - due_ns;
    if (is_refusal(code)) {
        f->refused++;
        hist_add(&f->refusal, took_ns);
        return;
    }
    if (code)
        return; /* among the failed */
    bool late = took_ns > p->deadline_ns;
    f->ok++;
    f->late += late;
    s->good += !late;
    came->good_came += !late && now_ns < came->end_ns;
    hist_add(&f->latency, took_ns);
    hist_add(&s->latency, took_ns);
}

static void print_phase(const struct phase *f)
{
    double seconds = (double)(f->end_ns - f->begin_ns) / 1e9;
    printf("{\"offered\":%.1f,\"sent\":%.1f,\"goodput\":%.1f,\"ok\":%" PRIu64 ",\"late\":%" PRIu64
           ",\"refused\":%" PRIu64 ",\"failed\":%" PRIu64 ",",
           f->rate, (double)f->sent / seconds, (double)f->good_came / seconds, f->ok, f->late,
           f->refused, f->sent - f->ok - f->refused);
    hist_print(&f->latency, "");
    fputs(",", stdout);
    hist_print(&f->refusal, "refusal_");
    fputs("}", stdout);
}

void phases_print(const struct phases *p)
{
    fputs("{\"phases\":[", stdout);
    for (size_t i = 0; i < p->n; i++) {
        fputs(i ? "," : "", stdout);
        print_phase(&p->phase[i]);
    }
    fputs("],\"seconds\":[", stdout);
    int64_t n = (phases_end_ns(p) - p->begin_ns + 999999999) / 1000000000;
    for (int64_t i = 0; i < n; i++)
        printf("%s{\"sent\":%" PRIu64 ",\"good\":%" PRIu64 ",\"p99_us\":%.1f}", i ? "," : "",
               p->second[i].sent, p->second[i].good, hist_us(&p->second[i].latency, 0.99));
    puts("]}");
}
