/* SPDX-License-Identifier: Apache-2.0
 * What every command of busctl needs: the global options, the voice for errors, the connection.
 */
#ifndef BUSCTL_BUSCTL_H
#define BUSCTL_BUSCTL_H

#include "busctl/out.h"

#include <bus/bus.h>

struct command;

/** Exit codes, and what the run function of a command returns. */
enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1, /* something could not be done; told on stderr */
    CTL_USAGE = 2,  /* the command line makes no sense; told on stderr */
};

struct ctl {
    const char *program;           /* the name it was called by, without folder; borrowed */
    const char *socket;            /* --socket, NULL: the library looks for it; borrowed */
    bool json;                     /* --json */
    const struct command *command; /* the one that runs, NULL before it is known */
    struct out *out;               /* where data goes */
};

/**
 * Tells a failure: "busctl: topic create: …" and a newline on stderr. Returns CTL_FAILED.
 * The text names the thing and, behind a colon, the remedy.
 */
int ctl_fail(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** As ctl_fail() for a command line that makes no sense; names the help. Returns CTL_USAGE. */
int ctl_usage(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Tells something that is no failure, in the same form. */
void ctl_note(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * Tells the failure `rc` of a libbus call in bus_error()'s words, with what busctl can add as a
 * remedy. `thing` (may be NULL) is put in front unless the words name it. Returns CTL_FAILED.
 */
int ctl_fail_bus(const struct ctl *ctl, int rc, const char *thing);

/** Tells that memory is out. Returns CTL_FAILED. */
int ctl_no_memory(const struct ctl *ctl);

/** Opens ctl->out, text or JSON as asked, on stdout; main() closes it. Exit code. */
int ctl_out(struct ctl *ctl);

/** Connects to busd. Returns 0, or the exit code after telling why not. */
int ctl_connect(const struct ctl *ctl, struct bus **bus);

/** Whether somebody sits at a terminal and can be asked, or asked to look first. */
bool ctl_is_watched(void);

/** As ctl_connect(), with the settings of `config`, which gets --socket. */
int ctl_connect_as(const struct ctl *ctl, struct bus_config *config, struct bus **bus);

/** Sends what is left in stdout's buffer; a reader that went away is no failure. Exit code. */
int ctl_flush(const struct ctl *ctl);

#endif
