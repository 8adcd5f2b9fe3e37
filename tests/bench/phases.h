/*
 * phases.h - load in phases of a rate each, and what became of the requests.
 *
 * "750:5,4500:60,750:15" is 750 requests a second for 5 s, then 4,500 a second for a minute, and so
 * on, whatever is answered meanwhile. A rate of 0 is a closed loop: a request is due as soon as the
 * caller can send one. Latency counts from the moment at which a request was due, so nothing is
 * hidden that waits within the load itself. An answer is good when it is OK and in time.
 */
#ifndef DAYBOOK_BENCH_PHASES_H
#define DAYBOOK_BENCH_PHASES_H

#include "common/base.h"
#include "common/err.h"

struct phases;

struct phases *phases_new(const char *text, int64_t deadline_us); /* dies on nonsense */
void phases_free(struct phases *p);
void phases_begin(struct phases *p, int64_t now_ns);
/* When the next request is due; INT64_MAX after the last. */
int64_t phases_due_ns(const struct phases *p, int64_t now_ns);
/* It is sent; the moment from which its latency counts. */
int64_t phases_send(struct phases *p, int64_t now_ns);
int64_t phases_end_ns(const struct phases *p);
void phases_answer(struct phases *p, int64_t due_ns, int64_t now_ns, enum err code);
/* One line of JSON; what was never answered counts as failed. */
void phases_print(const struct phases *p);

#endif
