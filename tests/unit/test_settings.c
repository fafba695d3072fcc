/* SPDX-License-Identifier: Apache-2.0 */
#include "core/settings.h"

#include "unit/unit.h"

#include <stdio.h>
#include <string.h>

static const struct setting_table *const tables[] = {&setting_table_topic, &setting_table_broker};

static void
test_defaults_are_canonical(void)
{
    for (size_t t = 0; t < 2; t++) {
        struct settings layer;
        settings_init(&layer, tables[t], SETTING_FROM_STATIC, NULL);
        for (unsigned i = 0; i < tables[t]->count; i++) {
            const struct setting_row *row = &tables[t]->rows[i];
            char space[SETTING_FORMAT_BYTES];
            CU_ASSERT_EQUAL(settings_source(&layer, i), SETTING_FROM_DEFAULT);
            CU_ASSERT_EQUAL(settings_set(&layer, i, row->standard), 0);
            CU_ASSERT_STRING_EQUAL(settings_format(&layer, i, space), row->standard);
            CU_ASSERT_EQUAL(settings_source(&layer, i), SETTING_FROM_STATIC);
            CU_ASSERT(strlen(row->text) > 10);
            CU_ASSERT_EQUAL(settings_find(tables[t], row->name), (int)i);
        }
        settings_fini(&layer);
    }
}

static void
test_tables_fit_together(void)
{
    for (unsigned i = 0; i < TOPIC_SETTINGS; i++) {
        const struct setting_row *own = &setting_table_topic.rows[i];
        const struct setting_row *theirs =
            &setting_table_broker.rows[setting_table_topic.parent_first + i];
        CU_ASSERT_STRING_EQUAL(own->standard, theirs->standard);
        CU_ASSERT_EQUAL(own->type, theirs->type);
    }
    CU_ASSERT_EQUAL(setting_table_topic.parent_first, BROKER_TOPIC_CLEANUP_POLICY);
    for (unsigned i = 0; i < BROKER_SETTINGS; i++)
        for (unsigned j = 0; j < i; j++)
            CU_ASSERT_STRING_NOT_EQUAL(
                setting_table_broker.rows[i].name, setting_table_broker.rows[j].name);
}

/** Sets the row at its limits and just outside. */
static void
try_limits(struct settings *layer, unsigned i)
{
    const struct setting_row *row = &layer->table->rows[i];
    const char *format = strcmp(row->unit, "octal") == 0 ? "%llo" : "%lld";
    char text[SETTING_FORMAT_BYTES];
    snprintf(text, sizeof text, format, (long long)row->min);
    CU_ASSERT_EQUAL(settings_set(layer, i, text), 0);
    CU_ASSERT_EQUAL(settings_int(layer, i), row->min);
    snprintf(text, sizeof text, format, (long long)row->max);
    CU_ASSERT_EQUAL(settings_set(layer, i, text), 0);
    CU_ASSERT_EQUAL(settings_int(layer, i), row->max);
    snprintf(text, sizeof text, format, (long long)row->min - 1);
    CU_ASSERT_EQUAL(settings_set(layer, i, text), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), row->name));
    if (row->max < INT64_MAX) {
        snprintf(text, sizeof text, format, (long long)row->max + 1);
        CU_ASSERT_EQUAL(settings_set(layer, i, text), -BUS_ERR_INVALID_CONFIG);
        CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), text));
    }
    CU_ASSERT_EQUAL(settings_int(layer, i), row->max);
}

static void
test_numbers_at_their_limits(void)
{
    for (size_t t = 0; t < 2; t++) {
        struct settings layer;
        settings_init(&layer, tables[t], SETTING_FROM_STATIC, NULL);
        for (unsigned i = 0; i < tables[t]->count; i++)
            if (tables[t]->rows[i].type == SETTING_INT || tables[t]->rows[i].type == SETTING_LONG)
                try_limits(&layer, i);
        settings_fini(&layer);
    }
}

