/*
 * config.c - settings from the environment.
 *
 * All faults are found in one pass, so that an operator mends a new deployment once and not once
 * for each mistake. Text of secret settings lies in libsodium's guarded memory and is wiped by
 * config_free(); a value that was read from a file is wiped from the buffer it passed through.
 */
#include "common/config.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <sodium.h>
#include <unistd.h>

#include "common/num.h"

#define PREFIX "DAYBOOK_"
#define NAME_MAX_LEN 96
#define INSECURE "DAYBOOK_INSECURE_ENV_SECRETS"

extern char **environ;

static const char *const type_names[] = {
    [SETTING_TEXT] = "text",         [SETTING_INT] = "number", [SETTING_BOOL] = "on or off",
    [SETTING_DURATION] = "duration", [SETTING_SIZE] = "size",
};

static const char *prefix_of(const struct setting *s)
{
    return s->foreign ? "" : PREFIX;
}

static void fault(FILE *out, const struct setting *s, const char *suffix, const char *why)
{
    (void)fprintf(out, "setting %s%s%s: %s\n", prefix_of(s), s->key, suffix, why);
}

static const char *env_of(const struct setting *s, const char *suffix)
{
    char name[NAME_MAX_LEN];
    int n = snprintf(name, sizeof(name), "%s%s%s", prefix_of(s), s->key, suffix);
    return n > 0 && (size_t)n < sizeof(name) ? getenv(name) : NULL;
}

/* --- values
 * ---------------------------------------------------------------------------------------- */

static bool parse_bool(const char *text, int64_t *out)
{
    static const struct {
        const char *text;
        int64_t value;
    } words[] = {
        { "1", 1 }, { "true", 1 },  { "yes", 1 }, { "on", 1 },
        { "0", 0 }, { "false", 0 }, { "no", 0 },  { "off", 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i].text) == 0) {
            *out = words[i].value;
            return true;
        }
    }
    return false;
}

/* NULL, or what is wrong. */
static const char *parse_value(const struct setting *s, const char *text, int64_t *out)
{
    int64_t value = 0;
    uint64_t size;
    switch (s->type) {
    case SETTING_TEXT:
        *out = 0;
        return NULL;
    case SETTING_BOOL:
        return parse_bool(text, out) ? NULL : "must be 1/0, true/false, yes/no or on/off";
    case SETTING_INT:
        if (!num_i64(text, INT64_MIN, INT64_MAX, &value))
            return "must be a whole number";
        break;
    case SETTING_DURATION:
        if (!num_duration_us(text, &value))
            return "must be a duration such as 250ms, 5s, 10m, 24h or 2d";
        break;
    case SETTING_SIZE:
        if (!num_size(text, &size) || size > (uint64_t)INT64_MAX)
            return "must be a size such as 512, 64KiB, 1MiB or 2GiB";
        value = (int64_t)size;
        break;
    }
    if ((s->min != 0 || s->max != 0) && (value < s->min || value > s->max))
        return "is out of range";
    *out = value;
    return NULL;
}

static void drop_text(struct setting *s)
{
    if (!s->text)
        return;
    void *memory = (void *)(uintptr_t)s->text; /* ours, const for the readers only */
    if (s->secret)
        sodium_free(memory); /* wipes */
    else
        free(memory);
    s->text = NULL;
}

static bool keep_text(struct setting *s, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = s->secret ? sodium_malloc(size) : malloc(size);
    if (!copy)
        return false;
    memcpy(copy, text, size);
    s->text = copy;
    return true;
}

static bool set_value(FILE *out, struct setting *s, const char *suffix, const char *text)
{
    const char *wrong = parse_value(s, text, &s->i64);
    if (wrong) {
        char why[160];
        if (s->min != 0 || s->max != 0)
            (void)snprintf(why, sizeof(why), "%s (%" PRId64 " to %" PRId64 "%s)", wrong, s->min,
                           s->max,
                           s->type == SETTING_DURATION ? " microseconds"
                           : s->type == SETTING_SIZE   ? " bytes"
                                                       : "");
        else
            (void)snprintf(why, sizeof(why), "%s", wrong);
        fault(out, s, suffix, why);
        return false;
    }
    if (!keep_text(s, text)) {
        fault(out, s, suffix, "out of memory");
        return false;
    }
    return true;
}

