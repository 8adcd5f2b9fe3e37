/*
 * record.c - finds the field that a column or a parameter names; record_value.c moves the value.
 */
#include "common/record.h"

#include <ctype.h>

#include "common/log.h"
#include "common/record_value.h"

#define PATH_MAX_DEPTH 6
#define CAST_NAME_MAX 32

struct path {
    const ProtobufCFieldDescriptor *fields[PATH_MAX_DEPTH];
    size_t depth;
};

/* A column of a result and the field it goes to. */
struct column {
    int index;
    Oid type;
    struct path path;
};

static enum err misfit(const char *what, const char *type, const char *name)
{
    log_error("record.misfit", what, "type", type, "name", name, NULL);
    return ERR_INTERNAL;
}

/* "check_in.position.latitude"; false when a part is not there or not a singular message. */
static bool find_path(const ProtobufCMessageDescriptor *type, const char *name, struct path *out)
{
    const char *part = name;

    out->depth = 0;
    for (;;) {
        size_t len = strcspn(part, ".");
        char buf[64];
        if (out->depth == PATH_MAX_DEPTH || len >= sizeof buf)
            return false;
        memcpy(buf, part, len);
        buf[len] = '\0';
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field_by_name(type, buf);
        if (field == NULL)
            return false;
        out->fields[out->depth++] = field;
        if (part[len] == '\0')
            return true;
        if (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label == PROTOBUF_C_LABEL_REPEATED)
            return false;
        type = field->descriptor;
        part += len + 1;
    }
}

/* --- rows --- */

static enum err map_columns(const PGresult *res, const ProtobufCMessageDescriptor *type,
                            struct arena *a, struct column **columns_out, size_t *n_out)
{
    int width = PQnfields(res);
    size_t n = 0;
    struct column *columns = arena_array(a, (size_t)width + 1, sizeof *columns);

    if (columns == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    for (int i = 0; i < width; i++) {
        const char *name = PQfname(res, i);
        if (name[0] == '_')
            continue;
        columns[n].index = i;
        columns[n].type = PQftype(res, i);
        if (!find_path(type, name, &columns[n].path))
            return misfit("a column has no field", type->name, name);
        n++;
    }
    *columns_out = columns;
    *n_out = n;
    return ERR_OK;
}

static enum err read_column(const PGresult *res, int row, const struct column *column,
                            struct arena *a, ProtobufCMessage *message)
{
    const struct path *path = &column->path;

