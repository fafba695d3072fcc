/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"
#include "busctl/topic_id.h"

static const struct opt_row options[] = {
    {'a', "all", NULL, "also the settings that have their defaults", OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 topic describe orders",
    "$0 topic describe --all --json orders",
    NULL,
};

static int
put_partitions(struct ctl *ctl, struct bus *bus, const char *topic, int32_t count)
{
    struct bus_partition_state state;
    int code = CTL_OK;
    out_list(ctl->out, "partitions");
    for (int32_t i = 0; i < count && code == CTL_OK; i++) {
        int rc = bus_partition_state(bus, topic, i, &state);
        if (rc < 0) {
            code = ctl_fail_bus(ctl, rc, topic);
            break;
        }
        out_object(ctl->out, NULL);
        out_integer(ctl->out, "partition", i);
        out_integer(ctl->out, "start_offset", state.log_start_offset);
        out_integer(ctl->out, "end_offset", state.end_offset);
        out_integer(ctl->out, "durable_offset", state.durable_offset);
        out_integer(ctl->out, "leader", state.leader);
        out_integer(ctl->out, "leader_epoch", state.leader_epoch);
        out_end(ctl->out);
    }
    out_end(ctl->out);
    return code;
}

static int
put_settings(struct ctl *ctl, struct bus *bus, const char *topic, bool all)
{
    struct bus_settings *settings;
    struct bus_setting_state state;
    int rc = bus_settings_fetch(bus, topic, &settings);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, topic);
    out_list(ctl->out, "settings");
    for (size_t i = 0; bus_settings_get(settings, i, &state) == 0; i++) {
        if (state.is_default && !all)
            continue;
        out_object(ctl->out, NULL);
        out_text(ctl->out, "name", state.name);
        out_text(ctl->out, "value", state.value);
        out_boolean(ctl->out, "default", state.is_default);
        out_end(ctl->out);
    }
    out_end(ctl->out);
    bus_settings_free(&settings);
    return CTL_OK;
}

static int
describe(struct ctl *ctl, struct bus *bus, const char *name, bool all, bool *first)
{
    char id[TOPIC_ID_BYTES];
    struct bus_topics *topics;
    int rc = bus_topics_fetch(bus, name, &topics);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, name);
    int32_t partitions = bus_topics_partitions(topics, 0);
    if (!*first && !ctl->json)
        fputc('\n', stdout);
    *first = false;
    out_object(ctl->out, NULL);
    out_text(ctl->out, "topic", name);
    out_text(ctl->out, "id", topic_id_text(bus_topics_id(topics, 0), id));
    out_integer(ctl->out, "partition_count", partitions);
    bus_topics_free(&topics);
    int code = put_partitions(ctl, bus, name, partitions);
    if (code == CTL_OK)
        code = put_settings(ctl, bus, name, all);
    out_end(ctl->out);
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    bool all = false;
    struct bus *bus;
    for (int key; (key = opts_next(opts)) != OPTS_END; all = true)
        if (key == OPTS_EXIT)
            return opts->exit_code;
    int code = opts_expect(opts, 1, -1, "the name of a topic");
    if (code == CTL_OK)
        code = ctl_out(ctl);
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    bool first = true;
    for (char **topic = opts_arguments(opts); *topic; topic++) {
        int one = describe(ctl, bus, *topic, all, &first);
        code = one == CTL_OK ? code : one;
    }
    bus_close(&bus);
    return code;
}

const struct command command_topic_describe = {
    .group = "topic",
    .name = "describe",
    .arguments = "TOPIC...",
    .text =
        "Shows the partitions of topics with their offsets, and the settings that were changed.",
    .options = options,
    .examples = examples,
    .first = OPT_TOPIC,
    .others = OPT_TOPIC,
    .run = run,
};
