/* SPDX-License-Identifier: Apache-2.0
 * What has to be removed of a deleted topic, as bytes: a busd that ends in the middle finds them at
 * its next start.
 */
#ifndef CORE_REMOVAL_H
#define CORE_REMOVAL_H

#include "base/buf.h"
#include "core/cluster.h"

/** A topic that is gone, but for its files. */
struct removal_note {
    char topic[CLUSTER_TOPIC_NAME_MAX + 1];
    struct uuid id;
    int32_t partition_count;
    bool memory; /* its files are in memory */
};

/** The note of a topic. */
struct removal_note removal_note_of(const struct cluster_topic *topic);

/** Appends the note, without the id. 0 or NO_MEMORY. */
int removal_note_pack(const struct removal_note *note, struct buf *out);

/** Reads a note back; the id is given. 0, CORRUPT_MESSAGE, or DATA_VERSION for one of a newer
 * busd. */
int removal_note_unpack(
    const struct uuid *id, const uint8_t *bytes, size_t n, struct removal_note *note);

#endif
