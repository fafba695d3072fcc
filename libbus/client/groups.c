/* SPDX-License-Identifier: Apache-2.0 */
#include "client/groups.h"

#include "base/clock.h"
#include "base/err.h"

#include <stdlib.h>
#include <time.h>

enum { LOADING_PAUSE_MS = 10 }; /* between two questions to a busd that is still loading */

int
replies_keep(struct replies *replies, struct conn_reply *reply)
{
    struct conn_reply **items =
        realloc(replies->items, (replies->count + 1) * sizeof *replies->items);
    if (!items) {
        conn_reply_free(&reply);
        return err_no_memory();
    }
    replies->items = items;
    replies->items[replies->count++] = reply;
    return 0;
}

void
replies_fini(struct replies *replies)
{
    for (size_t i = 0; i < replies->count; i++)
        conn_reply_free(&replies->items[i]);
    free(replies->items);
    *replies = (struct replies){0};
}

int
groups_call(struct bus *bus, int16_t api_key, const void *request, unsigned flags,
    int16_t (*error_of)(const void *answer), int64_t deadline_ns, struct conn_reply **reply)
{
    for (;;) {
        int rc = conn_call(bus->conn, api_key, request, flags, deadline_ns, reply);
        if (rc < 0)
            return rc;
        if (error_of((*reply)->message) != BUS_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
            clock_mono_ns() >= deadline_ns)
            return 0;
        conn_reply_free(reply);
        struct timespec pause = {.tv_nsec = LOADING_PAUSE_MS * 1000000};
        nanosleep(&pause, NULL);
    }
}

int
groups_refused(const char *group, int16_t wire)
{
    switch (wire) {
    case BUS_ERR_GROUP_ID_NOT_FOUND:
        return err_set(
            BUS_ERR_GROUP_ID_NOT_FOUND, "no group %s: busctl group list shows all", group);
    case BUS_ERR_NON_EMPTY_GROUP:
        return err_set(
            BUS_ERR_NON_EMPTY_GROUP, "group %s has members: stop them, then try again", group);
    case BUS_ERR_GROUP_AUTHORIZATION_FAILED:
        return err_set(BUS_ERR_GROUP_AUTHORIZATION_FAILED,
            "not allowed on group %s: it reads a topic whose access.read leaves you out, or an "
            "access "
            "rule does",
            group);
    case BUS_ERR_INVALID_GROUP_ID:
        return err_set(BUS_ERR_INVALID_GROUP_ID, "'%s' cannot be the name of a group", group);
    default:
        return err_prefix(conn_refused(wire, NULL), "group %.200s", group);
    }
}

int
groups_partition_refused(const char *group, const char *topic, int32_t partition, int16_t wire)
{
    switch (wire) {
    case BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION:
        return err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION,
            "group %.100s: topic %s has no partition %d, or is not there: see busctl topic list",
            group, topic, partition);
    case BUS_ERR_GROUP_SUBSCRIBED_TO_TOPIC:
        return err_set(BUS_ERR_GROUP_SUBSCRIBED_TO_TOPIC,
            "group %s has members that read topic %s: stop them, then try again", group, topic);
    default:
        return err_prefix(
            conn_refused(wire, NULL), "group %.100s, %.200s-%d", group, topic, partition);
    }
}

int
groups_no_answer(const char *group)
{
    return err_set(
        BUS_ERR_UNKNOWN_SERVER_ERROR, "group %s: busd's answer does not speak of it", group);
}
