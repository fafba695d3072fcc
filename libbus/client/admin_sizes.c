/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "client/bus.h"

#include <bus/admin.h>
#include <stdlib.h>

struct bus_sizes {
    struct conn_reply *reply; /* owned; the names point into it */
    struct bus_size *rows;    /* owned */
    size_t count;
    int64_t total_bytes;
    int64_t usable_bytes;
};

static size_t
count_rows(const struct describe_log_dirs_response *answer)
{
    size_t count = 0;
    for (int32_t i = 0; i < answer->results_count; i++)
        for (int32_t j = 0; j < answer->results[i].topics_count; j++)
            count += (size_t)answer->results[i].topics[j].partitions_count;
    return count;
}

static void
take_topic(struct bus_sizes *sizes, const struct describe_log_dirs_response_result_topic *topic)
{
    for (int32_t i = 0; i < topic->partitions_count; i++)
        sizes->rows[sizes->count++] = (struct bus_size){.topic = topic->name,
            .partition = topic->partitions[i].partition_index,
            .bytes = topic->partitions[i].partition_size};
}

/* busd has one data folder; one that it cannot read is a failure. */
static int
take_answer(struct bus_sizes *sizes)
{
    const struct describe_log_dirs_response *answer = sizes->reply->message;
    int rc = conn_refused(answer->error_code, NULL);
    sizes->rows = calloc(count_rows(answer) + 1, sizeof *sizes->rows);
    if (!sizes->rows)
        return err_no_memory();
    for (int32_t i = 0; i < answer->results_count && rc == 0; i++) {
        rc = conn_refused(answer->results[i].error_code, NULL);
        sizes->total_bytes = answer->results[i].total_bytes;
        sizes->usable_bytes = answer->results[i].usable_bytes;
        for (int32_t j = 0; j < answer->results[i].topics_count; j++)
            take_topic(sizes, &answer->results[i].topics[j]);
    }
    return rc;
}

int
bus_sizes_fetch(struct bus *bus, struct bus_sizes **sizes)
{
    struct describe_log_dirs_request request = {.topics_count = -1}; /* a list that is null: all */
    *sizes = NULL;
    struct bus_sizes *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_no_memory();
    fresh->total_bytes = fresh->usable_bytes = -1;
    int rc = conn_call(bus->conn, API_DESCRIBE_LOG_DIRS, &request, CONN_RESTART | CONN_AGAIN,
        bus_request_deadline_ns(bus), &fresh->reply);
    if (rc == 0)
        rc = take_answer(fresh);
    if (rc == 0)
        *sizes = fresh;
    else
        bus_sizes_free(&fresh);
    return err_prefix(rc, "sizes of partitions");
}

void
bus_sizes_free(struct bus_sizes **sizes)
{
    struct bus_sizes *old = *sizes;
    *sizes = NULL;
    if (!old)
        return;
    conn_reply_free(&old->reply);
    free(old->rows);
    free(old);
}

int
bus_sizes_get(const struct bus_sizes *sizes, size_t index, struct bus_size *size)
{
    if (index >= sizes->count)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "there are %zu partitions", sizes->count);
    *size = sizes->rows[index];
    return 0;
}

void
bus_sizes_disk(const struct bus_sizes *sizes, int64_t *total_bytes, int64_t *usable_bytes)
{
    *total_bytes = sizes->total_bytes;
    *usable_bytes = sizes->usable_bytes;
}
