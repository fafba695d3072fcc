/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/format.h"

#include "base/err.h"
#include "busctl/input.h"
#include "busctl/number.h"
#include "busctl/suggest.h"
#include "busctl/text.h"
#include "unit/unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct bus_record plain = {.topic = "orders",
    .partition = 3,
    .offset = 1234567890123,
    .timestamp_ms = 1785585600000,
    .key = "k1",
    .key_size = 2,
    .value = "a\0b",
    .value_size = 3};

static const struct bus_record empty = {
    .topic = "t", .offset = 0, .timestamp_ms = -1, .value = "", .value_size = 0};

/** What the format makes of the record; the caller frees it. */
static char *
formatted(const char *text, const struct bus_record *record, size_t *size)
{
    struct format format;
    char *bytes = NULL;
    FILE *to = open_memstream(&bytes, size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(to);
    CU_ASSERT_EQUAL_FATAL(format_init(&format, text), 0);
    format_write(&format, record, to);
    format_fini(&format);
    fclose(to);
    return bytes;
}

static void
assert_format(const char *text, const struct bus_record *record, const char *wanted, size_t size)
{
    size_t got;
    char *bytes = formatted(text, record, &got);
    CU_ASSERT_EQUAL(got, size);
    CU_ASSERT(got == size && memcmp(bytes, wanted, size) == 0);
    free(bytes);
}

static void
test_tokens(void)
{
    assert_format("%t", &plain, "orders", 6);
    assert_format("%p", &plain, "3", 1);
    assert_format("%o", &plain, "1234567890123", 13);
    assert_format("%k", &plain, "k1", 2);
    assert_format("%s", &plain, "a\0b", 3);
    assert_format("%T", &plain, "1785585600000", 13);
    assert_format("%K %S", &plain, "2 3", 3);
    assert_format("%h", &plain, "", 0);
    assert_format("100%%", &plain, "100%", 4);
    assert_format("", &plain, "", 0);
    assert_format("%t-%p@%o:%k\\n", &plain, "orders-3@1234567890123:k1\n", 26);
}

static void
test_null_and_empty(void)
{
    assert_format("[%k][%s]", &empty, "[][]", 4);
    assert_format("%K %S %T", &empty, "-1 0 -1", 7);
    struct bus_record tombstone = empty;
    tombstone.value = NULL;
    assert_format("[%s] %S", &tombstone, "[] -1", 5);
    struct bus_record least = plain;
    least.offset = INT64_MIN;
    assert_format("%o", &least, "-9223372036854775808", 20);
}

static void
test_escapes(void)
{
    assert_format("a\\tb\\n\\r\\\\\\0\\x41\\xfF", &plain, "a\tb\n\r\\\0A\xff", 9);
}

static void
test_refuses_formats(void)
{
    static const char *const bad[] = {
        "%", "%x", "%q%s", "%s%", "\\", "\\y", "\\x", "\\x4", "\\xg0", "a\\", "\\%s"};
    struct format format;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CU_ASSERT_EQUAL(format_init(&format, bad[i]), -BUS_ERR_INVALID_FORMAT);
        CU_ASSERT_PTR_NULL(format.text);
    }
}

static void
test_parts_are_limited(void)
{
    char text[2 * (FORMAT_PARTS_MAX + 1) + 1];
    struct format format;
    for (size_t i = 0; i <= FORMAT_PARTS_MAX; i++)
        memcpy(text + 2 * i, "%p", 3);
    CU_ASSERT_EQUAL(format_init(&format, text), -BUS_ERR_INVALID_FORMAT);
    text[2 * FORMAT_PARTS_MAX] = '\0';
    CU_ASSERT_EQUAL(format_init(&format, text), 0);
    CU_ASSERT_EQUAL(format.count, FORMAT_PARTS_MAX);
    format_fini(&format);
}

