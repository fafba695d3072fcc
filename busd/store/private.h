/* SPDX-License-Identifier: Apache-2.0
 * What the files of this folder share: the structs behind store.h and log.h.
 *
 * Locks, outer first: log->service, log->mutex, store->saving, store->mutex. `service` is held by
 * whoever changes files (keeper, eviction, deletion of records, close); `mutex` by everybody who
 * looks at the log, and never across a flush or a reservation, but for the repair of a damaged
 * partition. A segment leaves the table only under both locks.
 */
#ifndef STORE_PRIVATE_H
#define STORE_PRIVATE_H

#include "shm/flush.h"
#include "shm/partition.h"
#include "store/cleaning.h"
#include "store/files.h"
#include "store/index.h"
#include "store/log.h"
#include "store/store.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct store {
    struct store_options options;
    char *data;           /* owned, as those below */
    char *topics;         /* <data>/topics */
    char *stray;          /* <data>/stray: partitions of topics that nobody knows */
    char *memory;         /* where memory topics live, on a tmpfs */
    char *memory_deleted; /* beside them */
    char *deleted;        /* <data>/deleted: folders on their way out */
    int lock_fd;          /* <data>/lock, locked */
    uint8_t instance[STORE_ID_BYTES];
    uint8_t boot_id[STORE_ID_BYTES];
    pthread_mutex_t saving;     /* `saved` of the logs, and the order of saves */
    pthread_mutex_t mutex;      /* the list, and `users` of its logs */
    pthread_cond_t unused;      /* a log lost its last user */
    struct log *logs;           /* the first of the list */
    struct store_upkeep upkeep; /* mutex */
    pthread_mutex_t cleaning;   /* `job`, and its log and state; inner to all the others */
    struct clean_job *job;      /* the compaction that is under way, or NULL */
    int64_t choose_ms;          /* when to look for another; of the keeper */
    atomic_bool stopping;       /* the cleaner is to let go */
    atomic_bool asked;          /* somebody wants a log compacted: look at once */
    bool save_failed;           /* told already */
};

/** Pages of one generation; shared by the log, a flush and watches. */
struct generation {
    _Atomic int references;
    uint32_t number;
    struct shm_partition view;  /* for appends; guarded by log->mutex */
    struct shm_partition flush; /* the same pages, segments of its own: of who set `flushing` */
    pthread_mutex_t flush_mutex;
    pthread_cond_t flush_done;
    bool flushing; /* guarded by flush_mutex */
};

struct log_watch {
    struct generation *generation; /* a reference */
};

/** One segment file. */
struct segment {
    int64_t base_offset;     /* -1: the spare */
    int64_t seq;             /* in this generation, -1 older */
    int64_t spare;           /* n when its name is still spare-<n>.log, else -1 */
    int64_t end;             /* valid bytes once it is closed; -1 not known, or being written */
    int64_t next_offset;     /* once it is closed; -1 being written */
    int64_t reserved;        /* bytes with disk blocks; no limit that we gave was higher */
    int64_t capacity;        /* bytes that clients map */
    bool trimmed;            /* the surplus behind the end was given back */
    bool used;               /* its file was used since the keeper's last look */
    int64_t retry_ns;        /* it could not be followed: not before this time again */
    bool holes;              /* offsets may be missing between its batches */
    bool first_known;        /* first_timestamp was looked at */
    int64_t first_timestamp; /* of its first batch, once it is closed; -1 none */
    int64_t closed_ms;       /* when the file of a closed one was written last; 0 not known yet */
    int64_t verified_from, verified_to; /* bytes whose CRCs were seen to be right */
    struct log_file *file;              /* a reference, or NULL */
    struct index index;
};

/** Start of a leader epoch. */
struct epoch {
    int32_t epoch;
    int64_t start_offset;
};

/** Places that were found before: sequential readers come back to them. */
enum { HINTS = 4 };
struct hint {
    int64_t base_offset; /* of the segment; -1: empty */
    int64_t offset;
    int64_t position;
};

