/* SPDX-License-Identifier: Apache-2.0 */
#include "client/commit.h"

#include "base/clock.h"
#include "base/err.h"
#include "client/bus.h"
#include "client/membership.h"

#include <stdlib.h>
#include <string.h>

enum { COMMIT_BYTES_MAX = 64 << 20 };

/* A commit under way, or answered and not yet told. */
struct commit {
    struct commit *next;
    struct bus_consumer *consumer;
    uint64_t call;
    int32_t generation;
    bus_commit_done *done; /* may be NULL */
    void *context;
    _Atomic bool answered; /* what follows is there */
    int rc;                /* without a reply: why, and in words */
    char text[ERR_TEXT_BYTES_MAX];
    struct conn_reply *reply; /* owned */
    size_t count;
    struct bus_assignment offsets[]; /* sorted; the topics' names lie behind it */
};

/* A request and what it consists of. */
struct draft {
    struct offset_commit_request request;
    struct arena arena;
    char id[MEMBER_ID_BYTES_MAX];
};

/* ---- the request ----------------------------------------------------------------------------- */

static int
by_partition(const void *a, const void *b)
{
    const struct bus_assignment *left = a, *right = b;
    int order = strcmp(left->topic, right->topic);
    if (order != 0)
        return order;
    return left->partition < right->partition ? -1 : left->partition > right->partition;
}

/* The list, sorted, by topics. */
static int
fill_request(struct offset_commit_request *request, const struct bus_assignment *sorted,
    size_t count, struct arena *arena)
{
    struct offset_commit_request_topic *topics = arena_array(arena, count, sizeof *topics);
    struct offset_commit_request_topic_partition *partitions =
        arena_array(arena, count, sizeof *partitions);
    if (!topics || !partitions)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        partitions[i] =
            (struct offset_commit_request_topic_partition){.partition_index = sorted[i].partition,
                .committed_offset = sorted[i].offset,
                .committed_leader_epoch = -1,
                .committed_metadata = ""};
        if (i == 0 || strcmp(sorted[i].topic, sorted[i - 1].topic) != 0)
            topics[request->topics_count++] = (struct offset_commit_request_topic){
                .name = sorted[i].topic, .partitions = &partitions[i]};
        topics[request->topics_count - 1].partitions_count++;
    }
    request->topics = topics;
    return 0;
}

/* Sorts the list and makes the request of it; draft_fini() in any case. */
static int
draft_init(struct draft *draft, const struct bus_consumer *consumer, struct bus_assignment *list,
    size_t count)
{
    const char *instance = consumer->settings.group_instance_id;
    arena_init(&draft->arena, COMMIT_BYTES_MAX);
    draft->id[0] = '\0';
    draft->request = (struct offset_commit_request){.group_id = consumer->settings.group_id,
        .generation_id_or_member_epoch = -1,
        .member_id = draft->id,
        .retention_time_ms = -1};
    if (consumer->membership) {
        membership_identity(
            consumer->membership, draft->id, &draft->request.generation_id_or_member_epoch);
        draft->request.group_instance_id = *instance ? instance : NULL;
        /* Without a generation it would pass for somebody from outside. */
        if (draft->request.generation_id_or_member_epoch < 0)
            return err_set(BUS_ERR_UNKNOWN_MEMBER_ID,
                "the consumer is not in group %s at this moment: go on with bus_poll()",
                draft->request.group_id);
    }
    qsort(list, count, sizeof *list, by_partition);
    return fill_request(&draft->request, list, count, &draft->arena);
}

static void
draft_fini(struct draft *draft)
{
    arena_fini(&draft->arena);
}

static int
check_group(const struct bus_consumer *consumer)
{
    return *consumer->settings.group_id
               ? 0
               : err_set(BUS_ERR_INVALID_GROUP_ID, "the consumer has no group: set group.id");
}

/* A member speaks for its own partitions only. */
static int
check_offsets(struct bus_consumer *consumer, const struct bus_assignment *offsets, size_t count)
{
    int rc = check_group(consumer);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct bus_assignment *one = &offsets[i];
        struct part *part;
        if (one->offset < 0)
            rc = err_set(BUS_ERR_INVALID_ARGUMENT, "%s-%d: %lld is not an offset to commit",
                one->topic, one->partition, (long long)one->offset);
        else if (consumer->membership)
            rc = consumer_find_part(consumer, one->topic, one->partition, &part);
    }
    return rc;
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* The first error of the answer. */
static int16_t
error_of(const struct offset_commit_response *answer, const char **topic, int32_t *partition)
{
    for (int32_t i = 0; i < answer->topics_count; i++) {
        for (int32_t j = 0; j < answer->topics[i].partitions_count; j++) {
            *topic = answer->topics[i].name;
            *partition = answer->topics[i].partitions[j].partition_index;
            if (answer->topics[i].partitions[j].error_code != 0)
                return answer->topics[i].partitions[j].error_code;
        }
    }
    return 0;
}

