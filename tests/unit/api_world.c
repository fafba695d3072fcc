/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/api_world.h"

#include "base/clock.h"
#include "base/err.h"
#include "shm/lock.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

int64_t world_lock_timeout_ms = 100;

/* ---- what daemon and door give -------------------------------------------------------------- */

static int64_t
mono_ms(void *context)
{
    struct world *w = context;
    w->mono_ms += w->mono_step_ms;
    return w->mono_ms;
}

static int64_t
wall_ms(void *context)
{
    return ((struct world *)context)->wall_ms;
}

static void
arm(void *context, int64_t deadline_mono_ms)
{
    ((struct world *)context)->armed_ms = deadline_mono_ms;
}

static int
connections(void *context)
{
    (void)context;
    return WORLD_PEERS;
}

static const char *
listeners(void *context)
{
    (void)context;
    return "127.0.0.1:9092";
}

static const struct api_daemon_ops daemon_ops = {mono_ms, wall_ms, arm, connections, listeners};

/* Puts the pieces of files where they belong, as a door does on the way. */
static void
fill_in(struct api_answer *answer)
{
    struct buf whole;
    size_t at = 0;
    buf_init(&whole);
    for (size_t i = 0; i < answer->piece_count; i++) {
        const struct api_piece *piece = &answer->pieces[i];
        buf_put(&whole, answer->frame.data + at, piece->at - at);
        CU_ASSERT_EQUAL(log_slice_copy(&piece->slice, &whole), 0);
        at = piece->at;
    }
    buf_put(&whole, answer->frame.data + at, answer->frame.length - at);
    buf_fini(&answer->frame);
    answer->frame = whole;
}

static void
take_answer(struct api_peer *peer, struct api_answer *answer)
{
    struct world_peer *p = (struct world_peer *)peer;
    api_answer_fini(&p->answer);
    p->answer = *answer;
    if (answer->piece_count > 0)
        fill_in(&p->answer);
    p->answers++;
}

static int
kick_fd(struct api_peer *peer)
{
    struct world_peer *p = (struct world_peer *)peer;
    if (p->kick_fd < 0)
        p->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return p->kick_fd;
}

static const struct api_peer_ops peer_ops = {take_answer, kick_fd};

static bool
uid_of(void *context, const char *name, uint32_t *uid)
{
    (void)context;
    *uid = WORLD_STRANGER;
    return strcmp(name, "stranger") == 0;
}

static bool
gid_of(void *context, const char *name, uint32_t *gid)
{
    (void)context;
    *gid = strcmp(name, "shmbus-admin") == 0 ? WORLD_GID_ADMIN : WORLD_GID_DIRECT;
    return strcmp(name, "shmbus-admin") == 0 || strcmp(name, "shmbus-direct") == 0;
}

static bool
name_of(void *context, uint32_t uid, char *name, size_t bytes)
{
    (void)context;
    snprintf(name, bytes, "stranger");
    return uid == WORLD_STRANGER;
}

/* ---- checkpoints ---------------------------------------------------------------------------- */

static struct store_checkpoint *
find_checkpoint(struct world *w, const uint8_t *topic_id, int32_t partition)
{
    for (int i = 0; i < w->checkpoint_count; i++) {
        struct store_checkpoint *c = &w->checkpoints[i];
        if (c->partition == partition && memcmp(c->topic_id, topic_id, STORE_ID_BYTES) == 0)
            return c;
    }
    return NULL;
}

static int
load_checkpoint(void *context, const uint8_t topic_id[STORE_ID_BYTES], int32_t partition,
    struct store_checkpoint *checkpoint)
{
    const struct store_checkpoint *c = find_checkpoint(context, topic_id, partition);
    if (!c)
        return STORE_CHECKPOINT_NONE;
    *checkpoint = *c;
    return 0;
}

static int
save_checkpoints(void *context, const struct store_checkpoint *checkpoints, size_t count)
{
    struct world *w = context;
    for (size_t i = 0; i < count; i++) {
        struct store_checkpoint *c =
            find_checkpoint(w, checkpoints[i].topic_id, checkpoints[i].partition);
        if (!c && w->checkpoint_count == WORLD_CHECKPOINTS)
            return err_set(BUS_ERR_LIMIT_REACHED, "the test has room for no more checkpoints");
        if (!c)
            c = &w->checkpoints[w->checkpoint_count++];
        *c = checkpoints[i];
    }
    return 0;
}

