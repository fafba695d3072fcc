/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fake_busd.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "protocol/wire.h"
#include "record/batch_header.h"
#include "shm/append.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ARENA_BYTES = 16 << 20, FRAME_MAX = 16 << 20 };

void
fake_send(int fd, const void *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, (const char *)bytes + at, size - at, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        at += (size_t)n;
    }
}

/* The first byte carries the fds, as busd's door does it. */
static void
send_with_fds(int fd, const struct buf *out, const int *fds, int fd_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FAKE_FDS_MAX)];
    } control = {0};
    struct iovec part = {.iov_base = out->data, .iov_len = out->length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count > 0) {
        size_t size = sizeof(int) * (size_t)fd_count;
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(header), fds, size);
    }
    ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (n > 0 && (size_t)n < out->length)
        fake_send(fd, out->data + n, out->length - (size_t)n);
}

void
fake_answer(const struct fake_request *request, const void *message, const int *fds, int fd_count)
{
    struct buf out;
    buf_init(&out);
    int16_t version = request->header.api_version;
    size_t start = frame_begin(&out);
    response_header_encode(&out, request->api, version, request->header.correlation_id);
    if (wire_encode(request->api->response, version, message, &out) == 0 &&
        frame_end(&out, start, 0) == 0)
        send_with_fds(request->fd, &out, fds, fd_count);
    buf_fini(&out);
}

static void
answer_versions(const struct fake_request *request)
{
    struct api_versions_response_api_key keys[64];
    struct api_versions_response answer = {.api_keys = keys, .finalized_features_epoch = -1};
    for (size_t i = 0; i < api_table_count; i++)
        keys[answer.api_keys_count++] =
            (struct api_versions_response_api_key){.api_key = api_table[i].key,
                .min_version = api_table[i].min,
                .max_version = api_table[i].max};
    fake_answer(request, &answer, NULL, 0);
}

static void
answer_metadata(struct fake_busd *fake, const struct fake_request *request)
{
    const struct metadata_request *wanted = request->message;
    const char *name = wanted->topics_count == 1 ? wanted->topics[0].name : "t";
    bool known = strcmp(name, "t") == 0;
    struct metadata_response_topic_partition partitions[1 + FAKE_OTHERS_MAX] = {0};
    int count = 1 + fake->other_count;
    for (int i = 0; i < count; i++)
        partitions[i].partition_index = i;
    struct metadata_response_topic topic = {.name = name,
        .partitions = partitions,
        .partitions_count = known ? count : 0,
        .error_code = known ? 0 : BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION};
    memcpy(topic.topic_id.b, fake->topic_id, sizeof fake->topic_id);
    struct metadata_response answer = {.cluster_id = "fake", .topics = &topic, .topics_count = 1};
    fake_answer(request, &answer, NULL, 0);
}

static struct shm_fixture *
fixture_of(struct fake_busd *fake, int32_t partition)
{
    return partition > 0 ? &fake->others[partition - 1].fixture : &fake->fixture;
}

static struct shm_partition *
view_of(struct fake_busd *fake, int32_t partition)
{
    return partition > 0 ? &fake->others[partition - 1].view : &fake->view;
}

static int
open_segment_file(const struct shm_fixture *fixture, int64_t seq)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%lld.log", fixture->folder, (long long)seq);
    return open(path, O_RDWR | O_CLOEXEC);
}

