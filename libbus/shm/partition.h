/* SPDX-License-Identifier: Apache-2.0
 * One process's view of one generation of a partition: the pages and the segments it has mapped.
 * The client fills it from the answer to AttachPartition, busd from its own files.
 */
#ifndef SHM_PARTITION_H
#define SHM_PARTITION_H

#include "shm/control.h"
#include "shm/segment.h"

/**
 * Where segments come from when the view lacks one: the connection in a client, the store in busd.
 *
 * `open` gives a reference to the segment `seq` of this generation or, when seq is -1, to the one
 * that contains `offset`; then `*position` is set to the start of a batch at or before the offset
 * (0 will do, a look into the index is better: the cursor scans from there). A segment that is
 * closed comes with `end` and `next_offset`. Returns 0 or a failure (DAEMON_UNAVAILABLE,
 * OFFSET_OUT_OF_RANGE, …). Thread: the caller of append, cursor or flush. Blocks: may.
 */
struct shm_source {
    int (*open)(void *context, int64_t seq, int64_t offset, struct shm_segment **segment,
        uint32_t *position);
    void (*kick)(void *context); /* asks busd for room; never blocks; may be NULL */
    void *context;
};

struct shm_partition {
    struct shm_control *control; /* const to readers: the mapping is read-only */
    struct shm_bell *bell;
    bool writable;                           /* control and segments are mapped for writing */
    _Atomic bool damaged;                    /* set by the guard: the control page is lost */
    _Atomic bool deaf;                       /* or the bell is: sleeps last until their bound */
    struct shm_segment *segments[SHM_SLOTS]; /* slot → segment or NULL; a reference each */
    struct shm_source source;
};

/** The fds of a view. */
struct shm_partition_fds {
    int control; /* taken */
    int bell;    /* taken */
};

/**
 * Maps the pages (takes the fds, also on failure) and checks the control page; nothing that a
 * reader does to the bell is a failure. `topic_id` as for shm_control_check(). Returns 0 or a
 * failure. The view must not move in memory before shm_partition_fini().
 */
int shm_partition_init(struct shm_partition *view, struct shm_partition_fds fds, bool writable,
    const uint8_t *topic_id, int32_t partition, struct shm_source source);

/** Unmaps the pages and drops the segments. */
void shm_partition_fini(struct shm_partition *view);

/**
 * Puts a view in the place of another, which ends (zeroed: none was there). `from` is empty after
 * it. Returns 0, or LIMIT_REACHED, which ends `from` and leaves `to` as it was.
 */
int shm_partition_move(struct shm_partition *to, struct shm_partition *from);

/** Gives the view a segment of this generation (takes the reference). */
void shm_partition_add(struct shm_partition *view, struct shm_segment *segment);

/** The view's segment with number `seq`, opened through the source if it is missing. Borrowed. */
int shm_partition_segment(struct shm_partition *view, int64_t seq, struct shm_segment **segment);

/** Where the log ends and how it stands; all values were read once and checked. */
struct shm_tail {
    int64_t seq;         /* the active segment */
    int64_t base_offset; /* its first offset */
    uint32_t position;   /* its published bytes */
    uint32_t limit;      /* its reserved bytes */
    int64_t end_offset;  /* the next offset to be written */
    bool sealed;
    bool has_spare; /* seq + 1 is ready */
    enum shm_state state;
};

/** Reads the tail. Returns 0 or -BUS_ERR_CORRUPT_MESSAGE when the words make no sense. */
int shm_partition_tail(const struct shm_partition *view, struct shm_tail *tail);

/**
 * Reads one slot, unchecked but each word once: seq, base, position, limit, end, sealed. False when
 * it does not hold `seq`, or is being refilled. Thread: any. Blocks: no.
 */
bool shm_slot_read(const struct shm_control *control, int64_t seq, struct shm_tail *tail);

#endif