/* What the answer to a commit of `generation` says. */
static int
judge(
    struct bus_consumer *consumer, int32_t generation, const struct offset_commit_response *answer)
{
    const char *topic = "", *group = consumer->settings.group_id;
    int32_t partition = -1;
    int16_t error = error_of(answer, &topic, &partition);
    if (consumer->membership)
        error = membership_commit_answered(consumer->membership, generation, error);
    if (error == BUS_ERR_REBALANCE_IN_PROGRESS)
        return err_set(BUS_ERR_REBALANCE_IN_PROGRESS,
            "group %s is being rebalanced: go on with bus_poll(), then commit again", group);
    return err_prefix(conn_refused(error, NULL), "group %s, %s-%d", group, topic, partition);
}

/* Of parts that are still there, what is stored now. */
static void
note_stored(struct bus_consumer *consumer, const struct bus_assignment *offsets, size_t count)
{
    for (size_t i = 0; i < consumer->count; i++) {
        struct part *part = consumer->parts[i];
        struct bus_assignment key = {part->topic, part->partition, 0};
        const struct bus_assignment *found =
            bsearch(&key, offsets, count, sizeof key, by_partition);
        if (found)
            part->committed = found->offset;
    }
}

/* ---- with waiting ---------------------------------------------------------------------------- */

static int
commit_list(struct bus_consumer *consumer, struct bus_assignment *list, size_t count,
    unsigned flags, int64_t deadline_ns)
{
    struct draft draft;
    struct conn_reply *reply = NULL;
    if (count == 0)
        return 0;
    int rc = draft_init(&draft, consumer, list, count);
    if (rc == 0)
        rc = err_prefix(conn_call(consumer->bus->conn, API_OFFSET_COMMIT, &draft.request,
                            flags | CONN_AGAIN, deadline_ns, &reply),
            "group %s", draft.request.group_id);
    if (rc == 0)
        rc = judge(consumer, draft.request.generation_id_or_member_epoch, reply->message);
    if (rc == 0)
        note_stored(consumer, list, count);
    conn_reply_free(&reply);
    draft_fini(&draft);
    return rc;
}

/* Positions of the parts that have moved since they were stored. */
static size_t
list_moved(struct part *const *parts, size_t count, struct bus_assignment *list)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        if (parts[i]->position != parts[i]->committed && !parts[i]->lacks_position &&
            !parts[i]->gone)
            list[used++] = (struct bus_assignment){.topic = parts[i]->topic,
                .partition = parts[i]->partition,
                .offset = parts[i]->position};
    return used;
}

int
commit_parts(struct bus_consumer *consumer, struct part *const *parts, size_t count, unsigned flags,
    int64_t deadline_ns)
{
    struct bus_assignment *list = calloc(count + 1, sizeof *list);
    if (!list)
        return err_no_memory();
    int rc = commit_list(consumer, list, list_moved(parts, count, list), flags, deadline_ns);
    free(list);
    return rc;
}

int
bus_commit_sync(struct bus_consumer *consumer)
{
    int rc = check_group(consumer);
    if (rc == 0)
        rc = commit_parts(consumer, consumer->parts, consumer->count, CONN_RESTART,
            bus_request_deadline_ns(consumer->bus));
    return rc;
}

int
bus_commit_offsets(
    struct bus_consumer *consumer, const struct bus_assignment *offsets, size_t count)
{
    int rc = check_offsets(consumer, offsets, count);
    if (rc < 0)
        return rc;
    struct bus_assignment *copy = calloc(count + 1, sizeof *copy);
    if (!copy)
        return err_no_memory();
    if (count > 0)
        memcpy(copy, offsets, count * sizeof *copy);
    rc = commit_list(consumer, copy, count, CONN_RESTART, bus_request_deadline_ns(consumer->bus));
    free(copy);
    return rc;
}

/* ---- without waiting ------------------------------------------------------------------------- */

/* Runs on the connection's thread. */
static void
on_answer(void *context, int rc, struct conn_reply *reply)
{
    struct commit *commit = context;
    commit->rc = rc;
    commit->reply = reply;
    if (rc < 0)
        memcpy(commit->text, err_text(), sizeof commit->text);
    /* The commit may be gone as soon as it is seen to be answered. */
    struct bus_consumer *consumer = commit->consumer;
    /* Release: pairs with the acquire of is_answered(). */
    atomic_store_explicit(&commit->answered, true, memory_order_release);
    wait_word_wake(&consumer->group_word);
}

static bool
is_answered(const struct commit *commit)
{
    return atomic_load_explicit(&commit->answered, memory_order_acquire);
}

