/* Queues are fair between companies and between the clients of one, in order within one, and bounded; deadlines come out in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/bus/queue.h"

struct job {
    struct queue_item item;
    struct deadline deadline;
    char client;
    int no;
};

/* Clients are letters, companies digits. */
static struct queue_owner owner(char company, char client)
{
    static const char clients[128];
    return (struct queue_owner){ .company = { { (uint8_t)company } },
                                 .client = &clients[(int)client] };
}

static enum err try_push(struct queue *q, struct job *j, char company, char client, size_t bytes)
{
    const struct queue_owner o = owner(company, client);
    return queue_push(q, &j->item, bytes, &o);
}

static void push_of(struct queue *q, struct job *j, char company, char client, int no)
{
    *j = (struct job){ .client = client, .no = no };
    assert_int_equal(try_push(q, j, company, client, 10), ERR_OK);
}

static void push(struct queue *q, struct job *j, char client, int no)
{
    push_of(q, j, '1', client, no);
}

static struct job *pop(struct queue *q)
{
    struct queue_item *i = queue_pop(q);
    return i ? (struct job *)(void *)((char *)i - offsetof(struct job, item)) : NULL;
}

static void expect(struct queue *q, const char *order)
{
    for (; *order; order += 2) {
        struct job *j = pop(q);
        assert_non_null(j);
        if (j->client != order[0] || j->no != order[1] - '0')
            fail_msg("want %.2s, got %c%d", order, j->client, j->no);
    }
}

static void clients_take_turns_and_each_keeps_its_order(void **state)
{
    (void)state;
    struct queue q;
    struct job j[8];
    assert_true(queue_init(&q, 100, 1000));
    push(&q, &j[0], 'a', 1);
    push(&q, &j[1], 'a', 2);
    push(&q, &j[2], 'a', 3);
    push(&q, &j[3], 'b', 1);
    push(&q, &j[4], 'c', 1);
    push(&q, &j[5], 'b', 2);
    expect(&q, "a1b1c1a2b2a3");
    assert_null(pop(&q));
    assert_int_equal(q.count, 0);
    assert_int_equal(q.bytes, 0);
    queue_fini(&q);
}

static void one_flooding_client_delays_another_by_one_request(void **state)
{
    (void)state;
    struct queue q;
    static struct job flood[1000];
    struct job late;
    assert_true(queue_init(&q, 2000, 1000000));
    for (int i = 0; i < 1000; i++)
        push(&q, &flood[i], 'f', i);
    assert_int_equal(pop(&q)->no, 0);
    push(&q, &late, 'x', 7);
    assert_int_equal(pop(&q)->client, 'f');
    assert_int_equal(pop(&q)->client, 'x');
    while (pop(&q)) {
    }
    queue_fini(&q);
}

