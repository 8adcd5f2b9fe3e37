/*
 * keyring.c - the operator's key files.
 *
 * The table is small and read often by the ZAP thread and seldom by the others (they cache), so a
 * mutex will do. Whether anything changed is told by names, sizes, times and rights of the files,
 * so that a key that is replaced in place, or made readable, is noticed too.
 *
 * A file that is there and cannot be read as a key, as while it is being written, keeps what it
 * said before: only a file that is gone ends its key (F57). Then the files are read again next
 * time.
 */
#include "services/bus/keyring.h"

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/directory.h"
#include "common/log.h"

#define KEYS_MAX 4096
#define FILE_MAX 4096
#define BANNED_MAX 1024

struct key {
    char z85[IDENTITY_KEY_LEN + 1];
    enum identity_kind kind;
    char file[NAME_MAX + 1];
};

struct keyring {
    char *directory;
    struct identity_plain plain;
    char *scopes;
    pthread_mutex_t lock;
    struct key *keys; /* under the lock */
    size_t nkeys;
    uint64_t signature; /* of what was read last */
    char (*banned)[IDENTITY_KEY_LEN + 1];
    size_t nbanned;
    _Atomic uint64_t generation;
};

static const struct {
    const char *name;
    enum identity_kind kind;
} kinds[] = {
    { "daemon", IDENTITY_DAEMON },
    { "edge", IDENTITY_EDGE },
    { "system", IDENTITY_SYSTEM },
};

static bool kind_read(const char *text, enum identity_kind *out)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(text, kinds[i].name) == 0) {
            *out = kinds[i].kind;
            return true;
        }
    return false;
}

static bool is_z85(const char *text)
{
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   ".-:+=^!/*?&<>()[]{}@%$#";
    return strlen(text) == IDENTITY_KEY_LEN && strspn(text, alphabet) == IDENTITY_KEY_LEN;
}

/* Line by line; false: not a key file. text is cut up. */
static bool key_parse(char *text, struct key *out)
{
    out->kind = IDENTITY_DAEMON;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        line[strcspn(line, "\r")] = 0;
        /* '#' is a digit of Z85: a comment has it first in its line */
        if (line[0] == 0 || (line[0] == '#' && !is_z85(line)))
            continue;
        if (!out->z85[0] && is_z85(line))
            memcpy(out->z85, line, sizeof(out->z85));
        else if (strncmp(line, "kind=", 5) != 0 || !kind_read(line + 5, &out->kind))
            return false;
    }
    return out->z85[0] != 0;
}

static bool key_read(const char *path, struct key *out)
{
    char text[FILE_MAX];
    *out = (struct key){ .kind = IDENTITY_NONE };
    snprintf(out->file, sizeof(out->file), "%s", strrchr(path, '/') + 1);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    bool ok = !ferror(f) && n < sizeof(text) - 1;
    fclose(f);
    text[n] = 0;
    return ok && strlen(text) == n && key_parse(text, out);
}

static bool is_key_file(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && name[0] != '.' && strcmp(name + n - 4, ".pub") == 0;
}

/* Calls fn for each key file in no order. */
static bool each_file(const char *directory, void (*fn)(void *arg, const char *path), void *arg)
{
    DIR *d = opendir(directory);
    if (!d)
        return false;
    for (struct dirent *e; (e = readdir(d));) {
        char path[4096];
        int n = snprintf(path, sizeof(path), "%s/%s", directory, e->d_name);
        if (is_key_file(e->d_name) && n > 0 && (size_t)n < sizeof(path))
            fn(arg, path);
    }
    closedir(d);
    return true;
}

static void sign_file(void *arg, const char *path)
{
    static const uint8_t secret[crypto_shorthash_KEYBYTES];
    struct stat st;
    struct {
        int64_t size, sec, nsec, changed_sec, changed_nsec;
        uint64_t inode, mode;
        uint64_t name;
    } what = { 0 };
    uint64_t h = 0;
    if (stat(path, &st) != 0)
        return;
    what.size = st.st_size;
    what.sec = st.st_mtim.tv_sec;
    what.nsec = st.st_mtim.tv_nsec;
    what.changed_sec = st.st_ctim.tv_sec; /* rights and owner */
    what.changed_nsec = st.st_ctim.tv_nsec;
    what.mode = st.st_mode;
    what.inode = st.st_ino;
    crypto_shorthash((unsigned char *)&what.name, (const unsigned char *)path, strlen(path),
                     secret);
    crypto_shorthash((unsigned char *)&h, (const unsigned char *)&what, sizeof(what), secret);
    *(uint64_t *)arg += h; /* a sum, since the order of a directory means nothing */
}

struct reading {
    struct keyring *ring;
    struct key *keys;
    size_t n;
    bool whole; /* every file was read */
};

/* What the file said when it was read last; false: it never was. */
static bool former(struct keyring *k, const char *file, struct key *out)
{
    bool found = false;
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->nkeys && !found; i++) {
        found = strcmp(k->keys[i].file, file) == 0;
        if (found)
            *out = k->keys[i];
    }
    pthread_mutex_unlock(&k->lock);
    return found;
}

