/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"

enum { PARTITIONS_MAX = 10000 };

static const struct opt_row options[] = {
    {'p', "partitions", "N", "raise the number of partitions to N", OPT_NOTHING},
    {'c', "config", "NAME=VALUE",
        "change a setting, see 'config list -s topic'; NAME alone: back to the default",
        OPT_TOPIC_SETTING},
    {0},
};

static const char *const examples[] = {
    "$0 topic alter orders -c retention.ms=86400000",
    "$0 topic alter orders -c retention.ms",
    "$0 topic alter orders -p 8",
    NULL,
};

static int
alter(struct ctl *ctl, const char *topic, const struct opt_settings *settings, int64_t partitions)
{
    struct bus *bus;
    int code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    int rc = 0;
    if (settings->count > 0)
        rc = bus_topic_alter(bus, topic, settings->rows, settings->count);
    if (rc == 0 && partitions > 0)
        rc = bus_topic_grow(bus, topic, (int32_t)partitions);
    if (rc < 0)
        code = ctl_fail_bus(ctl, rc, topic);
    bus_close(&bus);
    return code;
}

static int
parse(struct opts *opts, struct opt_settings *settings, int64_t *partitions)
{
    int code = CTL_OK;
    for (int key; code == CTL_OK && (key = opts_next(opts)) != OPTS_END;) {
        if (key == OPTS_EXIT)
            return -1;
        if (key == 'p')
            code = opts_number(opts, "-p", 1, PARTITIONS_MAX, partitions);
        else
            code = opts_setting(opts, (char *)opts->value, true, settings);
    }
    if (code == CTL_OK)
        code = opts_expect(opts, 1, 1, "the name of a topic");
    if (code == CTL_OK && settings->count == 0 && *partitions < 0)
        code = ctl_usage(opts->ctl, "nothing to change: give -c or -p");
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct opt_settings settings = {0};
    int64_t partitions = -1;
    int code = parse(opts, &settings, &partitions);
    if (code == CTL_OK)
        code = alter(ctl, opts_arguments(opts)[0], &settings, partitions);
    opts_settings_fini(&settings);
    return code < 0 ? opts->exit_code : code;
}

const struct command command_topic_alter = {
    .group = "topic",
    .name = "alter",
    .arguments = "TOPIC",
    .text = "Changes the settings of a topic, or raises its number of partitions.",
    .options = options,
    .examples = examples,
    .first = OPT_TOPIC,
    .run = run,
};
