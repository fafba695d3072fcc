/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "client/consumer.h"
#include "shm/flush.h"

#include <stdlib.h>
#include <string.h>

enum {
    BUSD_WAIT_MS = 500, /* for busd's answer inside of a poll */
    RETRY_MS = 20,      /* before the next look at a partition that busd must help with */
};

struct part *
part_new(struct bus *bus, const char *topic, int32_t partition)
{
    struct part *part = calloc(1, sizeof *part);
    char *name = strdup(topic);
    if (!part || !name) {
        free(part);
        free(name);
        err_no_memory();
        return NULL;
    }
    part->topic = name;
    part->partition = partition;
    part->committed = -1;
    attach_init(&part->attachment, bus, name, partition, ATTACH_READ);
    buf_init(&part->packed);
    buf_init(&part->unpacked);
    return part;
}

void
part_free(struct part **part)
{
    struct part *old = *part;
    *part = NULL;
    if (!old)
        return;
    cursor_fini(&old->cursor);
    attach_fini(&old->attachment);
    buf_fini(&old->packed);
    buf_fini(&old->unpacked);
    free(old->topic);
    free(old);
}

static const struct shm_control *
control_of(const struct part *part)
{
    return part->attachment.view.control;
}

static int64_t
start_of(const struct part *part)
{
    return atomic_load_explicit(&control_of(part)->log_start_offset, memory_order_relaxed);
}

int
part_end(const struct part *part, const struct bus_consumer *consumer, int64_t *end)
{
    struct shm_tail tail;
    int rc = shm_partition_tail(&part->attachment.view, &tail);
    if (rc < 0)
        return err_prefix(rc, "%s-%d", part->topic, part->partition);
    uint32_t flags = atomic_load_explicit(&control_of(part)->flags, memory_order_relaxed);
    *end = tail.end_offset;
    /* Acquire: pairs with the leader's release when the followers have the batch. */
    int64_t high = atomic_load_explicit(&control_of(part)->high_watermark, memory_order_acquire);
    if ((flags & SHM_FLAG_REPLICATED) && high < *end)
        *end = high;
    int64_t durable = shm_durable_offset(&part->attachment.view);
    if (consumer->isolation == CURSOR_DURABLE && !(flags & SHM_FLAG_MEMORY) && durable < *end)
        *end = durable;
    return 0;
}

static void
go_to(struct part *part, int64_t offset)
{
    part->in_batch = false;
    part->broken = false;
    part->lacks_position = false;
    part->position = offset;
    part->retry_ns = 0;
    cursor_seek(&part->cursor, offset);
}

int
part_seek(struct part *part, const struct bus_consumer *consumer, int64_t offset)
{
    int64_t end;
    int rc = part_end(part, consumer, &end);
    if (rc < 0)
        return rc;
    if (offset == BUS_OFFSET_BEGINNING)
        offset = start_of(part);
    else if (offset == BUS_OFFSET_END)
        offset = end;
    else if (offset < 0)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "%lld is not an offset", (long long)offset);
    go_to(part, offset);
    return 0;
}

static int
check_range(const struct part *part)
{
    struct shm_tail tail;
    int rc = shm_partition_tail(&part->attachment.view, &tail);
    if (rc < 0 || (part->position >= start_of(part) && part->position <= tail.end_offset))
        return rc;
    return err_set(BUS_ERR_OFFSET_OUT_OF_RANGE, "%s-%d has the offsets %lld to %lld, not %lld",
        part->topic, part->partition, (long long)start_of(part), (long long)tail.end_offset,
        (long long)part->position);
}

int
part_open(struct part *part, const struct bus_consumer *consumer, int64_t offset, bool strict,
    int64_t deadline_ns)
{
    int rc = attach_renew(&part->attachment, CONN_WAIT, deadline_ns);
    if (rc < 0)
        return rc;
    cursor_init(&part->cursor, &part->attachment.view, 0, consumer->isolation);
    struct shm_tail tail;
    rc = shm_partition_tail(&part->attachment.view, &tail);
    if (rc < 0)
        return err_prefix(rc, "%s-%d", part->topic, part->partition);
    part->fresh_from = tail.end_offset;
    rc = part_seek(part, consumer, offset);
    return rc == 0 && strict ? check_range(part) : rc;
}

/* busd could not help now: the part rests a little. */
static int
rest(struct part *part)
{
    part->retry_ns = clock_mono_ns() + RETRY_MS * INT64_C(1000000);
    return 0;
}

