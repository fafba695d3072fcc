/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/top_frame.h"

#include "busctl/text.h"
#include "unit/unit.h"

#include <stdio.h>
#include <string.h>

enum { TOPICS = 30, GROUPS = 8 };

static struct top_topic_row topics[TOPICS];
static struct top_group_row groups[GROUPS];
static char names[TOPICS + GROUPS][48];
static struct top_view view;
static struct bus_status status;

static struct top_scene
scene(size_t topic_count, size_t group_count, int width, int height)
{
    for (size_t i = 0; i < TOPICS; i++) {
        snprintf(names[i], sizeof names[i], "topic-%02zu", i);
        topics[i] = (struct top_topic_row){names[i], 3, 1234567, 5 << 20, 12.4, 1536};
    }
    for (size_t i = 0; i < GROUPS; i++) {
        snprintf(names[TOPICS + i], sizeof names[0], "group-%02zu", i);
        groups[i] = (struct top_group_row){names[TOPICS + i], "Stable", 2, 3, 987, 0.25};
    }
    view = (struct top_view){topics, topic_count, groups, group_count, 3 << 20, 4000, 2048, 987};
    status = (struct bus_status){.version = "1.2.3",
        .data_folder = "/data",
        .uptime_ms = 61000,
        .partitions = 90,
        .open_partitions = 12,
        .connections = 4,
        .memory_bytes = 3 << 20};
    return (struct top_scene){.view = &view,
        .status = &status,
        .disk_bytes = INT64_C(5) << 30,
        .time_ms = 1785585600000,
        .help = "the help",
        .width = width,
        .height = height};
}

/** The first line that has the words; NULL: none has. */
static const char *
line_with(const struct top_frame *frame, const char *words)
{
    for (size_t i = 0; i < frame->count; i++)
        if (strstr(frame->lines[i].text, words))
            return frame->lines[i].text;
    return NULL;
}

static bool
all_words(const char *line, const char *const *words)
{
    for (; line && *words; words++)
        if (!strstr(line, *words))
            return false;
    return line != NULL;
}

static void
test_whole(void)
{
    struct top_scene s = scene(2, 1, 110, 20);
    struct top_frame frame;
    CU_ASSERT_TRUE_FATAL(top_frame_init(&frame, &s));
    CU_ASSERT_EQUAL(frame.count, 20);
    CU_ASSERT(all_words(
        frame.lines[0].text, (const char *const[]){"busd 1.2.3", "up 1m 01s", "/data", NULL}));
    CU_ASSERT(all_words(frame.lines[1].text,
        (const char *const[]){"topics 2", "partitions 90 (open 12)", "groups 1", "connections 4",
            "memory 3.0 MiB", "disk 5.0 GiB free", NULL}));
    CU_ASSERT(all_words(frame.lines[2].text,
        (const char *const[]){"4000 records/s", "2.0 KiB/s", "3.0 MiB", "lag 987", NULL}));
    CU_ASSERT(all_words(line_with(&frame, "topic-01"),
        (const char *const[]){" 3 ", "1234567", "5.0 MiB", " 12 ", "1.5 KiB", NULL}));
    CU_ASSERT(all_words(line_with(&frame, "group-00"),
        (const char *const[]){"Stable", " 2 ", " 3 ", " 987 ", "0.2", NULL}));
    CU_ASSERT_EQUAL(frame.lines[4].style, TOP_TITLE);
    CU_ASSERT_STRING_EQUAL(frame.lines[19].text, "the help");
    CU_ASSERT_PTR_NULL(line_with(&frame, "more"));
    top_frame_fini(&frame);
}

static void
test_every_size(void)
{
    for (int height = 0; height < 45; height++)
        for (int width = 0; width < 120; width += 7) {
            struct top_scene s = scene(TOPICS, GROUPS, width, height);
            struct top_frame frame;
            CU_ASSERT_TRUE_FATAL(top_frame_init(&frame, &s));
            CU_ASSERT_EQUAL(frame.count, (size_t)height);
            for (size_t i = 0; i < frame.count; i++)
                CU_ASSERT(text_columns(frame.lines[i].text) <= (size_t)width);
            top_frame_fini(&frame);
        }
}

static void
test_narrow(void)
{
    struct top_scene s = scene(1, 0, 40, 10);
    struct top_frame frame;
    CU_ASSERT_TRUE_FATAL(top_frame_init(&frame, &s));
    const char *title = line_with(&frame, "TOPIC");
    /* What matters most stays. */
    CU_ASSERT(all_words(title, (const char *const[]){"RECORDS/S", "BYTES/S", NULL}));
    CU_ASSERT_PTR_NULL(strstr(title, "PARTITIONS"));
    CU_ASSERT_PTR_NOT_NULL(line_with(&frame, "topic-00"));
    top_frame_fini(&frame);
}

