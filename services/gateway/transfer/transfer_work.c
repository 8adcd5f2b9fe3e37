/*
 * transfer_work.c - see transfer_work.h.
 */
#include "services/gateway/transfer/transfer_work.h"

#include "common/bus_request.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/retry.h"

#define KEEP_US (5 * SECOND_US) /* a third of a claim */
#define LOOK_US SECOND_US       /* whether others wait */
#define PAUSE_BASE_US (100 * MSEC_US)
#define PAUSE_MAX_US (5 * SECOND_US)

enum err transfer_stay(struct transfer_worker *w, const struct transfer_job *job, bool *cancel)
{
    int64_t now_us = clock_monotonic_us();
    bool wanted = false;

    if (w->stopping(w->arg))
        return ERR_CANCELED;
    if (now_us < w->kept_us + KEEP_US)
        return ERR_OK;
    enum err e = transfer_store_keep(&w->store, job, &wanted);
    if (!e)
        w->kept_us = now_us;
    *cancel = *cancel || wanted;
    return e;
}

enum err transfer_pass_on(struct transfer_worker *w, const struct transfer_job *job)
{
    int64_t now_us = clock_monotonic_us();

    if (!w->turn_until_us)
        w->turn_until_us = now_us + w->turn_us;
    if (now_us < w->turn_until_us)
        return ERR_OK;
    w->turn_until_us = now_us + LOOK_US;
    enum err e = transfer_store_others(&w->store, job->who.tenant, &w->turn_over);
    return e ? e : w->turn_over ? ERR_CANCELED : ERR_OK;
}

static bool is_passing(enum err e)
{
    return e == ERR_UNAVAILABLE || e == ERR_ABORTED || e == ERR_DEADLINE_EXCEEDED ||
           e == ERR_RESOURCE_EXHAUSTED;
}

bool transfer_may_ask_again(const struct transfer_worker *w, struct transfer_refusals *r,
                            enum err e)
{
    int64_t now_us = clock_monotonic_us();

    if (r->last_us)
        r->total_us += now_us - r->last_us;
    r->last_us = now_us;
    return is_passing(e) && r->total_us < w->patience_us;
}

const char *transfer_why_again(enum err e, const PbCallResult *result, struct arena *a)
{
    return result && bus_request_met_drain(result, a) ? RETRY_DRAINING : err_name(e);
}

/* Where others would hand on the refusal when the budget is empty, a file would be left half done: it
 * waits as long as ever, and patience ends it. */
int64_t transfer_again_us(int tries, const char *why)
{
    bool for_nothing = strcmp(why, RETRY_DRAINING) == 0 || strcmp(why, RETRY_NOT_TAKEN) == 0;

    retry_count(why);
    if (!for_nothing && !retry_budget_take(retry_budget(), clock_monotonic_us()))
        return PAUSE_MAX_US;
    int64_t most_us = MIN(PAUSE_MAX_US, PAUSE_BASE_US << MIN(tries, 10));
    return most_us / 2 + randombytes_uniform((uint32_t)(most_us / 2));
}

enum err transfer_rehash(struct transfer_worker *w, const struct transfer_job *job,
                         const char *kind, int64_t len, crypto_hash_sha256_state *hash)
{
    struct transfer_piece piece;
    enum err e = ERR_OK;
    bool cancel = false; /* whoever goes on hears of it again */

    crypto_hash_sha256_init(hash);
    for (int64_t at = 0; at < len && !e; at += (int64_t)piece.len) {
        e = transfer_store_read(&w->store, job->who, kind, at, &piece);
        if (!e && !piece.len)
            e = ERR_DATA_LOSS;
        if (!e)
            crypto_hash_sha256_update(hash, piece.data, piece.len);
        if (!e)
            e = transfer_stay(w, job, &cancel);
    }
    return e;
}

void transfer_hash_text(const crypto_hash_sha256_state *hash, char out[static TRANSFER_HEX])
{
    crypto_hash_sha256_state copy = *hash;
    uint8_t bytes[crypto_hash_sha256_BYTES];

    crypto_hash_sha256_final(&copy, bytes);
    sodium_bin2hex(out, TRANSFER_HEX, bytes, sizeof(bytes));
}

enum err transfer_end(struct transfer_worker *w, const struct transfer_job *job, int state,
                      const crypto_hash_sha256_state *hash, enum err code, const char *message)
{
    char text[TRANSFER_HEX];

    transfer_hash_text(hash, text);
    enum err e = transfer_store_finish(
        &w->store, job,
        &(struct transfer_end){ .state = state, .sha256 = text, .code = code, .message = message });
    if (!e)
        w->emitted(w->arg);
    return e;
}

/* Its file may be what cannot be read, so the end has no hash of it. */
enum err transfer_give_up(struct transfer_worker *w, const struct transfer_job *job)
{
    enum err e = transfer_store_finish(
        &w->store, job,
        &(struct transfer_end){ .state = TRANSFER_STATE(FAILED),
                                .sha256 = "",
                                .code = ERR_INTERNAL,
                                .message = "it was taken up again and again and did not come on: "
                                           "send it in smaller parts, or tell us" });
    if (e)
        return e;
    log_error("transfer.given_up", "an import or export was taken up too often", NULL);
    w->emitted(w->arg);
    return ERR_OK;
}
