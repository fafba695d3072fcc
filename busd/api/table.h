/* SPDX-License-Identifier: Apache-2.0
 * Which function answers which API; only what stands here is announced and served.
 */
#ifndef API_TABLE_H
#define API_TABLE_H

#include "api/request.h"

struct handler_row {
    int16_t key;
    request_handler *handle;
};

/** The rows, sorted by key; `handler_table_count` of them. */
extern const struct handler_row handler_table[];
extern const size_t handler_table_count;

/** The handler of a key; NULL when there is none. */
request_handler *handler_find(int16_t key);

/* The handlers, by file; see request_handler. */
request_handler handle_api_versions;      /* versions.c */
request_handler handle_attach_partition;  /* attaching.c */
request_handler handle_create_partitions; /* topics_change.c */
request_handler handle_create_topics;     /* topics.c */
request_handler handle_daemon_status;     /* status.c */
request_handler handle_delete_topics;     /* topics_change.c */
request_handler handle_detach_partition;  /* attaching.c */
request_handler handle_metadata;          /* metadata.c */
request_handler handle_open_segment;      /* attaching.c */
request_handler handle_report_stall;      /* attaching.c */

#endif
