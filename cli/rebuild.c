/*
 * rebuild.c - `daybook rebuild`: the daemon's own program knows its tables, so it empties them
 * (--rebuild); the running daemon does the work, and we watch its cursor.
 */
#include <errno.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/sql.h"
#include "common/clock.h"
#include "common/sql_schema.h"

#define PATH_SIZE 4096
#define POLL_MS 50
#define WORDS_MAX 4000 /* of the daemon, in a failure */
#define QUERY_TIMEOUT_US (5 * SECOND_US)
/* A daemon that is not running makes no progress. */
#define STALL_US (60 * SECOND_US)

extern char **environ;

/* daybook-<name> in the folder of this program. */
static bool beside_us(const char *name, char path[static PATH_SIZE])
{
    char self[PATH_SIZE];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        return false;
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash)
        return false;
    *slash = '\0';
    int len = snprintf(path, PATH_SIZE, "%s/daybook-%s", self, name);
    return len > 0 && len < PATH_SIZE && access(path, X_OK) == 0;
}

/*
 * The exit status of the program; -1: it could not be run. Its words are for people; stdout may be
 * for a program, and with --json (words_fd) stderr too.
 */
static int run_daemon(const char *path, int words_fd)
{
    union {
        const char *in;
        char *out;
    } words[] = { { .in = path }, { .in = "--rebuild" } };
    char *argv[] = { words[0].out, words[1].out, NULL };
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = 0, to = words_fd >= 0 ? words_fd : STDERR_FILENO;

    if (posix_spawn_file_actions_init(&actions) != 0)
        return -1;
    int e = posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO);
    if (!e && words_fd >= 0)
        e = posix_spawn_file_actions_adddup2(&actions, to, STDERR_FILENO);
    if (!e)
        e = posix_spawn(&pid, path, &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (e)
        return -1;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : err_exit_code(ERR_INTERNAL);
}

struct position {
    bool found;
    int64_t seq, until, head;
};

static enum err read_position(struct db *db, const char *area, struct position *out)
{
    const char *params[] = { area };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_begin(db, NULL, clock_monotonic_us() + QUERY_TIMEOUT_US);
    if (!e)
        e = db_exec(db, sql_for_schema(&sql_cursor_find, area), params, &res);
    if (!e) {
        struct db_row row = { .res = res };
        *out = (struct position){ .found = PQntuples(res) == 1 };
        if (out->found) {
            out->seq = db_row_i64(&row, "seq");
            out->until = db_row_i64(&row, "replay_until");
            out->head = db_row_i64(&row, "head_seq");
        }
        e = row.bad ? ERR_INTERNAL : ERR_OK;
    }
    db_rollback(db);
    return e;
}

static void show_progress(const struct cli *c, const struct position *p, int64_t until)
{
    if (!c->json && isatty(STDERR_FILENO))
        (void)fprintf(stderr, "\rrebuilding: event %" PRId64 " of %" PRId64 " ", p->seq, until);
}

static int watch(struct cli *c, struct db *db, const char *area)
{
    int64_t until = 0, best = -1, moved_us = clock_monotonic_us(), start_us = moved_us;
    struct position p;

    for (;;) {
        enum err e = read_position(db, area, &p);
        if (e && e != ERR_UNAVAILABLE && e != ERR_DEADLINE_EXCEEDED)
            return cli_fail(c, e, "the cursor of %s cannot be read", area);
        if (!e && (!p.found || p.until == 0))
            break;
        if (!e) {
            until = MAX(until, p.until);
            show_progress(c, &p, until);
        }
        if (!e && p.seq != best) {
            best = p.seq;
            moved_us = clock_monotonic_us();
        }
        if (clock_monotonic_us() - moved_us > STALL_US)
            return cli_fail(c, ERR_UNAVAILABLE,
                            "no progress for a minute at event %" PRId64
                            "; is daybook-%s running? It goes on when it does",
                            best, area);
        (void)poll(NULL, 0, POLL_MS);
    }
    double seconds = (double)(clock_monotonic_us() - start_us) / 1e6;
    if (!c->json && isatty(STDERR_FILENO))
        (void)fprintf(stderr, "\r\033[K");
    if (c->json)
        (void)printf("{\"daemon\":\"%s\",\"done\":true,\"seq\":%" PRId64 ",\"seconds\":%.3f}\n",
                     area, p.seq, seconds);
    else
        (void)printf("%s: rebuilt in %.1f s, at event %" PRId64 "\n", area, seconds, p.seq);
    return 0;
}

static int show_begun(const struct cli *c, struct db *db, const char *area)
{
    struct position p;
    enum err e = read_position(db, area, &p);
    if (e)
        return cli_fail(c, e, "the cursor of %s cannot be read", area);
    if (c->json)
        (void)printf("{\"daemon\":\"%s\",\"done\":%s,\"seq\":%" PRId64 ",\"until\":%" PRId64 "}\n",
                     area, p.until ? "false" : "true", p.seq, p.until);
    else
        (void)printf("%s: rebuilding up to event %" PRId64 "; daybook status tells how far it is\n",
                     area, p.until);
    return 0;
}

static int daemon_failed(const struct cli *c, const char *name, int status, int words_fd)
{
    int own = status < 0 ? err_exit_code(ERR_INTERNAL) : status;
    char words[WORDS_MAX + 1];
    ssize_t n = words_fd >= 0 ? pread(words_fd, words, WORDS_MAX, 0) : 0;
    words[MAX(n, 0)] = '\0';
    (void)cli_fail(
        c, own == err_exit_code(ERR_UNAVAILABLE) ? ERR_UNAVAILABLE : ERR_FAILED_PRECONDITION,
        "daybook-%s --rebuild ended with status %d%s%s", name, own, n > 0 ? ": " : "", words);
    return own;
}

/* 0, or the exit status of a failure that was told. */
static int empty_tables(const struct cli *c, const char *name)
{
    char path[PATH_SIZE];
    if (!beside_us(name, path))
        return cli_fail(c, ERR_FAILED_PRECONDITION, "daybook-%s is not beside this program", name);
    int words_fd = c->json ? memfd_create("words", MFD_CLOEXEC) : -1;
    int status = run_daemon(path, words_fd);
    if (status != 0)
        status = daemon_failed(c, name, status, words_fd);
    if (words_fd >= 0)
        (void)close(words_fd);
    return status;
}

int cmd_rebuild(struct cli *c)
{
    const char *name = c->args.words[0];
    const struct area *area = area_find(name);
    int status = 0;

    if (!area || !area->builds)
        return cli_usage(
            c,
            "%.40s makes nothing from events that could be made anew; there are customers, visits, "
            "reminders and scoring",
            name);
    struct db *db = cli_db(c, &status);
    if (!db)
        return status;
    status = empty_tables(c, name);
    if (status != 0)
        return status;
    return args_has(&c->args, "no-wait") ? show_begun(c, db, name) : watch(c, db, name);
}
