/* SPDX-License-Identifier: Apache-2.0
 * busd, the daemon of shmbus. Exit codes: 0, 1 failure, 2 usage, 78 configuration (EX_CONFIG).
 */
#include "config.h"

#include "base/clock.h"
#include "configuration.h"
#include "daemon.h"

#include <malloc.h>
#include <sysexits.h>

enum {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
};

static const char help[] =
    "Usage: busd [OPTION]...\n"
    "The daemon of shmbus, an event log with a shared-memory data path. It stays in the\n"
    "foreground, tells what it does on stderr, and needs no arguments.\n"
    "\n"
    "  --data FOLDER       where everything is kept\n"
    "  --socket PATH       where local clients come in\n"
    "  --config FILE       settings; else ~/.config/shmbus/busd.conf or\n"
    "                      /etc/shmbus/busd.conf if there is one\n"
    "  --set NAME=VALUE    a setting, above the file; may be given several times\n"
    "  --check-config      check the settings and end\n"
    "  --version           print the version and end\n"
    "  --help              print this and end\n"
    "\n"
    "SIGTERM ends it cleanly, SIGHUP has it read the configuration again. Exit codes: 0,\n"
    "1 failure, 2 usage, 78 configuration.\n"
    "\n"
    "Examples:\n"
    "  busd\n"
    "  busd --data /srv/bus --socket /srv/bus/bus.sock --set log.retention.ms=30d\n"
    "  busctl config explain   all settings, with what they mean\n";

static int
fail(int rc)
{
    fprintf(stderr, "busd: %s\n", err_text());
    return rc == -BUS_ERR_INVALID_CONFIG ? EX_CONFIG : EXIT_FAILED;
}

static int
check(const struct config *config)
{
    char data[CONFIG_PATH_BYTES_MAX], socket[CONFIG_PATH_BYTES_MAX];
    int rc = config_data_folder(&config->settings, data);
    if (rc == 0)
        rc = config_socket_path(&config->settings, socket);
    if (rc < 0)
        return fail(rc);
    printf("configuration: %s\ndata: %s\nsocket: %s\nall settings are good\n",
        config->file[0] ? config->file : "no file", data, socket);
    return EXIT_OK;
}

static int
run(enum config_command command, const struct config_flags *flags, int64_t start_ns)
{
    static struct config config;
    int rc = config_load(flags, &config);
    if (rc < 0) {
        fail(rc);
        return EX_CONFIG;
    }
    int code;
    if (command == CONFIG_CHECK)
        code = check(&config);
    else if ((rc = daemon_run(&config, start_ns)) < 0)
        code = fail(rc);
    else
        code = EXIT_OK;
    config_fini(&config);
    return code;
}

int
main(int argc, char **argv)
{
    int64_t start_ns = clock_mono_ns();
    /* Few threads that allocate little: one arena more than needed costs more than a wait. */
    mallopt(M_ARENA_MAX, 2);
    struct config_flags flags;
    enum config_command command = config_parse_flags(argc, argv, &flags);
    switch (command) {
    case CONFIG_USAGE:
        fprintf(stderr, "Try 'busd --help'.\n");
        return EXIT_USAGE;
    case CONFIG_HELP:
        fputs(help, stdout);
        return EXIT_OK;
    case CONFIG_VERSION:
        printf("busd (shmbus) %s\n", PACKAGE_VERSION);
        return EXIT_OK;
    default:
        return run(command, &flags, start_ns);
    }
}
