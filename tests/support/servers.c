/*
 * servers.c - starts and ends PostgreSQL and Redis for tests.
 *
 * PostgreSQL refuses to run as root, so there its processes are those of "postgres" or "nobody".
 * The credentials are changed in the child before it asks for the death signal, which a change of
 * credentials would clear again. Directories carry the pid of their test program: those of programs
 * that are gone are swept up by the next one.
 */
#include "tests/support/servers.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "common/clock.h"
#include "common/num.h"
#include "tests/support/folder.h"

#define START_LIMIT_US (30 * SECOND_US)
#define STOP_LIMIT_US (20 * SECOND_US)
#define LOOK_AGAIN_MS 5
#define DIR_PREFIX "daybook-test-"
#define PATH_SIZE 256
#define MAX_SERVERS 4
#define MAX_CHILDREN 200

#define ARG(text) ((char *)(uintptr_t)(text)) /* execv() takes what it never changes as mutable */

struct servers {
    struct servers_options options;
    char dir[PATH_SIZE];
    char data[PATH_SIZE + 16];
    char redis_path[PATH_SIZE + 16];
    char conninfo[PATH_SIZE + 64];
    char redis_port_text[8];
    int redis_port;
    uid_t uid; /* 0: as we are */
    gid_t gid;
    pid_t owner; /* the process that made it: a forked child must not tear it down */
    pid_t postgres, redis;
};

static struct servers *running[MAX_SERVERS];

static NORETURN PRINTF(1, 2) void die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fputs("servers: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    abort();
}

/* --- directories --- */

/* Removes what test programs that were killed have left. */
static void sweep(void)
{
    DIR *d = opendir(folder_root());
    if (d == NULL)
        return;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        int64_t pid = 0;
        const char *digits = e->d_name + strlen(DIR_PREFIX);
        if (strncmp(e->d_name, DIR_PREFIX, strlen(DIR_PREFIX)) != 0 ||
            !num_i64_n(digits, strspn(digits, "0123456789"), 2, INT_MAX, &pid) ||
            kill((pid_t)pid, 0) == 0 || errno != ESRCH)
            continue;
        char path[PATH_SIZE + 300];
        snprintf(path, sizeof path, "%s/%s", folder_root(), e->d_name);
        folder_remove(path);
    }
    closedir(d);
}

static void make_dir(struct servers *s)
{
    snprintf(s->dir, sizeof s->dir, "%s/" DIR_PREFIX "%d-XXXXXX", folder_root(), (int)getpid());
    if (mkdtemp(s->dir) == NULL || chmod(s->dir, 0755) != 0)
        die("cannot make %s: %s", s->dir, strerror(errno));
    if (s->uid && chown(s->dir, s->uid, s->gid) != 0)
        die("cannot give %s away: %s", s->dir, strerror(errno));
    snprintf(s->data, sizeof s->data, "%s/pg", s->dir);
    snprintf(s->redis_path, sizeof s->redis_path, "%s/redis.sock", s->dir);
    snprintf(s->conninfo, sizeof s->conninfo, "host=%s user=postgres dbname=daybook", s->dir);
}

/* --- processes --- */

static void choose_user(struct servers *s)
{
    if (geteuid() != 0)
        return;
    const struct passwd *pw = getpwnam("postgres");
    if (pw == NULL)
        pw = getpwnam("nobody");
    if (pw == NULL)
        die("running as root, and there is neither a user postgres nor nobody");
    s->uid = pw->pw_uid;
    s->gid = pw->pw_gid;
}

static NORETURN void run_child(const struct servers *s, char *const argv[], int death_signal,
                               pid_t parent)
{
    char log[PATH_SIZE + 16];
    sigset_t none;

    snprintf(log, sizeof log, "%s/log", s->dir);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0); /* a ^C goes to the test, which ends them in its own way */
    if (s->uid && (setgroups(0, NULL) != 0 || setgid(s->gid) != 0 || setuid(s->uid) != 0))
        _exit(126);
    prctl(PR_SET_PDEATHSIG, death_signal);
    if (getppid() != parent)
        _exit(125); /* it died before we asked to be told */
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    int null = open("/dev/null", O_RDONLY);
    if (fd < 0 || null < 0 || chdir(s->dir) != 0)
        _exit(124);
    dup2(null, 0);
    dup2(fd, 1);
    dup2(fd, 2);
    execvp(argv[0], argv);
    dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static pid_t spawn(const struct servers *s, char *const argv[], int death_signal)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0)
        run_child(s, argv, death_signal, parent);
    return pid;
}

