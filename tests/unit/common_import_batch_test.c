/* A batch of rows: when it is full, and what came of each line (CUS-31). */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/import_batch.h"
#include "common/schema.h"

#define OUTCOME(name) DAYBOOK__CUSTOMERS__V1__IMPORT_OUTCOME__IMPORT_OUTCOME_##name

typedef Daybook__Customers__V1__ImportCustomer Row;
typedef Daybook__Customers__V1__BatchImportCustomersResponse Answer;

static struct import_batch batch;

static void open_batch(size_t rows_max)
{
    assert_true(import_batch_open(&batch, import_kind("customers"), rows_max, 7));
}

static Row *row_with(size_t ncontacts)
{
    Row *row = arena_alloc(batch.arena, sizeof(*row));

    assert_non_null(row);
    daybook__customers__v1__import_customer__init(row);
    row->contacts = arena_array(batch.arena, ncontacts, sizeof(*row->contacts));
    row->n_contacts = ncontacts;
    for (size_t i = 0; i < ncontacts; i++) {
        row->contacts[i] = arena_alloc(batch.arena, sizeof(*row->contacts[i]));
        daybook__customers__v1__contact__init(row->contacts[i]);
    }
    return row;
}

static struct import_line *add(size_t ncontacts)
{
    struct import_line *l = import_batch_line(&batch, batch.nlines + 2, "x");

    assert_non_null(l);
    assert_true(import_batch_row(&batch, l, &row_with(ncontacts)->base));
    return l;
}

static bool take(const size_t *indexes, size_t n)
{
    static char empty[] = "", id[] = "an id";
    ImportResult results[8], *list[8];
    Answer answer = DAYBOOK__CUSTOMERS__V1__BATCH_IMPORT_CUSTOMERS_RESPONSE__INIT;

    for (size_t i = 0; i < n; i++) {
        results[i] = (ImportResult)DAYBOOK__CUSTOMERS__V1__IMPORT_RESULT__INIT;
        results[i].index = (int32_t)indexes[i];
        results[i].outcome = OUTCOME(INSERTED);
        results[i].id = id;
        results[i].field = results[i].message = empty;
        list[i] = &results[i];
    }
    answer.results = list;
    answer.n_results = n;
    return import_batch_take(&batch, &answer.base);
}

static void outcomes_go_to_the_lines_that_were_asked(void **state)
{
    (void)state;
    open_batch(8);
    struct import_line *first = add(0);
    struct import_line *bad = import_batch_line(&batch, 3, "y");
    assert_true(import_batch_refuse(&batch, bad, "name", "is empty"));
    struct import_line *last = add(1);
    assert_int_equal(batch.nrows, 2);
    assert_true(take((const size_t[]){ 1, 0 }, 2));
    assert_int_equal(first->outcome, OUTCOME(INSERTED));
    assert_int_equal(bad->outcome, OUTCOME(INVALID));
    assert_int_equal(last->outcome, OUTCOME(INSERTED));
    assert_string_equal(last->id, "an id");
}

static void an_answer_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    open_batch(8);
    add(0);
    add(0);
    assert_false(take((const size_t[]){ 0 }, 1));
    open_batch(8);
    add(0);
    add(0);
    assert_false(take((const size_t[]){ 0, 2 }, 2));
    open_batch(8);
    add(0);
    add(0);
    assert_false(take((const size_t[]){ 1, 1 }, 2)); /* nothing of the first */
}

static void it_is_full_by_rows_lines_and_contacts(void **state)
{
    (void)state;
    open_batch(2);
    add(0);
    assert_true(import_batch_has_room(&batch));
    add(0);
    assert_false(import_batch_has_room(&batch));

    open_batch(2);
    for (int i = 0; i < 4; i++) {
        assert_true(import_batch_has_room(&batch));
        struct import_line *l = import_batch_line(&batch, 1, "x");
        assert_true(import_batch_refuse(&batch, l, "", "faulty"));
    }
    assert_false(import_batch_has_room(&batch));

    const struct import_kind *kind = import_kind("customers");
    size_t n = 0;
    for (open_batch(500); import_batch_has_room(&batch); n++)
        add(kind->weight_one);
    assert_int_equal(n, kind->weight_max / kind->weight_one);
}

static void a_row_with_too_many_contacts_is_faulty(void **state)
{
    (void)state;
    open_batch(8);
    struct import_line *l = add(import_kind("customers")->weight_one + 1);
    assert_int_equal(l->outcome, OUTCOME(INVALID));
    assert_string_equal(l->field, "contacts");
    assert_int_equal(batch.nrows, 0);
}

static void long_names_are_shown_by_their_beginning(void **state)
{
    (void)state;
    char text[2000];

    open_batch(2);
    memset(text, 'a', sizeof(text));
    memcpy(text + 511, "\xe4\xb8\xad", 3);
    text[sizeof(text) - 1] = '\0';
    const struct import_line *l = import_batch_line(&batch, 1, text);
    assert_non_null(l);
    assert_int_equal(strlen(l->external_id), 511);
}

static void lines_are_written_as_csv(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    const struct import_line l = { .line = 4,
                                   .external_id = "=1+1",
                                   .outcome = OUTCOME(INVALID),
                                   .id = "",
                                   .field = "name",
                                   .message = "one, \"two\"" };
    const struct import_line lost = {
        .line = 5, .external_id = "b", .id = "", .field = "", .message = ""
    };

    assert_non_null(out);
    import_line_write(out, &l, "\n");
    import_line_write(out, &lost, "\r\n");
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, "4,'=1+1,invalid,,name,\"one, \"\"two\"\"\"\n5,b,not_taken,,,\r\n");
    free(text);
}

static int stop(void **state)
{
    (void)state;
    import_batch_fini(&batch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes_go_to_the_lines_that_were_asked),
        cmocka_unit_test(an_answer_that_does_not_fit_is_refused),
        cmocka_unit_test(it_is_full_by_rows_lines_and_contacts),
        cmocka_unit_test(a_row_with_too_many_contacts_is_faulty),
        cmocka_unit_test(long_names_are_shown_by_their_beginning),
        cmocka_unit_test(lines_are_written_as_csv),
    };
    return cmocka_run_group_tests(tests, NULL, stop);
}