static void
answer_attach(struct fake_busd *fake, const struct fake_request *request)
{
    const struct attach_partition_request *wanted = request->message;
    bool known = strcmp(wanted->topic_name, "t") == 0 && wanted->partition <= fake->other_count;
    const struct shm_fixture *fixture = known ? fixture_of(fake, wanted->partition) : NULL;
    bool write = wanted->access == 2 && !fake->mediated;
    struct attach_partition_response_segment segments[2];
    struct attach_partition_response answer = {.segments = segments,
        .generation = (int32_t)fake->generation,
        .mediated = wanted->access == 2 && fake->mediated};
    memcpy(answer.topic_id.b, fake->topic_id, sizeof fake->topic_id);
    int fds[FAKE_FDS_MAX], count = 0;
    if (!known) {
        answer.error_code = BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    } else if (!answer.mediated) {
        answer.access = wanted->access;
        fds[count++] = shm_object_open(fixture->control_name, write);
        fds[count++] = shm_object_open(fixture->bell_name, true);
        if (write) {
            fds[count++] = eventfd(0, EFD_CLOEXEC);
            fds[count++] = open("/dev/null", O_RDWR | O_CLOEXEC);
        }
        struct shm_tail tail;
        shm_partition_tail(view_of(fake, wanted->partition), &tail);
        for (int64_t seq = tail.seq; seq <= tail.seq + (tail.has_spare && write); seq++) {
            segments[answer.segments_count++] =
                (struct attach_partition_response_segment){.seq = seq,
                    .base_offset = seq == tail.seq ? tail.base_offset : -1,
                    .reserved_bytes = fixture->segment_bytes};
            fds[count++] = open_segment_file(fixture, seq);
        }
    }
    fake_answer(request, &answer, fds, count);
    for (int i = 0; i < count; i++)
        close(fds[i]);
}

static void
answer_open(struct fake_busd *fake, const struct fake_request *request)
{
    const struct open_segment_request *wanted = request->message;
    const struct shm_fixture *fixture = fixture_of(fake, wanted->partition);
    int64_t seq = wanted->seq;
    for (int64_t i = 0; wanted->seq < 0 && i < fixture->segment_count; i++)
        if (fixture->segments[i].base_offset >= 0 &&
            fixture->segments[i].base_offset <= wanted->offset)
            seq = i;
    struct open_segment_response answer = {.seq = seq, .next_base_offset = -1, .bytes = -1};
    int fd = seq < fixture->segment_count ? open_segment_file(fixture, seq) : -1;
    if ((uint32_t)wanted->generation != fake->generation || fd < 0) {
        answer.error_code = BUS_ERR_NOT_LEADER_OR_FOLLOWER;
    } else {
        const struct shm_fixture_segment *known = &fixture->segments[seq];
        answer.base_offset = known->base_offset;
        answer.next_base_offset = known->next_offset;
        answer.bytes = known->next_offset >= 0 ? (int64_t)known->end : -1;
        answer.capacity = fixture->segment_bytes;
    }
    fake_answer(request, &answer, &fd, answer.error_code == 0 ? 1 : 0);
    if (fd >= 0)
        close(fd);
}

static void
answer_produce(struct fake_busd *fake, const struct fake_request *request)
{
    const struct produce_request *wanted = request->message;
    const struct produce_request_topic_partition *from = &wanted->topic_data[0].partition_data[0];
    struct produce_response_topic_partition partition = {
        .index = from->index, .base_offset = -1, .log_append_time_ms = -1};
    struct produce_response_topic topic = {.name = wanted->topic_data[0].name,
        .partition_responses = &partition,
        .partition_responses_count = 1};
    struct produce_response answer = {.responses = &topic, .responses_count = 1};
    struct batch_header header;
    int rc = batch_header_read(from->records.data, (size_t)from->records.len, &header);
    if (rc == 0) {
        struct append_batch batch = {.bytes = from->records.data,
            .size_bytes = (size_t)from->records.len,
            .offsets = (uint32_t)header.last_offset_delta + 1};
        struct append_result result;
        rc = shm_append(
            view_of(fake, from->index), &batch, clock_mono_ns() + INT64_C(10000000000), &result);
        partition.base_offset = rc == 0 ? result.base_offset : -1;
    }
    partition.error_code = err_to_wire(rc);
    if (wanted->acks != 0)
        fake_answer(request, &answer, NULL, 0);
}

