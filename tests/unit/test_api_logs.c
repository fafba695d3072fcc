/* SPDX-License-Identifier: Apache-2.0
 * The table of open logs, as requests see it.
 */
#include "base/err.h"
#include "unit/api_world.h"

static struct world w;
static struct batch_builder builder;

static void
set_up(void)
{
    world_init(&w);
    CU_ASSERT_EQUAL_FATAL(settings_set_named(&w.fixed, "max.open.partitions", "2"), 0);
    world_topic(&w, "t", 4, NULL);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 16, 1 << 20), 0);
}

static void
tear_down(void)
{
    builder_fini(&builder);
    world_fini(&w);
}

static const struct produce_response_topic_partition *
produce_to(int32_t partition)
{
    struct produce_request_topic_partition row = {partition, world_batch(&builder, 2, 1, 0)};
    struct produce_request_topic topic = {"t", &row, 1};
    struct produce_request request = {NULL, 1, 1000, &topic, 1};
    const struct produce_response *answer = world_call(&w, 0, API_PRODUCE, 9, &request);
    return &answer->responses[0].partition_responses[0];
}

static int32_t
open_count(void)
{
    struct daemon_status_request request = {0};
    const struct daemon_status_response *answer = world_call(&w, 0, API_DAEMON_STATUS, 0, &request);
    return answer->open_partitions;
}

static int16_t
attach_to(int32_t partition)
{
    struct attach_partition_request request = {.topic_name = "t",
        .partition = partition,
        .access = 1,
        .layout_version = SHM_LAYOUT_VERSION};
    const struct attach_partition_response *answer =
        world_call(&w, 0, API_ATTACH_PARTITION, 0, &request);
    return answer->error_code;
}

static void
test_closes_the_oldest(void)
{
    set_up();
    for (int round = 0; round < 3; round++)
        for (int32_t partition = 0; partition < 4; partition++) {
            const struct produce_response_topic_partition *p = produce_to(partition);
            CU_ASSERT_EQUAL(p->error_code, 0);
            CU_ASSERT_EQUAL(p->base_offset, 2 * round);
            CU_ASSERT(open_count() <= 2);
        }
    CU_ASSERT_EQUAL(open_count(), 2);
    tear_down();
}

static void
test_keeps_what_is_used(void)
{
    set_up();
    CU_ASSERT_EQUAL(attach_to(0), 0);
    CU_ASSERT_EQUAL(produce_to(1)->error_code, 0);
    CU_ASSERT_EQUAL(attach_to(2), 0);
    CU_ASSERT_EQUAL(attach_to(3), BUS_ERR_LIMIT_REACHED);
    const struct produce_response_topic_partition *p = produce_to(3);
    CU_ASSERT_EQUAL(p->error_code, BUS_ERR_LIMIT_REACHED);
    CU_ASSERT_PTR_NOT_NULL(p->error_message);
    CU_ASSERT_EQUAL(produce_to(0)->error_code, 0);
    api_peer_gone(w.api, &w.peers[0].peer);
    CU_ASSERT_EQUAL(produce_to(3)->error_code, 0);
    tear_down();
}

static void
test_survives_restart(void)
{
    set_up();
    CU_ASSERT_EQUAL(produce_to(1)->base_offset, 0);
    world_restart(&w);
    CU_ASSERT_EQUAL(open_count(), 0);
    CU_ASSERT_EQUAL(produce_to(1)->base_offset, 2);
    tear_down();
}

static const struct unit_case cases[] = {
    {"closes the log that was not used for longest", test_closes_the_oldest},
    {"never closes what is attached", test_keeps_what_is_used},
    {"finds its logs after a restart", test_survives_restart},
    {NULL, NULL},
};

void
register_api_logs(void)
{
    unit_register("api_logs", cases);
}
