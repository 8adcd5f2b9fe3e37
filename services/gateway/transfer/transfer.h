/*
 * transfer.h - files in and out (protocols H.6, CUS-31, SEC-01): what the parts share.
 *
 *   transfer_http.c     routes of a loop: uploads, downloads, imports and exports to look at
 *   transfer_files.c    the thread between loops and the database: bytes in, bytes out
 *   transfer_rows.c     a file's rows, from CSV or JSON Lines; pure
 *   transfer_import.c   an import under way: batches asked over the bus, results written down
 *   transfer_export.c   an export under way: pages asked over the bus, the file written
 *   transfer_threads.c  who does the work: claims, ends, chores
 *   transfer_store.c    statements of all these threads
 *   import_service.c, export_service.c   handlers of ImportService and ExportService
 *
 * A file lives in the gateway's schema in pieces, so that it is there after a restart and for every
 * replica. What is under way is a row of transfer_work, which a replica claims for 15 s at a time;
 * each write proves that the claim is still its own (version), so a replica that slept does nothing.
 */
#ifndef DAYBOOK_GATEWAY_TRANSFER_H
#define DAYBOOK_GATEWAY_TRANSFER_H

#include "common/call.h"
#include "daybook/gateway/v1/events.pb-c.h"
#include "daybook/gateway/v1/transfer.pb-c.h"

typedef Daybook__Gateway__V1__Import PbImport;
typedef Daybook__Gateway__V1__Export PbExport;

#define TRANSFER_STATE(name) DAYBOOK__GATEWAY__V1__TRANSFER_STATE__TRANSFER_STATE_##name
#define TRANSFER_FORMAT(name) DAYBOOK__GATEWAY__V1__TRANSFER_FORMAT__TRANSFER_FORMAT_##name

#define TRANSFER_KEEP_US (7 * DAY_US)
#define TRANSFER_FILE_MAX                                                                          \
    ((int64_t)2048 * (int64_t)MIB) /* of an upload, as it comes and unzipped */
#define TRANSFER_WAITING_MAX "32"  /* of a company, that wait or are under way */
#define TRANSFER_PIECE (256 * KIB) /* of an upload, in a row */

/* Tells every replica that something waits to be done. */
#define WAKE_TRANSFERS "gateway.transfers"

extern const struct method import_methods[], export_methods[];
extern const size_t import_methods_len, export_methods_len;

call_handler import_get, import_list, import_cancel;
call_handler export_create, export_approve, export_get, export_list, export_cancel;

/* In the metadata of an answer about something that goes on: when to ask again. */
void transfer_hint_poll(struct call *call, int state);

#endif
