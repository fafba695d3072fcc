/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/text.h"

#include "base/buf.h"
#include "base/err.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/** The least code point that may be written with so many bytes. */
static const uint32_t least_of_length[5] = {0, 0, 0x80, 0x800, 0x10000};

size_t
text_utf8_length(const uint8_t *bytes, size_t size)
{
    if (bytes[0] < 0x80)
        return 1;
    size_t length = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || length > size)
        return 0;
    uint32_t point = bytes[0] & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (bytes[i] & 0x3f);
    }
    if (point < least_of_length[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
        return 0;
    return length;
}

static void
put_visible(struct buf *to, const uint8_t *bytes, size_t length)
{
    static const char plain[] = "\n\t\r\\";
    static const char letters[] = "ntr\\";
    char escape[5] = {'\\'};
    const char *found = length == 1 && bytes[0] ? strchr(plain, bytes[0]) : NULL;
    bool control = length == 0 || (length == 1 && (bytes[0] < 0x20 || bytes[0] == 0x7f)) ||
                   (length == 2 && bytes[0] == 0xc2 && bytes[1] < 0xa0);
    if (found) {
        escape[1] = letters[found - plain];
        buf_put(to, escape, 2);
    } else if (control) {
        for (size_t i = 0; i < (length ? length : 1); i++) {
            snprintf(escape, sizeof escape, "\\x%02x", bytes[i]);
            buf_put(to, escape, 4);
        }
    } else
        buf_put(to, bytes, length);
}

char *
text_visible(const void *bytes, size_t size)
{
    const uint8_t *at = bytes, *end = at + size;
    struct buf text;
    buf_init(&text);
    while (at < end) {
        size_t length = text_utf8_length(at, (size_t)(end - at));
        put_visible(&text, at, length);
        at += length ? length : 1;
    }
    buf_put(&text, "", 1);
    if (!buf_failed(&text))
        return (char *)text.data;
    buf_fini(&text);
    return NULL;
}

size_t
text_columns(const char *text)
{
    size_t columns = 0;
    for (; *text; text++)
        columns += ((unsigned char)*text & 0xc0) != 0x80;
    return columns;
}

void
text_time(int64_t time_ms, char text[TEXT_TIME_BYTES])
{
    int64_t seconds = time_ms / 1000 - (time_ms % 1000 < 0);
    time_t when = (time_t)seconds;
    struct tm local;
    char date[24], zone[8];
    if (time_ms == -1 || !localtime_r(&when, &local)) {
        snprintf(text, TEXT_TIME_BYTES, time_ms == -1 ? "-" : "%lld", (long long)time_ms);
        return;
    }
    if (strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &local) == 0)
        snprintf(date, sizeof date, "%lld", (long long)seconds);
    strftime(zone, sizeof zone, "%z", &local);
    snprintf(text, TEXT_TIME_BYTES, "%s.%03d%s", date, (int)(time_ms - seconds * 1000), zone);
}

void
text_size(double bytes, char text[TEXT_SIZE_BYTES])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    /* What would round to 1024.0 of a unit is 1.0 of the next. */
    for (; bytes >= 1023.95 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        bytes /= 1024;
    if (bytes < 0)
        snprintf(text, TEXT_SIZE_BYTES, "-");
    else
        snprintf(text, TEXT_SIZE_BYTES, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

void
text_span(int64_t span_ms, char text[TEXT_SPAN_BYTES])
{
    long long seconds = span_ms / 1000, minutes = seconds / 60, hours = minutes / 60;
    if (span_ms < 1000)
        snprintf(text, TEXT_SPAN_BYTES, "%lld ms", (long long)span_ms);
    else if (seconds < 60)
        snprintf(text, TEXT_SPAN_BYTES, "%lld.%lld s", seconds, (long long)span_ms % 1000 / 100);
    else if (minutes < 60)
        snprintf(text, TEXT_SPAN_BYTES, "%lldm %02llds", minutes, seconds % 60);
    else if (hours < 48)
        snprintf(text, TEXT_SPAN_BYTES, "%lldh %02lldm", hours, minutes % 60);
    else
        snprintf(text, TEXT_SPAN_BYTES, "%lldd %lldh", hours / 24, hours % 24);
}

static int
hex_of(char c)
{
    if (!isxdigit((unsigned char)c))
        return -1;
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/** Reads the escape behind a backslash; returns the letters used, 0 when there is no such one. */
static size_t
unescape_one(const char *at, char *byte)
{
    static const char letters[] = "ntr0\\";
    static const char bytes[] = "\n\t\r\0\\";
    const char *found = *at ? strchr(letters, *at) : NULL;
    if (found) {
        *byte = bytes[found - letters];
        return 1;
    }
    if (*at != 'x' || hex_of(at[1]) < 0 || hex_of(at[2]) < 0)
        return 0;
    *byte = (char)(hex_of(at[1]) * 16 + hex_of(at[2]));
    return 3;
}

int
text_unescape(char *text, size_t *size)
{
    char *to = text;
    for (const char *at = text; *at; to++) {
        if (*at != '\\') {
            *to = *at++;
            continue;
        }
        size_t used = unescape_one(at + 1, to);
        if (used == 0)
            return err_set(BUS_ERR_INVALID_FORMAT,
                "'%.2s' is no escape: there are \\n \\t \\r \\0 \\\\ and \\xNN", at);
        at += 1 + used;
    }
    *to = '\0';
    *size = (size_t)(to - text);
    return 0;
}
