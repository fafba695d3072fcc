/* SPDX-License-Identifier: Apache-2.0
 * The work of `produce`: records from a file into a topic.
 */
#ifndef BUSCTL_PRODUCE_H
#define BUSCTL_PRODUCE_H

#include "busctl/busctl.h"
#include "busctl/progress.h"

struct produce {
    /* What was asked for. */
    struct bus_config *config; /* owned */
    const char *key_delimiter; /* borrowed; NULL: no keys */
    size_t key_delimiter_size;
    const char *separator; /* between records; borrowed */
    size_t separator_size;
    struct bus_header *headers; /* owned; the strings are borrowed */
    size_t header_count;
    int64_t partition;
    bool empty_is_null;
    bool strict;

    struct bus_producer *producer; /* borrowed */
    struct bus_topic *topic;       /* borrowed */

    /* What has been done. */
    const char *path; /* being read; borrowed */
    struct progress progress;
    int64_t records;           /* taken by the producer */
    int64_t bytes;             /* read for them */
    int64_t without_key;       /* records that lacked the delimiter */
    int64_t without_key_first; /* number of the first of them in its file, from 1 */
    const char *without_key_path;
};

/** Sends the records of `fd`. Returns an exit code after telling. Blocks: for input and log. */
int produce_file(struct ctl *ctl, struct produce *produce, int fd);

/** Waits until everything is done as acks says, and tells what there is to tell. Exit code. */
int produce_finish(struct ctl *ctl, struct produce *produce);

#endif
