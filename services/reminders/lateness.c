/*
 * lateness.c - see lateness.h.
 */
#include "services/reminders/lateness.h"

bool lateness_note(struct lateness *l, int64_t real_us, int64_t domain_us)
{
    bool was_away = l->nsamples == 0 || real_us - l->now.real_us > LATE_AFTER_US;

    l->now = (struct lateness_sample){ real_us, domain_us };
    if (l->nsamples == 0 ||
        real_us - l->samples[(l->nsamples - 1) % LATENESS_SAMPLES].real_us >= LATENESS_SAMPLE_US)
        l->samples[l->nsamples++ % LATENESS_SAMPLES] = l->now;
    return was_away;
}

static int64_t between(struct lateness_sample a, struct lateness_sample b, int64_t real_us)
{
    double part = (double)(real_us - a.real_us) / (double)(b.real_us - a.real_us);

    return a.domain_us + (int64_t)((double)(b.domain_us - a.domain_us) * part);
}

int64_t lateness_before(const struct lateness *l, int64_t start_us)
{
    int64_t wanted_us = l->now.real_us - LATE_AFTER_US;
    size_t n = MIN(l->nsamples, (size_t)LATENESS_SAMPLES);
    struct lateness_sample after = l->now;

    for (size_t i = 1; i <= n; i++) {
        struct lateness_sample s = l->samples[(l->nsamples - i) % LATENESS_SAMPLES];
        if (s.real_us <= wanted_us)
            return between(s, after, wanted_us);
        after = s;
    }
    return after.domain_us - start_us;
}
