/* SPDX-License-Identifier: Apache-2.0
 * A log that is compacted, beside a plain model of it: all records that were ever appended. The
 * clock of retention and compaction is a number.
 */
#ifndef UNIT_CLEAN_WORLD_H
#define UNIT_CLEAN_WORLD_H

#include "store/rules.h"
#include "unit/store_fixture.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WORLD_KEYS = 40, WORLD_RECORDS_MAX = 20000 };

struct world_record {
    int32_t key;        /* -1 none */
    int32_t value_size; /* -1: a deletion */
    int64_t timestamp;
    int64_t seen_ms; /* the first compaction that saw it ended not before; -1 none yet */
    uint8_t headers;
    bool last_seen; /* by check: it was there */
};

struct clean_world {
    struct store_fixture fixture;
    struct log_rules rules; /* of the topic */
    struct store_upkeep upkeep;
    int64_t now_ms;
    int64_t producer_before_ms;
    uint64_t random;
    struct world_record *records; /* by offset */
    int64_t count;
};

/** A fresh world with small segments; `seed` of what is random. */
void clean_world_init(struct clean_world *world, uint64_t seed);

/** Removes everything. */
void clean_world_fini(struct clean_world *world);

/** Opens the log, which must succeed. */
void clean_world_open(struct clean_world *world);

/** As fixture_restart(), and opens the log again. */
void clean_world_restart(struct clean_world *world);

/** As fixture_reboot(), and opens the log again. */
void clean_world_reboot(struct clean_world *world);

/** A random number below `below`. */
uint32_t clean_world_random(struct clean_world *world, uint32_t below);

/** What to append. */
struct world_batch {
    int records;
    int codec;
    int32_t first_key;  /* of the first record; the others follow, modulo WORLD_KEYS; -1 random */
    int32_t value_size; /* -1 deletions, -2 random */
    int64_t producer_id;
    bool no_keys;
};

/** Appends to log and model; the base offset. */
int64_t clean_world_append(struct clean_world *world, const struct world_batch *batch);

/** A random batch. */
void clean_world_append_random(struct clean_world *world);

/** Fills the active segment, so that all before is closed; then serves and flushes. */
void clean_world_roll(struct clean_world *world);

/** Keeper and flusher, until nothing is left to do. */
void clean_world_serve(struct clean_world *world);

/** Whether the keeper may choose something to compact; it may not but in clean_world_run(). */
void clean_world_allow(struct clean_world *world, bool clean);

/** Keeper, flusher and cleaner, until nothing is left to compact; the number of steps. */
int clean_world_run(struct clean_world *world);

/** Where compaction stands. */
struct log_cleaning_status clean_world_status(struct clean_world *world);

/**
 * Reads the whole log and compares: what is there is what was appended, in order; the last value of
 * each key is there; what is dirty is complete. `clean`: nothing is there that should be gone.
 * Returns the records.
 */
int64_t clean_world_check(struct clean_world *world, bool clean);

/** The number of batches without records. */
int clean_world_empty_batches(struct clean_world *world);

/** After so many calls that change files (fsync, rename, unlink, write) the process ends; 0 never.
 */
extern int world_crash_after;

#endif
