/* SPDX-License-Identifier: Apache-2.0 */
#include "configuration.h"

#include "unit/unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** Reads `text` as a file; the layer is to be ended. */
static int
read_text(const char *text, struct settings *settings)
{
    settings_init(settings, &setting_table_broker, SETTING_FROM_STATIC, NULL);
    FILE *stream = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    int rc = config_read(stream, "busd.conf", settings);
    fclose(stream);
    return rc;
}

static void
test_good_file(void)
{
    struct settings settings;
    CU_ASSERT_EQUAL(read_text("# a comment\n"
                              "num.partitions = 4   ; another\n"
                              "[busd]\n"
                              "log.retention.ms: 7d\n"
                              "topic.access.read = user:anna,\n"
                              "    group:staff\n"
                              "topic.access.read = self\n"
                              "data.folder=\n"
                              "log.segment.bytes=1g",
                        &settings),
        0);
    CU_ASSERT_EQUAL(settings_int(&settings, BROKER_NUM_PARTITIONS), 4);
    CU_ASSERT_EQUAL(settings_int(&settings, BROKER_TOPIC_RETENTION_MS), 604800000);
    CU_ASSERT_EQUAL(settings_int(&settings, BROKER_TOPIC_SEGMENT_BYTES), 1 << 30);
    CU_ASSERT_STRING_EQUAL(
        settings_text(&settings, BROKER_TOPIC_ACCESS_READ), "user:anna,group:staff,self");
    settings_fini(&settings);
}

static void
test_bad_files(void)
{
    static const struct {
        const char *text;
        const char *told;
    } bad[] = {
        {"\nnum.partition = 4\n", "busd.conf:2: busd has no setting \"num.partition\"; did you "
                                  "mean num.partitions?"},
        {"num.partitions = 0\n",
            "busd.conf:1: num.partitions=0: expected a number from 1 to 10000"},
        {"num.partitions = 1\nnum.partitions = 2\n", "busd.conf:2: num.partitions is set twice"},
        {"num.partitions = 1\n  2\n", "busd.conf:2: num.partitions is set twice"},
        {"[server]\nnum.partitions = 1\n", "busd.conf:2: there is no section [server]"},
        {"num.partitions\n", "busd.conf:1:"},
        {"[busd\n", "busd.conf:1:"},
        {"= 4\n", "busd.conf:1:"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct settings settings;
        CU_ASSERT_EQUAL(read_text(bad[i].text, &settings), -BUS_ERR_INVALID_CONFIG);
        CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), bad[i].told));
        settings_fini(&settings);
    }
}

static void
test_long_line(void)
{
    struct settings settings;
    char text[4000];
    memset(text, 'x', sizeof text);
    memcpy(text, "data.folder = ", 14);
    text[sizeof text - 1] = '\0';
    CU_ASSERT_EQUAL(read_text(text, &settings), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "busd.conf:1: a line of more than"));
    settings_fini(&settings);
}

static enum config_command
parse(struct config_flags *flags, int argc, const char *const *words)
{
    char *argv[16] = {0};
    CU_ASSERT_FATAL(argc < 16);
    for (int i = 0; i < argc; i++)
        argv[i] = (char *)(uintptr_t)words[i];
    optind = 0; /* getopt_long() starts anew */
    opterr = 0;
    return config_parse_flags(argc, argv, flags);
}

