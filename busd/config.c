/* SPDX-License-Identifier: Apache-2.0 */
#include "configuration.h"

#include "base/trace.h"

#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- flags ---------------------------------------------------------------------------------- */

static bool
add_set(struct config_flags *flags, const char *set)
{
    if (!strchr(set, '=')) {
        fprintf(stderr, "busd: --set %s: expected NAME=VALUE\n", set);
        return false;
    }
    if (flags->set_count == CONFIG_SETS_MAX) {
        fprintf(stderr, "busd: more than %d settings on the command line; use a file\n",
            CONFIG_SETS_MAX);
        return false;
    }
    flags->sets[flags->set_count++] = set;
    return true;
}

enum {
    FLAG_DATA = 256,
    FLAG_SOCKET,
    FLAG_CONFIG,
    FLAG_SET,
    FLAG_CHECK,
    FLAG_VERSION,
    FLAG_HELP,
};

static const struct option options[] = {
    {"data", required_argument, NULL, FLAG_DATA},
    {"socket", required_argument, NULL, FLAG_SOCKET},
    {"config", required_argument, NULL, FLAG_CONFIG},
    {"set", required_argument, NULL, FLAG_SET},
    {"check-config", no_argument, NULL, FLAG_CHECK},
    {"version", no_argument, NULL, FLAG_VERSION},
    {"help", no_argument, NULL, FLAG_HELP},
    {NULL, 0, NULL, 0},
};

/** An empty path is a variable that was not set in a script, and never what was meant. */
static enum config_command
take_path(const char *flag, const char **path)
{
    *path = optarg;
    if (*optarg != '\0')
        return CONFIG_RUN;
    fprintf(stderr, "busd: %s is empty: give a path, or leave it out\n", flag);
    return CONFIG_USAGE;
}

/** CONFIG_RUN: go on with the next flag. */
static enum config_command
take_flag(int flag, struct config_flags *flags)
{
    switch (flag) {
    case FLAG_DATA:
        return take_path("--data", &flags->data);
    case FLAG_SOCKET:
        return take_path("--socket", &flags->socket);
    case FLAG_CONFIG:
        return take_path("--config", &flags->file);
    case FLAG_SET:
        return add_set(flags, optarg) ? CONFIG_RUN : CONFIG_USAGE;
    case FLAG_CHECK:
        return CONFIG_CHECK;
    case FLAG_VERSION:
        return CONFIG_VERSION;
    case FLAG_HELP:
        return CONFIG_HELP;
    default:
        return CONFIG_USAGE; /* getopt_long() has told what is wrong */
    }
}

enum config_command
config_parse_flags(int argc, char **argv, struct config_flags *flags)
{
    *flags = (struct config_flags){0};
    enum config_command command = CONFIG_RUN;
    int flag;
    while ((flag = getopt_long(argc, argv, "", options, NULL)) != -1) {
        enum config_command asked = take_flag(flag, flags);
        if (asked == CONFIG_CHECK)
            command = CONFIG_CHECK;
        else if (asked != CONFIG_RUN)
            return asked;
    }
    if (optind == argc)
        return command;
    fprintf(stderr, "busd: \"%s\" means nothing here; see busd --help\n", argv[optind]);
    return CONFIG_USAGE;
}

/* ---- the file ------------------------------------------------------------------------------- */

struct reading {
    FILE *stream;
    struct settings *settings;
    int line;        /* of the file, from 1 */
    int failed_line; /* 0: none yet */
    int rc;          /* of the first line that failed */
    char why[ERR_TEXT_BYTES_MAX];
    bool seen[BROKER_SETTINGS];
};

static void
note_failure(struct reading *reading, int rc)
{
    if (reading->failed_line > 0)
        return;
    reading->failed_line = reading->line;
    reading->rc = rc;
    snprintf(reading->why, sizeof reading->why, "%s", err_text());
}

/** inih asks for lines here. A line that does not fit would be cut into two settings. */
static char *
read_line(char *line, int n, void *stream)
{
    struct reading *reading = stream;
    if (reading->failed_line > 0 || !fgets(line, n, reading->stream))
        return NULL;
    reading->line++;
    size_t length = strlen(line);
    if (length + 1 < (size_t)n || line[length - 1] == '\n')
        return line;
    note_failure(reading,
        err_set(BUS_ERR_INVALID_CONFIG,
            "a line of more than %d bytes; long lists can go on in indented lines", n - 2));
    return NULL;
}

