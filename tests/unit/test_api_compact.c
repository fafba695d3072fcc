/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/api_world.h"
#include "unit/unit.h"

#include <string.h>

static struct world w;

static const struct compact_topic_response *
compact(int who, const char *topic, bool start)
{
    struct compact_topic_request request = {.topic = topic, .start = start};
    return world_call(&w, who, API_COMPACT_TOPIC, 0, &request);
}

static void
test_start_and_status(void)
{
    static const char *const settings[] = {"cleanup.policy=compact", NULL};
    world_init(&w);
    world_topic(&w, "t", 3, settings);
    const struct compact_topic_response *answer = compact(0, "t", false);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL_FATAL(answer->partitions_count, 3);
    for (int32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(answer->partitions[i].partition, i);
        CU_ASSERT_EQUAL(answer->partitions[i].error_code, 0);
        CU_ASSERT_EQUAL(answer->partitions[i].state, 0);
        CU_ASSERT_EQUAL(answer->partitions[i].runs, 0);
        CU_ASSERT_PTR_NULL(answer->partitions[i].failure);
    }
    answer = compact(0, "t", true);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL(answer->partitions[2].state, 1);
    world_fini(&w);
}

static void
test_refused(void)
{
    world_init(&w);
    world_topic(&w, "plain", 1, NULL);
    CU_ASSERT_EQUAL(compact(0, "none", true)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    const struct compact_topic_response *answer = compact(0, "plain", true);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_POLICY_VIOLATION);
    CU_ASSERT_PTR_NOT_NULL(strstr(answer->error_message, "cleanup.policy"));
    CU_ASSERT_EQUAL(compact(0, "plain", false)->error_code, 0);
    world_fini(&w);
}

void
register_api_compact(void)
{
    static const struct unit_case cases[] = {
        {"started, and its status", test_start_and_status},
        {"refused", test_refused},
        {NULL, NULL},
    };
    unit_register("api_compact", cases);
}
