/* SPDX-License-Identifier: Apache-2.0
 * The api as a whole: set up, told of changes, taken down.
 */
#include "api/api.h"
#include "api/attach.h"
#include "api/coordinator.h"
#include "api/offsets_link.h"
#include "api/producing.h"
#include "api/request.h"
#include "base/check.h"
#include "base/err.h"
#include "run/loop.h"

#include <stdlib.h>

/** Any thread: a watched log has moved, or a flush has ended. */
static void
tell_loop(void *context)
{
    struct api *api = context;
    loop_post_send(api->news);
}

static void
tick(void *context)
{
    api_tick(context);
}

static void
apply(void *context, const struct changes *changes)
{
    struct api *api = context;
    switch (changes->type) {
    case COMMAND_TOPIC_DELETE:
        producings_delete(api->producings, changes->topic);
        logs_delete(&api->logs, changes->topic);
        if (api->news)
            tell_loop(api); /* those who wait on the topic are told */
        return;
    case COMMAND_TOPIC_ALTER:
        logs_configure(&api->logs, changes->topic);
        attach_review(api);
        return;
    case COMMAND_BROKER_ALTER:
        logs_configure(&api->logs, NULL);
        coordinator_configure(api->coordinator);
        attach_review(api);
        return;
    case COMMAND_ACL_ADD:
    case COMMAND_ACL_REMOVE:
        attach_review(api);
        return;
    default:
        return;
    }
}

static int
start(struct api *api)
{
    struct api_wiring *w = &api->wiring;
    int rc = 0;
    if (w->loop)
        rc = loop_post_new(w->loop, tick, api, &api->news);
    if (rc == 0 && w->loop)
        rc = watcher_start(tell_loop, api, &api->watcher);
    if (rc < 0)
        return rc;
    api->logs = (struct logs){
        .store = w->store,
        .flusher = w->flusher,
        .watcher = api->watcher,
        .cluster = &w->controller->cluster,
        .removals =
            {
                .store = w->store,
                .controller = w->controller,
                .remover = w->remover,
                .news = api->news ? tell_loop : NULL,
                .context = api,
            },
        .news = tell_loop,
        .context = api,
    };
    rc = logs_init(&api->logs);
    if (rc == 0)
        rc = offsets_link_open(api);
    if (rc == 0)
        rc = producings_new(api, &api->producings);
    return rc < 0 ? rc : coordinator_new(api, &api->coordinator);
}

int
api_new(const struct api_wiring *wiring, struct api **made)
{
    MUST(wiring->loop || (!wiring->flusher && !wiring->remover));
    struct api *api = calloc(1, sizeof *api);
    if (!api)
        return err_no_memory();
    api->wiring = *wiring;
    api->armed_ms = -1;
    api->review_ms = -1;
    api->started_ms = wiring->ops->mono_ms(wiring->context);
    int rc = start(api);
    if (rc < 0) {
        api_free(&api);
        return rc;
    }
    api->listener = (struct controller_listener){.changed = apply, .context = api};
    controller_listen(wiring->controller, &api->listener);
    *made = api;
    return 0;
}

void
api_free(struct api **api)
{
    if (!*api)
        return;
    MUST(!(*api)->parked);
    offsets_close(&(*api)->offsets);
    producings_free(&(*api)->producings);
    coordinator_free(&(*api)->coordinator);
    logs_fini(&(*api)->logs);
    watcher_stop(&(*api)->watcher);
    if ((*api)->news)
        loop_post_free(&(*api)->news);
    free(*api);
    *api = NULL;
}

void
api_kicked(struct api *api, struct api_peer *peer)
{
    attach_make_room(&api->wiring, peer);
}
