/* SPDX-License-Identifier: Apache-2.0
 * The two shared pages of a partition: control (writers map it read-write, readers read-only) and
 * bell (every client maps it read-write). This is a wire between processes: nothing in it may be
 * believed. Words are read once and checked, and there are no pointers.
 *
 * The control page lives as long as one *generation* of the partition. Evicting a stopped writer,
 * or finding the page damaged, starts a new generation with a new object.
 */
#ifndef SHM_CONTROL_H
#define SHM_CONTROL_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHM_CONTROL_MAGIC UINT64_C(0x6c74632d73756273) /* "sbus-ctl" in memory */
#define SHM_BELL_MAGIC UINT64_C(0x6c65622d73756273)    /* "sbus-bel" */

enum {
    SHM_LAYOUT_VERSION = 1,
    SHM_PAGE_BYTES = 4096,
    SHM_SLOTS = 8,           /* segments that a control page knows: slot = seq % SHM_SLOTS */
    SHM_ID_BYTES = 16,       /* topic id, boot id */
    SHM_SLEEP_BOUND_MS = 50, /* nobody sleeps longer without looking again */
};

#define SHM_SEGMENT_BYTES_MAX INT64_C(0x7fffffff) /* positions are 31 bits, as in Kafka's index */

/** `control.state`. Anything else is damage. */
enum shm_state {
    SHM_STATE_OPEN = 1,   /* append and read */
    SHM_STATE_FENCED = 2, /* this generation is over: attach again */
    SHM_STATE_OFFLINE =
        3, /* a flush failed or the log is damaged: reading only, see busd's trace */
    SHM_STATE_DELETED = 4, /* the topic is gone */
};

/** Bits of `control.flags`. */
enum shm_flag {
    SHM_FLAG_LOG_APPEND_TIME = 1, /* message.timestamp.type=LogAppendTime */
    SHM_FLAG_REPLICATED = 2,      /* readers stop at high_watermark, not at the published end */
    SHM_FLAG_MEMORY = 4,          /* storage.type=memory: nothing to flush */
    SHM_FLAG_FLUSH_ON_ACK = 8,    /* acks=all waits for the flush */
    SHM_FLAG_COMPACTED = 16,      /* every record needs a key */
    SHM_FLAG_HOLES = 32,          /* offsets may be missing: it is compacted, or was */
};

/* `published`: one word says how far a segment may be read, and which offset comes next. */
#define SHM_SEALED (UINT64_C(1) << 63) /* nothing will be published here again */
#define SHM_PUBLISHED(position, count) ((uint64_t)(position) << 32 | (uint64_t)(count))
#define SHM_PUBLISHED_POSITION(word) ((uint32_t)((word) >> 32) & UINT32_C(0x7fffffff))
#define SHM_PUBLISHED_COUNT(word) ((uint32_t)(word))

/** One segment as the writers see it; a cache line of its own. */
struct shm_slot {
    _Atomic int64_t seq;         /* which segment is here; stored last (release); -1 none */
    _Atomic int64_t base_offset; /* -1 while the segment is the spare */
    _Atomic uint64_t published;  /* SHM_PUBLISHED() with SHM_SEALED; moved by compare-and-swap */
    _Atomic uint32_t limit;      /* bytes reserved on disk: an append never passes it */
    uint8_t unused[36];
};

struct shm_control {
    /* Identity: written before anybody else gets the object, never again. */
    uint64_t magic;
    uint32_t layout;
    int32_t partition;
    uint8_t topic_id[SHM_ID_BYTES];
    uint8_t boot_id[SHM_ID_BYTES];
    uint32_t generation;
    uint8_t unused0[12];

    /* Rules: written by busd, read at each append. */
    _Atomic uint32_t state;             /* enum shm_state */
    _Atomic uint32_t flags;             /* enum shm_flag */
    _Atomic int32_t leader_epoch;       /* stamped into each batch */
    _Atomic uint32_t max_message_bytes; /* largest batch */
    _Atomic uint32_t segment_bytes;     /* roll when a batch would pass it */
    uint8_t unused1[44];

    /* The append lock (lock.h). */
    _Atomic uint32_t append_lock;
    uint8_t unused2[60];

    /* The segment being written: stored by whoever holds the append lock. */
    _Atomic int64_t active_seq;
    uint8_t unused3[56];

    /* Sleepers for new records wait on this word. */
    _Atomic uint32_t wake_seq;
    uint8_t unused4[60];

