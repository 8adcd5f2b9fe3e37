/* The chain of the audit trail: whatever is done to it shows, and where (SEC-10). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>

#include "services/directory/audit_chain.h"

#define N 6

static PbAuditEntry entries[N];
static uint8_t hashes[N][AUDIT_HASH_BYTES];
static char *fields[] = { NULL, NULL };
static char actor[] = "01933a00-0000-7000-8000-0000000000ab", other[] = "x", name[] = "name",
            note[] = "note";

static void build(void)
{
    struct audit_link last = { 0 };

    fields[0] = name;
    fields[1] = note;
    for (int i = 0; i < N; i++) {
        daybook__directory__v1__audit_entry__init(&entries[i]);
        entries[i].seq = 100 + i;
        entries[i].actor_id = actor;
        entries[i].outcome = DAYBOOK__DIRECTORY__V1__ACCESS_OUTCOME__ACCESS_OUTCOME_CHANGED;
        entries[i].fields = fields;
        entries[i].n_fields = 2;
        audit_chain_add(&last, &entries[i]);
        memcpy(hashes[i], last.hash, AUDIT_HASH_BYTES);
        entries[i].hash = (ProtobufCBinaryData){ .data = hashes[i], .len = AUDIT_HASH_BYTES };
    }
}

/* The number of the last entry that holds; *fault_out NULL: all do. */
static int64_t follow(const char **fault_out, const int order[], size_t n)
{
    struct audit_link last = { 0 };

    *fault_out = NULL;
    for (size_t i = 0; i < n && !*fault_out; i++)
        *fault_out = audit_chain_check(&last, &entries[order[i]]);
    return last.number;
}

static const int whole[N] = { 0, 1, 2, 3, 4, 5 };

static void a_chain_that_nobody_touched_holds(void **state)
{
    const char *fault;

    (void)state;
    build();
    assert_int_equal(follow(&fault, whole, N), N);
    assert_null(fault);
    for (int i = 0; i < N; i++)
        assert_int_equal(entries[i].number, i + 1);
}

static void the_hash_is_of_the_one_before_and_the_packed_entry(void **state)
{
    uint8_t bytes[AUDIT_HASH_BYTES + 512] = { 0 }, want[AUDIT_HASH_BYTES];

    (void)state;
    build();
    for (int i = 0; i < N; i++) {
        PbAuditEntry bare = entries[i];
        bare.hash = (ProtobufCBinaryData){ 0 };
        if (i)
            memcpy(bytes, hashes[i - 1], AUDIT_HASH_BYTES);
        size_t len = protobuf_c_message_pack(&bare.base, bytes + AUDIT_HASH_BYTES);
        crypto_generichash(want, sizeof(want), bytes, AUDIT_HASH_BYTES + len, NULL, 0);
        assert_memory_equal(hashes[i], want, sizeof(want));
    }
}

static void change_actor(PbAuditEntry *e)
{
    e->actor_id = other;
}
static void change_seq(PbAuditEntry *e)
{
    e->seq++;
}
static void drop_field(PbAuditEntry *e)
{
    e->n_fields--;
}
static void change_outcome(PbAuditEntry *e)
{
    e->outcome = DAYBOOK__DIRECTORY__V1__ACCESS_OUTCOME__ACCESS_OUTCOME_READ;
}
static void change_hash(PbAuditEntry *e)
{
    e->hash.data[0] ^= 1;
}
static void cut_hash(PbAuditEntry *e)
{
    e->hash.len--;
}

static void any_change_shows_at_its_entry(void **state)
{
    static void (*const changes[])(PbAuditEntry * e) = { change_actor,   change_seq,  drop_field,
                                                         change_outcome, change_hash, cut_hash };
    const char *fault;

    (void)state;
    for (size_t c = 0; c < ARRAY_LEN(changes); c++)
        for (int at = 0; at < N; at++) {
            build();
            changes[c](&entries[at]);
            assert_int_equal(follow(&fault, whole, N), at);
            assert_non_null(fault);
        }
}

/* With a hash of its own that fits, the next one does not fit any more. */
static void a_change_with_a_new_hash_shows_at_the_next(void **state)
{
    const char *fault;

    (void)state;
    build();
    struct audit_link before = { .number = 2 };
    memcpy(before.hash, hashes[1], AUDIT_HASH_BYTES);
    entries[2].actor_id = other;
    audit_chain_add(&before, &entries[2]);
    memcpy(hashes[2], before.hash, AUDIT_HASH_BYTES);
    assert_int_equal(follow(&fault, whole, N), 3);
    assert_non_null(fault);
}

static void what_is_missing_twice_or_out_of_order_shows(void **state)
{
    static const struct {
        const char *label;
        int order[N];
        int64_t holds;
    } cases[] = {
        { "the first is missing", { 1, 2, 3, 4, 5, 5 }, 0 },
        { "one is missing", { 0, 1, 3, 4, 5, 5 }, 2 },
        { "one is there twice", { 0, 1, 1, 2, 3, 4 }, 2 },
        { "two are swapped", { 0, 2, 1, 3, 4, 5 }, 1 },
    };
    const char *fault;

    (void)state;
    build();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (follow(&fault, cases[i].order, N) != cases[i].holds)
            fail_msg("%s: wrong place", cases[i].label);
        assert_string_equal(fault, "an entry is missing");
    }
}

static void only_names_can_be_names_of_fields(void **state)
{
    static const char *const good[] = { "name", "address.street", "customer_id", "updateMask",
                                        "f1" };
    static const char *const bad[] = { "", "a,b", "a b", "\"", "{", "电话", "a\n" };
    char much[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(audit_field_ok(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(audit_field_ok(bad[i]));
    memset(much, 'a', sizeof(much) - 1);
    much[sizeof(much) - 1] = '\0';
    assert_false(audit_field_ok(much));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_that_nobody_touched_holds),
        cmocka_unit_test(the_hash_is_of_the_one_before_and_the_packed_entry),
        cmocka_unit_test(any_change_shows_at_its_entry),
        cmocka_unit_test(a_change_with_a_new_hash_shows_at_the_next),
        cmocka_unit_test(what_is_missing_twice_or_out_of_order_shows),
        cmocka_unit_test(only_names_can_be_names_of_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
