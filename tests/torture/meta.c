/* SPDX-License-Identifier: Apache-2.0 */
#include "meta/meta.h"
#include "base/err.h"
#include "torture/scenarios.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
find(void *context, const struct meta_row *row)
{
    bool *found = context;
    *found = *found || (row->value_bytes == 5 && memcmp(row->value, "value", 5) == 0);
    return 0;
}

static int
has_row(struct meta *meta)
{
    bool found = false;
    int rc = meta_rows(meta, find, &found);
    return rc < 0 ? rc : found ? 0 : 1;
}

static int
commit(struct meta *meta)
{
    struct meta_row row = {"key", "value", 3, 5};
    struct meta_change change = {"command", 7, &row, 1, NULL};
    int64_t index;
    return meta_commit(meta, &change, &index);
}

static const char *
path_of(const char *folder, const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/** Once more with the environment, then from the backup if there is one. */
static int
reopen(const struct meta_options *options, bool must_have)
{
    struct meta *meta;
    int rc = meta_open(options, &meta);
    if (rc == 0)
        rc = has_row(meta);
    meta_close(&meta);
    if (rc != 0 || access(path_of(options->folder, "backup"), F_OK) < 0)
        return rc > 0 && !must_have ? 0 : rc;
    unlink(path_of(options->folder, "data.mdb"));
    rc = meta_open(options, &meta);
    if (rc == 0)
        rc = has_row(meta);
    meta_close(&meta);
    return rc;
}

/** A new environment, a commit, a restart, a restore: what was committed is there, or it is told
 * that it cannot be read. */
int
scenario_meta(void *unused)
{
    (void)unused;
    static const char *const names[] = {"data.mdb", "lock.mdb", "backup", "backup.new"};
    char folder[] = "/dev/shm/shmbus-torture-XXXXXX";
    torture_pause();
    bool made = mkdtemp(folder) != NULL;
    torture_resume();
    if (!made)
        return 99;
    struct meta_options options = {folder, 1 << 20, 1};
    struct meta *meta;
    int rc = meta_open(&options, &meta);
    if (rc == 0)
        rc = commit(meta);
    bool committed = rc == 0;
    meta_close(&meta);
    if (rc == 0)
        rc = reopen(&options, committed);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(path_of(folder, names[i]));
    rmdir(folder);
    return rc;
}
