/*
 * The JSON mapping: each row of the vectors of protocols C.1 and C.2, and what lies beside them.
 */
#include "tests/unit/common_protojson_fixture.h"

static void numbers(void **state)
{
    (void)state;
    CHECK(
        { "{}", "{}" }, { " \t\r\n{ } \n", "{}" }, { "{\"int32Field\":1}", "{\"int32Field\":1}" },
        { "{\"int32_field\":1}", "{\"int32Field\":1}" }, { "{\"int32Field\":null}", "{}" },
        { "{\"int32Field\":\"-12\"}", "{\"int32Field\":-12}" },
        { "{\"int32Field\":1e5}", "{\"int32Field\":100000}" },
        { "{\"int32Field\":\"1e3\"}", "{\"int32Field\":1000}" },
        { "{\"int32Field\":1.0}", "{\"int32Field\":1}" },
        { "{\"int32Field\":12.50e1}", "{\"int32Field\":125}" },
        { "{\"int32Field\":1000e-3}", "{\"int32Field\":1}" }, { "{\"int32Field\":-0}", "{}" },
        { "{\"int32Field\":0e999999999999999999}", "{}" },
        { "{\"int32Field\":2147483647}", "{\"int32Field\":2147483647}" },
        { "{\"int32Field\":-2147483648.0}", "{\"int32Field\":-2147483648}" },
        { "{\"int32Field\":2147483648}", NULL }, { "{\"int32Field\":-2147483649}", NULL },
        { "{\"int32Field\":1.5}", NULL }, { "{\"int32Field\":1e-1}", NULL },
        { "{\"int32Field\":1e99999999999999}", NULL },
        { "{\"int32Field\":1e-99999999999999}", NULL }, { "{\"int32Field\":\"\"}", NULL },
        { "{\"int32Field\":\" 1\"}", NULL }, { "{\"int32Field\":\"1 \"}", NULL },
        { "{\"int32Field\":\"0x1\"}", NULL }, { "{\"int32Field\":01}", NULL },
        { "{\"int32Field\":+1}", NULL }, { "{\"int32Field\":1.}", NULL },
        { "{\"int32Field\":.5}", NULL }, { "{\"int32Field\":true}", NULL },
        { "{\"int32Field\":[1]}", NULL }, { "{\"int32Field\":{}}", NULL },
        { "{\"int32Field\":-}", NULL }, { "{\"int32Field\":1e}", NULL },
        { "{\"int64Field\":\"9223372036854775807\"}", "{\"int64Field\":\"9223372036854775807\"}" },
        { "{\"int64Field\":-9223372036854775808}", "{\"int64Field\":\"-9223372036854775808\"}" },
        { "{\"int64Field\":9007199254740993}", "{\"int64Field\":\"9007199254740993\"}" },
        { "{\"int64Field\":1e3}", "{\"int64Field\":\"1000\"}" },
        { "{\"int64Field\":9223372036854775808}", NULL },
        { "{\"int64Field\":\"-9223372036854775809\"}", NULL },
        { "{\"uint64Field\":\"18446744073709551615\"}",
          "{\"uint64Field\":\"18446744073709551615\"}" },
        { "{\"uint64Field\":18446744073709551616}", NULL }, { "{\"uint64Field\":-1}", NULL },
        { "{\"uint32Field\":4294967295}", "{\"uint32Field\":4294967295}" },
        { "{\"uint32Field\":4294967296}", NULL }, { "{\"uint32Field\":-1}", NULL },
        { "{\"sint32Field\":-5,\"sint64Field\":\"-6\"}",
          "{\"sint32Field\":-5,\"sint64Field\":\"-6\"}" },
        { "{\"fixed32Field\":4294967295,\"fixed64Field\":\"18446744073709551615\"}",
          "{\"fixed32Field\":4294967295,\"fixed64Field\":\"18446744073709551615\"}" },
        { "{\"sfixed32Field\":-1,\"sfixed64Field\":-1}",
          "{\"sfixed32Field\":-1,\"sfixed64Field\":\"-1\"}" });
}

