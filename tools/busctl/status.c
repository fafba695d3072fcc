/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"

static const char *const examples[] = {
    "$0 status",
    "$0 --socket /run/shmbus/bus.sock status --json",
    NULL,
};

static void
print(struct out *out, const struct bus_status *status)
{
    out_object(out, NULL);
    out_text(out, "version", status->version);
    out_text(out, "data_folder", status->data_folder);
    out_text(out, "cluster_id", status->cluster_id);
    out_integer(out, "node_id", status->node_id);
    out_integer(out, "uptime_ms", status->uptime_ms);
    out_integer(out, "partitions", status->partitions);
    out_integer(out, "open_partitions", status->open_partitions);
    out_integer(out, "connections", status->connections);
    out_text(out, "listeners", status->listeners);
    out_offset(out, "memory_bytes", status->memory_bytes);
    out_end(out);
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct bus *bus;
    struct bus_status status;
    if (opts_next(opts) == OPTS_EXIT)
        return opts->exit_code;
    int code = opts_expect(opts, 0, 0, "");
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    int rc = bus_status(bus, &status);
    if (rc < 0)
        code = ctl_fail_bus(ctl, rc, NULL);
    else if ((code = ctl_out(ctl)) == CTL_OK)
        print(ctl->out, &status);
    bus_close(&bus);
    return code;
}

const struct command command_status = {
    .name = "status",
    .arguments = "",
    .text = "Shows how busd is.",
    .examples = examples,
    .run = run,
};
