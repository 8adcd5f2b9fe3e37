/* The schema of the contract, joined with that of tests/proto/testdata.proto. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base.h"
#include "common/schema.h"
#include "common/schema_data.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "testdata/testdata.pb-c.h"

#define EVERYTHING "daybook.testdata.v1.Everything"

static int set_up(void **state)
{
    (void)state;
    schema_init();
    schema_init(); /* twice does no harm */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    schema_fini();
    return 0;
}

static const struct schema_field *field(const char *name)
{
    const struct schema_message *m = schema_find_message(EVERYTHING);
    assert_non_null(m);
    return schema_find_field(m, name, strlen(name));
}

static void finds_every_type_by_name_and_by_descriptor(void **state)
{
    (void)state;
    for (size_t i = 0; schema_messages[i]; i++) {
        const struct schema_message *m = schema_find_message(schema_messages[i]->name);
        assert_non_null(m);
        assert_ptr_equal(m->type, schema_messages[i]);
        assert_ptr_equal(schema_of(schema_messages[i]), m);
    }
    for (size_t i = 0; schema_enums[i]; i++)
        assert_ptr_equal(schema_find_enum(schema_enums[i]->name), schema_enums[i]);
}

static void finds_every_field_by_both_its_names(void **state)
{
    (void)state;
    for (size_t i = 0; schema_messages[i]; i++) {
        const struct schema_message *m = schema_of(schema_messages[i]);
        for (unsigned j = 0; j < m->type->n_fields; j++) {
            const struct schema_field *f = &m->fields[j];
            assert_ptr_equal(f->field, &m->type->fields[j]);
            assert_ptr_equal(schema_find_field(m, f->json_name, strlen(f->json_name)), f);
            assert_ptr_equal(schema_find_field(m, f->field->name, strlen(f->field->name)), f);
        }
    }
}

static void finds_nothing_under_names_that_do_not_exist(void **state)
{
    (void)state;
    assert_null(schema_find_message("daybook.testdata.v1.Nothing"));
    assert_null(schema_find_message("." EVERYTHING));
    assert_null(schema_find_message(""));
    assert_null(schema_find_message("daybook.testdata.v1.Colour")); /* an enum */
    assert_null(schema_find_enum(EVERYTHING));
    assert_null(schema_find_service(EVERYTHING));
    assert_null(schema_find_method("daybook.visits.v1.VisitService", "NoSuchMethod"));
    assert_null(schema_find_method("daybook.visits.v1.NoSuchService", "GetVisit"));
    assert_null(field("int32field"));
    assert_null(field(""));
    assert_null(schema_find_field(schema_find_message(EVERYTHING), "int32_fieldx", 10));
    assert_non_null(schema_find_field(schema_find_message(EVERYTHING), "int32_fieldx", 11));
}

static void json_names_come_from_protoc(void **state)
{
    (void)state;
    assert_string_equal(field("visit_day_2")->json_name, "visitDay2");
    assert_string_equal(field("named_otherwise")->json_name, "@other");
    assert_string_equal(field("field_0name5")->json_name, "field0name5");
    assert_string_equal(field("__double")->json_name, "Double");
    assert_null(field("namedOtherwise")); /* the default name is replaced, not joined */
    /* Not in the set: computed. */
    const struct schema_message *m =
        schema_of(&google__protobuf__file_descriptor_proto__descriptor);
    assert_non_null(schema_find_field(m, "publicDependency", strlen("publicDependency")));
}

static void knows_the_forms_of_fields(void **state)
{
    (void)state;
    assert_true(field("string_map")->is_map);
    assert_false(field("child_list")->is_map);
    assert_false(field("child")->is_map);
    assert_true(field("string_map")->message->is_map_entry);
    assert_string_equal(field("choice_text")->oneof, "choice");
    assert_null(field("string_field")->oneof);
    assert_true(field("choice_null")->is_null_value);
    assert_false(field("enum_field")->is_null_value);
    assert_ptr_equal(field("ts")->message->type, &google__protobuf__timestamp__descriptor);
    assert_int_equal(field("ts")->message->known, SCHEMA_TIMESTAMP);
    assert_int_equal(field("bytes_value")->message->known, SCHEMA_WRAPPER);
    assert_int_equal(field("empty")->message->known, SCHEMA_PLAIN);
}

static void knows_which_types_contain_themselves(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool want;
    } cases[] = {
        { EVERYTHING, true },
        { EVERYTHING ".StringMapEntry", true },
        { "google.protobuf.Value", true },
        { "google.protobuf.Struct", true },
        { "google.protobuf.Timestamp", false },
        { "daybook.common.v1.CallContext", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct schema_message *m = schema_find_message(cases[i].name);
        assert_non_null(m);
        if (m->is_recursive != cases[i].want)
            fail_msg("%s: want %d", cases[i].name, cases[i].want);
    }
}

