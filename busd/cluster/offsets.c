/* SPDX-License-Identifier: Apache-2.0
 * Committed offsets: the whole, what is asked of it and what is told to it.
 */
#include "cluster/offsets.h"

#include "base/err.h"
#include "base/trace.h"
#include "cluster/offsets_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PREALLOCATE_BYTES = 1 << 20, /* of __consumer_offsets, which grows slowly and has many parts */
    CODE_INVALID = 0xfffd,       /* what Java makes of bytes that are no UTF-8 */
};

int64_t
offsets_life_ms(const struct offsets *o)
{
    return o->life_base_ms + o->given.ops->mono_ms(o->given.context) - o->opened_ms;
}

int64_t
offsets_setting(const struct offsets *o, enum broker_setting row)
{
    return settings_int(&o->given.controller->cluster.settings, row);
}

static const struct cluster_topic *
own_topic(const struct offsets *o)
{
    return cluster_topic(&o->given.controller->cluster, OFFSETS_TOPIC);
}

/* ---- which partition ------------------------------------------------------------------------ */

/** The next code point of UTF-8; `*at` moves behind it. */
static uint32_t
next_code(const char **at)
{
    const uint8_t *p = (const uint8_t *)*at;
    int more = p[0] < 0x80 ? 0 : (p[0] & 0xe0) == 0xc0 ? 1 : (p[0] & 0xf0) == 0xe0 ? 2 : 3;
    bool good = p[0] < 0x80 || (p[0] >= 0xc2 && p[0] <= 0xf4);
    uint32_t code = more == 0 ? p[0] : p[0] & (0x3fu >> more);
    int n = 1;
    while (good && n <= more && (p[n] & 0xc0) == 0x80)
        code = code << 6 | (p[n++] & 0x3f);
    *at += n;
    return good && n == more + 1 ? code : CODE_INVALID;
}

/** Java's String.hashCode(): over the UTF-16 of the text. */
static int32_t
java_hash(const char *text)
{
    uint32_t hash = 0;
    while (*text) {
        uint32_t code = next_code(&text);
        if (code > 0xffff) {
            code -= 0x10000;
            hash = hash * 31 + (0xd800 | code >> 10);
            code = 0xdc00 | (code & 0x3ff);
        }
        hash = hash * 31 + code;
    }
    return (int32_t)hash;
}

int32_t
offsets_partition(const struct offsets *o, const char *group)
{
    int32_t hash = java_hash(group);
    if (o->part_count == 0 || hash == INT32_MIN)
        return 0;
    return (hash < 0 ? -hash : hash) % o->part_count;
}

int
offsets_ready(const struct offsets *o, const char *group)
{
    if (o->part_count == 0)
        return 0;
    const struct offsets_part *part = &o->parts[offsets_partition(o, group)];
    if (part->ready)
        return 0;
    if (part->failed)
        return err_set(BUS_ERR_COORDINATOR_NOT_AVAILABLE,
            OFFSETS_TOPIC "-%" PRId32 " is offline: see busd's trace, and restart it", part->index);
    return err_set(BUS_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        OFFSETS_TOPIC "-%" PRId32 " cannot be read yet", part->index);
}

/* ---- reading -------------------------------------------------------------------------------- */

static struct offsets_position
position_of(const struct offsets_entry *entry)
{
    return (struct offsets_position){.offset = entry->offset,
        .leader_epoch = entry->leader_epoch,
        .metadata = entry->metadata ? entry->metadata : "",
        .commit_ms = entry->commit_ms};
}

bool
offsets_find(const struct offsets *o, const char *group, const char *topic, int32_t partition,
    struct offsets_position *position)
{
    const struct offsets_entry *entry = offsets_entry_named(o, group, topic, partition);
    if (!entry || entry->topic->dead)
        return false;
    *position = position_of(entry);
    return true;
}

size_t
offsets_count(const struct offsets *o, const char *name)
{
    const struct offsets_group *group = offsets_group_find(o, name);
    return group ? group->entry_count : 0;
}

static int
compare_entries(const void *a, const void *b)
{
    const struct offsets_entry *x = *(const struct offsets_entry *const *)a;
    const struct offsets_entry *y = *(const struct offsets_entry *const *)b;
    int order = strcmp(x->topic->name, y->topic->name);
    return order ? order : (x->partition > y->partition) - (x->partition < y->partition);
}

