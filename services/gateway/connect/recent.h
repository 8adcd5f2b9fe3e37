/*
 * recent.h - the newest events of the log in memory, as the bus publishes them: what streams are
 * served from, without asking anybody.
 *
 * It is contiguous in seq: after a gap, or when the log gets another id, it begins anew. One a loop,
 * and of that thread only.
 */
#ifndef DAYBOOK_GATEWAY_RECENT_H
#define DAYBOOK_GATEWAY_RECENT_H

#include "common/bus_client.h"
#include "common/id.h"

struct recent;

struct recent_event {
    struct id tenant;
    const char *type;
    int64_t seq;
    const void *response; /* a StreamEventsResponse with the event, packed */
    size_t len;
    const char *json; /* the same in JSON; NULL: not made yet, see recent_json() */
    size_t json_len;
};

struct recent *recent_new(void *zmq_context, const struct bus_address *address);
void recent_free(struct recent *r);

int recent_fd(const struct recent *r);
/* Takes what was published. True: something is new. To be run once a turn. */
bool recent_run(struct recent *r);
int64_t recent_wait_us(const struct recent *r); /* until it is to be run again */

/* False: nothing was heard yet, nor whether there is anything. */
bool recent_head(const struct recent *r, struct id *log_id_out, int64_t *seq_out);
/* False: no bus was heard for 3 s; what stands in the log is not heard of here. */
bool recent_is_live(const struct recent *r);
/* The first seq from which on all is held; one past the head when nothing is. */
int64_t recent_first(const struct recent *r);
/* NULL: not held. */
const struct recent_event *recent_get(struct recent *r, int64_t seq);
/* The event as JSON, made once. ERR_OUT_OF_RANGE: not held; ERR_RESOURCE_EXHAUSTED: no memory;
 * ERR_INVALID_ARGUMENT: of a type that this program does not know. */
NODISCARD enum err recent_json(struct recent *r, int64_t seq, const char **json_out,
                               size_t *len_out);

#endif