    /* The flush (flush.h). */
    _Atomic int64_t durable_offset; /* every offset below is on stable storage */
    _Atomic uint32_t durable_seq;   /* those who wait for a flush sleep here */
    _Atomic uint32_t flush_lock;
    _Atomic uint32_t flush_turn; /* flushes that have begun, by whoever holds flush_lock */
    uint8_t unused5[4];
    _Atomic int64_t flush_expected; /* the end that the log will have when all those whom the last
                                       flush woke have appended again; a guess */
    uint8_t unused8[32];

    /* Watermarks: written by busd. */
    _Atomic int64_t high_watermark;
    _Atomic int64_t log_start_offset;
    uint8_t unused6[48];

    /* What busd is asked to do; it looks after a kick. */
    _Atomic uint32_t reserve_wanted; /* 1: the limit of the active segment comes near */
    uint8_t unused7[60];

    struct shm_slot slots[SHM_SLOTS];
};

/** Shared with everybody; the worst that scribbling here, or cutting the object off, does is a
 * needless wake-up call or a sleep of SHM_SLEEP_BOUND_MS. */
struct shm_bell {
    uint64_t magic; /* for people who look at /dev/shm: no reader may make others refuse the page */
    uint8_t unused[56];
    _Atomic uint32_t sleeping; /* 1: somebody may sleep on wake_seq */
};

static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2,
    "atomics shared between processes must be lock-free");
static_assert(sizeof(struct shm_slot) == 64, "a slot fills a cache line");
static_assert(offsetof(struct shm_control, state) == 64, "layout of version 1");
static_assert(offsetof(struct shm_control, append_lock) == 128, "layout of version 1");
static_assert(offsetof(struct shm_control, active_seq) == 192, "layout of version 1");
static_assert(offsetof(struct shm_control, wake_seq) == 256, "layout of version 1");
static_assert(offsetof(struct shm_control, durable_offset) == 320, "layout of version 1");
static_assert(offsetof(struct shm_control, high_watermark) == 384, "layout of version 1");
static_assert(offsetof(struct shm_control, reserve_wanted) == 448, "layout of version 1");
static_assert(offsetof(struct shm_control, slots) == 512, "layout of version 1");
static_assert(sizeof(struct shm_control) <= SHM_PAGE_BYTES, "one page");
static_assert(sizeof(struct shm_bell) <= SHM_PAGE_BYTES, "one page");

/** What makes a control page. */
struct shm_control_options {
    uint8_t topic_id[SHM_ID_BYTES];
    uint8_t boot_id[SHM_ID_BYTES];
    int32_t partition;
    uint32_t generation;
    int32_t leader_epoch;
    uint32_t flags; /* enum shm_flag */
    uint32_t max_message_bytes;
    uint32_t segment_bytes;
    int64_t log_start_offset;
    int64_t durable_offset;
    int64_t first_seq; /* sequence number of the first segment, normally 0 */
};

/**
 * Creates the shared-memory object `name` ("/shmbus…") with a fresh control page, mode 0600.
 * Returns its fd, O_RDWR, which the caller owns, or a failure (BUS_ERR_SYSTEM with EEXIST when the
 * name is taken). The page has no segments yet: shm_slot_prepare() follows, before anybody gets it.
 */
int shm_control_create(const char *name, const struct shm_control_options *options);

/** Creates the bell object `name`. Returns its fd or a failure. */
int shm_bell_create(const char *name);

/** What shm_object_open() returns when there is no object of the name. */
enum { SHM_OBJECT_NONE = -2000 };

/** Opens an object by name. Returns its fd, SHM_OBJECT_NONE, PERMISSION when it is another user's,
 * or a failure. Gives the fd. */
int shm_object_open(const char *name, bool writable);

/** Removes a name; those who map the object keep it. An absent name is no failure. */
int shm_object_unlink(const char *name);

/**
 * Checks a mapped control page for marker, layout, and identity. Returns 0, -BUS_ERR_LAYOUT_VERSION
 * or -BUS_ERR_CORRUPT_MESSAGE. `topic_id` may be NULL, `partition` -1: not compared.
 */
int shm_control_check(
    const struct shm_control *control, const uint8_t *topic_id, int32_t partition);

/** Reads the kernel's boot id. Returns 0 or a failure. */
int shm_boot_id(uint8_t boot_id[SHM_ID_BYTES]);

/**
 * busd: puts a reserved segment into its slot, as the spare (base_offset -1) or with its base. The
 * slot must not be in use by a segment that writers still need (seq - SHM_SLOTS is closed). In a
 * generation that is over the slot comes out sealed.
 */
void shm_slot_prepare(struct shm_control *control, int64_t seq, int64_t base_offset,
    uint32_t position, uint32_t count, uint32_t limit);

#endif
