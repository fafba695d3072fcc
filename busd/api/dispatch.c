/* SPDX-License-Identifier: Apache-2.0
 * From a frame to its handler, and the parked requests.
 */
#include "api/attach.h"
#include "api/coordinator.h"
#include "api/producing.h"
#include "api/sasl.h"
#include "api/table.h"
#include "base/check.h"
#include "base/err.h"
#include "cluster/offsets.h"

#include <stdlib.h>

enum { ARMED_FIRED = -2 }; /* whatever was asked for has come: ask again in any case */

static int
refuse(const struct api_request *r)
{
    return err_set(BUS_ERR_UNSUPPORTED_VERSION,
        "request with API key %d, version %d is not served on this door", r->header.api_key,
        r->header.api_version);
}

/** Whether the request is one of those by which a client says who it is. */
static bool
is_for_strangers(const struct api_request *r)
{
    return r->header.api_key == API_API_VERSIONS || r->header.api_key == API_SASL_HANDSHAKE ||
           r->header.api_key == API_SASL_AUTHENTICATE;
}

static int
make_response(struct api_request *r)
{
    r->response = arena_alloc(&r->arena, r->info->response->size);
    if (!r->response)
        return -BUS_ERR_NO_MEMORY;
    wire_init(r->info->response, r->response);
    return 0;
}

/**
 * Whoever asks for an ApiVersions newer than ours cannot know which to ask for: it is told in
 * version 0, the one layout that everybody reads, and asks again.
 */
static int
answer_newer_api_versions(struct api_request *r)
{
    r->header.api_version = 0;
    if (make_response(r) < 0)
        return -BUS_ERR_NO_MEMORY;
    struct api_versions_response *response = r->response;
    struct api_versions_response_api_key *own =
        wire_array(&api_versions_response_api_key_schema, &r->arena, 1);
    if (!own)
        return -BUS_ERR_NO_MEMORY;
    *own =
        (struct api_versions_response_api_key){r->info->key, r->info->min_announced, r->info->max};
    response->error_code = BUS_ERR_UNSUPPORTED_VERSION;
    response->api_keys = own;
    response->api_keys_count = 1;
    return HANDLED_DONE;
}

static int
decode_body(struct api_request *r, const uint8_t *body, size_t n)
{
    r->message = arena_alloc(&r->arena, r->info->request->size);
    if (!r->message || make_response(r) < 0)
        return -BUS_ERR_NO_MEMORY;
    return wire_decode(r->info->request, r->header.api_version, body, n, r->message, &r->arena);
}

static int
handle(struct api_request *r, const uint8_t *frame, size_t n)
{
    int at = request_header_decode(frame, n, &r->header, &r->arena);
    if (at < 0)
        return at;
    r->info = api_find(r->header.api_key);
    request_handler *handler = handler_find(r->header.api_key);
    if (!r->info || !handler || !(r->info->doors & r->peer->door))
        return refuse(r);
    if (!r->peer->authenticated && !is_for_strangers(r))
        return err_set(BUS_ERR_ILLEGAL_SASL_STATE,
            "%s before authentication: this listener wants SASL first", r->info->name);
    if (sasl_is_over(r) && !is_for_strangers(r))
        return err_set(BUS_ERR_SASL_AUTHENTICATION_FAILED,
            "%s after connections.max.reauth.ms: the authentication was not renewed in time",
            r->info->name);
    if (r->info->key == API_API_VERSIONS && r->header.api_version > r->info->max)
        return answer_newer_api_versions(r);
    if (!api_serves(r->info, r->header.api_version))
        return refuse(r);
    int rc = decode_body(r, frame + at, n - (size_t)at);
    if (rc < 0)
        return err_prefix(rc, "%s", r->info->name);
    return handler(r);
}

static void
rearm(struct api *api)
{
    int64_t deadline = offsets_deadline_ms(api->offsets);
    int64_t groups_ms = coordinator_deadline_ms(api->coordinator);
    if (groups_ms >= 0 && (deadline < 0 || groups_ms < deadline))
        deadline = groups_ms;
    int64_t producings_ms = producings_deadline_ms(api->producings);
    if (producings_ms >= 0 && (deadline < 0 || producings_ms < deadline))
        deadline = producings_ms;
    int64_t removals_ms = removals_deadline_ms(&api->logs.removals);
    if (removals_ms >= 0 && (deadline < 0 || removals_ms < deadline))
        deadline = removals_ms;
    if (api->review_ms >= 0 && (deadline < 0 || api->review_ms < deadline))
        deadline = api->review_ms;
    for (const struct api_request *r = api->parked; r; r = r->next)
        if (r->deadline_ms >= 0 && (deadline < 0 || r->deadline_ms < deadline))
            deadline = r->deadline_ms;
    if (deadline == api->armed_ms)
        return;
    api->armed_ms = deadline;
    api->wiring.ops->arm(api->wiring.context, deadline);
}

int
api_dispatch(struct api *api, struct api_peer *peer, const uint8_t *frame, size_t n)
{
    MUST(!peer->request);
    struct api_request *r = request_new(api, peer);
    if (!r)
        return -BUS_ERR_NO_MEMORY;
    int outcome =
        request_settle(r, sasl_takes_raw(peer) ? sasl_raw(r, frame, n) : handle(r, frame, n));
    rearm(api);
    return outcome;
}

void
api_tick(struct api *api)
{
    if (api->ticking)
        return;
    api->ticking = true;
    logs_reap(&api->logs, api->wiring.ops->mono_ms(api->wiring.context));
    offsets_run(api->offsets);
    producings_run(api->producings);
    coordinator_tick(api->coordinator);
    if (api->review_ms >= 0)
        attach_review(api);
    api->armed_ms = ARMED_FIRED;
    for (struct api_request *r = api->parked; r; r = api->cursor) {
        api->cursor = r->next;
        request_wake(r);
    }
    api->cursor = NULL;
    api->ticking = false;
    rearm(api);
}

void
api_peer_gone(struct api *api, struct api_peer *peer)
{
    if (peer->request)
        request_cancel(peer->request);
    attach_end_all(peer);
    sasl_end(peer);
    rearm(api);
}
