/* SPDX-License-Identifier: Apache-2.0
 * Where busd's settings come from: a file and flags.
 */
#ifndef BUSD_CONFIGURATION_H
#define BUSD_CONFIGURATION_H

#include "core/settings.h"

#include <stdio.h>

enum { CONFIG_SETS_MAX = 256, CONFIG_PATH_BYTES_MAX = 256 };

/** What the command line said; kept, because SIGHUP reads the file anew under the same flags. */
struct config_flags {
    const char *file;   /* --config; NULL: the usual places; borrowed, like all below */
    const char *data;   /* --data; NULL: not given */
    const char *socket; /* --socket; NULL: not given */
    const char *sets[CONFIG_SETS_MAX]; /* "name=value", in the order given */
    int set_count;
};

struct config {
    struct config_flags flags;
    struct settings settings;         /* in force by file and flags */
    char file[CONFIG_PATH_BYTES_MAX]; /* that was read; "" none */
};

/** What the command line asks for. */
enum config_command {
    CONFIG_RUN = 0,
    CONFIG_CHECK,   /* --check-config */
    CONFIG_VERSION, /* --version */
    CONFIG_HELP,    /* --help */
    CONFIG_USAGE,   /* a mistake; told on stderr */
};

/** Reads the flags; borrows the strings of `argv`. Tells mistakes on stderr. Thread: main. */
enum config_command config_parse_flags(int argc, char **argv, struct config_flags *flags);

/**
 * Reads the file and puts the flags above it. 0; INVALID_CONFIG with file, line, setting and
 * remedy in the text; a failure to read the file. On success the caller ends with config_fini().
 */
int config_load(const struct config_flags *flags, struct config *config);

/** Releases the settings. */
void config_fini(struct config *config);

/** Reads "name = value" lines into a layer of busd's settings. `path` is for texts. Borrows all. */
int config_read(FILE *stream, const char *path, struct settings *settings);

/**
 * Reads file and flags again; what takes effect at once is taken over, what needs a restart is
 * told on the trace and stays. On failure nothing changes.
 */
int config_reload(struct config *config);

/** The data folder in force, with defaults. 0, or INVALID_CONFIG when none can be found. */
int config_data_folder(const struct settings *settings, char path[CONFIG_PATH_BYTES_MAX]);

/** The socket path in force, as config_data_folder(). */
int config_socket_path(const struct settings *settings, char path[CONFIG_PATH_BYTES_MAX]);

#endif
