/* SPDX-License-Identifier: Apache-2.0 */
#include "client/membership.h"

#include "base/clock.h"
#include "base/err.h"
#include "client/bus.h"
#include "shm/wait.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    RETRY_MS = 100,
    LEAVE_MS = 2000,            /* for the answer to LeaveGroup */
    ANSWER_MS = 10000,          /* for any answer, beyond what busd may hold it back */
    SHARE_BYTES_MAX = 64 << 20, /* of one member's share */
};

/* The application shall look: in a bus_poll() that sleeps, or through the fd. */
static void
call_application(struct membership *membership)
{
    wait_word_wake(&membership->consumer->group_word);
}

static void
on_answer(void *context, int rc, struct conn_reply *reply)
{
    struct membership *membership = context;
    (void)rc; /* without a reply: broken */
    pthread_mutex_lock(&membership->lock);
    membership->answered = true;
    membership->answer = reply;
    pthread_cond_signal(&membership->changed);
    pthread_mutex_unlock(&membership->lock);
}

static void
wait_until_ns(struct membership *membership, int64_t until_ns)
{
    struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    pthread_cond_timedwait(&membership->changed, &membership->lock, &until);
}

struct conn_reply *
membership_ask(struct membership *membership, int16_t api_key, const void *request,
    int64_t patience_ms, bool *was_sent)
{
    uint64_t call;
    int64_t until_ns = clock_mono_ns() + patience_ms * 1000000;
    *was_sent = false;
    if (!membership->conn && conn_open(&membership->settings, &membership->conn) < 0)
        return NULL;
    membership->answered = false;
    membership->answer = NULL;
    if (conn_start(membership->conn, api_key, request, on_answer, membership, &call) < 0)
        return NULL;
    *was_sent = true;
    pthread_mutex_lock(&membership->lock);
    while (!membership->answered && !membership->stopping && clock_mono_ns() < until_ns)
        wait_until_ns(membership, until_ns);
    pthread_mutex_unlock(&membership->lock);
    /* After this nobody writes to the answer any more. */
    conn_cancel(membership->conn, call);
    if (!membership->answered)
        conn_close(&membership->conn); /* busd may still hold the request */
    struct conn_reply *reply = membership->answer;
    membership->answer = NULL;
    return reply;
}

/* For an answer that busd gives at once: no longer than until everything is lost anyway. */
static int64_t
short_patience_ms(struct membership *membership)
{
    int64_t left_ms = atomic_load_explicit(&membership->lease_ms, memory_order_relaxed);
    left_ms -= clock_mono_ms();
    if (left_ms > ANSWER_MS)
        return ANSWER_MS;
    return left_ms > RETRY_MS ? left_ms : RETRY_MS;
}

static const char *
instance_of(const struct membership *membership)
{
    const char *id = membership->settings.group_instance_id;
    return *id ? id : NULL;
}

/* What this member tells the others, one form for each strategy. */
static int
put_protocols(struct membership *membership, struct buf bufs[ASSIGN_STRATEGIES],
    struct join_group_request_protocol *protocols)
{
    static const struct assign_list none = {0};
    int rc = 0;
    for (int i = 0; rc == 0 && i < membership->strategy_count; i++) {
        enum assign_strategy strategy = membership->strategies[i];
        bool tells = strategy == ASSIGN_STICKY || membership->member.rules.is_cooperative;
        rc = assign_put_subscription(strategy, (const char *const *)membership->topics,
            membership->topic_count, tells ? &membership->share : &none,
            tells ? membership->share_generation : -1, &bufs[i]);
        protocols[i] = (struct join_group_request_protocol){
            .name = assign_name(strategy), .metadata = {bufs[i].data, (int32_t)bufs[i].length}};
    }
    return rc;
}