static void
test_scrolls(void)
{
    /* 12 lines: 3 of the head, one empty, title, 6 of the table, help. */
    struct top_scene s = scene(TOPICS, GROUPS, 100, 12);
    struct top_frame frame;
    s.show = TOP_SHOW_TOPICS;
    CU_ASSERT_TRUE_FATAL(top_frame_init(&frame, &s));
    CU_ASSERT_PTR_NOT_NULL(line_with(&frame, "topic-04"));
    CU_ASSERT_PTR_NULL(line_with(&frame, "topic-05"));
    CU_ASSERT_PTR_NOT_NULL(line_with(&frame, "... 25 more topics"));
    CU_ASSERT_PTR_NULL(line_with(&frame, "group-00"));
    top_frame_fini(&frame);
    s.scroll = 1000;
    CU_ASSERT_TRUE_FATAL(top_frame_init(&frame, &s));
    CU_ASSERT_EQUAL(frame.scroll, TOPICS - 6);
    CU_ASSERT_PTR_NULL(line_with(&frame, "topic-23"));
    CU_ASSERT_PTR_NOT_NULL(line_with(&frame, "topic-24"));
    CU_ASSERT_PTR_NOT_NULL(line_with(&frame, "topic-29"));
    CU_ASSERT_PTR_NULL(line_with(&frame, "more"));
    top_frame_fini(&frame);
    s.show = TOP_SHOW_GROUPS;
    CU_ASSERT_TRUE_FATAL(top_frame_init(&frame, &s));
    CU_ASSERT_EQUAL(frame.scroll, GROUPS - 6);
    CU_ASSERT_PTR_NOT_NULL(line_with(&frame, "group-07"));
    top_frame_fini(&frame);
}

static void
test_groups_have_room(void)
{
    struct top_scene s = scene(TOPICS, GROUPS, 100, 24);
    struct top_frame frame;
    CU_ASSERT_TRUE_FATAL(top_frame_init(&frame, &s));
    CU_ASSERT_PTR_NOT_NULL(line_with(&frame, "group-02"));
    CU_ASSERT_PTR_NOT_NULL(line_with(&frame, "more groups"));
    CU_ASSERT_PTR_NOT_NULL(line_with(&frame, "more topics"));
    top_frame_fini(&frame);
    /* What the topics do not need, the groups get. */
    s = scene(1, GROUPS, 100, 24);
    CU_ASSERT_TRUE_FATAL(top_frame_init(&frame, &s));
    CU_ASSERT_PTR_NOT_NULL(line_with(&frame, "group-07"));
    CU_ASSERT_PTR_NULL(line_with(&frame, "more"));
    top_frame_fini(&frame);
}

static void
test_away(void)
{
    struct top_scene s = scene(1, 0, 100, 10);
    struct top_frame frame;
    s.away = "it went home";
    view.records_per_s = TOP_UNKNOWN;
    topics[0].records_per_s = topics[0].bytes_per_s = TOP_UNKNOWN;
    CU_ASSERT_TRUE_FATAL(top_frame_init(&frame, &s));
    CU_ASSERT_EQUAL(frame.lines[0].style, TOP_ALERT);
    CU_ASSERT_PTR_NOT_NULL(strstr(frame.lines[0].text, "busd is away"));
    CU_ASSERT_PTR_NOT_NULL(strstr(frame.lines[0].text, "it went home"));
    CU_ASSERT_PTR_NOT_NULL(strstr(frame.lines[2].text, "all: - records/s"));
    CU_ASSERT_PTR_NOT_NULL(strstr(line_with(&frame, "topic-00"), "         -          -"));
    top_frame_fini(&frame);
}

static void
test_strange_names(void)
{
    struct top_scene s = scene(0, 1, 100, 12);
    struct top_frame frame;
    snprintf(names[TOPICS], sizeof names[0],
        "\x1b[2Jm\xc3\xbc"
        "de\n");
    CU_ASSERT_TRUE_FATAL(top_frame_init(&frame, &s));
    const char *line = line_with(&frame, "m\xc3\xbc"
                                         "de");
    CU_ASSERT_PTR_NOT_NULL_FATAL(line);
    CU_ASSERT_PTR_NULL(strchr(line, '\x1b'));
    CU_ASSERT_PTR_NULL(strchr(line, '\n'));
    CU_ASSERT_PTR_NOT_NULL(line_with(&frame, "no topics yet"));
    top_frame_fini(&frame);
}

static const struct unit_case cases[] = {
    {"shows everything where there is room", test_whole},
    {"fills any window and no more", test_every_size},
    {"a narrow window keeps what matters", test_narrow},
    {"scrolls as far as there are rows", test_scrolls},
    {"groups have room below many topics", test_groups_have_room},
    {"tells that busd is away", test_away},
    {"names cannot move the cursor", test_strange_names},
    {NULL, NULL},
};

void
register_top_frame(void)
{
    unit_register("top_frame", cases);
}
