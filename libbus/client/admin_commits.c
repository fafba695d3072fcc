/* SPDX-License-Identifier: Apache-2.0
 * What groups have committed, beside the ends of the partitions.
 */
#include "base/err.h"
#include "client/groups.h"
#include "client/offsets.h"

#include <bus/groups.h>
#include <stdlib.h>
#include <string.h>

struct bus_commits {
    struct replies replies;        /* the strings of the rows are in them */
    struct bus_commit_state *rows; /* owned */
    size_t count, room;
};

static int
compare_places(const char *topic, int32_t partition, const char *other, int32_t other_partition)
{
    int order = strcmp(topic, other);
    return order != 0 ? order : (partition > other_partition) - (partition < other_partition);
}

/* ---- what is committed ---------------------------------------------------------------------- */

static int16_t
fetch_error(const void *answer)
{
    const struct offset_fetch_response *response = answer;
    for (int32_t i = 0; i < response->groups_count; i++)
        if (response->groups[i].error_code == BUS_ERR_COORDINATOR_LOAD_IN_PROGRESS)
            return BUS_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    return 0;
}

static int
add_row(struct bus_commits *commits, const char *group, const char *topic,
    const struct offset_fetch_response_group_topic_partition *from)
{
    if (commits->count == commits->room) {
        size_t room = commits->room ? 2 * commits->room : 64;
        struct bus_commit_state *rows = realloc(commits->rows, room * sizeof *rows);
        if (!rows)
            return err_no_memory();
        commits->rows = rows;
        commits->room = room;
    }
    commits->rows[commits->count++] = (struct bus_commit_state){.group = group,
        .topic = topic,
        .metadata = from->metadata ? from->metadata : "",
        .offset = from->committed_offset,
        .partition = from->partition_index,
        .leader_epoch = from->committed_leader_epoch};
    return 0;
}

static int
by_place(const void *a, const void *b)
{
    const struct bus_commit_state *left = a, *right = b;
    return compare_places(left->topic, left->partition, right->topic, right->partition);
}

static int
take_group(struct bus_commits *commits, const struct offset_fetch_response_group *group)
{
    size_t first = commits->count;
    int rc = groups_refused(group->group_id, group->error_code);
    for (int32_t i = 0; rc == 0 && i < group->topics_count; i++) {
        const struct offset_fetch_response_group_topic *topic = &group->topics[i];
        for (int32_t j = 0; rc == 0 && j < topic->partitions_count; j++)
            if (topic->partitions[j].error_code == 0 && topic->partitions[j].committed_offset >= 0)
                rc = add_row(commits, group->group_id, topic->name, &topic->partitions[j]);
    }
    if (rc == 0 && commits->count > first)
        qsort(commits->rows + first, commits->count - first, sizeof *commits->rows, by_place);
    return rc;
}

static int
fetch_some(struct bus *bus, const char *const *names, size_t count, int64_t deadline_ns,
    struct bus_commits *commits)
{
    struct offset_fetch_request_group groups[GROUPS_AT_ONCE];
    for (size_t i = 0; i < count; i++)
        groups[i] = (struct offset_fetch_request_group){
            .group_id = names[i], .member_epoch = -1, .topics_count = -1};
    struct offset_fetch_request request = {
        .group_id = "", .topics_count = -1, .groups = groups, .groups_count = (int32_t)count};
    struct conn_reply *reply;
    int rc = groups_call(bus, API_OFFSET_FETCH, &request, CONN_RESTART | CONN_AGAIN, fetch_error,
        deadline_ns, &reply);
    if (rc == 0)
        rc = replies_keep(&commits->replies, reply);
    if (rc < 0)
        return rc;
    const struct offset_fetch_response *answer = reply->message;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        bool is_told =
            i < (size_t)answer->groups_count && strcmp(answer->groups[i].group_id, names[i]) == 0;
        rc = is_told ? take_group(commits, &answer->groups[i]) : groups_no_answer(names[i]);
    }
    return rc;
}

/* ---- the ends of the partitions ------------------------------------------------------------- */

static int
by_query(const void *a, const void *b)
{
    const struct bus_offset_query *left = a, *right = b;
    return compare_places(left->topic, left->partition, right->topic, right->partition);
}

/* Each partition once, in order; how many. */
static size_t
list_places(const struct bus_commits *commits, struct bus_offset_query *queries)
{
    size_t count = 0;
    for (size_t i = 0; i < commits->count; i++)
        queries[i] = (struct bus_offset_query){
            .topic = commits->rows[i].topic, .partition = commits->rows[i].partition};
    qsort(queries, commits->count, sizeof *queries, by_query);
    for (size_t i = 0; i < commits->count; i++)
        if (count == 0 || by_query(&queries[count - 1], &queries[i]) != 0)
            queries[count++] = queries[i];
    return count;
}

static void
set_ends(struct bus_commit_state *row, const struct bus_offset_query *start,
    const struct bus_offset_query *end)
{
    row->error = start->error ? start->error : end->error;
    row->log_start_offset = row->error ? -1 : start->offset;
    row->end_offset = row->error ? -1 : end->offset;
    row->lag = end->offset > row->offset ? end->offset - row->offset : 0;
    if (row->error)
        row->lag = -1;
}

static int
find_ends(struct bus *bus, struct bus_commits *commits, int64_t deadline_ns)
{
    if (commits->count == 0)
        return 0;
    struct bus_offset_query *starts = calloc(commits->count, 2 * sizeof *starts);
    if (!starts)
        return err_no_memory();
    size_t count = list_places(commits, starts);
    struct bus_offset_query *ends = starts + count;
    for (size_t i = 0; i < count; i++) {
        starts[i].timestamp_ms = BUS_OFFSET_BEGINNING;
        ends[i] = starts[i];
        ends[i].timestamp_ms = BUS_OFFSET_END;
    }
    int rc = offsets_ask_all(bus, starts, 2 * count, deadline_ns);
    for (size_t i = 0; rc == 0 && i < commits->count; i++) {
        const struct bus_offset_query wanted = {
            .topic = commits->rows[i].topic, .partition = commits->rows[i].partition};
        const struct bus_offset_query *start =
            bsearch(&wanted, starts, count, sizeof *starts, by_query);
        set_ends(&commits->rows[i], start, start + count);
    }
    free(starts);
    return rc;
}

/* ---- the snapshot --------------------------------------------------------------------------- */

int
bus_commits_fetch(
    struct bus *bus, const char *const *groups, size_t count, struct bus_commits **commits)
{
    int64_t deadline_ns = bus_request_deadline_ns(bus);
    *commits = NULL;
    struct bus_commits *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_no_memory();
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < count; at += GROUPS_AT_ONCE) {
        size_t left = count - at;
        rc = fetch_some(
            bus, groups + at, left < GROUPS_AT_ONCE ? left : GROUPS_AT_ONCE, deadline_ns, fresh);
    }
    if (rc == 0)
        rc = find_ends(bus, fresh, deadline_ns);
    if (rc < 0)
        bus_commits_free(&fresh);
    *commits = fresh;
    return rc;
}

void
bus_commits_free(struct bus_commits **commits)
{
    struct bus_commits *old = *commits;
    *commits = NULL;
    if (!old)
        return;
    replies_fini(&old->replies);
    free(old->rows);
    free(old);
}

size_t
bus_commits_count(const struct bus_commits *commits)
{
    return commits->count;
}

int
bus_commits_get(const struct bus_commits *commits, size_t index, struct bus_commit_state *state)
{
    if (index >= commits->count)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "there are %zu rows", commits->count);
    *state = commits->rows[index];
    return 0;
}
