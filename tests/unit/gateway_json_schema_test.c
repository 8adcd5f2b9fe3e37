/* JSON schemas of messages, and the texts that they are made of; with tests/proto/testdata.proto. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base.h"
#include "services/gateway/pages/example.h"
#include "services/gateway/pages/html.h"
#include "services/gateway/http/http_value.h"
#include "services/gateway/pages/json_doc.h"
#include "services/gateway/pages/json_schema.h"
#include "testdata/testdata.pb-c.h"

#define PACKAGE "daybook.testdata.v1."
#define REF(name) "{\"$ref\":\"#/components/schemas/" PACKAGE name "\"}"
#define EITHER(format)                                                                             \
    "{\"anyOf\":[{\"type\":\"number\",\"format\":\"" format                                        \
    "\"},{\"enum\":[\"NaN\",\"Infinity\",\"-Infinity\"]}]}"
#define LONG "{\"type\":\"string\",\"format\":\"int64\",\"pattern\":\"^-?[0-9]+$\"}"
#define SHORT "{\"type\":\"integer\",\"format\":\"int32\"}"

static struct sbuf out;
static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    schema_init();
    arena = arena_new(64 * MIB);
    sbuf_init(&out, MIB);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    sbuf_fini(&out);
    arena_free(arena);
    schema_fini();
    return 0;
}

static const struct schema_message *everything(void)
{
    return schema_find_message(PACKAGE "Everything");
}

static void assert_field(const char *name, const char *want)
{
    const struct schema_field *f = schema_find_field(everything(), name, strlen(name));

    assert_non_null(f);
    sbuf_clear(&out);
    json_schema_field(&out, NULL, f);
    assert_string_equal(out.data, want);
}

static void scalars_are_what_json_writes_for_them(void **state)
{
    (void)state;
    assert_field("int32_field", SHORT);
    assert_field("uint32_field", "{\"type\":\"integer\",\"format\":\"uint32\",\"minimum\":0}");
    assert_field("sint64_field", LONG);
    assert_field("fixed64_field",
                 "{\"type\":\"string\",\"format\":\"uint64\",\"pattern\":\"^[0-9]+$\"}");
    assert_field("float_field", EITHER("float"));
    assert_field("double_field", EITHER("double"));
    assert_field("bool_field", "{\"type\":\"boolean\"}");
    assert_field("string_field", "{\"type\":\"string\"}");
    assert_field("bytes_field", "{\"type\":\"string\",\"contentEncoding\":\"base64\"}");
    assert_field("enum_field", REF("Colour"));
    assert_field("child", REF("Everything"));
    assert_field("null_value", "{\"type\":\"null\"}");
}

static void lists_and_maps_have_the_schema_of_their_values(void **state)
{
    (void)state;
    assert_field("string_list", "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}");
    assert_field("enum_list", "{\"type\":\"array\",\"items\":" REF("Colour") "}");
    assert_field("string_map",
                 "{\"type\":\"object\",\"additionalProperties\":" REF("Everything") "}");
    assert_field("int64_map", "{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^-?[0-9]+$\"},"
                              "\"additionalProperties\":{\"type\":\"string\"}}");
    assert_field("bool_map",
                 "{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"true\",\"false\"]},"
                 "\"additionalProperties\":" REF("Colour") "}");
    assert_field("value_map", "{\"type\":\"object\",\"additionalProperties\":{}}");
}

static void known_types_have_their_own_form(void **state)
{
    (void)state;
    assert_field("ts", "{\"type\":\"string\",\"format\":\"date-time\"}");
    assert_field("dur", "{\"type\":\"string\",\"pattern\":\"^-?[0-9]+([.][0-9]{1,9})?s$\"}");
    assert_field("mask", "{\"type\":\"string\"}");
    assert_field("struct", "{\"type\":\"object\"}");
    assert_field("value", "{}");
    assert_field("list", "{\"type\":\"array\"}");
    assert_field("any", "{\"type\":\"object\",\"properties\":{\"@type\":{\"type\":\"string\"}}}");
    assert_field("int64_value", LONG);
    assert_field("wrapper_list", "{\"type\":\"array\",\"items\":" SHORT "}");
    assert_field("empty", "{\"$ref\":\"#/components/schemas/google.protobuf.Empty\"}");
}

static void a_message_names_its_fields_as_json_does(void **state)
{
    (void)state;
    sbuf_clear(&out);
    json_schema_message(&out, NULL, everything());
    assert_non_null(strstr(out.data,
                           "{\"type\":\"object\",\"description\":\"A field of every kind.\","
                           "\"properties\":{\"int32Field\":" SHORT ","));
    assert_non_null(strstr(out.data, "\"@other\":{\"type\":\"string\"}"));
}

static void of_a_oneof_there_is_one_member_or_none(void **state)
{
    const char *members = "{\"required\":[\"choiceNumber\"]},{\"required\":[\"choiceText\"]},"
                          "{\"required\":[\"choiceChild\"]},{\"required\":[\"choiceNull\"]},"
                          "{\"required\":[\"choiceFlag\"]},{\"required\":[\"choiceBytes\"]},"
                          "{\"required\":[\"choiceEnum\"]}";
    char want[1024];

    (void)state;
    sbuf_clear(&out);
    json_schema_message(&out, NULL, everything());
    snprintf(want, sizeof(want), ",\"allOf\":[{\"oneOf\":[%s,{\"not\":{\"anyOf\":[%s]}}]}]}",
             members, members);
    assert_string_equal(strstr(out.data, ",\"allOf\""), want);
}

static void an_enum_is_its_names(void **state)
{
    (void)state;
    sbuf_clear(&out);
    json_schema_enum(&out, NULL, &daybook__testdata__v1__colour__descriptor);
    assert_string_equal(
        out.data, "{\"type\":\"string\",\"description\":\"Has an alias and a negative number.\\n"
                  "- `COLOUR_RED`: Like blood.\",\"enum\":[\"COLOUR_NEGATIVE\","
                  "\"COLOUR_UNSPECIFIED\",\"COLOUR_RED\"]}");
}

static void a_set_has_all_that_is_referred_to_once(void **state)
{
    struct json_types types;

    (void)state;
    assert_true(json_types_init(&types, arena));
    json_types_add(&types, everything());
    json_types_add(&types, everything());
    json_types_sort(&types);
    assert_int_equal(types.n, 3);
    assert_string_equal(types.types[0].name, PACKAGE "Colour");
    assert_null(types.types[0].message);
    assert_string_equal(types.types[1].name, PACKAGE "Everything");
    assert_string_equal(types.types[2].name, "google.protobuf.Empty");
}

static void commas_stand_between_members(void **state)
{
    (void)state;
    sbuf_clear(&out);
    jdoc_open(&out, NULL, '{');
    jdoc_text(&out, "a", "x{");
    jdoc_open(&out, "b", '[');
    jdoc_text(&out, NULL, "y[");
    jdoc_ref(&out, NULL, "#/", "z");
    jdoc_close(&out, ']');
    jdoc_raw(&out, NULL, "'c':1,'d':true");
    jdoc_description(&out, "of <id>");
    jdoc_close(&out, '}');
    assert_string_equal(out.data, "{\"a\":\"x{\",\"b\":[\"y[\",{\"$ref\":\"#/z\"}],\"c\":1,"
                                  "\"d\":true,\"description\":\"of \\\\<id>\"}");
}

static void an_example_reads_as_its_message(void **state)
{
    (void)state;
    sbuf_clear(&out);
    example_write(&out, everything()->type, 0, arena);
    assert_false(out.bad);
    assert_non_null(strstr(out.data, "{\"int32Field\":1,\"int64Field\":\"1\","));
    assert_non_null(strstr(out.data, "\"choiceNumber\":1"));
    assert_null(strstr(out.data, "choiceText"));
}

static void html_escapes_every_text(void **state)
{
    (void)state;
    sbuf_clear(&out);
    html_add(&out, "<a href='#{}'>{}</a>", "a'b", "<x> & \"y\"");
    assert_string_equal(out.data, "<a href='#a&#39;b'>&lt;x&gt; &amp; &quot;y&quot;</a>");
    sbuf_clear(&out);
    html_comment(&out, "One\nline.\n- <i>tem");
    assert_string_equal(out.data, "<p>One line.<br>\n- &lt;i&gt;tem</p>\n");
}

static void tags_are_compared_weakly(void **state)
{
    char plain[HTTP_ETAG_MAX], zipped[HTTP_ETAG_MAX], list[128];

    (void)state;
    http_etag("x", 1, false, plain);
    http_etag("x", 1, true, zipped);
    assert_string_not_equal(plain, zipped);
    snprintf(list, sizeof(list), "\"other\", W/%s", plain);
    assert_true(http_etag_matches(list, plain));
    assert_true(http_etag_matches("*", plain));
    assert_false(http_etag_matches(list, zipped));
    assert_false(http_etag_matches(NULL, plain));
    assert_true(http_names_gzip("br, gzip;q=0.5"));
    assert_false(http_names_gzip("br, gzip;q=0"));
    assert_false(http_names_gzip(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_are_what_json_writes_for_them),
        cmocka_unit_test(lists_and_maps_have_the_schema_of_their_values),
        cmocka_unit_test(known_types_have_their_own_form),
        cmocka_unit_test(a_message_names_its_fields_as_json_does),
        cmocka_unit_test(of_a_oneof_there_is_one_member_or_none),
        cmocka_unit_test(an_enum_is_its_names),
        cmocka_unit_test(a_set_has_all_that_is_referred_to_once),
        cmocka_unit_test(commas_stand_between_members),
        cmocka_unit_test(an_example_reads_as_its_message),
        cmocka_unit_test(html_escapes_every_text),
        cmocka_unit_test(tags_are_compared_weakly),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
