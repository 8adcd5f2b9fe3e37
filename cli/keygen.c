/*
 * keygen.c - a CURVE key pair as two files (protocols G.5).
 *
 * The secret file is made with O_EXCL and mode 0400, and first: whoever runs us twice keeps the key
 * that was perhaps handed out already. The public one can be made again from it. A partner's public
 * file says so, and the bus refuses it among the keys of the installation: a file without a kind
 * would be a daemon's there.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <unistd.h>
#include <zmq.h>

#include "cli/rows.h"
#include "common/config.h"
#include "common/sbuf.h"

#define PATH_SIZE 4096
#define KEY_SIZE 41

#define CREDENTIALS "daybook.directory.v1.CredentialService"

struct pair {
    const char *kind;
    bool is_new; /* else the secret was there */
    char public_key[KEY_SIZE];
    char secret_path[PATH_SIZE], public_path[PATH_SIZE];
};

/* Those of the installation, which the bus knows by their files; all others are partners. */
static bool is_kind(const char *kind)
{
    static const char *const kinds[] = { "partner", "daemon", "edge", "system" };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kind, kinds[i]) == 0)
            return true;
    return false;
}

/* A new file; errno when false, and then nothing of it is left behind. */
static bool write_new(const char *path, mode_t mode, const char *text)
{
    size_t len = strlen(text);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    int saved = errno;
    ok = close(fd) == 0 && ok;
    if (!ok)
        (void)unlink(path);
    errno = saved;
    return ok;
}

static int cannot_write(const struct cli *c, const struct pair *p, const char *path)
{
    if (errno == EEXIST && p->is_new)
        return cli_fail(c, ERR_ALREADY_EXISTS,
                        "%s is there already; move it away to make a new key", path);
    if (errno == EEXIST)
        return cli_fail(c, ERR_ALREADY_EXISTS,
                        "%s is there already; move it away to make it again from %s", path,
                        p->secret_path);
    return cli_fail(c, ERR_FAILED_PRECONDITION, "%s: %s", path, strerror(errno));
}

/* --- what to do with it ----------------------------------------------------------------------- */

/* RegisterCurveKeyRequest; a key has no character that JSON or a shell would mind. */
static void add_request(struct sbuf *out, const char *prefix, const char *public_key)
{
    const char *slash = strrchr(prefix, '/');
    sbuf_add_text(out, "{\"label\":");
    sbuf_add_json(out, slash ? slash + 1 : prefix);
    sbuf_addf(out, ",\"scopes\":[\"customers.read\"],\"curvePublicKey\":\"%s\"}", public_key);
}

static void add_quoted(struct sbuf *out, const char *text)
{
    sbuf_add_char(out, '\'');
    for (; *text; text++)
        if (*text == '\'')
            sbuf_add_text(out, "'\\''");
        else
            sbuf_add_char(out, *text);
    sbuf_add_char(out, '\'');
}

static void show_next(const struct pair *p, const char *request)
{
    struct sbuf quoted;
    if (strcmp(p->kind, "partner") != 0) {
        (void)printf("Copy %s to the bus's DAYBOOK_BUS_KEYS: it is a key of kind %s.\n",
                     p->public_path, p->kind);
        return;
    }
    sbuf_init(&quoted, PATH_SIZE * 4);
    add_quoted(&quoted, request);
    (void)printf(
        "Whoever administers the company registers it, with the scopes that it shall have\n"
        "(for a person also \"employeeId\"):\n\n"
        "daybook call CredentialService/RegisterCurveKey %s --tenant ID\n",
        quoted.data);
    sbuf_fini(&quoted);
}

static int show_json(const struct cli *c, const struct pair *p, const char *request)
{
    json_t *root = json_pack("{s:s,s:s,s:s,s:s}", "publicKey", p->public_key, "kind", p->kind,
                             "secretFile", p->secret_path, "publicFile", p->public_path);
    if (strcmp(p->kind, "partner") == 0)
        json_object_set_new(root, "register",
                            json_pack("{s:s,s:o}", "method", CREDENTIALS "/RegisterCurveKey",
                                      "request", json_loads(request, 0, NULL)));
    return rows_print_json(c, root);
}

static int show(const struct cli *c, const struct pair *p)
{
    struct sbuf request;
    int status = 0;
    sbuf_init(&request, PATH_SIZE * 2);
    add_request(&request, c->args.words[0], p->public_key);
    if (c->json) {
        status = show_json(c, p, request.data);
    } else {
        if (p->is_new)
            (void)printf("%s\n%s and %s written; the former is a secret.\n", p->public_key,
                         p->secret_path, p->public_path);
        else
            (void)printf("%s\n%s written, of the secret in %s.\n", p->public_key, p->public_path,
                         p->secret_path);
        show_next(p, request.data);
    }
    sbuf_fini(&request);
    return status;
}

/* --- making it -------------------------------------------------------------------------------- */

static int make_pair(const struct cli *c, struct pair *p)
{
    char secret_key[KEY_SIZE], text[2 * KEY_SIZE];

    if (access(p->public_path, F_OK) == 0) {
        errno = EEXIST;
        return cannot_write(c, p, p->public_path);
    }
    if (zmq_curve_keypair(p->public_key, secret_key) != 0)
        return cli_fail(c, ERR_INTERNAL, "no key pair: %s", zmq_strerror(errno));
    snprintf(text, sizeof text, "%s\n", secret_key);
    bool ok = write_new(p->secret_path, 0400, text);
    sodium_memzero(secret_key, sizeof secret_key);
    sodium_memzero(text, sizeof text);
    return ok ? 0 : cannot_write(c, p, p->secret_path);
}

static int find_public(const struct cli *c, struct pair *p)
{
    char secret_key[2 * KEY_SIZE];

    const char *wrong = config_read_file(p->secret_path, secret_key, sizeof secret_key);
    if (!wrong &&
        (strlen(secret_key) != KEY_SIZE - 1 || zmq_curve_public(p->public_key, secret_key) != 0))
        wrong = "it holds no secret key";
    sodium_memzero(secret_key, sizeof secret_key);
    return wrong ? cli_fail(c, ERR_FAILED_PRECONDITION, "%s: %s", p->secret_path, wrong) : 0;
}

int cmd_keygen(struct cli *c)
{
    const char *prefix = c->args.words[0], *kind = args_value(&c->args, "kind");
    struct pair p = { .kind = kind ? kind : "partner", .is_new = !args_has(&c->args, "public") };
    char text[2 * KEY_SIZE];

    if (!p.is_new && !kind)
        return cli_usage(c, "--public wants --kind too: the secret does not tell it");
    if (!is_kind(p.kind))
        return cli_usage(c, "--kind is partner, daemon, edge or system, not %.40s", p.kind);
    if (snprintf(p.secret_path, sizeof p.secret_path, "%s.key", prefix) >= PATH_SIZE ||
        snprintf(p.public_path, sizeof p.public_path, "%s.pub", prefix) >= PATH_SIZE)
        return cli_usage(c, "the prefix is too long");
    int status = p.is_new ? make_pair(c, &p) : find_public(c, &p);
    if (status)
        return status;
    snprintf(text, sizeof text, "%s\nkind=%s\n", p.public_key, p.kind);
    if (!write_new(p.public_path, 0644, text))
        return cannot_write(c, &p, p.public_path);
    return show(c, &p);
}