static void show_log(const struct servers *s)
{
    char path[PATH_SIZE + 16], buf[4096];

    snprintf(path, sizeof path, "%s/log", s->dir);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return;
    off_t size = lseek(fd, 0, SEEK_END);
    lseek(fd, size > (off_t)sizeof buf ? size - (off_t)sizeof buf : 0, SEEK_SET);
    ssize_t n = read(fd, buf, sizeof buf);
    if (n > 0)
        fwrite(buf, 1, (size_t)n, stderr);
    close(fd);
}

/* The path of a program of PostgreSQL: from $PG_BIN, Debian's folders (newest first), or PATH. */
static const char *pg_program(const char *name, char buf[static PATH_SIZE])
{
    const char *dir = getenv("PG_BIN");

    if (dir) {
        snprintf(buf, PATH_SIZE, "%s/%s", dir, name);
        return buf;
    }
    for (int version = 20; version >= 14; version--) {
        snprintf(buf, PATH_SIZE, "/usr/lib/postgresql/%d/bin/%s", version, name);
        if (access(buf, X_OK) == 0)
            return buf;
    }
    snprintf(buf, PATH_SIZE, "%s", name);
    return buf;
}

/* Looks again a moment later; false when the time is up. */
static bool wait_a_moment(int64_t deadline_us)
{
    poll(NULL, 0, LOOK_AGAIN_MS);
    return clock_monotonic_us() < deadline_us;
}

static void reap(struct servers *s, pid_t *pid, const char *what)
{
    int64_t deadline_us = clock_monotonic_us() + STOP_LIMIT_US;

    while (*pid > 0 && waitpid(*pid, NULL, WNOHANG) == 0)
        if (!wait_a_moment(deadline_us)) {
            show_log(s);
            die("%s does not end", what);
        }
    *pid = 0;
}

static void run_to_end(struct servers *s, char *const argv[])
{
    int status = 0;
    pid_t pid = spawn(s, argv, SIGKILL);

    if (waitpid(pid, &status, 0) != pid || status != 0) {
        show_log(s);
        die("%s failed (status %d)", argv[0], status);
    }
}

/* --- PostgreSQL --- */

static void init_postgres(struct servers *s)
{
    char program[PATH_SIZE], path[PATH_SIZE + 40];
    char *argv[] = { ARG(pg_program("initdb", program)),
                     ARG("-D"),
                     s->data,
                     ARG("-A"),
                     ARG("trust"),
                     ARG("-U"),
                     ARG("postgres"),
                     ARG("-E"),
                     ARG("UTF8"),
                     ARG("--locale=C"),
                     ARG("--no-sync"),
                     NULL };
    run_to_end(s, argv);

    snprintf(path, sizeof path, "%s/postgresql.conf", s->data);
    FILE *f = fopen(path, "a");
    if (f == NULL)
        die("cannot write %s: %s", path, strerror(errno));
    fprintf(f,
            "listen_addresses = ''\nunix_socket_directories = '%s'\nmax_connections = 60\n"
            "shared_buffers = 32MB\nmax_wal_size = 256MB\nlog_min_messages = warning\n"
            "log_line_prefix = '%%m [%%p] %%u '\nlogging_collector = off\n%s%s\n",
            s->dir, s->options.durable ? "" : "fsync = off\n",
            s->options.postgres_extra ? s->options.postgres_extra : "");
    if (fclose(f) != 0)
        die("cannot write %s: %s", path, strerror(errno));
}

static bool postgres_answers(const struct servers *s)
{
    char conninfo[PATH_SIZE + 80];

    snprintf(conninfo, sizeof conninfo, "host=%s user=postgres dbname=postgres connect_timeout=2",
             s->dir);
    return PQping(conninfo) == PQPING_OK;
}