static void reals(void **state)
{
    (void)state;
    CHECK(
        { "{\"doubleField\":0.1}", "{\"doubleField\":0.1}" },
        { "{\"doubleField\":\"1.5\"}", "{\"doubleField\":1.5}" },
        { "{\"doubleField\":3}", "{\"doubleField\":3}" },
        { "{\"doubleField\":123456789012345680}", "{\"doubleField\":1.2345678901234568e+17}" },
        { "{\"doubleField\":1.7976931348623157e308}", "{\"doubleField\":1.7976931348623157e+308}" },
        { "{\"doubleField\":2.2250738585072014e-308}",
          "{\"doubleField\":2.2250738585072014e-308}" },
        { "{\"doubleField\":5e-324}", "{\"doubleField\":4.94065645841247e-324}" },
        { "{\"doubleField\":1e-400}", "{}" },
        { "{\"doubleField\":0.1000000000000000055511151231257827021181583404541015625000000000000}",
          "{\"doubleField\":0.1}" },
        { "{\"doubleField\":\"NaN\"}", "{\"doubleField\":\"NaN\"}" },
        { "{\"doubleField\":\"Infinity\"}", "{\"doubleField\":\"Infinity\"}" },
        { "{\"doubleField\":\"-Infinity\"}", "{\"doubleField\":\"-Infinity\"}" },
        { "{\"doubleField\":1e400}", NULL }, { "{\"doubleField\":\"-1e400\"}", NULL },
        { "{\"doubleField\":NaN}", NULL }, { "{\"doubleField\":Infinity}", NULL },
        { "{\"doubleField\":\"nan\"}", NULL }, { "{\"doubleField\":\"inf\"}", NULL },
        { "{\"doubleField\":\"\"}", NULL }, { "{\"doubleField\":\"1.5x\"}", NULL },
        { "{\"floatField\":0.1}", "{\"floatField\":0.1}" },
        { "{\"floatField\":3.4028235e38}", "{\"floatField\":3.4028235e+38}" },
        { "{\"floatField\":1.17549435e-38}", "{\"floatField\":1.1754944e-38}" },
        { "{\"floatField\":16777216}", "{\"floatField\":16777216}" },
        { "{\"floatField\":\"NaN\"}", "{\"floatField\":\"NaN\"}" },
        { "{\"floatField\":\"-Infinity\"}", "{\"floatField\":\"-Infinity\"}" },
        { "{\"floatField\":1e39}", NULL }, { "{\"floatField\":-3.502823e38}", NULL });
}

static void booleans_and_enums(void **state)
{
    (void)state;
    CHECK({ "{\"boolField\":true}", "{\"boolField\":true}" }, { "{\"boolField\":false}", "{}" },
          { "{\"boolField\":\"true\"}", NULL }, { "{\"boolField\":1}", NULL },
          { "{\"boolField\":truex}", NULL }, { "{\"boolField\":TRUE}", NULL },
          { "{\"enumField\":\"COLOUR_RED\"}", "{\"enumField\":\"COLOUR_RED\"}" },
          { "{\"enumField\":\"COLOUR_ROUGE\"}", "{\"enumField\":\"COLOUR_RED\"}" },
          { "{\"enumField\":\"COLOUR_NEGATIVE\"}", "{\"enumField\":\"COLOUR_NEGATIVE\"}" },
          { "{\"enumField\":1}", "{\"enumField\":\"COLOUR_RED\"}" },
          { "{\"enumField\":-1}", "{\"enumField\":\"COLOUR_NEGATIVE\"}" },
          { "{\"enumField\":77}", "{\"enumField\":77}" },
          { "{\"enumField\":\"COLOUR_UNSPECIFIED\"}", "{}" }, { "{\"enumField\":null}", "{}" },
          { "{\"enumField\":\"NOPE\"}", NULL }, { "{\"enumField\":\"colour_red\"}", NULL },
          { "{\"enumField\":1.5}", NULL }, { "{\"enumField\":true}", NULL },
          { "{\"enumField\":2147483648}", NULL },
          { "{\"enumList\":[\"COLOUR_RED\",77]}", "{\"enumList\":[\"COLOUR_RED\",77]}" });
}

static void texts(void **state)
{
    (void)state;
    CHECK({ "{\"stringField\":\"\xe5\xbc\xa0\"}", "{\"stringField\":\"\xe5\xbc\xa0\"}" },
          { "{\"stringField\":\"\\u5f20\"}", "{\"stringField\":\"\xe5\xbc\xa0\"}" },
          { "{\"stringField\":\"\\ud83d\\ude00\"}", "{\"stringField\":\"\xf0\x9f\x98\x80\"}" },
          { "{\"stringField\":\"\\uD83D\\uDE00\"}", "{\"stringField\":\"\xf0\x9f\x98\x80\"}" },
          { "{\"stringField\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9x\"}",
            "{\"stringField\":\"\\\"\\\\/\\b\\f\\n\\r\\t\xc3\xa9x\"}" },
          { "{\"string\\u0046ield\":\"a\"}", "{\"stringField\":\"a\"}" },
          { "{\"stringField\":\"\"}", "{}" }, { "{\"stringField\":5}", NULL },
          { "{\"stringField\":\"\\ud83d\"}", NULL }, { "{\"stringField\":\"\\ud83dx\"}", NULL },
          { "{\"stringField\":\"\\ude00\\ud83d\"}", NULL },
          { "{\"stringField\":\"\\ud83d\\u0041\"}", NULL },
          { "{\"stringField\":\"\\u0000\"}", NULL }, { "{\"stringField\":\"a\\u12\"}", NULL },
          { "{\"stringField\":\"\\x41\"}", NULL }, { "{\"stringField\":\"a\nb\"}", NULL },
          { "{\"stringField\":\"\xff\"}", NULL }, { "{\"stringField\":\"\xed\xa0\x80\"}", NULL },
          { "{\"stringField\":\"abc}", NULL }, { "{\"stringField\":\"abc\\", NULL },
          { "{\"stringField\":'abc'}", NULL },
          { "{\"bytesField\":\"AQID\"}", "{\"bytesField\":\"AQID\"}" },
          { "{\"bytesField\":\"_-8\"}", "{\"bytesField\":\"/+8=\"}" },
          { "{\"bytesField\":\"\\/+8=\"}", "{\"bytesField\":\"/+8=\"}" },
          { "{\"bytesField\":\"AQ==\"}", "{\"bytesField\":\"AQ==\"}" },
          { "{\"bytesField\":\"AQ\"}", "{\"bytesField\":\"AQ==\"}" },
          { "{\"bytesField\":\"\"}", "{}" }, { "{\"bytesField\":\"a\"}", NULL },
          { "{\"bytesField\":\"AQ=\"}", NULL }, { "{\"bytesField\":\"AQID=\"}", NULL },
          { "{\"bytesField\":\"A=Q=\"}", NULL }, { "{\"bytesField\":\"AQ D\"}", NULL },
          { "{\"bytesField\":\"====\"}", NULL }, { "{\"bytesField\":1}", NULL });
}

