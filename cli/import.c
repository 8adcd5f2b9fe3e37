/*
 * import.c - `daybook import`: a CSV file into the customer file or the order history.
 *
 * The file streams through a few slots, each a batch with memory of its own: one is filled while
 * others are on their way. Results are written in the order of the file, whatever answer comes
 * first.
 *
 * Running it again is safe, for rows are recognised by their external id. A batch has an
 * idempotency key made from its content and number, so that asking again after a lost answer gives
 * that very answer. When an earlier run has used the key (within the 48 hours that it lives) its
 * answer is old news: the batch is judged anew under another key, unless the user chose the key.
 */
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/import.h"
#include "common/clock.h"

#define TIMEOUT_US (10 * SECOND_US)
#define TRIES_MAX 10
#define RETRY_BASE_US (100 * MSEC_US)
#define RETRY_CAP_US (5 * SECOND_US)
#define SOURCE_DEFAULT "import"

/* --- reading ---------------------------------------------------------------------------------- */

static ptrdiff_t read_file(void *arg, void *buf, size_t size)
{
    FILE *f = arg;
    size_t n = fread(buf, 1, size, f);
    return n == 0 && ferror(f) ? -1 : (ptrdiff_t)n;
}

static int bad_file(const struct import *im, const struct csv_fault *f)
{
    return cli_fail(im->c, ERR_FAILED_PRECONDITION, "%s, line %zu, column %zu: %s", im->path,
                    f->line, f->column, f->reason);
}

static int read_header(struct import *im)
{
    struct csv_row row;
    struct csv_fault fault;
    enum csv_result r = csv_next(im->csv, &row, &fault);
    if (r == CSV_END)
        return cli_fail(im->c, ERR_FAILED_PRECONDITION, "%s is empty: it needs a header", im->path);
    if (r != CSV_ROW)
        return bad_file(im, &fault);
    if (!import_map_header(im->kind, &row, &im->map))
        return cli_fail(im->c, ERR_FAILED_PRECONDITION, "%s: %s; see daybook help import", im->path,
                        im->map.why);
    const char *ignored = text_plain(im->c->arena, im->map.ignored);
    if (ignored && *ignored && !im->c->json)
        (void)fprintf(stderr, "columns that are not used: %s\n", ignored);
    return 0;
}

static bool take_bad(struct import_batch *b, const struct csv_fault *fault)
{
    struct import_line *l = import_batch_line(b, fault->row_line, "");
    char message[200];
    snprintf(message, sizeof message, "line %zu, column %zu: %s", fault->line, fault->column,
             fault->reason);
    return l && import_batch_refuse(b, l, "", message);
}

/* False: out of memory. */
static bool take_row(struct import *im, struct import_batch *b, const struct csv_row *row)
{
    struct import_fault fault;
    bool full = false;
    const char *external_id = import_cell(&im->map, row, "external_id");
    struct import_line *l = import_batch_line(b, row->line, external_id);
    ProtobufCMessage *m = import_row(&im->map, row, im->source, b->arena, &fault);
    if (!l)
        return false;
    if (!m)
        return fault.message[0] && import_batch_refuse(b, l, fault.field, fault.message);
    if (seen_add(im->seen, external_id, &full))
        return import_batch_row(b, l, m);
    return !full && import_batch_refuse(b, l, "external_id",
                                        "stands in this file twice; the first row counts");
}

/* A batch's key: from what it says and where it stands, so that it is the same in another run. */
static bool make_key(struct import *im, struct slot *s)
{
    uint8_t hash[16];
    char hex[sizeof hash * 2 + 1];
    uint8_t *packed = NULL;
    size_t len = 0;
    crypto_generichash_state state;
    int64_t number = s->batch.number;

    if (im->key)
        return snprintf(s->key, sizeof s->key, "%s-%" PRId64, im->key, number) < (int)sizeof s->key;
    if (wire_pack(s->request, s->batch.arena, &packed, &len))
        return false;
    crypto_generichash_init(&state, NULL, 0, sizeof hash);
    crypto_generichash_update(&state, (const uint8_t *)im->kind->name, strlen(im->kind->name) + 1);
    crypto_generichash_update(&state, (const uint8_t *)&number, sizeof number);
    crypto_generichash_update(&state, packed, len);
    crypto_generichash_final(&state, hash, sizeof hash);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    snprintf(s->key, sizeof s->key, "import-%s", hex);
    return true;
}

