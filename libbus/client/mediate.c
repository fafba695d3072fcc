/* SPDX-License-Identifier: Apache-2.0
 * Batches that go through the socket.
 */
#include "base/check.h"
#include "client/producer.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_MESSAGE_DEFAULT = 1048588, RESOURCE_TOPIC = 2, ACKS_ALL_ON_WIRE = -1 };

/* Runs on the connection's thread: leaves the answer to the sender. */
static void
answer_arrived(void *context, int rc, struct conn_reply *reply)
{
    struct parcel *parcel = context;
    struct bus_producer *producer = parcel->lane->topic->producer;
    char *text = rc < 0 ? strdup(err_text()) : NULL;
    pthread_mutex_lock(&producer->lock);
    parcel->rc = rc;
    parcel->reply = reply;
    if (text) {
        free(parcel->text);
        parcel->text = text;
    }
    parcel->answered = true;
    parcel->next_arrived = producer->arrived;
    producer->arrived = parcel;
    pthread_cond_signal(&producer->work);
    pthread_mutex_unlock(&producer->lock);
}

int
mediate_start(struct parcel *parcel)
{
    struct lane *lane = parcel->lane;
    struct bus_producer *producer = lane->topic->producer;
    const struct settings *settings = &producer->settings;
    struct produce_request_topic_partition partition = {
        .index = lane->partition, .records = {.data = parcel->bytes, .len = (int32_t)parcel->size}};
    struct produce_request_topic topic = {
        .name = lane->topic->name, .partition_data = &partition, .partition_data_count = 1};
    /* Beside a lane that appends itself, nothing may be sent before the batch is in the log. */
    bool blind = settings->acks == SETTING_ACKS_NONE && lane->mode == LANE_MEDIATED;
    struct produce_request request = {.acks = settings->acks == SETTING_ACKS_ALL ? ACKS_ALL_ON_WIRE
                                              : blind                            ? 0
                                                                                 : 1,
        .timeout_ms = (int32_t)settings->request_timeout_ms,
        .topic_data = &topic,
        .topic_data_count = 1};
    if (blind) {
        int rc = conn_post(producer->bus->conn, API_PRODUCE, &request);
        if (rc == 0)
            parcel_finish(parcel, 0);
        return rc;
    }
    parcel_set(parcel, PARCEL_IN_FLIGHT);
    int rc = conn_start(
        producer->bus->conn, API_PRODUCE, &request, answer_arrived, parcel, &parcel->call);
    if (rc < 0)
        parcel_set(parcel, PARCEL_WAITING);
    return rc;
}

/* The result of one record batch in busd's answer: 0 with `result` filled, or a failure. */
static int
read_answer(const struct parcel *parcel, struct append_result *result)
{
    const struct produce_response *answer = parcel->reply->message;
    if (answer->responses_count != 1 || answer->responses[0].partition_responses_count != 1)
        return err_set(BUS_ERR_UNKNOWN_SERVER_ERROR, "busd's answer does not speak of the batch");
    const struct produce_response_topic_partition *one =
        &answer->responses[0].partition_responses[0];
    result->base_offset = one->base_offset;
    result->log_append_time_ms = one->log_append_time_ms;
    const char *text = one->error_message;
    if (!text && one->record_errors_count > 0)
        text = one->record_errors[0].batch_index_error_message;
    return err_prefix(conn_refused(one->error_code, text), "%s-%d", parcel->lane->topic->name,
        parcel->lane->partition);
}

static bool
is_final(const struct parcel *parcel, int rc, int64_t now_ns)
{
    const struct settings *settings = &parcel->lane->topic->producer->settings;
    switch (-rc) {
    case BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case BUS_ERR_CORRUPT_MESSAGE:
    case BUS_ERR_DISK_FULL:
    case BUS_ERR_KAFKA_STORAGE_ERROR:
    case BUS_ERR_PARTITION_OFFLINE:
        return true;
    default:
        return !bus_err_retriable(rc) || parcel->attempts > settings->retries ||
               now_ns >= parcel->deadline_ns;
    }
}

void
mediate_answered(struct parcel *parcel, int64_t now_ns)
{
    MUST(parcel->state == PARCEL_IN_FLIGHT);
    struct append_result result = {.base_offset = -1, .log_append_time_ms = -1};
    int rc = parcel->rc;
    if (rc == 0)
        rc = read_answer(parcel, &result);
    else
        err_set((enum bus_err) - rc, "%s", parcel->text ? parcel->text : bus_err_text(rc));
    conn_reply_free(&parcel->reply);
    if (rc == 0) {
        parcel->lane->no_room_ns = 0;
        parcel_appended(parcel, &result);
        parcel_finish(parcel, 0);
        return;
    }
    parcel->attempts++;
    bool again = identity_may_retry(parcel, rc) && now_ns < parcel->deadline_ns;
    if (!again && is_final(parcel, rc, now_ns)) {
        parcel_finish(parcel, rc);
        return;
    }
    free(parcel->text);
    parcel->text = strdup(err_text());
    parcel->retry_ns = now_ns + parcel->lane->topic->producer->settings.retry_backoff_ms * 1000000;
    parcel_set(parcel, PARCEL_WAITING);
}

uint32_t
mediate_max_batch(struct bus *bus, const char *topic, unsigned flags, int64_t deadline_ns)
{
    const char *name = "max.message.bytes";
    struct describe_configs_request_resource resource = {.resource_type = RESOURCE_TOPIC,
        .resource_name = topic,
        .configuration_keys = &name,
        .configuration_keys_count = 1};
    struct describe_configs_request request = {.resources = &resource, .resources_count = 1};
    struct conn_reply *reply;
    int rc = conn_call(
        bus->conn, API_DESCRIBE_CONFIGS, &request, flags | CONN_AGAIN, deadline_ns, &reply);
    if (rc < 0)
        return MAX_MESSAGE_DEFAULT;
    const struct describe_configs_response *answer = reply->message;
    long found = 0;
    if (answer->results_count == 1 && answer->results[0].configs_count == 1 &&
        answer->results[0].configs[0].value)
        found = strtol(answer->results[0].configs[0].value, NULL, 10);
    conn_reply_free(&reply);
    return found > 0 && found <= INT32_MAX ? (uint32_t)found : MAX_MESSAGE_DEFAULT;
}
