/* SPDX-License-Identifier: Apache-2.0
 * Kafka's consumer protocol: subscriptions and assignments as bytes.
 */
#include "base/bytes.h"
#include "base/err.h"
#include "client/assign.h"
#include "protocol/wire.h"

#include <stdlib.h>
#include <string.h>

enum {
    VERSION = 3, /* what we write, and the youngest that we know */
    VERSION_BYTES = 2,
    GENERATION_BYTES = 4, /* the whole of the user data of cooperative-sticky */
    ARENA_BYTES_MAX = 64 << 20,
};

/* A topic and its partitions; the three messages have each a struct of their own for that. */
struct run {
    const char *topic;
    int32_t *partitions;
    int32_t partitions_count;
};

_Static_assert(
    sizeof(struct run) == sizeof(struct sticky_user_data_topic) &&
        sizeof(struct run) == sizeof(struct consumer_protocol_subscription_owned_partition) &&
        sizeof(struct run) == sizeof(struct consumer_protocol_assignment_assigned_partition),
    "the same shape");

static int
by_topic(const void *a, const void *b)
{
    const struct assign_partition *left = a, *right = b;
    int order = strcmp(left->topic, right->topic);
    if (order != 0)
        return order;
    return left->partition < right->partition ? -1 : left->partition > right->partition;
}

/* The list by topics. */
static int
runs_of(const struct assign_list *list, struct arena *arena, void **runs, int32_t *run_count)
{
    struct run *out = arena_array(arena, list->count, sizeof *out);
    struct assign_partition *sorted = arena_array(arena, list->count, sizeof *sorted);
    int32_t *numbers = arena_array(arena, list->count, sizeof *numbers);
    if (!out || !sorted || !numbers)
        return -BUS_ERR_NO_MEMORY;
    if (list->count > 0)
        memcpy(sorted, list->items, list->count * sizeof *sorted);
    qsort(sorted, list->count, sizeof *sorted, by_topic);
    int32_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        numbers[i] = sorted[i].partition;
        if (i == 0 || strcmp(sorted[i].topic, sorted[i - 1].topic) != 0)
            out[count++] = (struct run){.topic = sorted[i].topic, .partitions = &numbers[i]};
        out[count - 1].partitions_count++;
    }
    *runs = out;
    *run_count = count;
    return 0;
}

static int
list_of(const void *from, int32_t run_count, struct arena *arena, struct assign_list *list)
{
    const struct run *runs = from;
    size_t total = 0;
    for (int32_t i = 0; i < run_count; i++)
        total += (size_t)runs[i].partitions_count;
    list->count = 0;
    list->items = arena_array(arena, total, sizeof *list->items);
    if (!list->items)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < run_count; i++)
        for (int32_t j = 0; j < runs[i].partitions_count; j++)
            list->items[list->count++] = (struct assign_partition){
                .topic = runs[i].topic, .partition = runs[i].partitions[j]};
    return 0;
}

static int
put_versioned(const struct schema *schema, const void *message, struct buf *out)
{
    uint8_t *version = buf_extend(out, VERSION_BYTES);
    if (!version)
        return -BUS_ERR_NO_MEMORY;
    bytes_put_i16(version, VERSION);
    return wire_encode(schema, VERSION, message, out);
}

static int
get_versioned(const struct schema *schema, struct bytes data, struct arena *arena, void *message)
{
    if (data.len < VERSION_BYTES)
        return err_set(BUS_ERR_INVALID_REQUEST, "a message of a group's member is cut off");
    int16_t version = bytes_get_i16(data.data);
    return wire_decode(schema, version, data.data + VERSION_BYTES,
        (size_t)(data.len - VERSION_BYTES), message, arena);
}

static int
put_sticky(
    const struct assign_list *owned, int32_t generation, struct arena *arena, struct buf *out)
{
    struct sticky_user_data data = {.generation = generation};
    void *runs;
    int rc = runs_of(owned, arena, &runs, &data.previous_assignment_count);
    data.previous_assignment = runs;
    return rc < 0 ? rc : wire_encode(&sticky_user_data_schema, 1, &data, out);
}

