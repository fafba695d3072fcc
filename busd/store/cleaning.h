/* SPDX-License-Identifier: Apache-2.0
 * Compaction on its way. Three hands, so that none blocks another:
 *
 *   the keeper  chooses a partition and writes down a job: which segments, how far (clean_plan.c);
 *   the cleaner reads, and writes new segments under other names; it holds no lock and touches no
 *               struct of the log, so it may run at the lowest priority (clean_run.c);
 *   the keeper  puts the new segments in the place of the old ones (clean_swap.c).
 *
 * A job belongs to the hand that its state names.
 */
#ifndef STORE_CLEANING_H
#define STORE_CLEANING_H

#include "store/clean_filter.h"
#include "store/clean_map.h"
#include "store/index.h"
#include "store/rules.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log;
struct store;

enum {
    CLEAN_TEXT_BYTES = 256,
    CLEAN_NAME_BYTES = 280, /* of a partition: topic, '-', number */
};

/** Segments on their way out and the one in their place. */
struct clean_swap {
    int64_t base_offset; /* of the first, and of the new one; -1: none is under way */
    int64_t end_offset;  /* of the last */
    int64_t bytes;       /* of the new one */
};

/** What is remembered of compaction in each log; guarded by log->mutex. */
struct log_cleaning {
    int64_t clean_offset;     /* up to here it was compacted */
    int64_t rewritten_offset; /* segments below may have been rewritten: offsets may be missing */
    struct clean_swap swap;   /* committed, not done with */
    bool asked;               /* somebody wants it now */
    int64_t asked_offset;     /* up to here; the active segment is closed for it */
    bool again;               /* the last run could not take all keys at once */
    bool stuck;               /* a swap failed half-way: the next opening finishes it */
    bool told;                /* a failure was traced */
    int64_t runs;             /* that came to their end */
    int64_t ended_ms;         /* the last one, wall clock */
    int64_t bytes_before, bytes_after, dropped; /* of the last one */
    double dirty_ratio;                         /* at the last look */
    char failure[CLEAN_TEXT_BYTES];             /* of the last one, or what it left; "" none */
};

/** Whose hands a job is in. */
enum clean_state {
    CLEAN_CHOSEN,    /* the keeper's: it may yet prefer another */
    CLEAN_READING,   /* the cleaner's: it fills the map */
    CLEAN_REWRITING, /* the cleaner's: it writes new segments */
    CLEAN_INSTALL,   /* the keeper's: a new segment is there */
    CLEAN_ENDED,     /* the keeper's: all is done, or has failed */
};

/** A segment to be compacted. */
struct clean_source {
    int64_t base_offset, next_offset;
    int64_t bytes;
    bool left_alone; /* damaged: it stays as it is */
};

/** New segment in the making, for the sources [first, end). */
struct clean_group {
    size_t first, end;
    int64_t position; /* bytes written */
    bool changed;     /* it differs from its source */
    struct index index;
};

struct clean_job {
    struct log *log;         /* NULL: closed meanwhile; store->cleaning */
    enum clean_state state;  /* store->cleaning */
    _Atomic bool cancelled;  /* the log was closed */
    const atomic_bool *stop; /* busd ends; borrowed */
    char name[CLEAN_NAME_BYTES];
    int folder;       /* of the partition; owned */
    char path[64];    /* the same folder, whatever its name is now */
    bool sync;        /* on a disk */
    int64_t interval; /* of the index, bytes */
    int64_t segment_bytes;
    int64_t reserve_bytes; /* disk space that is left to the producers */
    size_t map_bytes;
    int64_t rate;                 /* bytes per second */
    struct clean_source *sources; /* owned */
    size_t source_count;
    bool asked;           /* somebody asked for it */
    int64_t clean_offset; /* before this job */
    int64_t dirty_offset; /* its dirty part ends here */
    struct store_dirt dirt;

    struct clean_map map;
    struct clean_filter filter;
    struct clean_group group;
    size_t at;     /* the next source */
    int64_t up_to; /* the map holds the keys below */
    bool map_full; /* there is more to do in another pass */
    int result;    /* 0, or the failure that ended it */
    char text[CLEAN_TEXT_BYTES];
    int64_t began_ns;
    int64_t bytes_before, bytes_after;
    _Atomic int64_t moved; /* bytes read and written, for the rate and for whoever looks */
    _Atomic int64_t bytes_total, bytes_done; /* to be read */
};

/** Releases a job; nulls the pointer, which may be NULL before. */
void clean_job_free(struct clean_job **job);

/** Runs a job until the keeper is needed; the new state. Thread: the cleaner. Blocks: disk. */
enum clean_state clean_run(struct clean_job *job);

/* ---- clean_plan.c: the keeper; under log->service but for the first two --------------------- */

/** Starts a job on the log that needs it most, if none runs. */
void clean_choose(struct store *store);

/** Ends the job of a log that is being closed. Thread: any. */
void clean_forget(struct log *log);

/** Whether a job of this log waits for the keeper. */
bool clean_waits(struct log *log);

/** Does the keeper's part of the log's job, and what of a swap was left undone. */
int clean_serve(struct log *log);

/* ---- clean_swap.c --------------------------------------------------------------------------- */

/** Reads what is remembered of compaction. 0 or a failure. Under both locks. */
int clean_load(struct log *log);

/** Finishes a swap that a crash interrupted, and removes what else it left. Under both locks. */
int clean_settle(struct log *log);

/** Writes what is remembered. Under log->service. */
int clean_save(struct log *log);

/** Puts the group of a job in the place of its sources. Under log->service. */
int clean_install(struct log *log, struct clean_job *job);

#endif