static void names(void **state)
{
    (void)state;
    CHECK({ "{\"visitDay2\":\"a\"}", "{\"visitDay2\":\"a\"}" },
          { "{\"visit_day_2\":\"a\"}", "{\"visitDay2\":\"a\"}" },
          { "{\"@other\":\"a\"}", "{\"@other\":\"a\"}" },
          { "{\"named_otherwise\":\"a\"}", "{\"@other\":\"a\"}" },
          { "{\"Double\":\"a\"}", "{\"Double\":\"a\"}" },
          { "{\"__double\":\"a\"}", "{\"Double\":\"a\"}" },
          { "{\"field0name5\":\"a\"}", "{\"field0name5\":\"a\"}" },
          { "{\"namedOtherwise\":\"a\"}", NULL }, { "{\"visitday2\":\"a\"}", NULL },
          { "{\"nothing\":1}", NULL }, { "{\"\":1}", NULL },
          { "{\"int32Field\":1,\"int32Field\":2}", NULL },
          { "{\"int32Field\":1,\"int32_field\":2}", NULL },
          { "{\"int32Field\":null,\"int32Field\":2}", NULL });
}

static void lists_and_children(void **state)
{
    (void)state;
    CHECK({ "{\"int32List\":[1,2,3,4,5,6,7,8,9]}", "{\"int32List\":[1,2,3,4,5,6,7,8,9]}" },
          { "{\"int32List\":[]}", "{}" }, { "{\"int32List\":null}", "{}" },
          { "{\"int32List\":[1,null]}", NULL }, { "{\"int32List\":1}", NULL },
          { "{\"int32List\":[1,]}", NULL }, { "{\"int32List\":[,1]}", NULL },
          { "{\"int32List\":[1 2]}", NULL }, { "{\"int32List\":[1", NULL },
          { "{\"int32List\":{}}", NULL },
          { "{\"uint64List\":[1,\"2\"]}", "{\"uint64List\":[\"1\",\"2\"]}" },
          { "{\"boolList\":[true,false]}", "{\"boolList\":[true,false]}" },
          { "{\"stringList\":[\"\",\"a\"]}", "{\"stringList\":[\"\",\"a\"]}" },
          { "{\"bytesList\":[\"\",\"AQ==\"]}", "{\"bytesList\":[\"\",\"AQ==\"]}" },
          { "{\"doubleList\":[0,\"NaN\",1e3]}", "{\"doubleList\":[0,\"NaN\",1000]}" },
          { "{\"unpackedList\":[-1]}", "{\"unpackedList\":[-1]}" },
          { "{\"child\":{\"int32Field\":1}}", "{\"child\":{\"int32Field\":1}}" },
          { "{\"child\":{}}", "{\"child\":{}}" }, { "{\"child\":null}", "{}" },
          { "{\"child\":[]}", NULL }, { "{\"child\":1}", NULL },
          { "{\"childList\":[{},{\"boolField\":true}]}",
            "{\"childList\":[{},{\"boolField\":true}]}" },
          { "{\"childList\":[{},null]}", NULL }, { "{\"empty\":{}}", "{\"empty\":{}}" },
          { "{\"empty\":{\"a\":1}}", NULL });
}

