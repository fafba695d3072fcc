/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/request_world.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "protocol/frame.h"
#include "store/store.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { START_MS = 1000000, WALL_MS = 1700000000 };

/* ---- what daemon and door give -------------------------------------------------------------- */

static int64_t
mono_ms(void *context)
{
    return ((const struct fuzz_world *)context)->mono_ms;
}

static int64_t
wall_ms(void *context)
{
    return ((const struct fuzz_world *)context)->wall_ms;
}

static void
arm(void *context, int64_t deadline_mono_ms)
{
    (void)context;
    MUST(deadline_mono_ms >= -1);
}

static int
connections(void *context)
{
    (void)context;
    return FUZZ_PEERS;
}

static const char *
listeners(void *context)
{
    (void)context;
    return "127.0.0.1:9092";
}

static const struct api_daemon_ops daemon_ops = {.mono_ms = mono_ms,
    .wall_ms = wall_ms,
    .arm = arm,
    .connections = connections,
    .listeners = listeners};

/* Puts the batches where they belong, as a door does on the way. */
static void
fill_in(struct api_answer *answer)
{
    struct buf whole;
    size_t at = 0;
    buf_init(&whole);
    for (size_t i = 0; i < answer->piece_count; i++) {
        const struct api_piece *piece = &answer->pieces[i];
        MUST(piece->at >= at && piece->at <= answer->frame.length && piece->slice.bytes > 0);
        buf_put(&whole, answer->frame.data + at, piece->at - at);
        MUST(log_slice_copy(&piece->slice, &whole) == 0);
        at = piece->at;
    }
    buf_put(&whole, answer->frame.data + at, answer->frame.length - at);
    buf_fini(&answer->frame);
    answer->frame = whole;
}

static void
take_answer(struct api_peer *peer, struct api_answer *answer)
{
    struct fuzz_peer *p = (struct fuzz_peer *)peer;
    api_answer_fini(&p->answer);
    p->answer = *answer;
    if (answer->piece_count > 0)
        fill_in(&p->answer);
    p->answers++;
}

static int
kick_fd(struct api_peer *peer)
{
    struct fuzz_peer *p = (struct fuzz_peer *)peer;
    if (p->kick_fd < 0)
        p->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return p->kick_fd;
}

static const struct api_peer_ops unix_ops = {take_answer, kick_fd};
static const struct api_peer_ops kafka_ops = {take_answer, NULL};

static bool
nobody(void *context, const char *name, uint32_t *id)
{
    (void)context;
    (void)name;
    (void)id;
    return false;
}

/* Without checkpoints a log is scanned, which is right too. */
static int
load_checkpoint(void *context, const uint8_t topic_id[STORE_ID_BYTES], int32_t partition,
    struct store_checkpoint *checkpoint)
{
    (void)context;
    (void)topic_id;
    (void)partition;
    (void)checkpoint;
    return STORE_CHECKPOINT_NONE;
}

static int
save_checkpoints(void *context, const struct store_checkpoint *checkpoints, size_t count)
{
    (void)context;
    (void)checkpoints;
    (void)count;
    return 0;
}

static int
drop_checkpoint(void *context, const uint8_t topic_id[STORE_ID_BYTES], int32_t partition)
{
    (void)context;
    (void)topic_id;
    (void)partition;
    return 0;
}

/* ---- the world ------------------------------------------------------------------------------ */

static void
init_peer(struct fuzz_world *w, int who, uid_t uid, const char *name)
{
    static const struct api_listener listener = {
        .name = "PLAINTEXT://127.0.0.1:9092", .host = "127.0.0.1", .port = 9092, .loopback = true};
    struct fuzz_peer *p = &w->peers[who];
    bool local = uid != (uid_t)-1;
    *p = (struct fuzz_peer){.kick_fd = -1};
    buf_init(&p->answer.frame);
    quota_init(&p->quota, name, NULL);
    p->peer = (struct api_peer){
        .ops = local ? &unix_ops : &kafka_ops,
        .door = local ? API_DOOR_UNIX : API_DOOR_KAFKA,
        .uid = uid,
        .groups = {local ? uid : 0},
        .group_count = local,
        .same_pids = local,
        .quota = &p->quota,
        .name = name,
        .address = local ? "" : "/192.0.2.1",
        .listener = local ? NULL : &listener,
        .authenticated = true,
    };
    snprintf(p->peer.principal, sizeof p->peer.principal, "User:%s", name);
}