static int16_t
note_joined(struct membership *membership, const struct join_group_response *answer)
{
    int found = answer->protocol_name
                    ? assign_find(answer->protocol_name, strlen(answer->protocol_name))
                    : -1;
    if (answer->error_code != 0)
        return answer->error_code;
    if (found < 0)
        return BUS_ERR_INCONSISTENT_GROUP_PROTOCOL;
    membership->in_use = (enum assign_strategy)found;
    membership->skips_assignment = answer->skip_assignment;
    arena_fini(&membership->plan_arena);
    membership->plan = NULL;
    membership->plan_count = 0;
    membership->wanted = NULL;
    membership->wanted_count = 0;
    return 0;
}

static void
send_join(struct membership *membership)
{
    const struct settings *settings = &membership->settings;
    struct buf bufs[ASSIGN_STRATEGIES];
    struct join_group_request_protocol protocols[ASSIGN_STRATEGIES];
    char id[MEMBER_ID_BYTES_MAX];
    for (int i = 0; i < ASSIGN_STRATEGIES; i++)
        buf_init(&bufs[i]);
    pthread_mutex_lock(&membership->lock);
    int rc = put_protocols(membership, bufs, protocols);
    memcpy(id, membership->member.id, sizeof id);
    pthread_mutex_unlock(&membership->lock);
    struct join_group_request request = {.group_id = settings->group_id,
        .session_timeout_ms = (int32_t)settings->session_timeout_ms,
        .rebalance_timeout_ms = (int32_t)settings->max_poll_interval_ms,
        .member_id = id,
        .group_instance_id = instance_of(membership),
        .protocol_type = "consumer",
        .protocols = protocols,
        .protocols_count = membership->strategy_count};
    bool was_sent = false;
    struct conn_reply *reply = NULL;
    if (rc == 0)
        reply = membership_ask(membership, API_JOIN_GROUP, &request,
            2 * settings->max_poll_interval_ms + ANSWER_MS, &was_sent);
    for (int i = 0; i < ASSIGN_STRATEGIES; i++)
        buf_fini(&bufs[i]);
    pthread_mutex_lock(&membership->lock);
    if (reply) {
        const struct join_group_response *answer = reply->message;
        int16_t error = note_joined(membership, answer);
        bool leads = error == 0 && strcmp(answer->leader, answer->member_id) == 0;
        member_joined(&membership->member, clock_mono_ms(), error, answer->member_id,
            answer->generation_id, leads);
        conn_reply_free(&membership->joined);
        if (leads)
            membership->joined = reply;
        else
            conn_reply_free(&reply);
    } else {
        member_broken(&membership->member, clock_mono_ms(), was_sent);
    }
    pthread_mutex_unlock(&membership->lock);
}

static void
do_lead(struct membership *membership)
{
    int rc = membership_lead(membership);
    pthread_mutex_lock(&membership->lock);
    member_informed(&membership->member, clock_mono_ms(), rc == 0);
    pthread_mutex_unlock(&membership->lock);
}

static void
do_look(struct membership *membership)
{
    bool changed = membership_look(membership);
    pthread_mutex_lock(&membership->lock);
    member_looked(&membership->member, clock_mono_ms(), changed);
    pthread_mutex_unlock(&membership->lock);
}

/* Lock held. */
static int16_t
note_share(struct membership *membership, const struct sync_group_response *answer)
{
    if (answer->error_code != 0)
        return answer->error_code;
    struct arena arena;
    struct assign_list list;
    arena_init(&arena, SHARE_BYTES_MAX);
    if (assign_get_share(answer->assignment, &arena, &list) < 0) {
        arena_fini(&arena);
        return BUS_ERR_INCONSISTENT_GROUP_PROTOCOL;
    }
    arena_fini(&membership->share_arena);
    membership->share_arena = arena;
    membership->share = list;
    membership->share_generation = membership->member.generation;
    return 0;
}

