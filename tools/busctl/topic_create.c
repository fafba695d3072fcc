/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"

enum { PARTITIONS_MAX = 10000 };

struct plan {
    struct opt_settings settings;
    int64_t partitions;
};

static const struct opt_row options[] = {
    {'p', "partitions", "N", "how many partitions, 1 to 10000; default: busd's num.partitions",
        OPT_NOTHING},
    {'c', "config", "NAME=VALUE",
        "a setting of the topic, see 'config list -s topic'; may be given several times",
        OPT_TOPIC_SETTING},
    {0},
};

static const char *const examples[] = {
    "$0 topic create orders -p 4",
    "$0 topic create readings -c retention.ms=3600000 -c segment.bytes=67108864",
    "$0 topic create scratch -c storage.type=memory",
    NULL,
};

static int
parse(struct opts *opts, struct plan *plan)
{
    int code = CTL_OK;
    for (int key; code == CTL_OK && (key = opts_next(opts)) != OPTS_END;) {
        if (key == OPTS_EXIT)
            return -1;
        if (key == 'p')
            code = opts_number(opts, "-p", 1, PARTITIONS_MAX, &plan->partitions);
        else
            code = opts_setting(opts, (char *)opts->value, false, &plan->settings);
    }
    return code != CTL_OK ? code : opts_expect(opts, 1, -1, "the name of a topic");
}

static int
create(struct ctl *ctl, struct opts *opts, const struct plan *plan)
{
    struct bus *bus;
    int code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    for (char **topic = opts_arguments(opts); *topic; topic++) {
        int rc = bus_topic_create(
            bus, *topic, (int32_t)plan->partitions, plan->settings.rows, plan->settings.count);
        if (rc < 0)
            code = ctl_fail_bus(ctl, rc, *topic);
    }
    bus_close(&bus);
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct plan plan = {.partitions = -1};
    int code = parse(opts, &plan);
    if (code == CTL_OK)
        code = create(ctl, opts, &plan);
    opts_settings_fini(&plan.settings);
    return code < 0 ? opts->exit_code : code;
}

const struct command command_topic_create = {
    .group = "topic",
    .name = "create",
    .arguments = "TOPIC...",
    .text = "Creates topics.",
    .options = options,
    .examples = examples,
    .run = run,
};
