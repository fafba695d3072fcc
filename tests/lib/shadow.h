/* SPDX-License-Identifier: Apache-2.0
 * The shadow: what a power loss would leave for certain. Part of faultshim.so; see faultshim.c.
 *
 *     SHADOW/files/<inode>-<birth>   the bytes of a file as of its last flush
 *     SHADOW/dirs/<inode>-<birth>    a folder as of its last fsync: "<key> <kind> <name>" a line
 *
 * Names are of inodes, not of paths: a file keeps what was flushed when it is renamed, and what
 * the name of a file is, only the fsync of its folder decides. The birth time tells a new file from
 * an old one whose inode number it got.
 *
 * Bytes are copied before the flush is called, since that is what the flush promises: bytes that
 * somebody writes meanwhile are not in the promise.
 */
#ifndef LIB_SHADOW_H
#define LIB_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/** Keeps the shadow in `folder`, which exists or is made; ends the process when it cannot. */
void shadow_open(const char *folder);

/** `fd`, a file or a folder, is about to be flushed. Thread: any. Blocks: on the disk. */
void shadow_flush(int fd);

/** `n` bytes from `at` on reached the disk, or are about to. Thread: any. Blocks: on the disk. */
void shadow_flush_range(int fd, off_t at, off_t n);

/** The pages of a mapping are about to be flushed. Thread: any. Blocks: on the disk. */
void shadow_flush_memory(const void *at, size_t n);

#endif
