/* SPDX-License-Identifier: Apache-2.0
 * A data folder for the tests of busd/store, with checkpoints in memory.
 */
#ifndef UNIT_STORE_FIXTURE_H
#define UNIT_STORE_FIXTURE_H

#include "store/log.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FIXTURE_CHECKPOINTS_MAX = 8 };

struct store_fixture {
    char data[64]; /* the data folder */
    struct store *store;
    struct log *log;
    struct log_options options;
    struct store_checkpoint checkpoints[FIXTURE_CHECKPOINTS_MAX];
    size_t checkpoint_count;
    bool save_fails;
    _Atomic int kicks;
};

/** What the disk does from now on, to everybody in this process. */
struct fixture_disk {
    bool full;            /* fallocate() gives no space */
    bool flush_fails;     /* fdatasync() fails */
    bool quick;           /* fdatasync() does not wait for the disk */
    bool reserve_fails;   /* fallocate() fails otherwise */
    int reservations;     /* calls of fallocate() */
    int64_t reserved_max; /* the largest reservation that was asked for at once; above 1 GiB none
                           * is given */
    uint64_t bad_inode;   /* pread() of this file fails; 0: of none */
    _Atomic int64_t bytes_read; /* with pread() */
};
extern struct fixture_disk fixture_disk;

/** A fresh folder and an open store; options of a topic "t" with small segments. */
void fixture_init(struct store_fixture *fixture);

/** Removes everything, shared memory too. */
void fixture_fini(struct store_fixture *fixture);

/** Opens fixture->log; returns what log_open() returns. */
int fixture_open(struct store_fixture *fixture);

/** Closes the log and the store and opens the store again: busd was restarted. */
void fixture_restart(struct store_fixture *fixture);

/** As fixture_restart() after a reboot: shared memory is gone. */
void fixture_reboot(struct store_fixture *fixture);

/** Appends a batch of `records` records of `value_bytes` each, with this time; its base offset, -1
 * when the log is busy. */
int64_t fixture_append(
    struct store_fixture *fixture, int records, size_t value_bytes, int64_t timestamp);

/** What fixture_append() would append: owned by the caller (free()). */
void *fixture_batch(int records, size_t value_bytes, int64_t timestamp, size_t *bytes);

/** Serves the log until nothing is left to do. */
void fixture_serve(struct store_fixture *fixture);

/** Reads one slice at `offset`; the offset behind it, or what log_read() failed with. */
int64_t fixture_read(struct store_fixture *fixture, int64_t offset);

/** Reads from `offset` to the end and checks that offsets are contiguous; the end offset. */
int64_t fixture_read_all(struct store_fixture *fixture, int64_t offset);

/** The bounds of the log, which must be there. */
struct log_bounds fixture_bounds(struct store_fixture *fixture);

/** The path of a file of the partition, static. */
const char *fixture_path(const struct store_fixture *fixture, const char *name);

/** Overwrites bytes of a file of the partition. */
void fixture_damage(
    const struct store_fixture *fixture, const char *name, int64_t position, size_t bytes);

/** The size of a file of the partition, -1 when it is missing. */
int64_t fixture_size(const struct store_fixture *fixture, const char *name);

/** Files of the partition whose names end so. */
int fixture_count(const struct store_fixture *fixture, const char *suffix);

/** The first byte that is not zero at or behind `position` in a file of the partition, -1 none. */
int64_t fixture_nonzero(const struct store_fixture *fixture, const char *name, int64_t position);

/** Maps the control page of the log's generation for writing, as a client that may write has it. */
struct shm_control *fixture_control(const struct store_fixture *fixture);

/** The folder of memory topics, as long as the fixture lives; static. */
const char *fixture_memory(const struct store_fixture *fixture);

/** File descriptors that this process has open. */
int fixture_open_files(void);

/** Shared memory objects of this data folder. */
int fixture_objects(const struct store_fixture *fixture);

#endif
