/*
 * keygen.c - a CURVE key pair as two files (protocols G.5).
 *
 * The secret file is made with O_EXCL and mode 0400, and first: whoever runs us twice keeps the key
 * that was perhaps handed out already.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <unistd.h>
#include <zmq.h>

#include "cli/cli.h"

#define PATH_SIZE 4096
#define KEY_SIZE 41

static bool is_kind(const char *kind)
{
    static const char *const kinds[] = { "daemon", "edge", "system" };
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

static int cannot_write(const struct cli *c, const char *path)
{
    if (errno == EEXIST)
        return cli_fail(c, ERR_ALREADY_EXISTS,
                        "%s is there already; move it away to make a new key", path);
    return cli_fail(c, ERR_FAILED_PRECONDITION, "%s: %s", path, strerror(errno));
}

int cmd_keygen(struct cli *c)
{
    const char *prefix = c->args.words[0], *kind = args_value(&c->args, "kind");
    char public_key[KEY_SIZE], secret_key[KEY_SIZE], text[2 * KEY_SIZE];
    char secret_path[PATH_SIZE], public_path[PATH_SIZE];

    if (!kind)
        kind = "daemon";
    if (!is_kind(kind))
        return cli_usage(c, "--kind is daemon, edge or system, not %.40s", kind);
    if (snprintf(secret_path, sizeof secret_path, "%s.key", prefix) >= PATH_SIZE ||
        snprintf(public_path, sizeof public_path, "%s.pub", prefix) >= PATH_SIZE)
        return cli_usage(c, "the prefix is too long");
    if (access(public_path, F_OK) == 0) {
        errno = EEXIST;
        return cannot_write(c, public_path);
    }
    if (zmq_curve_keypair(public_key, secret_key) != 0)
        return cli_fail(c, ERR_INTERNAL, "no key pair: %s", zmq_strerror(errno));

    snprintf(text, sizeof text, "%s\n", secret_key);
    bool ok = write_new(secret_path, 0400, text);
    sodium_memzero(secret_key, sizeof secret_key);
    sodium_memzero(text, sizeof text);
    if (!ok)
        return cannot_write(c, secret_path);
    snprintf(text, sizeof text, "%s\nkind=%s\n", public_key, kind);
    if (!write_new(public_path, 0644, text))
        return cannot_write(c, public_path);

    if (c->json)
        (void)printf("{\"publicKey\":\"%s\",\"kind\":\"%s\"}\n", public_key, kind);
    else
        (void)printf("%s\n%s and %s written; copy the latter to the bus's DAYBOOK_BUS_KEYS\n",
                     public_key, secret_path, public_path);
    return 0;
}
