/* SPDX-License-Identifier: Apache-2.0 */
#include "api/coordinator.h"
#include "api/joining.h"
#include "api/subscription.h"
#include "base/err.h"
#include "base/trace.h"

#include <stdlib.h>
#include <string.h>

struct coordinator {
    struct api *api;
    struct groups groups;
    bool is_loading; /* some stored groups could not be read yet */
};

static int64_t
now_ms(const struct coordinator *c)
{
    return c->api->wiring.ops->mono_ms(c->api->wiring.context);
}

/* ---- saving --------------------------------------------------------------------------------- */

/** A save that is under way. */
struct saving {
    struct coordinator *coordinator;
    uint64_t number;
    char group[];
};

static void
saved(void *context, int rc)
{
    struct saving *s = context;
    if (rc != 0)
        trace(TRACE_WARNING, "group %s is not stored: %s", s->group, err_text());
    groups_saved(
        &s->coordinator->groups, now_ms(s->coordinator), s->group, s->number, rc > 0 ? -rc : rc);
    free(s);
}

static void
fill_member(struct group_metadata_value_member *out, const struct group_member *m)
{
    *out = (struct group_metadata_value_member){
        .member_id = m->id,
        .group_instance_id = m->instance_id,
        .client_id = m->client_id,
        .client_host = m->client_host,
        .rebalance_timeout = m->rebalance_timeout_ms,
        .session_timeout = m->session_timeout_ms,
        .subscription = group_member_metadata(m),
        .assignment = m->assignment,
    };
}

static int
store(struct coordinator *c, const struct group *group, struct saving *saving)
{
    struct group_metadata_value value = {
        .protocol_type = group->protocol_type ? group->protocol_type : "",
        .generation = group->generation,
        .protocol = group->protocol,
        .leader = group->leader ? group->leader->id : NULL,
        .current_state_timestamp = -1,
    };
    const struct offsets_waiter waiter = {saved, saving};
    value.members = calloc((size_t)group->member_count + 1, sizeof *value.members);
    if (!value.members)
        return err_no_memory();
    for (const struct group_member *m = group->first; m; m = m->next)
        fill_member(&value.members[value.members_count++], m);
    int rc = offsets_store_group(c->api->offsets, group->id, &value, &waiter, NULL);
    free(value.members);
    return rc;
}

static int
save(void *context, const struct group *group, uint64_t number)
{
    struct coordinator *c = context;
    size_t bytes = strlen(group->id) + 1;
    struct saving *saving = malloc(sizeof *saving + bytes);
    if (!saving)
        return err_no_memory();
    saving->coordinator = c;
    saving->number = number;
    memcpy(saving->group, group->id, bytes);
    int rc = store(c, group, saving);
    if (rc == 0)
        return 0;
    trace(TRACE_WARNING, "group %s is not stored: %s", group->id, err_text());
    free(saving);
    return rc > 0 ? -rc : rc;
}

/* ---- loading -------------------------------------------------------------------------------- */

static int
restore(struct coordinator *c, const char *id, const struct group_metadata_value *value)
{
    struct group_image image = {
        .id = id,
        .protocol_type = value->protocol_type,
        .protocol = value->protocol,
        .leader = value->leader,
        .generation = value->generation,
        .member_count = value->members_count,
    };
    struct group_image_member *members = calloc((size_t)value->members_count + 1, sizeof *members);
    if (!members)
        return err_no_memory();
    for (int32_t i = 0; i < value->members_count; i++) {
        const struct group_metadata_value_member *m = &value->members[i];
        members[i] = (struct group_image_member){m->member_id, m->group_instance_id, m->client_id,
            m->client_host, m->session_timeout, m->rebalance_timeout, m->subscription,
            m->assignment};
    }
    image.members = members;
    int rc = groups_restore(&c->groups, now_ms(c), &image);
    free(members);
    return rc;
}

static int
restore_one(void *context, const char *id, const struct group_metadata_value *value)
{
    struct coordinator *c = context;
    if (offsets_ready(c->api->offsets, id) != 0) {
        c->is_loading = true;
        return 0;
    }
    if (!value || groups_find(&c->groups, id))
        return 0;
    int rc = restore(c, id, value);
    if (rc == -BUS_ERR_CORRUPT_MESSAGE) {
        trace(TRACE_ERROR, "%s; its members have to join again", err_text());
        return 0;
    }
    return rc;
}

