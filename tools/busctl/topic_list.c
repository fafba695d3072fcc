/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"
#include "busctl/topic_id.h"

static const char *const examples[] = {
    "$0 topic list",
    "$0 topic list --json",
    NULL,
};

static void
print(struct out *out, const struct bus_topics *topics)
{
    char id[TOPIC_ID_BYTES];
    out_list(out, NULL);
    for (size_t i = 0; i < bus_topics_count(topics); i++) {
        out_object(out, NULL);
        out_text(out, "topic", bus_topics_name(topics, i));
        out_integer(out, "partitions", bus_topics_partitions(topics, i));
        out_text(out, "id", topic_id_text(bus_topics_id(topics, i), id));
        out_end(out);
    }
    out_end(out);
}

static int
list(struct ctl *ctl, struct bus *bus)
{
    struct bus_topics *topics;
    int rc = bus_topics_fetch(bus, NULL, &topics);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, NULL);
    int code = ctl_out(ctl);
    if (code == CTL_OK)
        print(ctl->out, topics);
    bus_topics_free(&topics);
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct bus *bus;
    if (opts_next(opts) == OPTS_EXIT)
        return opts->exit_code;
    int code = opts_expect(opts, 0, 0, "");
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    code = list(ctl, bus);
    bus_close(&bus);
    return code;
}

const struct command command_topic_list = {
    .group = "topic",
    .name = "list",
    .arguments = "",
    .text = "Lists the topics.",
    .examples = examples,
    .run = run,
};
