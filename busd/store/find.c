/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "store/private.h"
#include "store/walk.h"

#include <inttypes.h>

/* No batch may unpack to more than this while a timestamp is looked for. */
enum { UNPACKED_BYTES_MAX = 256 * 1024 * 1024 };

/* A search for a record by time. */
struct search {
    struct log *log;
    int64_t timestamp;
    int64_t bound; /* only records below this offset count */
    struct log_found *found;
};

static int
copy_batch(const struct walk *walk, struct buf *bytes)
{
    size_t n = (size_t)(walk->position - walk->batch_position);
    buf_clear(bytes);
    uint8_t *to = buf_extend(bytes, n);
    return to ? walk_read(walk->fd, to, n, walk->batch_position) : err_no_memory();
}

/* Looks at the records of a batch that was copied; 1 when one fits. */
static int
search_records(struct search *search, const struct buf *bytes, struct buf *scratch)
{
    struct batch_header header;
    struct batch_iter iter;
    struct record record;
    int rc = batch_header_read(bytes->data, bytes->length, &header);
    if (rc == BATCH_OK)
        rc = batch_iter_init(
            &iter, bytes->data, bytes->length, &header, scratch, UNPACKED_BYTES_MAX);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    while ((rc = batch_iter_next(&iter, &record)) == 1)
        if (record.timestamp >= search->timestamp && record.offset >= search->log->start_offset &&
            record.offset < search->bound) {
            *search->found = (struct log_found){.offset = record.offset,
                .timestamp = record.timestamp,
                .leader_epoch = header.leader_epoch};
            return 1;
        }
    return rc;
}

/* A damaged batch has no records that anybody can read, so the search passes over it. */
static int
search_batch(struct search *search, struct walk *walk)
{
    struct buf bytes, scratch;
    int rc = walk_crc_ok(walk);
    if (rc != 1)
        return rc;
    buf_init(&bytes);
    buf_init(&scratch);
    rc = copy_batch(walk, &bytes);
    if (rc == 0)
        rc = search_records(search, &bytes, &scratch);
    buf_fini(&bytes);
    buf_fini(&scratch);
    return rc == -BUS_ERR_CORRUPT_MESSAGE ? 0 : rc;
}

/* The offset up to which index->max_timestamp is of all batches; -1: of none. An index that was
 * read from its files covers the batch of its last entry. */
static int64_t
covered_offset(const struct index *index)
{
    if (index->offset >= 0)
        return index->offset;
    return index->entries > 0 ? index->last.offset + 1 : -1;
}

/* From which offset on records that late can lie in a segment; -1: nowhere. */
static int64_t
start_in(struct search *search, struct segment *segment)
{
    const struct index *index = &segment->index;
    struct index_files files = segment_index_files(search->log, segment);
    struct index_time_entry entry;
    int64_t offset = segment->base_offset;
    if (index->max_timestamp < search->timestamp) {
        if (index->complete)
            return -1;
        if (covered_offset(index) > offset)
            offset = covered_offset(index);
    } else if (index_find_time(index, &files, search->timestamp, &entry) == 0 &&
               entry.offset >= 0) {
        offset = entry.offset + 1;
    }
    return offset > search->log->start_offset ? offset : search->log->start_offset;
}

/* The next batch, whatever is destroyed before it. */
static int
next_batch(struct search *search, struct segment *segment, struct walk *walk)
{
    int64_t from;
    int rc = walk_next(walk);
    if (rc != -BUS_ERR_CORRUPT_MESSAGE && !(rc == WALK_END && walk->position < walk->end))
        return rc;
    return log_skip(search->log, segment, walk, &from);
}

/* The batch to begin with: if the offset itself lies in damage, the first one behind that. */
static int
first_batch(struct search *search, struct segment *segment, int64_t offset, struct walk *walk)
{
    int rc = log_locate(search->log, segment, offset, walk);
    if (rc == -BUS_ERR_CORRUPT_MESSAGE && walk->window)
        rc = walk->position < walk->end ? WALK_BATCH : WALK_END;
    return rc;
}

static int
search_segment(struct search *search, struct segment *segment)
{
    struct walk walk;
    int rc = segment_index(search->log, segment);
    if (rc < 0)
        return rc;
    int64_t offset = start_in(search, segment);
    if (offset < 0)
        return 0;
    rc = first_batch(search, segment, offset, &walk);
    int found = 0;
    while (rc == WALK_BATCH && found == 0 && walk.batch.base_offset < search->bound) {
        if (walk.batch.max_timestamp >= search->timestamp)
            found = search_batch(search, &walk);
        if (found == 0)
            rc = next_batch(search, segment, &walk);
    }
    walk_fini(&walk);
    return found != 0 ? found : rc == -BUS_ERR_CORRUPT_MESSAGE || rc > 0 ? 0 : rc;
}

