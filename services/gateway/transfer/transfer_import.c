/*
 * transfer_import.c - an import under way: the rows of its file become batches, each is asked as one
 * command on behalf of who sent the file, and what came of it is written down batch by batch, in the
 * order of the file.
 *
 * Which rows a batch has follows from the file alone, and a batch's key of repetition from the import
 * and its number. So after a crash the file is read again from its beginning, batches that are through
 * are passed over, and one that was under way is asked again under its key: it gets the answer that was
 * lost, and nothing is done twice. While one batch is under way the next is read.
 */
#include "common/clock.h"
#include "common/import_batch.h"
#include "common/log.h"
#include "common/retry.h"
#include "google/rpc/error_details.pb-c.h"
#include "services/gateway/transfer/transfer_rows.h"
#include "services/gateway/transfer/transfer_work.h"

#define SLOTS_MAX 5
#define ANSWER_ARENA (32 * MIB)
#define LISTEN_US SECOND_US
#define PRUNES_MAX 20
/* Each leaves a line in the result, which may take fifty times the bytes of the row itself. */
#define INVALID_MAX 100000
#define LINE_END "\r\n"

typedef Google__Rpc__Status PbStatus;

#define OUTCOME(name) DAYBOOK__CUSTOMERS__V1__IMPORT_OUTCOME__IMPORT_OUTCOME_##name

enum slot_state {
    SLOT_FREE,
    SLOT_READY, /* to be sent, from at_us on */
    SLOT_SENT,  /* answered before at_us, or asked again */
    SLOT_DONE,
};

struct slot {
    enum slot_state state;
    struct import_batch batch;
    const ProtobufCMessage *request; /* NULL: nothing to send */
    char key[80], request_id[ID_TEXT_MAX];
    int tries, prunes;
    int64_t at_us;
    struct transfer_refusals refusals;
};

struct importer {
    struct transfer_worker *w;
    const struct transfer_job *job;
    struct arena *arena;  /* of the whole job */
    struct arena *answer; /* of the answer at hand */
    PbImport *import;
    const PbPrincipal *principal;
    struct id credential;
    const char *remote_address;
    const struct import_kind *kind;
    struct transfer_rows *rows;
    struct import_wish wish;
    crypto_hash_sha256_state hash; /* of the result */
    /* the upload, as it is read */
    uint8_t *piece;
    size_t piece_len, piece_at;
    int64_t file_at;
    enum err trouble; /* while it was read */

    struct slot slots[SLOTS_MAX]; /* batch n is in slot n % nslots */
    size_t nslots, on_the_way;
    int64_t next_fill, next_settle, skip; /* batch numbers */
    bool at_end;
    bool broken;    /* the file cannot be read on; `why` */
    bool stopped;   /* nothing is sent any more */
    bool turn_over; /* the same, and another company is next when what is on its way has come */
    char why[300];
    bool cancelled;
};

/* --- reading ------------------------------------------------------------------------------------ */

static bool load_piece(struct importer *im)
{
    struct transfer_piece piece;

    im->trouble = transfer_store_read(&im->w->store, im->job->who, "upload", im->file_at, &piece);
    if (!im->trouble && !piece.len && im->file_at < im->import->file_bytes)
        im->trouble = ERR_DATA_LOSS;
    if (im->trouble || piece.len > TRANSFER_PIECE)
        return false;
    if (piece.len)
        memcpy(im->piece, piece.data, piece.len);
    im->piece_len = piece.len;
    im->piece_at = 0;
    im->file_at += (int64_t)piece.len;
    return true;
}

static ptrdiff_t read_upload(void *arg, void *buf, size_t size)
{
    struct importer *im = arg;

    if (im->piece_at == im->piece_len && !load_piece(im))
        return -1;
    size_t n = MIN(size, im->piece_len - im->piece_at);
    memcpy(buf, im->piece + im->piece_at, n);
    im->piece_at += n;
    return (ptrdiff_t)n;
}