static void
set(struct fuzz_world *w, const char *name, const char *value)
{
    MUST(settings_set_named(&w->fixed, name, value) == 0);
}

static void
start(struct fuzz_world *w)
{
    char path[FUZZ_FOLDER_BYTES + 8];
    snprintf(path, sizeof path, "%s/meta", w->folder);
    const struct meta_options meta = {.folder = path, .map_bytes = 16 << 20, .node_id = FUZZ_NODE};
    const struct store_options store = {
        .data = w->folder,
        .checkpoints = {load_checkpoint, save_checkpoints, drop_checkpoint, w},
        .append_lock_timeout_ms = 100,
    };
    struct api_wiring wiring = {
        .ops = &daemon_ops,
        .context = w,
        .controller = &w->controller,
        .names = &w->names,
        .own_uid = FUZZ_UID,
        .version = "1",
        .data_folder = w->folder,
    };
    const struct command node = {
        .type = COMMAND_NODE_REGISTER, .name = "here", .node = FUZZ_NODE, .count = 9092};
    MUST(store_open(&store, &w->store) == 0);
    MUST(meta_open(&meta, &w->meta) == 0);
    MUST(controller_open(&w->controller, w->meta, &w->fixed) == 0);
    MUST(controller_propose(&w->controller, &node) == 0);
    wiring.store = w->store;
    MUST(api_new(&wiring, &w->api) == 0);
}

void
fuzz_world_init(struct fuzz_world *w)
{
    *w = (struct fuzz_world){.mono_ms = START_MS, .wall_ms = WALL_MS * INT64_C(1000)};
    snprintf(w->folder, sizeof w->folder, "/dev/shm/shmbus-fuzz-XXXXXX");
    MUST(mkdtemp(w->folder));
    w->names = (struct access_names){.uid_of = nobody, .gid_of = nobody};
    settings_init(&w->fixed, &setting_table_broker, SETTING_FROM_STATIC, NULL);
    set(w, "auto.create.topics.enable", "true");
    set(w, "log.segment.bytes", "1048576");
    set(w, "log.segment.preallocate.bytes", "65536");
    set(w, "partitions.max", "60");
    set(w, "offsets.topic.num.partitions", "2");
    init_peer(w, 0, FUZZ_UID, "busd");
    init_peer(w, 1, FUZZ_STRANGER, "stranger");
    init_peer(w, 2, (uid_t)-1, "ANONYMOUS");
    start(w);
}

static int
remove_entry(const char *path, const struct stat *about, int type, struct FTW *ftw)
{
    (void)about;
    (void)type;
    (void)ftw;
    return remove(path);
}

void
fuzz_world_fini(struct fuzz_world *w)
{
    struct cluster *cluster = &w->controller.cluster;
    for (int i = 0; i < FUZZ_PEERS; i++)
        api_peer_gone(w->api, &w->peers[i].peer);
    while (cluster->topic_count > 0) {
        const struct command command = {
            .type = COMMAND_TOPIC_DELETE, .id = cluster_topic_at(cluster, 0)->id};
        MUST(controller_propose(&w->controller, &command) == 0);
    }
    api_free(&w->api);
    controller_close(&w->controller);
    meta_close(&w->meta);
    store_close(&w->store);
    for (int i = 0; i < FUZZ_PEERS; i++) {
        api_answer_fini(&w->peers[i].answer);
        if (w->peers[i].kick_fd >= 0)
            close(w->peers[i].kick_fd);
    }
    settings_fini(&w->fixed);
    nftw(w->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void
fuzz_world_pass(struct fuzz_world *w, int64_t ms)
{
    w->mono_ms += ms;
    w->wall_ms += ms;
    api_tick(w->api);
}

const uint8_t *
fuzz_world_answer(struct fuzz_peer *peer, size_t *n)
{
    const struct buf *frame = &peer->answer.frame;
    if (peer->answers == 0 || frame->length < FRAME_PREFIX_BYTES)
        return NULL;
    *n = frame->length - FRAME_PREFIX_BYTES;
    MUST(bytes_get_i32(frame->data) == (int32_t)*n);
    return frame->data + FRAME_PREFIX_BYTES;
}
