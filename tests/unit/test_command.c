/* SPDX-License-Identifier: Apache-2.0 */
#include "core/command.h"

#include "unit/unit.h"

#include <string.h>

static const struct command_setting three_settings[] = {
    {"retention.ms", "5s", SETTING_OP_SET},
    {"cleanup.policy", NULL, SETTING_OP_DELETE},
    {"access.read", "user:anna", SETTING_OP_APPEND},
};

static struct command
full_command(void)
{
    struct command command = {
        .type = COMMAND_TOPIC_ALTER,
        .name = "orders",
        .node = -1,
        .count = 12,
        .replicas = {{1, 2, 3, 4, 5, 6, 7}, 7},
        .settings = three_settings,
        .setting_count = 3,
    };
    memset(command.id.b, 0xab, sizeof command.id.b);
    return command;
}

static void
check_same(const struct command *a, const struct command *b)
{
    CU_ASSERT_EQUAL(a->type, b->type);
    CU_ASSERT_STRING_EQUAL(a->name, b->name);
    CU_ASSERT_EQUAL(memcmp(&a->id, &b->id, sizeof a->id), 0);
    CU_ASSERT_EQUAL(a->node, b->node);
    CU_ASSERT_EQUAL(a->count, b->count);
    CU_ASSERT_EQUAL(a->replicas.count, b->replicas.count);
    CU_ASSERT_EQUAL(memcmp(a->replicas.nodes, b->replicas.nodes, sizeof a->replicas.nodes), 0);
    CU_ASSERT_EQUAL_FATAL(a->setting_count, b->setting_count);
    for (size_t i = 0; i < a->setting_count; i++) {
        CU_ASSERT_EQUAL(a->settings[i].op, b->settings[i].op);
        CU_ASSERT_STRING_EQUAL(a->settings[i].name, b->settings[i].name);
        if (a->settings[i].value)
            CU_ASSERT_STRING_EQUAL(a->settings[i].value, b->settings[i].value);
    }
}

static void
test_there_and_back(void)
{
    struct command command = full_command(), back;
    struct arena arena;
    struct buf bytes;
    buf_init(&bytes);
    arena_init(&arena, 1 << 20);
    CU_ASSERT_EQUAL_FATAL(command_encode(&command, &bytes), 0);
    CU_ASSERT_EQUAL_FATAL(command_decode(bytes.data, bytes.length, &back, &arena), 0);
    check_same(&command, &back);
    CU_ASSERT_PTR_NULL(back.settings[1].value);
    buf_clear(&bytes);
    struct command bare = {.type = COMMAND_PRODUCER_IDS, .count = 5};
    CU_ASSERT_EQUAL_FATAL(command_encode(&bare, &bytes), 0);
    CU_ASSERT_EQUAL_FATAL(command_decode(bytes.data, bytes.length, &back, &arena), 0);
    CU_ASSERT_PTR_NULL(back.name);
    CU_ASSERT_EQUAL(back.setting_count, 0);
    arena_fini(&arena);
    buf_fini(&bytes);
}

/** Every prefix of a command, and a command with a byte behind it, is refused. */
static void
test_cut_or_longer(void)
{
    struct command command = full_command(), back;
    struct arena arena;
    struct buf bytes;
    buf_init(&bytes);
    arena_init(&arena, 1 << 20);
    CU_ASSERT_EQUAL_FATAL(command_encode(&command, &bytes), 0);
    for (size_t n = 0; n < bytes.length; n++) {
        CU_ASSERT_EQUAL(command_decode(bytes.data, n, &back, &arena), -BUS_ERR_CORRUPT_MESSAGE);
        arena_reset(&arena);
    }
    buf_put(&bytes, "", 1);
    CU_ASSERT_EQUAL(
        command_decode(bytes.data, bytes.length, &back, &arena), -BUS_ERR_CORRUPT_MESSAGE);
    arena_fini(&arena);
    buf_fini(&bytes);
}

/** Each byte set to each of some values: refused or read, never worse. */
static void
test_hostile_bytes(void)
{
    static const uint8_t values[] = {0, 1, 7, 8, 0x7f, 0x80, 0xff};
    struct command command = full_command(), back;
    struct arena arena;
    struct buf bytes;
    unsigned refused = 0;
    buf_init(&bytes);
    arena_init(&arena, 1 << 20);
    CU_ASSERT_EQUAL_FATAL(command_encode(&command, &bytes), 0);
    for (size_t i = 0; i < bytes.length; i++) {
        uint8_t was = bytes.data[i];
        for (size_t v = 0; v < sizeof values; v++) {
            bytes.data[i] = values[v];
            refused += command_decode(bytes.data, bytes.length, &back, &arena) < 0;
            arena_reset(&arena);
        }
        bytes.data[i] = was;
    }
    CU_ASSERT(refused > bytes.length);
    bytes.data[0] = 2;
    CU_ASSERT_EQUAL(command_decode(bytes.data, bytes.length, &back, &arena), -BUS_ERR_DATA_VERSION);
    arena_fini(&arena);
    buf_fini(&bytes);
}

static void
test_limits(void)
{
    static struct command_setting many[COMMAND_SETTINGS_MAX + 1];
    struct command command = full_command();
    struct buf bytes;
    buf_init(&bytes);
    for (size_t i = 0; i <= COMMAND_SETTINGS_MAX; i++)
        many[i] = three_settings[0];
    command.settings = many;
    command.setting_count = COMMAND_SETTINGS_MAX;
    CU_ASSERT_EQUAL(command_encode(&command, &bytes), 0);
    size_t length = bytes.length;
    command.setting_count++;
    CU_ASSERT_EQUAL(command_encode(&command, &bytes), -BUS_ERR_INVALID_REQUEST);
    command.setting_count = 0;
    command.replicas.count = CLUSTER_REPLICAS_MAX + 1;
    CU_ASSERT_EQUAL(command_encode(&command, &bytes), -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(bytes.length, length);
    buf_fini(&bytes);
}

static const struct unit_case cases[] = {
    {"a command comes back as it was", test_there_and_back},
    {"a cut or longer command is refused", test_cut_or_longer},
    {"hostile bytes are refused", test_hostile_bytes},
    {"too much for one command is refused", test_limits},
    {NULL, NULL},
};

void
register_command(void)
{
    unit_register("command", cases);
}