static int
drop_checkpoint(void *context, const uint8_t topic_id[STORE_ID_BYTES], int32_t partition)
{
    struct world *w = context;
    struct store_checkpoint *c = find_checkpoint(w, topic_id, partition);
    if (c)
        *c = w->checkpoints[--w->checkpoint_count];
    return 0;
}

/* ---- the world ------------------------------------------------------------------------------ */

static void
init_peer(struct world *w, int who, uid_t uid, const char *name)
{
    struct world_peer *p = &w->peers[who];
    *p = (struct world_peer){.kick_fd = -1};
    quota_init(&p->quota, name, NULL);
    buf_init(&p->answer.frame);
    p->peer = (struct api_peer){
        .ops = &peer_ops,
        .door = API_DOOR_UNIX,
        .uid = uid,
        .same_pids = true,
        .groups = {uid},
        .group_count = 1,
        .quota = &p->quota,
        .name = name,
        .address = "",
        .authenticated = true,
    };
}

static void
start(struct world *w)
{
    char path[96];
    snprintf(path, sizeof path, "%s/meta", w->folder);
    struct meta_options meta = {.folder = path, .map_bytes = 16 << 20, .node_id = WORLD_NODE};
    struct store_options store = {
        .data = w->folder,
        .checkpoints = {load_checkpoint, save_checkpoints, drop_checkpoint, w},
        .append_lock_timeout_ms = world_lock_timeout_ms,
    };
    struct api_wiring wiring = {
        .ops = &daemon_ops,
        .context = w,
        .controller = &w->controller,
        .names = &w->names,
        .own_uid = WORLD_UID,
        .version = "1.2.3",
        .data_folder = w->folder,
    };
    CU_ASSERT_EQUAL_FATAL(store_open(&store, &w->store), 0);
    CU_ASSERT_EQUAL_FATAL(meta_open(&meta, &w->meta), 0);
    CU_ASSERT_EQUAL_FATAL(controller_open(&w->controller, w->meta, &w->fixed), 0);
    struct command node = {
        .type = COMMAND_NODE_REGISTER, .name = "here", .node = WORLD_NODE, .count = 9092};
    CU_ASSERT_EQUAL_FATAL(controller_propose(&w->controller, &node), 0);
    wiring.store = w->store;
    wiring.loop = w->loop;
    wiring.flusher = w->flusher;
    CU_ASSERT_EQUAL_FATAL(api_new(&wiring, &w->api), 0);
}

static void
stop(struct world *w)
{
    for (int i = 0; i < WORLD_PEERS; i++)
        api_peer_gone(w->api, &w->peers[i].peer);
    api_free(&w->api);
    controller_close(&w->controller);
    meta_close(&w->meta);
    store_close(&w->store);
}