static void
test_numbers(void)
{
    int64_t number = 7;
    CU_ASSERT_EQUAL(number_parse("12", 0, 100, &number), 0);
    CU_ASSERT_EQUAL(number, 12);
    CU_ASSERT_EQUAL(number_parse("64k", 0, 1 << 20, &number), 0);
    CU_ASSERT_EQUAL(number, 65536);
    CU_ASSERT_EQUAL(number_parse("-1", -1, 0, &number), 0);
    CU_ASSERT_EQUAL(number, -1);
    static const char *const bad[] = {"", "-", "k", "1kk", "1.5", "0x10", " 1", "+1", "1 ", "101",
        "-1", "9223372036854775808", "9007199254740992k"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(number_parse(bad[i], 0, 100, &number), -BUS_ERR_INVALID_FORMAT);
    CU_ASSERT_EQUAL(number, -1);
    CU_ASSERT_EQUAL(number_parse("99", 0, 100, &number), 0);
    CU_ASSERT_EQUAL(number_parse("100", 0, 100, &number), 0);
}

static void
test_suggestions(void)
{
    struct suggest suggest;
    suggest_init(&suggest, "conusme");
    suggest_try(&suggest, "produce");
    CU_ASSERT_PTR_NULL(suggest.best);
    suggest_try(&suggest, "consume");
    CU_ASSERT_STRING_EQUAL(suggest.best, "consume");
    CU_ASSERT_EQUAL(suggest_distance("", "abc"), 3);
    CU_ASSERT_EQUAL(suggest_distance("abc", "abc"), 0);
    CU_ASSERT_EQUAL(suggest_distance("ab", "ba"), 1);
    char longest[SUGGEST_BYTES_MAX + 2] = {0};
    memset(longest, 'a', SUGGEST_BYTES_MAX);
    CU_ASSERT_EQUAL(suggest_distance(longest, "a"), SUGGEST_BYTES_MAX - 1);
    longest[SUGGEST_BYTES_MAX] = 'a';
    CU_ASSERT_EQUAL(suggest_distance(longest, "a"), SIZE_MAX);
}

static void
test_visible_text(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *text;
    } rows[] = {{"plain", 5, "plain"}, {"a\nb\tc\rd\\e", 9, "a\\nb\\tc\\rd\\\\e"},
        {"\0\x7f", 2, "\\x00\\x7f"}, {"\xc3\xa4", 2, "\xc3\xa4"}, {"\xc3", 1, "\\xc3"},
        {"\xc0\x80", 2, "\\xc0\\x80"}, {"\xed\xa0\x80", 3, "\\xed\\xa0\\x80"},
        {"\xf0\x9f\x9a\x8c", 4, "\xf0\x9f\x9a\x8c"}, {"\xc2\x9b", 2, "\\xc2\\x9b"}, {"", 0, ""}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *text = text_visible(rows[i].bytes, rows[i].size);
        CU_ASSERT_PTR_NOT_NULL_FATAL(text);
        CU_ASSERT_STRING_EQUAL(text, rows[i].text);
        free(text);
    }
    CU_ASSERT_EQUAL(text_columns("a\xc3\xa4z"), 3);
}

/** Cuts what comes through a pipe; `pieces` end with NULL and are written one at a read. */
static void
assert_input(const char *separator, const char *const *pieces, const char *const *wanted)
{
    int fds[2];
    struct input input;
    char *record;
    size_t size, seen = 0;
    CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
    CU_ASSERT_EQUAL_FATAL(input_init(&input, fds[0], separator, strlen(separator)), 0);
    for (int outcome; (outcome = input_next(&input, &record, &size)) != INPUT_END;) {
        if (outcome == INPUT_RECORD) {
            CU_ASSERT_PTR_NOT_NULL_FATAL(wanted[seen]);
            CU_ASSERT_EQUAL(size, strlen(wanted[seen]));
            CU_ASSERT_EQUAL(memcmp(record, wanted[seen], strlen(wanted[seen])), 0);
            seen++;
            continue;
        }
        if (*pieces) {
            size_t length = strlen(*pieces);
            CU_ASSERT_EQUAL_FATAL(write(fds[1], *pieces++, length), (ssize_t)length);
        } else if (fds[1] >= 0) {
            close(fds[1]);
            fds[1] = -1;
        }
        CU_ASSERT_EQUAL_FATAL(input_fill(&input), 0);
    }
    CU_ASSERT_PTR_NULL(wanted[seen]);
    input_fini(&input);
    close(fds[0]);
}

static void
test_input_is_cut(void)
{
    assert_input("\n", (const char *const[]){"one\ntw", "o\n\nthr", "ee", NULL},
        (const char *const[]){"one", "two", "", "three", NULL});
    assert_input("\n\n", (const char *const[]){"a\nb\n", "\nc", "\n\n", NULL},
        (const char *const[]){"a\nb", "c", NULL});
    assert_input("--", (const char *const[]){"-", "-", "x-", "-", "-", NULL},
        (const char *const[]){"", "x", "-", NULL});
    assert_input("\n", (const char *const[]){NULL}, (const char *const[]){NULL});
}

static void
test_input_grows(void)
{
    enum { BYTES = 3 << 20 };
    FILE *file = tmpfile();
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    for (int i = 0; i < BYTES; i++)
        fputc(i == 10 || i == BYTES - 1 ? '\n' : 'a', file);
    rewind(file);
    struct input input;
    char *record;
    size_t size, largest = 0;
    CU_ASSERT_EQUAL_FATAL(input_init(&input, fileno(file), "\n", 1), 0);
    for (int outcome; (outcome = input_next(&input, &record, &size)) != INPUT_END;) {
        if (outcome == INPUT_MORE)
            CU_ASSERT_EQUAL_FATAL(input_fill(&input), 0);
        if (outcome == INPUT_RECORD && size > largest)
            largest = size;
    }
    CU_ASSERT_EQUAL(largest, BYTES - 12);
    CU_ASSERT_EQUAL(input.consumed, BYTES);
    input_fini(&input);
    fclose(file);
}

static const struct unit_case cases[] = {
    {"tokens", test_tokens},
    {"null and empty values", test_null_and_empty},
    {"escapes", test_escapes},
    {"refuses unknown tokens and escapes", test_refuses_formats},
    {"parts are limited", test_parts_are_limited},
    {"numbers", test_numbers},
    {"suggestions", test_suggestions},
    {"visible text", test_visible_text},
    {"input is cut at separators", test_input_is_cut},
    {"input grows with a record", test_input_grows},
    {NULL, NULL},
};

void
register_format(void)
{
    unit_register("format", cases);
}