static bool open_slot(struct import *im, struct slot *s)
{
    *s = (struct slot){ .batch = s->batch };
    return import_batch_open(&s->batch, im->kind, im->batch, (int64_t)im->next_fill);
}

static int no_memory(const struct import *im)
{
    return cli_fail(im->c, ERR_RESOURCE_EXHAUSTED, "out of memory at line %zu", im->last_line);
}

/* Fills the next slot from the file. */
static int fill(struct import *im)
{
    struct slot *s = &im->slots[im->next_fill % im->nslots];
    struct import_batch *b = &s->batch;
    struct csv_row row;
    struct csv_fault fault;
    if (!open_slot(im, s))
        return no_memory(im);
    while (import_batch_has_room(b)) {
        enum csv_result r = csv_next(im->csv, &row, &fault);
        if (r == CSV_FAILED)
            return bad_file(im, &fault);
        im->at_end = r == CSV_END;
        if (im->at_end)
            break;
        if (!(r == CSV_ROW ? take_row(im, b, &row) : take_bad(b, &fault)))
            return no_memory(im);
    }
    if (b->nlines == 0)
        return 0;
    im->rows += b->nlines;
    s->state = SLOT_DONE; /* nothing to send, unless there are good rows */
    if (b->nrows) {
        s->request = im->kind->request(b->arena, b->rows, b->nrows, im->wish);
        if (!s->request || !make_key(im, s))
            return no_memory(im);
        s->state = SLOT_READY;
    }
    im->next_fill++;
    im->batches++;
    return 0;
}

/* --- asking ----------------------------------------------------------------------------------- */

static int given_up(struct import *im, struct slot *s, enum err e, const struct bus_answer *answer)
{
    char what[120];
    snprintf(what, sizeof what, "batch %" PRId64 " (lines %zu to %zu)", s->batch.number + 1,
             s->batch.lines[0].line, s->batch.lines[s->batch.nlines - 1].line);
    int status = cli_call_failed(im->c, what, e, answer);
    if (!im->c->json) /* there it is lastLine */
        (void)cli_fail(
            im->c, e, "stopped; rows up to line %zu are done: run it again, nothing is taken twice",
            im->last_line);
    return status;
}

static bool may_try_again(enum err e)
{
    return e == ERR_UNAVAILABLE || e == ERR_ABORTED || e == ERR_DEADLINE_EXCEEDED ||
           e == ERR_RESOURCE_EXHAUSTED;
}

/* The same batch later, with the same key; or the end. */
static int again(struct import *im, struct slot *s, enum err e, const struct bus_answer *answer)
{
    if (!may_try_again(e) || s->tries >= TRIES_MAX)
        return given_up(im, s, e, answer);
    int64_t most = MIN(RETRY_CAP_US, RETRY_BASE_US << s->tries);
    int64_t wait_us = MAX((int64_t)randombytes_uniform((uint32_t)most),
                          fault_retry_us(im->c->arena, answer->result));
    s->state = SLOT_READY;
    s->at_us = clock_monotonic_us() + wait_us;
    return 0;
}

static int send_slot(struct import *im, struct slot *s)
{
    struct bus_answer none = { .result = NULL };
    struct bus_request r = {
        .service = im->kind->service,
        .method = im->kind->method,
        .message = s->request,
        .idempotency_key = s->key,
        .request_id = id_text(id_new(), s->request_id),
        .timeout_us = im->timeout_us,
        .principal = im->who,
    };
    s->tries++;
    enum err e = cli_send(im->c, &r);
    if (e)
        return again(im, s, e, &none);
    s->state = SLOT_SENT;
    s->at_us = clock_monotonic_us() + im->timeout_us;
    im->on_the_way++;
    return 0;
}

static int send_ready(struct import *im)
{
    int64_t now_us = clock_monotonic_us();
    for (size_t n = im->next_flush; n < im->next_fill; n++) {
        struct slot *s = &im->slots[n % im->nslots];
        if (im->on_the_way >= im->kind->window)
            return 0;
        if (s->state != SLOT_READY || s->at_us > now_us)
            continue;
        int status = send_slot(im, s);
        if (status)
            return status;
    }
    return 0;
}

/* --- hearing ---------------------------------------------------------------------------------- */

