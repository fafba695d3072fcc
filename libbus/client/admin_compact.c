/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "client/bus.h"
#include "client/metadata.h"

#include <bus/admin.h>
#include <stdlib.h>

struct bus_compactions {
    struct conn_reply *reply; /* owned */
};

/* The first partition that did not go well decides. */
static int
check_answer(const char *topic, const struct compact_topic_response *answer)
{
    if (answer->error_code == BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION)
        return metadata_unknown(topic);
    int rc = conn_refused(answer->error_code, answer->error_message);
    if (rc < 0)
        return err_prefix(rc, "topic %.100s", topic);
    for (int32_t i = 0; rc == 0 && i < answer->partitions_count; i++) {
        const struct compact_topic_response_partition *row = &answer->partitions[i];
        if (row->error_code == BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION)
            return err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION,
                "topic %.100s has no partition %d: see busctl topic list", topic, row->partition);
        rc = err_prefix(conn_refused(row->error_code, NULL), "%.100s-%d", topic, row->partition);
    }
    return rc;
}

/* Gives the reply to the caller when all went well. */
static int
ask(struct bus *bus, const char *topic, int32_t partition, bool start, struct conn_reply **reply)
{
    struct compact_topic_request request = {.topic = topic,
        .start = start,
        .partitions = &partition,
        .partitions_count = partition == BUS_PARTITION_ANY ? 0 : 1};
    /* To ask twice is to ask once: what is compacted already is not done again. */
    int rc = conn_call(bus->conn, API_COMPACT_TOPIC, &request, CONN_RESTART | CONN_AGAIN,
        bus_request_deadline_ns(bus), reply);
    if (rc < 0)
        return err_prefix(rc, "topic %.100s", topic);
    rc = check_answer(topic, (*reply)->message);
    if (rc < 0)
        conn_reply_free(reply);
    return rc;
}

int
bus_topic_compact(struct bus *bus, const char *topic, int32_t partition)
{
    struct conn_reply *reply;
    int rc = ask(bus, topic, partition, true, &reply);
    if (rc == 0)
        conn_reply_free(&reply);
    return rc;
}

int
bus_compactions_fetch(
    struct bus *bus, const char *topic, int32_t partition, struct bus_compactions **compactions)
{
    *compactions = NULL;
    struct bus_compactions *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_no_memory();
    int rc = ask(bus, topic, partition, false, &fresh->reply);
    if (rc == 0)
        *compactions = fresh;
    else
        free(fresh);
    return rc;
}

void
bus_compactions_free(struct bus_compactions **compactions)
{
    struct bus_compactions *old = *compactions;
    *compactions = NULL;
    if (old)
        conn_reply_free(&old->reply);
    free(old);
}

int
bus_compactions_get(
    const struct bus_compactions *compactions, size_t index, struct bus_compaction *compaction)
{
    const struct compact_topic_response *answer = compactions->reply->message;
    if (index >= (size_t)answer->partitions_count)
        return err_set(
            BUS_ERR_INVALID_ARGUMENT, "there are %d partitions", answer->partitions_count);
    const struct compact_topic_response_partition *row = &answer->partitions[index];
    *compaction = (struct bus_compaction){.partition = row->partition,
        .phase = (enum bus_compaction_phase)row->state,
        .clean_offset = row->clean_offset,
        .bytes_done = row->bytes_done,
        .bytes_total = row->bytes_total,
        .runs = row->runs,
        .ended_ms = row->ended_ms,
        .bytes_before = row->bytes_before,
        .bytes_after = row->bytes_after,
        .records_removed = row->records_removed,
        .failure = row->failure};
    return 0;
}
