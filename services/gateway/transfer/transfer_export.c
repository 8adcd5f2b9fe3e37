/*
 * transfer_export.c - an export under way: page after page of CustomerService/List, asked on behalf of
 * who wants the file, becomes its next piece. Where the next page begins is written down with the
 * piece, so that after a crash it goes on there.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/retry.h"
#include "daybook/customers/v1/customers.pb-c.h"
#include "services/gateway/transfer/transfer_columns.h"
#include "services/gateway/transfer/transfer_work.h"

#define PAGE 500 /* of some 500 bytes each: a page fits into a message, and into a piece */
#define PAGE_ARENA (32 * MIB)
#define LISTEN_US SECOND_US

typedef Daybook__Customers__V1__ListCustomersRequest PbList;
typedef Daybook__Customers__V1__ListCustomersResponse PbPage;

struct exporter {
    struct transfer_worker *w;
    const struct transfer_job *job;
    struct arena *arena; /* of the whole job */
    struct arena *page;  /* of the page at hand */
    PbExport *export;
    const PbPrincipal *principal;
    const char *remote_address;
    struct transfer_columns columns;
    crypto_hash_sha256_state hash;
    int64_t pages;
    char *token; /* of the next page, on the heap */
    char request_id[ID_TEXT_MAX];
    bool whole, cancelled;
    enum err fault;
    char why[300];
};

/* --- reading ------------------------------------------------------------------------------------ */

static const ProtobufCMessageDescriptor *type_of(void *arg, const char *request_id)
{
    const struct exporter *x = arg;
    return strcmp(x->request_id, request_id) == 0
               ? &daybook__customers__v1__list_customers_response__descriptor
               : NULL;
}

/* In short steps: meanwhile the claim is moved on, and somebody may want an end. *stay_out: of
 * transfer_stay(). */
static enum err hear(struct exporter *x, struct bus_answer *answer_out, enum err *stay_out)
{
    int64_t until_us = clock_monotonic_us() + TRANSFER_ASK_US;

    for (;;) {
        enum err e = bus_client_receive(x->w->bus, LISTEN_US, x->page, type_of, x, answer_out);
        if (answer_out->result || clock_monotonic_us() >= until_us)
            return e;
        *stay_out = transfer_stay(x->w, x->job, &x->cancelled);
        if (*stay_out || x->cancelled)
            return e;
    }
}

/* taken_out: by a bus. answer_out->result: NULL, nobody has answered. */
static enum err ask(struct exporter *x, struct bus_answer *answer_out, bool *taken_out,
                    enum err *stay_out)
{
    PbList list = DAYBOOK__CUSTOMERS__V1__LIST_CUSTOMERS_REQUEST__INIT;
    const struct bus_request request = {
        .service = "daybook.customers.v1.CustomerService",
        .method = "List",
        .message = &list.base,
        .request_id = id_text(id_new(), x->request_id),
        .timeout_us = TRANSFER_ASK_US,
        .principal = x->principal,
        .remote_address = x->remote_address,
    };

    list.page_size = PAGE;
    list.page_token = x->token;
    if (x->export->filter) {
        list.owner_id = x->export->filter->owner_id;
        list.tier = (Daybook__Customers__V1__Tier)x->export->filter->tier;
    }
    arena_reset(x->page);
    *answer_out = (struct bus_answer){ .result = NULL };
    *stay_out = ERR_OK;
    enum err e = bus_client_send(x->w->bus, &request, x->page);
    *taken_out = !e;
    return e ? e : hear(x, answer_out, stay_out);
}

/* False: the claim is gone (*e_out), somebody wants an end, or the page is refused (x->fault). */
static bool read_page(struct exporter *x, const PbPage **page_out, enum err *e_out)
{
    struct transfer_refusals refusals = { 0 };
    struct bus_answer answer;
    bool taken;

    for (int tries = 1;; tries++) {
        const char *why = RETRY_NOT_TAKEN;
        enum err e = ask(x, &answer, &taken, e_out);
        *page_out = (const PbPage *)answer.message;
        if (!*e_out)
            *e_out = transfer_stay(x->w, x->job, &x->cancelled);
        if (!e && tries == 1)
            retry_budget_earn(retry_budget());
        if (*e_out || x->cancelled || !e)
            return !*e_out && !x->cancelled;
        if (!taken) {
            refusals.last_us = 0;
        } else if (!transfer_may_ask_again(x->w, &refusals, e)) {
            x->fault = e;
            snprintf(x->why, sizeof(x->why), "the customers cannot be read: %s",
                     answer.result && answer.result->status ? answer.result->status->message
                                                            : err_name(e));
            return false;
        }
        if (taken)
            why = transfer_why_again(e, answer.result, x->page);
        x->w->rest(x->w->arg, transfer_again_us(tries, why));
    }
}

