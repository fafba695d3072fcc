/* SPDX-License-Identifier: Apache-2.0 */
#include "core/quota.h"

#include "base/check.h"

#include <inttypes.h>

static const char *const kind_names[QUOTA_KINDS] = {
    [QUOTA_BYTES] = "bytes in flight",
    [QUOTA_FDS] = "file descriptors under way",
    [QUOTA_PARKED] = "waiting requests",
    [QUOTA_ATTACHED] = "attached partitions",
    [QUOTA_CONNECTIONS] = "connections",
};

void
quota_init(struct quota *quota, const char *who, struct quota *parent)
{
    *quota = (struct quota){.who = who, .parent = parent};
    for (int i = 0; i < QUOTA_KINDS; i++)
        quota->limit[i] = INT64_MAX;
}

void
quota_limit(struct quota *quota, enum quota_kind kind, int64_t limit)
{
    quota->limit[kind] = limit;
}

/* `used` may be above a limit that was lowered: no sum here that could overflow. */
static bool
exceeds(const struct quota *quota, enum quota_kind kind, int64_t amount)
{
    return quota->used[kind] > quota->limit[kind] ||
           amount > quota->limit[kind] - quota->used[kind];
}

bool
quota_has(const struct quota *quota, enum quota_kind kind, int64_t amount)
{
    MUST(amount >= 0);
    for (const struct quota *at = quota; at; at = at->parent)
        if (exceeds(at, kind, amount))
            return false;
    return true;
}

int
quota_charge(struct quota *quota, enum quota_kind kind, int64_t amount)
{
    MUST(amount >= 0);
    for (const struct quota *at = quota; at; at = at->parent)
        if (exceeds(at, kind, amount))
            return err_set(BUS_ERR_LIMIT_REACHED,
                "%s has %" PRId64 " of %" PRId64 " %s and wants %" PRId64 " more", at->who,
                at->used[kind], at->limit[kind], kind_names[kind], amount);
    for (struct quota *at = quota; at; at = at->parent)
        at->used[kind] += amount;
    return 0;
}

void
quota_release(struct quota *quota, enum quota_kind kind, int64_t amount)
{
    MUST(amount >= 0);
    for (struct quota *at = quota; at; at = at->parent) {
        MUST(at->used[kind] >= amount);
        at->used[kind] -= amount;
    }
}

void
quota_release_all(struct quota *quota)
{
    for (int i = 0; i < QUOTA_KINDS; i++)
        quota_release(quota, (enum quota_kind)i, quota->used[i]);
}