/** A name that comes again adds to a list; else one of the two would be lost without a word. */
static int
take_again(struct settings *settings, unsigned row, const char *value)
{
    if (settings->table->rows[row].type == SETTING_LIST)
        return settings_alter(settings, row, SETTING_OP_APPEND, value);
    return err_set(BUS_ERR_INVALID_CONFIG, "%s is set twice", settings->table->rows[row].name);
}

static int
take_line(struct reading *reading, const char *section, const char *name, const char *value)
{
    if (section[0] != '\0' && strcmp(section, "busd") != 0)
        return err_set(BUS_ERR_INVALID_CONFIG,
            "there is no section [%s]; settings stand in [busd] or before any section", section);
    int row = settings_find(reading->settings->table, name);
    if (row < 0)
        return row;
    if (reading->seen[row])
        return take_again(reading->settings, (unsigned)row, value);
    reading->seen[row] = true;
    return settings_set(reading->settings, (unsigned)row, value);
}

/** inih calls this for each setting; 0 makes it remember the line as wrong. */
static int
on_line(void *user, const char *section, const char *name, const char *value)
{
    struct reading *reading = user;
    int rc = take_line(reading, section, name, value ? value : "");
    if (rc < 0)
        note_failure(reading, rc);
    return rc == 0;
}

int
config_read(FILE *stream, const char *path, struct settings *settings)
{
    struct reading reading = {.stream = stream, .settings = settings};
    int line = ini_parse_stream(read_line, &reading, on_line, &reading);
    if (reading.failed_line > 0)
        return err_set(
            (enum bus_err) - reading.rc, "%s:%d: %s", path, reading.failed_line, reading.why);
    if (line > 0)
        return err_set(
            BUS_ERR_INVALID_CONFIG, "%s:%d: expected NAME = VALUE or a comment", path, line);
    if (line < 0)
        return err_no_memory();
    return ferror(stream) ? err_sys(errno, "reading %s", path) : 0;
}

static int
read_file(const char *path, struct settings *settings)
{
    FILE *stream = fopen(path, "re");
    if (!stream)
        return err_sys(errno,
            "opening the configuration %s; name a file that can be read, or leave out --config",
            path);
    int rc = config_read(stream, path, settings);
    fclose(stream);
    return rc;
}

/* ---- places --------------------------------------------------------------------------------- */

static int
too_long(const char *what)
{
    return err_set(BUS_ERR_INVALID_CONFIG, "%s: the path is too long", what);
}

static bool
format_path(char path[CONFIG_PATH_BYTES_MAX], const char *folder, const char *rest)
{
    int n = snprintf(path, CONFIG_PATH_BYTES_MAX, "%s%s", folder, rest);
    return n > 0 && n < CONFIG_PATH_BYTES_MAX;
}

/** The value of a variable that holds an absolute path; else it does not count, as XDG says. */
static const char *
folder_of(const char *variable)
{
    const char *value = getenv(variable);
    return value && value[0] == '/' ? value : NULL;
}

int
config_data_folder(const struct settings *settings, char path[CONFIG_PATH_BYTES_MAX])
{
    const char *set = settings_text(settings, BROKER_DATA_FOLDER);
    bool fits;
    if (set[0] != '\0')
        fits = format_path(path, set, "");
    else if (geteuid() == 0)
        fits = format_path(path, "/var/lib/shmbus", "");
    else if (folder_of("XDG_STATE_HOME"))
        fits = format_path(path, folder_of("XDG_STATE_HOME"), "/shmbus");
    else if (folder_of("HOME"))
        fits = format_path(path, folder_of("HOME"), "/.local/state/shmbus");
    else
        return err_set(BUS_ERR_INVALID_CONFIG,
            "no place for the data: neither XDG_STATE_HOME nor HOME is set; use --data FOLDER");
    return fits ? 0 : too_long("data.folder");
}

