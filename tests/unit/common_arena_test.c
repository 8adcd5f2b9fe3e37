/* The request arena: zeroed, aligned, bounded. */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/arena.h"

static bool all_zero(const void *p, size_t n)
{
    const unsigned char *bytes = p;
    while (n > 0)
        if (bytes[--n])
            return false;
    return true;
}

static void blocks_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    CLEANUP(arena_freep) struct arena *a = arena_new(4 * MIB);
    unsigned char *before = NULL;
    size_t before_size = 0;
    for (size_t size = 0; size < 5000; size += 37) {
        unsigned char *p = arena_alloc(a, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
        assert_true(all_zero(p, size));
        memset(p, 0xff, size);
        assert_true(!before || p >= before + before_size || p + size <= before);
        assert_ptr_not_equal(p, before);
        before = p;
        before_size = size;
    }
}

static void a_reset_gives_zeroed_memory_again(void **state)
{
    (void)state;
    CLEANUP(arena_freep) struct arena *a = arena_new(4 * MIB);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) {
            char *p = arena_alloc(a, 1000);
            assert_non_null(p);
            assert_true(all_zero(p, 1000));
            memset(p, 0xa5, 1000);
        }
        assert_true(arena_used(a) >= 100 * 1000);
        arena_reset(a);
        assert_int_equal(arena_used(a), 0);
    }
}

static void nothing_goes_past_the_budget(void **state)
{
    (void)state;
    CLEANUP(arena_freep) struct arena *a = arena_new(1024);
    assert_null(arena_alloc(a, 1025));
    assert_non_null(arena_alloc(a, 1000));
    assert_null(arena_alloc(a, 100));
    assert_non_null(arena_alloc(a, 1)); /* a failure changes nothing */
    assert_true(arena_used(a) <= 1024);

    arena_set_budget(a, 10); /* never below what is used */
    assert_null(arena_alloc(a, 1));
    arena_set_budget(a, 4096);
    assert_non_null(arena_alloc(a, 2000));
    arena_reset(a);
    assert_non_null(arena_alloc(a, 4000));
}

static void what_is_done_with_counts_no_longer(void **state)
{
    (void)state;
    CLEANUP(arena_freep) struct arena *a = arena_new(1024);
    char *kept = arena_strdup(a, "kept");
    size_t mark = arena_used(a);
    char *before = arena_alloc(a, 900);

    assert_true(kept && before);
    memset(before, 'x', 900);
    assert_null(arena_alloc(a, 900));
    arena_discount(a, mark);
    assert_int_equal(arena_used(a), mark);
    char *after = arena_alloc(a, 900);
    assert_non_null(after);
    memset(after, 'y', 900);
    assert_true(before[0] == 'x' && before[899] == 'x'); /* it is still there */
    assert_string_equal(kept, "kept");
    assert_null(arena_alloc(a, 900));
    arena_discount(a, 1 << 20); /* never more than there is */
    assert_null(arena_alloc(a, 900));
}

static void absurd_sizes_are_refused(void **state)
{
    (void)state;
    CLEANUP(arena_freep) struct arena *a = arena_new(SIZE_MAX);
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_array(a, SIZE_MAX / 2, 3));
    assert_null(arena_array(a, SIZE_MAX, SIZE_MAX));
    assert_non_null(arena_array(a, 0, 8));
    assert_non_null(arena_array(a, 8, 0));
}

static void copies_are_whole(void **state)
{
    (void)state;
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);
    assert_null(arena_strdup(a, NULL));
    assert_null(arena_strndup(a, NULL, 3));
    assert_string_equal(arena_strdup(a, ""), "");
    assert_string_equal(arena_strdup(a, "visit"), "visit");
    assert_string_equal(arena_strndup(a, "visit", 3), "vis");
    assert_string_equal(arena_strndup(a, "vi", 30), "vi");
    assert_memory_equal(arena_memdup(a, "a\0b", 3), "a\0b", 3);
    assert_non_null(arena_memdup(a, NULL, 0));
    assert_string_equal(arena_printf(a, "%s-%d", "x", 7), "x-7");
    assert_string_equal(arena_printf(a, "%s", ""), "");

    char *wide = arena_printf(a, "%5000d", 1);
    assert_int_equal(strlen(wide), 5000);
    arena_set_budget(a, 0);
    assert_null(arena_printf(a, "%5000d", 1));
    assert_null(arena_strdup(a, "x"));
}

static void protobuf_allocates_here(void **state)
{
    (void)state;
    CLEANUP(arena_freep) struct arena *a = arena_new(1024);
    ProtobufCAllocator *alloc = arena_protobuf(a);
    void *p = alloc->alloc(alloc->allocator_data, 100);
    assert_non_null(p);
    alloc->free(alloc->allocator_data, p);
    assert_true(arena_used(a) >= 100);
    assert_null(alloc->alloc(alloc->allocator_data, 2000));
}

static void no_arena_is_freed_quietly(void **state)
{
    (void)state;
    struct arena *none = NULL;
    arena_free(NULL);
    arena_freep(&none);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_zeroed_aligned_and_apart),
        cmocka_unit_test(a_reset_gives_zeroed_memory_again),
        cmocka_unit_test(nothing_goes_past_the_budget),
        cmocka_unit_test(what_is_done_with_counts_no_longer),
        cmocka_unit_test(absurd_sizes_are_refused),
        cmocka_unit_test(copies_are_whole),
        cmocka_unit_test(protobuf_allocates_here),
        cmocka_unit_test(no_arena_is_freed_quietly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
