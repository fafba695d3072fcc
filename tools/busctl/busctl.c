/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/busctl.h"

#include "busctl/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void
tell(const struct ctl *ctl, const char *format, va_list args)
{
    fflush(stdout);
    fprintf(stderr, "%s: ", ctl->program);
    if (ctl->command && ctl->command->group)
        fprintf(stderr, "%s ", ctl->command->group);
    if (ctl->command)
        fprintf(stderr, "%s: ", ctl->command->name);
    vfprintf(stderr, format, args);
}

int
ctl_fail(const struct ctl *ctl, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell(ctl, format, args);
    va_end(args);
    fputc('\n', stderr);
    return CTL_FAILED;
}

void
ctl_note(const struct ctl *ctl, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell(ctl, format, args);
    va_end(args);
    fputc('\n', stderr);
}

int
ctl_usage(const struct ctl *ctl, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell(ctl, format, args);
    va_end(args);
    fprintf(stderr, ": see '%s", ctl->program);
    if (ctl->command && ctl->command->group)
        fprintf(stderr, " %s", ctl->command->group);
    if (ctl->command)
        fprintf(stderr, " %s", ctl->command->name);
    fputs(" --help'\n", stderr);
    return CTL_USAGE;
}

/** What the user can do about a failure: a command of this program that helps, and words. */
static const struct remedy {
    int code;
    const char *command; /* NULL: none */
    const char *words;
} remedies[] = {
    {BUS_ERR_DAEMON_UNAVAILABLE, NULL, "start busd, or name its socket with --socket"},
    {BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION, "topic list", "shows what there is"},
    {BUS_ERR_TOPIC_ALREADY_EXISTS, "topic alter", "changes it, 'topic delete' removes it"},
    {BUS_ERR_INVALID_CONFIG, "config list", "shows names and ranges"},
    {BUS_ERR_INVALID_TOPIC_EXCEPTION, NULL, "a name has 1 to 249 of a-z A-Z 0-9 . _ -"},
    {BUS_ERR_INVALID_PARTITIONS, NULL, "name a number from 1 to 10000, not below the present one"},
    {BUS_ERR_OFFSET_OUT_OF_RANGE, "topic describe", "shows the range"},
    {BUS_ERR_MESSAGE_TOO_LARGE, "topic alter", "can raise max.message.bytes"},
    {BUS_ERR_PARTITION_OFFLINE, NULL, "busd's trace tells why"},
    {BUS_ERR_CORRUPT_MESSAGE, "log verify", "shows the extent; a later offset can be read"},
    {BUS_ERR_LIMIT_REACHED, NULL, "raise ulimit -n, or close other clients"},
};

static const struct remedy *
remedy_of(int code)
{
    for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++)
        if (remedies[i].code == code)
            return &remedies[i];
    return NULL;
}

int
ctl_fail_bus(const struct ctl *ctl, int rc, const char *thing)
{
    int code = rc < 0 ? -rc : rc;
    const char *words = bus_error();
    if (words[0] == '\0')
        words = bus_err_text(code);
    if (thing && strstr(words, thing))
        thing = NULL;
    const char *colon = thing ? ": " : "";
    const struct remedy *remedy = remedy_of(code);
    thing = thing ? thing : "";
    if (!remedy)
        return ctl_fail(ctl, "%s%s%s", thing, colon, words);
    if (!remedy->command)
        return ctl_fail(ctl, "%s%s%s: %s", thing, colon, words, remedy->words);
    return ctl_fail(ctl, "%s%s%s: '%s %s' %s", thing, colon, words, ctl->program, remedy->command,
        remedy->words);
}

int
ctl_no_memory(const struct ctl *ctl)
{
    return ctl_fail(ctl, "out of memory: end other programs and try again");
}

int
ctl_out(struct ctl *ctl)
{
    ctl->out = ctl->json ? out_json_open(stdout) : out_text_open(stdout);
    return ctl->out ? CTL_OK : ctl_no_memory(ctl);
}

int
ctl_connect(const struct ctl *ctl, struct bus **bus)
{
    struct bus_config *config = bus_config_new();
    if (!config)
        return ctl_no_memory(ctl);
    int rc = ctl->socket ? bus_config_set(config, "socket.path", ctl->socket) : 0;
    if (rc == 0)
        rc = bus_open(config, bus);
    bus_config_free(&config);
    return rc < 0 ? ctl_fail_bus(ctl, rc, ctl->socket) : CTL_OK;
}

int
ctl_flush(const struct ctl *ctl)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return CTL_OK;
    if (errno == EPIPE)
        return CTL_OK;
    return ctl_fail(ctl, "standard output: %s: make room where it goes to", strerror(errno));
}
