/* common/thread: what threads of ours are born with, and one that can not be. Too few of them: tests/crash/test_threads.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "common/thread.h"

struct seen {
    bool hears_term, hears_pipe, hears_fault;
};

static void *look(void *arg)
{
    struct seen *seen = arg;
    sigset_t blocked;

    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    seen->hears_term = !sigismember(&blocked, SIGTERM);
    seen->hears_pipe = !sigismember(&blocked, SIGPIPE);
    seen->hears_fault = !sigismember(&blocked, SIGSEGV) && !sigismember(&blocked, SIGBUS);
    return arg;
}

static void *wait_here(void *barrier)
{
    pthread_barrier_wait(barrier);
    return NULL;
}

static void signals_are_for_the_first_thread(void **state)
{
    (void)state;
    struct seen seen = { true, true, false };
    sigset_t before, after;
    pthread_t t;
    void *result;

    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_true(thread_start(&t, "looks", look, &seen));
    pthread_join(t, &result);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_ptr_equal(result, &seen);
    assert_false(seen.hears_term || seen.hears_pipe);
    assert_true(seen.hears_fault);
    for (int number = 1; number < SIGRTMAX; number++)
        assert_int_equal(sigismember(&before, number), sigismember(&after, number));
}

static void a_name_is_cut_to_what_the_kernel_keeps(void **state)
{
    (void)state;
    pthread_barrier_t barrier;
    pthread_t t;
    char name[32];

    pthread_barrier_init(&barrier, NULL, 2);
    assert_true(thread_start(&t, "a-name-of-twenty-one", wait_here, &barrier));
    assert_int_equal(pthread_getname_np(t, name, sizeof name), 0);
    assert_string_equal(name, "a-name-of-twent");
    pthread_barrier_wait(&barrier);
    pthread_join(t, NULL);
    pthread_barrier_destroy(&barrier);
}

static void one_that_can_not_be_is_told(void **state)
{
    (void)state;
    pthread_t t;

    errno = 0;
    assert_false(thread_start_small(&t, "huge", wait_here, NULL, (size_t)1 << 60));
    assert_true(errno != 0);
    assert_true(thread_room(2, "two")); /* that one has cost none */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_are_for_the_first_thread),
        cmocka_unit_test(a_name_is_cut_to_what_the_kernel_keeps),
        cmocka_unit_test(one_that_can_not_be_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