static void
send_sync(struct membership *membership)
{
    const struct settings *settings = &membership->settings;
    char id[MEMBER_ID_BYTES_MAX];
    int32_t generation;
    membership_identity(membership, id, &generation);
    struct sync_group_request request = {.group_id = settings->group_id,
        .generation_id = generation,
        .member_id = id,
        .group_instance_id = instance_of(membership),
        .protocol_type = "consumer",
        .protocol_name = assign_name(membership->in_use),
        .assignments = membership->plan,
        .assignments_count = membership->plan_count};
    bool was_sent;
    struct conn_reply *reply = membership_ask(membership, API_SYNC_GROUP, &request,
        settings->max_poll_interval_ms + ANSWER_MS, &was_sent);
    pthread_mutex_lock(&membership->lock);
    if (reply)
        member_synced(&membership->member, clock_mono_ms(), note_share(membership, reply->message));
    else
        member_broken(&membership->member, clock_mono_ms(), was_sent);
    pthread_mutex_unlock(&membership->lock);
    conn_reply_free(&reply);
}

static void
send_heartbeat(struct membership *membership)
{
    char id[MEMBER_ID_BYTES_MAX];
    int32_t generation;
    membership_identity(membership, id, &generation);
    struct heartbeat_request request = {.group_id = membership->settings.group_id,
        .generation_id = generation,
        .member_id = id,
        .group_instance_id = instance_of(membership)};
    bool was_sent;
    struct conn_reply *reply = membership_ask(
        membership, API_HEARTBEAT, &request, short_patience_ms(membership), &was_sent);
    pthread_mutex_lock(&membership->lock);
    if (reply) {
        const struct heartbeat_response *answer = reply->message;
        member_beaten(&membership->member, clock_mono_ms(), answer->error_code);
    } else {
        member_broken(&membership->member, clock_mono_ms(), was_sent);
    }
    pthread_mutex_unlock(&membership->lock);
    conn_reply_free(&reply);
}

static void
leave_request(const struct membership *membership, const char *id,
    struct leave_group_request_member *member, struct leave_group_request *request)
{
    *member = (struct leave_group_request_member){
        .member_id = id, .group_instance_id = instance_of(membership)};
    *request = (struct leave_group_request){.group_id = membership->settings.group_id,
        .member_id = id,
        .members = member,
        .members_count = 1};
}

static void
send_leave(struct membership *membership)
{
    struct leave_group_request_member member;
    struct leave_group_request request;
    char id[MEMBER_ID_BYTES_MAX];
    int32_t generation;
    membership_identity(membership, id, &generation);
    leave_request(membership, id, &member, &request);
    bool was_sent;
    struct conn_reply *reply =
        membership_ask(membership, API_LEAVE_GROUP, &request, ANSWER_MS, &was_sent);
    conn_reply_free(&reply);
    pthread_mutex_lock(&membership->lock);
    member_left(&membership->member);
    pthread_mutex_unlock(&membership->lock);
}

static void
perform(struct membership *membership, enum member_ask what)
{
    switch (what) {
    case MEMBER_ASK_JOIN:
        send_join(membership);
        break;
    case MEMBER_ASK_METADATA:
        do_lead(membership);
        break;
    case MEMBER_ASK_SYNC:
        send_sync(membership);
        break;
    case MEMBER_ASK_HEARTBEAT:
        send_heartbeat(membership);
        break;
    case MEMBER_ASK_LOOK:
        do_look(membership);
        break;
    case MEMBER_ASK_LEAVE:
        send_leave(membership);
        break;
    default:
        break;
    }
}

/* INT64_MAX: until somebody has something to tell. Lock held. */
static void
wait_until_ms(struct membership *membership, int64_t until_ms)
{
    if (until_ms == INT64_MAX)
        pthread_cond_wait(&membership->changed, &membership->lock);
    else
        wait_until_ns(membership, until_ms * 1000000);
}

/* What the application has to see in its next poll. Lock held. */
static bool
concerns_application(const struct membership *membership)
{
    const struct member *member = &membership->member;
    return member->duty != MEMBER_DUTY_NONE || member->state == MEMBER_FAILED ||
           member->state == MEMBER_IDLE;
}

/*
 * An application that polls when the fd of the consumer says so has to hear in time that it must,
 * though there is nothing to read: to commit, and to stay in the group. Gives when that is.
 */
