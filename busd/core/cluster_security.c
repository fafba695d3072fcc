/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cluster_security.h"

#include "base/check.h"

#include <inttypes.h>
#include <string.h>

static int
check_room(const struct cluster *cluster, enum broker_setting setting, const char *what, size_t has)
{
    int64_t most = settings_int(&cluster->settings, setting);
    if ((int64_t)has < most)
        return 0;
    return err_set(BUS_ERR_POLICY_VIOLATION, "there are %zu %s already, as many as %s allows", has,
        what, setting_table_broker.rows[setting].name);
}

int
security_prepare_acl(
    struct cluster *cluster, const struct command *command, struct changes *changes)
{
    static const struct uuid none;
    const struct acl_rule *rule = command->acl;
    MUST(rule);
    int rc = acl_check(rule);
    if (rc == 0)
        rc = check_room(cluster, BROKER_ACLS_MAX, "rules", cluster->acls.count);
    if (rc < 0)
        return rc;
    if (acl_set_twin(&cluster->acls, rule))
        return err_set(BUS_ERR_DUPLICATE_RESOURCE, "this rule is there already");
    if (memcmp(&command->id, &none, sizeof none) == 0 ||
        acl_set_of_id(&cluster->acls, &command->id))
        return err_set(BUS_ERR_INVALID_REQUEST, "the new rule's id is zero or taken");
    rc = acl_set_reserve(&cluster->acls);
    if (rc < 0)
        return rc;
    changes->acl = acl_new(&command->id, rule);
    return changes->acl ? 0 : err_no_memory();
}

int
security_find_acl(struct cluster *cluster, const struct command *command, struct changes *changes)
{
    changes->acl = acl_set_of_id(&cluster->acls, &command->id);
    return changes->acl ? 0 : err_set(BUS_ERR_RESOURCE_NOT_FOUND, "no rule has this id");
}

int
security_prepare_user(
    struct cluster *cluster, const struct command *command, struct changes *changes)
{
    const struct scram_credential *credential = command->credential;
    MUST(credential);
    int rc = user_check_name(command->name);
    if (rc == 0)
        rc = scram_check(credential);
    if (rc == 0 && !user_set_find(&cluster->users, command->name, credential->mechanism))
        rc = check_room(cluster, BROKER_USERS_MAX, "credentials of users", cluster->users.count);
    if (rc == 0)
        rc = user_set_reserve(&cluster->users);
    if (rc < 0)
        return rc;
    changes->user = user_row_new(command->name, credential);
    return changes->user ? 0 : err_no_memory();
}

int
security_find_user(struct cluster *cluster, const struct command *command, struct changes *changes)
{
    enum scram_mechanism mechanism = (enum scram_mechanism)command->count;
    changes->user = command->name ? user_set_find(&cluster->users, command->name, mechanism) : NULL;
    if (changes->user)
        return 0;
    return err_set(BUS_ERR_RESOURCE_NOT_FOUND, "User:%.80s has no credential for %s",
        command->name ? command->name : "(null)",
        mechanism == SCRAM_SHA_256 || mechanism == SCRAM_SHA_512 ? scram_name(mechanism)
                                                                 : "this mechanism");
}

void
security_commit(struct cluster *cluster, struct changes *changes)
{
    switch (changes->type) {
    case COMMAND_ACL_ADD:
        acl_set_add(&cluster->acls, changes->acl);
        break;
    case COMMAND_ACL_REMOVE:
        acl_set_remove(&cluster->acls, changes->acl);
        break;
    case COMMAND_USER_SET:
        changes->replaced = user_set_put(&cluster->users, changes->user);
        break;
    default:
        user_set_take(&cluster->users, changes->user->name, changes->user->credential.mechanism);
        break;
    }
}

void
security_changes_fini(struct changes *changes)
{
    bool adds = changes->type == COMMAND_ACL_ADD || changes->type == COMMAND_USER_SET;
    user_row_free(&changes->replaced);
    /* What was added belongs to the state now, what was removed no more. */
    if (adds != changes->committed) {
        acl_free(&changes->acl);
        user_row_free(&changes->user);
    }
    changes->acl = NULL;
    changes->user = NULL;
}
