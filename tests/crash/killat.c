/*
 * killat.c - preloaded into a program, kills it at a step of its work: right before or right after the
 * n-th time that it sends something.
 *
 * Only what a process sends can change anything outside of it. So before and after each send are all
 * the states in which its end can leave the rest: between them it may as well have ended at once. What
 * it writes to files (its log) and to itself (eventfds) is no step, nor is what it sends by sockets
 * that have no peer with an address.
 *
 * KILLAT_FILE names a file that holds a struct control, in the machine's order. Only the process that it
 * names counts: others have the same settings (--health). And of that only the threads of one name, so
 * that a step has the same number each time: what others send meanwhile (probes of health, renewals of
 * leases) does not move it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define NAME_SIZE 16 /* of a thread */

struct control {
    _Atomic uint64_t pid;    /* whose steps are counted; 0: nobody's */
    _Atomic uint64_t at;     /* which of them is its last; 0: none is */
    _Atomic uint64_t after;  /* 1: it ends after that step, 0: before */
    _Atomic uint64_t steps;  /* how many there have been */
    _Atomic uint64_t killed; /* the one at which it ended; 0: it has not */
    char counted[NAME_SIZE]; /* how the names of those that count begin */
};

static struct control *control;

/* Whether somebody else can tell that this was sent. */
static int is_heard(int fd)
{
    struct sockaddr_storage peer = { 0 };
    socklen_t len = sizeof peer;
    int before = errno;
    int found = getpeername(fd, (struct sockaddr *)&peer, &len) == 0;

    errno = before;
    return found && (peer.ss_family != AF_UNIX || len > offsetof(struct sockaddr_un, sun_path));
}

/* The number of the step if it is the one that is awaited, else 0. */
static uint64_t last_step(int fd)
{
    char thread[NAME_SIZE] = "";

    if (!control || atomic_load(&control->pid) != (uint64_t)getpid())
        return 0;
    prctl(PR_GET_NAME, thread);
    if (strncmp(thread, control->counted, strlen(control->counted)) != 0 || !is_heard(fd))
        return 0;
    uint64_t step = atomic_fetch_add(&control->steps, 1) + 1;
    return step == atomic_load(&control->at) ? step : 0;
}

static void end(uint64_t step)
{
    atomic_store(&control->killed, step);
    kill(getpid(), SIGKILL);
}

/* One call that sends; straight to the kernel, as libc does it. */
static ssize_t step(int fd, long call, long a, long b, long c, long d, long e)
{
    uint64_t last = last_step(fd);

    if (last && !atomic_load(&control->after))
        end(last);
    ssize_t n = syscall(call, (long)fd, a, b, c, d, e);
    if (last)
        end(last);
    return n;
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    return step(fd, SYS_sendto, (long)data, (long)size, flags, 0, 0);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, __CONST_SOCKADDR_ARG to,
               socklen_t len)
{
    return step(fd, SYS_sendto, (long)data, (long)size, flags, (long)to.__sockaddr__, (long)len);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return step(fd, SYS_sendmsg, (long)message, flags, 0, 0, 0);
}

ssize_t write(int fd, const void *data, size_t size)
{
    return step(fd, SYS_write, (long)data, (long)size, 0, 0, 0);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    return step(fd, SYS_writev, (long)parts, n, 0, 0, 0);
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("KILLAT_FILE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map = MAP_FAILED;

    if (fd >= 0) {
        map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
    }
    control = map == MAP_FAILED ? NULL : map;
}
