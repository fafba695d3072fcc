/* SPDX-License-Identifier: Apache-2.0
 * A member of a consumer group: a state machine without connection, clock or thread.
 *
 * Events bring the time. Effects are what member_next() says shall be sent, and `duty`, what the
 * application's thread has to do before it goes on. One request is under way at a time.
 *
 *     OUT -- subscribe --> JOIN -> (METADATA, by the leader) -> SYNC -> STABLE
 *                           ^                                            |
 *                           +--- (eager: duty REVOKE first) <-- rebalance
 */
#ifndef CLIENT_MEMBER_H
#define CLIENT_MEMBER_H

#include <stdbool.h>
#include <stdint.h>

enum { MEMBER_ID_BYTES_MAX = 512 }; /* with the NUL: client.id or instance id, and a UUID */

enum member_state {
    MEMBER_OUT,      /* not in the group, and does not want to be */
    MEMBER_JOIN,     /* wants to join, or asks to */
    MEMBER_METADATA, /* leads, and asks for the topics */
    MEMBER_SYNC,
    MEMBER_STABLE,
    MEMBER_REVOKE, /* a rebalance waits until the application has given up its partitions */
    MEMBER_IDLE,   /* left, since the application did not poll */
    MEMBER_FAILED, /* for good: see `failure` */
};

/** What shall be sent. */
enum member_ask {
    MEMBER_ASK_NOTHING,
    MEMBER_ASK_JOIN,
    MEMBER_ASK_METADATA,
    MEMBER_ASK_SYNC,
    MEMBER_ASK_HEARTBEAT,
    MEMBER_ASK_LOOK, /* the leader: whether the topics have changed */
    MEMBER_ASK_LEAVE,
};

/** What the application's thread shall do in its next poll. */
enum member_duty {
    MEMBER_DUTY_NONE,
    MEMBER_DUTY_REVOKE, /* commit and give up everything, then member_revoked() */
    MEMBER_DUTY_TAKE,   /* an assignment came: then member_taken() */
    MEMBER_DUTY_LOSE,   /* everything is lost already: then member_lost() */
};

struct member_rules {
    int64_t session_ms, heartbeat_ms, poll_ms, retry_ms;
    int64_t look_ms;     /* between two looks of a leader at the topics */
    bool is_cooperative; /* partitions are kept over a rebalance */
    bool is_static;      /* it has an instance id: it does not leave by itself */
};

struct member {
    struct member_rules rules;
    enum member_state state;
    enum member_ask asked; /* under way */
    enum member_duty duty;
    char id[MEMBER_ID_BYTES_MAX]; /* "": none yet */
    int32_t generation;           /* -1: none */
    int failure;                  /* MEMBER_FAILED: a negated enum bus_err */
    bool holds;                   /* the application has, or may have, partitions */
    bool again;                   /* a rebalance is due when what is going on is done */
    bool leads;                   /* this generation */
    int64_t next_ms;              /* nothing is sent before */
    int64_t beat_ms;              /* of the next heartbeat */
    int64_t look_ms;              /* of the leader's next look */
    int64_t polled_ms;            /* the last poll; INT64_MAX: the application is inside of one */
    int64_t sent_ms;              /* what is under way */
    int64_t heard_ms;             /* the coordinator has known since that this member lives */
};

/** A member that is out. */
void member_init(struct member *member, const struct member_rules *rules);

/** The subscription was made or changed. */
void member_subscribe(struct member *member, int64_t now_ms);

/** Out of the group; whether LeaveGroup has to be sent. The id is kept until the next subscribe. */
bool member_leave(struct member *member);

/**
 * What is to be sent now, which then is under way; with MEMBER_ASK_NOTHING `until_ms` is when to
 * ask again, INT64_MAX never.
 */
enum member_ask member_next(struct member *member, int64_t now_ms, int64_t *until_ms);

/**
 * A poll of the application: `polled_ms` is when it ended, INT64_MAX when it is going on. After a
 * session time-out that nobody has noticed so far everything is lost here.
 */
void member_polled(struct member *member, int64_t now_ms, int64_t polled_ms);

/** When everything is lost unless the coordinator is heard before; INT64_MAX: nothing to lose. */
int64_t member_lease_ms(const struct member *member);

/** JoinGroup was answered; `error` is Kafka's code. `leads`: the answer makes it the leader. */
void member_joined(struct member *member, int64_t now_ms, int16_t error, const char *id,
    int32_t generation, bool leads);

/** The leader knows the topics, or could not get them (`ok` false). */
void member_informed(struct member *member, int64_t now_ms, bool ok);

/** The leader has looked at the topics; `changed`: they are others than at the last assignment. */
void member_looked(struct member *member, int64_t now_ms, bool changed);

/** The leader, if it is this one, shall look at the topics now. */
void member_look_now(struct member *member, int64_t now_ms);

/** SyncGroup was answered. */
void member_synced(struct member *member, int64_t now_ms, int16_t error);

/** Heartbeat was answered. */
void member_beaten(struct member *member, int64_t now_ms, int16_t error);

/** LeaveGroup was answered, or will not be. */
void member_left(struct member *member);

/**
 * The connection broke, or the request timed out: what was under way is not answered. `was_sent`:
 * the coordinator may have had it.
 */
void member_broken(struct member *member, int64_t now_ms, bool was_sent);

/**
 * A commit of `generation` was answered, beside the request under way: as a heartbeat, but only its
 * failures, and only those that speak of the present generation.
 */
void member_committed(struct member *member, int64_t now_ms, int32_t generation, int16_t error);

/** MEMBER_DUTY_REVOKE is done: everything was given up. */
void member_revoked(struct member *member, int64_t now_ms);

/** MEMBER_DUTY_TAKE is done. `gave_up`: there is less than before, so it joins again. */
void member_taken(struct member *member, int64_t now_ms, bool gave_up);

/** The share shall be taken once more, with MEMBER_DUTY_TAKE; false: this is no time for that. */
bool member_take_again(struct member *member);

/** MEMBER_DUTY_LOSE is done. */
void member_lost(struct member *member);

#endif
