/* SPDX-License-Identifier: Apache-2.0 */
#include "api/offsets_link.h"
#include "api/coordinator.h"

#include "run/loop.h"

static int64_t
mono_ms(void *context)
{
    const struct api *api = context;
    return api->wiring.ops->mono_ms(api->wiring.context);
}

static int64_t
wall_ms(void *context)
{
    const struct api *api = context;
    return api->wiring.ops->wall_ms(api->wiring.context);
}

static int
get_log(void *context, const struct cluster_topic *topic, int32_t partition, struct log **log,
    void **hold)
{
    struct api *api = context;
    struct open_log *opened;
    int rc = logs_get(&api->logs, topic, partition, &opened);
    if (rc < 0)
        return rc;
    logs_pin(opened);
    *log = opened->log;
    *hold = opened;
    return 0;
}

static void
put_log(void *context, void *hold)
{
    (void)context;
    logs_unpin(hold);
}

static void
flush(void *context, void *hold, int64_t offset)
{
    (void)context;
    logs_flush(hold, offset);
}

static void
soon(void *context)
{
    struct api *api = context;
    if (api->news)
        loop_post_send(api->news);
}

/** While the offsets are being opened there are no groups yet. */
static enum offsets_usage
usage(void *context, const char *group, const char *topic)
{
    const struct api *api = context;
    return api->coordinator ? coordinator_usage(api->coordinator, group, topic) : OFFSETS_UNUSED;
}

static void
forgotten(void *context, const char *group)
{
    const struct api *api = context;
    if (api->coordinator)
        coordinator_forgotten(api->coordinator, group);
}

int
offsets_link_open(struct api *api)
{
    static const struct offsets_ops ops = {
        .mono_ms = mono_ms,
        .wall_ms = wall_ms,
        .get_log = get_log,
        .put_log = put_log,
        .flush = flush,
        .soon = soon,
        .usage = usage,
        .forgotten = forgotten,
    };
    struct offsets_options options = {
        .ops = &ops,
        .context = api,
        .controller = api->wiring.controller,
        .worker = api->wiring.flusher,
    };
    return offsets_open(&options, &api->offsets);
}