static void maps(void **state)
{
    (void)state;
    CHECK({ "{\"int32Map\":{\"-1\":2,\"3\":0}}", "{\"int32Map\":{\"-1\":2,\"3\":0}}" },
          { "{\"int64Map\":{\"-9223372036854775808\":\"a\"}}",
            "{\"int64Map\":{\"-9223372036854775808\":\"a\"}}" },
          { "{\"uint32Map\":{\"4294967295\":true}}", "{\"uint32Map\":{\"4294967295\":true}}" },
          { "{\"uint64Map\":{\"18446744073709551615\":\"AQ\"}}",
            "{\"uint64Map\":{\"18446744073709551615\":\"AQ==\"}}" },
          { "{\"sint32Map\":{\"-2147483648\":0.5}}", "{\"sint32Map\":{\"-2147483648\":0.5}}" },
          { "{\"fixed64Map\":{\"0\":1}}", "{\"fixed64Map\":{\"0\":1}}" },
          { "{\"boolMap\":{\"true\":\"COLOUR_RED\",\"false\":0}}",
            "{\"boolMap\":{\"true\":\"COLOUR_RED\",\"false\":\"COLOUR_UNSPECIFIED\"}}" },
          { "{\"stringMap\":{\"\":{},\"k\\\"\":{\"int32Field\":1}}}",
            "{\"stringMap\":{\"\":{},\"k\\\"\":{\"int32Field\":1}}}" },
          { "{\"valueMap\":{\"a\":null}}", "{\"valueMap\":{\"a\":null}}" },
          { "{\"nullMap\":{\"a\":null}}", "{\"nullMap\":{\"a\":null}}" },
          { "{\"wrapperMap\":{\"a\":\"5\"}}", "{\"wrapperMap\":{\"a\":\"5\"}}" },
          { "{\"wrapperMap\":{\"a\":null}}", NULL }, { "{\"int32Map\":{}}", "{}" },
          { "{\"int32Map\":null}", "{}" }, { "{\"int32Map\":{\"1\":null}}", NULL },
          { "{\"int32Map\":[]}", NULL }, { "{\"int32Map\":{1:2}}", NULL },
          { "{\"int32Map\":{\"a\":2}}", NULL }, { "{\"int32Map\":{\"\":2}}", NULL },
          { "{\"int32Map\":{\"2147483648\":2}}", NULL },
          { "{\"int32Map\":{\"-2147483649\":2}}", NULL }, { "{\"uint32Map\":{\"-1\":true}}", NULL },
          { "{\"int64Map\":{\"9223372036854775808\":\"\"}}", NULL },
          { "{\"boolMap\":{\"True\":0}}", NULL }, { "{\"boolMap\":{\"1\":0}}", NULL },
          { "{\"int32Map\":{\"1\":1,\"1\":2}}", NULL },
          { "{\"int32Map\":{\"1\":1,\"01\":2}}", NULL },
          { "{\"int32Map\":{\"1\":1,\"1.0\":2}}", NULL },
          { "{\"stringMap\":{\"a\":{},\"b\":{},\"\\u0061\":{}}}", NULL });
}

static void oneofs_and_presence(void **state)
{
    (void)state;
    CHECK({ "{\"choiceNumber\":0}", "{\"choiceNumber\":0}" },
          { "{\"choiceText\":\"\"}", "{\"choiceText\":\"\"}" },
          { "{\"choiceChild\":{}}", "{\"choiceChild\":{}}" },
          { "{\"choiceFlag\":false}", "{\"choiceFlag\":false}" },
          { "{\"choiceBytes\":\"\"}", "{\"choiceBytes\":\"\"}" },
          { "{\"choiceEnum\":\"COLOUR_UNSPECIFIED\"}", "{\"choiceEnum\":\"COLOUR_UNSPECIFIED\"}" },
          { "{\"choiceNull\":null}", "{\"choiceNull\":null}" },
          { "{\"choiceNull\":\"NULL_VALUE\"}", "{\"choiceNull\":null}" },
          { "{\"choiceNumber\":null}", "{}" },
          { "{\"choiceNumber\":null,\"choiceText\":\"a\"}", "{\"choiceText\":\"a\"}" },
          { "{\"choiceText\":\"a\",\"choiceNumber\":null}", "{\"choiceText\":\"a\"}" },
          { "{\"choiceNumber\":1,\"choiceText\":\"a\"}", NULL },
          { "{\"choiceNull\":null,\"choiceText\":\"a\"}", NULL },
          { "{\"opt_int32\":0}", "{\"optInt32\":0}" }, { "{\"optInt32\":null}", "{}" },
          { "{\"optInt32\":0,\"choiceNumber\":0}", "{\"choiceNumber\":0,\"optInt32\":0}" });
}

static void wrappers(void **state)
{
    (void)state;
    CHECK({ "{\"int64Value\":0}", "{\"int64Value\":\"0\"}" }, { "{\"int64Value\":null}", "{}" },
          { "{\"doubleValue\":0,\"floatValue\":0.5,\"uint64Value\":\"1\",\"int32Value\":-1,"
            "\"uint32Value\":1,\"boolValue\":false,\"stringValue\":\"\",\"bytesValue\":\"AQ==\"}",
            "{\"doubleValue\":0,\"floatValue\":0.5,\"uint64Value\":\"1\",\"int32Value\":-1,"
            "\"uint32Value\":1,\"boolValue\":false,\"stringValue\":\"\",\"bytesValue\":\"AQ==\"}" },
          { "{\"wrapperList\":[0,\"1\"]}", "{\"wrapperList\":[0,1]}" },
          { "{\"wrapperList\":[null]}", NULL }, { "{\"int64Value\":{\"value\":1}}", NULL },
          { "{\"int32Value\":2147483648}", NULL }, { "{\"boolValue\":\"true\"}", NULL });
}

