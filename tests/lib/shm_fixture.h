/* SPDX-License-Identifier: Apache-2.0
 * A partition without busd, for tests of the shared-memory floor: two objects, a folder of segment
 * files, and a source that opens them by number.
 */
#ifndef LIB_SHM_FIXTURE_H
#define LIB_SHM_FIXTURE_H

#include "shm/partition.h"

enum { FIXTURE_SEGMENTS_MAX = 64 };

struct shm_fixture {
    char folder[64];
    char control_name[64];
    char bell_name[64];
    uint32_t segment_bytes;
    uint32_t limit; /* reserved at once for each segment */
    struct shm_fixture_segment {
        int64_t base_offset; /* -1 while it is the spare */
        int64_t next_offset; /* -1 while it is being written */
        uint32_t end;
    } segments[FIXTURE_SEGMENTS_MAX];
    int64_t segment_count; /* files made so far: seq 0 … segment_count - 1 */
    int kicks;
};

struct shm_fixture_options {
    const char *folder; /* parent; NULL: /dev/shm */
    uint8_t topic_id[SHM_ID_BYTES];
    int32_t partition;
    uint32_t flags;
    uint32_t segment_bytes;
    uint32_t limit; /* 0: segment_bytes */
    uint32_t max_message_bytes;
};

/** Makes the objects and the first segment. Returns 0 or a failure. */
int shm_fixture_init(struct shm_fixture *fixture, const struct shm_fixture_options *options);

/** Removes everything. */
void shm_fixture_fini(struct shm_fixture *fixture);

/** Makes the next segment and offers it as the spare through `view`. Returns 0 or a failure. */
int shm_fixture_spare(struct shm_fixture *fixture, struct shm_partition *view);

/** Notes that `seq` is closed, as busd would tell a reader that comes late. */
void shm_fixture_close(struct shm_fixture *fixture, int64_t seq, const struct shm_tail *tail);

/** A view of the partition. Returns 0 or a failure. */
int shm_fixture_view(struct shm_fixture *fixture, bool writable, struct shm_partition *view);

#endif