static struct commit *
commit_new(struct bus_consumer *consumer, const struct bus_assignment *offsets, size_t count)
{
    size_t bytes = sizeof(struct commit) + count * sizeof *offsets;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(offsets[i].topic) + 1;
    struct commit *commit = calloc(1, bytes);
    if (!commit) {
        err_no_memory();
        return NULL;
    }
    char *name = (char *)&commit->offsets[count];
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(offsets[i].topic) + 1;
        memcpy(name, offsets[i].topic, n);
        commit->offsets[i] = offsets[i];
        commit->offsets[i].topic = name;
        name += n;
    }
    commit->consumer = consumer;
    commit->count = count;
    return commit;
}

static int
send_commit(struct commit *commit)
{
    struct draft draft;
    struct bus_consumer *consumer = commit->consumer;
    int rc = draft_init(&draft, consumer, commit->offsets, commit->count);
    commit->generation = draft.request.generation_id_or_member_epoch;
    if (rc == 0)
        rc = err_prefix(conn_start(consumer->bus->conn, API_OFFSET_COMMIT, &draft.request,
                            on_answer, commit, &commit->call),
            "group %s", draft.request.group_id);
    draft_fini(&draft);
    return rc;
}

/* Takes the list for the call. With nothing to store it is answered at once. */
static int
begin_list(struct bus_consumer *consumer, const struct bus_assignment *list, size_t count,
    bus_commit_done *done, void *context)
{
    struct commits *commits = &consumer->commits;
    if (commits->count >= COMMITS_UNDER_WAY_MAX)
        return err_set(
            BUS_ERR_QUEUE_FULL, "%d commits are under way: go on with bus_poll()", commits->count);
    struct commit *commit = commit_new(consumer, list, count);
    if (!commit)
        return -BUS_ERR_NO_MEMORY;
    commit->done = done;
    commit->context = context;
    int rc = 0;
    if (count > 0)
        rc = send_commit(commit);
    else
        on_answer(commit, 0, NULL);
    if (rc < 0) {
        free(commit);
        return rc;
    }
    if (commits->last)
        commits->last->next = commit;
    else
        commits->first = commit;
    commits->last = commit;
    commits->count++;
    return 0;
}

int
commit_begin(struct bus_consumer *consumer, struct part *const *parts, size_t count,
    bus_commit_done *done, void *context)
{
    struct bus_assignment *list = calloc(count + 1, sizeof *list);
    if (!list)
        return err_no_memory();
    size_t moved = list_moved(parts, count, list);
    int rc = moved > 0 || done ? begin_list(consumer, list, moved, done, context) : 0;
    free(list);
    return rc;
}

int
bus_commit_async(struct bus_consumer *consumer, const struct bus_assignment *offsets, size_t count,
    bus_commit_done *done, void *context)
{
    int rc = check_offsets(consumer, offsets, offsets ? count : 0);
    if (rc < 0)
        return rc;
    return offsets ? begin_list(consumer, offsets, count, done, context)
                   : commit_begin(consumer, consumer->parts, consumer->count, done, context);
}

/* Ends the first commit of the list. */
static void
tell_first(struct bus_consumer *consumer)
{
    struct commits *commits = &consumer->commits;
    struct commit *commit = commits->first;
    commits->first = commit->next;
    if (!commits->first)
        commits->last = NULL;
    commits->count--;
    /* The connection's thread may still be on its way out of on_answer(). */
    conn_cancel(consumer->bus->conn, commit->call);
    int rc = commit->rc;
    if (rc < 0)
        err_set((enum bus_err) - rc, "%s", commit->text);
    else if (commit->reply)
        rc = judge(consumer, commit->generation, commit->reply->message);
    if (rc == 0)
        note_stored(consumer, commit->offsets, commit->count);
    if (commit->done)
        commit->done(commit->context, consumer, rc, commit->offsets, commit->count);
    conn_reply_free(&commit->reply);
    free(commit);
}

void
commits_tell(struct bus_consumer *consumer)
{
    while (consumer->commits.first && is_answered(consumer->commits.first))
        tell_first(consumer);
}

void
commits_finish(struct bus_consumer *consumer, int64_t deadline_ns)
{
    struct wait_set set;
    while (consumer->commits.first) {
        struct commit *first = consumer->commits.first;
        wait_init(&set);
        wait_add_word(&set, &consumer->group_word);
        wait_begin(&set);
        if (is_answered(first)) {
            tell_first(consumer);
        } else if (clock_mono_ns() < deadline_ns) {
            wait_sleep(&set, deadline_ns);
        } else {
            conn_cancel(consumer->bus->conn, first->call);
            if (!is_answered(first))
                on_answer(first,
                    err_set(BUS_ERR_REQUEST_TIMED_OUT, "busd did not answer the commit in time"),
                    NULL);
        }
    }
}
