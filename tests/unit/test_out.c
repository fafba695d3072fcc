/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/out.h"

#include "unit/unit.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/** Lets `say` speak through both fillings and compares. */
static void
assert_out(void (*say)(struct out *), const char *text, const char *json)
{
    for (int i = 0; i < 2; i++) {
        char *bytes = NULL;
        size_t size;
        FILE *to = open_memstream(&bytes, &size);
        CU_ASSERT_PTR_NOT_NULL_FATAL(to);
        struct out *out = i == 0 ? out_text_open(to) : out_json_open(to);
        CU_ASSERT_PTR_NOT_NULL_FATAL(out);
        say(out);
        CU_ASSERT_TRUE(out_close(&out));
        CU_ASSERT_PTR_NULL(out);
        fclose(to);
        CU_ASSERT_STRING_EQUAL(bytes, i == 0 ? text : json);
        free(bytes);
    }
}

static void
say_table(struct out *out)
{
    static const char *const names[] = {"a", "longer"};
    out_list(out, NULL);
    for (int i = 0; i < 2; i++) {
        out_object(out, NULL);
        out_text(out, "topic", names[i]);
        out_integer(out, "end_offset", i * 1000);
        out_boolean(out, "on", i == 0);
        out_end(out);
    }
    out_end(out);
}

static void
test_table(void)
{
    assert_out(say_table,
        "TOPIC   END OFFSET  ON\n"
        "a                0  yes\n"
        "longer        1000  no\n",
        "{\"topic\":\"a\",\"end_offset\":0,\"on\":true}\n"
        "{\"topic\":\"longer\",\"end_offset\":1000,\"on\":false}\n");
}

static void
say_object(struct out *out)
{
    out_object(out, NULL);
    out_text(out, "name", "x");
    out_real(out, "p99_us", 1.5);
    out_text(out, "note", NULL);
    out_list(out, "parts");
    out_object(out, NULL);
    out_integer(out, "n", -1);
    out_end(out);
    out_end(out);
    out_list(out, "others");
    out_end(out);
    out_end(out);
}

static void
test_object(void)
{
    assert_out(say_object,
        "name:   x\n"
        "p99 us: 1.50\n"
        "note:   -\n"
        "\n"
        "parts:\n"
        " N\n"
        "-1\n"
        "\n"
        "others: none\n",
        "{\"name\":\"x\",\"p99_us\":1.5,\"note\":null,\"parts\":[{\"n\":-1}],\"others\":[]}\n");
}

static void
say_nothing(struct out *out)
{
    out_list(out, NULL);
    out_end(out);
}

static void
test_empty_table(void)
{
    assert_out(say_nothing, "", "");
}

static void
say_bytes(struct out *out)
{
    static const struct out_pair pairs[] = {
        {"h", 1, "v", 1}, {"null", 4, NULL, 0}, {"bin", 3, "\xff", 1}};
    out_object(out, NULL);
    out_bytes(out, "good", "\xc3\xa4\n", 3);
    out_bytes(out, "one", "\xff", 1);
    out_bytes(out, "two", "\xff\xfe", 2);
    out_bytes(out, "three", "\xff\0\x10", 3);
    out_bytes(out, "empty", "", 0);
    out_bytes(out, "none", NULL, 0);
    out_pairs(out, "headers", pairs, 3);
    out_pairs(out, "no_headers", NULL, 0);
    out_end(out);
}

static void
test_bytes(void)
{
    assert_out(say_bytes,
        "good:       \xc3\xa4\\n\n"
        "one:        \\xff\n"
        "two:        \\xff\\xfe\n"
        "three:      \\xff\\x00\\x10\n"
        "empty:      \n"
        "none:       -\n"
        "headers:    h=v,null=,bin=\\xff\n"
        "no headers: -\n",
        "{\"good\":\"\xc3\xa4\\n\",\"one\":{\"base64\":\"/w==\"},\"two\":{\"base64\":\"//4=\"},"
        "\"three\":{\"base64\":\"/wAQ\"},\"empty\":\"\",\"none\":null,"
        "\"headers\":[{\"key\":\"h\",\"value\":\"v\"},{\"key\":\"null\",\"value\":null},"
        "{\"key\":\"bin\",\"value\":{\"base64\":\"/w==\"}}],\"no_headers\":[]}\n");
}

static void
say_times(struct out *out)
{
    out_object(out, NULL);
    out_time(out, "at", 1785585600250);
    out_time(out, "before", -1500);
    out_time(out, "none", -1);
    out_end(out);
}

static void
test_times(void)
{
    setenv("TZ", "EAST-02:00", 1);
    tzset();
    assert_out(say_times,
        "at:     2026-08-01T14:00:00.250+0200\n"
        "before: 1970-01-01T01:59:58.500+0200\n"
        "none:   -\n",
        "{\"at\":1785585600250,\"before\":-1500,\"none\":-1}\n");
    unsetenv("TZ");
    tzset();
}

static void
say_long_table(struct out *out)
{
    out_list(out, NULL);
    for (int i = 0; i < 1000; i++) {
        out_object(out, NULL);
        out_integer(out, "n", i);
        out_end(out);
    }
    out_end(out);
}

static void
test_long_table_has_one_head(void)
{
    char *bytes = NULL;
    size_t size, lines = 0, heads = 0;
    FILE *to = open_memstream(&bytes, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(to);
    struct out *out = out_text_open(to);
    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    say_long_table(out);
    CU_ASSERT_TRUE(out_close(&out));
    fclose(to);
    for (size_t i = 0; i < size; i++) {
        lines += bytes[i] == '\n';
        heads += bytes[i] == 'N';
    }
    CU_ASSERT_EQUAL(lines, 1001);
    CU_ASSERT_EQUAL(heads, 1);
    free(bytes);
}

static const struct unit_case cases[] = {
    {"a table", test_table},
    {"an object with lists", test_object},
    {"an empty table is nothing", test_empty_table},
    {"bytes and pairs", test_bytes},
    {"times", test_times},
    {"a long table has one head", test_long_table_has_one_head},
    {NULL, NULL},
};

void
register_out(void)
{
    unit_register("out", cases);
}
