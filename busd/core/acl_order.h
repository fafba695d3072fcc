/* SPDX-License-Identifier: Apache-2.0
 * Where the rules about a resource lie in the set. Inside core/ only.
 */
#ifndef CORE_ACL_ORDER_H
#define CORE_ACL_ORDER_H

#include "core/acl.h"

/** All rules about one pattern. */
struct acl_place {
    enum acl_resource resource;
    enum acl_pattern pattern;
    const char *name;
    size_t name_bytes;
};

/** The index of the first rule there; with `behind`, of the first one behind the last. */
size_t acl_set_place(const struct acl_set *set, const struct acl_place *place, bool behind);

#endif
