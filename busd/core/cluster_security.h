/* SPDX-License-Identifier: Apache-2.0
 * Rules and users as part of the cluster's state: the commands about them. Inside core/ only.
 */
#ifndef CORE_CLUSTER_SECURITY_H
#define CORE_CLUSTER_SECURITY_H

#include "core/cluster.h"

/** Checks a new rule and makes it. Outcomes as cluster_prepare(); DUPLICATE_RESOURCE: it is there.
 */
int security_prepare_acl(
    struct cluster *cluster, const struct command *command, struct changes *changes);

/** Finds the rule that goes. 0 or RESOURCE_NOT_FOUND. */
int security_find_acl(
    struct cluster *cluster, const struct command *command, struct changes *changes);

/** Checks a credential and makes the row. Outcomes as cluster_prepare(). */
int security_prepare_user(
    struct cluster *cluster, const struct command *command, struct changes *changes);

/** Finds the credential that goes. 0 or RESOURCE_NOT_FOUND. */
int security_find_user(
    struct cluster *cluster, const struct command *command, struct changes *changes);

/** Puts what was prepared into the state. Cannot fail. */
void security_commit(struct cluster *cluster, struct changes *changes);

/** Drops what the changes own of rules and users. */
void security_changes_fini(struct changes *changes);

#endif