/* False: it ended, as it does while processes of its killed predecessor are still there. */
static bool start_once(struct servers *s, int64_t deadline_us)
{
    char program[PATH_SIZE];
    char *argv[] = { ARG(pg_program("postgres", program)), ARG("-D"), s->data, NULL };

    s->postgres = spawn(s, argv, SIGQUIT);
    while (!postgres_answers(s)) {
        if (waitpid(s->postgres, NULL, WNOHANG) == s->postgres) {
            s->postgres = 0;
            return false;
        }
        if (!wait_a_moment(deadline_us)) {
            show_log(s);
            die("PostgreSQL does not answer");
        }
    }
    return true;
}

void servers_start_postgres(struct servers *s)
{
    int64_t deadline_us = clock_monotonic_us() + START_LIMIT_US;

    while (!start_once(s, deadline_us))
        if (!wait_a_moment(deadline_us)) {
            show_log(s);
            die("PostgreSQL does not start");
        }
}

static void create_database(struct servers *s)
{
    char conninfo[PATH_SIZE + 64];

    snprintf(conninfo, sizeof conninfo, "host=%s user=postgres dbname=postgres", s->dir);
    PGconn *conn = PQconnectdb(conninfo);
    PGresult *res = PQexec(conn, "CREATE DATABASE daybook");
    if (PQresultStatus(res) != PGRES_COMMAND_OK)
        die("cannot create the database: %s", PQerrorMessage(conn));
    PQclear(res);
    PQfinish(conn);
}

/* Reads state and parent of a process; false when it is gone. */
static bool look_at(int64_t pid, char *state_out, int *parent_out)
{
    char path[64], buf[512];

    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    buf[n] = '\0';
    const char *end = strrchr(buf, ')');
    return end && sscanf(end, ") %c %d", state_out, parent_out) == 2;
}

/* The server's processes but the first. They have groups of their own: only the parent tells. */
static size_t find_children(const struct servers *s, pid_t *pids, size_t max)
{
    DIR *d = opendir("/proc");
    size_t n = 0;

    if (d == NULL)
        die("no /proc");
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        int64_t pid = 0;
        int parent = 0;
        char state = 0;
        if (num_i64(e->d_name, 2, INT_MAX, &pid) && look_at(pid, &state, &parent) &&
            parent == s->postgres && n < max)
            pids[n++] = (pid_t)pid;
    }
    closedir(d);
    return n;
}

static void signal_postgres(const struct servers *s, int sig)
{
    pid_t pids[MAX_CHILDREN];

    /* It must neither start more nor leave its children to init while we look for them. */
    kill(s->postgres, SIGSTOP);
    size_t n = find_children(s, pids, MAX_CHILDREN);
    for (size_t i = 0; i < n; i++)
        kill(pids[i], sig);
    kill(s->postgres, sig);
    if (sig != SIGKILL)
        return;
    int64_t deadline_us = clock_monotonic_us() + STOP_LIMIT_US;
    for (size_t i = 0; i < n; i++) {
        char state = 0;
        int parent = 0;
        while (look_at(pids[i], &state, &parent) && state != 'Z')
            if (!wait_a_moment(deadline_us))
                die("a process of PostgreSQL survives kill -9");
    }
}

void servers_stop_postgres(struct servers *s, enum servers_stop_mode mode)
{
    if (s->postgres == 0)
        return;
    signal_postgres(s, SIGCONT); /* it may be paused */
    if (mode == SERVERS_KILL)
        signal_postgres(s, SIGKILL);
    else
        kill(s->postgres, mode == SERVERS_FAST ? SIGINT : SIGQUIT);
    reap(s, &s->postgres, "PostgreSQL");
}

void servers_pause_postgres(struct servers *s)
{
    signal_postgres(s, SIGSTOP);
}

void servers_resume_postgres(struct servers *s)
{
    signal_postgres(s, SIGCONT);
}

pid_t servers_postgres_pid(const struct servers *s)
{
    return s->postgres;
}

