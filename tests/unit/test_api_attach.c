/* SPDX-License-Identifier: Apache-2.0
 * AttachPartition, OpenSegment, DetachPartition, ReportStall, and what ends attachments.
 */
#include "base/clock.h"
#include "base/err.h"
#include "unit/api_world.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NONE = 0, READ = 1, WRITE = 2 };

static struct world w;
static struct batch_builder builder;

static void
set_up(const char *const *settings)
{
    world_init(&w);
    world_topic(&w, "t", 2, settings);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 16, 1 << 20), 0);
}

static void
tear_down(void)
{
    builder_fini(&builder);
    world_fini(&w);
}

static const struct attach_partition_response *
attach_to(int who, const char *topic, int32_t partition, int8_t access)
{
    struct attach_partition_request request = {.topic_name = topic,
        .partition = partition,
        .access = access,
        .layout_version = SHM_LAYOUT_VERSION};
    const struct attach_partition_response *answer =
        world_call(&w, who, API_ATTACH_PARTITION, 0, &request);
    CU_ASSERT_EQUAL(answer->error_code != 0, answer->error_message != NULL);
    return answer;
}

static bool
is_writable(int fd)
{
    return (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
}

static int
fd_of(int who, int index)
{
    CU_ASSERT_FATAL(index < w.peers[who].answer.fd_count);
    return w.peers[who].answer.fds[index];
}

static void
test_writes(void)
{
    set_up(NULL);
    const struct attach_partition_response *answer = attach_to(0, "t", 1, WRITE);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL(answer->access, WRITE);
    CU_ASSERT_FALSE(answer->mediated);
    struct uuid id = world_id(&w, "t");
    CU_ASSERT_EQUAL(memcmp(&answer->topic_id, &id, sizeof id), 0);
    CU_ASSERT_FATAL(answer->segments_count >= 1);
    CU_ASSERT_EQUAL(w.peers[0].answer.fd_count, 4 + answer->segments_count);
    CU_ASSERT(is_writable(fd_of(0, 0)));
    CU_ASSERT(is_writable(fd_of(0, 1)));
    CU_ASSERT(is_writable(fd_of(0, 4)));
    CU_ASSERT_EQUAL(answer->segments[0].base_offset, 0);
    CU_ASSERT(answer->segments[0].reserved_bytes > 0);
    CU_ASSERT_EQUAL(w.peers[0].peer.attachment_count, 1);
    CU_ASSERT_EQUAL(w.peers[0].quota.used[QUOTA_ATTACHED], 1);
    tear_down();
}

static void
test_reads(void)
{
    set_up(NULL);
    const struct attach_partition_response *answer = attach_to(1, "t", 0, READ);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL(answer->access, READ);
    CU_ASSERT_TRUE(answer->mediated);
    CU_ASSERT_EQUAL(w.peers[1].answer.fd_count, 2 + answer->segments_count);
    CU_ASSERT_FALSE(is_writable(fd_of(1, 0)));
    CU_ASSERT(is_writable(fd_of(1, 1)));
    CU_ASSERT_FALSE(is_writable(fd_of(1, 2)));
    void *page = mmap(NULL, SHM_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd_of(1, 0), 0);
    CU_ASSERT_PTR_EQUAL(page, MAP_FAILED);
    tear_down();
}

static void
test_other_pids(void)
{
    set_up(NULL);
    w.peers[0].peer.same_pids = false;
    const struct attach_partition_response *answer = attach_to(0, "t", 0, WRITE);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL(answer->access, NONE);
    CU_ASSERT_TRUE(answer->mediated);
    CU_ASSERT_EQUAL(w.peers[0].answer.fd_count, 0);
    answer = attach_to(0, "t", 0, READ);
    CU_ASSERT_EQUAL(answer->access, READ);
    CU_ASSERT_TRUE(answer->mediated);
    tear_down();
}

static void
test_mediated(void)
{
    set_up(NULL);
    const struct attach_partition_response *answer = attach_to(1, "t", 0, WRITE);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL(answer->access, NONE);
    CU_ASSERT_TRUE(answer->mediated);
    CU_ASSERT_EQUAL(w.peers[1].answer.fd_count, 0);
    CU_ASSERT_EQUAL(w.peers[1].peer.attachment_count, 0);
    w.peers[1].peer.groups[1] = WORLD_GID_DIRECT;
    w.peers[1].peer.group_count = 2;
    CU_ASSERT_EQUAL(attach_to(1, "t", 0, WRITE)->access, WRITE);
    tear_down();
}

static void
test_refuses(void)
{
    static const char *const closed[] = {"access.read=self", "access.write=self", NULL};
    set_up(closed);
    CU_ASSERT_EQUAL(attach_to(1, "t", 0, READ)->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    const struct attach_partition_response *answer = attach_to(1, "t", 0, WRITE);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_PTR_NOT_NULL(strstr(answer->error_message, "User:stranger"));
    CU_ASSERT_PTR_NOT_NULL(strstr(answer->error_message, "topic t"));
    CU_ASSERT_EQUAL(attach_to(0, "nope", 0, READ)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_EQUAL(attach_to(0, "t", 2, READ)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_EQUAL(attach_to(0, "t", -1, READ)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_EQUAL(attach_to(0, "t", 0, 3)->error_code, BUS_ERR_INVALID_REQUEST);
    struct attach_partition_request old = {
        .topic_name = "t", .access = READ, .layout_version = SHM_LAYOUT_VERSION + 1};
    answer = world_call(&w, 0, API_ATTACH_PARTITION, 0, &old);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_LAYOUT_VERSION);
    CU_ASSERT_EQUAL(w.peers[0].answer.fd_count, 0);
    tear_down();
}

static void
test_quota(void)
{
    set_up(NULL);
    quota_limit(&w.peers[0].quota, QUOTA_ATTACHED, 1);
    CU_ASSERT_EQUAL(attach_to(0, "t", 0, WRITE)->error_code, 0);
    CU_ASSERT_EQUAL(attach_to(0, "t", 0, READ)->error_code, 0);
    CU_ASSERT_EQUAL(attach_to(0, "t", 1, READ)->error_code, BUS_ERR_LIMIT_REACHED);
    CU_ASSERT_EQUAL(w.peers[0].answer.fd_count, 0);
    api_peer_gone(w.api, &w.peers[0].peer);
    CU_ASSERT_EQUAL(w.peers[0].quota.used[QUOTA_ATTACHED], 0);
    CU_ASSERT_EQUAL(attach_to(0, "t", 1, READ)->error_code, 0);
    tear_down();
}

static int16_t
detach(int who, int32_t partition)
{
    struct detach_partition_request request = {
        .topic_id = world_id(&w, "t"), .partition = partition};
    const struct detach_partition_response *answer =
        world_call(&w, who, API_DETACH_PARTITION, 0, &request);
    return answer->error_code;
}

static void
test_detaches(void)
{
    set_up(NULL);
    CU_ASSERT_EQUAL(detach(0, 0), BUS_ERR_RESOURCE_NOT_FOUND);
    attach_to(0, "t", 0, WRITE);
    attach_to(0, "t", 0, READ);
    CU_ASSERT_EQUAL(w.peers[0].peer.attachment_count, 1);
    CU_ASSERT_EQUAL(detach(0, 1), BUS_ERR_RESOURCE_NOT_FOUND);
    CU_ASSERT_EQUAL(detach(0, 0), 0);
    CU_ASSERT_EQUAL(detach(0, 0), BUS_ERR_RESOURCE_NOT_FOUND);
    CU_ASSERT_EQUAL(w.peers[0].quota.used[QUOTA_ATTACHED], 0);
    tear_down();
}

/* ---- a writer's view, made of an answer --------------------------------------------------------
 */

static int
no_source(
    void *context, int64_t seq, int64_t offset, struct shm_segment **segment, uint32_t *position)
{
    (void)context;
    (void)seq;
    (void)offset;
    (void)segment;
    (void)position;
    return err_set(BUS_ERR_DAEMON_UNAVAILABLE, "this test asks for no more segments");
}

/* Takes the fds of the answer that peer `who` got for an attachment. */
static void
map_answer(int who, const struct attach_partition_response *answer, struct shm_partition *view)
{
    struct world_peer *p = &w.peers[who];
    bool writable = answer->access == WRITE;
    struct shm_partition_fds fds = {.control = p->answer.fds[0], .bell = p->answer.fds[1]};
    struct shm_source source = {.open = no_source};
    p->answer.fds[0] = p->answer.fds[1] = -1;
    CU_ASSERT_EQUAL_FATAL(
        shm_partition_init(view, fds, writable, answer->topic_id.b, 0, source), 0);
    for (int i = 0; i < answer->segments_count; i++) {
        struct shm_segment *segment;
        int index = (writable ? 4 : 2) + i;
        CU_ASSERT_EQUAL_FATAL(shm_segment_open(p->answer.fds[index],
                                  (size_t)answer->segments[i].reserved_bytes, writable, &segment),
            0);
        p->answer.fds[index] = -1;
        segment->seq = answer->segments[i].seq;
        segment->base_offset = answer->segments[i].base_offset;
        segment->next_offset = -1;
        shm_partition_add(view, segment);
    }
}

static int
append_direct(struct shm_partition *view, struct append_result *result)
{
    struct bytes batch = world_batch(&builder, 3, w.wall_ms, 0);
    struct append_batch append = {
        .bytes = batch.data, .size_bytes = (size_t)batch.len, .offsets = 3};
    return shm_append(view, &append, clock_mono_ns() + INT64_C(10000000000), result);
}

static void
test_appends_in_place(void)
{
    set_up(NULL);
    struct shm_partition view;
    struct append_result result;
    int64_t base;
    map_answer(0, attach_to(0, "t", 0, WRITE), &view);
    CU_ASSERT_EQUAL(append_direct(&view, &result), APPEND_DONE);
    CU_ASSERT_EQUAL(result.base_offset, 0);
    CU_ASSERT_EQUAL(world_produce(&w, 1, "t", world_batch(&builder, 2, 1, 0), &base), 0);
    CU_ASSERT_EQUAL(base, 3);
    CU_ASSERT_EQUAL(append_direct(&view, &result), APPEND_DONE);
    CU_ASSERT_EQUAL(result.base_offset, 5);
    shm_partition_fini(&view);
    tear_down();
}

static void
test_deletion_ends_writers(void)
{
    set_up(NULL);
    struct shm_partition view;
    struct append_result result;
    map_answer(0, attach_to(0, "t", 0, WRITE), &view);
    CU_ASSERT_EQUAL(append_direct(&view, &result), APPEND_DONE);
    const char *name = "t";
    struct delete_topics_request request = {.topic_names = &name, .topic_names_count = 1};
    const struct delete_topics_response *answer = world_call(&w, 0, API_DELETE_TOPICS, 5, &request);
    CU_ASSERT_EQUAL(answer->responses[0].error_code, 0);
    CU_ASSERT_EQUAL(append_direct(&view, &result), -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    api_kicked(w.api, &w.peers[0].peer);
    api_peer_gone(w.api, &w.peers[0].peer);
    CU_ASSERT_EQUAL(w.peers[0].peer.attachment_count, 0);
    shm_partition_fini(&view);
    tear_down();
}

/* Clients need not let go of what was deleted. */
static void
test_deleted_count_no_more(void)
{
    const char *name = "t";
    struct delete_topics_request request = {.topic_names = &name, .topic_names_count = 1};
    set_up(NULL);
    quota_limit(&w.peers[0].quota, QUOTA_ATTACHED, 2);
    for (int round = 0; round < 5; round++) {
        CU_ASSERT_EQUAL(attach_to(0, "t", 0, READ)->error_code, 0);
        CU_ASSERT_EQUAL(attach_to(0, "t", 1, READ)->error_code, 0);
        world_call(&w, 0, API_DELETE_TOPICS, 5, &request);
        world_topic(&w, "t", 3, NULL);
    }
    CU_ASSERT_EQUAL(attach_to(0, "t", 0, READ)->error_code, 0);
    CU_ASSERT_EQUAL(attach_to(0, "t", 1, READ)->error_code, 0);
    CU_ASSERT_EQUAL(attach_to(0, "t", 2, READ)->error_code, BUS_ERR_LIMIT_REACHED);
    CU_ASSERT_EQUAL(w.peers[0].peer.attachment_count, 2);
    tear_down();
}

static void
test_kick_gives_room(void)
{
    static const char *const small[] = {
        "segment.bytes=16777216", "segment.preallocate.bytes=65536", NULL};
    set_up(small);
    struct shm_partition view;
    struct append_result result;
    map_answer(0, attach_to(0, "t", 0, WRITE), &view);
    int appended = 0;
    int rc = APPEND_DONE;
    while (rc == APPEND_DONE && appended < 100000) {
        rc = append_direct(&view, &result);
        appended += rc == APPEND_DONE;
    }
    CU_ASSERT_EQUAL(rc, APPEND_NO_ROOM);
    api_kicked(w.api, &w.peers[0].peer);
    CU_ASSERT_EQUAL(append_direct(&view, &result), APPEND_DONE);
    CU_ASSERT_EQUAL(result.base_offset, 3 * appended);
    shm_partition_fini(&view);
    tear_down();
}

/* ---- OpenSegment ---------------------------------------------------------------------------- */

static const struct open_segment_response *
open_segment(int who, int64_t seq, int64_t offset, int32_t generation)
{
    struct open_segment_request request = {.topic_id = world_id(&w, "t"),
        .generation = generation,
        .seq = seq,
        .offset = offset,
        .layout_version = SHM_LAYOUT_VERSION};
    return world_call(&w, who, API_OPEN_SEGMENT, 0, &request);
}

static void
test_opens_segments(void)
{
    set_up(NULL);
    int32_t generation = attach_to(1, "t", 0, READ)->generation;
    CU_ASSERT_EQUAL(world_produce(&w, 0, "t", world_batch(&builder, 5, 1, 0), NULL), 0);
    const struct open_segment_response *answer = open_segment(1, -1, 3, generation);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL(answer->base_offset, 0);
    CU_ASSERT_EQUAL(answer->next_base_offset, -1);
    CU_ASSERT_EQUAL(answer->bytes, -1);
    CU_ASSERT(answer->capacity > 0);
    CU_ASSERT_FALSE(is_writable(fd_of(1, 0)));
    attach_to(0, "t", 0, WRITE);
    answer = open_segment(0, answer->seq, -1, generation);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT(is_writable(fd_of(0, 0)));
    tear_down();
}

static void
test_refuses_segments(void)
{
    static const char *const closed[] = {"access.read=self", NULL};
    set_up(closed);
    int32_t generation = attach_to(0, "t", 0, READ)->generation;
    CU_ASSERT_EQUAL(open_segment(0, -1, 99, generation)->error_code, BUS_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_EQUAL(
        open_segment(0, 0, -1, generation + 1)->error_code, BUS_ERR_NOT_LEADER_OR_FOLLOWER);
    CU_ASSERT_EQUAL(open_segment(0, 99, -1, generation)->error_code, BUS_ERR_RESOURCE_NOT_FOUND);
    CU_ASSERT_EQUAL(
        open_segment(1, -1, 0, generation)->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(w.peers[1].answer.fd_count, 0);
    struct open_segment_request request = {.seq = -1, .layout_version = SHM_LAYOUT_VERSION};
    const struct open_segment_response *answer = world_call(&w, 0, API_OPEN_SEGMENT, 0, &request);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_UNKNOWN_TOPIC_ID);
    request.layout_version = 0;
    answer = world_call(&w, 0, API_OPEN_SEGMENT, 0, &request);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_LAYOUT_VERSION);
    tear_down();
}

/* ---- ReportStall ---------------------------------------------------------------------------- */

static int
report(int who, int32_t generation)
{
    struct report_stall_request request = {.topic_id = world_id(&w, "t"), .generation = generation};
    return world_send(&w, who, API_REPORT_STALL, 0, &request);
}

/* Looks until the report is answered; the store's own clock says when a lock was held too long. */
static const struct report_stall_response *
await_report(int who)
{
    int64_t give_up = clock_mono_ms() + 30000;
    while (w.peers[who].peer.request && clock_mono_ms() < give_up) {
        CU_ASSERT(w.armed_ms > w.mono_ms);
        world_pass(&w, LOG_RETRY_MS);
    }
    const struct report_stall_response *answer = world_answer(&w, who);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
    return answer;
}

static void
test_evicts(void)
{
    set_up(NULL);
    struct shm_partition view;
    const struct attach_partition_response *answer = attach_to(0, "t", 0, WRITE);
    int32_t generation = answer->generation;
    map_answer(0, answer, &view);
    struct world_holder holder;
    world_hold(&holder, view.control);
    CU_ASSERT_EQUAL(report(0, generation), API_PARKED);
    CU_ASSERT_TRUE(await_report(0)->evicted);
    CU_ASSERT_EQUAL(report(0, generation), API_ANSWERED);
    CU_ASSERT_FALSE(((const struct report_stall_response *)world_answer(&w, 0))->evicted);
    CU_ASSERT(attach_to(0, "t", 0, WRITE)->generation != generation);
    CU_ASSERT_EQUAL(world_produce(&w, 1, "t", world_batch(&builder, 1, 1, 0), NULL), 0);
    world_release(&holder);
    shm_partition_fini(&view);
    tear_down();
}

static void
test_stall_refuses(void)
{
    set_up(NULL);
    int32_t generation = attach_to(1, "t", 0, READ)->generation;
    CU_ASSERT_EQUAL(report(1, generation), API_ANSWERED);
    const struct report_stall_response *answer = world_answer(&w, 1);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_PTR_NOT_NULL(answer->error_message);
    attach_to(0, "t", 0, WRITE);
    CU_ASSERT_EQUAL(report(0, generation), API_ANSWERED);
    answer = world_answer(&w, 0);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_FALSE(answer->evicted);
    tear_down();
}

static const struct unit_case cases[] = {
    {"gives a direct writer everything for writing", test_writes},
    {"gives a reader nothing that can be written", test_reads},
    {"tells a mediated writer to go through busd", test_mediated},
    {"tells a writer with other thread ids to go through busd", test_other_pids},
    {"refuses with a text that names topic and user", test_refuses},
    {"charges attachments to the peer", test_quota},
    {"detaches once for all", test_detaches},
    {"shares one log between writers in place and through busd", test_appends_in_place},
    {"ends the writers of a deleted topic", test_deletion_ends_writers},
    {"deleted topics count no more", test_deleted_count_no_more},
    {"gives room after a kick", test_kick_gives_room},
    {"opens segments by offset and by number", test_opens_segments},
    {"refuses segments that are not there or not for the peer", test_refuses_segments},
    {"evicts a writer that stopped with the lock", test_evicts},
    {"evicts nobody without a reason", test_stall_refuses},
    {NULL, NULL},
};

void
register_api_attach(void)
{
    unit_register("api_attach", cases);
}