static void read_file(void *arg, const char *path)
{
    struct reading *r = arg;
    if (r->n >= KEYS_MAX)
        return;
    struct key *key = &r->keys[r->n];
    bool good = key_read(path, key);
    bool kept = !good && former(r->ring, key->file, key);
    if (!good)
        log_warn("bus.key_file_bad",
                 kept ? "not a key file: what it said before holds" : "not a key file, skipped",
                 "file", path, NULL);
    r->n += good || kept;
    r->whole = r->whole && !kept;
}

static uint64_t signature_of(const char *directory)
{
    uint64_t signature = 1;
    return each_file(directory, sign_file, &signature) ? signature : 0;
}

void keyring_refresh(struct keyring *k)
{
    uint64_t signature = k->directory ? signature_of(k->directory) : k->signature;
    pthread_mutex_lock(&k->lock);
    bool same = signature == k->signature;
    pthread_mutex_unlock(&k->lock);
    if (same)
        return;
    if (signature == 0) { /* unreadable: what was known holds (F57) */
        log_warn("bus.keys_unreadable", "the directory of keys cannot be read", "directory",
                 k->directory, NULL);
        return;
    }
    struct reading r = { .ring = k, .keys = calloc(KEYS_MAX, sizeof(*r.keys)), .whole = true };
    if (!r.keys || !each_file(k->directory, read_file, &r)) {
        free(r.keys);
        return;
    }
    pthread_mutex_lock(&k->lock);
    struct key *old = k->keys;
    k->keys = r.keys;
    k->nkeys = r.n;
    k->signature = r.whole ? signature : 0; /* else read again next time */
    pthread_mutex_unlock(&k->lock);
    free(old);
    atomic_fetch_add(&k->generation, 1);
}

struct keyring *keyring_new(const char *directory, const struct identity_plain *plain)
{
    struct keyring *k = calloc(1, sizeof(*k));
    if (!k)
        return NULL;
    pthread_mutex_init(&k->lock, NULL);
    if (plain)
        k->plain = *plain;
    k->scopes = strdup(plain && plain->scopes ? plain->scopes : "");
    k->directory = directory && directory[0] ? strdup(directory) : NULL;
    if (!k->scopes || (directory && directory[0] && !k->directory)) {
        keyring_free(k);
        return NULL;
    }
    k->plain.scopes = k->scopes;
    keyring_refresh(k);
    return k;
}

void keyring_free(struct keyring *k)
{
    if (!k)
        return;
    pthread_mutex_destroy(&k->lock);
    free(k->keys);
    free(k->banned);
    free(k->directory);
    free(k->scopes);
    free(k);
}

size_t keyring_count(struct keyring *k)
{
    pthread_mutex_lock(&k->lock);
    size_t n = k->nkeys;
    pthread_mutex_unlock(&k->lock);
    return n;
}

uint64_t keyring_generation(struct keyring *k)
{
    return atomic_load(&k->generation);
}

const struct identity_plain *keyring_plain(const struct keyring *k)
{
    return &k->plain;
}

enum identity_kind keyring_kind(struct keyring *k, const char *z85)
{
    enum identity_kind kind = IDENTITY_NONE;
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->nkeys; i++)
        if (strcmp(k->keys[i].z85, z85) == 0)
            kind = k->keys[i].kind;
    pthread_mutex_unlock(&k->lock);
    return kind;
}

/* --- banned --- */

static bool is_banned(const struct keyring *k, const char *z85)
{
    for (size_t i = 0; i < k->nbanned; i++)
        if (strcmp(k->banned[i], z85) == 0)
            return true;
    return false;
}

bool keyring_is_banned(struct keyring *k, const char *z85)
{
    pthread_mutex_lock(&k->lock);
    bool banned = is_banned(k, z85);
    pthread_mutex_unlock(&k->lock);
    return banned;
}

void keyring_ban(struct keyring *k, const char *z85)
{
    pthread_mutex_lock(&k->lock);
    if (!k->banned)
        k->banned = calloc(BANNED_MAX, sizeof(*k->banned));
    if (k->banned && k->nbanned < BANNED_MAX && strlen(z85) == IDENTITY_KEY_LEN &&
        !is_banned(k, z85))
        memcpy(k->banned[k->nbanned++], z85, IDENTITY_KEY_LEN + 1);
    pthread_mutex_unlock(&k->lock);
    atomic_fetch_add(&k->generation, 1);
    log_error("bus.key_banned", "a key broke the rules of the event endpoint: it is refused",
              "user", z85, NULL);
}

enum keyring_answer keyring_admits(struct keyring *k, const char *z85)
{
    if (keyring_is_banned(k, z85))
        return KEYRING_REFUSED;
    if (keyring_kind(k, z85) != IDENTITY_NONE)
        return KEYRING_ADMITTED;
    CLEANUP(directory_releasep) const struct directory *d = directory_acquire();
    if (!d)
        return KEYRING_UNKNOWN_YET;
    const struct dir_key *key = directory_key(d, z85);
    bool good = key && (key->expires_at_us == 0 || key->expires_at_us > clock_wall_us());
    return good ? KEYRING_ADMITTED : KEYRING_REFUSED;
}