static void no_message_of_the_contract_is_recursive(void **state)
{
    (void)state; /* protocols C, profile: recursion is for free-form data only */
    for (size_t i = 0; schema_messages[i]; i++) {
        const struct schema_message *m = schema_of(schema_messages[i]);
        bool ours = strncmp(m->type->name, "daybook.", 8) == 0 &&
                    strncmp(m->type->name, "daybook.testdata.", 17) != 0;
        if (ours && m->is_recursive)
            fail_msg("%s contains itself", m->type->name);
    }
}

static void methods_have_types_and_options(void **state)
{
    (void)state;
    const struct schema_method *read =
        schema_find_method("daybook.bus.v1.EventService", "ReadEvents");
    assert_non_null(read);
    assert_string_equal(read->service, "daybook.bus.v1.EventService");
    assert_string_equal(read->input->name, "daybook.bus.v1.ReadEventsRequest");
    assert_string_equal(read->output->name, "daybook.bus.v1.ReadEventsResponse");
    assert_true(read->no_side_effects);
    assert_true(read->idempotent);
    assert_false(read->server_stream);
    assert_non_null(read->comment);

    size_t n, writes = 0;
    const struct schema_service *services = schema_services(&n);
    assert_true(n >= 2);
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(schema_find_service(services[i].name), &services[i]);
        assert_true(i == 0 || strcmp(services[i - 1].name, services[i].name) < 0);
        for (size_t j = 0; j < services[i].nmethods; j++)
            writes += !services[i].methods[j].idempotent;
    }
    assert_true(writes > 0);
}

static void types_know_their_file(void **state)
{
    size_t n;

    (void)state;
    const struct schema_file *file = schema_find_message(EVERYTHING)->file;
    assert_string_equal(file->name, "testdata.proto");
    assert_string_equal(file->package, "daybook.testdata.v1");
    assert_non_null(strstr(file->comment, "Messages that only tests use"));
    const struct schema_service *visits = schema_find_service("daybook.visits.v1.VisitService");
    assert_string_equal(visits->file->name, "daybook/visits/v1/visits.proto");
    const struct schema_message *all = schema_all_messages(&n);
    for (size_t i = 0; i < n; i++)
        assert_ptr_equal(schema_of(all[i].type), &all[i]);
}

static void comments_are_those_of_the_proto_files(void **state)
{
    (void)state;
    assert_string_equal(schema_find_message(EVERYTHING)->comment, "A field of every kind.");
    assert_string_equal(schema_enum_value_comment(&daybook__testdata__v1__colour__descriptor, 1),
                        "Like blood.");
    assert_null(schema_enum_value_comment(&daybook__testdata__v1__colour__descriptor, 0));
    assert_null(schema_enum_value_comment(&daybook__testdata__v1__colour__descriptor, 99));
    assert_string_equal(schema_enum_comment(&daybook__testdata__v1__colour__descriptor),
                        "Has an alias and a negative number.");
    const struct schema_message *context = schema_find_message("daybook.common.v1.CallContext");
    const struct schema_field *deadline = schema_find_field(context, "deadlineMs", 10);
    assert_string_equal(
        deadline->comment,
        "Milliseconds left to answer; 0 = 5 000, more than 30 000 counts as 30 000.");
}

static void the_set_can_be_read_by_others(void **state)
{
    (void)state;
    size_t len;
    const uint8_t *data = schema_descriptor_set(&len);
    Google__Protobuf__FileDescriptorSet *set =
        google__protobuf__file_descriptor_set__unpack(NULL, len, data);
    assert_non_null(set);
    assert_true(set->n_file > 5);
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_every_type_by_name_and_by_descriptor),
        cmocka_unit_test(finds_every_field_by_both_its_names),
        cmocka_unit_test(finds_nothing_under_names_that_do_not_exist),
        cmocka_unit_test(json_names_come_from_protoc),
        cmocka_unit_test(knows_the_forms_of_fields),
        cmocka_unit_test(knows_which_types_contain_themselves),
        cmocka_unit_test(no_message_of_the_contract_is_recursive),
        cmocka_unit_test(methods_have_types_and_options),
        cmocka_unit_test(types_know_their_file),
        cmocka_unit_test(comments_are_those_of_the_proto_files),
        cmocka_unit_test(the_set_can_be_read_by_others),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
