/*
 * samples.h - the requests that the load is made of, packed beforehand.
 *
 * The bench's company: one general manager and `employees` reps (ids 00000000-0000-7000-8000-<n>,
 * n from 1; 0 is the manager), `customers` customers whose ids are the number itself in the last
 * digits of a UUID, so that pgbench can make them too; customer n belongs to rep n mod employees
 * + 1.
 */
#ifndef DAYBOOK_BENCH_SAMPLES_H
#define DAYBOOK_BENCH_SAMPLES_H

#include "common/bus_client.h"

#define BENCH_TENANT "00000000-0000-7000-9000-000000000001"
#define BENCH_UNIT "00000000-0000-7000-a000-000000000001"
#define REQUEST_ID_LEN 32

struct sample {
    const uint8_t *context; /* request id: the REQUEST_ID_LEN bytes after the first two */
    size_t context_len;
    const uint8_t *message;
    size_t message_len;
};

struct samples {
    const char *service, *method;
    struct sample *item;
    size_t n;
};

struct samples_def {
    const char *kind; /* echo, record, question, list */
    const char *service;
    size_t bytes; /* of an echo; of the content of a record */
    size_t customers, employees;
    const char *tenant;
    uint32_t deadline_ms;
};

/* Dies on an unknown kind. In the arena. */
struct samples samples_make(const struct samples_def *def, struct arena *a);

/* Makes the company (not its customers) by calls; repeatable. */
void samples_found_company(struct bus_client *c, const char *tenant, size_t employees,
                           struct arena *a);

#endif
