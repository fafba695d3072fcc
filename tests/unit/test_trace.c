/* SPDX-License-Identifier: Apache-2.0 */
#include "base/trace.h"
#include "unit/unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CAPTURE_BYTES_MAX = 4096 };

struct capture {
    int memory; /* stands in for stderr */
    int kept;   /* the real stderr */
};

static void
capture_open(struct capture *capture)
{
    capture->memory = memfd_create("stderr", MFD_CLOEXEC);
    capture->kept = dup(STDERR_FILENO);
    CU_ASSERT_FATAL(capture->memory >= 0 && capture->kept >= 0);
    CU_ASSERT_EQUAL_FATAL(dup2(capture->memory, STDERR_FILENO), STDERR_FILENO);
}

/* Gives stderr back and fills `text` with what was written meanwhile. */
static size_t
capture_close(struct capture *capture, char text[CAPTURE_BYTES_MAX])
{
    dup2(capture->kept, STDERR_FILENO);
    close(capture->kept);
    ssize_t length = pread(capture->memory, text, CAPTURE_BYTES_MAX - 1, 0);
    close(capture->memory);
    CU_ASSERT_FATAL(length >= 0);
    text[length] = '\0';
    return (size_t)length;
}

static void
test_levels(void)
{
    struct capture capture;
    char text[CAPTURE_BYTES_MAX];
    capture_open(&capture);
    trace_open(TRACE_WARNING);
    trace(TRACE_ERROR, "one %d", 1);
    trace(TRACE_WARNING, "two");
    trace(TRACE_NOTICE, "three");
    trace_open((enum trace_level) - 1);
    trace(TRACE_ERROR, "four");
    capture_close(&capture, text);
    CU_ASSERT_STRING_EQUAL(text, "<3>one 1\n<4>two\n");
}

static void
test_long_lines(void)
{
    struct capture capture;
    char text[CAPTURE_BYTES_MAX];
    char words[2000];
    memset(words, 'w', sizeof words);
    for (int length = 1015; length <= 1030; length++) {
        capture_open(&capture);
        trace_open(TRACE_INFO);
        trace(TRACE_INFO, "%.*s", length, words);
        trace_open((enum trace_level) - 1);
        size_t used = capture_close(&capture, text);
        CU_ASSERT_EQUAL(text[used - 1], '\n');
        CU_ASSERT(used <= 1024);
        CU_ASSERT_EQUAL(strchr(text, '\n'), text + used - 1);
        CU_ASSERT_EQUAL(strlen(text), used);
    }
}

static const struct unit_case cases[] = {
    {"lines above the level are not written", test_levels},
    {"a line that is too long is cut and ends", test_long_lines},
    {NULL, NULL},
};

void
register_trace(void)
{
    unit_register("trace", cases);
}
