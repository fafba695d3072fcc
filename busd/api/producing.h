/* SPDX-License-Identifier: Apache-2.0
 * What is known of idempotent producers, partition by partition, for the batches that go through
 * busd. Direct producers append without asking: before a batch is judged, the headers of what is
 * new in the log are taken in. A snapshot in LMDB, saved every few seconds with the offset up to
 * which it is right, outlives restarts and the deletion of old segments.
 *
 * Thread: the loop.
 */
#ifndef API_PRODUCING_H
#define API_PRODUCING_H

#include "api/request.h"
#include "core/producers.h"

struct producings;

/** Nothing known yet. Gives *producings. 0 or NO_MEMORY. */
int producings_new(struct api *api, struct producings **producings);

/** Saves what is known and frees. Blocks: for the disk. */
void producings_free(struct producings **producings);

/** Outcomes of producing_judge(), beside those of producers_check(), and of producing_look(). */
enum { PRODUCING_LATER = 2 };

/**
 * Judges a batch before it is appended, as producers_check() does. PRODUCING_LATER: the log has
 * too much that is new for one turn of the loop, ask again in a moment. Other failures as of
 * log_read(), or NO_MEMORY.
 */
int producing_judge(struct producings *producings, struct open_log *log,
    const struct producer_batch *batch, struct producer_batch *known);

/** The batch that was judged last was appended at batch->base_offset. */
void producing_note(
    struct producings *producings, const struct open_log *log, const struct producer_batch *batch);

/**
 * What is known of the producers of a log, all that it holds taken in. 0 with *state, which is
 * borrowed until control returns to the loop, PRODUCING_LATER, or a failure as of
 * producing_judge().
 */
int producing_look(
    struct producings *producings, struct open_log *log, const struct producers **state);

/** Saves what has changed and forgets silent producers, when it is time. */
void producings_run(struct producings *producings);

/** When producings_run() wants to be called by the monotonic clock; -1 never. */
int64_t producings_deadline_ms(const struct producings *producings);

/** A topic was deleted: nothing is known of it any more. Blocks: for the disk. */
void producings_delete(struct producings *producings, const struct cluster_topic *topic);

#endif