static void bounds_hold_in_count_and_in_bytes(void **state)
{
    (void)state;
    struct queue q;
    struct job j[4];
    assert_true(queue_init(&q, 2, 1000));
    push_of(&q, &j[0], '1', 'a', 1);
    assert_int_equal(try_push(&q, &j[1], '1', 'a', 1), ERR_RESOURCE_EXHAUSTED); /* the other half */
    push_of(&q, &j[1], '2', 'b', 1);
    assert_int_equal(try_push(&q, &j[2], '3', 'c', 1), ERR_RESOURCE_EXHAUSTED);
    expect(&q, "a1b1");
    queue_fini(&q);

    assert_true(queue_init(&q, 100, 45));
    push(&q, &j[0], 'a', 1);
    push(&q, &j[1], 'a', 2);
    assert_int_equal(try_push(&q, &j[2], '1', 'a', 6), ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(try_push(&q, &j[2], '1', 'c', 6), ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(try_push(&q, &j[2], '2', 'b', SIZE_MAX), ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(try_push(&q, &j[2], '2', 'b', 26), ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(try_push(&q, &j[2], '1', 'a', 5), ERR_OK);
    assert_int_equal(try_push(&q, &j[3], '2', 'b', 20), ERR_OK);
    assert_int_equal(q.bytes, 45);
    while (pop(&q)) {
    }
    queue_fini(&q);
}

static void companies_take_turns_however_many_keys_they_ask_by_F52(void **state)
{
    (void)state;
    struct queue q;
    static struct job flood[20 * 26];
    struct job calm[2], other;
    assert_true(queue_init(&q, 2000, 1000000));
    for (int i = 0; i < (int)ARRAY_LEN(flood); i++)
        push_of(&q, &flood[i], '1', (char)('a' + i % 26), i);
    assert_int_equal(pop(&q)->no, 0);
    push_of(&q, &calm[0], '2', 'X', 1);
    push_of(&q, &calm[1], '2', 'X', 2);
    push_of(&q, &other, '3', 'Y', 1);
    assert_int_equal(pop(&q)->no, 1);
    expect(&q, "X1Y1");
    assert_int_equal(pop(&q)->no, 2); /* and its own clients take turns as ever */
    expect(&q, "X2");
    assert_int_equal(pop(&q)->client, 'd');
    while (pop(&q)) {
    }
    assert_int_equal(q.companies, 0);
    queue_fini(&q);
}

static void one_company_leaves_room_for_another_F52(void **state)
{
    (void)state;
    struct queue q;
    static struct job j[200];
    int n = 0, m = 0;
    assert_true(queue_init(&q, 100, 1000000));
    while (try_push(&q, &j[n], '1', (char)('a' + n % 26), 10) == ERR_OK)
        n++;
    assert_int_equal(n, 50);
    while (try_push(&q, &j[n + m], '2', 'X', 10) == ERR_OK)
        m++;
    assert_int_equal(m, 25);
    assert_int_equal(try_push(&q, &j[n + m], '3', 'Y', 10), ERR_OK);
    while (pop(&q)) {
    }
    queue_fini(&q);
}

static size_t before(const struct queue *q, char company, char client)
{
    const struct queue_owner o = owner(company, client);
    return queue_before(q, &o);
}

static void how_many_come_before_one_is_known_beforehand_F51(void **state)
{
    (void)state;
    struct queue q;
    struct job j[12], last;
    assert_true(queue_init(&q, 100, 10000));
    assert_int_equal(before(&q, '1', 'a'), 0);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(before(&q, '1', 'a'), i);
        push_of(&q, &j[i], '1', 'a', i);
    }
    assert_int_equal(before(&q, '1', 'b'), 1); /* one of a's */
    assert_int_equal(before(&q, '2', 'X'), 1);
    for (int i = 6; i < 12; i++)
        push_of(&q, &j[i], '2', (char)(i % 2 ? 'X' : 'Y'), i);
    assert_int_equal(before(&q, '3', 'Z'), 2);
    assert_int_equal(before(&q, '1', 'b'), 3);
    assert_int_equal(before(&q, '1', 'a'), 12);

    size_t told = before(&q, '2', 'W'), counted = 0;
    push_of(&q, &last, '2', 'W', 9);
    for (struct job *one; (one = pop(&q)) != &last;)
        counted++;
    assert_int_equal(counted, told);
    while (pop(&q)) {
    }
    queue_fini(&q);
}

static void items_leave_from_anywhere(void **state)
{
    (void)state;
    struct queue q;
    struct job j[5];
    assert_true(queue_init(&q, 100, 1000));
    push(&q, &j[0], 'a', 1);
    push(&q, &j[1], 'a', 2);
    push(&q, &j[2], 'a', 3);
    push(&q, &j[3], 'b', 1);
    queue_remove(&q, &j[1].item);
    queue_remove(&q, &j[1].item); /* no harm */
    queue_remove(&q, &j[3].item);
    assert_int_equal(q.count, 2);
    expect(&q, "a1a3");
    queue_fini(&q);
}

static void what_was_popped_can_go_back_to_the_front(void **state)
{
    (void)state;
    struct queue q;
    struct job j[4];
    assert_true(queue_init(&q, 100, 1000));
    push(&q, &j[0], 'a', 1);
    push(&q, &j[1], 'a', 2);
    push(&q, &j[2], 'b', 1);
    struct job *first = pop(&q);
    const struct queue_owner a = owner('1', 'a');
    assert_int_equal(queue_unpop(&q, &first->item, &a), ERR_OK);
    expect(&q, "a1");
    expect(&q, "b1a2");
    queue_fini(&q);
}

static void deadlines_come_out_in_order_whatever_was_moved(void **state)
{
    (void)state;
    struct deadlines d;
    static struct deadline e[500];
    uint32_t seed = 12345;
    deadlines_init(&d);
    memset(e, 0, sizeof(e));
    for (size_t i = 0; i < ARRAY_LEN(e); i++) {
        seed = seed * 1664525u + 1013904223u;
        assert_true(deadlines_set(&d, &e[i], seed >> 8));
    }
    for (size_t i = 0; i < ARRAY_LEN(e); i += 3) {
        seed = seed * 1664525u + 1013904223u;
        assert_true(deadlines_set(&d, &e[i], seed >> 8));
    }
    for (size_t i = 1; i < ARRAY_LEN(e); i += 3)
        deadlines_clear(&d, &e[i]);
    deadlines_clear(&d, &e[1]);

    int64_t last = 0;
    size_t n = 0;
    for (struct deadline *f; (f = deadlines_first(&d)); n++) {
        assert_true(f->at_us >= last);
        last = f->at_us;
        deadlines_clear(&d, f);
    }
    assert_int_equal(n, 500 - 167);
    deadlines_fini(&d);
}

static void a_map_finds_what_was_put_in_and_only_that(void **state)
{
    (void)state;
    struct hmap m;
    static struct {
        struct hnode node;
        int key;
    } e[1000];
    assert_true(hmap_init(&m));
    for (int i = 0; i < 1000; i++) {
        e[i].key = i;
        hmap_insert(&m, &e[i].node, &e[i].key, sizeof(int));
    }
    for (int i = 0; i < 1000; i += 2)
        hmap_remove(&m, &e[i].node);
    hmap_remove(&m, &e[0].node);
    assert_int_equal(m.count, 500);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(hmap_find(&m, &i, sizeof(i)) != NULL, i % 2);
    size_t n = 0;
    for (struct hnode *at = NULL; (at = hmap_next(&m, at)); n++) {
    }
    assert_int_equal(n, 500);
    hmap_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_take_turns_and_each_keeps_its_order),
        cmocka_unit_test(one_flooding_client_delays_another_by_one_request),
        cmocka_unit_test(bounds_hold_in_count_and_in_bytes),
        cmocka_unit_test(companies_take_turns_however_many_keys_they_ask_by_F52),
        cmocka_unit_test(one_company_leaves_room_for_another_F52),
        cmocka_unit_test(how_many_come_before_one_is_known_beforehand_F51),
        cmocka_unit_test(items_leave_from_anywhere),
        cmocka_unit_test(what_was_popped_can_go_back_to_the_front),
        cmocka_unit_test(deadlines_come_out_in_order_whatever_was_moved),
        cmocka_unit_test(a_map_finds_what_was_put_in_and_only_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