    if (PQgetisnull(res, row, column->index))
        return ERR_OK;
    for (size_t i = 0; i + 1 < path->depth; i++) {
        ProtobufCMessage *sub = record_value_sub(path->fields[i], message);
        message = sub ? sub : record_value_make_sub(path->fields[i], message, a);
        if (message == NULL)
            return ERR_RESOURCE_EXHAUSTED;
    }
    return record_value_read(path->fields[path->depth - 1], column->type,
                             PQgetvalue(res, row, column->index), a, message);
}

static enum err read_row(const PGresult *res, int row, const ProtobufCMessageDescriptor *type,
                         const struct column *columns, size_t n, struct arena *a,
                         ProtobufCMessage **out)
{
    ProtobufCMessage *message = arena_alloc(a, type->sizeof_message);

    if (message == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    protobuf_c_message_init(type, message);
    for (size_t i = 0; i < n; i++) {
        enum err e = read_column(res, row, &columns[i], a, message);
        if (e == ERR_INTERNAL)
            return misfit("a column does not fit its field", type->name,
                          PQfname(res, columns[i].index));
        if (e)
            return e;
    }
    *out = message;
    return ERR_OK;
}

enum err record_read(const PGresult *res, int row, const ProtobufCMessageDescriptor *type,
                     struct arena *a, void *message_out)
{
    struct column *columns = NULL;
    ProtobufCMessage *message = NULL;
    size_t n = 0;

    enum err e = map_columns(res, type, a, &columns, &n);
    if (e == ERR_OK)
        e = read_row(res, row, type, columns, n, a, &message);
    if (e == ERR_OK)
        *(ProtobufCMessage **)message_out = message;
    return e;
}

enum err record_read_all(const PGresult *res, const ProtobufCMessageDescriptor *type,
                         struct arena *a, size_t *n_out, void *array_out)
{
    size_t rows = (size_t)PQntuples(res), n = 0;
    struct column *columns = NULL;
    ProtobufCMessage **messages = arena_array(a, rows + 1, sizeof *messages);

    if (messages == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = map_columns(res, type, a, &columns, &n);
    for (size_t i = 0; i < rows && e == ERR_OK; i++)
        e = read_row(res, (int)i, type, columns, n, a, &messages[i]);
    if (e)
        return e;
    *n_out = rows;
    *(ProtobufCMessage ***)array_out = messages;
    return ERR_OK;
}

enum err record_find(struct db *db, const struct db_stmt *stmt, const char *const *params,
                     const ProtobufCMessageDescriptor *type, struct arena *a, void *message_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(db, stmt, params, &res);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return ERR_NOT_FOUND;
    if (PQntuples(res) > 1)
        return misfit("more than one row", type->name, stmt->name);
    return record_read(res, 0, type, a, message_out);
}

/* --- parameters --- */

static const struct {
    const char *name;
    enum record_cast cast;
} casts[] = {
    { "text", RECORD_CAST_TEXT },     { "varchar", RECORD_CAST_TEXT },
    { "char", RECORD_CAST_TEXT },     { "bpchar", RECORD_CAST_TEXT },
    { "bytea", RECORD_CAST_TEXT },    { "smallint", RECORD_CAST_NUMBER },
    { "int", RECORD_CAST_NUMBER },    { "integer", RECORD_CAST_NUMBER },
    { "bigint", RECORD_CAST_NUMBER }, { "int2", RECORD_CAST_NUMBER },
    { "int4", RECORD_CAST_NUMBER },   { "int8", RECORD_CAST_NUMBER },
    { "json", RECORD_CAST_JSON },     { "jsonb", RECORD_CAST_JSON },
};

static enum record_cast cast_of_name(const char *type)
{
    char name[CAST_NAME_MAX];
    size_t n = 0;

    for (; n + 1 < sizeof name && (isalnum((unsigned char)type[n]) || type[n] == '_'); n++)
        name[n] = (char)tolower((unsigned char)type[n]);
    name[n] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(casts); i++)
        if (strcmp(name, casts[i].name) == 0)
            return casts[i].cast;
    return RECORD_CAST_OTHER;
}

/* The type after the first "$n::" of a statement. */
static enum record_cast cast_of(const struct db_stmt *stmt, int n)
{
    char mark[16];

    snprintf(mark, sizeof mark, "$%d::", n);
    const char *at = strstr(stmt->text, mark);
    return at ? cast_of_name(at + strlen(mark)) : RECORD_CAST_TEXT;
}

static enum err bind_field(const struct db_stmt *stmt, int i, const ProtobufCMessage *message,
                           struct arena *a, const char **text_out)
{
    struct path path;

    *text_out = NULL;
    if (message == NULL || !find_path(message->descriptor, stmt->params[i], &path))
        return misfit("a parameter is neither a field nor given", stmt->name, stmt->params[i]);
    for (size_t d = 0; d + 1 < path.depth; d++) {
        message = record_value_sub(path.fields[d], message);
        if (message == NULL)
            return ERR_OK; /* absent: NULL */
    }
    enum err e =
        record_value_write(path.fields[path.depth - 1], message, cast_of(stmt, i + 1), a, text_out);
    return e && e != ERR_RESOURCE_EXHAUSTED
               ? misfit("a field has a value that cannot be stored", stmt->name, stmt->params[i])
               : e;
}

static const struct record_extra *find_extra(const struct record_extra *extras, size_t n,
                                             const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(extras[i].name, name) == 0)
            return &extras[i];
    return NULL;
}

enum err record_bind(const struct db_stmt *stmt, const ProtobufCMessage *message,
                     const struct record_extra *extras, size_t nextras, struct arena *a,
                     const char *const **params_out)
{
    const char **params = arena_array(a, (size_t)stmt->nparams + 1, sizeof *params);

    if (params == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    for (int i = 0; i < stmt->nparams; i++) {
        const struct record_extra *extra = find_extra(extras, nextras, stmt->params[i]);
        enum err e = ERR_OK;
        if (extra)
            params[i] = extra->value;
        else
            e = bind_field(stmt, i, message, a, &params[i]);
        if (e)
            return e;
    }
    *params_out = params;
    return ERR_OK;
}
