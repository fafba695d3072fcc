/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/request_maker.h"

#include "base/bytes.h"
#include "protocol/wire.h"
#include "protocol/wire_field.h"
#include "record/batch_header.h"
#include "record/builder.h"
#include "record/codec.h"
#include "record/crc32c.h"
#include "shm/control.h"

#include <string.h>

enum {
    DEPTH_MAX = 6,
    ELEMENTS_MAX = 4, /* of an array, mostly */
    RAW_BYTES_MAX = 60,
    RECORDS_MAX = 5,
};

uint8_t
maker_byte(struct request_maker *maker)
{
    return maker->at < maker->end ? *maker->at++ : 0;
}

unsigned
maker_below(struct request_maker *maker, unsigned limit)
{
    return maker_byte(maker) % limit;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static int64_t
raw_number(struct request_maker *maker)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | maker_byte(maker);
    return (int64_t)value;
}

/** Mostly one that means something somewhere: small, a place, an edge, what was given before. */
static int64_t
number(struct request_maker *maker)
{
    static const int64_t words[] = {0, 0, 0, 0, -1, -1, 1, 1, 2, 3, 4, 7, 8, 100, 1000, 6000, 30000,
        -2, -3, -4, -5, INT8_MAX, INT16_MAX, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1 << 20};
    unsigned choice = maker_below(maker, sizeof words / sizeof words[0] + 4);
    if (choice < sizeof words / sizeof words[0])
        return words[choice];
    switch (choice - sizeof words / sizeof words[0]) {
    case 0:
        return maker->generation;
    case 1:
        return maker->producer_id;
    case 2:
        return maker_byte(maker);
    default:
        return raw_number(maker);
    }
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static struct bytes
raw_bytes(struct request_maker *maker)
{
    size_t n = maker_below(maker, RAW_BYTES_MAX + 1);
    uint8_t *copy = arena_alloc(maker->arena, n + 1);
    for (size_t i = 0; copy && i < n; i++)
        copy[i] = maker_byte(maker);
    return (struct bytes){copy, copy ? (int32_t)n : 0};
}

static const char *
text(struct request_maker *maker)
{
    static const char *const words[] = {"t", "t", "t", "u", "compacted", "new", "g", "g", "h", "",
        "range", "consumer", "1", "7", "__consumer_offsets", "__cluster_metadata", "retention.ms",
        "cleanup.policy", "compact", "delete", "max.message.bytes", "num.partitions", "-1", "1000",
        "Stable", "Ongoing", "classic", "User:anna", "User:*", "*", "PLAIN", "SCRAM-SHA-256",
        "access.read", "a.b", "a_b", "../x", "shmbus-admin", "message.timestamp.type",
        "LogAppendTime", "kafka-cluster"};
    unsigned choice = maker_below(maker, sizeof words / sizeof words[0] + 3);
    if (choice < sizeof words / sizeof words[0])
        return words[choice];
    if (choice == sizeof words / sizeof words[0])
        return maker->member_id;
    struct bytes raw = raw_bytes(maker);
    char *copy = arena_string(maker->arena, raw.data, raw.len > 0 ? (size_t)raw.len : 0);
    for (int32_t i = 0; copy && i < raw.len; i++)
        if (copy[i] == '\0')
            copy[i] = 'x';
    return copy ? copy : "";
}

/** What members say of themselves: a subscription to "t" in version 0. */
static struct bytes
subscription(void)
{
    static const uint8_t bytes[] = {0, 0, 0, 0, 0, 1, 0, 1, 't', 0xff, 0xff, 0xff, 0xff};
    return (struct bytes){bytes, sizeof bytes};
}

/* ---- records -------------------------------------------------------------------------------- */

static void
build_batch(struct request_maker *maker, struct batch_builder *builder)
{
    struct builder_options options = BUILDER_OPTIONS_PLAIN;
    options.codec = (int)maker_below(maker, CODEC_COUNT);
    if (!codec_available(options.codec))
        options.codec = CODEC_NONE;
    if (maker_below(maker, 3) == 0) {
        options.producer_id = maker->producer_id;
        options.producer_epoch = 0;
        options.base_sequence = (int32_t)maker_below(maker, 8);
    }
    builder_reset(builder, &options);
    unsigned count = 1 + maker_below(maker, RECORDS_MAX);
    for (unsigned i = 0; i < count; i++) {
        struct bytes value = raw_bytes(maker);
        struct builder_record record = {
            .ts = number(maker),
            .key = "key",
            .key_bytes = maker_below(maker, 4) == 0 ? -1 : 3,
            .value = value.data,
            .value_bytes = maker_below(maker, 4) == 0 ? -1 : value.len,
        };
        builder_append(builder, &record);
    }
}

/** Changes some of the bytes; mostly the checksum fits again. */
static void
spoil(struct request_maker *maker, uint8_t *batch, size_t n)
{
    for (unsigned times = maker_below(maker, 4); times > 0; times--) {
        size_t at = (size_t)maker_byte(maker) % n;
        batch[at] = maker_byte(maker);
    }
    if (n > BATCH_HEADER_BYTES && maker_below(maker, 4) != 0)
        bytes_put_u32(
            batch + BATCH_AT_CRC, crc32c(batch + BATCH_AT_ATTRIBUTES, n - BATCH_AT_ATTRIBUTES));
}

static struct bytes
records(struct request_maker *maker)
{
    struct batch_builder builder;
    const void *batch;
    size_t n = 0;
    if (maker_below(maker, 8) == 0)
        return raw_bytes(maker);
    if (builder_init(&builder, 1 << 12, 1 << 16) < 0)
        return raw_bytes(maker);
    build_batch(maker, &builder);
    uint8_t *copy = NULL;
    if (builder_finish(&builder, &batch, &n) == 0)
        copy = arena_alloc(maker->arena, n);
    if (copy) {
        memcpy(copy, batch, n);
        if (maker_below(maker, 3) == 0)
            spoil(maker, copy, n);
        if (maker_below(maker, 16) == 0)
            n -= maker_below(maker, 100) % n;
    }
    builder_fini(&builder);
    return (struct bytes){copy, copy ? (int32_t)n : 0};
}

/* ---- sense ---------------------------------------------------------------------------------- */

/**
 * What a field of a name is mostly: without it nobody would ever join a group or map a partition.
 * Its `text`, or a number from `low` to `high`.
 */
static const struct sense {
    const char *field;
    const char *text;
    int64_t low, high;
} senses[] = {
    {"access", NULL, 0, 2},
    {"acks", NULL, -1, 1},
    {"committed_offset", NULL, 0, 9},
    {"current_leader_epoch", NULL, -1, 0},
    {"fetch_offset", NULL, 0, 9},
    {"generation", NULL, 1, 1},
    {"group", "g", 0, 0},
    {"group_id", "g", 0, 0},
    {"isolation_level", NULL, 0, 1},
    {"last_fetched_epoch", NULL, -1, -1},
    {"layout_version", NULL, SHM_LAYOUT_VERSION, SHM_LAYOUT_VERSION},
    {"leader_epoch", NULL, -1, 0},
    {"max_bytes", NULL, 1, 100000},
    {"max_wait_ms", NULL, 0, 2000},
    {"min_bytes", NULL, 0, 100},
    {"name", "t", 0, 0},
    {"num_partitions", NULL, -1, 3},
    {"offset", NULL, -1, 9},
    {"operation", NULL, 2, 12},
    {"partition", NULL, 0, 1},
    {"partition_index", NULL, 0, 1},
    {"partition_max_bytes", NULL, 1, 100000},
    {"pattern_type", NULL, 3, 4},
    {"permission_type", NULL, 2, 3},
    {"principal", "User:anna", 0, 0},
    {"producer_epoch", NULL, -1, 0},
    {"protocol_name", "range", 0, 0},
    {"protocol_type", "consumer", 0, 0},
    {"rebalance_timeout_ms", NULL, 1000, 60000},
    {"replica_id", NULL, -1, -1},
    {"replication_factor", NULL, -1, 1},
    {"resource_pattern_type", NULL, 3, 4},
    {"resource_type", NULL, 2, 4},
    {"seq", NULL, -1, 1},
    {"session_epoch", NULL, -1, 0},
    {"session_id", NULL, 0, 0},
    {"session_timeout_ms", NULL, 6000, 30000},
    {"topic", "t", 0, 0},
    {"topic_name", "t", 0, 0},
};

/** Whether the field is given a sense this time; NULL: it has none, or is left to chance. */
static const struct sense *
sense_of(struct request_maker *maker, const struct field *field)
{
    for (size_t i = 0; i < sizeof senses / sizeof senses[0]; i++)
        if (strcmp(senses[i].field, field->name) == 0)
            return maker_below(maker, 4) == 0 ? NULL : &senses[i];
    return NULL;
}

static int64_t
sensible_number(struct request_maker *maker, const struct field *field)
{
    if (strncmp(field->name, "generation_id", 13) == 0 && maker_below(maker, 4) != 0)
        return maker->generation;
    const struct sense *sense = sense_of(maker, field);
    if (!sense || sense->text)
        return number(maker);
    int64_t span = sense->high - sense->low + 1;
    return sense->low + (maker_byte(maker) * INT64_C(257)) % span;
}

static const char *
sensible_text(struct request_maker *maker, const struct field *field)
{
    if (strcmp(field->name, "member_id") == 0 && maker_below(maker, 4) != 0)
        return maker->member_id;
    const struct sense *sense = sense_of(maker, field);
    return sense && sense->text ? sense->text : text(maker);
}

/* ---- fields --------------------------------------------------------------------------------- */

static struct bytes
blob(struct request_maker *maker, enum field_type type)
{
    if (type == FIELD_RECORDS)
        return records(maker);
    return maker_below(maker, 2) ? subscription() : raw_bytes(maker);
}

static struct uuid
some_uuid(struct request_maker *maker)
{
    struct uuid id = {{0}};
    unsigned choice = maker_below(maker, 4);
    if (choice > 1)
        return maker->topic_id;
    for (size_t i = 0; choice == 1 && i < sizeof id.b; i++)
        id.b[i] = maker_byte(maker);
    return id;
}

/** One value: of a field, or an element of an array. */
static void
fill_value(struct request_maker *maker, const struct field *field, void *out)
{
    int64_t n;
    switch (field->type) {
    case FIELD_BOOL:
        *(bool *)out = maker_byte(maker) & 1;
        return;
    case FIELD_STR:
        *(const char **)out = sensible_text(maker, field);
        return;
    case FIELD_BYTES:
    case FIELD_RECORDS:
        *(struct bytes *)out = blob(maker, field->type);
        return;
    case FIELD_UUID:
        *(struct uuid *)out = some_uuid(maker);
        return;
    case FIELD_STRUCT:
        maker_fill(maker, field->schema, out);
        return;
    default:
        n = sensible_number(maker, field);
        break;
    }
    switch (field_size(field)) {
    case sizeof(int8_t):
        *(int8_t *)out = (int8_t)n;
        return;
    case sizeof(int16_t):
        *(int16_t *)out = (int16_t)n;
        return;
    case sizeof(int32_t):
        *(int32_t *)out = (int32_t)n;
        return;
    default:
        *(int64_t *)out = n;
    }
}

static void
fill_array(struct request_maker *maker, const struct field *field, void *member, int32_t *count)
{
    unsigned wanted = maker_below(maker, ELEMENTS_MAX + 1);
    if (wanted == ELEMENTS_MAX && maker_below(maker, 8) == 0)
        wanted = maker_byte(maker);
    size_t size = field_size(field);
    char *items = arena_array(maker->arena, wanted, size);
    if (!items)
        return;
    for (size_t i = 0; i < wanted; i++)
        fill_value(maker, field, items + i * size);
    member_set_pointer(member, items);
    *count = (int32_t)wanted;
}

static void
fill_null(const struct field *field, void *member, int32_t *count)
{
    if (field->array)
        *count = -1;
    else if (field->type == FIELD_BYTES || field->type == FIELD_RECORDS)
        *(struct bytes *)member = (struct bytes){NULL, -1};
    else
        member_set_pointer(member, NULL);
}

static void
fill_field(struct request_maker *maker, const struct field *field, void *out)
{
    void *member = (char *)out + field->offset;
    int32_t *count = (int32_t *)(void *)((char *)out + field->count_offset);
    bool nullable = field_nullable(field, maker->version) || field->tag >= 0;
    if (nullable && maker_below(maker, 3) == 0) {
        if (field_nullable(field, maker->version))
            fill_null(field, member, count);
        return;
    }
    if (field->array) {
        fill_array(maker, field, member, count);
    } else if (field->type == FIELD_STRUCT) {
        void *inner = arena_alloc(maker->arena, field->schema->size);
        member_set_pointer(member, inner);
        if (inner)
            maker_fill(maker, field->schema, inner);
    } else {
        fill_value(maker, field, member);
    }
}

void
maker_fill(struct request_maker *maker, const struct schema *schema, void *out)
{
    wire_init(schema, out);
    if (maker->depth == DEPTH_MAX)
        return;
    maker->depth++;
    for (uint32_t i = 0; i < schema->field_count; i++)
        if (field_present(&schema->fields[i], maker->version))
            fill_field(maker, &schema->fields[i], out);
    maker->depth--;
}
