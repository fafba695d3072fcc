/* SPDX-License-Identifier: Apache-2.0 */
#include "api/produce_check.h"
#include "base/bytes.h"
#include "base/err.h"
#include "record/codec.h"

#include <string.h>

enum { ZSTD_FROM_VERSION = 7 };

/* ---- the batch as a whole ------------------------------------------------------------------- */

/** What may come of a newer client, as opposed to damage. */
static int
check_kind(const uint8_t *batch, size_t size)
{
    if (size > BATCH_AT_MAGIC && batch[BATCH_AT_MAGIC] != BATCH_MAGIC)
        return err_set(BUS_ERR_INVALID_RECORD,
            "the record batch has magic %d; version 2 is the one that is accepted",
            (int8_t)batch[BATCH_AT_MAGIC]);
    if (size < BATCH_HEADER_BYTES)
        return 0;
    int codec = bytes_get_u16(batch + BATCH_AT_ATTRIBUTES) & BATCH_ATTR_CODEC;
    if (codec >= CODEC_COUNT)
        return err_set(BUS_ERR_UNSUPPORTED_COMPRESSION_TYPE,
            "the record batch is compressed with codec %d, which is unknown", codec);
    return 0;
}

static int
read_one_batch(const struct bytes *records, struct batch_header *header)
{
    if (records->len <= 0)
        return err_set(BUS_ERR_INVALID_RECORD, "the request has no record batch");
    size_t size = (size_t)records->len;
    int kind = check_kind(records->data, size);
    if (kind < 0)
        return kind;
    int rc = batch_header_read(records->data, size, header);
    if (rc < 0)
        return rc;
    if (rc == BATCH_END)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the record batch tells a length of 0");
    if (rc != BATCH_OK || batch_bytes(header) != size)
        return err_set(BUS_ERR_INVALID_RECORD,
            "a request must have exactly one whole record batch per partition");
    return 0;
}

static int
check_size(const struct cluster_topic *topic, size_t size)
{
    int64_t batch_max = settings_int(&topic->settings, TOPIC_MAX_MESSAGE_BYTES);
    int64_t segment_max = settings_int(&topic->settings, TOPIC_SEGMENT_BYTES);
    if ((int64_t)size > batch_max)
        return err_set(BUS_ERR_MESSAGE_TOO_LARGE,
            "a batch of %zu bytes is larger than max.message.bytes=%lld", size,
            (long long)batch_max);
    if ((int64_t)size > segment_max)
        return err_set(BUS_ERR_RECORD_LIST_TOO_LARGE,
            "a batch of %zu bytes is larger than segment.bytes=%lld", size, (long long)segment_max);
    return 0;
}

static int
check_attributes(const struct api_request *r, const struct batch_header *header)
{
    if (header->attributes & BATCH_ATTR_TRANSACTIONAL)
        return err_set(BUS_ERR_INVALID_TXN_STATE, "transactions are not supported");
    if (header->attributes & BATCH_ATTR_LOG_APPEND)
        return err_set(
            BUS_ERR_INVALID_TIMESTAMP, "the batch says LogAppendTime, which only the log may set");
    int codec = batch_codec(header);
    if (codec == CODEC_ZSTD && r->header.api_version < ZSTD_FROM_VERSION)
        return err_set(BUS_ERR_UNSUPPORTED_COMPRESSION_TYPE,
            "zstd needs Produce version %d, the request has %d", ZSTD_FROM_VERSION,
            r->header.api_version);
    if (!codec_available(codec))
        return err_set(BUS_ERR_UNSUPPORTED_COMPRESSION_TYPE,
            "this busd was built without %s: choose another compression.type", codec_name(codec));
    return 0;
}

/* ---- its records ---------------------------------------------------------------------------- */

/** What is asked of each record of a topic. */
struct record_rules {
    int64_t oldest_ms, newest_ms; /* timestamps */
    bool keys;
};