int
offsets_each(const struct offsets *o, const char *name,
    int (*each)(void *context, const char *topic, int32_t partition,
        const struct offsets_position *position),
    void *context)
{
    const struct offsets_group *group = offsets_group_find(o, name);
    if (!group || group->entry_count == 0)
        return 0;
    const struct offsets_entry **sorted =
        calloc(group->entry_count, sizeof(const struct offsets_entry *));
    if (!sorted)
        return err_no_memory();
    size_t count = 0;
    for (const struct offsets_entry *entry = group->entries; entry; entry = entry->next)
        if (!entry->topic->dead)
            sorted[count++] = entry;
    qsort(sorted, count, sizeof(const struct offsets_entry *), compare_entries);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct offsets_position position = position_of(sorted[i]);
        rc = each(context, sorted[i]->topic->name, sorted[i]->partition, &position);
    }
    free(sorted);
    return rc;
}

bool
offsets_known(const struct offsets *o, const char *name)
{
    const struct offsets_group *group = offsets_group_find(o, name);
    return group && (group->metadata || group->entries);
}

static int
visit(const struct offsets_group *group, offsets_group_visit *each, void *context)
{
    struct group_metadata_value metadata;
    struct arena arena;
    int rc = -1;
    arena_init(&arena, OFFSETS_ARENA_BYTES_MAX);
    if (group->metadata)
        rc = offsets_metadata_read(group->metadata, group->metadata_bytes, &metadata, &arena);
    if (rc < 0 && group->metadata)
        trace(TRACE_WARNING, "group %s: %s", group->name, err_text());
    rc = each(context, group->name, rc == 0 ? &metadata : NULL);
    arena_fini(&arena);
    return rc;
}

int
offsets_each_group(const struct offsets *o, offsets_group_visit *each, void *context)
{
    int rc = 0;
    for (size_t i = 0; i < o->group_buckets && rc == 0; i++)
        for (const struct offsets_group *group = o->groups[i]; group && rc == 0;
             group = group->chain)
            if (group->metadata || group->entries)
                rc = visit(group, each, context);
    return rc;
}

int
offsets_group(const struct offsets *o, const char *name, offsets_group_visit *each, void *context)
{
    const struct offsets_group *group = offsets_group_find(o, name);
    return group && (group->metadata || group->entries) ? visit(group, each, context) : 0;
}

int
offsets_each_name(
    const struct offsets *o, int (*each)(void *context, const char *group), void *context)
{
    int rc = 0;
    for (size_t i = 0; i < o->group_buckets && rc == 0; i++)
        for (const struct offsets_group *group = o->groups[i]; group && rc == 0;
             group = group->chain)
            if (group->metadata || group->entries)
                rc = each(context, group->name);
    return rc;
}

/* ---- changes -------------------------------------------------------------------------------- */

/** Makes __consumer_offsets. The listener takes it into use. */
static int
make_topic(struct offsets *o)
{
    char count[24], segment[24], reserve[24];
    snprintf(segment, sizeof segment, "%" PRId64,
        offsets_setting(o, BROKER_OFFSETS_TOPIC_SEGMENT_BYTES));
    snprintf(reserve, sizeof reserve, "%d", PREALLOCATE_BYTES);
    snprintf(
        count, sizeof count, "%" PRId64, offsets_setting(o, BROKER_OFFSETS_TOPIC_NUM_PARTITIONS));
    struct command_setting settings[] = {
        {"cleanup.policy", "compact", SETTING_OP_SET},
        {"segment.bytes", segment, SETTING_OP_SET},
        {"segment.preallocate.bytes", reserve, SETTING_OP_SET},
    };
    struct command command = {
        .type = COMMAND_TOPIC_CREATE,
        .name = OFFSETS_TOPIC,
        .count = (int32_t)strtol(count, NULL, 10),
        .replicas = {{controller_node(o->given.controller)}, 1},
        .settings = settings,
        .setting_count = sizeof settings / sizeof settings[0],
    };
    int rc = controller_new_id(&command.id);
    if (rc == 0)
        rc = controller_propose(o->given.controller, &command);
    return rc;
}