static void times(void **state)
{
    (void)state;
#define TS(text) "{\"ts\":\"" text "\"}"
#define DUR(text) "{\"dur\":\"" text "\"}"
    CHECK({ TS("2026-01-02T03:04:05Z"), TS("2026-01-02T03:04:05Z") },
          { TS("2024-02-29T23:59:59.1234Z"), TS("2024-02-29T23:59:59.123400Z") },
          { TS("2026-01-02T03:04:05.120Z"), TS("2026-01-02T03:04:05.120Z") },
          { TS("2026-01-02T03:04:05.000000001Z"), TS("2026-01-02T03:04:05.000000001Z") },
          { TS("2026-01-02T03:04:05.000000Z"), TS("2026-01-02T03:04:05Z") },
          { TS("2026-01-02T03:04:05+05:30"), TS("2026-01-01T21:34:05Z") },
          { TS("2026-01-01T21:34:05.5-05:30"), TS("2026-01-02T03:04:05.500Z") },
          { TS("0001-01-01T00:00:00Z"), TS("0001-01-01T00:00:00Z") },
          { TS("9999-12-31T23:59:59.999999999Z"), TS("9999-12-31T23:59:59.999999999Z") },
          { TS("1969-12-31T23:59:59.5Z"), TS("1969-12-31T23:59:59.500Z") },
          { TS("1970-01-01T00:00:00Z"), TS("1970-01-01T00:00:00Z") }, { "{\"ts\":null}", "{}" },
          { "{\"tsList\":[\"2026-01-02T03:04:05Z\"]}", "{\"tsList\":[\"2026-01-02T03:04:05Z\"]}" },
          { "{\"tsList\":[null]}", NULL }, { TS("2026-01-02t03:04:05Z"), NULL },
          { TS("2026-01-02T03:04:05z"), NULL }, { TS("2026-01-02T03:04:05"), NULL },
          { TS("2026-01-02 03:04:05Z"), NULL }, { TS("10000-01-01T00:00:00Z"), NULL },
          { TS("0000-01-01T00:00:00Z"), NULL }, { TS("0001-01-01T00:00:00+00:01"), NULL },
          { TS("9999-12-31T23:59:59-00:01"), NULL },
          { TS("2026-01-02T03:04:05.1234567890Z"), NULL }, { TS("2026-01-02T03:04:05.Z"), NULL },
          { TS("2026-01-02T03:04:60Z"), NULL }, { TS("2026-01-02T24:00:00Z"), NULL },
          { TS("2026-02-30T03:04:05Z"), NULL }, { TS("2025-02-29T03:04:05Z"), NULL },
          { TS("2026-13-01T03:04:05Z"), NULL }, { TS("2026-1-2T03:04:05Z"), NULL },
          { TS("2026-01-02T03:04:05+24:00"), NULL }, { TS("2026-01-02T03:04:05+0530"), NULL },
          { TS("2026-01-02T03:04:05Zx"), NULL }, { TS(""), NULL }, { "{\"ts\":0}", NULL },
          { DUR("1.5s"), DUR("1.500s") }, { DUR("0s"), DUR("0s") }, { DUR("-0s"), DUR("0s") },
          { DUR("-0.000000001s"), DUR("-0.000000001s") }, { DUR("-1.25s"), DUR("-1.250s") },
          { DUR("315576000000s"), DUR("315576000000s") },
          { DUR("-315576000000s"), DUR("-315576000000s") }, { DUR("1.000001s"), DUR("1.000001s") },
          { DUR("5"), NULL }, { DUR("315576000001s"), NULL }, { DUR("-315576000001s"), NULL },
          { DUR("315576000000.999999999s"), DUR("315576000000.999999999s") },
          { DUR("-315576000000.999999999s"), DUR("-315576000000.999999999s") },
          { DUR("99999999999999999999999s"), NULL }, { DUR("s"), NULL }, { DUR("-s"), NULL },
          { DUR("1.s"), NULL }, { DUR(".5s"), NULL }, { DUR("+1s"), NULL }, { DUR("1 s"), NULL },
          { DUR("1.0123456789s"), NULL }, { DUR("1S"), NULL }, { "{\"dur\":1}", NULL },
          { DUR(""), NULL });
}

static void masks(void **state)
{
    (void)state;
#define MASK(text) "{\"mask\":\"" text "\"}"
    CHECK({ MASK("displayName,address.cityName"), MASK("displayName,address.cityName") },
          { MASK(""), MASK("") }, { MASK("a"), MASK("a") }, { MASK("a.b2"), MASK("a.b2") },
          { "{\"mask\":null}", "{}" }, { MASK("display_name"), NULL }, { MASK("a,"), NULL },
          { MASK(",a"), NULL }, { MASK("a,,b"), NULL }, { "{\"mask\":[]}", NULL });

    Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
    static const char *const unwritable[] = {
        "x_1", "foo__bar", "fooBar", "foo_", "", "a,b", "_a_"
    };
    for (size_t i = 0; i < ARRAY_LEN(unwritable); i++) {
        char *path = arena_strdup(arena, unwritable[i]);
        mask.paths = &path;
        mask.n_paths = 1;
        if (protojson_write(&mask.base, 0, &out) != ERR_INVALID_ARGUMENT)
            fail_msg("%s was written", path);
    }
}

