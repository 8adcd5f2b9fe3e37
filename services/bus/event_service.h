/*
 * event_service.h - EventService: reading the log, by the ordinary worker threads of the process,
 * which register at their own broker over inproc.
 *
 * A system principal without a tenant reads everything, and so does an edge for itself. All others read their tenant's events; of
 * its people only those who see the whole company (authority.h), of its service accounts those with
 * the scope events.read.
 */
#ifndef DAYBOOK_BUS_EVENT_SERVICE_H
#define DAYBOOK_BUS_EVENT_SERVICE_H

#include "common/call.h"

extern const struct method event_service_methods[];
extern const size_t event_service_methods_len;

#endif
