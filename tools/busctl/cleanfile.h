/* SPDX-License-Identifier: Apache-2.0
 * What compaction has noted in the folder of a partition: cleaner-checkpoint.
 */
#ifndef BUSCTL_CLEANFILE_H
#define BUSCTL_CLEANFILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct cleanfile {
    int64_t rewritten; /* below, offsets may be missing; 0: nothing was compacted */
    int64_t swap_base; /* an exchange that a crash has cut off: of the new segment; -1: none */
    int64_t swap_end;  /* where the last segment that it replaces ends */
    int64_t swap_bytes;
};

enum { CLEANFILE_TEXT_MAX = 256 };

/** Reads the text of the file. Returns 0 or -BUS_ERR_INVALID_FORMAT. */
int cleanfile_parse(const char *text, struct cleanfile *file);

/** The name of the file in the folder of a segment; false when it is too long. */
bool cleanfile_path(const char *segment, char path[PATH_MAX]);

/**
 * Reads the file beside a segment; none means that nothing was compacted. Of a damaged one, or one
 * that cannot be read, offsets may be missing everywhere, as busd takes it, and it returns
 * -BUS_ERR_INVALID_FORMAT or -BUS_ERR_SYSTEM. Else 0.
 */
int cleanfile_read(const char *segment, struct cleanfile *file);

#endif