static void
make(struct world *w)
{
    *w = (struct world){.mono_ms = 1000000, .wall_ms = clock_wall_ms(), .armed_ms = -1};
    snprintf(w->folder, sizeof w->folder, "/tmp/shmbus-api-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(w->folder));
    w->names = (struct access_names){.uid_of = uid_of, .gid_of = gid_of, .name_of = name_of};
    settings_init(&w->fixed, &setting_table_broker, SETTING_FROM_STATIC, NULL);
    arena_init(&w->arena, 64 << 20);
    init_peer(w, 0, WORLD_UID, "User:busd");
    init_peer(w, 1, WORLD_STRANGER, "User:stranger");
    init_peer(w, 2, 0, "User:root");
}

void
world_init(struct world *w)
{
    make(w);
    start(w);
}

void
world_init_threads(struct world *w)
{
    static const struct worker_options flusher = {.name = "flusher", .jobs_max = 16};
    make(w);
    CU_ASSERT_EQUAL_FATAL(loop_new(&w->loop), 0);
    CU_ASSERT_EQUAL_FATAL(worker_start(&flusher, &w->flusher), 0);
    start(w);
}

void
world_await(struct world *w, int who)
{
    int64_t give_up_ms = clock_mono_ms() + 60000;
    while (w->peers[who].answers == 0 && clock_mono_ms() < give_up_ms)
        loop_turn(w->loop);
    CU_ASSERT_EQUAL_FATAL(w->peers[who].answers, 1);
}

void
world_restart(struct world *w)
{
    stop(w);
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

/* The folder of memory topics, which the store leaves empty; its name tells the data folder's id.
 */
static void
remove_memory_folder(const struct world *w)
{
    char path[160], hex[64];
    snprintf(path, sizeof path, "%s/format", w->folder);
    FILE *file = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL_FATAL(fscanf(file, "%*s %*s instance %63s", hex), 1);
    fclose(file);
    snprintf(path, sizeof path, "/dev/shm/shmbus-%s", hex);
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void
world_fini(struct world *w)
{
    struct cluster *cluster = &w->controller.cluster;
    while (cluster->topic_count > 0) {
        struct command command = {
            .type = COMMAND_TOPIC_DELETE, .id = cluster_topic_at(cluster, 0)->id};
        CU_ASSERT_EQUAL_FATAL(controller_propose(&w->controller, &command), 0);
    }
    stop(w);
    if (w->loop) {
        worker_stop(&w->flusher);
        loop_free(&w->loop);
    }
    for (int i = 0; i < WORLD_PEERS; i++) {
        api_answer_fini(&w->peers[i].answer);
        if (w->peers[i].kick_fd >= 0)
            close(w->peers[i].kick_fd);
    }
    settings_fini(&w->fixed);
    arena_fini(&w->arena);
    remove_memory_folder(w);
    nftw(w->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- requests ------------------------------------------------------------------------------- */

int
world_send(struct world *w, int who, int16_t key, int16_t version, const void *request)
{
    struct world_peer *p = &w->peers[who];
    const struct api_info *api = api_find(key);
    CU_ASSERT_PTR_NOT_NULL_FATAL(api);
    struct request_header header = {
        .api_key = key, .api_version = version, .correlation_id = 77, .client_id = "test"};
    struct buf frame;
    buf_init(&frame);
    request_header_encode(&frame, api, &header);
    CU_ASSERT_EQUAL_FATAL(wire_encode(api->request, version, request, &frame), 0);
    api_answer_fini(&p->answer);
    p->answers = 0;
    p->key = key;
    p->version = version;
    int outcome = api_dispatch(w->api, &p->peer, frame.data, frame.length);
    buf_fini(&frame);
    return outcome;
}

void *
world_answer(struct world *w, int who)
{
    struct world_peer *p = &w->peers[who];
    const struct api_info *api = api_find(p->key);
    const struct buf *frame = &p->answer.frame;
    if (p->answers != 1 || frame->length < FRAME_PREFIX_BYTES)
        return NULL;
    int32_t correlation_id;
    const uint8_t *bytes = frame->data + FRAME_PREFIX_BYTES;
    size_t n = frame->length - FRAME_PREFIX_BYTES;
    int at = response_header_decode(api, p->version, bytes, n, &correlation_id);
    CU_ASSERT_FATAL(at >= 0);
    CU_ASSERT_EQUAL(correlation_id, 77);
    void *message = arena_alloc(&w->arena, api->response->size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(message);
    int rc = wire_decode(api->response, p->version, bytes + at, n - (size_t)at, message, &w->arena);
    CU_ASSERT_EQUAL_FATAL(rc, 0);
    return message;
}

void *
world_call(struct world *w, int who, int16_t key, int16_t version, const void *request)
{
    CU_ASSERT_EQUAL_FATAL(world_send(w, who, key, version, request), API_ANSWERED);
    void *message = world_answer(w, who);
    CU_ASSERT_PTR_NOT_NULL_FATAL(message);
    return message;
}

void
world_pass(struct world *w, int64_t ms)
{
    w->mono_ms += ms;
    w->wall_ms += ms;
    api_tick(w->api);
}

void
world_topic(struct world *w, const char *name, int32_t partitions, const char *const *settings)
{
    struct create_topics_request_topic_config configs[8];
    struct create_topics_request_topic topic = {
        .name = name, .num_partitions = partitions, .replication_factor = -1, .configs = configs};
    struct create_topics_request request = {.topics = &topic, .topics_count = 1};
    char names[8][64];
    for (; settings && settings[topic.configs_count]; topic.configs_count++) {
        const char *text = settings[topic.configs_count];
        const char *equals = strchr(text, '=');
        snprintf(names[topic.configs_count], sizeof names[0], "%.*s", (int)(equals - text), text);
        configs[topic.configs_count] =
            (struct create_topics_request_topic_config){names[topic.configs_count], equals + 1};
    }
    struct create_topics_response *answer = world_call(w, 0, API_CREATE_TOPICS, 7, &request);
    CU_ASSERT_EQUAL_FATAL(answer->topics_count, 1);
    if (answer->topics[0].error_code != 0)
        fprintf(stderr, "topic %s: %s\n", name, answer->topics[0].error_message);
    CU_ASSERT_EQUAL_FATAL(answer->topics[0].error_code, 0);
}

struct uuid
world_id(struct world *w, const char *name)
{
    const struct cluster_topic *topic = cluster_topic(&w->controller.cluster, name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(topic);
    return topic->id;
}

/* ---- a stopped writer ----------------------------------------------------------------------- */

struct shm_control *
world_control(struct world *w, const char *topic)
{
    struct attach_partition_request request = {
        .topic_name = topic, .access = 2, .layout_version = SHM_LAYOUT_VERSION};
    const struct attach_partition_response *answer =
        world_call(w, 2, API_ATTACH_PARTITION, 0, &request);
    CU_ASSERT_EQUAL_FATAL(answer->error_code, 0);
    void *page = mmap(
        NULL, SHM_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, w->peers[2].answer.fds[0], 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(page, MAP_FAILED);
    return page;
}

static void *
hold_lock(void *context)
{
    struct world_holder *holder = context;
    shm_lock(&holder->control->append_lock, clock_mono_ns() + INT64_C(10000000000));
    pthread_barrier_wait(&holder->held);
    pthread_barrier_wait(&holder->over);
    shm_unlock(&holder->control->append_lock);
    return NULL;
}

void
world_hold(struct world_holder *holder, struct shm_control *control)
{
    holder->control = control;
    pthread_barrier_init(&holder->held, NULL, 2);
    pthread_barrier_init(&holder->over, NULL, 2);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&holder->thread, NULL, hold_lock, holder), 0);
    pthread_barrier_wait(&holder->held);
}

void
world_release(struct world_holder *holder)
{
    pthread_barrier_wait(&holder->over);
    pthread_join(holder->thread, NULL);
    pthread_barrier_destroy(&holder->held);
    pthread_barrier_destroy(&holder->over);
}

/* ---- records -------------------------------------------------------------------------------- */

struct bytes
world_batch(struct batch_builder *builder, int count, int64_t ts, int codec)
{
    struct builder_options options = BUILDER_OPTIONS_PLAIN;
    options.codec = codec;
    builder_reset(builder, &options);
    for (int i = 0; i < count; i++) {
        char key[16], value[16];
        struct builder_record record = {.ts = ts + i, .key = key, .value = value};
        record.key_bytes = snprintf(key, sizeof key, "k%d", i);
        record.value_bytes = snprintf(value, sizeof value, "v%d", i);
        CU_ASSERT_EQUAL_FATAL(builder_append(builder, &record), BUILDER_OK);
    }
    const void *batch;
    size_t bytes;
    CU_ASSERT_EQUAL_FATAL(builder_finish(builder, &batch, &bytes), 0);
    return (struct bytes){batch, (int32_t)bytes};
}

int16_t
world_produce(
    struct world *w, int who, const char *topic, struct bytes records, int64_t *base_offset)
{
    struct produce_request_topic_partition partition = {.index = 0, .records = records};
    struct produce_request_topic wanted = {
        .name = topic, .partition_data = &partition, .partition_data_count = 1};
    struct produce_request request = {
        .acks = 1, .timeout_ms = 1000, .topic_data = &wanted, .topic_data_count = 1};
    struct produce_response *answer = world_call(w, who, API_PRODUCE, 9, &request);
    const struct produce_response_topic_partition *out =
        &answer->responses[0].partition_responses[0];
    if (base_offset)
        *base_offset = out->base_offset;
    return out->error_code;
}
