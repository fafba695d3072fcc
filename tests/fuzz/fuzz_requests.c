/* SPDX-License-Identifier: Apache-2.0
 * Requests that are well formed and mean anything, from several peers, into a whole api on a data
 * folder of its own. Each answer must be one message of the version asked for; and at the end a
 * sound client must still be served.
 *
 * A request of the input: a byte that tells what is done to it and who sends it, one for the API,
 * one for the version, then what is in it (request_maker.h).
 */
#include "base/check.h"
#include "base/err.h"
#include "fuzz/request_maker.h"
#include "fuzz/request_world.h"
#include "fuzz/target.h"
#include "protocol/frame.h"
#include "protocol/wire.h"

#include <stdio.h>
#include <string.h>

enum {
    REQUESTS_MAX = 12,
    ARENA_BYTES_MAX = 4 << 20,
    CORRELATION = 4711,
    PASS_MS = 700,
    PASSES_MAX = 100,
    MANGLED = 32, /* of 256 requests so many are damaged on the way */
};

struct fuzzing {
    struct fuzz_world world;
    struct request_maker maker;
    struct arena arena; /* of the request and of the answer */
};

/* ---- answers -------------------------------------------------------------------------------- */

/** What an answer tells is used in later requests: they get further so. */
static void
learn(struct fuzzing *f, int16_t key, const void *answer)
{
    struct request_maker *maker = &f->maker;
    if (key == API_JOIN_GROUP) {
        const struct join_group_response *joined = answer;
        if (joined->member_id[0] != '\0')
            snprintf(maker->member_id, sizeof maker->member_id, "%s", joined->member_id);
        if (joined->error_code == 0)
            maker->generation = joined->generation_id;
    } else if (key == API_INIT_PRODUCER_ID) {
        const struct init_producer_id_response *given = answer;
        if (given->error_code == 0)
            maker->producer_id = given->producer_id;
    }
}

static void *
check_answer(struct fuzzing *f, struct fuzz_peer *peer, const struct api_info *api, int16_t version)
{
    size_t n;
    int32_t correlation;
    MUST(peer->answers == 1);
    const uint8_t *bytes = fuzz_world_answer(peer, &n);
    if (!bytes)
        return NULL;
    /* A newer ApiVersions is answered in version 0; requests here are of known versions. */
    int at = response_header_decode(api, version, bytes, n, &correlation);
    MUST(at > 0 && correlation == CORRELATION);
    void *answer = arena_alloc(&f->arena, api->response->size);
    MUST(answer);
    int rc = wire_decode(api->response, version, bytes + at, n - (size_t)at, answer, &f->arena);
    MUST(rc == 0 || rc == -BUS_ERR_NO_MEMORY);
    if (rc < 0)
        return NULL;
    learn(f, api->key, answer);
    return answer;
}

/* ---- requests ------------------------------------------------------------------------------- */

static void
encode(struct fuzzing *f, const struct api_info *api, int16_t version, const void *request,
    struct buf *frame)
{
    const struct request_header header = {.api_key = api->key,
        .api_version = version,
        .correlation_id = CORRELATION,
        .client_id = "fuzz"};
    (void)f;
    buf_clear(frame);
    request_header_encode(frame, api, &header);
    MUST(wire_encode(api->request, version, request, frame) == 0);
}

/** Bytes are changed, cut off or added: lengths lie then, above all. */
static void
mangle(struct request_maker *maker, struct buf *frame)
{
    for (unsigned times = 1 + maker_below(maker, 3); times > 0 && frame->length > 0; times--) {
        size_t at = ((size_t)maker_byte(maker) << 8 | maker_byte(maker)) % frame->length;
        frame->data[at] = maker_byte(maker);
    }
    if (maker_below(maker, 4) == 0)
        frame->length -= maker_byte(maker) % (frame->length + 1);
    else if (maker_below(maker, 4) == 0)
        buf_put(frame, "more", 1 + maker_below(maker, 4));
}

/**
 * Waits for the answer, second by second: what comes later than that is a busd that was stopped,
 * and counts for no session. Who waits for very long hangs up.
 */
