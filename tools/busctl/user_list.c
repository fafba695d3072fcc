/* SPDX-License-Identifier: Apache-2.0
 * user list and user delete.
 */
#include "busctl/command.h"

static const char *const list_examples[] = {
    "$0 user list",
    "$0 user list --json",
    NULL,
};

static const char *const delete_examples[] = {
    "$0 user delete anna",
    NULL,
};

static void
print(struct out *out, const struct bus_users *users)
{
    struct bus_user user;
    out_list(out, NULL);
    for (size_t i = 0; bus_users_get(users, i, &user) == 0; i++) {
        out_object(out, NULL);
        out_text(out, "user", user.name);
        out_text(out, "mechanism",
            user.mechanism == BUS_SCRAM_SHA_256 ? "SCRAM-SHA-256" : "SCRAM-SHA-512");
        out_integer(out, "iterations", user.iterations);
        out_end(out);
    }
    out_end(out);
}

static int
run_list(struct ctl *ctl, struct opts *opts)
{
    struct bus *bus;
    struct bus_users *users;
    if (opts_next(opts) == OPTS_EXIT)
        return opts->exit_code;
    int code = opts_expect(opts, 0, 0, "");
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    int rc = bus_users_fetch(bus, NULL, &users);
    code = rc < 0 ? ctl_fail_bus(ctl, rc, NULL) : ctl_out(ctl);
    if (code == CTL_OK)
        print(ctl->out, users);
    if (rc == 0)
        bus_users_free(&users);
    bus_close(&bus);
    return code;
}

const struct command command_user_list = {
    .group = "user",
    .name = "list",
    .arguments = "",
    .text = "Lists the users with passwords; the passwords themselves nobody knows.",
    .examples = list_examples,
    .run = run_list,
};

/** Every password that the user has. */
static int
delete_user(struct ctl *ctl, struct bus *bus, const char *name)
{
    struct bus_users *users;
    struct bus_user user;
    int rc = bus_users_fetch(bus, name, &users);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, name);
    int code = CTL_OK;
    if (bus_users_get(users, 0, &user) < 0)
        code = ctl_fail(
            ctl, "there is no user %s: %s user list tells who there is", name, ctl->program);
    for (size_t i = 0; code == CTL_OK && bus_users_get(users, i, &user) == 0; i++) {
        rc = bus_user_remove(bus, name, user.mechanism);
        if (rc < 0)
            code = ctl_fail_bus(ctl, rc, name);
    }
    bus_users_free(&users);
    return code;
}

static int
run_delete(struct ctl *ctl, struct opts *opts)
{
    struct bus *bus;
    if (opts_next(opts) == OPTS_EXIT)
        return opts->exit_code;
    int code = opts_expect(opts, 1, -1, "the name of a user");
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    for (char **name = opts_arguments(opts); *name; name++)
        if (delete_user(ctl, bus, *name) != CTL_OK)
            code = CTL_FAILED;
    bus_close(&bus);
    return code;
}

const struct command command_user_delete = {
    .group = "user",
    .name = "delete",
    .arguments = "USER...",
    .text = "Takes users' passwords away, so that they cannot log in any more.",
    .examples = delete_examples,
    .run = run_delete,
};
