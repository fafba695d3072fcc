/* SPDX-License-Identifier: Apache-2.0 */
#include "api/attach.h"
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

int
attach_add(struct api_peer *peer, struct open_log *log, bool writable)
{
    struct api_attachment *a = attach_find(peer, log->topic_id, log->partition);
    if (a) {
        a->writable = a->writable || writable;
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
    *a = (struct api_attachment){log, writable, peer->attachments};
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
}

void
attach_end_all(struct api_peer *peer)
{
    while (peer->attachments)
        attach_end(peer, peer->attachments);
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
