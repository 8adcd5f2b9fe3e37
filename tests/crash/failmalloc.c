/*
 * failmalloc.c - preloaded into a program, lets some of the allocations that our own code asks for fail.
 *
 * FAILMALLOC_FILE names a file of four 64-bit numbers in the machine's order: every so many
 * allocations (0: none) one fails; how many have failed so far; the allocation so many from now on
 * fails, once (0: none); how many have been asked for. Libraries always get what they ask
 * for: libzmq ends a process that has no memory, which is not ours to test. What matters here is
 * who called, so tail calls and wrappers of libc (strdup, asprintf) are libraries, too.
 *
 * FAILMALLOC_NOT names a file of pairs of such numbers, from and to: parts of the program, as nm tells
 * them, that are no code of ours, but a test's. When that program is ended by SIGSEGV or SIGABRT, its exit status
 * is 99 if that was within the call, out of the test, in which the allocation failed, or if libc found the heap
 * broken; else 98: then the test has gone on with what it was not given.
 */
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_TEST 98
#define EXIT_CODE 99
#define FRAMES 64

struct control {
    _Atomic uint64_t every, failed, in, asked;
};

struct range {
    uint64_t from, to;
};

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);

static struct control *control;
static uintptr_t base, text_from, text_to; /* of the program itself */
static const struct range *spared;
static size_t nspared;
static uintptr_t failed_for; /* where in the test it was called from */

static int take_program(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size, (void)arg;
    base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X)) {
            text_from = base + p->p_vaddr;
            text_to = text_from + p->p_memsz;
        }
    }
    return 1; /* the program is the first */
}

/* The file that the variable names; NULL: none. */
static void *map_file(const char *variable, int writable, size_t *size_out)
{
    const char *path = getenv(variable);
    int fd = path ? open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC) : -1;
    struct stat st;
    void *map = MAP_FAILED;

    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0) {
        *size_out = (size_t)st.st_size;
        map =
            mmap(NULL, *size_out, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    }
    if (fd >= 0)
        close(fd);
    return map == MAP_FAILED ? NULL : map;
}

static int is_spared(uintptr_t at)
{
    for (size_t i = 0; i < nspared; i++)
        if (at - base >= spared[i].from && at - base < spared[i].to)
            return 1;
    return 0;
}

/* Where the test called what has led here; 0: it did not. */
static uintptr_t test_call(void)
{
    void *frames[FRAMES];
    int n = backtrace(frames, FRAMES);

    for (int i = 0; i < n; i++)
        if (is_spared((uintptr_t)frames[i]))
            return (uintptr_t)frames[i];
    return 0;
}

/* Whether it was libc that gave up, since what it had given out was returned twice or written over. */
static int heap_is_broken(void)
{
    static const char *const names[] = { "free", "cfree", "malloc", "calloc", "realloc" };
    void *frames[FRAMES];
    int n = backtrace(frames, FRAMES);
    Dl_info info;

    for (int i = 0; i < n && !is_spared((uintptr_t)frames[i]); i++)
        for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
            if (dladdr(frames[i], &info) && info.dli_sname && strcmp(info.dli_sname, names[k]) == 0)
                return 1;
    return 0;
}

static void on_fault(int number)
{
    int ours = test_call() == failed_for || (number == SIGABRT && heap_is_broken());
    _exit(ours ? EXIT_CODE : EXIT_TEST);
}

static int is_the_one_of_every(uint64_t before)
{
    uint64_t every = atomic_load_explicit(&control->every, memory_order_relaxed);
    return every && before % every == every - 1;
}

static int is_the_one_that_is_awaited(void)
{
    uint64_t in = atomic_load_explicit(&control->in, memory_order_relaxed);
    while (in && !atomic_compare_exchange_weak(&control->in, &in, in - 1))
        ;
    return in == 1;
}

static int fails(uintptr_t caller)
{
    if (!control || caller < text_from || caller >= text_to || is_spared(caller))
        return 0;
    uint64_t before = atomic_fetch_add_explicit(&control->asked, 1, memory_order_relaxed);
    int of_every = is_the_one_of_every(before);
    if (!is_the_one_that_is_awaited() && !of_every)
        return 0;
    atomic_fetch_add_explicit(&control->failed, 1, memory_order_relaxed);
    if (nspared)
        failed_for = test_call();
    return 1;
}

#define CALLER ((uintptr_t)__builtin_return_address(0))

void *malloc(size_t size)
{
    return fails(CALLER) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return fails(CALLER) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    return fails(CALLER) ? NULL : __libc_realloc(p, size);
}

/* cmocka takes SIGSEGV for a test that failed. */
int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    int (*real)(int, const struct sigaction *, struct sigaction *) = NULL;
    struct sigaction ours = { .sa_handler = on_fault };

    *(void **)&real = dlsym(RTLD_NEXT, "sigaction");
    return real(number, number == SIGSEGV && nspared && action ? &ours : action, old);
}

sighandler_t signal(int number, sighandler_t handler)
{
    struct sigaction old, action = { .sa_handler = handler, .sa_flags = SA_RESTART };

    return sigaction(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

__attribute__((constructor)) static void begin(void)
{
    size_t size = 0;

    dl_iterate_phdr(take_program, NULL);
    spared = map_file("FAILMALLOC_NOT", 0, &size);
    nspared = size / sizeof *spared;
    if (nspared) {
        (void)test_call(); /* the first time it asks for memory itself */
        signal(SIGABRT, on_fault);
    }
    control = map_file("FAILMALLOC_FILE", 1, &size);
}