/* --- Redis --- */

static int free_port(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        die("no free port: %s", strerror(errno));
    close(fd);
    return ntohs(addr.sin_port);
}

static bool redis_answers(const struct servers *s)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    char buf[8] = { 0 };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = { .tv_sec = 2 };

    memcpy(addr.sun_path, s->redis_path, MIN(strlen(s->redis_path), sizeof addr.sun_path - 1));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0 &&
              write(fd, "PING\r\n", 6) == 6 && read(fd, buf, sizeof buf - 1) > 0 &&
              strncmp(buf, "+PONG", 5) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

void servers_start_redis(struct servers *s)
{
    int64_t deadline_us = clock_monotonic_us() + START_LIMIT_US;
    char *argv[] = { ARG("redis-server"),
                     ARG("--port"),
                     s->redis_port_text,
                     ARG("--bind"),
                     ARG("127.0.0.1"),
                     ARG("--unixsocket"),
                     s->redis_path,
                     ARG("--unixsocketperm"),
                     ARG("777"),
                     ARG("--save"),
                     ARG(""),
                     ARG("--appendonly"),
                     ARG("no"),
                     ARG("--loglevel"),
                     ARG("warning"),
                     NULL };

    unlink(s->redis_path);
    s->redis = spawn(s, argv, SIGKILL);
    while (!redis_answers(s)) {
        if (waitpid(s->redis, NULL, WNOHANG) == s->redis || !wait_a_moment(deadline_us)) {
            show_log(s);
            die("Redis does not answer");
        }
    }
}

void servers_stop_redis(struct servers *s)
{
    if (s->redis == 0)
        return;
    kill(s->redis, SIGKILL);
    reap(s, &s->redis, "Redis");
}

void servers_pause_redis(struct servers *s)
{
    kill(s->redis, SIGSTOP);
}

void servers_resume_redis(struct servers *s)
{
    kill(s->redis, SIGCONT);
}

const char *servers_redis_path(const struct servers *s)
{
    return s->redis_path;
}

int servers_redis_port(const struct servers *s)
{
    return s->redis_port;
}

/* --- both --- */

static void stop_all(void)
{
    for (size_t i = 0; i < MAX_SERVERS; i++)
        if (running[i] && running[i]->owner == getpid())
            servers_stop(running[i]);
}

static void remember(struct servers *s)
{
    static bool registered;

    if (!registered && atexit(stop_all) != 0)
        die("atexit");
    registered = true;
    for (size_t i = 0; i < MAX_SERVERS; i++)
        if (running[i] == NULL) {
            running[i] = s;
            return;
        }
    die("more than %d at once", MAX_SERVERS);
}

struct servers *servers_start_with(const struct servers_options *options)
{
    struct servers *s = calloc(1, sizeof *s);

    if (s == NULL)
        die("out of memory");
    sweep();
    s->options = *options;
    s->owner = getpid();
    choose_user(s);
    make_dir(s);
    remember(s);
    init_postgres(s);
    servers_start_postgres(s);
    create_database(s);
    s->redis_port = options->redis_tcp ? free_port() : 0;
    snprintf(s->redis_port_text, sizeof s->redis_port_text, "%d", s->redis_port);
    if (options->redis)
        servers_start_redis(s);
    return s;
}

struct servers *servers_start(bool with_redis)
{
    return servers_start_with(&(struct servers_options){ .redis = with_redis, .durable = true });
}

void servers_stop(struct servers *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < MAX_SERVERS; i++)
        if (running[i] == s)
            running[i] = NULL;
    servers_stop_redis(s);
    servers_stop_postgres(s, SERVERS_IMMEDIATE);
    folder_remove(s->dir);
    free(s);
}

const char *servers_conninfo(struct servers *s)
{
    return s->conninfo;
}

char *servers_conninfo_of(struct servers *s, const char *role)
{
    char *text = NULL;

    if (asprintf(&text, "host=%s user=%s dbname=daybook", s->dir, role) < 0)
        die("out of memory");
    return text;
}

const char *servers_dir(const struct servers *s)
{
    return s->dir;
}