struct log {
    struct store *store;
    struct log *next, *previous; /* in the store's list; store->mutex */
    int users;                   /* passes and visits that hold it; store->mutex */
    struct log_options options;
    char *topic; /* owned, as the two below */
    char *folder;
    char *writers; /* path of the file that writers lock */

    pthread_mutex_t service;
    pthread_mutex_t mutex;

    struct generation *generation; /* NULL: none could be started yet */
    uint32_t number;               /* of the newest generation that was ever started */
    bool fencing;                  /* FENCED is what its state should be */
    bool deleted;                  /* log_delete() has begun: what is seen now is no damage */
    bool flush_failed;             /* the next generation starts OFFLINE */
    bool damaged;                  /* its words made no sense: the keeper starts another */
    bool told_offline;             /* OFFLINE was traced */
    bool told_damaged;             /* the failure to do so was traced */

    struct segment **segments; /* by rising base offset; the last one is being written */
    size_t count, capacity;
    struct segment *spare; /* ready in the slot behind the active one, or NULL */

    int64_t start_offset;
    int64_t high_watermark;
    int64_t end_offset;      /* as seen last; it never goes back */
    int64_t end_position;    /* in the active segment */
    int64_t idle_offset;     /* the end at the keeper's last look */
    int64_t active_since_ms; /* wall clock of the first append that was seen; -1 none */

    struct epoch *epochs;
    size_t epoch_count;
    bool epochs_dirty;

    struct store_checkpoint saved; /* in the table of checkpoints; store->saving */

    bool writers_seen; /* somebody writes: spares and large reservations are worth it */
    bool direct_writers;
    int64_t step;          /* of the reservation, bytes */
    int64_t grown_ns;      /* when it last grew */
    int64_t served_offset; /* the end when the keeper last left a request for room standing */
    struct log_fill {      /* fill.c: its last look */
        int64_t seq;
        int64_t position; /* of the tail */
        int64_t until;    /* zeros, or records, up to here */
        int64_t looked_ns;
        uint32_t turn; /* of the last flush */
    } fill;
    bool disk_full;         /* told already */
    bool service_failed;    /* told already */
    int64_t pruned_ms;      /* the last look at what was set aside, monotonic; 0 none yet */
    atomic_bool awaited;    /* somebody found `service` taken and comes back: be quick */
    atomic_bool unfinished; /* the keeper's last pass left work */

    uint32_t stall_owner; /* sample of the append lock; 0 none */
    uint64_t stall_published;
    int64_t stall_seq;
    int64_t stall_since_ns;

    struct log_cleaning cleaning;
    int64_t retained_ms; /* the last look of retention, monotonic; -1 none since the opening */

    int64_t evictions, rebuilds;
    struct hint hints[HINTS];
    unsigned next_hint;
};

/** Creates the folders of memory topics. 0, PERMISSION as below, or a failure. */
int store_memory_folder(const struct store *store);

/** 0, also when there are none, or PERMISSION: they are not ours, so nothing there is touched. */
int store_memory_check(const struct store *store);

/* ---- owner.c: whose a partition's folder is ------------------------------------------------- */

/** Creates the folder of the partition. One that belongs to another topic is set aside first. */
int log_claim(struct log *log);

/** Whether the folder is there and belongs to another topic than `log`, whose id goes to `owner`.
 */
int log_is_foreign(const struct log *log, bool *foreign, uint8_t owner[STORE_ID_BYTES]);

/* ---- generation.c --------------------------------------------------------------------------- */

/** Outcome of generation_open(). */
enum { GENERATION_NONE = 1 };

/** Opens the pages of generation `number`: 0, GENERATION_NONE, CORRUPT_MESSAGE, or a failure. */
int generation_open(struct log *log, uint32_t number, struct generation **generation);

/** What a new control page starts with; the segments are closed but the last. */
struct generation_options {
    uint32_t number;
    size_t first; /* index in log->segments of the segment with sequence number 0 */
    int64_t durable_offset;
};

