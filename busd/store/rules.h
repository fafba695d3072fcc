/* SPDX-License-Identifier: Apache-2.0
 * What retention and compaction ask the rules of busd/core, which lie beside this folder: the upper
 * floors fill the table.
 */
#ifndef STORE_RULES_H
#define STORE_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The settings of a topic that these rules go by. */
struct log_rules {
    bool remove;                 /* cleanup.policy has delete */
    bool compact;                /* cleanup.policy has compact */
    int64_t retention_ms;        /* -1 no limit */
    int64_t retention_bytes;     /* -1 no limit */
    int64_t delete_retention_ms; /* how long a deletion stays in a compacted log */
    int64_t min_lag_ms;          /* how long a record stays out of compaction at least */
    int64_t max_lag_ms;          /* and at most */
    double dirty_ratio;
};

/** A closed segment. */
struct store_facts {
    int64_t base_offset;
    int64_t next_offset; /* of the segment behind */
    int64_t bytes;
    int64_t max_timestamp;   /* -1 none */
    int64_t first_timestamp; /* of its first batch; -1 not looked at */
    int64_t closed_ms;       /* when its file was written last */
};

/** A partition. */
struct store_facts_log {
    const struct store_facts *segments; /* the closed ones, the oldest first */
    size_t count;
    int64_t total_bytes; /* with the segment being written */
    int64_t log_start_offset;
    int64_t limit_offset; /* what reaches beyond is not touched */
    int64_t clean_offset; /* up to here the log was compacted */
    bool asked;           /* somebody wants it compacted now */
};

/** What is to be compacted. */
struct store_dirt {
    bool due;
    double urgency; /* the largest goes first */
    int64_t end_offset;
    int64_t clean_bytes, dirty_bytes;
    int64_t horizon_ms;         /* for deletions that are seen for the first time */
    int64_t passed_ms;          /* delete horizons up to here have passed */
    int64_t producer_before_ms; /* who wrote nothing since then is forgotten */
};

/** The table. Called by the keeper. NULL members: nothing is removed, nothing is compacted. */
struct store_rules {
    /** How many of the closed segments go, the oldest first. */
    size_t (*retain)(
        void *context, const struct log_rules *rules, const struct store_facts_log *log);
    /** Whether and how far the partition is to be compacted. */
    void (*assess)(void *context, const struct log_rules *rules, const struct store_facts_log *log,
        struct store_dirt *dirt);
    void *context;
};

/** The settings of busd that go with them. */
struct store_upkeep {
    int64_t retention_check_ms;   /* how often retention looks at a partition */
    int64_t backoff_ms;           /* between two looks for something to compact */
    size_t dedupe_bytes;          /* of the offset map */
    int64_t bytes_per_second_max; /* read and written by the cleaner */
    bool clean;                   /* a cleaner runs */
};

#endif