/** The partition of a group, ready to take changes. */
static int
part_for(struct offsets *o, const char *group, struct offsets_part **part)
{
    if (o->part_count == 0 && make_topic(o) < 0)
        return err_prefix(
            err_set(BUS_ERR_COORDINATOR_NOT_AVAILABLE, "%s", err_text()), "making " OFFSETS_TOPIC);
    if (o->part_count == 0)
        return err_set(BUS_ERR_COORDINATOR_NOT_AVAILABLE, OFFSETS_TOPIC " is not there");
    int rc = offsets_ready(o, group);
    *part = &o->parts[offsets_partition(o, group)];
    return rc;
}

/** Queues the job or, after a failure, frees it. */
static int
submit(struct offsets_job *made, int rc, struct offsets_job **job)
{
    if (rc < 0) {
        offsets_job_free(made);
        return rc;
    }
    offsets_job_queue(made);
    if (job)
        *job = made;
    return 0;
}

int
offsets_commit(struct offsets *o, const struct offsets_commit *commit,
    const struct offsets_waiter *waiter, struct offsets_job **job)
{
    struct offsets_part *part;
    int rc = part_for(o, commit->group, &part);
    struct offsets_job *made = rc == 0 ? offsets_job_new(part, waiter) : NULL;
    if (!made)
        return rc < 0 ? rc : -BUS_ERR_NO_MEMORY;
    int64_t wall_ms = o->given.ops->wall_ms(o->given.context);
    for (size_t i = 0; i < commit->count && rc == 0; i++)
        rc = offsets_put_commit(made, commit, &commit->items[i], wall_ms);
    return submit(made, rc, job);
}

int
offsets_delete(struct offsets *o, const struct offsets_commit *wanted,
    const struct offsets_waiter *waiter, struct offsets_job **job)
{
    struct offsets_part *part;
    int rc = part_for(o, wanted->group, &part);
    struct offsets_job *made = rc == 0 ? offsets_job_new(part, waiter) : NULL;
    if (!made)
        return rc < 0 ? rc : -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < wanted->count && rc == 0; i++)
        rc = offsets_put_removal(
            made, wanted->group, wanted->items[i].topic, wanted->items[i].partition);
    return submit(made, rc, job);
}

int
offsets_delete_group(struct offsets *o, const char *name, const struct offsets_waiter *waiter,
    struct offsets_job **job)
{
    struct offsets_part *part;
    int rc = part_for(o, name, &part);
    struct offsets_job *made = rc == 0 ? offsets_job_new(part, NULL) : NULL;
    if (!made)
        return rc < 0 ? rc : -BUS_ERR_NO_MEMORY;
    const struct offsets_group *group = offsets_group_find(o, name);
    const struct offsets_entry *entry = group ? group->entries : NULL;
    for (; entry && rc == 0; entry = entry->next) {
        rc = offsets_put_removal(made, name, entry->topic->name, entry->partition);
        if (rc == 0 && made->count == OFFSETS_RECORDS_AT_ONCE) {
            offsets_job_queue(made);
            made = offsets_job_new(part, NULL);
            if (!made)
                return -BUS_ERR_NO_MEMORY;
        }
    }
    if (rc == 0)
        rc = offsets_put_group(made, name, NULL);
    if (waiter)
        made->waiter = *waiter;
    return submit(made, rc, job);
}

int
offsets_store_group(struct offsets *o, const char *group,
    const struct group_metadata_value *metadata, const struct offsets_waiter *waiter,
    struct offsets_job **job)
{
    struct offsets_part *part;
    int rc = part_for(o, group, &part);
    struct offsets_job *made = rc == 0 ? offsets_job_new(part, waiter) : NULL;
    if (!made)
        return rc < 0 ? rc : -BUS_ERR_NO_MEMORY;
    struct group_metadata_value stored = *metadata;
    if (stored.current_state_timestamp < 0)
        stored.current_state_timestamp = o->given.ops->wall_ms(o->given.context);
    rc = offsets_put_group(made, group, &stored);
    return submit(made, rc, job);
}

