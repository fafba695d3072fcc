/* SPDX-License-Identifier: Apache-2.0
 * What the commands about consumer groups share.
 */
#ifndef BUSCTL_GROUP_H
#define BUSCTL_GROUP_H

#include "busctl/places.h"

/** A partition of a group: committed for, or in the hands of a member, or both. */
struct group_row {
    const char *topic; /* borrowed from the view */
    int32_t partition;
    int32_t member;                             /* its number; -1 nobody has it */
    int64_t committed, log_start, log_end, lag; /* -1: none, or not known */
};

/** All that busctl shows of one group. */
struct group_view {
    struct bus_groups *groups;   /* owned; one group */
    struct bus_commits *commits; /* owned */
    struct group_row *rows;      /* owned; by topic and partition */
    size_t count;
    int64_t lag; /* of all rows where it is known */
};

/** Fetches a group. Exit code after telling; group_view_fini() in any case. */
int group_view_init(struct ctl *ctl, struct bus *bus, const char *group, struct group_view *view);

/** Releases it. */
void group_view_fini(struct group_view *view);

/** The row of a partition; NULL when the group has nothing to do with it. */
const struct group_row *group_view_find(
    const struct group_view *view, const char *topic, int32_t partition);

/**
 * Tells that the group has members and names some of them; `then` is what can be done when they
 * are stopped. Returns CTL_FAILED.
 */
int group_fail_live(struct ctl *ctl, const struct bus_groups *groups, const char *then);

/**
 * Tells why something could not be done with a group, as ctl_fail_bus(); when members are in the
 * way it names them.
 */
int group_fail(struct ctl *ctl, struct bus *bus, int rc, const char *group, const char *then);

#endif