static bool open_slot(struct importer *im, struct slot *s)
{
    *s = (struct slot){ .batch = s->batch };
    return import_batch_open(&s->batch, im->kind, im->kind->batch, im->next_fill);
}

/* False: out of memory. */
static bool take_row(struct import_batch *b, const struct transfer_row *row, bool good)
{
    struct import_line *l = import_batch_line(b, row->line, row->external_id);

    return l && (good ? import_batch_row(b, l, row->message)
                      : import_batch_refuse(b, l, row->field, row->reason));
}

static bool make_request(struct importer *im, struct slot *s)
{
    char id[ID_TEXT_MAX];

    s->request = im->kind->request(s->batch.arena, s->batch.rows, s->batch.nrows, im->wish);
    if (s->prunes)
        snprintf(s->key, sizeof(s->key), "import-%s-%" PRId64 "-%d", id_text(im->job->who.id, id),
                 s->batch.number, s->prunes);
    else
        snprintf(s->key, sizeof(s->key), "import-%s-%" PRId64, id_text(im->job->who.id, id),
                 s->batch.number);
    return s->request != NULL;
}

/* Fills the next slot from the file. */
static enum err fill(struct importer *im)
{
    struct slot *s = &im->slots[im->next_fill % (int64_t)im->nslots];
    struct import_batch *b = &s->batch;
    struct transfer_row row;

