/*
 * metrics_process.c - the process_* metrics that Prometheus clients of every language show.
 *
 * Read from /proc at each scrape; what cannot be read is left out, never shown as 0.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/metrics.h"
#include "common/num.h"

/* Where it goes, and how: OpenMetrics names a counter's family without its suffix. */
struct page {
    struct sbuf *out;
    bool open;
};

static void write_one(const struct page *p, const char *name, const char *suffix, const char *type,
                      const char *help, double value)
{
    const char *of_family = p->open ? "" : suffix;

    sbuf_addf(p->out, "# HELP %s%s %s\n# TYPE %s%s %s\n%s%s %.15g\n", name, of_family, help, name,
              of_family, type, name, suffix, value);
}

/* A small file of /proc as text. */
static bool read_proc(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, buf, size - 1);
    close(fd);
    if (n <= 0)
        return false;
    buf[n] = '\0';
    return true;
}

/* The n-th field of /proc/self/stat, counted as in proc(5). */
static bool stat_field(const char *stat, int n, int64_t *out)
{
    const char *p = strrchr(stat, ')'); /* the name may hold anything, also spaces */
    for (int field = 2; p && field < n; field++) {
        p = strchr(p, ' ');
        if (p)
            p++;
    }
    return p && num_i64_n(p, strcspn(p, " \n"), INT64_MIN, INT64_MAX, out);
}

/* When the machine started; field 22 counts from then. */
static bool boot_time_s(int64_t *out)
{
    struct timespec wall, up;
    if (clock_gettime(CLOCK_REALTIME, &wall) != 0 || clock_gettime(CLOCK_BOOTTIME, &up) != 0)
        return false;
    *out = wall.tv_sec - up.tv_sec;
    return true;
}

static void write_stat(const struct page *p)
{
    char stat[1024];
    int64_t start, virtual_bytes, resident_pages, booted_s;
    long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
    if (ticks <= 0 || page <= 0 || !read_proc("/proc/self/stat", stat, sizeof(stat)))
        return;
    if (stat_field(stat, 22, &start) && boot_time_s(&booted_s))
        write_one(p, "process_start_time_seconds", "", "gauge", "Start, in seconds since 1970.",
                  (double)booted_s + (double)start / (double)ticks);
    if (stat_field(stat, 23, &virtual_bytes))
        write_one(p, "process_virtual_memory_bytes", "", "gauge", "Virtual memory.",
                  (double)virtual_bytes);
    if (stat_field(stat, 24, &resident_pages))
        write_one(p, "process_resident_memory_bytes", "", "gauge", "Resident memory.",
                  (double)resident_pages * (double)page);
}

static void write_fds(const struct page *p)
{
    DIR *dir = opendir("/proc/self/fd");
    struct rlimit limit;
    if (dir) {
        int n = 0;
        while (readdir(dir)) /* this stream belongs to this thread alone */
            n++;
        closedir(dir);
        write_one(p, "process_open_fds", "", "gauge", "Open file descriptors.",
                  n - 3); /* less ".", ".." and the folder itself */
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        write_one(p, "process_max_fds", "", "gauge", "Most open file descriptors.",
                  (double)limit.rlim_cur);
}

static void write_all(const struct page *p)
{
    struct rusage use;
    if (getrusage(RUSAGE_SELF, &use) == 0)
        write_one(p, "process_cpu_seconds", "_total", "counter", "User and system time.",
                  (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                      (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
    write_stat(p);
    write_fds(p);
}

void metrics_write_process(struct sbuf *out)
{
    write_all(&(struct page){ .out = out });
}

void metrics_write_process_open(struct sbuf *out)
{
    write_all(&(struct page){ .out = out, .open = true });
}
