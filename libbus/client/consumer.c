/* SPDX-License-Identifier: Apache-2.0 */
#include "client/consumer.h"

#include "base/clock.h"
#include "base/err.h"
#include "client/bus.h"
#include "client/commit.h"
#include "client/membership.h"
#include "client/metadata.h"
#include "client/offsets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
bus_consumer_open(struct bus *bus, const struct bus_config *config, struct bus_consumer **consumer)
{
    struct bus_consumer *fresh = calloc(1, sizeof *fresh);
    *consumer = NULL;
    if (!fresh)
        return err_no_memory();
    settings_of(config, &fresh->settings);
    fresh->bus = bus;
    fresh->isolation = fresh->settings.isolation_level == SETTING_READ_DURABLE ? CURSOR_DURABLE
                                                                               : CURSOR_UNCOMMITTED;
    /* With one processor the producer cannot run while we spin. */
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        fresh->settings.spin_us = 0;
    fresh->spin_ns = fresh->settings.spin_us * 1000;
    fresh->event_fd = -1;
    pthread_mutex_init(&fresh->lock, NULL);
    pthread_cond_init(&fresh->armed_now, NULL);
    *consumer = fresh;
    return 0;
}

static void
free_parts(struct part **parts, size_t count)
{
    for (size_t i = 0; parts && i < count; i++)
        part_free(&parts[i]);
    free(parts);
}

void
bus_consumer_close(struct bus_consumer **consumer)
{
    struct bus_consumer *old = *consumer;
    if (!old)
        return;
    /* Callbacks may use what the caller has in *consumer. */
    if (bus_unsubscribe(old) < 0)
        membership_stop(&old->membership);
    commits_finish(old, bus_request_deadline_ns(old->bus));
    *consumer = NULL;
    watch_stop(old);
    free_parts(old->parts, old->count);
    pthread_cond_destroy(&old->armed_now);
    pthread_mutex_destroy(&old->lock);
    free(old);
}

static int
check_assignments(const struct bus_assignment *assignments, size_t count)
{
    if (count > CONSUMER_PARTS_MAX)
        return err_set(
            BUS_ERR_LIMIT_REACHED, "a consumer has at most %d partitions", CONSUMER_PARTS_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct bus_assignment *one = &assignments[i];
        if (one->partition < 0 || one->offset < BUS_OFFSET_BEGINNING)
            return err_set(BUS_ERR_INVALID_ARGUMENT, "%s-%d at offset %lld cannot be", one->topic,
                one->partition, (long long)one->offset);
        for (size_t j = 0; j < i; j++)
            if (assignments[j].partition == one->partition &&
                strcmp(assignments[j].topic, one->topic) == 0)
                return err_set(BUS_ERR_INVALID_ARGUMENT, "%s-%d is assigned twice", one->topic,
                    one->partition);
    }
    return 0;
}