/** Creates the pages with a slot for each segment from `first` on, which get their numbers. */
int generation_create(
    struct log *log, const struct generation_options *options, struct generation **generation);

/** Ends the generation `number` for those who map it, if it exists at all. */
void generation_fence(struct log *log, uint32_t number, enum shm_state state);

/**
 * Cuts off the control page of a generation that somebody scribbles on: a word that says FENCED can
 * be overwritten, a page that is gone cannot. Whoever touches it sees damage and attaches again.
 */
void generation_void(struct log *log, uint32_t number);

/** Removes the names of a generation. */
int generation_unlink(struct log *log, uint32_t number);

enum { GENERATION_NAME_BYTES = 128 };

/** The name of an object, suffix "ctl" or "bell". */
void generation_name(
    const struct log *log, uint32_t number, const char *suffix, char name[GENERATION_NAME_BYTES]);

/** Another reference. */
struct generation *generation_ref(struct generation *generation);

/** Unmaps the segments that busd itself has mapped, unless a flush uses them. Under log->mutex. */
void generation_drop_segments(struct generation *generation);

/** Drops a reference; nulls the pointer, which may be NULL before. */
void generation_unref(struct generation **generation);

/* ---- segments.c: the table; under log->mutex ------------------------------------------------ */

/** The segment being written; NULL without any. */
struct segment *segments_active(const struct log *log);

/** A fresh entry (not in the table): not written to, not numbered. NULL without memory. */
struct segment *segment_new(int64_t base_offset, int64_t spare);

/** Releases an entry; nulls the pointer. */
void segment_free(struct segment **segment);

/** Adds at the end; takes the entry. 0 or NO_MEMORY (then it is released). */
int segments_push(struct log *log, struct segment *segment);

/** Empties the table, spare included. */
void segments_clear(struct log *log);

/** Index of the segment that holds `offset`, which is not below the first base offset. */
size_t segments_find(const struct log *log, int64_t offset);

/** Its path now; owned by the caller, NULL without memory. */
char *segment_path(const struct log *log, const struct segment *segment);

/** Opens its file if it is not open. Borrowed. */
int segment_file(struct log *log, struct segment *segment, struct log_file **file);

/** Closes its file, unless it is being written: for those who visit every segment. */
void segment_rest(const struct log *log, struct segment *segment);

/** What its indexes may hold. */
struct index_files segment_index_files(const struct log *log, const struct segment *segment);

/** Loads its index if it is not loaded. */
int segment_index(struct log *log, struct segment *segment);

/** The valid bytes of a segment: of a closed one, looked up if they are not known. */
int segment_end(struct log *log, struct segment *segment, int64_t *end);

/** The offset at the end of a segment. */
int64_t segment_end_offset(const struct log *log, const struct segment *segment);

struct segment_wanted {
    int64_t base_offset; /* -1: a spare */
    int64_t spare;       /* its n, or -1 */
    int64_t bytes;       /* to reserve */
    int64_t capacity;
};

/**
 * Creates a segment file with space reserved, as far as the disk has it, and makes it durable.
 * 0 or a failure. Blocks for the disk, so but for a new generation it is not for under log->mutex.
 */
int segment_create(struct log *log, const struct segment_wanted *wanted, struct segment **segment);

/* ---- tail.c --------------------------------------------------------------------------------- */

/**
 * Reads the end of the log from the control page, checks it against what we know, and notes a roll.
 * 0 or PARTITION_OFFLINE: the page is damaged and will be replaced. Under log->mutex.
 */
int log_tail(struct log *log, struct shm_tail *tail);

/** Whether `rc` is a failure of upkeep. That the topic was deleted meanwhile is none. */
bool log_failed(int rc);

/** Marks the generation as damaged and calls the keeper. Returns the error for the caller. */
int log_damage(struct log *log, const char *what);

/** Wakes the keeper. */
void log_kick(struct log *log);

/** The offset that readers of an isolation stop at. Under log->mutex. */
int64_t log_visible(struct log *log, const struct shm_tail *tail, enum log_isolation isolation);