static int
put_subscription(enum assign_strategy strategy, struct consumer_protocol_subscription *message,
    const struct assign_list *owned, struct arena *arena, struct buf *user, struct buf *out)
{
    int rc = 0;
    if (strategy == ASSIGN_STICKY && owned->count > 0) {
        rc = put_sticky(owned, message->generation_id, arena, user);
    } else if (strategy == ASSIGN_COOPERATIVE) {
        uint8_t *generation = buf_extend(user, GENERATION_BYTES);
        rc = generation ? 0 : -BUS_ERR_NO_MEMORY;
        if (generation)
            bytes_put_i32(generation, message->generation_id);
        void *runs;
        if (rc == 0)
            rc = runs_of(owned, arena, &runs, &message->owned_partitions_count);
        if (rc == 0)
            message->owned_partitions = runs;
    }
    if (rc < 0)
        return rc;
    if (user->length > 0)
        message->user_data = (struct bytes){user->data, (int32_t)user->length};
    return put_versioned(&consumer_protocol_subscription_schema, message, out);
}

int
assign_put_subscription(enum assign_strategy strategy, const char *const *topics,
    size_t topic_count, const struct assign_list *owned, int32_t generation, struct buf *out)
{
    struct arena arena;
    struct buf user;
    arena_init(&arena, ARENA_BYTES_MAX);
    buf_init(&user);
    struct consumer_protocol_subscription message = {.topics = (const char **)topics,
        .topics_count = (int32_t)topic_count,
        .user_data = {NULL, -1},
        .generation_id = generation};
    int rc = put_subscription(strategy, &message, owned, &arena, &user, out);
    buf_fini(&user);
    arena_fini(&arena);
    return rc;
}

/* The user data of another sticky member; what cannot be read counts as nothing owned. */
static int
get_sticky(struct bytes user, struct arena *arena, struct assign_member *member)
{
    struct sticky_user_data data;
    member->owned = (struct assign_list){0};
    member->generation = -1;
    if (user.len <= 0)
        return 0;
    const struct schema *schema = &sticky_user_data_schema;
    int rc = wire_decode(schema, 1, user.data, (size_t)user.len, &data, arena);
    if (rc < 0 && rc != -BUS_ERR_NO_MEMORY)
        rc = wire_decode(schema, 0, user.data, (size_t)user.len, &data, arena);
    if (rc < 0)
        return rc == -BUS_ERR_NO_MEMORY ? rc : 0;
    member->generation = data.generation;
    return list_of(data.previous_assignment, data.previous_assignment_count, arena, &member->owned);
}

int
assign_get_subscription(enum assign_strategy strategy, struct bytes data, struct arena *arena,
    struct assign_member *member)
{
    struct consumer_protocol_subscription message;
    int rc = get_versioned(&consumer_protocol_subscription_schema, data, arena, &message);
    if (rc < 0)
        return rc;
    member->topics = message.topics;
    member->topic_count = (size_t)message.topics_count;
    member->generation = message.generation_id;
    if (strategy == ASSIGN_STICKY)
        return get_sticky(message.user_data, arena, member);
    if (member->generation < 0 && message.user_data.len == GENERATION_BYTES)
        member->generation = bytes_get_i32(message.user_data.data);
    return list_of(message.owned_partitions, message.owned_partitions_count, arena, &member->owned);
}

int
assign_put_share(const struct assign_list *share, struct buf *out)
{
    struct arena arena;
    struct consumer_protocol_assignment message = {.user_data = {NULL, -1}};
    void *runs;
    arena_init(&arena, ARENA_BYTES_MAX);
    int rc = runs_of(share, &arena, &runs, &message.assigned_partitions_count);
    if (rc == 0) {
        message.assigned_partitions = runs;
        rc = put_versioned(&consumer_protocol_assignment_schema, &message, out);
    }
    arena_fini(&arena);
    return rc;
}

int
assign_get_share(struct bytes data, struct arena *arena, struct assign_list *share)
{
    struct consumer_protocol_assignment message;
    *share = (struct assign_list){0};
    if (data.len <= 0)
        return 0;
    int rc = get_versioned(&consumer_protocol_assignment_schema, data, arena, &message);
    return rc < 0 ? rc
                  : list_of(message.assigned_partitions, message.assigned_partitions_count, arena,
                        share);
}
