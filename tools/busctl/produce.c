/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/produce.h"
#include "busctl/command.h"
#include "busctl/input.h"
#include "busctl/interrupt.h"
#include "busctl/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPT_ACKS = OPT_LONG, OPT_COMPRESSION, OPT_LINGER, OPT_STRICT };

static const struct opt_row options[] = {
    {'k', "key-delimiter", "DELIM", "the key stands before the first DELIM of a record",
        OPT_NOTHING},
    {'D', "delimiter", "DELIM", "what separates records; default: \\n", OPT_NOTHING},
    {'H', "header", "NAME=VALUE", "a header for every record; may be given several times",
        OPT_NOTHING},
    {'p', "partition", "N", "the partition; default: by the key", OPT_NOTHING},
    {'Z', "null", NULL, "an empty value is null: a tombstone", OPT_NOTHING},
    {OPT_ACKS, "acks", "0|1|all", "when a record is done; default: all, on stable storage",
        OPT_NOTHING},
    {OPT_COMPRESSION, "compression", "none|zstd|lz4|snappy|gzip", "how batches are compressed",
        OPT_NOTHING},
    {OPT_LINGER, "linger", "MS", "how long a batch waits for more records; default: 0",
        OPT_NOTHING},
    {OPT_STRICT, "strict", NULL, "stop at a record without the key delimiter", OPT_NOTHING},
    {'X', "set", "NAME=VALUE",
        "a setting of the producer, see 'config list -s producer'; may be given several times",
        OPT_CLIENT_SETTING},
    {0},
};

static const char *const examples[] = {
    "echo hello | $0 produce greetings",
    "$0 produce -k : users /etc/passwd",
    "$0 produce -D '\\n\\n' packages /var/lib/dpkg/status",
    "journalctl -f -o json | $0 produce --acks 1 -H source=journal logs",
    NULL,
};

static void
release(struct produce *produce)
{
    free(produce->headers);
    produce->headers = NULL;
    bus_config_free(&produce->config);
}

static int
add_header(struct opts *opts, struct produce *produce)
{
    char *value = strchr(opts->value, '=');
    if (!value)
        return ctl_usage(opts->ctl, "-H %s: NAME=VALUE is wanted", opts->value);
    *value++ = '\0';
    struct bus_header *headers =
        realloc(produce->headers, (produce->header_count + 1) * sizeof *headers);
    if (!headers)
        return ctl_no_memory(opts->ctl);
    produce->headers = headers;
    headers[produce->header_count++] =
        (struct bus_header){.key = opts->value, .value = value, .value_size = strlen(value)};
    return CTL_OK;
}

static int
delimiter(struct opts *opts, const char **text, size_t *size)
{
    /* The words of argv may be written to. */
    if (text_unescape((char *)opts->value, size) < 0)
        return ctl_usage(opts->ctl, "%s", bus_error());
    if (*size == 0)
        return ctl_usage(opts->ctl, "an empty delimiter: give at least one character");
    *text = opts->value;
    return CTL_OK;
}

static int
take_option(struct opts *opts, struct produce *produce, int key)
{
    switch (key) {
    case 'k':
        return delimiter(opts, &produce->key_delimiter, &produce->key_delimiter_size);
    case 'D':
        return delimiter(opts, &produce->separator, &produce->separator_size);
    case 'H':
        return add_header(opts, produce);
    case 'p':
        return opts_number(opts, "-p", 0, INT32_MAX, &produce->partition);
    case 'Z':
        produce->empty_is_null = true;
        return CTL_OK;
    case OPT_ACKS:
        return opts_config(opts, produce->config, "acks", opts->value);
    case OPT_COMPRESSION:
        return opts_config(opts, produce->config, "compression.type", opts->value);
    case OPT_LINGER:
        return opts_config(opts, produce->config, "linger.ms", opts->value);
    case OPT_STRICT:
        produce->strict = true;
        return CTL_OK;
    default:
        return opts_config_pair(opts, produce->config);
    }
}

static int
parse(struct opts *opts, struct produce *produce)
{
    int code = CTL_OK;
    for (int key; code == CTL_OK && (key = opts_next(opts)) != OPTS_END;) {
        if (key == OPTS_EXIT)
            return -1;
        code = take_option(opts, produce, key);
    }
    return code != CTL_OK ? code : opts_expect(opts, 1, -1, "the name of a topic");
}

/** Sends the records of one file; "-" is standard input. */
static int
send_path(struct ctl *ctl, struct produce *produce, const char *path)
{
    bool standard = strcmp(path, "-") == 0;
    struct stat status;
    produce->path = standard ? "standard input" : path;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        return ctl_fail(ctl, "%s: %s: name a file that can be read", path, strerror(errno));
    int code;
    if (S_ISDIR(status.st_mode)) {
        code = ctl_fail(ctl, "%s: is a folder: name files", path);
    } else {
        progress_init(&produce->progress, "sent", S_ISREG(status.st_mode) ? status.st_size : 0);
        code = produce_file(ctl, produce, fd);
        progress_clear(&produce->progress);
    }
    if (!standard)
        close(fd);
    return code;
}

static int
send_all(struct ctl *ctl, struct produce *produce, char **paths)
{
    static char *const standard_input[] = {"-", NULL};
    int code = CTL_OK;
    interrupt_catch(NULL);
    for (char *const *path = *paths ? paths : standard_input;
         *path && code == CTL_OK && !interrupted(); path++)
        code = send_path(ctl, produce, *path);
    int ended = produce_finish(ctl, produce);
    interrupt_release();
    return code == CTL_OK ? ended : code;
}

static int
run_open(struct ctl *ctl, struct produce *produce, char **arguments)
{
    struct bus *bus;
    struct bus_producer *producer = NULL;
    int code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    int rc = bus_producer_open(bus, produce->config, &producer);
    if (rc == 0)
        rc = bus_producer_topic(producer, arguments[0], &produce->topic);
    if (rc < 0) {
        code = ctl_fail_bus(ctl, rc, arguments[0]);
    } else {
        produce->producer = producer;
        code = send_all(ctl, produce, arguments + 1);
    }
    bus_producer_close(&producer, 0);
    bus_close(&bus);
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct produce produce = {
        .partition = BUS_PARTITION_ANY, .separator = "\n", .separator_size = 1};
    produce.config = bus_config_new();
    if (!produce.config)
        return ctl_no_memory(ctl);
    int code = opts_config(opts, produce.config, "batch.size", "256k");
    if (code == CTL_OK)
        code = parse(opts, &produce);
    if (code == CTL_OK)
        code = run_open(ctl, &produce, opts_arguments(opts));
    release(&produce);
    return code < 0 ? opts->exit_code : code;
}

const struct command command_produce = {
    .name = "produce",
    .arguments = "TOPIC [FILE]...",
    .text = "Sends each line of files or of standard input as a record.",
    .options = options,
    .examples = examples,
    .first = OPT_TOPIC,
    .others = OPT_FILE,
    .run = run,
};
