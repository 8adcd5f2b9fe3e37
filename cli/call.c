/*
 * call.c - `daybook call`: any method, by its descriptor.
 */
#include <errno.h>

#include "cli/cli.h"
#include "common/protojson.h"
#include "common/schema.h"

#define REQUEST_LIMIT (4 * MIB)

/* --- the request ------------------------------------------------------------------------------ */

/* All of a file; "-" is stdin. False: said why. */
static bool read_all(const struct cli *c, const char *path, struct sbuf *out)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(path, "re");
    char buf[16384];
    size_t n;

    if (!f) {
        (void)cli_usage(c, "%s: %s", path, strerror(errno));
        return false;
    }
    while (!out->bad && (n = fread(buf, 1, sizeof buf, f)) > 0)
        sbuf_add(out, buf, n);
    bool failed = ferror(f);
    if (!is_stdin)
        (void)fclose(f);
    if (failed || out->bad)
        (void)cli_usage(c, "%s: %s", path, failed ? "cannot be read" : "more than 4 MiB");
    return !failed && !out->bad;
}

static bool request_text(const struct cli *c, struct sbuf *out)
{
    const char *word = c->args.nwords > 1 ? c->args.words[1] : "{}";
    if (strcmp(word, "-") == 0)
        return read_all(c, word, out);
    if (word[0] == '@')
        return read_all(c, word + 1, out);
    sbuf_add_text(out, word);
    if (out->bad)
        (void)cli_usage(c, "the request is more than 4 MiB");
    return !out->bad;
}

static ProtobufCMessage *read_request(struct cli *c, const struct schema_method *m)
{
    struct sbuf text;
    struct wire_fault fault;
    ProtobufCMessage *request = NULL;

    sbuf_init(&text, REQUEST_LIMIT);
    if (request_text(c, &text) &&
        protojson_read(m->input, text.data, text.len, PROTOJSON_STRICT, c->arena, &request, &fault))
        (void)cli_usage(c, "the request%s%s: %s; see daybook call --describe %s",
                        fault.field[0] ? ", field " : "", fault.field, fault.reason,
                        m->input->name);
    sbuf_fini(&text);
    return request;
}

/* --- the method ------------------------------------------------------------------------------- */

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n > k && name[n - k - 1] == '.' && strcmp(name + n - k, end) == 0;
}

const struct schema_service *call_find_service(const char *name)
{
    const struct schema_service *exact = schema_find_service(name), *found = NULL;
    size_t n, hits = 0;
    const struct schema_service *all = schema_services(&n);
    for (size_t i = 0; i < n; i++)
        if (ends_in(all[i].name, name)) {
            found = &all[i];
            hits++;
        }
    return exact ? exact : hits == 1 ? found : NULL;
}

static const struct schema_method *find_method(struct cli *c, const char *name)
{
    const char *slash = strrchr(name, '/');
    if (!slash)
        slash = strrchr(name, '.');
    char *service = slash ? arena_strndup(c->arena, name, (size_t)(slash - name)) : NULL;
    if (!service) {
        (void)cli_usage(c, "%.100s is not SERVICE/METHOD; see daybook call --list", name);
        return NULL;
    }
    const struct schema_service *s = call_find_service(service);
    const struct schema_method *m = s ? schema_find_method(s->name, slash + 1) : NULL;
    if (!s)
        (void)cli_usage(c, "there is no service %.100s, or several; see daybook call --list",
                        service);
    else if (!m)
        (void)cli_usage(c, "%s has no method %.60s; see daybook call --list %s", s->name, slash + 1,
                        s->name);
    return m;
}

static int call_method(struct cli *c)
{
    int status = EXIT_USAGE;
    const struct schema_method *m = find_method(c, c->args.words[0]);
    const ProtobufCMessage *request = m ? read_request(c, m) : NULL;
    if (!request)
        return EXIT_USAGE;
    const ProtobufCMessage *answer = cli_must_ask(c, m->service, m->name, request, &status);
    if (!answer)
        return status;
    return cli_print_message(c, answer, args_has(&c->args, "defaults") ? PROTOJSON_DEFAULTS : 0);
}

int cmd_call(struct cli *c)
{
    const char *word = c->args.nwords > 0 ? c->args.words[0] : NULL;
    if (args_has(&c->args, "list"))
        return call_list(c, word);
    if (!word)
        return cli_usage(c, "usage: daybook call %s; or --list, --describe NAME",
                         c->command->usage);
    return args_has(&c->args, "describe") ? call_describe(c, word) : call_method(c);
}
