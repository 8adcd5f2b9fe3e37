/*
 * trace_internal.h - what trace.c (spans and their ring) and trace_export.c (from the ring to the
 * collector) share, and what unit tests use to see spans without a collector.
 */
#ifndef DAYBOOK_COMMON_TRACE_INTERNAL_H
#define DAYBOOK_COMMON_TRACE_INTERNAL_H

#include "common/sbuf.h"
#include "common/trace.h"

#define TRACE_RING_SPANS 4096
#define TRACE_BATCH_SPANS 512

/* Makes the ring and turns tracing on. False: no memory. */
NODISCARD bool trace_ring_open(const struct trace_sampler *sampler);
/* Turns tracing off; what is in the ring is counted as dropped. */
void trace_ring_close(void);
/* Takes up to `max` spans, the oldest first. */
size_t trace_ring_take(struct span *out, size_t max);
/* Waits until a batch is there, `until_us` (monotonic) or trace_ring_wake(). */
void trace_ring_wait(int64_t until_us);
/* Ends the present wait and all that follow. */
void trace_ring_wake(void);
void trace_count_dropped(size_t n);

/* An ExportTraceServiceRequest in OTLP's JSON: head, spans parted by commas, tail. */
void trace_write_head(struct sbuf *out, const struct trace_config *config);
void trace_write_span(struct sbuf *out, const struct span *s);
void trace_write_tail(struct sbuf *out);

#endif
