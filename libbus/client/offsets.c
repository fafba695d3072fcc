/* SPDX-License-Identifier: Apache-2.0 */
#include "client/offsets.h"

#include "base/err.h"
#include "client/attach.h"
#include "client/metadata.h"
#include "shm/flush.h"

#include <bus/admin.h>

static int
partition_refused(const char *topic, int32_t partition, int16_t wire)
{
    if (wire == BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION)
        return err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION,
            "topic %s has no partition %d, or is "
            "not there: see busctl topic list",
            topic, partition);
    return err_prefix(conn_refused(wire, NULL), "%s-%d", topic, partition);
}

int
offsets_ask(struct bus *bus, const struct offset_query *query, int64_t deadline_ns,
    struct offset_found *found)
{
    struct list_offsets_request_topic_partition partition = {.partition_index = query->partition,
        .current_leader_epoch = -1,
        .timestamp = query->timestamp_ms};
    struct list_offsets_request_topic topic = {
        .name = query->topic, .partitions = &partition, .partitions_count = 1};
    struct list_offsets_request request = {.replica_id = -1,
        .topics = &topic,
        .topics_count = 1,
        .timeout_ms = (int32_t)bus->settings.request_timeout_ms};
    struct conn_reply *reply;
    int rc = conn_call(
        bus->conn, API_LIST_OFFSETS, &request, CONN_RESTART | CONN_AGAIN, deadline_ns, &reply);
    if (rc < 0)
        return err_prefix(rc, "%s-%d", query->topic, query->partition);
    const struct list_offsets_response *answer = reply->message;
    if (answer->topics_count != 1 || answer->topics[0].partitions_count != 1) {
        rc = err_set(BUS_ERR_UNKNOWN_SERVER_ERROR, "%s-%d: busd's answer does not speak of it",
            query->topic, query->partition);
    } else {
        const struct list_offsets_response_topic_partition *one = &answer->topics[0].partitions[0];
        rc = partition_refused(query->topic, query->partition, one->error_code);
        *found = (struct offset_found){.offset = one->offset,
            .timestamp_ms = one->timestamp,
            .leader_epoch = one->leader_epoch};
    }
    conn_reply_free(&reply);
    return rc;
}

int
bus_offset_find(struct bus *bus, const char *topic, int32_t partition, int64_t timestamp_ms,
    int64_t *offset, int64_t *found_ms)
{
    if (timestamp_ms < BUS_OFFSET_MAX_TIME)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "%lld is not a time", (long long)timestamp_ms);
    struct offset_query query = {
        .topic = topic, .partition = partition, .timestamp_ms = timestamp_ms};
    struct offset_found found;
    int rc = offsets_ask(bus, &query, bus_request_deadline_ns(bus), &found);
    if (rc < 0)
        return rc;
    *offset = found.offset;
    if (found_ms)
        *found_ms = found.timestamp_ms;
    return 0;
}

/* The offsets as the shared page has them. */
static int
state_of_page(struct attachment *attachment, struct bus_partition_state *state)
{
    const struct shm_control *control = attachment->view.control;
    struct shm_tail tail;
    int rc = shm_partition_tail(&attachment->view, &tail);
    if (rc < 0)
        return err_prefix(rc, "%s-%d", attachment->topic, attachment->partition);
    bool in_memory = atomic_load_explicit(&control->flags, memory_order_relaxed) & SHM_FLAG_MEMORY;
    state->log_start_offset =
        atomic_load_explicit(&control->log_start_offset, memory_order_relaxed);
    state->end_offset = tail.end_offset;
    state->durable_offset = in_memory ? tail.end_offset : shm_durable_offset(&attachment->view);
    state->leader_epoch = atomic_load_explicit(&control->leader_epoch, memory_order_relaxed);
    return 0;
}

/* For those who may not map the partition: what busd tells everybody. */
static int
state_by_asking(struct bus *bus, const char *topic, int32_t partition, int64_t deadline_ns,
    struct bus_partition_state *state)
{
    struct offset_query query = {
        .topic = topic, .partition = partition, .timestamp_ms = BUS_OFFSET_BEGINNING};
    struct offset_found found;
    int rc = offsets_ask(bus, &query, deadline_ns, &found);
    if (rc < 0)
        return rc;
    state->log_start_offset = found.offset;
    query.timestamp_ms = BUS_OFFSET_END;
    rc = offsets_ask(bus, &query, deadline_ns, &found);
    if (rc < 0)
        return rc;
    state->end_offset = found.offset;
    state->leader_epoch = found.leader_epoch;
    return 0;
}

