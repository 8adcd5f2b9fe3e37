/*
 * pages.c - see pages.h.
 */
#include "services/gateway/pages/pages.h"

#include "common/clock.h"
#include "common/log.h"
#include "services/gateway/connect/connect.h"
#include "services/gateway/http/gzip.h"
#include "services/gateway/http/http_value.h"
#include "services/gateway/pages/pages_internal.h"

#define PAGE_MAX (8 * MIB)
#define SCRATCH_BUDGET (64 * MIB)

static const struct kind {
    const char *path, *type;
    void (*write)(struct sbuf *b, struct arena *scratch);
    void (*policy)(struct sbuf *b); /* Content-Security-Policy; NULL: a document for programs */
} kinds[] = {
    { "/openapi.json", "application/json", openapi_write, NULL },
    { "/asyncapi.json", "application/json", asyncapi_write, NULL },
    { "/docs", "text/html; charset=utf-8", reference_write, reference_policy },
};

struct form {
    const void *data;
    size_t len;
    char etag[HTTP_ETAG_MAX];
};

struct page {
    const char *path, *type;
    struct form plain, zipped;
    const char *policy;
};

struct pages {
    struct arena *arena;
    struct page *pages; /* of the kinds, then a schema for each event */
    size_t n;
};

/* --- what they are made of ---------------------------------------------------------------------- */

void pages_add_statuses(struct sbuf *b)
{
    for (int code = ERR_CANCELED; code <= ERR_UNAUTHENTICATED; code++)
        sbuf_addf(b, "%s%s %u", code > ERR_CANCELED ? ", " : "", err_name((enum err)code),
                  connect_http_status((enum err)code));
}

/* --- making them -------------------------------------------------------------------------------- */

/* What packing works with is ten times what comes of it, so that is not kept. */
static bool keep(struct arena *a, struct arena *scratch, const struct sbuf *b, struct page *page)
{
    uint8_t *zipped = NULL;
    size_t zipped_len;
    char *plain = b->bad ? NULL : arena_memdup(a, b->data, b->len);

    if (!plain || gzip_deflate(scratch, plain, b->len, &zipped, &zipped_len))
        return false;
    page->plain.data = plain;
    page->plain.len = b->len;
    page->zipped.data = arena_memdup(a, zipped, zipped_len);
    page->zipped.len = zipped_len;
    if (!page->zipped.data)
        return false;
    http_etag(plain, b->len, false, page->plain.etag);
    http_etag(plain, b->len, true, page->zipped.etag);
    return true;
}

static bool make_page(struct arena *a, const struct kind *kind, struct page *page)
{
    CLEANUP(arena_freep) struct arena *scratch = arena_new(SCRATCH_BUDGET);
    CLEANUP(sbuf_fini) struct sbuf body = { 0 }, policy = { 0 };

    *page = (struct page){ .path = kind->path, .type = kind->type };
    sbuf_init(&body, PAGE_MAX);
    sbuf_init(&policy, KIB);
    if (!scratch)
        return false;
    kind->write(&body, scratch);
    if (kind->policy) {
        kind->policy(&policy);
        page->policy = policy.bad ? NULL : arena_strdup(a, policy.data);
    }
    return keep(a, scratch, &body, page) && (!kind->policy || page->policy);
}

static bool make_schema(struct arena *a, const struct schema_message *event, struct page *page)
{
    CLEANUP(arena_freep) struct arena *scratch = arena_new(SCRATCH_BUDGET);
    CLEANUP(sbuf_fini) struct sbuf body = { 0 };

    *page = (struct page){ .path = arena_printf(a, "/schemas/%s", event->type->name),
                           .type = "application/schema+json" };
    sbuf_init(&body, PAGE_MAX);
    if (!scratch || !page->path)
        return false;
    event_schema_write(&body, scratch, event);
    return keep(a, scratch, &body, page);
}

static void tell(int64_t took_us, const struct pages *p)
{
    char ms[24], bytes[24], zipped[24];
    size_t plain_len = 0, zipped_len = 0;

    for (size_t i = 0; i < p->n; i++) {
        plain_len += p->pages[i].plain.len;
        zipped_len += p->pages[i].zipped.len;
    }
    snprintf(ms, sizeof(ms), "%" PRId64, took_us / MSEC_US);
    snprintf(bytes, sizeof(bytes), "%zu", plain_len);
    snprintf(zipped, sizeof(zipped), "%zu", zipped_len);
    log_info("gateway.pages", "the documents of the API are made", "ms", ms, "bytes", bytes,
             "zipped_bytes", zipped, NULL);
}

static bool make_all(struct pages *p)
{
    size_t n;
    const struct schema_message *messages = schema_all_messages(&n);
    bool ok = true;

    p->arena = arena_new(ARRAY_LEN(kinds) * 4 * PAGE_MAX);
    if (p->arena)
        p->pages = arena_array(p->arena, ARRAY_LEN(kinds) + n, sizeof(*p->pages));
    if (!p->pages)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(kinds) && ok; i++)
        ok = make_page(p->arena, &kinds[i], &p->pages[p->n++]);
    for (size_t i = 0; i < n && ok; i++)
        if (schema_is_event(&messages[i]))
            ok = make_schema(p->arena, &messages[i], &p->pages[p->n++]);
    return ok;
}

struct pages *pages_new(void)
{
    struct pages *p = calloc(1, sizeof(*p));
    int64_t began_us = clock_monotonic_us();

    if (!p || !make_all(p)) {
        const char *path = p && p->n ? p->pages[p->n - 1].path : NULL;
        log_error("gateway.pages", "a document of the API cannot be made", "path", path ? path : "",
                  NULL);
        pages_free(p);
        return NULL;
    }
    tell(clock_monotonic_us() - began_us, p);
    return p;
}

void pages_free(struct pages *p)
{
    if (!p)
        return;
    arena_free(p->arena);
    free(p);
}

/* --- serving them ------------------------------------------------------------------------------- */

static void add_headers(struct http_exchange *x, const struct page *page, const struct form *form)
{
    http_add_header(x, "Cache-Control", "public, max-age=300");
    http_add_header(x, "Vary", "Accept-Encoding");
    http_add_header(x, "ETag", form->etag);
    http_add_header(x, "X-Content-Type-Options", "nosniff");
    if (page->policy)
        http_add_header(x, "Content-Security-Policy", page->policy);
    else /* for the pages of tools that show such documents */
        http_add_header(x, "Access-Control-Allow-Origin", "*");
}

static void serve(const struct page *page, struct http_exchange *x)
{
    bool zip = http_names_gzip(http_header(x, "Accept-Encoding"));
    const struct form *form = zip ? &page->zipped : &page->plain;

    add_headers(x, page, form);
    if (http_etag_matches(http_header(x, "If-None-Match"), form->etag)) {
        http_answer(x, 304, NULL, 0);
        return;
    }
    http_add_header(x, "Content-Type", page->type);
    if (zip)
        http_add_header(x, "Content-Encoding", "gzip");
    http_answer_lasting(x, 200, form->data, form->len);
}

bool pages_serve(const struct pages *p, struct http_exchange *x)
{
    enum http_method m = http_method(x);
    size_t i = 0;

    while (i < p->n && strcmp(http_path(x), p->pages[i].path) != 0)
        i++;
    if (i == p->n || http_fault(x) || m == HTTP_OPTIONS)
        return false;
    if (m == HTTP_GET || m == HTTP_HEAD) {
        serve(&p->pages[i], x);
    } else {
        http_add_header(x, "Allow", "GET, HEAD");
        http_answer(x, 405, NULL, 0);
    }
    return true;
}
