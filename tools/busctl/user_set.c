/* SPDX-License-Identifier: Apache-2.0
 * user add and user passwd: the same but for whether the user is to exist already.
 */
#include "busctl/command.h"
#include "busctl/password.h"

#include <string.h>
#include <strings.h>

enum {
    MECHANISMS = 2,
    ITERATIONS = 8192,
    ITERATIONS_MIN = 4096,
    ITERATIONS_MAX = 16384,
};

struct plan {
    const char *file;
    int64_t iterations;
    enum bus_mechanism mechanisms[MECHANISMS];
    int count;
};

static const struct opt_row options[] = {
    {'f', "password-file", "FILE", "the first line of FILE is the password; -: of standard input",
        OPT_FILE},
    {'m', "mechanism", "scram-sha-256|scram-sha-512", "for one mechanism only; default: both",
        OPT_NOTHING},
    {'i', "iterations", "N", "how often the password is hashed, 4096 to 16384; default: 8192",
        OPT_NOTHING},
    {0},
};

static const char *const add_examples[] = {
    "$0 user add anna",
    "$0 user add gateway --password-file /etc/shmbus/gateway.password",
    NULL,
};

static const char *const passwd_examples[] = {
    "$0 user passwd anna",
    "$0 user passwd gateway -f - < new.password",
    NULL,
};

static int
take_mechanism(const struct opts *opts, struct plan *plan)
{
    plan->count = 1;
    if (strcasecmp(opts->value, "scram-sha-256") == 0)
        plan->mechanisms[0] = BUS_SCRAM_SHA_256;
    else if (strcasecmp(opts->value, "scram-sha-512") == 0)
        plan->mechanisms[0] = BUS_SCRAM_SHA_512;
    else
        return ctl_usage(
            opts->ctl, "there is no mechanism %s: scram-sha-256 and scram-sha-512", opts->value);
    return CTL_OK;
}

static int
parse(struct opts *opts, struct plan *plan)
{
    int code = CTL_OK;
    *plan = (struct plan){.iterations = ITERATIONS,
        .mechanisms = {BUS_SCRAM_SHA_256, BUS_SCRAM_SHA_512},
        .count = MECHANISMS};
    for (int key; code == CTL_OK && (key = opts_next(opts)) != OPTS_END;) {
        if (key == OPTS_EXIT)
            return -1;
        if (key == 'f')
            plan->file = opts->value;
        else if (key == 'm')
            code = take_mechanism(opts, plan);
        else
            code = opts_number(opts, "-i", ITERATIONS_MIN, ITERATIONS_MAX, &plan->iterations);
    }
    return code == CTL_OK ? opts_expect(opts, 1, 1, "the name of a user") : code;
}

/** Whether the user has a password; an exit code after telling when that is not known. */
static int
look(struct ctl *ctl, struct bus *bus, const char *user, bool *exists)
{
    struct bus_users *users;
    struct bus_user row;
    int rc = bus_users_fetch(bus, user, &users);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, user);
    *exists = bus_users_get(users, 0, &row) == 0;
    bus_users_free(&users);
    return CTL_OK;
}

static int
set(struct ctl *ctl, struct bus *bus, const char *user, const struct plan *plan)
{
    struct password password;
    struct password_salted salted[MECHANISMS];
    struct bus_password told[MECHANISMS];
    int code = password_read(ctl, plan->file, &password);
    for (int i = 0; code == CTL_OK && i < plan->count; i++) {
        code = password_salt(
            ctl, &password, plan->mechanisms[i], (int32_t)plan->iterations, &salted[i]);
        told[i] = salted[i].told;
    }
    password_forget(&password);
    if (code != CTL_OK)
        return code;
    int rc = bus_user_set(bus, user, told, (size_t)plan->count);
    return rc < 0 ? ctl_fail_bus(ctl, rc, user) : CTL_OK;
}

static int
set_user(struct ctl *ctl, struct opts *opts, bool is_new)
{
    struct plan plan;
    struct bus *bus;
    bool exists = false;
    int code = parse(opts, &plan);
    if (code < 0)
        return opts->exit_code;
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    const char *user = opts_arguments(opts)[0];
    code = look(ctl, bus, user, &exists);
    if (code == CTL_OK && exists && is_new)
        code = ctl_fail(ctl, "user %s exists already: %s user passwd gives it another password",
            user, ctl->program);
    if (code == CTL_OK && !exists && !is_new)
        code = ctl_fail(ctl, "there is no user %s: %s user add makes one", user, ctl->program);
    if (code == CTL_OK)
        code = set(ctl, bus, user, &plan);
    bus_close(&bus);
    return code;
}

static int
run_add(struct ctl *ctl, struct opts *opts)
{
    return set_user(ctl, opts, true);
}

static int
run_passwd(struct ctl *ctl, struct opts *opts)
{
    return set_user(ctl, opts, false);
}

const struct command command_user_add = {
    .group = "user",
    .name = "add",
    .arguments = "USER",
    .text = "Makes a user who can log in over the network with a password (SASL/SCRAM).",
    .options = options,
    .examples = add_examples,
    .run = run_add,
};

const struct command command_user_passwd = {
    .group = "user",
    .name = "passwd",
    .arguments = "USER",
    .text = "Gives a user another password; connections that are open stay.",
    .options = options,
    .examples = passwd_examples,
    .run = run_passwd,
};