static void free_form_values(void **state)
{
    (void)state;
    CHECK({ "{\"struct\":{\"a\":1,\"b\":[true,null,\"x\",{}],\"c\":{\"d\":-0.5}}}",
            "{\"struct\":{\"a\":1,\"b\":[true,null,\"x\",{}],\"c\":{\"d\":-0.5}}}" },
          { "{\"struct\":{}}", "{\"struct\":{}}" }, { "{\"struct\":null}", "{}" },
          { "{\"struct\":[]}", NULL }, { "{\"struct\":{\"a\":1,\"a\":2}}", NULL },
          { "{\"value\":null}", "{\"value\":null}" }, { "{\"value\":0}", "{\"value\":0}" },
          { "{\"value\":\"\"}", "{\"value\":\"\"}" }, { "{\"value\":false}", "{\"value\":false}" },
          { "{\"value\":\"NaN\"}", "{\"value\":\"NaN\"}" },
          { "{\"value\":[[],[[1]]]}", "{\"value\":[[],[[1]]]}" }, { "{\"value\":1e400}", NULL },
          { "{\"value\":nul}", NULL }, { "{\"value\":}", NULL },
          { "{\"list\":[1,null,[2]]}", "{\"list\":[1,null,[2]]}" },
          { "{\"list\":[]}", "{\"list\":[]}" }, { "{\"list\":null}", "{}" },
          { "{\"list\":{}}", NULL }, { "{\"valueList\":[null,1]}", "{\"valueList\":[null,1]}" },
          { "{\"nullValue\":null}", "{}" }, { "{\"nullValue\":\"NULL_VALUE\"}", "{}" },
          { "{\"nullValue\":\"x\"}", NULL },
          { "{\"nullList\":[null,null]}", "{\"nullList\":[null,null]}" });
}

static void anys(void **state)
{
    (void)state;
#define URL "type.googleapis.com/"
#define EVERY "\"@type\":\"" URL "daybook.testdata.v1.Everything\""
    CHECK({ "{\"any\":{" EVERY ",\"int32Field\":1}}", "{\"any\":{" EVERY ",\"int32Field\":1}}" },
          { "{\"any\":{\"int32Field\":1," EVERY "}}", "{\"any\":{" EVERY ",\"int32Field\":1}}" },
          { "{\"any\":{\"@type\":\"example.org/x/daybook.testdata.v1.Everything\"}}",
            "{\"any\":{\"@type\":\"example.org/x/daybook.testdata.v1.Everything\"}}" },
          { "{\"any\":{\"value\":\"1.5s\",\"@type\":\"" URL "google.protobuf.Duration\"}}",
            "{\"any\":{\"@type\":\"" URL "google.protobuf.Duration\",\"value\":\"1.500s\"}}" },
          { "{\"any\":{\"@type\":\"" URL "google.protobuf.Value\",\"value\":null}}",
            "{\"any\":{\"@type\":\"" URL "google.protobuf.Value\",\"value\":null}}" },
          { "{\"any\":{\"@type\":\"" URL "google.protobuf.Int64Value\",\"value\":\"5\"}}",
            "{\"any\":{\"@type\":\"" URL "google.protobuf.Int64Value\",\"value\":\"5\"}}" },
          { "{\"any\":{\"@type\":\"" URL "google.protobuf.Struct\",\"value\":{\"a\":1}}}",
            "{\"any\":{\"@type\":\"" URL "google.protobuf.Struct\",\"value\":{\"a\":1}}}" },
          { "{\"any\":{\"@type\":\"" URL "google.protobuf.Empty\"}}",
            "{\"any\":{\"@type\":\"" URL "google.protobuf.Empty\"}}" },
          { "{\"any\":{\"@type\":\"" URL "google.protobuf.Any\",\"value\":{" EVERY
            ",\"boolField\":true}}}",
            "{\"any\":{\"@type\":\"" URL "google.protobuf.Any\",\"value\":{" EVERY
            ",\"boolField\":true}}}" },
          { "{\"any\":{" EVERY ",\"any\":{\"child\":{}," EVERY "}}}",
            "{\"any\":{" EVERY ",\"any\":{" EVERY ",\"child\":{}}}}" },
          { "{\"any\":{}}", "{\"any\":{}}" }, { "{\"any\":null}", "{}" },
          { "{\"anyList\":[{},{" EVERY "}]}", "{\"anyList\":[{},{" EVERY "}]}" },
          { "{\"anyList\":[null]}", NULL }, { "{\"any\":{\"int32Field\":1}}", NULL },
          { "{\"any\":{\"@type\":\"" URL "no.such.Message\"}}", NULL },
          { "{\"any\":{\"@type\":\"daybook.testdata.v1.Everything\"}}", NULL },
          { "{\"any\":{\"@type\":\"/daybook.testdata.v1.Everything\"}}", NULL },
          { "{\"any\":{\"@type\":1}}", NULL }, { "{\"any\":{\"@type\":\"\"}}", NULL },
          { "{\"any\":{" EVERY "," EVERY "}}", NULL },
          { "{\"any\":{" EVERY ",\"int32Field\":1,\"int32Field\":1}}", NULL },
          { "{\"any\":{" EVERY ",\"noSuchField\":1}}", NULL },
          { "{\"any\":{\"@type\":\"" URL "google.protobuf.Duration\"}}", NULL },
          { "{\"any\":{\"@type\":\"" URL "google.protobuf.Duration\",\"value\":1}}", NULL },
          { "{\"any\":{\"@type\":\"" URL
            "google.protobuf.Duration\",\"value\":\"1s\",\"value\":\"1s\"}}",
            NULL },
          { "{\"any\":{\"@type\":\"" URL "google.protobuf.Duration\",\"value\":\"1s\",\"x\":1}}",
            NULL },
          { "{\"any\":{\"@type\":\"" URL "google.protobuf.Empty\",\"value\":{}}}", NULL });
}