/* Whether a failure may pass by itself, so that a poll need not tell of it. */
static bool
passes(int rc)
{
    switch (-rc) {
    case BUS_ERR_DAEMON_UNAVAILABLE:
    case BUS_ERR_NETWORK_EXCEPTION:
    case BUS_ERR_REQUEST_TIMED_OUT:
    case BUS_ERR_RESOURCE_NOT_FOUND:
    case BUS_ERR_LEADER_NOT_AVAILABLE:
    case BUS_ERR_NOT_LEADER_OR_FOLLOWER:
        return true;
    default:
        return false;
    }
}

/* A failure that the application must hear of; the part does not keep the others waiting. */
static int
tell(struct part *part, int rc)
{
    rest(part);
    return err_prefix(rc, "%s-%d", part->topic, part->partition);
}

/* The generation is over (`fenced`), or busd is a new process. 1: go on; 0: rest; or a failure. */
static int
renew(struct part *part, bool fenced)
{
    int64_t deadline_ns = clock_mono_ns() + BUSD_WAIT_MS * INT64_C(1000000);
    int rc = attach_renew(&part->attachment, 0, deadline_ns);
    if (rc == ATTACH_CHANGED) {
        go_to(part, part->position);
        return 1;
    }
    bool in_order = rc == ATTACH_DONE && !fenced;
    if (in_order)
        return 1;
    rest(part);
    return rc < 0 && !passes(rc) ? rc : 0;
}

/* The position is outside the log. 1: reset by the policy; or a failure. */
static int
reset(struct part *part, const struct bus_consumer *consumer)
{
    if (consumer->settings.auto_offset_reset == SETTING_RESET_NONE)
        return tell(part, -BUS_ERR_OFFSET_OUT_OF_RANGE);
    bool earliest = consumer->settings.auto_offset_reset == SETTING_RESET_EARLIEST;
    int rc = part_seek(part, consumer, earliest ? BUS_OFFSET_BEGINNING : BUS_OFFSET_END);
    return rc < 0 ? tell(part, rc) : 1;
}

/* A batch that did not verify stays where it is: the next read comes back to it. */
static int
damaged(struct part *part, int64_t next_offset, int rc)
{
    int64_t position = part->position;
    if (rc != -BUS_ERR_NO_MEMORY)
        err_prefix(rc, "damaged batch at offset %lld, go on behind it at %lld", (long long)position,
            (long long)next_offset);
    go_to(part, position);
    return tell(part, rc);
}

/* Starts on a batch. 1: it has records; 0: it has none for us; or a failure. */
static int
begin_batch(struct part *part, const struct bus_consumer *consumer, const uint8_t *bytes,
    const struct batch_header *header)
{
    size_t size = batch_bytes(header);
    int64_t next = batch_next_offset(header);
    int check = consumer->settings.check_crcs;
    int rc = 0;
    part->batch_next = next;
    if ((header->attributes & BATCH_ATTR_CONTROL) || header->count == 0) {
        part->position = next;
        return 0;
    }
    if (batch_codec(header) != 0) {
        /* A co-writer must not change the bytes under the decompressor. */
        buf_clear(&part->packed);
        buf_put(&part->packed, bytes, size);
        if (buf_failed(&part->packed))
            return damaged(part, next, err_no_memory());
        bytes = part->packed.data;
    }
    if ((check == SETTING_CRCS_TRUE ||
            (check == SETTING_CRCS_AUTO && header->base_offset < part->fresh_from)) &&
        !batch_crc_ok(bytes, size))
        rc = err_set(BUS_ERR_CORRUPT_MESSAGE, "its checksum is wrong");
    if (rc == 0)
        rc = batch_iter_init(&part->iter, bytes, size, header, &part->unpacked,
            (size_t)consumer->settings.fetch_max_bytes);
    if (rc < 0)
        return damaged(part, next, rc);
    part->in_batch = true;
    return 1;
}

/* Damaged data may be that of a generation that is over, where somebody scribbles. Keeps the text.
 */
static bool
moved_on(struct part *part)
{
    char text[ERR_TEXT_BYTES_MAX];
    memcpy(text, err_text(), sizeof text);
    int64_t deadline_ns = clock_mono_ns() + BUSD_WAIT_MS * INT64_C(1000000);
    if (attach_renew(&part->attachment, 0, deadline_ns) == ATTACH_CHANGED) {
        go_to(part, part->position);
        return true;
    }
    err_set(BUS_ERR_CORRUPT_MESSAGE, "%s", text);
    return false;
}

