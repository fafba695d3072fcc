/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/controller.h"

#include "base/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

static int
load(void *context, const struct meta_row *from)
{
    struct cluster_row row = {.value = from->value, .value_bytes = from->value_bytes};
    if (from->key_bytes > sizeof row.key)
        return err_set(
            BUS_ERR_CORRUPT_MESSAGE, "a metadata row with a key of %zu bytes", from->key_bytes);
    memcpy(row.key, from->key, from->key_bytes);
    row.key_bytes = from->key_bytes;
    return cluster_load(context, &row);
}

int
controller_open(struct controller *controller, struct meta *meta, const struct settings *fixed)
{
    *controller = (struct controller){.meta = meta};
    cluster_init(&controller->cluster, fixed);
    int rc = meta_rows(meta, load, &controller->cluster);
    if (rc < 0)
        cluster_fini(&controller->cluster);
    return rc;
}

void
controller_close(struct controller *controller)
{
    cluster_fini(&controller->cluster);
    *controller = (struct controller){0};
}

void
controller_listen(struct controller *controller, struct controller_listener *listener)
{
    struct controller_listener **at = &controller->listeners;
    while (*at)
        at = &(*at)->next;
    listener->next = NULL;
    *at = listener;
}

int
controller_check(struct controller *controller, const struct command *command)
{
    struct changes changes;
    int rc = cluster_prepare(&controller->cluster, command, &changes);
    if (rc == 0)
        changes_fini(&changes);
    return rc;
}

/** Writes the command and the row that it changes; with a deletion, what is left to remove. */
static int
store(struct controller *controller, const struct command *command, const struct changes *changes)
{
    struct buf bytes, value, removal;
    struct cluster_row row;
    buf_init(&bytes);
    buf_init(&value);
    buf_init(&removal);
    int rc = command_encode(command, &bytes);
    if (rc == 0)
        rc = cluster_row(changes, &value, &row);
    if (rc == 0 && changes->type == COMMAND_TOPIC_DELETE) {
        struct removal_note note = removal_note_of(changes->topic);
        rc = removal_note_pack(&note, &removal);
    }
    if (rc == 0) {
        struct meta_row stored = {row.key, row.value, row.key_bytes, row.value_bytes};
        struct meta_row noted = {&command->id, removal.data, sizeof command->id, removal.length};
        struct meta_change change = {.command = bytes.data,
            .command_bytes = bytes.length,
            .rows = &stored,
            .row_count = 1,
            .removal = removal.length > 0 ? &noted : NULL};
        int64_t index;
        rc = meta_commit(controller->meta, &change, &index);
    }
    buf_fini(&bytes);
    buf_fini(&value);
    buf_fini(&removal);
    return rc;
}

int
controller_propose(struct controller *controller, const struct command *command)
{
    struct changes changes;
    int rc = cluster_prepare(&controller->cluster, command, &changes);
    if (rc < 0)
        return rc;
    rc = store(controller, command, &changes);
    if (rc == 0) {
        cluster_commit(&controller->cluster, &changes);
        for (struct controller_listener *at = controller->listeners; at; at = at->next)
            at->changed(at->context, &changes);
    }
    changes_fini(&changes);
    return rc;
}

struct removal_visit {
    int (*each)(void *context, const struct removal_note *note);
    void *context;
};

static int
visit_removal(void *context, const struct meta_row *row)
{
    const struct removal_visit *visit = context;
    struct removal_note note;
    struct uuid id;
    if (row->key_bytes != sizeof id)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the note of a removal is damaged");
    memcpy(&id, row->key, sizeof id);
    int rc = removal_note_unpack(&id, row->value, row->value_bytes, &note);
    return rc < 0 ? rc : visit->each(visit->context, &note);
}

int
controller_removals(struct controller *controller,
    int (*each)(void *context, const struct removal_note *note), void *context)
{
    struct removal_visit visit = {each, context};
    return meta_removals(controller->meta, visit_removal, &visit);
}

int
controller_removed(struct controller *controller, const struct uuid *id)
{
    return meta_removed(controller->meta, id->b);
}

int32_t
controller_node(const struct controller *controller)
{
    return meta_identity(controller->meta)->node_id;
}

int
controller_new_id(struct uuid *id)
{
    static const struct uuid none;
    do {
        ssize_t got = getrandom(id, sizeof *id, 0);
        if (got != (ssize_t)sizeof *id)
            return err_sys(errno, "getrandom");
    } while (memcmp(id, &none, sizeof none) == 0);
    return 0;
}
