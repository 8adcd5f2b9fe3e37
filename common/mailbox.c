/*
 * mailbox.c - the list, and an eventfd that is written only when it is not readable yet, so that a
 * burst of posts costs one system call.
 */
#include "common/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Under the lock. */
static void ring(struct mailbox *m)
{
    if (m->rung)
        return;
    m->rung = true;
    uint64_t one = 1;
    ssize_t n = write(m->fd, &one, sizeof one);
    assert(n == (ssize_t)sizeof one); /* the counter is 0 here, so it cannot be full */
}

static void silence(struct mailbox *m)
{
    if (!m->rung)
        return;
    m->rung = false;
    uint64_t count;
    ssize_t n = read(m->fd, &count, sizeof count);
    assert(n == (ssize_t)sizeof count);
}

bool mailbox_init(struct mailbox *m)
{
    *m = (struct mailbox){ .end = &m->first };
    m->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (m->fd < 0)
        return false;
    pthread_mutex_init(&m->lock, NULL);
    return true;
}

void mailbox_fini(struct mailbox *m)
{
    if (m->fd < 0 || m->end == NULL)
        return;
    close(m->fd);
    pthread_mutex_destroy(&m->lock);
    *m = (struct mailbox){ .fd = -1 };
}

bool mailbox_offer(struct mailbox *m, struct mail *mail, size_t limit)
{
    pthread_mutex_lock(&m->lock);
    bool taken = m->count < limit;
    if (taken) {
        mail->next = NULL;
        *m->end = mail;
        m->end = &mail->next;
        m->count++;
        ring(m);
    }
    pthread_mutex_unlock(&m->lock);
    return taken;
}

void mailbox_post(struct mailbox *m, struct mail *mail)
{
    bool taken = mailbox_offer(m, mail, SIZE_MAX);
    assert(taken);
}

void mailbox_ring(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    ring(m);
    pthread_mutex_unlock(&m->lock);
}

struct mail *mailbox_take(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    struct mail *mail = m->first;
    if (mail) {
        m->first = mail->next;
        m->count--;
        mail->next = NULL;
    }
    if (!m->first) {
        m->end = &m->first;
        silence(m);
    }
    pthread_mutex_unlock(&m->lock);
    return mail;
}

bool mailbox_wait(struct mailbox *m, int64_t timeout_us)
{
    struct pollfd p = { .fd = m->fd, .events = POLLIN };
    struct timespec left = { .tv_sec = timeout_us / SECOND_US,
                             .tv_nsec = timeout_us % SECOND_US * 1000 };
    int n = ppoll(&p, 1, timeout_us < 0 ? NULL : &left, NULL);
    assert(n >= 0 || errno == EINTR);
    return n > 0;
}
