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

/** What busctl can add to the words of the library, which name the thing and mostly the remedy. */
static const struct remedy {
    int code;
    const char *words;
} remedies[] = {
    {BUS_ERR_DAEMON_UNAVAILABLE, "here that is --socket"},
    {BUS_ERR_OFFSET_OUT_OF_RANGE, "begin at one of these, at beginning or at end"},
    {BUS_ERR_PARTITION_OFFLINE, "the trace of busd tells why"},
    {BUS_ERR_CORRUPT_MESSAGE, "'log verify' shows the extent; what is behind it can be read"},
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
    return ctl_fail(ctl, "%s%s%s%s%s", thing ? thing : "", colon, words, remedy ? ": " : "",
        remedy ? remedy->words : "");
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