static int64_t
nudge(struct membership *membership, int64_t polled_ms)
{
    const struct settings *settings = &membership->settings;
    int64_t wait_ms = settings->max_poll_interval_ms / 2;
    if (settings->enable_auto_commit && settings->auto_commit_interval_ms < wait_ms)
        wait_ms = settings->auto_commit_interval_ms;
    if (polled_ms == membership->nudged_ms)
        return INT64_MAX;
    if (polled_ms == INT64_MAX)
        return clock_mono_ms() + wait_ms;
    if (clock_mono_ms() < polled_ms + wait_ms)
        return polled_ms + wait_ms;
    membership->nudged_ms = polled_ms;
    call_application(membership);
    return INT64_MAX;
}

/* Does what is due, or waits for it. Lock held. */
static void
turn(struct membership *membership)
{
    int64_t until_ms;
    int64_t polled_ms = atomic_load_explicit(&membership->polled_ms, memory_order_relaxed);
    int64_t nudge_ms = nudge(membership, polled_ms);
    membership->member.polled_ms = polled_ms;
    enum member_ask what = member_next(&membership->member, clock_mono_ms(), &until_ms);
    atomic_store_explicit(
        &membership->lease_ms, member_lease_ms(&membership->member), memory_order_relaxed);
    if (what != MEMBER_ASK_NOTHING) {
        pthread_mutex_unlock(&membership->lock);
        perform(membership, what);
        pthread_mutex_lock(&membership->lock);
    } else if (concerns_application(membership) != membership->called) {
        membership->called = !membership->called;
        if (membership->called)
            call_application(membership);
    } else {
        wait_until_ms(membership, nudge_ms < until_ms ? nudge_ms : until_ms);
    }
}

static void *
run(void *arg)
{
    struct membership *membership = arg;
    pthread_mutex_lock(&membership->lock);
    while (!membership->stopping)
        turn(membership);
    pthread_mutex_unlock(&membership->lock);
    return NULL;
}

void
membership_identity(
    struct membership *membership, char id[MEMBER_ID_BYTES_MAX], int32_t *generation)
{
    pthread_mutex_lock(&membership->lock);
    memcpy(id, membership->member.id, MEMBER_ID_BYTES_MAX);
    *generation = membership->member.generation;
    pthread_mutex_unlock(&membership->lock);
}

int16_t
membership_commit_answered(struct membership *membership, int32_t generation, int16_t error)
{
    pthread_mutex_lock(&membership->lock);
    member_committed(&membership->member, clock_mono_ms(), generation, error);
    bool is_lost = membership->member.generation < 0;
    pthread_cond_signal(&membership->changed);
    pthread_mutex_unlock(&membership->lock);
    return error == BUS_ERR_ILLEGAL_GENERATION && !is_lost ? BUS_ERR_REBALANCE_IN_PROGRESS : error;
}

static void
free_topics(char **topics, size_t count)
{
    for (size_t i = 0; topics && i < count; i++)
        free(topics[i]);
    free(topics);
}

int
membership_subscribe(struct membership *membership, const char *const *topics, size_t count)
{
    char **copy = calloc(count + 1, sizeof *copy);
    size_t copied = 0;
    while (copy && copied < count && (copy[copied] = strdup(topics[copied])))
        copied++;
    if (copied < count || !copy) {
        free_topics(copy, copied);
        return err_no_memory();
    }
    pthread_mutex_lock(&membership->lock);
    free_topics(membership->topics, membership->topic_count);
    membership->topics = copy;
    membership->topic_count = count;
    membership->failure = 0;
    member_subscribe(&membership->member, clock_mono_ms());
    pthread_cond_signal(&membership->changed);
    pthread_mutex_unlock(&membership->lock);
    return 0;
}

static void
release(struct membership *membership)
{
    conn_close(&membership->conn);
    conn_reply_free(&membership->joined);
    conn_reply_free(&membership->answer);
    arena_fini(&membership->plan_arena);
    arena_fini(&membership->share_arena);
    free_topics(membership->topics, membership->topic_count);
    pthread_cond_destroy(&membership->changed);
    pthread_mutex_destroy(&membership->lock);
    free(membership);
}