/* --- sources
 * --------------------------------------------------------------------------------------- */

const char *config_read_file(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n = -1;
    if (fd < 0)
        return strerrordesc_np(errno);
    while (len < size) {
        n = read(fd, buf + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    const char *wrong = n < 0 ? strerrordesc_np(errno) : NULL;
    close(fd);
    if (wrong)
        return wrong;
    if (len == size)
        return "the file is too long";
    if (memchr(buf, '\0', len))
        return "the file holds a NUL byte";
    if (len > 0 && buf[len - 1] == '\n')
        len--;
    buf[len] = '\0';
    return NULL;
}

static bool set_from_file(FILE *out, struct setting *s, const char *path)
{
    char why[512];
    char *buf = sodium_malloc(CONFIG_FILE_VALUE_MAX);
    if (!buf) {
        fault(out, s, "_FILE", "out of memory");
        return false;
    }
    const char *wrong = config_read_file(path, buf, CONFIG_FILE_VALUE_MAX);
    if (!wrong && s->secret && !*buf)
        wrong = "the file is empty";
    bool ok = false;
    if (wrong) { /* the file's name helps, its content never shows (F57) */
        (void)snprintf(why, sizeof(why), "%s: %s", path, wrong);
        fault(out, s, "_FILE", why);
    } else {
        ok = set_value(out, s, "_FILE", buf);
    }
    sodium_free(buf);
    return ok;
}

static bool secrets_by_env_allowed(void)
{
    const char *v = getenv(INSECURE);
    return v && strcmp(v, "1") == 0;
}

const char *config_path(const struct setting *s)
{
    const char *path = env_of(s, "_FILE");
    return path && *path ? path : NULL;
}

static bool load_one(FILE *out, struct setting *s)
{
    const char *value = env_of(s, "");
    const char *path = config_path(s);
    drop_text(s);
    s->i64 = 0;
    /* Compose hands on an unset variable as an empty one: a value for texts only. */
    if (value && !*value && (s->type != SETTING_TEXT || s->secret))
        value = NULL;
    if (value && path) {
        fault(out, s, "", "is also given by " PREFIX "..._FILE; keep one");
        return false;
    }
    if (value && s->secret && !secrets_by_env_allowed()) {
        fault(out, s, "", "is a secret: give it by " PREFIX "..._FILE, or set " INSECURE "=1");
        return false;
    }
    if (path)
        return set_from_file(out, s, path);
    if (!value)
        value = s->default_value;
    if (s->required && (!value || !*value)) {
        fault(out, s, "", "is required");
        return false;
    }
    return !value || set_value(out, s, "", value);
}

/* --- unknown names
 * --------------------------------------------------------------------------------- */

static bool is_known(struct setting *const *tables, size_t ntables, const char *key, size_t len)
{
    for (size_t t = 0; t < ntables; t++) {
        for (const struct setting *s = tables[t]; s->key; s++) {
            size_t n = strlen(s->key);
            if (s->foreign || strncmp(s->key, key, n) != 0)
                continue;
            if (len == n || (len == n + 5 && strncmp(key + n, "_FILE", 5) == 0))
                return true;
        }
    }
    return false;
}

/* A warning only: whatever runs us may put variables of its own there. What is meant for daemons alone stands in the
 * command's environment too: an image has one. */
static void warn_of_unknown(FILE *out, struct setting *const *tables, size_t ntables)
{
    static const char *const others[] = {
        "INSECURE_ENV_SECRETS", "INSTANCE", "STACK_DIR", "STACK_BIN",
        "STACK_CLOCK",          "TENANT",   "AS",        "STATUS",
        "ADMIN_LISTEN",         "LOG_LEVEL"
    };
    size_t prefix = strlen(PREFIX);
    for (char **e = environ; e && *e; e++) {
        if (strncmp(*e, PREFIX, prefix) != 0)
            continue;
        const char *key = *e + prefix;
        size_t len = strcspn(key, "=");
        bool known = is_known(tables, ntables, key, len);
        for (size_t i = 0; i < ARRAY_LEN(others); i++)
            known = known || (strlen(others[i]) == len && strncmp(others[i], key, len) == 0);
        if (!known)
            (void)fprintf(out, "setting " PREFIX "%.*s is not known and ignored\n", (int)len, key);
    }
}

/* --- the interface
 * --------------------------------------------------------------------------------- */

bool config_load(struct setting *const *tables, size_t ntables)
{
    return config_load_into(tables, ntables, stderr);
}

bool config_load_into(struct setting *const *tables, size_t ntables, FILE *out)
{
    if (sodium_init() < 0) {
        (void)fprintf(out, "libsodium does not start\n");
        return false;
    }
    bool ok = true;
    for (size_t t = 0; t < ntables; t++)
        for (struct setting *s = tables[t]; s->key; s++)
            ok = load_one(out, s) && ok;
    warn_of_unknown(out, tables, ntables);
    return ok;
}

void config_free(struct setting *const *tables, size_t ntables)
{
    for (size_t t = 0; t < ntables; t++) {
        for (struct setting *s = tables[t]; s->key; s++) {
            drop_text(s);
            s->i64 = 0;
        }
    }
}

void config_print_help(struct setting *const *tables, size_t ntables, FILE *out)
{
    for (size_t t = 0; t < ntables; t++) {
        for (const struct setting *s = tables[t]; s->key; s++) {
            (void)fprintf(out, "%s%s%s (%s", prefix_of(s), s->key, s->secret ? "_FILE" : "",
                          type_names[s->type]);
            if (s->required)
                (void)fprintf(out, ", required");
            if (s->secret)
                (void)fprintf(out, ", secret");
            else if (s->default_value && *s->default_value)
                (void)fprintf(out, ", default %s", s->default_value);
            (void)fprintf(out, ")\n    %s\n", s->help ? s->help : "");
        }
    }
}

/* A value of a conninfo or URL: in quotes, with \ before what would end it, or up to the next one. */
static size_t value_len(const char *value)
{
    size_t len = 1;

    if (*value != '\'')
        return strcspn(value, " &");
    while (value[len] && value[len] != '\'')
        len += value[len] == '\\' && value[len + 1] ? 2 : 1;
    return len + (value[len] == '\'');
}

/* Meant for PostgreSQL, but with a mistake: then nobody knows where in it the password stands. */
static bool is_broken_conninfo(const char *text)
{
    if (strncmp(text, "postgres", 8) != 0 && !strcasestr(text, "password"))
        return false;
    PQconninfoOption *parsed = PQconninfoParse(text, NULL);
    PQconninfoFree(parsed);
    return parsed == NULL;
}

/* A connection string may hold a password (DB_URL): password=..., or //user:password@host. */
static void print_masked(const char *text, FILE *out)
{
    static const char key[] = "password";
    const char *slashes = strstr(text, "://"), *user = slashes ? slashes + 3 : NULL;
    const char *at = user ? user + strcspn(user, "@/?") : NULL;
    const char *colon = at && *at == '@' ? memchr(user, ':', (size_t)(at - user)) : NULL;

    if (colon) {
        (void)fprintf(out, "%.*s:***", (int)(colon - text), text);
        text = at;
    }
    for (const char *p; (p = strcasestr(text, key));) {
        const char *equals = p + strlen(key) + strspn(p + strlen(key), " ");
        const char *value = equals + (*equals == '=') + strspn(equals + (*equals == '='), " ");
        (void)fprintf(out, "%.*s%s", (int)(value - text), text, *equals == '=' ? "***" : "");
        text = *equals == '=' ? value + value_len(value) : value;
    }
    (void)fprintf(out, "%s\n", text);
}

void config_print_effective(struct setting *const *tables, size_t ntables, FILE *out)
{
    for (size_t t = 0; t < ntables; t++) {
        for (const struct setting *s = tables[t]; s->key; s++) {
            if (!s->text) {
                (void)fprintf(out, "# %s%s is not set\n", prefix_of(s), s->key);
                continue;
            }
            (void)fprintf(out, "%s%s=", prefix_of(s), s->key);
            print_masked(s->secret || is_broken_conninfo(s->text) ? "***" : s->text, out);
        }
    }
}

const struct setting *config_get(struct setting *table, const char *key)
{
    for (const struct setting *s = table; s->key; s++)
        if (strcmp(s->key, key) == 0)
            return s;
    (void)fprintf(stderr, "no setting %s in this table\n", key);
    abort();
}
