/* Mailboxes, worker threads, and the waiters of a daemon: what crosses threads. */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/daemon_internal.h"
#include "common/pool.h"

#define WAIT_US (20 * SECOND_US)

/* --- mailbox ---------------------------------------------------------------------------------- */

struct letter {
    struct mail mail;
    int from, number;
};

enum { SENDERS = 4, LETTERS = 5000 };

struct sender {
    struct mailbox *box;
    int index;
    pthread_t thread;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < LETTERS; i++) {
        struct letter *l = calloc(1, sizeof *l);
        *l = (struct letter){ .from = s->index, .number = i };
        mailbox_post(s->box, &l->mail);
    }
    return NULL;
}

static void all_mail_arrives_in_its_senders_order(void **state)
{
    (void)state;
    struct mailbox box;
    struct sender senders[SENDERS];
    int next[SENDERS] = { 0 };
    assert_true(mailbox_init(&box));
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){ .box = &box, .index = i };
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
    }
    for (int left = SENDERS * LETTERS; left > 0;) {
        struct letter *l = (struct letter *)mailbox_take(&box);
        if (!l) {
            assert_true(mailbox_wait(&box, WAIT_US)); /* a lost wake-up would end here */
            continue;
        }
        assert_int_equal(l->number, next[l->from]);
        next[l->from]++;
        left--;
        free(l);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(senders[i].thread, NULL);
    assert_null(mailbox_take(&box));
    assert_false(mailbox_wait(&box, 0));
    mailbox_fini(&box);
}

static void a_full_box_refuses_and_a_ring_is_taken_back(void **state)
{
    (void)state;
    struct mailbox box;
    struct mail one, two;
    assert_true(mailbox_init(&box));
    assert_true(mailbox_offer(&box, &one, 1));
    assert_false(mailbox_offer(&box, &two, 1));
    assert_ptr_equal(mailbox_take(&box), &one);
    mailbox_ring(&box);
    mailbox_ring(&box);
    assert_true(mailbox_wait(&box, 0));
    assert_null(mailbox_take(&box));
    assert_false(mailbox_wait(&box, 0));
    mailbox_fini(&box);
}

/* --- pool ------------------------------------------------------------------------------------- */

struct desk { /* of one worker */
    pthread_t thread;
    int runs;
    atomic_bool *hold;
};

static void run(void *worker_data, struct pool_job *job)
{
    struct desk *desk = worker_data;
    assert_true(desk->runs == 0 || pthread_equal(desk->thread, pthread_self()));
    desk->thread = pthread_self();
    desk->runs++;
    while (desk->hold && atomic_load(desk->hold))
        poll(NULL, 0, 1);
    job->wake_relay = true;
}

static struct pool_job *await_done(struct pool *p)
{
    struct pollfd f = { .fd = pool_done_fd(p), .events = POLLIN };
    for (;;) {
        struct pool_job *job = pool_take_done(p);
        if (job)
            return job;
        assert_int_equal(poll(&f, 1, (int)(WAIT_US / 1000)), 1);
    }
}

static void each_worker_runs_its_own_jobs(void **state)
{
    (void)state;
    enum { WORKERS = 4, ROUNDS = 500 };
    struct desk desks[WORKERS] = { { .runs = 0 } };
    void *data[WORKERS];
    struct pool_job jobs[WORKERS] = { { .worker = 0 } };
    for (size_t i = 0; i < WORKERS; i++)
        data[i] = &desks[i];
    struct pool *p = pool_new(WORKERS, run, data);
    assert_non_null(p);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < WORKERS; i++) {
            jobs[i].worker = i;
            jobs[i].wake_relay = false;
            pool_submit(p, &jobs[i]);
        }
        for (size_t i = 0; i < WORKERS; i++)
            assert_true(await_done(p)->wake_relay);
    }
    assert_int_equal(pool_longest_us(p), 0);
    assert_true(pool_stop(p, WAIT_US));
    pool_free(p);
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(desks[i].runs, ROUNDS);
}

static void a_stuck_worker_is_seen_and_not_waited_for(void **state)
{
    (void)state;
    atomic_bool hold = true;
    struct desk desk = { .hold = &hold };
    struct pool_job job = { .worker = 0 };
    struct pool *p = pool_new(1, run, (void *[]){ &desk });
    pool_submit(p, &job);
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (pool_longest_us(p) < 2000 && clock_monotonic_us() < until_us)
        poll(NULL, 0, 1);
    assert_true(pool_longest_us(p) >= 2000);
    assert_false(pool_stop(p, 10 * MSEC_US));
    atomic_store(&hold, false);
    assert_true(pool_stop(p, WAIT_US));
    assert_ptr_equal(pool_take_done(p), &job);
    pool_free(p);
}

static void stopping_never_misses_a_worker(void **state)
{
    (void)state;
    struct desk desks[2] = { { .runs = 0 } };
    for (int i = 0; i < 300; i++) { /* start and stop race with the first look into the box */
        struct pool *p = pool_new(2, run, (void *[]){ &desks[0], &desks[1] });
        desks[0].runs = desks[1].runs = 0;
        assert_true(pool_stop(p, WAIT_US));
        pool_free(p);
    }
}

/* --- waiters ---------------------------------------------------------------------------------- */

static struct daemon *new_daemon(void)
{
    struct daemon *d = calloc(1, sizeof *d);
    assert_non_null(d);
    assert_true(daemon_wake_init(d));
    return d;
}

static void free_daemon(struct daemon *d)
{
    daemon_wake_fini(d);
    free(d);
}