void
offsets_forget_waiter(struct offsets_job *job)
{
    job->waiter.done = NULL;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void
run_parts(struct offsets *o)
{
    for (int32_t i = 0; i < o->part_count; i++)
        offsets_part_run(&o->parts[i]);
}

/** The topic of the offsets came into being. */
static void
take_topic(struct offsets *o, const struct cluster_topic *topic)
{
    if (offsets_parts_open(o, topic) < 0) {
        trace(TRACE_ERROR, OFFSETS_TOPIC ": %s", err_text());
        return;
    }
    run_parts(o);
}

/** The topic of the offsets was deleted, and all that was in it. */
static void
lose_topic(struct offsets *o)
{
    for (int32_t i = 0; i < o->part_count; i++)
        offsets_rows_forget(o, i);
    err_set(BUS_ERR_COORDINATOR_NOT_AVAILABLE, OFFSETS_TOPIC " was deleted");
    offsets_parts_close(o, -BUS_ERR_COORDINATOR_NOT_AVAILABLE);
}

static void
changed(void *context, const struct changes *changes)
{
    struct offsets *o = context;
    if (!o->listening)
        return;
    bool own = changes->topic && strcmp(changes->topic->name, OFFSETS_TOPIC) == 0;
    if (changes->type == COMMAND_TOPIC_CREATE && own)
        take_topic(o, changes->topic);
    else if (changes->type == COMMAND_TOPIC_DELETE && own)
        lose_topic(o);
    else if (changes->type == COMMAND_TOPIC_DELETE)
        offsets_topic_deleted(o, changes->topic);
}

void
offsets_run(struct offsets *o)
{
    if (o->running)
        return;
    o->running = true;
    run_parts(o);
    offsets_expire_run(o);
    offsets_rows_run(o);
    o->running = false;
}

static void
earlier(int64_t *deadline, int64_t other)
{
    if (other >= 0 && (*deadline < 0 || other < *deadline))
        *deadline = other;
}

int64_t
offsets_deadline_ms(const struct offsets *o)
{
    int64_t deadline = -1;
    for (int32_t i = 0; i < o->part_count; i++)
        earlier(&deadline, offsets_part_deadline_ms(&o->parts[i]));
    if (!o->saving.running && !o->saving.broken)
        earlier(&deadline, o->saving.due_ms);
    if (o->group_count > 0)
        earlier(&deadline, o->check_ms);
    return deadline;
}

static int
load(struct offsets *o)
{
    o->topics = calloc(OFFSETS_TOPIC_BUCKETS, sizeof(struct offsets_topic *));
    if (!o->topics)
        return err_no_memory();
    const struct cluster_topic *topic = own_topic(o);
    int rc = topic ? offsets_parts_open(o, topic) : 0;
    if (rc == 0)
        rc = offsets_rows_load(o);
    return rc;
}

static void
release(struct offsets *o)
{
    offsets_parts_close(o, -BUS_ERR_COORDINATOR_NOT_AVAILABLE);
    if (o->topics)
        offsets_state_clear(o);
    free(o->topics);
    offsets_rows_fini(o);
    arena_fini(&o->arena);
    buf_fini(&o->scratch);
    free(o);
}

int
offsets_open(const struct offsets_options *options, struct offsets **offsets)
{
    struct offsets *o = calloc(1, sizeof *o);
    if (!o)
        return err_no_memory();
    o->given = *options;
    o->saving.due_ms = -1;
    o->opened_ms = options->ops->mono_ms(options->context);
    o->check_ms = o->opened_ms + offsets_setting(o, BROKER_OFFSETS_RETENTION_CHECK_INTERVAL_MS);
    buf_init(&o->scratch);
    arena_init(&o->arena, OFFSETS_ARENA_BYTES_MAX);
    int rc = load(o);
    if (rc < 0) {
        release(o);
        return err_prefix(rc, "committed offsets");
    }
    run_parts(o);
    o->listening = true;
    o->listener = (struct controller_listener){.changed = changed, .context = o};
    controller_listen(options->controller, &o->listener);
    *offsets = o;
    return 0;
}

void
offsets_close(struct offsets **offsets)
{
    struct offsets *o = *offsets;
    if (!o)
        return;
    for (int32_t i = 0; i < o->part_count; i++)
        offsets_part_settle(&o->parts[i]);
    offsets_rows_settle(o);
    err_set(BUS_ERR_COORDINATOR_NOT_AVAILABLE, "busd is ending");
    release(o);
    *offsets = NULL;
}
