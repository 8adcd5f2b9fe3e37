/*
 * webhook.c - `daybook webhook listen`: takes webhooks in, judges their signatures and shows them,
 * for the first test of whoever will write a receiver.
 *
 * The server is the gateway's (services/gateway/http/http.h), which already is careful with clients. One
 * listener a port: the gateway's loops share theirs, and two of these would halve the deliveries.
 */
#include "cli/rows.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>

#include "cli/seen.h"
#include "common/clock.h"
#include "common/net.h"
#include "common/num.h"
#include "common/webhook_signature.h"
#include "services/gateway/http/http.h"

#define LISTEN_DEFAULT "127.0.0.1:9090"
#define SECRETS_MAX 2 /* while one is changed */
#define SECRET_SIZE 256
#define BODY_MAX (1 * MIB)
#define CONNECTIONS_MAX 64
#define TURN_US (250 * MSEC_US)
#define GOODBYE_US (2 * SECOND_US) /* for the last answer to get out */
#define BODY_INDENT 4

struct listener {
    struct cli *c;
    struct http_loop *http;
    struct seen *seen;
    char secrets[SECRETS_MAX][SECRET_SIZE];
    const char *list[SECRETS_MAX];
    size_t nsecrets;
    int64_t count;    /* ends after so many; INT64_MAX: never */
    int64_t until_us; /* monotonic; INT64_MAX: never */
    int64_t taken;    /* that count */
    bool full;        /* no more ids can be remembered */
};

/* A delivery, as it is shown. */
struct delivery {
    const char *id, *type, *subject; /* "" : not said */
    const char *reason;              /* NULL: taken */
    bool again;
    json_t *body; /* NULL: no JSON */
    const char *text;
    size_t len;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* --- secrets ---------------------------------------------------------------------------------- */

/* One, or two parted by blanks. */
static bool add_secrets(struct listener *l, const char *from, const char *words)
{
    for (const char *p = words + strspn(words, " \t\r\n"); *p; p += strspn(p, " \t\r\n")) {
        size_t len = strcspn(p, " \t\r\n");
        if (l->nsecrets == SECRETS_MAX) {
            (void)cli_usage(l->c, "%s: at most two secrets, the new one and the one before", from);
            return false;
        }
        char *secret = l->secrets[l->nsecrets];
        if (len < SECRET_SIZE)
            memcpy(secret, p, len);
        if (len >= SECRET_SIZE || !webhook_secret_is_valid(secret)) {
            (void)cli_usage(l->c, "%s: a secret is whsec_ and the base64 of 24 to 64 bytes", from);
            return false;
        }
        l->list[l->nsecrets++] = secret;
        p += len;
    }
    return true;
}

static bool read_secrets(struct listener *l)
{
    const struct args *a = &l->c->args;
    const char *setting = cli_setting(l->c, "WEBHOOK_SECRET");
    char word[2 * SECRET_SIZE];
    bool ok = true;

    for (size_t i = 0; i < a->nset && ok; i++)
        if (strcmp(a->set[i].option->name, "secret") == 0)
            ok = cli_secret(l->c, "secret", a->set[i].value, word, sizeof word) &&
                 add_secrets(l, "--secret", word);
    sodium_memzero(word, sizeof word);
    if (ok && !args_has(a, "secret") && setting)
        ok = add_secrets(l, "DAYBOOK_WEBHOOK_SECRET_FILE", setting);
    return ok;
}

/* --- showing ---------------------------------------------------------------------------------- */

static const char *member(const json_t *body, const char *name)
{
    const char *text = json_string_value(json_object_get(body, name));
    return text ? text : "";
}

/* As text where it is no JSON; null where it is no text either. */
static json_t *body_json(const struct delivery *d)
{
    json_t *text = d->body ? json_incref(d->body) : json_stringn(d->text, d->len);
    return text ? text : json_null();
}

static void show_json(const struct listener *l, const struct delivery *d, const char *time)
{
    bool with_body = args_has(&l->c->args, "body");
    json_t *verified = l->nsecrets ? json_boolean(!d->reason) : json_null();
    json_t *root =
        json_pack("{s:s,s:o,s:b,s:s,s:s,s:s}", "time", time, "verified", verified, "repeated",
                  d->again, "id", d->id, "type", d->type, "subject", d->subject);

    if (root && d->reason)
        (void)json_object_set_new(root, "reason", json_string(d->reason));
    if (root && with_body)
        (void)json_object_set_new(root, "body", body_json(d));
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    if (text)
        (void)printf("%s\n", text);
    else
        (void)fprintf(stderr, "daybook webhook: a delivery cannot be shown as JSON\n");
    free(text);
    json_decref(root);
}

static const char *verdict(const struct listener *l, const struct delivery *d)
{
    return d->reason ? "REFUSED" : l->nsecrets ? "verified" : "not verified";
}

/* What came is a stranger's: no control character of it gets to the terminal. */
static void show_body(struct arena *a, const struct delivery *d)
{
    char *text = d->body ? json_dumps(d->body, JSON_INDENT(2)) : NULL;
    const char *rest = text ? text : arena_strndup(a, d->text, d->len);

    while (rest && *rest) {
        size_t len = strcspn(rest, "\n");
        const char *line = arena_strndup(a, rest, len);
        const char *plain = line ? text_plain(a, line) : NULL;
        (void)printf("%*s%s\n", BODY_INDENT, "", plain ? plain : "?");
        rest += len;
        rest += *rest == '\n';
    }
    free(text);
}

static void show_text(const struct listener *l, const struct delivery *d, const char *time,
                      struct arena *a)
{
    const char *type = text_plain(a, d->type), *subject = text_plain(a, d->subject);
    const char *id = text_plain(a, d->id);

