/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include "base/clock.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRY_BYTES_MAX = 65536 };

/** Asks the system; a name of digits is an id. */
static bool
ask(const char *name, bool is_group, uint32_t *id)
{
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (*end == '\0' && name[0] >= '0' && name[0] <= '9' && number < UINT32_MAX) {
        *id = (uint32_t)number;
        return true;
    }
    char *space = malloc(ENTRY_BYTES_MAX);
    if (!space)
        return false;
    struct passwd user, *found_user = NULL;
    struct group group, *found_group = NULL;
    if (is_group && getgrnam_r(name, &group, space, ENTRY_BYTES_MAX, &found_group) == 0 &&
        found_group)
        *id = group.gr_gid;
    if (!is_group && getpwnam_r(name, &user, space, ENTRY_BYTES_MAX, &found_user) == 0 &&
        found_user)
        *id = user.pw_uid;
    free(space);
    return found_user || found_group;
}

static bool
look_up(struct names *names, const char *name, bool is_group, uint32_t *id)
{
    size_t n = strlen(name), oldest = 0;
    if (n >= sizeof names->kept[0].name)
        return false;
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < NAMES_KEPT; i++) {
        if (names->kept[i].until_ms > now && names->kept[i].is_group == is_group &&
            strcmp(names->kept[i].name, name) == 0) {
            *id = names->kept[i].id;
            return names->kept[i].found;
        }
        if (names->kept[i].until_ms < names->kept[oldest].until_ms)
            oldest = i;
    }
    memcpy(names->kept[oldest].name, name, n + 1);
    names->kept[oldest].is_group = is_group;
    names->kept[oldest].found = ask(name, is_group, id);
    names->kept[oldest].id = *id;
    names->kept[oldest].until_ms = now + NAMES_KEPT_MS;
    return names->kept[oldest].found;
}

static bool
uid_of(void *context, const char *name, uint32_t *uid)
{
    *uid = UINT32_MAX;
    return look_up(context, name, false, uid);
}

static bool
gid_of(void *context, const char *name, uint32_t *gid)
{
    *gid = UINT32_MAX;
    return look_up(context, name, true, gid);
}

/** Once for a connection at most, so nothing is kept. */
static bool
name_of(void *context, uint32_t uid, char *name, size_t bytes)
{
    struct passwd user, *found = NULL;
    char *space = malloc(ENTRY_BYTES_MAX);
    (void)context;
    if (!space)
        return false;
    bool is_there = getpwuid_r(uid, &user, space, ENTRY_BYTES_MAX, &found) == 0 && found &&
                    strlen(user.pw_name) < bytes;
    if (is_there)
        memcpy(name, user.pw_name, strlen(user.pw_name) + 1);
    free(space);
    return is_there;
}

void
names_init(struct names *names)
{
    *names = (struct names){
        .table = {.uid_of = uid_of, .gid_of = gid_of, .name_of = name_of, .context = names}};
}

void
names_forget(struct names *names)
{
    for (size_t i = 0; i < NAMES_KEPT; i++)
        names->kept[i].until_ms = 0;
}
