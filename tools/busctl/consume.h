/* SPDX-License-Identifier: Apache-2.0
 * Inside of `consume`: where it reads (partitions, from where, and up to where), how it prints, and
 * its other half, which reads as a member of a group.
 */
#ifndef BUSCTL_CONSUME_H
#define BUSCTL_CONSUME_H

#include "busctl/busctl.h"
#include "busctl/format.h"
#include "busctl/timeparse.h"

/** A partition being read. */
struct reading {
    int32_t partition;
    bool done;      /* everything below `end` was seen */
    int64_t offset; /* where it begins */
    int64_t stop;   /* where the range asked for ends; INT64_MAX: it has no end */
    int64_t end;    /* with -e or a range: where it stops */
};

struct readings {
    const char *topic;    /* borrowed */
    struct reading *rows; /* owned; rising partitions */
    size_t count;
    size_t done;
};

/**
 * Fills the partitions: those of `list` ("0,2-5"; NULL: all of the topic), with their offsets for
 * `range`. Exit code after telling; readings_fini() in any case.
 */
int readings_init(struct ctl *ctl, struct bus *bus, struct readings *readings, const char *list,
    const struct range *range);

/** Releases the rows. */
void readings_fini(struct readings *readings);

/** Assigns them to the consumer, and notes where they stop. Exit code after telling. */
int readings_assign(struct ctl *ctl, struct bus_consumer *consumer, struct readings *readings);

/** The row of a partition that bus_poll() gave; NULL: none of ours. */
struct reading *readings_find(struct readings *readings, int32_t partition);

/** Looks how far the consumer has come in a row, or in all (NULL). True: everything is done. */
bool readings_done(
    struct readings *readings, struct reading *reading, struct bus_consumer *consumer);

/* ---- consume_print.c ---- */

/** Prints a record, as `format` says or as JSON; the caller looks at ferror(). Exit code. */
int consume_print(struct ctl *ctl, const struct format *format, const struct bus_record *record);

/** Whether nobody is left to read what we print; a pipe tells without being written to. */
bool consume_reader_is_gone(void);

/* ---- consume_group.c ---- */

/** What `consume -G` shall do. Everything is borrowed. */
struct consume_group {
    const char *group;
    char **topics;
    size_t topic_count;
    const struct format *format;
    int64_t count; /* records to print; -1: no limit */
    bool exit_at_end;
};

/** Does it, with group.id and the other settings in `config`. Exit code after telling. */
int consume_group(
    struct ctl *ctl, struct bus *bus, struct bus_config *config, const struct consume_group *what);

#endif