/* The consumer's own settings; socket and patience are the bus's. */
static int
init(struct membership *fresh, struct bus_consumer *consumer)
{
    pthread_condattr_t monotonic;
    fresh->consumer = consumer;
    fresh->settings = consumer->settings;
    const struct settings *bus = &consumer->bus->settings;
    memcpy(fresh->settings.socket_path, bus->socket_path, sizeof bus->socket_path);
    memcpy(fresh->settings.client_id, bus->client_id, sizeof bus->client_id);
    fresh->settings.request_timeout_ms = bus->request_timeout_ms;
    fresh->settings.connection_setup_timeout_ms = bus->connection_setup_timeout_ms;
    fresh->settings.reconnect_backoff_ms = bus->reconnect_backoff_ms;
    fresh->settings.reconnect_backoff_max_ms = bus->reconnect_backoff_max_ms;
    fresh->share_generation = -1;
    fresh->commit_ms = clock_mono_ms() + fresh->settings.auto_commit_interval_ms;
    fresh->retry_ms = INT64_MAX;
    fresh->taken_generation = -1;
    atomic_init(&fresh->polled_ms, clock_mono_ms());
    atomic_init(&fresh->lease_ms, INT64_MAX);
    arena_init(&fresh->plan_arena, SHARE_BYTES_MAX);
    arena_init(&fresh->share_arena, SHARE_BYTES_MAX);
    pthread_mutex_init(&fresh->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&fresh->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    fresh->strategy_count =
        assign_parse(fresh->settings.partition_assignment_strategy, fresh->strategies);
    if (fresh->strategy_count < 0)
        return fresh->strategy_count;
    struct member_rules rules = {.session_ms = fresh->settings.session_timeout_ms,
        .heartbeat_ms = fresh->settings.heartbeat_interval_ms,
        .poll_ms = fresh->settings.max_poll_interval_ms,
        .retry_ms = RETRY_MS,
        .look_ms = fresh->settings.metadata_max_age_ms < bus->metadata_max_age_ms
                       ? fresh->settings.metadata_max_age_ms
                       : bus->metadata_max_age_ms,
        .is_static = instance_of(fresh) != NULL,
        .is_cooperative = fresh->strategy_count == 1 && fresh->strategies[0] == ASSIGN_COOPERATIVE};
    member_init(&fresh->member, &rules);
    return conn_open(&fresh->settings, &fresh->conn);
}

int
membership_start(struct bus_consumer *consumer, const char *const *topics, size_t count)
{
    struct membership *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_no_memory();
    int rc = init(fresh, consumer);
    if (rc == 0)
        rc = membership_subscribe(fresh, topics, count);
    if (rc == 0) {
        sigset_t all, old;
        sigfillset(&all);
        sigdelset(&all, SIGBUS); /* shm/guard.h */
        pthread_sigmask(SIG_SETMASK, &all, &old);
        int errnum = pthread_create(&fresh->thread, NULL, run, fresh);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        rc = errnum == 0 ? 0 : err_sys(errnum, "start the thread of the group member");
    }
    if (rc < 0) {
        release(fresh);
        return rc;
    }
    consumer->membership = fresh;
    return 0;
}

static void
tell_leaving(struct membership *membership)
{
    struct leave_group_request_member member;
    struct leave_group_request request;
    struct conn_reply *reply;
    leave_request(membership, membership->member.id, &member, &request);
    if (conn_call(membership->consumer->bus->conn, API_LEAVE_GROUP, &request, 0,
            clock_mono_ns() + LEAVE_MS * INT64_C(1000000), &reply) == 0)
        conn_reply_free(&reply);
}

void
membership_stop(struct membership **membership)
{
    struct membership *old = *membership;
    *membership = NULL;
    if (!old)
        return;
    pthread_mutex_lock(&old->lock);
    old->stopping = true;
    pthread_cond_signal(&old->changed);
    pthread_mutex_unlock(&old->lock);
    pthread_join(old->thread, NULL);
    if (member_leave(&old->member))
        tell_leaving(old);
    release(old);
}
