/* SPDX-License-Identifier: Apache-2.0
 * Groups and committed offsets against a fake busd whose own calls are left alone.
 */
#include "lib/fake_busd.h"
#include "torture/scenarios.h"

#include <bus/bus.h>
#include <string.h>

/* Version 0, topic "t" with the partitions 0 and 1, no user data. */
static const uint8_t share[] = {
    0, 0, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255};

static void
answer_list(const struct fake_request *request)
{
    struct list_groups_response_group rows[] = {{.group_id = "b"}, {.group_id = "a"}};
    struct list_groups_response answer = {.groups = rows, .groups_count = 2};
    fake_answer(request, &answer, NULL, 0);
}

static void
answer_describe(const struct fake_request *request)
{
    const struct describe_groups_request *asked = request->message;
    struct describe_groups_response_group_member member = {.member_id = "m",
        .client_id = "c",
        .client_host = "h",
        .member_assignment = {share, sizeof share}};
    struct describe_groups_response_group rows[2];
    for (int32_t i = 0; i < asked->groups_count && i < 2; i++)
        rows[i] = (struct describe_groups_response_group){.group_id = asked->groups[i],
            .group_state = "Stable",
            .protocol_type = "consumer",
            .protocol_data = "range",
            .members = &member,
            .members_count = 1};
    struct describe_groups_response answer = {.groups = rows, .groups_count = asked->groups_count};
    fake_answer(request, &answer, NULL, 0);
}

static void
answer_fetch(const struct fake_request *request)
{
    const struct offset_fetch_request *asked = request->message;
    struct offset_fetch_response_group_topic_partition row = {
        .partition_index = 0, .committed_offset = 0, .metadata = ""};
    struct offset_fetch_response_group_topic topic = {
        .name = "t", .partitions = &row, .partitions_count = 1};
    struct offset_fetch_response_group group = {
        .group_id = asked->groups[0].group_id, .topics = &topic, .topics_count = 1};
    struct offset_fetch_response answer = {.groups = &group, .groups_count = 1};
    fake_answer(request, &answer, NULL, 0);
}

static void
answer_commit(const struct fake_request *request)
{
    struct offset_commit_response_topic_partition row = {0};
    struct offset_commit_response_topic topic = {
        .name = "t", .partitions = &row, .partitions_count = 1};
    struct offset_commit_response answer = {.topics = &topic, .topics_count = 1};
    fake_answer(request, &answer, NULL, 0);
}

static bool
hook(struct fake_busd *fake, const struct fake_request *request)
{
    (void)fake;
    switch (request->api->key) {
    case API_LIST_GROUPS:
        answer_list(request);
        return true;
    case API_DESCRIBE_GROUPS:
        answer_describe(request);
        return true;
    case API_OFFSET_FETCH:
        answer_fetch(request);
        return true;
    case API_OFFSET_COMMIT:
        answer_commit(request);
        return true;
    default:
        return false;
    }
}

static int
look(struct bus *bus)
{
    struct bus_groups *groups;
    int rc = bus_groups_fetch(bus, NULL, &groups);
    if (rc < 0)
        return rc;
    bool good = bus_groups_count(groups) == 2 && bus_groups_owner(groups, 1, "t", 1) == 0;
    bus_groups_free(&groups);
    return good ? 0 : 1;
}

static int
look_at_commits(struct bus *bus)
{
    const char *name = "a";
    struct bus_commits *commits;
    struct bus_commit_state state;
    int rc = bus_commits_fetch(bus, &name, 1, &commits);
    if (rc < 0)
        return rc;
    bool good = bus_commits_count(commits) == 1 && bus_commits_get(commits, 0, &state) == 0 &&
                state.lag == 0 && state.error == 0;
    bus_commits_free(&commits);
    return good ? 0 : 2;
}

static int
play(const char *path)
{
    struct bus *bus = NULL;
    struct bus_config *config = bus_config_new();
    if (!config)
        return -BUS_ERR_NO_MEMORY;
    int rc = bus_config_set(config, "socket.path", path);
    if (rc == 0)
        rc = bus_config_set(config, "request.timeout.ms", "2000");
    if (rc == 0)
        rc = bus_config_set(config, "reconnect.backoff.ms", "1");
    if (rc == 0)
        rc = bus_open(config, &bus);
    bus_config_free(&config);
    struct bus_commit_change change = {.topic = "t", .offset = 0};
    if (rc == 0)
        rc = bus_commits_set(bus, "a", &change, 1);
    if (rc == 0)
        rc = look(bus);
    if (rc == 0)
        rc = look_at_commits(bus);
    bus_close(&bus);
    return rc;
}

int
scenario_client_groups(void *unused)
{
    static struct fake_busd fake;
    (void)unused;
    torture_pause();
    int rc = fake_busd_init_with(&fake, NULL, torture_pause);
    fake.hook = hook;
    torture_resume();
    if (rc == 0)
        rc = play(fake.path);
    torture_pause();
    fake_busd_fini(&fake);
    torture_resume();
    return rc;
}
