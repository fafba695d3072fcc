/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/err.h"
#include "base/trace.h"
#include "torture/scenarios.h"

#include <string.h>

/* Grows a buffer through four allocations; what a failure leaves is a prefix of what was put. */
int
scenario_buf(void *unused)
{
    (void)unused;
    char bytes[100];
    struct buf buf;
    int wrong = 0;
    buf_init(&buf);
    memset(bytes, 'x', sizeof bytes);
    for (int i = 0; i < 20; i++)
        buf_put(&buf, bytes, sizeof bytes);
    bool failed = buf_failed(&buf);
    if (!failed && buf.length != 2000)
        wrong = 1;
    if (failed && (buf.length >= 2000 || buf_extend(&buf, 1)))
        wrong = 2;
    for (size_t i = 0; i < buf.length; i++)
        if (buf.data[i] != 'x')
            wrong = 3;
    buf_fini(&buf);
    if (wrong)
        return wrong;
    return failed ? err_no_memory() : 0;
}

/* A trace that cannot be written is lost in silence: the caller goes on. */
int
scenario_trace(void *unused)
{
    (void)unused;
    trace_open(TRACE_INFO);
    trace(TRACE_INFO, "the trace of a torture");
    trace_open((enum trace_level) - 1);
    return 0;
}
