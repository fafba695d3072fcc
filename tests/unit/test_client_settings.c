/* SPDX-License-Identifier: Apache-2.0
 * The table of client settings: parsing, ranges, rows.
 */
#include "client/settings.h"
#include "unit/unit.h"

#include <bus/bus.h>
#include <string.h>

static void
expect(const char *name, const char *value, const char *then)
{
    struct bus_config *config = bus_config_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(config);
    CU_ASSERT_EQUAL(bus_config_set(config, name, value), 0);
    CU_ASSERT_STRING_EQUAL(bus_config_get(config, name), then);
    bus_config_free(&config);
    CU_ASSERT_PTR_NULL(config);
}

static void
refuse(const char *name, const char *value)
{
    struct bus_config *config = bus_config_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(config);
    const char *before = bus_config_get(config, name);
    char copy[SETTINGS_STRING_BYTES_MAX] = "";
    if (before)
        memcpy(copy, before, strlen(before) + 1);
    CU_ASSERT_EQUAL(bus_config_set(config, name, value), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), name));
    if (before)
        CU_ASSERT_STRING_EQUAL(bus_config_get(config, name), copy);
    bus_config_free(&config);
}

static void
test_numbers(void)
{
    expect("batch.size", "65536", "65536");
    expect("batch.size", "64k", "65536");
    expect("batch.size", "1M", "1048576");
    expect("buffer.memory", "1g", "1073741824");
    expect("linger.ms", "5", "5");
    expect("linger.ms", "2s", "2000");
    expect("max.block.ms", "1m", "60000");
    expect("compression.level", "-5", "-5");
}

static void
test_number_limits(void)
{
    expect("linger.ms", "0", "0");
    expect("linger.ms", "900000", "900000");
    refuse("linger.ms", "900001");
    refuse("linger.ms", "-1");
    expect("batch.size", "128", "128");
    refuse("batch.size", "127");
    refuse("batch.size", "");
    refuse("batch.size", "x");
    refuse("batch.size", "10q");
    refuse("batch.size", " 200");
    refuse("batch.size", "0x200");
    refuse("batch.size", "99999999999999999999");
    refuse("batch.size", "9223372036854775807k");
    refuse("linger.ms", "5k");
}

static void
test_choices(void)
{
    expect("acks", "0", "0");
    expect("acks", "1", "1");
    expect("acks", "all", "all");
    expect("acks", "-1", "all");
    expect("compression.type", "ZSTD", "zstd");
    expect("auto.offset.reset", "earliest", "earliest");
    refuse("acks", "2");
    refuse("acks", "al");
    refuse("compression.type", "brotli");
    refuse("isolation.level", "read_committed");
    expect("allow.auto.create.topics", "FALSE", "false");
    refuse("allow.auto.create.topics", "1");
}

static void
test_strings(void)
{
    char path[200];
    memset(path, 'p', sizeof path);
    path[107] = '\0';
    expect("socket.path", path, path);
    path[107] = 'p';
    path[108] = '\0';
    refuse("socket.path", path);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "give a shorter one"));
    refuse("no.such.thing", "1");
}

static void
test_rows(void)
{
    struct bus_config *config = bus_config_new();
    struct bus_config_row row;
    size_t count = 0;
    for (; bus_config_row(count, &row) == 0; count++) {
        CU_ASSERT(strlen(row.text) > 10);
        CU_ASSERT_STRING_EQUAL(bus_config_get(config, row.name), row.default_value);
        CU_ASSERT_EQUAL(bus_config_set(config, row.name, row.default_value), 0);
        CU_ASSERT(strcmp(row.type, "string") == 0 || *row.range);
    }
    CU_ASSERT(count > 20);
    CU_ASSERT_EQUAL(bus_config_row(count, &row), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_PTR_NULL(bus_config_get(config, "no.such.thing"));
    bus_config_free(&config);
    bus_config_free(&config);
}

static void
test_parsed(void)
{
    struct bus_config *config = bus_config_new();
    struct settings settings;
    settings_of(NULL, &settings);
    CU_ASSERT_EQUAL(settings.acks, SETTING_ACKS_ALL);
    CU_ASSERT_EQUAL(settings.linger_ms, 0);
    CU_ASSERT_EQUAL(bus_config_set(config, "acks", "1"), 0);
    CU_ASSERT_EQUAL(bus_config_set(config, "isolation.level", "read_durable"), 0);
    CU_ASSERT_EQUAL(bus_config_set(config, "socket.path", "/a/b"), 0);
    settings_of(config, &settings);
    CU_ASSERT_EQUAL(settings.acks, SETTING_ACKS_LEADER);
    CU_ASSERT_EQUAL(settings.isolation_level, SETTING_READ_DURABLE);
    CU_ASSERT_STRING_EQUAL(settings.socket_path, "/a/b");
    bus_config_free(&config);
}

static const struct unit_case cases[] = {
    {"reads numbers with units", test_numbers},
    {"refuses numbers out of range or malformed", test_number_limits},
    {"knows the choices", test_choices},
    {"takes strings up to their length", test_strings},
    {"tells its rows", test_rows},
    {"gives the values parsed", test_parsed},
    {NULL, NULL},
};

void
register_client_settings(void)
{
    unit_register("client_settings", cases);
}
