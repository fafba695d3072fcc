/* SPDX-License-Identifier: Apache-2.0
 * The life of a request behind its dispatch: parking, waking, answering.
 */
#include "api/request.h"
#include "base/check.h"
#include "base/err.h"
#include "core/quota.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TURN_MS = 20 }; /* of a handler that can go on later */

void
api_answer_fini(struct api_answer *answer)
{
    for (int i = 0; i < answer->fd_count; i++)
        close(answer->fds[i]);
    answer->fd_count = 0;
    for (size_t i = 0; i < answer->piece_count; i++)
        log_slice_release(&answer->pieces[i].slice);
    free(answer->pieces);
    answer->pieces = NULL;
    answer->piece_count = 0;
    buf_fini(&answer->frame);
}

int64_t
request_now_ms(const struct api_request *r)
{
    return r->api->wiring.ops->mono_ms(r->api->wiring.context);
}

bool
request_yields(struct api_request *r, int64_t since_ms)
{
    int64_t now_ms = request_now_ms(r);
    if (now_ms - since_ms < TURN_MS)
        return false;
    r->deadline_ms = now_ms;
    return true;
}

int64_t
request_wall_ms(const struct api_request *r)
{
    return r->api->wiring.ops->wall_ms(r->api->wiring.context);
}

const struct cluster *
request_cluster(const struct api_request *r)
{
    return &r->api->wiring.controller->cluster;
}

struct api_request *
request_new(struct api *api, struct api_peer *peer)
{
    struct api_request *r = calloc(1, sizeof *r);
    if (!r) {
        err_no_memory();
        return NULL;
    }
    r->api = api;
    r->peer = peer;
    r->deadline_ms = -1;
    arena_init(&r->arena, REQUEST_ARENA_BYTES_MAX);
    buf_init(&r->answer.frame);
    return r;
}

static void
request_free(struct api_request *r)
{
    if (r->end)
        r->end(r);
    api_answer_fini(&r->answer);
    arena_fini(&r->arena);
    free(r);
}

/** Puts the request aside; what it keeps in memory meanwhile is the peer's expense. */
static int
park(struct api_request *r)
{
    struct api *api = r->api;
    struct quota *quota = r->peer->quota;
    int64_t bytes = (int64_t)(r->arena.used + sizeof *r);
    int rc = quota ? quota_charge(quota, QUOTA_BYTES, bytes) : 0;
    if (rc == 0 && quota && (rc = quota_charge(quota, QUOTA_PARKED, 1)) < 0)
        quota_release(quota, QUOTA_BYTES, bytes);
    if (rc < 0)
        return err_prefix(rc, "%s has to wait", r->info->name);
    r->charged = bytes;
    r->parked = true;
    r->peer->request = r;
    r->previous = NULL;
    r->next = api->parked;
    if (r->next)
        r->next->previous = r;
    api->parked = r;
    return 0;
}

static void
unpark(struct api_request *r)
{
    struct api *api = r->api;
    if (!r->parked)
        return;
    if (r->peer->quota) {
        quota_release(r->peer->quota, QUOTA_BYTES, r->charged);
        quota_release(r->peer->quota, QUOTA_PARKED, 1);
    }
    r->parked = false;
    r->peer->request = NULL;
    if (api->cursor == r)
        api->cursor = r->next;
    if (r->previous)
        r->previous->next = r->next;
    else
        api->parked = r->next;
    if (r->next)
        r->next->previous = r->previous;
}

/** Moves the slices that records of the response stand for into the answer. */
static int
take_pieces(struct api_answer *answer, const struct wire_gaps *gaps)
{
    if (gaps->bytes == 0)
        return 0;
    answer->pieces = calloc(gaps->count, sizeof *answer->pieces);
    if (!answer->pieces)
        return err_no_memory();
    for (size_t i = 0; i < gaps->count; i++) {
        /* Where the codec sees bytes, the handler put the slice that has them; see request.h. */
        struct log_slice *slice = (struct log_slice *)gaps->items[i].data;
        if (gaps->items[i].bytes == 0)
            continue;
        MUST(slice->bytes == gaps->items[i].bytes);
        answer->pieces[answer->piece_count++] =
            (struct api_piece){.at = gaps->items[i].at, .slice = *slice};
        *slice = (struct log_slice){.fd = -1};
    }
    return 0;
}

static int
encode(struct api_request *r)
{
    struct buf *out = &r->answer.frame;
    struct wire_gaps gaps = {0};
    size_t start = frame_begin(out);
    response_header_encode(out, r->info, r->header.api_version, r->header.correlation_id);
    int rc = wire_encode_gaps(r->info->response, r->header.api_version, r->response, out, &gaps);
    if (rc == 0)
        rc = frame_end(out, start, gaps.bytes);
    if (rc == 0)
        rc = take_pieces(&r->answer, &gaps);
    wire_gaps_fini(&gaps);
    if (rc < 0)
        buf_clear(out);
    return err_prefix(rc, "answer to %s", r->info->name);
}

int
request_settle(struct api_request *r, int rc)
{
    if (rc == HANDLED_PARKED && !r->parked)
        rc = park(r) < 0 ? -BUS_ERR_LIMIT_REACHED : HANDLED_PARKED;
    if (rc == HANDLED_PARKED)
        return API_PARKED;
    bool last = rc == HANDLED_LAST;
    if ((rc == HANDLED_DONE || last) && !r->raw)
        rc = encode(r);
    bool was_parked = r->parked;
    unpark(r);
    if (rc < 0 && !was_parked) {
        request_free(r);
        return rc;
    }
    r->answer.close = rc < 0 || rc == HANDLED_CLOSE || last;
    struct api_answer answer = r->answer;
    struct api_peer *peer = r->peer;
    r->answer = (struct api_answer){0};
    buf_init(&r->answer.frame);
    request_free(r);
    peer->ops->answer(peer, &answer);
    return API_ANSWERED;
}

void
request_wake(struct api_request *r)
{
    request_settle(r, r->wake(r));
}

void
request_cancel(struct api_request *r)
{
    unpark(r);
    request_free(r);
}

bool
request_add_fd(struct api_request *r, int fd)
{
    if (r->answer.fd_count == API_FDS_MAX) {
        close(fd);
        return false;
    }
    r->answer.fds[r->answer.fd_count++] = fd;
    return true;
}

const char *
request_error_text(struct api_request *r)
{
    const char *text = err_text();
    return arena_string(&r->arena, text, strlen(text));
}