static struct slot *slot_of(struct import *im, const char *request_id)
{
    for (size_t i = 0; i < im->nslots; i++)
        if (im->slots[i].state == SLOT_SENT && strcmp(im->slots[i].request_id, request_id) == 0)
            return &im->slots[i];
    return NULL;
}

static const ProtobufCMessageDescriptor *type_of(void *arg, const char *request_id)
{
    struct import *im = arg;
    return slot_of(im, request_id) ? im->kind->answer_type : NULL;
}

static int take_answer(struct import *im, struct slot *s, const struct bus_answer *answer)
{
    if (result_has(answer->result, "idempotent-replayed", "true")) {
        if (s->tries == 1 && !s->anew && !im->key) {
            char fresh[ID_TEXT_MAX];
            size_t len = strlen(s->key);
            snprintf(s->key + len, sizeof s->key - len, "-%s", id_text(id_new(), fresh));
            s->anew = true;
            s->tries = 0;
            s->state = SLOT_READY;
            s->at_us = 0;
            im->replayed++;
            return 0;
        }
        im->replayed += im->key != NULL;
    }
    if (!import_batch_take(&s->batch, answer->message))
        return cli_fail(im->c, ERR_INTERNAL,
                        "batch %" PRId64 ": the answer does not fit the request",
                        s->batch.number + 1);
    s->state = SLOT_DONE;
    return 0;
}

/* Answers that did not come. */
static int expire(struct import *im)
{
    int64_t now_us = clock_monotonic_us();
    for (size_t i = 0; i < im->nslots; i++) {
        struct slot *s = &im->slots[i];
        struct bus_answer none = { .result = NULL };
        if (s->state != SLOT_SENT || s->at_us > now_us)
            continue;
        im->on_the_way--;
        int status = again(im, s, ERR_DEADLINE_EXCEEDED, &none);
        if (status)
            return status;
    }
    return 0;
}

/* How long there is nothing to do but to listen. */
static int64_t patience_us(const struct import *im)
{
    int64_t until_us = INT64_MAX, now_us = clock_monotonic_us();
    for (size_t i = 0; i < im->nslots; i++) {
        const struct slot *s = &im->slots[i];
        if (s->state == SLOT_SENT || (s->state == SLOT_READY && im->on_the_way < im->kind->window))
            until_us = MIN(until_us, s->at_us);
    }
    return until_us == INT64_MAX ? 0 : MAX(until_us - now_us, 0);
}

static int hear(struct import *im)
{
    struct bus_answer answer = { .result = NULL };
    const char *whose;
    arena_reset(im->c->arena);
    enum err e = cli_receive(im->c, patience_us(im), type_of, im, &answer, &whose);
    struct slot *s = whose ? slot_of(im, whose) : NULL;
    if (!s)
        return e == ERR_DEADLINE_EXCEEDED ? expire(im) : 0;
    im->on_the_way--;
    return e ? again(im, s, e, &answer) : take_answer(im, s, &answer);
}

/* --- in the order of the file ----------------------------------------------------------------- */

/* Batches whose fate is known, in the order of the file. */
static void flush_done(struct import *im)
{
    for (; im->next_flush < im->next_fill; im->next_flush++) {
        struct slot *s = &im->slots[im->next_flush % im->nslots];
        if (s->state != SLOT_DONE)
            return;
        const struct import_batch *b = &s->batch;
        for (size_t i = 0; i < b->nlines; i++) {
            im->counts[b->lines[i].outcome]++;
            import_tell_fault(im, &b->lines[i]);
            if (im->result)
                import_line_write(im->result, &b->lines[i], "\n");
        }
        im->last_line = b->lines[b->nlines - 1].line;
        s->state = SLOT_FREE;
    }
}

/* --- the command ------------------------------------------------------------------------------ */

static int run(struct import *im)
{
    int status = 0;
    while (status == 0 && (!im->at_end || im->next_flush < im->next_fill)) {
        while (status == 0 && !im->at_end && im->next_fill - im->next_flush < im->nslots &&
               im->slots[im->next_fill % im->nslots].state == SLOT_FREE) {
            status = fill(im);
            if (status == 0)
                status = send_ready(im); /* on its way while the next one is filled */
        }
        if (status == 0)
            status = send_ready(im);
        flush_done(im);
        if (status == 0 && im->next_flush < im->next_fill)
            status = hear(im);
        flush_done(im);
        import_show_progress(im);
    }
    return status;
}

