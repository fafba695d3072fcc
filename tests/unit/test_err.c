/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static void
test_set(void)
{
    CU_ASSERT_EQUAL(err_set(BUS_ERR_TIMED_OUT, "waited %d ms", 7), -BUS_ERR_TIMED_OUT);
    CU_ASSERT_STRING_EQUAL(err_text(), "waited 7 ms");
    CU_ASSERT_STRING_EQUAL(bus_error(), "waited 7 ms");
}

static void
test_sys(void)
{
    CU_ASSERT_EQUAL(err_sys(ENOSPC, "grow %s", "x.log"), -BUS_ERR_DISK_FULL);
    CU_ASSERT_STRING_EQUAL(err_text(), "grow x.log: No space left on device: make space there");
    CU_ASSERT_EQUAL(err_of_errno(ENOMEM), BUS_ERR_NO_MEMORY);
    CU_ASSERT_EQUAL(err_of_errno(EACCES), BUS_ERR_PERMISSION);
    CU_ASSERT_EQUAL(err_of_errno(EPERM), BUS_ERR_PERMISSION);
    CU_ASSERT_EQUAL(err_of_errno(EDQUOT), BUS_ERR_DISK_FULL);
    CU_ASSERT_EQUAL(err_of_errno(EMFILE), BUS_ERR_LIMIT_REACHED);
    CU_ASSERT_EQUAL(err_of_errno(ENFILE), BUS_ERR_LIMIT_REACHED);
    CU_ASSERT_EQUAL(err_of_errno(ETIMEDOUT), BUS_ERR_TIMED_OUT);
    CU_ASSERT_EQUAL(err_of_errno(EIO), BUS_ERR_KAFKA_STORAGE_ERROR);
    CU_ASSERT_EQUAL(err_of_errno(ENOTDIR), BUS_ERR_SYSTEM);
}

static void
test_prefix(void)
{
    int rc = err_set(BUS_ERR_SYSTEM, "below");
    CU_ASSERT_EQUAL(err_prefix(rc, "topic %s", "a"), rc);
    CU_ASSERT_STRING_EQUAL(err_text(), "topic a: below");
    CU_ASSERT_EQUAL(err_prefix(0, "not %s", "this"), 0);
    CU_ASSERT_EQUAL(err_prefix(5, "nor this"), 5);
    CU_ASSERT_STRING_EQUAL(err_text(), "topic a: below");
    CU_ASSERT_EQUAL(err_prefix(rc, "topic %s", "a"), rc);
    CU_ASSERT_STRING_EQUAL(err_text(), "topic a: below");
    err_prefix(rc, "top");
    CU_ASSERT_STRING_EQUAL(err_text(), "top: topic a: below");
    rc = err_set(BUS_ERR_SYSTEM, "topic %s has no more room", "a");
    CU_ASSERT_EQUAL(err_prefix(rc, "topic %s", "a"), rc);
    CU_ASSERT_STRING_EQUAL(err_text(), "topic a has no more room");
}

static void
test_long_text_is_cut(void)
{
    char words[ERR_TEXT_BYTES_MAX + 2];
    memset(words, 'w', sizeof words);
    for (size_t length = ERR_TEXT_BYTES_MAX - 2; length <= ERR_TEXT_BYTES_MAX; length++) {
        err_set(BUS_ERR_SYSTEM, "%.*s", (int)length, words);
        size_t kept = length < ERR_TEXT_BYTES_MAX - 1 ? length : ERR_TEXT_BYTES_MAX - 1;
        CU_ASSERT_EQUAL(strlen(err_text()), kept);
        err_sys(EIO, "%.*s", (int)length, words);
        CU_ASSERT_EQUAL(strlen(err_text()), ERR_TEXT_BYTES_MAX - 1);
        err_prefix(-1, "%.*s", (int)length, words);
        CU_ASSERT_EQUAL(strlen(err_text()), ERR_TEXT_BYTES_MAX - 1);
    }
}

