/*
 * transfer_threads.h - files in and out within the daemon: who does the work.
 */
#ifndef DAYBOOK_GATEWAY_TRANSFER_THREADS_H
#define DAYBOOK_GATEWAY_TRANSFER_THREADS_H

#include "common/daemon.h"

/* A body of a thread: claims imports and exports and does them, one after the other. */
void transfer_run_work(struct daemon *d);
/* A body of a thread: deletes what has expired. */
void transfer_run_chores(struct daemon *d);
/* Once, before the first. */
void transfer_register_metrics(void);

#endif