    if (!type || !subject || !id)
        return;
    (void)printf("%-27s  %s  %s  %s  %s%s%s%s\n", time, verdict(l, d), *type ? type : "-",
                 *subject ? subject : "-", *id ? id : "-", d->again ? "  (again)" : "",
                 d->reason ? ": " : "", d->reason ? d->reason : "");
    if (args_has(&l->c->args, "body"))
        show_body(a, d);
}

static void show(const struct listener *l, const struct delivery *d, struct arena *a)
{
    char time[TIME_TEXT_MAX];

    time_format(clock_wall_us() / MSEC_US * MSEC_US, time);
    if (l->c->json)
        show_json(l, d, time);
    else
        show_text(l, d, time, a);
    (void)fflush(stdout);
}

/* --- taking in -------------------------------------------------------------------------------- */

static const char *judge(const struct listener *l, const struct webhook_message *m)
{
    const char *reason;

    if (l->nsecrets && webhook_verify(l->list, l->nsecrets, m, clock_wall_us() / SECOND_US,
                                      &reason) != WEBHOOK_GENUINE)
        return reason;
    return NULL;
}

static const char *text_of(const char *header)
{
    return header ? header : "";
}

static void take(struct listener *l, struct http_exchange *x)
{
    size_t len;
    const void *body = http_body(x, &len);
    struct webhook_message m = {
        .id = http_header(x, "webhook-id"),
        .timestamp = http_header(x, "webhook-timestamp"),
        .signature = http_header(x, "webhook-signature"),
        .body = body,
        .len = len,
    };
    struct delivery d = { .id = text_of(m.id),
                          .reason = judge(l, &m),
                          .body = json_loadb(body, len, 0, NULL),
                          .text = body,
                          .len = len };

    d.type = member(d.body, "type");
    d.subject = member(d.body, "subject");
    d.again = !d.reason && *d.id && !seen_add(l->seen, d.id, &l->full) && !l->full;
    l->taken += !d.reason && !d.again;
    show(l, &d, http_arena(x));
    json_decref(d.body);
    http_answer(x, d.reason ? 401 : 204, NULL, 0);
}

static void on_request(void *arg, struct http_exchange *x)
{
    if (http_method(x) != HTTP_POST) {
        http_add_header(x, "Allow", "POST");
        http_answer(x, 405, NULL, 0);
    } else if (http_fault(x)) {
        http_answer(x, http_fault(x) == HTTP_BODY_TOO_LARGE ? 413 : 400, NULL, 0);
    } else {
        take(arg, x);
    }
}

static void nothing_to_do(void *arg UNUSED, struct http_exchange *x UNUSED)
{
}

/* --- the command ------------------------------------------------------------------------------ */

static void turn(struct listener *l, int64_t most_us)
{
    struct pollfd fd = { .fd = http_loop_fd(l->http), .events = POLLIN };
    int64_t wait_us = MIN(most_us, http_loop_wait_us(l->http));

    (void)poll(&fd, 1, (int)((MAX(wait_us, 0) + MSEC_US - 1) / MSEC_US));
    http_loop_run(l->http);
}

static bool goes_on(const struct listener *l)
{
    return !interrupted && !l->full && l->taken < l->count && clock_monotonic_us() < l->until_us;
}

static int listen_on(struct listener *l)
{
    while (goes_on(l))
        turn(l, MIN(TURN_US, l->until_us - clock_monotonic_us()));
    http_loop_quiesce(l->http);
    int64_t until_us = clock_monotonic_us() + GOODBYE_US;
    while (http_loop_exchanges(l->http) > 0 && clock_monotonic_us() < until_us)
        turn(l, TURN_US);

    if (l->full)
        return cli_fail(l->c, ERR_RESOURCE_EXHAUSTED, "out of memory for the ids that have come");
    if (!interrupted && l->count != INT64_MAX && l->taken < l->count)
        return cli_fail(l->c, ERR_CANCELED, "%" PRId64 " of %" PRId64 " deliveries came in %s",
                        l->taken, l->count, args_value(&l->c->args, "for"));
    return 0;
}

static int open_listener(struct listener *l)
{
    const char *asked = args_value(&l->c->args, "listen");
    char address[NET_ADDRESS_MAX];
    struct http_limits limits = http_limits_default;
    const struct http_handler handler = {
        .handle = on_request, .gone = nothing_to_do, .drained = nothing_to_do, .arg = l
    };

    if (!asked)
        asked = LISTEN_DEFAULT;
    /* Fails where somebody listens already, which the loop's own socket, made to be shared, would
     * not. */
    int fd = strncmp(asked, "unix:", 5) == 0 ? -1 : net_listen(asked, 1, address);
    if (fd < 0 && (errno == EINVAL || strncmp(asked, "unix:", 5) == 0))
        return cli_usage(l->c, "--listen is host:port, such as " LISTEN_DEFAULT ", not %.80s",
                         asked);
    if (fd < 0)
        return cli_fail(l->c, ERR_UNAVAILABLE, "cannot listen at %.80s: %s", asked,
                        strerror(errno));
    net_closep(&fd);
    limits.body_max = BODY_MAX;
    limits.connections_max = CONNECTIONS_MAX;
    l->http = http_loop_new(address, &limits, &handler);
    l->seen = seen_new();
    if (!l->http || !l->seen)
        return cli_fail(l->c, ERR_UNAVAILABLE, "cannot listen at %.80s", asked);
    if (l->c->json)
        (void)printf("{\"listening\":\"http://%s/\",\"verifies\":%s}\n", address,
                     l->nsecrets ? "true" : "false");
    else
        (void)printf("listening at http://%s/%s\n", address,
                     l->nsecrets ? "" : "; no --secret is given: nothing is verified");
    (void)fflush(stdout);
    return 0;
}

static int read_limits(struct listener *l)
{
    const char *span = args_value(&l->c->args, "for");
    int64_t span_us = 0;

    if (!cli_number(l->c, "count", 1, INT64_MAX - 1, INT64_MAX, &l->count))
        return EXIT_USAGE;
    if (span && (!num_duration_us(span, &span_us) || span_us <= 0))
        return cli_usage(l->c, "--for is a duration such as 30s or 5m, not %.40s", span);
    l->until_us = span ? clock_monotonic_us() + span_us : INT64_MAX;
    return 0;
}

int cmd_webhook(struct cli *c)
{
    struct listener l = { .c = c };
    struct sigaction act = { .sa_handler = on_signal };

    if (strcmp(c->args.words[0], "listen") != 0)
        return cli_usage(c, "usage: daybook webhook %s", c->command->usage);
    int status = read_limits(&l);
    if (status == 0 && !read_secrets(&l))
        status = EXIT_USAGE;
    (void)sigaction(SIGINT, &act, NULL);
    (void)sigaction(SIGTERM, &act, NULL);
    if (status == 0)
        status = open_listener(&l);
    if (status == 0)
        status = listen_on(&l);
    http_loop_free(l.http);
    seen_free(l.seen);
    sodium_memzero(l.secrets, sizeof l.secrets);
    return status;
}