static void a_wake_reaches_its_channel_once_and_the_bus(void **state)
{
    (void)state;
    struct daemon *d = new_daemon();
    struct daemon_waiter *one = daemon_waiter_new(d, "a.timers");
    struct daemon_waiter *two = daemon_waiter_new(d, "a.timers2"); /* no prefix match */
    struct daemon_waiter *deaf = daemon_waiter_new(d, NULL);
    struct daemon_waker *waker = daemon_waker_new(d);
    const void *data = NULL;
    size_t len = 0;
    daemon_wake(waker, "a.timers", "first", 5);
    daemon_wake(waker, "a.timers", NULL, 0);
    assert_true(daemon_waiter_wait(one, 0, &data, &len));
    assert_int_equal(len, 5);
    assert_memory_equal(data, "first", 5);
    assert_true(daemon_waiter_wait(one, 0, &data, &len));
    assert_int_equal(len, 0);
    assert_false(daemon_waiter_wait(one, 0, &data, &len));
    assert_false(daemon_waiter_wait(two, 0, &data, &len));
    assert_false(daemon_waiter_wait(deaf, 0, &data, &len));

    /* For the loop: two subscriptions, then two messages with our mark, whose echo is not heard. */
    struct wake_mail *m[4];
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        m[i] = (struct wake_mail *)mailbox_take(&d->to_loop);
        assert_non_null(m[i]);
        assert_int_equal(m[i]->subscribe, i < 2);
    }
    assert_int_equal(m[2]->len, BUS_WAKE_ORIGIN_LEN + 5);
    daemon_wake_heard(d, "a.timers", 8, m[2]->data, m[2]->len);
    assert_false(daemon_waiter_wait(one, 0, &data, &len));
    m[2]->data[0] ^= 1; /* another process */
    daemon_wake_heard(d, "a.timers", 8, m[2]->data, m[2]->len);
    assert_true(daemon_waiter_wait(one, 0, &data, &len));
    assert_int_equal(len, 5);
    daemon_wake_heard(d, "a.timers", 8, "short", 5); /* F35 */
    assert_false(daemon_waiter_wait(one, 0, &data, &len));
    for (size_t i = 0; i < ARRAY_LEN(m); i++)
        free(m[i]);
    daemon_waker_free(waker);
    daemon_waiter_free(one);
    daemon_waiter_free(two);
    daemon_waiter_free(deaf);
    free_daemon(d);
}

static void wakes_of_the_relay_are_one_flag(void **state)
{
    (void)state;
    struct daemon *d = new_daemon();
    for (int i = 0; i < 3; i++)
        daemon_wake_publish(d, BUS_WAKE_RELAY, NULL, 0);
    assert_true(atomic_load(&d->relay_due));
    assert_true(mailbox_wait(&d->to_loop, 0));
    assert_null(mailbox_take(&d->to_loop));
    free_daemon(d);
}

static void a_waiter_that_is_behind_loses_wakes_not_memory(void **state)
{
    (void)state;
    struct daemon *d = new_daemon();
    struct daemon_waiter *w = daemon_waiter_new(d, "c");
    for (int i = 0; i < DAEMON_WAKES_MAX + 10; i++)
        daemon_wake_publish(d, "c", "x", 1);
    int heard = 0;
    while (daemon_waiter_wait(w, 0, NULL, NULL))
        heard++;
    assert_int_equal(heard, DAEMON_WAKES_MAX);
    daemon_waiter_free(w);
    free_daemon(d);
}

static void waits_end_on_time(void **state)
{
    (void)state;
    struct daemon *d = new_daemon();
    struct daemon_waiter *w = daemon_waiter_new(d, NULL);
    int64_t best_us = INT64_MAX;
    for (int i = 0; i < 30; i++) {
        int64_t want_us = 1000 + 137 * i, start_us = clock_monotonic_us();
        assert_false(daemon_waiter_wait(w, want_us, NULL, NULL));
        int64_t late_us = clock_monotonic_us() - start_us - want_us;
        assert_true(late_us >= 0);
        best_us = MIN(best_us, late_us);
    }
    assert_true(best_us < 1000); /* the best: a loaded machine delays single ones */
    daemon_waiter_free(w);
    free_daemon(d);
}

struct sleeper {
    struct daemon *d;
    atomic_bool inside;
    bool woken;
};

static void *sleep_on(void *arg)
{
    struct sleeper *s = arg;
    struct daemon_waiter *w = daemon_waiter_new(s->d, "c");
    atomic_store(&s->inside, true);
    s->woken = daemon_waiter_wait(w, WAIT_US, NULL, NULL);
    daemon_waiter_free(w);
    return NULL;
}

static void stopping_ends_a_wait_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) { /* from before the wait until well into it */
        struct sleeper s = { .d = new_daemon() };
        pthread_t thread;
        int64_t start_us = clock_monotonic_us();
        assert_int_equal(pthread_create(&thread, NULL, sleep_on, &s), 0);
        while (!atomic_load(&s.inside))
            sched_yield();
        atomic_store(&s.d->stopping, true);
        daemon_wake_all(s.d);
        pthread_join(thread, NULL);
        assert_false(s.woken);
        assert_true(clock_monotonic_us() - start_us < WAIT_US);
        free_daemon(s.d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_mail_arrives_in_its_senders_order),
        cmocka_unit_test(a_full_box_refuses_and_a_ring_is_taken_back),
        cmocka_unit_test(each_worker_runs_its_own_jobs),
        cmocka_unit_test(a_stuck_worker_is_seen_and_not_waited_for),
        cmocka_unit_test(stopping_never_misses_a_worker),
        cmocka_unit_test(a_wake_reaches_its_channel_once_and_the_bus),
        cmocka_unit_test(wakes_of_the_relay_are_one_flag),
        cmocka_unit_test(a_waiter_that_is_behind_loses_wakes_not_memory),
        cmocka_unit_test(waits_end_on_time),
        cmocka_unit_test(stopping_ends_a_wait_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