static int
find_leader(struct bus *bus, const char *topic, int32_t partition, int64_t deadline_ns,
    struct bus_partition_state *state)
{
    struct metadata_request_topic wanted = {.name = topic};
    struct metadata_request request = {.topics = &wanted, .topics_count = 1};
    struct conn_reply *reply;
    int rc = conn_call(
        bus->conn, API_METADATA, &request, CONN_RESTART | CONN_AGAIN, deadline_ns, &reply);
    if (rc < 0)
        return err_prefix(rc, "topic %s", topic);
    const struct metadata_response *answer = reply->message;
    rc = partition_refused(topic, partition, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    if (answer->topics_count == 1 && answer->topics[0].error_code != 0)
        rc = partition_refused(topic, partition, answer->topics[0].error_code);
    for (int32_t i = 0; answer->topics_count == 1 && i < answer->topics[0].partitions_count; i++) {
        const struct metadata_response_topic_partition *one = &answer->topics[0].partitions[i];
        if (one->partition_index != partition)
            continue;
        state->leader = one->leader_id;
        state->leader_epoch = one->leader_epoch;
        rc = 0;
    }
    conn_reply_free(&reply);
    return rc;
}

int
bus_partition_state(
    struct bus *bus, const char *topic, int32_t partition, struct bus_partition_state *state)
{
    int64_t deadline_ns = bus_request_deadline_ns(bus);
    *state = (struct bus_partition_state){.log_start_offset = -1,
        .end_offset = -1,
        .durable_offset = -1,
        .leader = -1,
        .leader_epoch = -1};
    int rc = find_leader(bus, topic, partition, deadline_ns, state);
    if (rc < 0)
        return rc;
    struct attachment attachment;
    attach_init(&attachment, bus, topic, partition, ATTACH_READ);
    rc = attach_renew(&attachment, CONN_RESTART | CONN_AGAIN, deadline_ns);
    if (rc == ATTACH_DONE)
        rc = state_of_page(&attachment, state);
    attach_fini(&attachment);
    if (rc == -BUS_ERR_TOPIC_AUTHORIZATION_FAILED)
        rc = state_by_asking(bus, topic, partition, deadline_ns, state);
    return rc;
}

/* busd's answer has a number and no words: the range is asked for, and left out if that fails. */
static int
delete_refused(struct bus *bus, const char *topic, int32_t partition, int64_t offset, int16_t wire)
{
    struct bus_partition_state state;
    bool outside = wire == BUS_ERR_OFFSET_OUT_OF_RANGE;
    if (!outside ||
        state_by_asking(bus, topic, partition, bus_request_deadline_ns(bus), &state) < 0)
        return partition_refused(topic, partition, wire);
    return err_set(BUS_ERR_OFFSET_OUT_OF_RANGE,
        "%s-%d has the offsets %lld to %lld, not %lld: name one of these, or BUS_OFFSET_END "
        "(-1) to delete all",
        topic, partition, (long long)state.log_start_offset, (long long)state.end_offset,
        (long long)offset);
}

int
bus_records_delete(struct bus *bus, const char *topic, int32_t partition, int64_t offset,
    int64_t *log_start_offset)
{
    struct delete_records_request_topic_partition one = {
        .partition_index = partition, .offset = offset};
    struct delete_records_request_topic wanted = {
        .name = topic, .partitions = &one, .partitions_count = 1};
    struct delete_records_request request = {.topics = &wanted,
        .topics_count = 1,
        .timeout_ms = (int32_t)bus->settings.request_timeout_ms};
    struct conn_reply *reply;
    /* A second time it would also take what came in between. */
    unsigned flags = CONN_RESTART | (offset == BUS_OFFSET_END ? CONN_ACTS : CONN_AGAIN);
    int rc = conn_call(
        bus->conn, API_DELETE_RECORDS, &request, flags, bus_request_deadline_ns(bus), &reply);
    if (rc < 0)
        return err_prefix(rc, "%s-%d", topic, partition);
    const struct delete_records_response *answer = reply->message;
    if (answer->topics_count != 1 || answer->topics[0].partitions_count != 1) {
        rc = err_set(BUS_ERR_UNKNOWN_SERVER_ERROR, "%s-%d: busd's answer does not speak of it",
            topic, partition);
    } else {
        const struct delete_records_response_topic_partition *result =
            &answer->topics[0].partitions[0];
        rc = delete_refused(bus, topic, partition, offset, result->error_code);
        if (rc == 0 && log_start_offset)
            *log_start_offset = result->low_watermark;
    }
    conn_reply_free(&reply);
    return rc;
}
