/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/input.h"
#include "busctl/interrupt.h"
#include "busctl/produce.h"

#include <string.h>

enum { MESSAGES_MAX = 1000 }; /* of one call of bus_send_many() */

/** The records of one file on their way. */
struct run {
    struct input input;
    struct bus_message messages[MESSAGES_MAX];
    int count;
    int64_t first; /* number of messages[0] in the file, from 1 */
};

/** Hands the collected messages to the producer. */
static int
send_collected(struct ctl *ctl, struct produce *produce, struct run *run)
{
    int sent = 0;
    while (sent < run->count) {
        int rc = bus_send_many(produce->topic, run->messages + sent, run->count - sent);
        if (rc < 0) {
            progress_clear(&produce->progress);
            run->count = 0;
            long long number = run->first + sent;
            return ctl_fail(ctl, "%s: record %lld: %s%s", produce->path, number, bus_error(),
                number > 1 ? ": the records before it were sent" : "");
        }
        sent += rc;
        produce->records += rc;
    }
    run->first += run->count;
    run->count = 0;
    produce->bytes = run->input.consumed;
    progress_show(&produce->progress, run->input.consumed, produce->records);
    return CTL_OK;
}

/** Counts a record without the delimiter; with --strict it ends the run. */
static int
without_key(struct ctl *ctl, struct produce *produce, const struct run *run)
{
    int64_t number = run->first + run->count;
    if (produce->strict) {
        progress_clear(&produce->progress);
        return ctl_fail(ctl,
            "%s: record %lld has no key delimiter '%s': add it, or leave out --strict; "
            "the records before it were sent",
            produce->path, (long long)number, produce->key_delimiter);
    }
    if (produce->without_key++ == 0) {
        produce->without_key_first = number;
        produce->without_key_path = produce->path;
    }
    return CTL_OK;
}

static int
collect(struct ctl *ctl, struct produce *produce, struct run *run, char *record, size_t size)
{
    struct bus_message *message = &run->messages[run->count];
    *message = (struct bus_message){.partition = (int32_t)produce->partition,
        .timestamp_ms = BUS_TIME_NOW,
        .value = record,
        .value_size = size,
        .headers = produce->headers,
        .header_count = produce->header_count};
    int code = CTL_OK;
    if (produce->key_delimiter) {
        char *found = memmem(record, size, produce->key_delimiter, produce->key_delimiter_size);
        if (found) {
            message->key = record;
            message->key_size = (size_t)(found - record);
            message->value = found + produce->key_delimiter_size;
            message->value_size = size - message->key_size - produce->key_delimiter_size;
        } else {
            code = without_key(ctl, produce, run);
        }
    }
    if (produce->empty_is_null && message->value_size == 0)
        message->value = NULL;
    if (code == CTL_OK)
        run->count++;
    return code;
}

/** Sends what lies in the buffer and reads on. */
static int
send_and_fill(struct ctl *ctl, struct produce *produce, struct run *run)
{
    int code = send_collected(ctl, produce, run);
    if (code == CTL_OK && input_fill(&run->input) < 0)
        code = ctl_fail(ctl, "%s: %s", produce->path, bus_error());
    return code;
}

int
produce_file(struct ctl *ctl, struct produce *produce, int fd)
{
    struct run run = {.first = 1};
    int code = CTL_OK;
    if (input_init(&run.input, fd, produce->separator, produce->separator_size) < 0)
        return ctl_no_memory(ctl);
    while (code == CTL_OK && !interrupted()) {
        char *record;
        size_t size;
        int outcome = input_next(&run.input, &record, &size);
        if (outcome == INPUT_END)
            break;
        if (outcome == INPUT_MORE)
            code = send_and_fill(ctl, produce, &run);
        else
            code = collect(ctl, produce, &run, record, size);
        if (code == CTL_OK && run.count == MESSAGES_MAX)
            code = send_collected(ctl, produce, &run);
    }
    /* What stands before the record that ended the run is sent all the same. */
    int rest = send_collected(ctl, produce, &run);
    input_fini(&run.input);
    return code == CTL_OK ? rest : code;
}

static void
tell_without_key(struct ctl *ctl, const struct produce *produce)
{
    if (produce->without_key == 0)
        return;
    bool one = produce->without_key == 1;
    ctl_note(ctl,
        "%lld record%s without the key delimiter '%s' %s sent without a key, the first is record "
        "%lld of %s: --strict stops there",
        (long long)produce->without_key, one ? "" : "s", produce->key_delimiter,
        one ? "was" : "were", (long long)produce->without_key_first, produce->without_key_path);
}

int
produce_finish(struct ctl *ctl, struct produce *produce)
{
    int rc = bus_flush(produce->producer, -1);
    int code = rc < 0 ? ctl_fail_bus(ctl, rc, NULL) : CTL_OK;
    tell_without_key(ctl, produce);
    if (!ctl->json || ctl_out(ctl) != CTL_OK)
        return code;
    out_object(ctl->out, NULL);
    out_integer(ctl->out, "records", produce->records);
    out_integer(ctl->out, "without_key", produce->without_key);
    out_boolean(ctl->out, "done", code == CTL_OK);
    out_end(ctl->out);
    return code;
}
