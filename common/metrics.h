/*
 * metrics.h - counters, gauges and histograms, shown as Prometheus text (format 0.0.4) or, for who
 * asks for it, as OpenMetrics 1.0 with exemplars: the trace that a bucket counted last.
 *
 * A metric is a static definition; its series appear with the first use of a set of label values.
 * There are at most 2,000 series a process as Prometheus counts them, each bucket of a histogram being one, and histograms have three quarters of them; past
 * that, updates go to one set of labels a metric, each "other". No ids of people, customers or tenants as labels. Updates are lock-free once a series
 * exists. Thread-safe.
 */
#ifndef DAYBOOK_COMMON_METRICS_H
#define DAYBOOK_COMMON_METRICS_H

#include "common/base.h"
#include "common/sbuf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

#define METRIC_LABELS_MAX 3

struct metric {
    const char *name; /* daybook_<subject>_<what>_<unit>[_total] */
    enum metric_type type;
    const char *help;
    const char *labels[METRIC_LABELS_MAX]; /* NULL-filled */
    const double *buckets;                 /* histograms: upper bounds, ended by 0; seconds */
    void *state;                           /* private; NULL at start */
};

extern const double metric_rpc_buckets[];      /* 1 ms to 10 s */
extern const double metric_query_buckets[];    /* 0.5 ms to 5 s, few: there are many statements */
extern const double metric_lateness_buckets[]; /* 10 ms to 2 h */

/* Makes a metric known, so that it is shown from the start. Optional, idempotent. */
void metric_register(struct metric *m);

/* Label values in the order of the definition; NULL when there are none. Borrowed for the call. */
void metric_add(struct metric *m, int64_t n, const char *const *labels);    /* counter */
void metric_set(struct metric *m, double value, const char *const *labels); /* gauge */
/* The same by a difference: for what several threads raise and lower. One that is also set, or freed
 * by metrics_stop() in between, is off from there on. */
void metric_shift(struct metric *m, double by, const char *const *labels);
void metric_observe(struct metric *m, double value, const char *const *labels);
/* The same, of a request that is traced: a traceparent, or "" and NULL for none. */
void metric_observe_traced(struct metric *m, double value, const char *const *labels,
                           const char *traceparent);

/* The whole page. */
void metrics_write(struct sbuf *out);
/* The process_* metrics (CPU, memory, descriptors), which belong below it. */
void metrics_write_process(struct sbuf *out);
/* The same two as OpenMetrics; the end of the page is the caller's: "# EOF". */
void metrics_write_open(struct sbuf *out);
void metrics_write_process_open(struct sbuf *out);
void metrics_stop(void); /* frees all series; for leak-clean exits */

#endif
