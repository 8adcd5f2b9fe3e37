/*
 * badsync.c - preloaded into PostgreSQL, makes its disk slow or broken where it counts: at fsync.
 *
 * BADSYNC_FILE names a file of three 64-bit numbers in the machine's order: so many of the next calls fail with
 * EIO; so many microseconds each call takes longer; how many were delayed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct control {
    _Atomic int64_t fails, delay_us, delayed;
};

static struct control *control;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("BADSYNC_FILE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED)
        control = p;
    close(fd);
}

static int sync_or_not(long call, int fd)
{
    if (control && atomic_load(&control->delay_us) > 0) {
        int64_t us = atomic_load(&control->delay_us);
        struct timespec span = { us / 1000000, us % 1000000 * 1000 };
        while (nanosleep(&span, &span) != 0)
            ;
        atomic_fetch_add(&control->delayed, 1);
    }
    if (control && atomic_load(&control->fails) > 0 && atomic_fetch_sub(&control->fails, 1) > 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, fd);
}

int fsync(int fd)
{
    return sync_or_not(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_or_not(SYS_fdatasync, fd);
}