/** The source of the view for appends, used under log->mutex. */
struct shm_source log_source_locked(struct log *log);

/** The source of the view for flushes, which takes log->mutex itself. */
struct shm_source log_source_unlocked(struct log *log);

/* ---- recover.c, scan.c, renew.c: under both locks ------------------------------------------- */

/** Builds the table and the generation from what is on disk and in shared memory. */
int log_recover(struct log *log);

/** What a scan found: the log ends here. */
struct scan_end {
    int64_t offset;
    bool reusable; /* the last segment in the table is open at its end and nobody else has it */
};

struct scan_options {
    bool alive;   /* evicted writers may still have the files mapped */
    bool rewrite; /* a flush failed: write what is verified once more, to be flushed again */
};

/**
 * Builds the table from the folder and verifies everything behind the checkpoint; cuts at the first
 * batch that is not right. What is kept was flushed, or log->flush_failed is set.
 */
int log_scan(struct log *log, const struct scan_options *options, struct scan_end *end);

/** How much of a segment file can be in use: a writer may have made it longer than that. */
int64_t segment_bytes_of(const struct files_entry *entry);

/** Builds the table from the segment files in `list`. */
int log_list(struct log *log, const struct files_list *list);

/** Gives a spare file its final name, for good. Takes the base offset from the segment. */
int segment_rename(struct log *log, struct segment *segment);

/** Takes over a generation of this boot (a reference). CORRUPT_MESSAGE: it does not fit the files;
 * the generation is then the caller's. */
int log_adopt(struct log *log, struct generation *generation);

/**
 * Starts a new generation behind log->end_offset. `reuse`: the last segment goes on; else it is
 * closed and a new one begins. Everything below `durable_offset` is on stable storage.
 */
int log_renew(struct log *log, bool reuse, int64_t durable_offset);

/** Fences the generation and starts a new one at the published end, to get rid of who has it. */
int log_evict(struct log *log);

/** Discards a damaged generation: fences, scans, starts a new one. */
int log_rebuild(struct log *log);

/** Removes the segments that lie wholly below the start. */
int log_drop_old(struct log *log);

/* ---- retain.c: under log->service, not log->mutex ------------------------------------------- */

/** What the rules look at; `segments` is the caller's (free()). */
struct log_facts {
    struct store_facts *segments;
    struct store_facts_log log;
    struct log_rules rules;
    bool asked; /* somebody wants it compacted up to this offset */
    int64_t asked_offset;
};

/** Collects them from the oldest closed segment to the first that is not followed to its end. */
int log_collect_facts(struct log *log, struct log_facts *facts);

/** Retention, if it is time for it. */
int log_retain(struct log *log);

/** Moves the start of the log: told on disk first, then to clients, and then segments go. */
int log_move_start(struct log *log, int64_t offset);

/** Whether offsets may be missing: it is compacted, or was. */
static inline bool
log_holes(const struct log *log)
{
    return log->options.flags & SHM_FLAG_COMPACTED || log->cleaning.rewritten_offset > 0;
}

/** The flags of the control page. */
static inline uint32_t
log_flags(const struct log *log)
{
    return log->options.flags | (log_holes(log) ? SHM_FLAG_HOLES : 0);
}

/** Removes spares that are not in use: all files named so but the one in log->spare. */
int log_drop_spares(struct log *log);

/* ---- locate.c: under log->mutex ------------------------------------------------------------- */

struct walk;

/**
 * Starts *walk (walk_fini() also on failure) in `segment` so that the batch given last is the one
 * that contains `offset`, or the next one if compaction removed it. Outcomes WALK_BATCH, WALK_END
 * (behind the end of this segment), or a failure: CORRUPT_MESSAGE names the damage.
 */
int log_locate(struct log *log, struct segment *segment, int64_t offset, struct walk *walk);

/** Goes over damage, or over a batch whose CRC is wrong; see walk_skip(). */
int log_skip(struct log *log, const struct segment *segment, struct walk *walk, int64_t *from);

