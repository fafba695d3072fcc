/* SPDX-License-Identifier: Apache-2.0 */
#include "api/attach.h"
#include "api/authorize.h"
#include "base/err.h"
#include "base/trace.h"
#include "core/quota.h"

#include <stdlib.h>
#include <string.h>

struct api_attachment *
attach_find(const struct api_peer *peer, const uint8_t *topic_id, int32_t partition)
{
    struct api_attachment *a = peer->attachments;
    while (a && !(a->log->partition == partition &&
                    memcmp(a->log->topic_id, topic_id, STORE_ID_BYTES) == 0))
        a = a->next;
    return a;
}

/** Topics that were deleted count no more, though the client has not let go of them. */
static void
end_deleted(struct api_peer *peer)
{
    for (struct api_attachment *a = peer->attachments, *next; a; a = next) {
        next = a->next;
        if (!logs_alive(a->log))
            attach_end(peer, a);
    }
}

static int
charge(struct api_peer *peer)
{
    if (peer->attachment_count >= API_ATTACHMENTS_MAX ||
        (peer->quota && !quota_has(peer->quota, QUOTA_ATTACHED, 1)))
        end_deleted(peer);
    if (peer->attachment_count >= API_ATTACHMENTS_MAX)
        return err_set(BUS_ERR_LIMIT_REACHED,
            "%s has %d partitions attached on one connection: open another one", peer->name,
            peer->attachment_count);
    return peer->quota ? quota_charge(peer->quota, QUOTA_ATTACHED, 1) : 0;
}

static void
link_peer(struct api *api, struct api_peer *peer)
{
    if (peer->attached_to)
        return;
    peer->attached_to = api;
    peer->attached_previous = NULL;
    peer->attached_next = api->attached;
    if (api->attached)
        api->attached->attached_previous = peer;
    api->attached = peer;
}

static void
unlink_peer(struct api_peer *peer)
{
    struct api *api = peer->attached_to;
    if (peer->attached_previous)
        peer->attached_previous->attached_next = peer->attached_next;
    else
        api->attached = peer->attached_next;
    if (peer->attached_next)
        peer->attached_next->attached_previous = peer->attached_previous;
    peer->attached_to = NULL;
}

int
attach_add(struct api *api, struct api_peer *peer, struct open_log *log, bool writable)
{
    struct api_attachment *a = attach_find(peer, log->topic_id, log->partition);
    if (a) {
        a->writable = writable || (a->writable && !a->refused);
        a->refused = false;
        return 0;
    }
    int rc = charge(peer);
    if (rc < 0)
        return rc;
    a = calloc(1, sizeof *a);
    if (!a) {
        if (peer->quota)
            quota_release(peer->quota, QUOTA_ATTACHED, 1);
        return err_no_memory();
    }
    *a = (struct api_attachment){.log = log, .writable = writable, .next = peer->attachments};
    link_peer(api, peer);
    peer->attachments = a;
    peer->attachment_count++;
    logs_pin(log);
    return 0;
}

void
attach_end(struct api_peer *peer, struct api_attachment *attachment)
{
    struct api_attachment **at = &peer->attachments;
    while (*at != attachment)
        at = &(*at)->next;
    *at = attachment->next;
    peer->attachment_count--;
    if (peer->quota)
        quota_release(peer->quota, QUOTA_ATTACHED, 1);
    logs_unpin(attachment->log);
    free(attachment);
    if (!peer->attachments)
        unlink_peer(peer);
}

void
attach_end_all(struct api_peer *peer)
{
    while (peer->attachments)
        attach_end(peer, peer->attachments);
}

/* ---- who may no more ------------------------------------------------------------------------ */

/** Whether the peer may have mapped what it has. */
static bool
may_keep(struct api *api, struct api_peer *peer, const struct api_attachment *a)
{
    struct uuid id;
    memcpy(id.b, a->log->topic_id, sizeof id.b);
    const struct cluster_topic *topic = cluster_topic_of_id(&api->wiring.controller->cluster, &id);
    if (!topic)
        return true; /* it is being deleted, and its pages end with it */
    struct access access = authorize_topic(api, peer, topic);
    return a->writable ? access.direct && peer->same_pids : access.read;
}

/** Ends the pages of a log, once in a review. False: later. */
static bool
revoke(struct api *api, struct open_log *log, uint64_t review)
{
    if (log->review == review)
        return true;
    int rc = log_revoke(log->log);
    if (rc == LOG_REVOKE_LATER)
        return false;
    if (rc < 0)
        trace(TRACE_ERROR, "who may no more use a log keeps it: %s", err_text());
    log->review = review;
    (void)api;
    return true;
}

static void
review_peer(struct api *api, struct api_peer *peer, uint64_t review)
{
    for (struct api_attachment *a = peer->attachments; a; a = a->next) {
        if (a->refused || !logs_alive(a->log) || may_keep(api, peer, a))
            continue;
        if (revoke(api, a->log, review))
            a->refused = true;
        else
            api->review_ms = api->wiring.ops->mono_ms(api->wiring.context) + LOG_RETRY_MS;
    }
}

void
attach_review(struct api *api)
{
    uint64_t review = ++api->reviews;
    api->review_ms = -1;
    for (struct api_peer *peer = api->attached; peer; peer = peer->attached_next)
        review_peer(api, peer, review);
}

void
attach_make_room(const struct api_wiring *wiring, struct api_peer *peer)
{
    for (struct api_attachment *a = peer->attachments; a; a = a->next) {
        if (!a->writable || !logs_alive(a->log) || !log_wants_service(a->log->log))
            continue;
        if (wiring->wake_keeper) {
            wiring->wake_keeper(wiring->context); /* it looks at every log that asks */
            return;
        }
        if (log_make_room(a->log->log) < 0)
            trace(TRACE_DEBUG, "%s asked for room: %s", peer->name, err_text());
    }
}