static int
search_log(struct search *search)
{
    struct log *log = search->log;
    *search->found = (struct log_found){.offset = -1, .timestamp = -1, .leader_epoch = -1};
    for (size_t i = segments_find(log, log->start_offset); i < log->count; i++) {
        if (log->segments[i]->base_offset >= search->bound)
            break;
        int rc = search_segment(search, log->segments[i]);
        segment_rest(log, log->segments[i]);
        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
    return 0;
}

int
log_find_time(struct log *log, int64_t timestamp_ms, struct log_found *found)
{
    struct search search = {.log = log, .timestamp = timestamp_ms, .found = found};
    struct shm_tail tail;
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    if (rc == 0) {
        search.bound = log_visible(log, &tail, LOG_READ_VISIBLE);
        rc = search_log(&search);
    }
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

/* The largest timestamp in a visible batch of a segment. */
static int
max_time(struct log *log, struct segment *segment, int64_t bound, int64_t *max)
{
    struct walk walk;
    int rc = segment_index(log, segment);
    if (rc < 0)
        return rc;
    const struct index *index = &segment->index;
    int64_t from = covered_offset(index);
    bool covered = from >= 0 && from <= bound && segment->base_offset >= log->start_offset;
    if (covered && index->max_timestamp > *max)
        *max = index->max_timestamp;
    if (covered && index->complete)
        return 0;
    if (!covered)
        from = segment->base_offset;
    rc = log_locate(log, segment, from > log->start_offset ? from : log->start_offset, &walk);
    while (rc == WALK_BATCH && walk.batch.base_offset < bound) {
        if (walk.batch.max_timestamp > *max)
            *max = walk.batch.max_timestamp;
        rc = walk_next(&walk);
    }
    walk_fini(&walk);
    return rc == -BUS_ERR_CORRUPT_MESSAGE || rc > 0 ? 0 : rc;
}

int
log_find_max_time(struct log *log, struct log_found *found)
{
    struct search search = {.log = log, .timestamp = -1, .found = found};
    struct shm_tail tail;
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    if (rc == 0) {
        search.bound = log_visible(log, &tail, LOG_READ_VISIBLE);
        for (size_t i = segments_find(log, log->start_offset); rc == 0 && i < log->count; i++) {
            rc = max_time(log, log->segments[i], search.bound, &search.timestamp);
            segment_rest(log, log->segments[i]);
        }
        if (rc == 0)
            rc = search_log(&search);
    }
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

int
log_find_epoch(struct log *log, int64_t offset, int32_t *leader_epoch)
{
    struct shm_tail tail;
    struct segment *segment;
    struct walk walk = {0};
    pthread_mutex_lock(&log->mutex);
    *leader_epoch = log->options.leader_epoch;
    int rc = log_tail(log, &tail);
    if (rc == 0)
        rc = log_check_range(log, &tail, offset);
    if (rc == 0 && offset < tail.end_offset)
        rc = log_locate_any(log, offset, &segment, &walk);
    if (rc == WALK_BATCH)
        *leader_epoch = walk.batch.leader_epoch;
    walk_fini(&walk);
    pthread_mutex_unlock(&log->mutex);
    return rc < 0 ? rc : 0;
}

static void
find_epoch_end(const struct log *log, int32_t leader_epoch, struct log_epoch_end *end)
{
    *end = (struct log_epoch_end){.leader_epoch = -1, .end_offset = -1};
    if (leader_epoch < 0 || leader_epoch > log->options.leader_epoch)
        return;
    if (leader_epoch == log->options.leader_epoch || log->epoch_count == 0) {
        *end = (struct log_epoch_end){.leader_epoch = leader_epoch, .end_offset = log->end_offset};
        return;
    }
    size_t next = 0;
    while (next < log->epoch_count && log->epochs[next].epoch <= leader_epoch)
        next++;
    end->leader_epoch = next > 0 ? log->epochs[next - 1].epoch : leader_epoch;
    end->end_offset = next < log->epoch_count ? log->epochs[next].start_offset : log->end_offset;
}

int
log_find_epoch_end(struct log *log, int32_t leader_epoch, struct log_epoch_end *end)
{
    struct shm_tail tail;
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    if (rc == 0)
        find_epoch_end(log, leader_epoch, end);
    pthread_mutex_unlock(&log->mutex);
    return rc;
}