    if (!open_slot(im, s))
        return ERR_RESOURCE_EXHAUSTED;
    while (import_batch_has_room(b) && !im->at_end) {
        enum transfer_rows_result r = transfer_rows_next(im->rows, b->arena, &row);
        if (im->trouble)
            return im->trouble;
        im->at_end = r == TRANSFER_END || r == TRANSFER_FAILED;
        if (r == TRANSFER_FAILED) {
            im->broken = true;
            snprintf(im->why, sizeof(im->why), "%s", row.reason);
        } else if (r == TRANSFER_FULL) { /* it would be so each time */
            im->broken = im->at_end = true;
            snprintf(im->why, sizeof(im->why), "line %zu and on: takes too much memory", row.line);
        } else if (r != TRANSFER_END && !take_row(b, &row, r == TRANSFER_ROW)) {
            return ERR_RESOURCE_EXHAUSTED;
        }
    }
    if (b->nlines == 0)
        return ERR_OK;
    im->next_fill++;
    if (b->number < im->skip) { /* it is through since before a restart */
        im->next_settle = im->next_fill;
        return ERR_OK;
    }
    s->state = b->nrows ? SLOT_READY : SLOT_DONE;
    return !b->nrows || make_request(im, s) ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* --- asking ------------------------------------------------------------------------------------- */

static void again(struct slot *s, const char *why)
{
    s->state = SLOT_READY;
    s->at_us = clock_monotonic_us() + transfer_again_us(s->tries, why);
}

static void send_slot(struct importer *im, struct slot *s)
{
    const struct bus_request r = {
        .service = im->kind->service,
        .method = im->kind->method,
        .message = s->request,
        .idempotency_key = s->key,
        .request_id = id_text(id_new(), s->request_id),
        .timeout_us = TRANSFER_ASK_US,
        .principal = im->principal,
        .remote_address = im->remote_address,
    };

    s->tries++;
    arena_reset(im->answer);
    if (bus_client_send(im->w->bus, &r, im->answer)) {
        s->refusals.last_us = 0;
        again(s, RETRY_NOT_TAKEN);
        return;
    }
    s->state = SLOT_SENT;
    s->at_us = clock_monotonic_us() + TRANSFER_ASK_US;
    im->on_the_way++;
}

static void send_ready(struct importer *im)
{
    int64_t now_us = clock_monotonic_us();

    for (int64_t n = im->next_settle; n < im->next_fill; n++) {
        struct slot *s = &im->slots[n % (int64_t)im->nslots];
        if (im->on_the_way >= im->kind->window || im->stopped || im->cancelled || im->turn_over)
            return;
        if (s->state == SLOT_READY && s->at_us <= now_us)
            send_slot(im, s);
    }
}

/* --- hearing ------------------------------------------------------------------------------------ */

static struct slot *slot_of(struct importer *im, const char *request_id)
{
    for (size_t i = 0; i < im->nslots; i++)
        if (im->slots[i].state == SLOT_SENT && strcmp(im->slots[i].request_id, request_id) == 0)
            return &im->slots[i];
    return NULL;
}

static const ProtobufCMessageDescriptor *type_of(void *arg, const char *request_id)
{
    struct importer *im = arg;
    return slot_of(im, request_id) ? im->kind->answer_type : NULL;
}

/* An answer that was too large to be kept for its repetition: the rows are judged once more. */
static bool was_not_kept(const PbCallResult *result)
{
    for (size_t i = 0; i < result->n_metadata; i++)
        if (strcmp(result->metadata[i]->key, "idempotent-reply") == 0)
            return true;
    return false;
}

static enum err take_answer(struct importer *im, struct slot *s, const struct bus_answer *answer)
{
    if (was_not_kept(answer->result)) {
        s->prunes++;
        s->state = SLOT_READY;
        s->at_us = 0;
        return make_request(im, s) ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
    }
    bool good = import_batch_take(&s->batch, answer->message);
    s->state = SLOT_DONE;
    return good ? ERR_OK : ERR_INTERNAL;
}

static const Google__Rpc__BadRequest *bad_request(const PbStatus *status, struct arena *a)
{
    for (size_t i = 0; i < status->n_details; i++) {
        const Google__Protobuf__Any *any = status->details[i];
        ProtobufCMessage *m = NULL;
        struct wire_fault fault;
        if (strcmp(any->type_url, "type.googleapis.com/google.rpc.BadRequest") == 0 &&
            !wire_unpack(&google__rpc__bad_request__descriptor, any->value.data, any->value.len,
                         &wire_limits_internal, a, &m, &fault))
            return (const Google__Rpc__BadRequest *)m;
    }
    return NULL;
}

/* "rows[17].contacts": the row; the rest is what is at fault in it. False: it is none. */
static bool row_of(const char *field, size_t n, size_t *row_out, const char **rest_out)
{
    char *end;

    if (strncmp(field, "rows[", 5) != 0)
        return false;
    unsigned long row = strtoul(field + 5, &end, 10);
    if (end == field + 5 || *end != ']' || row >= n)
        return false;
    *row_out = row;
    *rest_out = end[1] == '.' ? end + 2 : end + 1;
    return true;
}

/* Rows without which the request is good; what it is refused for is told of them. */
static size_t mark_bad_rows(struct import_batch *b, const Google__Rpc__BadRequest *bad)
{
    size_t marked = 0, row;
    const char *rest;

    for (size_t i = 0; bad && i < bad->n_field_violations; i++) {
        const Google__Rpc__BadRequest__FieldViolation *v = bad->field_violations[i];
        if (!row_of(v->field, b->nrows, &row, &rest) || !b->rows[row])
            continue;
        if (!import_batch_refuse(b, &b->lines[b->line_of[row]], rest, v->description))
            return 0;
        b->rows[row] = NULL;
        marked++;
    }
    return marked;
}

/* A request that is malformed for the sake of some rows goes on without them. False: it cannot. */
static bool prune(struct importer *im, struct slot *s, const PbStatus *status)
{
    struct import_batch *b = &s->batch;
    size_t kept = 0;

    if (s->prunes >= PRUNES_MAX || !mark_bad_rows(b, bad_request(status, im->answer)))
        return false;
    for (size_t i = 0; i < b->nrows; i++) {
        if (!b->rows[i])
            continue;
        b->line_of[kept] = b->line_of[i];
        b->rows[kept++] = b->rows[i];
    }
    b->nrows = kept;
    s->prunes++;
    s->at_us = 0;
    s->state = kept ? SLOT_READY : SLOT_DONE;
    return !kept || make_request(im, s);
}

/* Nothing can be taken of these rows, nor of those that follow and were not sent yet. */
static void break_off(struct importer *im, struct slot *s, enum err e, const PbStatus *status,
                      enum err *why_out)
{
    if (im->stopped)
        return;
    *why_out = e;
    im->broken = im->at_end = im->stopped = true;
    snprintf(im->why, sizeof(im->why), "line %zu and on: %s", s->batch.lines[0].line,
             status && *status->message ? status->message : err_name(e));
}

static void take_fault(struct importer *im, struct slot *s, enum err e, const PbCallResult *result,
                       enum err *why_out)
{
    const PbStatus *status = result ? result->status : NULL;

