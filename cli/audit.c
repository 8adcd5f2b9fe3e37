/*
 * audit.c - `daybook audit verify`: the directory recomputes the chain piece by piece, and each piece
 * begins with the hash that the one before ended with.
 */
#include <sodium.h>

#include "cli/cli.h"
#include "cli/rows.h"
#include "common/num.h"
#include "daybook/directory/v1/audit.pb-c.h"

#define SERVICE "daybook.directory.v1.AuditService"
#define PIECE 5000 /* the most that one call takes */
#define HASH_BYTES 32

typedef Daybook__Directory__V1__VerifyRequest Request;
typedef Daybook__Directory__V1__VerifyResponse Response;

struct place {
    int64_t number;
    uint8_t hash[HASH_BYTES];
};

/* "12:9f86..." of an earlier run. */
static bool read_place(const struct cli *c, struct place *out)
{
    const char *text = args_value(&c->args, "after");
    const char *colon = text ? strchr(text, ':') : NULL;
    size_t len = 0;

    if (!text)
        return true;
    if (colon && strlen(colon + 1) == 2 * HASH_BYTES &&
        num_i64_n(text, (size_t)(colon - text), 1, INT64_MAX, &out->number) &&
        sodium_hex2bin(out->hash, HASH_BYTES, colon + 1, 2 * HASH_BYTES, NULL, &len, NULL) == 0 &&
        len == HASH_BYTES)
        return true;
    (void)cli_usage(c, "--after is NUMBER:HASH as audit verify printed it, not %.100s", text);
    return false;
}

/* NULL: said why. */
static const Response *verify_piece(struct cli *c, const struct place *from, int *status_out)
{
    Request request = DAYBOOK__DIRECTORY__V1__VERIFY_REQUEST__INIT;
    uint8_t hash[HASH_BYTES];

    memcpy(hash, from->hash, sizeof(hash));
    request.after_number = from->number;
    request.limit = PIECE;
    if (from->number) {
        request.hash.data = hash;
        request.hash.len = sizeof(hash);
    }
    return (const void *)cli_must_ask(c, SERVICE, "Verify", &request.base, status_out);
}

static int show(const struct cli *c, const Response *r, const struct place *at)
{
    char hex[2 * HASH_BYTES + 1];

    (void)sodium_bin2hex(hex, sizeof(hex), at->hash, HASH_BYTES);
    if (c->json) {
        (void)rows_print_json(c,
                              json_pack("{s:b,s:I,s:s,s:I,s:s}", "intact", (int)r->intact, "number",
                                        (json_int_t)at->number, "hash", hex, "headNumber",
                                        (json_int_t)r->head_number, "fault", r->fault));
    } else if (r->intact) {
        (void)printf("%" PRId64 " entries, as they were written; the newest is %" PRId64 ":%s\n",
                     at->number, at->number, hex);
    }
    if (r->intact)
        return 0;
    return cli_fail(c, ERR_DATA_LOSS, "behind entry %" PRId64 " of %" PRId64 ": %s", at->number,
                    r->head_number, r->fault);
}

int cmd_audit(struct cli *c)
{
    struct place at = { 0 };
    int status = 0;

    if (strcmp(c->args.words[0], "verify") != 0)
        return cli_usage(c, "usage: daybook audit %s", c->command->usage);
    if (!*c->tenant && !c->over_http)
        return cli_usage(c, "which company? --tenant ID or DAYBOOK_TENANT");
    if (!read_place(c, &at))
        return EXIT_USAGE;
    for (;;) {
        const Response *r = verify_piece(c, &at, &status);
        if (!r)
            return status;
        if (r->hash.len != HASH_BYTES)
            return cli_fail(c, ERR_INTERNAL, "the answer has no hash");
        at.number = r->number;
        memcpy(at.hash, r->hash.data, HASH_BYTES);
        if (!r->intact || r->number >= r->head_number)
            return show(c, r, &at);
    }
}
