/*
 * slow_dns.c - loaded before libc (LD_PRELOAD), says what names lead to: the file that SLOW_DNS names
 * has lines "name address". An address of "hang" is looked for in vain for five seconds, as by a
 * resolver whose servers do not answer. Names that do not stand in it are not touched.
 */
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HANG_SECONDS 5

typedef int lookup_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static int find(const char *node, char address[static 64])
{
    char line[400], name[300];
    const char *path = getenv("SLOW_DNS");
    FILE *f = path && node ? fopen(path, "re") : NULL;
    int found = 0;

    while (f && !found && fgets(line, sizeof line, f))
        found = sscanf(line, "%299s %63s", name, address) == 2 && strcmp(name, node) == 0;
    if (f)
        (void)fclose(f);
    return found;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    lookup_fn *next;
    char address[64];
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");

    memcpy(&next, &symbol, sizeof next);
    if (!find(node, address))
        return next(node, service, hints, out);
    if (strcmp(address, "hang") != 0)
        return next(address, service, hints, out);
    (void)sleep(HANG_SECONDS);
    return EAI_AGAIN;
}