    if (e == ERR_INVALID_ARGUMENT && status && prune(im, s, status))
        return;
    if (transfer_may_ask_again(im->w, &s->refusals, e))
        again(s, transfer_why_again(e, result, im->answer));
    else
        break_off(im, s, e, status, why_out);
}

/* Answers that did not come. */
static void expire(struct importer *im, enum err *why_out)
{
    int64_t now_us = clock_monotonic_us();

    for (size_t i = 0; i < im->nslots; i++) {
        struct slot *s = &im->slots[i];
        if (s->state == SLOT_SENT && s->at_us <= now_us) {
            im->on_the_way--;
            s->state = SLOT_READY;
            take_fault(im, s, ERR_DEADLINE_EXCEEDED, NULL, why_out);
        }
    }
}

static int64_t patience_us(const struct importer *im)
{
    int64_t until_us = clock_monotonic_us() + LISTEN_US;

    for (size_t i = 0; i < im->nslots; i++) {
        const struct slot *s = &im->slots[i];
        if (s->state == SLOT_READY && !im->turn_over && im->on_the_way < im->kind->window)
            until_us = MIN(until_us, s->at_us);
    }
    return clock_left_us(until_us);
}

static enum err hear(struct importer *im, enum err *why_out)
{
    struct bus_answer answer = { .result = NULL };

    arena_reset(im->answer);
    enum err e = bus_client_receive(im->w->bus, patience_us(im), im->answer, type_of, im, &answer);
    struct slot *s = answer.result ? slot_of(im, answer.result->request_id) : NULL;
    if (!s) {
        expire(im, why_out);
        return ERR_OK;
    }
    im->on_the_way--;
    s->state = SLOT_READY;
    if (!e && s->tries == 1)
        retry_budget_earn(retry_budget());
    if (!e)
        return take_answer(im, s, &answer);
    take_fault(im, s, e, answer.result, why_out);
    return ERR_OK;
}

/* --- in the order of the file ------------------------------------------------------------------- */

/* A file in which hardly anything is good is not the one that was meant. */
static void judge_faults(struct importer *im)
{
    if (im->stopped || im->cancelled || im->import->invalid <= INVALID_MAX)
        return;
    im->broken = im->at_end = im->stopped = true;
    snprintf(im->why, sizeof(im->why),
             "more than %d rows are faulty: look at the format and the header", INVALID_MAX);
}

static void count(PbImport *import, int outcome)
{
    if (!outcome)
        return; /* not taken */
    import->rows++;
    switch (outcome) {
    case OUTCOME(INSERTED):
        import->inserted++;
        break;
    case OUTCOME(UPDATED):
        import->updated++;
        break;
    case OUTCOME(UNCHANGED):
        import->unchanged++;
        break;
    case OUTCOME(DUPLICATE):
        import->duplicates++;
        break;
    default:
        import->invalid++;
    }
}

/* The result of a batch; header: in front of it. NULL: no memory. */
static char *write_result(const struct import_batch *b, const char *header, size_t *len_out)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len_out);

    if (!out)
        return NULL;
    (void)fputs(header, out);
    for (size_t i = 0; b && i < b->nlines; i++)
        import_line_write(out, &b->lines[i], LINE_END);
    bool ok = !ferror(out);
    if (fclose(out) == 0 && ok)
        return text;
    free(text);
    return NULL;
}

