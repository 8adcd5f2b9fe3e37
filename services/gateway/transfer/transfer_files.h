/*
 * transfer_files.h - bytes between the loops of HTTP and the database: one thread that waits for
 * PostgreSQL, so that no loop does.
 *
 * A loop has a port. It opens files there, adds bytes or takes some, and hears of news when the port's
 * descriptor is readable. Memory is bounded a file: a loop that is told that it is enough adds no more
 * until there is news, and the thread reads no more than one piece ahead of what was taken.
 *
 * A file is its loop's until transfer_file_leave(); nothing but that ends it. An upload that is left
 * before its end was told leaves nothing behind.
 */
#ifndef DAYBOOK_GATEWAY_TRANSFER_FILES_H
#define DAYBOOK_GATEWAY_TRANSFER_FILES_H

#include "common/daemon.h"
#include "services/gateway/transfer/transfer_store.h"

struct transfer_files;
struct transfer_port;
struct transfer_file;

struct transfer_files *transfer_files_new(const char *conninfo); /* NULL: no memory */
void transfer_files_free(struct transfer_files *f);
/* The thread's body: until the daemon stops and all files are left. */
void transfer_files_run(struct transfer_files *f, struct daemon *d);

struct transfer_port *transfer_port_new(struct transfer_files *f); /* NULL: no memory */
void transfer_port_free(struct transfer_port *p);
int transfer_port_fd(const struct transfer_port *p);
/* The next file of which there is news, with its owner; NULL: none. */
struct transfer_file *transfer_port_next(struct transfer_port *p, void **owner_out);

/* --- uploads --- */

struct transfer_upload {
    const char *collection, *source, *key; /* copied, as all texts */
    bool jsonl, gzip, dry_run, update_owner;
    const PbPrincipal *principal;
    struct id credential; /* nil: a token's */
    const char *remote_address;
};

/* NULL: too many are under way, or no memory. */
struct transfer_file *transfer_upload_open(struct transfer_port *p,
                                           const struct transfer_upload *what, void *owner);
/* False: no more until transfer_upload_wants(). */
bool transfer_upload_add(struct transfer_file *f, const void *data, size_t len);
bool transfer_upload_wants(struct transfer_file *f);
void transfer_upload_end(struct transfer_file *f);

struct transfer_uploaded {
    enum err code;
    char text[200];       /* of an error, for the caller */
    char id[ID_TEXT_MAX]; /* of the import */
    bool replayed;        /* an earlier request made it */
    const char *json;     /* the import; valid until transfer_file_leave() */
};
/* False: it is not over yet. It may be over before its end, with an error. */
bool transfer_upload_result(struct transfer_file *f, struct transfer_uploaded *out);

/* --- downloads --- */

/* NULL: too many are under way, or no memory. */
struct transfer_file *transfer_download_open(struct transfer_port *p, struct transfer_id t,
                                             bool is_export, const struct transfer_reader *who,
                                             void *owner);
/* What it is, once that is known; false: not yet. len and sha256 (hex) are those of all of it. */
bool transfer_download_found(struct transfer_file *f, enum err *code_out, int64_t *len_out,
                             char sha256_out[static 65]);
/* Begins to read those bytes. */
void transfer_download_start(struct transfer_file *f, int64_t from, int64_t len, bool gzip);
/* Moves what is there into `out` (emptied first), and has the next piece read if `more`. False: it
 * broke, whatever was taken. */
bool transfer_download_take(struct transfer_file *f, bool more, struct sbuf *out, bool *end_out);

void transfer_file_leave(struct transfer_file *f);

#endif
