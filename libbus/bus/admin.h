/* SPDX-License-Identifier: Apache-2.0
 * libbus: topics, their configuration, offsets. Every call here asks busd and blocks at most
 * `request.timeout.ms` (default 30 s); it may run on any thread, several at once on one `bus`.
 *
 * When busd is away a call waits as long as a restart takes (5 times `reconnect.backoff.max.ms`),
 * then fails with DAEMON_UNAVAILABLE. When busd goes away in the middle, the question is asked
 * again; what must not be done twice (create, delete, grow, and deleting records up to the end)
 * fails with NETWORK_EXCEPTION then, and nobody knows whether it was done.
 */
#ifndef BUS_ADMIN_H
#define BUS_ADMIN_H

#include <bus/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A topic setting to apply; `value` NULL means: back to the default. Borrowed. */
struct bus_setting {
    const char *name;
    const char *value;
};

/**
 * Creates a topic with `partitions` (1 … 10000, or -1 for busd's num.partitions) and settings.
 * Fails with TOPIC_ALREADY_EXISTS, INVALID_TOPIC_EXCEPTION, INVALID_PARTITIONS, INVALID_CONFIG.
 */
int bus_topic_create(struct bus *bus, const char *topic, int32_t partitions,
    const struct bus_setting *settings, size_t setting_count);

/** Deletes a topic and its records; open readers end with UNKNOWN_TOPIC_OR_PARTITION. */
int bus_topic_delete(struct bus *bus, const char *topic);

/** Changes settings; all or none. */
int bus_topic_alter(
    struct bus *bus, const char *topic, const struct bus_setting *settings, size_t setting_count);

/** Raises the number of partitions to `partitions`; fails with INVALID_PARTITIONS otherwise. */
int bus_topic_grow(struct bus *bus, const char *topic, int32_t partitions);

/** The topics of the bus, a snapshot. */
struct bus_topics;

/** Fetches all topics, sorted by name, or only `topic`. The caller frees the result. */
int bus_topics_fetch(struct bus *bus, const char *topic, struct bus_topics **topics);

/** Frees a snapshot; its strings go with it. Thread: owner. */
void bus_topics_free(struct bus_topics **topics);

/** How many. */
size_t bus_topics_count(const struct bus_topics *topics);

/** Name of topic number `index`, borrowed from the snapshot; NULL behind the last. */
const char *bus_topics_name(const struct bus_topics *topics, size_t index);

/** Its id as 16 bytes, borrowed. */
const uint8_t *bus_topics_id(const struct bus_topics *topics, size_t index);

/** Its number of partitions. */
int32_t bus_topics_partitions(const struct bus_topics *topics, size_t index);

/**
 * What is known about a partition now; offsets are -1 while unknown, and the durable one also for
 * those who may not read the partition.
 */
struct bus_partition_state {
    int64_t log_start_offset; /* oldest record kept */
    int64_t end_offset;       /* next offset to be written */
    int64_t durable_offset;   /* every record below is on stable storage */
    int32_t leader;           /* node id */
    int32_t leader_epoch;
};

/** Reads the state of one partition. In C++ say `struct bus_partition_state`. */
int bus_partition_state(
    struct bus *bus, const char *topic, int32_t partition, struct bus_partition_state *state);

/** The settings of a topic, or of busd itself when `topic` is NULL: a snapshot. */
struct bus_settings;

/** Fetches them in the order of the table. The caller frees the result. */
int bus_settings_fetch(struct bus *bus, const char *topic, struct bus_settings **settings);

/** Frees a snapshot; its strings go with it. Thread: owner. */
void bus_settings_free(struct bus_settings **settings);

/** One setting of a snapshot; strings borrowed from it. */
struct bus_setting_state {
    const char *name;
    const char *value;
    const char *text; /* documentation */
    bool is_default;
    bool read_only;
};

/** Setting number `index`; -BUS_ERR_INVALID_ARGUMENT behind the last. */
int bus_settings_get(
    const struct bus_settings *settings, size_t index, struct bus_setting_state *state);

/**
 * The first offset whose record's timestamp is at or after `timestamp_ms`; for BUS_OFFSET_BEGINNING
 * and BUS_OFFSET_END the ends; for BUS_OFFSET_MAX_TIME the record with the largest timestamp.
 * `*offset` is -1 when no record is that young, or there is none. `found_ms` may be NULL. For many
 * partitions see bus_offsets_find().
 */
