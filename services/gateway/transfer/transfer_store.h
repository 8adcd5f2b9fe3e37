/*
 * transfer_store.h - statements of the threads that move files and do the work. Each call is one
 * transaction. One thread a store.
 */
#ifndef DAYBOOK_GATEWAY_TRANSFER_STORE_H
#define DAYBOOK_GATEWAY_TRANSFER_STORE_H

#include "services/gateway/transfer/transfer.h"

struct transfer_store {
    struct db *db;
    struct arena *arena; /* emptied by each call; what a call hands out is in it */
};

/* False: no memory. */
NODISCARD bool transfer_store_init(struct transfer_store *s, const char *conninfo);
void transfer_store_fini(struct transfer_store *s);

/* Whoever began something must be somebody still, with the key that he began it with (nil: none); what he
 * may do the services judge. NULL: he is; else what has ended. Any thread. */
const char *transfer_gone(const PbPrincipal *who, struct id credential);

struct transfer_id {
    struct id tenant, id;
};

/* A claimed piece of work. */
struct transfer_job {
    struct transfer_id who;
    bool is_export;
    int64_t version;
    int64_t attempts; /* claims since it last came on, with this one */
};

struct transfer_piece {
    const uint8_t *data;
    size_t len; /* 0: the file ends before */
    int64_t at; /* of its first byte */
};

/* The bytes of a file from `at` to the end of a piece. kind: "upload", "result", "file". */
NODISCARD enum err transfer_store_read(struct transfer_store *s, struct transfer_id t,
                                       const char *kind, int64_t at,
                                       struct transfer_piece *piece_out);

/* --- uploads --- */

/* ERR_RESOURCE_EXHAUSTED: too much of the company's waits or is under way. */
NODISCARD enum err transfer_store_open(struct transfer_store *s, struct transfer_id t);
/* It is alive, however slowly it comes. ERR_ABORTED: it was taken for dead. */
NODISCARD enum err transfer_store_touch(struct transfer_store *s, struct transfer_id t);
/* A piece of an upload: TRANSFER_PIECE, or what is left at the end. ERR_ABORTED: it was taken for dead. */
NODISCARD enum err transfer_store_put(struct transfer_store *s, struct transfer_id t, int64_t at,
                                      const void *data, size_t len);
/* Removes an upload that came to nothing; none is no error. */
NODISCARD enum err transfer_store_drop(struct transfer_store *s, struct transfer_id t);

struct transfer_begin {
    const PbImport
        *import; /* with id, collection, format, source, dry_run, update_owner, file_bytes,
                               created_by */
    const char *file_sha256;
    const PbPrincipal *principal;
    struct id credential; /* nil: none */
    const char *remote_address;
    const char *key; /* of repetition; "" = none */
};
/* The import of an earlier request with that key; ERR_NOT_FOUND: none. sha256_out: of its file. */
NODISCARD enum err transfer_store_find_key(struct transfer_store *s, struct id tenant,
                                           const char *created_by, const char *key,
                                           PbImport **import_out, const char **sha256_out);
/* An upload that is whole becomes an import. ERR_ALREADY_EXISTS: the key was used meanwhile;
 * ERR_ABORTED: it was taken for dead, or not all of its import->file_bytes are there. */
NODISCARD enum err transfer_store_begin(struct transfer_store *s, struct transfer_id t,
                                        const struct transfer_begin *begin, PbImport **import_out);

/* --- downloads --- */

/* Length and hash (hex; "" = has not ended) of a result or an export's file. */
NODISCARD enum err transfer_store_file(struct transfer_store *s, struct transfer_id t,
                                       bool is_export, int64_t *len_out, const char **sha256_out);
/* Who fetches a file, and from where; for the log. */
struct transfer_reader {
    struct id actor;
    const char *remote_address, *request_id;
};
/* Writes into the log who fetches what (SEC-01). */
NODISCARD enum err transfer_store_downloaded(struct transfer_store *s, struct transfer_id t,
                                             const struct transfer_reader *who, int64_t from,
                                             int64_t len);

/* --- the work --- */

/* Claims something. ERR_NOT_FOUND: there is nothing. Removes dead uploads by the way. */
NODISCARD enum err transfer_store_claim(struct transfer_store *s, struct transfer_job *job_out);
/* ERR_CANCELED in all of the following: it is another's by now. cancel_out: somebody wants it to end. */
NODISCARD enum err transfer_store_keep(struct transfer_store *s, const struct transfer_job *job,
                                       bool *cancel_out);
/* others_out: other companies wait for their turn. */
NODISCARD enum err transfer_store_others(struct transfer_store *s, struct id tenant,
                                         bool *others_out);
/* Other companies come first then. */
NODISCARD enum err transfer_store_give_back(struct transfer_store *s,
                                            const struct transfer_job *job);

struct transfer_import_state {
    PbImport *import;
    const PbPrincipal *principal;
    struct id credential;       /* nil: none */
    const char *remote_address; /* whence he sent it; "": not known */
    int64_t batches;
};
NODISCARD enum err transfer_store_load_import(struct transfer_store *s,
                                              const struct transfer_job *job,
                                              struct transfer_import_state *out);
struct transfer_export_state {
    PbExport *export;
    const PbPrincipal *principal;
    int64_t pages;
    const char *page_token;
    const char *remote_address;
};
NODISCARD enum err transfer_store_load_export(struct transfer_store *s,
                                              const struct transfer_job *job,
                                              struct transfer_export_state *out);

/* What has come of it so far, with the next piece of its result. cancel_out: somebody wants it to
 * end. import->result_bytes counts the piece. */
NODISCARD enum err transfer_store_import_progress(struct transfer_store *s,
                                                  const struct transfer_job *job,
                                                  const PbImport *import, int64_t batches,
                                                  const void *piece, size_t len, bool *cancel_out);
NODISCARD enum err transfer_store_export_progress(struct transfer_store *s,
                                                  const struct transfer_job *job,
                                                  const PbExport *export, int64_t pages,
                                                  const char *page_token, const void *piece,
                                                  size_t len, bool *cancel_out);

struct transfer_end {
    int state; /* of TransferState */
    const char *sha256;
    enum err code; /* ERR_OK: no error */
    const char *message;
};
/* With its event. */
NODISCARD enum err transfer_store_finish(struct transfer_store *s, const struct transfer_job *job,
                                         const struct transfer_end *end);

/* Deletes some pieces of each file that nobody needs any more: a large file in one statement would take
 * longer than a statement may. more_out: call again. */
NODISCARD enum err transfer_store_clear(struct transfer_store *s, bool *more_out);
/* Ends what waits for approval no more, and deletes of each company what has expired, but for the files' pieces. The first error; one company's trouble is not the others'. */
NODISCARD enum err transfer_store_sweep(struct transfer_store *s, const struct directory *dir);

#endif