static void
answer_offsets(struct fake_busd *fake, const struct fake_request *request)
{
    const struct list_offsets_request *wanted = request->message;
    struct shm_tail tail;
    shm_partition_tail(&fake->view, &tail);
    struct list_offsets_response_topic_partition partition = {.timestamp = -1, .leader_epoch = -1};
    partition.offset = wanted->topics[0].partitions[0].timestamp == -1 ? tail.end_offset : 0;
    struct list_offsets_response_topic topic = {
        .name = wanted->topics[0].name, .partitions = &partition, .partitions_count = 1};
    struct list_offsets_response answer = {.topics = &topic, .topics_count = 1};
    fake_answer(request, &answer, NULL, 0);
}

static void
answer_id(const struct fake_busd *fake, const struct fake_request *request)
{
    struct init_producer_id_response answer = {.producer_id = 1000 + fake->connections};
    fake_answer(request, &answer, NULL, 0);
}

/* What has no meaning here is answered with nothing in it. */
static void
answer_empty(const struct fake_request *request)
{
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    void *message = wire_array(request->api->response, &arena, 1);
    if (message)
        fake_answer(request, message, NULL, 0);
    arena_fini(&arena);
}

static void
answer(struct fake_busd *fake, const struct fake_request *request)
{
    if (request->api->key == API_API_VERSIONS) {
        answer_versions(request);
        return;
    }
    fake->requests++;
    fake_hook *hook = fake->hook;
    if (hook && hook(fake, request))
        return;
    switch (request->api->key) {
    case API_METADATA:
        answer_metadata(fake, request);
        break;
    case API_ATTACH_PARTITION:
        answer_attach(fake, request);
        break;
    case API_OPEN_SEGMENT:
        answer_open(fake, request);
        break;
    case API_PRODUCE:
        answer_produce(fake, request);
        break;
    case API_LIST_OFFSETS:
        answer_offsets(fake, request);
        break;
    case API_INIT_PRODUCER_ID:
        answer_id(fake, request);
        break;
    default:
        answer_empty(request);
    }
}

static bool
handle_frame(struct fake_busd *fake, int fd, const uint8_t *frame, size_t n)
{
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct fake_request request = {.fd = fd};
    int body = request_header_decode(frame, n, &request.header, &arena);
    request.api = body < 0 ? NULL : api_find(request.header.api_key);
    void *message = request.api ? arena_alloc(&arena, request.api->request->size) : NULL;
    bool good = message && wire_decode(request.api->request, request.header.api_version,
                               frame + body, n - (size_t)body, message, &arena) == 0;
    if (good) {
        request.message = message;
        answer(fake, &request);
    }
    arena_fini(&arena);
    return good;
}

static bool
serve(struct fake_busd *fake, int index)
{
    struct frame_reader *reader = &fake->clients[index].reader;
    size_t room;
    uint8_t *space = frame_reader_space(reader, &room);
    ssize_t n = space ? recv(fake->clients[index].fd, space, room, 0) : -1;
    if (n <= 0)
        return false;
    frame_reader_filled(reader, (size_t)n);
    const uint8_t *frame;
    size_t bytes;
    int rc;
    while ((rc = frame_reader_next(reader, &frame, &bytes)) == FRAME_READY)
        if (!handle_frame(fake, fake->clients[index].fd, frame, bytes))
            return false;
    return rc >= 0;
}

static void
drop_client(struct fake_busd *fake, int index)
{
    if (fake->clients[index].fd < 0)
        return;
    close(fake->clients[index].fd);
    frame_reader_fini(&fake->clients[index].reader);
    fake->clients[index].fd = -1;
}

