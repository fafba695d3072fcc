/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"
#include "busctl/settings.h"
#include "busctl/suggest.h"

#include <string.h>

static const char *const examples[] = {
    "$0 config explain retention.ms",
    "$0 config explain acks linger.ms --json",
    "$0 config explain",
    NULL,
};

static void
print(struct ctl *ctl, const struct setting *setting, bool *first)
{
    if (!*first && !ctl->json)
        fputc('\n', stdout);
    *first = false;
    out_object(ctl->out, NULL);
    out_text(ctl->out, "name", setting->name);
    out_text(ctl->out, "scope", setting->scope);
    out_text(ctl->out, "text", setting->text);
    out_text(ctl->out, "type", setting->type);
    out_text(ctl->out, "default", setting->standard);
    out_text(ctl->out, "range", setting->range);
    out_text(ctl->out, "unit", *setting->unit ? setting->unit : NULL);
    if (strcmp(setting->scope, "topic") == 0)
        out_text(ctl->out, "busd_setting", setting->remark);
    else if (setting->remark)
        out_text(ctl->out, "change", setting->remark);
    if (setting->topic_setting)
        out_text(ctl->out, "default_of", setting->topic_setting);
    out_end(ctl->out);
}

/** Explains every setting of that name (topics and clients may share one); NULL: all. */
static int
explain(struct ctl *ctl, const char *name, bool *first)
{
    struct setting setting;
    struct suggest suggest;
    size_t found = 0;
    suggest_init(&suggest, name ? name : "");
    for (size_t i = 0; settings_at(i, &setting); i++) {
        if (name)
            suggest_try(&suggest, setting.name);
        if (name && strcmp(name, setting.name) != 0)
            continue;
        print(ctl, &setting, first);
        found++;
    }
    if (found > 0)
        return CTL_OK;
    if (suggest.best)
        return ctl_fail(ctl, "no setting '%s': did you mean '%s'?", name, suggest.best);
    return ctl_fail(ctl, "no setting '%s': '%s config list' shows all", name, ctl->program);
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    if (opts_next(opts) == OPTS_EXIT)
        return opts->exit_code;
    int code = ctl_out(ctl);
    if (code != CTL_OK)
        return code;
    bool first = true;
    char **names = opts_arguments(opts);
    if (!names[0])
        return explain(ctl, NULL, &first);
    for (; *names; names++)
        if (explain(ctl, *names, &first) != CTL_OK)
            code = CTL_FAILED;
    return code;
}

const struct command command_config_explain = {
    .group = "config",
    .name = "explain",
    .arguments = "[NAME]...",
    .text = "Explains settings of topics, of busd and of clients.",
    .examples = examples,
    .first = OPT_ANY_SETTING,
    .others = OPT_ANY_SETTING,
    .run = run,
};