static void documents(void **state)
{
    (void)state;
    CHECK({ "", NULL }, { "null", NULL }, { "[]", NULL }, { "1", NULL }, { "\"a\"", NULL },
          { "{", NULL }, { "}", NULL }, { "{} {}", NULL }, { "{}x", NULL },
          { "{\"int32Field\"}", NULL }, { "{\"int32Field\":}", NULL },
          { "{\"int32Field\":1,}", NULL }, { "{,}", NULL }, { "{int32Field:1}", NULL },
          { "{\"int32Field\":1;}", NULL }, { "\xef\xbb\xbf{}", NULL }, { "{}/**/", NULL },
          { "{\"int32Field\" : 1 , \"boolField\" : true }",
            "{\"int32Field\":1,\"boolField\":true}" });
    static const struct {
        const ProtobufCMessageDescriptor *type;
        struct vector v;
    } roots[] = {
        { &google__protobuf__value__descriptor, { "null", "null" } },
        { &google__protobuf__value__descriptor, { " [1] ", "[1]" } },
        { &google__protobuf__struct__descriptor, { "{\"a\":{}}", "{\"a\":{}}" } },
        { &google__protobuf__struct__descriptor, { "null", NULL } },
        { &google__protobuf__list_value__descriptor, { "[null]", "[null]" } },
        { &google__protobuf__timestamp__descriptor,
          { "\"1970-01-01T00:00:00Z\"", "\"1970-01-01T00:00:00Z\"" } },
        { &google__protobuf__duration__descriptor, { "\"3s\"", "\"3s\"" } },
        { &google__protobuf__string_value__descriptor, { "\"a\"", "\"a\"" } },
        { &google__protobuf__string_value__descriptor, { "null", NULL } },
        { &google__protobuf__any__descriptor, { "{}", "{}" } },
    };
    for (size_t i = 0; i < ARRAY_LEN(roots); i++)
        check_vector(roots[i].type, &roots[i].v, PROTOJSON_STRICT);
}

