/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/controller.h"

#include "unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct scene {
    char folder[64];
    struct meta *meta;
    struct controller controller;
    struct controller_listener first, second;
    char told[256];
};

static void
open_scene(struct scene *scene)
{
    struct meta_options options = {scene->folder, 16 << 20, 1};
    CU_ASSERT_EQUAL_FATAL(meta_open(&options, &scene->meta), 0);
    CU_ASSERT_EQUAL_FATAL(controller_open(&scene->controller, scene->meta, NULL), 0);
}

static void
close_scene(struct scene *scene)
{
    controller_close(&scene->controller);
    meta_close(&scene->meta);
}

static void
begin(struct scene *scene)
{
    *scene = (struct scene){.folder = "/tmp/shmbus-test-controller-XXXXXX"};
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(scene->folder));
    open_scene(scene);
    struct command node = {.type = COMMAND_NODE_REGISTER, .node = 1, .name = ""};
    CU_ASSERT_EQUAL_FATAL(controller_propose(&scene->controller, &node), 0);
}

static void
end(struct scene *scene)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "backup"};
    close_scene(scene);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", scene->folder, names[i]);
        unlink(path);
    }
    CU_ASSERT_EQUAL(rmdir(scene->folder), 0);
}

static int
create(struct scene *scene, const char *name, struct uuid *id)
{
    CU_ASSERT_EQUAL(controller_new_id(id), 0);
    struct command command = {
        .type = COMMAND_TOPIC_CREATE, .name = name, .id = *id, .count = 3, .replicas = {{1}, 1}};
    return controller_propose(&scene->controller, &command);
}

static void
tell_first(void *context, const struct changes *changes)
{
    struct scene *scene = context;
    size_t used = strlen(scene->told);
    snprintf(scene->told + used, sizeof scene->told - used, "1:%d:%s ", (int)changes->type,
        changes->topic->name);
}

static void
tell_second(void *context, const struct changes *changes)
{
    struct scene *scene = context;
    size_t used = strlen(scene->told);
    snprintf(scene->told + used, sizeof scene->told - used, "2:%d ", (int)changes->type);
    CU_ASSERT(changes->committed);
}

static void
test_state_stays(void)
{
    struct scene scene;
    struct uuid a, b;
    begin(&scene);
    CU_ASSERT_EQUAL(create(&scene, "a", &a), 0);
    CU_ASSERT_EQUAL(create(&scene, "b", &b), 0);
    struct command command = {.type = COMMAND_TOPIC_DELETE, .id = a};
    CU_ASSERT_EQUAL(controller_propose(&scene.controller, &command), 0);
    command =
        (struct command){.type = COMMAND_TOPIC_GROW, .id = b, .count = 9, .replicas = {{1}, 1}};
    CU_ASSERT_EQUAL(controller_propose(&scene.controller, &command), 0);
    close_scene(&scene);
    open_scene(&scene);
    CU_ASSERT_EQUAL(scene.controller.cluster.topic_count, 1);
    const struct cluster_topic *topic = cluster_topic(&scene.controller.cluster, "b");
    CU_ASSERT_PTR_NOT_NULL_FATAL(topic);
    CU_ASSERT_EQUAL(topic->partition_count, 9);
    CU_ASSERT_EQUAL(memcmp(&topic->id, &b, sizeof b), 0);
    CU_ASSERT_EQUAL(controller_node(&scene.controller), 1);
    end(&scene);
}

static void
test_listeners(void)
{
    struct scene scene;
    struct uuid id;
    begin(&scene);
    scene.first = (struct controller_listener){.changed = tell_first, .context = &scene};
    scene.second = (struct controller_listener){.changed = tell_second, .context = &scene};
    controller_listen(&scene.controller, &scene.first);
    controller_listen(&scene.controller, &scene.second);
    CU_ASSERT_EQUAL(create(&scene, "a", &id), 0);
    CU_ASSERT_EQUAL(create(&scene, "a", &id), -BUS_ERR_TOPIC_ALREADY_EXISTS);
    struct command command = {
        .type = COMMAND_TOPIC_DELETE, .id = cluster_topic(&scene.controller.cluster, "a")->id};
    CU_ASSERT_EQUAL(controller_check(&scene.controller, &command), 0);
    CU_ASSERT_PTR_NOT_NULL(cluster_topic(&scene.controller.cluster, "a"));
    CU_ASSERT_EQUAL(controller_propose(&scene.controller, &command), 0);
    CU_ASSERT_STRING_EQUAL(scene.told, "1:1:a 2:1 1:2:a 2:2 ");
    end(&scene);
}

/** A command that cannot be stored changes nothing. */
static void
test_full_disk(void)
{
    struct scene scene;
    struct meta *meta;
    char folder[] = "/tmp/shmbus-test-controller-XXXXXX";
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    struct meta_options options = {folder, 100 * 4096, 1};
    CU_ASSERT_EQUAL_FATAL(meta_open(&options, &meta), 0);
    CU_ASSERT_EQUAL_FATAL(controller_open(&scene.controller, meta, NULL), 0);
    struct command node = {.type = COMMAND_NODE_REGISTER, .node = 1, .name = ""};
    CU_ASSERT_EQUAL(controller_propose(&scene.controller, &node), 0);
    struct uuid id = {{9}};
    struct command command = {.type = COMMAND_TOPIC_CREATE,
        .name = "large",
        .id = id,
        .count = 10000,
        .replicas = {{1}, 1}};
    CU_ASSERT_EQUAL(controller_propose(&scene.controller, &command), 0);
    command.id.b[0]++;
    command.name = "larger";
    for (int i = 0; i < 4; i++)
        CU_ASSERT(controller_propose(&scene.controller, &command) < 0);
    CU_ASSERT_EQUAL(scene.controller.cluster.topic_count, 1);
    CU_ASSERT_PTR_NULL(cluster_topic(&scene.controller.cluster, "larger"));
    scene.meta = meta;
    snprintf(scene.folder, sizeof scene.folder, "%s", folder);
    end(&scene);
}

static const struct unit_case cases[] = {
    {"the state is there again after a restart", test_state_stays},
    {"listeners are told in order, of what was committed", test_listeners},
    {"what cannot be stored changes nothing", test_full_disk},
    {NULL, NULL},
};

void
register_controller(void)
{
    unit_register("controller", cases);
}