/**
 * Whether the CRC of the batch given last is right: 1, 0, or a failure to read it. Bytes that were
 * seen to be right are not read again: a batch never changes, and the disk is not checked twice in
 * the life of a busd.
 */
int log_verified(struct segment *segment, struct walk *walk);

/** As log_locate() in whichever segment has it; *segment unless WALK_END. */
int log_locate_any(struct log *log, int64_t offset, struct segment **segment, struct walk *walk);

/** 0, or OFFSET_OUT_OF_RANGE when the log does not reach from the start to `offset`. */
int log_check_range(struct log *log, const struct shm_tail *tail, int64_t offset);

/** Remembers the place of a batch boundary. */
void log_hint(struct log *log, const struct segment *segment, int64_t offset, int64_t position);

/** Forgets all places, when segments go away. */
void log_hints_clear(struct log *log);

/* ---- follow.c, epochs.c --------------------------------------------------------------------- */

/** Writes indexes behind the tail, a bounded piece of it. More is waiting when *more. Under
 * log->service, not log->mutex. */
int log_follow(struct log *log, bool *more);

/** Reads the epochs of the log; from the segments when the file is missing or damaged. */
int epochs_load(struct log *log);

/** Writes them if they changed. Under log->service, not log->mutex. */
int epochs_save(struct log *log);

/** Notes that `epoch` is in use at `offset`, if it was ever given. Under log->mutex. */
int epochs_note(struct log *log, int32_t epoch, int64_t offset);

/** Forgets what begins behind `end_offset`. */
void epochs_cut(struct log *log, int64_t end_offset);

/* ---- service.c, room.c, flush.c ------------------------------------------------------------- */

/** Takes log->service if it is free. False: come back in LOG_RETRY_MS, its holder is told to hurry.
 * For the loop thread, which must not wait for the disk that the keeper waits for. */
bool log_service_try(struct log *log);

/** Outcome of log_try_room(): the keeper is at work on the log; come back in LOG_RETRY_MS. */
enum { LOG_ROOM_BUSY = 1 };

/** log_make_room() for one who has to know when it is done. */
int log_try_room(struct log *log);

/** The keeper's work on one log. *more: there is work left. */
int log_service(struct log *log, bool *more);

/** Reserves space ahead of the tail. Under log->service. `least`: bytes needed at least. */
int room_reserve(struct log *log, int64_t least);

/** Gives segments that were spares the names that belong to their base offsets, for good, and
 * brings the settings up to date. Under log->service. */
int room_names(struct log *log);

/** Keeps a spare ready. Under log->service. */
int room_spare(struct log *log);

/** fill.c: puts zeros ahead of the tail of a log that needs them. Returns whether it does, and so
 * is to be called again soon. Under log->service. */
bool log_fill(struct log *log);

/** Whether room_reserve() or room_spare() would do something. Under log->mutex. */
bool room_wanted(struct log *log, const struct shm_tail *tail);

/** Bytes to reserve for a new segment. */
int64_t room_first(const struct log *log);

/** Flushes what is dirty; *moved tells that *checkpoint is to be saved. */
int log_flush_pass(struct log *log, struct store_checkpoint *checkpoint, bool *moved);

/** Saves one checkpoint at once. Under log->service. */
int log_checkpoint(struct log *log, const struct store_checkpoint *checkpoint);

/** Writes the settings into the control page. Under log->mutex. */
void log_publish_settings(struct log *log);

/** A log that is in no list yet. NULL without memory. */
struct log *log_new(struct store *store, const struct log_options *options);

/** Releases a log that is in no list. */
void log_free(struct log *log);

/** The checkpoint in the table. Takes store->saving. */
struct store_checkpoint log_saved(struct log *log);

/** Loads log->saved and what follows from it. */
int log_load_checkpoint(struct log *log);

/** Where the files of the partition are. Owned by the caller, NULL without memory. */
char *log_folder(const struct store *store, const struct log_options *options);

#endif