int
config_socket_path(const struct settings *settings, char path[CONFIG_PATH_BYTES_MAX])
{
    const char *set = settings_text(settings, BROKER_SOCKET_PATH);
    char folder[64];
    bool fits;
    if (set[0] != '\0')
        fits = format_path(path, set, "");
    else if (geteuid() == 0)
        fits = format_path(path, "/run/shmbus/bus.sock", "");
    else if (folder_of("XDG_RUNTIME_DIR"))
        fits = format_path(path, folder_of("XDG_RUNTIME_DIR"), "/shmbus/bus.sock");
    else {
        snprintf(folder, sizeof folder, "/tmp/shmbus-%u", (unsigned)geteuid());
        fits = format_path(path, folder, "/bus.sock");
    }
    return fits ? 0 : too_long("socket.path");
}

/** Gives the first of the usual files that is there; "" when none is. */
static void
usual_file(char path[CONFIG_PATH_BYTES_MAX])
{
    const char *own = folder_of("XDG_CONFIG_HOME");
    bool fits = false;
    if (geteuid() != 0 && own)
        fits = format_path(path, own, "/shmbus/busd.conf");
    else if (geteuid() != 0 && folder_of("HOME"))
        fits = format_path(path, folder_of("HOME"), "/.config/shmbus/busd.conf");
    if (fits && access(path, F_OK) == 0)
        return;
    if (!format_path(path, "/etc/shmbus/busd.conf", "") || access(path, F_OK) < 0)
        path[0] = '\0';
}

/* ---- loading -------------------------------------------------------------------------------- */

static int
apply_set(struct settings *settings, const char *set)
{
    char name[128];
    size_t n = strcspn(set, "=");
    if (n >= sizeof name)
        return err_set(BUS_ERR_INVALID_CONFIG, "--set %.40s…: the name is too long", set);
    memcpy(name, set, n);
    name[n] = '\0';
    return err_prefix(settings_set_named(settings, name, set + n + 1), "--set");
}

static int
apply_flags(const struct config_flags *flags, struct settings *settings)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < flags->set_count; i++)
        rc = apply_set(settings, flags->sets[i]);
    if (rc == 0 && flags->data)
        rc = err_prefix(settings_set(settings, BROKER_DATA_FOLDER, flags->data), "--data");
    if (rc == 0 && flags->socket)
        rc = err_prefix(settings_set(settings, BROKER_SOCKET_PATH, flags->socket), "--socket");
    return rc;
}

int
config_load(const struct config_flags *flags, struct config *config)
{
    *config = (struct config){.flags = *flags};
    settings_init(&config->settings, &setting_table_broker, SETTING_FROM_STATIC, NULL);
    int rc = 0;
    if (!flags->file)
        usual_file(config->file);
    else if (!format_path(config->file, flags->file, ""))
        rc = too_long("--config");
    if (rc == 0 && config->file[0] != '\0')
        rc = read_file(config->file, &config->settings);
    if (rc == 0)
        rc = apply_flags(flags, &config->settings);
    if (rc < 0)
        config_fini(config);
    return rc;
}

void
config_fini(struct config *config)
{
    settings_fini(&config->settings);
}

/** Takes over the rows that may change while busd runs. */
static int
take_dynamic(struct settings *settings, const struct settings *fresh)
{
    for (unsigned i = 0; i < settings->table->count; i++) {
        char was[SETTING_FORMAT_BYTES], is[SETTING_FORMAT_BYTES];
        const char *old = settings_format(settings, i, was);
        const char *new = settings_format(fresh, i, is);
        bool same = strcmp(old, new) == 0;
        if (same && settings_is_set(settings, i) == settings_is_set(fresh, i))
            continue;
        if (settings->table->rows[i].when == SETTING_RESTART) {
            if (!same)
                trace(TRACE_WARNING, "%s=%s takes effect at the next start of busd; now it is %s",
                    settings->table->rows[i].name, new, old);
            continue;
        }
        if (!same)
            trace(TRACE_NOTICE, "%s=%s, before it was %s", settings->table->rows[i].name, new, old);
        int rc = 0;
        if (settings_is_set(fresh, i))
            rc = settings_set(settings, i, new);
        else
            settings_unset(settings, i);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int
config_reload(struct config *config)
{
    struct config fresh;
    int rc = config_load(&config->flags, &fresh);
    if (rc < 0)
        return rc;
    rc = take_dynamic(&config->settings, &fresh.settings);
    config_fini(&fresh);
    return rc;
}
