/* SPDX-License-Identifier: Apache-2.0 */
#include "base/trace.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 1024 };

/* A filter that any thread reads; it publishes nothing else, so relaxed order is enough. */
static _Atomic int level_max = -1;
static _Atomic bool on_terminal;

void
trace_open(enum trace_level level)
{
    atomic_store_explicit(&on_terminal, isatty(STDERR_FILENO) == 1, memory_order_relaxed);
    atomic_store_explicit(&level_max, (int)level, memory_order_relaxed);
}

static int
put_prefix(char *line, enum trace_level level)
{
    if (!atomic_load_explicit(&on_terminal, memory_order_relaxed))
        return snprintf(line, LINE_BYTES_MAX, "<%d>", (int)level);
    struct timespec now;
    struct tm local;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    size_t used = strftime(line, LINE_BYTES_MAX, "%H:%M:%S", &local);
    return (int)used +
           snprintf(line + used, LINE_BYTES_MAX - used, ".%03ld ", now.tv_nsec / 1000000);
}

void
trace(enum trace_level level, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&level_max, memory_order_relaxed))
        return;
    char line[LINE_BYTES_MAX];
    int used = put_prefix(line, level);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + used, sizeof line - (size_t)used - 1, format, args);
    va_end(args);
    if (more > 0)
        used += more < (int)sizeof line - used - 1 ? more : (int)sizeof line - used - 2;
    line[used++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, (size_t)used);
    (void)ignored;
}