static int64_t
add_capped(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static struct record_rules
rules_of(const struct api_request *r, const struct cluster_topic *topic)
{
    const struct settings *s = &topic->settings;
    struct record_rules rules = {
        .oldest_ms = INT64_MIN,
        .newest_ms = INT64_MAX,
        .keys = settings_list_has(s, TOPIC_CLEANUP_POLICY, "compact"),
    };
    if (settings_int(s, TOPIC_MESSAGE_TIMESTAMP_TYPE) == TOPIC_LOG_APPEND_TIME)
        return rules;
    int64_t now_ms = request_wall_ms(r);
    int64_t before_ms = settings_int(s, TOPIC_MESSAGE_TIMESTAMP_BEFORE_MAX_MS);
    if (before_ms < INT64_MAX)
        rules.oldest_ms = now_ms - before_ms;
    rules.newest_ms = add_capped(now_ms, settings_int(s, TOPIC_MESSAGE_TIMESTAMP_AFTER_MAX_MS));
    return rules;
}

static bool
has_rules(const struct record_rules *rules)
{
    return rules->keys || rules->oldest_ms != INT64_MIN || rules->newest_ms != INT64_MAX;
}

/** What is wrong with a record; NULL nothing. A missing timestamp (-1) is never out of range. */
static const char *
fault_of(const struct record_rules *rules, const struct record *record, int *code)
{
    *code = BUS_ERR_INVALID_RECORD;
    if (rules->keys && record->key_bytes < 0)
        return "a compacted topic wants a key in every record";
    *code = BUS_ERR_INVALID_TIMESTAMP;
    if (record->timestamp >= 0 && record->timestamp < rules->oldest_ms)
        return "the timestamp is older than message.timestamp.before.max.ms allows";
    if (record->timestamp > rules->newest_ms)
        return "the timestamp is newer than message.timestamp.after.max.ms allows";
    return NULL;
}

static int
note_fault(struct api_request *r, struct produce_response_topic_partition *out, int32_t index,
    const char *fault)
{
    if (!out->record_errors)
        out->record_errors = wire_array(
            &produce_response_topic_partition_record_error_schema, &r->arena, PRODUCE_ERRORS_MAX);
    if (!out->record_errors)
        return -BUS_ERR_NO_MEMORY;
    if (out->record_errors_count == PRODUCE_ERRORS_MAX)
        return 0;
    out->record_errors[out->record_errors_count++] =
        (struct produce_response_topic_partition_record_error){index, fault};
    return 0;
}

/**
 * A few bytes may decompress to gigabytes: so much is not held for a check, nor by any reader. What
 * would be no larger than an uncompressed batch of this topic is always taken.
 */
static size_t
decompressed_max(const struct cluster_topic *topic)
{
    size_t batch_max = (size_t)settings_int(&topic->settings, TOPIC_MAX_MESSAGE_BYTES);
    return batch_max > PRODUCE_DECOMPRESSED_BYTES_MAX / PRODUCE_DECOMPRESSED_TIMES
               ? batch_max * PRODUCE_DECOMPRESSED_TIMES
               : PRODUCE_DECOMPRESSED_BYTES_MAX;
}

static int
check_records(struct api_request *r, const struct cluster_topic *topic, const struct bytes *records,
    const struct batch_header *header, struct produce_response_topic_partition *out)
{
    const struct record_rules rules = rules_of(r, topic);
    struct batch_iter it;
    struct buf scratch;
    struct record record;
    int failure = 0;
    if (!has_rules(&rules))
        return 0;
    buf_init(&scratch);
    int rc = batch_iter_init(
        &it, records->data, (size_t)records->len, header, &scratch, decompressed_max(topic));
    while (rc == 0 && (rc = batch_iter_next(&it, &record)) > 0) {
        int code;
        const char *fault = fault_of(&rules, &record, &code);
        rc = 0;
        if (fault && failure == 0)
            failure = err_set((enum bus_err)code, "record %lld of the batch: %s",
                (long long)record.offset, fault);
        if (fault)
            rc = note_fault(r, out, (int32_t)record.offset, fault);
    }
    buf_fini(&scratch);
    return rc < 0 ? rc : failure;
}

/**
 * Puts the true maximum into a copy of the batch, as Kafka does it: there are clients that leave it
 * out. Searches by time and retention go by it.
 */
static int
set_max_timestamp(struct api_request *r, struct bytes *records, struct batch_header *header,
    int64_t max_timestamp)
{
    size_t size = (size_t)records->len;
    uint8_t *copy = arena_alloc(&r->arena, size);
    if (!copy)
        return -BUS_ERR_NO_MEMORY;
    memcpy(copy, records->data, size);
    bytes_put_i64(copy + BATCH_AT_MAX_TIMESTAMP, max_timestamp);
    batch_seal(copy, size);
    records->data = copy;
    return batch_header_read(copy, size, header);
}

static int
verify(struct api_request *r, const struct cluster_topic *topic, struct bytes *records,
    struct batch_header *header)
{
    struct buf scratch;
    int64_t max_timestamp;
    buf_init(&scratch);
    int rc = batch_verify_produced(records->data, (size_t)records->len, header, &scratch,
        decompressed_max(topic), &max_timestamp);
    buf_fini(&scratch);
    if (rc == 0 && max_timestamp != header->max_timestamp)
        rc = set_max_timestamp(r, records, header, max_timestamp);
    return rc;
}

int
produce_check(struct api_request *r, const struct cluster_topic *topic, struct bytes *records,
    struct batch_header *header, struct produce_response_topic_partition *out)
{
    int rc = read_one_batch(records, header);
    if (rc == 0)
        rc = check_size(topic, (size_t)records->len);
    if (rc == 0)
        rc = check_attributes(r, header);
    if (rc == 0)
        rc = verify(r, topic, records, header);
    return rc == 0 ? check_records(r, topic, records, header, out) : rc;
}
