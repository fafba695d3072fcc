/* SPDX-License-Identifier: Apache-2.0
 * The files of a partition's folder: names, creation, reservation, removal.
 */
#ifndef STORE_FILES_H
#define STORE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FILES_NAME_BYTES_MAX = 48,      /* of a file in a partition's folder, with its NUL */
    FILES_RESERVE_MIN = 256 * 1024, /* on a full disk no smaller step is tried */
};

/** An open file that slices share. */
struct log_file {
    _Atomic int references;
    int fd; /* owned, O_RDONLY */
};

/** Opens `path` for reading. Gives *file with one reference. */
int log_file_open(const char *path, struct log_file **file);

/** Another reference. Thread: any. */
struct log_file *log_file_ref(struct log_file *file);

/** Drops a reference, the last one closes; nulls the pointer, which may be NULL before. */
void log_file_unref(struct log_file **file);

/** "<20 digits><suffix>", as ".log". */
void files_name(char name[FILES_NAME_BYTES_MAX], int64_t base_offset, const char *suffix);

/** "spare-<n>.log". */
void files_spare_name(char name[FILES_NAME_BYTES_MAX], int64_t n);

/** "<folder>/<name>"; owned by the caller, NULL without memory. */
char *files_path(const char *folder, const char *name);

/** Creates a folder, mode 0700, if it is missing, and makes its name durable. 0 or a failure. */
int files_make_folder(const char *path);

/** Flushes a folder, so that names created, renamed or removed in it survive a power loss. */
int files_sync_folder(const char *path);

/** Flushes the folder that `path` lies in. */
int files_sync_parent(const char *path);

/** What kind of file a name is. */
enum files_kind {
    FILES_OTHER,
    FILES_LOG,   /* number: base offset */
    FILES_INDEX, /* .index and .timeindex; number: base offset */
    FILES_SPARE, /* number: n */
};

/** Reads a name back. */
enum files_kind files_parse(const char *name, int64_t *number);

/** One segment file that was found. */
struct files_entry {
    int64_t number; /* base offset, or n of a spare */
    int64_t bytes;  /* size */
    bool spare;
};

/** The segment files of a folder: segments by rising base offset, then spares by rising n. */
struct files_list {
    struct files_entry *entries; /* owned */
    size_t count;
};

/** Lists a folder; index files without a segment are removed. 0 or a failure. */
int files_list_read(const char *folder, struct files_list *list);

/** Releases the list. */
void files_list_fini(struct files_list *list);

/** What a file has, should have, and needs. */
struct files_reservation {
    int64_t have;
    int64_t wanted;
    int64_t least;
};

/**
 * Reserves disk blocks for bytes [0, wanted) of a file whose first `have` bytes have them. When the
 * disk is too full for that, less, down to `least`. *reserved is what the file has now. Returns 0,
 * also when nothing could be added (*reserved is `have`); *full tells whether the disk was too
 * full for `wanted`. A failure is any other error. Blocks: for the disk.
 */
int files_reserve(int fd, const struct files_reservation *want, int64_t *reserved, bool *full);

/** Gives the blocks of [from, to) back; the bytes read as zeros, the size stays. */
int files_punch(int fd, int64_t from, int64_t to);

/** Removes a file; an absent one is no failure. */
int files_remove(const char *folder, const char *name);

/** Removes a segment file and its indexes. */
int files_remove_segment(const char *folder, int64_t base_offset);

/** Removes a folder and the files in it (no subfolders), or a file or link of that name. An absent
 * one is no failure. */
int files_remove_folder(const char *path);

/** Calls `visit` for each name in a folder until one call does not return 0, and returns that. */
int files_each_name(const char *folder,
    int (*visit)(void *context, int folder_fd, const char *name), void *context);

/* ---- cut.c: what recovery takes out of a log ------------------------------------------------ */

/** A path for what is cut from a segment, which no file has yet. Owned by the caller. */
int cut_path(const char *folder, int64_t base_offset, char **path);

/** Sets a segment aside under such a name and removes its indexes: nobody reads it any more. One in
 * which nothing was ever written is removed. */
int cut_segment(const char *folder, int64_t base_offset);

/** Removes what was set aside long ago, and the oldest of what takes up too much space: see
 * shmbus-format(7). `now_ms`: wall clock. */
int cut_prune(const char *folder, int64_t now_ms);

#endif