static int read_options(struct import *im)
{
    struct cli *c = im->c;
    int64_t batch;
    im->kind = import_kind(c->args.words[0]);
    if (!im->kind)
        return cli_usage(c, "there are customers and orders to import, not %.40s",
                         c->args.words[0]);
    im->path = c->args.words[1];
    const char *source = args_value(&c->args, "source");
    im->source = source ? source : SOURCE_DEFAULT;
    if (!import_is_source(im->source))
        return cli_usage(c, "--source is up to 32 of a-z, 0-9, _ and -, not %.60s", im->source);
    if (!cli_number(c, "batch", 1, (int64_t)im->kind->batch, (int64_t)im->kind->batch, &batch))
        return EXIT_USAGE;
    im->batch = (size_t)batch;
    im->key = c->key;
    im->wish.dry_run = args_has(&c->args, "dry-run");
    im->wish.update_owner = args_has(&c->args, "update-owner");
    im->strict = args_has(&c->args, "strict");
    im->timeout_us = args_has(&c->args, "timeout") ? c->timeout_us : TIMEOUT_US;
    im->nslots = im->kind->window + 1;
    im->shows = !c->json && isatty(STDERR_FILENO);
    if (!*c->tenant && !c->over_http)
        return cli_usage(c, "into which company? --tenant ID or DAYBOOK_TENANT");
    return 0;
}

static int open_files(struct import *im)
{
    struct cli *c = im->c;
    struct stat st, other;
    const char *result = args_value(&c->args, "result");
    im->file = strcmp(im->path, "-") == 0 ? stdin : fopen(im->path, "re");
    if (!im->file)
        return cli_fail(c, ERR_NOT_FOUND, "%s: %s", im->path, strerror(errno));
    if (fstat(fileno(im->file), &st) != 0)
        return cli_fail(c, ERR_INTERNAL, "%s: %s", im->path, strerror(errno));
    if (S_ISREG(st.st_mode))
        im->file_bytes = (uint64_t)st.st_size;
    /* By what it is, not by name: a link to it would be emptied just the same. */
    if (result && stat(result, &other) == 0 && S_ISREG(other.st_mode) &&
        st.st_dev == other.st_dev && st.st_ino == other.st_ino)
        return cli_usage(c, "--result %s is the file that is read; name another one", result);
    im->csv = csv_new(&csv_limits_default, read_file, im->file);
    im->seen = seen_new();
    if (!im->csv || !im->seen)
        return no_memory(im);
    int status = read_header(im);
    if (status || !result)
        return status;
    im->result = fopen(result, "we");
    if (!im->result)
        return cli_fail(c, ERR_FAILED_PRECONDITION, "%s: %s", result, strerror(errno));
    (void)fputs(IMPORT_RESULT_HEADER "\n", im->result);
    return 0;
}

static int close_files(struct import *im, int status)
{
    bool bad = im->result && ferror(im->result);
    if (im->result && fclose(im->result) != 0)
        bad = true;
    if (im->file && im->file != stdin)
        (void)fclose(im->file);
    json_decref(im->faults);
    csv_free(im->csv);
    seen_free(im->seen);
    for (size_t i = 0; i < im->nslots; i++)
        import_batch_fini(&im->slots[i].batch);
    if (bad && status == 0)
        status =
            cli_fail(im->c, ERR_UNAVAILABLE, "the result file could not be written completely");
    return status;
}

int cmd_import(struct cli *c)
{
    struct import im = { .c = c };
    struct arena *keep = NULL;
    int status = read_options(&im);
    if (status)
        return status;
    im.faults = json_array();
    status = open_files(&im);
    if (status == 0 && cli_way(c, &status) && cli_principal(c, &im.who, &status)) {
        bool speaks_for_itself = im.who == NULL;
        keep = arena_new(MIB); /* c->arena is reset from answer to answer */
        im.who = keep && im.who ? wire_clone(&im.who->base, keep) : NULL;
        im.started_us = clock_monotonic_us();
        status = im.who || speaks_for_itself ? run(&im) : no_memory(&im);
        import_end_progress(&im);
        import_show_summary(&im);
    }
    if (status == 0 && im.strict && import_faulty(&im))
        status = cli_fail(c, ERR_FAILED_PRECONDITION, "%zu rows were invalid or duplicates",
                          import_faulty(&im));
    status = close_files(&im, status);
    c->principal = NULL;
    arena_free(keep);
    return status;
}