/* --- writing ------------------------------------------------------------------------------------ */

static enum err write_rows(struct exporter *x, const PbPage *page, FILE *out)
{
    bool csv = x->export->format == TRANSFER_FORMAT(CSV);
    enum err e = ERR_OK;

    if (csv && x->export->file_bytes == 0)
        transfer_columns_write_header(&x->columns, out);
    for (size_t i = 0; i < page->n_customers && !e; i++)
        e = csv ? transfer_columns_write_csv(&x->columns, &page->customers[i]->base, x->export->id,
                                             x->page, out)
                : transfer_columns_write_json(&x->columns, &page->customers[i]->base, x->export->id,
                                              out);
    return e;
}

static enum err put_down(struct exporter *x, const PbPage *page, const char *text, size_t len)
{
    PbExport after = *x->export;
    char *token = strdup(page->next_page_token);

    if (!token)
        return ERR_RESOURCE_EXHAUSTED;
    after.rows += (int64_t)page->n_customers;
    after.file_bytes += (int64_t)len;
    enum err e = transfer_store_export_progress(&x->w->store, x->job, &after, x->pages + 1, token,
                                                text, len, &x->cancelled);
    if (e) {
        free(token);
        return e;
    }
    free(x->token);
    x->token = token;
    x->pages++;
    x->whole = !*token;
    x->w->kept_us = clock_monotonic_us();
    *x->export = after;
    crypto_hash_sha256_update(&x->hash, (const uint8_t *)text, len);
    return x->whole || x->cancelled ? ERR_OK : transfer_pass_on(x->w, x->job);
}

static enum err take_page(struct exporter *x, const PbPage *page)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = write_rows(x, page, out);
    bool bad = ferror(out);
    if ((fclose(out) != 0 || bad) && !e)
        e = ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = put_down(x, page, text, len);
    free(text);
    return e;
}

/* --- the whole ---------------------------------------------------------------------------------- */

static enum err load(struct exporter *x)
{
    struct transfer_export_state state;
    size_t bad;

    enum err e = transfer_store_load_export(&x->w->store, x->job, &state);
    if (e)
        return e;
    x->export = wire_clone(&state.export->base, x->arena);
    x->principal = wire_clone(&state.principal->base, x->arena);
    x->remote_address = arena_strdup(x->arena, state.remote_address);
    x->token = strdup(state.page_token);
    x->pages = state.pages;
    x->whole = x->pages > 0 && !*state.page_token;
    if (!x->export || !x->principal || !x->remote_address || !x->token)
        return ERR_RESOURCE_EXHAUSTED;
    x->cancelled = x->export->cancel_requested;
    if (!transfer_columns_choose((const char *const *)x->export->fields, x->export->n_fields,
                                 &x->columns, &bad)) {
        x->fault = ERR_INTERNAL; /* another version of ours has taken it */
        snprintf(x->why, sizeof(x->why), "there is no column %s", x->export->fields[bad]);
    }
    return transfer_rehash(x->w, x->job, "file", x->export->file_bytes, &x->hash);
}

/* Then it has failed. Which key a service account asked with nobody has told us. */
static bool has_left(struct exporter *x)
{
    const char *why = transfer_gone(x->principal, (struct id){ 0 });

    if (why) {
        x->fault = ERR_UNAUTHENTICATED;
        snprintf(x->why, sizeof(x->why), "%s", why);
    }
    return why != NULL;
}

static enum err drive(struct exporter *x)
{
    enum err e = ERR_OK;
    const PbPage *page;

    while (!e && !x->cancelled && !x->fault && !x->whole)
        if (!has_left(x) && read_page(x, &page, &e))
            e = take_page(x, page);
    if (e)
        return e;
    int state = x->cancelled ? TRANSFER_STATE(CANCELLED)
                : x->fault   ? TRANSFER_STATE(FAILED)
                             : TRANSFER_STATE(DONE);
    log_info("export.end", x->fault ? x->why : "an export has ended", "export", x->export->id,
             NULL);
    return transfer_end(x->w, x->job, state, &x->hash,
                        state == TRANSFER_STATE(FAILED) ? x->fault : ERR_OK, x->why);
}

enum err transfer_export_run(struct transfer_worker *w, const struct transfer_job *job)
{
    struct exporter x = {
        .w = w, .job = job, .arena = arena_new(MIB), .page = arena_new(PAGE_ARENA)
    };

    enum err e = x.arena && x.page ? load(&x) : ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = drive(&x);
    free(x.token);
    arena_free(x.page);
    arena_free(x.arena);
    return e;
}
