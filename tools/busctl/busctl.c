/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/busctl.h"

#include "base/clock.h"
#include "busctl/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    STARTING_MS = 300, /* a busd that was started just before may take so long to listen */
    PAUSE_NS = 5 * 1000000,
};

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
    {BUS_ERR_DAEMON_UNAVAILABLE, " (--socket)"},
    {BUS_ERR_OFFSET_OUT_OF_RANGE, ": begin at one of these, at beginning or at end"},
    {BUS_ERR_PARTITION_OFFLINE, ": the trace of busd tells why"},
    {BUS_ERR_CORRUPT_MESSAGE, ": 'log verify' shows the extent; what is behind it can be read"},
};

static const struct remedy *
remedy_of(int code)
{
    for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++)
        if (remedies[i].code == code)
            return &remedies[i];
    return NULL;
}

/** Leaves out "topic NAME: " in front of words that name it once more. */
static const char *
once(const char *words, const char *thing)
{
    static const char topic[] = "topic ";
    size_t length = sizeof topic - 1;
    if (strncmp(words, topic, length) != 0 || !*thing)
        return words;
    size_t name = strlen(thing);
    if (strncmp(words + length, thing, name) != 0 || words[length + name] != ':')
        return words;
    const char *rest = words + length + name + 2;
    return strstr(rest, thing) ? rest : words;
}

int
ctl_fail_bus(const struct ctl *ctl, int rc, const char *thing)
{
    int code = rc < 0 ? -rc : rc;
    const char *words = bus_error();
    if (words[0] == '\0')
        words = bus_err_text(code);
    if (thing)
        words = once(words, thing);
    if (thing && strstr(words, thing))
        thing = NULL;
    const struct remedy *remedy = remedy_of(code);
    return ctl_fail(
        ctl, "%s%s%s%s", thing ? thing : "", thing ? ": " : "", words, remedy ? remedy->words : "");
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

/** "busd & busctl …" in a script: who was started a moment ago is given time to listen. */
static int
open_patiently(const struct bus_config *config, struct bus **bus)
{
    int64_t until_ms = clock_mono_ms() + STARTING_MS;
    int rc;
    while (
        (rc = bus_open(config, bus)) == -BUS_ERR_DAEMON_UNAVAILABLE && clock_mono_ms() < until_ms) {
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    return rc;
}

int
ctl_connect_as(const struct ctl *ctl, struct bus_config *config, struct bus **bus)
{
    /* Others see it in the members of groups. */
    int rc = bus_config_set(config, "client.id", ctl->program);
    if (rc == 0 && ctl->socket)
        rc = bus_config_set(config, "socket.path", ctl->socket);
    if (rc == 0)
        rc = open_patiently(config, bus);
    return rc < 0 ? ctl_fail_bus(ctl, rc, ctl->socket) : CTL_OK;
}

int
ctl_connect(const struct ctl *ctl, struct bus **bus)
{
    struct bus_config *config = bus_config_new();
    if (!config)
        return ctl_no_memory(ctl);
    int code = ctl_connect_as(ctl, config, bus);
    bus_config_free(&config);
    return code;
}

bool
ctl_is_watched(void)
{
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
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
