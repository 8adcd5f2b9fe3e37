/*
 * admin_ask.h - one page of a daemon's admin listener (common/admin.h), over HTTP/1.1, bounded in
 * time and size.
 */
#ifndef DAYBOOK_CLI_ADMIN_ASK_H
#define DAYBOOK_CLI_ADMIN_ASK_H

#include "common/sbuf.h"

/* The page's body in out. The HTTP status; 0: no answer. address: see net.h. */
int admin_ask(const char *address, const char *path, int timeout_ms, struct sbuf *out);

/*
 * Sums the samples of a family of a Prometheus page; label: NULL = all, else only samples that hold
 * it (`consumer="visits"`). False: there is none.
 */
bool admin_metric(const char *page, const char *name, const char *label, double *out);

/*
 * The q-th part (0 to 1) of what a histogram counted between two pages of one daemon, over all its
 * series, as Prometheus interpolates it: within the bucket, in the unit of its bounds. before: ""
 * counts from the start. False: nothing was counted.
 */
bool admin_quantile(const char *before, const char *page, const char *name, double q, double *out);

#endif