static void unknown_things_are_ignored_unless_strict(void **state)
{
    (void)state;
    static const struct vector vectors[] = {
        { "{\"x\":1,\"boolField\":true,\"y\":[1,{\"a\":[],\"b\":{\"c\":\"\\ud83d\\ude00\"}},null]}",
          "{\"boolField\":true}" },
        { "{\"x\":1,\"x\":2}", "{}" },
        { "{\"enumField\":\"NOPE\"}", "{}" },
        { "{\"choiceEnum\":\"NOPE\"}", "{}" },
        { "{\"choiceEnum\":\"NOPE\",\"choiceText\":\"a\"}", "{\"choiceText\":\"a\"}" },
        { "{\"enumList\":[\"COLOUR_RED\",\"NOPE\",\"COLOUR_RED\"]}",
          "{\"enumList\":[\"COLOUR_RED\",\"COLOUR_RED\"]}" },
        { "{\"boolMap\":{\"true\":\"NOPE\",\"false\":\"COLOUR_RED\"}}",
          "{\"boolMap\":{\"false\":\"COLOUR_RED\"}}" },
        { "{\"any\":{\"@type\":\"type.googleapis.com/google.protobuf.Empty\",\"value\":{}}}",
          "{\"any\":{\"@type\":\"type.googleapis.com/google.protobuf.Empty\"}}" },
        { "{\"any\":{\"@type\":\"type.googleapis.com/no.such.Message\"}}", NULL },
        { "{\"x\":tru}", NULL },
        { "{\"x\":[1,]}", NULL },
        { "{\"x\":[1}", NULL },
        { "{\"x\":{1:2}}", NULL },
        { "{\"x\":{\"a\" 2}}", NULL },
        { "{\"x\":\"\\q\"}", NULL },
        { "{\"x\":\"\\udc00\"}", NULL },
        { "{\"x\":{\"a\":1]}", NULL },
        { "{\"x\":", NULL },
        { "{\"x\":[", NULL },
        { "{\"x\":\"", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
        check_vector(EVERYTHING, &vectors[i], 0);
}

static const ProtobufCMessage *from_wire(const char *data, size_t len)
{
    ProtobufCMessage *m = NULL;
    struct wire_fault fault;
    assert_int_equal(wire_unpack(EVERYTHING, data, len, &wire_limits_default, arena, &m, &fault),
                     ERR_OK);
    return m;
}

static void maps_from_the_wire_are_made_whole(void **state)
{
    (void)state; /* protocols C.3: duplicates are kept, absent values are NULL */
    static const struct {
        const char *data;
        size_t len;
        const char *want;
    } cases[] = {
        { "\xfa\x01\x04\x08\x01\x10\x02\xfa\x01\x04\x08\x01\x10\x03", 14,
          "{\"int32Map\":{\"1\":3}}" },
        { "\xfa\x01\x00", 3, "{\"int32Map\":{\"0\":0}}" },
        { "\xb2\x02\x03\x0a\x01k", 6, "{\"stringMap\":{\"k\":{}}}" },
        { "\xca\x02\x00", 3, "{\"wrapperMap\":{\"\":\"0\"}}" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        sbuf_clear(&out);
        assert_int_equal(protojson_write(from_wire(cases[i].data, cases[i].len), 0, &out), ERR_OK);
        assert_string_equal(out.data, cases[i].want);
    }
    /* More entries than are compared pair by pair: 20 keys, each twice. */
    char data[40 * 7];
    for (int i = 0; i < 40; i++)
        memcpy(data + i * 7, (char[]){ (char)0xfa, 1, 4, 8, (char)(i % 20), 16, (char)i }, 7);
    sbuf_clear(&out);
    assert_int_equal(protojson_write(from_wire(data, sizeof(data)), 0, &out), ERR_OK);
    assert_non_null(strstr(out.data, "{\"int32Map\":{\"0\":20,\"1\":21,"));
    assert_non_null(strstr(out.data, "\"19\":39}}"));
    assert_null(strstr(out.data, "\"1\":1,"));
}

static void pretty_has_one_key_a_line(void **state)
{
    (void)state;
    static const char in[] = "{\"child\":{},\"int32Field\":1,\"int32List\":[1,2],\"stringMap\":{"
                             "\"k\":{\"boolField\":true}}}";
    ProtobufCMessage *m;
    struct wire_fault fault;
    assert_int_equal(protojson_read(EVERYTHING, in, strlen(in), 0, arena, &m, &fault), ERR_OK);
    assert_int_equal(protojson_write(m, PROTOJSON_PRETTY, &out), ERR_OK);
    assert_string_equal(out.data, "{\n"
                                  "  \"int32Field\": 1,\n"
                                  "  \"child\": {},\n"
                                  "  \"int32List\": [\n"
                                  "    1,\n"
                                  "    2\n"
                                  "  ],\n"
                                  "  \"stringMap\": {\n"
                                  "    \"k\": {\n"
                                  "      \"boolField\": true\n"
                                  "    }\n"
                                  "  }\n"
                                  "}");
}

static void defaults_are_written_on_request(void **state)
{
    (void)state;
    const ProtobufCMessage *m = wire_new(EVERYTHING, arena);
    assert_int_equal(protojson_write(m, PROTOJSON_DEFAULTS, &out), ERR_OK);
    static const char *const wanted[] = {
        "\"int32Field\":0",    "\"int64Field\":\"0\"", "\"stringField\":\"\"",
        "\"bytesField\":\"\"", "\"boolField\":false",  "\"enumField\":\"COLOUR_UNSPECIFIED\"",
        "\"int32List\":[]",    "\"int32Map\":{}",      "\"doubleField\":0",
        "\"nullValue\":null",
    };
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (!strstr(out.data, wanted[i]))
            fail_msg("%s is missing", wanted[i]);
    assert_null(strstr(out.data, "\"child\":"));
    assert_null(strstr(out.data, "choice")); /* presence: not set, not written */
    assert_null(strstr(out.data, "optInt32"));
    struct vector v = { out.data, NULL };
    ProtobufCMessage *back;
    struct wire_fault fault;
    assert_int_equal(
        protojson_read(EVERYTHING, v.in, strlen(v.in), PROTOJSON_STRICT, arena, &back, &fault),
        ERR_OK);
    assert_true(wire_equal(m, back, arena));
}

static void every_message_of_the_contract_reads_its_own_defaults(void **state)
{
    (void)state;
    size_t nservices;
    const struct schema_service *services = schema_services(&nservices);
    for (size_t i = 0; i < nservices; i++)
        for (size_t j = 0; j < services[i].nmethods; j++) {
            const ProtobufCMessageDescriptor *type = services[i].methods[j].output;
            const ProtobufCMessage *m = wire_new(type, arena);
            ProtobufCMessage *back;
            struct wire_fault fault;
            sbuf_clear(&out);
            assert_int_equal(protojson_write(m, PROTOJSON_DEFAULTS, &out), ERR_OK);
            if (protojson_read(type, out.data, out.len, PROTOJSON_STRICT, arena, &back, &fault))
                fail_msg("%s: %s: %s", type->name, fault.field, fault.reason);
            assert_true(wire_equal(m, back, arena));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(numbers, reset),
        cmocka_unit_test_setup(reals, reset),
        cmocka_unit_test_setup(booleans_and_enums, reset),
        cmocka_unit_test_setup(texts, reset),
        cmocka_unit_test_setup(names, reset),
        cmocka_unit_test_setup(lists_and_children, reset),
        cmocka_unit_test_setup(maps, reset),
        cmocka_unit_test_setup(oneofs_and_presence, reset),
        cmocka_unit_test_setup(wrappers, reset),
        cmocka_unit_test_setup(times, reset),
        cmocka_unit_test_setup(masks, reset),
        cmocka_unit_test_setup(free_form_values, reset),
        cmocka_unit_test_setup(anys, reset),
        cmocka_unit_test_setup(documents, reset),
        cmocka_unit_test_setup(unknown_things_are_ignored_unless_strict, reset),
        cmocka_unit_test_setup(maps_from_the_wire_are_made_whole, reset),
        cmocka_unit_test_setup(pretty_has_one_key_a_line, reset),
        cmocka_unit_test_setup(defaults_are_written_on_request, reset),
        cmocka_unit_test_setup(every_message_of_the_contract_reads_its_own_defaults, reset),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
