/*
 * import_batch.c - see import_batch.h.
 */
#include "common/import_batch.h"

#define BATCH_ARENA (32 * MIB)
/* It is full then, also of faulty rows: the largest line, which takes up to 7 MiB, still fits. */
#define ENOUGH (8 * MIB)
#define REQUEST_BYTES_MAX (700 * KIB) /* the bus takes frames up to 1 MiB */
#define EXTERNAL_ID_SHOWN 512         /* bytes: 128 characters */
#define NOT_TAKEN "not_taken"
#define INVALID DAYBOOK__CUSTOMERS__V1__IMPORT_OUTCOME__IMPORT_OUTCOME_INVALID

bool import_batch_open(struct import_batch *b, const struct import_kind *kind, size_t rows_max,
                       int64_t number)
{
    struct arena *arena = b->arena ? b->arena : arena_new(BATCH_ARENA);

    *b = (struct import_batch){
        .arena = arena, .kind = kind, .number = number, .rows_max = rows_max
    };
    if (!arena)
        return false;
    arena_reset(arena);
    b->lines = arena_array(arena, rows_max * 2, sizeof(*b->lines));
    b->rows = arena_array(arena, rows_max, sizeof(*b->rows));
    b->line_of = arena_array(arena, rows_max, sizeof(*b->line_of));
    return b->lines && b->rows && b->line_of;
}

void import_batch_fini(struct import_batch *b)
{
    arena_free(b->arena);
    b->arena = NULL;
}

/* Faulty rows do not fill a batch, but must not make it endless either. */
bool import_batch_has_room(const struct import_batch *b)
{
    const struct import_kind *kind = b->kind;

    return b->nrows < b->rows_max && b->nlines < b->rows_max * 2 && b->bytes < REQUEST_BYTES_MAX &&
           arena_used(b->arena) < ENOUGH &&
           (!kind->weight_max || b->weight + kind->weight_one <= kind->weight_max);
}

/* What a batch leaves in the result stays small. NULL: no memory. */
static const char *shown_id(struct arena *a, const char *id)
{
    size_t len = strnlen(id, EXTERNAL_ID_SHOWN + 1);

    if (len > EXTERNAL_ID_SHOWN)
        for (len = EXTERNAL_ID_SHOWN; len && ((uint8_t)id[len] & 0xc0) == 0x80;)
            len--; /* no part of a character */
    return arena_strndup(a, id, len);
}

struct import_line *import_batch_line(struct import_batch *b, size_t line, const char *external_id)
{
    struct import_line *l = &b->lines[b->nlines];

    *l = (struct import_line){ .line = line,
                               .external_id = shown_id(b->arena, external_id),
                               .id = "",
                               .field = "",
                               .message = "" };
    if (!l->external_id)
        return NULL;
    b->nlines++;
    return l;
}

bool import_batch_refuse(struct import_batch *b, struct import_line *l, const char *field,
                         const char *message)
{
    l->outcome = INVALID;
    l->field = arena_strdup(b->arena, field);
    l->message = arena_strdup(b->arena, message);
    return l->field && l->message;
}

bool import_batch_row(struct import_batch *b, struct import_line *l, ProtobufCMessage *row)
{
    size_t weight = b->kind->weight ? b->kind->weight(row) : 0;

    if (weight > b->kind->weight_one)
        return import_batch_refuse(b, l, "contacts", "has too many contacts");
    b->line_of[b->nrows] = (size_t)(l - b->lines);
    b->rows[b->nrows++] = row;
    b->bytes += protobuf_c_message_get_packed_size(row) + 8;
    b->weight += weight;
    return true;
}

static bool take_result(struct import_batch *b, const ImportResult *r)
{
    if (r->index < 0 || (size_t)r->index >= b->nrows)
        return false;
    struct import_line *l = &b->lines[b->line_of[r->index]];
    l->outcome = (int)r->outcome;
    l->id = arena_strdup(b->arena, r->id);
    l->field = arena_strdup(b->arena, r->field);
    l->message = arena_strdup(b->arena, r->message);
    return l->outcome > 0 && l->outcome < IMPORT_OUTCOMES && l->id && l->field && l->message;
}

bool import_batch_take(struct import_batch *b, const ProtobufCMessage *answer)
{
    size_t n;
    ImportResult *const *results = b->kind->results(answer, &n);
    bool good = n == b->nrows;

    for (size_t i = 0; i < n && good; i++)
        good = take_result(b, results[i]);
    for (size_t i = 0; i < b->nlines && good; i++)
        good = b->lines[i].outcome != 0;
    return good;
}

void import_line_write(FILE *out, const struct import_line *l, const char *end)
{
    const char *const cells[] = { l->external_id,
                                  l->outcome ? import_outcomes[l->outcome] : NOT_TAKEN, l->id,
                                  l->field, l->message };

    (void)fprintf(out, "%zu", l->line);
    for (size_t i = 0; i < ARRAY_LEN(cells); i++) {
        (void)fputc(',', out);
        csv_write_cell(out, cells[i]);
    }
    (void)fputs(end, out);
}
