/* SPDX-License-Identifier: Apache-2.0
 * The rules of retention and compaction, put between busd/core, which has them, and busd/store,
 * which carries them out; and the eye on the wall clock that both go by.
 *
 * The jumps of the clock are kept in <data>/clock, so that a restart does not forget them:
 *
 *     0                                       version
 *     boot <id in hex> <boot ms> <wall ms>    the two clocks at one instant of that boot
 *     jump <before ms> <after ms>             the oldest first
 */
#ifndef BUSD_UPKEEP_H
#define BUSD_UPKEEP_H

#include "core/settings.h"
#include "core/walltime.h"
#include "store/rules.h"

#include <pthread.h>
#include <stdint.h>

enum { UPKEEP_ID_BYTES = 16 };

struct upkeep {
    pthread_mutex_t mutex; /* guards all below */
    struct walltime time;
    char *path; /* owned */
    uint8_t boot_id[UPKEEP_ID_BYTES];
};

/** Reads what is known of the clock. A damaged file is told and forgotten. 0 or a failure. */
int upkeep_init(struct upkeep *upkeep, const char *data_folder);

/** Releases it. Also when zeroed. */
void upkeep_fini(struct upkeep *upkeep);

/** Looks at the clocks; a jump is told in the trace and noted on disk. Thread: any. Blocks: disk.
 */
void upkeep_look(struct upkeep *upkeep);

/** The table for the store; borrows `upkeep`. */
struct store_rules upkeep_rules(struct upkeep *upkeep);

/** The settings of busd that the store goes by. */
struct store_upkeep upkeep_settings(const struct settings *settings);

#endif
