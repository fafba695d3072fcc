/* SPDX-License-Identifier: Apache-2.0
 * ListTransactions, DescribeTransactions, DescribeProducers. There are no transactions here, so
 * none is found; idempotent producers there are.
 */
#include "api/peer.h"
#include "api/producing.h"
#include "api/table.h"
#include "base/err.h"

#include <string.h>

/* ---- ListTransactions ----------------------------------------------------------------------- */

static bool
is_state(const char *name)
{
    static const char *const states[] = {"Empty", "Ongoing", "PrepareCommit", "PrepareAbort",
        "CompleteCommit", "CompleteAbort", "PrepareEpochFence", "Dead"};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (strcmp(states[i], name) == 0)
            return true;
    return false;
}

int
handle_list_transactions(struct api_request *r)
{
    const struct list_transactions_request *request = r->message;
    struct list_transactions_response *out = r->response;
    out->unknown_state_filters =
        arena_array(&r->arena, (size_t)request->state_filters_count, sizeof(char *));
    if (!out->unknown_state_filters)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->state_filters_count; i++)
        if (!is_state(request->state_filters[i]))
            out->unknown_state_filters[out->unknown_state_filters_count++] =
                request->state_filters[i];
    return HANDLED_DONE;
}

/* ---- DescribeTransactions ------------------------------------------------------------------- */

int
handle_describe_transactions(struct api_request *r)
{
    const struct describe_transactions_request *request = r->message;
    struct describe_transactions_response *out = r->response;
    out->transaction_states = wire_array(&describe_transactions_response_state_schema, &r->arena,
        (size_t)request->transactional_ids_count);
    if (!out->transaction_states)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->transactional_ids_count; i++) {
        const char *id = request->transactional_ids[i];
        struct describe_transactions_response_state *row =
            &out->transaction_states[out->transaction_states_count++];
        row->transactional_id = id;
        row->error_code = peer_error(
            r, id[0] == '\0' ? -BUS_ERR_INVALID_REQUEST : -BUS_ERR_TRANSACTIONAL_ID_NOT_FOUND);
    }
    return HANDLED_DONE;
}

/* ---- DescribeProducers ---------------------------------------------------------------------- */

/** The partition that is looked at next. */
struct place {
    int32_t topic, partition;
};

struct listing {
    struct api_request *r;
    struct describe_producers_response_topic_partition *row;
};

static void
add_producer(void *context, const struct producers_row *producer)
{
    struct listing *l = context;
    struct describe_producers_response_topic_partition_producer *out =
        &l->row->active_producers[l->row->active_producers_count++];
    out->producer_id = producer->producer_id;
    out->producer_epoch = producer->epoch;
    out->last_sequence = producer->last_sequence;
    out->last_timestamp = request_wall_ms(l->r) - producer->silent_ms;
}

/** 0, PRODUCING_LATER, or a failure. */
static int
list_producers(struct api_request *r, const char *name, int32_t partition,
    struct describe_producers_response_topic_partition *row)
{
    const struct cluster_topic *topic = peer_topic(r, name);
    const struct producers *producers;
    struct open_log *log;
    int rc = topic ? peer_check_read(r, topic) : -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (rc == 0)
        rc = peer_log(r, topic, partition, &log);
    if (rc == 0)
        rc = producing_look(r->api->producings, log, &producers);
    if (rc != 0)
        return rc;
    struct listing listing = {r, row};
    row->active_producers = wire_array(
        &describe_producers_response_topic_partition_producer_schema, &r->arena, producers->count);
    if (!row->active_producers)
        return -BUS_ERR_NO_MEMORY;
    producers_each(producers, request_now_ms(r), add_producer, &listing);
    return 0;
}

static int
list_partition(struct api_request *r, const struct describe_producers_request_topic *wanted,
    struct describe_producers_response_topic *out)
{
    struct place *place = r->state;
    struct describe_producers_response_topic_partition *row = &out->partitions[place->partition];
    row->partition_index = wanted->partition_indexes[place->partition];
    int rc = list_producers(r, wanted->name, row->partition_index, row);
    if (rc == PRODUCING_LATER) {
        r->deadline_ms = request_now_ms(r) + LOG_RETRY_MS;
        return HANDLED_PARKED;
    }
    row->error_code = peer_error(r, rc);
    row->error_message = rc < 0 ? request_error_text(r) : NULL;
    out->partitions_count = ++place->partition;
    return HANDLED_DONE;
}

static int
list_on(struct api_request *r)
{
    const struct describe_producers_request *request = r->message;
    struct describe_producers_response *out = r->response;
    struct place *place = r->state;
    int64_t since_ms = request_now_ms(r);
    r->wake = list_on;
    for (; place->topic < request->topics_count; place->topic++, place->partition = 0) {
        const struct describe_producers_request_topic *wanted = &request->topics[place->topic];
        while (place->partition < wanted->partition_indexes_count) {
            int rc = list_partition(r, wanted, &out->topics[place->topic]);
            if (rc == HANDLED_PARKED || request_yields(r, since_ms))
                return HANDLED_PARKED;
        }
    }
    return HANDLED_DONE;
}

int
handle_describe_producers(struct api_request *r)
{
    const struct describe_producers_request *request = r->message;
    struct describe_producers_response *out = r->response;
    size_t partitions = 0;
    r->state = arena_alloc(&r->arena, sizeof(struct place));
    out->topics = wire_array(
        &describe_producers_response_topic_schema, &r->arena, (size_t)request->topics_count);
    if (!r->state || !out->topics)
        return -BUS_ERR_NO_MEMORY;
    out->topics_count = request->topics_count;
    for (int32_t i = 0; i < request->topics_count; i++) {
        const struct describe_producers_request_topic *wanted = &request->topics[i];
        partitions += (size_t)wanted->partition_indexes_count;
        out->topics[i].name = wanted->name;
        out->topics[i].partitions = wire_array(&describe_producers_response_topic_partition_schema,
            &r->arena, (size_t)wanted->partition_indexes_count);
        if (!out->topics[i].partitions)
            return -BUS_ERR_NO_MEMORY;
    }
    int rc = peer_check_count(r, partitions);
    return rc < 0 ? rc : list_on(r);
}
