/*
 * transfer_files_internal.h - what transfer_files.c, transfer_upload.c and transfer_download.c share.
 * Nobody else includes it.
 */
#ifndef DAYBOOK_GATEWAY_TRANSFER_FILES_INTERNAL_H
#define DAYBOOK_GATEWAY_TRANSFER_FILES_INTERNAL_H

#include <pthread.h>
#include <sodium.h>
#include <zlib.h>

#include "common/mailbox.h"
#include "common/sbuf.h"
#include "services/gateway/transfer/transfer_files.h"

struct transfer_port {
    struct transfer_files *files;
    struct mailbox box; /* rings only */
};

struct transfer_file {
    struct transfer_file *next;
    struct transfer_port *port;
    void *owner;
    bool is_upload;
    /* under the lock */
    bool left;      /* its loop wants nothing more of it */
    bool news;      /* for the loop */
    bool asked;     /* the loop waits for room, or for bytes */
    bool over;      /* the thread is done with it */
    struct sbuf in; /* of an upload: came, and not taken yet */
    bool ended;     /* of an upload: all came */
    struct transfer_uploaded uploaded;
    bool found, started; /* of a download */
    enum err code;
    int64_t len;
    char sha256[65];
    struct sbuf out; /* of a download: read, and not taken yet */
    /* the thread's, once handed over */
    struct arena *arena;
    struct transfer_id id;
    struct sbuf taken;
    bool is_export;
    struct transfer_reader reader; /* of an upload: the actor only, who sends it */
    int64_t from, at, until;
    bool gzip, packing;
    z_stream z;
    struct upload *upload;
};

struct transfer_files {
    pthread_mutex_t lock; /* of all files' parts above; never held while waiting */
    struct mailbox box;   /* wakes the thread; rings only */
    struct transfer_file *first;
    size_t count;
    bool closed;
    struct transfer_store store;
    void (*emitted)(void *arg); /* events were committed */
    void (*begun)(void *arg);   /* an import waits to be done */
    void *arg;
};

/* --- transfer_upload.c --- */

/* False: no memory. */
NODISCARD bool transfer_upload_init(struct transfer_file *x, const struct transfer_upload *what);
void transfer_upload_fini(struct transfer_file *x);
/* What came (x->taken) goes into the database; at the end an import begins. True: it is over, by an
 * error or a good end, and *result_out says which. */
bool transfer_upload_step(struct transfer_store *s, struct transfer_file *x, bool ended,
                          struct transfer_uploaded *result_out);
/* Removes what was written of an upload that is not whole. */
void transfer_upload_bury(struct transfer_store *s, struct transfer_file *x);

/* --- transfer_download.c --- */

void transfer_download_fini(struct transfer_file *x);
/* Length and hash. */
NODISCARD enum err transfer_download_find(struct transfer_store *s, struct transfer_file *x);
/* The next piece into x->taken. */
NODISCARD enum err transfer_download_step(struct transfer_store *s, struct transfer_file *x,
                                          bool *over_out, bool *emitted_out);

#endif
