/*
 * common_dns_fixture.h - what names lead to, said by the test: a program that includes it is linked
 * with --wrap=getaddrinfo (mk/tests.mk). A name can be found, fail, or hang for as long as one likes.
 */
#ifndef DAYBOOK_TESTS_COMMON_DNS_FIXTURE_H
#define DAYBOOK_TESTS_COMMON_DNS_FIXTURE_H

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tests/support/waiting.h"

#define DNS_NAMES_MAX 80
#define DNS_WAIT_US (20 * SECOND_US)

struct dns_name {
    const char *name;
    const char *addresses; /* parted by spaces; NULL: there is no such name */
    bool hangs;
    int lookups; /* begun */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct dns_name names[DNS_NAMES_MAX];
    size_t n;
    int inside; /* lookups that go on */
} dns = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* Under the lock. */
static struct dns_name *dns_find(const char *name)
{
    for (size_t i = 0; i < dns.n; i++)
        if (strcmp(dns.names[i].name, name) == 0)
            return &dns.names[i];
    if (dns.n == DNS_NAMES_MAX)
        abort();
    dns.names[dns.n].name = name;
    return &dns.names[dns.n++];
}

/* name: a literal. */
UNUSED static void dns_set(const char *name, const char *addresses, bool hangs)
{
    pthread_mutex_lock(&dns.lock);
    struct dns_name *n = dns_find(name);
    n->addresses = addresses;
    n->hangs = hangs;
    pthread_cond_broadcast(&dns.changed);
    pthread_mutex_unlock(&dns.lock);
}

UNUSED static int dns_lookups(const char *name)
{
    pthread_mutex_lock(&dns.lock);
    int n = dns_find(name)->lookups;
    pthread_mutex_unlock(&dns.lock);
    return n;
}

/* Ends what hangs and forgets all names, once nobody is inside a lookup any more. */
UNUSED static int dns_reset(void **state UNUSED)
{
    pthread_mutex_lock(&dns.lock);
    for (size_t i = 0; i < dns.n; i++)
        dns.names[i].hangs = false;
    pthread_cond_broadcast(&dns.changed);
    while (dns.inside)
        pthread_cond_wait(&dns.changed, &dns.lock);
    dns.n = 0;
    memset(dns.names, 0, sizeof dns.names);
    pthread_mutex_unlock(&dns.lock);
    return 0;
}

int __real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **out);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **out);

static int dns_answer(const char *addresses, const struct addrinfo *hints, struct addrinfo **out)
{
    struct addrinfo **end = out;
    char one[64];
    size_t len;

    for (const char *p = addresses; p && *p; p += len + strspn(p + len, " ")) {
        len = strcspn(p, " ");
        snprintf(one, sizeof one, "%.*s", (int)len, p);
        if (__real_getaddrinfo(one, NULL, hints, end) != 0)
            abort();
        while (*end)
            end = &(*end)->ai_next;
    }
    return addresses ? 0 : EAI_NONAME;
}

int __wrap_getaddrinfo(const char *node, const char *service UNUSED, const struct addrinfo *hints,
                       struct addrinfo **out)
{
    pthread_mutex_lock(&dns.lock);
    struct dns_name *n = dns_find(node);
    n->lookups++;
    dns.inside++;
    while (n->hangs)
        pthread_cond_wait(&dns.changed, &dns.lock);
    const char *addresses = n->addresses;
    dns.inside--;
    pthread_cond_broadcast(&dns.changed);
    pthread_mutex_unlock(&dns.lock);
    return dns_answer(addresses, hints, out);
}

#endif