static void
test_flags(void)
{
    static const char *const words[] = {"busd", "--set", "num.partitions=3", "--data=/d", "--set",
        "num.partitions=5", "--socket", "/s", "--check-config", "--config", "/dev/null"};
    struct config_flags flags;
    struct config config;
    char path[CONFIG_PATH_BYTES_MAX];
    CU_ASSERT_EQUAL(parse(&flags, 11, words), CONFIG_CHECK);
    CU_ASSERT_EQUAL_FATAL(config_load(&flags, &config), 0);
    CU_ASSERT_EQUAL(settings_int(&config.settings, BROKER_NUM_PARTITIONS), 5);
    CU_ASSERT_EQUAL(config_data_folder(&config.settings, path), 0);
    CU_ASSERT_STRING_EQUAL(path, "/d");
    CU_ASSERT_EQUAL(config_socket_path(&config.settings, path), 0);
    CU_ASSERT_STRING_EQUAL(path, "/s");
    config_fini(&config);
    static const char *const version[] = {"busd", "--version"};
    CU_ASSERT_EQUAL(parse(&flags, 2, version), CONFIG_VERSION);
    static const char *const help[] = {"busd", "--help"};
    CU_ASSERT_EQUAL(parse(&flags, 2, help), CONFIG_HELP);
    static const char *const unknown[] = {"busd", "--sett", "x"};
    CU_ASSERT_EQUAL(parse(&flags, 3, unknown), CONFIG_USAGE);
    static const char *const none[] = {"busd"};
    CU_ASSERT_EQUAL(parse(&flags, 1, none), CONFIG_RUN);
    flags.sets[0] = "nonsense=1";
    flags.set_count = 1;
    flags.file = "/dev/null";
    CU_ASSERT_EQUAL(config_load(&flags, &config), -BUS_ERR_INVALID_CONFIG);
    flags.set_count = 0;
    flags.file = "/nowhere/busd.conf";
    CU_ASSERT(config_load(&flags, &config) < 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "/nowhere/busd.conf"));
}

static void
write_text(const char *path, const char *text)
{
    FILE *stream = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    fputs(text, stream);
    fclose(stream);
}

static void
test_reload(void)
{
    char path[] = "/tmp/shmbus-test-config-XXXXXX";
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
    write_text(path, "num.partitions = 2\nlog.retention.ms = 1h\nsocket.mode = 0600\n");
    struct config_flags flags = {.file = path, .sets = {"flush.interval.ms=50ms"}, .set_count = 1};
    struct config config;
    CU_ASSERT_EQUAL_FATAL(config_load(&flags, &config), 0);
    write_text(path, "num.partitions = 3\nsocket.mode = 0660\nflush.interval.ms = 70\n");
    CU_ASSERT_EQUAL(config_reload(&config), 0);
    CU_ASSERT_EQUAL(settings_int(&config.settings, BROKER_NUM_PARTITIONS), 3);
    CU_ASSERT_EQUAL(settings_int(&config.settings, BROKER_TOPIC_RETENTION_MS), 604800000);
    CU_ASSERT_EQUAL(settings_int(&config.settings, BROKER_SOCKET_MODE), 0600);
    CU_ASSERT_EQUAL(settings_int(&config.settings, BROKER_FLUSH_INTERVAL_MS), 50);
    write_text(path, "num.partitions = 4\nnonsense = 1\n");
    CU_ASSERT_EQUAL(config_reload(&config), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_EQUAL(settings_int(&config.settings, BROKER_NUM_PARTITIONS), 3);
    unlink(path);
    CU_ASSERT(config_reload(&config) < 0);
    CU_ASSERT_EQUAL(settings_int(&config.settings, BROKER_NUM_PARTITIONS), 3);
    config_fini(&config);
}

static void
test_long_paths(void)
{
    struct settings settings;
    char path[CONFIG_PATH_BYTES_MAX];
    char *before = getenv("XDG_RUNTIME_DIR");
    char *kept = before ? strdup(before) : NULL;
    char folder[400];
    memset(folder, 'd', sizeof folder - 1);
    folder[0] = '/';
    folder[sizeof folder - 1] = '\0';
    settings_init(&settings, &setting_table_broker, SETTING_FROM_STATIC, NULL);
    setenv("XDG_RUNTIME_DIR", folder, 1);
    int rc = config_socket_path(&settings, path);
    CU_ASSERT_EQUAL(rc, geteuid() == 0 ? 0 : -BUS_ERR_INVALID_CONFIG);
    if (kept)
        setenv("XDG_RUNTIME_DIR", kept, 1);
    else
        unsetenv("XDG_RUNTIME_DIR");
    free(kept);
}

static const struct unit_case cases[] = {
    {"a good file is read", test_good_file},
    {"a bad file is refused with its line", test_bad_files},
    {"a line that is too long is refused", test_long_line},
    {"flags stand above the file", test_flags},
    {"reading again takes what may change", test_reload},
    {"a path that is too long is refused", test_long_paths},
    {NULL, NULL},
};

void
register_config(void)
{
    unit_register("config", cases);
}
