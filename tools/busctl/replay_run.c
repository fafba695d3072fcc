/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "busctl/interrupt.h"
#include "busctl/replay.h"
#include "busctl/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAP_NS INT64_C(200000000) /* then signals and the progress line are looked at again */

void
replay_delivered(void *context, void *opaque, const struct bus_delivery *delivery)
{
    struct replay *replay = context;
    (void)opaque;
    /* Relaxed: a count and a wish to stop; bus_flush() orders what is read at the end. */
    if (delivery->error == 0)
        atomic_fetch_add_explicit(&replay->delivered, 1, memory_order_relaxed);
    else
        atomic_store_explicit(&replay->failed, true, memory_order_relaxed);
}

static bool
has_failed(const struct replay *replay)
{
    return atomic_load_explicit(&replay->failed, memory_order_relaxed);
}

/** Tells that a record cannot be sent, which ends the replay. */
static int
refused(struct ctl *ctl, struct replay *replay, const struct bus_record *origin, const char *why)
{
    progress_clear(&replay->progress);
    return ctl_fail(ctl, "%s-%d offset %lld: %s: the replay ends before this record", origin->topic,
        origin->partition, (long long)origin->offset, why);
}

/** Copies a header into the producer's form; its name goes to *names, where *room bytes are left.
 */
static int
copy_header(struct ctl *ctl, struct replay *replay, const struct bus_record *record, int32_t index,
    struct bus_header *to, char **names, size_t *room)
{
    struct bus_record_header from;
    if (bus_record_header(record, index, &from) < 0)
        return refused(ctl, replay, record, bus_error());
    if (memchr(from.key, '\0', from.key_size))
        return refused(ctl, replay, record, "a header has a NUL character in its name");
    if (from.key_size >= *room)
        return refused(ctl, replay, record, "its headers change while they are read");
    memcpy(*names, from.key, from.key_size);
    (*names)[from.key_size] = '\0';
    *to = (struct bus_header){*names, from.value, from.value_size};
    *names += from.key_size + 1;
    *room -= from.key_size + 1;
    return CTL_OK;
}

/** Copies the headers of a record in the producer's form into one block. */
static int
copy_headers(
    struct ctl *ctl, struct replay *replay, const struct bus_record *record, struct bus_message *to)
{
    size_t count = (size_t)record->header_count;
    /* A name and its NUL take no more room than in the record, where its length is before it. */
    size_t room = record->headers_size + count;
    struct bus_header *headers = malloc(count * sizeof *headers + room);
    if (!headers)
        return ctl_no_memory(ctl);
    char *names = (char *)(headers + count);
    int code = CTL_OK;
    for (size_t i = 0; i < count && code == CTL_OK; i++)
        code = copy_header(ctl, replay, record, (int32_t)i, &headers[i], &names, &room);
    to->headers = headers;
    to->header_count = count;
    return code;
}

static void
forget_collected(struct replay *replay)
{
    for (int i = 0; i < replay->collected; i++) {
        free((void *)replay->messages[i].headers);
        replay->messages[i].headers = NULL;
    }
    replay->collected = 0;
}

/** Counts a record for the summary. */
static void
count(struct replay *replay, const struct bus_record *record)
{
    int64_t timestamp_ms = record->timestamp_ms;
    replay->records++;
    replay->bytes += (int64_t)record->key_size + record->value_size + record->headers_size;
    if (timestamp_ms < 0)
        return;
    if (replay->first_ms < 0 || timestamp_ms < replay->first_ms)
        replay->first_ms = timestamp_ms;
    if (timestamp_ms > replay->last_ms)
        replay->last_ms = timestamp_ms;
}

/** Hands the collected messages to the producer. */
static int
send_collected(struct ctl *ctl, struct replay *replay)
{
    int sent = 0, code = CTL_OK;
    while (sent < replay->collected && code == CTL_OK) {
        int rc = bus_send_many(replay->target, replay->messages + sent, replay->collected - sent);
        if (rc < 0)
            code = refused(ctl, replay, replay->origins[sent], bus_error());
        else
            sent += rc;
    }
    for (int i = 0; i < sent; i++)
        count(replay, replay->origins[i]);
    forget_collected(replay);
    return code;
}

