/* SPDX-License-Identifier: Apache-2.0
 * The work of `replay`: the records of a range of a topic, merged by their timestamps, into another
 * topic at their pace.
 */
#ifndef BUSCTL_REPLAY_H
#define BUSCTL_REPLAY_H

#include "busctl/consume.h"
#include "busctl/merge.h"
#include "busctl/pace.h"
#include "busctl/progress.h"

#include <stdatomic.h>

/** One partition: a consumer of its own, so that its records stay valid while others are read. */
struct replay_source {
    struct bus_consumer *consumer; /* owned */
    struct reading *reading;       /* borrowed */
    struct bus_record *records;    /* owned: what the last poll gave */
    int count;
    int at;           /* the one that is next */
    int64_t position; /* everything below was taken */
};

struct replay_sources {
    struct readings readings;
    struct replay_source *rows; /* owned; one for each reading */
    struct merge merge;
    int records_at_once;
    int64_t offsets;        /* from the starts to the ends, of all partitions */
    int64_t offsets_passed; /* of these */
};

/** Opens a consumer for each reading at its start. Exit code after telling. */
int replay_sources_open(struct ctl *ctl, struct bus *bus, struct replay_sources *sources);

/** Closes and releases everything, the readings too. Also after a failed opening. */
void replay_sources_close(struct replay_sources *sources);

/** Polls every partition for its first records. Exit code after telling. Blocks: for busd. */
int replay_sources_begin(struct ctl *ctl, struct replay_sources *sources);

/** The record that is next, by timestamp and then by partition; NULL: the range is at its end. */
const struct bus_record *replay_sources_first(const struct replay_sources *sources);

/**
 * The record of replay_sources_first() was taken; it stays valid. False: its partition has to be
 * polled with replay_sources_refill() before anything else, and that ends the validity of the
 * records taken from this partition.
 */
bool replay_sources_take(struct replay_sources *sources);

/** As said there. Exit code after telling; CTL_OK also when a signal came, see interrupted(). */
int replay_sources_refill(struct ctl *ctl, struct replay_sources *sources);

enum { REPLAY_AT_ONCE = 1000 }; /* messages of one call of bus_send_many() */

struct replay {
    /* What was asked for. */
    struct bus_config *config; /* of the producer; owned */
    const char *into;          /* borrowed, as all texts here */
    const char *from_text;     /* --from; NULL: not given */
    const char *to_text;
    const char *range_text; /* -o */
    const char *partitions; /* -p; NULL: all */
    double speed;           /* 0: without waiting */
    bool keep_timestamps;
    bool create;
    bool dry_run;
    bool linger_given;
    struct range range;

    struct replay_sources sources;
    struct bus_topic *target; /* borrowed from the producer */

    /* What has been done. */
    struct pace pace;
    struct progress progress;
    struct bus_message messages[REPLAY_AT_ONCE]; /* collected */
    const struct bus_record *origins[REPLAY_AT_ONCE];
    int collected;
    int64_t records; /* handed to the producer, or counted by a dry run */
    int64_t bytes;   /* keys, values and headers of them */
    int64_t first_ms;
    int64_t last_ms; /* smallest and largest timestamp of them; -1: none */
    int64_t began_ms;
    _Atomic int64_t delivered;
    _Atomic bool failed; /* the delivery of a record; bus_flush() tells why */
};

/** Counts what became of a record; the callback of the producer. */
void replay_delivered(void *replay, void *opaque, const struct bus_delivery *delivery);

/**
 * Takes every record at its time and sends it, or only counts. Ends early at a failure or a
 * signal. Exit code after telling. Blocks: as long as the replay takes.
 */
int replay_run(struct ctl *ctl, struct replay *replay);

#endif
