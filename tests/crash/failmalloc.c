/*
 * failmalloc.c - preloaded into a daemon, lets some of the allocations that our own code asks for fail.
 *
 * FAILMALLOC_FILE names a file of two 64-bit numbers in the machine's order: every so many
 * allocations (0: none) one fails; how many have failed so far. Libraries always get what they ask
 * for: libzmq ends a process that has no memory, which is not ours to test. What matters here is
 * who called, so tail calls and wrappers of libc (strdup, asprintf) are libraries, too.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct control {
    _Atomic uint64_t every, failed;
};

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);

static struct control *control;
static uintptr_t text_from, text_to; /* of the program itself */
static _Atomic uint64_t asked;

static int take_program(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size, (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X)) {
            text_from = info->dlpi_addr + p->p_vaddr;
            text_to = text_from + p->p_memsz;
        }
    }
    return 1; /* the program is the first */
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAILMALLOC_FILE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    dl_iterate_phdr(take_program, NULL);
    if (map != MAP_FAILED)
        control = map;
}

static int fails(uintptr_t caller)
{
    uint64_t every = control ? atomic_load_explicit(&control->every, memory_order_relaxed) : 0;
    if (every == 0 || caller < text_from || caller >= text_to ||
        atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) % every != every - 1)
        return 0;
    atomic_fetch_add_explicit(&control->failed, 1, memory_order_relaxed);
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
