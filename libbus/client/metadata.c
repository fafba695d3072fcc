/* SPDX-License-Identifier: Apache-2.0 */
#include "client/metadata.h"

#include "base/clock.h"
#include "base/err.h"

#include <time.h>

enum { CREATION_PAUSE_MS = 10 }; /* between two looks at a topic that is being created */

int
metadata_unknown(const char *name)
{
    return err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION,
        "no topic %s: create it with busctl topic create %s", name, name);
}

int32_t
metadata_count(const struct metadata_response_topic *topic)
{
    int32_t count = 0;
    for (int32_t i = 0; i < topic->partitions_count; i++)
        if (topic->partitions[i].partition_index >= count &&
            topic->partitions[i].partition_index < INT32_MAX)
            count = topic->partitions[i].partition_index + 1;
    return count;
}

static int
ask(struct bus *bus, const char *name, bool create, int64_t deadline_ns,
    struct metadata_topic *topic)
{
    struct metadata_request_topic wanted = {.name = name};
    struct metadata_request request = {
        .topics = &wanted, .topics_count = 1, .allow_auto_topic_creation = create};
    struct conn_reply *reply;
    int rc =
        conn_call(bus->conn, API_METADATA, &request, CONN_WAIT | CONN_AGAIN, deadline_ns, &reply);
    if (rc < 0)
        return err_prefix(rc, "topic %s", name);
    const struct metadata_response *answer = reply->message;
    if (answer->topics_count != 1)
        rc = metadata_unknown(name);
    else if (answer->topics[0].error_code == BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION)
        rc = metadata_unknown(name);
    else
        rc = err_prefix(conn_refused(answer->topics[0].error_code, NULL), "topic %s", name);
    if (rc == 0)
        *topic = (struct metadata_topic){
            .id = answer->topics[0].topic_id, .partitions = metadata_count(&answer->topics[0])};
    conn_reply_free(&reply);
    return rc;
}

int
metadata_find(struct bus *bus, const char *name, bool create, int64_t deadline_ns,
    struct metadata_topic *topic)
{
    for (;;) {
        int rc = ask(bus, name, create, deadline_ns, topic);
        if (rc == 0 && topic->partitions < 1)
            rc = err_set(BUS_ERR_LEADER_NOT_AVAILABLE, "topic %s has no partitions yet", name);
        if (rc != -BUS_ERR_LEADER_NOT_AVAILABLE || clock_mono_ns() >= deadline_ns)
            return rc;
        struct timespec pause = {.tv_nsec = CREATION_PAUSE_MS * 1000000};
        nanosleep(&pause, NULL);
    }
}