static int
open_parts(const struct bus_consumer *consumer, const struct bus_assignment *assignments,
    struct part **parts, size_t count)
{
    int64_t deadline_ns = bus_request_deadline_ns(consumer->bus);
    bool strict = consumer->settings.auto_offset_reset == SETTING_RESET_NONE;
    for (size_t i = 0; i < count; i++) {
        const struct bus_assignment *one = &assignments[i];
        parts[i] = part_new(consumer->bus, one->topic, one->partition);
        if (!parts[i])
            return -BUS_ERR_NO_MEMORY;
        int rc = part_open(parts[i], consumer, one->offset, strict, deadline_ns);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int
bus_assign(struct bus_consumer *consumer, const struct bus_assignment *assignments, size_t count)
{
    int rc = check_assignments(assignments, count);
    if (rc == 0 && consumer->membership)
        rc = err_set(BUS_ERR_WRONG_STATE,
            "the consumer has subscribed, so its group assigns: call bus_unsubscribe() first");
    if (rc < 0)
        return rc;
    struct part **parts = calloc(count + 1, sizeof *parts);
    if (!parts)
        return err_no_memory();
    rc = open_parts(consumer, assignments, parts, count);
    if (rc < 0) {
        free_parts(parts, count);
        return rc;
    }
    watch_enter(consumer);
    struct part **old = consumer->parts;
    size_t old_count = consumer->count;
    consumer->parts = parts;
    consumer->count = count;
    consumer->turn = 0;
    watch_leave_changed(consumer);
    free_parts(old, old_count);
    return 0;
}

int
consumer_find_part(
    const struct bus_consumer *consumer, const char *topic, int32_t partition, struct part **part)
{
    for (size_t i = 0; i < consumer->count; i++) {
        *part = consumer->parts[i];
        if ((*part)->partition == partition && strcmp((*part)->topic, topic) == 0)
            return 0;
    }
    return err_set(BUS_ERR_WRONG_STATE, "%s-%d is not assigned to this consumer", topic, partition);
}

int
bus_seek(struct bus_consumer *consumer, const char *topic, int32_t partition, int64_t offset)
{
    struct part *part;
    int rc = consumer_find_part(consumer, topic, partition, &part);
    if (rc < 0)
        return rc;
    watch_enter(consumer);
    rc = part_seek(part, consumer, offset);
    watch_leave_changed(consumer);
    return rc;
}

int
bus_seek_time(
    struct bus_consumer *consumer, const char *topic, int32_t partition, int64_t timestamp_ms)
{
    struct part *part;
    int rc = consumer_find_part(consumer, topic, partition, &part);
    if (rc == 0 && timestamp_ms < 0)
        rc = err_set(BUS_ERR_INVALID_ARGUMENT, "%lld is not a time", (long long)timestamp_ms);
    if (rc < 0)
        return rc;
    struct offset_query query = {
        .topic = topic, .partition = partition, .timestamp_ms = timestamp_ms};
    struct offset_found found;
    rc = offsets_ask(consumer->bus, &query, bus_request_deadline_ns(consumer->bus), &found);
    if (rc < 0)
        return rc;
    return bus_seek(consumer, topic, partition, found.offset < 0 ? BUS_OFFSET_END : found.offset);
}

int
bus_position(struct bus_consumer *consumer, const char *topic, int32_t partition, int64_t *offset)
{
    struct part *part;
    int rc = consumer_find_part(consumer, topic, partition, &part);
    if (rc == 0)
        *offset = part->position;
    return rc;
}

int
bus_end_offset(struct bus_consumer *consumer, const char *topic, int32_t partition, int64_t *offset)
{
    struct part *part;
    int rc = consumer_find_part(consumer, topic, partition, &part);
    return rc < 0 ? rc : part_end(part, consumer, offset);
}

static int
set_paused(struct bus_consumer *consumer, const char *topic, int32_t partition, bool paused)
{
    struct part *part;
    int rc = consumer_find_part(consumer, topic, partition, &part);
    if (rc < 0)
        return rc;
    watch_enter(consumer);
    part->paused = paused;
    watch_leave_changed(consumer);
    return 0;
}

int
bus_pause(struct bus_consumer *consumer, const char *topic, int32_t partition)
{
    return set_paused(consumer, topic, partition, true);
}

int
bus_resume(struct bus_consumer *consumer, const char *topic, int32_t partition)
{
    return set_paused(consumer, topic, partition, false);
}

int
bus_record_header(const struct bus_record *record, int32_t index, struct bus_record_header *header)
{
    struct record encoded = {.headers = record->headers,
        .headers_bytes = record->headers_size,
        .header_count = record->header_count};
    struct record_header_cursor cursor = {0};
    struct record_header found;
    if (index < 0 || index >= record->header_count)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "the record has %d headers", record->header_count);
    for (int32_t i = 0; i <= index; i++) {
        int rc = record_header_next(&encoded, &cursor, &found);
        if (rc <= 0)
            return rc < 0 ? rc : err_set(BUS_ERR_CORRUPT_MESSAGE, "a header is missing");
    }
    *header = (struct bus_record_header){.key = (const char *)found.key,
        .key_size = (size_t)found.key_bytes,
        .value = found.value_bytes < 0 ? NULL : found.value,
        .value_size = found.value_bytes < 0 ? 0 : (size_t)found.value_bytes};
    return 0;
}

int
consumer_round(struct bus_consumer *consumer, struct bus_record *records, int max)
{
    size_t count = consumer->count;
    for (size_t i = 0; i < count; i++) {
        struct part *part = consumer->parts[consumer->turn];
        if (++consumer->turn >= count)
            consumer->turn = 0;
        int rc = part->paused ? 0 : part_read(part, consumer, records, max);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Without a look at the clock for a poll that does not wait. */
static int64_t
poll_deadline_ns(int timeout_ms)
{
    if (timeout_ms <= 0)
        return timeout_ms < 0 ? INT64_MAX : 0;
    return clock_mono_ns() + (int64_t)timeout_ms * 1000000;
}

static int
poll_parts(struct bus_consumer *consumer, struct bus_record *records, int max, bool wait,
    int64_t deadline_ns)
{
    watch_enter(consumer);
    int rc = consumer_round(consumer, records, max);
    if (rc == 0 && wait)
        rc = consumer_wait(consumer, records, max, deadline_ns);
    else if (rc == 0)
        consumer_prepare(consumer);
    if (rc == 0 && __builtin_expect(consumer->watched, 0))
        watch_arm(consumer);
    watch_leave(consumer);
    return rc;
}

void
consumer_heard_call(struct bus_consumer *consumer)
{
    watch_enter(consumer);
    consumer->group_seen = atomic_load_explicit(&consumer->group_word, memory_order_acquire);
    watch_leave(consumer);
}

/* What a group asks of a poll, before it reads. `until_ns` is lowered to when that is again. */
static int
poll_group(struct bus_consumer *consumer, int64_t *until_ns)
{
    int rc = 0;
    if (consumer->membership)
        rc = membership_poll(consumer->membership, until_ns);
    else if (consumer_is_called(consumer))
        consumer_heard_call(consumer);
    commits_tell(consumer);
    return rc;
}

/* A member is told once that a topic is gone; then its group takes the partition away. */
static void
note_failure(struct bus_consumer *consumer, int rc)
{
    if (consumer->membership && rc == -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION)
        membership_miss(consumer->membership);
}

static int
poll_as_member(struct bus_consumer *consumer, struct bus_record *records, int max, bool wait,
    int64_t deadline_ns)
{
    for (;;) {
        int64_t until_ns = deadline_ns;
        int rc = poll_group(consumer, &until_ns);
        if (rc < 0)
            return rc;
        rc = poll_parts(consumer, records, max, wait, until_ns);
        note_failure(consumer, rc);
        if (rc != 0 || !wait)
            return rc;
        /* It may also have been bus_wakeup(). */
        int64_t now_ns = clock_mono_ns();
        if (now_ns >= deadline_ns || (now_ns < until_ns && !consumer_is_called(consumer)))
            return 0;
    }
}

int
bus_poll(struct bus_consumer *consumer, struct bus_record *records, int max, int timeout_ms)
{
    if (max < 1 || max > CONSUMER_RECORDS_MAX)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "a poll for %d records: 1 to %d can be asked for",
            max, CONSUMER_RECORDS_MAX);
    bool wait = timeout_ms != 0;
    int64_t deadline_ns = poll_deadline_ns(timeout_ms);
    struct membership *membership = consumer->membership;
    if (!membership && !consumer->commits.first)
        return poll_parts(consumer, records, max, wait, deadline_ns);
    if (membership)
        membership_enter(membership);
    int rc = poll_as_member(consumer, records, max, wait, deadline_ns);
    if (membership)
        membership_leave(membership);
    return rc;
}

void
bus_wakeup(struct bus_consumer *consumer)
{
    int errnum = errno; /* of what a signal interrupted */
    wait_word_wake(&consumer->wake);
    errno = errnum;
}