/* b: NULL, there was no row at all. */
static enum err write_down(struct importer *im, const struct import_batch *b)
{
    size_t len = 0;
    char *text =
        write_result(b, im->import->result_bytes ? "" : IMPORT_RESULT_HEADER LINE_END, &len);
    PbImport after = *im->import;

    if (!text)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; b && i < b->nlines; i++)
        count(&after, b->lines[i].outcome);
    after.result_bytes += (int64_t)len;
    enum err e = transfer_store_import_progress(&im->w->store, im->job, &after,
                                                b ? b->number + 1 : 0, text, len, &im->cancelled);
    if (!e) {
        *im->import = after;
        im->w->kept_us = clock_monotonic_us();
        crypto_hash_sha256_update(&im->hash, (const uint8_t *)text, len);
    }
    free(text);
    return e;
}

/* Batches that were read and will not be asked. Of one that was, and had no answer before somebody wanted
 * an end, the result tells. */
static void drop_unsent(struct importer *im)
{
    while (im->next_fill > im->next_settle) {
        const struct slot *s = &im->slots[(im->next_fill - 1) % (int64_t)im->nslots];
        if (s->state != SLOT_READY || (im->cancelled && s->tries))
            return;
        im->next_fill--;
    }
}

/* What is not asked any more must not keep back what comes behind it and was done. */
static void wind_up(struct importer *im)
{
    drop_unsent(im);
    for (int64_t n = im->next_settle; n < im->next_fill; n++) {
        struct slot *s = &im->slots[n % (int64_t)im->nslots];
        if (s->state != SLOT_READY)
            continue;
        s->state = SLOT_DONE;
        for (size_t i = 0; i < s->batch.nlines; i++)
            if (!s->batch.lines[i].outcome)
                s->batch.lines[i].message = "was not taken, or its answer is lost: import it again";
    }
}

/* It tells all that it knows, whosever turn it is. */
static bool is_ending(const struct importer *im)
{
    return im->stopped || im->cancelled || (im->at_end && im->next_settle == im->next_fill);
}

/* What is on its way when the turn is over is waited for: it would be asked again. */
static enum err pass_on(struct importer *im)
{
    enum err e = im->turn_over ? ERR_OK : transfer_pass_on(im->w, im->job);

    if (e == ERR_CANCELED)
        im->turn_over = true;
    return e == ERR_CANCELED ? ERR_OK : e;
}

static enum err settle(struct importer *im)
{
    enum err e = ERR_OK;

    if (im->stopped || im->cancelled)
        wind_up(im);

    while (!e && im->next_settle < im->next_fill) {
        struct slot *s = &im->slots[im->next_settle % (int64_t)im->nslots];
        if (s->state != SLOT_DONE)
            return ERR_OK;
        e = write_down(im, &s->batch);
        if (!e) {
            s->state = SLOT_FREE;
            im->next_settle++;
            judge_faults(im);
            if (!is_ending(im))
                e = pass_on(im);
        }
    }
    return e;
}

/* --- the whole ---------------------------------------------------------------------------------- */

/* Reads on and sends, as long as somebody wants it. */
static enum err advance(struct importer *im, enum err *why_out)
{
    enum err e = ERR_OK;
    const char *left = transfer_gone(im->principal, im->credential);

    if (left && !im->stopped) {
        *why_out = ERR_UNAUTHENTICATED;
        im->broken = im->at_end = im->stopped = true;
        snprintf(im->why, sizeof(im->why), "%s", left);
    }
    while (!e && !im->at_end && im->next_fill - im->next_settle < (int64_t)im->nslots) {
        e = fill(im);
        send_ready(im);
        if (!e)
            e = transfer_stay(im->w, im->job, &im->cancelled);
    }
    send_ready(im);
    return e;
}