static void
test_units(void)
{
    static const struct {
        unsigned row;
        const char *text;
        int64_t value;
    } good[] = {
        {TOPIC_SEGMENT_BYTES, "64m", 67108864},
        {TOPIC_SEGMENT_BYTES, "1G", 1073741824},
        {TOPIC_RETENTION_BYTES, "1t", INT64_C(1099511627776)},
        {TOPIC_MAX_MESSAGE_BYTES, "64k", 65536},
        {TOPIC_RETENTION_MS, "10ms", 10},
        {TOPIC_RETENTION_MS, "5s", 5000},
        {TOPIC_RETENTION_MS, "2m", 120000},
        {TOPIC_RETENTION_MS, "1h", 3600000},
        {TOPIC_RETENTION_MS, "7d", 604800000},
        {TOPIC_RETENTION_MS, "-1", -1},
    };
    struct settings layer;
    settings_init(&layer, &setting_table_topic, SETTING_FROM_TOPIC, NULL);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CU_ASSERT_EQUAL(settings_set(&layer, good[i].row, good[i].text), 0);
        CU_ASSERT_EQUAL(settings_int(&layer, good[i].row), good[i].value);
    }
    static const struct {
        unsigned row;
        const char *text;
    } bad[] = {
        {TOPIC_SEGMENT_BYTES, ""},
        {TOPIC_SEGMENT_BYTES, " 64m"},
        {TOPIC_SEGMENT_BYTES, "+67108864"},
        {TOPIC_SEGMENT_BYTES, "64 m"},
        {TOPIC_SEGMENT_BYTES, "64s"},
        {TOPIC_SEGMENT_BYTES, "64mm"},
        {TOPIC_SEGMENT_BYTES, "0x4000000"},
        {TOPIC_RETENTION_MS, "9223372036854775808"},
        {TOPIC_RETENTION_MS, "9223372036854775807d"},
        {TOPIC_RETENTION_MS, "h"},
        {TOPIC_MIN_CLEANABLE_DIRTY_RATIO, "nan"},
        {TOPIC_MIN_CLEANABLE_DIRTY_RATIO, "1.01"},
        {TOPIC_MIN_CLEANABLE_DIRTY_RATIO, "-0.01"},
        {TOPIC_MIN_CLEANABLE_DIRTY_RATIO, "0.5x"},
        {TOPIC_FLUSH_ON_ACK, "yes"},
        {TOPIC_FLUSH_ON_ACK, ""},
        {TOPIC_STORAGE_TYPE, "disk|memory"},
        {TOPIC_STORAGE_TYPE, ""},
        {TOPIC_CLEANUP_POLICY, ""},
        {TOPIC_CLEANUP_POLICY, "shred"},
        {TOPIC_ACCESS_READ, "user:"},
        {TOPIC_ACCESS_READ, "anna"},
        {TOPIC_ACCESS_READ, "group:a b"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(settings_set(&layer, bad[i].row, bad[i].text), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_EQUAL(settings_set(&layer, 0, NULL), -BUS_ERR_INVALID_CONFIG);
    settings_fini(&layer);
}

static void
test_words_and_reals(void)
{
    char space[SETTING_FORMAT_BYTES];
    struct settings layer;
    settings_init(&layer, &setting_table_topic, SETTING_FROM_TOPIC, NULL);
    CU_ASSERT_EQUAL(settings_set(&layer, TOPIC_MESSAGE_TIMESTAMP_TYPE, "logappendtime"), 0);
    CU_ASSERT_EQUAL(settings_int(&layer, TOPIC_MESSAGE_TIMESTAMP_TYPE), TOPIC_LOG_APPEND_TIME);
    CU_ASSERT_STRING_EQUAL(
        settings_format(&layer, TOPIC_MESSAGE_TIMESTAMP_TYPE, space), "LogAppendTime");
    CU_ASSERT_EQUAL(settings_set(&layer, TOPIC_FLUSH_ON_ACK, "FALSE"), 0);
    CU_ASSERT_FALSE(settings_bool(&layer, TOPIC_FLUSH_ON_ACK));
    CU_ASSERT_EQUAL(settings_set(&layer, TOPIC_MIN_CLEANABLE_DIRTY_RATIO, "0.10"), 0);
    CU_ASSERT_DOUBLE_EQUAL(settings_real(&layer, TOPIC_MIN_CLEANABLE_DIRTY_RATIO), 0.1, 1e-12);
    CU_ASSERT_STRING_EQUAL(settings_format(&layer, TOPIC_MIN_CLEANABLE_DIRTY_RATIO, space), "0.1");
    settings_unset(&layer, TOPIC_MIN_CLEANABLE_DIRTY_RATIO);
    CU_ASSERT_DOUBLE_EQUAL(settings_real(&layer, TOPIC_MIN_CLEANABLE_DIRTY_RATIO), 0.5, 1e-12);
    settings_fini(&layer);
}

static void
test_lists(void)
{
    struct settings layer;
    settings_init(&layer, &setting_table_topic, SETTING_FROM_TOPIC, NULL);
    CU_ASSERT_EQUAL(settings_set(&layer, TOPIC_CLEANUP_POLICY, " compact , delete,compact,"), 0);
    CU_ASSERT_STRING_EQUAL(settings_text(&layer, TOPIC_CLEANUP_POLICY), "compact,delete");
    CU_ASSERT(settings_list_has(&layer, TOPIC_CLEANUP_POLICY, "delete"));
    CU_ASSERT_FALSE(settings_list_has(&layer, TOPIC_CLEANUP_POLICY, "del"));
    CU_ASSERT_EQUAL(settings_alter(&layer, TOPIC_CLEANUP_POLICY, SETTING_OP_SUBTRACT, "delete"), 0);
    CU_ASSERT_STRING_EQUAL(settings_text(&layer, TOPIC_CLEANUP_POLICY), "compact");
    CU_ASSERT_EQUAL(settings_alter(&layer, TOPIC_CLEANUP_POLICY, SETTING_OP_SUBTRACT, "compact"),
        -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_EQUAL(settings_alter(&layer, TOPIC_CLEANUP_POLICY, SETTING_OP_APPEND, "delete"), 0);
    CU_ASSERT_STRING_EQUAL(settings_text(&layer, TOPIC_CLEANUP_POLICY), "compact,delete");
    CU_ASSERT_EQUAL(settings_alter(&layer, TOPIC_CLEANUP_POLICY, SETTING_OP_DELETE, NULL), 0);
    CU_ASSERT_STRING_EQUAL(settings_text(&layer, TOPIC_CLEANUP_POLICY), "delete");
    CU_ASSERT_FALSE(settings_is_set(&layer, TOPIC_CLEANUP_POLICY));
    CU_ASSERT_EQUAL(
        settings_alter(&layer, TOPIC_SEGMENT_MS, SETTING_OP_APPEND, "1"), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_EQUAL(settings_alter(&layer, TOPIC_SEGMENT_MS, (enum setting_op)9, "1"),
        -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(settings_set(&layer, TOPIC_ACCESS_DIRECT, ""), 0);
    CU_ASSERT_STRING_EQUAL(settings_text(&layer, TOPIC_ACCESS_DIRECT), "");
    settings_fini(&layer);
}

static void
test_long_values(void)
{
    char text[SETTING_TEXT_BYTES_MAX + 1];
    struct settings layer;
    settings_init(&layer, &setting_table_broker, SETTING_FROM_STATIC, NULL);
    memset(text, 'x', sizeof text);
    text[200] = '\0';
    CU_ASSERT_EQUAL(settings_set(&layer, BROKER_DATA_FOLDER, text), 0);
    text[200] = 'x';
    text[201] = '\0';
    CU_ASSERT_EQUAL(settings_set(&layer, BROKER_DATA_FOLDER, text), -BUS_ERR_INVALID_CONFIG);
    text[201] = 'x';
    text[SETTING_TEXT_BYTES_MAX] = '\0';
    CU_ASSERT_EQUAL(settings_set(&layer, BROKER_DATA_FOLDER, text), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_EQUAL(strlen(settings_text(&layer, BROKER_DATA_FOLDER)), 200);
    settings_fini(&layer);
}

static void
test_layers(void)
{
    struct settings fixed, dynamic, topic;
    settings_init(&fixed, &setting_table_broker, SETTING_FROM_STATIC, NULL);
    settings_init(&dynamic, &setting_table_broker, SETTING_FROM_DYNAMIC, &fixed);
    settings_init(&topic, &setting_table_topic, SETTING_FROM_TOPIC, &dynamic);
    CU_ASSERT_EQUAL(settings_int(&topic, TOPIC_SEGMENT_BYTES), 1073741824);
    CU_ASSERT_EQUAL(settings_set_named(&fixed, "log.segment.bytes", "2m"), 0);
    CU_ASSERT_EQUAL(settings_int(&topic, TOPIC_SEGMENT_BYTES), 2 << 20);
    CU_ASSERT_EQUAL(settings_source(&topic, TOPIC_SEGMENT_BYTES), SETTING_FROM_STATIC);
    CU_ASSERT_EQUAL(settings_set(&dynamic, BROKER_TOPIC_SEGMENT_BYTES, "3m"), 0);
    CU_ASSERT_EQUAL(settings_int(&topic, TOPIC_SEGMENT_BYTES), 3 << 20);
    CU_ASSERT_EQUAL(settings_source(&topic, TOPIC_SEGMENT_BYTES), SETTING_FROM_DYNAMIC);
    CU_ASSERT_EQUAL(settings_set(&topic, TOPIC_SEGMENT_BYTES, "4m"), 0);
    CU_ASSERT_EQUAL(settings_int(&topic, TOPIC_SEGMENT_BYTES), 4 << 20);
    CU_ASSERT_EQUAL(settings_source(&topic, TOPIC_SEGMENT_BYTES), SETTING_FROM_TOPIC);
    CU_ASSERT_EQUAL(settings_set(&dynamic, BROKER_TOPIC_ACCESS_READ, "self"), 0);
    CU_ASSERT_STRING_EQUAL(settings_text(&topic, TOPIC_ACCESS_READ), "self");
    settings_fini(&topic);
    settings_fini(&dynamic);
    settings_fini(&fixed);
}

static void
test_copy_and_swap(void)
{
    struct settings a, b;
    settings_init(&a, &setting_table_topic, SETTING_FROM_TOPIC, NULL);
    settings_init(&b, &setting_table_topic, SETTING_FROM_TOPIC, NULL);
    CU_ASSERT_EQUAL(settings_set(&a, TOPIC_ACCESS_READ, "user:anna"), 0);
    CU_ASSERT_EQUAL(settings_copy(&b, &a), 0);
    CU_ASSERT_EQUAL(settings_set(&a, TOPIC_ACCESS_READ, "*"), 0);
    CU_ASSERT_STRING_EQUAL(settings_text(&b, TOPIC_ACCESS_READ), "user:anna");
    settings_swap(&a, &b);
    CU_ASSERT_STRING_EQUAL(settings_text(&a, TOPIC_ACCESS_READ), "user:anna");
    CU_ASSERT_STRING_EQUAL(settings_text(&b, TOPIC_ACCESS_READ), "*");
    settings_fini(&b);
    CU_ASSERT_EQUAL(settings_copy(&a, &b), 0);
    CU_ASSERT_FALSE(settings_is_set(&a, TOPIC_ACCESS_READ));
    settings_fini(&a);
}

static void
test_unknown_names(void)
{
    CU_ASSERT_EQUAL(settings_find(&setting_table_topic, "retention.msec"), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "did you mean retention.ms?"));
    CU_ASSERT_EQUAL(settings_find(&setting_table_broker, "numpartitions"), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "did you mean num.partitions?"));
    CU_ASSERT_EQUAL(settings_find(&setting_table_topic, "zzzzzzzz"), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "busctl config list"));
    CU_ASSERT_EQUAL(settings_find(&setting_table_topic, ""), -BUS_ERR_INVALID_CONFIG);
    char name[300];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    CU_ASSERT_EQUAL(settings_find(&setting_table_topic, name), -BUS_ERR_INVALID_CONFIG);
}

static void
test_topic_as_a_whole(void)
{
    struct settings topic;
    settings_init(&topic, &setting_table_topic, SETTING_FROM_TOPIC, NULL);
    CU_ASSERT_EQUAL(settings_check_topic(&topic), 0);
    CU_ASSERT_EQUAL(settings_set(&topic, TOPIC_MIN_COMPACTION_LAG_MS, "10"), 0);
    CU_ASSERT_EQUAL(settings_set(&topic, TOPIC_MAX_COMPACTION_LAG_MS, "10"), 0);
    CU_ASSERT_EQUAL(settings_check_topic(&topic), 0);
    CU_ASSERT_EQUAL(settings_set(&topic, TOPIC_MAX_COMPACTION_LAG_MS, "9"), 0);
    CU_ASSERT_EQUAL(settings_check_topic(&topic), -BUS_ERR_INVALID_CONFIG);
    settings_fini(&topic);
}

static const struct unit_case cases[] = {
    {"every default is its own canonical text", test_defaults_are_canonical},
    {"the tables of topic and busd fit together", test_tables_fit_together},
    {"numbers are checked at their limits", test_numbers_at_their_limits},
    {"sizes and durations are understood", test_units},
    {"words, booleans and reals are understood", test_words_and_reals},
    {"lists are cleaned, added to and taken from", test_lists},
    {"long values are refused", test_long_values},
    {"a topic falls back on busd, by run time, file and table", test_layers},
    {"layers are copied and swapped", test_copy_and_swap},
    {"an unknown name is answered with the nearest", test_unknown_names},
    {"the values of a topic must fit together", test_topic_as_a_whole},
    {NULL, NULL},
};

void
register_settings(void)
{
    unit_register("settings", cases);
}