int bus_offset_find(struct bus *bus, const char *topic, int32_t partition, int64_t timestamp_ms,
    int64_t *offset, int64_t *found_ms);

/**
 * Moves the start of a partition to `offset` (BUS_OFFSET_END: everything goes). Records below are
 * no longer served. `log_start_offset` may be NULL. Fails with OFFSET_OUT_OF_RANGE.
 */
int bus_records_delete(struct bus *bus, const char *topic, int32_t partition, int64_t offset,
    int64_t *log_start_offset);

/**
 * Has a partition of a compacted topic, or all (BUS_PARTITION_ANY), compacted soon, whatever its
 * dirty ratio. What was written before is compacted, as far as min.compaction.lag.ms permits; the
 * call does not wait for it. Fails with POLICY_VIOLATION when cleanup.policy lacks compact.
 */
int bus_topic_compact(struct bus *bus, const char *topic, int32_t partition);

/** What the compaction of a partition does at the moment. */
enum bus_compaction_phase {
    BUS_COMPACTION_IDLE = 0,
    BUS_COMPACTION_ASKED = 1,     /* it will begin soon */
    BUS_COMPACTION_READING = 2,   /* looks for the newest record of each key */
    BUS_COMPACTION_REWRITING = 3, /* leaves out the others */
};

/** Where the compaction of a partition stands. */
struct bus_compaction {
    int32_t partition;
    enum bus_compaction_phase phase;
    int64_t clean_offset;    /* everything below was compacted */
    int64_t bytes_done;      /* of the run that is under way */
    int64_t bytes_total;     /* which it has to read */
    int64_t runs;            /* that ended well since busd opened the partition */
    int64_t ended_ms;        /* when the last one ended, milliseconds since 1970; 0 none did */
    int64_t bytes_before;    /* of the last one */
    int64_t bytes_after;     /* of the last one */
    int64_t records_removed; /* by the last one */
    const char *failure;     /* why the last one failed, or which damaged segment it left as it
                                is; NULL: all went well; borrowed */
};

/** The compaction of the partitions of a topic, a snapshot. */
struct bus_compactions;

/** Fetches it for a partition, or for all (BUS_PARTITION_ANY). The caller frees the result. */
int bus_compactions_fetch(
    struct bus *bus, const char *topic, int32_t partition, struct bus_compactions **compactions);

/** Frees a snapshot; its strings go with it. Thread: owner. */
void bus_compactions_free(struct bus_compactions **compactions);

/** Partition number `index` of a snapshot; -BUS_ERR_INVALID_ARGUMENT behind the last. */
int bus_compactions_get(
    const struct bus_compactions *compactions, size_t index, struct bus_compaction *compaction);

/** What the logs of partitions occupy, a snapshot. */
struct bus_sizes;

/** A partition of it; the name is borrowed from the snapshot. */
struct bus_size {
    const char *topic;
    int32_t partition;
    int64_t bytes; /* of its records, without what is reserved ahead of them */
};

/**
 * Fetches the sizes of all partitions that the caller may see; what busd cannot open is left out.
 * The caller frees the result.
 */
int bus_sizes_fetch(struct bus *bus, struct bus_sizes **sizes);

/** Frees a snapshot; its strings go with it. Thread: owner. */
void bus_sizes_free(struct bus_sizes **sizes);

/** Row number `index`, topic after topic; -BUS_ERR_INVALID_ARGUMENT behind the last. */
int bus_sizes_get(const struct bus_sizes *sizes, size_t index, struct bus_size *size);

/** The disk below the data folder: its size, and what busd may still fill of it; -1 unknown. */
void bus_sizes_disk(const struct bus_sizes *sizes, int64_t *total_bytes, int64_t *usable_bytes);

/** How busd is. */
struct bus_status {
    char version[32];
    char data_folder[256];
    char cluster_id[64];
    int32_t node_id;
    int64_t uptime_ms;
    int32_t partitions;
    int32_t open_partitions;
    int32_t connections;
    int64_t memory_bytes; /* busd's own, without the logs that it maps; -1 unknown */
    char listeners[512];  /* where Kafka clients are served: "127.0.0.1:9092"; "" nowhere */
};

/** Asks busd. In C++ say `struct bus_status`, since the function has the same name. */
int bus_status(struct bus *bus, struct bus_status *status);

#ifdef __cplusplus
}
#endif
#endif