static void
finish(struct fuzzing *f, struct fuzz_peer *peer)
{
    for (int i = 0; i < PASSES_MAX && peer->answers == 0; i++)
        fuzz_world_pass(&f->world, PASS_MS);
    if (peer->answers == 0)
        api_peer_gone(f->world.api, &peer->peer);
    MUST(!peer->peer.request);
}

static void
send_one(struct fuzzing *f, struct buf *frame)
{
    struct request_maker *maker = &f->maker;
    uint8_t how = maker_byte(maker);
    struct fuzz_peer *peer = &f->world.peers[how % 4 < FUZZ_PEERS ? how % 4 : 0];
    const struct api_info *api = &api_table[maker_below(maker, (unsigned)api_table_count)];
    int16_t version =
        (int16_t)(api->min + (int16_t)maker_below(maker, (unsigned)(api->max - api->min + 1)));
    arena_reset(&f->arena);
    void *request = arena_alloc(&f->arena, api->request->size);
    MUST(request);
    maker->version = version;
    maker_fill(maker, api->request, request);
    encode(f, api, version, request, frame);
    bool mangled = how >= 256 - MANGLED;
    if (mangled)
        mangle(maker, frame);
    if (peer->peer.request)
        finish(f, peer);
    peer->answers = 0;
    int rc = api_dispatch(f->world.api, &peer->peer, frame->data, frame->length);
    MUST(rc >= 0 || (err_text()[0] != '\0' && peer->answers == 0));
    MUST(rc != API_ANSWERED || peer->answers == 1);
    if (rc == API_ANSWERED && !mangled)
        check_answer(f, peer, api, version);
    if (how & 64)
        fuzz_world_pass(&f->world, PASS_MS);
}

/** Asks as a sound client; the answer. */
static void *
ask(struct fuzzing *f, int who, int16_t key, int16_t version, const void *request)
{
    struct fuzz_peer *peer = &f->world.peers[who];
    const struct api_info *api = api_find(key);
    struct buf frame;
    buf_init(&frame);
    if (peer->peer.request)
        finish(f, peer);
    peer->answers = 0;
    encode(f, api, version, request, &frame);
    MUST(api_dispatch(f->world.api, &peer->peer, frame.data, frame.length) >= 0);
    if (peer->answers == 0)
        finish(f, peer);
    buf_fini(&frame);
    return check_answer(f, peer, api, version);
}

static void
create_topics(struct fuzzing *f)
{
    static struct create_topics_request_topic_config compact = {"cleanup.policy", "compact"};
    static struct create_topics_request_topic topics[] = {
        {.name = "t", .num_partitions = 2, .replication_factor = 1},
        {.name = "compacted",
            .num_partitions = 1,
            .replication_factor = 1,
            .configs = &compact,
            .configs_count = 1},
    };
    const struct create_topics_request request = {.topics = topics, .topics_count = 2};
    const struct create_topics_response *answer = ask(f, 0, API_CREATE_TOPICS, 7, &request);
    MUST(answer && answer->topics_count == 2 && answer->topics[0].error_code == 0);
    f->maker.topic_id = answer->topics[0].topic_id;
}

/** Whoever asks soundly is served, whatever the others have done. */
static void
check_service(struct fuzzing *f)
{
    const struct metadata_request request = {.topics_count = -1};
    arena_reset(&f->arena);
    const struct metadata_response *answer = ask(f, 0, API_METADATA, 12, &request);
    MUST(answer && answer->error_code == 0 && answer->brokers_count == 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzzing f;
    struct buf frame;
    fuzz_world_init(&f.world);
    arena_init(&f.arena, ARENA_BYTES_MAX);
    buf_init(&frame);
    f.maker = (struct request_maker){.arena = &f.arena};
    create_topics(&f);
    f.maker.at = data;
    f.maker.end = data + size;
    for (int i = 0; i < REQUESTS_MAX && f.maker.at < f.maker.end; i++)
        send_one(&f, &frame);
    check_service(&f);
    fuzz_world_fini(&f.world);
    buf_fini(&frame);
    arena_fini(&f.arena);
    return 0;
}