static void
test_names(void)
{
    CU_ASSERT_STRING_EQUAL(bus_err_name(BUS_ERR_TOPIC_ALREADY_EXISTS), "TOPIC_ALREADY_EXISTS");
    CU_ASSERT_STRING_EQUAL(bus_err_name(-BUS_ERR_TOPIC_ALREADY_EXISTS), "TOPIC_ALREADY_EXISTS");
    CU_ASSERT_STRING_EQUAL(bus_err_name(0), "NONE");
    CU_ASSERT_STRING_EQUAL(bus_err_name(999), "UNKNOWN");
    CU_ASSERT_STRING_EQUAL(bus_err_text(999), "an unknown error");
    CU_ASSERT_STRING_EQUAL(bus_err_text(-BUS_ERR_TIMED_OUT), "the time given ran out");
    CU_ASSERT(bus_err_retriable(-BUS_ERR_QUEUE_FULL));
    CU_ASSERT_FALSE(bus_err_retriable(BUS_ERR_INVALID_ARGUMENT));
    CU_ASSERT_FALSE(bus_err_retriable(999));
}

static void
test_wire(void)
{
    CU_ASSERT_EQUAL(err_to_wire(0), 0);
    CU_ASSERT_EQUAL(err_to_wire(-BUS_ERR_OFFSET_OUT_OF_RANGE), 1);
    CU_ASSERT_EQUAL(err_to_wire(-BUS_ERR_UNKNOWN_SERVER_ERROR), -1);
    CU_ASSERT_EQUAL(err_of_wire(0), 0);
    CU_ASSERT_EQUAL(err_of_wire(1), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_EQUAL(err_of_wire(-1), -BUS_ERR_UNKNOWN_SERVER_ERROR);
    /* No number of any table: still a failure, and negative. */
    CU_ASSERT_EQUAL(err_of_wire(-5), -BUS_ERR_UNKNOWN_SERVER_ERROR);
}

static void *
set_elsewhere(void *unused)
{
    (void)unused;
    err_set(BUS_ERR_SYSTEM, "elsewhere");
    return strcmp(err_text(), "elsewhere") == 0 ? (void *)1 : NULL;
}

static void
test_a_text_per_thread(void)
{
    err_set(BUS_ERR_SYSTEM, "here");
    pthread_t thread;
    void *seen = NULL;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, set_elsewhere, NULL), 0);
    CU_ASSERT_EQUAL(pthread_join(thread, &seen), 0);
    CU_ASSERT_PTR_NOT_NULL(seen);
    CU_ASSERT_STRING_EQUAL(err_text(), "here");
}

/* Codes are the keys of the table, and a row without words tells a person nothing. */
static void
test_table(void)
{
    static const struct {
        int number;
        int retriable;
        const char *name;
        const char *text;
    } rows[] = {
#define X(number, name, retriable, text) {(number), (retriable), #name, (text)},
#include <bus/errors.def>
#undef X
    };
    size_t count = sizeof rows / sizeof rows[0];
    for (size_t i = 0; i < count; i++) {
        CU_ASSERT(rows[i].text[0] != '\0');
        CU_ASSERT(rows[i].number >= 0 && rows[i].number <= INT16_MAX);
        CU_ASSERT(rows[i].retriable == 0 || rows[i].retriable == 1);
        CU_ASSERT_STRING_EQUAL(bus_err_name(rows[i].number), rows[i].name);
    }
}

static const struct unit_case cases[] = {
    {"set keeps the text and negates the code", test_set},
    {"sys appends the words of errno", test_sys},
    {"prefix speaks only on failure", test_prefix},
    {"a text at the limit is cut, never overrun", test_long_text_is_cut},
    {"names, texts and retriable take either sign", test_names},
    {"the unknown error is -1 on the wire", test_wire},
    {"each thread has its own text", test_a_text_per_thread},
    {"every row has one number and a text", test_table},
    {NULL, NULL},
};

void
register_err(void)
{
    unit_register("err", cases);
}
