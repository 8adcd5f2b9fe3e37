/*
 * http_head.c - whether a request's head is one that others on its way might read otherwise (RFC 9112, 2.2, 3.2, 5,
 * 6.1 and 11.2; RFC 9110, 5.5).
 *
 * libmicrohttpd 0.9.75 takes a folded line's text into the name of the line before, ends a line and a word of the first
 * one at a NUL, and knows no field that is doubled. It tells each word and each field where it came, its ends turned to
 * NULs. So a head of a request line and lines of "name:value CR LF" alone lies in one piece, from the method to the
 * body, and anything else leaves a gap. But for one thing: a NUL before LF is what CR before LF has become.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "services/gateway/http/http_internal.h"

#define REQUEST_LINE                                                                               \
    "the first line must be a method, a target and a version, with one space between them"
#define LINES                                                                                      \
    "each line of the header must be a name, a colon, a value in printable characters, CR and LF"
#define TWICE                                                                                      \
    "Host, Content-Length, Transfer-Encoding, Content-Type, Content-Encoding, Authorization, "     \
    "Idempotency-Key and "                                                                         \
    "Connect-* may be there once only"
#define CODING "Transfer-Encoding must be chunked, in HTTP/1.1, and without Content-Length"
#define NO_HOST "HTTP/1.1 wants a Host"
#define TARGET "the target must be in printable ASCII: write other characters as %XX"

/* Fields of which we, and whoever else reads them, take one. */
static const char *const singles[] = {
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "Content-Type",
    "Content-Encoding",
    "Authorization",
    "Idempotency-Key",
    "Connect-Protocol-Version",
    "Connect-Timeout-Ms",
    "Connect-Content-Encoding",
};

enum { HOST, CONTENT_LENGTH, TRANSFER_ENCODING };

struct head {
    const char *at; /* where the next line must begin */
    const char *fault;
    bool seen[ARRAY_LEN(singles)];
};

static bool is_token(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && (!s[i] || !strchr("!#$%&'*+-.^_`|~", s[i])))
            return false;
    return len > 0;
}

static bool is_text(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < ' ' && s[i] != '\t')
            return false;
    return true;
}

/* Whether the line's end was CR LF, or NUL LF, which cannot be told apart. */
static bool ends_line(const char *s)
{
    return s[0] == '\0' && s[1] == '\0';
}

static bool is_one_line(const char *at, const char *name, size_t name_len, const char *value,
                        size_t len)
{
    return name == at && name[name_len] == '\0' &&
           value == name + name_len + 1 + strspn(name + name_len + 1, " \t") &&
           ends_line(value + len);
}

static const char *note_single(struct head *h, const char *name, const char *value)
{
    size_t i = 0;

    while (i < ARRAY_LEN(singles) && strcasecmp(name, singles[i]) != 0)
        i++;
    if (i == ARRAY_LEN(singles))
        return NULL;
    if (h->seen[i])
        return TWICE;
    h->seen[i] = true;
    return i == TRANSFER_ENCODING && strcasecmp(value, "chunked") != 0 ? CODING : NULL;
}

static enum MHD_Result on_field(void *cls, enum MHD_ValueKind kind UNUSED, const char *name,
                                size_t name_len, const char *value, size_t len)
{
    struct head *h = cls;

    if (!value || !is_one_line(h->at, name, name_len, value, len) || !is_token(name, name_len) ||
        !is_text(value, len))
        h->fault = LINES;
    else
        h->fault = note_single(h, name, value);
    if (h->fault)
        return MHD_NO;
    h->at = value + len + 2;
    return MHD_YES;
}

static const char *head_end(struct MHD_Connection *connection, const char *method)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info ? method + info->header_size : NULL;
}

/* By where the words lie: the target's length is that from before libmicrohttpd cut it at '?' and decoded it. */
static bool is_request_line(const struct http_exchange *x, const char *method, const char *version)
{
    return is_token(method, strlen(method)) && x->target == method + strlen(method) + 1 &&
           version == x->target + x->target_len + 1;
}

const char *http_head_fault(const struct http_exchange *x, const char *method, const char *version)
{
    bool old = strcmp(version, "HTTP/1.0") == 0;
    const char *line_end = version + strlen(version);
    struct head h = { .at = line_end + 2 };

    if (!is_request_line(x, method, version))
        return REQUEST_LINE;
    if (!ends_line(line_end))
        return LINES;
    (void)MHD_get_connection_values_n(x->connection, MHD_HEADER_KIND, on_field, &h);
    if (h.fault)
        return h.fault;
    if (h.at + 2 != head_end(x->connection, method))
        return LINES;
    if (h.seen[TRANSFER_ENCODING] && (old || h.seen[CONTENT_LENGTH]))
        return CODING;
    return old || h.seen[HOST] ? NULL : NO_HOST;
}

const char *http_target_fault(const char *target)
{
    for (const char *c = target; *c; c++)
        if (*c <= ' ' || *c > '~')
            return TARGET;
    return NULL;
}
