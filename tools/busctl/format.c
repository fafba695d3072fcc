/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/format.h"

#include "base/err.h"
#include "busctl/text.h"

#include <stdlib.h>
#include <string.h>

static const char tokens[] = "tpoksThKS";

/** Resolves the escapes of `size` bytes at `from` and appends them to the format's text. */
static int
add_plain(struct format *format, size_t *used, const char *from, size_t size)
{
    char *to = format->text + *used;
    memcpy(to, from, size);
    to[size] = '\0';
    size_t resolved;
    int rc = text_unescape(to, &resolved);
    if (rc < 0)
        return rc;
    format->parts[format->count++] = (struct format_part){.from = *used, .size = resolved};
    *used += resolved;
    return 0;
}

static int
add_token(struct format *format, size_t *used, const char *at)
{
    if (at[1] == '%')
        return add_plain(format, used, at, 1);
    if (at[1] == '\0' || !strchr(tokens, at[1]))
        return err_set(BUS_ERR_INVALID_FORMAT,
            "'%.2s' is no token: there are %%t %%p %%o %%k %%s %%h %%T %%K %%S %%%%", at);
    format->parts[format->count++] = (struct format_part){.token = at[1]};
    return 0;
}

static int
compile(struct format *format, const char *text)
{
    size_t used = 0;
    for (const char *at = text; *at;) {
        if (format->count == FORMAT_PARTS_MAX)
            return err_set(BUS_ERR_INVALID_FORMAT, "the format has more than %d parts: shorten it",
                FORMAT_PARTS_MAX);
        size_t plain = strcspn(at, "%");
        int rc = plain ? add_plain(format, &used, at, plain) : add_token(format, &used, at);
        if (rc < 0)
            return rc;
        at += plain ? plain : 2;
    }
    return 0;
}

int
format_init(struct format *format, const char *text)
{
    *format = (struct format){.text = malloc(strlen(text) + 1)};
    if (!format->text)
        return err_no_memory();
    int rc = compile(format, text);
    if (rc < 0)
        format_fini(format);
    return rc;
}

void
format_fini(struct format *format)
{
    free(format->text);
    *format = (struct format){0};
}

static void
put(FILE *to, const void *bytes, size_t size)
{
    if (size)
        fwrite_unlocked(bytes, 1, size, to);
}

static void
put_number(FILE *to, int64_t number)
{
    char text[24];
    char *at = text + sizeof text;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
        *--at = '-';
    put(to, at, (size_t)(text + sizeof text - at));
}

static void
put_headers(FILE *to, const struct bus_record *record)
{
    struct bus_record_header header;
    for (int32_t i = 0; i < record->header_count; i++) {
        if (bus_record_header(record, i, &header) < 0)
            return;
        put(to, ",", i > 0);
        put(to, header.key, header.key_size);
        put(to, "=", 1);
        put(to, header.value, header.value ? header.value_size : 0);
    }
}

static int64_t
size_of(const void *bytes, uint32_t size)
{
    return bytes ? (int64_t)size : -1;
}

static void
put_token(FILE *to, char token, const struct bus_record *record)
{
    switch (token) {
    case 't':
        put(to, record->topic, strlen(record->topic));
        return;
    case 'p':
        put_number(to, record->partition);
        return;
    case 'o':
        put_number(to, record->offset);
        return;
    case 'k':
        put(to, record->key, record->key ? record->key_size : 0);
        return;
    case 's':
        put(to, record->value, record->value ? record->value_size : 0);
        return;
    case 'T':
        put_number(to, record->timestamp_ms);
        return;
    case 'h':
        put_headers(to, record);
        return;
    case 'K':
        put_number(to, size_of(record->key, record->key_size));
        return;
    case 'S':
        put_number(to, size_of(record->value, record->value_size));
        return;
    default:
        return;
    }
}

void
format_write(const struct format *format, const struct bus_record *record, FILE *to)
{
    for (size_t i = 0; i < format->count; i++) {
        const struct format_part *part = &format->parts[i];
        if (part->token)
            put_token(to, part->token, record);
        else
            put(to, format->text + part->from, part->size);
    }
}
