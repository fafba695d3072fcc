/* SPDX-License-Identifier: Apache-2.0
 * The trace: one line per event worth telling. A library has no voice of its own, so without
 * trace_open() nothing is written; busd opens it on stderr.
 */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

/** The levels, with syslog's numbers: journald reads "<4>" at the start of a line. */
enum trace_level {
    TRACE_ERROR = 3,
    TRACE_WARNING = 4,
    TRACE_NOTICE = 5,
    TRACE_INFO = 6,
    TRACE_DEBUG = 7,
};

/**
 * Sends the lines up to `level` to stderr; time stamps on a terminal, priority prefixes
 * otherwise. Thread: before others exist; the level may be set again at any time.
 */
void trace_open(enum trace_level level);

/** One line. Thread: any. Blocks: as write(2) on stderr does. */
void trace(enum trace_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
