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

/** Writes the command and the row that it changes. */
static int
store(struct controller *controller, const struct command *command, const struct changes *changes)
{
    struct buf bytes, value;
    struct cluster_row row;
    buf_init(&bytes);
    buf_init(&value);
    int rc = command_encode(command, &bytes);
    if (rc == 0)
        rc = cluster_row(changes, &value, &row);
    if (rc == 0) {
        struct meta_row stored = {row.key, row.value, row.key_bytes, row.value_bytes};
        struct meta_change change = {bytes.data, bytes.length, &stored, 1};
        int64_t index;
        rc = meta_commit(controller->meta, &change, &index);
    }
    buf_fini(&bytes);
    buf_fini(&value);
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
