/* SPDX-License-Identifier: Apache-2.0
 * Bytes and times for the eye.
 */
#ifndef BUSCTL_TEXT_H
#define BUSCTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEXT_TIME_BYTES = 48, TEXT_SPAN_BYTES = 32, TEXT_SIZE_BYTES = 32 };

/**
 * A copy of the bytes as a line of UTF-8: what is no printable character becomes \n, \t, \r or
 * \xNN, a backslash is doubled. The caller frees it; NULL when memory is out.
 */
char *text_visible(const void *bytes, size_t size);

/** Characters of a UTF-8 text, counted as a column each. */
size_t text_columns(const char *text);

/** Length of the UTF-8 character at `bytes`, 1 to 4; 0 when that is none. `size` is not 0. */
size_t text_utf8_length(const uint8_t *bytes, size_t size);

/** The time as "2026-08-01T14:00:00.000+0200" in the local zone; "-" for -1. */
void text_time(int64_t time_ms, char text[TEXT_TIME_BYTES]);

/** Bytes as "999 B", "1.5 KiB", "2.0 GiB"; "-" below 0. */
void text_size(double bytes, char text[TEXT_SIZE_BYTES]);

/** A span as "250 ms", "12.5 s", "4m 05s", "3h 20m" or "12d 4h". */
void text_span(int64_t span_ms, char text[TEXT_SPAN_BYTES]);

/**
 * Resolves \n \t \r \0 \\ and \xNN in place; *size becomes the length of the result (which may
 * contain NUL). Returns 0, or -BUS_ERR_INVALID_FORMAT naming what is not known.
 */
int text_unescape(char *text, size_t *size);

#endif