static int
restore_all(struct coordinator *c)
{
    c->is_loading = false;
    int rc = offsets_each_group(c->api->offsets, restore_one, c);
    if (rc < 0)
        c->is_loading = true;
    return rc;
}

bool
coordinator_is_loading(struct coordinator *c)
{
    if (c->is_loading && restore_all(c) < 0)
        trace(TRACE_ERROR, "loading groups: %s", err_text());
    return c->is_loading;
}

enum bus_err
coordinator_ready(struct coordinator *c, const char *group)
{
    int rc = offsets_ready(c->api->offsets, group);
    if (rc == 0 && c->is_loading && !groups_find(&c->groups, group))
        rc = offsets_group(c->api->offsets, group, restore_one, c);
    return rc == 0 ? BUS_ERR_NONE : coordinator_error(rc);
}

/* ---- the coordinator ------------------------------------------------------------------------ */

static struct group_rules
rules_in_force(const struct coordinator *c)
{
    const struct settings *s = &c->api->wiring.controller->cluster.settings;
    return (struct group_rules){
        .initial_delay_ms = settings_int(s, BROKER_GROUP_INITIAL_REBALANCE_DELAY_MS),
        .session_min_ms = settings_int(s, BROKER_GROUP_MIN_SESSION_TIMEOUT_MS),
        .session_max_ms = settings_int(s, BROKER_GROUP_MAX_SESSION_TIMEOUT_MS),
        .size_max = settings_int(s, BROKER_GROUP_MAX_SIZE),
        .groups_max = settings_int(s, BROKER_GROUPS_MAX),
        .bytes_max = settings_int(s, BROKER_GROUPS_MAX_BYTES),
    };
}

int
coordinator_new(struct api *api, struct coordinator **made)
{
    struct coordinator *c = calloc(1, sizeof *c);
    if (!c)
        return err_no_memory();
    c->api = api;
    const struct group_ops ops = {joining_answered, syncing_answered, save, c};
    const struct group_rules rules = rules_in_force(c);
    groups_init(&c->groups, &ops, &rules);
    int rc = restore_all(c);
    if (rc < 0) {
        coordinator_free(&c);
        return err_prefix(rc, "loading groups");
    }
    *made = c;
    return 0;
}

void
coordinator_free(struct coordinator **c)
{
    if (!*c)
        return;
    groups_fini(&(*c)->groups);
    free(*c);
    *c = NULL;
}

struct groups *
coordinator_groups(struct coordinator *c)
{
    return &c->groups;
}

void
coordinator_configure(struct coordinator *c)
{
    const struct group_rules rules = rules_in_force(c);
    groups_configure(&c->groups, &rules);
}

int64_t
coordinator_deadline_ms(const struct coordinator *c)
{
    int64_t ms = groups_deadline_ms(&c->groups);
    return ms == INT64_MAX ? -1 : ms;
}

void
coordinator_tick(struct coordinator *c)
{
    groups_tick(&c->groups, now_ms(c));
}

/* ---- what the offsets ask ------------------------------------------------------------------- */

static int
note_members(void *context, const char *id, const struct group_metadata_value *metadata)
{
    bool *has_members = context;
    (void)id;
    *has_members = metadata && metadata->members_count > 0;
    return 0;
}

/** A group that is stored but was not taken over: what its members read is not looked at. */
static enum offsets_usage
stored_usage(const struct coordinator *c, const char *id)
{
    bool has_members = false;
    offsets_group(c->api->offsets, id, note_members, &has_members);
    return has_members ? OFFSETS_SUBSCRIBED : OFFSETS_UNUSED;
}

enum offsets_usage
coordinator_usage(struct coordinator *c, const char *id, const char *topic)
{
    const struct group *group = groups_find(&c->groups, id);
    if (!group)
        return stored_usage(c, id);
    if (group->state == GROUP_EMPTY)
        return OFFSETS_UNUSED;
    if (group->state != GROUP_STABLE || subscription_has(group, topic))
        return OFFSETS_SUBSCRIBED;
    return OFFSETS_UNSUBSCRIBED;
}

void
coordinator_forgotten(struct coordinator *c, const char *group)
{
    groups_forget(&c->groups, group);
}
