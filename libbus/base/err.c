/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include "base/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char text_of_thread[ERR_TEXT_BYTES_MAX];

struct row {
    int code;
    bool retriable;
    const char *name;
    const char *text;
};

static const struct row rows[] = {
#define X(number, name, retriable, text) {(number), (retriable) != 0, #name, (text)},
#include <bus/errors.def>
#undef X
};

static const struct row *
row_of(int code)
{
    int wanted = code < 0 ? -code : code;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].code == wanted)
            return &rows[i];
    return NULL;
}

const char *
bus_err_name(int code)
{
    const struct row *row = row_of(code);
    return row ? row->name : "UNKNOWN";
}

const char *
bus_err_text(int code)
{
    const struct row *row = row_of(code);
    return row ? row->text : "an unknown error";
}

bool
bus_err_retriable(int code)
{
    const struct row *row = row_of(code);
    return row && row->retriable;
}

const char *
bus_error(void)
{
    return text_of_thread;
}

const char *
err_text(void)
{
    return text_of_thread;
}

int
err_set(enum bus_err code, const char *format, ...)
{
    MUST((int)code > 0);
    va_list args;
    va_start(args, format);
    vsnprintf(text_of_thread, sizeof text_of_thread, format, args);
    va_end(args);
    return -(int)code;
}

enum bus_err
err_of_errno(int errnum)
{
    switch (errnum) {
    case ENOMEM:
        return BUS_ERR_NO_MEMORY;
    case EACCES:
    case EPERM:
        return BUS_ERR_PERMISSION;
    case ENOSPC:
    case EDQUOT:
        return BUS_ERR_DISK_FULL;
    case EMFILE:
    case ENFILE:
        return BUS_ERR_LIMIT_REACHED;
    case ETIMEDOUT:
        return BUS_ERR_TIMED_OUT;
    case EIO:
        return BUS_ERR_KAFKA_STORAGE_ERROR;
    default:
        return BUS_ERR_SYSTEM;
    }
}

/* What helps against what the system says; "" when that differs from case to case. */
static const char *
remedy_of(int errnum)
{
    switch (err_of_errno(errnum)) {
    case BUS_ERR_DISK_FULL:
        return ": make space there";
    case BUS_ERR_LIMIT_REACHED:
        return ": raise ulimit -n, or LimitNOFILE of the service";
    default:
        return "";
    }
}

int
err_sys(int errnum, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int used = vsnprintf(text_of_thread, sizeof text_of_thread, format, args);
    va_end(args);
    if (used >= 0 && used < ERR_TEXT_BYTES_MAX)
        snprintf(text_of_thread + used, sizeof text_of_thread - (size_t)used, ": %s%s",
            strerror(errnum), remedy_of(errnum));
    return -(int)err_of_errno(errnum);
}

int
err_prefix(int rc, const char *format, ...)
{
    if (rc >= 0)
        return rc;
    char below[ERR_TEXT_BYTES_MAX];
    memcpy(below, text_of_thread, sizeof below);
    va_list args;
    va_start(args, format);
    int used = vsnprintf(text_of_thread, sizeof text_of_thread, format, args);
    va_end(args);
    if (used < 0 || used >= ERR_TEXT_BYTES_MAX)
        return rc;
    /* Said on another level already: once is enough. */
    bool said = strncmp(below, text_of_thread, (size_t)used) == 0 &&
                (below[used] == ':' || below[used] == ' ');
    if (said)
        memcpy(text_of_thread, below, sizeof below);
    else
        snprintf(text_of_thread + used, sizeof text_of_thread - (size_t)used, ": %.*s",
            ERR_TEXT_BYTES_MAX - used, below);
    return rc;
}

int
err_no_memory(void)
{
    return err_set(BUS_ERR_NO_MEMORY, "out of memory");
}

int16_t
err_to_wire(int rc)
{
    int code = rc < 0 ? -rc : rc;
    return code == BUS_ERR_UNKNOWN_SERVER_ERROR ? -1 : (int16_t)code;
}

int
err_of_wire(int16_t wire)
{
    return wire < 0 ? -BUS_ERR_UNKNOWN_SERVER_ERROR : -(int)wire;
}