/* Finds the next batch. 1: there it is; 0: none now; or a failure. */
static int
next_batch(struct part *part, const struct bus_consumer *consumer)
{
    if (__builtin_expect(part->retry_ns != 0, 0)) {
        if (clock_mono_ns() < part->retry_ns)
            return 0;
        part->retry_ns = 0;
    }
    if (__builtin_expect(part->lacks_position, 0))
        return tell(part, err_set(BUS_ERR_OFFSET_OUT_OF_RANGE,
                              "the group has committed nothing, and auto.offset.reset=none: seek"));
    if (__builtin_expect(attach_stale(&part->attachment), 0)) {
        int rc = renew(part, false);
        if (rc < 0)
            return rc;
    }
    for (;;) {
        const uint8_t *bytes;
        struct batch_header header;
        int rc = cursor_next(&part->cursor, &bytes, &header);
        if (rc == CURSOR_EMPTY)
            return 0;
        if (rc == CURSOR_BATCH)
            rc = begin_batch(part, consumer, bytes, &header);
        else if (rc == CURSOR_FENCED)
            rc = renew(part, true);
        else if (rc == -BUS_ERR_OFFSET_OUT_OF_RANGE)
            rc = reset(part, consumer);
        else if (rc == -BUS_ERR_NOT_LEADER_OR_FOLLOWER || rc == -BUS_ERR_UNKNOWN_TOPIC_ID)
            rc = renew(part, true);
        else if (rc != -BUS_ERR_CORRUPT_MESSAGE)
            return passes(rc) ? rest(part) : tell(part, rc);
        if (rc == -BUS_ERR_CORRUPT_MESSAGE)
            rc = moved_on(part) ? 0 : tell(part, rc);
        if (rc < 0 || part->in_batch || part->retry_ns != 0)
            return part->in_batch ? 1 : rc;
    }
}

static void
give(const struct part *part, const struct record *from, struct bus_record *to)
{
    to->topic = part->topic;
    to->partition = part->partition;
    to->header_count = from->header_count;
    to->offset = from->offset;
    to->timestamp_ms = from->timestamp;
    to->key = from->key;
    to->value = from->value;
    to->key_size = from->key ? (uint32_t)from->key_bytes : 0;
    to->value_size = from->value ? (uint32_t)from->value_bytes : 0;
    to->headers = from->headers;
    to->headers_size = (uint32_t)from->headers_bytes;
    to->private_bits = 0;
}

/* Records of the batch under way. Their number; 0: it was used up without one; or a failure. */
static int
take_records(struct part *part, struct bus_record *records, int max)
{
    int taken = 0;
    int rc = 1;
    int64_t position = part->position;
    struct record record;
    while (taken < max) {
        rc = batch_iter_next(&part->iter, &record);
        if (__builtin_expect(rc <= 0, 0))
            break;
        if (__builtin_expect(record.offset < position, 0))
            continue;
        give(part, &record, &records[taken++]);
    }
    if (taken > 0)
        part->position = records[taken - 1].offset + 1;
    if (rc < 0 && taken > 0) {
        part->broken = true; /* what was good is given out first */
        return taken;
    }
    if (rc < 0)
        return damaged(part, part->batch_next, rc);
    /* A batch that was just used up ends here, so that positions are right without another poll. */
    if (rc == 0 || part->iter.left == 0) {
        part->in_batch = false;
        if (part->batch_next > part->position)
            part->position = part->batch_next;
    }
    return taken;
}

int
part_read(
    struct part *part, const struct bus_consumer *consumer, struct bus_record *records, int max)
{
    if (__builtin_expect(part->gone, 0))
        return 0;
    for (;;) {
        if (part->broken)
            return damaged(
                part, part->batch_next, err_set(BUS_ERR_CORRUPT_MESSAGE, "a record is malformed"));
        if (!part->in_batch) {
            int rc = next_batch(part, consumer);
            part->gone = consumer->membership && rc == -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
            if (rc <= 0)
                return rc;
        }
        int taken = take_records(part, records, max);
        if (taken != 0)
            return taken;
    }
}

bool
part_ready(const struct part *part, int64_t now_ns)
{
    if (part->paused || part->gone)
        return false;
    if (part->retry_ns != 0)
        return part->retry_ns <= now_ns;
    return part->in_batch || cursor_ready(&part->cursor) || attach_stale(&part->attachment) ||
           part->lacks_position;
}