static int64_t
stamp(const struct replay *replay, const struct bus_record *record)
{
    if (record->timestamp_ms < 0)
        return BUS_TIME_NOW;
    return replay->keep_timestamps ? record->timestamp_ms
                                   : pace_stamp_ms(&replay->pace, record->timestamp_ms);
}

static int
collect(struct ctl *ctl, struct replay *replay, const struct bus_record *record)
{
    struct bus_message *message = &replay->messages[replay->collected];
    *message = (struct bus_message){.partition = record->partition,
        .timestamp_ms = stamp(replay, record),
        .key = record->key,
        .key_size = record->key_size,
        .value = record->value,
        .value_size = record->value_size};
    int code = record->header_count > 0 ? copy_headers(ctl, replay, record, message) : CTL_OK;
    if (code == CTL_OK)
        replay->origins[replay->collected++] = record;
    else
        free((void *)message->headers);
    return code;
}

static void
show(struct replay *replay, int64_t wait_ns)
{
    char time[TEXT_TIME_BYTES], span[TEXT_SPAN_BYTES];
    const struct replay_sources *sources = &replay->sources;
    if (!progress_due(&replay->progress))
        return;
    text_time(replay->last_ms, time);
    text_span(wait_ns / 1000000, span);
    int percent =
        sources->offsets > 0 ? (int)(100 * sources->offsets_passed / sources->offsets) : 0;
    bool waits = wait_ns >= 1000000000;
    snprintf(replay->progress.note, sizeof replay->progress.note, ", %d %%, at %s%s%s", percent,
        time, waits ? ", next in " : "", waits ? span : "");
    progress_show(&replay->progress, replay->bytes, replay->records);
}

/** Sends what is due already, then sleeps for a moment, or up to the time of the next record. */
static int
wait_for(struct ctl *ctl, struct replay *replay, int64_t wait_ns)
{
    int code = send_collected(ctl, replay);
    if (code != CTL_OK)
        return code;
    show(replay, wait_ns);
    int64_t nap_ns = wait_ns < NAP_NS ? wait_ns : NAP_NS;
    struct timespec nap = {.tv_nsec = (long)nap_ns};
    nanosleep(&nap, NULL);
    return CTL_OK;
}

/** How long the record that is next has to wait. The first one with a timestamp sets the pace. */
static int64_t
wait_ns(struct replay *replay, const struct bus_record *record)
{
    int64_t now_ns = clock_mono_ns();
    if (!replay->pace.begun && record->timestamp_ms >= 0)
        pace_begin(&replay->pace, record->timestamp_ms, now_ns, clock_wall_ms());
    return replay->dry_run ? 0 : pace_wait_ns(&replay->pace, record->timestamp_ms, now_ns);
}

/** Takes the record that is next; it is sent with others, at the latest before the next poll. */
static int
take(struct ctl *ctl, struct replay *replay, const struct bus_record *record)
{
    int code = CTL_OK;
    if (replay->dry_run)
        count(replay, record);
    else
        code = collect(ctl, replay, record);
    if (code != CTL_OK)
        return code;
    bool polled = replay_sources_take(&replay->sources);
    if (!polled || replay->collected == REPLAY_AT_ONCE)
        code = send_collected(ctl, replay);
    if (!polled && code == CTL_OK) {
        show(replay, 0);
        code = replay_sources_refill(ctl, &replay->sources);
    }
    return code;
}

int
replay_run(struct ctl *ctl, struct replay *replay)
{
    const struct bus_record *record;
    replay->began_ms = clock_mono_ms();
    progress_init(&replay->progress, replay->dry_run ? "counted" : "replayed", 0);
    int code = replay_sources_begin(ctl, &replay->sources);
    while (code == CTL_OK && !interrupted() && !has_failed(replay) &&
           (record = replay_sources_first(&replay->sources))) {
        int64_t still_ns = wait_ns(replay, record);
        code = still_ns > 0 ? wait_for(ctl, replay, still_ns) : take(ctl, replay, record);
    }
    /* What stands before the record that ended it is sent all the same. */
    int rest = has_failed(replay) ? CTL_OK : send_collected(ctl, replay);
    forget_collected(replay);
    progress_clear(&replay->progress);
    return code == CTL_OK ? rest : code;
}