static void
accept_client(struct fake_busd *fake)
{
    int fd = accept4(fake->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    fake->connections++;
    for (int i = 0; i < FAKE_CLIENTS_MAX; i++) {
        if (fake->clients[i].fd >= 0)
            continue;
        fake->clients[i].fd = fd;
        frame_reader_init(&fake->clients[i].reader, FRAME_MAX);
        return;
    }
    close(fd);
}

static void *
run(void *arg)
{
    struct fake_busd *fake = arg;
    if (fake->thread_starts)
        fake->thread_starts();
    for (;;) {
        struct pollfd polled[FAKE_CLIENTS_MAX + 2];
        polled[0] = (struct pollfd){.fd = fake->stop_pipe[0], .events = POLLIN};
        polled[1] = (struct pollfd){.fd = fake->listen_fd, .events = POLLIN};
        for (int i = 0; i < FAKE_CLIENTS_MAX; i++)
            polled[i + 2] = (struct pollfd){.fd = fake->clients[i].fd, .events = POLLIN};
        if (poll(polled, FAKE_CLIENTS_MAX + 2, -1) < 0)
            continue;
        if (polled[0].revents)
            return NULL;
        for (int i = 0; i < FAKE_CLIENTS_MAX; i++)
            if (polled[i + 2].revents && fake->clients[i].fd >= 0 && !serve(fake, i))
                drop_client(fake, i);
        if (polled[1].revents)
            accept_client(fake);
    }
}

int
fake_busd_start(struct fake_busd *fake)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, fake->path, strlen(fake->path) + 1);
    for (int i = 0; i < FAKE_CLIENTS_MAX; i++)
        fake->clients[i].fd = -1;
    fake->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fake->listen_fd < 0 ||
        bind(fake->listen_fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(fake->listen_fd, FAKE_CLIENTS_MAX) < 0 || pipe2(fake->stop_pipe, O_CLOEXEC) < 0)
        return err_sys(errno, "listen at %s", fake->path);
    int errnum = pthread_create(&fake->thread, NULL, run, fake);
    if (errnum != 0)
        return err_sys(errnum, "start the fake");
    fake->running = true;
    return 0;
}

void
fake_busd_stop(struct fake_busd *fake)
{
    if (!fake->running)
        return;
    ssize_t n = write(fake->stop_pipe[1], "", 1);
    (void)n;
    pthread_join(fake->thread, NULL);
    fake->running = false;
    for (int i = 0; i < FAKE_CLIENTS_MAX; i++)
        drop_client(fake, i);
    close(fake->listen_fd);
    close(fake->stop_pipe[0]);
    close(fake->stop_pipe[1]);
    unlink(fake->path);
}

int
fake_busd_init(struct fake_busd *fake, const struct shm_fixture_options *options)
{
    return fake_busd_init_with(fake, options, NULL);
}

int
fake_busd_init_with(
    struct fake_busd *fake, const struct shm_fixture_options *options, void (*thread_starts)(void))
{
    struct shm_fixture_options usual = {.segment_bytes = 1 << 20, .max_message_bytes = 1 << 18};
    *fake = (struct fake_busd){.generation = 1, .thread_starts = thread_starts};
    snprintf(fake->folder, sizeof fake->folder, "/tmp/shmbus-fake-XXXXXX");
    int rc = shm_fixture_init(&fake->fixture, options ? options : &usual);
    if (rc < 0)
        return rc;
    rc = shm_fixture_view(&fake->fixture, true, &fake->view);
    if (rc == 0 && !mkdtemp(fake->folder))
        rc = err_sys(errno, "make a folder like %s", fake->folder);
    snprintf(fake->path, sizeof fake->path, "%s/bus.sock", fake->folder);
    return rc < 0 ? rc : fake_busd_start(fake);
}

int
fake_busd_grow(struct fake_busd *fake)
{
    int count = fake->other_count;
    struct shm_fixture_options options = {
        .partition = count + 1, .segment_bytes = 1 << 20, .max_message_bytes = 1 << 18};
    memcpy(options.topic_id, fake->topic_id, sizeof options.topic_id);
    int rc = shm_fixture_init(&fake->others[count].fixture, &options);
    if (rc == 0)
        rc = shm_fixture_view(&fake->others[count].fixture, true, &fake->others[count].view);
    fake->other_count += rc == 0;
    return rc;
}

void
fake_busd_fini(struct fake_busd *fake)
{
    fake_busd_stop(fake);
    rmdir(fake->folder);
    for (int i = 0; i < fake->other_count; i++) {
        shm_partition_fini(&fake->others[i].view);
        shm_fixture_fini(&fake->others[i].fixture);
    }
    shm_partition_fini(&fake->view);
    shm_fixture_fini(&fake->fixture);
}
