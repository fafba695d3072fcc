/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"
#include "busctl/settings.h"

#include <string.h>

struct plan {
    const char *scope; /* of the table */
    const char *topic; /* the values in force of a topic */
    bool busd;         /* the values in force of busd */
};

static const struct opt_row options[] = {
    {'t', "topic", "TOPIC", "the values in force of a topic", OPT_TOPIC},
    {'b', "busd", NULL, "the values in force of busd", OPT_NOTHING},
    {'s', "scope", "topic|busd|client|producer|consumer", "only the settings of this kind",
        OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 config list",
    "$0 config list --scope topic",
    "$0 config list --topic orders",
    "$0 config list --busd --json",
    NULL,
};

static void
print_table(struct out *out, const char *scope)
{
    struct setting setting;
    out_list(out, NULL);
    for (size_t i = 0; settings_at(i, &setting); i++) {
        if (scope && strcmp(scope, setting.scope) != 0)
            continue;
        out_object(out, NULL);
        out_text(out, "name", setting.name);
        out_text(out, "scope", setting.scope);
        out_text(out, "type", setting.type);
        out_text(out, "default", setting.standard);
        out_text(out, "range", setting.range);
        out_text(out, "unit", setting.unit);
        out_end(out);
    }
    out_end(out);
}

static void
print_values(struct out *out, const struct bus_settings *settings)
{
    struct bus_setting_state state;
    out_list(out, NULL);
    for (size_t i = 0; bus_settings_get(settings, i, &state) == 0; i++) {
        out_object(out, NULL);
        out_text(out, "name", state.name);
        out_text(out, "value", state.value);
        out_boolean(out, "default", state.is_default);
        out_boolean(out, "read_only", state.read_only);
        out_end(out);
    }
    out_end(out);
}

static int
list_values(struct ctl *ctl, const char *topic)
{
    struct bus *bus;
    struct bus_settings *settings;
    int code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    int rc = bus_settings_fetch(bus, topic, &settings);
    if (rc < 0) {
        code = ctl_fail_bus(ctl, rc, topic);
    } else {
        print_values(ctl->out, settings);
        bus_settings_free(&settings);
    }
    bus_close(&bus);
    return code;
}

static bool
scope_exists(const char *scope)
{
    struct setting setting;
    for (size_t i = 0; settings_at(i, &setting); i++)
        if (strcmp(scope, setting.scope) == 0)
            return true;
    return false;
}

static int
parse(struct opts *opts, struct plan *plan)
{
    for (int key; (key = opts_next(opts)) != OPTS_END;) {
        if (key == OPTS_EXIT)
            return -1;
        if (key == 't')
            plan->topic = opts->value;
        else if (key == 's')
            plan->scope = opts->value;
        else
            plan->busd = true;
    }
    if (plan->scope && !scope_exists(plan->scope))
        return ctl_usage(opts->ctl, "-s %s: one of %s is wanted", plan->scope, options[2].value);
    if ((plan->topic != NULL) + plan->busd + (plan->scope != NULL) > 1)
        return ctl_usage(opts->ctl, "--topic, --busd and --scope exclude each other");
    return opts_expect(opts, 0, 0, "");
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct plan plan = {0};
    int code = parse(opts, &plan);
    if (code < 0)
        return opts->exit_code;
    if (code == CTL_OK)
        code = ctl_out(ctl);
    if (code != CTL_OK)
        return code;
    if (plan.topic || plan.busd)
        return list_values(ctl, plan.topic);
    print_table(ctl->out, plan.scope);
    return CTL_OK;
}

const struct command command_config_list = {
    .group = "config",
    .name = "list",
    .arguments = "",
    .text = "Lists the settings that exist, or the values in force of a topic or of busd.",
    .options = options,
    .examples = examples,
    .run = run,
};