static bool goes_on(const struct importer *im)
{
    return !im->cancelled && !im->turn_over && (!im->at_end || im->next_settle < im->next_fill);
}

/* What is on its way when it must end is waited for, so that the result tells of it. */
static enum err drive(struct importer *im, enum err *why_out)
{
    enum err e = ERR_OK;

    *why_out = ERR_INVALID_ARGUMENT; /* a file that cannot be read on */
    while (!e && (im->on_the_way || goes_on(im))) {
        if (!im->cancelled && !im->turn_over)
            e = advance(im, why_out);
        if (!e)
            e = settle(im);
        if (!e && (im->on_the_way || (goes_on(im) && im->next_settle < im->next_fill)))
            e = hear(im, why_out);
        if (!e)
            e = settle(im);
        if (!e)
            e = transfer_stay(im->w, im->job, &im->cancelled);
    }
    if (!e)
        e = settle(im); /* an end may have been asked for just now */
    return !e && im->turn_over && !is_ending(im) ? ERR_CANCELED : e;
}

static enum err conclude(struct importer *im, enum err why)
{
    enum err e = ERR_OK;

    if (!im->import->result_bytes && !im->cancelled)
        e = write_down(im, NULL); /* the header at least */
    if (e)
        return e;
    int state = im->cancelled ? TRANSFER_STATE(CANCELLED)
                : im->broken  ? TRANSFER_STATE(FAILED)
                              : TRANSFER_STATE(DONE);
    log_info("import.end", im->broken ? im->why : "an import has ended", "import", im->import->id,
             NULL);
    return transfer_end(im->w, im->job, state, &im->hash,
                        state == TRANSFER_STATE(FAILED) ? why : ERR_OK, im->why);
}

static enum err load(struct importer *im)
{
    struct transfer_import_state state;

    enum err e = transfer_store_load_import(&im->w->store, im->job, &state);
    if (e)
        return e;
    im->import = wire_clone(&state.import->base, im->arena);
    im->principal = wire_clone(&state.principal->base, im->arena);
    im->credential = state.credential;
    im->remote_address = arena_strdup(im->arena, state.remote_address);
    im->skip = state.batches;
    im->piece = arena_alloc(im->arena, TRANSFER_PIECE);
    if (!im->import || !im->principal || !im->remote_address || !im->piece)
        return ERR_RESOURCE_EXHAUSTED;
    im->kind = import_kind(im->import->collection);
    im->wish = (struct import_wish){ .dry_run = im->import->dry_run,
                                     .update_owner = im->import->update_owner };
    im->cancelled = im->import->cancel_requested;
    if (!im->kind)
        return ERR_INTERNAL;
    judge_faults(im);
    im->nslots = MIN(im->kind->window + 1, SLOTS_MAX);
    im->rows = transfer_rows_new(im->kind, im->import->format == TRANSFER_FORMAT(JSONL),
                                 im->import->source, read_upload, im);
    return im->rows ? transfer_rehash(im->w, im->job, "result", im->import->result_bytes, &im->hash)
                    : ERR_RESOURCE_EXHAUSTED;
}

enum err transfer_import_run(struct transfer_worker *w, const struct transfer_job *job)
{
    struct importer im = {
        .w = w, .job = job, .arena = arena_new(MIB), .answer = arena_new(ANSWER_ARENA)
    };
    enum err why = ERR_OK;

    enum err e = im.arena && im.answer ? load(&im) : ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = drive(&im, &why);
    if (!e)
        e = conclude(&im, why);
    transfer_rows_free(im.rows);
    for (size_t i = 0; i < SLOTS_MAX; i++)
        import_batch_fini(&im.slots[i].batch);
    arena_free(im.answer);
    arena_free(im.arena);
    return e;
}
