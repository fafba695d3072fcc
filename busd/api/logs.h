/* SPDX-License-Identifier: Apache-2.0
 * The open logs: opened at first use, at most max.open.partitions of them, the one that was not
 * used for longest closed when another wants its place.
 *
 * Thread: the loop, for every function here. A pointer to an open_log is good until control
 * returns to the loop, or as long as it is pinned; its `log` is NULL once the topic was deleted.
 */
#ifndef API_LOGS_H
#define API_LOGS_H

#include "api/removals.h"
#include "api/watch.h"
#include "core/cluster.h"
#include "run/worker.h"
#include "store/log.h"

#include <pthread.h>

enum { LOGS_BUCKETS = 4096 };

/** Where an acks=all of a log stands. */
struct log_flushing {
    int64_t wanted;        /* somebody waits for all below this to be durable; 0 nobody */
    int64_t offset;        /* what the job that is out makes durable */
    bool running;          /* a job is out: the log may not be closed */
    bool ended;            /* the job has put the log into `flushed` */
    struct open_log *next; /* in logs.flushed */
};

struct open_log {
    struct log *log; /* NULL: deleted; nothing is left but the pins */
    uint8_t topic_id[STORE_ID_BYTES];
    int32_t partition;
    int pins;                /* attachments, waiting readers, and the flush that is out */
    struct removal *removal; /* the topic is gone; the log goes as soon as no flush is out */
    struct log_flushing flush;
    struct logs *logs;
    uint64_t review;                /* the last one that revoked it */
    int readers;                    /* requests that wait for its records; each is a pin */
    struct watch_item *watch;       /* NULL: nobody waits, or it cannot be watched */
    struct open_log *chain;         /* of the bucket */
    struct open_log *newer, *older; /* by last use */
};

struct logs {
    struct store *store;     /* borrowed */
    struct worker *flusher;  /* borrowed; NULL: flushes happen in place */
    struct watcher *watcher; /* borrowed; NULL: none */
    const struct cluster *cluster;
    struct removals removals;
    void (*news)(void *context); /* any thread: a flush has ended; NULL without flusher */
    void *context;
    struct open_log **buckets; /* owned */
    struct open_log *newest, *oldest;
    int count;
    pthread_mutex_t lock;     /* guards `flushed`, which the flusher fills */
    struct open_log *flushed; /* whose flush has ended */
};

/** No logs. Returns 0 or -BUS_ERR_NO_MEMORY. The caller has filled the borrowed members. */
int logs_init(struct logs *logs);

/** Waits for the flusher and closes every log. */
void logs_fini(struct logs *logs);

/**
 * The log of a partition, opened if need be; `partition` exists in the topic. Returns 0,
 * -BUS_ERR_NOT_LEADER_OR_FOLLOWER, -BUS_ERR_LIMIT_REACHED when max.open.partitions are all in use,
 * or what log_open() fails with. Blocks: for the disk, to open.
 */
int logs_get(
    struct logs *logs, const struct cluster_topic *topic, int32_t partition, struct open_log **log);

/** The log of a partition if it is open, else NULL. */
struct open_log *logs_find(struct logs *logs, const uint8_t *topic_id, int32_t partition);

/** Whether a partition, open or not, has closed segments. Blocks: for the disk. */
bool logs_has_closed(const struct logs *logs, const struct cluster_topic *topic, int32_t partition);

/** Keeps an open_log from being closed (though not from being deleted). */
void logs_pin(struct open_log *log);

/** Ends a pin. */
void logs_unpin(struct open_log *log);

/** Hands the settings in force to the open logs of a topic; NULL: of every topic. */
void logs_configure(struct logs *logs, const struct cluster_topic *topic);

/** Whether the log can be used: its topic was not deleted. */
bool logs_alive(const struct open_log *log);

/** Ends every partition of a deleted topic, and has their files removed. */
void logs_delete(struct logs *logs, const struct cluster_topic *topic);

/** Has all below `offset` made durable; logs.news tells when to look at the log again. */
void logs_flush(struct open_log *log, int64_t offset);

/** Takes back the logs whose flush has ended, and looks after deleted ones. After logs.news, and
 * when removals_deadline_ms() asks for it. */
void logs_reap(struct logs *logs, int64_t now_ms);

/** Somebody waits for records of the log: pins it until logs_wait_end(). */
void logs_wait_begin(struct open_log *log);

/**
 * Before each look at a log that is waited for: makes sure that its present generation is watched,
 * so that the loop hears of what comes after the look. False: it cannot be, look again by time.
 */
bool logs_wait_watched(struct open_log *log);

/** The end of logs_wait_begin(). */
void logs_wait_end(struct open_log *log);

#endif
