/* SPDX-License-Identifier: Apache-2.0
 * Offsets of many partitions. A request names each partition once, so what is asked twice of one
 * goes into a second round.
 */
#include "base/err.h"
#include "client/groups.h"
#include "client/offsets.h"

#include <bus/groups.h>
#include <stdlib.h>
#include <string.h>

struct question {
    struct bus_offset_query *query;
    size_t round;
};

static int
by_place(const void *a, const void *b)
{
    const struct question *left = a, *right = b;
    int order = strcmp(left->query->topic, right->query->topic);
    if (order != 0)
        return order;
    int32_t one = left->query->partition, other = right->query->partition;
    return (one > other) - (one < other);
}

static int
by_round(const void *a, const void *b)
{
    const struct question *left = a, *right = b;
    if (left->round != right->round)
        return left->round < right->round ? -1 : 1;
    return by_place(a, b);
}

/* Sorts the questions so that the rounds follow each other, in each by topic. */
static void
arrange(struct question *questions, size_t count)
{
    qsort(questions, count, sizeof *questions, by_place);
    for (size_t i = 1; i < count; i++)
        if (by_place(&questions[i - 1], &questions[i]) == 0)
            questions[i].round = questions[i - 1].round + 1;
    qsort(questions, count, sizeof *questions, by_round);
}

/* How many of the questions fit into one request: all of one round. */
static size_t
fitting(const struct question *questions, size_t count)
{
    size_t n = 1;
    while (n < count && n < PARTITIONS_AT_ONCE && questions[n].round == questions[0].round)
        n++;
    return n;
}

static bool
take_row(struct question *question, const char *topic,
    const struct list_offsets_response_topic_partition *row)
{
    struct bus_offset_query *query = question->query;
    query->error = -err_of_wire(row->error_code);
    query->offset = row->error_code == 0 ? row->offset : -1;
    query->found_ms = row->error_code == 0 ? row->timestamp : -1;
    return row->partition_index == query->partition && topic && strcmp(topic, query->topic) == 0;
}

static int
take_answer(struct question *questions, size_t count, const struct list_offsets_response *answer)
{
    size_t at = 0;
    bool good = true;
    for (int32_t i = 0; good && i < answer->topics_count; i++) {
        const struct list_offsets_response_topic *topic = &answer->topics[i];
        for (int32_t j = 0; good && j < topic->partitions_count; j++, at++)
            good = at < count && take_row(&questions[at], topic->name, &topic->partitions[j]);
    }
    if (good && at == count)
        return 0;
    return err_set(BUS_ERR_UNKNOWN_SERVER_ERROR,
        "busd's answer does not speak of the partitions that it was asked about");
}

static int
ask_some(struct bus *bus, struct question *questions, size_t count, int64_t deadline_ns)
{
    struct list_offsets_request_topic topics[PARTITIONS_AT_ONCE];
    struct list_offsets_request_topic_partition partitions[PARTITIONS_AT_ONCE];
    int32_t topic_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct bus_offset_query *query = questions[i].query;
        partitions[i] =
            (struct list_offsets_request_topic_partition){.partition_index = query->partition,
                .current_leader_epoch = -1,
                .timestamp = query->timestamp_ms};
        if (i == 0 || strcmp(query->topic, questions[i - 1].query->topic) != 0)
            topics[topic_count++] = (struct list_offsets_request_topic){
                .name = query->topic, .partitions = &partitions[i]};
        topics[topic_count - 1].partitions_count++;
    }
    struct list_offsets_request request = {.replica_id = -1,
        .topics = topics,
        .topics_count = topic_count,
        .timeout_ms = (int32_t)bus->settings.request_timeout_ms};
    struct conn_reply *reply;
    int rc = conn_call(
        bus->conn, API_LIST_OFFSETS, &request, CONN_RESTART | CONN_AGAIN, deadline_ns, &reply);
    if (rc < 0)
        return err_prefix(rc, "offsets of %zu partitions", count);
    rc = take_answer(questions, count, reply->message);
    conn_reply_free(&reply);
    return rc;
}

int
offsets_ask_all(
    struct bus *bus, struct bus_offset_query *queries, size_t count, int64_t deadline_ns)
{
    struct question *questions = calloc(count + 1, sizeof *questions);
    if (!questions)
        return err_no_memory();
    for (size_t i = 0; i < count; i++)
        questions[i].query = &queries[i];
    arrange(questions, count);
    int rc = 0;
    for (size_t at = 0, n; rc == 0 && at < count; at += n) {
        n = fitting(questions + at, count - at);
        rc = ask_some(bus, questions + at, n, deadline_ns);
    }
    free(questions);
    return rc;
}

int
bus_offsets_find(struct bus *bus, struct bus_offset_query *queries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (queries[i].timestamp_ms < BUS_OFFSET_MAX_TIME)
            return err_set(
                BUS_ERR_INVALID_ARGUMENT, "%lld is not a time", (long long)queries[i].timestamp_ms);
    return offsets_ask_all(bus, queries, count, bus_request_deadline_ns(bus));
}
