/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/consume.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

static int
print_json(struct out *out, const struct bus_record *record)
{
    struct out_pair few[8];
    size_t count = record->header_count > 0 ? (size_t)record->header_count : 0;
    struct out_pair *pairs = count > 8 ? calloc(count, sizeof *pairs) : few;
    struct bus_record_header header;
    if (!pairs)
        return CTL_FAILED;
    for (size_t i = 0; i < count; i++) {
        if (bus_record_header(record, (int32_t)i, &header) < 0)
            count = i;
        else
            pairs[i] =
                (struct out_pair){header.key, header.key_size, header.value, header.value_size};
    }
    out_object(out, NULL);
    out_text(out, "topic", record->topic);
    out_integer(out, "partition", record->partition);
    out_integer(out, "offset", record->offset);
    out_time(out, "timestamp", record->timestamp_ms);
    out_bytes(out, "key", record->key, record->key_size);
    out_bytes(out, "value", record->value, record->value_size);
    out_pairs(out, "headers", pairs, count);
    out_end(out);
    if (pairs != few)
        free(pairs);
    return CTL_OK;
}

int
consume_print(struct ctl *ctl, const struct format *format, const struct bus_record *record)
{
    if (!ctl->json)
        format_write(format, record, stdout);
    else if (print_json(ctl->out, record) != CTL_OK)
        return ctl_no_memory(ctl);
    return CTL_OK;
}

bool
consume_reader_is_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}
